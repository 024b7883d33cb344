package oauthpgx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/foxbridge/foxbridge/oauth"
)

// SwitchOff implements oauth.Ledger.
func (s *Store) SwitchOff(ctx context.Context, i oauth.Intervention) (bool, error) {
	var found, did bool
	b := &pgx.Batch{}
	b.Queue(`SELECT FROM oauth_clients WHERE id = $1 FOR NO KEY UPDATE`, i.ClientID)
	b.Queue(`
		WITH client AS MATERIALIZED (
			SELECT c.id, c.owner_id, was.same, (c.status = $2 OR $5 = $9 AND NOT was.same)
				AND NOT EXISTS (SELECT FROM oauth_rulings r WHERE r.client_id = c.id AND r.key = $6) AS does
			FROM oauth_clients c, LATERAL (
				SELECT EXISTS (SELECT FROM oauth_rulings r WHERE r.id = c.off_ruling AND r.actor = $5 AND r.lever = $8 AND r.reason = $7) AS same
			) was
			WHERE c.id = $1 AND c.status IN ($2, $3)
		), ruling AS (
			INSERT INTO oauth_rulings (client_id, ruled_at, verdict, actor, key, reason, rule, used, allowed, grant_type, lever, effective)
			SELECT c.id, $4, $10, $5, $6, $7, '', 0, 0, '', $8, c.does FROM client c WHERE NOT c.same OR $6 IS NOT NULL
			ON CONFLICT (client_id, key) WHERE key IS NOT NULL DO NOTHING
			RETURNING id
		), off AS (
			UPDATE oauth_clients c
			SET status = $3, draining = $8 = $11, off_ruling = ruling.id
			FROM ruling, client WHERE c.id = client.id AND client.does
		), noted AS (
			INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
			SELECT client.owner_id, $12, client.id, '', 0, $13, $4 FROM client WHERE client.does
		)
		SELECT client.does FROM client`,
		i.ClientID, string(oauth.Active), string(oauth.Off), i.Now, string(i.Actor), text(i.Key), i.Reason, string(i.Lever),
		string(oauth.ByOperator), string(oauth.VerdictSwitchOff), string(oauth.LeverDrain), string(oauth.SwitchedOffBy(i.Actor)), i.Address).
		QueryRow(oneOrNone(&found, &did))
	err := s.db.WriteBatch(ctx, "client "+i.ClientID, b)
	if err := foundOr(oauth.ErrNotFound, "switch client off", found && err == nil, err); err != nil {
		return false, err
	}
	return did, nil
}

// Reactivate implements oauth.Ledger. What was wasted is forgiven row by row, so that
// it does not matter in which minute that is, and of two days, so that it stays so if
// the clock goes back by one.
func (s *Store) Reactivate(ctx context.Context, i oauth.Intervention) (bool, error) {
	var found, allowed, did bool
	b := &pgx.Batch{}
	b.Queue(`SELECT FROM oauth_clients WHERE id = $1 FOR NO KEY UPDATE`, i.ClientID)
	b.Queue(`
		WITH client AS MATERIALIZED (
			SELECT c.id, c.owner_id, c.status = $2 AND NOT EXISTS (SELECT FROM oauth_rulings r WHERE r.client_id = c.id AND r.key = $5) AS off,
				$4 <> $10 OR NOT EXISTS (SELECT FROM oauth_rulings r WHERE r.id = c.off_ruling AND r.actor = $13) AND $7 > (
					SELECT count(*)
					FROM oauth_clients d
					JOIN oauth_rulings r ON r.client_id = d.id
					WHERE d.owner_id = c.owner_id AND (d.id = c.id OR d.status = $11 AND d.kind = $14 AND d.deletion <= c.succeeds)
						AND r.verdict = $12 AND r.actor = $10 AND r.ruled_at > $8
				) AS allowed
			FROM oauth_clients c
			WHERE c.id = $1 AND c.status <> $11
		), does AS (
			SELECT id, owner_id FROM client WHERE off AND allowed
		), ruling AS (
			INSERT INTO oauth_rulings (client_id, ruled_at, verdict, actor, key, reason, rule, used, allowed, grant_type, lever, effective)
			SELECT does.id, $3, $12, $4, $5, $6, '', 0, 0, '', '', true FROM does
		), forgive AS (
			UPDATE oauth_issuance_minutes m SET forgiven = m.wasteful
			FROM does WHERE m.client_id = does.id AND m.minute > $9::int - 2880 AND m.forgiven < m.wasteful
		), back AS (
			UPDATE oauth_clients c
			SET status = $15, draining = false, off_ruling = NULL, told = 0, reactivated_minute = $9
			FROM does WHERE c.id = does.id
		), noted AS (
			INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
			SELECT does.owner_id, $16, does.id, '', CASE WHEN $4 = $10 THEN does.owner_id ELSE $18 END,
				CASE WHEN $18 IN (0, does.owner_id) THEN $17 ELSE '' END, $3
			FROM does
			UNION ALL
			SELECT $18, $16, does.id, '', $18, $17, $3 FROM does WHERE $18 NOT IN (0, does.owner_id)
		)
		SELECT client.allowed OR NOT client.off, EXISTS (SELECT FROM does) FROM client`,
		i.ClientID, string(oauth.Off), i.Now, string(i.Actor), text(i.Key), i.Reason, i.OwnMax, i.Now.Add(-i.OwnWindow),
		int32(oauth.Minute(i.Now)), string(oauth.ByOwner), string(oauth.Deleted), string(oauth.VerdictReactivation), //nolint:gosec // until the year 6053
		string(oauth.ByOperator), string(oauth.Personal), string(oauth.Active), string(oauth.ReactivatedBy(i.Actor)), i.Address, i.OperatorID).
		QueryRow(oneOrNone(&found, &allowed, &did))
	err := s.db.WriteBatch(ctx, "client "+i.ClientID, b)
	if err := foundOr(oauth.ErrNotFound, "reactivate client", found && err == nil, err); err != nil {
		return false, err
	}
	if !allowed {
		return false, fmt.Errorf("reactivate client: %w", oauth.ErrOperatorOnly)
	}
	return did, nil
}

const rulingColumns = `
	r.id, r.client_id, r.ruled_at, r.verdict, r.actor, coalesce(r.key, ''), r.reason, r.rule, r.used, r.inherited, r.allowed,
	r.first_at, r.grant_type, r.lever, r.effective`

// reactivatedByOwner is which rulings o are held against the owner of a client c.
const reactivatedByOwner = `
	FROM oauth_clients d
	JOIN oauth_rulings o ON o.client_id = d.id
	WHERE d.owner_id = c.owner_id AND (d.id = c.id OR d.status = $1 AND d.kind = $2 AND d.deletion <= c.succeeds)
		AND o.verdict = $3 AND o.actor = $4 AND o.ruled_at > $5`

// OffBy implements oauth.Ledger.
func (s *Store) OffBy(ctx context.Context, clientID string, after time.Time, limit int) (by oauth.Ruling, own []time.Time, err error) {
	by, err = scanRuling(s.db.Read().QueryRow(ctx, `
		SELECT `+rulingColumns+`, ARRAY (SELECT o.ruled_at `+reactivatedByOwner+` ORDER BY o.ruled_at DESC LIMIT $8)
		FROM oauth_clients c
		JOIN oauth_rulings r ON r.id = c.off_ruling
		WHERE c.id = $6 AND c.status = $7`,
		string(oauth.Deleted), string(oauth.Personal), string(oauth.VerdictReactivation), string(oauth.ByOwner), after,
		clientID, string(oauth.Off), max(0, limit)), &own)
	return by, inUTC(own), missing("find why a client is off", err)
}

// OwnReactivations implements oauth.Ledger.
func (s *Store) OwnReactivations(ctx context.Context, clientID string, after time.Time, limit int) (own []time.Time, err error) {
	err = s.db.Read().QueryRow(ctx, `
		SELECT ARRAY (SELECT o.ruled_at `+reactivatedByOwner+` ORDER BY o.ruled_at DESC LIMIT $7) FROM oauth_clients c WHERE c.id = $6`,
		string(oauth.Deleted), string(oauth.Personal), string(oauth.VerdictReactivation), string(oauth.ByOwner), after, clientID, max(0, limit)).Scan(&own)
	return inUTC(own), missing("list an owner's reactivations", err)
}

func inUTC(times []time.Time) []time.Time {
	for i := range times {
		times[i] = times[i].UTC()
	}
	return times
}

// OperatorOnly implements oauth.Ledger. Only of owners who reactivated so often at all it
// is counted how often that was for one application.
func (s *Store) OperatorOnly(ctx context.Context, q oauth.OperatorOnlyQuery) ([]oauth.Ruling, error) {
	rows, _ := s.db.Read().Query(ctx, `
		SELECT `+rulingColumns+`
		FROM oauth_clients c
		JOIN oauth_rulings r ON r.id = c.off_ruling
		WHERE c.status = 'off' AND (c.off_ruling < $7 OR $7 = 0) AND (
			r.actor = $8
			OR c.owner_id IN (
				SELECT d.owner_id
				FROM oauth_rulings o
				JOIN oauth_clients d ON d.id = o.client_id
				WHERE o.ruled_at > $5 AND o.verdict = $3 AND o.actor = $4
				GROUP BY d.owner_id HAVING count(*) >= $9
			) AND $9 <= (SELECT count(*) `+reactivatedByOwner+`))
		ORDER BY c.off_ruling DESC LIMIT $6`,
		string(oauth.Deleted), string(oauth.Personal), string(oauth.VerdictReactivation), string(oauth.ByOwner), q.After,
		max(0, q.Limit), q.Before, string(oauth.ByOperator), q.OwnMax)
	rulings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (oauth.Ruling, error) { return scanRuling(row) })
	return rulings, refused("list what only an operator may reactivate", err)
}

// Verdicts implements oauth.Ledger.
func (s *Store) Verdicts(ctx context.Context, clientID string, before int64, limit int) ([]oauth.Ruling, error) {
	rows, _ := s.db.Read().Query(ctx, `
		SELECT `+rulingColumns+`
		FROM oauth_rulings r
		WHERE r.client_id = $1 AND (r.id < $2 OR $2 = 0)
		ORDER BY r.id DESC LIMIT $3`,
		clientID, before, max(0, limit))
	rulings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (oauth.Ruling, error) { return scanRuling(row) })
	if err = missing("list rulings", err); errors.Is(err, oauth.ErrNotFound) {
		return nil, nil // no client has such an ID
	}
	return rulings, err
}

// scanRuling scans rulingColumns, and what follows them.
func scanRuling(row pgx.Row, more ...any) (r oauth.Ruling, err error) {
	var first *time.Time
	columns := []any{
		&r.ID, &r.ClientID, &r.At, &r.Verdict, &r.Actor, &r.Key, &r.Reason, &r.Rule, &r.Used, &r.Inherited, &r.Allowed,
		&first, &r.Grant, &r.Lever, &r.Effective,
	}
	if err := row.Scan(append(columns, more...)...); err != nil {
		return oauth.Ruling{}, err
	}
	r.At, r.First = r.At.UTC(), stored(first)
	return r, nil
}

// SetLimits implements oauth.Ledger.
func (s *Store) SetLimits(ctx context.Context, clientID string, l *oauth.Limits) error {
	var hour, day *int
	if l != nil {
		hour, day = &l.Hour, &l.Day
	}
	var id string
	found, err := s.write(ctx, "client "+clientID, []any{&id}, `
		UPDATE oauth_clients SET limit_hour = $2, limit_day = $3
		WHERE id = $1 AND kind = $4 AND status <> $5
		RETURNING id`,
		clientID, hour, day, string(oauth.Personal), string(oauth.Deleted))
	return foundOr(oauth.ErrNotFound, "set limits of client", found, err)
}

// LimitsOf implements oauth.Ledger.
func (s *Store) LimitsOf(ctx context.Context, clientID string) (*oauth.Limits, error) {
	var hour, day *int
	err := s.db.Read().QueryRow(ctx, `SELECT limit_hour, limit_day FROM oauth_clients WHERE id = $1`, clientID).Scan(&hour, &day)
	if err != nil {
		return nil, missing("find limits of client", err)
	}
	if hour == nil || day == nil {
		return nil, nil
	}
	return &oauth.Limits{Hour: *hour, Day: *day}, nil
}

// IssuanceMinutes implements oauth.Ledger.
func (s *Store) IssuanceMinutes(ctx context.Context, since time.Time, afterClient string, clients int) ([]oauth.IssuanceMinute, error) {
	rows, _ := s.db.Read().Query(ctx, `
		WITH chosen AS MATERIALIZED (
			SELECT c.id, c.kind, c.owner_id, c.succeeds, c.deletion
			FROM oauth_clients c
			WHERE c.id > $2 AND EXISTS (SELECT FROM oauth_issuance_minutes m WHERE m.client_id = c.id AND m.minute >= $1)
			ORDER BY c.id LIMIT $3
		)
		SELECT c.id, c.kind, c.owner_id, c.succeeds, c.deletion, m.minute, m.grant_type, m.outcome,
			sum(m.tokens)::bigint, sum(m.wasteful)::bigint, sum(m.forgiven)::bigint
		FROM chosen c
		JOIN oauth_issuance_minutes m ON m.client_id = c.id AND m.minute >= $1
		GROUP BY c.id, c.kind, c.owner_id, c.succeeds, c.deletion, m.minute, m.grant_type, m.outcome
		ORDER BY c.id, m.minute, m.grant_type, m.outcome`,
		int32(oauth.Minute(since)), afterClient, max(0, clients)) //nolint:gosec // until the year 6053
	minutes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m oauth.IssuanceMinute, err error) {
		err = row.Scan(&m.ClientID, &m.Kind, &m.OwnerID, &m.Succeeds, &m.Deletion, &m.Minute, &m.Grant, &m.Outcome, &m.Tokens, &m.Wasteful, &m.Forgiven)
		return m, err
	})
	return minutes, refused("list issuance", err)
}

// issuancesMax bounds what IssuanceOf lists.
const issuancesMax = 10_000

// IssuanceOf implements oauth.Ledger.
func (s *Store) IssuanceOf(ctx context.Context, clientID string, since time.Time, step time.Duration) ([]oauth.Issuances, error) {
	minutes := max(1, int32(step/time.Minute)) //nolint:gosec // a century has fewer
	rows, _ := s.db.Read().Query(ctx, `
		SELECT p.minute / $3::int * $3::int AS at,
			coalesce(sum(p.tokens) FILTER (WHERE p.outcome <> 'switched_off'), 0)::bigint,
			coalesce(sum(p.wasteful) FILTER (WHERE p.outcome <> 'switched_off'), 0)::bigint,
			coalesce(sum(p.tokens) FILTER (WHERE p.outcome = 'switched_off'), 0)::bigint
		FROM (
			SELECT m.minute, m.tokens, m.wasteful, m.outcome
			FROM oauth_issuance_minutes m WHERE m.client_id = $1 AND m.minute >= $2::int
			UNION ALL
			SELECT h.hour * 60, h.tokens, h.wasteful, h.outcome
			FROM oauth_issuance_hours h WHERE h.client_id = $1 AND h.hour >= $2::int / 60
		) p
		GROUP BY at ORDER BY at LIMIT $4`,
		clientID, int32(oauth.Minute(since)), minutes, issuancesMax) //nolint:gosec // until the year 6053
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i oauth.Issuances, err error) {
		var at int64
		err = row.Scan(&at, &i.Tokens, &i.Wasteful, &i.Refused)
		i.At = oauth.StartOf(at)
		return i, err
	})
	if err = missing("list issuance of client", err); errors.Is(err, oauth.ErrNotFound) {
		return nil, nil // no client has such an ID
	}
	return all, err
}

// Standing implements oauth.Ledger.
func (s *Store) Standing(ctx context.Context, clientID string, now time.Time) (st oauth.Standing, err error) {
	var hourSince, daySince int64
	err = s.db.Read().QueryRow(ctx, `
		WITH counted AS (
			SELECT c.id AS client_id, 0 AS after FROM oauth_clients c WHERE c.id = $1
			UNION ALL
			SELECT d.id, c.reactivated_minute
			FROM oauth_clients c
			JOIN oauth_clients d ON d.owner_id = c.owner_id AND d.status = $2 AND d.deletion <= c.succeeds
				AND d.kind = $4 AND d.wasted_minute > $3::int - 1440
			WHERE c.id = $1 AND c.kind = $4 AND d.id <> c.id
		)
		SELECT `+sums+`
		FROM counted n
		JOIN oauth_issuance_minutes m ON m.client_id = n.client_id AND m.minute > $3 - 1440 AND m.minute > n.after
		WHERE m.outcome <> 'switched_off'`,
		clientID, string(oauth.Deleted), int32(oauth.Minute(now)), string(oauth.Personal)). //nolint:gosec // until the year 6053
		Scan(&st.Hour, &st.Day, &hourSince, &daySince)
	if err = missing("count wasteful tokens", err); errors.Is(err, oauth.ErrNotFound) {
		return oauth.Standing{}, nil // no client has such an ID
	}
	if st.Hour > 0 {
		st.HourFirst = oauth.StartOf(hourSince)
	}
	if st.Day > 0 {
		st.DayFirst = oauth.StartOf(daySince)
	}
	return st, err
}

// Condense implements oauth.Ledger. The rows are taken in one order, since another
// process may do the same.
func (s *Store) Condense(ctx context.Context, minutes, hours time.Time, limit int) (int, error) {
	var took [4]int64
	b := &pgx.Batch{}
	b.Queue(`
		WITH gone AS (
			DELETE FROM oauth_issuance_minutes m
			USING (
				SELECT client_id, minute, grant_type, outcome, lane FROM oauth_issuance_minutes
				WHERE minute < $1 ORDER BY minute LIMIT $2 FOR UPDATE SKIP LOCKED
			) old
			WHERE m.client_id = old.client_id AND m.minute = old.minute AND m.grant_type = old.grant_type
				AND m.outcome = old.outcome AND m.lane = old.lane
			RETURNING m.client_id, m.minute, m.grant_type, m.outcome, m.tokens, m.wasteful
		), moved AS (
			INSERT INTO oauth_issuance_hours AS h (client_id, hour, grant_type, outcome, tokens, wasteful)
			SELECT client_id, minute / 60, grant_type, outcome, sum(tokens)::int, sum(wasteful)::int
			FROM gone GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
			ON CONFLICT (client_id, hour, grant_type, outcome)
			DO UPDATE SET tokens = h.tokens + excluded.tokens, wasteful = h.wasteful + excluded.wasteful
		)
		SELECT count(*) FROM gone`,
		int32(oauth.Minute(minutes)), max(0, limit)). //nolint:gosec // until the year 6053
		QueryRow(func(row pgx.Row) error { return row.Scan(&took[0]) })
	for i, sql := range []string{
		`DELETE FROM oauth_issuance_hours h
		USING (
			SELECT client_id, hour, grant_type, outcome FROM oauth_issuance_hours
			WHERE hour < floor(extract(epoch FROM $1::timestamptz) / 3600) ORDER BY hour LIMIT $2 FOR UPDATE SKIP LOCKED
		) old
		WHERE h.client_id = old.client_id AND h.hour = old.hour AND h.grant_type = old.grant_type AND h.outcome = old.outcome`,
		`DELETE FROM oauth_rulings WHERE id IN (
			SELECT r.id FROM oauth_rulings r
			WHERE r.ruled_at < $1 AND NOT EXISTS (
				SELECT FROM oauth_clients c WHERE c.id = r.client_id AND c.off_ruling = r.id AND c.status <> 'deleted')
			ORDER BY r.ruled_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_clients WHERE id IN (
			SELECT c.id FROM oauth_clients c
			WHERE c.deleted_at < $1
				AND NOT EXISTS (SELECT FROM oauth_rulings o WHERE o.client_id = c.id)
				AND NOT EXISTS (SELECT FROM oauth_issuance_minutes o WHERE o.client_id = c.id)
				AND NOT EXISTS (SELECT FROM oauth_issuance_hours o WHERE o.client_id = c.id)
				AND NOT EXISTS (SELECT FROM oauth_grants o WHERE o.client_id = c.id)
				AND NOT EXISTS (SELECT FROM oauth_codes o WHERE o.client_id = c.id)
				AND NOT EXISTS (SELECT FROM oauth_links o WHERE o.client_id = c.id)
				AND NOT EXISTS (SELECT FROM oauth_connection_events o WHERE o.client_id = c.id)
			ORDER BY c.deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	} {
		b.Queue(sql, hours, max(0, limit)).Exec(func(tag pgconn.CommandTag) error {
			took[i+1] = tag.RowsAffected()
			return nil
		})
	}
	if err := s.db.WriteBatch(ctx, "purge issuance", b); err != nil {
		return 0, refused("condense issuance", err)
	}
	return int(took[0] + took[1] + took[2] + took[3]), nil
}

// SetDisabled implements oauth.Ledger. A repeat keeps the time of the first one.
func (s *Store) SetDisabled(ctx context.Context, userID int64, disabled bool, now time.Time) error {
	var id int64
	found, err := s.write(ctx, fmt.Sprint("user ", userID), []any{&id}, `
		UPDATE oauth_users SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, $3) END
		WHERE id = $1
		RETURNING id`,
		userID, disabled, now)
	return foundOr(oauth.ErrNotFound, "disable user", found, err)
}
