package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/demo-app/demoapp"
)

// demoApp serves the demo application for a bridge until the test ends, and gives its
// address. args go to its registration.
func (e *estate) demoApp(t testing.TB, bridge *running, args ...string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := "http://" + listener.Addr().String()
	var a application
	e.run(t, &a, append([]string{"app", "request", "--owner", e.username, "--name", "Comfort", "--redirect-uri", address + demoapp.RedirectPath}, args...)...)
	e.run(t, nil, "app", "approve", a.ClientID)
	log := &transcript{}
	handler, err := demoapp.New(demoapp.Options{
		URL: address, Server: "http://" + bridge.HTTP, ClientID: a.ClientID, ClientSecret: a.ClientSecret,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- demoapp.Serve(ctx, listener, handler, 10*time.Second) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
		if t.Failed() {
			t.Logf("log of the demo application:\n%s", log)
		}
	})
	return address
}

// connect presses the Authorize button, signs in if need be, and gives consent.
func (v *visitor) connect(t testing.TB, e *estate, app string, narrowed ...url.Values) {
	t.Helper()
	v.open(t, app)
	v.submit(t, "/authorize", nil)
	if v.at.Path == "/signin" {
		v.signIn(t, e)
	}
	require.Contains(t, v.text(), "Comfort", "the page of consent names who asks")
	v.answer(t, "allow", narrowed...)
	require.Equal(t, app+"/", v.at.String(), "the code does not stay in the address: %s", v.text())
	require.Contains(t, v.text(), "Connected.")
}

// The whole journey of somebody who lets the demo application in, with the real pages.
func TestDemoApplicationsWholeJourney(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp", "shutter:Kitchen")
		bridge := e.serve(t)
		home := e.live(t, bridge, e.token(t, bridge))
		app := e.demoApp(t, bridge)

		v := newVisitor(t)
		v.open(t, app)
		require.Contains(t, v.text(), "Connect your home")
		v.connect(t, e, app)
		for _, says := range []string{"Home", "Alarm disarmed", "Lamp", "Switch on", "Kitchen"} {
			require.Contains(t, v.text(), says)
		}

		site := fmt.Sprintf("/sites/%d", e.home.SiteID)
		v.submit(t, site+"/alarm/armed", nil)
		require.Contains(t, v.text(), "The home is armed.")
		require.Contains(t, v.text(), "Alarm armed")
		v.submit(t, fmt.Sprintf("%s/socket/%d/on", site, e.box.Devices[0].DeviceID), nil)
		require.Contains(t, v.text(), "Lamp is switched on.")
		require.JSONEq(t, `{"on":true}`, string(home.States()[e.box.Devices[0].DeviceID]))
		v.submit(t, site+"/alarm/disarmed", nil)
		require.Contains(t, v.text(), "Alarm disarmed")
		require.Len(t, home.Executions(), 3, "each once")
		v.open(t, app)
		require.NotContains(t, v.text(), "The home is disarmed.", "it is said once")

		// What went wrong in the house is said as it is.
		require.NoError(t, stopHome(context.Background(), home))
		bridge.eventually(t, "aware that the home is away", func() bool {
			var units []unit
			e.run(t, &units, "unit", "list")
			return !units[0].Online
		})
		v.open(t, app)
		v.submit(t, site+"/alarm/armed", nil)
		require.Contains(t, v.text(), "That was not done. The unit is offline; nothing was sent.")

		// Signing out ends the access, for who has kept the cookie too.
		address, err := url.Parse(app)
		require.NoError(t, err)
		kept := v.http.Jar.Cookies(address)
		v.submit(t, "/sign-out", nil)
		require.Contains(t, v.text(), "Signed out. The access has ended.")
		require.NotNil(t, v.form("/authorize"))
		thief := newVisitor(t)
		thief.http.Jar.SetCookies(address, kept)
		thief.open(t, app)
		require.Contains(t, thief.text(), "The access has ended. Authorize again.")
	})
}

func TestDemoApplicationShowsWhatItWasAllowed(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp", "shutter:Kitchen")
	bridge := e.serve(t)
	e.live(t, bridge, e.token(t, bridge))
	app := e.demoApp(t, bridge)

	v := newVisitor(t)
	v.connect(t, e, app, url.Values{"scope": {"security:read", "socket:read"}})
	require.Contains(t, v.text(), "Alarm disarmed")
	require.Contains(t, v.text(), "Lamp")
	require.NotContains(t, v.text(), "Kitchen")
	for _, button := range []string{"Arm", "Disarm", "Switch on"} {
		require.NotContains(t, v.text(), button)
	}
	require.Contains(t, v.text(), "It cannot: arm the home disarm the home switch the sockets see the shutters open and close the shutters To choose anew")
	// A button that it does not show does nothing either.
	r, err := http.NewRequest(http.MethodPost, fmt.Sprintf("%s/sites/%d/alarm/disarmed", app, e.home.SiteID), http.NoBody)
	require.NoError(t, err)
	v.send(t, r)
	require.Contains(t, v.text(), "That was not done. The token is not good for security:disarm.")

	// A person who says no is taken at their word.
	other := newVisitor(t)
	other.open(t, app)
	other.submit(t, "/authorize", nil)
	other.signIn(t, e)
	other.answer(t, "deny")
	require.Equal(t, app+"/", other.at.String())
	require.Contains(t, other.text(), "You said no. Nothing was connected.")
	require.NotNil(t, other.form("/authorize"))
}

// The demo serves the application, and demo.env says how to reach it.
func TestDemoHasAnApplication(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	demo := launchDemo(t, dir)
	answers := shell(t, dir, `. ./demo.env; printf '%s\n' "$FOXBRIDGE_USERNAME" "$FOXBRIDGE_PASSWORD" "$FOXBRIDGE_DEMO_APP_URL" "$FOXBRIDGE_COMMERCIAL_REDIRECT_URI" "$FOXBRIDGE_SITE_ID"
		curl -sS -u "$FOXBRIDGE_COMMERCIAL_CLIENT_ID:$FOXBRIDGE_COMMERCIAL_CLIENT_SECRET" -d grant_type=client_credentials "$FOXBRIDGE_URL/oauth2/token"`)
	lines := strings.Split(answers, "\n")
	require.Equal(t, lines[2]+demoapp.RedirectPath, lines[3])
	require.Contains(t, lines[5], `"access_token":`, "its credentials are good")

	v := newVisitor(t)
	v.open(t, lines[2])
	v.submit(t, "/authorize", nil)
	v.submit(t, "/signin", url.Values{"username": {lines[0]}, "password": {lines[1]}})
	v.answer(t, "allow")
	require.Contains(t, v.text(), "Connected.")
	v.submit(t, "/sites/"+lines[4]+"/alarm/armed", nil)
	require.Contains(t, v.text(), "The home is armed.")
	require.Equal(t, exitOK, demo.stop(t))
	require.NotContains(t, demo.log.String(), "level=")
}
