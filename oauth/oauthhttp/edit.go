package oauthhttp

import (
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// UploadPath is the template of the one route whose requests may have a body of more than
// 64 KiB: with its file, up to UploadMax bytes.
const (
	UploadPath = pathApp + "/logo"
	UploadMax  = oauth.LogoMax + 64<<10
)

// Paths below that of an application.
const (
	pathEditApp   = pathApp + "/edit"
	pathLogo      = UploadPath
	pathLogoFile  = pathApp + "/logo.png"
	pathDeleteApp = pathApp + "/delete"
)

// Forms and fields of editing.
const (
	formEditApp   = "edit application"
	formLogo      = "logo"
	formDeleteApp = "delete application"

	fieldEdition = "edition"
	fieldLegacy  = "legacy"
	fieldLogo    = "logo"
	fieldRemove  = "remove"
	queryVersion = "v" // of a logo: its hash
)

// logosAtOnce bounds the pictures that are decoded at a time.
const logosAtOnce = 2

// editPages are the pages on which an owner changes an application.
func (p *Pages) editPages() []route {
	private := func(g page) page {
		g.private, g.back = true, pathApps
		return g
	}
	return []route{
		{pathEditApp, private(page{get: p.editApp, post: p.saveApp})},
		{pathLogo, private(page{post: p.saveLogo})},
		{pathLogoFile, page{get: p.logo}},
		{pathDeleteApp, private(page{get: p.askDelete, post: p.deleteApp})},
	}
}

// editKeys are messages that those pages make up.
func editKeys() []string {
	return []string{
		"apps.legacy.wrong", "apps.logo.wrong", "apps.logo.missing", "apps.edit.saved", "apps.edit.held", "apps.edit.changed", "apps.edit.rejected", "apps.delete.done",
		"apps.public", "apps.confidential", "apps.require_pkce", "apps.require_pkce.off", "apps.require_scope", "apps.require_scope.off", "apps.legacy", "apps.legacy.off",
	}
}

// logoPath is where the picture of an application is; empty if it has none. It changes
// with the picture.
func logoPath(clientID string, logo oauth.Hash) string {
	if logo == (oauth.Hash{}) {
		return ""
	}
	return pathApps + "/" + clientID + "/logo.png?" + queryVersion + "=" + hex.EncodeToString(logo[:])
}

// editView is the data of the page of editing.
type editView struct {
	appView
	Form, LogoForm   *web.Form
	Token, LogoToken string
	Personal         bool
	Held             bool // the forms hold what waits for an operator
	Reviewed         bool // an operator has approved it, and is asked again
	Scopes           []web.Option
	Picture          string // path
}

func (p *Pages) editApp(w http.ResponseWriter, r *http.Request, v visitor) error {
	c, held, answered, err := p.edited(w, r, v)
	if answered || err != nil {
		return err
	}
	p.renderEdit(w, r, http.StatusOK, c, held, formOf(c), new(web.Form))
	return nil
}

// formOf is the form of editing, filled in.
func formOf(c oauth.Client) *web.Form {
	form := web.NewForm(map[string]string{
		fieldName: c.Name, fieldDescription: c.Description, fieldHomePage: c.HomePage,
		fieldRedirectURIs: strings.Join(c.RedirectURIs, "\n"), fieldEdition: strconv.FormatInt(c.Edition, 10),
	})
	form.Set(fieldScope, c.Scope...)
	for field, on := range map[string]bool{
		fieldPublic: c.Public, fieldRequirePKCE: c.RequirePKCE, fieldRequireScope: c.RequireScope, fieldLegacy: c.Legacy,
	} {
		if on {
			form.Set(field, "yes")
		}
	}
	return form
}

// edited finds the application that the path names, as it is to be, if it is the
// person's own. Any other is answered as one that does not exist.
func (p *Pages) edited(w http.ResponseWriter, r *http.Request, v visitor) (c oauth.Client, held *oauth.HeldEdit, answered bool, err error) {
	c, held, err = p.service.Edited(r.Context(), v.user.ID, mux.Vars(r)["client_id"])
	if errors.Is(err, oauth.ErrNotFound) {
		p.web.Error(w, r, http.StatusNotFound, "")
		return c, nil, true, nil
	}
	if err == nil && c.Status == oauth.Rejected {
		p.web.Error(w, r, http.StatusConflict, "apps.edit.rejected")
		return c, nil, true, nil
	}
	return c, held, false, err
}

func (p *Pages) renderEdit(w http.ResponseWriter, r *http.Request, status int, c oauth.Client, held *oauth.HeldEdit, form, logo *web.Form) {
	logo.ID = "l"
	p.web.Render(w, r, status, "edit", editView{
		appView: newAppView(c), Form: form, LogoForm: logo,
		Token: p.web.FormToken(w, r, formEditApp), LogoToken: p.web.FormToken(w, r, formLogo),
		Personal: c.Kind == oauth.Personal, Held: held != nil, Reviewed: c.Kind == oauth.Commercial && c.Status != oauth.Pending,
		Scopes: p.scopeOptions(oauth.NewScope(p.service.Scopes()...)), Picture: logoPath(c.ID, c.Logo),
	}, web.ReturnTo(pathApps+"/"+c.ID+"/edit"))
}

func (p *Pages) saveApp(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formEditApp, fieldEdition, fieldName, fieldDescription, fieldHomePage,
		fieldRedirectURIs, fieldScope+"...", fieldPublic, fieldRequirePKCE, fieldRequireScope, fieldLegacy)
	if err != nil {
		return err
	}
	c, held, answered, err := p.edited(w, r, v)
	if answered || err != nil {
		return err
	}
	waits, err := p.service.Edit(r.Context(), v.user.ID, c.ID, edition(form), oauth.Edit{
		Name: form.Get(fieldName), Description: strings.ReplaceAll(strings.TrimSpace(form.Get(fieldDescription)), "\r\n", "\n"),
		HomePage: strings.TrimSpace(form.Get(fieldHomePage)), RedirectURIs: strings.Fields(form.Get(fieldRedirectURIs)), Scopes: form.All(fieldScope),
		Public: form.Has(fieldPublic), RequirePKCE: form.Has(fieldRequirePKCE), RequireScope: form.Has(fieldRequireScope), Legacy: form.Has(fieldLegacy),
	}, p.address(r))
	if wrong, is := errors.AsType[*oauth.FieldError](err); is {
		p.rejectEdit(r, c, form, wrong)
		p.renderEdit(w, r, editStatus(wrong), c, held, form, new(web.Form))
		return nil
	}
	if err != nil {
		return err
	}
	return p.saved(w, r, v, c, waits)
}

// edition is that which the form was made for. One that is none is none of an
// application's.
func edition(form *web.Form) int64 {
	n, err := strconv.ParseInt(form.Get(fieldEdition), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func editStatus(wrong *oauth.FieldError) int {
	if errors.Is(wrong, oauth.ErrChanged) {
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

// rejectEdit says on the form what is wrong.
func (p *Pages) rejectEdit(r *http.Request, c oauth.Client, form *web.Form, wrong *oauth.FieldError) {
	p.log.InfoContext(r.Context(), "application not edited", "client_id", c.ID, "err", wrong)
	if errors.Is(wrong, oauth.ErrChanged) {
		form.Reject("", "apps.edit.changed")
		return
	}
	rejectFields(form, wrong)
}

func (p *Pages) saved(w http.ResponseWriter, r *http.Request, v visitor, c oauth.Client, waits bool) error {
	p.log.InfoContext(r.Context(), "application edited", "client_id", c.ID, "user_id", v.user.ID, "held", waits)
	flash := "apps.edit.saved"
	if waits {
		flash = "apps.edit.held"
	}
	p.web.Flash(w, flash)
	p.web.Redirect(w, pathApps+"/"+c.ID)
	return nil
}

// saveLogo takes a picture in, or away.
func (p *Pages) saveLogo(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, upload, err := p.web.PostedUpload(w, r, formLogo, fieldLogo, oauth.LogoMax, fieldEdition, fieldRemove)
	tooLarge := isTooLarge(err)
	if err != nil && !tooLarge {
		return err
	}
	c, held, answered, err := p.edited(w, r, v)
	if answered || err != nil {
		return err
	}
	switch {
	case tooLarge:
		form.Reject(fieldLogo, "apps.logo.wrong")
	case len(upload) == 0 && !form.Has(fieldRemove):
		form.Reject(fieldLogo, "apps.logo.missing")
	case form.Has(fieldRemove):
		upload = nil
	}
	var waits bool
	if form.Valid() {
		waits, err = p.setLogo(r, v, c, edition(form), upload)
		if wrong, is := errors.AsType[*oauth.FieldError](err); is {
			p.rejectEdit(r, c, form, wrong)
		} else if errors.Is(err, oauth.ErrNotFound) { // a personal one has no picture
			p.web.Error(w, r, http.StatusNotFound, "")
			return nil
		} else if err != nil {
			return err
		}
	}
	if !form.Valid() {
		status := http.StatusUnprocessableEntity
		if tooLarge {
			status = http.StatusRequestEntityTooLarge
		}
		p.renderEdit(w, r, status, c, held, formOf(c), form)
		return nil
	}
	return p.saved(w, r, v, c, waits)
}

// setLogo decodes no more than logosAtOnce pictures at a time.
func (p *Pages) setLogo(r *http.Request, v visitor, c oauth.Client, edition int64, upload []byte) (waits bool, err error) {
	select {
	case p.decoding <- struct{}{}:
		defer func() { <-p.decoding }()
	case <-r.Context().Done():
		return false, r.Context().Err()
	}
	return p.service.SetLogo(r.Context(), v.user.ID, c.ID, edition, upload, p.address(r))
}

// isTooLarge reports whether an upload was not read because of its size.
func isTooLarge(err error) bool {
	refused, is := errors.AsType[*web.FormError](err)
	return is && refused.Status == http.StatusRequestEntityTooLarge && refused.Field == fieldLogo
}

// logo serves a picture to whoever knows its hash. It can be kept for good, since
// another picture has another address.
func (p *Pages) logo(w http.ResponseWriter, r *http.Request, _ visitor) error {
	picture, err := p.service.LogoOf(r.Context(), mux.Vars(r)["client_id"], versionOf(r))
	if errors.Is(err, oauth.ErrNotFound) {
		p.web.Error(w, r, http.StatusNotFound, "")
		return nil
	}
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "image/png")
	h.Set("Content-Length", strconv.Itoa(len(picture)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if r.Method != http.MethodHead {
		_, _ = w.Write(picture) // #nosec G705 -- a PNG that was drawn here; who has gone away misses nothing
	}
	return nil
}

// versionOf is the hash of the picture that r asks for; zero, which no picture has, if it
// names none.
func versionOf(r *http.Request) (hash oauth.Hash) {
	given, err := hex.DecodeString(r.URL.Query().Get(queryVersion))
	if err == nil && len(given) == len(hash) {
		copy(hash[:], given)
	}
	return hash
}

// deleteView is the data of the page that asks whether to delete an application.
type deleteView struct {
	appView
	Token    string
	Personal bool
}

func (p *Pages) askDelete(w http.ResponseWriter, r *http.Request, v visitor) error {
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	p.web.Render(w, r, http.StatusOK, "delete", deleteView{newAppView(c), p.web.FormToken(w, r, formDeleteApp), c.Kind == oauth.Personal})
	return nil
}

// deleteApp does away with an application. One that is gone is as good.
func (p *Pages) deleteApp(w http.ResponseWriter, r *http.Request, v visitor) error {
	if _, err := p.web.PostedForm(w, r, formDeleteApp); err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	err = p.service.DeleteOwn(r.Context(), v.user.ID, c.ID, p.address(r))
	if err != nil && !errors.Is(err, oauth.ErrNotFound) {
		return err
	}
	p.log.InfoContext(r.Context(), "application deleted", "client_id", c.ID, "user_id", v.user.ID)
	p.web.Flash(w, "apps.delete.done")
	p.web.Redirect(w, pathApps)
	return nil
}

// waiting is what of an application waits for an operator, in words.
type waiting struct {
	Name         string
	Description  *waitingText
	HomePage     *waitingText
	RedirectURIs []string
	Scopes       []web.Option
	Switches     []string // messages
	Logo         string
}

// waitingText is a text that replaces another one; an empty one takes it away.
type waitingText struct{ Text string }

// waitingOf compares what waits with what holds; nil if nothing waits.
func (p *Pages) waitingOf(c oauth.Client, held *oauth.HeldEdit) *waiting {
	if held == nil {
		return nil
	}
	h, w := held.Client, &waiting{}
	if h.Name != c.Name {
		w.Name = h.Name
	}
	if h.Description != c.Description {
		w.Description = &waitingText{h.Description}
	}
	if h.HomePage != c.HomePage {
		w.HomePage = &waitingText{h.HomePage}
	}
	if !slices.Equal(h.RedirectURIs, c.RedirectURIs) {
		w.RedirectURIs = h.RedirectURIs
	}
	if !slices.Equal(h.Scope, c.Scope) {
		w.Scopes = p.scopeOptions(h.Scope)
	}
	if h.Logo != c.Logo {
		w.Logo = logoPath(c.ID, h.Logo)
	}
	for _, s := range []struct {
		is, was bool
		on, off string
	}{
		{h.Public, c.Public, "apps.public", "apps.confidential"},
		{h.RequirePKCE, c.RequirePKCE, "apps.require_pkce", "apps.require_pkce.off"},
		{h.RequireScope, c.RequireScope, "apps.require_scope", "apps.require_scope.off"},
		{h.Legacy, c.Legacy, "apps.legacy", "apps.legacy.off"},
	} {
		switch {
		case s.is && !s.was:
			w.Switches = append(w.Switches, s.on)
		case s.was && !s.is:
			w.Switches = append(w.Switches, s.off)
		}
	}
	return w
}
