package oauth

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hash is the SHA-256 of a secret: the only form in which a store sees one.
type Hash [sha256.Size]byte

// HashOf hashes a secret of at least 128 bits of randomness. Passwords have
// less and go through argon2id instead.
func HashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// Nonce is the random half of a successor pair. Alone it opens nothing.
type Nonce [32]byte

// Lengths in hex digits.
const (
	secretDigits   = 64 // of a token and of a client_secret
	clientIDDigits = 32
)

// NewSecret draws 256 bits from crypto/rand, in lower-case hex: clients search
// token answers for words such as "ko", which hex cannot spell.
func NewSecret() string { return randomHex(secretDigits / 2) }

// NewClientID draws a client_id: 128 bits in lower-case hex.
func NewClientID() string { return randomHex(clientIDDigits / 2) }

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

// isHex tells whether s is n lower-case hex digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func newNonce() (n Nonce) {
	rand.Read(n[:])
	return n
}

// successor derives the pair that follows an old refresh token. Whoever holds
// only the store (nonces and hashes) or only an old token cannot derive it; the
// client that repeats its old token within the grace gets the same pair again.
func successor(old string, nonce Nonce) (access, refresh string, err error) {
	for _, half := range []struct {
		info string
		into *string
	}{{"access", &access}, {"refresh", &refresh}} {
		key, err := hkdf.Key(sha256.New, []byte(old), nonce[:], "foxbridge successor "+half.info, 32)
		if err != nil {
			return "", "", fmt.Errorf("derive successor %s token: %w", half.info, err)
		}
		*half.into = hex.EncodeToString(key)
	}
	return access, refresh, nil
}

// NormalizeEmail gives the form in which a sign-in name is stored and compared:
// without surrounding space, in lower case. The second result is false for what
// cannot be a name: not one @ with something on both sides, over 254 bytes, a
// space or control character, or invalid UTF-8.
func NormalizeEmail(s string) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false // strings.ToLower would repair it
	}
	s = strings.ToLower(strings.TrimSpace(s))
	local, domain, found := strings.Cut(s, "@")
	if !found || local == "" || domain == "" || strings.Contains(domain, "@") || len(s) > 254 {
		return "", false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "", false
	}
	return s, true
}
