package apitest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/apitest"
)

const description = `{
 "openapi": "3.1.1", "info": {"title": "t", "version": "1"},
 "paths": {"/v2/things/{id}": {"post": {
  "parameters": [
   {"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}},
   {"name": "order", "in": "query", "allowEmptyValue": true, "schema": {"enum": [1, -1], "type": "integer"}}
  ],
  "requestBody": {"content": {
   "application/x-www-form-urlencoded": {"schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}},
   "application/json": {"schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}}
  }},
  "responses": {
   "200": {"description": "OK", "headers": {"Wait": {"schema": {"type": "integer"}}}, "content": {"application/json": {"schema": {
    "type": "object", "required": ["b"], "properties": {"b": {"type": ["integer", "null"]}}}}}},
   "404": {"description": "no", "content": {"application/json": {"schema": {
    "type": "object", "required": ["error"], "properties": {"error": {"enum": ["not_found"]}}}}}}
  }
 }}}
}`

// What is not as described is found, and what is described passes.
func TestCheck(t *testing.T) {
	t.Parallel()
	const right = `{"b":1}`
	tests := map[string]struct {
		method, target, sent, media string
		status                      int
		header, answer              string
		want                        string // empty: nothing is wrong
	}{
		"as described":                       {"POST", "/v2/things/1?order=1", "a=x", "", 200, "", right, ""},
		"null, a slash and an empty filter":  {"POST", "/v2/things/1/?order=", "a=x", "", 200, "", `{"b":null}`, ""},
		"JSON":                               {"POST", "/v2/things/1", `{"a":"x"}`, "application/json", 200, "", right, ""},
		"a header that is described":         {"POST", "/v2/things/1", "a=x", "", 200, "Wait: 3", right, ""},
		"a refusal of nonsense":              {"POST", "/v2/things/x", "b=x", "", 404, "", `{"error":"not_found"}`, ""},
		"no such path":                       {"POST", "/v2/nothing", "", "", 404, "", `{"status":"KO","error":"not_found","error_description":"x"}`, ""},
		"another method":                     {"GET", "/v2/things/1", "", "", 405, "Allow: POST", `{"status":"KO","error":"x","error_description":"x"}`, ""},
		"a page":                             {"GET", "/signin", "", "", 200, "", `<html>`, ""},
		"a key that is not described":        {"POST", "/v2/things/1", "a=x", "", 200, "", `{"b":1,"c":2}`, "'c' not allowed"},
		"a key that is missing":              {"POST", "/v2/things/1", "a=x", "", 200, "", `{}`, "'b'"},
		"another type":                       {"POST", "/v2/things/1", "a=x", "", 200, "", `{"b":"1"}`, "integer"},
		"a status that is not described":     {"POST", "/v2/things/1", "a=x", "", 409, "", right, "status is not supported"},
		"an error that is not described":     {"POST", "/v2/things/1", "a=x", "", 404, "", `{"error":"gone"}`, "not_found"},
		"a header that is not described":     {"POST", "/v2/things/1", "a=x", "", 200, "Wait-Not: 3", right, "Wait-Not is not described"},
		"a header of another type":           {"POST", "/v2/things/1", "a=x", "", 200, "Wait: soon", right, `"Wait"`},
		"a request that is not described":    {"POST", "/v2/things/x", "a=x", "", 200, "", right, `"id"`},
		"a filter that is not described":     {"POST", "/v2/things/1?order=2", "a=x", "", 200, "", right, `"order"`},
		"a body without what it needs":       {"POST", "/v2/things/1", "b=x", "", 200, "", right, "'a'"},
		"a body of another type":             {"POST", "/v2/things/1", "a", "text/csv", 200, "", right, "text/csv"},
		"a path that is not described":       {"GET", "/v2/nothing", "", "", 200, "", right, "no such operation"},
		"another method without its Allow":   {"GET", "/v2/things/1", "", "", 405, "", `{"status":"KO","error":"x","error_description":"x"}`, "Allow is missing"},
		"a refusal that is not the API's":    {"GET", "/v2/nothing", "", "", 404, "", `{"error":"x","error_description":"x"}`, "no refusal"},
		"a refusal that does not say itself": {"GET", "/v2/nothing", "", "", 404, "", `404 page not found`, "invalid character"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checker, err := apitest.New([]byte(description))
			require.NoError(t, err)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				require.NoError(t, err)
				if name, value, is := strings.Cut(test.header, ": "); is {
					w.Header().Set(name, value)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.answer)
			}))
			defer server.Close()
			var told []error
			client := &http.Client{Transport: checker.Transport(&http.Transport{}, func(err error) { told = append(told, err) })}
			defer client.CloseIdleConnections()
			r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.target, strings.NewReader(test.sent))
			require.NoError(t, err)
			if test.media == "" {
				test.media = "application/x-www-form-urlencoded"
			}
			r.Header.Set("Content-Type", test.media)
			answer, err := client.Do(r)
			if test.want != "" {
				require.ErrorContains(t, err, test.want)
				require.Len(t, told, 1)
				require.Len(t, checker.Wrong(), 1)
				return
			}
			require.NoError(t, err)
			body, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			require.Equal(t, test.answer, string(body), "the test sees what was answered")
			require.Empty(t, told)
			require.Empty(t, checker.Wrong())
		})
	}
}

// An answer is missing until somebody was given it, down to its error code.
func TestMissing(t *testing.T) {
	t.Parallel()
	checker, err := apitest.New([]byte(description))
	require.NoError(t, err)
	done, gone := apitest.Answer{Method: "POST", Path: "/v2/things/{id}", Status: 200}, apitest.Answer{Method: "POST", Path: "/v2/things/{id}", Status: 404, Code: "not_found"}
	require.Equal(t, []apitest.Answer{done, gone}, checker.Missing())
	tell := func(method string, status int, body string) error {
		r := httptest.NewRequest(method, "/v2/things/1", nil)
		return checker.Check(apitest.Exchange{Request: r, Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)})
	}
	require.Error(t, tell("POST", 404, `{"error":"gone"}`))
	require.Equal(t, []apitest.Answer{done, gone}, checker.Missing(), "what is not described is none of them")
	require.NoError(t, tell("POST", 200, `{"b":1}`))
	require.Equal(t, []apitest.Answer{gone}, checker.Missing())
	require.NoError(t, tell("POST", 404, `{"error":"not_found"}`))
	require.Empty(t, checker.Missing())
	require.Equal(t, []apitest.Answer{done, gone}, checker.Described())
}

// The description that the repository keeps can be read, from wherever a test runs.
func TestKept(t *testing.T) {
	t.Parallel()
	checker := apitest.Shared(t)
	exchanges, _, _ := checker.Seen()
	require.Zero(t, exchanges)
}
