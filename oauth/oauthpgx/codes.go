package oauthpgx

import (
	"context"
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
		), told AS (
			INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, scope, sites, happened_at, next_at)
			SELECT $3, user_id, 'connected', 'person', $7, $8, $9, $9 FROM changed
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
// its own: what follows begins when the lock is held, and so sees the grant that
// another process made while this one waited. All goes to the server at once.
func (s *Store) Redeem(ctx context.Context, r oauth.Redemption) (oauth.Redeemed, error) {
	var (
		result       oauth.Redeemed
		row          tallyRow
		found, spent bool
	)
	b := &pgx.Batch{}
	b.Queue(`SELECT FROM oauth_codes WHERE hash = $1 FOR UPDATE`, r.Code[:])
	b.Queue(`
		WITH `+turn+`, code AS MATERIALIZED (
			SELECT c.hash, c.user_id, c.scope, c.sites, c.grant_id
			FROM turn
			CROSS JOIN oauth_codes c
			JOIN oauth_users u ON u.id = c.user_id
			WHERE c.hash = $9 AND c.client_id = $1
				AND (c.redirect_uri = $10 OR $10 = '' AND c.challenge <> '')
				AND c.challenge = $11
				AND (c.expires_at > $2 AND u.disabled_at IS NULL OR c.grant_id IS NOT NULL)
		), subject AS (
			SELECT code.user_id, false AS disabled FROM code WHERE code.grant_id IS NULL
		), `+meterOf(r.Meter, false)+`, new AS (
			INSERT INTO oauth_grants (client_id, user_id, grant_type, scope, sites, created_at, expires_at, held_until)
			SELECT $1, code.user_id, $4, code.scope, code.sites, $2, greatest($13::timestamptz, $15::timestamptz), $13
			FROM code, judged j WHERE (j.tally).outcome = 0
			RETURNING oauth_grants.id
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $12, new.id, $2, $13 FROM new
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $14, new.id, $2, $15 FROM new
		), spend AS (
			UPDATE oauth_codes c
			SET grant_id = new.id
			FROM new, code WHERE c.hash = code.hash
		), revoke AS (
			UPDATE oauth_grants g
			SET revoked_at = $2
			FROM code WHERE g.id = code.grant_id AND g.revoked_at IS NULL
			RETURNING g.client_id, g.user_id, g.sites
		), `+ended(oauth.CauseReuse)+`
		SELECT code.grant_id IS NOT NULL, coalesce(new.id, 0), code.user_id, code.scope, code.sites, `+tallied+`
		FROM code LEFT JOIN new ON true LEFT JOIN judged j ON true`,
		append(meterValues(r.ClientID, oauth.GrantCode, r.Now, r.Meter),
			r.Code[:], r.RedirectURI, r.Challenge,
			r.Access[:], r.AccessExpiresAt, r.Refresh[:], r.RefreshExpiresAt)...).
		QueryRow(oneOrNone(&found, append([]any{
			&spent, &result.GrantID, &result.UserID, (*scope)(&result.Scope), &result.Sites,
		}, row.into()...)...))
	shared := sharing(r.ClientID, oauth.GrantCode, r.Now, r.Meter, func() (is, wasteful bool) {
		return found && result.GrantID != 0, row.wasteful
	})
	if err := s.db.WriteBatch(ctx, clientKey(r.ClientID, "code "+string(r.Code[:])), b, shared...); err != nil {
		return oauth.Redeemed{}, missing("redeem code", err)
	}
	switch {
	case !found:
		return oauth.Redeemed{}, fmt.Errorf("redeem code: %w", oauth.ErrNotFound)
	case spent:
		return oauth.Redeemed{}, fmt.Errorf("redeem code: %w", oauth.ErrSpent)
	}
	tally := row.tally(r.Now, r.Meter)
	if tally.Outcome != oauth.Issued {
		return oauth.Redeemed{Tally: tally}, nil
	}
	result.Tally = tally
	return result, nil
}
