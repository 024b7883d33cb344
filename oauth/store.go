package oauth

import (
	"context"
	"time"
)

// Store keeps users, clients, grants and tokens. Writes are durable when they
// return nil; one that returns an error left nothing behind, except where the
// error is the store's own. Times are UTC with a precision of one microsecond.
// All methods may be called concurrently; each ends soon after its context does.
type Store interface {
	// AddUser inserts u and returns its ID. A taken Email is ErrExists.
	AddUser(ctx context.Context, u User) (int64, error)
	// UserByEmail finds the user with this normalized name, or ErrNotFound.
	UserByEmail(ctx context.Context, email string) (User, error)
	// Users lists users by ID, those above after, limit at the most.
	Users(ctx context.Context, after int64, limit int) ([]User, error)

	// AddClient inserts c. A taken ID is ErrExists; an unknown owner is ErrNotFound.
	AddClient(ctx context.Context, c Client) error
	// Client finds a client by its client_id, or ErrNotFound.
	Client(ctx context.Context, id string) (Client, error)
	// Clients lists clients by ID, those above after, limit at the most.
	Clients(ctx context.Context, after string, limit int) ([]Client, error)

	// Issue inserts a grant with its first pair of tokens, in one transaction, and
	// returns the grant's ID.
	Issue(ctx context.Context, i Issuance) (int64, error)
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
	//
	// A token that is unknown, expired (ExpiresAt not after r.Now), of a revoked grant,
	// or of another client than r.ClientID is ErrNotFound and changes nothing.
	Rotate(ctx context.Context, r Rotation) (Rotated, error)
	// Access finds what a live access token stands for. An unknown one, one whose
	// ExpiresAt is not after now, and one of a revoked grant is ErrNotFound.
	Access(ctx context.Context, token Hash, now time.Time) (Access, error)

	// Failures counts the failed sign-ins of key since then (exclusive), and gives the
	// time of the oldest of them (zero if there are none).
	Failures(ctx context.Context, key Hash, since time.Time) (Failures, error)
	// AddFailure records a failed sign-in of key at now, then counts as Failures does.
	AddFailure(ctx context.Context, key Hash, now, since time.Time) (Failures, error)

	// Purge deletes what no answer depends on any more: access tokens that expired
	// before then, refresh tokens that expired before then, grants left without
	// tokens, failures before then. It deletes limit rows of each at the most, and
	// returns how many it deleted in all.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
}

// Issuance is a new grant and its first pair.
type Issuance struct {
	ClientID         string
	UserID           int64
	GrantType        string // grant_type that began it
	Access           Hash
	Refresh          Hash
	Now              time.Time
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
}

// Rotation asks to spend the refresh token Old.
type Rotation struct {
	ClientID         string
	Old              Hash
	Nonce            Nonce // makes the successor pair, together with the old token itself
	Access           Hash  // of the successor pair
	Refresh          Hash
	Now              time.Time
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
	Grace            time.Duration
}

// RotationOutcome is what Store.Rotate found; see there.
type RotationOutcome int

// Outcomes of Store.Rotate.
const (
	Rotate RotationOutcome = iota + 1
	Replay
	Reuse
)

// Rotated is the result of Store.Rotate. Nonce and ExpiresAt are set for Rotate
// (as given) and Replay (as stored).
type Rotated struct {
	Outcome   RotationOutcome
	GrantID   int64
	UserID    int64
	Nonce     Nonce
	ExpiresAt time.Time
}

// Failures is a count of failed sign-ins in a window.
type Failures struct {
	Count  int
	Oldest time.Time
}
