package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/demo-app/demoapp"
)

// What people see, in a real browser: they sign in, let an application in with less
// than it asked for, say no, and look after what they have let in.
func TestBrowser(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp", "shutter:Kitchen")
	e.addHome(t, "Cottage", "socket:Lamp")
	bridge := e.serve(t)
	home := e.live(t, bridge, e.token(t, bridge))
	app := e.demoApp(t, bridge, "--description", "Shows your home and switches things.", "--home-page", "https://comfort.example.com")
	foxbridge := "http://" + bridge.HTTP

	c.open(t, app)
	c.look(t, "demo-app")
	c.press(t, "form[action='/authorize'] button")
	require.Contains(t, c.at(t), foxbridge+"/signin?")
	require.Contains(t, c.text(t), "“Comfort” asks for access to your home.")
	c.look(t, "sign-in")
	c.enter(t, "username", e.username)
	c.enter(t, "password", "wrong")
	c.press(t, "form[action='/signin'] button")
	require.NotEmpty(t, c.read(t, "#errors"))
	c.look(t, "sign-in-refused")
	c.signIn(t, e)

	// Everything is ticked; the person takes back what the application shall not have.
	require.Contains(t, c.at(t), foxbridge+"/oauth2/authorize?")
	require.Contains(t, c.text(t), "Comfort")
	require.Contains(t, c.text(t), "Shows your home and switches things.")
	c.look(t, "consent")
	c.tick(t, "scope", "security:arm", "security:disarm", "shutter:read", "shutter:operate")
	c.tick(t, "site", "2")
	c.press(t, "button[value=allow]")
	require.Equal(t, app+"/", c.at(t))
	require.Contains(t, c.text(t), "Connected.")
	require.Contains(t, c.text(t), "disarmed")
	require.Contains(t, c.text(t), "Lamp")
	for _, kept := range []string{"Cottage", "Kitchen", "Arm", "Disarm"} {
		require.NotContains(t, c.text(t), kept)
	}
	c.look(t, "demo-app-narrowed")
	c.press(t, fmt.Sprintf("form[action='/sites/%d/socket/%d/on'] button", e.home.SiteID, e.box.Devices[0].DeviceID))
	require.Contains(t, c.text(t), "Lamp is switched on.")
	require.Len(t, home.Executions(), 1)
	c.press(t, "form[action='/sign-out'] button")
	require.Contains(t, c.text(t), "Signed out.")

	// Signed in already, the person is asked at once, and says no.
	c.press(t, "form[action='/authorize'] button")
	require.Contains(t, c.at(t), foxbridge+"/oauth2/authorize?")
	c.tick(t, "scope", demoapp.Scopes()...)
	c.press(t, "button[value=allow]")
	require.Contains(t, c.at(t), foxbridge+"/oauth2/consent", "nothing is no consent")
	c.look(t, "consent-of-nothing")
	c.press(t, "button[value=deny]")
	require.Equal(t, app+"/", c.at(t))
	require.Contains(t, c.text(t), "You said no. Nothing was connected.")
	c.look(t, "demo-app-denied")

	// And yes to all of it.
	c.press(t, "form[action='/authorize'] button")
	c.press(t, "button[value=allow]")
	require.Contains(t, c.text(t), "Cottage")
	c.press(t, fmt.Sprintf("form[action='/sites/%d/alarm/armed'] button", e.home.SiteID))
	require.Contains(t, c.text(t), "The home is armed.")
	c.look(t, "demo-app-home")

	// What was let in is in one place, and goes from there.
	c.open(t, foxbridge+"/")
	require.Equal(t, foxbridge+"/connected", c.at(t))
	require.Contains(t, c.text(t), "Comfort")
	c.look(t, "connected")
	comfort := e.listed(t, "Comfort")
	c.press(t, fmt.Sprintf("form[action='/connected']:has(input[value='%s']) button", comfort.ClientID))
	require.NotContains(t, c.text(t), "Comfort")
	c.look(t, "disconnected")
	c.open(t, app)
	require.Contains(t, c.text(t), "The access has ended. Authorize again.")

	// Nobody is sent to an address that is not the application's.
	c.open(t, foxbridge+"/oauth2/authorize?response_type=code&client_id="+comfort.ClientID+"&redirect_uri=https%3A%2F%2Fevil.example.com%2F&state=s")
	require.Equal(t, bridge.HTTP, strings.Split(c.at(t), "/")[2])
	c.look(t, "refused")
	c.open(t, foxbridge+"/devv/apps")
	require.Contains(t, c.text(t), "Page not found")
	c.look(t, "not-found")
}

// What people see of the applications that they register themselves.
func TestBrowserMyApplications(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t)
	e.live(t, bridge, e.token(t, bridge))
	foxbridge := "http://" + bridge.HTTP

	c.open(t, foxbridge+"/dev/apps")
	c.signIn(t, e)
	require.Equal(t, foxbridge+"/dev/apps", c.at(t), "where the person wanted to go")
	c.look(t, "my-applications")

	// A personal one, whose secret works at once.
	c.press(t, "a[href='/dev/apps/personal']")
	c.look(t, "new-personal")
	c.press(t, "form[action='/dev/apps/personal'] button")
	c.look(t, "new-personal-refused")
	c.enter(t, "name", "Alarm clock")
	c.press(t, "form[action='/dev/apps/personal'] button")
	made := application{ClientID: c.read(t, "#client-id"), ClientSecret: c.read(t, "#client-secret")}
	require.NotEmpty(t, passwordGrant(t, bridge, made, e.username, e.password))
	c.copies(t)
	c.lookAround(t, "new-personal-secret", "#client-secret", "#curl-device", "#curl-device-token", "#curl")

	// Its page: a second secret, an end to the first, and a token to try with.
	c.open(t, foxbridge+"/dev/apps/"+made.ClientID)
	c.look(t, "application")
	add := fmt.Sprintf("form[action='/dev/apps/%s/secret'] button", made.ClientID)
	c.press(t, add)
	require.Contains(t, c.read(t, "#errors"), "Enter your password.")
	c.look(t, "application-secret-refused")
	c.enterInto(t, "#secret-password", e.password)
	c.press(t, add)
	second := application{ClientID: made.ClientID, ClientSecret: c.read(t, "#client-secret")}
	require.NotEmpty(t, passwordGrant(t, bridge, second, e.username, e.password))
	c.open(t, foxbridge+"/dev/apps/"+made.ClientID)
	c.look(t, "application-with-two-secrets")
	older := e.listed(t, "Alarm clock").Secrets[1]
	c.press(t, fmt.Sprintf("form[action='/dev/apps/%s/secret/remove']:has(input[name=secret][value='%d']) button", made.ClientID, older.ID))
	form := url.Values{"grant_type": {"password"}, "username": {e.username}, "password": {e.password}}
	status, _ := asClient(t, foxbridge+"/oauth2/token", made, form)
	require.NotEqual(t, http.StatusOK, status, "the older one has ended")
	require.NotEmpty(t, passwordGrant(t, bridge, second, e.username, e.password))
	c.enter(t, "password", e.password)
	c.press(t, fmt.Sprintf("form[action='/dev/apps/%s/token'] button", made.ClientID))
	status, body := authorized(t, bridge, http.MethodGet, e.path("/security"), c.read(t, "#access-token"))
	require.Equal(t, http.StatusOK, status, body)
	c.lookAround(t, "token", "#access-token", "#refresh-token", "#curl-call", "#curl-refresh")

	// A commercial one, which waits for the operator.
	c.open(t, foxbridge+"/dev/apps/commercial")
	c.look(t, "new-commercial")
	c.enter(t, "redirect_uris", "https://weather.example.com/back\nhttp://weather.example.com/back")
	c.press(t, "form[action='/dev/apps/commercial'] button")
	require.Equal(t, 3, ask(t, c, chromedp.Evaluate[int]("document.querySelectorAll('#errors a').length")), "all at once")
	require.Contains(t, c.read(t, "#f-redirect_uris-error"), "Line 2:")
	c.look(t, "new-commercial-refused")
	c.enter(t, "name", "Weather")
	c.enter(t, "description", "Closes shutters before it rains.")
	c.enter(t, "redirect_uris", redirectURI)
	c.tick(t, "scope", "shutter:read", "shutter:operate")
	c.press(t, "form[action='/dev/apps/commercial'] button")
	requested := application{ClientID: c.read(t, "#client-id"), ClientSecret: c.read(t, "#client-secret")}
	c.lookAround(t, "new-commercial-secret", "#client-id", "#client-secret")
	own := url.Values{"grant_type": {"client_credentials"}}
	status, _ = asClient(t, foxbridge+"/oauth2/token", requested, own)
	require.Equal(t, http.StatusBadRequest, status, "not approved")
	c.open(t, foxbridge+"/dev/apps/"+requested.ClientID)
	c.look(t, "application-pending")
	e.run(t, nil, "app", "approve", requested.ClientID)
	status, body = asClient(t, foxbridge+"/oauth2/token", requested, own)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"scope":"shutter:operate shutter:read"`)
	c.open(t, foxbridge+"/dev/apps")
	c.look(t, "my-applications-three")
	c.lookAtTheHeader(t)

	e.run(t, &requested, "app", "request", "--owner", e.username, "--name", "Unwanted", "--redirect-uri", redirectURI)
	e.run(t, nil, "app", "reject", requested.ClientID)
	c.open(t, foxbridge+"/dev/apps/"+requested.ClientID)
	c.look(t, "application-rejected")
	c.open(t, foxbridge+"/signout")
	c.look(t, "sign-out")
	c.press(t, "main form[action='/signout'] button")
	c.look(t, "signed-out")
	c.open(t, foxbridge+"/dev/apps")
	require.Contains(t, c.at(t), foxbridge+"/signin", "for who is signed in")
	c.open(t, foxbridge+"/signin")
	c.press(t, "footer form button:not([aria-current])")
	require.Equal(t, "fr", ask(t, c, chromedp.Evaluate[string]("document.documentElement.lang")))
	c.look(t, "sign-in-fr")
}

// copies presses a button that copies: in a browser that allows it, in one that does not, and
// in one that has no clipboard for the page. Each time the person is told.
func (c *chrome) copies(t testing.TB) {
	t.Helper()
	const button = "button[data-copy='client-id']"
	const said = button + " + [role=status]"
	for clipboard, want := range map[string]string{
		"{writeText: async () => {}}":                      "Copied",
		"{writeText: async () => { throw new Error('') }}": "The browser does not allow this. The text is selected",
		"undefined": "The browser does not allow this. The text is selected",
	} {
		c.do(t,
			chromedp.Evaluate[chromedp.Void]("getSelection().removeAllRanges(); Object.defineProperty(navigator, 'clipboard', {configurable: true, value: "+clipboard+"})"),
			chromedp.Click(chromedp.CSS(button)))
		require.Contains(t, ask(t, c, chromedp.Evaluate[string](fmt.Sprintf(
			"new Promise(told => { const look = () => { const text = document.querySelector(%q).textContent; text ? told(text) : setTimeout(look, 10) }; look() })", said), chromedp.EvalAwaitPromise)), want)
		if want != "Copied" {
			require.Equal(t, c.read(t, "#client-id"), ask(t, c, chromedp.Evaluate[string]("String(getSelection())")))
		}
		c.do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).textContent = ''", said)))
	}
}

// lookAtTheHeader checks that the header of a page is one row on each screen, in each language,
// and that its menu opens.
func (c *chrome) lookAtTheHeader(t testing.TB) {
	t.Helper()
	for _, language := range []string{"fr", "en"} { // what follows is in English
		c.press(t, "footer button[value="+language+"]")
		for _, width := range []int64{320, 390, 768, 1152, 1280} {
			c.do(t, chromedp.EmulateViewport(width, 740))
			name := fmt.Sprintf("header.%s.%d", language, width)
			require.LessOrEqual(t, ask(t, c, chromedp.Evaluate[float64]("document.querySelector('header').getBoundingClientRect().height")), 62.0, name)
			require.LessOrEqual(t, ask(t, c, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")), width, name)
			if width < 1152 {
				c.do(t, chromedp.Click(chromedp.CSS(".menu > summary")))
			}
			require.True(t, ask(t, c, chromedp.Evaluate[bool]("[...document.querySelectorAll('header nav a, header .person button')].every(e => e.checkVisibility())")), name)
			c.keep(t, name)
			c.checkAccessible(t, name)
			if width < 1152 {
				c.do(t, chromedp.Click(chromedp.CSS(".menu > summary")))
			}
		}
	}
}

// listed finds an application by its name.
func (e *estate) listed(t testing.TB, name string) application {
	t.Helper()
	var all []application
	e.run(t, &all, "app", "list")
	i := slices.IndexFunc(all, func(a application) bool { return a.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return all[i]
}

// signIn fills in the page of sign-in.
func (c *chrome) signIn(t testing.TB, e *estate) {
	t.Helper()
	c.enter(t, "username", e.username)
	c.enter(t, "password", e.password)
	c.press(t, "form[action='/signin'] button")
}
