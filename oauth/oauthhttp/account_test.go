package oauthhttp_test

import (
	"fmt"
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

// alicesAddress is another at each call, so that no failures count.
func (s *site) alicesAddress() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses++
	return netip.AddrFrom4([4]byte{198, 51, 100, s.addresses})
}

// appPassword makes an app password on an application's page.
func (b *browser) appPassword(clientID, name string) string {
	b.t.Helper()
	path := "/dev/apps/" + clientID
	f := b.get(path).form(path + "/password")
	f.Set("name", name)
	f.Set("password", password)
	return b.post(path+"/password", f).copied("app-password")
}

func TestAppPasswords(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, server *server) {
		s := newSiteOn(t, server, func(*oauthhttp.PagesOptions) {})
		b := s.aliceAtHome(t)
		path := "/dev/apps/" + s.client.ID
		f := b.get(path).form(path + "/password")
		f.Set("name", " Raspberry ")
		f.Set("password", password)
		v := b.post(path+"/password", f)
		made := v.copied("app-password")
		require.Regexp(t, `^([a-z2-7]{4}-){7}[a-z2-7]{4}$`, made)
		require.Equal(t, "curl -u "+s.client.ID+":YOUR_CLIENT_SECRET "+issuer+"/oauth2/token -d grant_type=password --data-urlencode 'username="+email+"' -d password="+made, v.copied("curl"))
		require.NotContains(t, b.get(path).body, made, "it is shown once")
		require.Contains(t, b.get(path).text(), "Raspberry Created 1 March 2026, 12:00 UTC Last used never")

		s.Advance(time.Minute)
		for _, written := range []string{made, strings.ToUpper(made), strings.ReplaceAll(made, "-", ""), strings.ReplaceAll(made, "-", " ")} {
			f := s.signIn()
			f.Set("password", written)
			tokens(t, s.post(form, f.Encode()))
		}
		require.Contains(t, b.get(path).text(), "Last used 1 March 2026, 12:01 UTC")
		tokens(t, s.post(form, s.signIn().Encode())) // the account's own works too

		remove := b.get(path).form(path + "/password/remove")
		for _, says := range []string{"The app password is removed.", "This app password was removed already."} {
			require.Equal(t, path, b.post(path+"/password/remove", remove).location())
			require.Contains(t, b.get(path).text(), says)
		}
		require.Equal(t, "invalid_grant", s.refusedPassword(t, made).Error)
		lines := strings.Join(s.log.Lines(), "\n")
		require.NotContains(t, lines, made)
	})
}

// addingSecret is the form that adds a secret to an application.
func (b *browser) addingSecret(path, password string) url.Values {
	b.t.Helper()
	f := b.get(path).form(path + "/secret")
	f.Set("password", password)
	return f
}

// Each form that makes a secret wants the password, says so at its field, and shows it
// to nobody.
func TestSecretsAreMadeWithThePasswordAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	path := "/dev/apps/" + s.client.ID
	appPassword, secret := b.get(path).form(path+"/password"), b.get(path).form(path+"/secret")
	appPassword.Set("name", "Raspberry")
	for at, form := range map[string]url.Values{path + "/password": appPassword, path + "/secret": secret} {
		for given, c := range map[string]struct {
			status int
			says   string
		}{
			"":               {http.StatusUnprocessableEntity, "Enter your password."},
			"wrong password": {http.StatusForbidden, "This is not your password. Try again."},
		} {
			form.Set("password", given)
			v := b.post(at, form)
			require.Equal(t, c.status, v.status, at)
			require.Equal(t, s.client.Name, v.heading())
			require.Contains(t, v.faults(), c.says, at)
			require.Empty(t, v.all("code", "id", "app-password"))
			require.NotContains(t, v.body, "wrong password")
		}
	}
	appPassword.Set("password", "wrong password")
	for range oauth.DefaultFailureLimit - 2 { // two were wrong
		require.Equal(t, http.StatusForbidden, b.post(path+"/password", appPassword).status)
	}
	secret.Set("password", password)
	v := b.post(path+"/secret", secret)
	require.Equal(t, http.StatusTooManyRequests, v.status)
	require.Equal(t, "900", v.header.Get("Retry-After"))
	require.Contains(t, v.faults(), "Wait 15 minutes")
	client, err := s.service.Application(t.Context(), s.alice.ID, s.client.ID)
	require.NoError(t, err)
	require.Len(t, client.Secrets, 1)
}

func TestAppPasswordsThatAreNotMade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	path := "/dev/apps/" + s.client.ID
	f := b.get(path).form(path + "/password")
	f.Set("password", password)
	for name, says := range map[string]string{"": "at most 100 characters", strings.Repeat("x", 101): "at most 100 characters", "a\nb": "at most 100 characters", "a\u200db": "none of them invisible"} {
		f.Set("name", name)
		v := b.post(path+"/password", f)
		require.Equal(t, http.StatusUnprocessableEntity, v.status)
		require.Contains(t, v.faults(), says)
	}
	f.Set("name", "Raspberry")
	b.post(path+"/password", f).copied("app-password")
	v := b.post(path+"/password", f)
	require.Equal(t, http.StatusConflict, v.status, "the form is sent twice")
	require.Contains(t, v.faults(), "There is an app password of this name already.")
	for i := range oauth.AppPasswordsMax - 1 {
		f.Set("name", fmt.Sprint("Script ", i))
		b.post(path+"/password", f).copied("app-password")
	}
	f.Set("name", "One too many")
	v = b.post(path+"/password", f)
	require.Equal(t, http.StatusConflict, v.status)
	require.Contains(t, v.faults(), "20 app passwords already")
	require.Empty(t, v.all("form", "action", path+"/password"), "there is no place left")

	// A commercial application has none, and somebody else's is not there.
	commercial := s.commercial(t)
	require.Empty(t, b.get("/dev/apps/"+commercial.ID).all("section", "id", "app-passwords"))
	require.Equal(t, http.StatusNotFound, b.post("/dev/apps/"+commercial.ID+"/password", f).status)
	bob := s.bobAtHome(t)
	own := bob.create("Bob's").copied("client-id")
	bobs := bob.get("/dev/apps/" + own).form("/dev/apps/" + own + "/password")
	bobs.Set("name", "Mine")
	bobs.Set("password", bobPassword)
	require.Equal(t, http.StatusNotFound, bob.post(path+"/password", bobs).status)
	bob.post("/dev/apps/"+own+"/password", bobs).copied("app-password")
	passwords, err := s.service.AppPasswords(t.Context(), s.alice.ID, s.client.ID)
	require.NoError(t, err)
	remove := bob.get("/dev/apps/" + own).form("/dev/apps/" + own + "/password/remove")
	remove.Set("app_password", strconv.FormatInt(passwords[0].ID, 10))
	require.Equal(t, http.StatusNotFound, bob.post(path+"/password/remove", remove).status)
	bob.post("/dev/apps/"+own+"/password/remove", remove)
	after, err := s.service.AppPasswords(t.Context(), s.alice.ID, s.client.ID)
	require.NoError(t, err)
	require.Equal(t, passwords, after)
	for _, malformed := range []string{"", "x", "9999999999999999999"} {
		remove.Set("app_password", malformed)
		require.Equal(t, http.StatusBadRequest, bob.post("/dev/apps/"+own+"/password/remove", remove).status)
	}
}

func TestAccountsThatRefuseTheirOwnPasswordToScripts(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, server *server) {
		s := newSiteOn(t, server, func(*oauthhttp.PagesOptions) {})
		b := s.aliceAtHome(t)
		made := b.appPassword(s.client.ID, "Raspberry")
		f := b.get("/security").form("/security/scripts")
		f.Set("own_password", "refuse")
		for range 2 { // twice is as good
			require.Equal(t, "/security", b.post("/security/scripts", f).location())
		}
		require.Contains(t, b.get("/security").text(), "Only app passwords work.")

		s.seen.Seen()
		right, wrong := s.refusedPassword(t, password), s.refusedPassword(t, "wrong password")
		require.Equal(t, wrong, right, "nobody learns by it that the password is right")
		require.Equal(t, []string{"account's own password not taken", "sign-in failed"}, s.seen.Seen())
		g := s.signIn()
		g.Set("password", made)
		tokens(t, s.post(form, g.Encode()))

		// On the page the person is signed in, and uses the account's own.
		path := "/dev/apps/" + s.client.ID
		get := b.get(path).form(path + "/token")
		get.Set("password", password)
		b.post(path+"/token", get).copied("access-token")
		get.Set("password", made)
		require.Equal(t, http.StatusForbidden, b.post(path+"/token", get).status)
		v := b.create("Another")
		require.Contains(t, v.text(), "Make an app password")

		for _, malformed := range []string{"", "yes"} {
			f.Set("own_password", malformed)
			require.Equal(t, http.StatusBadRequest, b.post("/security/scripts", f).status)
		}
		f = b.get("/security").form("/security/scripts")
		f.Set("own_password", "take")
		for given, status := range map[string]int{"": http.StatusUnprocessableEntity, "wrong": http.StatusForbidden} {
			f.Set("password", given)
			require.Equal(t, status, b.post("/security/scripts", f).status)
		}
		require.Equal(t, "invalid_grant", s.refusedPassword(t, password).Error)
		f.Set("password", password)
		require.Equal(t, "/security", b.post("/security/scripts", f).location())
		tokens(t, s.post(form, s.signIn().Encode()))
		text := b.get("/security/record").text()
		require.Equal(t, 1, strings.Count(text, "was refused to scripts"))
		require.Equal(t, 1, strings.Count(text, "was allowed to scripts again"))
	})
}

func signsUp(o *oauthhttp.PagesOptions) { o.SignUp = true }

// signingUp is the form of sign-up, filled in rightly.
func (b *browser) signingUp() url.Values {
	b.t.Helper()
	f := b.get("/signup?return=%2Fdev%2Fapps").form("/signup")
	f.Set("name", "Carol")
	f.Set("username", "Carol@example.org")
	f.Set("password", newPassword)
	f.Set("again", newPassword)
	return f
}

func TestSignUp(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, newServer(t, nil), signsUp)
	b := s.browser(t)
	require.Equal(t, "/signup", attribute(b.get("/signin").all("a", "href", "/signup")[0], "href"))
	mallory := oauth.NewSecret()
	b.setCookie("foxbridge-session", mallory)
	f := b.signingUp()
	require.Equal(t, "/dev/apps", b.post("/signup", f).location())
	require.True(t, b.isSignedIn())
	require.NotEqual(t, mallory, b.cookie("foxbridge-session"), "a session that was fixed before is not taken over")
	require.Contains(t, b.get("/dev/apps").body, "Carol")
	require.Equal(t, "/dev/apps", b.post("/signup", f).location(), "sent twice, it makes one account")
	require.Equal(t, "/connected", b.get("/signup").location())
	other := s.browser(t)
	require.Equal(t, "/connected", other.post("/signin", other.tries("carol@example.org", newPassword, "")).location())
	require.Contains(t, b.get("/security/record").text(), "You created your account.")
	require.NotContains(t, strings.Join(s.log.Lines(), "\n"), newPassword)
}

func TestSignUpIsNotThereUnlessItIsSwitchedOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	require.Equal(t, http.StatusNotFound, b.get("/signup").status)
	require.Equal(t, http.StatusNotFound, b.post("/signup", url.Values{"username": {"carol@example.org"}}).status)
	require.NotContains(t, b.get("/signin").body, "/signup")
}

func TestSignUpsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, newServer(t, nil), signsUp)
	for name, test := range map[string]struct {
		field, value string
		status       int
		says         string
	}{
		"no name":               {"name", " ", 422, "Enter a name"},
		"a name of two lines":   {"name", "a\nb", 422, "Enter a name"},
		"no address":            {"username", "carol", 422, "Enter an e-mail address"},
		"an address that looks": {"username", "аlice@example.org", 422, "without accents or letters of other scripts"}, // а is Cyrillic
		"a name read backwards": {"name", "\u202eecilA", 422, "none of them invisible"},
		"an address in use":     {"username", " ALICE@example.org", 409, "There is an account with this e-mail address already."},
		"two that differ":       {"again", newPassword + "x", 422, "not the same"},
		"no token of the form":  {"form_token", "", 403, ""},
		"the token of sign-in":  {"form_token", "signin", 403, ""},
		"the token of somebody": {"form_token", "other", 403, ""},
	} {
		b := s.browser(t)
		f := b.signingUp()
		f.Set(test.field, test.value)
		if test.value == "signin" {
			f.Set("form_token", b.get("/signin").form("/signin").Get("form_token"))
		}
		if test.value == "other" {
			f.Set("form_token", s.browser(t).signingUp().Get("form_token"))
		}
		v := b.post("/signup", f)
		require.Equal(t, test.status, v.status, name)
		require.Contains(t, v.faults(), test.says, name)
		require.NotContains(t, v.body, newPassword)
		require.False(t, b.isSignedIn(), name)
	}
	b := s.browser(t)
	f := b.signingUp()
	f.Set("password", "1234567")
	f.Set("again", "1234567")
	v := b.post("/signup", f)
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.Contains(t, v.faults(), "at least 8 characters")
}

// Without a mail the page has to say that an address is in use. How many it says that
// of is bounded by where the questions come from.
func TestSignUpsFromOneAddressAreFew(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, newServer(t, nil), signsUp)
	b := s.browser(t)
	f := b.signingUp()
	f.Set("username", email)
	for range oauth.DefaultFailureLimit {
		require.Equal(t, http.StatusConflict, b.post("/signup", f, fromHeader, "2001:db8::1").status)
	}
	for _, username := range []string{email, "carol@example.org"} {
		f.Set("username", username)
		v := b.post("/signup", f, fromHeader, "2001:db8::2")
		require.Equal(t, http.StatusTooManyRequests, v.status, "of the same network, taken or not")
		require.Equal(t, "900", v.header.Get("Retry-After"))
		require.Contains(t, v.faults(), "Wait 15 minutes")
	}
	require.Equal(t, "/dev/apps", b.post("/signup", f, fromHeader, "2001:db8:1::1").location())
	s.Advance(oauth.DefaultFailureWindow)
	again := s.browser(t)
	f = again.signingUp()
	f.Set("username", "dave@example.org")
	require.Equal(t, "/dev/apps", again.post("/signup", f, fromHeader, "2001:db8::1").location())
}

func TestOperatorsDecide(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, server *server) {
		s := newSiteOn(t, server, func(*oauthhttp.PagesOptions) {})
		good := s.requested(t, func(r *oauth.CommercialRequest) { r.Name, r.Description = "Good <app>", "Does\ngood." })
		bad := s.requested(t, func(r *oauth.CommercialRequest) { r.Name = "Bad"; r.Public = true })
		bob := s.bobAtHome(t)
		require.Equal(t, http.StatusNotFound, bob.get("/operator/apps").status)
		require.NotContains(t, bob.get("/connected").body, "/operator/apps")
		require.Contains(t, s.browser(t).get("/operator/apps").location(), "/signin")
		_, err := s.administration.SetOperator(t.Context(), bobEmail, true)
		require.NoError(t, err)
		require.Contains(t, bob.get("/connected").body, "/operator/apps")
		v := bob.get("/operator/apps")
		require.Len(t, v.cards(), 2)
		for _, told := range []string{"Good <app>", "Does good.", "Alice (" + email + ")", "https://app.example", redirectURI, "security:disarm", good.ID} {
			require.Contains(t, textOf(v.doc), told)
		}

		// The token of the form holds for this session alone, and no other person's page has one.
		alice := s.aliceAtHome(t)
		f := v.form("/operator/apps/approve")
		require.Equal(t, http.StatusNotFound, alice.post("/operator/apps/approve", f).status)
		for _, token := range []string{"", "a.b", bob.get("/security").form("/security/scripts").Get("form_token")} {
			f.Set("form_token", token)
			require.Equal(t, http.StatusForbidden, bob.post("/operator/apps/approve", f).status)
		}

		f = v.form("/operator/apps/approve")
		f.Set("client_id", good.ID)
		require.Equal(t, "/operator/apps", bob.post("/operator/apps/approve", f).location())
		require.Equal(t, http.StatusConflict, bob.post("/operator/apps/approve", f).status, "sent twice")
		f = bob.get("/operator/apps").form("/operator/apps/reject")
		require.Equal(t, bad.ID, f.Get("client_id"))
		f.Set("reason", strings.Repeat("x", 501))
		v = bob.post("/operator/apps/reject", f)
		require.Equal(t, http.StatusUnprocessableEntity, v.status)
		require.Contains(t, textOf(v.doc), "Shorten the reason")
		f.Set("reason", " No home page.\r\nAnd spam. ")
		require.Equal(t, "/operator/apps", bob.post("/operator/apps/reject", f).location())
		require.Contains(t, bob.get("/operator/apps").text(), "No application waits for a decision.")
		f.Set("client_id", "unknown")
		require.Equal(t, http.StatusConflict, bob.post("/operator/apps/reject", f).status)

		require.Contains(t, alice.get("/dev/apps/"+bad.ID).text(), "Why it was not approved No home page. And spam.")
		require.NotContains(t, alice.get("/dev/apps/"+good.ID).text(), "approved")
		for who, b := range map[string]*browser{"owner": alice, "operator": bob} {
			text := b.get("/security/record").text()
			require.Contains(t, text, "A commercial application was not approved.", who)
			require.Contains(t, text, "A commercial application was approved.", who)
			require.Contains(t, text, "Good <app>", who)
		}
		require.Contains(t, alice.get("/security/record").text(), "by an operator")
		_, err = s.administration.SetOperator(t.Context(), bobEmail, false)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, bob.get("/operator/apps").status, "at once")
	})
}

func TestRecordOfChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"}, oauthhttp.Site{ID: 3, Label: "Cottage"})
	a := s.commercial(t, func(r *oauth.CommercialRequest) { r.Name = "Comfort <3" })
	b := s.aliceAtHome(t)
	b.consents(t, a, []string{"shutter:operate"}, []string{"3"})
	b.post("/connected", b.get("/connected").form("/connected"))
	made := b.create("Alarm clock").copied("client-id")
	path := "/dev/apps/" + made
	b.post(path+"/secret", b.addingSecret(path, password))
	b.post(path+"/secret/remove", b.get(path).form(path+"/secret/remove"))
	require.NoError(t, s.administration.Approve(t.Context(), s.requested(t).ID))
	v := b.get("/security/record", fromHeader, "192.0.2.9")
	entries := v.cards()
	require.Contains(t, entries[0], "A commercial application was approved.")
	require.Contains(t, entries[0], "by an operator")
	require.Contains(t, entries[1], "A commercial application was requested.")
	require.Contains(t, entries[1], "by an operator")
	for i, want := range []string{"A client secret of an application was removed.", "A client secret was added to an application.", "A personal application was created."} {
		require.Contains(t, entries[2+i], want)
		require.Contains(t, entries[2+i], "Application Alarm clock")
		require.Contains(t, entries[2+i], "127.0.0.1")
		require.NotContains(t, entries[2+i], "by an operator")
	}
	require.Contains(t, entries[5], "You disconnected an application.")
	require.Contains(t, entries[6], "You gave an application access to your home.")
	require.Contains(t, entries[6], "Application Comfort <3 It may Open and close shutters Where Cottage")
	require.Contains(t, entries[7], "You signed in.")
	bob := s.bobAtHome(t)
	require.Len(t, bob.get("/security/record").cards(), 1, "nobody reads another's")

	// One of a part of the server that has no sentence for it.
	store := s.store
	require.NoError(t, store.Note(t.Context(), oauth.Change{UserID: s.alice.ID, Action: "weather.changed", Subject: "<b>", ActorID: s.alice.ID, At: s.Now()}))
	require.Contains(t, b.get("/security/record").cards()[0], "Something else was changed (weather.changed).")
	b.lang = "fr"
	require.Contains(t, b.get("/security/record").text(), "Vous avez déconnecté une application.")
	b.lang = ""

	// It is paged.
	for i := range oauth.ChangesMax {
		require.NoError(t, store.Note(t.Context(), oauth.Change{UserID: s.alice.ID, Action: oauth.ActionSignedIn, Subject: fmt.Sprint("n", i), ActorID: s.alice.ID, At: s.Now()}))
	}
	v = b.get("/security/record")
	require.Len(t, v.cards(), oauth.ChangesMax)
	older := v.all("a", "rel", "next")
	require.Len(t, older, 1)
	v = b.get(attribute(older[0], "href"))
	require.Contains(t, v.cards()[0], "Something else was changed")
	require.Empty(t, v.all("a", "rel", "next"))
	for _, before := range []string{"", "x", "0", "-1", "99999999999999999999", "1&before=2"} {
		require.Equal(t, http.StatusBadRequest, b.get("/security/record?before="+before).status, before)
	}
	require.Empty(t, b.get("/security/record?before=1").cards())
}

func TestConnectedApplicationsTellWhenTheyDidSomething(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, server *server) {
		s := newSiteOn(t, server, func(*oauthhttp.PagesOptions) {})
		b := s.aliceAtHome(t)
		token := tokens(t, s.post(form, s.signIn().Encode())).AccessToken
		require.NotContains(t, b.get("/connected").text(), "Last used")
		s.Advance(30 * time.Minute)
		require.True(t, s.live(t, token))
		require.NoError(t, s.service.WriteUses(t.Context()))
		require.Contains(t, b.get("/connected").text(), "Last used: 1 March 2026, 12:30 UTC")
	})
}

func TestPagesOfTheAccountInBothLanguages(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, newServer(t, nil), signsUp)
	s.requested(t)
	_, err := s.administration.SetOperator(t.Context(), email, true)
	require.NoError(t, err)
	b := s.aliceAtHome(t)
	headings := make(map[string]string)
	for _, lang := range []string{"en", "fr"} {
		stranger := s.browser(t)
		b.lang, stranger.lang = lang, lang
		for page, v := range map[string]*view{
			"security": b.get("/security"), "record": b.get("/security/record"), "requests": b.get("/operator/apps"), "signup": stranger.get("/signup"),
		} {
			require.Equal(t, http.StatusOK, v.status, page)
			require.Equal(t, lang, v.header.Get("Content-Language"), page)
			require.NotEqual(t, headings[page], v.heading(), page)
			headings[page] = v.heading()
		}
	}
}
