package oauthhttp_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// The matrix of every kind of application, response type, method and fault of a
// parameter at the authorization endpoint, over HTTP. What must be answered is worked
// out by rules of its own.
func TestTheAuthorizationMatrix(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		pages, err := oauthhttp.NewPages(oauthhttp.PagesOptions{Service: s.service, Logger: slog.New(slog.DiscardHandler), Address: addressOf})
		require.NoError(t, err)
		pages.Register(s.router)
		counts := map[string]int{}
		for _, app := range s.askingApps(t) {
			for _, response := range []string{"code", "token"} {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					for _, c := range asks(app, response, method) {
						want := c.expected()
						require.Equal(t, want, s.asked(t, c), "%+v", c)
						counts[response+", "+want]++
					}
				}
			}
		}
		var lines []string
		var total int
		for outcome, n := range counts {
			total += n
			lines = append(lines, fmt.Sprintf("%-45s %6d", outcome, n))
		}
		slices.Sort(lines)
		t.Logf("authorization matrix: %d requests\n%s", total, strings.Join(lines, "\n"))
		require.Len(t, counts, 9)
	})
}

// askingApp is an application as this matrix sees it.
type askingApp struct {
	kind   string
	id     string
	legacy bool
	asks   bool // it may ask people at all
}

func (s *server) askingApps(t *testing.T) []askingApp {
	t.Helper()
	rejected := s.requested(t)
	require.NoError(t, s.administration.Reject(t.Context(), rejected.ID))
	return []askingApp{
		{"commercial", s.commercial(t).ID, false, true},
		{"public", s.commercial(t, public).ID, false, true},
		{"legacy", s.legacy(t).ID, true, true},
		{"public and legacy", s.legacy(t, public).ID, true, true},
		{"personal", s.client.ID, false, false},
		{"pending", s.requested(t).ID, false, false},
		{"rejected", rejected.ID, false, false},
		{"deleted", s.deleted(t).ID, false, false},
	}
}

// ask is one request of the matrix.
type ask struct {
	app              askingApp
	response, method string
	parameter, fault string // empty: none
	pairs            []pair
}

// asks are all requests for one application, response type and method.
func asks(app askingApp, response, method string) (all []ask) {
	right := []pair{{"response_type", response}, {"client_id", app.id}, {"redirect_uri", redirectURI}, {"state", "xyz"}, {"scope", "socket:read"}}
	if response == "code" {
		right = append(right, pair{"code_challenge", challenge}, pair{"code_challenge_method", "S256"})
	}
	all = append(all, ask{app: app, response: response, method: method, pairs: right})
	for i, p := range right {
		for _, fault := range []string{"missing", "empty", "repeated", "oversized", "NUL", "invalid UTF-8", "wrong"} {
			pairs := slices.Clone(right)
			switch fault {
			case "missing":
				pairs = slices.Delete(pairs, i, i+1)
			case "empty":
				pairs[i].value = ""
			case "repeated":
				pairs = append(pairs, p)
			case "oversized":
				pairs[i].value = strings.Repeat("a", 50_000)
			case "NUL":
				pairs[i].value += "\x00"
			case "invalid UTF-8":
				pairs[i].value += "\xff"
			case "wrong":
				pairs[i].value = strings.Repeat("0", 64)
			}
			all = append(all, ask{app: app, response: response, method: method, parameter: p.name, fault: fault, pairs: pairs})
		}
	}
	return all
}

// asked sends a request, and says what came of it.
func (s *server) asked(t *testing.T, c ask) string {
	t.Helper()
	var query []string
	for _, p := range c.pairs {
		query = append(query, p.name+"="+url.QueryEscape(p.value))
	}
	sent := strings.Join(query, "&")
	r := httptest.NewRequest(c.method, "/oauth2/authorize?"+sent, nil)
	if c.method == http.MethodPost {
		r = httptest.NewRequest(c.method, "/oauth2/authorize", strings.NewReader(sent))
		r.Header.Set("Content-Type", form)
	}
	w := s.do(r)
	to := w.Header().Get("Location")
	switch {
	case w.Code == http.StatusBadRequest && to == "":
		return "page"
	case w.Code != http.StatusSeeOther:
		return fmt.Sprint(w.Code)
	case strings.HasPrefix(to, "/signin?"):
		return "sign-in"
	}
	where, answer := "query", strings.TrimPrefix(to, redirectURI+"&")
	if rest, is := strings.CutPrefix(to, redirectURI+"#"); is {
		where, answer = "fragment", rest
	}
	values, err := url.ParseQuery(answer)
	require.NoError(t, err)
	require.Equal(t, issuer, values.Get("iss"), to)
	require.Empty(t, values.Get("code")+values.Get("access_token"))
	if c.parameter != "state" {
		require.Equal(t, "xyz", values.Get("state"), "%+v", c)
	}
	return where + " " + values.Get("error")
}

// expected is the contract: what comes first in the way of a request decides.
func (c ask) expected() string {
	is := func(parameter string, faults ...string) bool {
		return c.parameter == parameter && (len(faults) == 0 || slices.Contains(faults, c.fault))
	}
	noText := slices.Contains([]string{"repeated", "NUL", "invalid UTF-8"}, c.fault)

	// Whose it is, and where an answer may go.
	if is("client_id") || is("redirect_uri") || !c.app.asks {
		return "page"
	}

	// How it is to be answered: by what the response_type says, if it says anything.
	implicit := c.app.legacy && c.response == "token" && (!is("response_type") || is("response_type", "repeated"))
	where := "query"
	if implicit {
		where = "fragment"
	}
	invalid := where + " invalid_request"
	switch {
	case is("state", "repeated", "oversized"):
		return invalid
	case noText && !is("state"):
		return invalid
	case is("response_type"), c.response == "token" && !implicit:
		return invalid
	case implicit && is("state", "missing", "empty"):
		return invalid
	case is("code_challenge"), is("code_challenge_method"):
		if c.fault == "missing" || c.fault == "empty" || c.fault == "oversized" || c.fault == "wrong" {
			return invalid
		}
	case is("scope", "oversized", "wrong"):
		return where + " invalid_scope"
	}
	return "sign-in"
}
