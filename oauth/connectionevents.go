package oauth

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ConnectionEvent is something that became of what an application may do for a person.
// The Store writes it in the transaction of what it tells of, and keeps it until it was
// told.
type ConnectionEvent struct {
	ID         int64 // positive; given by the store, ascending
	Kind       ConnectionKind
	Cause      Cause
	ClientID   string
	ClientName string // as it is now
	UserID     int64
	UserName   string  // as it is now
	Scope      Scope   // of Connected
	Sites      []int64 // nil: all
	At         time.Time
}

// ConnectionKind is what a ConnectionEvent tells of.
type ConnectionKind string

// Kinds of a ConnectionEvent.
const (
	// Connected tells that a person consented (codes and implicit tokens), or that an
	// application which held no live grant of the person got one with the person's password
	// or yes (password and device grant).
	Connected ConnectionKind = "connected"
	// Disconnected tells that a live grant, or a code that was not spent, was ended.
	Disconnected ConnectionKind = "disconnected"
)

// Cause is who or what brought a ConnectionEvent about.
type Cause string

// Causes of a ConnectionEvent.
const (
	CausePerson      Cause = "person"
	CauseApplication Cause = "application" // it gave its refresh token back
	CauseReuse       Cause = "reuse"       // a code or refresh token was used twice
	CauseDeletion    Cause = "deletion"    // of the application
	CausePassword    Cause = "password"    // the person changed it and ended all tokens
)

// Allowed is what live grants let an application do for a person.
type Allowed struct {
	Scope Scope
	Sites []int64 // nil: all
}

// In reports whether it holds in a site.
func (a Allowed) In(siteID int64) bool { return a.Sites == nil || slices.Contains(a.Sites, siteID) }

// ConnectionEvents is the part of a Store that keeps them. Several processes may tell
// from one record.
type ConnectionEvents interface {
	// DueEvents leases events that are due by now, the oldest first, limit at the most:
	// until then nobody else is given them.
	DueEvents(ctx context.Context, now, until time.Time, limit int) ([]ConnectionEvent, error)
	// EventTold deletes an event. One that is not there is no error.
	EventTold(ctx context.Context, id int64) error
	// AllowedAt lists what the grants of a user to a client allowed that began before that
	// time and were live then, each once.
	AllowedAt(ctx context.Context, userID int64, clientID string, at time.Time) ([]Allowed, error)
	// UsersAt lists the users with such grants to a client by ID, those above after, limit
	// at the most.
	UsersAt(ctx context.Context, clientID string, at time.Time, after int64, limit int) ([]User, error)
}

// DueEvents leases events of connections that were not told yet, the oldest first,
// limit at the most: for as long as lease lasts nobody else is given them.
func (s *Service) DueEvents(ctx context.Context, lease time.Duration, limit int) ([]ConnectionEvent, error) {
	now := s.now()
	due, err := s.opts.Store.DueEvents(ctx, now, now.Add(lease), limit)
	if err != nil {
		return nil, fmt.Errorf("find events of connections: %w", err)
	}
	return due, nil
}

// EventTold notes that an event was told: it is never due again.
func (s *Service) EventTold(ctx context.Context, e ConnectionEvent) error {
	if err := s.opts.Store.EventTold(ctx, e.ID); err != nil {
		return fmt.Errorf("note that event %d was told: %w", e.ID, err)
	}
	return nil
}

// AllowedAt lists what an application was allowed for a person at that time, by grants
// that began before it.
func (s *Service) AllowedAt(ctx context.Context, userID int64, clientID string, at time.Time) ([]Allowed, error) {
	all, err := s.opts.Store.AllowedAt(ctx, userID, clientID, at)
	if err != nil {
		return nil, fmt.Errorf("list what client %s was allowed by user %d: %w", clientID, userID, err)
	}
	return all, nil
}

// UsersAt lists the people who had allowed something to an application by that time, by
// ID, those above after, limit at the most.
func (s *Service) UsersAt(ctx context.Context, clientID string, at time.Time, after int64, limit int) ([]User, error) {
	users, err := s.opts.Store.UsersAt(ctx, clientID, at, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list users of client %s: %w", clientID, err)
	}
	return users, nil
}
