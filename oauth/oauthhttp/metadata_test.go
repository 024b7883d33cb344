package oauthhttp_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

const (
	serverMetadata   = "/.well-known/oauth-authorization-server"
	resourceMetadata = "/.well-known/oauth-protected-resource"
)

// metadata gets a document, and checks what holds for each.
func (s *server) metadata(t *testing.T, path string) (document map[string]any) {
	t.Helper()
	w := s.do(httptest.NewRequest(http.MethodGet, path, nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "public, max-age=300", w.Header().Get("Cache-Control"))
	require.Empty(t, w.Header().Get("Pragma"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &document))
	return document
}

// list is a JSON array of strings.
func list(texts ...string) (l []any) {
	for _, text := range texts {
		l = append(l, text)
	}
	return l
}

func TestTheServerTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	want := map[string]any{
		"issuer":                                         issuer,
		"token_endpoint":                                 issuer + "/oauth2/token",
		"revocation_endpoint":                            issuer + "/oauth2/revoke",
		"introspection_endpoint":                         issuer + "/oauth2/introspect",
		"userinfo_endpoint":                              issuer + "/oauth2/userinfo",
		"device_authorization_endpoint":                  issuer + "/oauth2/device_authorization",
		"scopes_supported":                               list(scopes()...),
		"response_types_supported":                       list("code"),
		"response_modes_supported":                       list("query"),
		"grant_types_supported":                          list("authorization_code", "client_credentials", "password", "refresh_token", oauth.GrantDevice),
		"token_endpoint_auth_methods_supported":          list("client_secret_basic", "client_secret_post", "none"),
		"revocation_endpoint_auth_methods_supported":     list("client_secret_basic", "client_secret_post", "none"),
		"introspection_endpoint_auth_methods_supported":  list("client_secret_basic", "client_secret_post"),
		"code_challenge_methods_supported":               list("S256"),
		"authorization_response_iss_parameter_supported": true,
		"protected_resources":                            list(issuer),
	}
	require.Empty(t, cmp.Diff(want, s.metadata(t, serverMetadata)), "the authorization endpoint is not served")

	s.router.HandleFunc("/oauth2/authorize", func(http.ResponseWriter, *http.Request) {})
	want["authorization_endpoint"] = issuer + "/oauth2/authorize"
	require.Empty(t, cmp.Diff(want, s.metadata(t, serverMetadata+"/")))
}

// What the document names is there, and takes what the document says.
func TestTheMetadataIsTrue(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	app, native := s.commercial(t), s.commercial(t, public)
	document := s.metadata(t, serverMetadata)
	for name, value := range document {
		if !strings.HasSuffix(name, "_endpoint") {
			continue
		}
		path, is := strings.CutPrefix(value.(string), issuer)
		require.True(t, is)
		w := s.do(httptest.NewRequest(http.MethodPost, path, nil))
		require.NotEqual(t, http.StatusNotFound, w.Code, name)
	}
	for _, grant := range []string{"password", "refresh_token", "authorization_code", "client_credentials", "implicit", "x"} {
		w := s.post(form, "grant_type="+grant, authorization, basic(app.ID, app.secret))
		listed := slices.Contains(document["grant_types_supported"].([]any), any(grant))
		require.Equal(t, listed, decoded(t, w).Error != "unsupported_grant_type", grant)
	}
	tokens(t, s.post(form, "grant_type=client_credentials", authorization, basic(app.ID, app.secret)))
	tokens(t, s.post(form, "grant_type=client_credentials&client_id="+app.ID+"&client_secret="+app.secret))
	tokens(t, s.post(form, native.exchange(s.code(t, native)).Encode()))
	for _, response := range []string{"code", "token", "id_token"} {
		request := authorizeRequest(t, issuer+"/oauth2/authorize?state=s&client_id="+app.ID+"&redirect_uri="+redirectURI+"&response_type="+response)
		_, err := s.service.Authorize(t.Context(), request)
		require.Equal(t, slices.Contains(document["response_types_supported"].([]any), any(response)), err == nil, response)
	}
	for _, method := range []string{"S256", "plain", ""} {
		_, err := s.service.Authorize(t.Context(), oauth.AuthorizeRequest{
			ResponseType: "code", ClientID: app.ID, RedirectURI: redirectURI, State: "s", CodeChallenge: challenge, CodeChallengeMethod: method,
		})
		require.Equal(t, slices.Contains(document["code_challenge_methods_supported"].([]any), any(method)), err == nil, method)
	}
}

func TestTheResourceTellsWhoProtectsIt(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	want := map[string]any{
		"resource":                 issuer,
		"authorization_servers":    list(issuer),
		"scopes_supported":         list(scopes()...),
		"bearer_methods_supported": list("header", "body", "query"),
	}
	require.Empty(t, cmp.Diff(want, s.metadata(t, resourceMetadata)))
}

func TestMetadataTakesGETAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, path := range []string{serverMetadata, resourceMetadata} {
		require.Equal(t, http.StatusOK, s.do(httptest.NewRequest(http.MethodHead, path, nil)).Code)
		w := s.do(httptest.NewRequest(http.MethodPost, path, nil))
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
}

func TestWithoutAnIssuerThereIsNoMetadata(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	service, err := oauth.New(oauth.Options{Store: failing{}, Passwords: s.passwords})
	require.NoError(t, err)
	handler := oauthhttp.New(oauthhttp.Options{Service: service, Logger: slog.New(slog.DiscardHandler)})
	router := mux.NewRouter()
	handler.Register(router)
	for _, path := range []string{serverMetadata, resourceMetadata} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, http.StatusNotFound, w.Code)
	}
	_, err = handler.Caller(request("GET", path, ""))
	require.Equal(t, `Bearer realm="foxbridge"`, handler.WWWAuthenticate(err))
}

func TestPagesOfAnyOriginMayCallWhatTakesATokenAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.router.PathPrefix("/").HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	web := oauthhttp.CrossOrigin(s.router)
	send := func(method, path string, headers ...string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		web.ServeHTTP(w, request(method, path, "", headers...))
		return w
	}
	for path, open := range map[string]bool{
		"/oauth2/token": true, "/oauth2/token/": true, "/oauth2/revoke": true, "/oauth2/userinfo": true, "/oauth2/userinfo?access_token=x": true,
		serverMetadata: true, resourceMetadata: true, "/v2/client/site/items": true, "/v2/site/1/security/set/armed": true, "/v2/x": true,
		"/oauth2/authorize": false, "/oauth2/introspect": false, "/oauth2/introspect/": false, "/oauth2/tokens": false, "/oauth2/token/x": false,
		"/": false, "/signin": false, "/dev/apps": false, "/v2": false, "/v20/x": false, "/V2/x": false,
	} {
		preflight := send("OPTIONS", path, "Origin", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
		plain := send("GET", path, "Origin", "https://app.example", "Cookie", "a=b")
		bare := send("OPTIONS", path)
		for _, w := range []*httptest.ResponseRecorder{preflight, plain, bare} {
			require.Equal(t, map[bool]string{true: "*"}[open], w.Header().Get("Access-Control-Allow-Origin"), path)
			require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"), "never with the browser's own credentials")
			require.Equal(t, map[bool]string{true: "Foxbridge-Command-Id, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, Location"}[open], w.Header().Get("Access-Control-Expose-Headers"), path)
		}
		require.Equal(t, open, preflight.Code == http.StatusNoContent, path)
		require.NotEqual(t, http.StatusNoContent, plain.Code, path)
		require.NotEqual(t, http.StatusNoContent, bare.Code, "that asks nothing: %s", path)
		require.Empty(t, plain.Header().Get("Access-Control-Allow-Methods"))
		if open {
			require.Equal(t, "GET, HEAD, POST", preflight.Header().Get("Access-Control-Allow-Methods"))
			require.Equal(t, "Authorization, Content-Type, Idempotency-Key, Prefer", preflight.Header().Get("Access-Control-Allow-Headers"))
			require.Equal(t, "600", preflight.Header().Get("Access-Control-Max-Age"))
			require.Empty(t, preflight.Body.String())
		}
	}
}
