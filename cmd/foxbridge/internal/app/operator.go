package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	operatorConnections = 64
	probeTimeout        = 2 * time.Second // of everything that one /readyz asks
)

// probe asks whether one thing that the bridge needs works, and says in a fixed
// phrase what is wrong if not.
type probe struct {
	name    string
	failing func(context.Context) string // empty if it works
}

// operatorHandler serves the operator's listener. alerts is what receives them; nil if
// nothing does.
func operatorHandler(gatherer prometheus.Gatherer, probes []probe, alerts http.Handler, withPProf bool, log *slog.Logger) http.Handler {
	routes := http.NewServeMux()
	routes.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	}))
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // who asked is gone: nobody is left to tell
	})
	routes.HandleFunc("GET /readyz", readiness(probes, log))
	if alerts != nil {
		routes.Handle("/alerts", alerts)
	}
	if withPProf {
		routes.HandleFunc("GET /debug/pprof/", pprof.Index)
		routes.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		routes.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		routes.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		routes.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return routes
}

// readiness answers 200 only if every probe works; the body names those that do not.
func readiness(probes []probe, log *slog.Logger) http.HandlerFunc {
	type answer struct {
		Ready   bool              `json:"ready"`
		Failing map[string]string `json:"failing"` // what is wrong, by what fails; empty if ready
	}
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
		defer cancel()
		a := answer{Failing: map[string]string{}}
		for _, p := range probes {
			if wrong := p.failing(ctx); wrong != "" {
				a.Failing[p.name] = wrong
			}
		}
		a.Ready = len(a.Failing) == 0
		status := http.StatusOK
		if !a.Ready {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(a); err != nil {
			log.DebugContext(ctx, "readiness not sent", "err", err)
		}
	}
}
