package devices

import (
	"errors"
	"fmt"
	"time"
)

// Refusal says why a request was not carried out. Nothing was sent to a house and
// nothing changed.
type Refusal struct {
	Code       RefusalCode
	Text       string        // a fixed sentence that names what was wrong; holds no user input
	RetryAfter time.Duration // when a repeat may succeed; zero if the request itself is wrong
	Scope      string        // of MissingScope: the one that was missing
}

// RefusalCode names a reason for a Refusal; its text is the error field on the wire.
type RefusalCode string

const (
	NoSuch       RefusalCode = "not_found"             // not there, or not the caller's: the same answer
	LaneFull     RefusalCode = "too_many_commands"     // the device has unanswered commands enough
	BudgetSpent  RefusalCode = "command_budget_spent"  // the application commands too often
	KeyReuse     RefusalCode = "idempotency_key_reuse" // the key was used for another command
	BadKey       RefusalCode = "bad_idempotency_key"   // the key is not one
	BadFilter    RefusalCode = "bad_filter"            // a filter of a list cannot be read
	NotReported  RefusalCode = "not_reported"          // the unit has not told this yet
	OutdatedUnit RefusalCode = "unit_outdated"         // the unit's catalogue does not have the operation
	GuestLooks   RefusalCode = "guest_may_only_look"   // the person is a guest of the site
	WrongType    RefusalCode = "wrong_scenario_type"   // a scenario of this type cannot do that
	NotMade      RefusalCode = "not_implemented"       // described, and not there yet
	NotOwner     RefusalCode = "not_the_owner"         // only an owner of the site decides that
	// MissingScope says that the token is not good for this (RFC 6750 section 3.1).
	MissingScope RefusalCode = "insufficient_scope"
)

// Error gives the code and the text.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Text }

// OfflineRetry is how long to wait before commanding a unit that is away: it
// reconnects within half a minute once it can.
const OfflineRetry = 30 * time.Second

// permit refuses a caller whose token is not good for the row.
func permit(c Caller, row Row) error {
	if c.may(row.Scope) {
		return nil
	}
	return &Refusal{Code: MissingScope, Text: "The token is not good for " + row.Scope, Scope: row.Scope}
}

func noSite() *Refusal { return &Refusal{Code: NoSuch, Text: "Unknown site ID"} }

func noDevice() *Refusal { return &Refusal{Code: NoSuch, Text: "Unknown device ID"} }

// look refuses a guest what the row makes happen.
func look(site Site, row Row) error {
	if site.Role == Guest && row.Action != NotYet && row.Commands() {
		return &Refusal{Code: GuestLooks, Text: "A guest of the home may only look"}
	}
	return nil
}

// absent turns what a store says of a site and a thing at it into the refusal, and any
// other error into a failure while that was being done.
func absent(err error, doing string, args ...any) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return noSite()
	case errors.Is(err, ErrNoDevice):
		return noDevice()
	default:
		return fmt.Errorf(doing+": %w", append(args, err)...)
	}
}
