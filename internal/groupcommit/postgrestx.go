package groupcommit

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresTx is the transaction as a caller's function sees it. It sends the
// statements that the committer owes (begin, locks, savepoint) together with the
// function's next one, so that they cost no round trip of their own.
type postgresTx struct {
	conn *pgx.Conn
	owed []statement
}

type statement struct {
	sql  string
	args []any
}

func (t *postgresTx) owe(sql string) { t.owed = append(t.owed, statement{sql: sql}) }

func (t *postgresTx) owes(sql string) bool { return len(t.owed) > 0 && t.owed[0].sql == sql }

// forget takes sql back if it is the last that is owed.
func (t *postgresTx) forget(sql string) bool {
	last := len(t.owed) - 1
	if last < 0 || t.owed[last].sql != sql {
		return false
	}
	t.owed = t.owed[:last]
	return true
}

// SendBatch sends b, with what is owed ahead of it.
func (t *postgresTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if len(t.owed) == 0 {
		return t.conn.SendBatch(ctx, b)
	}
	all := &pgx.Batch{}
	for _, owed := range t.owed {
		all.Queue(owed.sql, owed.args...)
	}
	all.QueuedQueries = append(all.QueuedQueries, b.QueuedQueries...)
	results := t.conn.SendBatch(ctx, all)
	for range t.owed {
		if _, err := results.Exec(); err != nil {
			return results // each further result has this error
		}
	}
	t.owed = t.owed[:0]
	return results
}

// settle sends what is owed.
func (t *postgresTx) settle(ctx context.Context) error {
	if len(t.owed) == 0 {
		return nil
	}
	return t.SendBatch(ctx, &pgx.Batch{}).Close()
}

// alone reports whether a statement with these arguments goes without a batch:
// nothing is owed, or it cannot go in one because of an option among them.
func (t *postgresTx) alone(ctx context.Context, args []any) (bool, error) {
	if len(args) > 0 {
		switch args[0].(type) {
		case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			return true, t.settle(ctx)
		}
	}
	return len(t.owed) == 0, nil
}

func (t *postgresTx) send(ctx context.Context, sql string, args []any) pgx.BatchResults {
	b := &pgx.Batch{}
	b.Queue(sql, args...)
	return t.SendBatch(ctx, b)
}

func (t *postgresTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if alone, err := t.alone(ctx, args); err != nil {
		return pgconn.CommandTag{}, err
	} else if alone {
		return t.conn.Exec(ctx, sql, args...)
	}
	results := t.send(ctx, sql, args)
	tag, err := results.Exec()
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	return tag, err
}

func (t *postgresTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if alone, err := t.alone(ctx, args); err != nil {
		return failedRows(err)
	} else if alone {
		return t.conn.Query(ctx, sql, args...)
	}
	results := t.send(ctx, sql, args)
	rows, err := results.Query()
	batched := &batchRows{Rows: rows, results: results}
	if err != nil {
		batched.Close()
	}
	return batched, err
}

func (t *postgresTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := t.Query(ctx, sql, args...) // Scan gives the error
	return firstRow{rows}
}

func (t *postgresTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error) {
	if err := t.settle(ctx); err != nil {
		return 0, err
	}
	return t.conn.CopyFrom(ctx, table, columns, from)
}

func (t *postgresTx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.settle(ctx); err != nil {
		return nil, err
	}
	return t.conn.Prepare(ctx, name, sql)
}

var errNotYours = errors.New("the transaction is not the write's own to nest, commit or roll back")

func (t *postgresTx) Begin(context.Context) (pgx.Tx, error) { return nil, errNotYours }
func (t *postgresTx) Commit(context.Context) error          { return errNotYours }
func (t *postgresTx) Rollback(context.Context) error        { return errNotYours }
func (t *postgresTx) LargeObjects() (none pgx.LargeObjects) { return none }
func (t *postgresTx) Conn() *pgx.Conn                       { return nil }

func failedRows(err error) (pgx.Rows, error) {
	return pgx.FailedBatchResults(&pgx.Batch{}, err).Query()
}

// batchRows are the rows of a batch's last statement. The batch ends with them.
type batchRows struct {
	pgx.Rows
	results pgx.BatchResults
	err     error
}

func (r *batchRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

func (r *batchRows) Close() {
	r.Rows.Close()
	if err := r.results.Close(); r.err == nil {
		r.err = err
	}
}

func (r *batchRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

// firstRow is what QueryRow returns.
type firstRow struct{ rows pgx.Rows }

func (r firstRow) Scan(dest ...any) error {
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
