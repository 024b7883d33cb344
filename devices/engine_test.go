package devices_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// rig is a house whose scenarios run by a clock that the test sets, and whose unit does at
// once what it is told unless the test plays it.
type rig struct {
	*house
	engine *devices.Engine
	asleep chan time.Duration // receives how long the engine wants to sleep
	wake   chan time.Time     // ends its sleep
	ends   chan string        // receives what became of an occurrence, with its type
}

func newRig(t *testing.T, change ...func(*devices.EngineOptions)) *rig {
	t.Helper()
	r := &rig{house: newHouse(t)}
	r.start(change...)
	return r
}

// start starts an engine of the house, as after a restart, and returns when it sleeps.
func (r *rig) start(change ...func(*devices.EngineOptions)) {
	r.t.Helper()
	r.asleep, r.wake, r.ends = make(chan time.Duration), make(chan time.Time), make(chan string, 10_000)
	ends, asleep, wake, stopped := r.ends, r.asleep, r.wake, make(chan struct{})
	o := devices.EngineOptions{
		Service: r.Service,
		Observe: func(kind, outcome string) { ends <- kind + " " + outcome },
		Timer: func(d time.Duration) (<-chan time.Time, func()) {
			select {
			case asleep <- d:
			case <-stopped:
			}
			return wake, func() {}
		},
	}
	for _, f := range change {
		f(&o)
	}
	r.engine = devices.NewEngine(o)
	engine := r.engine
	engine.Start()
	r.t.Cleanup(func() {
		close(stopped)
		require.NoError(r.t, engine.Stop(context.Background()))
	})
	r.sleeps()
}

// sleeps waits until the engine has nothing to do and tells for how long.
func (r *rig) sleeps() time.Duration {
	r.t.Helper()
	select {
	case d := <-r.asleep:
		return d
	case <-time.After(10 * time.Second):
		r.t.Fatal("the engine does not come to rest")
		panic("unreachable")
	}
}

// at sets the clock, wakes the engine, and returns when it sleeps again.
func (r *rig) at(then time.Time) time.Duration {
	r.t.Helper()
	r.clock.set(then)
	for {
		r.wake <- then
		if d := r.sleeps(); d > 0 {
			return d
		}
	}
}

// told waits until the engine looks because it was told of a change.
func (r *rig) told() time.Duration { return r.sleeps() }

func (r *rig) ended(want string) {
	r.t.Helper()
	select {
	case got := <-r.ends:
		require.Equal(r.t, want, got)
	case <-time.After(10 * time.Second):
		r.t.Fatalf("nothing became %s", want)
	}
}

func (r *rig) nothingEnded() {
	r.t.Helper()
	select {
	case got := <-r.ends:
		r.t.Fatalf("unexpected: %s", got)
	default:
	}
}

// add adds a scenario of the owner and lets the engine see it.
func (r *rig) add(kind devices.ScenarioType, label, rule string, steps ...devices.Step) devices.Scenario {
	r.t.Helper()
	s, err := r.AddScenario(r.t.Context(), devices.Scenario{
		SiteID: r.site.ID, Label: label, Type: kind, Enabled: true, Rule: json.RawMessage(rule), CreatedBy: r.owner.UserID, Steps: steps,
	})
	require.NoError(r.t, err)
	r.told()
	return s
}

func (r *rig) on() devices.Step { return devices.Step{Device: r.socket, Operation: "on"} }

func (r *rig) toggle(s devices.Scenario, operation string) {
	r.t.Helper()
	row := slices.IndexFunc(devices.Catalogue(), func(row devices.Row) bool {
		return row.Action == devices.SwitchScenario && row.Operation == operation
	})
	require.NoError(r.t, r.SwitchScenario(r.t.Context(), r.owner, devices.Catalogue()[row], r.site.ID, s.ID))
	r.told()
}

// did waits for the next order, says that it is done, and gives what it was.
func (r *rig) did() string {
	r.t.Helper()
	o := r.order()
	r.done(o)
	return string(o.Kind) + " " + o.Operation
}

// history lists what the history says of scenarios, the first first.
func (r *rig) history() []string {
	r.t.Helper()
	return r.labels(devices.HistoryScenario)
}

// event reports that something happened in the house.
func (r *rig) event(id string, kind devices.EventType, device int64) {
	r.t.Helper()
	require.NoError(r.t, r.ReportEvent(r.t.Context(), r.unit.ID, devices.EventReport{ID: id, Type: kind, DeviceID: device, Time: r.clock.Now()}))
}

func day(text string) time.Time {
	at, err := time.Parse(time.DateTime, text)
	if err != nil {
		panic(err)
	}
	return at
}

func TestAScheduledScenarioRunsAtItsTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, devices.Step{Device: r.shutter, Operation: "open"}, r.on())
	due := day("2026-11-23 06:30:00") // in Paris
	require.LessOrEqual(t, r.at(due.Add(-time.Second)), time.Second, "it wakes when that is due")
	r.nothingSent()
	r.at(due)
	require.Equal(t, "shutter open", r.did())
	require.Equal(t, "socket on", r.did())
	r.ended("scheduled ran")
	r.at(due)
	r.at(due.Add(time.Minute))
	r.nothingSent()
	require.Equal(t, []string{"Scenario “Morning” ran"}, r.history())
	require.Equal(t, []string{"Kitchen opened by “Morning” (scenario)", "Lamp switched on by “Morning” (scenario)"}, r.labels(devices.HistoryHomeAuto))
	r.at(due.Add(24*time.Hour - time.Second))
	r.nothingSent()
	r.at(due.Add(24 * time.Hour))
	r.did()
	r.did()
	r.ended("scheduled ran")
}

func TestAnOccurrenceIsNotCaughtUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	r.at(due.Add(2*time.Minute + time.Microsecond))
	r.ended("scheduled missed")
	r.nothingSent()
	require.Equal(t, []string{"Scenario “Morning” did not run on 2026-11-23 07:30: it would have been too late"}, r.history())
	r.at(due.Add(24*time.Hour + 2*time.Minute))
	require.Equal(t, "socket on", r.did(), "what is less late than the tolerance runs")
	r.ended("scheduled ran")
}

func TestALongAbsence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	r.at(day("2027-02-01 12:00:00"))
	history := r.history()
	require.Equal(t, "Scenario “Morning” did not run from 2026-11-23 07:30 to 2027-01-01 13:00: it would have been too late", history[0])
	require.Len(t, history, 1+31, "one sentence, and each day of a month")
	require.Equal(t, "Scenario “Morning” did not run on 2027-01-02 07:30: it would have been too late", history[1])
	for range history {
		r.ended("scheduled missed")
	}
	r.nothingSent()
}

func TestAClockThatJumps(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	first := day("2026-11-23 06:30:00")
	r.at(first)
	r.did()
	r.ended("scheduled ran")

	// It is set back by an hour, and the time comes a second time.
	r.at(first.Add(-time.Hour))
	r.at(first)
	r.at(first.Add(time.Second))
	r.nothingSent()
	require.Equal(t, []string{"Scenario “Morning” ran"}, r.history())

	// It runs away by ten days and is put right: the days in between are still to come.
	wrong := first.AddDate(0, 0, 10).Add(time.Hour)
	r.at(wrong)
	require.Len(t, r.history(), 11)
	for range 10 {
		r.ended("scheduled missed")
	}
	r.at(first.Add(time.Minute))
	for i := 1; i <= 10; i++ {
		require.LessOrEqual(t, r.at(first.AddDate(0, 0, i).Add(-time.Second)), time.Second)
		r.nothingSent()
		r.at(first.AddDate(0, 0, i))
		r.did()
		r.ended("scheduled ran")
	}
	r.nothingEnded()
}

func TestWhatIsScheduledSurvivesARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	require.NoError(t, r.engine.Stop(t.Context()))
	r.clock.set(due.Add(time.Minute))
	r.start()
	require.Equal(t, "socket on", r.did(), "less than its tolerance ago")
	r.ended("scheduled ran")
	require.NoError(t, r.engine.Stop(t.Context()))
	r.start()
	r.nothingSent()
}

// An engine that dies while a scenario runs leaves it open. Whoever comes next does what was not
// done yet, once, as long as it is not too late.
func TestAScenarioThatWasInterruptedIsGoneOnWith(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	abandoned := func(at time.Time) {
		t.Helper()
		o := devices.Occurrence{ScenarioID: s.ID, Occasion: at.Format(time.RFC3339Nano), At: at}
		_, mine, err := r.store.Claim(t.Context(), devices.Claim{
			ScenarioID: s.ID, Was: at, Next: at.AddDate(0, 0, 1), Run: &o, Now: at, Until: at.Add(40 * time.Second),
		})
		require.NoError(t, err)
		require.True(t, mine)
	}
	abandoned(due)
	r.at(due.Add(39 * time.Second))
	r.nothingSent()
	r.at(due.Add(40 * time.Second))
	require.Equal(t, "socket on", r.did())
	r.ended("scheduled ran")

	abandoned(due.AddDate(0, 0, 1))
	r.at(due.AddDate(0, 0, 1).Add(time.Hour))
	r.ended("scheduled interrupted")
	r.nothingSent()
	require.Equal(t, "Scenario “Morning” was interrupted, and it is too late to go on", r.history()[1])
}

func TestCommandsOfARunThatIsRepeatedAreGivenOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	r.at(due)
	first := r.order() // which the unit does not answer yet
	r.at(due.Add(45 * time.Second))
	r.nothingSent()
	r.done(first)
	r.ended("scheduled ran")
	require.NoError(t, r.Drain(t.Context()))
	require.Equal(t, []string{"Lamp switched on by “Morning” (scenario)"}, r.labels(devices.HistoryHomeAuto))
}

func TestAHouseThatIsAwayMayComeBackInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	r.offline("s1")
	r.at(due)
	r.released(due.Add(5 * time.Second))
	r.online("s2", 0)
	r.at(due.Add(5 * time.Second))
	require.Equal(t, "socket on", r.did())
	r.ended("scheduled ran")

	r.offline("s2")
	tomorrow := due.AddDate(0, 0, 1)
	r.at(tomorrow)
	r.released(tomorrow.Add(5 * time.Second))
	r.at(tomorrow.Add(119 * time.Second))
	r.ended("scheduled ran")
	r.nothingSent()
	require.Equal(t, "Scenario “Morning” could not do everything", r.history()[1])
	require.Contains(t, r.labels(devices.HistoryDiagnosis), "“Morning” (scenario) could not switch Lamp on: the unit is offline")
}

// released waits until an occurrence is nobody's from then on.
func (r *rig) released(then time.Time) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		next, err := r.store.NextDue(r.t.Context())
		return err == nil && next.Equal(then)
	}, 10*time.Second, time.Millisecond)
}

func TestEnableAndDisable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	r.toggle(s, "disable")
	r.at(due)
	r.at(due.Add(time.Hour))
	r.nothingSent()
	r.nothingEnded()
	r.toggle(s, "enable")
	r.nothingSent()
	r.nothingEnded() // of what was while it was switched off nothing is missed
	r.at(due.AddDate(0, 0, 1))
	r.did()
	r.ended("scheduled ran")
}

func TestTheRightsAreThoseOfWhoMadeIt(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(r *rig){
		"removed": func(r *rig) {
			require.NoError(r.t, r.RemoveMember(r.t.Context(), person(r.owner, "alice@example.org"), r.site.ID, person(r.other, "bob@example.org")))
		},
		"only a guest any more": func(r *rig) {
			require.NoError(r.t, r.RemoveMember(r.t.Context(), person(r.owner, "alice@example.org"), r.site.ID, person(r.other, "bob@example.org")))
			r.join(devices.Guest)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.join(devices.Member)
			for _, s := range []devices.Scenario{
				{Label: "Morning", Type: devices.Scheduled, Rule: []byte(`{"at":"07:30"}`)},
				{Label: "Siren", Type: devices.OnEvent, Rule: []byte(`{"event":"alarm"}`)},
				{Label: "Presence", Type: devices.Simulation, Rule: []byte(`{"from":"08:00","to":"09:00"}`)},
			} {
				s.SiteID, s.Enabled, s.CreatedBy, s.Steps = r.site.ID, true, r.other.UserID, []devices.Step{r.on()}
				_, err := r.AddScenario(t.Context(), s)
				require.NoError(t, err)
				r.told()
			}
			lose(r)
			due := day("2026-11-23 06:30:00")
			r.at(due)
			r.ended("scheduled barred")
			r.event("e1", devices.EventAlarm, devices.SecurityDevice)
			r.told()
			r.ended("onEvent barred")
			r.at(due.Add(30 * time.Minute))
			r.at(due.Add(30*time.Minute + time.Second))
			r.nothingSent()
			const barred = "did not run: the person who made it may give no commands here any more"
			require.Equal(t, []string{"Scenario “Morning” " + barred, "Scenario “Siren” " + barred, "Scenario “Presence” " + barred}, r.history())
		})
	}
}

func TestScenariosOfADisabledAccountDoNotRun(t *testing.T) {
	t.Parallel()
	var may atomic.Bool
	r := newRig(t, func(o *devices.EngineOptions) {
		o.May = func(context.Context, int64) (bool, error) { return may.Load(), nil }
	})
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	r.at(due)
	r.ended("scheduled barred")
	r.nothingSent()
	may.Store(true)
	r.at(due.AddDate(0, 0, 1))
	require.Equal(t, "socket on", r.did())
	r.ended("scheduled ran")
}

func TestAScenarioThatNamesADeviceThatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, devices.Step{Device: r.shutter, Operation: "open"}, r.on())
	_, err := r.AddScenario(t.Context(), devices.Scenario{
		SiteID: r.site.ID, Label: "Late", Type: devices.OnDemand, CreatedBy: r.owner.UserID, Steps: []devices.Step{{Device: devices.Device{ID: 1 << 40, Kind: devices.Socket}, Operation: "on"}},
	})
	require.ErrorContains(t, err, "step: names a device that the site does not have", "beforehand it is refused")
	require.NoError(t, r.db.Write(t.Context(), "gone", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM devices WHERE id = ?", r.shutter.ID)
		return err
	}))
	r.at(day("2026-11-23 06:30:00"))
	require.Equal(t, "socket on", r.did(), "the rest is done")
	r.ended("scheduled ran")
	require.Equal(t, []string{fmt.Sprintf("Scenario “Morning” could not do everything: it names a device that is gone (%d)", r.shutter.ID)}, r.history(), "and afterwards it is reported")

	played := make(chan parts, 1)
	go func() {
		list, err := r.PlayScenario(t.Context(), r.owner, devices.TogetherRequest{SiteID: r.site.ID, ID: s.ID})
		played <- parts{list, err}
	}()
	r.did()
	got := <-played
	require.NoError(t, got.err)
	require.Equal(t, r.shutter.ID, got.list[0].Device.ID)
	require.Equal(t, devices.NoSuch, refusal(t, got.list[0].Err))
	require.True(t, got.list[1].Done())
}

func TestAScenarioCannotNameItselfOrAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	for name, step := range map[string]devices.Step{
		"as a scenario": {Device: devices.Device{ID: s.ID, Kind: devices.Scene}, Operation: "play"},
		"as a device":   {Device: devices.Device{ID: s.ID, Kind: devices.Socket}, Operation: "on"},
	} {
		_, err := r.AddScenario(t.Context(), devices.Scenario{SiteID: r.site.ID, Label: "Again", Type: devices.OnDemand, CreatedBy: r.owner.UserID, Steps: []devices.Step{step}})
		var field *devices.FieldError
		require.ErrorAs(t, err, &field, name)
		require.Equal(t, "step", field.Field, name)
	}
	_, err := r.AddScenario(t.Context(), devices.Scenario{
		SiteID: r.site.ID, Label: "Again", Type: devices.OnEvent, Rule: json.RawMessage(fmt.Sprintf(`{"event":"access","device":%d}`, s.ID)), CreatedBy: r.owner.UserID, Steps: []devices.Step{r.on()},
	})
	var field *devices.FieldError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "rule", field.Field)
}

func TestWhoMayMakeAScenario(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := devices.Scenario{SiteID: r.site.ID, Label: "Mine", Type: devices.OnDemand, CreatedBy: r.other.UserID, Steps: []devices.Step{r.on()}}
	var field *devices.FieldError
	_, err := r.AddScenario(t.Context(), s)
	require.ErrorAs(t, err, &field)
	require.Equal(t, "site", field.Field, "not a stranger")
	r.join(devices.Guest)
	_, err = r.AddScenario(t.Context(), s)
	require.ErrorAs(t, err, &field)
	require.Equal(t, "owner", field.Field, "not a guest")
	s.CreatedBy, s.Type, s.Rule = r.owner.UserID, devices.Simulation, []byte(`{"from":"18:00","to":"23:00"}`)
	for _, steps := range [][]devices.Step{{{Device: r.socket, Operation: "off"}}, {{Device: r.things[devices.Gate], Operation: "one"}}, {{Device: devices.Device{Kind: devices.Security}, Operation: "armed"}}} {
		s.Steps = steps
		_, err = r.AddScenario(t.Context(), s)
		require.ErrorAs(t, err, &field)
		require.Equal(t, "step", field.Field, "a simulation switches lamps and nothing else")
	}
}

func TestAnEventSetsAScenarioOff(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	contact := r.things[devices.Contact].ID
	r.add(devices.OnEvent, "Welcome", fmt.Sprintf(`{"event":"access","device":%d}`, contact), r.on())
	r.add(devices.OnEvent, "Siren", `{"event":"alarm"}`, devices.Step{Device: r.shutter, Operation: "open"})
	r.event("e1", devices.EventAccess, contact)
	r.told()
	require.Equal(t, "socket on", r.did())
	r.ended("onEvent ran")
	r.event("e1", devices.EventAccess, contact) // once more, as brokers do
	r.told()
	r.event("e2", devices.EventAccess, devices.SecurityDevice) // of another device
	r.event("e3", devices.EventBattery, contact)               // another event
	r.at(r.clock.Now().Add(time.Second))
	r.nothingSent()
	r.event("e4", devices.EventAlarm, contact)
	r.told()
	require.Equal(t, "shutter open", r.did(), "of whatever device")
	r.ended("onEvent ran")
	require.Equal(t, []string{"Scenario “Welcome” ran", "Scenario “Siren” ran"}, r.history())
}

func TestAnEventThatIsToldTooLate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.OnEvent, "Siren", `{"event":"alarm"}`, r.on())
	require.NoError(t, r.ReportEvent(t.Context(), r.unit.ID, devices.EventReport{ID: "e1", Type: devices.EventAlarm, Time: r.clock.Now().Add(-3 * time.Minute)}))
	r.told()
	r.ended("onEvent missed")
	r.nothingSent()
	require.Equal(t, []string{"Scenario “Siren” did not run on 2026-11-22 10:57: it would have been too late"}, r.history())
}

// An event is on record together with what it sets off, so a bridge that dies right
// after it loses nothing.
func TestAnEventIsNotForgottenByARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.OnEvent, "Siren", `{"event":"alarm"}`, r.on())
	require.NoError(t, r.engine.Stop(t.Context()))
	r.event("e1", devices.EventAlarm, devices.SecurityDevice)
	r.nothingSent()
	r.start()
	require.Equal(t, "socket on", r.did())
	r.ended("onEvent ran")
}

func TestADisabledScenarioMindsNoEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.add(devices.OnEvent, "Siren", `{"event":"alarm"}`, r.on())
	require.NoError(t, r.engine.Stop(t.Context()))
	r.event("e1", devices.EventAlarm, devices.SecurityDevice)
	row := slices.IndexFunc(devices.Catalogue(), func(row devices.Row) bool { return row.Operation == "disable" })
	require.NoError(t, r.SwitchScenario(t.Context(), r.owner, devices.Catalogue()[row], r.site.ID, s.ID))
	r.event("e2", devices.EventAlarm, devices.SecurityDevice)
	r.start()
	r.ended("onEvent dropped")
	r.nothingEnded()
	r.nothingSent()
	require.Equal(t, []string{"Scenario “Siren” disabled by Alice (My script)"}, r.history())
}

// A scenario whose command makes the very event that it reacts to does not go round in circles,
// and two that set off each other do not for long.
func TestLoops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gate := r.things[devices.Gate]
	r.add(devices.OnEvent, "Itself", fmt.Sprintf(`{"event":"access","device":%d}`, gate.ID), devices.Step{Device: gate, Operation: "one"})
	r.event("e1", devices.EventAccess, gate.ID)
	r.told()
	r.did()
	r.ended("onEvent ran")
	r.event("e2", devices.EventAccess, gate.ID) // its own doing
	r.clock.Advance(30 * time.Second)
	r.event("e3", devices.EventAccess, gate.ID) // and this not
	r.told()
	r.did()
	r.ended("onEvent ran")
	r.nothingSent()

	contact := r.things[devices.Contact].ID
	r.add(devices.OnEvent, "Round", fmt.Sprintf(`{"event":"access","device":%d}`, contact), r.on())
	for i := range 15 {
		r.event(fmt.Sprint("round", i), devices.EventAccess, contact)
		r.told()
		if i < 10 {
			r.did()
			r.ended("onEvent ran")
		} else {
			r.ended("onEvent held")
		}
	}
	r.nothingSent()
	const held = "Scenario “Round” did not run: it was set off too often"
	history := r.history()
	require.Equal(t, held, history[len(history)-1])
	require.Equal(t, 1, strings.Count(strings.Join(history, "\n"), held), "told once")
	r.at(r.clock.Now().Add(10*time.Minute + time.Second))
	r.event("later", devices.EventAccess, contact)
	r.told()
	r.did()
	r.ended("onEvent ran")
}

// plays plays a simulation until then, and gives what was switched, with its time.
func (r *rig) plays(until time.Time) (did []string) {
	r.t.Helper()
	for {
		next, err := r.store.NextDue(r.t.Context())
		require.NoError(r.t, err)
		if next.IsZero() || next.After(until) {
			return did
		}
		r.at(next)
		require.Eventually(r.t, func() bool {
			for len(r.sent) > 0 {
				o := <-r.sent
				did = append(did, next.Format(time.TimeOnly)+" "+o.Operation)
				r.done(o)
			}
			return r.idle()
		}, 10*time.Second, time.Millisecond)
	}
}

// idle reports whether no occurrence is open.
func (r *rig) idle() bool {
	open, err := r.store.Open(r.t.Context(), r.clock.Now().AddDate(1, 0, 0), 10)
	return err == nil && len(open) == 0
}

func TestSimulation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.add(devices.Simulation, "Presence", `{"from":"18:00","to":"22:00","days":["sun","mon"]}`, r.on())
	start := day("2026-11-22 17:00:00")
	require.Empty(t, r.plays(start.Add(-time.Second)))
	did := r.plays(start.Add(2 * time.Hour))
	require.GreaterOrEqual(t, len(did), 2)
	require.Equal(t, []string{"Scenario “Presence” plays presence until 2026-11-22 22:00"}, r.history())

	// What was drawn is on record: a restart in the middle goes on with it.
	drawn := r.planOf(s.ID)
	require.NotEmpty(t, drawn)
	require.NoError(t, r.engine.Stop(t.Context()))
	r.start()
	require.Equal(t, drawn, r.planOf(s.ID))
	did = append(did, r.plays(start.Add(4*time.Hour))...)
	for i, what := range did {
		want := "on"
		if i%2 == 1 {
			want = "off"
		}
		require.Equal(t, want, strings.Fields(what)[1], "%v", did)
	}
	require.Zero(t, len(did)%2, "all is off when the window ends: %v", did)
	require.Len(t, r.history(), 1)

	require.NotEmpty(t, r.plays(start.AddDate(0, 0, 1).Add(4*time.Hour)), "on the next of its days again")
	require.NotEqual(t, drawn, r.planOf(s.ID), "in another way")
	require.Empty(t, r.plays(start.AddDate(0, 0, 6)), "and not on others")
}

func (r *rig) planOf(id int64) string {
	r.t.Helper()
	list, err := r.store.Timed(r.t.Context(), id-1, 1)
	require.NoError(r.t, err)
	require.Len(r.t, list, 1)
	return string(list[0].Plan)
}

func TestASimulationOnlyPlaysWhileItIsEnabled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.add(devices.Simulation, "Presence", `{"from":"18:00","to":"22:00"}`, r.on())
	start := day("2026-11-22 17:00:00")
	r.plays(start.Add(time.Hour))
	r.toggle(s, "disable")
	require.Empty(t, r.plays(start.Add(3*time.Hour)))
	r.at(start.Add(3 * time.Hour))
	r.toggle(s, "enable")
	require.NotEmpty(t, r.plays(start.Add(4*time.Hour)), "from then on, and to the end of the window")
	require.Contains(t, r.history(), "Scenario “Presence” plays presence until 2026-11-22 22:00")
}

func TestASimulationDoesNotCatchUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Simulation, "Presence", `{"from":"18:00","to":"22:00"}`, r.on())
	start := day("2026-11-22 17:00:00")
	r.plays(start.Add(time.Hour))
	first := len(r.history())
	// Nobody is there for an hour of it, and then for two whole windows and the beginning of a third.
	r.at(start.Add(2*time.Hour + 30*time.Minute))
	history := r.history()[first:]
	require.Len(t, history, 1)
	require.Regexp(t, `^Scenario “Presence” did not play presence from 2026-11-22 1[89]:.. to 2026-11-22 (19|20|21):..: it would have been too late$`, history[0])
	r.settle()
	r.at(start.AddDate(0, 0, 3).Add(time.Hour))
	history = r.history()
	require.Equal(t, []string{
		"Scenario “Presence” did not run on 2026-11-23 18:00: it would have been too late",
		"Scenario “Presence” did not run on 2026-11-24 18:00: it would have been too late",
		"Scenario “Presence” plays presence until 2026-11-25 22:00",
	}, history[len(history)-3:])
	require.NotEmpty(t, r.plays(start.AddDate(0, 0, 3).Add(4*time.Hour)))
}

// settle does what is still sent of a moment that was not too late.
func (r *rig) settle() {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		for len(r.sent) > 0 {
			r.done(<-r.sent)
		}
		return r.idle()
	}, 10*time.Second, time.Millisecond)
}

func TestToleranceIsASetting(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *devices.EngineOptions) { o.Tolerance = time.Second })
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	r.at(day("2026-11-23 06:30:02"))
	r.ended("scheduled missed")
}

func TestAnEngineStopsWhenWhatRunsHasEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	r.at(day("2026-11-23 06:30:00"))
	o := r.order()
	stopped := make(chan error, 1)
	go func() { stopped <- r.engine.Stop(context.Background()) }()
	select {
	case <-stopped:
		t.Fatal("it did not wait for the house")
	case <-time.After(20 * time.Millisecond):
	}
	r.done(o)
	require.NoError(t, <-stopped)
	r.ended("scheduled ran")
	require.Equal(t, []string{"Scenario “Morning” ran"}, r.history())
}

func TestAnEngineDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	r.at(day("2026-11-23 06:30:00"))
	r.order()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.engine.Stop(ctx), context.Canceled)
	require.NoError(t, devices.NewEngine(devices.EngineOptions{Service: r.Service}).Stop(t.Context()), "one that was not started")
}

// A store that fails is asked again, and nothing is lost.
func TestAnEngineSurvivesItsStore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	broken := &brittle{Store: h.store}
	var log safeLog
	h.Service = devices.New(devices.Options{
		Store: broken, Now: h.clock.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)), Wait: 10 * time.Second, LaneDepth: 4,
	})
	h.SetSender(h)
	r := &rig{house: h}
	r.start()
	r.add(devices.Scheduled, "Morning", `{"at":"07:30"}`, r.on())
	due := day("2026-11-23 06:30:00")
	broken.set(true)
	require.Equal(t, 5*time.Second, r.at(due))
	require.Contains(t, log.String(), "scenarios cannot be looked after")
	broken.set(false)
	r.at(due.Add(5 * time.Second))
	require.Equal(t, "socket on", r.did())
	r.ended("scheduled ran")
}

// brittle is a store that fails when it is told to.
type brittle struct {
	devices.Store
	mu  sync.Mutex
	bad bool
}

func (b *brittle) set(bad bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bad = bad
}

func (b *brittle) Claim(ctx context.Context, c devices.Claim) (bool, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bad {
		return false, false, errDisk
	}
	return b.Store.Claim(ctx, c)
}

var errDisk = fmt.Errorf("the disk is full")

type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
