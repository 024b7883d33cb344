// Package apidoc describes the API: the OpenAPI 3.1 document, and the page on which
// people read it and try it. The house's operations come from devices.Catalogue, so that
// one that is added there is described; what else the public listener answers programs
// is described beside it. Tests hold the document against the router, and against the
// requests and answers of all tests that speak HTTP.
package apidoc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

// Path is where the document is served.
const Path = "/openapi.json"

// Options are what a Document depends on.
type Options struct {
	// Server is the address under which people and applications reach the API, without a
	// slash at its end: that of the authorization server's issuer.
	Server string
	// CommandGet says that commands are taken by GET too.
	CommandGet bool
	// Limits are those of wasteful tokens by which personal applications are switched off;
	// nil: none is.
	Limits *oauth.Limits
}

// Document is the description of the API. It is made when it is first asked for, and
// does not change.
type Document struct {
	made        func() made
	conventions []Convention
}

type made struct {
	text   []byte // without what is for people
	tag    string // of the text
	groups []Group
}

// Group is operations that belong together.
type Group struct {
	Name, Description string
	Operations        []Operation // in the order of the catalogue
}

// Operation is a method on a path.
type Operation struct {
	Method, Path, Summary string
	Deprecated            bool
}

// builder is a document in the making.
type builder struct {
	options Options
	document
	order []Operation
	tagOf map[string]string // of each operation, by method and path
}

// New gives the Document of a bridge with these options.
func New(o Options) *Document {
	return &Document{sync.OnceValue(func() made { return describeAPI(o) }), conventionsOf(o.Limits)}
}

// describeAPI panics if two operations have the same name or place, which is a mistake in
// this program.
func describeAPI(o Options) made {
	b := &builder{options: o, tagOf: map[string]string{}}
	b.document = document{
		OpenAPI: "3.1.1",
		Info: info{
			Title: "Foxbridge", Summary: "The Myfox cloud API for homes", Description: introduction(conventionsOf(o.Limits)), Version: "2.0",
			License: license{"Apache 2.0", "Apache-2.0"},
		},
		Servers: []server{{o.Server, "this bridge"}},
		Tags:    tags(),
		Paths:   map[string]pathItem{},
		Components: components{
			Schemas: sharedSchemas(), Parameters: sharedParameters(), Headers: sharedHeaders(),
			Responses: map[string]response{}, SecuritySchemes: securitySchemes(o.Server),
		},
	}
	described := slices.Concat(b.house(), b.authorization(), b.descriptions())
	names := map[string]bool{}
	for _, d := range described {
		item := b.Paths[d.path]
		if item == nil {
			item = pathItem{}
			b.Paths[d.path] = item
		}
		if item[d.method] != nil || names[d.operation.OperationID] {
			panic(fmt.Sprintf("describe the API: %s %s is there twice, or %s is", d.method, d.path, d.operation.OperationID))
		}
		item[d.method], names[d.operation.OperationID] = d.operation, true
		o := Operation{Method: strings.ToUpper(d.method), Path: d.path, Summary: d.operation.Summary, Deprecated: d.operation.Deprecated}
		b.order = append(b.order, o)
		b.tagOf[o.Method+o.Path] = d.operation.Tags[0]
	}
	text := encode(b.document)
	sum := sha256.Sum256(text)
	return made{text: text, tag: hex.EncodeToString(sum[:8]), groups: b.grouped()}
}

// described is an operation and its place.
type described struct {
	method, path string // the method in lower case
	operation    *operation
}

// encode writes JSON without the escapes of HTML.
func encode(d document) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil { // it holds nothing that JSON has not
		panic(err)
	}
	return bytes.TrimSpace(out.Bytes())
}

func (b *builder) grouped() []Group {
	var groups []Group
	for _, t := range b.Tags {
		g := Group{Name: t.Name, Description: t.Description}
		for _, o := range b.order {
			if b.tagOf[o.Method+o.Path] == t.Name {
				g.Operations = append(g.Operations, o)
			}
		}
		groups = append(groups, g)
	}
	return groups
}

// JSON is the document as people read it: indented.
func (d *Document) JSON() []byte {
	var out bytes.Buffer
	if err := json.Indent(&out, d.made().text, "", " "); err != nil { // it is JSON
		panic(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// Groups lists the operations as a reader looks for them. The caller must not change
// them.
func (d *Document) Groups() []Group { return d.made().groups }

// tags are the groups of operations, in the order in which they are shown.
func tags() []tag {
	list := []tag{
		{tagTokens, "How an application gets a token, and what it can ask about one."},
		{tagHomes, "The homes of a person."},
		{tagAlarm, "How the alarm stands, and setting it."},
	}
	for _, row := range devices.Catalogue() {
		name := tagOfRow(row)
		if slices.ContainsFunc(list, func(t tag) bool { return t.Name == name }) {
			continue
		}
		list = append(list, tag{name, tagDescriptions()[name]})
	}
	for i := range list {
		if list[i].Description == "" {
			list[i].Description = list[i].Name + " of a home."
		}
	}
	return append(list, tag{tagAPI, "The API itself."})
}

// Names of groups that are not those of a kind of device.
const (
	tagTokens    = "Tokens"
	tagHomes     = "Homes"
	tagAlarm     = "Alarm"
	tagScenarios = "Scenarios"
	tagSensors   = "Sensors"
	tagGroups    = "Groups"
	tagHistory   = "History"
	tagLibrary   = "Library"
	tagCommands  = "Commands"
	tagAPI       = "API"
)

func tagDescriptions() map[string]string {
	return map[string]string{
		tagScenarios: "Lists of commands that people play, or that run by themselves.",
		tagSensors:   "What is measured and watched in a home, now and before.",
		tagGroups:    "Devices that are commanded together.",
		tagHistory:   "What happened in a home, and who did it.",
		tagLibrary:   "Pictures and films. There are none yet.",
		tagCommands:  "The record of every command.",
		"Cameras":    "There are no cameras yet: the list is empty, and commands are not implemented.",
	}
}

// Convention is something that holds for all operations. Its Text has code between
// backquotes.
type Convention struct{ Name, Text string }

// Conventions lists them.
func (d *Document) Conventions() []Convention { return d.conventions }

func conventionsOf(l *oauth.Limits) []Convention {
	return []Convention{
		{"Answers", "Below `/v2` they are JSON in an envelope: `status` is `OK` with a `payload`, or `KO` with an `error` and its `error_description`. " +
			"Nothing there is answered with 400. Keys that are not described may be added: ignore them."},
		{"Tokens", "They go into the header `Authorization: Bearer`, the query parameter `access_token`, or the same parameter of a form-urlencoded POST: into one of them, or the same one into several. " +
			"Scopes bind commercial applications; personal ones may do all that their owner may."},
		{"Keep your token", keepYourToken(l)},
		{"Paths", "They may end in a slash. HEAD is taken wherever GET is, but for commands. A path that is not here is answered with 404 `not_found`, and a method that a path does not take with 405 " +
			"and `Allow`: below `/v2` in the envelope as `method_not_allowed`, of the authorization server as `invalid_request`."},
		{"Commands", "They take POST, and GET too unless the operator has switched that off; a body is ignored. The answer comes when the unit in the house has answered, after 8 seconds at the latest, and says what was really done. " +
			"`Foxbridge-Command-Id` names the record of it."},
		{"Limits", "Every answer tells them in `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers). Who asks for more is answered with 429, " +
			"and `Retry-After` says how many seconds to wait. Two are no limits of requests: `wasted-hour` and `wasted-day` count wasteful tokens, see “Keep your token”."},
		{"Pages of other origins", "They may call everything below `/v2`, the token, revocation and userinfo endpoints, the metadata and this document."},
	}
}

// keepYourToken says what becomes of an application that keeps none.
func keepYourToken(l *oauth.Limits) string {
	told := "An access token works for an hour. Use it until the API answers 401 `invalid_token`, then renew it with the refresh token. " +
		fmt.Sprintf("A token that an application gets while it holds another one of the same person with more than %d minutes left is wasteful, ", oauth.Spare/time.Minute) +
		"even if it has revoked that one."
	limits := limitsIn(l)
	if limits == "" {
		return told
	}
	return told + " A personal application that asks for more than " + limits + " is switched off: " +
		"the token endpoint answers 400 `unauthorized_client`, and the API 401 `invalid_token`, unless the operator lets live tokens run out. " +
		"`explanation` says why and what to do instead, and `error_uri` is the page on which its owner reactivates it. " +
		"`wasted-hour` and `wasted-day` in the `RateLimit` of each answer of the token endpoint tell how many are left."
}

// limitsIn is how many wasteful tokens are allowed, in words; empty if there is no limit.
func limitsIn(l *oauth.Limits) string {
	var parts []string
	if l == nil {
		return ""
	}
	for _, of := range []struct {
		n    int
		rule oauth.Rule
	}{{l.Hour, oauth.RuleHour}, {l.Day, oauth.RuleDay}} {
		if of.n > 0 {
			parts = append(parts, fmt.Sprintf("%d within one %s", of.n, of.rule))
		}
	}
	return strings.Join(parts, " or ")
}

// introduction is the Conventions in CommonMark.
func introduction(conventions []Convention) string {
	said := []string{"The API of the Myfox cloud, as far as its vendor described it and clients are known to use it."}
	for _, c := range conventions {
		said = append(said, "**"+c.Name+".** "+c.Text)
	}
	return strings.Join(said, "\n\n")
}
