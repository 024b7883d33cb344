package oauth

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Actions that the record of changes knows. Other parts of this package may add more:
// whoever shows the record has a sentence for one that it does not know.
const (
	ActionSignedUp        Action = "account.created"
	ActionSignedIn        Action = "session.started"
	ActionSessionEnded    Action = "session.ended" // Subject is the browser
	ActionSessionsEnded   Action = "sessions.ended"
	ActionPasswordChanged Action = "password.changed"
	ActionTokensEnded     Action = "tokens.ended" // of all applications, with the password

	ActionPasswordForbidden Action = "password.forbidden" // in the password grant
	ActionPasswordAllowed   Action = "password.allowed"

	ActionOperatorGiven Action = "operator.given"
	ActionOperatorTaken Action = "operator.taken"

	ActionAppCreated   Action = "application.created" // Subject is the application's name, also below
	ActionAppRequested Action = "application.requested"
	ActionAppApproved  Action = "application.approved"
	ActionAppRejected  Action = "application.rejected"

	ActionAppEdited       Action = "application.edited"
	ActionAppEditHeld     Action = "application.edit.held" // it waits for an operator
	ActionAppEditApproved Action = "application.edit.approved"
	ActionAppEditRejected Action = "application.edit.rejected"
	ActionAppLegacyOn     Action = "application.legacy.on"
	ActionAppLegacyOff    Action = "application.legacy.off"
	ActionAppDeleted      Action = "application.deleted"

	ActionDeviceApproved Action = "device.approved"
	ActionDeviceDenied   Action = "device.denied"

	ActionSecretAdded   Action = "secret.added"
	ActionSecretRemoved Action = "secret.removed"

	ActionAppPasswordAdded   Action = "app_password.added" // Subject is the app password's name
	ActionAppPasswordRemoved Action = "app_password.removed"

	ActionConnected    Action = "application.connected" // Subject is for ConsentOf
	ActionDisconnected Action = "application.disconnected"
)

// SwitchedOffBy is the Action of an application that was switched off, ReactivatedBy of
// one that may be used again.
func SwitchedOffBy(by Actor) Action { return Action("application.off." + by) }

// ReactivatedBy is described at SwitchedOffBy.
func ReactivatedBy(by Actor) Action { return Action("application.on." + by) }

// change is an entry of what a person does at an address.
func (s *Service) change(userID int64, action Action, clientID, subject string, from netip.Addr) Change {
	c := Change{UserID: userID, Action: action, ClientID: clientID, Subject: subject, ActorID: userID, At: s.now()}
	if from.IsValid() {
		c.Address = from.String()
	}
	return c
}

// consentSubject is the Subject of ActionConnected: the names of the scope, and where
// it holds if that is not everywhere.
func consentSubject(scope Scope, sites []int64) string {
	subject := scope.String()
	if sites == nil {
		return subject
	}
	ids := make([]string, 0, len(sites))
	for _, id := range sites {
		ids = append(ids, strconv.FormatInt(id, 10))
	}
	return fmt.Sprintf("%s in %s", subject, strings.Join(ids, ","))
}

// ConsentOf reads the Subject of an entry with ActionConnected: what was allowed, and in
// which sites; nil for all of them.
func ConsentOf(subject string) (scope Scope, sites []int64) {
	names, where, some := strings.Cut(subject, " in ")
	scope = NewScope(strings.Fields(names)...)
	if !some {
		return scope, nil
	}
	sites = []int64{}
	for text := range strings.SplitSeq(where, ",") {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil {
			sites = append(sites, id)
		}
	}
	return scope, sites
}
