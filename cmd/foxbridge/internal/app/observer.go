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

// Judged implements oauth.Observer. The policy judges personal applications alone.
func (o authorizationObserver) Judged(clientID, verdict, rule string) {
	shadow := verdict == string(oauth.VerdictShadow)
	judgement := metrics.Judgement{Verdict: metrics.Verdict(verdict), Rule: rule}
	if shadow {
		judgement.Verdict = metrics.SwitchOff
	}
	o.Metrics.Judged(metrics.Personal, judgement, shadow)
	o.log.LogAttrs(context.Background(), slog.LevelInfo, "verdict on an application",
		slog.String("client_id", clientID), slog.String("verdict", verdict), slog.String("rule", rule))
}

// Switched implements oauth.Observer.
func (o authorizationObserver) Switched(clientID string, off bool, by string) {
	o.Metrics.Switched(off, by)
	level, message := slog.LevelInfo, "application reactivated"
	if off {
		level, message = slog.LevelWarn, "application switched off"
	}
	o.log.LogAttrs(context.Background(), level, message, slog.String("client_id", clientID), slog.String("by", by))
}
