package groupcommit_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

func TestSQLiteConnectionsHaveTheirPragmas(t *testing.T) {
	t.Parallel()
	db, err := groupcommit.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "test.db"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })

	pragmas := func(query func(context.Context, string, ...any) *sql.Row) map[string]string {
		values := map[string]string{}
		for _, name := range []string{"journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only"} {
			var value string
			require.NoError(t, query(t.Context(), "PRAGMA "+name).Scan(&value))
			values[name] = value
		}
		return values
	}
	var writer map[string]string
	require.NoError(t, db.Write(t.Context(), "", func(_ context.Context, tx *sql.Tx) error {
		writer = pragmas(tx.QueryRowContext)
		return nil
	}))
	const full = "2"
	require.Equal(t, map[string]string{
		"journal_mode": "wal", "synchronous": full, "foreign_keys": "1", "busy_timeout": "5000", "query_only": "0",
	}, writer)
	for range 3 { // each holds its connection
		conn, err := db.Read().Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		require.Equal(t, map[string]string{
			"journal_mode": "wal", "synchronous": full, "foreign_keys": "1", "busy_timeout": "5000", "query_only": "1",
		}, pragmas(conn.QueryRowContext))
	}
	_, err = db.Read().ExecContext(t.Context(), "CREATE TABLE t (id INTEGER)")
	require.ErrorContains(t, err, "readonly")
}

func TestSQLiteFile(t *testing.T) {
	t.Parallel()
	t.Run("is its owner's alone", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		db, err := groupcommit.OpenSQLite(t.Context(), path, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		require.NoError(t, db.Write(t.Context(), "", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, schema)
			return err
		}))
		for _, suffix := range []string{"", "-wal", "-shm"} {
			info, err := os.Stat(path + suffix)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), suffix)
		}
	})
	t.Run("may have any name", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), `a b?c#d%20e&f"g'é.db`)
		db, err := groupcommit.OpenSQLite(t.Context(), path, nil)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		require.FileExists(t, path)
	})
	t.Run("must be a file", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"", ":memory:", t.TempDir(), filepath.Join(t.TempDir(), "missing", "test.db")} {
			_, err := groupcommit.OpenSQLite(t.Context(), path, nil)
			require.Error(t, err, path)
		}
	})
	t.Run("must be a database", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "text")
		require.NoError(t, os.WriteFile(path, []byte("not a database, and longer than its header would be, too: "+
			"one hundred bytes is what SQLite reads first"), 0o600))
		_, err := groupcommit.OpenSQLite(t.Context(), path, nil)
		require.ErrorContains(t, err, "not a database")
	})
}

func TestSQLiteProcessesTakeTurns(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	var group sync.WaitGroup
	for process := range int64(2) {
		db, err := groupcommit.OpenSQLite(t.Context(), path, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		if process == 0 {
			require.NoError(t, db.Write(t.Context(), "", func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, schema)
				return err
			}))
		}
		for id := range int64(100) {
			group.Go(func() {
				if err := db.Write(t.Context(), "", func(ctx context.Context, tx *sql.Tx) error {
					var n int // read first: what was read must not change before it is acted on
					if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM rows").Scan(&n); err != nil {
						return err
					}
					_, err := tx.ExecContext(ctx, insert(100*process+id))
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		if process == 1 {
			group.Wait()
			var n int
			require.NoError(t, db.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM rows").Scan(&n))
			require.Equal(t, 200, n)
		}
	}
}

// SQLite rolls the whole transaction back, savepoints and all, when a statement that
// writes is interrupted.
func TestSQLiteInterruptedStatementFailsAlone(t *testing.T) {
	t.Parallel()
	s := openSQLite(t)
	s.hurry(1500*time.Millisecond, time.Minute)
	release := s.hold(t)
	defer release()
	before := s.start(t, t.Context(), 1, "a", inserting(1))
	endless := s.start(t, t.Context(), 2, "b", func(_ context.Context, exec func(string) error) error {
		return exec(`WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n)
			INSERT INTO rows (id) SELECT i FROM n WHERE i < 0`)
	})
	after := s.start(t, t.Context(), 3, "c", inserting(2))
	release()
	require.NoError(t, <-before)
	require.ErrorIs(t, <-endless, context.DeadlineExceeded)
	require.NoError(t, <-after)
	require.Equal(t, []int64{1, 2}, s.rows(t))
}

func TestSQLiteFullDiskFailsWhoNeedsRoom(t *testing.T) {
	t.Parallel()
	s := openSQLite(t)
	release := s.hold(t)
	defer release()
	before := s.start(t, t.Context(), 1, "a", inserting(1))
	large := s.start(t, t.Context(), 2, "b", func(_ context.Context, exec func(string) error) error {
		if err := exec("PRAGMA max_page_count = 10"); err != nil {
			return err
		}
		return exec(fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n LIMIT %d)
			INSERT INTO rows (id) SELECT i FROM n`, 100_000))
	})
	after := s.start(t, t.Context(), 3, "c", inserting(2))
	release()
	require.NoError(t, <-before)
	require.ErrorContains(t, <-large, "full")
	require.NoError(t, <-after)
	require.Equal(t, []int64{1, 2}, s.rows(t))
}
