package oauthhttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Paths of the second step of a sign-in, and of a sign-in with a passkey alone.
const (
	pathSignInPasskey = pathSignIn + "/passkey"
	pathSecond        = pathSignIn + "/second"
	pathSecondPasskey = pathSecond + "/passkey"
)

// Forms and fields of the second step.
const (
	formSignInPasskey = "sign in with a passkey" //nolint:gosec // a name, no credential
	formSecond        = "second factor"
	formSecondPasskey = "passkey as second factor" //nolint:gosec // a name, no credential

	fieldKind    = "kind"
	kindTOTP     = "totp"
	kindRecovery = "recovery"

	// keptPending names the cookie of a sign-in that waits for the second factor.
	keptPending = "pending"
)

func (p *Pages) secondPages() []route {
	return []route{
		{pathSignInPasskey, page{post: p.signInPasskey}},
		{pathSecond, page{get: p.secondPage, post: p.second}},
		{pathSecondPasskey, page{post: p.secondPasskey}},
	}
}

// secondKeys are messages that the second step makes up.
func secondKeys() []string {
	return []string{
		"second.over", "second.wrong", "second.recovery.wrong", "second.recovery.used", "second.code.missing", "second.recovery.missing",
		"second.locked", "second.slow_down", "second.key", "signin.passkey.refused", "signin.busy",
	}
}

// secondFor is the page of the second factor that leads on to a local path.
func secondFor(path string) string {
	if path == "" || !web.LocalPath(path) {
		return pathSecond
	}
	return pathSecond + "?" + url.Values{fieldReturn: {path}}.Encode()
}

// forApplication tells whether an application waits for the sign-in.
func forApplication(back string) bool { return strings.HasPrefix(back, pathAuthorize+"?") }

// asker is the application that waits for a sign-in.
type asker struct {
	Name string // empty if the request has a fault, which is told after the sign-in
}

// askerOf finds the application that waits for a sign-in that leads on to back; nil if none
// does.
func (p *Pages) askerOf(ctx context.Context, back string) (*asker, error) {
	if !forApplication(back) {
		return nil, nil
	}
	_, query, _ := strings.Cut(back, "?")
	a, err := p.service.Authorize(ctx, parseAuthorize(query))
	if _, refused := errors.AsType[*oauth.Error](err); refused { // also by a redirect
		return &asker{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &asker{a.Client.Name}, nil
}

// signInOptions are those of the pages of a sign-in that leads on to back.
func signInOptions(page, back string) []web.RenderOption {
	options := []web.RenderOption{web.ReturnTo(page)}
	if forApplication(back) {
		options = append(options, web.KeepOpener())
	}
	return options
}

// signedIn begins the session in the browser, and goes on.
func (p *Pages) signedIn(w http.ResponseWriter, r *http.Request, in oauth.SignedIn, how, back string) {
	p.log.InfoContext(r.Context(), "signed in", "user_id", in.User.ID, "with", how, "remote", p.address(r).String())
	p.web.Drop(w, keptPending)
	p.web.StartSession(w, in.Secret, oauth.SessionLifetime)
	p.web.Redirect(w, p.onward(back))
}

// passkeyForSignIn is the ceremony on the page of sign-in; nil where there can be none.
func (p *Pages) passkeyForSignIn(w http.ResponseWriter, r *http.Request) (*ceremonyView, error) {
	if !p.service.HasPasskeys() {
		return nil, nil
	}
	ceremony, err := p.service.BeginPasskeySignIn()
	if err != nil {
		return nil, err
	}
	return &ceremonyView{ceremony, p.passkeysAt(), p.web.FormToken(w, r, formSignInPasskey)}, nil
}

// signInPasskey begins a session of the person whose passkey has answered.
func (p *Pages) signInPasskey(w http.ResponseWriter, r *http.Request, v visitor) error {
	if v.signedIn() {
		return p.signedInMeanwhile(w, r)
	}
	form, err := p.web.PostedForm(w, r, formSignInPasskey, fieldReturn, fieldCeremony, fieldCredential)
	if err != nil {
		return err
	}
	in, err := p.service.PasskeySignIn(r.Context(), form.Get(fieldCeremony), form.Get(fieldCredential), p.address(r))
	if refusal, is := errors.AsType[*oauth.Error](err); is {
		p.logRefusal(r, refusal)
		form.Reject("", "signin.passkey.refused")
		return p.renderSignIn(w, r, http.StatusForbidden, form)
	}
	if err != nil {
		return err
	}
	p.signedIn(w, r, in, "passkey", form.Get(fieldReturn))
	return nil
}

// secondView is the data of the page of the second factor.
type secondView struct {
	oauth.Factors
	Sent           *web.Form // one of the forms, with what is wrong with it
	Code, Recovery *web.Form // the same field twice, in two forms
	OpenRecovery   bool      // the form of recovery codes is not folded
	Token, Return  string
	Application    *asker
	Passkey        *ceremonyView // nil: none can be used
}

func (p *Pages) secondPage(w http.ResponseWriter, r *http.Request, v visitor) error {
	query, err := web.ParseQuery(r, fieldReturn)
	if err != nil {
		return err
	}
	if v.signedIn() {
		p.web.Redirect(w, p.onward(query.Get(fieldReturn)))
		return nil
	}
	pending, err := p.service.Pending(r.Context(), p.web.Kept(r, keptPending))
	if _, over := errors.AsType[*oauth.Error](err); over {
		p.web.Redirect(w, signInFor(query.Get(fieldReturn)))
		return nil
	}
	if err != nil {
		return err
	}
	return p.renderSecond(w, r, http.StatusOK, pending, query)
}

// renderSecond shows the page; form is the one of its forms that was sent.
func (p *Pages) renderSecond(w http.ResponseWriter, r *http.Request, status int, pending oauth.PendingSignIn, form *web.Form) error {
	back := form.Get(fieldReturn)
	view := secondView{
		Factors: pending.Factors, Code: &web.Form{ID: kindTOTP}, Recovery: &web.Form{ID: kindRecovery},
		Sent: form, Token: p.web.FormToken(w, r, formSecond), Return: back,
	}
	var err error
	if view.Application, err = p.askerOf(r.Context(), back); err != nil {
		return err
	}
	form.Set(fieldCode) // a code is not sent back
	switch form.Get(fieldKind) {
	case kindRecovery:
		form.ID, view.Recovery, view.OpenRecovery = kindRecovery, form, true
	default:
		form.ID, view.Code = kindTOTP, form
	}
	ceremony, err := p.service.BeginSecondPasskey(pending)
	switch {
	case err == nil:
		view.Passkey = &ceremonyView{ceremony, p.passkeysAt(), p.web.FormToken(w, r, formSecondPasskey)}
	case !errors.Is(err, oauth.ErrNotFound):
		return err
	}
	view.OpenRecovery = view.OpenRecovery || view.TOTP == nil && view.Passkey == nil
	p.web.Render(w, r, status, "second", view, signInOptions(secondFor(back), back)...)
	return nil
}

// second completes a sign-in with a code.
func (p *Pages) second(w http.ResponseWriter, r *http.Request, v visitor) error {
	return p.complete(w, r, v, formSecond, []string{fieldKind, fieldCode}, func(pending string, form *web.Form) (oauth.SignedIn, error) {
		if form.Get(fieldKind) == kindRecovery {
			in, left, err := p.service.CompleteWithRecoveryCode(r.Context(), pending, form.Get(fieldCode), p.address(r))
			if err == nil {
				p.log.InfoContext(r.Context(), "recovery code used", "user_id", in.User.ID, "left", left)
				p.web.Flash(w, "second.recovery.used")
			}
			return in, err
		}
		return p.service.CompleteWithTOTP(r.Context(), pending, form.Get(fieldCode), p.address(r))
	})
}

// secondPasskey completes a sign-in with a passkey.
func (p *Pages) secondPasskey(w http.ResponseWriter, r *http.Request, v visitor) error {
	return p.complete(w, r, v, formSecondPasskey, []string{fieldCeremony, fieldCredential}, func(pending string, form *web.Form) (oauth.SignedIn, error) {
		return p.service.CompleteWithPasskey(r.Context(), pending, form.Get(fieldCeremony), form.Get(fieldCredential), p.address(r))
	})
}

// complete reads one of the forms of the second step, and has do complete the sign-in
// that the browser has begun.
func (p *Pages) complete(w http.ResponseWriter, r *http.Request, v visitor, name string, fields []string, do func(pending string, form *web.Form) (oauth.SignedIn, error)) error {
	if v.signedIn() {
		return p.signedInMeanwhile(w, r)
	}
	form, err := p.web.PostedForm(w, r, name, append(fields, fieldReturn)...)
	if err != nil {
		return err
	}
	kept := p.web.Kept(r, keptPending)
	pending, err := p.service.Pending(r.Context(), kept)
	if refusal, over := errors.AsType[*oauth.Error](err); over {
		return p.secondOver(w, r, form, refusal)
	}
	if err != nil {
		return err
	}
	if name == formSecond && form.Get(fieldCode) == "" {
		form.Reject(fieldCode, map[bool]string{true: "second.recovery.missing", false: "second.code.missing"}[form.Get(fieldKind) == kindRecovery])
		return p.renderSecond(w, r, http.StatusUnprocessableEntity, pending, form)
	}
	in, err := do(kept, form)
	if refusal, is := errors.AsType[*oauth.Error](err); is {
		return p.secondRefused(w, r, name, pending, form, refusal)
	}
	if err != nil {
		return err
	}
	p.signedIn(w, r, in, "second factor", form.Get(fieldReturn))
	return nil
}

// secondOver begins again with the password.
func (p *Pages) secondOver(w http.ResponseWriter, r *http.Request, form *web.Form, refusal *oauth.Error) error {
	p.logRefusal(r, refusal)
	p.web.Drop(w, keptPending)
	form.Reject("", "second.over")
	return p.renderSignIn(w, r, http.StatusForbidden, form)
}

// secondRefused asks again.
func (p *Pages) secondRefused(w http.ResponseWriter, r *http.Request, name string, pending oauth.PendingSignIn, form *web.Form, refusal *oauth.Error) error {
	if refusal.Code == oauth.CodeInvalidToken {
		return p.secondOver(w, r, form, refusal)
	}
	p.logRefusal(r, refusal)
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
	}
	status, recovery := statusOf(r, refusal), form.Get(fieldKind) == kindRecovery
	switch {
	case refusal.Reason == oauth.ReasonSealKey:
		p.log.ErrorContext(r.Context(), "second factor cannot be checked", "err", refusal)
		form.Reject("", "second.key")
	case refusal.Code == oauth.CodeSlowDown && recovery:
		form.Reject("", "second.slow_down", minutes(refusal.RetryAfter))
	case refusal.Code == oauth.CodeSlowDown:
		form.Reject("", "second.locked")
	case refusal.Code != oauth.CodeInvalidGrant:
		form.Reject("", "signin.busy")
	case name == formSecondPasskey:
		status = http.StatusForbidden
		form.Reject("", "signin.passkey.refused")
	case recovery:
		status = http.StatusForbidden
		form.Reject(fieldCode, "second.recovery.wrong")
	default:
		status = http.StatusForbidden
		form.Reject(fieldCode, "second.wrong")
	}
	return p.renderSecond(w, r, status, pending, form)
}
