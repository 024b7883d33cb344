package broker

import (
	"context"
	"log/slog"
)

// quiet is the log handler that mochi gets: its words are for debugging, whatever
// level it gives them, and the packets that it adds to them are left out, since a CONNECT
// holds a password and a PUBLISH what goes on in a house.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	said := slog.NewRecord(r.Time, slog.LevelDebug, "mochi: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if speakable(a) {
			said.AddAttrs(a)
		}
		return true
	})
	return q.Handler.Handle(ctx, said)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		if speakable(a) {
			kept = append(kept, a)
		}
	}
	return quiet{q.Handler.WithAttrs(kept)}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// speakable reports whether an attribute of mochi's is known to hold no packet.
func speakable(a slog.Attr) bool {
	switch a.Key {
	case "error", "client", "listener", "remote", "old_remote", "new_remote", "hook", "id", "address", "protocol", "version":
		return true
	default:
		return false
	}
}
