package oauth

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Grant is what an application may do for a person, since when. Grants of one
// application that allow the same in the same sites are one Grant.
type Grant struct {
	ClientID   string
	ClientName string
	ClientKind Kind
	Off        bool   // the application is switched off
	HomePage   string // of the application; may be empty
	Logo       Hash   // of the application; see Client
	Scope      Scope
	Sites      []int64   // nil: all
	Since      time.Time // when the oldest of them began
	LastUsedAt time.Time // when one of them was last used, to about a minute; zero if never
}

// Connection is an application that may do something for a person.
type Connection struct {
	ClientID   string
	Name       string
	Kind       Kind
	Off        bool   // it is switched off
	HomePage   string // may be empty
	Logo       Hash   // see Client
	Grants     []Grant
	LastUsedAt time.Time // the latest of its Grants
}

// connectionsMax bounds the grants that are listed at once.
const connectionsMax = 1_000

// Connections lists the applications that hold a live grant of the user, those to
// which one was given last first.
func (s *Service) Connections(ctx context.Context, userID int64) ([]Connection, error) {
	grants, err := s.opts.Store.Grants(ctx, userID, s.now(), connectionsMax)
	if err != nil {
		return nil, fmt.Errorf("list grants of user %d: %w", userID, err)
	}
	var connections []Connection
	place := make(map[string]int)
	for _, g := range grants {
		at, known := place[g.ClientID]
		if !known {
			at = len(connections)
			place[g.ClientID] = at
			connections = append(connections, Connection{ClientID: g.ClientID, Name: g.ClientName, Kind: g.ClientKind, Off: g.Off, HomePage: g.HomePage, Logo: g.Logo})
		}
		connections[at].Grants = append(connections[at].Grants, g)
		if g.LastUsedAt.After(connections[at].LastUsedAt) {
			connections[at].LastUsedAt = g.LastUsedAt
		}
	}
	return connections, nil
}

// Disconnect revokes all that the user has granted to an application, also what it
// has not taken up yet, and reports whether there was anything. from is where the
// person is.
func (s *Service) Disconnect(ctx context.Context, userID int64, clientID string, from netip.Addr) (bool, error) {
	if !isHex(clientID, clientIDDigits) {
		return false, nil
	}
	n, err := s.opts.Store.Disconnect(ctx, userID, clientID, s.now(), s.change(userID, ActionDisconnected, clientID, "", from))
	if err != nil {
		return false, fmt.Errorf("disconnect client %s from user %d: %w", clientID, userID, err)
	}
	s.opts.Observer.ConnectionsChanged(clientID)
	return n > 0, nil
}
