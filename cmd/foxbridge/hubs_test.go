package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// household is a running demo, for the pages on how hubs use the API. They have numbers
// of their own for its site, socket and shutter.
type household struct {
	dir     string // where foxbridge.sh is
	env     map[string]string
	numbers *strings.Replacer
}

// newHousehold starts a demo, and puts what every hub uses beside its demo.env.
func newHousehold(t testing.TB) household {
	t.Helper()
	h := household{dir: t.TempDir(), env: map[string]string{}}
	launchDemo(t, h.dir)
	shell(t, h.dir, strings.Join(blocks(t, "docs/python-and-curl.md", "sh"), "\n"))
	for line := range strings.Lines(shell(t, h.dir, ". ./demo.env; env")) {
		if name, value, is := strings.Cut(strings.TrimSpace(line), "="); is && strings.HasPrefix(name, "FOXBRIDGE_") {
			h.env[name] = value
		}
	}
	site := "site/" + h.env["FOXBRIDGE_SITE_ID"] + "/"
	device := func(kind string) string {
		var list struct {
			Payload struct {
				Items []struct {
					DeviceID json.Number `json:"deviceId"`
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(h.ask(t, "GET", "/v2/"+site+"device/"+kind+"/items")), &list))
		require.NotEmpty(t, list.Payload.Items)
		return "device/" + list.Payload.Items[0].DeviceID.String() + "/"
	}
	h.numbers = strings.NewReplacer("site/1/", site, "device/12/", device("socket"), "device/13/", device("shutter"))
	return h
}

// ask calls the API with the page's own file.
func (h household) ask(t testing.TB, args ...string) string {
	t.Helper()
	return strings.TrimSpace(shell(t, h.dir, "./foxbridge.sh "+strings.Join(args, " ")))
}

// level is how the alarm of the home stands.
func (h household) level(t testing.TB) string {
	t.Helper()
	return h.ask(t, "GET", "/v2/site/"+h.env["FOXBRIDGE_SITE_ID"]+"/security", "statusLabel")
}

// The examples for people with scripts of their own work as they are printed.
func TestPythonAndCurlPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	demo := launchDemo(t, dir)
	answers := shell(t, dir, strings.Join(blocks(t, "docs/python-and-curl.md", "sh"), "\n"))
	require.NotContains(t, answers, `"error"`)
	require.Contains(t, answers, `"statusLabel":"partial"`)
	require.True(t, strings.HasSuffix(answers, "\ndisarmed\n"), answers)

	script := filepath.Join(dir, "script.py")
	require.NoError(t, os.WriteFile(script, []byte(strings.Join(blocks(t, "docs/python-and-curl.md", "python"), "\n")), 0o600))
	require.Equal(t, "Home OK OK\narmed\n", shell(t, dir, ". ./demo.env; python3 script.py"))
	require.Equal(t, exitOK, demo.stop(t))
}

// The file that hubs call keeps its token for as long as it is good, gets over the end
// of each, and fails when nothing was done.
func TestHubsKeepTheirToken(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	kept := filepath.Join(h.dir, "token.json")
	pair := func() (text []byte, tokens linked) {
		text, err := os.ReadFile(kept)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &tokens))
		return text, tokens
	}
	spoil := func(dead ...string) {
		text, _ := pair()
		spoilt := string(text)
		for _, token := range dead {
			spoilt = strings.ReplaceAll(spoilt, token, strings.Repeat("0", len(token)))
		}
		require.NoError(t, os.WriteFile(kept, []byte(spoilt), 0o600))
	}
	info, err := os.Stat(kept)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	_, first := pair()
	require.Equal(t, "disarmed", h.level(t))
	_, again := pair()
	require.Equal(t, first, again)

	spoil(first.AccessToken)
	require.Equal(t, "disarmed", h.level(t))
	_, renewed := pair()
	require.NotEqual(t, first.RefreshToken, renewed.RefreshToken)

	spoil(renewed.AccessToken, renewed.RefreshToken)
	require.Equal(t, "disarmed", h.level(t))
	_, anew := pair()
	require.NotEqual(t, renewed, anew)

	unknown := "./foxbridge.sh GET /v2/site/999/security statusLabel"
	require.Contains(t, shell(t, h.dir, "! "+unknown), `"error":"not_found"`)
	require.NoError(t, os.Remove(kept))
	shell(t, h.dir, `sed -i "s/^\(export \)\{0,1\}FOXBRIDGE_PASSWORD=.*/\1FOXBRIDGE_PASSWORD=wrong/" foxbridge.env`)
	require.Contains(t, shell(t, h.dir, "! "+unknown), `"error":"invalid_grant"`)
	require.NoFileExists(t, kept)
	require.FileExists(t, filepath.Join(h.dir, "token.refused"))
	shell(t, h.dir, "cp demo.env foxbridge.env")
	require.Contains(t, shell(t, h.dir, "! "+unknown), "Remove token.refused", "no password is sent again")
	require.NoError(t, os.Remove(filepath.Join(h.dir, "token.refused")))
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, "token.wait"), []byte("99999999999"), 0o600))
	require.Contains(t, shell(t, h.dir, "! "+unknown), "The server asked to wait")
	require.NoError(t, os.Remove(filepath.Join(h.dir, "token.wait")))
	require.Equal(t, "disarmed", h.level(t))
	shell(t, h.dir, `sed -i "s/^\(export \)\{0,1\}FOXBRIDGE_PASSWORD=.*/\1FOXBRIDGE_PASSWORD=wrong/" foxbridge.env`)
	_, last := pair()
	spoil(last.AccessToken, last.RefreshToken)
	require.Contains(t, shell(t, h.dir, "! "+unknown), "The username and password combination is invalid", "the cause, not the dead token")
	shell(t, h.dir, `rm -f token.refused token.json; sed -i "s|^\(export \)\{0,1\}FOXBRIDGE_URL=.*|\1FOXBRIDGE_URL=http://127.0.0.1:1|" foxbridge.env`)
	require.NotContains(t, shell(t, h.dir, "! "+unknown), "No such file")
	left, err := filepath.Glob(filepath.Join(h.dir, "*.[0-9]*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// homeAssistant is the part of Home Assistant's configuration that the page has.
type homeAssistant struct {
	CommandLine []map[string]map[string]any `yaml:"command_line"`
	Shell       map[string]string           `yaml:"shell_command"`
	Scripts     map[string]struct {
		Sequence []map[string]any
	} `yaml:"script"`
	Template []struct {
		Alarm []map[string]any `yaml:"alarm_control_panel"`
	}
}

// Each command of the page's configuration does in the home what it stands for.
func TestHomeAssistantPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	page := blocks(t, "docs/home-assistant.md", "yaml")
	require.Len(t, page, 1)
	var ha homeAssistant
	require.NoError(t, yaml.Unmarshal([]byte(page[0]), &ha))
	run := func(command string) string {
		t.Helper()
		command, is := strings.CutPrefix(command, "/config/foxbridge/")
		require.True(t, is, command)
		return shell(t, h.dir, "./"+h.numbers.Replace(command))
	}

	entities := map[string]map[string]any{}
	for _, item := range ha.CommandLine {
		for kind, entity := range item {
			entities[kind] = entity
			for key, command := range entity {
				if strings.HasPrefix(key, "command_") && key != "command_timeout" {
					require.Contains(t, run(command.(string)), `"request":"OK"`, key)
				}
			}
		}
	}
	require.Equal(t, "{{ value_json.payload.statusLabel }}", entities["sensor"]["value_template"])
	reads := func() string {
		var value struct {
			Payload struct {
				StatusLabel string `json:"statusLabel"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(run(entities["sensor"]["command"].(string))), &value))
		return value.Payload.StatusLabel
	}

	panel := ha.Template[0].Alarm[0]
	const script = "set_home_alarm"
	called := ha.Scripts[script].Sequence[0]["action"].(string)
	for _, action := range []string{"arm_away", "arm_home", "disarm"} {
		step := panel[action].([]any)[0].(map[string]any)
		require.Equal(t, "script."+script, step["action"])
		level := step["data"].(map[string]any)["level"].(string)
		command := strings.ReplaceAll(ha.Shell[strings.TrimPrefix(called, "shell_command.")], "{{ level }}", level)
		require.Contains(t, run(command), `"request":"OK"`)
		require.Equal(t, level, h.level(t))
		require.Equal(t, level, reads())
		state := map[string]string{"arm_away": "armed_away", "arm_home": "armed_home", "disarm": "disarmed"}[action]
		require.Contains(t, panel["state"], fmt.Sprintf("'%s': '%s'", level, state))
	}

	dir := t.TempDir()
	shell(t, dir, "foxbridge user add alice@example.com --name Alice --data-dir ./data >/dev/null")
	shell(t, dir, strings.Join(blocks(t, "docs/home-assistant.md", "sh"), "\n"))
	require.Regexp(t, `Home Assistant +commercial +active`, shell(t, dir, "foxbridge app list --data-dir ./data"))
}

// The accessories of the page do what HomeKit asks of them, called as Cmd4 calls them,
// and its change of the Myfox plugin changes what it says.
func TestHomebridgePageTellsTheTruth(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	scripts := blocks(t, "docs/homebridge.md", "sh")
	require.Len(t, scripts, 2)

	plugin := t.TempDir()
	source := filepath.Join(plugin, "dist", "myfoxAPI.js")
	require.NoError(t, os.Mkdir(filepath.Dir(source), 0o700))
	require.NoError(t, os.WriteFile(source, []byte("this.myfoxAPIUrl = 'https://api.myfox.me';\n"+
		"const body = `grant_type=refresh_token&refresh_token=${this.config.refreshToken}`;\n"), 0o600))
	require.Equal(t, "2\n", shell(t, plugin, scripts[0], "PLUGIN="+plugin))
	changed, err := os.ReadFile(source)
	require.NoError(t, err)
	require.Equal(t, "this.myfoxAPIUrl = 'https://home.example.com';\n"+
		"const body = `grant_type=password&username=${encodeURIComponent(this.config.username)}&password=${encodeURIComponent(this.config.password)}`;\n", string(changed))

	numbers := strings.NewReplacer("SITE=1\n", "SITE="+h.env["FOXBRIDGE_SITE_ID"]+"\n",
		"SITE=1 DEVICE=12", "SITE="+h.env["FOXBRIDGE_SITE_ID"]+" DEVICE="+strings.Trim(strings.TrimPrefix(h.numbers.Replace("device/12/"), "device/"), "/"))
	shell(t, h.dir, numbers.Replace(scripts[1]))
	var config struct {
		Platforms []struct {
			Accessories []struct {
				Type     string
				Name     string `json:"displayName"`
				StateCmd string `json:"state_cmd"`
				Polling  []struct{ Characteristic string }
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(strings.Join(blocks(t, "docs/homebridge.md", "json"), "")), &config))
	accessories := config.Platforms[0].Accessories
	require.Len(t, accessories, 2)
	run := func(accessory int, args string) string {
		command, is := strings.CutPrefix(accessories[accessory].StateCmd, "/var/lib/homebridge/foxbridge/")
		require.True(t, is)
		return shell(t, h.dir, "./"+command+" "+args)
	}
	for value, level := range map[string]string{"0": "partial", "1": "armed", "3": "disarmed"} {
		run(0, "Set Alarm SecuritySystemTargetState "+value)
		require.Equal(t, level, h.level(t))
		for _, polled := range accessories[0].Polling {
			require.Equal(t, value+"\n", run(0, "Get Alarm "+polled.Characteristic))
		}
	}
	require.Equal(t, "0\n", run(1, "Get Lamp On"))
	for _, value := range []string{"1", "0"} {
		require.Contains(t, run(1, "Set Lamp On "+value), `"request":"OK"`)
		require.Equal(t, value+"\n", run(1, "Get Lamp On"))
	}
}

// Each request of the page does in the home what it stands for, in a shell, as the
// plugin runs it.
func TestJeedomPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	page, err := os.ReadFile("../../docs/jeedom.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| (.+) \\| (info|action), [a-z]+ \\| `/var/www/html/plugins/script/data/(.+)` \\|$").FindAllStringSubmatch(string(page), -1)
	require.Len(t, rows, 8)
	requests := map[string]string{}
	for _, row := range rows {
		requests[row[1]] = "./" + h.numbers.Replace(row[3]) + " 2>&1"
		out := shell(t, h.dir, requests[row[1]])
		if row[2] == "action" {
			require.Contains(t, out, `"request":"OK"`, row[1])
		}
	}
	for name, level := range map[string]string{"Arm": "armed", "Arm partially": "partial", "Disarm": "disarmed"} {
		shell(t, h.dir, requests[name])
		require.Equal(t, level+"\n", shell(t, h.dir, requests["Alarm"]))
	}
}

// The flow of the page can be imported, and its requests do what its buttons say.
func TestNodeREDPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	page := blocks(t, "docs/node-red.md", "json")
	require.Len(t, page, 1)
	var flow []struct {
		ID, Z, Type string
		Wires       [][]string
	}
	require.NoError(t, json.Unmarshal([]byte(page[0]), &flow))
	var ids []string
	for _, n := range flow {
		require.NotContains(t, ids, n.ID)
		ids = append(ids, n.ID)
	}
	for _, n := range flow {
		require.True(t, n.Type == "tab" || n.Z == flow[0].ID, n.ID)
		for _, next := range slices.Concat(n.Wires...) {
			require.Contains(t, ids, next)
		}
	}
	node(t, "node-red.mjs", map[string]any{"flow": json.RawMessage(h.numbers.Replace(page[0])), "env": h.env}, nil)
	require.Equal(t, "disarmed", h.level(t))
}

// Somebody moves over as the page says. A program that knows no address but Myfox's
// reaches Foxbridge with the certificate of the page, and nothing is asked of it.
func TestMovingPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shell(t, dir, strings.Join(blocks(t, "docs/moving-from-myfox.md", "sh"), "\n"))
	require.Contains(t, shell(t, dir, "foxbridge site list --data-dir ./data"), "Maison")
	require.Regexp(t, `My script +personal +active`, shell(t, dir, "foxbridge app list --data-dir ./data"))

	h := newHousehold(t)
	target, err := url.Parse(h.env["FOXBRIDGE_URL"])
	require.NoError(t, err)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "api.crt"), filepath.Join(dir, "api.key"))
	require.NoError(t, err)
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}})
	proxy.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // who does not trust it is a line
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	address := strings.TrimPrefix(proxy.URL, "https://")

	// What /etc/hosts does is done here by each program's own means.
	trust := "=" + filepath.Join(dir, "authority.crt")
	answers := shell(t, h.dir, `
		token=$(sed 's/.*"access_token":"\([^"]*\)".*/\1/' token.json)
		curl -sSf --connect-to "api.myfox.me:443:`+address+`" "https://api.myfox.me:443/v2/client/site/items?access_token=$token"`, "CURL_CA_BUNDLE"+trust)
	require.Contains(t, answers, `"status":"OK"`)
	host, port, _ := strings.Cut(address, ":")
	require.Equal(t, "TLSv1.3\n", shell(t, h.dir, fmt.Sprintf(`python3 -c '
import socket, ssl
with socket.create_connection(("%s", %s)) as s, ssl.create_default_context().wrap_socket(s, server_hostname="api.myfox.me") as c:
    print(c.version())'`, host, port), "SSL_CERT_FILE"+trust))
	if _, ok := nodeModules(t); ok {
		require.Equal(t, "true\n", shell(t, h.dir, fmt.Sprintf(`node -e '
const c = require("tls").connect({host: "%s", port: %s, servername: "api.myfox.me"}, () => { console.log(c.authorized); c.end() })'`, host, port), "NODE_EXTRA_CA_CERTS"+trust))
	}
	stranger := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{ServerName: "api.myfox.me", MinVersion: tls.VersionTLS12}}}
	t.Cleanup(stranger.CloseIdleConnections)
	_, err = stranger.Get(proxy.URL)
	require.ErrorContains(t, err, "certificate", "who does not trust the authority is not fooled")
}

// A unit is built by hand as the page shows, and a person switches its lamp on.
func TestBuildAUnitPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bridge := launchIn(t, dir, "serve", "--data-dir", "./data", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--operator", "127.0.0.1:0")
	console := blocks(t, "docs/build-a-unit.md", "console")
	require.Equal(t, []string{"foxbridge serve --data-dir ./data\n"}, console)
	host, port, _ := strings.Cut(bridge.address(t, "mqtt"), ":")
	ours := strings.NewReplacer("-h 127.0.0.1 -p 1883", "-h "+host+" -p "+port, "127.0.0.1:8080", bridge.address(t, "http"))
	answers := shell(t, dir, "timeout 60 bash -euo pipefail <<'END_OF_PAGE'\n"+ours.Replace(strings.Join(blocks(t, "docs/build-a-unit.md", "sh"), "\n"))+"\nEND_OF_PAGE")
	require.Regexp(t, `(?s)"statusLabel":"disarmed".*"operation":"on".*"payload":\{"request":"OK"\}.*The cover is open.*"error":"unit_offline"`, answers)
	require.NotContains(t, bridge.log.String(), "message not understood")
	require.NotContains(t, bridge.log.String(), "report rejected")
	require.Equal(t, exitOK, bridge.stop(t))
}
