package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/internal/apitest"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/unit"
)

// A stopped App leaves no goroutine, but for those of caches that end when the
// garbage collector finds them.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.periodicCleanUp[...]"))
}

// settings are the defaults, on ports that the system chooses and in a directory of
// the test's own.
func settings(t testing.TB) config.Config {
	t.Helper()
	cfg, err := config.Load(pflag.NewFlagSet("", pflag.ContinueOnError), nil)
	require.NoError(t, err)
	cfg.HTTP, cfg.MQTT, cfg.Operator = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.DataDir = t.TempDir()
	cfg.LogLevel = "debug"
	return cfg
}

// bridge is a started App with its log. It is stopped when the test ends.
type bridge struct {
	*app.App
	log    *transcript
	client *http.Client
}

// newBridge makes an App.
func newBridge(t testing.TB, cfg config.Config) (*app.App, *transcript, error) {
	t.Helper()
	log := &transcript{}
	a, err := app.New(t.Context(), cfg, app.Options{Logger: app.NewLogger(log, "text", cfg.LogLevel), Registry: prometheus.NewRegistry(), Version: "test"})
	return a, log, err
}

func startBridge(t testing.TB, cfg config.Config) *bridge {
	t.Helper()
	a, log, err := newBridge(t, cfg)
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context()))
	b := &bridge{App: a, log: log, client: &http.Client{Transport: described(t), Timeout: 20 * time.Second}}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		_ = b.Stop(context.Background()) // the error of the first call, which is a test's own
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return b
}

func (b *bridge) url(path string) string      { return "http://" + b.HTTPAddr().String() + path }
func (b *bridge) operator(path string) string { return "http://" + b.OperatorAddr().String() + path }

// described is a way for requests on which each is held against the description of the
// API, with its answer.
func described(t testing.TB) http.RoundTripper {
	return apitest.Shared(t).Transport(&http.Transport{}, func(err error) { t.Error(err) })
}

// do makes a request and gives status, header and body; status 0 says that nobody answered.
func (b *bridge) do(t testing.TB, r *http.Request) (int, http.Header, string) {
	t.Helper()
	response, err := b.client.Do(r)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(body)
}

// send makes a request to the public listener, with a form or without.
func (b *bridge) send(t testing.TB, method, path string, form url.Values) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, b.url(path), strings.NewReader(form.Encode()))
	require.NoError(t, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.do(t, r)
}

func (b *bridge) get(t testing.TB, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	status, _, body := b.do(t, r)
	return status, body
}

// household is a person with an application, a home, its unit and a token.
type household struct {
	email, password, secret, unitPassword string
	token, refresh                        string
	userID, siteID                        int64
	home                                  *unit.Home // nil if the house is slow
}

// slowHouse is a house that does nothing until it is released.
type slowHouse struct {
	begun   chan struct{} // receives when a command has come
	release chan struct{} // closed to let it be done
}

func newSlowHouse() *slowHouse {
	return &slowHouse{begun: make(chan struct{}, 1), release: make(chan struct{})}
}

func (h *slowHouse) Execute(ctx context.Context, _ mqtt.Command) error {
	h.begun <- struct{}{}
	select {
	case <-h.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *slowHouse) Readings(int64) json.RawMessage { return json.RawMessage(`{"level":"disarmed"}`) }

// unitProcess is a unit, with a simulated home on it or not.
type unitProcess interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// furnish registers a household and connects its simulated home.
func (b *bridge) furnish(t testing.TB) *household {
	t.Helper()
	var home *unit.Home
	h := b.register(t, func(c unit.Config) (unitProcess, error) {
		var err error
		home, err = unit.NewHome(c, unit.HomeOptions{})
		return home, err
	})
	h.home = home
	return h
}

// furnishSlow registers a household and connects a house that is slow.
func (b *bridge) furnishSlow(t testing.TB, house *slowHouse) *household {
	t.Helper()
	return b.register(t, func(c unit.Config) (unitProcess, error) {
		c.Handler = house
		return unit.New(c)
	})
}

func (b *bridge) register(t testing.TB, connect func(unit.Config) (unitProcess, error)) *household {
	t.Helper()
	ctx := t.Context()
	h := &household{email: "owner@example.com", password: "a password of the owner"}
	user, err := b.Record().OAuth.AddUser(ctx, h.email, "Owner", h.password)
	require.NoError(t, err)
	client, secret, err := b.Record().OAuth.AddClient(ctx, h.email, "Script")
	require.NoError(t, err)
	h.secret = secret
	site, err := b.Record().Devices.AddSite(ctx, user.ID, "Home", "Europe/Paris")
	require.NoError(t, err)
	h.userID, h.siteID = user.ID, site.ID
	registered, unitPassword, list, err := b.Record().Devices.AddUnit(ctx, site.ID, []devices.NewDevice{{Kind: devices.Socket, Label: "Lamp"}})
	require.NoError(t, err)
	h.unitPassword = unitPassword

	dial, err := mqtt.Dialer(nil, "tcp://"+b.MQTTAddr().String())
	require.NoError(t, err)
	u, err := connect(unit.Config{
		Dial: dial, Unit: registered.ID, Password: unitPassword, Firmware: "test",
		Devices: map[int64]devices.Kind{list[0].ID: list[0].Kind},
		Logger:  app.NewLogger(io.Discard, "text", "error"),
	})
	require.NoError(t, err)
	require.NoError(t, u.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = u.Stop(ctx) // the bridge may be gone already
	})
	require.Eventually(t, func() bool {
		_, err := b.Record().Devices.SecurityLevel(ctx, devices.Caller{UserID: user.ID, Unscoped: true}, site.ID)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)

	b.signIn(t, h, client.ID)
	return h
}

func (b *bridge) signIn(t testing.TB, h *household, clientID string) {
	t.Helper()
	status, _, body := b.askToken(t, h, clientID)
	require.Equal(t, http.StatusOK, status, body)
	h.take(t, body)
}

// take keeps the tokens of an answer.
func (h *household) take(t testing.TB, body string) {
	t.Helper()
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &tokens))
	h.token, h.refresh = tokens.Access, tokens.Refresh
}

// askToken asks for tokens with the password grant.
func (b *bridge) askToken(t testing.TB, h *household, clientID string) (int, http.Header, string) {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {h.email}, "password": {h.password}}
	r, err := http.NewRequest(http.MethodPost, b.url("/oauth2/token"), strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(clientID, h.secret)
	return b.do(t, r)
}

// order gives a command to the home; the token travels in the query, where it is
// most easily leaked.
func (b *bridge) order(t testing.TB, h *household, path string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.url(fmt.Sprintf("/v2/site/%d%s?access_token=%s", h.siteID, path, h.token)), nil)
	require.NoError(t, err)
	return b.do(t, r)
}

// transcript collects a log.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
