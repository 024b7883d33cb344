// Package apitest holds what tests say to the API, and what they are told, against its
// description, docs/openapi.json: whatever a test sends and is answered well must be
// described so, and every answer must be one that is described, down to its error code,
// its headers and the keys of its body. Of what is refused for what was asked only the
// answer is looked at: tests ask for nonsense on purpose.
package apitest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Checker compares exchanges with a description. It may be used by several goroutines
// at once.
type Checker struct {
	router  routers.Router
	answers []Answer // all that are described

	mu    sync.Mutex
	seen  map[string]int        // exchanges by operation and status
	given map[Answer]struct{}   // of operations, and as they are described
	good  map[[32]byte]struct{} // bodies that were found to be described, with their place
	wrong []error
}

// Kept is the one Checker of the description that the repository keeps, which is found from
// the folder that a test runs in: to read it takes a while.
func Kept() (*Checker, error) { return kept() }

var kept = sync.OnceValues(readKept)

func readKept() (*Checker, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			return nil, errors.New("there is no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, "docs", "openapi.json"))
	if err != nil {
		return nil, err
	}
	return New(text)
}

// New makes a Checker of a description. Its server is every server.
func New(description []byte) (*Checker, error) {
	var tree map[string]any
	if err := json.Unmarshal(description, &tree); err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	tree["servers"] = []any{map[string]any{"url": "/"}}
	seal(tree, false)
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	loaded, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	router, err := gorillamux.NewRouter(loaded)
	if err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	return &Checker{
		router: router, answers: answersIn(loaded), seen: map[string]int{}, given: map[Answer]struct{}{}, good: map[[32]byte]struct{}{},
	}, nil
}

// seal forbids keys that are not described in what is answered. Clients must put up with
// new ones, but a test that meets one has found what the description lacks.
func seal(node any, answered bool) {
	switch n := node.(type) {
	case map[string]any:
		if _, described := n["properties"]; described && answered && n["type"] == "object" {
			if _, said := n["additionalProperties"]; !said {
				n["additionalProperties"] = false
			}
		}
		for key, below := range n {
			seal(below, answered || key == "responses" || key == "schemas")
		}
	case []any:
		for _, below := range n {
			seal(below, answered)
		}
	}
}

// Exchange is a request with its answer.
type Exchange struct {
	Request *http.Request // its Body is not read
	Sent    []byte        // body of the request; nil if it is not known
	Status  int
	Header  http.Header
	Body    []byte // of the answer
}

// Check reports what is not as it is described; nil if all is. Exchanges that have
// nothing to do with the API, such as those with a page, pass.
func (c *Checker) Check(e Exchange) error {
	r := e.Request
	e, err := unpacked(e)
	if err != nil {
		return c.fault(e, err)
	}
	if r.Method == http.MethodOptions && e.Status == http.StatusNoContent {
		return nil // a browser's question ahead of a call
	}
	asked := r.Clone(context.WithoutCancel(r.Context()))
	asked.Body, asked.GetBody = http.NoBody, nil
	asked.URL.Path, asked.URL.RawPath = strings.TrimSuffix(asked.URL.Path, "/"), strings.TrimSuffix(asked.URL.RawPath, "/")
	if asked.Method == http.MethodHead {
		asked.Method = http.MethodGet
	}
	route, variables, err := c.router.FindRoute(asked)
	switch {
	case err == nil && e.Status != http.StatusMethodNotAllowed:
		err = c.described(e, asked, route, variables)
	case isAPI(asked.URL.Path):
		err = undescribed(e)
	default:
		return nil
	}
	c.note(e, route)
	if err == nil {
		c.noteGiven(e, route)
		return nil
	}
	return c.fault(e, err)
}

// fault keeps what is wrong with an exchange.
func (c *Checker) fault(e Exchange, err error) error {
	err = fmt.Errorf("%s %s answered with %d %.300q: %w", e.Request.Method, e.Request.URL.Path, e.Status, e.Body, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, err)
	return err
}

// unpacked is an exchange with an answer that is not compressed.
func unpacked(e Exchange) (Exchange, error) {
	if e.Header.Get("Content-Encoding") != "gzip" || len(e.Body) == 0 {
		return e, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(e.Body))
	if err != nil {
		return e, err
	}
	e.Body, err = io.ReadAll(z)
	return e, err
}

// isAPI reports whether everything at a path is for programs.
func isAPI(path string) bool {
	return path == "/v2" || strings.HasPrefix(path, "/v2/") || strings.HasPrefix(path, "/.well-known/") ||
		slices.Contains([]string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/userinfo", "/openapi.json"}, path)
}

func (c *Checker) note(e Exchange, route *routers.Route) {
	place := "no operation"
	if route != nil {
		place = route.Method + " " + route.Path
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[fmt.Sprintf("%s %d", place, e.Status)]++
}

// Answer is a way in which an operation is answered.
type Answer struct {
	Method, Path string
	Status       int
	Code         string // of a refusal, where it is described; else empty
}

// String names the operation, the status and the code.
func (a Answer) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %d %s", a.Method, a.Path, a.Status, a.Code))
}

// answersIn lists what a description has, by place.
func answersIn(described *openapi3.T) []Answer {
	var list []Answer
	for path, item := range described.Paths.Map() {
		for method, operation := range item.Operations() {
			for status, response := range operation.Responses.Map() {
				number, _ := strconv.Atoi(status) // 0: a range of them, which nobody gives
				for _, code := range codesOf(response.Value) {
					list = append(list, Answer{method, path, number, code})
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b Answer) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// codesOf are the error codes that an answer may have; an empty one if it has none.
func codesOf(response *openapi3.Response) []string {
	var codes []string
	for _, content := range response.Content {
		if content.Schema == nil || content.Schema.Value.Properties["error"] == nil {
			continue
		}
		for _, code := range content.Schema.Value.Properties["error"].Value.Enum {
			codes = append(codes, fmt.Sprint(code))
		}
	}
	if codes == nil {
		return []string{""}
	}
	return codes
}

// noteGiven notes an answer that is as it is described. To HEAD there is none.
func (c *Checker) noteGiven(e Exchange, route *routers.Route) {
	if route == nil || e.Request.Method == http.MethodHead || e.Status == http.StatusMethodNotAllowed {
		return
	}
	var said struct{ Error string }
	_ = json.Unmarshal(e.Body, &said) // what is no refusal has no code
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given[Answer{route.Method, route.Path, e.Status, said.Error}] = struct{}{}
}

// Missing lists the answers that are described and that no exchange so far had.
func (c *Checker) Missing() []Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Answer
	for _, a := range c.answers {
		if _, given := c.given[a]; !given {
			list = append(list, a)
		}
	}
	return list
}

// Described lists all answers of the description, by place.
func (c *Checker) Described() []Answer { return slices.Clone(c.answers) }

// Seen tells how many exchanges were checked, and of how many operations and statuses.
func (c *Checker) Seen() (exchanges, operations, answers int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	places := map[string]bool{}
	for what, n := range c.seen {
		exchanges += n
		places[what[:strings.LastIndex(what, " ")]] = true
	}
	delete(places, "no operation")
	return exchanges, len(places), len(c.seen)
}

// Wrong are the errors of all checks so far.
func (c *Checker) Wrong() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.wrong)
}

// undescribed checks the answer to what is no operation.
func undescribed(e Exchange) error {
	if e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed {
		return errors.New("there is no such operation")
	}
	if e.Status == http.StatusMethodNotAllowed && e.Header.Get("Allow") == "" {
		return errors.New("header Allow is missing")
	}
	if e.Request.Method == http.MethodHead {
		return nil
	}
	var said struct {
		Status, Error string
		Description   string `json:"error_description"`
	}
	if err := json.Unmarshal(e.Body, &said); err != nil {
		return err
	}
	if said.Error == "" || said.Description == "" || strings.HasPrefix(e.Request.URL.Path, "/v2/") && said.Status != "KO" {
		return errors.New("this is no refusal")
	}
	return nil
}

// described checks an exchange of an operation.
func (c *Checker) described(e Exchange, asked *http.Request, route *routers.Route, variables map[string]string) error {
	input := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: variables, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, ExcludeRequestBody: true, SkipSettingDefaults: true, IncludeResponseStatus: true,
		},
	}
	media, _, _ := mime.ParseMediaType(e.Header.Get("Content-Type"))
	options := *input.Options
	place := bodyPlace(e, route, media)
	options.ExcludeResponseBody = media == "text/html" || e.Request.Method == http.MethodHead || c.isGood(place)
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: e.Status, Header: e.Header, Options: &options}
	answer.SetBodyBytes(e.Body)
	if err := openapi3filter.ValidateResponse(context.WithoutCancel(asked.Context()), answer); err != nil {
		return err
	}
	if !options.ExcludeResponseBody {
		c.noteGood(place)
	}
	if err := describedHeaders(e, route.Operation.Responses.Status(e.Status).Value, media); err != nil {
		return err
	}
	if !proves(e.Status) {
		return nil
	}
	if err := openapi3filter.ValidateRequest(context.WithoutCancel(asked.Context()), input); err != nil {
		return err
	}
	return describedBody(e, route.Operation.RequestBody)
}

var timestamp = regexp.MustCompile(`"timestamp":\d+`)

// bodyPlace names the body of an answer, but for its timestamp, and where it was given.
func bodyPlace(e Exchange, route *routers.Route, media string) [32]byte {
	body := timestamp.ReplaceAll(e.Body, []byte(`"timestamp":0`))
	return sha256.Sum256(fmt.Appendf(nil, "%s %s %d %s %s", route.Method, route.Path, e.Status, media, body))
}

// isGood reports whether such a body was checked before: tests are told the same thing
// again and again, and to look at it takes a while.
func (c *Checker) isGood(place [32]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.good[place]
	return known
}

func (c *Checker) noteGood(place [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.good) < 10_000 {
		c.good[place] = struct{}{}
	}
}

// proves reports whether a status says that there was nothing wrong with the request.
func proves(status int) bool {
	return status/100 == 2 || status == http.StatusConflict || status == http.StatusGatewayTimeout
}

// describedHeaders finds headers that only this API gives a meaning to, and that are
// not described.
func describedHeaders(e Exchange, described *openapi3.Response, media string) error {
	for name := range e.Header {
		if media == "text/html" || isCommon(name) {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(described.Headers)), func(d string) bool { return http.CanonicalHeaderKey(d) == name }) {
			return fmt.Errorf("the header %s is not described", name)
		}
	}
	return nil
}

// isCommon reports whether a header is one that any answer of HTTP may have.
func isCommon(name string) bool {
	return strings.HasPrefix(name, "Access-Control-") || slices.Contains([]string{
		"Accept-Ranges", "Allow", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Pragma", "Set-Cookie", "Vary",
		"Referrer-Policy", "Strict-Transport-Security", "X-Content-Type-Options",
	}, name)
}

// describedBody checks the parameters that a request's body holds.
func describedBody(e Exchange, described *openapi3.RequestBodyRef) error {
	if described == nil || e.Sent == nil {
		return nil
	}
	if len(e.Sent) == 0 {
		if described.Value.Required {
			return errors.New("the request has no body")
		}
		return nil
	}
	media, options, _ := mime.ParseMediaType(e.Request.Header.Get("Content-Type"))
	if media == "" {
		media = "application/x-www-form-urlencoded"
	}
	content := described.Value.Content.Get(media)
	if content == nil {
		return fmt.Errorf("a request body of the type %q is not described", media)
	}
	if content.Schema == nil || content.Schema.Value.Type == nil && len(content.Schema.Value.OneOf) == 0 {
		return nil
	}
	values, err := parameters(e.Sent, media, options["boundary"])
	if err != nil {
		return fmt.Errorf("request body: %w", err)
	}
	return content.Schema.Value.VisitJSON(values, openapi3.EnableJSONSchema2020())
}

// parameters reads a body in one of the forms that clients send. An empty parameter is
// one that was not given.
func parameters(body []byte, media, boundary string) (map[string]any, error) {
	values := map[string]any{}
	switch media {
	case "application/json":
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		err := decoder.Decode(&values)
		return values, err
	case "multipart/form-data":
		parts := multipart.NewReader(bytes.NewReader(body), boundary)
		for {
			part, err := parts.NextPart()
			if errors.Is(err, io.EOF) {
				return values, nil
			}
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(part)
			if err != nil {
				return nil, err
			}
			values[part.FormName()] = string(text)
		}
	default:
		for pair := range strings.SplitSeq(string(body), "&") {
			name, value, _ := strings.Cut(pair, "=")
			text, err := url.QueryUnescape(value)
			if err != nil {
				text = value // of a parameter that is ignored
			}
			if text != "" {
				values[name] = text
			}
		}
		return values, nil
	}
}
