package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func (s *server) appPassword(t testing.TB) string {
	t.Helper()
	password, err := s.AddAppPassword(t.Context(), s.asAlice(), s.aliceClient.ID, fmt.Sprint("n", s.passwords.Stats().Hashes))
	require.NoError(t, err)
	return password
}

// changes are those in a person's record, the newest first, but for the applications
// that were registered by command, as the tests do it.
func (s *server) changes(t testing.TB, u oauth.User) []oauth.Change {
	t.Helper()
	changes, err := s.Changes(t.Context(), u.ID, 0)
	require.NoError(t, err)
	return slices.DeleteFunc(changes, func(c oauth.Change) bool {
		return c.ActorID == 0 && (c.Action == oauth.ActionAppCreated || c.Action == oauth.ActionAppRequested)
	})
}

// actions are those of changes.
func (s *server) actions(t testing.TB, u oauth.User) (actions []oauth.Action) {
	t.Helper()
	for _, c := range s.changes(t, u) {
		actions = append(actions, c.Action)
	}
	return actions
}

// What is refused is refused alike, at the same cost, whatever the reason.
func TestPasswordGrantWithAppPasswords(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	right := s.appPassword(t)
	s.clock.Advance(time.Hour)
	other, _, err := s.CreatePersonal(t.Context(), s.alice.ID, oauth.NewClientID(), "Other", home())
	require.NoError(t, err)
	foreign, err := s.AddAppPassword(t.Context(), s.asAlice(), other.ID, "n")
	require.NoError(t, err)
	try := func(username, password string) (hashes uint64, err error) {
		req := s.signIn()
		req.Username, req.Password = username, password
		before := s.passwords.Stats().Hashes
		_, err = s.Token(t.Context(), req)
		return s.passwords.Stats().Hashes - before, err
	}
	_, err = try(aliceEmail, right)
	require.NoError(t, err)
	var first oauth.Error
	for name, test := range map[string][2]string{
		"app password of another application": {aliceEmail, foreign},
		"one that there is not":               {aliceEmail, strings.Repeat("aaaa-", 7) + "aaaa"},
		"for another person":                  {bobEmail, right},
		"for nobody":                          {"nobody@example.org", right},
		"for what is no name":                 {"nobody", right},
		"a wrong password":                    {aliceEmail, "wrong"},
		"an unknown person":                   {"nobody@example.org", "wrong"},
	} {
		hashes, err := try(test[0], test[1])
		refusal := refused(t, err, oauth.CodeInvalidGrant)
		require.EqualValues(t, 1, hashes, "%s costs one verification", name)
		if first.Code == "" {
			first = refusal
		}
		require.Equal(t, first, refusal, name)
	}

	require.NoError(t, s.RequireAppPasswords(t.Context(), s.alice, home()))
	hashes, err := try(aliceEmail, alicePassword)
	refusal := refused(t, err, oauth.CodeInvalidGrant)
	require.Equal(t, first.Description, refusal.Description, "nobody is told that it is right")
	require.EqualValues(t, 1, hashes)
	_, err = try(aliceEmail, right)
	require.NoError(t, err)
	_, err = s.OwnToken(t.Context(), s.alice, s.aliceClient.ID, alicePassword, home().Next())
	require.NoError(t, err, "who is signed in on a page")
	_, err = s.SignIn(t.Context(), aliceEmail, alicePassword, home().Next())
	require.NoError(t, err, "a browser is no script")
	_, err = s.SignIn(t.Context(), aliceEmail, right, home().Next())
	refused(t, err, oauth.CodeInvalidGrant)
	passwords, err := s.AppPasswords(t.Context(), s.alice.ID, s.aliceClient.ID)
	require.NoError(t, err)
	require.Equal(t, s.clock.Now(), passwords[0].LastUsedAt)
}

func TestFailuresWithAppPasswordsCount(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	right := s.appPassword(t)
	require.NoError(t, s.RequireAppPasswords(t.Context(), s.alice, home()))
	req := s.signIn()
	for range oauth.DefaultFailureLimit {
		_, err := s.Token(t.Context(), req)
		refused(t, err, oauth.CodeInvalidGrant)
	}
	req.Password = right
	_, err := s.Token(t.Context(), req)
	refused(t, err, oauth.CodeSlowDown)
	req.Address = home().Next()
	_, err = s.Token(t.Context(), req)
	require.NoError(t, err)
}

func TestAppPasswordsOfOthersAreNotThere(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.appPassword(t)
	passwords, err := s.AppPasswords(t.Context(), s.alice.ID, s.aliceClient.ID)
	require.NoError(t, err)
	app := s.commercial(t)
	_, err = s.AppPasswords(t.Context(), s.bob.ID, s.aliceClient.ID)
	require.ErrorIs(t, err, oauth.ErrNotFound)
	_, err = s.AddAppPassword(t.Context(), s.asBob(), s.aliceClient.ID, "n")
	require.ErrorIs(t, err, oauth.ErrNotFound)
	_, err = s.AddAppPassword(t.Context(), s.asBob(), app.ID, "n")
	require.ErrorIs(t, err, oauth.ErrNotFound, "a commercial one has none")
	require.ErrorIs(t, s.RemoveAppPassword(t.Context(), s.bob.ID, s.aliceClient.ID, passwords[0].ID, home()), oauth.ErrNotFound)
	require.ErrorIs(t, s.RemoveAppPassword(t.Context(), s.bob.ID, s.bobClient.ID, passwords[0].ID, home()), oauth.ErrNotFound)
	require.NoError(t, s.RemoveAppPassword(t.Context(), s.alice.ID, s.aliceClient.ID, passwords[0].ID, home()))
	require.ErrorIs(t, s.RemoveAppPassword(t.Context(), s.alice.ID, s.aliceClient.ID, passwords[0].ID, home()), oauth.ErrNotFound)
	require.Equal(t, []oauth.Action{oauth.ActionAppPasswordRemoved, oauth.ActionAppPasswordAdded}, s.actions(t, s.alice))
}

// Who finds a browser signed in gets no secret that lasts: the password is asked for, and
// guessed no more often here than at sign-in.
func TestWhatOutlivesASessionWantsThePassword(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func(s *server, by oauth.Confirmation) error{
		"an app password": func(s *server, by oauth.Confirmation) error {
			password, err := s.AddAppPassword(t.Context(), by, s.aliceClient.ID, "Raspberry")
			require.Equal(t, err == nil, password != "")
			return err
		},
		"a secret": func(s *server, by oauth.Confirmation) error {
			secret, err := s.AddOwnSecret(t.Context(), by, s.aliceClient.ID)
			require.Equal(t, err == nil, secret != "")
			return err
		},
		"one's own password in scripts": func(s *server, by oauth.Confirmation) error { return s.AllowOwnPassword(t.Context(), by) },
	} {
		s := newServer(t)
		require.NoError(t, s.RequireAppPasswords(t.Context(), s.alice, home()))
		var err error
		s.alice, err = s.User(t.Context(), s.alice.ID)
		require.NoError(t, err)
		before := s.actions(t, s.alice)
		for _, password := range []string{"", "not " + alicePassword, bobPassword} {
			by := s.asAlice()
			by.Password = password
			refused(t, try(s, by), oauth.CodeInvalidGrant)
		}
		stranger := s.asBob()
		stranger.User.Email = aliceEmail
		stranger.Password = alicePassword
		require.Error(t, try(s, stranger), name)
		secrets := s.find(t, s.aliceClient.ID).Secrets
		require.Len(t, secrets, 1, name)
		passwords, err := s.AppPasswords(t.Context(), s.alice.ID, s.aliceClient.ID)
		require.NoError(t, err)
		require.Empty(t, passwords, name)
		u, err := s.User(t.Context(), s.alice.ID)
		require.NoError(t, err)
		require.True(t, u.AppPasswordsOnly, name)
		require.Equal(t, before, s.actions(t, s.alice), name)

		by := s.asAlice()
		by.Address = home().Next()
		for range oauth.DefaultFailureLimit {
			wrong := by
			wrong.Password = "not hers"
			refused(t, try(s, wrong), oauth.CodeInvalidGrant)
		}
		refused(t, try(s, by), oauth.CodeSlowDown)
		_, err = s.SignIn(t.Context(), aliceEmail, alicePassword, by.Address)
		refused(t, err, oauth.CodeSlowDown)
		require.NoError(t, try(s, s.asAlice()), name)
		require.Len(t, s.actions(t, s.alice), len(before)+1, name)
	}
}

func TestWhatIsRegisteredByCommandIsInTheRecord(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	found, err := s.Changes(t.Context(), s.bob.ID, 0)
	require.NoError(t, err)
	require.Len(t, found, 2)
	for i, want := range []oauth.Change{{Action: oauth.ActionAppRequested, ClientID: app.ID, Subject: app.Name}, {Action: oauth.ActionAppCreated, ClientID: s.bobClient.ID, Subject: s.bobClient.Name}} {
		want.ID, want.UserID, want.ClientName, want.At = found[i].ID, s.bob.ID, want.Subject, s.clock.Now()
		require.Equal(t, want, found[i], "by an operator, from nowhere that it would tell")
	}
}

func TestDecisionsAreInTheRecordOfBoth(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	decision := oauth.Decision{ClientID: app.ID, Reason: "No.", OperatorID: s.alice.ID, Address: home()}
	require.NoError(t, s.Decide(t.Context(), decision))
	theirs, mine := s.changes(t, s.bob), s.changes(t, s.alice)
	want := oauth.Change{
		ID: theirs[0].ID, UserID: s.bob.ID, Action: oauth.ActionAppRejected, ClientID: app.ID, ClientName: app.Name, Subject: app.Name,
		ActorID: s.alice.ID, At: s.clock.Now(),
	}
	require.Equal(t, []oauth.Change{want}, theirs, "where the operator was is not the owner's to know")
	want.ID, want.UserID, want.Address = mine[0].ID, s.alice.ID, home().String()
	require.Equal(t, []oauth.Change{want}, mine)

	err = s.Decide(t.Context(), decision)
	requireField(t, err, "client_id", oauth.ErrNotFound)
	own, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	require.NoError(t, s.Decide(t.Context(), oauth.Decision{ClientID: own.ID, Approve: true, Reason: "of no use", OperatorID: s.bob.ID, Address: home()}))
	require.Equal(t, []oauth.Action{oauth.ActionAppApproved, oauth.ActionAppRejected}, s.actions(t, s.bob), "once, of one's own")
	found, err := s.Application(t.Context(), s.bob.ID, own.ID)
	require.NoError(t, err)
	require.Empty(t, found.Rejection)
	for _, reason := range []string{strings.Repeat("x", 501), "a\x00b", "a\xff"} {
		requireField(t, s.Decide(t.Context(), oauth.Decision{ClientID: app.ID, Reason: reason}), "reason", nil)
	}
}

func TestRecordOfChangesEndsAfter400Days(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, err := s.SetOperator(t.Context(), aliceEmail, true)
	require.NoError(t, err)
	s.clock.Advance(400 * 24 * time.Hour)
	for range 2 {
		_, err = s.SetOperator(t.Context(), aliceEmail, false)
		require.NoError(t, err)
	}
	_, err = s.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, []oauth.Action{oauth.ActionOperatorTaken, oauth.ActionOperatorGiven}, s.actions(t, s.alice))
	s.clock.Advance(time.Microsecond)
	n, err := s.Sweep(t.Context())
	require.NoError(t, err)
	require.Positive(t, n)
	require.Equal(t, []oauth.Action{oauth.ActionOperatorTaken}, s.actions(t, s.alice))
}

func TestWhatWasConsentedToCanBeRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	for name, sites := range map[string][]int64{"everywhere": nil, "nowhere": {}, "in two": {3, 12}} {
		asked, err := s.Authorize(t.Context(), app.ask())
		require.NoError(t, err)
		_, err = s.Consent(t.Context(), asked, oauth.Consent{
			UserID: s.alice.ID, Ticket: oauth.HashOf(oauth.NewSecret()), Scope: oauth.NewScope("read", "write"), Sites: sites, Address: home(),
		})
		require.NoError(t, err)
		changes, err := s.Changes(t.Context(), s.alice.ID, 0)
		require.NoError(t, err)
		require.Equal(t, oauth.ActionConnected, changes[0].Action)
		scope, where := oauth.ConsentOf(changes[0].Subject)
		require.Equal(t, oauth.NewScope("read", "write"), scope, name)
		require.Equal(t, sites, where, name)
	}
}

// forgetful is a Store that cannot note uses while it is told so.
type forgetful struct {
	oauth.Store
	broken bool
	noted  []oauth.Uses
}

func (f *forgetful) NoteUses(ctx context.Context, u oauth.Uses) error {
	if f.broken {
		return errBroken
	}
	f.noted = append(f.noted, u)
	return f.Store.NoteUses(ctx, u)
}

func TestUsesAreWrittenDownNowAndThen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	store := &forgetful{Store: s.store, broken: true}
	service := s.with(t, func(o *oauth.Options) { o.Store = store })
	token := s.first(t).AccessToken
	in, err := service.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err)
	session := in.Secret
	for range 10 {
		_, err = service.Authenticate(t.Context(), token)
		require.NoError(t, err)
		service.Seen(session, "Firefox, Linux", home())
		s.clock.Advance(time.Second)
	}
	last := s.clock.Now().Add(-time.Second)
	require.ErrorIs(t, service.WriteUses(t.Context()), errBroken)
	store.broken = false
	for range 2 {
		require.NoError(t, service.WriteUses(t.Context()))
	}
	require.Len(t, store.noted, 1, "ten uses are one write, and none is lost")
	connections, err := s.Connections(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Equal(t, last, connections[0].LastUsedAt)
	sessions, err := s.Sessions(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Equal(t, oauth.SessionUse{SeenAt: last, Agent: "Firefox, Linux", Address: home().String()}, sessions[0].SessionUse)

	_, err = service.Authenticate(t.Context(), oauth.NewSecret())
	require.Error(t, err)
	require.NoError(t, service.WriteUses(t.Context()))
	require.Len(t, store.noted, 1, "what is refused is no use")
}

// full is a Store that refuses what accounts need.
type full struct{ oauth.Store }

var errFull = errors.New("full")

func (full) ChangePassword(context.Context, oauth.PasswordChange, ...oauth.Change) error {
	return errFull
}

func (full) SetOperator(context.Context, int64, bool, ...oauth.Change) error { return errFull }

func (full) SetAppPasswordsOnly(context.Context, int64, bool, ...oauth.Change) error { return errFull }

func (full) Sessions(context.Context, int64, time.Time, int) ([]oauth.Session, error) {
	return nil, errFull
}

func (full) EndOtherSessions(context.Context, int64, oauth.Hash, ...oauth.Change) (int, error) {
	return 0, errFull
}

func (full) AddAppPassword(context.Context, oauth.AppPassword, int, ...oauth.Change) error {
	return errFull
}

func (full) AppPasswords(context.Context, string, int) ([]oauth.AppPassword, error) {
	return nil, errFull
}

func (full) AppPassword(context.Context, string, oauth.Hash) (oauth.AppPassword, error) {
	return oauth.AppPassword{}, errFull
}

func (full) PendingClients(context.Context, int) ([]oauth.Client, error) { return nil, errFull }

func (full) PurgeChanges(context.Context, time.Time, int) (int, error) { return 0, errFull }

func (full) Changes(context.Context, int64, int64, int) ([]oauth.Change, error) { return nil, errFull }

func (full) Failures(context.Context, oauth.Hash, time.Time) (oauth.Failures, error) {
	return oauth.Failures{}, nil
}

func (full) AddFailure(context.Context, oauth.Hash, time.Time, time.Time) (oauth.Failures, error) {
	return oauth.Failures{}, errFull
}

func TestAFailureOfTheStoreIsNoRefusalOfAnAccount(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	service := s.with(t, func(o *oauth.Options) { o.Store = full{s.store} })
	withAppPassword := s.signIn()
	withAppPassword.Password = s.appPassword(t)
	for name, call := range map[string]func() error{
		"change password": func() error {
			_, err := service.ChangePassword(t.Context(), s.alice, oauth.NewPassword{Present: alicePassword, New: "another password"})
			return err
		},
		"set password": func() error {
			_, err := service.SetPassword(t.Context(), aliceEmail, "another password", false)
			return err
		},
		"sign up": func() error {
			_, _, err := service.SignUp(t.Context(), oauth.SignUpRequest{Email: "c@d", Name: "C", Password: "another password"})
			return err
		},
		"set operator":          func() error { _, err := service.SetOperator(t.Context(), aliceEmail, true); return err },
		"require app passwords": func() error { return service.RequireAppPasswords(t.Context(), s.alice, home()) },
		"sessions":              func() error { _, err := service.Sessions(t.Context(), 1); return err },
		"end session":           func() error { return service.EndSession(t.Context(), 1, oauth.Hash{}, home()) },
		"end other sessions":    func() error { _, err := service.EndOtherSessions(t.Context(), 1, "", home()); return err },
		"add app password": func() error {
			_, err := service.AddAppPassword(t.Context(), s.asAlice(), s.aliceClient.ID, "other")
			return err
		},
		"app passwords": func() error { _, err := service.AppPasswords(t.Context(), s.alice.ID, s.aliceClient.ID); return err },
		"token":         func() error { _, err := service.Token(t.Context(), withAppPassword); return err },
		"requests":      func() error { _, err := service.Requests(t.Context()); return err },
		"changes":       func() error { _, err := service.Changes(t.Context(), 1, 0); return err },
		"sweep":         func() error { _, err := service.Sweep(t.Context()); return err },
	} {
		err := call()
		require.ErrorIs(t, err, errFull, name)
		_, refusal := errors.AsType[*oauth.Error](err)
		_, field := errors.AsType[*oauth.FieldError](err)
		require.False(t, refusal || field || errors.Is(err, oauth.ErrNotFound), "%s: %v", name, err)
		require.NotContains(t, err.Error(), alicePassword, name)
	}
}
