package oauthpgx

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// Note implements oauth.Store.
func (s *Store) Note(ctx context.Context, c oauth.Change) error {
	err := s.db.Write(ctx, fmt.Sprint("user ", c.UserID), func(ctx context.Context, tx pgx.Tx) error {
		return note(ctx, tx, c)
	})
	return refused("note change", err)
}

// note adds an entry to the record of changes, unless it has no Action.
func note(ctx context.Context, tx pgx.Tx, c oauth.Change) error {
	if c.Action == "" {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		c.UserID, c.Action, c.ClientID, c.Subject, c.ActorID, c.Address, c.At)
	return err
}

// Changes implements oauth.Store.
func (s *Store) Changes(ctx context.Context, userID, before int64, limit int) ([]oauth.Change, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, _ := s.db.Read().Query(ctx, `
		SELECT id, user_id, action, client_id, subject, actor_id, address, changed_at
		FROM oauth_changes
		WHERE user_id = $1 AND id < $2
		ORDER BY id DESC
		LIMIT $3`,
		userID, before, max(0, limit))
	changes, err := pgx.CollectRows(rows, scanChange)
	return changes, refused("list changes", err)
}

func scanChange(row pgx.CollectableRow) (c oauth.Change, err error) {
	if err := row.Scan(&c.ID, &c.UserID, &c.Action, &c.ClientID, &c.Subject, &c.ActorID, &c.Address, &c.At); err != nil {
		return oauth.Change{}, err
	}
	c.At = c.At.UTC()
	return c, nil
}
