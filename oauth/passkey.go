package oauth

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// passkeysMax is how many passkeys a person may have.
const passkeysMax = 20

// Bounds of a passkey's public key. Whoever knows the passkey's ID, which is no secret,
// makes the bridge verify with it, and how long that takes grows with the key.
const (
	publicKeyMax   = 1200 // bytes
	rsaBitsMax     = 4096
	rsaExponentMax = 65537
)

// ceremonyLifetime is how long a challenge may be answered.
const ceremonyLifetime = 10 * time.Minute

// relyingParty makes what checks passkeys of the site at this address. An address
// without a host name, such as 127.0.0.1, can have none: nil.
func relyingParty(issuer string) *webauthn.WebAuthn {
	u, err := url.Parse(issuer)
	if err != nil || protocol.ValidateRPID(u.Hostname()) != nil {
		return nil
	}
	rp, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Foxbridge", RPOrigins: []string{issuer},
		AttestationPreference: protocol.PreferNoAttestation,
	})
	if err != nil {
		return nil // what is wrong with it can only be the address
	}
	return rp
}

// HasPasskeys tells whether passkeys can be used: the Options.Issuer has a host name.
func (s *Service) HasPasskeys() bool { return s.webauthn != nil }

// Ceremony is what a page hands to the browser, so that it asks for a passkey or makes
// one. It is answered within 10 minutes, once. Nothing is stored of it before that.
type Ceremony struct {
	Options string // JSON of PublicKeyCredentialRequestOptions or PublicKeyCredentialCreationOptions
	Sealed  string // to be given back with the browser's answer
}

// ceremony is what a form keeps of one, sealed.
type ceremony struct {
	Session webauthn.SessionData `json:"s"`
	Name    string               `json:"n,omitempty"` // of the passkey that is made
	Expires int64                `json:"e"`
}

func (c ceremony) spent() Spent {
	return Spent{Hash: HashOf("ceremony\x00" + c.Session.Challenge), ExpiresAt: time.Unix(c.Expires, 0).UTC().Add(time.Second)}
}

// Purposes of ceremonies. They are sealed apart, so that none is taken for another;
// that of a second factor holds for its pending sign-in alone, the making of a passkey
// for its person.
const purposePasskeySignIn = "passkey sign-in"

func purposeSecondPasskey(p pendingState) string { return "passkey as second factor " + p.Nonce }

func purposeNewPasskey(userID int64) string { return fmt.Sprintf("new passkey of user %d", userID) }

func (s *Service) ceremony(purpose, name string, options any, session *webauthn.SessionData) (Ceremony, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin %s: %w", purpose, err)
	}
	sealed, err := s.sealJSON(purpose, ceremony{Session: *session, Name: name, Expires: s.now().Add(ceremonyLifetime).Unix()})
	if err != nil {
		return Ceremony{}, err
	}
	return Ceremony{Options: string(text), Sealed: sealed}, nil
}

func (s *Service) openCeremony(purpose, sealed string) (c ceremony, err error) {
	err = s.openJSON(purpose, sealed, &c)
	switch {
	case s.webauthn == nil, errors.Is(err, errSealed), err == nil && s.now().Unix() >= c.Expires:
		return ceremony{}, passkeyRefused(errors.New("the ceremony is over"))
	case err != nil:
		return ceremony{}, err
	}
	return c, nil
}

func passkeyRefused(err error) *Error {
	return &Error{Code: CodeInvalidGrant, Description: "The passkey was not accepted", Reason: "passkey refused", Err: err}
}

// keyholder is a person as the library knows one.
type keyholder struct {
	user     User
	passkeys []Passkey
}

func (k keyholder) WebAuthnID() []byte          { return userHandle(k.user.ID) }
func (k keyholder) WebAuthnName() string        { return k.user.Email }
func (k keyholder) WebAuthnDisplayName() string { return k.user.Name }

func (k keyholder) WebAuthnCredentials() []webauthn.Credential {
	var all []webauthn.Credential
	for _, p := range k.passkeys {
		c := webauthn.Credential{
			ID: p.CredentialID, PublicKey: p.PublicKey, Flags: webauthn.NewCredentialFlags(protocol.AuthenticatorFlags(p.Flags)),
			Authenticator: webauthn.Authenticator{SignCount: p.SignCount},
		}
		for _, transport := range p.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(transport))
		}
		all = append(all, c)
	}
	return all
}

// checkKey refuses to verify with a key that is too long, which AddPasskey takes no more.
func (k keyholder) checkKey(credentialID []byte) error {
	for _, p := range k.passkeys {
		if bytes.Equal(p.CredentialID, credentialID) && len(p.PublicKey) > publicKeyMax {
			return errLongKey
		}
	}
	return nil
}

var errLongKey = fmt.Errorf("the public key has more than %d bytes", publicKeyMax)

// userHandle is how a passkey knows whose it is. It tells nothing about the person.
func userHandle(userID int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(userID)) }

// BeginPasskeySignIn asks for any passkey of anybody, instead of a password. The
// person must be verified by it. It is ErrNotFound if HasPasskeys is false.
func (s *Service) BeginPasskeySignIn() (Ceremony, error) {
	if s.webauthn == nil {
		return Ceremony{}, ErrNotFound
	}
	options, session, err := s.webauthn.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin sign-in with a passkey: %w", err)
	}
	return s.ceremony(purposePasskeySignIn, "", options.Response, session)
}

// PasskeySignIn begins a session of the person whose passkey has answered, JSON as of
// PublicKeyCredential.toJSON. That is both factors at once. Anything else is an *Error
// with CodeInvalidGrant.
func (s *Service) PasskeySignIn(ctx context.Context, sealed, answer string, address netip.Addr) (SignedIn, error) {
	c, err := s.openCeremony(purposePasskeySignIn, sealed)
	if err != nil {
		return SignedIn{}, s.refuse("", err)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return SignedIn{}, s.refuse("", passkeyRefused(err))
	}
	owner, err := s.keyholder(ctx, parsed.RawID)
	if err != nil {
		return SignedIn{}, s.refuse("", err)
	}
	if err := owner.checkKey(parsed.RawID); err != nil {
		return SignedIn{}, s.refuse("", passkeyRefused(err))
	}
	find := func(_, _ []byte) (webauthn.User, error) { return owner, nil }
	_, credential, err := s.webauthn.ValidatePasskeyLogin(find, c.Session, parsed)
	if err != nil {
		return SignedIn{}, s.refuse("", passkeyRefused(err))
	}
	return s.usePasskey(ctx, owner, credential, c.spent(), address)
}

// keyholder finds whose passkey it is, with that one alone.
func (s *Service) keyholder(ctx context.Context, credentialID []byte) (keyholder, error) {
	p, err := s.opts.Store.Passkey(ctx, credentialID)
	if errors.Is(err, ErrNotFound) {
		return keyholder{}, passkeyRefused(err)
	}
	if err != nil {
		return keyholder{}, fmt.Errorf("find passkey: %w", err)
	}
	u, err := s.opts.Store.User(ctx, p.UserID)
	if err != nil {
		return keyholder{}, fmt.Errorf("find owner of a passkey: %w", err)
	}
	return keyholder{u, []Passkey{p}}, nil
}

// usePasskey notes the use, if nothing speaks against it, and begins a session. A
// count that does not go up is that of a copy, or of an answer that is given again.
func (s *Service) usePasskey(ctx context.Context, owner keyholder, credential *webauthn.Credential, spent Spent, address netip.Addr) (SignedIn, error) {
	if credential.Authenticator.CloneWarning {
		return SignedIn{}, s.refuse("", passkeyRefused(errors.New("the passkey's count went back")))
	}
	var used Passkey
	for _, p := range owner.passkeys {
		if string(p.CredentialID) == string(credential.ID) {
			used = p
		}
	}
	used.SignCount, used.Flags = credential.Authenticator.SignCount, credential.Flags.MsgpByte()
	err := s.opts.Store.UsePasskey(ctx, used, spent, s.now())
	switch {
	case errors.Is(err, ErrSpent), errors.Is(err, ErrNotFound):
		return SignedIn{}, s.refuse("", passkeyRefused(err))
	case err != nil:
		return SignedIn{}, fmt.Errorf("use passkey of user %d: %w", owner.user.ID, err)
	}
	return s.letIn(ctx, owner.user, address)
}

// BeginSecondPasskey asks for a passkey of the person whose sign-in is pending. Of who
// has none it is ErrNotFound.
func (s *Service) BeginSecondPasskey(p PendingSignIn) (Ceremony, error) {
	if s.webauthn == nil || len(p.Factors.Passkeys) == 0 {
		return Ceremony{}, ErrNotFound
	}
	options, session, err := s.webauthn.BeginLogin(keyholder{p.User, p.Factors.Passkeys}, webauthn.WithUserVerification(protocol.VerificationPreferred))
	if err != nil {
		return Ceremony{}, fmt.Errorf("ask user %d for a passkey: %w", p.User.ID, err)
	}
	return s.ceremony(purposeSecondPasskey(p.state), "", options.Response, session)
}

// CompleteWithPasskey completes a pending sign-in with the answer of a passkey; see
// PasskeySignIn.
func (s *Service) CompleteWithPasskey(ctx context.Context, pending, sealed, answer string, address netip.Addr) (SignedIn, error) {
	p, err := s.Pending(ctx, pending)
	if err != nil {
		return SignedIn{}, err
	}
	c, err := s.openCeremony(purposeSecondPasskey(p.state), sealed)
	if err != nil {
		return SignedIn{}, s.refuse("", err)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return SignedIn{}, s.refuse("", passkeyRefused(err))
	}
	owner := keyholder{p.User, p.Factors.Passkeys}
	if err := owner.checkKey(parsed.RawID); err != nil {
		return SignedIn{}, s.refuse("", passkeyRefused(err))
	}
	credential, err := s.webauthn.ValidateLogin(owner, c.Session, parsed)
	if err != nil {
		return SignedIn{}, s.refuse("", passkeyRefused(err))
	}
	return s.usePasskey(ctx, owner, credential, p.state.spent(), address)
}

// BeginPasskey has a browser make a passkey, which gets this name (1 to 100
// characters), for a person. It prefers one that signs in without a name and a
// password. A *FieldError is of "name", or of "passkey", with the cause ErrTooMany, of
// who has 20, or of "origin" if HasPasskeys is false. A wrong password is refused as by
// SignIn: before the device makes anything.
func (s *Service) BeginPasskey(ctx context.Context, by Confirmation, name string) (Ceremony, error) {
	if s.webauthn == nil {
		return Ceremony{}, &FieldError{Field: "origin", Problem: "has no host name"}
	}
	name, err := checkName(name)
	if err != nil {
		return Ceremony{}, err
	}
	if err := s.confirm(ctx, by); err != nil {
		return Ceremony{}, err
	}
	factors, err := s.Factors(ctx, by.User.ID)
	if err != nil {
		return Ceremony{}, err
	}
	if len(factors.Passkeys) >= passkeysMax {
		return Ceremony{}, tooManyPasskeys()
	}
	holder := keyholder{by.User, factors.Passkeys}
	options, session, err := s.webauthn.BeginRegistration(holder,
		webauthn.WithCredentialParameters(keyParameters()),
		webauthn.WithResidentKeyRequirement(protocol.ResidentKeyRequirementPreferred),
		webauthn.WithExclusions(webauthn.Credentials(holder.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin passkey of user %d: %w", by.User.ID, err)
	}
	return s.ceremony(purposeNewPasskey(by.User.ID), name, options.Response, session)
}

// keyParameters are the kinds of keys that are taken, the best first; every authenticator
// makes one of them.
func keyParameters() (list []protocol.CredentialParameter) {
	for _, a := range []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256} {
		list = append(list, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: a})
	}
	return list
}

// checkPublicKey bounds what it takes to verify with a key.
func checkPublicKey(key []byte) error {
	if len(key) > publicKeyMax {
		return errLongKey
	}
	parsed, err := webauthncose.ParsePublicKey(key)
	if err != nil {
		return fmt.Errorf("read public key: %w", err)
	}
	k, is := parsed.(webauthncose.RSAPublicKeyData)
	if !is {
		return nil
	}
	if bits := new(big.Int).SetBytes(k.Modulus).BitLen(); bits > rsaBitsMax {
		return fmt.Errorf("the RSA key has %d bits, more than %d", bits, rsaBitsMax)
	}
	if new(big.Int).SetBytes(k.Exponent).Cmp(big.NewInt(rsaExponentMax)) > 0 {
		return fmt.Errorf("the exponent of the RSA key is above %d", rsaExponentMax)
	}
	return nil
}

func tooManyPasskeys() *FieldError {
	return &FieldError{Field: "passkey", Problem: fmt.Sprintf("would be one of more than %d", passkeysMax), Err: ErrTooMany}
}

// AddPasskey adds the passkey that a browser has made after BeginPasskey, JSON as of
// PublicKeyCredential.toJSON. For recovery codes see AddTOTP. What is no such answer, or
// has a key of over 1200 bytes, or RSA of over 4096 bits, is an *Error with
// CodeInvalidGrant; a 21st passkey is a *FieldError as of BeginPasskey.
func (s *Service) AddPasskey(ctx context.Context, u User, sealed, answer string, address netip.Addr) (recovery []string, err error) {
	c, err := s.openCeremony(purposeNewPasskey(u.ID), sealed)
	if err != nil {
		return nil, s.refuse("", err)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return nil, s.refuse("", passkeyRefused(err))
	}
	object := &parsed.Response.AttestationObject
	if err := checkPublicKey(object.AuthData.AttData.CredentialPublicKey); err != nil {
		return nil, s.refuse("", passkeyRefused(err))
	}
	// No attestation was asked for. One that comes nevertheless may have certificates
	// with keys of any length.
	object.Format, object.AttStatement = string(protocol.AttestationFormatNone), nil
	credential, err := s.webauthn.CreateCredential(keyholder{user: u}, c.Session, parsed)
	if err != nil {
		return nil, s.refuse("", passkeyRefused(err))
	}
	recovery, hashes := newRecoveryCodes(u.ID)
	fresh, err := s.opts.Store.AddPasskey(ctx, newPasskey(u, c.Name, credential, s.now()), passkeysMax, c.spent(),
		hashes, s.change(u.ID, ActionPasskeyAdded, "", c.Name, address))
	switch {
	case errors.Is(err, ErrSpent), errors.Is(err, ErrExists):
		return nil, s.refuse("", passkeyRefused(err))
	case errors.Is(err, ErrTooMany):
		return nil, tooManyPasskeys()
	case err != nil:
		return nil, fmt.Errorf("add passkey of user %d: %w", u.ID, err)
	case !fresh:
		return nil, nil
	}
	return recovery, nil
}

// transportsMax bounds what an authenticator may say of how it is reached.
const transportsMax = 8

func newPasskey(u User, name string, c *webauthn.Credential, now time.Time) Passkey {
	p := Passkey{
		UserID: u.ID, CredentialID: c.ID, PublicKey: c.PublicKey, Name: name,
		SignCount: c.Authenticator.SignCount, Flags: c.Flags.MsgpByte(), CreatedAt: now,
	}
	for _, transport := range c.Transport {
		switch transport {
		case protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal:
			if len(p.Transports) < transportsMax {
				p.Transports = append(p.Transports, string(transport))
			}
		}
	}
	return p
}
