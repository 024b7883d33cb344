package groupcommit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// largestPostgres keeps a transaction's savepoints within the 64 subtransactions
// that PostgreSQL caches for each session. Past those, every other session's
// visibility checks become slow.
const largestPostgres = 64

// Statements of the committer, by the names under which they are prepared: so they go out
// together with a caller's.
const (
	sqlBegin     = "begin"
	sqlSavepoint = "savepoint"
	sqlRelease   = "release"
	sqlCommit    = "commit"
)

// Postgres is a PostgreSQL database with one connection for writing and a pool of
// connections for reading. It may be used concurrently.
type Postgres struct {
	read, writer *pgxpool.Pool
	commits      *committer[postgresWrite]
}

// OpenPostgres connects to the database at dsn, a URL or keywords and values, as
// pgxpool.ParseConfig has them; its pool settings are those of the pool for reading.
// Unless dsn says otherwise, connecting takes 5 seconds at the most, a write waits
// 3 seconds at the most for a lock, and the server ends a writing session that was
// idle in a transaction for 15 seconds. ctx bounds the opening only. observe may be nil.
func OpenPostgres(ctx context.Context, dsn string, observe Observe) (*Postgres, error) {
	read, err := openPool(ctx, dsn, func(config *pgxpool.Config) { config.ConnConfig.Tracer = patience{} })
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	writer, err := openPool(ctx, dsn, func(config *pgxpool.Config) {
		config.MaxConns, config.MinConns, config.MinIdleConns = 1, 0, 0
		config.AfterConnect = prepare
		byDefault(config.ConnConfig.RuntimeParams, "lock_timeout", "3s")
		byDefault(config.ConnConfig.RuntimeParams, "idle_in_transaction_session_timeout", "15s")
	})
	if err != nil {
		read.Close()
		return nil, fmt.Errorf("open database for writing: %w", err)
	}
	return &Postgres{
		read: read, writer: writer,
		commits: newCommitter[postgresWrite](postgresDatabase{writer}, largestPostgres, observe),
	}, nil
}

func openPool(ctx context.Context, dsn string, adjust func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	adjust(config)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

func byDefault(params map[string]string, name, value string) {
	if _, set := params[name]; !set {
		params[name] = value
	}
}

func prepare(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, conn.Config().ConnectTimeout) // the pool's ctx has no end
	defer cancel()
	for name, sql := range map[string]string{
		sqlBegin: "BEGIN", sqlSavepoint: "SAVEPOINT caller", sqlRelease: "RELEASE SAVEPOINT caller", sqlCommit: "COMMIT",
	} {
		if _, err := conn.Prepare(ctx, name, sql); err != nil {
			return fmt.Errorf("prepare %s: %w", sql, err)
		}
	}
	return nil
}

// Read gives the pool of connections for reading. With a context that has no deadline a
// connection is waited for 2 seconds at the most, and an answer with all its rows 4
// seconds; then the error is context.DeadlineExceeded.
func (db *Postgres) Read() *pgxpool.Pool { return db.read }

// Write runs fn and returns when what it wrote is durable (nil), or undone because
// fn returned an error (that error), or when ctx ends, whichever is first. If ctx
// ends before fn began, fn never runs. If it ends later, the write may or may not
// happen: ErrUncertain with ctx's error. ctx's error alone says that it did not. A ctx
// without a deadline has one of 6 seconds here.
//
// fn runs in a READ COMMITTED transaction that it may share with other callers, in
// the order of their keys, so that row locks are always taken in one order; writes
// with one key run in the order of their calls. fn writes through tx and gives the
// ctx that it receives to each statement: that one ends with the transaction's own
// time and not with the caller's. It must return soon after that ctx ends. Of tx it
// may use Exec, Query and QueryRow (one statement each), SendBatch, CopyFrom and
// Prepare; rows are closed before it returns.
//
// fn may run more than once, never twice at a time, and only the last run counts:
// it must have no effect but through tx and variables that it assigns. After
// ErrUncertain fn may still be running: leave those variables alone. A panic of fn
// is an error of this write.
func (db *Postgres) Write(ctx context.Context, key string, fn func(ctx context.Context, tx pgx.Tx) error, shared ...Shared) error {
	return db.commits.write(ctx, key, newWrite(postgresWrite{fn: fn}, shared))
}

// WriteBatch is Write for statements that are all known beforehand. It is much
// faster: neighbours' statements go to the server together, in one round trip. The
// functions of b's queries take up the results, and all that is said of Write's fn
// holds for them. They should not fail, since that costs the neighbours a repeat:
// what a query found is better judged after WriteBatch has returned.
func (db *Postgres) WriteBatch(ctx context.Context, key string, b *pgx.Batch, shared ...Shared) error {
	return db.commits.write(ctx, key, newWrite(postgresWrite{statements: b.QueuedQueries}, shared))
}

// Close refuses new writes with ErrClosed, finishes those that were accepted, for
// 15 seconds at the most, and closes the connections once readers have given them
// back. It may be called again.
func (db *Postgres) Close() error {
	err := db.commits.close()
	db.writer.Close()
	db.read.Close()
	return err
}

// postgresWrite is a function, or statements if that is nil.
type postgresWrite struct {
	fn         func(ctx context.Context, tx pgx.Tx) error
	statements []*pgx.QueuedQuery
	locks      []Lock
	tails      []Tail
}

func newWrite(w postgresWrite, shared []Shared) postgresWrite {
	for _, s := range shared {
		s.join(&w)
	}
	return w
}

type postgresDatabase struct{ pool *pgxpool.Pool }

func (d postgresDatabase) begin(ctx context.Context) (transaction[postgresWrite], error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &postgresTransaction{
		pooled: conn,
		tx:     &postgresTx{conn: conn.Conn(), owed: []statement{{sql: sqlBegin}}},
	}, nil
}

type postgresTransaction struct {
	pooled *pgxpool.Conn
	tx     *postgresTx
	calls  []*call[postgresWrite] // all of the transaction, once it runs
}

func (t *postgresTransaction) run(ctx context.Context, calls []*call[postgresWrite], alone bool) (int, error) {
	if t.calls == nil {
		t.calls = calls // the first run is given all
		t.tx.owed = append(t.tx.owed, locksOf(calls)...)
	}
	first := calls[0]
	if first.what.fn != nil {
		return 1, isolate(ctx, t, first, alone, func() error { return first.what.fn(ctx, t.tx) })
	}
	together := slices.IndexFunc(calls, func(c *call[postgresWrite]) bool { return c.what.fn != nil })
	if together < 0 {
		together = len(calls)
	}
	return t.pipeline(ctx, calls[:together], alone)
}

// pipeline sends the statements of all calls at once. The server skips what follows
// a failed statement, so the calls up to that one are those that were run.
func (t *postgresTransaction) pipeline(ctx context.Context, calls []*call[postgresWrite], alone bool) (int, error) {
	batch := &pgx.Batch{}
	for _, call := range calls {
		if !call.begin() {
			continue
		}
		if !alone {
			batch.Queue(sqlSavepoint)
		}
		for _, q := range call.what.statements {
			batch.Queue(q.SQL, q.Arguments...) // a copy: pgx leaves its marks in what it sends
		}
		if !alone {
			batch.Queue(sqlRelease)
		}
	}
	if batch.Len() == 0 {
		return len(calls), nil
	}
	results := t.tx.SendBatch(ctx, batch)
	for i, call := range calls {
		if call.err != nil {
			continue
		}
		own, refused := takeUp(results, call.what.statements, alone)
		call.err = own
		if own == nil {
			call.err = refused
		}
		if call.err == nil {
			continue
		}
		_ = results.Close() // reads what follows, and repeats the error
		call.again = t.transient(call.err)
		if alone {
			return 1, nil
		}
		if !t.stoppedBy(refused) {
			return 0, call.err
		}
		return i + 1, wrap("undo write", t.undo(ctx))
	}
	return len(calls), results.Close()
}

// takeUp reads the results of one call to its end. The first error is that of its
// functions, the second is that of the results.
func takeUp(results pgx.BatchResults, statements []*pgx.QueuedQuery, alone bool) (own, refused error) {
	read := func() {
		if refused == nil {
			_, refused = results.Exec()
		}
	}
	if !alone {
		read()
	}
	for _, q := range statements {
		if q.Fn == nil || own != nil || refused != nil {
			read()
			continue
		}
		own = guard(func() error { return q.Fn(results) })
	}
	if !alone {
		read()
	}
	return own, refused
}

// stoppedBy reports whether the server stopped at a call because it refused one of its
// statements, so that the call can be undone. It cannot if the server went on to the
// next call, because only a function failed, and not if a statement failed before
// any was run, while it was prepared.
func (t *postgresTransaction) stoppedBy(refused error) bool {
	var pgErr *pgconn.PgError
	return errors.As(refused, &pgErr) && t.aborted() && len(t.tx.owed) == 0
}

func (t *postgresTransaction) savepoint(context.Context) error {
	t.tx.owe(sqlSavepoint)
	return nil
}

func (t *postgresTransaction) release(context.Context) error {
	if !t.tx.forget(sqlSavepoint) {
		t.tx.owe(sqlRelease)
	}
	return nil
}

func (t *postgresTransaction) undo(ctx context.Context) error {
	switch {
	case t.tx.conn.IsClosed():
		return errConnectionLost
	case !t.tx.forget(sqlSavepoint):
		_, err := t.tx.conn.Exec(ctx, "rollback to savepoint caller")
		t.tx.owe(sqlRelease)
		return err
	case t.aborted():
		return errors.New("a statement could not be prepared") // it failed ahead of the savepoint
	default:
		return nil
	}
}

func (t *postgresTransaction) failed() error {
	if t.aborted() {
		return errors.New("a statement of the write failed, and the write did not say so")
	}
	return nil
}

func (t *postgresTransaction) aborted() bool { return t.tx.conn.PgConn().TxStatus() == 'E' }

func (t *postgresTransaction) transient(err error) bool {
	if t.tx.conn.IsClosed() {
		return true
	}
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "40P01" || refused.Code == "40001")
}

func (t *postgresTransaction) commit(ctx context.Context) error {
	if t.tx.owes(sqlBegin) {
		return nil // nothing was sent
	}
	if t.tx.conn.IsClosed() {
		return errConnectionLost
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tails, err := tailsOf(t.calls)
	if err != nil {
		return err
	}
	tag, err := t.end(ctx, tails)
	var refused *pgconn.PgError
	switch {
	case err == nil && tag.String() == "ROLLBACK":
		return pgx.ErrTxCommitRollback
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.SeverityUnlocalized == "ERROR":
		return err
	default:
		// FATAL too: a session may be ended between its commit and the answer. And
		// whatever pgconn.SafeToRetry says: it takes a connection that was lost on the
		// way for one that was closed before.
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
}

// end sends the last statements and the commit, all at once: if one of them is refused, the
// server skips the commit.
func (t *postgresTransaction) end(ctx context.Context, tails []statement) (pgconn.CommandTag, error) {
	if len(tails) == 0 {
		return t.tx.conn.Exec(ctx, sqlCommit)
	}
	b := &pgx.Batch{}
	for _, tail := range tails {
		b.Queue(tail.sql, tail.args...)
	}
	b.Queue(sqlCommit)
	results := t.tx.conn.SendBatch(ctx, b)
	var tag pgconn.CommandTag
	var err error
	for range b.Len() {
		if tag, err = results.Exec(); err != nil {
			break
		}
	}
	return tag, cmp.Or(err, results.Close())
}

func (t *postgresTransaction) close() {
	defer t.pooled.Release() // which discards a connection that is still in a transaction
	if t.tx.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = t.tx.conn.Exec(ctx, "rollback")
}

var errConnectionLost = errors.New("connection is lost")
