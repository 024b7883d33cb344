package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// NewPassword is what a person enters to change the password.
type NewPassword struct {
	Present   string
	New       string
	EndTokens bool       // of all applications, and their app passwords
	Address   netip.Addr // where the person is
}

// ChangePassword gives a person another password. All sessions of the person end, and a
// new one begins, whose secret it gives. What cannot be a password is a *FieldError;
// the wrong Present one is refused, and counted, as a sign-in is. ErrNotFound says that
// the password was changed meanwhile.
func (s *Service) ChangePassword(ctx context.Context, u User, r NewPassword) (secret string, err error) {
	if err := checkPassword(r.New); err != nil {
		return "", err
	}
	if r.New == r.Present {
		return "", &FieldError{Field: "password", Problem: "is the present one"}
	}
	try := attempt{username: u.Email, password: r.Present, address: r.Address}
	found, _, err := s.signIn(ctx, try, func(found User) bool { return found.ID == u.ID })
	if err != nil {
		return "", s.refuse("", err)
	}
	change := PasswordChange{UserID: u.ID, Old: found.PasswordHash, EndTokens: r.EndTokens, Now: s.now()}
	if change.New, err = s.hash(ctx, r.New, try.who()); err != nil {
		return "", s.refuse("", err)
	}
	change.Session, secret = s.newSession(u.ID)
	err = s.opts.Store.ChangePassword(ctx, change, s.passwordChanged(change, u.ID, r.Address)...)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", ErrNotFound
	case err != nil:
		return "", fmt.Errorf("change password of user %d: %w", u.ID, err)
	}
	s.opts.Observer.ConnectionsChanged("")
	return secret, nil
}

// SetPassword gives the person with this email another password, by command: all
// sessions end, and with endTokens also what applications may do. What cannot be is a
// *FieldError.
func (s *Service) SetPassword(ctx context.Context, email, password string, endTokens bool) (User, error) {
	u, err := s.owner(ctx, email)
	if err != nil {
		return User{}, err
	}
	if err := checkPassword(password); err != nil {
		return User{}, err
	}
	change := PasswordChange{UserID: u.ID, EndTokens: endTokens, Now: s.now()}
	if change.New, err = s.hash(ctx, password, ""); err != nil {
		return User{}, err
	}
	if err := s.opts.Store.ChangePassword(ctx, change, s.passwordChanged(change, 0, netip.Addr{})...); err != nil {
		return User{}, fmt.Errorf("change password of user %d: %w", u.ID, err)
	}
	return u, nil
}

// passwordChanged are the entries of a change of password.
func (s *Service) passwordChanged(p PasswordChange, actor int64, from netip.Addr) []Change {
	changes := []Change{s.change(p.UserID, ActionPasswordChanged, "", "", from)}
	if p.EndTokens {
		changes = append(changes, s.change(p.UserID, ActionTokensEnded, "", "", from))
	}
	for i := range changes {
		changes[i].ActorID = actor
	}
	return changes
}

// hash hashes a password as one of the workers, in a place of who.
func (s *Service) hash(ctx context.Context, password, who string) (hash string, err error) {
	err = s.opts.Passwords.run(ctx, who, func() error {
		hash, err = s.opts.Passwords.hash(password)
		return err
	})
	return hash, err
}
