package oauth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// rsaKey is an RSA key of so many bytes, whose private part nobody knows.
func rsaKey(t testing.TB, length int, exponent ...byte) []byte {
	t.Helper()
	key, err := webauthncbor.Marshal(webauthncose.RSAPublicKeyData{
		PublicKeyData: webauthncose.PublicKeyData{KeyType: int64(webauthncose.RSAKey), Algorithm: int64(webauthncose.AlgRS256)},
		Modulus:       bytes.Repeat([]byte{0xff}, length), Exponent: exponent,
	})
	require.NoError(t, err)
	return key
}

// makeWith answers a ceremony that makes a passkey with another public key, and with
// that attestation.
func (d *device) makeWith(t testing.TB, c oauth.Ceremony, key []byte, format string, statement map[string]any) string {
	t.Helper()
	var answer map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.make(t, c)), &answer))
	response := answer["response"].(map[string]any)
	coded, err := base64.RawURLEncoding.DecodeString(response["attestationObject"].(string))
	require.NoError(t, err)
	var object map[string]any
	require.NoError(t, webauthncbor.Unmarshal(coded, &object))
	data := object["authData"].([]byte)
	const before = 32 + 1 + 4 + 16 + 2 // hash, flags, count, AAGUID, length of the ID
	id := int(binary.BigEndian.Uint16(data[before-2:]))
	if key != nil {
		data = append(bytes.Clone(data[:before+id]), key...)
	}
	coded, err = webauthncbor.Marshal(map[string]any{"fmt": format, "attStmt": statement, "authData": data})
	require.NoError(t, err)
	response["attestationObject"] = base64.RawURLEncoding.EncodeToString(coded)
	text, err := json.Marshal(answer)
	require.NoError(t, err)
	return string(text)
}

func TestAKeyThatTakesLongToVerifyIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	usual := []byte{1, 0, 1}
	for name, c := range map[string]struct {
		key    []byte
		reason string // empty: it is taken
	}{
		"2048 bits":           {rsaKey(t, 256, usual...), ""},
		"4096 bits":           {rsaKey(t, 512, usual...), ""},
		"4104 bits":           {rsaKey(t, 513, usual...), "has 4104 bits"},
		"184,000 bits":        {rsaKey(t, 23_000, usual...), "more than 1200 bytes"},
		"a large exponent":    {rsaKey(t, 256, 1, 0, 3), "above 65537"},
		"the largest of them": {rsaKey(t, 256, 0x7f, 0xff, 0xff, 0xff), "above 65537"},
	} {
		ceremony := s.beginPasskey(t)
		_, err := s.AddPasskey(t.Context(), s.alice, ceremony.Sealed, newDevice(t).makeWith(t, ceremony, c.key, "none", map[string]any{}), home())
		if c.reason == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, refused(t, err, oauth.CodeInvalidGrant).Err, c.reason, name)
	}
	f, err := s.Factors(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Len(t, f.Passkeys, 2)
}

// The bridge asks for no attestation. What a stranger puts there, certificates with long
// keys among it, it does not verify.
func TestAnAttestationIsNotVerified(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.beginPasskey(t)
	statement := map[string]any{"alg": int64(webauthncose.AlgRS256), "sig": []byte("junk"), "x5c": []any{[]byte("junk")}}
	_, err := s.AddPasskey(t.Context(), s.alice, c.Sealed, newDevice(t).makeWith(t, c, nil, "packed", statement), home())
	require.NoError(t, err)
}

func TestThreeKindsOfKeysAreAskedFor(t *testing.T) {
	t.Parallel()
	var options struct {
		Parameters []map[string]any `json:"pubKeyCredParams"`
	}
	require.NoError(t, json.Unmarshal([]byte(newServer(t).beginPasskey(t).Options), &options))
	require.Equal(t, []map[string]any{
		{"type": "public-key", "alg": -7.0}, {"type": "public-key", "alg": -8.0}, {"type": "public-key", "alg": -257.0},
	}, options.Parameters)
}

// One that is in the record already is refused before anything is verified with it.
func TestAStoredKeyThatTakesLongIsNotVerifiedWith(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	d, _ := s.withPasskey(t)
	d.key.ID = []byte("another passkey")
	_, err := s.store.AddPasskey(t.Context(), oauth.Passkey{
		UserID: s.alice.ID, CredentialID: d.key.ID, PublicKey: rsaKey(t, 23_000, 1, 0, 1), Name: "Long", CreatedAt: s.clock.Now(),
	}, 20, oauth.Spent{Hash: oauth.HashOf("long"), ExpiresAt: s.clock.Now()}, nil, oauth.Change{UserID: s.alice.ID, Action: oauth.ActionPasskeyAdded, At: s.clock.Now()})
	require.NoError(t, err)

	c := s.beginPasskeySignIn(t)
	in, err := s.PasskeySignIn(t.Context(), c.Sealed, d.answer(t, c), home())
	isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
	require.ErrorContains(t, refused(t, err, oauth.CodeInvalidGrant).Err, "more than 1200 bytes")

	pending := s.pending(t)
	c = s.second(t, pending)
	in, err = s.CompleteWithPasskey(t.Context(), pending, c.Sealed, d.answer(t, c), home())
	isOut(t, oauth.CodeInvalidGrant, "passkey refused", in, err)
	require.ErrorContains(t, refused(t, err, oauth.CodeInvalidGrant).Err, "more than 1200 bytes")
}
