package oauthhttp_test

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/foxbridge/foxbridge/oauth"
)

// exchange are the parameters of a right request for a code with PKCE.
func (a application) exchange(code string) url.Values {
	v := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI},
		"code_verifier": {verifier}, "client_id": {a.ID},
	}
	if a.secret != "" {
		v.Set("client_secret", a.secret)
	}
	return v
}

// set gives v with a parameter changed; an empty value takes it away.
func set(v url.Values, name, value string) url.Values {
	if value == "" {
		v.Del(name)
		return v
	}
	v.Set(name, value)
	return v
}

// caller finds what an access token stands for.
func (s *server) caller(token string) (oauth.Access, error) {
	return s.handler.Caller(request("GET", path, "", authorization, "Bearer "+token))
}

func TestACodeGivesTokensOfThePersonAndTheScope(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app := s.commercial(t)
		code := s.code(t, app, func(r *oauth.AuthorizeRequest) { r.Scope = "socket:operate security:read" })
		w := s.post(form, app.exchange(code).Encode())
		a := tokens(t, w)
		require.Equal(t, `{"access_token":"`+a.AccessToken+`","expires_in":3600,"token_type":"Bearer","scope":"security:read socket:operate","refresh_token":"`+a.RefreshToken+"\"}\n", w.Body.String())
		access, err := s.caller(a.AccessToken)
		require.NoError(t, err)
		require.Equal(t, s.alice.ID, access.UserID)
		require.Equal(t, app.ID, access.ClientID)
		require.Equal(t, oauth.NewScope("security:read", "socket:operate"), access.Scope)
	})
}

// As the documentation of the vendor has it: Basic, no scope, no challenge.
func TestTheDocumentedCodeExchange(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	app := s.commercial(t)
	body := "grant_type=authorization_code&code=" + s.code(t, app, withoutPKCE) + "&redirect_uri=" + url.QueryEscape(redirectURI)
	a := tokens(t, s.post(form, body, authorization, basic(app.ID, app.secret)))
	b := tokens(t, s.post(form, "grant_type=refresh_token&refresh_token="+a.RefreshToken, authorization, basic(app.ID, app.secret)))
	require.NotEqual(t, a.AccessToken, b.AccessToken)
	require.Equal(t, a.Scope, b.Scope)
}

// A code that is tried with something wrong is not spent by it.
func TestCodesThatAreRefused(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app, other, native := s.commercial(t), s.commercial(t), s.commercial(t, public)
		code, plain, nativeCode := s.code(t, app), s.code(t, app, withoutPKCE), s.code(t, native)
		right, simple, nativeRight := app.exchange(code), without(app.exchange(plain), "code_verifier"), native.exchange(nativeCode)
		with := func(v url.Values, name, value string) url.Values {
			clone := url.Values{}
			for name := range v {
				clone.Set(name, v.Get(name))
			}
			return set(clone, name, value)
		}
		for name, v := range map[string]url.Values{
			"unknown":                           with(right, "code", oauth.NewSecret()),
			"malformed":                         with(right, "code", strings.ToUpper(code)),
			"other client's":                    other.exchange(code),
			"public client's by another":        native.exchange(code),
			"without its verifier":              with(right, "code_verifier", ""),
			"wrong verifier":                    with(right, "code_verifier", strings.Repeat("a", 43)),
			"verifier too short":                with(right, "code_verifier", verifier[:42]),
			"verifier too long":                 with(right, "code_verifier", strings.Repeat("a", 129)),
			"plain verifier":                    with(right, "code_verifier", challenge),
			"verifier in other case":            with(right, "code_verifier", strings.ToUpper(verifier)),
			"public, without its verifier":      with(nativeRight, "code_verifier", ""),
			"verifier for a code without":       with(simple, "code_verifier", verifier),
			"redirect_uri missing without PKCE": with(simple, "redirect_uri", ""),
			"other redirect_uri":                with(right, "redirect_uri", "https://app.example/callback"),
			"redirect_uri in other case":        with(right, "redirect_uri", strings.Replace(redirectURI, "app", "App", 1)),
			"redirect_uri and a slash":          with(right, "redirect_uri", redirectURI+"/"),
			"other redirect_uri without PKCE":   with(simple, "redirect_uri", "https://app.example/callback"),
			"refresh token for a code":          with(right, "code", oauth.NewSecret()),
		} {
			w := s.post(form, v.Encode())
			require.Equal(t, 400, w.Code, "%s: %s", name, w.Body)
			require.Equal(t, answer{Error: "invalid_grant", Description: "The authorization code is invalid or expired"}, decoded(t, w), name)
		}
		tokens(t, s.post(form, right.Encode()))
		tokens(t, s.post(form, simple.Encode()))
		tokens(t, s.post(form, without(nativeRight, "redirect_uri").Encode()))
	})
}

func TestACodeLivesForThirtySeconds(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app := s.commercial(t)
		first, second := s.code(t, app), s.code(t, app)
		s.Advance(30*time.Second - time.Microsecond)
		tokens(t, s.post(form, app.exchange(first).Encode()))
		s.Advance(time.Microsecond)
		require.Equal(t, "invalid_grant", decoded(t, s.post(form, app.exchange(second).Encode())).Error)
	})
}

func TestACodeReplayRevokesWhatItGave(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app, other := s.commercial(t), s.commercial(t)
		code, unrelated := s.code(t, app), s.code(t, app)
		first := tokens(t, s.post(form, app.exchange(code).Encode()))
		bystander := tokens(t, s.post(form, app.exchange(unrelated).Encode()))
		refresh := func(token string) answer {
			return decoded(t, s.post(form, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}.Encode(), authorization, basic(app.ID, app.secret)))
		}
		second := refresh(first.RefreshToken)

		require.Equal(t, "invalid_grant", decoded(t, s.post(form, other.exchange(code).Encode())).Error)
		_, err := s.caller(second.AccessToken)
		require.NoError(t, err, "another application cannot revoke it so")

		s.Advance(time.Minute) // long after its end
		s.seen.Seen()
		require.Equal(t, answer{Error: "invalid_grant", Description: "The authorization code is invalid or expired"}, decoded(t, s.post(form, app.exchange(code).Encode())))
		require.Equal(t, []string{"code reused"}, s.seen.Seen())
		for _, token := range []string{first.AccessToken, second.AccessToken} {
			_, err := s.caller(token)
			require.Error(t, err)
		}
		require.Equal(t, "invalid_grant", refresh(second.RefreshToken).Error)
		_, err = s.caller(bystander.AccessToken)
		require.NoError(t, err)
	})
}

func TestOneWinnerAmongAHundredRedemptions(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app := s.commercial(t)
		body := app.exchange(s.code(t, app)).Encode()
		var (
			mu   sync.Mutex
			won  []string
			all  sync.WaitGroup
			lost = map[string]int{}
		)
		for range 100 {
			all.Go(func() {
				a := decoded(t, s.post(form, body))
				mu.Lock()
				defer mu.Unlock()
				if a.Error == "" {
					won = append(won, a.AccessToken)
					return
				}
				lost[a.Error]++
			})
		}
		all.Wait()
		require.Len(t, won, 1)
		require.Equal(t, map[string]int{"invalid_grant": 99}, lost)
		_, err := s.caller(won[0])
		require.Error(t, err, "the other 99 were replays")
	})
}

func TestTheScopeOfARefreshIsEqualOrLesser(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app := s.commercial(t)
		code := s.code(t, app, func(r *oauth.AuthorizeRequest) { r.Scope = "socket:read socket:operate" })
		a := tokens(t, s.post(form, app.exchange(code).Encode()))
		refresh := func(scope string) answer {
			v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.RefreshToken}, "client_id": {app.ID}, "client_secret": {app.secret}}
			got := decoded(t, s.post(form, set(v, "scope", scope).Encode()))
			if got.Error == "" {
				a = got
			}
			return got
		}
		for _, beyond := range []string{"shutter:read", "socket:read shutter:read", "unknown", "socket:read  socket:operate", "Socket:read", `"`, " "} {
			require.Equal(t, answer{Error: "invalid_scope", Description: "An unsupported scope was requested"}, refresh(beyond), beyond)
		}
		require.Equal(t, "socket:read", *refresh("socket:read").Scope)
		access, err := s.caller(a.AccessToken)
		require.NoError(t, err)
		require.Equal(t, oauth.NewScope("socket:read"), access.Scope)
		require.Equal(t, "socket:operate socket:read", *refresh("socket:operate socket:read socket:read").Scope, "what was lessened once can be had again")
		require.Equal(t, "socket:operate socket:read", *refresh("").Scope)
	})
}

func TestScopesOfClientCredentials(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app := s.commercial(t, func(r *oauth.CommercialRequest) { r.Scopes = []string{"socket:read", "history:read"} })
		picky := s.commercial(t, func(r *oauth.CommercialRequest) { r.RequireScope = true })
		ask := func(a application, scope string) answer {
			return decoded(t, s.post(form, set(url.Values{"grant_type": {"client_credentials"}}, "scope", scope).Encode(), authorization, basic(a.ID, a.secret)))
		}
		require.Equal(t, "history:read socket:read", *ask(app, "").Scope)
		require.Equal(t, "socket:read", *ask(app, "socket:read").Scope)
		require.Equal(t, "invalid_scope", ask(app, "shutter:read").Error)
		require.Equal(t, answer{Error: "invalid_scope", Description: "This application requires you specify a scope parameter"}, ask(picky, ""))
		a := ask(picky, "history:read")
		require.Empty(t, a.RefreshToken)
		access, err := s.caller(a.AccessToken)
		require.NoError(t, err)
		require.Zero(t, access.UserID, "it is nobody's")
		require.Empty(t, access.UserName)
		require.Equal(t, oauth.NewScope("history:read"), access.Scope)
	})
}

// Clients search the text of a success for these.
func TestNoScopeHoldsAWordThatStopsAClient(t *testing.T) {
	t.Parallel()
	for _, scope := range scopes() {
		for _, word := range hostile() {
			require.NotContains(t, strings.ToLower(scope), word)
		}
	}
}

// A client library that knows nothing of us gets a code with PKCE, and refreshes.
func TestStockClientWithACode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		style  oauth2.AuthStyle
		public bool
	}{
		"header":       {oauth2.AuthStyleInHeader, false},
		"params":       {oauth2.AuthStyleInParams, false},
		"auto":         {oauth2.AuthStyleAutoDetect, false},
		"public":       {oauth2.AuthStyleInParams, true},
		"public, auto": {oauth2.AuthStyleAutoDetect, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, nil)
			web := httptest.NewServer(s.checked)
			defer web.Close()
			app := s.commercial(t, func(r *oauth.CommercialRequest) { r.Public = c.public })
			config := oauth2.Config{
				ClientID: app.ID, ClientSecret: app.secret, RedirectURL: redirectURI, Scopes: []string{"socket:read"},
				Endpoint: oauth2.Endpoint{AuthURL: issuer + "/oauth2/authorize", TokenURL: web.URL + "/oauth2/token", AuthStyle: c.style},
			}
			secret := oauth2.GenerateVerifier()
			back := s.consent(t, authorizeRequest(t, config.AuthCodeURL("a state", oauth2.S256ChallengeOption(secret))))
			require.Equal(t, "a state", back.Get("state"))
			require.Equal(t, issuer, back.Get("iss"))
			require.Equal(t, "foxbridge", back.Get("from"), "the query of the redirect URI is kept")

			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, web.Client())
			first, err := config.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(secret))
			require.NoError(t, err)
			require.Equal(t, "socket:read", first.Extra("scope"))
			expired := *first
			expired.Expiry = time.Now().Add(-time.Minute)
			second, err := config.TokenSource(ctx, &expired).Token()
			require.NoError(t, err)
			require.NotEqual(t, first.AccessToken, second.AccessToken)
			access, err := s.caller(second.AccessToken)
			require.NoError(t, err)
			require.Equal(t, s.alice.ID, access.UserID)

			_, err = config.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(secret))
			var refusal *oauth2.RetrieveError
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, "invalid_grant", refusal.ErrorCode)
		})
	}
}

// authorizeRequest is what the authorization endpoint makes of an address.
func authorizeRequest(t *testing.T, address string) oauth.AuthorizeRequest {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	q := u.Query()
	return oauth.AuthorizeRequest{
		ResponseType: q.Get("response_type"), ClientID: q.Get("client_id"), RedirectURI: q.Get("redirect_uri"),
		Scope: q.Get("scope"), State: q.Get("state"),
		CodeChallenge: q.Get("code_challenge"), CodeChallengeMethod: q.Get("code_challenge_method"),
	}
}

func TestStockClientWithItsOwnCredentials(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	web := httptest.NewServer(s.checked)
	defer web.Close()
	app := s.commercial(t)
	config := clientcredentials.Config{
		ClientID: app.ID, ClientSecret: app.secret, TokenURL: web.URL + "/oauth2/token", Scopes: []string{"history:read"},
	}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, web.Client())
	token, err := config.Token(ctx)
	require.NoError(t, err)
	require.Empty(t, token.RefreshToken)
	require.True(t, token.Valid())
	access, err := s.caller(token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, app.ID, access.ClientID)
}
