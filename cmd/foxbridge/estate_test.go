package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	unitlib "github.com/foxbridge/foxbridge/mqtt/unit"
)

// estate is a home with its owner, an application and a unit, registered with the
// real program on one of the stores.
type estate struct {
	record   []string // flags that name the store
	data     string   // data directory of a bridge
	username string
	password string
	app      application
	home     site
	box      newUnit
}

// onEachStore runs a test on SQLite and on PostgreSQL.
func onEachStore(t *testing.T, test func(t *testing.T, record []string, data string)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		data := t.TempDir()
		test(t, []string{"--data-dir", data}, data)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		record := []string{"--database-url", migrationstest.PostgresDSN(t)}
		foxbridge(t, nil, append([]string{"migrate"}, record...)...)
		test(t, record, t.TempDir())
	})
}

func newEstate(t testing.TB, record []string, data string, things ...string) *estate {
	t.Helper()
	e := &estate{record: record, data: data, username: "owner@example.com", password: "correct horse battery staple"}
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(e.password), 0o600))
	e.run(t, nil, "user", "add", e.username, "--name", "Alice", "--password-file", file)
	e.run(t, &e.app, "app", "add", "--owner", e.username, "--name", "Script")
	e.home, e.box = e.addHome(t, "Home", things...)
	return e
}

// addHome registers a home of the owner with a unit.
func (e *estate) addHome(t testing.TB, label string, things ...string) (home site, box newUnit) {
	t.Helper()
	e.run(t, &home, "site", "add", "--owner", e.username, "--label", label, "--timezone", "Europe/Paris")
	add := []string{"unit", "add", "--site", strconv.FormatInt(home.SiteID, 10)}
	for _, thing := range things {
		add = append(add, "--device", thing)
	}
	e.run(t, &box, add...)
	return home, box
}

// run runs an administrator's command on the estate's store.
func (e *estate) run(t testing.TB, out any, args ...string) {
	t.Helper()
	foxbridge(t, out, append(args, e.record...)...)
}

// serve starts a bridge of the estate.
func (e *estate) serve(t testing.TB, args ...string) *running {
	t.Helper()
	return serveProcess(t, e.data, append(e.record, args...)...)
}

// path gives an API path of the home.
func (e *estate) path(rest string) string {
	return "/v2/site/" + strconv.FormatInt(e.home.SiteID, 10) + rest
}

// token gets an access token from a bridge.
func (e *estate) token(t testing.TB, bridge *running) string {
	t.Helper()
	return passwordGrant(t, bridge, e.app, e.username, e.password)
}

// live connects a simulated home to a bridge, and returns when the bridge knows how
// its alarm stands. It is stopped when the test ends.
func (e *estate) live(t testing.TB, bridge *running, token string) *unitlib.Home {
	t.Helper()
	home, err := newHome(e.box, "tcp://"+bridge.MQTT, unitlib.HomeOptions{Travel: 200 * time.Millisecond, ExitDelay: 200 * time.Millisecond}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, home.Start(ctx))
	t.Cleanup(func() { require.NoError(t, stopHome(context.Background(), home)) })
	bridge.eventually(t, "aware of the home", func() bool {
		status, _ := authorized(t, bridge, http.MethodGet, e.path("/security"), token)
		return status == http.StatusOK
	})
	return home
}
