package devicepgx

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
)

// AddSite is documented at devices.Store.
func (s *Store) AddSite(ctx context.Context, site devices.Site, ownerID int64) (int64, error) {
	const insert = `
		WITH added AS (
			INSERT INTO sites (label, timezone, language, created_at) VALUES ($1, $2, $6, $3) RETURNING id
		)
		INSERT INTO site_members (user_id, site_id, role) SELECT $4, id, $5 FROM added
		RETURNING site_id`
	var id int64
	err := s.db.Write(ctx, "site", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, insert, site.Label, site.Timezone, site.CreatedAt, ownerID, string(devices.Owner), string(site.Language)).Scan(&id)
	})
	if err != nil {
		return 0, wrap(err, "add site of user %d", ownerID)
	}
	return id, nil
}

// siteColumns are those of a site as one of its members m sees it.
const siteColumns = `s.id, s.label, s.timezone, s.language, m.role, s.created_at`

// scanSite reads a site from the first columns of a row, and the rest into more.
func scanSite(row pgx.Row, more ...any) (devices.Site, error) {
	var (
		site      devices.Site
		createdAt time.Time
	)
	err := row.Scan(append([]any{&site.ID, &site.Label, &site.Timezone, (*string)(&site.Language), (*string)(&site.Role), &createdAt}, more...)...)
	site.CreatedAt = createdAt.UTC()
	return site, err
}

// Sites is documented at devices.Store.
func (s *Store) Sites(ctx context.Context, userID int64, limit int) ([]devices.SiteSummary, error) {
	const query = `
		WITH s AS (
			SELECT sites.id, sites.label, sites.timezone, sites.language, m.role, sites.created_at
			FROM site_members m JOIN sites ON sites.id = m.site_id
			WHERE m.user_id = $1
			ORDER BY sites.id LIMIT $2
		), things AS (
			SELECT d.site_id, d.kind, count(*) AS n FROM devices d WHERE d.site_id IN (SELECT id FROM s) GROUP BY d.site_id, d.kind
			UNION ALL
			SELECT c.site_id, 'scenario', count(*) FROM scenarios c WHERE c.site_id IN (SELECT id FROM s) GROUP BY c.site_id
		)
		SELECT s.id, s.label, s.timezone, s.language, s.role, s.created_at, coalesce(t.kind, ''), coalesce(t.n, 0)
		FROM s LEFT JOIN things t ON t.site_id = s.id
		ORDER BY s.id`
	type counted struct {
		devices.Site
		kind  string
		count int
	}
	rows, err := s.db.Read().Query(ctx, query, userID, bound(limit))
	counts, err := collect(rows, err, func(row pgx.Row) (c counted, err error) {
		c.Site, err = scanSite(row, &c.kind, &c.count)
		return c, err
	})
	if err != nil {
		return nil, wrap(err, "list sites of user %d", userID)
	}
	var sites []devices.SiteSummary
	for _, c := range counts {
		if len(sites) == 0 || sites[len(sites)-1].ID != c.ID {
			sites = append(sites, devices.SiteSummary{Site: c.Site, Counts: map[devices.Kind]int{}})
		}
		if c.count > 0 {
			sites[len(sites)-1].Counts[devices.Kind(c.kind)] = c.count
		}
	}
	return sites, nil
}

// Site is documented at devices.Store.
func (s *Store) Site(ctx context.Context, userID, siteID int64) (devices.Site, error) {
	const query = `
		SELECT ` + siteColumns + `
		FROM site_members m JOIN sites s ON s.id = m.site_id
		WHERE m.user_id = $1 AND m.site_id = $2`
	site, err := scanSite(s.db.Read().QueryRow(ctx, query, userID, siteID))
	if err != nil {
		return devices.Site{}, wrap(err, "read site %d of user %d", siteID, userID)
	}
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

// Target is documented at devices.Store.
func (s *Store) Target(ctx context.Context, userID, siteID, deviceID int64, kinds []devices.Kind) (devices.Target, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + joinedUnit + `, ` + deviceColumns + `
		FROM site_members m
		JOIN sites s ON s.id = m.site_id
		LEFT JOIN units u ON u.site_id = s.id
		LEFT JOIN devices d ON d.id = $3 AND d.site_id = s.id AND d.kind = ANY ($4)
		WHERE m.user_id = $1 AND m.site_id = $2`
	var (
		t      devices.Target
		unit   unitScan
		device deviceScan
		err    error
	)
	row := s.db.Read().QueryRow(ctx, query, userID, siteID, deviceID, array(kinds))
	t.Site, err = scanSite(row, append(unit.into(), device.into()...)...)
	if err != nil {
		return devices.Target{}, wrap(err, "find device %d of site %d of user %d", deviceID, siteID, userID)
	}
	t.Unit = unit.unit(siteID)
	t.Device = devices.Device{SiteID: siteID, UnitID: t.Unit.ID}
	switch {
	case deviceID == devices.SecurityDevice && slices.Contains(kinds, devices.Security):
		return t, nil
	case !device.id.Valid:
		return devices.Target{}, wrap(devices.ErrNoDevice, "find %v %d of site %d", kinds, deviceID, siteID)
	}
	t.Device = device.device(siteID)
	return t, nil
}
