package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/internal/apitest"
	"github.com/foxbridge/foxbridge/internal/limit"
	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/oauth"
)

// counting is a store of limits that remembers who was charged.
type counting struct {
	limit.Store
	keys map[string]int // by policy and key
}

func (c *counting) Charge(ctx context.Context, p limit.Policy, key string) (limit.State, error) {
	c.keys[p.Name+" "+key]++
	return c.Store.Charge(ctx, p, key)
}

// front is the public side of a bridge with a clock of the test's, on which Alice has a
// home whose unit is away, a personal application and a commercial one.
type front struct {
	t       *testing.T
	handler http.Handler
	routes  *mux.Router
	record  *Record
	limits  *limits
	charged map[string]int
	metrics *prometheus.Registry
	now     time.Time

	alice              oauth.User
	personal, business client
	siteID, lamp       int64
}

type client struct{ id, secret string }

const (
	aliceEmail, alicePassword = "alice@example.com", "a password of Alice"
	stranger                  = "192.0.2.1" // where requests come from unless they say otherwise
)

func newFront(t *testing.T, change func(*config.Config)) *front {
	t.Helper()
	return newDescribedFront(t, apitest.Shared(t), change)
}

// newDescribedFront is newFront, held against a description of the API.
func newDescribedFront(t *testing.T, described *apitest.Checker, change func(*config.Config)) *front {
	t.Helper()
	cfg, err := config.Load(pflag.NewFlagSet("", pflag.ContinueOnError), nil)
	require.NoError(t, err)
	cfg.DataDir = t.TempDir()
	if change != nil {
		change(&cfg)
	}
	f := &front{t: t, charged: map[string]int{}, metrics: prometheus.NewRegistry(), now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	m, err := metrics.New(f.metrics, metrics.Options{})
	require.NoError(t, err)
	log, now := slog.New(slog.DiscardHandler), func() time.Time { return f.now }
	memory := limit.NewMemory(limitKeys, now)
	t.Cleanup(memory.Close)
	f.limits = limitsIn(&counting{memory, f.charged}, cfg, m, now, log)
	f.record, err = openRecord(t.Context(), cfg, recordOptions{issuer: "http://localhost:8080", limits: f.limits, now: now, log: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.record.Close()) })
	f.routes, err = publicRoutes(cfg, f.record, f.limits, m, now, newOutages(log, now, m.StoreUnanswered))
	require.NoError(t, err)
	handler, err := publicHandler(cfg, f.record, f.limits, m, now, newOutages(log, now, m.StoreUnanswered))
	require.NoError(t, err)
	f.handler = described.Handler(t, handler)
	f.register()
	return f
}

func (f *front) register() {
	ctx := f.t.Context()
	var err error
	f.alice, err = f.record.OAuth.AddUser(ctx, aliceEmail, "Alice", alicePassword)
	require.NoError(f.t, err)
	c, secret, err := f.record.OAuth.AddClient(ctx, aliceEmail, "Script")
	require.NoError(f.t, err)
	f.personal = client{c.ID, secret}
	c, secret, err = f.record.OAuth.RequestCommercial(ctx, oauth.CommercialRequest{
		OwnerEmail: aliceEmail, Name: "Weather", RedirectURIs: []string{"https://weather.example.com/"}, Scopes: devices.Scopes(),
	})
	require.NoError(f.t, err)
	require.NoError(f.t, f.record.OAuth.Approve(ctx, c.ID))
	f.business = client{c.ID, secret}
	site, err := f.record.Devices.AddSite(ctx, f.alice.ID, "Home", "Europe/Paris")
	require.NoError(f.t, err)
	_, _, list, err := f.record.Devices.AddUnit(ctx, site.ID, []devices.NewDevice{{Kind: devices.Socket, Label: "Lamp"}})
	require.NoError(f.t, err)
	f.siteID, f.lamp = site.ID, list[0].ID
}

// send sends a request; header is names and values, and "From" the caller's address.
func (f *front) send(method, target, form string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.RemoteAddr = stranger + ":1"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "From" {
			r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(header[i+1]), 1).String()
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

func (f *front) tokenRequest(c client, form url.Values, header ...string) *httptest.ResponseRecorder {
	form.Set("client_id", c.id)
	form.Set("client_secret", c.secret)
	return f.send("POST", "/oauth2/token", form.Encode(), header...)
}

// token gets one of Alice's.
func (f *front) token() string {
	f.t.Helper()
	w := f.tokenRequest(f.personal, url.Values{"grant_type": {"password"}, "username": {aliceEmail}, "password": {alicePassword}})
	require.Equal(f.t, http.StatusOK, w.Code, w.Body)
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(f.t, json.Unmarshal(w.Body.Bytes(), &tokens))
	return tokens.AccessToken
}

// api asks below /v2; path may hold SITE and LAMP.
func (f *front) api(token, method, path string) *httptest.ResponseRecorder {
	id := func(n int64) string { return strconv.FormatInt(n, 10) }
	path = strings.NewReplacer("SITE", id(f.siteID), "LAMP", id(f.lamp)).Replace(path)
	return f.send(method, "/v2"+path, "", "Authorization", "Bearer "+token)
}

const (
	list   = "/client/site/items"
	lampOn = "/site/SITE/device/LAMP/socket/on"
	arm    = "/site/SITE/security/set/armed"
)

// envelopeOf reads an answer below /v2.
func envelopeOf(t *testing.T, w *httptest.ResponseRecorder) (status, code string) {
	t.Helper()
	var e struct{ Status, Error string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), w.Body)
	return e.Status, e.Error
}

// wait is the Retry-After of a refusal.
func wait(t *testing.T, w *httptest.ResponseRecorder) time.Duration {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, w.Code, w.Body)
	seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
	return time.Duration(seconds) * time.Second
}

// requireFields fails unless an answer has the two header fields in the form of the
// draft, about the same policies.
func requireFields(t *testing.T, w *httptest.ResponseRecorder, what string) {
	t.Helper()
	policies, states := w.Header().Values("RateLimit-Policy"), w.Header().Values("RateLimit")
	require.Len(t, policies, 1, what)
	require.Len(t, states, 1, what)
	require.Regexp(t, `^"[a-z-]+";q=\d+;w=60(, "[a-z-]+";q=\d+;w=60)*$`, policies[0], what)
	require.Regexp(t, `^"[a-z-]+";r=\d+;t=\d+(, "[a-z-]+";r=\d+;t=\d+)*$`, states[0], what)
	names := regexp.MustCompile(`"[a-z-]+"`)
	require.Equal(t, names.FindAllString(policies[0], -1), names.FindAllString(states[0], -1), what)
}

func TestEveryAnswerTellsTheLimits(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) { cfg.LimitAddress = 100_000 }) // there are many routes
	token := f.token()
	variable := regexp.MustCompile(`\{[^}]*\}`)
	answers := map[int]int{}
	ask := func(method, path, form string, header ...string) {
		w := f.send(method, path, form, header...)
		answers[w.Code]++
		requireFields(t, w, fmt.Sprint(method, " ", path, " ", header, " ", w.Code))
	}
	require.NoError(t, f.routes.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := route.GetPathTemplate()
		require.NoError(t, err)
		for _, value := range []string{"1", strconv.FormatInt(f.siteID, 10)} {
			path := variable.ReplaceAllString(template, value)
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"} {
				ask(method, path, "")
				ask(method, path, "a=b", "Authorization", "Bearer "+token)
			}
			ask("OPTIONS", path, "", "Origin", "https://other.example", "Access-Control-Request-Method", "GET")
		}
		return nil
	}))
	ask("GET", "/no/such/path", "")
	ask("BREW", "/v2/no/such/path", "")
	ask("POST", "/oauth2/token", strings.Repeat("a", maxBody+1), "From", "192.0.2.2") // the other has asked too often by now
	for _, status := range []int{200, 204, 303, 400, 401, 403, 404, 405, 413, 503} {
		require.Positive(t, answers[status], "%v: the answers were none of status %d", answers, status)
	}
}

// A hub that polls 15 lists every 20 seconds, another program of the same person, and
// the person, who taps for a while each minute: for an hour none of them meets a limit.
func TestAnOrdinaryHomeMeetsNoLimit(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	token, begin := f.token(), f.now
	lists := []string{list, "/site/SITE/security", "/site/SITE/device/socket/items", "/site/SITE/device/shutter/items", "/site/SITE/history"}
	for second := range 10 * 60 {
		f.now = begin.Add(time.Duration(second) * time.Second)
		var paths []string
		if second%20 == 0 {
			for range 3 {
				paths = append(paths, lists...)
			}
		}
		if second%10 == 5 {
			paths = append(paths, "/site/SITE/security")
		}
		for _, path := range paths {
			require.NotEqual(t, http.StatusTooManyRequests, f.api(token, "GET", path).Code)
		}
		if second%600 < 10 {
			for range 3 {
				require.Equal(t, http.StatusServiceUnavailable, f.api(token, "POST", lampOn).Code)
			}
			require.Equal(t, http.StatusServiceUnavailable, f.api(token, "POST", arm).Code)
		}
	}
}

func TestASpentLimitIsToldAndComesBack(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) { cfg.LimitAPI = 4 })
	token := f.token()
	for left := 3; left >= 0; left-- {
		w := f.api(token, "GET", list)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, `"api";q=4;w=60`, w.Header().Get("RateLimit-Policy"))
		require.Equal(t, fmt.Sprintf(`"api";r=%d;t=%d`, left, 15*(4-left)), w.Header().Get("RateLimit"))
	}
	w := f.api(token, "GET", list)
	require.Equal(t, 15*time.Second, wait(t, w))
	require.Equal(t, `"api";r=0;t=60`, w.Header().Get("RateLimit"))
	status, code := envelopeOf(t, w)
	require.Equal(t, "KO", status)
	require.Equal(t, "slow_down", code)
	require.Empty(t, w.Header().Get("WWW-Authenticate"), "the token is good")

	w = f.send("GET", "/oauth2/userinfo", "", "Authorization", "Bearer "+token)
	wait(t, w)
	require.JSONEq(t, `{"error":"slow_down","error_description":"Too many requests: wait before the next one"}`, w.Body.String())

	f.now = f.now.Add(15 * time.Second)
	require.Equal(t, http.StatusOK, f.api(token, "GET", list).Code)
	require.Equal(t, 2.0, f.refused("api"))
}

// refused is the metric of refusals by a policy.
func (f *front) refused(policy string) float64 {
	f.t.Helper()
	families, err := f.metrics.Gather()
	require.NoError(f.t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "foxbridge_limit_refused_total" && m.GetLabel()[0].GetValue() == policy {
				return m.GetCounter().GetValue()
			}
		}
	}
	require.Fail(f.t, "there is no such metric", policy)
	return 0
}

func TestSpentBudgetsKeepNobodyOutOfTheAlarm(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) { cfg.LimitAPI, cfg.LimitCommands, cfg.LimitAlarm = 3, 1, 2 })
	token := f.token()
	w := f.api(token, "POST", lampOn)
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "it was accepted, and the unit is away")
	require.Equal(t, `"api";q=3;w=60, "commands";q=1;w=60`, w.Header().Get("RateLimit-Policy"))
	require.Equal(t, `"api";r=2;t=20, "commands";r=0;t=60`, w.Header().Get("RateLimit"))
	w = f.api(token, "POST", lampOn)
	require.Equal(t, time.Minute, wait(t, w))
	_, code := envelopeOf(t, w)
	require.Equal(t, "command_budget_spent", code)
	f.api(token, "GET", list)
	wait(t, f.api(token, "GET", list))

	for range 2 {
		w = f.api(token, "POST", arm)
		require.Equal(t, http.StatusServiceUnavailable, w.Code, "both are spent, and it is accepted")
	}
	require.Equal(t, `"api";r=1;t=40, "alarm";r=0;t=60`, w.Header().Get("RateLimit"))
	require.Equal(t, 30*time.Second, wait(t, f.api(token, "POST", arm)))
	require.Equal(t, 1.0, f.refused("alarm"))
	require.Equal(t, 1.0, f.refused("commands"))
}

func TestACommandIsChargedWhenItIsAccepted(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	token := f.token()
	require.Contains(t, f.api(token, "POST", arm).Header().Get("RateLimit"), `"alarm";r=29;t=2`)
	w := f.api(token, "POST", "/site/999/security/set/armed")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.NotContains(t, w.Header().Get("RateLimit"), "alarm")
	require.Contains(t, f.api(token, "POST", arm).Header().Get("RateLimit"), `"alarm";r=28;t=4`)
}

func TestLimitsTellTheCallersOwnState(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	token := f.token()
	f.api(token, "POST", lampOn)
	var states []string
	for range 3 {
		w := f.api(token, "GET", "/limits")
		require.Equal(t, http.StatusOK, w.Code)
		states = append(states, w.Body.String())
	}
	require.Equal(t, states[0], states[2], "it costs nothing")
	var got struct{ Payload json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(states[0]), &got))
	require.JSONEq(t, `{"items":[
		{"policy":"api","quota":1200,"window":60,"remaining":1199,"reset":1},
		{"policy":"commands","quota":120,"window":60,"remaining":119,"reset":1},
		{"policy":"alarm","quota":30,"window":60,"remaining":30,"reset":0},
		{"policy":"token-personal","quota":1200,"window":60,"remaining":1199,"reset":1}
	]}`, string(got.Payload))
	require.Equal(t, http.StatusUnauthorized, f.send("GET", "/v2/limits", "").Code)

	t.Run("for any live token", func(t *testing.T) {
		w := f.tokenRequest(f.business, url.Values{"grant_type": {"client_credentials"}, "scope": {"history:read"}})
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		var tokens struct {
			AccessToken string `json:"access_token"`
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &tokens))
		w = f.api(tokens.AccessToken, "GET", "/limits/")
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), `{"policy":"token-commercial","quota":12000,"window":60,"remaining":11999,"reset":1}`)
	})
}

func TestLimitsThatAreOffAreNotShown(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) {
		cfg.LimitAPI, cfg.LimitCommands, cfg.LimitAlarm, cfg.LimitAddress, cfg.LimitTokenPersonal, cfg.LimitTokenCommercial = 0, 0, 0, 0, 0, 0
	})
	token := f.token()
	for range 5 {
		w := f.api(token, "GET", "/limits")
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), `{"items":[]}`)
		require.Empty(t, w.Header().Values("RateLimit"))
		require.Empty(t, w.Header().Values("RateLimit-Policy"))
	}
	require.Empty(t, f.charged)
}

// A storm of retries meets the policy against waste, which is told what it wastes,
// before it meets the limit.
func TestAStormOfTokenRequestsMeetsNoLimit(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	for range 25 {
		w := f.tokenRequest(f.personal, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {strings.Repeat("0", 64)}})
		require.Equal(t, http.StatusBadRequest, w.Code)
		require.Contains(t, w.Body.String(), "invalid_grant")
	}
	require.Equal(t, map[string]int{"token-personal " + f.personal.id: 25}, f.charged)
}

func TestWithAWrongSecretNobodySpendsWhatIsAnothers(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) { cfg.LimitAddress, cfg.LimitTokenCommercial = 10, 2 })
	good := url.Values{"grant_type": {"client_credentials"}}
	for i := range 50 {
		c := client{f.business.id, strings.Repeat("0", 64)}
		if i%2 == 1 {
			c.id = oauth.NewClientID()
		}
		w := f.tokenRequest(c, good)
		require.Equal(t, i >= 10, w.Code == http.StatusTooManyRequests, "%d: %d", i, w.Code)
		if i >= 10 {
			require.Equal(t, 6*time.Second, wait(t, w))
			require.JSONEq(t, `{"error":"slow_down","error_description":"Too many requests: wait before the next one"}`, w.Body.String())
		}
	}
	require.Equal(t, map[string]int{"address " + stranger: 50}, f.charged, "made-up names fill no memory")

	for _, want := range []string{`"token-commercial";r=1;t=30`, `"token-commercial";r=0;t=60`} {
		w := f.tokenRequest(f.business, good)
		require.Equal(t, http.StatusOK, w.Code, "from the very same address")
		require.Equal(t, want, w.Header().Get("RateLimit"))
	}
	require.Equal(t, 30*time.Second, wait(t, f.tokenRequest(f.business, good)))
	for _, endpoint := range []string{"introspect", "revoke"} {
		form := url.Values{"client_id": {f.business.id}, "client_secret": {f.business.secret}, "token": {"t"}}
		wait(t, f.send("POST", "/oauth2/"+endpoint, form.Encode()))
	}
	require.Contains(t, f.charged, "address "+stranger)
	require.Equal(t, 50, f.charged["address "+stranger], "who has authenticated is no stranger")
}

// A script that goes on after it was switched off, or before it was approved, spends what
// is its own: its owner comes to the page that tells why from the very same address.
func TestWhatMayNotBeUsedSpendsNothingOfItsAddress(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) { cfg.LimitAddress = 1 })
	_, err := f.record.OAuth.SwitchOff(t.Context(), f.personal.id, oauth.ByOperator, "", "floods us")
	require.NoError(t, err)
	pending, secret, err := f.record.OAuth.RequestCommercial(t.Context(), oauth.CommercialRequest{
		OwnerEmail: aliceEmail, Name: "Pending", RedirectURIs: []string{"https://pending.example.com/"}, Scopes: devices.Scopes(),
	})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		client
		policy string
	}{"off": {f.personal, "token-personal"}, "pending": {client{pending.ID, secret}, "token-commercial"}} {
		clear(f.charged)
		for _, endpoint := range []string{"token", "device_authorization", "introspect", "revoke"} {
			form := url.Values{"client_id": {c.id}, "client_secret": {c.secret}, "grant_type": {"password"}, "token": {strings.Repeat("0", 64)}}
			w := f.send("POST", "/oauth2/"+endpoint, form.Encode())
			if name == "off" && endpoint == "revoke" {
				require.Equal(t, http.StatusOK, w.Code, w.Body)
				continue
			}
			require.Equal(t, http.StatusBadRequest, w.Code, "%s: %s: %s", name, endpoint, w.Body)
			require.Contains(t, w.Body.String(), "unauthorized_client", "%s: %s", name, endpoint)
		}
		require.Equal(t, map[string]int{c.policy + " " + c.id: 4}, f.charged, name)
	}
	require.Equal(t, http.StatusOK, f.send("GET", "/signin", "").Code)
}

// The name of an application without a secret is known to everybody, and keeps nobody
// else out.
func TestAPublicApplicationIsCountedByAddress(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) { cfg.LimitTokenCommercial = 1 })
	c, _, err := f.record.OAuth.RequestCommercial(t.Context(), oauth.CommercialRequest{
		OwnerEmail: aliceEmail, Name: "App", RedirectURIs: []string{"https://app.example.com/"}, Scopes: devices.Scopes(), Public: true,
	})
	require.NoError(t, err)
	require.NoError(t, f.record.OAuth.Approve(t.Context(), c.ID))
	ask := func(from string) int {
		return f.send("POST", "/oauth2/token", "grant_type=refresh_token&refresh_token=r&client_id="+c.ID, "From", from).Code
	}
	require.Equal(t, http.StatusBadRequest, ask("192.0.2.1"))
	require.Equal(t, http.StatusTooManyRequests, ask("192.0.2.1"))
	require.Equal(t, http.StatusBadRequest, ask("192.0.2.2"))
}

func TestStrangersAreCountedByAddress(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) { cfg.LimitAddress, cfg.TrustedProxies = 2, "10.0.0.0/8" })
	session := f.session()
	signIn := func(header ...string) *httptest.ResponseRecorder { return f.send("GET", "/signin", "", header...) }
	for name, c := range map[string]struct{ first, again, other []string }{
		"IPv4":           {[]string{"From", "198.51.100.1"}, []string{"From", "198.51.100.1"}, []string{"From", "198.51.100.2"}},
		"IPv6":           {[]string{"From", "2001:db8::1"}, []string{"From", "2001:db8::ffff:1"}, []string{"From", "2001:db8:0:1::1"}},
		"behind a proxy": {[]string{"From", "10.0.0.1", "X-Forwarded-For", "203.0.113.1"}, []string{"From", "10.0.0.2", "X-Forwarded-For", "1.1.1.1, 203.0.113.1"}, []string{"From", "10.0.0.1", "X-Forwarded-For", "203.0.113.2"}},
		"making one up":  {[]string{"From", "198.51.100.9", "X-Forwarded-For", "1.2.3.4"}, []string{"From", "198.51.100.9", "X-Forwarded-For", "1.2.3.5"}, []string{"From", "1.2.3.4"}},
		"a dead session": {[]string{"From", "198.51.100.10", "Cookie", f.cookieName() + "=none"}, []string{"From", "198.51.100.10"}, []string{"From", "198.51.100.11"}},
	} {
		require.Equal(t, http.StatusOK, signIn(c.first...).Code, name)
		require.Equal(t, http.StatusOK, signIn(c.again...).Code, name)
		w := signIn(c.again...)
		require.Equal(t, 30*time.Second, wait(t, w), name)
		require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"), name)
		require.Contains(t, w.Body.String(), "There were too many requests in a short time", name)
		require.Equal(t, `"address";r=0;t=60`, w.Header().Get("RateLimit"), name)

		w = f.send("GET", "/v2"+list, "", append([]string{"Authorization", "Bearer none"}, c.again...)...)
		require.Equal(t, 30*time.Second, wait(t, w), name)
		_, code := envelopeOf(t, w)
		require.Equal(t, "slow_down", code, name)

		require.Equal(t, http.StatusOK, signIn(c.other...).Code, name)
		w = f.send("GET", "/connected", "", append([]string{"Cookie", session}, c.again...)...)
		require.Equal(t, http.StatusOK, w.Code, "%s: who is signed in is no stranger", name)
		require.Contains(t, w.Header().Get("RateLimit"), `"api";r=119`, name)
		token := f.token()
		w = f.send("GET", "/v2"+list, "", append([]string{"Authorization", "Bearer " + token}, c.again...)...)
		require.Equal(t, http.StatusOK, w.Code, "%s: nor is who has a token", name)
	}
}

// session signs Alice in, and gives her cookie.
func (f *front) session() string {
	f.t.Helper()
	in, err := f.record.OAuth.SignIn(f.t.Context(), aliceEmail, alicePassword, netip.MustParseAddr(stranger))
	require.NoError(f.t, err)
	return f.cookieName() + "=" + in.Secret
}

// cookieName is that of the cookie of a session.
func (f *front) cookieName() string {
	f.t.Helper()
	self, err := url.Parse(f.record.OAuth.Issuer())
	require.NoError(f.t, err)
	return "foxbridge-" + self.Port() + "-session"
}

// broken is a store of limits that gives no answer.
type broken struct{ limit.Store }

func (broken) Charge(context.Context, limit.Policy, string) (limit.State, error) {
	return limit.State{}, io.ErrUnexpectedEOF
}

func (broken) Peek(context.Context, limit.Policy, string) (limit.State, error) {
	return limit.State{}, io.ErrUnexpectedEOF
}

func TestLostLimitsPermit(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(cfg *config.Config) {
		cfg.LimitAPI, cfg.LimitAlarm, cfg.LimitTokenPersonal, cfg.LimitAddress = 1, 1, 1, 1
	})
	unanswered := 0
	f.limits.limiter = limit.New(limit.Options{
		Store: broken{}, Now: func() time.Time { return f.now }, Logger: slog.New(slog.DiscardHandler), Timeout: time.Second,
		Unanswered: func() { unanswered++ },
	})
	var token string
	for range 3 {
		token = f.token()
	}
	for range 3 {
		w := f.api(token, "GET", list)
		require.Equal(t, http.StatusOK, w.Code)
		requireFields(t, w, "")
		require.Equal(t, http.StatusServiceUnavailable, f.api(token, "POST", arm).Code)
		require.Equal(t, http.StatusUnauthorized, f.api("none", "GET", list).Code)
		require.Equal(t, http.StatusOK, f.send("GET", "/signin", "").Code)
	}
	require.Positive(t, unanswered)
}

func TestANotedLimitReplacesAnEarlierOne(t *testing.T) {
	t.Parallel()
	e := &exchange{}
	ctx := context.WithValue(t.Context(), exchangeKey{}, e)
	a, b := limit.Policy{Name: "a", Quota: 9, Window: time.Minute}, limit.Policy{Name: "b", Quota: 9, Window: time.Minute}
	noteLimit(ctx, limit.State{Policy: a, Remaining: 1})
	noteLimit(ctx, limit.State{Policy: b, Remaining: 2})
	noteLimit(ctx, limit.State{Policy: a, Remaining: 3})
	require.Equal(t, []limit.State{{Policy: a, Remaining: 3}, {Policy: b, Remaining: 2}}, e.limits)
	noteLimit(t.Context(), limit.State{Policy: a}) // outside of a request nobody is told
}
