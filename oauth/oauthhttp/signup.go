package oauthhttp

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

const (
	pathSignUp = "/signup"
	formSignUp = "signup"
)

// signUpKeys are messages that signUp makes up.
func signUpKeys() []string {
	return []string{
		"signup.name.wrong", "signup.email.wrong", "signup.email.taken", "signup.slow_down", "signup.done",
		"security.password.wrong", "security.password.again.wrong",
	}
}

// signUpView is the data of the page on which people make themselves an account.
type signUpView struct {
	Form                  *web.Form
	Token, Return, SignIn string
}

// signUpPage asks for what an account needs. Where people cannot sign up by themselves
// there is no such page.
func (p *Pages) signUpPage(w http.ResponseWriter, r *http.Request, v visitor) error {
	query, err := web.ParseQuery(r, fieldReturn)
	switch {
	case !p.signUpOn:
		p.web.Error(w, r, http.StatusNotFound, "")
		return nil
	case err != nil:
		return err
	case v.signedIn():
		p.web.Redirect(w, p.onward(query.Get(fieldReturn)))
		return nil
	}
	p.renderSignUp(w, r, http.StatusOK, query)
	return nil
}

// signUpFor is the page of sign-up that leads on to a local path.
func signUpFor(path string) string {
	if path == "" || !web.LocalPath(path) {
		return pathSignUp
	}
	return pathSignUp + "?" + url.Values{fieldReturn: {path}}.Encode()
}

func (p *Pages) renderSignUp(w http.ResponseWriter, r *http.Request, status int, form *web.Form) {
	back := form.Get(fieldReturn)
	view := signUpView{Form: form, Token: p.web.FormToken(w, r, formSignUp), Return: back, SignIn: signInFor(back)}
	p.web.Render(w, r, status, "signup", view, web.ReturnTo(signUpFor(back)), web.KeepOpener())
}

// signUp makes an account and begins a session.
func (p *Pages) signUp(w http.ResponseWriter, r *http.Request, v visitor) error {
	if !p.signUpOn {
		p.web.Error(w, r, http.StatusNotFound, "")
		return nil
	}
	if v.signedIn() { // by this very form, sent twice
		form, err := web.ParseForm(w, r, fieldReturn)
		if err != nil {
			return err
		}
		p.web.Redirect(w, p.onward(form.Get(fieldReturn)))
		return nil
	}
	form, err := p.web.PostedForm(w, r, formSignUp, fieldReturn, fieldName, fieldUsername, fieldPassword, fieldAgain)
	if err != nil {
		return err
	}
	if form.Get(fieldPassword) != form.Get(fieldAgain) {
		form.Reject(fieldAgain, "security.password.again.wrong")
		p.renderSignUp(w, r, http.StatusUnprocessableEntity, form)
		return nil
	}
	user, secret, err := p.service.SignUp(r.Context(), oauth.SignUpRequest{
		Email: form.Get(fieldUsername), Name: form.Get(fieldName), Password: form.Get(fieldPassword), Address: p.address(r),
	})
	if err != nil {
		return p.notSignedUp(w, r, form, err)
	}
	p.log.InfoContext(r.Context(), "signed up", "user_id", user.ID, "remote", p.address(r).String())
	p.web.StartSession(w, secret, oauth.SessionLifetime)
	p.web.Flash(w, "signup.done")
	p.web.Redirect(w, p.onward(form.Get(fieldReturn)))
	return nil
}

func (p *Pages) notSignedUp(w http.ResponseWriter, r *http.Request, form *web.Form, err error) error {
	status := http.StatusUnprocessableEntity
	refusal, isRefusal := errors.AsType[*oauth.Error](err)
	wrong, isField := errors.AsType[*oauth.FieldError](err)
	switch {
	case errors.Is(err, oauth.ErrExists):
		status = http.StatusConflict
		form.Reject(fieldUsername, "signup.email.taken")
	case isField && wrong.Field == "email":
		form.Reject(fieldUsername, "signup.email.wrong")
	case isField && wrong.Field == "name":
		form.Reject(fieldName, "signup.name.wrong")
	case isField:
		form.Reject(fieldPassword, "security.password.wrong")
	case isRefusal:
		p.logRefusal(r, refusal)
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
		status = statusOf(r, refusal)
		if refusal.Code == oauth.CodeSlowDown {
			form.Reject("", "signup.slow_down", minutes(refusal.RetryAfter))
		} else {
			form.Reject("", "signin.busy")
		}
	default:
		return err
	}
	p.renderSignUp(w, r, status, form)
	return nil
}
