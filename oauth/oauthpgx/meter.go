package oauthpgx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// Every statement that issues is made of its own part and of a meter. It begins with
// the CTE turn, by which it waits until the writes that it must not run beside are
// done. The CTE subject (user_id) follows, of no row if nothing is to be issued. Then
// comes the CTE judged of the meter, of a row if there is one in subject, with the
// outcome. The first arguments are those of meterValues.
//
// What the statement itself reads is as old as its beginning, but for the rows that it
// locks, and so is what decides on a token. What the meter counts is as it stands when
// the turn has come: it is counted by a function, each statement of which sees what
// was committed until then.

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
	case m.Kind == oauth.Personal && m.Mode == oauth.ModeEnforce:
		return metered + noted
	case m.On():
		return metered
	default:
		return unmetered
	}
}

// unmetered counts nothing.
const unmetered = `
	unused AS (SELECT $2::timestamptz, $3::int, $4::text, $5::boolean, $6::int, $7::int, $8::boolean),
	judged AS MATERIALIZED (
		SELECT s.user_id, ROW(
			CASE
				WHEN c.status = 'off' THEN 2
				WHEN c.status <> 'active' OR EXISTS (
					SELECT FROM oauth_users u
					WHERE u.id IN (s.user_id, c.owner_id) AND u.disabled_at IS NOT NULL AND (u.id = s.user_id OR c.kind = 'personal')
				) THEN 3
				ELSE 0
			END, false, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally AS tally
		FROM subject s, oauth_clients c
		WHERE c.id = $1
	)`

// metered counts and judges, and writes down what comes of it. It is a function of the
// schema, since a statement that held all of it took three times as long.
const metered = `
	judged AS MATERIALIZED (
		SELECT s.user_id, oauth_measure($1, s.user_id, $2, $3, $4, $5, $6, $7, $8) AS tally
		FROM subject s
	)`

// noted tells the owner of an application that it was switched off by the request, as
// oauth.Intervention.Change does.
const noted = `, noted AS (
		INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
		SELECT c.owner_id, 'application.off.policy', c.id, '', 0, '', $2
		FROM judged j JOIN oauth_clients c ON c.id = $1
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

// turnOf gives the CTE turn, of one row if the application is there: the row of a
// personal application is locked, as by everything that issues to it or locks its
// grants. That of any other is not, since its people must not wait for each other.
func turnOf(m oauth.Meter) string {
	lock := ""
	if m.On() && m.Kind == oauth.Personal {
		lock = " FOR NO KEY UPDATE"
	}
	return `turn AS MATERIALIZED (SELECT true AS come FROM oauth_clients c WHERE c.id = $1` + lock + `)`
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
