// Package devices is the domain of the house: sites, their HomeControl unit, the
// devices behind it, the commands people give and what the house reports back.
// What exists to be commanded is one table, the Catalogue. The package knows no
// HTTP, no SQL and no MQTT: devicehttp, devicesqlite, devicepgx and the mqtt link
// are its adapters.
package devices

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// Errors of a Store. Every other error of a Store is its own trouble, and it is
// then unknown whether a write happened.
var (
	// ErrNotFound says that no such row exists for the one who asks.
	ErrNotFound = errors.New("not found")
	// ErrExists says that a unique place is taken. Nothing was written.
	ErrExists = errors.New("already exists")
	// ErrNoDevice says that the site has no such device of that kind.
	ErrNoDevice = errors.New("no such device")
	// ErrKeyReuse says that an Idempotency-Key was used for another command.
	ErrKeyReuse = errors.New("idempotency key was used for another command")
	// ErrSettled says that a command has its outcome already.
	ErrSettled = errors.New("command is settled")
	// ErrFull says that there are as many as there may be. Nothing was written.
	ErrFull = errors.New("as many as there may be")
	// ErrLastOwner says that a site would be nobody's. Nothing was written.
	ErrLastOwner = errors.New("last owner of the site")
	// ErrUnavailable says that the record gives no answer at present, or not in time.
	// Nothing is wrong with what was asked, which may succeed later.
	ErrUnavailable = errors.New("record gives no answer")
)

// Caller is the person on whose behalf a request comes, and the application that
// makes it. The domain takes them as given: whoever builds a Caller has checked
// the token.
type Caller struct {
	UserID     int64
	UserName   string
	ClientID   string
	ClientName string

	// Unscoped says that the application may do all that the person may. Otherwise it
	// may do what its Scopes are good for, at the Sites alone; nil means all of the
	// person's.
	Unscoped bool
	Scopes   []string
	Sites    []int64
}

// may reports whether the application may do what needs the scope; empty needs none.
func (c Caller) may(scope string) bool {
	return scope == "" || c.Unscoped || slices.Contains(c.Scopes, scope)
}

// reaches reports whether the application may know of the site at all.
func (c Caller) reaches(siteID int64) bool {
	return c.Unscoped || c.Sites == nil || slices.Contains(c.Sites, siteID)
}

// Role is what a person may do at a site.
type Role string

const (
	// Owner may do everything at the site, and says who else may.
	Owner Role = "owner"
	// Member may do everything but that.
	Member Role = "member"
	// Guest may look, and give no command.
	Guest Role = "guest"
)

// Site is a home.
type Site struct {
	ID        int64 // positive; given by the store
	Label     string
	Timezone  string   // IANA name, such as Europe/Paris
	Language  Language // of its history
	Role      Role     // of the person who asks; empty where nobody does
	CreatedAt time.Time
}

// SiteSummary is a Site with how many devices of each kind it has, and scenarios as Scene;
// a kind without devices may be absent from Counts.
type SiteSummary struct {
	Site
	Counts map[Kind]int
}

// Unit is the HomeControl box of a site. A site has one at the most.
type Unit struct {
	ID         string // its MQTT username and topic segment: 16 lower-case hex digits
	SiteID     int64
	SecretHash [32]byte // SHA-256 of its MQTT password, which is random
	CreatedAt  time.Time
	Link       Link
}

// Replacement says when a unit was given another secret.
type Replacement struct {
	UnitID string
	At     time.Time
}

// Link is what a unit last said of its connection.
type Link struct {
	Online      bool
	Session     string        // random per connection of the unit; empty before the first
	Firmware    string        // as the unit tells it, at most 64 bytes
	Catalogue   int           // the catalogue version that the unit knows
	ClockOffset time.Duration // the unit's clock minus ours, to the millisecond
	At          time.Time     // when the bridge took this in; zero before the first
}

// Device is something that a unit drives. Its ID comes from the sequence that
// groups and scenarios share, so that no two of them ever have the same number.
type Device struct {
	ID         int64
	SiteID     int64
	UnitID     string
	Kind       Kind
	Label      string
	ModelID    int
	ModelLabel string
	CreatedAt  time.Time
}

// SecurityDevice stands in a Command or a State for the site's own alarm, which is
// the unit itself and not one of its devices.
const SecurityDevice int64 = 0

// Outcome says what became of a command.
type Outcome string

const (
	Pending Outcome = "pending" // accepted; sent or about to be
	Done    Outcome = "done"    // the unit did it
	Refused Outcome = "refused" // the unit answered that it did not
	Offline Outcome = "offline" // nothing was sent: the unit was away
	Unknown Outcome = "unknown" // sent, and no answer came; a late one still corrects this
)

// Settled reports whether the house has spoken, or nothing was ever sent.
func (o Outcome) Settled() bool { return o == Done || o == Refused || o == Offline }

// Command is one order to one device, and the record of it.
type Command struct {
	ID         string // UUID version 7
	SiteID     int64
	UnitID     string // empty if the site has no unit
	DeviceID   int64  // SecurityDevice for the alarm
	Kind       Kind
	Operation  string
	UserID     int64
	ClientID   string
	AcceptedAt time.Time
	ExpiresAt  time.Time // bridge's clock; the unit does not begin it after this
	Outcome    Outcome
	Label      string    // the sentence that its history entry gets once it is Done
	Failure    string    // how the sentence begins that the entry gets if it is not done; empty for no entry
	Language   Language  // of both
	Reason     string    // why Refused, in the unit's words, at most 200 bytes; else empty
	FinishedAt time.Time // when the Outcome was written; zero while Pending
}

// State is what a unit reported of a device.
type State struct {
	DeviceID int64           // SecurityDevice for the alarm
	Sequence int64           // rises with each report of this device, for ever
	Time     time.Time       // bridge's clock
	Readings json.RawMessage // a JSON object, at most 4 KiB
	// Since tells of readings that are null since when they are, to the millisecond; nil for none.
	Since map[string]time.Time
}

// Reported is a device with what its unit last said of it.
type Reported struct {
	Device
	State       State         // its Sequence is 0 if nothing was ever said
	ClockOffset time.Duration // of the unit
}

// Measurement is a value that a device measured.
type Measurement struct {
	Value float64
	At    time.Time
}

// MeasurementFilter chooses measurements. From and To are inclusive.
type MeasurementFilter struct {
	Reading   string
	Mean      bool // of the hours of which only a summary is kept, the mean and not the last value
	From, To  time.Time
	Ascending bool
	Limit     int
}

// Group is a number of devices of one kind that are commanded together. It is kept by
// the bridge: a unit knows nothing of it.
type Group struct {
	ID        int64 // of the sequence of the devices
	SiteID    int64
	Kind      Kind // of its devices
	Label     string
	Devices   []Device // by ID
	CreatedAt time.Time
}

// ScenarioType says what makes a scenario run.
type ScenarioType string

const (
	OnDemand   ScenarioType = "onDemand" // a person
	Scheduled  ScenarioType = "scheduled"
	OnEvent    ScenarioType = "onEvent"
	Simulation ScenarioType = "simulation" // of people at home
)

// ScenarioTypes lists all of them.
func ScenarioTypes() []ScenarioType { return []ScenarioType{OnDemand, Scheduled, OnEvent, Simulation} }

// Scenario is a list of operations that are done one after the other.
type Scenario struct {
	ID        int64 // of the sequence of the devices
	SiteID    int64
	Label     string
	Type      ScenarioType
	Enabled   bool            // whether it runs by itself; says nothing of one that is OnDemand
	Rule      json.RawMessage // when it runs by itself: a JSON object, at most 4 KiB
	CreatedBy int64           // the person for whom it runs by itself
	Steps     []Step
	NextAt    time.Time // when it is due by itself; zero if it is not enabled, or does not run by the clock
	CreatedAt time.Time
}

// Step is an operation of a scenario.
type Step struct {
	Device    Device // SecurityDevice with the Kind Security for the alarm; one without a Kind is gone
	Operation string
}

// Membership is that a person belongs to a site.
type Membership struct {
	UserID int64
	Role   Role
}

// Invitation is an owner's word that who has its secret and its e-mail address may belong
// to a site.
type Invitation struct {
	SiteID     int64
	Email      string // in small letters
	Role       Role   // Member or Guest
	SecretHash [32]byte
	CreatedAt  time.Time
	ExpiresAt  time.Time
}

// HistoryType is one of the eight types of the contract.
type HistoryType string

const (
	HistoryAlarm     HistoryType = "alarm"
	HistoryAccess    HistoryType = "access"
	HistoryAccount   HistoryType = "account"
	HistoryConfig    HistoryType = "config"
	HistoryDiagnosis HistoryType = "diagnosis"
	HistoryHomeAuto  HistoryType = "homeAuto"
	HistorySecurity  HistoryType = "security"
	HistoryScenario  HistoryType = "scenario"
)

// HistoryTypes lists all of them.
func HistoryTypes() []HistoryType {
	return []HistoryType{
		HistoryAlarm, HistoryAccess, HistoryAccount, HistoryConfig,
		HistoryDiagnosis, HistoryHomeAuto, HistorySecurity, HistoryScenario,
	}
}

// Entry is a line of a site's history.
type Entry struct {
	ID        int64 // logId; rises
	SiteID    int64
	Type      HistoryType
	Label     string // a readable sentence
	CreatedAt time.Time
	Key       string // of Append, by which a repeat is known; empty: it is none. Not read back
}

// HistoryFilter chooses entries. From and To are inclusive.
type HistoryFilter struct {
	From, To  time.Time
	Types     []HistoryType // empty means all
	Ascending bool
	Limit     int
}
