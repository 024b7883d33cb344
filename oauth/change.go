package oauth

import (
	"context"
	"fmt"
	"time"
)

// Change is an entry of the record of what was changed about a person's account and
// applications, which that person can read.
type Change struct {
	ID       int64  // positive; given by the store, ascending
	UserID   int64  // whose account
	Action   Action // what happened
	ClientID string // the application concerned; empty if none
	Subject  string // name of the thing concerned, such as that of a passkey; never a secret; may be empty
	ActorID  int64  // who did it; 0: an operator, by command
	Address  string // from where; empty if by command
	At       time.Time
}

// Action is what a Change was.
type Action string

// changesMax bounds the entries that are listed at once.
const changesMax = 100

// Changes lists what was changed about a person, the newest first, those with an ID
// below before (0: from the newest on), 100 at the most.
func (s *Service) Changes(ctx context.Context, userID, before int64) ([]Change, error) {
	changes, err := s.opts.Store.Changes(ctx, userID, before, changesMax)
	if err != nil {
		return nil, fmt.Errorf("list changes of user %d: %w", userID, err)
	}
	return changes, nil
}
