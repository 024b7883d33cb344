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
type claim func(ctx context.Context) (release func(), err error)

var errClaimed = errors.New("another bridge is serving this record")

// fileClaimTimeout is more than a command that has migrated the file takes to let it go.
const fileClaimTimeout = time.Second

// claimFile claims a SQLite database by a lock on a file beside it, for which it waits as
// long as that. SQLite's own locks come and go with each transaction.
func claimFile(database string, patience time.Duration) claim {
	return func(ctx context.Context) (func(), error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		path := database + ".bridge"
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock file: %w", err)
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
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		case !got:
			return nil, errors.Join(fmt.Errorf("%w: %s is locked", errClaimed, path), file.Close())
		}
		return func() { _ = file.Close() }, nil // which gives up the lock, whatever it returns
	}
}

const (
	claimTimeout = 5 * time.Second // for the server to notice that the bridge before has died
	claimEvery   = 200 * time.Millisecond
	claimSQL     = "SELECT pg_try_advisory_lock(hashtext('foxbridge serve'), hashtext(current_schema()))"
)

// claimSession claims a PostgreSQL schema by an advisory lock of a session of its
// own.
func claimSession(dsn string) claim {
	return func(ctx context.Context) (func(), error) {
		ctx, cancel := context.WithTimeout(ctx, claimTimeout)
		defer cancel()
		config, err := pgxpool.ParseConfig(dsn) // dsn may hold settings of a pool
		if err != nil {
			return nil, fmt.Errorf("read database URL: %w", err)
		}
		conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
		if err != nil {
			return nil, fmt.Errorf("connect to claim the record: %w", err)
		}
		release := func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = conn.Close(ctx) // the session ends either way
		}
		if err := awaitLock(ctx, conn); err != nil {
			release()
			return nil, err
		}
		return release, nil
	}
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
	tick := time.NewTicker(claimEvery)
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
