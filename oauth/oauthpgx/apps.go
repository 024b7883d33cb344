package oauthpgx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddClientWithin implements oauth.Store. The owner's row is locked first, so that
// what is counted then is all that there is, whatever process it came from.
func (s *Store) AddClientWithin(ctx context.Context, c oauth.Client, room oauth.Room, changes ...oauth.Change) error {
	var added, taken bool
	var alike int
	var last *time.Time // registered of the recent ones with which there was no more room
	b := &pgx.Batch{}
	b.Queue(`SELECT FROM oauth_users WHERE id = $1 FOR NO KEY UPDATE`, c.OwnerID)
	b.Queue(`
		SELECT EXISTS (SELECT FROM oauth_clients WHERE id = $1),
			(SELECT count(*) FROM oauth_clients WHERE owner_id = $2 AND kind = $3 AND status = $4),
			(SELECT created_at FROM oauth_clients WHERE owner_id = $2 AND created_at > $5 AND $6 > 0
				ORDER BY created_at DESC LIMIT 1 OFFSET greatest($6 - 1, 0))`,
		c.ID, c.OwnerID, string(c.Kind), string(c.Status), c.CreatedAt.Add(-room.Within), room.Recent).
		QueryRow(func(row pgx.Row) error { return row.Scan(&taken, &alike, &last) })
	b.Queue(insertClient(), clientValues(c, room, changes)...).QueryRow(func(row pgx.Row) error {
		var id string
		err := row.Scan(&id)
		added = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err := s.db.WriteBatch(ctx, "client "+c.ID, b); err != nil {
		return refused("add client", err)
	}
	switch {
	case taken:
		return fmt.Errorf("add client: %w", oauth.ErrExists)
	case added:
		return nil
	case last != nil && (room.Alike <= 0 || alike < room.Alike):
		return fmt.Errorf("add client: %w", &oauth.TooSoonError{Recent: room.Recent, Next: last.UTC().Add(room.Within)})
	default:
		return fmt.Errorf("add client: %w", oauth.ErrTooMany)
	}
}

// ClientsOf implements oauth.Store.
func (s *Store) ClientsOf(ctx context.Context, ownerID int64, limit int) ([]oauth.Client, error) {
	rows, _ := s.db.Read().Query(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE owner_id = $1 AND status <> $3 ORDER BY id LIMIT $2)`+selectClients,
		ownerID, max(0, limit), string(oauth.Deleted))
	clients, err := collectClients(rows)
	return clients, refused("list clients of owner", err)
}
