package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

const (
	usesEvery = 30 * time.Second
	usesLimit = 15 * time.Second // of writing them

	cutEvery = 5 * time.Second
	cutLimit = 5 * time.Second // of looking which units to cut off
	// cutWithin is how far back is looked. The command that replaces a secret runs in
	// another process, the clock of which may be another.
	cutWithin = time.Hour
)

// startUses writes down when applications and browsers were last used, now and then
// and at the end.
func (a *App) startUses(context.Context) error {
	stop := a.every(usesEvery, a.writeUses)
	a.onStop(func(ctx context.Context) error {
		stop()
		ctx, cancel := context.WithTimeout(ctx, usesLimit)
		defer cancel()
		return a.record.OAuth.WriteUses(ctx)
	})
	return nil
}

func (a *App) writeUses(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, usesLimit)
	defer cancel()
	if err := a.record.OAuth.WriteUses(ctx); err != nil {
		a.outages.failed(ctx, slog.LevelError, "uses not written down", err)
	}
}

// startCuts cuts off units whose secret is replaced while they are connected. It comes
// before the broker: of a secret that was replaced until now nobody has made use.
func (a *App) startCuts(ctx context.Context) error {
	replaced, err := a.record.Devices.Replaced(ctx, cutWithin)
	if err != nil {
		return err
	}
	known := make(map[devices.Replacement]bool)
	for _, r := range replaced {
		known[r] = true
	}
	stop := a.every(cutEvery, func(ctx context.Context) { known = a.cutOff(ctx, known) })
	a.onStop(func(context.Context) error {
		stop()
		return nil
	})
	return nil
}

// cutOff ends the connections of units whose secret was replaced and that are not
// known to have been cut off. It gives those that are known then.
func (a *App) cutOff(ctx context.Context, known map[devices.Replacement]bool) map[devices.Replacement]bool {
	ctx, cancel := context.WithTimeout(ctx, cutLimit)
	defer cancel()
	replaced, err := a.record.Devices.Replaced(ctx, cutWithin)
	if err != nil {
		a.outages.failed(ctx, slog.LevelWarn, "replaced secrets of units could not be listed, later again", err)
		return known
	}
	now := make(map[devices.Replacement]bool, len(replaced))
	for _, r := range replaced {
		now[r] = true
		if known[r] {
			continue
		}
		if n := a.broker.Cut(r.UnitID); n > 0 {
			a.log.LogAttrs(ctx, slog.LevelInfo, "unit cut off: its secret was replaced", slog.String("unit", r.UnitID), slog.Int("connections", n))
		}
	}
	return now
}

// every does something now and then until stop is called, which waits for it to end.
func (a *App) every(interval time.Duration, do func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				do(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
