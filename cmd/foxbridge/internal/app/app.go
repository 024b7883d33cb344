// Package app is the process of a bridge as a value: it makes the parts, connects
// them, starts and stops them in order. It is the only place that knows them all.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/broker"
	"github.com/foxbridge/foxbridge/oauth"
)

// Options are what a process hands to an App. Logger and Registry are required.
type Options struct {
	Logger   *slog.Logger
	Registry *prometheus.Registry // the App's own: it takes the names of its metrics
	Version  string               // of the program, for the metrics
	Now      func() time.Time     // the clock; nil: time.Now
}

// App is a bridge. Start it once; Stop it always.
type App struct {
	cfg config.Config
	log *slog.Logger

	record   *Record
	senders  senders
	mails    *template.Template
	bell     bell // which wakes the tellers
	limits   *limits
	outages  *outages
	metrics  *metrics.Metrics
	broker   *broker.Broker
	link     *mqtt.Link
	engine   *devices.Engine
	public   *server
	operator *server

	phase   atomic.Value // a phase
	failed  chan error
	started []func(context.Context) error // how to stop what was started, in that order
	stop    sync.Once
	stopErr error
}

// phase is where an App stands, in the words of /readyz; empty while it serves.
type phase string

const (
	starting phase = "is starting"
	serving  phase = ""
	stopping phase = "is stopping"
)

// linkTimeout bounds the way to the embedded broker at the start.
const linkTimeout = 10 * time.Second

// New takes the address of the public listener, opens the record and makes the parts.
// Nothing is served yet: who connects waits for the Start. After an error nothing is
// open.
func New(ctx context.Context, cfg config.Config, o Options) (*App, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o, cfg.IssuanceSeries)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	now := clock(o.Now)
	a := &App{cfg: cfg, log: o.Logger, metrics: m, failed: make(chan error, 2), bell: newBell(authorizationObserver{m, cfg.IssuanceMode == string(oauth.ModeShadow), o.Logger})}
	a.phase.Store(starting)
	if a.senders, err = newSenders(cfg, now); err != nil {
		return nil, err
	}
	if a.mails, err = newMails(); err != nil {
		return nil, err
	}
	// First: applications know the authorization server by the address that is taken.
	a.public = newServer("http", cfg.HTTP, cfg.HTTPConnections, o.Logger)
	if err := a.public.listen(ctx); err != nil {
		return nil, err
	}
	a.onStop(func(context.Context) error { return a.public.release() })
	a.outages = newOutages(o.Logger, now, m.StoreUnanswered)
	a.limits, err = newLimits(ctx, cfg, m, now, o.Logger)
	if err != nil {
		return nil, errors.Join(err, a.public.release())
	}
	a.onStop(a.limits.close)
	a.record, err = openRecord(ctx, cfg, recordOptions{
		issuer: cfg.Issuer(a.HTTPAddr()), tell: observers{oauth: a.bell, devices: m, commits: m.Committed},
		limits: a.limits, now: now, log: o.Logger,
	})
	if err != nil {
		return nil, errors.Join(err, a.limits.close(ctx), a.public.release())
	}
	a.onStop(a.closeRecord)
	if err := a.connect(o, now); err != nil {
		return nil, errors.Join(err, a.record.Close(), a.limits.close(ctx), a.public.release())
	}
	return a, nil
}

// clock gives the time as the stores keep it: UTC, to the microsecond.
func clock(now func() time.Time) func() time.Time {
	if now == nil {
		now = time.Now
	}
	return func() time.Time { return now().UTC().Truncate(time.Microsecond) }
}

func newMetrics(o Options, series int) (*metrics.Metrics, error) {
	m, err := metrics.New(o.Registry, metrics.Options{Series: series})
	if err != nil {
		return nil, err
	}
	m.Start(counted())
	return m, errors.Join(
		m.Build(o.Version),
		o.Registry.Register(collectors.NewGoCollector()),
		o.Registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
}

// connect makes what stands around the record.
func (a *App) connect(o Options, now func() time.Time) error {
	a.broker = broker.New(broker.Options{
		Logger: a.log, Gatekeeper: gatekeeper{a}, TCP: []string{a.cfg.MQTT}, MaximumClients: a.cfg.MQTTConnections,
	})
	var err error
	a.link, err = mqtt.NewLink(mqtt.Options{
		Bridge: a.cfg.BridgeID, House: a.record.Devices, Logger: a.log, Observer: a.metrics, Dial: a.broker.Dial,
	})
	if err != nil {
		return err
	}
	a.record.Devices.SetSender(a.link)
	a.engine = devices.NewEngine(devices.EngineOptions{
		Service: a.record.Devices, Tolerance: a.cfg.ScenarioTolerance, May: a.mayUse, Observe: a.metrics.ScenarioEnded,
	})
	public, err := publicHandler(a.cfg, a.record, a.limits, a.metrics, now, a.outages)
	if err != nil {
		return err
	}
	a.public.handle(public)
	a.operator = newServer("operator", a.cfg.Operator, operatorConnections, a.log)
	a.operator.handle(operatorHandler(o.Registry, a.probes(), a.alerts(), a.cfg.PProf, a.log))
	return a.metrics.Watch(metrics.Gauges{
		UnitsOnline:   a.unitsOnline,
		PasswordQueue: func() float64 { return float64(a.record.passwords.Stats().Waiting) },
		PasswordBusy:  func() float64 { return float64(a.record.passwords.Stats().Busy) },
	})
}

// alerts receives those of Alertmanager; nil if there is no alert-token.
func (a *App) alerts() http.Handler {
	if a.cfg.AlertToken == "" {
		return nil
	}
	return alertReceiver{alertOptions{token: a.cfg.AlertToken, switcher: a.record.OAuth, observe: a.metrics.AlertReceived, log: a.log}}
}

// gatekeeper lets units in by the record.
type gatekeeper struct{ *App }

// Authenticate finds the unit with these credentials. While nobody takes in what
// units report, none is let in: what it says would be lost.
func (g gatekeeper) Authenticate(ctx context.Context, username, password string) (string, bool, error) {
	if !g.link.Connected() {
		return "", false, errors.New("the bridge is not connected to its broker")
	}
	return g.record.Devices.AuthenticateUnit(ctx, username, password)
}

func (a *App) unitsOnline() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	n, err := a.record.Devices.Online(ctx)
	if err != nil {
		return math.NaN()
	}
	return float64(n)
}

// probes are what /readyz asks.
func (a *App) probes() []probe {
	return []probe{
		{"process", func(context.Context) string { return string(a.phase.Load().(phase)) }},
		{"store", func(ctx context.Context) string {
			if err := a.record.ping(ctx); err != nil {
				a.outages.note(ctx, err)
				return "does not answer"
			}
			return ""
		}},
		{"broker", func(ctx context.Context) string {
			if err := a.broker.Healthy(); err != nil {
				a.log.WarnContext(ctx, "broker is stuck", "err", err)
				return "does not pass on what units say"
			}
			return ""
		}},
		{"link", func(context.Context) string {
			if !a.link.Connected() {
				return "is not connected to the broker"
			}
			return ""
		}},
	}
}

// Start opens the listeners, the public one last, and returns when the App serves.
// After an error it is stopped.
func (a *App) Start(ctx context.Context) error {
	for _, start := range []func(context.Context) error{
		a.startClaim, a.startOutages, a.startOperator, a.startCuts, a.startBroker, a.startLink, a.startScenarios, a.startSweep, a.startNotices, a.startUses, a.startPublic,
	} {
		if err := start(ctx); err != nil {
			return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
	}
	a.phase.Store(serving)
	return nil
}

func (a *App) startClaim(ctx context.Context) error {
	claimed, err := a.record.claim(ctx)
	if err != nil {
		return err
	}
	stop := func() {}
	if claimed.renew != nil {
		stop = a.keepClaim(claimed.renew)
	}
	a.onStop(func(context.Context) error {
		stop()
		claimed.release()
		return nil
	})
	return nil
}

func (a *App) startOperator(ctx context.Context) error {
	if err := a.operator.listen(ctx); err != nil {
		return err
	}
	a.startServer(a.operator)
	return nil
}

func (a *App) startPublic(context.Context) error {
	if a.cfg.Exposed(a.HTTPAddr()) {
		a.log.Warn("the public listener is reached from other machines, and public-url is not set: people cannot sign in from there",
			"issuer", a.record.OAuth.Issuer())
	}
	a.startServer(a.public)
	return nil
}

// startServer serves on the address that s has taken.
func (a *App) startServer(s *server) {
	a.onStop(s.stop)
	go func() {
		if err := s.serve(); err != nil {
			a.failed <- err
		}
	}()
	a.listening(s.name, s.addr())
}

func (a *App) startBroker(ctx context.Context) error {
	// The broker begins empty: whoever the record has as connected is not.
	if err := a.record.Devices.Disconnect(ctx); err != nil {
		return err
	}
	if err := a.broker.Start(ctx); err != nil {
		return err
	}
	a.onStop(func(ctx context.Context) error {
		return errors.Join(a.broker.Stop(ctx), a.record.Devices.Disconnect(ctx))
	})
	a.listening("mqtt", a.broker.Addr())
	return nil
}

func (a *App) startLink(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	if err := a.link.Start(ctx); err != nil {
		return err
	}
	a.onStop(a.link.Stop)
	a.onStop(a.record.Devices.Drain) // while the link still brings answers
	return nil
}

// mayUse reports whether an account is there and not disabled.
func (a *App) mayUse(ctx context.Context, userID int64) (bool, error) {
	u, err := a.record.OAuth.User(ctx, userID)
	if errors.Is(err, oauth.ErrNotFound) {
		return false, nil
	}
	return err == nil && u.DisabledAt.IsZero(), err
}

// startScenarios lets scenarios run by themselves. They stop before the link does.
func (a *App) startScenarios(context.Context) error {
	a.engine.Start()
	a.onStop(a.engine.Stop)
	return nil
}

func (a *App) startSweep(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.sweep(ctx)
	}()
	a.onStop(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	return nil
}

func (a *App) listening(name string, at net.Addr) {
	a.log.Info("listening", "name", name, "address", at.String())
}

func (a *App) onStop(stop func(context.Context) error) { a.started = append(a.started, stop) }

// Stop refuses new work, finishes what was accepted and closes everything, in the
// reverse order of the start. When ctx or the shutdown timeout ends first, the rest
// is cut off and that is the error. Only the first call does anything; the others
// wait for it. It is not called while New or Start runs.
func (a *App) Stop(ctx context.Context) error {
	a.stop.Do(func() {
		a.phase.Store(stopping)
		ctx, cancel := context.WithTimeout(ctx, a.cfg.ShutdownTimeout)
		defer cancel()
		var errs []error
		for _, stop := range slices.Backward(a.started) {
			errs = append(errs, stop(ctx))
		}
		a.stopErr = errors.Join(errs...)
		a.log.Info("stopped", "clean", a.stopErr == nil)
	})
	return a.stopErr
}

// closeLimit is how long the record may take to close when everything else was cut
// off: it then has only to drop its connections.
const closeLimit = 5 * time.Second

// closeRecord closes the record, and gives up closeLimit after ctx has ended.
func (a *App) closeRecord(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- a.record.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(closeLimit):
		return fmt.Errorf("close record: %w", ctx.Err())
	}
}

// Failed gives the error of a listener that ended by itself. The App then has to be
// stopped.
func (a *App) Failed() <-chan error { return a.failed }

// HTTPAddr is the address of the public listener.
func (a *App) HTTPAddr() net.Addr { return a.public.addr() }

// URL is the address under which people and applications reach it.
func (a *App) URL() string { return a.record.OAuth.Issuer() }

// MQTTAddr is the address at which units connect. As OperatorAddr it may be called
// once the App was started.
func (a *App) MQTTAddr() net.Addr { return a.broker.Addr() }

// OperatorAddr is the address of the operator's listener.
func (a *App) OperatorAddr() net.Addr { return a.operator.addr() }

// Record is the App's own record. It closes with the App.
func (a *App) Record() *Record { return a.record }
