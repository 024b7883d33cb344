package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
)

// Defaults of Options.
const (
	DefaultAccessLifetime  = time.Hour
	DefaultRefreshLifetime = 365 * 24 * time.Hour
	DefaultGrace           = time.Minute
	DefaultFailureLimit    = 10
	DefaultFailureWindow   = 15 * time.Minute
	DefaultRetention       = 24 * time.Hour
	DefaultRegistrations   = 20
)

// Observer is told what happened, after it did. It never decides. Its methods are
// called from many goroutines and must not block.
type Observer interface {
	// TokenIssued tells of a new pair of tokens, and whether it was wasteful. A repeated
	// refresh that gets the pair it already had issues nothing.
	TokenIssued(clientID, grant string, wasteful bool)
	// Judged tells of a verdict of the policy other than VerdictFine, when it is new in
	// its episode, and of the Rule that it rests on.
	Judged(clientID, verdict, rule string)
	// Switched tells of an application that was switched off, or on again, and of the
	// Actor who did it.
	Switched(clientID string, off bool, by string)
	// Deleted tells of an application that was deleted: its client_id never comes again.
	Deleted(clientID string)
	// ConnectionsChanged tells that a ConnectionEvent of an application may wait to be
	// told; empty: of any.
	ConnectionsChanged(clientID string)
	// Refused tells of a refusal by its Error.Reason.
	Refused(reason string)
}

// Options configures a Service. Store and Passwords are required; the zero value of
// every other field stands for its default.
type Options struct {
	Store     Store
	Passwords *Passwords
	Observer  Observer         // nil: nobody is told
	Now       func() time.Time // the clock; nil: time.Now

	// Admit limits the requests of each application. Nil: all are admitted.
	Admit Admit

	// Issuer is the address of the server, without a slash at its end: the issuer of RFC
	// 8414 section 2, and iss of RFC 9207.
	Issuer string
	// OperatorContact is where people write to the operator: an e-mail address or a URL, of
	// the characters of Error.Description; empty: nobody is told.
	OperatorContact string
	// Scopes are the names that a commercial application may register for.
	Scopes []string
	// SealKey encrypts what has to be read back, such as the secrets of authenticator
	// apps: SealKeySize random bytes, the same in all processes of a store. Nil: one that
	// is drawn, so that nothing can be read back by another process or a later one.
	SealKey []byte

	AccessLifetime  time.Duration // of an access token; longer than Grace
	RefreshLifetime time.Duration // of a refresh token; each rotation starts it anew
	Grace           time.Duration // in which a spent refresh token still gets its successor

	Mode   Mode    // what is done about wasteful tokens; empty: ModeEnforce
	Limits *Limits // of a personal application that has none of its own; nil: DefaultLimits
	Lever  Lever   // how the policy switches an application off; empty: LeverOff

	// Registrations are the applications, personal and commercial ones together, that a
	// person may register within RegistrationsWithin, deleted ones counted; negative: any
	// number.
	Registrations int

	FailureLimit  int           // failed sign-ins of one account from one address, through one client, after which they wait
	FailureWindow time.Duration // in which they count

	Retention time.Duration // for which Sweep keeps what has expired; not shorter than FailureWindow
}

// Service is the authorization server. All methods may be called concurrently.
// A refusal that the caller may see is an *Error (or, from the administration, a
// *FieldError); any other error means that the server failed.
type Service struct {
	opts     Options // complete
	seal     sealer
	webauthn *webauthn.WebAuthn // nil: passkeys cannot be used
	uses     *uses
}

// New returns a Service, or an error that names the option that is wrong.
func New(o Options) (*Service, error) {
	orDefault(&o.AccessLifetime, DefaultAccessLifetime)
	orDefault(&o.RefreshLifetime, DefaultRefreshLifetime)
	orDefault(&o.Grace, DefaultGrace)
	orDefault(&o.Mode, ModeEnforce)
	orDefault(&o.Lever, LeverOff)
	if o.Limits == nil {
		o.Limits = new(DefaultLimits())
	}
	orDefault(&o.FailureLimit, DefaultFailureLimit)
	orDefault(&o.FailureWindow, DefaultFailureWindow)
	orDefault(&o.Retention, DefaultRetention)
	orDefault(&o.Registrations, DefaultRegistrations)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.SealKey == nil {
		o.SealKey = make([]byte, SealKeySize)
		rand.Read(o.SealKey)
	}
	if o.Admit == nil {
		o.Admit = admitAll
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("configure the authorization server: %w", err)
	}
	return &Service{opts: o, seal: sealer{o.SealKey}, webauthn: relyingParty(o.Issuer), uses: newUses()}, nil
}

func orDefault[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}

func (o *Options) check() error {
	switch {
	case o.Store == nil:
		return errors.New("option Store is missing")
	case o.Passwords == nil:
		return errors.New("option Passwords is missing")
	case strings.HasSuffix(o.Issuer, "/"):
		return errors.New("option Issuer ends in a slash")
	case len(o.SealKey) != SealKeySize:
		return fmt.Errorf("option SealKey has not %d bytes", SealKeySize)
	case o.Grace < 0:
		return errors.New("option Grace is negative")
	case o.AccessLifetime <= o.Grace:
		// A repeat within the grace is answered with a live access token only so.
		return errors.New("option AccessLifetime is not longer than Grace")
	case o.RefreshLifetime < o.AccessLifetime:
		return errors.New("option RefreshLifetime is shorter than AccessLifetime")
	case !slices.Contains([]Mode{ModeEnforce, ModeShadow, ModeOff}, o.Mode):
		return errors.New("option Mode is none of enforce, shadow, off")
	case !slices.Contains([]Lever{LeverOff, LeverDrain}, o.Lever):
		return errors.New("option Lever is none of off, drain")
	case o.Limits.Check() != nil:
		return fmt.Errorf("option Limits: %w", o.Limits.Check())
	case o.FailureLimit < 0:
		return errors.New("option FailureLimit is negative")
	case o.FailureWindow < time.Second:
		return errors.New("option FailureWindow is shorter than a second")
	case o.Retention < o.FailureWindow:
		return errors.New("option Retention is shorter than FailureWindow")
	}
	return nil
}

// Issuer is that of the Options.
func (s *Service) Issuer() string { return s.opts.Issuer }

// Scopes are those of the Options.
func (s *Service) Scopes() []string { return slices.Clone(s.opts.Scopes) }

// nobody is the Observer of a Service that has none.
type nobody struct{}

func (nobody) TokenIssued(string, string, bool) {}
func (nobody) Judged(string, string, string)    {}
func (nobody) Switched(string, bool, string)    {}
func (nobody) Deleted(string)                   {}
func (nobody) ConnectionsChanged(string)        {}
func (nobody) Refused(string)                   {}

// now is the time as a Store keeps it.
func (s *Service) now() time.Time { return s.opts.Now().UTC().Truncate(time.Microsecond) }

// refuse passes err on. If it is a refusal, it is marked with the client, and the
// observer is told.
func (s *Service) refuse(clientID string, err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		refusal.ClientID = clientID
		s.opts.Observer.Refused(refusal.Reason)
	}
	return err
}

// Authenticate finds what an access token stands for. One that is malformed,
// unknown, expired or revoked is an *Error with CodeInvalidToken; so is one whose
// application is switched off, with an Explanation.
func (s *Service) Authenticate(ctx context.Context, accessToken string) (Access, error) {
	if !isHex(accessToken, secretDigits) {
		return Access{}, s.refuse("", invalidToken("access token malformed"))
	}
	access, err := s.opts.Store.Access(ctx, HashOf(accessToken), s.now())
	switch {
	case errors.Is(err, ErrNotFound):
		return Access{}, s.refuse("", invalidToken("access token not live"))
	case errors.Is(err, ErrOff):
		return Access{}, s.refuse(access.ClientID, s.off(ctx, access.ClientID, CodeInvalidToken))
	case err != nil:
		return Access{}, fmt.Errorf("find access token: %w", err)
	}
	s.uses.noteGrant(access.GrantID, s.now())
	return access, nil
}

// The wording is part of the contract: clients compare it.
func invalidToken(reason string) *Error {
	return &Error{Code: CodeInvalidToken, Description: "The access token provided is invalid", Reason: reason}
}

// A sweep deletes at most sweepPasses times sweepRows rows of each table.
const (
	sweepRows   = 1_000
	sweepPasses = 100
)

// Sweep deletes what expired longer ago than Options.Retention, and what the ledger
// need not keep, in short transactions, and returns how many rows it deleted. It is bounded: what it leaves,
// the next one takes. An error ends it; what was deleted until then is counted.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	before := s.now().Add(-s.opts.Retention)
	purged, err := sweepAll(func() (int, error) { return s.opts.Store.Purge(ctx, before, sweepRows) })
	if err != nil {
		return purged, fmt.Errorf("purge what expired before %s: %w", before.Format(time.RFC3339), err)
	}
	minutes, hours := s.now().Add(-KeepMinutes), s.now().Add(-KeepHours)
	condensed, err := sweepAll(func() (int, error) { return s.opts.Store.Condense(ctx, minutes, hours, sweepRows) })
	if err != nil {
		return purged + condensed, fmt.Errorf("condense the issuance before %s: %w", minutes.Format(time.RFC3339), err)
	}
	changes, err := s.sweepChanges(ctx)
	return purged + condensed + changes, err
}

// sweepAll sweeps until no table has more, sweepPasses times at the most.
func sweepAll(sweep func() (int, error)) (total int, err error) {
	for range sweepPasses {
		n, err := sweep()
		total += n
		if err != nil || n < sweepRows {
			return total, err
		}
	}
	return total, nil
}
