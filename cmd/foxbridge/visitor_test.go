package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/foxbridge/foxbridge/internal/apitest"
)

// visitor is a person with a browser that knows cookies, forms and links, and no
// scripts.
type visitor struct {
	http *http.Client
	// stay is the beginning of addresses that are not followed, as if nobody answered
	// there; empty if all are.
	stay string

	at     *url.URL // where the browser is
	status int
	header http.Header
	page   *html.Node // nil if it is not followed there
}

func newVisitor(t testing.TB) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	v := &visitor{}
	v.http = &http.Client{
		Jar: jar, Transport: apitest.Shared(t).Transport(&http.Transport{}, func(err error) { t.Error(err) }), Timeout: 30 * time.Second,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if v.stay != "" && strings.HasPrefix(r.URL.String(), v.stay) || len(via) > 10 {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	t.Cleanup(v.http.CloseIdleConnections)
	return v
}

// open goes to an address.
func (v *visitor) open(t testing.TB, address string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	v.send(t, r)
}

func (v *visitor) send(t testing.TB, r *http.Request) {
	t.Helper()
	response, err := v.http.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	v.at, v.status, v.header, v.page = response.Request.URL, response.StatusCode, response.Header, nil
	if location := response.Header.Get("Location"); response.StatusCode/100 == 3 && location != "" {
		v.at, err = response.Location()
		require.NoError(t, err)
		return
	}
	v.page, err = html.Parse(io.LimitReader(response.Body, 1<<20))
	require.NoError(t, err)
}

// submit fills in the form that goes to this path and sends it. fill replaces the
// values of fields, or if it has none of a field, leaves it empty; the name and value
// of the button that is pressed are among them.
func (v *visitor) submit(t testing.TB, action string, fill url.Values) {
	t.Helper()
	form := v.form(action)
	require.NotNil(t, form, "no form to %s at %s:\n%s", action, v.at, v.text())
	values := fieldsOf(form)
	for name, value := range fill {
		values[name] = value
	}
	target, err := v.at.Parse(action)
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.String(), strings.NewReader(values.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	v.send(t, r)
}

// form finds the form of the page that goes to this path, or nil.
func (v *visitor) form(action string) *html.Node {
	return v.find(func(n *html.Node) bool { return n.Data == "form" && attribute(n, "action") == action })
}

func (v *visitor) find(is func(*html.Node) bool) *html.Node {
	if v.page == nil {
		return nil
	}
	for n := range v.page.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			return n
		}
	}
	return nil
}

// fieldsOf are the values that a form has as it stands. Buttons are not pressed.
func fieldsOf(form *html.Node) url.Values {
	values := make(url.Values)
	for n := range form.Descendants() {
		kind, name := attribute(n, "type"), attribute(n, "name")
		switch {
		case n.Data != "input" || name == "":
		case (kind == "checkbox" || kind == "radio") && !has(n, "checked"):
		default:
			values.Add(name, attribute(n, "value"))
		}
	}
	return values
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// text is what the page says, with single spaces.
func (v *visitor) text() string {
	if v.page == nil {
		return ""
	}
	var words []string
	for n := range v.page.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" && n.Parent.Data != "script" {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(words, " ")
}

// signIn fills in the page of sign-in, which the browser must be at.
func (v *visitor) signIn(t testing.TB, e *estate) {
	t.Helper()
	v.submit(t, "/signin", url.Values{"username": {e.username}, "password": {e.password}})
}

// answer fills in the page of consent, which the browser must be at. Unless narrowed,
// all that is asked for is given.
func (v *visitor) answer(t testing.TB, answer string, narrowed ...url.Values) {
	t.Helper()
	fill := url.Values{"answer": {answer}}
	for _, n := range narrowed {
		for name, values := range n {
			fill[name] = values
		}
	}
	v.submit(t, "/oauth2/consent", fill)
}
