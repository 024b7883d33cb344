package devices

import (
	"context"
	"encoding/json"
	"time"
)

// Occurrence is one time that a scenario runs by itself, or should have: that it is
// written is what makes it happen once.
type Occurrence struct {
	ScenarioID int64
	// Occasion is what makes it this one: its time, or the event that is the reason. 128 bytes
	// at the most, without control characters.
	Occasion string
	At       time.Time // when it should be
}

// OccurrenceOutcome says what became of an Occurrence.
type OccurrenceOutcome string

const (
	OccurrenceOpen        OccurrenceOutcome = "open"        // it waits, or runs
	OccurrenceRan         OccurrenceOutcome = "ran"         // its commands were given, whatever became of them
	OccurrenceMissed      OccurrenceOutcome = "missed"      // it was too late
	OccurrenceBarred      OccurrenceOutcome = "barred"      // the person for whom it runs may not command there any more
	OccurrenceHeld        OccurrenceOutcome = "held"        // the scenario, or those of its site, ran too often
	OccurrenceDropped     OccurrenceOutcome = "dropped"     // the scenario was switched off meanwhile
	OccurrenceInterrupted OccurrenceOutcome = "interrupted" // the bridge that began it died, and then it was too late
)

// Occurrences is the part of a Store that keeps what scenarios do by themselves.
type Occurrences interface {
	// Due lists scenarios that are enabled and whose NextAt is not after now, by that;
	// limit at the most.
	Due(ctx context.Context, now time.Time, limit int) ([]Waiting, error)
	// Timed lists scenarios that are enabled and run by the clock by ID, those above after;
	// limit at the most.
	Timed(ctx context.Context, after int64, limit int) ([]Waiting, error)
	// Reschedule stores when a scenario is due next, zero for never, if it is enabled and
	// its NextAt is was, and reports whether that is so.
	Reschedule(ctx context.Context, scenarioID int64, was, next time.Time) (bool, error)
	// Claim takes what is due, and reports whether it was still to be taken, and c.Run the
	// caller's to do. See Claim.
	Claim(ctx context.Context, c Claim) (claimed, mine bool, err error)
	// Open lists occurrences that are open and nobody's since before now, by that; limit at
	// the most.
	Open(ctx context.Context, now time.Time, limit int) ([]OpenOccurrence, error)
	// Take makes an open occurrence the caller's, or holds it back. See Take.
	Take(ctx context.Context, t Take) (Taken, error)
	// Release makes an open occurrence nobody's from then on, as if nobody had begun it.
	Release(ctx context.Context, o Occurrence, then time.Time) error
	// Conclude writes what became of an open occurrence, with entries of its site's
	// history. One that is not open or unknown is ErrNotFound, and nothing is written.
	Conclude(ctx context.Context, o Occurrence, as OccurrenceOutcome, now time.Time, entries []Entry) error
	// NextDue gives the first time at which Due or Open list something; zero if there is none.
	NextDue(ctx context.Context) (time.Time, error)
	// Triggers lists what the events of a site may set off, by scenario ID.
	Triggers(ctx context.Context, siteID int64) ([]Trigger, error)
	// LastRuns gives of each scenario of a site the occurrence that began last, by scenario ID.
	LastRuns(ctx context.Context, siteID int64) ([]LastRun, error)
	// PurgeOccurrences deletes those of before then that are not open, limit at the most, and
	// returns how many those were.
	PurgeOccurrences(ctx context.Context, before time.Time, limit int) (int, error)
}

// LastRun is the occurrence of a scenario that began last.
type LastRun struct {
	Occurrence
	BegunAt time.Time
	Outcome OccurrenceOutcome // OccurrenceOpen while it runs
}

// Waiting is a scenario that runs by itself, without its steps, with the site that it is
// of, where nobody asks.
type Waiting struct {
	Scenario
	Site Site
	Plan json.RawMessage // what a Simulation does in the present window; empty for nothing
}

// OpenOccurrence is an occurrence that is open and nobody's, with its scenario.
type OpenOccurrence struct {
	Waiting
	Occurrence Occurrence
	Begun      bool      // somebody had it
	Since      time.Time // since when it is nobody's
}

// Claim is what is done about a scenario that is due. If the scenario is not enabled, or its
// NextAt is not Was, nothing is written: somebody else was first. Otherwise NextAt is Next
// (zero for never), Plan is stored unless it is nil, and Told are appended to the history of the
// site.
//
// Run, unless it is nil, is written as open and the caller's until Until. If it is written
// already it is not the caller's, unless as missed at a time that is yet to come: by a bridge
// whose clock was wrong.
//
// Each of Missed is written, if it is not yet, and its Entry with it, unless that is nil.
type Claim struct {
	ScenarioID int64
	Was, Next  time.Time
	Plan       json.RawMessage
	Run        *Occurrence
	Now, Until time.Time
	Missed     []MissedOccurrence
	Told       []Entry
}

// MissedOccurrence is one that did not happen.
type MissedOccurrence struct {
	Occurrence
	Entry *Entry
}

// Take asks for an open occurrence that is nobody's since Since, until Until. Unless Most is
// zero it is held back if its scenario began Most occurrences after After, or all the OnEvent
// ones of its site SiteMost; then Held is appended to the history of the site, unless one was held
// back after After already.
type Take struct {
	Occurrence     Occurrence
	SiteID         int64
	Since          time.Time
	Now, Until     time.Time
	After          time.Time
	Most, SiteMost int
	Held           Entry
}

// Taken says what became of a Take.
type Taken string

const (
	TakenByCaller Taken = "caller"
	TakenByOther  Taken = "other" // or it is not open any more
	TakenNot      Taken = "held"
)

// Trigger is an OnEvent scenario that is enabled.
type Trigger struct {
	ScenarioID int64
	Rule       json.RawMessage
	Devices    []int64   // of its steps, each once, in ascending order
	LastBegun  time.Time // when it last began to run; zero for never
}
