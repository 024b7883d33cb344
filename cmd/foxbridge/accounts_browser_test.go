package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// What people see of their accounts, and operators of applications that wait.
func TestBrowserAccounts(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t, "--sign-up")
	token := e.token(t, bridge)
	foxbridge := "http://" + bridge.HTTP

	// Somebody makes an account, and requests an application.
	c.open(t, foxbridge+"/signin")
	c.look(t, "sign-in-or-up")
	c.press(t, "main a[href='/signup']")
	c.look(t, "sign-up")
	c.press(t, "form[action='/signup'] button")
	c.look(t, "sign-up-refused")
	carol := estate{username: "carol@example.com", password: "carol's own password"}
	c.enter(t, "name", "Carol")
	c.enter(t, "username", carol.username)
	c.enter(t, "password", carol.password)
	c.enter(t, "again", carol.password)
	c.press(t, "form[action='/signup'] button")
	require.Contains(t, c.text(t), "Your account is there")
	require.NotContains(t, c.text(t), "Requests")
	for _, name := range []string{"Weather", "Spam"} {
		c.open(t, foxbridge+"/dev/apps/commercial")
		c.enter(t, "name", name)
		c.enter(t, "description", name+" for your home.")
		c.enter(t, "redirect_uris", redirectURI)
		c.tick(t, "scope", "shutter:read", "shutter:operate")
		c.press(t, "form[action='/dev/apps/commercial'] button")
	}
	c.press(t, "form[action='/signout'] button")

	// An operator decides.
	c.signIn(t, e)
	c.open(t, foxbridge+"/operator/apps")
	require.Contains(t, c.text(t), "Page not found", "for operators alone")
	e.run(t, nil, "user", "operator", e.username)
	c.open(t, foxbridge+"/operator/apps")
	require.Contains(t, c.text(t), "Carol (carol@example.com)")
	c.look(t, "requests")
	weather, spam := e.listed(t, "Weather"), e.listed(t, "Spam")
	card := func(id string) string { return ":has(input[value='" + id + "']) " }
	c.press(t, "form[action='/operator/apps/approve']"+card(weather.ClientID)+"button")
	require.Contains(t, c.text(t), "The application is approved.")
	c.do(t, chromedp.SendKeys(chromedp.CSS("form[action='/operator/apps/reject']"+card(spam.ClientID)+"textarea"), "It has no home page."))
	c.press(t, "form[action='/operator/apps/reject']"+card(spam.ClientID)+"button")
	require.Contains(t, c.text(t), "No application waits for a decision.")
	c.look(t, "requests-none")
	c.press(t, "header form button")
	c.signIn(t, &carol)
	c.open(t, foxbridge+"/dev/apps/"+spam.ClientID)
	require.Contains(t, c.text(t), "It has no home page.")
	c.look(t, "application-rejected")
	c.press(t, "header form button")

	// App passwords: the script needs no other, and the account's own is refused.
	c.signIn(t, e)
	path := "/dev/apps/" + e.app.ClientID
	c.open(t, foxbridge+path)
	c.press(t, "form[action='"+path+"/password'] button")
	c.look(t, "app-password-refused")
	c.enter(t, "name", "Raspberry in the kitchen")
	c.enterInto(t, "#app-password-password", e.password)
	c.press(t, "form[action='"+path+"/password'] button")
	appPassword := c.read(t, "#app-password")
	for _, css := range []string{"#app-password", "#curl"} {
		c.do(t, chromedp.Evaluate[chromedp.Void]("document.querySelector('"+css+"').textContent = document.querySelector('"+css+"').textContent.replaceAll('"+appPassword+"', 'xxxx-'.repeat(8).slice(0, -1))"))
	}
	c.look(t, "app-password")
	require.NotEmpty(t, passwordGrant(t, bridge, e.app, e.username, appPassword))
	c.press(t, "header a[href='/security']")
	c.look(t, "security")
	c.press(t, "form[action='/security/scripts'] button")
	require.Contains(t, c.text(t), "Scripts need an app password from now on.")
	form := url.Values{"grant_type": {"password"}, "username": {e.username}, "password": {e.password}}
	status, _ := asClient(t, foxbridge+"/oauth2/token", e.app, form)
	require.Equal(t, http.StatusBadRequest, status)
	require.NotEmpty(t, passwordGrant(t, bridge, e.app, e.username, strings.ToUpper(appPassword)))
	c.open(t, foxbridge+path)
	c.look(t, "application-with-app-password")
	c.open(t, foxbridge+"/security")
	c.enterInto(t, "#scripts-password", "wrong")
	c.press(t, "form[action='/security/scripts'] button")
	c.look(t, "security-scripts-refused")
	require.Contains(t, c.read(t, "#errors"), "This is not your password.")
	c.enterInto(t, "#scripts-password", e.password)
	c.press(t, "form[action='/security/scripts'] button")
	require.Contains(t, c.text(t), "Scripts may use the password of your account again.")
	require.NotEmpty(t, passwordGrant(t, bridge, e.app, e.username, e.password))

	// Another browser, and another password.
	other := newVisitor(t)
	other.open(t, foxbridge+"/security")
	other.signIn(t, e)
	c.open(t, foxbridge+"/security")
	c.look(t, "security-two-browsers")
	c.press(t, "form[action='/security/sessions/end'] button")
	require.Contains(t, c.text(t), "That browser is signed out.")
	other.open(t, foxbridge+"/security")
	require.Equal(t, "/signin", other.at.Path)
	other.signIn(t, e)
	c.open(t, foxbridge+"/security")
	c.press(t, "form[action='/security/password'] button")
	c.look(t, "security-password-refused")
	c.enter(t, "present", e.password)
	c.enter(t, "new", "another good password")
	c.enter(t, "again", "another good password")
	c.tick(t, "end_tokens", "yes")
	c.press(t, "form[action='/security/password'] button")
	require.Contains(t, c.text(t), "Your password is changed.")
	c.look(t, "security-password-changed")
	other.open(t, foxbridge+"/security")
	require.Equal(t, "/signin", other.at.Path)
	status, _ = authorized(t, bridge, http.MethodGet, "/v2/client/site/items", token)
	require.Equal(t, http.StatusUnauthorized, status)

	// All of it can be read.
	c.press(t, "main a[href='/security/record']")
	text := c.text(t)
	for _, sentence := range []string{
		"Your password was changed.", "The access of all applications was ended", "A browser was signed out.", "You became an operator.",
		"The password of your account was refused to scripts.", "An app password was added", "Raspberry in the kitchen",
		"A commercial application was approved.", "Weather", "A commercial application was not approved.", "Spam", "You signed in.",
	} {
		require.Contains(t, text, sentence)
	}
	c.look(t, "record")
	c.press(t, "footer form button:not([aria-current])")
	require.Contains(t, c.text(t), "Votre mot de passe a été changé.")
	c.look(t, "record-fr")
	c.open(t, foxbridge+"/security")
	c.look(t, "security-fr")
}
