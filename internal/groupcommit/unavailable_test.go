package groupcommit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// What a database that gives no answer says is told from what is wrong with a statement.
func TestUnavailableKnowsAnOutageFromAFault(t *testing.T) {
	t.Parallel()
	code := func(code string) error { return &pgconn.PgError{Code: code} }
	for _, err := range []error{
		groupcommit.ErrClosed, fmt.Errorf("%w: %w", groupcommit.ErrClosed, context.Canceled),
		groupcommit.ErrUncertain, context.DeadlineExceeded,
		&net.OpError{Op: "read", Err: errors.New("reset")}, io.ErrUnexpectedEOF, sql.ErrConnDone,
		code("08006"), code("53100"), code("53300"), code("57P01"), code("57P03"), code("57014"), code("55P03"), code("25006"), code("40P01"), code("58030"),
	} {
		require.True(t, groupcommit.Unavailable(fmt.Errorf("read a row: %w", err)), err)
	}
	for _, err := range []error{
		nil, context.Canceled, sql.ErrNoRows, errors.New("anything"),
		fmt.Errorf("%w: %w", groupcommit.ErrUncertain, context.Canceled), // who asked has gone
		code("23505"), code("42P01"), code("22021"), code("57P04"), code("XX000"), code(""),
	} {
		require.False(t, groupcommit.Unavailable(err), err)
	}
	marked := groupcommit.Mark(code("57P03"), errAway)
	require.ErrorIs(t, marked, errAway)
	require.ErrorAs(t, marked, new(*pgconn.PgError))
	require.Equal(t, code("23505"), groupcommit.Mark(code("23505"), errAway))
	require.NoError(t, groupcommit.Mark(nil, errAway))
}

var errAway = errors.New("away")

func TestSQLiteFullDiskIsNoFault(t *testing.T) {
	t.Parallel()
	s := openSQLite(t)
	limit := func(pages int) {
		require.NoError(t, s.write(t.Context(), "", func(_ context.Context, exec func(string) error) error {
			return exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		}))
	}
	fill := func() error {
		return s.write(t.Context(), "", func(_ context.Context, exec func(string) error) error {
			return exec("CREATE TABLE filling AS SELECT randomblob(1000000) AS bytes")
		})
	}
	limit(10)
	err := fill()
	require.ErrorContains(t, err, "full")
	require.True(t, groupcommit.Unavailable(err), err)
	require.NotErrorIs(t, err, groupcommit.ErrUncertain)
	limit(10000)
	require.NoError(t, fill(), "once there is room")
}

func TestSQLiteThatOthersHoldIsNoFault(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := groupcommit.OpenSQLite(t.Context(), path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.HurryCallers(100 * time.Millisecond)
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	held, err := other.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	create := func(ctx context.Context, name string) error {
		return db.Write(ctx, "", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "CREATE TABLE "+name+" (id INTEGER)")
			return err
		})
	}
	err = create(t.Context(), "never")
	require.True(t, groupcommit.Unavailable(err), err)
	require.NotErrorIs(t, err, groupcommit.ErrUncertain)
	require.NoError(t, held.Rollback())
	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	require.NoError(t, create(ctx, "later"))
	var n int
	require.NoError(t, db.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema").Scan(&n))
	require.Equal(t, 1, n, "what was given up never happened")
}
