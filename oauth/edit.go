package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// ErrChanged is the cause of the refusal to edit what was changed in the meantime.
var ErrChanged = errors.New("changed in the meantime")

// by is who changes something, and from where; the zero by is an operator, by command.
type by struct {
	userID  int64
	address netip.Addr
}

// noted is the entry that an action on an application leaves with its owner.
func (s *Service) noted(who by, c Client, action Action) Change {
	change := s.change(c.OwnerID, action, c.ID, c.Name, who.address)
	change.ActorID = who.userID
	return change
}

// Edit is what an owner can change about an application, as it is to be. A personal
// one has a name only.
type Edit struct {
	Name         string
	Description  string
	HomePage     string
	RedirectURIs []string
	Scopes       []string
	Public       bool
	RequirePKCE  bool
	RequireScope bool
	Legacy       bool
}

// HeldEdit is a change of an application that waits for an operator. Until then the
// application goes on as it is.
type HeldEdit struct {
	// Client has ID, Edition, Name, Description, HomePage, RedirectURIs, Scope, Public,
	// RequirePKCE, RequireScope, Legacy and Logo, as they are to be.
	Client Client
	Since  time.Time
}

// ClientUpdate is a change of a client in the Store.
type ClientUpdate struct {
	Client Client  // ID, Status and Edition as they were read; the rest as it is to be
	Held   *Client // what waits for an operator; nil: nothing
	Logo   []byte  // picture of a Logo that is new; nil: none is
	Now    time.Time
	Change Change
}

// Review is an operator's decision on an edition of an application.
type Review struct {
	ClientID string
	Edition  int64
	Approve  bool
	Reason   string   // of a rejection; may be empty
	Pending  []Change // noted if it was Pending
	Held     []Change // noted if it was a change that waited
}

// client finds a client that is not Deleted, or ErrNotFound.
func (s *Service) client(ctx context.Context, id string) (Client, error) {
	c, err := s.opts.Store.Client(ctx, id)
	if err == nil && c.Status == Deleted {
		return Client{}, ErrNotFound
	}
	return c, err
}

// Edited gives an application of the owner as it is to be: with the change that waits
// for an operator, if one does. Of any other application it is ErrNotFound.
func (s *Service) Edited(ctx context.Context, ownerID int64, clientID string) (c Client, held *HeldEdit, err error) {
	live, err := s.Application(ctx, ownerID, clientID)
	if err != nil {
		return Client{}, nil, err
	}
	return s.edited(ctx, live)
}

func (s *Service) edited(ctx context.Context, live Client) (c Client, held *HeldEdit, err error) {
	found, err := s.opts.Store.HeldEdit(ctx, live.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return live, nil, nil
	case err != nil:
		return Client{}, nil, fmt.Errorf("find held edit of client %s: %w", live.ID, err)
	}
	return merge(live, found.Client), &found, nil
}

// merge gives live with what an operator decides on taken from held.
func merge(live, held Client) Client {
	live.Name, live.Description, live.HomePage = held.Name, held.Description, held.HomePage
	live.RedirectURIs, live.Scope = held.RedirectURIs, held.Scope
	live.Public, live.RequirePKCE, live.RequireScope = held.Public, held.RequirePKCE, held.RequireScope
	live.Legacy, live.Logo = held.Legacy, held.Logo
	return live
}

// Edit changes an application of the owner; of any other one it is ErrNotFound. edition
// is that of the application when its owner saw it: if it was edited since, that is a
// *FieldError with the cause ErrChanged. What cannot be stored is a *FieldError.
//
// What an operator approved does not change silently. Of an application that was
// approved, another name, description or home page, by which people know it where they
// are asked for their consent, and whatever lets it do more than before, waits for an
// operator, and held is true; the application goes on as it was approved. What only
// takes something from it holds at once. (An empty description takes nothing away: the
// one that was approved may say what the application is not.)
func (s *Service) Edit(ctx context.Context, ownerID int64, clientID string, edition int64, e Edit, address netip.Addr) (held bool, err error) {
	live, err := s.Application(ctx, ownerID, clientID)
	if err != nil {
		return false, err
	}
	want := live
	if live.Kind == Commercial {
		want, _, err = s.edited(ctx, live)
	}
	if err != nil {
		return false, err
	}
	if want, err = s.with(want, e); err != nil {
		return false, err
	}
	return s.update(ctx, live, want, edition, nil, by{ownerID, address})
}

// with gives c with e, or what is wrong with e.
func (s *Service) with(c Client, e Edit) (Client, error) {
	if c.Kind == Personal {
		name, err := checkName(e.Name)
		c.Name = name
		return c, err
	}
	r := CommercialRequest{Name: e.Name, Description: e.Description, HomePage: e.HomePage, RedirectURIs: e.RedirectURIs, Scopes: e.Scopes}
	if err := s.checkCommercial(&r); err != nil {
		return Client{}, err
	}
	if e.Legacy && e.RequirePKCE {
		return Client{}, &FieldError{Field: "legacy", Problem: "cannot be together with PKCE"}
	}
	c.Name, c.Description, c.HomePage, c.RedirectURIs, c.Scope = r.Name, r.Description, r.HomePage, r.RedirectURIs, NewScope(r.Scopes...)
	c.Public, c.RequirePKCE, c.RequireScope, c.Legacy = e.Public, e.RequirePKCE, e.RequireScope, e.Legacy
	return c, nil
}

// SetLogo gives a commercial application of the owner a picture, which is a PNG or a
// JPEG (see Logo), or takes it away if upload is empty. It refuses and holds as Edit
// does; a *FieldError of the field "logo" says what is wrong with the picture.
func (s *Service) SetLogo(ctx context.Context, ownerID int64, clientID string, edition int64, upload []byte, address netip.Addr) (held bool, err error) {
	live, err := s.Application(ctx, ownerID, clientID)
	if err != nil {
		return false, err
	}
	if live.Kind != Commercial {
		return false, ErrNotFound
	}
	want, _, err := s.edited(ctx, live)
	if err != nil {
		return false, err
	}
	var picture []byte
	want.Logo = Hash{}
	if len(upload) > 0 {
		if picture, err = Logo(upload); err != nil {
			return false, err
		}
		want.Logo = HashOf(string(picture))
	}
	return s.update(ctx, live, want, edition, picture, by{ownerID, address})
}

func (s *Service) update(ctx context.Context, live, want Client, edition int64, logo []byte, who by) (held bool, err error) {
	if live.Status == Rejected {
		return false, &FieldError{Field: "application", Problem: "was not approved and cannot be edited"}
	}
	changed := &FieldError{Field: "application", Problem: "was edited in the meantime", Err: ErrChanged}
	if live.Edition != edition {
		return false, changed
	}
	now := s.now()
	u := ClientUpdate{Client: want, Logo: logo, Now: now, Change: s.noted(who, live, ActionAppEdited)}
	if live.Status != Pending && live.Kind == Commercial {
		if u.Client, held = atOnce(live, want); held {
			u.Held, u.Change.Action = &want, ActionAppEditHeld
		}
	}
	err = s.opts.Store.UpdateClient(ctx, u)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, changed
	case err != nil:
		return false, fmt.Errorf("update client %s: %w", live.ID, err)
	}
	return held, nil
}

// atOnce gives what of a change may hold at once, and whether that is not all of it.
// A field either takes something away, and holds, or waits as a whole.
func atOnce(live, want Client) (now Client, rest bool) {
	now = want
	wait := func(waits bool, keep func()) {
		if waits {
			rest = true
			keep()
		}
	}
	added := func(uri string) bool { return !slices.Contains(live.RedirectURIs, uri) }
	wait(want.Name != live.Name, func() { now.Name = live.Name })
	wait(want.Description != live.Description, func() { now.Description = live.Description })
	wait(want.HomePage != live.HomePage, func() { now.HomePage = live.HomePage })
	wait(slices.ContainsFunc(want.RedirectURIs, added), func() { now.RedirectURIs = live.RedirectURIs })
	wait(!want.Scope.Within(live.Scope), func() { now.Scope = live.Scope })
	wait(want.Public != live.Public, func() { now.Public = live.Public })
	wait(live.RequirePKCE && !want.RequirePKCE, func() { now.RequirePKCE = true })
	wait(live.RequireScope && !want.RequireScope, func() { now.RequireScope = true })
	wait(want.Legacy && !live.Legacy, func() { now.Legacy = false })
	wait(want.Logo != live.Logo && want.Logo != Hash{}, func() { now.Logo = live.Logo })
	return now, rest
}

// HeldEdits lists the changes of applications that wait for an operator by client_id,
// those above after, limit at the most.
func (s *Service) HeldEdits(ctx context.Context, after string, limit int) ([]HeldEdit, error) {
	held, err := s.opts.Store.HeldEdits(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list held edits: %w", err)
	}
	return held, nil
}

// EditRequest is a change of an application that waits for an operator.
type EditRequest struct {
	HeldEdit
	Live  Client // the application as it is
	Owner User
}

// EditRequests lists the changes of applications that wait for an operator, 50 at the
// most.
func (s *Service) EditRequests(ctx context.Context) ([]EditRequest, error) {
	held, err := s.HeldEdits(ctx, "", requestsMax)
	if err != nil {
		return nil, err
	}
	requests := make([]EditRequest, 0, len(held))
	for _, h := range held {
		live, err := s.client(ctx, h.Client.ID)
		if errors.Is(err, ErrNotFound) {
			continue // deleted while we looked
		}
		if err != nil {
			return nil, fmt.Errorf("find client %s: %w", h.Client.ID, err)
		}
		owner, err := s.opts.Store.User(ctx, live.OwnerID)
		if err != nil {
			return nil, fmt.Errorf("find owner of client %s: %w", live.ID, err)
		}
		requests = append(requests, EditRequest{h, live, owner})
	}
	return requests, nil
}

// SetLegacy is how an operator lets a commercial application use the implicit grant, or
// no longer. One that is not there, or must use PKCE, is a *FieldError.
func (s *Service) SetLegacy(ctx context.Context, clientID string, legacy bool) error {
	unknown := &FieldError{Field: "client_id", Problem: "names no commercial application", Err: ErrNotFound}
	if !isHex(clientID, clientIDDigits) {
		return unknown
	}
	c, err := s.client(ctx, clientID)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && c.Kind != Commercial:
		return unknown
	case err != nil:
		return fmt.Errorf("find client: %w", err)
	case legacy && c.RequirePKCE:
		return &FieldError{Field: "legacy", Problem: "cannot be together with PKCE"}
	}
	now, action := s.now(), ActionAppLegacyOff
	if legacy {
		action = ActionAppLegacyOn
	}
	want, held, err := s.edited(ctx, c)
	if err != nil {
		return err
	}
	c.Legacy, want.Legacy = legacy, legacy
	u := ClientUpdate{Client: c, Now: now, Change: s.noted(by{}, c, action)}
	if held != nil {
		u.Held = &want
	}
	err = s.opts.Store.UpdateClient(ctx, u)
	switch {
	case errors.Is(err, ErrNotFound):
		return &FieldError{Field: "application", Problem: "was edited in the meantime", Err: ErrChanged}
	case err != nil:
		return fmt.Errorf("update client %s: %w", c.ID, err)
	}
	return nil
}

// DeleteOwn does away with an application of the owner: it, its secrets and all its
// tokens are dead at once. Its client_id is never given again, and records go on naming
// it. Any other application is ErrNotFound.
func (s *Service) DeleteOwn(ctx context.Context, ownerID int64, clientID string, address netip.Addr) error {
	c, err := s.Application(ctx, ownerID, clientID)
	if err != nil {
		return err
	}
	return s.delete(ctx, c, by{ownerID, address})
}

// DeleteClient is DeleteOwn for an operator, of any application. One that is not there
// is a *FieldError.
func (s *Service) DeleteClient(ctx context.Context, clientID string) error {
	unknown := &FieldError{Field: "client_id", Problem: "names no application", Err: ErrNotFound}
	if !isHex(clientID, clientIDDigits) {
		return unknown
	}
	c, err := s.client(ctx, clientID)
	switch {
	case errors.Is(err, ErrNotFound):
		return unknown
	case err != nil:
		return fmt.Errorf("find client: %w", err)
	}
	if err := s.delete(ctx, c, by{}); errors.Is(err, ErrNotFound) {
		return unknown
	} else if err != nil {
		return err
	}
	return nil
}

func (s *Service) delete(ctx context.Context, c Client, who by) error {
	now := s.now()
	err := s.opts.Store.DeleteClient(ctx, c.ID, now, s.noted(who, c, ActionAppDeleted))
	switch {
	case errors.Is(err, ErrNotFound):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("delete client %s: %w", c.ID, err)
	}
	s.opts.Observer.Deleted(c.ID)
	s.opts.Observer.ConnectionsChanged(c.ID)
	return nil
}

// LogoOf gives a picture of an application, a PNG, or ErrNotFound.
func (s *Service) LogoOf(ctx context.Context, clientID string, hash Hash) ([]byte, error) {
	if !isHex(clientID, clientIDDigits) {
		return nil, ErrNotFound
	}
	png, err := s.opts.Store.Logo(ctx, clientID, hash)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("find logo of client %s: %w", clientID, err)
	}
	return png, err
}
