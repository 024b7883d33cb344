package oauthhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// about are the parameters of a request about a token.
func (a application) about(token string) url.Values {
	v := url.Values{"token": {token}, "client_id": {a.ID}}
	if a.secret != "" {
		v.Set("client_secret", a.secret)
	}
	return v
}

// issue gives an application tokens for Alice.
func (s *server) issue(t testing.TB, a application) answer {
	return tokens(t, s.post(form, a.exchange(s.code(t, a)).Encode()))
}

func (s *server) revoke(a application, token string) *httptest.ResponseRecorder {
	return s.postTo("/oauth2/revoke", form, a.about(token).Encode())
}

// introspect gives the text of the answer.
func (s *server) introspect(t testing.TB, a application, token string) string {
	t.Helper()
	w := s.postTo("/oauth2/introspect", form, a.about(token).Encode())
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	decoded(t, w)
	return strings.TrimSuffix(w.Body.String(), "\n")
}

const inactive = `{"active":false}`

func TestRevocation(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app, other, native := s.commercial(t), s.commercial(t), s.commercial(t, public)
		done := func(w *httptest.ResponseRecorder) {
			t.Helper()
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, "{}\n", w.Body.String())
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		}
		live := func(token string) bool {
			_, err := s.caller(token)
			return err == nil
		}
		a := s.issue(t, app)
		for _, token := range []string{oauth.NewSecret(), "x", strings.Repeat("a", 10_000), strings.ToUpper(a.AccessToken)} {
			done(s.revoke(app, token))
		}
		done(s.revoke(other, a.AccessToken))
		done(s.revoke(other, a.RefreshToken))
		done(s.revoke(native, a.RefreshToken))
		require.True(t, live(a.AccessToken), "another's token is not touched")

		done(s.revoke(app, a.AccessToken))
		done(s.revoke(app, a.AccessToken))
		require.False(t, live(a.AccessToken))
		refreshed := tokens(t, s.post(form, without(set(app.about(""), "token", ""), "token").Encode()+"&grant_type=refresh_token&refresh_token="+a.RefreshToken))
		require.True(t, live(refreshed.AccessToken), "an access token is revoked alone")

		done(s.revoke(app, refreshed.RefreshToken))
		require.False(t, live(refreshed.AccessToken), "a refresh token ends all of its grant")

		b := s.issue(t, native)
		done(s.revoke(native, b.RefreshToken))
		require.False(t, live(b.AccessToken), "a public application knows the token: that is enough")

		c := tokens(t, s.post(form, s.signIn().Encode()))
		done(s.postTo("/oauth2/revoke", form, "token_type_hint=access_token&token="+c.RefreshToken, authorization, basic(s.client.ID, s.secret)))
		require.False(t, live(c.AccessToken), "the hint changes nothing")
	})
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app, other := s.commercial(t, func(r *oauth.CommercialRequest) { r.Scopes = []string{"socket:read", "history:read"} }), s.commercial(t)
		iat := s.Now().Unix()
		a := s.issue(t, app)
		require.Equal(t, fmt.Sprintf(`{"active":true,"scope":"history:read socket:read","client_id":"%s","username":"alice@example.org","token_type":"Bearer","exp":%d,"iat":%d,"sub":"%d","iss":"https://foxbridge.example"}`,
			app.ID, iat+3600, iat, s.alice.ID), s.introspect(t, app, a.AccessToken))
		require.Equal(t, fmt.Sprintf(`{"active":true,"scope":"history:read socket:read","client_id":"%s","username":"alice@example.org","exp":%d,"iat":%d,"sub":"%d","iss":"https://foxbridge.example"}`,
			app.ID, iat+365*24*3600, iat, s.alice.ID), s.introspect(t, app, a.RefreshToken))

		own := tokens(t, s.post(form, "grant_type=client_credentials", authorization, basic(app.ID, app.secret)))
		require.Equal(t, fmt.Sprintf(`{"active":true,"scope":"history:read socket:read","client_id":"%s","token_type":"Bearer","exp":%d,"iat":%d,"iss":"https://foxbridge.example"}`,
			app.ID, iat+3600, iat), s.introspect(t, app, own.AccessToken))

		personal := application{s.client, s.secret}
		unscoped := tokens(t, s.post(form, s.signIn().Encode()))
		require.Equal(t, fmt.Sprintf(`{"active":true,"client_id":"%s","username":"alice@example.org","token_type":"Bearer","exp":%d,"iat":%d,"sub":"%d","iss":"https://foxbridge.example"}`,
			s.client.ID, iat+3600, iat, s.alice.ID), s.introspect(t, personal, unscoped.AccessToken))

		for name, token := range map[string]string{
			"unknown": oauth.NewSecret(), "malformed": "x", "oversized": strings.Repeat("a", 10_000),
			"in other case": strings.ToUpper(a.AccessToken), "another's": unscoped.AccessToken, "another's refresh": unscoped.RefreshToken,
		} {
			require.Equal(t, inactive, s.introspect(t, app, token), name)
		}
		require.Equal(t, inactive, s.introspect(t, other, a.AccessToken))
		require.Equal(t, inactive, s.introspect(t, other, a.RefreshToken))

		spent := a.RefreshToken
		b := tokens(t, s.post(form, without(app.about(""), "token").Encode()+"&grant_type=refresh_token&refresh_token="+spent))
		require.Equal(t, inactive, s.introspect(t, app, spent))
		require.Equal(t, http.StatusOK, s.revoke(app, b.RefreshToken).Code)
		require.Equal(t, inactive, s.introspect(t, app, b.AccessToken))
		require.Equal(t, inactive, s.introspect(t, app, b.RefreshToken))
		s.Advance(time.Hour)
		require.Equal(t, inactive, s.introspect(t, app, own.AccessToken))
	})
}

func TestRequestsAboutATokenThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	app, native, pending := s.commercial(t), s.commercial(t, public), s.requested(t)
	token := s.issue(t, app).AccessToken
	right := app.about(token).Encode()
	minus := func(names ...string) string { return without(app.about(token), names...).Encode() }
	const (
		invalidRequest = "invalid_request"
		invalidClient  = "invalid_client"
	)
	for name, c := range map[string]struct {
		body               string
		header             string
		revoke, introspect int
		code, description  string
	}{
		"no token":              {minus("token"), "", 400, 400, invalidRequest, "The token parameter is missing"},
		"empty token":           {minus("token") + "&token=", "", 400, 400, invalidRequest, "The token parameter is missing"},
		"repeated token":        {right + "&token=x", "", 400, 400, invalidRequest, "The token parameter is given more than once"},
		"repeated hint":         {right + "&token_type_hint=a&token_type_hint=a", "", 400, 400, invalidRequest, "The token_type_hint parameter is given more than once"},
		"NUL":                   {right + "&token_type_hint=%00", "", 400, 400, invalidRequest, "The token_type_hint parameter is not text in UTF-8 without NUL"},
		"invalid UTF-8":         {minus("token") + "&token=%ff", "", 400, 400, invalidRequest, "The token parameter is not text in UTF-8 without NUL"},
		"too large":             {right + "&x=" + strings.Repeat("a", 64<<10), "", 413, 413, invalidRequest, "The request body is too large"},
		"nobody":                {"token=" + token, "", 400, 401, invalidClient, "Client credentials were not found in the headers or body"},
		"wrong secret":          {set(app.about(token), "client_secret", "no").Encode(), "", 400, 401, invalidClient, "The client credentials are invalid"},
		"wrong secret in Basic": {"token=" + token, basic(app.ID, "no"), 401, 401, invalidClient, "The client credentials are invalid"},
		"no secret":             {minus("client_secret"), "", 400, 401, invalidClient, "Client credentials were not found in the headers or body"},
		"public with a secret":  {set(native.about(token), "client_secret", "x").Encode(), "", 400, 401, invalidClient, "The client credentials are invalid"},
		"credentials twice":     {right, basic(app.ID, app.secret), 400, 400, invalidRequest, "The client authenticates both in the header and in the body"},
		"pending":               {pending.about(token).Encode(), "", 400, 400, "unauthorized_client", "The application is not approved"},
	} {
		for path, status := range map[string]int{"/oauth2/revoke": c.revoke, "/oauth2/introspect/": c.introspect} {
			var headers []string
			if c.header != "" {
				headers = []string{authorization, c.header}
			}
			w := s.postTo(path, form, c.body, headers...)
			require.Equal(t, status, w.Code, "%s at %s: %s", name, path, w.Body)
			require.Equal(t, answer{Error: c.code, Description: c.description}, decoded(t, w), "%s at %s", name, path)
			require.Equal(t, status == 401, w.Header().Get("WWW-Authenticate") == `Basic realm="foxbridge"`, name)
			require.Len(t, s.seen.Seen(), 1, "%s at %s", name, path)
			require.Len(t, s.log.Lines(), 1, "%s at %s", name, path)
		}
	}
	_, err := s.caller(token)
	require.NoError(t, err, "none of that revoked it")

	w := s.postTo("/oauth2/introspect", form, native.about(token).Encode())
	require.Equal(t, http.StatusUnauthorized, w.Code, "a public application cannot prove who it is")
	require.Equal(t, "invalid_client", decoded(t, w).Error)
	require.Contains(t, s.log.Lines()[0], `"msg":"introspection request refused"`)
}

func TestRequestsAboutATokenInEveryForm(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	app := s.commercial(t)
	token := s.issue(t, app).AccessToken
	multi, parts := asMultipart(t, app.about(token))
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		require.Equal(t, http.StatusOK, s.postTo(path, multi, parts).Code)
		require.Equal(t, http.StatusOK, s.postTo(path, jsonType, asJSON(t, app.about(token))).Code)
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
			w := s.do(httptest.NewRequest(method, path+"?"+app.about(token).Encode(), nil))
			require.Equal(t, http.StatusMethodNotAllowed, w.Code)
			require.Equal(t, "POST", w.Header().Get("Allow"))
		}
	}
}

func TestUserinfo(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app := s.commercial(t)
		a := s.issue(t, app)
		for name, r := range map[string]*http.Request{
			"GET":            request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+a.AccessToken),
			"with a slash":   request("GET", "/oauth2/userinfo/", "", authorization, "Bearer "+a.AccessToken),
			"query":          request("GET", "/oauth2/userinfo?access_token="+a.AccessToken, ""),
			"POST":           request("POST", "/oauth2/userinfo", "", authorization, "Bearer "+a.AccessToken),
			"POST in a form": request("POST", "/oauth2/userinfo", "access_token="+a.AccessToken, contentType, form),
		} {
			w := s.do(r)
			require.Equal(t, http.StatusOK, w.Code, name)
			decoded(t, w)
			require.Equal(t, fmt.Sprintf(`{"sub":"%d","username":"alice@example.org","email":"alice@example.org","full_name":"Alice"}`+"\n", s.alice.ID), w.Body.String(), name)
		}

		own := tokens(t, s.post(form, "grant_type=client_credentials", authorization, basic(app.ID, app.secret)))
		const about = `, resource_metadata="https://foxbridge.example/.well-known/oauth-protected-resource"`
		for name, c := range map[string]struct {
			request   *http.Request
			status    int
			answer    answer
			challenge string
		}{
			"no token":      {request("GET", "/oauth2/userinfo", ""), 401, answer{Error: "invalid_token", Description: "No access token was given"}, `Bearer realm="foxbridge"` + about},
			"unknown token": {request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+oauth.NewSecret()), 401, answer{Error: "invalid_token", Description: "The access token provided is invalid"}, `Bearer realm="foxbridge", error="invalid_token", error_description="The access token provided is invalid"` + about},
			"refresh token": {request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+a.RefreshToken), 401, answer{Error: "invalid_token", Description: "The access token provided is invalid"}, `Bearer realm="foxbridge", error="invalid_token", error_description="The access token provided is invalid"` + about},
			"two tokens":    {request("GET", "/oauth2/userinfo?access_token=x", "", authorization, "Bearer y"), 401, answer{Error: "invalid_token", Description: "More than one access token was given"}, `Bearer realm="foxbridge", error="invalid_token", error_description="More than one access token was given"` + about},
			"nobody's":      {request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+own.AccessToken), 403, answer{Error: "insufficient_scope", Description: "The access token stands for no person"}, `Bearer realm="foxbridge", error="insufficient_scope", error_description="The access token stands for no person"` + about},
			"method":        {request("PUT", "/oauth2/userinfo", "", authorization, "Bearer "+a.AccessToken), 405, answer{Error: "invalid_request", Description: "The userinfo endpoint takes GET, HEAD, POST only"}, ""},
		} {
			s.seen.Seen()
			s.log.Lines()
			w := s.do(c.request)
			require.Equal(t, c.status, w.Code, name)
			require.Equal(t, c.answer, decoded(t, w), name)
			require.Equal(t, c.challenge, w.Header().Get("WWW-Authenticate"), name)
			require.Len(t, s.seen.Seen(), 1, name)
			require.Len(t, s.log.Lines(), 1, name)
		}
	})
}
