package devicepgx

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
)

// AddSite is documented at devices.Store.
func (s *Store) AddSite(ctx context.Context, site devices.Site, ownerID int64) (int64, error) {
	const insert = `
		WITH added AS (
			INSERT INTO sites (label, timezone, created_at) VALUES ($1, $2, $3) RETURNING id
		)
		INSERT INTO site_members (user_id, site_id, role) SELECT $4, id, $5 FROM added
		RETURNING site_id`
	var id int64
	err := s.db.Write(ctx, "site", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, insert, site.Label, site.Timezone, site.CreatedAt, ownerID, string(devices.Owner)).Scan(&id)
	})
	if err != nil {
		return 0, wrap(err, "add site of user %d", ownerID)
	}
	return id, nil
}

// Sites is documented at devices.Store.
func (s *Store) Sites(ctx context.Context, userID int64, limit int) ([]devices.SiteSummary, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.created_at, coalesce(d.kind, ''), count(d.id)
		FROM (
			SELECT sites.id, sites.label, sites.timezone, sites.created_at
			FROM site_members m JOIN sites ON sites.id = m.site_id
			WHERE m.user_id = $1
			ORDER BY sites.id LIMIT $2
		) s LEFT JOIN devices d ON d.site_id = s.id
		GROUP BY s.id, s.label, s.timezone, s.created_at, d.kind
		ORDER BY s.id`
	rows, err := s.db.Read().Query(ctx, query, userID, bound(limit))
	if err != nil {
		return nil, wrap(err, "list sites of user %d", userID)
	}
	defer rows.Close()
	var sites []devices.SiteSummary
	for rows.Next() {
		var (
			site      devices.Site
			createdAt time.Time
			kind      string
			count     int
		)
		if err := rows.Scan(&site.ID, &site.Label, &site.Timezone, &createdAt, &kind, &count); err != nil {
			return nil, wrap(err, "list sites of user %d", userID)
		}
		site.CreatedAt = createdAt.UTC()
		if len(sites) == 0 || sites[len(sites)-1].ID != site.ID {
			sites = append(sites, devices.SiteSummary{Site: site, Counts: map[devices.Kind]int{}})
		}
		if count > 0 {
			sites[len(sites)-1].Counts[devices.Kind(kind)] = count
		}
	}
	return sites, wrap(rows.Err(), "list sites of user %d", userID)
}

// Site is documented at devices.Store.
func (s *Store) Site(ctx context.Context, userID, siteID int64) (devices.Site, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.created_at
		FROM site_members m JOIN sites s ON s.id = m.site_id
		WHERE m.user_id = $1 AND m.site_id = $2`
	var (
		site      devices.Site
		createdAt time.Time
	)
	err := s.db.Read().QueryRow(ctx, query, userID, siteID).Scan(&site.ID, &site.Label, &site.Timezone, &createdAt)
	if err != nil {
		return devices.Site{}, wrap(err, "read site %d of user %d", siteID, userID)
	}
	site.CreatedAt = createdAt.UTC()
	return site, nil
}

// AddUnit is documented at devices.Store.
func (s *Store) AddUnit(ctx context.Context, u devices.Unit, list []devices.Device) ([]devices.Device, error) {
	var added []devices.Device
	err := s.db.Write(ctx, siteKey(u.SiteID), func(ctx context.Context, tx pgx.Tx) error {
		if err := insertUnit(ctx, tx, u); err != nil {
			return err
		}
		var err error
		added, err = insertDevices(ctx, tx, u, list)
		return err
	})
	if err != nil {
		return nil, wrap(err, "add unit %s to site %d", u.ID, u.SiteID)
	}
	return added, nil
}

func insertUnit(ctx context.Context, tx pgx.Tx, u devices.Unit) error {
	const site = `SELECT id FROM sites WHERE id = $1`
	const insert = `
		INSERT INTO units (id, site_id, secret_hash, created_at,
			online, session, firmware, catalogue, clock_offset_ms, link_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT DO NOTHING`
	var id int64
	if err := tx.QueryRow(ctx, site, u.SiteID).Scan(&id); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, insert, u.ID, u.SiteID, u.SecretHash[:], u.CreatedAt,
		u.Link.Online, u.Link.Session, u.Link.Firmware, u.Link.Catalogue, u.Link.ClockOffset.Milliseconds(), timestamp(u.Link.At))
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return devices.ErrExists
	}
	return nil
}

// insertDevices gives the devices their IDs in the order of list.
func insertDevices(ctx context.Context, tx pgx.Tx, u devices.Unit, list []devices.Device) (added []devices.Device, err error) {
	const insert = `
		INSERT INTO devices (id, site_id, unit_id, kind, label, model_id, model_label, created_at)
		VALUES (nextval('thing_ids'), $1, $2, $3, $4, $5, $6, $7)
		RETURNING id`
	if len(list) == 0 {
		return nil, nil
	}
	batch := &pgx.Batch{}
	for _, d := range list {
		batch.Queue(insert, u.SiteID, u.ID, string(d.Kind), d.Label, d.ModelID, d.ModelLabel, d.CreatedAt)
	}
	results := tx.SendBatch(ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for _, d := range list {
		d.SiteID, d.UnitID, d.CreatedAt = u.SiteID, u.ID, stored(d.CreatedAt)
		if err := results.QueryRow().Scan(&d.ID); err != nil {
			return nil, err
		}
		added = append(added, d)
	}
	return added, nil
}

const unitColumns = `u.id, u.site_id, u.secret_hash, u.created_at,
	u.online, u.session, u.firmware, u.catalogue, u.clock_offset_ms, u.link_at`

func scanUnit(row pgx.Row) (devices.Unit, error) {
	var (
		u         devices.Unit
		hash      []byte
		createdAt time.Time
		offset    int64
		linkAt    pgtype.Timestamptz
	)
	err := row.Scan(&u.ID, &u.SiteID, &hash, &createdAt,
		&u.Link.Online, &u.Link.Session, &u.Link.Firmware, &u.Link.Catalogue, &offset, &linkAt)
	copy(u.SecretHash[:], hash)
	u.CreatedAt, u.Link.ClockOffset, u.Link.At = createdAt.UTC(), milliseconds(offset), utc(linkAt)
	return u, err
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// Unit is documented at devices.Store.
func (s *Store) Unit(ctx context.Context, id string) (devices.Unit, error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id = $1`
	if !storable(id) {
		return devices.Unit{}, wrap(devices.ErrNotFound, "read unit %q", id)
	}
	u, err := scanUnit(s.db.Read().QueryRow(ctx, query, id))
	if err != nil {
		return devices.Unit{}, wrap(err, "read unit %q", id)
	}
	return u, nil
}

// Units is documented at devices.Store.
func (s *Store) Units(ctx context.Context, after string, limit int) ([]devices.Unit, error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id > $1 ORDER BY u.id LIMIT $2`
	rows, err := s.db.Read().Query(ctx, query, after, bound(limit))
	units, err := collect(rows, err, scanUnit)
	return units, wrap(err, "list units after %q", after)
}

const deviceColumns = `d.id, d.site_id, d.unit_id, d.kind, d.label, d.model_id, d.model_label, d.created_at`

func scanDevice(row pgx.Row) (devices.Device, error) {
	var (
		d         devices.Device
		createdAt time.Time
	)
	err := row.Scan(&d.ID, &d.SiteID, &d.UnitID, &d.Kind, &d.Label, &d.ModelID, &d.ModelLabel, &createdAt)
	d.CreatedAt = createdAt.UTC()
	return d, err
}

// Devices is documented at devices.Store.
func (s *Store) Devices(ctx context.Context, siteID int64, kind devices.Kind, limit int) ([]devices.Device, error) {
	const query = `
		SELECT ` + deviceColumns + ` FROM devices d
		WHERE d.site_id = $1 AND ($2 = '' OR d.kind = $2)
		ORDER BY d.id LIMIT $3`
	rows, err := s.db.Read().Query(ctx, query, siteID, string(kind), bound(limit))
	list, err := collect(rows, err, scanDevice)
	return list, wrap(err, "list devices of site %d", siteID)
}

// Target is documented at devices.Store.
func (s *Store) Target(ctx context.Context, userID, siteID, deviceID int64, kind devices.Kind) (devices.Target, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.created_at,
			u.id, u.secret_hash, u.created_at, u.online, u.session, u.firmware, u.catalogue, u.clock_offset_ms, u.link_at,
			d.id, d.kind, d.label, d.model_id, d.model_label, d.created_at
		FROM site_members m
		JOIN sites s ON s.id = m.site_id
		LEFT JOIN units u ON u.site_id = s.id
		LEFT JOIN devices d ON d.id = $3 AND d.site_id = s.id AND d.kind = $4
		WHERE m.user_id = $1 AND m.site_id = $2`
	var (
		t      devices.Target
		siteAt time.Time
		unit   struct {
			id, session, firmware pgtype.Text
			hash                  []byte
			createdAt, linkAt     pgtype.Timestamptz
			online                pgtype.Bool
			catalogue, offset     pgtype.Int8
		}
		device struct {
			id, model               pgtype.Int8
			kind, label, modelLabel pgtype.Text
			createdAt               pgtype.Timestamptz
		}
	)
	err := s.db.Read().QueryRow(ctx, query, userID, siteID, deviceID, string(kind)).Scan(
		&t.Site.ID, &t.Site.Label, &t.Site.Timezone, &siteAt,
		&unit.id, &unit.hash, &unit.createdAt, &unit.online, &unit.session, &unit.firmware, &unit.catalogue, &unit.offset, &unit.linkAt,
		&device.id, &device.kind, &device.label, &device.model, &device.modelLabel, &device.createdAt)
	if err != nil {
		return devices.Target{}, wrap(err, "find device %d of site %d of user %d", deviceID, siteID, userID)
	}
	t.Site.CreatedAt = siteAt.UTC()
	if unit.id.Valid {
		t.Unit = devices.Unit{ID: unit.id.String, SiteID: siteID, CreatedAt: utc(unit.createdAt), Link: devices.Link{
			Online: unit.online.Bool, Session: unit.session.String, Firmware: unit.firmware.String,
			Catalogue: int(unit.catalogue.Int64), ClockOffset: milliseconds(unit.offset.Int64), At: utc(unit.linkAt),
		}}
		copy(t.Unit.SecretHash[:], unit.hash)
	}
	t.Device = devices.Device{SiteID: siteID, UnitID: t.Unit.ID}
	switch {
	case deviceID == devices.SecurityDevice && kind == devices.Security:
		return t, nil
	case !device.id.Valid:
		return devices.Target{}, wrap(devices.ErrNoDevice, "find %s %d of site %d", kind, deviceID, siteID)
	}
	t.Device.ID, t.Device.Kind, t.Device.Label = device.id.Int64, devices.Kind(device.kind.String), device.label.String
	t.Device.ModelID, t.Device.ModelLabel = int(device.model.Int64), device.modelLabel.String
	t.Device.CreatedAt = utc(device.createdAt)
	return t, nil
}
