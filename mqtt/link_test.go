package mqtt_test

import (
	"context"
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

// house is a House made of functions; nil does nothing.
type house struct {
	ack   func(ctx context.Context, unit string, a devices.Ack) error
	state func(ctx context.Context, unit string, r devices.StateReport) error
}

func (h house) Acknowledge(ctx context.Context, unit string, a devices.Ack) error {
	if h.ack == nil {
		return nil
	}
	return h.ack(ctx, unit, a)
}

func (h house) ReportState(ctx context.Context, unit string, r devices.StateReport) error {
	if h.state == nil {
		return nil
	}
	return h.state(ctx, unit, r)
}

func (house) ReportEvent(context.Context, string, devices.EventReport) error { return nil }
func (house) ReportLink(context.Context, string, devices.LinkReport) error   { return nil }

// everyone lets in each unit whose password is its name.
type everyone struct{}

func (everyone) Authenticate(_ context.Context, username, password string) (string, bool, error) {
	return username, username == password, nil
}

func newBroker(t testing.TB) *broker.Broker {
	t.Helper()
	b := broker.New(broker.Options{Logger: slog.New(slog.DiscardHandler), Gatekeeper: everyone{}, TCP: []string{"127.0.0.1:0"}})
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, b.Stop(limited(t))) })
	return b
}

// limited gives a context for cleaning up.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newLink(t testing.TB, dial func(context.Context) (net.Conn, error), h mqtt.House, o mqtt.Observer, log slog.Handler) *mqtt.Link {
	t.Helper()
	l, err := mqtt.NewLink(mqtt.Options{Bridge: "one", House: h, Observer: o, Logger: slog.New(log), Dial: dial})
	require.NoError(t, err)
	require.NoError(t, l.Start(limited(t)))
	t.Cleanup(func() { require.NoError(t, l.Stop(limited(t))) })
	return l
}

const unitA, unitB = "00000000000000aa", "00000000000000bb"

// newUnit connects as a unit and gives what it receives.
func newUnit(t testing.TB, b *broker.Broker, id string) (*wire.Conn, <-chan mqtt.Command) {
	t.Helper()
	commands := make(chan mqtt.Command, 100)
	dial, err := mqtt.Dialer(nil, "tcp://"+b.Addr().String())
	require.NoError(t, err)
	conn, err := wire.Connect(t.Context(), wire.Options{
		Dial: dial, ClientID: id, Username: id, Password: id,
		Receive: func(m wire.Message) {
			command, err := mqtt.DecodeCommand(m.Payload)
			if err != nil {
				t.Error(err)
			}
			commands <- command
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(patience) })
	require.NoError(t, conn.Subscribe(t.Context(), "hc/1/"+id+"/cmd"))
	return conn, commands
}

func say(t testing.TB, conn *wire.Conn, topic string, payload []byte) {
	t.Helper()
	_, err := conn.Publish(wire.Message{Topic: topic, Payload: payload})
	require.NoError(t, err)
}

func sayState(t testing.TB, conn *wire.Conn, unit string, sequence int64) {
	t.Helper()
	payload, err := mqtt.EncodeState(devices.StateReport{Sequence: sequence, Time: time.Now(), Readings: []byte("{}")})
	require.NoError(t, err)
	say(t, conn, "hc/1/"+unit+"/state/1", payload)
}

func sayAck(t testing.TB, conn *wire.Conn, unit, id string) {
	t.Helper()
	payload, err := mqtt.EncodeAck(mqtt.Ack{Ack: devices.Ack{CommandID: id, Outcome: devices.Done}, Time: time.Now()})
	require.NoError(t, err)
	say(t, conn, "hc/1/"+unit+"/ack/one", payload)
}

func order(unit, id string) devices.Order {
	now := time.Now()
	return devices.Order{CommandID: id, UnitID: unit, DeviceID: 1, Kind: devices.Socket, Operation: "on", Issued: now, Expires: now.Add(time.Minute)}
}

// counter is an Observer.
type counter struct {
	mu       sync.Mutex
	up       []bool
	received map[string]int
}

func (c *counter) LinkUp(up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = append(c.up, up)
}

func (c *counter) Received(what, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.received == nil {
		c.received = map[string]int{}
	}
	c.received[what+" "+result]++
}

func (c *counter) count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received[what]
}

// lines is a log handler that keeps what is said.
type lines struct {
	slog.Handler
	text *strings.Builder
	mu   *sync.Mutex
}

func newLines() lines {
	text, mu := new(strings.Builder), new(sync.Mutex)
	return lines{slog.NewTextHandler(text, nil), text, mu}
}

func (l lines) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Handler.Handle(ctx, r)
}

func (l lines) read() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestLinkIsMadeOfValidParts(t *testing.T) {
	t.Parallel()
	good := mqtt.Options{Bridge: "one", House: house{}, Logger: slog.New(slog.DiscardHandler), Dial: newBroker(t).Dial}
	for _, spoil := range []func(*mqtt.Options){
		func(o *mqtt.Options) { o.Bridge = "" },
		func(o *mqtt.Options) { o.Bridge = "One" },
		func(o *mqtt.Options) { o.House = nil },
		func(o *mqtt.Options) { o.Logger = nil },
		func(o *mqtt.Options) { o.Dial = nil },
	} {
		o := good
		spoil(&o)
		_, err := mqtt.NewLink(o)
		require.Error(t, err)
	}
	l, err := mqtt.NewLink(good)
	require.NoError(t, err)
	require.NoError(t, l.Stop(t.Context()), "what was never started")
	require.False(t, l.Connected())
	require.ErrorIs(t, l.Send(t.Context(), order(unitA, "a")), devices.ErrNotSent)
}

func TestStartSaysWhyThereIsNoConnection(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	l, err := mqtt.NewLink(mqtt.Options{
		Bridge: "one", House: house{}, Logger: slog.New(slog.DiscardHandler),
		Dial: func(context.Context) (net.Conn, error) {
			if attempts++; attempts == 2 {
				cancel()
			}
			return nil, errors.New("nobody there")
		},
	})
	require.NoError(t, err)
	require.ErrorContains(t, l.Start(ctx), "nobody there")
}

func TestSendSendsNothingForWhoHasGone(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	l := newLink(t, b.Dial, house{}, nil, slog.DiscardHandler)
	_, commands := newUnit(t, b, unitA)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	err := l.Send(gone, order(unitA, "first"))
	require.ErrorIs(t, err, devices.ErrNotSent)
	require.ErrorIs(t, err, context.Canceled)
	for name, o := range map[string]devices.Order{
		"no id":     order(unitA, ""),
		"no unit":   order("", "x"),
		"wildcard":  order("+", "x"),
		"no expiry": {CommandID: "x", UnitID: unitA, Kind: devices.Socket, Operation: "on", Issued: time.Now()},
	} {
		require.ErrorIs(t, l.Send(t.Context(), o), devices.ErrNotSent, name)
	}
	require.NoError(t, l.Send(t.Context(), order(unitA, "second")))
	require.Equal(t, "second", (<-commands).CommandID)
}

func TestReportsOfOneUnitNeverOverlapAndKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const many = 300
	var mu sync.Mutex
	busy, heard := map[string]bool{}, map[string][]int64{}
	all := make(chan struct{}, 2*many)
	b := newBroker(t)
	newLink(t, b.Dial, house{state: func(ctx context.Context, unit string, r devices.StateReport) error {
		deadline, limited := ctx.Deadline()
		mu.Lock()
		overlaps := busy[unit]
		busy[unit] = true
		heard[unit] = append(heard[unit], r.Sequence)
		mu.Unlock()
		if overlaps || !limited || time.Until(deadline) > time.Minute {
			t.Error("calls for one unit overlap, or have no deadline")
		}
		mu.Lock()
		busy[unit] = false
		mu.Unlock()
		all <- struct{}{}
		return nil
	}}, nil, slog.DiscardHandler)
	a, _ := newUnit(t, b, unitA)
	other, _ := newUnit(t, b, unitB)
	for i := range many {
		sayState(t, a, unitA, int64(i+1))
		sayState(t, other, unitB, int64(i+1))
	}
	for range 2 * many {
		<-all
	}
	for _, unit := range []string{unitA, unitB} {
		require.Len(t, heard[unit], many)
		for i, sequence := range heard[unit] {
			require.EqualValues(t, i+1, sequence)
		}
	}
}

// A house that takes its time holds the units back. Nothing is lost, and not more
// than 256 answers are in the works at once, which they must be to commit together.
func TestSlowHouseLosesNothing(t *testing.T) {
	t.Parallel()
	const many = 2000
	var now, most, total atomic.Int64
	release := make(chan struct{})
	b := newBroker(t)
	newLink(t, b.Dial, house{ack: func(context.Context, string, devices.Ack) error {
		most.Store(max(most.Load(), now.Add(1)))
		<-release
		now.Add(-1)
		total.Add(1)
		return nil
	}}, nil, slog.DiscardHandler)
	var talking sync.WaitGroup
	for u := range 4 {
		id := fmt.Sprintf("%016x", u)
		conn, _ := newUnit(t, b, id)
		talking.Go(func() {
			for i := range many / 4 {
				sayAck(t, conn, id, fmt.Sprintf("%d-%d", u, i))
			}
		})
	}
	require.Eventually(t, func() bool { return now.Load() == 256 }, patience, time.Millisecond)
	close(release)
	talking.Wait()
	require.Eventually(t, func() bool { return total.Load() == many }, patience, time.Millisecond)
	require.EqualValues(t, 256, most.Load())
}

// One unit says more than is taken in, until its lane and what the broker lets
// through are full. The answers of others come all the same.
func TestAFullLaneHoldsUpNoAnswer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	acks := make(chan string, 10)
	b := newBroker(t)
	newLink(t, b.Dial, house{
		state: func(context.Context, string, devices.StateReport) error {
			<-release
			return nil
		},
		ack: func(_ context.Context, unit string, a devices.Ack) error {
			acks <- unit + " " + a.CommandID
			return nil
		},
	}, nil, slog.DiscardHandler)
	defer close(release)
	busy, _ := newUnit(t, b, unitA)
	lively, _ := newUnit(t, b, unitB)
	var confirmed []wire.Receipt
	payload, err := mqtt.EncodeState(devices.StateReport{Sequence: 1, Time: time.Now(), Readings: []byte("{}")})
	require.NoError(t, err)
	const lane, window = 64, 256
	for range lane + window {
		receipt, err := busy.Publish(wire.Message{Topic: "hc/1/" + unitA + "/state/1", Payload: payload})
		require.NoError(t, err)
		confirmed = append(confirmed, receipt)
	}
	for _, receipt := range confirmed {
		<-receipt.Done()
	}
	sayState(t, busy, unitA, 1) // waits at the broker
	for range 3 {
		sayAck(t, lively, unitB, "done")
		require.Equal(t, unitB+" done", <-acks)
	}
}

func TestWhatAUnitDoesWrongOftenIsFewLines(t *testing.T) {
	t.Parallel()
	const many = 200
	seen, log := &counter{}, newLines()
	b := newBroker(t)
	l := newLink(t, b.Dial, house{ack: func(context.Context, string, devices.Ack) error {
		return &devices.Rejected{Reason: "unknown command"}
	}}, seen, log)
	conn, _ := newUnit(t, b, unitA)
	for range many {
		sayAck(t, conn, unitA, "stranger")
		say(t, conn, "hc/1/"+unitA+"/event", []byte("x"))
	}
	for _, what := range []string{"ack rejected", "unparsable rejected"} {
		require.Eventually(t, func() bool { return seen.count(what) == many }, patience, time.Millisecond, what)
	}
	require.NoError(t, l.Stop(limited(t)))
	require.Equal(t, 4, strings.Count(log.read(), unitA), log.read())
	require.Equal(t, 2, strings.Count(log.read(), fmt.Sprintf("more=%d", many-1)), log.read())
}

func TestWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	seen := &counter{}
	log := newLines()
	b := newBroker(t)
	newLink(t, b.Dial, house{ack: func(_ context.Context, _ string, a devices.Ack) error {
		switch a.CommandID {
		case "stranger":
			return fmt.Errorf("wrapped: %w", &devices.Rejected{Reason: "acknowledgement of no command of this unit"})
		case "trouble":
			return errors.New("disk full")
		default:
			return nil
		}
	}}, seen, log)
	conn, _ := newUnit(t, b, unitA)
	sayAck(t, conn, unitA, "stranger")
	sayAck(t, conn, unitA, "trouble")
	sayAck(t, conn, unitA, "fine")
	say(t, conn, "hc/1/"+unitA+"/ack/one", []byte("SECRET"))
	for _, what := range []string{"ack rejected", "ack failed", "ack ok", "unparsable rejected"} {
		require.Eventually(t, func() bool { return seen.count(what) == 1 }, patience, time.Millisecond, what)
	}
	require.Eventually(t, func() bool { return strings.Count(log.read(), unitA) == 3 }, patience, time.Millisecond, "a line each but for what is fine")
	require.Contains(t, log.read(), `level=WARN msg="report rejected" unit=00000000000000aa what=ack reason="acknowledgement of no command of this unit"`)
	require.Contains(t, log.read(), `level=ERROR msg="report lost" unit=00000000000000aa what=ack err="disk full"`)
	require.Contains(t, log.read(), `level=WARN msg="message not understood" unit=00000000000000aa reason="payload is not JSON"`)
	require.NotContains(t, log.read(), "SECRET")
}

// While the house gives no answer, reports wait and are handed over again, in their order.
func TestReportsWaitForAHouseThatGivesNoAnswer(t *testing.T) {
	t.Parallel()
	seen, log := &counter{}, newLines()
	b := newBroker(t)
	var tries atomic.Int64
	taken := make(chan int64, 3)
	newLink(t, b.Dial, house{state: func(_ context.Context, _ string, r devices.StateReport) error {
		if tries.Add(1) == 1 {
			return fmt.Errorf("save state: %w: disk full", devices.ErrUnavailable)
		}
		taken <- r.Sequence
		return nil
	}}, seen, log)
	conn, _ := newUnit(t, b, unitA)
	for sequence := range int64(3) {
		sayState(t, conn, unitA, sequence+1)
	}
	for sequence := range int64(3) {
		require.Equal(t, sequence+1, <-taken)
	}
	require.Eventually(t, func() bool { return seen.count("state ok") == 3 }, patience, time.Millisecond)
	require.Zero(t, seen.count("state failed"))
	require.Equal(t, 1, strings.Count(log.read(), `msg="reports wait: the house cannot take them in"`))
	require.NotContains(t, log.read(), "lost")
}

func TestStopHandsOverWhatWasReceived(t *testing.T) {
	t.Parallel()
	const many = 50
	var total atomic.Int64
	received, release := make(chan struct{}), make(chan struct{})
	b := newBroker(t)
	seen := &counter{}
	l := newLink(t, b.Dial, house{
		state: func(_ context.Context, unit string, _ devices.StateReport) error {
			if unit == unitB {
				close(received)
				return nil
			}
			<-release
			total.Add(1)
			return nil
		},
	}, seen, slog.DiscardHandler)
	conn, _ := newUnit(t, b, unitA)
	payload, err := mqtt.EncodeState(devices.StateReport{Sequence: 1, Time: time.Now(), Readings: []byte("{}")})
	require.NoError(t, err)
	for range many {
		receipt, err := conn.Publish(wire.Message{Topic: "hc/1/" + unitA + "/state/1", Payload: payload})
		require.NoError(t, err)
		<-receipt.Done()
	}
	other, _ := newUnit(t, b, unitB)
	sayState(t, other, unitB, 1) // comes after those before it, and does not wait for them to be worked on
	<-received

	stopped := make(chan error, 1)
	go func() { stopped <- l.Stop(limited(t)) }()
	require.Eventually(t, func() bool { return !l.Connected() }, patience, time.Millisecond)
	require.ErrorIs(t, l.Send(t.Context(), order(unitA, "late")), devices.ErrNotSent)
	close(release)
	require.NoError(t, <-stopped)
	require.EqualValues(t, many, total.Load())
	require.NoError(t, l.Stop(limited(t)), "again")
	require.Equal(t, []bool{true, false}, seen.up)
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	b := newBroker(t)
	l := newLink(t, b.Dial, house{state: func(ctx context.Context, _ string, _ devices.StateReport) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}}, nil, slog.DiscardHandler)
	conn, _ := newUnit(t, b, unitA)
	sayState(t, conn, unitA, 1)
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, l.Stop(ctx), context.DeadlineExceeded)
}

// hole is a connection that can be made to swallow what is written, as a line does
// that is dead but does not know it.
type hole struct {
	net.Conn
	swallows *atomic.Bool
}

func (h hole) Write(p []byte) (int, error) {
	if h.swallows.Load() {
		return len(p), nil
	}
	return h.Conn.Write(p)
}

func TestWhatWasOnItsWayWhenTheLineBrokeIsNeverSentAgain(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var swallows atomic.Bool
	var current net.Conn
	var mu sync.Mutex
	l := newLink(t, func(ctx context.Context) (net.Conn, error) {
		conn, err := b.Dial(ctx)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		current = conn
		swallows.Store(false)
		return hole{conn, &swallows}, nil
	}, house{}, nil, slog.DiscardHandler)
	_, commands := newUnit(t, b, unitA)

	swallows.Store(true)
	for i := range 10 {
		require.NoError(t, l.Send(t.Context(), order(unitA, fmt.Sprintf("stale-%d", i))))
	}
	mu.Lock()
	require.NoError(t, current.Close())
	mu.Unlock()
	require.Eventually(t, func() bool { return !swallows.Load() && l.Connected() }, patience, time.Millisecond)
	require.NoError(t, l.Send(t.Context(), order(unitA, "fresh")))
	require.Equal(t, "fresh", (<-commands).CommandID)
}
