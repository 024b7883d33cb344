package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// RecoveryCodes is how many recovery codes a person gets at once.
const RecoveryCodes = 10

// A recovery code is 20 characters of base32, so 100 bits: too many to be tried out,
// here or on a stolen database. It is written in groups.
const (
	recoveryCharacters = 20
	recoveryGroup      = 4
)

// newRecoveryCodes draws the codes of a person, as they are shown and as they are stored.
func newRecoveryCodes(userID int64) (codes []string, hashes []Hash) {
	for range RecoveryCodes {
		drawn := rand.Text()[:recoveryCharacters]
		var groups []string
		for at := 0; at < len(drawn); at += recoveryGroup {
			groups = append(groups, drawn[at:at+recoveryGroup])
		}
		codes = append(codes, strings.Join(groups, "-"))
		hashes = append(hashes, recoveryHash(userID, drawn))
	}
	return codes, hashes
}

// recoveryHash is what is stored of a code. It takes the code as people type it: in
// small letters, without the hyphens, with digits for letters that look alike.
func recoveryHash(userID int64, code string) Hash {
	code = strings.NewReplacer("-", "", " ", "", "0", "O", "1", "I", "8", "B").Replace(strings.ToUpper(strings.TrimSpace(code)))
	return HashOf(fmt.Sprintf("recovery\x00%d\x00%s", userID, code))
}

// NewRecoveryCodes gives a person ten recovery codes, which nothing can show again, in
// place of all earlier ones. Who has no second factor is ErrNotFound; a wrong password
// is refused as by SignIn.
func (s *Service) NewRecoveryCodes(ctx context.Context, by Confirmation) ([]string, error) {
	if err := s.confirm(ctx, by); err != nil {
		return nil, err
	}
	codes, hashes := newRecoveryCodes(by.User.ID)
	err := s.opts.Store.SetRecoveryCodes(ctx, by.User.ID, hashes, s.change(by.User.ID, ActionRecoveryCodesMade, "", "", by.Address))
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("replace recovery codes of user %d: %w", by.User.ID, err)
	}
	return codes, nil
}
