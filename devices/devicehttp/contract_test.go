package devicehttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// says has the unit say something of a device.
func (a *api) says(kind devices.Kind, readings string) {
	a.t.Helper()
	a.seq++
	require.NoError(a.t, a.service.ReportState(a.t.Context(), a.unit.ID, devices.StateReport{
		DeviceID: a.things[kind].ID, Sequence: a.seq, Time: time.Now(), Readings: json.RawMessage(readings),
	}))
}

// of puts the number of a kind's device into a path.
func (a *api) of(kind devices.Kind, path string) string {
	return strings.Replace(path, "DEVICE", strconv.FormatInt(a.things[kind].ID, 10), 1)
}

func (a *api) items(path string) []any {
	a.t.Helper()
	return a.ok("GET", path)["items"].([]any)
}

// only gives the one item of a list, without the keys that every device has.
func only(t testing.TB, list []any, label string) map[string]any {
	t.Helper()
	for _, item := range list {
		object := item.(map[string]any)
		if object["label"] != label {
			continue
		}
		for _, key := range []string{"deviceId", "label", "modelId", "modelLabel"} {
			require.Contains(t, object, key)
			delete(object, key)
		}
		return object
	}
	t.Fatalf("no %s in %v", label, list)
	return nil
}

func TestSensorsOnTheWire(t *testing.T) {
	a := newAPI(t, true)
	item := only(t, a.items("/site/SITE/device/data/temperature/items"), "The temperature")
	require.Nil(t, item["lastTemperature"])
	require.Equal(t, a.things[devices.Temperature].CreatedAt.Format("2006-01-02T15:04:05Z"), item["lastTemperatureAt"], "null, and since when")
	for kind, readings := range map[devices.Kind]string{
		devices.Temperature: `{"temperature":-3.5}`, devices.Climate: `{"temperature":19,"light":6}`, devices.Light: `{"light":2}`,
		devices.Contact: `{"state":"opened"}`, devices.Detector: `{"state":1}`,
		devices.Heater: `{"mode":"eco","heating":"boiler"}`, devices.Thermostat: `{"mode":"boost","temperature":20.5}`,
	} {
		a.says(kind, readings)
	}
	at := only(t, a.items("/site/SITE/device/data/temperature/items"), "The temperature")["lastTemperatureAt"].(string)
	_, err := time.Parse("2006-01-02T15:04:05Z", at)
	require.NoError(t, err)
	for _, c := range []struct {
		path, label string
		want        map[string]any
	}{
		{"/device/data/temperature/items", "The temperature", map[string]any{"lastTemperature": -3.5}},
		{"/device/data/temperature/items", "The climate", map[string]any{"lastTemperature": 19.0}},
		{"/device/data/light/items", "The climate", map[string]any{"light": 6.0}},
		{"/device/data/light/items", "The light", map[string]any{"light": 2.0}},
		{"/device/data/state/items", "The contact", map[string]any{"stateLabel": "opened"}},
		{"/device/data/other/items", "The detector", map[string]any{"state": 1.0}},
		{"/device/heater/items", "The heater", map[string]any{"modeLabel": "boiler", "stateLabel": "eco", "lastTemperature": nil}},
		{"/device/heater/items", "The thermostat", map[string]any{"modeLabel": "wired", "stateLabel": "boost", "lastTemperature": 20.5}},
		{"/device/heater/items/withthermostat", "The thermostat", map[string]any{"modeLabel": "wired", "stateLabel": "boost", "lastTemperature": 20.5}},
	} {
		item := only(t, a.items("/site/SITE"+c.path), c.label)
		for key := range item {
			if strings.HasSuffix(key, "At") {
				delete(item, key)
			}
		}
		require.Equal(t, c.want, item, c.path)
	}
	state := a.ok("GET", a.of(devices.Contact, "/site/SITE/device/DEVICE/data/state"))
	require.Equal(t, "opened", state["stateLabel"])
	require.Equal(t, float64(a.things[devices.Contact].ID), state["deviceId"])
	for kind, key := range map[devices.Kind]string{devices.Temperature: "celsius", devices.Light: "level"} {
		list := a.items(a.of(devices.Climate, "/site/SITE/device/DEVICE/data/"+string(kind)))
		require.Len(t, list, 1)
		require.Equal(t, map[devices.Kind]float64{devices.Temperature: 19, devices.Light: 6}[kind], list[0].(map[string]any)[key])
		require.Contains(t, list[0], "recordedAt")
		require.Equal(t, float64(a.things[devices.Climate].ID), list[0].(map[string]any)["deviceId"])
	}
}

// Date filters that are malformed, reversed, huge or in another zone are answered in
// the envelope, wherever there are any, and never with 400.
func TestDateFiltersThatCannotBe(t *testing.T) {
	a := newAPI(t, true)
	for _, path := range []string{
		"/site/SITE/history", a.of(devices.Temperature, "/site/SITE/device/DEVICE/data/temperature"), a.of(devices.Light, "/site/SITE/device/DEVICE/data/light"),
	} {
		for query, names := range map[string]string{
			"dateFrom=yesterday":                                        "dateFrom",
			"dateFrom=2026-02-30T00:00:00Z":                             "dateFrom",
			"dateFrom=2026-01-01":                                       "dateFrom",
			"dateFrom=2026-01-01T00:00:00%2B02:00":                      "dateFrom",
			"dateFrom=2026-01-01T00:00:00+02:00":                        "dateFrom",
			"dateTo=99999999999-01-01T00:00:00Z":                        "dateTo",
			"dateTo=-001-01-01T00:00:00Z":                               "dateTo",
			"dateTo=%00":                                                "dateTo",
			"dateTo=" + strings.Repeat("9", 5000):                       "dateTo",
			"dateFrom=2999-01-01T00:00:00Z":                             "dateFrom",
			"dateFrom=2026-01-02T00:00:00Z&dateTo=2026-01-01T00:00:00Z": "dateFrom",
			"dateOrder=0":                                               "dateOrder",
			"dateOrder=1&dateOrder=-1":                                  "dateOrder",
		} {
			got := a.ko(http.StatusUnprocessableEntity, "bad_filter", "GET", path+"?"+query)
			require.Contains(t, got.body["error_description"], names, query)
		}
		for _, query := range []string{"dateFrom=0001-01-01T00:00:00Z&dateTo=9999-12-31T23:59:59Z", "dateTo=0001-01-02T00:00:00Z", "dateFrom=&dateTo=&dateOrder="} {
			a.items(path + "?" + query)
		}
	}
}

func TestTheNamesOfOldAreBareArraysWithoutParameters(t *testing.T) {
	a := newAPI(t, true)
	a.says(devices.Temperature, `{"temperature":1}`)
	a.ok("POST", "/site/SITE/security/set/armed")
	n := 0
	for _, row := range devices.Catalogue() {
		if !row.Legacy {
			continue
		}
		n++
		path := a.of(devices.Temperature, strings.NewReplacer("{site}", "SITE", "{device}", "DEVICE").Replace(row.Path))
		got := a.do("GET", path+"?dateFrom=nonsense&type=nonsense")
		require.Equal(t, http.StatusOK, got.StatusCode, row.Path)
		if row.Action == devices.ReadSecurity {
			require.Equal(t, 4.0, got.body["payload"].(map[string]any)["status"])
			continue
		}
		_, is := got.body["payload"].([]any)
		require.True(t, is, "%s: %v", row.Path, got.body)
	}
	require.Equal(t, 15, n)
}

func TestTheUndocumentedListing(t *testing.T) {
	a := newAPI(t, true)
	list := a.items("/site/SITE/device")
	require.Len(t, list, len(devices.DeviceKinds()))
	for _, item := range list {
		object := item.(map[string]any)
		require.IsType(t, 1.0, object["device_id"])
		require.NotEmpty(t, object["device_definition"].(map[string]any)["device_definition_label"])
		require.Equal(t, map[string]any{"global": map[string]any{}}, object["settings"])
		_, err := time.Parse("2006-01-02T15:04:05Z", object["created_at"].(string))
		require.NoError(t, err)
	}
	a.scopes = []string{"socket:read"}
	require.Len(t, a.items("/site/SITE/device"), 1, "of what the token may not read it says nothing")
	a.scopes = []string{"history:read"}
	require.Empty(t, a.items("/site/SITE/device"))
	a.ko(http.StatusNotFound, "not_found", "GET", "/site/SITE/device/1")
}

func TestCamerasAreNotThereYet(t *testing.T) {
	a := newAPI(t, true)
	for _, row := range devices.Catalogue() {
		path := strings.NewReplacer("{site}", "SITE", "{device}", "1", "{video}", "1").Replace(row.Path)
		switch {
		case row.Action == devices.ListLibrary || row.Kind == devices.Camera && row.Action == devices.ListDevices:
			if !row.Legacy {
				require.Empty(t, a.items(path), path)
			}
		case row.Action == devices.NotYet:
			got := a.ko(http.StatusNotImplemented, "not_implemented", "GET", path)
			require.NotEmpty(t, got.body["error_description"])
			a.ko(http.StatusNotFound, "not_found", "GET", strings.Replace(path, "SITE", "99999", 1))
		}
	}
}

func (a *api) group(kind devices.Kind, ids ...int64) string {
	a.t.Helper()
	g, err := a.service.AddGroup(a.t.Context(), a.site.ID, kind, "All", ids)
	require.NoError(a.t, err)
	return strconv.FormatInt(g.ID, 10)
}

func TestAGroupNamesTheDevicesThatDidNotDoItAndWhy(t *testing.T) {
	a := newAPI(t, true, devices.NewDevice{Kind: devices.Socket, Label: "Second"}, devices.NewDevice{Kind: devices.Socket, Label: "Third"})
	list := a.items("/site/SITE/device/socket/items")
	var ids []int64
	for _, item := range list {
		ids = append(ids, int64(item.(map[string]any)["deviceId"].(float64)))
	}
	on := "/site/SITE/group/" + a.group(devices.Socket, ids...) + "/electric/on"
	groups := a.items("/site/SITE/group/electric/items")
	require.Len(t, groups, 1)
	require.Equal(t, "Electrical devices", groups[0].(map[string]any)["type"])
	require.Len(t, groups[0].(map[string]any)["devices"], 3)
	require.NotContains(t, groups[0], "deviceId", "clients tell a group from a device by that")

	got := a.do("POST", on)
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Len(t, got.Header.Values("Foxbridge-Command-Id"), 3)

	a.answer = func(o devices.Order) *devices.Ack {
		if o.DeviceID == ids[1] {
			return &devices.Ack{CommandID: o.CommandID, Outcome: devices.Refused, Reason: "The device does not answer"}
		}
		return a.done(o)
	}
	got = a.ko(http.StatusConflict, "not_all_done", "POST", on)
	undone := got.body["devices"].([]any)
	require.Len(t, undone, 1)
	require.Equal(t, map[string]any{
		"deviceId": float64(ids[1]), "label": "Second", "operation": "on", "error": "unit_refused",
		"error_description": "The unit refused the command: The device does not answer", "commandId": undone[0].(map[string]any)["commandId"],
	}, undone[0])
	require.Equal(t, fmt.Sprintf("Not done by 1 of 3: %d Second: The unit refused the command: The device does not answer", ids[1]), got.body["error_description"])

	a.answer = func(devices.Order) *devices.Ack { return nil }
	got = a.do("POST", on, "Prefer", "respond-async")
	require.Equal(t, http.StatusAccepted, got.StatusCode)
	require.Len(t, got.body["payload"].(map[string]any)["items"], 3)
	require.NoError(t, a.service.Drain(t.Context()))
	a.ko(http.StatusGatewayTimeout, "outcome_unknown", "POST", on)

	require.NoError(t, a.service.ReportLink(t.Context(), a.unit.ID, devices.LinkReport{Session: "s"}))
	got = a.ko(http.StatusServiceUnavailable, "unit_offline", "POST", strings.Replace(on, "/on", "/off", 1))
	require.Equal(t, "30", got.Header.Get("Retry-After"))
	require.Len(t, got.body["devices"], 3)
	a.ko(http.StatusNotFound, "not_found", "POST", "/site/SITE/group/1/electric/on")
	a.ko(http.StatusNotFound, "not_found", "POST", strings.Replace(on, "electric/on", "shutter/open", 1))
}

func TestScenariosOnTheWire(t *testing.T) {
	a := newAPI(t, true)
	path := map[devices.ScenarioType]string{}
	for _, kind := range devices.ScenarioTypes() {
		s, err := a.service.AddScenario(t.Context(), devices.Scenario{
			SiteID: a.site.ID, Label: "Nuit " + string(kind), Type: kind, CreatedBy: a.owner.UserID, Steps: []devices.Step{{Device: a.socket, Operation: "on"}},
			Rule: map[devices.ScenarioType]json.RawMessage{
				devices.Scheduled: []byte(`{"at":"07:00"}`), devices.OnEvent: []byte(`{"event":"alarm"}`), devices.Simulation: []byte(`{"from":"18:00","to":"23:00"}`),
			}[kind],
		})
		require.NoError(t, err)
		path[kind] = fmt.Sprintf("/site/SITE/scenario/%d", s.ID)
	}
	list := a.items("/site/SITE/scenario/items")
	require.Len(t, list, 4)
	require.Equal(t, "onDemand", list[0].(map[string]any)["typeLabel"])
	require.Nil(t, list[0].(map[string]any)["enabled"])
	require.Equal(t, false, list[1].(map[string]any)["enabled"])
	require.Equal(t, 4.0, a.items("/client/site/items")[0].(map[string]any)["scenarioCount"])
	require.Equal(t, map[string]any{"request": "OK"}, a.ok("POST", path[devices.OnDemand]+"/play"))
	require.Len(t, a.sent, 1)
	a.ko(http.StatusConflict, "wrong_scenario_type", "POST", path[devices.OnDemand]+"/enable")
	a.ok("POST", path[devices.Simulation]+"/enable")
	require.Equal(t, true, a.items("/site/SITE/scenario/items")[3].(map[string]any)["enabled"])
	got := a.ko(http.StatusNotFound, "not_found", "POST", path[devices.OnDemand]+"/explode")
	require.Equal(t, "Unknown operation: expected one of play, enable, disable", got.body["error_description"])
}

func TestAWrongKindOrAForeignDeviceIsUnknown(t *testing.T) {
	a := newAPI(t, true)
	elsewhere, err := a.service.AddSite(t.Context(), a.owner.UserID, "Elsewhere", "UTC")
	require.NoError(t, err)
	_, _, foreign, err := a.service.AddUnit(t.Context(), elsewhere.ID, []devices.NewDevice{{Kind: devices.Socket, Label: "Far"}})
	require.NoError(t, err)
	for _, row := range devices.Catalogue() {
		if !strings.Contains(row.Path, "{device}") || row.Action == devices.NotYet {
			continue
		}
		for _, device := range []int64{a.things[devices.Gate].ID, a.things[devices.Detector].ID, foreign[0].ID} {
			if device == a.things[row.Kind].ID {
				continue
			}
			path := strings.NewReplacer("{site}", "SITE", "{device}", strconv.FormatInt(device, 10)).Replace(row.Path)
			got := a.ko(http.StatusNotFound, "not_found", "GET", path)
			require.Equal(t, "Unknown device ID", got.body["error_description"], row.Path)
		}
	}
	require.Empty(t, a.sent)
}

func TestAnOldUnitIsNotAskedForWhatItDoesNotKnow(t *testing.T) {
	a := newAPI(t, true)
	a.connect(1)
	a.ko(http.StatusConflict, "unit_outdated", "POST", a.of(devices.Gate, "/site/SITE/device/DEVICE/gate/perform/one"))
	require.Empty(t, a.sent)
	a.ok("POST", "/site/SITE/device/SOCKET/socket/on")
}

func TestAFullHouseIsListedWhole(t *testing.T) {
	const most = 5000
	more := make([]devices.NewDevice, most-len(devices.DeviceKinds()))
	for i := range more {
		more[i] = devices.NewDevice{Kind: devices.Shutter, Label: fmt.Sprint("Shutter ", i)}
	}
	a := newAPI(t, true, more...)
	require.Len(t, a.items("/site/SITE/device"), most)
	require.Len(t, a.items("/site/SITE/device/shutter/items"), len(more)+1)
	require.Equal(t, float64(len(more)+1), a.items("/client/site/items")[0].(map[string]any)["shutterCount"])
}
