package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// ErrTooMany says that an owner has as many clients as are allowed. It is an error of
// a Store; nothing was written.
var ErrTooMany = errors.New("too many")

const (
	personalMax = 10 // personal applications that a person may have
	pendingMax  = 10 // commercial ones that may wait for an operator
	ownedMax    = 200

	// RegistrationsWithin is the time in which a person may register
	// Options.Registrations applications.
	RegistrationsWithin = 24 * time.Hour
)

// Applications lists those of an owner, the newest first.
func (s *Service) Applications(ctx context.Context, ownerID int64) ([]Client, error) {
	clients, err := s.opts.Store.ClientsOf(ctx, ownerID, ownedMax)
	if err != nil {
		return nil, fmt.Errorf("list clients of user %d: %w", ownerID, err)
	}
	slices.SortStableFunc(clients, func(a, b Client) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return clients, nil
}

// Application finds one of an owner's. One of somebody else is ErrNotFound, as one
// that does not exist.
func (s *Service) Application(ctx context.Context, ownerID int64, clientID string) (Client, error) {
	if !isHex(clientID, clientIDDigits) {
		return Client{}, ErrNotFound
	}
	client, err := s.client(ctx, clientID)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && client.OwnerID != ownerID:
		return Client{}, ErrNotFound
	case err != nil:
		return Client{}, fmt.Errorf("find client: %w", err)
	}
	return client, nil
}

// CreatePersonal registers a personal application under a client_id that the caller
// has drawn with NewClientID, so that a repeat creates nothing. from is where the owner
// is. It gives the application's
// client_secret, which nothing can show again. A name or a client_id that cannot be is
// a *FieldError; of a client_id that is taken its cause is ErrExists, of a person
// who has 10 personal applications it is ErrTooMany, and of one who has registered
// Options.Registrations within a day a *TooSoonError.
func (s *Service) CreatePersonal(ctx context.Context, ownerID int64, clientID, name string, from netip.Addr) (c Client, secret string, err error) {
	if name, err = checkName(name); err != nil {
		return Client{}, "", err
	}
	c, secret = s.personal(clientID, ownerID, name)
	if err := s.register(ctx, c, personalMax, s.change(ownerID, ActionAppCreated, c.ID, c.Name, from)); err != nil {
		return Client{}, "", err
	}
	return c, secret, nil
}

// CreateCommercial is RequestCommercial under a client_id that the caller has drawn,
// for the person who is signed in; see CreatePersonal. 10 may wait for an operator.
func (s *Service) CreateCommercial(ctx context.Context, ownerID int64, clientID string, r CommercialRequest) (c Client, secret string, err error) {
	if err := s.checkCommercial(&r); err != nil {
		return Client{}, "", err
	}
	c, secret = s.commercial(clientID, ownerID, r)
	if err := s.register(ctx, c, pendingMax, s.change(ownerID, ActionAppRequested, c.ID, c.Name, r.Address)); err != nil {
		return Client{}, "", err
	}
	return c, secret, nil
}

// register adds a client of which its owner may have so many.
func (s *Service) register(ctx context.Context, c Client, limit int, noted Change) error {
	if !isHex(c.ID, clientIDDigits) {
		return &FieldError{Field: "client_id", Problem: "is malformed"}
	}
	return s.add(ctx, c, limit, noted)
}

// add adds a client, of those that are like it up to limit (0: no limit), and of all that
// its owner registers within a day Options.Registrations: each may get a token that is not
// wasteful, and each is kept for long after it is deleted.
func (s *Service) add(ctx context.Context, c Client, limit int, noted Change) error {
	room := Room{Alike: limit, Recent: max(0, s.opts.Registrations), Within: RegistrationsWithin}
	err := s.opts.Store.AddClientWithin(ctx, c, room, noted)
	soon, isSoon := errors.AsType[*TooSoonError](err)
	switch {
	case errors.Is(err, ErrExists):
		return &FieldError{Field: "client_id", Problem: "is taken", Err: err}
	case errors.Is(err, ErrTooMany):
		return &FieldError{Field: "owner", Problem: fmt.Sprintf("has %d applications of this kind already", limit), Err: err}
	case isSoon:
		return &FieldError{Field: "owner", Problem: fmt.Sprintf("has registered %d applications within a day; the next may follow at %s",
			soon.Recent, soon.Minute().Format("2006-01-02 15:04 UTC")), Err: err}
	case err != nil:
		return fmt.Errorf("add client of user %d: %w", c.OwnerID, err)
	}
	return nil
}

// AddOwnSecret is AddSecret for an application of the owner; of any other it is
// ErrNotFound. A wrong password is refused as by SignIn.
func (s *Service) AddOwnSecret(ctx context.Context, by Confirmation, clientID string) (secret string, err error) {
	if _, err := s.Application(ctx, by.User.ID, clientID); err != nil {
		return "", err
	}
	if err := s.confirm(ctx, by); err != nil {
		return "", err
	}
	return s.addSecret(ctx, clientID, s.change(by.User.ID, ActionSecretAdded, clientID, "", by.Address))
}

// RemoveOwnSecret is RemoveSecret for an application of the owner; of any other it is
// ErrNotFound.
func (s *Service) RemoveOwnSecret(ctx context.Context, ownerID int64, clientID string, secretID int64, from netip.Addr) error {
	if _, err := s.Application(ctx, ownerID, clientID); err != nil {
		return err
	}
	return s.removeSecret(ctx, clientID, secretID, s.change(ownerID, ActionSecretRemoved, clientID, "", from))
}

// OwnToken issues tokens as the password grant does, to a personal application of
// the person who is signed in and enters the account's password again, also if scripts
// may not use that. The session stands for
// the client_secret, which nobody can show again. An application that is not the
// owner's is ErrNotFound; all else is as of Token.
func (s *Service) OwnToken(ctx context.Context, owner User, clientID, password string, address netip.Addr) (Tokens, error) {
	client, err := s.Application(ctx, owner.ID, clientID)
	if err != nil {
		return Tokens{}, err
	}
	if err := s.usable(ctx, client); err != nil {
		return Tokens{}, s.refuse(client.ID, err)
	}
	return s.issue(ctx, client, TokenRequest{
		ClientID: client.ID, GrantType: GrantPassword, Username: owner.Email, Password: password, Address: address, own: true,
	})
}
