package devicetest

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// save stores a report that must be new.
func (h house) save(t *testing.T, r devices.Report) {
	t.Helper()
	saved, err := h.SaveState(t.Context(), h.unit, r)
	require.NoError(t, err)
	require.True(t, saved)
}

func testListing(t *testing.T, b *bench) {
	h, foreign, empty := b.house(t), b.house(t), b.emptySite(t)
	lit := state(h.socket, 7, `{"on":true}`)
	lit.Since = map[string]time.Time{"level": noon.Truncate(time.Millisecond)}
	h.save(t, devices.Report{State: lit})
	armed := state(devices.SecurityDevice, 3, `{"level":"armed"}`)
	h.save(t, devices.Report{State: armed})
	foreign.save(t, devices.Report{State: state(foreign.socket, 9, `{}`)})

	t.Run("devices come with what was last reported of them", func(t *testing.T) {
		t.Parallel()
		site, list, err := h.Devices(t.Context(), h.owner, h.site, []devices.Kind{devices.Socket, devices.Light}, true, 10)
		require.NoError(t, err)
		require.Equal(t, devices.Owner, site.Role)
		require.Len(t, list, 2)
		require.Equal(t, []int64{h.socket, h.other}, []int64{list[0].ID, list[1].ID})
		same(t, lit, list[0].State)
		require.Zero(t, list[1].State.Sequence, "nothing was said of it")
		inUTC(t, list[0].State.Time, list[0].State.Since["level"])

		_, bare, err := h.Devices(t.Context(), h.owner, h.site, []devices.Kind{devices.Socket}, false, 10)
		require.NoError(t, err)
		require.Len(t, bare, 2)
		require.Zero(t, bare[0].State, "only if it is wanted")

		_, all, err := h.Devices(t.Context(), h.owner, h.site, nil, true, 10)
		require.NoError(t, err)
		require.Len(t, all, 3)
	})

	t.Run("a site of the user's without devices has none", func(t *testing.T) {
		t.Parallel()
		site, list, err := empty.Devices(t.Context(), empty.owner, empty.site, nil, true, 10)
		require.NoError(t, err)
		require.Equal(t, empty.site, site.ID)
		require.Empty(t, list)
	})

	t.Run("a site that is not the user's is ErrNotFound", func(t *testing.T) {
		t.Parallel()
		for _, ask := range [][2]int64{{h.owner, foreign.site}, {h.owner, math.MaxInt64}, {math.MaxInt64, h.site}, {h.owner, -1}} {
			_, _, err := h.Devices(t.Context(), ask[0], ask[1], nil, true, 10)
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, _, err = h.Device(t.Context(), ask[0], ask[1], h.socket, []devices.Kind{devices.Socket})
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, _, err = h.Measurements(t.Context(), ask[0], ask[1], h.socket, []devices.Kind{devices.Socket}, week("on"))
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, _, err = h.Groups(t.Context(), ask[0], ask[1], "")
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, _, err = h.Scenarios(t.Context(), ask[0], ask[1])
			require.ErrorIs(t, err, devices.ErrNotFound)
		}
	})

	t.Run("one device comes with its state, and so does the alarm", func(t *testing.T) {
		t.Parallel()
		_, r, err := h.Device(t.Context(), h.owner, h.site, h.socket, []devices.Kind{devices.Light, devices.Socket})
		require.NoError(t, err)
		require.Equal(t, "Lampe", r.Label)
		same(t, lit, r.State)
		_, r, err = h.Device(t.Context(), h.owner, h.site, devices.SecurityDevice, nil)
		require.NoError(t, err)
		same(t, armed, r.State)
		_, r, err = empty.Device(t.Context(), empty.owner, empty.site, devices.SecurityDevice, nil)
		require.NoError(t, err)
		require.Zero(t, r.State.Sequence)
		for name, ask := range map[string]int64{"unknown": math.MaxInt64, "foreign": foreign.socket, "of another kind": h.shutter} {
			_, _, err := h.Device(t.Context(), h.owner, h.site, ask, []devices.Kind{devices.Socket})
			require.ErrorIs(t, err, devices.ErrNoDevice, name)
			_, _, err = h.Measurements(t.Context(), h.owner, h.site, ask, []devices.Kind{devices.Socket}, week("on"))
			require.ErrorIs(t, err, devices.ErrNoDevice, name)
		}
	})
}

func testSources(t *testing.T, b *bench) {
	h, foreign := b.house(t), b.house(t)
	link := devices.Link{Online: true, Session: "s1", Firmware: "1", Catalogue: 2, ClockOffset: 1500 * time.Millisecond, At: noon}
	_, _, err := h.SaveLink(t.Context(), h.unit, link, false)
	require.NoError(t, err)
	lit := state(h.socket, 7, `{"on":true}`)
	h.save(t, devices.Report{State: lit})

	from, err := h.Source(t.Context(), h.unit, h.socket)
	require.NoError(t, err)
	same(t, link, from.Unit.Link)
	require.Equal(t, devices.Site{ID: h.site, Label: "Maison", Timezone: "Europe/Paris", Language: devices.French, CreatedAt: noon}, from.Site)
	require.Equal(t, "Lampe", from.Device.Label)
	same(t, lit, from.State)

	from, err = h.Source(t.Context(), h.unit, devices.SecurityDevice)
	require.NoError(t, err)
	same(t, devices.Device{SiteID: h.site, UnitID: h.unit}, from.Device)
	require.Zero(t, from.State.Sequence)

	_, err = h.Source(t.Context(), h.unit, foreign.socket)
	require.ErrorIs(t, err, devices.ErrNoDevice)
	_, err = h.Source(t.Context(), newUnitID(), devices.SecurityDevice)
	require.ErrorIs(t, err, devices.ErrNotFound)
	_, err = h.Source(t.Context(), "a\x00\xff", devices.SecurityDevice)
	require.ErrorIs(t, err, devices.ErrNotFound)
}

func testReports(t *testing.T, b *bench) {
	opened := func(h house, sequence, previous int64) devices.Report {
		return devices.Report{
			State: state(h.socket, sequence, `{}`), Previous: previous, CommandSince: noon.Add(-time.Minute),
			Entries: []devices.Entry{entry(devices.HistoryAccess, "one", noon), entry(devices.HistoryAlarm, "two", noon)},
		}
	}
	for i, r := range []struct {
		name    string
		prepare func(house)
		report  func(house) devices.Report
		saved   bool
		entries int
	}{
		{"entries are written with the state that they tell of", func(house) {}, func(h house) devices.Report { return opened(h, 5, 0) }, true, 2},
		{"not with an old state", func(h house) { h.save(t, devices.Report{State: state(h.socket, 5, `{}`)}) }, func(h house) devices.Report { return opened(h, 5, 5) }, false, 0},
		{
			"not if another state came in between", func(h house) { h.save(t, devices.Report{State: state(h.socket, 4, `{}`)}) },
			func(h house) devices.Report { return opened(h, 5, 3) }, true, 0,
		},
		{"not if a command is the reason", func(h house) { h.accept(t, h.switchOn(), nil) }, func(h house) devices.Report { return opened(h, 5, 0) }, true, 0},
		{
			"but a command that was answered is none", func(h house) { h.end(t, h.accept(t, h.switchOn(), nil), devices.Refused) },
			func(h house) devices.Report { return opened(h, 5, 0) }, true, 2,
		},
		{"nor is one of long ago", func(h house) { h.accept(t, h.switchOn(), nil) }, func(h house) devices.Report {
			r := opened(h, 5, 0)
			r.CommandSince = noon.Add(time.Second)
			return r
		}, true, 2},
		{
			"nor one to another device", func(h house) { h.accept(t, h.command(h.other, devices.Socket, "on"), nil) },
			func(h house) devices.Report { return opened(h, 5, 0) }, true, 2,
		},
	} {
		t.Run(r.name, func(t *testing.T) {
			h := b.house(t)
			r.prepare(h)
			saved, err := h.SaveState(t.Context(), h.unit, r.report(h))
			require.NoError(t, err, i)
			require.Equal(t, r.saved, saved)
			history := h.all(t)
			require.Len(t, history, r.entries)
			if r.entries > 0 {
				require.Equal(t, "one", history[0].Label)
			}
		})
	}
}

func week(reading string) devices.MeasurementFilter {
	return devices.MeasurementFilter{Reading: reading, From: noon.AddDate(0, 0, -7), To: noon.AddDate(0, 0, 1), Ascending: true, Limit: 100, Mean: true}
}

// measure has a device report a value at a time, in the slot of its minute.
func (h house) measure(t *testing.T, device int64, sequence int64, at time.Time, measured map[string]float64) {
	t.Helper()
	s := state(device, sequence, `{}`)
	s.Time = at
	h.save(t, devices.Report{State: s, Measured: measured, Slot: at.Truncate(time.Minute)})
}

func values(list []devices.Measurement) (out []float64) {
	for _, m := range list {
		out = append(out, m.Value)
	}
	return out
}

func (h house) measured(t *testing.T, device int64, f devices.MeasurementFilter) []devices.Measurement {
	t.Helper()
	_, list, err := h.Measurements(t.Context(), h.owner, h.site, device, []devices.Kind{devices.Socket}, f)
	require.NoError(t, err)
	for _, m := range list {
		inUTC(t, m.At)
	}
	return list
}

func testMeasurements(t *testing.T, b *bench) {
	h := b.house(t)
	base := noon.Truncate(time.Minute)
	require.Empty(t, h.measured(t, h.socket, week("t")))
	h.measure(t, h.socket, 1, base, map[string]float64{"t": 19.5, "l": 4})
	h.measure(t, h.socket, 2, base.Add(30*time.Second), map[string]float64{"t": 20})
	h.measure(t, h.socket, 3, base.Add(20*time.Second), map[string]float64{"t": 99}) // late
	h.measure(t, h.socket, 4, base.Add(time.Minute), map[string]float64{"t": 21})
	h.measure(t, h.socket, 5, base.Add(2*time.Minute), nil)
	h.measure(t, h.other, 1, base, map[string]float64{"t": -5})

	same(t, []devices.Measurement{{Value: 20, At: base.Add(30 * time.Second)}, {Value: 21, At: base.Add(time.Minute)}}, h.measured(t, h.socket, week("t")))
	require.Equal(t, []float64{4}, values(h.measured(t, h.socket, week("l"))))
	require.Equal(t, []float64{-5}, values(h.measured(t, h.other, week("t"))))
	f := week("t")
	f.Ascending = false
	require.Equal(t, []float64{21, 20}, values(h.measured(t, h.socket, f)))
	f.Limit = 1
	require.Equal(t, []float64{21}, values(h.measured(t, h.socket, f)), "the latest of all")
	f.Ascending = true
	require.Equal(t, []float64{20}, values(h.measured(t, h.socket, f)))
	for _, none := range []int{0, -1} {
		f.Limit = none
		require.Empty(t, h.measured(t, h.socket, f))
	}
	f = week("t")
	f.From, f.To = base.Add(30*time.Second), base.Add(59*time.Second)
	require.Equal(t, []float64{20}, values(h.measured(t, h.socket, f)), "both ends are inclusive")
	f.From, f.To = f.To, f.From
	require.Empty(t, h.measured(t, h.socket, f))

	stale := state(h.socket, 1, `{}`)
	saved, err := h.SaveState(t.Context(), h.unit, devices.Report{State: stale, Measured: map[string]float64{"t": 1}, Slot: base.Add(time.Hour)})
	require.NoError(t, err)
	require.False(t, saved)
	require.Len(t, h.measured(t, h.socket, week("t")), 2, "what an old state measured is not stored")
}

// testRollUp uses times of its own, because RollUp reaches over all sites.
func testRollUp(t *testing.T, b *bench) {
	h := b.house(t)
	hour := noon.Truncate(time.Hour)
	for i, v := range []float64{10, 20, 60} {
		h.measure(t, h.socket, int64(i+1), hour.Add(time.Duration(i)*time.Minute), map[string]float64{"t": v})
	}
	h.measure(t, h.socket, 4, hour.Add(time.Hour), map[string]float64{"t": 5})
	h.measure(t, h.socket, 5, hour.Add(2*time.Hour), map[string]float64{"t": 7})
	before := hour.Add(2 * time.Hour)
	n, err := h.RollUp(t.Context(), before, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	for _, want := range []int{2, 2, 0} { // an hour may be rolled up in parts
		n, err := h.RollUp(t.Context(), before, 2)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	same(t, []devices.Measurement{{Value: 30, At: hour}, {Value: 5, At: hour.Add(time.Hour)}, {Value: 7, At: hour.Add(2 * time.Hour)}}, h.measured(t, h.socket, week("t")))
	last := week("t")
	last.Mean = false
	require.Equal(t, []float64{60, 5, 7}, values(h.measured(t, h.socket, last)))

	// A unit that reports the past, after its hour was rolled up.
	h.measure(t, h.socket, 6, hour.Add(30*time.Second), map[string]float64{"t": 30})
	n, err = h.RollUp(t.Context(), before, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []float64{30, 5, 7}, values(h.measured(t, h.socket, week("t"))))
	require.Equal(t, []float64{60, 5, 7}, values(h.measured(t, h.socket, last)))

	for _, want := range []int{1, 1, 0} {
		n, err := h.PurgeMeasurements(t.Context(), hour.Add(90*time.Minute), 1)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.Equal(t, []float64{7}, values(h.measured(t, h.socket, week("t"))))
}

// testSweeps uses times of its own, because these reach over all sites.
func testSweeps(t *testing.T, b *bench) {
	h := b.house(t)
	for i := range 5 {
		e := entry(devices.HistoryConfig, "old", noon.Add(time.Duration(i)*time.Second))
		e.SiteID = h.site
		require.NoError(t, h.Append(t.Context(), []devices.Entry{e}))
	}
	for _, want := range []int{3, 1, 0} { // the last was written just then
		n, err := h.PurgeHistory(t.Context(), noon.Add(4*time.Second), 3)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.Len(t, h.all(t), 1)

	c := h.accept(t, h.switchOn(), nil)
	n, err := h.Abandon(t.Context(), noon.Add(time.Second), noon.Add(time.Minute), 10, func(left devices.Command) *devices.Entry {
		require.Equal(t, c.ID, left.ID)
		require.Equal(t, devices.Unknown, left.Outcome)
		e := entry(devices.HistoryDiagnosis, left.Failure, left.FinishedAt)
		return &e
	})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	history := h.all(t)
	require.Equal(t, c.Failure, history[len(history)-1].Label)
}

func testEntries(t *testing.T, b *bench) {
	h, other := b.house(t), b.house(t)
	line := func(site int64, label string) devices.Entry {
		e := entry(devices.HistoryAccount, label, noon)
		e.SiteID = site
		return e
	}
	require.NoError(t, h.Append(t.Context(), nil))
	require.NoError(t, h.Append(t.Context(), []devices.Entry{line(h.site, "a"), line(other.site, "b"), line(h.site, "c")}))
	require.Len(t, h.all(t), 2)
	require.Len(t, other.all(t), 1)
	require.ErrorIs(t, h.Append(t.Context(), []devices.Entry{line(h.site, "d"), line(math.MaxInt64, "e")}), devices.ErrNotFound)
	require.Len(t, h.all(t), 2, "all or none")

	keyed := func(site int64, key string) devices.Entry {
		e := line(site, key)
		e.Key = key
		return e
	}
	third := b.house(t)
	var repeats sync.WaitGroup
	for range 4 {
		repeats.Go(func() {
			if err := third.Append(t.Context(), []devices.Entry{keyed(third.site, "k"), keyed(third.site, "l"), keyed(third.site, "k")}); err != nil {
				t.Error(err)
			}
		})
	}
	repeats.Wait()
	require.Len(t, third.all(t), 2, "each key once")
	require.NoError(t, h.Append(t.Context(), []devices.Entry{keyed(other.site, "k"), keyed(third.site, "k"), line(third.site, "k")}))
	require.Len(t, other.all(t), 2, "each site has its own")
	require.Len(t, third.all(t), 3, "and what has no key is not a repeat")

	offline := entry(devices.HistoryDiagnosis, "offline", noon)
	i := intent(h.switchOn(), nil)
	i.Entry = &offline
	accepted, err := h.Accept(t.Context(), i)
	require.NoError(t, err)
	require.True(t, accepted.New)
	require.Len(t, h.all(t), 3, "with the command that is new")
	i.Command = h.switchOn()
	accepted, err = h.Accept(t.Context(), i)
	require.NoError(t, err)
	require.False(t, accepted.New)
	require.Len(t, h.all(t), 3, "not with one that repeats it")
}
