package unit

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
)

// never is a time that does not come within a test.
const never = time.Hour

func (c *cloud) home(o HomeOptions) *Home {
	c.t.Helper()
	config := c.config(nil)
	h, err := NewHome(config, o)
	require.NoError(c.t, err)
	require.NoError(c.t, h.Start(limited(c.t)))
	c.t.Cleanup(func() { require.NoError(c.t, h.Stop(limited(c.t))) })
	return h
}

// does gives a command with that operation.
func does(kind devices.Kind, operation string) func(*mqtt.Command) {
	return func(m *mqtt.Command) { m.Kind, m.Operation = kind, operation }
}

func (c *cloud) do(name string, device int64, kind devices.Kind, operation string) mqtt.Ack {
	c.t.Helper()
	c.send(command(name, device, does(kind, operation)))
	ack := c.answer()
	require.Equal(c.t, name, ack.CommandID)
	require.Equal(c.t, devices.Done, ack.Outcome, ack.Reason)
	return ack
}

type position struct {
	Position int
	Moving   bool
}

func positionIn(t testing.TB, readings json.RawMessage) position {
	t.Helper()
	var p position
	require.NoError(t, json.Unmarshal(readings, &p))
	return p
}

// travelled follows a shutter until it is still.
func (c *cloud) travelled() []int {
	c.t.Helper()
	var way []int
	for {
		r, err := mqtt.DecodeState(c.next("hc/1/" + id + "/state/3").Payload)
		require.NoError(c.t, err)
		p := positionIn(c.t, r.Readings)
		way = append(way, p.Position)
		if !p.Moving {
			return way
		}
	}
}

func TestAShutterTakesItsTimeAndSaysWhereItIs(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := c.home(HomeOptions{Travel: 200 * time.Millisecond})

	begun := positionIn(t, c.do("open", blind, devices.Shutter, "open").State.Readings)
	require.True(t, begun.Moving, "it is answered for when it has begun to move")
	require.Less(t, begun.Position, 100)
	up := c.travelled()
	require.Greater(t, len(up), 2)
	require.True(t, slices.IsSorted(up))
	require.Equal(t, 100, up[len(up)-1])

	c.do("my", blind, devices.Shutter, "my")
	down := c.travelled()
	require.Equal(t, 30, down[len(down)-1])
	slices.Reverse(down)
	require.True(t, slices.IsSorted(down))

	again := positionIn(t, c.do("my again", blind, devices.Shutter, "my").State.Readings)
	require.Equal(t, position{30, false}, again, "there already")
	require.JSONEq(t, `{"position":30,"moving":false}`, string(h.States()[blind]))
}

func TestAnotherOrderTurnsAShutterRound(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := c.home(HomeOptions{Travel: 500 * time.Millisecond})
	c.do("open", blind, devices.Shutter, "open")
	require.Eventually(t, func() bool { return positionIn(t, h.States()[blind]).Position > 10 }, patience, time.Millisecond)
	turned := positionIn(t, c.do("close", blind, devices.Shutter, "close").State.Readings)
	require.True(t, turned.Moving)
	require.Eventually(t, func() bool { return positionIn(t, h.States()[blind]) == position{0, false} }, patience, time.Millisecond)
	require.Less(t, turned.Position, 100)
}

func TestTheAlarmWatchesAfterTheExitDelay(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := c.home(HomeOptions{ExitDelay: 300 * time.Millisecond})
	require.False(t, h.TriggerIntrusion(), "disarmed")

	before := time.Now()
	var armed struct {
		Level, Alarm string
		Until        int64 `json:"exit_delay_until"`
	}
	require.NoError(t, json.Unmarshal(c.do("arm", 0, devices.Security, "armed").State.Readings, &armed))
	require.Equal(t, "armed", armed.Level, "at once")
	require.Equal(t, "quiet", armed.Alarm)
	require.WithinRange(t, time.UnixMilli(armed.Until), before.Add(299*time.Millisecond), time.Now().Add(300*time.Millisecond))
	require.False(t, h.TriggerIntrusion(), "people are still leaving")

	require.Eventually(t, func() bool { return string(h.States()[0]) == `{"alarm":"quiet","level":"armed"}` }, patience, time.Millisecond)
	require.JSONEq(t, `{"level":"armed","alarm":"quiet"}`, string(c.do("arm again", 0, devices.Security, "armed").State.Readings), "no second delay")
	require.True(t, h.TriggerIntrusion())
	require.False(t, h.TriggerIntrusion(), "it rings already")
	event, err := mqtt.DecodeEvent(c.next("hc/1/" + id + "/event").Payload)
	require.NoError(t, err)
	require.Equal(t, devices.EventAlarm, event.Type)
	require.JSONEq(t, `{"level":"armed","alarm":"ringing"}`, string(h.States()[0]))

	require.JSONEq(t, `{"level":"disarmed","alarm":"quiet"}`, string(c.do("disarm", 0, devices.Security, "disarmed").State.Readings))
}

func TestDisarmingEndsTheExitDelay(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := c.home(HomeOptions{ExitDelay: never})
	c.do("arm", 0, devices.Security, "partial")
	c.do("disarm", 0, devices.Security, "disarmed")
	require.JSONEq(t, `{"level":"disarmed","alarm":"quiet"}`, string(h.States()[0]))
	require.NoError(t, h.Stop(limited(t)), "which waits for no delay")
}

func TestAHomeTellsWhatReallyHappened(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := c.home(HomeOptions{Travel: never})
	c.do("on", socket, devices.Socket, "on")
	require.JSONEq(t, `{"on":true}`, string(h.States()[socket]))
	require.JSONEq(t, `{"on":false}`, string(h.States()[lamp]))

	h.Refuse(socket, "The fuse is out")
	c.send(command("refused", socket, does(devices.Socket, "off")))
	require.Equal(t, "The fuse is out", c.answer().Reason)
	h.Refuse(socket, "")
	release := h.Hold(socket)
	c.send(command("held", socket, does(devices.Socket, "off")))
	c.do("other", lamp, devices.Socket, "on")
	require.JSONEq(t, `{"on":true}`, string(h.States()[socket]), "nothing happens before the release")
	release()
	release()
	require.Equal(t, "held", c.answer().CommandID)
	require.JSONEq(t, `{"on":false}`, string(h.States()[socket]))

	var done []Execution
	for _, e := range h.Executions() {
		require.WithinDuration(t, time.Now(), e.At, time.Minute)
		e.At = time.Time{}
		done = append(done, e)
	}
	require.Equal(t, []Execution{
		{CommandID: "on", Device: socket, Operation: "on"},
		{CommandID: "other", Device: lamp, Operation: "on"},
		{CommandID: "held", Device: socket, Operation: "off"},
	}, done)
}

// What the catalogue says of an operation is what happens.
func TestAHomeKnowsEveryOperationOfTheCatalogue(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	config := c.config(nil)
	device, number := map[devices.Kind]int64{devices.Security: 0}, int64(100)
	config.Devices = map[int64]devices.Kind{}
	for _, kind := range devices.DeviceKinds() {
		number++
		device[kind], config.Devices[number] = number, kind
	}
	h, err := NewHome(config, HomeOptions{Travel: time.Millisecond, ExitDelay: never})
	require.NoError(t, err)
	require.NoError(t, h.Start(limited(t)))
	t.Cleanup(func() { require.NoError(t, h.Stop(limited(t))) })
	done := 0
	for _, row := range devices.Catalogue() {
		if row.Action != devices.Operate {
			continue
		}
		for _, kind := range row.Kinds() {
			done++
			c.do(string(kind)+" "+row.Operation, device[kind], kind, row.Operation)
			thing, _ := devices.ThingOf(kind)
			for reading, want := range row.Sets {
				text, err := json.Marshal(want)
				require.NoError(t, err)
				require.Eventually(t, func() bool {
					said := h.States()[device[kind]]
					_, err := thing.Values(said)
					require.NoError(t, err, "%s of a %s can be told", row.Operation, kind)
					var values map[string]json.RawMessage
					require.NoError(t, json.Unmarshal(said, &values))
					return string(values[reading]) == string(text)
				}, patience, time.Millisecond, "%s of a %s leads to %s %s", row.Operation, kind, reading, text)
			}
		}
	}
	require.Equal(t, 24, done)
	for id := range config.Devices {
		_, err := h.things[id].Values(h.States()[id])
		require.NoError(t, err, "what a %s says can be taken in", h.things[id].Kind)
	}
}

func TestASensorSaysWhatItIsSetTo(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	config := c.config(nil)
	config.Devices = map[int64]devices.Kind{7: devices.Climate, 8: devices.Contact}
	h, err := NewHome(config, HomeOptions{})
	require.NoError(t, err)
	require.NoError(t, h.Start(limited(t)))
	t.Cleanup(func() { require.NoError(t, h.Stop(limited(t))) })
	require.NoError(t, h.Set(7, "temperature", 21.25))
	require.JSONEq(t, `{"temperature":21.25,"light":2}`, string(h.States()[7]))
	require.NoError(t, h.Set(7, "temperature", nil))
	require.JSONEq(t, `{"temperature":null,"light":2}`, string(h.States()[7]))
	require.NoError(t, h.Set(8, "state", "opened"))
	require.Error(t, h.Set(8, "state", "ajar"))
	require.Error(t, h.Set(7, "light", 3.0), "a level without a meaning")
	require.Error(t, h.Set(7, "position", 1.0))
	require.Error(t, h.Set(9, "state", "opened"))
	require.Error(t, h.Set(0, "level", "armed"))
}

func TestTheAlarmRingsAfterTheEntryDelayUnlessDisarmed(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	h := c.home(HomeOptions{ExitDelay: time.Millisecond, EntryDelay: 200 * time.Millisecond})
	armed := func(name string) {
		c.do(name, 0, devices.Security, "armed")
		require.Eventually(t, func() bool { return string(h.States()[0]) == `{"alarm":"quiet","level":"armed"}` }, patience, time.Millisecond)
	}
	armed("arm")
	before := time.Now()
	require.True(t, h.TriggerIntrusion())
	require.False(t, h.TriggerIntrusion(), "the delay runs")
	var said struct {
		Alarm string
		Until int64 `json:"entry_delay_until"`
	}
	require.NoError(t, json.Unmarshal(h.States()[0], &said))
	require.Equal(t, "quiet", said.Alarm)
	require.WithinRange(t, time.UnixMilli(said.Until), before.Add(199*time.Millisecond), time.Now().Add(200*time.Millisecond))
	c.do("disarm", 0, devices.Security, "disarmed")
	require.JSONEq(t, `{"level":"disarmed","alarm":"quiet"}`, string(h.States()[0]))

	armed("arm again")
	require.True(t, h.TriggerIntrusion())
	event, err := mqtt.DecodeEvent(c.next("hc/1/" + id + "/event").Payload)
	require.NoError(t, err)
	require.Equal(t, devices.EventAlarm, event.Type, "the first one was disarmed in time, and rang nothing")
	require.JSONEq(t, `{"level":"armed","alarm":"ringing"}`, string(h.States()[0]))
}

func TestNewHomeRefusesWhatItCannotSimulate(t *testing.T) {
	t.Parallel()
	config := newCloud(t).config(nil)
	config.Devices = map[int64]devices.Kind{1: "spaceship"}
	_, err := NewHome(config, HomeOptions{})
	require.ErrorContains(t, err, "spaceship")
}
