package devicesqlite

import (
	"context"
	"database/sql"

	"github.com/foxbridge/foxbridge/devices"
)

// deviceColumns are those of a device that may not be there.
const deviceColumns = `coalesce(d.id, 0), coalesce(d.unit_id, ''), coalesce(d.kind, ''), coalesce(d.label, ''),
	coalesce(d.model_id, 0), coalesce(d.model_label, ''), coalesce(d.created_at, 0)`

// deviceScan takes deviceColumns up.
type deviceScan struct {
	devices.Device
	createdAt int64
}

func (d *deviceScan) into() []any {
	return []any{&d.ID, &d.UnitID, (*string)(&d.Kind), &d.Label, &d.ModelID, &d.ModelLabel, &d.createdAt}
}

// device gives the device, of that site; its ID is 0 if it was not there.
func (d *deviceScan) device(siteID int64) devices.Device {
	d.SiteID, d.CreatedAt = siteID, utc(d.createdAt)
	return d.Device
}

// Devices is documented at devices.Store.
func (s *Store) Devices(ctx context.Context, userID, siteID int64, kinds []devices.Kind, states bool, limit int) (devices.Site, []devices.Reported, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + deviceColumns + `, t.sequence, t.reported_at, t.readings, t.since
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN (
			SELECT * FROM devices
			WHERE site_id = ?2 AND (?3 = '[]' OR kind IN (SELECT value FROM json_each(?3)))
			ORDER BY id LIMIT ?4
		) d ON d.site_id = s.id
		LEFT JOIN states t ON ?5 AND t.site_id = s.id AND t.device_id = d.id
		WHERE m.user_id = ?1 AND m.site_id = ?2
		ORDER BY d.id`
	rows, err := s.db.Read().QueryContext(ctx, query, userID, siteID, array(kinds), bound(limit), states)
	var site devices.Site
	list, err := collect(rows, err, func(row row) (r devices.Reported, err error) {
		var device deviceScan
		var state stateColumns
		if site, err = scanSite(row, append(device.into(), state.into()...)...); err != nil {
			return r, err
		}
		r.Device = device.device(site.ID)
		r.State, err = state.state(r.ID)
		return r, err
	})
	switch {
	case err != nil:
		return devices.Site{}, nil, wrap(ctx, err, "list devices of site %d", siteID)
	case len(list) == 0:
		return devices.Site{}, nil, wrap(ctx, devices.ErrNotFound, "list devices of site %d", siteID)
	case list[0].ID == 0:
		return site, nil, nil
	}
	return site, list, nil
}

// Device is documented at devices.Store.
func (s *Store) Device(ctx context.Context, userID, siteID, deviceID int64, kinds []devices.Kind) (devices.Site, devices.Reported, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + deviceColumns + `, t.sequence, t.reported_at, t.readings, t.since, coalesce(u.clock_offset_ms, 0)
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN units u ON u.site_id = s.id
		LEFT JOIN devices d ON d.site_id = s.id AND d.id = ?3 AND d.kind IN (SELECT value FROM json_each(?4))
		LEFT JOIN states t ON t.site_id = s.id AND t.device_id = ?3
		WHERE m.user_id = ?1 AND m.site_id = ?2`
	var (
		device deviceScan
		state  stateColumns
		offset int64
	)
	row := s.db.Read().QueryRowContext(ctx, query, userID, siteID, deviceID, array(kinds))
	site, err := scanSite(row, append(append(device.into(), state.into()...), &offset)...)
	if err == nil && deviceID != devices.SecurityDevice && device.ID == 0 {
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Site{}, devices.Reported{}, wrap(ctx, err, "read device %d of site %d", deviceID, siteID)
	}
	r := devices.Reported{Device: device.device(site.ID), ClockOffset: milliseconds(offset)}
	r.State, err = state.state(deviceID)
	return site, r, wrap(ctx, err, "read device %d of site %d", deviceID, siteID)
}

// Source is documented at devices.Store.
func (s *Store) Source(ctx context.Context, unitID string, deviceID int64) (devices.Source, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.language, '', s.created_at,
			` + joinedUnit + `,
			` + deviceColumns + `, t.sequence, t.reported_at, t.readings, t.since
		FROM units u JOIN sites s ON s.id = u.site_id
		LEFT JOIN devices d ON d.id = ?2 AND d.unit_id = u.id
		LEFT JOIN states t ON t.site_id = s.id AND t.device_id = ?2
		WHERE u.id = ?1`
	var (
		from   devices.Source
		unit   unitScan
		device deviceScan
		state  stateColumns
		err    error
	)
	row := s.db.Read().QueryRowContext(ctx, query, unitID, deviceID)
	from.Site, err = scanSite(row, append(append(unit.into(), device.into()...), state.into()...)...)
	if err == nil && deviceID != devices.SecurityDevice && device.ID == 0 {
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Source{}, wrap(ctx, err, "read device %d of unit %q", deviceID, unitID)
	}
	from.Unit = unit.unit(from.Site.ID)
	from.Device = devices.Device{SiteID: from.Site.ID, UnitID: from.Unit.ID}
	if device.ID != 0 {
		from.Device = device.device(from.Site.ID)
	}
	from.State, err = state.state(deviceID)
	return from, wrap(ctx, err, "read device %d of unit %q", deviceID, unitID)
}

// unitScan takes up the columns of a unit that may not be there, but for its site.
type unitScan struct {
	id, session, firmware                sql.NullString
	hash                                 []byte
	online                               sql.NullBool
	createdAt, catalogue, offset, linkAt sql.NullInt64
}

// joinedUnit are the columns that a unitScan takes up.
const joinedUnit = `u.id, u.secret_hash, u.created_at, u.online, u.session, u.firmware, u.catalogue, u.clock_offset_ms, u.link_at`

func (u *unitScan) into() []any {
	return []any{&u.id, &u.hash, &u.createdAt, &u.online, &u.session, &u.firmware, &u.catalogue, &u.offset, &u.linkAt}
}

// unit gives the unit, of that site; zero if it was not there.
func (u *unitScan) unit(siteID int64) devices.Unit {
	if !u.id.Valid {
		return devices.Unit{}
	}
	unit := devices.Unit{ID: u.id.String, SiteID: siteID, CreatedAt: utcOrZero(u.createdAt), Link: devices.Link{
		Online: u.online.Bool, Session: u.session.String, Firmware: u.firmware.String,
		Catalogue: int(u.catalogue.Int64), ClockOffset: milliseconds(u.offset.Int64), At: utcOrZero(u.linkAt),
	}}
	copy(unit.SecretHash[:], u.hash)
	return unit
}
