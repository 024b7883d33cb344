package groupcommit_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// onOne gives a transaction for reading: all that is asked of it goes to one connection.
func onOne(t testing.TB, statements ...string) (*groupcommit.SQLite, *sql.Tx) {
	t.Helper()
	db, err := groupcommit.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "test.db"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, s := range statements {
		require.NoError(t, write(t, db, s))
	}
	tx, err := db.Read().BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() }) // sql.ErrTxDone if the test has ended it
	return db, tx
}

func write(t testing.TB, db *groupcommit.SQLite, statement string, args ...any) error {
	t.Helper()
	return db.Write(t.Context(), "", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
}

func TestAStatementRunsWhileItsRowsAreRead(t *testing.T) {
	t.Parallel()
	_, tx := onOne(t, "CREATE TABLE n (n integer PRIMARY KEY)", "INSERT INTO n VALUES (1), (2), (3)")
	const above = "SELECT n FROM n WHERE n > ? ORDER BY n"
	rows, err := tx.QueryContext(t.Context(), above, 0)
	require.NoError(t, err)
	defer rows.Close()
	var pairs []string
	for rows.Next() {
		var outer int
		require.NoError(t, rows.Scan(&outer))
		pairs = append(pairs, fmt.Sprint(outer, numbers(t, tx, above, outer)))
	}
	require.NoError(t, rows.Err())
	require.Equal(t, []string{"1 [2 3]", "2 [3]", "3 []"}, pairs)
}

func numbers(t testing.TB, tx *sql.Tx, query string, args ...any) (list []int) {
	t.Helper()
	rows, err := tx.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var n int
		require.NoError(t, rows.Scan(&n))
		list = append(list, n)
	}
	require.NoError(t, rows.Err())
	return list
}

func TestMoreStatementsThanAreKept(t *testing.T) {
	t.Parallel()
	_, tx := onOne(t)
	for range 2 {
		for i := range 600 {
			var got int
			require.NoError(t, tx.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %d + ?", i), 1).Scan(&got))
			require.Equal(t, i+1, got)
		}
	}
}

func TestAStatementOutlivesAChangeOfTheSchema(t *testing.T) {
	t.Parallel()
	db, tx := onOne(t, "CREATE TABLE n (n integer PRIMARY KEY)", "INSERT INTO n VALUES (1)")
	require.NoError(t, tx.Rollback())
	columns := func() []string {
		rows, err := db.Read().QueryContext(t.Context(), "SELECT * FROM n")
		require.NoError(t, err)
		defer rows.Close()
		names, err := rows.Columns()
		require.NoError(t, err)
		require.NoError(t, rows.Err())
		return names
	}
	require.Equal(t, []string{"n"}, columns())
	require.NoError(t, write(t, db, "ALTER TABLE n ADD COLUMN more text"))
	require.Equal(t, []string{"n", "more"}, columns())
	require.NoError(t, write(t, db, "DROP TABLE n"))
	require.ErrorContains(t, db.Read().QueryRowContext(t.Context(), "SELECT * FROM n").Scan(), "no such table")
}

// A statement that was refused or interrupted can be run again.
func TestAStatementOutlivesItsErrors(t *testing.T) {
	t.Parallel()
	db, tx := onOne(t, "CREATE TABLE n (n integer PRIMARY KEY)")
	const insert = "INSERT INTO n VALUES (?)"
	require.NoError(t, write(t, db, insert, 1))
	require.ErrorContains(t, write(t, db, insert, 1), "UNIQUE")
	require.NoError(t, write(t, db, insert, 2))

	const many = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT count(*) FROM c"
	ended, end := context.WithCancel(t.Context())
	end()
	var n int
	require.ErrorIs(t, tx.QueryRowContext(ended, many, 10).Scan(&n), context.Canceled)
	require.NoError(t, tx.QueryRowContext(t.Context(), many, 10).Scan(&n))
	require.Equal(t, 10, n)
}

func BenchmarkSQLiteRead(b *testing.B) {
	db, tx := onOne(b, "CREATE TABLE n (n integer PRIMARY KEY, text text NOT NULL)", "INSERT INTO n VALUES (1, 'one'), (2, 'two')")
	require.NoError(b, tx.Rollback())
	b.ReportAllocs()
	for b.Loop() {
		var text string
		if err := db.Read().QueryRowContext(b.Context(), "SELECT text FROM n WHERE n = ?", 2).Scan(&text); err != nil {
			b.Fatal(err)
		}
	}
}
