package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// PendingLifetime is how long a sign-in waits for the second factor.
const PendingLifetime = 5 * time.Minute

// Actions on second factors. Subject is the name of the passkey, where there is one.
const (
	ActionTOTPAdded         Action = "totp.added"
	ActionTOTPRemoved       Action = "totp.removed"
	ActionPasskeyAdded      Action = "passkey.added"
	ActionPasskeyRemoved    Action = "passkey.removed"
	ActionRecoveryCodesMade Action = "recovery_codes.made"
	ActionRecoveryCodeUsed  Action = "recovery_code.used"
	ActionFactorsRemoved    Action = "factors.removed" // all, by an operator
)

// ReasonSealKey is the Reason of a refusal because a secret was sealed with another
// key than that of the Options.
const ReasonSealKey = "sealed with another key"

// Factors finds the second factors of a person.
func (s *Service) Factors(ctx context.Context, userID int64) (Factors, error) {
	f, err := s.opts.Store.Factors(ctx, userID)
	if err != nil {
		return Factors{}, fmt.Errorf("find second factors of user %d: %w", userID, err)
	}
	return f, nil
}

// PendingSignIn is a sign-in whose password was right, and that waits for the second
// factor.
type PendingSignIn struct {
	User    User
	Factors Factors // at least one

	state pendingState
}

// pendingState is what the browser keeps of a pending sign-in, sealed: nothing is
// stored of one until it is completed, and then only that it was. A changed password
// ends it.
type pendingState struct {
	UserID   int64  `json:"u"`
	Password string `json:"p"` // mark of the password's hash
	Nonce    string `json:"n"`
	Expires  int64  `json:"e"` // seconds since 1970
}

const purposePending = "pending sign-in"

func passwordMark(u User) string {
	hash := sha256.Sum256([]byte(u.PasswordHash))
	return base64.RawURLEncoding.EncodeToString(hash[:16])
}

// spent marks the sign-in as completed. It is kept a second longer than it could be
// tried.
func (p pendingState) spent() Spent {
	return Spent{Hash: HashOf("pending\x00" + p.Nonce), ExpiresAt: time.Unix(p.Expires, 0).UTC().Add(time.Second)}
}

func (s *Service) leavePending(u User) (SignedIn, error) {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	sealed, err := s.sealJSON(purposePending, pendingState{
		UserID: u.ID, Password: passwordMark(u), Nonce: hex.EncodeToString(nonce),
		Expires: s.now().Add(PendingLifetime).Unix(),
	})
	if err != nil {
		return SignedIn{}, err
	}
	return SignedIn{User: u, Pending: sealed}, nil
}

// sealJSON seals a value for a cookie or a form.
func (s *Service) sealJSON(purpose string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal %s: %w", purpose, err)
	}
	sealed, err := s.seal.seal(purpose, plain)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// openJSON undoes sealJSON, or is errSealed.
func (s *Service) openJSON(purpose, text string, v any) error {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return errSealed
	}
	plain, err := s.seal.open(purpose, sealed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("read sealed %s: %w", purpose, err)
	}
	return nil
}

// Pending finds the sign-in that a browser has begun, by SignedIn.Pending. One that is
// over is an *Error with CodeInvalidToken: it took too long, the password was changed
// meanwhile, or the account has no second factor any more. (That it was completed is
// found only when it is completed again.)
func (s *Service) Pending(ctx context.Context, pending string) (PendingSignIn, error) {
	p, err := s.pending(ctx, pending)
	if err != nil {
		return PendingSignIn{}, s.refuse("", err)
	}
	return p, nil
}

func (s *Service) pending(ctx context.Context, pending string) (PendingSignIn, error) {
	var state pendingState
	err := s.openJSON(purposePending, pending, &state)
	switch {
	case errors.Is(err, errSealed) || err == nil && s.now().Unix() >= state.Expires:
		return PendingSignIn{}, pendingOver()
	case err != nil:
		return PendingSignIn{}, err
	}
	u, err := s.opts.Store.User(ctx, state.UserID)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && passwordMark(u) != state.Password:
		return PendingSignIn{}, pendingOver()
	case err != nil:
		return PendingSignIn{}, fmt.Errorf("find user of a pending sign-in: %w", err)
	}
	factors, err := s.Factors(ctx, u.ID)
	if err != nil {
		return PendingSignIn{}, err
	}
	if !factors.Any() {
		return PendingSignIn{}, pendingOver()
	}
	return PendingSignIn{User: u, Factors: factors, state: state}, nil
}

func pendingOver() *Error {
	return &Error{Code: CodeInvalidToken, Description: "The sign-in is over; begin again", Reason: "pending sign-in over"}
}

func secondFactorWrong() *Error {
	return invalidGrant("The second factor is not right", "second factor wrong")
}

func (s *Service) tooManyCodes(f Failures, window time.Duration) *Error {
	return &Error{
		Code: CodeSlowDown, Description: "Too many wrong codes were entered for this account", Reason: "too many wrong codes",
		RetryAfter: max(f.Oldest.Add(window).Sub(s.now()), time.Second),
	}
}

// complete makes a session of a pending sign-in whose second factor was right, and of
// the error of the store that says whether it was used for that.
func (s *Service) complete(ctx context.Context, p PendingSignIn, address netip.Addr, used error) (SignedIn, error) {
	switch {
	case errors.Is(used, ErrSpent), errors.Is(used, ErrNotFound):
		return SignedIn{}, s.refuse("", secondFactorWrong())
	case used != nil:
		return SignedIn{}, fmt.Errorf("use second factor of user %d: %w", p.User.ID, used)
	}
	return s.letIn(ctx, p.User, address)
}

// CompleteWithTOTP completes a pending sign-in with the code of an authenticator app.
// A code is taken once, within a time step of its own.
//
// Codes are short, so tries are counted for the account, wherever they come from, and
// before the code is looked at: there are no more than Options.FailureLimit wrong ones
// within Options.Retention. Who knows the password can so keep the owner's codes from
// being taken; passkeys and recovery codes are taken still.
func (s *Service) CompleteWithTOTP(ctx context.Context, pending, code string, address netip.Addr) (SignedIn, error) {
	p, err := s.Pending(ctx, pending)
	if err != nil {
		return SignedIn{}, err
	}
	if p.Factors.TOTP == nil {
		return SignedIn{}, s.refuse("", secondFactorWrong())
	}
	secret, err := s.totpSecret(*p.Factors.TOTP)
	if err != nil {
		return SignedIn{}, s.refuse("", err)
	}
	now, window := s.now(), s.opts.Retention
	key := HashOf("totp\x00" + strconv.FormatInt(p.User.ID, 10))
	try, failures, err := s.opts.Store.AddTry(ctx, key, now, now.Add(-window), s.opts.FailureLimit)
	switch {
	case errors.Is(err, ErrTooMany):
		return SignedIn{}, s.refuse("", s.tooManyCodes(failures, window))
	case err != nil:
		return SignedIn{}, fmt.Errorf("count codes of user %d: %w", p.User.ID, err)
	}
	step, right, err := matchingStep(secret, code, now, p.Factors.TOTP.LastStep)
	if err != nil {
		return SignedIn{}, err
	}
	if !right {
		return SignedIn{}, s.refuse("", secondFactorWrong())
	}
	return s.complete(ctx, p, address, s.opts.Store.UseTOTP(ctx, p.User.ID, step, try, p.state.spent(), now))
}

// CompleteWithRecoveryCode completes a pending sign-in with a recovery code, which
// holds once, and tells how many are left. They cannot be guessed; wrong ones are
// counted by address, as passwords are, to spare the store.
func (s *Service) CompleteWithRecoveryCode(ctx context.Context, pending, code string, address netip.Addr) (in SignedIn, left int, err error) {
	p, err := s.Pending(ctx, pending)
	if err != nil {
		return SignedIn{}, 0, err
	}
	key := failureKey(p.User.Email, address, fmt.Sprintf("recovery of user %d", p.User.ID))
	failures, err := s.opts.Store.Failures(ctx, key, s.now().Add(-s.opts.FailureWindow))
	if err != nil {
		return SignedIn{}, 0, fmt.Errorf("count recovery codes of user %d: %w", p.User.ID, err)
	}
	if failures.Count >= s.opts.FailureLimit {
		return SignedIn{}, 0, s.refuse("", s.tooManyCodes(failures, s.opts.FailureWindow))
	}
	now := s.now()
	left, err = s.opts.Store.UseRecoveryCode(ctx, p.User.ID, recoveryHash(p.User.ID, code), p.state.spent(),
		s.change(p.User.ID, ActionRecoveryCodeUsed, "", "", address))
	if errors.Is(err, ErrNotFound) {
		if _, err := s.opts.Store.AddFailure(ctx, key, now, now.Add(-s.opts.FailureWindow)); err != nil {
			return SignedIn{}, 0, fmt.Errorf("count recovery codes of user %d: %w", p.User.ID, err)
		}
	}
	in, err = s.complete(ctx, p, address, err)
	return in, left, err
}

// Confirmation is a person who is signed in and has entered the password again, as
// every change of second factors wants it, and whatever makes a secret that outlives the
// session: who finds a browser signed in gets nothing that lasts.
type Confirmation struct {
	User     User
	Password string
	Address  netip.Addr
}

// confirm checks the password. It refuses and counts as SignIn does.
func (s *Service) confirm(ctx context.Context, by Confirmation) error {
	_, _, err := s.signIn(ctx, attempt{username: by.User.Email, password: by.Password, address: by.Address}, func(u User) bool { return u.ID == by.User.ID })
	return s.refuse("", err)
}

// RemoveTOTP ends the person's authenticator app. One that is not there is
// ErrNotFound; a wrong password is refused as by SignIn.
func (s *Service) RemoveTOTP(ctx context.Context, by Confirmation) error {
	if err := s.confirm(ctx, by); err != nil {
		return err
	}
	err := s.opts.Store.RemoveTOTP(ctx, by.User.ID, s.change(by.User.ID, ActionTOTPRemoved, "", "", by.Address))
	if err != nil {
		return fmt.Errorf("remove authenticator app of user %d: %w", by.User.ID, err)
	}
	return nil
}

// RemovePasskey ends a passkey of the person's; see RemoveTOTP.
func (s *Service) RemovePasskey(ctx context.Context, by Confirmation, p Passkey) error {
	if err := s.confirm(ctx, by); err != nil {
		return err
	}
	err := s.opts.Store.RemovePasskey(ctx, by.User.ID, p.ID, s.change(by.User.ID, ActionPasskeyRemoved, "", p.Name, by.Address))
	if err != nil {
		return fmt.Errorf("remove passkey of user %d: %w", by.User.ID, err)
	}
	return nil
}

// RemoveFactors ends all second factors of a person who has lost them, for an
// operator, and returns how many there were.
func (s *Service) RemoveFactors(ctx context.Context, userID int64) (int, error) {
	n, err := s.opts.Store.RemoveFactors(ctx, userID, Change{UserID: userID, Action: ActionFactorsRemoved, At: s.now()})
	if err != nil {
		return 0, fmt.Errorf("remove second factors of user %d: %w", userID, err)
	}
	return n, nil
}
