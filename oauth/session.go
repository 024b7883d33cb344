package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// SessionLifetime is how long a browser stays signed in.
const SessionLifetime = 14 * 24 * time.Hour

// SignIn checks a person's name and password and begins a session. The secret is the
// value of the session's cookie; each sign-in has a new one. It refuses as the
// password grant does, and counts as that does.
func (s *Service) SignIn(ctx context.Context, email, password string, address netip.Addr) (u User, secret string, err error) {
	u, err = s.signIn(ctx, attempt{username: email, password: password, address: address}, func(User) bool { return true })
	if err != nil {
		return User{}, "", s.refuse("", err)
	}
	secret, err = s.beginSession(ctx, u, s.change(u.ID, ActionSignedIn, "", "", address))
	if err != nil {
		return User{}, "", err
	}
	return u, secret, nil
}

// beginSession begins a session of a person who has shown who it is.
func (s *Service) beginSession(ctx context.Context, u User, noted Change) (secret string, err error) {
	session, secret := s.newSession(u.ID)
	if err := s.opts.Store.AddSession(ctx, session, noted); err != nil {
		return "", fmt.Errorf("begin session of user %d: %w", u.ID, err)
	}
	return secret, nil
}

func (s *Service) newSession(userID int64) (session Session, secret string) {
	secret = NewSecret()
	now := s.now()
	return Session{Hash: HashOf(secret), UserID: userID, CreatedAt: now, ExpiresAt: now.Add(SessionLifetime)}, secret
}

// Session finds who is signed in. A secret that is none, or whose session is over, is
// ErrNotFound.
func (s *Service) Session(ctx context.Context, secret string) (User, error) {
	if !isHex(secret, secretDigits) {
		return User{}, ErrNotFound
	}
	u, err := s.opts.Store.Session(ctx, HashOf(secret), s.now())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return User{}, fmt.Errorf("find session: %w", err)
	}
	return u, err
}

// SignOut ends a session. One that is over already is no error.
func (s *Service) SignOut(ctx context.Context, secret string) error {
	if !isHex(secret, secretDigits) {
		return nil
	}
	if err := s.opts.Store.EndSession(ctx, HashOf(secret)); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}
