package oauthhttp

import (
	"net/http"
	"slices"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/oauth"
)

// metadataCache is short: what is told may change with the next version of the server.
const metadataCache = "public, max-age=300"

// serverMetadata is RFC 8414 section 2, with RFC 9207 section 3 and RFC 9728 section
// 4, and RFC 8628 section 4. An endpoint that is not served is absent, and so is the
// implicit grant: it is for applications that were marked for it one by one, and none
// should find it here.
type serverMetadata struct {
	Issuer                        string   `json:"issuer"`
	AuthorizationEndpoint         string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint                 string   `json:"token_endpoint,omitempty"`
	RevocationEndpoint            string   `json:"revocation_endpoint,omitempty"`
	IntrospectionEndpoint         string   `json:"introspection_endpoint,omitempty"`
	UserinfoEndpoint              string   `json:"userinfo_endpoint,omitempty"`
	DeviceAuthorizationEndpoint   string   `json:"device_authorization_endpoint,omitempty"`
	ScopesSupported               []string `json:"scopes_supported,omitempty"`
	ResponseTypesSupported        []string `json:"response_types_supported"`
	ResponseModesSupported        []string `json:"response_modes_supported"`
	GrantTypesSupported           []string `json:"grant_types_supported"`
	TokenAuthMethodsSupported     []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuthMethods         []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionAuthMethods      []string `json:"introspection_endpoint_auth_methods_supported"`
	CodeChallengeMethodsSupported []string `json:"code_challenge_methods_supported"`
	IssParameterSupported         bool     `json:"authorization_response_iss_parameter_supported"`
	ProtectedResources            []string `json:"protected_resources"`
}

// authorizationServer is the metadata of the authorization server whose endpoints
// are those of routes.
func (h *Handler) authorizationServer(routes *mux.Router) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		issuer := h.service.Issuer()
		at := func(path, method string) string {
			if !serves(routes, r, path, method) {
				return ""
			}
			return issuer + path
		}
		secret := []string{"client_secret_basic", "client_secret_post"}
		public := append(slices.Clone(secret), "none")
		return serverMetadata{
			Issuer:                        issuer,
			AuthorizationEndpoint:         at(pathAuthorize, http.MethodGet),
			TokenEndpoint:                 at(pathToken, http.MethodPost),
			RevocationEndpoint:            at(pathRevoke, http.MethodPost),
			IntrospectionEndpoint:         at(pathIntrospect, http.MethodPost),
			UserinfoEndpoint:              at(pathUserinfo, http.MethodGet),
			DeviceAuthorizationEndpoint:   at(pathAuthorizeDevice, http.MethodPost),
			ScopesSupported:               h.service.Scopes(),
			ResponseTypesSupported:        []string{"code"},
			ResponseModesSupported:        []string{"query"},
			GrantTypesSupported:           oauth.GrantTypes(),
			TokenAuthMethodsSupported:     public,
			RevocationAuthMethods:         public,
			IntrospectionAuthMethods:      secret,
			CodeChallengeMethodsSupported: []string{"S256"},
			IssParameterSupported:         true,
			ProtectedResources:            []string{issuer},
		}, nil
	}
}

// serves reports whether routes has the path. r is the request for which it is asked.
func serves(routes *mux.Router, r *http.Request, path, method string) bool {
	probe := r.Clone(r.Context())
	probe.Method, probe.URL.Path, probe.URL.RawPath = method, path, ""
	var match mux.RouteMatch
	return routes.Match(probe, &match) && match.MatchErr == nil
}

// resourceMetadata is RFC 9728 section 2.
type resourceMetadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
}

// protectedResource is the metadata of the API, all that is below /v2: it is served
// beside its authorization server, and has the same name.
func (h *Handler) protectedResource(http.ResponseWriter, *http.Request) (any, error) {
	issuer := h.service.Issuer()
	return resourceMetadata{
		Resource:               issuer,
		AuthorizationServers:   []string{issuer},
		ScopesSupported:        h.service.Scopes(),
		BearerMethodsSupported: []string{"header", "body", "query"},
	}, nil
}
