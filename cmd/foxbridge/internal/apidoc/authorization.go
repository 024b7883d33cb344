package apidoc

import (
	"net/http"
	"slices"
	"strings"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

const (
	mediaForm      = "application/x-www-form-urlencoded"
	mediaMultipart = "multipart/form-data"
	mediaHTML      = "text/html"
)

// Paths of the authorization server.
const (
	pathAuthorize  = "/oauth2/authorize"
	pathToken      = "/oauth2/token" //nolint:gosec // a path, no credential
	pathRevoke     = "/oauth2/revoke"
	pathIntrospect = "/oauth2/introspect"
	pathUserinfo   = "/oauth2/userinfo"
	pathDevice     = "/oauth2/device_authorization"
	pathServer     = "/.well-known/oauth-authorization-server"
	pathResource   = "/.well-known/oauth-protected-resource"
)

// authorization describes the authorization server.
func (b *builder) authorization() []described {
	return []described{
		{"get", pathAuthorize, b.authorize(http.MethodGet)},
		{"post", pathAuthorize, b.authorize(http.MethodPost)},
		{"post", pathToken, b.token()},
		{"post", pathDevice, b.device()},
		{"post", pathRevoke, b.revoke()},
		{"post", pathIntrospect, b.introspect()},
		{"get", pathUserinfo, b.userinfo(http.MethodGet)},
		{"post", pathUserinfo, b.userinfo(http.MethodPost)},
		{"get", pathServer, b.metadata("authorizationServer", "Read the metadata of the authorization server", "RFC 8414.", serverMetadata())},
		{"get", pathResource, b.metadata("protectedResource", "Read the metadata of the API", "RFC 9728.", resourceMetadata())},
	}
}

// byClient is the security of what an application calls with its own credentials, in the
// header or in the body.
func byClient() []requirement { return []requirement{{schemeClient: []string{}}, {}} }

// answer is a success of the authorization server.
func answer(description string, body schema, sample any) map[string]response {
	r := response{
		Description: description, Headers: map[string]header{},
		Content: map[string]mediaType{mediaJSON: {Schema: body, Example: sample}},
	}
	withHeaders(r, headersOfAll()...)
	return map[string]response{"200": r}
}

// ofClient are the refusals of what an application calls with its own credentials.
func ofClient() []refusal { return append(ofAnyClient(), switchedOff()) }

// switchedOff is the refusal of an application that an answer explains.
func switchedOff() refusal {
	return refusal{http.StatusBadRequest, oauth.CodeUnauthorizedClient, "The application is switched off: `explanation` says why and how it comes back, `error_uri` is its owner’s page", nil}
}

// ofAnyClient is ofClient for what an application may call that is switched off.
func ofAnyClient() []refusal {
	return []refusal{
		{http.StatusBadRequest, oauth.CodeInvalidRequest, "A parameter is missing, given twice, or no text; or the body is none of the three forms", nil},
		{http.StatusBadRequest, oauth.CodeUnauthorizedClient, "The application is not approved, or may not use this grant", nil},
		{http.StatusUnauthorized, oauth.CodeInvalidClient, "The credentials in the header are wrong", []string{headerChallenge}},
		{http.StatusRequestEntityTooLarge, oauth.CodeInvalidRequest, "The body is longer than 64 KiB", nil},
		{http.StatusTooManyRequests, oauth.CodeSlowDown, "The application, or an address that proves nothing, sends too many requests", []string{headerRetryAfter}},
		{http.StatusInternalServerError, codeServerError, "The server failed", nil},
		{http.StatusServiceUnavailable, oauth.CodeUnavailable, "Too many wait for their turn, the database gives no answer, or the bridge is stopping", []string{headerRetryAfter}},
	}
}

// credentialsInBody is the refusal of wrong credentials that stood in the body.
func credentialsInBody() refusal {
	return refusal{http.StatusBadRequest, oauth.CodeInvalidClient, "The credentials are missing, or those in the body are wrong", nil}
}

// inAnyForm is a body that may come in each of the three forms that clients send.
func inAnyForm(description string, s schema, samples map[string]example) *requestBody {
	content := map[string]mediaType{}
	for _, media := range []string{mediaForm, mediaMultipart, mediaJSON} {
		content[media] = mediaType{Schema: s, Examples: samples}
	}
	return &requestBody{Description: description, Required: true, Content: content}
}

func clientCredentials() []property {
	return []property{
		may("client_id", text("Unless it stands in the header.")),
		may("client_secret", text("Unless it stands in the header. Public applications have none.")),
	}
}

func (b *builder) token() *operation {
	var grants []any
	samples := map[string]example{}
	for _, g := range grantForms() {
		if !slices.Contains(oauth.GrantTypes(), g.name) {
			continue
		}
		grants = append(grants, object(slices.Concat([]property{must("grant_type", schema{"const": g.name})}, g.parameters, clientCredentials())...))
		samples[g.name] = example{g.when, g.sample}
	}
	o := &operation{
		Tags: []string{tagTokens}, Summary: "Get a token", OperationID: "token", Security: byClient(),
		Description: "RFC 6749 section 3.2. Every refresh gives another refresh token: keep the new one. For 60 seconds a repeat gets the same pair again; a later second use ends them all.",
		RequestBody: inAnyForm("One of the grants.", schema{"oneOf": grants}, samples),
		Responses: answer("The tokens.", object(
			must("access_token", secret("")),
			must("expires_in", whole("Seconds.", 1)),
			must("token_type", schema{"const": "Bearer"}),
			must("scope", nullable(text("What the token is good for; null is all that the person may do."))),
			may("refresh_token", secret("There is none for client_credentials.")),
		), values{"access_token": exampleSecret, "expires_in": 3600, "token_type": "Bearer", "scope": nil, "refresh_token": exampleSecret}),
	}
	b.refusals(o.Responses, plain(), append(ofClient(), credentialsInBody(),
		refusal{http.StatusBadRequest, oauth.CodeInvalidGrant, "The name or password is wrong, or the application is not this person’s; or the code or refresh token is no good any more", nil},
		refusal{http.StatusBadRequest, oauth.CodeUnsupportedGrantType, "There is no such grant", nil},
		refusal{http.StatusBadRequest, oauth.CodeInvalidScope, "The scope is more than the application may ask for, or than was given to it", nil},
		refusal{http.StatusBadRequest, oauth.CodeAuthorizationPending, "The person has not answered yet: ask again after the interval", nil},
		refusal{http.StatusBadRequest, oauth.CodeSlowDown, "The device asks too often: wait 5 seconds longer from now on", nil},
		refusal{http.StatusBadRequest, oauth.CodeExpiredToken, "The device code has ended: begin again", nil},
		refusal{http.StatusBadRequest, oauth.CodeAccessDenied, "The person said no", nil},
		refusal{http.StatusTooManyRequests, oauth.CodeSlowDown, "Too many sign-ins failed for this account from this address", []string{headerRetryAfter}},
	))
	return o
}

func secret(description string) schema {
	return describe(schema{"type": "string", "pattern": "^[0-9a-f]{64}$"}, description)
}

// Examples that are no credentials.
const (
	exampleSecret = "0000000000000000000000000000000000000000000000000000000000000000"
	exampleClient = "00000000000000000000000000000000"
)

// grantForm is a grant_type with its parameters.
type grantForm struct {
	name, when string
	parameters []property
	sample     any
}

func grantForms() []grantForm {
	scope := may("scope", nullable(text("Names with spaces between them.")))
	ignored := may("scope", nullable(text("Ignored.")))
	return []grantForm{
		{
			oauth.GrantPassword, "A personal application, for its owner alone",
			[]property{must("username", text("The e-mail address of the owner.")), must("password", text("")), ignored},
			values{"grant_type": oauth.GrantPassword, "username": "alice@example.com", "password": "correct horse battery staple"},
		},
		{
			oauth.GrantRefresh, "Another pair for a refresh token",
			[]property{must("refresh_token", text("")), scope},
			values{"grant_type": oauth.GrantRefresh, "refresh_token": exampleSecret},
		},
		{
			oauth.GrantCode, "A commercial application, for who let it in",
			[]property{
				must("code", text("Good for 30 seconds, and once.")), may("redirect_uri", text("That of the authorization request. With a code_verifier it may be left out.")),
				may("code_verifier", text("RFC 7636 section 4.5.")), ignored,
			},
			values{
				"grant_type": oauth.GrantCode, "code": exampleSecret, "redirect_uri": "https://app.example/callback",
				"code_verifier": strings.Repeat("0", 43), "client_id": exampleClient,
			},
		},
		{
			oauth.GrantClientCredentials, "A commercial application for itself: its token stands for nobody, and reaches nobody’s home",
			[]property{scope},
			values{"grant_type": oauth.GrantClientCredentials},
		},
		{
			oauth.GrantDevice, "A personal application without a browser, that its owner lets in elsewhere",
			[]property{must("device_code", text("")), ignored},
			values{"grant_type": oauth.GrantDevice, "device_code": exampleSecret},
		},
	}
}

// device describes how what has no browser begins.
func (b *builder) device() *operation {
	s := object(append([]property{may("scope", nullable(text("Changes nothing.")))}, clientCredentials()...)...)
	page := b.options.Server + "/device"
	o := &operation{
		Tags: []string{tagTokens}, Summary: "Let a device in that has no browser", OperationID: "deviceAuthorization", Security: byClient(),
		Description: "RFC 8628, for personal applications. The owner opens the address elsewhere and enters the code; meanwhile the device asks for its token.",
		RequestBody: inAnyForm("", s, map[string]example{"device": {"", values{"client_id": exampleClient, "client_secret": exampleSecret}}}),
		Responses: answer("The codes.", object(
			must("device_code", secret("")), must("user_code", schema{"type": "string", "pattern": "^[A-Z]{4}-[A-Z]{4}$"}),
			must("verification_uri", address("")), must("verification_uri_complete", address("")),
			must("expires_in", whole("Seconds.", 1)), must("interval", whole("Seconds between two questions for the token.", 1)),
		), values{
			"device_code": exampleSecret, "user_code": "BCDF-GHJK", "verification_uri": page, "verification_uri_complete": page + "?user_code=BCDF-GHJK",
			"expires_in": 600, "interval": 5,
		}),
	}
	o.RequestBody.Required = false // credentials in the header are enough
	b.refusals(o.Responses, plain(), append(ofClient(), credentialsInBody(),
		refusal{http.StatusTooManyRequests, oauth.CodeSlowDown, "Too many codes of the application wait for an answer", []string{headerRetryAfter}},
	))
	return o
}

// aboutToken is the body of a request about a token.
func aboutToken() *requestBody {
	s := object(append([]property{must("token", text("")), may("token_type_hint", text("Changes nothing."))}, clientCredentials()...)...)
	return inAnyForm("", s, map[string]example{"token": {"", values{"token": exampleSecret}}})
}

func (b *builder) revoke() *operation {
	o := &operation{
		Tags: []string{tagTokens}, Summary: "End a token", OperationID: "revoke", Security: byClient(), RequestBody: aboutToken(),
		Description: "RFC 7009. With a refresh token all that came of the same grant ends. The answer is the same whether there was such a token or not. An application that is switched off may do it too.",
		Responses:   answer("It is over.", schema{"type": "object"}, values{}),
	}
	b.refusals(o.Responses, plain(), append(ofAnyClient(), credentialsInBody()))
	return o
}

func (b *builder) introspect() *operation {
	o := &operation{
		Tags: []string{tagTokens}, Summary: "Ask what a token stands for", OperationID: "introspect", Security: byClient(), RequestBody: aboutToken(),
		Description: "RFC 7662, for applications that have a secret and about their own tokens alone. What is not active has no other field.",
		Responses: answer("What it stands for.", object(
			must("active", schema{"type": "boolean"}),
			may("scope", text("Absent: all that the person may do.")),
			may("client_id", text("")),
			may("username", text("The person’s e-mail address; absent without a person.")),
			may("token_type", describe(schema{"const": "Bearer"}, "Absent of a refresh token.")),
			may("exp", whole("Seconds since 1970.", 0)),
			may("iat", whole("Seconds since 1970.", 0)),
			may("sub", text("Names the person for good; absent without a person.")),
			may("iss", text("")),
		), values{"active": true, "client_id": exampleClient, "username": "alice@example.com", "token_type": "Bearer", "exp": 1405083463, "iat": 1405079863, "sub": "7", "iss": b.options.Server}),
	}
	b.refusals(o.Responses, plain(), append(ofClient(), refusal{http.StatusUnauthorized, oauth.CodeInvalidClient, "The credentials are missing or wrong, wherever they stand", []string{headerChallenge}}))
	return o
}

func (b *builder) userinfo(method string) *operation {
	o := &operation{
		Tags: []string{tagTokens}, Summary: "Learn who the person is", OperationID: "userinfo", Security: ofScope(""),
		Description: "For whom a token stands. Any token of a person will do.",
		Responses: answer("The person.", object(
			must("sub", text("Names the person for good.")), must("username", text("")), must("email", text("")), must("full_name", text("")),
		), values{"sub": "7", "username": "alice@example.com", "email": "alice@example.com", "full_name": "Alice"}),
	}
	if method == http.MethodPost {
		o.OperationID, o.RequestBody = "userinfoByPost", ignoredBody()
	}
	b.refusals(o.Responses, plain(), append(ofToken(method),
		refusal{http.StatusForbidden, string(devices.MissingScope), "The token is an application’s own and stands for nobody", []string{headerChallenge}}))
	return o
}

// authorize describes the endpoint to which an application sends people.
func (b *builder) authorize(method string) *operation {
	o := &operation{
		Tags: []string{tagTokens}, Summary: "Ask a person to let an application in", OperationID: "authorize", Security: []requirement{{}},
		Description: "RFC 6749 section 3.1, for browsers. Who is not signed in is sent to sign in first. Then the person says yes or no, and the browser goes to the redirect URI with " +
			"`code`, `state` and `iss` in its query, or with `error`, `error_description`, `state` and `iss`: `access_denied` if the person said no, `invalid_request` or `invalid_scope` if the request is wrong, `temporarily_unavailable` if the database gives no answer. " +
			"If it cannot be known where to send the browser, it stays here.",
	}
	parameters := []struct {
		name, description string
		required          bool
		sample            any
		schema            schema
	}{
		{"response_type", "`token`, the implicit grant, is for old applications that an operator has marked for it.", true, "code", words("", "code", "token")},
		{"client_id", "", true, exampleClient, text("")},
		{"redirect_uri", "One that is registered, to the letter.", true, "https://app.example/callback", text("")},
		{"state", "Comes back unchanged. Required without PKCE.", false, "af0ifjsldkj", schema{"type": "string", "maxLength": 4096}},
		{"scope", "Names with spaces between them; all that the application is registered for without it.", false, "security:read", text("")},
		{"code_challenge", "RFC 7636 section 4.3. Required of public applications.", false, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", schema{"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}},
		{"code_challenge_method", "", false, "S256", schema{"const": "S256"}},
	}
	var inBody []property
	for _, p := range parameters {
		o.Parameters = append(o.Parameters, parameter{
			Name: p.name, In: "query", Description: p.description, Required: p.required, AllowEmptyValue: true, Schema: p.schema, Example: p.sample,
		})
		inBody = append(inBody, may(p.name, p.schema))
	}
	if method == http.MethodPost {
		o.OperationID, o.Parameters = "authorizeByPost", nil
		o.RequestBody = &requestBody{Description: "The same parameters.", Required: true, Content: map[string]mediaType{mediaForm: {Schema: object(inBody...)}}}
	}
	page := func(description string, more ...string) response {
		r := response{Description: description, Headers: map[string]header{}, Content: map[string]mediaType{mediaHTML: {Schema: text("")}}}
		withHeaders(r, append(more, headersOfAll()...)...)
		return r
	}
	moved := response{Description: "To the sign-in, or back to the application with what is wrong.", Headers: map[string]header{}}
	withHeaders(moved, append(headersOfAll(), headerLocation)...)
	o.Responses = map[string]response{
		"200": page("The page on which the person answers."),
		"303": moved,
		"400": page("The application, or where to go back to, is unknown."),
		"401": page("The same, if the request carries credentials of an application."),
		"429": page("Too many requests.", headerRetryAfter),
		"500": page("The server failed."),
		"503": page("The database gives no answer, with a Retry-After, or the bridge is stopping."),
	}
	if method == http.MethodPost {
		o.Responses["413"] = page("The form is longer than 64 KiB.")
	}
	return o
}

func (b *builder) metadata(name, summary, description string, body schema) *operation {
	return &operation{
		Tags: []string{tagTokens}, Summary: summary, OperationID: name, Description: description,
		Security: []requirement{{}}, Responses: answer("The metadata.", body, nil),
	}
}

func address(description string) schema {
	return describe(schema{"type": "string", "format": "uri"}, description)
}

func serverMetadata() schema {
	strings := list(text(""))
	return object(
		must("issuer", address("")),
		may("authorization_endpoint", address("")), must("token_endpoint", address("")),
		must("revocation_endpoint", address("")), must("introspection_endpoint", address("")), must("userinfo_endpoint", address("")),
		must("device_authorization_endpoint", address("")),
		must("scopes_supported", strings), must("response_types_supported", strings), must("response_modes_supported", strings),
		must("grant_types_supported", strings),
		must("token_endpoint_auth_methods_supported", strings),
		must("revocation_endpoint_auth_methods_supported", strings), must("introspection_endpoint_auth_methods_supported", strings),
		must("code_challenge_methods_supported", strings),
		must("authorization_response_iss_parameter_supported", schema{"type": "boolean"}),
		must("protected_resources", strings),
	)
}

func resourceMetadata() schema {
	strings := list(text(""))
	return object(
		must("resource", address("")), must("authorization_servers", strings), must("scopes_supported", strings), must("bearer_methods_supported", strings),
	)
}

// descriptions describes the document itself.
func (b *builder) descriptions() []described {
	r := answer("The document.", schema{"type": "object"}, nil)
	withHeaders(r["200"], headerETag)
	unchanged := response{Description: "It is the one that the caller has.", Headers: map[string]header{}}
	withHeaders(unchanged, append(headersOfAll(), headerETag)...)
	r["304"] = unchanged
	return []described{{"get", Path, &operation{
		Tags: []string{tagAPI}, Summary: "Read this description", OperationID: "openapi", Security: []requirement{{}},
		Description: "OpenAPI 3.1.", Responses: r,
	}}}
}
