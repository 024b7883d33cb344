package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/foxbridge/foxbridge/mqtt"
)

const (
	authenticateLimit = 5 * time.Second
	takeoverLimit     = 5 * time.Second // for the connection that a new one replaces to end
	keepAliveMax      = 300             // seconds; more, or none, counts as this
	unitConnections   = 4               // of one unit at a time; the oldest makes room
	unitInflight      = 64              // messages that a unit may leave unanswered
)

// hook is what mochi asks and tells. It denies by default. Who a client is depends
// on its connection alone: a listener made it the bridge's, or CONNECT made it a
// unit's.
//
// Sessions: a client's ID in mochi is made up here, unique for each connection. So
// mochi never hands a session, with its subscriptions and unanswered messages, from one
// connection to another, and no unit can take the place of another by its client identifier. That
// a unit's connection ends the one with the same identifier before it [MQTT-3.1.4-2] is
// done here, within the unit.
type hook struct {
	mochi.HookBase
	server     *mochi.Server
	gatekeeper Gatekeeper
	log        *slog.Logger
	gate       *gate
	retained   *retained
	count      atomic.Uint64   // of accepted connections
	life       context.Context // of work that outlasts a call
	end        context.CancelFunc

	mu        sync.Mutex
	units     map[string][]*conn // connections by unit, the oldest first
	replaying sync.WaitGroup
}

func newHook(server *mochi.Server, gatekeeper Gatekeeper, log *slog.Logger) *hook {
	h := &hook{
		server: server, gatekeeper: gatekeeper, log: log,
		gate: newGate(), retained: newRetained(), units: map[string][]*conn{},
	}
	h.life, h.end = context.WithCancel(context.Background())
	return h
}

// stop ends what waits.
func (h *hook) stop() {
	h.end()
	h.gate.stop()
}

// ID names the hook in mochi's log.
func (h *hook) ID() string { return "access" }

// Provides lists the methods below.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPacketRead, mochi.OnPacketProcessed,
		mochi.OnSubscribed, mochi.OnPublish, mochi.OnPublished, mochi.OnPublishDropped, mochi.OnQosComplete,
		mochi.OnQosDropped, mochi.OnWill, mochi.OnWillSent:
		return true
	default:
		return false
	}
}

// Stop is called when all clients are gone.
func (h *hook) Stop() error {
	h.replaying.Wait()
	return nil
}

func connOf(cl *mochi.Client) *conn {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return &conn{} // no one: neither the bridge nor a unit
	}
	return c
}

// OnConnect decides who the client is, after mochi found CONNECT well formed.
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	c := connOf(cl)
	if pk.ProtocolVersion != protocolVersion {
		return h.refuse(cl, packets.ErrUnsupportedProtocolVersion, "protocol version is not that of MQTT 3.1.1")
	}
	if k := cl.State.Keepalive; k == 0 || k > keepAliveMax {
		cl.State.Keepalive = keepAliveMax
	}
	cl.Properties.Clean = true // nothing is kept for who is away, whatever was asked for
	if c.bridge {
		cl.ID = fmt.Sprintf("bridge/%d", h.count.Add(1))
		c.client = cl
		h.gate.join(cl)
		return nil
	}
	unit, err := h.authenticate(cl, pk)
	if err != nil {
		return err
	}
	if pk.Connect.WillFlag {
		topic, may := mayPublish(unit, pk.Connect.WillTopic)
		if !may || len(pk.Connect.WillPayload) > mqtt.PayloadMax {
			return h.refuse(cl, packets.Err3NotAuthorized, "last will is not the unit's to publish", "unit", unit)
		}
		cl.Properties.Will.Qos = 1
		cl.Properties.Will.Retain = cl.Properties.Will.Retain && topic.Retained()
	}
	cl.ID = fmt.Sprintf("%s/%d", unit, h.count.Add(1))
	c.unit, c.clientID = unit, pk.Connect.ClientIdentifier
	if err := h.replace(c); err != nil {
		return h.refuse(cl, packets.ErrServerUnavailable, "earlier connection does not end", "unit", unit)
	}
	c.client = cl
	return nil
}

func (h *hook) authenticate(cl *mochi.Client, pk packets.Packet) (string, error) {
	username := string(pk.Connect.Username)
	if !mqtt.ValidUnit(username) {
		return "", h.refuse(cl, packets.ErrBadUsernameOrPassword, "username is not a unit's")
	}
	ctx, cancel := context.WithTimeout(h.life, authenticateLimit)
	defer cancel()
	unit, ok, err := h.gatekeeper.Authenticate(ctx, username, string(pk.Connect.Password))
	if err != nil {
		return "", h.refuse(cl, packets.ErrServerUnavailable, "credentials could not be checked", "unit", username, "err", err)
	}
	if !ok || unit != username {
		return "", h.refuse(cl, packets.ErrBadUsernameOrPassword, "wrong credentials", "unit", username)
	}
	return unit, nil
}

// refuse answers CONNECT with a code and says why in the log.
func (h *hook) refuse(cl *mochi.Client, code packets.Code, reason string, about ...any) error {
	connOf(cl).refused = true
	h.log.Warn("MQTT connection refused", append([]any{"reason", reason, "remote", cl.Net.Remote}, about...)...)
	if err := h.server.SendConnack(cl, code, false, nil); err != nil {
		return errors.Join(code, err)
	}
	return code
}

// replace counts c among its unit's connections and waits for the end of those whose
// place it takes, so that their last wills come before what the new one says.
func (h *hook) replace(c *conn) error {
	deadline := time.NewTimer(takeoverLimit)
	defer deadline.Stop()
	for _, old := range h.join(c) {
		old.abort()
		select {
		case <-old.done:
		case <-deadline.C:
			return errors.New("connection does not end")
		}
	}
	return nil
}

// join counts c in and gives those that have to go.
func (h *hook) join(c *conn) []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var leaving []*conn
	staying := h.units[c.unit][:0:0]
	for _, old := range h.units[c.unit] {
		if c.clientID != "" && old.clientID == c.clientID {
			leaving = append(leaving, old)
		} else {
			staying = append(staying, old)
		}
	}
	for len(staying) >= unitConnections {
		leaving, staying = append(leaving, staying[0]), staying[1:]
	}
	h.units[c.unit] = append(staying, c)
	return leaving
}

// left is called when a connection has ended, however it did.
func (h *hook) left(c *conn) {
	if c.passing {
		h.gate.leave()
	}
	if c.bridge && c.client != nil {
		h.gate.part(c.client)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	remaining := slices.DeleteFunc(h.units[c.unit], func(other *conn) bool { return other == c })
	if h.units[c.unit] = remaining; len(remaining) == 0 {
		delete(h.units, c.unit)
	}
}

// OnConnectAuthenticate lets in whom OnConnect has accepted.
func (h *hook) OnConnectAuthenticate(cl *mochi.Client, _ packets.Packet) bool {
	return connOf(cl).client == cl
}

// OnACLCheck decides on each publish of a client, each of its filters, and each
// message that mochi is about to deliver to it.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	c := connOf(cl)
	switch {
	case c.bridge:
		return len(topic) > len(prefix) && topic[:len(prefix)] == prefix
	case c.unit == "":
		return false
	case write:
		_, may := mayPublish(c.unit, topic)
		return may
	case !maySubscribe(c.unit, topic):
		return false
	case cl.State.Inflight.Len() >= unitInflight:
		h.log.Warn("unit does not answer what it receives, connection closed", "unit", c.unit)
		c.abort()
		return false
	default:
		return true
	}
}

// OnPacketRead closes the connection of a unit that sends what it must not, with
// one line in the log.
func (h *hook) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c.unit == "" {
		return pk, nil // the bridge, or CONNECT
	}
	if reason := misbehaviour(c.unit, pk); reason != "" {
		h.log.Warn("unit broke the protocol, connection closed", "unit", c.unit, "reason", reason)
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// misbehaviour says why a unit must not send pk, or nothing.
func misbehaviour(unit string, pk packets.Packet) string {
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Subscribe, packets.Unsubscribe, packets.Pingreq, packets.Disconnect:
		return ""
	case packets.Publish:
	default:
		return "packet of a type that hc/1 does not have"
	}
	if _, may := mayPublish(unit, pk.TopicName); !may {
		return "publish on a topic that is not its own"
	}
	if pk.FixedHeader.Qos != 1 {
		return "publish with another QoS than 1"
	}
	if len(pk.Payload) > mqtt.PayloadMax {
		return "payload is longer than 16 KiB"
	}
	return ""
}

// OnSubscribed logs refused filters.
func (h *hook) OnSubscribed(cl *mochi.Client, pk packets.Packet, codes []byte) {
	for i, code := range codes {
		if code >= packets.ErrUnspecifiedError.Code && i < len(pk.Filters) {
			h.log.Warn("subscription refused", "unit", connOf(cl).unit, "filter", cut(pk.Filters[i].Filter))
		}
	}
}

// cut shortens what a client sent for the log.
func cut(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most]
	}
	return s
}

// OnPublish takes the retained message out of mochi's hands and waits for a place
// in the gate.
func (h *hook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c.unit == "" {
		pk.FixedHeader.Retain = false
		return pk, nil
	}
	if pk.FixedHeader.Retain {
		h.retain(c.unit, pk.TopicName, pk.Payload)
		pk.FixedHeader.Retain = false
	}
	h.enter(c)
	return pk, nil
}

// OnPublished gives the place back.
func (h *hook) OnPublished(cl *mochi.Client, _ packets.Packet) { h.leave(connOf(cl)) }

// OnWill does for a last will what OnPublish does for a publish.
func (h *hook) OnWill(cl *mochi.Client, will mochi.Will) (mochi.Will, error) {
	c := connOf(cl)
	if will.Retain {
		h.retain(c.unit, will.TopicName, will.Payload)
		will.Retain = false
	}
	h.enter(c)
	return will, nil
}

// OnWillSent gives the place back.
func (h *hook) OnWillSent(cl *mochi.Client, _ packets.Packet) { h.leave(connOf(cl)) }

func (h *hook) retain(unit, name string, payload []byte) {
	topic, err := mqtt.ParseTopic(name)
	if err != nil || !topic.Retained() {
		return
	}
	if !h.retained.put(unit, name, payload) {
		h.log.Warn("no room to retain a message", "unit", unit, "topic", name)
	}
}

func (h *hook) enter(c *conn) {
	h.gate.enter()
	c.passing = true
}

func (h *hook) leave(c *conn) {
	if c.passing {
		c.passing = false
		h.gate.leave()
	}
}

// OnQosComplete and OnQosDropped make room in the gate.
func (h *hook) OnQosComplete(cl *mochi.Client, _ packets.Packet) { h.settled(cl) }

// OnQosDropped is told what a client leaves unanswered when it goes.
func (h *hook) OnQosDropped(cl *mochi.Client, _ packets.Packet) { h.settled(cl) }

func (h *hook) settled(cl *mochi.Client) {
	if connOf(cl).bridge {
		h.gate.answered()
	}
}

// OnPublishDropped is told that a client's queue was full.
func (h *hook) OnPublishDropped(cl *mochi.Client, _ packets.Packet) {
	c := connOf(cl)
	h.log.Warn("client reads too slowly, connection closed", "unit", c.unit, "bridge", c.bridge)
	c.abort()
}

// OnPacketProcessed sends the bridge what is retained, after it subscribed.
func (h *hook) OnPacketProcessed(cl *mochi.Client, pk packets.Packet, err error) {
	if pk.FixedHeader.Type == packets.Subscribe && err == nil && connOf(cl).bridge {
		h.replayAll(cl, pk.Filters)
	}
}

func (h *hook) replayAll(cl *mochi.Client, filters packets.Subscriptions) {
	h.replaying.Go(func() {
		for name, unit := range h.retained.names(filters) {
			if !h.replay(cl, unit, name) {
				return
			}
		}
	})
}

// replay sends what is retained on one topic, and reports whether the bridge is still there.
func (h *hook) replay(bridge *mochi.Client, unit, name string) bool {
	h.gate.enter()
	defer h.gate.leave()
	if bridge.Closed() {
		return false
	}
	if err := h.retained.send(h.server, bridge, unit, name); err != nil {
		h.log.Debug("retained message not sent to the bridge", "topic", name, "err", err)
		return false
	}
	return true
}
