package oauthhttp

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Paths below pathApps. That of an application ends in its client_id.
const (
	pathNewPersonal   = pathApps + "/personal"
	pathNewCommercial = pathApps + "/commercial"
	pathApp           = pathApps + "/{client_id}"
	pathAddSecret     = pathApp + "/secret"
	pathRemoveSecret  = pathApp + "/secret/remove"
	pathGetToken      = pathApp + "/token"
)

// Forms and fields of My applications.
const (
	formNewApp       = "new application"
	formAddSecret    = "add secret"
	formRemoveSecret = "remove secret"
	formToken        = "token"

	fieldName         = "name"
	fieldDescription  = "description"
	fieldHomePage     = "home_page"
	fieldRedirectURIs = "redirect_uris"
	fieldPublic       = "public"
	fieldRequirePKCE  = "require_pkce"
	fieldRequireScope = "require_scope"
	fieldSecret       = "secret"
)

// appPages are the pages of My applications, in the order in which they are matched.
func (p *Pages) appPages() []route {
	private := func(g page) page {
		g.private, g.back = true, pathApps
		return g
	}
	return []route{
		{pathApps, private(page{get: p.apps})},
		{pathNewPersonal, private(page{get: p.newApp("personal"), post: p.createPersonal})},
		{pathNewCommercial, private(page{get: p.newApp("commercial"), post: p.createCommercial})},
		{pathApp, private(page{get: p.app})},
		{pathAddSecret, private(page{post: p.addSecret})},
		{pathRemoveSecret, private(page{post: p.removeSecret})},
		{pathGetToken, private(page{post: p.getToken})},
		{pathReactivate, private(page{post: p.reactivate})},
		{pathAddAppPassword, private(page{post: p.addAppPassword})},
		{pathRemoveAppPassword, private(page{post: p.removeAppPassword})},
	}
}

// appView is an application in a list or on its own page.
type appView struct {
	oauth.Client
	KindKey, StatusKey string
	StatusClass        string
	WarnedKey          string // message: it is on the way to be switched off; empty: it is not
	Picture            string // path; may be empty
}

func newAppView(c oauth.Client) appView {
	class := map[oauth.Status]string{oauth.Active: "success", oauth.Pending: "warning", oauth.Rejected: "error", oauth.Off: "error"}
	return appView{Client: c, KindKey: "apps.kind." + string(c.Kind), StatusKey: "apps.status." + string(c.Status), StatusClass: class[c.Status], Picture: logoPath(c.ID, c.Logo)}
}

// appKeys are messages that the pages of applications make up.
func appKeys() []string {
	keys := []string{
		"connected.done", "connected.done.personal", "apps.created_already", "apps.secret.removed", "apps.secret.gone", "apps.secret.full", "apps.too_many.personal", "apps.too_many.pending",
		"apps.password.missing", "apps.password.wrong", "apps.token.slow_down", "apps.token.off", "signin.busy", "apps.redirect_uris.line",
	}
	for _, kind := range []oauth.Kind{oauth.Personal, oauth.Commercial} {
		keys = append(keys, "apps.kind."+string(kind))
	}
	for _, status := range []oauth.Status{oauth.Active, oauth.Pending, oauth.Rejected, oauth.Off} {
		keys = append(keys, "apps.status."+string(status))
	}
	for _, field := range []string{fieldName, fieldDescription, fieldHomePage, fieldRedirectURIs, fieldScope} {
		keys = append(keys, "apps."+field+".wrong")
	}
	return keys
}

// apps lists the person's own applications.
func (p *Pages) apps(w http.ResponseWriter, r *http.Request, v visitor) error {
	clients, err := p.service.Applications(r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	views := make([]appView, 0, len(clients))
	for _, c := range clients {
		view := newAppView(c)
		warned, is, err := p.service.Warned(r.Context(), c)
		if err != nil {
			return err
		}
		if is {
			view.WarnedKey = "apps.status." + warningOf(warned)
		}
		views = append(views, view)
	}
	p.web.Render(w, r, http.StatusOK, "apps", views)
	return nil
}

// newAppPage is the data of the pages on which an application is made.
type newAppPage struct {
	Form     *web.Form
	Token    string
	ClientID string // that it will have: who sends the form twice makes one application
	Scopes   []web.Option
}

// newApp shows the empty form of a page.
func (p *Pages) newApp(page string) func(http.ResponseWriter, *http.Request, visitor) error {
	return func(w http.ResponseWriter, r *http.Request, _ visitor) error {
		p.renderNewApp(w, r, http.StatusOK, page, new(web.Form))
		return nil
	}
}

func (p *Pages) renderNewApp(w http.ResponseWriter, r *http.Request, status int, page string, form *web.Form) {
	id := form.Get(fieldClientID)
	if id == "" {
		id = oauth.NewClientID()
	}
	p.web.Render(w, r, status, page, newAppPage{
		Form: form, Token: p.web.FormToken(w, r, formNewApp), ClientID: id,
		Scopes: p.scopeOptions(oauth.NewScope(p.service.Scopes()...)),
	})
}

func (p *Pages) createPersonal(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formNewApp, fieldClientID, fieldName)
	if err != nil {
		return err
	}
	client, secret, err := p.service.CreatePersonal(r.Context(), v.user.ID, form.Get(fieldClientID), form.Get(fieldName), p.address(r))
	return p.created(w, r, v, "personal", form, client, secret, err)
}

func (p *Pages) createCommercial(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formNewApp, fieldClientID, fieldName, fieldDescription, fieldHomePage,
		fieldRedirectURIs, fieldScope+"...", fieldPublic, fieldRequirePKCE, fieldRequireScope)
	if err != nil {
		return err
	}
	client, secret, err := p.service.CreateCommercial(r.Context(), v.user.ID, form.Get(fieldClientID), oauth.CommercialRequest{
		Name:        form.Get(fieldName),
		Description: strings.ReplaceAll(strings.TrimSpace(form.Get(fieldDescription)), "\r\n", "\n"),
		HomePage:    strings.TrimSpace(form.Get(fieldHomePage)), RedirectURIs: strings.Fields(form.Get(fieldRedirectURIs)),
		Scopes: form.All(fieldScope),
		Public: form.Has(fieldPublic), RequirePKCE: form.Has(fieldRequirePKCE), RequireScope: form.Has(fieldRequireScope),
		Address: p.address(r),
	})
	return p.created(w, r, v, "commercial", form, client, secret, err)
}

// created answers the form by which an application was to be made.
func (p *Pages) created(w http.ResponseWriter, r *http.Request, v visitor, page string, form *web.Form, c oauth.Client, secret string, err error) error {
	if wrong, is := errors.AsType[*oauth.FieldError](err); is {
		return p.notCreated(w, r, v, page, form, wrong)
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "application registered", "client_id", c.ID, "kind", string(c.Kind), "user_id", v.user.ID)
	p.renderSecret(w, r, v, c, secret)
	return nil
}

func (p *Pages) notCreated(w http.ResponseWriter, r *http.Request, v visitor, page string, form *web.Form, wrong *oauth.FieldError) error {
	status := http.StatusUnprocessableEntity
	soon, isSoon := errors.AsType[*oauth.TooSoonError](wrong)
	switch {
	case isSoon:
		status = http.StatusConflict
		form.Reject("", "apps.too_soon", soon.Recent, soon.Minute().Format("15:04"))
	case errors.Is(wrong, oauth.ErrTooMany):
		status = http.StatusConflict
		form.Reject("", map[string]string{"personal": "apps.too_many.personal", "commercial": "apps.too_many.pending"}[page])
	case wrong.Field == "client_id":
		return p.createdAlready(w, r, v, form.Get(fieldClientID))
	default:
		rejectFields(form, wrong)
	}
	p.renderNewApp(w, r, status, page, form)
	return nil
}

// rejectFields says at each field of an application what is wrong with it.
func rejectFields(form *web.Form, wrong *oauth.FieldError) {
	for _, w := range append([]*oauth.FieldError{wrong}, wrong.Others...) {
		field := map[string]string{"home page": fieldHomePage, "redirect_uri": fieldRedirectURIs}[w.Field]
		switch {
		case field == "":
			form.Reject(w.Field, "apps."+w.Field+".wrong")
		case w.At > 0:
			form.Reject(field, "apps.redirect_uris.line", lineOf(form.Get(field), w.At))
		default:
			form.Reject(field, "apps."+field+".wrong")
		}
	}
}

// lineOf is the line of a text on which its word number n stands; both count from 1.
func lineOf(text string, n int) int {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if n -= len(strings.Fields(line)); n <= 0 {
			return i + 1
		}
	}
	return len(lines)
}

// createdAlready answers a form that is sent again: nothing can show the secret again.
func (p *Pages) createdAlready(w http.ResponseWriter, r *http.Request, v visitor, clientID string) error {
	if _, err := p.service.Application(r.Context(), v.user.ID, clientID); errors.Is(err, oauth.ErrNotFound) {
		return badRequest("The client_id is not one that can be registered", "client_id malformed")
	} else if err != nil {
		return err
	}
	p.web.Flash(w, "apps.created_already")
	p.web.Redirect(w, pathApps+"/"+clientID)
	return nil
}

// secretView is the data of the page that shows a client_secret, once.
type secretView struct {
	appView
	Secret string // empty of a public application
	Curl   string // that gets a token with a password; empty if the application has another way
	// Device asks for a code, and DeviceToken for the token when it was entered.
	Device, DeviceToken string

	AppPassword bool // the token needs one, and not the account's own password
	Keep        *keepView
}

func (p *Pages) renderSecret(w http.ResponseWriter, r *http.Request, v visitor, c oauth.Client, secret string) {
	view := secretView{appView: newAppView(c), Secret: secret, Keep: p.keep(r, c)}
	if c.Kind == oauth.Personal {
		as := "curl -u " + c.ID + ":" + secret + " " + p.base(r)
		view.Device = as + pathAuthorizeDevice + " -X POST"
		view.DeviceToken = as + pathToken + " -d grant_type=" + oauth.GrantDevice + " -d device_code=YOUR_DEVICE_CODE"
		view.Curl = as + pathToken + " -d grant_type=password" +
			" --data-urlencode " + quoted("username="+v.user.Email) + " --data-urlencode 'password=YOUR_PASSWORD'"
		view.AppPassword = v.user.AppPasswordsOnly
	}
	p.web.Render(w, r, http.StatusOK, "secret", view, web.ReturnTo(pathApps+"/"+c.ID))
}

// base is the address of the API.
func (p *Pages) base(r *http.Request) string { return addressOf(p.service, r) }

// quoted is s as one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// appPage is the data of the page of one application.
type appPage struct {
	appView
	Scopes                        []web.Option
	HasSecrets, CanAdd, CanRemove bool
	Secret                        confirmForm // that adds one
	RemoveToken                   string
	GetToken                      confirmForm
	Personal                      bool
	Passwords                     appPasswordsSection // of a personal one
	Issuance                      *issuanceView
	CanEdit                       bool
	Waiting                       *waiting // nil: nothing waits for an operator
}

// appForms are the forms of that page that were sent and come back; nil: it is empty.
type appForms struct{ token, appPassword, secret *web.Form }

// own finds the application that the path names, if it is the person's own. Any other
// is answered as one that does not exist. Who comes by the link of a mail, which may be
// that of another account, is told what to do.
func (p *Pages) own(w http.ResponseWriter, r *http.Request, v visitor) (c oauth.Client, answered bool, err error) {
	c, err = p.service.Application(r.Context(), v.user.ID, mux.Vars(r)["client_id"])
	if errors.Is(err, oauth.ErrNotFound) {
		key := ""
		if r.URL.Query().Has(fieldLink) {
			key = "issuance.link.foreign"
		}
		p.web.Error(w, r, http.StatusNotFound, key)
		return c, true, nil
	}
	return c, false, err
}

func (p *Pages) app(w http.ResponseWriter, r *http.Request, v visitor) error {
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	p.renderApp(w, r, v, http.StatusOK, c, appForms{})
	return nil
}

func (p *Pages) renderApp(w http.ResponseWriter, r *http.Request, v visitor, status int, c oauth.Client, forms appForms) {
	for _, form := range []**web.Form{&forms.token, &forms.appPassword, &forms.secret} {
		if *form == nil {
			*form = new(web.Form)
		}
	}
	forms.secret.ID = "secret"
	_, held, err := p.service.Edited(r.Context(), v.user.ID, c.ID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	var passwords appPasswordsSection
	if c.Kind == oauth.Personal {
		if passwords, err = p.appPasswordsSection(w, r, v, c, forms.appPassword); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	issuance, err := p.issuance(w, r, c)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.web.Render(w, r, status, "app", appPage{
		Passwords: passwords,
		appView:   newAppView(c), Scopes: p.scopeOptions(c.Scope),
		HasSecrets: !c.Public, CanAdd: !c.Public && len(c.Secrets) < oauth.SecretsMax, CanRemove: len(c.Secrets) > 1,
		Secret: p.confirmForm(w, r, v, formAddSecret, forms.secret), RemoveToken: p.web.FormToken(w, r, formRemoveSecret),
		GetToken: p.confirmForm(w, r, v, formToken, forms.token), Personal: c.Kind == oauth.Personal, Issuance: issuance,
		CanEdit: c.Status != oauth.Rejected, Waiting: p.waitingOf(c, held),
	}, web.ReturnTo(pathApps+"/"+c.ID))
}

func (p *Pages) addSecret(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formAddSecret, fieldPassword)
	if err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	if wantsPassword(form); !form.Valid() {
		p.renderApp(w, r, v, http.StatusUnprocessableEntity, c, appForms{secret: form})
		return nil
	}
	secret, err := p.service.AddOwnSecret(r.Context(), p.confirmation(r, v, form), c.ID)
	if status := p.confirmRefused(w, r, form, err); status != 0 {
		p.renderApp(w, r, v, status, c, appForms{secret: form})
		return nil
	}
	if wrong, is := errors.AsType[*oauth.FieldError](err); is {
		p.log.InfoContext(r.Context(), "secret not added", "client_id", c.ID, "err", wrong)
		p.web.Error(w, r, http.StatusConflict, "apps.secret.full")
		return nil
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "secret added", "client_id", c.ID, "user_id", v.user.ID)
	p.renderSecret(w, r, v, c, secret)
	return nil
}

// removeSecret ends one of two secrets. The last one stays, since an application
// without any cannot be used.
func (p *Pages) removeSecret(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formRemoveSecret, fieldSecret)
	if err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	err = p.removeOne(r, c, form.Get(fieldSecret))
	if wrong, is := errors.AsType[*oauth.FieldError](err); is {
		p.log.InfoContext(r.Context(), "secret not removed", "client_id", c.ID, "err", wrong)
		p.web.Error(w, r, http.StatusConflict, "apps.secret.gone")
		return nil
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "secret removed", "client_id", c.ID, "user_id", v.user.ID)
	p.web.Flash(w, "apps.secret.removed")
	p.web.Redirect(w, pathApps+"/"+c.ID)
	return nil
}

// removeOne ends the secret with that ID, if the application has another one.
func (p *Pages) removeOne(r *http.Request, c oauth.Client, secretID string) error {
	id, err := strconv.ParseInt(secretID, 10, 64)
	if err != nil || len(c.Secrets) < oauth.SecretsMax {
		return &oauth.FieldError{Field: fieldSecret, Problem: "cannot be removed"}
	}
	return p.service.RemoveOwnSecret(r.Context(), c.OwnerID, c.ID, id, p.address(r))
}

// tokenView is the data of the page that shows tokens, once.
type tokenView struct {
	appView
	oauth.Tokens
	Minutes       int
	Call, Refresh string // curl lines
	Keep          *keepView
}

// getToken gives a personal application's owner, who enters the password again, a
// token to try the API with.
func (p *Pages) getToken(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formToken, fieldPassword)
	if err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	if form.Get(fieldPassword) == "" {
		form.Reject(fieldPassword, "apps.password.missing")
		p.renderApp(w, r, v, http.StatusUnprocessableEntity, c, appForms{token: form})
		return nil
	}
	tokens, err := p.service.OwnToken(r.Context(), v.user, c.ID, form.Get(fieldPassword), p.address(r))
	if refusal, is := errors.AsType[*oauth.Error](err); is && c.Kind == oauth.Personal {
		p.tokenRefused(w, r, v, c, form, refusal)
		return nil
	}
	if err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "token given on the page", "client_id", c.ID, "user_id", v.user.ID)
	p.web.Render(w, r, http.StatusOK, "tokens", tokenView{
		appView: newAppView(c), Tokens: tokens, Minutes: minutes(tokens.ExpiresIn), Keep: p.keep(r, c),
		Call:    "curl -H 'Authorization: Bearer " + tokens.AccessToken + "' " + p.base(r) + "/v2/client/site/items",
		Refresh: "curl -u " + c.ID + ":YOUR_CLIENT_SECRET " + p.base(r) + pathToken + " -d 'grant_type=refresh_token&refresh_token=" + tokens.RefreshToken + "'",
	}, web.ReturnTo(pathApps+"/"+c.ID))
	return nil
}

func (p *Pages) tokenRefused(w http.ResponseWriter, r *http.Request, v visitor, c oauth.Client, form *web.Form, refusal *oauth.Error) {
	status := p.passwordRefused(w, r, form, fieldPassword, "apps.password.wrong", refusal)
	if refusal.Code == oauth.CodeUnauthorizedClient {
		now, err := p.service.Application(r.Context(), v.user.ID, c.ID)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		c = now // it was switched off after it was looked at
	}
	p.renderApp(w, r, v, status, c, appForms{token: form})
}
