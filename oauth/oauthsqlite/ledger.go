package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// SwitchOff implements oauth.Ledger.
func (s *Store) SwitchOff(ctx context.Context, i oauth.Intervention) (bool, error) {
	if !storable(i.ClientID, i.Key, i.Reason, string(i.Actor), string(i.Lever)) {
		return false, fmt.Errorf("switch client off: %w", errText)
	}
	var did bool
	err := s.db.Write(ctx, "client "+i.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var owner int64
		var status oauth.Status
		var asked, same bool
		did = false
		err := tx.QueryRowContext(ctx, `
			SELECT c.owner_id, c.status, EXISTS (SELECT 1 FROM oauth_rulings r WHERE r.client_id = c.id AND r.key = ?2),
				EXISTS (SELECT 1 FROM oauth_rulings r WHERE r.id = c.off_ruling AND r.actor = ?5 AND r.lever = ?6 AND r.reason = ?7)
			FROM oauth_clients c WHERE c.id = ?1 AND c.status IN (?3, ?4)`,
			i.ClientID, text(i.Key), oauth.Active, oauth.Off, i.Actor, i.Lever, i.Reason).Scan(&owner, &status, &asked, &same)
		if err != nil || asked || same && i.Key == "" {
			return err
		}
		did = status == oauth.Active || i.Actor == oauth.ByOperator && !same
		id, err := decided(ctx, tx, i, oauth.VerdictSwitchOff, i.Lever, did)
		if err != nil || !did {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE oauth_clients SET status = ?, draining = ?, off_ruling = ? WHERE id = ?`,
			oauth.Off, i.Lever == oauth.LeverDrain, id, i.ClientID)
		if err != nil {
			return err
		}
		return note(ctx, tx, i.Change(owner, oauth.VerdictSwitchOff))
	})
	if err != nil {
		return false, refused("switch client off", err)
	}
	return did, nil
}

// decided records what somebody decided.
func decided(ctx context.Context, tx *sql.Tx, i oauth.Intervention, v oauth.Verdict, lever oauth.Lever, effective bool) (id int64, err error) {
	err = tx.QueryRowContext(ctx, `
		INSERT INTO oauth_rulings (client_id, ruled_at, verdict, actor, key, reason, rule, used, allowed, grant_type, lever, effective)
		VALUES (?, ?, ?, ?, ?, ?, '', 0, 0, '', ?, ?)
		RETURNING id`,
		i.ClientID, i.Now.UnixMicro(), v, i.Actor, text(i.Key), i.Reason, lever, effective).Scan(&id)
	return id, err
}

// Reactivate implements oauth.Ledger. What was wasted is forgiven row by row, so that
// it does not matter in which minute that is, and of two days, so that it stays so if
// the clock goes back by one.
func (s *Store) Reactivate(ctx context.Context, i oauth.Intervention) (bool, error) {
	if !storable(i.ClientID, i.Key, i.Reason, string(i.Actor)) {
		return false, fmt.Errorf("reactivate client: %w", errText)
	}
	var did bool
	err := s.db.Write(ctx, "client "+i.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var off, operators bool
		var own int
		var owner int64
		did = false
		err := tx.QueryRowContext(ctx, `
			SELECT c.status = ?2 AND NOT EXISTS (SELECT 1 FROM oauth_rulings r WHERE r.client_id = c.id AND r.key = ?3),
				EXISTS (SELECT 1 FROM oauth_rulings r WHERE r.id = c.off_ruling AND r.actor = ?4), (
					SELECT count(*)
					FROM oauth_clients d
					JOIN oauth_rulings r ON r.client_id = d.id
					WHERE d.owner_id = c.owner_id AND (d.id = c.id OR d.status = ?5 AND d.kind = ?6 AND d.deletion <= c.succeeds)
						AND r.verdict = ?7 AND r.actor = ?8 AND r.ruled_at > ?9), c.owner_id
			FROM oauth_clients c WHERE c.id = ?1 AND c.status <> ?5`,
			i.ClientID, oauth.Off, text(i.Key), oauth.ByOperator, oauth.Deleted, oauth.Personal,
			oauth.VerdictReactivation, oauth.ByOwner, i.Now.Add(-i.OwnWindow).UnixMicro()).
			Scan(&off, &operators, &own, &owner)
		switch {
		case err != nil || !off:
			return err
		case i.Actor == oauth.ByOwner && (operators || own >= i.OwnMax):
			return oauth.ErrOperatorOnly
		}
		did = true
		if err := reactivate(ctx, tx, i); err != nil {
			return err
		}
		return note(ctx, tx, i.Change(owner, oauth.VerdictReactivation), i.OperatorChange(owner, oauth.VerdictReactivation))
	})
	if err != nil {
		return false, refused("reactivate client", err)
	}
	return did, nil
}

func reactivate(ctx context.Context, tx *sql.Tx, i oauth.Intervention) error {
	if _, err := decided(ctx, tx, i, oauth.VerdictReactivation, "", true); err != nil {
		return err
	}
	minute := oauth.Minute(i.Now)
	if _, err := tx.ExecContext(ctx, `
		UPDATE oauth_issuance_minutes SET forgiven = wasteful
		WHERE client_id = ? AND minute > ? AND forgiven < wasteful`,
		i.ClientID, minute-2*oauth.DayMinutes); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE oauth_clients SET status = ?, draining = 0, off_ruling = NULL, told = 0, reactivated_minute = ? WHERE id = ?`,
		oauth.Active, minute, i.ClientID)
	return err
}

const rulingColumns = `
	r.id, r.client_id, r.ruled_at, r.verdict, r.actor, coalesce(r.key, ''), r.reason, r.rule, r.used, r.inherited, r.allowed,
	r.first_at, r.grant_type, r.lever, r.effective`

// reactivatedByOwner is which rulings o are held against the owner of a client c.
const reactivatedByOwner = `
	FROM oauth_clients d
	JOIN oauth_rulings o ON o.client_id = d.id
	WHERE d.owner_id = c.owner_id AND (d.id = c.id OR d.status = ?1 AND d.kind = ?2 AND d.deletion <= c.succeeds)
		AND o.verdict = ?3 AND o.actor = ?4 AND o.ruled_at > ?5`

// OffBy implements oauth.Ledger.
func (s *Store) OffBy(ctx context.Context, clientID string, after time.Time, limit int) (by oauth.Ruling, own []time.Time, err error) {
	var micros list[int64]
	by, err = scanRuling(s.db.Read().QueryRowContext(ctx, `
		SELECT `+rulingColumns+`, (
			SELECT json_group_array(at) FROM (SELECT o.ruled_at AS at `+reactivatedByOwner+` ORDER BY o.ruled_at DESC LIMIT ?8))
		FROM oauth_clients c
		JOIN oauth_rulings r ON r.id = c.off_ruling
		WHERE c.id = ?6 AND c.status = ?7`,
		oauth.Deleted, oauth.Personal, oauth.VerdictReactivation, oauth.ByOwner, after.UnixMicro(), clientID, oauth.Off, max(0, limit)), &micros)
	return by, timesOf(micros), refused("find why a client is off", err)
}

// OwnReactivations implements oauth.Ledger.
func (s *Store) OwnReactivations(ctx context.Context, clientID string, after time.Time, limit int) ([]time.Time, error) {
	var micros list[int64]
	err := s.db.Read().QueryRowContext(ctx, `
		SELECT (SELECT json_group_array(at) FROM (SELECT o.ruled_at AS at `+reactivatedByOwner+` ORDER BY o.ruled_at DESC LIMIT ?7))
		FROM oauth_clients c WHERE c.id = ?6`,
		oauth.Deleted, oauth.Personal, oauth.VerdictReactivation, oauth.ByOwner, after.UnixMicro(), clientID, max(0, limit)).Scan(&micros)
	return timesOf(micros), refused("list an owner's reactivations", err)
}

func timesOf(micros list[int64]) []time.Time {
	var times []time.Time
	for _, at := range micros {
		times = append(times, timeOf(at))
	}
	return times
}

// OperatorOnly implements oauth.Ledger. Only of owners who reactivated so often at all it
// is counted how often that was for one application.
func (s *Store) OperatorOnly(ctx context.Context, q oauth.OperatorOnlyQuery) ([]oauth.Ruling, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT `+rulingColumns+`
		FROM oauth_clients c
		JOIN oauth_rulings r ON r.id = c.off_ruling
		WHERE c.status = 'off' AND (c.off_ruling < ?7 OR ?7 = 0) AND (
			r.actor = ?8
			OR c.owner_id IN (
				SELECT d.owner_id
				FROM oauth_rulings o
				JOIN oauth_clients d ON d.id = o.client_id
				WHERE o.ruled_at > ?5 AND o.verdict = ?3 AND o.actor = ?4
				GROUP BY d.owner_id HAVING count(*) >= ?9
			) AND ?9 <= (SELECT count(*) `+reactivatedByOwner+`))
		ORDER BY c.off_ruling DESC LIMIT ?6`,
		oauth.Deleted, oauth.Personal, oauth.VerdictReactivation, oauth.ByOwner, q.After.UnixMicro(),
		max(0, q.Limit), q.Before, oauth.ByOperator, q.OwnMax)
	rulings, err := collect(rows, err, func(row scanner) (oauth.Ruling, error) { return scanRuling(row) })
	return rulings, refused("list what only an operator may reactivate", err)
}

// Verdicts implements oauth.Ledger.
func (s *Store) Verdicts(ctx context.Context, clientID string, before int64, limit int) ([]oauth.Ruling, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT `+rulingColumns+`
		FROM oauth_rulings r
		WHERE r.client_id = ?1 AND (r.id < ?2 OR ?2 = 0)
		ORDER BY r.id DESC LIMIT ?3`,
		clientID, before, max(0, limit))
	rulings, err := collect(rows, err, func(row scanner) (oauth.Ruling, error) { return scanRuling(row) })
	return rulings, refused("list rulings", err)
}

// scanRuling scans rulingColumns, and what follows them.
func scanRuling(row scanner, more ...any) (r oauth.Ruling, err error) {
	var at int64
	var first sql.NullInt64
	columns := []any{
		&r.ID, &r.ClientID, &at, &r.Verdict, &r.Actor, &r.Key, &r.Reason, &r.Rule, &r.Used, &r.Inherited, &r.Allowed,
		&first, &r.Grant, &r.Lever, &r.Effective,
	}
	if err := row.Scan(append(columns, more...)...); err != nil {
		return oauth.Ruling{}, err
	}
	r.At = timeOf(at)
	if first.Valid {
		r.First = timeOf(first.Int64)
	}
	return r, nil
}

// SetLimits implements oauth.Ledger.
func (s *Store) SetLimits(ctx context.Context, clientID string, l *oauth.Limits) error {
	var hour, day sql.NullInt64
	if l != nil {
		hour, day = sql.NullInt64{Int64: int64(l.Hour), Valid: true}, sql.NullInt64{Int64: int64(l.Day), Valid: true}
	}
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, `
			UPDATE oauth_clients SET limit_hour = ?, limit_day = ? WHERE id = ? AND kind = ? AND status <> ?`,
			hour, day, clientID, oauth.Personal, oauth.Deleted))
	})
	return refused("set limits of client", err)
}

// LimitsOf implements oauth.Ledger.
func (s *Store) LimitsOf(ctx context.Context, clientID string) (*oauth.Limits, error) {
	var hour, day sql.NullInt64
	err := s.db.Read().QueryRowContext(ctx, `SELECT limit_hour, limit_day FROM oauth_clients WHERE id = ?`, clientID).Scan(&hour, &day)
	if err != nil {
		return nil, refused("find limits of client", err)
	}
	if !hour.Valid || !day.Valid {
		return nil, nil
	}
	return &oauth.Limits{Hour: int(hour.Int64), Day: int(day.Int64)}, nil
}

// IssuanceMinutes implements oauth.Ledger.
func (s *Store) IssuanceMinutes(ctx context.Context, since time.Time, afterClient string, clients int) ([]oauth.IssuanceMinute, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		WITH chosen AS MATERIALIZED (
			SELECT c.id, c.kind, c.owner_id, c.succeeds, c.deletion
			FROM oauth_clients c
			WHERE c.id > ?2 AND EXISTS (SELECT 1 FROM oauth_issuance_minutes m WHERE m.client_id = c.id AND m.minute >= ?1)
			ORDER BY c.id LIMIT ?3
		)
		SELECT c.id, c.kind, c.owner_id, c.succeeds, c.deletion, m.minute, m.grant_type, m.outcome, sum(m.tokens), sum(m.wasteful), sum(m.forgiven)
		FROM chosen c
		JOIN oauth_issuance_minutes m ON m.client_id = c.id AND m.minute >= ?1
		GROUP BY c.id, m.minute, m.grant_type, m.outcome
		ORDER BY c.id, m.minute, m.grant_type, m.outcome`,
		oauth.Minute(since), afterClient, max(0, clients))
	minutes, err := collect(rows, err, func(row scanner) (m oauth.IssuanceMinute, err error) {
		err = row.Scan(&m.ClientID, &m.Kind, &m.OwnerID, &m.Succeeds, &m.Deletion, &m.Minute, &m.Grant, &m.Outcome, &m.Tokens, &m.Wasteful, &m.Forgiven)
		return m, err
	})
	return minutes, refused("list issuance", err)
}

// issuancesMax bounds what IssuanceOf lists.
const issuancesMax = 10_000

// IssuanceOf implements oauth.Ledger.
func (s *Store) IssuanceOf(ctx context.Context, clientID string, since time.Time, step time.Duration) ([]oauth.Issuances, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT p.minute / ?3 * ?3 AS at,
			coalesce(sum(p.tokens) FILTER (WHERE p.outcome <> 'switched_off'), 0),
			coalesce(sum(p.wasteful) FILTER (WHERE p.outcome <> 'switched_off'), 0),
			coalesce(sum(p.tokens) FILTER (WHERE p.outcome = 'switched_off'), 0)
		FROM (
			SELECT m.minute, m.tokens, m.wasteful, m.outcome
			FROM oauth_issuance_minutes m WHERE m.client_id = ?1 AND m.minute >= ?2
			UNION ALL
			SELECT h.hour * 60, h.tokens, h.wasteful, h.outcome
			FROM oauth_issuance_hours h WHERE h.client_id = ?1 AND h.hour >= ?2 / 60
		) p
		GROUP BY at ORDER BY at LIMIT ?4`,
		clientID, oauth.Minute(since), max(1, int64(step/time.Minute)), issuancesMax)
	all, err := collect(rows, err, func(row scanner) (i oauth.Issuances, err error) {
		var at int64
		err = row.Scan(&at, &i.Tokens, &i.Wasteful, &i.Refused)
		i.At = oauth.StartOf(at)
		return i, err
	})
	return all, refused("list issuance of client", err)
}

// Standing implements oauth.Ledger.
func (s *Store) Standing(ctx context.Context, clientID string, now time.Time) (oauth.Standing, error) {
	var st standing
	if err := st.count(ctx, s.db.Read(), clientID, now); err != nil {
		return oauth.Standing{}, refused("count wasteful tokens", err)
	}
	return oauth.Standing{
		Counts:    oauth.Counts{Hour: st.hour, Day: st.day},
		HourFirst: budget(0, st.hour, st.hourFirst, now).First, DayFirst: budget(0, st.day, st.dayOnes, now).First,
	}, nil
}

// Condense implements oauth.Ledger.
func (s *Store) Condense(ctx context.Context, minutes, hours time.Time, limit int) (int, error) {
	limit = max(0, limit)
	var took int64
	err := s.db.Write(ctx, "purge issuance", func(ctx context.Context, tx *sql.Tx) error {
		var err error
		if took, err = toHours(ctx, tx, oauth.Minute(minutes), limit); err != nil {
			return err
		}
		for _, q := range []struct {
			sql    string
			before int64
		}{
			{`DELETE FROM oauth_issuance_hours WHERE (client_id, hour, grant_type, outcome) IN (
				SELECT client_id, hour, grant_type, outcome FROM oauth_issuance_hours WHERE hour < ? ORDER BY hour LIMIT ?)`, hours.Unix() / 3600},
			{`DELETE FROM oauth_rulings WHERE id IN (
				SELECT r.id FROM oauth_rulings r
				WHERE r.ruled_at < ? AND NOT EXISTS (
					SELECT 1 FROM oauth_clients c WHERE c.id = r.client_id AND c.off_ruling = r.id AND c.status <> 'deleted')
				ORDER BY r.ruled_at LIMIT ?)`, hours.UnixMicro()},
			{deleteClients, hours.UnixMicro()},
		} {
			result, err := tx.ExecContext(ctx, q.sql, q.before, limit)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			took += n
		}
		return nil
	})
	if err != nil {
		return 0, refused("condense issuance", err)
	}
	return int(took), nil
}

// deleteClients deletes clients that were Deleted before a time and of which nothing else
// is left.
const deleteClients = `
	DELETE FROM oauth_clients WHERE id IN (
		SELECT c.id FROM oauth_clients c
		WHERE c.deleted_at < ?
			AND NOT EXISTS (SELECT 1 FROM oauth_rulings o WHERE o.client_id = c.id)
			AND NOT EXISTS (SELECT 1 FROM oauth_issuance_minutes o WHERE o.client_id = c.id)
			AND NOT EXISTS (SELECT 1 FROM oauth_issuance_hours o WHERE o.client_id = c.id)
			AND NOT EXISTS (SELECT 1 FROM oauth_grants o WHERE o.client_id = c.id)
			AND NOT EXISTS (SELECT 1 FROM oauth_codes o WHERE o.client_id = c.id)
			AND NOT EXISTS (SELECT 1 FROM oauth_links o WHERE o.client_id = c.id)
			AND NOT EXISTS (SELECT 1 FROM oauth_connection_events o WHERE o.client_id = c.id)
		ORDER BY c.deleted_at LIMIT ?)`

// toHours moves minutes before one into hours: the rows that come first in one order,
// twice the same ones.
func toHours(ctx context.Context, tx *sql.Tx, before int64, limit int) (int64, error) {
	const old = `
		SELECT client_id, minute, grant_type, outcome, lane FROM oauth_issuance_minutes
		WHERE minute < ?1 ORDER BY minute, client_id, grant_type, outcome, lane LIMIT ?2`
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_issuance_hours (client_id, hour, grant_type, outcome, tokens, wasteful)
		SELECT m.client_id, m.minute / 60, m.grant_type, m.outcome, sum(m.tokens), sum(m.wasteful)
		FROM oauth_issuance_minutes m
		WHERE (m.client_id, m.minute, m.grant_type, m.outcome, m.lane) IN (`+old+`)
		GROUP BY 1, 2, 3, 4
		ON CONFLICT (client_id, hour, grant_type, outcome)
		DO UPDATE SET tokens = tokens + excluded.tokens, wasteful = wasteful + excluded.wasteful`,
		before, limit); err != nil {
		return 0, err
	}
	result, err := tx.ExecContext(ctx, `
		DELETE FROM oauth_issuance_minutes WHERE (client_id, minute, grant_type, outcome, lane) IN (`+old+`)`, before, limit)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// SetDisabled implements oauth.Ledger. A repeat keeps the time of the first one.
func (s *Store) SetDisabled(ctx context.Context, userID int64, disabled bool, now time.Time) error {
	err := s.db.Write(ctx, fmt.Sprint("user ", userID), func(ctx context.Context, tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, `
			UPDATE oauth_users SET disabled_at = CASE WHEN ?2 THEN coalesce(disabled_at, ?3) END WHERE id = ?1`,
			userID, disabled, now.UnixMicro()))
	})
	return refused("disable user", err)
}

// text is a text, or NULL for an empty one.
func text(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
