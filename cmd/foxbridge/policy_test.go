package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
	"github.com/foxbridge/foxbridge/oauth"
)

func simulateOK(t testing.TB, args ...string) []simulated {
	t.Helper()
	code, stdout, stderr := execute(t, "", append([]string{"policy", "simulate", "--json"}, args...)...)
	require.Equal(t, exitOK, code, stderr)
	var rows []simulated
	require.NoError(t, json.Unmarshal([]byte(stdout), &rows))
	return rows
}

// A thousand applications of each behaviour for a month, as docs/issuance.md tells it.
func TestSimulationSwitchesOffWhomItShould(t *testing.T) {
	t.Parallel()
	rows := simulateOK(t)
	require.Len(t, rows, 8)
	for _, r := range rows[:5] {
		require.Equal(t, verdicts{Fine: 1000}, r.Worst, "%s: not even a notice", r.Behaviour)
		require.Zero(t, r.SwitchedOff, r.Behaviour)
		require.GreaterOrEqual(t, r.Tokens, 1000*29*23, r.Behaviour)
	}
	for n, wasted := range map[int]int{0: 0, 1: 0, 4: 0} {
		require.Equal(t, wasted, rows[n].Wasted, rows[n].Behaviour)
	}
	require.InDelta(t, 1000*29.5*10*55/60, rows[2].Wasted, 10_000, "a restart wastes a token unless the old one had come to its end")

	off := func(n, tokens, wasted int, rule oauth.Rule) {
		t.Helper()
		require.Equal(t, 1000, rows[n].SwitchedOff, rows[n].Behaviour)
		require.Equal(t, []oauth.Rule{rule}, rows[n].Rules, rows[n].Behaviour)
		require.Equal(t, extremes{wasted, wasted}, rows[n].AfterWasted, rows[n].Behaviour)
		if tokens > 0 {
			require.Equal(t, extremes{tokens, tokens}, rows[n].AfterTokens, rows[n].Behaviour)
		}
	}
	off(5, 101, 100, "day")
	off(6, 21, 20, "hour")
	off(7, 0, 20, "hour") // after the good tokens that it had before the storm
}

func TestSimulationCanBeRepeated(t *testing.T) {
	t.Parallel()
	few := []string{"--clients", "20", "--days", "3"}
	require.Equal(t, simulateOK(t, few...), simulateOK(t, append(few, "--seed", "1")...))
	require.NotEqual(t, simulateOK(t, few...), simulateOK(t, append(few, "--seed", "2")...))
}

func TestSimulationTakesAPolicy(t *testing.T) {
	t.Parallel()
	strict := writePolicy(t, "kinds:\n  personal: {hour: 1, day: 5}\n")
	for n, r := range simulateOK(t, "--clients", "10", "--policy", strict) {
		want := 10
		if n == 0 || n == 1 || n == 4 {
			want = 0 // these waste nothing
		}
		require.Equal(t, want, r.SwitchedOff, r.Behaviour)
	}
	code, _, stderr := execute(t, "", "policy", "simulate", "--policy", writePolicy(t, "kinds:\n  personal: {hour: 1}\n"))
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "foxbridge: --policy: ")
	require.Contains(t, stderr, "line 2: kinds.personal.day: is missing")
}

func TestSimulationForPeopleIsATable(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := execute(t, "", "policy", "simulate", "--clients", "2", "--days", "1")
	require.Equal(t, exitOK, code, stderr)
	require.Equal(t, 9, strings.Count(stdout, "\n"))
	require.Regexp(t, `(?m)^cron every minute, keeps no token +2 +2 +21 +20 +hour +42 +40 +0 +0$`, stdout)
	require.Regexp(t, `(?m)^renews on a 401 +2 +0 +- +- +- +`, stdout)
}

func writePolicy(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// recordOf is a record that has these minutes, and fails at its end if err is not nil.
func recordOf(minutes []issuanceMinute, err error) issuanceMinutes {
	return func(_ context.Context, from int64) iter.Seq2[issuanceMinute, error] {
		return func(yield func(issuanceMinute, error) bool) {
			for _, m := range minutes {
				if m.Minute >= from && !yield(m, nil) {
					return
				}
			}
			if err != nil {
				yield(issuanceMinute{}, err)
			}
		}
	}
}

// rehearseOn runs the command on a record.
func rehearseOn(t testing.TB, record issuanceMinutes, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	opened := false
	p := process{stdout: &out, stderr: &errs}
	c := policyRehearseCommand(p, func(do func(*cobra.Command, issuanceMinutes) error) func(*cobra.Command, []string) error {
		return action(func(c *cobra.Command, _ []string) error {
			opened = true
			return do(c, record)
		})
	})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	if err == nil {
		require.True(t, opened)
		return exitOK, out.String(), ""
	}
	if _, tried := errors.AsType[*failure](err); tried {
		require.True(t, opened)
		return exitFail, out.String(), err.Error()
	}
	require.False(t, opened, "the record was not even opened")
	return exitUsage, out.String(), err.Error()
}

func TestRehearsal(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 1, 12, 0, 30, 0, time.UTC)
	from := since.Unix() / 60
	minute := func(client string, at int64, tokens, wasteful int) issuanceMinute {
		return issuanceMinute{ClientID: client, Name: "The " + client, Kind: "personal", Minute: from + at, Tokens: tokens, Wasteful: wasteful}
	}
	record := []issuanceMinute{
		minute("bulk", 5, 30, 29),                                                        // all in one minute
		minute("earlier", -60, 50, 50),                                                   // before, and out of the hour
		minute("early", -59, 19, 19), minute("early", 0, 2, 1), minute("early", 1, 2, 1), // the hour began before
		minute("good", 0, 100, 0), minute("good", 60, 100, 20), minute("good", 120, 100, 20),
		minute("near", 10, 16, 16),
		minute("slow", 0, 20, 20), minute("slow", 60, 20, 20), minute("slow", 120, 20, 20), minute("slow", 180, 20, 20), minute("slow", 240, 20, 20), minute("slow", 1439, 1, 1), minute("slow", 1500, 20, 20),
	}
	for n := range record {
		if record[n].ClientID == "good" {
			record[n].Kind = oauth.Commercial
		}
	}
	r, err := rehearse(t.Context(), policy.Default(), since, recordOf(record, nil))
	require.NoError(t, err)
	require.Equal(t, since.Truncate(time.Minute), r.Since)
	at := func(minutes int) time.Time { return r.Since.Add(time.Duration(minutes) * time.Minute) }
	require.Equal(t, []wouldBe{
		{ClientID: "bulk", Name: "The bulk", Kind: "personal", At: at(5), Rule: "hour", Count: 21, Limit: 20, Token: 22, Wasteful: 21},
		{ClientID: "slow", Name: "The slow", Kind: "personal", At: at(1439), Rule: "day", Count: 101, Limit: 100, Token: 101, Wasteful: 101},
	}, r.SwitchedOff, "early had 20 in each hour: the first of them was out of it when the last came")
	require.Equal(t, verdicts{Fine: 1, Warning: 2, SwitchOff: 2}, r.Worst)
	require.Equal(t, 5, r.Clients, "earlier was issued nothing since")
	require.Equal(t, 30+4+300+16+121, r.Tokens)
	require.Equal(t, 29+2+40+16+121, r.Wasteful)
}

func TestRehearsalPrintsWhoWouldBeOff(t *testing.T) {
	t.Parallel()
	now := time.Now().Unix() / 60
	record := recordOf([]issuanceMinute{
		{ClientID: someClient, Name: "Alarm script", Kind: "personal", Minute: now - 100, Tokens: 21, Wasteful: 20},
		{ClientID: someClient, Name: "Alarm script", Kind: "personal", Minute: now - 99, Tokens: 1, Wasteful: 1},
	}, nil)
	file := writePolicy(t, "# the default\n")
	code, stdout, stderr := rehearseOn(t, record, "--policy", file)
	require.Equal(t, exitOK, code, stderr)
	require.Regexp(t, `(?m)^`+someClient+` +Alarm script +\S+ \S+Z +hour +21 +20 +22 +21$`, stdout)
	require.Contains(t, stdout, ": 1 application, 22 tokens, 21 of them wasteful.\nApplications by the worst that befell them: 1 switched off, 0 warned, 0 noticed.\n")

	generous := writePolicy(t, "overrides:\n  "+someClient+": {hour: 21, day: 0}\n")
	code, stdout, _ = rehearseOn(t, record, "--policy", generous, "--since", "2h", "--json")
	require.Equal(t, exitOK, code)
	var r rehearsal
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	require.Empty(t, r.SwitchedOff)
	require.Contains(t, stdout, `"switched_off": []`)
	require.Equal(t, verdicts{Warning: 1}, r.Worst)
}

const someClient = "4f0c1b7a9d2e4c6f8a1b3c5d7e9f0a2b"

func TestRehearsalRefusesNonsense(t *testing.T) {
	t.Parallel()
	good := writePolicy(t, "")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no policy":        {nil, `required flag(s) "policy" not set`},
		"policy not there": {[]string{"--policy", "/nowhere"}, "--policy: read policy: open /nowhere"},
		"a folder":         {[]string{"--policy", t.TempDir()}, "--policy: read policy: "},
		"nonsense":         {[]string{"--policy", writePolicy(t, "kinds: {hobby: {hour: 1, day: 1}}")}, "kinds.hobby: is no kind of application"},
		"too large":        {[]string{"--policy", writePolicy(t, strings.Repeat("#", 2<<20))}, "larger than"},
		"no period":        {[]string{"--policy", good, "--since", "d"}, `--since: "d" is not a time`},
		"a date":           {[]string{"--policy", good, "--since", "2026-11-01"}, "--since: "},
		"too short":        {[]string{"--policy", good, "--since", "59m"}, "--since: "},
		"too long":         {[]string{"--policy", good, "--since", "31d"}, "--since: "},
		"beyond an int":    {[]string{"--policy", good, "--since", "99999999999999999999d"}, "--since: "},
		"negative":         {[]string{"--policy", good, "--since", "-30d"}, "--since: "},
	} {
		code, stdout, stderr := rehearseOn(t, recordOf(nil, nil), tc.args...)
		require.Equal(t, exitUsage, code, "%s: %s", name, stderr)
		require.Contains(t, stderr, tc.want, name)
		require.Empty(t, stdout, name)
	}

	now := time.Now().Unix() / 60
	for name, tc := range map[string]struct {
		minutes []issuanceMinute
		err     error
		want    string
	}{
		"record fails":      {nil, errors.New("the disk is gone"), "read what was issued: the disk is gone"},
		"more than issued":  {[]issuanceMinute{{ClientID: "a", Minute: now, Tokens: 1, Wasteful: 2}}, nil, "2 of 1 tokens"},
		"not in time order": {[]issuanceMinute{{ClientID: "a", Minute: now, Tokens: 1}, {ClientID: "a", Minute: now, Tokens: 1}}, nil, "order of time"},
		"not by client":     {[]issuanceMinute{{ClientID: "b", Minute: now, Tokens: 1}, {ClientID: "a", Minute: now, Tokens: 1}}, nil, "order of client_id"},
	} {
		code, stdout, stderr := rehearseOn(t, recordOf(tc.minutes, tc.err), "--policy", good)
		require.Equal(t, exitFail, code, name)
		require.Contains(t, stderr, tc.want, name)
		require.Empty(t, stdout, name)
	}
}

// The rehearsal names the same token as an application that really asks, whatever it
// was issued, one token a minute.
func TestRehearsalNamesTheTokenThatWouldBeRefused(t *testing.T) {
	t.Parallel()
	since := time.Unix(60*1_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		p := policy.Default()
		p.Kinds[oauth.Personal] = oauth.Limits{Hour: rapid.IntRange(0, 8).Draw(t, "hour"), Day: rapid.IntRange(8, 20).Draw(t, "day")}
		live := p.Try(oauth.Personal, "c")
		var record []issuanceMinute
		minute, refused := int64(1_000_000), 0
		for n := range rapid.IntRange(1, 80).Draw(t, "tokens") {
			wasteful := rapid.IntRange(0, 3).Draw(t, "wasteful") > 0
			if live.Ask(minute, wasteful).Verdict == oauth.VerdictSwitchOff && refused == 0 {
				refused = n + 1
			}
			m := issuanceMinute{ClientID: "c", Kind: oauth.Personal, Minute: minute, Tokens: 1}
			if wasteful {
				m.Wasteful = 1
			}
			record = append(record, m)
			minute += rapid.SampledFrom([]int64{1, 1, 2, 7, 59, 60, 700}).Draw(t, "minutes")
		}
		r, err := rehearse(context.Background(), p, since, recordOf(record, nil))
		require.NoError(t, err)
		named := 0
		if len(r.SwitchedOff) > 0 {
			named = r.SwitchedOff[0].Token
		}
		require.Equal(t, refused, named, fmt.Sprint(record))
	})
}
