package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// Client libraries as they come, against the real program: nothing is set but what each
// documents, and nothing about them is known to the server.

// asked lets a person answer an application's request. Every time it is somebody with
// another browser, who signs in first.
func asked(t testing.TB, e *estate) func(address, answer string) (back string) {
	t.Helper()
	return func(address, answer string) string {
		v := newVisitor(t)
		v.stay = redirectURI
		v.open(t, address)
		require.Equal(t, "/signin", v.at.Path, v.text())
		v.signIn(t, e)
		v.answer(t, answer)
		return v.at.String()
	}
}

func TestOpenIDClient(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		for authentication, args := range map[string][]string{"basic": nil, "post": nil, "none": {"--public"}} {
			t.Run(authentication, func(t *testing.T) {
				t.Parallel()
				a := e.commercialApp(t, args...)
				node(t, "openid-client.mjs", map[string]any{
					"issuer": "http://" + bridge.HTTP, "authentication": authentication, "redirect_uri": redirectURI,
					"client_id": a.ClientID, "client_secret": a.ClientSecret, "email": e.username,
				}, asked(t, e))
			})
		}
	})
}

func TestSimpleOAuth2(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		a := e.commercialApp(t)
		credentials := func(a application) map[string]string {
			return map[string]string{"client_id": a.ClientID, "client_secret": a.ClientSecret}
		}
		for name, options := range map[string]map[string]string{
			"as it comes":               {"authorizationMethod": "header"},
			"header, as it is, in JSON": {"authorizationMethod": "header", "credentialsEncodingMode": "loose", "bodyFormat": "json"},
			"body":                      {"authorizationMethod": "body"},
			"body, in JSON":             {"authorizationMethod": "body", "bodyFormat": "json"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				node(t, "simple-oauth2.mjs", map[string]any{
					"issuer": "http://" + bridge.HTTP, "options": options, "redirect_uri": redirectURI,
					"commercial": credentials(a), "personal": credentials(e.app),
					"username": e.username, "password": e.password,
				}, asked(t, e))
			})
		}
	})
}

// golang.org/x/oauth2 with the password grant, and the two ways in which it sends a
// secret. Its ways with codes and with credentials of a client are tested beside the
// pages that they need.
func TestGoOAuth2WithAPassword(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		for name, style := range map[string]oauth2.AuthStyle{
			"it finds out": oauth2.AuthStyleAutoDetect, "header": oauth2.AuthStyleInHeader, "body": oauth2.AuthStyleInParams,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				config := stock(bridge, e.app)
				config.RedirectURL, config.Endpoint.AuthStyle = "", style
				token, err := config.PasswordCredentialsToken(t.Context(), e.username, e.password)
				require.NoError(t, err)
				require.Equal(t, "Bearer", token.Type())
				require.WithinDuration(t, time.Now().Add(time.Hour), token.Expiry, time.Minute)
				require.Nil(t, token.Extra("scope"), "all that the person may do")

				status, body := through(t, config, token, "http://"+bridge.HTTP+"/v2/client/site/items")
				require.Equal(t, http.StatusOK, status, body)
				require.Contains(t, body, `"label":"Home"`)
				stale := *token
				stale.Expiry = time.Now().Add(-time.Second)
				renewed, err := config.TokenSource(t.Context(), &stale).Token()
				require.NoError(t, err)
				require.NotEqual(t, token.AccessToken, renewed.AccessToken)
				require.NotEqual(t, token.RefreshToken, renewed.RefreshToken)

				_, err = config.PasswordCredentialsToken(t.Context(), e.username, "wrong")
				var refusal *oauth2.RetrieveError
				require.ErrorAs(t, err, &refusal)
				require.Equal(t, "invalid_grant", refusal.ErrorCode)
				require.Equal(t, http.StatusBadRequest, refusal.Response.StatusCode)
			})
		}
	})
}

// through calls an address with the library's own client.
func through(t testing.TB, config *oauth2.Config, token *oauth2.Token, address string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	require.NoError(t, err)
	answer, err := config.Client(ctx, token).Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	var text strings.Builder
	require.NoError(t, answer.Write(&text))
	return answer.StatusCode, text.String()
}

// A person who is signed in, and let the application in before, is asked again: nothing
// that a client sends gets it in unasked.
func TestNoClientIsLetInUnasked(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data)
	bridge := e.serve(t)
	config := stock(bridge, e.commercialApp(t))
	v := newVisitor(t)
	v.stay = redirectURI
	v.open(t, config.AuthCodeURL("first"))
	v.signIn(t, e)
	v.answer(t, "allow")
	require.Equal(t, "first", v.at.Query().Get("state"))
	v.open(t, config.AuthCodeURL("second", oauth2.SetAuthURLParam("prompt", "none")))
	require.NotNil(t, v.form("/oauth2/consent"), v.text())
}
