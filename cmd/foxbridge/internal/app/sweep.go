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
		a.outages.failed(ctx, slog.LevelError, "sweep of tokens failed", err)
	}
	if err := a.record.Devices.Sweep(ctx); err != nil {
		a.outages.failed(ctx, slog.LevelError, "sweep of homes failed", err)
	}
	if err := a.limits.sweep(ctx); err != nil {
		a.outages.failed(ctx, slog.LevelError, "sweep of limits failed", err)
	}
}
