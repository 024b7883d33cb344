package devices

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// Bounds of invitations.
const (
	invitationLife = 7 * 24 * time.Hour
	invitationsMax = 50 // of a site, open at one time
)

// Person is somebody who invites or is invited, with the e-mail address that was checked.
type Person struct {
	UserID      int64
	Name, Email string
}

// Members lists who belongs to a site, by user ID. A person who does not belong to it is
// refused.
func (s *Service) Members(ctx context.Context, p Person, siteID int64) ([]Membership, error) {
	if _, err := s.household(ctx, p, siteID); err != nil {
		return nil, err
	}
	members, err := s.store.Members(ctx, siteID)
	if err != nil {
		return nil, fmt.Errorf("list members of site %d: %w", siteID, err)
	}
	return members, nil
}

// Invite lets an owner of a site invite somebody by e-mail address, as Member or Guest, for
// a week. It gives the secret with which, and with that address alone, one joins: it is
// stored as a hash only. A new invitation of an address ends the one before. Bad values are
// *FieldError, anybody else than an owner is refused.
func (s *Service) Invite(ctx context.Context, owner Person, siteID int64, email string, role Role) (Invitation, string, error) {
	site, err := s.owned(ctx, owner, siteID)
	if err != nil {
		return Invitation{}, "", err
	}
	if role != Member && role != Guest {
		return Invitation{}, "", &FieldError{"role", "is not one of [member guest]"}
	}
	address, err := mail.ParseAddress(email)
	if err != nil || address.Address != email || len(email) > 254 {
		return Invitation{}, "", &FieldError{"email", "is no e-mail address"}
	}
	secret := randomHex(16)
	now := s.now()
	i := Invitation{
		SiteID: siteID, Email: strings.ToLower(email), Role: role, SecretHash: sha256.Sum256([]byte(secret)),
		CreatedAt: now, ExpiresAt: now.Add(invitationLife),
	}
	err = s.store.Invite(ctx, i, invitationsMax, accountEntry(site, now, map[Role]Text{
		Member: {"{who} invited {email} as a member", "{who} a invité {email} comme membre"},
		Guest:  {"{who} invited {email} as a guest", "{who} a invité {email} comme invité"},
	}[role], "who", owner.Name, "email", i.Email))
	switch {
	case errors.Is(err, ErrFull):
		return Invitation{}, "", &FieldError{"site", fmt.Sprintf("has %d open invitations, which is all there may be", invitationsMax)}
	case err != nil:
		return Invitation{}, "", fmt.Errorf("invite to site %d: %w", siteID, err)
	}
	return i, secret, nil
}

// Uninvite lets an owner of a site end the invitation of an address. One that was not
// invited is a *FieldError, anybody else than an owner is refused.
func (s *Service) Uninvite(ctx context.Context, owner Person, siteID int64, email string) error {
	site, err := s.owned(ctx, owner, siteID)
	if err != nil {
		return err
	}
	email = strings.ToLower(email)
	err = s.store.Uninvite(ctx, siteID, email, accountEntry(site, s.now(),
		Text{"{who} withdrew the invitation of {email}", "{who} a retiré l’invitation de {email}"}, "who", owner.Name, "email", email))
	switch {
	case errors.Is(err, ErrNotFound):
		return &FieldError{"email", "is not invited"}
	case err != nil:
		return fmt.Errorf("end an invitation to site %d: %w", siteID, err)
	}
	return nil
}

// Invitations lists the open invitations to a site for an owner.
func (s *Service) Invitations(ctx context.Context, owner Person, siteID int64) ([]Invitation, error) {
	if _, err := s.owned(ctx, owner, siteID); err != nil {
		return nil, err
	}
	list, err := s.store.Invitations(ctx, siteID, s.now())
	if err != nil {
		return nil, fmt.Errorf("list invitations to site %d: %w", siteID, err)
	}
	return list, nil
}

// Invited shows a person the invitation with that secret, and its site, before an answer. A
// secret that invites nobody or somebody else is a *FieldError.
func (s *Service) Invited(ctx context.Context, p Person, secret string) (Site, Invitation, error) {
	site, i, err := s.store.Invited(ctx, sha256.Sum256([]byte(secret)), strings.ToLower(p.Email), s.now())
	switch {
	case errors.Is(err, ErrNotFound):
		return Site{}, Invitation{}, notInvited()
	case err != nil:
		return Site{}, Invitation{}, fmt.Errorf("find an invitation: %w", err)
	}
	return site, i, nil
}

// Decline ends the invitation of the person's address to the site to which the secret invites;
// it is refused as Invited is.
func (s *Service) Decline(ctx context.Context, p Person, secret string) error {
	site, i, err := s.Invited(ctx, p, secret)
	if err != nil {
		return err
	}
	err = s.store.Uninvite(ctx, site.ID, i.Email, accountEntry(site, s.now(),
		Text{"{email} declined the invitation", "{email} a décliné l’invitation"}, "email", i.Email))
	switch {
	case errors.Is(err, ErrNotFound): // withdrawn meanwhile
		return notInvited()
	case err != nil:
		return fmt.Errorf("decline an invitation to site %d: %w", site.ID, err)
	}
	return nil
}

func notInvited() *FieldError {
	return &FieldError{"code", "is no open invitation of this address"}
}

// Join makes a person belong to the site to which the secret invites that person's
// address. A secret that invites nobody or somebody else, and one who belongs to the
// site already, is a *FieldError.
func (s *Service) Join(ctx context.Context, p Person, secret string) (Site, error) {
	now := s.now()
	site, err := s.store.Join(ctx, Joining{
		SecretHash: sha256.Sum256([]byte(secret)), UserID: p.UserID, Email: strings.ToLower(p.Email), Now: now,
		Entry: func(site Site, role Role) Entry {
			return accountEntry(site, now, map[Role]Text{
				Member: {"{who} is a member of this home now", "{who} est maintenant membre de ce domicile"},
				Guest:  {"{who} is a guest of this home now", "{who} est maintenant invité de ce domicile"},
			}[role], "who", p.Name)
		},
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return Site{}, notInvited()
	case errors.Is(err, ErrExists):
		return Site{}, &FieldError{"code", "invites to a home to which the person belongs"}
	case err != nil:
		return Site{}, fmt.Errorf("join a site: %w", err)
	}
	return site, nil
}

// RemoveMember ends that a person belongs to a site: an owner removes anybody, anybody
// removes himself. An invitation of that person's address that is left ends too: it
// would let the person in again. The last owner stays: that is a *FieldError, as is one who does
// not belong to the site.
func (s *Service) RemoveMember(ctx context.Context, by Person, siteID int64, who Person) error {
	site, err := s.household(ctx, by, siteID)
	if err != nil {
		return err
	}
	if site.Role != Owner && by.UserID != who.UserID {
		return notOwner()
	}
	err = s.store.RemoveMember(ctx, siteID, who.UserID, strings.ToLower(who.Email), accountEntry(site, s.now(),
		Text{"{who} does not belong to this home any more", "{who} ne fait plus partie de ce domicile"}, "who", who.Name))
	switch {
	case errors.Is(err, ErrNotFound):
		return &FieldError{"email", "does not belong to the home"}
	case errors.Is(err, ErrLastOwner):
		return &FieldError{"email", "is the last owner of the home"}
	case err != nil:
		return fmt.Errorf("remove member %d of site %d: %w", who.UserID, siteID, err)
	}
	return nil
}

// ApplicationEvent is something that became of an application's access to a person's sites.
type ApplicationEvent string

const (
	ApplicationConnected    ApplicationEvent = "connected"
	ApplicationSwitchedOff  ApplicationEvent = "switched off" // by the bridge, for what it did
	ApplicationSwitchedOn   ApplicationEvent = "switched on"
	ApplicationDisconnected ApplicationEvent = "disconnected"
)

// ReportApplication writes into the history of a person's sites what became of an
// application's access to them. sites are those that it was for; nil means all of the
// person's. Others are left alone.
func (s *Service) ReportApplication(ctx context.Context, p Person, application string, event ApplicationEvent, sites []int64) error {
	label, known := map[ApplicationEvent]Text{
		ApplicationConnected:    {"{who} connected the application “{application}”", "{who} a connecté l’application « {application} »"},
		ApplicationSwitchedOff:  {"The application “{application}” of {who} was switched off", "L’application « {application} » de {who} a été désactivée"},
		ApplicationSwitchedOn:   {"{who} switched the application “{application}” on again", "{who} a réactivé l’application « {application} »"},
		ApplicationDisconnected: {"{who} disconnected the application “{application}”", "{who} a déconnecté l’application « {application} »"},
	}[event]
	if !known {
		return fmt.Errorf("report application: unknown event %q", event)
	}
	list, err := s.store.Sites(ctx, p.UserID, listLimit)
	if err != nil {
		return fmt.Errorf("list sites of user %d: %w", p.UserID, err)
	}
	now := s.now()
	var entries []Entry
	for _, site := range list {
		if sites == nil || slices.Contains(sites, site.ID) {
			entries = append(entries, accountEntry(site.Site, now, label, "who", p.Name, "application", application))
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if err := s.tell(ctx, entries...); err != nil {
		return fmt.Errorf("report application of user %d: %w", p.UserID, err)
	}
	return nil
}

func accountEntry(site Site, now time.Time, label Text, values ...string) Entry {
	return Entry{SiteID: site.ID, Type: HistoryAccount, Label: fill(label.In(site.Language), values...), CreatedAt: now}
}

// household finds a site to which the person belongs.
func (s *Service) household(ctx context.Context, p Person, siteID int64) (Site, error) {
	return s.site(ctx, Caller{UserID: p.UserID, Unscoped: true}, siteID, Row{})
}

// owned finds a site that the person owns.
func (s *Service) owned(ctx context.Context, p Person, siteID int64) (Site, error) {
	site, err := s.household(ctx, p, siteID)
	if err == nil && site.Role != Owner {
		err = notOwner()
	}
	return site, err
}

func notOwner() *Refusal {
	return &Refusal{Code: NotOwner, Text: "Only an owner of the home decides that"}
}
