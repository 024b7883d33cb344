package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// turn is a scenario that is due by the clock.
type turn struct {
	Waiting
	rule      Rule
	zone      *time.Location
	now       time.Time
	tolerance time.Duration
}

func isLate(at, now time.Time, tolerance time.Duration) bool { return now.Sub(at) > tolerance }

// scheduled fills in what is to be done about a Scheduled scenario.
func (t turn) scheduled(c *Claim) {
	at := t.NextAt
	if !t.rule.next(at.Add(-time.Microsecond), t.zone).Equal(at) {
		c.Next = t.rule.next(t.now, t.zone) // the zone has other rules than when it was scheduled
		return
	}
	if !t.lateAt(at) {
		c.Run, c.Next = t.occurrence(at), t.rule.next(at, t.zone)
		return
	}
	t.skip(c, t.lateAt, func(then time.Time) time.Time { return t.rule.next(then, t.zone) })
}

func (t turn) lateAt(at time.Time) bool { return isLate(at, t.now, t.tolerance) }

// skip records what is too late from NextAt on; next gives what comes after another. Of what
// is longer ago than missedKeep only the first is recorded.
func (t turn) skip(c *Claim, late func(time.Time) bool, next func(time.Time) time.Time) {
	for at := t.NextAt; len(c.Missed) < missedLimit && late(at); at = c.Next {
		e := t.tell(t.now, wasMissed(), "time", t.shown(at))
		c.Next = next(at)
		if recent := t.now.Add(-missedKeep); c.Next.Before(recent) {
			c.Next = next(recent)
			e = t.tell(t.now, wasMissedLong(), "time", t.shown(at), "until", t.shown(recent))
		}
		c.Missed = append(c.Missed, MissedOccurrence{Occurrence: *t.occurrence(at), Entry: &e})
	}
}

// occurrence is the one at a time of the clock.
func (t turn) occurrence(at time.Time) *Occurrence {
	return &Occurrence{ScenarioID: t.ID, Occasion: at.UTC().Format(time.RFC3339Nano), At: at}
}

// simulated fills in what is to be done about a Simulation: a moment of its plan, or a
// window that begins.
func (e *Engine) simulated(ctx context.Context, t turn, c *Claim) error {
	at := t.NextAt
	p, err := readPlan(t.Plan)
	if err != nil {
		return fmt.Errorf("scenario %d: %w", t.ID, err)
	}
	if !p.is(at) {
		return e.open(ctx, t, c)
	}
	after := func(then time.Time) time.Time {
		if next, has := p.next(then); has {
			return next
		}
		return t.beyond(time.UnixMilli(p.Until))
	}
	if !t.lateAt(at) {
		c.Run, c.Next = t.occurrence(at), after(at)
		return nil
	}
	// Each moment is on record, and one sentence tells of all.
	last := at
	for len(c.Missed) < missedLimit && t.lateAt(at) && p.is(at) {
		c.Missed = append(c.Missed, MissedOccurrence{Occurrence: *t.occurrence(at)})
		last, at = at, after(at)
	}
	c.Next = at
	c.Told = append(c.Told, t.tell(t.now, wasAbsent(), "time", t.shown(c.Was), "until", t.shown(last)))
	return nil
}

// beyond gives when the window begins that is after the one that ends at then or later.
func (t turn) beyond(then time.Time) time.Time {
	start, end := t.rule.window(then.Add(-time.Microsecond), t.zone)
	if !start.After(then) {
		start, _ = t.rule.window(end, t.zone)
	}
	return start
}

// upcoming gives when the scenario has something to do after now, as if nothing were overdue.
func (t turn) upcoming() time.Time {
	due := t.rule.due(t.Type, t.now, t.zone)
	p, err := readPlan(t.Plan)
	if err != nil || t.Type != Simulation {
		return due
	}
	end := t.endOf(t.now)
	if p.Until != end.UnixMilli() {
		return due
	}
	if next, has := p.next(t.now); has { // the window was begun
		return next
	}
	return t.beyond(end)
}

// open begins a window: it draws what is done in it.
func (e *Engine) open(ctx context.Context, t turn, c *Claim) error {
	start, end := t.rule.window(t.NextAt, t.zone)
	switch {
	case start.After(t.NextAt): // the zone has other rules than when it was scheduled
		c.Next = start
		return nil
	case !end.After(t.now) && t.lateAt(t.NextAt):
		over := func(at time.Time) bool { return t.lateAt(at) && !t.endOf(at).After(t.now) }
		t.skip(c, over, func(then time.Time) time.Time { return t.beyond(t.endOf(then)) })
		return nil
	case !end.After(t.now):
		c.Next = t.beyond(end)
		return nil
	}
	_, _, scenario, err := e.scenario(ctx, t.Waiting)
	switch {
	case errors.Is(err, errBarred):
		c.Next = t.beyond(end)
		c.Told = append(c.Told, t.tell(t.now, wasBarred()))
		return c.draw(plan{Until: end.UnixMilli()})
	case errors.Is(err, ErrNoDevice): // removed: so there is nothing to claim
		return nil
	case err != nil:
		return err
	}
	from := start
	if t.now.After(from) {
		from = t.now
	}
	p := drawPlan(scenario.Steps, from, end, randomBelow)
	next, has := p.next(start.Add(-time.Millisecond))
	if c.Next = next; !has {
		c.Next = t.beyond(end)
	}
	c.Told = append(c.Told, t.tell(t.now, playsPresence(), "time", t.shown(end)))
	return c.draw(p)
}

// draw has the claim record a plan.
func (c *Claim) draw(p plan) (err error) {
	if c.Plan, err = json.Marshal(p); err != nil {
		return fmt.Errorf("write plan of scenario %d: %w", c.ScenarioID, err)
	}
	return nil
}

// errBarred says that the person for whom a scenario runs may not command at its site any more.
var errBarred = errors.New("the person may not command there")

// scenario finds a scenario as the person for whom it runs does, who must be allowed to command:
// else it is errBarred. One that is gone is ErrNoDevice.
func (e *Engine) scenario(ctx context.Context, w Waiting) (Site, Unit, Scenario, error) {
	site, unit, scenario, err := e.store.Scenario(ctx, w.CreatedBy, w.Site.ID, w.ID)
	if errors.Is(err, ErrNotFound) || err == nil && site.Role == Guest {
		err = errBarred
	}
	if err != nil {
		return Site{}, Unit{}, Scenario{}, err
	}
	may, err := e.may(ctx, w.CreatedBy)
	if err == nil && !may {
		err = errBarred
	}
	return site, unit, scenario, err
}

// endOf gives when the window ends that is open at then.
func (t turn) endOf(then time.Time) time.Time {
	_, end := t.rule.window(then, t.zone)
	return end
}

// run gives the commands of an occurrence, as the person for whom the scenario runs could,
// and writes what became of it. After an error it is open still.
func (e *Engine) run(ctx context.Context, o OpenOccurrence) error {
	s := e.service
	site, unit, scenario, err := e.scenario(ctx, o.Waiting)
	switch {
	case errors.Is(err, errBarred):
		return e.conclude(ctx, o, OccurrenceBarred, o.tell(s.now(), wasBarred()))
	case errors.Is(err, ErrNoDevice), err == nil && !scenario.Enabled:
		return e.conclude(ctx, o, OccurrenceDropped)
	case err != nil:
		return err
	}
	if again := s.now().Add(lookAgain); !unit.Link.Online && !isLate(o.Occurrence.At, again, e.tolerance) {
		return e.store.Release(ctx, o.Occurrence, again) // it may come back in time
	}
	if o.Type == Simulation {
		p, err := readPlan(o.Plan)
		if err != nil {
			return err
		}
		scenario.Steps = p.steps(o.Occurrence.At, scenario.Steps)
	}
	list, err := s.together(ctx, o.caller(), s.partsOf(site, unit, scenario.Steps), TogetherRequest{
		SiteID: site.ID, ID: o.ID, Key: o.Occurrence.Occasion,
	}, true)
	if err != nil {
		return err
	}
	return e.conclude(ctx, o, OccurrenceRan, o.ran(s.now(), list)...)
}

// partsOf makes the commands of steps. A device that is gone is refused.
func (s *Service) partsOf(site Site, unit Unit, steps []Step) []begunPart {
	parts := make([]begunPart, len(steps))
	for i, step := range steps {
		operation, known := s.table.operation(step.Device.Kind, step.Operation)
		parts[i] = begunPart{row: operation, target: Target{Site: site, Unit: unit, Device: step.Device}}
		if !known {
			parts[i].row.Operation = step.Operation
			parts[i].err = noDevice()
		}
	}
	return parts
}

// scenarioClient is the application of which the record of a command says that it gave it:
// it is none, and nobody's budget.
const scenarioClient = "scenario"

// caller is who gives the commands of a scenario: it says so itself, by the rights of the
// person for whom it runs.
func (w Waiting) caller() Caller {
	return Caller{
		UserID: w.CreatedBy, ClientID: scenarioClient, Unscoped: true,
		UserName:   fill(Text{"“{scenario}”", "« {scenario} »"}.In(w.Site.Language), "scenario", w.Label),
		ClientName: Text{"scenario", "scénario"}.In(w.Site.Language),
	}
}

// shown is a time as the clock at the site shows it.
func (w Waiting) shown(at time.Time) string {
	return at.In(zoneOf(w.Site.Timezone)).Format("2006-01-02 15:04")
}

// tell makes an entry about the scenario.
func (w Waiting) tell(now time.Time, label Text, values ...string) Entry {
	values = append([]string{"scenario", w.Label}, values...)
	return Entry{SiteID: w.Site.ID, Type: HistoryScenario, CreatedAt: now, Label: fill(label.In(w.Site.Language), values...)}
}

// ran tells what became of the commands. Of a Simulation it tells only what no command tells
// itself.
func (w Waiting) ran(now time.Time, parts []Part) []Entry {
	var gone []string
	undone, open := false, false
	for _, p := range parts {
		switch {
		case p.Device.Kind == "" && p.Err != nil:
			gone = append(gone, fmt.Sprint(p.Device.ID))
		case p.Err != nil, p.Command.Outcome.Settled() && !p.Done():
			undone = true
		case !p.Done():
			open = true
		}
	}
	label := Text{"Scenario “{scenario}” ran", "Scénario « {scenario} » exécuté"}
	switch {
	case len(gone) > 0:
		label = Text{
			"Scenario “{scenario}” could not do everything: it names a device that is gone ({gone})",
			"Le scénario « {scenario} » n’a pas pu tout faire : il nomme un appareil qui n’existe plus ({gone})",
		}
	case undone:
		label = Text{"Scenario “{scenario}” could not do everything", "Le scénario « {scenario} » n’a pas pu tout faire"}
	case open:
		label = Text{"Scenario “{scenario}” ran (not everything is confirmed)", "Scénario « {scenario} » exécuté (tout n’est pas confirmé)"}
	}
	if w.Type == Simulation && len(gone) == 0 {
		return nil
	}
	return []Entry{w.tell(now, label, "gone", strings.Join(gone, ", "))}
}

func wasMissed() Text {
	return Text{
		"Scenario “{scenario}” did not run on {time}: it would have been too late",
		"Scénario « {scenario} » non exécuté le {time} : il aurait été trop tard",
	}
}

func wasMissedLong() Text {
	return Text{
		"Scenario “{scenario}” did not run from {time} to {until}: it would have been too late",
		"Scénario « {scenario} » non exécuté du {time} au {until} : il aurait été trop tard",
	}
}

func wasAbsent() Text {
	return Text{
		"Scenario “{scenario}” did not play presence from {time} to {until}: it would have been too late",
		"Le scénario « {scenario} » n’a pas simulé de présence du {time} au {until} : il aurait été trop tard",
	}
}

func wasBarred() Text {
	return Text{
		"Scenario “{scenario}” did not run: the person who made it may give no commands here any more",
		"Scénario « {scenario} » non exécuté : la personne qui l’a créé ne peut plus donner de commandes ici",
	}
}

func wasHeld() Text {
	return Text{
		"Scenario “{scenario}” did not run: it was set off too often",
		"Scénario « {scenario} » non exécuté : il a été déclenché trop souvent",
	}
}

func wasInterrupted() Text {
	return Text{
		"Scenario “{scenario}” was interrupted, and it is too late to go on",
		"Le scénario « {scenario} » a été interrompu, et il est trop tard pour continuer",
	}
}

func playsPresence() Text {
	return Text{
		"Scenario “{scenario}” plays presence until {time}",
		"Le scénario « {scenario} » simule une présence jusqu’au {time}",
	}
}

// triggered gives the occurrences of scenarios that an event sets off. An event at a device
// to which a scenario has just given a command is its own doing, and does not set it off.
func (s *Service) triggered(ctx context.Context, from Source, r EventReport, at time.Time) ([]Occurrence, error) {
	triggers, err := s.store.Triggers(ctx, from.Site.ID)
	if err != nil {
		return nil, fmt.Errorf("list triggers of site %d: %w", from.Site.ID, err)
	}
	var list []Occurrence
	for _, t := range triggers {
		rule, err := ParseRule(OnEvent, t.Rule)
		if err != nil || rule.Event != r.Type || rule.Device != nil && *rule.Device != r.DeviceID {
			continue
		}
		since := at.Sub(t.LastBegun)
		if slices.Contains(t.Devices, r.DeviceID) && !t.LastBegun.IsZero() && since > -time.Second && since < echoWindow {
			continue
		}
		list = append(list, Occurrence{ScenarioID: t.ScenarioID, Occasion: "event " + from.Unit.ID + " " + r.ID, At: at})
	}
	return list, nil
}

// wake tells the Engine that something changed.
func (s *Service) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // it has been told, and has not looked yet
	}
}
