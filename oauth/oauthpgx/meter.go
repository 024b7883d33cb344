package oauthpgx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// Every statement that issues is made of its own part and of a meter. It begins with
// the CTE turn, which is the application's row, and by which it waits until the writes
// that it must not run beside are done. The CTE subject (user_id, disabled) follows, of no
// row if nothing is to be issued; disabled says so of the person. Then comes the CTE judged
// of the meter, of a row if there is one in subject, with the outcome. The first
// arguments are those of meterValues.
//
// What the statement itself reads is as old as its beginning, but for the rows that it
// locks, and so is what decides on a token. What the meter counts for a personal
// application is as it stands when the turn has come: it is counted by a function, each
// statement of which sees what was committed until then.

// meterValues are the arguments $1 to $8 of a statement that issues.
func meterValues(clientID, grant string, now time.Time, m oauth.Meter) []any {
	var limits oauth.Limits
	if m.Kind == oauth.Personal {
		limits = m.Limits
	}
	return []any{
		clientID, now, int32(oauth.Minute(now)), grant, //nolint:gosec // until the year 6053
		m.Mode == oauth.ModeShadow, limits.Hour, limits.Day, m.Lever == oauth.LeverDrain,
	}
}

// meterOf gives the CTEs of a meter.
func meterOf(m oauth.Meter) string {
	switch {
	case !m.On():
		return unmetered
	case m.Kind != oauth.Personal:
		return counted
	case m.Mode == oauth.ModeEnforce:
		return metered + noted
	default:
		return metered
	}
}

// standing is the outcome of a request before anything is counted. The owner of a
// personal application is looked for only if it is not the person.
const standing = `
	CASE
		WHEN t.status = 'off' THEN 2
		WHEN t.status <> 'active' OR s.disabled OR t.kind = 'personal' AND t.owner_id IS DISTINCT FROM s.user_id AND EXISTS (
			SELECT FROM oauth_users u WHERE u.id = t.owner_id AND u.disabled_at IS NOT NULL
		) THEN 3
		ELSE 0
	END`

// unmetered counts nothing.
const unmetered = `
	unused AS (SELECT $2::timestamptz, $3::int, $4::text, $5::boolean, $6::int, $7::int, $8::boolean),
	judged AS MATERIALIZED (
		SELECT s.user_id, ROW(` + standing + `, false, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally AS tally
		FROM subject s, turn t
	)`

// counted counts, and finds nothing wrong. A row of its own for each session that writes
// keeps the people of an application from waiting for each other.
const counted = `
	unused AS (SELECT $5::boolean, $6::int, $7::int, $8::boolean),
	weighed AS MATERIALIZED (
		SELECT s.user_id, ` + standing + ` AS outcome,
			CASE
				WHEN s.user_id IS NULL THEN EXISTS (
					SELECT FROM oauth_grants g
					WHERE g.user_id IS NULL AND g.client_id = $1 AND g.held_until > $2::timestamptz + interval '5 minutes')
				ELSE coalesce((
					SELECT true FROM oauth_grants g
					WHERE g.user_id = s.user_id AND g.client_id = $1 AND g.held_until > $2::timestamptz + interval '5 minutes'
					ORDER BY g.held_until DESC LIMIT 1), false) -- backwards: before it is what the grant's row was
			END AS wastes
		FROM subject s, turn t
	), booked AS (
		INSERT INTO oauth_issuance_minutes AS m (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
		SELECT $1, $3, $4, 'issued', pg_backend_pid(), 1, w.wastes::int, 0 FROM weighed w WHERE w.outcome = 0
		ON CONFLICT (client_id, minute, grant_type, outcome, lane)
		DO UPDATE SET tokens = m.tokens + 1, wasteful = m.wasteful + excluded.wasteful
	), judged AS MATERIALIZED (
		SELECT w.user_id, ROW(w.outcome, w.wastes, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally AS tally
		FROM weighed w
	)`

// metered counts and judges, and writes down what comes of it. It is a function of the
// schema, since a statement that held all of it took three times as long, and could not
// see what was issued while it waited.
const metered = `
	weighed AS MATERIALIZED (
		SELECT s.user_id, ` + standing + ` AS outcome FROM subject s, turn t
	), judged AS MATERIALIZED (
		SELECT w.user_id, CASE
				WHEN w.outcome = 0 THEN oauth_measure($1, w.user_id, $2, $3, $4, $5, $6, $7, $8,
					t.owner_id, t.told, t.wasted_minute, t.reactivated_minute, t.succeeds, t.limit_hour, t.limit_day)
				ELSE ROW(w.outcome, false, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally
			END AS tally
		FROM weighed w, turn t
	)`

// noted tells the owner of an application that it was switched off by the request, as
// oauth.Intervention.Change does.
const noted = `, noted AS (
		INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
		SELECT t.owner_id, 'application.off.policy', $1, '', 0, '', $2
		FROM judged j, turn t
		WHERE (j.tally).outcome = 1
	)`

// sums are the wasteful tokens of the windows of minute $3, and the minutes of the
// first ones, 0 if there are none.
const sums = `
	coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE m.minute > $3 - 60), 0)::int AS hour,
	coalesce(sum(m.wasteful - m.forgiven), 0)::int AS day,
	coalesce(min(m.minute) FILTER (WHERE m.minute > $3 - 60 AND m.wasteful > m.forgiven), 0) AS hour_since,
	coalesce(min(m.minute) FILTER (WHERE m.wasteful > m.forgiven), 0) AS day_since`

// tallied are the columns that tallyRow scans, of a row of judged or of none.
const tallied = `
	coalesce((j.tally).outcome, 0), coalesce((j.tally).wastes, false), coalesce((j.tally).level, 0), coalesce((j.tally).news, false),
	coalesce((j.tally).by_day, false), coalesce((j.tally).spent, 0), coalesce((j.tally).quota, 0),
	coalesce((j.tally).in_hour, 0), coalesce((j.tally).in_day, 0), coalesce((j.tally).quota_hour, 0), coalesce((j.tally).quota_day, 0),
	coalesce((j.tally).hour_since, 0), coalesce((j.tally).day_since, 0)`

// tallyRow is a Tally as a statement returns it.
type tallyRow struct {
	outcome                                  oauth.Outcome
	wasteful, news, byDay                    bool
	level                                    int
	used, allowed, hour, day                 int
	limitHour, limitDay, hourFirst, dayFirst int
}

// overTheLine is the level of a token that is more than the limit allows.
const overTheLine = 3

// into is where the columns go, in the order of tallied.
func (r *tallyRow) into() []any {
	return []any{
		&r.outcome, &r.wasteful, &r.level, &r.news,
		&r.byDay, &r.used, &r.allowed, &r.hour, &r.day,
		&r.limitHour, &r.limitDay, &r.hourFirst, &r.dayFirst,
	}
}

func (r *tallyRow) tally(now time.Time, m oauth.Meter) oauth.Tally {
	t := oauth.Tally{Outcome: r.outcome}
	if !m.On() || r.outcome == oauth.AlreadyOff || r.outcome == oauth.NotUsable {
		return t
	}
	t.Wasteful = r.wasteful
	if r.allowed == 0 {
		return t
	}
	t.Shadow, t.News = r.outcome == oauth.Issued && r.level == overTheLine, r.news
	t.Judgement = oauth.Judgement{Verdict: verdictOf(r.level), Rule: oauth.RuleHour, Used: r.used, Allowed: r.allowed}
	if r.byDay {
		t.Judgement.Rule = oauth.RuleDay
	}
	t.Hour = budget(r.limitHour, r.hour, r.hourFirst, now)
	t.Day = budget(r.limitDay, r.day, r.dayFirst, now)
	return t
}

func verdictOf(level int) oauth.Verdict {
	return [...]oauth.Verdict{oauth.VerdictFine, oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff}[level]
}

// budget takes the minute of the first as it was before the request: without one the
// request's own was the first, if it was wasteful.
func budget(quota, used, first int, now time.Time) oauth.Budget {
	b := oauth.Budget{Quota: quota, Used: used}
	switch {
	case used == 0:
	case first == 0:
		b.First = oauth.StartOf(oauth.Minute(now))
	default:
		b.First = oauth.StartOf(int64(first))
	}
	return b
}

// turnOf gives the CTE turn, of the application's row if it is there, as it is once the
// turn has come: that of a personal application is locked, as by everything that issues to it or locks its
// grants. That of any other is not, since its people must not wait for each other.
func turnOf(m oauth.Meter) string {
	lock := ""
	if m.On() && m.Kind == oauth.Personal {
		lock = " FOR NO KEY UPDATE"
	}
	return `turn AS MATERIALIZED (
			SELECT c.kind, c.status, c.owner_id, c.told, c.wasted_minute, c.reactivated_minute, c.succeeds, c.limit_hour, c.limit_day
			FROM oauth_clients c WHERE c.id = $1` + lock + `
		)`
}

const sqlLockClient = `SELECT FROM oauth_clients WHERE id = $1 AND kind = 'personal' FOR NO KEY UPDATE`

// lockClient locks the row of a personal application. A key share of it, which every
// new grant takes, does not wait for that.
func lockClient(b *pgx.Batch, clientID string) {
	b.Queue(sqlLockClient, clientID)
}

// lockClientIn is lockClient in a transaction that does more.
func lockClientIn(ctx context.Context, tx pgx.Tx, clientID string) error {
	_, err := tx.Exec(ctx, sqlLockClient, clientID)
	return err
}

// clientKey is the key of a write that locks rows of an application. The writes of one
// application come one after the other, and all processes lock in the same order.
func clientKey(clientID string, what any) string { return fmt.Sprintf("client %s %s", clientID, what) }
