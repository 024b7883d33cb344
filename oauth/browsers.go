package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// sessionsMax bounds the sessions that are listed at once.
const sessionsMax = 100

// Sessions lists the browsers in which a person is signed in, that which began last
// first, 100 at the most.
func (s *Service) Sessions(ctx context.Context, userID int64) ([]Session, error) {
	sessions, err := s.opts.Store.Sessions(ctx, userID, s.now(), sessionsMax)
	if err != nil {
		return nil, fmt.Errorf("list sessions of user %d: %w", userID, err)
	}
	for i, session := range sessions {
		if use, found := s.uses.session(session.Hash); found {
			sessions[i].SessionUse = use
		}
	}
	return sessions, nil
}

// EndSession ends a session of the person. One that is not there, or is another
// person's, is ErrNotFound. from is where the person is.
func (s *Service) EndSession(ctx context.Context, userID int64, session Hash, from netip.Addr) error {
	sessions, err := s.Sessions(ctx, userID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(sessions, func(other Session) bool { return other.Hash == session })
	if at < 0 {
		return ErrNotFound
	}
	err = s.opts.Store.EndSessionOf(ctx, userID, session, s.change(userID, ActionSessionEnded, "", sessions[at].Agent, from))
	switch {
	case errors.Is(err, ErrNotFound):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("end session of user %d: %w", userID, err)
	}
	return nil
}

// EndOtherSessions ends all sessions of a person but the one with this secret, and
// returns how many that were. from is where the person is.
func (s *Service) EndOtherSessions(ctx context.Context, userID int64, secret string, from netip.Addr) (int, error) {
	n, err := s.opts.Store.EndOtherSessions(ctx, userID, HashOf(secret), s.change(userID, ActionSessionsEnded, "", "", from))
	if err != nil {
		return 0, fmt.Errorf("end other sessions of user %d: %w", userID, err)
	}
	return n, nil
}
