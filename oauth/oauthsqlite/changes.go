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

// note adds an entry to the record of changes, unless it has no Action.
func note(ctx context.Context, tx *sql.Tx, c oauth.Change) error {
	if c.Action == "" {
		return nil
	}
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
		SELECT id, user_id, action, client_id, subject, actor_id, address, changed_at
		FROM oauth_changes
		WHERE user_id = ? AND id < ?
		ORDER BY id DESC
		LIMIT ?`,
		userID, before, max(0, limit))
	changes, err := collect(rows, err, scanChange)
	return changes, refused("list changes", err)
}

func scanChange(row scanner) (c oauth.Change, err error) {
	var changed int64
	if err := row.Scan(&c.ID, &c.UserID, &c.Action, &c.ClientID, &c.Subject, &c.ActorID, &c.Address, &changed); err != nil {
		return oauth.Change{}, err
	}
	c.At = timeOf(changed)
	return c, nil
}
