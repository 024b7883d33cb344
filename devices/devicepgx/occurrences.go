package devicepgx

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
)

// waitingColumns are those of a scenario c with its site s, where nobody asks.
const waitingColumns = `s.id, s.label, s.timezone, s.language, '', s.created_at, ` + scenarioColumns + `, c.plan`

// waitingScan takes them up.
type waitingScan struct {
	scenario scenarioScan
	plan     string
}

// scan reads a row, what comes after waitingColumns into more.
func (w *waitingScan) scan(row pgx.Row, more ...any) (devices.Waiting, error) {
	site, err := scanSite(row, append(append(w.scenario.into(), &w.plan), more...)...)
	return devices.Waiting{Scenario: w.scenario.scenario(site.ID), Site: site, Plan: json.RawMessage(w.plan)}, err
}

func scanWaiting(row pgx.Row) (devices.Waiting, error) { return new(waitingScan).scan(row) }

// Due is documented at devices.Store.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]devices.Waiting, error) {
	const query = `
		SELECT ` + waitingColumns + `
		FROM scenarios c JOIN sites s ON s.id = c.site_id
		WHERE c.enabled AND c.next_at <= $1
		ORDER BY c.next_at LIMIT $2`
	rows, err := s.db.Read().Query(ctx, query, now, bound(limit))
	list, err := collect(rows, err, scanWaiting)
	return list, wrap(err, "list scenarios that are due")
}

// Timed is documented at devices.Store.
func (s *Store) Timed(ctx context.Context, after int64, limit int) ([]devices.Waiting, error) {
	const query = `
		SELECT ` + waitingColumns + `
		FROM scenarios c JOIN sites s ON s.id = c.site_id
		WHERE c.id > $1 AND c.enabled AND c.type IN ('scheduled', 'simulation')
		ORDER BY c.id LIMIT $2`
	rows, err := s.db.Read().Query(ctx, query, after, bound(limit))
	list, err := collect(rows, err, scanWaiting)
	return list, wrap(err, "list scenarios that run by the clock")
}

// Keys of writes that begin with a scenario's row.
func scenarioKey(scenarioID int64) string { return fmt.Sprintf("scenario/%d", scenarioID) }

// Reschedule is documented at devices.Store.
func (s *Store) Reschedule(ctx context.Context, scenarioID int64, was, next time.Time) (bool, error) {
	const update = `
		UPDATE scenarios SET next_at = $3
		WHERE id = $1 AND enabled AND next_at IS NOT DISTINCT FROM $2::timestamptz`
	var n int64
	batch := &pgx.Batch{}
	batch.Queue(update, scenarioID, timestamp(was), timestamp(next)).Exec(func(tag pgconn.CommandTag) error {
		n = tag.RowsAffected()
		return nil
	})
	if err := s.db.WriteBatch(ctx, scenarioKey(scenarioID), batch); err != nil {
		return false, wrap(err, "reschedule scenario %d", scenarioID)
	}
	return n > 0, nil
}

// claim writes nothing, and gives false twice, if the scenario is not as it was.
const claim = `
	WITH due AS (
		UPDATE scenarios SET next_at = $3::timestamptz, plan = coalesce($4::text, plan)
		WHERE id = $1 AND enabled AND next_at IS NOT DISTINCT FROM $2::timestamptz
		RETURNING id, site_id
	), run AS (
		INSERT INTO scenario_occurrences AS o (scenario_id, occasion, at, outcome, recorded_at, begun_at, lease_until)
		SELECT id, $5::text, $6::timestamptz, 'open', $7::timestamptz, $7, $8::timestamptz FROM due WHERE $5::text IS NOT NULL
		ON CONFLICT (scenario_id, occasion) DO UPDATE
		SET outcome = excluded.outcome, recorded_at = excluded.recorded_at, begun_at = excluded.begun_at,
			lease_until = excluded.lease_until, ended_at = NULL
		WHERE o.outcome = 'missed' AND o.recorded_at > excluded.recorded_at
		RETURNING o.scenario_id
	), missed AS (
		INSERT INTO scenario_occurrences (scenario_id, occasion, at, outcome, recorded_at, ended_at)
		SELECT due.id, x.occasion, x.at, 'missed', $7, $7
		FROM due, unnest($9::text[], $10::timestamptz[]) AS x (occasion, at)
		ON CONFLICT DO NOTHING
		RETURNING occasion
	), told AS (
		INSERT INTO history (site_id, type, label, created_at)
		SELECT due.site_id, x.type, x.label, x.created_at
		FROM due, unnest($11::text[], $12::text[], $13::text[], $14::timestamptz[]) WITH ORDINALITY AS x (occasion, type, label, created_at, place)
		WHERE x.occasion = '' OR x.occasion IN (SELECT occasion FROM missed)
		ORDER BY x.place
	)
	SELECT EXISTS (SELECT FROM due), EXISTS (SELECT FROM run)`

// Claim is documented at devices.Store.
func (s *Store) Claim(ctx context.Context, c devices.Claim) (claimed, mine bool, _ error) {
	var took, ours bool
	batch := &pgx.Batch{}
	batch.Queue(claim, claimValues(c)...).QueryRow(func(row pgx.Row) error { return row.Scan(&took, &ours) })
	if err := s.db.WriteBatch(ctx, scenarioKey(c.ScenarioID), batch); err != nil {
		return false, false, wrap(err, "claim scenario %d", c.ScenarioID)
	}
	return took, ours, nil
}

func claimValues(c devices.Claim) []any {
	var run pgtype.Text
	var runAt pgtype.Timestamptz
	if c.Run != nil {
		run, runAt = nullable(c.Run.Occasion), timestamp(c.Run.At)
	}
	occasions, times := []string{}, []time.Time{}
	of, types, labels, told := []string{}, []string{}, []string{}, []time.Time{}
	tell := func(occasion string, e devices.Entry) {
		of, types, labels, told = append(of, occasion), append(types, string(e.Type)), append(labels, e.Label), append(told, e.CreatedAt)
	}
	for _, m := range c.Missed {
		occasions, times = append(occasions, m.Occasion), append(times, m.At)
		if m.Entry != nil {
			tell(m.Occasion, *m.Entry)
		}
	}
	for _, e := range c.Told {
		tell("", e)
	}
	plan := pgtype.Text{String: string(c.Plan), Valid: c.Plan != nil}
	return []any{
		c.ScenarioID, timestamp(c.Was), timestamp(c.Next), plan, run, runAt, c.Now, timestamp(c.Until),
		occasions, times, of, types, labels, told,
	}
}

// Open is documented at devices.Store.
func (s *Store) Open(ctx context.Context, now time.Time, limit int) ([]devices.OpenOccurrence, error) {
	const query = `
		SELECT ` + waitingColumns + `, o.occasion, o.at, o.begun_at IS NOT NULL, o.lease_until
		FROM scenario_occurrences o JOIN scenarios c ON c.id = o.scenario_id JOIN sites s ON s.id = c.site_id
		WHERE o.outcome = 'open' AND o.lease_until <= $1
		ORDER BY o.lease_until LIMIT $2`
	rows, err := s.db.Read().Query(ctx, query, now, bound(limit))
	list, err := collect(rows, err, func(row pgx.Row) (o devices.OpenOccurrence, err error) {
		var at, since time.Time
		o.Waiting, err = new(waitingScan).scan(row, &o.Occurrence.Occasion, &at, &o.Begun, &since)
		o.Occurrence.ScenarioID, o.Occurrence.At, o.Since = o.ID, at.UTC(), since.UTC()
		return o, err
	})
	return list, wrap(err, "list open occurrences")
}

// Take is documented at devices.Store.
//
// What may begin depends on what began before, so of one site one goes at a time, on all
// bridges together: each locks the site first.
func (s *Store) Take(ctx context.Context, t devices.Take) (devices.Taken, error) {
	const lock = `SELECT id FROM sites WHERE id = $1 FOR NO KEY UPDATE`
	const count = `
		SELECT count(*) FILTER (WHERE o.scenario_id = $1), count(*), EXISTS (
			SELECT FROM scenario_occurrences WHERE scenario_id = $1 AND outcome = 'held' AND ended_at > $3
		)
		FROM scenarios c JOIN scenario_occurrences o ON o.scenario_id = c.id
		WHERE c.site_id = $2 AND c.type = 'onEvent' AND o.begun_at > $3`
	const open = ` WHERE scenario_id = $1 AND occasion = $2 AND outcome = 'open' AND lease_until = $3`
	const take = `UPDATE scenario_occurrences SET begun_at = $4, lease_until = $5` + open
	const hold = `UPDATE scenario_occurrences SET outcome = 'held', ended_at = $4` + open
	o := t.Occurrence
	var taken devices.Taken
	err := s.db.Write(ctx, siteKey(t.SiteID), func(ctx context.Context, tx pgx.Tx) error {
		taken = devices.TakenByOther
		var own, all int
		var told bool
		if t.Most > 0 {
			if _, err := tx.Exec(ctx, lock, t.SiteID); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, count, o.ScenarioID, t.SiteID, t.After).Scan(&own, &all, &told); err != nil {
				return err
			}
		}
		if t.Most == 0 || own < t.Most && all < t.SiteMost {
			tag, err := tx.Exec(ctx, take, o.ScenarioID, o.Occasion, t.Since, t.Now, t.Until)
			if tag.RowsAffected() > 0 {
				taken = devices.TakenByCaller
			}
			return err
		}
		tag, err := tx.Exec(ctx, hold, o.ScenarioID, o.Occasion, t.Since, t.Now)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		taken = devices.TakenNot
		if told {
			return nil
		}
		return insertEntries(ctx, tx, t.SiteID, &t.Held)
	})
	if err != nil {
		return "", wrap(err, "take occurrence %q of scenario %d", o.Occasion, o.ScenarioID)
	}
	return taken, nil
}

// Release is documented at devices.Store.
func (s *Store) Release(ctx context.Context, o devices.Occurrence, then time.Time) error {
	const update = `
		UPDATE scenario_occurrences SET begun_at = NULL, lease_until = $3
		WHERE scenario_id = $1 AND occasion = $2 AND outcome = 'open'`
	batch := &pgx.Batch{}
	batch.Queue(update, o.ScenarioID, o.Occasion, then)
	return wrap(s.db.WriteBatch(ctx, occurrenceKey(o), batch), "release occurrence %q of scenario %d", o.Occasion, o.ScenarioID)
}

func occurrenceKey(o devices.Occurrence) string { return scenarioKey(o.ScenarioID) + "/" + o.Occasion }

// Conclude is documented at devices.Store.
func (s *Store) Conclude(ctx context.Context, o devices.Occurrence, as devices.OccurrenceOutcome, now time.Time, entries []devices.Entry) error {
	const update = `
		WITH concluded AS (
			UPDATE scenario_occurrences SET outcome = $3, ended_at = $4
			WHERE scenario_id = $1 AND occasion = $2 AND outcome = 'open'
			RETURNING scenario_id
		), told AS (
			INSERT INTO history (site_id, type, label, created_at)
			SELECT c.site_id, x.type, x.label, x.created_at
			FROM concluded JOIN scenarios c ON c.id = concluded.scenario_id,
				unnest($5::text[], $6::text[], $7::timestamptz[]) WITH ORDINALITY AS x (type, label, created_at, place)
			ORDER BY x.place
		)
		SELECT count(*) FROM concluded`
	types, labels, times := []string{}, []string{}, []time.Time{}
	for _, e := range entries {
		types, labels, times = append(types, string(e.Type)), append(labels, e.Label), append(times, e.CreatedAt)
	}
	var n int
	batch := &pgx.Batch{}
	batch.Queue(update, o.ScenarioID, o.Occasion, string(as), now, types, labels, times).
		QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	err := s.db.WriteBatch(ctx, occurrenceKey(o), batch)
	if err == nil && n == 0 {
		err = devices.ErrNotFound
	}
	return wrap(err, "conclude occurrence %q of scenario %d", o.Occasion, o.ScenarioID)
}

// NextDue is documented at devices.Store.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	const query = `
		SELECT least(
			(SELECT min(next_at) FROM scenarios WHERE enabled),
			(SELECT min(lease_until) FROM scenario_occurrences WHERE outcome = 'open')
		)`
	var at pgtype.Timestamptz
	err := s.db.Read().QueryRow(ctx, query).Scan(&at)
	return utc(at), wrap(err, "find when a scenario is due next")
}

// Triggers is documented at devices.Store.
func (s *Store) Triggers(ctx context.Context, siteID int64) ([]devices.Trigger, error) {
	const query = `
		SELECT c.id, c.rule,
			ARRAY (SELECT DISTINCT device_id FROM scenario_steps WHERE scenario_id = c.id ORDER BY device_id),
			(SELECT max(begun_at) FROM scenario_occurrences WHERE scenario_id = c.id)
		FROM scenarios c
		WHERE c.site_id = $1 AND c.type = 'onEvent' AND c.enabled
		ORDER BY c.id`
	rows, err := s.db.Read().Query(ctx, query, siteID)
	list, err := collect(rows, err, func(row pgx.Row) (t devices.Trigger, err error) {
		var rule string
		var begun pgtype.Timestamptz
		err = row.Scan(&t.ScenarioID, &rule, &t.Devices, &begun)
		t.Rule, t.LastBegun = json.RawMessage(rule), utc(begun)
		return t, err
	})
	return list, wrap(err, "list triggers of site %d", siteID)
}

// LastRuns is documented at devices.Store.
func (s *Store) LastRuns(ctx context.Context, siteID int64) ([]devices.LastRun, error) {
	const query = `
		SELECT c.id, o.occasion, o.at, o.begun_at, o.outcome
		FROM scenarios c CROSS JOIN LATERAL (
			SELECT occasion, at, begun_at, outcome FROM scenario_occurrences WHERE scenario_id = c.id AND begun_at IS NOT NULL
			ORDER BY begun_at DESC, occasion DESC LIMIT 1
		) o
		WHERE c.site_id = $1 ORDER BY c.id`
	rows, err := s.db.Read().Query(ctx, query, siteID)
	list, err := collect(rows, err, func(row pgx.Row) (l devices.LastRun, err error) {
		err = row.Scan(&l.ScenarioID, &l.Occasion, &l.At, &l.BegunAt, (*string)(&l.Outcome))
		l.At, l.BegunAt = l.At.UTC(), l.BegunAt.UTC()
		return l, err
	})
	return list, wrap(err, "list last runs of site %d", siteID)
}

// PurgeOccurrences is documented at devices.Store.
func (s *Store) PurgeOccurrences(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM scenario_occurrences WHERE (scenario_id, occasion) IN (
			SELECT scenario_id, occasion FROM scenario_occurrences WHERE at < $1 AND outcome <> 'open'
			ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
		)`
	n, err := s.sweep(ctx, remove, before, bound(limit))
	return n, wrap(err, "purge occurrences of before %s", before)
}
