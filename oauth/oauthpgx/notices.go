package oauthpgx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/foxbridge/foxbridge/oauth"
)

// newNotices bounds the rulings that one call of DueNotices makes notices of.
const newNotices = 1_000

// DueNotices implements oauth.Notices. Callers take turns, so that none waits for rows
// that another one is about to insert while it holds rows that this one wants.
func (s *Store) DueNotices(ctx context.Context, q oauth.NoticeQuery) ([]oauth.Notice, error) {
	var verdicts []string
	for _, v := range q.Channel.Verdicts() {
		verdicts = append(verdicts, string(v))
	}
	var due []oauth.Notice
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_advisory_xact_lock(hashtext('oauth_notices'))`)
	b.Queue(`
		INSERT INTO oauth_notices (ruling_id, channel, next_at)
		SELECT r.id, $1, $3
		FROM oauth_rulings r
		WHERE r.ruled_at >= $2 AND r.verdict = ANY ($4) AND r.effective
			AND NOT EXISTS (SELECT FROM oauth_notices n WHERE n.ruling_id = r.id AND n.channel = $1)
		ORDER BY r.ruled_at, r.id LIMIT $5
		ON CONFLICT DO NOTHING`,
		string(q.Channel), q.Since, q.Now, verdicts, newNotices)
	b.Queue(`
		WITH due AS MATERIALIZED (
			SELECT n.ruling_id, n.next_at AS since FROM oauth_notices n
			WHERE n.channel = $1 AND n.next_at <= $2
			ORDER BY n.next_at, n.ruling_id LIMIT $4
			FOR UPDATE SKIP LOCKED
		), leased AS (
			UPDATE oauth_notices n SET next_at = $3, attempts = n.attempts + 1
			FROM due WHERE n.ruling_id = due.ruling_id AND n.channel = $1
			RETURNING n.ruling_id, n.attempts, due.since
		)
		SELECT leased.attempts, r.id, r.client_id, r.ruled_at, r.verdict, r.actor, coalesce(r.key, ''), r.reason, r.rule, r.used, r.inherited, r.allowed,
			r.first_at, r.grant_type, r.lever, r.effective
		FROM leased JOIN oauth_rulings r ON r.id = leased.ruling_id
		ORDER BY leased.since, r.id`,
		string(q.Channel), q.Now, q.Until, max(0, q.Limit)).
		Query(func(rows pgx.Rows) error {
			found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (oauth.Notice, error) {
				n := oauth.Notice{Channel: q.Channel}
				var first *time.Time
				err := row.Scan(&n.Attempts, &n.ID, &n.ClientID, &n.At, &n.Verdict, &n.Actor, &n.Key, &n.Reason, &n.Rule, &n.Used, &n.Inherited, &n.Allowed,
					&first, &n.Grant, &n.Lever, &n.Effective)
				n.At, n.First = n.At.UTC(), stored(first)
				return n, err
			})
			due = found
			return err
		})
	if err := s.db.WriteBatch(ctx, "notices", b); err != nil {
		return nil, refused("find notices", err)
	}
	return due, nil
}

// NoticeTold implements oauth.Notices.
func (s *Store) NoticeTold(ctx context.Context, rulingID int64, channel oauth.Channel, at time.Time) error {
	b := &pgx.Batch{}
	b.Queue(`UPDATE oauth_notices SET told_at = coalesce(told_at, $3), next_at = NULL WHERE ruling_id = $1 AND channel = $2`,
		rulingID, string(channel), at)
	return refused("note that a ruling was told", s.db.WriteBatch(ctx, "notices", b))
}

// NoticeLater implements oauth.Notices.
func (s *Store) NoticeLater(ctx context.Context, rulingID int64, channel oauth.Channel, next time.Time) error {
	b := &pgx.Batch{}
	b.Queue(`UPDATE oauth_notices SET next_at = $3 WHERE ruling_id = $1 AND channel = $2 AND told_at IS NULL`,
		rulingID, string(channel), at(next))
	return refused("put a notice off", s.db.WriteBatch(ctx, "notices", b))
}

// AttemptNotice implements oauth.Notices. Callers take turns, so that none counts
// while another one is about to be counted.
func (s *Store) AttemptNotice(ctx context.Context, a oauth.NoticeAttempt) (bool, error) {
	var mild []string
	for _, v := range oauth.MildVerdicts() {
		mild = append(mild, string(v))
	}
	var may, found bool
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_advisory_xact_lock(hashtext('oauth_notices'))`)
	b.Queue(`
		UPDATE oauth_notices n
		SET owner_id = $3, attempt_at = CASE WHEN room.enough THEN $4 ELSE n.attempt_at END,
			withheld_at = CASE WHEN NOT room.enough THEN $4::timestamptz END, next_at = CASE WHEN room.enough THEN n.next_at END
		FROM (
			SELECT count(*) < $6 AND (
				count(*) FILTER (WHERE r.verdict = ANY ($8)) < $7
				OR NOT EXISTS (SELECT FROM oauth_rulings self WHERE self.id = $1 AND self.verdict = ANY ($8))) AS enough
			FROM (
				SELECT o.ruling_id FROM oauth_notices o
				WHERE o.owner_id = $3 AND o.attempt_at > $5 AND o.channel = $2 AND o.ruling_id <> $1
				LIMIT $6) others
			JOIN oauth_rulings r ON r.id = others.ruling_id
		) room
		WHERE n.ruling_id = $1 AND n.channel = $2 AND n.told_at IS NULL
		RETURNING room.enough`,
		a.RulingID, string(a.Channel), a.OwnerID, a.Now, a.Since, a.Max, a.MaxMild, mild).
		Query(func(rows pgx.Rows) error {
			may, found = false, false
			for rows.Next() {
				found = true
				if err := rows.Scan(&may); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	err := s.db.WriteBatch(ctx, "notices", b)
	switch {
	case err != nil:
		return false, refused("note attempt to tell", err)
	case !found:
		return false, fmt.Errorf("note attempt to tell: %w", oauth.ErrNotFound)
	}
	return may, nil
}

// AddLink implements oauth.Notices.
func (s *Store) AddLink(ctx context.Context, l oauth.Link) error {
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO oauth_links (hash, ruling_id, client_id, expires_at) VALUES ($1, $2, $3, $4)`,
		l.Hash[:], l.RulingID, l.ClientID, l.ExpiresAt)
	return missing("add link", s.db.WriteBatch(ctx, "client "+l.ClientID, b))
}

// Link implements oauth.Notices.
func (s *Store) Link(ctx context.Context, hash oauth.Hash) (oauth.Link, error) {
	l := oauth.Link{Hash: hash}
	var used *time.Time
	err := s.db.Read().QueryRow(ctx, `
		SELECT l.ruling_id, l.client_id, l.expires_at,
			(SELECT r.ruled_at FROM oauth_rulings r WHERE r.client_id = l.client_id AND r.key = $2)
		FROM oauth_links l WHERE l.hash = $1`,
		hash[:], oauth.LinkKey(hash)).Scan(&l.RulingID, &l.ClientID, &l.ExpiresAt, &used)
	if err != nil {
		return oauth.Link{}, missing("find link", err)
	}
	l.ExpiresAt, l.UsedAt = l.ExpiresAt.UTC(), stored(used)
	return l, nil
}

// ForgetLinks implements oauth.Notices.
func (s *Store) ForgetLinks(ctx context.Context, before time.Time, limit int) (int, error) {
	var n int64
	b := &pgx.Batch{}
	b.Queue(`
		DELETE FROM oauth_links WHERE hash IN (
			SELECT hash FROM oauth_links WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		before, max(0, limit)).
		Exec(func(tag pgconn.CommandTag) error {
			n = tag.RowsAffected()
			return nil
		})
	if err := s.db.WriteBatch(ctx, "purge links", b); err != nil {
		return 0, refused("forget links", err)
	}
	return int(n), nil
}
