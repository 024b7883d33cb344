package devices

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"
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
	// An account's address is ASCII: no other can ever answer, and it may look like one that can.
	if err != nil || address.Address != email || len(email) > 254 || strings.ContainsFunc(email, func(r rune) bool { return r > unicode.MaxASCII }) {
		return Invitation{}, "", &FieldError{"email", "is no e-mail address"}
	}
	secret := randomHex(16)
	now := s.now()
	i := Invitation{
		SiteID: siteID, Email: strings.ToLower(email), Role: role, SecretHash: sha256.Sum256([]byte(secret)),
		CreatedAt: now, ExpiresAt: now.Add(invitationLife),
	}
	err = s.store.Invite(ctx, i, invitationsMax, accountEntry(site, now, map[Role]Text{
		Member: {"{who} invited somebody as a member", "{who} a invité quelqu’un comme membre"},
		Guest:  {"{who} invited somebody as a guest", "{who} a invité quelqu’un comme invité"},
	}[role], "who", quotable(owner.Name)))
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
		Text{"{who} withdrew an invitation", "{who} a retiré une invitation"}, "who", quotable(owner.Name)))
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
		Text{"An invitation was declined", "Une invitation a été déclinée"}))
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
			}[role], "who", quotable(p.Name))
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
		Text{"{who} does not belong to this home any more", "{who} ne fait plus partie de ce domicile"}, "who", quotable(who.Name)))
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
	ApplicationConnected       ApplicationEvent = "connected"
	ApplicationChanged         ApplicationEvent = "changed"      // what it may do
	ApplicationDisconnected    ApplicationEvent = "disconnected" // by the person
	ApplicationGaveUp          ApplicationEvent = "gave up"      // its access, by itself
	ApplicationMisused         ApplicationEvent = "misused"      // what it had was used twice, and so ended
	ApplicationDeleted         ApplicationEvent = "deleted"
	ApplicationPasswordChanged ApplicationEvent = "password changed"       // which ended its access
	ApplicationWasteful        ApplicationEvent = "switched off for waste" // by the bridge
	ApplicationOffByOperator   ApplicationEvent = "switched off by an operator"
	ApplicationOffByAlert      ApplicationEvent = "switched off by an alert"
	ApplicationOnByOperator    ApplicationEvent = "switched on by an operator"
	ApplicationOnByOwner       ApplicationEvent = "switched on by its owner"
)

// applicationText is what the history says of an event; zero of one that is unknown.
func applicationText(e ApplicationEvent) Text {
	switch e {
	case ApplicationConnected:
		return Text{"{who} connected the application “{application}”", "{who} a connecté l’application « {application} »"}
	case ApplicationChanged:
		return Text{"{who} changed what the application “{application}” may do", "{who} a modifié ce que l’application « {application} » peut faire"}
	case ApplicationDisconnected:
		return Text{"{who} disconnected the application “{application}”", "{who} a déconnecté l’application « {application} »"}
	case ApplicationGaveUp:
		return Text{"The application “{application}” gave up the access that {who} had given it", "L’application « {application} » a renoncé à l’accès que {who} lui avait donné"}
	case ApplicationMisused:
		return Text{"The application “{application}”, connected by {who}, was disconnected: one of its tokens was used twice", "L’application « {application} », connectée par {who}, a été déconnectée : un de ses jetons a servi deux fois"}
	case ApplicationDeleted:
		return Text{"The application “{application}”, connected by {who}, was deleted", "L’application « {application} », connectée par {who}, a été supprimée"}
	case ApplicationPasswordChanged:
		return Text{"The application “{application}” was disconnected when the password of {who} was changed", "L’application « {application} » a été déconnectée au changement du mot de passe de {who}"}
	case ApplicationWasteful:
		return Text{"The application “{application}”, connected by {who}, was switched off: it asked for too many tokens", "L’application « {application} », connectée par {who}, a été désactivée : elle a demandé trop de jetons"}
	case ApplicationOffByOperator:
		return Text{"The application “{application}”, connected by {who}, was switched off by an operator", "L’application « {application} », connectée par {who}, a été désactivée par un opérateur"}
	case ApplicationOffByAlert:
		return Text{"The application “{application}”, connected by {who}, was switched off by an alert", "L’application « {application} », connectée par {who}, a été désactivée par une alerte"}
	case ApplicationOnByOperator:
		return Text{"The application “{application}”, connected by {who}, was switched on again by an operator", "L’application « {application} », connectée par {who}, a été réactivée par un opérateur"}
	case ApplicationOnByOwner:
		return Text{"The application “{application}”, connected by {who}, was switched on again by its owner", "L’application « {application} », connectée par {who}, a été réactivée par son propriétaire"}
	default:
		return Text{}
	}
}

// ApplicationReport is what became of an application's access to a person's sites.
type ApplicationReport struct {
	ID          string // of what happened, at most 200 bytes; a repeat writes nothing
	At          time.Time
	Person      Person
	Application string // its name
	// In gives what is to be told in a site; empty: nothing.
	In func(siteID int64) ApplicationEvent
}

// ReportApplication writes into the history of the sites to which a person belongs what
// became of an application's access to them, in each once. Of a guest's applications,
// which can only look, nothing is told: a guest could fill the history with them.
func (s *Service) ReportApplication(ctx context.Context, r ApplicationReport) error {
	if r.ID == "" || len(r.ID) > 200 {
		return errors.New("report application: an id of 1 to 200 bytes is missing")
	}
	list, err := s.store.Sites(ctx, r.Person.UserID, listLimit)
	if err != nil {
		return fmt.Errorf("list sites of user %d: %w", r.Person.UserID, err)
	}
	var entries []Entry
	for _, site := range list {
		event := r.In(site.ID)
		if event == "" || site.Role == Guest {
			continue
		}
		text := applicationText(event)
		if text == (Text{}) {
			return fmt.Errorf("report application: unknown event %q", event)
		}
		e := accountEntry(site.Site, r.At, text, "who", quotable(r.Person.Name), "application", r.Application)
		e.Key = r.ID
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil
	}
	if err := s.tell(ctx, entries...); err != nil {
		return fmt.Errorf("report application of user %d: %w", r.Person.UserID, err)
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
