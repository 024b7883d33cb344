package oauthpgx

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// Grants implements oauth.Store.
func (s *Store) Grants(ctx context.Context, userID int64, now time.Time, limit int) ([]oauth.Grant, error) {
	rows, _ := s.db.Read().Query(ctx, `
		SELECT c.id, c.name, c.kind, c.status = $4, c.home_page, c.logo, g.scope, g.sites, min(g.created_at), max(g.last_used_at)
		FROM oauth_grants g
		JOIN oauth_clients c ON c.id = g.client_id
		WHERE g.user_id = $1 AND g.revoked_at IS NULL AND g.expires_at > $2
		GROUP BY c.id, g.scope, g.sites
		ORDER BY max(g.created_at) DESC, max(g.id) DESC
		LIMIT $3`,
		userID, now, max(0, limit), string(oauth.Off))
	grants, err := pgx.CollectRows(rows, scanGrant)
	return grants, refused("list grants", err)
}

func scanGrant(row pgx.CollectableRow) (g oauth.Grant, err error) {
	var logo []byte
	var used *time.Time
	if err := row.Scan(&g.ClientID, &g.ClientName, &g.ClientKind, &g.Off, &g.HomePage, &logo,
		(*scope)(&g.Scope), &g.Sites, &g.Since, &used); err != nil {
		return oauth.Grant{}, err
	}
	copy(g.Logo[:], logo)
	g.Since, g.LastUsedAt = g.Since.UTC(), stored(used)
	return g, nil
}

// Disconnect implements oauth.Store. The codes come first: a redemption that has
// locked one is waited for, and the second statement sees the grant that it made.
func (s *Store) Disconnect(ctx context.Context, userID int64, clientID string, now time.Time, changes ...oauth.Change) (int, error) {
	var ended int64
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx pgx.Tx) error {
		ended = 0
		if err := tellCodesEnded(ctx, tx, userID, clientID, now); err != nil {
			return err
		}
		if err := tellEnded(ctx, tx, oauth.CausePerson, now, endsConnection, userID, clientID); err != nil {
			return err
		}
		for _, sql := range []string{
			`UPDATE oauth_codes SET expires_at = $1
				WHERE user_id = $2 AND client_id = $3 AND grant_id IS NULL AND expires_at > $1`,
			`DELETE FROM oauth_device_codes
				WHERE user_id = $2 AND client_id = $3 AND approved AND expires_at > $1`,
			`UPDATE oauth_grants SET revoked_at = $1, held_until = NULL
				WHERE user_id = $2 AND client_id = $3 AND revoked_at IS NULL AND expires_at > $1`,
		} {
			tag, err := tx.Exec(ctx, sql, now, userID, clientID)
			if err != nil {
				return err
			}
			ended += tag.RowsAffected()
		}
		if ended == 0 {
			return nil
		}
		return note(ctx, tx, changes...)
	}, clientLock(clientID))
	if err = missing("disconnect client", err); errors.Is(err, oauth.ErrNotFound) {
		return 0, nil // no client has such an ID
	}
	if err != nil {
		return 0, err
	}
	return int(ended), nil
}
