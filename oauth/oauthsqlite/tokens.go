package oauthsqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// Issue implements oauth.Store.
func (s *Store) Issue(ctx context.Context, i oauth.Issuance) (oauth.NewGrant, error) {
	if !storable(i.GrantType) || !storable(i.Scope...) {
		return oauth.NewGrant{}, fmt.Errorf("issue tokens: %w", errText)
	}
	var result oauth.NewGrant
	err := s.db.Write(ctx, "client "+i.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		err := proven(ctx, tx, i.UserID, i.Proof)
		if err == nil {
			result, err = issue(ctx, tx, i)
		}
		return err
	})
	if err != nil {
		return oauth.NewGrant{}, refused("issue tokens", err)
	}
	return result, nil
}

// issue inserts a grant with its first tokens, if the meter lets it.
func issue(ctx context.Context, tx *sql.Tx, i oauth.Issuance) (result oauth.NewGrant, err error) {
	result.Tally, err = measure(ctx, tx, request{i.ClientID, i.UserID, i.GrantType, i.Now, i.Meter})
	if err != nil || result.Tally.Outcome != oauth.Issued {
		return result, err
	}
	now, expires := i.Now.UnixMicro(), i.AccessExpiresAt.UnixMicro()
	if i.Refresh != (oauth.Hash{}) {
		expires = max(expires, i.RefreshExpiresAt.UnixMicro())
	}
	err = tx.QueryRowContext(ctx, `
		INSERT INTO oauth_grants (client_id, user_id, grant_type, scope, sites, created_at, expires_at, held_until)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		RETURNING id`,
		i.ClientID, known(i.UserID), i.GrantType, scope(i.Scope), list[int64](i.Sites), now, expires, i.AccessExpiresAt.UnixMicro()).Scan(&result.ID)
	if err != nil {
		return oauth.NewGrant{}, err
	}
	if err := tellFirst(ctx, tx, i, result); err != nil {
		return oauth.NewGrant{}, err
	}
	if err := insertAccess(ctx, tx, i.Access, result.ID, now, i.AccessExpiresAt, nil); err != nil {
		return oauth.NewGrant{}, err
	}
	if i.Refresh == (oauth.Hash{}) {
		return result, nil
	}
	return result, insertRefresh(ctx, tx, i.Refresh, result.ID, now, i.RefreshExpiresAt, nil)
}

func insertAccess(ctx context.Context, tx *sql.Tx, token oauth.Hash, grantID, now int64, expiresAt time.Time, lesser scope) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at, scope)
		VALUES (?, ?, ?, ?, ?)`,
		token[:], grantID, now, expiresAt.UnixMicro(), lesser)
	return err
}

func insertRefresh(ctx context.Context, tx *sql.Tx, token oauth.Hash, grantID, now int64, expiresAt time.Time, predecessor []byte) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at, predecessor)
		VALUES (?, ?, ?, ?, ?)`,
		token[:], grantID, now, expiresAt.UnixMicro(), predecessor)
	return err
}

// Rotate implements oauth.Store.
func (s *Store) Rotate(ctx context.Context, r oauth.Rotation) (oauth.Rotated, error) {
	if !storable(r.Scope...) {
		return oauth.Rotated{}, fmt.Errorf("rotate refresh token: %w", errText)
	}
	var result oauth.Rotated
	err := s.db.Write(ctx, "client "+r.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		result, err = rotate(ctx, tx, r)
		return err
	})
	if err != nil {
		return oauth.Rotated{}, refused("rotate refresh token", err)
	}
	return result, nil
}

func rotate(ctx context.Context, tx *sql.Tx, r oauth.Rotation) (result oauth.Rotated, err error) {
	now := r.Now.UnixMicro()
	var (
		predecessor, nonce         []byte
		usedAt, successorExpiresAt sql.NullInt64
		successorUsed              bool
		grantScope, successorScope scope
	)
	err = tx.QueryRowContext(ctx, `
		SELECT t.grant_id, t.predecessor, t.used_at, t.nonce, t.successor_expires_at, t.successor_used,
			coalesce(g.user_id, 0), g.scope, coalesce(t.successor_scope, g.scope)
		FROM oauth_refresh_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		LEFT JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = ? AND t.expires_at > ? AND g.client_id = ? AND g.revoked_at IS NULL AND u.disabled_at IS NULL`,
		r.Old[:], now, r.ClientID).
		Scan(&result.GrantID, &predecessor, &usedAt, &nonce, &successorExpiresAt, &successorUsed,
			&result.UserID, &grantScope, &successorScope)
	switch {
	case err != nil:
		return oauth.Rotated{}, err
	case !usedAt.Valid:
		result.Tally, err = measure(ctx, tx, request{r.ClientID, result.UserID, oauth.GrantRefresh, r.Now, r.Meter})
		if err != nil || result.Tally.Outcome != oauth.Issued {
			result.Outcome = oauth.Withheld
			return result, err
		}
		result.Outcome, result.Nonce, result.ExpiresAt = oauth.Rotate, r.Nonce, timeOf(r.AccessExpiresAt.UnixMicro())
		result.Scope = r.Scope
		if r.Scope == nil {
			result.Scope = oauth.Scope(grantScope)
		}
		return result, succeed(ctx, tx, r, result.GrantID, predecessor)
	case now-usedAt.Int64 < r.Grace.Microseconds() && !successorUsed:
		result.Outcome, result.ExpiresAt = oauth.Replay, timeOf(successorExpiresAt.Int64)
		result.Scope = oauth.Scope(successorScope)
		copy(result.Nonce[:], nonce)
		return result, nil
	default:
		result.Outcome = oauth.Reuse
		return result, endReused(ctx, tx, result.GrantID, r.Now)
	}
}

// succeed spends the old token of r and inserts the pair that succeeds it.
func succeed(ctx context.Context, tx *sql.Tx, r oauth.Rotation, grantID int64, predecessor []byte) error {
	now, access, refresh := r.Now.UnixMicro(), r.AccessExpiresAt.UnixMicro(), r.RefreshExpiresAt.UnixMicro()
	if _, err := tx.ExecContext(ctx, `
		UPDATE oauth_refresh_tokens
		SET used_at = ?, nonce = ?, successor_expires_at = ?, successor_scope = ?
		WHERE hash = ?`,
		now, r.Nonce[:], access, scope(r.Scope), r.Old[:]); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `
		UPDATE oauth_refresh_tokens SET successor_used = 1 WHERE hash = ?`,
		predecessor); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `
		UPDATE oauth_grants
		SET expires_at = max(expires_at, ?1, ?2), held_until = max(coalesce(held_until, ?1), ?1)
		WHERE id = ?3`,
		access, refresh, grantID); err != nil {
		return err
	}
	if err := insertAccess(ctx, tx, r.Access, grantID, now, r.AccessExpiresAt, scope(r.Scope)); err != nil {
		return err
	}
	return insertRefresh(ctx, tx, r.Refresh, grantID, now, r.RefreshExpiresAt, r.Old[:])
}

// endReused revokes a grant of which something was used twice, unless it was before.
func endReused(ctx context.Context, tx *sql.Tx, id int64, now time.Time) error {
	if err := tellEnded(ctx, tx, oauth.CauseReuse, now, endsGrant, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE oauth_grants SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL`,
		now.UnixMicro(), id)
	return err
}

// Token implements oauth.Store.
func (s *Store) Token(ctx context.Context, token oauth.Hash, now time.Time) (t oauth.Token, err error) {
	var registered oauth.Scope // of the client
	var issuedAt, expiresAt int64
	err = s.db.Read().QueryRowContext(ctx, `
		SELECT t.use, g.id, g.client_id, coalesce(u.id, 0), coalesce(u.email, ''),
			coalesce(t.scope, g.scope), c.scope, t.issued_at, t.expires_at
		FROM (
			SELECT ?3 AS use, grant_id, scope, issued_at, expires_at
			FROM oauth_access_tokens
			WHERE hash = ?1 AND expires_at > ?2
			UNION ALL
			SELECT ?4, grant_id, NULL, issued_at, expires_at
			FROM oauth_refresh_tokens
			WHERE hash = ?1 AND expires_at > ?2 AND used_at IS NULL
		) t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		LEFT JOIN oauth_users u ON u.id = g.user_id
		WHERE g.revoked_at IS NULL AND c.status <> ?5 AND u.disabled_at IS NULL`,
		token[:], now.UnixMicro(), oauth.UseAccess, oauth.UseRefresh, oauth.Deleted).
		Scan(&t.Use, &t.GrantID, &t.ClientID, &t.UserID, &t.UserEmail, (*scope)(&t.Scope), (*scope)(&registered), &issuedAt, &expiresAt)
	if err != nil {
		return oauth.Token{}, refused("find token", err)
	}
	t.Scope = t.Scope.And(registered)
	t.IssuedAt, t.ExpiresAt = timeOf(issuedAt), timeOf(expiresAt)
	return t, nil
}

// Revoke implements oauth.Store. What is given back so is held on: see
// oauth_grants.held_until.
func (s *Store) Revoke(ctx context.Context, clientID string, token oauth.Hash, now time.Time) error {
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			DELETE FROM oauth_access_tokens AS t
			WHERE t.hash = ? AND t.expires_at > ? AND EXISTS (
				SELECT 1 FROM oauth_grants g WHERE g.id = t.grant_id AND g.client_id = ? AND g.revoked_at IS NULL)`,
			token[:], now.UnixMicro(), clientID); err != nil {
			return err
		}
		var grantID int64
		err := tx.QueryRowContext(ctx, `
			SELECT g.id
			FROM oauth_refresh_tokens t
			JOIN oauth_grants g ON g.id = t.grant_id
			WHERE t.hash = ? AND t.expires_at > ? AND t.used_at IS NULL AND g.client_id = ? AND g.revoked_at IS NULL`,
			token[:], now.UnixMicro(), clientID).Scan(&grantID)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			err = tellEnded(ctx, tx, oauth.CauseApplication, now, endsGrant, grantID)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `UPDATE oauth_grants SET revoked_at = ? WHERE id = ?`, now.UnixMicro(), grantID)
		}
		return err
	})
	return refused("revoke token", err)
}

// Access implements oauth.Store.
func (s *Store) Access(ctx context.Context, token oauth.Hash, now time.Time) (a oauth.Access, err error) {
	var registered oauth.Scope // of the client
	var expiresAt int64
	var off bool
	err = s.db.Read().QueryRowContext(ctx, `
		SELECT t.grant_id, g.client_id, c.name, coalesce(u.id, 0), coalesce(u.name, ''), coalesce(u.email, ''),
			coalesce(t.scope, g.scope), c.scope, g.sites, t.expires_at, c.status = ?3 AND NOT c.draining
		FROM oauth_access_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		LEFT JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = ?1 AND t.expires_at > ?2 AND g.revoked_at IS NULL AND u.disabled_at IS NULL AND c.status IN (?3, ?4)`,
		token[:], now.UnixMicro(), oauth.Off, oauth.Active).
		Scan(&a.GrantID, &a.ClientID, &a.ClientName, &a.UserID, &a.UserName, &a.UserEmail,
			(*scope)(&a.Scope), (*scope)(&registered), (*list[int64])(&a.Sites), &expiresAt, &off)
	if err != nil {
		return oauth.Access{}, refused("find access token", err)
	}
	if off {
		return oauth.Access{ClientID: a.ClientID}, fmt.Errorf("find access token: %w", oauth.ErrOff)
	}
	a.Scope, a.ExpiresAt = a.Scope.And(registered), timeOf(expiresAt)
	return a, nil
}

// Purge implements oauth.Store. A grant stays as long as the code that gave it, which
// knows by it that it was spent.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted int
	err := s.db.Write(ctx, "purge", func(ctx context.Context, tx *sql.Tx) error {
		deleted = 0
		for _, query := range []string{
			`DELETE FROM oauth_codes WHERE hash IN (
				SELECT hash FROM oauth_codes WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			`DELETE FROM oauth_device_codes WHERE hash IN (
				SELECT hash FROM oauth_device_codes WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			`DELETE FROM oauth_sessions WHERE hash IN (
				SELECT hash FROM oauth_sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			`DELETE FROM oauth_access_tokens WHERE hash IN (
				SELECT hash FROM oauth_access_tokens WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			`DELETE FROM oauth_refresh_tokens WHERE hash IN (
				SELECT hash FROM oauth_refresh_tokens WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			`DELETE FROM oauth_grants WHERE id IN (
				SELECT g.id FROM oauth_grants g
				WHERE g.expires_at < ?
					AND NOT EXISTS (SELECT 1 FROM oauth_access_tokens t WHERE t.grant_id = g.id)
					AND NOT EXISTS (SELECT 1 FROM oauth_refresh_tokens t WHERE t.grant_id = g.id)
					AND NOT EXISTS (SELECT 1 FROM oauth_codes c WHERE c.grant_id = g.id)
				ORDER BY g.expires_at LIMIT ?)`,
			`DELETE FROM oauth_sign_in_failures WHERE id IN (
				SELECT id FROM oauth_sign_in_failures WHERE failed_at < ? ORDER BY failed_at LIMIT ?)`,
			`DELETE FROM oauth_spent WHERE hash IN (
				SELECT hash FROM oauth_spent WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
		} {
			result, err := tx.ExecContext(ctx, query, before.UnixMicro(), max(0, limit))
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			deleted += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, refused("purge", err)
	}
	return deleted, nil
}
