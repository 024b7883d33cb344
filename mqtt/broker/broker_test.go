package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secretOf is the password of a unit.
func secretOf(unit string) string { return "SECRET-" + unit }

// keeper is a Gatekeeper made of a function.
type keeper func(ctx context.Context, username, password string) (string, bool, error)

func (k keeper) Authenticate(ctx context.Context, username, password string) (string, bool, error) {
	return k(ctx, username, password)
}

func honest(_ context.Context, username, password string) (string, bool, error) {
	return username, password == secretOf(username), nil
}

// diary is a log handler that keeps the lines, and can be asked while it is written.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(p)
}

func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// start starts a broker and gives what it logs at level and above.
func start(t testing.TB, o Options, level slog.Level) (*Broker, *diary) {
	t.Helper()
	d := &diary{}
	o.Logger = slog.New(slog.NewTextHandler(d, &slog.HandlerOptions{Level: level}))
	if o.Gatekeeper == nil {
		o.Gatekeeper = keeper(honest)
	}
	o.TCP = []string{"127.0.0.1:0"}
	b := New(o)
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, b.Stop(ctx))
	})
	return b, d
}

// peer speaks MQTT packet by packet.
type peer struct {
	net.Conn
	t testing.TB
}

func (b *Broker) raw(t testing.TB) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the broker may have closed it
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &peer{conn, t}
}

func (p *peer) send(packet packets.ControlPacket) {
	p.t.Helper()
	require.NoError(p.t, packet.Write(p))
}

// receive gives the next packet; nil if there will be none.
func (p *peer) receive() packets.ControlPacket {
	p.t.Helper()
	packet, err := packets.ReadPacket(p)
	if err != nil {
		var timeout net.Error
		require.False(p.t, errors.As(err, &timeout) && timeout.Timeout(), "the connection stays, and nothing comes")
		return nil
	}
	return packet
}

// closed waits for the end of the connection.
func (p *peer) closed() {
	p.t.Helper()
	for p.receive() != nil {
	}
}

func connect(unit string, change ...func(*packets.ConnectPacket)) *packets.ConnectPacket {
	c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion = "MQTT", 4
	c.CleanSession = true
	c.ClientIdentifier = unit
	c.Keepalive = 60
	c.UsernameFlag, c.Username = true, unit
	c.PasswordFlag, c.Password = true, []byte(secretOf(unit))
	for _, f := range change {
		f(c)
	}
	return c
}

// unit connects as a unit.
func (b *Broker) unit(t testing.TB, unit string, change ...func(*packets.ConnectPacket)) *peer {
	t.Helper()
	p := b.raw(t)
	p.send(connect(unit, change...))
	ack, ok := p.receive().(*packets.ConnackPacket)
	require.True(t, ok)
	require.EqualValues(t, packets.Accepted, ack.ReturnCode)
	require.False(t, ack.SessionPresent)
	return p
}

func (p *peer) subscribe(qos byte, filters ...string) {
	p.t.Helper()
	s := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	s.MessageID, s.Topics, s.Qoss = 1, filters, bytes.Repeat([]byte{qos}, len(filters))
	p.send(s)
	ack, ok := p.receive().(*packets.SubackPacket)
	require.True(p.t, ok)
	require.Equal(p.t, s.Qoss, ack.ReturnCodes)
}

func bytesOf(t testing.TB, packet packets.ControlPacket) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, packet.Write(&b))
	return b.Bytes()
}

func publish(topic string, id uint16, payload string) *packets.PublishPacket {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Qos, m.MessageID, m.Payload = topic, 1, id, []byte(payload)
	return m
}

func puback(id uint16) *packets.PubackPacket {
	a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	a.MessageID = id
	return a
}

// asBridge connects as the bridge and subscribes to what units say.
func (b *Broker) asBridge(t testing.TB) *peer {
	t.Helper()
	conn, err := b.Dial(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	p := &peer{conn, t}
	p.send(connect("", func(c *packets.ConnectPacket) {
		c.ClientIdentifier, c.UsernameFlag, c.PasswordFlag = "bridge", false, false
	}))
	ack, ok := p.receive().(*packets.ConnackPacket)
	require.True(t, ok)
	require.EqualValues(t, packets.Accepted, ack.ReturnCode)
	p.subscribe(1, "hc/1/+/ack/one", "hc/1/+/state/+", "hc/1/+/event", "hc/1/+/link")
	return p
}

// message waits for a message, acknowledges it, and passes over everything else.
func (p *peer) message() *packets.PublishPacket {
	p.t.Helper()
	for {
		packet := p.receive()
		require.NotNil(p.t, packet, "the connection ended")
		if m, ok := packet.(*packets.PublishPacket); ok {
			if m.Qos > 0 {
				p.send(puback(m.MessageID))
			}
			return m
		}
	}
}

func unitNumber(n int) string { return fmt.Sprintf("%016x", n) }

func TestStopLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b := New(Options{Logger: slog.New(slog.DiscardHandler), Gatekeeper: keeper(func(ctx context.Context, _, _ string) (string, bool, error) {
		<-ctx.Done()
		return "", false, ctx.Err()
	}), TCP: []string{"127.0.0.1:0", "127.0.0.1:0"}})
	require.NoError(t, b.Stop(t.Context()), "what was never started")
	require.NoError(t, b.Start(t.Context()))
	silent, waiting := b.raw(t), b.raw(t)
	waiting.send(connect(own))
	bridge := b.asBridge(t)
	require.NoError(t, b.Stop(t.Context()))
	require.NoError(t, b.Stop(t.Context()), "again")
	silent.closed()
	waiting.closed()
	bridge.closed()
	_, err := b.Dial(t.Context())
	require.ErrorIs(t, err, net.ErrClosed)
	for _, l := range b.listeners {
		_, err = l.accepting.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

func TestStartOpensAllOrNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	b := New(Options{Logger: slog.New(slog.DiscardHandler), Gatekeeper: keeper(honest), TCP: []string{"127.0.0.1:0", taken.Addr().String()}})
	require.ErrorContains(t, b.Start(t.Context()), taken.Addr().String())
	_, err = b.listeners[0].accepting.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}
