package oauth_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/oauth"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	personal := oauth.Limits{Hour: 20, Day: 100}
	type judgement = oauth.Judgement
	for name, tc := range map[string]struct {
		counts   oauth.Counts
		wasteful bool
		limits   oauth.Limits
		want     judgement
	}{
		"a first token":                          {oauth.Counts{}, false, personal, judgement{oauth.VerdictFine, oauth.RuleHour, 0, 20}},
		"a wasteful one":                         {oauth.Counts{}, true, personal, judgement{oauth.VerdictFine, oauth.RuleHour, 1, 20}},
		"just below half":                        {oauth.Counts{Hour: 8, Day: 8}, true, personal, judgement{oauth.VerdictFine, oauth.RuleHour, 9, 20}},
		"half":                                   {oauth.Counts{Hour: 9, Day: 9}, true, personal, judgement{oauth.VerdictNotice, oauth.RuleHour, 10, 20}},
		"just below four fifths":                 {oauth.Counts{Hour: 14, Day: 14}, true, personal, judgement{oauth.VerdictNotice, oauth.RuleHour, 15, 20}},
		"four fifths":                            {oauth.Counts{Hour: 15, Day: 15}, true, personal, judgement{oauth.VerdictWarning, oauth.RuleHour, 16, 20}},
		"the last that is allowed":               {oauth.Counts{Hour: 19, Day: 19}, true, personal, judgement{oauth.VerdictWarning, oauth.RuleHour, 20, 20}},
		"the first that is not":                  {oauth.Counts{Hour: 20, Day: 20}, true, personal, judgement{oauth.VerdictSwitchOff, oauth.RuleHour, 21, 20}},
		"a good one at the line":                 {oauth.Counts{Hour: 20, Day: 20}, false, personal, judgement{oauth.VerdictFine, oauth.RuleHour, 20, 20}},
		"a good one far behind the line":         {oauth.Counts{Hour: 90, Day: 900}, false, personal, judgement{oauth.VerdictFine, oauth.RuleDay, 900, 100}},
		"the day's last":                         {oauth.Counts{Hour: 3, Day: 99}, true, personal, judgement{oauth.VerdictWarning, oauth.RuleDay, 100, 100}},
		"the day's first too many":               {oauth.Counts{Hour: 3, Day: 100}, true, personal, judgement{oauth.VerdictSwitchOff, oauth.RuleDay, 101, 100}},
		"equally near":                           {oauth.Counts{Hour: 4, Day: 20}, false, personal, judgement{oauth.VerdictFine, oauth.RuleHour, 4, 20}},
		"both lines crossed, the hour's further": {oauth.Counts{Hour: 40, Day: 101}, true, personal, judgement{oauth.VerdictSwitchOff, oauth.RuleHour, 41, 20}},
		"no limit":                               {oauth.Counts{Hour: 1000, Day: 1000}, true, oauth.Limits{}, judgement{Verdict: oauth.VerdictFine}},
		"no limit by the hour":                   {oauth.Counts{Hour: 1000, Day: 1000}, true, oauth.Limits{Day: 5000}, judgement{oauth.VerdictFine, oauth.RuleDay, 1001, 5000}},
		"no limit by the day":                    {oauth.Counts{Hour: 1, Day: 1000}, true, oauth.Limits{Hour: 5}, judgement{oauth.VerdictFine, oauth.RuleHour, 2, 5}},
		"a limit of one":                         {oauth.Counts{}, true, oauth.Limits{Hour: 1}, judgement{oauth.VerdictWarning, oauth.RuleHour, 1, 1}},
	} {
		require.Equal(t, tc.want, oauth.Judge(tc.counts, tc.wasteful, tc.limits), name)
	}
}

// Nothing that is asked for makes a verdict milder, and only a wasteful token is refused.
func TestJudgeIsMonotonic(t *testing.T) {
	t.Parallel()
	order := []oauth.Verdict{oauth.VerdictFine, oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 1_000_000))
		l := oauth.Limits{Hour: n.Draw(t, "hour limit"), Day: n.Draw(t, "day limit")}
		c := oauth.Counts{Hour: n.Draw(t, "hour"), Day: n.Draw(t, "day")}
		wasteful := rapid.Bool().Draw(t, "wasteful")
		j := oauth.Judge(c, wasteful, l)
		if j.Verdict == oauth.VerdictSwitchOff && (!wasteful || j.Used <= j.Allowed) {
			t.Fatalf("switched off: %+v", j)
		}
		more := c
		if rapid.Bool().Draw(t, "which") {
			more.Hour = max(c.Hour, n.Draw(t, "more"))
		} else {
			more.Day = max(c.Day, n.Draw(t, "more"))
		}
		if k := oauth.Judge(more, wasteful, l); slices.Index(order, k.Verdict) < slices.Index(order, j.Verdict) {
			t.Fatalf("%+v is milder than %+v", k, j)
		}
	})
}
