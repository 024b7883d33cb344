// Package demoapp is a sample commercial application. It shows what such an application
// has to do, with golang.org/x/oauth2 and nothing of Foxbridge's own: the authorization
// code grant with PKCE and state, refresh, use of the API, and sign-out by revocation.
package demoapp

import (
	"context"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// RedirectPath is the path of the redirect URI.
const RedirectPath = "/callback"

// Options are what the application is made of. All but ClientSecret, HTTP and Now are
// required.
type Options struct {
	URL          string // under which people reach the application, without a slash at its end
	Server       string // address of Foxbridge, without a slash at its end; its issuer
	ClientID     string
	ClientSecret string // empty for a public client
	Logger       *slog.Logger
	HTTP         *http.Client     // for requests to Foxbridge; nil: one with a time limit
	Now          func() time.Time // the clock; nil: time.Now
}

const (
	requestLimit       = 20 * time.Second // of one request to Foxbridge; a command is answered within 10 s
	authorizationLimit = time.Hour        // between the button and the return
)

//go:embed page.html style.css icon.svg
var files embed.FS

// App is the application. It keeps nothing: what it knows of a person is sealed in that
// person's cookie. It may be used by several goroutines at once.
type App struct {
	oauth    oauth2.Config
	api      api
	revoke   string // revocation endpoint
	server   string
	sessions *sessions
	page     *template.Template
	policy   string // Content-Security-Policy
	log      *slog.Logger
	now      func() time.Time
}

// New makes the application, or an error that names the option that is wrong.
func New(o Options) (http.Handler, error) {
	own, err := origin("URL", o.URL)
	if err != nil {
		return nil, err
	}
	server, err := origin("Server", o.Server)
	switch {
	case err != nil:
		return nil, err
	case o.ClientID == "":
		return nil, errors.New("option ClientID is missing")
	case o.Logger == nil:
		return nil, errors.New("option Logger is missing")
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: requestLimit}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	sealed, err := newSessions(own)
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	a := &App{
		oauth: oauth2.Config{
			ClientID: o.ClientID, ClientSecret: o.ClientSecret, RedirectURL: o.URL + RedirectPath,
			Scopes: Scopes(),
			Endpoint: oauth2.Endpoint{
				AuthURL: o.Server + "/oauth2/authorize", TokenURL: o.Server + "/oauth2/token", AuthStyle: styleOf(o.ClientSecret),
			},
		},
		api: api{o.Server + "/v2", o.HTTP}, revoke: o.Server + "/oauth2/revoke", server: o.Server,
		sessions: sealed, page: page, policy: policyFor(server), log: o.Logger, now: o.Now,
	}
	return http.NewCrossOriginProtection().Handler(a.routes()), nil
}

// origin takes the address of a site.
func origin(option, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || address != u.Scheme+"://"+u.Host || u.Hostname() == "" {
		return nil, fmt.Errorf("option %s is not an address such as https://home.example.com", option)
	}
	return u, nil
}

// styleOf says how the client names itself: a public one has nothing for the header.
func styleOf(secret string) oauth2.AuthStyle {
	if secret == "" {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// policyFor lets a page show its own style, and its forms end at Foxbridge: browsers
// ask form-action of the redirects after a form too.
func policyFor(server *url.URL) string {
	source := server.Scheme + "://" + server.Host
	if strings.Contains(server.Host, "[") {
		source = server.Scheme + ":" // an IPv6 address is no source
	}
	return "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' " + source + "; frame-ancestors 'none'; base-uri 'none'"
}

func (a *App) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /{$}", a.show)
	routes.HandleFunc("POST /authorize", a.authorize)
	routes.HandleFunc("GET "+RedirectPath, a.callback)
	routes.HandleFunc("POST /sites/{site}/alarm/{operation}", a.command)
	routes.HandleFunc("POST /sites/{site}/{kind}/{device}/{operation}", a.command)
	routes.HandleFunc("POST /sign-out", a.signOut)
	for _, asset := range []string{"/style.css", "/icon.svg"} {
		routes.Handle("GET "+asset, http.FileServerFS(files))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", a.policy)
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		routes.ServeHTTP(w, r)
	})
}

// Serve answers on listener until ctx ends, and then finishes within limit what it has
// begun.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, limit time.Duration) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	stopped := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	err := server.Serve(listener)
	cancel()
	if !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, <-stopped)
	}
	return <-stopped
}

// withClient makes golang.org/x/oauth2 use the application's own HTTP client.
func (a *App) withClient(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, a.api.http)
}

// authorize is the button: it sends the browser to Foxbridge with a state and a
// challenge that only this browser can answer for.
func (a *App) authorize(w http.ResponseWriter, r *http.Request) {
	verifier, state := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	s := a.sessions.read(r)
	s.Begun = &begun{State: state, Verifier: verifier, At: a.now()}
	a.redirect(w, r, s, a.oauth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)))
}

// callback is the redirect URI: Foxbridge sends the browser back to it.
func (a *App) callback(w http.ResponseWriter, r *http.Request) {
	answer := r.URL.Query()
	s := a.sessions.read(r)
	begun := s.Begun
	if !begun.answeredBy(answer.Get("state"), a.now()) || answer.Get("iss") != a.server {
		// Somebody else's answer, perhaps pushed onto this browser (RFC 6749 section 10.12,
		// RFC 9207): what the browser had stays.
		a.render(w, r, http.StatusBadRequest, view{Problem: "This answer belongs to no question of this browser's. Authorize again."})
		return
	}
	s.Begun = nil
	switch answer.Get("error") {
	case "":
	case "access_denied":
		a.trouble(w, r, s, "You said no. Nothing was connected.")
		return
	default:
		a.log.WarnContext(r.Context(), "authorization refused", "error", answer.Get("error"))
		a.trouble(w, r, s, "Foxbridge refused: "+answer.Get("error_description"))
		return
	}
	token, err := a.oauth.Exchange(a.withClient(r.Context()), answer.Get("code"), oauth2.VerifierOption(begun.Verifier))
	if err != nil {
		a.log.WarnContext(r.Context(), "code not redeemed", "reason", reasonOf(err))
		a.trouble(w, r, s, "Foxbridge did not grant access: "+reasonOf(err)+". Authorize again.")
		return
	}
	s.Token = token
	s.Scope, _ = token.Extra("scope").(string)
	a.home(w, r, s, "Connected.")
}

// signOut gives the access back.
func (a *App) signOut(w http.ResponseWriter, r *http.Request) {
	s := a.sessions.read(r)
	if s.Token == nil {
		a.home(w, r, session{}, "")
		return
	}
	if err := a.giveBack(r.Context(), s.Token); err != nil {
		a.log.WarnContext(r.Context(), "access not given back", "err", err)
		a.trouble(w, r, s, "Foxbridge could not be told to end the access. Try again.")
		return
	}
	a.home(w, r, session{}, "Signed out. The access has ended.")
}

// giveBack revokes the refresh token, and with it all that came of it (RFC 7009).
func (a *App) giveBack(ctx context.Context, t *oauth2.Token) error {
	form := url.Values{"token": {t.RefreshToken}, "token_type_hint": {"refresh_token"}}
	if a.oauth.ClientSecret == "" {
		form.Set("client_id", a.oauth.ClientID)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.revoke, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a.oauth.ClientSecret != "" {
		r.SetBasicAuth(url.QueryEscape(a.oauth.ClientID), url.QueryEscape(a.oauth.ClientSecret))
	}
	response, err := a.api.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("revocation endpoint answered %d", response.StatusCode)
	}
	return nil
}

// home sends the browser to the front page, with something to say there.
func (a *App) home(w http.ResponseWriter, r *http.Request, s session, notice string) {
	s.Notice = notice
	a.redirect(w, r, s, "/")
}

// trouble is home with something that went wrong.
func (a *App) trouble(w http.ResponseWriter, r *http.Request, s session, problem string) {
	s.Problem = problem
	a.redirect(w, r, s, "/")
}

func (a *App) redirect(w http.ResponseWriter, r *http.Request, s session, to string) {
	if err := a.sessions.write(w, s); err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (a *App) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.log.ErrorContext(r.Context(), "request failed", "err", err)
	http.Error(w, "Something went wrong here.", http.StatusInternalServerError)
}

// reasonOf is what may be shown of an error of golang.org/x/oauth2: whole, it may hold
// the answer with its tokens.
func reasonOf(err error) string {
	refused, is := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !is:
		return "it cannot be reached"
	case refused.ErrorDescription != "":
		return refused.ErrorDescription
	case refused.ErrorCode != "":
		return refused.ErrorCode
	default:
		return "it failed"
	}
}

// answeredBy reports whether this is what the browser set out with.
func (b *begun) answeredBy(state string, now time.Time) bool {
	return b != nil && now.Sub(b.At) < authorizationLimit && subtle.ConstantTimeCompare([]byte(b.State), []byte(state)) == 1
}
