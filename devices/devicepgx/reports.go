package devicepgx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/devices"
)

// SaveState is documented at devices.Store.
func (s *Store) SaveState(ctx context.Context, unitID string, state devices.State) (bool, error) {
	const upsert = `
		WITH device AS (
			SELECT site_id FROM units WHERE id = $1 AND $2::bigint = 0
			UNION ALL
			SELECT site_id FROM devices WHERE id = $2 AND unit_id = $1
		), saved AS (
			INSERT INTO states (site_id, device_id, sequence, reported_at, readings)
			SELECT site_id, $2, $3::bigint, $4::timestamptz, $5::text FROM device
			ON CONFLICT (site_id, device_id) DO UPDATE
			SET sequence = excluded.sequence, reported_at = excluded.reported_at, readings = excluded.readings
			WHERE states.sequence < excluded.sequence
			RETURNING site_id
		)
		SELECT EXISTS (SELECT FROM saved) FROM device`
	if !storable(unitID) {
		return false, wrap(devices.ErrNotFound, "save state of device %d of unit %q", state.DeviceID, unitID)
	}
	var saved bool
	err := s.db.Write(ctx, deviceKey(unitID, state.DeviceID), func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, upsert, unitID, state.DeviceID, state.Sequence, state.Time, string(state.Readings)).Scan(&saved)
	})
	if err != nil {
		return false, wrap(err, "save state of device %d of unit %q", state.DeviceID, unitID)
	}
	return saved, nil
}

// State is documented at devices.Store.
func (s *Store) State(ctx context.Context, siteID, deviceID int64) (devices.State, error) {
	const query = `
		SELECT device_id, sequence, reported_at, readings FROM states
		WHERE site_id = $1 AND device_id = $2`
	var (
		state      devices.State
		reportedAt time.Time
		readings   []byte
	)
	err := s.db.Read().QueryRow(ctx, query, siteID, deviceID).Scan(&state.DeviceID, &state.Sequence, &reportedAt, &readings)
	if err != nil {
		return devices.State{}, wrap(err, "read state of device %d of site %d", deviceID, siteID)
	}
	state.Time, state.Readings = reportedAt.UTC(), readings
	return state, nil
}

// SaveEvent is documented at devices.Store.
func (s *Store) SaveEvent(ctx context.Context, unitID, eventID string, e devices.Entry) (bool, error) {
	// A unit's events go one by one: two bridges that have the same ones in another
	// order would wait for each other.
	const insert = `
		WITH unit AS (
			SELECT id, site_id FROM units WHERE id = $1 FOR NO KEY UPDATE
		), appended AS (
			INSERT INTO history (site_id, unit_id, event_id, type, label, created_at)
			SELECT site_id, id, $2::text, $3::text, $4::text, $5::timestamptz FROM unit
			ON CONFLICT (unit_id, event_id) WHERE event_id IS NOT NULL DO NOTHING
			RETURNING id
		)
		SELECT EXISTS (SELECT FROM appended) FROM unit`
	if !storable(unitID) {
		return false, wrap(devices.ErrNotFound, "save event %q of unit %q", eventID, unitID)
	}
	var appended bool
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, insert, unitID, eventID, string(e.Type), e.Label, e.CreatedAt).Scan(&appended)
	})
	if err != nil {
		return false, wrap(err, "save event %q of unit %q", eventID, unitID)
	}
	return appended, nil
}

// SaveLink is documented at devices.Store.
func (s *Store) SaveLink(ctx context.Context, unitID string, l devices.Link, keepClock bool) (bool, error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id = $1 FOR NO KEY UPDATE`
	const update = `
		UPDATE units SET online = $2, session = $3, firmware = $4, catalogue = $5, clock_offset_ms = $6, link_at = $7
		WHERE id = $1`
	if !storable(unitID) {
		return false, wrap(devices.ErrNotFound, "save link of unit %q", unitID)
	}
	var changed bool
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx pgx.Tx) error {
		unit, err := scanUnit(tx.QueryRow(ctx, query, unitID))
		if err != nil {
			return err
		}
		next := follow(unit.Link, l, keepClock)
		changed = differ(unit.Link, next)
		if next == unit.Link {
			return nil
		}
		_, err = tx.Exec(ctx, update, unitID, next.Online, next.Session, next.Firmware, next.Catalogue,
			next.ClockOffset.Milliseconds(), timestamp(next.At))
		return err
	})
	if err != nil {
		return false, wrap(err, "save link of unit %q", unitID)
	}
	return changed, nil
}

// follow gives the link that stands after a report.
func follow(link, report devices.Link, keepClock bool) devices.Link {
	switch {
	case report.Online && keepClock:
		report.ClockOffset = link.ClockOffset
		return report
	case report.Online:
		return report
	case link.Online && link.Session == report.Session:
		link.Online, link.At = false, report.At
		return link
	default:
		return link
	}
}

// differ reports whether a and b differ in more than their time.
func differ(a, b devices.Link) bool {
	a.At, b.At = time.Time{}, time.Time{}
	return a != b
}

// Disconnect is documented at devices.Store.
func (s *Store) Disconnect(ctx context.Context, now time.Time) error {
	_, err := s.sweep(ctx, `UPDATE units SET online = false, link_at = $1 WHERE online`, now)
	return wrap(err, "disconnect units")
}

// Online is documented at devices.Store.
func (s *Store) Online(ctx context.Context) (int, error) {
	var n int
	err := s.db.Read().QueryRow(ctx, `SELECT count(*) FROM units WHERE online`).Scan(&n)
	return n, wrap(err, "count units online")
}

// History is documented at devices.Store.
func (s *Store) History(ctx context.Context, siteID int64, f devices.HistoryFilter) ([]devices.Entry, error) {
	const query = `
		SELECT id, site_id, type, label, created_at FROM history
		WHERE site_id = $1 AND created_at BETWEEN $2 AND $3 AND type = ANY ($4)`
	const ascending = query + ` ORDER BY created_at, id LIMIT $5`
	const descending = query + ` ORDER BY created_at DESC, id DESC LIMIT $5`
	sql := descending
	if f.Ascending {
		sql = ascending
	}
	rows, err := s.db.Read().Query(ctx, sql, siteID, f.From, f.To, types(f), bound(f.Limit))
	entries, err := collect(rows, err, scanEntry)
	return entries, wrap(err, "read history of site %d", siteID)
}

func types(f devices.HistoryFilter) []string {
	chosen := f.Types
	if len(chosen) == 0 {
		chosen = devices.HistoryTypes()
	}
	names := make([]string, len(chosen))
	for i, t := range chosen {
		names[i] = string(t)
	}
	return names
}

func scanEntry(row pgx.Row) (devices.Entry, error) {
	var (
		e         devices.Entry
		createdAt time.Time
	)
	err := row.Scan(&e.ID, &e.SiteID, &e.Type, &e.Label, &createdAt)
	e.CreatedAt = createdAt.UTC()
	return e, err
}
