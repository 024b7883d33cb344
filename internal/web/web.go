// Package web is what the pages that people see stand on: the layout, the static
// files, rendering under a strict Content-Security-Policy, the languages, and the
// protection of forms. It knows nothing of what the pages are about: who uses it brings
// templates and messages of its own.
package web

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"sync"

	"github.com/gorilla/mux"
)

// Options are what Pages are made of. Logger is required.
type Options struct {
	// Templates hold pages and partials at their roots. A file "name.html" is the page
	// "name": it defines "title" and "main", both of which are given the page's data, and
	// may define "class", which is put on the main element ("narrow" or "wide"). A file
	// "_name.html" holds partials, each of a name of its own among those of all file
	// systems. All may use the partials and the functions that this package has. (To embed
	// files whose names begin with "_" takes a pattern such as "templates/*.html".)
	Templates []fs.FS
	// Messages hold one catalogue for each language at their roots, "en.json" and
	// "fr.json": an object of keys and texts. A text has places {0}, {1}, ... for
	// arguments. An object {"one": ..., "other": ...} instead of a text is chosen from by
	// the first argument, a whole number.
	Messages []fs.FS
	// Assets hold further static files at their roots.
	Assets []fs.FS
	// Product is the name in the header and in titles. Empty: Foxbridge.
	Product string
	// Secure says that the site is reached over HTTPS only. Cookies are then Secure and
	// bound to the host, and browsers are told to come over HTTPS from then on.
	Secure bool
	// Port tells the cookies of this site from those of others on the same host, which
	// browsers send to every port of it. Of a Secure site it is not used. Empty: nothing does.
	Port string
	// Header gives what the header of a page shows to the sender of the request. Nil: the
	// product's name alone.
	Header func(*http.Request) Header
	Logger *slog.Logger
}

// Header is what the header of a page shows beside the product's name.
type Header struct {
	Person       string // name of who is signed in; empty: nobody
	Links        []Link
	SignOut      string // path that the sign-out form posts to; empty: no such form
	SignOutToken string // form token of that form
}

// Link is an entry of the navigation. It is marked as the current one on its own path
// and below.
type Link struct {
	Path  string
	Label string // message key
}

// Pages renders pages and serves what they need. It may be used by several goroutines
// at once.
type Pages struct {
	product string
	secure  bool
	port    string
	header  func(*http.Request) Header
	log     *slog.Logger
	text    *catalogue
	assets  *assets
	sets    map[Language]func() (*set, error)
	guard   *http.CrossOriginProtection
}

// New makes Pages. It refuses a name of a message or an asset that is there twice, and a
// message key that some language lacks. What is wrong with templates only Check tells.
func New(o Options) (*Pages, error) {
	p := &Pages{
		product: o.Product, secure: o.Secure, port: o.Port, header: o.Header, log: o.Logger,
		sets: map[Language]func() (*set, error){}, guard: http.NewCrossOriginProtection(),
	}
	if p.log == nil {
		return nil, errors.New("pages need a logger")
	}
	if p.product == "" {
		p.product = "Foxbridge"
	}
	if p.header == nil {
		p.header = func(*http.Request) Header { return Header{} }
	}
	p.guard.SetDenyHandler(http.HandlerFunc(p.denied))
	var err error
	if p.text, err = readCatalogue(append([]fs.FS{ownMessages()}, o.Messages...)); err != nil {
		return nil, err
	}
	if p.assets, err = readAssets(append([]fs.FS{ownAssets()}, o.Assets...)); err != nil {
		return nil, err
	}
	for _, lang := range languages() {
		p.sets[lang] = sync.OnceValues(func() (*set, error) { return p.readTemplates(lang, o.Templates) })
	}
	return p, nil
}

// Register adds the static files and the switch of languages to r.
func (p *Pages) Register(r *mux.Router) {
	r.PathPrefix(StaticPath).Handler(p.Static())
	r.Handle(LanguagePath, p.LanguageSwitch())
}

// Protect refuses requests with an unsafe method that a browser says to come from
// another site's page, before they reach h. It is for pages only: endpoints that other
// origins may call go without.
func (p *Pages) Protect(h http.Handler) http.Handler { return p.guard.Handler(h) }

func (p *Pages) denied(w http.ResponseWriter, r *http.Request) {
	p.log.InfoContext(r.Context(), "request from another site's page refused", "method", r.Method, "path", r.URL.Path)
	p.Error(w, r, http.StatusForbidden, "web.error.cross_site")
}

// RenderOption changes how one answer is rendered.
type RenderOption func(*rendering)

type rendering struct {
	policy policy
	header *Header
	back   string
}

// AllowRedirects lets the forms of the page be answered with a redirect to uri, as on
// a page of consent: browsers apply form-action to the redirects that follow a form as
// well, including those that the other site makes in turn. So this allows the origin or
// scheme of uri, and any HTTPS address. A uri that is not absolute allows nothing.
func AllowRedirects(uri string) RenderOption {
	return func(o *rendering) { o.policy.formActions = append(o.policy.formActions, formActions(uri)...) }
}

// KeepOpener leaves the page connected with the window that opened it, for pages that
// other sites open in a window of their own and wait for, as on the way of a sign-in.
func KeepOpener() RenderOption {
	return func(o *rendering) { o.policy.keepOpener = true }
}

// WithHeader replaces what Options.Header would give.
func WithHeader(h Header) RenderOption {
	return func(o *rendering) { o.header = &h }
}

// ReturnTo names the local path, with its query, that the switch of languages goes
// back to. Without it that is the path of the request, which suits all pages but those
// that answer nothing but POST.
func ReturnTo(path string) RenderOption {
	return func(o *rendering) { o.back = path }
}

// view is what the layout is given.
type view struct {
	Product   string
	Header    Header
	Path      string
	Return    string
	Languages []languageChoice
	Flash     *Notice
	Data      any
}

// Render answers with a page in the reader's language. When the page cannot be
// rendered, the answer is a plain page with status 500 instead, and the reason is
// logged.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, page string, data any, options ...RenderOption) {
	o := rendering{back: r.URL.RequestURI()}
	for _, option := range options {
		option(&o)
	}
	lang := p.Language(r)
	body, err := p.render(w, r, lang, status, page, data, o)
	if err != nil {
		p.log.ErrorContext(r.Context(), "page could not be rendered", "page", page, "error", err)
		status, body = http.StatusInternalServerError, p.plain(lang)
	}
	p.writeHeaders(w.Header(), lang, o.policy)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // #nosec G705 -- html/template has escaped it; who has gone away misses nothing
}

func (p *Pages) render(w http.ResponseWriter, r *http.Request, lang Language, status int, page string, data any, o rendering) ([]byte, error) {
	s, err := p.sets[lang]()
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	t := s.Lookup(partOf(page, layout))
	if t == nil {
		return nil, fmt.Errorf("there is no page %q", page)
	}
	v := view{Product: p.product, Path: r.URL.Path, Return: "/", Languages: choices(lang), Data: data}
	if LocalPath(o.back) {
		v.Return = o.back
	}
	if o.header != nil {
		v.Header = *o.header
	} else {
		v.Header = p.header(r)
	}
	if status < http.StatusBadRequest {
		v.Flash = p.takeFlash(w, r, lang)
	}
	var body bytes.Buffer
	if err := t.Execute(&body, v); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

// plain is the page for when no page can be made.
func (p *Pages) plain(lang Language) []byte {
	text := html.EscapeString(p.text.fixed(lang, "web.error.500"))
	return []byte("<!DOCTYPE html>\n<html lang=\"" + string(lang) + "\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>" +
		html.EscapeString(p.product) + "</title><p>" + text + "</p></html>\n")
}

// failure is the data of the page of errors.
type failure struct{ Heading, Text string }

// Error answers with a page that says what went wrong: a heading for the status and
// the message of key, or one that suits the status if key is empty.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, status int, key string, args ...any) {
	lang := p.Language(r)
	fallback := "web.error." + strconv.Itoa(status)
	heading := fallback + ".heading"
	if !p.text.has(heading) {
		fallback, heading = "web.error.500", "web.error.500.heading"
		if status < http.StatusInternalServerError {
			fallback, heading = "web.error.400", "web.error.400.heading"
		}
	}
	if key == "" {
		key, args = fallback, nil
	}
	text, err := p.text.translate(lang, key, args)
	if err != nil {
		p.log.ErrorContext(r.Context(), "message of an error page could not be made", "key", key, "error", err)
		text = p.text.fixed(lang, fallback)
	}
	p.Render(w, r, status, errorPage, failure{Heading: p.text.fixed(lang, heading), Text: text})
}

// Refuse answers err with a page: what a FormError says, and for any other error that
// something went wrong here, which is logged.
func (p *Pages) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if refused, ok := errors.AsType[*FormError](err); ok {
		p.Error(w, r, refused.Status, refused.Key, refused.Args...)
		return
	}
	p.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	p.Error(w, r, http.StatusInternalServerError, "")
}

// Translate gives the message of key in the reader's language. It fails for a key that
// is not there and for another number of arguments than the message has places.
func (p *Pages) Translate(r *http.Request, key string, args ...any) (string, error) {
	return p.text.translate(p.Language(r), key, args)
}

// RequireKeys fails unless all keys are there. It is for keys that templates get from
// data, which Check cannot see.
func (p *Pages) RequireKeys(keys ...string) error {
	var missing []error
	for _, key := range keys {
		if !p.text.has(key) {
			missing = append(missing, fmt.Errorf("there is no message %q", key))
		}
	}
	return errors.Join(missing...)
}
