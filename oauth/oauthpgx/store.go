// Package oauthpgx keeps users, clients, grants and tokens in PostgreSQL: it
// implements oauth.Store. Any number of bridges may work on one database.
package oauthpgx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
)

// Store is an oauth.Store on PostgreSQL. It may be used concurrently.
type Store struct {
	db *groupcommit.Postgres
}

var _ oauth.Store = (*Store)(nil)

// New makes a Store on db, which has the schema of deployments/migrations and is
// the caller's to close.
func New(db *groupcommit.Postgres) *Store { return &Store{db: db} }

// AddUser is documented at oauth.Store.
func (s *Store) AddUser(ctx context.Context, u oauth.User) (id int64, err error) {
	const insert = `
		INSERT INTO oauth_users (email, name, password_hash, created_at)
		VALUES ($1, $2, $3, $4) RETURNING id`
	err = s.db.Write(ctx, "user", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, insert, u.Email, u.Name, u.PasswordHash, u.CreatedAt).Scan(&id)
	})
	if err != nil {
		return 0, wrap(err, "add user")
	}
	return id, nil
}

const userColumns = `id, email, name, password_hash, created_at`

func scanUser(row pgx.Row) (oauth.User, error) {
	var u oauth.User
	err := row.Scan(&u.ID, &u.Email, &u.Name, &u.PasswordHash, &u.CreatedAt)
	u.CreatedAt = u.CreatedAt.UTC()
	return u, err
}

// UserByEmail is documented at oauth.Store.
func (s *Store) UserByEmail(ctx context.Context, email string) (oauth.User, error) {
	const query = `SELECT ` + userColumns + ` FROM oauth_users WHERE email = $1`
	if !storable(email) {
		return oauth.User{}, wrap(oauth.ErrNotFound, "read user by e-mail")
	}
	u, err := scanUser(s.db.Read().QueryRow(ctx, query, email))
	if err != nil {
		return oauth.User{}, wrap(err, "read user by e-mail")
	}
	return u, nil
}

// Users is documented at oauth.Store.
func (s *Store) Users(ctx context.Context, after int64, limit int) ([]oauth.User, error) {
	const query = `SELECT ` + userColumns + ` FROM oauth_users WHERE id > $1 ORDER BY id LIMIT $2`
	rows, err := s.db.Read().Query(ctx, query, after, bound(limit))
	users, err := collect(rows, err, scanUser)
	return users, wrap(err, "list users")
}

// AddClient is documented at oauth.Store.
func (s *Store) AddClient(ctx context.Context, c oauth.Client) error {
	const insert = `
		INSERT INTO oauth_clients (id, kind, name, owner_id, secret_hash, created_at)
		VALUES ($1, $2, $3, $4, $5, $6)`
	err := s.db.Write(ctx, "client/"+c.ID, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insert, c.ID, string(c.Kind), c.Name, c.OwnerID, c.SecretHash[:], c.CreatedAt)
		return err
	})
	return wrap(err, "add client %s", c.ID)
}

const clientColumns = `id, kind, name, owner_id, secret_hash, created_at`

func scanClient(row pgx.Row) (oauth.Client, error) {
	var c oauth.Client
	var secret []byte
	if err := row.Scan(&c.ID, (*string)(&c.Kind), &c.Name, &c.OwnerID, &secret, &c.CreatedAt); err != nil {
		return oauth.Client{}, err
	}
	c.CreatedAt = c.CreatedAt.UTC()
	return c, fill(c.SecretHash[:], secret)
}

// Client is documented at oauth.Store.
func (s *Store) Client(ctx context.Context, id string) (oauth.Client, error) {
	const query = `SELECT ` + clientColumns + ` FROM oauth_clients WHERE id = $1`
	if !storable(id) {
		return oauth.Client{}, wrap(oauth.ErrNotFound, "read client")
	}
	c, err := scanClient(s.db.Read().QueryRow(ctx, query, id))
	if err != nil {
		return oauth.Client{}, wrap(err, "read client")
	}
	return c, nil
}

// Clients is documented at oauth.Store.
func (s *Store) Clients(ctx context.Context, after string, limit int) ([]oauth.Client, error) {
	const query = `SELECT ` + clientColumns + ` FROM oauth_clients WHERE id > $1 ORDER BY id LIMIT $2`
	rows, err := s.db.Read().Query(ctx, query, after, bound(limit))
	clients, err := collect(rows, err, scanClient)
	return clients, wrap(err, "list clients")
}

// Access is documented at oauth.Store.
func (s *Store) Access(ctx context.Context, token oauth.Hash, now time.Time) (oauth.Access, error) {
	const query = `
		SELECT t.grant_id, t.expires_at, g.client_id, c.name, g.user_id, u.name
		FROM oauth_access_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = $1 AND t.expires_at > $2 AND g.revoked_at IS NULL`
	var a oauth.Access
	err := s.db.Read().QueryRow(ctx, query, token[:], now).
		Scan(&a.GrantID, &a.ExpiresAt, &a.ClientID, &a.ClientName, &a.UserID, &a.UserName)
	if err != nil {
		return oauth.Access{}, wrap(err, "read access token")
	}
	a.ExpiresAt = a.ExpiresAt.UTC()
	return a, nil
}

// failuresCounted bounds a count of failures. Whoever asks refuses long before it.
const failuresCounted = 1000

const failuresQuery = `
	SELECT count(*), min(failed_at) FROM (
		SELECT failed_at FROM oauth_sign_in_failures WHERE key = $1 AND failed_at > $2
		ORDER BY failed_at LIMIT $3
	) AS counted`

func scanFailures(row pgx.Row) (oauth.Failures, error) {
	var f oauth.Failures
	var oldest pgtype.Timestamptz
	err := row.Scan(&f.Count, &oldest)
	if oldest.Valid {
		f.Oldest = oldest.Time.UTC()
	}
	return f, err
}

// Failures is documented at oauth.Store.
func (s *Store) Failures(ctx context.Context, key oauth.Hash, since time.Time) (oauth.Failures, error) {
	f, err := scanFailures(s.db.Read().QueryRow(ctx, failuresQuery, key[:], since, failuresCounted))
	return f, wrap(err, "count failed sign-ins")
}

// AddFailure is documented at oauth.Store.
func (s *Store) AddFailure(ctx context.Context, key oauth.Hash, now, since time.Time) (f oauth.Failures, err error) {
	const insert = `INSERT INTO oauth_sign_in_failures (key, failed_at) VALUES ($1, $2)`
	// Failures of one key go one by one, on all bridges, so that each is counted.
	const lock = `SELECT pg_advisory_xact_lock(('x' || encode(substring($1::bytea FROM 1 FOR 8), 'hex'))::bit(64)::bigint)`
	err = s.db.Write(ctx, fmt.Sprintf("failure/%x", key), func(ctx context.Context, tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(lock, key[:])
		batch.Queue(insert, key[:], now)
		batch.Queue(failuresQuery, key[:], since, failuresCounted)
		results := tx.SendBatch(ctx, batch)
		defer results.Close()
		for range 2 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		var err error
		f, err = scanFailures(results.QueryRow())
		return errors.Join(err, results.Close())
	})
	if err != nil {
		return oauth.Failures{}, wrap(err, "add failed sign-in")
	}
	return f, nil
}

// translate turns what PostgreSQL says into the errors of the domain, where it has
// one for it.
func translate(err error) error {
	var refused *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return oauth.ErrNotFound
	case !errors.As(err, &refused):
		return err
	case refused.Code == "23505": // unique_violation
		return fmt.Errorf("%w: %s", oauth.ErrExists, refused.ConstraintName)
	case refused.Code == "23503": // foreign_key_violation
		return fmt.Errorf("%w: %s", oauth.ErrNotFound, refused.ConstraintName)
	default:
		return err
	}
}

// wrap says what was being done when err came; nil stays nil.
func wrap(err error, doing string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(doing+": %w", append(args, translate(err))...)
}

// storable reports whether s can be in a text column, which takes neither NUL nor
// invalid UTF-8. No row has a name that is not.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// bound makes limit fit for LIMIT, which takes nothing below 0.
func bound(limit int) int { return max(limit, 0) }

// fill copies a stored value of fixed length.
func fill(into, stored []byte) error {
	if len(stored) != len(into) {
		return fmt.Errorf("stored value has %d bytes instead of %d", len(stored), len(into))
	}
	copy(into, stored)
	return nil
}

// collect reads all rows with scan.
func collect[T any](rows pgx.Rows, err error, scan func(pgx.Row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) { return scan(row) })
}
