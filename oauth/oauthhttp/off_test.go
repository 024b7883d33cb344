package oauthhttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// explained is the refusal of an application that is off.
type explained struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	URI         string `json:"error_uri"`
	Explanation struct {
		By      string `json:"by"`
		Since   string `json:"since"`
		Rule    string `json:"rule"`
		Window  int    `json:"window_seconds"`
		Count   int    `json:"count"`
		Allowed int    `json:"allowed"`
		First   string `json:"first"`
		Last    string `json:"last"`
		Reason  string `json:"reason"`
		Advice  string `json:"advice"`
	} `json:"explanation"`
}

func explanationOf(t testing.TB, w *httptest.ResponseRecorder) (e explained) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), w.Body)
	return e
}

// A script that asks for a token on every call is told why it gets none: at the token
// endpoint with 400 unauthorized_client, with its live token with 401 invalid_token.
func TestAnApplicationThatIsSwitchedOffIsToldWhy(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		require.NoError(t, s.administration.SetLimits(t.Context(), s.client.ID, new(oauth.DefaultLimits())))
		var last answer
		for range 21 {
			w := s.post(form, s.signIn().Encode())
			last = tokens(t, w)
			require.NotContains(t, w.Body.String(), "explanation", "a success has what it always had")
			s.Advance(time.Minute)
		}
		for range 2 { // the one that crossed the line, and any later one
			w := s.post(form, s.signIn().Encode())
			require.Equal(t, http.StatusBadRequest, w.Code)
			e := explanationOf(t, w)
			require.Equal(t, "unauthorized_client", e.Error)
			require.Equal(t, issuer+"/dev/apps/"+s.client.ID, e.URI)
			require.Contains(t, e.Description, "21 wasteful access tokens")
			require.Equal(t, "wasteful_tokens_per_hour", e.Explanation.Rule)
			require.Equal(t, "policy", e.Explanation.By)
			require.Equal(t, []int{3600, 21, 20}, []int{e.Explanation.Window, e.Explanation.Count, e.Explanation.Allowed})
			require.Equal(t, "2026-03-01T12:01:00Z", e.Explanation.First)
			require.Equal(t, "2026-03-01T12:21:00Z", e.Explanation.Last)
			require.Contains(t, e.Explanation.Advice, "401")
		}
		live := s.do(request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+last.AccessToken))
		require.Equal(t, http.StatusUnauthorized, live.Code)
		e := explanationOf(t, live)
		require.Equal(t, "invalid_token", e.Error)
		require.Equal(t, 21, e.Explanation.Count)
		require.Equal(t, issuer+"/dev/apps/"+s.client.ID, e.URI)
		require.Contains(t, live.Header().Get("WWW-Authenticate"), `error="invalid_token", error_description="`+e.Description+`"`)
		refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {s.client.ID}, "client_secret": {s.secret}, "refresh_token": {last.RefreshToken}}
		require.Equal(t, "unauthorized_client", explanationOf(t, s.post(form, refresh.Encode())).Error)

		did, err := s.service.ReactivateOwn(t.Context(), s.alice.ID, s.client.ID, "", netip.Addr{})
		require.NoError(t, err)
		require.True(t, did)
		require.Equal(t, http.StatusOK, s.do(request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+last.AccessToken)).Code)
		tokens(t, s.post(form, refresh.Encode()))
	})
}

// Whoever has not the secret is not told, and a commercial application is told what
// the operator wrote.
func TestTheReasonIsForTheApplicationAlone(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		a := s.commercial(t)
		_, err := s.administration.SwitchOff(t.Context(), a.ID, oauth.ByOperator, "", `floods "us"`)
		require.NoError(t, err)
		ask := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.ID}, "client_secret": {a.secret}}
		w := s.post(form, ask.Encode())
		require.Equal(t, http.StatusBadRequest, w.Code)
		e := explanationOf(t, w)
		require.Equal(t, "unauthorized_client", e.Error)
		require.Equal(t, `floods "us"`, e.Explanation.Reason)
		require.Empty(t, e.Explanation.Rule)
		ask.Set("client_secret", oauth.NewSecret())
		w = s.post(form, ask.Encode())
		require.Equal(t, "invalid_client", explanationOf(t, w).Error)
		require.NotContains(t, w.Body.String(), "floods")
	})
}

// Everything of a disabled person is refused over HTTP, and comes back.
func TestADisabledPersonIsRefused(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		a := s.commercial(t)
		personal, granted := tokens(t, s.post(form, s.signIn().Encode())), s.issue(t, a)
		code := s.code(t, a)
		refreshOf := func(id, secret, token string) url.Values {
			return url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "client_secret": {secret}, "refresh_token": {token}}
		}
		exchange := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {a.ID}, "client_secret": {a.secret},
			"code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
		}
		require.NoError(t, s.administration.DisableUser(t.Context(), email))
		for name, want := range map[string]struct {
			form url.Values
			code string
		}{
			"password":            {s.signIn(), "unauthorized_client"},
			"personal refresh":    {refreshOf(s.client.ID, s.secret, personal.RefreshToken), "unauthorized_client"},
			"commercial refresh":  {refreshOf(a.ID, a.secret, granted.RefreshToken), "invalid_grant"},
			"code that was given": {exchange, "invalid_grant"},
		} {
			w := s.post(form, want.form.Encode())
			require.Equal(t, http.StatusBadRequest, w.Code, name)
			require.Equal(t, want.code, decoded(t, w).Error, name)
		}
		for _, token := range []string{personal.AccessToken, granted.AccessToken} {
			w := s.do(request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+token))
			require.Equal(t, http.StatusUnauthorized, w.Code)
			require.Equal(t, "invalid_token", decoded(t, w).Error)
		}
		require.NoError(t, s.administration.EnableUser(t.Context(), email))
		for _, token := range []string{personal.AccessToken, granted.AccessToken} {
			require.Equal(t, http.StatusOK, s.do(request("GET", "/oauth2/userinfo", "", authorization, "Bearer "+token)).Code)
		}
		for _, again := range []url.Values{
			refreshOf(s.client.ID, s.secret, personal.RefreshToken), refreshOf(a.ID, a.secret, granted.RefreshToken), exchange, s.signIn(),
		} {
			tokens(t, s.post(form, again.Encode()))
		}
	})
}
