package oauthsqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// Issue is documented at oauth.Store.
func (s *Store) Issue(ctx context.Context, i oauth.Issuance) (id int64, err error) {
	const insert = `
		INSERT INTO oauth_grants (client_id, user_id, grant_type, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?) RETURNING id`
	err = s.db.Write(ctx, "client/"+i.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, insert, i.ClientID, i.UserID, i.GrantType, micro(i.Now), micro(i.RefreshExpiresAt)).Scan(&id)
		if err != nil {
			return err
		}
		if err := insertAccess(ctx, tx, i.Access, id, i.AccessExpiresAt); err != nil {
			return err
		}
		return insertRefresh(ctx, tx, i.Refresh, id, i.RefreshExpiresAt, nil)
	})
	if err != nil {
		return 0, wrap(ctx, err, "issue tokens to client %s", i.ClientID)
	}
	return id, nil
}

func insertAccess(ctx context.Context, tx *sql.Tx, token oauth.Hash, grantID int64, expiresAt time.Time) error {
	const insert = `INSERT INTO oauth_access_tokens (hash, grant_id, expires_at) VALUES (?, ?, ?)`
	_, err := tx.ExecContext(ctx, insert, token[:], grantID, micro(expiresAt))
	return err
}

func insertRefresh(ctx context.Context, tx *sql.Tx, token oauth.Hash, grantID int64, expiresAt time.Time, predecessor []byte) error {
	const insert = `INSERT INTO oauth_refresh_tokens (hash, grant_id, expires_at, predecessor) VALUES (?, ?, ?, ?)`
	_, err := tx.ExecContext(ctx, insert, token[:], grantID, micro(expiresAt), predecessor)
	return err
}

// spent is what a refresh token that was presented once is remembered by.
type spent struct {
	at              time.Time
	nonce           oauth.Nonce
	accessExpiresAt time.Time // of its successor pair
	successorSpent  bool
}

// Rotate is documented at oauth.Store.
func (s *Store) Rotate(ctx context.Context, r oauth.Rotation) (result oauth.Rotated, err error) {
	err = s.db.Write(ctx, "token/"+hex.EncodeToString(r.Old[:]), func(ctx context.Context, tx *sql.Tx) error {
		var before *spent
		result, before, err = presented(ctx, tx, r)
		switch {
		case err != nil:
			return err
		case before == nil:
			result.Outcome, result.Nonce, result.ExpiresAt = oauth.Rotate, r.Nonce, utc(micro(r.AccessExpiresAt))
			return spend(ctx, tx, r, result.GrantID)
		case r.Now.Sub(before.at) < r.Grace && !before.successorSpent:
			result.Outcome, result.Nonce, result.ExpiresAt = oauth.Replay, before.nonce, before.accessExpiresAt
			return nil
		default:
			result.Outcome = oauth.Reuse
			return revoke(ctx, tx, result.GrantID, r.Now)
		}
	})
	if err != nil {
		return oauth.Rotated{}, wrap(ctx, err, "rotate refresh token of client %s", r.ClientID)
	}
	return result, nil
}

// presented finds the live refresh token r.Old, and how it was spent; nil if it was
// not.
func presented(ctx context.Context, tx *sql.Tx, r oauth.Rotation) (oauth.Rotated, *spent, error) {
	const query = `
		SELECT g.id, g.user_id, t.used_at, t.nonce, t.successor_expires_at, next.used_at IS NOT NULL
		FROM oauth_refresh_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		LEFT JOIN oauth_refresh_tokens next ON next.hash = t.successor
		WHERE t.hash = ? AND t.expires_at > ? AND g.client_id = ? AND g.revoked_at IS NULL`
	var (
		found                   oauth.Rotated
		usedAt, accessExpiresAt sql.NullInt64
		nonce                   []byte
		before                  spent
	)
	err := tx.QueryRowContext(ctx, query, r.Old[:], micro(r.Now), r.ClientID).
		Scan(&found.GrantID, &found.UserID, &usedAt, &nonce, &accessExpiresAt, &before.successorSpent)
	if err != nil || !usedAt.Valid {
		return found, nil, err
	}
	before.at, before.accessExpiresAt = utc(usedAt.Int64), utc(accessExpiresAt.Int64)
	return found, &before, fill(before.nonce[:], nonce)
}

// spend puts the successor pair in the place of r.Old.
func spend(ctx context.Context, tx *sql.Tx, r oauth.Rotation, grantID int64) error {
	const use = `UPDATE oauth_refresh_tokens SET used_at = ?, nonce = ?, successor = ?, successor_expires_at = ? WHERE hash = ?`
	const extend = `UPDATE oauth_grants SET expires_at = ? WHERE id = ?`
	if _, err := tx.ExecContext(ctx, use, micro(r.Now), r.Nonce[:], r.Refresh[:], micro(r.AccessExpiresAt), r.Old[:]); err != nil {
		return err
	}
	if err := insertAccess(ctx, tx, r.Access, grantID, r.AccessExpiresAt); err != nil {
		return err
	}
	if err := insertRefresh(ctx, tx, r.Refresh, grantID, r.RefreshExpiresAt, r.Old[:]); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, extend, micro(r.RefreshExpiresAt), grantID)
	return err
}

func revoke(ctx context.Context, tx *sql.Tx, grantID int64, now time.Time) error {
	const update = `UPDATE oauth_grants SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL`
	_, err := tx.ExecContext(ctx, update, micro(now), grantID)
	return err
}

// purges delete what expired before ?1, ?2 rows at the most, in this order: a grant
// goes after its tokens.
var purges = [...]string{
	`DELETE FROM oauth_access_tokens WHERE hash IN (
		SELECT hash FROM oauth_access_tokens WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)`,
	`DELETE FROM oauth_refresh_tokens WHERE hash IN (
		SELECT hash FROM oauth_refresh_tokens WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)`,
	`DELETE FROM oauth_grants WHERE id IN (
		SELECT g.id FROM oauth_grants g WHERE g.expires_at < ?1
			AND NOT EXISTS (SELECT 1 FROM oauth_access_tokens t WHERE t.grant_id = g.id)
			AND NOT EXISTS (SELECT 1 FROM oauth_refresh_tokens t WHERE t.grant_id = g.id)
		ORDER BY g.expires_at LIMIT ?2)`,
	`DELETE FROM oauth_sign_in_failures WHERE id IN (
		SELECT id FROM oauth_sign_in_failures WHERE failed_at < ?1 ORDER BY failed_at LIMIT ?2)`,
}

// Purge is documented at oauth.Store.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	total := 0
	for _, statement := range purges {
		var n int64
		err := s.db.Write(ctx, "~purge", func(ctx context.Context, tx *sql.Tx) error {
			done, err := tx.ExecContext(ctx, statement, micro(before), bound(limit))
			if err != nil {
				return err
			}
			n, err = done.RowsAffected()
			return err
		})
		if err != nil {
			return total, wrap(ctx, err, "purge")
		}
		total += int(n)
	}
	return total, nil
}
