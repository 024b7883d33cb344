package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

const (
	alertToken = "a-token-of-the-test"
	known      = "4f0c1b7a9d2e4c6f8a1b3c5d7e9f0a2b"
	another    = "00000000000000000000000000000000"
)

// switchboard is a switcher that knows the applications known and another.
type switchboard struct {
	mu      sync.Mutex
	off     map[string]bool
	done    map[string]bool
	reasons []string
	err     error // instead of everything else
}

func newSwitchboard() *switchboard {
	return &switchboard{off: map[string]bool{known: false, another: false}, done: map[string]bool{}}
}

func (s *switchboard) SwitchOff(ctx context.Context, clientID string, by oauth.Actor, key, reason string) (bool, error) {
	return s.set(ctx, clientID, true, by, key, reason)
}

func (s *switchboard) Reactivate(ctx context.Context, clientID string, by oauth.Actor, key, reason string) (bool, error) {
	return s.set(ctx, clientID, false, by, key, reason)
}

func (s *switchboard) set(ctx context.Context, clientID string, off bool, by oauth.Actor, key, reason string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, bounded := ctx.Deadline(); !bounded {
		return false, errors.New("no deadline")
	}
	if by != oauth.ByAlert {
		return false, fmt.Errorf("by %s", by)
	}
	if s.err != nil {
		return false, s.err
	}
	if _, there := s.off[clientID]; !there {
		return false, &oauth.FieldError{Field: "client_id", Problem: "names no application", Err: oauth.ErrNotFound}
	}
	if s.done[clientID+key] || s.off[clientID] == off {
		return false, nil
	}
	s.done[clientID+key], s.off[clientID] = true, off
	s.reasons = append(s.reasons, reason)
	return true, nil
}

// webhook is a receiver with what it works on.
type webhook struct {
	*switchboard
	http.Handler
	mu      sync.Mutex
	results map[string]int
	log     strings.Builder
}

func newWebhook() *webhook {
	w := &webhook{switchboard: newSwitchboard(), results: map[string]int{}}
	w.Handler = alertReceiver{alertOptions{
		token: alertToken, switcher: w.switchboard, log: slog.New(slog.NewTextHandler(&w.log, nil)),
		observe: func(result string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.results[result]++
		},
	}}
	return w
}

func (w *webhook) post(body string, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/alerts", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+alertToken)
	if len(authorization) > 0 {
		r.Header.Set("Authorization", authorization[0])
	}
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	return answer
}

// an alert of Alertmanager, in which some fields are set otherwise; nil takes one out.
func anAlert(fields map[string]any) map[string]any {
	a := map[string]any{
		"status": "firing", "fingerprint": "d1e5f0a1b2c3d4e5", "startsAt": "2026-11-22T15:00:00.123Z", "endsAt": "0001-01-01T00:00:00Z",
		"labels":       map[string]any{"alertname": "TokenFlood", "client_id": known},
		"annotations":  map[string]any{"summary": "More than 200 wasteful tokens an hour."},
		"generatorURL": "http://prometheus.example.com/graph",
	}
	maps.Copy(a, fields)
	maps.DeleteFunc(a, func(_ string, v any) bool { return v == nil })
	return a
}

func labels(pairs ...string) map[string]any {
	all := map[string]any{"alertname": "TokenFlood", "client_id": known}
	for n := 0; n < len(pairs); n += 2 {
		all[pairs[n]] = pairs[n+1]
	}
	return all
}

func groupOf(t testing.TB, alerts ...map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"version": "4", "status": "firing", "receiver": "foxbridge", "truncatedAlerts": 0, "alerts": append([]map[string]any{}, alerts...)})
	require.NoError(t, err)
	return string(text)
}

func TestAlertSwitchesAnApplicationOff(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	answer := w.post(groupOf(t, anAlert(nil)))
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	require.JSONEq(t, `{"alerts":[{"alert":"TokenFlood","client_id":"`+known+`","result":"switched"}]}`, answer.Body.String())
	require.True(t, w.off[known])
	require.False(t, w.off[another])
	require.Equal(t, []string{"alert TokenFlood: More than 200 wasteful tokens an hour."}, w.reasons)
}

func TestRepeatedAlertDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	group := groupOf(t, anAlert(nil))
	w.post(group)
	require.Contains(t, w.post(group).Body.String(), "unchanged")

	w.off[known] = false // its owner has reactivated it
	require.Contains(t, w.post(group).Body.String(), "unchanged")
	require.False(t, w.off[known], "an alert that goes on does not overrule the owner")

	later := anAlert(map[string]any{"startsAt": "2026-11-22T16:00:00Z"})
	require.Contains(t, w.post(groupOf(t, later)).Body.String(), "switched", "one that begins anew does")
	require.True(t, w.off[known])

	w.off[known] = false
	other := anAlert(map[string]any{"fingerprint": "ffff"})
	w.post(groupOf(t, other))
	require.True(t, w.off[known], "so does another")
	require.Equal(t, map[string]int{"switched": 3, "unchanged": 2}, w.results)
}

func TestResolvedAlertDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	w.post(groupOf(t, anAlert(nil)))
	answer := w.post(groupOf(t, anAlert(map[string]any{"status": "resolved", "endsAt": "2026-11-22T17:00:00Z"})))
	require.Equal(t, http.StatusOK, answer.Code)
	require.Contains(t, answer.Body.String(), `"result":"resolved"`)
	require.True(t, w.off[known])
}

func TestAlertReactivates(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	w.post(groupOf(t, anAlert(map[string]any{"labels": labels("action", "deactivate")})))
	require.True(t, w.off[known])
	back := anAlert(map[string]any{"labels": labels("action", "reactivate"), "annotations": nil, "fingerprint": "abc"})
	require.Equal(t, http.StatusOK, w.post(groupOf(t, back)).Code)
	require.False(t, w.off[known])
	require.Equal(t, "alert TokenFlood", w.reasons[1])
}

func TestForgedAlertsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	for _, authorization := range []string{
		"", "Bearer", "Bearer ", "Bearer  " + alertToken, "Bearer " + alertToken + " ", "Bearer " + alertToken[1:],
		"Bearer " + strings.ToUpper(alertToken), "Basic " + alertToken, alertToken, "Bearer wrong",
	} {
		answer := w.post(groupOf(t, anAlert(nil)), authorization)
		require.Equal(t, http.StatusUnauthorized, answer.Code, "%q", authorization)
		require.Equal(t, `Bearer realm="alerts"`, answer.Header().Get("WWW-Authenticate"))
	}
	require.Equal(t, http.StatusUnauthorized, w.post("", "Bearer wrong").Code, "before anything is read")
	require.False(t, w.off[known])
	require.Equal(t, map[string]int{"unauthorized": 11}, w.results)
	require.NotContains(t, w.log.String(), alertToken)
	require.Equal(t, http.StatusOK, w.post(groupOf(t), "bearer "+alertToken).Code, "RFC 9110: the scheme in any case")

	open := alertReceiver{alertOptions{token: "", switcher: w, observe: func(string) {}, log: slog.New(slog.DiscardHandler)}}
	r := httptest.NewRequest(http.MethodPost, "/alerts", strings.NewReader(groupOf(t)))
	r.Header.Set("Authorization", "Bearer ")
	answer := httptest.NewRecorder()
	open.ServeHTTP(answer, r)
	require.Equal(t, http.StatusUnauthorized, answer.Code, "no token is not the empty one")
}

func TestAlertsComeByPost(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/alerts", nil))
	require.Equal(t, http.StatusMethodNotAllowed, answer.Code)
	require.Equal(t, "POST", answer.Header().Get("Allow"))
}

func TestNonsenseIsNoAlert(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	many := make([]map[string]any, 1001)
	for n := range many {
		many[n] = map[string]any{}
	}
	for name, tc := range map[string]struct {
		body string
		want int
	}{
		"nothing":            {"", http.StatusBadRequest},
		"no JSON":            {"alerts", http.StatusBadRequest},
		"another type":       {"[]", http.StatusBadRequest},
		"no alerts":          {`{"version":"4"}`, http.StatusBadRequest},
		"alerts as text":     {`{"version":"4","alerts":"all"}`, http.StatusBadRequest},
		"another version":    {`{"version":"3","alerts":[]}`, http.StatusBadRequest},
		"more than a body":   {groupOf(t) + "{}", http.StatusBadRequest},
		"cut off":            {strings.TrimSuffix(groupOf(t, anAlert(nil)), "}"), http.StatusBadRequest},
		"a bad time":         {groupOf(t, anAlert(map[string]any{"startsAt": "yesterday"})), http.StatusBadRequest},
		"a label of numbers": {groupOf(t, anAlert(map[string]any{"labels": map[string]any{"client_id": 7}})), http.StatusBadRequest},
		"too large":          {groupOf(t, anAlert(map[string]any{"annotations": labels("summary", strings.Repeat("a", 1<<20))})), http.StatusRequestEntityTooLarge},
		"endless":            {groupOf(t) + strings.Repeat(" ", 1<<20), http.StatusRequestEntityTooLarge},
		"too many":           {groupOf(t, many...), http.StatusRequestEntityTooLarge},
	} {
		require.Equal(t, tc.want, w.post(tc.body).Code, name)
	}
	require.Equal(t, map[string]int{"nonsense": 13}, w.results)
	require.Empty(t, w.reasons)
}

func TestAlertsThatMakeNoSenseLeaveTheOthers(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]map[string]any{
		"no status":         {"status": nil},
		"unknown status":    {"status": "suppressed"},
		"no labels":         {"labels": nil},
		"no client":         {"labels": map[string]any{"alertname": "x"}},
		"a client's name":   {"labels": labels("client_id", "Alarm script")},
		"the rest":          {"labels": labels("client_id", "other")},
		"capitals":          {"labels": labels("client_id", strings.ToUpper(known))},
		"a longer client":   {"labels": labels("client_id", known+"0")},
		"unknown client":    {"labels": labels("client_id", strings.Repeat("f", 32))},
		"unknown action":    {"labels": labels("action", "delete")},
		"empty action":      {"labels": labels("action", "")},
		"no name":           {"labels": labels("alertname", "")},
		"no fingerprint":    {"fingerprint": nil},
		"bad fingerprint":   {"fingerprint": "../x"},
		"long fingerprint":  {"fingerprint": strings.Repeat("a", 65)},
		"no start":          {"startsAt": nil},
		"the zero of times": {"startsAt": "0001-01-01T00:00:00Z"},
	} {
		w := newWebhook()
		good := anAlert(map[string]any{"labels": labels("client_id", another)})
		answer := w.post(groupOf(t, anAlert(fields), good))
		require.Equal(t, http.StatusBadRequest, answer.Code, name)
		require.Equal(t, map[string]int{"nonsense": 1, "switched": 1}, w.results, name)
		require.Equal(t, map[string]bool{known: false, another: true}, w.off, name)
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	w.err = errors.New("the disk is gone")
	answer := w.post(groupOf(t, anAlert(nil), anAlert(map[string]any{"status": nil})))
	require.Equal(t, http.StatusInternalServerError, answer.Code, "Alertmanager repeats what is answered 5xx")
	require.NotContains(t, answer.Body.String(), "disk")
	require.Contains(t, w.log.String(), "the disk is gone")
	w.err = nil
	require.Equal(t, http.StatusOK, w.post(groupOf(t, anAlert(nil))).Code)
	require.True(t, w.off[known])
}

func TestRecordedReasonIsOneShortLine(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	w.post(groupOf(t, anAlert(map[string]any{"annotations": map[string]any{"description": "a\x00b\r\n\t c\u0085" + strings.Repeat("é", 1000)}})))
	require.Len(t, w.reasons, 1)
	require.True(t, strings.HasPrefix(w.reasons[0], "alert TokenFlood: a b c éé"), w.reasons[0])
	require.Equal(t, 300, utf8.RuneCountInString(w.reasons[0]))
}

// What the record cannot hold as a reason, such as the joiner of an emoji, keeps no alert
// from being carried out.
func TestAnAlertWithWhatNobodySeesIsCarriedOut(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	receiver := alertReceiver{alertOptions{token: alertToken, switcher: r.service, observe: func(string) {}, log: slog.New(slog.DiscardHandler)}}
	alert := anAlert(map[string]any{
		"labels":      labels("client_id", r.client.ID, "alertname", "Flood\u00adgate"),
		"annotations": map[string]any{"summary": "\ufeffA \U0001F468\u200d\U0001F469 wastes\u2028\u202etoo\u3164 \u26a0\ufe0f much"},
	})
	request := httptest.NewRequest(http.MethodPost, "/alerts", strings.NewReader(groupOf(t, alert)))
	request.Header.Set("Authorization", "Bearer "+alertToken)
	answer := httptest.NewRecorder()
	receiver.ServeHTTP(answer, request)
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	way, err := r.service.WayBack(t.Context(), r.client.ID)
	require.NoError(t, err)
	require.Equal(t, "alert Floodgate: A \U0001F468\U0001F469 wastes too \u26a0\ufe0f much", way.By.Reason)
}

// What would be refused again, however often it is sent, is not asked for again.
func TestAnAlertThatIsRefusedMakesNoSense(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	w.err = &oauth.FieldError{Field: "reason", Problem: "is not text"}
	answer := w.post(groupOf(t, anAlert(nil)))
	require.Equal(t, http.StatusBadRequest, answer.Code)
	require.Contains(t, answer.Body.String(), `"result":"nonsense","wrong":"reason is not text"`)
}

func TestOneOfManyRepeatsAtOnceSwitches(t *testing.T) {
	t.Parallel()
	w := newWebhook()
	group := groupOf(t, anAlert(nil))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { w.post(group) })
	}
	all.Wait()
	require.Equal(t, map[string]int{"switched": 1, "unchanged": 49}, w.results)
}

// Whatever comes: nothing but an application's id, in a short clean line, goes on to be
// switched.
func FuzzAlerts(f *testing.F) {
	f.Add(groupOf(f, anAlert(nil)))
	f.Add(groupOf(f, anAlert(map[string]any{"labels": labels("action", "reactivate")})))
	f.Add(`{"version":"4","alerts":[{"labels":null}]}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, body string) {
		group, status, err := readAlerts(strings.NewReader(body))
		if err != nil {
			require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, status)
			return
		}
		for _, a := range group.Alerts {
			w, wrong := wishOf(a)
			require.LessOrEqual(t, utf8.RuneCountInString(w.reason), maxAlertReason)
			require.NotContains(t, w.reason, "\x00")
			require.NotContains(t, w.reason, "\n")
			if wrong == "" {
				require.Regexp(t, `^[0-9a-f]{32}$`, w.clientID)
				require.Regexp(t, `^alert [0-9a-f]{1,64} \d{4}-\d\d-\d\dT[0-9:.]+Z$`, w.key)
			}
		}
	})
}
