package oauth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func TestASessionLastsUntilItsEndOrTheSignOut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	signIn := func() string {
		in, err := s.SignIn(t.Context(), " ALICE@example.org", alicePassword, home())
		require.NoError(t, err)
		require.Equal(t, s.alice, in.User)
		require.Empty(t, in.Pending)
		require.Regexp(t, `^[0-9a-f]{64}$`, in.Secret)
		return in.Secret
	}
	first, second := signIn(), signIn()
	require.NotEqual(t, first, second, "each sign-in has its own")
	for _, secret := range []string{first, second} {
		u, err := s.Session(t.Context(), secret)
		require.NoError(t, err)
		require.Equal(t, s.alice, u)
	}
	require.NoError(t, s.SignOut(t.Context(), first))
	require.NoError(t, s.SignOut(t.Context(), first))
	_, err := s.Session(t.Context(), first)
	require.ErrorIs(t, err, oauth.ErrNotFound)

	s.clock.Advance(oauth.SessionLifetime - time.Microsecond)
	_, err = s.Session(t.Context(), second)
	require.NoError(t, err)
	s.clock.Advance(time.Microsecond)
	_, err = s.Session(t.Context(), second)
	require.ErrorIs(t, err, oauth.ErrNotFound)
}

func TestWhatIsNoSession(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err)
	session := in.Secret
	tokens := s.first(t)
	for _, secret := range []string{"", "x", oauth.NewSecret(), strings.ToUpper(session), session[:63], session + "0", tokens.AccessToken, tokens.RefreshToken} {
		_, err := s.Session(t.Context(), secret)
		require.ErrorIs(t, err, oauth.ErrNotFound, "%q", secret)
		require.NoError(t, s.SignOut(t.Context(), secret))
	}
	_, err = s.Authenticate(t.Context(), session)
	refused(t, err, oauth.CodeInvalidToken)
	_, err = s.Session(t.Context(), session)
	require.NoError(t, err)
}

func TestASignInRefusesAndCountsAsThePasswordGrantDoes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for range 10 {
		in, err := s.SignIn(t.Context(), aliceEmail, "not hers", home())
		require.Equal(t, "The username and password combination is invalid", refused(t, err, oauth.CodeInvalidGrant).Description)
		require.Zero(t, in)
		_, err = s.SignIn(t.Context(), "nobody@example.org", "not hers", home())
		refused(t, err, oauth.CodeInvalidGrant)
	}
	_, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.Equal(t, 15*time.Minute, refused(t, err, oauth.CodeSlowDown).RetryAfter)
	_, err = s.SignIn(t.Context(), aliceEmail, alicePassword, home().Next())
	require.NoError(t, err, "from elsewhere it works")
}

func TestSweepTakesOldSessionsAndCodes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	s.consent(t, app.ask())
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err)
	session := in.Secret
	s.clock.Advance(24*time.Hour + time.Minute)
	n, err := s.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "the code")
	_, err = s.Session(t.Context(), session)
	require.NoError(t, err)
	s.clock.Advance(oauth.SessionLifetime)
	n, err = s.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "the session")
}
