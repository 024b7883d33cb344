package groupcommit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// largestSQLite bounds how long one commit keeps its callers.
const largestSQLite = 256

// SQLite is a database file with one writer and many readers. It may be used
// concurrently. Other processes may use the file too: each waits for the others'
// writes up to 5 seconds.
type SQLite struct {
	read, writer *sql.DB
	commits      *committer[sqliteWrite]
}

// OpenSQLite opens the database file at path, which is created for its owner alone
// if it does not exist, in WAL mode: readers do not wait for the writer. A commit
// is on disk when it is done (synchronous=FULL), and foreign keys hold. ctx bounds
// the opening only. observe may be nil.
func OpenSQLite(ctx context.Context, path string, observe Observe) (*SQLite, error) {
	dsn, err := sqliteDSN(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	writer, err := openPrepared(dsn + "&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	writer.SetMaxOpenConns(1)
	if err := writer.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), writer.Close())
	}
	read, err := openPrepared(dsn + "&_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s for reading: %w", path, err), writer.Close())
	}
	readers := max(4, 2*runtime.NumCPU())
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	if err := read.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s for reading: %w", path, err), read.Close(), writer.Close())
	}
	return &SQLite{
		read: read, writer: writer,
		commits: newCommitter[sqliteWrite](sqliteDatabase{writer}, largestSQLite, observe),
	}, nil
}

func openPrepared(dsn string) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(preparing{connector}), nil
}

// sqliteDSN gives the DSN with what every connection needs, and makes the file so
// that nobody else can read it: SQLite gives its journal the same mode.
func sqliteDSN(path string) (string, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return "", fmt.Errorf("%q is not a file", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)", nil
}

// Read gives the pool of connections for reading. They see what was committed
// before the statement, and refuse to write.
func (db *SQLite) Read() *sql.DB { return db.read }

// Write runs fn and returns when what it wrote is durable (nil), or undone because
// fn returned an error (that error), or when ctx ends, whichever is first. If ctx
// ends before fn began, fn never runs. If it ends later, the write may or may not
// happen: ErrUncertain with ctx's error. ctx's error alone says that it did not. A ctx
// without a deadline has one of 6 seconds here.
//
// fn runs in a transaction that it may share with other callers, in the order of
// their keys; writes with one key run in the order of their calls. fn writes
// through tx and gives the ctx that it receives to each statement: that one ends
// with the transaction's own time and not with the caller's. It must return soon
// after that ctx ends, and does not commit or roll back.
//
// fn may run more than once, never twice at a time, and only the last run counts:
// it must have no effect but through tx and variables that it assigns. After
// ErrUncertain fn may still be running: leave those variables alone. A panic of fn
// is an error of this write.
func (db *SQLite) Write(ctx context.Context, key string, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return db.commits.write(ctx, key, fn)
}

// Close refuses new writes with ErrClosed, finishes those that were accepted, for
// 15 seconds at the most, and closes the database. It may be called again.
func (db *SQLite) Close() error {
	return errors.Join(db.commits.close(), db.read.Close(), db.writer.Close())
}

type sqliteWrite func(ctx context.Context, tx *sql.Tx) error

type sqliteDatabase struct{ db *sql.DB }

func (d sqliteDatabase) begin(ctx context.Context) (transaction[sqliteWrite], error) {
	tx, err := d.db.BeginTx(ctx, nil) // BEGIN IMMEDIATE, see _txlock
	if err != nil {
		return nil, err
	}
	return sqliteTransaction{tx}, nil
}

type sqliteTransaction struct{ tx *sql.Tx }

func (t sqliteTransaction) run(ctx context.Context, calls []*call[sqliteWrite], alone bool) (int, error) {
	fn := func() error { return calls[0].what(ctx, t.tx) }
	return 1, isolate(ctx, t, calls[0], alone, fn)
}

func (t sqliteTransaction) savepoint(ctx context.Context) error {
	return t.exec(ctx, "SAVEPOINT caller")
}

// release also finds out that SQLite rolled the whole transaction back, as it does
// when the disk is full or a statement was interrupted: then there is no savepoint.
func (t sqliteTransaction) release(ctx context.Context) error {
	return t.exec(ctx, "RELEASE caller")
}

func (t sqliteTransaction) undo(ctx context.Context) error {
	return t.exec(ctx, "ROLLBACK TO caller; RELEASE caller")
}

func (t sqliteTransaction) exec(ctx context.Context, sql string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Without ctx, which would cost a goroutine: these take no time.
	_, err := t.tx.ExecContext(context.WithoutCancel(ctx), sql)
	return err
}

func (t sqliteTransaction) failed() error { return nil } // a failed statement leaves nothing behind

func (t sqliteTransaction) transient(error) bool { return false } // the one writer meets nobody

func (t sqliteTransaction) commit(context.Context) error {
	err := t.tx.Commit()
	var refused *sqlite.Error
	if errors.As(err, &refused) {
		switch refused.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_FULL:
			return err
		case sqlite3.SQLITE_ERROR: // no transaction is active: it was rolled back before
			return err
		}
		// An I/O error, most likely: a later start may or may not find the commit in the log.
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return err // of database/sql, which did not try
}

func (t sqliteTransaction) close() { _ = t.tx.Rollback() } // sql.ErrTxDone after commit
