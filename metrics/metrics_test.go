package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/metrics"
)

func fresh(t *testing.T) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	m, err := metrics.New(r, metrics.Options{})
	require.NoError(t, err)
	return m, r
}

func one(v float64) func() float64 { return func() float64 { return v } }

// exercise touches every collector.
func exercise(t *testing.T, m *metrics.Metrics) {
	t.Helper()
	require.NoError(t, m.Build("v1.2.3"))
	require.NoError(t, m.Watch(metrics.Gauges{UnitsOnline: one(3), PasswordQueue: one(2), PasswordBusy: one(1)}))
	m.RequestServed("/v2/client/site/items", "GET", 200, 20*time.Millisecond)
	m.RequestServed("unmatched", "BREW", 404, time.Millisecond)
	m.RequestServed("unmatched", "brew", 404, time.Millisecond)
	m.TokenIssued("c1", "password", false)
	m.TokenIssued("c1", "password", true)
	m.Judged("personal", "switch_off", "hour", false)
	m.Judged("commercial", "warning", "day", true)
	m.Switched(true, "policy")
	m.Switched(false, "owner")
	m.AlertReceived("switched")
	m.Refused("wrong password")
	m.LimitPolicy("api")
	m.LimitPolicy("alarm")
	m.LimitRefused("alarm")
	m.LimitUnanswered()
	m.CommandFinished("security", "armed", "done")
	m.ScenarioEnded("scheduled", "missed")
	m.CommandAcknowledged("security", "armed", 300*time.Millisecond)
	m.LinkUp(true)
	m.Received("ack", "ok")
	m.Committed(7, 2*time.Millisecond)
}

func TestCountersSayWhatHappened(t *testing.T) {
	t.Parallel()
	m, r := fresh(t)
	exercise(t, m)
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP foxbridge_commands_total Commands by what became of them. One whose late acknowledgement corrected its record counts under both outcomes.
# TYPE foxbridge_commands_total counter
foxbridge_commands_total{kind="security",operation="armed",outcome="done"} 1
# HELP foxbridge_scenarios_total Occurrences of scenarios that run by themselves, by type and by what became of them. One that ran may have commands that were not done.
# TYPE foxbridge_scenarios_total counter
foxbridge_scenarios_total{outcome="missed",type="scheduled"} 1
# HELP foxbridge_http_requests_total Requests answered on the public listener.
# TYPE foxbridge_http_requests_total counter
foxbridge_http_requests_total{code="200",method="GET",route="/v2/client/site/items"} 1
foxbridge_http_requests_total{code="404",method="other",route="unmatched"} 2
# HELP foxbridge_limit_refused_total Requests and commands that were refused because a limit was spent, by its policy.
# TYPE foxbridge_limit_refused_total counter
foxbridge_limit_refused_total{policy="alarm"} 1
foxbridge_limit_refused_total{policy="api"} 0
# HELP foxbridge_limit_unanswered_total Requests that were permitted uncounted, because the store of the limits gave no answer.
# TYPE foxbridge_limit_unanswered_total counter
foxbridge_limit_unanswered_total 1
# HELP foxbridge_mqtt_link_up 1 while the bridge is connected to its broker, else 0.
# TYPE foxbridge_mqtt_link_up gauge
foxbridge_mqtt_link_up 1
# HELP foxbridge_mqtt_received_total Messages from units, by what they were and what became of them.
# TYPE foxbridge_mqtt_received_total counter
foxbridge_mqtt_received_total{result="ok",what="ack"} 1
# HELP foxbridge_oauth_refusals_total What the authorization server refused: requests of applications, sign-ins, consents and bearer tokens, by reason.
# TYPE foxbridge_oauth_refusals_total counter
foxbridge_oauth_refusals_total{reason="wrong password"} 1
# HELP foxbridge_password_queue_length Sign-ins that wait for a password worker.
# TYPE foxbridge_password_queue_length gauge
foxbridge_password_queue_length 2
# HELP foxbridge_password_workers_busy Password workers that are hashing.
# TYPE foxbridge_password_workers_busy gauge
foxbridge_password_workers_busy 1
# HELP foxbridge_oauth_tokens_issued_total Access tokens issued, by application and grant type. The busiest applications have a client_id, the rest are other; former is what was counted for those that are no longer among the busiest, and says nothing of a rate.
# TYPE foxbridge_oauth_tokens_issued_total counter
foxbridge_oauth_tokens_issued_total{client_id="c1",grant="password"} 2
# HELP foxbridge_oauth_wasteful_tokens_total Access tokens issued while the same application still held, for the same person, one with more than five minutes of its life left; client_id as in foxbridge_oauth_tokens_issued_total.
# TYPE foxbridge_oauth_wasteful_tokens_total counter
foxbridge_oauth_wasteful_tokens_total{client_id="c1"} 1
foxbridge_oauth_wasteful_tokens_total{client_id="former"} 0
foxbridge_oauth_wasteful_tokens_total{client_id="other"} 0
# HELP foxbridge_issuance_verdicts_total Verdicts of the issuance policy other than fine, by kind of application and the rule that came nearest; mode is shadow if they changed no answer.
# TYPE foxbridge_issuance_verdicts_total counter
foxbridge_issuance_verdicts_total{kind="commercial",mode="shadow",rule="day",verdict="warning"} 1
foxbridge_issuance_verdicts_total{kind="personal",mode="enforced",rule="hour",verdict="switch_off"} 1
# HELP foxbridge_applications_switched_total Applications switched off and on, by what did it.
# TYPE foxbridge_applications_switched_total counter
foxbridge_applications_switched_total{by="owner",to="on"} 1
foxbridge_applications_switched_total{by="policy",to="off"} 1
# HELP foxbridge_alerts_received_total Alerts that came to the operator's webhook, by what became of them.
# TYPE foxbridge_alerts_received_total counter
foxbridge_alerts_received_total{result="switched"} 1
# HELP foxbridge_units_online HomeControl units that are online, as the store has it.
# TYPE foxbridge_units_online gauge
foxbridge_units_online 3
`),
		"foxbridge_limit_refused_total", "foxbridge_limit_unanswered_total",
		"foxbridge_commands_total", "foxbridge_scenarios_total", "foxbridge_http_requests_total", "foxbridge_mqtt_link_up", "foxbridge_mqtt_received_total",
		"foxbridge_oauth_refusals_total", "foxbridge_password_queue_length", "foxbridge_password_workers_busy",
		"foxbridge_oauth_tokens_issued_total", "foxbridge_oauth_wasteful_tokens_total", "foxbridge_issuance_verdicts_total",
		"foxbridge_applications_switched_total", "foxbridge_alerts_received_total", "foxbridge_units_online"))

	count, err := testutil.GatherAndCount(r, "foxbridge_build_info")
	require.NoError(t, err)
	require.Equal(t, 1, count)

	m.LinkUp(false)
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP foxbridge_mqtt_link_up 1 while the bridge is connected to its broker, else 0.
# TYPE foxbridge_mqtt_link_up gauge
foxbridge_mqtt_link_up 0
`), "foxbridge_mqtt_link_up"))
}

// What a counter shows when it is first scraped is no increase, so that of a first event
// has to be there before it.
func TestCountersAreThereBeforeTheyCount(t *testing.T) {
	t.Parallel()
	m, r := fresh(t)
	m.Switched(true, "policy")
	m.Start(metrics.Known{
		Verdicts: []metrics.VerdictLabels{{"personal", "notice", "hour", false}, {"personal", "switch_off", "day", true}},
		Off:      []string{"policy", "alert"}, On: []string{"owner"}, Alerts: []string{"failed"},
		Channels: []string{"mail"}, Notices: []string{"told", "failed"},
		Commands: [][2]string{{"socket", "on"}}, Outcomes: []string{"done", "unknown"},
		Scenarios: []string{"scheduled"}, Ends: []string{"ran"}, Messages: []string{"ack"}, Results: []string{"ok"},
	})
	families, err := r.Gather()
	require.NoError(t, err)
	shown := make(map[string]float64)
	for _, f := range families {
		for _, series := range f.GetMetric() {
			if len(series.GetLabel()) == 0 || f.GetName() == "foxbridge_oauth_wasteful_tokens_total" {
				continue
			}
			name := f.GetName()
			for _, l := range series.GetLabel() {
				name += " " + l.GetValue()
			}
			shown[name] = series.GetCounter().GetValue()
		}
	}
	require.Equal(t, map[string]float64{
		"foxbridge_issuance_verdicts_total personal enforced hour notice": 0, "foxbridge_issuance_verdicts_total personal shadow day switch_off": 0,
		"foxbridge_applications_switched_total policy off": 1, "foxbridge_applications_switched_total alert off": 0,
		"foxbridge_applications_switched_total owner on": 0, "foxbridge_alerts_received_total failed": 0,
		"foxbridge_notices_total mail told": 0, "foxbridge_notices_total mail failed": 0,
		"foxbridge_commands_total socket on done": 0, "foxbridge_commands_total socket on unknown": 0,
		"foxbridge_scenarios_total ran scheduled": 0, "foxbridge_mqtt_received_total ok ack": 0,
	}, shown)
}

func TestHistogramsAreInSecondsAndWrites(t *testing.T) {
	t.Parallel()
	m, r := fresh(t)
	exercise(t, m)
	families, err := r.Gather()
	require.NoError(t, err)
	sums := make(map[string]float64)
	for _, f := range families {
		if h := f.GetMetric()[0].GetHistogram(); h != nil {
			sums[f.GetName()] = h.GetSampleSum()
		}
	}
	require.InDelta(t, 0.3, sums["foxbridge_command_acknowledgement_seconds"], 1e-9)
	require.InDelta(t, 0.02, sums["foxbridge_http_request_duration_seconds"], 1e-9)
	require.InDelta(t, 0.002, sums["foxbridge_commit_wait_seconds"], 1e-9)
	require.InDelta(t, 7, sums["foxbridge_commit_batch_size"], 1e-9)
}

func TestNamesFollowPrometheusConventions(t *testing.T) {
	t.Parallel()
	m, r := fresh(t)
	exercise(t, m)
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestTakenNamesAreAnError(t *testing.T) {
	t.Parallel()
	m, r := fresh(t)
	_, err := metrics.New(r, metrics.Options{})
	require.Error(t, err)
	require.NoError(t, m.Build("v1"))
	require.Error(t, m.Build("v1"))
	gauges := metrics.Gauges{UnitsOnline: one(0), PasswordQueue: one(0), PasswordBusy: one(0)}
	require.NoError(t, m.Watch(gauges))
	require.Error(t, m.Watch(gauges))
}
