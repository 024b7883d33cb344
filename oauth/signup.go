package oauth

import (
	"context"
	"fmt"
	"net/netip"
)

// SignUpRequest is what a person enters who wants an account.
type SignUpRequest struct {
	Email    string
	Name     string
	Password string
	Address  netip.Addr // where the person is
}

// SignUp creates an account and begins a session, whose secret it gives. What cannot be
// an account is a *FieldError; of a taken email its cause is ErrExists. So it tells which
// addresses have an account, since nobody is sent a mail: of one address of the network
// no more than FailureLimit tries within FailureWindow are answered, whether they
// succeed or not, and the rest are an *Error with CodeSlowDown. When passwords are
// waiting to be hashed it is one with CodeUnavailable.
func (s *Service) SignUp(ctx context.Context, r SignUpRequest) (u User, secret string, err error) {
	u, err = s.newUser(r.Email, r.Name, r.Password)
	if err != nil {
		return User{}, "", err
	}
	if err := s.countSignUp(ctx, r.Address); err != nil {
		return User{}, "", s.refuse("", err)
	}
	u, err = s.addUser(ctx, u, r.Password, Host(r.Address))
	if err != nil {
		return User{}, "", s.refuse("", err)
	}
	secret, err = s.beginSession(ctx, u, s.change(u.ID, ActionSignedUp, "", "", r.Address))
	if err != nil {
		return User{}, "", err
	}
	return u, secret, nil
}

// countSignUp counts the tries of an address, which is cheaper than what follows.
func (s *Service) countSignUp(ctx context.Context, from netip.Addr) error {
	key, now := HashOf("sign-up\x00"+Host(from)), s.now()
	since := now.Add(-s.opts.FailureWindow)
	counted, err := s.opts.Store.Failures(ctx, key, since)
	if err == nil && counted.Count < s.opts.FailureLimit {
		counted, err = s.opts.Store.AddFailure(ctx, key, now, since)
		counted.Count-- // this one
	}
	switch {
	case err != nil:
		return fmt.Errorf("count sign-ups: %w", err)
	case counted.Count >= s.opts.FailureLimit:
		return s.slowDown(counted)
	}
	return nil
}
