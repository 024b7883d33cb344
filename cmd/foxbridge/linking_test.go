package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/apitest"
	"golang.org/x/oauth2"
)

// Account linking, played to the letter of what the providers document. The page
// docs/account-linking.md names these tests beside each requirement.

// The addresses to which the providers have people sent back: Alexa has one for each
// region, Google one for a project and one for its sandbox.
func alexaRedirects() []string {
	return []string{
		"https://pitangui.amazon.com/api/skill/link/M2ABCDEFGHIJKL",
		"https://layla.amazon.com/api/skill/link/M2ABCDEFGHIJKL",
		"https://alexa.amazon.co.jp/api/skill/link/M2ABCDEFGHIJKL",
	}
}

func googleRedirects() []string {
	return []string{
		"https://oauth-redirect.googleusercontent.com/r/foxbridge-project",
		"https://oauth-redirect-sandbox.googleusercontent.com/r/foxbridge-project",
	}
}

// providersState is what the providers send as state: several hundred characters that
// mean nothing to anybody else.
var providersState = strings.Repeat("A2SAAEAEB-_.~5Kx/9Wv+0=%7B&Z?", 24)

// homeScopes are those of a smart home, as they are entered with a provider.
const homeScopes = "security:read security:arm socket:read socket:operate"

// assistant is a provider with an application of its own.
type assistant struct {
	server string
	app    application
	inBody bool // its credentials go into the body, not the header
	http   *http.Client
}

// newAssistant registers an application with these addresses.
func newAssistant(t testing.TB, e *estate, bridge *running, redirects []string) *assistant {
	t.Helper()
	args := []string{"app", "request", "--owner", e.username, "--name", "Assistant"}
	for _, uri := range redirects {
		args = append(args, "--redirect-uri", uri)
	}
	for scope := range strings.FieldsSeq(homeScopes) {
		args = append(args, "--scope", scope)
	}
	// Alexa waits 4.5 s for a token, and then the linking has failed.
	p := &assistant{server: "http://" + bridge.HTTP, http: &http.Client{Timeout: 4500 * time.Millisecond, Transport: apitest.Shared(t).Transport(&http.Transport{}, func(err error) { t.Error(err) })}}
	t.Cleanup(p.http.CloseIdleConnections)
	e.run(t, &p.app, args...)
	e.run(t, nil, "app", "approve", p.app.ClientID)
	return p
}

// ask has a person answer the provider's request, in a browser that the provider's app
// opens, and gives what comes back to the provider.
func (p *assistant) ask(t testing.TB, e *estate, redirect, answer string, more url.Values) (back url.Values) {
	t.Helper()
	request := url.Values{
		"response_type": {"code"}, "client_id": {p.app.ClientID}, "redirect_uri": {redirect},
		"state": {providersState}, "scope": {homeScopes},
	}
	for name, values := range more {
		request[name] = values
	}
	v := newVisitor(t)
	v.stay = redirect
	v.open(t, p.server+"/oauth2/authorize?"+request.Encode())
	require.Equal(t, "/signin", v.at.Path, v.text())
	v.signIn(t, e)
	v.answer(t, answer)
	require.True(t, strings.HasPrefix(v.at.String(), redirect+"?"), "%s: %s", v.at, v.text())
	require.Equal(t, providersState, v.at.Query().Get("state"))
	return v.at.Query()
}

// linked is what a provider keeps.
type linked struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Error        string `json:"error"`
}

// post sends a form to an endpoint as the provider authenticates.
func (p *assistant) post(t testing.TB, path string, form url.Values) (int, linked) {
	t.Helper()
	form.Set("client_id", p.app.ClientID) // Alexa names itself in the body in either case
	if p.inBody {
		form.Set("client_secret", p.app.ClientSecret)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.server+path, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	if !p.inBody {
		r.SetBasicAuth(p.app.ClientID, p.app.ClientSecret)
	}
	response, err := p.http.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "application/json", response.Header.Get("Content-Type"))
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var got linked
	require.NoError(t, json.Unmarshal(body, &got), "%s", body)
	return response.StatusCode, got
}

// redeem exchanges a code.
func (p *assistant) redeem(t testing.TB, code, redirect string, more url.Values) (int, linked) {
	t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}}
	for name, values := range more {
		form[name] = values
	}
	return p.post(t, "/oauth2/token", form)
}

func (p *assistant) refresh(t testing.TB, token string) (int, linked) {
	t.Helper()
	return p.post(t, "/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// link goes the whole way, and checks what both providers want of an answer.
func (p *assistant) link(t testing.TB, e *estate, redirect string, asked, redeemed url.Values) linked {
	t.Helper()
	back := p.ask(t, e, redirect, "allow", asked)
	status, got := p.redeem(t, back.Get("code"), redirect, redeemed)
	require.Equal(t, http.StatusOK, status, got.Error)
	require.Equal(t, "Bearer", got.TokenType)
	require.NotEmpty(t, got.RefreshToken)
	require.GreaterOrEqual(t, got.ExpiresIn, 360, "Alexa has no use for less than six minutes")
	require.NotContains(t, got.AccessToken, ".", "Google takes no JWT")
	return got
}

// works reports whether an access token reaches the home.
func works(t testing.TB, e *estate, bridge *running, token string) bool {
	t.Helper()
	status, body := authorized(t, bridge, http.MethodGet, "/v2/client/site/items", token)
	if status != http.StatusOK {
		require.Equal(t, http.StatusUnauthorized, status)
		require.Contains(t, body, `"error":"invalid_token"`)
	}
	return status == http.StatusOK && strings.Contains(body, fmt.Sprintf(`"siteId":%d`, e.home.SiteID))
}

// linkingEstate is a home whose owner links an account.
func linkingEstate(t testing.TB) (*estate, *running) {
	t.Helper()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	return e, e.serve(t)
}

// Alexa links from each of its regions, authenticates in either of its ways, and with
// PKCE or without.
func TestAlexaLinksAnAccount(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	for i, redirect := range alexaRedirects() {
		for _, withPKCE := range []bool{false, true} {
			inBody := (i%2 == 0) == withPKCE
			t.Run(fmt.Sprintf("%s, PKCE %t, credentials in the body %t", redirect, withPKCE, inBody), func(t *testing.T) {
				t.Parallel()
				p := newAssistant(t, e, bridge, alexaRedirects())
				p.inBody = inBody
				asked, redeemed := url.Values{}, url.Values{}
				if withPKCE {
					verifier := oauth2.GenerateVerifier()
					asked.Set("code_challenge", oauth2.S256ChallengeFromVerifier(verifier))
					asked.Set("code_challenge_method", "S256")
					redeemed.Set("code_verifier", verifier)
				}
				got := p.link(t, e, redirect, asked, redeemed)
				require.True(t, works(t, e, bridge, got.AccessToken))
			})
		}
	}
}

// Google links from its project and from its sandbox. It tells the person's language,
// and may send more than anybody here knows of.
func TestGoogleLinksAnAccount(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	for _, redirect := range googleRedirects() {
		for _, inBody := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, credentials in the body %t", redirect, inBody), func(t *testing.T) {
				t.Parallel()
				p := newAssistant(t, e, bridge, googleRedirects())
				p.inBody = inBody
				more := url.Values{"user_locale": {"fr-FR"}, "access_type": {"offline"}, "something.new": {"1"}}
				got := p.link(t, e, redirect, more, url.Values{"something.new": {"1"}})
				require.True(t, works(t, e, bridge, got.AccessToken))
				status, body := authorized(t, bridge, http.MethodGet, "/oauth2/userinfo", got.AccessToken)
				require.Equal(t, http.StatusOK, status)
				var person struct{ Sub, Email string }
				require.NoError(t, json.Unmarshal([]byte(body), &person))
				require.NotEmpty(t, person.Sub)
				require.Equal(t, e.username, person.Email)
			})
		}
	}
}

// The person who says no goes back to the provider, who is told.
func TestLinkingIsDenied(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	redirects := append(alexaRedirects(), googleRedirects()...)
	p := newAssistant(t, e, bridge, redirects)
	for _, redirect := range []string{redirects[0], redirects[3]} {
		back := p.ask(t, e, redirect, "deny", nil)
		require.Equal(t, "access_denied", back.Get("error"))
		require.Empty(t, back.Get("code"))
	}
}

// Nobody is sent to the address of somebody else's skill or project.
func TestLinkingGoesToTheRegisteredAddressesOnly(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	p := newAssistant(t, e, bridge, append(alexaRedirects(), googleRedirects()...))
	for _, redirect := range []string{
		"https://pitangui.amazon.com/api/skill/link/M2SOMEBODYELSE",
		"https://pitangui.amazon.com/api/skill/link/M2ABCDEFGHIJKL/",
		"https://pitangui.amazon.com.example.com/api/skill/link/M2ABCDEFGHIJKL",
		"https://oauth-redirect.googleusercontent.com/r/other-project",
		"http://oauth-redirect.googleusercontent.com/r/foxbridge-project",
	} {
		v := newVisitor(t)
		v.open(t, p.server+"/oauth2/authorize?"+url.Values{
			"response_type": {"code"}, "client_id": {p.app.ClientID}, "redirect_uri": {redirect}, "state": {providersState},
		}.Encode())
		require.Equal(t, http.StatusBadRequest, v.status, redirect)
		require.Equal(t, bridge.HTTP, v.at.Host, redirect)
	}
}

// A code works once, for the address and the application that it was made for, and
// what is wrong with it is said in one way.
func TestLinkingCodeIsGoodOnce(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	redirects := alexaRedirects()
	p, other := newAssistant(t, e, bridge, redirects), newAssistant(t, e, bridge, redirects)
	refused := func(status int, got linked) {
		t.Helper()
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "invalid_grant", got.Error)
	}
	code := p.ask(t, e, redirects[0], "allow", nil).Get("code")
	refused(p.redeem(t, code, redirects[1], nil))
	refused(other.redeem(t, code, redirects[0], nil))
	refused(p.redeem(t, strings.Repeat("0", 64), redirects[0], nil))
	status, got := p.redeem(t, code, redirects[0], nil)
	require.Equal(t, http.StatusOK, status, "neither was the end of it")
	refused(p.redeem(t, code, redirects[0], nil))
	require.False(t, works(t, e, bridge, got.AccessToken), "a code that comes twice was stolen")
	refused(p.refresh(t, got.RefreshToken))
}

// A provider refreshes from several machines at once, loses an answer and asks again,
// and uses the access token that it had for as long as that lasts.
func TestAccountStaysLinked(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	p := newAssistant(t, e, bridge, alexaRedirects())
	first := p.link(t, e, alexaRedirects()[0], nil, nil)

	const machines = 8
	pairs := make([]linked, machines)
	var all sync.WaitGroup
	for i := range pairs {
		all.Go(func() {
			status, got := p.refresh(t, first.RefreshToken)
			if status == http.StatusOK {
				pairs[i] = got
			}
		})
	}
	all.Wait()
	for _, got := range pairs {
		require.Equal(t, pairs[0].AccessToken, got.AccessToken, "all get the same pair")
		require.Equal(t, pairs[0].RefreshToken, got.RefreshToken)
		require.GreaterOrEqual(t, got.ExpiresIn, 360)
	}
	require.NotEqual(t, first.AccessToken, pairs[0].AccessToken)
	require.NotEmpty(t, pairs[0].RefreshToken)
	require.True(t, works(t, e, bridge, first.AccessToken), "it has an hour of its own")
	require.True(t, works(t, e, bridge, pairs[0].AccessToken))

	p.inBody = true
	status, third := p.refresh(t, pairs[0].RefreshToken)
	require.Equal(t, http.StatusOK, status)
	require.True(t, works(t, e, bridge, third.AccessToken))
}

// What cannot be refreshed is 400 invalid_grant, on which both providers ask the person
// to link anew, and nothing else is.
func TestRefreshOfALinkedAccountIsRefused(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	p := newAssistant(t, e, bridge, googleRedirects())
	got := p.link(t, e, googleRedirects()[0], nil, nil)
	for name, token := range map[string]string{
		"unknown": strings.Repeat("0", 64), "no token of ours": "1/fFAGRNJru1FTz70BzhT3Zg", "an access token": got.AccessToken,
	} {
		for _, p.inBody = range []bool{true, false} {
			status, refusal := p.refresh(t, token)
			require.Equal(t, http.StatusBadRequest, status, name)
			require.Equal(t, "invalid_grant", refusal.Error, name)
		}
	}
	wrong := *p
	wrong.app.ClientSecret = strings.Repeat("0", 64)
	for inBody, status := range map[bool]int{true: http.StatusBadRequest, false: http.StatusUnauthorized} {
		wrong.inBody = inBody
		code, refusal := wrong.refresh(t, got.RefreshToken)
		require.Equal(t, status, code)
		require.Equal(t, "invalid_client", refusal.Error, "a provider with the wrong secret is no reason to unlink")
	}
	code, _ := p.refresh(t, got.RefreshToken)
	require.Equal(t, http.StatusOK, code, "none of it has hurt the account")
}

// A person unlinks here or with the provider, and it has ended in both places.
func TestAccountIsUnlinked(t *testing.T) {
	t.Parallel()
	e, bridge := linkingEstate(t)
	ended := func(t *testing.T, p *assistant, got linked) {
		t.Helper()
		require.False(t, works(t, e, bridge, got.AccessToken))
		status, refusal := p.refresh(t, got.RefreshToken)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "invalid_grant", refusal.Error)
	}
	t.Run("by the person, here", func(t *testing.T) {
		t.Parallel()
		p := newAssistant(t, e, bridge, alexaRedirects())
		got := p.link(t, e, alexaRedirects()[0], nil, nil)
		v := newVisitor(t)
		v.open(t, p.server+"/connected")
		v.signIn(t, e)
		require.Contains(t, v.text(), "Assistant")
		v.submit(t, "/connected", url.Values{"client_id": {p.app.ClientID}})
		ended(t, p, got)
	})
	t.Run("by the provider, with the token's kind", func(t *testing.T) {
		t.Parallel()
		p := newAssistant(t, e, bridge, googleRedirects())
		p.inBody = true
		got := p.link(t, e, googleRedirects()[0], nil, nil)
		for range 2 { // a provider that is not sure does it again
			status, _ := p.post(t, "/oauth2/revoke", url.Values{"token": {got.RefreshToken}, "token_type_hint": {"refresh_token"}})
			require.Equal(t, http.StatusOK, status)
		}
		ended(t, p, got)
	})
}
