package apidoc

import (
	"cmp"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
	"github.com/foxbridge/foxbridge/oauth"
)

// refusal is an error that an operation can be answered with.
type refusal struct {
	status int
	code   string // of the wire
	when   string // a sentence without its stop
	// headers that go with it, by their names in the components, besides those of
	// every answer.
	headers []string
}

// of is a refusal of the house.
func of(code devices.RefusalCode, when string, headers ...string) refusal {
	return refusal{devicehttp.StatusOf(code), string(code), when, headers}
}

// ended is a refusal that says how a command ended.
func ended(outcome devices.Outcome, when string, headers ...string) refusal {
	status, code, _ := devicehttp.OutcomeOnWire(devices.Command{Outcome: outcome})
	return refusal{status, code, when, append(headers, headerCommandID)}
}

// ofToken are the refusals of an operation that takes an access token.
func ofToken(method string) []refusal {
	list := []refusal{
		{http.StatusUnauthorized, oauth.CodeInvalidToken, "No access token was given, or not a live one, or two that differ", []string{headerChallenge}},
		{http.StatusUnauthorized, oauth.CodeInvalidToken, "The application is switched off: `explanation` says why and how it comes back, `error_uri` is its owner’s page", []string{headerChallenge}},
		{http.StatusTooManyRequests, oauth.CodeSlowDown, "Too many requests", []string{headerRetryAfter}},
		{http.StatusInternalServerError, codeServerError, "The server failed", nil},
		{http.StatusServiceUnavailable, oauth.CodeUnavailable, unavailable, []string{headerRetryAfter}},
	}
	if method == http.MethodPost {
		list = append(list, refusal{http.StatusRequestEntityTooLarge, oauth.CodeInvalidRequest, "The body is longer than 64 KiB", []string{headerChallenge}})
	}
	return list
}

const (
	codeServerError = "server_error"
	unavailable     = "The database gives no answer, or the bridge is stopping; the same may succeed later"
)

// ofRow are the refusals of a row of the catalogue by this method.
func ofRow(row devices.Row, method string) []refusal {
	list := ofToken(method)
	if strings.Contains(row.Path, "{site}") {
		list = append(list, of(devices.NoSuch, "There is no such home or thing, or it is not this person’s"))
	}
	if needsScope(row) {
		list = append(list, of(devices.MissingScope, "The token is not good for this; WWW-Authenticate names the scope", headerChallenge))
	}
	switch row.Action {
	case devices.ReadSecurity:
		list = append(list, of(devices.NotReported, "The unit has not told yet how its alarm stands", headerRetryAfter))
	case devices.ReadHistory, devices.ReadMeasurements:
		if !row.Legacy {
			list = append(list, of(devices.BadFilter, "A filter cannot be read, or dateFrom is after dateTo"))
		}
	case devices.Operate, devices.OperateGroup, devices.PlayScenario:
		list = append(list, ofCommand()...)
		if row.Action != devices.PlayScenario { // whose key always stands for the same commands
			list = append(list, of(devices.KeyReuse, "The Idempotency-Key was used for another command"))
		}
		if mayBeNew(row) {
			list = append(list, of(devices.OutdatedUnit, "The unit does not know the operation: its firmware is too old"))
		}
		if several(row) {
			list = append(list, refusal{http.StatusConflict, "not_all_done", "Not all did it, for different reasons", []string{headerCommandID}})
		}
	case devices.SwitchScenario:
		list = append(list, guest(), spent(), of(devices.WrongType, "A scenario on demand does not run by itself"))
	case devices.NotYet:
		list = append(list, of(devices.NotMade, "This is described, and not there yet"))
	}
	return list
}

func guest() refusal { return of(devices.GuestLooks, "A guest of the home may only look") }

func spent() refusal {
	return of(devices.BudgetSpent, "The application sends too many commands; nothing was sent", headerRetryAfter)
}

// ofCommand are the refusals of what is carried to a unit.
func ofCommand() []refusal {
	return []refusal{
		guest(), spent(),
		of(devices.LaneFull, "The device has too many unanswered commands; nothing was sent", headerRetryAfter),
		of(devices.BadKey, "The Idempotency-Key is none"),
		ended(devices.Refused, "The unit said no; error_description says why"),
		ended(devices.Offline, "The unit is offline; nothing was sent, and nothing will be later", headerRetryAfter),
		ended(devices.Unknown, "The unit did not answer in time. A later answer still corrects the record"),
	}
}

// mayBeNew reports whether there are units that do not know what the row commands: those
// of the first catalogue. A scenario may command anything.
func mayBeNew(row devices.Row) bool {
	if row.Action == devices.PlayScenario {
		return true
	}
	operation, _ := devices.OperationOf(row.Kind, row.Operation)
	return operation.Since > 1
}

// needsScope reports whether some token of a person may not be good for the row. A
// scenario is played, and a command's record read, by who may give its commands.
func needsScope(row devices.Row) bool { return row.Scope != "" || row.Action == devices.ReadCommand }

// refusals adds the answers of refusals to responses: one for each status, which names
// its codes. What is the same for several operations is one component.
func (b *builder) refusals(to map[string]response, form refusalForm, list []refusal) {
	byStatus := map[int][]refusal{}
	for _, r := range list {
		byStatus[r.status] = append(byStatus[r.status], r)
	}
	for status, alike := range byStatus {
		slices.SortFunc(alike, func(a, b refusal) int { return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.when, b.when)) })
		name := form.name
		for i, r := range alike {
			if i == 0 || alike[i-1].code != r.code {
				name += camel(r.code)
			}
		}
		name = b.component(name+strconv.Itoa(status), b.refused(form, alike))
		to[strconv.Itoa(status)] = response{Ref: reference("responses", name)}
	}
}

// component keeps an answer among the components, and gives its name there.
func (b *builder) component(name string, answer response) string {
	for n, free := 2, name; ; n++ {
		there, taken := b.Components.Responses[free]
		if !taken {
			b.Components.Responses[free] = answer
		}
		if !taken || reflect.DeepEqual(there, answer) {
			return free
		}
		free = name + "_" + strconv.Itoa(n)
	}
}

// refusalForm is how refusals look.
type refusalForm struct {
	name   string
	schema func(codes []string) schema
	value  func(r refusal) any
}

func (b *builder) refused(form refusalForm, alike []refusal) response {
	var codes, sentences []string
	examples := map[string]example{}
	headers := map[string]header{}
	for _, r := range alike {
		if !slices.Contains(codes, r.code) {
			codes = append(codes, r.code)
			examples[r.code] = example{r.when, form.value(r)}
		}
		sentences = append(sentences, fmt.Sprintf("`%s`: %s.", r.code, r.when))
		for _, name := range r.headers {
			headers[name] = header{Ref: reference("headers", name)}
		}
	}
	for _, name := range headersOfAll() {
		headers[name] = header{Ref: reference("headers", name)}
	}
	return response{
		Description: strings.Join(sentences, "\n\n"), Headers: headers,
		Content: map[string]mediaType{mediaJSON: {Schema: form.schema(codes), Examples: examples}},
	}
}

// inEnvelope is the form of refusals below /v2.
func inEnvelope() refusalForm {
	return refusalForm{"House", func(codes []string) schema { return envelopeKO(codes) }, envelopeOf}
}

// ofSeveral is inEnvelope for what is asked of several devices: the answer names those
// that did not do it.
func ofSeveral() refusalForm {
	return refusalForm{"Several", func(codes []string) schema { return envelopeKO(codes, may("devices", list(schemaNamed("Undone")))) }, envelopeOf}
}

func envelopeKO(codes []string, more ...property) schema {
	more = append(more, explained(codes)...)
	return object(append([]property{
		must("status", schema{"const": "KO"}),
		must("timestamp", whole("Seconds since 1970 at the server.", 0)),
		must("error", words("", codes...)),
		must("error_description", text("A sentence for who reads the log.")),
	}, more...)...)
}

// explained are what a refusal has besides if it comes of an application that is
// switched off.
func explained(codes []string) []property {
	if !slices.Contains(codes, oauth.CodeInvalidToken) && !slices.Contains(codes, oauth.CodeUnauthorizedClient) {
		return nil
	}
	return []property{
		may("error_uri", address("The page of an application that is switched off.")),
		may("explanation", schemaNamed("Explanation")),
	}
}

func envelopeOf(r refusal) any {
	return map[string]any{"status": "KO", "timestamp": exampleTimestamp, "error": r.code, "error_description": r.when}
}

// plain is the form of RFC 6749 section 5.2.
func plain() refusalForm {
	return refusalForm{
		"OAuth",
		func(codes []string) schema {
			return object(append([]property{
				must("error", words("", codes...)), must("error_description", text("A sentence for who reads the log.")),
			}, explained(codes)...)...)
		},
		func(r refusal) any { return map[string]any{"error": r.code, "error_description": r.when} },
	}
}

// camel makes one word of several: snake_case and paths become CamelCase.
func camel(s string) string {
	var out strings.Builder
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '_' || r == '/' || r == '-' || r == '.' }) {
		out.WriteString(capital(word))
	}
	return out.String()
}

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// join is a list in a sentence.
func join(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}
