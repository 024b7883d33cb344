package oauth

import (
	"context"
	"time"
)

// AccountStore is the part of a Store that is about people's accounts.
type AccountStore interface {
	// ChangePassword gives a user a new password hash, ends all sessions of the user and
	// begins p.Session, in one transaction. With p.EndTokens it also revokes the grants
	// of the user, ends the codes and the approved device codes that were not spent, and
	// removes the app passwords of the user's applications. If there is no such user, or
	// the hash is not p.Old, it is ErrNotFound: of any number of concurrent calls with one
	// Old one succeeds.
	ChangePassword(ctx context.Context, p PasswordChange, changes ...Change) error
	// SetOperator says whether a user is an operator, or is ErrNotFound.
	SetOperator(ctx context.Context, userID int64, operator bool, changes ...Change) error
	// SetAppPasswordsOnly says whether the password grant takes app passwords only for
	// a user, or is ErrNotFound.
	SetAppPasswordsOnly(ctx context.Context, userID int64, only bool, changes ...Change) error

	// Sessions lists the live sessions of a user, that which began last first; limit at
	// the most.
	Sessions(ctx context.Context, userID int64, now time.Time, limit int) ([]Session, error)
	// EndSessionOf deletes a session of the user, or is ErrNotFound.
	EndSessionOf(ctx context.Context, userID int64, session Hash, changes ...Change) error
	// EndOtherSessions deletes the sessions of a user but that one, and returns how many
	// it deleted.
	EndOtherSessions(ctx context.Context, userID int64, keep Hash, changes ...Change) (int, error)

	// AddAppPassword adds an app password to a Personal client that has fewer than limit.
	// If it has as many it is ErrTooMany, and if it has one of that Name, or there is
	// that Hash, ErrExists. Any other client is ErrNotFound. The ID is the store's to give.
	AddAppPassword(ctx context.Context, p AppPassword, limit int, changes ...Change) error
	// AppPasswords lists those of a client, the newest first; limit at the most.
	AppPasswords(ctx context.Context, clientID string, limit int) ([]AppPassword, error)
	// AppPassword finds the one of the client with this hash, or ErrNotFound.
	AppPassword(ctx context.Context, clientID string, hash Hash) (AppPassword, error)
	// TouchAppPassword notes when an app password was used. One that has ended is no
	// error.
	TouchAppPassword(ctx context.Context, id int64, now time.Time) error
	// RemoveAppPassword ends an app password of the client, or is ErrNotFound.
	RemoveAppPassword(ctx context.Context, clientID string, id int64, changes ...Change) error

	// PendingClients lists the Pending clients, the oldest first; limit at the most.
	PendingClients(ctx context.Context, limit int) ([]Client, error)

	// NoteUses notes when grants and sessions were last used. The latest use stays, in
	// whatever order they are noted. Those that are not there are no error; in
	// PostgreSQL those that another transaction works on are left out.
	NoteUses(ctx context.Context, u Uses) error
	// PurgeChanges deletes entries of the record of changes of before then, limit at the
	// most, and returns how many.
	PurgeChanges(ctx context.Context, before time.Time, limit int) (int, error)
}

// PasswordChange asks for a new password.
type PasswordChange struct {
	UserID    int64
	Old       string  // hash that the user must have; empty: whichever it is
	New       string  // hash
	Session   Session // of the browser in which it is changed; with a zero Hash there is none
	EndTokens bool
	Now       time.Time
}

// AppPassword stands for its account's password in the password grant of one personal
// application.
type AppPassword struct {
	ID         int64 // positive; given by the store
	ClientID   string
	Name       string // chosen by the owner; unique within the application
	Hash       Hash
	CreatedAt  time.Time
	LastUsedAt time.Time // to the minute; zero if never
}

// SessionUse is what is known of the use of a session.
type SessionUse struct {
	SeenAt  time.Time // when it was last used, to about a minute; zero if never
	Agent   string    // with what, in a few words such as "Firefox, Linux"
	Address string    // from where
}

// Uses are when grants, by their IDs, and sessions were last used.
type Uses struct {
	Grants   map[int64]time.Time
	Sessions map[Hash]SessionUse
}
