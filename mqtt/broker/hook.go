package broker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/internal/tally"
)

// unitInflight is how many messages a unit may leave unanswered.
const unitInflight = 64

// filtersMax is how many filters a unit may name in one packet; hc/1 has one for it.
const filtersMax = 16

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
	often      *tally.Log // for what a client can make happen often
	door       *door
	speaker    *mochi.Client // publishes what the broker itself has to say
	gates      gates
	retained   *retained
	most       int             // connections of units
	count      atomic.Uint64   // of accepted connections
	life       context.Context // of work that outlasts a call
	end        context.CancelFunc

	mu        sync.Mutex
	units     map[string]*member
	connected int // connections of units, those left out that were told to end
	replaying sync.WaitGroup
}

func newHook(server *mochi.Server, gatekeeper Gatekeeper, log *slog.Logger, most int) *hook {
	h := &hook{
		server: server, gatekeeper: gatekeeper, log: log, most: most,
		often: tally.New(log), door: &door{}, speaker: server.NewClient(nil, "", "broker", true),
		gates: newGates(), retained: newRetained(), units: map[string]*member{},
	}
	h.life, h.end = context.WithCancel(context.Background())
	return h
}

// stop ends what waits.
func (h *hook) stop() {
	h.end()
	h.gates.stop()
}

// ID names the hook in mochi's log.
func (h *hook) ID() string { return "access" }

// Provides lists the methods below.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPacketRead, mochi.OnPacketEncode,
		mochi.OnPacketProcessed, mochi.OnSubscribe, mochi.OnSubscribed, mochi.OnPublish, mochi.OnPublished, mochi.OnPublishDropped, mochi.OnQosComplete,
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
		h.often.Say(slog.LevelWarn, "mute "+c.unit, "unit does not answer what it receives, connection closed", "unit", c.unit)
		c.abort()
		return false
	default:
		return true
	}
}

// OnPacketRead closes the connection of a unit that sends what it must not, and holds
// back one that sends too much.
func (h *hook) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c.unit == "" {
		return pk, nil // the bridge, or CONNECT
	}
	c.reason = misbehaviour(c.unit, pk)
	if c.reason == "" {
		c.reason = h.hold(c, c.member.quotaOf(pk), c.gone)
	}
	if c.reason != "" {
		return pk, packets.ErrRejectPacket
	}
	c.parted = pk.FixedHeader.Type == packets.Disconnect
	return pk, nil
}

// misbehaviour says why a unit must not send pk, or nothing.
func misbehaviour(unit string, pk packets.Packet) string {
	switch pk.FixedHeader.Type {
	case packets.Subscribe, packets.Unsubscribe:
		if len(pk.Filters) > filtersMax {
			return "more than 16 filters in one packet"
		}
		return ""
	case packets.Puback, packets.Pingreq, packets.Disconnect:
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

// OnSubscribe makes the bridge count in the gates before anything comes to it.
func (h *hook) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if connOf(cl).bridge {
		for _, filter := range pk.Filters {
			h.gates.join(cl, filter.Filter)
		}
	}
	return pk
}

// OnSubscribed notes what is retained for the bridge at this moment, before SUBACK,
// and logs what was refused to a unit.
func (h *hook) OnSubscribed(cl *mochi.Client, pk packets.Packet, codes []byte) {
	c := connOf(cl)
	var granted, refused packets.Subscriptions
	for i, filter := range pk.Filters {
		if codes[i] < packets.ErrUnspecifiedError.Code {
			granted = append(granted, filter)
		} else {
			refused = append(refused, filter)
		}
	}
	if len(refused) > 0 {
		h.often.Say(slog.LevelWarn, "subscription "+c.unit, "subscription refused",
			"unit", c.unit, "filter", cut(refused[0].Filter), "filters", len(refused))
	}
	if c.bridge {
		c.replay = h.retained.names(granted)
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
	h.note(c, pk.TopicName, pk.Payload, pk.FixedHeader.Retain)
	pk.FixedHeader.Retain = false
	h.enter(c, pk.TopicName)
	return pk, nil
}

// OnPublished gives the place back.
func (h *hook) OnPublished(cl *mochi.Client, _ packets.Packet) { h.leave(connOf(cl)) }

// OnWill does for a last will what OnPacketRead and OnPublish do for a publish.
func (h *hook) OnWill(cl *mochi.Client, will mochi.Will) (mochi.Will, error) {
	c := connOf(cl)
	if c.member == nil {
		return will, nil // the bridge's
	}
	h.hold(c, c.member.quotaOn(will.TopicName), nil)
	h.note(c, will.TopicName, will.Payload, will.Retain)
	will.Retain = false
	h.enter(c, will.TopicName)
	return will, nil
}

// OnWillSent gives the place back.
func (h *hook) OnWillSent(cl *mochi.Client, _ packets.Packet) { h.leave(connOf(cl)) }

// note keeps what a unit says, as far as the broker has to know it.
func (h *hook) note(c *conn, name string, payload []byte, retain bool) {
	topic, err := mqtt.ParseTopic(name)
	if err != nil || !topic.Retained() {
		return
	}
	if topic.Leaf == mqtt.LeafLink {
		h.mu.Lock() // what is retained and which session is online change together
		defer h.mu.Unlock()
		c.tell(payload)
	}
	if retain && !h.retained.put(c.unit, name, payload) {
		h.often.Say(slog.LevelWarn, "shelf "+c.unit, "no room to retain a message", "unit", c.unit, "topic", name)
	}
}

// tell takes in a link payload. It is called with hook.mu held.
func (c *conn) tell(payload []byte) {
	m := c.member
	link, err := mqtt.DecodeLink(payload)
	switch {
	case err != nil: // the bridge says so in the log
	case link.Online:
		c.session, m.session, m.broken = link.Session, link.Session, false
	case link.Session == m.session:
		m.session = ""
	}
}

// obituary makes the last will that a unit did not leave, which has no connection any
// more and is said to be online. It is called with h.mu held.
func (h *hook) obituary(unit string, m *member) *packets.Packet {
	payload, err := mqtt.EncodeOffline(m.session)
	m.session = ""
	if err != nil {
		h.log.Error("unit not said to be offline", "unit", unit, "err", err)
		return nil
	}
	name := mqtt.Topic{Unit: unit, Leaf: mqtt.LeafLink}.String()
	h.retained.put(unit, name, payload) // in the place of a longer one, or there is nothing to correct
	return &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1},
		TopicName:   name, Payload: payload, PacketID: 1,
	}
}

// speak publishes for a unit that is gone, over whose last connection c it was.
func (h *hook) speak(c *conn, message packets.Packet) error {
	h.enter(c, message.TopicName)
	defer h.leave(c)
	return h.server.InjectPacket(h.speaker, message)
}

// enter waits for a place in the gate. A place that c still has is given back: mochi
// says neither OnPublished nor OnWillSent when it cannot write the PUBACK.
func (h *hook) enter(c *conn, name string) {
	h.leave(c)
	g := h.gates.of(name)
	g.enter()
	c.passing = g
}

func (h *hook) leave(c *conn) {
	if c.passing != nil {
		c.passing.leave()
		c.passing = nil
	}
}

// OnQosComplete and OnQosDropped make room in the gate.
func (h *hook) OnQosComplete(cl *mochi.Client, _ packets.Packet) { h.settled(cl) }

// OnQosDropped is told what a client leaves unanswered when it goes.
func (h *hook) OnQosDropped(cl *mochi.Client, _ packets.Packet) { h.settled(cl) }

func (h *hook) settled(cl *mochi.Client) {
	if connOf(cl).bridge {
		h.gates.answered()
	}
}

// OnPublishDropped is told that a client's queue was full.
func (h *hook) OnPublishDropped(cl *mochi.Client, _ packets.Packet) {
	c := connOf(cl)
	h.often.Say(slog.LevelWarn, "slow "+c.unit, "client reads too slowly, connection closed", "unit", c.unit, "bridge", c.bridge)
	c.abort()
}

// OnPacketEncode gives CONNACK the return codes of MQTT 3.1.1 [MQTT-3.2.2-6], where
// mochi has one of version 5. Where there is none the connection ends without a word
// [MQTT-3.1.4-1].
func (h *hook) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type != packets.Connack || pk.ReasonCode <= packets.Err3NotAuthorized.Code || cl.Properties.ProtocolVersion == 5 {
		return pk
	}
	c := connOf(cl)
	c.reason = pk.Properties.ReasonString
	switch {
	case cl.Properties.ProtocolVersion != protocolVersion:
		pk.ReasonCode = packets.Err3UnsupportedProtocolVersion.Code // [MQTT-3.1.2-2]
	case pk.ReasonCode == packets.ErrUnspecifiedError.Code || pk.ReasonCode == packets.ErrClientIdentifierNotValid.Code:
		pk.ReasonCode = packets.Err3ClientIdentifierNotValid.Code // [MQTT-3.1.3-8]
	case pk.ReasonCode == packets.ErrQosNotSupported.Code:
		pk.ReasonCode = packets.Err3NotAuthorized.Code // a last will of QoS 2
	case c.reason == packets.ErrProtocolViolationFlagNoPassword.Reason:
		pk.ReasonCode = packets.Err3NotAuthorized.Code // an empty password is well formed, and nobody's
	default:
		pk.FixedHeader.Type = packets.Reserved // mochi writes no packet of this type
	}
	return pk
}

// OnPacketProcessed sends the bridge what OnSubscribed noted, after SUBACK, while the
// bridge's own goroutine goes on to read its answers.
func (h *hook) OnPacketProcessed(cl *mochi.Client, _ packets.Packet, _ error) {
	if c := connOf(cl); len(c.replay) > 0 {
		h.replayTo(cl, c.replay)
		c.replay = nil
	}
}

func (h *hook) replayTo(bridge *mochi.Client, names map[string]string) {
	h.replaying.Go(func() {
		for name, unit := range names {
			if !h.replay(bridge, unit, name) {
				return
			}
		}
	})
}

// replay sends what is retained on one topic, and reports whether the bridge is still there.
func (h *hook) replay(bridge *mochi.Client, unit, name string) bool {
	h.gates.reports.enter()
	defer h.gates.reports.leave()
	if bridge.Closed() {
		return false
	}
	if err := h.retained.send(h.server, bridge, unit, name); err != nil {
		h.log.Debug("retained message not sent to the bridge", "topic", name, "err", err)
		return false
	}
	return true
}
