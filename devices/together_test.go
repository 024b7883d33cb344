package devices_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// lamps adds a site with so many sockets in one group, whose unit is online.
func (h *house) lamps(n int) (devices.Site, devices.Unit, devices.Group) {
	h.t.Helper()
	ctx := h.t.Context()
	site, err := h.AddSite(ctx, h.owner.UserID, "Lamps", "Europe/Paris")
	require.NoError(h.t, err)
	var wanted []devices.NewDevice
	for i := range n {
		wanted = append(wanted, devices.NewDevice{Kind: devices.Socket, Label: fmt.Sprint("Lamp ", i)})
	}
	unit, _, list, err := h.AddUnit(ctx, site.ID, wanted)
	require.NoError(h.t, err)
	var ids []int64
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	group, err := h.AddGroup(ctx, site.ID, devices.Socket, "All", ids)
	require.NoError(h.t, err)
	require.NoError(h.t, h.ReportLink(ctx, unit.ID, devices.LinkReport{Online: true, Session: "s", Clock: h.clock.Now(), Catalogue: 2}))
	return site, unit, group
}

type parts struct {
	list []devices.Part
	err  error
}

// beginGroup switches a group on and returns before the answer.
func (h *house) beginGroup(r devices.TogetherRequest) <-chan parts {
	c := make(chan parts, 1)
	go func() {
		list, err := h.ExecuteGroup(h.t.Context(), h.owner, rowOf(h.t, devices.OperateGroup, devices.Socket), r)
		c <- parts{list, err}
	}()
	return c
}

func TestAGroupIsOneCommandForEachDevice(t *testing.T) {
	h := newHouse(t)
	site, _, group := h.lamps(40)
	answer := h.beginGroup(devices.TogetherRequest{SiteID: site.ID, ID: group.ID})
	var orders []devices.Order
	for range 40 { // all are sent before any is answered
		orders = append(orders, h.order())
	}
	for _, o := range orders {
		require.Equal(t, "on", o.Operation)
		h.done(o)
	}
	got := <-answer
	require.NoError(t, got.err)
	require.Len(t, got.list, 40)
	records := map[string]bool{}
	for i, p := range got.list {
		require.True(t, p.Done())
		require.Equal(t, group.Devices[i].ID, p.Device.ID)
		record, err := h.Command(t.Context(), h.owner, site.ID, p.Command.ID)
		require.NoError(t, err)
		require.Equal(t, p.Device.ID, record.DeviceID)
		records[p.Command.ID] = true
	}
	require.Len(t, records, 40, "each has a record of its own")
}

func TestAGroupWithAnOfflineMember(t *testing.T) {
	h := newHouse(t, impatient)
	site, _, group := h.lamps(3)
	answer := h.beginGroup(devices.TogetherRequest{SiteID: site.ID, ID: group.ID})
	orders := map[int64]devices.Order{}
	for range 3 {
		o := h.order()
		orders[o.DeviceID] = o
	}
	ids := slices.Sorted(maps.Keys(orders))
	h.done(orders[ids[0]])
	require.NoError(t, h.Acknowledge(t.Context(), orders[ids[1]].UnitID, devices.Ack{CommandID: orders[ids[1]].CommandID, Outcome: devices.Refused, Reason: "The socket does not answer"}))
	got := <-answer // the third keeps silent
	require.NoError(t, got.err)
	require.Equal(t, []devices.Outcome{devices.Done, devices.Refused, devices.Unknown},
		[]devices.Outcome{got.list[0].Command.Outcome, got.list[1].Command.Outcome, got.list[2].Command.Outcome})
	require.Equal(t, "The socket does not answer", got.list[1].Command.Reason)

	entries, err := h.History(t.Context(), h.owner, site.ID, devices.HistoryQuery{Types: []devices.HistoryType{devices.HistoryDiagnosis, devices.HistoryHomeAuto}})
	require.NoError(t, err)
	var labels []string
	for _, e := range entries {
		labels = append(labels, e.Label)
	}
	require.Contains(t, labels, "Lamp 0 switched on by Alice (My script)")
	require.Contains(t, labels, "Alice (My script) could not switch Lamp 1 on: the unit refused: The socket does not answer")
	require.Contains(t, labels, "Alice (My script) could not switch Lamp 2 on: the unit did not answer")
}

func TestAGroupWithAKeyIsRepeatedHarmlessly(t *testing.T) {
	h := newHouse(t)
	site, _, group := h.lamps(2)
	r := devices.TogetherRequest{SiteID: site.ID, ID: group.ID, Key: "k"}
	answer := h.beginGroup(r)
	h.done(h.order())
	h.done(h.order())
	first := <-answer
	require.NoError(t, first.err)
	again := <-h.beginGroup(r)
	require.NoError(t, again.err)
	for i := range first.list {
		require.Equal(t, first.list[i].Command.ID, again.list[i].Command.ID)
	}
	h.nothingSent()
	_, err := h.ExecuteGroup(t.Context(), h.owner, rowOf(t, devices.OperateGroup, devices.Socket), devices.TogetherRequest{SiteID: site.ID, ID: group.ID, Key: "a b"})
	require.Equal(t, devices.BadKey, refusal(t, err))
}

func TestAGroupGoesOnWhenItsClientHasGone(t *testing.T) {
	h := newHouse(t)
	site, _, group := h.lamps(30)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.ExecuteGroup(ctx, h.owner, rowOf(t, devices.OperateGroup, devices.Socket), devices.TogetherRequest{SiteID: site.ID, ID: group.ID})
	require.ErrorIs(t, err, context.Canceled)
	h.nothingSent() // it had gone before the group was found

	ctx, cancel = context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := h.ExecuteGroup(ctx, h.owner, rowOf(t, devices.OperateGroup, devices.Socket), devices.TogetherRequest{SiteID: site.ID, ID: group.ID})
		ended <- err
	}()
	first := h.order()
	cancel()
	for range 29 {
		h.done(h.order())
	}
	h.done(first)
	<-ended
	require.NoError(t, h.Drain(t.Context()))
}

func TestAGroupOfAnotherKindOrSiteIsUnknown(t *testing.T) {
	h := newHouse(t)
	site, _, group := h.lamps(1)
	on, open := rowOf(t, devices.OperateGroup, devices.Socket), rowOf(t, devices.OperateGroup, devices.Shutter)
	for name, try := range map[string]func() error{
		"of another kind": func() error {
			_, err := h.ExecuteGroup(t.Context(), h.owner, open, devices.TogetherRequest{SiteID: site.ID, ID: group.ID})
			return err
		},
		"at another site": func() error {
			_, err := h.ExecuteGroup(t.Context(), h.owner, on, devices.TogetherRequest{SiteID: h.site.ID, ID: group.ID})
			return err
		},
		"a device": func() error {
			_, err := h.ExecuteGroup(t.Context(), h.owner, on, devices.TogetherRequest{SiteID: h.site.ID, ID: h.socket.ID})
			return err
		},
		"somebody else's": func() error {
			_, err := h.ExecuteGroup(t.Context(), h.other, on, devices.TogetherRequest{SiteID: site.ID, ID: group.ID})
			return err
		},
	} {
		require.Equal(t, devices.NoSuch, refusal(t, try()), name)
	}
	h.nothingSent()

	var field *devices.FieldError
	for name, ids := range map[string][]int64{"none": nil, "foreign": {h.socket.ID, group.Devices[0].ID}, "of another kind": {h.shutter.ID}} {
		_, err := h.AddGroup(t.Context(), h.site.ID, devices.Socket, "Bad", ids)
		require.ErrorAs(t, err, &field, name)
	}
	_, err := h.AddGroup(t.Context(), h.site.ID, devices.Gate, "Gates", []int64{h.things[devices.Gate].ID})
	require.ErrorAs(t, err, &field)
	_, err = h.AddGroup(t.Context(), 1<<40, devices.Socket, "Nowhere", []int64{h.socket.ID})
	require.ErrorAs(t, err, &field)
}

func TestAScenarioIsItsOperationsInTheirOrder(t *testing.T) {
	h := newHouse(t)
	s, err := h.AddScenario(t.Context(), devices.Scenario{
		SiteID: h.site.ID, Label: "Leaving", Type: devices.OnDemand, CreatedBy: h.owner.UserID,
		Steps: []devices.Step{
			{Device: h.shutter, Operation: "close"}, {Device: h.socket, Operation: "off"}, {Device: devices.Device{Kind: devices.Security}, Operation: "armed"},
		},
	})
	require.NoError(t, err)
	played := make(chan parts, 1)
	go func() {
		list, err := h.PlayScenario(t.Context(), h.owner, devices.TogetherRequest{SiteID: h.site.ID, ID: s.ID})
		played <- parts{list, err}
	}()
	var did []string
	for range 3 {
		o := h.order()
		did = append(did, string(o.Kind)+" "+o.Operation)
		h.done(o)
	}
	got := <-played
	require.NoError(t, got.err)
	require.Equal(t, []string{"shutter close", "socket off", "security armed"}, did)
	require.Equal(t, []string{"Scenario “Leaving” played by Alice (My script)"}, h.labels(devices.HistoryScenario))

	c := h.owner
	c.Unscoped, c.Scopes = false, []string{"scenario:operate", "shutter:operate", "socket:operate"}
	_, err = h.PlayScenario(t.Context(), c, devices.TogetherRequest{SiteID: h.site.ID, ID: s.ID})
	require.Equal(t, devices.MissingScope, refusal(t, err), "a scenario is no way round a scope")
	h.nothingSent()

	enable := rowOf(t, devices.SwitchScenario, "")
	require.Equal(t, devices.WrongType, refusal(t, h.SwitchScenario(t.Context(), h.owner, enable, h.site.ID, s.ID)))
	for name, bad := range map[string]devices.Scenario{
		"no steps":             {SiteID: h.site.ID, Label: "x", Type: devices.OnDemand},
		"no type":              {SiteID: h.site.ID, Label: "x", Steps: []devices.Step{{Device: h.socket, Operation: "on"}}},
		"no such operation":    {SiteID: h.site.ID, Label: "x", Type: devices.OnDemand, Steps: []devices.Step{{Device: h.socket, Operation: "open"}}},
		"another kind":         {SiteID: h.site.ID, Label: "x", Type: devices.OnDemand, Steps: []devices.Step{{Device: devices.Device{ID: h.shutter.ID, Kind: devices.Socket}, Operation: "on"}}},
		"a device that is not": {SiteID: h.site.ID, Label: "x", Type: devices.OnDemand, Steps: []devices.Step{{Device: devices.Device{ID: s.ID, Kind: devices.Socket}, Operation: "on"}}},
		"a rule that is none":  {SiteID: h.site.ID, Label: "x", Type: devices.OnDemand, Rule: []byte(`[]`), Steps: []devices.Step{{Device: h.socket, Operation: "on"}}},
		"no such site":         {SiteID: 1 << 40, Label: "x", Type: devices.OnDemand, Steps: []devices.Step{{Device: h.socket, Operation: "on"}}},
	} {
		bad.CreatedBy = h.owner.UserID
		var field *devices.FieldError
		_, err := h.AddScenario(t.Context(), bad)
		require.ErrorAs(t, err, &field, name)
	}
}

func TestEnableAndDisablePersist(t *testing.T) {
	h := newHouse(t)
	s, err := h.AddScenario(t.Context(), devices.Scenario{
		SiteID: h.site.ID, Label: "Morning", Type: devices.Scheduled, Rule: []byte(`{"at":"07:00"}`), CreatedBy: h.owner.UserID, Steps: []devices.Step{{Device: h.shutter, Operation: "open"}},
	})
	require.NoError(t, err)
	for _, row := range devices.Catalogue() {
		if row.Action != devices.SwitchScenario {
			continue
		}
		for range 2 {
			require.NoError(t, h.SwitchScenario(t.Context(), h.owner, row, h.site.ID, s.ID))
			list, err := h.Scenarios(t.Context(), h.owner, h.site.ID)
			require.NoError(t, err)
			require.Equal(t, row.Operation == "enable", list[0].Enabled)
		}
	}
	require.Equal(t, []string{"Scenario “Morning” enabled by Alice (My script)", "Scenario “Morning” disabled by Alice (My script)"}, h.labels(devices.HistoryScenario))
	require.Equal(t, devices.NoSuch, refusal(t, h.SwitchScenario(t.Context(), h.owner, rowOf(t, devices.SwitchScenario, ""), h.site.ID, h.socket.ID)))
}

// What a token may not do now it may not have done, or left undone, at its time either.
func TestASwitchedScenarioIsNoWayRoundAScope(t *testing.T) {
	for operation, scope := range map[string]string{"disarmed": "security:disarm", "armed": "security:arm"} {
		h := newHouse(t)
		s, err := h.AddScenario(t.Context(), devices.Scenario{
			SiteID: h.site.ID, Label: operation, Type: devices.Scheduled, Rule: []byte(`{"at":"07:00"}`), CreatedBy: h.owner.UserID,
			Steps: []devices.Step{{Device: h.socket, Operation: "on"}, {Device: devices.Device{Kind: devices.Security}, Operation: operation}},
		})
		require.NoError(t, err)
		for _, row := range devices.Catalogue() {
			if row.Action != devices.SwitchScenario {
				continue
			}
			c := h.owner
			c.Unscoped, c.Scopes = false, []string{"scenario:read", "scenario:operate", "socket:operate"}
			var refused *devices.Refusal
			require.ErrorAs(t, h.SwitchScenario(t.Context(), c, row, h.site.ID, s.ID), &refused, "%s a scenario that has the alarm %s", row.Operation, operation)
			require.Equal(t, devices.MissingScope, refused.Code)
			require.Equal(t, scope, refused.Scope)
			c.Scopes = append(c.Scopes, scope)
			require.NoError(t, h.SwitchScenario(t.Context(), c, row, h.site.ID, s.ID))
		}
		require.Len(t, h.labels(devices.HistoryScenario), 2, "the refused ones changed nothing")
	}
}

func TestAnOperationThatTheUnitsCatalogueDoesNotKnow(t *testing.T) {
	h := newHouse(t)
	require.NoError(t, h.ReportLink(t.Context(), h.unit.ID, devices.LinkReport{Online: true, Session: "old", Catalogue: 1, Clock: h.clock.Now()}))
	_, err := h.Execute(t.Context(), h.owner, devices.Request{SiteID: h.site.ID, DeviceID: h.things[devices.Gate].ID, Kind: devices.Gate, Operation: "one"})
	require.Equal(t, devices.OutdatedUnit, refusal(t, err))
	h.nothingSent()
	answer := h.begin(h.open())
	h.done(h.order())
	require.Equal(t, devices.Done, (<-answer).Outcome, "what it knew before it still knows")
}

func TestAHeatersOperationsAreItsKinds(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		kind      devices.Kind
		operation string
		good      bool
	}{{devices.Heater, "eco", true}, {devices.Thermostat, "eco", true}, {devices.Thermostat, "boost", true}, {devices.Heater, "boost", false}} {
		// The path is a heater's in any case: what it is the record knows.
		family := devices.Heater
		if c.operation == "boost" {
			family = devices.Thermostat
		}
		r := devices.Request{SiteID: h.site.ID, DeviceID: h.things[c.kind].ID, Kind: family, Operation: c.operation, Async: true}
		command, err := h.Execute(t.Context(), h.owner, r)
		if !c.good {
			require.Equal(t, devices.NoSuch, refusal(t, err), "a heater without a thermostat")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.kind, command.Kind)
		o := h.order()
		require.Equal(t, c.kind, o.Kind, "the unit is told what it has")
		h.done(o)
	}
	require.NoError(t, h.Drain(t.Context()))
}

func TestFiveThousandDevicesInOneSite(t *testing.T) {
	h := newHouse(t)
	site, err := h.AddSite(t.Context(), h.owner.UserID, "Hotel", "UTC")
	require.NoError(t, err)
	wanted := make([]devices.NewDevice, 5001)
	for i := range wanted {
		wanted[i] = devices.NewDevice{Kind: devices.Socket, Label: fmt.Sprint("Lamp ", i)}
	}
	var field *devices.FieldError
	_, _, _, err = h.AddUnit(t.Context(), site.ID, wanted)
	require.ErrorAs(t, err, &field)
	_, _, list, err := h.AddUnit(t.Context(), site.ID, wanted[:5000])
	require.NoError(t, err)
	require.Len(t, list, 5000)
	listed, err := h.Devices(t.Context(), h.owner, listOf(t, devices.Socket), site.ID)
	require.NoError(t, err)
	require.Len(t, listed, 5000)
	sites, err := h.Sites(t.Context(), h.owner)
	require.NoError(t, err)
	require.Equal(t, 5000, sites[1].Counts[devices.Socket])
}
