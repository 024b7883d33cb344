package app

import (
	"context"
	"log/slog"

	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/oauth"
)

// authorizationObserver counts what the authorization server does, and logs what is
// decided about an application.
type authorizationObserver struct {
	*metrics.Metrics
	log *slog.Logger
}

// Judged logs a verdict on an application. One that ends its use is a warning.
func (o authorizationObserver) Judged(clientID, verdict string) {
	level := slog.LevelInfo
	if verdict == string(oauth.VerdictSwitchOff) {
		level = slog.LevelWarn
	}
	o.log.LogAttrs(context.Background(), level, "verdict on an application",
		slog.String("client_id", clientID), slog.String("verdict", verdict))
}
