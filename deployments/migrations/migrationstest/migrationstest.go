// Package migrationstest gives a test a database of its own, with the schema in
// place.
package migrationstest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// server is the environment variable with the URL of a PostgreSQL server for tests.
const server = "TEST_FOXBRIDGE_POSTGRES"

// SQLite gives a database in a fresh file. It is closed when t ends.
func SQLite(t testing.TB) *groupcommit.SQLite {
	t.Helper()
	return SQLites(t)(t)
}

// SQLites gives what SQLite gives, again and again: each file is a copy of one that
// has the schema, which takes much less time than to migrate each.
func SQLites(t testing.TB) func(t testing.TB) *groupcommit.SQLite {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foxbridge.db")
	apply(t, migrations.SQLite, path)
	migrated, err := os.ReadFile(path)
	require.NoError(t, err)
	return func(t testing.TB) *groupcommit.SQLite {
		t.Helper()
		path := filepath.Join(t.TempDir(), "foxbridge.db")
		require.NoError(t, os.WriteFile(path, migrated, 0o600))
		db, err := groupcommit.OpenSQLite(t.Context(), path, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
}

// Postgres gives a database whose search_path is a fresh schema on the server at
// $TEST_FOXBRIDGE_POSTGRES. It is closed, and the schema dropped, when t ends. Without
// that variable t is skipped, but fails if $CI is set.
func Postgres(t testing.TB) *groupcommit.Postgres {
	t.Helper()
	dsn := PostgresDSN(t)
	apply(t, migrations.Postgres, dsn)
	db, err := groupcommit.OpenPostgres(t.Context(), dsn, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// PostgresDSN gives a DSN, for a pool, whose search_path is a fresh schema without
// any table. It is dropped when t ends. The server, and its absence, are as for Postgres.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	dsn, err := url.Parse(serverURL(t))
	require.NoErrorf(t, err, "parse $%s", server)

	schema := "test_" + strings.ToLower(rand.Text())
	admin(t, t.Context(), dsn.String(), "CREATE SCHEMA "+schema)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // t's has ended
		defer cancel()
		admin(t, ctx, dsn.String(), "DROP SCHEMA "+schema+" CASCADE")
	})

	own := *dsn
	query := own.Query()
	query.Set("search_path", schema)
	query.Set("pool_max_conns", "4") // many tests share the server's connections
	own.RawQuery = query.Encode()
	return own.String()
}

func serverURL(t testing.TB) string {
	t.Helper()
	if dsn := os.Getenv(server); dsn != "" {
		return dsn
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("NO POSTGRESQL: $%s is not set, and $CI is: run the tests through .ci/with-postgres", server)
	}
	t.Skipf("NOT TESTED ON POSTGRESQL: $%s is not set: run the tests through .ci/with-postgres", server)
	return ""
}

func apply(t testing.TB, d migrations.Dialect, dsn string) {
	t.Helper()
	db, err := migrations.Open(d, dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, migrations.Apply(t.Context(), db, d))
}

func admin(t testing.TB, ctx context.Context, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoErrorf(t, err, "connect to $%s", server)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	require.NoError(t, err)
}
