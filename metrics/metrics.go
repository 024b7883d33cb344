// Package metrics counts and times what a bridge does, for Prometheus. Its
// collectors only report: nothing is ever decided by them.
//
// Labels are bounded: routes are templates, reasons and outcomes are fixed phrases,
// and a client_id is that of one of the busiest applications; see Options.Series.
package metrics

import (
	"cmp"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "foxbridge"

// Metrics are the collectors of one bridge. Its methods are the observers that the
// domains and adapters declare; they may be called concurrently and never block.
type Metrics struct {
	registerer prometheus.Registerer

	httpRequests *prometheus.CounterVec
	httpDuration *prometheus.HistogramVec

	fleet    *fleet
	refusals *prometheus.CounterVec
	verdicts *prometheus.CounterVec
	switched *prometheus.CounterVec
	alerts   *prometheus.CounterVec

	limitRefusals   *prometheus.CounterVec
	limitUnanswered prometheus.Counter
	storeUnanswered prometheus.Counter

	commands        *prometheus.CounterVec
	scenarios       *prometheus.CounterVec
	acknowledgement *prometheus.HistogramVec

	notices *prometheus.CounterVec

	linkUp   prometheus.Gauge
	received *prometheus.CounterVec

	commitSize prometheus.Histogram
	commitWait prometheus.Histogram
}

// DefaultSeries is the Options.Series of who asks for none.
const DefaultSeries = 200

// Options configures Metrics.
type Options struct {
	// Series is how many applications, the busiest ones, have issuance series of their own;
	// 0 is DefaultSeries. The tokens of the rest are summed under client_id "other".
	Series int
}

// New registers the collectors at r. A name that is taken there already is an error.
func New(r prometheus.Registerer, o Options) (*Metrics, error) {
	latency := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 8, 10}
	m := &Metrics{
		registerer: r,
		httpRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "http_requests_total",
			Help: "Requests answered on the public listener.",
		}, []string{"route", "method", "code"}),
		httpDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_duration_seconds", Buckets: latency,
			Help: "Time from a request's header to the end of its answer; of a command that includes the wait for the house.",
		}, []string{"route", "method"}),
		fleet: newFleet(cmp.Or(o.Series, DefaultSeries)),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "oauth_refusals_total",
			Help: "What the authorization server refused: requests of applications, sign-ins, consents and bearer tokens, by reason.",
		}, []string{"reason"}),
		limitRefusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "limit_refused_total",
			Help: "Requests and commands that were refused because a limit was spent, by its policy.",
		}, []string{"policy"}),
		limitUnanswered: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "limit_unanswered_total",
			Help: "Requests that were permitted uncounted, because the store of the limits gave no answer.",
		}),
		storeUnanswered: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "store_unanswered_total",
			Help: "Requests and background work that failed because the database gave no answer, or not in time.",
		}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "issuance_verdicts_total",
			Help: "Verdicts of the issuance policy other than fine, by kind of application and the rule that came nearest; mode is shadow if they changed no answer.",
		}, []string{"kind", "verdict", "rule", "mode"}),
		switched: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "applications_switched_total",
			Help: "Applications switched off and on, by what did it.",
		}, []string{"to", "by"}),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "alerts_received_total",
			Help: "Alerts that came to the operator's webhook, by what became of them.",
		}, []string{"result"}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "commands_total",
			Help: "Commands by what became of them. One whose late acknowledgement corrected its record counts under both outcomes.",
		}, []string{"kind", "operation", "outcome"}),
		scenarios: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "scenarios_total",
			Help: "Occurrences of scenarios that run by themselves, by type and by what became of them. One that ran may have commands that were not done.",
		}, []string{"type", "outcome"}),
		acknowledgement: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "command_acknowledgement_seconds", Buckets: latency,
			Help: "Time from a command's acceptance to the unit's own acknowledgement.",
		}, []string{"kind", "operation"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "notices_total",
			Help: "Attempts to tell somebody of a verdict on an application, by channel and what became of them: told, failed (tried again later), given_up, vain (nobody is to be told), withheld (enough was told of that owner's applications).",
		}, []string{"channel", "result"}),
		linkUp: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "mqtt_link_up",
			Help: "1 while the bridge is connected to its broker, else 0.",
		}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "mqtt_received_total",
			Help: "Messages from units, by what they were and what became of them.",
		}, []string{"what", "result"}),
		commitSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "commit_batch_size", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
			Help: "Callers whose writes shared one durable commit.",
		}),
		commitWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "commit_wait_seconds",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
			Help:    "Longest wait of a caller for the commit of its write, one observation for each commit.",
		}),
	}
	return m, m.register(
		m.httpRequests, m.httpDuration, m.fleet, m.refusals, m.verdicts, m.switched, m.alerts, m.limitRefusals, m.limitUnanswered, m.storeUnanswered,
		m.commands, m.scenarios, m.acknowledgement, m.notices, m.linkUp, m.received, m.commitSize, m.commitWait,
	)
}

func (m *Metrics) register(collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		if err := m.registerer.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// Build tells which version of the program this is. A second call is an error.
func (m *Metrics) Build(version string) error {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help:        "1, with the version of the program and of Go that built it as labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	return m.register(info)
}

// Gauges are values that are read when Prometheus asks. Each function may be called
// concurrently; NaN says that the value is not to be had.
type Gauges struct {
	UnitsOnline   func() float64 // HomeControl units whose link is up
	PasswordQueue func() float64 // sign-ins that wait for a worker
	PasswordBusy  func() float64 // workers that are hashing
}

// Watch registers the gauges. A second call is an error.
func (m *Metrics) Watch(g Gauges) error {
	return m.register(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "units_online",
			Help: "HomeControl units that are online, as the store has it.",
		}, g.UnitsOnline),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "password_queue_length",
			Help: "Sign-ins that wait for a password worker.",
		}, g.PasswordQueue),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "password_workers_busy",
			Help: "Password workers that are hashing.",
		}, g.PasswordBusy),
	)
}

// RequestServed counts an answered request. route is its template, such as
// /v2/site/{site}/security; a method that HTTP does not define counts as "other".
func (m *Metrics) RequestServed(route, method string, code int, took time.Duration) {
	method = knownMethod(method)
	m.httpRequests.WithLabelValues(route, method, strconv.Itoa(code)).Inc()
	m.httpDuration.WithLabelValues(route, method).Observe(took.Seconds())
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	default:
		return "other"
	}
}

// TokenIssued counts an access token. clientID is that of an authenticated client,
// grant a fixed phrase.
func (m *Metrics) TokenIssued(clientID, grant string, wasteful bool) {
	m.fleet.issued(clientID, grant, wasteful)
}

// Deleted says that an application is gone: its series stand for nobody any more.
func (m *Metrics) Deleted(clientID string) { m.fleet.deleted(clientID) }

// Judged counts a verdict of the issuance policy other than fine. kind is that of the
// application, rule the one that came nearest to its limit; shadow says that no answer
// was changed. All are fixed phrases.
func (m *Metrics) Judged(kind, verdict, rule string, shadow bool) {
	m.verdicts.WithLabelValues(kind, verdict, rule, modeOf(shadow)).Inc()
}

func modeOf(shadow bool) string {
	if shadow {
		return "shadow"
	}
	return "enforced"
}

// Switched counts an application that was switched off, or on again. by is a fixed
// phrase, such as policy, alert, owner or operator.
func (m *Metrics) Switched(off bool, by string) {
	to := "on"
	if off {
		to = "off"
	}
	m.switched.WithLabelValues(to, by).Inc()
}

// AlertReceived counts an alert by what became of it, a fixed phrase.
func (m *Metrics) AlertReceived(result string) { m.alerts.WithLabelValues(result).Inc() }

// NoticeAttempted counts an attempt to tell somebody of a verdict. Both are fixed words.
func (m *Metrics) NoticeAttempted(channel, result string) {
	m.notices.WithLabelValues(channel, result).Inc()
}

// Refused counts a refusal of the authorization server. reason is a fixed phrase.
func (m *Metrics) Refused(reason string) { m.refusals.WithLabelValues(reason).Inc() }

// LimitPolicy tells of a policy of the limits: it is shown from the start.
func (m *Metrics) LimitPolicy(policy string) { m.limitRefusals.WithLabelValues(policy) }

// LimitRefused counts what was refused by a policy of the limits.
func (m *Metrics) LimitRefused(policy string) { m.limitRefusals.WithLabelValues(policy).Inc() }

// LimitUnanswered counts a request that no limit could be asked about.
func (m *Metrics) LimitUnanswered() { m.limitUnanswered.Inc() }

// StoreUnanswered counts what failed because the database gave no answer.
func (m *Metrics) StoreUnanswered() { m.storeUnanswered.Inc() }

// CommandFinished counts an outcome of a command.
func (m *Metrics) CommandFinished(kind, operation, outcome string) {
	m.commands.WithLabelValues(kind, operation, outcome).Inc()
}

// ScenarioEnded counts what became of an occurrence of a scenario that runs by itself. Both
// are fixed phrases.
func (m *Metrics) ScenarioEnded(kind, outcome string) {
	m.scenarios.WithLabelValues(kind, outcome).Inc()
}

// CommandAcknowledged times a unit's acknowledgement from the command's acceptance.
func (m *Metrics) CommandAcknowledged(kind, operation string, after time.Duration) {
	m.acknowledgement.WithLabelValues(kind, operation).Observe(after.Seconds())
}

// LinkUp tells whether the bridge is connected to its broker.
func (m *Metrics) LinkUp(up bool) {
	if up {
		m.linkUp.Set(1)
		return
	}
	m.linkUp.Set(0)
}

// Received counts a message of a unit: what it was and what became of it.
func (m *Metrics) Received(what, result string) { m.received.WithLabelValues(what, result).Inc() }

// Committed tells of a durable commit: how many callers' writes it held, and the
// longest that one of them waited.
func (m *Metrics) Committed(size int, wait time.Duration) {
	m.commitSize.Observe(float64(size))
	m.commitWait.Observe(wait.Seconds())
}
