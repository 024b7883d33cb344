// Package oauth is the authorization server's domain: users, the applications
// they register (clients, in the words of RFC 6749), grants, and the tokens that
// are issued on them. It knows no HTTP and no SQL: oauthhttp speaks the wire form,
// oauthsqlite and oauthpgx keep the record.
package oauth

import (
	"errors"
	"fmt"
	"time"
)

// Errors of a Store. Every other error of a Store is its own trouble, and it is
// then unknown whether a write happened.
var (
	// ErrNotFound says that no such row exists.
	ErrNotFound = errors.New("not found")
	// ErrExists says that a unique name is taken. Nothing was written.
	ErrExists = errors.New("already exists")
	// ErrSpent says that a code was redeemed before.
	ErrSpent = errors.New("already spent")
	// ErrUnavailable says that the record gives no answer at present, or not in time.
	// Nothing is wrong with what was asked, which may succeed later.
	ErrUnavailable = errors.New("record gives no answer")
)

// User is a person with an account.
type User struct {
	ID           int64  // positive; given by the store
	Email        string // the sign-in name, in the form of NormalizeEmail; unique
	Name         string // how the person is called in records; never empty
	PasswordHash string // argon2id in PHC form; never a password
	CreatedAt    time.Time
	DisabledAt   time.Time // zero: the account may be used

	Operator         bool // may decide on the applications that people request
	AppPasswordsOnly bool // the password grant takes no PasswordHash, only app passwords
}

// Access is what a live access token stands for.
type Access struct {
	GrantID    int64
	ClientID   string
	ClientName string
	UserID     int64  // 0: the application itself, no person (client_credentials)
	UserName   string // empty without a person
	UserEmail  string // empty without a person
	Scope      Scope
	Sites      []int64 // where the scope holds; nil: at all of the person's sites
	ExpiresAt  time.Time
}

// Tokens is what a grant issues.
type Tokens struct {
	AccessToken  string // 64 lower-case hex digits
	RefreshToken string // 64 lower-case hex digits; empty for client_credentials
	ExpiresIn    time.Duration
	Scope        Scope
	Waste        []Waste // the application's budgets of wasteful tokens after this; none if it has none
}

// Error is a refusal that the client may see; RFC 6749 section 5.2 gives its JSON
// form. Any other error of this package means that the server failed.
type Error struct {
	Code        string        // wire value of RFC 6749 section 5.2 or RFC 6750 section 3.1
	Description string        // error_description: printable ASCII without quotes and backslashes, no user input
	Reason      string        // fixed phrase, fit for a metrics label
	RetryAfter  time.Duration // when a repeat may succeed; zero if the request itself is wrong
	ClientID    string        // of the application, once it has authenticated; empty before
	Err         error         // cause, for the log only; may be nil

	URI         string       // error_uri: the page that tells more; empty if there is none
	Explanation *Explanation // of an application that is switched off; else nil
	Waste       []Waste      // the application's budgets of wasteful tokens; once it is off, the one that it has overdrawn
}

// Explanation tells the owner of an application that is switched off why that is so,
// and what to do.
type Explanation struct {
	Actor  Actor
	At     time.Time     // since when it is off
	Rule   Rule          // of the policy; else empty
	Window time.Duration // of the Rule
	Used   int           // wasteful tokens in the Window, with the one that was refused
	// Inherited are those of Used that were issued to applications of the owner that were
	// deleted before this one was registered.
	Inherited int
	Allowed   int
	First     time.Time // minute of the first of them; zero without a Rule
	Last      time.Time // when the last one was asked for and refused
	Reason    string    // in the words of whoever switched it off; empty of the policy
	Advice    string    // what to do instead
}

// Error gives the code and the reason, and the cause where there is one.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Reason, e.Err)
	}
	return e.Code + ": " + e.Reason
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Codes of Error.
const (
	CodeInvalidRequest       = "invalid_request"
	CodeInvalidClient        = "invalid_client"
	CodeInvalidGrant         = "invalid_grant"
	CodeInvalidToken         = "invalid_token"
	CodeUnauthorizedClient   = "unauthorized_client"
	CodeUnsupportedGrantType = "unsupported_grant_type"
	CodeInvalidScope         = "invalid_scope"
	CodeAccessDenied         = "access_denied" // RFC 6749 section 4.1.2.1: the person said no
	// CodeSlowDown with a RetryAfter is answered with 429: this account and address have
	// failed too often, or the sender asks for too much. Without, it is that of RFC 8628
	// section 3.5.
	CodeSlowDown = "slow_down"
	// CodeUnavailable is answered with 503, or at the authorization endpoint told by a redirect
	// (RFC 6749 section 4.1.2.1): the password queue is full, or the record gives no answer.
	CodeUnavailable = "temporarily_unavailable"
)
