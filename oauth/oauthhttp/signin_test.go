package oauthhttp_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// tries is the form of sign-in, filled in.
func (b *browser) tries(username, password, back string) url.Values {
	b.t.Helper()
	path := "/signin"
	if back != "" {
		path += "?" + url.Values{"return": {back}}.Encode()
	}
	form := b.get(path).form("/signin")
	form.Set("username", username)
	form.Set("password", password)
	return form
}

// isSignedIn tells whether a page for the person herself opens.
func (b *browser) isSignedIn() bool {
	b.t.Helper()
	return b.get("/signout").status == http.StatusOK
}

func TestSignInRefusesUnknownAndWrongAlike(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var first string
	for name, try := range map[string][2]string{
		"wrong password":    {email, "wrong"},
		"unknown account":   {"nobody@example.org", password},
		"no address":        {"nobody", password},
		"an odd address":    {`"><script>@x`, password},
		"password of Bob's": {email, bobPassword},
	} {
		b := s.browser(t)
		v := b.post("/signin", b.tries(try[0], try[1], "/connected"))
		require.Equal(t, http.StatusForbidden, v.status, name)
		require.False(t, b.isSignedIn(), name)
		if first == "" {
			first = v.faults()
			require.Equal(t, "This e-mail address and this password do not go together. Check both and try again.", first)
		}
		require.Equal(t, first, v.faults(), name)
		require.Empty(t, v.header.Get("Retry-After"))
		again := v.formAt("/signin")
		require.Equal(t, try[0], again.Get("username"), "the name need not be typed again")
		require.Equal(t, "/connected", again.Get("return"))
		require.NotContains(t, v.body, try[1])
	}
}

func TestSignInAsksForWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := newSite(t).browser(t)
	v := b.post("/signin", b.tries("", "", ""))
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.Contains(t, v.faults(), "Enter your e-mail address.")
	require.Contains(t, v.faults(), "Enter your password.")
	for _, name := range []string{"username", "password"} {
		field := v.all("input", "name", name)[0]
		require.Equal(t, "true", attribute(field, "aria-invalid"))
		require.Equal(t, "f-"+name+"-error", attribute(field, "aria-describedby"))
	}
}

func TestSignInAfterTooManyFailures(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, account := range map[string]string{"an account": email, "no account": "nobody@example.org"} {
		b := s.browser(t)
		form := b.tries(account, "wrong", "")
		for range oauth.DefaultFailureLimit {
			require.Equal(t, http.StatusForbidden, b.post("/signin", form, fromHeader, "192.0.2.1").status, name)
		}
		form.Set("password", password)
		v := b.post("/signin", form, fromHeader, "192.0.2.1")
		require.Equal(t, http.StatusTooManyRequests, v.status, name)
		require.Equal(t, strconv.Itoa(int(oauth.DefaultFailureWindow/time.Second)), v.header.Get("Retry-After"), name)
		require.Equal(t, "There have been too many attempts for this e-mail address. Wait 15 minutes, then try again.", v.faults(), name)
		require.False(t, b.isSignedIn())
	}
	b := s.browser(t)
	require.Equal(t, "/connected", b.post("/signin", b.tries(email, password, ""), fromHeader, "192.0.2.2").location(), "from elsewhere it works")
}

func TestSignInWhenEverybodyDoes(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 2)
	s := newSiteOn(t, newServer(t, func(store oauth.Store) oauth.Store { return stuck{store, entered} }), func(*oauthhttp.PagesOptions) {})
	b := s.browser(t)
	form := b.tries(email, password, "")
	done := make(chan struct{})
	for i := range 2 + 64 { // the workers and the queue
		go func() {
			defer func() { done <- struct{}{} }()
			_, err := s.service.SignIn(t.Context(), email, password, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
			_ = err // that the test is over
		}()
	}
	<-entered
	<-entered
	require.Eventually(t, func() bool { return s.passwords.Stats().Waiting == 64 }, 10*time.Second, time.Millisecond)
	v := b.post("/signin", form)
	require.Equal(t, http.StatusServiceUnavailable, v.status)
	require.NotEmpty(t, v.header.Get("Retry-After"))
	require.Equal(t, "Many people are signing in right now. Wait a few seconds, then try again.", v.faults())
	t.Cleanup(func() {
		for range 2 + 64 {
			<-done
		}
	})
}

func TestASessionFixedBeforeSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mallory := oauth.NewSecret()
	b := s.browser(t)
	b.setCookie("foxbridge-session", mallory)
	require.False(t, b.isSignedIn())
	require.Equal(t, "/connected", b.post("/signin", b.tries(email, password, "")).location())
	require.NotEqual(t, mallory, b.cookie("foxbridge-session"), "the session is a new one")
	require.True(t, b.isSignedIn())

	other := s.browser(t)
	other.setCookie("foxbridge-session", mallory)
	require.False(t, other.isSignedIn(), "the one that was known before stands for nobody")

	// A live session of the attacker's own does not become Alice's.
	bob := s.bobAtHome(t)
	b = s.browser(t)
	form := b.tries(email, password, "")
	b.setCookie("foxbridge-session", bob.cookie("foxbridge-session"))
	require.Equal(t, "/connected", b.post("/signin", form).location())
	require.Equal(t, bob.cookie("foxbridge-session"), b.cookie("foxbridge-session"))
	require.Contains(t, textOf(b.get("/signout").all("header", "", "")[0]), "Bob", "who is signed in goes on as who that is")
}

func TestEachSignInHasASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.aliceAtHome(t), s.aliceAtHome(t)
	require.NotEqual(t, first.cookie("foxbridge-session"), second.cookie("foxbridge-session"))
	require.Len(t, first.cookie("foxbridge-session"), 64)
	require.Empty(t, first.cookie("foxbridge-visit"), "what stood in for it before is gone")

	v := first.get("/signout")
	require.Equal(t, "/signin", first.post("/signout", v.form("/signout")).location())
	require.False(t, first.isSignedIn())
	require.True(t, second.isSignedIn(), "the other one lasts")
}

func TestSignOutEndsTheSessionItself(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	secret := b.cookie("foxbridge-session")
	form := b.get("/signout").form("/signout")
	for name, v := range map[string]*view{
		"without the form token":   b.post("/signout", url.Values{}),
		"from another site's page": b.post("/signout", form, "Sec-Fetch-Site", "cross-site"),
		"from another session":     b.post("/signout", s.bobAtHome(t).get("/signout").form("/signout")),
	} {
		require.Equal(t, http.StatusForbidden, v.status, name)
	}
	require.True(t, b.isSignedIn())
	require.Equal(t, "/signin", b.post("/signout", form).location())
	require.Empty(t, b.cookie("foxbridge-session"))
	require.Contains(t, b.get("/signin").text(), "You are signed out.")
	b.setCookie("foxbridge-session", secret)
	require.False(t, b.isSignedIn(), "also for who has kept the cookie")
}

func TestASessionEndsByItself(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	s.Advance(oauth.SessionLifetime - time.Second)
	require.True(t, b.isSignedIn())
	s.Advance(time.Second)
	require.False(t, b.isSignedIn())
}

func TestSignInLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	in := s.aliceAtHome(t)
	for _, back := range []string{
		"https://evil.example/", "//evil.example/", `/\evil.example`, `\\evil.example`, "javascript:alert(1)", "evil.example",
		"/\t/evil.example", "/%2e%2e//evil.example/..", "/a/../..//evil.example", "http:/evil.example", "/a\r\nLocation: https://evil.example",
		"https:evil.example", " /connected", "/connected#x", "/é",
	} {
		require.Equal(t, "/connected", in.get("/signin?"+url.Values{"return": {back}}.Encode()).location(), back)
		out := s.browser(t)
		require.Equal(t, "/connected", out.post("/signin", out.tries(email, password, back)).location(), back)
	}
	for _, back := range []string{"/dev/apps", "/oauth2/authorize?state=%0D%0A", "/connected?a=b"} {
		require.Equal(t, back, in.get("/signin?"+url.Values{"return": {back}}.Encode()).location(), "who is signed in already goes on")
		out := s.browser(t)
		require.Equal(t, back, out.post("/signin", out.tries(email, password, back)).location())
	}
}

func TestSignInFormsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	right := b.tries(email, password, "")
	tests := map[string]struct {
		change  tampered
		headers []string
		status  int
	}{
		"without the form token":   {with("form_token"), nil, 403},
		"from another site's page": {with("none"), []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"with two names":           {with("username", email, email), nil, 400},
		"with NUL":                 {with("username", email+"\x00"), nil, 400},
		"not UTF-8":                {with("password", password+"\xff"), nil, 400},
		"oversized":                {with("password", strings.Repeat("x", 65<<10)), nil, 413},
	}
	for name, test := range tests {
		form := make(url.Values)
		for k, v := range right {
			form[k] = v
		}
		test.change(form)
		v := b.post("/signin", form, test.headers...)
		require.Equal(t, test.status, v.status, name)
		require.False(t, b.isSignedIn(), name)
	}
	other := s.browser(t)
	require.Equal(t, http.StatusForbidden, other.post("/signin", right).status, "of another browser")
	require.Equal(t, "/connected", b.post("/signin", right).location())
}

func TestCookiesOfASiteOverHTTPS(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, newServer(t, nil), func(o *oauthhttp.PagesOptions) { o.Secure = true })
	b := s.browser(t)
	b.client.Jar = nil // cookies are carried by hand: the test has no HTTPS
	page := b.get("/signin")
	visit, err := http.ParseSetCookie(page.header.Get("Set-Cookie"))
	require.NoError(t, err)
	form := page.form("/signin")
	form.Set("username", email)
	form.Set("password", password)
	v := b.post("/signin", form, "Cookie", visit.Name+"="+visit.Value)
	require.Equal(t, "/connected", v.location())
	var session *http.Cookie
	for _, line := range v.header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(c.Name, "__Host-foxbridge-"), c.Name)
		require.True(t, c.Secure && c.HttpOnly && c.Path == "/" && c.Domain == "" && c.SameSite == http.SameSiteLaxMode, line)
		if c.Name == "__Host-foxbridge-session" {
			session = c
		}
	}
	require.NotNil(t, session)
	require.Equal(t, int(oauth.SessionLifetime/time.Second), session.MaxAge)
	require.Equal(t, http.StatusOK, b.get("/signout", "Cookie", session.Name+"="+session.Value).status)
	require.Equal(t, "/signin", b.get("/signout", "Cookie", "foxbridge-session="+session.Value).location(), "under the other name it is none")
}

// Who comes from an application is told its name before the password is asked for, and at
// the second step too; of a request with a fault no name is made up.
func TestASignInNamesTheApplicationThatAsks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t, func(r *oauth.CommercialRequest) { r.Name = "Gate <b>keeper</b>" })
	_, _ = s.aliceAtHome(t).setUp()
	asks := authorizePath(a.authorizing())
	for lang, named := range map[string]string{
		"en": "“Gate <b>keeper</b>” asks for access to your home.", "fr": "« Gate <b>keeper</b> » demande l’accès à votre logement.",
	} {
		b := s.browser(t)
		b.lang = lang
		v := b.get(b.get(asks).location())
		require.Contains(t, v.text(), named)
		form := v.form("/signin")
		form.Set("username", email)
		form.Set("password", "wrong")
		require.Contains(t, b.post("/signin", form).text(), named, "still")
		form.Set("password", password)
		v = b.get(b.post("/signin", form).location())
		require.Len(t, v.all("input", "name", "code"), 2, "the second step")
		require.Contains(t, v.text(), named)
	}
	b := s.browser(t)
	other := a.authorizing()
	other.Set("redirect_uri", "https://evil.example/")
	for _, faulty := range []string{"/oauth2/authorize?client_id=" + a.ID, authorizePath(other), "/oauth2/authorize?client_id=unknown", "/oauth2/authorize?%zz"} {
		v := b.get("/signin?" + url.Values{"return": {faulty}}.Encode())
		require.Equal(t, http.StatusOK, v.status, faulty)
		require.NotContains(t, v.text(), "Gate", faulty)
	}
	require.NotContains(t, b.get("/signin").text(), "asks for access")
}
