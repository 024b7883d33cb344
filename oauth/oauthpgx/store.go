// Package oauthpgx keeps the record of package oauth in PostgreSQL.
package oauthpgx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
)

// Store is an oauth.Store. Any number of processes may have one on the same database.
type Store struct{ db *groupcommit.Postgres }

var _ oauth.Store = (*Store)(nil)

// New returns the Store in db, which has the schema of package migrations.
func New(db *groupcommit.Postgres) *Store { return &Store{db: db} }

// AddUser implements oauth.Store.
func (s *Store) AddUser(ctx context.Context, u oauth.User) (int64, error) {
	var id int64
	found, err := s.write(ctx, "user "+u.Email, []any{&id}, `
		INSERT INTO oauth_users (email, name, password_hash, created_at)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (email) DO NOTHING
		RETURNING id`,
		u.Email, u.Name, u.PasswordHash, u.CreatedAt)
	if err != nil {
		return 0, refused("add user", err)
	}
	if !found {
		return 0, fmt.Errorf("add user: %w", oauth.ErrExists)
	}
	return id, nil
}

const selectUsers = `SELECT id, email, name, password_hash, created_at, operator, app_passwords_only, disabled_at FROM oauth_users`

// UserByEmail implements oauth.Store.
func (s *Store) UserByEmail(ctx context.Context, email string) (oauth.User, error) {
	u, err := scanUser(s.db.Read().QueryRow(ctx, selectUsers+` WHERE email = $1`, email))
	return u, missing("find user", err)
}

// User implements oauth.Store.
func (s *Store) User(ctx context.Context, id int64) (oauth.User, error) {
	u, err := scanUser(s.db.Read().QueryRow(ctx, selectUsers+` WHERE id = $1`, id))
	return u, missing("find user", err)
}

// Users implements oauth.Store.
func (s *Store) Users(ctx context.Context, after int64, limit int) ([]oauth.User, error) {
	rows, _ := s.db.Read().Query(ctx, selectUsers+` WHERE id > $1 ORDER BY id LIMIT $2`, after, max(0, limit))
	users, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (oauth.User, error) { return scanUser(row) })
	return users, refused("list users", err)
}

func scanUser(row pgx.Row) (u oauth.User, err error) {
	var disabled *time.Time
	if err := row.Scan(&u.ID, &u.Email, &u.Name, &u.PasswordHash, &u.CreatedAt, &u.Operator, &u.AppPasswordsOnly, &disabled); err != nil {
		return oauth.User{}, err
	}
	u.CreatedAt, u.DisabledAt = u.CreatedAt.UTC(), stored(disabled)
	return u, nil
}

// AddSession implements oauth.Store.
func (s *Store) AddSession(ctx context.Context, session oauth.Session, changes ...oauth.Change) error {
	if session.Proof != (oauth.Proof{}) {
		return s.addProven(ctx, session, changes)
	}
	var user int64
	found, err := s.write(ctx, "session "+string(session.Hash[:]), []any{&user}, `
		WITH changed AS (
			INSERT INTO oauth_sessions (hash, user_id, created_at, expires_at)
			VALUES ($1, $2, $3, $4)
			ON CONFLICT (hash) DO NOTHING
			RETURNING user_id
		), noted AS (`+noting(5)+`)
		SELECT user_id FROM changed`,
		append([]any{session.Hash[:], session.UserID, session.CreatedAt, session.ExpiresAt}, notes(changes)...)...)
	return foundOr(oauth.ErrExists, "add session", found, err)
}

// addProven is AddSession of one that holds only while its proof does.
func (s *Store) addProven(ctx context.Context, session oauth.Session, changes []oauth.Change) error {
	err := s.db.Write(ctx, "session "+string(session.Hash[:]), func(ctx context.Context, tx pgx.Tx) error {
		if err := proven(ctx, tx, session.UserID, session.Proof); err != nil {
			return err
		}
		if err := insertSession(ctx, tx, session); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return missing("add session", err)
}

// proven is pgx.ErrNoRows of a proof that does not hold any more. The user's row stays
// locked against a change of password: that one is waited for, or waits and then sees
// what came of the proof. The app password is looked for once that is so.
func proven(ctx context.Context, tx pgx.Tx, userID int64, p oauth.Proof) error {
	if err := changedOne(tx.Exec(ctx, `
		SELECT FROM oauth_users WHERE id = $1 AND ($2 = '' OR password_hash = $2) FOR SHARE`,
		userID, p.PasswordHash)); err != nil || p.AppPassword == 0 {
		return err
	}
	return changedOne(tx.Exec(ctx, `SELECT FROM oauth_app_passwords WHERE id = $1`, p.AppPassword))
}

func insertSession(ctx context.Context, tx pgx.Tx, session oauth.Session) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO oauth_sessions (hash, user_id, created_at, expires_at)
		VALUES ($1, $2, $3, $4)`,
		session.Hash[:], session.UserID, session.CreatedAt, session.ExpiresAt)
	return err
}

// Session implements oauth.Store.
func (s *Store) Session(ctx context.Context, session oauth.Hash, now time.Time) (oauth.User, error) {
	u, err := scanUser(s.db.Read().QueryRow(ctx, selectUsers+`
		WHERE id = (SELECT user_id FROM oauth_sessions WHERE hash = $1 AND expires_at > $2) AND disabled_at IS NULL`,
		session[:], now))
	return u, missing("find session", err)
}

// EndSession implements oauth.Store.
func (s *Store) EndSession(ctx context.Context, session oauth.Hash) error {
	b := &pgx.Batch{}
	b.Queue(`DELETE FROM oauth_sessions WHERE hash = $1`, session[:])
	return refused("end session", s.db.WriteBatch(ctx, "session "+string(session[:]), b))
}

const countFailures = `
	SELECT count(*), min(failed_at)
	FROM oauth_sign_in_failures
	WHERE key = $1 AND failed_at > $2`

// Failures implements oauth.Store.
func (s *Store) Failures(ctx context.Context, key oauth.Hash, since time.Time) (oauth.Failures, error) {
	var count int
	var oldest *time.Time
	err := s.db.Read().QueryRow(ctx, countFailures, key[:], since).Scan(&count, &oldest)
	if err != nil {
		return oauth.Failures{}, refused("count failed sign-ins", err)
	}
	return failures(count, oldest), nil
}

// AddFailure implements oauth.Store. Failures of one key are added one after the
// other, whatever process they come from, so that each has a count of its own.
func (s *Store) AddFailure(ctx context.Context, key oauth.Hash, now, since time.Time) (oauth.Failures, error) {
	var count int
	var oldest *time.Time
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_advisory_xact_lock($1)`, int64(binary.BigEndian.Uint64(key[:])))
	b.Queue(`INSERT INTO oauth_sign_in_failures (key, failed_at) VALUES ($1, $2)`, key[:], now)
	b.Queue(countFailures, key[:], since).QueryRow(func(row pgx.Row) error { return row.Scan(&count, &oldest) })
	if err := s.db.WriteBatch(ctx, "failure "+string(key[:]), b); err != nil {
		return oauth.Failures{}, refused("add failed sign-in", err)
	}
	return failures(count, oldest), nil
}

func failures(count int, oldest *time.Time) oauth.Failures {
	f := oauth.Failures{Count: count}
	if oldest != nil {
		f.Oldest = oldest.UTC()
	}
	return f
}

// write runs one statement that writes, and reports whether it returned a row, which
// it scans into dest. Finding none is no error of the statement, so that the writes
// that share its commit are not disturbed.
func (s *Store) write(ctx context.Context, key string, dest []any, sql string, args ...any) (bool, error) {
	var found bool
	b := &pgx.Batch{}
	b.Queue(sql, args...).QueryRow(oneOrNone(&found, dest...))
	if err := s.db.WriteBatch(ctx, key, b); err != nil {
		return false, err // the batch may be running still, and found with it
	}
	return found, nil
}

// oneOrNone takes up the row of a statement that returns one or none.
func oneOrNone(found *bool, dest ...any) func(pgx.Row) error {
	return func(row pgx.Row) error {
		err := row.Scan(dest...)
		*found = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	}
}

// Codes of PostgreSQL (Appendix A of its manual).
const (
	foreignKeyViolation      = "23503"
	uniqueViolation          = "23505"
	characterNotInRepertoire = "22021" // text with a NUL, or not in UTF-8
)

// refused makes the domain's error of the database's, where it has one.
func refused(doing string, err error) error {
	if err == nil {
		return nil
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch pgErr.Code {
		case foreignKeyViolation:
			return fmt.Errorf("%s: %w: %w", doing, oauth.ErrNotFound, err)
		case uniqueViolation:
			return fmt.Errorf("%s: %w: %w", doing, oauth.ErrExists, err)
		}
	}
	return fmt.Errorf("%s: %w", doing, groupcommit.Mark(err, oauth.ErrUnavailable))
}

// missing is refused for what looks for a row: text that no row can hold finds none.
func missing(doing string, err error) error {
	var pgErr *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) || errors.As(err, &pgErr) && pgErr.Code == characterNotInRepertoire {
		return fmt.Errorf("%s: %w", doing, oauth.ErrNotFound)
	}
	return refused(doing, err)
}

// foundOr is the error of a write that may find nothing to change, which is otherwise.
// Text that no row can hold finds nothing.
func foundOr(otherwise error, doing string, found bool, err error) error {
	if err == nil && !found {
		return fmt.Errorf("%s: %w", doing, otherwise)
	}
	return missing(doing, err)
}
