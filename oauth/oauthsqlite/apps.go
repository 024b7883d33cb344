package oauthsqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddClientWithin implements oauth.Store.
func (s *Store) AddClientWithin(ctx context.Context, c oauth.Client, room oauth.Room, changes ...oauth.Change) error {
	return s.addClient(ctx, c, func(ctx context.Context, tx *sql.Tx) error {
		var taken bool
		var alike int
		err := tx.QueryRowContext(ctx, `
			SELECT EXISTS (SELECT 1 FROM oauth_clients WHERE id = ?1),
				(SELECT count(*) FROM oauth_clients WHERE owner_id = ?2 AND kind = ?3 AND status = ?4)`,
			c.ID, c.OwnerID, c.Kind, c.Status).Scan(&taken, &alike)
		switch {
		case err != nil:
			return err
		case taken:
			return oauth.ErrExists
		case room.Alike > 0 && alike >= room.Alike:
			return oauth.ErrTooMany
		}
		return recent(ctx, tx, c, room)
	}, changes)
}

// recent is an *oauth.TooSoonError if there is no room for another client of late.
func recent(ctx context.Context, tx *sql.Tx, c oauth.Client, room oauth.Room) error {
	if room.Recent <= 0 {
		return nil
	}
	var at int64 // of the one with which there was no more
	err := tx.QueryRowContext(ctx, `
		SELECT created_at FROM oauth_clients
		WHERE owner_id = ? AND created_at > ?
		ORDER BY created_at DESC LIMIT 1 OFFSET ?`,
		c.OwnerID, c.CreatedAt.Add(-room.Within).UnixMicro(), room.Recent-1).Scan(&at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return &oauth.TooSoonError{Recent: room.Recent, Next: timeOf(at).Add(room.Within)}
}

// ClientsOf implements oauth.Store.
func (s *Store) ClientsOf(ctx context.Context, ownerID int64, limit int) ([]oauth.Client, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE owner_id = ? AND status <> ? ORDER BY id LIMIT ?)`+selectClients,
		ownerID, oauth.Deleted, max(0, limit))
	clients, err := collectClients(rows, err)
	return clients, refused("list clients of owner", err)
}
