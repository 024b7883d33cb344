package oauthhttp

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Paths and forms of an application's app passwords.
const (
	pathAddAppPassword    = pathApp + "/password"
	pathRemoveAppPassword = pathApp + "/password/remove"

	formAddAppPassword    = "add app password"
	formRemoveAppPassword = "remove app password" //nolint:gosec // a name, no credential
	fieldAppPassword      = "app_password"
)

func appPasswordKeys() []string {
	return []string{"apps.passwords.taken", "apps.passwords.full", "apps.passwords.removed", "apps.passwords.gone"}
}

// appPasswordsSection is the part of a personal application's page about its app
// passwords.
type appPasswordsSection struct {
	confirmForm // that makes one
	RemoveToken string
	List        []oauth.AppPassword
	CanAdd      bool
	Required    bool // the account's own password is not taken
}

func (p *Pages) appPasswordsSection(w http.ResponseWriter, r *http.Request, v visitor, c oauth.Client, form *web.Form) (appPasswordsSection, error) {
	list, err := p.service.AppPasswords(r.Context(), v.user.ID, c.ID)
	if err != nil {
		return appPasswordsSection{}, err
	}
	form.ID = "app-password"
	return appPasswordsSection{
		confirmForm: p.confirmForm(w, r, v, formAddAppPassword, form), RemoveToken: p.web.FormToken(w, r, formRemoveAppPassword),
		List: list, CanAdd: len(list) < oauth.AppPasswordsMax, Required: v.user.AppPasswordsOnly,
	}, nil
}

// appPasswordView is the data of the page that shows an app password, once.
type appPasswordView struct {
	appView
	Password, Curl string
	Keep           *keepView
}

func (p *Pages) addAppPassword(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formAddAppPassword, fieldName, fieldPassword)
	if err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	if c.Kind != oauth.Personal { // it has none
		p.web.Error(w, r, http.StatusNotFound, "")
		return nil
	}
	if wantsPassword(form); !form.Valid() {
		p.renderApp(w, r, v, http.StatusUnprocessableEntity, c, appForms{appPassword: form})
		return nil
	}
	password, err := p.service.AddAppPassword(r.Context(), p.confirmation(r, v, form), c.ID, form.Get(fieldName))
	if status := p.appPasswordRefused(w, r, form, err); status != 0 {
		p.renderApp(w, r, v, status, c, appForms{appPassword: form})
		return nil
	}
	if errors.Is(err, oauth.ErrNotFound) { // deleted in another window
		p.web.Error(w, r, http.StatusNotFound, "")
		return nil
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "app password added", "client_id", c.ID, "user_id", v.user.ID)
	p.web.Render(w, r, http.StatusOK, "apppassword", appPasswordView{
		appView: newAppView(c), Password: password, Keep: p.keep(r, c),
		Curl: "curl -u " + c.ID + ":YOUR_CLIENT_SECRET " + p.base(r) + pathToken + " -d grant_type=password" +
			" --data-urlencode " + quoted("username="+v.user.Email) + " -d password=" + password,
	}, web.ReturnTo(pathApps+"/"+c.ID))
	return nil
}

// appPasswordRefused says in the form why there is no new app password, and gives the
// status of the answer; 0 if err is no refusal.
func (p *Pages) appPasswordRefused(w http.ResponseWriter, r *http.Request, form *web.Form, err error) (status int) {
	_, isField := errors.AsType[*oauth.FieldError](err)
	switch {
	case errors.Is(err, oauth.ErrTooMany):
		form.Reject("", "apps.passwords.full")
		return http.StatusConflict
	case errors.Is(err, oauth.ErrExists):
		form.Reject(fieldName, "apps.passwords.taken")
		return http.StatusConflict
	case isField:
		form.Reject(fieldName, "apps.name.wrong")
		return http.StatusUnprocessableEntity
	default:
		return p.confirmRefused(w, r, form, err)
	}
}

// removeAppPassword ends an app password. One that is gone already is as good.
func (p *Pages) removeAppPassword(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formRemoveAppPassword, fieldAppPassword)
	if err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	id, err := strconv.ParseInt(form.Get(fieldAppPassword), 10, 64)
	if err != nil {
		return badRequest("The app password is malformed", "app password malformed")
	}
	err = p.service.RemoveAppPassword(r.Context(), v.user.ID, c.ID, id, p.address(r))
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		p.web.Flash(w, "apps.passwords.gone")
	case err != nil:
		return err
	default:
		p.log.InfoContext(r.Context(), "app password removed", "client_id", c.ID, "user_id", v.user.ID)
		p.web.Flash(w, "apps.passwords.removed")
	}
	p.web.Redirect(w, pathApps+"/"+c.ID)
	return nil
}
