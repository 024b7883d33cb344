package oauthhttp_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// A browser that asks for a page which is not there gets one; a program never does.
func TestNotFoundIsAPageForWhoLooksForOne(t *testing.T) {
	t.Parallel()
	p, err := oauthhttp.NewPages(oauthhttp.PagesOptions{Service: newServer(t, nil).service, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for name, c := range map[string]struct {
		method, path, accept string
		page                 bool
	}{
		"a page":                     {"GET", "/devv/apps", browser, true},
		"a page, its head":           {"HEAD", "/devv/apps", browser, true},
		"a page of a name like v2":   {"GET", "/v2things", browser, true},
		"a page, wanted little":      {"GET", "/nothing", "text/html;q=0.001", true},
		"a page, not wanted":         {"GET", "/nothing", "text/html;q=0.0, application/json", false},
		"anything":                   {"GET", "/nothing", "*/*", false},
		"no wish":                    {"GET", "/nothing", "", false},
		"JSON":                       {"GET", "/nothing", "application/json", false},
		"a wish that makes no sense": {"GET", "/nothing", "text/html;;;=, \x00", false},
		"a form":                     {"POST", "/nothing", browser, false},
		"the API":                    {"GET", "/v2/nothing", browser, false},
		"the API, its root":          {"GET", "/v2", browser, false},
		"the authorization server":   {"GET", "/oauth2/nothing", browser, false},
		"metadata that there is not": {"GET", "/.well-known/openid-configuration", browser, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Header.Set("Accept", c.accept)
			r.Header.Set("Accept-Language", "fr")
			w := httptest.NewRecorder()
			p.NotFound(next).ServeHTTP(w, r)
			if !c.page {
				require.Equal(t, http.StatusTeapot, w.Code)
				return
			}
			require.Equal(t, http.StatusNotFound, w.Code)
			require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
			require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
			require.Contains(t, w.Body.String(), "Page introuvable")
		})
	}
}
