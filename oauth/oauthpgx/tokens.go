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

// Issue implements oauth.Store.
func (s *Store) Issue(ctx context.Context, i oauth.Issuance) (int64, error) {
	var id int64
	_, err := s.write(ctx, "client "+i.ClientID, []any{&id}, insertGrant, grantValues(i)...)
	if err != nil {
		return 0, refused("issue tokens", err)
	}
	return id, nil
}

// insertGrant inserts a grant with its first tokens.
const insertGrant = `
		WITH new AS (
			INSERT INTO oauth_grants (client_id, user_id, grant_type, scope, sites, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			RETURNING oauth_grants.id
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $8, new.id, $6, $9 FROM new
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $10, new.id, $6, $11 FROM new WHERE $10::bytea IS NOT NULL
		)
		SELECT new.id FROM new`

// grantValues are the arguments of insertGrant.
func grantValues(i oauth.Issuance) []any {
	expires := i.AccessExpiresAt
	if i.Refresh != (oauth.Hash{}) {
		expires = later(expires, i.RefreshExpiresAt)
	}
	return []any{
		i.ClientID, known(i.UserID), i.GrantType, scope(i.Scope), i.Sites, i.Now, expires,
		i.Access[:], i.AccessExpiresAt, given(i.Refresh), i.RefreshExpiresAt,
	}
}

// Rotate implements oauth.Store. It is one statement. The grant's row is locked
// first and the token's second, by which all changes of one family of tokens come
// one after the other, whatever process they come from. Everything that decides is
// in those two rows, which are read as they stand once they are locked.
func (s *Store) Rotate(ctx context.Context, r oauth.Rotation) (oauth.Rotated, error) {
	now := r.Now.Truncate(time.Microsecond)
	var (
		result                     oauth.Rotated
		nonce                      []byte
		expiresAt                  *time.Time
		grantScope, successorScope scope
	)
	found, err := s.write(ctx, "refresh "+string(r.Old[:]),
		[]any{&result.Outcome, &result.GrantID, &result.UserID, &nonce, &expiresAt, &grantScope, &successorScope}, `
		WITH old AS MATERIALIZED (
			SELECT t.hash, t.grant_id, t.predecessor, t.nonce, t.successor_expires_at, t.successor_scope,
				g.user_id, g.scope,
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
			SET used_at = $2, nonce = $4, successor_expires_at = $6, successor_scope = $14
			FROM old WHERE old.outcome = $11 AND t.hash = old.hash
		), close_replay AS (
			UPDATE oauth_refresh_tokens t
			SET successor_used = true
			FROM old WHERE old.outcome = $11 AND t.hash = old.predecessor
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at, scope)
			SELECT $5, old.grant_id, $2, $6, $14 FROM old WHERE old.outcome = $11
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at, predecessor)
			SELECT $7, old.grant_id, $2, $8, old.hash FROM old WHERE old.outcome = $11
		), prolong AS (
			UPDATE oauth_grants g
			SET expires_at = greatest(g.expires_at, $9)
			FROM old WHERE old.outcome = $11 AND g.id = old.grant_id
		), revoke AS (
			UPDATE oauth_grants g
			SET revoked_at = $2
			FROM old WHERE old.outcome = $13 AND g.id = old.grant_id
		)
		SELECT old.outcome, old.grant_id, coalesce(old.user_id, 0), old.nonce, old.successor_expires_at,
			old.scope, coalesce(old.successor_scope, old.scope)
		FROM old`,
		r.Old[:], now, r.ClientID, r.Nonce[:],
		r.Access[:], r.AccessExpiresAt, r.Refresh[:], r.RefreshExpiresAt, later(r.AccessExpiresAt, r.RefreshExpiresAt),
		now.Add(-r.Grace), oauth.Rotate, oauth.Replay, oauth.Reuse, scope(r.Scope))
	if err != nil {
		return oauth.Rotated{}, missing("rotate refresh token", err)
	}
	if !found {
		return oauth.Rotated{}, fmt.Errorf("rotate refresh token: %w", oauth.ErrNotFound)
	}
	switch result.Outcome {
	case oauth.Rotate:
		result.Nonce, result.ExpiresAt = r.Nonce, r.AccessExpiresAt.Truncate(time.Microsecond).UTC()
		result.Scope = r.Scope
		if r.Scope == nil {
			result.Scope = oauth.Scope(grantScope)
		}
	case oauth.Replay:
		copy(result.Nonce[:], nonce)
		result.ExpiresAt, result.Scope = stored(expiresAt), oauth.Scope(successorScope)
	}
	return result, nil
}

// Token implements oauth.Store.
func (s *Store) Token(ctx context.Context, token oauth.Hash, now time.Time) (t oauth.Token, err error) {
	var registered oauth.Scope // of the client
	err = s.db.Read().QueryRow(ctx, `
		SELECT t.use, g.id, g.client_id, coalesce(u.id, 0), coalesce(u.email, ''),
			coalesce(t.scope, g.scope), c.scope, t.issued_at, t.expires_at
		FROM (
			SELECT $3::text AS use, grant_id, scope, issued_at, expires_at
			FROM oauth_access_tokens
			WHERE hash = $1 AND expires_at > $2
			UNION ALL
			SELECT $4::text, grant_id, NULL, issued_at, expires_at
			FROM oauth_refresh_tokens
			WHERE hash = $1 AND expires_at > $2 AND used_at IS NULL
		) t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		LEFT JOIN oauth_users u ON u.id = g.user_id
		WHERE g.revoked_at IS NULL AND c.status <> $5`,
		token[:], now, string(oauth.UseAccess), string(oauth.UseRefresh), string(oauth.Deleted)).
		Scan(&t.Use, &t.GrantID, &t.ClientID, &t.UserID, &t.UserEmail, (*scope)(&t.Scope), (*scope)(&registered), &t.IssuedAt, &t.ExpiresAt)
	if err != nil {
		return oauth.Token{}, missing("find token", err)
	}
	t.Scope = t.Scope.And(registered)
	t.IssuedAt, t.ExpiresAt = t.IssuedAt.UTC(), t.ExpiresAt.UTC()
	return t, nil
}

// Revoke implements oauth.Store. The grant and the refresh token are locked as Rotate
// locks them, so that of the two that come at once the second one sees what the first
// one left.
func (s *Store) Revoke(ctx context.Context, clientID string, token oauth.Hash, now time.Time) error {
	b := &pgx.Batch{}
	b.Queue(`
		WITH access AS (
			DELETE FROM oauth_access_tokens t
			USING oauth_grants g
			WHERE t.hash = $1 AND t.expires_at > $2 AND g.id = t.grant_id AND g.client_id = $3 AND g.revoked_at IS NULL
		), refresh AS MATERIALIZED (
			SELECT t.grant_id
			FROM oauth_refresh_tokens t
			JOIN oauth_grants g ON g.id = t.grant_id
			WHERE t.hash = $1 AND t.expires_at > $2 AND t.used_at IS NULL AND g.client_id = $3 AND g.revoked_at IS NULL
			FOR NO KEY UPDATE OF g
			FOR UPDATE OF t
		)
		UPDATE oauth_grants g
		SET revoked_at = $2
		FROM refresh WHERE g.id = refresh.grant_id`,
		token[:], now, clientID)
	err := s.db.WriteBatch(ctx, "refresh "+string(token[:]), b)
	if err = missing("revoke token", err); errors.Is(err, oauth.ErrNotFound) {
		return nil // no client has such an ID
	}
	return err
}

// Access implements oauth.Store.
func (s *Store) Access(ctx context.Context, token oauth.Hash, now time.Time) (a oauth.Access, err error) {
	var registered oauth.Scope // of the client
	err = s.db.Read().QueryRow(ctx, `
		SELECT t.grant_id, g.client_id, c.name, coalesce(u.id, 0), coalesce(u.name, ''), coalesce(u.email, ''),
			coalesce(t.scope, g.scope), c.scope, g.sites, t.expires_at
		FROM oauth_access_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		LEFT JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = $1 AND t.expires_at > $2 AND g.revoked_at IS NULL AND c.status <> $3`,
		token[:], now, string(oauth.Deleted)).
		Scan(&a.GrantID, &a.ClientID, &a.ClientName, &a.UserID, &a.UserName, &a.UserEmail,
			(*scope)(&a.Scope), (*scope)(&registered), &a.Sites, &a.ExpiresAt)
	if err != nil {
		return oauth.Access{}, missing("find access token", err)
	}
	a.Scope, a.ExpiresAt = a.Scope.And(registered), a.ExpiresAt.UTC()
	return a, nil
}

// Purge implements oauth.Store. Rows that somebody has locked are left for the next
// time. A grant stays as long as the code that gave it, which knows by it that it was
// spent.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted [7]int64
	b := &pgx.Batch{}
	for i, sql := range [len(deleted)]string{
		`DELETE FROM oauth_codes WHERE hash IN (
			SELECT hash FROM oauth_codes WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_device_codes WHERE hash IN (
			SELECT hash FROM oauth_device_codes WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_sessions WHERE hash IN (
			SELECT hash FROM oauth_sessions WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
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
				AND NOT EXISTS (SELECT FROM oauth_codes c WHERE c.grant_id = g.id)
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
	var total int64
	for _, n := range deleted {
		total += n
	}
	return int(total), nil
}
