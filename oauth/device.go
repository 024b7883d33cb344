package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// GrantDevice is the grant_type of RFC 8628, for what has no browser of its own.
const GrantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// Codes of Error that RFC 8628 section 3.5 adds. Its slow_down is CodeSlowDown.
const (
	CodeAuthorizationPending = "authorization_pending"
	CodeExpiredToken         = "expired_token"
)

const (
	deviceCodeLife   = 10 * time.Minute
	deviceInterval   = 5 * time.Second // between polls; also what it grows by
	deviceSlack      = time.Second     // by which a poll may come early: networks are uneven
	deviceCodesMax   = 20              // of an application that wait for an answer
	userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLetters  = 8
	userCodeDraws    = 5 // two that are alike are rarer than anything else that goes wrong
)

// DeviceRequest is a request to the device authorization endpoint (RFC 8628 section
// 3.1). The scope changes nothing: a personal application may do all that its owner may.
type DeviceRequest struct {
	ClientID     string
	ClientSecret string
	Scope        string
	Address      netip.Addr // the caller's
}

// DeviceAuthorization is the answer to a DeviceRequest (RFC 8628 section 3.2).
type DeviceAuthorization struct {
	DeviceCode string // 64 lower-case hex digits
	UserCode   string // two times four letters with a dash between them
	ExpiresIn  time.Duration
	Interval   time.Duration // that a device waits between two polls
}

// DeviceCode is a code of a device, as it is stored.
type DeviceCode struct {
	Hash      Hash // of the device_code
	UserCode  Hash // of the user_code, in the form of NormalizeUserCode
	ClientID  string
	Now       time.Time
	ExpiresAt time.Time
	Interval  time.Duration // positive
}

// DeviceAnswer is what a person says to a user code.
type DeviceAnswer struct {
	UserCode Hash
	UserID   int64 // who must be the application's owner
	Approve  bool
	Now      time.Time
	Change   Change // noted if the answer was taken
}

// DevicePoll asks to redeem a device code.
type DevicePoll struct {
	Code  Hash
	Slack time.Duration // by which a poll may come before its time
	Grow  time.Duration // by which the interval grows when one comes earlier than that
	// Issuance is what is issued if the code was approved. Its user is the one who did.
	Issuance Issuance
}

// DeviceOutcome is what Store.PollDevice found; see there.
type DeviceOutcome int

// Outcomes of Store.PollDevice.
const (
	DeviceGranted DeviceOutcome = iota + 1
	DevicePending
	DeviceTooFast
	DeviceDenied
	DeviceExpired
	DeviceWithheld
)

// DeviceState is the result of Store.PollDevice.
type DeviceState struct {
	Outcome  DeviceOutcome
	Interval time.Duration // of DevicePending and DeviceTooFast, from now on
	UserID   int64         // of DeviceGranted
	GrantID  int64         // of DeviceGranted
	Tally    Tally         // of DeviceGranted and DeviceWithheld
}

// NormalizeUserCode gives a user code in the form in which it is stored: its eight
// letters in upper case. People may leave out the dash, add space and write small.
// false says that it is none.
func NormalizeUserCode(s string) (string, bool) {
	var letters []byte
	for _, r := range s {
		switch {
		case strings.ContainsRune(" -\t._", r):
		case len(letters) < userCodeLetters && r < 0x80 && strings.IndexByte(userCodeAlphabet, upper(byte(r))) >= 0:
			letters = append(letters, upper(byte(r)))
		default:
			return "", false
		}
	}
	return string(letters), len(letters) == userCodeLetters
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// newUserCode draws a user code in normal form.
func newUserCode() string {
	code := make([]byte, userCodeLetters)
	for i := range code {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(userCodeAlphabet))))
		if err != nil {
			panic(err) // never: crypto/rand ends the process instead
		}
		code[i] = userCodeAlphabet[n.Int64()]
	}
	return string(code)
}

// FormatUserCode is a user code in normal form as people read it.
func FormatUserCode(normal string) string {
	half := len(normal) / 2
	return normal[:half] + "-" + normal[half:]
}

// AuthorizeDevice begins the way of a device to its tokens. An application has at most
// 20 codes that wait for an answer; then it is an *Error with CodeSlowDown.
func (s *Service) AuthorizeDevice(ctx context.Context, req DeviceRequest) (DeviceAuthorization, error) {
	client, err := s.authenticateClient(ctx, req.ClientID, req.ClientSecret, req.Address)
	if err != nil {
		return DeviceAuthorization{}, err
	}
	if !slices.Contains(grantsOf(client), GrantDevice) {
		return DeviceAuthorization{}, s.refuse(client.ID, &Error{
			Code: CodeUnauthorizedClient, Description: "The grant type is unauthorized for this client_id",
			Reason: "grant not allowed for the application",
		})
	}
	now := s.now()
	d := DeviceAuthorization{DeviceCode: NewSecret(), ExpiresIn: deviceCodeLife, Interval: deviceInterval}
	for range userCodeDraws {
		code := newUserCode()
		err = s.opts.Store.AddDeviceCode(ctx, DeviceCode{
			Hash: HashOf(d.DeviceCode), UserCode: HashOf(code), ClientID: client.ID,
			Now: now, ExpiresAt: now.Add(deviceCodeLife), Interval: deviceInterval,
		}, deviceCodesMax)
		d.UserCode = FormatUserCode(code)
		if !errors.Is(err, ErrExists) {
			break
		}
	}
	switch {
	case errors.Is(err, ErrTooMany):
		return DeviceAuthorization{}, s.refuse(client.ID, &Error{
			Code: CodeSlowDown, Description: "Too many codes of this application wait for an answer",
			Reason: "too many device codes", RetryAfter: time.Minute,
		})
	case err != nil:
		return DeviceAuthorization{}, fmt.Errorf("add device code of client %s: %w", client.ID, err)
	}
	return d, nil
}

// DeviceRequestOf finds the application that waits for an answer to a user code which
// a person entered. A code that is none, or is over, is an *Error with
// CodeInvalidGrant, and one of an application that is another person's is one with
// CodeAccessDenied. Both count as failed sign-ins do, for this person at this address.
func (s *Service) DeviceRequestOf(ctx context.Context, userID int64, userCode string, address netip.Addr) (Client, error) {
	client, err := s.deviceClient(ctx, userID, userCode, address)
	if err != nil {
		return Client{}, s.refuse("", err)
	}
	return client, nil
}

// AnswerDevice approves or denies what DeviceRequestOf found, and refuses as that does.
// Of any number of answers the first one counts.
func (s *Service) AnswerDevice(ctx context.Context, userID int64, userCode string, approve bool, address netip.Addr) (Client, error) {
	client, err := s.deviceClient(ctx, userID, userCode, address)
	if err != nil {
		return Client{}, s.refuse("", err)
	}
	normal, _ := NormalizeUserCode(userCode)
	action, now := ActionDeviceDenied, s.now()
	if approve {
		action = ActionDeviceApproved
	}
	err = s.opts.Store.AnswerDevice(ctx, DeviceAnswer{
		UserCode: HashOf(normal), UserID: userID, Approve: approve, Now: now,
		Change: s.noted(by{userID, address}, client, action),
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return Client{}, s.refuse(client.ID, unknownUserCode())
	case err != nil:
		return Client{}, fmt.Errorf("answer device code of client %s: %w", client.ID, err)
	}
	return client, nil
}

func unknownUserCode() *Error {
	return invalidGrant("The code is invalid or expired", "user code unknown")
}

// deviceClient finds whose user code it is. Codes are short, so guesses count: before
// and after the look, so that of a flood of parallel guesses no more than FailureLimit
// get an answer that says anything.
func (s *Service) deviceClient(ctx context.Context, userID int64, userCode string, address netip.Addr) (Client, error) {
	key := HashOf(fmt.Sprintf("user code\x00%s\x00%d", Host(address), userID))
	counts := []tally{{key, s.opts.FailureLimit}}
	if err := s.mayAnswer(ctx, counts); err != nil {
		return Client{}, err
	}
	client, err := s.findDeviceClient(ctx, userID, userCode)
	// Who hangs up now must not escape the count.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
	defer cancel()
	refusal, is := errors.AsType[*Error](err)
	switch {
	case err == nil:
		return client, s.mayAnswer(ctx, counts)
	case !is:
		return Client{}, err
	}
	if counted := s.countWrong(ctx, counts, refusal.Reason); isNoSignIn(counted) {
		return Client{}, counted
	}
	return Client{}, refusal
}

// isNoSignIn reports whether err is anything but the plain refusal of a sign-in.
func isNoSignIn(err error) bool {
	refusal, is := errors.AsType[*Error](err)
	return !is || refusal.Code != CodeInvalidGrant
}

func (s *Service) findDeviceClient(ctx context.Context, userID int64, userCode string) (Client, error) {
	normal, is := NormalizeUserCode(userCode)
	if !is {
		return Client{}, unknownUserCode()
	}
	clientID, err := s.opts.Store.DeviceClient(ctx, HashOf(normal), s.now())
	switch {
	case errors.Is(err, ErrNotFound):
		return Client{}, unknownUserCode()
	case err != nil:
		return Client{}, fmt.Errorf("find user code: %w", err)
	}
	client, err := s.client(ctx, clientID)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && client.Status != Active:
		return Client{}, unknownUserCode()
	case err != nil:
		return Client{}, fmt.Errorf("find client: %w", err)
	case client.OwnerID != userID:
		return Client{}, &Error{
			Code: CodeAccessDenied, Description: "The code is for an application of another account",
			Reason: "user code of another account",
		}
	}
	return client, nil
}

// deviceGrant is RFC 8628 section 3.4.
func (s *Service) deviceGrant(_ context.Context, c Client, req TokenRequest) (issuer, error) {
	switch {
	case req.DeviceCode == "":
		return nil, missing("device_code")
	case !isHex(req.DeviceCode, secretDigits):
		return nil, invalidDevice()
	}
	return func(ctx context.Context) (given, error) {
		t := Tokens{AccessToken: NewSecret(), RefreshToken: NewSecret(), ExpiresIn: s.opts.AccessLifetime}
		now := s.now()
		state, err := s.opts.Store.PollDevice(ctx, DevicePoll{
			Code: HashOf(req.DeviceCode), Slack: deviceSlack, Grow: deviceInterval,
			Issuance: Issuance{
				ClientID: c.ID, GrantType: GrantDevice, Scope: Unscoped(),
				Access: HashOf(t.AccessToken), Refresh: HashOf(t.RefreshToken), Now: now,
				AccessExpiresAt: now.Add(s.opts.AccessLifetime), RefreshExpiresAt: now.Add(s.opts.RefreshLifetime),
				Meter: s.meter(c),
			},
		})
		switch {
		case errors.Is(err, ErrNotFound):
			return given{}, invalidDevice()
		case err != nil:
			return given{}, fmt.Errorf("poll device code of client %s: %w", c.ID, err)
		case state.Outcome != DeviceGranted && state.Outcome != DeviceWithheld:
			return given{}, deviceRefusal(state.Outcome)
		}
		return given{Tokens: t, tally: state.Tally}, nil
	}, nil
}

func invalidDevice() *Error {
	return invalidGrant("The device code is invalid, or was used", "device code not redeemable")
}

// deviceRefusal is RFC 8628 section 3.5.
func deviceRefusal(o DeviceOutcome) *Error {
	switch o {
	case DeviceTooFast:
		return &Error{Code: CodeSlowDown, Description: "Wait 5 seconds longer between two requests from now on", Reason: "device polls too fast"}
	case DeviceDenied:
		return &Error{Code: CodeAccessDenied, Description: "The user denied access to your application", Reason: "device denied"}
	case DeviceExpired:
		return &Error{Code: CodeExpiredToken, Description: "The device code has expired; ask for another one", Reason: "device code expired"}
	default:
		return &Error{Code: CodeAuthorizationPending, Description: "The user has not answered yet", Reason: "device pending"}
	}
}
