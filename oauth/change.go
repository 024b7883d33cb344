package oauth

import (
	"context"
	"fmt"
	"time"
)

// Change is an entry of the record of what was changed about a person's account and
// applications, which that person can read.
type Change struct {
	ID         int64  // positive; given by the store, ascending
	UserID     int64  // whose account
	Action     Action // what happened
	ClientID   string // the application concerned; empty if none
	ClientName string // how that is called now; read only, and empty if it is gone
	Subject    string // name of the thing concerned, such as that of a passkey; never a secret; may be empty
	ActorID    int64  // who did it; 0: an operator, by command, or the server by itself
	Address    string // from where; empty if by command
	At         time.Time
}

// Action is what a Change was.
type Action string

// ChangesMax bounds the entries that are listed at once.
const ChangesMax = 50

// Changes lists what was changed about a person, the newest first, those with an ID
// below before (0: from the newest on), 50 at the most.
func (s *Service) Changes(ctx context.Context, userID, before int64) ([]Change, error) {
	changes, err := s.opts.Store.Changes(ctx, userID, before, ChangesMax)
	if err != nil {
		return nil, fmt.Errorf("list changes of user %d: %w", userID, err)
	}
	return changes, nil
}

// changesLast is how long the record of changes goes back: a year, and then some.
const changesLast = 400 * 24 * time.Hour

// sweepChanges deletes what the record of changes need not tell any more.
func (s *Service) sweepChanges(ctx context.Context) (total int, err error) {
	before := s.now().Add(-changesLast)
	for range sweepPasses {
		n, err := s.opts.Store.PurgeChanges(ctx, before, sweepRows)
		total += n
		if err != nil {
			return total, fmt.Errorf("purge changes of before %s: %w", before.Format(time.RFC3339), err)
		}
		if n < sweepRows {
			break
		}
	}
	return total, nil
}
