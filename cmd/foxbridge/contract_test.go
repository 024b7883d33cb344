package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	unitlib "github.com/foxbridge/foxbridge/mqtt/unit"
)

// Every row of the catalogue works over HTTP against a house behind real MQTT, in every
// form in which clients are known to ask: what is commanded happens in the house, once
// for each request, and what is read is what the house said.
func TestContract(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		newContract(t, record, data).walk()
	})
}

// contract is a furnished home behind a running bridge.
type contract struct {
	*estate
	t         *testing.T
	bridge    *running
	token     string
	home      *unitlib.Home
	devices   map[devices.Kind]int64
	groups    map[devices.Kind]deviceGroup
	scenarios map[devices.ScenarioType]scenario
	commandID string // of a command that was given
	variants  int
}

func newContract(t *testing.T, record []string, data string) *contract {
	t.Helper()
	var things []string
	for _, kind := range devices.DeviceKinds() {
		things = append(things, string(kind)+":The "+string(kind))
	}
	things = append(things, "socket:Another", "shutter:Another")
	c := &contract{
		estate: newEstate(t, record, data, things...), t: t,
		devices: map[devices.Kind]int64{}, groups: map[devices.Kind]deviceGroup{}, scenarios: map[devices.ScenarioType]scenario{},
	}
	members := map[devices.Kind][]string{}
	for _, d := range c.box.Devices {
		if c.devices[d.Kind] == 0 {
			c.devices[d.Kind] = d.DeviceID
		}
		members[d.Kind] = append(members[d.Kind], strconv.FormatInt(d.DeviceID, 10))
	}
	site := strconv.FormatInt(c.estate.home.SiteID, 10)
	for _, kind := range devices.GroupKinds() {
		var g deviceGroup
		c.run(t, &g, "site", "group", "add", "--site", site, "--kind", string(kind), "--label", "All", "--device", strings.Join(members[kind], ","))
		c.groups[kind] = g
	}
	for _, kind := range devices.ScenarioTypes() {
		var s scenario
		add := []string{"site", "scenario", "add", "--owner", c.username, "--site", site, "--label", "Evening", "--type", string(kind)}
		// What they do by themselves is not asked here: none of their times comes.
		far := time.Now().Add(12 * time.Hour)
		switch kind {
		case devices.OnDemand:
			add = append(add, "--step", "security/partial", "--step", fmt.Sprintf("socket/off:%d", c.devices[devices.Socket]), "--step", fmt.Sprintf("gate/two:%d", c.devices[devices.Gate]))
		case devices.Scheduled:
			add = append(add, "--at", far.Format("15:04"))
		case devices.OnEvent:
			add = append(add, "--event", "battery")
		case devices.Simulation:
			add = append(add, "--from", far.Format("15:04"), "--to", far.Add(time.Hour).Format("15:04"))
		}
		if kind != devices.OnDemand {
			add = append(add, "--step", fmt.Sprintf("socket/on:%d", c.devices[devices.Socket]))
		}
		c.run(t, &s, add...)
		c.scenarios[kind] = s
	}
	c.bridge = c.serve(t, "--limit-api", "0", "--limit-commands", "0", "--limit-alarm", "0", "--measurement-interval", "1s")
	c.token = c.estate.token(t, c.bridge)
	c.live()
	return c
}

// live connects the simulated home, which moves without delay.
func (c *contract) live() {
	c.t.Helper()
	home, err := newHome(c.box, "tcp://"+c.bridge.MQTT, unitlib.HomeOptions{Travel: time.Millisecond, ExitDelay: time.Millisecond}, slog.New(slog.DiscardHandler))
	require.NoError(c.t, err)
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(c.t, home.Start(ctx))
	c.t.Cleanup(func() { require.NoError(c.t, stopHome(context.Background(), home)) })
	c.home = home
	c.bridge.eventually(c.t, "told of every device", func() bool {
		if status, _ := authorized(c.t, c.bridge, http.MethodGet, c.path("/security"), c.token); status != http.StatusOK {
			return false
		}
		status, body := authorized(c.t, c.bridge, http.MethodGet, c.path("/device/data/temperature/items"), c.token)
		return status == http.StatusOK && strings.Count(body, `"lastTemperature":19.5`) == 2
	})
}

// variant is a form in which a request is made.
type variant struct {
	method      string
	slash       bool
	place       string // of the token: query, header or body
	contentType string
	body        string
	chunked     bool
}

// variants lists the forms for a row: those of section 1 of the contract.
func variants(row devices.Row) []variant {
	var list []variant
	bodies := []variant{
		{},
		{contentType: "application/json"},
		{contentType: "application/json", body: "{}"},
		{contentType: "application/x-www-form-urlencoded", chunked: true},
	}
	for _, slash := range []bool{false, true} {
		for _, place := range []string{"query", "header"} {
			list = append(list, variant{method: http.MethodGet, slash: slash, place: place})
			if !row.Commands() {
				list = append(list, variant{method: http.MethodGet, slash: slash, place: place, contentType: "application/json", body: `{"dateOrder":1}`})
				continue
			}
			for _, v := range bodies {
				v.method, v.slash, v.place = http.MethodPost, slash, place
				list = append(list, v)
			}
		}
		if row.Commands() {
			list = append(list, variant{method: http.MethodPost, slash: slash, place: "body", contentType: "application/x-www-form-urlencoded"})
		}
	}
	return list
}

// ask makes a request of a row and gives its status and the body.
func (c *contract) ask(row devices.Row, v variant) (int, http.Header, []byte) {
	c.t.Helper()
	c.variants++
	path := "/v2" + strings.NewReplacer(
		"{site}", strconv.FormatInt(c.estate.home.SiteID, 10), "{device}", strconv.FormatInt(max(c.devices[row.Kind], 1), 10),
		"{group}", strconv.FormatInt(c.groups[row.Kind].GroupID, 10), "{scenario}", strconv.FormatInt(c.scenarioOf(row).ScenarioID, 10),
		"{command}", c.commandID, "{video}", "1",
	).Replace(row.Path)
	if v.slash {
		path += "/"
	}
	var body io.Reader
	switch {
	case v.place == "body":
		body = strings.NewReader(url.Values{"access_token": {c.token}}.Encode())
	case v.chunked:
		body = io.MultiReader(strings.NewReader(v.body)) // whose length nobody knows
	case v.body != "":
		body = strings.NewReader(v.body)
	}
	if v.place == "query" {
		path += "?unknown=x&access_token=" + c.token
	}
	r, err := http.NewRequestWithContext(c.t.Context(), v.method, "http://"+c.bridge.HTTP+path, body)
	require.NoError(c.t, err)
	if v.place == "header" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if v.contentType != "" {
		r.Header.Set("Content-Type", v.contentType)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(c.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	require.True(c.t, strings.HasPrefix(response.Header.Get("Content-Type"), "application/json"), "%s %+v", row.Path, v)
	return response.StatusCode, response.Header, text
}

func (c *contract) scenarioOf(row devices.Row) scenario {
	if row.Action == devices.SwitchScenario {
		return c.scenarios[devices.Scheduled]
	}
	return c.scenarios[devices.OnDemand]
}

func (c *contract) walk() {
	// The record of a command can be read once there is one: its row is the last.
	rows := devices.Catalogue()
	slices.SortStableFunc(rows, func(a, b devices.Row) int { return int(a.Action) - int(b.Action) })
	commands := 0
	for _, row := range rows {
		for _, v := range variants(row) {
			switch {
			case row.Action == devices.NotYet:
				c.refused(row, v)
			case row.Commands():
				commands++
				c.commanded(row, v)
			default:
				c.read(row, v)
			}
			if c.t.Failed() {
				c.t.Fatalf("%s %+v", row.Path, v)
			}
		}
	}
	c.t.Logf("%d rows in %d variants, %d of them commands; %d operations executed by the house",
		len(rows), c.variants, commands, len(c.home.Executions()))
}

// answer is what every answer is.
type envelope struct {
	Status    string          `json:"status"`
	Timestamp int64           `json:"timestamp"`
	Payload   json.RawMessage `json:"payload"`
	Error     string          `json:"error"`
}

func (c *contract) envelope(text []byte) envelope {
	c.t.Helper()
	var e envelope
	require.NoError(c.t, json.Unmarshal(text, &e), "%s", text)
	require.InDelta(c.t, time.Now().Unix(), e.Timestamp, 30)
	return e
}

func (c *contract) refused(row devices.Row, v variant) {
	c.t.Helper()
	if row.Kind == "" && v.method == http.MethodPost {
		return // it reads
	}
	status, _, text := c.ask(row, v)
	require.Equal(c.t, http.StatusNotImplemented, status, "%s", text)
	require.Equal(c.t, "KO", c.envelope(text).Status)
	require.Equal(c.t, "not_implemented", c.envelope(text).Error)
}

// commanded gives a command, and looks at the house.
func (c *contract) commanded(row devices.Row, v variant) {
	c.t.Helper()
	before := len(c.home.Executions())
	status, header, text := c.ask(row, v)
	require.Equal(c.t, http.StatusOK, status, "%s", text)
	e := c.envelope(text)
	require.Equal(c.t, "OK", e.Status)
	require.JSONEq(c.t, `{"request":"OK"}`, string(e.Payload))

	var did []string
	for _, x := range c.home.Executions()[before:] {
		did = append(did, fmt.Sprintf("%s of %d", x.Operation, x.Device))
		require.Contains(c.t, header.Values("Foxbridge-Command-Id"), x.CommandID, "the answer names the record of each command")
	}
	slices.Sort(did)
	require.Equal(c.t, c.wanted(row), did, "what the house did, each once")
	switch row.Action {
	case devices.Operate:
		c.commandID = header.Get("Foxbridge-Command-Id")
		c.leadsTo(c.devices[row.Kind], row.Sets)
		if row.Kind == devices.Security {
			c.levelIs(row.Operation)
		}
	case devices.OperateGroup:
		operation, _ := devices.OperationOf(row.Kind, row.Operation)
		for _, id := range c.groups[row.Kind].Devices {
			c.leadsTo(id, operation.Sets)
		}
	case devices.SwitchScenario:
		_, body := authorized(c.t, c.bridge, http.MethodGet, c.path("/scenario/items"), c.token)
		require.Contains(c.t, body, fmt.Sprintf(`"typeLabel":"scheduled","enabled":%t`, row.Operation == "enable"))
	}
}

// levelIs reads the alarm's level, which right after a set is the level set.
func (c *contract) levelIs(level string) {
	c.t.Helper()
	_, body := authorized(c.t, c.bridge, http.MethodGet, c.path("/security"), c.token)
	require.Contains(c.t, body, `"statusLabel":"`+level+`"`)
}

// wanted is what the house has to do for a row.
func (c *contract) wanted(row devices.Row) []string {
	var list []string
	switch row.Action {
	case devices.Operate:
		list = append(list, fmt.Sprintf("%s of %d", row.Operation, c.devices[row.Kind]))
	case devices.OperateGroup:
		for _, id := range c.groups[row.Kind].Devices {
			list = append(list, fmt.Sprintf("%s of %d", row.Operation, id))
		}
	case devices.PlayScenario:
		list = append(list, "partial of 0", fmt.Sprintf("off of %d", c.devices[devices.Socket]), fmt.Sprintf("two of %d", c.devices[devices.Gate]))
	}
	slices.Sort(list)
	return list
}

// leadsTo waits until the house says these readings of a device.
func (c *contract) leadsTo(device int64, sets map[string]any) {
	c.t.Helper()
	for reading, want := range sets {
		text, err := json.Marshal(want)
		require.NoError(c.t, err)
		c.bridge.eventually(c.t, fmt.Sprintf("%s of device %d at %s", reading, device, text), func() bool {
			var said map[string]json.RawMessage
			require.NoError(c.t, json.Unmarshal(c.home.States()[device], &said))
			return string(said[reading]) == string(text)
		})
	}
}

// read reads a row, whose payload has the form of the contract.
func (c *contract) read(row devices.Row, v variant) {
	c.t.Helper()
	status, _, text := c.ask(row, v)
	require.Equal(c.t, http.StatusOK, status, "%s %s", row.Path, text)
	e := c.envelope(text)
	require.Equal(c.t, "OK", e.Status)
	var object map[string]json.RawMessage
	switch row.Action {
	case devices.ReadSecurity, devices.ReadDevice, devices.ReadCommand:
		require.NoError(c.t, json.Unmarshal(e.Payload, &object))
		require.Subset(c.t, keys(object), keysOf(row))
		return
	}
	list := e.Payload
	if !row.Legacy {
		require.NoError(c.t, json.Unmarshal(e.Payload, &object))
		require.Equal(c.t, []string{"items"}, keys(object))
		list = object["items"]
	}
	var items []map[string]json.RawMessage
	require.NoError(c.t, json.Unmarshal(list, &items), "%s", e.Payload)
	require.NotNil(c.t, items, "an array, never null")
	if row.Action != devices.ListLibrary && row.Kind != devices.Camera {
		require.NotEmpty(c.t, items, row.Path)
	}
	require.NotEmpty(c.t, keysOf(row), "%s is in the contract", row.Path)
	for _, item := range items {
		require.Subset(c.t, keys(item), keysOf(row), row.Path)
	}
}

func keys(object map[string]json.RawMessage) []string {
	var names []string
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// keysOf lists the keys that clients read of an item of the row, from the contract and
// not from the code.
func keysOf(row devices.Row) []string {
	device := "deviceId label modelId modelLabel"
	name := strings.TrimPrefix(row.Path, "/site/{site}")
	if row.Legacy {
		name = strings.TrimSuffix(strings.Replace(name, "/list", "/items", 1), "/get")
	}
	return strings.Fields(map[string]string{
		"/client/site/items": "siteId label brand timezone AXA cameraCount gateCount shutterCount socketCount moduleCount heaterCount scenarioCount " +
			"deviceTemperatureCount deviceStateCount deviceLightCount deviceDetectorCount arcsoftToken buzzSiteId",
		"/security":                           "status statusLabel",
		"/scenario/items":                     "scenarioId label typeLabel enabled",
		"/device/data/light/items":            device + " light",
		"/device/{device}/data/light":         "deviceId level recordedAt",
		"/device/data/other/items":            device + " state",
		"/device/data/state/items":            device + " stateLabel",
		"/device/{device}/data/state":         "deviceId stateLabel",
		"/device/data/temperature/items":      device + " lastTemperature lastTemperatureAt",
		"/device/{device}/data/temperature":   "deviceId celsius recordedAt",
		"/device/gate/items":                  device,
		"/device/module/items":                device,
		"/device/heater/items":                device + " modeLabel stateLabel lastTemperature",
		"/device/heater/items/withthermostat": device + " modeLabel stateLabel lastTemperature",
		"/device/shutter/items":               device,
		"/device/socket/items":                device,
		"/group/electric/items":               "groupId label type devices",
		"/group/shutter/items":                "groupId label type devices",
		"/history":                            "logId label type createdAt",
		"/device":                             "device_id label device_definition settings created_at",
		"/command/{command}":                  "commandId outcome",
		"/device/camera/items":                device,
		"/library/image/items":                "imageId",
		"/library/video/items":                "videoId",
	}[name])
}
