package devices

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FieldError says that a value given to an administrator's call cannot be taken.
// Nothing was written.
type FieldError struct {
	Field   string
	Problem string // what a right value would be
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// NewDevice describes a device that a unit drives.
type NewDevice struct {
	Kind  Kind
	Label string // 1 to 100 characters
}

// AddSite registers a home and its owner. The label has 1 to 100 characters; the
// timezone is an IANA name; its history is in English. Bad values are *FieldError.
func (s *Service) AddSite(ctx context.Context, ownerID int64, label, timezone string) (Site, error) {
	return s.AddSiteIn(ctx, ownerID, label, timezone, English)
}

// AddSiteIn is AddSite with a history in another language.
func (s *Service) AddSiteIn(ctx context.Context, ownerID int64, label, timezone string, language Language) (Site, error) {
	if err := checkLabel("label", label); err != nil {
		return Site{}, err
	}
	if _, err := time.LoadLocation(timezone); err != nil || timezone == "" || timezone == "Local" {
		return Site{}, &FieldError{"timezone", "is not an IANA name such as Europe/Paris"}
	}
	if !slices.Contains(Languages(), language) {
		return Site{}, &FieldError{"language", fmt.Sprintf("is not one of %v", Languages())}
	}
	site := Site{Label: label, Timezone: timezone, Language: language, Role: Owner, CreatedAt: s.now()}
	id, err := s.store.AddSite(ctx, site, ownerID)
	if err != nil {
		return Site{}, fmt.Errorf("add site: %w", err)
	}
	site.ID = id
	return site, nil
}

// AddUnit registers the HomeControl unit of a site with the devices that it drives,
// and returns the secret with which it connects: it is stored as a hash only, and
// cannot be read again. A site that is unknown or has a unit is a *FieldError.
func (s *Service) AddUnit(ctx context.Context, siteID int64, list []NewDevice) (Unit, string, []Device, error) {
	if len(list) > listLimit {
		return Unit{}, "", nil, &FieldError{"device", fmt.Sprintf("is given more than %d times", listLimit)}
	}
	now := s.now()
	secret := randomHex(32)
	unit := Unit{ID: randomHex(8), SiteID: siteID, SecretHash: sha256.Sum256([]byte(secret)), CreatedAt: now}
	registered := make([]Device, len(list))
	for i, d := range list {
		if err := checkLabel("device", d.Label); err != nil {
			return Unit{}, "", nil, err
		}
		thing, known := s.table.things[d.Kind]
		if !known || d.Kind == Security {
			return Unit{}, "", nil, &FieldError{"device", fmt.Sprintf("kind is not one of %v", DeviceKinds())}
		}
		registered[i] = Device{Kind: d.Kind, Label: d.Label, ModelID: thing.Model.ID, ModelLabel: thing.Model.Label, CreatedAt: now}
	}
	added, err := s.store.AddUnit(ctx, unit, registered)
	switch {
	case errors.Is(err, ErrNotFound):
		return Unit{}, "", nil, &FieldError{"site", "is not known"}
	case errors.Is(err, ErrExists):
		return Unit{}, "", nil, &FieldError{"site", "has a unit already"}
	case err != nil:
		return Unit{}, "", nil, fmt.Errorf("add unit to site %d: %w", siteID, err)
	}
	return unit, secret, added, nil
}

// ReplaceSecret gives a unit another secret, which it returns: it is stored as a hash
// only, and cannot be read again. The one before is good for nothing any more. A unit
// that is not known is a *FieldError.
func (s *Service) ReplaceSecret(ctx context.Context, unitID string) (string, error) {
	if !isUnitID(unitID) {
		return "", &FieldError{"unit", "is not known"}
	}
	secret := randomHex(32)
	err := s.store.ReplaceSecret(ctx, unitID, sha256.Sum256([]byte(secret)), s.now())
	switch {
	case errors.Is(err, ErrNotFound):
		return "", &FieldError{"unit", "is not known"}
	case err != nil:
		return "", fmt.Errorf("replace secret of unit %s: %w", unitID, err)
	}
	return secret, nil
}

// replacedMax bounds the replacements that are listed at once.
const replacedMax = 1_000

// Replaced lists the units that were given another secret within the last so long, the
// latest first, 1,000 at the most.
func (s *Service) Replaced(ctx context.Context, within time.Duration) ([]Replacement, error) {
	replaced, err := s.store.Replaced(ctx, s.now().Add(-within), replacedMax)
	if err != nil {
		return nil, fmt.Errorf("list replaced secrets: %w", err)
	}
	return replaced, nil
}

// Units lists units by ID, those above after, limit at the most.
func (s *Service) Units(ctx context.Context, after string, limit int) ([]Unit, error) {
	units, err := s.store.Units(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list units: %w", err)
	}
	return units, nil
}

// AuthenticateUnit reports whether username and password are a unit's, and gives
// its ID. An error means that it could not be found out.
func (s *Service) AuthenticateUnit(ctx context.Context, username, password string) (unitID string, ok bool, err error) {
	if !isUnitID(username) {
		return "", false, nil
	}
	unit, err := s.store.Unit(ctx, username)
	if errors.Is(err, ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read unit %s: %w", username, err)
	}
	given := sha256.Sum256([]byte(password))
	return unit.ID, subtle.ConstantTimeCompare(given[:], unit.SecretHash[:]) == 1, nil
}

// Disconnect makes every unit offline. A bridge calls it when it starts with an empty
// broker of its own: whoever was connected to the one before has to come again.
func (s *Service) Disconnect(ctx context.Context) error {
	if err := s.store.Disconnect(ctx, s.now()); err != nil {
		return fmt.Errorf("disconnect units: %w", err)
	}
	return nil
}

// Online counts the units that are connected.
func (s *Service) Online(ctx context.Context) (int, error) {
	n, err := s.store.Online(ctx)
	if err != nil {
		return 0, fmt.Errorf("count units online: %w", err)
	}
	return n, nil
}

func isUnitID(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 16 && strings.ToLower(s) == s
}

func checkLabel(field, label string) error {
	n := utf8.RuneCountInString(label)
	if n < 1 || n > 100 || !utf8.ValidString(label) || strings.ContainsFunc(label, isUnseen) || strings.TrimSpace(label) == "" {
		return &FieldError{field, "must have 1 to 100 characters, none of them a control character or invisible"}
	}
	return nil
}

// isUnseen reports whether r is a character that nobody sees. A label is read also where
// a person decides what an application may do.
func isUnseen(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}
