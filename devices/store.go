package devices

import (
	"context"
	"time"
)

// Store keeps sites, units, devices, commands, states and history. Writes are
// durable when they return nil; one that returns an error left nothing behind,
// except where the error is the store's own. Times are UTC with a precision of one
// microsecond. All methods may be called concurrently; each ends soon after its
// context does.
type Store interface {
	// AddSite inserts s with its first member, the owner, and returns its ID.
	AddSite(ctx context.Context, s Site, ownerID int64) (int64, error)
	// Sites lists the sites that the user belongs to, by ID, with their counts;
	// limit at the most.
	Sites(ctx context.Context, userID int64, limit int) ([]SiteSummary, error)
	// Site finds a site that the user belongs to, or ErrNotFound.
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
	// Devices lists a site's devices by ID, of one kind, or of all if kind is empty;
	// limit at the most. The site is not checked.
	Devices(ctx context.Context, siteID int64, kind Kind, limit int) ([]Device, error)

	// Target finds what a command of the user would go to: the device (SecurityDevice
	// for the alarm), with the site's unit. ErrNotFound if the user does not belong to
	// the site, ErrNoDevice if the site has no such device of that kind. A site without
	// a unit gives a Target with an empty Unit, for SecurityDevice only.
	Target(ctx context.Context, userID, siteID, deviceID int64, kind Kind) (Target, error)
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
	// the most, and returns how many those were: what a bridge that died left behind.
	Abandon(ctx context.Context, before, now time.Time, limit int) (int, error)

	// SaveState stores what a unit reports of one of its devices if the sequence is
	// above the stored one, and reports whether it was. A device that is not the unit's
	// is ErrNotFound.
	SaveState(ctx context.Context, unitID string, s State) (bool, error)
	// State reads what was last reported of a device of the site, or ErrNotFound.
	State(ctx context.Context, siteID, deviceID int64) (State, error)
	// SaveEvent appends e to the history of the unit's site unless an event with this
	// ID from this unit is there already, and reports whether it was appended. An
	// unknown unit is ErrNotFound.
	SaveEvent(ctx context.Context, unitID, eventID string, e Entry) (bool, error)
	// SaveLink stores a unit's link, and reports whether that changed anything but At.
	// Offline changes nothing unless l.Session is the stored session and that is online;
	// then it stores Online and At. Online stores all of l, but keeps the stored
	// ClockOffset if keepClock. An unknown unit is ErrNotFound.
	SaveLink(ctx context.Context, unitID string, l Link, keepClock bool) (bool, error)
	// Disconnect makes every unit offline: for a bridge that starts with an empty
	// broker of its own.
	Disconnect(ctx context.Context, now time.Time) error
	// Online counts the units that are online.
	Online(ctx context.Context) (int, error)

	// History lists entries of the site that the filter chooses, by time and then ID.
	History(ctx context.Context, siteID int64, f HistoryFilter) ([]Entry, error)
	// Purge deletes commands accepted before then, limit at the most, and returns how
	// many those were.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
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
