// Package groupcommit lets many callers share one durable commit. A commit costs
// a flush to disk however much it holds, so while one is under way the writes that
// come in wait together and go into the next one as a group. There is no timer: a
// write that comes alone is committed at once.
//
// A caller notices nothing of the others. Write returns when its own write is
// durable, or with its own function's error. What a function gets wrong (an error,
// a refused statement, a panic) is undone for that caller alone, by a savepoint. A
// transaction that fails as a whole is repeated, each write in a transaction of
// its own, if it is certain that nothing of it was committed; if that is unknown,
// each caller is told so with ErrUncertain.
//
// Nobody waits for long: a caller whose context has no deadline is told after 6 seconds
// that a write has not happened, or that this is unknown, and on PostgreSQL after 2 seconds
// that there is no connection to read over, and after 4 that an answer does not come.
// Unavailable knows the errors that say so from those of a statement that is wrong.
//
// Use OpenSQLite or OpenPostgres.
package groupcommit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Write, beside those of the function and of the database.
var (
	// ErrClosed says that the database was closed. The write did not happen.
	ErrClosed = errors.New("database is closed")
	// ErrUncertain says that it is unknown whether the write happened: the connection
	// was lost while the commit was under way, or the caller's context ended after the
	// write had begun. In the second case the context's error is wrapped too.
	ErrUncertain = errors.New("unknown whether the write happened")
)

// errNotBegun says that there was no transaction. It is no fault of a write, and no
// repeat by itself would find the database in another state: everybody is told.
var errNotBegun = errors.New("begin transaction")

// Observe is told of each commit how many callers' writes it held, and the longest
// that one of them waited, from its call of Write until it was durable. It is
// called by one goroutine, between commits, and must return quickly.
type Observe func(size int, wait time.Duration)

const (
	queueSize          = 1024             // writes that wait; more wait for room
	transactionTimeout = 10 * time.Second // for a transaction with all its functions
	closeTimeout       = 15 * time.Second // for the writes that were accepted before Close
)

// database begins the transactions of a committer, one at a time. W is a write, as
// the database's Write takes it.
type database[W any] interface {
	begin(ctx context.Context) (transaction[W], error)
}

// transaction is one transaction, used by one goroutine.
type transaction[W any] interface {
	// run runs the first of calls, which may be the only one of the transaction (alone).
	// It may run some that follow together with it, and says how many it ran in all:
	// their err and again hold. Its error says that the whole transaction is lost.
	run(ctx context.Context, calls []*call[W], alone bool) (int, error)
	// commit makes the transaction durable. An error that is not ErrUncertain says that
	// nothing was committed.
	commit(ctx context.Context) error
	// close ends the transaction, without effect unless it was committed.
	close()
}

// committer runs the writes of one database, one transaction after the other.
type committer[W any] struct {
	db      database[W]
	largest int // writes in a transaction
	observe Observe

	mu      sync.RWMutex // held for reading while a call is put into queue, for writing to close it
	queue   chan *call[W]
	closing chan struct{} // closed before queue is
	stopped chan struct{} // closed when the last call is answered

	ctx      context.Context // of the transactions
	cancel   context.CancelFunc
	timeout  time.Duration // of a transaction
	patience time.Duration // of a caller whose context has no deadline
	grace    time.Duration // for the accepted writes when the database is closed
	// close refuses new writes, finishes those that were accepted, and returns when
	// that is done. After the grace it cuts them off and says so.
	close func() error
}

// newCommitter starts the committer's goroutine, which ends with close.
func newCommitter[W any](db database[W], largest int, observe Observe) *committer[W] {
	if observe == nil {
		observe = func(int, time.Duration) {}
	}
	c := &committer[W]{
		db:       db,
		largest:  largest,
		observe:  observe,
		queue:    make(chan *call[W], queueSize),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
		timeout:  transactionTimeout,
		patience: writeLimit,
		grace:    closeTimeout,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.close = sync.OnceValue(c.drain)
	go c.run()
	return c
}

// write is the Write of both databases; see there.
func (c *committer[W]) write(ctx context.Context, key string, what W) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.patience)
		defer cancel()
	}
	w := &call[W]{ctx: ctx, key: key, what: what, since: time.Now(), done: make(chan error, 1)}
	if err := c.enqueue(w); err != nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	if w.state.CompareAndSwap(waiting, dropped) {
		return ctx.Err()
	}
	select {
	case err := <-w.done:
		return err
	default:
		return fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
	}
}

func (c *committer[W]) enqueue(call *call[W]) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	select {
	case <-c.closing:
		return ErrClosed
	default:
	}
	if err := call.ctx.Err(); err != nil {
		return err
	}
	select {
	case c.queue <- call:
		return nil
	case <-call.ctx.Done():
		return call.ctx.Err()
	case <-c.closing:
		return ErrClosed
	}
}

func (c *committer[W]) drain() error {
	close(c.closing) // frees those who hold mu while they wait for room
	c.mu.Lock()
	close(c.queue)
	c.mu.Unlock()

	defer c.cancel()
	timer := time.NewTimer(c.grace)
	defer timer.Stop()
	select {
	case <-c.stopped:
		return nil
	case <-timer.C:
	}
	c.cancel()
	<-c.stopped
	return fmt.Errorf("writes were cut off after %v", c.grace)
}

func (c *committer[W]) run() {
	defer close(c.stopped)
	for first := range c.queue {
		for _, left := range c.attempt(c.gather(first)) {
			for _, failed := range c.attempt([]*call[W]{left}) {
				failed.answer(failed.err)
			}
		}
	}
}

// gather takes what has come in meanwhile, in the order of the keys.
func (c *committer[W]) gather(first *call[W]) []*call[W] {
	runtime.Gosched() // whoever was answered just now may come back with the next write
	calls := []*call[W]{first}
	for len(calls) < c.largest {
		select {
		case next, open := <-c.queue:
			if open {
				calls = append(calls, next)
				continue
			}
		default:
		}
		break
	}
	slices.SortStableFunc(calls, func(a, b *call[W]) int { return cmp.Compare(a.key, b.key) })
	return calls
}

// attempt runs the calls in one transaction and answers those whose result is
// certain after it. It returns the rest, in order: nothing of theirs was
// committed, their err says why, and they may succeed if they run again.
func (c *committer[W]) attempt(calls []*call[W]) (again []*call[W]) {
	calls = slices.DeleteFunc(calls, func(call *call[W]) bool {
		err := call.ctx.Err()
		if err != nil {
			call.answer(err)
		}
		return err != nil
	})
	if len(calls) == 0 {
		return nil
	}
	err := c.transact(calls)
	if err != nil && c.ctx.Err() != nil && !errors.Is(err, ErrUncertain) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	for _, call := range calls {
		switch {
		case errors.Is(err, ErrUncertain), errors.Is(err, errNotBegun):
			call.answer(err)
		case err != nil:
			call.err = err
			again = append(again, call)
		case call.again:
			again = append(again, call)
		default:
			call.answer(call.err)
		}
	}
	return again
}

// transact runs the calls in one transaction and commits it. Its error is about
// all of them: nothing was committed, or it is ErrUncertain whether all were.
// Without an error each call's own err holds, or its again. Nobody may be answered
// before the commit: what one function read and judged, another may have written.
func (c *committer[W]) transact(calls []*call[W]) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	tx, err := c.db.begin(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, err)
	}
	defer tx.close()

	for i := 0; i < len(calls); {
		if i > 0 && calls[i-1].again && calls[i-1].key == calls[i].key {
			calls[i].err, calls[i].again = calls[i-1].err, true // keeps the order of this key
			i++
			continue
		}
		n, err := tx.run(ctx, calls[i:], len(calls) == 1)
		if err != nil {
			return err
		}
		i += n
	}
	written, since := 0, time.Now()
	for _, call := range calls {
		if call.err == nil {
			written++
			since = earlier(since, call.since)
		}
	}
	if written == 0 {
		return nil
	}
	if err := tx.commit(ctx); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	c.observe(written, time.Since(since))
	return nil
}

// call is one caller's write.
type call[W any] struct {
	ctx   context.Context // the caller's; it bounds the waiting and not the transaction
	key   string
	what  W
	since time.Time
	done  chan error // has room for the answer, so that nobody need wait for it
	state atomic.Int32

	// Of the committer's goroutine, what the last attempt came to:
	err   error
	again bool // err is no fault of the write: it may succeed if repeated
}

// States of a call.
const (
	waiting int32 = iota // the write has not begun
	begun                // it has begun, and may be repeated
	dropped              // the caller left before it began: it never will
)

// begin reports whether the write may run; if not, err says why.
func (c *call[W]) begin() bool {
	c.err, c.again = nil, false
	if c.ctx.Err() == nil && (c.state.CompareAndSwap(waiting, begun) || c.state.Load() == begun) {
		return true
	}
	c.err = c.ctx.Err() // which has ended by now, if the caller left
	return false
}

func (c *call[W]) answer(err error) { c.done <- err }

// savepoints keep the write of one caller apart from the others' in a transaction.
type savepoints interface {
	// savepoint marks where a caller's write begins. Savepoints are not nested: each is
	// followed by its release, which keeps the write, or its undo.
	savepoint(ctx context.Context) error
	release(ctx context.Context) error
	undo(ctx context.Context) error
	// failed reports a failed statement that the caller's function kept to itself.
	failed() error
	// transient reports whether err, which a function returned, is no fault of the
	// function: a deadlock or a lost connection.
	transient(err error) bool
}

// isolate runs fn as the write of call. Its error says that the transaction is lost.
func isolate[W any](ctx context.Context, tx savepoints, call *call[W], alone bool, fn func() error) error {
	if !call.begin() {
		return nil
	}
	if !alone {
		if err := tx.savepoint(ctx); err != nil {
			return fmt.Errorf("begin write: %w", err)
		}
	}
	call.err = guard(fn)
	if call.err == nil {
		call.err = tx.failed()
	}
	call.again = call.err != nil && tx.transient(call.err)
	switch {
	case alone:
		return nil // ending the transaction keeps or undoes it
	case call.err == nil:
		return wrap("keep write", tx.release(ctx))
	default:
		return wrap("undo write", tx.undo(ctx))
	}
}

// guard makes an error of a panic: it is the caller's own, and not the committer's.
func guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return fn()
}

func wrap(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
