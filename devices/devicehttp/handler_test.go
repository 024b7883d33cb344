package devicehttp_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
	"github.com/foxbridge/foxbridge/devices/devicepgx"
	"github.com/foxbridge/foxbridge/devices/devicesqlite"
	"github.com/foxbridge/foxbridge/internal/apitest"
)

// api is the API over a real store, with a unit that answers by the test's rule.
type api struct {
	*httptest.Server
	t       testing.TB
	service *devices.Service
	answer  func(devices.Order) *devices.Ack // nil: silence
	mu      sync.Mutex
	sent    []devices.Order
	seq     int64
	site    devices.Site
	unit    devices.Unit
	shutter devices.Device
	socket  devices.Device
	limits  []devicehttp.Limit
	things  map[devices.Kind]devices.Device // one of each kind, shutter and socket among them
	owner   devices.Person                  // who the caller is
	caller  error                           // what the caller function answers, if not nil
	scopes  []string                        // of the caller's token; nil: it is unscoped
}

func (a *api) Send(ctx context.Context, o devices.Order) error {
	a.mu.Lock()
	a.sent = append(a.sent, o)
	ack := a.answer(o)
	a.mu.Unlock()
	if ack != nil {
		return a.service.Acknowledge(ctx, o.UnitID, *ack)
	}
	return nil
}

func (a *api) done(o devices.Order) *devices.Ack {
	a.seq++
	said := map[string]any{"mode": "off"} // which a heater has to say
	row, _ := devices.OperationOf(o.Kind, o.Operation)
	maps.Copy(said, row.Sets)
	readings, err := json.Marshal(said)
	require.NoError(a.t, err)
	return &devices.Ack{CommandID: o.CommandID, Outcome: devices.Done, State: &devices.StateReport{Sequence: a.seq, Time: time.Now(), Readings: readings}}
}

// connect has the unit come online, with the catalogue that it knows.
func (a *api) connect(catalogue int) {
	a.t.Helper()
	require.NoError(a.t, a.service.ReportLink(a.t.Context(), a.unit.ID, devices.LinkReport{Online: true, Session: "s", Clock: time.Now(), Catalogue: catalogue}))
}

func newAPI(t testing.TB, commandGet bool, more ...devices.NewDevice) *api {
	t.Helper()
	db := migrationstest.SQLite(t)
	return newAPIOn(t, devicesqlite.New(db), func(insert string) (id int64) {
		require.NoError(t, db.Write(t.Context(), "", func(ctx context.Context, tx *sql.Tx) error {
			return tx.QueryRowContext(ctx, insert).Scan(&id)
		}))
		return id
	}, commandGet, more...)
}

// addAlice is the statement that adds the owner, and gives her ID.
const addAlice = "INSERT INTO oauth_users (email, name, password_hash, created_at) VALUES ('alice', 'Alice', '', %s) RETURNING id"

// newAPIOn is newAPI on another store; query runs a statement that gives a number.
func newAPIOn(t testing.TB, store devices.Store, query func(string) int64, commandGet bool, more ...devices.NewDevice) *api {
	t.Helper()
	a := &api{t: t, owner: devices.Person{Name: "Alice", Email: "alice@example.org"}, things: map[devices.Kind]devices.Device{}}
	a.answer = a.done
	log := slog.New(slog.DiscardHandler)
	a.service = devices.New(devices.Options{Store: store, Now: time.Now, Logger: log, Wait: time.Second, LaneDepth: 4})
	a.service.SetSender(a)
	now := "0"
	if _, is := store.(*devicepgx.Store); is {
		now = "now()"
	}
	a.owner.UserID = query(fmt.Sprintf(addAlice, now))
	var err error
	a.site, err = a.service.AddSite(t.Context(), a.owner.UserID, "Séjour", "Europe/Paris")
	require.NoError(t, err)
	var list []devices.Device
	wanted := []devices.NewDevice{{Kind: devices.Shutter, Label: "Kitchen"}, {Kind: devices.Socket, Label: "Lamp"}}
	for _, kind := range devices.DeviceKinds() {
		if kind != devices.Shutter && kind != devices.Socket {
			wanted = append(wanted, devices.NewDevice{Kind: kind, Label: "The " + string(kind)})
		}
	}
	a.unit, _, list, err = a.service.AddUnit(t.Context(), a.site.ID, append(wanted, more...))
	require.NoError(t, err)
	a.shutter, a.socket = list[0], list[1]
	for _, d := range list {
		if _, has := a.things[d.Kind]; !has {
			a.things[d.Kind] = d
		}
	}
	a.connect(devices.CatalogueVersion)

	routes := mux.NewRouter()
	devicehttp.New(devicehttp.Options{
		Service: a.service, Now: time.Now, Logger: log, CommandGet: commandGet,
		Limits: func(_ context.Context, c devices.Caller) ([]devicehttp.Limit, error) {
			require.Equal(t, a.owner.UserID, c.UserID)
			return a.limits, nil
		},
		Caller: func(*http.Request) (devices.Caller, error) {
			return devices.Caller{UserID: a.owner.UserID, UserName: "Alice", ClientID: "app", ClientName: "Script", Unscoped: a.scopes == nil, Scopes: a.scopes}, a.caller
		},
	}).Register(routes)
	a.Server = httptest.NewServer(apitest.Shared(t).Handler(t, routes))
	t.Cleanup(a.Close)
	return a
}

type reply struct {
	*http.Response
	body map[string]any
}

// do sends a request; path stands below /v2 and may hold SITE, SHUTTER and SOCKET.
func (a *api) do(method, path string, header ...string) reply {
	a.t.Helper()
	id := func(n int64) string { return strconv.FormatInt(n, 10) }
	path = strings.NewReplacer("SITE", id(a.site.ID), "SHUTTER", id(a.shutter.ID), "SOCKET", id(a.socket.ID)).Replace(path)
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.URL+"/v2"+path, nil)
	require.NoError(a.t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := a.Client().Do(request)
	require.NoError(a.t, err)
	defer response.Body.Close()
	got := reply{Response: response}
	require.Equal(a.t, "application/json; charset=utf-8", response.Header.Get("Content-Type"), "%s %s", method, path)
	if method != http.MethodHead {
		require.NoError(a.t, json.NewDecoder(response.Body).Decode(&got.body))
		require.InDelta(a.t, time.Now().Unix(), got.body["timestamp"], 5)
	}
	return got
}

func (a *api) ok(method, path string, header ...string) map[string]any {
	a.t.Helper()
	got := a.do(method, path, header...)
	require.Equal(a.t, http.StatusOK, got.StatusCode, "%s %s: %v", method, path, got.body)
	require.Equal(a.t, "OK", got.body["status"])
	require.NotContains(a.t, got.body, "error")
	payload, _ := got.body["payload"].(map[string]any)
	return payload
}

func (a *api) ko(status int, code, method, path string, header ...string) reply {
	a.t.Helper()
	got := a.do(method, path, header...)
	require.Equal(a.t, status, got.StatusCode, "%s %s: %v", method, path, got.body)
	require.Equal(a.t, "KO", got.body["status"])
	require.Equal(a.t, code, got.body["error"])
	require.NotEmpty(a.t, got.body["error_description"])
	require.NotContains(a.t, got.body, "payload")
	return got
}

func TestSitesHaveEveryKeyThatClientsRead(t *testing.T) {
	a := newAPI(t, true)
	sites := a.ok("GET", "/client/site/items")["items"].([]any)
	require.Equal(t, []any{map[string]any{
		"siteId": float64(a.site.ID), "label": "Séjour", "brand": "Myfox", "timezone": "Europe/Paris", "AXA": nil,
		"cameraCount": 0.0, "gateCount": 1.0, "shutterCount": 1.0, "socketCount": 1.0, "moduleCount": 1.0, "heaterCount": 2.0,
		"scenarioCount": 0.0, "deviceTemperatureCount": 2.0, "deviceStateCount": 1.0, "deviceLightCount": 2.0,
		"deviceDetectorCount": 1.0, "arcsoftToken": nil, "buzzSiteId": nil,
	}}, sites, "a climate sensor counts for both that it measures, a thermostat is a heater")
}

func TestListsOfDevices(t *testing.T) {
	a := newAPI(t, true)
	for _, path := range []string{"/site/SITE/device/shutter/items", "/site/SITE/device/shutter/items/"} {
		require.Equal(t, []any{map[string]any{
			"deviceId": float64(a.shutter.ID), "label": "Kitchen", "modelId": 14.0, "modelLabel": "DIO module for shutter",
		}}, a.ok("GET", path)["items"], "with and without a slash at the end")
	}
	empty, err := a.service.AddSite(t.Context(), 1, "Empty", "UTC")
	require.NoError(t, err)
	require.Equal(t, []any{}, a.ok("GET", "/site/"+strconv.FormatInt(empty.ID, 10)+"/device/socket/items")["items"], "an empty list is an array")
}

func TestEveryOperationOfTheCatalogueReachesTheUnit(t *testing.T) {
	a := newAPI(t, true)
	for _, row := range devices.Catalogue() {
		if row.Action != devices.Operate {
			continue
		}
		path := strings.NewReplacer("{site}", "SITE", "{device}", strconv.FormatInt(a.things[row.Kind].ID, 10)).Replace(row.Path)
		for _, variant := range []struct{ method, path string }{{"POST", path}, {"POST", path + "/"}, {"GET", path}} {
			a.sent = nil
			require.Equal(t, map[string]any{"request": "OK"}, a.ok(variant.method, variant.path))
			require.Len(t, a.sent, 1)
			require.Equal(t, row.Operation, a.sent[0].Operation)
			require.Equal(t, row.Kind, a.sent[0].Kind)
		}
	}
}

func TestSecurityLevelIsNumberAndLabel(t *testing.T) {
	a := newAPI(t, true)
	a.ko(http.StatusServiceUnavailable, "not_reported", "GET", "/site/SITE/security")
	for _, level := range devices.SecurityLevels() {
		a.ok("POST", "/site/SITE/security/set/"+level.Label)
		require.Equal(t, map[string]any{
			"status": float64(level.Code), "statusLabel": level.Label, "alarm": "quiet", "exitDelayUntil": nil, "entryDelayUntil": nil,
		}, a.ok("GET", "/site/SITE/security"))
	}
}

func TestOutcomesOnTheWire(t *testing.T) {
	a := newAPI(t, true)
	const open = "/site/SITE/device/SHUTTER/shutter/open"
	id := func(r reply) string {
		t.Helper()
		id := r.Header.Get("Foxbridge-Command-Id")
		require.NotEmpty(t, id, "every answer of a command names it")
		return id
	}
	outcome := func(id string) any {
		t.Helper()
		return a.ok("GET", "/site/SITE/command/"+id)["outcome"]
	}
	require.Equal(t, "done", outcome(id(a.do("POST", open))))

	a.answer = func(o devices.Order) *devices.Ack {
		return &devices.Ack{CommandID: o.CommandID, Outcome: devices.Refused, Reason: "something is in the way"}
	}
	got := a.ko(http.StatusConflict, "unit_refused", "POST", open)
	require.Contains(t, got.body["error_description"], "something is in the way")
	require.Equal(t, "refused", outcome(id(got)))

	a.answer = func(devices.Order) *devices.Ack { return nil }
	got = a.ko(http.StatusGatewayTimeout, "outcome_unknown", "POST", open)
	require.Equal(t, "unknown", outcome(id(got)))
	require.NoError(t, a.service.Acknowledge(t.Context(), a.unit.ID, *a.done(a.sent[len(a.sent)-1])))
	require.Equal(t, "done", outcome(id(got)), "a late answer corrects the record")

	require.NoError(t, a.service.ReportLink(t.Context(), a.unit.ID, devices.LinkReport{Session: "s"}))
	before := len(a.sent)
	got = a.ko(http.StatusServiceUnavailable, "unit_offline", "POST", open)
	require.Equal(t, "30", got.Header.Get("Retry-After"))
	require.Equal(t, "offline", outcome(id(got)))
	require.Len(t, a.sent, before, "nothing was sent")
}

func TestRespondAsync(t *testing.T) {
	a := newAPI(t, true)
	a.answer = func(devices.Order) *devices.Ack { return nil }
	got := a.do("POST", "/site/SITE/device/SHUTTER/shutter/open", "Prefer", "wait=5, Respond-Async; x=1")
	require.Equal(t, http.StatusAccepted, got.StatusCode)
	require.Equal(t, "OK", got.body["status"])
	require.Equal(t, "respond-async", got.Header.Get("Preference-Applied"))
	id := got.Header.Get("Foxbridge-Command-Id")
	at := got.Header.Get("Location")
	require.Equal(t, "/v2/site/"+strconv.FormatInt(a.site.ID, 10)+"/command/"+id, at)
	record := a.ok("GET", strings.TrimPrefix(at, "/v2"))
	require.Equal(t, "pending", record["outcome"])
	require.Equal(t, id, record["commandId"])
	require.Equal(t, float64(a.shutter.ID), record["deviceId"])
	require.Nil(t, record["finishedAt"])
	require.NoError(t, a.service.Drain(t.Context()))
}

func TestIdempotencyKeyOnTheWire(t *testing.T) {
	a := newAPI(t, true)
	first := a.do("POST", "/site/SITE/device/SHUTTER/shutter/open", "Idempotency-Key", "k")
	second := a.do("POST", "/site/SITE/device/SHUTTER/shutter/open", "Idempotency-Key", "k")
	require.Equal(t, first.Header.Get("Foxbridge-Command-Id"), second.Header.Get("Foxbridge-Command-Id"))
	require.Len(t, a.sent, 1)
	a.ko(http.StatusUnprocessableEntity, "idempotency_key_reuse", "POST", "/site/SITE/device/SHUTTER/shutter/close", "Idempotency-Key", "k")
	a.ko(http.StatusUnprocessableEntity, "bad_idempotency_key", "POST", "/site/SITE/device/SHUTTER/shutter/open", "Idempotency-Key", "a", "Idempotency-Key", "b")
	a.ko(http.StatusUnprocessableEntity, "bad_idempotency_key", "POST", "/site/SITE/device/SHUTTER/shutter/open", "Idempotency-Key", "")
	require.Len(t, a.sent, 1)
}

func TestWhatIsNotThereIsInTheEnvelope(t *testing.T) {
	a := newAPI(t, true)
	for path, text := range map[string]string{
		"/site/99999999/security":                                 "Unknown site ID",
		"/site/0/security":                                        "Unknown site ID",
		"/site/-1/security":                                       "Unknown site ID",
		"/site/abc/security":                                      "Unknown site ID",
		"/site/1e3/history":                                       "Unknown site ID",
		"/site/99999999999999999999/security":                     "Unknown site ID",
		"/site/%00/security":                                      "Unknown site ID",
		"/site/SITE/device/99999999999999999999/shutter/open":     "Unknown device ID",
		"/site/SITE/device/%FF/shutter/open":                      "Unknown device ID",
		"/site/SITE/device/SOCKET/shutter/open":                   "Unknown device ID",
		"/site/SITE/device/0/shutter/open":                        "Unknown device ID",
		"/site/SITE/command/nothing":                              "Unknown command ID",
		"/site/SITE/command/%00":                                  "Unknown command ID",
		"/site/SITE/command/019a0000-0000-7000-8000-000000000000": "Unknown command ID",
		"/site/SITE/security/set/panic":                           "Unknown operation: expected one of armed, partial, disarmed",
		"/site/SITE/device/SHUTTER/shutter/explode":               "Unknown operation: expected one of open, close, my",
		"/nowhere":   "Unknown path",
		"/":          "Unknown path",
		"":           "Unknown path",
		"/site/SITE": "Unknown path",
		"/site/SITE/device/SHUTTER/shutter/open/more/" + strings.Repeat("x", 900): "Unknown path",
	} {
		got := a.ko(http.StatusNotFound, "not_found", "GET", path)
		require.Equal(t, text, got.body["error_description"], path)
	}
	require.Empty(t, a.sent)
}

func TestMethods(t *testing.T) {
	a := newAPI(t, true)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "BREW"} {
		require.Equal(t, "GET, POST", a.ko(http.StatusMethodNotAllowed, "method_not_allowed", method, "/site/SITE/security/set/armed").Header.Get("Allow"))
	}
	require.Equal(t, "GET, HEAD", a.ko(http.StatusMethodNotAllowed, "method_not_allowed", "POST", "/site/SITE/security").Header.Get("Allow"))
	require.Equal(t, http.StatusMethodNotAllowed, a.do("HEAD", "/site/SITE/security/set/armed").StatusCode, "HEAD does not arm")
	require.Equal(t, http.StatusOK, a.do("HEAD", "/client/site/items").StatusCode)
	require.Empty(t, a.sent)

	t.Run("GET for commands can be switched off", func(t *testing.T) {
		a := newAPI(t, false)
		require.Equal(t, "POST", a.ko(http.StatusMethodNotAllowed, "method_not_allowed", "GET", "/site/SITE/security/set/armed").Header.Get("Allow"))
		require.Empty(t, a.sent)
		a.ok("POST", "/site/SITE/security/set/armed")
	})
}

func TestLimits(t *testing.T) {
	a := newAPI(t, true)
	require.Equal(t, []any{}, a.ok("GET", "/limits")["items"], "never null")
	a.limits = []devicehttp.Limit{{Policy: "api", Quota: 600, Window: time.Minute, Remaining: 599, Reset: 100 * time.Millisecond}}
	require.Equal(t, []any{map[string]any{"policy": "api", "quota": 600.0, "window": 60.0, "remaining": 599.0, "reset": 1.0}}, a.ok("GET", "/limits/")["items"])
	require.Equal(t, "GET, HEAD", a.ko(http.StatusMethodNotAllowed, "method_not_allowed", "POST", "/limits").Header.Get("Allow"))
	a.caller = &devicehttp.AuthError{Status: 429, Code: "slow_down", Description: "Wait", RetryAfter: 1100 * time.Millisecond}
	require.Equal(t, "2", a.ko(http.StatusTooManyRequests, "slow_down", "GET", "/limits").Header.Get("Retry-After"))
}

func TestHistoryFilters(t *testing.T) {
	a := newAPI(t, true)
	a.ok("POST", "/site/SITE/device/SHUTTER/shutter/open")
	a.ok("POST", "/site/SITE/security/set/armed")
	labels := func(query string) (out []string) {
		t.Helper()
		for _, item := range a.ok("GET", "/site/SITE/history"+query)["items"].([]any) {
			entry := item.(map[string]any)
			_, err := time.Parse("2006-01-02T15:04:05Z", entry["createdAt"].(string))
			require.NoError(t, err)
			require.Positive(t, entry["logId"])
			out = append(out, entry["label"].(string))
		}
		return out
	}
	opened, armed := "Kitchen opened by Alice (Script)", "Alarm armed by Alice (Script)"
	require.Equal(t, []string{armed, opened}, labels("?type=security,homeAuto"), "the latest comes first")
	require.Equal(t, []string{opened, armed}, labels("?type=security,homeAuto&dateOrder=1&unknown=x"))
	require.Equal(t, []string{armed}, labels("?type=security&dateOrder=-1"))
	require.Equal(t, []string{armed, opened}, labels("?type=homeAuto,security,security"))
	require.Empty(t, labels("?dateTo=2020-01-01T00:00:00Z"))
	now := time.Now().UTC()
	require.Len(t, labels("?dateFrom="+now.AddDate(-1, 0, 0).Format("2006-01-02T15:04:05Z")+"&dateTo="+now.Format("2006-01-02T15:04:05Z")+"&type=security,homeAuto"), 2, "the last second is inside")
	for query, names := range map[string]string{
		"?dateFrom=yesterday":              "dateFrom",
		"?dateTo=2026-13-01T00:00:00Z":     "dateTo",
		"?dateTo=2026-01-01T00:00:00%2B02": "dateTo",
		"?dateFrom=2026-01-01T00:00:00.5Z": "dateFrom",
		"?dateOrder=2":                     "dateOrder",
		"?type=party":                      "type",
		"?type=security,":                  "type",
		"?type=%00":                        "type",
		"?type=%FF":                        "type",
		"?type=security&type=alarm":        "type",
		"?dateFrom=2999-01-01T00:00:00Z":   "dateFrom",
		"?dateFrom=2026-01-02T00:00:00Z&dateTo=2026-01-01T00:00:00Z": "dateFrom",
	} {
		got := a.ko(http.StatusUnprocessableEntity, "bad_filter", "GET", "/site/SITE/history"+query)
		require.Contains(t, got.body["error_description"], names, query)
	}
}

func TestMissingScopeIsNamed(t *testing.T) {
	a := newAPI(t, true)
	a.scopes = []string{"security:read", "security:arm"}
	got := a.ko(http.StatusForbidden, "insufficient_scope", "POST", "/site/SITE/security/set/disarmed")
	require.Equal(t, `Bearer realm="foxbridge", error="insufficient_scope", scope="security:disarm"`, got.Header.Get("WWW-Authenticate"))
	require.Contains(t, got.body["error_description"], "security:disarm")
	require.Empty(t, a.sent)
	a.ok("POST", "/site/SITE/security/set/armed")
}

func TestWithoutARightTokenNothingHappens(t *testing.T) {
	a := newAPI(t, true)
	a.caller = &devicehttp.AuthError{Status: 401, Code: "invalid_token", Description: "The access token provided is invalid", Challenge: `Bearer realm="foxbridge"`}
	for _, path := range []string{"/client/site/items", "/site/SITE/security/set/armed", "/site/SITE/history"} {
		got := a.ko(http.StatusUnauthorized, "invalid_token", "GET", path)
		require.Equal(t, `Bearer realm="foxbridge"`, got.Header.Get("WWW-Authenticate"))
	}
	a.caller = &devicehttp.AuthError{
		Status: 401, Code: "invalid_token", Description: "The application is switched off",
		URI: "https://foxbridge.example/dev/apps/1", Explanation: map[string]any{"by": "policy", "since": "2026-11-22T10:00:00Z", "count": 21, "advice": "Keep the token"},
	}
	explained := a.ko(http.StatusUnauthorized, "invalid_token", "GET", "/client/site/items")
	require.Equal(t, "https://foxbridge.example/dev/apps/1", explained.body["error_uri"])
	require.Equal(t, 21.0, explained.body["explanation"].(map[string]any)["count"])
	a.caller = errors.New("the database is on fire at 10.0.0.1")
	got := a.ko(http.StatusInternalServerError, "server_error", "GET", "/client/site/items")
	require.NotContains(t, got.body["error_description"], "fire", "nothing of the inside is shown")
	a.caller = fmt.Errorf("find access token: %w: connection refused at 10.0.0.1", devices.ErrUnavailable)
	got = a.ko(http.StatusServiceUnavailable, "temporarily_unavailable", "POST", "/site/SITE/security/set/armed")
	require.Equal(t, "5", got.Header.Get("Retry-After"))
	require.Equal(t, "The server cannot answer at the moment; try again later", got.body["error_description"])
	require.Empty(t, a.sent)
}
