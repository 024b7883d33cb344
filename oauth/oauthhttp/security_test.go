package oauthhttp_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

const newPassword = `a new p&ss=w+rd; 100% "é"`

// changing is the form that changes the password, filled in rightly.
func (b *browser) changing() url.Values {
	b.t.Helper()
	f := b.get("/security").form("/security/password")
	f.Set("present", password)
	f.Set("new", newPassword)
	f.Set("again", newPassword)
	return f
}

func (s *site) refusedPassword(t *testing.T, password string) answer {
	t.Helper()
	f := s.signIn()
	f.Set("password", password)
	w := s.post(form, f.Encode())
	require.Equal(t, http.StatusBadRequest, w.Code)
	return decoded(t, w)
}

func TestPasswordChange(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	alice, elsewhere, bob := s.aliceAtHome(t), s.aliceAtHome(t), s.bobAtHome(t)
	token := tokens(t, s.post(form, s.signIn().Encode())).AccessToken
	before := alice.cookie("foxbridge-session")
	require.Equal(t, "/security", alice.post("/security/password", alice.changing()).location())
	require.Contains(t, alice.get("/security").text(), "Your password is changed.")
	require.NotEqual(t, before, alice.cookie("foxbridge-session"), "this browser has a new session")
	require.False(t, elsewhere.isSignedIn())
	require.True(t, bob.isSignedIn())
	thief := s.browser(t)
	thief.setCookie("foxbridge-session", before)
	require.False(t, thief.isSignedIn())
	require.True(t, s.live(t, token), "nobody asked to end it")

	v := elsewhere.post("/signin", elsewhere.tries(email, password, ""))
	require.Equal(t, http.StatusForbidden, v.status)
	require.Equal(t, "/connected", elsewhere.post("/signin", elsewhere.tries(email, newPassword, "")).location())
	lines := strings.Join(s.log.Lines(), "\n")
	require.NotContains(t, lines, password)
	require.NotContains(t, lines, newPassword)
}

func TestPasswordChangeThatEndsWhatApplicationsMayDo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	alice := s.aliceAtHome(t)
	own := tokens(t, s.post(form, s.signIn().Encode()))
	theirs := alice.consents(t, a, []string{"socket:read"}, nil)
	pending := s.code(t, a)
	appPassword := alice.appPassword(s.client.ID, "Raspberry")
	f := alice.changing()
	f.Set("end_tokens", "yes")
	require.Equal(t, "/security", alice.post("/security/password", f).location())
	for _, token := range []string{own.AccessToken, theirs.AccessToken} {
		require.False(t, s.live(t, token))
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {s.client.ID}, "client_secret": {s.secret}, "refresh_token": {own.RefreshToken}}
	require.Equal(t, http.StatusBadRequest, s.post(form, refresh.Encode()).Code)
	require.Equal(t, http.StatusBadRequest, s.post(form, a.exchange(pending).Encode()).Code, "a code that was under way")
	require.Equal(t, "invalid_grant", s.refusedPassword(t, appPassword).Error)
	require.Empty(t, alice.get("/connected").cards())
}

func TestPasswordsThatAreNotChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, test := range map[string]struct {
		fill   map[string]string
		field  string
		status int
		says   string
	}{
		"no present one":   {map[string]string{"present": ""}, "present", 422, "Enter your present password."},
		"a wrong one":      {map[string]string{"present": bobPassword}, "present", 403, "This is not your present password."},
		"none":             {map[string]string{"new": "", "again": ""}, "new", 422, "at least 8 characters"},
		"too short":        {map[string]string{"new": "1234567", "again": "1234567"}, "new", 422, "at least 8 characters"},
		"too long":         {map[string]string{"new": strings.Repeat("x", 1025), "again": strings.Repeat("x", 1025)}, "new", 422, "at most 1,024"},
		"two that differ":  {map[string]string{"again": newPassword + "x"}, "again", 422, "not the same"},
		"the present one":  {map[string]string{"new": password, "again": password}, "new", 422, "Choose another one."},
		"one without copy": {map[string]string{"again": ""}, "again", 422, "not the same"},
	} {
		b := s.aliceAtHome(t)
		f := b.changing()
		for field, value := range test.fill {
			f.Set(field, value)
		}
		v := b.post("/security/password", f)
		require.Equal(t, test.status, v.status, name)
		require.Contains(t, v.faults(), test.says, name)
		field := v.all("input", "id", "password-"+test.field)[0]
		require.Equal(t, "true", attribute(field, "aria-invalid"), name)
		require.NotContains(t, v.body, bobPassword)
		require.True(t, b.isSignedIn(), name)
	}
	_, err := s.service.SignIn(t.Context(), email, password, s.alicesAddress())
	require.NoError(t, err)

	b := s.aliceAtHome(t)
	f := b.changing()
	f.Add("new", newPassword)
	require.Equal(t, http.StatusBadRequest, b.post("/security/password", f).status, "a field given twice")
	fields := b.get("/security").doc
	require.NotNil(t, fields)
	for id, complete := range map[string]string{"present": "current-password", "new": "new-password", "again": "new-password", "username": "username"} {
		require.Equal(t, complete, attribute(b.get("/security").all("input", "id", "password-"+id)[0], "autocomplete"))
	}
}

func TestGuessesAtThePresentPasswordCountAsSignIns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	f := b.changing()
	f.Set("present", "wrong")
	for range oauth.DefaultFailureLimit {
		require.Equal(t, http.StatusForbidden, b.post("/security/password", f, fromHeader, "192.0.2.1").status)
	}
	f.Set("present", password)
	v := b.post("/security/password", f, fromHeader, "192.0.2.1")
	require.Equal(t, http.StatusTooManyRequests, v.status)
	require.Equal(t, "900", v.header.Get("Retry-After"))
	other := s.browser(t)
	require.Equal(t, http.StatusTooManyRequests, other.post("/signin", other.tries(email, password, ""), fromHeader, "192.0.2.1").status)
}

func TestTwoPasswordChangesAtOnce(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, server *server) {
		s := newSiteOn(t, server, func(*oauthhttp.PagesOptions) {})
		browsers := []*browser{s.aliceAtHome(t), s.aliceAtHome(t)}
		forms := make([]url.Values, len(browsers))
		for i, b := range browsers {
			forms[i] = b.changing()
			for _, field := range []string{"new", "again"} {
				forms[i].Set(field, newPassword+string(rune('0'+i)))
			}
		}
		statuses := make([]int, len(browsers))
		var done sync.WaitGroup
		for i, b := range browsers {
			done.Go(func() { statuses[i] = b.post("/security/password", forms[i]).status })
		}
		done.Wait()
		var winners int
		for i, b := range browsers {
			signedIn := b.isSignedIn()
			_, err := s.service.SignIn(t.Context(), email, newPassword+string(rune('0'+i)), s.alicesAddress())
			require.Equal(t, signedIn, err == nil, "the password that holds is that of who is signed in")
			if signedIn {
				winners++
				require.Equal(t, http.StatusSeeOther, statuses[i])
			}
		}
		require.Equal(t, 1, winners)
	})
}

func TestFormsOfTheAccountNeedTheirTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	alice, bob := s.aliceAtHome(t), s.bobAtHome(t)
	s.aliceAtHome(t) // so that there is another session to end
	app := "/dev/apps/" + s.client.ID
	add := alice.get(app).form(app + "/password")
	add.Set("name", "Raspberry")
	page := alice.get("/security")
	scripts := page.form("/security/scripts")
	scripts.Set("own_password", "refuse")
	bobs := bob.get("/security").form("/security/password").Get("form_token")
	for path, right := range map[string]url.Values{
		"/security/password":            alice.changing(),
		"/security/sessions/end":        page.form("/security/sessions/end"),
		"/security/sessions/end-others": page.form("/security/sessions/end-others"),
		"/security/scripts":             scripts,
		app + "/password":               add,
	} {
		for name, token := range map[string]string{
			"missing": "", "another session's": bobs, "another form's": page.form("/signout").Get("form_token"), "made up": "a.b",
		} {
			wrong := url.Values{}
			for field, values := range right {
				wrong[field] = values
			}
			wrong.Set("form_token", token)
			v := alice.post(path, wrong)
			require.Equal(t, http.StatusForbidden, v.status, "%s: %s", path, name)
		}
		require.Equal(t, http.StatusForbidden, alice.post(path, right, "Sec-Fetch-Site", "cross-site").status, path)
		stranger := s.browser(t)
		require.Contains(t, stranger.post(path, right).location(), "/signin", path)
	}
	sessions, err := s.service.Sessions(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Len(t, sessions, 2)
	u, err := s.service.UserByEmail(t.Context(), email)
	require.NoError(t, err)
	require.False(t, u.AppPasswordsOnly)
}

func TestSessionsOfAPerson(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	phone := s.browser(t)
	const safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1"
	phone.signIn(email, password)
	phone.get("/connected", "User-Agent", safari, fromHeader, "2001:db8::7")
	s.Advance(time.Minute)
	desk, bob := s.aliceAtHome(t), s.bobAtHome(t)

	v := desk.get("/security", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", fromHeader, "192.0.2.1")
	require.Equal(t, []string{
		"Firefox, Linux This browser Signed in 1 March 2026, 12:01 UTC Last used 1 March 2026, 12:01 UTC From 192.0.2.1",
		"Safari, iPhone Signed in 1 March 2026, 12:00 UTC Last used 1 March 2026, 12:00 UTC From 2001:db8::7 Sign out Safari, iPhone (Signed in 1 March 2026, 12:00 UTC )",
	}, v.cards())
	require.NoError(t, s.service.WriteUses(t.Context()))
	require.Equal(t, 2, len(desk.get("/security").cards()))
	require.NotContains(t, bob.get("/security").text(), "iPhone")
	require.NotContains(t, bob.get("/security").text(), "Sign out everywhere else", "there is no other")

	// Bob cannot end Alice's.
	theirs := v.form("/security/sessions/end").Get("session")
	form := url.Values{"session": {theirs}, "form_token": {bobsToken(s, bob)}}
	require.Equal(t, "/security", bob.post("/security/sessions/end", form).location())
	require.True(t, phone.isSignedIn())
	for _, malformed := range []string{"", "x", theirs + "00", theirs[2:]} {
		f := v.form("/security/sessions/end")
		f.Set("session", malformed)
		require.Equal(t, http.StatusBadRequest, desk.post("/security/sessions/end", f).status, malformed)
	}

	end := v.form("/security/sessions/end")
	for _, says := range []string{"That browser is signed out.", "That browser was signed out already."} {
		require.Equal(t, "/security", desk.post("/security/sessions/end", end).location())
		require.Contains(t, desk.get("/security").text(), says)
	}
	require.False(t, phone.isSignedIn())
	require.True(t, desk.isSignedIn())

	second, third := s.aliceAtHome(t), s.aliceAtHome(t)
	require.Equal(t, "/security", desk.post("/security/sessions/end-others", desk.get("/security").form("/security/sessions/end-others")).location())
	require.False(t, second.isSignedIn())
	require.False(t, third.isSignedIn())
	require.True(t, desk.isSignedIn())
	require.True(t, bob.isSignedIn())
	text := desk.get("/security/record").text()
	require.Contains(t, text, "All other browsers were signed out.")
	require.Contains(t, text, "A browser was signed out.")
	require.Contains(t, text, "Name Go", "with what it was last used")
}

// bobsToken is a token for the form that ends a session, which Bob sees once he has two.
func bobsToken(s *site, bob *browser) string {
	s.bobAtHome(bob.t)
	return bob.get("/security").form("/security/sessions/end").Get("form_token")
}

func TestAFixedSessionIsNotKeptByAPasswordChange(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mallory := oauth.NewSecret()
	b := s.browser(t)
	b.setCookie("foxbridge-session", mallory)
	require.Contains(t, b.post("/security/password", url.Values{"new": {newPassword}}).location(), "/signin")
	b.signIn(email, password)
	require.Equal(t, "/security", b.post("/security/password", b.changing()).location())
	require.NotEqual(t, mallory, b.cookie("foxbridge-session"))
	thief := s.browser(t)
	thief.setCookie("foxbridge-session", mallory)
	require.False(t, thief.isSignedIn())
}
