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
	Form                  *web.Form
	AddToken, RemoveToken string
	List                  []oauth.AppPassword
	CanAdd                bool
	Required              bool // the account's own password is not taken
}

func (p *Pages) appPasswordsSection(w http.ResponseWriter, r *http.Request, v visitor, c oauth.Client, form *web.Form) (appPasswordsSection, error) {
	list, err := p.service.AppPasswords(r.Context(), v.user.ID, c.ID)
	if err != nil {
		return appPasswordsSection{}, err
	}
	form.ID = "app-password"
	return appPasswordsSection{
		Form: form, List: list, CanAdd: len(list) < oauth.AppPasswordsMax, Required: v.user.AppPasswordsOnly,
		AddToken: p.web.FormToken(w, r, formAddAppPassword), RemoveToken: p.web.FormToken(w, r, formRemoveAppPassword),
	}, nil
}

// appPasswordView is the data of the page that shows an app password, once.
type appPasswordView struct {
	appView
	Password, Curl string
}

func (p *Pages) addAppPassword(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formAddAppPassword, fieldName)
	if err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	password, err := p.service.AddAppPassword(r.Context(), v.user.ID, c.ID, form.Get(fieldName), p.address(r))
	_, isField := errors.AsType[*oauth.FieldError](err)
	switch {
	case errors.Is(err, oauth.ErrTooMany):
		form.Reject("", "apps.passwords.full")
		p.renderAppWith(w, r, v, http.StatusConflict, c, new(web.Form), form)
		return nil
	case errors.Is(err, oauth.ErrExists):
		form.Reject(fieldName, "apps.passwords.taken")
		p.renderAppWith(w, r, v, http.StatusConflict, c, new(web.Form), form)
		return nil
	case isField:
		form.Reject(fieldName, "apps.name.wrong")
		p.renderAppWith(w, r, v, http.StatusUnprocessableEntity, c, new(web.Form), form)
		return nil
	case errors.Is(err, oauth.ErrNotFound): // a commercial application has none
		p.web.Error(w, r, http.StatusNotFound, "")
		return nil
	case err != nil:
		return err
	}
	p.log.InfoContext(r.Context(), "app password added", "client_id", c.ID, "user_id", v.user.ID)
	p.web.Render(w, r, http.StatusOK, "apppassword", appPasswordView{
		appView: newAppView(c), Password: password,
		Curl: "curl -u " + c.ID + ":YOUR_CLIENT_SECRET " + p.base(r) + pathToken + " -d grant_type=password" +
			" --data-urlencode " + quoted("username="+v.user.Email) + " -d password=" + password,
	}, web.ReturnTo(pathApps+"/"+c.ID))
	return nil
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
