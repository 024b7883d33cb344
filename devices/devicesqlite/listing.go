package devicesqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"

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

// Devices is documented at devices.Store. The site is a row of its own among those of its
// devices, so that it is not read again with each of them; nobody's devices follow a site
// that is not there.
func (s *Store) Devices(ctx context.Context, userID, siteID int64, kinds []devices.Kind, states bool, limit int) (devices.Site, []devices.Reported, error) {
	const query = `
		SELECT true, s.id, s.timezone, s.language, s.label, 0, m.role, s.created_at, 0, 0, '', ''
		FROM site_members m JOIN sites s ON s.id = m.site_id
		WHERE m.user_id = ?1 AND m.site_id = ?2
		UNION ALL
		SELECT * FROM (
			SELECT false, d.id, d.unit_id, d.kind, d.label, d.model_id, d.model_label, d.created_at,
				coalesce(t.sequence, 0), coalesce(t.reported_at, 0), coalesce(t.readings, ''), coalesce(t.since, '')
			FROM devices d
			LEFT JOIN states t ON ?5 AND t.site_id = d.site_id AND t.device_id = d.id
			WHERE d.site_id = ?2 AND (?3 = '[]' OR d.kind IN (SELECT value FROM json_each(?3)))
				AND EXISTS (SELECT 1 FROM site_members m WHERE m.user_id = ?1 AND m.site_id = ?2)
			ORDER BY d.id LIMIT ?4
		)`
	var (
		site devices.Site
		list []devices.Reported
		l    listed
	)
	rows, err := s.db.Read().QueryContext(ctx, query, userID, siteID, array(kinds), bound(limit), states)
	if err != nil {
		return devices.Site{}, nil, wrap(ctx, err, "list devices of site %d", siteID)
	}
	defer rows.Close() // rows.Err has its error
	for columns := l.into(); rows.Next(); {
		if err := rows.Scan(columns...); err != nil {
			return devices.Site{}, nil, wrap(ctx, err, "list devices of site %d", siteID)
		}
		if l.isSite {
			site = l.site()
			continue
		}
		device, err := l.device(siteID)
		if err != nil {
			return devices.Site{}, nil, wrap(ctx, err, "list devices of site %d", siteID)
		}
		list = append(list, device)
	}
	err = rows.Err()
	if err == nil && site.ID == 0 {
		err = devices.ErrNotFound
	}
	if err != nil {
		return devices.Site{}, nil, wrap(ctx, err, "list devices of site %d", siteID)
	}
	slices.SortFunc(list, func(a, b devices.Reported) int { return cmp.Compare(a.ID, b.ID) }) // no statement promises the order of a union
	return site, list, nil
}

// listed takes up a row of Devices: a site, or a device with its state.
type listed struct {
	isSite                        bool
	id, model, createdAt          int64
	unit, kind, label, modelLabel string // of a site its time zone, language, label and role
	sequence, reportedAt          int64
	readings, since               string
}

func (l *listed) into() []any {
	return []any{
		&l.isSite, &l.id, &l.unit, &l.kind, &l.label, &l.model, &l.modelLabel, &l.createdAt,
		&l.sequence, &l.reportedAt, &l.readings, &l.since,
	}
}

func (l *listed) site() devices.Site {
	return devices.Site{
		ID: l.id, Label: l.label, Timezone: l.unit, Language: devices.Language(l.kind), Role: devices.Role(l.modelLabel), CreatedAt: utc(l.createdAt),
	}
}

func (l *listed) device(siteID int64) (devices.Reported, error) {
	r := devices.Reported{Device: devices.Device{
		ID: l.id, SiteID: siteID, UnitID: l.unit, Kind: devices.Kind(l.kind), Label: l.label,
		ModelID: int(l.model), ModelLabel: l.modelLabel, CreatedAt: utc(l.createdAt),
	}}
	if l.sequence == 0 {
		return r, nil
	}
	since, err := decodeSince(l.since)
	r.State = devices.State{DeviceID: l.id, Sequence: l.sequence, Time: utc(l.reportedAt), Readings: json.RawMessage(l.readings), Since: since}
	return r, err
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
