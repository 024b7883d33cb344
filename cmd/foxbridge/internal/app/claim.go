package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A claim makes sure that one bridge at a time serves a record: units connect to the
// bridge's own broker, so a second one would take them all for gone. It ends with
// the process, however that ends.
type claim func(ctx context.Context) (held, error)

// held is a claim that was made.
type held struct {
	release func()
	// renew makes the claim anew if it was lost; nil if it cannot be lost.
	renew func(context.Context) error
}

var errClaimed = errors.New("another bridge is serving this record")

// fileClaimTimeout is more than a command that has migrated the file takes to let it go.
const fileClaimTimeout = time.Second

// claimFile claims a SQLite database by a lock on a file beside it, for which it waits as
// long as that. SQLite's own locks come and go with each transaction.
func claimFile(database string, patience time.Duration) claim {
	return func(ctx context.Context) (held, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		path := database + ".bridge"
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return held{}, fmt.Errorf("open lock file: %w", err)
		}
		got, err := untilGot(ctx, func() (bool, error) {
			err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return false, nil
			}
			return err == nil, err
		})
		switch {
		case err != nil:
			return held{}, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		case !got:
			return held{}, errors.Join(fmt.Errorf("%w: %s is locked", errClaimed, path), file.Close())
		}
		return held{release: func() { _ = file.Close() }}, nil // which gives up the lock, whatever it returns
	}
}

const (
	claimTimeout = 5 * time.Second        // for the server to notice that the bridge before has died
	claimTried   = 200 * time.Millisecond // between attempts to make it
	claimEvery   = 5 * time.Second        // between looks whether the claim stands
	claimSQL     = "SELECT pg_try_advisory_lock(hashtext('foxbridge serve'), hashtext(current_schema()))"
)

// claimSession claims a PostgreSQL schema by an advisory lock of a session of its
// own.
func claimSession(dsn string) claim {
	return func(ctx context.Context) (held, error) {
		config, err := pgxpool.ParseConfig(dsn) // dsn may hold settings of a pool
		if err != nil {
			return held{}, fmt.Errorf("read database URL: %w", err)
		}
		s := &claimingSession{config: config.ConnConfig}
		if err := s.take(ctx); err != nil {
			return held{}, err
		}
		return held{release: s.close, renew: s.renew}, nil
	}
}

// claimingSession is used by one goroutine at a time.
type claimingSession struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn // nil without a session
}

func (s *claimingSession) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	var err error
	if s.conn, err = pgx.ConnectConfig(ctx, s.config); err != nil {
		s.conn = nil
		return fmt.Errorf("connect to claim the record: %w", err)
	}
	if err := awaitLock(ctx, s.conn); err != nil {
		s.close()
		return err
	}
	return nil
}

// renew takes the lock again if its session has ended, as it does with the server.
func (s *claimingSession) renew(ctx context.Context) error {
	if s.conn != nil {
		ping, cancel := context.WithTimeout(ctx, claimTimeout)
		defer cancel()
		if s.conn.Ping(ping) == nil || ctx.Err() != nil {
			return nil
		}
		s.close()
	}
	return s.take(ctx)
}

func (s *claimingSession) close() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // the session ends either way
	s.conn = nil
}

// awaitLock asks again until ctx ends: the server may not have noticed yet that the
// bridge before has died.
func awaitLock(ctx context.Context, conn *pgx.Conn) error {
	got, err := untilGot(ctx, func() (got bool, err error) {
		err = conn.QueryRow(ctx, claimSQL).Scan(&got)
		if ctx.Err() != nil {
			err = nil
		}
		return got, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("claim the record: %w", err)
	case !got:
		return fmt.Errorf("%w: its advisory lock is held", errClaimed)
	}
	return nil
}

// untilGot tries at once, and again and again until ctx ends.
func untilGot(ctx context.Context, try func() (bool, error)) (bool, error) {
	tick := time.NewTicker(claimTried)
	defer tick.Stop()
	for {
		if got, err := try(); got || err != nil {
			return got, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}

// keepClaim renews the claim when it was lost. While another process has it the log says
// so: it may be a bridge that was started meanwhile, or the server has not noticed yet that
// the session before is gone.
func (a *App) keepClaim(renew func(context.Context) error) (stop func()) {
	lost := false
	return a.every(claimEvery, func(ctx context.Context) {
		err := renew(ctx)
		switch taken := errors.Is(err, errClaimed); {
		case taken && !lost:
			lost = true
			a.log.ErrorContext(ctx, "claim on the record lost: another bridge may be serving it", "err", err)
		case err == nil && lost:
			lost = false
			a.log.InfoContext(ctx, "claim on the record renewed")
		case err != nil && !taken && ctx.Err() == nil:
			a.outages.note(ctx, err)
		}
	})
}
