package oauthpgx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// tellFirst is a CTE of a statement that issues: it writes down that an application got
// the grant of the CTE new, unless it held a live one. It reads as the statement began:
// of two grants that begin at once on two bridges both may be written down, of which one
// is found not to be the first when it is told.
const tellFirst = `
		, began AS (
			INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, scope, sites, happened_at, next_at)
			SELECT $1, $9, 'connected', 'person', $10, $11, $2, $2
			FROM new, judged j
			WHERE $9 IS NOT NULL AND NOT (j.tally).wastes AND NOT EXISTS (
				SELECT FROM oauth_grants g
				WHERE g.user_id = $9 AND g.client_id = $1 AND g.revoked_at IS NULL AND g.expires_at > $2)
		)`

// firstOf gives tellFirst for the grants of which nobody was asked on a page.
func firstOf(i oauth.Issuance) string {
	if i.GrantType == oauth.GrantPassword || i.GrantType == oauth.GrantDevice {
		return tellFirst
	}
	return ""
}

// tellConsent writes down that a person consented.
func tellConsent(ctx context.Context, tx pgx.Tx, i oauth.Issuance) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, scope, sites, happened_at, next_at)
		VALUES ($1, $2, 'connected', 'person', $3, $4, $5, $5)`,
		i.ClientID, i.UserID, scope(i.Scope), i.Sites, i.Now)
	return err
}

// Which live grants of people end, with the arguments from $3 on.
const (
	endsOfUser     = `g.user_id = $3`
	endsOfClient   = `g.client_id = $3`
	endsConnection = `g.user_id = $3 AND g.client_id = $4`
)

// tellEnded writes down that live grants end. It comes before they do, and takes their
// locks, so that it tells of those that this one ends and of no other.
func tellEnded(ctx context.Context, tx pgx.Tx, cause oauth.Cause, now time.Time, which string, args ...any) error {
	_, err := tx.Exec(ctx, `
		WITH ending AS MATERIALIZED (
			SELECT g.client_id, g.user_id, g.sites FROM oauth_grants g
			WHERE g.user_id IS NOT NULL AND g.revoked_at IS NULL AND g.expires_at > $2 AND `+which+`
			FOR NO KEY UPDATE
		)
		INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, sites, happened_at, next_at)
		SELECT DISTINCT client_id, user_id, 'disconnected', $1::text, sites, $2::timestamptz, $2::timestamptz FROM ending`,
		append([]any{string(cause), now}, args...)...)
	return err
}

// tellCodesEnded does so of codes that nobody has spent.
func tellCodesEnded(ctx context.Context, tx pgx.Tx, userID int64, clientID string, now time.Time) error {
	_, err := tx.Exec(ctx, `
		WITH ending AS MATERIALIZED (
			SELECT client_id, user_id, sites FROM oauth_codes
			WHERE user_id = $2 AND client_id = $3 AND grant_id IS NULL AND expires_at > $1
			FOR UPDATE
		)
		INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, sites, happened_at, next_at)
		SELECT DISTINCT client_id, user_id, 'disconnected', 'person', sites, $1::timestamptz, $1::timestamptz FROM ending`,
		now, userID, clientID)
	return err
}

// ended is a CTE that writes down what the CTE revoke, which returns its grants, has
// ended at $2.
func ended(cause oauth.Cause) string {
	return `ended AS (
			INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, sites, happened_at, next_at)
			SELECT client_id, user_id, 'disconnected', '` + string(cause) + `', sites, $2, $2 FROM revoke WHERE user_id IS NOT NULL
		)`
}

// DueEvents implements oauth.Store.
func (s *Store) DueEvents(ctx context.Context, now, until time.Time, limit int) ([]oauth.ConnectionEvent, error) {
	var waiting bool
	err := s.db.Read().QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM oauth_connection_events WHERE next_at <= $1)`, now).Scan(&waiting)
	if err != nil || !waiting {
		return nil, refused("find events of connections", err)
	}
	var due []oauth.ConnectionEvent
	b := &pgx.Batch{}
	b.Queue(`
		WITH due AS MATERIALIZED (
			SELECT id FROM oauth_connection_events
			WHERE next_at <= $1
			ORDER BY next_at, id LIMIT $3
			FOR UPDATE SKIP LOCKED
		), leased AS (
			UPDATE oauth_connection_events e SET next_at = $2
			FROM due WHERE e.id = due.id
			RETURNING e.id, e.kind, e.cause, e.client_id, e.user_id, e.scope, e.sites, e.happened_at
		)
		SELECT e.id, e.kind, e.cause, e.client_id, c.name, e.user_id, u.name, e.scope, e.sites, e.happened_at
		FROM leased e
		JOIN oauth_clients c ON c.id = e.client_id
		JOIN oauth_users u ON u.id = e.user_id
		ORDER BY e.id`,
		now, until, max(0, limit)).
		Query(func(rows pgx.Rows) error {
			found, err := pgx.CollectRows(rows, scanEvent)
			due = found
			return err
		})
	if err := s.db.WriteBatch(ctx, "connection events", b); err != nil {
		return nil, refused("find events of connections", err)
	}
	return due, nil
}

func scanEvent(row pgx.CollectableRow) (e oauth.ConnectionEvent, err error) {
	if err := row.Scan(&e.ID, &e.Kind, &e.Cause, &e.ClientID, &e.ClientName, &e.UserID, &e.UserName,
		(*scope)(&e.Scope), &e.Sites, &e.At); err != nil {
		return oauth.ConnectionEvent{}, err
	}
	e.At = e.At.UTC()
	return e, nil
}

// EventTold implements oauth.Store.
func (s *Store) EventTold(ctx context.Context, id int64) error {
	b := &pgx.Batch{}
	b.Queue(`DELETE FROM oauth_connection_events WHERE id = $1`, id)
	return refused("delete event", s.db.WriteBatch(ctx, "connection events", b))
}

// allowedMax bounds what AllowedAt lists.
const allowedMax = 1_000

// AllowedAt implements oauth.Store.
func (s *Store) AllowedAt(ctx context.Context, userID int64, clientID string, at time.Time) ([]oauth.Allowed, error) {
	rows, _ := s.db.Read().Query(ctx, `
		SELECT DISTINCT g.scope, g.sites FROM oauth_grants g
		WHERE g.user_id = $1 AND g.client_id = $2 AND g.created_at < $3 AND g.expires_at > $3 AND (g.revoked_at IS NULL OR g.revoked_at > $3)
		LIMIT $4`,
		userID, clientID, at, allowedMax)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a oauth.Allowed, err error) {
		err = row.Scan((*scope)(&a.Scope), &a.Sites)
		return a, err
	})
	return all, refused("list what a client was allowed", err)
}

// UsersAt implements oauth.Store.
func (s *Store) UsersAt(ctx context.Context, clientID string, at time.Time, after int64, limit int) ([]oauth.User, error) {
	rows, _ := s.db.Read().Query(ctx, selectUsers+` WHERE id IN (
			SELECT DISTINCT g.user_id FROM oauth_grants g
			WHERE g.client_id = $1 AND g.user_id > $2 AND g.created_at < $3 AND g.expires_at > $3 AND (g.revoked_at IS NULL OR g.revoked_at > $3)
			ORDER BY g.user_id LIMIT $4)
		ORDER BY id`,
		clientID, after, at, max(0, limit))
	users, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (oauth.User, error) { return scanUser(row) })
	return users, refused("list users of client", err)
}
