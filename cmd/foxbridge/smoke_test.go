package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The whole way with the real program: an administrator sets a home up beside the
// running bridge, its unit connects, and a script arms the alarm.
func TestAdministratorSetsUpAHomeAndAScriptArmsIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("correct horse battery\n"), 0o600))

	var person user
	foxbridge(t, &person, "user", "add", "owner@example.com", "--name", "Owner", "--password-file", password, "--data-dir", dir)
	require.Empty(t, person.Password, "a given password is not printed")

	bridge := serveProcess(t, dir) // from here on both have the database open

	var registered application
	foxbridge(t, &registered, "app", "add", "--owner", "owner@example.com", "--name", "Script", "--data-dir", dir)
	var home site
	foxbridge(t, &home, "site", "add", "--owner", "owner@example.com", "--label", "Home", "--data-dir", dir)
	var box newUnit
	foxbridge(t, &box, "unit", "add", "--site", strconv.FormatInt(home.SiteID, 10), "--device", "shutter:Kitchen", "--data-dir", dir)
	require.Len(t, box.Devices, 1)

	file := filepath.Join(t.TempDir(), "unit.json")
	text, err := json.Marshal(box)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	simulated := launch(t, "simulate", "--mqtt-url", "tcp://"+bridge.MQTT, "--unit-file", file)
	bridge.eventually(t, "aware of the unit", func() bool {
		var units []unit
		foxbridge(t, &units, "unit", "list", "--data-dir", dir)
		return len(units) == 1 && units[0].Online
	})

	token := passwordGrant(t, bridge, registered, "owner@example.com", "correct horse battery")
	require.Eventually(t, func() bool { // until the unit has said how its alarm stands
		status, _ := authorized(t, bridge, http.MethodGet, securityOf(home), token)
		return status == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond)
	status, body := authorized(t, bridge, http.MethodPost, securityOf(home)+"/set/armed", token)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"payload":{"request":"OK"}`)
	status, body = authorized(t, bridge, http.MethodGet, securityOf(home), token)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"statusLabel":"armed"`)

	require.Equal(t, exitOK, simulated.stop(t))
	require.Equal(t, exitOK, bridge.stop(t))
	for _, secret := range []string{"correct horse battery", registered.ClientSecret, box.Password, token} {
		require.NotContains(t, bridge.log.String(), secret)
		require.NotContains(t, simulated.log.String(), secret)
	}
}

// timeout(1) signals a process and then its group: the second signal is the same wish.
func TestTwoSignalsAtOnceStopGracefully(t *testing.T) {
	t.Parallel()
	bridge := serveProcess(t, t.TempDir())
	require.NoError(t, bridge.process.Signal(syscall.SIGTERM))
	require.Equal(t, exitOK, bridge.stop(t))
	require.Contains(t, bridge.log.String(), "msg=stopped clean=true")
}

func securityOf(s site) string { return "/v2/site/" + strconv.FormatInt(s.SiteID, 10) + "/security" }

// passwordGrant gets an access token as a script does.
func passwordGrant(t testing.TB, bridge *running, a application, username, password string) string {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {username}, "password": {password}}
	r, err := http.NewRequest(http.MethodPost, "http://"+bridge.HTTP+"/oauth2/token", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(a.ClientID, a.ClientSecret)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
	var tokens struct {
		Access string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal(body, &tokens))
	return tokens.Access
}

// authorized makes a request with the token in its header.
func authorized(t testing.TB, bridge *running, method, path, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+bridge.HTTP+path, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

func TestDemoPlaysTheWholeStory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := command(t, nil, "demo", "--once", "--data-dir", dir, "--log-level", "debug")
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	text := string(out)
	require.NotContains(t, text, "DATA RACE")
	require.Contains(t, text, "The simulated home did all 5 commands, each exactly once.")
	for _, line := range []string{
		`$ curl -sS -u "$FOXBRIDGE_CLIENT_ID:$FOXBRIDGE_CLIENT_SECRET" -d "grant_type=password"`,
		`$ curl -sS -X POST -H "Authorization: Bearer $TOKEN" "$FOXBRIDGE_URL/v2/site/$FOXBRIDGE_SITE_ID/security/set/armed"`,
		`"access_token":"$TOKEN"`, `"refresh_token":"$REFRESH_TOKEN"`,
		`"statusLabel":"armed"`, `Alarm armed by Demo`,
	} {
		require.Contains(t, text, line)
	}
	env, err := os.ReadFile(filepath.Join(dir, "demo.env"))
	require.NoError(t, err)
	for _, name := range []string{"FOXBRIDGE_CLIENT_SECRET", "FOXBRIDGE_PASSWORD"} {
		require.NotContains(t, text, sourced(t, env, name), "%s is shown as its name only", name)
	}
}

// sourced gives the value of a variable in a demo.env.
func sourced(t testing.TB, env []byte, name string) string {
	t.Helper()
	for line := range strings.Lines(string(env)) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), "export "+name+"='"); is {
			return strings.TrimSuffix(value, "'")
		}
	}
	require.Fail(t, "not in demo.env", name)
	return ""
}

func TestDemoStaysUpAndCleansUp(t *testing.T) {
	t.Parallel()
	envFile := filepath.Join(t.TempDir(), "demo.env")
	d := launch(t, "demo", "--env-file", envFile)
	d.eventually(t, "greeting", func() bool { return strings.Contains(d.log.String(), "Ctrl-C ends it.") })
	info, err := os.Stat(envFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	env, err := os.ReadFile(envFile)
	require.NoError(t, err)

	d.HTTP = strings.TrimPrefix(sourced(t, env, "FOXBRIDGE_URL"), "http://")
	script := application{ClientID: sourced(t, env, "FOXBRIDGE_CLIENT_ID"), ClientSecret: sourced(t, env, "FOXBRIDGE_CLIENT_SECRET")}
	token := passwordGrant(t, d, script, sourced(t, env, "FOXBRIDGE_USERNAME"), sourced(t, env, "FOXBRIDGE_PASSWORD"))
	status, body := authorized(t, d, http.MethodGet, "/v2/site/"+sourced(t, env, "FOXBRIDGE_SITE_ID")+"/security", token)
	require.Equal(t, http.StatusOK, status, body)
	status, _ = get(t, sourced(t, env, "FOXBRIDGE_OPERATOR_URL")+"/readyz")
	require.Equal(t, http.StatusOK, status)

	require.Equal(t, exitOK, d.stop(t))
	require.NoFileExists(t, envFile, "its secrets are dead")
}

func TestSecondDemoOnOneDataDirectoryMakesAnotherPerson(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		out, err := command(t, nil, "demo", "--once", "--data-dir", dir).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	var people []user
	foxbridge(t, &people, "user", "list", "--data-dir", dir)
	require.Len(t, people, 2)
	require.Equal(t, "demo@example.com", people[0].Email)
	require.Regexp(t, `^demo-[a-z0-9]{8}@example\.com$`, people[1].Email)
}
