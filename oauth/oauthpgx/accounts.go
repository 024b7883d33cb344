package oauthpgx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// ChangePassword implements oauth.Store. Codes come before grants, as in Disconnect.
func (s *Store) ChangePassword(ctx context.Context, p oauth.PasswordChange, changes ...oauth.Change) error {
	err := s.db.Write(ctx, fmt.Sprint("user ", p.UserID), func(ctx context.Context, tx pgx.Tx) error {
		if err := one(ctx, tx, `
			UPDATE oauth_users SET password_hash = $2
			WHERE id = $1 AND ($3 = '' OR password_hash = $3)`,
			p.UserID, p.New, p.Old); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM oauth_sessions WHERE user_id = $1`, p.UserID); err != nil {
			return err
		}
		if p.Session.Hash != (oauth.Hash{}) {
			if err := insertSession(ctx, tx, p.Session); err != nil {
				return err
			}
		}
		if p.EndTokens {
			if err := endTokens(ctx, tx, p.UserID, p.Now); err != nil {
				return err
			}
		}
		return note(ctx, tx, changes...)
	})
	return missing("change password", err)
}

// endTokens ends all that applications may do for a user, and the app passwords with
// which they could begin anew.
func endTokens(ctx context.Context, tx pgx.Tx, userID int64, now time.Time) error {
	// A redemption that has locked a code is waited for, and its grant seen.
	if _, err := tx.Exec(ctx, `
		UPDATE oauth_codes SET expires_at = $2 WHERE user_id = $1 AND grant_id IS NULL AND expires_at > $2`, userID, now); err != nil {
		return err
	}
	if err := tellEnded(ctx, tx, oauth.CausePassword, now, endsOfUser, userID); err != nil {
		return err
	}
	for _, sql := range []string{
		`DELETE FROM oauth_device_codes
			WHERE client_id IN (SELECT id FROM oauth_clients WHERE owner_id = $1) AND user_id = $1 AND approved AND expires_at > $2`,
		`UPDATE oauth_grants SET revoked_at = $2, held_until = NULL WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2`,
		`DELETE FROM oauth_app_passwords
			WHERE client_id IN (SELECT id FROM oauth_clients WHERE owner_id = $1) AND $2::timestamptz IS NOT NULL`,
	} {
		if _, err := tx.Exec(ctx, sql, userID, now); err != nil {
			return err
		}
	}
	return nil
}

// one makes pgx.ErrNoRows of a statement that changed nothing.
func one(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, args...)
	if err == nil && tag.RowsAffected() == 0 {
		err = pgx.ErrNoRows
	}
	return err
}

// SetOperator implements oauth.Store.
func (s *Store) SetOperator(ctx context.Context, userID int64, operator bool, changes ...oauth.Change) error {
	var id int64
	found, err := s.write(ctx, fmt.Sprint("user ", userID), []any{&id}, `
		WITH changed AS (
			UPDATE oauth_users SET operator = $2 WHERE id = $1
			RETURNING id
		), noted AS (`+noting(3)+`)
		SELECT id FROM changed`,
		append([]any{userID, operator}, notes(changes)...)...)
	return foundOr(oauth.ErrNotFound, "say whether a user is an operator", found, err)
}

// SetAppPasswordsOnly implements oauth.Store.
func (s *Store) SetAppPasswordsOnly(ctx context.Context, userID int64, only bool, changes ...oauth.Change) error {
	var id int64
	found, err := s.write(ctx, fmt.Sprint("user ", userID), []any{&id}, `
		WITH changed AS (
			UPDATE oauth_users SET app_passwords_only = $2 WHERE id = $1
			RETURNING id
		), noted AS (`+noting(3)+`)
		SELECT id FROM changed`,
		append([]any{userID, only}, notes(changes)...)...)
	return foundOr(oauth.ErrNotFound, "set which passwords are taken", found, err)
}

// Sessions implements oauth.Store.
func (s *Store) Sessions(ctx context.Context, userID int64, now time.Time, limit int) ([]oauth.Session, error) {
	rows, _ := s.db.Read().Query(ctx, `
		SELECT hash, user_id, created_at, expires_at, seen_at, agent, address
		FROM oauth_sessions
		WHERE user_id = $1 AND expires_at > $2
		ORDER BY created_at DESC, hash
		LIMIT $3`,
		userID, now, max(0, limit))
	sessions, err := pgx.CollectRows(rows, scanSession)
	return sessions, refused("list sessions", err)
}

func scanSession(row pgx.CollectableRow) (session oauth.Session, err error) {
	var hash []byte
	var seen *time.Time
	if err := row.Scan(&hash, &session.UserID, &session.CreatedAt, &session.ExpiresAt, &seen, &session.Agent, &session.Address); err != nil {
		return oauth.Session{}, err
	}
	copy(session.Hash[:], hash)
	session.CreatedAt, session.ExpiresAt, session.SeenAt = session.CreatedAt.UTC(), session.ExpiresAt.UTC(), stored(seen)
	return session, nil
}

// EndSessionOf implements oauth.Store.
func (s *Store) EndSessionOf(ctx context.Context, userID int64, session oauth.Hash, changes ...oauth.Change) error {
	var id int64
	found, err := s.write(ctx, "session "+string(session[:]), []any{&id}, `
		WITH changed AS (
			DELETE FROM oauth_sessions WHERE hash = $1 AND user_id = $2
			RETURNING user_id
		), noted AS (`+noting(3)+`)
		SELECT user_id FROM changed`,
		append([]any{session[:], userID}, notes(changes)...)...)
	return foundOr(oauth.ErrNotFound, "end session", found, err)
}

// EndOtherSessions implements oauth.Store.
func (s *Store) EndOtherSessions(ctx context.Context, userID int64, keep oauth.Hash, changes ...oauth.Change) (int, error) {
	var ended int
	_, err := s.write(ctx, fmt.Sprint("user ", userID), []any{&ended}, `
		WITH changed AS (
			DELETE FROM oauth_sessions WHERE user_id = $1 AND hash <> $2
			RETURNING hash
		), noted AS (`+noting(3)+`)
		SELECT count(*) FROM changed`,
		append([]any{userID, keep[:]}, notes(changes)...)...)
	if err != nil {
		return 0, refused("end other sessions", err)
	}
	return ended, nil
}

// AddAppPassword implements oauth.Store. The client's row is locked first, so that what
// is counted then is all that there is, whatever process it came from.
func (s *Store) AddAppPassword(ctx context.Context, p oauth.AppPassword, limit int, changes ...oauth.Change) error {
	err := s.db.Write(ctx, "client "+p.ClientID, func(ctx context.Context, tx pgx.Tx) error {
		var id string
		if err := tx.QueryRow(ctx, `SELECT id FROM oauth_clients WHERE id = $1 AND kind = $2 FOR NO KEY UPDATE`,
			p.ClientID, string(oauth.Personal)).Scan(&id); err != nil {
			return err
		}
		var have int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM oauth_app_passwords WHERE client_id = $1`, p.ClientID).Scan(&have); err != nil {
			return err
		}
		if have >= limit {
			return oauth.ErrTooMany
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO oauth_app_passwords (client_id, name, hash, created_at, last_used_at)
			VALUES ($1, $2, $3, $4, $5)`,
			p.ClientID, p.Name, p.Hash[:], p.CreatedAt, at(p.LastUsedAt)); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = oauth.ErrNotFound
	}
	return refused("add app password", err)
}

const selectAppPasswords = `SELECT id, client_id, name, hash, created_at, last_used_at FROM oauth_app_passwords ` //nolint:gosec // SQL, no credential

// AppPasswords implements oauth.Store.
func (s *Store) AppPasswords(ctx context.Context, clientID string, limit int) ([]oauth.AppPassword, error) {
	rows, _ := s.db.Read().Query(ctx, selectAppPasswords+`WHERE client_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`,
		clientID, max(0, limit))
	passwords, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (oauth.AppPassword, error) { return scanAppPassword(row) })
	return passwords, refused("list app passwords", err)
}

// AppPassword implements oauth.Store.
func (s *Store) AppPassword(ctx context.Context, clientID string, hash oauth.Hash) (oauth.AppPassword, error) {
	p, err := scanAppPassword(s.db.Read().QueryRow(ctx, selectAppPasswords+`WHERE hash = $1 AND client_id = $2`, hash[:], clientID))
	return p, missing("find app password", err)
}

func scanAppPassword(row pgx.Row) (p oauth.AppPassword, err error) {
	var hash []byte
	var used *time.Time
	if err := row.Scan(&p.ID, &p.ClientID, &p.Name, &hash, &p.CreatedAt, &used); err != nil {
		return oauth.AppPassword{}, err
	}
	copy(p.Hash[:], hash)
	p.CreatedAt, p.LastUsedAt = p.CreatedAt.UTC(), stored(used)
	return p, nil
}

// TouchAppPassword implements oauth.Store. The latest use stays, in whatever order they
// are noted.
func (s *Store) TouchAppPassword(ctx context.Context, id int64, now time.Time) error {
	b := &pgx.Batch{}
	b.Queue(`UPDATE oauth_app_passwords SET last_used_at = greatest(last_used_at, $1) WHERE id = $2`, now, id)
	return refused("note use of app password", s.db.WriteBatch(ctx, fmt.Sprint("app password ", id), b))
}

// RemoveAppPassword implements oauth.Store.
func (s *Store) RemoveAppPassword(ctx context.Context, clientID string, id int64, changes ...oauth.Change) error {
	var removed int64
	found, err := s.write(ctx, "client "+clientID, []any{&removed}, `
		WITH changed AS (
			DELETE FROM oauth_app_passwords WHERE id = $1 AND client_id = $2
			RETURNING id
		), noted AS (`+noting(3)+`)
		SELECT id FROM changed`,
		append([]any{id, clientID}, notes(changes)...)...)
	return foundOr(oauth.ErrNotFound, "remove app password", found, err)
}

// PendingClients implements oauth.Store.
func (s *Store) PendingClients(ctx context.Context, limit int) ([]oauth.Client, error) {
	rows, _ := s.db.Read().Query(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE status = 'pending' ORDER BY created_at, id LIMIT $1)`+selectClients,
		max(0, limit))
	clients, err := collectClients(rows)
	slices.SortStableFunc(clients, func(a, b oauth.Client) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return clients, refused("list pending clients", err)
}

// NoteUses implements oauth.Store. It waits for nobody, and by its key it is the last
// of a transaction, so that nobody waits for it long.
func (s *Store) NoteUses(ctx context.Context, u oauth.Uses) error {
	grants, used := []int64{}, []time.Time{}
	for id, at := range u.Grants {
		grants, used = append(grants, id), append(used, at)
	}
	hashes, seen, agents, addresses := [][]byte{}, []time.Time{}, []string{}, []string{}
	for hash, use := range u.Sessions {
		hashes, seen = append(hashes, hash[:]), append(seen, use.SeenAt)
		agents, addresses = append(agents, use.Agent), append(addresses, use.Address)
	}
	b := &pgx.Batch{}
	b.Queue(`
		WITH free AS (
			SELECT g.id, n.used_at
			FROM oauth_grants g
			JOIN unnest($1::bigint[], $2::timestamptz[]) AS n (id, used_at) ON n.id = g.id
			FOR NO KEY UPDATE OF g SKIP LOCKED
		)
		UPDATE oauth_grants g SET last_used_at = greatest(g.last_used_at, free.used_at)
		FROM free WHERE g.id = free.id`, grants, used)
	b.Queue(`
		WITH free AS (
			SELECT s.hash, n.seen_at, n.agent, n.address
			FROM oauth_sessions s
			JOIN unnest($1::bytea[], $2::timestamptz[], $3::text[], $4::text[]) AS n (hash, seen_at, agent, address) ON n.hash = s.hash
			WHERE s.seen_at IS NULL OR s.seen_at < n.seen_at
			FOR NO KEY UPDATE OF s SKIP LOCKED
		)
		UPDATE oauth_sessions s SET seen_at = free.seen_at, agent = free.agent, address = free.address
		FROM free WHERE s.hash = free.hash`, hashes, seen, agents, addresses)
	return refused("note uses", s.db.WriteBatch(ctx, "~uses", b))
}

// PurgeChanges implements oauth.Store.
func (s *Store) PurgeChanges(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted int
	_, err := s.write(ctx, "purge", []any{&deleted}, `
		WITH gone AS (
			DELETE FROM oauth_changes WHERE id IN (
				SELECT id FROM oauth_changes WHERE changed_at < $1
				ORDER BY changed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
			RETURNING id
		)
		SELECT count(*) FROM gone`,
		before, max(0, limit))
	if err != nil {
		return 0, refused("purge changes", err)
	}
	return deleted, nil
}
