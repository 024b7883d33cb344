package policy_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
	"github.com/foxbridge/foxbridge/oauth"
)

// What the default says of a script that asks for a token on every call.
func TestTheTwentySecondRequestIsSwitchedOff(t *testing.T) {
	t.Parallel()
	trial := policy.Default().Try(oauth.Personal, "c")
	for request := 1; request <= 21; request++ {
		require.NotEqual(t, oauth.VerdictSwitchOff, trial.Ask(1000, request > 1).Verdict, "request %d", request)
	}
	require.Equal(t, oauth.Judgement{Verdict: oauth.VerdictSwitchOff, Rule: oauth.RuleHour, Used: 21, Allowed: 20}, trial.Ask(1059, true))
	require.True(t, trial.Off())
	require.Equal(t, int64(1059), trial.SwitchAt)
	require.Equal(t, []int{21, 20}, []int{trial.Tokens, trial.Wasted})
	require.Equal(t, oauth.VerdictSwitchOff, trial.Ask(99_999, false).Verdict, "it stays off")
	require.Equal(t, 21, trial.Tokens)
}

func TestOverridesWinOverTheKind(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	p.Overrides["hub"] = oauth.Limits{Hour: 60}
	for id, want := range map[string]oauth.Limits{"other": {Hour: 20, Day: 100}, "hub": {Hour: 60}} {
		require.Equal(t, want, p.Limits(oauth.Personal, id))
	}
	require.Equal(t, oauth.Limits{Hour: 1000, Day: 10_000}, p.Limits(oauth.Commercial, "other"))
	require.Zero(t, p.Limits("unheard-of", "other"))
}

// Whatever a commercial application wastes, it is not switched off.
func TestOnlyPersonalApplicationsAreSwitchedOff(t *testing.T) {
	t.Parallel()
	trial := policy.Default().Try(oauth.Commercial, "c")
	for range 1005 {
		require.NotEqual(t, oauth.VerdictSwitchOff, trial.Ask(1000, true).Verdict)
	}
	require.Equal(t, oauth.Judgement{Verdict: oauth.VerdictWarning, Rule: oauth.RuleHour, Used: 1006, Allowed: 1000}, trial.Ask(1000, true))
	require.Equal(t, 1006, trial.Wasted)
}

// naive keeps every token for ever.
type naive []int64

func (n naive) counts(minute int64) oauth.Counts {
	var c oauth.Counts
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
		var w policy.Window
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
		var w policy.Window
		minute := rapid.OneOf(rapid.Int64Range(0, 1<<33), rapid.Int64Range(math.MinInt64+oauth.DayMinutes, math.MaxInt64))
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
	var w policy.Window
	w.Add(1000, 20)
	require.Equal(t, oauth.Counts{Hour: 20, Day: 20}, w.Counts(1059))
	require.Equal(t, oauth.Counts{Hour: 0, Day: 20}, w.Counts(1060))
	require.Equal(t, oauth.Counts{Hour: 0, Day: 20}, w.Counts(2439))
	require.Equal(t, oauth.Counts{}, w.Counts(2440))
	w.Add(2440, -5)
	require.Equal(t, oauth.Counts{}, w.Counts(2440))
}

// Two years of a token a minute take no more room than some days of it.
func TestWindowIsBounded(t *testing.T) {
	t.Parallel()
	var w policy.Window
	largest := 0
	for minute := range int64(2 * 365 * 1440) {
		w.Add(minute, 1)
		largest = max(largest, w.Size())
	}
	require.LessOrEqual(t, largest, 200_000, "bytes")
	require.Equal(t, oauth.Counts{Hour: 60, Day: 1440}, w.Counts(2*365*1440-1))
}
