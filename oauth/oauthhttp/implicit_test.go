package oauthhttp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// legacy gives an approved application that may use the implicit grant.
func (s *server) legacy(t testing.TB, change ...func(*oauth.CommercialRequest)) application {
	t.Helper()
	a := s.commercial(t, change...)
	require.NoError(t, s.administration.SetLegacy(t.Context(), a.ID, true))
	return a
}

// asksForAToken is a right request of an application with the implicit grant.
func (a application) asksForAToken() url.Values {
	return url.Values{"response_type": {"token"}, "client_id": {a.ID}, "redirect_uri": {redirectURI}, "state": {"s t/á"}}
}

// fragment is what the redirect to the application says behind the "#".
func (v *view) fragment() url.Values {
	v.t.Helper()
	to, found := strings.CutPrefix(v.location(), redirectURI+"#")
	require.True(v.t, found, v.location())
	values, err := url.ParseQuery(to)
	require.NoError(v.t, err)
	require.Equal(v.t, issuer, values.Get("iss"))
	return values
}

func TestATokenInTheFragment(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	for _, app := range []application{s.legacy(t), s.legacy(t, public)} {
		path := "/oauth2/authorize?" + app.asksForAToken().Encode()
		form := b.get(path).form("/oauth2/consent")
		form.Set("answer", "allow")
		form["scope"] = []string{"socket:read"}
		s.log.Lines()
		got := b.post("/oauth2/consent", form).fragment()
		text := strings.Join(s.log.Lines(), "\n")
		token := got.Get("access_token")
		require.Regexp(t, `^[0-9a-f]{64}$`, token)
		got.Del("access_token")
		require.Equal(t, url.Values{
			"token_type": {"Bearer"}, "expires_in": {"3600"}, "scope": {"socket:read"}, "state": {"s t/á"}, "iss": {issuer},
		}, got)
		require.Contains(t, text, `"level":"WARN"`)
		require.Contains(t, text, "implicit grant")
		require.Contains(t, text, app.ID)
		require.NotContains(t, text, token)
		access, err := s.service.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, oauth.NewScope("socket:read"), access.Scope)

		v := b.post("/oauth2/consent", form)
		require.Equal(t, http.StatusBadRequest, v.status, "twice")
		require.Equal(t, "You have answered already", v.heading())
		require.Contains(t, b.get("/dev/apps/"+app.ID).text(), "may use the implicit grant", "its owner is warned")
		form = b.get(path).form("/oauth2/consent")
		form.Set("answer", "deny")
		require.Equal(t, "access_denied", b.post("/oauth2/consent", form).fragment().Get("error"))
	}
	require.Contains(t, b.get("/connected").text(), "App")
}

func TestImplicitRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	app := s.legacy(t)
	with := func(name string, values ...string) string {
		q := app.asksForAToken()
		q[name] = values
		return "/oauth2/authorize?" + q.Encode()
	}
	for name, c := range map[string]struct{ path, code string }{
		"state missing":         {with("state"), "invalid_request"},
		"state empty":           {with("state", ""), "invalid_request"},
		"state repeated":        {with("state", "a", "b"), "invalid_request"},
		"state oversized":       {with("state", strings.Repeat("a", 4097)), "invalid_request"},
		"scope unknown":         {with("scope", "everything"), "invalid_scope"},
		"scope repeated":        {with("scope", "socket:read", "socket:read"), "invalid_request"},
		"scope with a NUL":      {with("scope", "a\x00"), "invalid_request"},
		"with a challenge":      {with("code_challenge", challenge), "invalid_request"},
		"with its method alone": {with("code_challenge_method", "S256"), "invalid_request"},
		"response_type twice":   {with("response_type", "token", "token"), "invalid_request"},
	} {
		got := b.get(c.path).fragment()
		require.Equal(t, c.code, got.Get("error"), name)
		require.NotEmpty(t, got.Get("error_description"), name)
		require.Empty(t, got.Get("access_token"), name)
	}
	for name, path := range map[string]string{
		"redirect_uri with a fragment": with("redirect_uri", redirectURI+"#x"),
		"redirect_uri missing":         with("redirect_uri"),
		"redirect_uri of another":      with("redirect_uri", "https://evil.example/"),
		"client_id unknown":            with("client_id", oauth.NewClientID()),
		"client_id missing":            with("client_id"),
	} {
		v := b.get(path)
		require.Equal(t, http.StatusBadRequest, v.status, name)
		require.Empty(t, v.header.Get("Location"), name)
	}
	for _, kind := range []string{"token", "code token", "id_token token"} {
		a := s.commercial(t)
		q := a.asksForAToken()
		q.Set("response_type", kind)
		require.Equal(t, "invalid_request", b.get("/oauth2/authorize?"+q.Encode()).answer(redirectURI).Get("error"), "it was not marked")
	}
	got := decoded(t, s.post(form, "grant_type=implicit&client_id="+app.ID+"&client_secret="+app.secret))
	require.Equal(t, "unsupported_grant_type", got.Error)
}

// A header of a redirect cannot be split by what an application sends.
func TestAStateWithLineEndsInAFragment(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := s.legacy(t)
	q := app.asksForAToken()
	q.Set("state", "a\r\nSet-Cookie: b=c\r\n\r\n<script>")
	q.Set("scope", "everything")
	v := s.browser(t).get("/oauth2/authorize?" + q.Encode())
	require.Equal(t, q.Get("state"), v.fragment().Get("state"))
	require.Empty(t, v.header.Get("Set-Cookie"))
}
