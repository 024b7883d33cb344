package oauthhttp

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// deviceAuthorization is RFC 8628 section 3.2.
type deviceAuthorization struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	Complete        string `json:"verification_uri_complete"`
	ExpiresIn       int64  `json:"expires_in"` // seconds
	Interval        int64  `json:"interval"`   // seconds
}

// authorizeDevice is the device authorization endpoint (RFC 8628 section 3.1).
func (h *Handler) authorizeDevice(w http.ResponseWriter, r *http.Request) (any, error) {
	req, refusal := parseDeviceRequest(w, r)
	if refusal != nil {
		return nil, h.refuse(refusal)
	}
	req.Address = h.address(r)
	d, err := h.service.AuthorizeDevice(r.Context(), req)
	if err != nil {
		return nil, err
	}
	page := addressOf(h.service, r) + pathDevice
	return deviceAuthorization{
		DeviceCode: d.DeviceCode, UserCode: d.UserCode,
		VerificationURI: page, Complete: page + "?" + url.Values{fieldUserCode: {d.UserCode}}.Encode(),
		ExpiresIn: int64(d.ExpiresIn / time.Second), Interval: int64(d.Interval / time.Second),
	}, nil
}

// addressOf is the address of the server to which r came.
func addressOf(s *oauth.Service, r *http.Request) string {
	if issuer := s.Issuer(); issuer != "" {
		return issuer
	}
	return "http://" + r.Host
}

// Paths of the page on which a person lets a device in.
const (
	pathDevice       = "/device"
	pathDeviceAnswer = pathDevice + "/answer"
)

// Forms and fields of that page.
const (
	formUserCode     = "user code"
	formDeviceAnswer = "device answer"
	fieldUserCode    = "user_code"
)

// devicePages are those on which a person lets a device in.
func (p *Pages) devicePages() []route {
	return []route{
		{pathDevice, page{get: p.enterUserCode, post: p.userCode, private: true, back: pathDevice}},
		{pathDeviceAnswer, page{post: p.answerDevice, private: true, back: pathDevice}},
	}
}

// deviceKeys are messages that those pages make up.
func deviceKeys() []string {
	return []string{
		"device.code.missing", "device.code.wrong", "device.code.foreign", "device.code.slow_down",
		"device.approved", "device.approved.text", "device.denied", "device.denied.text",
	}
}

// deviceView is the data of the page that asks for a user code, and of the one that asks
// whether to let the device in.
type deviceView struct {
	Form     *web.Form
	Token    string
	Name     string
	ClientID string
	UserCode string // as it is read
	Account  string
}

// enterUserCode asks for a code. The address that a device shows as a whole fills it in,
// but it looks nothing up: the person compares it with what the device shows.
func (p *Pages) enterUserCode(w http.ResponseWriter, r *http.Request, _ visitor) error {
	query, err := web.ParseQuery(r, fieldUserCode)
	if err != nil {
		return err
	}
	if normal, is := oauth.NormalizeUserCode(query.Get(fieldUserCode)); is {
		query.Set(fieldUserCode, oauth.FormatUserCode(normal))
	}
	p.renderUserCode(w, r, http.StatusOK, query)
	return nil
}

func (p *Pages) renderUserCode(w http.ResponseWriter, r *http.Request, status int, form *web.Form) {
	p.web.Render(w, r, status, "device", deviceView{Form: form, Token: p.web.FormToken(w, r, formUserCode)}, web.ReturnTo(pathDevice))
}

// userCode finds what waits for the code that was entered, and asks whether to let it in.
func (p *Pages) userCode(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formUserCode, fieldUserCode)
	if err != nil {
		return err
	}
	if form.Get(fieldUserCode) == "" {
		form.Reject(fieldUserCode, "device.code.missing")
		p.renderUserCode(w, r, http.StatusUnprocessableEntity, form)
		return nil
	}
	client, err := p.service.DeviceRequestOf(r.Context(), v.user.ID, form.Get(fieldUserCode), p.address(r))
	if err != nil {
		return p.userCodeRefused(w, r, form, err)
	}
	normal, _ := oauth.NormalizeUserCode(form.Get(fieldUserCode))
	p.web.Render(w, r, http.StatusOK, "device-confirm", deviceView{
		Form: form, Token: p.web.FormToken(w, r, formDeviceAnswer),
		Name: client.Name, ClientID: client.ID, UserCode: oauth.FormatUserCode(normal), Account: v.user.Email,
	}, v.bare(), web.ReturnTo(pathDevice))
	return nil
}

func (p *Pages) userCodeRefused(w http.ResponseWriter, r *http.Request, form *web.Form, err error) error {
	refusal, is := errors.AsType[*oauth.Error](err)
	if !is {
		return err
	}
	p.logRefusal(r, refusal)
	status := http.StatusUnprocessableEntity
	switch refusal.Code {
	case oauth.CodeAccessDenied:
		form.Reject(fieldUserCode, "device.code.foreign")
	case oauth.CodeSlowDown:
		status = statusOf(r, refusal)
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
		form.Reject("", "device.code.slow_down", minutes(refusal.RetryAfter))
	default:
		form.Reject(fieldUserCode, "device.code.wrong")
	}
	p.renderUserCode(w, r, status, form)
	return nil
}

// deviceDoneView is the data of the page that says what was answered.
type deviceDoneView struct{ Heading, Text, Name string }

// answerDevice takes the person's answer.
func (p *Pages) answerDevice(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formDeviceAnswer, fieldUserCode, fieldAnswer)
	if err != nil {
		return err
	}
	approve := form.Get(fieldAnswer) == answerAllow
	if !approve && form.Get(fieldAnswer) != answerDeny {
		return badRequest("The answer is malformed", "consent malformed")
	}
	client, err := p.service.AnswerDevice(r.Context(), v.user.ID, form.Get(fieldUserCode), approve, p.address(r))
	if err != nil {
		return p.userCodeRefused(w, r, form, err)
	}
	p.log.InfoContext(r.Context(), "device answered", "client_id", client.ID, "user_id", v.user.ID, "approved", approve)
	view := deviceDoneView{"device.denied", "device.denied.text", client.Name}
	if approve {
		view = deviceDoneView{"device.approved", "device.approved.text", client.Name}
	}
	p.web.Render(w, r, http.StatusOK, "device-done", view, web.ReturnTo(pathDevice))
	return nil
}
