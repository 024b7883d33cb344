package oauth_test

import (
	"context"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// witness is an Observer that remembers.
type witness struct {
	mu      sync.Mutex
	issued  [][2]string // client, grant
	refused []string
	judged  [][2]string // client, verdict
	deleted []string    // clients
}

func (w *witness) TokenIssued(clientID, grant string, _ bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.issued = append(w.issued, [2]string{clientID, grant})
}

func (*witness) Switched(string, bool, string) {}

func (*witness) ConnectionsChanged(string) {}

func (w *witness) Deleted(clientID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deleted = append(w.deleted, clientID)
}

func (w *witness) Judged(clientID, verdict, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judged = append(w.judged, [2]string{clientID, verdict})
}

// Verdicts gives the clients and verdicts since the last call.
func (w *witness) Verdicts() [][2]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.judged = nil }()
	return w.judged
}

func (w *witness) Refused(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, reason)
}

// Issued gives what was issued since the last call.
func (w *witness) Issued() [][2]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.issued = nil }()
	return w.issued
}

// Refusals gives the reasons since the last call.
func (w *witness) Refusals() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.refused = nil }()
	return w.refused
}

// Accounts of every server.
const (
	aliceEmail, alicePassword = "alice@example.org", "alice's password"
	bobEmail, bobPassword     = "bob@example.org", "bob's own password"
)

// server is a Service on a SQLite store of its own, with two users and an
// application of each.
type server struct {
	*oauth.Service
	store     oauth.Store
	passwords *oauth.Passwords
	clock     *clock
	seen      *witness

	alice, bob             oauth.User
	aliceClient, bobClient oauth.Client
	aliceSecret, bobSecret string
}

// newServer makes a server; options may change what it is made of.
func newServer(t testing.TB, options ...func(*oauth.Options)) *server {
	t.Helper()
	return newServerOn(t, migrationstest.SQLite(t), options...)
}

func newServerOn(t testing.TB, db *groupcommit.SQLite, options ...func(*oauth.Options)) *server {
	t.Helper()
	s := &server{store: oauthsqlite.New(db), clock: newClock(), seen: &witness{}}
	passwords, err := oauth.NewPasswords(oauth.PasswordOptions{
		Workers: 4, Queue: 2_000,
		Params: argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
	})
	require.NoError(t, err)
	s.passwords = passwords
	s.Service = s.with(t, options...)

	s.alice, err = s.AddUser(t.Context(), aliceEmail, "Alice", alicePassword)
	require.NoError(t, err)
	s.bob, err = s.AddUser(t.Context(), bobEmail, "Bob", bobPassword)
	require.NoError(t, err)
	s.aliceClient, s.aliceSecret, err = s.AddClient(t.Context(), aliceEmail, "Alice's script")
	require.NoError(t, err)
	s.bobClient, s.bobSecret, err = s.AddClient(t.Context(), bobEmail, "Bob's script")
	require.NoError(t, err)
	return s
}

// with makes another Service like that of s, with other options.
func (s *server) with(t testing.TB, options ...func(*oauth.Options)) *oauth.Service {
	t.Helper()
	o := oauth.Options{
		Store: s.store, Passwords: s.passwords, Now: s.clock.Now, Observer: s.seen,
		Issuer: issuer, Scopes: []string{"read", "write", "admin"},
		Limits: &oauth.Limits{}, // most tests ask for many tokens in no time
	}
	for _, change := range options {
		change(&o)
	}
	service, err := oauth.New(o)
	require.NoError(t, err)
	return service
}

// judged gives personal applications the ordinary limits.
func judged(o *oauth.Options) { o.Limits = nil }

// What every server is configured with, and what every commercial application has.
const (
	issuer      = "https://foxbridge.example"
	redirectURI = "https://app.example/callback"
	// challenge is the S256 of verifier (RFC 7636 appendix B).
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// request asks for a commercial application of Bob's for reading and writing.
func (s *server) request(change ...func(*oauth.CommercialRequest)) oauth.CommercialRequest {
	r := oauth.CommercialRequest{
		OwnerEmail: bobEmail, Name: "Bob's app", Description: "Does things.\nMany.", HomePage: "https://app.example",
		RedirectURIs: []string{redirectURI}, Scopes: []string{"write", "read"},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// application is a commercial one and its secret.
type application struct {
	oauth.Client
	secret string // empty of a public one
}

// commercial gives an approved application.
func (s *server) commercial(t testing.TB, change ...func(*oauth.CommercialRequest)) application {
	t.Helper()
	client, secret, err := s.RequestCommercial(t.Context(), s.request(change...))
	require.NoError(t, err)
	require.NoError(t, s.Approve(t.Context(), client.ID))
	return application{client, secret}
}

func public(r *oauth.CommercialRequest)       { r.Public = true }
func requirePKCE(r *oauth.CommercialRequest)  { r.RequirePKCE = true }
func requireScope(r *oauth.CommercialRequest) { r.RequireScope = true }

// ask is a right request to the authorization endpoint, with PKCE.
func (a application) ask(change ...func(*oauth.AuthorizeRequest)) oauth.AuthorizeRequest {
	r := oauth.AuthorizeRequest{
		ResponseType: "code", ClientID: a.ID, RedirectURI: redirectURI, State: "xyz",
		CodeChallenge: challenge, CodeChallengeMethod: "S256",
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// consent has Alice say yes to all that is asked, and gives the address that follows.
func (s *server) consent(t testing.TB, r oauth.AuthorizeRequest) *url.URL {
	t.Helper()
	asked, err := s.Authorize(t.Context(), r)
	require.NoError(t, err)
	to, err := s.Consent(t.Context(), asked, oauth.Consent{UserID: s.alice.ID, Ticket: oauth.HashOf(oauth.NewSecret()), Scope: asked.Scope})
	require.NoError(t, err)
	u, err := url.Parse(to)
	require.NoError(t, err)
	return u
}

// exchange is a right request for a code that was asked for with ask.
func (a application) exchange(code string) oauth.TokenRequest {
	return oauth.TokenRequest{
		ClientID: a.ID, ClientSecret: a.secret, GrantType: oauth.GrantCode,
		Code: code, RedirectURI: redirectURI, CodeVerifier: verifier, Address: home(),
	}
}

// issue gives an application tokens for Alice.
func (s *server) issue(t testing.TB, a application) oauth.Tokens {
	t.Helper()
	tokens, err := s.Token(t.Context(), a.exchange(s.consent(t, a.ask()).Query().Get("code")))
	require.NoError(t, err)
	return tokens
}

func home() netip.Addr { return netip.MustParseAddr("192.0.2.1") }

// signIn is a right request of Alice's application with the password grant.
func (s *server) signIn() oauth.TokenRequest {
	return oauth.TokenRequest{
		ClientID: s.aliceClient.ID, ClientSecret: s.aliceSecret, GrantType: oauth.GrantPassword,
		Username: aliceEmail, Password: alicePassword, Address: home(),
	}
}

// wrong is like signIn with a wrong password.
func (s *server) wrong() oauth.TokenRequest {
	req := s.signIn()
	req.Password = "not " + alicePassword
	return req
}

// refresh is a request of Alice's application with the refresh_token grant.
func (s *server) refresh(token string) oauth.TokenRequest {
	return oauth.TokenRequest{
		ClientID: s.aliceClient.ID, ClientSecret: s.aliceSecret, GrantType: oauth.GrantRefresh,
		RefreshToken: token, Address: home(),
	}
}

// first signs Alice in.
func (s *server) first(t require.TestingT) oauth.Tokens {
	tokens, err := s.Token(context.Background(), s.signIn())
	require.NoError(t, err)
	return tokens
}

// refused gives the refusal that err must be.
func refused(t require.TestingT, err error, code string) oauth.Error {
	var refusal *oauth.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, code, refusal.Code, "%v", err)
	return *refusal
}
