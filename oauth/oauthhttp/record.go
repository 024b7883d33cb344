package oauthhttp

import (
	"net/http"
	"strconv"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

const (
	pathRecord  = pathSecurity + "/record"
	fieldBefore = "before"
)

// recordPage is the data of the page of what was changed.
type recordPage struct {
	Entries []recordEntry
	Older   string // path of the next page; empty if this is the last
	Later   bool   // it is not the first
}

// recordEntry is one change.
type recordEntry struct {
	oauth.Change
	Key         string       // sentence; empty: there is none for this action
	Application string       // its name, or else its client_id; empty if none is concerned
	Name        string       // of what is concerned
	Scopes      []web.Option // that were allowed
	Sites       []string     // where
	ByOperator  bool
}

// recordKeys are sentences that must be there. For an action that another part of the
// server adds it is enough to have a message "record." and the action.
func recordKeys() []string {
	var keys []string
	for _, action := range []oauth.Action{
		oauth.ActionSignedUp, oauth.ActionSignedIn, oauth.ActionSessionEnded, oauth.ActionSessionsEnded,
		oauth.ActionPasswordChanged, oauth.ActionTokensEnded, oauth.ActionPasswordForbidden, oauth.ActionPasswordAllowed,
		oauth.ActionOperatorGiven, oauth.ActionOperatorTaken,
		oauth.ActionAppCreated, oauth.ActionAppRequested, oauth.ActionAppApproved, oauth.ActionAppRejected,
		oauth.ActionAppEdited, oauth.ActionAppEditHeld, oauth.ActionAppEditApproved, oauth.ActionAppEditRejected,
		oauth.ActionAppLegacyOn, oauth.ActionAppLegacyOff, oauth.ActionAppDeleted, oauth.ActionDeviceApproved, oauth.ActionDeviceDenied,
		oauth.ActionSecretAdded, oauth.ActionSecretRemoved, oauth.ActionAppPasswordAdded, oauth.ActionAppPasswordRemoved,
		oauth.ActionConnected, oauth.ActionDisconnected,
		oauth.ActionTOTPAdded, oauth.ActionTOTPRemoved, oauth.ActionPasskeyAdded, oauth.ActionPasskeyRemoved,
		oauth.SwitchedOffBy(oauth.ByPolicy), oauth.SwitchedOffBy(oauth.ByAlert), oauth.SwitchedOffBy(oauth.ByOperator),
		oauth.ReactivatedBy(oauth.ByOwner), oauth.ReactivatedBy(oauth.ByOperator), oauth.ReactivatedBy(oauth.ByAlert),
		oauth.ActionRecoveryCodesMade, oauth.ActionRecoveryCodeUsed, oauth.ActionFactorsRemoved,
	} {
		keys = append(keys, recordKey(action))
	}
	return keys
}

func recordKey(action oauth.Action) string { return "record." + string(action) }

// record lists what was changed about the person, the newest first.
func (p *Pages) record(w http.ResponseWriter, r *http.Request, v visitor) error {
	query, err := web.ParseQuery(r, fieldBefore)
	if err != nil {
		return err
	}
	before, err := idIn(query, fieldBefore)
	if err != nil {
		return err
	}
	changes, err := p.service.Changes(r.Context(), v.user.ID, before)
	if err != nil {
		return err
	}
	labels, err := p.siteLabels(r, v)
	if err != nil {
		return err
	}
	view := recordPage{Later: before > 0}
	for _, c := range changes {
		view.Entries = append(view.Entries, p.recordEntry(c, labels))
	}
	if len(changes) == oauth.ChangesMax {
		view.Older = pathRecord + "?" + fieldBefore + "=" + strconv.FormatInt(changes[len(changes)-1].ID, 10)
	}
	p.web.Render(w, r, http.StatusOK, "record", view)
	return nil
}

// idIn reads a parameter that is a positive number; 0: there is none.
func idIn(query interface {
	Has(name string) bool
	Get(name string) string
}, name string,
) (int64, error) {
	if !query.Has(name) {
		return 0, nil
	}
	id, err := strconv.ParseInt(query.Get(name), 10, 64)
	if err != nil || id < 1 {
		return 0, badRequest("The "+name+" parameter is not a number", name+" malformed")
	}
	return id, nil
}

func (p *Pages) recordEntry(c oauth.Change, labels map[int64]string) recordEntry {
	e := recordEntry{Change: c, Application: c.ClientName, Name: c.Subject, ByOperator: c.ActorID != c.UserID}
	if key := recordKey(c.Action); p.web.RequireKeys(key) == nil {
		e.Key = key
	}
	switch c.Action {
	case oauth.SwitchedOffBy(oauth.ByPolicy), oauth.SwitchedOffBy(oauth.ByAlert), oauth.ReactivatedBy(oauth.ByAlert):
		e.ByOperator = false // by nobody in person
	}
	if c.Action == oauth.ActionConnected {
		scope, sites := oauth.ConsentOf(c.Subject)
		e.Name, e.Scopes, e.Sites = "", p.scopeOptions(scope), sitesIn(labels, sites)
	}
	if e.Application == "" && c.ClientID != "" {
		e.Application = c.ClientID
		switch c.Action { // that say how it was called
		case oauth.ActionAppCreated, oauth.ActionAppRequested, oauth.ActionAppApproved, oauth.ActionAppRejected:
			e.Application = c.Subject
		}
	}
	if e.Application == e.Name {
		e.Name = ""
	}
	return e
}
