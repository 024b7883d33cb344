package oauthhttp

import (
	"encoding/hex"
	"errors"
	"net/http"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Paths of the page on which a person looks after the account.
const (
	pathSecurity         = "/security"
	pathPassword         = pathSecurity + "/password"
	pathEndSession       = pathSecurity + "/sessions/end"
	pathEndOtherSessions = pathSecurity + "/sessions/end-others"
	pathScripts          = pathSecurity + "/scripts"
)

// Forms and fields of that page.
const (
	formPassword    = "password"
	formEndSession  = "end session"
	formEndSessions = "end sessions"
	formScripts     = "scripts"

	fieldPresent     = "present"
	fieldNew         = "new"
	fieldAgain       = "again"
	fieldEndTokens   = "end_tokens"
	fieldSession     = "session"
	fieldOwnPassword = "own_password"

	ownPasswordTake   = "take"
	ownPasswordRefuse = "refuse"
)

// securityPages are the page and its forms.
func (p *Pages) securityPages() []route {
	private := func(g page) page {
		g.private, g.back = true, pathSecurity
		return g
	}
	routes := []route{
		{pathSecurity, private(page{get: p.security})},
		{pathPassword, private(page{post: p.changePassword})},
		{pathEndSession, private(page{post: p.endSession})},
		{pathEndOtherSessions, private(page{post: p.endOtherSessions})},
		{pathScripts, private(page{post: p.setScripts})},
		{pathRecord, private(page{get: p.record})},
	}
	for _, route := range p.factorPages() {
		route.page = private(route.page)
		routes = append(routes, route)
	}
	return routes
}

// securityKeys are messages that the page makes up.
func securityKeys() []string {
	return []string{
		"nav.security", "security.password.present.missing", "security.password.present.wrong", "security.password.wrong",
		"security.password.again.wrong", "security.password.same", "security.password.done", "security.password.raced",
		"security.sessions.ended", "security.sessions.ended_all", "security.sessions.gone", "security.scripts.refused", "security.scripts.taken",
	}
}

// securityPage is the data of the page; each section has a template of its own.
type securityPage struct {
	Password passwordSection
	Factors  factorsSection
	Scripts  scriptsSection
	Sessions sessionsSection
}

// passwordSection asks for another password.
type passwordSection struct {
	Form         *web.Form
	Token, Email string
}

// sessionsSection lists the browsers in which the person is signed in.
type sessionsSection struct {
	EndToken, EndAllToken string
	Sessions              []sessionView
}

// Others says that there are more than this one.
func (s sessionsSection) Others() bool { return len(s.Sessions) > 1 }

type sessionView struct {
	oauth.Session
	ID      string
	Current bool // the one that shows the page
}

// scriptsSection says whether scripts may use the account's own password.
type scriptsSection struct {
	confirmForm
	Refuse bool // they may not; to let them again wants the password
}

func (p *Pages) security(w http.ResponseWriter, r *http.Request, v visitor) error {
	return p.renderSecurity(w, r, v, http.StatusOK, new(web.Form), new(web.Form))
}

func (p *Pages) renderSecurity(w http.ResponseWriter, r *http.Request, v visitor, status int, password, scripts *web.Form) error {
	sessions, err := p.service.Sessions(r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	factors, err := p.factorsSection(r, v)
	if err != nil {
		return err
	}
	password.ID, scripts.ID = "password", "scripts"
	view := securityPage{
		Password: passwordSection{Form: password, Token: p.web.FormToken(w, r, formPassword), Email: v.user.Email},
		Factors:  factors,
		Scripts:  scriptsSection{p.confirmForm(w, r, v, formScripts, scripts), v.user.AppPasswordsOnly},
		Sessions: sessionsSection{EndToken: p.web.FormToken(w, r, formEndSession), EndAllToken: p.web.FormToken(w, r, formEndSessions)},
	}
	current := oauth.HashOf(v.secret)
	for _, s := range sessions {
		view.Sessions.Sessions = append(view.Sessions.Sessions, sessionView{s, hex.EncodeToString(s.Hash[:]), s.Hash == current})
	}
	p.web.Render(w, r, status, "security", view, web.ReturnTo(pathSecurity))
	return nil
}

// changePassword gives the person another password. This browser stays signed in, in a
// new session; all others are not.
func (p *Pages) changePassword(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formPassword, fieldPresent, fieldNew, fieldAgain, fieldEndTokens)
	if err != nil {
		return err
	}
	switch present := form.Get(fieldPresent); {
	case present == "":
		form.Reject(fieldPresent, "security.password.present.missing")
	case form.Get(fieldNew) == present:
		form.Reject(fieldNew, "security.password.same")
	case form.Get(fieldNew) != form.Get(fieldAgain):
		form.Reject(fieldAgain, "security.password.again.wrong")
	}
	if !form.Valid() {
		return p.renderSecurity(w, r, v, http.StatusUnprocessableEntity, form, new(web.Form))
	}
	secret, err := p.service.ChangePassword(r.Context(), v.user, oauth.NewPassword{
		Present: form.Get(fieldPresent), New: form.Get(fieldNew), EndTokens: form.Has(fieldEndTokens), Address: p.address(r),
	})
	if err != nil {
		return p.passwordNotChanged(w, r, v, form, err)
	}
	p.log.InfoContext(r.Context(), "password changed", "user_id", v.user.ID, "tokens_ended", form.Has(fieldEndTokens), "remote", p.address(r).String())
	p.web.StartSession(w, secret, oauth.SessionLifetime)
	p.web.Flash(w, "security.password.done")
	p.web.Redirect(w, pathSecurity)
	return nil
}

func (p *Pages) passwordNotChanged(w http.ResponseWriter, r *http.Request, v visitor, form *web.Form, err error) error {
	refusal, isRefusal := errors.AsType[*oauth.Error](err)
	_, isField := errors.AsType[*oauth.FieldError](err)
	status := http.StatusUnprocessableEntity
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		p.web.Error(w, r, http.StatusConflict, "security.password.raced")
		return nil
	case isField:
		form.Reject(fieldNew, "security.password.wrong")
	case isRefusal:
		status = p.passwordRefused(w, r, form, fieldPresent, "security.password.present.wrong", refusal)
	default:
		return err
	}
	return p.renderSecurity(w, r, v, status, form, new(web.Form))
}

// passwordRefused says at a field why the password of the person who is signed in was
// not taken.
func (p *Pages) passwordRefused(w http.ResponseWriter, r *http.Request, form *web.Form, field, wrong string, refusal *oauth.Error) (status int) {
	p.logRefusal(r, refusal)
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
	}
	switch refusal.Code {
	case oauth.CodeInvalidGrant:
		form.Reject(field, wrong)
		return http.StatusForbidden
	case oauth.CodeSlowDown:
		form.Reject(field, "apps.token.slow_down", minutes(refusal.RetryAfter))
	case oauth.CodeUnauthorizedClient:
		form.Reject("", "apps.token.off")
	default:
		form.Reject(field, "signin.busy")
	}
	return statusOf(r, refusal)
}

// endSession ends one of the person's sessions. One that is over already is as good.
func (p *Pages) endSession(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formEndSession, fieldSession)
	if err != nil {
		return err
	}
	hash, err := hex.DecodeString(form.Get(fieldSession))
	if err != nil || len(hash) != len(oauth.Hash{}) {
		return badRequest("The session is malformed", "session malformed")
	}
	err = p.service.EndSession(r.Context(), v.user.ID, oauth.Hash(hash), p.address(r))
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		p.web.Flash(w, "security.sessions.gone")
	case err != nil:
		return err
	default:
		p.log.InfoContext(r.Context(), "session ended", "user_id", v.user.ID)
		p.web.Flash(w, "security.sessions.ended")
	}
	p.web.Redirect(w, pathSecurity)
	return nil
}

func (p *Pages) endOtherSessions(w http.ResponseWriter, r *http.Request, v visitor) error {
	if _, err := p.web.PostedForm(w, r, formEndSessions); err != nil {
		return err
	}
	n, err := p.service.EndOtherSessions(r.Context(), v.user.ID, v.secret, p.address(r))
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "other sessions ended", "user_id", v.user.ID, "sessions", n)
	p.web.Flash(w, "security.sessions.ended_all")
	p.web.Redirect(w, pathSecurity)
	return nil
}

// setScripts says whether scripts may use the account's own password. To let them again
// wants it.
func (p *Pages) setScripts(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formScripts, fieldOwnPassword, fieldPassword)
	if err != nil {
		return err
	}
	refuse := form.Get(fieldOwnPassword) == ownPasswordRefuse
	if !refuse && form.Get(fieldOwnPassword) != ownPasswordTake {
		return badRequest("The form is malformed", "form malformed")
	}
	if refuse {
		err = p.service.RequireAppPasswords(r.Context(), v.user, p.address(r))
	} else {
		if wantsPassword(form); !form.Valid() {
			return p.renderSecurity(w, r, v, http.StatusUnprocessableEntity, new(web.Form), form)
		}
		err = p.service.AllowOwnPassword(r.Context(), p.confirmation(r, v, form))
	}
	if status := p.confirmRefused(w, r, form, err); status != 0 {
		return p.renderSecurity(w, r, v, status, new(web.Form), form)
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "passwords of scripts set", "user_id", v.user.ID, "app_passwords_only", refuse)
	p.web.Flash(w, map[bool]string{true: "security.scripts.refused", false: "security.scripts.taken"}[refuse])
	p.web.Redirect(w, pathSecurity)
	return nil
}
