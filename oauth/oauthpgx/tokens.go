package oauthpgx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/foxbridge/foxbridge/oauth"
)

// Issue implements oauth.Store.
func (s *Store) Issue(ctx context.Context, i oauth.Issuance) (int64, error) {
	var id int64
	_, err := s.write(ctx, "client "+i.ClientID, []any{&id}, `
		WITH new AS (
			INSERT INTO oauth_grants (client_id, user_id, grant_type, created_at, expires_at)
			VALUES ($1, $2, $3, $4, greatest($6::timestamptz, $8::timestamptz))
			RETURNING oauth_grants.id
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, expires_at)
			SELECT $5, new.id, $6 FROM new
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, expires_at)
			SELECT $7, new.id, $8 FROM new
		)
		SELECT new.id FROM new`,
		i.ClientID, i.UserID, i.GrantType, i.Now,
		i.Access[:], i.AccessExpiresAt, i.Refresh[:], i.RefreshExpiresAt)
	if err != nil {
		return 0, refused("issue tokens", err)
	}
	return id, nil
}

// Rotate implements oauth.Store. It is one statement. The grant's row is locked
// first and the token's second, by which all changes of one family of tokens come
// one after the other, whatever process they come from. Everything that decides is
// in those two rows, which are read as they stand once they are locked.
func (s *Store) Rotate(ctx context.Context, r oauth.Rotation) (oauth.Rotated, error) {
	now := r.Now.Truncate(time.Microsecond)
	var (
		result    oauth.Rotated
		nonce     []byte
		expiresAt *time.Time
	)
	found, err := s.write(ctx, "refresh "+string(r.Old[:]),
		[]any{&result.Outcome, &result.GrantID, &result.UserID, &nonce, &expiresAt}, `
		WITH old AS MATERIALIZED (
			SELECT t.hash, t.grant_id, t.predecessor, t.nonce, t.successor_expires_at, g.user_id,
				CASE
					WHEN t.used_at IS NULL                          THEN $11::int -- rotate
					WHEN t.used_at > $10 AND NOT t.successor_used   THEN $12::int -- replay
					ELSE                                                 $13::int -- reuse
				END AS outcome
			FROM oauth_refresh_tokens t
			JOIN oauth_grants g ON g.id = t.grant_id
			WHERE t.hash = $1 AND t.expires_at > $2 AND g.client_id = $3 AND g.revoked_at IS NULL
			FOR NO KEY UPDATE OF g
			FOR UPDATE OF t
		), spend AS (
			UPDATE oauth_refresh_tokens t
			SET used_at = $2, nonce = $4, successor_expires_at = $6
			FROM old WHERE old.outcome = $11 AND t.hash = old.hash
		), close_replay AS (
			UPDATE oauth_refresh_tokens t
			SET successor_used = true
			FROM old WHERE old.outcome = $11 AND t.hash = old.predecessor
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, expires_at)
			SELECT $5, old.grant_id, $6 FROM old WHERE old.outcome = $11
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, expires_at, predecessor)
			SELECT $7, old.grant_id, $8, old.hash FROM old WHERE old.outcome = $11
		), prolong AS (
			UPDATE oauth_grants g
			SET expires_at = greatest(g.expires_at, $9)
			FROM old WHERE old.outcome = $11 AND g.id = old.grant_id
		), revoke AS (
			UPDATE oauth_grants g
			SET revoked_at = $2
			FROM old WHERE old.outcome = $13 AND g.id = old.grant_id
		)
		SELECT old.outcome, old.grant_id, old.user_id, old.nonce, old.successor_expires_at FROM old`,
		r.Old[:], now, r.ClientID, r.Nonce[:],
		r.Access[:], r.AccessExpiresAt, r.Refresh[:], r.RefreshExpiresAt, later(r.AccessExpiresAt, r.RefreshExpiresAt),
		now.Add(-r.Grace), oauth.Rotate, oauth.Replay, oauth.Reuse)
	if err != nil {
		return oauth.Rotated{}, missing("rotate refresh token", err)
	}
	if !found {
		return oauth.Rotated{}, fmt.Errorf("rotate refresh token: %w", oauth.ErrNotFound)
	}
	switch result.Outcome {
	case oauth.Rotate:
		result.Nonce, result.ExpiresAt = r.Nonce, r.AccessExpiresAt.Truncate(time.Microsecond).UTC()
	case oauth.Replay:
		copy(result.Nonce[:], nonce)
		result.ExpiresAt = expiresAt.UTC()
	}
	return result, nil
}

// Access implements oauth.Store.
func (s *Store) Access(ctx context.Context, token oauth.Hash, now time.Time) (a oauth.Access, err error) {
	err = s.db.Read().QueryRow(ctx, `
		SELECT t.grant_id, g.client_id, c.name, g.user_id, u.name, t.expires_at
		FROM oauth_access_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = $1 AND t.expires_at > $2 AND g.revoked_at IS NULL`,
		token[:], now).
		Scan(&a.GrantID, &a.ClientID, &a.ClientName, &a.UserID, &a.UserName, &a.ExpiresAt)
	if err != nil {
		return oauth.Access{}, missing("find access token", err)
	}
	a.ExpiresAt = a.ExpiresAt.UTC()
	return a, nil
}

// Purge implements oauth.Store. Rows that somebody has locked are left for the next
// time.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted [4]int64
	b := &pgx.Batch{}
	for i, sql := range [len(deleted)]string{
		`DELETE FROM oauth_access_tokens WHERE hash IN (
			SELECT hash FROM oauth_access_tokens WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_refresh_tokens WHERE hash IN (
			SELECT hash FROM oauth_refresh_tokens WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_grants WHERE id IN (
			SELECT g.id FROM oauth_grants g
			WHERE g.expires_at < $1
				AND NOT EXISTS (SELECT FROM oauth_access_tokens t WHERE t.grant_id = g.id)
				AND NOT EXISTS (SELECT FROM oauth_refresh_tokens t WHERE t.grant_id = g.id)
			ORDER BY g.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_sign_in_failures WHERE id IN (
			SELECT id FROM oauth_sign_in_failures WHERE failed_at < $1
			ORDER BY failed_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	} {
		b.Queue(sql, before, max(0, limit)).Exec(func(tag pgconn.CommandTag) error {
			deleted[i] = tag.RowsAffected()
			return nil
		})
	}
	if err := s.db.WriteBatch(ctx, "purge", b); err != nil {
		return 0, refused("purge", err)
	}
	return int(deleted[0] + deleted[1] + deleted[2] + deleted[3]), nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
