package mqtttest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/unit"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// said is one call of the House.
type said struct {
	unit   string
	ack    *devices.Ack
	state  *devices.StateReport
	event  *devices.EventReport
	link   *devices.LinkReport
	result error
}

// house records what it is told.
type house struct {
	mu     sync.Mutex
	calls  []said
	news   chan struct{} // closed at the next call
	result error         // of every call
}

func newHouse() *house { return &house{news: make(chan struct{})} }

func (h *house) take(s said) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.result = h.result
	h.calls = append(h.calls, s)
	close(h.news)
	h.news = make(chan struct{})
	return h.result
}

func (h *house) Acknowledge(_ context.Context, unit string, a devices.Ack) error {
	return h.take(said{unit: unit, ack: &a})
}

func (h *house) ReportState(_ context.Context, unit string, r devices.StateReport) error {
	return h.take(said{unit: unit, state: &r})
}

func (h *house) ReportEvent(_ context.Context, unit string, r devices.EventReport) error {
	return h.take(said{unit: unit, event: &r})
}

func (h *house) ReportLink(_ context.Context, unit string, r devices.LinkReport) error {
	return h.take(said{unit: unit, link: &r})
}

func (h *house) heard() []said {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]said(nil), h.calls...)
}

// await waits until something was said that is so, and gives it.
func (h *house) await(t testing.TB, what string, is func(said) bool) said {
	t.Helper()
	deadline := time.After(patience)
	for {
		h.mu.Lock()
		calls, news := h.calls, h.news
		h.mu.Unlock()
		for _, s := range calls {
			if is(s) {
				return s
			}
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("the house was not told: %s", what)
		}
	}
}

func ackOf(id string) func(said) bool {
	return func(s said) bool { return s.ack != nil && s.ack.CommandID == id }
}

func eventOf(id string) func(said) bool {
	return func(s said) bool { return s.event != nil && s.event.ID == id }
}

// logbook is a slog.Handler that keeps the lines.
type logbook struct {
	mu    *sync.Mutex
	lines *[]string
	slog.Handler
}

func newLogbook(t testing.TB) *logbook {
	return &logbook{mu: new(sync.Mutex), lines: new([]string), Handler: slog.NewTextHandler(t.Output(), nil)}
}

func (l *logbook) Handle(ctx context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	*l.lines = append(*l.lines, line)
	l.mu.Unlock()
	return nil
}

func (l *logbook) read() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), *l.lines...)
}

// link starts a Link over dial.
func (b Broker) link(t testing.TB, dial func(context.Context) (net.Conn, error), h mqtt.House, log slog.Handler) *mqtt.Link {
	t.Helper()
	l, err := mqtt.NewLink(mqtt.Options{
		Bridge: "one", House: h, Logger: slog.New(log), Dial: dial,
		Username: b.BridgeUsername, Password: b.BridgePassword,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, l.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, l.Stop(ctx))
	})
	return l
}

// Devices of every simulated home of the suite.
const (
	socket  int64 = 11
	socket2 int64 = 12
	shutter int64 = 13
)

// line gives a way for units that can be cut.
func (b Broker) line(t testing.TB) *Line {
	t.Helper()
	dial, err := mqtt.Dialer(nil, b.URL)
	require.NoError(t, err)
	return NewLine(dial)
}

// home starts a simulated home as unit n of the broker.
func (b Broker) home(t testing.TB, line *Line, n int) *unit.Home {
	t.Helper()
	h, err := unit.NewHome(unit.Config{
		Dial: line.Dial, Unit: b.Units[n].Unit, Password: b.Units[n].Password,
		Devices:  map[int64]devices.Kind{socket: devices.Socket, socket2: devices.Socket, shutter: devices.Shutter},
		Firmware: "suite 1", Logger: slog.New(newLogbook(t)),
	}, unit.HomeOptions{Travel: 200 * time.Millisecond, ExitDelay: 50 * time.Millisecond})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, h.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, h.Stop(ctx))
	})
	return h
}

// order makes an order to a socket, good for a minute.
func order(unitID string, device int64, operation string) devices.Order {
	now := time.Now()
	return devices.Order{
		CommandID: uuid.Must(uuid.NewV7()).String(), UnitID: unitID, DeviceID: device,
		Kind: devices.Socket, Operation: operation, Issued: now, Expires: now.Add(time.Minute),
	}
}

func executed(h *unit.Home) []string {
	var ids []string
	for _, e := range h.Executions() {
		ids = append(ids, e.CommandID)
	}
	return ids
}

// client is a unit of somebody else's making, or a hostile one.
type client struct {
	paho.Client
	inbox chan paho.Message
	lost  chan struct{}
}

// as says how a client connects.
type as struct {
	Credentials
	clientID   string
	persistent bool
	will       func(*paho.ClientOptions)
}

func (b Broker) tryConnect(t testing.TB, who as) (*client, error) {
	t.Helper()
	c := &client{inbox: make(chan paho.Message, 1000), lost: make(chan struct{})}
	options := paho.NewClientOptions().
		AddBroker(b.URL).
		SetProtocolVersion(4).
		SetClientID(who.clientID).
		SetUsername(who.Unit).
		SetPassword(who.Password).
		SetCleanSession(!who.persistent).
		SetAutoReconnect(false).
		SetConnectTimeout(patience).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { c.inbox <- m }).
		SetConnectionLostHandler(func(paho.Client, error) { close(c.lost) })
	if who.will != nil {
		who.will(options)
	}
	c.Client = paho.NewClient(options)
	token := c.Connect()
	require.True(t, token.WaitTimeout(patience), "connecting takes too long")
	return c, token.Error()
}

func (b Broker) connect(t testing.TB, who as) *client {
	t.Helper()
	c, err := b.tryConnect(t, who)
	require.NoError(t, err)
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

// subscribe gives the broker's return code.
func (c *client) subscribe(t testing.TB, filter string) byte {
	t.Helper()
	token, ok := c.Subscribe(filter, 1, nil).(*paho.SubscribeToken)
	require.True(t, ok)
	require.True(t, token.WaitTimeout(patience), "no SUBACK")
	require.NoError(t, token.Error())
	for _, code := range token.Result() {
		return code
	}
	t.Fatal("SUBACK without a return code")
	return 0
}

// publish waits for the PUBACK, or the end of the connection.
func (c *client) publish(t testing.TB, topic string, retained bool, payload string) {
	t.Helper()
	token := c.Publish(topic, 1, retained, payload)
	select {
	case <-token.Done():
	case <-c.lost:
	case <-time.After(patience):
		t.Fatalf("neither PUBACK nor end of connection after publishing on %s", topic)
	}
}

// receive waits for a command.
func (c *client) receive(t testing.TB) mqtt.Command {
	t.Helper()
	select {
	case m := <-c.inbox:
		command, err := mqtt.DecodeCommand(m.Payload())
		require.NoError(t, err)
		return command
	case <-time.After(patience):
		t.Fatal("no command came")
		return mqtt.Command{}
	}
}

// mark publishes an event of the unit and waits until the house has it: all that the
// unit said before has then been taken in as well.
func (c *client) mark(t testing.TB, h *house, unit string) {
	t.Helper()
	id := uuid.NewString()
	payload, err := mqtt.EncodeEvent(devices.EventReport{ID: id, Type: devices.EventAccess, Time: time.Now()})
	require.NoError(t, err)
	c.publish(t, topic(unit, mqtt.LeafEvent), false, string(payload))
	h.await(t, "marking event", eventOf(id))
}

func topic(unit string, leaf mqtt.Leaf) string { return mqtt.Topic{Unit: unit, Leaf: leaf}.String() }

func stateTopic(unit string, device int64) string {
	return mqtt.Topic{Unit: unit, Leaf: mqtt.LeafState, Device: device}.String()
}

func statePayload(t testing.TB, sequence int64) string {
	t.Helper()
	payload, err := mqtt.EncodeState(devices.StateReport{Sequence: sequence, Time: time.Now(), Readings: json.RawMessage(`{"on":true}`)})
	require.NoError(t, err)
	return string(payload)
}
