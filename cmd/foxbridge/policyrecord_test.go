package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A policy that was not in force is tried on what a bridge really issued: it names the
// token on which the application would have been switched off.
func TestRehearsalOnARealRecord(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data)
		var quiet application
		e.run(t, &quiet, "app", "add", "--owner", e.username, "--name", "Quiet script")
		bridge := e.serve(t, "--issuance-hour", "6")
		passwordGrant(t, bridge, quiet, e.username, e.password)
		for range 7 {
			e.token(t, bridge)
		}
		status, _ := e.ask(t, bridge) // switched off, on a token that is not issued
		require.Equal(t, 400, status)

		rehearsed := func(text string) (r rehearsal) {
			t.Helper()
			e.run(t, &r, "policy", "rehearse", "--policy", writePolicy(t, text), "--since", "30d")
			require.Equal(t, []int{2, 8, 6}, []int{r.Clients, r.Tokens, r.Wasteful})
			return r
		}
		strict := rehearsed("kinds:\n  personal: {hour: 4, day: 100}\n")
		require.Len(t, strict.SwitchedOff, 1)
		off := strict.SwitchedOff[0]
		require.Equal(t, wouldBe{
			ClientID: e.app.ClientID, Name: "Script", Kind: "personal", At: off.At,
			Rule: "hour", Count: 5, Limit: 4, Token: 6, Wasteful: 5,
		}, off)
		require.Equal(t, verdicts{Fine: 1, SwitchOff: 1}, strict.Worst)
		require.Empty(t, rehearsed("overrides:\n  "+e.app.ClientID+": {hour: 6, day: 0}\n").SwitchedOff)
	})
}

// What is no record is not made one.
func TestRehearsalMakesNoDatabase(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	code, _, stderr := execute(t, "", "policy", "rehearse", "--policy", writePolicy(t, ""), "--data-dir", data)
	require.Equal(t, exitFail, code)
	require.Contains(t, stderr, "there is no database at "+data)
	require.NoFileExists(t, data+"/foxbridge.db")
}
