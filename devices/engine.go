package devices

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// EngineOptions are what an Engine is made of.
type EngineOptions struct {
	Service *Service
	// Tolerance is how late a scenario may run. What is later than that is recorded as
	// missed; 0 means 2 minutes.
	Tolerance time.Duration
	// May reports whether a person's account may be used. The scenarios of one whose may not do
	// not run. Nil: all may.
	May func(ctx context.Context, userID int64) (bool, error)
	// Timer gives a channel that receives when d has passed by the clock of the Service,
	// and how to do without. Nil: the system's.
	Timer func(d time.Duration) (c <-chan time.Time, stop func())
	// Observe is told what became of each occurrence, as it is written; nil for nobody.
	Observe func(kind, outcome string)
}

// Engine runs the scenarios that run by themselves: at their time, when an event comes, or
// to play presence. Any number of engines may work on one store: each occurrence is claimed
// there before anything is done, and its commands carry keys, so that it happens once,
// whoever dies in between. It is told of changes that are made through its own Service, and looks
// for those of others every few seconds.
type Engine struct {
	service   *Service
	store     Store
	log       *slog.Logger
	tolerance time.Duration
	may       func(ctx context.Context, userID int64) (bool, error)
	timer     func(time.Duration) (<-chan time.Time, func())
	observe   func(kind, outcome string)

	slots chan struct{} // one for each that runs
	runs  sync.WaitGroup
	life  context.Context // of what runs
	kill  context.CancelFunc
	end   context.CancelFunc // of the loop
	ended chan struct{}

	// Of the loop alone.
	seen   time.Time // what the clock last showed
	replan bool      // nobody has looked yet whether what is scheduled is right
	away   bool      // the record gave no answer when it was last asked
}

// Bounds of an Engine.
const (
	toleranceDefault = 2 * time.Minute
	lookAgain        = 5 * time.Second       // for what others changed, and after an error
	runsMax          = 128                   // at one time
	runLimit         = 30 * time.Second      // of one
	leaseTime        = runLimit + writeLimit // for which it is its engine's
	dueLimit         = 100                   // of one list
	missedLimit      = 100                   // of one claim
	missedKeep       = 31 * 24 * time.Hour   // before that, what was missed is told in one sentence

	echoWindow  = 30 * time.Second // in which an event at a device is taken for a scenario's own doing
	eventWindow = 10 * time.Minute // in which a scenario is set off by
	eventMost   = 10               // events at the most, and
	eventAtSite = 100              // all of its site
)

// NewEngine makes an Engine. It does nothing before Start.
func NewEngine(o EngineOptions) *Engine {
	e := &Engine{
		service: o.Service, store: o.Service.store, log: o.Service.log,
		tolerance: o.Tolerance, may: o.May, timer: o.Timer, observe: o.Observe,
		slots: make(chan struct{}, runsMax), ended: make(chan struct{}), replan: true,
	}
	if e.tolerance == 0 {
		e.tolerance = toleranceDefault
	}
	if e.may == nil {
		e.may = func(context.Context, int64) (bool, error) { return true, nil }
	}
	if e.timer == nil {
		e.timer = systemTimer
	}
	if e.observe == nil {
		e.observe = func(string, string) {}
	}
	return e
}

func systemTimer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Start begins. It is called once, when the Service has its Sender.
func (e *Engine) Start() {
	var loop context.Context
	loop, e.end = context.WithCancel(context.Background())
	e.life, e.kill = context.WithCancel(context.Background())
	go func() {
		defer close(e.ended)
		e.loop(loop)
	}()
}

// Stop begins nothing more and waits until what runs has ended. When ctx ends first that is
// cut short, and is gone on with, if there is still time, by whoever starts next.
func (e *Engine) Stop(ctx context.Context) error {
	if e.end == nil {
		return nil
	}
	e.end()
	<-e.ended
	done := make(chan struct{})
	go func() {
		e.runs.Wait()
		close(done)
	}()
	defer e.kill()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await scenarios that run: %w", ctx.Err())
	}
}

func (e *Engine) loop(ctx context.Context) {
	for {
		wait := e.round(ctx)
		c, stop := e.timer(wait)
		select {
		case <-c:
		case <-e.service.changed:
		case <-ctx.Done():
			stop()
			return
		}
		stop()
	}
}

// round does what is due and tells how long there is nothing to do.
func (e *Engine) round(ctx context.Context) time.Duration {
	progress, err := e.work(ctx)
	next := time.Time{}
	if err == nil {
		next, err = e.store.NextDue(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return lookAgain // which nobody waits for
	case err != nil:
		away := errors.Is(err, ErrUnavailable)
		if !away || !e.away { // of an outage the first time is enough
			e.log.ErrorContext(ctx, "scenarios cannot be looked after", "err", err)
		}
		e.away = away
		return lookAgain
	}
	e.away = false
	if next.IsZero() {
		return lookAgain
	}
	wait := next.Sub(e.service.now())
	if wait <= 0 && !progress {
		return lookAgain // somebody else is at it, or it cannot be done
	}
	return min(max(wait, 0), lookAgain)
}

// work does what is due, and reports whether that was anything.
func (e *Engine) work(ctx context.Context) (progress bool, err error) {
	now := e.service.now()
	if e.replan || now.Before(e.seen) {
		// The clock was set back: what was scheduled by it may be far too late.
		if err := e.reschedule(ctx, now); err != nil {
			return false, err
		}
		e.replan = false
	}
	e.seen = now
	for {
		due, err := e.store.Due(ctx, e.service.now(), dueLimit)
		if err != nil {
			return progress, err
		}
		claimed := 0
		for _, w := range due {
			did, err := e.due(ctx, w)
			if err != nil {
				return progress, err
			}
			if did {
				claimed++
			}
		}
		progress = progress || claimed > 0
		if len(due) < dueLimit || claimed == 0 {
			break
		}
	}
	taken, err := e.takeOpen(ctx)
	return progress || taken, err
}

// reschedule looks at each scenario that runs by the clock: the rules of its zone, or the
// clock itself, may have changed. What is overdue stays so.
func (e *Engine) reschedule(ctx context.Context, now time.Time) error {
	var after int64
	for {
		list, err := e.store.Timed(ctx, after, dueLimit)
		if err != nil {
			return err
		}
		for _, w := range list {
			after = w.ID
			if !w.NextAt.IsZero() && !w.NextAt.After(now) {
				continue
			}
			rule, err := ParseRule(w.Type, w.Rule)
			if err != nil {
				continue // it never runs
			}
			next := turn{Waiting: w, rule: rule, zone: zoneOf(w.Site.Timezone), now: now}.upcoming()
			if next.Equal(w.NextAt) {
				continue
			}
			if _, err := e.store.Reschedule(ctx, w.ID, w.NextAt, next); err != nil {
				return err
			}
		}
		if len(list) < dueLimit {
			return nil
		}
	}
}

// due claims what a scenario is to do now, and begins it. It reports whether it claimed
// anything.
func (e *Engine) due(ctx context.Context, w Waiting) (bool, error) {
	now := e.service.now()
	rule, err := ParseRule(w.Type, w.Rule)
	if err != nil {
		e.log.ErrorContext(ctx, "scenario without a rule", "scenario", w.ID, "err", err)
		return e.store.Reschedule(ctx, w.ID, w.NextAt, time.Time{})
	}
	claim := Claim{ScenarioID: w.ID, Was: w.NextAt, Now: now, Until: now.Add(leaseTime)}
	clock := turn{Waiting: w, rule: rule, zone: zoneOf(w.Site.Timezone), now: now, tolerance: e.tolerance}
	if w.Type == Scheduled {
		clock.scheduled(&claim)
	} else if err := e.simulated(ctx, clock, &claim); err != nil {
		return false, err
	}
	if claim.Run != nil {
		select {
		case e.slots <- struct{}{}: // first: what is claimed begins at once
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	claimed, mine, err := e.store.Claim(ctx, claim)
	if claim.Run != nil && mine {
		e.begin(OpenOccurrence{Waiting: w, Occurrence: *claim.Run})
	} else if claim.Run != nil {
		<-e.slots
	}
	if claimed {
		for range claim.Missed {
			e.observe(string(w.Type), string(OccurrenceMissed))
		}
	}
	return claimed, err
}

// begin runs what was claimed. The caller has taken a slot for it.
func (e *Engine) begin(o OpenOccurrence) {
	e.runs.Go(func() {
		defer func() { <-e.slots }()
		ctx, cancel := context.WithTimeout(e.life, runLimit)
		defer cancel()
		if err := e.run(ctx, o); err != nil {
			// It stays open, and is taken up again once it is nobody's.
			e.log.ErrorContext(ctx, "scenario not run to its end", "scenario", o.ID, "occasion", o.Occurrence.Occasion, "err", err)
		}
	})
}

// takeOpen takes what waits or was left behind, and reports whether that was anything.
func (e *Engine) takeOpen(ctx context.Context) (progress bool, err error) {
	for {
		list, err := e.store.Open(ctx, e.service.now(), dueLimit)
		if err != nil {
			return progress, err
		}
		taken := 0
		for _, o := range list {
			did, err := e.take(ctx, o)
			if err != nil {
				return progress, err
			}
			if did {
				taken++
			}
		}
		progress = progress || taken > 0
		if len(list) < dueLimit || taken == 0 {
			return progress, nil
		}
	}
}

// take takes an open occurrence and runs it, unless it is too late.
func (e *Engine) take(ctx context.Context, o OpenOccurrence) (bool, error) {
	now := e.service.now()
	switch {
	case !o.Enabled:
		return true, e.conclude(ctx, o, OccurrenceDropped)
	case isLate(o.Occurrence.At, now, e.tolerance) && o.Begun:
		return true, e.conclude(ctx, o, OccurrenceInterrupted, o.tell(now, wasInterrupted()))
	case isLate(o.Occurrence.At, now, e.tolerance):
		return true, e.conclude(ctx, o, OccurrenceMissed, o.tell(now, wasMissed(), "time", o.shown(o.Occurrence.At)))
	}
	t := Take{Occurrence: o.Occurrence, SiteID: o.Site.ID, Since: o.Since, Now: now, Until: now.Add(leaseTime)}
	if o.Type == OnEvent && !o.Begun {
		t.After, t.Most, t.SiteMost, t.Held = now.Add(-eventWindow), eventMost, eventAtSite, o.tell(now, wasHeld())
	}
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	taken, err := e.store.Take(ctx, t)
	if err == nil && taken == TakenByCaller {
		e.begin(o)
		return true, nil
	}
	<-e.slots
	if err == nil && taken == TakenNot {
		e.observe(string(o.Type), string(OccurrenceHeld))
	}
	return taken == TakenNot, err
}

// conclude writes what became of an occurrence. That somebody else has, or that the
// scenario is gone, is no error.
func (e *Engine) conclude(ctx context.Context, o OpenOccurrence, as OccurrenceOutcome, entries ...Entry) error {
	// Not cut short: what was done is to be on record.
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	err := e.store.Conclude(write, o.Occurrence, as, e.service.now(), entries)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		e.observe(string(o.Type), string(as))
	}
	return err
}
