package oauthhttp

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

//go:embed templates/*.html
var pageTemplates embed.FS

//go:embed messages/*.json
var pageMessages embed.FS

//go:embed static/*
var pageAssets embed.FS

// Site is a home that a person can reach.
type Site struct {
	ID    int64
	Label string
}

// PagesOptions are what Pages are made of. Service and Logger are required.
type PagesOptions struct {
	Service *oauth.Service
	Logger  *slog.Logger
	// Secure says that the site is reached over HTTPS only: the cookies are then Secure
	// and bound to the host. Without it the site is for this machine's own loopback.
	Secure bool
	// Port is that of the address by which people reach a site that is not Secure; see
	// web.Options.
	Port string
	// Address tells the caller's address, by which failed sign-ins are counted. Nil:
	// that of the connection.
	Address func(*http.Request) netip.Addr
	// Limits count the requests for pages. Nil: there are none.
	Limits Limits
	// Outage is that of Options; it is asked of the errors of Additions too.
	Outage func(context.Context, error) bool
	// Sites lists the homes of a person, so that a consent can be narrowed to some of
	// them. Nil: nobody is asked.
	Sites func(ctx context.Context, userID int64) ([]Site, error)
	// Additions are pages of others in the same site.
	Additions []Addition
	// Home is the local path to which a sign-in leads when nothing else was asked for.
	// Empty: the page of connected applications, and then "/" leads there too.
	Home string
	// SignUp lets people make themselves an account. Otherwise there is no such page.
	SignUp bool
}

// Pages serve what people see of the authorization server: sign-in, consent, the
// applications that are connected, and those that they registered. They may be used
// by several goroutines at once.
type Pages struct {
	service   *oauth.Service
	log       *slog.Logger
	address   func(*http.Request) netip.Addr
	limits    Limits
	outage    func(context.Context, error) bool
	sites     func(context.Context, int64) ([]Site, error)
	home      string
	signUpOn  bool
	web       *web.Pages
	additions []Addition

	decoding chan struct{} // holds one for each picture that is being decoded
}

// Paths of the pages.
const (
	pathConsent   = "/oauth2/consent"
	pathSignIn    = "/signin"
	pathSignOut   = "/signout"
	pathConnected = "/connected"
	pathApps      = "/dev/apps"
)

// NewPages makes Pages. It refuses an Options.Home that is no local path.
func NewPages(o PagesOptions) (*Pages, error) {
	p := &Pages{
		service: o.Service, log: o.Logger, address: o.Address, limits: o.Limits, outage: outageBy(o.Outage, o.Logger), sites: o.Sites, home: o.Home, signUpOn: o.SignUp,
		decoding: make(chan struct{}, logosAtOnce), additions: o.Additions,
	}
	if p.address == nil {
		p.address = connection
	}
	if p.limits == nil {
		p.limits = unlimited{}
	}
	if p.sites == nil {
		p.sites = func(context.Context, int64) ([]Site, error) { return nil, nil }
	}
	if p.home != "" && !web.LocalPath(p.home) {
		return nil, errors.New("make pages: Home is not a local path")
	}
	templates, err := fs.Sub(pageTemplates, "templates")
	if err != nil {
		return nil, fmt.Errorf("make pages: %w", err)
	}
	messages, err := fs.Sub(pageMessages, "messages")
	if err != nil {
		return nil, fmt.Errorf("make pages: %w", err)
	}
	assets, err := fs.Sub(pageAssets, "static")
	if err != nil {
		return nil, fmt.Errorf("make pages: %w", err)
	}
	site := web.Options{
		Templates: []fs.FS{templates}, Messages: []fs.FS{messages}, Assets: []fs.FS{assets},
		Secure: o.Secure, Port: o.Port, Logger: o.Logger, Header: p.header,
	}
	keys := dynamicKeys()
	for _, a := range o.Additions {
		a.addTo(&site)
		keys = append(append(keys, a.Label), a.Keys...)
	}
	p.web, err = web.New(site)
	if err != nil {
		return nil, fmt.Errorf("make pages: %w", err)
	}
	if err := p.web.RequireKeys(keys...); err != nil {
		return nil, fmt.Errorf("make pages: %w", err)
	}
	return p, nil
}

// Check gives the names of the pages, those of the additions too, and fails if there is
// something wrong with the templates of one. It is for tests, see web.Pages.Check.
func (p *Pages) Check() ([]string, error) { return p.web.Check() }

// Register adds the pages to r, with and without a slash at their end, their static
// files and the switch of languages. They answer all methods themselves.
func (p *Pages) Register(r *mux.Router) {
	p.web.Register(r)
	routes := []route{
		// Applications may have the person's browser send the request from their own page.
		{pathAuthorize, page{get: p.authorize, post: p.authorizePost, open: true}},
		{pathConsent, page{post: p.consent}},
		{pathSignIn, page{get: p.signInPage, post: p.signIn}},
		{pathSignUp, page{get: p.signUpPage, post: p.signUp}},
		{pathSignOut, page{get: p.signOutPage, post: p.signOut}},
		{pathConnected, page{get: p.connected, post: p.disconnect, private: true, back: pathConnected}},
	}
	if p.home == "" {
		routes = append(routes, route{"/", page{get: func(w http.ResponseWriter, _ *http.Request, _ visitor) error {
			p.web.Redirect(w, pathConnected)
			return nil
		}}})
	}
	routes = slices.Concat(routes, p.secondPages(), p.devicePages(), p.editPages(), p.appPages(), p.securityPages(), p.operatorPages(), p.additionPages())
	for _, route := range routes {
		p.handle(r, route.path, route.page)
	}
}

// route is a page at its path, which is a template of the router.
type route struct {
	path string
	page page
}

func (p *Pages) handle(r *mux.Router, path string, page page) {
	page.Pages = p
	var h http.Handler = page
	if !page.open {
		h = p.web.Protect(h)
	}
	r.Handle(path, h)
	if path != "/" {
		r.Handle(path+"/", h)
	}
}

// visitor is who sends a request.
type visitor struct {
	user   oauth.User
	secret string // of the session; empty: nobody is signed in
}

func (v visitor) signedIn() bool { return v.secret != "" }

// page is one path. A method that is nil is refused.
type page struct {
	*Pages
	get, post func(http.ResponseWriter, *http.Request, visitor) error
	open      bool   // it takes forms of other sites' pages
	private   bool   // it is for who is signed in
	operator  bool   // it is for operators, and private
	back      string // where a sign-in leads that a form of a private page needs
}

func (g page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serve, allow := g.method(r.Method)
	if serve == nil {
		w.Header().Set("Allow", allow)
		g.web.Error(w, r, http.StatusMethodNotAllowed, "")
		return
	}
	v, err := g.visitor(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), visitorKey{}, v))
	if wait := g.wait(r, v); wait > 0 {
		w.Header().Set("Retry-After", seconds(wait))
		g.web.Error(w, r, http.StatusTooManyRequests, "")
		return
	}
	if g.private && !v.signedIn() {
		back := r.URL.RequestURI()
		if r.Method == http.MethodPost {
			back = g.back // what was in the form is lost
		}
		g.web.Redirect(w, signInFor(back))
		return
	}
	if g.operator && !v.user.Operator {
		g.web.Error(w, r, http.StatusNotFound, "")
		return
	}
	if err := serve(w, r, v); err != nil {
		g.fail(w, r, err)
	}
}

// wait counts the request, and gives how long its sender has to wait.
func (g page) wait(r *http.Request, v visitor) time.Duration {
	if v.signedIn() {
		return g.limits.Visitor(r, v.user.ID)
	}
	return g.limits.Anonymous(r)
}

func (g page) method(name string) (serve func(http.ResponseWriter, *http.Request, visitor) error, allow string) {
	var methods []string
	if g.get != nil {
		methods = append(methods, http.MethodGet, http.MethodHead)
	}
	if g.post != nil {
		methods = append(methods, http.MethodPost)
	}
	switch {
	case !slices.Contains(methods, name):
		return nil, strings.Join(methods, ", ")
	case name == http.MethodPost:
		return g.post, ""
	default:
		return g.get, ""
	}
}

type visitorKey struct{}

// visitor finds who sends r. A session that is over is none.
func (p *Pages) visitor(r *http.Request) (visitor, error) {
	secret := p.web.Session(r)
	if secret == "" {
		return visitor{}, nil
	}
	user, err := p.service.Session(r.Context(), secret)
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		return visitor{}, nil
	case err != nil:
		return visitor{}, err
	}
	p.service.Seen(secret, agentOf(r.UserAgent()), p.address(r))
	return visitor{user, secret}, nil
}

// header is what the header of a page shows to who was found to send r.
func (p *Pages) header(r *http.Request) web.Header {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	if !v.signedIn() {
		return web.Header{}
	}
	links := []web.Link{
		{Path: pathConnected, Label: "nav.connected"}, {Path: pathApps, Label: "nav.apps"}, {Path: pathSecurity, Label: "nav.security"},
	}
	for _, a := range p.additions {
		links = append(links, web.Link{Path: a.Path, Label: a.Label})
	}
	if v.user.Operator {
		links = append(links, web.Link{Path: pathRequests, Label: "nav.operator"})
	}
	return web.Header{
		Person:  v.user.Name,
		SignOut: pathSignOut, SignOutToken: web.FormToken(v.secret, formSignOut),
		Links: links,
	}
}

// bare is the header of a page that nobody should leave by accident.
func (v visitor) bare() web.RenderOption { return web.WithHeader(web.Header{Person: v.user.Name}) }

// signInFor is the page of sign-in that leads on to a local path.
func signInFor(path string) string {
	if path == "" || !web.LocalPath(path) {
		return pathSignIn
	}
	return pathSignIn + "?" + url.Values{fieldReturn: {path}}.Encode()
}

// fail answers any error with a page, and logs one line. What it does not know shows
// nothing of its inside.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	refusal, isRefusal := errors.AsType[*oauth.Error](err)
	refused, isForm := errors.AsType[*web.FormError](err)
	switch {
	case isRefusal:
		p.refuse(w, r, refusal)
	case isForm:
		p.log.InfoContext(r.Context(), "form refused", "path", r.URL.Path, "reason", refused.Error())
		p.web.Refuse(w, r, refused)
	case r.Context().Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		p.log.InfoContext(r.Context(), "page given up", "path", r.URL.Path, "err", err)
		p.web.Error(w, r, http.StatusServiceUnavailable, "")
	case p.outage(r.Context(), err):
		p.unanswered(w, r)
	default:
		p.web.Refuse(w, r, err) // which logs it
	}
}

// unanswered answers while the record gives no answer. Of a form it may be unknown what
// became of it, so who sent it is to look before it is sent again.
func (p *Pages) unanswered(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", seconds(outageRetry))
	key := ""
	if r.Method == http.MethodPost {
		key = "web.error.503.sent"
	}
	p.web.Error(w, r, http.StatusServiceUnavailable, key)
}

// refusalView is the data of the page of a refusal.
type refusalView struct {
	Heading, Key      string // messages
	Code, Description string // for who made the application
}

// refuse answers a refusal that the application must not be told.
func (p *Pages) refuse(w http.ResponseWriter, r *http.Request, refusal *oauth.Error) {
	p.logRefusal(r, refusal)
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
	}
	view := refusalView{Heading: "refused.title", Key: "refused.other", Code: refusal.Code, Description: refusal.Description}
	if key, known := refusalKeys()[refusal.Reason]; known {
		view.Key = key
	}
	if view.Key == "refused.repeated" { // the application is connected
		view.Heading = "refused.repeated.heading"
	}
	p.web.Render(w, r, statusOf(r, refusal), "refused", view, web.KeepOpener())
}

func (p *Pages) logRefusal(r *http.Request, refusal *oauth.Error) {
	attrs := []slog.Attr{
		slog.String("path", r.URL.Path),
		slog.String("error", refusal.Code), slog.String("reason", refusal.Reason),
		slog.String("remote", p.address(r).String()),
	}
	if refusal.ClientID != "" {
		attrs = append(attrs, slog.String("client_id", refusal.ClientID))
	}
	p.log.LogAttrs(r.Context(), slog.LevelInfo, "page refused", attrs...)
}

// refusalKeys are messages by the reason of a refusal.
func refusalKeys() map[string]string {
	return map[string]string{
		"client_id missing":                     "refused.client",
		"client unknown":                        "refused.client",
		"grant not allowed for the application": "refused.kind",
		"redirect_uri missing":                  "refused.redirect",
		"redirect_uri not registered":           "refused.redirect",
		"consent repeated":                      "refused.repeated",
		"body too large":                        "web.error.413",
	}
}

// dynamicKeys are the messages that no template names.
func dynamicKeys() []string {
	keys := []string{"refused.title", "refused.repeated.heading", "refused.other", "nav.connected", "nav.apps", "nav.security"}
	for _, key := range refusalKeys() {
		keys = append(keys, key)
	}
	return slices.Concat(keys, signInKeys(), secondKeys(), factorKeys(), signUpKeys(), appKeys(), issuanceKeys(), editKeys(), deviceKeys(), appPasswordKeys(), securityKeys(), recordKeys(), operatorKeys())
}
