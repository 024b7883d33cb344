package demoapp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/foxbridge/foxbridge/cmd/demo-app/demoapp"
)

// server plays Foxbridge: its answers are the test's to set.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by path
	tokens  atomic.Int64                // issued so far
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{answers: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := s.answers[r.URL.Path]
		s.mu.Unlock()
		if answer == nil {
			answer = ko(http.StatusNotFound, "not_found", "Unknown path")
		}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	s.set("/oauth2/token", func(w http.ResponseWriter, _ *http.Request) { s.issue(w, 3600) })
	s.set("/v2/client/site/items", ok(`{"items":[{"siteId":7,"label":"Home"}]}`))
	s.set("/v2/site/7/security", ok(`{"status":1,"statusLabel":"disarmed"}`))
	s.set("/v2/site/7/device/socket/items", ok(`{"items":[{"deviceId":8,"label":"<Lamp>"}]}`))
	s.set("/v2/site/7/device/shutter/items", ok(`{"items":[]}`))
	s.set("/v2/site/7/security/set/armed", ok(`{"request":"OK"}`))
	return s
}

func (s *server) set(path string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = answer
}

func (s *server) issue(w http.ResponseWriter, seconds int) {
	n := s.tokens.Add(1)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"secret-access-%d","refresh_token":"secret-refresh-%d","token_type":"Bearer","expires_in":%d,"scope":"security:read security:arm socket:read socket:operate"}`, n, n, seconds)
}

func ok(payload string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status":"OK","timestamp":1,"payload":%s}`, payload)
	}
}

func ko(status int, code, description string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"status":"KO","timestamp":1,"error":%q,"error_description":%q}`, code, description)
	}
}

// refusal is an error of the token endpoint.
func refusal(code, description string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, code, description)
	}
}

// browser is at the application with cookies, and follows no redirect.
type browser struct {
	t      *testing.T
	app    *httptest.Server
	client *http.Client
	log    *strings.Builder
	now    *atomic.Int64 // seconds since the start
}

func newApp(t *testing.T, s *server, adjust ...func(*demoapp.Options)) *browser {
	t.Helper()
	b := &browser{t: t, log: &strings.Builder{}, now: &atomic.Int64{}}
	began := time.Now()
	app := httptest.NewUnstartedServer(nil)
	o := demoapp.Options{
		URL: "http://" + app.Listener.Addr().String(), Server: s.URL, ClientID: "client", ClientSecret: "se/cret",
		Logger: slog.New(slog.NewTextHandler(&locked{w: b.log}, nil)),
		Now:    func() time.Time { return began.Add(time.Duration(b.now.Load()) * time.Second) },
	}
	for _, a := range adjust {
		a(&o)
	}
	handler, err := demoapp.New(o)
	require.NoError(t, err)
	app.Config.Handler = handler
	app.Start()
	t.Cleanup(app.Close)
	b.app = app
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return b
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (b *browser) do(method, path string, header ...string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.app.URL+path, nil)
	require.NoError(b.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	return response, string(body)
}

func (b *browser) front() string {
	b.t.Helper()
	response, body := b.do("GET", "/")
	require.Equal(b.t, http.StatusOK, response.StatusCode, body)
	return body
}

// begin presses the button and gives what the browser is sent to Foxbridge with.
func (b *browser) begin() url.Values {
	b.t.Helper()
	response, _ := b.do("POST", "/authorize")
	require.Equal(b.t, http.StatusSeeOther, response.StatusCode)
	to, err := response.Location()
	require.NoError(b.t, err)
	return to.Query()
}

func (b *browser) connect(s *server) {
	b.t.Helper()
	asked := b.begin()
	response, body := b.do("GET", back(url.Values{"code": {"the-code"}, "state": {asked.Get("state")}, "iss": {s.URL}}))
	require.Equal(b.t, http.StatusSeeOther, response.StatusCode, body)
	require.Equal(b.t, "/", response.Header.Get("Location"))
	require.Contains(b.t, b.front(), "Connected.")
}

func back(answer url.Values) string { return demoapp.RedirectPath + "?" + answer.Encode() }

// The code grant by the book: PKCE with S256, a state of the browser's own, and the
// client's secret in the header.
func TestCodeGrant(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	asked := b.begin()
	require.Equal(t, "code", asked.Get("response_type"))
	require.Equal(t, "client", asked.Get("client_id"))
	require.Equal(t, b.app.URL+demoapp.RedirectPath, asked.Get("redirect_uri"))
	require.Equal(t, "S256", asked.Get("code_challenge_method"))
	require.Equal(t, "security:read security:arm security:disarm socket:read socket:operate shutter:read shutter:operate", asked.Get("scope"), "what it has a use for")
	require.Len(t, asked.Get("code_challenge"), 43)
	require.Len(t, asked.Get("state"), 43)
	require.NotEqual(t, asked.Get("state"), b.begin().Get("state"), "each its own")

	asked = b.begin()
	var form url.Values
	s.set("/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		require.Equal(t, "client se%2Fcret", id+" "+secret, "encoded as RFC 6749 section 2.3.1 has it")
		require.NoError(t, r.ParseForm())
		form = r.PostForm
		s.issue(w, 3600)
	})
	_, _ = b.do("GET", back(url.Values{"code": {"the-code"}, "state": {asked.Get("state")}, "iss": {s.URL}}))
	require.Equal(t, "the-code", form.Get("code"))
	require.Equal(t, b.app.URL+demoapp.RedirectPath, form.Get("redirect_uri"))
	require.Equal(t, asked.Get("code_challenge"), oauth2.S256ChallengeFromVerifier(form.Get("code_verifier")))

	page := b.front()
	require.Contains(t, page, "disarmed")
	require.Contains(t, page, "&lt;Lamp&gt;", "what Foxbridge says is text")
	require.NotContains(t, page, "secret-", "no token reaches the page")
	require.NotContains(t, page, "Disarm", "it was not allowed to")
	for _, denied := range []string{"disarm the home", "see the shutters", "open and close the shutters"} {
		require.Contains(t, page, "<li>"+denied+"</li>", "which it says")
	}
	require.NotContains(t, page, "<li>arm the home</li>")

	// The answer is good once.
	response, _ := b.do("GET", back(url.Values{"code": {"another"}, "state": {asked.Get("state")}, "iss": {s.URL}}))
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
}

func TestAnswersThatAreNotThisBrowsers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	s.set("/oauth2/token", func(http.ResponseWriter, *http.Request) { t.Error("a code was redeemed") })
	response, _ := b.do("GET", back(url.Values{"code": {"c"}, "state": {""}, "iss": {s.URL}}))
	require.Equal(t, http.StatusBadRequest, response.StatusCode, "nothing was begun")

	state := b.begin().Get("state")
	for name, answer := range map[string]url.Values{
		"another state":  {"code": {"c"}, "state": {state + "x"}, "iss": {s.URL}},
		"no state":       {"code": {"c"}, "iss": {s.URL}},
		"another issuer": {"code": {"c"}, "state": {state}, "iss": {"https://evil.example.com"}},
		"no issuer":      {"code": {"c"}, "state": {state}},
		"denied by whom": {"error": {"access_denied"}, "state": {"x"}, "iss": {s.URL}},
	} {
		response, page := b.do("GET", back(answer))
		require.Equal(t, http.StatusBadRequest, response.StatusCode, name)
		require.Contains(t, page, "belongs to no question", name)
	}
	other := newApp(t, s)
	response, _ = other.do("GET", back(url.Values{"code": {"c"}, "state": {state}, "iss": {s.URL}}))
	require.Equal(t, http.StatusBadRequest, response.StatusCode, "another browser")
	b.now.Store(3600)
	response, _ = b.do("GET", back(url.Values{"code": {"c"}, "state": {state}, "iss": {s.URL}}))
	require.Equal(t, http.StatusBadRequest, response.StatusCode, "an hour later")
}

func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	for name, c := range map[string]struct {
		answer url.Values
		token  http.HandlerFunc
		says   string
	}{
		"denied":          {url.Values{"error": {"access_denied"}}, nil, "You said no. Nothing was connected."},
		"refused":         {url.Values{"error": {"invalid_scope"}, "error_description": {"<b>No</b>"}}, nil, "Foxbridge refused: &lt;b&gt;No&lt;/b&gt;"},
		"a long refusal":  {url.Values{"error": {"invalid_scope"}, "error_description": {strings.Repeat("x", 5000)}}, nil, "xxx..."},
		"code is no good": {url.Values{"code": {"c"}}, refusal("invalid_grant", "The authorization code is invalid or expired"), "did not grant access: The authorization code is invalid or expired."},
		"no description":  {url.Values{"code": {"c"}}, refusal("server_error", ""), "did not grant access: server_error."},
		"no answer":       {url.Values{"code": {"c"}}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "did not grant access: it cannot be reached."},
		"no token":        {url.Values{"code": {"c"}}, ok(`{"secret-x":1}`), "did not grant access: it cannot be reached."},
	} {
		if c.token != nil {
			s.set("/oauth2/token", c.token)
		}
		c.answer.Set("state", b.begin().Get("state"))
		c.answer.Set("iss", s.URL)
		response, _ := b.do("GET", back(c.answer))
		require.Equal(t, http.StatusSeeOther, response.StatusCode, name)
		page := b.front()
		require.Contains(t, page, c.says, name)
		require.Contains(t, page, `action="/authorize"`, name)
		require.NotContains(t, b.log.String(), "secret", name)
	}
}

func TestTokenIsRenewedWhenItHasRunOut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	s.set("/oauth2/token", func(w http.ResponseWriter, _ *http.Request) { s.issue(w, 1) }) // run out at once, for the library
	b.connect(s)
	var presented []string
	s.set("/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		presented = append(presented, r.FormValue("refresh_token"))
		s.issue(w, 3600)
	})
	issued := s.tokens.Load()
	s.set("/v2/site/7/security", func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, fmt.Sprintf("Bearer secret-access-%d", issued+1), r.Header.Get("Authorization"))
		ok(`{"status":4,"statusLabel":"armed"}`)(w, r)
	})
	require.Contains(t, b.front(), "armed")
	require.Contains(t, b.front(), "armed", "the new one is kept")
	for said, want := range map[string]string{"partial": "partially armed", "something new": "not known"} {
		s.set("/v2/site/7/security", ok(fmt.Sprintf(`{"status":2,"statusLabel":%q}`, said)))
		require.Contains(t, b.front(), `<span class="level">`+want+"</span>")
	}
	require.Equal(t, []string{fmt.Sprintf("secret-refresh-%d", issued)}, presented)
}

func TestEndOfTheAccessIsNoticed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*server){
		"revoked": func(s *server) {
			s.set("/v2/client/site/items", ko(401, "invalid_token", "The access token provided is invalid"))
		},
		"in the middle": func(s *server) {
			s.set("/v2/site/7/security", ko(401, "invalid_token", "The access token provided is invalid"))
		},
		"refresh refused": func(s *server) { s.set("/oauth2/token", refusal("invalid_grant", "The refresh token is invalid")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			b := newApp(t, s)
			if name == "refresh refused" {
				s.set("/oauth2/token", func(w http.ResponseWriter, _ *http.Request) { s.issue(w, 1) })
				state := b.begin().Get("state")
				_, _ = b.do("GET", back(url.Values{"code": {"c"}, "state": {state}, "iss": {s.URL}}))
			} else {
				b.connect(s)
			}
			end(s)
			page := b.front()
			require.Contains(t, page, "The access has ended. Authorize again.")
			require.Contains(t, page, `action="/authorize"`)
			require.NotContains(t, b.front(), "has ended", "it is forgotten")
		})
	}
}

func TestTroubleOfAHomeIsShownAndTheRestOfItToo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	b.connect(s)
	s.set("/v2/site/7/security", ko(503, "not_reported", "The unit has not reported this yet"))
	page := b.front()
	require.Contains(t, page, "The unit has not reported this yet.")
	require.Contains(t, page, "&lt;Lamp&gt;")
	s.set("/v2/client/site/items", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	page = b.front()
	require.Contains(t, page, "answer cannot be read")
	require.NotContains(t, page, "see no home")
	s.Close()
	require.Contains(t, b.front(), "Foxbridge cannot be reached.")
}

func TestCommands(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	press := func(path string) string {
		response, body := b.do("POST", path)
		if response.StatusCode != http.StatusSeeOther {
			return body
		}
		require.Equal(t, "/", response.Header.Get("Location"))
		return b.front()
	}
	require.Contains(t, press("/sites/7/alarm/armed"), "Authorize first.")
	b.connect(s)
	require.Contains(t, press("/sites/7/alarm/armed"), "The home is armed.")
	s.set("/v2/site/7/device/8/socket/on", ok(`{"request":"OK"}`))
	require.Contains(t, press("/sites/7/socket/8/on"), "&lt;Lamp&gt; is switched on.")
	s.set("/v2/site/7/device/9/socket/on", ok(`{"request":"OK"}`))
	require.Contains(t, press("/sites/7/socket/9/on"), "The socket is switched on.", "of which the list says nothing")
	s.set("/v2/site/7/device/8/shutter/open", ok(`{"request":"OK"}`))
	require.Contains(t, press("/sites/7/shutter/8/open"), "The shutter is opening.", "whose name it may not see")
	s.set("/v2/site/7/device/8/socket/on", ko(504, "outcome_unknown", "The unit did not answer in time; whether it acted is unknown"))
	require.Contains(t, press("/sites/7/socket/8/on"), "whether it acted is unknown.")
	for _, path := range []string{
		"/sites/7/alarm/explode", "/sites/x/alarm/armed", "/sites/7/socket/8/open", "/sites/7/gate/8/open",
		"/sites/7/socket/..%2f..%2f..%2foauth2%2frevoke/on", "/sites/7%2f8/alarm/armed", "/sites/" + strings.Repeat("7", 20) + "/alarm/armed",
	} {
		require.Contains(t, press(path), "There is no such button.", path)
	}
	response, _ := b.do("GET", "/sites/7/alarm/armed")
	require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	response, _ = b.do("POST", "/sites/7/alarm/armed", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, response.StatusCode, "another site's page presses no button")
	s.set("/v2/site/7/security/set/armed", ko(401, "invalid_token", "The access token provided is invalid"))
	require.Contains(t, press("/sites/7/alarm/armed"), "The access has ended. Authorize again.")
}

func TestSignOutRevokes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	b.connect(s)
	_, _ = b.do("POST", "/sign-out") // the revocation endpoint is not there
	require.Contains(t, b.front(), "could not be told to end the access", "it is still signed in")
	var revoked url.Values
	s.set("/oauth2/revoke", func(_ http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		require.Equal(t, "client se%2Fcret", id+" "+secret)
		require.NoError(t, r.ParseForm())
		revoked = r.PostForm
	})
	_, _ = b.do("POST", "/sign-out")
	require.Equal(t, fmt.Sprintf("secret-refresh-%d", s.tokens.Load()), revoked.Get("token"))
	require.Contains(t, b.front(), "Signed out.")
	_, _ = b.do("POST", "/sign-out")
	require.NotContains(t, b.front(), "Signed out.", "nothing was there to end")
	require.NotContains(t, b.log.String(), "secret")
}

func TestPublicClientNamesItselfInTheBody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s, func(o *demoapp.Options) { o.ClientSecret = "" })
	check := func(r *http.Request) {
		require.Empty(t, r.Header.Get("Authorization"))
		require.Equal(t, "client", r.FormValue("client_id"))
		require.NotContains(t, r.PostForm, "client_secret")
	}
	s.set("/oauth2/token", func(w http.ResponseWriter, r *http.Request) { check(r); s.issue(w, 3600) })
	s.set("/oauth2/revoke", func(_ http.ResponseWriter, r *http.Request) { check(r) })
	b.connect(s)
	_, _ = b.do("POST", "/sign-out")
	require.Contains(t, b.front(), "Signed out.")
}

// The session is in the cookie, which tells nobody anything and cannot be made up.
func TestCookie(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	b.connect(s)
	address, err := url.Parse(b.app.URL)
	require.NoError(t, err)
	cookies := b.client.Jar.Cookies(address)
	require.Len(t, cookies, 1)
	require.Equal(t, "demo-app-"+address.Port(), cookies[0].Name)
	require.NotContains(t, cookies[0].Value, "secret")
	response, _ := b.do("GET", "/")
	require.Contains(t, response.Header.Get("Set-Cookie"), "; Path=/; HttpOnly; SameSite=Lax")
	for _, forged := range []string{"", "x", "!", strings.Repeat("A", 200), cookies[0].Value[1:], cookies[0].Value[:len(cookies[0].Value)-2] + "AA"} {
		b.client.Jar.SetCookies(address, []*http.Cookie{{Name: cookies[0].Name, Value: forged}})
		require.Contains(t, b.front(), `action="/authorize"`, forged)
	}
	secure := newApp(t, s, func(o *demoapp.Options) { o.URL = "https://comfort.example.com" })
	response, _ = secure.do("POST", "/authorize")
	require.Regexp(t, `^__Host-demo-app=.*; Secure`, response.Header.Get("Set-Cookie"))
}

func TestPagesAreLockedDown(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := newApp(t, s)
	for _, path := range []string{"/", "/style.css", "/callback", "/nowhere"} {
		response, _ := b.do("GET", path)
		h := response.Header
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'", path)
		require.Contains(t, h.Get("Content-Security-Policy"), "form-action 'self' "+s.URL+"; frame-ancestors 'none'", path)
		require.Equal(t, "no-store", h.Get("Cache-Control"), path)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
	}
	response, css := b.do("GET", "/style.css")
	require.Contains(t, response.Header.Get("Content-Type"), "text/css")
	require.NotEmpty(t, css)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	good := demoapp.Options{URL: "http://[::1]:1", Server: "https://home.example.com", ClientID: "c", Logger: slog.New(slog.DiscardHandler)}
	_, err := demoapp.New(good)
	require.NoError(t, err)
	for option, spoil := range map[string]func(*demoapp.Options){
		"URL":      func(o *demoapp.Options) { o.URL = "comfort.example.com" },
		"Server":   func(o *demoapp.Options) { o.Server = "https://home.example.com/" },
		"ClientID": func(o *demoapp.Options) { o.ClientID = "" },
		"Logger":   func(o *demoapp.Options) { o.Logger = nil },
	} {
		bad := good
		spoil(&bad)
		_, err := demoapp.New(bad)
		require.ErrorContains(t, err, "option "+option)
	}
}

func TestServeFinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	begun, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- demoapp.Serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-release
			_ = json.NewEncoder(w).Encode("done")
		}), time.Minute)
	}()
	answered := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answered <- string(body)
	}()
	<-begun
	cancel()
	close(release)
	require.Equal(t, "\"done\"\n", <-answered)
	require.NoError(t, <-served)
}
