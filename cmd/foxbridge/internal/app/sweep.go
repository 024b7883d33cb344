package app

import (
	"context"
	"log/slog"
	"time"
)

const (
	sweepEvery = time.Minute
	sweepLimit = 30 * time.Second // of one sweep
)

// sweep ends what was left behind and deletes what has expired, at once and then
// every minute until ctx ends. What a sweep leaves, the next one takes.
func (r *Record) sweep(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		r.sweepOnce(ctx, log)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *Record) sweepOnce(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	if _, err := r.OAuth.Sweep(ctx); err != nil {
		logSweep(ctx, log, "sweep of tokens failed", err)
	}
	if err := r.Devices.Sweep(ctx); err != nil {
		logSweep(ctx, log, "sweep of homes failed", err)
	}
}

// logSweep says that a sweep failed, unless it was the process that ended it.
func logSweep(ctx context.Context, log *slog.Logger, message string, err error) {
	if context.Cause(ctx) != context.Canceled { //nolint:errorlint // the cause is that very value
		log.ErrorContext(ctx, message, "err", err)
	}
}
