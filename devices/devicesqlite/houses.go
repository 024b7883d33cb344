package devicesqlite

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// AddSite is documented at devices.Store.
func (s *Store) AddSite(ctx context.Context, site devices.Site, ownerID int64) (int64, error) {
	const insertSite = `INSERT INTO sites (label, timezone, language, created_at) VALUES (?, ?, ?, ?) RETURNING id`
	const insertOwner = `INSERT INTO site_members (user_id, site_id, role) VALUES (?, ?, ?)`
	var id int64
	err := s.db.Write(ctx, "site", func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, insertSite, site.Label, site.Timezone, string(site.Language), micros(site.CreatedAt)).Scan(&id)
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
		WITH s AS (
			SELECT sites.id, sites.label, sites.timezone, sites.language, m.role, sites.created_at
			FROM site_members m JOIN sites ON sites.id = m.site_id
			WHERE m.user_id = ?
			ORDER BY sites.id LIMIT ?
		), things AS (
			SELECT d.site_id, d.kind FROM devices d WHERE d.site_id IN (SELECT id FROM s)
			UNION ALL
			SELECT c.site_id, 'scenario' FROM scenarios c WHERE c.site_id IN (SELECT id FROM s)
		)
		SELECT s.id, s.label, s.timezone, s.language, s.role, s.created_at, coalesce(t.kind, ''), count(t.kind)
		FROM s LEFT JOIN things t ON t.site_id = s.id
		GROUP BY s.id, t.kind
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

// siteColumns are those of a site as one of its members m sees it.
const siteColumns = `s.id, s.label, s.timezone, s.language, m.role, s.created_at`

// scanSite reads a site from the first columns of a row, and the rest into more.
func scanSite(row row, more ...any) (devices.Site, error) {
	var (
		site      devices.Site
		createdAt int64
	)
	err := row.Scan(append([]any{&site.ID, &site.Label, &site.Timezone, (*string)(&site.Language), (*string)(&site.Role), &createdAt}, more...)...)
	site.CreatedAt = utc(createdAt)
	return site, err
}

// Site is documented at devices.Store.
func (s *Store) Site(ctx context.Context, userID, siteID int64) (devices.Site, error) {
	const query = `
		SELECT ` + siteColumns + `
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

// Target is documented at devices.Store.
func (s *Store) Target(ctx context.Context, userID, siteID, deviceID int64, kinds []devices.Kind) (devices.Target, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + joinedUnit + `, ` + deviceColumns + `
		FROM site_members m
		JOIN sites s ON s.id = m.site_id
		LEFT JOIN units u ON u.site_id = s.id
		LEFT JOIN devices d ON d.id = ?3 AND d.site_id = s.id AND d.kind IN (SELECT value FROM json_each(?4))
		WHERE m.user_id = ?1 AND m.site_id = ?2`
	var (
		t      devices.Target
		unit   unitScan
		device deviceScan
		err    error
	)
	row := s.db.Read().QueryRowContext(ctx, query, userID, siteID, deviceID, array(kinds))
	t.Site, err = scanSite(row, append(unit.into(), device.into()...)...)
	if err != nil {
		return devices.Target{}, wrap(ctx, err, "find device %d of site %d of user %d", deviceID, siteID, userID)
	}
	t.Unit = unit.unit(siteID)
	t.Device = devices.Device{SiteID: siteID, UnitID: t.Unit.ID}
	switch {
	case deviceID == devices.SecurityDevice && slices.Contains(kinds, devices.Security):
		return t, nil
	case device.ID == 0:
		return devices.Target{}, wrap(ctx, devices.ErrNoDevice, "find %v %d of site %d", kinds, deviceID, siteID)
	}
	t.Device = device.device(siteID)
	return t, nil
}
