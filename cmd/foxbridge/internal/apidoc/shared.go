package apidoc

import (
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

const mediaJSON = "application/json"

// Headers, by their names.
const (
	headerCommandID  = "Foxbridge-Command-Id"
	headerRetryAfter = "Retry-After"
	headerChallenge  = "WWW-Authenticate"
	headerLocation   = "Location"
	headerApplied    = "Preference-Applied"
	headerETag       = "ETag"
	headerRequestID  = "X-Request-Id"
	headerLimit      = "RateLimit"
	headerPolicy     = "RateLimit-Policy"
)

// headersOfAll are those that every answer can have.
func headersOfAll() []string { return []string{headerRequestID, headerLimit, headerPolicy} }

func sharedHeaders() map[string]header {
	return map[string]header{
		headerCommandID:  {Description: "The id of the command's record; of several commands one for each.", Schema: list(schema{"type": "string", "format": "uuid"})},
		headerRetryAfter: {Description: "Seconds after which a repeat may succeed (RFC 9110 section 10.2.3).", Schema: whole("", 1), Example: 30},
		headerChallenge: {
			Description: "What is missing (RFC 6750 section 3), with the address of the metadata (RFC 9728 section 5.1).", Schema: text(""),
			Example: `Bearer realm="foxbridge", error="invalid_token"`,
		},
		headerLocation:  {Description: "Where the record of the command is, or where a browser goes.", Schema: schema{"type": "string", "format": "uri-reference"}},
		headerApplied:   {Description: "The preference that was honoured (RFC 7240 section 3).", Schema: schema{"type": "string", "const": "respond-async"}},
		headerETag:      {Description: "Names the content, for `If-None-Match` (RFC 9110 section 8.8.3).", Schema: text("")},
		headerRequestID: {Description: "Names the request in the log: that of the request, or a new one.", Schema: text("")},
		headerPolicy: {
			Description: "The limits that the request was counted by: for each its quota `q` of requests in `w` seconds. That of `wasted-hour` and `wasted-day`, at the token endpoint, is of wasteful tokens. Absent if they are switched off.",
			Schema:      text(""), Example: `"api";q=600;w=60`,
		},
		headerLimit: {
			Description: "How the caller stands with each: `r` requests may come at once, and in `t` seconds the whole quota is there again. " +
				"Of `wasted-hour` and `wasted-day`, `r` wasteful tokens are left until the application is switched off, and in `t` seconds the first of those that count leaves the window.",
			Schema: text(""), Example: `"api";r=599;t=1`,
		},
	}
}

func sharedParameters() map[string]parameter {
	no := false
	filter := func(name, description string, s schema, e any) parameter {
		return parameter{Name: name, In: "query", Description: description, AllowEmptyValue: true, Schema: s, Example: e}
	}
	types := filter("type", "Only entries of these types, with commas between them. All without it.",
		list(words("", devices.HistoryTypes()...)), []string{"security", "alarm"})
	types.Style, types.Explode = "form", &no
	return map[string]parameter{
		"siteId":     pathParameter("siteId", id("The home."), 13769),
		"deviceId":   pathParameter("deviceId", id("The device."), 1027535),
		"groupId":    pathParameter("groupId", id("The group."), 4711),
		"scenarioId": pathParameter("scenarioId", id("The scenario."), 318925),
		"videoId":    pathParameter("videoId", id("The film."), 1),
		"commandId":  pathParameter("commandId", schema{"type": "string", "format": "uuid"}, exampleCommand),
		"dateFrom":   filter("dateFrom", "From then on, inclusive, in UTC.", moment(""), "2026-11-22T00:00:00Z"),
		"dateTo":     filter("dateTo", "Until then, inclusive, in UTC. Now without it.", moment(""), "2026-11-22T23:59:59Z"),
		"dateOrder":  filter("dateOrder", "`-1`: the latest first, as without it. `1`: the earliest first.", schema{"type": "integer", "enum": []int{1, -1}}, -1),
		"type":       types,
		"idempotencyKey": {
			Name: "Idempotency-Key", In: "header", Example: "evening-20261122",
			Description: "Makes a repeat harmless: within 24 hours it is answered with the first command of this key.",
			Schema:      schema{"type": "string", "pattern": `^[!-~]+$`, "minLength": 1, "maxLength": 255},
		},
		"prefer": {
			Name: "Prefer", In: "header", Example: "respond-async",
			Description: "`respond-async`: answer with 202 once the command is accepted (RFC 7240 section 4.1). Other preferences are ignored.",
			Schema:      text(""),
		},
	}
}

func pathParameter(name string, s schema, e any) parameter {
	description, _ := s["description"].(string)
	delete(s, "description")
	return parameter{Name: name, In: "path", Required: true, Description: description, Schema: s, Example: e}
}

func sharedSchemas() map[string]schema {
	var commanded []devices.Kind
	for _, thing := range devices.Things() {
		commanded = append(commanded, thing.Kind)
	}
	return map[string]schema{
		"Void": describe(object(must("request", schema{"const": "OK"})), "The payload of what was done."),
		"Record": object(
			must("commandId", schema{"type": "string", "format": "uuid"}),
			must("deviceId", nullable(id("Null for the alarm."))),
			must("kind", words("", commanded...)),
			must("operation", text("")),
			must("outcome", words("pending: no answer yet. unknown: none came in time; a late one still corrects it.",
				devices.Pending, devices.Done, devices.Refused, devices.Offline, devices.Unknown)),
			must("reason", text("Why the unit refused, in its own words; else empty.")),
			must("acceptedAt", moment("")),
			must("expiresAt", moment("The unit does not begin it after that.")),
			must("finishedAt", nullable(moment("Null while pending."))),
		),
		"Explanation": describe(object(
			must("by", words("Who switched it off: the policy, an operator, or the operator’s monitoring.", oauth.ByPolicy, oauth.ByOperator, oauth.ByAlert)),
			must("since", describe(schema{"type": "string", "format": "date-time"}, "Since when it is off.")),
			may("rule", words("The limit that was overstepped. With it come the fields up to `last`: they are the policy’s.", oauthhttp.Rules()...)),
			may("window_seconds", whole("How long the window of the rule is.", 1)),
			may("count", whole("Wasteful tokens in the window, with the one that was refused.", 0)),
			may("inherited", whole("Of these, issued to applications of the owner that were deleted before this one was registered. Missing if there are none.", 1)),
			may("allowed", whole("Wasteful tokens that the rule allows in its window.", 0)),
			may("first", describe(schema{"type": "string", "format": "date-time"}, "The minute of the first of them.")),
			may("last", describe(schema{"type": "string", "format": "date-time"}, "When the one was refused by which the application was switched off.")),
			may("reason", text("In the words of whoever switched it off.")),
			must("advice", text("What to do instead.")),
		), "Why an application is switched off, and how it comes back."),
		"Undone": describe(object(
			must("deviceId", nullable(id("Null for the alarm."))),
			must("label", text("")),
			must("operation", text("")),
			may("commandId", describe(schema{"type": "string", "format": "uuid"}, "Of the record, if the command was accepted.")),
			must("error", text("What the command of this device alone would have been answered with.")),
			must("error_description", text("")),
		), "A device that did not do what was asked of it, and why."),
	}
}

// securitySchemes are the ways in which a request is authorized.
func securitySchemes(server string) map[string]securityScheme {
	scopes := map[string]string{}
	for _, name := range devices.Scopes() {
		scopes[name] = scopeText(name)
	}
	token := server + pathToken
	return map[string]securityScheme{
		schemeOAuth: {Type: "oauth2", Description: "How a token is got.", Flows: map[string]oauthFlow{
			"authorizationCode": {AuthorizationURL: server + pathAuthorize, TokenURL: token, RefreshURL: token, Scopes: scopes},
			"clientCredentials": {TokenURL: token, Scopes: scopes},
			"password":          {TokenURL: token, RefreshURL: token, Scopes: map[string]string{}},
		}},
		schemeBearer: {Type: "http", Scheme: "bearer", Description: "An access token."},
		schemeQuery:  {Type: "apiKey", In: "query", Name: "access_token", Description: "An access token in the address. Keep such addresses out of logs."},
		schemeClient: {Type: "http", Scheme: "basic", Description: "`client_id` and `client_secret`. They may stand in the body instead."},
	}
}

const (
	schemeOAuth  = "oauth2"
	schemeBearer = "bearer"
	schemeQuery  = "query"
	schemeClient = "client"
)

// scopeText says what a scope is good for.
func scopeText(name string) string {
	var can []string
	for _, row := range devices.Catalogue() {
		if row.Scope == name && !row.Legacy && row.Action != devices.OperateGroup {
			can = append(can, lower(summaryOf(row)))
		}
	}
	return capital(join(can))
}

// Values of examples.
const (
	exampleTimestamp = 1405079863
	exampleCommand   = "0194f3a2-7c1e-7b6e-9d5c-2f1e0a4b8c3d"
	exampleDate      = "2026-11-22T17:45:46Z"
)
