package oauth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// SealKeySize is the length of Options.SealKey in bytes.
const SealKeySize = 32

// errSealed says that something was sealed with another key, for another purpose, or
// was changed since.
var errSealed = errors.New("cannot be unsealed")

// sealer encrypts and authenticates what must be read back, and what is given to a
// browser to keep. Each value has a key of its own, derived with HKDF-SHA256 from the
// key, a new salt and the purpose: so one of another purpose is never taken, and any
// number may be sealed.
type sealer struct{ key []byte }

const saltSize = 16

// seal gives the salt and then what AES-256-GCM makes of plain.
func (s sealer) seal(purpose string, plain []byte) ([]byte, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	aead, err := s.aead(purpose, salt)
	if err != nil {
		return nil, err
	}
	return aead.Seal(salt, nil, plain, nil), nil //nolint:gosec // it draws its own nonce
}

// open undoes seal for the same purpose. Anything else is errSealed.
func (s sealer) open(purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) < saltSize {
		return nil, errSealed
	}
	aead, err := s.aead(purpose, sealed[:saltSize])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed[saltSize:], nil)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

func (s sealer) aead(purpose string, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.key, salt, "foxbridge seal "+purpose, SealKeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key for %s: %w", purpose, err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", purpose, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", purpose, err)
	}
	return aead, nil
}
