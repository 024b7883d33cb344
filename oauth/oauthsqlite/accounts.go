package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// ChangePassword implements oauth.Store.
func (s *Store) ChangePassword(ctx context.Context, p oauth.PasswordChange, changes ...oauth.Change) error {
	if !storable(p.New) {
		return fmt.Errorf("change password: %w", errText)
	}
	err := s.db.Write(ctx, fmt.Sprint("user ", p.UserID), func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `
			UPDATE oauth_users SET password_hash = ?2
			WHERE id = ?1 AND (?3 = '' OR password_hash = ?3)`,
			p.UserID, p.New, p.Old)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_sessions WHERE user_id = ?`, p.UserID); err != nil {
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
	return refused("change password", err)
}

// endTokens ends all that applications may do for a user, and the app passwords with
// which they could begin anew.
func endTokens(ctx context.Context, tx *sql.Tx, userID int64, now time.Time) error {
	if err := tellEnded(ctx, tx, oauth.CausePassword, now, endsOfUser, userID); err != nil {
		return err
	}
	for _, query := range []string{
		`UPDATE oauth_codes SET expires_at = ?2 WHERE user_id = ?1 AND grant_id IS NULL AND expires_at > ?2`,
		`DELETE FROM oauth_device_codes
			WHERE client_id IN (SELECT id FROM oauth_clients WHERE owner_id = ?1) AND user_id = ?1 AND approved AND expires_at > ?2`,
		`UPDATE oauth_grants SET revoked_at = ?2, held_until = NULL WHERE user_id = ?1 AND revoked_at IS NULL AND expires_at > ?2`,
		`DELETE FROM oauth_app_passwords
			WHERE client_id IN (SELECT id FROM oauth_clients WHERE owner_id = ?1) AND ?2 IS NOT NULL`,
	} {
		if _, err := tx.ExecContext(ctx, query, userID, now.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// SetOperator implements oauth.Store.
func (s *Store) SetOperator(ctx context.Context, userID int64, operator bool, changes ...oauth.Change) error {
	err := s.db.Write(ctx, fmt.Sprint("user ", userID), func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `UPDATE oauth_users SET operator = ? WHERE id = ?`, operator, userID)); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("say whether a user is an operator", err)
}

// SetAppPasswordsOnly implements oauth.Store.
func (s *Store) SetAppPasswordsOnly(ctx context.Context, userID int64, only bool, changes ...oauth.Change) error {
	err := s.db.Write(ctx, fmt.Sprint("user ", userID), func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `UPDATE oauth_users SET app_passwords_only = ? WHERE id = ?`, only, userID)); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("set which passwords are taken", err)
}

// Sessions implements oauth.Store.
func (s *Store) Sessions(ctx context.Context, userID int64, now time.Time, limit int) ([]oauth.Session, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT hash, user_id, created_at, expires_at, seen_at, agent, address
		FROM oauth_sessions
		WHERE user_id = ? AND expires_at > ?
		ORDER BY created_at DESC, hash
		LIMIT ?`,
		userID, now.UnixMicro(), max(0, limit))
	sessions, err := collect(rows, err, scanSession)
	return sessions, refused("list sessions", err)
}

func scanSession(row scanner) (session oauth.Session, err error) {
	var (
		hash             []byte
		created, expires int64
		seen             sql.NullInt64
	)
	if err := row.Scan(&hash, &session.UserID, &created, &expires, &seen, &session.Agent, &session.Address); err != nil {
		return oauth.Session{}, err
	}
	copy(session.Hash[:], hash)
	session.CreatedAt, session.ExpiresAt, session.SeenAt = timeOf(created), timeOf(expires), timeOrZero(seen)
	return session, nil
}

// EndSessionOf implements oauth.Store.
func (s *Store) EndSessionOf(ctx context.Context, userID int64, session oauth.Hash, changes ...oauth.Change) error {
	err := s.db.Write(ctx, "session "+string(session[:]), func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `DELETE FROM oauth_sessions WHERE hash = ? AND user_id = ?`, session[:], userID)); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("end session", err)
}

// EndOtherSessions implements oauth.Store.
func (s *Store) EndOtherSessions(ctx context.Context, userID int64, keep oauth.Hash, changes ...oauth.Change) (int, error) {
	var ended int64
	err := s.db.Write(ctx, fmt.Sprint("user ", userID), func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM oauth_sessions WHERE user_id = ? AND hash <> ?`, userID, keep[:])
		if err != nil {
			return err
		}
		if ended, err = result.RowsAffected(); err != nil || ended == 0 {
			return err
		}
		return note(ctx, tx, changes...)
	})
	if err != nil {
		return 0, refused("end other sessions", err)
	}
	return int(ended), nil
}

// AddAppPassword implements oauth.Store.
func (s *Store) AddAppPassword(ctx context.Context, p oauth.AppPassword, limit int, changes ...oauth.Change) error {
	if !storable(p.Name) {
		return fmt.Errorf("add app password: %w", errText)
	}
	err := s.db.Write(ctx, "client "+p.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var have int
		if err := tx.QueryRowContext(ctx, `
			SELECT (SELECT count(*) FROM oauth_app_passwords p WHERE p.client_id = c.id)
			FROM oauth_clients c
			WHERE c.id = ? AND c.kind = ?`,
			p.ClientID, oauth.Personal).Scan(&have); err != nil {
			return err
		}
		if have >= limit {
			return oauth.ErrTooMany
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_app_passwords (client_id, name, hash, created_at, last_used_at)
			VALUES (?, ?, ?, ?, ?)`,
			p.ClientID, p.Name, p.Hash[:], p.CreatedAt.UnixMicro(), orNull(p.LastUsedAt)); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("add app password", err)
}

const selectAppPasswords = `SELECT id, client_id, name, hash, created_at, last_used_at FROM oauth_app_passwords ` //nolint:gosec // SQL, no credential

// AppPasswords implements oauth.Store.
func (s *Store) AppPasswords(ctx context.Context, clientID string, limit int) ([]oauth.AppPassword, error) {
	rows, err := s.db.Read().QueryContext(ctx, selectAppPasswords+`WHERE client_id = ? ORDER BY created_at DESC, id DESC LIMIT ?`,
		clientID, max(0, limit))
	passwords, err := collect(rows, err, scanAppPassword)
	return passwords, refused("list app passwords", err)
}

// AppPassword implements oauth.Store.
func (s *Store) AppPassword(ctx context.Context, clientID string, hash oauth.Hash) (oauth.AppPassword, error) {
	p, err := scanAppPassword(s.db.Read().QueryRowContext(ctx, selectAppPasswords+`WHERE hash = ? AND client_id = ?`, hash[:], clientID))
	return p, refused("find app password", err)
}

func scanAppPassword(row scanner) (p oauth.AppPassword, err error) {
	var (
		hash    []byte
		created int64
		used    sql.NullInt64
	)
	if err := row.Scan(&p.ID, &p.ClientID, &p.Name, &hash, &created, &used); err != nil {
		return oauth.AppPassword{}, err
	}
	copy(p.Hash[:], hash)
	p.CreatedAt, p.LastUsedAt = timeOf(created), timeOrZero(used)
	return p, nil
}

// TouchAppPassword implements oauth.Store. The latest use stays, in whatever order they
// are noted.
func (s *Store) TouchAppPassword(ctx context.Context, id int64, now time.Time) error {
	err := s.db.Write(ctx, fmt.Sprint("app password ", id), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE oauth_app_passwords
			SET last_used_at = max(coalesce(last_used_at, ?1), ?1)
			WHERE id = ?2`,
			now.UnixMicro(), id)
		return err
	})
	return refused("note use of app password", err)
}

// RemoveAppPassword implements oauth.Store.
func (s *Store) RemoveAppPassword(ctx context.Context, clientID string, id int64, changes ...oauth.Change) error {
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `DELETE FROM oauth_app_passwords WHERE id = ? AND client_id = ?`, id, clientID)); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("remove app password", err)
}

// PendingClients implements oauth.Store.
func (s *Store) PendingClients(ctx context.Context, limit int) ([]oauth.Client, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE status = 'pending' ORDER BY created_at, id LIMIT ?)`+selectClients,
		max(0, limit))
	clients, err := collectClients(rows, err)
	slices.SortStableFunc(clients, func(a, b oauth.Client) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return clients, refused("list pending clients", err)
}

// NoteUses implements oauth.Store.
func (s *Store) NoteUses(ctx context.Context, u oauth.Uses) error {
	for _, use := range u.Sessions {
		if !storable(use.Agent, use.Address) {
			return fmt.Errorf("note uses: %w", errText)
		}
	}
	err := s.db.Write(ctx, "~uses", func(ctx context.Context, tx *sql.Tx) error {
		for id, at := range u.Grants {
			if _, err := tx.ExecContext(ctx, `
				UPDATE oauth_grants SET last_used_at = max(coalesce(last_used_at, ?1), ?1) WHERE id = ?2`,
				at.UnixMicro(), id); err != nil {
				return err
			}
		}
		for hash, use := range u.Sessions {
			if _, err := tx.ExecContext(ctx, `
				UPDATE oauth_sessions SET seen_at = ?1, agent = ?2, address = ?3
				WHERE hash = ?4 AND (seen_at IS NULL OR seen_at < ?1)`,
				use.SeenAt.UnixMicro(), use.Agent, use.Address, hash[:]); err != nil {
				return err
			}
		}
		return nil
	})
	return refused("note uses", err)
}

// PurgeChanges implements oauth.Store.
func (s *Store) PurgeChanges(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted int64
	err := s.db.Write(ctx, "purge", func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `
			DELETE FROM oauth_changes WHERE id IN (
				SELECT id FROM oauth_changes WHERE changed_at < ? ORDER BY changed_at LIMIT ?)`,
			before.UnixMicro(), max(0, limit))
		if err != nil {
			return err
		}
		deleted, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, refused("purge changes", err)
	}
	return int(deleted), nil
}
