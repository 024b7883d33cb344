package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What an owner may do alone: this many reactivations in this time, then it takes an
// operator.
const (
	OwnReactivations       = 2
	OwnReactivationsWithin = 30 * 24 * time.Hour
)

const (
	reasonMax  = 500 // characters
	keyMax     = 200 // bytes
	rulingsMax = 200 // that are listed at once
)

// withheld is the refusal of a request that a tally decided against; nil of one that
// was granted.
func (s *Service) withheld(ctx context.Context, c Client, t Tally) error {
	switch t.Outcome {
	case Issued:
		return nil
	case SwitchedOff, AlreadyOff:
		err := s.off(ctx, c.ID, CodeUnauthorizedClient)
		if refusal, is := errors.AsType[*Error](err); is && t.Outcome == SwitchedOff {
			refusal.Reason = "application switched off"
		}
		return err
	default:
		return notActive()
	}
}

// off is the refusal of what an application asks that is switched off, with the
// reason and the way back.
func (s *Service) off(ctx context.Context, clientID, code string) error {
	refusal := &Error{Code: code, Description: "The application is switched off", Reason: "application off"}
	if s.opts.Issuer != "" {
		refusal.URI = s.opts.Issuer + "/dev/apps/" + clientID
	}
	way, err := s.WayBack(ctx, clientID)
	switch {
	case err != nil:
		return err
	case !way.Off:
		return refusal // it was reactivated meanwhile
	}
	refusal.Explanation, refusal.Waste = s.explain(way), spent(way.By)
	refusal.Description = refusal.Explanation.sentence()
	return refusal
}

// spent is the budget for the sake of which an application was switched off: until it is
// reactivated nothing remains of it. There is none unless the policy did it.
func spent(by Ruling) []Waste {
	if by.Rule == "" {
		return nil
	}
	return []Waste{{Window: by.Rule.Window(), Quota: by.Allowed, Used: by.Used - 1, Stays: true}}
}

func (s *Service) explain(way Way) *Explanation {
	by := way.By
	e := &Explanation{Actor: by.Actor, At: by.At, Reason: by.Reason}
	if by.Actor == ByPolicy {
		e.Rule, e.Window, e.Used, e.Inherited, e.Allowed, e.First, e.Last = by.Rule, by.Rule.Window(), by.Used, by.Inherited, by.Allowed, by.First, by.At
		e.Advice = "Keep the access token and use it until the API answers 401; only then ask for a new one with the refresh token. "
	} else {
		e.Advice = "The owner sees the reason on the page of the application. "
	}
	if by.Lever == LeverDrain {
		e.Advice = "The access tokens that it has work until they expire. " + e.Advice
	}
	e.Advice += s.whoReactivates(way)
	return e
}

// whoReactivates says who may reactivate an application that is off.
func (s *Service) whoReactivates(way Way) string {
	var who string
	switch {
	case way.Left > 0:
		return "The owner can reactivate the application on its page."
	case way.By.Actor == ByOperator:
		who = "Only the operator of this service can reactivate it"
	default:
		who = fmt.Sprintf("The owner has reactivated %d times within %d days, so only the operator of this service can reactivate it now",
			OwnReactivations, OwnReactivationsWithin/(24*time.Hour))
	}
	if s.opts.OperatorContact != "" {
		return who + ", who is reached at " + s.opts.OperatorContact
	}
	return who + "."
}

// sentence is the explanation as an error_description.
func (e *Explanation) sentence() string {
	if e.Rule == "" {
		return "The application is switched off, since " + e.At.UTC().Format(time.RFC3339) + ". " + e.Advice
	}
	asked, inherited := "it", ""
	if e.Inherited > 0 {
		asked = "it and deleted applications of its owner"
		inherited = fmt.Sprintf("%d of these %s issued to applications that were deleted before this one was registered. ", e.Inherited, were(e.Inherited))
	}
	return fmt.Sprintf("The application is switched off: %s asked for %d wasteful access %s within one %s, from %s to %s, where %d %s allowed. %s"+
		"A token is wasteful while another one of the application and the person has more than 5 minutes left, even if the application has revoked it. %s",
		asked, e.Used, tokens(e.Used), e.Rule, e.First.UTC().Format(time.RFC3339), e.Last.UTC().Truncate(time.Second).Format(time.RFC3339), e.Allowed, are(e.Allowed), inherited, e.Advice)
}

// are, were and tokens agree with a number.

func are(n int) string { return one(n, "is", "are") }

func were(n int) string { return one(n, "was", "were") }

func tokens(n int) string { return one(n, "token", "tokens") }

func one(n int, singular, plural string) string {
	if n == 1 {
		return singular
	}
	return plural
}

// SwitchOff switches an application off, for good reason: 1 to 500 characters. Under
// one key, if it is not empty, that is done once. It reports whether anything changed:
// not if the application is off already, unless an operator asks, who then is the one
// to reactivate it, and asks for something that an operator has not done before. An application that is not in use is a *FieldError.
func (s *Service) SwitchOff(ctx context.Context, clientID string, by Actor, key, reason string) (bool, error) {
	i, err := s.intervention(clientID, by, key, reason)
	if err != nil {
		return false, err
	}
	if i.Reason == "" {
		return false, &FieldError{Field: "reason", Problem: "is empty"}
	}
	did, err := s.opts.Store.SwitchOff(ctx, i)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, &FieldError{Field: "client_id", Problem: "names no application that is in use", Err: err}
	case err != nil:
		return false, fmt.Errorf("switch client %s off: %w", clientID, err)
	}
	if did {
		s.opts.Observer.Switched(clientID, true, string(by))
	}
	return did, nil
}

// Reactivate lets an application that is off be used again. The reason may be empty;
// the key is as for SwitchOff. It reports whether this call did it. An application
// that is not there is a *FieldError.
func (s *Service) Reactivate(ctx context.Context, clientID string, by Actor, key, reason string) (bool, error) {
	i, err := s.intervention(clientID, by, key, reason)
	if err != nil {
		return false, err
	}
	return s.reactivate(ctx, i)
}

// ReactivateHeld is Reactivate by an operator who is signed in, at an address, of what is
// off by the ruling that they saw: anything else is a *FieldError of the client_id. It is
// in the record of the owner and in that of the operator.
func (s *Service) ReactivateHeld(ctx context.Context, operatorID int64, clientID string, ruling int64, reason string, from netip.Addr) error {
	i, err := s.intervention(clientID, ByOperator, "operator on ruling "+strconv.FormatInt(ruling, 10), reason)
	if err != nil {
		return err
	}
	i.OperatorID = operatorID
	if from.IsValid() {
		i.Address = from.String()
	}
	way, err := s.WayBack(ctx, clientID)
	if err != nil {
		return err
	}
	gone := &FieldError{Field: "client_id", Problem: "names no application that is off by this ruling"}
	if !way.Off || way.By.ID != ruling {
		return gone
	}
	did, err := s.reactivate(ctx, i)
	if err == nil && !did {
		return gone
	}
	return err
}

// Held is an application that only an operator can reactivate.
type Held struct {
	Client
	Owner User
	By    Ruling // by which it is off
}

// HeldMax bounds the applications that are listed at once.
const HeldMax = 20

// Held lists the applications that are off and that their owners may not reactivate: those
// switched off last first, by a Ruling with an ID below before (0: from the newest on).
// These are HeldMax at the most; more says that there are others after them.
func (s *Service) Held(ctx context.Context, before int64) (held []Held, more bool, err error) {
	rulings, err := s.opts.Store.OperatorOnly(ctx, OperatorOnlyQuery{
		OwnMax: OwnReactivations, After: s.now().Add(-OwnReactivationsWithin), Before: before, Limit: HeldMax + 1,
	})
	if err != nil {
		return nil, false, fmt.Errorf("list what only an operator may reactivate: %w", err)
	}
	for _, by := range rulings[:min(len(rulings), HeldMax)] {
		client, owner, err := s.Owner(ctx, by.ClientID)
		switch {
		case errors.Is(err, ErrNotFound): // it was deleted meanwhile
			continue
		case err != nil:
			return nil, false, err
		}
		held = append(held, Held{client, owner, by})
	}
	return held, len(rulings) > HeldMax, nil
}

// ReactivateOwn is Reactivate for an application of the owner; any other is
// ErrNotFound. After OwnReactivations within OwnReactivationsWithin, and if an operator
// has switched it off, it is a *FieldError with the cause ErrOperatorOnly. The record of
// changes tells the address from which it was asked.
func (s *Service) ReactivateOwn(ctx context.Context, ownerID int64, clientID, key string, from netip.Addr) (bool, error) {
	if _, err := s.Application(ctx, ownerID, clientID); err != nil {
		return false, err
	}
	i, err := s.intervention(clientID, ByOwner, key, "")
	if err != nil {
		return false, err
	}
	i.OwnMax, i.OwnWindow = OwnReactivations, OwnReactivationsWithin
	if from.IsValid() {
		i.Address = from.String()
	}
	return s.reactivate(ctx, i)
}

func (s *Service) reactivate(ctx context.Context, i Intervention) (bool, error) {
	did, err := s.opts.Store.Reactivate(ctx, i)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, &FieldError{Field: "client_id", Problem: "names no application", Err: err}
	case errors.Is(err, ErrOperatorOnly):
		return false, &FieldError{Field: "client_id", Problem: "names an application that only an operator may reactivate", Err: err}
	case err != nil:
		return false, fmt.Errorf("reactivate client %s: %w", i.ClientID, err)
	}
	if did {
		s.opts.Observer.Switched(i.ClientID, false, string(i.Actor))
	}
	return did, nil
}

func (s *Service) intervention(clientID string, by Actor, key, reason string) (Intervention, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case !isHex(clientID, clientIDDigits):
		return Intervention{}, &FieldError{Field: "client_id", Problem: "is malformed"}
	case !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > reasonMax || strings.ContainsFunc(reason, isForbidden):
		return Intervention{}, &FieldError{Field: "reason", Problem: "is not text of at most 500 characters, none of them invisible"}
	case !utf8.ValidString(key) || len(key) > keyMax || strings.ContainsFunc(key, unicode.IsControl):
		return Intervention{}, &FieldError{Field: "key", Problem: "is not text of at most 200 bytes"}
	}
	return Intervention{ClientID: clientID, Actor: by, Key: key, Reason: reason, Lever: s.opts.Lever, Now: s.now()}, nil
}

// Verdicts lists what was decided about an application, the newest first, those with
// an ID below before (0: from the newest on), 200 at the most.
func (s *Service) Verdicts(ctx context.Context, clientID string, before int64) ([]Ruling, error) {
	if !isHex(clientID, clientIDDigits) {
		return nil, &FieldError{Field: "client_id", Problem: "is malformed"}
	}
	rulings, err := s.opts.Store.Verdicts(ctx, clientID, before, rulingsMax)
	if err != nil {
		return nil, fmt.Errorf("list verdicts on client %s: %w", clientID, err)
	}
	return rulings, nil
}

// Check is a *FieldError, the Field of which is hour or day, unless the limits are such
// as can be in force: each from 0 to 1,000,000, and a day's, if there is one, not less
// than an hour's.
func (l Limits) Check() error {
	for _, limit := range []struct {
		field Rule
		n     int
	}{{RuleHour, l.Hour}, {RuleDay, l.Day}} {
		if limit.n < 0 || limit.n > limitMax {
			return &FieldError{Field: string(limit.field), Problem: fmt.Sprintf("is not within 0 and %d", limitMax)}
		}
	}
	if l.Day != 0 && l.Day < l.Hour {
		return &FieldError{Field: string(RuleDay), Problem: fmt.Sprintf("%d is less than the %d of an hour", l.Day, l.Hour)}
	}
	return nil
}

// SetLimits gives a personal application limits of its own, or, for nil, the ordinary
// ones. Those that Check refuses are its *FieldError, and so is an application that is
// none or not a personal one.
func (s *Service) SetLimits(ctx context.Context, clientID string, l *Limits) error {
	if l != nil {
		if err := l.Check(); err != nil {
			return err
		}
	}
	err := s.opts.Store.SetLimits(ctx, clientID, l)
	switch {
	case errors.Is(err, ErrNotFound):
		return &FieldError{Field: "client_id", Problem: "names no personal application", Err: err}
	case err != nil:
		return fmt.Errorf("set limits of client %s: %w", clientID, err)
	}
	return nil
}

// LimitsOf gives the limits in force for a personal application, and whether they are
// its own. An application that is not there is a *FieldError.
func (s *Service) LimitsOf(ctx context.Context, clientID string) (l Limits, own bool, err error) {
	found, err := s.opts.Store.LimitsOf(ctx, clientID)
	switch {
	case errors.Is(err, ErrNotFound):
		return Limits{}, false, &FieldError{Field: "client_id", Problem: "names no application", Err: err}
	case err != nil:
		return Limits{}, false, fmt.Errorf("find limits of client %s: %w", clientID, err)
	case found != nil:
		return *found, true, nil
	}
	return *s.opts.Limits, false, nil
}

// Issuance sums up what an application was issued in the time until now, for each
// step of it; see Ledger.IssuanceOf.
func (s *Service) Issuance(ctx context.Context, clientID string, last, step time.Duration) ([]Issuances, error) {
	all, err := s.opts.Store.IssuanceOf(ctx, clientID, s.now().Add(-last), step)
	if err != nil {
		return nil, fmt.Errorf("list issuance of client %s: %w", clientID, err)
	}
	return all, nil
}

// IssuanceMinutes lists what applications were issued in the time until now, for
// those that come after one by ID; see Ledger.IssuanceMinutes.
func (s *Service) IssuanceMinutes(ctx context.Context, last time.Duration, afterClient string, clients int) ([]IssuanceMinute, error) {
	all, err := s.opts.Store.IssuanceMinutes(ctx, s.now().Add(-last), afterClient, clients)
	if err != nil {
		return nil, fmt.Errorf("list issuance: %w", err)
	}
	return all, nil
}

// Standing gives the wasteful tokens that count against an application now.
func (s *Service) Standing(ctx context.Context, clientID string) (Counts, error) {
	st, err := s.standing(ctx, clientID, s.now())
	return st.Counts, err
}

func (s *Service) standing(ctx context.Context, clientID string, now time.Time) (Standing, error) {
	st, err := s.opts.Store.Standing(ctx, clientID, now)
	if err != nil {
		return Standing{}, fmt.Errorf("count wasteful tokens of client %s: %w", clientID, err)
	}
	return st, nil
}

// budgets are those of a client that asks for nothing new: nothing is judged.
func (s *Service) budgets(ctx context.Context, c Client) ([]Waste, error) {
	if c.Kind != Personal || !s.meter(c).On() {
		return nil, nil
	}
	limits, _, err := s.LimitsOf(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	now := s.now()
	st, err := s.standing(ctx, c.ID, now)
	if err != nil {
		return nil, err
	}
	return wasteOf(Tally{
		Hour: Budget{Quota: limits.Hour, Used: st.Hour, First: st.HourFirst}, Day: Budget{Quota: limits.Day, Used: st.Day, First: st.DayFirst},
	}, now), nil
}

// DisableUser disables the account with this email: its sessions, codes and tokens
// are refused, and so are its personal applications. EnableUser brings back what has
// not expired until then. An account that is not there is a *FieldError.
func (s *Service) DisableUser(ctx context.Context, email string) error {
	return s.setDisabled(ctx, email, true)
}

// EnableUser undoes DisableUser.
func (s *Service) EnableUser(ctx context.Context, email string) error {
	return s.setDisabled(ctx, email, false)
}

func (s *Service) setDisabled(ctx context.Context, email string, disabled bool) error {
	u, err := s.accountOf(ctx, email)
	if err != nil {
		return err
	}
	if err := s.opts.Store.SetDisabled(ctx, u.ID, disabled, s.now()); err != nil {
		return fmt.Errorf("disable or enable user %d: %w", u.ID, err)
	}
	return nil
}

func (s *Service) accountOf(ctx context.Context, email string) (User, error) {
	email, ok := NormalizeEmail(email)
	if !ok {
		return User{}, &FieldError{Field: "email", Problem: "is not an e-mail address"}
	}
	u, err := s.opts.Store.UserByEmail(ctx, email)
	switch {
	case errors.Is(err, ErrNotFound):
		return User{}, &FieldError{Field: "email", Problem: "has no account", Err: err}
	case err != nil:
		return User{}, fmt.Errorf("find user: %w", err)
	}
	return u, nil
}
