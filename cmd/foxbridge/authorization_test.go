package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// redirectURI is where the tests' application would listen.
const redirectURI = "http://127.0.0.1:9/back"

// commercialApp registers a commercial application with the real program, and has it
// approved.
func (e *estate) commercialApp(t testing.TB, args ...string) application {
	t.Helper()
	var a application
	e.run(t, &a, append([]string{"app", "request", "--owner", e.username, "--name", "Weather", "--redirect-uri", redirectURI}, args...)...)
	e.run(t, nil, "app", "approve", a.ClientID)
	return a
}

// stock is golang.org/x/oauth2 as it comes.
func stock(bridge *running, a application) *oauth2.Config {
	server := "http://" + bridge.HTTP
	return &oauth2.Config{
		ClientID: a.ClientID, ClientSecret: a.ClientSecret, RedirectURL: redirectURI,
		Endpoint: oauth2.Endpoint{AuthURL: server + "/oauth2/authorize", TokenURL: server + "/oauth2/token"},
	}
}

// consented is a visitor who was asked, signed in and gave consent, and the values with
// which the browser was sent back.
func consented(t testing.TB, e *estate, config *oauth2.Config, narrowed url.Values, options ...oauth2.AuthCodeOption) (back url.Values) {
	t.Helper()
	v := newVisitor(t)
	v.stay = config.RedirectURL
	v.open(t, config.AuthCodeURL("the state", options...))
	require.Equal(t, "/signin", v.at.Path)
	v.signIn(t, e)
	require.Equal(t, "/oauth2/authorize", v.at.Path, v.text())
	require.Contains(t, v.text(), "Weather")
	v.answer(t, "allow", narrowed)
	require.True(t, strings.HasPrefix(v.at.String(), config.RedirectURL+"?"), "%s: %s", v.at, v.text())
	return v.at.Query()
}

// discovery is what a client reads of the server's metadata (RFC 8414).
type discovery struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Revocation    string   `json:"revocation_endpoint"`
	Introspection string   `json:"introspection_endpoint"`
	Userinfo      string   `json:"userinfo_endpoint"`
	Scopes        []string `json:"scopes_supported"`
}

func discover(t testing.TB, bridge *running) discovery {
	t.Helper()
	status, body := get(t, "http://"+bridge.HTTP+"/.well-known/oauth-authorization-server")
	require.Equal(t, http.StatusOK, status, body)
	var d discovery
	require.NoError(t, json.Unmarshal([]byte(body), &d))
	return d
}

// asClient posts a form with an application's credentials.
func asClient(t testing.TB, address string, a application, form url.Values) (status int, body string) {
	t.Helper()
	if a.ClientSecret == "" {
		form.Set("client_id", a.ClientID)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	if a.ClientSecret != "" {
		r.SetBasicAuth(a.ClientID, a.ClientSecret)
	}
	return exchange(t, r, "application/x-www-form-urlencoded")
}

// The whole life of a commercial application's access with a stock client: consent
// through the real pages, use, refresh, introspection, revocation.
func TestStockClientThroughTheRealPages(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		owner := e.token(t, bridge)
		home := e.live(t, bridge, owner)
		a := e.commercialApp(t)
		d := discover(t, bridge)
		require.Equal(t, "http://"+bridge.HTTP, d.Issuer, "the address that was taken")
		require.Equal(t, d.Issuer+"/oauth2/authorize", d.Authorization)
		require.Equal(t, d.Issuer+"/oauth2/token", d.Token)
		config := stock(bridge, a)

		verifier := oauth2.GenerateVerifier()
		back := consented(t, e, config, nil, oauth2.S256ChallengeOption(verifier))
		require.Equal(t, "the state", back.Get("state"))
		require.Equal(t, d.Issuer, back.Get("iss"))
		token, err := config.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
		require.NoError(t, err)
		require.Equal(t, "Bearer", token.TokenType)
		require.ElementsMatch(t, d.Scopes, strings.Fields(token.Extra("scope").(string)), "all that is registered")

		// It does what it was allowed to.
		client := config.Client(t.Context(), token)
		response, err := client.Post("http://"+bridge.HTTP+e.path("/security/set/armed"), "", nil)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Len(t, home.Executions(), 1)
		status, body := authorized(t, bridge, http.MethodGet, e.path("/history"), token.AccessToken)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "Alarm armed by Alice", "the person is on the record")
		status, body = authorized(t, bridge, http.MethodGet, "/oauth2/userinfo", token.AccessToken)
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, e.username)

		// It learns what its token is; another application learns nothing.
		status, body = asClient(t, d.Introspection, a, url.Values{"token": {token.AccessToken}})
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"active":true`)
		require.Contains(t, body, e.username)
		other := e.commercialApp(t)
		status, body = asClient(t, d.Introspection, other, url.Values{"token": {token.AccessToken}})
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"active":false}`, body)

		// A refresh, as the library does it when the token has run out.
		stale := *token
		stale.Expiry = time.Now().Add(-time.Minute)
		renewed, err := config.TokenSource(t.Context(), &stale).Token()
		require.NoError(t, err)
		require.NotEqual(t, token.AccessToken, renewed.AccessToken)
		require.NotEqual(t, token.RefreshToken, renewed.RefreshToken)

		// Another application cannot end it; its own can, and all of it.
		status, body = asClient(t, d.Revocation, other, url.Values{"token": {renewed.RefreshToken}})
		require.Equal(t, http.StatusOK, status, body)
		status, _ = authorized(t, bridge, http.MethodGet, e.path("/security"), renewed.AccessToken)
		require.Equal(t, http.StatusOK, status)
		status, body = asClient(t, d.Revocation, a, url.Values{"token": {renewed.RefreshToken}})
		require.Equal(t, http.StatusOK, status, body)
		for _, dead := range []string{token.AccessToken, renewed.AccessToken} {
			status, body = authorized(t, bridge, http.MethodGet, e.path("/security"), dead)
			require.Equal(t, http.StatusUnauthorized, status)
			require.Contains(t, body, "invalid_token")
		}
		renewed.Expiry = time.Now().Add(-time.Minute)
		_, err = config.TokenSource(t.Context(), renewed).Token()
		require.ErrorContains(t, err, "invalid_grant")
		status, body = asClient(t, d.Introspection, a, url.Values{"token": {renewed.AccessToken}})
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"active":false}`, body)
	})
}

// Of a consent that was narrowed the application gets what is left, on every call.
func TestNarrowedConsentHoldsOnEveryCall(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		cottage, _ := e.addHome(t, "Cottage", "socket:Lamp")
		bridge := e.serve(t)
		e.live(t, bridge, e.token(t, bridge))
		config := stock(bridge, e.commercialApp(t, "--scope", "security:read", "--scope", "security:arm", "--scope", "socket:read"))

		back := consented(t, e, config, url.Values{"scope": {"security:read", "socket:read"}, "site": {fmt.Sprint(e.home.SiteID)}})
		token, err := config.Exchange(t.Context(), back.Get("code"))
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"security:read", "socket:read"}, strings.Fields(token.Extra("scope").(string)))
		try := func(method, path string) (int, string) { return authorized(t, bridge, method, path, token.AccessToken) }

		status, body := try(http.MethodGet, e.path("/security"))
		require.Equal(t, http.StatusOK, status, body)
		status, body = try(http.MethodGet, "/v2/client/site/items")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, `"label":"Home"`)
		require.NotContains(t, body, "Cottage", "it was not let in there")
		status, body = try(http.MethodGet, securityOf(cottage))
		require.Equal(t, http.StatusNotFound, status, body)
		for _, path := range []string{"/security/set/armed", "/security/set/disarmed"} {
			status, body = try(http.MethodPost, e.path(path))
			require.Equal(t, http.StatusForbidden, status, path)
			require.Contains(t, body, "insufficient_scope")
		}
		status, _ = try(http.MethodGet, e.path("/history"))
		require.Equal(t, http.StatusForbidden, status)

		// A refresh does not widen it, but narrows it further.
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}, "scope": {"security:arm"}}
		status, body = asClient(t, config.Endpoint.TokenURL, application{ClientID: config.ClientID, ClientSecret: config.ClientSecret}, form)
		require.Equal(t, http.StatusBadRequest, status, body)
		require.Contains(t, body, "invalid_scope")
		form.Set("scope", "socket:read")
		status, body = asClient(t, config.Endpoint.TokenURL, application{ClientID: config.ClientID, ClientSecret: config.ClientSecret}, form)
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"scope":"socket:read"`)
	})
}

// What goes wrong on the way is told to the application where it can be, and to the
// person where it must.
func TestWaysThatAConsentCanEnd(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		confidential := stock(bridge, e.commercialApp(t))
		public := stock(bridge, e.commercialApp(t, "--public"))
		signedIn := func() *visitor {
			v := newVisitor(t)
			v.stay = redirectURI
			v.open(t, "http://"+bridge.HTTP+"/signin")
			v.signIn(t, e)
			return v
		}

		t.Run("the person says no", func(t *testing.T) {
			t.Parallel()
			v := signedIn()
			v.open(t, confidential.AuthCodeURL("s"))
			v.answer(t, "deny")
			back := v.at.Query()
			require.Equal(t, "access_denied", back.Get("error"))
			require.Equal(t, "s", back.Get("state"))
			require.NotEmpty(t, back.Get("iss"))
			require.Empty(t, back.Get("code"))
		})
		t.Run("a wrong password is asked again", func(t *testing.T) {
			t.Parallel()
			v := newVisitor(t)
			v.open(t, confidential.AuthCodeURL("s"))
			v.submit(t, "/signin", url.Values{"username": {e.username}, "password": {"wrong"}})
			require.Equal(t, http.StatusForbidden, v.status)
			require.NotNil(t, v.form("/signin"))
			v.signIn(t, e)
			require.Equal(t, "/oauth2/authorize", v.at.Path, "and then goes on")
		})
		t.Run("an address that is not the application's gets nobody", func(t *testing.T) {
			t.Parallel()
			v := signedIn()
			for _, uri := range []string{"https://evil.example.com/", redirectURI + "/more", "http://127.0.0.1:9/Back", ""} {
				stray := *confidential
				stray.RedirectURL = uri
				v.open(t, stray.AuthCodeURL("s"))
				require.Equal(t, http.StatusBadRequest, v.status, uri)
				require.Equal(t, bridge.HTTP, v.at.Host, uri)
			}
			unknown := *confidential
			unknown.ClientID = strings.Repeat("0", 32)
			v.open(t, unknown.AuthCodeURL("s"))
			require.Equal(t, http.StatusBadRequest, v.status)
			pending := unknown
			var requested application
			e.run(t, &requested, "app", "request", "--owner", e.username, "--name", "Pending", "--redirect-uri", redirectURI)
			pending.ClientID = requested.ClientID
			v.open(t, pending.AuthCodeURL("s"))
			require.Equal(t, http.StatusBadRequest, v.status, "not approved")
		})
		t.Run("another port of loopback is a native application's right", func(t *testing.T) {
			t.Parallel()
			native := *public
			native.RedirectURL = "http://127.0.0.1:54321/back"
			verifier := oauth2.GenerateVerifier()
			back := consented(t, e, &native, nil, oauth2.S256ChallengeOption(verifier))
			token, err := native.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
			require.NoError(t, err)
			require.NotEmpty(t, token.RefreshToken)
		})
		t.Run("a public application must use PKCE", func(t *testing.T) {
			t.Parallel()
			v := signedIn()
			v.open(t, public.AuthCodeURL("s"))
			require.Equal(t, "invalid_request", v.at.Query().Get("error"))
			verifier := oauth2.GenerateVerifier()
			back := consented(t, e, public, nil, oauth2.S256ChallengeOption(verifier))
			_, err := public.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier()))
			require.ErrorContains(t, err, "invalid_grant", "with another's verifier")
			_, err = public.Exchange(t.Context(), back.Get("code"))
			require.ErrorContains(t, err, "invalid_grant", "without one")
			_, err = public.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
			require.NoError(t, err)
		})
		t.Run("a code that is used twice ends what it gave", func(t *testing.T) {
			t.Parallel()
			back := consented(t, e, confidential, nil)
			token, err := confidential.Exchange(t.Context(), back.Get("code"))
			require.NoError(t, err)
			_, err = confidential.Exchange(t.Context(), back.Get("code"))
			require.ErrorContains(t, err, "invalid_grant")
			status, _ := authorized(t, bridge, http.MethodGet, "/v2/client/site/items", token.AccessToken)
			require.Equal(t, http.StatusUnauthorized, status)
		})
		t.Run("a consent from another site's page is refused", func(t *testing.T) {
			t.Parallel()
			v := signedIn()
			v.open(t, confidential.AuthCodeURL("s"))
			values := fieldsOf(v.form("/oauth2/consent"))
			values.Set("answer", "allow")
			r, err := http.NewRequest(http.MethodPost, "http://"+bridge.HTTP+"/oauth2/consent", strings.NewReader(values.Encode()))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			v.send(t, r)
			require.Equal(t, http.StatusForbidden, v.status)

			thief := signedIn() // with a session of its own
			thief.open(t, confidential.AuthCodeURL("s"))
			r, err = http.NewRequest(http.MethodPost, "http://"+bridge.HTTP+"/oauth2/consent", strings.NewReader(values.Encode()))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			thief.send(t, r)
			require.Equal(t, http.StatusForbidden, thief.status, "the form was made for another session")
		})
	})
}

// A token that an application got for itself reaches nobody's home.
func TestClientCredentialsReachNoHome(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		a := e.commercialApp(t)
		config := clientcredentials.Config{ClientID: a.ClientID, ClientSecret: a.ClientSecret, TokenURL: "http://" + bridge.HTTP + "/oauth2/token"}
		token, err := config.Token(t.Context())
		require.NoError(t, err)
		require.Empty(t, token.RefreshToken)

		status, body := authorized(t, bridge, http.MethodGet, "/v2/client/site/items", token.AccessToken)
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"items":[]`)
		socket := e.path(fmt.Sprintf("/device/%d/socket/on", e.box.Devices[0].DeviceID))
		for method, paths := range map[string][]string{
			http.MethodGet:  {e.path("/security"), e.path("/history"), e.path("/device/socket/items")},
			http.MethodPost: {e.path("/security/set/disarmed"), socket},
		} {
			for _, path := range paths {
				status, body = authorized(t, bridge, method, path, token.AccessToken)
				require.Equal(t, http.StatusNotFound, status, "%s: %s", path, body)
			}
		}
		public := e.commercialApp(t, "--public")
		config.ClientID, config.ClientSecret, config.AuthStyle = public.ClientID, "", oauth2.AuthStyleInParams
		_, err = config.Token(context.WithValue(t.Context(), oauth2.HTTPClient, http.DefaultClient))
		require.Error(t, err, "a public one cannot prove who it is")
	})
}

// A secret is changed without an outage: both work until the old one is removed.
func TestSecretIsRotatedBesideARunningBridge(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data)
		bridge := e.serve(t)
		works := func(secret string) bool {
			form := url.Values{"grant_type": {"password"}, "username": {e.username}, "password": {e.password}}
			status, _ := asClient(t, "http://"+bridge.HTTP+"/oauth2/token", application{ClientID: e.app.ClientID, ClientSecret: secret}, form)
			return status == http.StatusOK
		}
		var added application
		e.run(t, &added, "app", "secret", "add", e.app.ClientID)
		require.True(t, works(e.app.ClientSecret))
		require.True(t, works(added.ClientSecret))

		var listed []application
		e.run(t, &listed, "app", "list")
		require.Len(t, listed[0].Secrets, 2)
		for _, s := range listed[0].Secrets {
			require.NotNil(t, s.LastUsedAt, "both were used")
		}
		e.run(t, nil, "app", "secret", "remove", e.app.ClientID, fmt.Sprint(listed[0].Secrets[1].ID))
		require.False(t, works(e.app.ClientSecret))
		require.True(t, works(added.ClientSecret))
	})
}

// Pages of other origins may call what takes a token, and nothing that takes a cookie.
func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	bridge := serveProcess(t, t.TempDir())
	ask := func(path string) http.Header {
		r, err := http.NewRequest(http.MethodOptions, "http://"+bridge.HTTP+path, nil)
		require.NoError(t, err)
		r.Header.Set("Origin", "https://app.example.com")
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "authorization")
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.Header
	}
	for _, path := range []string{"/oauth2/token", "/v2/client/site/items"} {
		require.Equal(t, "*", ask(path).Get("Access-Control-Allow-Origin"), path)
	}
	for _, path := range []string{"/oauth2/authorize", "/oauth2/consent", "/signin", "/dev/apps"} {
		require.Empty(t, ask(path).Get("Access-Control-Allow-Origin"), path)
	}
}

// With an https address the cookies are for that host over TLS alone.
func TestPublicURLIsTheIssuerAndSecuresCookies(t *testing.T) {
	t.Parallel()
	bridge := serveProcess(t, t.TempDir(), "--public-url", "https://home.example.com")
	require.Equal(t, "https://home.example.com", discover(t, bridge).Issuer)
	v := newVisitor(t)
	v.open(t, "http://"+bridge.HTTP+"/signin")
	require.Equal(t, http.StatusOK, v.status)
	require.NotEmpty(t, v.header.Get("Strict-Transport-Security"))
	cookies := v.header.Values("Set-Cookie")
	require.NotEmpty(t, cookies)
	for _, cookie := range cookies {
		require.Regexp(t, `^__Host-.*; Secure`, cookie)
	}

	plain := serveProcess(t, t.TempDir())
	v.open(t, "http://"+plain.HTTP+"/signin")
	require.Empty(t, v.header.Get("Strict-Transport-Security"))
	cookies = v.header.Values("Set-Cookie")
	require.NotEmpty(t, cookies)
	_, port, _ := strings.Cut(plain.HTTP, ":")
	for _, cookie := range cookies {
		require.NotContains(t, cookie, "Secure")
		require.Regexp(t, "^foxbridge-"+port+"-", cookie, "browsers send it to the other ports too")
	}
}

// Signing in and consenting leave no secret in the log, at its most talkative.
func TestLogOfAConsentHoldsNoSecret(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t, "--log-level", "debug")
	a := e.commercialApp(t)
	config := stock(bridge, a)
	v := newVisitor(t)
	v.stay = redirectURI
	verifier := oauth2.GenerateVerifier()
	v.open(t, config.AuthCodeURL("a-secret-state", oauth2.S256ChallengeOption(verifier)))
	v.submit(t, "/signin", url.Values{"username": {e.username}, "password": {"a-wrong-password"}})
	v.signIn(t, e)
	ticket := fieldsOf(v.form("/oauth2/consent")).Get("ticket")
	require.NotEmpty(t, ticket)
	v.answer(t, "allow")
	code := v.at.Query().Get("code")
	token, err := config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	_, err = config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	require.Error(t, err)
	status, body := asClient(t, "http://"+bridge.HTTP+"/oauth2/introspect?token="+token.AccessToken, a, url.Values{"token": {token.AccessToken}})
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"active":false}`, body, "its code was used twice")
	status, _ = asClient(t, "http://"+bridge.HTTP+"/oauth2/revoke", a, url.Values{"token": {token.RefreshToken}})
	require.Equal(t, http.StatusOK, status)

	secrets := []string{
		"a-secret-state", "a-wrong-password", e.password, url.QueryEscape(e.password), a.ClientSecret, verifier, ticket, code,
		token.AccessToken, token.RefreshToken,
	}
	for _, cookie := range v.http.Jar.Cookies(&url.URL{Scheme: "http", Host: bridge.HTTP}) {
		secrets = append(secrets, cookie.Value)
	}
	require.Greater(t, len(secrets), 10, "the session's cookie is among them")
	require.Equal(t, exitOK, bridge.stop(t))
	log := bridge.log.String()
	require.Contains(t, log, "/oauth2/consent", "the log tells of the requests")
	for _, secret := range secrets {
		require.NotContains(t, log, secret)
	}
}

// What somebody was told stands after the bridge was killed: the session, the consent,
// and the code that was not redeemed yet.
func TestKilledBridgeForgetsNoConsent(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		address := bridge.HTTP
		config := stock(bridge, e.commercialApp(t))
		v := newVisitor(t)
		v.stay = redirectURI
		v.open(t, config.AuthCodeURL("s"))
		v.signIn(t, e)
		v.answer(t, "allow")
		code := v.at.Query().Get("code")
		require.NotEmpty(t, code)

		bridge.kill()
		bridge = e.serve(t, "--http", address)
		token, err := config.Exchange(t.Context(), code)
		require.NoError(t, err)
		status, body := authorized(t, bridge, http.MethodGet, "/v2/client/site/items", token.AccessToken)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, `"label":"Home"`)
		v.open(t, config.AuthCodeURL("s"))
		require.Equal(t, "/oauth2/authorize", v.at.Path, "still signed in: %s", v.text())
		_, err = config.Exchange(t.Context(), code)
		require.ErrorContains(t, err, "invalid_grant", "and nothing is good twice")
	})
}
