package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

// A code of an authenticator app holds for one step, and is taken a step earlier and
// later as well, since clocks differ (RFC 6238 section 5.2).
const (
	totpStep = 30 * time.Second
	totpSkew = 1
)

// setupLifetime is how long the page on which an authenticator app is set up, or a
// passkey made, may stay open.
const setupLifetime = 15 * time.Minute

// TOTPSetup is an authenticator app that is being set up. Nothing is stored of it.
type TOTPSetup struct {
	URL    string // otpauth URL, for a QR code
	Secret string // base32, to be typed
	Sealed string // for ResumeTOTP and AddTOTP
}

// totpSetup is what the form keeps, sealed.
type totpSetup struct {
	UserID  int64  `json:"u"`
	URL     string `json:"k"`
	Expires int64  `json:"e"`
}

const purposeTOTPSetup = "setup of an authenticator app"

// BeginTOTP draws the secret of an authenticator app for a person.
func (s *Service) BeginTOTP(u User) (TOTPSetup, error) {
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: "Foxbridge", AccountName: u.Email, Period: uint(totpStep / time.Second), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return TOTPSetup{}, fmt.Errorf("draw secret of an authenticator app: %w", err)
	}
	sealed, err := s.sealJSON(purposeTOTPSetup, totpSetup{UserID: u.ID, URL: key.URL(), Expires: s.now().Add(setupLifetime).Unix()})
	if err != nil {
		return TOTPSetup{}, err
	}
	return TOTPSetup{URL: key.URL(), Secret: key.Secret(), Sealed: sealed}, nil
}

// ResumeTOTP finds what BeginTOTP has drawn for this person. What is not that, or is
// over 15 minutes old, is a *FieldError.
func (s *Service) ResumeTOTP(u User, sealed string) (TOTPSetup, error) {
	var setup totpSetup
	err := s.openJSON(purposeTOTPSetup, sealed, &setup)
	switch {
	case errors.Is(err, errSealed) || err == nil && (setup.UserID != u.ID || s.now().Unix() >= setup.Expires):
		return TOTPSetup{}, &FieldError{Field: "setup", Problem: "is over"}
	case err != nil:
		return TOTPSetup{}, err
	}
	key, err := otp.NewKeyFromURL(setup.URL)
	if err != nil {
		return TOTPSetup{}, fmt.Errorf("read secret of an authenticator app: %w", err)
	}
	return TOTPSetup{URL: setup.URL, Secret: key.Secret(), Sealed: sealed}, nil
}

// AddTOTP adds an authenticator app that was set up, once it shows a right code. Who
// had no recovery codes left gets ten, which nothing can show again; otherwise there
// are none in the result. A *FieldError is of "setup" (see ResumeTOTP), of "code", or
// of "totp", with the cause ErrExists, of who has one already. A wrong password is
// refused as by SignIn.
func (s *Service) AddTOTP(ctx context.Context, by Confirmation, sealed, code string) (recovery []string, err error) {
	setup, err := s.ResumeTOTP(by.User, sealed)
	if err != nil {
		return nil, err
	}
	now := s.now()
	step, right, err := matchingStep(setup.Secret, code, now, 0)
	if err != nil {
		return nil, err
	}
	if !right {
		return nil, &FieldError{Field: "code", Problem: "is wrong"}
	}
	if err := s.confirm(ctx, by); err != nil {
		return nil, err
	}
	secret, err := s.seal.seal(purposeTOTP(by.User.ID), []byte(setup.Secret))
	if err != nil {
		return nil, err
	}
	recovery, hashes := newRecoveryCodes(by.User.ID)
	fresh, err := s.opts.Store.AddTOTP(ctx, TOTP{UserID: by.User.ID, Sealed: secret, LastStep: step, CreatedAt: now},
		hashes, s.change(by.User.ID, ActionTOTPAdded, "", "", by.Address))
	switch {
	case errors.Is(err, ErrExists):
		return nil, &FieldError{Field: "totp", Problem: "is set up already", Err: err}
	case err != nil:
		return nil, fmt.Errorf("add authenticator app of user %d: %w", by.User.ID, err)
	case !fresh:
		return nil, nil
	}
	return recovery, nil
}

// purposeTOTP binds a secret to its owner: moved to another row it cannot be opened.
func purposeTOTP(userID int64) string { return fmt.Sprintf("authenticator app of user %d", userID) }

func (s *Service) totpSecret(t TOTP) (string, error) {
	secret, err := s.seal.open(purposeTOTP(t.UserID), t.Sealed)
	if errors.Is(err, errSealed) {
		return "", &Error{
			Code: CodeUnavailable, Description: "Codes of authenticator apps cannot be checked at the moment",
			Reason: ReasonSealKey, RetryAfter: time.Minute,
			Err: fmt.Errorf("authenticator app of user %d: %w: is seal-key another than it was?", t.UserID, err),
		}
	}
	return string(secret), err
}

// matchingStep finds the time step around now, after last, whose code this is.
func matchingStep(secret, code string, now time.Time, last int64) (step int64, right bool, err error) {
	code = strings.Join(strings.Fields(code), "")
	if len(code) != otp.DigitsSix.Length() {
		return 0, false, nil
	}
	present := now.Unix() / int64(totpStep/time.Second)
	for step := max(present-totpSkew, last+1); step <= present+totpSkew; step++ {
		right, err := hotp.ValidateCustom(code, uint64(step), secret, hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, false, fmt.Errorf("check code of an authenticator app: %w", err)
		}
		if right {
			return step, true, nil
		}
	}
	return 0, false, nil
}
