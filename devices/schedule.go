package devices

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Rule says when a scenario runs by itself. Which fields it has depends on the type of
// the scenario: one that is OnDemand has none.
type Rule struct {
	// Days are those of the week on which a Scheduled or a Simulation one runs, in the
	// zone of its site; none means every day. A window belongs to the day on which it begins.
	Days []Day `json:"days,omitempty"`
	// At is when a Scheduled one runs.
	At *TimeOfDay `json:"at,omitempty"`
	// From and To are the window of a Simulation. If To is before From it is on the day after.
	From *TimeOfDay `json:"from,omitempty"`
	To   *TimeOfDay `json:"to,omitempty"`
	// Event is what an OnEvent one reacts to, of the Device alone if there is one:
	// SecurityDevice is the unit itself.
	Event  EventType `json:"event,omitempty"`
	Device *int64    `json:"device,omitempty"`
}

// windowMin is how long a Simulation lasts at the least, by the clock.
const windowMin = time.Minute

// ParseRule reads the rule of a scenario of that type. One that is none is a *FieldError.
func ParseRule(kind ScenarioType, text json.RawMessage) (Rule, error) {
	wrong := func(problem string) (Rule, error) { return Rule{}, &FieldError{"rule", problem} }
	if len(text) > ruleMax {
		return wrong("has more than 4 KiB")
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return wrong("is no JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var r Rule
	if err := decoder.Decode(&r); err != nil {
		return wrong("cannot be read: " + err.Error())
	}
	if _, err := decoder.Token(); err != io.EOF { //nolint:errorlint // as the decoder gives it
		return wrong("has more behind it")
	}
	if problem := r.problem(kind); problem != "" {
		return wrong(problem)
	}
	return r, nil
}

// problem tells why r is no rule of a scenario of that type; empty if it is one.
func (r Rule) problem(kind ScenarioType) string {
	hasAt, hasWindow, hasEvent := r.At != nil, r.From != nil || r.To != nil, r.Event != "" || r.Device != nil
	want := map[ScenarioType]string{Scheduled: "at", Simulation: "from and to", OnEvent: "event"}[kind]
	switch {
	case hasAt && kind != Scheduled, hasWindow && kind != Simulation, hasEvent && kind != OnEvent,
		len(r.Days) > 0 && kind != Scheduled && kind != Simulation:
		return fmt.Sprintf("has what a scenario of type %s does not", kind)
	case kind == Scheduled && !hasAt, kind == Simulation && (r.From == nil || r.To == nil), kind == OnEvent && r.Event == "":
		return fmt.Sprintf("of a scenario of type %s must have %s", kind, want)
	case kind == Simulation && r.length() < windowMin:
		return "has a window of less than a minute"
	}
	if _, _, known := historyOf(r.Event); hasEvent && !known {
		return fmt.Sprintf("event is not one of %v", EventTypes())
	}
	return ""
}

// length is how long the window is by the clock: less than a day.
func (r Rule) length() time.Duration {
	const day = 24 * 60 * 60
	return time.Duration((*r.To-*r.From+day)%day) * time.Second
}

// on reports whether the rule is about that day of the week.
func (r Rule) on(day time.Weekday) bool { return len(r.Days) == 0 || slices.Contains(r.Days, Day(day)) }

// next gives the first time after then at which a Scheduled scenario runs.
func (r Rule) next(then time.Time, zone *time.Location) time.Time {
	for day := range daysAround(then, zone) {
		if at := momentOf(day, *r.At, zone); r.on(day.Weekday()) && at.After(then) {
			return at
		}
	}
	return time.Time{} // not reached: a week has each day
}

// window gives the window of a Simulation that ends first of those that end after then: it has
// begun already, or is the next one.
func (r Rule) window(then time.Time, zone *time.Location) (start, end time.Time) {
	for day := range daysAround(then, zone) {
		last := day
		if *r.To <= *r.From {
			last = day.AddDate(0, 0, 1)
		}
		start, end = momentOf(day, *r.From, zone), momentOf(last, *r.To, zone)
		if r.on(day.Weekday()) && end.After(then) && end.After(start) {
			return start, end
		}
	}
	return time.Time{}, time.Time{} // not reached, as above
}

// due gives when a scenario that runs by the clock has something to do after then; zero
// for one that does not.
func (r Rule) due(kind ScenarioType, then time.Time, zone *time.Location) time.Time {
	switch kind {
	case Scheduled:
		return r.next(then, zone)
	case Simulation:
		start, _ := r.window(then, zone)
		if start.Before(then) {
			return then
		}
		return start
	default:
		return time.Time{}
	}
}

// daysAround gives the days, as midnights of UTC, from two before that of then at the
// place to one week and two days after it.
func daysAround(then time.Time, zone *time.Location) func(yield func(time.Time) bool) {
	year, month, day := then.In(zone).Date()
	return func(yield func(time.Time) bool) {
		for i := -2; i <= 9; i++ {
			if !yield(time.Date(year, month, day+i, 0, 0, 0, 0, time.UTC)) {
				return
			}
		}
	}
}

// momentOf gives when the clocks of a zone show that time of that day. When they show it
// twice, because they are set back, it is the first time. When they never do, because they are
// set forward, it is the moment at which they are.
func momentOf(day time.Time, at TimeOfDay, zone *time.Location) time.Time {
	shown := day.Add(time.Duration(at) * time.Second) // as if the zone were UTC
	// No zone is further from UTC than that: from one change of its clocks to the next.
	for since := shown.Add(-26 * time.Hour).In(zone); ; {
		_, offset := since.Zone()
		_, until := since.ZoneBounds()
		moment := shown.Add(-time.Duration(offset) * time.Second)
		switch {
		case moment.Before(since):
			return since.UTC()
		case until.IsZero() || moment.Before(until):
			return moment
		}
		since = until
	}
}

// zoneOf gives a zone by its name; UTC if it is not known here.
func zoneOf(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	return zone
}

// TimeOfDay is what a clock shows: seconds after midnight, below 24 hours. As text it is
// 07:30 or 07:30:15.
type TimeOfDay int

// ParseTimeOfDay reads what a clock shows.
func ParseTimeOfDay(text string) (TimeOfDay, error) {
	for _, layout := range []string{"15:04", "15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil && at.Format(layout) == text {
			return TimeOfDay(at.Hour()*3600 + at.Minute()*60 + at.Second()), nil
		}
	}
	return 0, fmt.Errorf("%q is no time of day such as 07:30 or 07:30:15", text)
}

func (t TimeOfDay) String() string {
	text := fmt.Sprintf("%02d:%02d:%02d", t/3600, t/60%60, t%60)
	if t%60 == 0 {
		return text[:len("07:30")]
	}
	return text
}

// MarshalText gives the text.
func (t TimeOfDay) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads it.
func (t *TimeOfDay) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTimeOfDay(string(text))
	return err
}

// Day is a day of the week. As text it is mon, tue and so on.
type Day time.Weekday

const dayNames = "sunmontuewedthufrisat"

// ParseDay reads the text of a day.
func ParseDay(text string) (Day, error) {
	for d := Day(time.Sunday); d <= Day(time.Saturday); d++ {
		if d.String() == text {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of mon, tue, wed, thu, fri, sat, sun", text)
}

func (d Day) String() string { return dayNames[3*d : 3*d+3] }

// MarshalText gives the text.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it.
func (d *Day) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDay(string(text))
	return err
}
