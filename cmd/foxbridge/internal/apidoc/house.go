package apidoc

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
)

// prefix is what stands before the paths of the catalogue.
const prefix = "/v2"

// house describes the rows of the catalogue, and what stands beside them below /v2.
func (b *builder) house() []described {
	var list []described
	for _, row := range devices.Catalogue() {
		for _, method := range b.methods(row) {
			list = append(list, described{strings.ToLower(method), pathOf(row), b.row(row, method)})
		}
	}
	return append(list, described{"get", prefix + devicehttp.LimitsPath, b.limits()})
}

// methods are those that are described: HEAD is taken wherever GET is, but for commands.
func (b *builder) methods(row devices.Row) []string {
	switch {
	case !row.Commands():
		return []string{http.MethodGet}
	case b.options.CommandGet:
		return []string{http.MethodPost, http.MethodGet}
	default:
		return []string{http.MethodPost}
	}
}

var variable = regexp.MustCompile(`\{(\w+)\}`)

// pathOf is the path of a row with the contract's names of its variables.
func pathOf(row devices.Row) string { return prefix + variable.ReplaceAllString(row.Path, "{${1}Id}") }

// row describes a row of the catalogue by one of its methods.
func (b *builder) row(row devices.Row, method string) *operation {
	o := &operation{
		Tags: []string{tagOfRow(row)}, Summary: summaryOf(row), Description: b.descriptionOf(row, method),
		OperationID: operationID(row, method), Deprecated: row.Legacy || row.Commands() && method == http.MethodGet,
		Security: ofScope(row.Scope), Parameters: parametersOf(row), Responses: b.answersOf(row),
	}
	if method == http.MethodPost {
		o.RequestBody = ignoredBody()
	}
	form := inEnvelope()
	if several(row) {
		form = ofSeveral()
	}
	for status, answer := range o.Responses {
		if several(row) || row.Action == devices.Operate || row.Action == devices.SwitchScenario {
			o.Responses[status] = response{Ref: reference("responses", b.component(form.name+"Answer"+status, answer))}
		}
	}
	b.refusals(o.Responses, form, ofRow(row, method))
	return o
}

// several reports whether a row gives several commands at once.
func several(row devices.Row) bool {
	return row.Action == devices.OperateGroup || row.Action == devices.PlayScenario
}

// ofScope is the security of what needs a token that is good for a scope.
func ofScope(scope string) []requirement {
	needed := []string{}
	if scope != "" {
		needed = []string{scope}
	}
	return []requirement{{schemeOAuth: needed}, {schemeBearer: []string{}}, {schemeQuery: []string{}}}
}

// ignoredBody is a body that may be there, and in which nothing but a token is looked for.
func ignoredBody() *requestBody {
	return &requestBody{
		Description: "Ignored, but for an access token in a form.",
		Content: map[string]mediaType{
			mediaForm: {Schema: object(may("access_token", text("Instead of the header.")))},
			"*/*":     {Schema: schema{}},
		},
	}
}

func tagOfRow(row devices.Row) string {
	switch row.Action {
	case devices.ListSites, devices.ListEverything:
		return tagHomes
	case devices.ListGroups, devices.OperateGroup:
		return tagGroups
	case devices.ListScenarios, devices.PlayScenario, devices.SwitchScenario:
		return tagScenarios
	case devices.ReadHistory:
		return tagHistory
	case devices.ReadCommand:
		return tagCommands
	case devices.ListLibrary:
		return tagLibrary
	}
	kind, _, _ := strings.Cut(row.Scope, ":")
	switch {
	case row.Kind == devices.Security:
		return tagAlarm
	case kind == "sensor":
		return tagSensors
	case kind != "":
		return capital(plural(devices.Kind(kind)))
	case row.Kind != "":
		return capital(plural(row.Kind))
	default:
		return tagLibrary
	}
}

// noun is a kind of device in words.
func noun(kind devices.Kind) string {
	names := map[devices.Kind]string{
		devices.Security: "alarm", devices.Thermostat: "thermostat", devices.Temperature: "temperature sensor", devices.Light: "light sensor",
		devices.Contact: "opening sensor",
	}
	if name, known := names[kind]; known {
		return name
	}
	return string(kind)
}

func plural(kind devices.Kind) string { return noun(kind) + "s" }

// summaryOf is a row in a few words. Those of a command are of the sentence that the
// history has for it.
func summaryOf(row devices.Row) string {
	switch row.Action {
	case devices.ListSites:
		return "List the homes"
	case devices.ReadSecurity:
		return "Read how the alarm stands"
	case devices.ListDevices:
		return "List the " + plural(row.Kind)
	case devices.ListEverything:
		return "List the devices of all kinds"
	case devices.ReadDevice:
		return "Read the state of a" + article(noun(row.Kind))
	case devices.ReadMeasurements:
		return "Read what a" + article(noun(row.Kind)) + " measured"
	case devices.Operate:
		return capital(strings.ReplaceAll(row.Tried.In(devices.English), "{device}", "a"+article(noun(row.Kind))))
	case devices.ListGroups:
		return "List the groups of " + plural(row.Kind)
	case devices.OperateGroup:
		each, _ := devices.OperationOf(row.Kind, row.Operation)
		return capital(strings.ReplaceAll(each.Tried.In(devices.English), "{device}", "the "+plural(row.Kind)+" of a group"))
	case devices.ListScenarios:
		return "List the scenarios"
	case devices.PlayScenario, devices.SwitchScenario:
		return capital(row.Operation) + " a scenario"
	case devices.ReadHistory:
		return "Read the history"
	case devices.ListLibrary:
		return "List the " + tail(row.Path)[1] + "s of the library"
	case devices.ReadCommand:
		return "Read the record of a command"
	default:
		words := tail(row.Path)
		if row.Kind == "" {
			words = tail(strings.ReplaceAll(row.Path, "{video}/", ""))
		}
		return capital(strings.Join(words, " "))
	}
}

// article is a noun after its "a".
func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "n " + noun
	}
	return " " + noun
}

// tail is what follows the last variable of a path.
func tail(path string) []string {
	return strings.FieldsFunc(path[strings.LastIndex(path, "}")+1:], func(r rune) bool { return r == '/' })
}

func (b *builder) descriptionOf(row devices.Row, method string) string {
	var said []string
	if row.Legacy {
		now := strings.TrimSuffix(strings.Replace(pathOf(row), "/list", "/items", 1), "/get")
		said = append(said, fmt.Sprintf("Another name of `%s`, without its parameters. Its list is the bare array.", now))
	}
	if row.Commands() && method == http.MethodGet {
		said = append(said, "For scripts that send GET. What only reads may be repeated by anybody on the way, and this is not: use POST.")
	}
	switch row.Action {
	case devices.NotYet:
		said = append(said, "Described by the vendor, and not there yet.")
	case devices.ListSites:
		said = append(said, "Those that the person belongs to, and the application may reach.")
	case devices.ReadSecurity:
		said = append(said, "The level that was set last is told as soon as the unit has confirmed it.")
	case devices.Operate:
		said = append(said, fmt.Sprintf("The unit begins it within %d seconds after it was accepted, or never.", int(row.Expiry.Seconds())))
	case devices.OperateGroup:
		said = append(said, "One command for each device, side by side, each with a record of its own. It is OK only if all did it; otherwise the answer names those that did not, and why.")
	case devices.PlayScenario:
		said = append(said, "Its commands, one after the other, each with a record of its own. The token must be good for all of them. It is OK only if all was done; otherwise the answer names what was not, and why.")
	case devices.SwitchScenario:
		said = append(said, "Whether it runs by itself.")
	case devices.ReadMeasurements:
		if !row.Legacy {
			said = append(said, "At most 100 values, the latest first; without dateFrom those of a week. Of what is long ago a value stands for its hour.")
		}
	case devices.ReadHistory:
		said = append(said, "At most 300 entries, the latest first; without dates those of the current day at the home. Labels are sentences in the home’s language.")
	case devices.ListEverything:
		said = append(said, "Not in the vendor’s description, and in another form than everything else; one client joins it with the other lists.")
	}
	return strings.Join(said, "\n\n")
}

// operationID names an operation in code: the words of its path.
func operationID(row devices.Row, method string) string {
	name := camel(variable.ReplaceAllString(row.Path, ""))
	if row.Commands() && method == http.MethodGet {
		return "get" + name
	}
	return strings.ToLower(name[:1]) + name[1:]
}

func parametersOf(row devices.Row) []parameter {
	var names []string
	for _, v := range variable.FindAllStringSubmatch(row.Path, -1) {
		names = append(names, v[1]+"Id")
	}
	switch row.Action {
	case devices.Operate, devices.OperateGroup, devices.PlayScenario:
		names = append(names, "idempotencyKey", "prefer")
	case devices.ReadHistory:
		if !row.Legacy {
			names = append(names, "dateFrom", "dateTo", "dateOrder", "type")
		}
	case devices.ReadMeasurements:
		if !row.Legacy {
			names = append(names, "dateFrom", "dateTo", "dateOrder")
		}
	}
	list := make([]parameter, len(names))
	for i, name := range names {
		list[i] = parameter{Ref: reference("parameters", name)}
	}
	return list
}

// answersOf are the answers of success.
func (b *builder) answersOf(row devices.Row) map[string]response {
	if row.Action == devices.NotYet {
		return map[string]response{}
	}
	payload, sample := payloadOf(row)
	answers := map[string]response{"200": success("OK", payload, sample)}
	switch row.Action {
	case devices.Operate:
		withHeaders(answers["200"], headerCommandID, headerApplied)
		answers["202"] = success("The command is accepted; Location is its record.", schemaNamed("Record"), exampleRecord())
	case devices.OperateGroup, devices.PlayScenario:
		withHeaders(answers["200"], headerCommandID, headerApplied)
		answers["202"] = success("The commands are accepted.", items(schemaNamed("Record")), map[string]any{"items": []any{exampleRecord()}})
	case devices.ReadCommand:
		withHeaders(answers["200"], headerCommandID)
	}
	if accepted, is := answers["202"]; is {
		withHeaders(accepted, headerCommandID, headerApplied, headerLocation)
	}
	return answers
}

// success is an answer in the envelope.
func success(description string, payload schema, sample any) response {
	r := response{
		Description: description, Headers: map[string]header{},
		Content: map[string]mediaType{mediaJSON: {
			Schema: object(
				must("status", schema{"const": "OK"}),
				must("timestamp", whole("Seconds since 1970 at the server.", 0)),
				must("payload", payload),
			),
			Example: map[string]any{"status": "OK", "timestamp": exampleTimestamp, "payload": sample},
		}},
	}
	withHeaders(r, headersOfAll()...)
	return r
}

func withHeaders(r response, names ...string) {
	for _, name := range names {
		r.Headers[name] = header{Ref: reference("headers", name)}
	}
}

// payloadOf is what a row answers, with an example.
func payloadOf(row devices.Row) (schema, any) {
	item, sample, isList := itemOf(row)
	switch {
	case !isList:
		return item, sample
	case row.Legacy:
		return list(item), []any{sample}
	default:
		return items(item), map[string]any{"items": []any{sample}}
	}
}

// values is an example of an object.
type values = map[string]any

// itemOf is an item of the list that a row answers, or the payload itself.
func itemOf(row devices.Row) (item schema, sample any, isList bool) {
	switch row.Action {
	case devices.ListSites:
		item, sample = site()
		return item, sample, true
	case devices.ReadSecurity:
		item, sample = security()
		return item, sample, false
	case devices.ListDevices:
		item, sample = withFields(row, device(), exampleDevice(row.Kind))
		return item, sample, true
	case devices.ListEverything:
		item, sample = everything()
		return item, sample, true
	case devices.ReadDevice:
		item, sample = withFields(row, object(must("deviceId", id(""))), values{"deviceId": exampleDeviceID})
		return item, sample, false
	case devices.ReadMeasurements:
		item, sample = withFields(row, object(must("deviceId", id(""))), values{"deviceId": exampleDeviceID})
		add(item, must("recordedAt", moment("")))
		sample.(values)["recordedAt"] = exampleDate
		return item, sample, true
	case devices.ListGroups:
		item = object(must("groupId", id("")), must("label", text("")), must("type", schema{"const": row.Group}), must("devices", list(device())))
		return item, values{"groupId": 4711, "label": "Downstairs", "type": row.Group, "devices": []any{exampleDevice(row.Kind)}}, true
	case devices.ListScenarios:
		item = object(must("scenarioId", id("")), must("label", text("")), must("typeLabel", words("", devices.ScenarioTypes()...)),
			must("enabled", nullable(describe(schema{"type": "boolean"}, "Whether it runs by itself; null on demand."))))
		return item, values{"scenarioId": 318925, "label": "Volets Nuit ON", "typeLabel": devices.OnDemand, "enabled": nil}, true
	case devices.ReadHistory:
		item = object(must("logId", id("")), must("label", text("A sentence in the home’s language.")), must("type", words("", devices.HistoryTypes()...)), must("createdAt", moment("")))
		return item, values{"logId": 90210, "label": "Alarm armed by Alice", "type": devices.HistorySecurity, "createdAt": exampleDate}, true
	case devices.ListLibrary:
		return schema{"type": "object"}, values{}, true
	case devices.ReadCommand:
		return schemaNamed("Record"), exampleRecord(), false
	default: // a command
		return schemaNamed("Void"), values{"request": "OK"}, false
	}
}

// add gives an object one more property.
func add(to schema, p property) {
	to["properties"].(schema)[p.name] = p.schema
	if !p.optional {
		to["required"] = append(to["required"].([]string), p.name)
	}
}

func device() schema {
	return object(must("deviceId", id("")), must("label", text("")), must("modelId", whole("", 0)), must("modelLabel", text("")))
}

const exampleDeviceID = 1027535

func exampleDevice(kind devices.Kind) values {
	model := devices.Model{ID: 5, Label: "Panasonic BL-C131"}
	if thing, known := devices.ThingOf(kind); known {
		model = thing.Model
	}
	return values{"deviceId": exampleDeviceID, "label": "Séjour", "modelId": model.ID, "modelLabel": model.Label}
}

// withFields adds what a row says of a device.
func withFields(row devices.Row, item schema, sample values) (schema, values) {
	for _, f := range row.Fields {
		s, value := reading(row, f)
		if f.Else == nil && row.Action != devices.ReadMeasurements {
			s = nullable(s)
		}
		add(item, must(f.Key, s))
		sample[f.Key] = value
		if f.At != "" {
			add(item, must(f.At, moment("When that was read, or since when it is null.")))
			sample[f.At] = exampleDate
		}
	}
	return item, sample
}

// reading is the value of a field, of all the kinds that the row is about.
func reading(row devices.Row, f devices.Field) (s schema, sample any) {
	var known []string
	var only []any
	number := schema{"type": "number"}
	for _, kind := range row.Kinds() {
		thing, _ := devices.ThingOf(kind)
		r, has := thing.Reading(f.Reading)
		if !has {
			continue
		}
		if sample == nil {
			sample = r.Start
		}
		for _, word := range r.Words {
			if !slices.Contains(known, word) {
				known = append(known, word)
			}
		}
		for _, n := range r.Only {
			if !slices.Contains(only, any(int(n))) {
				only = append(only, int(n))
			}
		}
		number["minimum"], number["maximum"] = r.Least, r.Most
	}
	switch {
	case len(known) > 0:
		return words("", known...), sample
	case len(only) > 0:
		return describe(schema{"type": "integer", "enum": only}, meaning(f.Reading)), sample
	default:
		return number, sample
	}
}

// meaning says what the numbers of a reading stand for, by the contract.
func meaning(reading string) string {
	return map[string]string{
		"light": "1 full light, 2 daylight, 4 low light, 5 half-light, 6 dark.",
		"state": "0 normal, 1 alert.",
	}[reading]
}

func site() (schema, any) {
	null := func(description string) schema { return describe(schema{"type": "null"}, description) }
	item := object(
		must("siteId", id("")), must("label", text("")), must("brand", schema{"const": "Myfox"}), must("timezone", text("A name of the IANA time zone database.")),
		must("AXA", null("Of the vendor’s own; always null.")),
	)
	sample := values{"siteId": 13769, "label": "Home", "brand": "Myfox", "timezone": "Europe/Paris", "AXA": nil, "arcsoftToken": nil, "buzzSiteId": nil}
	for _, row := range devices.Catalogue() {
		if row.Count != "" {
			add(item, must(row.Count, whole("How many things "+prefix+variable.ReplaceAllString(row.Path, "{${1}Id}")+" lists.", 0)))
			sample[row.Count] = 1
		}
	}
	add(item, must("arcsoftToken", null("Of the vendor’s own; always null.")))
	add(item, must("buzzSiteId", null("Of the vendor’s own; always null.")))
	return item, sample
}

func security() (schema, any) {
	var codes []any
	var labels []string
	for _, level := range devices.SecurityLevels() {
		codes, labels = append(codes, level.Code), append(labels, level.Label)
	}
	return object(
		must("status", schema{"type": "integer", "enum": codes}),
		must("statusLabel", words("", labels...)),
		must("alarm", words("Whether it sounds.", "quiet", "ringing")),
		must("exitDelayUntil", nullable(moment("Until then people may leave; null while no such delay runs."))),
		must("entryDelayUntil", nullable(moment("By then they must have disarmed it; null while no such delay runs."))),
	), values{"status": 4, "statusLabel": "armed", "alarm": "quiet", "exitDelayUntil": nil, "entryDelayUntil": nil}
}

func everything() (schema, any) {
	item := object(
		must("device_id", id("")), must("label", text("")),
		must("device_definition", object(must("device_definition_label", text("")))),
		must("settings", describe(schema{"type": "object", "additionalProperties": schema{"type": "object"}}, "Objects by name.")),
		must("created_at", moment("")),
	)
	return item, values{
		"device_id": exampleDeviceID, "label": "Séjour", "device_definition": values{"device_definition_label": "DIO module for shutter"},
		"settings": values{"global": values{}}, "created_at": exampleDate,
	}
}

func exampleRecord() any {
	return values{
		"commandId": exampleCommand, "deviceId": nil, "kind": devices.Security, "operation": "armed", "outcome": devices.Pending, "reason": "",
		"acceptedAt": exampleDate, "expiresAt": "2026-11-22T17:46:16Z", "finishedAt": nil,
	}
}

// limits describes how a caller learns how it stands.
func (b *builder) limits() *operation {
	item := object(
		must("policy", text("The name of the limit, as in RateLimit-Policy.")), must("quota", whole("Requests in a window.", 0)),
		must("window", whole("Seconds.", 1)), must("remaining", whole("Requests that may come at once.", 0)),
		must("reset", whole("Seconds until the whole quota is there again.", 0)),
	)
	sample := values{"items": []any{values{"policy": "api", "quota": 600, "window": 60, "remaining": 599, "reset": 1}}}
	o := &operation{
		Tags: []string{tagAPI}, Summary: "Read how the caller stands with the limits", OperationID: "limits", Security: ofScope(""),
		Description: "It costs nothing. What is switched off is left out.",
		Responses:   map[string]response{"200": success("OK", items(item), sample)},
	}
	b.refusals(o.Responses, inEnvelope(), ofToken(http.MethodGet))
	return o
}
