package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Admit counts a request of a client that has authenticated, and gives how long it
// has to wait; zero: it may go on. Of a public client, which proves nothing, anybody
// can use the name: from is the caller's address, to tell one from another. It is
// called concurrently, and returns soon.
type Admit func(ctx context.Context, c Client, from netip.Addr) time.Duration

// admitAll is the Admit of a Service that has none.
func admitAll(context.Context, Client, netip.Addr) time.Duration { return 0 }

// admit refuses a client that asks for too much.
func (s *Service) admit(ctx context.Context, c Client, from netip.Addr) error {
	wait := s.opts.Admit(ctx, c, from)
	if wait <= 0 {
		return nil
	}
	return s.refuse(c.ID, &Error{
		Code: CodeSlowDown, Description: "The application sends too many requests",
		Reason: "too many requests", RetryAfter: wait,
	})
}

// ClientByID finds a registered application, whatever its status, or ErrNotFound.
func (s *Service) ClientByID(ctx context.Context, id string) (Client, error) {
	client, err := s.opts.Store.Client(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Client{}, fmt.Errorf("find client %s: %w", id, err)
	}
	return client, err
}
