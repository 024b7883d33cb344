package oauthhttp

import (
	"errors"
	"net/http"
	"time"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Forms and fields of signing in and out.
const (
	formSignIn    = "signin"
	formSignOut   = "signout"
	fieldReturn   = "return"
	fieldUsername = "username"
	fieldPassword = "password"
)

// signInView is the data of the page of sign-in.
type signInView struct {
	Form          *web.Form
	Token, Return string
	Application   *asker        // that waits for it
	Passkey       *ceremonyView // nil: none can be used
	SignUp        string        // path of the page of sign-up; empty: people cannot do that
}

// signInPage asks for a name and a password. Who is signed in already goes on.
func (p *Pages) signInPage(w http.ResponseWriter, r *http.Request, v visitor) error {
	query, err := web.ParseQuery(r, fieldReturn)
	if err != nil {
		return err
	}
	if v.signedIn() {
		p.web.Redirect(w, p.onward(query.Get(fieldReturn)))
		return nil
	}
	return p.renderSignIn(w, r, http.StatusOK, query)
}

// onward is where a sign-in leads: only ever to a page of this site.
func (p *Pages) onward(path string) string {
	switch {
	case path != "" && web.LocalPath(path):
		return path
	case p.home != "":
		return p.home
	default:
		return pathConnected
	}
}

func (p *Pages) renderSignIn(w http.ResponseWriter, r *http.Request, status int, form *web.Form) error {
	back := form.Get(fieldReturn)
	view := signInView{Form: form, Token: p.web.FormToken(w, r, formSignIn), Return: back}
	if p.signUpOn {
		view.SignUp = signUpFor(back)
	}
	var err error
	if view.Application, err = p.askerOf(r.Context(), back); err != nil {
		return err
	}
	if view.Passkey, err = p.passkeyForSignIn(w, r); err != nil {
		return err
	}
	p.web.Render(w, r, status, "signin", view, signInOptions(signInFor(back), back)...)
	return nil
}

// signedInMeanwhile goes on for who has signed in in another window, while the page whose
// form came was open.
func (p *Pages) signedInMeanwhile(w http.ResponseWriter, r *http.Request) error {
	form, err := web.ParseForm(w, r, fieldReturn)
	if err != nil {
		return err
	}
	p.web.Redirect(w, p.onward(form.Get(fieldReturn)))
	return nil
}

// signIn begins a session, or leads to the second factor. Each sign-in has a new
// session, whatever cookie it came with, so that nobody can know it beforehand.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request, v visitor) error {
	if v.signedIn() {
		return p.signedInMeanwhile(w, r)
	}
	form, err := p.web.PostedForm(w, r, formSignIn, fieldReturn, fieldUsername, fieldPassword)
	if err != nil {
		return err
	}
	for _, field := range []string{fieldUsername, fieldPassword} {
		if form.Get(field) == "" {
			form.Reject(field, "signin."+field+".missing")
		}
	}
	if !form.Valid() {
		return p.renderSignIn(w, r, http.StatusUnprocessableEntity, form)
	}
	in, err := p.service.SignIn(r.Context(), form.Get(fieldUsername), form.Get(fieldPassword), p.address(r))
	if refusal, is := errors.AsType[*oauth.Error](err); is {
		return p.signInRefused(w, r, form, refusal)
	}
	if err != nil {
		return err
	}
	if in.Pending != "" {
		p.web.Keep(w, keptPending, in.Pending, oauth.PendingLifetime)
		p.web.Redirect(w, secondFor(form.Get(fieldReturn)))
		return nil
	}
	p.signedIn(w, r, in, "password", form.Get(fieldReturn))
	return nil
}

// signInRefused asks again. It never tells whether there is such an account.
func (p *Pages) signInRefused(w http.ResponseWriter, r *http.Request, form *web.Form, refusal *oauth.Error) error {
	p.logRefusal(r, refusal)
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
	}
	status := statusOf(r, refusal)
	switch refusal.Code {
	case oauth.CodeInvalidGrant:
		status = http.StatusForbidden
		form.Reject("", "signin.wrong")
	case oauth.CodeSlowDown:
		form.Reject("", "signin.slow_down", minutes(refusal.RetryAfter))
	default:
		form.Reject("", "signin.busy")
	}
	return p.renderSignIn(w, r, status, form)
}

// signInKeys are messages that signIn makes up.
func signInKeys() []string {
	return []string{"signin.username.missing", "signin.password.missing", "signin.wrong", "signin.slow_down", "signin.busy", "signout.done"}
}

// minutes is a wait as people are told: never too short.
func minutes(d time.Duration) int { return int((d + time.Minute - 1) / time.Minute) }

// signOutView is the data of the page that asks whether to sign out.
type signOutView struct{ Token string }

func (p *Pages) signOutPage(w http.ResponseWriter, r *http.Request, v visitor) error {
	if !v.signedIn() {
		p.web.Redirect(w, pathSignIn)
		return nil
	}
	p.web.Render(w, r, http.StatusOK, "signout", signOutView{p.web.FormToken(w, r, formSignOut)})
	return nil
}

// signOut ends the session. One that is over already is as good.
func (p *Pages) signOut(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formSignOut, fieldReturn)
	if err != nil {
		return err
	}
	if v.signedIn() {
		if err := p.service.SignOut(r.Context(), v.secret); err != nil {
			return err
		}
	}
	p.web.EndSession(w)
	p.web.Flash(w, "signout.done")
	p.web.Redirect(w, signInFor(form.Get(fieldReturn)))
	return nil
}
