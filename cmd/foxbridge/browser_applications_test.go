package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// drawing is a file with a picture, to be uploaded.
func drawing(t testing.TB) string {
	t.Helper()
	picture := image.NewNRGBA(image.Rect(0, 0, 240, 160))
	for x := range 240 {
		for y := range 160 {
			picture.Set(x, y, color.NRGBA{R: uint8(x), G: uint8(y), B: 160, A: 255})
		}
	}
	name := filepath.Join(t.TempDir(), "logo.png")
	file, err := os.Create(name)
	require.NoError(t, err)
	require.NoError(t, png.Encode(file, picture))
	require.NoError(t, file.Close())
	return name
}

// A script without a browser of its own is let in on the page for devices.
func TestBrowserDevice(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t)
	e.live(t, bridge, e.token(t, bridge))
	foxbridge := "http://" + bridge.HTTP
	type codes struct {
		Device   string `json:"device_code"`
		User     string `json:"user_code"`
		Page     string `json:"verification_uri"`
		Complete string `json:"verification_uri_complete"`
	}
	begin := func() (begun codes) {
		status, body := asClient(t, foxbridge+"/oauth2/device_authorization", e.app, url.Values{})
		require.Equal(t, http.StatusOK, status, body)
		require.NoError(t, json.Unmarshal([]byte(body), &begun))
		return begun
	}
	poll := func(begun codes) (int, string) {
		return asClient(t, foxbridge+"/oauth2/token", e.app, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {begun.Device},
		})
	}
	first := begin()
	require.Equal(t, foxbridge+"/device", first.Page)
	c.open(t, first.Page)
	c.signIn(t, e)
	require.Equal(t, first.Page, c.at(t))
	c.look(t, "device")
	c.enter(t, "user_code", "bbbb bbbb")
	c.press(t, "form[action='/device'] button")
	require.NotEmpty(t, c.read(t, "#errors"))
	c.look(t, "device-wrong")
	c.enter(t, "user_code", first.User)
	c.press(t, "form[action='/device'] button")
	require.Contains(t, c.text(t), "only if you have just started it yourself")
	c.look(t, "device-confirm")
	c.press(t, "button[value=allow]")
	require.Contains(t, c.text(t), "The device is connected")
	c.look(t, "device-connected")
	status, body := poll(first)
	require.Equal(t, http.StatusOK, status, body)
	var got struct {
		Access string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	status, body = authorized(t, bridge, http.MethodGet, e.path("/security"), got.Access)
	require.Equal(t, http.StatusOK, status, body)

	second := begin()
	c.open(t, second.Complete)
	c.press(t, "form[action='/device'] button")
	c.press(t, "button[value=deny]")
	require.Contains(t, c.text(t), "The device is not connected")
	c.look(t, "device-denied")
	status, body = poll(second)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "access_denied")
}

// An owner edits an application that is in use, gives it a logo, and deletes it.
func TestBrowserEditsAnApplication(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t)
	foxbridge := "http://" + bridge.HTTP
	a := e.commercialApp(t)
	page := foxbridge + "/dev/apps/" + a.ClientID
	c.open(t, page)
	c.signIn(t, e)
	c.press(t, "a[href='/dev/apps/"+a.ClientID+"/edit']")
	c.look(t, "edit")
	c.enter(t, "name", "Weather station")
	c.enter(t, "description", "Says when it rains, in all rooms.")
	c.tick(t, "legacy", "yes")
	c.press(t, "form[action$='/edit'] button")
	require.Equal(t, page, c.at(t))
	require.Contains(t, c.text(t), "Some of them wait for approval")

	c.open(t, page+"/edit")
	c.look(t, "edit-waits")
	c.do(t, chromedp.SetUploadFiles(chromedp.CSS("input[type=file]"), []string{drawing(t)}))
	c.press(t, "form[action$='/logo'] button")
	require.Equal(t, page, c.at(t))
	c.look(t, "application-waits")
	waiting := e.listed(t, "Weather").Commercial.Waiting
	require.Equal(t, "Weather station", waiting.Name)
	require.Equal(t, "Says when it rains, in all rooms.", waiting.Description)
	require.NotEmpty(t, waiting.Logo)
	e.run(t, nil, "user", "operator", e.username)
	c.open(t, foxbridge+"/operator/apps")
	require.Contains(t, c.text(t), "Weather station")
	require.Contains(t, c.text(t), "Says when it rains, in all rooms.")
	c.look(t, "operator-edits")
	c.press(t, "form[action='/operator/apps/approve'] button")
	c.open(t, page)
	require.Equal(t, "Weather station", c.read(t, "h1"))
	require.Contains(t, c.text(t), "may use the implicit grant")
	require.Equal(t, 128, ask(t, c, chromedp.Evaluate[int]("document.querySelector('img.logo').naturalWidth")), "it is drawn under the policy of the page")
	c.look(t, "application-legacy-logo")

	c.open(t, page+"/edit")
	c.enter(t, "name", " ")
	c.press(t, "form[action$='/edit'] button")
	require.NotEmpty(t, c.read(t, "#errors"))
	c.look(t, "edit-refused")

	// The person that is asked sees it, and the token comes in the fragment.
	c.open(t, foxbridge+"/oauth2/authorize?response_type=token&client_id="+a.ClientID+"&redirect_uri="+url.QueryEscape(redirectURI)+"&state=s")
	require.Contains(t, c.text(t), "Weather station")
	c.look(t, "consent-logo")

	c.open(t, page+"/delete")
	c.look(t, "delete")
	c.press(t, "form[action$='/delete'] button")
	require.Equal(t, foxbridge+"/dev/apps", c.at(t))
	require.Contains(t, c.text(t), "The application is deleted.")
	require.NotContains(t, c.text(t), "Weather")
	c.open(t, foxbridge+"/device")
	c.press(t, "footer form button:not([aria-current])")
	require.Equal(t, "fr", ask(t, c, chromedp.Evaluate[string]("document.documentElement.lang")))
	c.look(t, "device-fr")
}
