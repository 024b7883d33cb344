package oauthpgx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/oauth"
)

// Issue is documented at oauth.Store.
func (s *Store) Issue(ctx context.Context, i oauth.Issuance) (id int64, err error) {
	const insert = `
		WITH started AS (
			INSERT INTO oauth_grants (client_id, user_id, grant_type, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $8) RETURNING id
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, expires_at) SELECT $5, id, $6 FROM started
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, expires_at) SELECT $7, id, $8 FROM started
		)
		SELECT id FROM started`
	err = s.db.Write(ctx, "client/"+i.ClientID, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, insert,
			i.ClientID, i.UserID, i.GrantType, i.Now, i.Access[:], i.AccessExpiresAt, i.Refresh[:], i.RefreshExpiresAt,
		).Scan(&id)
	})
	if err != nil {
		return 0, wrap(err, "issue tokens to client %s", i.ClientID)
	}
	return id, nil
}

// spent is what a refresh token that was presented once is remembered by.
type spent struct {
	at              time.Time
	nonce           oauth.Nonce
	accessExpiresAt time.Time // of its successor pair
	successor       []byte
}

// Rotate is documented at oauth.Store.
func (s *Store) Rotate(ctx context.Context, r oauth.Rotation) (result oauth.Rotated, err error) {
	err = s.db.Write(ctx, fmt.Sprintf("token/%x", r.Old), func(ctx context.Context, tx pgx.Tx) error {
		var before *spent
		result, before, err = presented(ctx, tx, r)
		if err != nil {
			return err
		}
		if before == nil {
			result.Outcome, result.Nonce, result.ExpiresAt = oauth.Rotate, r.Nonce, r.AccessExpiresAt.UTC().Truncate(time.Microsecond)
			return spend(ctx, tx, r, result.GrantID)
		}
		again, err := isSpent(ctx, tx, before.successor)
		if err != nil {
			return err
		}
		if r.Now.Sub(before.at) < r.Grace && !again {
			result.Outcome, result.Nonce, result.ExpiresAt = oauth.Replay, before.nonce, before.accessExpiresAt
			return nil
		}
		result.Outcome = oauth.Reuse
		return revoke(ctx, tx, result.GrantID, r.Now)
	})
	if err != nil {
		return oauth.Rotated{}, wrap(err, "rotate refresh token of client %s", r.ClientID)
	}
	return result, nil
}

// presented finds the live refresh token r.Old, and how it was spent; nil if it was
// not. From here to the end of the transaction nobody else rotates in its grant.
func presented(ctx context.Context, tx pgx.Tx, r oauth.Rotation) (oauth.Rotated, *spent, error) {
	const query = `
		SELECT g.id, g.user_id, t.used_at, t.nonce, t.successor_expires_at, t.successor
		FROM oauth_refresh_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		WHERE t.hash = $1 AND t.expires_at > $2 AND g.client_id = $3 AND g.revoked_at IS NULL
		FOR NO KEY UPDATE OF t, g`
	var (
		found                   oauth.Rotated
		usedAt, accessExpiresAt pgtype.Timestamptz
		nonce                   []byte
		before                  spent
	)
	err := tx.QueryRow(ctx, query, r.Old[:], r.Now, r.ClientID).
		Scan(&found.GrantID, &found.UserID, &usedAt, &nonce, &accessExpiresAt, &before.successor)
	if err != nil || !usedAt.Valid {
		return found, nil, err
	}
	before.at, before.accessExpiresAt = usedAt.Time.UTC(), accessExpiresAt.Time.UTC()
	return found, &before, fill(before.nonce[:], nonce)
}

// isSpent is a statement of its own, after the lock: only so it sees what the last
// holder of the lock did.
func isSpent(ctx context.Context, tx pgx.Tx, token []byte) (is bool, err error) {
	const query = `SELECT EXISTS (SELECT FROM oauth_refresh_tokens WHERE hash = $1 AND used_at IS NOT NULL)`
	err = tx.QueryRow(ctx, query, token).Scan(&is)
	return is, err
}

// spend puts the successor pair in the place of r.Old.
func spend(ctx context.Context, tx pgx.Tx, r oauth.Rotation, grantID int64) error {
	const rotate = `
		WITH used AS (
			UPDATE oauth_refresh_tokens SET used_at = $2, nonce = $3, successor = $4, successor_expires_at = $6 WHERE hash = $1
		), extended AS (
			UPDATE oauth_grants SET expires_at = $7 WHERE id = $8
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, expires_at) VALUES ($5, $8, $6)
		)
		INSERT INTO oauth_refresh_tokens (hash, grant_id, expires_at, predecessor) VALUES ($4, $8, $7, $1)`
	_, err := tx.Exec(ctx, rotate,
		r.Old[:], r.Now, r.Nonce[:], r.Refresh[:], r.Access[:], r.AccessExpiresAt, r.RefreshExpiresAt, grantID)
	return err
}

func revoke(ctx context.Context, tx pgx.Tx, grantID int64, now time.Time) error {
	const update = `UPDATE oauth_grants SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`
	_, err := tx.Exec(ctx, update, now, grantID)
	return err
}

// purges delete what expired before $1, $2 rows at the most, in this order: a grant
// goes after its tokens. What is locked is in use and goes another time.
var purges = [...]string{
	`DELETE FROM oauth_access_tokens WHERE hash IN (
		SELECT hash FROM oauth_access_tokens WHERE expires_at < $1
		ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	`DELETE FROM oauth_refresh_tokens WHERE hash IN (
		SELECT hash FROM oauth_refresh_tokens WHERE expires_at < $1
		ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	`DELETE FROM oauth_grants WHERE id IN (
		SELECT g.id FROM oauth_grants g WHERE g.expires_at < $1
			AND NOT EXISTS (SELECT FROM oauth_access_tokens t WHERE t.grant_id = g.id)
			AND NOT EXISTS (SELECT FROM oauth_refresh_tokens t WHERE t.grant_id = g.id)
		ORDER BY g.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	`DELETE FROM oauth_sign_in_failures WHERE id IN (
		SELECT id FROM oauth_sign_in_failures WHERE failed_at < $1
		ORDER BY failed_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
}

// Purge is documented at oauth.Store.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	total := 0
	for _, statement := range purges {
		var n int64
		err := s.db.Write(ctx, "~purge", func(ctx context.Context, tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, statement, before, bound(limit))
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return total, wrap(err, "purge")
		}
		total += int(n)
	}
	return total, nil
}
