package devices_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// The matrix of every operation and every scope: a token is good for what its scope
// says and for nothing else, at the sites that it is for and nowhere else.
func TestTokenIsGoodForItsScopesOnly(t *testing.T) {
	h := newHouse(t, func(o *devices.Options) { o.LaneDepth = 1000 })
	armed := h.begin(h.arm())
	h.done(h.order())
	recorded := (<-armed).ID

	sockets, err := h.AddGroup(t.Context(), h.site.ID, devices.Socket, "Lamps", []int64{h.socket.ID})
	require.NoError(t, err)
	shutters, err := h.AddGroup(t.Context(), h.site.ID, devices.Shutter, "Shutters", []int64{h.shutter.ID})
	require.NoError(t, err)
	groups := map[devices.Kind]int64{devices.Socket: sockets.ID, devices.Shutter: shutters.ID}
	scenario, err := h.AddScenario(t.Context(), devices.Scenario{
		SiteID: h.site.ID, Label: "Away", Type: devices.Scheduled, Rule: []byte(`{"at":"07:00"}`), CreatedBy: h.owner.UserID,
		Steps: []devices.Step{{Device: h.socket, Operation: "off"}},
	})
	require.NoError(t, err)

	try := func(c devices.Caller, row devices.Row, site int64) error {
		var err error
		device := h.things[row.Kind].ID
		together := devices.TogetherRequest{SiteID: site, ID: groups[row.Kind], Async: true}
		switch row.Action {
		case devices.ReadSecurity:
			_, err = h.SecurityLevel(t.Context(), c, site)
		case devices.ListDevices:
			_, err = h.Devices(t.Context(), c, row, site)
		case devices.ReadDevice:
			_, err = h.Device(t.Context(), c, row, site, device)
		case devices.ReadMeasurements:
			_, err = h.Measurements(t.Context(), c, row, site, device, devices.MeasurementQuery{})
		case devices.ListGroups:
			_, err = h.Groups(t.Context(), c, row, site)
		case devices.OperateGroup:
			_, err = h.ExecuteGroup(t.Context(), c, row, together)
		case devices.ListScenarios:
			_, err = h.Scenarios(t.Context(), c, site)
		case devices.PlayScenario:
			together.ID = scenario.ID
			if slices.Contains(c.Scopes, row.Scope) { // a scenario does nothing that the token may not
				c.Scopes = append(slices.Clone(c.Scopes), "socket:operate")
			}
			_, err = h.PlayScenario(t.Context(), c, together)
		case devices.SwitchScenario:
			if slices.Contains(c.Scopes, row.Scope) { // nor is it let do it later
				c.Scopes = append(slices.Clone(c.Scopes), "socket:operate")
			}
			err = h.SwitchScenario(t.Context(), c, row, site, scenario.ID)
		case devices.ReadHistory:
			_, err = h.History(t.Context(), c, site, devices.HistoryQuery{})
		case devices.Operate:
			_, err = h.Execute(t.Context(), c, devices.Request{SiteID: site, DeviceID: device, Kind: row.Kind, Operation: row.Operation, Async: true})
		default:
			t.Fatalf("no way to try %s", row.Path)
		}
		return err
	}
	scopes := devices.Scopes()
	require.Equal(t, []string{
		"security:read", "security:arm", "security:disarm", "scenario:read", "scenario:operate", "sensor:read",
		"gate:read", "gate:operate", "module:read", "module:operate", "heater:read", "heater:operate",
		"socket:read", "socket:operate", "shutter:read", "shutter:operate", "history:read",
	}, scopes)
	for _, row := range devices.Catalogue() {
		if row.Scope == "" {
			continue
		}
		for _, scope := range scopes {
			c := h.owner
			c.Unscoped, c.Scopes = false, []string{scope}
			err := try(c, row, h.site.ID)
			if scope == row.Scope {
				require.NoError(t, err, "%s with %s", row.Path, scope)
				c.Sites = []int64{h.site.ID + 1}
				require.Equal(t, devices.NoSuch, refusal(t, try(c, row, h.site.ID)), "%s at a site that the token is not for", row.Path)
				continue
			}
			require.Equal(t, devices.MissingScope, refusal(t, err), "%s with %s", row.Path, scope)
			require.ErrorContains(t, err, row.Scope)
		}
		c := h.owner
		c.Unscoped = false
		require.Equal(t, devices.MissingScope, refusal(t, try(c, row, h.site.ID)), "a token that says nothing is good for nothing")
	}

	c := h.owner
	c.Unscoped, c.Scopes = false, []string{"security:arm"}
	_, err = h.Command(t.Context(), c, h.site.ID, recorded)
	require.NoError(t, err)
	c.Scopes = []string{"socket:operate"}
	_, err = h.Command(t.Context(), c, h.site.ID, recorded)
	require.Equal(t, devices.MissingScope, refusal(t, err), "what it could not have ordered it cannot read")

	elsewhere, err := h.AddSite(t.Context(), h.owner.UserID, "Elsewhere", "UTC")
	require.NoError(t, err)
	c.Sites = []int64{elsewhere.ID}
	sites, err := h.Sites(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, sites, 1)
	require.Equal(t, elsewhere.ID, sites[0].ID)
	for len(h.sent) > 0 {
		h.done(<-h.sent)
	}
	require.NoError(t, h.Drain(t.Context()))
}
