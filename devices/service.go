package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Options are what a Service is made of.
type Options struct {
	Store    Store
	Now      func() time.Time // the clock
	Logger   *slog.Logger
	Observer Observer // nil for none

	// Wait is how long after its acceptance a command's answer is waited for, before
	// its outcome is called Unknown. Clients give up at 10 s.
	Wait time.Duration
	// LaneDepth is how many commands to one device may be unanswered at once.
	LaneDepth int
	// Budget is what a new command is taken from. Nil: there is no limit.
	Budget Budget
	// Keep says how long what happened is kept; of what is zero the default of its field.
	Keep Keep
}

// Keep says how long a Service keeps what happened.
type Keep struct {
	Interval     time.Duration // of a device's measurements: one is kept in each; 1 min
	Raw          time.Duration // each of them; then the mean of its hour; 14 days
	Measurements time.Duration // 365 days
	History      time.Duration // 365 days
}

func (k Keep) orDefaults() Keep {
	const day = 24 * time.Hour
	return Keep{
		Interval: cmp.Or(k.Interval, time.Minute), Raw: cmp.Or(k.Raw, 14*day),
		Measurements: cmp.Or(k.Measurements, 365*day), History: cmp.Or(k.History, 365*day),
	}
}

// Observer is told what became of commands. Its methods return at once and may be
// called concurrently.
type Observer interface {
	// CommandFinished is told each outcome that is written. A command whose outcome was
	// unknown and is corrected by a late answer is told twice.
	CommandFinished(kind, operation, outcome string)
	// CommandAcknowledged is told the time from acceptance to the unit's answer.
	CommandAcknowledged(kind, operation string, after time.Duration)
}

// Service decides who may do what in a house, carries commands to it and takes in
// what it reports. Its methods may be called concurrently. What it refuses is a
// *Refusal; any other error is a failure of the bridge.
type Service struct {
	store    Store
	sender   Sender
	now      func() time.Time
	log      *slog.Logger
	observer Observer
	wait     time.Duration
	keep     Keep
	table    table

	budget     Budget
	lanes      lanes
	flights    flights
	background sync.WaitGroup // one for each command whose outcome is being awaited
	changed    chan struct{}  // receives when scenarios have something new to do
}

// How long things stay.
const (
	keyLife     = 24 * time.Hour      // an Idempotency-Key
	joinWindow  = time.Minute         // in which a repeat joins a command of unknown outcome
	commandLife = 90 * 24 * time.Hour // the record of a command
	writeLimit  = 6 * time.Second     // a write that an accepted command depends on
	sweepLimit  = 1000                // rows of one step of a sweep
	sweepSteps  = 20                  // of one kind in a sweep
	listLimit   = 5000                // devices of a site, sites of a person
	historyMax  = 300                 // entries of one answer
)

// New makes a Service. It commands nothing before SetSender.
func New(o Options) *Service {
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Budget == nil {
		o.Budget = unlimited{}
	}
	return &Service{
		store: o.Store, now: o.Now, log: o.Logger, observer: o.Observer, wait: o.Wait,
		keep: o.Keep.orDefaults(), table: newTable(),
		budget:  o.Budget,
		lanes:   lanes{depth: o.LaneDepth, busy: map[place]*lane{}},
		flights: flights{aloft: map[string]*flight{}},
		changed: make(chan struct{}, 1),
	}
}

// SetSender gives the way to the units. It is called once, before any Execute: the
// link to the broker needs the Service to report to, so it is made after it.
func (s *Service) SetSender(sender Sender) { s.sender = sender }

// Sites lists the caller's sites with their counts.
func (s *Service) Sites(ctx context.Context, c Caller) ([]SiteSummary, error) {
	sites, err := s.store.Sites(ctx, c.UserID, listLimit)
	if err != nil {
		return nil, fmt.Errorf("list sites of user %d: %w", c.UserID, err)
	}
	return slices.DeleteFunc(sites, func(s SiteSummary) bool { return !c.reaches(s.ID) }), nil
}

// Devices lists the site's devices that the row lists, with what was last reported of
// them if the row has fields for it. One that lists everything lists the devices of which the caller may list the kind.
func (s *Service) Devices(ctx context.Context, c Caller, row Row, siteID int64) ([]Reported, error) {
	if err := s.admit(c, siteID, row); err != nil {
		return nil, err
	}
	kinds := row.Kinds()
	if row.Action == ListEverything {
		kinds = s.visible(c)
	}
	_, list, err := s.store.Devices(ctx, c.UserID, siteID, kinds, len(row.Fields) > 0, listLimit)
	if err != nil {
		return nil, absent(err, "list devices of site %d", siteID)
	}
	return list, nil
}

// visible lists the kinds of device that the caller may list. There is always one.
func (s *Service) visible(c Caller) []Kind {
	kinds := []Kind{Camera} // whose list needs no scope
	for _, row := range s.table.rows {
		if row.Action == ListDevices && c.may(row.Scope) {
			kinds = append(kinds, row.Kinds()...)
		}
	}
	return kinds
}

// Empty checks that the caller may ask for something of the site of which there is
// nothing. What is not there yet is refused as such.
func (s *Service) Empty(ctx context.Context, c Caller, row Row, siteID int64) error {
	if _, err := s.site(ctx, c, siteID, row); err != nil {
		return err
	}
	if row.Action == NotYet {
		return &Refusal{Code: NotMade, Text: "This bridge has no cameras yet"}
	}
	return nil
}

// Alarm is how the alarm of a site stands, as its unit last said.
type Alarm struct {
	Level   SecurityLevel
	Ringing bool
	// When people must have left until the alarm watches, and when they must have disarmed
	// it before it rings: zero while no such delay runs. By the bridge's clock.
	ExitUntil, EntryUntil time.Time
}

// Alarm tells how the site's alarm stands.
func (s *Service) Alarm(ctx context.Context, c Caller, siteID int64) (Alarm, error) {
	row, _ := s.table.row(ReadSecurity, Security, "")
	if err := s.admit(c, siteID, row); err != nil {
		return Alarm{}, err
	}
	_, reported, err := s.store.Device(ctx, c.UserID, siteID, SecurityDevice, nil)
	if err != nil {
		return Alarm{}, absent(err, "read alarm of site %d", siteID)
	}
	if reported.State.Sequence == 0 {
		return Alarm{}, &Refusal{Code: NotReported, Text: "The unit has not reported its security level yet", RetryAfter: OfflineRetry}
	}
	return s.alarmIn(reported)
}

func (s *Service) alarmIn(r Reported) (Alarm, error) {
	values, err := s.table.things[Security].Values(r.State.Readings)
	if err != nil {
		return Alarm{}, fmt.Errorf("read alarm of site %d: %w", r.SiteID, err)
	}
	alarm := Alarm{Ringing: values["alarm"] == "ringing"}
	for _, level := range SecurityLevels() {
		if level.Label == values["level"] {
			alarm.Level = level
		}
	}
	until := func(name string) time.Time {
		ms, said := values[name].(float64)
		at := time.UnixMilli(int64(ms)).UTC().Add(-r.ClockOffset)
		if !said || !at.After(s.now()) {
			return time.Time{}
		}
		return at
	}
	alarm.ExitUntil, alarm.EntryUntil = until("exit_delay_until"), until("entry_delay_until")
	return alarm, nil
}

// SecurityLevel tells the level of the site's alarm as the unit last reported it.
func (s *Service) SecurityLevel(ctx context.Context, c Caller, siteID int64) (SecurityLevel, error) {
	alarm, err := s.Alarm(ctx, c, siteID)
	return alarm.Level, err
}

// HistoryQuery asks for a part of a site's history. A zero From or To is not given:
// without both it is the current day at the site.
type HistoryQuery struct {
	From, To  time.Time
	Types     []HistoryType // empty means all
	Ascending bool
}

// History lists the site's history, 300 entries at the most.
func (s *Service) History(ctx context.Context, c Caller, siteID int64, q HistoryQuery) ([]Entry, error) {
	row, _ := s.table.row(ReadHistory, "", "")
	site, err := s.site(ctx, c, siteID, row)
	if err != nil {
		return nil, err
	}
	filter := HistoryFilter{From: q.From, To: q.To, Types: q.Types, Ascending: q.Ascending, Limit: historyMax}
	if filter.From.IsZero() && filter.To.IsZero() {
		filter.From = startOfDay(s.now(), site.Timezone)
	}
	if filter.To.IsZero() {
		filter.To = s.now()
	}
	if filter.From.After(filter.To) {
		return nil, &Refusal{Code: BadFilter, Text: "dateFrom is after dateTo"}
	}
	entries, err := s.store.History(ctx, siteID, filter)
	if err != nil {
		return nil, fmt.Errorf("read history of site %d: %w", siteID, err)
	}
	return entries, nil
}

// startOfDay gives the first instant of now's day in the zone; UTC if the zone is
// not known here.
func startOfDay(now time.Time, zone string) time.Time {
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.UTC
	}
	y, m, d := now.In(location).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, location).UTC()
}

// Command reads the record of a command of the site. Every member may read it, through
// an application that might have given it.
func (s *Service) Command(ctx context.Context, c Caller, siteID int64, id string) (Command, error) {
	row, _ := s.table.row(ReadCommand, "", "")
	if _, err := s.site(ctx, c, siteID, row); err != nil {
		return Command{}, err
	}
	command, err := s.recorded(ctx, siteID, id)
	if errors.Is(err, ErrNotFound) {
		return Command{}, &Refusal{Code: NoSuch, Text: "Unknown command ID"}
	}
	if err != nil {
		return Command{}, fmt.Errorf("read command %s: %w", id, err)
	}
	if row, known := s.table.operation(command.Kind, command.Operation); known {
		err = permit(c, row)
	}
	return command, err
}

// recorded reads a command from the store, which is asked only for what can be an ID.
func (s *Service) recorded(ctx context.Context, siteID int64, id string) (Command, error) {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.String() != id {
		return Command{}, ErrNotFound
	}
	return s.store.Command(ctx, siteID, id)
}

// site finds a site where the caller may do what the row is for.
func (s *Service) site(ctx context.Context, c Caller, siteID int64, row Row) (Site, error) {
	if err := s.admit(c, siteID, row); err != nil {
		return Site{}, err
	}
	site, err := s.store.Site(ctx, c.UserID, siteID)
	if errors.Is(err, ErrNotFound) {
		return Site{}, noSite()
	}
	if err != nil {
		return Site{}, fmt.Errorf("read site %d: %w", siteID, err)
	}
	return site, look(site, row)
}

// admit refuses a caller whose token is not for the site, or not good for the row.
func (s *Service) admit(c Caller, siteID int64, row Row) error {
	if !c.reaches(siteID) {
		return noSite()
	}
	return permit(c, row)
}

// Sweep ends what a bridge that died left pending, turns old measurements into
// summaries, and deletes what is kept no longer. It does a bounded amount of work; the
// process calls it now and then.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	orphaned := now.Add(-2*s.wait - writeLimit)
	return errors.Join(
		sweep("abandon commands", orphaned, func(before time.Time) (int, error) {
			return s.store.Abandon(ctx, before, now, sweepLimit, failed)
		}),
		sweep("purge commands", now.Add(-commandLife), func(before time.Time) (int, error) { return s.store.Purge(ctx, before, sweepLimit) }),
		sweep("roll measurements up", now.Add(-s.keep.Raw).Truncate(time.Hour), func(before time.Time) (int, error) {
			return s.store.RollUp(ctx, before, sweepLimit)
		}),
		sweep("purge measurements", now.Add(-s.keep.Measurements), func(before time.Time) (int, error) {
			return s.store.PurgeMeasurements(ctx, before, sweepLimit)
		}),
		sweep("purge history", now.Add(-s.keep.History), func(before time.Time) (int, error) { return s.store.PurgeHistory(ctx, before, sweepLimit) }),
		sweep("purge occurrences", now.Add(-commandLife), func(before time.Time) (int, error) { return s.store.PurgeOccurrences(ctx, before, sweepLimit) }),
		sweep("purge invitations", now, func(before time.Time) (int, error) { return s.store.PurgeInvitations(ctx, before, sweepLimit) }),
	)
}

// sweep takes step after step until there is nothing left, or enough for once.
func sweep(doing string, before time.Time, step func(before time.Time) (int, error)) error {
	for range sweepSteps {
		n, err := step(before)
		if err != nil {
			return fmt.Errorf("%s of before %s: %w", doing, before.Format(time.RFC3339), err)
		}
		if n < sweepLimit {
			return nil
		}
	}
	return nil
}

// Drain waits until every accepted command has its outcome, or ctx ends. Nothing
// may call Execute any more.
func (s *Service) Drain(ctx context.Context) error {
	settled := make(chan struct{})
	go func() {
		s.background.Wait()
		close(settled)
	}()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await outcome of accepted commands: %w", ctx.Err())
	}
}

type unobserved struct{}

func (unobserved) CommandFinished(string, string, string)            {}
func (unobserved) CommandAcknowledged(string, string, time.Duration) {}
