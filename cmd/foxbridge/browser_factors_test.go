package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// What people see of second factors, in a real browser with a passkey device of its own.
func TestBrowserSecondFactors(t *testing.T) {
	t.Parallel()
	chromium(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t, "--public-url", "http://localhost") // passkeys want a host name
	c := newChrome(t, newProxy(t, "localhost:80", bridge.HTTP).forChromium()...)
	device := c.plugIn(t)
	const foxbridge = "http://localhost"

	// Without a second step.
	c.open(t, foxbridge+"/security")
	c.look(t, "sign-in-with-passkeys")
	c.signIn(t, e)
	require.Equal(t, foxbridge+"/security", c.at(t))
	require.Contains(t, c.text(t), "You have no second step yet.")
	c.look(t, "security-none")

	// An authenticator app.
	c.press(t, "a[href='/security/totp']")
	secret := strings.ReplaceAll(c.read(t, "#secret"), " ", "")
	code := func(later time.Duration) string {
		shown, err := totp.GenerateCode(secret, time.Now().Add(later))
		require.NoError(t, err)
		return shown
	}
	c.lookPast(t, "authenticator-app", "#secret", "img[width='264']")
	c.enter(t, "code", "12345")
	c.enter(t, "password", e.password)
	c.press(t, "form[action='/security/totp'] button")
	require.NotEmpty(t, c.read(t, "#errors"))
	c.lookPast(t, "authenticator-app-refused", "#secret", "img[width='264']")
	c.enter(t, "code", code(0))
	c.enter(t, "password", e.password)
	c.press(t, "form[action='/security/totp'] button")
	recovery := strings.Fields(c.read(t, "#recovery-codes"))
	require.Len(t, recovery, 10)
	c.lookPast(t, "recovery-codes", "#recovery-codes")
	c.open(t, foxbridge+"/security")
	c.look(t, "security-authenticator-app")

	// Sign in with it: the code of the next step, since that of this one was used.
	c.press(t, "form[action='/signout'] button")
	c.signIn(t, e)
	require.Contains(t, c.at(t), foxbridge+"/signin/second")
	c.look(t, "second-step")
	c.enter(t, "code", "000")
	c.press(t, "form[action='/signin/second'] button")
	c.look(t, "second-step-refused")
	c.enter(t, "code", code(30*time.Second))
	c.press(t, "form[action='/signin/second'] button")
	require.Equal(t, foxbridge+"/connected", c.at(t))

	// A passkey.
	c.open(t, foxbridge+"/security")
	c.press(t, "a[href='/security/passkeys/new']")
	c.look(t, "new-passkey")
	c.enter(t, "name", "Laptop")
	c.enter(t, "password", e.password)
	c.press(t, "form[action='/security/passkeys/new'] button")
	c.look(t, "new-passkey-make")
	c.press(t, "form[action='/security/passkeys'] button")
	require.Equal(t, foxbridge+"/security", c.at(t))
	require.Contains(t, c.text(t), "The passkey is added.")
	require.Contains(t, c.text(t), "Laptop")
	c.look(t, "security-passkey")

	// It signs in by itself, if it finds that this is the person.
	c.press(t, "form[action='/signout'] button")
	c.verified(t, device, false)
	c.do(t, chromedp.Click(chromedp.CSS("form[action='/signin/passkey'] button")), chromedp.WaitVisible(chromedp.CSS("form[action='/signin/passkey'] [data-failed]")))
	c.look(t, "sign-in-passkey-failed")
	c.verified(t, device, true)
	c.press(t, "form[action='/signin/passkey'] button")
	require.Equal(t, foxbridge+"/connected", c.at(t))

	// And it is the second step after the password.
	c.press(t, "form[action='/signout'] button")
	c.signIn(t, e)
	c.look(t, "second-step-passkey")
	c.press(t, "form[action='/signin/second/passkey'] button")
	require.Equal(t, foxbridge+"/connected", c.at(t))

	// A recovery code, once.
	c.press(t, "form[action='/signout'] button")
	c.signIn(t, e)
	c.do(t, chromedp.Click(chromedp.CSS("summary")))
	c.look(t, "second-step-recovery")
	c.do(t, chromedp.SendKeys(chromedp.CSS("#recovery-code"), recovery[3]))
	c.press(t, "details button")
	require.Contains(t, c.text(t), "You signed in with a recovery code")
	c.open(t, foxbridge+"/security")
	require.Contains(t, c.text(t), "9 codes are left.")

	// New codes, and an end to it all.
	c.press(t, "a[href='/security/recovery']")
	c.look(t, "new-recovery-codes")
	c.enter(t, "password", "wrong")
	c.press(t, "form[action='/security/recovery'] button")
	c.look(t, "new-recovery-codes-refused")
	c.enter(t, "password", e.password)
	c.press(t, "form[action='/security/recovery'] button")
	require.NotContains(t, c.read(t, "#recovery-codes"), recovery[4])
	c.open(t, foxbridge+"/security")
	c.press(t, "a[href='/security/totp/remove']")
	c.look(t, "remove-authenticator-app")
	c.enter(t, "password", e.password)
	c.press(t, "form[action='/security/totp/remove'] button")
	c.press(t, "a[href^='/security/passkeys/'][href$='/remove']")
	c.look(t, "remove-last-passkey")
	c.press(t, "footer form button:not([aria-current])")
	c.look(t, "remove-last-passkey-fr")
	c.enter(t, "password", e.password)
	c.press(t, "main form button")
	c.look(t, "security-none-fr")

	// At an address that passkeys are not for, nothing offers them, and the rest works.
	c.open(t, "http://"+bridge.HTTP+"/signin")
	require.Equal(t, 0, ask(t, c, chromedp.Evaluate[int]("document.querySelectorAll('main form:not([hidden])').length - 1")))
	c.signIn(t, e)
	require.Equal(t, "http://"+bridge.HTTP+"/connected", c.at(t))
}

// An operator lets in who has lost everything.
func TestOperatorRemovesSecondFactors(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data)
		var told factors
		e.run(t, &told, "user", "factors", e.username)
		require.Equal(t, factors{Email: e.username, Passkeys: []passkey{}}, told)
		bridge := e.serve(t)
		v := newVisitor(t)
		v.open(t, "http://"+bridge.HTTP+"/security/totp")
		v.submit(t, "/signin", url.Values{"username": {e.username}, "password": {e.password}})
		secret := regexp.MustCompile(`secret=([A-Z2-7]{32})`).FindStringSubmatch(v.html(t))
		require.NotNil(t, secret, v.text())
		code, err := totp.GenerateCode(secret[1], time.Now())
		require.NoError(t, err)
		v.submit(t, "/security/totp", url.Values{"code": {code}, "password": {e.password}})
		require.Equal(t, http.StatusOK, v.status)
		e.run(t, &told, "user", "factors", e.username)
		require.True(t, told.TOTP)
		require.Equal(t, 10, told.RecoveryCodes)
		e.run(t, &told, "user", "factors", e.username, "--remove")
		require.False(t, told.TOTP)
		require.Zero(t, told.RecoveryCodes)
		require.Equal(t, 1, told.Removed)
		e.run(t, nil, "user", "factors", e.username)
	})
}

// html is the page as it is written.
func (v *visitor) html(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, html.Render(&b, v.page))
	return b.String()
}

// plugIn gives the browser a device that keeps passkeys and finds everybody to be who
// they say they are.
func (c *chrome) plugIn(t testing.TB) webauthn.AuthenticatorID {
	t.Helper()
	return ask(t, c, func(ctx context.Context, target *chromedp.Target) (webauthn.AuthenticatorID, error) {
		if _, err := cdp.Call(ctx, target, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return "", err
		}
		added, err := cdp.Call(ctx, target, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
			Options: &webauthn.VirtualAuthenticatorOptions{
				Protocol: "ctap2", Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true,
				HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
			},
		})
		return added.AuthenticatorID, err
	})
}

// verified tells the device whether to find that the person is the right one.
func (c *chrome) verified(t testing.TB, device webauthn.AuthenticatorID, is bool) {
	t.Helper()
	c.do(t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: device, IsUserVerified: is})
		return err
	}))
}

// lookPast is look at a page with secrets on it, which are not for a picture.
func (c *chrome) lookPast(t testing.TB, name string, secrets ...string) {
	t.Helper()
	for _, css := range secrets {
		c.do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(e => {
			if (e.tagName === "IMG") { e.style.filter = "blur(3px)"; return; }
			e.textContent = e.textContent.replace(/[A-Z2-7]/g, "X");
		})(document.querySelector(%q))`, css)))
	}
	c.look(t, name)
}
