package groupcommit

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How long a database is waited for on behalf of a caller whose context has no
// deadline. Together the first two are as long as the last one, which is longer than a
// write waits for a lock.
const (
	acquireLimit = 2 * time.Second // for a connection to read over
	readLimit    = 4 * time.Second // for a question and all rows of its answer
	writeLimit   = 6 * time.Second // for a write, with its waiting for others'
)

// patience ends what takes too long in a pool for reading. To whoever asks it is
// context.DeadlineExceeded. It is what pgx calls a tracer: that may give the context
// with which a call goes on.
type patience struct{}

var (
	_ pgxpool.AcquireTracer = patience{}
	_ pgx.QueryTracer       = patience{}
)

func (patience) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return within(ctx, acquireLimit)
}

func (patience) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	over(ctx)
}

func (patience) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return within(ctx, readLimit)
}

func (patience) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) { over(ctx) }

type overKey struct{}

// within gives ctx a deadline, unless it has one, until it is over.
func within(ctx context.Context, limit time.Duration) context.Context {
	end := func() {}
	if _, has := ctx.Deadline(); !has {
		ctx, end = context.WithTimeout(ctx, limit)
	}
	return context.WithValue(ctx, overKey{}, end)
}

func over(ctx context.Context) {
	if end, is := ctx.Value(overKey{}).(func()); is {
		end()
	}
}
