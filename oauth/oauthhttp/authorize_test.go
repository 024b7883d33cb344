package oauthhttp_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

const state = "state of the application"

// authorizing is a right request of an application, as a stock client makes it.
func (a application) authorizing() url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {a.ID}, "redirect_uri": {redirectURI}, "state": {state},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
}

func authorizePath(request url.Values) string { return "/oauth2/authorize?" + request.Encode() }

// asked opens the page of consent and gives its form.
func (b *browser) asked(a application) url.Values {
	b.t.Helper()
	return b.get(authorizePath(a.authorizing())).form("/oauth2/consent")
}

// redeem gives what the code of an answer stands for.
func (s *site) redeem(t *testing.T, a application, answer url.Values) oauth.Access {
	t.Helper()
	got := tokens(t, s.post(form, a.exchange(answer.Get("code")).Encode()))
	access, err := s.service.Authenticate(t.Context(), got.AccessToken)
	require.NoError(t, err)
	return access
}

func TestAConsentGivesTheCodeThatGivesTheToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.browser(t)

	v := b.get(authorizePath(a.authorizing()))
	to := v.location()
	require.True(t, strings.HasPrefix(to, "/signin?return=%2Foauth2%2Fauthorize%3F"), to)
	v = b.get(to)
	require.Equal(t, "Sign in", v.heading())
	require.Contains(t, v.text(), "“App” asks for access to your home")
	signIn := v.form("/signin")
	signIn.Set("username", "  Alice@Example.org ")
	signIn.Set("password", password)
	to = b.post("/signin", signIn).location()
	back, err := url.Parse(to)
	require.NoError(t, err)
	require.Equal(t, "/oauth2/authorize", back.Path)
	require.Equal(t, a.authorizing(), back.Query(), "the very same request")

	consent := b.get(to).form("/oauth2/consent")
	require.ElementsMatch(t, scopes(), consent["scope"], "all is ticked at first")
	consent.Set("answer", "allow")
	answer := b.post("/oauth2/consent", consent).answer(redirectURI)
	require.Equal(t, []string{"code", "from", "iss", "state"}, slices.Sorted(maps.Keys(answer)))
	require.Equal(t, state, answer.Get("state"))
	access := s.redeem(t, a, answer)
	require.Equal(t, s.alice.ID, access.UserID)
	require.ElementsMatch(t, scopes(), access.Scope)
	require.Nil(t, access.Sites)
}

func TestWhatThePersonLeavesOutTheTokenDoesNotHave(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"}, oauthhttp.Site{ID: 3, Label: "Cottage <b>"}, oauthhttp.Site{ID: 12, Label: "Office"})
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	for name, test := range map[string]struct {
		scope, tick []string
		sites       []int64
	}{
		"one scope, one home": {[]string{"shutter:read"}, []string{"3"}, []int64{3}},
		"some of each":        {[]string{"socket:read", "history:read"}, []string{"12", "7"}, []int64{7, 12}},
		"a home twice":        {[]string{"socket:read"}, []string{"12", "12"}, []int64{12}},
		"a scope twice":       {[]string{"socket:read", "socket:read"}, []string{"12"}, []int64{12}},
		"all homes":           {[]string{"socket:read"}, []string{"12", "3", "7"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := b.get(authorizePath(a.authorizing()))
			require.Equal(t, map[string]string{"7": "Lyon", "3": "Cottage <b>", "12": "Office"}, v.offered("site"))
			consent := v.form("/oauth2/consent")
			require.ElementsMatch(t, []string{"7", "3", "12"}, consent["site"], "all are ticked at first")
			consent["scope"], consent["site"] = test.scope, test.tick
			consent.Set("answer", "allow")
			access := s.redeem(t, a, b.post("/oauth2/consent", consent).answer(redirectURI))
			require.Equal(t, oauth.NewScope(test.scope...), access.Scope)
			require.Equal(t, test.sites, access.Sites)
		})
	}
}

func TestThereIsNothingToChooseWithOneHome(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"})
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	v := b.get(authorizePath(a.authorizing()))
	require.Empty(t, v.offered("site"))
	require.Contains(t, v.text(), "In your home “Lyon”")
	consent := v.form("/oauth2/consent")
	consent.Set("answer", "allow")
	consent.Set("site", "12")
	require.Nil(t, s.redeem(t, a, b.post("/oauth2/consent", consent).answer(redirectURI)).Sites)
}

func TestAHomeThatWasNotOnThePageIsNotIncluded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"}, oauthhttp.Site{ID: 3, Label: "Cottage"})
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	consent := b.asked(a)
	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"}, oauthhttp.Site{ID: 3, Label: "Cottage"}, oauthhttp.Site{ID: 12, Label: "Office"})
	consent.Set("answer", "allow")
	require.Equal(t, []int64{3, 7}, s.redeem(t, a, b.post("/oauth2/consent", consent).answer(redirectURI)).Sites)
}

func TestTheStateComesBackUnchanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	var all strings.Builder
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	for name, state := range map[string]string{
		"line ends":         "a\r\nSet-Cookie: b=c\r\n\r\n<script>",
		"every byte":        all.String(),
		"4 KiB of any byte": strings.Repeat(all.String(), 16),
		"what URLs are of":  "a&b=c+d %20#e;f?g/h",
		"JSON":              `{"to":"/deep?link=1","é":"東京"}`,
		"a path elsewhere":  "https://elsewhere.example//\\",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := s.browser(t)
			request := a.authorizing()
			request.Set("state", state)
			v := b.get(b.get(authorizePath(request)).location())
			signIn := v.form("/signin")
			signIn.Set("username", email)
			signIn.Set("password", password)
			consent := b.get(b.post("/signin", signIn).location()).form("/oauth2/consent")
			consent.Del("scope")
			consent.Set("answer", "allow")
			again := b.post("/oauth2/consent", consent) // nothing is ticked
			require.Equal(t, http.StatusUnprocessableEntity, again.status)
			consent = again.formAt("/oauth2/consent")
			consent.Set("scope", "socket:read")
			consent.Set("answer", "allow")
			response := b.post("/oauth2/consent", consent)
			answer := response.answer(redirectURI)
			require.Equal(t, state, answer.Get("state"))
			require.NotEmpty(t, answer.Get("code"))
			require.Empty(t, response.header.Values("Set-Cookie"))
		})
	}
}

func TestWhoSaysNoGivesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	consent := b.asked(a)
	consent.Set("answer", "deny")
	answer := b.post("/oauth2/consent", consent).answer(redirectURI)
	require.Equal(t, url.Values{
		"error": {"access_denied"}, "error_description": {"The user denied access to your application"},
		"state": {state}, "iss": {issuer}, "from": {"foxbridge"},
	}, answer)
}

// tampered are changes to a right request.
type tampered func(url.Values)

func with(name string, values ...string) tampered {
	return func(v url.Values) { v[name] = values }
}

func TestWhomNobodyIsSentTo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t, func(r *oauth.CommercialRequest) {
		r.RedirectURIs = []string{redirectURI, "https://app.example/a/b", "http://127.0.0.1/native", "com.example.app:/back"}
	})
	pending := s.requested(t)
	const unregistered = "The redirect_uri is not registered for this application"
	tests := map[string]struct {
		change      tampered
		description string
	}{
		"redirect_uri missing":                   {with("redirect_uri"), "The redirect_uri parameter is missing"},
		"redirect_uri empty":                     {with("redirect_uri", ""), "The redirect_uri parameter is missing"},
		"redirect_uri repeated":                  {with("redirect_uri", redirectURI, redirectURI), "The redirect_uri parameter is given more than once"},
		"redirect_uri repeated with another":     {with("redirect_uri", redirectURI, "https://evil.example/"), "The redirect_uri parameter is given more than once"},
		"redirect_uri not text":                  {with("redirect_uri", redirectURI+"\xff"), "The redirect_uri parameter is given more than once"},
		"redirect_uri with fragment":             {with("redirect_uri", redirectURI+"#x"), unregistered},
		"redirect_uri with an empty fragment":    {with("redirect_uri", redirectURI+"#"), unregistered},
		"redirect_uri in other case":             {with("redirect_uri", "https://app.example/Callback?from=foxbridge"), unregistered},
		"redirect_uri with a host in other case": {with("redirect_uri", "https://App.example/callback?from=foxbridge"), unregistered},
		"redirect_uri with a scheme in case":     {with("redirect_uri", "HTTPS://app.example/callback?from=foxbridge"), unregistered},
		"redirect_uri with other port":           {with("redirect_uri", "https://app.example:8443/callback?from=foxbridge"), unregistered},
		"redirect_uri with the default port":     {with("redirect_uri", "https://app.example:443/callback?from=foxbridge"), unregistered},
		"redirect_uri with user info":            {with("redirect_uri", "https://app.example@evil.example/callback?from=foxbridge"), unregistered},
		"redirect_uri with traversal":            {with("redirect_uri", "https://app.example/callback/../callback?from=foxbridge"), unregistered},
		"redirect_uri with encoded traversal":    {with("redirect_uri", "https://app.example/a/%2e%2e/callback?from=foxbridge"), unregistered},
		"redirect_uri with encoded slashes":      {with("redirect_uri", "https://app.example/a%2fb"), unregistered},
		"redirect_uri longer than registered":    {with("redirect_uri", redirectURI+"/more"), unregistered},
		"redirect_uri shorter than registered":   {with("redirect_uri", "https://app.example/callback"), unregistered},
		"redirect_uri with more query":           {with("redirect_uri", redirectURI+"&x=y"), unregistered},
		"redirect_uri of a longer host":          {with("redirect_uri", "https://app.example.evil.example/callback?from=foxbridge"), unregistered},
		"redirect_uri with a backslash":          {with("redirect_uri", `https://evil.example\@app.example/callback?from=foxbridge`), unregistered},
		"redirect_uri over http":                 {with("redirect_uri", "http://app.example/callback?from=foxbridge"), unregistered},
		"redirect_uri with line ends":            {with("redirect_uri", redirectURI+"\r\nX: y"), unregistered},
		"redirect_uri of script":                 {with("redirect_uri", "javascript:alert(1)"), unregistered},
		"loopback of another name":               {with("redirect_uri", "http://localhost:4000/native"), unregistered},
		"loopback on another path":               {with("redirect_uri", "http://127.0.0.1:4000/other"), unregistered},
		"native scheme on another path":          {with("redirect_uri", "com.example.app:/other"), unregistered},
		"client_id missing":                      {with("client_id"), "No client id supplied"},
		"client_id empty":                        {with("client_id", ""), "No client id supplied"},
		"client_id repeated":                     {with("client_id", a.ID, a.ID), "The client_id parameter is given more than once"},
		"client_id unknown":                      {with("client_id", strings.Repeat("0", 32)), "The client id supplied is invalid"},
		"client_id oversized":                    {with("client_id", strings.Repeat("0", 4096)), "The client id supplied is invalid"},
		"client_id with NUL":                     {with("client_id", a.ID+"\x00"), "The client_id parameter is given more than once"},
		"client_id in other case":                {with("client_id", strings.ToUpper(a.ID)), "The client id supplied is invalid"},
		"client of a personal application":       {with("client_id", s.client.ID), "The application may not ask people for their consent"},
		"client that is pending":                 {with("client_id", pending.ID), "The application may not ask people for their consent"},
		"all repeated":                           {func(v url.Values) { maps.Copy(v, url.Values{"state": {"a", "b"}, "client_id": {a.ID, a.ID}}) }, "The client_id parameter is given more than once"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for who, b := range map[string]*browser{"signed in": s.aliceAtHome(t), "signed out": s.browser(t)} {
				request := a.authorizing()
				test.change(request)
				v := b.get(authorizePath(request))
				require.Equal(t, http.StatusBadRequest, v.status, who)
				require.Empty(t, v.header.Get("Location"), who)
				require.Equal(t, "This application cannot be connected", v.heading())
				require.Contains(t, v.text(), test.description, who)
				require.Empty(t, v.all("form", "action", "/oauth2/consent"))
				require.NotContains(t, v.text(), "evil")
			}
		})
	}
}

func TestWhereAnAnswerGoes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t, func(r *oauth.CommercialRequest) {
		r.RedirectURIs = []string{redirectURI, "https://app.example/a/b", "http://127.0.0.1/native", "http://[::1]:1/native", "com.example.app:/back"}
	})
	b := s.aliceAtHome(t)
	for uri, source := range map[string]string{
		redirectURI:                    "https:",
		"https://app.example/a/b":      "https:",
		"http://127.0.0.1:4000/native": "http://127.0.0.1:4000",
		"http://127.0.0.1/native":      "http://127.0.0.1",
		"http://[::1]:4000/native":     "http:",
		"com.example.app:/back":        "com.example.app:",
	} {
		request := a.authorizing()
		request.Set("redirect_uri", uri)
		v := b.get(authorizePath(request))
		policy := v.header.Get("Content-Security-Policy")
		actions := strings.Fields(policy[strings.Index(policy, "form-action"):strings.Index(policy, "; frame-ancestors")])
		require.Contains(t, actions, source, "the browser may follow the answer to %s", uri)
		require.Equal(t, "unsafe-none", v.header.Get("Cross-Origin-Opener-Policy"), "applications open the page in a window of their own")
		consent := v.form("/oauth2/consent")
		consent.Set("answer", "allow")
		require.Equal(t, state, b.post("/oauth2/consent", consent).answer(uri).Get("state"))
	}
}

func TestWhatTheApplicationIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t, func(r *oauth.CommercialRequest) { r.Scopes = []string{"socket:read", "socket:operate"} })
	publicly := s.commercial(t, public)
	naming := s.commercial(t, func(r *oauth.CommercialRequest) { r.RequireScope = true })
	strict := s.commercial(t, func(r *oauth.CommercialRequest) { r.RequirePKCE = true })
	bare := func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") }
	tests := map[string]struct {
		app               application
		change            tampered
		code, description string
		state             string
	}{
		"response_type missing":     {a, with("response_type"), "invalid_request", "Invalid or missing response type", state},
		"response_type of tokens":   {a, with("response_type", "token"), "invalid_request", "Invalid or missing response type", state},
		"response_type repeated":    {a, with("response_type", "code", "code"), "invalid_request", "The response_type parameter is given more than once or is not text", state},
		"state missing":             {a, func(v url.Values) { bare(v); v.Del("state") }, "invalid_request", "The state parameter is required", ""},
		"state repeated":            {a, with("state", "a", "b"), "invalid_request", "The state parameter is given more than once or is not text", ""},
		"state and scope repeated":  {a, func(v url.Values) { v["state"], v["scope"] = []string{"a", "b"}, []string{"a", "b"} }, "invalid_request", "The state parameter is given more than once or is not text", ""},
		"state oversized":           {a, with("state", strings.Repeat("x", 4097)), "invalid_request", "The state parameter is longer than 4096 bytes", ""},
		"scope unknown":             {a, with("scope", "socket:read gate:open"), "invalid_scope", "An unsupported scope was requested", state},
		"scope not registered":      {a, with("scope", "security:disarm"), "invalid_scope", "An unsupported scope was requested", state},
		"scope malformed":           {a, with("scope", "socket:read  socket:operate"), "invalid_scope", "An unsupported scope was requested", state},
		"scope not text":            {a, with("scope", "socket:read\x00"), "invalid_request", "The scope parameter is given more than once or is not text", state},
		"scope oversized":           {a, with("scope", strings.Repeat("socket:read ", 400)+"socket:read"), "invalid_scope", "An unsupported scope was requested", state},
		"scope missing":             {naming, with("scope"), "invalid_client", "This application requires you specify a scope parameter", state},
		"challenge missing":         {publicly, bare, "invalid_request", "This application must send a code_challenge", state},
		"challenge missing, strict": {strict, bare, "invalid_request", "This application must send a code_challenge", state},
		"challenge in the clear":    {a, with("code_challenge_method", "plain"), "invalid_request", "The code_challenge_method must be S256", state},
		"challenge without method":  {a, with("code_challenge_method"), "invalid_request", "The code_challenge_method must be S256", state},
		"method without challenge":  {a, with("code_challenge"), "invalid_request", "The code_challenge parameter is missing", state},
		"challenge malformed":       {a, with("code_challenge", "short"), "invalid_request", "The code_challenge is not a SHA-256 in base64url", state},
		"challenge repeated":        {a, with("code_challenge", challenge, challenge), "invalid_request", "The code_challenge parameter is given more than once or is not text", state},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for who, b := range map[string]*browser{"signed in": s.aliceAtHome(t), "signed out": s.browser(t)} {
				request := test.app.authorizing()
				test.change(request)
				want := url.Values{"error": {test.code}, "error_description": {test.description}, "iss": {issuer}, "from": {"foxbridge"}}
				if test.state != "" {
					want.Set("state", test.state)
				}
				require.Equal(t, want, b.get(authorizePath(request)).answer(redirectURI), who)
			}
		})
	}
}

func TestWhatIsNotOursIsIgnored(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	request := a.authorizing()
	maps.Copy(request, url.Values{"nonce": {"a", "b"}, "prompt": {"consent"}, "State": {"x"}})
	b := s.aliceAtHome(t)
	path := authorizePath(request) + "&&=&%zz=1&scope=&state="
	require.Equal(t, "Give App access to your home?", b.get(path).heading())
}

func TestConsentsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"}, oauthhttp.Site{ID: 3, Label: "Cottage"})
	a := s.commercial(t, func(r *oauth.CommercialRequest) { r.Scopes = []string{"socket:read", "socket:operate"} })
	malformed := "The consent is malformed"
	tests := map[string]struct {
		change  tampered
		headers []string
		status  int
		text    string
	}{
		"without the form token":              {with("form_token"), nil, 403, "Nothing was changed"},
		"with an empty form token":            {with("form_token", ""), nil, 403, "Nothing was changed"},
		"with the form token of another form": {func(v url.Values) { v["form_token"] = v["other_token"] }, nil, 403, "Nothing was changed"},
		"from another site's page":            {with("none"), []string{"Sec-Fetch-Site", "cross-site"}, 403, "sent from another website"},
		"from another origin":                 {with("none"), []string{"Origin", "https://evil.example"}, 403, "sent from another website"},
		"without a ticket":                    {with("ticket"), nil, 400, malformed},
		"with a ticket of another form":       {with("ticket", "zz"), nil, 400, malformed},
		"without an answer":                   {with("answer"), nil, 400, malformed},
		"with another answer":                 {with("answer", "maybe"), nil, 400, malformed},
		"with two answers":                    {with("answer", "allow", "deny"), nil, 400, "more than once"},
		"with more than was asked for":        {with("scope", "socket:read", "security:disarm"), nil, 400, "An unsupported scope was requested"},
		"with nothing ticked":                 {with("scope"), nil, 422, "Tick at least one thing"},
		"with no home ticked":                 {with("site"), nil, 422, "Tick at least one home"},
		"with somebody else's home":           {with("site", "7", "8"), nil, 400, "a site that is not the user's"},
		"with a home that is no number":       {with("site", "7", "7.0"), nil, 400, "a site that is not the user's"},
		"without the request":                 {with("request"), nil, 400, "No client id supplied"},
		"with another redirect_uri": {func(v url.Values) {
			v.Set("request", strings.Replace(v.Get("request"), "app.example", "evil.example", 1))
		}, nil, 400, "not registered"},
		"oversized": {with("request", strings.Repeat("x", 65<<10)), nil, 413, "too large"},
		"as JSON":   {with("none"), []string{"Content-Type", "application/json"}, 415, "format"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := s.aliceAtHome(t)
			v := b.get(authorizePath(a.authorizing()))
			consent := v.form("/oauth2/consent")
			consent.Set("answer", "allow")
			consent.Set("other_token", v.form("/signout").Get("form_token"))
			test.change(consent)
			refused := b.post("/oauth2/consent", consent, test.headers...)
			require.Equal(t, test.status, refused.status, refused.text())
			require.Empty(t, refused.header.Get("Location"))
			require.Contains(t, refused.text(), test.text)
		})
	}
}

func TestAConsentFromAnotherSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	alice := s.aliceAtHome(t)
	consent := alice.asked(a)
	consent.Set("answer", "allow")
	for name, other := range map[string]*browser{
		"of somebody else": s.bobAtHome(t), "of the same person": s.aliceAtHome(t), "of nobody": s.browser(t),
	} {
		v := other.post("/oauth2/consent", consent)
		require.Equal(t, http.StatusForbidden, v.status, name)
		require.Contains(t, v.text(), "Nothing was changed", name)
	}
	require.NotEmpty(t, alice.post("/oauth2/consent", consent).answer(redirectURI).Get("code"), "it still works in its own")
}

func TestAConsentGivenTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	consent := b.asked(a)
	consent.Set("answer", "allow")
	answer := b.post("/oauth2/consent", consent).answer(redirectURI)
	again := b.post("/oauth2/consent", consent)
	require.Equal(t, http.StatusBadRequest, again.status)
	require.Equal(t, "You have answered already", again.heading())
	s.redeem(t, a, answer) // the first one stands
	require.Equal(t, http.StatusBadRequest, b.post("/oauth2/consent", consent).status, "also once the code is spent")
}

func TestPagesOfConsentHaveTicketsOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	first, second := b.asked(a), b.asked(a)
	require.NotEqual(t, first.Get("ticket"), second.Get("ticket"))
	require.NotEqual(t, first.Get("form_token"), second.Get("form_token"))
}

func TestASessionThatEndsWhileThePageIsOpen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	consent := b.asked(a)
	consent.Set("answer", "allow")
	s.Advance(15 * 24 * time.Hour)
	to := b.post("/oauth2/consent", consent).location()
	signIn := b.get(to).form("/signin")
	signIn.Set("username", email)
	signIn.Set("password", password)
	consent = b.get(b.post("/signin", signIn).location()).form("/oauth2/consent")
	consent.Set("answer", "allow")
	require.Equal(t, state, b.post("/oauth2/consent", consent).answer(redirectURI).Get("state"))
}

func TestAnApplicationThatIsNoMoreWhileThePageIsOpen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	consent := b.asked(a)
	consent.Set("answer", "allow")
	consent.Set("request", strings.Replace(consent.Get("request"), "response_type=code", "response_type=none", 1))
	require.Equal(t, "invalid_request", b.post("/oauth2/consent", consent).answer(redirectURI).Get("error"), "the request is checked again")
}

func TestARequestByForm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.browser(t)
	// The form is on the application's own page.
	crossSite := []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.example"}
	to := b.post("/oauth2/authorize", a.authorizing(), crossSite...).location()
	back, err := url.Parse(to)
	require.NoError(t, err)
	returned, err := url.Parse(back.Query().Get("return"))
	require.NoError(t, err)
	require.Equal(t, a.authorizing(), returned.Query())

	b = s.aliceAtHome(t)
	v := b.post("/oauth2/authorize", a.authorizing(), crossSite...)
	require.Equal(t, "Give App access to your home?", v.heading())
	require.Equal(t, authorizePath(a.authorizing()), v.form("/language").Get("return"), "the switch of languages leads back to the request")
	consent := v.form("/oauth2/consent")
	consent.Set("answer", "allow")
	require.NotEmpty(t, b.post("/oauth2/consent", consent).answer(redirectURI).Get("code"))

	v = b.post(authorizePath(url.Values{"state": {"x"}}), a.authorizing())
	require.Equal(t, "The state parameter is given more than once or is not text", v.answer(redirectURI).Get("error_description"), "the query counts as well")
	v = b.do(http.MethodPost, "/oauth2/authorize", `{"client_id":"`+a.ID+`"}`, "Content-Type", "application/json")
	require.Equal(t, http.StatusBadRequest, v.status)
	v = b.post("/oauth2/authorize", url.Values{"state": {strings.Repeat("x", 65<<10)}})
	require.Equal(t, http.StatusRequestEntityTooLarge, v.status)
}

func TestThePageOfConsentSaysWhoAsksForWhat(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t, func(r *oauth.CommercialRequest) {
		r.Name, r.Description = `<b>"Shutters"</b>`, "Opens them at sunrise.\nCloses them at <i>sunset</i>."
		r.HomePage, r.Scopes = "https://shutters.example/?a=b&c", []string{"shutter:operate", "shutter:read", "security:disarm"}
	})
	b := s.aliceAtHome(t)
	request := a.authorizing()
	request.Set("scope", "security:disarm shutter:operate shutter:read")
	v := b.get(authorizePath(request))
	require.Equal(t, `Give <b>"Shutters"</b> access to your home?`, v.heading())
	require.Contains(t, v.text(), "Opens them at sunrise. Closes them at <i>sunset</i>.")
	require.Contains(t, v.text(), "You will go back to app.example.")
	require.Contains(t, v.text(), "You are signed in as "+email)
	require.Len(t, v.all("a", "href", "https://shutters.example/?a=b&c"), 1)
	require.Equal(t, map[string]string{
		"security:disarm": "Switch the alarm off", "shutter:operate": "Open and close shutters", "shutter:read": "See your shutters",
	}, v.offered("scope"))
	require.Contains(t, v.text(), "Your home is then unprotected.")
	require.Empty(t, v.all("nav", "", ""), "nothing leads away by accident")

	b.lang = "fr"
	v = b.get(authorizePath(request))
	require.Equal(t, `Donner à <b>"Shutters"</b> l’accès à votre logement ?`, v.heading())
	require.Equal(t, "Ouvrir et fermer les volets", v.offered("scope")["shutter:operate"])
	require.Equal(t, "fr", v.header.Get("Content-Language"))
}

// gated is a Store whose commercial applications may also ask for a scope that nobody
// has put in words.
type gated struct{ oauth.Store }

func (g gated) Client(ctx context.Context, id string) (oauth.Client, error) {
	c, err := g.Store.Client(ctx, id)
	if c.Kind == oauth.Commercial {
		c.Scope = oauth.NewScope(append(c.Scope, "gate:open")...)
	}
	return c, err
}

func TestAScopeWithoutWordsIsShownAsItIs(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, newServer(t, func(store oauth.Store) oauth.Store { return gated{store} }), func(*oauthhttp.PagesOptions) {})
	a := s.commercial(t, func(r *oauth.CommercialRequest) { r.Scopes = []string{"socket:read"} })
	v := s.aliceAtHome(t).get(authorizePath(a.authorizing()))
	require.Equal(t, map[string]string{"socket:read": "See your sockets", "gate:open": "gate:open"}, v.offered("scope"))
}

func TestAnotherAccountCanAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	leave := b.get(authorizePath(a.authorizing())).form("/signout")
	signIn := b.get(b.post("/signout", leave).location()).form("/signin")
	signIn.Set("username", bobEmail)
	signIn.Set("password", bobPassword)
	consent := b.get(b.post("/signin", signIn).location()).form("/oauth2/consent")
	consent.Set("answer", "allow")
	require.Equal(t, s.bob.ID, s.redeem(t, a, b.post("/oauth2/consent", consent).answer(redirectURI)).UserID)
}

func TestPagesLogNeitherStateNorCode(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	s.log.Lines()
	consent := b.asked(a)
	consent.Set("answer", "allow")
	answer := b.post("/oauth2/consent", consent).answer(redirectURI)
	lines := strings.Join(s.log.Lines(), "\n")
	require.Contains(t, lines, `"msg":"consent given"`)
	require.Contains(t, lines, a.ID)
	for _, secret := range []string{state, answer.Get("code"), consent.Get("ticket"), consent.Get("form_token"), b.cookie("foxbridge-session")} {
		require.NotEmpty(t, secret)
		require.NotContains(t, lines, secret)
	}
}
