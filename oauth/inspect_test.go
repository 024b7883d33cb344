package oauth_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func (a application) about(token string) oauth.ClientRequest {
	return oauth.ClientRequest{ClientID: a.ID, ClientSecret: a.secret, Token: token}
}

func TestAnApplicationLearnsOfItsOwnTokensOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app, other := s.commercial(t), s.commercial(t)
	began := s.clock.Now()
	tokens := s.issue(t, app)
	access, live, err := s.Introspect(t.Context(), app.about(tokens.AccessToken))
	require.NoError(t, err)
	require.True(t, live)
	require.Positive(t, access.GrantID)
	want := oauth.Token{
		Use: oauth.UseAccess, GrantID: access.GrantID, ClientID: app.ID, UserID: s.alice.ID, UserEmail: aliceEmail,
		Scope: oauth.Scope{"read", "write"}, IssuedAt: began, ExpiresAt: began.Add(time.Hour),
	}
	require.Empty(t, cmp.Diff(want, access))
	refresh, live, err := s.Introspect(t.Context(), app.about(tokens.RefreshToken))
	require.NoError(t, err)
	require.True(t, live)
	want.Use, want.ExpiresAt = oauth.UseRefresh, began.Add(oauth.DefaultRefreshLifetime)
	require.Empty(t, cmp.Diff(want, refresh))

	for name, req := range map[string]oauth.ClientRequest{
		"another's access token":  other.about(tokens.AccessToken),
		"another's refresh token": other.about(tokens.RefreshToken),
		"unknown":                 app.about(oauth.NewSecret()),
		"malformed":               app.about("x"),
	} {
		got, live, err := s.Introspect(t.Context(), req)
		require.NoError(t, err, name)
		require.False(t, live, name)
		require.Empty(t, got, name)
	}
	s.clock.Advance(time.Hour)
	_, live, err = s.Introspect(t.Context(), app.about(tokens.AccessToken))
	require.NoError(t, err)
	require.False(t, live)
}

// An application that is off can still end a token that works, as one that leaked does
// with the lever drain. It takes the secret, and nothing else is given to it.
func TestAnApplicationThatIsOffMayRevoke(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *oauth.Options) { o.Lever = oauth.LeverDrain })
	app := s.commercial(t)
	leaked := s.issue(t, app)
	did, err := s.SwitchOff(t.Context(), app.ID, oauth.ByOperator, "", "it leaks")
	require.NoError(t, err)
	require.True(t, did)
	_, err = s.Authenticate(t.Context(), leaked.AccessToken)
	require.NoError(t, err, "it runs out")
	stranger := app.about(leaked.AccessToken)
	stranger.ClientSecret = oauth.NewSecret()
	var refusal *oauth.Error
	require.ErrorAs(t, s.Revoke(t.Context(), stranger), &refusal)
	require.Equal(t, oauth.CodeInvalidClient, refusal.Code)
	_, _, err = s.Introspect(t.Context(), app.about(leaked.AccessToken))
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, oauth.CodeUnauthorizedClient, refusal.Code)
	require.NotNil(t, refusal.Explanation)

	require.NoError(t, s.Revoke(t.Context(), app.about(leaked.AccessToken)))
	_, err = s.Authenticate(t.Context(), leaked.AccessToken)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, oauth.CodeInvalidToken, refusal.Code)
	require.NoError(t, s.Revoke(t.Context(), app.about(leaked.RefreshToken)), "its grant ends too")
	_, err = s.Reactivate(t.Context(), app.ID, oauth.ByOperator, "", "")
	require.NoError(t, err)
	_, live, err := s.Introspect(t.Context(), app.about(leaked.RefreshToken))
	require.NoError(t, err)
	require.False(t, live)
}

func TestAPublicApplicationMayRevokeButNotIntrospect(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	native := s.commercial(t, public)
	tokens := s.issue(t, native)
	_, live, err := s.Introspect(t.Context(), native.about(tokens.AccessToken))
	require.Empty(t, refused(t, err, oauth.CodeInvalidClient).ClientID, "it has not proved to be that one")
	require.False(t, live)
	require.NoError(t, s.Revoke(t.Context(), native.about(tokens.RefreshToken)))
	_, err = s.Authenticate(t.Context(), tokens.AccessToken)
	refused(t, err, oauth.CodeInvalidToken)
}

func TestRequestsAboutATokenNeedTheClientAndAToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	for name, c := range map[string]struct {
		req  oauth.ClientRequest
		code string
	}{
		"nothing":      {oauth.ClientRequest{}, oauth.CodeInvalidClient},
		"no secret":    {oauth.ClientRequest{ClientID: app.ID, Token: "x"}, oauth.CodeInvalidClient},
		"wrong secret": {oauth.ClientRequest{ClientID: app.ID, ClientSecret: "x", Token: "x"}, oauth.CodeInvalidClient},
		"no token":     {app.about(""), oauth.CodeInvalidRequest},
	} {
		refused(t, s.Revoke(t.Context(), c.req), c.code)
		_, _, err := s.Introspect(t.Context(), c.req)
		refused(t, err, c.code)
		require.Len(t, s.seen.Refusals(), 2, name)
	}
}

// Whoever revokes a refresh token while it is being refreshed wins: no token of the
// grant is left.
func TestARefreshAfterARevocationFails(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	tokens := s.issue(t, app)
	refresh := oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken}
	second, err := s.Token(t.Context(), refresh)
	require.NoError(t, err)
	require.NoError(t, s.Revoke(t.Context(), app.about(second.RefreshToken)))
	_, err = s.Token(t.Context(), refresh)
	refused(t, err, oauth.CodeInvalidGrant)
	refresh.RefreshToken = second.RefreshToken
	_, err = s.Token(t.Context(), refresh)
	refused(t, err, oauth.CodeInvalidGrant)
}
