package oauthsqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// Grants implements oauth.Store.
func (s *Store) Grants(ctx context.Context, userID int64, now time.Time, limit int) ([]oauth.Grant, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT c.id, c.name, c.kind, c.status = ?, c.home_page, c.logo, g.scope, g.sites, min(g.created_at), max(g.last_used_at)
		FROM oauth_grants g
		JOIN oauth_clients c ON c.id = g.client_id
		WHERE g.user_id = ? AND g.revoked_at IS NULL AND g.expires_at > ?
		GROUP BY c.id, g.scope, g.sites
		ORDER BY max(g.created_at) DESC, max(g.id) DESC
		LIMIT ?`,
		oauth.Off, userID, now.UnixMicro(), max(0, limit))
	grants, err := collect(rows, err, scanGrant)
	return grants, refused("list grants", err)
}

func scanGrant(row scanner) (g oauth.Grant, err error) {
	var since int64
	var logo []byte
	var used sql.NullInt64
	if err := row.Scan(&g.ClientID, &g.ClientName, &g.ClientKind, &g.Off, &g.HomePage, &logo,
		(*scope)(&g.Scope), (*list[int64])(&g.Sites), &since, &used); err != nil {
		return oauth.Grant{}, err
	}
	copy(g.Logo[:], logo)
	g.Since, g.LastUsedAt = timeOf(since), timeOrZero(used)
	return g, nil
}

// Disconnect implements oauth.Store.
func (s *Store) Disconnect(ctx context.Context, userID int64, clientID string, now time.Time, changes ...oauth.Change) (int, error) {
	var ended int64
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		ended = 0
		if err := tellEnded(ctx, tx, oauth.CausePerson, now, endsConnection, userID, clientID); err != nil {
			return err
		}
		if err := tellCodesEnded(ctx, tx, userID, clientID, now); err != nil {
			return err
		}
		for _, query := range []string{
			`UPDATE oauth_codes SET expires_at = ?1
				WHERE user_id = ?2 AND client_id = ?3 AND grant_id IS NULL AND expires_at > ?1`,
			`DELETE FROM oauth_device_codes
				WHERE user_id = ?2 AND client_id = ?3 AND approved AND expires_at > ?1`,
			`UPDATE oauth_grants SET revoked_at = ?1, held_until = NULL
				WHERE user_id = ?2 AND client_id = ?3 AND revoked_at IS NULL AND expires_at > ?1`,
		} {
			result, err := tx.ExecContext(ctx, query, now.UnixMicro(), userID, clientID)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			ended += n
		}
		if ended == 0 {
			return nil
		}
		return note(ctx, tx, changes...)
	})
	if err != nil {
		return 0, refused("disconnect client", err)
	}
	return int(ended), nil
}
