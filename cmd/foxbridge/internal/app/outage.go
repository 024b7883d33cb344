package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

const (
	outageEvery   = time.Second     // between questions whether the database is back
	outageQuiet   = 3 * time.Second // without a failure before it is asked
	outageLogged  = time.Minute     // between lines of the log
	outageTimeout = 2 * time.Second // of one question
)

// outages keep the book of when the database gave no answer. However many requests that
// strikes, the log has a line when it begins, one a minute while it lasts, and one when it is
// over. Their methods may be called concurrently.
type outages struct {
	log   *slog.Logger
	now   func() time.Time
	count func() // each failure

	mu     sync.Mutex
	began  time.Time // zero while there is none
	last   time.Time // failure
	logged time.Time // the last line of a failure
	told   bool      // the present outage has a line
	more   int       // failures that no line has told of
}

func newOutages(log *slog.Logger, now func() time.Time, count func()) *outages {
	return &outages{log: log, now: now, count: count}
}

// is reports whether err says that the database gives no answer, and notes it then. It is
// the Outage of the handlers.
func (o *outages) is(ctx context.Context, err error) bool {
	if !errors.Is(err, oauth.ErrUnavailable) && !errors.Is(err, devices.ErrUnavailable) {
		return false
	}
	o.note(ctx, err)
	return true
}

// note notes a failure.
func (o *outages) note(ctx context.Context, err error) {
	o.count()
	more, since, due := o.add()
	if due {
		o.log.ErrorContext(ctx, "database gives no answer", "err", err, "more", more, "since", since)
	}
}

// add counts a failure, and reports whether a line is due, how many failures it stands for
// beside this one, and since when.
func (o *outages) add() (more int, since time.Time, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	o.last = now
	if o.began.IsZero() {
		o.began = now
	}
	if !o.logged.IsZero() && now.Sub(o.logged) < outageLogged {
		o.more++
		return 0, time.Time{}, false
	}
	more, o.more, o.logged, o.told = o.more, 0, now, true
	return more, o.began, true
}

// watch asks the database, while there is an outage, whether it is back.
func (o *outages) watch(ctx context.Context, ping func(context.Context) error) {
	o.mu.Lock()
	ask := !o.began.IsZero() && o.now().Sub(o.last) >= outageQuiet
	o.mu.Unlock()
	if !ask {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, outageTimeout)
	defer cancel()
	if ping(ctx) == nil {
		o.end(ctx)
	}
}

func (o *outages) end(ctx context.Context) {
	o.mu.Lock()
	told, took, more := o.told, o.last.Sub(o.began), o.more
	o.began, o.told = time.Time{}, false
	if told {
		o.more = 0
	}
	o.mu.Unlock()
	if told {
		o.log.WarnContext(ctx, "database answers again", "after", took.Round(time.Millisecond), "more", more)
	}
}

// failed says that something failed that is done now and then, unless it was the process
// that ended it, or the database gives no answer, which is noted.
func (o *outages) failed(ctx context.Context, level slog.Level, message string, err error) {
	if context.Cause(ctx) == context.Canceled || o.is(ctx, err) { //nolint:errorlint // the cause is that very value
		return
	}
	o.log.Log(ctx, level, message, "err", err)
}

// startOutages looks for the end of outages.
func (a *App) startOutages(context.Context) error {
	stop := a.every(outageEvery, func(ctx context.Context) { a.outages.watch(ctx, a.record.ping) })
	a.onStop(func(context.Context) error {
		stop()
		return nil
	})
	return nil
}
