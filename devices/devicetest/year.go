package devicetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // the machine may have no zones

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// Year lets scheduled scenarios run through a simulated year in three time zones, with
// bridges that are stopped and started again in between, one on each of the stores, which are
// all on one database. Each scenario must run exactly once when a calculation that shares nothing
// with the Engine says so, and never when a bridge comes back too late.
func Year(t *testing.T, stores []devices.Store, addUser func(name string) int64) {
	y := &year{t: t, stores: stores, now: noon.Truncate(time.Second), did: map[int64][]time.Time{}, owner: addUser("owner@example.org")}
	y.more = sync.NewCond(&y.mu)
	y.start()
	for _, place := range []string{"Europe/Paris", "America/New_York", "Australia/Lord_Howe"} {
		night := "02:30" // which does not exist once, or is there twice
		if place == "Australia/Lord_Howe" {
			night = "02:15"
		}
		y.furnish(place, []routine{
			{"07:30", []time.Weekday{time.Monday, time.Friday}},
			{night, []time.Weekday{time.Sunday, time.Wednesday, time.Saturday}},
			{"01:45", []time.Weekday{time.Sunday}},
		})
	}
	y.rest()
	y.live()
	y.stop()
	y.account()
}

// routine is when a scenario runs, in the words of a person.
type routine struct {
	at   string
	days []time.Weekday
}

type year struct {
	t       *testing.T
	stores  []devices.Store
	bridges []*yearBridge
	owner   int64
	sites   []int64
	lamps   []int64
	wanted  map[time.Time][]int64 // lamps by the time at which they are to be switched
	absent  int                   // occurrences while nobody was there

	mu    sync.Mutex
	now   time.Time
	did   map[int64][]time.Time // when lamps were switched
	share []int                 // by which bridge
	ended int                   // occurrences of which something became, and is on record
	more  *sync.Cond            // of mu: ended rises
}

// yearBridge is a bridge whose houses do at once what they are told.
type yearBridge struct {
	*devices.Service
	year    *year
	number  int
	engine  *devices.Engine
	asleep  chan time.Duration
	wake    chan time.Time
	stopped chan struct{}
}

func (y *year) clock() time.Time {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.now
}

func (y *year) set(now time.Time) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.now = now
}

// start starts a bridge on each store.
func (y *year) start() {
	y.t.Helper()
	if y.share == nil {
		y.share, y.wanted = make([]int, len(y.stores)), map[time.Time][]int64{}
	}
	y.bridges = nil
	for i, store := range y.stores {
		b := &yearBridge{year: y, number: i, asleep: make(chan time.Duration), wake: make(chan time.Time), stopped: make(chan struct{})}
		b.Service = devices.New(devices.Options{
			Store: store, Now: y.clock, Logger: slog.New(slog.DiscardHandler), Wait: 20 * time.Second, LaneDepth: 100,
		})
		b.SetSender(b)
		b.engine = devices.NewEngine(devices.EngineOptions{Service: b.Service, Timer: b.timer, Observe: y.concluded})
		b.engine.Start()
		y.bridges = append(y.bridges, b)
	}
	y.sleep(y.bridges...)
}

func (y *year) concluded(_, _ string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ended++
	y.more.Broadcast()
}

func (b *yearBridge) timer(d time.Duration) (<-chan time.Time, func()) {
	select {
	case b.asleep <- d:
	case <-b.stopped:
	}
	return b.wake, func() {}
}

// Send is the way to the house and its answer.
func (b *yearBridge) Send(ctx context.Context, o devices.Order) error {
	y := b.year
	y.mu.Lock()
	y.did[o.DeviceID] = append(y.did[o.DeviceID], y.now)
	y.share[b.number]++
	y.mu.Unlock()
	return b.Acknowledge(ctx, o.UnitID, devices.Ack{CommandID: o.CommandID, Outcome: devices.Done})
}

// sleep waits until the bridges sleep, and gives the shortest of their sleeps.
func (y *year) sleep(bridges ...*yearBridge) time.Duration {
	y.t.Helper()
	shortest := time.Hour
	for _, b := range bridges {
		for {
			var d time.Duration
			select {
			case d = <-b.asleep:
			case <-time.After(time.Minute):
				require.FailNow(y.t, "an engine does not come to rest")
			}
			if d > 0 {
				shortest = min(shortest, d)
				break
			}
			b.wake <- y.clock()
		}
	}
	return shortest
}

// at wakes all bridges at that time, and waits until they sleep again.
func (y *year) at(now time.Time) time.Duration {
	y.t.Helper()
	y.set(now)
	for _, b := range y.bridges {
		b.wake <- now
	}
	return y.sleep(y.bridges...)
}

func (y *year) stop() {
	y.t.Helper()
	for _, b := range y.bridges {
		close(b.stopped)
		require.NoError(y.t, b.engine.Stop(y.t.Context()))
		require.NoError(y.t, b.Drain(y.t.Context()))
	}
}

// furnish makes a home in that zone, with a lamp for each routine, and calculates when the
// lamps are to be switched.
func (y *year) furnish(place string, routines []routine) {
	t, b := y.t, y.bridges[0]
	t.Helper()
	site, err := b.AddSite(t.Context(), y.owner, place, place)
	require.NoError(t, err)
	y.sites = append(y.sites, site.ID)
	var lamps []devices.NewDevice
	for _, r := range routines {
		lamps = append(lamps, devices.NewDevice{Kind: devices.Socket, Label: r.at})
	}
	unit, _, added, err := b.AddUnit(t.Context(), site.ID, lamps)
	require.NoError(t, err)
	require.NoError(t, b.ReportLink(t.Context(), unit.ID, devices.LinkReport{Online: true, Session: "s", Catalogue: devices.CatalogueVersion, Clock: y.clock()}))
	zone, err := time.LoadLocation(place)
	require.NoError(t, err)
	for i, r := range routines {
		var days []string
		for _, day := range r.days {
			days = append(days, devices.Day(day).String())
		}
		rule, err := json.Marshal(map[string]any{"at": r.at, "days": days})
		require.NoError(t, err)
		_, err = b.AddScenario(t.Context(), devices.Scenario{
			SiteID: site.ID, Label: r.at, Type: devices.Scheduled, Enabled: true, Rule: rule, CreatedBy: y.owner,
			Steps: []devices.Step{{Device: added[i], Operation: "on"}},
		})
		require.NoError(t, err)
		y.sleep(b) // it was told, and has looked
		y.lamps = append(y.lamps, added[i].ID)
		for _, at := range r.walk(y.clock(), y.clock().AddDate(1, 0, 0), zone) {
			y.wanted[at] = append(y.wanted[at], added[i].ID)
		}
	}
}

// walk goes through the time minute by minute, looks at what a clock in the zone shows, and
// takes of each of the days the first minute at which that has gone past the time.
func (r routine) walk(from, until time.Time, zone *time.Location) (list []time.Time) {
	been := map[int]bool{}
	for at := from.Truncate(time.Minute); !at.After(until); at = at.Add(time.Minute) {
		shown := at.In(zone)
		date := shown.Year()*1000 + shown.YearDay()
		if been[date] || fmt.Sprintf("%02d:%02d", shown.Hour(), shown.Minute()) < r.at {
			continue
		}
		been[date] = true
		if slices.Contains(r.days, shown.Weekday()) && at.After(from) {
			list = append(list, at.UTC())
		}
	}
	return list
}

// rest lets the other bridges see what was added through the first.
func (y *year) rest() { y.at(y.clock()) }

// live goes from one occurrence to the next. Now and then no bridge is there: until a minute
// after it, or until it is too late.
func (y *year) live() {
	t := y.t
	t.Helper()
	var times []time.Time
	for at := range y.wanted {
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	restarts := 0
	for i, at := range times {
		before := y.count()
		switch {
		case i%37 == 36: // a restart, in time
			y.stop()
			y.set(at.Add(time.Minute))
			y.start()
			restarts++
		case i%53 == 52: // one that takes too long
			y.stop()
			y.set(at.Add(5 * time.Minute))
			y.start()
			restarts++
			y.absent += len(y.wanted[at])
			y.settled(before)
			delete(y.wanted, at)
			continue
		default:
			require.LessOrEqual(t, y.at(at.Add(-time.Second)), time.Second, "somebody wakes in time for %s", at)
			y.settled(before)
			y.at(at)
		}
		y.settled(before + len(y.wanted[at]))
	}
	t.Logf("a year from %s: %d scenarios, %d occurrences at %d times, %d of them while nobody was there, %d restarts, %v commands by bridge",
		noon.Format(time.DateOnly), len(y.lamps), y.count()+y.absent, len(times), y.absent, restarts, y.share)
}

func (y *year) count() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	n := 0
	for _, times := range y.did {
		n += len(times)
	}
	return n
}

// settled waits until nothing runs any more, and requires that so many lamps were switched.
func (y *year) settled(want int) {
	y.t.Helper()
	late := time.AfterFunc(time.Minute, y.more.Broadcast)
	defer late.Stop()
	patience := time.Now().Add(time.Minute)
	y.mu.Lock()
	for y.ended < want+y.absent && time.Now().Before(patience) {
		y.more.Wait()
	}
	ended := y.ended
	y.mu.Unlock()
	require.Equal(y.t, want+y.absent, ended, "at %s", y.clock())
	require.Equal(y.t, want, y.count(), "at %s", y.clock())
}

// account compares what was done with what was wanted, each to the second, and what the
// histories say of the rest.
func (y *year) account() {
	t := y.t
	t.Helper()
	wanted := map[int64][]time.Time{}
	for at, lamps := range y.wanted {
		for _, lamp := range lamps {
			wanted[lamp] = append(wanted[lamp], at)
		}
	}
	for _, lamp := range y.lamps {
		slices.SortFunc(wanted[lamp], time.Time.Compare)
		require.NotEmpty(t, wanted[lamp])
		require.Len(t, y.did[lamp], len(wanted[lamp]))
		for i, at := range wanted[lamp] {
			late := y.did[lamp][i].Sub(at)
			require.True(t, late == 0 || late == time.Minute, "%s after %s", late, at)
		}
	}
	require.Positive(t, y.absent)
	missed := 0
	for _, site := range y.sites {
		for at := noon; at.Before(y.clock()); at = at.AddDate(0, 0, 30) {
			entries, err := y.stores[0].History(t.Context(), site, devices.HistoryFilter{
				From: at, To: at.AddDate(0, 0, 30).Add(-time.Microsecond), Types: []devices.HistoryType{devices.HistoryScenario}, Limit: 10_000,
			})
			require.NoError(t, err)
			for _, e := range entries {
				if e.Label != "" && !slices.Contains([]string{"ran"}, e.Label[len(e.Label)-3:]) {
					missed++
					require.Contains(t, e.Label, "it would have been too late")
				}
			}
		}
	}
	require.Equal(t, y.absent, missed, "the histories tell what was missed")
	for i, n := range y.share {
		require.Positive(t, n, "bridge %d did its part", i)
	}
}
