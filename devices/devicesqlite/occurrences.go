package devicesqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

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
func (w *waitingScan) scan(row row, more ...any) (devices.Waiting, error) {
	site, err := scanSite(row, append(append(w.scenario.into(), &w.plan), more...)...)
	return devices.Waiting{Scenario: w.scenario.scenario(site.ID), Site: site, Plan: json.RawMessage(w.plan)}, err
}

func scanWaiting(row row) (devices.Waiting, error) { return new(waitingScan).scan(row) }

// Due is documented at devices.Store.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]devices.Waiting, error) {
	const query = `
		SELECT ` + waitingColumns + `
		FROM scenarios c JOIN sites s ON s.id = c.site_id
		WHERE c.enabled = 1 AND c.next_at <= ?
		ORDER BY c.next_at LIMIT ?`
	rows, err := s.db.Read().QueryContext(ctx, query, micros(now), bound(limit))
	list, err := collect(rows, err, scanWaiting)
	return list, wrap(ctx, err, "list scenarios that are due")
}

// Timed is documented at devices.Store.
func (s *Store) Timed(ctx context.Context, after int64, limit int) ([]devices.Waiting, error) {
	const query = `
		SELECT ` + waitingColumns + `
		FROM scenarios c JOIN sites s ON s.id = c.site_id
		WHERE c.id > ? AND c.enabled = 1 AND c.type IN ('scheduled', 'simulation')
		ORDER BY c.id LIMIT ?`
	rows, err := s.db.Read().QueryContext(ctx, query, after, bound(limit))
	list, err := collect(rows, err, scanWaiting)
	return list, wrap(ctx, err, "list scenarios that run by the clock")
}

// Reschedule is documented at devices.Store.
func (s *Store) Reschedule(ctx context.Context, scenarioID int64, was, next time.Time) (bool, error) {
	const update = `UPDATE scenarios SET next_at = ? WHERE id = ? AND enabled = 1 AND next_at IS ?`
	n, err := s.changed(ctx, scenarioKey(scenarioID), update, microsOrNull(next), scenarioID, microsOrNull(was))
	return n > 0, wrap(ctx, err, "reschedule scenario %d", scenarioID)
}

func scenarioKey(scenarioID int64) string { return fmt.Sprintf("scenario/%d", scenarioID) }

// changed runs a statement and counts the rows that it changed.
func (s *Store) changed(ctx context.Context, key, statement string, args ...any) (int64, error) {
	var n int64
	err := s.db.Write(ctx, key, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		n, err = execute(ctx, tx, statement, args...)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// execute runs a statement and counts the rows that it changed.
func execute(ctx context.Context, tx *sql.Tx, statement string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Claim is documented at devices.Store.
func (s *Store) Claim(ctx context.Context, c devices.Claim) (claimed, mine bool, _ error) {
	const update = `
		UPDATE scenarios SET next_at = ?, plan = coalesce(?, plan)
		WHERE id = ? AND enabled = 1 AND next_at IS ? RETURNING site_id`
	var took, ours bool
	err := s.db.Write(ctx, scenarioKey(c.ScenarioID), func(ctx context.Context, tx *sql.Tx) error {
		took, ours = false, false
		plan := sql.NullString{String: string(c.Plan), Valid: c.Plan != nil}
		var siteID int64
		err := tx.QueryRowContext(ctx, update, microsOrNull(c.Next), plan, c.ScenarioID, microsOrNull(c.Was)).Scan(&siteID)
		if err == sql.ErrNoRows { //nolint:errorlint // as Scan gives it
			return nil
		}
		if err != nil {
			return err
		}
		took = true
		if c.Run != nil {
			if ours, err = insertRun(ctx, tx, c); err != nil {
				return err
			}
		}
		if err := insertMissed(ctx, tx, siteID, c); err != nil {
			return err
		}
		return insertAll(ctx, tx, siteID, c.Told)
	})
	if err != nil {
		return false, false, wrap(ctx, err, "claim scenario %d", c.ScenarioID)
	}
	return took, ours, nil
}

// insertRun writes the occurrence that is to run, and reports whether it was.
func insertRun(ctx context.Context, tx *sql.Tx, c devices.Claim) (bool, error) {
	const insert = `
		INSERT INTO scenario_occurrences (scenario_id, occasion, at, outcome, recorded_at, begun_at, lease_until)
		VALUES (?1, ?2, ?3, 'open', ?4, ?4, ?5)
		ON CONFLICT (scenario_id, occasion) DO UPDATE
		SET outcome = excluded.outcome, recorded_at = excluded.recorded_at, begun_at = excluded.begun_at,
			lease_until = excluded.lease_until, ended_at = NULL
		WHERE scenario_occurrences.outcome = 'missed' AND scenario_occurrences.recorded_at > excluded.recorded_at`
	n, err := execute(ctx, tx, insert, c.Run.ScenarioID, c.Run.Occasion, micros(c.Run.At), micros(c.Now), micros(c.Until))
	return n > 0, err
}

func insertMissed(ctx context.Context, tx *sql.Tx, siteID int64, c devices.Claim) error {
	const insert = `
		INSERT INTO scenario_occurrences (scenario_id, occasion, at, outcome, recorded_at, ended_at)
		VALUES (?1, ?2, ?3, 'missed', ?4, ?4) ON CONFLICT DO NOTHING`
	for _, m := range c.Missed {
		n, err := execute(ctx, tx, insert, m.ScenarioID, m.Occasion, micros(m.At), micros(c.Now))
		if err != nil {
			return err
		}
		if n == 0 || m.Entry == nil {
			continue
		}
		if err := insertEntry(ctx, tx, siteID, *m.Entry); err != nil {
			return err
		}
	}
	return nil
}

func insertAll(ctx context.Context, tx *sql.Tx, siteID int64, entries []devices.Entry) error {
	for _, e := range entries {
		if err := insertEntry(ctx, tx, siteID, e); err != nil {
			return err
		}
	}
	return nil
}

// insertTriggered writes what an event sets off.
func insertTriggered(ctx context.Context, tx *sql.Tx, siteID int64, list []devices.Occurrence) error {
	const insert = `
		INSERT INTO scenario_occurrences (scenario_id, occasion, at, outcome, recorded_at, lease_until)
		SELECT id, ?2, ?3, 'open', ?3, ?3 FROM scenarios WHERE id = ?1 AND site_id = ?4 AND enabled = 1
		ON CONFLICT DO NOTHING`
	for _, o := range list {
		if _, err := execute(ctx, tx, insert, o.ScenarioID, o.Occasion, micros(o.At), siteID); err != nil {
			return err
		}
	}
	return nil
}

// Open is documented at devices.Store.
func (s *Store) Open(ctx context.Context, now time.Time, limit int) ([]devices.OpenOccurrence, error) {
	const query = `
		SELECT ` + waitingColumns + `, o.occasion, o.at, o.begun_at IS NOT NULL, o.lease_until
		FROM scenario_occurrences o JOIN scenarios c ON c.id = o.scenario_id JOIN sites s ON s.id = c.site_id
		WHERE o.outcome = 'open' AND o.lease_until <= ?
		ORDER BY o.lease_until LIMIT ?`
	rows, err := s.db.Read().QueryContext(ctx, query, micros(now), bound(limit))
	list, err := collect(rows, err, func(row row) (o devices.OpenOccurrence, err error) {
		var at, since int64
		o.Waiting, err = new(waitingScan).scan(row, &o.Occurrence.Occasion, &at, &o.Begun, &since)
		o.Occurrence.ScenarioID, o.Occurrence.At, o.Since = o.ID, utc(at), utc(since)
		return o, err
	})
	return list, wrap(ctx, err, "list open occurrences")
}

// Take is documented at devices.Store.
func (s *Store) Take(ctx context.Context, t devices.Take) (devices.Taken, error) {
	const count = `
		SELECT count(*) FILTER (WHERE o.scenario_id = ?1), count(*), EXISTS (
			SELECT 1 FROM scenario_occurrences WHERE scenario_id = ?1 AND outcome = 'held' AND ended_at > ?3
		)
		FROM scenarios c JOIN scenario_occurrences o ON o.scenario_id = c.id
		WHERE c.site_id = ?2 AND c.type = 'onEvent' AND o.begun_at > ?3`
	const open = ` WHERE scenario_id = ? AND occasion = ? AND outcome = 'open' AND lease_until = ?`
	const take = `UPDATE scenario_occurrences SET begun_at = ?, lease_until = ?` + open
	const hold = `UPDATE scenario_occurrences SET outcome = 'held', ended_at = ?` + open
	o := t.Occurrence
	var taken devices.Taken
	err := s.db.Write(ctx, siteKey(t.SiteID), func(ctx context.Context, tx *sql.Tx) error {
		taken = devices.TakenByOther
		var own, all int
		var told bool
		if t.Most > 0 {
			if err := tx.QueryRowContext(ctx, count, o.ScenarioID, t.SiteID, micros(t.After)).Scan(&own, &all, &told); err != nil {
				return err
			}
		}
		if t.Most == 0 || own < t.Most && all < t.SiteMost {
			n, err := execute(ctx, tx, take, micros(t.Now), micros(t.Until), o.ScenarioID, o.Occasion, micros(t.Since))
			if n > 0 {
				taken = devices.TakenByCaller
			}
			return err
		}
		n, err := execute(ctx, tx, hold, micros(t.Now), o.ScenarioID, o.Occasion, micros(t.Since))
		if err != nil || n == 0 {
			return err
		}
		taken = devices.TakenNot
		if told {
			return nil
		}
		return insertEntry(ctx, tx, t.SiteID, t.Held)
	})
	if err != nil {
		return "", wrap(ctx, err, "take occurrence %q of scenario %d", o.Occasion, o.ScenarioID)
	}
	return taken, nil
}

// Release is documented at devices.Store.
func (s *Store) Release(ctx context.Context, o devices.Occurrence, then time.Time) error {
	const update = `
		UPDATE scenario_occurrences SET begun_at = NULL, lease_until = ?
		WHERE scenario_id = ? AND occasion = ? AND outcome = 'open'`
	_, err := s.changed(ctx, scenarioKey(o.ScenarioID), update, micros(then), o.ScenarioID, o.Occasion)
	return wrap(ctx, err, "release occurrence %q of scenario %d", o.Occasion, o.ScenarioID)
}

// Conclude is documented at devices.Store.
func (s *Store) Conclude(ctx context.Context, o devices.Occurrence, as devices.OccurrenceOutcome, now time.Time, entries []devices.Entry) error {
	const update = `
		UPDATE scenario_occurrences SET outcome = ?, ended_at = ?
		WHERE scenario_id = ? AND occasion = ? AND outcome = 'open'
		RETURNING (SELECT site_id FROM scenarios WHERE id = scenario_id)`
	err := s.db.Write(ctx, scenarioKey(o.ScenarioID), func(ctx context.Context, tx *sql.Tx) error {
		var siteID int64
		if err := tx.QueryRowContext(ctx, update, string(as), micros(now), o.ScenarioID, o.Occasion).Scan(&siteID); err != nil {
			return err
		}
		return insertAll(ctx, tx, siteID, entries)
	})
	return wrap(ctx, err, "conclude occurrence %q of scenario %d", o.Occasion, o.ScenarioID)
}

// NextDue is documented at devices.Store.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	const query = `
		SELECT min(at) FROM (
			SELECT min(next_at) AS at FROM scenarios WHERE enabled = 1
			UNION ALL
			SELECT min(lease_until) FROM scenario_occurrences WHERE outcome = 'open'
		)`
	var at sql.NullInt64
	err := s.db.Read().QueryRowContext(ctx, query).Scan(&at)
	return utcOrZero(at), wrap(ctx, err, "find when a scenario is due next")
}

// Triggers is documented at devices.Store.
func (s *Store) Triggers(ctx context.Context, siteID int64) ([]devices.Trigger, error) {
	const query = `
		SELECT c.id, c.rule,
			(SELECT json_group_array(device_id) FROM (SELECT DISTINCT device_id FROM scenario_steps WHERE scenario_id = c.id ORDER BY device_id)),
			(SELECT max(begun_at) FROM scenario_occurrences WHERE scenario_id = c.id)
		FROM scenarios c
		WHERE c.site_id = ? AND c.type = 'onEvent' AND c.enabled = 1
		ORDER BY c.id`
	rows, err := s.db.Read().QueryContext(ctx, query, siteID)
	list, err := collect(rows, err, func(row row) (t devices.Trigger, err error) {
		var rule, steps string
		var begun sql.NullInt64
		if err := row.Scan(&t.ScenarioID, &rule, &steps, &begun); err != nil {
			return devices.Trigger{}, err
		}
		t.Rule, t.LastBegun = json.RawMessage(rule), utcOrZero(begun)
		return t, json.Unmarshal([]byte(steps), &t.Devices)
	})
	return list, wrap(ctx, err, "list triggers of site %d", siteID)
}

// LastRuns is documented at devices.Store.
func (s *Store) LastRuns(ctx context.Context, siteID int64) ([]devices.LastRun, error) {
	const query = `
		SELECT o.scenario_id, o.occasion, o.at, o.begun_at, o.outcome
		FROM scenarios c JOIN scenario_occurrences o ON o.scenario_id = c.id AND o.occasion = (
			SELECT occasion FROM scenario_occurrences WHERE scenario_id = c.id AND begun_at IS NOT NULL
			ORDER BY begun_at DESC, occasion DESC LIMIT 1
		)
		WHERE c.site_id = ? ORDER BY c.id`
	rows, err := s.db.Read().QueryContext(ctx, query, siteID)
	list, err := collect(rows, err, func(row row) (l devices.LastRun, err error) {
		var at, begunAt int64
		err = row.Scan(&l.ScenarioID, &l.Occasion, &at, &begunAt, (*string)(&l.Outcome))
		l.At, l.BegunAt = utc(at), utc(begunAt)
		return l, err
	})
	return list, wrap(ctx, err, "list last runs of site %d", siteID)
}

// PurgeOccurrences is documented at devices.Store.
func (s *Store) PurgeOccurrences(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM scenario_occurrences WHERE (scenario_id, occasion) IN (
			SELECT scenario_id, occasion FROM scenario_occurrences WHERE at < ? AND outcome <> 'open' ORDER BY at LIMIT ?
		)`
	n, err := s.sweep(ctx, remove, micros(before), bound(limit))
	return n, wrap(ctx, err, "purge occurrences of before %s", before)
}
