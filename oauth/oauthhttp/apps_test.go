package oauthhttp_test

import (
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// copied is what the element with that id holds.
func (v *view) copied(id string) string {
	v.t.Helper()
	found := v.all("code", "id", id)
	require.Len(v.t, found, 1, v.text())
	require.NotNil(v.t, found[0].FirstChild)
	return found[0].FirstChild.Data
}

// create makes a personal application, and gives its page with the secret.
func (b *browser) create(name string) *view {
	b.t.Helper()
	form := b.get("/dev/apps/personal").form("/dev/apps/personal")
	form.Set("name", name)
	return b.post("/dev/apps/personal", form)
}

func TestAPersonalApplicationFromItsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	s.Advance(time.Minute)
	v := b.create("  Morning <script>  ")
	require.Equal(t, http.StatusOK, v.status)
	require.Equal(t, "Morning <script>", v.heading())
	id, secret := v.copied("client-id"), v.copied("client-secret")
	require.Len(t, id, 32)
	require.Len(t, secret, 64)

	// The line to try works as it is printed, but for the password.
	line := v.copied("curl")
	require.True(t, strings.HasPrefix(line, "curl -u "+id+":"+secret+" "+issuer+"/oauth2/token -d grant_type=password "), line)
	request := url.Values{
		"grant_type": {"password"}, "client_id": {id}, "client_secret": {secret}, "username": {email}, "password": {password},
	}
	tokens(t, s.post(form, request.Encode()))
	require.Len(t, v.all("a", "href", "/dev/apps/"+id+"#app-passwords"), 1)
	// And without a password, as is recommended.
	require.Equal(t, "curl -u "+id+":"+secret+" "+issuer+"/oauth2/device_authorization -X POST", v.copied("curl-device"))
	require.Equal(t, "curl -u "+id+":"+secret+" "+issuer+"/oauth2/token -d grant_type=urn:ietf:params:oauth:grant-type:device_code -d device_code=YOUR_DEVICE_CODE", v.copied("curl-device-token"))
	require.Len(t, v.all("a", "href", "/device"), 1)

	list := b.get("/dev/apps")
	require.Equal(t, []string{
		"Morning <script> Personal Client ID: " + id, "Alice's script Personal Client ID: " + s.client.ID,
	}, list.cards())
	require.Len(t, list.all("a", "href", "/dev/apps/"+id), 1)
	page := b.get("/dev/apps/" + id)
	require.Equal(t, "Morning <script>", page.heading())
	for _, v := range []*view{list, page} {
		require.NotContains(t, v.body, secret, "it is shown once")
	}
}

func TestAFormSentTwiceMakesOneApplication(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	form := b.get("/dev/apps/personal").form("/dev/apps/personal")
	form.Set("name", "Morning")
	id := b.post("/dev/apps/personal", form).copied("client-id")
	require.Equal(t, "/dev/apps/"+id, b.post("/dev/apps/personal", form).location())
	require.Contains(t, b.get("/dev/apps/"+id).text(), "This application was created already.")
	require.Len(t, b.get("/dev/apps").cards(), 2)

	bob := s.bobAtHome(t)
	form = bob.get("/dev/apps/personal").form("/dev/apps/personal")
	form.Set("name", "Morning")
	for _, taken := range []string{id, "", "unknown", strings.ToUpper(id)} {
		form.Set("client_id", taken)
		v := bob.post("/dev/apps/personal", form)
		require.Equal(t, http.StatusBadRequest, v.status, "whose it is is not told")
		require.NotContains(t, v.text(), "Alice")
	}
	require.Empty(t, bob.get("/dev/apps").cards())
}

func TestATenthPersonalApplicationIsTheLast(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t) // who has one
	for i := range 9 {
		require.Equal(t, http.StatusOK, b.create("App "+strconv.Itoa(i)).status)
	}
	v := b.create("One more")
	require.Equal(t, http.StatusConflict, v.status)
	require.Equal(t, "You have 10 personal applications already, which is the most that is possible.", v.faults())
	require.Equal(t, "One more", v.formAt("/dev/apps/personal").Get("name"))
	require.Len(t, b.get("/dev/apps").cards(), 10)
	require.Equal(t, http.StatusOK, s.bobAtHome(t).create("Bob's").status)
}

// asks is the form of a commercial application, filled in.
func (b *browser) asks() url.Values {
	b.t.Helper()
	form := b.get("/dev/apps/commercial").form("/dev/apps/commercial")
	form.Set("name", "Gate keeper")
	form.Set("description", "Opens the gate.\r\nNothing else.")
	form.Set("home_page", " https://gate.example ")
	form.Set("redirect_uris", " https://gate.example/callback\r\n\r\nhttp://127.0.0.1/back ")
	form["scope"] = []string{"shutter:operate", "shutter:read"}
	return form
}

func TestACommercialApplicationFromItsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	form := b.asks()
	form.Set("require_pkce", "yes")
	v := b.post("/dev/apps/commercial", form)
	require.Equal(t, http.StatusOK, v.status, v.text())
	require.Contains(t, v.text(), "This application can be used as soon as it is approved.")
	require.Empty(t, v.all("code", "id", "curl"))
	id, secret := v.copied("client-id"), v.copied("client-secret")
	got, err := s.service.Application(t.Context(), s.alice.ID, id)
	require.NoError(t, err)
	require.Equal(t, oauth.HashOf(secret), got.Secrets[0].Hash)
	got.Secrets, got.CreatedAt = nil, time.Time{}
	require.Equal(t, oauth.Client{
		ID: id, Kind: oauth.Commercial, Status: oauth.Pending, Name: "Gate keeper", OwnerID: s.alice.ID,
		Description: "Opens the gate.\nNothing else.", HomePage: "https://gate.example",
		RedirectURIs: []string{"https://gate.example/callback", "http://127.0.0.1/back"},
		Scope:        oauth.NewScope("shutter:operate", "shutter:read"), RequirePKCE: true,
	}, got)

	page := b.get("/dev/apps/" + id)
	for _, text := range []string{
		"Waiting for approval", "https://gate.example/callback http://127.0.0.1/back", "Open and close shutters shutter:operate",
		"It keeps a secret It must use PKCE",
	} {
		require.Contains(t, page.text(), text)
	}
	require.NotContains(t, page.text(), "Get a token")
	require.NoError(t, s.service.Reject(t.Context(), id))
	require.Contains(t, b.get("/dev/apps/"+id).text(), "This application was not approved and cannot be used.")

	form = b.asks()
	form.Set("public", "yes")
	form.Set("require_scope", "yes")
	v = b.post("/dev/apps/commercial", form)
	require.Empty(t, v.all("code", "id", "client-secret"), "it has none to show")
	got, err = s.service.Application(t.Context(), s.alice.ID, v.copied("client-id"))
	require.NoError(t, err)
	require.True(t, got.Public && got.RequireScope)
	require.Empty(t, b.get("/dev/apps/"+got.ID).all("form", "action", "/dev/apps/"+got.ID+"/secret"))
	require.Contains(t, b.get("/dev/apps/"+got.ID).text(), "It cannot keep a secret")
}

func TestApplicationsThatCannotBeRegistered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	tests := map[string]struct {
		change tampered
		field  string
		text   string
	}{
		"without a name":         {with("name"), "name", "Enter a name"},
		"a name too long":        {with("name", strings.Repeat("é", 101)), "name", "Enter a name"},
		"a name with a line end": {with("name", "a\nb"), "name", "Enter a name"},
		"a description too long": {with("description", strings.Repeat("é", 501)), "description", "Shorten the description"},
		"a home page over http":  {with("home_page", "http://gate.example"), "home_page", "https://"},
		"a home page of script":  {with("home_page", "javascript:alert(1)"), "home_page", "https://"},
		"without redirect URIs":  {with("redirect_uris", " \r\n "), "redirect_uris", "Enter 1 to 10 addresses"},
		"eleven redirect URIs":   {with("redirect_uris", strings.Repeat("https://gate.example/callback\r\n", 11)), "redirect_uris", "Enter 1 to 10 addresses"},
		"a fragment":             {with("redirect_uris", "https://gate.example/#x"), "redirect_uris", "Line 1: this must begin with https://"},
		"user information":       {with("redirect_uris", "https://a@gate.example/"), "redirect_uris", "Line 1: this must begin with https://"},
		"http on the third line": {with("redirect_uris", "https://gate.example/a https://gate.example/b\r\n\r\nhttp://gate.example/"), "redirect_uris", "Line 3: this must begin with https://"},
		"without scopes":         {with("scope"), "scope", "Tick at least one thing."},
		"an unknown scope":       {with("scope", "gate:open"), "scope", "Tick at least one thing."},
	}
	for name, test := range tests {
		form := b.asks()
		test.change(form)
		v := b.post("/dev/apps/commercial", form)
		require.Equal(t, http.StatusUnprocessableEntity, v.status, name)
		require.Contains(t, v.faults(), test.text, name)
		require.Len(t, v.all("a", "href", "#f-"+test.field), 1, name)
		again := v.formAt("/dev/apps/commercial")
		require.Equal(t, form.Get("client_id"), again.Get("client_id"), name)
		if test.field != "name" {
			require.Equal(t, "Gate keeper", again.Get("name"), "what was right stays")
		}
	}
	// Everything that is wrong is told at once, each at its field.
	form := b.asks()
	for field, value := range map[string]string{"name": " ", "description": strings.Repeat("é", 501), "home_page": "gate.example", "redirect_uris": "gate.example\r\nhttp://localhost/\r\nhttp://gate.example", "scope": ""} {
		form.Set(field, value)
	}
	v := b.post("/dev/apps/commercial", form)
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	for _, field := range []string{"name", "description", "home_page", "scope", "redirect_uris"} {
		require.NotEmpty(t, v.all("a", "href", "#f-"+field), field)
		require.Len(t, v.all("p", "id", "f-"+field+"-error"), 1, field)
	}
	require.Len(t, v.all("a", "href", "#f-redirect_uris"), 2)
	require.Contains(t, textOf(v.all("p", "id", "f-redirect_uris-error")[0]), "Line 1: ")
	require.Contains(t, textOf(v.all("p", "id", "f-redirect_uris-error")[0]), "Line 3: ")
	require.Len(t, v.all("textarea", "aria-describedby", "f-redirect_uris-hint f-redirect_uris-error"), 1)

	v = b.create(" ")
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.Contains(t, v.faults(), "Enter a name")
	require.Len(t, b.get("/dev/apps").cards(), 1)
}

func TestTheTwentyFirstApplicationOfADayHasToWait(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	for range 19 { // she has one
		c, _, err := s.service.CreatePersonal(t.Context(), s.alice.ID, oauth.NewClientID(), "n", netip.Addr{})
		require.NoError(t, err)
		require.NoError(t, s.service.DeleteOwn(t.Context(), s.alice.ID, c.ID, netip.Addr{}))
	}
	for _, v := range []*view{b.create("n"), b.post("/dev/apps/commercial", b.asks())} {
		require.Equal(t, http.StatusConflict, v.status)
		require.Contains(t, v.faults(), "You have registered 20 applications within a day; the next may follow at 12:00 UTC.")
	}
}

func TestTenRequestsWaitAtTheMost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	var last string
	for range 10 {
		v := b.post("/dev/apps/commercial", b.asks())
		require.Equal(t, http.StatusOK, v.status)
		last = v.copied("client-id")
	}
	v := b.post("/dev/apps/commercial", b.asks())
	require.Equal(t, http.StatusConflict, v.status)
	require.Contains(t, v.faults(), "10 applications of yours wait for approval already.")
	require.NoError(t, s.service.Approve(t.Context(), last))
	require.Equal(t, http.StatusOK, b.post("/dev/apps/commercial", b.asks()).status)
}

func TestASecretIsChangedWithoutAnOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	path := "/dev/apps/" + s.client.ID
	works := func(secret string) bool {
		request := s.signIn()
		request.Set("client_secret", secret)
		return s.post(form, request.Encode()).Code == http.StatusOK
	}
	v := b.get(path)
	require.Empty(t, v.all("form", "action", path+"/secret/remove"), "the only one stays")
	require.True(t, works(s.secret))
	s.Advance(time.Hour)
	add := b.addingSecret(path, password)
	second := b.post(path+"/secret", add).copied("client-secret")
	require.True(t, works(s.secret) && works(second))
	require.Equal(t, http.StatusConflict, b.post(path+"/secret", add).status, "there is no third")

	v = b.get(path)
	require.Empty(t, v.all("form", "action", path+"/secret"))
	secrets := v.cards()
	require.Len(t, secrets, 2)
	require.Contains(t, secrets[0], "Created 1 March 2026, 13:00 UTC Last used 1 March 2026, 13:00 UTC Remove")
	require.Contains(t, secrets[1], "Created 1 March 2026, 12:00 UTC Last used 1 March 2026, 13:00 UTC Remove")
	remove := v.form(path + "/secret/remove") // the last one's: of the first secret
	require.Equal(t, path, b.post(path+"/secret/remove", remove).location())
	require.Contains(t, b.get(path).text(), "The secret is removed.")
	require.False(t, works(s.secret))
	require.True(t, works(second))
	v = b.post(path+"/secret/remove", remove)
	require.Equal(t, http.StatusConflict, v.status)
	require.Contains(t, v.text(), "it is gone already, or it is the last one")

	third := b.post(path+"/secret", b.addingSecret(path, password)).copied("client-secret")
	require.True(t, works(second) && works(third))
	for _, id := range []string{remove.Get("secret"), "", "x", "99999999999999999999"} {
		remove.Set("secret", id)
		require.Equal(t, http.StatusConflict, b.post(path+"/secret/remove", remove).status, id)
	}
}

func TestATokenFromTheForm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	path := "/dev/apps/" + s.client.ID
	s.log.Lines()
	get := b.get(path).form(path + "/token")
	require.Empty(t, get.Get("password"))
	get.Set("password", password)
	v := b.post(path+"/token", get)
	require.Equal(t, http.StatusOK, v.status)
	require.Equal(t, "A token for Alice's script", v.heading())
	require.Contains(t, v.text(), "It works for 60 minutes.")
	access, refresh := v.copied("access-token"), v.copied("refresh-token")
	found, err := s.service.Authenticate(t.Context(), access)
	require.NoError(t, err)
	require.Equal(t, s.alice.ID, found.UserID)
	require.Equal(t, s.client.ID, found.ClientID)
	require.Nil(t, found.Scope)
	require.Equal(t, "curl -H 'Authorization: Bearer "+access+"' "+issuer+"/v2/client/site/items", v.copied("curl-call"))
	require.Equal(t, "curl -u "+s.client.ID+":YOUR_CLIENT_SECRET "+issuer+"/oauth2/token -d 'grant_type=refresh_token&refresh_token="+refresh+"'", v.copied("curl-refresh"))
	tokens(t, s.post(form, url.Values{
		"grant_type": {"refresh_token"}, "client_id": {s.client.ID}, "client_secret": {s.secret}, "refresh_token": {refresh},
	}.Encode()))
	require.NotContains(t, b.get(path).body, access, "it is shown once")
	lines := strings.Join(s.log.Lines(), "\n")
	for _, secret := range []string{access, refresh, password} {
		require.NotContains(t, lines, secret)
	}
}

func TestTokensThatTheFormDoesNotGive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	path := "/dev/apps/" + s.client.ID
	get := b.get(path).form(path + "/token")
	v := b.post(path+"/token", get)
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.Contains(t, v.faults(), "Enter your password.")
	get.Set("password", bobPassword)
	for range oauth.DefaultFailureLimit {
		v = b.post(path+"/token", get)
		require.Equal(t, http.StatusForbidden, v.status)
		require.Contains(t, v.faults(), "This is not your password.")
		require.NotContains(t, v.body, bobPassword)
	}
	get.Set("password", password)
	v = b.post(path+"/token", get)
	require.Equal(t, http.StatusTooManyRequests, v.status, "guesses count as those of a sign-in")
	require.Equal(t, "900", v.header.Get("Retry-After"))
	require.Contains(t, v.faults(), "Wait 15 minutes")
	require.True(t, b.isSignedIn())

	get.Set("password", password)
	_, err := s.administration.SwitchOff(t.Context(), s.client.ID, oauth.ByOperator, "", "because")
	require.NoError(t, err)
	for lang, want := range map[string][]string{
		"en": {"No token: this application may not be used now.", "No token while the application is switched off."},
		"fr": {"Pas de jeton : cette application ne peut pas être utilisée en ce moment.", "Pas de jeton tant que l’application est désactivée."},
	} {
		b.lang = lang
		v = b.post(path+"/token", get, fromHeader, "192.0.2.9")
		require.Equal(t, http.StatusBadRequest, v.status, "it was switched off while the form was filled in")
		require.Contains(t, v.text(), want[0])
		require.NotContains(t, v.text(), "sign in right now")
		for _, page := range []*view{v, b.get(path)} {
			require.Contains(t, page.text(), want[1])
			require.Empty(t, page.all("form", "action", path+"/token"))
		}
		require.Empty(t, b.get(path).faults())
	}
	b.lang = ""

	a := s.commercial(t)
	path = "/dev/apps/" + a.ID
	v = b.post(path+"/token", get, fromHeader, "192.0.2.9")
	require.Equal(t, http.StatusBadRequest, v.status, "a commercial one has no use for a password")
}

func TestAnApplicationOfSomebodyElseIsNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	second, err := s.service.AddSecret(t.Context(), s.client.ID)
	require.NoError(t, err)
	client, err := s.service.Application(t.Context(), s.alice.ID, s.client.ID)
	require.NoError(t, err)
	bob := s.bobAtHome(t)
	own := bob.create("Bob's").copied("client-id")
	bob.post("/dev/apps/"+own+"/secret", bob.addingSecret("/dev/apps/"+own, bobPassword)).copied("client-secret")
	page := bob.get("/dev/apps/" + own)
	for _, id := range []string{client.ID, "0123456789abcdef0123456789abcdef", "unknown"} {
		path := "/dev/apps/" + id
		remove := page.form("/dev/apps/" + own + "/secret/remove")
		remove.Set("secret", strconv.FormatInt(client.Secrets[0].ID, 10))
		get := page.form("/dev/apps/" + own + "/token")
		get.Set("password", bobPassword)
		// The token of one form holds for the forms of that kind of all applications.
		add := url.Values{"form_token": {formToken(t, bob)}, "password": {bobPassword}}
		answers := []*view{bob.get(path), bob.post(path+"/secret", add), bob.post(path+"/secret/remove", remove), bob.post(path+"/token", get)}
		for _, v := range answers {
			require.Equal(t, http.StatusNotFound, v.status, id)
			require.Equal(t, "Page not found", v.heading())
		}
	}
	// With his own application, another's secret is not one of it.
	remove := page.form("/dev/apps/" + own + "/secret/remove")
	remove.Set("secret", strconv.FormatInt(client.Secrets[0].ID, 10))
	require.Equal(t, http.StatusConflict, bob.post("/dev/apps/"+own+"/secret/remove", remove).status)
	after, err := s.service.Application(t.Context(), s.alice.ID, s.client.ID)
	require.NoError(t, err)
	require.Equal(t, client, after)
	require.NotEmpty(t, second)
}

// formToken is one for the form that adds a secret, of an application with a place left.
func formToken(t *testing.T, b *browser) string {
	t.Helper()
	id := b.create("Another").copied("client-id")
	return b.get("/dev/apps/" + id).form("/dev/apps/" + id + "/secret").Get("form_token")
}

func TestFormsOfApplicationsNeedTheirTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, bob := s.aliceAtHome(t), s.bobAtHome(t)
	path := "/dev/apps/" + s.client.ID
	get := b.get(path).form(path + "/token")
	get.Set("password", password)
	forms := map[string]url.Values{
		"/dev/apps/personal":   b.get("/dev/apps/personal").form("/dev/apps/personal"),
		"/dev/apps/commercial": b.asks(),
		path + "/secret":       b.get(path).form(path + "/secret"),
		path + "/token":        get,
	}
	for path, form := range forms {
		require.Equal(t, http.StatusForbidden, bob.post(path, form).status, "%s from another session", path)
		require.Equal(t, http.StatusForbidden, b.post(path, form, "Sec-Fetch-Site", "cross-site").status, "%s from another site", path)
		for _, token := range []string{"", b.get("/signout").form("/signout").Get("form_token")} {
			bad := maps.Clone(form)
			bad.Set("form_token", token)
			require.Equal(t, http.StatusForbidden, b.post(path, bad).status, "%s with %q", path, token)
		}
	}
	require.Len(t, b.get("/dev/apps").cards(), 1)
}

// A name with quotes goes through a shell as it is.
func TestTheLineOfAShellIsQuoted(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	require.NoError(t, err)
	s := newSite(t)
	const odd = `o'hara"$(id)@example.org`
	_, err = s.service.AddUser(t.Context(), odd, "O'Hara", password)
	require.NoError(t, err)
	b := s.browser(t)
	b.signIn(odd, password)
	line := b.create("Morning").copied("curl")
	out, err := exec.CommandContext(t.Context(), shell, "-c", strings.Replace(line, "curl", `printf '%s\n'`, 1)).Output()
	require.NoError(t, err)
	require.True(t, slices.Contains(strings.Split(string(out), "\n"), "username="+odd), string(out))
}
