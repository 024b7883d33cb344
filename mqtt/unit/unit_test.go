package unit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/broker"
	"github.com/foxbridge/foxbridge/mqtt/internal/wire"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "00000000000000aa"

// The devices of every unit here.
const (
	socket int64 = 1
	lamp   int64 = 2
	blind  int64 = 3
)

func kinds() map[int64]devices.Kind {
	return map[int64]devices.Kind{socket: devices.Socket, lamp: devices.Socket, blind: devices.Shutter}
}

// house is a Handler made of functions; nil does nothing.
type house struct {
	execute  func(ctx context.Context, c mqtt.Command) error
	readings func(device int64) json.RawMessage
}

func (h house) Execute(ctx context.Context, c mqtt.Command) error {
	if h.execute == nil {
		return nil
	}
	return h.execute(ctx, c)
}

func (h house) Readings(device int64) json.RawMessage {
	if h.readings == nil {
		return json.RawMessage(`{}`)
	}
	return h.readings(device)
}

type everyone struct{}

func (everyone) Authenticate(_ context.Context, username, password string) (string, bool, error) {
	return username, username == password, nil
}

func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// cloud is a broker with two bridges on it.
type cloud struct {
	t      testing.TB
	broker *broker.Broker
	conn   *wire.Conn
	inbox  chan wire.Message
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	b := broker.New(broker.Options{Logger: slog.New(slog.DiscardHandler), Gatekeeper: everyone{}, TCP: []string{"127.0.0.1:0"}})
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, b.Stop(limited(t))) })
	c := &cloud{t: t, broker: b, inbox: make(chan wire.Message, 10000)}
	conn, err := wire.Connect(t.Context(), wire.Options{Dial: b.Dial, ClientID: "bridge", Receive: func(m wire.Message) { c.inbox <- m }})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(patience) })
	require.NoError(t, conn.Subscribe(t.Context(), "hc/1/+/ack/+", "hc/1/+/state/+", "hc/1/+/event", "hc/1/+/link"))
	c.conn = conn
	return c
}

func (c *cloud) config(h Handler) Config {
	dial, err := mqtt.Dialer(nil, "tcp://"+c.broker.Addr().String())
	require.NoError(c.t, err)
	return Config{Dial: dial, Unit: id, Password: id, Devices: kinds(), Handler: h, Logger: slog.New(slog.DiscardHandler)}
}

func (c *cloud) start(config Config) *Unit {
	c.t.Helper()
	u, err := New(config)
	require.NoError(c.t, err)
	require.NoError(c.t, u.Start(limited(c.t)))
	c.t.Cleanup(func() { require.NoError(c.t, u.Stop(limited(c.t))) })
	return u
}

// command makes a command to a socket, good for a minute.
func command(name string, device int64, change ...func(*mqtt.Command)) mqtt.Command {
	now := time.Now()
	c := mqtt.Command{Reply: "hc/1/" + id + "/ack/one", Order: devices.Order{
		CommandID: name, DeviceID: device, Kind: devices.Socket, Operation: "on", Issued: now, Expires: now.Add(time.Minute),
	}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func (c *cloud) send(command mqtt.Command) {
	c.t.Helper()
	payload, err := mqtt.EncodeCommand(command)
	require.NoError(c.t, err)
	_, err = c.conn.Publish(wire.Message{Topic: "hc/1/" + id + "/cmd", Payload: payload})
	require.NoError(c.t, err)
}

// next waits for the next message with that topic, and passes over the others.
func (c *cloud) next(topic string) wire.Message {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m := <-c.inbox:
			if m.Topic == topic {
				return m
			}
		case <-deadline:
			c.t.Fatalf("nothing came on %s", topic)
		}
	}
}

func (c *cloud) answer() mqtt.Ack {
	c.t.Helper()
	ack, err := mqtt.DecodeAck(c.next("hc/1/" + id + "/ack/one").Payload)
	require.NoError(c.t, err)
	return ack
}

func TestUnitIsMadeOfValidParts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	good := Config{
		Dial: func(context.Context) (net.Conn, error) {
			if attempts++; attempts == 2 {
				cancel()
			}
			return nil, errors.New("nobody there")
		},
		Unit: id, Handler: house{}, Logger: slog.New(slog.DiscardHandler),
	}
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Dial = nil },
		func(c *Config) { c.Unit = "home" },
		func(c *Config) { c.Handler = nil },
		func(c *Config) { c.Logger = nil },
		func(c *Config) { c.Devices = map[int64]devices.Kind{0: devices.Socket} },
	} {
		c := good
		spoil(&c)
		_, err := New(c)
		require.Error(t, err)
	}
	u, err := New(good)
	require.NoError(t, err)
	require.NoError(t, u.Stop(t.Context()), "what was never started")
	require.ErrorContains(t, u.Start(ctx), "nobody there")
}

func TestACommandIsExecutedOnceAndARepeatGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	var times atomic.Int64
	c := newCloud(t)
	c.start(c.config(house{
		execute: func(context.Context, mqtt.Command) error {
			times.Add(1)
			return nil
		},
		readings: func(int64) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"times":%d}`, times.Load())) },
	}))
	c.send(command("a", socket))
	first := c.next("hc/1/" + id + "/ack/one")
	ack, err := mqtt.DecodeAck(first.Payload)
	require.NoError(t, err)
	require.Equal(t, devices.Done, ack.Outcome)
	require.JSONEq(t, `{"times":1}`, string(ack.State.Readings))
	for range 3 {
		c.send(command("a", socket))
		require.Equal(t, first.Payload, c.next("hc/1/"+id+"/ack/one").Payload)
	}
	c.send(command("a", socket, func(m *mqtt.Command) { m.Reply = "hc/1/" + id + "/ack/two" }))
	require.Equal(t, first.Payload, c.next("hc/1/"+id+"/ack/two").Payload, "to the bridge that asks")
	c.send(command("a", socket, func(m *mqtt.Command) { m.Expires = m.Issued.Add(-time.Second) }))
	require.Equal(t, first.Payload, c.next("hc/1/"+id+"/ack/one").Payload, "the answer does not expire")
	require.EqualValues(t, 1, times.Load())
}

func TestARepeatOfWhatIsBeingDoneStartsNothing(t *testing.T) {
	t.Parallel()
	var times atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	c := newCloud(t)
	c.start(c.config(house{execute: func(_ context.Context, m mqtt.Command) error {
		if m.CommandID == "a" {
			times.Add(1)
			close(begun)
			<-release
		}
		return nil
	}}))
	c.send(command("a", socket))
	<-begun
	c.send(command("a", socket))
	c.send(command("a", socket, func(m *mqtt.Command) { m.Reply = "hc/1/" + id + "/ack/two" }))
	c.send(command("b", lamp))
	require.Equal(t, "b", c.answer().CommandID, "the repeats were taken in by now, and not answered")
	close(release)
	one, two := c.next("hc/1/"+id+"/ack/one"), c.next("hc/1/"+id+"/ack/two")
	require.Equal(t, one.Payload, two.Payload, "both bridges are answered")
	c.send(command("c", socket))
	require.Equal(t, "c", c.answer().CommandID, "and each once")
	require.EqualValues(t, 1, times.Load())
}

func TestAnExpiredCommandIsDroppedByTheUnitsOwnClock(t *testing.T) {
	t.Parallel()
	var done sync.Map
	c := newCloud(t)
	config := c.config(house{execute: func(_ context.Context, m mqtt.Command) error {
		done.Store(m.CommandID, true)
		return nil
	}})
	ahead := time.Hour
	config.Clock = func() time.Time { return time.Now().Add(ahead) }
	c.start(config)
	c.send(command("fresh by the cloud's clock", socket))
	c.send(command("fresh by the unit's", socket, func(m *mqtt.Command) {
		m.Issued, m.Expires = m.Issued.Add(ahead), m.Expires.Add(ahead)
	}))
	ack := c.answer()
	require.Equal(t, "fresh by the unit's", ack.CommandID)
	require.WithinDuration(t, time.Now().Add(ahead), ack.Time, time.Minute)
	_, executed := done.Load("fresh by the cloud's clock")
	require.False(t, executed)
}

func TestACommandThatExpiresWaitingForItsTurnIsDropped(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	var late atomic.Bool
	c := newCloud(t)
	config := c.config(house{execute: func(_ context.Context, m mqtt.Command) error {
		switch m.CommandID {
		case "slow":
			close(begun)
			<-release
		case "late":
			late.Store(true)
		}
		return nil
	}})
	var passed atomic.Int64
	config.Clock = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	c.start(config)
	c.send(command("slow", socket))
	<-begun
	c.send(command("late", socket))
	c.send(command("other", lamp))
	require.Equal(t, "other", c.answer().CommandID)
	passed.Store(int64(2 * time.Minute))
	close(release)
	require.Equal(t, "slow", c.answer().CommandID)
	c.send(command("next", socket, func(m *mqtt.Command) { m.Expires = m.Expires.Add(2 * time.Minute) }))
	require.Equal(t, "next", c.answer().CommandID)
	require.False(t, late.Load())
}

func TestWhatTheUnitRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 150)
	c := newCloud(t)
	c.start(c.config(house{execute: func(_ context.Context, m mqtt.Command) error {
		switch m.CommandID {
		case "reasoned":
			return fmt.Errorf("wrapped: %w", &Refusal{Reason: "A window is open"})
		case "lengthy":
			return &Refusal{Reason: long}
		case "unspeakable":
			return &Refusal{Reason: "\x00"}
		case "failing":
			return errors.New("SECRET: wire 7 is loose")
		}
		return nil
	}}))
	for _, refused := range []struct {
		name   string
		change func(*mqtt.Command)
		reason string
	}{
		{"no such device", func(m *mqtt.Command) { m.DeviceID = 99 }, "The unit has no such device"},
		{"another kind", func(m *mqtt.Command) { m.DeviceID = blind }, "The unit has no such device"},
		{"not the alarm", func(m *mqtt.Command) { m.DeviceID = 0 }, "The unit has no such device"},
		{"unknown operation", func(m *mqtt.Command) { m.Operation = "explode" }, "The unit does not know this operation"},
		{"operation of another kind", func(m *mqtt.Command) { m.Operation = "open" }, "The unit does not know this operation"},
		{"arguments", func(m *mqtt.Command) { m.Arguments = json.RawMessage(`{"level":7}`) }, "The unit does not know these arguments"},
		{"reasoned", nil, "A window is open"},
		{"lengthy", nil, strings.Repeat("é", 100)},
		{"unspeakable", nil, ""},
		{"failing", nil, "The unit could not do it"},
	} {
		m := command(refused.name, socket)
		if refused.change != nil {
			refused.change(&m)
		}
		c.send(m)
		ack := c.answer()
		require.Equal(t, refused.name, ack.CommandID)
		require.Equal(t, devices.Refused, ack.Outcome, refused.name)
		require.Equal(t, refused.reason, ack.Reason, refused.name)
	}
	c.send(command("blank arguments", socket, func(m *mqtt.Command) { m.Arguments = json.RawMessage(`{ }`) }))
	require.Equal(t, devices.Done, c.answer().Outcome)
	c.send(command("alarm", devices.SecurityDevice, func(m *mqtt.Command) { m.Kind, m.Operation = devices.Security, "armed" }))
	require.Equal(t, devices.Done, c.answer().Outcome)
}

func TestAUnitAnswersOnItsOwnTopicsAlone(t *testing.T) {
	t.Parallel()
	var times atomic.Int64
	c := newCloud(t)
	c.start(c.config(house{execute: func(context.Context, mqtt.Command) error {
		times.Add(1)
		return nil
	}}))
	c.send(command("a", socket, func(m *mqtt.Command) { m.Reply = "hc/1/00000000000000bb/ack/one" }))
	_, err := c.conn.Publish(wire.Message{Topic: "hc/1/" + id + "/cmd", Payload: []byte("garbage")})
	require.NoError(t, err)
	c.send(command("b", socket))
	require.Equal(t, "b", c.answer().CommandID)
	require.EqualValues(t, 1, times.Load())
}

func TestDevicesActSideBySideAndEachInOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	order := map[int64][]string{}
	both := make(chan struct{}, 2)
	release := make(chan struct{})
	c := newCloud(t)
	c.start(c.config(house{execute: func(_ context.Context, m mqtt.Command) error {
		if strings.HasSuffix(m.CommandID, "-0") {
			both <- struct{}{}
			<-release
		}
		mu.Lock()
		defer mu.Unlock()
		order[m.DeviceID] = append(order[m.DeviceID], m.CommandID)
		return nil
	}}))
	want := map[int64][]string{}
	for i := range 10 {
		for _, device := range []int64{socket, lamp} {
			name := fmt.Sprintf("%d-%d", device, i)
			want[device] = append(want[device], name)
			c.send(command(name, device))
		}
	}
	<-both
	<-both // at one time
	close(release)
	for range 20 {
		c.answer()
	}
	require.Equal(t, want, order)
}

func TestALaneIsBounded(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	c := newCloud(t)
	c.start(c.config(house{execute: func(_ context.Context, m mqtt.Command) error {
		if m.CommandID == "first" {
			close(begun)
			<-release
		}
		return nil
	}}))
	c.send(command("first", socket))
	<-begun
	for i := range laneDepth {
		c.send(command(fmt.Sprint(i), socket))
	}
	c.send(command("one too many", socket))
	ack := c.answer()
	require.Equal(t, "one too many", ack.CommandID)
	require.Equal(t, "The unit is busy", ack.Reason)
	close(release)
	require.Equal(t, "first", c.answer().CommandID)
	for i := range laneDepth {
		require.Equal(t, fmt.Sprint(i), c.answer().CommandID)
	}
}

func TestSequencesRiseAlsoOverARestart(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	clock := time.UnixMilli(1_000_000)
	config := c.config(house{})
	config.Clock = func() time.Time { return clock }
	sequence := func() int64 {
		r, err := mqtt.DecodeState(c.next("hc/1/" + id + "/state/1").Payload)
		require.NoError(t, err)
		return r.Sequence
	}
	u := c.start(config)
	require.EqualValues(t, 1_000_000, sequence())
	for i := range 3 {
		u.Changed(socket)
		require.EqualValues(t, 1_000_001+i, sequence())
	}
	u.Changed(99) // not the unit's
	require.NoError(t, u.Stop(limited(t)))
	clock = clock.Add(time.Second)
	u = c.start(config)
	require.EqualValues(t, 1_001_000, sequence())
	u.Changed(socket)
	require.EqualValues(t, 1_001_001, sequence())
}

func TestWhatAUnitSaysWhenItComesAndGoes(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	config := c.config(house{})
	config.Firmware = "test 7"
	u := c.start(config)
	link, err := mqtt.DecodeLink((<-c.inbox).Payload)
	require.NoError(t, err, "the link comes first")
	require.True(t, link.Online)
	require.Equal(t, "test 7", link.Firmware)
	require.Equal(t, devices.CatalogueVersion, link.Catalogue)
	for _, device := range []int64{socket, lamp, blind, devices.SecurityDevice} {
		require.Equal(t, mqtt.Topic{Unit: id, Leaf: mqtt.LeafState, Device: device}.String(), (<-c.inbox).Topic)
	}
	require.NoError(t, u.Stop(limited(t)))
	farewell, err := mqtt.DecodeLink(c.next("hc/1/" + id + "/link").Payload)
	require.NoError(t, err)
	require.Equal(t, devices.LinkReport{Session: link.Session}, farewell)
	require.False(t, u.Connected())
}

func TestStopLetsWhatHasBegunEnd(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	var more atomic.Bool
	c := newCloud(t)
	u := c.start(c.config(house{execute: func(_ context.Context, m mqtt.Command) error {
		switch m.CommandID {
		case "a":
			close(begun)
			<-release
		case "more":
			more.Store(true)
		}
		return nil
	}}))
	c.send(command("a", socket))
	<-begun
	c.send(command("more", socket))
	c.send(command("b", lamp))
	require.Equal(t, "b", c.answer().CommandID, "what came before it waits by now")
	stopped := make(chan error, 1)
	go func() { stopped <- u.Stop(limited(t)) }()
	require.Eventually(t, func() bool {
		u.lanes.mu.Lock()
		defer u.lanes.mu.Unlock()
		return u.lanes.stopping
	}, patience, time.Millisecond)
	close(release)
	require.Equal(t, "a", c.answer().CommandID)
	require.NoError(t, <-stopped)
	require.False(t, more.Load(), "what has not begun is not begun")
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	c := newCloud(t)
	u := c.start(c.config(house{execute: func(ctx context.Context, _ mqtt.Command) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}}))
	c.send(command("a", socket))
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, u.Stop(ctx), context.DeadlineExceeded)
}

func TestRunRunsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	u, err := New(c.config(house{}))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- u.Run(ctx) }()
	link, err := mqtt.DecodeLink(c.next("hc/1/" + id + "/link").Payload)
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-ran)
	farewell, err := mqtt.DecodeLink(c.next("hc/1/" + id + "/link").Payload)
	require.NoError(t, err)
	require.Equal(t, devices.LinkReport{Session: link.Session}, farewell)
}
