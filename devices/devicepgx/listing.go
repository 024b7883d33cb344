package devicepgx

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
)

// deviceColumns are those of a device that may not be there.
const deviceColumns = `d.id, d.unit_id, d.kind, d.label, d.model_id, d.model_label, d.created_at`

// deviceScan takes deviceColumns up.
type deviceScan struct {
	id, model                     pgtype.Int8
	unit, kind, label, modelLabel pgtype.Text
	createdAt                     pgtype.Timestamptz
}

func (d *deviceScan) into() []any {
	return []any{&d.id, &d.unit, &d.kind, &d.label, &d.model, &d.modelLabel, &d.createdAt}
}

// device gives the device, of that site; its ID is 0 if it was not there.
func (d *deviceScan) device(siteID int64) devices.Device {
	return devices.Device{
		ID: d.id.Int64, SiteID: siteID, UnitID: d.unit.String, Kind: devices.Kind(d.kind.String), Label: d.label.String,
		ModelID: int(d.model.Int64), ModelLabel: d.modelLabel.String, CreatedAt: utc(d.createdAt),
	}
}

// Devices is documented at devices.Store. The site is a row of its own among those of its
// devices, so that it is not sent again with each of them; nobody's devices follow a site
// that is not there.
func (s *Store) Devices(ctx context.Context, userID, siteID int64, kinds []devices.Kind, states bool, limit int) (devices.Site, []devices.Reported, error) {
	const query = `
		SELECT true, s.id, s.timezone, s.language, s.label, 0::bigint, m.role, s.created_at, NULL, NULL, NULL, NULL
		FROM site_members m JOIN sites s ON s.id = m.site_id
		WHERE m.user_id = $1 AND m.site_id = $2
		UNION ALL (
			SELECT false, d.id, d.unit_id, d.kind, d.label, d.model_id::bigint, d.model_label, d.created_at,
				t.sequence, t.reported_at, t.readings, t.since
			FROM devices d
			LEFT JOIN states t ON $5::boolean AND t.site_id = d.site_id AND t.device_id = d.id
			WHERE d.site_id = $2 AND (cardinality($3::text[]) = 0 OR d.kind = ANY ($3))
				AND EXISTS (SELECT FROM site_members m WHERE m.user_id = $1 AND m.site_id = $2)
			ORDER BY d.id LIMIT $4
		)`
	var (
		site   devices.Site
		list   []devices.Reported
		isSite bool
		device deviceScan
		state  stateColumns
	)
	// The error is among those that the rows tell.
	rows, _ := s.db.Read().Query(ctx, query, userID, siteID, array(kinds), bound(limit), states)
	columns := append(append([]any{&isSite}, device.into()...), state.into()...)
	_, err := pgx.ForEachRow(rows, columns, func() (err error) {
		if isSite {
			site = device.asSite()
			return nil
		}
		r := devices.Reported{Device: device.device(siteID)}
		r.State, err = state.state(r.ID)
		list = append(list, r)
		return err
	})
	if err == nil && site.ID == 0 {
		err = devices.ErrNotFound
	}
	if err != nil {
		return devices.Site{}, nil, wrap(err, "list devices of site %d", siteID)
	}
	slices.SortFunc(list, func(a, b devices.Reported) int { return cmp.Compare(a.ID, b.ID) }) // no statement promises the order of a union
	return site, list, nil
}

// asSite gives the site that stands in the columns of a device; see Devices.
func (d *deviceScan) asSite() devices.Site {
	return devices.Site{
		ID: d.id.Int64, Label: d.label.String, Timezone: d.unit.String, Language: devices.Language(d.kind.String),
		Role: devices.Role(d.modelLabel.String), CreatedAt: utc(d.createdAt),
	}
}

// Device is documented at devices.Store.
func (s *Store) Device(ctx context.Context, userID, siteID, deviceID int64, kinds []devices.Kind) (devices.Site, devices.Reported, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + deviceColumns + `, t.sequence, t.reported_at, t.readings, t.since, coalesce(u.clock_offset_ms, 0)
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN units u ON u.site_id = s.id
		LEFT JOIN devices d ON d.site_id = s.id AND d.id = $3 AND d.kind = ANY ($4)
		LEFT JOIN states t ON t.site_id = s.id AND t.device_id = $3
		WHERE m.user_id = $1 AND m.site_id = $2`
	var (
		device deviceScan
		state  stateColumns
		offset int64
	)
	row := s.db.Read().QueryRow(ctx, query, userID, siteID, deviceID, array(kinds))
	site, err := scanSite(row, append(append(device.into(), state.into()...), &offset)...)
	if err == nil && deviceID != devices.SecurityDevice && !device.id.Valid {
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Site{}, devices.Reported{}, wrap(err, "read device %d of site %d", deviceID, siteID)
	}
	r := devices.Reported{Device: device.device(site.ID), ClockOffset: milliseconds(offset)}
	r.State, err = state.state(deviceID)
	return site, r, wrap(err, "read device %d of site %d", deviceID, siteID)
}

// Source is documented at devices.Store.
func (s *Store) Source(ctx context.Context, unitID string, deviceID int64) (devices.Source, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.language, '', s.created_at,
			` + joinedUnit + `,
			` + deviceColumns + `, t.sequence, t.reported_at, t.readings, t.since
		FROM units u JOIN sites s ON s.id = u.site_id
		LEFT JOIN devices d ON d.id = $2 AND d.unit_id = u.id
		LEFT JOIN states t ON t.site_id = s.id AND t.device_id = $2
		WHERE u.id = $1`
	if !storable(unitID) {
		return devices.Source{}, wrap(devices.ErrNotFound, "read device %d of unit %q", deviceID, unitID)
	}
	var (
		from   devices.Source
		unit   unitScan
		device deviceScan
		state  stateColumns
		err    error
	)
	row := s.db.Read().QueryRow(ctx, query, unitID, deviceID)
	from.Site, err = scanSite(row, append(append(unit.into(), device.into()...), state.into()...)...)
	if err == nil && deviceID != devices.SecurityDevice && !device.id.Valid {
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Source{}, wrap(err, "read device %d of unit %q", deviceID, unitID)
	}
	from.Unit = unit.unit(from.Site.ID)
	from.Device = devices.Device{SiteID: from.Site.ID, UnitID: from.Unit.ID}
	if device.id.Valid {
		from.Device = device.device(from.Site.ID)
	}
	from.State, err = state.state(deviceID)
	return from, wrap(err, "read device %d of unit %q", deviceID, unitID)
}

// unitScan takes up the columns of a unit that may not be there, but for its site.
type unitScan struct {
	id, session, firmware pgtype.Text
	hash                  []byte
	createdAt, linkAt     pgtype.Timestamptz
	online                pgtype.Bool
	catalogue, offset     pgtype.Int8
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
	unit := devices.Unit{ID: u.id.String, SiteID: siteID, CreatedAt: utc(u.createdAt), Link: devices.Link{
		Online: u.online.Bool, Session: u.session.String, Firmware: u.firmware.String,
		Catalogue: int(u.catalogue.Int64), ClockOffset: milliseconds(u.offset.Int64), At: utc(u.linkAt),
	}}
	copy(unit.SecretHash[:], u.hash)
	return unit
}
