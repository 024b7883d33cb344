package devices_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/foxbridge/foxbridge/devices"
)

// says has the unit say something of a device, with the next sequence.
func (h *house) says(kind devices.Kind, readings string) {
	h.t.Helper()
	h.saysAt(kind, readings, h.clock.Now())
}

func (h *house) saysAt(kind devices.Kind, readings string, at time.Time) {
	h.t.Helper()
	require.NoError(h.t, h.saying(kind, readings, at))
}

func (h *house) saying(kind devices.Kind, readings string, at time.Time) error {
	h.seq++
	return h.ReportState(h.t.Context(), h.unit.ID, devices.StateReport{
		DeviceID: h.things[kind].ID, Sequence: h.seq, Time: at, Readings: json.RawMessage(readings),
	})
}

// rowOf finds the first row that does this with the kind.
func rowOf(t *testing.T, action devices.Action, kind devices.Kind) devices.Row {
	t.Helper()
	for _, row := range devices.Catalogue() {
		if row.Action == action && row.Kind == kind {
			return row
		}
	}
	t.Fatalf("no row %d of %s", action, kind)
	return devices.Row{}
}

func (h *house) measured(kind devices.Kind, device devices.Kind, q devices.MeasurementQuery) []devices.Measurement {
	h.t.Helper()
	list, err := h.Measurements(h.t.Context(), h.owner, rowOf(h.t, devices.ReadMeasurements, kind), h.site.ID, h.things[device].ID, q)
	require.NoError(h.t, err)
	return list
}

// listed gives a device as a list of its kind has it.
func (h *house) listed(kind devices.Kind, device devices.Kind) devices.Reported {
	h.t.Helper()
	list, err := h.Devices(h.t.Context(), h.owner, listOf(h.t, kind), h.site.ID)
	require.NoError(h.t, err)
	for _, d := range list {
		if d.Kind == device {
			return d
		}
	}
	h.t.Fatalf("no %s in the list of %s", device, kind)
	return devices.Reported{}
}

// labels gives the labels of the site's history, the oldest first.
func (h *house) labels(types ...devices.HistoryType) []string {
	h.t.Helper()
	entries, err := h.History(h.t.Context(), h.owner, h.site.ID, devices.HistoryQuery{Types: types, Ascending: true, From: h.clock.Now().AddDate(-1, 0, 0)})
	require.NoError(h.t, err)
	var labels []string
	for _, e := range entries {
		labels = append(labels, e.Label)
	}
	return labels
}

func thingOf(t *testing.T, kind devices.Kind) devices.Thing {
	t.Helper()
	thing, known := devices.ThingOf(kind)
	require.True(t, known)
	return thing
}

func TestAReadingMayBeNullAndSaysSinceWhen(t *testing.T) {
	h := newHouse(t)
	fields := listOf(t, devices.Temperature).Fields
	values, at := h.listed(devices.Temperature, devices.Temperature).Values(thingOf(t, devices.Temperature), fields)
	require.Nil(t, values["temperature"])
	require.Equal(t, h.things[devices.Temperature].CreatedAt, at["temperature"], "nothing was ever said: since it is there")

	began := h.clock.Now()
	h.says(devices.Temperature, `{"temperature":21.5}`)
	h.clock.Advance(time.Minute)
	h.says(devices.Temperature, `{"temperature":null}`)
	h.clock.Advance(time.Minute)
	h.says(devices.Temperature, `{}`)
	values, at = h.listed(devices.Temperature, devices.Temperature).Values(thingOf(t, devices.Temperature), fields)
	require.Nil(t, values["temperature"])
	require.Equal(t, began.Add(time.Minute), at["temperature"], "since it became so, however often it is said")

	h.clock.Advance(time.Minute)
	h.says(devices.Temperature, `{"temperature":20}`)
	values, at = h.listed(devices.Temperature, devices.Temperature).Values(thingOf(t, devices.Temperature), fields)
	require.Equal(t, 20.0, values["temperature"])
	require.Equal(t, h.clock.Now(), at["temperature"], "taken then")
	require.Len(t, h.measured(devices.Temperature, devices.Temperature, devices.MeasurementQuery{To: h.clock.Now()}), 2, "null is not measured")
}

func TestOneSensorMayBeInTwoLists(t *testing.T) {
	h := newHouse(t)
	h.says(devices.Climate, `{"temperature":18,"light":4}`)
	require.Equal(t, h.listed(devices.Temperature, devices.Climate).ID, h.listed(devices.Light, devices.Climate).ID)
	require.Equal(t, []devices.Measurement{{Value: 18, At: h.clock.Now()}}, h.measured(devices.Temperature, devices.Climate, devices.MeasurementQuery{}))
	require.Equal(t, []devices.Measurement{{Value: 4, At: h.clock.Now()}}, h.measured(devices.Light, devices.Climate, devices.MeasurementQuery{}))
	_, err := h.Measurements(t.Context(), h.owner, rowOf(t, devices.ReadMeasurements, devices.Temperature), h.site.ID, h.things[devices.Light].ID, devices.MeasurementQuery{})
	require.Equal(t, devices.NoSuch, refusal(t, err), "a light sensor measures no temperature")
}

func TestMeasurementsAreOfTheLastWeekAndAHundredAtTheMost(t *testing.T) {
	h := newHouse(t)
	start := h.clock.Now()
	h.says(devices.Temperature, `{"temperature":1}`)
	h.clock.Advance(8 * 24 * time.Hour)
	for i := range 120 {
		h.clock.Advance(time.Minute)
		h.says(devices.Temperature, fmt.Sprintf(`{"temperature":%d}`, i%50))
	}
	list := h.measured(devices.Temperature, devices.Temperature, devices.MeasurementQuery{})
	require.Len(t, list, 100)
	require.Equal(t, h.clock.Now(), list[0].At, "the latest first")
	list = h.measured(devices.Temperature, devices.Temperature, devices.MeasurementQuery{Ascending: true})
	require.Len(t, list, 100)
	require.Equal(t, start.Add(8*24*time.Hour+time.Minute), list[0].At, "what is older than a week is not there")
	list = h.measured(devices.Temperature, devices.Temperature, devices.MeasurementQuery{To: start})
	require.Equal(t, []devices.Measurement{{Value: 1, At: start}}, list, "the week before dateTo")
}

func TestOldMeasurementsAreRolledUpAndThenForgotten(t *testing.T) {
	h := newHouse(t, func(o *devices.Options) {
		o.Keep = devices.Keep{Raw: 24 * time.Hour, Measurements: 72 * time.Hour, History: 48 * time.Hour}
	})
	hour := h.clock.Now()
	for i, v := range []float64{10, 20, 60} {
		h.saysAt(devices.Temperature, fmt.Sprintf(`{"temperature":%g}`, v), hour.Add(time.Duration(i)*time.Minute))
		h.clock.Advance(time.Minute)
	}
	all := devices.MeasurementQuery{From: hour}
	require.Len(t, h.measured(devices.Temperature, devices.Temperature, all), 3)
	require.NoError(t, h.Sweep(t.Context()))
	require.Len(t, h.measured(devices.Temperature, devices.Temperature, all), 3)
	h.clock.Advance(25 * time.Hour)
	require.NoError(t, h.Sweep(t.Context()))
	require.Equal(t, []devices.Measurement{{Value: 30, At: hour}}, h.measured(devices.Temperature, devices.Temperature, all))
	require.NotEmpty(t, h.labels())
	h.clock.Advance(24 * time.Hour)
	require.NoError(t, h.Sweep(t.Context()))
	require.Empty(t, h.labels())
	h.clock.Advance(24 * time.Hour)
	require.NoError(t, h.Sweep(t.Context()))
	require.Empty(t, h.measured(devices.Temperature, devices.Temperature, all))
}

func TestTenThousandReadingsInASecond(t *testing.T) {
	h := newHouse(t)
	second := h.clock.Now()
	var calls errgroup.Group
	calls.SetLimit(32)
	for i := range 10_000 {
		calls.Go(func() error {
			return h.ReportState(context.Background(), h.unit.ID, devices.StateReport{
				DeviceID: h.things[devices.Temperature].ID, Sequence: int64(i + 1), Time: second.Add(time.Duration(i) * time.Microsecond),
				Readings: json.RawMessage(fmt.Sprintf(`{"temperature":%d}`, i%50)),
			})
		})
	}
	require.NoError(t, calls.Wait())
	reported := h.listed(devices.Temperature, devices.Temperature)
	require.Equal(t, int64(10_000), reported.State.Sequence, "the last one stands")
	list := h.measured(devices.Temperature, devices.Temperature, devices.MeasurementQuery{To: second.Add(time.Second)})
	require.Len(t, list, 1, "of a minute one value is kept")
	require.Equal(t, 49.0, list[0].Value)
}

func TestAUnitThatReportsADeviceItDoesNotHave(t *testing.T) {
	h := newHouse(t)
	elsewhere, err := h.AddSite(t.Context(), h.other.UserID, "Elsewhere", "UTC")
	require.NoError(t, err)
	_, _, foreign, err := h.AddUnit(t.Context(), elsewhere.ID, []devices.NewDevice{{Kind: devices.Temperature, Label: "Foreign"}})
	require.NoError(t, err)
	before := h.labels()
	for _, id := range []int64{foreign[0].ID, 1 << 40, -1} {
		var rejected *devices.Rejected
		require.ErrorAs(t, h.ReportState(t.Context(), h.unit.ID, devices.StateReport{DeviceID: id, Sequence: 1, Time: h.clock.Now(), Readings: json.RawMessage(`{"temperature":1}`)}), &rejected)
		require.ErrorAs(t, h.ReportEvent(t.Context(), h.unit.ID, devices.EventReport{ID: "e", Type: devices.EventTamper, DeviceID: id, Time: h.clock.Now()}), &rejected)
	}
	require.Equal(t, before, h.labels())
}

func TestAValueOutOfRangeChangesNothing(t *testing.T) {
	h := newHouse(t)
	for kind, bad := range map[devices.Kind][]string{
		devices.Temperature: {`{"temperature":1e9}`, `{"temperature":-61}`, `{"temperature":"warm"}`, `{"temperature":true}`, `{"temperature":[1]}`},
		devices.Light:       {`{"light":0}`, `{"light":3}`, `{"light":7}`, `{"light":1.5}`},
		devices.Contact:     {`{"state":"ajar"}`, `{"state":1}`},
		devices.Detector:    {`{"state":2}`, `{"state":-1}`, `{"state":"alert"}`},
		devices.Shutter:     {`{"position":101}`, `{"position":-1}`, `{"moving":"yes"}`},
		devices.Heater:      {`{"mode":"boost"}`, `{"mode":null}`, `{}`},
		devices.Thermostat:  {`{"mode":"thermostatoff"}`, `{"mode":"auto","temperature":1000}`},
		devices.Socket:      {`{"on":"yes"}`, `{"on":1}`},
		devices.Security:    {`{"level":"panic"}`, `{"level":"armed","alarm":"loud"}`, `{"level":"armed","exit_delay_until":-1}`},
	} {
		for _, readings := range bad {
			var rejected *devices.Rejected
			require.ErrorAs(t, h.saying(kind, readings, h.clock.Now()), &rejected, "%s of a %s", readings, kind)
		}
	}
	for _, kind := range []devices.Kind{devices.Temperature, devices.Light} {
		require.Zero(t, h.listed(kind, kind).State.Sequence)
		require.Empty(t, h.measured(kind, kind, devices.MeasurementQuery{}))
	}
}

func TestATimeInTheFutureIsNow(t *testing.T) {
	h := newHouse(t)
	h.saysAt(devices.Temperature, `{"temperature":5}`, h.clock.Now().AddDate(50, 0, 0))
	require.Equal(t, []devices.Measurement{{Value: 5, At: h.clock.Now()}}, h.measured(devices.Temperature, devices.Temperature, devices.MeasurementQuery{}))
	_, at := h.listed(devices.Temperature, devices.Temperature).Values(thingOf(t, devices.Temperature), listOf(t, devices.Temperature).Fields)
	require.Equal(t, h.clock.Now(), at["temperature"])
}

func TestWhatSensorsSayIsInTheHistoryWhenItChanges(t *testing.T) {
	h := newHouse(t)
	h.says(devices.Contact, `{"state":"closed"}`)
	h.says(devices.Contact, `{"state":"opened"}`)
	h.says(devices.Contact, `{"state":"opened","battery":7}`)
	h.says(devices.Contact, `{"state":"closed"}`)
	h.says(devices.Detector, `{"state":0}`)
	h.says(devices.Detector, `{"state":1}`)
	h.says(devices.Detector, `{"state":0}`)
	require.Equal(t, []string{"The contact: opened", "The contact: closed"}, h.labels(devices.HistoryAccess))
	require.Equal(t, []string{"The detector: alert"}, h.labels(devices.HistoryAlarm))
	require.Equal(t, []string{"The unit is connected", "The detector: back to normal"}, h.labels(devices.HistoryDiagnosis))
}

func TestTheAlarmAsTheUnitReportsIt(t *testing.T) {
	h := newHouse(t)
	h.online("s2", 3*time.Minute) // its clock is ahead
	theirs := h.clock.Now().Add(3 * time.Minute)
	h.says(devices.Security, fmt.Sprintf(`{"level":"armed","alarm":"quiet","exit_delay_until":%d}`, theirs.Add(15*time.Second).UnixMilli()))
	alarm, err := h.Alarm(t.Context(), h.owner, h.site.ID)
	require.NoError(t, err)
	require.Equal(t, devices.Alarm{Level: devices.SecurityLevel{Label: "armed", Code: 4}, ExitUntil: h.clock.Now().Add(15 * time.Second)}, alarm)

	h.clock.Advance(16 * time.Second)
	alarm, err = h.Alarm(t.Context(), h.owner, h.site.ID)
	require.NoError(t, err)
	require.Zero(t, alarm.ExitUntil, "a delay that is over, though the unit has not said so yet")

	theirs = h.clock.Now().Add(3 * time.Minute)
	h.says(devices.Security, fmt.Sprintf(`{"level":"armed","alarm":"quiet","entry_delay_until":%d}`, theirs.Add(30*time.Second).UnixMilli()))
	alarm, err = h.Alarm(t.Context(), h.owner, h.site.ID)
	require.NoError(t, err)
	require.Equal(t, h.clock.Now().Add(30*time.Second), alarm.EntryUntil)
	h.says(devices.Security, `{"level":"armed","alarm":"ringing"}`)
	alarm, err = h.Alarm(t.Context(), h.owner, h.site.ID)
	require.NoError(t, err)
	require.True(t, alarm.Ringing)
	h.says(devices.Security, `{"level":"disarmed","alarm":"quiet"}`)
	require.Equal(t, []string{"Alarm disarmed at home"}, h.labels(devices.HistorySecurity), "somebody was at the keypad")
}

// What is commanded and what the unit then says of it are one event, in whatever order
// they come.
func TestWhatWasCommandedIsInTheHistoryOnce(t *testing.T) {
	h := newHouse(t)
	h.says(devices.Security, `{"level":"disarmed"}`)
	answer := h.begin(h.arm())
	o := h.order()
	h.says(devices.Security, `{"level":"armed"}`) // before the answer
	h.done(o)
	require.Equal(t, devices.Done, (<-answer).Outcome)
	require.Equal(t, []string{"Alarm armed by Alice (My script)"}, h.labels(devices.HistorySecurity))
	h.clock.Advance(3 * time.Minute)
	h.says(devices.Security, `{"level":"partial"}`)
	require.Equal(t, []string{"Alarm armed by Alice (My script)", "Alarm partially armed at home"}, h.labels(devices.HistorySecurity))
}
