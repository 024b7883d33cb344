package oauth

import (
	"context"
	"time"
)

// FactorStore is the part of a Store that keeps people's second factors. Where a
// method takes recovery codes, those are what the user has from then on if none is
// left of earlier ones, and the result fresh says so. A Change is noted in the same
// transaction. Who has lost the last factor has no recovery codes either.
type FactorStore interface {
	// Factors finds what a user has; of one who has none, or is not there, the zero
	// Factors.
	Factors(ctx context.Context, userID int64) (Factors, error)
	// AddTOTP adds an authenticator app. A user who has one already is ErrExists, an
	// unknown user ErrNotFound.
	AddTOTP(ctx context.Context, t TOTP, codes []Hash, c Change) (fresh bool, err error)
	// AddPasskey adds a passkey and marks the ceremony as spent, unless it is: then it is
	// ErrSpent. A taken CredentialID is ErrExists, a user who has limit passkeys
	// ErrTooMany, an unknown user ErrNotFound.
	AddPasskey(ctx context.Context, p Passkey, limit int, ceremony Spent, codes []Hash, c Change) (fresh bool, err error)
	// RemoveTOTP ends the user's authenticator app, or is ErrNotFound.
	RemoveTOTP(ctx context.Context, userID int64, c Change) error
	// RemovePasskey ends a passkey of the user, or is ErrNotFound.
	RemovePasskey(ctx context.Context, userID, passkeyID int64, c Change) error
	// RemoveFactors ends all factors of a user and returns how many there were,
	// recovery codes not counted. Without any nothing is noted.
	RemoveFactors(ctx context.Context, userID int64, c Change) (int, error)
	// SetRecoveryCodes replaces the recovery codes of a user who has a factor. Without
	// one it is ErrNotFound.
	SetRecoveryCodes(ctx context.Context, userID int64, codes []Hash, c Change) error
	// Passkey finds a passkey by its CredentialID, or ErrNotFound.
	Passkey(ctx context.Context, credentialID []byte) (Passkey, error)

	// AddTry records a failed sign-in of key at now, as AddFailure does, unless limit are
	// recorded since then (exclusive): then it is ErrTooMany and f tells of them. Of any
	// number of concurrent calls no more succeed than that. UseTOTP takes a try back.
	AddTry(ctx context.Context, key Hash, now, since time.Time, limit int) (tryID int64, f Failures, err error)
	// UseTOTP spends a time step and the sign-in that it completes, and takes the try
	// back. It is ErrSpent if that step or a later one was used, or the sign-in was
	// completed, and ErrNotFound without an authenticator app; then nothing has changed.
	UseTOTP(ctx context.Context, userID, step, tryID int64, signIn Spent, now time.Time) error
	// UsePasskey notes a use of p and spends the sign-in that it completes. p's SignCount
	// and Flags become the stored ones. It is ErrSpent if the sign-in was completed, or if
	// the stored SignCount is not below p's (both being 0 is no count), and ErrNotFound if
	// the passkey is gone; then nothing has changed.
	UsePasskey(ctx context.Context, p Passkey, signIn Spent, now time.Time) error
	// UseRecoveryCode spends a recovery code of the user and the sign-in that it
	// completes, and returns how many codes are left. It is ErrSpent if the sign-in was
	// completed, and ErrNotFound if there is no such code; then nothing has changed.
	UseRecoveryCode(ctx context.Context, userID int64, code Hash, signIn Spent, c Change) (left int, err error)
}

// Factors are the second factors of a person.
type Factors struct {
	TOTP          *TOTP     // nil: none
	Passkeys      []Passkey // by ID
	RecoveryCodes int       // that are left
}

// Any tells whether there is a second factor. Recovery codes alone are none.
func (f Factors) Any() bool { return f.TOTP != nil || len(f.Passkeys) > 0 }

// TOTP is an authenticator app (RFC 6238).
type TOTP struct {
	UserID     int64
	Sealed     []byte // the secret; only the process can open it
	LastStep   int64  // latest time step whose code was used
	CreatedAt  time.Time
	LastUsedAt time.Time // zero: never
}

// Passkey is a public key credential (W3C Web Authentication, Level 3, section 4).
type Passkey struct {
	ID           int64 // positive; given by the store
	UserID       int64
	CredentialID []byte // unique
	PublicKey    []byte // COSE
	Name         string // that its owner gave it
	SignCount    uint32
	Flags        byte // of the authenticator data, as last seen
	Transports   []string
	CreatedAt    time.Time
	LastUsedAt   time.Time // zero: never
}

// Spent marks something that holds once as used. It is kept until it expires.
type Spent struct {
	Hash      Hash
	ExpiresAt time.Time
}
