package oauth

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Channel is a way on which somebody is told of rulings.
type Channel string

// Channels.
const (
	ChannelMail    Channel = "mail"    // to the owner of the application
	ChannelWebhook Channel = "webhook" // to the operator
	ChannelHistory Channel = "history" // to the histories of homes
)

// Verdicts are those that are told on the channel.
func (c Channel) Verdicts() []Verdict {
	owners := []Verdict{VerdictNotice, VerdictWarning, VerdictSwitchOff}
	switch c {
	case ChannelMail:
		return owners
	case ChannelWebhook:
		return append(owners, VerdictShadow, VerdictReactivation)
	case ChannelHistory:
		return []Verdict{VerdictSwitchOff, VerdictReactivation}
	default:
		return nil
	}
}

const (
	// NoticeAge is how old a ruling may be when it is found that nobody was told of it.
	NoticeAge = 7 * 24 * time.Hour
	// OwnerMails is how many mails an owner is sent about rulings within OwnerNoticesWithin,
	// of all applications, also deleted ones: as many as three episodes of one take, after
	// which an operator decides. Those that only warn are OwnerMildMails of them at the most,
	// so that there is a place for the one that says that something is off.
	OwnerMails     = 9
	OwnerMildMails = 5
	// OwnerEvents is how many rulings on the applications of one owner the operator's webhook
	// is told within OwnerNoticesWithin, OwnerMildEvents of them mild: what one person does
	// delays nothing of others, and hides nothing that was decided.
	OwnerEvents        = 100
	OwnerMildEvents    = 50
	OwnerNoticesWithin = 24 * time.Hour
	// LinkLifetime is how long a link in mail leads back to the application.
	LinkLifetime = 14 * 24 * time.Hour
)

// Notice is a ruling that is to be told.
type Notice struct {
	Ruling
	Channel  Channel
	Attempts int // to tell it, this one counted
}

// NoticeQuery asks for notices that are due.
type NoticeQuery struct {
	Channel Channel
	Since   time.Time // rulings before it, of which nobody was to be told, stay untold
	Now     time.Time
	Until   time.Time // from then on they are due again, unless something else is noted
	Limit   int
}

// NoticeAttempt is about to tell an owner.
type NoticeAttempt struct {
	RulingID int64
	Channel  Channel
	OwnerID  int64
	Now      time.Time
	Since    time.Time // of the other notices those count that were attempted later
	Max      int       // of them
	MaxMild  int       // of those whose verdict is one of MildVerdicts, if this one's is
}

// MildVerdicts are those that switch nothing.
func MildVerdicts() []Verdict { return []Verdict{VerdictNotice, VerdictWarning, VerdictShadow} }

// Notices keeps who was told of which ruling, and the links that owners were sent.
// Several processes may tell from one record.
type Notices interface {
	// DueNotices gives notices that are due, those first that have waited longest, each to
	// one caller alone, and counts an attempt for each. A ruling since q.Since with a
	// verdict of the channel, and that changed something, becomes due when it is first
	// seen here.
	DueNotices(ctx context.Context, q NoticeQuery) ([]Notice, error)
	// NoticeTold notes that it was told: it is never due again. An unknown one is no error.
	NoticeTold(ctx context.Context, rulingID int64, channel Channel, at time.Time) error
	// NoticeLater notes when it is due again, or, for a zero time, that it was given up. One
	// that was told stays told, and an unknown one is no error.
	NoticeLater(ctx context.Context, rulingID int64, channel Channel, next time.Time) error
	// AttemptNotice notes that a notice is about to be told to an owner, or of one, and
	// reports true. If a.Max other ones of the channel were since a.Since, or a.MaxMild and it
	// is as mild as they, it is false, and the notice is noted as withheld instead: it is
	// never due again. One that was told already, and an unknown one, is ErrNotFound.
	AttemptNotice(ctx context.Context, a NoticeAttempt) (bool, error)

	// AddLink keeps a link. An unknown ruling or client is ErrNotFound.
	AddLink(ctx context.Context, l Link) error
	// Link finds a link by its hash, also one that has expired or is used up, or is
	// ErrNotFound.
	Link(ctx context.Context, hash Hash) (Link, error)
	// ForgetLinks deletes links that expired before then, limit at the most, and returns
	// how many.
	ForgetLinks(ctx context.Context, before time.Time, limit int) (int, error)
}

// Link is what an owner was sent to come to the page of an application. It proves
// nothing: whoever follows it has to sign in.
type Link struct {
	Hash      Hash
	RulingID  int64
	ClientID  string
	ExpiresAt time.Time
	UsedAt    time.Time // of the reactivation through it; zero if there was none
}

// LinkKey is the Intervention.Key of a reactivation through the link with this hash.
// As nothing is done twice under one key, a link is good for one.
func LinkKey(h Hash) string { return "link " + hex.EncodeToString(h[:]) }

// LinkState is what a link is good for.
type LinkState string

// States of a link.
const (
	LinkGood    LinkState = "good"
	LinkUsed    LinkState = "used"
	LinkExpired LinkState = "expired"
	LinkUnknown LinkState = "unknown" // or of another application
)

// DueNotices leases notices of a channel that are due, limit at the most: for as long
// as lease lasts nobody else is given them. Rulings as old as age at the most are looked
// through for new ones.
func (s *Service) DueNotices(ctx context.Context, channel Channel, age, lease time.Duration, limit int) ([]Notice, error) {
	now := s.now()
	due, err := s.opts.Store.DueNotices(ctx, NoticeQuery{
		Channel: channel, Since: now.Add(-age), Now: now, Until: now.Add(lease), Limit: limit,
	})
	if err != nil {
		return nil, fmt.Errorf("find notices: %w", err)
	}
	return due, nil
}

// NoticeTold notes that a notice was told.
func (s *Service) NoticeTold(ctx context.Context, n Notice) error {
	if err := s.opts.Store.NoticeTold(ctx, n.ID, n.Channel, s.now()); err != nil {
		return fmt.Errorf("note that ruling %d was told: %w", n.ID, err)
	}
	return nil
}

// NoticeLater has a notice told again after some time; zero: never.
func (s *Service) NoticeLater(ctx context.Context, n Notice, after time.Duration) error {
	var next time.Time
	if after > 0 {
		next = s.now().Add(after)
	}
	if err := s.opts.Store.NoticeLater(ctx, n.ID, n.Channel, next); err != nil {
		return fmt.Errorf("put off ruling %d: %w", n.ID, err)
	}
	return nil
}

// AttemptNotice notes that a notice is about to be told: mailed to an owner, or posted to
// the operator about one. It is false if as many as OwnerMails or OwnerEvents were already:
// this one is then withheld, for good.
func (s *Service) AttemptNotice(ctx context.Context, n Notice, ownerID int64) (bool, error) {
	now := s.now()
	a := NoticeAttempt{
		RulingID: n.ID, Channel: n.Channel, OwnerID: ownerID, Now: now, Since: now.Add(-OwnerNoticesWithin),
		Max: OwnerMails, MaxMild: OwnerMildMails,
	}
	if n.Channel == ChannelWebhook {
		a.Max, a.MaxMild = OwnerEvents, OwnerMildEvents
	}
	may, err := s.opts.Store.AttemptNotice(ctx, a)
	if err != nil {
		return false, fmt.Errorf("note attempt to tell ruling %d: %w", n.ID, err)
	}
	return may, nil
}

// Owner finds who owns an application. A deleted one, and one without an owner who
// could be told, is ErrNotFound.
func (s *Service) Owner(ctx context.Context, clientID string) (Client, User, error) {
	c, err := s.opts.Store.Client(ctx, clientID)
	if err != nil {
		return Client{}, User{}, fmt.Errorf("find client %s: %w", clientID, err)
	}
	if c.Status == Deleted {
		return Client{}, User{}, fmt.Errorf("find owner of client %s: %w", clientID, ErrNotFound)
	}
	u, err := s.opts.Store.User(ctx, c.OwnerID)
	if err != nil {
		return Client{}, User{}, fmt.Errorf("find owner of client %s: %w", clientID, err)
	}
	return c, u, nil
}

// NewLink makes a link for the owner of the application that a ruling is about, and
// gives its secret, which is nowhere else.
func (s *Service) NewLink(ctx context.Context, r Ruling) (string, error) {
	secret := NewSecret()
	err := s.opts.Store.AddLink(ctx, Link{
		Hash: HashOf(secret), RulingID: r.ID, ClientID: r.ClientID, ExpiresAt: s.now().Add(LinkLifetime),
	})
	if err != nil {
		return "", fmt.Errorf("add link for ruling %d: %w", r.ID, err)
	}
	return secret, nil
}

// ForgetLinks deletes links that have expired some time ago, limit at the most, and
// returns how many. Until then their pages say that they have expired.
func (s *Service) ForgetLinks(ctx context.Context, limit int) (int, error) {
	n, err := s.opts.Store.ForgetLinks(ctx, s.now().Add(-OwnReactivationsWithin), limit)
	if err != nil {
		return 0, fmt.Errorf("forget links: %w", err)
	}
	return n, nil
}

// Link tells what a link is good for at an application.
func (s *Service) Link(ctx context.Context, clientID, secret string) (LinkState, error) {
	l, err := s.opts.Store.Link(ctx, HashOf(secret))
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && l.ClientID != clientID:
		return LinkUnknown, nil
	case err != nil:
		return "", fmt.Errorf("find link: %w", err)
	case !l.UsedAt.IsZero():
		return LinkUsed, nil
	case !l.ExpiresAt.After(s.now()):
		return LinkExpired, nil
	}
	return LinkGood, nil
}

// ReactivateThrough is ReactivateOwn through a link, which is used up by it. A link
// that is not LinkGood reactivates nothing.
func (s *Service) ReactivateThrough(ctx context.Context, ownerID int64, clientID, secret string, from netip.Addr) (bool, LinkState, error) {
	if _, err := s.Application(ctx, ownerID, clientID); err != nil {
		return false, "", err
	}
	state, err := s.Link(ctx, clientID, secret)
	if err != nil || state != LinkGood {
		return false, state, err
	}
	did, err := s.ReactivateOwn(ctx, ownerID, clientID, LinkKey(HashOf(secret)), from)
	return did, state, err
}

// Way is the way back for an application that is off.
type Way struct {
	Off  bool
	By   Ruling // by which it is off
	Left int    // reactivations that its owner may make now; 0: an operator decides
	// Again is from when on its owner may reactivate it alone, if none is left for now;
	// zero if only an operator ever may.
	Again time.Time
}

// WayBack tells why an application is off, and who may reactivate it.
func (s *Service) WayBack(ctx context.Context, clientID string) (Way, error) {
	by, own, err := s.opts.Store.OffBy(ctx, clientID, s.now().Add(-OwnReactivationsWithin), OwnReactivations)
	switch {
	case errors.Is(err, ErrNotFound):
		return Way{}, nil
	case err != nil:
		return Way{}, fmt.Errorf("find why client %s is off: %w", clientID, err)
	case by.Actor == ByOperator:
		return Way{Off: true, By: by}, nil
	}
	left, again := leftOf(own)
	return Way{Off: true, By: by, Left: left, Again: again}, nil
}

// leftOf is how many reactivations are left for an owner who made these, the newest first,
// and, if none is, from when there will be one.
func leftOf(own []time.Time) (left int, again time.Time) {
	if len(own) < OwnReactivations {
		return OwnReactivations - len(own), time.Time{}
	}
	return 0, own[OwnReactivations-1].Add(OwnReactivationsWithin)
}

// Left is how many reactivations an owner may make now of an application that the policy
// switches off, or that was.
func (s *Service) Left(ctx context.Context, clientID string) (int, error) {
	own, err := s.opts.Store.OwnReactivations(ctx, clientID, s.now().Add(-OwnReactivationsWithin), OwnReactivations)
	if err != nil {
		return 0, fmt.Errorf("find reactivations of client %s: %w", clientID, err)
	}
	left, _ := leftOf(own)
	return left, nil
}

// Warned gives the ruling that warns of an application being switched off, and whether
// there is one: it is of this episode, and the policy is in force.
func (s *Service) Warned(ctx context.Context, c Client) (Ruling, bool, error) {
	if s.opts.Mode != ModeEnforce || c.Kind != Personal || c.Status != Active {
		return Ruling{}, false, nil
	}
	last, err := s.opts.Store.Verdicts(ctx, c.ID, 0, 1)
	if err != nil {
		return Ruling{}, false, fmt.Errorf("find the last verdict on client %s: %w", c.ID, err)
	}
	if len(last) == 0 || last[0].Verdict == VerdictReactivation {
		return Ruling{}, false, nil
	}
	counts, err := s.Standing(ctx, c.ID)
	if err != nil {
		return Ruling{}, false, err
	}
	return last[0], counts.Day > 0, nil
}

// OperatorContact is that of the Options.
func (s *Service) OperatorContact() string { return s.opts.OperatorContact }

// Mode is what is done about wasteful tokens.
func (s *Service) Mode() Mode { return s.opts.Mode }

// SwitchesOffAt are the limits of a personal application that has none of its own; nil if
// nothing is switched off for its tokens.
func (s *Service) SwitchesOffAt() *Limits {
	if s.opts.Mode != ModeEnforce {
		return nil
	}
	return new(*s.opts.Limits)
}

// Hours and Days give what an application was issued in this hour and the 23 before
// it, and on this day, by UTC, and the 29 before it: the oldest first, none left out.
func (s *Service) Hours(ctx context.Context, clientID string) ([]Issuances, error) {
	return s.even(ctx, clientID, time.Hour, 24)
}

// Days is described at Hours.
func (s *Service) Days(ctx context.Context, clientID string) ([]Issuances, error) {
	return s.even(ctx, clientID, 24*time.Hour, 30)
}

func (s *Service) even(ctx context.Context, clientID string, step time.Duration, n int) ([]Issuances, error) {
	first := s.now().UTC().Truncate(step).Add(-time.Duration(n-1) * step)
	found, err := s.opts.Store.IssuanceOf(ctx, clientID, first, step)
	if err != nil {
		return nil, fmt.Errorf("list issuance of client %s: %w", clientID, err)
	}
	all := make([]Issuances, n)
	for i := range all {
		all[i].At = first.Add(time.Duration(i) * step)
		if at := slices.IndexFunc(found, func(f Issuances) bool { return f.At.Equal(all[i].At) }); at >= 0 {
			all[i] = found[at]
		}
	}
	return all, nil
}
