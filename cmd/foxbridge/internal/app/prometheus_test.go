package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// monitor starts Prometheus or Alertmanager and gives the address that it has taken. It
// is ended with the test.
func monitor(t testing.TB, dir, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	require.NoError(t, err, "make test installs it")
	log := &transcript{}
	c := exec.Command(path, append(args, "--web.listen-address=127.0.0.1:0")...)
	c.Dir, c.Stdout, c.Stderr = dir, log, log
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
		if t.Failed() {
			t.Logf("log of %s:\n%s", program, log)
		}
	})
	var address []string
	require.Eventually(t, func() bool {
		address = regexp.MustCompile(`msg="Listening on" address=(\S+)`).FindStringSubmatch(log.String())
		return address != nil
	}, 30*time.Second, 20*time.Millisecond)
	return address[1]
}

func writeFile(t testing.TB, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// Prometheus scrapes a bridge, the operator's own rule fires for the application that
// wastes tokens, Alertmanager tells the bridge, and the application is switched off: in
// the middle of what it asks for, with the reason in the answers.
func TestOperatorsOwnPolicyInPromQL(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-the-test"
	cfg := settings(t)
	cfg.AlertToken = token
	cfg.IssuanceHour, cfg.IssuanceDay, cfg.LimitTokenPersonal = 0, 0, 0 // the rule is all that there is
	b := startBridge(t, cfg)
	h := b.furnish(t) // this application has one token
	good := h.token
	loud, secret, err := b.Record().OAuth.AddClient(t.Context(), h.email, "Loud script")
	require.NoError(t, err)
	h.secret = secret

	dir := t.TempDir()
	writeFile(t, dir, "alert-token", token)
	writeFile(t, dir, "alertmanager.yml", fmt.Sprintf(`
route: {receiver: foxbridge, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1m}
receivers:
  - name: foxbridge
    webhook_configs:
      - url: %s
        send_resolved: false
        http_config: {authorization: {credentials_file: alert-token}}
`, b.operator("/alerts")))
	alertmanager := monitor(t, dir, "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=am", "--cluster.listen-address=")
	writeFile(t, dir, "rules.yml", `
groups:
  - name: own
    rules:
      - alert: TooManyTokens
        expr: sum by (client_id) (foxbridge_oauth_wasteful_tokens_total{client_id!~"other|former"}) > 4
        labels: {action: deactivate}
        annotations: {summary: "{{ $value }} wasteful tokens, and 4 are allowed."}
`)
	writeFile(t, dir, "prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs: [{job_name: foxbridge, static_configs: [{targets: [%q]}]}]
`, alertmanager, b.OperatorAddr().String()))
	// An alert that was ready before Prometheus had found the Alertmanager is dropped, and
	// sent again after this delay.
	monitor(t, dir, "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--rules.alert.resend-delay=1s")

	var body string
	issued := 0
	require.Eventually(t, func() bool {
		status, _, answer := b.askToken(t, h, loud.ID)
		if status == http.StatusOK {
			h.take(t, answer)
			issued++
			return false
		}
		body = answer
		return status == http.StatusBadRequest
	}, 90*time.Second, 300*time.Millisecond, "no alert has come")
	require.Greater(t, issued, 5)
	told := regexp.MustCompile(`"reason":"alert TooManyTokens: \d+ wasteful tokens, and 4 are allowed\."`)
	require.Contains(t, body, `"error":"unauthorized_client"`)
	require.Contains(t, body, `"error_uri":"`+b.URL()+"/dev/apps/"+loud.ID+`"`)
	require.Contains(t, body, `"by":"alert"`)
	require.Regexp(t, told, body)
	status, body := b.get(t, b.url("/v2/client/site/items?access_token="+h.token))
	require.Equal(t, http.StatusUnauthorized, status, body)
	require.Contains(t, body, `"error":"invalid_token"`)
	require.Regexp(t, told, body)
	status, body = b.get(t, b.url("/v2/client/site/items?access_token="+good))
	require.Equal(t, http.StatusOK, status, body)

	rulings, err := b.Record().OAuth.Verdicts(t.Context(), loud.ID, 0)
	require.NoError(t, err)
	require.Len(t, rulings, 1)
	require.Equal(t, oauth.ByAlert, rulings[0].Actor)
	require.Regexp(t, `^alert [0-9a-f]{16} \d{4}-`, rulings[0].Key)
	_, exported := b.get(t, b.operator("/metrics"))
	require.Contains(t, exported, `foxbridge_applications_switched_total{by="alert",to="off"} 1`)
	require.Contains(t, exported, fmt.Sprintf(`foxbridge_oauth_wasteful_tokens_total{client_id=%q} %d`, loud.ID, issued-1))
	require.Eventually(t, func() bool {
		_, metrics := b.get(t, b.operator("/metrics"))
		return strings.Contains(metrics, `foxbridge_alerts_received_total{result="switched"} 1`)
	}, 10*time.Second, 20*time.Millisecond)
}

// An alert switches an application off and on, each time once.
func TestAnAlertSwitchesTheApplication(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.AlertToken = "a-token-of-the-test"
	b := startBridge(t, cfg)
	h := b.furnish(t)
	clients, err := b.Record().OAuth.Clients(t.Context(), "", 10)
	require.NoError(t, err)
	send := func(fingerprint, action string) (int, string) {
		t.Helper()
		body := `{"version":"4","alerts":[{"status":"firing","startsAt":"2026-03-01T12:00:00Z","fingerprint":"` + fingerprint + `",` +
			`"labels":{"alertname":"Flood","client_id":"` + clients[0].ID + `","action":"` + action + `"},"annotations":{"summary":"It floods."}}]}`
		r, err := http.NewRequest(http.MethodPost, b.operator("/alerts"), strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+cfg.AlertToken)
		status, _, answer := b.do(t, r)
		return status, answer
	}
	for _, step := range []struct {
		fingerprint, action, result string
		status                      int // of the API
	}{
		{"a1", "deactivate", "switched", http.StatusUnauthorized},
		{"a1", "deactivate", "unchanged", http.StatusUnauthorized},
		{"a2", "reactivate", "switched", http.StatusOK},
		{"a1", "deactivate", "unchanged", http.StatusOK}, // it was carried out before
	} {
		status, answer := send(step.fingerprint, step.action)
		require.Equal(t, http.StatusOK, status, answer)
		require.Contains(t, answer, `"result":"`+step.result+`"`)
		status, answer = b.get(t, b.url("/v2/client/site/items?access_token="+h.token))
		require.Equal(t, step.status, status, answer)
		if status == http.StatusUnauthorized {
			require.Contains(t, answer, `"by":"alert"`)
			require.Contains(t, answer, `"reason":"alert Flood: It floods."`)
		}
	}
}

// Applications that nobody registered, and a stranger who knows the client_id of one but
// not its secret, make no series and count for nobody.
func TestOnlyIssuedTokensMakeSeries(t *testing.T) {
	t.Parallel()
	b := startBridge(t, settings(t))
	h := b.furnish(t)
	clients, err := b.Record().OAuth.Clients(t.Context(), "", 10)
	require.NoError(t, err)
	series := func() []string {
		_, exported := b.get(t, b.operator("/metrics"))
		return regexp.MustCompile(`(?m)^foxbridge_oauth_(?:tokens_issued|wasteful_tokens)_total.*$`).FindAllString(exported, -1)
	}
	before := series()
	require.Contains(t, strings.Join(before, "\n"), clients[0].ID)
	form := url.Values{"grant_type": {"password"}, "username": {h.email}, "password": {h.password}}
	for n := range 200 {
		r, err := http.NewRequest(http.MethodPost, b.url("/oauth2/token"), strings.NewReader(form.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		clientID := fmt.Sprintf("%032x", n)
		if n%10 == 0 {
			clientID = clients[0].ID
		}
		r.SetBasicAuth(clientID, strings.Repeat("0", 64))
		status, _, _ := b.do(t, r)
		require.NotEqual(t, http.StatusOK, status)
	}
	require.ElementsMatch(t, before, series())
}
