package mqtttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
)

func deliversOrders(t *testing.T, b Broker) {
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	home := b.home(t, b.line(t), 0)

	on := order(b.Units[0].Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), on))
	answer := h.await(t, "answer", ackOf(on.CommandID))
	require.Equal(t, b.Units[0].Unit, answer.unit)
	require.Equal(t, devices.Done, answer.ack.Outcome)
	require.NotNil(t, answer.ack.State)
	require.JSONEq(t, `{"on":true}`, string(answer.ack.State.Readings))
	require.Equal(t, []string{on.CommandID}, executed(home))
	state := h.await(t, "state", func(s said) bool {
		return s.state != nil && s.state.DeviceID == socket && s.state.Sequence == answer.ack.State.Sequence
	})
	require.JSONEq(t, `{"on":true}`, string(state.state.Readings))

	home.Refuse(socket, "The fuse is out")
	off := order(b.Units[0].Unit, socket, "off")
	require.NoError(t, link.Send(t.Context(), off))
	answer = h.await(t, "refusal", ackOf(off.CommandID))
	require.Equal(t, devices.Refused, answer.ack.Outcome)
	require.Equal(t, "The fuse is out", answer.ack.Reason)
	require.Len(t, home.Executions(), 1)

	id, err := home.Event(devices.EventTamper, socket, "The cover is open")
	require.NoError(t, err)
	event := h.await(t, "event", eventOf(id))
	require.Equal(t, devices.EventTamper, event.event.Type)
	require.Equal(t, socket, event.event.DeviceID)
	require.Equal(t, "The cover is open", event.event.Text)
}

func keepsOrder(t *testing.T, b Broker) {
	const many = 100
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	home := b.home(t, b.line(t), 0)

	var sent []string
	for i := range many {
		o := order(b.Units[0].Unit, socket, []string{"on", "off"}[i%2])
		require.NoError(t, link.Send(t.Context(), o))
		sent = append(sent, o.CommandID)
		if i%10 == 9 { // a unit's lane holds sixteen
			h.await(t, "answer", ackOf(o.CommandID))
		}
	}
	require.Equal(t, sent, executed(home))

	unit := b.connect(t, as{Credentials: b.Units[1]})
	for i := range many {
		unit.publish(t, stateTopic(b.Units[1].Unit, 7), true, statePayload(t, int64(i+1)))
	}
	unit.mark(t, h, b.Units[1].Unit)
	var sequences []int64
	for _, s := range h.heard() {
		if s.unit == b.Units[1].Unit && s.state != nil {
			sequences = append(sequences, s.state.Sequence)
		}
	}
	require.Len(t, sequences, many)
	require.True(t, slices.IsSorted(sequences), "states came in another order: %v", sequences)
}

func tellsLinks(t *testing.T, b Broker) {
	h := newHouse()
	b.link(t, b.Bridge, h, newLogbook(t))
	line := b.line(t)
	before := time.Now().Add(-time.Second)
	home := b.home(t, line, 0)

	first := h.await(t, "online", func(s said) bool { return s.link != nil && s.link.Online })
	require.Equal(t, b.Units[0].Unit, first.unit)
	require.Len(t, first.link.Session, 32)
	require.Equal(t, "suite 1", first.link.Firmware)
	require.Equal(t, devices.CatalogueVersion, first.link.Catalogue)
	require.WithinRange(t, first.link.Clock, before, time.Now())
	require.False(t, first.link.Retained)

	line.Cut()
	h.await(t, "last will of the first session", func(s said) bool {
		return s.link != nil && !s.link.Online && s.link.Session == first.link.Session
	})
	second := h.await(t, "second session", func(s said) bool {
		return s.link != nil && s.link.Online && s.link.Session != first.link.Session
	})

	require.NoError(t, home.Stop(t.Context()))
	h.await(t, "farewell of the second session", func(s said) bool {
		return s.link != nil && !s.link.Online && s.link.Session == second.link.Session
	})
}

func replaysRetained(t *testing.T, b Broker) {
	home := b.home(t, b.line(t), 0)
	unit := b.connect(t, as{Credentials: b.Units[1]})
	unit.publish(t, stateTopic(b.Units[1].Unit, 7), true, statePayload(t, 1))
	unit.publish(t, stateTopic(b.Units[1].Unit, 7), true, statePayload(t, 2))
	unit.publish(t, stateTopic(b.Units[1].Unit, 8), true, statePayload(t, 3))
	unit.publish(t, stateTopic(b.Units[1].Unit, 8), true, "") // takes it back [MQTT-3.3.1-10]

	h := newHouse()
	b.link(t, b.Bridge, h, newLogbook(t))
	link := h.await(t, "retained link", func(s said) bool { return s.link != nil && s.unit == b.Units[0].Unit })
	require.True(t, link.link.Online)
	require.True(t, link.link.Retained)
	for device := range home.States() {
		h.await(t, fmt.Sprintf("retained state of device %d", device), func(s said) bool {
			return s.state != nil && s.unit == b.Units[0].Unit && s.state.DeviceID == device
		})
	}
	last := h.await(t, "latest state", func(s said) bool { return s.state != nil && s.unit == b.Units[1].Unit })
	require.EqualValues(t, 2, last.state.Sequence)
	unit.mark(t, h, b.Units[1].Unit)
	require.False(t, slices.ContainsFunc(h.heard(), func(s said) bool { return s.state != nil && s.state.DeviceID == 8 }))
}

func bridgeReturns(t *testing.T, b Broker) {
	h := newHouse()
	line := NewLine(b.Bridge)
	link := b.link(t, line.Dial, h, newLogbook(t))
	home := b.home(t, b.line(t), 0)

	var sent []string
	for range 3 {
		o := order(b.Units[0].Unit, socket, "on")
		require.NoError(t, link.Send(t.Context(), o))
		h.await(t, "answer", ackOf(o.CommandID))
		sent = append(sent, o.CommandID)

		line.Down()
		require.Eventually(t, func() bool { return !link.Connected() }, patience, time.Millisecond)
		require.ErrorIs(t, link.Send(t.Context(), order(b.Units[0].Unit, socket, "off")), devices.ErrNotSent)
		line.Up()
		require.Eventually(t, link.Connected, patience, time.Millisecond)
	}
	o := order(b.Units[0].Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), o))
	h.await(t, "answer after the breaks", ackOf(o.CommandID))
	require.Equal(t, append(sent, o.CommandID), executed(home))
}

func forgetsOrders(t *testing.T, b Broker) {
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	line := b.line(t)
	home := b.home(t, line, 0)
	first := h.await(t, "online", func(s said) bool { return s.link != nil && s.link.Online })

	line.Down()
	h.await(t, "last will", func(s said) bool { return s.link != nil && !s.link.Online })
	missed := order(b.Units[0].Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), missed))
	line.Up()
	h.await(t, "second session", func(s said) bool {
		return s.link != nil && s.link.Online && s.link.Session != first.link.Session
	})
	next := order(b.Units[0].Unit, socket, "off")
	require.NoError(t, link.Send(t.Context(), next))
	h.await(t, "answer", ackOf(next.CommandID))
	require.Equal(t, []string{next.CommandID}, executed(home))
}

func keepsNoSession(t *testing.T, b Broker) {
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	me := as{Credentials: b.Units[0], clientID: "hoarder", persistent: true}
	unit := b.connect(t, me)
	require.EqualValues(t, 1, unit.subscribe(t, topic(me.Unit, mqtt.LeafCommand)))
	unit.Disconnect(1000)

	other := b.home(t, b.line(t), 1)
	missed := order(me.Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), missed))
	after := order(b.Units[1].Unit, socket, "on") // taken in order: once it is done, the broker has dealt with the first
	require.NoError(t, link.Send(t.Context(), after))
	h.await(t, "answer", ackOf(after.CommandID))
	require.Len(t, other.Executions(), 1)

	unit = b.connect(t, me)
	require.EqualValues(t, 1, unit.subscribe(t, topic(me.Unit, mqtt.LeafCommand)))
	next := order(me.Unit, socket, "off")
	require.NoError(t, link.Send(t.Context(), next))
	if b.Differences.KeepsSessions {
		require.Equal(t, missed.CommandID, unit.receive(t).CommandID)
	}
	require.Equal(t, next.CommandID, unit.receive(t).CommandID)
}

func redelivers(t *testing.T, b Broker) {
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	line := b.line(t)
	home := b.home(t, line, 0)

	release := home.Hold(socket)
	slow := order(b.Units[0].Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), slow))
	quick := order(b.Units[0].Unit, socket2, "on")
	require.NoError(t, link.Send(t.Context(), quick))
	h.await(t, "answer that came after the held order", ackOf(quick.CommandID))

	line.Down()
	h.await(t, "last will", func(s said) bool { return s.link != nil && !s.link.Online })
	release()
	require.Eventually(t, func() bool { return slices.Contains(executed(home), slow.CommandID) }, patience, time.Millisecond)
	id, err := home.Event(devices.EventBattery, socket, "")
	require.NoError(t, err)
	line.Up()
	h.await(t, "late answer", ackOf(slow.CommandID))
	h.await(t, "late event", eventOf(id))
}

// foreign are filters that a unit must get nothing by, given another unit.
func foreign(other string) []string {
	return []string{
		"#", "+/#", "hc/#", "hc/1/#", "hc/1/+/cmd", "hc/1/+/#", "hc/1/+/+", "+/1/" + other + "/cmd", "+/+/+/+",
		topic(other, mqtt.LeafCommand), "hc/1/" + other + "/#", "hc/1/" + other + "/+",
		"$share/group/" + topic(other, mqtt.LeafCommand), "$share/group/hc/1/+/cmd", "$SHARE/group/hc/1/+/cmd", "$SYS/#",
	}
}

func confinesSubscriptions(t *testing.T, b Broker) {
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	victim := b.home(t, b.line(t), 1)
	me, other := b.Units[0], b.Units[1]
	spy := b.connect(t, as{Credentials: me})
	for _, filter := range foreign(other.Unit) {
		code := spy.subscribe(t, filter)
		if !b.Differences.GrantsForeignFilters {
			require.EqualValues(t, 0x80, code, "filter %s", filter)
		}
	}
	require.EqualValues(t, 1, spy.subscribe(t, topic(me.Unit, mqtt.LeafCommand)))

	secret := order(other.Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), secret))
	h.await(t, "answer of the other", ackOf(secret.CommandID))
	require.Len(t, victim.Executions(), 1)
	own := order(me.Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), own))
	require.Equal(t, own.CommandID, spy.receive(t).CommandID, "and nothing before it")

	for _, filter := range []string{"hc/1/" + me.Unit + "/#", "hc/1/" + me.Unit + "/+"} {
		wide := b.connect(t, as{Credentials: b.Units[0], clientID: uuid.NewString()})
		require.EqualValues(t, 1, wide.subscribe(t, filter), "filter %s", filter)
		own := order(me.Unit, socket, "on")
		require.NoError(t, link.Send(t.Context(), own))
		require.Equal(t, own.CommandID, wide.receive(t).CommandID)
	}
}

func confinesPublishing(t *testing.T, b Broker) {
	h := newHouse()
	b.link(t, b.Bridge, h, newLogbook(t))
	victim := b.home(t, b.line(t), 1)
	me, other := b.Units[0], b.Units[1].Unit

	link, err := mqtt.EncodeLink(devices.LinkReport{Session: "0123456789abcdef0123456789abcdef"})
	require.NoError(t, err)
	event, err := mqtt.EncodeEvent(devices.EventReport{ID: "forged", Type: devices.EventAlarm, Time: time.Now()})
	require.NoError(t, err)
	ack, err := mqtt.EncodeAck(mqtt.Ack{Ack: devices.Ack{CommandID: "forged", Outcome: devices.Done}, Time: time.Now()})
	require.NoError(t, err)
	command, err := mqtt.EncodeCommand(mqtt.Command{
		Order: order("", socket, "on"), Reply: mqtt.Topic{Unit: other, Leaf: mqtt.LeafAck, Bridge: "one"}.String(),
	})
	require.NoError(t, err)
	for name, payload := range map[string]string{
		topic(other, mqtt.LeafLink):        string(link),
		topic(other, mqtt.LeafEvent):       string(event),
		stateTopic(other, socket):          statePayload(t, 1<<60),
		"hc/1/" + other + "/ack/one":       string(ack),
		topic(other, mqtt.LeafCommand):     string(command),
		topic(me.Unit, mqtt.LeafCommand):   string(command),
		"hc/1/" + me.Unit:                  "{}",
		"hc/1/" + me.Unit + "/other":       "{}",
		"hc/1//event":                      string(event),
		"hc/2/" + me.Unit + "/event":       string(event),
		"elsewhere":                        "{}",
		"$SYS/broker/uptime":               "0",
		"hc/1/" + me.Unit + "/event/extra": string(event),
	} {
		hostile := b.connect(t, as{Credentials: me, clientID: uuid.NewString()})
		hostile.publish(t, name, true, payload)
		if b.Differences.SwallowsDeniedPublish {
			hostile.Disconnect(1000)
			continue
		}
		select {
		case <-hostile.lost:
		case <-time.After(patience):
			t.Fatalf("connection stays after publishing on %s", name)
		}
	}
	honest := b.connect(t, as{Credentials: me})
	honest.mark(t, h, me.Unit)
	require.Empty(t, victim.Executions())
	for _, s := range h.heard() {
		forged := s.ack != nil || s.event != nil && s.event.ID == "forged" || s.state != nil && s.state.Sequence == 1<<60 ||
			s.link != nil && !s.link.Online
		require.False(t, forged, "the house was told: %+v", s)
	}
}

func confinesWills(t *testing.T, b Broker) {
	h := newHouse()
	b.link(t, b.Bridge, h, newLogbook(t))
	b.home(t, b.line(t), 1)
	me, other := b.Units[0], b.Units[1].Unit
	will, err := mqtt.EncodeLink(devices.LinkReport{Session: "0123456789abcdef0123456789abcdef"})
	require.NoError(t, err)

	for _, name := range []string{topic(other, mqtt.LeafLink), topic(me.Unit, mqtt.LeafCommand), "hc/1/" + me.Unit, "elsewhere"} {
		line := b.line(t)
		hostile, err := b.tryConnect(t, as{Credentials: me, clientID: uuid.NewString(), will: func(o *paho.ClientOptions) {
			o.SetBinaryWill(name, will, 1, true)
			o.SetCustomOpenConnectionFn(dialOver(line))
		}})
		if !b.Differences.AdmitsForeignWill {
			require.ErrorIs(t, err, packets.ErrorRefusedNotAuthorised, "will on %s", name)
			continue
		}
		require.NoError(t, err)
		line.Cut()
		hostile.Disconnect(0)
	}
	honest := b.connect(t, as{Credentials: me})
	honest.mark(t, h, me.Unit)
	require.False(t, slices.ContainsFunc(h.heard(), func(s said) bool { return s.link != nil && !s.link.Online }))
}

func keepsIdentities(t *testing.T, b Broker) {
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	victim := b.home(t, b.line(t), 1)
	me, other := b.Units[0], b.Units[1].Unit

	for _, stolen := range []string{other, "foxbridge-one", other + "/1", "bridge/1"} {
		thief := b.connect(t, as{Credentials: me, clientID: stolen})
		require.EqualValues(t, 1, thief.subscribe(t, topic(me.Unit, mqtt.LeafCommand)))
		o := order(other, socket, "on")
		require.NoError(t, link.Send(t.Context(), o))
		h.await(t, "answer of the one whose identifier was used", ackOf(o.CommandID))
		own := order(me.Unit, socket, "on")
		require.NoError(t, link.Send(t.Context(), own))
		require.Equal(t, own.CommandID, thief.receive(t).CommandID)
	}
	require.True(t, victim.Connected())
	require.True(t, link.Connected())
	sessions := map[string]bool{}
	for _, s := range h.heard() {
		if s.link != nil && s.unit == other {
			sessions[s.link.Session] = true
		}
	}
	require.Len(t, sessions, 1, "the other never had to connect again")
}

func refusesStrangers(t *testing.T, b Broker) {
	for name, who := range map[string]Credentials{
		"wrong password":         {b.Units[0].Unit, "wrong"},
		"empty password":         {b.Units[0].Unit, ""},
		"another unit's":         {b.Units[0].Unit, b.Units[1].Password},
		"unknown unit":           {"00000000deadbeef", b.Units[0].Password},
		"no unit at all":         {"admin", "admin"},
		"no credentials":         {},
		"wildcard as a name":     {"+", b.Units[0].Password},
		"unit in another manner": {strings.ToUpper(b.Units[0].Unit), b.Units[0].Password},
	} {
		_, err := b.tryConnect(t, as{Credentials: who, clientID: uuid.NewString()})
		require.Error(t, err, name)
		require.Condition(t, func() bool {
			return strings.Contains(err.Error(), "ot authorized") || strings.Contains(err.Error(), "ot Authorized") ||
				strings.Contains(err.Error(), "bad user name or password")
		}, "%s: %v", name, err)
	}
}

func survivesGarbage(t *testing.T, b Broker) {
	h := newHouse()
	log := newLogbook(t)
	link := b.link(t, b.Bridge, h, log)
	me := b.Units[0]
	unit := b.connect(t, as{Credentials: me, clientID: "garbage"})
	before := len(log.read())

	topics := []string{topic(me.Unit, mqtt.LeafEvent), topic(me.Unit, mqtt.LeafLink), stateTopic(me.Unit, 7), "hc/1/" + me.Unit + "/ack/one"}
	payloads := []string{
		"hello SECRET", "[]", "null", "{", "{}", "\xff\xfe", `{"id":"SECRET"} {}`, `{"id":"SECRET","id":"SECRET"}`,
		`{"id":"\u0000","status":"\u0000","readings":{"a":"\u0000"}}`, `{"id":7,"status":7,"sequence":"7"}`,
	}
	for _, name := range topics {
		for _, payload := range payloads {
			unit.publish(t, name, false, payload)
		}
	}
	unit.mark(t, h, me.Unit)
	mark, err := mqtt.EncodeAck(mqtt.Ack{Ack: devices.Ack{CommandID: "mark", Outcome: devices.Done}, Time: time.Now()})
	require.NoError(t, err)
	unit.publish(t, "hc/1/"+me.Unit+"/ack/one", false, string(mark)) // answers come on their own way
	h.await(t, "the other mark", ackOf("mark"))
	require.True(t, link.Connected())
	require.Eventually(t, func() bool { return len(log.read()) > before }, patience, time.Millisecond)
	require.NoError(t, link.Stop(t.Context()))
	lines := log.read()[before:]
	require.Len(t, lines, 2, "one at once, and one with the count")
	require.Contains(t, lines[1], fmt.Sprintf("more=%d", len(topics)*len(payloads)-1))
	for _, line := range lines {
		require.Contains(t, line, me.Unit)
		require.NotContains(t, line, "SECRET")
	}
	require.Len(t, h.heard(), 2, "the marks alone")
}

func namesTheSpeaker(t *testing.T, b Broker) {
	h := newHouse()
	link := b.link(t, b.Bridge, h, newLogbook(t))
	me := b.Units[0]
	victim := b.home(t, b.line(t), 1)
	release := victim.Hold(socket)
	defer release()
	o := order(b.Units[1].Unit, socket, "on")
	require.NoError(t, link.Send(t.Context(), o))

	forged, err := mqtt.EncodeAck(mqtt.Ack{Time: time.Now(), Ack: devices.Ack{
		CommandID: o.CommandID, Outcome: devices.Done,
		State: &devices.StateReport{Sequence: 1 << 60, Time: time.Now(), Readings: json.RawMessage(`{"on":true}`)},
	}})
	require.NoError(t, err)
	liar := b.connect(t, as{Credentials: me})
	liar.publish(t, "hc/1/"+me.Unit+"/ack/one", false, string(forged))
	require.Equal(t, me.Unit, h.await(t, "forged answer", ackOf(o.CommandID)).unit)
	require.Empty(t, victim.Executions())
}

func dialOver(line *Line) paho.OpenConnectionFunc {
	return func(*url.URL, paho.ClientOptions) (net.Conn, error) { return line.Dial(context.Background()) }
}
