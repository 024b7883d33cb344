// Package oauthsqlite keeps users, clients, grants and tokens in SQLite: it
// implements oauth.Store. One process works on one database.
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

// Store is an oauth.Store on SQLite. It may be used concurrently.
type Store struct {
	db *groupcommit.SQLite
}

var _ oauth.Store = (*Store)(nil)

// New makes a Store on db, which has the schema of deployments/migrations and is
// the caller's to close.
func New(db *groupcommit.SQLite) *Store { return &Store{db: db} }

// AddUser is documented at oauth.Store.
func (s *Store) AddUser(ctx context.Context, u oauth.User) (id int64, err error) {
	const insert = `
		INSERT INTO oauth_users (email, name, password_hash, created_at)
		VALUES (?, ?, ?, ?) RETURNING id`
	err = s.db.Write(ctx, "user", func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, insert, u.Email, u.Name, u.PasswordHash, micro(u.CreatedAt)).Scan(&id)
	})
	if err != nil {
		return 0, wrap(ctx, err, "add user")
	}
	return id, nil
}

const userColumns = `id, email, name, password_hash, created_at`

func scanUser(r row) (oauth.User, error) {
	var u oauth.User
	var createdAt int64
	err := r.Scan(&u.ID, &u.Email, &u.Name, &u.PasswordHash, &createdAt)
	u.CreatedAt = utc(createdAt)
	return u, err
}

// UserByEmail is documented at oauth.Store.
func (s *Store) UserByEmail(ctx context.Context, email string) (oauth.User, error) {
	const query = `SELECT ` + userColumns + ` FROM oauth_users WHERE email = ?`
	u, err := scanUser(s.db.Read().QueryRowContext(ctx, query, email))
	if err != nil {
		return oauth.User{}, wrap(ctx, err, "read user by e-mail")
	}
	return u, nil
}

// Users is documented at oauth.Store.
func (s *Store) Users(ctx context.Context, after int64, limit int) ([]oauth.User, error) {
	const query = `SELECT ` + userColumns + ` FROM oauth_users WHERE id > ? ORDER BY id LIMIT ?`
	rows, err := s.db.Read().QueryContext(ctx, query, after, bound(limit))
	users, err := collect(rows, err, scanUser)
	return users, wrap(ctx, err, "list users")
}

// AddClient is documented at oauth.Store.
func (s *Store) AddClient(ctx context.Context, c oauth.Client) error {
	const insert = `
		INSERT INTO oauth_clients (id, kind, name, owner_id, secret_hash, created_at)
		VALUES (?, ?, ?, ?, ?, ?)`
	err := s.db.Write(ctx, "client/"+c.ID, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, insert, c.ID, string(c.Kind), c.Name, c.OwnerID, c.SecretHash[:], micro(c.CreatedAt))
		return err
	})
	return wrap(ctx, err, "add client %s", c.ID)
}

const clientColumns = `id, kind, name, owner_id, secret_hash, created_at`

func scanClient(r row) (oauth.Client, error) {
	var c oauth.Client
	var secret []byte
	var createdAt int64
	if err := r.Scan(&c.ID, &c.Kind, &c.Name, &c.OwnerID, &secret, &createdAt); err != nil {
		return oauth.Client{}, err
	}
	c.CreatedAt = utc(createdAt)
	return c, fill(c.SecretHash[:], secret)
}

// Client is documented at oauth.Store.
func (s *Store) Client(ctx context.Context, id string) (oauth.Client, error) {
	const query = `SELECT ` + clientColumns + ` FROM oauth_clients WHERE id = ?`
	c, err := scanClient(s.db.Read().QueryRowContext(ctx, query, id))
	if err != nil {
		return oauth.Client{}, wrap(ctx, err, "read client")
	}
	return c, nil
}

// Clients is documented at oauth.Store.
func (s *Store) Clients(ctx context.Context, after string, limit int) ([]oauth.Client, error) {
	const query = `SELECT ` + clientColumns + ` FROM oauth_clients WHERE id > ? ORDER BY id LIMIT ?`
	rows, err := s.db.Read().QueryContext(ctx, query, after, bound(limit))
	clients, err := collect(rows, err, scanClient)
	return clients, wrap(ctx, err, "list clients")
}

// Access is documented at oauth.Store.
func (s *Store) Access(ctx context.Context, token oauth.Hash, now time.Time) (oauth.Access, error) {
	const query = `
		SELECT t.grant_id, t.expires_at, g.client_id, c.name, g.user_id, u.name
		FROM oauth_access_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = ? AND t.expires_at > ? AND g.revoked_at IS NULL`
	var a oauth.Access
	var expiresAt int64
	err := s.db.Read().QueryRowContext(ctx, query, token[:], micro(now)).
		Scan(&a.GrantID, &expiresAt, &a.ClientID, &a.ClientName, &a.UserID, &a.UserName)
	if err != nil {
		return oauth.Access{}, wrap(ctx, err, "read access token")
	}
	a.ExpiresAt = utc(expiresAt)
	return a, nil
}

// failuresCounted bounds a count of failures. Whoever asks refuses long before it.
const failuresCounted = 1000

const failuresQuery = `
	SELECT count(*), min(failed_at) FROM (
		SELECT failed_at FROM oauth_sign_in_failures WHERE key = ? AND failed_at > ?
		ORDER BY failed_at LIMIT ?
	)`

func scanFailures(r row) (oauth.Failures, error) {
	var f oauth.Failures
	var oldest sql.NullInt64
	err := r.Scan(&f.Count, &oldest)
	if oldest.Valid {
		f.Oldest = utc(oldest.Int64)
	}
	return f, err
}

// Failures is documented at oauth.Store.
func (s *Store) Failures(ctx context.Context, key oauth.Hash, since time.Time) (oauth.Failures, error) {
	f, err := scanFailures(s.db.Read().QueryRowContext(ctx, failuresQuery, key[:], micro(since), failuresCounted))
	return f, wrap(ctx, err, "count failed sign-ins")
}

// AddFailure is documented at oauth.Store.
func (s *Store) AddFailure(ctx context.Context, key oauth.Hash, now, since time.Time) (f oauth.Failures, err error) {
	const insert = `INSERT INTO oauth_sign_in_failures (key, failed_at) VALUES (?, ?)`
	err = s.db.Write(ctx, "failure", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, insert, key[:], micro(now)); err != nil {
			return err
		}
		f, err = scanFailures(tx.QueryRowContext(ctx, failuresQuery, key[:], micro(since), failuresCounted))
		return err
	})
	if err != nil {
		return oauth.Failures{}, wrap(ctx, err, "add failed sign-in")
	}
	return f, nil
}

// translate turns what SQLite says into the errors of the domain, where it has one
// for it. A statement that ctx interrupted is ctx's error.
func translate(ctx context.Context, err error) error {
	var refused *sqlite.Error
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return oauth.ErrNotFound
	case !errors.As(err, &refused):
		return err
	}
	switch refused.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%w: %w", oauth.ErrExists, err)
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fmt.Errorf("%w: %w", oauth.ErrNotFound, err)
	case sqlite3.SQLITE_INTERRUPT:
		return errors.Join(ctx.Err(), err)
	default:
		return err
	}
}

// wrap says what was being done when err came; nil stays nil.
func wrap(ctx context.Context, err error, doing string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(doing+": %w", append(args, translate(ctx, err))...)
}

// bound makes limit fit for LIMIT, which takes what is below 0 for no limit.
func bound(limit int) int { return max(limit, 0) }

func micro(t time.Time) int64 { return t.UnixMicro() }

func utc(us int64) time.Time { return time.UnixMicro(us).UTC() }

// fill copies a stored value of fixed length.
func fill(into, stored []byte) error {
	if len(stored) != len(into) {
		return fmt.Errorf("stored value has %d bytes instead of %d", len(stored), len(into))
	}
	copy(into, stored)
	return nil
}

// row is what a Row and Rows have in common.
type row interface{ Scan(dest ...any) error }

// collect reads all rows with scan.
func collect[T any](rows *sql.Rows, err error, scan func(row) (T, error)) (list []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close() // rows.Err has its error
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
