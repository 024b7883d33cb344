package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// tellConsent writes down that a person consented.
func tellConsent(ctx context.Context, tx *sql.Tx, clientID string, userID int64, s oauth.Scope, sites []int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, scope, sites, happened_at, next_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)`,
		clientID, userID, oauth.Connected, oauth.CausePerson, scope(s), list[int64](sites), now.UnixMicro())
	return err
}

// tellFirst writes down that an application got a grant, unless it held a live one. A
// wasteful token says that it did.
func tellFirst(ctx context.Context, tx *sql.Tx, i oauth.Issuance, new oauth.NewGrant) error {
	if i.UserID == 0 || new.Tally.Wasteful || i.GrantType != oauth.GrantPassword && i.GrantType != oauth.GrantDevice {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, scope, sites, happened_at, next_at)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7
		WHERE NOT EXISTS (
			SELECT 1 FROM oauth_grants g
			WHERE g.user_id = ?2 AND g.client_id = ?1 AND g.id <> ?8 AND g.revoked_at IS NULL AND g.expires_at > ?7)`,
		i.ClientID, i.UserID, oauth.Connected, oauth.CausePerson, scope(i.Scope), list[int64](i.Sites), i.Now.UnixMicro(), new.ID)
	return err
}

// Which live grants of people end, with the arguments from ?3 on.
const (
	endsGrant      = `g.id = ?3`
	endsOfUser     = `g.user_id = ?3`
	endsOfClient   = `g.client_id = ?3`
	endsConnection = `g.user_id = ?3 AND g.client_id = ?4`
)

// tellEnded writes down that live grants end. It comes before they do.
func tellEnded(ctx context.Context, tx *sql.Tx, cause oauth.Cause, now time.Time, which string, args ...any) error {
	//nolint:gosec // which is one of the four above
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, sites, happened_at, next_at)
		SELECT DISTINCT g.client_id, g.user_id, 'disconnected', ?1, g.sites, ?2, ?2
		FROM oauth_grants g
		WHERE g.user_id IS NOT NULL AND g.revoked_at IS NULL AND g.expires_at > ?2 AND `+which,
		append([]any{cause, now.UnixMicro()}, args...)...)
	return err
}

// tellCodesEnded does so of codes that nobody has spent.
func tellCodesEnded(ctx context.Context, tx *sql.Tx, userID int64, clientID string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_connection_events (client_id, user_id, kind, cause, sites, happened_at, next_at)
		SELECT DISTINCT client_id, user_id, 'disconnected', ?1, sites, ?2, ?2
		FROM oauth_codes
		WHERE user_id = ?3 AND client_id = ?4 AND grant_id IS NULL AND expires_at > ?2`,
		oauth.CausePerson, now.UnixMicro(), userID, clientID)
	return err
}

// DueEvents implements oauth.Store.
func (s *Store) DueEvents(ctx context.Context, now, until time.Time, limit int) ([]oauth.ConnectionEvent, error) {
	var waiting bool
	err := s.db.Read().QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM oauth_connection_events WHERE next_at <= ?)`, now.UnixMicro()).Scan(&waiting)
	if err != nil || !waiting {
		return nil, refused("find events of connections", err)
	}
	var due []oauth.ConnectionEvent
	err = s.db.Write(ctx, "connection events", func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `
			SELECT e.id, e.kind, e.cause, e.client_id, c.name, e.user_id, u.name, e.scope, e.sites, e.happened_at
			FROM oauth_connection_events e
			JOIN oauth_clients c ON c.id = e.client_id
			JOIN oauth_users u ON u.id = e.user_id
			WHERE e.id IN (SELECT id FROM oauth_connection_events WHERE next_at <= ? ORDER BY next_at, id LIMIT ?)
			ORDER BY e.id`,
			now.UnixMicro(), max(0, limit))
		if due, err = collect(rows, err, scanEvent); err != nil {
			return err
		}
		for _, e := range due {
			if _, err := tx.ExecContext(ctx, `UPDATE oauth_connection_events SET next_at = ? WHERE id = ?`, until.UnixMicro(), e.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, refused("find events of connections", err)
	}
	return due, nil
}

func scanEvent(row scanner) (e oauth.ConnectionEvent, err error) {
	var happened int64
	if err := row.Scan(&e.ID, &e.Kind, &e.Cause, &e.ClientID, &e.ClientName, &e.UserID, &e.UserName,
		(*scope)(&e.Scope), (*list[int64])(&e.Sites), &happened); err != nil {
		return oauth.ConnectionEvent{}, err
	}
	e.At = timeOf(happened)
	return e, nil
}

// EventTold implements oauth.Store.
func (s *Store) EventTold(ctx context.Context, id int64) error {
	err := s.db.Write(ctx, "connection events", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM oauth_connection_events WHERE id = ?`, id)
		return err
	})
	return refused(fmt.Sprintf("delete event %d", id), err)
}

// AllowedAt implements oauth.Store.
func (s *Store) AllowedAt(ctx context.Context, userID int64, clientID string, at time.Time) ([]oauth.Allowed, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT DISTINCT g.scope, g.sites FROM oauth_grants g
		WHERE g.user_id = ?1 AND g.client_id = ?2 AND g.created_at < ?3 AND g.expires_at > ?3 AND (g.revoked_at IS NULL OR g.revoked_at > ?3)
		LIMIT ?4`,
		userID, clientID, at.UnixMicro(), allowedMax)
	all, err := collect(rows, err, func(row scanner) (a oauth.Allowed, err error) {
		err = row.Scan((*scope)(&a.Scope), (*list[int64])(&a.Sites))
		return a, err
	})
	return all, refused("list what a client was allowed", err)
}

// allowedMax bounds what AllowedAt lists.
const allowedMax = 1_000

// UsersAt implements oauth.Store.
func (s *Store) UsersAt(ctx context.Context, clientID string, at time.Time, after int64, limit int) ([]oauth.User, error) {
	rows, err := s.db.Read().QueryContext(ctx, selectUsers+` WHERE id IN (
			SELECT DISTINCT g.user_id FROM oauth_grants g
			WHERE g.client_id = ?1 AND g.user_id > ?2 AND g.created_at < ?3 AND g.expires_at > ?3 AND (g.revoked_at IS NULL OR g.revoked_at > ?3)
			ORDER BY g.user_id LIMIT ?4)
		ORDER BY id`,
		clientID, after, at.UnixMicro(), max(0, limit))
	users, err := collect(rows, err, scanUser)
	return users, refused("list users of client", err)
}
