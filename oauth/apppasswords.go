package oauth

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// AppPasswordsMax is how many app passwords an application may have.
const AppPasswordsMax = 20

const (
	appPasswordBytes = 20 // of randomness
	appPasswordGroup = 4  // characters between two dashes
)

// newAppPassword draws 160 bits, as eight groups of four letters and digits of base32
// (RFC 4648 section 6) in lower case.
func newAppPassword() string {
	b := make([]byte, appPasswordBytes)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	text := strings.ToLower(base32.StdEncoding.EncodeToString(b))
	var groups []string
	for group := range slices.Chunk([]byte(text), appPasswordGroup) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, "-")
}

// appPasswordHash is the hash of what may be an app password: dashes, spaces and
// capital letters make no difference.
func appPasswordHash(password string) (Hash, bool) {
	if len(password) > 4*appPasswordBytes {
		return Hash{}, false
	}
	text := strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(password))
	b, err := base32.StdEncoding.DecodeString(text)
	if err != nil || len(b) != appPasswordBytes {
		return Hash{}, false
	}
	return HashOf(text), true
}

// AppPasswords lists those of an application of the owner, the newest first. An
// application of somebody else is ErrNotFound.
func (s *Service) AppPasswords(ctx context.Context, ownerID int64, clientID string) ([]AppPassword, error) {
	if _, err := s.Application(ctx, ownerID, clientID); err != nil {
		return nil, err
	}
	passwords, err := s.opts.Store.AppPasswords(ctx, clientID, AppPasswordsMax)
	if err != nil {
		return nil, fmt.Errorf("list app passwords of client %s: %w", clientID, err)
	}
	return passwords, nil
}

// AddAppPassword gives a personal application of the owner an app password, which
// nothing can show again. A name that cannot be is a
// *FieldError; of one that the application has its cause is ErrExists, and of an
// application that has AppPasswordsMax it is ErrTooMany. An application that is not the
// owner's, or not personal, is ErrNotFound. A wrong password is refused as by SignIn.
func (s *Service) AddAppPassword(ctx context.Context, by Confirmation, clientID, name string) (password string, err error) {
	client, err := s.Application(ctx, by.User.ID, clientID)
	if err != nil {
		return "", err
	}
	if client.Kind != Personal {
		return "", ErrNotFound
	}
	if name, err = checkName(name); err != nil {
		return "", err
	}
	if err := s.confirm(ctx, by); err != nil {
		return "", err
	}
	password = newAppPassword()
	hash, _ := appPasswordHash(password)
	err = s.opts.Store.AddAppPassword(ctx, AppPassword{ClientID: clientID, Name: name, Hash: hash, CreatedAt: s.now()},
		AppPasswordsMax, s.change(by.User.ID, ActionAppPasswordAdded, clientID, name, by.Address))
	switch {
	case errors.Is(err, ErrExists):
		return "", &FieldError{Field: "name", Problem: "is taken", Err: err}
	case errors.Is(err, ErrTooMany):
		return "", &FieldError{Field: "name", Problem: fmt.Sprintf("is one too many: there are %d", AppPasswordsMax), Err: err}
	case errors.Is(err, ErrNotFound):
		return "", ErrNotFound
	case err != nil:
		return "", fmt.Errorf("add app password to client %s: %w", clientID, err)
	}
	return password, nil
}

// RemoveAppPassword ends an app password of an application of the owner. One that is
// not there is ErrNotFound. The tokens that were got with it live on.
func (s *Service) RemoveAppPassword(ctx context.Context, ownerID int64, clientID string, id int64, from netip.Addr) error {
	passwords, err := s.AppPasswords(ctx, ownerID, clientID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(passwords, func(p AppPassword) bool { return p.ID == id })
	if at < 0 {
		return ErrNotFound
	}
	err = s.opts.Store.RemoveAppPassword(ctx, clientID, id, s.change(ownerID, ActionAppPasswordRemoved, clientID, passwords[at].Name, from))
	switch {
	case errors.Is(err, ErrNotFound):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("remove app password of client %s: %w", clientID, err)
	}
	return nil
}

// RequireAppPasswords has the password grant take app passwords only for a person, and
// the account's own password no more. It takes something away, and so wants no
// password. from is where the person is.
func (s *Service) RequireAppPasswords(ctx context.Context, u User, from netip.Addr) error {
	return s.setAppPasswordsOnly(ctx, u, true, s.change(u.ID, ActionPasswordForbidden, "", "", from))
}

// AllowOwnPassword undoes RequireAppPasswords. A wrong password is refused as by SignIn.
func (s *Service) AllowOwnPassword(ctx context.Context, by Confirmation) error {
	if err := s.confirm(ctx, by); err != nil {
		return err
	}
	return s.setAppPasswordsOnly(ctx, by.User, false, s.change(by.User.ID, ActionPasswordAllowed, "", "", by.Address))
}

func (s *Service) setAppPasswordsOnly(ctx context.Context, u User, only bool, noted Change) error {
	if u.AppPasswordsOnly == only {
		return nil
	}
	if err := s.opts.Store.SetAppPasswordsOnly(ctx, u.ID, only, noted); err != nil {
		return fmt.Errorf("set which passwords the password grant takes for user %d: %w", u.ID, err)
	}
	return nil
}

// appPassword finds the app password that a try was made with; one with ID 0 if there
// is none. It does not depend on the username.
func (s *Service) appPassword(ctx context.Context, try attempt) (AppPassword, error) {
	if try.client.ID == "" || try.own {
		return AppPassword{}, nil
	}
	hash, is := appPasswordHash(try.password)
	if !is {
		return AppPassword{}, nil
	}
	found, err := s.opts.Store.AppPassword(ctx, try.client.ID, hash)
	switch {
	case errors.Is(err, ErrNotFound):
		return AppPassword{}, nil
	case err != nil:
		return AppPassword{}, fmt.Errorf("find app password of client %s: %w", try.client.ID, err)
	}
	return found, nil
}

// touch notes the use of an app password, at most once a minute.
func (s *Service) touch(ctx context.Context, p AppPassword) error {
	now := s.now()
	if p.ID == 0 || now.Sub(p.LastUsedAt) < time.Minute {
		return nil
	}
	if err := s.opts.Store.TouchAppPassword(ctx, p.ID, now); err != nil {
		return fmt.Errorf("note use of an app password of client %s: %w", p.ClientID, err)
	}
	return nil
}
