package oauthhttp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
	"github.com/skip2/go-qrcode"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Paths below pathSecurity.
const (
	pathTOTP          = pathSecurity + "/totp"
	pathRemoveTOTP    = pathTOTP + "/remove"
	pathPasskeys      = pathSecurity + "/passkeys"
	pathNewPasskey    = pathPasskeys + "/new"
	pathRemovePasskey = pathPasskeys + "/{passkey_id}/remove"
	pathRecovery      = pathSecurity + "/recovery"
)

// Forms and fields of second factors.
const (
	formTOTP          = "authenticator app"
	formRemoveTOTP    = "remove authenticator app"
	formNewPasskey    = "new passkey"
	formAddPasskey    = "add passkey"
	formRemovePasskey = "remove passkey"
	formRecovery      = "recovery codes"

	fieldCode       = "code"
	fieldSetup      = "setup"
	fieldCeremony   = "ceremony"
	fieldCredential = "credential"
)

func (p *Pages) factorPages() []route {
	return []route{
		{pathTOTP, page{get: p.newTOTP, post: p.addTOTP}},
		{pathRemoveTOTP, page{get: p.askRemoveTOTP, post: p.removeTOTP}},
		{pathNewPasskey, page{get: p.newPasskey, post: p.beginPasskey}},
		{pathPasskeys, page{post: p.addPasskey}},
		{pathRemovePasskey, page{get: p.askRemovePasskey, post: p.removePasskey}},
		{pathRecovery, page{get: p.askRecovery, post: p.newRecovery}},
	}
}

// factorKeys are messages that the pages of second factors make up.
func factorKeys() []string {
	keys := []string{
		"factors.totp.already", "factors.totp.removed", "factors.totp.added", "factors.passkey.removed", "factors.passkey.added",
		"factors.passkey.refused", "factors.passkey.too_many", "factors.passkey.unavailable",
		"factors.code.wrong", "factors.setup.over", "factors.password.missing", "factors.password.wrong",
		"apps.name.wrong", "signin.busy",
	}
	for _, what := range []string{"totp", "passkey", "recovery"} {
		for _, part := range []string{"title", "text", "submit"} {
			keys = append(keys, "factors.confirm."+what+"."+part)
		}
	}
	return keys
}

// factorsSection is the section of second factors on the page of security settings.
type factorsSection struct {
	oauth.Factors
	PasskeysAt string // origin at which passkeys can be made; empty: nowhere
}

func (p *Pages) factorsSection(r *http.Request, v visitor) (factorsSection, error) {
	f, err := p.service.Factors(r.Context(), v.user.ID)
	return factorsSection{f, p.passkeysAt()}, err
}

// passkeysAt is the origin at which passkeys can be used; empty: nowhere.
func (p *Pages) passkeysAt() string {
	if !p.service.HasPasskeys() {
		return ""
	}
	return p.service.Issuer()
}

func (p *Pages) confirmation(r *http.Request, v visitor, form *web.Form) oauth.Confirmation {
	return oauth.Confirmation{User: v.user, Password: form.Get(fieldPassword), Address: p.address(r)}
}

func (p *Pages) confirmForm(w http.ResponseWriter, r *http.Request, v visitor, name string, form *web.Form) confirmForm {
	return confirmForm{Form: form, Token: p.web.FormToken(w, r, name), Email: v.user.Email}
}

// confirmForm is a form that wants the password of who is signed in.
type confirmForm struct {
	Form  *web.Form
	Token string
	Email string // for programs that fill in passwords
}

// confirmRefused says in the form what is wrong with the password, and gives the
// status of the answer; 0 if err is no such refusal.
func (p *Pages) confirmRefused(w http.ResponseWriter, r *http.Request, form *web.Form, err error) (status int) {
	refusal, is := errors.AsType[*oauth.Error](err)
	if !is {
		return 0
	}
	return p.passwordRefused(w, r, form, fieldPassword, "factors.password.wrong", refusal)
}

// wantsPassword rejects a form without one.
func wantsPassword(form *web.Form) {
	if form.Get(fieldPassword) == "" {
		form.Reject(fieldPassword, "factors.password.missing")
	}
}

// totpPage is the data of the page on which an authenticator app is set up.
type totpPage struct {
	confirmForm
	oauth.TOTPSetup
	Picture template.URL
	Link    template.URL // that opens an app on this device
	Grouped string       // the secret, as it is easier to read
}

// qrSize is the width of the QR code in pixels; each of its modules has several.
const qrSize = 264

func (p *Pages) newTOTP(w http.ResponseWriter, r *http.Request, v visitor) error {
	factors, err := p.service.Factors(r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	if factors.TOTP != nil {
		p.web.Redirect(w, pathSecurity)
		return nil
	}
	return p.beginTOTP(w, r, v, http.StatusOK, new(web.Form))
}

func (p *Pages) beginTOTP(w http.ResponseWriter, r *http.Request, v visitor, status int, form *web.Form) error {
	setup, err := p.service.BeginTOTP(v.user)
	if err != nil {
		return err
	}
	return p.renderTOTP(w, r, v, status, form, setup)
}

func (p *Pages) renderTOTP(w http.ResponseWriter, r *http.Request, v visitor, status int, form *web.Form, setup oauth.TOTPSetup) error {
	png, err := qrcode.Encode(setup.URL, qrcode.Medium, qrSize)
	if err != nil {
		return fmt.Errorf("draw QR code: %w", err)
	}
	var groups []string
	for at := 0; at < len(setup.Secret); at += 4 {
		groups = append(groups, setup.Secret[at:min(at+4, len(setup.Secret))])
	}
	form.Set(fieldCode) // it holds for half a minute
	p.web.Render(w, r, status, "totp", totpPage{
		confirmForm: p.confirmForm(w, r, v, formTOTP, form), TOTPSetup: setup,
		Picture: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png)), //nolint:gosec // our own picture
		Link:    template.URL(setup.URL),                                                         //nolint:gosec // our own address, of a scheme that pages may not name otherwise
		Grouped: strings.Join(groups, " "),
	})
	return nil
}

func (p *Pages) addTOTP(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formTOTP, fieldSetup, fieldCode, fieldPassword)
	if err != nil {
		return err
	}
	setup, err := p.service.ResumeTOTP(v.user, form.Get(fieldSetup))
	if _, over := errors.AsType[*oauth.FieldError](err); over {
		form.Reject("", "factors.setup.over")
		return p.beginTOTP(w, r, v, http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	if form.Get(fieldCode) == "" {
		form.Reject(fieldCode, "factors.code.wrong")
	}
	wantsPassword(form)
	if !form.Valid() {
		return p.renderTOTP(w, r, v, http.StatusUnprocessableEntity, form, setup)
	}
	codes, err := p.service.AddTOTP(r.Context(), p.confirmation(r, v, form), setup.Sealed, form.Get(fieldCode))
	if wrong, is := errors.AsType[*oauth.FieldError](err); is {
		if errors.Is(wrong, oauth.ErrExists) { // in another window
			p.web.Error(w, r, http.StatusConflict, "factors.totp.already")
			return nil
		}
		form.Reject(fieldCode, "factors.code.wrong")
		return p.renderTOTP(w, r, v, http.StatusUnprocessableEntity, form, setup)
	}
	if status := p.confirmRefused(w, r, form, err); status != 0 {
		return p.renderTOTP(w, r, v, status, form, setup)
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "authenticator app added", "user_id", v.user.ID)
	p.factorAdded(w, r, "factors.totp.added", codes)
	return nil
}

// recoveryView is the data of the page that shows recovery codes, once.
type recoveryView struct{ Codes string }

// factorAdded shows the recovery codes that came with a factor, if any did.
func (p *Pages) factorAdded(w http.ResponseWriter, r *http.Request, notice string, codes []string) {
	if codes == nil {
		p.web.Flash(w, notice)
		p.web.Redirect(w, pathSecurity)
		return
	}
	p.renderRecovery(w, r, codes)
}

func (p *Pages) renderRecovery(w http.ResponseWriter, r *http.Request, codes []string) {
	p.web.Render(w, r, http.StatusOK, "recovery", recoveryView{strings.Join(codes, "\n")}, web.ReturnTo(pathSecurity))
}

// confirmPage is the data of the pages that want the password before they do something.
type confirmPage struct {
	confirmForm
	Action             string // path of the form
	Title, Text, Label string // messages
	Name               string // of what it is about; may be empty
	Danger             bool
	Last               bool // no factor is left then
}

// confirm shows the page for one of the things that want the password: "totp",
// "passkey" or "recovery".
func (p *Pages) confirm(w http.ResponseWriter, r *http.Request, v visitor, status int, what, name, form string, filled *web.Form, last bool) {
	p.web.Render(w, r, status, "confirm", confirmPage{
		confirmForm: p.confirmForm(w, r, v, form, filled), Action: r.URL.Path, Name: name, Danger: what != "recovery", Last: last,
		Title: "factors.confirm." + what + ".title", Text: "factors.confirm." + what + ".text", Label: "factors.confirm." + what + ".submit",
	})
}

// confirmed reads the form of such a page and does what it is for. A wrong password is
// asked for again.
func (p *Pages) confirmed(w http.ResponseWriter, r *http.Request, v visitor, what, name, formName string, last bool, do func(oauth.Confirmation) error) error {
	form, err := p.web.PostedForm(w, r, formName, fieldPassword)
	if err != nil {
		return err
	}
	if wantsPassword(form); !form.Valid() {
		p.confirm(w, r, v, http.StatusUnprocessableEntity, what, name, formName, form, last)
		return nil
	}
	err = do(p.confirmation(r, v, form))
	if status := p.confirmRefused(w, r, form, err); status != 0 {
		p.confirm(w, r, v, status, what, name, formName, form, last)
		return nil
	}
	if errors.Is(err, oauth.ErrNotFound) { // in another window
		p.web.Redirect(w, pathSecurity)
		return nil
	}
	return err
}

func (p *Pages) askRemoveTOTP(w http.ResponseWriter, r *http.Request, v visitor) error {
	factors, err := p.service.Factors(r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	if factors.TOTP == nil {
		p.web.Redirect(w, pathSecurity)
		return nil
	}
	p.confirm(w, r, v, http.StatusOK, "totp", "", formRemoveTOTP, new(web.Form), len(factors.Passkeys) == 0)
	return nil
}

func (p *Pages) removeTOTP(w http.ResponseWriter, r *http.Request, v visitor) error {
	factors, err := p.service.Factors(r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	return p.confirmed(w, r, v, "totp", "", formRemoveTOTP, len(factors.Passkeys) == 0, func(by oauth.Confirmation) error {
		if err := p.service.RemoveTOTP(r.Context(), by); err != nil {
			return err
		}
		p.log.InfoContext(r.Context(), "authenticator app removed", "user_id", v.user.ID)
		p.web.Flash(w, "factors.totp.removed")
		p.web.Redirect(w, pathSecurity)
		return nil
	})
}

// passkey finds the passkey that the path names, if it is the person's own.
func (p *Pages) passkey(r *http.Request, v visitor) (found oauth.Passkey, last bool, err error) {
	factors, err := p.service.Factors(r.Context(), v.user.ID)
	if err != nil {
		return oauth.Passkey{}, false, err
	}
	for _, key := range factors.Passkeys {
		if strconv.FormatInt(key.ID, 10) == mux.Vars(r)["passkey_id"] {
			return key, factors.TOTP == nil && len(factors.Passkeys) == 1, nil
		}
	}
	return oauth.Passkey{}, false, oauth.ErrNotFound
}

func (p *Pages) askRemovePasskey(w http.ResponseWriter, r *http.Request, v visitor) error {
	key, last, err := p.passkey(r, v)
	if errors.Is(err, oauth.ErrNotFound) {
		p.web.Redirect(w, pathSecurity)
		return nil
	}
	if err != nil {
		return err
	}
	p.confirm(w, r, v, http.StatusOK, "passkey", key.Name, formRemovePasskey, new(web.Form), last)
	return nil
}

func (p *Pages) removePasskey(w http.ResponseWriter, r *http.Request, v visitor) error {
	key, last, err := p.passkey(r, v)
	if errors.Is(err, oauth.ErrNotFound) {
		p.web.Redirect(w, pathSecurity)
		return nil
	}
	if err != nil {
		return err
	}
	return p.confirmed(w, r, v, "passkey", key.Name, formRemovePasskey, last, func(by oauth.Confirmation) error {
		if err := p.service.RemovePasskey(r.Context(), by, key); err != nil {
			return err
		}
		p.log.InfoContext(r.Context(), "passkey removed", "user_id", v.user.ID, "passkey_id", key.ID)
		p.web.Flash(w, "factors.passkey.removed")
		p.web.Redirect(w, pathSecurity)
		return nil
	})
}

func (p *Pages) askRecovery(w http.ResponseWriter, r *http.Request, v visitor) error {
	factors, err := p.service.Factors(r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	if !factors.Any() {
		p.web.Redirect(w, pathSecurity)
		return nil
	}
	p.confirm(w, r, v, http.StatusOK, "recovery", "", formRecovery, new(web.Form), false)
	return nil
}

func (p *Pages) newRecovery(w http.ResponseWriter, r *http.Request, v visitor) error {
	return p.confirmed(w, r, v, "recovery", "", formRecovery, false, func(by oauth.Confirmation) error {
		codes, err := p.service.NewRecoveryCodes(r.Context(), by)
		if err != nil {
			return err
		}
		p.log.InfoContext(r.Context(), "recovery codes made", "user_id", v.user.ID)
		p.renderRecovery(w, r, codes)
		return nil
	})
}

// passkeyPage is the data of the page on which a passkey gets its name.
type passkeyPage struct {
	confirmForm
	PasskeysAt string
}

func (p *Pages) newPasskey(w http.ResponseWriter, r *http.Request, v visitor) error {
	p.renderNewPasskey(w, r, v, http.StatusOK, new(web.Form))
	return nil
}

func (p *Pages) renderNewPasskey(w http.ResponseWriter, r *http.Request, v visitor, status int, form *web.Form) {
	p.web.Render(w, r, status, "passkey", passkeyPage{p.confirmForm(w, r, v, formNewPasskey, form), p.passkeysAt()}, web.ReturnTo(pathNewPasskey))
}

// ceremonyView is the data of a form that asks the browser for a passkey.
type ceremonyView struct {
	oauth.Ceremony
	At    string // origin
	Token string
}

// beginPasskey checks the name and the password before the device makes anything.
func (p *Pages) beginPasskey(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formNewPasskey, fieldName, fieldPassword)
	if err != nil {
		return err
	}
	if strings.TrimSpace(form.Get(fieldName)) == "" {
		form.Reject(fieldName, "apps.name.wrong")
	}
	if wantsPassword(form); !form.Valid() {
		p.renderNewPasskey(w, r, v, http.StatusUnprocessableEntity, form)
		return nil
	}
	ceremony, err := p.service.BeginPasskey(r.Context(), p.confirmation(r, v, form), form.Get(fieldName))
	if wrong, is := errors.AsType[*oauth.FieldError](err); is {
		return p.noPasskey(w, r, v, form, wrong)
	}
	if status := p.confirmRefused(w, r, form, err); status != 0 {
		p.renderNewPasskey(w, r, v, status, form)
		return nil
	}
	if err != nil {
		return err
	}
	view := ceremonyView{ceremony, p.passkeysAt(), p.web.FormToken(w, r, formAddPasskey)}
	p.web.Render(w, r, http.StatusOK, "passkey-make", view, web.ReturnTo(pathNewPasskey))
	return nil
}

// noPasskey says why no passkey can be made.
func (p *Pages) noPasskey(w http.ResponseWriter, r *http.Request, v visitor, form *web.Form, wrong *oauth.FieldError) error {
	status := http.StatusUnprocessableEntity
	switch {
	case errors.Is(wrong, oauth.ErrTooMany):
		status = http.StatusConflict
		form.Reject("", "factors.passkey.too_many")
	case wrong.Field == "name":
		form.Reject(fieldName, "apps.name.wrong")
	default:
		status = http.StatusConflict
		form.Reject("", "factors.passkey.unavailable")
	}
	p.renderNewPasskey(w, r, v, status, form)
	return nil
}

func (p *Pages) addPasskey(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formAddPasskey, fieldCeremony, fieldCredential)
	if err != nil {
		return err
	}
	codes, err := p.service.AddPasskey(r.Context(), v.user, form.Get(fieldCeremony), form.Get(fieldCredential), p.address(r))
	if wrong, is := errors.AsType[*oauth.FieldError](err); is {
		return p.noPasskey(w, r, v, new(web.Form), wrong)
	}
	if refusal, is := errors.AsType[*oauth.Error](err); is {
		p.logRefusal(r, refusal)
		again := new(web.Form)
		again.Reject("", "factors.passkey.refused")
		p.renderNewPasskey(w, r, v, http.StatusForbidden, again)
		return nil
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "passkey added", "user_id", v.user.ID)
	p.factorAdded(w, r, "factors.passkey.added", codes)
	return nil
}
