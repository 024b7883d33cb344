package devicetest

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// timed adds a scenario that is due at noon.
func (h house) timed(t testing.TB) devices.Scenario {
	t.Helper()
	s := h.scenario()
	s.NextAt = noon
	added, err := h.AddScenario(t.Context(), s, 100, entry(devices.HistoryConfig, "Scénario ajouté", noon))
	require.NoError(t, err)
	return added
}

// triggered adds a scenario that an event sets off.
func (h house) triggered(t testing.TB) devices.Scenario {
	t.Helper()
	s := h.scenario()
	s.Type, s.Rule = devices.OnEvent, json.RawMessage(`{"event":"alarm"}`)
	added, err := h.AddScenario(t.Context(), s, 100, entry(devices.HistoryConfig, "Scénario ajouté", noon))
	require.NoError(t, err)
	return added
}

func occasion(s devices.Scenario, name string) devices.Occurrence {
	return devices.Occurrence{ScenarioID: s.ID, Occasion: name, At: noon}
}

// claim is for what is due at noon, for a minute; the day after it is due again.
func claim(s devices.Scenario, name string) devices.Claim {
	run := occasion(s, name)
	return devices.Claim{ScenarioID: s.ID, Was: noon, Next: noon.AddDate(0, 0, 1), Run: &run, Now: noon, Until: noon.Add(time.Minute)}
}

// take is for an occurrence that is nobody's since then, for a minute.
func take(h house, o devices.Occurrence, then time.Time) devices.Take {
	return devices.Take{
		Occurrence: o, SiteID: h.site, Since: then, Now: then, Until: then.Add(time.Minute),
		After: then.Add(-time.Minute), Held: entry(devices.HistoryScenario, "trop souvent", then),
	}
}

func scenarioIDs(list []devices.Waiting) []int64 {
	var ids []int64
	for _, w := range list {
		ids = append(ids, w.ID)
	}
	return ids
}

func labels(list []devices.Entry) []string {
	var labels []string
	for _, e := range list {
		labels = append(labels, e.Label)
	}
	return labels
}

func testOccurrences(t *testing.T, b *bench) {
	ctx := t.Context()
	h := b.house(t)
	next, err := h.NextDue(ctx)
	require.NoError(t, err)
	require.Zero(t, next)
	first := h.timed(t)
	second := h.timed(t)
	demand, err := h.AddScenario(ctx, h.scenario(), 100, entry(devices.HistoryConfig, "x", noon))
	require.NoError(t, err)
	require.Zero(t, demand.NextAt)
	due := func(now time.Time, limit int) []devices.Waiting {
		t.Helper()
		list, err := h.Due(ctx, now, limit)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, due(noon.Add(-time.Microsecond), 10))
	list := due(noon, 10)
	require.ElementsMatch(t, []int64{first.ID, second.ID}, scenarioIDs(list))
	require.Len(t, due(noon, 1), 1)
	require.Empty(t, due(noon, 0))
	w := list[0]
	require.Equal(t, []any{"Europe/Paris", devices.French, h.site, h.owner, true}, []any{w.Site.Timezone, w.Site.Language, w.SiteID, w.CreatedBy, w.Enabled})
	require.Equal(t, `{"at":"07:00"}`, string(w.Rule))
	require.Equal(t, noon, w.NextAt)
	require.Empty(t, w.Plan)
	inUTC(t, w.NextAt)
	next, err = h.NextDue(ctx)
	require.NoError(t, err)
	require.Equal(t, noon, next)

	timed, err := h.Timed(ctx, 0, 10)
	require.NoError(t, err)
	require.Equal(t, []int64{first.ID, second.ID, demand.ID}, scenarioIDs(timed), "due or not")
	timed, err = h.Timed(ctx, first.ID, 1)
	require.NoError(t, err)
	require.Equal(t, []int64{second.ID}, scenarioIDs(timed))

	reschedule := func(s devices.Scenario, was, next time.Time, want bool) {
		t.Helper()
		did, err := h.Reschedule(ctx, s.ID, was, next)
		require.NoError(t, err)
		require.Equal(t, want, did)
	}
	reschedule(demand, noon, noon.Add(time.Hour), false)
	reschedule(demand, time.Time{}, noon.Add(time.Hour), true)
	reschedule(demand, noon.Add(time.Hour), time.Time{}, true)
	reschedule(second, noon, noon.Add(time.Hour), true)
	require.Equal(t, []int64{first.ID}, scenarioIDs(due(noon, 10)))

	_, err = h.SwitchScenario(ctx, h.site, second.ID, false, time.Time{}, entry(devices.HistoryScenario, "x", noon))
	require.NoError(t, err)
	require.NotContains(t, scenarioIDs(due(noon.AddDate(1, 0, 0), 10)), second.ID)
	reschedule(second, time.Time{}, noon, false)
	took, mine, err := h.Claim(ctx, devices.Claim{ScenarioID: second.ID, Next: noon, Now: noon})
	require.NoError(t, err)
	require.False(t, took || mine, "it is not enabled")
	_, err = h.SwitchScenario(ctx, h.site, second.ID, true, noon.Add(time.Hour), entry(devices.HistoryScenario, "x", noon))
	require.NoError(t, err)

	t.Run("claims", func(t *testing.T) { testClaims(t, h, first) })
	t.Run("open", func(t *testing.T) { testOpen(t, h, first) })

	n, err := h.PurgeOccurrences(ctx, noon.AddDate(0, 0, 5), 1)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, h.RemoveScenario(ctx, h.site, first.ID, entry(devices.HistoryConfig, "x", noon)))
	n, err = h.PurgeOccurrences(ctx, noon.AddDate(1, 0, 0), 1000)
	require.NoError(t, err)
	require.Zero(t, n, "they are gone with their scenario")
}

func testClaims(t *testing.T, h house, s devices.Scenario) {
	ctx := t.Context()
	told := len(h.all(t))
	try := func(c devices.Claim, wantTook, wantMine bool) {
		t.Helper()
		took, mine, err := h.Claim(ctx, c)
		require.NoError(t, err)
		require.Equal(t, []bool{wantTook, wantMine}, []bool{took, mine})
	}
	c := claim(s, "a")
	c.Was = noon.Add(time.Microsecond)
	c.Told = []devices.Entry{entry(devices.HistoryScenario, "never", noon)}
	try(c, false, false)
	c = claim(s, "a")
	c.Plan = json.RawMessage(`{"until":1}`)
	c.Told = []devices.Entry{entry(devices.HistoryScenario, "one", noon), entry(devices.HistoryScenario, "two", noon)}
	try(c, true, true)
	try(c, false, false)
	require.Equal(t, []string{"one", "two"}, labels(h.all(t)[told:]))
	list, err := h.Due(ctx, noon.AddDate(0, 0, 1), 1)
	require.NoError(t, err)
	require.Len(t, list, 1)

	// From here on it is due a day later each time.
	day := noon
	again := func(name string) devices.Claim {
		day = day.AddDate(0, 0, 1)
		c := claim(s, name)
		c.Was, c.Next = day, day.AddDate(0, 0, 1)
		return c
	}
	c = again("a")
	c.Run.At = day
	try(c, true, false) // which has been
	timed, err := h.Timed(ctx, s.ID-1, 1)
	require.NoError(t, err)
	require.Equal(t, `{"until":1}`, string(timed[0].Plan), "the plan stays unless there is a new one")
	require.Equal(t, day.AddDate(0, 0, 1), timed[0].NextAt)

	missed := entry(devices.HistoryScenario, "missed b", noon)
	c = again("")
	c.Run = nil
	c.Now = noon.AddDate(1, 0, 0)
	c.Missed = []devices.MissedOccurrence{
		{Occurrence: occasion(s, "a"), Entry: &missed}, {Occurrence: occasion(s, "b"), Entry: &missed}, {Occurrence: occasion(s, "c")},
	}
	told = len(h.all(t))
	try(c, true, false)
	require.Equal(t, []string{"missed b"}, labels(h.all(t)[told:]), "of what has been nothing is told")
	c = again("b")
	try(c, true, true) // which was recorded in a future that is not
	c = again("c")
	c.Now = noon.AddDate(1, 0, 0)
	try(c, true, false)

	c = again("d")
	c.Next = time.Time{}
	try(c, true, true)
	timed, err = h.Timed(ctx, s.ID-1, 1)
	require.NoError(t, err)
	require.Zero(t, timed[0].NextAt)
	_, err = h.SwitchScenario(ctx, h.site, s.ID, false, time.Time{}, entry(devices.HistoryScenario, "x", noon))
	require.NoError(t, err)
	_, err = h.SwitchScenario(ctx, h.site, s.ID, true, day, entry(devices.HistoryScenario, "x", noon))
	require.NoError(t, err)
	timed, err = h.Timed(ctx, s.ID-1, 1)
	require.NoError(t, err)
	require.Equal(t, day, timed[0].NextAt)
	require.Empty(t, timed[0].Plan, "a plan ends when the scenario is switched off")
}

// testOpen goes on where testClaims ended: a, b and d are open until a minute after noon.
func testOpen(t *testing.T, h house, s devices.Scenario) {
	ctx := t.Context()
	until := noon.Add(time.Minute)
	open := func(now time.Time) map[string]devices.OpenOccurrence {
		t.Helper()
		list, err := h.Open(ctx, now, 10)
		require.NoError(t, err)
		all := map[string]devices.OpenOccurrence{}
		for _, o := range list {
			require.Equal(t, s.ID, o.ID)
			require.Equal(t, s.ID, o.Occurrence.ScenarioID)
			all[o.Occurrence.Occasion] = o
		}
		return all
	}
	require.Empty(t, open(until.Add(-time.Microsecond)))
	all := open(until)
	require.Len(t, all, 3)
	a := all["a"]
	require.Equal(t, []any{occasion(s, "a"), true, until, "Europe/Paris"}, []any{a.Occurrence, a.Begun, a.Since, a.Site.Timezone})
	inUTC(t, a.Occurrence.At, a.Since)

	taken := func(want devices.Taken, with devices.Take) {
		t.Helper()
		got, err := h.Take(ctx, with)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	taken(devices.TakenByOther, take(h, a.Occurrence, noon)) // it is somebody's
	taken(devices.TakenByCaller, take(h, a.Occurrence, until))
	taken(devices.TakenByOther, take(h, a.Occurrence, until))
	taken(devices.TakenByOther, take(h, occasion(s, "unknown"), until))
	require.NotContains(t, open(until), "a")

	require.NoError(t, h.Release(ctx, a.Occurrence, until.Add(time.Second)))
	require.False(t, open(until.Add(time.Second))["a"].Begun)
	require.NotContains(t, open(until), "a")

	told := len(h.all(t))
	lines := []devices.Entry{entry(devices.HistoryScenario, "ran", noon), entry(devices.HistoryScenario, "well", noon)}
	require.NoError(t, h.Conclude(ctx, a.Occurrence, devices.OccurrenceRan, until, lines))
	require.ErrorIs(t, h.Conclude(ctx, a.Occurrence, devices.OccurrenceRan, until, lines), devices.ErrNotFound)
	require.ErrorIs(t, h.Conclude(ctx, occasion(s, "c"), devices.OccurrenceRan, until, lines), devices.ErrNotFound, "it was missed")
	require.NoError(t, h.Conclude(ctx, occasion(s, "d"), devices.OccurrenceBarred, until, nil))
	require.Equal(t, []string{"ran", "well"}, labels(h.all(t)[told:]))
	require.NoError(t, h.Release(ctx, a.Occurrence, noon), "which does nothing any more")
	runs, err := h.LastRuns(ctx, h.site)
	require.NoError(t, err)
	same(t, []devices.LastRun{{Occurrence: occasion(s, "d"), BegunAt: noon, Outcome: devices.OccurrenceBarred}}, runs) // a was released, and b is of the same time
	inUTC(t, runs[0].At, runs[0].BegunAt)
	runs, err = h.LastRuns(ctx, math.MaxInt64)
	require.NoError(t, err)
	require.Empty(t, runs)
	require.Len(t, open(until.AddDate(1, 0, 0)), 1)
	next, err := h.NextDue(ctx)
	require.NoError(t, err)
	require.Equal(t, until, next, "when b is nobody's")
	n, err := h.PurgeOccurrences(ctx, noon.AddDate(1, 0, 0), 0)
	require.NoError(t, err)
	require.Zero(t, n)
}

func testTriggers(t *testing.T, b *bench) {
	ctx := t.Context()
	h, foreign := b.house(t), b.house(t)
	triggers, err := h.Triggers(ctx, h.site)
	require.NoError(t, err)
	require.Empty(t, triggers)
	s, other := h.triggered(t), foreign.triggered(t)
	h.timed(t)
	off := h.scenario()
	off.Type, off.Enabled = devices.OnEvent, false
	off, err = h.AddScenario(ctx, off, 100, entry(devices.HistoryConfig, "x", noon))
	require.NoError(t, err)
	triggers, err = h.Triggers(ctx, h.site)
	require.NoError(t, err)
	same(t, []devices.Trigger{{ScenarioID: s.ID, Rule: json.RawMessage(`{"event":"alarm"}`), Devices: []int64{devices.SecurityDevice, h.socket}}}, triggers)

	gone := occasion(s, "gone")
	gone.ScenarioID = math.MaxInt64
	event := func(id string, want bool, triggered ...devices.Occurrence) {
		t.Helper()
		appended, err := h.SaveEvent(ctx, h.unit, id, entry(devices.HistoryAlarm, "Sirène", noon), triggered...)
		require.NoError(t, err)
		require.Equal(t, want, appended)
	}
	event("e1", true, occasion(s, "e1"), occasion(other, "e1"), occasion(off, "e1"), gone)
	event("e1", false, occasion(s, "e1 again"))
	event("e2", true, occasion(s, "e1"))
	open, err := h.Open(ctx, noon, 10)
	require.NoError(t, err)
	require.Len(t, open, 1, "once, of this site, of what is there and enabled")
	require.Equal(t, []any{occasion(s, "e1"), false, noon}, []any{open[0].Occurrence, open[0].Begun, open[0].Since})

	for i := range 5 {
		event(fmt.Sprint("more", i), true, occasion(s, fmt.Sprint(i)))
	}
	told := len(h.all(t))
	try := func(name string, most, site int, want devices.Taken) {
		t.Helper()
		with := take(h, occasion(s, name), noon)
		with.Most, with.SiteMost = most, site
		got, err := h.Take(ctx, with)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
	try("e1", 2, 10, devices.TakenByCaller)
	try("0", 2, 10, devices.TakenByCaller)
	try("1", 2, 10, devices.TakenNot)
	try("1", 3, 10, devices.TakenByOther)
	try("2", 10, 2, devices.TakenNot)
	try("3", 0, 0, devices.TakenByCaller)
	require.Equal(t, []string{"trop souvent"}, labels(h.all(t)[told:]), "once in a while")
	triggers, err = h.Triggers(ctx, h.site)
	require.NoError(t, err)
	require.Equal(t, noon, triggers[0].LastBegun)
	inUTC(t, triggers[0].LastBegun)
}
