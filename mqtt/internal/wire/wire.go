// Package wire holds one MQTT 3.1.1 connection to a broker over paho, for the bridge's
// link and for the units. A Conn lives as long as its network connection: it never
// reconnects and never sends anything again. paho's own reconnection resends what was in flight
// (client.resume does, also for a clean session), which here could be an order to a
// door from before the break.
package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Options say how to connect.
type Options struct {
	Dial               func(ctx context.Context) (net.Conn, error)
	ClientID           string
	Username, Password string // both may be empty
	Will               *Message
	// Receive is given each message in the order of arrival, one at a time. While it
	// blocks, nothing more is read.
	Receive func(Message)
}

// Message is a message of QoS 1.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool
}

// Receipt tells when the broker has a message: Done is closed then, or when that
// cannot be known any more, and Error is not nil in that case.
type Receipt interface {
	Done() <-chan struct{}
	Error() error
}

const (
	qos            = 1
	connectLimit   = 10 * time.Second // dial, CONNECT and CONNACK
	writeLimit     = 3 * time.Second  // a packet's way into the network connection
	keepAlive      = 30 * time.Second // also how long a dead connection goes unnoticed, with pingLimit
	pingLimit      = 10 * time.Second
	refusedByteMin = 0x80 // SUBACK return code of a refused filter [MQTT-3.9.3-2]
)

// Conn is a connection to the broker. Its methods may be called concurrently.
type Conn struct {
	client paho.Client
	lost   chan struct{}
}

// Connect opens a clean session.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	c := &Conn{lost: make(chan struct{})}
	var closed func() bool // ends the watch over ctx; reports whether ctx had no effect
	options := paho.NewClientOptions().
		AddBroker("tcp://broker"). // paho wants one; open takes its place
		SetProtocolVersion(4).
		SetClientID(o.ClientID).
		SetUsername(o.Username).
		SetPassword(o.Password).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetOrderMatters(true).
		SetKeepAlive(keepAlive).
		SetPingTimeout(pingLimit).
		SetWriteTimeout(writeLimit).
		SetConnectTimeout(connectLimit).
		SetStore(forgetful{}).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
			o.Receive(Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained()})
		}).
		SetConnectionLostHandler(func(paho.Client, error) { close(c.lost) }).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			conn, err := o.Dial(ctx)
			if err != nil {
				return nil, err
			}
			closed = context.AfterFunc(ctx, func() { _ = conn.Close() })
			return buffered{conn, bufio.NewReader(conn)}, nil
		})
	if o.Will != nil {
		options.SetBinaryWill(o.Will.Topic, o.Will.Payload, qos, o.Will.Retained)
	}
	c.client = paho.NewClient(options)
	token := c.client.Connect()
	<-token.Done() // soon: ctx bounds the dial, and closes the connection in the handshake
	if err := token.Error(); err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	if !closed() {
		c.Close(0)
		return nil, fmt.Errorf("connect to the broker: %w", context.Cause(ctx))
	}
	return c, nil
}

// Subscribe asks for the filters and waits for the broker's word on all of them.
func (c *Conn) Subscribe(ctx context.Context, filters ...string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	wanted := make(map[string]byte, len(filters))
	for _, filter := range filters {
		wanted[filter] = qos
	}
	token, ok := c.client.SubscribeMultiple(wanted, nil).(*paho.SubscribeToken)
	if !ok {
		return errors.New("subscribe: paho gave no subscribe token")
	}
	select {
	case <-token.Done():
	case <-ctx.Done():
		return fmt.Errorf("subscribe: %w", ctx.Err())
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for filter, code := range token.Result() {
		if code >= refusedByteMin {
			return fmt.Errorf("subscribe to %s: refused by the broker", filter)
		}
	}
	return nil
}

// ErrNotPublished says that nothing of a message was written.
var ErrNotPublished = errors.New("not published")

// Publish hands m to the connection. Calls that do not overlap keep their order.
// ErrNotPublished says that the broker cannot have got it, any other error leaves that
// open: the connection may have broken just after it was written.
func (c *Conn) Publish(m Message) (Receipt, error) {
	token := c.client.Publish(m.Topic, qos, m.Retained, m.Payload)
	select {
	case <-token.Done():
	default:
		return token, nil
	}
	switch err := token.Error(); {
	case errors.Is(err, paho.ErrNotConnected):
		return nil, fmt.Errorf("%w: %w", ErrNotPublished, err)
	case err != nil:
		return nil, fmt.Errorf("publish: %w", err)
	default:
		return token, nil
	}
}

// Open reports whether the connection stands, as far as is known.
func (c *Conn) Open() bool { return c.client.IsConnectionOpen() }

// Lost is closed when the connection broke and every message that came over it
// has been received. It is not closed by Close.
func (c *Conn) Lost() <-chan struct{} { return c.lost }

// Close says good-bye to the broker, which drops the will, and waits until every
// message that came has been received, both together for as long as limit.
func (c *Conn) Close(limit time.Duration) { c.client.Disconnect(uint(limit.Milliseconds())) }

// buffered spares paho, which reads a packet's head byte by byte, a system call for
// each. It also tells it of an end that was made on this side, which paho takes for its
// own doing, and would notice by its next ping at the earliest.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// forgetful is a paho.Store that keeps nothing: what is not acknowledged when the
// connection breaks is never sent again.
type forgetful struct{}

func (forgetful) Open()                             {}
func (forgetful) Put(string, packets.ControlPacket) {}
func (forgetful) Get(string) packets.ControlPacket  { return nil }
func (forgetful) All() []string                     { return nil }
func (forgetful) Del(string)                        {}
func (forgetful) Close()                            {}
func (forgetful) Reset()                            {}
