package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/apitest"
)

// proxy is what clients that are not Go's speak through: what they ask and are told is
// held against the description of the API, as Go's exchanges are. A request arrives at the host
// that the client named, with its own Host and Origin.
type proxy struct{ url string }

// newProxy starts a proxy until the test ends, which fails if an exchange is not as it is
// described. Addresses come in pairs: of the first in each, the second is where it is.
func newProxy(t testing.TB, addresses ...string) proxy {
	t.Helper()
	return startProxy(t, apitest.Shared(t), func(err error) { t.Error(err) }, addresses...)
}

func startProxy(t testing.TB, described *apitest.Checker, tell func(error), addresses ...string) proxy {
	t.Helper()
	connections := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		for pair := range slices.Chunk(addresses, 2) {
			if pair[0] == address {
				address = pair[1]
			}
		}
		return dialLoopback(ctx, network, address)
	}}
	t.Cleanup(connections.CloseIdleConnections)
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host
			if forwarded, is := r.In.Header["X-Forwarded-For"]; is {
				r.Out.Header["X-Forwarded-For"] = forwarded
			}
		},
		Transport: described.Transport(connections, tell),
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // clients that go away are not of interest
	})
	t.Cleanup(server.Close)
	return proxy{server.URL}
}

// dialLoopback connects to this machine, and to no other.
func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	if !at.IP.IsLoopback() {
		return nil, fmt.Errorf("%s is not on this machine", address)
	}
	return new(net.Dialer).DialContext(ctx, network, at.String())
}

// environ sends curl and Python through the proxy. Go's own clients ask this machine
// directly whatever it says.
func (p proxy) environ() []string { return []string{"http_proxy=" + p.url} }

// forNode sends Node.js through the proxy, of which it knows nothing: a script that
// is loaded before all others leads its connections there.
func (p proxy) forNode(t testing.TB) (environ []string) {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("testdata", "node", "proxy.mjs"))
	require.NoError(t, err)
	at, err := url.Parse(p.url)
	require.NoError(t, err)
	return []string{"PROXY_PORT=" + at.Port(), "NODE_OPTIONS=--import=file://" + script}
}

// forChromium sends a browser through the proxy, for this machine too.
func (p proxy) forChromium() []chromedp.ExecAllocatorOption {
	return []chromedp.ExecAllocatorOption{chromedp.ProxyServer(p.url), chromedp.Flag("proxy-bypass-list", "<-loopback>")}
}

// Whatever speaks through the proxy is held against the description.
func TestWhatIsNotDescribedIsFoundInEveryLanguage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.json"))
	require.NoError(t, err)
	described, err := apitest.New(text)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{"status":"OK","timestamp":1,"payload":{"items":"none of `+r.Host+`"}}`)
	}))
	t.Cleanup(server.Close)
	var mu sync.Mutex
	told := map[string]string{}
	address := server.URL + "/v2/limits?access_token=t"
	for language, command := range map[string][]string{
		"curl":    {"curl", "-s", address},
		"Python":  {"python3", "-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])", address},
		"fetch":   {"node", "-e", "fetch(process.argv[1])", address},
		"Node.js": {"node", "-e", "require('http').get(process.argv[1])", address},
	} {
		p := startProxy(t, described, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told[language] = err.Error()
		})
		if _, ok := nodeModules(t); !ok && command[0] == "node" {
			continue
		}
		c := exec.CommandContext(t.Context(), command[0], command[1:]...)
		c.Env = append(append([]string{"PATH=" + os.Getenv("PATH")}, p.environ()...), p.forNode(t)...)
		out, _ := c.CombinedOutput() // whether it takes it badly is its own business
		mu.Lock()
		require.Contains(t, told[language], "GET /v2/limits answered with 200", "%s: %s", language, out)
		require.Contains(t, told[language], "none of "+server.Listener.Addr().String(), "its Host is as it was")
		mu.Unlock()
	}
}
