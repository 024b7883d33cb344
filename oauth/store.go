package oauth

import (
	"context"
	"fmt"
	"time"
)

// Store keeps users, clients, grants and tokens. Writes are durable when they
// return nil; one that returns an error left nothing behind, except where the
// error is the store's own. Times are UTC with a precision of one microsecond.
// All methods may be called concurrently; each ends soon after its context does; a deadline that has passed is ErrUnavailable.
type Store interface {
	Ledger
	Notices
	ConnectionEvents
	AccountStore

	// AddUser inserts u and returns its ID. A taken Email is ErrExists.
	AddUser(ctx context.Context, u User) (int64, error)
	// UserByEmail finds the user with this normalized name, or ErrNotFound.
	UserByEmail(ctx context.Context, email string) (User, error)
	// User finds a user by ID, or ErrNotFound.
	User(ctx context.Context, id int64) (User, error)
	// Users lists users by ID, those above after, limit at the most.
	Users(ctx context.Context, after int64, limit int) ([]User, error)

	// AddClient inserts c with its secrets, whose IDs are the store's to give. A taken
	// ID is ErrExists; an unknown owner is ErrNotFound. The changes are written with it.
	AddClient(ctx context.Context, c Client, changes ...Change) error
	// AddClientWithin is AddClient, unless the owner has as many clients as there is room
	// for: then it is ErrTooMany of those that are alike, and otherwise a *TooSoonError. Of
	// any number of concurrent calls no more succeed than that.
	AddClientWithin(ctx context.Context, c Client, room Room, changes ...Change) error
	// AddSecret adds a secret to a client that has fewer than SecretsMax; otherwise it
	// is ErrExists. An unknown, a public or a Deleted client is ErrNotFound.
	AddSecret(ctx context.Context, clientID string, s Secret, changes ...Change) error
	// RemoveSecret ends a secret of the client, or is ErrNotFound.
	RemoveSecret(ctx context.Context, clientID string, secretID int64, changes ...Change) error
	// TouchSecret notes when a secret was used. One that has ended is no error.
	TouchSecret(ctx context.Context, secretID int64, now time.Time) error
	// Client finds a client by its client_id, Deleted or not, or ErrNotFound.
	Client(ctx context.Context, id string) (Client, error)
	// Clients lists clients that are not Deleted by ID, those above after, limit at the
	// most.
	Clients(ctx context.Context, after string, limit int) ([]Client, error)
	// ClientsOf lists the clients of an owner that are not Deleted by ID, limit at the
	// most.
	ClientsOf(ctx context.Context, ownerID int64, limit int) ([]Client, error)

	// UpdateClient changes a client that has still the status and edition of u.Client,
	// and replaces what waits for an operator; the edition grows by one. Otherwise it is
	// ErrNotFound. Logos that neither the client nor what waits has are deleted, and so
	// are the secrets of one that is public now.
	UpdateClient(ctx context.Context, u ClientUpdate) error
	// HeldEdit finds the change of a client that waits for an operator, or ErrNotFound.
	HeldEdit(ctx context.Context, clientID string) (HeldEdit, error)
	// HeldEdits lists the changes that wait for an operator by client_id, those above
	// after, limit at the most.
	HeldEdits(ctx context.Context, after string, limit int) ([]HeldEdit, error)
	// Review takes an operator's decision on the edition of a client that is Pending, which
	// is Active then, or Rejected with the reason as its Rejection; or on a change that
	// waits, which if approved is applied to the client, whose edition grows by
	// one in any case, so that an edit of what was read before is refused. Of what is not there in this
	// edition it is ErrNotFound.
	Review(ctx context.Context, v Review) error
	// DeleteClient makes a client Deleted, of now: its secrets, codes, device codes, logos and
	// what waits for an operator are gone, its grants are revoked, and its tokens are dead
	// whenever they were issued. One that is not there, or Deleted, is ErrNotFound.
	DeleteClient(ctx context.Context, clientID string, now time.Time, change Change) error
	// Logo finds a picture of a client, a PNG, by its hash, or ErrNotFound.
	Logo(ctx context.Context, clientID string, hash Hash) ([]byte, error)

	// AddDeviceCode inserts a device code. One or a user code that is taken is ErrExists;
	// it is ErrTooMany if the client has limit codes that wait for an answer (ExpiresAt
	// after c.Now). Of any number of concurrent calls no more succeed than that.
	AddDeviceCode(ctx context.Context, c DeviceCode, limit int) error
	// DeviceClient finds the client_id of a user code that waits for an answer: not
	// expired (ExpiresAt after now) and not answered. Otherwise it is ErrNotFound.
	DeviceClient(ctx context.Context, userCode Hash, now time.Time) (clientID string, err error)
	// AnswerDevice answers a user code that waits for an answer and belongs to a client of
	// a.UserID. Otherwise it is ErrNotFound.
	AnswerDevice(ctx context.Context, a DeviceAnswer) error
	// PollDevice redeems a device code of the client, in one transaction, so that of any
	// number of concurrent calls with one code one gets what it gives. Its result says
	// what became of it:
	//
	//   - DeviceGranted: it was approved. A grant stands now with its first pair, and the
	//     code is gone.
	//   - DeviceDenied: the person said no.
	//   - DeviceExpired: its ExpiresAt is not after now.
	//   - DeviceTooFast: nobody has answered, and the last poll was less than the
	//     interval, less p.Slack, before. The interval has grown by p.Grow.
	//   - DevicePending: nobody has answered.
	//   - DeviceWithheld: it was approved, and is unredeemed still. Result.Tally says why.
	//
	// What it issues is counted and judged as by Issue.
	// A code that is unknown, of another client or redeemed is ErrNotFound.
	PollDevice(ctx context.Context, p DevicePoll) (DeviceState, error)
	// IssueImplicit is Issue for a person's consent on the page of that ticket, without a
	// refresh token. A ticket that a code or another such issuance has is ErrExists. If
	// nothing is issued, the ticket can be used still.
	IssueImplicit(ctx context.Context, ticket Hash, i Issuance, changes ...Change) (NewGrant, error)

	// Issue inserts a grant with its first pair of tokens, in one transaction, which
	// also counts and judges them as i.Meter says. Unless the Tally's Outcome is Issued
	// there is no grant. An unknown client or user is ErrNotFound, and so is a Proof that
	// does not hold any more: of a change of password that runs beside it, it is either
	// before all or after all.
	Issue(ctx context.Context, i Issuance) (NewGrant, error)
	// AddCode inserts an authorization code. A Ticket that an earlier code has is
	// ErrExists.
	AddCode(ctx context.Context, c Code, changes ...Change) error
	// Redeem spends a code and inserts a grant with its first pair, in one transaction,
	// so that of any number of concurrent calls with one code one succeeds. A code that
	// is unknown, expired (ExpiresAt not after r.Now) and unspent, of another client, made for another
	// redirect URI (unless r.RedirectURI is empty and the code has a challenge) or another
	// challenge is ErrNotFound and changes nothing. A code of this client that was spent
	// before is ErrSpent, and the grant that it gave is revoked now (RFC 6749 section 4.1.2).
	// What it issues is counted and judged as by Issue; unless the Tally's Outcome is Issued, the
	// code is unspent, and only the Tally is set.
	Redeem(ctx context.Context, r Redemption) (Redeemed, error)
	// Rotate spends a refresh token, in one transaction, so that of any number of
	// concurrent calls with one token one rotates it and the rest see what that one
	// left. Its result says which:
	//
	//   - Rotate: the token was unspent; r's successor pair stands now and its
	//     grant goes on.
	//   - Replay: it was spent less than r.Grace before r.Now and the successor's
	//     refresh token is unspent. Result.Nonce is the nonce of the call that spent
	//     it, and Result.ExpiresAt the end of the successor's access token. Nothing changed.
	//   - Reuse: it was spent longer ago, or its successor has been spent. The grant
	//     is revoked now: every token of it is dead.
	//   - Withheld: it is unspent, and stays so. Result.Tally says why.
	//
	// What it issues is counted and judged as by Issue; a Replay and a Reuse issue nothing.
	//
	// A token that is unknown, expired (ExpiresAt not after r.Now), of a revoked grant or
	// a disabled person, or of another client than r.ClientID is ErrNotFound and changes nothing.
	Rotate(ctx context.Context, r Rotation) (Rotated, error)
	// Token finds what is known of a live token of either use: not expired, of no
	// revoked grant, no Deleted client and no disabled person, and unspent if it is a
	// refresh token. Otherwise it is ErrNotFound.
	Token(ctx context.Context, token Hash, now time.Time) (Token, error)
	// Revoke ends a token of the client: an access token alone, with a refresh token the whole
	// grant. A token that is not there, not live or another client's changes nothing
	// and is no error.
	Revoke(ctx context.Context, clientID string, token Hash, now time.Time) error
	// Access finds what a live access token stands for. An unknown one, one whose
	// ExpiresAt is not after now, one of a revoked grant, of a disabled person, or of an
	// application that is neither Active nor Off is ErrNotFound. Of one that is Off it is
	// ErrOff, with the ClientID, unless the Lever was LeverDrain. Of its scope counts what
	// the client is registered for.
	Access(ctx context.Context, token Hash, now time.Time) (Access, error)

	// Grants lists the live grants of a user: not revoked, with a token that has not
	// expired. Those to one client with the same scope and the same sites are one
	// entry; that to which one was given last comes first; limit at the most.
	Grants(ctx context.Context, userID int64, now time.Time, limit int) ([]Grant, error)
	// Disconnect revokes the live grants of a user to a client, now, and ends the codes
	// and the approved device codes that were not spent. It returns how many grants and
	// codes that were.
	Disconnect(ctx context.Context, userID int64, clientID string, now time.Time, changes ...Change) (int, error)

	// AddSession inserts a session, which nobody has used yet. An unknown user is
	// ErrNotFound, and so is a Proof that does not hold any more, as of Issue.
	AddSession(ctx context.Context, s Session, changes ...Change) error
	// Session finds the user of a live session: one whose ExpiresAt is after now, and
	// whose user is not disabled. Otherwise it is ErrNotFound.
	Session(ctx context.Context, session Hash, now time.Time) (User, error)
	// EndSession deletes a session. One that is not there is no error.
	EndSession(ctx context.Context, session Hash) error

	// Note adds an entry to the record of changes. An unknown user is ErrNotFound.
	// Methods that take Changes of their own add them in their transaction, if they
	// changed anything; one without an Action is not noted.
	Note(ctx context.Context, c Change) error
	// Changes lists the entries of a user's record, the newest first, those with an ID
	// below before (0: all), limit at the most.
	Changes(ctx context.Context, userID, before int64, limit int) ([]Change, error)

	FactorStore

	// Failures counts the failed sign-ins of key since then (exclusive), and gives the
	// time of the oldest of them (zero if there are none).
	Failures(ctx context.Context, key Hash, since time.Time) (Failures, error)
	// AddFailure records a failed sign-in of key at now, then counts as Failures does.
	AddFailure(ctx context.Context, key Hash, now, since time.Time) (Failures, error)

	// Purge deletes what no answer depends on any more: codes, device codes and sessions that expired
	// before then, access tokens that expired before then, refresh tokens that expired before then, grants left without
	// tokens, failures before then, what was spent and expired before then. It deletes limit rows of each at the most, and
	// returns how many it deleted in all.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
}

// Room is how many clients an owner may have, and register.
type Room struct {
	Alike int // of the new one's kind and status; 0: no bound
	// Recent are those of any kind and status, Deleted ones too, whose CreatedAt is later
	// than Within before the new one's; 0: no bound.
	Recent int
	Within time.Duration
}

// TooSoonError says that an owner has registered as many clients of late as there is
// Room for. It is an error of a Store; nothing was written.
type TooSoonError struct {
	Recent int       // that were registered
	Next   time.Time // when there is room for another one
}

// Error tells both.
func (e *TooSoonError) Error() string {
	return fmt.Sprintf("%d were registered of late, the next may follow at %s", e.Recent, e.Next.Format(time.RFC3339))
}

// Minute is the first full one from Next on, in UTC.
func (e *TooSoonError) Minute() time.Time {
	return e.Next.UTC().Add(time.Minute - time.Nanosecond).Truncate(time.Minute)
}

// Issuance is a new grant and its first pair.
type Issuance struct {
	ClientID         string
	UserID           int64  // 0: nobody's, the application's own
	GrantType        string // grant_type that began it
	Scope            Scope
	Sites            []int64 // nil: all
	Access           Hash
	Refresh          Hash // zero: none is issued, and RefreshExpiresAt does not count
	Now              time.Time
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
	Meter            Meter
	Proof            Proof // of Issue
}

// NewGrant is the result of Store.Issue.
type NewGrant struct {
	ID    int64 // 0 unless the Tally's Outcome is Issued
	Tally Tally
}

// Rotation asks to spend the refresh token Old.
type Rotation struct {
	ClientID         string
	Old              Hash
	Nonce            Nonce // makes the successor pair, together with the old token itself
	Access           Hash  // of the successor pair
	Refresh          Hash
	Scope            Scope // of the new access token, within the grant's; nil: the grant's own
	Now              time.Time
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
	Grace            time.Duration
	Meter            Meter
}

// RotationOutcome is what Store.Rotate found; see there.
type RotationOutcome int

// Outcomes of Store.Rotate.
const (
	Rotate RotationOutcome = iota + 1
	Replay
	Reuse
	Withheld
)

// Rotated is the result of Store.Rotate. Nonce, ExpiresAt and Scope, which is that of
// the successor's access token, are set for Rotate (as given) and Replay (as stored).
type Rotated struct {
	Outcome   RotationOutcome
	GrantID   int64
	UserID    int64
	Nonce     Nonce
	ExpiresAt time.Time
	Scope     Scope
	Tally     Tally // of Rotate and Withheld
}

// Code is a new authorization code.
type Code struct {
	Hash        Hash
	Ticket      Hash // of the page on which the person consented
	ClientID    string
	UserID      int64
	RedirectURI string
	Challenge   string // S256 of the verifier (RFC 7636 section 4.2); empty without PKCE
	Scope       Scope
	Sites       []int64
	Now         time.Time
	ExpiresAt   time.Time
}

// Redemption asks to spend a code.
type Redemption struct {
	Code             Hash
	ClientID         string
	RedirectURI      string
	Challenge        string // of the verifier that was presented; empty without one
	Access           Hash
	Refresh          Hash
	Now              time.Time
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
	Meter            Meter
}

// Redeemed is what a code gave.
type Redeemed struct {
	GrantID int64
	UserID  int64
	Scope   Scope
	Sites   []int64
	Tally   Tally
}

// Use says what a token is for.
type Use string

// Uses of a Token.
const (
	UseAccess  Use = "access_token"
	UseRefresh Use = "refresh_token"
)

// Token is what is known of a live token.
type Token struct {
	Use       Use
	GrantID   int64
	ClientID  string
	UserID    int64  // 0: nobody's
	UserEmail string // empty: nobody's
	Scope     Scope  // of an access token its own, of a refresh token the grant's, as far as the client is registered for it
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Session is a browser in which somebody is signed in.
type Session struct {
	Hash      Hash // of the cookie's value
	UserID    int64
	CreatedAt time.Time
	ExpiresAt time.Time
	SessionUse
	Proof Proof // of AddSession; not kept
}

// Failures is a count of failed sign-ins in a window.
type Failures struct {
	Count  int
	Oldest time.Time
}
