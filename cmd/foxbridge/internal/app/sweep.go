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
func (a *App) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		a.sweepOnce(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *App) sweepOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	if _, err := a.record.OAuth.Sweep(ctx); err != nil {
		logSweep(ctx, a.log, "sweep of tokens failed", err)
	}
	if err := a.record.Devices.Sweep(ctx); err != nil {
		logSweep(ctx, a.log, "sweep of homes failed", err)
	}
	if err := a.limits.sweep(ctx); err != nil {
		logSweep(ctx, a.log, "sweep of limits failed", err)
	}
}

// logSweep says that a sweep failed, unless it was the process that ended it.
func logSweep(ctx context.Context, log *slog.Logger, message string, err error) {
	logUnlessEnded(ctx, log, slog.LevelError, message, err)
}

// logLater is logSweep of what is done again so soon that nothing is amiss yet.
func logLater(ctx context.Context, log *slog.Logger, message string, err error) {
	logUnlessEnded(ctx, log, slog.LevelWarn, message, err)
}

func logUnlessEnded(ctx context.Context, log *slog.Logger, level slog.Level, message string, err error) {
	if context.Cause(ctx) != context.Canceled { //nolint:errorlint // the cause is that very value
		log.Log(ctx, level, message, "err", err)
	}
}
