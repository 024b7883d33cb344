package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// device is an authenticator with one passkey.
type device struct {
	site virtualwebauthn.RelyingParty
	chip virtualwebauthn.Authenticator
	key  virtualwebauthn.Credential
}

func newDevice(t testing.TB) *device {
	t.Helper()
	return &device{
		site: virtualwebauthn.RelyingParty{ID: "foxbridge.example", Name: "Foxbridge", Origin: issuer},
		chip: virtualwebauthn.NewAuthenticator(),
		key:  virtualwebauthn.NewCredentialWithImportedKey(virtualwebauthn.KeyTypeEC2, newKey(t)),
	}
}

// newKey gives a key whose coordinates have their full length: the device would
// shorten others.
func newKey(t testing.TB) []byte {
	t.Helper()
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		point, err := key.PublicKey.Bytes()
		require.NoError(t, err)
		if point[1] == 0 || point[33] == 0 {
			continue
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		return der
	}
}

// make answers a ceremony that makes a passkey, and remembers whose it is.
func (d *device) make(t testing.TB, c oauth.Ceremony) string {
	t.Helper()
	options, err := virtualwebauthn.ParseAttestationOptions(c.Options)
	require.NoError(t, err)
	d.chip.Options.UserHandle = []byte(options.UserID)
	return virtualwebauthn.CreateAttestationResponse(d.site, d.chip, d.key, *options)
}

// answer answers a ceremony that asks for a passkey, with the next count.
func (d *device) answer(t testing.TB, c oauth.Ceremony) string {
	t.Helper()
	d.key.Counter++
	options, err := virtualwebauthn.ParseAssertionOptions(c.Options)
	require.NoError(t, err)
	return virtualwebauthn.CreateAssertionResponse(d.site, d.chip, d.key, *options)
}

func (s *server) beginPasskey(t testing.TB) oauth.Ceremony {
	t.Helper()
	c, err := s.BeginPasskey(t.Context(), s.asAlice(), "Phone")
	require.NoError(t, err)
	return c
}

// withPasskey gives Alice a passkey.
func (s *server) withPasskey(t testing.TB) (d *device, recovery []string) {
	t.Helper()
	d = newDevice(t)
	c := s.beginPasskey(t)
	recovery, err := s.AddPasskey(t.Context(), s.alice, c.Sealed, d.make(t, c), home())
	require.NoError(t, err)
	return d, recovery
}

func (s *server) beginPasskeySignIn(t testing.TB) oauth.Ceremony {
	t.Helper()
	c, err := s.BeginPasskeySignIn()
	require.NoError(t, err)
	return c
}

// second begins the ceremony of a pending sign-in.
func (s *server) second(t testing.TB, pending string) oauth.Ceremony {
	t.Helper()
	p, err := s.Pending(t.Context(), pending)
	require.NoError(t, err)
	c, err := s.BeginSecondPasskey(p)
	require.NoError(t, err)
	return c
}

func TestAPasskeySignsInByItself(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d, recovery := s.withPasskey(t)
	require.Len(t, recovery, oauth.RecoveryCodes)
	s.clock.Advance(time.Hour)
	c := s.beginPasskeySignIn(t)
	require.Contains(t, c.Options, `"userVerification":"required"`)
	require.NotContains(t, c.Options, "allowCredentials", "it names nobody")
	in, err := s.PasskeySignIn(t.Context(), c.Sealed, d.answer(t, c), home())
	s.isIn(t, s.alice, in, err)
	f, err := s.Factors(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Equal(t, "Phone", f.Passkeys[0].Name)
	require.Equal(t, s.clock.Now(), f.Passkeys[0].LastUsedAt)
	require.Equal(t, s.clock.Now().Add(-time.Hour), f.Passkeys[0].CreatedAt)
	require.Equal(t, []oauth.Action{oauth.ActionPasskeyAdded}, s.factorActions(t))

	require.NoError(t, s.RemovePasskey(t.Context(), s.asAlice(), f.Passkeys[0]))
	c = s.beginPasskeySignIn(t)
	in, err = s.PasskeySignIn(t.Context(), c.Sealed, d.answer(t, c), home())
	isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
	require.ErrorIs(t, s.RemovePasskey(t.Context(), s.asAlice(), f.Passkeys[0]), oauth.ErrNotFound)
	changes, err := s.Changes(t.Context(), s.alice.ID, 0)
	require.NoError(t, err)
	require.Equal(t, oauth.ActionPasskeyRemoved, changes[0].Action)
	require.Equal(t, "Phone", changes[0].Subject)
	require.Equal(t, home().String(), changes[0].Address)
}

func TestAPasskeyCompletesASignIn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d, _ := s.withPasskey(t)
	d.chip.Options.UserNotVerified = true // the password was one factor, having the device is the other
	pending := s.pending(t)
	c := s.second(t, pending)
	require.Contains(t, c.Options, "allowCredentials")
	answer := d.answer(t, c)
	in, err := s.CompleteWithPasskey(t.Context(), pending, c.Sealed, answer, home())
	s.isIn(t, s.alice, in, err)
	in, err = s.CompleteWithPasskey(t.Context(), pending, c.Sealed, answer, home())
	isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
	in, err = s.CompleteWithPasskey(t.Context(), pending, c.Sealed, d.answer(t, c), home())
	isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)

	// Of another sign-in of the same person.
	in, err = s.CompleteWithPasskey(t.Context(), s.pending(t), c.Sealed, d.answer(t, c), home())
	isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
}

func TestPasskeysThatAreRefused(t *testing.T) {
	t.Parallel()
	elsewhere := func(t testing.TB, d *device) *device {
		other := newDevice(t)
		other.chip = d.chip
		return other
	}
	for name, answer := range map[string]func(testing.TB, *server, *device, oauth.Ceremony) (sealed, answer string){
		"a person who was not verified": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.chip.Options.UserNotVerified = true
			return c.Sealed, d.answer(t, c)
		},
		"nobody there": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.chip.Options.UserNotPresent = true
			return c.Sealed, d.answer(t, c)
		},
		"another origin": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.site.Origin = "https://evil.example"
			return c.Sealed, d.answer(t, c)
		},
		"another port": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.site.Origin = issuer + ":8443"
			return c.Sealed, d.answer(t, c)
		},
		"another site": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.site.ID = "evil.example"
			return c.Sealed, d.answer(t, c)
		},
		"a passkey that nobody knows": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			return c.Sealed, elsewhere(t, d).answer(t, c)
		},
		"another key under the same name": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			other := elsewhere(t, d)
			other.key.ID = d.key.ID
			return c.Sealed, other.answer(t, c)
		},
		"another person": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.chip.Options.UserHandle = []byte{0, 0, 0, 0, 0, 0, 0, 2}
			return c.Sealed, d.answer(t, c)
		},
		"no person": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.chip.Options.UserHandle = nil
			return c.Sealed, d.answer(t, c)
		},
		"another challenge": func(t testing.TB, s *server, d *device, c oauth.Ceremony) (string, string) {
			return c.Sealed, d.answer(t, s.beginPasskeySignIn(t))
		},
		"the ceremony of a second factor": func(t testing.TB, s *server, d *device, _ oauth.Ceremony) (string, string) {
			c := s.second(t, s.pending(t))
			return c.Sealed, d.answer(t, c)
		},
		"a ceremony that made a passkey": func(t testing.TB, s *server, d *device, c oauth.Ceremony) (string, string) {
			return s.beginPasskey(t).Sealed, d.answer(t, c)
		},
		"a ceremony of ten minutes ago": func(t testing.TB, s *server, d *device, c oauth.Ceremony) (string, string) {
			s.clock.Advance(10 * time.Minute)
			return c.Sealed, d.answer(t, c)
		},
		"a ceremony of another process": func(t testing.TB, s *server, d *device, _ oauth.Ceremony) (string, string) {
			c, err := s.with(t).BeginPasskeySignIn()
			require.NoError(t, err)
			return c.Sealed, d.answer(t, c)
		},
		"a count that went back": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			d.key.Counter = 4
			return c.Sealed, d.answer(t, c)
		},
		"a changed answer": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			return c.Sealed, strings.Replace(d.answer(t, c), `"authenticatorData":"`, `"authenticatorData":"A`, 1)
		},
		"the answer of one who makes a passkey": func(t testing.TB, s *server, d *device, c oauth.Ceremony) (string, string) {
			return c.Sealed, d.make(t, s.beginPasskey(t))
		},
		"no ceremony": func(t testing.TB, _ *server, d *device, c oauth.Ceremony) (string, string) {
			return "", d.answer(t, c)
		},
		"no answer": func(_ testing.TB, _ *server, _ *device, c oauth.Ceremony) (string, string) { return c.Sealed, "" },
		"null":      func(_ testing.TB, _ *server, _ *device, c oauth.Ceremony) (string, string) { return c.Sealed, "null" },
		"no JSON":   func(_ testing.TB, _ *server, _ *device, c oauth.Ceremony) (string, string) { return c.Sealed, "{" },
		"a deep array": func(_ testing.TB, _ *server, _ *device, c oauth.Ceremony) (string, string) {
			return c.Sealed, strings.Repeat("[", 30_000)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			d, _ := s.withPasskey(t)
			for range 5 {
				c := s.beginPasskeySignIn(t)
				in, err := s.PasskeySignIn(t.Context(), c.Sealed, d.answer(t, c), home())
				s.isIn(t, s.alice, in, err)
			}
			sealed, given := answer(t, s, d, s.beginPasskeySignIn(t))
			in, err := s.PasskeySignIn(t.Context(), sealed, given, home())
			isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
		})
	}
}

func TestAnAnswerOfAPasskeyIsTakenOnce(t *testing.T) {
	t.Parallel()
	for name, count := range map[string]uint32{"with a count": 1, "without one": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, sealKey)
			processes := []*oauth.Service{s.Service, s.with(t, sealKey)}
			d, _ := s.withPasskey(t)
			c := s.beginPasskeySignIn(t)
			d.key.Counter = count - 1 // which answer raises by one
			answer := d.answer(t, c)
			var in atomic.Int32
			var group sync.WaitGroup
			for i := range 20 {
				group.Go(func() {
					_, err := processes[i%2].PasskeySignIn(t.Context(), c.Sealed, answer, home())
					if err == nil {
						in.Add(1)
					} else if _, is := errors.AsType[*oauth.Error](err); !is {
						t.Error(err)
					}
				})
			}
			group.Wait()
			require.EqualValues(t, 1, in.Load())
		})
	}
}

func TestMakingAPasskey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d := newDevice(t)
	c := s.beginPasskey(t)
	require.Contains(t, c.Options, `"attestation":"none"`)
	require.Contains(t, c.Options, `"residentKey":"preferred"`)
	require.Contains(t, c.Options, `"id":"foxbridge.example"`)
	answer := d.make(t, c)
	refuse := func(u oauth.User, sealed, answer string) {
		t.Helper()
		codes, err := s.AddPasskey(t.Context(), u, sealed, answer, home())
		require.Empty(t, codes)
		require.Equal(t, "passkey refused", refused(t, err, oauth.CodeInvalidGrant).Reason)
	}
	refuse(s.bob, c.Sealed, answer)
	refuse(s.alice, s.beginPasskey(t).Sealed, answer)
	refuse(s.alice, s.beginPasskeySignIn(t).Sealed, answer)
	refuse(s.alice, "", answer)
	for _, no := range []string{"", "null", "{", "{}", strings.Replace(answer, "public-key", "password", 1), d.answer(t, s.beginPasskeySignIn(t))} {
		refuse(s.alice, c.Sealed, no)
	}
	elsewhere := newDevice(t)
	elsewhere.site.Origin = "https://evil.example"
	refuse(s.alice, c.Sealed, elsewhere.make(t, c))
	require.Empty(t, s.factorActions(t))

	codes, err := s.AddPasskey(t.Context(), s.alice, c.Sealed, answer, home())
	require.NoError(t, err)
	require.Len(t, codes, oauth.RecoveryCodes)
	refuse(s.alice, c.Sealed, answer)
	refuse(s.alice, c.Sealed, newDevice(t).make(t, c)) // the ceremony was for one
	again := s.beginPasskey(t)
	require.Contains(t, again.Options, "excludeCredentials")
	refuse(s.alice, again.Sealed, d.make(t, again)) // it is there already

	other := newDevice(t)
	codes, err = s.AddPasskey(t.Context(), s.alice, again.Sealed, other.make(t, again), home())
	require.NoError(t, err)
	require.Empty(t, codes, "there are some left")
	late := s.beginPasskey(t)
	s.clock.Advance(10 * time.Minute)
	refuse(s.alice, late.Sealed, newDevice(t).make(t, late))
}

func TestPasskeysHaveNamesAndANumber(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	field := func(want string, err error) {
		t.Helper()
		var wrong *oauth.FieldError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, want, wrong.Field)
	}
	for _, name := range []string{"", " ", "a\x00", "a\nb", "\xff", strings.Repeat("x", 101)} {
		_, err := s.BeginPasskey(t.Context(), s.asAlice(), name)
		field("name", err)
	}
	kept := s.beginPasskey(t)
	for i := range 20 {
		c, err := s.BeginPasskey(t.Context(), s.asAlice(), fmt.Sprint(" Key ", i))
		require.NoError(t, err)
		_, err = s.AddPasskey(t.Context(), s.alice, c.Sealed, newDevice(t).make(t, c), home())
		require.NoError(t, err)
	}
	_, err := s.BeginPasskey(t.Context(), s.asAlice(), "One more")
	field("passkey", err)
	require.ErrorIs(t, err, oauth.ErrTooMany)
	_, err = s.AddPasskey(t.Context(), s.alice, kept.Sealed, newDevice(t).make(t, kept), home())
	require.ErrorIs(t, err, oauth.ErrTooMany)
	f, err := s.Factors(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Len(t, f.Passkeys, 20)
	require.Equal(t, "Key 0", f.Passkeys[0].Name)
}

func TestPasskeysWantAHostName(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for address, want := range map[string]bool{
		"https://home.example.com": true, "https://home.example.com:8443": true, "http://localhost": true, "http://localhost:8080": true,
		"": false, "http://127.0.0.1:8080": false, "http://[::1]:8080": false, "https://192.0.2.1": false,
	} {
		at := s.with(t, func(o *oauth.Options) { o.Issuer = address })
		require.Equal(t, want, at.HasPasskeys(), address)
	}
	without := s.with(t, func(o *oauth.Options) { o.Issuer = "http://127.0.0.1:8080" })
	_, err := without.BeginPasskey(t.Context(), s.asAlice(), "Phone")
	var wrong *oauth.FieldError
	require.ErrorAs(t, err, &wrong)
	_, err = without.BeginPasskeySignIn()
	require.ErrorIs(t, err, oauth.ErrNotFound)
	d, _ := s.withPasskey(t)
	c := s.beginPasskeySignIn(t)
	in, err := without.PasskeySignIn(t.Context(), c.Sealed, d.answer(t, c), home())
	isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
	_, err = without.AddPasskey(t.Context(), s.alice, c.Sealed, d.answer(t, c), home())
	refused(t, err, oauth.CodeInvalidGrant)
	signed, err := without.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err)
	p, err := without.Pending(t.Context(), signed.Pending)
	require.NoError(t, err)
	_, err = without.BeginSecondPasskey(p)
	require.ErrorIs(t, err, oauth.ErrNotFound)
}

// Whatever a stranger sends is a refusal, and never a session.
func FuzzAnswerOfAPasskey(f *testing.F) {
	s := newServer(f)
	d, _ := s.withPasskey(f)
	c, making := s.beginPasskeySignIn(f), s.beginPasskey(f)
	for _, answer := range []string{d.answer(f, s.beginPasskeySignIn(f)), d.make(f, s.beginPasskey(f)), "", "null", "{}", `{"id":"AA","type":"public-key"}`} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		in, err := s.PasskeySignIn(t.Context(), c.Sealed, answer, home())
		isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
		_, err = s.AddPasskey(t.Context(), s.alice, making.Sealed, answer, home())
		refused(t, err, oauth.CodeInvalidGrant)
	})
}
