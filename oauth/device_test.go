package oauth_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// device asks for a code for Alice's application.
func (s *server) device(t testing.TB) oauth.DeviceAuthorization {
	t.Helper()
	d, err := s.AuthorizeDevice(t.Context(), oauth.DeviceRequest{ClientID: s.aliceClient.ID, ClientSecret: s.aliceSecret})
	require.NoError(t, err)
	return d
}

// poll is a right request of Alice's application with the device grant.
func (s *server) poll(d oauth.DeviceAuthorization) oauth.TokenRequest {
	return oauth.TokenRequest{
		ClientID: s.aliceClient.ID, ClientSecret: s.aliceSecret, GrantType: oauth.GrantDevice, DeviceCode: d.DeviceCode, Address: home(),
	}
}

// polls checks how a poll is refused.
func (s *server) polls(t testing.TB, d oauth.DeviceAuthorization, code string) {
	t.Helper()
	_, err := s.Token(t.Context(), s.poll(d))
	refused(t, err, code)
}

func (s *server) answers(t testing.TB, d oauth.DeviceAuthorization, approve bool) {
	t.Helper()
	_, err := s.AnswerDevice(t.Context(), s.alice.ID, d.UserCode, approve, home())
	require.NoError(t, err)
}

func TestADeviceThatItsOwnerLetsInGetsTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(t)
	require.Regexp(t, `^[0-9a-f]{64}$`, d.DeviceCode)
	require.Regexp(t, `^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`, d.UserCode)
	require.Equal(t, 10*time.Minute, d.ExpiresIn)
	require.Equal(t, 5*time.Second, d.Interval)
	s.polls(t, d, oauth.CodeAuthorizationPending)

	asks, err := s.DeviceRequestOf(t.Context(), s.alice.ID, strings.ToLower(strings.ReplaceAll(d.UserCode, "-", " ")), home())
	require.NoError(t, err)
	require.Equal(t, s.aliceClient.ID, asks.ID)
	s.answers(t, d, true)
	s.seen.Issued()
	tokens, err := s.Token(t.Context(), s.poll(d))
	require.NoError(t, err)
	require.Equal(t, [][2]string{{s.aliceClient.ID, oauth.GrantDevice}}, s.seen.Issued())
	require.Nil(t, tokens.Scope, "all that she may do")
	access, err := s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	require.Equal(t, s.alice.ID, access.UserID)
	_, err = s.Token(t.Context(), s.refresh(tokens.RefreshToken))
	require.NoError(t, err)
	s.polls(t, d, oauth.CodeInvalidGrant)
	_, err = s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err, "a poll that comes late ends nothing")

	changes := s.changes(t, s.alice)
	require.Len(t, changes, 1)
	changes[0].ID = 0
	require.Equal(t, oauth.Change{
		UserID: s.alice.ID, Action: oauth.ActionDeviceApproved, ClientID: s.aliceClient.ID, ClientName: s.aliceClient.Name, Subject: s.aliceClient.Name,
		ActorID: s.alice.ID, Address: "192.0.2.1", At: s.clock.Now(),
	}, changes[0])
}

func TestADeviceThatIsDenied(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(t)
	s.answers(t, d, false)
	s.polls(t, d, oauth.CodeAccessDenied)
	_, err := s.AnswerDevice(t.Context(), s.alice.ID, d.UserCode, true, home())
	refused(t, err, oauth.CodeInvalidGrant)
	s.polls(t, d, oauth.CodeAccessDenied)
}

func TestADeviceCodeIsGoodForTenMinutes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d, late := s.device(t), s.device(t)
	s.answers(t, d, true)
	s.clock.Advance(10*time.Minute - time.Microsecond)
	_, err := s.Token(t.Context(), s.poll(d))
	require.NoError(t, err)
	s.clock.Advance(time.Microsecond)
	s.polls(t, late, oauth.CodeExpiredToken)
	_, err = s.DeviceRequestOf(t.Context(), s.alice.ID, late.UserCode, home())
	refused(t, err, oauth.CodeInvalidGrant)
}

func TestADeviceThatPollsTooFastIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(t)
	s.polls(t, d, oauth.CodeAuthorizationPending)
	_, err := s.Token(t.Context(), s.poll(d))
	require.Zero(t, refused(t, err, oauth.CodeSlowDown).RetryAfter, "it is no refusal of RFC 6585")
	s.clock.Advance(5 * time.Second) // ten were asked for
	s.polls(t, d, oauth.CodeSlowDown)
	s.clock.Advance(15 * time.Second)
	s.polls(t, d, oauth.CodeAuthorizationPending)
	// Another bridge on the same record knows the same.
	other := s.with(t)
	_, err = other.Token(t.Context(), s.poll(d))
	refused(t, err, oauth.CodeSlowDown)
}

func TestAUserCodeIsForItsOwnersAccountOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(t)
	for range 2 {
		_, err := s.DeviceRequestOf(t.Context(), s.bob.ID, d.UserCode, home())
		refusal := refused(t, err, oauth.CodeAccessDenied)
		require.NotContains(t, refusal.Description, "Alice")
		_, err = s.AnswerDevice(t.Context(), s.bob.ID, d.UserCode, true, home())
		refused(t, err, oauth.CodeAccessDenied)
	}
	s.polls(t, d, oauth.CodeAuthorizationPending)
	require.Empty(t, s.changes(t, s.bob))
}

func TestGuessingUserCodesIsLimited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := s.device(t)
	elsewhere := netip.MustParseAddr("198.51.100.7")
	guess := func(user int64, code string, from netip.Addr) error {
		_, err := s.DeviceRequestOf(t.Context(), user, code, from)
		return err
	}
	var mu sync.Mutex
	var plain, slow int
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			refusal, is := errors.AsType[*oauth.Error](guess(s.alice.ID, "BBBB-BBBB", home()))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case is && refusal.Code == oauth.CodeInvalidGrant:
				plain++
			case is && refusal.Code == oauth.CodeSlowDown && refusal.RetryAfter > 0:
				slow++
			}
		})
	}
	all.Wait()
	require.Equal(t, 10, plain)
	require.Equal(t, 30, slow)
	refused(t, guess(s.alice.ID, d.UserCode, home()), oauth.CodeSlowDown)
	require.NoError(t, guess(s.alice.ID, d.UserCode, elsewhere), "at another address")
	refused(t, guess(s.bob.ID, "BBBB-BBBB", home()), oauth.CodeInvalidGrant)
	_, err := s.Token(t.Context(), s.signIn())
	require.NoError(t, err, "it keeps nobody from signing in")
	s.clock.Advance(15 * time.Minute)
	refused(t, guess(s.alice.ID, "BBBB-BBBB", home()), oauth.CodeInvalidGrant)
}

func TestNormalizeUserCode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"BCDF-GHJK": "BCDFGHJK", "bcdfghjk": "BCDFGHJK", " bc df\tgh-jk ": "BCDFGHJK", "B.C_D-F-G-H-J-K": "BCDFGHJK",
	} {
		got, is := oauth.NormalizeUserCode(in)
		require.True(t, is, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "BCDF-GHJ1", "ВСDF-GHJK", "BCDF-GHJK\x00", "BCDF–GHJK", strings.Repeat("B", 1<<20)} {
		_, is := oauth.NormalizeUserCode(in)
		require.False(t, is, "%.20s", in)
	}
}

func FuzzNormalizeUserCode(f *testing.F) {
	f.Add("bcdf-ghjk")
	f.Fuzz(func(t *testing.T, in string) {
		normal, is := oauth.NormalizeUserCode(in)
		if !is {
			return
		}
		require.Regexp(t, `^[BCDFGHJKLMNPQRSTVWXZ]{8}$`, normal)
		again, is := oauth.NormalizeUserCode(oauth.FormatUserCode(normal))
		require.True(t, is)
		require.Equal(t, normal, again)
	})
}

func TestWhoGetsNoDeviceCode(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app, phone := s.commercial(t), s.commercial(t, public)
	for name, c := range map[string]struct {
		request oauth.DeviceRequest
		code    string
	}{
		"nobody":         {oauth.DeviceRequest{}, oauth.CodeInvalidClient},
		"without secret": {oauth.DeviceRequest{ClientID: s.aliceClient.ID}, oauth.CodeInvalidClient},
		"wrong secret":   {oauth.DeviceRequest{ClientID: s.aliceClient.ID, ClientSecret: s.bobSecret}, oauth.CodeInvalidClient},
		"commercial":     {oauth.DeviceRequest{ClientID: app.ID, ClientSecret: app.secret}, oauth.CodeUnauthorizedClient},
		"public":         {oauth.DeviceRequest{ClientID: phone.ID}, oauth.CodeUnauthorizedClient},
	} {
		_, err := s.AuthorizeDevice(t.Context(), c.request)
		require.Equal(t, c.code, refused(t, err, c.code).Code, name)
	}
}

func TestAnApplicationHasTwentyCodesThatWait(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first := s.device(t)
	for range 19 {
		s.device(t)
	}
	request := oauth.DeviceRequest{ClientID: s.aliceClient.ID, ClientSecret: s.aliceSecret}
	_, err := s.AuthorizeDevice(t.Context(), request)
	require.Positive(t, refused(t, err, oauth.CodeSlowDown).RetryAfter)
	s.answers(t, first, false)
	s.device(t)
	_, err = s.AuthorizeDevice(t.Context(), request)
	refused(t, err, oauth.CodeSlowDown)
	s.clock.Advance(10 * time.Minute)
	s.device(t)
}
