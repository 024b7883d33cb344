package groupcommit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Unavailable reports whether err says that the database gives no answer at present,
// or cannot do what it is asked now: it cannot be reached, is starting, stopping, full,
// overloaded, waiting for a lock, or too slow. The same may succeed later. What is
// wrong with a statement is not meant, nor that a caller's context was cancelled.
// ErrUncertain is one of these: the connection or the disk failed at the commit.
func Unavailable(err error) bool {
	if errors.Is(err, ErrClosed) {
		return true
	}
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if errors.Is(err, ErrUncertain) || errors.Is(err, context.DeadlineExceeded) || unreachable(err) {
		return true
	}
	if refused, is := errors.AsType[*pgconn.PgError](err); is {
		return postgresUnavailable(refused.Code)
	}
	if refused, is := errors.AsType[*sqlite.Error](err); is {
		return sqliteUnavailable(refused.Code())
	}
	return false
}

// unreachable reports whether err is of a connection: there was none to be had, or it
// was lost.
func unreachable(err error) bool {
	if _, is := errors.AsType[*pgconn.ConnectError](err); is {
		return true
	}
	if _, is := errors.AsType[net.Error](err); is {
		return true
	}
	return pgconn.SafeToRetry(err) || slices.ContainsFunc([]error{
		errConnectionLost, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrBadConn, sql.ErrConnDone,
	}, func(lost error) bool { return errors.Is(err, lost) })
}

// postgresUnavailable judges by the codes of Appendix A of PostgreSQL's manual.
func postgresUnavailable(code string) bool {
	if len(code) != 5 {
		return false
	}
	switch code[:2] {
	case "08", // connection exception
		"53": // insufficient resources: disk full, out of memory, too many connections
		return true
	}
	switch code {
	case "57P01", "57P02", "57P03", // the server is stopped, has crashed, or is starting
		"57014",          // query_canceled: statement_timeout, most likely
		"25P03", "25P04", // the session was idle in a transaction, or in it, for too long
		"25006",          // read_only_sql_transaction: another server took over
		"55P03",          // lock_not_available: lock_timeout
		"40001", "40P01", // a conflict with others that a repeat did not get over
		"58000", "58030": // system_error, io_error
		return true
	}
	return false
}

func sqliteUnavailable(code int) bool {
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, // others hold it
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_INTERRUPT: // its time was over
		return true
	}
	return false
}

// Mark wraps an error of a store that is Unavailable in the one that the store's domain
// has for it. All else stays as it is.
func Mark(err, unavailable error) error {
	if Unavailable(err) {
		return fmt.Errorf("%w: %w", unavailable, err)
	}
	return err
}
