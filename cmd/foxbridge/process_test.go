package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/apitest"
)

// built is the real program, built once for all tests that start it.
var built struct {
	once sync.Once
	path string
	err  error
	out  []byte
}

func TestMain(m *testing.M) {
	described, err := apitest.Kept()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the description of the API cannot be read:", err)
		os.Exit(1)
	}
	// Whatever a test asks the program, and is told, is held against the description.
	http.DefaultTransport = described.Transport(http.DefaultTransport, nil)
	code := m.Run()
	exchanges, operations, answers := described.Seen()
	fmt.Fprintf(os.Stderr, "%d exchanges with %d operations, which answered in %d ways, were held against the description of the API\n", exchanges, operations, answers)
	for _, err := range described.Wrong() {
		fmt.Fprintln(os.Stderr, "not as the API is described:", err)
		code = max(code, 1)
	}
	if built.path != "" {
		os.RemoveAll(filepath.Dir(built.path))
	}
	os.Exit(code)
}

// binary gives the path of the real program, with the race detector in it.
func binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		var dir string
		if dir, built.err = os.MkdirTemp("", "foxbridge-test-"); built.err != nil {
			return
		}
		built.path = filepath.Join(dir, "foxbridge")
		built.out, built.err = exec.Command("go", "build", "-race", "-o", built.path, ".").CombinedOutput()
	})
	require.NoError(t, built.err, "%s", built.out)
	return built.path
}

// endsAtOnce is a variable that has the program end when it is done. The race detector
// would keep it for a second more, in case goroutines are left that race. There are none.
const endsAtOnce = "GORACE=atexit_sleep_ms=0"

// command prepares a run of the program in an environment of nothing but extra.
func command(t testing.TB, extra []string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(binary(t), args...)
	c.Env = append([]string{"HOME=" + t.TempDir(), "TZ=UTC", endsAtOnce}, extra...)
	c.Dir = t.TempDir()
	return c
}

// foxbridge runs an administrator's command to its end, decodes what it printed
// with --json into out, unless that is nil, and fails the test if it fails.
func foxbridge(t testing.TB, out any, args ...string) {
	t.Helper()
	if out != nil {
		args = append(args, "--json")
	}
	c := command(t, nil, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	require.NoError(t, c.Run(), "%v: %s", args, stderr.String())
	if out != nil {
		require.NoError(t, json.Unmarshal(stdout.Bytes(), out), "%s", stdout.String())
	}
}

// running is a started process of the program.
type running struct {
	// Addresses of the three listeners, as the process logged them; empty if it has none.
	HTTP, MQTT, Operator string

	process *os.Process
	log     *transcript
	exited  chan struct{}
	state   *os.ProcessState // once exited is closed
}

// launch starts the program and kills it when the test ends. Its standard error is
// the log.
func launch(t testing.TB, args ...string) *running {
	t.Helper()
	return launchIn(t, t.TempDir(), args...)
}

// launchIn is launch in a folder.
func launchIn(t testing.TB, dir string, args ...string) *running {
	t.Helper()
	r := &running{log: &transcript{}, exited: make(chan struct{})}
	c := command(t, nil, args...)
	c.Dir = dir
	c.Stdout, c.Stderr = r.log, r.log
	require.NoError(t, c.Start())
	r.process = c.Process
	go func() {
		defer close(r.exited)
		_ = c.Wait() // its result is in the state
		r.state = c.ProcessState
	}()
	t.Cleanup(func() {
		r.kill()
		require.NotContains(t, r.log.String(), "DATA RACE")
		if t.Failed() {
			t.Logf("log of %v:\n%s", args, r.log)
		}
	})
	return r
}

// serveProcess starts "serve" on ports that the system chooses, and returns when it
// is ready. More args win over those.
func serveProcess(t testing.TB, dataDir string, args ...string) *running {
	t.Helper()
	r := launch(t, append([]string{
		"serve", "--data-dir", dataDir,
		"--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--operator", "127.0.0.1:0",
	}, args...)...)
	r.HTTP = r.address(t, "http")
	r.MQTT = r.address(t, "mqtt")
	r.Operator = r.address(t, "operator")
	r.eventually(t, "ready", func() bool {
		status, _ := get(t, "http://"+r.Operator+"/readyz")
		return status == http.StatusOK
	})
	return r
}

// address reads where a listener is from the log.
func (r *running) address(t testing.TB, name string) string {
	t.Helper()
	pattern := regexp.MustCompile(`msg=listening name=` + name + ` address=(\S+)`)
	var found []string
	r.eventually(t, name+" listening", func() bool {
		found = pattern.FindStringSubmatch(r.log.String())
		return found != nil
	})
	return found[1]
}

// eventually waits for a condition as long as the process lives.
func (r *running) eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-r.exited:
			require.FailNow(t, "process ended", "before it was %s: %s\n%s", what, r.state, r.log)
		case <-deadline:
			require.FailNow(t, "too slow", "not %s in 30 s\n%s", what, r.log)
		}
	}
}

// stop asks the process to end and gives its exit code.
func (r *running) stop(t testing.TB) int {
	t.Helper()
	require.NoError(t, r.process.Signal(syscall.SIGTERM))
	select {
	case <-r.exited:
	case <-time.After(30 * time.Second):
		require.FailNow(t, "the process does not end", "%s", r.log)
	}
	return r.state.ExitCode()
}

// kill ends the process without warning, as kill -9 does. It may be called again.
func (r *running) kill() {
	_ = r.process.Kill() // it may have ended already
	<-r.exited
}

// get fetches an address; status 0 says that nobody answered.
func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// transcript collects what a process writes.
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
