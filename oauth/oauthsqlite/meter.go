package oauthsqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// request asks for tokens that a meter counts.
type request struct {
	clientID string
	userID   int64 // 0: nobody's
	grant    string
	now      time.Time
	meter    oauth.Meter
}

// standing is what is known of the application of a request before it.
type standing struct {
	owner              int64
	kind               oauth.Kind
	status             oauth.Status
	disabled           bool // its owner, if it is a personal one, or the person
	told, wasted       int64
	limitHour          sql.NullInt64
	limitDay           sql.NullInt64
	wasteful           bool
	hour, day          int
	hourFirst, dayOnes int64 // minutes; 0 if there is none
	// Of hour and day, those of the owner's applications that were deleted before.
	hourInherited, dayInherited int
}

// measure decides on a request, and writes down what comes of it. Unless the Tally's
// Outcome is Issued nothing may be issued. An unknown application is sql.ErrNoRows.
func measure(ctx context.Context, tx *sql.Tx, r request) (oauth.Tally, error) {
	var s standing
	err := tx.QueryRowContext(ctx, `
		SELECT c.owner_id, c.kind, c.status, CASE WHEN c.told_in_shadow AND NOT ?4 THEN 0 ELSE c.told END, c.wasted_minute, c.limit_hour, c.limit_day, EXISTS (
			SELECT 1 FROM oauth_users u
			WHERE u.disabled_at IS NOT NULL AND (u.id = ?2 OR u.id = c.owner_id AND c.kind = ?3))
		FROM oauth_clients c WHERE c.id = ?1`,
		r.clientID, r.userID, oauth.Personal, r.meter.Mode == oauth.ModeShadow).
		Scan(&s.owner, &s.kind, &s.status, &s.told, &s.wasted, &s.limitHour, &s.limitDay, &s.disabled)
	switch {
	case err != nil:
		return oauth.Tally{}, err
	case s.status == oauth.Off:
		return oauth.Tally{Outcome: oauth.AlreadyOff}, nil
	case s.status != oauth.Active || s.disabled:
		return oauth.Tally{Outcome: oauth.NotUsable}, nil
	case !r.meter.On():
		return oauth.Tally{}, nil
	}
	if s.wasteful, err = holds(ctx, tx, r); err != nil {
		return oauth.Tally{}, err
	}
	if s.kind != oauth.Personal {
		return oauth.Tally{Wasteful: s.wasteful}, book(ctx, tx, r, oauth.BookedIssued, s.wasteful)
	}
	if err := s.count(ctx, tx, r.clientID, r.now); err != nil {
		return oauth.Tally{}, err
	}
	return judge(ctx, tx, r, s)
}

// holds reports whether a token is held that makes another one wasteful.
func holds(ctx context.Context, tx *sql.Tx, r request) (wasteful bool, err error) {
	err = tx.QueryRowContext(ctx, `
		SELECT EXISTS (
			SELECT 1 FROM oauth_grants g
			WHERE g.user_id IS ?1 AND g.client_id = ?2 AND g.held_until > ?3)`,
		known(r.userID), r.clientID, r.now.Add(oauth.Spare).UnixMicro()).Scan(&wasteful)
	return wasteful, err
}

const countWasteful = `
	WITH counted (client_id, after, inherited) AS (
		SELECT c.id, 0, 0 FROM oauth_clients c WHERE c.id = ?1
		UNION ALL
		SELECT d.id, c.reactivated_minute, 1
		FROM oauth_clients c
		JOIN oauth_clients d ON d.owner_id = c.owner_id AND d.status = 'deleted' AND d.deletion <= c.succeeds
			AND d.kind = 'personal' AND d.wasted_minute > ?2 - 1440
		WHERE c.id = ?1 AND c.kind = 'personal' AND d.id <> c.id
	)
	SELECT coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE m.minute > ?2 - 60), 0), coalesce(sum(m.wasteful - m.forgiven), 0),
		coalesce(min(m.minute) FILTER (WHERE m.minute > ?2 - 60 AND m.wasteful > m.forgiven), 0),
		coalesce(min(m.minute) FILTER (WHERE m.wasteful > m.forgiven), 0),
		coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE m.minute > ?2 - 60 AND n.inherited), 0),
		coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE n.inherited), 0)
	FROM counted n
	JOIN oauth_issuance_minutes m ON m.client_id = n.client_id AND m.minute > ?2 - 1440 AND m.minute > n.after
	WHERE m.outcome <> 'switched_off'`

func (s *standing) count(ctx context.Context, db querier, clientID string, now time.Time) error {
	return db.QueryRowContext(ctx, countWasteful, clientID, oauth.Minute(now)).
		Scan(&s.hour, &s.day, &s.hourFirst, &s.dayOnes, &s.hourInherited, &s.dayInherited)
}

// judge decides on a personal application that may be used.
func judge(ctx context.Context, tx *sql.Tx, r request, s standing) (oauth.Tally, error) {
	limits := r.meter.Limits
	if s.limitHour.Valid && s.limitDay.Valid {
		limits = oauth.Limits{Hour: int(s.limitHour.Int64), Day: int(s.limitDay.Int64)}
	}
	before := s.told
	if s.day == 0 {
		before = 0 // a day without waste has ended the episode
	}
	j := oauth.Judge(oauth.Counts{Hour: s.hour, Day: s.day}, s.wasteful, limits)
	level, over := levelOf(j.Verdict), j.Verdict == oauth.VerdictSwitchOff
	t := oauth.Tally{Wasteful: s.wasteful, Shadow: over && r.meter.Mode == oauth.ModeShadow}
	booked := oauth.BookedIssued
	switch {
	case t.Shadow:
		booked = oauth.BookedShadow
	case over:
		booked, t.Outcome = oauth.BookedOff, oauth.SwitchedOff
	}
	t.News = t.Outcome == oauth.SwitchedOff || level > before
	if err := book(ctx, tx, r, booked, s.wasteful); err != nil {
		return oauth.Tally{}, err
	}
	var ruling sql.NullInt64
	if t.News {
		id, err := rule(ctx, tx, r, s, t, j)
		if err != nil {
			return oauth.Tally{}, err
		}
		ruling = sql.NullInt64{Int64: id, Valid: true}
	}
	if err := mark(ctx, tx, r, s, t, max(level, before), ruling); err != nil {
		return oauth.Tally{}, err
	}
	if j.Allowed == 0 {
		return oauth.Tally{Wasteful: s.wasteful}, nil
	}
	t.Judgement = j
	issued := 0
	if s.wasteful && t.Outcome == oauth.Issued {
		issued = 1
	}
	t.Hour = budget(limits.Hour, s.hour+issued, s.hourFirst, r.now)
	t.Day = budget(limits.Day, s.day+issued, s.dayOnes, r.now)
	return t, nil
}

// levelOf is the column told of a verdict.
func levelOf(v oauth.Verdict) int64 {
	switch v {
	case oauth.VerdictNotice:
		return 1
	case oauth.VerdictWarning:
		return 2
	case oauth.VerdictSwitchOff:
		return 3
	default:
		return 0
	}
}

// budget takes the minute of the first as it was before the request: without one the
// request's own was the first, if it was wasteful.
func budget(quota, used int, first int64, now time.Time) oauth.Budget {
	b := oauth.Budget{Quota: quota, Used: used}
	switch {
	case used == 0:
	case first == 0:
		b.First = oauth.StartOf(oauth.Minute(now))
	default:
		b.First = oauth.StartOf(first)
	}
	return b
}

// book counts a token for its minute.
func book(ctx context.Context, tx *sql.Tx, r request, outcome string, wasteful bool) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_issuance_minutes (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
		VALUES (?, ?, ?, ?, 0, 1, ?, 0)
		ON CONFLICT (client_id, minute, grant_type, outcome, lane)
		DO UPDATE SET tokens = tokens + 1, wasteful = wasteful + excluded.wasteful`,
		r.clientID, oauth.Minute(r.now), r.grant, outcome, wasteful)
	return err
}

// rule records the verdict.
func rule(ctx context.Context, tx *sql.Tx, r request, s standing, t oauth.Tally, j oauth.Judgement) (id int64, err error) {
	verdict, lever := j.Verdict, oauth.Lever("")
	if t.Shadow {
		verdict = oauth.VerdictShadow
	}
	if t.Outcome == oauth.SwitchedOff {
		lever = leverOf(r.meter)
	}
	first, inherited := s.hourFirst, s.hourInherited
	if j.Rule == oauth.RuleDay {
		first, inherited = s.dayOnes, s.dayInherited
	}
	if first == 0 {
		first = oauth.Minute(r.now)
	}
	err = tx.QueryRowContext(ctx, `
		INSERT INTO oauth_rulings (client_id, ruled_at, verdict, actor, reason, rule, used, inherited, allowed, first_at, grant_type, lever, effective)
		VALUES (?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, 1)
		RETURNING id`,
		r.clientID, r.now.UnixMicro(), verdict, oauth.ByPolicy, j.Rule, j.Used, inherited, j.Allowed,
		oauth.StartOf(first).UnixMicro(), r.grant, lever).Scan(&id)
	return id, err
}

func leverOf(m oauth.Meter) oauth.Lever {
	if m.Lever == oauth.LeverDrain {
		return oauth.LeverDrain
	}
	return oauth.LeverOff
}

// mark writes to the application's row what the next request needs to know.
func mark(ctx context.Context, tx *sql.Tx, r request, s standing, t oauth.Tally, told int64, ruling sql.NullInt64) error {
	if t.Outcome == oauth.SwitchedOff {
		_, err := tx.ExecContext(ctx, `
			UPDATE oauth_clients SET status = ?, draining = ?, off_ruling = ?, told = ?, told_in_shadow = 0 WHERE id = ?`,
			oauth.Off, r.meter.Lever == oauth.LeverDrain, ruling, told, r.clientID)
		if err != nil {
			return err
		}
		by := oauth.Intervention{ClientID: r.clientID, Actor: oauth.ByPolicy, Now: r.now}
		return note(ctx, tx, by.Change(s.owner, oauth.VerdictSwitchOff))
	}
	minute := s.wasted
	if s.wasteful {
		minute = max(minute, oauth.Minute(r.now))
	}
	if told == s.told && minute == s.wasted {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE oauth_clients SET told = ?, told_in_shadow = ? AND (? OR told_in_shadow), wasted_minute = ? WHERE id = ?`,
		told, r.meter.Mode == oauth.ModeShadow, t.News, minute, r.clientID)
	return err
}
