package oauthpgx

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddCode implements oauth.Store.
func (s *Store) AddCode(ctx context.Context, c oauth.Code, changes ...oauth.Change) error {
	var user int64
	found, err := s.write(ctx, "code "+string(c.Hash[:]), []any{&user}, `
		WITH changed AS (
			INSERT INTO oauth_codes (hash, ticket, client_id, user_id, redirect_uri, challenge, scope, sites, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT DO NOTHING
			RETURNING user_id
		), noted AS (`+noting(11)+`)
		SELECT user_id FROM changed`,
		append([]any{
			c.Hash[:], c.Ticket[:], c.ClientID, c.UserID, c.RedirectURI, c.Challenge,
			scope(c.Scope), c.Sites, c.Now, c.ExpiresAt,
		}, notes(changes)...)...)
	if err != nil {
		return refused("add code", err)
	}
	if !found {
		return fmt.Errorf("add code: %w", oauth.ErrExists)
	}
	return nil
}

// Redeem implements oauth.Store. The code's row is locked first, in a statement of
// its own: the second one begins when the lock is held, and so sees the grant that
// another process made while this one waited. Both go to the server at once.
func (s *Store) Redeem(ctx context.Context, r oauth.Redemption) (oauth.Redeemed, error) {
	var (
		result       oauth.Redeemed
		found, spent bool
	)
	b := &pgx.Batch{}
	b.Queue(`SELECT FROM oauth_codes WHERE hash = $1 FOR UPDATE`, r.Code[:])
	b.Queue(`
		WITH code AS MATERIALIZED (
			SELECT c.hash, c.user_id, c.scope, c.sites, c.grant_id
			FROM oauth_codes c
			WHERE c.hash = $1 AND c.client_id = $2
				AND (c.redirect_uri = $3 OR $3 = '' AND c.challenge <> '')
				AND c.challenge = $4
				AND (c.expires_at > $5 OR c.grant_id IS NOT NULL)
		), new AS (
			INSERT INTO oauth_grants (client_id, user_id, grant_type, scope, sites, created_at, expires_at)
			SELECT $2, code.user_id, $6, code.scope, code.sites, $5, greatest($8::timestamptz, $10::timestamptz)
			FROM code WHERE code.grant_id IS NULL
			RETURNING oauth_grants.id
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $7, new.id, $5, $8 FROM new
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $9, new.id, $5, $10 FROM new
		), spend AS (
			UPDATE oauth_codes c
			SET grant_id = new.id
			FROM new, code WHERE c.hash = code.hash
		), revoke AS (
			UPDATE oauth_grants g
			SET revoked_at = $5
			FROM code WHERE g.id = code.grant_id AND g.revoked_at IS NULL
		)
		SELECT code.grant_id IS NOT NULL, coalesce(new.id, 0), code.user_id, code.scope, code.sites
		FROM code LEFT JOIN new ON true`,
		r.Code[:], r.ClientID, r.RedirectURI, r.Challenge, r.Now, oauth.GrantCode,
		r.Access[:], r.AccessExpiresAt, r.Refresh[:], r.RefreshExpiresAt).
		QueryRow(func(row pgx.Row) error {
			err := row.Scan(&spent, &result.GrantID, &result.UserID, (*scope)(&result.Scope), &result.Sites)
			found = err == nil
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		})
	if err := s.db.WriteBatch(ctx, "code "+string(r.Code[:]), b); err != nil {
		return oauth.Redeemed{}, missing("redeem code", err)
	}
	switch {
	case !found:
		return oauth.Redeemed{}, fmt.Errorf("redeem code: %w", oauth.ErrNotFound)
	case spent:
		return oauth.Redeemed{}, fmt.Errorf("redeem code: %w", oauth.ErrSpent)
	}
	return result, nil
}
