package oauthhttp_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/apitest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// Alice's account. The password has what forms, headers and JSON must encode.
const (
	email    = "alice@example.org"
	password = `p&ss=w+rd; 100% "é"`
)

// What every server is configured with.
const issuer = "https://foxbridge.example"

// scopes are those that the house knows, to the letter.
func scopes() []string {
	return []string{
		"security:read", "security:arm", "security:disarm", "socket:read", "socket:operate",
		"shutter:read", "shutter:operate", "history:read",
	}
}

// server is the whole authorization server on a store of its own.
type server struct {
	router    *mux.Router
	checked   http.Handler // the router, held against the description of the API
	handler   *oauthhttp.Handler
	service   *oauth.Service
	passwords *oauth.Passwords
	alice     oauth.User
	client    oauth.Client // Alice's personal application
	secret    string
	log       *logs
	seen      *reasons

	administration *oauth.Service // on the real store
	store          oauth.Store    // the real one

	mu  sync.Mutex
	now time.Time
}

// newServer makes a server on SQLite; store, if not nil, stands before the real one.
func newServer(t testing.TB, store func(oauth.Store) oauth.Store) *server {
	t.Helper()
	return newServerOn(t, oauthsqlite.New(migrationstest.SQLite(t)), store)
}

func newServerOn(t testing.TB, real oauth.Store, store func(oauth.Store) oauth.Store) *server {
	t.Helper()
	s := &server{store: real, log: &logs{}, seen: &reasons{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	s.passwords, err = oauth.NewPasswords(oauth.PasswordOptions{
		Workers: 2,
		Params:  argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
	})
	require.NoError(t, err)
	options := oauth.Options{
		Store: real, Passwords: s.passwords, Now: s.Now, Observer: s.seen, Issuer: issuer, Scopes: scopes(),
		Limits: &oauth.Limits{}, // tests ask for many tokens in no time
	}
	s.administration, err = oauth.New(options)
	require.NoError(t, err)
	s.alice, err = s.administration.AddUser(t.Context(), email, "Alice", password)
	require.NoError(t, err)
	s.client, s.secret, err = s.administration.AddClient(t.Context(), email, "Alice's script")
	require.NoError(t, err)

	if store != nil {
		options.Store = store(options.Store)
	}
	s.service, err = oauth.New(options)
	require.NoError(t, err)
	s.handler = oauthhttp.New(oauthhttp.Options{
		Service: s.service, Logger: slog.New(slog.NewJSONHandler(s.log, nil)), Observer: s.seen, Address: addressOf,
	})
	s.router = mux.NewRouter()
	s.handler.Register(s.router)
	s.checked = apitest.Shared(t).Handler(t, s.router)
	return s
}

// fromHeader lets a test be at another address than its connection.
const fromHeader = "Test-From"

func addressOf(r *http.Request) netip.Addr {
	if from := r.Header.Get(fromHeader); from != "" {
		return netip.MustParseAddr(from)
	}
	return netip.MustParseAddrPort(r.RemoteAddr).Addr()
}

// onEachStore runs a test on a server on each of the stores.
func onEachStore(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, newServer(t, nil))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, newServerOn(t, oauthpgx.New(migrationstest.Postgres(t)), nil))
	})
}

const redirectURI = "https://app.example/callback?from=foxbridge"

// application is a commercial one.
type application struct {
	oauth.Client
	secret string // empty of a public one
}

// commercial registers an application for all scopes and has it approved; change may
// change what it is.
func (s *server) commercial(t testing.TB, change ...func(*oauth.CommercialRequest)) application {
	t.Helper()
	a := s.requested(t, change...)
	require.NoError(t, s.administration.Approve(t.Context(), a.ID))
	return a
}

// requested registers an application that nobody has decided on.
func (s *server) requested(t testing.TB, change ...func(*oauth.CommercialRequest)) application {
	t.Helper()
	request := oauth.CommercialRequest{
		OwnerEmail: email, Name: "App", HomePage: "https://app.example", RedirectURIs: []string{redirectURI}, Scopes: scopes(),
	}
	for _, c := range change {
		c(&request)
	}
	client, secret, err := s.administration.RequestCommercial(t.Context(), request)
	require.NoError(t, err)
	return application{client, secret}
}

func public(r *oauth.CommercialRequest) { r.Public = true }

// verifier is that of every code with PKCE; RFC 7636 appendix B has its challenge.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// code has Alice consent to an application, and gives the code that the application
// gets. change may change what the application asks.
func (s *server) code(t testing.TB, a application, change ...func(*oauth.AuthorizeRequest)) string {
	t.Helper()
	request := oauth.AuthorizeRequest{
		ResponseType: "code", ClientID: a.ID, RedirectURI: redirectURI, State: "xyz",
		CodeChallenge: challenge, CodeChallengeMethod: "S256",
	}
	for _, c := range change {
		c(&request)
	}
	return s.consent(t, request).Get("code")
}

// consent has Alice consent to a request, and gives the parameters of the answer.
func (s *server) consent(t testing.TB, request oauth.AuthorizeRequest) url.Values {
	t.Helper()
	asked, err := s.service.Authorize(t.Context(), request)
	require.NoError(t, err)
	var ticket oauth.Hash
	rand.Read(ticket[:])
	to, err := s.service.Consent(t.Context(), asked, oauth.Consent{UserID: s.alice.ID, Ticket: ticket, Scope: asked.Scope})
	require.NoError(t, err)
	back, err := url.Parse(to)
	require.NoError(t, err)
	return back.Query()
}

func withoutPKCE(r *oauth.AuthorizeRequest) { r.CodeChallenge, r.CodeChallengeMethod = "", "" }

func (s *server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// do sends a request to the router.
func (s *server) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.checked.ServeHTTP(w, r)
	return w
}

// post sends a body to the token endpoint. headers are names and values in turn.
func (s *server) post(contentType, body string, headers ...string) *httptest.ResponseRecorder {
	return s.postTo("/oauth2/token", contentType, body, headers...)
}

func (s *server) postTo(path, contentType, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return s.do(r)
}

// answer is any answer of the token endpoint.
type answer struct {
	AccessToken  string  `json:"access_token"`
	ExpiresIn    int     `json:"expires_in"`
	Scope        *string `json:"scope"`
	RefreshToken string  `json:"refresh_token"`
	Error        string  `json:"error"`
	Description  string  `json:"error_description"`
}

// tokens are those of an answer that must be a success.
func tokens(t testing.TB, w *httptest.ResponseRecorder) answer {
	t.Helper()
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return decoded(t, w)
}

// decoded checks what holds for every answer.
func decoded(t testing.TB, w *httptest.ResponseRecorder) (a answer) {
	t.Helper()
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "no-cache", w.Header().Get("Pragma"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &a), w.Body)
	return a
}

// logs keeps log lines.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// Lines gives what was logged since the last call.
func (l *logs) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	if l.text.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(l.text.String(), "\n"), "\n")
}

// reasons is an Observer that remembers refusals.
type reasons struct {
	mu   sync.Mutex
	seen []string
}

func (*reasons) TokenIssued(string, string, bool) {}

func (*reasons) Judged(string, string, string) {}

func (*reasons) Switched(string, bool, string) {}

func (*reasons) ConnectionsChanged(string) {}

func (*reasons) Deleted(string) {}

func (o *reasons) Refused(reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, reason)
}

// Seen gives the reasons since the last call.
func (o *reasons) Seen() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.seen = nil }()
	return o.seen
}
