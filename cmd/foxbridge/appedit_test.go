package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// What an operator does about an application beyond its approval.
func TestAnOperatorMarksAndDeletesApplications(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	do := func(out any, args ...string) (stderr string) {
		t.Helper()
		code, stdout, stderr := execute(t, "", append(args, "--data-dir", dir, "--json")...)
		if out == nil {
			require.Equal(t, exitFail, code, stdout)
			return stderr
		}
		require.Equal(t, exitOK, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), out))
		return stderr
	}
	var person user
	do(&person, "user", "add", "maker@example.com", "--name", "Maker")
	var a, own application
	do(&a, "app", "request", "--owner", "maker@example.com", "--name", "Weather", "--redirect-uri", "https://weather.example.com/back")
	do(&own, "app", "add", "--owner", "maker@example.com", "--name", "Script")
	do(&a, "app", "approve", a.ClientID)

	var marked struct{ Legacy bool }
	do(&marked, "app", "legacy", a.ClientID, "on")
	require.True(t, marked.Legacy)
	list := func() (all []application) {
		do(&all, "app", "list")
		return all
	}
	commercialOf := func() *commercial {
		for _, listed := range list() {
			if listed.ClientID == a.ClientID {
				return listed.Commercial
			}
		}
		return nil
	}
	require.True(t, commercialOf().Legacy)
	require.EqualValues(t, 1, commercialOf().Edition)
	require.Nil(t, commercialOf().Waiting)
	do(&marked, "app", "legacy", a.ClientID, "off")
	require.False(t, commercialOf().Legacy)
	require.Contains(t, do(nil, "app", "legacy", own.ClientID, "on"), "names no commercial application")
	require.Contains(t, do(nil, "app", "legacy", "unknown", "on"), "names no commercial application")
	code, _, stderr := execute(t, "", "app", "legacy", a.ClientID, "perhaps", "--data-dir", dir)
	require.Equal(t, exitUsage, code, stderr)

	require.Contains(t, do(nil, "app", "approve", a.ClientID, "--edition", "2"), "names no pending application")
	var deleted struct{ Status oauth.Status }
	do(&deleted, "app", "delete", a.ClientID)
	require.Equal(t, oauth.Deleted, deleted.Status)
	require.Contains(t, do(nil, "app", "delete", a.ClientID), "names no application")
	require.Contains(t, do(nil, "app", "secret", "add", a.ClientID), "names no application that has secrets")
	require.Contains(t, do(nil, "app", "approve", a.ClientID), "names no pending application")
	require.Len(t, list(), 1)
	code, stdout, stderr := execute(t, "", "app", "list", "--data-dir", dir)
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, stdout, "EDITION")
	require.NotContains(t, stdout, "Weather")
}
