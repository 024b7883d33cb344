package oauthhttp

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Paths and forms of the page for operators.
const (
	pathRequests = "/operator/apps"
	pathApprove  = pathRequests + "/approve"
	pathReject   = pathRequests + "/reject"
	pathLetIn    = pathRequests + "/reactivate"

	formDecide  = "decide"
	fieldReason = "reason"
	fieldRuling = "ruling"
)

// operatorPages are for operators alone; for others they are not there.
func (p *Pages) operatorPages() []route {
	operator := func(g page) page {
		g.private, g.operator, g.back = true, true, pathRequests
		return g
	}
	return []route{
		{pathRequests, operator(page{get: p.requests})},
		{pathApprove, operator(page{post: p.approve})},
		{pathReject, operator(page{post: p.reject})},
		{pathLetIn, operator(page{post: p.letIn})},
	}
}

// operatorKeys are messages that these pages make up.
func operatorKeys() []string {
	return []string{"nav.operator", "operator.approved", "operator.rejected", "operator.decided", "operator.reason.wrong", "operator.reactivated", "operator.held.reason.wrong", "operator.held.gone"}
}

// requestsPage is the data of the page of applications that wait for an operator.
type requestsPage struct {
	Token    string
	Requests []requestView
	Edits    []editRequestView
	Held     []heldView // that only an operator can reactivate
	Older    string     // path of the page with those switched off before; empty if these are the last
	Later    bool       // there are others, switched off later
}

// heldView is an application that is off.
type heldView struct {
	told
	Name    string
	Picture string // path; may be empty
	Owner   oauth.User
	Form    *web.Form // that reactivates it
}

// editRequestView is an edit that waits.
type editRequestView struct {
	oauth.EditRequest
	*waiting
	Picture string // path, as it is
}

type requestView struct {
	oauth.Request
	HomeHost string
	Picture  string // path; may be empty
	Scopes   []web.Option
	Form     *web.Form // that rejects it
}

func (p *Pages) requests(w http.ResponseWriter, r *http.Request, _ visitor) error {
	return p.renderRequests(w, r, http.StatusOK, new(web.Form))
}

func (p *Pages) renderRequests(w http.ResponseWriter, r *http.Request, status int, form *web.Form) error {
	requests, err := p.service.Requests(r.Context())
	if err != nil {
		return err
	}
	view := requestsPage{Token: p.web.FormToken(w, r, formDecide)}
	for _, request := range requests {
		shown := requestView{Request: request, HomeHost: hostOf(request.HomePage), Picture: logoPath(request.ID, request.Logo), Scopes: p.scopeOptions(request.Scope), Form: new(web.Form)}
		if form.Get(fieldClientID) == request.ID {
			shown.Form = form
		}
		shown.Form.ID = "app-" + request.ID
		view.Requests = append(view.Requests, shown)
	}
	edits, err := p.service.EditRequests(r.Context())
	if err != nil {
		return err
	}
	for _, e := range edits {
		view.Edits = append(view.Edits, editRequestView{e, p.waitingOf(e.Live, &e.HeldEdit), logoPath(e.Live.ID, e.Live.Logo)})
	}
	if err := p.readHeld(r, form, &view); err != nil {
		return err
	}
	p.web.Render(w, r, status, "requests", view, web.ReturnTo(pathRequests))
	return nil
}

// readHeld looks for applications that are off. The forms of a page of older ones lead
// back to the first page.
func (p *Pages) readHeld(r *http.Request, form *web.Form, view *requestsPage) error {
	before, err := idIn(r.URL.Query(), fieldBefore)
	if err != nil {
		return err
	}
	held, more, err := p.service.Held(r.Context(), before)
	if err != nil {
		return err
	}
	view.Later = before > 0
	for _, h := range held {
		shown := heldView{told: newTold("issuance.off", h.By), Name: h.Name, Picture: logoPath(h.Client.ID, h.Logo), Owner: h.Owner, Form: new(web.Form)}
		if form.Get(fieldRuling) == strconv.FormatInt(h.By.ID, 10) {
			shown.Form = form
		}
		shown.Form.ID = "held-" + h.Client.ID
		view.Held = append(view.Held, shown)
		before = h.By.ID
	}
	if more {
		view.Older = pathRequests + "?" + fieldBefore + "=" + strconv.FormatInt(before, 10) + "#held"
	}
	return nil
}

// letIn lets an application be used again that its owner cannot reactivate.
func (p *Pages) letIn(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formDecide, fieldClientID, fieldRuling, fieldReason)
	if err != nil {
		return err
	}
	id := form.Get(fieldClientID)
	ruling, err := strconv.ParseInt(form.Get(fieldRuling), 10, 64)
	if err != nil {
		return badRequest("The ruling parameter is not a number", "ruling malformed")
	}
	err = p.service.ReactivateHeld(r.Context(), v.user.ID, id, ruling, form.Get(fieldReason), p.address(r))
	wrong, isField := errors.AsType[*oauth.FieldError](err)
	switch {
	case isField && wrong.Field == fieldReason:
		form.Reject(fieldReason, "operator.held.reason.wrong")
		return p.renderRequests(w, r, http.StatusUnprocessableEntity, form)
	case isField:
		p.web.Error(w, r, http.StatusConflict, "operator.held.gone")
		return nil
	case err != nil:
		return err
	}
	p.log.InfoContext(r.Context(), "application reactivated by an operator", "client_id", id, "user_id", v.user.ID)
	p.web.Flash(w, "operator.reactivated")
	p.web.Redirect(w, pathRequests)
	return nil
}

func (p *Pages) approve(w http.ResponseWriter, r *http.Request, v visitor) error {
	return p.decide(w, r, v, true, "operator.approved")
}

func (p *Pages) reject(w http.ResponseWriter, r *http.Request, v visitor) error {
	return p.decide(w, r, v, false, "operator.rejected")
}

func (p *Pages) decide(w http.ResponseWriter, r *http.Request, v visitor, approve bool, done string) error {
	form, err := p.web.PostedForm(w, r, formDecide, fieldClientID, fieldEdition, fieldReason)
	if err != nil {
		return err
	}
	id := form.Get(fieldClientID)
	err = p.service.Decide(r.Context(), oauth.Decision{
		ClientID: id, Edition: edition(form), Approve: approve, Reason: strings.ReplaceAll(form.Get(fieldReason), "\r\n", "\n"),
		OperatorID: v.user.ID, Address: p.address(r),
	})
	wrong, isField := errors.AsType[*oauth.FieldError](err)
	switch {
	case isField && wrong.Field == fieldReason:
		form.Reject(fieldReason, "operator.reason.wrong")
		return p.renderRequests(w, r, http.StatusUnprocessableEntity, form)
	case isField:
		p.web.Error(w, r, http.StatusConflict, "operator.decided")
		return nil
	case err != nil:
		return err
	}
	p.log.InfoContext(r.Context(), "application decided on", "client_id", id, "edition", edition(form), "approved", approve, "user_id", v.user.ID)
	p.web.Flash(w, done)
	p.web.Redirect(w, pathRequests)
	return nil
}
