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
	return Host(a.address)
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
// address: in the browser, or with the one application. Each count is looked at before
// the verification and after it: of a flood of parallel guesses no more than
// FailureLimit get an answer that says anything about the password, and
// ownerFailures times as many with all applications of the owner together.
func (s *Service) signIn(ctx context.Context, try attempt, accept func(User) bool) (u User, p Proof, err error) {
	email, named := NormalizeEmail(try.username)
	if !named {
		email = try.username
	}
	counts := s.tallies(email, try)
	err = s.opts.Passwords.run(ctx, try.who(), func() error {
		if err := s.mayAnswer(ctx, counts); err != nil {
			return err
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
			return s.countWrong(ctx, counts, reason)
		}
		if err := s.mayAnswer(ctx, counts); err != nil {
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

// tally is a count of failures: when there are limit of them, who it counts waits.
type tally struct {
	key   Hash
	limit int
}

// ownerFailures is how many applications of one owner can wait before all of them do: one
// script with a dead password stops no other, and more applications are no more guesses.
const ownerFailures = 5

// tallies are the counts of an attempt, the narrowest first. The failures of an
// application count against its own owner alone: nobody else gets in by it, so with it
// nobody may keep somebody else out.
func (s *Service) tallies(account string, try attempt) []tally {
	if try.client.ID == "" {
		return []tally{{failureKey(account, try.address, ""), s.opts.FailureLimit}}
	}
	owner := fmt.Sprintf("owner %d", try.client.OwnerID)
	return []tally{
		{failureKey(account, try.address, owner+" client "+try.client.ID), s.opts.FailureLimit},
		{failureKey(account, try.address, owner), ownerFailures * s.opts.FailureLimit},
	}
}

// mayAnswer refuses if one of the counts says that the attempt has to wait.
func (s *Service) mayAnswer(ctx context.Context, counts []tally) error {
	for _, c := range counts {
		failures, err := s.opts.Store.Failures(ctx, c.key, s.now().Add(-s.opts.FailureWindow))
		if err != nil {
			return fmt.Errorf("count failed sign-ins: %w", err)
		}
		if failures.Count >= c.limit {
			return s.slowDown(failures)
		}
	}
	return nil
}

// countWrong counts a failure and refuses it. What a narrower count keeps from an answer
// does not count in the wider one.
func (s *Service) countWrong(ctx context.Context, counts []tally, reason string) error {
	now := s.now()
	for _, c := range counts {
		after, err := s.opts.Store.AddFailure(ctx, c.key, now, now.Add(-s.opts.FailureWindow))
		if err != nil {
			return fmt.Errorf("record failed sign-in: %w", err)
		}
		if after.Count > c.limit { // it counts this one too
			return s.slowDown(after)
		}
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

// failureKey names an account at an address, and through what it comes, without keeping
// what was typed.
func failureKey(account string, address netip.Addr, through string) Hash {
	return HashOf(fmt.Sprintf("%s\x00%s\x00%s", account, Host(address), through))
}

// Host is the part of an address that one host cannot choose: of IPv6 the first 64
// bits (RFC 4291 section 2.5.1).
func Host(a netip.Addr) string {
	a = a.Unmap()
	if !a.Is6() {
		return a.String()
	}
	return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
}
