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
func (s *Store) SaveState(ctx context.Context, unitID string, r devices.Report) (bool, error) {
	const device = `
		SELECT site_id FROM units WHERE id = ?1 AND ?2 = 0
		UNION ALL
		SELECT site_id FROM devices WHERE id = ?2 AND unit_id = ?1`
	var saved bool
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx *sql.Tx) error {
		saved = false
		var siteID int64
		if err := tx.QueryRowContext(ctx, device, unitID, r.State.DeviceID).Scan(&siteID); err != nil {
			return err
		}
		explained, err := isExplained(ctx, tx, siteID, r)
		if err != nil {
			return err
		}
		if saved, err = upsertState(ctx, tx, siteID, r.State); err != nil || !saved {
			return err
		}
		if err := upsertMeasurements(ctx, tx, r); err != nil || explained {
			return err
		}
		for _, e := range r.Entries {
			if err := insertEntry(ctx, tx, siteID, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, wrap(ctx, err, "save state of device %d of unit %q", r.State.DeviceID, unitID)
	}
	return saved, nil
}

// isExplained reports whether the entries of r are not to be written: the state that is
// stored is not the one that they tell the change of, or a command is the reason.
func isExplained(ctx context.Context, tx *sql.Tx, siteID int64, r devices.Report) (bool, error) {
	const query = `
		SELECT coalesce((SELECT sequence FROM states WHERE site_id = ?1 AND device_id = ?2), 0) <> ?3
			OR EXISTS (
				SELECT 1 FROM commands WHERE site_id = ?1 AND device_id = ?2 AND accepted_at >= ?4 AND outcome IN ('pending', 'unknown')
			)`
	if len(r.Entries) == 0 {
		return true, nil
	}
	var explained bool
	err := tx.QueryRowContext(ctx, query, siteID, r.State.DeviceID, r.Previous, micros(r.CommandSince)).Scan(&explained)
	return explained, err
}

func upsertMeasurements(ctx context.Context, tx *sql.Tx, r devices.Report) error {
	const upsert = `
		INSERT INTO measurements (device_id, reading, slot, at, value) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (device_id, reading, slot) DO UPDATE SET at = excluded.at, value = excluded.value
		WHERE measurements.at <= excluded.at`
	for reading, value := range r.Measured {
		_, err := tx.ExecContext(ctx, upsert, r.State.DeviceID, reading, micros(r.Slot), micros(r.State.Time), value)
		if err != nil {
			return err
		}
	}
	return nil
}

// upsertState stores the state if its sequence is above the stored one, and reports
// whether it was.
func upsertState(ctx context.Context, tx *sql.Tx, siteID int64, state devices.State) (bool, error) {
	const upsert = `
		INSERT INTO states (site_id, device_id, sequence, reported_at, readings, since) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (site_id, device_id) DO UPDATE
		SET sequence = excluded.sequence, reported_at = excluded.reported_at, readings = excluded.readings, since = excluded.since
		WHERE states.sequence < excluded.sequence`
	since, err := encodeSince(state.Since)
	if err != nil {
		return false, err
	}
	result, err := tx.ExecContext(ctx, upsert, siteID, state.DeviceID, state.Sequence, micros(state.Time), string(state.Readings), since)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// encodeSince gives the times as a column holds them.
func encodeSince(since map[string]time.Time) (string, error) {
	if len(since) == 0 {
		return "", nil
	}
	times := make(map[string]int64, len(since))
	for name, at := range since {
		times[name] = at.UnixMilli()
	}
	text, err := json.Marshal(times)
	return string(text), err
}

func decodeSince(text string) (map[string]time.Time, error) {
	if text == "" {
		return nil, nil
	}
	var times map[string]int64
	if err := json.Unmarshal([]byte(text), &times); err != nil {
		return nil, fmt.Errorf("decode since: %w", err)
	}
	since := make(map[string]time.Time, len(times))
	for name, ms := range times {
		since[name] = time.UnixMilli(ms).UTC()
	}
	return since, nil
}

// State is documented at devices.Store.
func (s *Store) State(ctx context.Context, siteID, deviceID int64) (devices.State, error) {
	const query = `
		SELECT sequence, reported_at, readings, since FROM states
		WHERE site_id = ? AND device_id = ?`
	var columns stateColumns
	err := s.db.Read().QueryRowContext(ctx, query, siteID, deviceID).Scan(columns.into()...)
	if err != nil {
		return devices.State{}, wrap(ctx, err, "read state of device %d of site %d", deviceID, siteID)
	}
	state, err := columns.state(deviceID)
	return state, wrap(ctx, err, "read state of device %d of site %d", deviceID, siteID)
}

// stateColumns are the sequence, the time, the readings and the since of a state that may
// not be there.
type stateColumns struct {
	sequence, reportedAt sql.NullInt64
	readings, since      sql.NullString
}

func (c *stateColumns) into() []any { return []any{&c.sequence, &c.reportedAt, &c.readings, &c.since} }

func (c *stateColumns) state(deviceID int64) (devices.State, error) {
	if !c.sequence.Valid {
		return devices.State{}, nil
	}
	since, err := decodeSince(c.since.String)
	return devices.State{
		DeviceID: deviceID, Sequence: c.sequence.Int64, Time: utcOrZero(c.reportedAt),
		Readings: json.RawMessage(c.readings.String), Since: since,
	}, err
}

// SaveEvent is documented at devices.Store.
func (s *Store) SaveEvent(ctx context.Context, unitID, eventID string, e devices.Entry, triggered ...devices.Occurrence) (bool, error) {
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
		if appended, err = result.RowsAffected(); err != nil || appended == 0 {
			return err
		}
		return insertTriggered(ctx, tx, siteID, triggered)
	})
	if err != nil {
		return false, wrap(ctx, err, "save event %q of unit %q", eventID, unitID)
	}
	return appended > 0, nil
}

func insertEntry(ctx context.Context, tx *sql.Tx, siteID int64, e devices.Entry) error {
	const insert = `
		INSERT INTO history (site_id, event_id, type, label, created_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (site_id, event_id) WHERE event_id IS NOT NULL AND unit_id IS NULL DO NOTHING`
	key := sql.NullString{String: e.Key, Valid: e.Key != ""}
	_, err := tx.ExecContext(ctx, insert, siteID, key, string(e.Type), e.Label, micros(e.CreatedAt))
	return err
}

// SaveLink is documented at devices.Store.
func (s *Store) SaveLink(ctx context.Context, unitID string, l devices.Link, keepClock bool) (before, now devices.Link, _ error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id = ?`
	const update = `
		UPDATE units SET online = ?, session = ?, firmware = ?, catalogue = ?, clock_offset_ms = ?, link_at = ?
		WHERE id = ?`
	var stood, next devices.Link
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx *sql.Tx) error {
		unit, err := scanUnit(tx.QueryRowContext(ctx, query, unitID))
		if err != nil {
			return err
		}
		stood, next = unit.Link, follow(unit.Link, l, keepClock)
		if next == stood {
			return nil
		}
		_, err = tx.ExecContext(ctx, update, next.Online, next.Session, next.Firmware, next.Catalogue,
			next.ClockOffset.Milliseconds(), microsOrNull(next.At), unitID)
		return err
	})
	if err != nil {
		return devices.Link{}, devices.Link{}, wrap(ctx, err, "save link of unit %q", unitID)
	}
	return stood, next, nil
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

// Append is documented at devices.Store.
func (s *Store) Append(ctx context.Context, entries []devices.Entry) error {
	err := s.db.Write(ctx, "history", func(ctx context.Context, tx *sql.Tx) error {
		for _, e := range entries {
			if err := insertEntry(ctx, tx, e.SiteID, e); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(ctx, err, "append %d entries", len(entries))
}
