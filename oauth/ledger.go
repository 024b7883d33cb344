package oauth

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrOff says that a token is live, but its application is switched off.
	ErrOff = errors.New("switched off")
	// ErrOperatorOnly says that only an operator may do this.
	ErrOperatorOnly = errors.New("only an operator may do this")
)

// How long the ledger is kept.
const (
	KeepMinutes = 31 * 24 * time.Hour  // after which they become hours
	KeepHours   = 400 * 24 * time.Hour // and the rulings, but those by which an application is off; and deleted applications
)

// OperatorOnlyQuery asks for what only an operator may reactivate.
type OperatorOnlyQuery struct {
	OwnMax int       // reactivations that an owner may make
	After  time.Time // those until then do not count
	Before int64     // ID of a ruling: those below it are listed; 0: from the newest on
	Limit  int       // of the list
}

// Ledger keeps what was issued to whom, and what was decided about it. Issue, Rotate
// and Redeem of the Store write it, in the transaction in which they issue: they
// count the token for its application, and judge a personal one by what it was issued
// until then. What personal applications of its owner that were deleted before it was
// registered wasted counts for it as well, from the minute after its last reactivation
// on. What switches an application off
// or on is an entry of its owner's record of changes as well, in the same transaction.
type Ledger interface {
	// SwitchOff switches an Active application off and reports true. If it is off
	// already, what an operator asks takes the place of what it is off by, also true;
	// everything else is recorded and changes nothing. So does what it is off by already,
	// with the same Actor, Lever and Reason, which is not recorded either unless there is a
	// Key to know it by, and what was asked under that Key before. An application in any other state, and
	// an unknown one, is ErrNotFound.
	SwitchOff(ctx context.Context, i Intervention) (bool, error)
	// Reactivate lets an application that is off be used again, and begins to count anew:
	// what it wasted is forgiven, but stays in the record. It reports whether this call
	// did it: not if it is not off, or if that was asked under that Key before. An owner
	// who made OwnMax reactivations within OwnWindow, or whose application an operator
	// has switched off, is ErrOperatorOnly. An unknown or deleted application is ErrNotFound.
	Reactivate(ctx context.Context, i Intervention) (bool, error)
	// OffBy finds the ruling by which an application is off, or ErrNotFound, and the times
	// of the reactivations after then that Reactivate holds against its owner: the newest
	// first, limit at the most.
	OffBy(ctx context.Context, clientID string, after time.Time, limit int) (by Ruling, own []time.Time, err error)
	// OwnReactivations gives the reactivations of OffBy, whether the application is off or
	// not. An unknown one is ErrNotFound.
	OwnReactivations(ctx context.Context, clientID string, after time.Time, limit int) ([]time.Time, error)
	// OperatorOnly lists the rulings by which applications are off that Reactivate would
	// refuse to their owners, the newest first.
	OperatorOnly(ctx context.Context, q OperatorOnlyQuery) ([]Ruling, error)
	// Verdicts lists the rulings on an application, the newest first, those with an ID
	// below before (0: from the newest on), limit at the most.
	Verdicts(ctx context.Context, clientID string, before int64, limit int) ([]Ruling, error)

	// SetLimits gives a personal application limits of its own, or, for nil, those of
	// its kind. An unknown one is ErrNotFound.
	SetLimits(ctx context.Context, clientID string, l *Limits) error
	// LimitsOf gives the limits that an application has of its own, or nil. An unknown
	// one is ErrNotFound.
	LimitsOf(ctx context.Context, clientID string) (*Limits, error)

	// IssuanceMinutes lists what the first so many applications above afterClient, by ID,
	// were issued in the minutes from that of since on, ordered by application, minute,
	// grant and outcome. An application that was issued nothing is not among them.
	IssuanceMinutes(ctx context.Context, since time.Time, afterClient string, clients int) ([]IssuanceMinute, error)
	// IssuanceOf sums up what an application was issued since then, for each step of
	// time, which begins at a multiple of its length and is a minute at least. A step in
	// which nothing was issued is not in it; 10,000 are listed at the most, the oldest first. What is
	// older than KeepMinutes is known by the hour only.
	IssuanceOf(ctx context.Context, clientID string, since time.Time, step time.Duration) ([]Issuances, error)
	// Standing gives the counts that an application is judged by at that time, none of an
	// unknown one.
	Standing(ctx context.Context, clientID string, now time.Time) (Standing, error)

	// Condense makes hours of the minutes before the first of these times, and deletes
	// hours and rulings before the second one, but those by which an application is off, and
	// clients that were Deleted before it and of which nothing else is left.
	// It takes limit rows of each at the most, and returns how many it took in all.
	Condense(ctx context.Context, minutes, hours time.Time, limit int) (int, error)

	// SetDisabled disables or enables an account. A disabled one has no live session,
	// code or token, and gets none; what has not expired when it is enabled lives again.
	// An unknown user is ErrNotFound. A repeat changes nothing.
	SetDisabled(ctx context.Context, userID int64, disabled bool, now time.Time) error
}
