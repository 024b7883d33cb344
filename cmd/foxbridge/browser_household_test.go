package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// What people see of who belongs to their homes, and of what the scenarios there do.
func TestBrowserHousehold(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bob := &estate{record: e.record, username: "bob@example.com", password: "bob's own password"}
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(bob.password), 0o600))
	e.run(t, nil, "user", "add", bob.username, "--name", "Bob", "--password-file", file)
	bridge := e.serve(t)
	token := e.token(t, bridge)
	unit := e.live(t, bridge, token)
	scenario := func(label string, when ...string) {
		e.run(t, nil, append([]string{
			"site", "scenario", "add", "--owner", e.username, "--site", strconv.FormatInt(e.home.SiteID, 10), "--label", label,
			"--step", fmt.Sprintf("socket/on:%d", e.box.Devices[0].DeviceID),
		}, when...)...)
	}
	scenario("Good night")
	scenario("Morning light", "--type", "scheduled", "--at", "06:30")
	scenario("Light when somebody comes", "--type", "onEvent", "--event", "access")
	_, err := unit.Event(devices.EventAccess, e.box.Devices[0].DeviceID, "")
	require.NoError(t, err)
	bridge.eventually(t, "running what an event sets off", func() bool {
		_, history := authorized(t, bridge, http.MethodGet, e.path("/history"), token)
		return strings.Contains(history, "Scenario “Light when somebody comes” ran")
	})
	foxbridge := "http://" + bridge.HTTP
	home := fmt.Sprintf("/household/%d", e.home.SiteID)

	// The owner invites.
	c.open(t, foxbridge+"/household")
	c.signIn(t, e)
	require.Equal(t, foxbridge+"/household", c.at(t))
	c.look(t, "households")
	c.press(t, "main a[href='"+home+"']")
	require.Contains(t, c.text(t), "It ran.")
	require.Contains(t, c.text(t), "When the event happens")
	c.look(t, "household")
	c.press(t, "form[action='"+home+"/invite'] button")
	require.Equal(t, "Enter an e-mail address.", strings.TrimPrefix(c.read(t, "#errors li"), "Error: "))
	c.look(t, "household-invite-refused")
	c.enter(t, "email", bob.username)
	c.tick(t, "role", "guest")
	c.press(t, "form[action='"+home+"/invite'] button")
	code := c.read(t, "#invitation-code")
	c.lookAround(t, "household-invited", "#invitation-code")
	c.press(t, "main a[href='"+home+"']")
	require.Contains(t, c.text(t), bob.username)
	c.look(t, "household-with-invitation")
	c.press(t, "form[action='"+home+"/scenario'] button[value=disable]")
	require.Contains(t, c.text(t), "The scenario does not run by itself any more.")
	c.press(t, "header form[action='/signout'] button")

	// The guest accepts, looks and goes.
	c.open(t, foxbridge+"/household")
	c.signIn(t, bob)
	c.enter(t, "code", "0")
	c.press(t, "form[action='/household/invitation'] button")
	require.NotEmpty(t, c.read(t, "#errors"))
	c.look(t, "households-none-refused")
	c.enter(t, "code", code)
	c.press(t, "form[action='/household/invitation'] button")
	require.Contains(t, c.text(t), "Join “Home”?")
	c.look(t, "household-invitation")
	c.press(t, "button[value=accept]")
	require.Equal(t, foxbridge+home, c.at(t))
	c.look(t, "household-guest")
	c.press(t, "footer button[value=fr]")
	require.Contains(t, c.text(t), "Qui fait partie de ce logement")
	c.look(t, "household-guest-fr")
	c.press(t, "#members a")
	c.look(t, "household-leave-fr")
	c.press(t, "main form button")
	require.Contains(t, c.text(t), "Vous ne faites plus partie de ce logement.")
	require.Equal(t, "fr", ask(t, c, chromedp.Evaluate[string]("document.documentElement.lang")))
}
