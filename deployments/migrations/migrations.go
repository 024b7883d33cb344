// Package migrations holds the schema of Foxbridge's database as numbered steps,
// the same in two dialects, and applies them. The steps of one number have one name
// and make tables with the same columns, in the types that each database has: a
// time is a timestamptz in PostgreSQL and a count of microseconds since 1970 in
// SQLite. Steps are only added; one that was released never changes.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/crc64"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite" // the driver sqlite
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// Dialect is a kind of database.
type Dialect string

// The dialects that there are steps for.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// SchemaError says that a database's schema is not the one that this program was
// written for.
type SchemaError struct {
	Have int64 // number of the last step that was applied; 0 in an empty database
	Want int64 // number of the last step that this program has
}

// Error says which of the two is older.
func (e *SchemaError) Error() string {
	if e.Have < e.Want {
		return fmt.Sprintf("database schema is at version %d, older than this program's %d: migrate it first, by the command migrate", e.Have, e.Want)
	}
	return fmt.Sprintf("database schema is at version %d, newer than this program's %d: run a newer program", e.Have, e.Want)
}

// Open opens a database for Apply and Check. dsn is the path of a file for SQLite,
// which is created for its owner alone if it does not exist, and a URL or keywords
// and values for PostgreSQL, where the settings of a pgxpool are allowed and have no
// effect. Nothing is connected yet.
func Open(d Dialect, dsn string) (*sql.DB, error) {
	switch d {
	case SQLite:
		return openSQLite(dsn)
	case Postgres:
		return openPostgres(dsn)
	default:
		return nil, fmt.Errorf("open database: no such dialect: %q", d)
	}
}

func openSQLite(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	// immediate: a step waits for another process's write instead of failing midway. NORMAL:
	// in the WAL mode of a bridge's file that loses, with the power, only whole steps, which
	// are then applied again; the first write after them makes them durable.
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)&_txlock=immediate")
}

func openPostgres(dsn string) (*sql.DB, error) {
	config, err := pgxpool.ParseConfig(dsn) // which knows a pool's settings from a server's
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return stdlib.OpenDB(*config.ConnConfig), nil
}

// Apply brings the schema up to date: the steps that are missing, each in a
// transaction of its own. If there are none it changes nothing. On PostgreSQL any
// number of programs may apply at once, to the first schema of their search_path: an
// advisory lock lets one do it while the others wait, 5 minutes at the most. A schema
// that is newer than this program is a *SchemaError and stays as it is.
func Apply(ctx context.Context, db *sql.DB, d Dialect) error {
	provider, err := newProvider(ctx, db, d)
	if err != nil {
		return fmt.Errorf("apply migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("apply migrations: %w", err)
	}
	return Check(ctx, db, d)
}

// Check compares the schema with the steps that this program has: a *SchemaError
// says that it is older or newer. It writes nothing.
func Check(ctx context.Context, db *sql.DB, d Dialect) error {
	want, err := latest(d)
	if err != nil {
		return fmt.Errorf("check schema: %w", err)
	}
	have, err := applied(ctx, db, d)
	if err != nil {
		return fmt.Errorf("check schema: %w", err)
	}
	if have != want {
		return &SchemaError{Have: have, Want: want}
	}
	return nil
}

func newProvider(ctx context.Context, db *sql.DB, d Dialect) (*goose.Provider, error) {
	steps, err := fs.Sub(files, string(d))
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	switch d {
	case SQLite:
		return goose.NewProvider(goose.DialectSQLite3, db, steps, options...)
	case Postgres:
		locker, err := newLocker(ctx, db)
		if err != nil {
			return nil, err
		}
		return goose.NewProvider(goose.DialectPostgres, db, steps, append(options, goose.WithSessionLocker(locker))...)
	default:
		return nil, fmt.Errorf("no such dialect: %q", d)
	}
}

// newLocker locks the schema that the tables go to. Advisory locks are the whole
// database's, so the schema's name makes the lock's number.
func newLocker(ctx context.Context, db *sql.DB) (lock.SessionLocker, error) {
	var schema sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return nil, fmt.Errorf("find schema: %w", err)
	}
	if !schema.Valid {
		return nil, errors.New("no schema of the search_path exists")
	}
	id := crc64.Checksum([]byte("foxbridge migrations of "+schema.String), crc64.MakeTable(crc64.ECMA))
	return lock.NewPostgresSessionLocker(lock.WithLockID(int64(id)), lock.WithLockTimeout(1, 300))
}

func latest(d Dialect) (int64, error) {
	names, err := fs.Glob(files, string(d)+"/*.sql")
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no such dialect: %q", d)
	}
	return goose.NumericComponent(names[len(names)-1]) // Glob sorts, and all numbers have three digits
}

// applied gives the number of the last step in the database, 0 if there is none.
// The queries are separate because naming a missing table is an error.
func applied(ctx context.Context, db *sql.DB, d Dialect) (version int64, err error) {
	query := "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'goose_db_version')"
	if d == Postgres {
		query = "SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'goose_db_version')"
	}
	var exists bool
	if err := db.QueryRowContext(ctx, query).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&version)
	return version, err
}
