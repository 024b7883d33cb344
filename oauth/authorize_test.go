package oauth_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func TestAnAnswerHasTheCodeTheStateAndTheIssuer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t, func(r *oauth.CommercialRequest) {
		r.RedirectURIs = []string{redirectURI, "https://app.example/cb?a=1&b=%20", "https://app.example/cb?"}
	})
	for registered, begins := range map[string]string{
		redirectURI:                        redirectURI + "?",
		"https://app.example/cb?a=1&b=%20": "https://app.example/cb?a=1&b=%20&",
		"https://app.example/cb?":          "https://app.example/cb?&",
	} {
		to := s.consent(t, app.ask(func(r *oauth.AuthorizeRequest) { r.RedirectURI = registered }))
		require.True(t, strings.HasPrefix(to.String(), begins), "%s: the registered one, to the letter", to)
		require.Regexp(t, `^[0-9a-f]{64}$`, to.Query().Get("code"))
		require.Equal(t, "xyz", to.Query().Get("state"))
		require.Equal(t, issuer, to.Query().Get("iss"))
	}
	to := s.consent(t, app.ask(func(r *oauth.AuthorizeRequest) { r.State = "" }))
	require.NotContains(t, to.Query(), "state", "with PKCE it is not required")
}

// Whatever the state is, it comes back as it was, and can add nothing to the answer.
func TestTheStateComesBackUnchanged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	for name, state := range map[string]string{
		"line breaks":     "a\r\nSet-Cookie: b=c\r\n\r\n<script>",
		"parameters":      "a&code=stolen&iss=https://evil.example#fragment",
		"percent":         "%0d%0a%25+ +",
		"Unicode":         "état ☂ \u2028",
		"4096 bytes":      strings.Repeat("s", 4096),
		"4096 bytes of é": strings.Repeat("é", 2048),
	} {
		asked, err := s.Authorize(t.Context(), app.ask(func(r *oauth.AuthorizeRequest) { r.State = state }))
		require.NoError(t, err, name)
		for _, to := range []string{s.consent(t, app.ask(func(r *oauth.AuthorizeRequest) { r.State = state })).String(), s.Deny(asked)} {
			require.NotContains(t, to, "\r", name)
			require.NotContains(t, to, "\n", name)
			back, err := url.Parse(to)
			require.NoError(t, err, name)
			require.Equal(t, []string{state}, back.Query()["state"], name)
			require.Equal(t, []string{issuer}, back.Query()["iss"], name)
			require.Empty(t, back.Fragment, name)
		}
	}
	for _, tooLong := range []string{strings.Repeat("s", 4097), strings.Repeat("é", 2049)} {
		back := redirected(t, s, app.ask(func(r *oauth.AuthorizeRequest) { r.State = tooLong }))
		require.Equal(t, "invalid_request", back.Get("error"))
		require.Equal(t, "The state parameter is longer than 4096 bytes", back.Get("error_description"))
		require.NotContains(t, back, "state")
	}
}

// redirected gives the parameters with which a refusal goes to the application.
func redirected(t *testing.T, s *server, r oauth.AuthorizeRequest) url.Values {
	t.Helper()
	_, err := s.Authorize(t.Context(), r)
	var redirect *oauth.RedirectError
	require.ErrorAs(t, err, &redirect)
	require.True(t, strings.HasPrefix(redirect.To, r.RedirectURI), redirect.To)
	to, err := url.Parse(redirect.To)
	require.NoError(t, err)
	require.Equal(t, issuer, to.Query().Get("iss"))
	require.Equal(t, redirect.Refusal.Code, to.Query().Get("error"))
	require.Equal(t, r.ClientID, redirect.Refusal.ClientID)
	require.Equal(t, []string{redirect.Refusal.Reason}, s.seen.Refusals())
	return to.Query()
}

// Nobody is sent to an address that is not known to be the application's own.
func TestWhatIsWrongWithTheClientOrItsAddressIsForAPage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	pending, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	rejected, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	require.NoError(t, s.Reject(t.Context(), rejected.ID))
	for name, c := range map[string]struct {
		change            func(*oauth.AuthorizeRequest)
		code, description string
	}{
		"no client":             {func(r *oauth.AuthorizeRequest) { r.ClientID = "" }, oauth.CodeInvalidClient, "No client id supplied"},
		"unknown client":        {func(r *oauth.AuthorizeRequest) { r.ClientID = oauth.NewClientID() }, oauth.CodeInvalidClient, "The client id supplied is invalid"},
		"malformed client":      {func(r *oauth.AuthorizeRequest) { r.ClientID = "x\x00" }, oauth.CodeInvalidClient, "The client id supplied is invalid"},
		"oversized client":      {func(r *oauth.AuthorizeRequest) { r.ClientID = strings.Repeat("a", 50_000) }, oauth.CodeInvalidClient, "The client id supplied is invalid"},
		"repeated client":       {func(r *oauth.AuthorizeRequest) { r.Repeated = "client_id" }, oauth.CodeInvalidRequest, "The client_id parameter is given more than once"},
		"personal":              {func(r *oauth.AuthorizeRequest) { r.ClientID = s.aliceClient.ID }, oauth.CodeUnauthorizedClient, "The application may not ask people for their consent"},
		"pending":               {func(r *oauth.AuthorizeRequest) { r.ClientID = pending.ID }, oauth.CodeUnauthorizedClient, "The application may not ask people for their consent"},
		"rejected":              {func(r *oauth.AuthorizeRequest) { r.ClientID = rejected.ID }, oauth.CodeUnauthorizedClient, "The application may not ask people for their consent"},
		"no redirect_uri":       {func(r *oauth.AuthorizeRequest) { r.RedirectURI = "" }, oauth.CodeInvalidRequest, "The redirect_uri parameter is missing"},
		"repeated redirect_uri": {func(r *oauth.AuthorizeRequest) { r.Repeated = "redirect_uri" }, oauth.CodeInvalidRequest, "The redirect_uri parameter is given more than once"},
		"other redirect_uri":    {func(r *oauth.AuthorizeRequest) { r.RedirectURI = "https://evil.example/" }, oauth.CodeInvalidRequest, "The redirect_uri is not registered for this application"},
		"all that is wrong":     {func(r *oauth.AuthorizeRequest) { *r = oauth.AuthorizeRequest{ClientID: app.ID, RedirectURI: "x"} }, oauth.CodeInvalidRequest, "The redirect_uri is not registered for this application"},
	} {
		_, err := s.Authorize(t.Context(), app.ask(c.change))
		_, redirects := errors.AsType[*oauth.RedirectError](err)
		require.False(t, redirects, name)
		require.Equal(t, c.description, refused(t, err, c.code).Description, name)
		require.Len(t, s.seen.Refusals(), 1, name)
	}
}

func TestARedirectURIMatchesToTheLetter(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t, func(r *oauth.CommercialRequest) {
		r.RedirectURIs = []string{
			"https://app.example/callback", "https://app.example:8443/", "http://127.0.0.1/cb", "http://[::1]:1234/cb?x=1",
			"http://localhost:80/cb", "com.example.app:/oauth",
		}
	})
	for uri, want := range map[string]bool{
		"https://app.example/callback":                        true,
		"https://app.example/callback/":                       false,
		"https://app.example/callback/more":                   false,
		"https://app.example/callbac":                         false,
		"https://app.example/callback?":                       false,
		"https://app.example/callback?x=1":                    false,
		"https://app.example/callback#":                       false,
		"https://app.example/callback#fragment":               false,
		"https://app.example/Callback":                        false,
		"https://APP.example/callback":                        false,
		"HTTPS://app.example/callback":                        false,
		"http://app.example/callback":                         false,
		"https://app.example:443/callback":                    false,
		"https://app.example:8443/callback":                   false,
		"https://app.example:8443/":                           true,
		"https://app.example:8443":                            false,
		"https://app.example/":                                false,
		"https://user@app.example/callback":                   false,
		"https://app.example@evil.example/":                   false,
		"https://app.example.evil.example":                    false,
		"https://app.example/./callback":                      false,
		"https://app.example/x/../callback":                   false,
		"https://app.example/callback/..":                     false,
		"https://app.example/callback/%2e%2e":                 false,
		"https://app.example/%63allback":                      false,
		"https://app.example/callback%2f..":                   false,
		"https://app.example//callback":                       false,
		`https://app.example\callback`:                        false,
		"https://app.example/callback ":                       false,
		" https://app.example/callback":                       false,
		"https://app.example/callback\n":                      false,
		"https://app.example/callback\x00":                    false,
		"https://app.example./callback":                       false,
		"//app.example/callback":                              false,
		"/callback":                                           false,
		"javascript:alert(1)":                                 false,
		"data:text/html,x":                                    false,
		"com.example.app:/oauth":                              true,
		"com.example.app:/oauth/x":                            false,
		"COM.example.app:/oauth":                              false,
		"http://127.0.0.1/cb":                                 true,
		"http://127.0.0.1:1/cb":                               true,
		"http://127.0.0.1:65535/cb":                           true,
		"http://127.0.0.1:51004/cb?x=1":                       false,
		"http://127.0.0.1:51004/cb/":                          false,
		"http://127.0.0.1:51004/cb#":                          false,
		"http://127.0.0.1:51004/x/../cb":                      false,
		"http://127.0.0.2:51004/cb":                           false,
		"http://user@127.0.0.1:51004/cb":                      false,
		"http://127.0.0.1:80@evil.example/cb":                 false,
		"http://127.0.0.1.evil.example:80/cb":                 false,
		"https://127.0.0.1:51004/cb":                          false,
		"http://127.0.0.1:x/cb":                               false,
		"http://127.0.0.1:51004:51004/cb":                     false,
		"http://[::1]/cb?x=1":                                 true,
		"http://[::1]:9/cb?x=1":                               true,
		"http://[::1]:9/cb":                                   false,
		"http://[0:0:0:0:0:0:0:1]:9/cb?x=1":                   false,
		"http://localhost:9/cb":                               true,
		"http://localhost/cb":                                 true,
		"http://LOCALHOST:9/cb":                               false,
		"http://localhost.evil.example:9/cb":                  false,
		"http://localhost:9/cb\r\nSet-Cookie: a=b":            false,
		"http://127.0.0.1:9/cb" + strings.Repeat("x", 50_000): false,
	} {
		_, err := s.Authorize(t.Context(), app.ask(func(r *oauth.AuthorizeRequest) { r.RedirectURI = uri }))
		require.Equal(t, want, err == nil, "%q: %v", uri, err)
		_, redirects := errors.AsType[*oauth.RedirectError](err)
		require.False(t, redirects, uri)
	}
}

func TestRedirectURIsThatCanBeRegistered(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]bool{
		"https://app.example":                            true,
		"https://app.example:8443/cb?a=b":                true,
		"https://app.example/%C3%A9":                     true,
		"https://xn--fxbridge-1jg.example/":              true,
		"http://localhost/cb":                            true,
		"http://localhost:3000":                          true,
		"http://127.0.0.1:1234/":                         true,
		"http://127.9.9.9/":                              true,
		"http://[::1]/":                                  true,
		"com.example.app:/cb":                            true,
		"com.example.app://cb":                           true,
		"https://a.example/" + strings.Repeat("x", 2030): true,

		"":                                     false,
		"x":                                    false,
		"/cb":                                  false,
		"//app.example/cb":                     false,
		"https:":                               false,
		"https://":                             false,
		"https:///cb":                          false,
		"https://:443/cb":                      false,
		"https:app.example":                    false,
		"http://app.example/cb":                false,
		"http://localhost.evil.example/":       false,
		"http://0.0.0.0/":                      false,
		"http://192.168.0.1/":                  false,
		"ftp://app.example/":                   false,
		"app:/cb":                              false,
		"javascript:alert(1)":                  false,
		"data:text/html,x":                     false,
		"com.example.app:cb":                   false,
		"https://app.example/cb#":              false,
		"https://app.example/cb#f":             false,
		"https://user@app.example/":            false,
		"https://user:pw@app.example/":         false,
		"https://app.example/../cb":            false,
		"https://app.example/./cb":             false,
		"https://app.example/%2e%2e/cb":        false,
		"https://app.example/a%2F..%2Fcb":      false,
		`https://app.example\cb`:               false,
		"https://app.example/c b":              false,
		"https://app.example/\r\nSet-Cookie:a": false,
		"https://app.example/\x00":             false,
		"https://app.example/\xff":             false,
		"https://app.example/%zz":              false,
		"https://app.example/é":                false,
		"https://fоxbridge.example/":           false, // о is Cyrillic
		"https://f%D0%BExbridge.example/":      false,
		"https://app.example\u202e/":           false,
		"https://a.example/" + strings.Repeat("x", 2031): false,
	} {
		require.Equal(t, want, oauth.ValidRedirectURI(uri), "%q", uri)
	}
}

func FuzzRedirectURI(f *testing.F) {
	for _, seed := range []string{redirectURI, "http://127.0.0.1:1/cb", "http://[::1]:2/", "com.example.app:/cb", "https://a@b/..#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !oauth.ValidRedirectURI(uri) {
			return
		}
		u, err := url.Parse(uri)
		require.NoError(t, err)
		require.Nil(t, u.User)
		require.NotContains(t, uri, "#")
		require.NotContains(t, uri, "\n")
		require.Regexp(t, `^[!-~]+$`, uri+u.Host)
		require.Contains(t, []bool{u.Scheme == "https", u.Scheme == "http", strings.Contains(u.Scheme, ".")}, true)
	})
}

func TestWhatElseIsWrongGoesToTheApplication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app, native := s.commercial(t), s.commercial(t, public)
	strict, picky := s.commercial(t, requirePKCE), s.commercial(t, requireScope)
	withoutPKCE := func(r *oauth.AuthorizeRequest) { r.CodeChallenge, r.CodeChallengeMethod = "", "" }
	for name, c := range map[string]struct {
		app               application
		change            func(*oauth.AuthorizeRequest)
		code, description string
	}{
		"no response_type":       {app, func(r *oauth.AuthorizeRequest) { r.ResponseType = "" }, oauth.CodeInvalidRequest, "Invalid or missing response type"},
		"implicit":               {app, func(r *oauth.AuthorizeRequest) { r.ResponseType = "token" }, oauth.CodeInvalidRequest, "Invalid or missing response type"},
		"two response types":     {app, func(r *oauth.AuthorizeRequest) { r.ResponseType = "code token" }, oauth.CodeInvalidRequest, "Invalid or missing response type"},
		"neither state nor PKCE": {app, func(r *oauth.AuthorizeRequest) { withoutPKCE(r); r.State = "" }, oauth.CodeInvalidRequest, "The state parameter is required"},
		"repeated scope":         {app, func(r *oauth.AuthorizeRequest) { r.Repeated = "scope" }, oauth.CodeInvalidRequest, "The scope parameter is given more than once or is not text"},
		"public without PKCE":    {native, withoutPKCE, oauth.CodeInvalidRequest, "This application must send a code_challenge"},
		"strict without PKCE":    {strict, withoutPKCE, oauth.CodeInvalidRequest, "This application must send a code_challenge"},
		"plain":                  {app, func(r *oauth.AuthorizeRequest) { r.CodeChallengeMethod = "plain" }, oauth.CodeInvalidRequest, "The code_challenge_method must be S256"},
		"no method is plain":     {app, func(r *oauth.AuthorizeRequest) { r.CodeChallengeMethod = "" }, oauth.CodeInvalidRequest, "The code_challenge_method must be S256"},
		"method in other case":   {app, func(r *oauth.AuthorizeRequest) { r.CodeChallengeMethod = "s256" }, oauth.CodeInvalidRequest, "The code_challenge_method must be S256"},
		"method alone":           {app, func(r *oauth.AuthorizeRequest) { r.CodeChallenge = "" }, oauth.CodeInvalidRequest, "The code_challenge parameter is missing"},
		"challenge too short":    {app, func(r *oauth.AuthorizeRequest) { r.CodeChallenge = challenge[1:] }, oauth.CodeInvalidRequest, "The code_challenge is not a SHA-256 in base64url"},
		"challenge too long":     {app, func(r *oauth.AuthorizeRequest) { r.CodeChallenge += "A" }, oauth.CodeInvalidRequest, "The code_challenge is not a SHA-256 in base64url"},
		"challenge padded":       {app, func(r *oauth.AuthorizeRequest) { r.CodeChallenge += "=" }, oauth.CodeInvalidRequest, "The code_challenge is not a SHA-256 in base64url"},
		"challenge in base64":    {app, func(r *oauth.AuthorizeRequest) { r.CodeChallenge = strings.ReplaceAll(challenge, "-", "+") }, oauth.CodeInvalidRequest, "The code_challenge is not a SHA-256 in base64url"},
		"challenge with a break": {app, func(r *oauth.AuthorizeRequest) { r.CodeChallenge += "\n" }, oauth.CodeInvalidRequest, "The code_challenge is not a SHA-256 in base64url"},
		"challenge oversized":    {app, func(r *oauth.AuthorizeRequest) { r.CodeChallenge = strings.Repeat("a", 50_000) }, oauth.CodeInvalidRequest, "The code_challenge is not a SHA-256 in base64url"},
		"unknown scope":          {app, func(r *oauth.AuthorizeRequest) { r.Scope = "read fly" }, oauth.CodeInvalidScope, "An unsupported scope was requested"},
		"scope not registered":   {app, func(r *oauth.AuthorizeRequest) { r.Scope = "admin" }, oauth.CodeInvalidScope, "An unsupported scope was requested"},
		"scope in other case":    {app, func(r *oauth.AuthorizeRequest) { r.Scope = "Read" }, oauth.CodeInvalidScope, "An unsupported scope was requested"},
		"scope of spaces":        {app, func(r *oauth.AuthorizeRequest) { r.Scope = " " }, oauth.CodeInvalidScope, "An unsupported scope was requested"},
		"scope with a tab":       {app, func(r *oauth.AuthorizeRequest) { r.Scope = "read\twrite" }, oauth.CodeInvalidScope, "An unsupported scope was requested"},
		"scope oversized":        {app, func(r *oauth.AuthorizeRequest) { r.Scope = strings.Repeat("read ", 900) + "read" }, oauth.CodeInvalidScope, "An unsupported scope was requested"},
		"scope required":         {picky, func(*oauth.AuthorizeRequest) {}, oauth.CodeInvalidClient, "This application requires you specify a scope parameter"},
	} {
		r := c.app.ask(c.change)
		back := redirected(t, s, r)
		require.Equal(t, c.code, back.Get("error"), name)
		require.Equal(t, c.description, back.Get("error_description"), name)
		require.Equal(t, r.State, back.Get("state"), name)
		require.NotContains(t, back, "code", name)
	}
	back := redirected(t, s, app.ask(func(r *oauth.AuthorizeRequest) { r.Repeated = "state" }))
	require.NotContains(t, back, "state", "which of them nobody can say")
}

func TestTheScopeThatIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app, picky := s.commercial(t), s.commercial(t, requireScope)
	for parameter, want := range map[string]oauth.Scope{
		"":                 {"read", "write"}, // all that is registered
		"write":            {"write"},
		"write read":       {"read", "write"},
		"write read write": {"read", "write"},
	} {
		asked, err := s.Authorize(t.Context(), app.ask(func(r *oauth.AuthorizeRequest) { r.Scope = parameter }))
		require.NoError(t, err)
		require.Equal(t, want, asked.Scope, parameter)
	}
	asked, err := s.Authorize(t.Context(), picky.ask(func(r *oauth.AuthorizeRequest) { r.Scope = "read" }))
	require.NoError(t, err)
	require.Equal(t, oauth.Scope{"read"}, asked.Scope)
}

func TestDenyTellsTheApplication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	asked, err := s.Authorize(t.Context(), s.commercial(t).ask())
	require.NoError(t, err)
	to, err := url.Parse(s.Deny(asked))
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"error": {"access_denied"}, "error_description": {"The user denied access to your application"}, "state": {"xyz"}, "iss": {issuer},
	}, to.Query())
}

func TestConsentNarrowsAndWorksOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	asked, err := s.Authorize(t.Context(), app.ask())
	require.NoError(t, err)
	yes := oauth.Consent{UserID: s.alice.ID, Ticket: oauth.HashOf("page"), Scope: oauth.NewScope("read"), Sites: []int64{7, 9}}
	for name, scope := range map[string]oauth.Scope{"beyond": {"admin"}, "also beyond": {"admin", "read"}, "unscoped": oauth.Unscoped(), "nothing": {}} {
		beyond := yes
		beyond.Scope = scope
		_, err := s.Consent(t.Context(), asked, beyond)
		require.Equal(t, "An unsupported scope was requested", refused(t, err, oauth.CodeInvalidScope).Description, name)
	}
	to, err := s.Consent(t.Context(), asked, yes)
	require.NoError(t, err)
	_, err = s.Consent(t.Context(), asked, yes)
	require.Equal(t, "This page has been answered already", refused(t, err, oauth.CodeInvalidRequest).Description)

	back, err := url.Parse(to)
	require.NoError(t, err)
	tokens, err := s.Token(t.Context(), app.exchange(back.Query().Get("code")))
	require.NoError(t, err)
	require.Equal(t, oauth.Scope{"read"}, tokens.Scope)
	refreshed, err := s.Token(t.Context(), oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken})
	require.NoError(t, err)
	for _, token := range []string{tokens.AccessToken, refreshed.AccessToken} {
		access, err := s.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, oauth.Scope{"read"}, access.Scope)
		require.Equal(t, []int64{7, 9}, access.Sites)
		require.Equal(t, s.alice.ID, access.UserID)
		require.Equal(t, aliceEmail, access.UserEmail)
	}
}

func TestACodeThatIsReusedRevokesItsGrantAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	code := s.consent(t, app.ask()).Query().Get("code")
	other := s.issue(t, app)
	tokens, err := s.Token(t.Context(), app.exchange(code))
	require.NoError(t, err)
	s.seen.Refusals()
	_, err = s.Token(t.Context(), app.exchange(code))
	refusal := refused(t, err, oauth.CodeInvalidGrant)
	require.Equal(t, "The authorization code is invalid or expired", refusal.Description)
	require.Equal(t, []string{"code reused"}, s.seen.Refusals())
	_, err = s.Authenticate(t.Context(), tokens.AccessToken)
	refused(t, err, oauth.CodeInvalidToken)
	_, err = s.Authenticate(t.Context(), other.AccessToken)
	require.NoError(t, err)
}

func TestACodeIsGoodForThirtySeconds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	code := s.consent(t, app.ask()).Query().Get("code")
	late := s.consent(t, app.ask()).Query().Get("code")
	s.clock.Advance(30*time.Second - time.Microsecond)
	_, err := s.Token(t.Context(), app.exchange(code))
	require.NoError(t, err)
	s.clock.Advance(time.Microsecond)
	_, err = s.Token(t.Context(), app.exchange(late))
	refused(t, err, oauth.CodeInvalidGrant)
}

// unwritable is a Store that fails where codes and sessions are written and read.
type unwritable struct{ oauth.Store }

func (unwritable) AddCode(context.Context, oauth.Code, ...oauth.Change) error { return errBroken }

func (unwritable) Redeem(context.Context, oauth.Redemption) (oauth.Redeemed, error) {
	return oauth.Redeemed{}, errBroken
}

func (unwritable) Issue(context.Context, oauth.Issuance) (oauth.NewGrant, error) {
	return oauth.NewGrant{}, errBroken
}

func (unwritable) AddSession(context.Context, oauth.Session, ...oauth.Change) error { return errBroken }

func (unwritable) EndSession(context.Context, oauth.Hash) error        { return errBroken }
func (unwritable) TouchSecret(context.Context, int64, time.Time) error { return nil }
func (unwritable) Revoke(context.Context, string, oauth.Hash, time.Time) error {
	return errBroken
}

func (unwritable) Token(context.Context, oauth.Hash, time.Time) (oauth.Token, error) {
	return oauth.Token{}, errBroken
}

func (unwritable) Session(context.Context, oauth.Hash, time.Time) (oauth.User, error) {
	return oauth.User{}, errBroken
}

func (unwritable) Review(context.Context, oauth.Review) error {
	return errBroken
}

func (unwritable) AddSecret(context.Context, string, oauth.Secret, ...oauth.Change) error {
	return errBroken
}

func (unwritable) RemoveSecret(context.Context, string, int64, ...oauth.Change) error {
	return errBroken
}

func TestAFailureOfTheStoreIsNeverARefusalNorToldToTheApplication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	tokens := s.issue(t, app)
	asked, err := s.Authorize(t.Context(), app.ask())
	require.NoError(t, err)
	failing := s.with(t, func(o *oauth.Options) { o.Store = broken{s.store} })
	lately := s.with(t, func(o *oauth.Options) { o.Store = unwritable{s.store} })
	about := oauth.ClientRequest{ClientID: app.ID, ClientSecret: app.secret, Token: tokens.AccessToken}
	s.seen.Refusals()
	for name, try := range map[string]func() error{
		"authorize": func() error { _, err := failing.Authorize(t.Context(), app.ask()); return err },
		"consent": func() error {
			_, err := lately.Consent(t.Context(), asked, oauth.Consent{Scope: asked.Scope})
			return err
		},
		"code": func() error { _, err := lately.Token(t.Context(), app.exchange(oauth.NewSecret())); return err },
		"client credentials": func() error {
			_, err := lately.Token(t.Context(), oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantClientCredentials})
			return err
		},
		"refresh": func() error {
			_, err := lately.Token(t.Context(), oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken})
			return err
		},
		"revoke":        func() error { return lately.Revoke(t.Context(), about) },
		"introspect":    func() error { _, _, err := lately.Introspect(t.Context(), about); return err },
		"sign in":       func() error { _, err := lately.SignIn(t.Context(), aliceEmail, alicePassword, home()); return err },
		"session":       func() error { _, err := lately.Session(t.Context(), oauth.NewSecret()); return err },
		"sign out":      func() error { return lately.SignOut(t.Context(), oauth.NewSecret()) },
		"approve":       func() error { return lately.Approve(t.Context(), app.ID) },
		"add secret":    func() error { _, err := lately.AddSecret(t.Context(), app.ID); return err },
		"remove secret": func() error { return lately.RemoveSecret(t.Context(), app.ID, 1) },
	} {
		err := try()
		require.ErrorIs(t, err, errBroken, name)
		_, refusal := errors.AsType[*oauth.Error](err)
		_, redirect := errors.AsType[*oauth.RedirectError](err)
		_, field := errors.AsType[*oauth.FieldError](err)
		require.False(t, refusal || redirect || field, "%s: %v", name, err)
		for _, secret := range []string{app.secret, tokens.AccessToken, tokens.RefreshToken, alicePassword} {
			require.NotContains(t, err.Error(), secret, name)
		}
	}
	require.Empty(t, s.seen.Refusals())
}
