package devicesqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// AddSite is documented at devices.Store.
func (s *Store) AddSite(ctx context.Context, site devices.Site, ownerID int64) (int64, error) {
	const insertSite = `INSERT INTO sites (label, timezone, created_at) VALUES (?, ?, ?) RETURNING id`
	const insertOwner = `INSERT INTO site_members (user_id, site_id, role) VALUES (?, ?, ?)`
	var id int64
	err := s.db.Write(ctx, "site", func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, insertSite, site.Label, site.Timezone, micros(site.CreatedAt)).Scan(&id)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insertOwner, ownerID, id, string(devices.Owner))
		return err
	})
	if err != nil {
		return 0, wrap(ctx, err, "add site of user %d", ownerID)
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
			WHERE m.user_id = ?
			ORDER BY sites.id LIMIT ?
		) s LEFT JOIN devices d ON d.site_id = s.id
		GROUP BY s.id, d.kind
		ORDER BY s.id`
	type counted struct {
		devices.Site
		kind  devices.Kind
		count int
	}
	rows, err := s.db.Read().QueryContext(ctx, query, userID, bound(limit))
	counts, err := collect(rows, err, func(row row) (c counted, err error) {
		c.Site, err = scanSite(row, &c.kind, &c.count)
		return c, err
	})
	if err != nil {
		return nil, wrap(ctx, err, "list sites of user %d", userID)
	}
	var sites []devices.SiteSummary
	for _, c := range counts {
		if len(sites) == 0 || sites[len(sites)-1].ID != c.ID {
			sites = append(sites, devices.SiteSummary{Site: c.Site, Counts: map[devices.Kind]int{}})
		}
		if c.count > 0 {
			sites[len(sites)-1].Counts[c.kind] = c.count
		}
	}
	return sites, nil
}

// scanSite reads a site from the first columns of a row, and the rest into more.
func scanSite(row row, more ...any) (devices.Site, error) {
	var (
		site      devices.Site
		createdAt int64
	)
	err := row.Scan(append([]any{&site.ID, &site.Label, &site.Timezone, &createdAt}, more...)...)
	site.CreatedAt = utc(createdAt)
	return site, err
}

// Site is documented at devices.Store.
func (s *Store) Site(ctx context.Context, userID, siteID int64) (devices.Site, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.created_at
		FROM site_members m JOIN sites s ON s.id = m.site_id
		WHERE m.user_id = ? AND m.site_id = ?`
	site, err := scanSite(s.db.Read().QueryRowContext(ctx, query, userID, siteID))
	if err != nil {
		return devices.Site{}, wrap(ctx, err, "read site %d of user %d", siteID, userID)
	}
	return site, nil
}

// AddUnit is documented at devices.Store.
func (s *Store) AddUnit(ctx context.Context, u devices.Unit, list []devices.Device) ([]devices.Device, error) {
	var added []devices.Device
	err := s.db.Write(ctx, siteKey(u.SiteID), func(ctx context.Context, tx *sql.Tx) error {
		if err := insertUnit(ctx, tx, u); err != nil {
			return err
		}
		var err error
		added, err = insertDevices(ctx, tx, u, list)
		return err
	})
	if err != nil {
		return nil, wrap(ctx, err, "add unit %s to site %d", u.ID, u.SiteID)
	}
	return added, nil
}

func insertUnit(ctx context.Context, tx *sql.Tx, u devices.Unit) error {
	const insert = `
		INSERT INTO units (id, site_id, secret_hash, created_at,
			online, session, firmware, catalogue, clock_offset_ms, link_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	_, err := tx.ExecContext(ctx, insert, u.ID, u.SiteID, u.SecretHash[:], micros(u.CreatedAt),
		u.Link.Online, u.Link.Session, u.Link.Firmware, u.Link.Catalogue, u.Link.ClockOffset.Milliseconds(), microsOrNull(u.Link.At))
	return err
}

// insertDevices gives the devices their IDs in the order of list.
func insertDevices(ctx context.Context, tx *sql.Tx, u devices.Unit, list []devices.Device) ([]devices.Device, error) {
	const draw = `UPDATE thing_ids SET last = last + ? RETURNING last`
	const insert = `
		INSERT INTO devices (id, site_id, unit_id, kind, label, model_id, model_label, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	var last int64
	if err := tx.QueryRowContext(ctx, draw, len(list)).Scan(&last); err != nil {
		return nil, err
	}
	added := make([]devices.Device, len(list))
	for i, d := range list {
		d.ID, d.SiteID, d.UnitID, d.CreatedAt = last-int64(len(list)-1-i), u.SiteID, u.ID, stored(d.CreatedAt)
		_, err := tx.ExecContext(ctx, insert, d.ID, d.SiteID, d.UnitID, string(d.Kind), d.Label, d.ModelID, d.ModelLabel, micros(d.CreatedAt))
		if err != nil {
			return nil, err
		}
		added[i] = d
	}
	return added, nil
}

const unitColumns = `u.id, u.site_id, u.secret_hash, u.created_at,
	u.online, u.session, u.firmware, u.catalogue, u.clock_offset_ms, u.link_at`

func scanUnit(row row) (devices.Unit, error) {
	var (
		u                 devices.Unit
		hash              []byte
		createdAt, offset int64
		linkAt            sql.NullInt64
	)
	err := row.Scan(&u.ID, &u.SiteID, &hash, &createdAt,
		&u.Link.Online, &u.Link.Session, &u.Link.Firmware, &u.Link.Catalogue, &offset, &linkAt)
	copy(u.SecretHash[:], hash)
	u.CreatedAt, u.Link.ClockOffset, u.Link.At = utc(createdAt), milliseconds(offset), utcOrZero(linkAt)
	return u, err
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// Unit is documented at devices.Store.
func (s *Store) Unit(ctx context.Context, id string) (devices.Unit, error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id = ?`
	u, err := scanUnit(s.db.Read().QueryRowContext(ctx, query, id))
	if err != nil {
		return devices.Unit{}, wrap(ctx, err, "read unit %q", id)
	}
	return u, nil
}

// Units is documented at devices.Store.
func (s *Store) Units(ctx context.Context, after string, limit int) ([]devices.Unit, error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id > ? ORDER BY u.id LIMIT ?`
	rows, err := s.db.Read().QueryContext(ctx, query, after, bound(limit))
	units, err := collect(rows, err, scanUnit)
	return units, wrap(ctx, err, "list units after %q", after)
}

const deviceColumns = `d.id, d.site_id, d.unit_id, d.kind, d.label, d.model_id, d.model_label, d.created_at`

func scanDevice(row row) (devices.Device, error) {
	var (
		d         devices.Device
		createdAt int64
	)
	err := row.Scan(&d.ID, &d.SiteID, &d.UnitID, &d.Kind, &d.Label, &d.ModelID, &d.ModelLabel, &createdAt)
	d.CreatedAt = utc(createdAt)
	return d, err
}

// Devices is documented at devices.Store.
func (s *Store) Devices(ctx context.Context, siteID int64, kind devices.Kind, limit int) ([]devices.Device, error) {
	const query = `
		SELECT ` + deviceColumns + ` FROM devices d
		WHERE d.site_id = ?1 AND (?2 = '' OR d.kind = ?2)
		ORDER BY d.id LIMIT ?3`
	rows, err := s.db.Read().QueryContext(ctx, query, siteID, string(kind), bound(limit))
	list, err := collect(rows, err, scanDevice)
	return list, wrap(ctx, err, "list devices of site %d", siteID)
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
		LEFT JOIN devices d ON d.id = ?3 AND d.site_id = s.id AND d.kind = ?4
		WHERE m.user_id = ?1 AND m.site_id = ?2`
	var (
		t    devices.Target
		unit struct {
			id, session, firmware                sql.NullString
			hash                                 []byte
			online                               sql.NullBool
			createdAt, catalogue, offset, linkAt sql.NullInt64
		}
		device struct {
			kind, label, modelLabel sql.NullString
			id, model, createdAt    sql.NullInt64
		}
		err error
	)
	t.Site, err = scanSite(s.db.Read().QueryRowContext(ctx, query, userID, siteID, deviceID, string(kind)),
		&unit.id, &unit.hash, &unit.createdAt, &unit.online, &unit.session, &unit.firmware, &unit.catalogue, &unit.offset, &unit.linkAt,
		&device.id, &device.kind, &device.label, &device.model, &device.modelLabel, &device.createdAt)
	if err != nil {
		return devices.Target{}, wrap(ctx, err, "find device %d of site %d of user %d", deviceID, siteID, userID)
	}
	if unit.id.Valid {
		t.Unit = devices.Unit{ID: unit.id.String, SiteID: siteID, CreatedAt: utcOrZero(unit.createdAt), Link: devices.Link{
			Online: unit.online.Bool, Session: unit.session.String, Firmware: unit.firmware.String,
			Catalogue: int(unit.catalogue.Int64), ClockOffset: milliseconds(unit.offset.Int64), At: utcOrZero(unit.linkAt),
		}}
		copy(t.Unit.SecretHash[:], unit.hash)
	}
	t.Device = devices.Device{SiteID: siteID, UnitID: t.Unit.ID}
	switch {
	case deviceID == devices.SecurityDevice && kind == devices.Security:
		return t, nil
	case !device.id.Valid:
		return devices.Target{}, wrap(ctx, devices.ErrNoDevice, "find %s %d of site %d", kind, deviceID, siteID)
	}
	t.Device.ID, t.Device.Kind, t.Device.Label = device.id.Int64, devices.Kind(device.kind.String), device.label.String
	t.Device.ModelID, t.Device.ModelLabel = int(device.model.Int64), device.modelLabel.String
	t.Device.CreatedAt = utcOrZero(device.createdAt)
	return t, nil
}
