package oauthsqlite

import (
	"context"
	"database/sql"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddClientWithin implements oauth.Store.
func (s *Store) AddClientWithin(ctx context.Context, c oauth.Client, limit int, changes ...oauth.Change) error {
	return s.addClient(ctx, c, func(ctx context.Context, tx *sql.Tx) error {
		var taken bool
		var have int
		err := tx.QueryRowContext(ctx, `
			SELECT EXISTS (SELECT 1 FROM oauth_clients WHERE id = ?1),
				(SELECT count(*) FROM oauth_clients WHERE owner_id = ?2 AND kind = ?3 AND status = ?4)`,
			c.ID, c.OwnerID, c.Kind, c.Status).Scan(&taken, &have)
		switch {
		case err != nil:
			return err
		case taken:
			return oauth.ErrExists
		case have >= limit:
			return oauth.ErrTooMany
		}
		return nil
	}, changes)
}

// ClientsOf implements oauth.Store.
func (s *Store) ClientsOf(ctx context.Context, ownerID int64, limit int) ([]oauth.Client, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE owner_id = ? AND status <> ? ORDER BY id LIMIT ?)`+selectClients,
		ownerID, oauth.Deleted, max(0, limit))
	clients, err := collectClients(rows, err)
	return clients, refused("list clients of owner", err)
}
