package oauthhttp

import (
	"errors"
	"net/http"
	"strings"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Paths and forms of the page for operators.
const (
	pathRequests = "/operator/apps"
	pathApprove  = pathRequests + "/approve"
	pathReject   = pathRequests + "/reject"

	formDecide  = "decide"
	fieldReason = "reason"
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
	}
}

// operatorKeys are messages that these pages make up.
func operatorKeys() []string {
	return []string{"nav.operator", "operator.approved", "operator.rejected", "operator.decided", "operator.reason.wrong"}
}

// requestsPage is the data of the page of applications that wait for an operator.
type requestsPage struct {
	Token    string
	Requests []requestView
	Edits    []editRequestView
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
	p.web.Render(w, r, status, "requests", view, web.ReturnTo(pathRequests))
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
