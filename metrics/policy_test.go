package metrics_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/metrics"
)

func TestWastefulIsWithMoreThanFiveMinutesLeft(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]bool{
		-time.Hour: false, 0: false, time.Second: false, 5 * time.Minute: false,
		5*time.Minute + time.Microsecond: true, time.Hour: true,
	} {
		require.Equal(t, want, metrics.Wasteful(left), left)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	personal := metrics.Limits{Hour: 20, Day: 100}
	type judgement = metrics.Judgement
	for name, tc := range map[string]struct {
		kind     string
		counts   metrics.Counts
		wasteful bool
		limits   metrics.Limits
		want     judgement
	}{
		"a first token":                            {"personal", metrics.Counts{}, false, personal, judgement{metrics.Fine, "hour", 0, 20}},
		"a wasteful one":                           {"personal", metrics.Counts{}, true, personal, judgement{metrics.Fine, "hour", 1, 20}},
		"just below half":                          {"personal", metrics.Counts{Hour: 8, Day: 8}, true, personal, judgement{metrics.Fine, "hour", 9, 20}},
		"half":                                     {"personal", metrics.Counts{Hour: 9, Day: 9}, true, personal, judgement{metrics.Notice, "hour", 10, 20}},
		"just below four fifths":                   {"personal", metrics.Counts{Hour: 14, Day: 14}, true, personal, judgement{metrics.Notice, "hour", 15, 20}},
		"four fifths":                              {"personal", metrics.Counts{Hour: 15, Day: 15}, true, personal, judgement{metrics.Warning, "hour", 16, 20}},
		"the last that is allowed":                 {"personal", metrics.Counts{Hour: 19, Day: 19}, true, personal, judgement{metrics.Warning, "hour", 20, 20}},
		"the first that is not":                    {"personal", metrics.Counts{Hour: 20, Day: 20}, true, personal, judgement{metrics.SwitchOff, "hour", 21, 20}},
		"a good one at the line":                   {"personal", metrics.Counts{Hour: 20, Day: 20}, false, personal, judgement{metrics.Warning, "hour", 20, 20}},
		"a good one far behind the line":           {"personal", metrics.Counts{Hour: 90, Day: 900}, false, personal, judgement{metrics.Warning, "day", 900, 100}},
		"the day's last":                           {"personal", metrics.Counts{Hour: 3, Day: 99}, true, personal, judgement{metrics.Warning, "day", 100, 100}},
		"the day's first too many":                 {"personal", metrics.Counts{Hour: 3, Day: 100}, true, personal, judgement{metrics.SwitchOff, "day", 101, 100}},
		"equally near":                             {"personal", metrics.Counts{Hour: 4, Day: 20}, false, personal, judgement{metrics.Fine, "hour", 4, 20}},
		"both lines crossed, the hour's further":   {"personal", metrics.Counts{Hour: 40, Day: 101}, true, personal, judgement{metrics.SwitchOff, "hour", 41, 20}},
		"no limit":                                 {"personal", metrics.Counts{Hour: 1000, Day: 1000}, true, metrics.Limits{}, judgement{Verdict: metrics.Fine}},
		"no limit by the hour":                     {"personal", metrics.Counts{Hour: 1000, Day: 1000}, true, metrics.Limits{Day: 5000}, judgement{metrics.Fine, "day", 1001, 5000}},
		"no limit by the day":                      {"personal", metrics.Counts{Hour: 1, Day: 1000}, true, metrics.Limits{Hour: 5}, judgement{metrics.Fine, "hour", 2, 5}},
		"a limit of one":                           {"personal", metrics.Counts{}, true, metrics.Limits{Hour: 1}, judgement{metrics.Warning, "hour", 1, 1}},
		"a commercial application behind its line": {"commercial", metrics.Counts{Hour: 5000, Day: 5000}, true, metrics.Limits{Hour: 1000}, judgement{metrics.Warning, "hour", 5001, 1000}},
		"an unknown kind":                          {"", metrics.Counts{Hour: 5000, Day: 5000}, true, personal, judgement{metrics.Warning, "hour", 5001, 20}},
		"nonsense":                                 {"personal", metrics.Counts{Hour: -3, Day: -4}, true, metrics.Limits{Hour: -1, Day: -1}, judgement{Verdict: metrics.Fine}},
		"the largest numbers":                      {"personal", metrics.Counts{Hour: math.MaxInt, Day: math.MaxInt}, true, metrics.Limits{Hour: 20, Day: math.MaxInt}, judgement{metrics.SwitchOff, "hour", 1 << 30, 20}},
	} {
		require.Equal(t, tc.want, metrics.Judge(tc.kind, tc.counts, tc.wasteful, tc.limits), name)
	}
}

// What the default says of a script that asks for a token on every call.
func TestTheTwentySecondRequestIsSwitchedOff(t *testing.T) {
	t.Parallel()
	trial := metrics.DefaultPolicy().Try(metrics.Personal, "c")
	for request := 1; request <= 21; request++ {
		require.NotEqual(t, metrics.SwitchOff, trial.Ask(1000, request > 1).Verdict, "request %d", request)
	}
	require.Equal(t, metrics.Judgement{Verdict: metrics.SwitchOff, Rule: "hour", Count: 21, Limit: 20}, trial.Ask(1059, true))
	require.True(t, trial.Off())
	require.Equal(t, int64(1059), trial.SwitchAt)
	require.Equal(t, []int{21, 20}, []int{trial.Tokens, trial.Wasted})
	require.Equal(t, metrics.SwitchOff, trial.Ask(99_999, false).Verdict, "it stays off")
	require.Equal(t, 21, trial.Tokens)
}

func TestOverridesWinOverTheKind(t *testing.T) {
	t.Parallel()
	p := metrics.DefaultPolicy()
	p.Overrides["hub"] = metrics.Limits{Hour: 60}
	at := metrics.Counts{Hour: 20, Day: 20}
	require.Equal(t, metrics.SwitchOff, p.Judge(metrics.Personal, "other", at, true).Verdict)
	require.Equal(t, metrics.Fine, p.Judge(metrics.Personal, "hub", at, true).Verdict)
	require.Equal(t, metrics.Fine, p.Judge("unheard-of", "other", at, true).Verdict)
	require.Equal(t, metrics.Warning, p.Judge(metrics.Commercial, "other", metrics.Counts{Hour: 999}, true).Verdict)
}

// Nothing that is asked for makes a verdict milder, and only what may be switched off is.
func TestJudgeIsMonotonic(t *testing.T) {
	t.Parallel()
	order := []metrics.Verdict{metrics.Fine, metrics.Notice, metrics.Warning, metrics.SwitchOff}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 300), rapid.Int())
		l := metrics.Limits{Hour: n.Draw(t, "hour limit"), Day: n.Draw(t, "day limit")}
		c := metrics.Counts{Hour: n.Draw(t, "hour"), Day: n.Draw(t, "day")}
		kind := rapid.SampledFrom([]string{metrics.Personal, metrics.Commercial, "x"}).Draw(t, "kind")
		wasteful := rapid.Bool().Draw(t, "wasteful")
		j := metrics.Judge(kind, c, wasteful, l)
		if j.Verdict == metrics.SwitchOff && (!wasteful || kind != metrics.Personal || j.Count <= j.Limit) {
			t.Fatalf("switched off: %+v", j)
		}
		more := c
		if rapid.Bool().Draw(t, "which") {
			more.Hour = max(c.Hour, n.Draw(t, "more"))
		} else {
			more.Day = max(c.Day, n.Draw(t, "more"))
		}
		if k := metrics.Judge(kind, more, wasteful, l); slices.Index(order, k.Verdict) < slices.Index(order, j.Verdict) {
			t.Fatalf("%+v is milder than %+v", k, j)
		}
	})
}

// naive keeps every token for ever.
type naive []int64

func (n naive) counts(minute int64) metrics.Counts {
	var c metrics.Counts
	for _, at := range n {
		if at > minute-60 {
			c.Hour++
		}
		if at > minute-1440 {
			c.Day++
		}
	}
	return c
}

// A Window counts as one that keeps every token does, while time goes on and even
// when the clock goes back by up to a day.
func TestWindowCountsAsTheNaiveCounter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w metrics.Window
		var all naive
		now := rapid.Int64Range(0, 1<<33).Draw(t, "beginning")
		newest := now
		step := rapid.OneOf(
			rapid.Int64Range(0, 2), rapid.SampledFrom([]int64{58, 59, 60, 61, 1438, 1439, 1440, 1441}),
			rapid.Int64Range(0, 4000), rapid.Int64Range(-1440, -1),
		)
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			now = max(now+step.Draw(t, "minutes"), newest-1440)
			if want, got := all.counts(now), w.Counts(now); want != got {
				t.Fatalf("minute %d: %+v, not %+v", now, got, want)
			}
			n := rapid.IntRange(0, 3).Draw(t, "tokens")
			w.Add(now, n)
			for range n {
				all = append(all, now)
				newest = max(newest, now)
			}
		}
	})
}

// However the clock jumps, nothing that counted is uncounted by its going back, and
// what is issued then counts.
func TestWindowNeverCountsLessWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w metrics.Window
		minute := rapid.OneOf(rapid.Int64Range(0, 1<<33), rapid.Int64Range(math.MinInt64+metrics.DayMinutes, math.MaxInt64))
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now, back := minute.Draw(t, "now"), minute.Draw(t, "back")
			if back > now {
				now, back = back, now
			}
			before := w.Counts(now)
			after := w.Counts(back)
			if after.Hour < before.Hour || after.Day < before.Day || after.Day < after.Hour {
				t.Fatalf("%+v at %d, %+v at %d", before, now, after, back)
			}
			w.Add(back, 1)
			if issued := w.Counts(back); issued.Hour != after.Hour+1 || issued.Day != after.Day+1 {
				t.Fatalf("%+v became %+v", after, issued)
			}
		}
	})
}

func TestWindowRollsAtTheLine(t *testing.T) {
	t.Parallel()
	var w metrics.Window
	w.Add(1000, 20)
	require.Equal(t, metrics.Counts{Hour: 20, Day: 20}, w.Counts(1059))
	require.Equal(t, metrics.Counts{Hour: 0, Day: 20}, w.Counts(1060))
	require.Equal(t, metrics.Counts{Hour: 0, Day: 20}, w.Counts(2439))
	require.Equal(t, metrics.Counts{}, w.Counts(2440))
	w.Add(2440, -5)
	require.Equal(t, metrics.Counts{}, w.Counts(2440))
}

// Two years of a token a minute take no more room than some days of it.
func TestWindowIsBounded(t *testing.T) {
	t.Parallel()
	var w metrics.Window
	largest := 0
	for minute := range int64(2 * 365 * 1440) {
		w.Add(minute, 1)
		largest = max(largest, w.Size())
	}
	require.LessOrEqual(t, largest, 200_000, "bytes")
	require.Equal(t, metrics.Counts{Hour: 60, Day: 1440}, w.Counts(2*365*1440-1))
}
