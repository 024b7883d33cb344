package app_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
)

// postgres is a PostgreSQL server of a test's own, which may be frozen, stopped and started.
type postgres struct {
	t         testing.TB
	bin, data string
	port      string
	as        *syscall.Credential // nil: who runs the test
	process   *exec.Cmd
}

// newPostgres starts a server with the programs of the one that the tests have.
func newPostgres(t testing.TB) *postgres {
	t.Helper()
	p := &postgres{t: t}
	config, err := pgxpool.ParseConfig(migrationstest.PostgresDSN(t)) // it holds settings of a pool
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(t.Context(), config.ConnConfig)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT setting FROM pg_config() WHERE name = 'BINDIR'").Scan(&p.bin))
	dir, err := os.MkdirTemp("/tmp", "foxbridge-outage-") // short: the path of a socket has 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p.data = filepath.Join(dir, "data")
	if os.Getuid() == 0 { // a server refuses to run as root
		p.as = unprivileged(t)
		require.NoError(t, os.Chown(dir, int(p.as.Uid), int(p.as.Gid)))
	}
	out, err := p.command("initdb", "-D", p.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync").CombinedOutput()
	require.NoError(t, err, "%s", out)
	p.port = freePort(t)
	p.start()
	t.Cleanup(p.stop)
	return p
}

func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	who, err := user.Lookup("postgres")
	if err != nil {
		who, err = user.Lookup("nobody")
	}
	require.NoError(t, err)
	number := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		require.NoError(t, err)
		return uint32(n)
	}
	return &syscall.Credential{Uid: number(who.Uid), Gid: number(who.Gid)}
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

func (p *postgres) command(name string, arguments ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(p.bin, name), arguments...) // without t's context: stop ends it
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	return c
}

func (p *postgres) dsn() string {
	return "postgres://postgres@127.0.0.1:" + p.port + "/postgres?sslmode=disable"
}

// start returns when the server answers.
func (p *postgres) start() {
	p.t.Helper()
	p.process = p.command("postgres", "-D", p.data, "-p", p.port, "-k", filepath.Dir(p.data),
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=16MB")
	require.NoError(p.t, p.process.Start())
	require.Eventually(p.t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, p.dsn())
		return err == nil && conn.Close(ctx) == nil
	}, 30*time.Second, 50*time.Millisecond)
}

// stop ends the sessions and then the server.
func (p *postgres) stop() {
	if p.process == nil {
		return
	}
	_ = p.process.Process.Signal(syscall.SIGINT)
	_ = p.process.Wait()
	p.process = nil
}

// freeze has no process of the server do anything until it is thawed: what is sent to it
// is taken by the system, and nothing answers.
func (p *postgres) freeze() (thaw func()) {
	p.t.Helper()
	id := strconv.Itoa(p.process.Process.Pid)
	require.NoError(p.t, p.process.Process.Signal(syscall.SIGSTOP)) // first: it makes no more of them
	children, err := os.ReadFile("/proc/" + id + "/task/" + id + "/children")
	require.NoError(p.t, err)
	signal := func(s syscall.Signal) {
		for _, child := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(pid, s) // one may have ended
			}
		}
	}
	signal(syscall.SIGSTOP)
	return sync.OnceFunc(func() {
		signal(syscall.SIGCONT)
		_ = p.process.Process.Signal(syscall.SIGCONT)
	})
}

// While the database gives no answer, every face of the bridge says so soon and in its own
// form. When it is back the bridge serves by itself, and nothing that was accepted is lost.
func TestDatabaseGivesNoAnswerForAWhile(t *testing.T) {
	t.Parallel()
	server := newPostgres(t)
	cfg := settings(t)
	cfg.DatabaseURL = server.dsn()
	_, err := app.Migrate(t.Context(), cfg)
	require.NoError(t, err)
	b := startBridge(t, cfg)
	h := b.furnish(t)
	clients, err := b.Record().OAuth.Clients(t.Context(), "", 10)
	require.NoError(t, err)
	clientID := clients[0].ID

	read := func() (int, http.Header, string) {
		return b.send(t, http.MethodGet, "/v2/client/site/items?access_token="+h.token, nil)
	}
	lamp := func() (int, http.Header, string) { return b.order(t, h, "/security/set/partial") }
	renew := func() (int, http.Header, string) {
		return b.send(t, http.MethodPost, "/oauth2/token", url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {h.refresh}, "client_id": {clientID}, "client_secret": {h.secret},
		})
	}
	page := func() (int, http.Header, string) {
		return b.send(t, http.MethodGet, "/oauth2/authorize?client_id="+clientID, nil)
	}
	serves := func() bool {
		status, _, _ := read()
		return status == http.StatusOK
	}
	require.True(t, serves())

	// everybody asks all at once, and gives how long the last of them waited.
	everybody := func(within time.Duration) {
		t.Helper()
		type face struct {
			ask  func() (int, http.Header, string)
			want string
		}
		var group sync.WaitGroup
		began := time.Now()
		for range 5 {
			for _, f := range []face{
				{read, `"status":"KO"`},
				{lamp, `"error":"temporarily_unavailable"`},
				{renew, `"error":"temporarily_unavailable"`},
				{page, "The service cannot answer at the moment."},
			} {
				group.Go(func() {
					status, header, body := f.ask()
					if status != http.StatusServiceUnavailable || header.Get("Retry-After") != "5" || !strings.Contains(body, f.want) {
						t.Errorf("%d %v %s", status, header, body)
					}
				})
			}
		}
		group.Wait()
		require.Less(t, time.Since(began), within)
		status, body := b.get(t, b.operator("/readyz"))
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Contains(t, body, `"store":"does not answer"`)
	}
	// The bound is 6 s: 2 for a connection and 4 for an answer. Some more, since the machine
	// may be busy.
	const silent, refused = 8 * time.Second, 5 * time.Second

	thaw := server.freeze()
	t.Cleanup(thaw)
	everybody(silent)
	thaw()
	require.Eventually(t, serves, 20*time.Second, 100*time.Millisecond)

	server.stop()
	everybody(refused)
	_, err = h.home.Event(devices.EventBattery, devices.SecurityDevice, "Said while nobody could write it down")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "reports wait") }, 20*time.Second, 10*time.Millisecond)
	server.start()
	require.Eventually(t, serves, 20*time.Second, 100*time.Millisecond)

	status, _, body := renew()
	require.Equal(t, http.StatusOK, status, "the refresh token is as good as before: %s", body)
	h.take(t, body)
	require.Eventually(t, func() bool { // its unit may have gone meanwhile, and come back
		status, _, _ := lamp()
		return status == http.StatusOK
	}, 30*time.Second, 100*time.Millisecond)
	require.Eventually(t, func() bool {
		_, _, body := b.send(t, http.MethodGet, "/v2/site/"+strconv.FormatInt(h.siteID, 10)+"/history?access_token="+h.token, nil)
		return strings.Count(body, "Said while nobody could write it down") == 1
	}, 30*time.Second, 100*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "database answers again") }, 20*time.Second, 10*time.Millisecond)

	log := b.log.String()
	require.LessOrEqual(t, strings.Count(log, "database gives no answer"), 2, "once a minute at the most")
	require.NotContains(t, log, "request failed")
	require.NotContains(t, log, "report lost")
	_, text := b.get(t, b.operator("/metrics"))
	require.Regexp(t, `foxbridge_store_unanswered_total [1-9]`, text)

	// The claim ended with the server, and is this bridge's again.
	own, err := pgx.Connect(t.Context(), server.dsn())
	require.NoError(t, err)
	defer func() { require.NoError(t, own.Close(context.Background())) }()
	require.Eventually(t, func() bool {
		var locks int
		err := own.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted").Scan(&locks)
		return err == nil && locks == 1
	}, 20*time.Second, 100*time.Millisecond)
	second, _, err := newBridge(t, cfg)
	require.NoError(t, err)
	require.ErrorContains(t, second.Start(t.Context()), "another bridge is serving this record")
}
