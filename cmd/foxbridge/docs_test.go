package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
)

// blocks gives the code blocks of a page that are marked with this word. "sh" marks
// what ends by itself, "console" what is started and stays.
func blocks(t testing.TB, page, mark string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	require.NoError(t, err)
	var out []string
	for _, found := range regexp.MustCompile("(?ms)^```"+mark+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		out = append(out, found[1])
	}
	return out
}

// shell runs a block of a page in a folder, with the program in its PATH.
func shell(t testing.TB, dir, script string, environ ...string) string {
	t.Helper()
	programs := t.TempDir()
	require.NoError(t, os.Symlink(binary(t), filepath.Join(programs, "foxbridge")))
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Dir = dir
	c.Env = append([]string{"HOME=" + dir, "PATH=" + programs + ":" + os.Getenv("PATH"), endsAtOnce}, newProxy(t).environ()...)
	c.Env = append(c.Env, environ...)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	return string(out)
}

// What the README tells a newcomer works as it is printed there.
func TestReadmeTellsTheTruth(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	require.NoError(t, err)
	for _, block := range blocks(t, "README.md", "console") {
		for command := range strings.Lines(block) {
			target, is := strings.CutPrefix(strings.TrimSpace(command), "make ")
			require.True(t, is, command)
			require.Contains(t, string(makefile), "\n"+target+":", command)
		}
	}

	dir := t.TempDir()
	demo := launchDemo(t, dir)
	answers := shell(t, dir, strings.Join(blocks(t, "README.md", "sh"), "\n"))
	require.Regexp(t, `"payload":\{"request":"OK"\}`, answers)
	require.Contains(t, answers, `"payload":{"status":4,"statusLabel":"armed","alarm":"quiet"`)
	require.Contains(t, answers, `Alarm armed by Demo`)
	require.Equal(t, exitOK, demo.stop(t))
}

// launchDemo starts the demo in a folder and returns when it has written demo.env.
func launchDemo(t testing.TB, dir string) *running {
	t.Helper()
	demo := launchIn(t, dir, "demo")
	demo.eventually(t, "showing what to try", func() bool {
		_, err := os.Stat(filepath.Join(dir, "demo.env"))
		return err == nil
	})
	return demo
}

// The examples of the API's page work as they are printed there, and so do those of the
// page for the owner of a home.
func TestAPIPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	demo := launchDemo(t, dir)
	answers := shell(t, dir, strings.Join(blocks(t, "docs/api.md", "sh"), "\n"))
	require.NotContains(t, answers, `"error"`)
	require.Contains(t, answers, `"items":[{"siteId":`)
	require.Contains(t, answers, `HTTP/1.1 200 OK`)
	require.Contains(t, answers, `HTTP/1.1 202 Accepted`)

	answers = shell(t, dir, strings.Join(blocks(t, "docs/household.md", "sh"), "\n"))
	require.NotContains(t, answers, `"error"`)
	require.Contains(t, answers, `"items":[{"siteId":`)
	require.Regexp(t, `"device_id":\d+,"label":"Living room socket"`, answers)
	require.Equal(t, 2, strings.Count(answers, `"payload":{"request":"OK"}`), "the group, and the scenario that is played")
	for _, line := range []string{
		`role +guest`, `bob@example\.com +Bob +guest`, `socket +Downstairs +\[2 3\]`, `enabled +false`, `scheduled +true +20\S+ +Morning`,
	} {
		require.Regexp(t, line, answers)
	}
	answers = shell(t, dir, strings.Join(blocks(t, "docs/outages.md", "sh"), "\n"))
	require.Regexp(t, `"items":\[\{"siteId":`, answers)
	require.Contains(t, answers, `{"ready":true,"failing":{}}`)
	require.Contains(t, answers, "\n200\nfoxbridge_store_unanswered_total 0\n")
	require.NotContains(t, shell(t, dir, "foxbridge site members --owner alice@example.com --site 1 --data-dir ./data"), "bob")
	require.Equal(t, exitOK, demo.stop(t))
}

// So do those of the page for authors of commercial applications.
func TestCommercialPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	demo := launchDemo(t, dir)
	answers := shell(t, dir, strings.Join(blocks(t, "docs/commercial.md", "sh"), "\n"))
	require.NotContains(t, answers, `"error"`)
	require.Contains(t, answers, `"issuer":"http://127.0.0.1:`)
	require.Contains(t, answers, `"items":[]`, "its own token reaches nobody's home")
	require.Regexp(t, `(?s)"active":true.*"active":false`, answers, "revoked in between")
	require.Equal(t, exitOK, demo.stop(t))
}

// The commands of the page about switching off work as they are printed there.
func TestSwitchingOffPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	answers := shell(t, t.TempDir(), strings.Join(blocks(t, "docs/switching-off.md", "sh"), "\n"))
	require.Regexp(t, `(?s)of its own +none: .*\(20 and 100.*of its own +40 in an hour, 200 in a day.*of its own +none: `, answers)
	require.Regexp(t, `switch_off +operator +It floods the gate with commands\.`, answers)
	require.Regexp(t, `(?s)disabled +true.*disabled +false`, answers)
}

// So do the commands of the page about accounts.
func TestAccountPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shell(t, dir, "foxbridge user add alice@example.com --name Alice --data-dir ./data")
	out := shell(t, dir, strings.Join(blocks(t, "docs/account.md", "sh"), "\n"))
	require.Contains(t, out, "The password cannot be shown again.")
	require.Regexp(t, `(?s)operator +true.*operator +false`, out)
}

// The scripts of the page for their authors get through what years bring: an access
// token that has ended, and a refresh token that has.
func TestScriptPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	for language, interpreter := range map[string]string{"sh": "", "python": ". ./demo.env; python3 script.py"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			demo := launchDemo(t, dir)
			script := strings.Join(blocks(t, "docs/script.md", language), "\n")
			require.NoError(t, os.WriteFile(filepath.Join(dir, "script.py"), []byte(script), 0o600))
			if interpreter != "" {
				script = interpreter
			}
			kept := filepath.Join(dir, "token.json")
			tokens := func() (access, refresh string) {
				text, err := os.ReadFile(kept)
				require.NoError(t, err)
				var pair linked
				require.NoError(t, json.Unmarshal(text, &pair))
				return pair.AccessToken, pair.RefreshToken
			}
			spoil := func(dead ...string) {
				text, err := os.ReadFile(kept)
				require.NoError(t, err)
				for _, token := range dead {
					text = bytes.ReplaceAll(text, []byte(token), []byte(strings.Repeat("0", len(token))))
				}
				require.NoError(t, os.WriteFile(kept, text, 0o600))
			}
			run := func() {
				t.Helper()
				answers := shell(t, dir, script)
				require.Contains(t, answers, "armed")
				require.Regexp(t, `["']request["']: ?["']OK["']`, answers)
				require.NotContains(t, answers, "invalid_token")
			}

			run()
			info, err := os.Stat(kept)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			access, refresh := tokens()
			run()
			again, _ := tokens()
			require.Equal(t, access, again, "a token is kept")

			spoil(access)
			run()
			renewed, next := tokens()
			require.NotEqual(t, access, renewed)
			require.NotEqual(t, refresh, next)

			spoil(renewed, next)
			run()
			anew, _ := tokens()
			require.NotEqual(t, renewed, anew)

			refused := filepath.Join(dir, "token.refused")
			env, err := os.ReadFile(filepath.Join(dir, "demo.env"))
			require.NoError(t, err)
			wrong := regexp.MustCompile(`(FOXBRIDGE_PASSWORD)='.*'`).ReplaceAll(env, []byte(`$1='wrong'`))
			require.NotEqual(t, env, wrong)
			require.NoError(t, os.Remove(kept))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "demo.env"), wrong, 0o600))
			fails := func() string {
				t.Helper()
				return shell(t, dir, "! bash -c "+quoted(script))
			}
			require.Contains(t, fails(), "The username and password combination is invalid")
			require.FileExists(t, refused)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "demo.env"), env, 0o600))
			require.Contains(t, fails(), "Remove token.refused", "the right password is not sent either")
			require.NoError(t, os.Remove(refused))
			later := fmt.Sprint(time.Now().Add(time.Hour).Unix())
			require.NoError(t, os.WriteFile(filepath.Join(dir, "token.wait"), []byte(later), 0o600))
			require.Contains(t, fails(), "The server asked to wait")
			require.NoError(t, os.Remove(filepath.Join(dir, "token.wait")))
			run()

			for range oauth.DefaultFailureLimit {
				require.NoError(t, os.RemoveAll(kept))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "demo.env"), wrong, 0o600))
				fails()
				_ = os.Remove(refused)
			}
			fails()
			require.NoFileExists(t, refused, "it is no answer about the password")
			require.FileExists(t, filepath.Join(dir, "token.wait"))
			require.Equal(t, exitOK, demo.stop(t))
		})
	}
}

// quoted is a text as one word of a shell.
func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// A script without a password gets its tokens as its page shows, once its owner has let
// it in.
func TestDeviceGrantPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	demo := launchDemo(t, dir)
	examples := blocks(t, "docs/device-grant.md", "sh")
	require.Len(t, examples, 2)
	told := regexp.MustCompile(`Open (\S+/device) and enter (\S+)`).FindStringSubmatch(shell(t, dir, examples[0]))
	require.Len(t, told, 3)
	env := strings.Fields(shell(t, dir, `. ./demo.env; echo "$FOXBRIDGE_USERNAME $FOXBRIDGE_PASSWORD"`))
	v := newVisitor(t)
	v.open(t, told[1])
	v.submit(t, "/signin", url.Values{"username": {env[0]}, "password": {env[1]}})
	v.submit(t, "/device", url.Values{"user_code": {told[2]}})
	v.submit(t, "/device/answer", url.Values{"answer": {"allow"}})
	require.Contains(t, v.text(), "The device is connected")
	require.Contains(t, shell(t, dir, examples[1]), `"items":[{"siteId":`)
	require.Equal(t, exitOK, demo.stop(t))
}

// The applications of the page about account linking can be registered as it says, and
// the tests that it names are there.
func TestAccountLinkingPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shell(t, dir, "foxbridge user add alice@example.com --name Alice --data-dir ./data >/dev/null")
	shell(t, dir, strings.Join(blocks(t, "docs/account-linking.md", "sh"), "\n"))
	listed := shell(t, dir, "foxbridge app list --data-dir ./data")
	require.Regexp(t, `(?m)Foxbridge for Alexa +commercial +active`, listed)
	require.Regexp(t, `(?m)Foxbridge for Google Home +commercial +active`, listed)

	page, err := os.ReadFile("../../docs/account-linking.md")
	require.NoError(t, err)
	there := testsOfRepository(t)
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(named), 20)
	for _, test := range named {
		require.True(t, there[test[1]], "there is no %s", test[1])
	}
	for _, row := range regexp.MustCompile(`(?m)^\| .* \| held by \|\n\|[-|]+\|\n((?:\|.*\n)+)`).FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(row[1]) {
			require.Contains(t, line, "`Test", "no test holds this")
		}
	}
}

// testsOfRepository are the names of all test functions.
func testsOfRepository(t testing.TB) map[string]bool {
	t.Helper()
	names, function := make(map[string]bool), regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	require.NoError(t, filepath.WalkDir(filepath.Join("..", ".."), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range function.FindAllStringSubmatch(string(text), -1) {
			names[found[1]] = true
		}
		return err
	}))
	return names
}

// A unit can be played by hand as the page of the protocol shows.
func TestUnitProtocolPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t)
	host, port, _ := strings.Cut(bridge.MQTT, ":")
	environ := []string{"HOST=" + host, "PORT=" + port, "UNIT=" + e.box.UnitID, "SECRET=" + e.box.Password}
	for _, block := range blocks(t, "docs/unit-protocol.md", "sh") {
		shell(t, t.TempDir(), block, environ...)
	}
	token := e.token(t, bridge)
	bridge.eventually(t, "told how the alarm stands", func() bool {
		_, body := authorized(t, bridge, "GET", e.path("/security"), token)
		return strings.Contains(body, `"statusLabel":"disarmed"`)
	})
	for _, block := range blocks(t, "docs/unit-protocol.md", "console") {
		listening := strings.Replace(block, "mosquitto_sub", "mosquitto_sub -W 1", 1) + "\n[ $? -eq 27 ]" // it waited in vain
		shell(t, t.TempDir(), "set +e\n"+listening, environ...)
	}
}

// The commands of the operator's page work as they are printed there, but for the
// addresses, which are the test's.
func TestRunningPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bridge := launchIn(t, dir, "serve", "--data-dir", "./data", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--operator", "127.0.0.1:0")
	address := bridge.address(t, "mqtt")
	for _, block := range blocks(t, "docs/running.md", "sh") {
		shell(t, dir, block)
	}
	dsn := migrationstest.PostgresDSN(t)
	ours := strings.NewReplacer("127.0.0.1:1883", address, "postgres://foxbridge@127.0.0.1/foxbridge", "'"+dsn+"'")
	const stays = "FOXBRIDGE_HTTP=127.0.0.1:0 FOXBRIDGE_MQTT=127.0.0.1:0 FOXBRIDGE_OPERATOR=127.0.0.1:0 timeout --preserve-status -s TERM 5 foxbridge"
	for _, block := range blocks(t, "docs/running.md", "console") {
		script := ours.Replace(block)
		for _, command := range []string{"serve", "simulate"} {
			script = regexp.MustCompile(`(?m)^foxbridge `+command).ReplaceAllString(script, stays+" "+command)
		}
		at := dir
		if strings.HasPrefix(block, "foxbridge serve") {
			at = t.TempDir() // the test's own bridge serves the other
		}
		out := shell(t, at, script)
		require.Regexp(t, `listening|is connected`, out, block)
	}
	units := shell(t, dir, "foxbridge unit list --data-dir ./data")
	require.Contains(t, units, "foxbridge-simulator", "the page's unit has been there")
	require.Equal(t, exitOK, bridge.stop(t))
}

// The scenarios of their page can be made as it is printed there.
func TestScenariosPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	printed := shell(t, dir, strings.Join(blocks(t, "docs/scenarios.md", "sh"), "\n"))
	for _, line := range []string{
		`onDemand +true +- +Leaving`, `scheduled +true +20\d\d-\S+T0[56]:30:00Z +Morning`, `onEvent +true +- +Welcome`, `simulation +false +- +As if at home`,
	} {
		require.Regexp(t, line, printed)
	}
}

// The simulation ends as the page of the issuance policy says, its policy file is one,
// and the rehearsal runs on a record.
func TestIssuancePageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	commands := blocks(t, "docs/issuance.md", "sh")
	require.Len(t, commands, 2)
	require.Equal(t, strings.Join(blocks(t, "docs/issuance.md", "text"), ""), shell(t, dir, commands[0]))
	shell(t, dir, "foxbridge user add alice@example.com --name Alice --data-dir ./data")
	require.Contains(t, shell(t, dir, commands[1]), "0 applications, 0 tokens")

	_, err := policy.Parse([]byte(strings.Join(blocks(t, "docs/issuance.md", "yaml"), "")))
	require.NoError(t, err)
}

// No page has a command that no test runs, a link to nothing, or a metric that there
// is not.
func TestEveryPageIsRead(t *testing.T) {
	t.Parallel()
	run := map[string]bool{
		"docs/running.md": true, "docs/api.md": true, "docs/outages.md": true, "docs/commercial.md": true, "docs/issuance.md": true, "docs/switching-off.md": true, "docs/unit-protocol.md": true,
		"docs/script.md": true, "docs/scenarios.md": true, "docs/account.md": true, "docs/account-linking.md": true, "docs/device-grant.md": true,
		"docs/moving-from-myfox.md": true, "docs/python-and-curl.md": true, "docs/home-assistant.md": true,
		"docs/household.md": true, "docs/homebridge.md": true, "docs/jeedom.md": true, "docs/node-red.md": true, "docs/build-a-unit.md": true,
	}
	data := t.TempDir()
	bridge := serveProcess(t, data)
	_, exported := get(t, "http://"+bridge.Operator+"/metrics")
	exported += "foxbridge_commands_total foxbridge_command_acknowledgement_seconds foxbridge_oauth_tokens_issued_total foxbridge_oauth_refusals_total" +
		" foxbridge_issuance_verdicts_total foxbridge_applications_switched_total foxbridge_alerts_received_total foxbridge_scenarios_total foxbridge_notices_total foxbridge_oauth_wasteful_tokens_total"
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	for _, page := range pages {
		name := "docs/" + filepath.Base(page)
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		if !run[name] {
			require.Empty(t, blocks(t, name, "(?:sh|console|python)"), "%s has commands that no test runs", name)
		}
		for _, metric := range regexp.MustCompile("foxbridge_[a-z_]+").FindAllString(string(text), -1) {
			require.Contains(t, exported, metric, name)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join("../../docs", link[1]))
			require.NoError(t, err, fmt.Sprintf("%s links to %s", name, link[1]))
		}
	}
}
