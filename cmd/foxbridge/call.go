package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// call is a request of the API that the demo shows as a curl line and makes itself.
// Its path and form may hold $VARIABLES, those of demo.env and $TOKEN.
type call struct {
	title  string
	method string
	path   string
	form   []string // name=value pairs; the call is then the client's own, with its credentials
}

// tokenCall gets a token by the password grant.
func tokenCall() call {
	return call{
		title: "Get a token", method: http.MethodPost, path: "/oauth2/token",
		form: []string{"grant_type=password", "username=$FOXBRIDGE_USERNAME", "password=$FOXBRIDGE_PASSWORD"},
	}
}

func read(title, path string) call { return call{title: title, method: http.MethodGet, path: path} }

func order(title, path string) call { return call{title: title, method: http.MethodPost, path: path} }

// curl is the line that makes the call from a shell that has sourced demo.env.
func (c call) curl() string {
	var line strings.Builder
	line.WriteString("curl -sS")
	if c.form != nil {
		line.WriteString(` -u "$FOXBRIDGE_CLIENT_ID:$FOXBRIDGE_CLIENT_SECRET"`)
		for _, pair := range c.form {
			flag := "-d"
			if strings.Contains(pair, "$") { // a value may hold what has a meaning in a form
				flag = "--data-urlencode"
			}
			fmt.Fprintf(&line, ` %s "%s"`, flag, pair)
		}
	} else {
		if c.method != http.MethodGet {
			line.WriteString(" -X " + c.method)
		}
		line.WriteString(` -H "Authorization: Bearer $TOKEN"`)
	}
	fmt.Fprintf(&line, ` "$FOXBRIDGE_URL%s"`, c.path)
	return line.String()
}

// request is the call with the variables' values in it.
func (c call) request(ctx context.Context, variable func(string) string) (*http.Request, error) {
	form := make(url.Values)
	for _, pair := range c.form {
		name, value, _ := strings.Cut(pair, "=")
		form.Set(name, os.Expand(value, variable))
	}
	target := os.Expand("$FOXBRIDGE_URL"+c.path, variable)
	r, err := http.NewRequestWithContext(ctx, c.method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if c.form != nil {
		r.SetBasicAuth(variable("FOXBRIDGE_CLIENT_ID"), variable("FOXBRIDGE_CLIENT_SECRET"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r.Header.Set("Authorization", "Bearer "+variable("TOKEN"))
	}
	return r, nil
}

// answer is what came back for a call.
type answer struct {
	status  int
	command string // Foxbridge-Command-Id
	body    []byte
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

func (c call) do(ctx context.Context, client *http.Client, variable func(string) string) (answer, error) {
	r, err := c.request(ctx, variable)
	if err != nil {
		return answer{}, err
	}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer{response.StatusCode, response.Header.Get("Foxbridge-Command-Id"), body}, nil
}
