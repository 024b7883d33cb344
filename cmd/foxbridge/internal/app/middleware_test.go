package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// told is one call of the observer.
type told struct {
	route, method string
	code          int
}

// end is the other end of a request's connection.
func end(r *http.Request) string { return addressBehind(nil)(r).String() }

// adding is what is added to the header of every answer.
func adding(_ *http.Request, e *exchange, header http.Header) { header.Add("Added", e.route) }

// exchangeOnce serves one request through the middleware of the public API, and
// gives the answer, the log and what the observer was told.
func exchangeOnce(t *testing.T, r *http.Request, handler http.HandlerFunc) (*httptest.ResponseRecorder, string, told) {
	t.Helper()
	var log bytes.Buffer
	var seen told
	routes := mux.NewRouter().SkipClean(true)
	routes.Use(routed)
	routes.HandleFunc("/v2/site/{site}/security", handler)
	routes.HandleFunc("/v2/site/{site}/security/", handler)
	h := observed(routes, end, NewLogger(&log, "json", "debug"), adding, func(route, method string, code int, took time.Duration) {
		require.GreaterOrEqual(t, took, time.Duration(0))
		seen = told{route, method, code}
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, []string{seen.route}, w.Result().Header["Added"], "once, before the header was sent")
	return w, log.String(), seen
}

func request(method, target string, header map[string]string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader("username=someone&password=hidden-body"))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return r
}

func TestLogLineSaysWhatHappenedAndNoSecret(t *testing.T) {
	t.Parallel()
	r := request("GET", "/v2/site/7/security/?access_token=hidden-query", map[string]string{
		"Authorization": "Bearer hidden-header", "X-Request-Id": "abc.1-2_3",
	})
	w, log, seen := exchangeOnce(t, r, func(w http.ResponseWriter, r *http.Request) {
		exchangeOf(r.Context()).clientID = "c1"
		w.WriteHeader(http.StatusTeapot)
		_, err := io.WriteString(w, "hello")
		require.NoError(t, err)
	})
	require.Equal(t, told{"/v2/site/{site}/security", "GET", 418}, seen)
	require.Equal(t, "abc.1-2_3", w.Header().Get("X-Request-Id"))
	require.NotContains(t, log, "hidden")

	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(log), &line), "one line: %s", log)
	require.Subset(t, line, map[string]any{
		"msg": "request", "method": "GET", "route": "/v2/site/{site}/security", "path": "/v2/site/7/security/",
		"status": 418.0, "bytes": 5.0, "request_id": "abc.1-2_3", "client_id": "c1", "remote": "192.0.2.1",
	})
	require.Contains(t, line, "duration_ms")
}

func TestRequestIDIsTakenOverOnlyIfHarmless(t *testing.T) {
	t.Parallel()
	nothing := func(http.ResponseWriter, *http.Request) {}
	for _, bad := range []string{"", "a b", "a\tb", strings.Repeat("a", 65), "é", "a\"b", "<x>"} {
		w, _, _ := exchangeOnce(t, request("GET", "/v2/site/7/security", map[string]string{"X-Request-Id": bad}), nothing)
		require.Regexp(t, `^[0-9a-f]{16}$`, w.Header().Get("X-Request-Id"), "given %q", bad)
	}
	w, _, _ := exchangeOnce(t, request("GET", "/v2/site/7/security", map[string]string{"X-Request-Id": strings.Repeat("a", 64)}), nothing)
	require.Equal(t, strings.Repeat("a", 64), w.Header().Get("X-Request-Id"))
}

func TestHandlersOwnLogLinesCarryTheRequestID(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := NewLogger(&log, "text", "info").With("part", "house").WithGroup("g")
	h := observed(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		logger.InfoContext(r.Context(), "working")
	}), end, slog.New(slog.DiscardHandler), adding, func(string, string, int, time.Duration) {})
	h.ServeHTTP(httptest.NewRecorder(), request("GET", "/", map[string]string{"X-Request-Id": "id-1"}))
	require.Contains(t, log.String(), "request_id=id-1")

	log.Reset()
	logger.Info("outside of a request")
	require.NotContains(t, log.String(), "request_id")
}

func TestATokenInAPathIsNotLogged(t *testing.T) {
	t.Parallel()
	nothing := func(http.ResponseWriter, *http.Request) {}
	token := strings.Repeat("0123456789abcdef", 4)
	for _, path := range []string{
		"/v2/site/" + token + "/security", "/v2/site/1&access_token=hush/security", "/v2/site/1%3Faccess_token=hush/security",
		"/nowhere&access_token=hush", "/" + token,
	} {
		_, log, _ := exchangeOnce(t, request("GET", path, nil), nothing)
		require.NotContains(t, log, token)
		require.NotContains(t, log, "hush", path)
	}
}

func TestAddressIsBelievedOnlyFromTheOperatorsProxies(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct {
		remote  string
		headers []string
		want    string
	}{
		"no proxy":                          {"192.0.2.1:1", nil, "192.0.2.1"},
		"a client that makes one up":        {"192.0.2.1:1", []string{"198.51.100.7"}, "192.0.2.1"},
		"one proxy":                         {"127.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		"a client that makes up one before": {"127.0.0.1:1", []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		"two proxies":                       {"127.0.0.1:1", []string{"1.1.1.1", "198.51.100.7, 10.1.2.3"}, "198.51.100.7"},
		"rubbish":                           {"127.0.0.1:1", []string{"unknown"}, "127.0.0.1"},
		"rubbish before an address":         {"127.0.0.1:1", []string{"x, 198.51.100.7"}, "198.51.100.7"},
		"an IPv6 client":                    {"127.0.0.1:1", []string{"2001:db8::1"}, "2001:db8::1"},
		"nothing":                           {"127.0.0.1:1", nil, "127.0.0.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, h := range c.headers {
			r.Header.Add("X-Forwarded-For", h)
		}
		require.Equal(t, c.want, addressBehind(proxies)(r).String(), name)
	}
}

func TestUnmatchedRequestsShareOneRoute(t *testing.T) {
	t.Parallel()
	_, _, seen := exchangeOnce(t, request("GET", "/no/such/path", nil), nil)
	require.Equal(t, told{"unmatched", "GET", 404}, seen)
}

func TestDoubleSlashesAreNotRedirected(t *testing.T) {
	t.Parallel()
	w, _, _ := exchangeOnce(t, request("GET", "//v2/site/7/security?access_token=hidden", nil), nil)
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Empty(t, w.Header().Get("Location"))
}

func TestPanicIsAnsweredInTheEnvelope(t *testing.T) {
	t.Parallel()
	w, log, seen := exchangeOnce(t, request("POST", "/v2/site/7/security?access_token=hidden", nil), func(http.ResponseWriter, *http.Request) {
		panic("nobody expected this")
	})
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, 500, seen.code)
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Equal(t, "KO", body["status"])
	require.Equal(t, "server_error", body["error"])
	require.NotContains(t, w.Body.String(), "expected")
	require.Contains(t, log, "nobody expected this")
	require.Contains(t, log, "middleware_test.go", "the stack")
	require.NotContains(t, log, "hidden")
}

func TestPanicAfterTheHeaderBreaksTheAnswerOff(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(observed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, err := io.WriteString(w, "half")
		require.NoError(t, err)
		panic("in the middle")
	}), end, slog.New(slog.DiscardHandler), adding, func(string, string, int, time.Duration) {}))
	t.Cleanup(server.Close)
	response, err := http.Get(server.URL)
	if err != nil {
		return // broken off before the header left
	}
	defer response.Body.Close()
	_, err = io.ReadAll(response.Body)
	require.Error(t, err)
}

func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/v2/site/7/security", strings.NewReader(strings.Repeat("a", maxBody+1)))
	var failed error
	exchangeOnce(t, r, func(_ http.ResponseWriter, r *http.Request) {
		_, failed = io.ReadAll(r.Body)
	})
	var tooLarge *http.MaxBytesError
	require.ErrorAs(t, failed, &tooLarge)
}

func TestAnUploadHasABoundOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path string
		length, most int
	}{
		"a picture of 256 KiB": {"POST", "/dev/apps/a/logo", oauth.LogoMax + 1000, oauthhttp.UploadMax},
		"a larger one":         {"POST", "/dev/apps/a/logo", oauthhttp.UploadMax + 1, oauthhttp.UploadMax},
		"another method":       {"PUT", "/dev/apps/a/logo", maxBody + 1, maxBody},
		"another page":         {"POST", "/dev/apps/a/edit", maxBody + 1, maxBody},
		"no page":              {"POST", "/dev/apps/a/logo/", maxBody + 1, maxBody},
	} {
		read := -1
		handler := func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			read = len(body)
			var tooLarge *http.MaxBytesError
			require.Equal(t, c.length > c.most, errors.As(err, &tooLarge), name)
		}
		routes := mux.NewRouter()
		routes.Use(routed)
		routes.HandleFunc(oauthhttp.UploadPath, handler)
		routes.HandleFunc("/dev/apps/{client_id}/edit", handler)
		routes.NotFoundHandler = http.HandlerFunc(handler)
		h := observed(routes, end, slog.New(slog.DiscardHandler), adding, func(string, string, int, time.Duration) {})
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, c.path, strings.NewReader(strings.Repeat("a", c.length))))
		require.Equal(t, min(c.length, c.most), read, name)
	}
}

func TestLongPathsAreCutInTheLog(t *testing.T) {
	t.Parallel()
	_, log, _ := exchangeOnce(t, request("GET", "/"+strings.Repeat("x", 5000), nil), nil)
	require.Less(t, len(log), 1000)
}
