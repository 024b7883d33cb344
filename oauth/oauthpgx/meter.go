package oauthpgx

import (
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
)

// Every statement that issues is made of its own part and of a meter. It begins with
// the CTE turn, which is the application's row. The CTE subject (user_id, disabled) follows,
// of no row if nothing is to be issued; disabled says so of the person. Then comes the CTE
// judged of the meter, of a row if there is one in subject, with the outcome. The first
// arguments are those of meterValues.
//
// What the statement reads is as old as its beginning. So the row of a personal application
// is locked before that: then it sees all that was issued to it until then. What nothing is
// decided by is counted after it. Both is shared with what else issues in the transaction:
// see sharing.

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

// meterOf gives the CTEs of a meter, for what is issued to a person or to nobody.
func meterOf(m oauth.Meter, toNobody bool) string {
	switch {
	case !m.On():
		return `
			unused AS (SELECT $2::timestamptz, $3::int, $4::text, $5::boolean, $8::boolean),
			weighed AS (SELECT s.user_id, s.disabled, false AS wastes FROM subject s),` + judged("")
	case m.Kind != oauth.Personal:
		return `
			unused AS (SELECT $3::int, $4::text, $5::boolean, $8::boolean),` + weighed(toNobody) + `,` + judged("")
	default:
		return weighed(toNobody) + `,` + judged(measured)
	}
}

// weighed tells whether the application holds a token that makes another one wasteful.
func weighed(toNobody bool) string {
	holder := "g.user_id = s.user_id"
	if toNobody {
		holder = "g.user_id IS NULL"
	}
	return `
	weighed AS MATERIALIZED (
		SELECT s.user_id, s.disabled, EXISTS (
			SELECT FROM oauth_grants g
			WHERE g.client_id = $1 AND ` + holder + ` AND g.held_until > $2::timestamptz + interval '5 minutes'
		) AS wastes
		FROM subject s
	)`
}

// judged is the tally of what is weighed. What more there is to judge by goes between
// what may not be issued and what is fine. The owner of a personal application is looked
// for only if it is not the person.
func judged(more string) string {
	return `
	judged AS MATERIALIZED (
		SELECT CASE
			WHEN t.status = 'off'
			THEN ROW(2, false, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally
			WHEN t.status <> 'active' OR w.disabled OR t.kind = 'personal' AND t.owner_id IS DISTINCT FROM w.user_id AND EXISTS (
				SELECT FROM oauth_users u WHERE u.id = t.owner_id AND u.disabled_at IS NOT NULL)
			THEN ROW(3, false, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally` + more + `
			ELSE ROW(0, w.wastes, 0, false, coalesce(t.limit_hour, $6) = 0, 0,
				coalesce(nullif(coalesce(t.limit_hour, $6), 0), t.limit_day, $7), 0, 0,
				coalesce(t.limit_hour, $6), coalesce(t.limit_day, $7), 0, 0)::oauth_tally
		END AS tally
		FROM weighed w, turn t
	)`
}

// measured decides on what is wasteful and counts it, and tells how an application stands
// that wasted something within a day, or follows others of its owner that may have. It is
// a function of the schema, since a statement that held all of it took three times as long.
const measured = `
			WHEN w.wastes OR t.told <> 0 OR t.wasted_minute > $3 - 1440 OR t.succeeds > 0
			THEN oauth_measure($1, w.wastes, $2, $3, $4, $5, $6, $7, $8,
				t.owner_id, CASE WHEN t.told_in_shadow AND NOT $5 THEN 0::smallint ELSE t.told END, t.wasted_minute, t.reactivated_minute, t.succeeds, t.limit_hour, t.limit_day)`

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

// turn is the application's row, if it is there.
const turn = `
	turn AS MATERIALIZED (
		SELECT c.kind, c.status, c.owner_id, c.told, c.told_in_shadow, c.wasted_minute, c.reactivated_minute, c.succeeds, c.limit_hour, c.limit_day
		FROM oauth_clients c WHERE c.id = $1
	)`

// sharing is what issuing to an application has done together with what else is issued in
// the transaction. What issues to a personal one waits until all is done that issues to it
// or ends its grants; the people of any other must not wait for each other. And what issued
// tells, once that is known, whether a token was issued and was wasteful: it is counted,
// unless measured has done so.
func sharing(clientID, grant string, now time.Time, m oauth.Meter, issued func() (is, wasteful bool)) []groupcommit.Shared {
	if !m.On() {
		return nil
	}
	personal := m.Kind == oauth.Personal
	count := groupcommit.Tail{SQL: sqlCount, Row: func() []any {
		is, wasteful := issued()
		if !is || personal && wasteful {
			return nil
		}
		return []any{clientID, oauth.Minute(now), grant, personal, wasteful}
	}}
	if !personal {
		return []groupcommit.Shared{count}
	}
	return []groupcommit.Shared{clientLock(clientID), count}
}

// sqlCount counts issued tokens. Where turns are not taken, it does so in a row of its own
// for each session that writes, so that none waits for another.
const sqlCount = `
	INSERT INTO oauth_issuance_minutes AS m (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
	SELECT t.client_id, t.minute, t.grant_type, 'issued', CASE WHEN t.in_turn THEN 0 ELSE pg_backend_pid() END,
		count(*), count(*) FILTER (WHERE t.wasteful), 0
	FROM unnest($1::text[], $2::int[], $3::text[], $4::boolean[], $5::boolean[]) AS t (client_id, minute, grant_type, in_turn, wasteful)
	GROUP BY 1, 2, 3, 5
	ON CONFLICT (client_id, minute, grant_type, outcome, lane)
	DO UPDATE SET tokens = m.tokens + excluded.tokens, wasteful = m.wasteful + excluded.wasteful`

// clientLock is the row of a personal application. A key share of it, which every
// new grant takes, does not wait for that.
func clientLock(clientID string) groupcommit.Lock {
	return groupcommit.Lock{
		SQL: `SELECT FROM oauth_clients WHERE id = ANY($1) AND kind = 'personal' ORDER BY id FOR NO KEY UPDATE`,
		Row: clientID,
	}
}

// clientKey is the key of a write that locks rows of an application. The writes of one
// application come one after the other, and all processes lock in the same order.
func clientKey(clientID string, what any) string { return fmt.Sprintf("client %s %s", clientID, what) }
