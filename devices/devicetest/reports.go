package devicetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

func testStates(t *testing.T, b *bench) {
	t.Run("a state is stored if its sequence is above the stored one", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		_, err := h.State(t.Context(), h.site, h.socket)
		require.ErrorIs(t, err, devices.ErrNotFound)

		var want devices.State
		for i, report := range []struct {
			sequence int64
			stored   bool
		}{{5, true}, {5, false}, {4, false}, {6, true}, {math.MaxInt64, true}, {6, false}} {
			s := state(h.socket, report.sequence, `{"report":`+strings.Repeat("1", i+1)+`}`)
			if report.stored {
				want = s
			}
			stored, err := h.SaveState(t.Context(), h.unit, devices.Report{State: s})
			require.NoError(t, err)
			require.Equal(t, report.stored, stored, "report %d", i)
			got, err := h.State(t.Context(), h.site, h.socket)
			require.NoError(t, err)
			same(t, want, got)
			inUTC(t, got.Time)
		}
	})

	t.Run("each device has a state of its own, and so has the alarm", func(t *testing.T) {
		t.Parallel()
		h, neighbour := b.house(t), b.house(t)
		for _, house := range []house{h, neighbour} {
			for _, id := range []int64{house.socket, house.shutter, devices.SecurityDevice} {
				stored, err := house.SaveState(t.Context(), house.unit, devices.Report{State: state(id, house.site, `{}`)})
				require.NoError(t, err)
				require.True(t, stored)
			}
		}
		for _, house := range []house{h, neighbour} {
			for _, id := range []int64{house.socket, house.shutter, devices.SecurityDevice} {
				got, err := house.State(t.Context(), house.site, id)
				require.NoError(t, err)
				same(t, state(id, house.site, `{}`), got)
			}
		}
	})

	t.Run("a device that is not the unit's is ErrNotFound", func(t *testing.T) {
		t.Parallel()
		h, neighbour := b.house(t), b.house(t)
		for name, report := range map[string]struct {
			unit   string
			device int64
		}{
			"another's device":         {h.unit, neighbour.socket},
			"unknown device":           {h.unit, math.MaxInt64},
			"negative device":          {h.unit, -1},
			"unknown unit":             {newUnitID(), h.socket},
			"alarm of an unknown unit": {newUnitID(), devices.SecurityDevice},
		} {
			stored, err := h.SaveState(t.Context(), report.unit, devices.Report{State: state(report.device, 1, `{}`)})
			require.ErrorIs(t, err, devices.ErrNotFound, name)
			require.False(t, stored, name)
		}
		for _, house := range []house{h, neighbour} {
			for _, id := range []int64{house.socket, devices.SecurityDevice} {
				_, err := house.State(t.Context(), house.site, id)
				require.ErrorIs(t, err, devices.ErrNotFound)
			}
		}
	})

	t.Run("a state is read at its own site only", func(t *testing.T) {
		t.Parallel()
		h, neighbour := b.house(t), b.house(t)
		_, err := h.SaveState(t.Context(), h.unit, devices.Report{State: state(h.socket, 1, `{}`)})
		require.NoError(t, err)
		_, err = h.State(t.Context(), neighbour.site, h.socket)
		require.ErrorIs(t, err, devices.ErrNotFound)
	})

	t.Run("a unit's clock may say anything", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		for i, at := range []time.Time{
			{},
			time.Date(0, time.January, 1, 0, 0, 0, 0, time.UTC),
			time.Date(1969, time.December, 31, 23, 59, 59, 999999999, time.UTC),
			time.Date(9999, time.December, 31, 23, 59, 59, 999999999, time.UTC),
		} {
			s := state(h.socket, int64(i+1), `{}`)
			s.Time = at
			_, err := h.SaveState(t.Context(), h.unit, devices.Report{State: s})
			require.NoError(t, err)
			got, err := h.State(t.Context(), h.site, h.socket)
			require.NoError(t, err)
			same(t, at.Truncate(time.Microsecond), got.Time)
			appended, err := h.SaveEvent(t.Context(), h.unit, fmt.Sprint("e", i), entry(devices.HistoryAlarm, "Sirène", at))
			require.NoError(t, err)
			require.True(t, appended)
		}
	})

	t.Run("readings stay as they were reported", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		readings := `{ "b":1.0,  "a":1e3, "a":"twice", "texte":"é\u0000\ud83e\udd8a🦊' \\" }`
		_, err := h.SaveState(t.Context(), h.unit, devices.Report{State: state(h.socket, 1, readings)})
		require.NoError(t, err)
		got, err := h.State(t.Context(), h.site, h.socket)
		require.NoError(t, err)
		require.Equal(t, readings, string(got.Readings))

		long := `{"x":"` + strings.Repeat("x", 4<<10-8) + `"}`
		_, err = h.SaveState(t.Context(), h.unit, devices.Report{State: state(h.socket, 2, long)})
		require.NoError(t, err)
		got, err = h.State(t.Context(), h.site, h.socket)
		require.NoError(t, err)
		require.Equal(t, long, string(got.Readings))
	})
}

func testEvents(t *testing.T, b *bench) {
	t.Run("an event is appended to the history of the unit's site", func(t *testing.T) {
		t.Parallel()
		h, neighbour := b.house(t), b.house(t)
		siren := entry(devices.HistoryAlarm, "Sirène", noon)
		siren.SiteID = neighbour.site // no say in it
		appended, err := h.SaveEvent(t.Context(), h.unit, "e1", siren)
		require.NoError(t, err)
		require.True(t, appended)
		history := h.all(t)
		require.Len(t, history, 1)
		siren.ID, siren.SiteID = history[0].ID, h.site
		same(t, siren, history[0])
		require.Empty(t, neighbour.all(t))
	})

	t.Run("an event that is there is not appended again", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		for i, fresh := range []bool{true, false, false} {
			appended, err := h.SaveEvent(t.Context(), h.unit, "e1", entry(devices.HistoryAlarm, "Sirène", noon.Add(time.Duration(i)*time.Hour)))
			require.NoError(t, err)
			require.Equal(t, fresh, appended)
		}
		appended, err := h.SaveEvent(t.Context(), h.unit, "e2", entry(devices.HistoryAlarm, "Sirène", noon))
		require.NoError(t, err)
		require.True(t, appended)
		require.Len(t, h.all(t), 2)
	})

	t.Run("two units may choose one ID", func(t *testing.T) {
		t.Parallel()
		for _, h := range []house{b.house(t), b.house(t)} {
			appended, err := h.SaveEvent(t.Context(), h.unit, "e1", entry(devices.HistoryAccess, "Badge", noon))
			require.NoError(t, err)
			require.True(t, appended)
			require.Len(t, h.all(t), 1)
		}
	})

	t.Run("an unknown unit is ErrNotFound", func(t *testing.T) {
		t.Parallel()
		_, err := b.stores[0].SaveEvent(t.Context(), newUnitID(), "e1", entry(devices.HistoryAlarm, "Sirène", noon))
		require.ErrorIs(t, err, devices.ErrNotFound)
	})
}

// testLinks tells one story after the other, because Disconnect and Online reach
// over all units.
func testLinks(t *testing.T, b *bench) {
	h, neighbour := b.house(t), b.house(t)
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	online := func(want int) {
		t.Helper()
		n, err := h.Online(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	save := func(l devices.Link, keepClock, changed bool) {
		t.Helper()
		unit, err := h.Unit(t.Context(), h.unit)
		require.NoError(t, err)
		before, now, err := h.SaveLink(t.Context(), h.unit, l, keepClock)
		require.NoError(t, err)
		same(t, unit.Link, before)
		before.At, now.At = time.Time{}, time.Time{}
		require.Equal(t, changed, before != now)
	}
	stands := func(of house, want devices.Link) {
		t.Helper()
		unit, err := of.Unit(t.Context(), of.unit)
		require.NoError(t, err)
		same(t, want, unit.Link)
		inUTC(t, unit.Link.At)
	}
	online(0)

	// A will of a session that never came changes nothing.
	save(devices.Link{Session: "s0", At: at(0)}, false, false)
	stands(h, devices.Link{})

	// Online stores all.
	first := devices.Link{Online: true, Session: "s1", Firmware: "1.0 β", Catalogue: 1, ClockOffset: -1234567 * time.Millisecond, At: at(1)}
	save(first, false, true)
	stands(h, first)
	online(1)

	// The same report again is no change, but for when it was taken in.
	first.At = at(2)
	save(first, false, false)
	stands(h, first)

	// A late will of another session changes nothing.
	save(devices.Link{Session: "s0", At: at(3)}, false, false)
	stands(h, first)

	// Online again with keepClock stores all but the clock.
	second := devices.Link{Online: true, Session: "s2", Firmware: "1.1", Catalogue: 2, ClockOffset: time.Hour, At: at(4)}
	save(second, true, true)
	second.ClockOffset = first.ClockOffset
	stands(h, second)

	// Without keepClock a new clock alone is a change.
	second.ClockOffset = 250 * time.Millisecond
	save(second, false, true)
	stands(h, second)

	// The will of the first session comes late.
	save(devices.Link{Session: "s1", At: at(5)}, false, false)
	stands(h, second)
	online(1)

	// The will of the stored session keeps what the unit told of itself.
	save(devices.Link{Session: "s2", At: at(6)}, false, true)
	second.Online, second.At = false, at(6)
	stands(h, second)
	online(0)

	// Whoever is offline does not go offline.
	save(devices.Link{Session: "s2", At: at(7)}, false, false)
	stands(h, second)

	_, _, err := h.SaveLink(t.Context(), newUnitID(), first, false)
	require.ErrorIs(t, err, devices.ErrNotFound)
	_, _, err = h.SaveLink(t.Context(), newUnitID(), devices.Link{Session: "s1", At: at(8)}, false)
	require.ErrorIs(t, err, devices.ErrNotFound)

	// Disconnect makes those offline that are online, and leaves the rest of the link.
	third := devices.Link{Online: true, Session: "n1", Firmware: "2.0", Catalogue: 1, ClockOffset: time.Second, At: at(8)}
	_, _, err = neighbour.SaveLink(t.Context(), neighbour.unit, third, false)
	require.NoError(t, err)
	online(1)
	require.NoError(t, h.Disconnect(t.Context(), at(9)))
	online(0)
	third.Online, third.At = false, at(9)
	stands(neighbour, third)
	stands(h, second)

	// The list tells the link too.
	units, err := h.Units(t.Context(), "", 10)
	require.NoError(t, err)
	i := slices.IndexFunc(units, func(u devices.Unit) bool { return u.ID == neighbour.unit })
	require.GreaterOrEqual(t, i, 0)
	same(t, third, units[i].Link)
}

func testHistory(t *testing.T, b *bench) {
	h, neighbour := b.house(t), b.house(t)
	add := func(to house, id string, kind devices.HistoryType, at time.Time) {
		t.Helper()
		_, err := to.SaveEvent(t.Context(), to.unit, id, entry(kind, id, at))
		require.NoError(t, err)
	}
	at := func(us int) time.Time { return noon.Add(time.Duration(us) * time.Microsecond) }
	add(h, "third", devices.HistoryAccess, at(2))
	add(h, "first", devices.HistoryAlarm, at(0))
	add(h, "second-a", devices.HistoryAlarm, at(1))
	add(h, "second-b", devices.HistorySecurity, at(1))
	add(h, "second-c", devices.HistoryAlarm, at(1))
	add(h, "fourth", devices.HistoryDiagnosis, at(3))
	add(neighbour, "elsewhere", devices.HistoryAlarm, at(1))
	everything := devices.HistoryFilter{From: at(-1000), To: at(1000), Ascending: true, Limit: 100}

	for name, c := range map[string]struct {
		change func(*devices.HistoryFilter)
		want   []string
	}{
		"all, ascending": {
			func(*devices.HistoryFilter) {},
			[]string{"first", "second-a", "second-b", "second-c", "third", "fourth"},
		},
		"all, descending": {
			func(f *devices.HistoryFilter) { f.Ascending = false },
			[]string{"fourth", "third", "second-c", "second-b", "second-a", "first"},
		},
		"from, inclusive": {
			func(f *devices.HistoryFilter) { f.From = at(2) },
			[]string{"third", "fourth"},
		},
		"to, inclusive": {
			func(f *devices.HistoryFilter) { f.To = at(1) },
			[]string{"first", "second-a", "second-b", "second-c"},
		},
		"one microsecond": {
			func(f *devices.HistoryFilter) { f.From, f.To = at(1), at(1) },
			[]string{"second-a", "second-b", "second-c"},
		},
		"bounds in another zone": {
			func(f *devices.HistoryFilter) {
				zone := time.FixedZone("Tokyo", 9*3600)
				f.From, f.To = at(1).In(zone), at(2).In(zone)
			},
			[]string{"second-a", "second-b", "second-c", "third"},
		},
		"one type": {
			func(f *devices.HistoryFilter) { f.Types = []devices.HistoryType{devices.HistoryAlarm} },
			[]string{"first", "second-a", "second-c"},
		},
		"two types": {
			func(f *devices.HistoryFilter) {
				f.Types = []devices.HistoryType{devices.HistorySecurity, devices.HistoryAccess}
			},
			[]string{"second-b", "third"},
		},
		"a type that is not there": {
			func(f *devices.HistoryFilter) { f.Types = []devices.HistoryType{devices.HistoryScenario} }, nil,
		},
		"limit, ascending": {
			func(f *devices.HistoryFilter) { f.Limit = 2 },
			[]string{"first", "second-a"},
		},
		"limit, descending": {
			func(f *devices.HistoryFilter) { f.Limit, f.Ascending = 3, false },
			[]string{"fourth", "third", "second-c"},
		},
		"limit 0":              {func(f *devices.HistoryFilter) { f.Limit = 0 }, nil},
		"limit below 0":        {func(f *devices.HistoryFilter) { f.Limit = -1 }, nil},
		"from after to":        {func(f *devices.HistoryFilter) { f.From, f.To = at(2), at(1) }, nil},
		"zero times are years": {func(f *devices.HistoryFilter) { f.From, f.To = time.Time{}, time.Time{} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := everything
			c.change(&f)
			entries, err := h.History(t.Context(), h.site, f)
			require.NoError(t, err)
			var labels []string
			for _, e := range entries {
				labels = append(labels, e.Label)
				require.Equal(t, h.site, e.SiteID)
				inUTC(t, e.CreatedAt)
			}
			require.Equal(t, c.want, labels)
		})
	}

	t.Run("IDs rise in the order of appending", func(t *testing.T) {
		t.Parallel()
		ids := map[string]int64{}
		for _, e := range h.all(t) {
			ids[e.Label] = e.ID
		}
		var inOrder []int64
		for _, label := range []string{"third", "first", "second-a", "second-b", "second-c", "fourth"} {
			inOrder = append(inOrder, ids[label])
		}
		require.IsIncreasing(t, inOrder)
	})
}

func testText(t *testing.T, b *bench) {
	texts := map[string]string{
		"accents":    "Volet du séjour, côté œuvre",
		"decomposed": "e\u0301te\u0301",
		"emoji":      "🦊👩‍👩‍👧‍👦",
		"right":      "שלום عليكم",
		"sql":        `Robert'); DROP TABLE commands;-- "x" \ % _ $1 ?1`,
		"control":    "tab\tline\nbell\a",
		"spaces":     "  around  ",
	}
	for name, text := range texts {
		t.Run("text comes back as it was: "+name, func(t *testing.T) {
			t.Parallel()
			store, owner := b.stores[0], b.user()
			site, err := store.AddSite(t.Context(), devices.Site{Label: text, Timezone: text, CreatedAt: noon}, owner)
			require.NoError(t, err)
			h := house{Store: store, owner: owner, site: site, unit: newUnitID()}
			device := newDevice(devices.Socket, text)
			added, err := h.AddUnit(t.Context(), newUnit(h.unit, site), []devices.Device{device})
			require.NoError(t, err)
			h.socket = added[0].ID
			target, err := h.Target(t.Context(), owner, site, h.socket, []devices.Kind{devices.Socket})
			require.NoError(t, err)
			require.Equal(t, []string{text, text, text}, []string{target.Site.Label, target.Site.Timezone, target.Device.Label})

			c := h.switchOn()
			c.Label, c.ClientID = text, text
			same(t, c, h.accept(t, c, newKey()))
			f := finish(c, devices.Refused)
			f.Reason = text
			line := entry(devices.HistoryHomeAuto, text, noon)
			f.Entry = &line
			_, err = h.Finish(t.Context(), f)
			require.NoError(t, err)
			found, err := h.Command(t.Context(), site, c.ID)
			require.NoError(t, err)
			require.Equal(t, []string{text, text, text}, []string{found.Label, found.ClientID, found.Reason})
			_, err = h.SaveEvent(t.Context(), h.unit, text, entry(devices.HistoryAlarm, text, noon))
			require.NoError(t, err)
			for _, e := range h.all(t) {
				require.Equal(t, text, e.Label)
			}
		})
	}

	for name, id := range map[string]string{
		"empty":         "",
		"NUL":           "a\x00b",
		"invalid UTF-8": "a\xff\xfeb",
		"sql":           `' OR '1'='1`,
		"long":          strings.Repeat("x", 1<<16),
	} {
		t.Run("an ID that cannot be is ErrNotFound: "+name, func(t *testing.T) {
			t.Parallel()
			h := b.house(t)
			c := h.accept(t, h.switchOn(), nil)
			_, err := h.Unit(t.Context(), id)
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, err = h.Command(t.Context(), h.site, id)
			require.ErrorIs(t, err, devices.ErrNotFound)
			f := finish(c, devices.Done)
			f.CommandID = id
			_, err = h.Finish(t.Context(), f)
			require.ErrorIs(t, err, devices.ErrNotFound)
			f = finish(c, devices.Done)
			f.UnitID = id
			_, err = h.Finish(t.Context(), f)
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, err = h.SaveState(t.Context(), id, devices.Report{State: state(devices.SecurityDevice, 1, `{}`)})
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, err = h.SaveEvent(t.Context(), id, "e1", entry(devices.HistoryAlarm, "Sirène", noon))
			require.ErrorIs(t, err, devices.ErrNotFound)
			_, _, err = h.SaveLink(t.Context(), id, devices.Link{Online: true, Session: "s", At: noon}, false)
			require.ErrorIs(t, err, devices.ErrNotFound)
		})
	}
}
