package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddCode implements oauth.Store.
func (s *Store) AddCode(ctx context.Context, c oauth.Code, changes ...oauth.Change) error {
	if !storable(c.RedirectURI, c.Challenge) || !storable(c.Scope...) {
		return fmt.Errorf("add code: %w", errText)
	}
	err := s.db.Write(ctx, "code "+string(c.Hash[:]), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_codes (hash, ticket, client_id, user_id, redirect_uri, challenge, scope, sites, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.Hash[:], c.Ticket[:], c.ClientID, c.UserID, c.RedirectURI, c.Challenge,
			scope(c.Scope), list[int64](c.Sites), c.Now.UnixMicro(), c.ExpiresAt.UnixMicro())
		if err != nil {
			return err
		}
		if err := tellConsent(ctx, tx, c.ClientID, c.UserID, c.Scope, c.Sites, c.Now); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("add code", err)
}

// Redeem implements oauth.Store.
func (s *Store) Redeem(ctx context.Context, r oauth.Redemption) (oauth.Redeemed, error) {
	var (
		result oauth.Redeemed
		spent  bool
	)
	err := s.db.Write(ctx, "client "+r.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		result, spent, err = redeem(ctx, tx, r)
		return err
	})
	if err == nil && spent {
		err = oauth.ErrSpent // only now: an error of the write would undo the revocation
	}
	if err != nil {
		return oauth.Redeemed{}, refused("redeem code", err)
	}
	return result, nil
}

func redeem(ctx context.Context, tx *sql.Tx, r oauth.Redemption) (result oauth.Redeemed, spent bool, err error) {
	var grantID sql.NullInt64
	err = tx.QueryRowContext(ctx, `
		SELECT c.user_id, c.scope, c.sites, c.grant_id
		FROM oauth_codes c
		JOIN oauth_users u ON u.id = c.user_id
		WHERE c.hash = ?1 AND c.client_id = ?2
			AND (c.redirect_uri = ?3 OR ?3 = '' AND c.challenge <> '')
			AND c.challenge = ?4
			AND (c.expires_at > ?5 AND u.disabled_at IS NULL OR c.grant_id IS NOT NULL)`,
		r.Code[:], r.ClientID, r.RedirectURI, r.Challenge, r.Now.UnixMicro()).
		Scan(&result.UserID, (*scope)(&result.Scope), (*list[int64])(&result.Sites), &grantID)
	if err != nil {
		return oauth.Redeemed{}, false, err
	}
	if grantID.Valid {
		return oauth.Redeemed{}, true, endReused(ctx, tx, grantID.Int64, r.Now)
	}
	issued, err := issue(ctx, tx, oauth.Issuance{
		ClientID: r.ClientID, UserID: result.UserID, GrantType: oauth.GrantCode,
		Scope: result.Scope, Sites: result.Sites,
		Access: r.Access, Refresh: r.Refresh, Now: r.Now,
		AccessExpiresAt: r.AccessExpiresAt, RefreshExpiresAt: r.RefreshExpiresAt, Meter: r.Meter,
	})
	if err != nil || issued.Tally.Outcome != oauth.Issued {
		return oauth.Redeemed{Tally: issued.Tally}, false, err
	}
	result.GrantID, result.Tally = issued.ID, issued.Tally
	_, err = tx.ExecContext(ctx, `UPDATE oauth_codes SET grant_id = ? WHERE hash = ?`, result.GrantID, r.Code[:])
	return result, false, err
}
