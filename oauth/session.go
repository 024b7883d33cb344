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

// SignedIn is where a sign-in has come to.
type SignedIn struct {
	User    User
	Secret  string // value of the session's cookie; each sign-in has a new one. Empty: no session yet
	Pending string // then: for Pending and what completes a sign-in, from this browser
}

// SignIn checks a person's name and password and begins a session, or, of somebody
// who has a second factor, leaves the sign-in pending. It refuses as the password
// grant does, and counts as that does.
func (s *Service) SignIn(ctx context.Context, email, password string, address netip.Addr) (SignedIn, error) {
	u, _, err := s.signIn(ctx, attempt{username: email, password: password, address: address}, func(User) bool { return true })
	if err != nil {
		return SignedIn{}, s.refuse("", err)
	}
	factors, err := s.Factors(ctx, u.ID)
	if err != nil {
		return SignedIn{}, err
	}
	if factors.Any() {
		return s.leavePending(u)
	}
	return s.letIn(ctx, u, address)
}

// letIn begins a session of a person who has shown who it is, in all ways that are
// wanted. A disabled person gets none, also if that happened meanwhile or a passkey
// came in the password's place; nor does anybody whose password is no longer u's.
func (s *Service) letIn(ctx context.Context, u User, address netip.Addr) (SignedIn, error) {
	if !u.DisabledAt.IsZero() {
		return SignedIn{}, s.refuse("", invalidGrant("The account is disabled", "account disabled"))
	}
	secret, err := s.beginSession(ctx, u, s.change(u.ID, ActionSignedIn, "", "", address))
	switch {
	case errors.Is(err, ErrNotFound):
		return SignedIn{}, s.refuse("", wrongSignIn("password changed meanwhile"))
	case err != nil:
		return SignedIn{}, err
	}
	return SignedIn{User: u, Secret: secret}, nil
}

// beginSession begins a session of a person who has shown who it is. If the password is
// no longer u's, its error is an ErrNotFound.
func (s *Service) beginSession(ctx context.Context, u User, noted Change) (secret string, err error) {
	session, secret := s.newSession(u.ID)
	session.Proof = Proof{PasswordHash: u.PasswordHash}
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
