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
	shadow bool // no verdict changes an answer
	log    *slog.Logger
}

// Judged implements oauth.Observer. The policy judges personal applications alone.
func (o authorizationObserver) Judged(clientID, verdict, rule string) {
	counted := verdict
	if verdict == string(oauth.VerdictShadow) {
		counted = string(oauth.VerdictSwitchOff)
	}
	o.Metrics.Judged(string(oauth.Personal), counted, rule, o.shadow)
	o.log.LogAttrs(context.Background(), slog.LevelInfo, "verdict on an application",
		slog.String("client_id", clientID), slog.String("verdict", verdict), slog.String("rule", rule))
}

// ConnectionsChanged implements oauth.Observer. The histories of the homes tell of it.
func (authorizationObserver) ConnectionsChanged(string) {}

// Switched implements oauth.Observer.
func (o authorizationObserver) Switched(clientID string, off bool, by string) {
	o.Metrics.Switched(off, by)
	level, message := slog.LevelInfo, "application reactivated"
	if off {
		level, message = slog.LevelWarn, "application switched off"
	}
	o.log.LogAttrs(context.Background(), level, message, slog.String("client_id", clientID), slog.String("by", by))
}
