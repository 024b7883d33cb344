package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// Issue implements oauth.Store.
func (s *Store) Issue(ctx context.Context, i oauth.Issuance) (int64, error) {
	if !storable(i.GrantType) {
		return 0, fmt.Errorf("issue tokens: %w", errText)
	}
	access, refresh := i.AccessExpiresAt.UnixMicro(), i.RefreshExpiresAt.UnixMicro()
	var id int64
	err := s.db.Write(ctx, "client "+i.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `
			INSERT INTO oauth_grants (client_id, user_id, grant_type, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?)
			RETURNING id`,
			i.ClientID, i.UserID, i.GrantType, i.Now.UnixMicro(), max(access, refresh)).Scan(&id)
		if err != nil {
			return err
		}
		return insertPair(ctx, tx, id, i.Access, access, i.Refresh, refresh, nil)
	})
	if err != nil {
		return 0, refused("issue tokens", err)
	}
	return id, nil
}

func insertPair(ctx context.Context, tx *sql.Tx, grantID int64, access oauth.Hash, accessExpiresAt int64, refresh oauth.Hash, refreshExpiresAt int64, predecessor []byte) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_access_tokens (hash, grant_id, expires_at)
		VALUES (?, ?, ?)`,
		access[:], grantID, accessExpiresAt); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_refresh_tokens (hash, grant_id, expires_at, predecessor)
		VALUES (?, ?, ?, ?)`,
		refresh[:], grantID, refreshExpiresAt, predecessor)
	return err
}

// Rotate implements oauth.Store.
func (s *Store) Rotate(ctx context.Context, r oauth.Rotation) (oauth.Rotated, error) {
	var result oauth.Rotated
	err := s.db.Write(ctx, "refresh "+string(r.Old[:]), func(ctx context.Context, tx *sql.Tx) error {
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
	)
	err = tx.QueryRowContext(ctx, `
		SELECT t.grant_id, t.predecessor, t.used_at, t.nonce, t.successor_expires_at, t.successor_used, g.user_id
		FROM oauth_refresh_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		WHERE t.hash = ? AND t.expires_at > ? AND g.client_id = ? AND g.revoked_at IS NULL`,
		r.Old[:], now, r.ClientID).
		Scan(&result.GrantID, &predecessor, &usedAt, &nonce, &successorExpiresAt, &successorUsed, &result.UserID)
	switch {
	case err != nil:
		return oauth.Rotated{}, err
	case !usedAt.Valid:
		result.Outcome, result.Nonce, result.ExpiresAt = oauth.Rotate, r.Nonce, timeOf(r.AccessExpiresAt.UnixMicro())
		return result, succeed(ctx, tx, r, result.GrantID, predecessor)
	case now-usedAt.Int64 < r.Grace.Microseconds() && !successorUsed:
		result.Outcome, result.ExpiresAt = oauth.Replay, timeOf(successorExpiresAt.Int64)
		copy(result.Nonce[:], nonce)
		return result, nil
	default:
		result.Outcome = oauth.Reuse
		_, err = tx.ExecContext(ctx, `UPDATE oauth_grants SET revoked_at = ? WHERE id = ?`, now, result.GrantID)
		return result, err
	}
}

// succeed spends the old token of r and inserts the pair that succeeds it.
func succeed(ctx context.Context, tx *sql.Tx, r oauth.Rotation, grantID int64, predecessor []byte) error {
	access, refresh := r.AccessExpiresAt.UnixMicro(), r.RefreshExpiresAt.UnixMicro()
	if _, err := tx.ExecContext(ctx, `
		UPDATE oauth_refresh_tokens
		SET used_at = ?, nonce = ?, successor_expires_at = ?
		WHERE hash = ?`,
		r.Now.UnixMicro(), r.Nonce[:], access, r.Old[:]); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `
		UPDATE oauth_refresh_tokens SET successor_used = 1 WHERE hash = ?`,
		predecessor); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `
		UPDATE oauth_grants SET expires_at = max(expires_at, ?, ?) WHERE id = ?`,
		access, refresh, grantID); err != nil {
		return err
	}
	return insertPair(ctx, tx, grantID, r.Access, access, r.Refresh, refresh, r.Old[:])
}

// Access implements oauth.Store.
func (s *Store) Access(ctx context.Context, token oauth.Hash, now time.Time) (a oauth.Access, err error) {
	var expiresAt int64
	err = s.db.Read().QueryRowContext(ctx, `
		SELECT t.grant_id, g.client_id, c.name, g.user_id, u.name, t.expires_at
		FROM oauth_access_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = ? AND t.expires_at > ? AND g.revoked_at IS NULL`,
		token[:], now.UnixMicro()).
		Scan(&a.GrantID, &a.ClientID, &a.ClientName, &a.UserID, &a.UserName, &expiresAt)
	if err != nil {
		return oauth.Access{}, refused("find access token", err)
	}
	a.ExpiresAt = timeOf(expiresAt)
	return a, nil
}

// Purge implements oauth.Store.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted int
	err := s.db.Write(ctx, "purge", func(ctx context.Context, tx *sql.Tx) error {
		deleted = 0
		for _, query := range []string{
			`DELETE FROM oauth_access_tokens WHERE hash IN (
				SELECT hash FROM oauth_access_tokens WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			`DELETE FROM oauth_refresh_tokens WHERE hash IN (
				SELECT hash FROM oauth_refresh_tokens WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			`DELETE FROM oauth_grants WHERE id IN (
				SELECT g.id FROM oauth_grants g
				WHERE g.expires_at < ?
					AND NOT EXISTS (SELECT 1 FROM oauth_access_tokens t WHERE t.grant_id = g.id)
					AND NOT EXISTS (SELECT 1 FROM oauth_refresh_tokens t WHERE t.grant_id = g.id)
				ORDER BY g.expires_at LIMIT ?)`,
			`DELETE FROM oauth_sign_in_failures WHERE id IN (
				SELECT id FROM oauth_sign_in_failures WHERE failed_at < ? ORDER BY failed_at LIMIT ?)`,
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
