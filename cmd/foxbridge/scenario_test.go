package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// Scenarios that are made beside a running bridge run by themselves in a real home: one at
// its time, one because of an event, and one that plays presence. The history says that they did.
func TestScenariosRunByThemselves(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp", "socket:Hall", "socket:Porch", "contact:Door")
		lamp, hall, porch, door := e.box.Devices[0].DeviceID, e.box.Devices[1].DeviceID, e.box.Devices[2].DeviceID, e.box.Devices[3].DeviceID
		bridge := e.serve(t)
		token := e.token(t, bridge)
		home := e.live(t, bridge, token)
		add := func(label, kind string, socket int64, when ...string) (s scenario) {
			t.Helper()
			e.run(t, &s, append([]string{
				"site", "scenario", "add", "--owner", e.username, "--site", strconv.FormatInt(e.home.SiteID, 10),
				"--label", label, "--type", kind, "--step", fmt.Sprintf("socket/on:%d", socket),
			}, when...)...)
			return s
		}
		paris, err := time.LoadLocation("Europe/Paris")
		require.NoError(t, err)
		shown := func(at time.Time) string { return at.In(paris).Format(time.TimeOnly) }
		did := func(device int64, operation string) bool {
			for _, x := range home.Executions() {
				if x.Device == device && x.Operation == operation {
					return true
				}
			}
			return false
		}

		now := time.Now()
		due := now.Add(20 * time.Second).Truncate(time.Second) // time enough for the command beside the bridge
		timed := add("At eight", "scheduled", lamp, "--at", shown(due))
		require.NotNil(t, timed.NextAt)
		require.True(t, timed.NextAt.Equal(due), "%s is not %s", timed.NextAt, due)
		presence := add("As if at home", "simulation", porch, "--from", shown(now.Add(-time.Minute)), "--to", shown(now.Add(time.Minute)))
		add("Light when somebody comes", "onEvent", hall, "--event", "access", "--event-device", strconv.FormatInt(door, 10))

		_, err = home.Event(devices.EventAccess, door, "")
		require.NoError(t, err)
		bridge.eventually(t, "lighting the hall", func() bool { return did(hall, "on") })
		bridge.eventually(t, "lighting the lamp", func() bool { return did(lamp, "on") })
		bridge.eventually(t, "playing presence", func() bool { return did(porch, "on") })
		for _, x := range home.Executions() {
			if x.Device == lamp {
				require.False(t, x.At.Before(due), "not before its time")
			}
		}
		status, body := authorized(t, bridge, http.MethodPost, e.path(fmt.Sprintf("/scenario/%d/disable", presence.ScenarioID)), token)
		require.Equal(t, http.StatusOK, status, body)

		var history string
		bridge.eventually(t, "telling what ran", func() bool {
			_, history = authorized(t, bridge, http.MethodGet, e.path("/history?dateFrom="+now.Add(-time.Hour).UTC().Format("2006-01-02T15:04:05Z")), token)
			return strings.Contains(history, "Scenario “At eight” ran") && strings.Contains(history, "Scenario “Light when somebody comes” ran")
		})
		for _, line := range []string{
			"Lamp switched on by “At eight” (scenario)", "Hall switched on by “Light when somebody comes” (scenario)",
			"Porch switched on by “As if at home” (scenario)", "Scenario “As if at home” plays presence until ", "Scenario “As if at home” disabled by Alice (Script)",
		} {
			require.Contains(t, history, line)
		}
		_, exported := get(t, "http://"+bridge.Operator+"/metrics")
		require.Contains(t, exported, `foxbridge_scenarios_total{outcome="ran",type="scheduled"} 1`)
		require.Contains(t, exported, `foxbridge_scenarios_total{outcome="ran",type="onEvent"} 1`)

		// What is enabled, and when it is due, survives the process.
		require.Equal(t, exitOK, bridge.stop(t))
		var kept []scenario
		e.run(t, &kept, "site", "scenario", "list", "--owner", e.username, "--site", strconv.FormatInt(e.home.SiteID, 10))
		require.Len(t, kept, 3)
		require.Equal(t, []bool{true, false, true}, []bool{kept[0].Enabled, kept[1].Enabled, kept[2].Enabled})
		require.NotNil(t, kept[0].NextAt)
		require.True(t, kept[0].NextAt.After(due.Add(20*time.Hour)), "tomorrow again")
		require.Nil(t, kept[1].NextAt)
	})
}

func TestMistakesInARule(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	site, step := strconv.FormatInt(e.home.SiteID, 10), fmt.Sprintf("socket/on:%d", e.box.Devices[0].DeviceID)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--type", "scheduled"}, "must have at"},
		{[]string{"--type", "scheduled", "--at", "7:30"}, "--at: "},
		{[]string{"--type", "scheduled", "--at", "07:30", "--days", "monday"}, "--days: "},
		{[]string{"--type", "simulation", "--from", "18:00", "--to", "18:00"}, "less than a minute"},
		{[]string{"--type", "onEvent", "--event", "rain"}, "event is not one of"},
		{[]string{"--type", "onEvent", "--event", "access", "--event-device", "x"}, "--event-device: "},
		{[]string{"--type", "onEvent", "--event", "access", "--event-device", "4711"}, "names a device that the site does not have"},
		{[]string{"--at", "07:30"}, "does not"},
	} {
		args := append([]string{"site", "scenario", "add", "--owner", e.username, "--site", site, "--label", "x", "--step", step, "--data-dir", data}, c.args...)
		code, _, stderr := execute(t, "", args...)
		require.Equal(t, exitFail, code, "%v", c.args)
		require.Contains(t, stderr, c.says, "%v", c.args)
	}
	code, stdout, stderr := execute(t, "", "site", "scenario", "add", "--owner", e.username, "--site", site, "--label", "x", "--step", step, "--data-dir", data,
		"--type", "scheduled", "--at", "07:30", "--days", "mon,sun")
	require.Equal(t, exitOK, code, stderr)
	require.Regexp(t, `next_at +20\d\d-\d\d-\d\dT0[56]:30:00Z`, stdout)
}

func TestAScenarioIsSwitchedByCommand(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	home := []string{"--owner", e.username, "--site", strconv.FormatInt(e.home.SiteID, 10)}
	add := func(label string, when ...string) string {
		var s scenario
		e.run(t, &s, slices.Concat([]string{"site", "scenario", "add", "--label", label, "--step", fmt.Sprintf("socket/on:%d", e.box.Devices[0].DeviceID)}, home, when)...)
		return strconv.FormatInt(s.ScenarioID, 10)
	}
	timed, played := add("Morning", "--type", "scheduled", "--at", "07:30"), add("Now")
	for operation, enabled := range map[string]bool{"disable": false, "enable": true} {
		var switched struct{ Enabled bool }
		e.run(t, &switched, slices.Concat([]string{"site", "scenario", operation, "--scenario", timed}, home)...)
		require.Equal(t, enabled, switched.Enabled)
		var listed []scenario
		e.run(t, &listed, slices.Concat([]string{"site", "scenario", "list"}, home)...)
		require.Equal(t, enabled, listed[0].Enabled)
		require.Equal(t, enabled, listed[0].NextAt != nil, "it is due only while it is enabled")
		for id, says := range map[string]string{played: "on demand", "4711": "Unknown scenario"} {
			code, _, stderr := execute(t, "", slices.Concat([]string{"site", "scenario", operation, "--scenario", id, "--data-dir", data}, home)...)
			require.Equal(t, exitFail, code)
			require.Contains(t, stderr, says)
		}
	}
}
