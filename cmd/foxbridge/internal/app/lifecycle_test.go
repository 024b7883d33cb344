package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
)

// databases are the settings for each kind of database, migrated.
func databases() map[string]func(t testing.TB) config.Config {
	return map[string]func(t testing.TB) config.Config{
		"sqlite": settings,
		"postgres": func(t testing.TB) config.Config {
			cfg := settings(t)
			cfg.DatabaseURL = migrationstest.PostgresDSN(t)
			dialect, err := app.Migrate(t.Context(), cfg)
			require.NoError(t, err)
			require.Equal(t, "postgres", dialect)
			return cfg
		},
	}
}

func onEach(t *testing.T, test func(t *testing.T, cfg config.Config)) {
	t.Helper()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func TestServesFromStartToStop(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg config.Config) {
		b := startBridge(t, cfg)
		for name, address := range map[string]net.Addr{"http": b.HTTPAddr(), "mqtt": b.MQTTAddr(), "operator": b.OperatorAddr()} {
			require.Contains(t, b.log.String(), "msg=listening name="+name+" address="+address.String())
		}
		status, body := b.get(t, b.operator("/healthz"))
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "ok\n", body)
		status, body = b.get(t, b.operator("/readyz"))
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"ready":true,"failing":{}}`, body)

		h := b.furnish(t)
		status, header, body := b.order(t, h, "/security/set/armed")
		require.Equal(t, http.StatusOK, status, body)
		require.NotEmpty(t, header.Get("Foxbridge-Command-Id"))
		require.NotEmpty(t, header.Get("X-Request-Id"))
		require.Len(t, h.home.Executions(), 1)
		require.Contains(t, string(h.home.States()[devices.SecurityDevice]), `"armed"`)

		require.NoError(t, b.Stop(t.Context()))
		require.NoError(t, b.Stop(t.Context()), "a second stop does nothing")
		for _, address := range []net.Addr{b.HTTPAddr(), b.MQTTAddr(), b.OperatorAddr()} {
			_, err := net.DialTimeout("tcp", address.String(), time.Second)
			require.Error(t, err)
		}
	})
}

func TestUnitsAreOfflineInTheRecordOfAStoppedBridge(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	b := startBridge(t, cfg)
	b.furnish(t)
	require.NoError(t, b.Stop(t.Context()))

	record, err := app.OpenRecord(t.Context(), cfg, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, record.Close()) }()
	online, err := record.Devices.Online(t.Context())
	require.NoError(t, err)
	require.Zero(t, online)
}

// A command of a newer program leaves the schema alone on which an older bridge serves,
// and one that only reads leaves it alone in any case.
func TestNobodyMigratesWhatABridgeServes(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	b := startBridge(t, cfg)
	db, err := migrations.Open(migrations.SQLite, filepath.Join(cfg.DataDir, "foxbridge.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	version := func() (last int) {
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT max(version_id) FROM goose_db_version`).Scan(&last))
		return last
	}
	newest := version()
	_, err = db.ExecContext(t.Context(), `DELETE FROM goose_db_version WHERE version_id = ?`, newest) // as an older program left it
	require.NoError(t, err)
	refused := func(inspect bool, want string) {
		record, err := app.OpenRecord(t.Context(), cfg, inspect)
		require.Nil(t, record)
		require.ErrorContains(t, err, want)
		require.Less(t, version(), newest)
	}
	older := fmt.Sprintf("older than this program's %d: migrate it first, by the command migrate", newest)
	refused(true, older)
	refused(false, older+", once the bridge that serves it has stopped")
	_, err = app.Migrate(t.Context(), cfg)
	require.ErrorContains(t, err, "once the bridge that serves it has stopped")
	require.NoError(t, b.Stop(t.Context()))
	refused(true, older)
	refused(false, "apply migrations") // which it tries, and what the step makes is there
}

func TestStopFinishesTheCommandsThatWereAccepted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg config.Config) {
		b := startBridge(t, cfg)
		house := newSlowHouse()
		h := b.furnishSlow(t, house)
		status := make(chan int, 1)
		go func() {
			s, _, _ := b.order(t, h, "/security/set/armed")
			status <- s
		}()
		<-house.begun

		stopped := make(chan error, 1)
		go func() { stopped <- b.Stop(context.Background()) }()
		require.Eventually(t, func() bool {
			ready, body := b.get(t, b.operator("/readyz"))
			return ready == http.StatusServiceUnavailable && strings.Contains(body, "is stopping")
		}, 5*time.Second, 5*time.Millisecond)
		select {
		case <-stopped:
			require.Fail(t, "stopped with a command under way")
		default:
		}
		close(house.release)
		require.Equal(t, http.StatusOK, <-status)
		require.NoError(t, <-stopped)
	})
}

// Whoever was answered 200 while the bridge went down was told the truth: the home
// did it, once, and the record says so.
func TestStopUnderLoadTellsNoLie(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg config.Config) {
		cfg.LimitAPI, cfg.LimitAlarm = 0, 0
		b := startBridge(t, cfg)
		h := b.furnish(t)
		const callers = 16
		answered := make(chan string, 100_000)
		underWay := make(chan struct{}, callers)
		var load sync.WaitGroup
		for i := range callers {
			level := []string{"armed", "partial", "disarmed"}[i%3]
			load.Go(func() {
				for n := 0; ; n++ {
					status, header, _ := b.order(t, h, "/security/set/"+level)
					if status == 0 {
						return // nobody is there any more
					}
					if status == http.StatusOK {
						answered <- header.Get("Foxbridge-Command-Id")
					}
					if n == 0 {
						underWay <- struct{}{}
					}
				}
			})
		}
		for range callers {
			<-underWay
		}
		require.NoError(t, b.Stop(t.Context()))
		load.Wait()
		close(answered)

		executed := make(map[string]int)
		for _, e := range h.home.Executions() {
			executed[e.CommandID]++
		}
		record, err := app.OpenRecord(t.Context(), cfg, false)
		require.NoError(t, err)
		defer func() { require.NoError(t, record.Close()) }()
		for id := range answered {
			require.Equal(t, 1, executed[id], "command %s", id)
			command, err := record.Devices.Command(t.Context(), devices.Caller{UserID: h.userID, Unscoped: true}, h.siteID, id)
			require.NoError(t, err)
			require.Equal(t, devices.Done, command.Outcome)
		}
	})
}

func TestStopIsBoundedWhenTheHouseIsSilent(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.ShutdownTimeout = time.Second
	cfg.CommandWait = 2 * time.Second
	b := startBridge(t, cfg)
	house := newSlowHouse()
	defer close(house.release)
	h := b.furnishSlow(t, house)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.order(t, h, "/security/set/armed")
	}()
	<-house.begun

	began := time.Now()
	require.ErrorIs(t, b.Stop(t.Context()), context.DeadlineExceeded)
	require.Less(t, time.Since(began), 7*time.Second, "the timeout and the time to close")
	<-done
}

func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	a, _, err := newBridge(t, settings(t))
	require.NoError(t, err)
	require.NoError(t, a.Stop(t.Context()))
	_, err = net.DialTimeout("tcp", a.HTTPAddr().String(), time.Second)
	require.Error(t, err)
}

func TestTakenAddressIsAnErrorAndLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	for name, adjust := range map[string]func(*config.Config){
		"http":     func(c *config.Config) { c.HTTP = taken.Addr().String() },
		"mqtt":     func(c *config.Config) { c.MQTT = taken.Addr().String() },
		"operator": func(c *config.Config) { c.Operator = taken.Addr().String() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := settings(t)
			adjust(&cfg)
			a, _, err := newBridge(t, cfg)
			if name == "http" { // it is the first to be taken
				require.ErrorContains(t, err, "listen for http: ")
				require.ErrorContains(t, err, "address already in use")
				return
			}
			require.NoError(t, err)
			require.ErrorContains(t, a.Start(t.Context()), "address already in use")
			require.NoError(t, a.Stop(t.Context()))
			_, err = net.DialTimeout("tcp", a.HTTPAddr().String(), time.Second)
			require.Error(t, err)
		})
	}
}

func TestDataDirectoryIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.DataDir = filepath.Join(cfg.DataDir, "new", "data")
	b := startBridge(t, cfg)
	require.NoError(t, b.Stop(t.Context()))
	info, err := os.Stat(cfg.DataDir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(cfg.DataDir, "foxbridge.db"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestSchemaThatIsNotThisProgramsIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("postgres without schema", func(t *testing.T) {
		t.Parallel()
		cfg := settings(t)
		cfg.DatabaseURL = migrationstest.PostgresDSN(t)
		_, _, err := newBridge(t, cfg)
		var schema *migrations.SchemaError
		require.ErrorAs(t, err, &schema)
		require.Zero(t, schema.Have)
	})
	t.Run("sqlite of a newer program", func(t *testing.T) {
		t.Parallel()
		cfg := settings(t)
		_, err := app.Migrate(t.Context(), cfg)
		require.NoError(t, err)
		db, err := migrations.Open(migrations.SQLite, filepath.Join(cfg.DataDir, "foxbridge.db"))
		require.NoError(t, err)
		_, err = db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)")
		require.NoError(t, err)
		require.NoError(t, db.Close())
		_, _, err = newBridge(t, cfg)
		var schema *migrations.SchemaError
		require.ErrorAs(t, err, &schema)
		require.EqualValues(t, 999, schema.Have)
	})
}

func TestBadSettingsAreRefused(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.LaneDepth = 0
	_, _, err := newBridge(t, cfg)
	require.ErrorContains(t, err, "lane-depth")
}

// A whole run, at the most talkative level, in which every secret was used.
func TestLogHoldsNoSecret(t *testing.T) {
	t.Parallel()
	b := startBridge(t, settings(t))
	h := b.furnish(t)
	for _, path := range []string{"/security/set/armed", "/security/set/disarmed", "/no/such/thing", "//double"} {
		b.order(t, h, path)
	}
	b.get(t, b.url("/v2/client/site/items?access_token=wrong-token"))
	b.get(t, b.url("/v2/client/site/items?access_token="+h.token+"&access_token="+h.token))
	require.NoError(t, h.home.Stop(t.Context()))
	require.NoError(t, b.Stop(t.Context()))
	log := b.log.String()
	require.Contains(t, log, "msg=request")
	for name, secret := range map[string]string{
		"password": h.password, "client secret": h.secret, "access token": h.token, "refresh token": h.refresh,
		"unit's password": h.unitPassword, "wrong token": "wrong-token", "query": "access_token=",
	} {
		require.NotContains(t, log, secret, name)
	}
}

func TestUnknownPathsAndMethodsAreAnsweredInTheEnvelope(t *testing.T) {
	t.Parallel()
	b := startBridge(t, settings(t))
	for _, tc := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/nothing", 404, ""},
		{"GET", "/v2/nothing", 404, ""},
		{"GET", "//v2/client/site/items", 404, ""},
		{"BREW", "/nothing", 404, ""},
		{"DELETE", "/v2/client/site/items", 405, "GET, HEAD"},
		{"PUT", "/v2/client/site/items/", 405, "GET, HEAD"},
	} {
		r, err := http.NewRequest(tc.method, b.url(tc.path), nil)
		require.NoError(t, err)
		status, header, body := b.do(t, r)
		require.Equal(t, tc.status, status, "%s %s", tc.method, tc.path)
		require.Equal(t, tc.allow, header.Get("Allow"), "%s %s", tc.method, tc.path)
		var envelope struct{ Status string }
		require.NoError(t, json.Unmarshal([]byte(body), &envelope), body)
		require.Equal(t, "KO", envelope.Status)
	}
}

func TestMetricsTellWhatHappened(t *testing.T) {
	t.Parallel()
	b := startBridge(t, settings(t))
	h := b.furnish(t)
	status, _, body := b.order(t, h, "/security/set/armed/")
	require.Equal(t, http.StatusOK, status, body)
	b.get(t, b.url("/nothing"))
	status, text := b.get(t, b.operator("/metrics"))
	require.Equal(t, http.StatusOK, status)
	for _, line := range []string{
		`foxbridge_http_requests_total{code="200",method="POST",route="/v2/site/{site}/security/set/armed"} 1`,
		`foxbridge_http_requests_total{code="404",method="GET",route="unmatched"} 1`,
		`foxbridge_commands_total{kind="security",operation="armed",outcome="done"} 1`,
		`foxbridge_command_acknowledgement_seconds_count{kind="security",operation="armed"} 1`,
		`foxbridge_mqtt_link_up 1`,
		`foxbridge_units_online 1`,
		`foxbridge_commands_total{kind="security",operation="armed",outcome="unknown"} 0`,
		`foxbridge_applications_switched_total{by="alert",to="off"} 0`,
		`foxbridge_applications_switched_total{by="owner",to="on"} 0`,
		`foxbridge_issuance_verdicts_total{kind="personal",mode="shadow",rule="day",verdict="switch_off"} 0`,
		`foxbridge_issuance_verdicts_total{kind="personal",mode="shadow",rule="hour",verdict="notice"} 0`,
		`foxbridge_alerts_received_total{result="unauthorized"} 0`,
		`foxbridge_notices_total{channel="history",result="told"} 0`,
		`foxbridge_notices_total{channel="mail",result="given_up"} 0`,
		`foxbridge_scenarios_total{outcome="missed",type="scheduled"} 0`,
		`foxbridge_mqtt_received_total{result="rejected",what="state"} 0`,
		`foxbridge_password_queue_length 0`,
		`foxbridge_password_workers_busy 0`,
		`foxbridge_build_info{goversion=`,
		`grant="password"} 1`,
		`foxbridge_commit_batch_size_count`,
		`go_goroutines`,
	} {
		require.Contains(t, text, line)
	}
}

// Limits that are shared are in the database: the next bridge knows them too.
func TestSharedLimitsAreInTheDatabase(t *testing.T) {
	t.Parallel()
	cfg := databases()["postgres"](t)
	cfg.LimitsShared, cfg.LimitAPI = true, 2
	first := startBridge(t, cfg)
	h := first.furnish(t)
	sites := func(b *bridge) (int, http.Header, string) {
		r, err := http.NewRequest(http.MethodGet, b.url("/v2/client/site/items"), nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+h.token)
		return b.do(t, r)
	}
	for range 2 {
		status, _, body := sites(first)
		require.Equal(t, http.StatusOK, status, body)
	}
	require.NoError(t, first.Stop(t.Context()))
	second := startBridge(t, cfg)
	status, header, body := sites(second)
	require.Equal(t, http.StatusTooManyRequests, status, body)
	require.Contains(t, header.Get("RateLimit"), `"api";r=0;t=`)
	require.NotEmpty(t, header.Get("Retry-After"))
	_, text := second.get(t, second.operator("/metrics"))
	require.Contains(t, text, `foxbridge_limit_refused_total{policy="api"} 1`)
	require.Contains(t, text, `foxbridge_limit_unanswered_total 0`)
}

func TestProfilesAreServedOnlyIfSwitchedOn(t *testing.T) {
	t.Parallel()
	off := startBridge(t, settings(t))
	status, _ := off.get(t, off.operator("/debug/pprof/"))
	require.Equal(t, http.StatusNotFound, status)

	cfg := settings(t)
	cfg.PProf = true
	on := startBridge(t, cfg)
	status, _ = on.get(t, on.operator("/debug/pprof/"))
	require.Equal(t, http.StatusOK, status)
	status, _ = on.get(t, on.url("/debug/pprof/"))
	require.Equal(t, http.StatusNotFound, status, "never on the public listener")
}

func TestConnectionsPastTheBoundWait(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.HTTPConnections = 1
	b := startBridge(t, cfg)
	first, err := net.Dial("tcp", b.HTTPAddr().String())
	require.NoError(t, err)
	answered := make(chan int, 1)
	go func() {
		status, _ := b.get(t, b.url("/nothing"))
		answered <- status
	}()
	select {
	case <-answered:
		require.Fail(t, "answered past the bound")
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, first.Close())
	require.Equal(t, http.StatusNotFound, <-answered)
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	b := startBridge(t, settings(t))
	r, err := http.NewRequest(http.MethodGet, b.url("/nothing"), nil)
	require.NoError(t, err)
	r.Header.Set("X-Long", strings.Repeat("a", 64<<10))
	response, err := b.client.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close()) // its body may be cut off: the server does not read on
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
}
