package devices

import (
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

	budget     Budget
	lanes      lanes
	flights    flights
	background sync.WaitGroup // one for each command whose outcome is being awaited
}

// How long things stay.
const (
	keyLife     = 24 * time.Hour      // an Idempotency-Key
	joinWindow  = time.Minute         // in which a repeat joins a command of unknown outcome
	commandLife = 90 * 24 * time.Hour // the record of a command
	writeLimit  = 10 * time.Second    // a write that an accepted command depends on
	sweepLimit  = 1000                // rows of one sweep
	listLimit   = 5000                // devices, sites
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
		budget:  o.Budget,
		lanes:   lanes{depth: o.LaneDepth, busy: map[place]*lane{}},
		flights: flights{aloft: map[string]*flight{}},
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

// Devices lists the site's devices of one kind.
func (s *Service) Devices(ctx context.Context, c Caller, siteID int64, kind Kind) ([]Device, error) {
	row, known := rowOf(ListDevices, kind, "")
	if !known {
		return nil, &Refusal{Code: NoSuch, Text: "Unknown kind of device"}
	}
	if _, err := s.site(ctx, c, siteID, row); err != nil {
		return nil, err
	}
	list, err := s.store.Devices(ctx, siteID, kind, listLimit)
	if err != nil {
		return nil, fmt.Errorf("list devices of site %d: %w", siteID, err)
	}
	return list, nil
}

// SecurityLevel tells the level of the site's alarm as the unit last reported it.
func (s *Service) SecurityLevel(ctx context.Context, c Caller, siteID int64) (SecurityLevel, error) {
	row, _ := rowOf(ReadSecurity, Security, "")
	if _, err := s.site(ctx, c, siteID, row); err != nil {
		return SecurityLevel{}, err
	}
	state, err := s.store.State(ctx, siteID, SecurityDevice)
	if errors.Is(err, ErrNotFound) {
		return SecurityLevel{}, &Refusal{Code: NotReported, Text: "The unit has not reported its security level yet", RetryAfter: OfflineRetry}
	}
	if err != nil {
		return SecurityLevel{}, fmt.Errorf("read security level of site %d: %w", siteID, err)
	}
	return securityLevelIn(state.Readings)
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
	row, _ := rowOf(ReadHistory, "", "")
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
	row, _ := rowOf(ReadCommand, "", "")
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
	if row, known := OperationOf(command.Kind, command.Operation); known {
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
	if !c.reaches(siteID) {
		return Site{}, noSite()
	}
	if err := permit(c, row); err != nil {
		return Site{}, err
	}
	site, err := s.store.Site(ctx, c.UserID, siteID)
	if errors.Is(err, ErrNotFound) {
		return Site{}, noSite()
	}
	if err != nil {
		return Site{}, fmt.Errorf("read site %d: %w", siteID, err)
	}
	return site, nil
}

// Sweep ends what a bridge that died left pending, and deletes command records
// that nobody can ask for any more. It does a bounded amount of work; the process
// calls it now and then.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	orphaned := now.Add(-2*s.wait - writeLimit)
	if _, err := s.store.Abandon(ctx, orphaned, now, sweepLimit); err != nil {
		return fmt.Errorf("abandon commands accepted before %s: %w", orphaned.Format(time.RFC3339), err)
	}
	if _, err := s.store.Purge(ctx, now.Add(-commandLife), sweepLimit); err != nil {
		return fmt.Errorf("purge commands: %w", err)
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
