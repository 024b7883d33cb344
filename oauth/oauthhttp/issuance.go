package oauthhttp

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

const (
	pathReactivate = pathApp + "/reactivate"

	formReactivate = "reactivate"
	fieldLink      = "link" // of a mail, in the query of the page and in that form
)

// issuanceView is what an application was issued, and what became of it.
type issuanceView struct {
	Counted    bool // otherwise there are no charts
	Hours      chart
	Days       chart
	Standing   []standing // how it stands; empty if it is not judged
	Off        *offView   // nil: it is not off
	Warned     *told      // nil: it is not on the way to be
	Link       string     // that the page was reached by, and that is good
	LinkNotice string     // message: what is wrong with that link; empty: nothing
	Token      string     // of the form that reactivates
	Episodes   []told     // the newest first
	ClientID   string
	Older      string // path of the page with the episodes before; empty if these are the last
	Later      bool   // there are newer ones
}

// standing is one limit, and what of it is used up.
type standing struct {
	Key           string // message, of the window
	Used, Allowed int
}

// told is a ruling in a sentence; the partial "ruling" shows it.
type told struct {
	oauth.Ruling
	Key       string // message
	TokensKey string // message, of how many tokens there were; empty: the sentence counts none
}

func newTold(prefix string, r oauth.Ruling) told {
	t := told{Ruling: r, Key: prefix + "." + string(r.Actor)}
	if r.Rule != "" {
		t.TokensKey = "issuance.tokens." + string(r.Rule)
	}
	return t
}

// Counted reports whether tokens were counted: the policy ruled.
func (t told) Counted() bool { return t.TokensKey != "" }

// offView says why an application is off, and what to do.
type offView struct {
	told
	Draining bool
	Left     int       // reactivations that the owner may make
	Again    time.Time // when there will be one, if none is left; zero: never
	Operator bool      // an operator has switched it off
	Contact  string
}

// ContactHref is where the Contact leads.
func (v *offView) ContactHref() string {
	if strings.Contains(v.Contact, "://") {
		return v.Contact
	}
	return "mailto:" + v.Contact
}

// episodesMax is how many rulings the page lists at once.
const episodesMax = 20

// issuanceKeys are messages that the pages make up.
func issuanceKeys() []string {
	keys := []string{
		"issuance.reactivated", "issuance.hours", "issuance.days", "issuance.standing.hour", "issuance.standing.day",
		"issuance.link.used", "issuance.link.expired", "issuance.link.unknown", "issuance.link.foreign",
	}
	for _, by := range []oauth.Actor{oauth.ByPolicy, oauth.ByAlert, oauth.ByOperator} {
		keys = append(keys, "issuance.off."+string(by), "issuance.episode.switch_off."+string(by))
	}
	for _, by := range []oauth.Actor{oauth.ByAlert, oauth.ByOperator, oauth.ByOwner} {
		keys = append(keys, "issuance.episode.reactivation."+string(by))
	}
	for _, rule := range []oauth.Rule{oauth.RuleHour, oauth.RuleDay} {
		keys = append(keys, "issuance.tokens."+string(rule))
	}
	for _, v := range []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning} {
		keys = append(keys, "issuance.episode."+string(v)+"."+string(oauth.ByPolicy), "issuance.warned."+string(v), "apps.status."+string(v))
	}
	return keys
}

// issuance makes the view for the owner of an application. What a policy that is not
// in force says is not for them.
func (p *Pages) issuance(w http.ResponseWriter, r *http.Request, c oauth.Client) (*issuanceView, error) {
	v := &issuanceView{ClientID: c.ID, Counted: p.service.Mode() != oauth.ModeOff && (c.Status == oauth.Active || c.Status == oauth.Off)}
	judged := c.Kind == oauth.Personal && v.Counted
	if v.Counted {
		if err := p.drawIssuance(r, c, judged, v); err != nil {
			return nil, err
		}
	}
	way, err := p.service.WayBack(r.Context(), c.ID)
	if err != nil {
		return nil, err
	}
	if way.Off {
		v.Off = newOffView(way)
		v.Off.Contact = p.service.OperatorContact()
		v.Token = p.web.FormToken(w, r, formReactivate)
	}
	warned, is, err := p.service.Warned(r.Context(), c)
	if err != nil {
		return nil, err
	}
	if is {
		t := newTold("issuance.warned", warned)
		t.Key = "issuance.warned." + warningOf(warned)
		v.Warned = &t
	}
	if err := p.readLink(r, c, v); err != nil {
		return nil, err
	}
	return v, p.readEpisodes(r, v)
}

// readEpisodes looks for one more than the page lists, so that it knows whether there
// are older ones.
func (p *Pages) readEpisodes(r *http.Request, v *issuanceView) error {
	before, err := idIn(r.URL.Query(), fieldBefore)
	if err != nil {
		return err
	}
	v.Later = before > 0
	for {
		rulings, err := p.service.Verdicts(r.Context(), v.ClientID, before)
		if err != nil || len(rulings) == 0 {
			return err
		}
		for _, ruling := range rulings {
			e, shown := newEpisode(ruling, p.service.Mode())
			switch {
			case !shown:
			case len(v.Episodes) == episodesMax:
				last := strconv.FormatInt(v.Episodes[episodesMax-1].ID, 10)
				v.Older = pathApps + "/" + v.ClientID + "?" + fieldBefore + "=" + last + "#episodes"
				return nil
			default:
				v.Episodes = append(v.Episodes, e)
			}
		}
		before = rulings[len(rulings)-1].ID
	}
}

func (p *Pages) drawIssuance(r *http.Request, c oauth.Client, judged bool, v *issuanceView) error {
	var limits oauth.Limits
	if judged {
		var err error
		if limits, _, err = p.service.LimitsOf(r.Context(), c.ID); err != nil {
			return err
		}
		counts, err := p.service.Standing(r.Context(), c.ID)
		if err != nil {
			return err
		}
		v.Standing = []standing{{"issuance.standing.hour", counts.Hour, limits.Hour}, {"issuance.standing.day", counts.Day, limits.Day}}
	}
	hours, err := p.service.Hours(r.Context(), c.ID)
	if err != nil {
		return err
	}
	days, err := p.service.Days(r.Context(), c.ID)
	if err != nil {
		return err
	}
	v.Hours = newChart("hours", "issuance.hours", slotsOf(hours), false, limits.Hour)
	v.Days = newChart("days", "issuance.days", slotsOf(days), true, limits.Day)
	return nil
}

func slotsOf(all []oauth.Issuances) []slot {
	slots := make([]slot, 0, len(all))
	for _, i := range all {
		slots = append(slots, slot{From: i.At, Tokens: i.Tokens, Wasteful: i.Wasteful})
	}
	return slots
}

// warningOf is how serious a ruling is that warns: what the policy found while it was only
// a shadow is as near to a switching off as can be.
func warningOf(r oauth.Ruling) string {
	if r.Verdict == oauth.VerdictNotice {
		return string(oauth.VerdictNotice)
	}
	return string(oauth.VerdictWarning)
}

func newOffView(way oauth.Way) *offView {
	return &offView{
		told: newTold("issuance.off", way.By), Left: way.Left, Again: way.Again,
		Draining: way.By.Lever == oauth.LeverDrain, Operator: way.By.Actor == oauth.ByOperator,
	}
}

// newEpisode tells what was ruled. While no policy is in force, its warnings are not
// shown: nothing would come of them.
func newEpisode(r oauth.Ruling, mode oauth.Mode) (e told, shown bool) {
	e = newTold("issuance.episode."+string(r.Verdict), r)
	switch r.Verdict {
	case oauth.VerdictNotice, oauth.VerdictWarning:
		return e, mode == oauth.ModeEnforce
	case oauth.VerdictSwitchOff, oauth.VerdictReactivation:
		return e, r.Effective
	default:
		return e, false
	}
}

// readLink looks at the link that the page was reached by.
func (p *Pages) readLink(r *http.Request, c oauth.Client, v *issuanceView) error {
	secret := r.URL.Query().Get(fieldLink)
	if secret == "" {
		return nil
	}
	state, err := p.service.Link(r.Context(), c.ID, secret)
	if err != nil {
		return err
	}
	if state == oauth.LinkGood {
		v.Link = secret
		return nil
	}
	v.LinkNotice = "issuance.link." + string(state)
	return nil
}

// reactivate lets an application be used again. One that is not the owner's to
// reactivate, and a link that is not good, lead back to the page, which says so.
func (p *Pages) reactivate(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formReactivate, fieldLink)
	if err != nil {
		return err
	}
	c, answered, err := p.own(w, r, v)
	if answered || err != nil {
		return err
	}
	page := pathApps + "/" + c.ID
	did, state := false, oauth.LinkGood
	if secret := form.Get(fieldLink); secret != "" {
		did, state, err = p.service.ReactivateThrough(r.Context(), v.user.ID, c.ID, secret, p.address(r))
		if state != oauth.LinkGood {
			page += "?" + fieldLink + "=" + url.QueryEscape(secret)
		}
	} else {
		did, err = p.service.ReactivateOwn(r.Context(), v.user.ID, c.ID, "", p.address(r))
	}
	if err != nil && !errors.Is(err, oauth.ErrOperatorOnly) {
		return err
	}
	if did {
		p.web.Flash(w, "issuance.reactivated")
	}
	p.log.InfoContext(r.Context(), "reactivation asked for on the page", "client_id", c.ID, "user_id", v.user.ID, "done", did, "link", string(state))
	p.web.Redirect(w, page)
	return nil
}

// keepView are the limits that a page names which shows how a token is got.
type keepView struct{ Hour, Day int } // 0: none

// keep is what the owner of an application is told of keeping a token; nil: nothing. The
// pages show secrets once, so limits that are not found keep none of them from being shown.
func (p *Pages) keep(r *http.Request, c oauth.Client) *keepView {
	if c.Kind != oauth.Personal {
		return nil
	}
	if p.service.Mode() != oauth.ModeEnforce {
		return &keepView{}
	}
	limits, _, err := p.service.LimitsOf(r.Context(), c.ID)
	if err != nil {
		p.log.ErrorContext(r.Context(), "limits not shown", "client_id", c.ID, "err", err)
		return &keepView{}
	}
	return &keepView{limits.Hour, limits.Day}
}
