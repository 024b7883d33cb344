package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// A first token, twenty wasteful ones within the hour, and the next request switches
// the application off: the 22nd.
func TestAScriptThatKeepsNoTokenIsSwitchedOffOnThe22ndRequest(t *testing.T) {
	t.Parallel()
	s := newServer(t, judged)
	for i := range 21 {
		tokens, err := s.Token(t.Context(), s.signIn())
		require.NoError(t, err)
		require.Equal(t, []oauth.Waste{
			{Window: time.Hour, Quota: 20, Used: i, Remaining: 20 - i, Reset: resetOf(i, time.Hour)},
			{Window: 24 * time.Hour, Quota: 100, Used: i, Remaining: 100 - i, Reset: resetOf(i, 24*time.Hour)},
		}, tokens.Waste)
		s.clock.Advance(time.Minute)
	}
	require.Equal(t, [][2]string{{s.aliceClient.ID, "notice"}, {s.aliceClient.ID, "warning"}}, s.seen.Verdicts())
	_, err := s.Token(t.Context(), s.signIn())
	refusal := refused(t, err, oauth.CodeUnauthorizedClient)
	require.Equal(t, issuer+"/dev/apps/"+s.aliceClient.ID, refusal.URI)
	began := newClock().Now()
	require.Equal(t, &oauth.Explanation{
		Actor: oauth.ByPolicy, At: began.Add(21 * time.Minute), Rule: oauth.RuleHour, Window: time.Hour,
		Used: 21, Allowed: 20, First: began.Add(time.Minute), Last: began.Add(21 * time.Minute), Advice: refusal.Explanation.Advice,
	}, refusal.Explanation)
	require.Regexp(t, `^[ !#-\[\]-~]+$`, refusal.Description, "RFC 6749 section 5.2 allows no more")
	require.Contains(t, refusal.Description, "21 wasteful access tokens within one hour, from 2026-03-01T12:01:00Z to 2026-03-01T12:21:00Z, where 20 are allowed")
	require.Equal(t, [][2]string{{s.aliceClient.ID, "switch_off"}}, s.seen.Verdicts())

	_, err = s.Token(t.Context(), s.signIn())
	again := refused(t, err, oauth.CodeUnauthorizedClient)
	require.Equal(t, refusal.Explanation, again.Explanation)
	_, err = s.OwnToken(t.Context(), s.alice, s.aliceClient.ID, alicePassword, home())
	require.NotNil(t, refused(t, err, oauth.CodeUnauthorizedClient).Explanation)
}

// What an application gives back it holds on: it gets no more tokens than one that
// throws them away.
func TestAScriptThatRevokesItsTokensIsSwitchedOffOnThe22ndRequestToo(t *testing.T) {
	t.Parallel()
	s := newServer(t, judged)
	for i := range 21 {
		tokens, err := s.Token(t.Context(), s.signIn())
		require.NoError(t, err)
		token := tokens.RefreshToken
		if i%2 == 1 {
			token = tokens.AccessToken
		}
		require.NoError(t, s.Revoke(t.Context(), oauth.ClientRequest{ClientID: s.aliceClient.ID, ClientSecret: s.aliceSecret, Token: token}))
	}
	_, err := s.Token(t.Context(), s.signIn())
	require.Equal(t, 21, refused(t, err, oauth.CodeUnauthorizedClient).Explanation.Used)
}

// Whoever deletes an application and registers another one goes on where the first one
// was; what was there beside it does not suffer.
func TestADeletedApplicationIsHeldAgainstThoseThatSucceedItAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *oauth.Options) { o.Limits = &oauth.Limits{Hour: 2, Day: 10} })
	add := func() func() error {
		c, secret, err := s.AddClient(t.Context(), aliceEmail, "Script")
		require.NoError(t, err)
		request := s.signIn()
		request.ClientID, request.ClientSecret = c.ID, secret
		return func() error {
			_, err := s.Token(t.Context(), request)
			return err
		}
	}
	bad := func() error {
		_, err := s.Token(t.Context(), s.signIn())
		return err
	}
	good := add()
	require.NoError(t, good())
	for range 3 {
		require.NoError(t, bad())
	}
	require.Nil(t, refused(t, bad(), oauth.CodeUnauthorizedClient).Err)
	require.NoError(t, s.DeleteClient(t.Context(), s.aliceClient.ID))
	for range 2 {
		require.NoError(t, good())
	}
	heir := add()
	require.NoError(t, heir(), "a first token")
	refusal := refused(t, heir(), oauth.CodeUnauthorizedClient)
	require.Equal(t, [3]int{3, 2, 2}, [3]int{refusal.Explanation.Used, refusal.Explanation.Inherited, refusal.Explanation.Allowed})
	require.Contains(t, refusal.Description, "it and deleted applications of its owner asked for 3 wasteful access tokens within one hour")
	require.Contains(t, refusal.Description, "2 of these were issued to applications that were deleted before this one was registered.")
	require.Regexp(t, `^[ !#-\[\]-~]+$`, refusal.Description, "RFC 6749 section 5.2 allows no more")
	refusal = refused(t, good(), oauth.CodeUnauthorizedClient)
	require.Zero(t, refusal.Explanation.Inherited)
	require.NotContains(t, refusal.Description, "deleted")
}

// resetOf is when the first of used tokens, one a minute until now, leaves the window.
func resetOf(used int, window time.Duration) time.Duration {
	if used == 0 {
		return 0
	}
	return window - time.Duration(used-1)*time.Minute
}

func TestALiveTokenOfAnApplicationThatIsOffIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	s := newServer(t, judged)
	tokens := s.first(t)
	did, err := s.SwitchOff(t.Context(), s.aliceClient.ID, oauth.ByOperator, "", "  floods us  ")
	require.NoError(t, err)
	require.True(t, did)
	_, err = s.Authenticate(t.Context(), tokens.AccessToken)
	refusal := refused(t, err, oauth.CodeInvalidToken)
	require.Equal(t, issuer+"/dev/apps/"+s.aliceClient.ID, refusal.URI)
	require.Equal(t, s.aliceClient.ID, refusal.ClientID)
	require.Equal(t, oauth.ByOperator, refusal.Explanation.Actor)
	require.Equal(t, "floods us", refusal.Explanation.Reason)
	require.NotContains(t, refusal.Description, "floods", "what somebody wrote is in no header")
	require.Contains(t, refusal.Description, "Only the operator of this service can reactivate it.")

	_, err = s.ReactivateOwn(t.Context(), s.alice.ID, s.aliceClient.ID, "", netip.Addr{})
	require.ErrorIs(t, err, oauth.ErrOperatorOnly)
	_, err = s.ReactivateOwn(t.Context(), s.bob.ID, s.aliceClient.ID, "", netip.Addr{})
	require.ErrorIs(t, err, oauth.ErrNotFound)
	did, err = s.Reactivate(t.Context(), s.aliceClient.ID, oauth.ByOperator, "", "")
	require.NoError(t, err)
	require.True(t, did)
	_, err = s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
}

func second[T any](_ T, err error) error { return err }

func TestAnOwnerReactivatesTwiceInThirtyDays(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *oauth.Options) { o.Limits, o.OperatorContact = &oauth.Limits{Hour: 1}, "help@example.org" })
	const own = "The owner can reactivate the application on its page."
	trip := func(advice string) {
		var last oauth.Tokens
		for {
			issued, err := s.Token(t.Context(), s.signIn())
			if err == nil {
				last = issued
				continue
			}
			for _, refusal := range []oauth.Error{
				refused(t, err, oauth.CodeUnauthorizedClient),
				refused(t, second(s.Authenticate(t.Context(), last.AccessToken)), oauth.CodeInvalidToken),
			} {
				require.True(t, strings.HasSuffix(refusal.Explanation.Advice, advice), refusal.Explanation.Advice)
				require.Contains(t, refusal.Description, advice)
			}
			return
		}
	}
	for range oauth.OwnReactivations {
		trip(own)
		did, err := s.ReactivateOwn(t.Context(), s.alice.ID, s.aliceClient.ID, "", netip.Addr{})
		require.NoError(t, err)
		require.True(t, did)
		s.clock.Advance(time.Hour)
	}
	trip("The owner has reactivated 2 times within 30 days, so only the operator of this service can reactivate it now, who is reached at help@example.org")
	_, err := s.ReactivateOwn(t.Context(), s.alice.ID, s.aliceClient.ID, "", netip.Addr{})
	var field *oauth.FieldError
	require.ErrorAs(t, err, &field)
	require.ErrorIs(t, err, oauth.ErrOperatorOnly)
	s.clock.Advance(30 * 24 * time.Hour)
	did, err := s.ReactivateOwn(t.Context(), s.alice.ID, s.aliceClient.ID, "", netip.Addr{})
	require.NoError(t, err)
	require.True(t, did)
}

// Only what is issued counts: whoever does not know the secret changes nothing.
func TestAStrangerCannotSwitchAnApplicationOff(t *testing.T) {
	t.Parallel()
	s := newServer(t, judged)
	s.first(t)
	for range 50 {
		req := s.signIn()
		req.ClientSecret = oauth.NewSecret()
		_, err := s.Token(t.Context(), req)
		refused(t, err, oauth.CodeInvalidClient)
		_, err = s.Token(t.Context(), s.refresh(oauth.NewSecret()))
		refused(t, err, oauth.CodeInvalidGrant)
	}
	counts, err := s.Standing(t.Context(), s.aliceClient.ID)
	require.NoError(t, err)
	require.Zero(t, counts)
	_, err = s.Token(t.Context(), s.signIn())
	require.NoError(t, err)
}

func TestInterventionsAreChecked(t *testing.T) {
	t.Parallel()
	s := newServer(t, judged)
	long := string(make([]rune, 501))
	for name, call := range map[string]func() error{
		"no reason": func() error {
			_, err := s.SwitchOff(t.Context(), s.aliceClient.ID, oauth.ByOperator, "", " ")
			return err
		},
		"long reason": func() error {
			_, err := s.SwitchOff(t.Context(), s.aliceClient.ID, oauth.ByOperator, "", long)
			return err
		},
		"control": func() error {
			_, err := s.SwitchOff(t.Context(), s.aliceClient.ID, oauth.ByOperator, "", "a\x00b")
			return err
		},
		"long key": func() error {
			_, err := s.SwitchOff(t.Context(), s.aliceClient.ID, oauth.ByAlert, long, "b")
			return err
		},
		"unknown": func() error {
			_, err := s.SwitchOff(t.Context(), oauth.NewClientID(), oauth.ByOperator, "", "b")
			return err
		},
		"malformed": func() error { _, err := s.Reactivate(t.Context(), "x", oauth.ByOperator, "", ""); return err },
		"unknown on": func() error {
			_, err := s.Reactivate(t.Context(), oauth.NewClientID(), oauth.ByOperator, "", "")
			return err
		},
		"history":        func() error { _, err := s.Verdicts(t.Context(), "x", 0); return err },
		"limit":          func() error { return s.SetLimits(t.Context(), s.aliceClient.ID, &oauth.Limits{Hour: -1}) },
		"day below hour": func() error { return s.SetLimits(t.Context(), s.aliceClient.ID, &oauth.Limits{Hour: 40, Day: 20}) },
		"large limit":    func() error { return s.SetLimits(t.Context(), s.aliceClient.ID, &oauth.Limits{Day: 1_000_001}) },
		"limit of none":  func() error { return s.SetLimits(t.Context(), "x", nil) },
		"limits of none": func() error { _, _, err := s.LimitsOf(t.Context(), "x"); return err },
		"no address":     func() error { return s.DisableUser(t.Context(), "x") },
		"no account":     func() error { return s.EnableUser(t.Context(), "carol@example.org") },
	} {
		var field *oauth.FieldError
		require.ErrorAs(t, call(), &field, name)
	}
	l, own, err := s.LimitsOf(t.Context(), s.aliceClient.ID)
	require.NoError(t, err)
	require.False(t, own)
	require.Equal(t, oauth.DefaultLimits(), l)
}

func TestOptionsOfThePolicyAreChecked(t *testing.T) {
	t.Parallel()
	s := newServer(t, judged)
	for _, wrong := range []oauth.Options{{Mode: "x"}, {Lever: "x"}, {Limits: &oauth.Limits{Hour: -1}}, {Limits: &oauth.Limits{Hour: 40, Day: 20}}} {
		wrong.Store, wrong.Passwords = s.store, s.passwords
		_, err := oauth.New(wrong)
		require.ErrorContains(t, err, "option")
	}
}

// Everything of a disabled person is refused, and comes back with the account.
func TestADisabledPersonIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	s := newServer(t, judged)
	app := s.commercial(t)
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err)
	personal, granted := s.first(t), s.issue(t, app)
	code := s.consent(t, app.ask()).Query().Get("code")
	require.NoError(t, s.DisableUser(t.Context(), " ALICE@example.org"))

	_, err = s.Session(t.Context(), in.Secret)
	require.ErrorIs(t, err, oauth.ErrNotFound)
	_, err = s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	refused(t, err, oauth.CodeInvalidGrant)
	for _, token := range []string{personal.AccessToken, granted.AccessToken} {
		_, err = s.Authenticate(t.Context(), token)
		refused(t, err, oauth.CodeInvalidToken)
	}
	for name, req := range map[string]oauth.TokenRequest{
		"password": s.signIn(), "refresh": s.refresh(personal.RefreshToken),
	} {
		_, err = s.Token(t.Context(), req)
		require.Equal(t, "application not active", refused(t, err, oauth.CodeUnauthorizedClient).Reason, name)
	}
	_, err = s.Token(t.Context(), app.exchange(code))
	refused(t, err, oauth.CodeInvalidGrant)
	refresh := oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: granted.RefreshToken}
	_, err = s.Token(t.Context(), refresh)
	refused(t, err, oauth.CodeInvalidGrant)
	_, live, err := s.Introspect(t.Context(), oauth.ClientRequest{ClientID: app.ID, ClientSecret: app.secret, Token: granted.AccessToken})
	require.NoError(t, err)
	require.False(t, live)
	_, _, err = s.Introspect(t.Context(), oauth.ClientRequest{ClientID: s.aliceClient.ID, ClientSecret: s.aliceSecret, Token: personal.AccessToken})
	refused(t, err, oauth.CodeUnauthorizedClient)
	_, err = s.Token(t.Context(), oauth.TokenRequest{
		ClientID: s.bobClient.ID, ClientSecret: s.bobSecret, GrantType: oauth.GrantPassword, Username: bobEmail, Password: bobPassword, Address: home(),
	})
	require.NoError(t, err, "nobody else is")

	require.NoError(t, s.EnableUser(t.Context(), aliceEmail))
	_, err = s.Session(t.Context(), in.Secret)
	require.NoError(t, err)
	for _, token := range []string{personal.AccessToken, granted.AccessToken} {
		_, err = s.Authenticate(t.Context(), token)
		require.NoError(t, err)
	}
	for _, req := range []oauth.TokenRequest{s.signIn(), s.refresh(personal.RefreshToken), app.exchange(code), refresh} {
		_, err = s.Token(t.Context(), req)
		require.NoError(t, err)
	}
}

// What keeps the token, or renews it when it is due, is never told anything.
func TestOrdinaryUseIsNeverWasteful(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{
		"on expiry": time.Hour, "five minutes early": 55 * time.Minute, "late": 3 * time.Hour,
	} {
		s := newServer(t, judged)
		tokens := s.first(t)
		for range 200 {
			s.clock.Advance(wait)
			var err error
			tokens, err = s.Token(t.Context(), s.refresh(tokens.RefreshToken))
			require.NoError(t, err, name)
		}
		require.Empty(t, s.seen.Verdicts(), name)
	}
}

// bridges are one or more Services on one record, which can be started again.
type bridges struct {
	clock     *clock
	seen      *issued
	passwords *oauth.Passwords
	options   func(*oauth.Options)
	services  []*oauth.Service
	open      func() (oauth.Store, func() error)
	closes    []func() error
	sessions  func(t testing.TB) []int // process numbers of the server's, if there is one
}

// issued is an Observer that remembers whether the last token was wasteful.
type issued struct {
	mu       sync.Mutex
	wasteful bool
}

func (o *issued) TokenIssued(_, _ string, wasteful bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wasteful = wasteful
}
func (*issued) Judged(string, string, string) {}
func (*issued) Switched(string, bool, string) {}

func (*issued) ConnectionsChanged(string) {}

func (*issued) Deleted(string) {}
func (*issued) Refused(string) {}

func (o *issued) last() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wasteful
}

func (b *bridges) start(t testing.TB, n int) {
	t.Helper()
	var err error
	b.clock, b.seen = newClock(), &issued{}
	b.passwords, err = oauth.NewPasswords(oauth.PasswordOptions{
		Workers: 4, Queue: 2_000,
		Params: argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
	})
	require.NoError(t, err)
	b.services, b.closes = make([]*oauth.Service, n), make([]func() error, n)
	for i := range n {
		require.NoError(t, b.restart(i))
	}
	t.Cleanup(func() {
		for _, stop := range b.closes {
			require.NoError(t, stop())
		}
	})
}

// restart ends a bridge, if it runs, and starts it again.
func (b *bridges) restart(i int) error {
	if stop := b.closes[i]; stop != nil {
		if err := stop(); err != nil {
			return err
		}
	}
	store, stop := b.open()
	b.closes[i] = stop
	o := oauth.Options{Store: store, Passwords: b.passwords, Now: b.clock.Now, Observer: b.seen, Issuer: issuer, Scopes: []string{"read"}, Registrations: -1}
	if b.options != nil {
		b.options(&o)
	}
	var err error
	b.services[i], err = oauth.New(o)
	return err
}

// onSQLite gives n services on one SQLite file.
func onSQLite(t testing.TB, n int, options func(*oauth.Options)) *bridges {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foxbridge.db")
	db, err := migrations.Open(migrations.SQLite, path)
	require.NoError(t, err)
	require.NoError(t, migrations.Apply(t.Context(), db, migrations.SQLite))
	require.NoError(t, db.Close())
	b := &bridges{options: options, sessions: func(testing.TB) []int { return nil }}
	b.open = func() (oauth.Store, func() error) {
		db, err := groupcommit.OpenSQLite(context.Background(), path, nil)
		require.NoError(t, err)
		return oauthsqlite.New(db), db.Close
	}
	b.start(t, n)
	return b
}

// onPostgres gives two bridges on one PostgreSQL.
func onPostgres(t testing.TB, options func(*oauth.Options)) *bridges {
	t.Helper()
	db := migrationstest.Postgres(t)
	dsn := db.Read().Config().ConnString()
	b := &bridges{options: options}
	b.open = func() (oauth.Store, func() error) {
		db, err := groupcommit.OpenPostgres(context.Background(), dsn, nil)
		require.NoError(t, err)
		return oauthpgx.New(db), db.Close
	}
	b.sessions = func(t testing.TB) []int {
		rows, _ := db.Read().Query(context.Background(), `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'`)
		pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
		require.NoError(t, err)
		return pids
	}
	b.start(t, 2)
	return b
}

// The switching off falls on exactly the token that a naive counter names, which keeps
// every timestamp and knows nothing of minutes in tables: through random requests
// over simulated days, tokens that the application gives back or the person ends,
// applications deleted and made anew, restarts, two bridges, and a clock that goes back.
func TestTheSwitchFallsOnTheTokenThatANaiveCounterNames(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) *bridges{
		"SQLite":     func(t testing.TB) *bridges { return onSQLite(t, 1, nil) },
		"PostgreSQL": func(t testing.TB) *bridges { return onPostgres(t, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			run, seen := 0, map[string]int{}
			rapid.Check(t, func(t *rapid.T) {
				run++
				w := newWorld(t, b, run, seen)
				w.run()
			})
			t.Logf("what happened: %v", seen)
			for _, what := range []string{
				"issued", "wasteful", "switched off", "off already", "restart", "reactivation", "deletion", "back in time", "replay",
				"access given back", "grant given back", "reuse", "ended by the person", "ended with the password", "inherited",
			} {
				require.Positive(t, seen[what], what)
			}
		})
	}
}

// world is a sequence of requests, with the naive counter.
type world struct {
	*rapid.T
	b       *bridges
	seen    map[string]int
	latest  time.Time
	owners  []*owner
	apps    []*script
	tokens  []*held
	ordinal int
}

type owner struct {
	oauth.User
	password string
}

// script is an application and what the naive counter knows of it.
type script struct {
	oauth.Client
	secret      string
	owner       *owner
	limits      oauth.Limits
	off         bool
	deleted     bool
	reactivated int64     // minute
	before      []*script // the owner's that were deleted when it was registered
	wasted      []*waste
	tokens      int
	refusals    int
}

// GoString keeps the log of a failure readable.
func (a *script) GoString() string { return string(a.Kind) + " " + a.ID[:6] }

// GoString keeps the log of a failure readable.
func (h *held) GoString() string { return "of " + h.app.GoString() }

// GoString keeps the log of a failure readable.
func (o *owner) GoString() string { return o.Email }

// waste is one wasteful token.
type waste struct {
	at       time.Time
	forgiven bool
}

// held is a pair of tokens.
type held struct {
	app     *script
	user    int64
	access  string
	refresh string
	spent   time.Time // zero: it is not
	expires time.Time
	family  *family
}

// family is what began with one consent.
type family struct {
	back  bool // the application gave it back, or used a spent token of it
	ended bool // the person has ended it
}

func (f *family) dead() bool { return f.back || f.ended }

func newWorld(t *rapid.T, b *bridges, run int, seen map[string]int) *world {
	w := &world{T: t, b: b, seen: seen, ordinal: run * 1_000}
	w.latest = b.clock.Now()
	for i := range 2 {
		o := &owner{password: fmt.Sprintf("password of %d", i)}
		var err error
		o.User, err = b.services[0].AddUser(context.Background(), fmt.Sprintf("o%d-%d@example.org", run, i), "O", o.password)
		require.NoError(t, err)
		w.owners = append(w.owners, o)
		w.personal(o)
	}
	w.personal(w.owners[0])
	w.commercial()
	return w
}

func (w *world) personal(o *owner) {
	c, secret, err := w.service().AddClient(context.Background(), o.Email, "Script")
	require.NoError(w, err)
	a := &script{Client: c, secret: secret, owner: o, limits: oauth.DefaultLimits()}
	for _, other := range w.apps {
		if other.deleted && other.owner == o {
			a.before = append(a.before, other)
		}
	}
	w.apps = append(w.apps, a)
	w.limit(a)
}

func (w *world) commercial() {
	s := w.b.services[0]
	c, secret, err := s.RequestCommercial(context.Background(), oauth.CommercialRequest{
		OwnerEmail: w.owners[0].Email, Name: "App", HomePage: "https://app.example", RedirectURIs: []string{redirectURI}, Scopes: []string{"read"},
	})
	require.NoError(w, err)
	require.NoError(w, s.Approve(context.Background(), c.ID))
	w.apps = append(w.apps, &script{Client: c, secret: secret, owner: w.owners[0]})
}

func (w *world) service() *oauth.Service {
	if len(w.b.services) == 1 {
		return w.b.services[0]
	}
	return rapid.SampledFrom(w.b.services).Draw(w.T, "bridge")
}

func (w *world) run() {
	steps := rapid.SampledFrom([]string{
		"ask", "ask", "ask", "ask", "ask", "ask", "burst", "burst", "wait", "wait", "wait", "back",
		"give back", "give back", "give back", "end", "reactivate", "reactivate", "limit", "delete", "restart",
	})
	for _, step := range rapid.SliceOfN(steps, 20, 45).Draw(w.T, "steps") {
		a := rapid.SampledFrom(w.apps).Draw(w.T, "application")
		if live := slices.DeleteFunc(slices.Clone(w.apps), func(a *script) bool { return a.deleted }); a.deleted && len(live) > 0 {
			a = live[0] // a deleted one only counts
		}
		switch step {
		case "ask":
			w.ask(a)
		case "burst":
			w.burst(a, 7)
		case "wait":
			w.pass(rapid.SampledFrom([]time.Duration{
				time.Second, 30 * time.Second, time.Minute, 54 * time.Minute, 55 * time.Minute, time.Hour, 5 * time.Hour, 23 * time.Hour, 30 * time.Hour,
			}).Draw(w.T, "for"))
		case "back":
			back := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 40 * time.Minute, 3 * time.Hour}).Draw(w.T, "back")
			if w.latest.Sub(w.b.clock.Now().Add(-back)) < 12*time.Hour {
				w.pass(-back)
				w.seen["back in time"]++
			}
		case "give back":
			w.giveBack()
		case "end":
			w.end(a)
		case "reactivate":
			w.reactivate(a)
		case "limit":
			w.limit(a)
		case "delete":
			w.delete(a)
		case "restart":
			require.NoError(w, w.b.restart(rapid.IntRange(0, len(w.b.services)-1).Draw(w.T, "which")))
			w.seen["restart"]++
		}
	}
	w.audit()
}

func (w *world) pass(d time.Duration) {
	w.b.clock.Advance(d)
	if now := w.b.clock.Now(); now.After(w.latest) {
		w.latest = now
	}
}

func (w *world) burst(a *script, most int) {
	for range rapid.IntRange(2, most).Draw(w.T, "times") {
		w.ask(a)
		w.pass(rapid.SampledFrom([]time.Duration{0, time.Second, 20 * time.Second}).Draw(w.T, "between"))
	}
}

// ask asks for a token in one of the ways that the application has, and compares the
// answer with what the naive counter says.
func (w *world) ask(a *script) {
	if a.deleted {
		return
	}
	request, user, old := w.request(a)
	now := w.b.clock.Now()
	wasteful := w.holds(a, user, now)
	hour, day, inherited := w.counts(a, now)
	tokens, err := w.service().Token(context.Background(), request)
	over := wasteful && a.Kind == oauth.Personal && (a.limits.Hour > 0 && hour+1 > a.limits.Hour || a.limits.Day > 0 && day+1 > a.limits.Day)
	if a.off || over {
		var refusal *oauth.Error
		if !errors.As(err, &refusal) || refusal.Code != oauth.CodeUnauthorizedClient || refusal.Explanation == nil {
			w.Fatalf("%s was not refused (off %t, hour %d, day %d, limits %+v): %v", a.ID, a.off, hour, day, a.limits, err)
		}
		if a.off {
			w.seen["off already"]++
			return
		}
		e := refusal.Explanation
		used, allowed := hour+1, a.limits.Hour
		if e.Rule == oauth.RuleDay {
			used, allowed = day+1, a.limits.Day
		}
		if e.Used != used || e.Inherited != inherited[e.Rule] || e.Allowed != allowed || e.Used <= e.Allowed || !e.Last.Equal(now) {
			w.Fatalf("explanation %+v, want %d (%d inherited) of %d at %s", e, used, inherited[e.Rule], allowed, now)
		}
		if e.Inherited > 0 {
			w.seen["inherited"]++
		}
		a.off, a.refusals = true, a.refusals+1
		w.seen["switched off"]++
		return
	}
	if err != nil {
		w.Fatalf("%s was refused with %d and %d of %+v, wasteful %t: %v", a.ID, hour, day, a.limits, wasteful, err)
	}
	if got := w.b.seen.last(); got != wasteful {
		w.Fatalf("wasteful %t, want %t", got, wasteful)
	}
	a.tokens++
	w.seen["issued"]++
	if wasteful {
		a.wasted = append(a.wasted, &waste{at: now})
		w.seen["wasteful"]++
	}
	w.budget(a, tokens, now)
	w.keep(a, user, old, tokens, now)
	if old != nil && rapid.IntRange(0, 3).Draw(w.T, "repeat") == 0 {
		w.repeat(request, tokens)
	}
}

// request makes one, for a person: the owner, or anybody of a commercial application.
// old is the pair that a refresh spends.
func (w *world) request(a *script) (r oauth.TokenRequest, user int64, old *held) {
	r = oauth.TokenRequest{ClientID: a.ID, ClientSecret: a.secret, Address: home()}
	var live []*held
	for _, h := range w.tokens {
		if h.app == a && h.spent.IsZero() && !h.family.dead() && h.refresh != "" {
			live = append(live, h)
		}
	}
	ways := []string{oauth.GrantPassword}
	if a.Kind == oauth.Commercial && !a.off {
		ways = []string{oauth.GrantCode, oauth.GrantClientCredentials}
	} else if a.Kind == oauth.Commercial {
		ways = []string{oauth.GrantClientCredentials}
	}
	if len(live) > 0 {
		ways = append(ways, oauth.GrantRefresh, oauth.GrantRefresh)
	}
	r.GrantType = rapid.SampledFrom(ways).Draw(w.T, "grant")
	switch r.GrantType {
	case oauth.GrantPassword:
		r.Username, r.Password, user = a.owner.Email, a.owner.password, a.owner.ID
	case oauth.GrantRefresh:
		old = rapid.SampledFrom(live).Draw(w.T, "token")
		r.RefreshToken, user = old.refresh, old.user
	case oauth.GrantCode:
		user = rapid.SampledFrom(w.owners).Draw(w.T, "person").ID
		r.Code, r.RedirectURI, r.CodeVerifier = w.code(a, user), redirectURI, verifier
	}
	return r, user, old
}

func (w *world) code(a *script, user int64) string { return w.b.code(w.T, a.ID, user) }

func (b *bridges) code(t require.TestingT, clientID string, user int64) string {
	s := b.services[0]
	asked, err := s.Authorize(context.Background(), oauth.AuthorizeRequest{
		ResponseType: "code", ClientID: clientID, RedirectURI: redirectURI, State: "xyz", CodeChallenge: challenge, CodeChallengeMethod: "S256",
	})
	require.NoError(t, err)
	to, err := s.Consent(context.Background(), asked, oauth.Consent{UserID: user, Ticket: oauth.HashOf(oauth.NewSecret()), Scope: asked.Scope})
	require.NoError(t, err)
	back, err := url.Parse(to)
	require.NoError(t, err)
	return back.Query().Get("code")
}

// holds is the definition of a wasteful token, to the letter: what the application gave
// back it holds on, what the person has ended it does not.
func (w *world) holds(a *script, user int64, now time.Time) bool {
	return slices.ContainsFunc(w.tokens, func(h *held) bool {
		return h.app == a && h.user == user && !h.family.ended && h.expires.Sub(now) > 5*time.Minute
	})
}

// counts are the wasteful tokens of the rolling hour and day, with those of the
// owner's applications that were deleted before, and how many these are.
func (w *world) counts(a *script, now time.Time) (hour, day int, inherited map[oauth.Rule]int) {
	this := now.Unix() / 60
	inherited = map[oauth.Rule]int{}
	for _, other := range append([]*script{a}, a.before...) {
		for _, e := range other.wasted {
			minute := e.at.Unix() / 60
			if e.forgiven || other != a && minute <= a.reactivated {
				continue
			}
			if minute > this-60 {
				hour++
			}
			if minute > this-1440 {
				day++
			}
			if other != a && minute > this-60 {
				inherited[oauth.RuleHour]++
			}
			if other != a && minute > this-1440 {
				inherited[oauth.RuleDay]++
			}
		}
	}
	return hour, day, inherited
}

func (w *world) budget(a *script, tokens oauth.Tokens, now time.Time) {
	hour, day, _ := w.counts(a, now)
	for _, waste := range tokens.Waste {
		used, quota := hour, a.limits.Hour
		if waste.Window == 24*time.Hour {
			used, quota = day, a.limits.Day
		}
		if waste.Used != used || waste.Quota != quota {
			w.Fatalf("budget %+v, want %d of %d", waste, used, quota)
		}
	}
}

func (w *world) keep(a *script, user int64, old *held, t oauth.Tokens, now time.Time) {
	h := &held{app: a, user: user, access: t.AccessToken, refresh: t.RefreshToken, expires: now.Add(oauth.DefaultAccessLifetime), family: &family{}}
	if old != nil {
		old.spent, h.family = now, old.family
	}
	w.tokens = append(w.tokens, h)
}

// repeat sends a refresh once more: the same pair, and nothing is counted.
func (w *world) repeat(r oauth.TokenRequest, want oauth.Tokens) {
	got, err := w.service().Token(context.Background(), r)
	require.NoError(w, err)
	require.Equal(w, want.AccessToken, got.AccessToken)
	w.seen["replay"]++
}

// giveBack has an application revoke an access token or a grant, or use a spent refresh
// token, and then, most times, ask for another token at once.
func (w *world) giveBack() {
	now := w.b.clock.Now()
	var live, spent []*held
	for _, h := range w.tokens {
		if h.family.dead() || h.app.off || h.app.deleted {
			continue
		}
		if h.expires.After(now) {
			live = append(live, h)
		}
		if !h.spent.IsZero() && now.Sub(h.spent) > oauth.DefaultGrace {
			spent = append(spent, h)
		}
	}
	var h *held
	switch {
	case len(spent) > 0 && (len(live) == 0 || rapid.IntRange(0, 3).Draw(w.T, "reuse") == 0):
		h = rapid.SampledFrom(spent).Draw(w.T, "reused")
		_, err := w.service().Token(context.Background(), oauth.TokenRequest{
			ClientID: h.app.ID, ClientSecret: h.app.secret, GrantType: oauth.GrantRefresh, RefreshToken: h.refresh, Address: home(),
		})
		var refusal *oauth.Error
		if !errors.As(err, &refusal) || refusal.Code != oauth.CodeInvalidGrant {
			w.Fatalf("the reuse was answered %v", err)
		}
		h.family.back = true
		w.seen["reuse"]++
	case len(live) > 0:
		h = rapid.SampledFrom(live).Draw(w.T, "given back")
		token := h.access
		if h.spent.IsZero() && h.refresh != "" && rapid.Bool().Draw(w.T, "family") {
			token, h.family.back = h.refresh, true
			w.seen["grant given back"]++
		} else {
			w.seen["access given back"]++
		}
		require.NoError(w, w.service().Revoke(context.Background(), oauth.ClientRequest{ClientID: h.app.ID, ClientSecret: h.app.secret, Token: token}))
	default:
		return
	}
	if rapid.IntRange(0, 3).Draw(w.T, "asks again") > 0 {
		w.ask(h.app)
	}
}

// end has a person end what an application may do for them, or all of them.
func (w *world) end(a *script) {
	person := rapid.SampledFrom(w.owners).Draw(w.T, "who ends it")
	all := rapid.IntRange(0, 3).Draw(w.T, "all") == 0
	if all {
		_, err := w.service().SetPassword(context.Background(), person.Email, person.password, true)
		require.NoError(w, err)
	} else {
		_, err := w.service().Disconnect(context.Background(), person.ID, a.ID, home())
		require.NoError(w, err)
	}
	for _, h := range w.tokens {
		if h.user != person.ID || h.app != a && !all || h.family.dead() {
			continue
		}
		h.family.ended = true
		if all {
			w.seen["ended with the password"]++
		} else {
			w.seen["ended by the person"]++
		}
	}
}

func (w *world) reactivate(a *script) {
	if a.deleted {
		return
	}
	did, err := w.service().Reactivate(context.Background(), a.ID, oauth.ByOperator, "", "")
	require.NoError(w, err)
	require.Equal(w, a.off, did)
	if !did {
		return
	}
	w.seen["reactivation"]++
	a.off, a.reactivated = false, w.b.clock.Now().Unix()/60
	for _, e := range a.wasted {
		e.forgiven = true
	}
}

func (w *world) limit(a *script) {
	if a.Kind != oauth.Personal || a.deleted {
		return
	}
	l := oauth.Limits{Hour: rapid.IntRange(0, 5).Draw(w.T, "hour"), Day: rapid.IntRange(0, 8).Draw(w.T, "day")}
	if l.Day != 0 {
		l.Day = max(l.Day, l.Hour)
	}
	require.NoError(w, w.service().SetLimits(context.Background(), a.ID, &l))
	a.limits = l
}

// delete deletes a personal application; its owner makes another one, sometimes to go on
// where the first one had to stop.
func (w *world) delete(a *script) {
	if a.Kind != oauth.Personal || a.deleted {
		return
	}
	escapes := rapid.Bool().Draw(w.T, "escapes")
	if escapes {
		w.burst(a, 4)
	}
	require.NoError(w, w.service().DeleteClient(context.Background(), a.ID))
	a.deleted = true
	w.seen["deletion"]++
	w.personal(a.owner)
	if escapes {
		w.burst(w.apps[len(w.apps)-1], 7)
	}
}

// audit compares the record of each application with what was issued.
func (w *world) audit() {
	for _, a := range w.apps {
		sum, err := w.service().Issuance(context.Background(), a.ID, 20_000*time.Hour, 24*time.Hour)
		require.NoError(w, err)
		var got oauth.Issuances
		for _, day := range sum {
			got.Tokens, got.Wasteful, got.Refused = got.Tokens+day.Tokens, got.Wasteful+day.Wasteful, got.Refused+day.Refused
		}
		require.Equal(w, oauth.Issuances{Tokens: a.tokens, Wasteful: len(a.wasted), Refused: a.refusals}, got)
		client, err := w.service().Clients(context.Background(), a.ID[:31]+string(a.ID[31]-1), 1)
		require.NoError(w, err)
		require.Equal(w, a.off && !a.deleted, len(client) == 1 && client[0].ID == a.ID && client[0].Status == oauth.Off)
	}
}

// 200 requests at once across the line, on two bridges: exactly so many get tokens.
func TestManyRequestsAtOnceAcrossTheLineOnTwoBridges(t *testing.T) {
	t.Parallel()
	const callers = 200
	b := onPostgres(t, nil)
	ctx := t.Context()
	owner, err := b.services[0].AddUser(ctx, aliceEmail, "Alice", alicePassword)
	require.NoError(t, err)
	c, secret, err := b.services[0].AddClient(ctx, aliceEmail, "Script")
	require.NoError(t, err)
	require.NoError(t, b.services[0].SetLimits(ctx, c.ID, &oauth.Limits{}))
	var families [callers]string
	for i := range families {
		tokens, err := b.services[0].Token(ctx, oauth.TokenRequest{
			ClientID: c.ID, ClientSecret: secret, GrantType: oauth.GrantPassword, Username: aliceEmail, Password: alicePassword, Address: home(),
		})
		require.NoError(t, err)
		families[i] = tokens.RefreshToken
	}
	require.NoError(t, b.services[0].SetLimits(ctx, c.ID, nil))
	b.clock.Advance(25 * time.Hour) // by now they have expired, and what was wasted counts no more
	first, err := b.services[0].Token(ctx, oauth.TokenRequest{ClientID: c.ID, ClientSecret: secret, GrantType: oauth.GrantRefresh, RefreshToken: families[0]})
	require.NoError(t, err)
	families[0] = first.RefreshToken

	var ready, done sync.WaitGroup
	results := make([]error, callers)
	ready.Add(callers)
	for i := range callers {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			_, results[i] = b.services[i%2].Token(ctx, oauth.TokenRequest{
				ClientID: c.ID, ClientSecret: secret, GrantType: oauth.GrantRefresh, RefreshToken: families[i],
			})
		})
	}
	done.Wait()
	issued, unspent := 0, ""
	for i, err := range results {
		if err == nil {
			issued++
			continue
		}
		refused(t, err, oauth.CodeUnauthorizedClient)
		unspent = families[i]
	}
	require.Equal(t, 20, issued)
	rulings, err := b.services[1].Verdicts(ctx, c.ID, 0)
	require.NoError(t, err)
	offs := slices.DeleteFunc(rulings, func(r oauth.Ruling) bool { return r.Verdict != oauth.VerdictSwitchOff })
	require.Len(t, offs, 1)
	require.Equal(t, 21, offs[0].Used)

	// Off on both at once, and what was refused is unspent.
	for _, s := range b.services {
		_, err := s.Authenticate(ctx, first.AccessToken)
		require.NotNil(t, refused(t, err, oauth.CodeInvalidToken).Explanation)
	}
	did, err := b.services[0].ReactivateOwn(ctx, owner.ID, c.ID, "", netip.Addr{})
	require.NoError(t, err)
	require.True(t, did)
	for _, s := range b.services {
		_, err := s.Authenticate(ctx, first.AccessToken)
		require.NoError(t, err)
	}
	_, err = b.services[1].Token(ctx, oauth.TokenRequest{ClientID: c.ID, ClientSecret: secret, GrantType: oauth.GrantRefresh, RefreshToken: unspent})
	require.NoError(t, err)
}
