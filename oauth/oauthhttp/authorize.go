package oauthhttp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// authorizeParameter is a parameter of the authorization endpoint and its place.
type authorizeParameter struct {
	name  string
	value *string
}

// authorizeParameters are those of a request, by which of two faults is told first:
// without its client and its redirect URI a request has nobody to go back to, and
// without its state the application cannot tell whose answer it is.
func authorizeParameters(r *oauth.AuthorizeRequest) []authorizeParameter {
	return []authorizeParameter{
		{paramClientID, &r.ClientID},
		{"redirect_uri", &r.RedirectURI},
		{paramState, &r.State},
		{"response_type", &r.ResponseType},
		{paramScope, &r.Scope},
		{"code_challenge", &r.CodeChallenge},
		{"code_challenge_method", &r.CodeChallengeMethod},
	}
}

const paramState = "state"

// parseAuthorize reads a request from its form-urlencoded parameters. An empty one
// was not given, and one that is not ours is ignored (RFC 6749 section 3.1). The state
// is any bytes: it is the application's own.
func parseAuthorize(query string) oauth.AuthorizeRequest {
	var r oauth.AuthorizeRequest
	parameters := authorizeParameters(&r)
	faulty := make(map[string]bool)
	for rawName, rawValue := range formPairs(query) {
		name, err := url.QueryUnescape(rawName)
		if err != nil || rawValue == "" {
			continue
		}
		at := slices.IndexFunc(parameters, func(p authorizeParameter) bool { return p.name == name })
		if at < 0 {
			continue
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil || *parameters[at].value != "" || name != paramState && !isText(value) {
			faulty[name] = true
			continue
		}
		*parameters[at].value = value
	}
	for _, p := range slices.Backward(parameters) {
		if faulty[p.name] {
			r.Repeated = p.name
		}
	}
	return r
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// authorizeQuery is a query by which parseAuthorize finds the same values again.
func authorizeQuery(r oauth.AuthorizeRequest) string {
	query := make(url.Values)
	for _, p := range authorizeParameters(&r) {
		if *p.value != "" {
			query.Set(p.name, *p.value)
		}
	}
	return query.Encode()
}

// authorize is the authorization endpoint (RFC 6749 section 3.1).
func (p *Pages) authorize(w http.ResponseWriter, r *http.Request, v visitor) error {
	return p.ask(w, r, v, parseAuthorize(r.URL.RawQuery))
}

// authorizePost is the authorization endpoint for a request that a form makes (OpenID
// Connect Core section 3.1.2.1). It may come from a page of another site, and browsers
// then keep the session to themselves: the way over the sign-in finds it again.
func (p *Pages) authorizePost(w http.ResponseWriter, r *http.Request, v visitor) error {
	if !sendsForm(r) {
		return badRequest("The Content-Type is not "+mediaForm, "content type unknown")
	}
	body, refusal := readBody(w, r)
	if refusal != nil {
		return refusal
	}
	return p.ask(w, r, v, parseAuthorize(r.URL.RawQuery+"&"+string(body)))
}

// ask puts a request to the person. What is wrong with it is told first, also to who
// is not signed in: an application that an operator has approved may be sent people.
func (p *Pages) ask(w http.ResponseWriter, r *http.Request, v visitor, request oauth.AuthorizeRequest) error {
	a, answered, err := p.check(w, r, request)
	if answered || err != nil {
		return err
	}
	if !v.signedIn() {
		p.web.Redirect(w, signInFor(pathAuthorize+"?"+authorizeQuery(request)))
		return nil
	}
	sites, err := p.sites(r.Context(), v.user.ID)
	if err != nil {
		return p.unavailable(w, r, a, fmt.Errorf("list sites of user %d: %w", v.user.ID, err))
	}
	p.renderConsent(w, r, http.StatusOK, asking{
		visitor: v, Authorization: a, query: authorizeQuery(request), ticket: oauth.NewSecret(), sites: sites, form: new(web.Form),
	})
	return nil
}

// check answers itself when the application is to be told what is wrong.
func (p *Pages) check(w http.ResponseWriter, r *http.Request, request oauth.AuthorizeRequest) (a oauth.Authorization, answered bool, err error) {
	a, err = p.service.Authorize(r.Context(), request)
	if to, is := errors.AsType[*oauth.RedirectError](err); is {
		p.logRefusal(r, to.Refusal)
		p.web.Redirect(w, to.To)
		return oauth.Authorization{}, true, nil
	}
	return a, false, err
}

// unavailable sends the browser back to an application that is known, if err says that the
// record gives no answer: it can begin again, and what may have been written for it nobody
// was given. Any other error it gives back.
func (p *Pages) unavailable(w http.ResponseWriter, r *http.Request, a oauth.Authorization, err error) error {
	if !p.outage(r.Context(), err) {
		return err
	}
	p.web.Redirect(w, p.service.Unavailable(a))
	return nil
}

// Fields of the form of consent.
const (
	formConsent  = "consent"
	fieldTicket  = "ticket"
	fieldRequest = "request"
	fieldAnswer  = "answer"
	fieldScope   = "scope"
	fieldSite    = "site"
	answerAllow  = "allow"
	answerDeny   = "deny"
)

// asking is a request before the person.
type asking struct {
	visitor
	oauth.Authorization
	query  string // of the request
	ticket string
	sites  []Site
	form   *web.Form
}

// consentView is the data of the page of consent.
type consentView struct {
	Form                     *web.Form
	Token, Ticket, Request   string
	Account, SignOutToken    string
	Return                   string // local path of the request
	Name, Description        string
	HomePage, HomeHost, Host string // Host is where the answer goes
	Scopes, Sites            []web.Option
	Site                     string // the only one
	Picture                  string // path of the application's; may be empty
}

func (p *Pages) renderConsent(w http.ResponseWriter, r *http.Request, status int, a asking) {
	view := consentView{
		Form: a.form, Ticket: a.ticket, Request: a.query, Return: pathAuthorize + "?" + a.query,
		Token:   p.web.FormToken(w, r, formConsent),
		Account: a.user.Email, SignOutToken: p.web.FormToken(w, r, formSignOut),
		Name: a.Client.Name, Description: a.Client.Description,
		HomePage: a.Client.HomePage, HomeHost: hostOf(a.Client.HomePage), Host: hostOf(a.RedirectURI),
		Scopes: p.scopeOptions(a.Scope), Picture: logoPath(a.Client.ID, a.Client.Logo),
	}
	// A field that came back empty is one that the person emptied.
	again := a.form.Has(fieldAnswer)
	for i := range view.Scopes {
		view.Scopes[i].Checked = !again
	}
	switch len(a.sites) {
	case 0:
	case 1:
		view.Site = a.sites[0].Label
	default:
		for _, s := range a.sites {
			view.Sites = append(view.Sites, web.Option{Value: strconv.FormatInt(s.ID, 10), Label: s.Label, Checked: !again})
		}
	}
	p.web.Render(w, r, status, "consent", view,
		web.AllowRedirects(a.RedirectURI), web.KeepOpener(), web.ReturnTo(view.Return), a.bare())
}

// scopeOptions are the names of a scope in plain words, in the order in which the
// Service lists them. One without words is shown as it is.
func (p *Pages) scopeOptions(scope oauth.Scope) []web.Option {
	var options []web.Option
	names := slices.DeleteFunc(p.service.Scopes(), func(name string) bool { return !slices.Contains(scope, name) })
	for _, name := range scope {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		option := web.Option{Value: name, Label: name}
		if key := "scope." + name; p.web.RequireKeys(key) == nil {
			option.Key = key
		}
		if key := "scope." + name + ".hint"; p.web.RequireKeys(key) == nil {
			option.HintKey = key
		}
		options = append(options, option)
	}
	return options
}

// hostOf is the part of an address that says whose it is: the host, or of a native
// application its scheme.
func hostOf(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return ""
	case u.Scheme == "https" || u.Scheme == "http":
		return u.Host
	default:
		return u.Scheme
	}
}

// consent takes the person's answer. The request is checked as if it came for the
// first time.
func (p *Pages) consent(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formConsent, fieldTicket, fieldRequest, fieldAnswer, fieldScope+"...", fieldSite+"...")
	if err != nil {
		return err
	}
	request := parseAuthorize(form.Get(fieldRequest))
	if !v.signedIn() { // the session ended while the page was open
		p.web.Redirect(w, signInFor(pathAuthorize+"?"+authorizeQuery(request)))
		return nil
	}
	a, answered, err := p.check(w, r, request)
	if answered || err != nil {
		return err
	}
	switch {
	case !isTicket(form.Get(fieldTicket)):
		return badRequest("The consent is malformed", "consent malformed")
	case form.Get(fieldAnswer) == answerDeny:
		p.log.InfoContext(r.Context(), "consent denied", "client_id", a.Client.ID, "user_id", v.user.ID)
		p.web.Redirect(w, p.service.Deny(a))
		return nil
	case form.Get(fieldAnswer) != answerAllow:
		return badRequest("The consent is malformed", "consent malformed")
	}
	sites, err := p.sites(r.Context(), v.user.ID)
	if err != nil {
		return p.unavailable(w, r, a, fmt.Errorf("list sites of user %d: %w", v.user.ID, err))
	}
	return p.allow(w, r, asking{visitor: v, Authorization: a, query: authorizeQuery(request), ticket: form.Get(fieldTicket), sites: sites, form: form})
}

// isTicket reports whether s is of the form of those that ask draws.
func isTicket(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == len(oauth.Hash{})
}

// allow gives the application what the person ticked.
func (p *Pages) allow(w http.ResponseWriter, r *http.Request, a asking) error {
	scope := oauth.NewScope(a.form.All(fieldScope)...)
	if len(scope) == 0 {
		a.form.Reject(fieldScope, "consent.scope.none")
	}
	sites, err := a.chosenSites()
	if err != nil {
		return err
	}
	if len(a.sites) > 1 && len(a.form.All(fieldSite)) == 0 {
		a.form.Reject(fieldSite, "consent.site.none")
	}
	if !a.form.Valid() {
		p.renderConsent(w, r, http.StatusUnprocessableEntity, a)
		return nil
	}
	to, err := p.service.Consent(r.Context(), a.Authorization, oauth.Consent{
		UserID: a.user.ID, Ticket: oauth.HashOf(a.ticket), Scope: scope, Sites: sites, Address: p.address(r),
	})
	if err != nil {
		return p.unavailable(w, r, a.Authorization, err)
	}
	if a.Implicit() {
		p.log.WarnContext(r.Context(), "token given by the implicit grant, in the address of a redirect", "client_id", a.Client.ID, "user_id", a.user.ID)
	}
	p.log.InfoContext(r.Context(), "consent given", "client_id", a.Client.ID, "user_id", a.user.ID, "scope", scope.String(), "sites", len(sites))
	p.web.Redirect(w, to)
	return nil
}

// chosenSites are the homes that the person ticked, sorted; nil if that is all of
// them. With one or none there was nothing to choose.
func (a asking) chosenSites() ([]int64, error) {
	if len(a.sites) < 2 {
		return nil, nil
	}
	chosen := make([]int64, 0, len(a.sites))
	for _, value := range a.form.All(fieldSite) {
		id, err := strconv.ParseInt(value, 10, 64)
		known := slices.ContainsFunc(a.sites, func(s Site) bool { return s.ID == id })
		if err != nil || !known {
			return nil, badRequest("The consent names a site that is not the user's", "site not the user's")
		}
		chosen = append(chosen, id)
	}
	slices.Sort(chosen)
	chosen = slices.Compact(chosen)
	if len(chosen) == len(a.sites) {
		return nil, nil
	}
	return chosen, nil
}
