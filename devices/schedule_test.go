package devices_test

import (
	"encoding/json"
	"testing"
	"time"
	_ "time/tzdata" // the machine may have no zones

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/devices"
)

func zone(t require.TestingT, name string) *time.Location {
	z, err := time.LoadLocation(name)
	require.NoError(t, err)
	return z
}

func scheduled(t require.TestingT, text string) devices.Rule {
	r, err := devices.ParseRule(devices.Scheduled, json.RawMessage(text))
	require.NoError(t, err)
	return r
}

func TestWhenAScheduledScenarioRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zone, rule, then string
		want             []string
	}{
		"every day": {"Europe/Paris", `{"at":"07:30"}`, "2026-01-10T00:00:00Z", []string{"2026-01-10T06:30:00Z", "2026-01-11T06:30:00Z"}},
		"strictly after": {
			"Europe/Paris", `{"at":"07:30"}`, "2026-01-10T06:30:00Z", []string{"2026-01-11T06:30:00Z"},
		},
		"to the second": {"UTC", `{"at":"23:59:59"}`, "2026-01-10T23:59:59Z", []string{"2026-01-11T23:59:59Z"}},
		"some days": {
			"America/New_York", `{"at":"00:00","days":["mon","fri"]}`, "2026-06-01T04:00:00Z",
			[]string{"2026-06-05T04:00:00Z", "2026-06-08T04:00:00Z", "2026-06-12T04:00:00Z"},
		},
		"the day is that of the place": {"Pacific/Auckland", `{"at":"08:00","days":["mon"]}`, "2026-06-06T00:00:00Z", []string{"2026-06-07T20:00:00Z"}},
		"a time that does not exist: the first moment after the gap": {
			"Europe/Paris", `{"at":"02:30"}`, "2026-03-28T00:00:00Z", []string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		},
		"the beginning of the gap does not exist": {"Europe/Paris", `{"at":"02:00"}`, "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z"}},
		"its end does": {"Europe/Paris", `{"at":"03:00"}`, "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"}},
		"a time that exists twice: the first": {
			"Europe/Paris", `{"at":"02:30"}`, "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		},
		"between both": {"Europe/Paris", `{"at":"02:30"}`, "2026-10-25T00:45:00Z", []string{"2026-10-26T01:30:00Z"}},
		"half an hour forward": {
			"Australia/Lord_Howe", `{"at":"02:15"}`, "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"},
		},
		"half an hour back": {
			"Australia/Lord_Howe", `{"at":"01:45"}`, "2026-04-03T20:00:00Z", []string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"},
		},
		"midnight does not exist": {"America/Havana", `{"at":"00:00"}`, "2026-03-07T12:00:00Z", []string{"2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"}},
		"the day does not exist": {
			"Pacific/Apia", `{"at":"07:00","days":["fri"]}`, "2011-12-28T00:00:00Z", []string{"2011-12-30T10:00:00Z", "2012-01-05T17:00:00Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			then, err := time.Parse(time.RFC3339, c.then)
			require.NoError(t, err)
			for _, want := range c.want {
				then = devices.NextOf(scheduled(t, c.rule), then, zone(t, c.zone))
				require.Equal(t, want, then.Format(time.RFC3339))
			}
		})
	}
}

// naive finds the next time the other way round: it looks at what a clock in the zone shows,
// minute by minute, and takes of each day the first minute at which that has gone past the time.
func naive(days map[time.Weekday]bool, hour, minute int, then time.Time, zone *time.Location) time.Time {
	been := map[string]bool{}
	for at := then.Truncate(time.Minute).AddDate(0, 0, -3); ; at = at.Add(time.Minute) {
		shown := at.In(zone)
		date := shown.Format(time.DateOnly)
		if been[date] || shown.Hour()*60+shown.Minute() < hour*60+minute {
			continue
		}
		been[date] = true
		if days[shown.Weekday()] && at.After(then) {
			return at
		}
	}
}

func TestNextAgainstANaiveCalculation(t *testing.T) {
	t.Parallel()
	zones := []string{
		"UTC", "Europe/Paris", "Europe/London", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Havana", "America/Asuncion",
		"America/Santiago", "Africa/Casablanca", "Africa/Cairo", "Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Asia/Tehran",
		"Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Chatham", "Pacific/Auckland", "Antarctica/Troll", "Atlantic/Azores",
	}
	rapid.Check(t, func(t *rapid.T) {
		place := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		then := time.Unix(rapid.Int64Range(60*60*24*365*20, 60*60*24*365*67).Draw(t, "then"), 0).UTC()
		if rapid.Bool().Draw(t, "near a change of the clocks") {
			if _, end := then.In(place).ZoneBounds(); !end.IsZero() {
				then = end.Add(time.Duration(rapid.Int64Range(-48*3600, 6*3600).Draw(t, "from it")) * time.Second).UTC()
			}
		}
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute")
		names := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}), rapid.ID).Draw(t, "days")
		at := devices.TimeOfDay(hour*3600 + minute*60)
		rule := devices.Rule{At: &at}
		days := map[time.Weekday]bool{}
		for _, name := range names {
			day, err := devices.ParseDay(name)
			require.NoError(t, err)
			rule.Days = append(rule.Days, day)
			days[time.Weekday(day)] = true
		}
		for d := time.Sunday; d <= time.Saturday && len(names) == 0; d++ {
			days[d] = true
		}
		require.Equal(t, naive(days, hour, minute, then, place).UTC(), devices.NextOf(rule, then, place))
	})
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ zone, rule, then, start, end string }{
		"ahead":           {"Europe/Paris", `{"from":"18:00","to":"23:00"}`, "2026-01-10T12:00:00Z", "2026-01-10T17:00:00Z", "2026-01-10T22:00:00Z"},
		"begun":           {"Europe/Paris", `{"from":"18:00","to":"23:00"}`, "2026-01-10T20:00:00Z", "2026-01-10T17:00:00Z", "2026-01-10T22:00:00Z"},
		"over":            {"Europe/Paris", `{"from":"18:00","to":"23:00"}`, "2026-01-10T22:00:00Z", "2026-01-11T17:00:00Z", "2026-01-11T22:00:00Z"},
		"past midnight":   {"UTC", `{"from":"22:00","to":"01:00","days":["fri"]}`, "2026-01-10T00:30:00Z", "2026-01-09T22:00:00Z", "2026-01-10T01:00:00Z"},
		"a long night":    {"Europe/Paris", `{"from":"22:00","to":"04:00"}`, "2026-10-24T21:00:00Z", "2026-10-24T20:00:00Z", "2026-10-25T03:00:00Z"},
		"no time at all":  {"Europe/Paris", `{"from":"02:10","to":"02:50"}`, "2026-03-29T00:00:00Z", "2026-03-30T00:10:00Z", "2026-03-30T00:50:00Z"},
		"cut by a change": {"Europe/Paris", `{"from":"02:10","to":"03:10"}`, "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:10:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rule, err := devices.ParseRule(devices.Simulation, json.RawMessage(c.rule))
			require.NoError(t, err)
			then, err := time.Parse(time.RFC3339, c.then)
			require.NoError(t, err)
			start, end := devices.WindowOf(rule, then, zone(t, c.zone))
			require.Equal(t, []string{c.start, c.end}, []string{start.Format(time.RFC3339), end.Format(time.RFC3339)})
		})
	}
}

func TestRulesThatAreNone(t *testing.T) {
	t.Parallel()
	for kind, bad := range map[devices.ScenarioType][]string{
		devices.OnDemand: {`[]`, `null`, `{`, `{} {}`, `{"at":"07:00"}`, `{"days":["mon"]}`, `{"event":"alarm"}`, `{"x":1}`, ``},
		devices.Scheduled: {
			`{}`, `{"at":"7:00"}`, `{"at":"24:00"}`, `{"at":"07:60"}`, `{"at":"07:00:60"}`, `{"at":"07:00:00.5"}`, `{"at":7}`, `{"at":"07:00","days":["monday"]}`,
			`{"at":"07:00","from":"08:00"}`, `{"at":"07:00","event":"alarm"}`, `{"at":"07:00","device":1}`,
		},
		devices.OnEvent:    {`{}`, `{"event":"rain"}`, `{"device":1}`, `{"event":"alarm","at":"07:00"}`, `{"event":"alarm","days":["mon"]}`, `{"event":"alarm","device":"1"}`},
		devices.Simulation: {`{}`, `{"from":"18:00"}`, `{"to":"18:00"}`, `{"from":"18:00","to":"18:00"}`, `{"from":"18:00","to":"18:00:59"}`, `{"from":"18:00","to":"19:00","at":"07:00"}`},
	} {
		for _, text := range bad {
			_, err := devices.ParseRule(kind, json.RawMessage(text))
			var field *devices.FieldError
			require.ErrorAs(t, err, &field, "%s %s", kind, text)
			require.Equal(t, "rule", field.Field)
		}
	}
	_, err := devices.ParseRule(devices.OnDemand, append([]byte("{}"), make([]byte, 5<<10)...))
	require.Error(t, err)
}

func FuzzRule(f *testing.F) {
	for _, text := range []string{`{}`, `{"at":"07:30","days":["mon","sun"]}`, `{"from":"22:00","to":"01:00:30"}`, `{"event":"access","device":0}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range devices.ScenarioTypes() {
			rule, err := devices.ParseRule(kind, json.RawMessage(text))
			if err != nil {
				continue
			}
			again, err := json.Marshal(rule)
			require.NoError(t, err)
			same, err := devices.ParseRule(kind, again)
			require.NoError(t, err)
			require.Equal(t, rule, same)
			then := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
			switch kind {
			case devices.Scheduled:
				require.True(t, devices.NextOf(rule, then, zone(t, "Europe/Paris")).After(then))
			case devices.Simulation:
				start, end := devices.WindowOf(rule, then, zone(t, "Europe/Paris"))
				require.True(t, end.After(then) && end.After(start))
			}
		}
	})
}

// What a simulation does lies in its window, switches each device on and off in turn, and
// leaves all of them off, whatever the dice say.
func TestPresence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 1, 10, 18, 0, 0, 0, time.UTC)
		length := time.Duration(rapid.Int64Range(1, int64(24*time.Hour/time.Second)).Draw(t, "seconds")) * time.Second
		end := start.Add(length)
		var steps []devices.Step
		for id := range rapid.Int64Range(1, 4).Draw(t, "devices") {
			steps = append(steps, devices.Step{Device: devices.Device{ID: id + 1, Kind: devices.Socket}, Operation: "on"})
		}
		steps = append(steps, steps[0]) // named twice
		list := devices.Draw(steps, start, end, func(below int64) int64 { return rapid.Int64Range(0, below-1).Draw(t, "die") })
		if length > 4*time.Minute {
			require.NotEmpty(t, list)
		}
		longest := min(45*time.Minute, length/4)
		last, on := map[int64]time.Time{}, map[int64]bool{}
		for i, s := range list {
			require.False(t, s.At.Before(start) || s.At.After(end), "in the window")
			require.True(t, i == 0 || !s.At.Before(list[i-1].At), "in order")
			require.Equal(t, map[bool]string{true: "off", false: "on"}[on[s.Device]], s.Operation, "in turn")
			before, had := last[s.Device]
			if !had {
				before = start
			}
			stayed := s.At.Sub(before)
			require.LessOrEqual(t, stayed, longest+time.Millisecond)
			if s.At != end {
				require.GreaterOrEqual(t, stayed, longest/6-time.Millisecond)
			}
			last[s.Device], on[s.Device] = s.At, !on[s.Device]
		}
		for device, is := range on {
			require.False(t, is, "device %d is left on", device)
		}
	})
}
