package oauthhttp_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// Bob's account.
const bobEmail, bobPassword = "bob@example.org", "bob's own password"

// site is a server with its pages, listening on the loopback.
type site struct {
	*server
	url string
	bob oauth.User

	mu        sync.Mutex
	homes     map[int64][]oauthhttp.Site // by user
	addresses byte                       // that were used
}

func newSite(t testing.TB) *site {
	t.Helper()
	return newSiteOn(t, newServer(t, nil), func(*oauthhttp.PagesOptions) {})
}

func newSiteOn(t testing.TB, s *server, change func(*oauthhttp.PagesOptions)) *site {
	t.Helper()
	site := &site{server: s, homes: make(map[int64][]oauthhttp.Site)}
	var err error
	site.bob, err = s.service.AddUser(t.Context(), bobEmail, "Bob", bobPassword)
	require.NoError(t, err)
	options := oauthhttp.PagesOptions{
		Service: s.service, Logger: slog.New(slog.NewJSONHandler(s.log, nil)), Address: addressOf, Sites: site.sitesOf,
	}
	change(&options)
	pages, err := oauthhttp.NewPages(options)
	require.NoError(t, err)
	pages.Register(s.router)
	listening := httptest.NewServer(s.checked)
	t.Cleanup(listening.Close)
	site.url = listening.URL
	return site
}

func (s *site) sitesOf(_ context.Context, userID int64) ([]oauthhttp.Site, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.homes[userID], nil
}

// moveIn gives a person homes.
func (s *site) moveIn(u oauth.User, homes ...oauthhttp.Site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.homes[u.ID] = homes
}

// browser keeps cookies, as a browser does, but follows redirects only when asked.
type browser struct {
	t      testing.TB
	site   *site
	client *http.Client
	lang   string
}

func (s *site) browser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t: t, site: s, client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// aliceAtHome is a browser in which Alice is signed in.
func (s *site) aliceAtHome(t testing.TB) *browser {
	t.Helper()
	b := s.browser(t)
	b.signIn(email, password)
	return b
}

func (s *site) bobAtHome(t testing.TB) *browser {
	t.Helper()
	b := s.browser(t)
	b.signIn(bobEmail, bobPassword)
	return b
}

func (b *browser) signIn(username, password string) {
	b.t.Helper()
	form := b.get("/signin").form("/signin")
	form.Set("username", username)
	form.Set("password", password)
	require.Equal(b.t, "/connected", b.post("/signin", form).location())
}

// get fetches a path of the site, or a whole address of it.
func (b *browser) get(path string, headers ...string) *view {
	b.t.Helper()
	return b.do(http.MethodGet, path, "", headers...)
}

// post sends a form to a path of the site.
func (b *browser) post(path string, form url.Values, headers ...string) *view {
	b.t.Helper()
	return b.do(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// do sends a request; a header that is given twice counts as given last.
func (b *browser) do(method, path, body string, headers ...string) *view {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.site.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	if b.lang != "" {
		r.Header.Set("Accept-Language", b.lang)
	}
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	v := &view{t: b.t, status: response.StatusCode, header: response.Header, body: string(content)}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		v.doc, err = html.Parse(strings.NewReader(v.body))
		require.NoError(b.t, err)
		v.check()
	}
	return v
}

// cookie is the value of a cookie that the browser holds; empty if there is none.
func (b *browser) cookie(name string) string {
	at, err := url.Parse(b.site.url)
	require.NoError(b.t, err)
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) setCookie(name, value string) {
	at, err := url.Parse(b.site.url)
	require.NoError(b.t, err)
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// view is an answer.
type view struct {
	t      testing.TB
	status int
	header http.Header
	body   string
	doc    *html.Node
}

// check looks at what holds for every page.
func (v *view) check() {
	v.t.Helper()
	require.Equal(v.t, "no-store", v.header.Get("Cache-Control"))
	require.Equal(v.t, "no-referrer", v.header.Get("Referrer-Policy"))
	policy := v.header.Get("Content-Security-Policy")
	require.Contains(v.t, policy, "default-src 'none'")
	require.Contains(v.t, policy, "frame-ancestors 'none'")
	require.NotContains(v.t, policy, "unsafe")
	require.NotContains(v.t, v.body, "ZgotmplZ")
	require.Len(v.t, v.all("h1", "", ""), 1, "a page has one heading of the first order")
	ids := make(map[string]bool)
	walk(v.doc, func(n *html.Node) {
		for _, a := range n.Attr {
			require.False(v.t, strings.HasPrefix(a.Key, "on") || a.Key == "style", "%s has %s", n.Data, a.Key)
			if a.Key == "id" {
				require.False(v.t, ids[a.Val], "id %s is there twice", a.Val)
				ids[a.Val] = true
			}
		}
		if n.Data == "script" {
			require.NotEmpty(v.t, attribute(n, "src"))
			require.Nil(v.t, n.FirstChild, "there is no script in the page itself")
		}
	})
	for _, input := range append(append(v.all("input", "", ""), v.all("select", "", "")...), v.all("textarea", "", "")...) {
		if attribute(input, "type") == "hidden" {
			continue
		}
		require.Len(v.t, v.all("label", "for", attribute(input, "id")), 1, "the field %s has a label", attribute(input, "name"))
	}
}

// location is where a redirect leads.
func (v *view) location() string {
	v.t.Helper()
	require.Equal(v.t, http.StatusSeeOther, v.status, v.text())
	return v.header.Get("Location")
}

// answer is what the redirect to the application says.
func (v *view) answer(redirectURI string) url.Values {
	v.t.Helper()
	to := v.location()
	require.True(v.t, strings.HasPrefix(to, redirectURI), to)
	u, err := url.Parse(to)
	require.NoError(v.t, err)
	require.Equal(v.t, issuer, u.Query().Get("iss"))
	return u.Query()
}

// all are the elements of that name, with that attribute if one is named.
func (v *view) all(element, name, value string) (found []*html.Node) {
	walk(v.doc, func(n *html.Node) {
		if n.Data == element && (name == "" || attribute(n, name) == value) {
			found = append(found, n)
		}
	})
	return found
}

// form is what the form with that action sends when no button is named, on a page
// that is as it should be.
func (v *view) form(action string) url.Values {
	v.t.Helper()
	require.Equal(v.t, http.StatusOK, v.status, v.body)
	return v.formAt(action)
}

// formAt is form on any page.
func (v *view) formAt(action string) url.Values {
	v.t.Helper()
	forms := v.all("form", "action", action)
	require.NotEmpty(v.t, forms, "a form for %s", action)
	last := forms[len(forms)-1] // that of the page, if the header has one as well
	require.Equal(v.t, "post", attribute(last, "method"))
	values := make(url.Values)
	walk(last, func(n *html.Node) {
		name, kind := attribute(n, "name"), attribute(n, "type")
		switch {
		case name == "":
		case n.Data == "input" && (kind == "checkbox" || kind == "radio"):
			if has(n, "checked") {
				values.Add(name, attribute(n, "value"))
			}
		case n.Data == "input":
			values.Add(name, attribute(n, "value"))
		case n.Data == "textarea":
			values.Add(name, strings.TrimPrefix(textOf(n), "\n"))
		}
	})
	return values
}

// offered are the labels of the boxes of that name, by their values.
func (v *view) offered(name string) map[string]string {
	labels := make(map[string]string)
	for _, box := range v.all("input", "name", name) {
		for _, label := range v.all("label", "for", attribute(box, "id")) {
			labels[attribute(box, "value")] = textOf(label)
		}
	}
	return labels
}

// heading is the text of the h1.
func (v *view) heading() string {
	v.t.Helper()
	require.NotNil(v.t, v.doc, v.body)
	return textOf(v.all("h1", "", "")[0])
}

// text is all that can be read in the main part of the page.
func (v *view) text() string {
	if v.doc == nil {
		return v.body
	}
	return textOf(v.all("main", "", "")[0])
}

// faults are what a form was refused for; also what stands at its fields.
func (v *view) faults() string {
	var texts []string
	for _, n := range v.all("div", "id", "errors") {
		texts = append(texts, textOf(n))
	}
	return strings.Join(texts, " ")
}

func walk(n *html.Node, visit func(*html.Node)) {
	for n := range n.Descendants() {
		if n.Type == html.ElementNode {
			visit(n)
		}
	}
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

// textOf is the text below n, with one space for any.
func textOf(n *html.Node) string {
	var b strings.Builder
	for n := range n.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestPagesThatCannotBeMade(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for _, home := range []string{"https://elsewhere.example", "//elsewhere.example", "home", `/\elsewhere.example`} {
		_, err := oauthhttp.NewPages(oauthhttp.PagesOptions{Logger: log, Home: home})
		require.ErrorContains(t, err, "Home", home)
	}
	_, err := oauthhttp.NewPages(oauthhttp.PagesOptions{})
	require.ErrorContains(t, err, "logger")
}

func TestPathsAndMethodsOfPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	for path, allow := range map[string]string{
		"/":                 "GET, HEAD",
		"/oauth2/authorize": "GET, HEAD, POST",
		"/oauth2/consent":   "POST",
		"/signin":           "GET, HEAD, POST",
		"/signout":          "GET, HEAD, POST",
	} {
		for _, end := range []string{"", "/"} {
			if path == "/" && end == "/" {
				continue
			}
			v := b.do(http.MethodDelete, path+end, "")
			require.Equal(t, http.StatusMethodNotAllowed, v.status, path)
			require.Equal(t, allow, v.header.Get("Allow"), path)
		}
	}
	require.Equal(t, "/connected", b.get("/").location())

	other := newSiteOn(t, newServer(t, nil), func(o *oauthhttp.PagesOptions) { o.Home = "/home" })
	b = other.browser(t)
	require.Equal(t, http.StatusNotFound, b.get("/").status)
	form := b.get("/signin").form("/signin")
	form.Set("username", email)
	form.Set("password", password)
	require.Equal(t, "/home", b.post("/signin", form).location())
}

func TestAFailureOfTheServerOnAPage(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, newServer(t, func(real oauth.Store) oauth.Store { return failing{real} }), func(*oauthhttp.PagesOptions) {})
	s.log.Lines()
	v := s.browser(t).get("/oauth2/authorize?client_id=" + s.client.ID)
	require.Equal(t, http.StatusInternalServerError, v.status)
	require.Equal(t, "Something went wrong", v.heading())
	lines := s.log.Lines()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], `"level":"ERROR"`)
}

func TestEveryPageInBothLanguages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.commercial(t)
	b := s.aliceAtHome(t)
	app := "/dev/apps/" + s.client.ID
	get := b.get(app).form(app + "/token")
	get.Set("password", password)
	add := b.addingSecret(app, password)
	headings := make(map[string]string)
	for _, lang := range []string{"en", "fr"} {
		b.lang = lang
		stranger := s.browser(t)
		stranger.lang = lang
		for page, v := range map[string]*view{
			"signin": stranger.get("/signin"), "signout": b.get("/signout"), "consent": b.get(authorizePath(a.authorizing())),
			"refused": b.get("/oauth2/authorize"), "connected": b.get("/connected"), "apps": b.get("/dev/apps"),
			"personal": b.get("/dev/apps/personal"), "commercial": b.get("/dev/apps/commercial"),
			"tokens": b.post(app+"/token", get), "device": b.get("/device"), "device-confirm": b.enters(s.device(t).UserCode),
			"device-done": b.answers(s.device(t).UserCode, "deny"), "edit": b.get("/dev/apps/" + a.ID + "/edit"), "delete": b.get(app + "/delete"), "missing": b.get("/dev/apps/unknown"),
		} {
			require.Equal(t, lang, v.header.Get("Content-Language"), page)
			require.Less(t, v.status, 500, page)
			require.NotEqual(t, headings[page], v.heading(), page)
			headings[page] = v.heading()
		}
		for page, v := range map[string]*view{"app": b.get(app), "application": b.get("/dev/apps/" + a.ID)} {
			require.Equal(t, lang, v.header.Get("Content-Language"), page)
			require.Equal(t, http.StatusOK, v.status, page)
		}
	}
	require.Contains(t, b.post(app+"/secret", add).text(), "Copiez le secret maintenant")
}
