// Package oauthsqlite keeps the record of package oauth in SQLite.
package oauthsqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
)

// Store is an oauth.Store.
type Store struct{ db *groupcommit.SQLite }

var _ oauth.Store = (*Store)(nil)

// New returns the Store in db, which has the schema of package migrations.
func New(db *groupcommit.SQLite) *Store { return &Store{db: db} }

// AddUser implements oauth.Store.
func (s *Store) AddUser(ctx context.Context, u oauth.User) (int64, error) {
	if !storable(u.Email, u.Name, u.PasswordHash) {
		return 0, fmt.Errorf("add user: %w", errText)
	}
	var id int64
	err := s.db.Write(ctx, "user "+u.Email, func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `
			INSERT INTO oauth_users (email, name, password_hash, created_at)
			VALUES (?, ?, ?, ?)
			RETURNING id`,
			u.Email, u.Name, u.PasswordHash, u.CreatedAt.UnixMicro()).Scan(&id)
	})
	if err != nil {
		return 0, refused("add user", err)
	}
	return id, nil
}

const selectUsers = `SELECT id, email, name, password_hash, created_at, operator, app_passwords_only, disabled_at FROM oauth_users`

// UserByEmail implements oauth.Store.
func (s *Store) UserByEmail(ctx context.Context, email string) (oauth.User, error) {
	u, err := scanUser(s.db.Read().QueryRowContext(ctx, selectUsers+` WHERE email = ?`, email))
	return u, refused("find user", err)
}

// User implements oauth.Store.
func (s *Store) User(ctx context.Context, id int64) (oauth.User, error) {
	u, err := scanUser(s.db.Read().QueryRowContext(ctx, selectUsers+` WHERE id = ?`, id))
	return u, refused("find user", err)
}

// Users implements oauth.Store.
func (s *Store) Users(ctx context.Context, after int64, limit int) ([]oauth.User, error) {
	rows, err := s.db.Read().QueryContext(ctx, selectUsers+` WHERE id > ? ORDER BY id LIMIT ?`, after, max(0, limit))
	users, err := collect(rows, err, scanUser)
	return users, refused("list users", err)
}

func scanUser(row scanner) (u oauth.User, err error) {
	var created int64
	var disabled sql.NullInt64
	if err := row.Scan(&u.ID, &u.Email, &u.Name, &u.PasswordHash, &created, &u.Operator, &u.AppPasswordsOnly, &disabled); err != nil {
		return oauth.User{}, err
	}
	u.CreatedAt = timeOf(created)
	if disabled.Valid {
		u.DisabledAt = timeOf(disabled.Int64)
	}
	return u, nil
}

// AddSession implements oauth.Store.
func (s *Store) AddSession(ctx context.Context, session oauth.Session, changes ...oauth.Change) error {
	err := s.db.Write(ctx, "session "+string(session.Hash[:]), func(ctx context.Context, tx *sql.Tx) error {
		if err := proven(ctx, tx, session.UserID, session.Proof); err != nil {
			return err
		}
		if err := insertSession(ctx, tx, session); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("add session", err)
}

// proven is sql.ErrNoRows of a proof that does not hold any more.
func proven(ctx context.Context, tx *sql.Tx, userID int64, p oauth.Proof) error {
	var one int
	if p.PasswordHash != "" {
		if err := tx.QueryRowContext(ctx, `
			SELECT 1 FROM oauth_users WHERE id = ? AND password_hash = ?`,
			userID, p.PasswordHash).Scan(&one); err != nil {
			return err
		}
	}
	if p.AppPassword == 0 {
		return nil
	}
	return tx.QueryRowContext(ctx, `SELECT 1 FROM oauth_app_passwords WHERE id = ?`, p.AppPassword).Scan(&one)
}

func insertSession(ctx context.Context, tx *sql.Tx, session oauth.Session) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_sessions (hash, user_id, created_at, expires_at)
		VALUES (?, ?, ?, ?)`,
		session.Hash[:], session.UserID, session.CreatedAt.UnixMicro(), session.ExpiresAt.UnixMicro())
	return err
}

// Session implements oauth.Store.
func (s *Store) Session(ctx context.Context, session oauth.Hash, now time.Time) (oauth.User, error) {
	u, err := scanUser(s.db.Read().QueryRowContext(ctx, selectUsers+`
		WHERE id = (SELECT user_id FROM oauth_sessions WHERE hash = ? AND expires_at > ?) AND disabled_at IS NULL`,
		session[:], now.UnixMicro()))
	return u, refused("find session", err)
}

// EndSession implements oauth.Store.
func (s *Store) EndSession(ctx context.Context, session oauth.Hash) error {
	err := s.db.Write(ctx, "session "+string(session[:]), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM oauth_sessions WHERE hash = ?`, session[:])
		return err
	})
	return refused("end session", err)
}

// Failures implements oauth.Store.
func (s *Store) Failures(ctx context.Context, key oauth.Hash, since time.Time) (oauth.Failures, error) {
	f, err := failures(ctx, s.db.Read(), key, since)
	return f, refused("count failed sign-ins", err)
}

// AddFailure implements oauth.Store.
func (s *Store) AddFailure(ctx context.Context, key oauth.Hash, now, since time.Time) (oauth.Failures, error) {
	var f oauth.Failures
	err := s.db.Write(ctx, "failure "+string(key[:]), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_sign_in_failures (key, failed_at)
			VALUES (?, ?)`,
			key[:], now.UnixMicro())
		if err != nil {
			return err
		}
		f, err = failures(ctx, tx, key, since)
		return err
	})
	if err != nil {
		return oauth.Failures{}, refused("add failed sign-in", err)
	}
	return f, nil
}

// querier is a *sql.DB or *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func failures(ctx context.Context, db querier, key oauth.Hash, since time.Time) (oauth.Failures, error) {
	var count int
	var oldest sql.NullInt64
	err := db.QueryRowContext(ctx, `
		SELECT count(*), min(failed_at)
		FROM oauth_sign_in_failures
		WHERE key = ? AND failed_at > ?`,
		key[:], since.UnixMicro()).Scan(&count, &oldest)
	if err != nil || !oldest.Valid {
		return oauth.Failures{}, err
	}
	return oauth.Failures{Count: count, Oldest: timeOf(oldest.Int64)}, nil
}

var errText = errors.New("text is not UTF-8 or holds a NUL")

type scanner interface{ Scan(dest ...any) error }

func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// refused makes the domain's error of the database's, where it has one.
func refused(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", doing, oauth.ErrNotFound)
	}
	var sqliteErr *sqlite.Error
	if errors.As(err, &sqliteErr) {
		switch sqliteErr.Code() {
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return fmt.Errorf("%s: %w: %w", doing, oauth.ErrNotFound, err)
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return fmt.Errorf("%s: %w: %w", doing, oauth.ErrExists, err)
		}
	}
	return fmt.Errorf("%s: %w", doing, groupcommit.Mark(err, oauth.ErrUnavailable))
}
