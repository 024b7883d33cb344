package oauthpgx

import (
	"context"
	"fmt"
	"math"
	"time"

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

// note adds entries to the record of changes, but for those without an Action.
func note(ctx context.Context, tx pgx.Tx, changes ...oauth.Change) error {
	_, err := tx.Exec(ctx, `WITH changed AS (SELECT 1) `+noting(1), notes(changes)...)
	return err
}

// noting is the statement that adds entries to the record of changes if the CTE changed
// has any row. Its parameters are those of notes, from the first on.
func noting(first int) string {
	return fmt.Sprintf(`
		INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
		SELECT n.user_id, n.action, n.client_id, n.subject, n.actor_id, n.address, n.changed_at
		FROM unnest($%d::bigint[], $%d::text[], $%d::text[], $%d::text[], $%d::bigint[], $%d::text[], $%d::timestamptz[])
			WITH ORDINALITY AS n (user_id, action, client_id, subject, actor_id, address, changed_at, place)
		WHERE EXISTS (SELECT FROM changed)
		ORDER BY n.place
	`, first, first+1, first+2, first+3, first+4, first+5, first+6)
}

// notes are the arguments of noting.
func notes(changes []oauth.Change) []any {
	users, actors, times := []int64{}, []int64{}, []time.Time{}
	actions, clients, subjects, addresses := []string{}, []string{}, []string{}, []string{}
	for _, c := range changes {
		if c.Action == "" {
			continue
		}
		users, actors, times = append(users, c.UserID), append(actors, c.ActorID), append(times, c.At)
		actions, clients = append(actions, string(c.Action)), append(clients, c.ClientID)
		subjects, addresses = append(subjects, c.Subject), append(addresses, c.Address)
	}
	return []any{users, actions, clients, subjects, actors, addresses, times}
}

// Changes implements oauth.Store.
func (s *Store) Changes(ctx context.Context, userID, before int64, limit int) ([]oauth.Change, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, _ := s.db.Read().Query(ctx, `
		SELECT n.id, n.user_id, n.action, n.client_id, coalesce(c.name, ''), n.subject, n.actor_id, n.address, n.changed_at
		FROM oauth_changes n
		LEFT JOIN oauth_clients c ON c.id = n.client_id
		WHERE n.user_id = $1 AND n.id < $2
		ORDER BY n.id DESC
		LIMIT $3`,
		userID, before, max(0, limit))
	changes, err := pgx.CollectRows(rows, scanChange)
	return changes, refused("list changes", err)
}

func scanChange(row pgx.CollectableRow) (c oauth.Change, err error) {
	if err := row.Scan(&c.ID, &c.UserID, &c.Action, &c.ClientID, &c.ClientName, &c.Subject, &c.ActorID, &c.Address, &c.At); err != nil {
		return oauth.Change{}, err
	}
	c.At = c.At.UTC()
	return c, nil
}
