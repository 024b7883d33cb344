package app

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/apidoc"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
)

var pathVariable = regexp.MustCompile(`\{(\w+?)(Id)?(:[^}]*)?\}`)

// plainPath is the template of a path with the names of its variables made alike.
func plainPath(template string) string {
	return pathVariable.ReplaceAllString(strings.TrimSuffix(template, "/"), "{$1}")
}

// What is answered is described, and what is described is answered: every route and
// every method.
func TestEveryRouteIsDescribedAndEveryDescriptionHasARoute(t *testing.T) {
	t.Parallel()
	for _, commandGet := range []bool{true, false} {
		f := newFront(t, func(cfg *config.Config) { cfg.CommandGet, cfg.LimitAddress = commandGet, 0 })
		document := apidoc.New(apidoc.Options{Server: "http://localhost:8080", CommandGet: commandGet})
		methods := map[string][]string{} // by path
		for _, group := range document.Groups() {
			require.NotEmpty(t, group.Operations, group.Name)
			for _, o := range group.Operations {
				path := plainPath(o.Path)
				methods[path] = append(methods[path], o.Method)
				if command := strings.HasPrefix(o.Path, "/v2") && slices.Contains(methods[path], http.MethodPost); o.Method == http.MethodGet && !command {
					methods[path] = append(methods[path], http.MethodHead)
				}
			}
		}

		served := map[string]bool{}
		require.NoError(t, f.routes.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
			template, err := route.GetPathTemplate()
			require.NoError(t, err)
			path := plainPath(template)
			served[path] = true
			if methods[path] == nil {
				f.requireNoAPI(template)
			}
			return nil
		}))
		for path, described := range methods {
			require.True(t, served[path], "%s is described, and there is no such route", path)
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				w := f.send(method, exampleOf(path), "")
				taken := w.Code != http.StatusMethodNotAllowed
				require.Equal(t, slices.Contains(described, method), taken, "%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
}

func exampleOf(path string) string { return pathVariable.ReplaceAllString(path, "1") }

// requireNoAPI fails unless a route is of a page or a file of one, or stands beside the
// operations of a kind and says that there is no such operation.
func (f *front) requireNoAPI(path string) {
	f.t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		w := f.send(method, exampleOf(path), "")
		if strings.HasSuffix(strings.TrimSuffix(path, "/"), "/{operation}") {
			require.Equal(f.t, http.StatusNotFound, w.Code, path)
			continue
		}
		require.NotContains(f.t, w.Header().Get("Content-Type"), "json", "%s %s is not described: %d %s", method, path, w.Code, w.Body)
	}
}

// The document is for everybody, and is not sent to who has it.
func TestTheDocumentIsServed(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	for _, path := range []string{"/openapi.json", "/openapi.json/"} {
		w := f.send("GET", path, "", "Origin", "https://tools.example", "Range", "bytes=0-9")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Equal(t, "public, max-age=300", w.Header().Get("Cache-Control"))
		require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
		require.Contains(t, w.Body.String(), `"servers":[{"url":"http://localhost:8080"`)
		packed := f.send("GET", path, "", "Accept-Encoding", "gzip")
		require.Equal(t, "gzip", packed.Header().Get("Content-Encoding"))
		require.Less(t, packed.Body.Len(), w.Body.Len()/8)
		require.NotEqual(t, w.Header().Get("ETag"), packed.Header().Get("ETag"))
		for tag, encoding := range map[string]string{w.Header().Get("ETag"): "", packed.Header().Get("ETag"): "gzip"} {
			again := f.send("GET", path, "", "If-None-Match", tag, "Accept-Encoding", encoding)
			require.Equal(t, http.StatusNotModified, again.Code)
			require.Empty(t, again.Body.String())
		}
	}
	w := f.send("POST", "/openapi.json", "")
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
}

// A bridge reads its templates when somebody asks for a page: here all of them are read.
func TestEveryPageCanBeRead(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	pages, err := publicPages(config.Config{}, f.record, f.limits, apidoc.New(apidoc.Options{}), newOutages(slog.New(slog.DiscardHandler), time.Now, func() {}))
	require.NoError(t, err)
	names, err := pages.Check()
	require.NoError(t, err)
	require.Subset(t, names, []string{"docs", "error", "household", "signin"})
}

// What is kept compressed is sent whole to who does not take that.
func TestTheFilesOfTheDocumentationAreWhole(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	page := f.send("GET", "/dev/docs", "").Body.String()
	for _, path := range regexp.MustCompile(`/static/[^"]+`).FindAllString(page, -1) {
		plain, packed := f.send("GET", path, ""), f.send("GET", path, "", "Accept-Encoding", "gzip")
		require.Equal(t, http.StatusOK, plain.Code, path)
		require.Equal(t, strconv.Itoa(plain.Body.Len()), plain.Header().Get("Content-Length"), path)
		unpacked, err := gzip.NewReader(packed.Body)
		require.NoError(t, err, path)
		text, err := io.ReadAll(unpacked)
		require.NoError(t, err, path)
		require.Equal(t, plain.Body.Bytes(), text, path)
	}
	require.Contains(t, page, "/swagger-ui-bundle.js")
}

// Without JavaScript the page lists what there is.
func TestTheDocumentationPageStandsWithoutScripts(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil)
	for language, want := range map[string]string{"en": "<h1>The API</h1>", "fr": "<h1>L’API</h1>"} {
		w := f.send("GET", "/dev/docs", "", "Accept-Language", language)
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), want)
		require.Contains(t, w.Body.String(), "<code>POST /v2/site/{siteId}/device/{deviceId}/socket/on</code> Switch a socket on")
		require.NotContains(t, w.Header().Get("Content-Security-Policy"), "unsafe")
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'; ")
	}
}
