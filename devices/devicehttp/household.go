package devicehttp

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/internal/web"
)

//go:embed templates/*.html
var pageTemplates embed.FS

//go:embed messages/*.json
var pageMessages embed.FS

// Where the pages of households begin, and the message key of their name in the navigation.
const (
	HouseholdPath  = "/household"
	HouseholdLabel = "household.nav"
)

// Paths below HouseholdPath.
const (
	pathInvitation = HouseholdPath + "/invitation"
	pathAnswer     = pathInvitation + "/answer"
	pathHome       = HouseholdPath + "/{site}"
	pathInvite     = pathHome + "/invite"
	pathWithdraw   = pathHome + "/withdraw"
	pathMember     = pathHome + "/member/{user}"
	pathScenario   = pathHome + "/scenario"
)

// Forms and fields of these pages.
const (
	formInvitation = "household invitation"
	formAnswer     = "household answer"
	formInvite     = "household invite"
	formWithdraw   = "household withdraw"
	formMember     = "household member"
	formScenario   = "household scenario"

	fieldCode     = "code"
	fieldAnswer   = "answer"
	fieldEmail    = "email"
	fieldRole     = "role"
	fieldScenario = "scenario"

	answerAccept  = "accept"
	answerDecline = "decline"
)

// HouseholdOptions are what a Household is made of. All are required.
type HouseholdOptions struct {
	Service *devices.Service
	// Person finds who has that user ID.
	Person func(ctx context.Context, userID int64) (devices.Person, error)
	Logger *slog.Logger
}

// Household serves the pages on which people see who belongs to their homes, invite, join
// and leave, and see what their scenarios do by themselves. It may be used by several
// goroutines at once.
type Household struct {
	service *devices.Service
	person  func(context.Context, int64) (devices.Person, error)
	log     *slog.Logger
}

// NewHousehold makes a Household.
func NewHousehold(o HouseholdOptions) *Household {
	return &Household{service: o.Service, person: o.Person, log: o.Logger}
}

// Templates are those of the pages, as web.Options takes them.
func (h *Household) Templates() fs.FS { return below(pageTemplates, "templates") }

// Messages are those of the pages.
func (h *Household) Messages() fs.FS { return below(pageMessages, "messages") }

func below(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil { // the directory's name is a constant
		panic(err)
	}
	return sub
}

// Keys are messages that the pages make up.
func (h *Household) Keys() []string {
	keys := []string{
		"household.code.wrong", "household.email.wrong", "household.role.wrong", "household.full", "household.gone", "household.joined",
		"household.declined", "household.withdrawn", "household.left", "household.removed", "household.stays", "household.guest",
		"household.not_owner", "household.enabled", "household.disabled", "household.on_demand",
		"household.role.member.hint", "household.role.guest.hint",
	}
	for _, role := range []devices.Role{devices.Owner, devices.Member, devices.Guest} {
		keys = append(keys, roleKey(role))
	}
	for _, t := range devices.ScenarioTypes() {
		keys = append(keys, typeKey(t))
	}
	for _, o := range []devices.OccurrenceOutcome{
		devices.OccurrenceOpen, devices.OccurrenceRan, devices.OccurrenceMissed, devices.OccurrenceBarred, devices.OccurrenceHeld,
		devices.OccurrenceDropped, devices.OccurrenceInterrupted,
	} {
		keys = append(keys, outcomeKey(o))
	}
	return keys
}

func roleKey(r devices.Role) string                 { return "household.role." + string(r) }
func typeKey(t devices.ScenarioType) string         { return "household.type." + string(t) }
func outcomeKey(o devices.OccurrenceOutcome) string { return "household.outcome." + string(o) }

// HouseholdPage is a page at its path, which is a template of the router. A method that is
// nil is refused.
type HouseholdPage struct {
	Path      string
	Get, Post HouseholdServe
}

// HouseholdServe answers a request of the person who is signed in. Its error is a
// *web.FormError or a failure of the server.
type HouseholdServe func(site *web.Pages, w http.ResponseWriter, r *http.Request, p devices.Person) error

// Pages are the pages in the order in which they are matched. Each is for who is signed in.
func (h *Household) Pages() []HouseholdPage {
	return []HouseholdPage{
		{HouseholdPath, h.homes, nil},
		{pathInvitation, nil, h.invitation},
		{pathAnswer, nil, h.answer},
		{pathHome, h.inHome(h.home), nil},
		{pathInvite, nil, h.inHome(h.invite)},
		{pathWithdraw, nil, h.inHome(h.withdraw)},
		{pathMember, h.inHome(h.askMember), h.inHome(h.removeMember)},
		{pathScenario, nil, h.inHome(h.switchScenario)},
	}
}

// visit is a request for a page of a home.
type visit struct {
	site *web.Pages
	w    http.ResponseWriter
	r    *http.Request
	by   devices.Person
	home devices.Site // with the person's role
}

func (v visit) path() string { return homePath(v.home.ID) }

func homePath(siteID int64) string { return HouseholdPath + "/" + strconv.FormatInt(siteID, 10) }

// redirect goes on, and says there what was done.
func (v visit) redirect(to, flash string) error {
	v.site.Flash(v.w, flash)
	v.site.Redirect(v.w, to)
	return nil
}

// inHome serves for a home to which the person belongs; any other is answered as one that
// does not exist. A refusal is a page.
func (h *Household) inHome(serve func(visit) error) HouseholdServe {
	return func(site *web.Pages, w http.ResponseWriter, r *http.Request, p devices.Person) error {
		home, err := h.homeOf(r, p)
		if err == nil {
			err = serve(visit{site, w, r, p, home})
		}
		return h.refused(site, w, r, err)
	}
}

func (h *Household) homeOf(r *http.Request, p devices.Person) (devices.Site, error) {
	id, err := strconv.ParseInt(mux.Vars(r)["site"], 10, 64)
	if err != nil {
		return devices.Site{}, noSuch()
	}
	homes, err := h.service.Sites(r.Context(), callerOf(p))
	if err != nil {
		return devices.Site{}, err
	}
	i := slices.IndexFunc(homes, func(s devices.SiteSummary) bool { return s.ID == id })
	if i < 0 {
		return devices.Site{}, noSuch()
	}
	return homes[i].Site, nil
}

func noSuch() error { return &devices.Refusal{Code: devices.NoSuch, Text: "Unknown site ID"} }

// callerOf is the person without any application.
func callerOf(p devices.Person) devices.Caller {
	return devices.Caller{UserID: p.UserID, UserName: p.Name, Unscoped: true}
}

// refused answers a refusal with a page, and gives any other error back.
func (h *Household) refused(site *web.Pages, w http.ResponseWriter, r *http.Request, err error) error {
	refusal, is := errors.AsType[*devices.Refusal](err)
	if !is {
		return err
	}
	h.log.InfoContext(r.Context(), "page of a household refused", "path", r.URL.Path, "reason", string(refusal.Code))
	switch refusal.Code {
	case devices.NoSuch:
		site.Error(w, r, http.StatusNotFound, "")
	case devices.NotOwner:
		site.Error(w, r, http.StatusForbidden, "household.not_owner")
	case devices.GuestLooks:
		site.Error(w, r, http.StatusForbidden, "household.guest")
	case devices.WrongType:
		site.Error(w, r, http.StatusConflict, "household.on_demand")
	case devices.BudgetSpent:
		w.Header().Set("Retry-After", strconv.FormatInt(int64((refusal.RetryAfter+time.Second-1)/time.Second), 10))
		site.Error(w, r, http.StatusTooManyRequests, "")
	default:
		return err
	}
	return nil
}

// homesView is the data of the page of all homes of a person.
type homesView struct {
	Homes []homeView
	Form  *web.Form
	Token string
}

// homeView is a home in a list or on its own page.
type homeView struct {
	devices.Site
	RoleKey string
}

func newHomeView(s devices.Site) homeView { return homeView{s, roleKey(s.Role)} }

func (h *Household) homes(site *web.Pages, w http.ResponseWriter, r *http.Request, p devices.Person) error {
	return h.renderHomes(site, w, r, http.StatusOK, p, new(web.Form))
}

func (h *Household) renderHomes(site *web.Pages, w http.ResponseWriter, r *http.Request, status int, p devices.Person, form *web.Form) error {
	homes, err := h.service.Sites(r.Context(), callerOf(p))
	if err != nil {
		return err
	}
	view := homesView{Form: form, Token: site.FormToken(w, r, formInvitation)}
	for _, s := range homes {
		view.Homes = append(view.Homes, newHomeView(s.Site))
	}
	site.Render(w, r, status, "households", view, web.ReturnTo(HouseholdPath))
	return nil
}

// invitationView is the data of the page that asks for an answer to an invitation.
type invitationView struct {
	homeView
	Code, Token string
	ExpiresAt   time.Time
}

// invitation shows to what a code invites.
func (h *Household) invitation(site *web.Pages, w http.ResponseWriter, r *http.Request, p devices.Person) error {
	form, err := site.PostedForm(w, r, formInvitation, fieldCode)
	if err != nil {
		return err
	}
	code := strings.TrimSpace(form.Get(fieldCode))
	home, i, err := h.service.Invited(r.Context(), p, code)
	if wrong, is := errors.AsType[*devices.FieldError](err); is {
		return h.notInvited(site, w, r, p, form, wrong)
	}
	if err != nil {
		return err
	}
	home.Role = i.Role
	site.Render(w, r, http.StatusOK, "household-invitation", invitationView{
		homeView: newHomeView(home), Code: code, Token: site.FormToken(w, r, formAnswer), ExpiresAt: i.ExpiresAt,
	}, web.ReturnTo(HouseholdPath))
	return nil
}

// notInvited asks for the code again.
func (h *Household) notInvited(site *web.Pages, w http.ResponseWriter, r *http.Request, p devices.Person, form *web.Form, wrong *devices.FieldError) error {
	h.log.InfoContext(r.Context(), "invitation refused", "user_id", p.UserID, "reason", wrong.Problem)
	form.Reject(fieldCode, "household.code.wrong", p.Email)
	return h.renderHomes(site, w, r, http.StatusUnprocessableEntity, p, form)
}

// answer takes what the person says to an invitation.
func (h *Household) answer(site *web.Pages, w http.ResponseWriter, r *http.Request, p devices.Person) error {
	form, err := site.PostedForm(w, r, formAnswer, fieldCode, fieldAnswer)
	if err != nil {
		return err
	}
	to, flash := HouseholdPath, "household.declined"
	switch form.Get(fieldAnswer) {
	case answerDecline:
		err = h.service.Decline(r.Context(), p, form.Get(fieldCode))
	case answerAccept:
		var home devices.Site
		home, err = h.service.Join(r.Context(), p, form.Get(fieldCode))
		to, flash = homePath(home.ID), "household.joined"
	default:
		site.Error(w, r, http.StatusBadRequest, "")
		return nil
	}
	if wrong, is := errors.AsType[*devices.FieldError](err); is {
		return h.notInvited(site, w, r, p, form, wrong)
	}
	if err != nil {
		return err
	}
	h.log.InfoContext(r.Context(), "invitation answered", "user_id", p.UserID, "answer", form.Get(fieldAnswer))
	site.Flash(w, flash)
	site.Redirect(w, to)
	return nil
}

// householdView is the data of the page of one home.
type householdView struct {
	homeView
	Owner         bool
	Members       []memberView
	Invitations   []openInvitation
	Form          *web.Form // that invites
	InviteToken   string
	WithdrawToken string
	Roles         []web.Option
	Scenarios     []scenarioView
	ScenarioToken string
}

// memberView is a person of a home.
type memberView struct {
	devices.Person
	RoleKey   string
	Self      bool
	Removable bool // by who looks
}

type openInvitation struct {
	devices.Invitation
	RoleKey string
}

// scenarioView is a scenario with what it did by itself.
type scenarioView struct {
	devices.Scenario
	TypeKey    string
	ByItself   bool // it can
	Switchable bool // by who looks
	Last       *devices.LastRun
	OutcomeKey string
}

func (h *Household) home(v visit) error { return h.renderHome(v, http.StatusOK, new(web.Form)) }

func (h *Household) renderHome(v visit, status int, form *web.Form) error {
	form.ID = "invite"
	view := householdView{
		homeView: newHomeView(v.home), Owner: v.home.Role == devices.Owner, Form: form,
		InviteToken: v.site.FormToken(v.w, v.r, formInvite), WithdrawToken: v.site.FormToken(v.w, v.r, formWithdraw),
		ScenarioToken: v.site.FormToken(v.w, v.r, formScenario),
	}
	for _, role := range []devices.Role{devices.Member, devices.Guest} {
		view.Roles = append(view.Roles, web.Option{Value: string(role), Key: roleKey(role), HintKey: roleKey(role) + ".hint", Checked: role == devices.Member})
	}
	var err error
	if view.Members, err = h.members(v); err != nil {
		return err
	}
	if view.Owner {
		open, err := h.service.Invitations(v.r.Context(), v.by, v.home.ID)
		if err != nil {
			return err
		}
		for _, i := range open {
			view.Invitations = append(view.Invitations, openInvitation{i, roleKey(i.Role)})
		}
	}
	if view.Scenarios, err = h.scenarios(v); err != nil {
		return err
	}
	v.site.Render(v.w, v.r, status, "household", view, web.ReturnTo(v.path()))
	return nil
}

// members lists who belongs to the home. Addresses are for owners, and each person's own.
func (h *Household) members(v visit) ([]memberView, error) {
	list, err := h.service.Members(v.r.Context(), v.by, v.home.ID)
	if err != nil {
		return nil, err
	}
	owners := 0
	for _, m := range list {
		if m.Role == devices.Owner {
			owners++
		}
	}
	views := make([]memberView, 0, len(list))
	for _, m := range list {
		who, err := h.person(v.r.Context(), m.UserID)
		if err != nil {
			return nil, err
		}
		view := memberView{Person: who, RoleKey: roleKey(m.Role), Self: m.UserID == v.by.UserID}
		view.Removable = (view.Self || v.home.Role == devices.Owner) && (m.Role != devices.Owner || owners > 1)
		if !view.Self && v.home.Role != devices.Owner {
			view.Email = ""
		}
		views = append(views, view)
	}
	return views, nil
}

func (h *Household) scenarios(v visit) ([]scenarioView, error) {
	list, err := h.service.Scenarios(v.r.Context(), callerOf(v.by), v.home.ID)
	if err != nil {
		return nil, err
	}
	runs, err := h.service.LastRuns(v.r.Context(), callerOf(v.by), v.home.ID)
	if err != nil {
		return nil, err
	}
	views := make([]scenarioView, 0, len(list))
	for _, s := range list {
		view := scenarioView{Scenario: s, TypeKey: typeKey(s.Type), ByItself: s.Type != devices.OnDemand}
		view.Switchable = view.ByItself && v.home.Role != devices.Guest
		if i := slices.IndexFunc(runs, func(l devices.LastRun) bool { return l.ScenarioID == s.ID }); i >= 0 {
			view.Last, view.OutcomeKey = &runs[i], outcomeKey(runs[i].Outcome)
		}
		views = append(views, view)
	}
	return views, nil
}

// invitedView is the data of the page that shows the code of an invitation, once.
type invitedView struct {
	homeView
	Email, Code string
	ExpiresAt   time.Time
}

func (h *Household) invite(v visit) error {
	form, err := v.site.PostedForm(v.w, v.r, formInvite, fieldEmail, fieldRole)
	if err != nil {
		return err
	}
	i, code, err := h.service.Invite(v.r.Context(), v.by, v.home.ID, strings.TrimSpace(form.Get(fieldEmail)), devices.Role(form.Get(fieldRole)))
	if wrong, is := errors.AsType[*devices.FieldError](err); is {
		switch wrong.Field {
		case "email":
			form.Reject(fieldEmail, "household.email.wrong")
		case "role":
			form.Reject(fieldRole, "household.role.wrong")
		default:
			form.Reject("", "household.full")
		}
		return h.renderHome(v, http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	h.log.InfoContext(v.r.Context(), "person invited", "site", v.home.ID, "user_id", v.by.UserID, "role", string(i.Role))
	home := v.home
	home.Role = i.Role
	v.site.Render(v.w, v.r, http.StatusOK, "household-invited", invitedView{
		homeView: newHomeView(home), Email: i.Email, Code: code, ExpiresAt: i.ExpiresAt,
	}, web.ReturnTo(v.path()))
	return nil
}

// withdraw ends an invitation.
func (h *Household) withdraw(v visit) error {
	form, err := v.site.PostedForm(v.w, v.r, formWithdraw, fieldEmail)
	if err != nil {
		return err
	}
	err = h.service.Uninvite(v.r.Context(), v.by, v.home.ID, form.Get(fieldEmail))
	if _, gone := errors.AsType[*devices.FieldError](err); gone {
		v.site.Error(v.w, v.r, http.StatusConflict, "household.gone")
		return nil
	}
	if err != nil {
		return err
	}
	h.log.InfoContext(v.r.Context(), "invitation withdrawn", "site", v.home.ID, "user_id", v.by.UserID)
	return v.redirect(v.path(), "household.withdrawn")
}

// leaveView is the data of the page that asks whether somebody is to leave a home.
type leaveView struct {
	homeView
	Member memberView
	Token  string
}

// member finds the person that the path names, whom the visitor may remove.
func (h *Household) member(v visit) (memberView, error) {
	id, err := strconv.ParseInt(mux.Vars(v.r)["user"], 10, 64)
	if err != nil {
		return memberView{}, noSuch()
	}
	members, err := h.members(v)
	if err != nil {
		return memberView{}, err
	}
	i := slices.IndexFunc(members, func(m memberView) bool { return m.UserID == id })
	if i < 0 {
		return memberView{}, noSuch()
	}
	return members[i], nil
}

func (h *Household) askMember(v visit) error {
	m, err := h.member(v)
	if err != nil {
		return err
	}
	if !m.Removable {
		v.site.Error(v.w, v.r, http.StatusConflict, "household.stays")
		return nil
	}
	v.site.Render(v.w, v.r, http.StatusOK, "household-leave", leaveView{newHomeView(v.home), m, v.site.FormToken(v.w, v.r, formMember)})
	return nil
}

// removeMember ends that a person belongs to the home.
func (h *Household) removeMember(v visit) error {
	if _, err := v.site.PostedForm(v.w, v.r, formMember); err != nil {
		return err
	}
	m, err := h.member(v)
	if err != nil {
		return err
	}
	err = h.service.RemoveMember(v.r.Context(), v.by, v.home.ID, m.Person)
	if _, stays := errors.AsType[*devices.FieldError](err); stays {
		v.site.Error(v.w, v.r, http.StatusConflict, "household.stays")
		return nil
	}
	if err != nil {
		return err
	}
	h.log.InfoContext(v.r.Context(), "person left a home", "site", v.home.ID, "user_id", v.by.UserID, "left", m.UserID)
	if m.Self {
		return v.redirect(HouseholdPath, "household.left")
	}
	return v.redirect(v.path(), "household.removed")
}

// switchScenario lets a scenario run by itself, or not.
func (h *Household) switchScenario(v visit) error {
	form, err := v.site.PostedForm(v.w, v.r, formScenario, fieldScenario, fieldAnswer)
	if err != nil {
		return err
	}
	id, row, ok := switching(form)
	if !ok {
		v.site.Error(v.w, v.r, http.StatusBadRequest, "")
		return nil
	}
	if err := h.service.SwitchScenario(v.r.Context(), callerOf(v.by), row, v.home.ID, id); err != nil {
		return err
	}
	return v.redirect(v.path()+"#scenarios", "household."+row.Operation+"d")
}

// switching reads which scenario is to be switched, and how.
func switching(form *web.Form) (id int64, row devices.Row, ok bool) {
	rows := devices.Catalogue()
	i := slices.IndexFunc(rows, func(row devices.Row) bool {
		return row.Action == devices.SwitchScenario && row.Operation == form.Get(fieldAnswer)
	})
	id, err := strconv.ParseInt(form.Get(fieldScenario), 10, 64)
	if i < 0 || err != nil {
		return 0, devices.Row{}, false
	}
	return id, rows[i], true
}
