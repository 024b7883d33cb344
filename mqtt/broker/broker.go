// Package broker is the MQTT broker that runs inside the process: mochi with an
// access hook of our own that denies by default. Units connect over TCP with their
// credentials and reach their own topics alone; the bridge connects in memory.
//
// It speaks MQTT 3.1.1. MQTT 5 clients are refused with the reason that says so: mochi
// v2.7.9 can be brought to a standstill by a client's Receive Maximum and to a panic by a
// SUBSCRIBE, and hc/1 needs nothing of version 5.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// Gatekeeper knows the units. It may be called concurrently.
type Gatekeeper interface {
	// Authenticate finds the unit with these credentials; ok says whether there is one. An
	// error says that this could not be found out.
	Authenticate(ctx context.Context, username, password string) (unitID string, ok bool, err error)
}

// Options are what a Broker is made of.
type Options struct {
	Logger     *slog.Logger
	Gatekeeper Gatekeeper
	// TCP are the addresses on which units connect, such as "127.0.0.1:1883" or ":0".
	TCP []string
	// MaximumClients is how many units may be connected; 0 means 10,000.
	MaximumClients int
	// MaximumPacketSize bounds a packet in bytes; 0 means 64 KiB.
	MaximumPacketSize uint32
	// ConnectTimeout is how long a connection may take for its CONNECT; 0 means 10 s.
	ConnectTimeout time.Duration
}

const (
	defaultClients    = 10_000
	defaultPacketSize = 64 << 10
	defaultConnect    = 10 * time.Second
	bridgesMax        = 8 // connections over Dial
	writesPending     = 2 * window
)

// Broker is a broker as a value: it has no state outside itself.
type Broker struct {
	o         Options
	server    *mochi.Server
	hook      *hook
	memory    *memory
	listeners []*listener // the TCP ones, in the order of Options.TCP
	bridge    *listener   // nil before Start
	stop      func() error
}

// connectionsMax bounds the connections of one listener: those of units, those at the
// door, and as many again that were told to end.
func (o Options) connectionsMax() int { return 2 * (o.MaximumClients + handshakesMax) }

// New makes a Broker. It listens to nothing before Start.
func New(o Options) *Broker {
	if o.MaximumClients == 0 {
		o.MaximumClients = defaultClients
	}
	if o.MaximumPacketSize == 0 {
		o.MaximumPacketSize = defaultPacketSize
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = defaultConnect
	}
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumClients = int64(o.connectionsMax() + bridgesMax) // units are counted by the hook
	capabilities.MaximumPacketSize = o.MaximumPacketSize
	capabilities.MaximumClientWritesPending = writesPending
	capabilities.MaximumInflight = writesPending
	capabilities.MaximumSessionExpiryInterval = 0 // nothing outlives its connection
	capabilities.MaximumMessageExpiryInterval = 0 // 0 is no limit
	capabilities.MinimumProtocolVersion = protocolVersion
	capabilities.MaximumQos = 1
	capabilities.TopicAliasMaximum = 0
	capabilities.SharedSubAvailable = 0
	server := mochi.New(&mochi.Options{
		Capabilities:           capabilities,
		Logger:                 slog.New(quiet{o.Logger.Handler()}),
		SysTopicResendInterval: 1 << 30, // seconds: $SYS is nobody's to read, and costs a halt of the world
	})
	b := &Broker{o: o, server: server, hook: newHook(server, o.Gatekeeper, o.Logger, o.MaximumClients), memory: newMemory()}
	b.stop = sync.OnceValue(b.stopAll)
	return b
}

// Start opens the addresses and lets clients in. It is called once. After an error
// nothing is open.
func (b *Broker) Start(ctx context.Context) error {
	if err := b.server.AddHook(b.hook, nil); err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	for i, address := range b.o.TCP {
		var config net.ListenConfig
		accepting, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			for _, l := range b.listeners {
				_ = l.accepting.Close()
			}
			return fmt.Errorf("start broker: listen on %s: %w", address, err)
		}
		b.listeners = append(b.listeners, b.newListener(fmt.Sprintf("tcp-%d", i), accepting, b.o.connectionsMax()))
	}
	b.bridge = b.newListener("bridge", b.memory, bridgesMax)
	b.bridge.bridge = true
	for _, l := range append(slices.Clone(b.listeners), b.bridge) {
		if err := b.server.AddListener(l); err != nil {
			return fmt.Errorf("start broker: %w", err)
		}
	}
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	return nil
}

// Addr gives the address of the first of Options.TCP as it was opened; nil if there
// is none. It may be called after Start.
func (b *Broker) Addr() net.Addr {
	if len(b.listeners) == 0 {
		return nil
	}
	return b.listeners[0].accepting.Addr()
}

// Dial opens the bridge's connection, in memory. Who has it may read and write
// everything below hc/1/ without credentials.
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) { return b.memory.dial(ctx) }

// Cut ends the connections of a unit, if it has any, and says how many that were. It may
// connect again at once, with what its credentials are then.
func (b *Broker) Cut(unit string) int { return b.hook.cut(unit) }

// Healthy says why nothing would come of an order, as far as the broker knows: messages
// of units wait for the bridge, and for 20 s none has been taken. nil otherwise.
func (b *Broker) Healthy() error {
	if err := b.hook.gates.stuck(); err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	return nil
}

// Stop lets nobody in any more, disconnects the units (their last wills still reach
// the bridge), then the bridge, and waits until all that is done or ctx ends. Stopping again, or
// what was never started, does nothing.
func (b *Broker) Stop(ctx context.Context) error {
	if b.bridge == nil {
		return nil
	}
	stopped := make(chan error, 1)
	go func() { stopped <- b.stop() }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop broker: %w", ctx.Err())
	}
}

func (b *Broker) stopAll() error {
	b.hook.stop()
	for _, l := range b.listeners {
		l.stop()
	}
	b.bridge.stop()
	defer b.hook.often.Close()
	return b.server.Close()
}

// protocolVersion is that of MQTT 3.1.1 [MQTT-3.1.2-2].
const protocolVersion = 4

var errPanic = errors.New("panic")

// establish serves a connection until it ends. A panic in mochi ends that connection
// alone.
func (b *Broker) establish(c *conn, serve func() error) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		err = errPanic
		b.o.Logger.Error("MQTT connection ended by a panic", "unit", c.unit, "panic", cause)
		if c.client != nil {
			b.server.UnsubscribeClient(c.client)
			b.server.Clients.Delete(c.client.ID)
		}
	}()
	return serve()
}
