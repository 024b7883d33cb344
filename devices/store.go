package devices

import (
	"context"
	"time"
)

// Store keeps sites, units, devices, commands, states and history. Writes are
// durable when they return nil; one that returns an error left nothing behind,
// except where the error is the store's own. Times are UTC with a precision of one
// microsecond. All methods may be called concurrently; each ends soon after its
// context does; a deadline that has passed is ErrUnavailable.
type Store interface {
	Occurrences

	// AddSite inserts s with its first member, the owner, and returns its ID.
	AddSite(ctx context.Context, s Site, ownerID int64) (int64, error)
	// Sites lists the sites that the user belongs to, by ID, with their counts;
	// limit at the most.
	Sites(ctx context.Context, userID int64, limit int) ([]SiteSummary, error)
	// Site finds a site that the user belongs to, with the user's Role, or ErrNotFound.
	Site(ctx context.Context, userID, siteID int64) (Site, error)

	// AddUnit inserts u and its devices (their ID, SiteID and UnitID are the store's to
	// give) in one transaction, and returns the devices as they stand. A site that is
	// unknown is ErrNotFound; one that has a unit is ErrExists.
	AddUnit(ctx context.Context, u Unit, devices []Device) ([]Device, error)
	// ReplaceSecret gives a unit another secret at now, or is ErrNotFound.
	ReplaceSecret(ctx context.Context, unitID string, secretHash [32]byte, now time.Time) error
	// Replaced lists the units whose secret was replaced after since, with the time of
	// that, the latest first; limit at the most.
	Replaced(ctx context.Context, since time.Time, limit int) ([]Replacement, error)
	// Unit finds a unit by its ID, or ErrNotFound.
	Unit(ctx context.Context, id string) (Unit, error)
	// Units lists units by ID, those above after, limit at the most.
	Units(ctx context.Context, after string, limit int) ([]Unit, error)
	// Devices lists the devices of a site that the user belongs to by ID, of these kinds, or
	// of all if there are none, if so wanted with what was last reported of them; limit at
	// the most. If the user does not belong to the site it is ErrNotFound.
	Devices(ctx context.Context, userID, siteID int64, kinds []Kind, states bool, limit int) (Site, []Reported, error)
	// Device finds one of them; SecurityDevice stands for the alarm, whatever the kinds.
	// ErrNotFound if the user does not belong to the site, ErrNoDevice if the site has no
	// such device of these kinds.
	Device(ctx context.Context, userID, siteID, deviceID int64, kinds []Kind) (Site, Reported, error)
	// Measurements lists what a device measured, as the filter chooses, by time; its errors
	// are those of Device.
	Measurements(ctx context.Context, userID, siteID, deviceID int64, kinds []Kind, f MeasurementFilter) (Site, []Measurement, error)

	// Target finds what a command of the user would go to: the device (SecurityDevice
	// for the alarm), with the site's unit. ErrNotFound if the user does not belong to
	// the site, ErrNoDevice if the site has no such device of these kinds. A site without
	// a unit gives a Target with an empty Unit, for SecurityDevice only.
	Target(ctx context.Context, userID, siteID, deviceID int64, kinds []Kind) (Target, error)
	// Accept writes the intent of a command, or finds the one that it repeats, in one
	// transaction; see Intent.
	Accept(ctx context.Context, i Intent) (Accepted, error)
	// Command finds a command of the site, or ErrNotFound. Membership is not checked.
	Command(ctx context.Context, siteID int64, id string) (Command, error)
	// Finish writes a command's outcome with the state and the history entry that come
	// with it, in one transaction, if its outcome is one of f.From and its unit is
	// f.UnitID, and returns the command as it stands. A command of another unit or an
	// unknown one is ErrNotFound; one with another outcome is ErrSettled together with
	// the command as it stands. Both change nothing.
	Finish(ctx context.Context, f Finish) (Command, error)
	// Abandon makes every command that is Pending since before then Unknown, limit at
	// the most, with the history entry that entry gives for it (nil for none), and
	// returns how many those were: what a bridge that died left behind.
	Abandon(ctx context.Context, before, now time.Time, limit int, entry func(Command) *Entry) (int, error)

	// Source finds a unit with its site and, unless deviceID is SecurityDevice, one of its
	// devices, with what was last reported of it. An unknown unit is ErrNotFound, a device
	// that is not the unit's ErrNoDevice.
	Source(ctx context.Context, unitID string, deviceID int64) (Source, error)
	// SaveState stores what a unit reports of one of its devices if the sequence is
	// above the stored one, with all that comes with it, and reports whether it was. A
	// device that is not the unit's is ErrNotFound. See Report.
	SaveState(ctx context.Context, unitID string, r Report) (bool, error)
	// State reads what was last reported of a device of the site, or ErrNotFound.
	State(ctx context.Context, siteID, deviceID int64) (State, error)
	// SaveEvent appends e to the history of the unit's site unless an event with this
	// ID from this unit is there already, and reports whether it was appended. With it come
	// what it triggered, open and nobody's since their At: of scenarios of the site that
	// are enabled, unless they are written already. An unknown unit is ErrNotFound.
	SaveEvent(ctx context.Context, unitID, eventID string, e Entry, triggered ...Occurrence) (bool, error)
	// SaveLink stores a unit's link, and gives the one that stood before and the one that
	// stands now.
	// Offline changes nothing unless l.Session is the stored session and that is online;
	// then it stores Online and At. Online stores all of l, but keeps the stored
	// ClockOffset if keepClock. An unknown unit is ErrNotFound.
	SaveLink(ctx context.Context, unitID string, l Link, keepClock bool) (before, now Link, err error)
	// Disconnect makes every unit offline: for a bridge that starts with an empty
	// broker of its own.
	Disconnect(ctx context.Context, now time.Time) error
	// Online counts the units that are online.
	Online(ctx context.Context) (int, error)

	// History lists entries of the site that the filter chooses, by time and then ID.
	History(ctx context.Context, siteID int64, f HistoryFilter) ([]Entry, error)
	// Append adds entries to the history of their sites, all or none, but for those of
	// which the site has the Key already. An unknown site is ErrNotFound.
	Append(ctx context.Context, entries []Entry) error

	// AddGroup inserts g with its devices, of which only the IDs count, and e, and returns the
	// group with its ID; the SiteID of e does not count. A site that is unknown is ErrNotFound, a
	// device that is not the site's or not of g's kind ErrNoDevice, more than most groups at
	// the site ErrFull.
	AddGroup(ctx context.Context, g Group, most int, e Entry) (Group, error)
	// Groups lists the groups of a site that the user belongs to by ID, with their devices, of
	// one kind, or of all if kind is empty. If the user does not belong to the site it is
	// ErrNotFound.
	Groups(ctx context.Context, userID, siteID int64, kind Kind) (Site, []Group, error)
	// Group finds one of them with the site's unit. ErrNotFound if the user does not belong
	// to the site, ErrNoDevice if it has no such group of that kind.
	Group(ctx context.Context, userID, siteID, groupID int64, kind Kind) (Site, Unit, Group, error)
	// RemoveGroup deletes a group and appends e to the site's history; ErrNotFound if there is none.
	RemoveGroup(ctx context.Context, siteID, groupID int64, e Entry) error

	// AddScenario does for scenarios what AddGroup does for groups: of the devices of its
	// steps the ID and the Kind count.
	AddScenario(ctx context.Context, s Scenario, most int, e Entry) (Scenario, error)
	// Scenarios lists the scenarios of a site that the user belongs to by ID, without their
	// steps. If the user does not belong to the site it is ErrNotFound.
	Scenarios(ctx context.Context, userID, siteID int64) (Site, []Scenario, error)
	// Scenario finds one of them, whole, with the site's unit. ErrNotFound if the user does
	// not belong to the site, ErrNoDevice if it has no such scenario.
	Scenario(ctx context.Context, userID, siteID, scenarioID int64) (Site, Unit, Scenario, error)
	// SwitchScenario stores whether a scenario runs by itself, and e if that changed; it
	// reports whether it did. Its NextAt is next then, and its plan empty. ErrNotFound if there
	// is none.
	SwitchScenario(ctx context.Context, siteID, scenarioID int64, enabled bool, next time.Time, e Entry) (bool, error)
	// RemoveScenario deletes a scenario and appends e to the site's history; ErrNotFound if
	// there is none.
	RemoveScenario(ctx context.Context, siteID, scenarioID int64, e Entry) error

	// Members lists who belongs to a site, by user ID.
	Members(ctx context.Context, siteID int64) ([]Membership, error)
	// RemoveMember ends that a person belongs to a site, deletes what invitation of the
	// address email is left there, and appends e to the site's history. ErrNotFound if the
	// person does not belong to it, ErrLastOwner if nobody else owns the site.
	RemoveMember(ctx context.Context, siteID, userID int64, email string, e Entry) error
	// Invite inserts i in the place of an earlier invitation of that address to that site, and
	// appends e to the site's history. More than most invitations at the site that have not
	// expired by i.CreatedAt are ErrFull, an unknown site ErrNotFound.
	Invite(ctx context.Context, i Invitation, most int, e Entry) error
	// Uninvite deletes the invitation of an address to a site, and appends e to the site's
	// history; ErrNotFound if there is none.
	Uninvite(ctx context.Context, siteID int64, email string, e Entry) error
	// Invitations lists the invitations to a site that have not expired, by address.
	Invitations(ctx context.Context, siteID int64, now time.Time) ([]Invitation, error)
	// Invited finds the invitation with that secret, and its site as nobody asks for it. One
	// that is unknown, expired or another address's is ErrNotFound.
	Invited(ctx context.Context, secretHash [32]byte, email string, now time.Time) (Site, Invitation, error)
	// Join makes a person belong to the site of the invitation with that secret, ends the
	// invitation, and appends what entry gives to the site's history. An invitation that is
	// unknown, expired or another address's is ErrNotFound; a person who belongs to the site
	// already is ErrExists.
	Join(ctx context.Context, j Joining) (Site, error)

	// Purge deletes commands accepted before then, limit at the most, and returns how
	// many those were. PurgeHistory does it for entries, PurgeMeasurements for the hours of
	// measurements, PurgeInvitations for invitations that expired.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeHistory(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeMeasurements(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeInvitations(ctx context.Context, before time.Time, limit int) (int, error)
	// RollUp turns measurements of before then, limit at the most, into summaries of their
	// hours, and returns how many it took. before is the beginning of an hour.
	RollUp(ctx context.Context, before time.Time, limit int) (int, error)
}

// Source is where a report comes from.
type Source struct {
	Unit   Unit
	Site   Site
	Device Device // zero but for SiteID and UnitID for the unit itself
	State  State  // its Sequence is 0 if nothing was ever said
}

// Report is a state with what comes with it, which is written only if the state is.
type Report struct {
	State State
	// Measured are values by the name of their reading. Of those in one Slot the one with
	// the latest time is kept, which is State.Time.
	Measured map[string]float64
	Slot     time.Time
	// Entries are appended to the history of the site, at State.Time. They are not if the state
	// that was stored is not Previous, or if a command to the device was accepted since
	// CommandSince whose outcome is open: then it is the reason.
	Entries      []Entry
	Previous     int64 // a sequence; 0 for none
	CommandSince time.Time
}

// Joining is a person who comes with the secret of an invitation.
type Joining struct {
	SecretHash [32]byte
	UserID     int64
	Email      string // in small letters
	Now        time.Time
	Entry      func(Site, Role) Entry
}

// Target is where a command goes.
type Target struct {
	Site   Site
	Unit   Unit
	Device Device // zero but for SiteID and UnitID if the target is the alarm
}

// Intent is a command to be accepted. Accept looks in this order:
//
//   - A Key that the same client and user used since KeySince: with the same
//     Command (site, device, kind, operation) it Repeats that one, with another it is
//     ErrKeyReuse. But if that one ended Offline, nothing was sent: the key is free, and moves
//     to the new command.
//   - Without a Key: the latest command of the same client and user to the same site
//     and device since JoinSince, if it asked the same (kind, operation) and its outcome is
//     Pending or Unknown: Joins it.
//   - Otherwise Command is inserted as it is.
type Intent struct {
	Command   Command
	Key       *[32]byte // SHA-256 of the Idempotency-Key; nil without one
	KeySince  time.Time
	JoinSince time.Time
	Entry     *Entry // appended to the history of the site if Command is inserted; nil for none
}

// Accepted is the answer to an Intent: the command that stands for it, and whether
// that is a new one.
type Accepted struct {
	Command Command
	New     bool
}

// Finish is an outcome to be written.
type Finish struct {
	CommandID string
	UnitID    string
	From      []Outcome
	Outcome   Outcome
	Reason    string
	Now       time.Time
	State     *State // stored as SaveState does; nil for none
	Entry     *Entry // appended to the history of the command's site; nil for none
}
