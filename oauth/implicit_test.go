package oauth_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// legacy gives an approved application that may use the implicit grant.
func (s *server) legacy(t testing.TB, change ...func(*oauth.CommercialRequest)) application {
	t.Helper()
	a := s.commercial(t, change...)
	require.NoError(t, s.SetLegacy(t.Context(), a.ID, true))
	return a
}

// implicit makes a request one for a token.
func implicit(r *oauth.AuthorizeRequest) {
	r.ResponseType, r.CodeChallenge, r.CodeChallengeMethod = "token", "", ""
}

// fragment gives what an address has after its "#".
func fragment(t testing.TB, to string) url.Values {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	require.Equal(t, redirectURI, u.Scheme+"://"+u.Host+u.Path)
	require.Empty(t, u.RawQuery)
	values, err := url.ParseQuery(u.EscapedFragment())
	require.NoError(t, err)
	return values
}

func TestALegacyApplicationGetsATokenInTheFragment(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, app := range map[string]application{"with a secret": s.legacy(t), "public": s.legacy(t, public)} {
		s.seen.Issued()
		got := fragment(t, s.consent(t, app.ask(implicit)).String())
		require.Equal(t, [][2]string{{app.ID, oauth.GrantImplicit}}, s.seen.Issued(), name)
		token := got.Get("access_token")
		got.Del("access_token")
		require.Equal(t, url.Values{
			"token_type": {"Bearer"}, "expires_in": {"3600"}, "scope": {"read write"}, "state": {"xyz"}, "iss": {issuer},
		}, got, "and no refresh token")
		access, err := s.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, s.alice.ID, access.UserID)
		require.Equal(t, oauth.NewScope("read", "write"), access.Scope)
		s.clock.Advance(time.Hour)
		_, err = s.Authenticate(t.Context(), token)
		refused(t, err, oauth.CodeInvalidToken)
	}
}

func TestAnImplicitConsentWorksOnceAndCanBeNarrowed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	asked, err := s.Authorize(t.Context(), s.legacy(t).ask(implicit))
	require.NoError(t, err)
	require.True(t, asked.Implicit())
	yes := oauth.Consent{UserID: s.alice.ID, Ticket: oauth.HashOf(oauth.NewSecret()), Scope: oauth.NewScope("read"), Sites: []int64{7}}
	to, err := s.Consent(t.Context(), asked, yes)
	require.NoError(t, err)
	got := fragment(t, to)
	require.Equal(t, "read", got.Get("scope"))
	access, err := s.Authenticate(t.Context(), got.Get("access_token"))
	require.NoError(t, err)
	require.Equal(t, []int64{7}, access.Sites)
	_, err = s.Consent(t.Context(), asked, yes)
	refused(t, err, oauth.CodeInvalidRequest)
	changes := s.changes(t, s.alice)
	require.Len(t, changes, 1)
	require.Equal(t, oauth.ActionConnected, changes[0].Action)
	yes.Ticket, yes.Scope = oauth.HashOf(oauth.NewSecret()), oauth.NewScope("admin")
	_, err = s.Consent(t.Context(), asked, yes)
	refused(t, err, oauth.CodeInvalidScope)
}

func TestErrorsOfTheImplicitGrantAreInTheFragment(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app, strict := s.legacy(t), s.legacy(t, requireScope)
	pkce := s.legacy(t)
	with := func(change func(*oauth.AuthorizeRequest)) func(*oauth.AuthorizeRequest) {
		return func(r *oauth.AuthorizeRequest) { implicit(r); change(r) }
	}
	for name, c := range map[string]struct {
		app  application
		ask  func(*oauth.AuthorizeRequest)
		code string
	}{
		"state missing":    {app, with(func(r *oauth.AuthorizeRequest) { r.State = "" }), oauth.CodeInvalidRequest},
		"state too long":   {app, with(func(r *oauth.AuthorizeRequest) { r.State = string(make([]byte, 4097)) }), oauth.CodeInvalidRequest},
		"state repeated":   {app, with(func(r *oauth.AuthorizeRequest) { r.Repeated = "state" }), oauth.CodeInvalidRequest},
		"scope unknown":    {app, with(func(r *oauth.AuthorizeRequest) { r.Scope = "everything" }), oauth.CodeInvalidScope},
		"scope missing":    {strict, implicit, oauth.CodeInvalidClient},
		"with a challenge": {app, with(func(r *oauth.AuthorizeRequest) { r.CodeChallenge, r.CodeChallengeMethod = challenge, "S256" }), oauth.CodeInvalidRequest},
	} {
		_, err := s.Authorize(t.Context(), c.app.ask(c.ask))
		var told *oauth.RedirectError
		require.ErrorAs(t, err, &told, name)
		got := fragment(t, told.To)
		require.Equal(t, c.code, got.Get("error"), name)
		require.NotEmpty(t, got.Get("error_description"))
		require.Equal(t, issuer, got.Get("iss"))
	}
	asked, err := s.Authorize(t.Context(), app.ask(implicit))
	require.NoError(t, err)
	require.Equal(t, oauth.CodeAccessDenied, fragment(t, s.Deny(asked)).Get("error"))

	// One that was never marked, or must use PKCE, is told as ever.
	for _, a := range []application{s.commercial(t), s.commercial(t, public)} {
		_, err := s.Authorize(t.Context(), a.ask(implicit))
		var told *oauth.RedirectError
		require.ErrorAs(t, err, &told)
		require.Contains(t, told.To, "?error=invalid_request")
	}
	_, err = s.Edit(t.Context(), s.bob.ID, pkce.ID, 1, oauth.Edit{
		Name: pkce.Name, Description: pkce.Description, HomePage: pkce.HomePage, RedirectURIs: pkce.RedirectURIs, Scopes: pkce.Scope, RequirePKCE: true,
	}, home())
	require.NoError(t, err)
	_, err = s.Authorize(t.Context(), pkce.ask(implicit))
	refused(t, err, oauth.CodeInvalidRequest)
}

func TestTheImplicitGrantNeverGoesToAnotherAddress(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.legacy(t)
	for _, to := range []string{redirectURI + "#x", redirectURI + "#", "https://evil.example/", redirectURI + "/more", ""} {
		_, err := s.Authorize(t.Context(), app.ask(implicit, func(r *oauth.AuthorizeRequest) { r.RedirectURI = to }))
		var told *oauth.RedirectError
		require.NotErrorAs(t, err, &told, to)
		refused(t, err, oauth.CodeInvalidRequest)
	}
}

func TestTheImplicitGrantEndsWithItsMark(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.legacy(t)
	require.NoError(t, s.SetLegacy(t.Context(), app.ID, false))
	_, err := s.Authorize(t.Context(), app.ask(implicit))
	refused(t, err, oauth.CodeInvalidRequest)
	changes, err := s.Changes(t.Context(), s.bob.ID, 0)
	require.NoError(t, err)
	require.Equal(t, oauth.ActionAppLegacyOff, changes[0].Action)
	require.Equal(t, oauth.ActionAppLegacyOn, changes[1].Action)
	for _, id := range []string{s.bobClient.ID, "unknown", oauth.NewClientID()} {
		var wrong *oauth.FieldError
		require.ErrorAs(t, s.SetLegacy(t.Context(), id, true), &wrong)
	}
	var wrong *oauth.FieldError
	require.ErrorAs(t, s.SetLegacy(t.Context(), s.commercial(t, requirePKCE).ID, true), &wrong)
	require.Equal(t, "legacy", wrong.Field)
}
