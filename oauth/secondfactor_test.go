package oauth_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
)

// phone is an authenticator app.
type phone struct {
	secret string
	now    func() time.Time
}

// code is what it shows, so much later than now.
func (p phone) code(t testing.TB, later time.Duration) string {
	t.Helper()
	code, err := totp.GenerateCode(p.secret, p.now().Add(later))
	require.NoError(t, err)
	return code
}

// wrong is a code of no step around now.
func (p phone) wrong(t testing.TB) string {
	t.Helper()
	for _, code := range []string{"000000", "111111", "222222", "333333"} {
		if code != p.code(t, -totpStep) && code != p.code(t, 0) && code != p.code(t, totpStep) {
			return code
		}
	}
	require.Fail(t, "three codes are four")
	return ""
}

const totpStep = 30 * time.Second

// asBob is asAlice for Bob.
func (s *server) asBob() oauth.Confirmation {
	return oauth.Confirmation{User: s.bob, Password: bobPassword, Address: home()}
}

// asAlice is Alice, who has entered her password again.
func (s *server) asAlice() oauth.Confirmation {
	return oauth.Confirmation{User: s.alice, Password: alicePassword, Address: home()}
}

// withTOTP gives Alice an authenticator app, and moves on past the step of the code
// that it took.
func (s *server) withTOTP(t testing.TB) (p phone, recovery []string) {
	t.Helper()
	setup, err := s.BeginTOTP(s.alice)
	require.NoError(t, err)
	p = phone{setup.Secret, s.clock.Now}
	recovery, err = s.AddTOTP(t.Context(), s.asAlice(), setup.Sealed, p.code(t, 0))
	require.NoError(t, err)
	s.clock.Advance(10 * totpStep)
	return p, recovery
}

// pending has Alice enter her password, and gives what waits for the second factor.
func (s *server) pending(t testing.TB) string {
	t.Helper()
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err)
	require.Equal(t, s.alice, in.User)
	require.Empty(t, in.Secret, "no session yet")
	require.NotEmpty(t, in.Pending)
	require.LessOrEqual(t, len(in.Pending), 256, "it is kept in a cookie")
	return in.Pending
}

// isIn checks that somebody is signed in.
func (s *server) isIn(t testing.TB, want oauth.User, in oauth.SignedIn, err error) {
	t.Helper()
	require.NoError(t, err)
	require.Empty(t, in.Pending)
	u, err := s.Session(t.Context(), in.Secret)
	require.NoError(t, err)
	require.Equal(t, want, u)
}

// isOut checks that nobody was signed in, for this reason.
func isOut(t testing.TB, code, reason string, in oauth.SignedIn, err error) {
	t.Helper()
	require.Zero(t, in)
	require.Equal(t, reason, refused(t, err, code).Reason)
}

// factorActions are those in Alice's record, the first one first, but for sign-ins.
func (s *server) factorActions(t testing.TB) (actions []oauth.Action) {
	t.Helper()
	changes := s.changes(t, s.alice)
	for i := range changes {
		c := changes[len(changes)-1-i]
		require.Equal(t, s.alice.ID, c.UserID)
		if c.Action != oauth.ActionSignedIn {
			actions = append(actions, c.Action)
		}
	}
	return actions
}

func TestASecondFactorCompletesTheSignIn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, _ := s.withTOTP(t)
	pending := s.pending(t)
	found, err := s.Pending(t.Context(), pending)
	require.NoError(t, err)
	require.Equal(t, s.alice, found.User)
	require.NotNil(t, found.Factors.TOTP)
	in, err := s.CompleteWithTOTP(t.Context(), pending, p.code(t, 0), home())
	s.isIn(t, s.alice, in, err)

	s.clock.Advance(totpStep)
	in, err = s.CompleteWithTOTP(t.Context(), pending, p.code(t, 0), home())
	isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)
	s.clock.Advance(totpStep)
	code := p.code(t, 0)
	in, err = s.CompleteWithTOTP(t.Context(), s.pending(t), " "+code[:3]+" "+code[3:]+"\n", home())
	s.isIn(t, s.alice, in, err)

	in, err = s.SignIn(t.Context(), bobEmail, bobPassword, home())
	s.isIn(t, s.bob, in, err)
}

func TestACodeIsTakenAStepEarlierAndLater(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		skew  time.Duration
		taken bool
	}{
		"two steps behind": {-2 * totpStep, false},
		"a step behind":    {-totpStep, true},
		"on time":          {0, true},
		"a step ahead":     {totpStep, true},
		"two steps ahead":  {2 * totpStep, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			p, _ := s.withTOTP(t)
			in, err := s.CompleteWithTOTP(t.Context(), s.pending(t), p.code(t, test.skew), home())
			if test.taken {
				s.isIn(t, s.alice, in, err)
			} else {
				isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)
			}
		})
	}
}

func TestACodeIsTakenOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	other := s.with(t) // another process, which has a key of its own
	setup, err := s.BeginTOTP(s.alice)
	require.NoError(t, err)
	p := phone{setup.Secret, s.clock.Now}
	code := p.code(t, 0)
	_, err = s.AddTOTP(t.Context(), s.asAlice(), setup.Sealed, code)
	require.NoError(t, err)
	in, err := s.CompleteWithTOTP(t.Context(), s.pending(t), code, home())
	isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)

	s.clock.Advance(5 * totpStep)
	next := p.code(t, totpStep)
	in, err = s.CompleteWithTOTP(t.Context(), s.pending(t), next, home())
	s.isIn(t, s.alice, in, err)
	for _, used := range []string{next, p.code(t, 0), p.code(t, -totpStep)} {
		in, err = s.CompleteWithTOTP(t.Context(), s.pending(t), used, home())
		isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)
	}
	_, err = other.Pending(t.Context(), s.pending(t))
	refused(t, err, oauth.CodeInvalidToken)
}

func TestOneCodeByManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t, sealKey)
	p, _ := s.withTOTP(t)
	processes := []*oauth.Service{s.Service, s.with(t, sealKey), s.with(t, sealKey)}
	code := p.code(t, 0)
	var in atomic.Int32
	var group sync.WaitGroup
	for i := range 9 { // as many tries as there may be, less one
		pending := s.pending(t)
		group.Go(func() {
			_, err := processes[i%len(processes)].CompleteWithTOTP(t.Context(), pending, code, home())
			if err == nil {
				in.Add(1)
			} else if _, is := errors.AsType[*oauth.Error](err); !is {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, in.Load())
}

// sealKey is that of several processes.
func sealKey(o *oauth.Options) { o.SealKey = []byte("0123456789abcdef0123456789abcdef") }

func TestCodesCannotBeTriedOut(t *testing.T) {
	t.Parallel()
	s := newServer(t, sealKey)
	p, recovery := s.withTOTP(t)
	processes := []*oauth.Service{s.Service, s.with(t, sealKey)}
	for i := range oauth.DefaultFailureLimit {
		in, err := processes[i%2].CompleteWithTOTP(t.Context(), s.pending(t), p.wrong(t), home())
		isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)
	}
	for _, process := range processes {
		in, err := process.CompleteWithTOTP(t.Context(), s.pending(t), p.code(t, 0), home())
		isOut(t, oauth.CodeSlowDown, "too many wrong codes", in, err)
		require.Equal(t, oauth.DefaultRetention, refused(t, err, oauth.CodeSlowDown).RetryAfter)
	}
	in, _, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), recovery[0], home())
	s.isIn(t, s.alice, in, err)

	s.clock.Advance(oauth.DefaultRetention - time.Microsecond)
	in, err = s.CompleteWithTOTP(t.Context(), s.pending(t), p.code(t, 0), home())
	isOut(t, oauth.CodeSlowDown, "too many wrong codes", in, err)
	s.clock.Advance(time.Microsecond)
	in, err = s.CompleteWithTOTP(t.Context(), s.pending(t), p.code(t, 0), home())
	s.isIn(t, s.alice, in, err)
}

func TestAFloodOfCodesHasNoMoreTries(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, _ := s.withTOTP(t)
	pending, code := s.pending(t), p.wrong(t)
	var answered atomic.Int32
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			_, err := s.CompleteWithTOTP(t.Context(), pending, code, home())
			if refusal, is := errors.AsType[*oauth.Error](err); is && refusal.Code == oauth.CodeInvalidGrant {
				answered.Add(1)
			} else if !is {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, oauth.DefaultFailureLimit, answered.Load())
}

func TestRightCodesAreNoFailures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, _ := s.withTOTP(t)
	for range 2 * oauth.DefaultFailureLimit {
		s.clock.Advance(totpStep)
		in, err := s.CompleteWithTOTP(t.Context(), s.pending(t), p.code(t, 0), home())
		s.isIn(t, s.alice, in, err)
	}
}

func TestAPendingSignInIsOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *server){
		"after five minutes": func(_ *testing.T, s *server) { s.clock.Advance(oauth.PendingLifetime) },
		"without the factors": func(t *testing.T, s *server) {
			n, err := s.RemoveFactors(t.Context(), s.alice.ID)
			require.NoError(t, err)
			require.Equal(t, 1, n)
		},
		"with another key": func(t *testing.T, s *server) { s.Service = s.with(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			p, recovery := s.withTOTP(t)
			pending := s.pending(t)
			end(t, s)
			s.isOver(t, pending, p, recovery)
		})
	}
	t.Run("with another password", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		p, recovery := s.withTOTP(t)
		pending := s.pending(t)
		in, _, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), recovery[0], home())
		s.isIn(t, s.alice, in, err)
		_, err = s.ChangePassword(t.Context(), s.alice, oauth.NewPassword{Present: alicePassword, New: "another password", Address: home()})
		require.NoError(t, err)
		s.isOver(t, pending, p, recovery[1:])
	})
}

// isOver checks that nothing completes a sign-in.
func (s *server) isOver(t *testing.T, pending string, p phone, recovery []string) {
	t.Helper()
	_, err := s.Pending(t.Context(), pending)
	require.Equal(t, "pending sign-in over", refused(t, err, oauth.CodeInvalidToken).Reason)
	in, err := s.CompleteWithTOTP(t.Context(), pending, p.code(t, 0), home())
	isOut(t, oauth.CodeInvalidToken, "pending sign-in over", in, err)
	in, _, err = s.CompleteWithRecoveryCode(t.Context(), pending, recovery[0], home())
	isOut(t, oauth.CodeInvalidToken, "pending sign-in over", in, err)
	in, err = s.CompleteWithPasskey(t.Context(), pending, "", "", home())
	isOut(t, oauth.CodeInvalidToken, "pending sign-in over", in, err)
}

func TestWhatIsNoPendingSignIn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, recovery := s.withTOTP(t)
	setup, err := s.BeginTOTP(s.alice)
	require.NoError(t, err)
	pending := s.pending(t)
	for _, other := range []string{"", "x", "é", strings.Repeat("A", 200), pending[:len(pending)-1], pending + "A", "A" + pending, setup.Sealed, oauth.NewSecret()} {
		s.isOver(t, other, p, recovery)
	}
}

func TestSettingUpAnAuthenticatorApp(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	setup, err := s.BeginTOTP(s.alice)
	require.NoError(t, err)
	p := phone{setup.Secret, s.clock.Now}
	require.Regexp(t, `^[A-Z2-7]{32}$`, setup.Secret)
	require.Contains(t, setup.URL, "otpauth://totp/Foxbridge:alice@example.org?")
	require.Contains(t, setup.URL, "secret="+setup.Secret)
	again, err := s.ResumeTOTP(s.alice, setup.Sealed)
	require.NoError(t, err)
	require.Equal(t, setup, again)
	other, err := s.BeginTOTP(s.alice)
	require.NoError(t, err)
	require.NotEqual(t, setup.Secret, other.Secret)

	field := func(want string, by oauth.Confirmation, sealed, code string) {
		t.Helper()
		codes, err := s.AddTOTP(t.Context(), by, sealed, code)
		require.Empty(t, codes)
		var wrong *oauth.FieldError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, want, wrong.Field)
	}
	bob := s.asBob()
	field("setup", bob, setup.Sealed, p.code(t, 0))
	field("setup", s.asAlice(), "", p.code(t, 0))
	field("setup", s.asAlice(), setup.Sealed[1:], p.code(t, 0))
	for _, code := range []string{"", p.wrong(t), p.code(t, 3*totpStep), p.code(t, 0)[:5], p.code(t, 0) + "0", "１２３４５６"} {
		field("code", s.asAlice(), setup.Sealed, code)
	}
	wrong := s.asAlice()
	wrong.Password = bobPassword
	_, err = s.AddTOTP(t.Context(), wrong, setup.Sealed, p.code(t, 0))
	refused(t, err, oauth.CodeInvalidGrant)
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	s.isIn(t, s.alice, in, err)
	require.Empty(t, s.factorActions(t))

	s.clock.Advance(15*time.Minute - time.Second)
	codes, err := s.AddTOTP(t.Context(), s.asAlice(), setup.Sealed, p.code(t, 0))
	require.NoError(t, err)
	require.Len(t, codes, oauth.RecoveryCodes)
	field("totp", s.asAlice(), other.Sealed, phone{other.Secret, s.clock.Now}.code(t, 0))
	s.clock.Advance(time.Second)
	field("setup", s.asAlice(), setup.Sealed, p.code(t, 0))
	f, err := s.Factors(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.True(t, f.Any())
	require.Equal(t, oauth.RecoveryCodes, f.RecoveryCodes)
	require.Equal(t, []oauth.Action{oauth.ActionTOTPAdded}, s.factorActions(t))
}

func TestChangesWantThePassword(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.withTOTP(t)
	for name, change := range map[string]func(by oauth.Confirmation) error{
		"remove the app":     func(by oauth.Confirmation) error { return s.RemoveTOTP(t.Context(), by) },
		"remove a passkey":   func(by oauth.Confirmation) error { return s.RemovePasskey(t.Context(), by, oauth.Passkey{ID: 1}) },
		"new recovery codes": func(by oauth.Confirmation) error { _, err := s.NewRecoveryCodes(t.Context(), by); return err },
		"add a passkey":      func(by oauth.Confirmation) error { _, err := s.BeginPasskey(t.Context(), by, "Phone"); return err },
	} {
		by := s.asAlice()
		for _, password := range []string{"", "not hers", bobPassword} {
			by.Password = password
			refused(t, change(by), oauth.CodeInvalidGrant)
		}
		f, err := s.Factors(t.Context(), s.alice.ID)
		require.NoError(t, err)
		require.NotNil(t, f.TOTP, name)
		require.Equal(t, oauth.RecoveryCodes, f.RecoveryCodes, name)
		s.clock.Advance(oauth.DefaultFailureWindow)
	}
	by := s.asAlice()
	by.Password = "not hers"
	for range oauth.DefaultFailureLimit {
		refused(t, s.RemoveTOTP(t.Context(), by), oauth.CodeInvalidGrant)
	}
	refused(t, s.RemoveTOTP(t.Context(), s.asAlice()), oauth.CodeSlowDown)
	require.Equal(t, []oauth.Action{oauth.ActionTOTPAdded}, s.factorActions(t))
}

func TestRecoveryCodesHoldOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, codes := s.withTOTP(t)
	require.Len(t, codes, 10)
	seen := map[string]bool{}
	for _, code := range codes {
		require.Regexp(t, `^[A-Z2-7]{4}(-[A-Z2-7]{4}){4}$`, code)
		seen[code] = true
	}
	require.Len(t, seen, 10)
	for i, typed := range []string{
		codes[0], strings.ToLower(codes[1]), strings.ReplaceAll(codes[2], "-", ""), "  " + strings.ReplaceAll(codes[3], "-", " ") + "\t",
		strings.NewReplacer("O", "0", "I", "1", "B", "8").Replace(codes[4]),
	} {
		in, left, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), typed, home())
		s.isIn(t, s.alice, in, err)
		require.Equal(t, 9-i, left)
		in, _, err = s.CompleteWithRecoveryCode(t.Context(), s.pending(t), codes[i], home())
		isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)
	}

	fresh, err := s.NewRecoveryCodes(t.Context(), s.asAlice())
	require.NoError(t, err)
	require.Len(t, fresh, 10)
	in, _, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), codes[9], home())
	isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)
	in, left, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), fresh[9], home())
	s.isIn(t, s.alice, in, err)
	require.Equal(t, 9, left)

	_, err = s.NewRecoveryCodes(t.Context(), s.asBob())
	require.ErrorIs(t, err, oauth.ErrNotFound, "of who has no second factor")
	require.Equal(t, []oauth.Action{
		oauth.ActionTOTPAdded, oauth.ActionRecoveryCodeUsed, oauth.ActionRecoveryCodeUsed, oauth.ActionRecoveryCodeUsed,
		oauth.ActionRecoveryCodeUsed, oauth.ActionRecoveryCodeUsed, oauth.ActionRecoveryCodesMade, oauth.ActionRecoveryCodeUsed,
	}, s.factorActions(t))
}

func TestWrongRecoveryCodesAreCountedWhereTheyComeFrom(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, codes := s.withTOTP(t)
	for range oauth.DefaultFailureLimit {
		in, _, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), "AAAA-AAAA-AAAA-AAAA-AAAA", home())
		isOut(t, oauth.CodeInvalidGrant, "second factor wrong", in, err)
	}
	in, _, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), codes[0], home())
	isOut(t, oauth.CodeSlowDown, "too many wrong codes", in, err)
	in, _, err = s.CompleteWithRecoveryCode(t.Context(), s.pending(t), codes[0], home().Next())
	s.isIn(t, s.alice, in, err)
}

func TestTheLastFactorTakesTheRecoveryCodesAlong(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.withTOTP(t)
	require.NoError(t, s.RemoveTOTP(t.Context(), s.asAlice()))
	require.ErrorIs(t, s.RemoveTOTP(t.Context(), s.asAlice()), oauth.ErrNotFound)
	f, err := s.Factors(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Zero(t, f)
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	s.isIn(t, s.alice, in, err)
	require.Equal(t, []oauth.Action{oauth.ActionTOTPAdded, oauth.ActionTOTPRemoved}, s.factorActions(t))
}

func TestAnOperatorRemovesAllFactors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.withTOTP(t)
	n, err := s.with(t).RemoveFactors(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	changes, err := s.Changes(t.Context(), s.alice.ID, 0)
	require.NoError(t, err)
	require.Equal(t, oauth.ActionFactorsRemoved, changes[0].Action)
	require.Zero(t, changes[0].ActorID)
	require.Empty(t, changes[0].Address)
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	s.isIn(t, s.alice, in, err)
}

func TestAnotherSealKeyIsToldAndRecoveryCodesWorkStill(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, recovery := s.withTOTP(t)
	s.Service = s.with(t)
	s.seen.Refusals()
	in, err := s.CompleteWithTOTP(t.Context(), s.pending(t), p.code(t, 0), home())
	isOut(t, oauth.CodeUnavailable, oauth.ReasonSealKey, in, err)
	require.ErrorContains(t, err, "seal-key")
	require.Equal(t, []string{oauth.ReasonSealKey}, s.seen.Refusals())
	in, left, err := s.CompleteWithRecoveryCode(t.Context(), s.pending(t), recovery[0], home())
	s.isIn(t, s.alice, in, err)
	require.Equal(t, 9, left)
	require.NoError(t, s.RemoveTOTP(t.Context(), s.asAlice()), "so a new one can be set up")
}

func TestASealKeyHasItsLength(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, n := range []int{0, 1, 31, 33, 64} {
		_, err := oauth.New(oauth.Options{Store: s.store, Passwords: s.passwords, SealKey: make([]byte, n)})
		require.ErrorContains(t, err, "SealKey", n)
	}
}

func TestThePasswordGrantWantsThePasswordAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.withTOTP(t)
	tokens := s.first(t)
	_, err := s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	_, err = s.OwnToken(t.Context(), s.alice, s.aliceClient.ID, alicePassword, home())
	require.NoError(t, err)
}

func TestTheStoreSeesNoSecondFactor(t *testing.T) {
	t.Parallel()
	db := migrationstest.SQLite(t)
	s := newServerOn(t, db)
	p, recovery := s.withTOTP(t)
	pending := s.pending(t)
	_, err := s.CompleteWithTOTP(t.Context(), pending, p.code(t, 0), home())
	require.NoError(t, err)
	var path string
	require.NoError(t, db.Read().QueryRowContext(t.Context(), "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path))
	all := ""
	for _, file := range []string{path, path + "-wal"} {
		content, err := os.ReadFile(file)
		if !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err)
		}
		all += string(content)
	}
	require.Contains(t, all, aliceEmail)
	for _, secret := range append(recovery, p.secret, pending) {
		require.NotContains(t, all, secret)
		require.NotContains(t, all, strings.ReplaceAll(secret, "-", ""))
	}
}
