package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// attempt is somebody's try to be let in.
type attempt struct {
	username, password string
	address            netip.Addr
	client             Client // through which it comes; zero in the browser
	own                bool   // the client's owner is signed in and enters it on a page
}

// who holds the places that the attempt takes among the workers: the owner of the
// application, however many there are.
func (a attempt) who() string {
	if a.client.ID != "" {
		return fmt.Sprint("user ", a.client.OwnerID)
	}
	return host(a.address)
}

// evidence is what a password turned out to be.
type evidence int

const (
	wrongPassword   evidence = iota
	accountPassword          // that of the account
	appPassword              // one of the application
)

// Proof is what let somebody in. What is made of it is made only while it still holds:
// the zero Proof always does.
type Proof struct {
	PasswordHash string // that the user must have; empty: whichever it is
	AppPassword  int64  // ID of the one that must be there; 0: none
}

func proofOf(e evidence, u User, app AppPassword) Proof {
	if e == appPassword {
		return Proof{AppPassword: app.ID}
	}
	return Proof{PasswordHash: u.PasswordHash}
}

// enough reports whether u may be let in for it: an account can keep its own password
// out of the password grant.
func (try attempt) enough(e evidence, u User) bool {
	if e == accountPassword && try.client.ID != "" && !try.own {
		return !u.AppPasswordsOnly
	}
	return e != wrongPassword
}

// signIn checks a username and password, and that accept takes the user. Every other
// pair gets the same refusal at the same cost, one verification: an unknown user, a
// wrong password, the right one of somebody whom accept does not take or whose account
// is disabled, and the account's own where app passwords are required. The last of these
// could be told apart only by who would learn from it that the password is right.
//
// After FailureLimit failures within FailureWindow, one account waits at one
// address. Both the count before the verification and the one after it tell: of a
// flood of parallel guesses no more than FailureLimit get an answer that says
// anything about the password.
func (s *Service) signIn(ctx context.Context, try attempt, accept func(User) bool) (u User, p Proof, err error) {
	email, named := NormalizeEmail(try.username)
	if !named {
		email = try.username
	}
	key := failureKey(email, try.address, try.client.OwnerID)
	err = s.opts.Passwords.run(ctx, try.who(), func() error {
		before, err := s.opts.Store.Failures(ctx, key, s.now().Add(-s.opts.FailureWindow))
		if err != nil {
			return fmt.Errorf("count failed sign-ins: %w", err)
		}
		if before.Count >= s.opts.FailureLimit {
			return s.slowDown(before)
		}
		app, err := s.appPassword(ctx, try)
		if err != nil {
			return err
		}
		var e evidence
		u, e, err = s.verify(ctx, try, email, named, app)
		if err != nil {
			return err
		}
		// A caller that hangs up now must not escape the count.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
		defer cancel()
		if !u.DisabledAt.IsZero() || !accept(u) || !try.enough(e, u) {
			reason := "sign-in failed"
			if accept(u) && e == accountPassword {
				reason = "account's own password not taken"
			}
			return s.countWrong(ctx, key, reason)
		}
		if err := s.countRight(ctx, key); err != nil {
			return err
		}
		p = proofOf(e, u, app)
		return s.touch(ctx, app)
	})
	if err != nil {
		return User{}, Proof{}, err
	}
	return u, p, nil
}

// countTimeout bounds the count after a verification, which the caller cannot cancel.
const countTimeout = 10 * time.Second

// verify finds the user with this name and tells what the password is. Unless it is an
// app password of that user's application, it costs one verification whatever the
// answer.
func (s *Service) verify(ctx context.Context, try attempt, email string, named bool, app AppPassword) (User, evidence, error) {
	user := User{PasswordHash: s.opts.Passwords.dummy}
	if named {
		found, err := s.opts.Store.UserByEmail(ctx, email)
		switch {
		case err == nil:
			user = found
		case !errors.Is(err, ErrNotFound):
			return User{}, wrongPassword, fmt.Errorf("find user: %w", err)
		}
	}
	if app.ID != 0 && user.ID == try.client.OwnerID {
		return user, appPassword, nil
	}
	right, err := s.opts.Passwords.matches(try.password, user.PasswordHash)
	switch {
	case err != nil:
		return User{}, wrongPassword, fmt.Errorf("verify password of user %d: %w", user.ID, err)
	case right:
		return user, accountPassword, nil
	default:
		return user, wrongPassword, nil
	}
}

func (s *Service) countRight(ctx context.Context, key Hash) error {
	after, err := s.opts.Store.Failures(ctx, key, s.now().Add(-s.opts.FailureWindow))
	if err != nil {
		return fmt.Errorf("count failed sign-ins: %w", err)
	}
	if after.Count >= s.opts.FailureLimit {
		return s.slowDown(after)
	}
	return nil
}

func (s *Service) countWrong(ctx context.Context, key Hash, reason string) error {
	now := s.now()
	after, err := s.opts.Store.AddFailure(ctx, key, now, now.Add(-s.opts.FailureWindow))
	if err != nil {
		return fmt.Errorf("record failed sign-in: %w", err)
	}
	if after.Count > s.opts.FailureLimit { // it counts this one too
		return s.slowDown(after)
	}
	return wrongSignIn(reason)
}

func wrongSignIn(reason string) *Error {
	return invalidGrant("The username and password combination is invalid", reason)
}

// slowDown refuses until the oldest failure leaves the window.
func (s *Service) slowDown(f Failures) *Error {
	return &Error{
		Code:        CodeSlowDown,
		Description: "Too many failed attempts on this account from this address; wait before the next one",
		Reason:      "too many failed sign-ins",
		RetryAfter:  max(f.Oldest.Add(s.opts.FailureWindow).Sub(s.now()), time.Second),
	}
}

// failureKey names an account at an address without keeping what was typed. The
// failures of an application count against its own owner alone: nobody else gets in
// by it, so with it nobody may keep somebody else out. In the browser there is no
// owner.
func failureKey(account string, address netip.Addr, owner int64) Hash {
	return HashOf(fmt.Sprintf("%s\x00%s\x00%d", account, host(address), owner))
}

// host is the part of an address that one host cannot choose: of IPv6 the first 64
// bits (RFC 4291 section 2.5.1).
func host(a netip.Addr) string {
	a = a.Unmap()
	if !a.Is6() {
		return a.String()
	}
	return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
}
