package oauthhttp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// shown is what an authenticator app with that secret shows now.
func (s *site) shown(t testing.TB, secret string) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, s.Now())
	require.NoError(t, err)
	return code
}

// wrongCode is none that an app with that secret shows around now.
func (s *site) wrongCode(t testing.TB, secret string) string {
	t.Helper()
	shown := map[string]bool{}
	for _, later := range []time.Duration{-30 * time.Second, 0, 30 * time.Second} {
		code, err := totp.GenerateCode(secret, s.Now().Add(later))
		require.NoError(t, err)
		shown[code] = true
	}
	for _, code := range []string{"000000", "111111", "222222", "333333"} {
		if !shown[code] {
			return code
		}
	}
	require.Fail(t, "three codes are four")
	return ""
}

// secret is the one that the page for an authenticator app shows.
func (v *view) secret() string {
	v.t.Helper()
	found := v.all("code", "id", "secret")
	require.Len(v.t, found, 1)
	return strings.ReplaceAll(textOf(found[0]), " ", "")
}

// recovery are the codes on the page that shows them.
func (v *view) recovery() []string {
	v.t.Helper()
	require.Equal(v.t, http.StatusOK, v.status, v.body)
	found := v.all("code", "id", "recovery-codes")
	require.Len(v.t, found, 1)
	return strings.Fields(textOf(found[0]))
}

// setUp has who is signed in set up an authenticator app, and moves on past its code.
func (b *browser) setUp() (secret string, recovery []string) {
	b.t.Helper()
	page := b.get("/security/totp")
	form, secret := page.form("/security/totp"), page.secret()
	form.Set("code", b.site.shown(b.t, secret))
	form.Set("password", password)
	recovery = b.post("/security/totp", form).recovery()
	b.site.Advance(5 * time.Minute)
	return secret, recovery
}

// half enters Alice's password, and gives the page of the second factor.
func (s *site) half(t testing.TB, back string) (*browser, *view) {
	t.Helper()
	b := s.browser(t)
	to := b.post("/signin", b.tries(email, password, back)).location()
	require.True(t, strings.HasPrefix(to, "/signin/second"), to)
	require.False(t, b.isSignedIn())
	return b, b.get(to)
}

// codeForm is the form of a code on the page of the second factor.
func (v *view) codeForm(kind, code string) url.Values {
	v.t.Helper()
	form := v.formAt("/signin/second")
	form.Set("kind", kind)
	form.Set("code", code)
	return form
}

// device is an authenticator with one passkey.
type device struct {
	site virtualwebauthn.RelyingParty
	chip virtualwebauthn.Authenticator
	key  virtualwebauthn.Credential
}

func newDevice(t testing.TB) *device {
	t.Helper()
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		point, err := key.PublicKey.Bytes()
		require.NoError(t, err)
		if point[1] == 0 || point[33] == 0 { // the library would shorten it
			continue
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		return &device{
			site: virtualwebauthn.RelyingParty{ID: "foxbridge.example", Name: "Foxbridge", Origin: issuer},
			chip: virtualwebauthn.NewAuthenticator(),
			key:  virtualwebauthn.NewCredentialWithImportedKey(virtualwebauthn.KeyTypeEC2, der),
		}
	}
}

// options are those that a form gives to the script.
func (v *view) options(action string) string {
	v.t.Helper()
	found := v.all("form", "action", action)
	require.Len(v.t, found, 1)
	require.True(v.t, has(found[0], "hidden"), "without a script there is no button")
	require.Equal(v.t, issuer, attribute(found[0], "data-passkeys-at"))
	return attribute(found[0], "data-options")
}

// answered is a form whose ceremony the device has answered.
func (d *device) answered(v *view, action string) url.Values {
	v.t.Helper()
	d.key.Counter++
	options, err := virtualwebauthn.ParseAssertionOptions(v.options(action))
	require.NoError(v.t, err)
	form := v.formAt(action)
	form.Set("credential", virtualwebauthn.CreateAssertionResponse(d.site, d.chip, d.key, *options))
	return form
}

// made is the form that adds the device's passkey.
func (d *device) made(v *view) url.Values {
	v.t.Helper()
	options, err := virtualwebauthn.ParseAttestationOptions(v.options("/security/passkeys"))
	require.NoError(v.t, err)
	d.chip.Options.UserHandle = []byte(options.UserID)
	form := v.formAt("/security/passkeys")
	form.Set("credential", virtualwebauthn.CreateAttestationResponse(d.site, d.chip, d.key, *options))
	return form
}

// making is the page on which the browser makes a passkey of that name.
func (b *browser) making(name string) *view {
	b.t.Helper()
	form := b.get("/security/passkeys/new").form("/security/passkeys/new")
	form.Set("name", name)
	form.Set("password", password)
	v := b.post("/security/passkeys/new", form)
	require.Equal(b.t, http.StatusOK, v.status, v.body)
	return v
}

func TestSignInWithAnAuthenticatorApp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret, _ := s.aliceAtHome(t).setUp()
	b, page := s.half(t, "/dev/apps")
	require.Equal(t, "One more step", page.heading())
	v := b.post("/signin/second", page.codeForm("totp", s.wrongCode(t, secret)))
	require.Equal(t, http.StatusForbidden, v.status)
	require.Contains(t, v.faults(), "This code is not right")
	require.False(t, b.isSignedIn())
	require.Empty(t, v.codeForm("totp", "")["code"][0])
	v = b.post("/signin/second", v.codeForm("totp", s.shown(t, secret)))
	require.Equal(t, "/dev/apps", v.location())
	require.True(t, b.isSignedIn())
	require.Empty(t, b.cookie("foxbridge-pending"))
	require.Equal(t, "/dev/apps", b.get("/signin/second?return=%2Fdev%2Fapps").location(), "who is signed in goes on")
	require.Equal(t, "/connected", b.post("/signin/second", url.Values{}).location())
	require.Equal(t, "/connected", b.post("/signin/second/passkey", url.Values{"return": {"//evil.example"}}).location())

	v = b.get("/security")
	require.Contains(t, v.text(), "Authenticator app On")
	require.Contains(t, v.text(), "10 codes are left.")
	require.Contains(t, textOf(v.all("nav", "", "")[0]), "Security")
}

func TestSignInWithARecoveryCode(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, codes := s.aliceAtHome(t).setUp()
	require.Len(t, codes, 10)
	b, page := s.half(t, "")
	v := b.post("/signin/second", page.codeForm("recovery", codes[0][:19]))
	require.Equal(t, http.StatusForbidden, v.status)
	require.Contains(t, v.faults(), "This recovery code is not right")
	require.True(t, has(v.all("details", "", "")[0], "open"))
	require.Equal(t, "/connected", b.post("/signin/second", v.codeForm("recovery", strings.ToLower(codes[0]))).location())
	require.Contains(t, b.get("/connected").text(), "You signed in with a recovery code")
	require.Contains(t, b.get("/security").text(), "9 codes are left.")

	b, page = s.half(t, "")
	v = b.post("/signin/second", page.codeForm("recovery", codes[0]))
	require.Equal(t, http.StatusForbidden, v.status, "it holds once")
	require.False(t, b.isSignedIn())
}

func TestFormsOfTheSecondStepThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret, codes := s.aliceAtHome(t).setUp()
	b, page := s.half(t, "")
	right := page.codeForm("totp", s.shown(t, secret))
	for name, test := range map[string]struct {
		change  tampered
		headers []string
		status  int
	}{
		"without the form token":   {with("form_token"), nil, 403},
		"from another site's page": {with("none"), []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"with two codes":           {with("code", codes[0], codes[1]), nil, 400},
		"with two kinds":           {with("kind", "totp", "recovery"), nil, 400},
		"without a code":           {with("code", ""), nil, 422},
		"with NUL":                 {with("code", "1\x00"), nil, 400},
		"not UTF-8":                {with("code", "\xff"), nil, 400},
		"oversized":                {with("code", strings.Repeat("1", 65<<10)), nil, 413},
		"with a long code":         {with("code", strings.Repeat("1", 30<<10)), nil, 403},
	} {
		form := maps.Clone(right)
		test.change(form)
		require.Equal(t, test.status, b.post("/signin/second", form, test.headers...).status, name)
		require.False(t, b.isSignedIn(), name)
	}
	require.Equal(t, "/signin?return=%2Fdev%2Fapps", s.browser(t).get("/signin/second?return=%2Fdev%2Fapps").location(), "of a browser that did not begin")
	other, page := s.half(t, "")
	require.Equal(t, http.StatusForbidden, other.post("/signin/second", right).status, "the form of another browser")
	stranger := s.browser(t)
	form := page.codeForm("totp", s.shown(t, secret))
	form.Set("form_token", stranger.get("/signin").form("/signin").Get("form_token"))
	require.Equal(t, http.StatusForbidden, stranger.post("/signin/second", form).status, "the token of another form")
	other.setCookie("foxbridge-pending", "x"+other.cookie("foxbridge-pending"))
	v := other.post("/signin/second", page.codeForm("totp", s.shown(t, secret)))
	require.Equal(t, http.StatusForbidden, v.status)
	require.Contains(t, v.faults(), "Sign in again")
	require.Equal(t, "Sign in", v.heading())
	right.Set("kind", "sms")
	require.Equal(t, "/connected", b.post("/signin/second", right).location(), "the rest stands")
}

func TestTheSecondStepTakesFiveMinutes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret, _ := s.aliceAtHome(t).setUp()
	b, page := s.half(t, "/dev/apps")
	pending := b.cookie("foxbridge-pending")
	s.Advance(oauth.PendingLifetime)
	v := b.post("/signin/second", page.codeForm("totp", s.shown(t, secret)))
	require.Equal(t, http.StatusForbidden, v.status)
	require.Contains(t, v.faults(), "This took too long")
	require.Equal(t, "/dev/apps", v.formAt("/signin").Get("return"), "one gets where one wanted to")
	require.Empty(t, b.cookie("foxbridge-pending"))
	b.setCookie("foxbridge-pending", pending)
	require.Equal(t, "/signin", b.get("/signin/second").location())
}

func TestAPendingSignInIsNoSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.aliceAtHome(t).setUp()
	b, _ := s.half(t, "")
	b.setCookie("foxbridge-session", b.cookie("foxbridge-pending"))
	require.False(t, b.isSignedIn())
	for _, path := range []string{"/security", "/security/totp", "/security/totp/remove", "/security/passkeys/new", "/security/passkeys/1/remove", "/security/recovery"} {
		require.Equal(t, "/signin?"+url.Values{"return": {path}}.Encode(), b.get(path).location())
	}
}

func TestTooManyCodesOnThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret, codes := s.aliceAtHome(t).setUp()
	b, page := s.half(t, "")
	for i := range oauth.DefaultFailureLimit {
		require.Equal(t, http.StatusForbidden, b.post("/signin/second", page.codeForm("totp", s.wrongCode(t, secret)), fromHeader, "192.0.2."+strconv.Itoa(i)).status)
	}
	v := b.post("/signin/second", page.codeForm("totp", s.shown(t, secret)))
	require.Equal(t, http.StatusTooManyRequests, v.status)
	require.Equal(t, "86400", v.header.Get("Retry-After"))
	require.Contains(t, v.faults(), "try again tomorrow")
	require.False(t, b.isSignedIn())
	for range oauth.DefaultFailureLimit {
		require.Equal(t, http.StatusForbidden, b.post("/signin/second", page.codeForm("recovery", "nonsense"), fromHeader, "192.0.2.1").status)
	}
	v = b.post("/signin/second", page.codeForm("recovery", codes[0]), fromHeader, "192.0.2.1")
	require.Equal(t, http.StatusTooManyRequests, v.status)
	require.Equal(t, "There have been too many attempts. Wait 15 minutes, then try again.", v.faults())
	require.Equal(t, "/connected", b.post("/signin/second", page.codeForm("recovery", codes[0]), fromHeader, "192.0.2.2").location())
}

func TestCodesSealedWithAnotherKey(t *testing.T) {
	t.Parallel()
	other := newSite(t)
	s := other.server
	_, err := s.store.AddTOTP(t.Context(), oauth.TOTP{UserID: s.alice.ID, Sealed: []byte("of another key, and long enough to be some"), CreatedAt: s.Now()}, nil, oauth.Change{})
	require.NoError(t, err)
	b, page := other.half(t, "")
	s.log.Lines()
	v := b.post("/signin/second", page.codeForm("totp", "000000"))
	require.Equal(t, http.StatusServiceUnavailable, v.status)
	require.Contains(t, v.faults(), "a mistake on our side")
	require.Contains(t, strings.Join(s.log.Lines(), "\n"), "seal-key")
}

func TestSettingUpAnAuthenticatorAppOnThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	require.Contains(t, b.get("/security").text(), "You have no second step yet.")
	page := b.get("/security/totp")
	secret := page.secret()
	picture := attribute(page.all("img", "width", "264")[0], "src")
	png, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(picture, "data:image/png;base64,"))
	require.NoError(t, err)
	require.Equal(t, "\x89PNG", string(png[:4]))
	require.Contains(t, page.header.Get("Content-Security-Policy"), "img-src 'self' data:")
	require.Contains(t, page.body, "otpauth://totp/Foxbridge:alice@example.org?")
	right := page.form("/security/totp")
	right.Set("code", s.shown(t, secret))
	right.Set("password", password)
	for name, test := range map[string]struct {
		change tampered
		status int
		fault  string
	}{
		"without the form token": {with("form_token"), 403, ""},
		"without a code":         {with("code", ""), 422, "This is not the code"},
		"with a wrong code":      {with("code", s.wrongCode(t, secret)), 422, "This is not the code"},
		"without a password":     {with("password", ""), 422, "Enter your password."},
		"with a wrong password":  {with("password", "wrong"), 403, "This is not your password."},
		"with no setup":          {with("setup", ""), 422, "open for too long"},
		"with another setup":     {with("setup", right.Get("setup")[1:]), 422, "open for too long"},
		"with two setups":        {with("setup", "a", "b"), 400, ""},
		"with NUL":               {with("code", "\x00"), 400, ""},
	} {
		form := maps.Clone(right)
		test.change(form)
		v := b.post("/security/totp", form)
		require.Equal(t, test.status, v.status, name)
		require.Contains(t, v.faults(), test.fault, name)
		if test.fault != "" && !strings.Contains(name, "setup") {
			require.Equal(t, secret, v.secret(), "it is the same one: %s", name)
		}
	}
	require.Equal(t, http.StatusForbidden, s.bobAtHome(t).post("/security/totp", right).status)
	recovery := b.post("/security/totp", right).recovery()
	require.Len(t, recovery, 10)
	require.Equal(t, http.StatusConflict, b.post("/security/totp", right).status, "again")
	require.Equal(t, "/security", b.get("/security/totp").location())

	s.Advance(time.Hour)
	b = s.bobAtHome(t)
	page = b.get("/security/totp")
	late := page.form("/security/totp")
	s.Advance(15 * time.Minute)
	late.Set("code", s.shown(t, page.secret()))
	late.Set("password", bobPassword)
	v := b.post("/security/totp", late)
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.NotEqual(t, page.secret(), v.secret(), "a new one")
}

func TestRemovingAnAuthenticatorApp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	require.Equal(t, "/security", b.get("/security/totp/remove").location())
	b.setUp()
	page := b.get("/security/totp/remove")
	require.Contains(t, page.text(), "This is your last one.")
	form := page.form("/security/totp/remove")
	require.Equal(t, http.StatusUnprocessableEntity, b.post("/security/totp/remove", form).status)
	form.Set("password", "wrong")
	v := b.post("/security/totp/remove", form)
	require.Equal(t, http.StatusForbidden, v.status)
	require.Contains(t, v.faults(), "This is not your password.")
	form.Set("password", password)
	require.Equal(t, http.StatusForbidden, s.bobAtHome(t).post("/security/totp/remove", form).status)
	require.Equal(t, "/security", b.post("/security/totp/remove", form).location())
	v = b.get("/security")
	require.Contains(t, v.text(), "The authenticator app is removed.")
	require.NotContains(t, v.text(), "Recovery codes")
	require.Equal(t, "/security", b.post("/security/totp/remove", form).location(), "again is as good")
	s.aliceAtHome(t) // with the password alone
}

func TestThePasswordIsGuessedNoMoreOftenHere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	b.setUp()
	form := b.get("/security/recovery").form("/security/recovery")
	form.Set("password", "wrong")
	for range oauth.DefaultFailureLimit {
		require.Equal(t, http.StatusForbidden, b.post("/security/recovery", form).status)
	}
	form.Set("password", password)
	v := b.post("/security/recovery", form)
	require.Equal(t, http.StatusTooManyRequests, v.status)
	require.Equal(t, "900", v.header.Get("Retry-After"))
	require.Contains(t, v.faults(), "Wait 15 minutes")
}

func TestNewRecoveryCodes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	require.Equal(t, "/security", b.get("/security/recovery").location())
	_, old := b.setUp()
	form := b.get("/security/recovery").form("/security/recovery")
	require.Equal(t, http.StatusUnprocessableEntity, b.post("/security/recovery", form).status)
	form.Set("password", password)
	fresh := b.post("/security/recovery", form).recovery()
	require.Len(t, fresh, 10)
	require.NotContains(t, fresh, old[0])
	in, page := s.half(t, "")
	require.Equal(t, http.StatusForbidden, in.post("/signin/second", page.codeForm("recovery", old[0])).status)
	for i, code := range fresh[:8] {
		in, page = s.half(t, "")
		require.Equal(t, "/connected", in.post("/signin/second", page.codeForm("recovery", code)).location(), i)
	}
	require.Contains(t, b.get("/security").text(), "2 codes are left. Make new ones before you run out.")

	bob := s.bobAtHome(t)
	form = bob.get("/signout").form("/signout")
	require.Equal(t, http.StatusForbidden, bob.post("/security/recovery", form).status, "the token of another form")
}

func TestPasskeysOnThePages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, d := s.aliceAtHome(t), newDevice(t)
	page := b.making("Phone <b>")
	form := d.made(page)
	for name, test := range map[string]struct {
		change tampered
		status int
	}{
		"without the form token":     {with("form_token"), 403},
		"without a ceremony":         {with("ceremony", ""), 403},
		"with a ceremony of no kind": {with("ceremony", "AAAA"), 403},
		"without an answer":          {with("credential", ""), 403},
		"with an answer of no kind":  {with("credential", `{"id":1}`), 403},
		"with two answers":           {with("credential", "{}", "{}"), 400},
		"oversized":                  {with("credential", strings.Repeat("x", 33<<10)), 400},
	} {
		wrong := maps.Clone(form)
		test.change(wrong)
		require.Equal(t, test.status, b.post("/security/passkeys", wrong).status, name)
	}
	bob := s.bobAtHome(t)
	theirs := maps.Clone(form)
	theirs.Set("form_token", d.madeToken(bob))
	require.Equal(t, http.StatusForbidden, bob.post("/security/passkeys", theirs).status, "the ceremony of another person")
	require.Len(t, b.post("/security/passkeys", form).recovery(), 10)
	v := b.post("/security/passkeys", form)
	require.Equal(t, http.StatusForbidden, v.status, "again")
	require.Contains(t, v.faults(), "The passkey was not added")
	require.Contains(t, b.get("/security").text(), "Phone <b> Added")

	// By itself.
	in := s.browser(t)
	page = in.get("/signin?return=%2Fdev%2Fapps")
	form = d.answered(page, "/signin/passkey")
	require.Equal(t, http.StatusForbidden, s.browser(t).post("/signin/passkey", form).status, "of another browser")
	broken := maps.Clone(form)
	broken.Set("credential", strings.Replace(form.Get("credential"), `"signature":"`, `"signature":"AAAA`, 1))
	v = in.post("/signin/passkey", broken)
	require.Equal(t, http.StatusForbidden, v.status)
	require.Contains(t, v.faults(), "This passkey was not accepted.")
	require.Equal(t, "/dev/apps", v.formAt("/signin").Get("return"))
	require.Equal(t, "/dev/apps", in.post("/signin/passkey", form).location())
	require.True(t, in.isSignedIn())
	require.Equal(t, "/dev/apps", in.post("/signin/passkey", form).location(), "who is signed in goes on")
	again := s.browser(t)
	page = again.get("/signin")
	replay := page.formAt("/signin/passkey")
	replay.Set("credential", form.Get("credential"))
	require.Equal(t, http.StatusForbidden, again.post("/signin/passkey", replay).status, "the answer to another challenge")
	replay.Set("ceremony", form.Get("ceremony"))
	require.Equal(t, http.StatusForbidden, again.post("/signin/passkey", replay).status, "the same answer in another browser")

	// And after the password.
	second, page := s.half(t, "/dev/apps")
	require.Empty(t, page.all("input", "value", "totp"), "there is no app to ask for a code")
	form = d.answered(page, "/signin/second/passkey")
	broken = maps.Clone(form)
	broken.Set("credential", "{}")
	v = second.post("/signin/second/passkey", broken)
	require.Equal(t, http.StatusForbidden, v.status)
	require.Contains(t, v.faults(), "This passkey was not accepted.")
	require.Equal(t, "/dev/apps", second.post("/signin/second/passkey", form).location())
	require.True(t, second.isSignedIn())

	// Until it is removed.
	factors, err := s.service.Factors(t.Context(), s.alice.ID)
	require.NoError(t, err)
	path := "/security/passkeys/" + strconv.FormatInt(factors.Passkeys[0].ID, 10) + "/remove"
	require.Equal(t, "/security", bob.get(path).location(), "whose it is not")
	for _, none := range []string{"0", "-1", "x", "99999999999999999999", strconv.FormatInt(factors.Passkeys[0].ID+1, 10)} {
		require.Equal(t, "/security", b.get("/security/passkeys/"+none+"/remove").location(), none)
		require.Equal(t, "/security", b.post("/security/passkeys/"+none+"/remove", url.Values{}).location(), none)
	}
	page = b.get(path)
	require.Contains(t, page.text(), "Phone <b>")
	require.Contains(t, page.text(), "This is your last one.")
	form = page.form(path)
	form.Set("password", "wrong")
	require.Equal(t, http.StatusForbidden, b.post(path, form).status)
	form.Set("password", password)
	require.Equal(t, "/security", b.post(path, form).location())
	require.Contains(t, b.get("/security").text(), "You have no second step yet.")
	out := s.browser(t)
	require.Equal(t, http.StatusForbidden, out.post("/signin/passkey", d.answered(out.get("/signin"), "/signin/passkey")).status)
}

// madeToken is the form token of the form that adds a passkey, in that browser.
func (*device) madeToken(b *browser) string {
	b.t.Helper()
	form := b.get("/security/passkeys/new").form("/security/passkeys/new")
	form.Set("name", "Mine")
	form.Set("password", bobPassword)
	return b.post("/security/passkeys/new", form).form("/security/passkeys").Get("form_token")
}

func TestNamingAPasskey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	right := b.get("/security/passkeys/new").form("/security/passkeys/new")
	right.Set("name", "Phone")
	right.Set("password", password)
	for name, test := range map[string]struct {
		change tampered
		status int
		fault  string
	}{
		"without the form token": {with("form_token"), 403, ""},
		"without a name":         {with("name", " "), 422, "Enter a name"},
		"with a long name":       {with("name", strings.Repeat("x", 101)), 422, "Enter a name"},
		"with a line end":        {with("name", "a\nb"), 422, "Enter a name"},
		"without a password":     {with("password", ""), 422, "Enter your password."},
		"with a wrong password":  {with("password", "wrong"), 403, "This is not your password."},
	} {
		form := maps.Clone(right)
		test.change(form)
		v := b.post("/security/passkeys/new", form)
		require.Equal(t, test.status, v.status, name)
		require.Contains(t, v.faults(), test.fault, name)
	}
	for range 20 {
		b.post("/security/passkeys", newDevice(t).made(b.making("Key")))
	}
	v := b.post("/security/passkeys/new", right)
	require.Equal(t, http.StatusConflict, v.status)
	require.Contains(t, v.faults(), "You have 20 passkeys already")
}

func TestAnAddressWithoutAHostNameOffersNoPasskeys(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	at, err := oauth.New(oauth.Options{Store: s.store, Passwords: s.passwords, Now: s.Now, Issuer: "http://127.0.0.1:8080"})
	require.NoError(t, err)
	site := newSiteOn(t, s, func(o *oauthhttp.PagesOptions) { o.Service = at })
	b := site.aliceAtHome(t)
	for _, path := range []string{"/security", "/signin"} {
		v := site.browser(t).get(path)
		if path == "/security" {
			v = b.get(path)
		}
		require.Equal(t, http.StatusOK, v.status)
		require.NotContains(t, strings.ToLower(v.text()), "passkey", path)
	}
	form := b.get("/security/passkeys/new").form("/security/passkeys/new")
	form.Set("name", "Phone")
	form.Set("password", password)
	v := b.post("/security/passkeys/new", form)
	require.Equal(t, http.StatusConflict, v.status)
	require.Contains(t, v.faults(), "Passkeys cannot be used at this address.")
	b.setUp()
	_, page := site.half(t, "")
	require.NotContains(t, strings.ToLower(page.text()), "passkey")
	require.Equal(t, http.StatusForbidden, site.browser(t).post("/signin/passkey", url.Values{}).status)
}

func TestPagesOfSecondFactorsInBothLanguages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	headings := map[string]string{}
	for _, lang := range []string{"en", "fr"} {
		b.lang = lang
		bob := s.bobAtHome(t)
		bob.lang = lang
		pages := map[string]*view{"security": b.get("/security"), "totp": bob.get("/security/totp"), "passkey": bob.get("/security/passkeys/new")}
		if lang == "en" {
			b.setUp()
		}
		pages["remove"], pages["recovery"] = b.get("/security/totp/remove"), b.get("/security/recovery")
		half, _ := s.half(t, "")
		half.lang = lang
		pages["second"] = half.get("/signin/second")
		for page, v := range pages {
			require.Equal(t, lang, v.header.Get("Content-Language"), page)
			require.Equal(t, http.StatusOK, v.status, page)
			require.NotEqual(t, headings[page], v.heading(), page)
			headings[page] = v.heading()
		}
	}
}

func TestATokenFromTheFormWantsThePasswordAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	b.setUp()
	app := "/dev/apps/" + s.client.ID
	form := b.get(app).form(app + "/token")
	form.Set("password", password)
	require.Equal(t, http.StatusOK, b.post(app+"/token", form).status)
}
