package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"github.com/foxbridge/foxbridge/oauth"
)

// Note implements oauth.Store.
func (s *Store) Note(ctx context.Context, c oauth.Change) error {
	err := s.db.Write(ctx, fmt.Sprint("user ", c.UserID), func(ctx context.Context, tx *sql.Tx) error {
		return note(ctx, tx, c)
	})
	return refused("note change", err)
}

// note adds entries to the record of changes, but for those without an Action.
func note(ctx context.Context, tx *sql.Tx, changes ...oauth.Change) error {
	for _, c := range changes {
		if c.Action == "" {
			continue
		}
		if err := insertChange(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

func insertChange(ctx context.Context, tx *sql.Tx, c oauth.Change) error {
	if !storable(string(c.Action), c.ClientID, c.Subject, c.Address) {
		return errText
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?)`,
		c.UserID, c.Action, c.ClientID, c.Subject, c.ActorID, c.Address, c.At.UnixMicro())
	return err
}

// Changes implements oauth.Store.
func (s *Store) Changes(ctx context.Context, userID, before int64, limit int) ([]oauth.Change, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT n.id, n.user_id, n.action, n.client_id, coalesce(c.name, ''), n.subject, n.actor_id, n.address, n.changed_at
		FROM oauth_changes n
		LEFT JOIN oauth_clients c ON c.id = n.client_id
		WHERE n.user_id = ? AND n.id < ?
		ORDER BY n.id DESC
		LIMIT ?`,
		userID, before, max(0, limit))
	changes, err := collect(rows, err, scanChange)
	return changes, refused("list changes", err)
}

func scanChange(row scanner) (c oauth.Change, err error) {
	var changed int64
	if err := row.Scan(&c.ID, &c.UserID, &c.Action, &c.ClientID, &c.ClientName, &c.Subject, &c.ActorID, &c.Address, &changed); err != nil {
		return oauth.Change{}, err
	}
	c.At = timeOf(changed)
	return c, nil
}
