package web_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/web"
)

var update = flag.Bool("update", false, "write the golden files anew")

var contentHash = regexp.MustCompile(`/static/[0-9a-f]{16}/`)

func TestLayoutGolden(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{Header: sampleHeader})
	for _, lang := range []string{"en", "fr"} {
		for page, path := range map[string]string{"sample": "/dev/apps/1?page=2&q=%22", "signin": "/signin", "error": "/nowhere"} {
			t.Run(page+"."+lang, func(t *testing.T) {
				t.Parallel()
				w, r := httptest.NewRecorder(), get(path, "Accept-Language", lang)
				switch page {
				case "sample":
					p.Flash(w, "sample.saved")
					r.AddCookie(w.Result().Cookies()[0])
					w = httptest.NewRecorder()
					p.Render(w, r, http.StatusOK, page, sample())
				case "signin":
					form := web.NewForm(map[string]string{"username": `"><script>`, "password": "never shown"})
					form.Reject("", "sample.wrong")
					p.Render(w, r, http.StatusUnprocessableEntity, page, sampleData{Form: form, Token: "TOKEN"}, web.WithHeader(web.Header{}))
				case "error":
					p.Error(w, r, http.StatusNotFound, "")
				}
				got := contentHash.ReplaceAllString(w.Body.String(), "/static/HASH/")
				file := filepath.Join("testdata", "golden", page+"."+lang+".html")
				if *update {
					require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
					require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
				}
				want, err := os.ReadFile(file)
				require.NoError(t, err)
				require.Empty(t, cmp.Diff(string(want), got))
				require.NotContains(t, got, "never shown", "a password is never sent back")
				require.NotContains(t, got, "ZgotmplZ")
			})
		}
	}
}

func TestRenderHeaders(t *testing.T) {
	t.Parallel()
	const strict = "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; script-src 'self'; connect-src 'self'; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	for _, secure := range []bool{false, true} {
		p := newPages(t, web.Options{Secure: secure})
		w := httptest.NewRecorder()
		p.Render(w, get("/", "Accept-Language", "fr"), http.StatusTeapot, "signin", sampleData{})
		require.Equal(t, http.StatusTeapot, w.Code)
		for name, want := range map[string]string{
			"Content-Security-Policy":      strict,
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cache-Control":                "no-store",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Content-Type":                 "text/html; charset=utf-8",
			"Content-Language":             "fr",
			"Vary":                         "Accept-Language, Cookie",
			"Strict-Transport-Security":    map[bool]string{true: "max-age=31536000"}[secure],
		} {
			require.Equal(t, want, w.Header().Get(name), name)
		}
		require.Contains(t, w.Header().Get("Permissions-Policy"), "camera=()")
	}
}

func TestPolicyOfAPage(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	tests := []struct {
		name, redirect, want string
	}{
		{"https, and wherever it redirects on", "https://client.example/cb?x=1", "form-action 'self' https:"},
		{"loopback with a port", "http://127.0.0.1:8123/cb", "form-action 'self' http://127.0.0.1:8123 https:"},
		{"loopback that a source cannot name", "http://[::1]:8123/cb", "form-action 'self' http: https:"},
		{"scheme of a native application", "com.example.app:/cb", "form-action 'self' com.example.app: https:"},
		{"script", "javascript:alert(1)", "form-action 'self'"},
		{"data", "data:text/html,x", "form-action 'self'"},
		{"nothing absolute", "/cb", "form-action 'self'"},
		{"nothing", "", "form-action 'self'"},
		{"a directive in the host", "http://a;script-src%20*/", "form-action 'self'"},
		{"a list in the host", "http://a,b/", "form-action 'self' http: https:"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			p.Render(w, get("/"), http.StatusOK, "signin", sampleData{}, web.AllowRedirects(test.redirect), web.KeepOpener())
			policy := w.Header().Get("Content-Security-Policy")
			require.Contains(t, policy, "; "+test.want+"; frame-ancestors 'none'")
			require.NotContains(t, policy, "unsafe-")
			require.Len(t, strings.Split(policy, ";"), 9)
			require.Equal(t, "unsafe-none", w.Header().Get("Cross-Origin-Opener-Policy"))
		})
	}
}

func TestAPageThatFailsIsPlainAndLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := newPages(t, web.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	form := new(web.Form)
	form.Reject("", "no.such.message")
	for page, data := range map[string]any{"signin": sampleData{Form: form}, "sample": nil, "no such page": nil} {
		w := httptest.NewRecorder()
		p.Render(w, get("/", "Accept-Language", "fr"), http.StatusOK, page, data)
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.Contains(t, w.Body.String(), "Une erreur est survenue de notre côté")
		require.NotContains(t, w.Body.String(), "<main", "never half a page")
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, log.String(), page)
		log.Reset()
	}
}

func TestNewAndCheckRefuse(t *testing.T) {
	t.Parallel()
	const fine = `{{define "title"}}x{{end}}{{define "main"}}x{{end}}`
	const one = `{"a": "x"}`
	page := func(main string) map[string]string {
		return map[string]string{"p.html": `{{define "title"}}x{{end}}{{define "main"}}` + main + `{{end}}`}
	}
	tests := []struct {
		name            string
		templates       map[string]string
		english, french string
		assets          map[string]string
		want            string
	}{
		{"nothing", page(`{{t "a"}}`), one, one, nil, ""},
		{"a partial of one's own", map[string]string{"p.html": `{{define "title"}}x{{end}}{{define "main"}}{{template "mine"}}{{end}}`, "_m.html": `{{define "mine"}}x{{end}}`}, one, one, nil, ""},
		{"a key that French lacks", nil, `{"a": "x", "b": "x"}`, one, nil, `message "b" of language en is missing in language fr`},
		{"a key that English lacks", nil, one, `{"a": "x", "c": "x"}`, nil, `message "c" of language fr is missing in language en`},
		{"another number of arguments", nil, `{"a": "x {0}"}`, one, nil, "another number of arguments"},
		{"a key that is there twice", nil, `{"a": "x", "a": "y"}`, one, nil, `message "a" is there twice`},
		{"a key of this package", nil, `{"web.skip": "x"}`, `{"web.skip": "x"}`, nil, `"web.skip" is there twice`},
		{"an empty message", nil, `{"a": " "}`, one, nil, "is empty"},
		{"half a plural", nil, `{"a": {"one": "x"}}`, one, nil, "other: is empty"},
		{"an unknown plural", nil, `{"a": {"one": "x", "other": "x", "few": "x"}}`, one, nil, "neither a text nor"},
		{"a place with a name", nil, `{"a": "x {name}"}`, one, nil, "{name} is none of"},
		{"no object", nil, `[]`, one, nil, "not a JSON object"},
		{"an unknown key", page(`{{t "b"}}`), one, one, nil, `no message "b"`},
		{"an unknown key in a condition in parentheses", page(`{{if eq (t "b") "x"}}x{{end}}`), one, one, nil, `no message "b"`},
		{"an unknown key in an else branch", page(`{{range .}}x{{else}}{{with .}}{{t "b"}}{{end}}{{end}}`), one, one, nil, `no message "b"`},
		{"an unknown label", page(`{{template "field" (field . "n" "b")}}`), one, one, nil, `no message "b"`},
		{"an unknown hint", page(`{{template "field" (field . "n" "a" "required" true "hint" "b")}}`), one, one, nil, `no message "b"`},
		{"an unknown notice", page(`{{template "notice" (notice "info" "b")}}`), one, one, nil, `no message "b"`},
		{"an unknown button", page(`{{template "submit" (submit "b" "kind" "danger")}}`), one, one, nil, `no message "b"`},
		{"too many arguments", page(`{{t "a" 1}}`), one, one, nil, "takes 0 arguments, not 1"},
		{"too few arguments", page(`{{t "a"}}`), `{"a": {"one": "x", "other": "{0} x"}}`, `{"a": {"one": "x", "other": "{0} x"}}`, nil, "takes 1 arguments, not 0"},
		{"an unknown asset", page(`{{asset "b.css"}}`), one, one, nil, `no static file "b.css"`},
		{"an unknown function", page(`{{nothing}}`), one, one, nil, "nothing"},
		{"an unknown partial", page(`{{template "nothing"}}`), one, one, nil, "nothing"},
		{"what cannot be escaped", page(`<a href="{{if .}}x">{{end}}`), one, one, nil, "different contexts"},
		{"no title", map[string]string{"p.html": `{{define "main"}}x{{end}}`}, one, one, nil, `template p.html: defines no "title"`},
		{"no main", map[string]string{"p.html": `{{define "title"}}x{{end}}`}, one, one, nil, `template p.html: defines no "main"`},
		{"a page of this package", map[string]string{"error.html": fine}, one, one, nil, "page error is there twice"},
		{"a partial of this package", map[string]string{"p.html": fine + `{{define "field"}}x{{end}}`}, one, one, nil, `"field" is defined already`},
		{"an asset of this package", nil, one, one, map[string]string{"web.css": "x"}, "is there twice"},
		{"an asset of no known type", nil, one, one, map[string]string{"x.exe": "x"}, "no known type"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := web.New(web.Options{
				Templates: filesystems(test.templates), Assets: filesystems(test.assets),
				Messages: filesystems(map[string]string{"en.json": test.english, "fr.json": test.french}),
				Logger:   slog.New(slog.DiscardHandler),
			})
			if err == nil {
				_, err = p.Check()
			}
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}

func TestErrorPages(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	for status, want := range map[int][2]string{
		http.StatusNotFound:           {"Page not found", "nothing at this address"},
		http.StatusTeapot:             {"This request could not be read", "missing or malformed"},
		http.StatusBadGateway:         {"Something went wrong", "on our side"},
		http.StatusServiceUnavailable: {"Not available right now", "at the moment"},
	} {
		w := httptest.NewRecorder()
		p.Error(w, get("/"), status, "")
		require.Equal(t, status, w.Code)
		require.Contains(t, w.Body.String(), "<h1>"+want[0]+"</h1>")
		require.Contains(t, w.Body.String(), want[1])
	}
	w := httptest.NewRecorder()
	p.Error(w, get("/"), http.StatusForbidden, "web.error.field_long", "<name>")
	require.Contains(t, w.Body.String(), "“&lt;name&gt;”")
	w = httptest.NewRecorder()
	p.Error(w, get("/"), http.StatusForbidden, "no.such.message")
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), "You do not have the right")
}

func TestStatic(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{Assets: filesystems(map[string]string{"extra.js": "1"})})
	router := mux.NewRouter()
	p.Register(router)
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	page := httptest.NewRecorder()
	p.Render(page, get("/"), http.StatusOK, "signin", sampleData{})
	paths := regexp.MustCompile(`/static/[^"]+`).FindAllString(page.Body.String(), -1)
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	require.NotEmpty(t, paths)
	for _, path := range paths {
		w := ask(http.MethodGet, path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Equal(t, "public, max-age=31536000, immutable", w.Header().Get("Cache-Control"))
		require.Equal(t, types[filepath.Ext(path)], w.Header().Get("Content-Type"))
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.NotEmpty(t, w.Body.String())
	}
	other := ask(http.MethodGet, "/static/0123456789abcdef/web.css")
	require.Equal(t, http.StatusOK, other.Code, "pages of another version stay whole")
	require.Equal(t, "no-store", other.Header().Get("Cache-Control"))
	require.Equal(t, "1", ask(http.MethodGet, "/static/x/extra.js").Body.String())
	for _, path := range []string{"/static/", "/static/x", "/static/x/", "/static/x/nothing.css", "/static/x/y/web.css", "/static/web.css"} {
		require.Equal(t, http.StatusNotFound, ask(http.MethodGet, path).Code, path)
	}
	require.Equal(t, http.StatusMethodNotAllowed, ask(http.MethodPost, paths[0]).Code)
	require.Empty(t, ask(http.MethodHead, paths[0]).Body.String())
}

// Who takes it compressed is sent it so, and everybody gets the same. What is kept
// compressed is served under its own name.
func TestStaticIsCompressed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("the same again\n", 1000)
	p := newPages(t, web.Options{Assets: filesystems(map[string]string{"own.js": long, "kept.js.gz": string(web.Gzip([]byte(long)))})})
	router := mux.NewRouter()
	p.Register(router)
	for _, file := range []string{"own.js", "kept.js"} {
		for accepted, packed := range map[string]bool{
			"": false, "identity": false, "br": false, "gzip;q=0": false, "gzip; Q=0.0": false, "gzip;q=x": false, "gzipped": false,
			"gzip": true, "br, GZIP ;q=0.5": true, "deflate,gzip": true,
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				r := httptest.NewRequest(method, "/static/x/"+file, nil)
				r.Header.Set("Accept-Encoding", accepted)
				w := httptest.NewRecorder()
				router.ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, "text/javascript; charset=utf-8", w.Header().Get("Content-Type"))
				require.Equal(t, "Accept-Encoding", w.Header().Get("Vary"))
				if method == http.MethodHead {
					require.Empty(t, w.Body.Bytes())
					continue
				}
				require.Equal(t, strconv.Itoa(w.Body.Len()), w.Header().Get("Content-Length"))
				if !packed {
					require.Empty(t, w.Header().Get("Content-Encoding"), accepted)
					require.Equal(t, long, w.Body.String())
					continue
				}
				require.Equal(t, "gzip", w.Header().Get("Content-Encoding"), accepted)
				require.Less(t, w.Body.Len(), len(long)/10)
				z, err := gzip.NewReader(w.Body)
				require.NoError(t, err)
				text, err := io.ReadAll(z)
				require.NoError(t, err)
				require.Equal(t, long, string(text))
			}
		}
	}
	_, err := web.New(web.Options{Logger: slog.New(slog.DiscardHandler), Assets: filesystems(map[string]string{"torn.js.gz": "torn"})})
	require.ErrorContains(t, err, "torn.js.gz")
}

func TestStyleIsSmall(t *testing.T) {
	t.Parallel()
	info, err := os.Stat("static/web.css")
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(16<<10))
}

func TestMessages(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	tests := []struct {
		lang, key string
		args      []any
		want      string
	}{
		{"en", "sample.tokens", []any{0}, "0 tokens this month"},
		{"en", "sample.tokens", []any{1}, "1 token this month"},
		{"en", "sample.tokens", []any{uint32(1234567)}, "1,234,567 tokens this month"},
		{"en", "sample.tokens", []any{-1234}, "−1,234 tokens this month"},
		{"fr", "sample.tokens", []any{0}, "0 jeton ce mois-ci"},
		{"fr", "sample.tokens", []any{1}, "1 jeton ce mois-ci"},
		{"fr", "sample.tokens", []any{1234567}, "1\u202f234\u202f567 jetons ce mois-ci"},
		{"en", "sample.limit", []any{0.5}, "Limit: 0.5 in an hour"},
		{"fr", "sample.limit", []any{1234.5}, "Limite\u00a0: 1\u202f234,5 par heure"},
		{"en", "sample.limit", []any{sample().Used}, "Limit: 14 August 2026 in an hour"},
		{"fr", "sample.limit", []any{sample().Made}, "Limite\u00a0: 1er mars 2026 par heure"},
		{"en", "sample.limit", []any{web.English}, "Limit: en in an hour"},
	}
	for _, test := range tests {
		got, err := p.Translate(get("/", "Accept-Language", test.lang), test.key, test.args...)
		require.NoError(t, err)
		require.Equal(t, test.want, got)
	}
	for key, args := range map[string][]any{"nothing": nil, "sample.tokens": {"1"}, "sample.title": {1}, "sample.limit": {nil}} {
		_, err := p.Translate(get("/"), key, args...)
		require.ErrorContains(t, err, key)
	}
	pages, err := p.Check()
	require.NoError(t, err)
	require.Equal(t, []string{"error", "sample", "signin"}, pages)
	require.NoError(t, p.RequireKeys("sample.title"))
	require.ErrorContains(t, p.RequireKeys("sample.title", "nothing"), `"nothing"`)
}
