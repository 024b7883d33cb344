package migrations_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
)

// onBoth runs test on an empty database of each dialect, which is at dsn. open opens
// it once more.
func onBoth(t *testing.T, test func(t *testing.T, d migrations.Dialect, dsn string, open func() *sql.DB)) {
	t.Parallel()
	for _, d := range []migrations.Dialect{migrations.SQLite, migrations.Postgres} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			dsn := filepath.Join(t.TempDir(), "test.db")
			if d == migrations.Postgres {
				dsn = migrationstest.PostgresDSN(t)
			}
			test(t, d, dsn, func() *sql.DB {
				db, err := migrations.Open(d, dsn)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, db.Close()) })
				return db
			})
		})
	}
}

func requireSchema(t *testing.T, err error) *migrations.SchemaError {
	t.Helper()
	var schema *migrations.SchemaError
	require.ErrorAs(t, err, &schema)
	return schema
}

func TestDialectsHaveTheSameSteps(t *testing.T) {
	t.Parallel()
	sqlite, err := fs.Glob(os.DirFS("sqlite"), "*")
	require.NoError(t, err)
	postgres, err := fs.Glob(os.DirFS("postgres"), "*")
	require.NoError(t, err)
	require.Equal(t, sqlite, postgres)
	for i, name := range sqlite {
		require.Regexp(t, regexp.MustCompile(`^\d{3}_[a-z_]+\.sql$`), name)
		require.Equal(t, i+1, int(name[0]-'0')*100+int(name[1]-'0')*10+int(name[2]-'0'), "numbers have no gap")
	}
}

func TestApplyThenCheck(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, _ string, open func() *sql.DB) {
		db := open()
		require.NoError(t, migrations.Apply(t.Context(), db, d))
		require.NoError(t, migrations.Check(t.Context(), db, d))
	})
}

func TestApplyAgainChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, _ string, open func() *sql.DB) {
		db := open()
		require.NoError(t, migrations.Apply(t.Context(), db, d))
		before, steps := columns(t, db, d), history(t, db)
		for range 2 {
			require.NoError(t, migrations.Apply(t.Context(), db, d))
		}
		require.Equal(t, before, columns(t, db, d))
		require.Equal(t, steps, history(t, db))
	})
}

func TestApplyByManyAtOnceOnPostgres(t *testing.T) {
	t.Parallel()
	dsn := migrationstest.PostgresDSN(t)
	open := func() *sql.DB {
		db, err := migrations.Open(migrations.Postgres, dsn)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	var group sync.WaitGroup
	for range 4 {
		db := open()
		group.Go(func() {
			if err := migrations.Apply(t.Context(), db, migrations.Postgres); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	db := open()
	require.NoError(t, migrations.Check(t.Context(), db, migrations.Postgres))
	steps, err := fs.Glob(os.DirFS("postgres"), "*")
	require.NoError(t, err)
	require.Len(t, history(t, db), 1+len(steps), "goose's own step 0, and each other once")
}

func TestCheckOfEmptyDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, _ string, open func() *sql.DB) {
		db := open()
		schema := requireSchema(t, migrations.Check(t.Context(), db, d))
		require.Zero(t, schema.Have)
		require.Positive(t, schema.Want)
		require.ErrorContains(t, schema, "older")
		require.Empty(t, columns(t, db, d), "it writes nothing")
	})
}

func TestCheckOfOlderSchema(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, _ string, open func() *sql.DB) {
		db := open()
		require.NoError(t, migrations.Apply(t.Context(), db, d))
		exec(t, db, "DELETE FROM goose_db_version WHERE version_id > 1")
		schema := requireSchema(t, migrations.Check(t.Context(), db, d))
		require.EqualValues(t, 1, schema.Have)
		require.ErrorContains(t, schema, "older")
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, _ string, open func() *sql.DB) {
		db := open()
		require.NoError(t, migrations.Apply(t.Context(), db, d))
		insert := map[migrations.Dialect]string{
			migrations.SQLite:   "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)",
			migrations.Postgres: "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)",
		}
		exec(t, db, insert[d])
		before := columns(t, db, d)
		for _, err := range []error{migrations.Check(t.Context(), db, d), migrations.Apply(t.Context(), db, d)} {
			schema := requireSchema(t, err)
			require.EqualValues(t, 999, schema.Have)
			require.Less(t, schema.Want, schema.Have)
			require.ErrorContains(t, schema, "newer")
		}
		require.Equal(t, before, columns(t, db, d))
	})
}

func TestUnknownDialect(t *testing.T) {
	t.Parallel()
	_, err := migrations.Open("oracle", "x")
	require.ErrorContains(t, err, "oracle")
	db, err := migrations.Open(migrations.SQLite, filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	defer db.Close()
	require.ErrorContains(t, migrations.Apply(t.Context(), db, "oracle"), "oracle")
	require.ErrorContains(t, migrations.Check(t.Context(), db, "oracle"), "oracle")
}

func TestSQLiteFileIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?#%.db")
	db, err := migrations.Open(migrations.SQLite, path)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, migrations.Apply(t.Context(), db, migrations.SQLite))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestUnreachableDatabase(t *testing.T) {
	t.Parallel()
	_, err := migrations.Open(migrations.SQLite, filepath.Join(t.TempDir(), "missing", "test.db"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	db, err := migrations.Open(migrations.Postgres, "postgres://nobody@127.0.0.1:1/none?connect_timeout=1")
	require.NoError(t, err)
	defer db.Close()
	for _, err := range []error{
		migrations.Apply(t.Context(), db, migrations.Postgres),
		migrations.Check(t.Context(), db, migrations.Postgres),
	} {
		require.Error(t, err)
		require.False(t, errors.As(err, new(*migrations.SchemaError)))
	}
}

func TestErrorsDoNotTellThePassword(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://user:swordfish@127.0.0.1:no-port/db",
		"user=user password=swordfish port=no-port",
	} {
		_, err := migrations.Open(migrations.Postgres, dsn)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "swordfish")
	}
}

// column is what both dialects must agree on.
type column struct {
	Nullable bool
	Type     string // in the words of this test
}

func TestDialectsMakeTheSameTables(t *testing.T) {
	t.Parallel()
	sqlite, err := migrations.Open(migrations.SQLite, filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sqlite.Close()) })
	require.NoError(t, migrations.Apply(t.Context(), sqlite, migrations.SQLite))

	postgres, err := migrations.Open(migrations.Postgres, migrationstest.PostgresDSN(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, postgres.Close()) })
	require.NoError(t, migrations.Apply(t.Context(), postgres, migrations.Postgres))

	want, got := columns(t, postgres, migrations.Postgres), columns(t, sqlite, migrations.SQLite)
	delete(got, "thing_ids.only") // SQLite has no sequences: PostgreSQL's thing_ids is one
	delete(got, "thing_ids.last")
	maps.DeleteFunc(want, func(name string, _ column) bool { return strings.HasPrefix(name, "limits.") }) // shared limits are PostgreSQL's alone
	require.Contains(t, want, "oauth_users.email")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-PostgreSQL +SQLite)\n%s", diff)
	}
	shared := slices.DeleteFunc(indexes(t, postgres, migrations.Postgres), func(line string) bool { return strings.Contains(line, " ON limits ") })
	if diff := cmp.Diff(shared, indexes(t, sqlite, migrations.SQLite)); diff != "" {
		t.Errorf("indexes (-PostgreSQL +SQLite)\n%s", diff)
	}
	if diff := cmp.Diff(references(t, postgres, migrations.Postgres), references(t, sqlite, migrations.SQLite)); diff != "" {
		t.Errorf("foreign keys (-PostgreSQL +SQLite)\n%s", diff)
	}
	for _, table := range list(t, sqlite, `SELECT name FROM pragma_table_list
		WHERE schema = 'main' AND type = 'table' AND NOT strict AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name <> 'goose_db_version'`) {
		t.Errorf("table %s is not STRICT", table)
	}
}

// columns describes the tables of the schema as "table.column".
func columns(t *testing.T, db *sql.DB, d migrations.Dialect) map[string]column {
	t.Helper()
	query := `SELECT m.name, p.name, NOT p."notnull" AND NOT (p.pk AND p.type = 'INTEGER'), p.type
		FROM sqlite_schema m JOIN pragma_table_info(m.name) p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND m.name <> 'goose_db_version'`
	if d == migrations.Postgres {
		query = `SELECT table_name, column_name, is_nullable = 'YES', data_type
			FROM information_schema.columns
			WHERE table_schema = current_schema() AND table_name <> 'goose_db_version'`
	}
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	all := map[string]column{}
	for rows.Next() {
		var table, name, typ string
		var c column
		require.NoError(t, rows.Scan(&table, &name, &c.Nullable, &typ))
		c.Type = kind(t, typ)
		all[table+"."+name] = c
	}
	require.NoError(t, rows.Err())
	return all
}

// kind gives the word for a type that both dialects share.
func kind(t *testing.T, typ string) string {
	t.Helper()
	switch typ {
	case "TEXT", "text", "uuid", "json", "jsonb", "ARRAY": // SQLite has an array as JSON
		return "text"
	case "REAL", "double precision":
		return "real"
	case "BLOB", "bytea":
		return "bytes"
	case "INTEGER", "bigint", "integer", "smallint", "boolean", "timestamp with time zone":
		return "number"
	}
	t.Errorf("a type that is not agreed on: %s", typ)
	return typ
}

// indexes lists the named indexes with the table and columns they are on.
func indexes(t *testing.T, db *sql.DB, d migrations.Dialect) []string {
	t.Helper()
	query := `SELECT i.name || ' ON ' || i.tbl_name || ' (' || group_concat(c.name, ', ') || ')' AS line
		FROM sqlite_schema i JOIN pragma_index_info(i.name) c
		WHERE i.type = 'index' AND i.sql IS NOT NULL
		GROUP BY i.name ORDER BY line`
	if d == migrations.Postgres {
		query = `SELECT c.relname || ' ON ' || t.relname || ' (' || string_agg(a.attname, ', ' ORDER BY k.place) || ')' COLLATE "C" AS line
			FROM pg_index i
			JOIN pg_class c ON c.oid = i.indexrelid
			JOIN pg_class t ON t.oid = i.indrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace
			CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
			JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum
			WHERE n.nspname = current_schema() AND t.relname <> 'goose_db_version'
				AND NOT EXISTS (SELECT FROM pg_constraint s WHERE s.conindid = c.oid AND s.contype IN ('p', 'u'))
			GROUP BY c.relname, t.relname ORDER BY line`
	}
	return list(t, db, query)
}

// references lists the foreign keys.
func references(t *testing.T, db *sql.DB, d migrations.Dialect) []string {
	t.Helper()
	query := `SELECT m.name || '.' || group_concat(f."from", ',') || ' to ' || f."table" AS line
		FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f
		WHERE m.type = 'table'
		GROUP BY m.name, f.id ORDER BY line`
	if d == migrations.Postgres {
		query = `SELECT t.relname || '.' || string_agg(a.attname, ',' ORDER BY k.place) || ' to ' || r.relname COLLATE "C" AS line
			FROM pg_constraint s
			JOIN pg_class t ON t.oid = s.conrelid
			JOIN pg_class r ON r.oid = s.confrelid
			JOIN pg_namespace n ON n.oid = t.relnamespace
			CROSS JOIN LATERAL unnest(s.conkey) WITH ORDINALITY AS k (attnum, place)
			JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum
			WHERE s.contype = 'f' AND n.nspname = current_schema()
			GROUP BY s.oid, t.relname, r.relname ORDER BY line`
	}
	return list(t, db, query)
}

func list(t *testing.T, db *sql.DB, query string) (lines []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	return lines
}

// history lists the steps that were applied.
func history(t *testing.T, db *sql.DB) []string {
	t.Helper()
	return list(t, db, "SELECT CAST(version_id AS text) FROM goose_db_version ORDER BY id")
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query)
	require.NoError(t, err)
}
