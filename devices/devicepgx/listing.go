package devicepgx

import (
	"context"

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

// Devices is documented at devices.Store.
func (s *Store) Devices(ctx context.Context, userID, siteID int64, kinds []devices.Kind, states bool, limit int) (devices.Site, []devices.Reported, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + deviceColumns + `, t.sequence, t.reported_at, t.readings, t.since
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN (
			SELECT * FROM devices
			WHERE site_id = $2 AND (cardinality($3::text[]) = 0 OR kind = ANY ($3))
			ORDER BY id LIMIT $4
		) d ON d.site_id = s.id
		LEFT JOIN states t ON $5::boolean AND t.site_id = s.id AND t.device_id = d.id
		WHERE m.user_id = $1 AND m.site_id = $2
		ORDER BY d.id`
	rows, err := s.db.Read().Query(ctx, query, userID, siteID, array(kinds), bound(limit), states)
	var site devices.Site
	list, err := collect(rows, err, func(row pgx.Row) (r devices.Reported, err error) {
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
		return devices.Site{}, nil, wrap(err, "list devices of site %d", siteID)
	case len(list) == 0:
		return devices.Site{}, nil, wrap(devices.ErrNotFound, "list devices of site %d", siteID)
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
