package devicesqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// SaveState is documented at devices.Store.
func (s *Store) SaveState(ctx context.Context, unitID string, state devices.State) (bool, error) {
	const device = `
		SELECT site_id FROM units WHERE id = ?1 AND ?2 = 0
		UNION ALL
		SELECT site_id FROM devices WHERE id = ?2 AND unit_id = ?1`
	var saved bool
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx *sql.Tx) error {
		var siteID int64
		if err := tx.QueryRowContext(ctx, device, unitID, state.DeviceID).Scan(&siteID); err != nil {
			return err
		}
		var err error
		saved, err = upsertState(ctx, tx, siteID, state)
		return err
	})
	if err != nil {
		return false, wrap(ctx, err, "save state of device %d of unit %q", state.DeviceID, unitID)
	}
	return saved, nil
}

// upsertState stores the state if its sequence is above the stored one, and reports
// whether it was.
func upsertState(ctx context.Context, tx *sql.Tx, siteID int64, state devices.State) (bool, error) {
	const upsert = `
		INSERT INTO states (site_id, device_id, sequence, reported_at, readings) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (site_id, device_id) DO UPDATE
		SET sequence = excluded.sequence, reported_at = excluded.reported_at, readings = excluded.readings
		WHERE states.sequence < excluded.sequence`
	result, err := tx.ExecContext(ctx, upsert, siteID, state.DeviceID, state.Sequence, micros(state.Time), string(state.Readings))
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// State is documented at devices.Store.
func (s *Store) State(ctx context.Context, siteID, deviceID int64) (devices.State, error) {
	const query = `
		SELECT device_id, sequence, reported_at, readings FROM states
		WHERE site_id = ? AND device_id = ?`
	var (
		state      devices.State
		reportedAt int64
		readings   string
	)
	err := s.db.Read().QueryRowContext(ctx, query, siteID, deviceID).Scan(&state.DeviceID, &state.Sequence, &reportedAt, &readings)
	if err != nil {
		return devices.State{}, wrap(ctx, err, "read state of device %d of site %d", deviceID, siteID)
	}
	state.Time, state.Readings = utc(reportedAt), json.RawMessage(readings)
	return state, nil
}

// SaveEvent is documented at devices.Store.
func (s *Store) SaveEvent(ctx context.Context, unitID, eventID string, e devices.Entry) (bool, error) {
	const site = `SELECT site_id FROM units WHERE id = ?`
	const insert = `
		INSERT INTO history (site_id, unit_id, event_id, type, label, created_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (unit_id, event_id) WHERE event_id IS NOT NULL DO NOTHING`
	var appended int64
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx *sql.Tx) error {
		var siteID int64
		if err := tx.QueryRowContext(ctx, site, unitID).Scan(&siteID); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, insert, siteID, unitID, eventID, string(e.Type), e.Label, micros(e.CreatedAt))
		if err != nil {
			return err
		}
		appended, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return false, wrap(ctx, err, "save event %q of unit %q", eventID, unitID)
	}
	return appended > 0, nil
}

func insertEntry(ctx context.Context, tx *sql.Tx, siteID int64, e devices.Entry) error {
	const insert = `INSERT INTO history (site_id, type, label, created_at) VALUES (?, ?, ?, ?)`
	_, err := tx.ExecContext(ctx, insert, siteID, string(e.Type), e.Label, micros(e.CreatedAt))
	return err
}

// SaveLink is documented at devices.Store.
func (s *Store) SaveLink(ctx context.Context, unitID string, l devices.Link, keepClock bool) (bool, error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id = ?`
	const update = `
		UPDATE units SET online = ?, session = ?, firmware = ?, catalogue = ?, clock_offset_ms = ?, link_at = ?
		WHERE id = ?`
	var changed bool
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx *sql.Tx) error {
		unit, err := scanUnit(tx.QueryRowContext(ctx, query, unitID))
		if err != nil {
			return err
		}
		next := follow(unit.Link, l, keepClock)
		changed = differ(unit.Link, next)
		if next == unit.Link {
			return nil
		}
		_, err = tx.ExecContext(ctx, update, next.Online, next.Session, next.Firmware, next.Catalogue,
			next.ClockOffset.Milliseconds(), microsOrNull(next.At), unitID)
		return err
	})
	if err != nil {
		return false, wrap(ctx, err, "save link of unit %q", unitID)
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
	_, err := s.sweep(ctx, `UPDATE units SET online = 0, link_at = ? WHERE online = 1`, micros(now))
	return wrap(ctx, err, "disconnect units")
}

// Online is documented at devices.Store.
func (s *Store) Online(ctx context.Context) (int, error) {
	var n int
	err := s.db.Read().QueryRowContext(ctx, `SELECT count(*) FROM units WHERE online = 1`).Scan(&n)
	return n, wrap(ctx, err, "count units online")
}

// History is documented at devices.Store.
func (s *Store) History(ctx context.Context, siteID int64, f devices.HistoryFilter) ([]devices.Entry, error) {
	const query = `
		SELECT id, site_id, type, label, created_at FROM history
		WHERE site_id = ? AND created_at BETWEEN ? AND ? AND type IN (SELECT value FROM json_each(?))`
	const ascending = query + ` ORDER BY created_at, id LIMIT ?`
	const descending = query + ` ORDER BY created_at DESC, id DESC LIMIT ?`
	chosen := descending
	if f.Ascending {
		chosen = ascending
	}
	types, err := typesOf(f)
	if err != nil {
		return nil, wrap(ctx, err, "read history of site %d", siteID)
	}
	rows, err := s.db.Read().QueryContext(ctx, chosen, siteID, micros(f.From), micros(f.To), types, bound(f.Limit))
	entries, err := collect(rows, err, scanEntry)
	return entries, wrap(ctx, err, "read history of site %d", siteID)
}

// typesOf gives the types that f chooses as a JSON array.
func typesOf(f devices.HistoryFilter) (string, error) {
	chosen := f.Types
	if len(chosen) == 0 {
		chosen = devices.HistoryTypes()
	}
	array, err := json.Marshal(chosen)
	if err != nil {
		return "", fmt.Errorf("encode types: %w", err)
	}
	return string(array), nil
}

func scanEntry(row row) (devices.Entry, error) {
	var (
		e         devices.Entry
		createdAt int64
	)
	err := row.Scan(&e.ID, &e.SiteID, &e.Type, &e.Label, &createdAt)
	e.CreatedAt = utc(createdAt)
	return e, err
}
