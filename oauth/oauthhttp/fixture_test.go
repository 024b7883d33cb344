package oauthhttp_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// Alice's account. The password has what forms, headers and JSON must encode.
const (
	email    = "alice@example.org"
	password = `p&ss=w+rd; 100% "é"`
)

// server is the whole authorization server on a SQLite store of its own.
type server struct {
	router    *mux.Router
	handler   *oauthhttp.Handler
	service   *oauth.Service
	passwords *oauth.Passwords
	client    oauth.Client
	secret    string
	log       *logs
	seen      *reasons

	mu  sync.Mutex
	now time.Time
}

// newServer makes a server; store, if not nil, stands before the real one.
func newServer(t testing.TB, store func(oauth.Store) oauth.Store) *server {
	t.Helper()
	s := &server{log: &logs{}, seen: &reasons{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	s.passwords, err = oauth.NewPasswords(oauth.PasswordOptions{
		Workers: 2,
		Params:  argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
	})
	require.NoError(t, err)
	options := oauth.Options{
		Store: oauthsqlite.New(migrationstest.SQLite(t)), Passwords: s.passwords, Now: s.Now, Observer: s.seen,
	}
	administration, err := oauth.New(options)
	require.NoError(t, err)
	_, err = administration.AddUser(t.Context(), email, "Alice", password)
	require.NoError(t, err)
	s.client, s.secret, err = administration.AddClient(t.Context(), email, "Alice's script")
	require.NoError(t, err)

	if store != nil {
		options.Store = store(options.Store)
	}
	s.service, err = oauth.New(options)
	require.NoError(t, err)
	s.handler = oauthhttp.New(oauthhttp.Options{
		Service: s.service, Logger: slog.New(slog.NewJSONHandler(s.log, nil)), Observer: s.seen,
	})
	s.router = mux.NewRouter()
	s.handler.Register(s.router)
	return s
}

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
	s.router.ServeHTTP(w, r)
	return w
}

// post sends a body to the token endpoint. headers are names and values in turn.
func (s *server) post(contentType, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
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
	AccessToken  string `json:"access_token"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
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

func (*reasons) TokenIssued(string, string) {}

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
