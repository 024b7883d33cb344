package devicepgx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
)

// SaveState is documented at devices.Store.
func (s *Store) SaveState(ctx context.Context, unitID string, r devices.Report) (bool, error) {
	const upsert = `
		WITH device AS (
			SELECT site_id FROM units WHERE id = $1 AND $2::bigint = 0
			UNION ALL
			SELECT site_id FROM devices WHERE id = $2 AND unit_id = $1
		), saved AS (
			INSERT INTO states (site_id, device_id, sequence, reported_at, readings, since)
			SELECT site_id, $2, $3::bigint, $4::timestamptz, $5::text, $6::text FROM device
			ON CONFLICT (site_id, device_id) DO UPDATE
			SET sequence = excluded.sequence, reported_at = excluded.reported_at, readings = excluded.readings, since = excluded.since
			WHERE states.sequence < excluded.sequence
			RETURNING site_id
		), measured AS (
			INSERT INTO measurements (device_id, reading, slot, at, value)
			SELECT $2, x.reading, $7::timestamptz, $4, x.value
			FROM saved, unnest($8::text[], $9::float8[]) AS x (reading, value)
			ON CONFLICT (device_id, reading, slot) DO UPDATE SET at = excluded.at, value = excluded.value
			WHERE measurements.at <= excluded.at
		), entered AS (
			INSERT INTO history (site_id, type, label, created_at)
			SELECT site_id, x.type, x.label, $4
			FROM saved, unnest($10::text[], $11::text[]) WITH ORDINALITY AS x (type, label, place)
			WHERE coalesce((SELECT t.sequence FROM states t WHERE t.site_id = saved.site_id AND t.device_id = $2), 0) = $12::bigint
				AND NOT EXISTS (
					SELECT FROM commands c WHERE c.site_id = saved.site_id AND c.device_id = $2
						AND c.accepted_at >= $13::timestamptz AND c.outcome IN ('pending', 'unknown')
				)
			ORDER BY x.place
		)
		SELECT EXISTS (SELECT FROM saved) FROM device`
	if !storable(unitID) {
		return false, wrap(devices.ErrNotFound, "save state of device %d of unit %q", r.State.DeviceID, unitID)
	}
	var saved, found bool
	batch := &pgx.Batch{}
	batch.Queue(upsert, append([]any{
		unitID, r.State.DeviceID, r.State.Sequence, r.State.Time, string(r.State.Readings), encodeSince(r.State.Since), r.Slot,
	}, reportValues(r)...)...).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&saved)
		found = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	err := s.db.WriteBatch(ctx, deviceKey(unitID, r.State.DeviceID), batch)
	if err != nil {
		return false, wrap(err, "save state of device %d of unit %q", r.State.DeviceID, unitID)
	}
	if !found {
		return false, wrap(devices.ErrNotFound, "save state of device %d of unit %q", r.State.DeviceID, unitID)
	}
	return saved, nil
}

// reportValues are what comes with a state: measurements, entries and their conditions.
func reportValues(r devices.Report) []any {
	names, values := slices.Sorted(maps.Keys(r.Measured)), []float64{}
	if names == nil {
		names = []string{}
	}
	for _, name := range names {
		values = append(values, r.Measured[name])
	}
	types, labels := []string{}, []string{}
	for _, e := range r.Entries {
		types, labels = append(types, string(e.Type)), append(labels, e.Label)
	}
	return []any{names, values, types, labels, r.Previous, r.CommandSince}
}

// encodeSince gives the times as a column holds them.
func encodeSince(since map[string]time.Time) string {
	if len(since) == 0 {
		return ""
	}
	times := make(map[string]int64, len(since))
	for name, at := range since {
		times[name] = at.UnixMilli()
	}
	text, err := json.Marshal(times)
	if err != nil {
		return "" // not reached: names and numbers
	}
	return string(text)
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
		WHERE site_id = $1 AND device_id = $2`
	var columns stateColumns
	err := s.db.Read().QueryRow(ctx, query, siteID, deviceID).Scan(columns.into()...)
	if err != nil {
		return devices.State{}, wrap(err, "read state of device %d of site %d", deviceID, siteID)
	}
	state, err := columns.state(deviceID)
	return state, wrap(err, "read state of device %d of site %d", deviceID, siteID)
}

// stateColumns are the sequence, the time, the readings and the since of a state that may
// not be there.
type stateColumns struct {
	sequence   pgtype.Int8
	reportedAt pgtype.Timestamptz
	readings   []byte
	since      pgtype.Text
}

func (c *stateColumns) into() []any { return []any{&c.sequence, &c.reportedAt, &c.readings, &c.since} }

func (c *stateColumns) state(deviceID int64) (devices.State, error) {
	if !c.sequence.Valid {
		return devices.State{}, nil
	}
	since, err := decodeSince(c.since.String)
	return devices.State{DeviceID: deviceID, Sequence: c.sequence.Int64, Time: utc(c.reportedAt), Readings: c.readings, Since: since}, err
}

// SaveEvent is documented at devices.Store.
func (s *Store) SaveEvent(ctx context.Context, unitID, eventID string, e devices.Entry, triggered ...devices.Occurrence) (bool, error) {
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
		), triggered AS (
			INSERT INTO scenario_occurrences (scenario_id, occasion, at, outcome, recorded_at, lease_until)
			SELECT c.id, x.occasion, x.at, 'open', x.at, x.at
			FROM appended, unit, scenarios c, unnest($6::bigint[], $7::text[], $8::timestamptz[]) AS x (scenario_id, occasion, at)
			WHERE c.id = x.scenario_id AND c.site_id = unit.site_id AND c.enabled
			ON CONFLICT DO NOTHING
		)
		SELECT EXISTS (SELECT FROM appended) FROM unit`
	if !storable(unitID) {
		return false, wrap(devices.ErrNotFound, "save event %q of unit %q", eventID, unitID)
	}
	scenarios, occasions, times := []int64{}, []string{}, []time.Time{}
	for _, o := range triggered {
		scenarios, occasions, times = append(scenarios, o.ScenarioID), append(occasions, o.Occasion), append(times, o.At)
	}
	var appended bool
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, insert, unitID, eventID, string(e.Type), e.Label, e.CreatedAt, scenarios, occasions, times).Scan(&appended)
	})
	if err != nil {
		return false, wrap(err, "save event %q of unit %q", eventID, unitID)
	}
	return appended, nil
}

// SaveLink is documented at devices.Store.
func (s *Store) SaveLink(ctx context.Context, unitID string, l devices.Link, keepClock bool) (before, now devices.Link, _ error) {
	const query = `SELECT ` + unitColumns + ` FROM units u WHERE u.id = $1 FOR NO KEY UPDATE`
	const update = `
		UPDATE units SET online = $2, session = $3, firmware = $4, catalogue = $5, clock_offset_ms = $6, link_at = $7
		WHERE id = $1`
	if !storable(unitID) {
		return devices.Link{}, devices.Link{}, wrap(devices.ErrNotFound, "save link of unit %q", unitID)
	}
	var stood, next devices.Link
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx pgx.Tx) error {
		unit, err := scanUnit(tx.QueryRow(ctx, query, unitID))
		if err != nil {
			return err
		}
		stood, next = unit.Link, follow(unit.Link, l, keepClock)
		if next == stood {
			return nil
		}
		_, err = tx.Exec(ctx, update, unitID, next.Online, next.Session, next.Firmware, next.Catalogue,
			next.ClockOffset.Milliseconds(), timestamp(next.At))
		return err
	})
	if err != nil {
		return devices.Link{}, devices.Link{}, wrap(err, "save link of unit %q", unitID)
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

const insertEntry = `
	INSERT INTO history (site_id, event_id, type, label, created_at) VALUES ($1, nullif($2, ''), $3, $4, $5)
	ON CONFLICT (site_id, event_id) WHERE event_id IS NOT NULL AND unit_id IS NULL DO NOTHING`

func queueEntry(batch *pgx.Batch, siteID int64, e devices.Entry) {
	batch.Queue(insertEntry, siteID, e.Key, string(e.Type), e.Label, e.CreatedAt)
}

// send runs the statements of a batch, if there are any.
func send(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) error {
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

// insertEntries appends what is not nil to the history of a site.
func insertEntries(ctx context.Context, tx pgx.Tx, siteID int64, entries ...*devices.Entry) error {
	batch := &pgx.Batch{}
	for _, e := range entries {
		if e != nil {
			queueEntry(batch, siteID, *e)
		}
	}
	return send(ctx, tx, batch)
}

// Append is documented at devices.Store.
func (s *Store) Append(ctx context.Context, entries []devices.Entry) error {
	batch := &pgx.Batch{}
	for _, e := range entries {
		queueEntry(batch, e.SiteID, e)
	}
	return wrap(s.db.WriteBatch(ctx, "history", batch), "append %d entries", len(entries))
}
