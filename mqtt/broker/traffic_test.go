package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"
)

func TestAUnitThatBreaksTheProtocolLosesItsConnection(t *testing.T) {
	t.Parallel()
	event := "hc/1/" + own + "/event"
	retyped := func(m *packets.PublishPacket, qos byte) *packets.PublishPacket {
		m.Qos = qos
		return m
	}
	for name, sent := range map[string][]byte{
		"QoS 0":                     bytesOf(t, retyped(publish(event, 0, "{}"), 0)),
		"QoS 2":                     bytesOf(t, retyped(publish(event, 1, "{}"), 2)),
		"too long":                  bytesOf(t, publish(event, 1, strings.Repeat("x", 16<<10+1))),
		"a foreign topic":           bytesOf(t, publish("hc/1/"+other+"/event", 1, "{}")),
		"an order to itself":        bytesOf(t, publish("hc/1/"+own+"/cmd", 1, "{}")),
		"a wildcard":                bytesOf(t, publish("hc/1/"+own+"/+", 1, "{}")),
		"no topic":                  bytesOf(t, publish("", 1, "{}")),
		"a second CONNECT":          bytesOf(t, connect(own)),
		"PUBREC":                    bytesOf(t, packets.NewControlPacket(packets.Pubrec)),
		"PUBREL":                    bytesOf(t, packets.NewControlPacket(packets.Pubrel)),
		"CONNACK":                   bytesOf(t, packets.NewControlPacket(packets.Connack)),
		"SUBACK":                    bytesOf(t, packets.NewControlPacket(packets.Suback)),
		"more than 64 KiB":          bytesOf(t, publish(event, 1, strings.Repeat("x", 64<<10))),
		"packet of type zero":       {0x00, 0x00},
		"packet of type 15":         {0xf0, 0x02, 0x00, 0x00},
		"AUTH":                      {0xf0, 0x00},
		"a length without end":      {0x30, 0xff, 0xff, 0xff, 0xff, 0xff},
		"packet identifier 0":       bytesOf(t, publish(event, 0, "{}")),
		"a topic that is not UTF-8": bytesOf(t, publish("hc/1/\xff", 1, "{}")),
		"a subscription to nothing": {0x82, 0x02, 0x00, 0x01},
		"flags of SUBSCRIBE":        {0x80, 0x02, 0x00, 0x01},
		"QoS 3":                     {0x36, 0x02, 0x00, 0x00},
		"13,000 filters":            subscription(13_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, log := start(t, Options{}, slog.LevelInfo)
			bridge := b.asBridge(t)
			p := b.unit(t, own, func(c *packets.ConnectPacket) {
				c.WillFlag, c.WillTopic, c.WillMessage, c.WillQos = true, "hc/1/"+own+"/link", []byte("will"), 1
			})
			_, err := p.Write(sent)
			require.NoError(t, err)
			p.closed()
			require.Equal(t, "will", string(bridge.message().Payload), "and nothing before it")
			require.Eventually(t, func() bool { return log.read() != "" }, patience, time.Millisecond)
			require.NoError(t, b.Stop(t.Context()))
			require.Equal(t, 1, strings.Count(log.read(), "\n"), log.read())
			require.Contains(t, log.read(), `level=WARN msg="unit broke the protocol, connection closed" unit=`+own+" reason=")
		})
	}
}

// subscription makes a SUBSCRIBE to so many topics that are not the unit's.
func subscription(filters int) []byte {
	var b bytes.Buffer
	s := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	s.MessageID = 1
	for range filters {
		s.Topics, s.Qoss = append(s.Topics, "a"), append(s.Qoss, 1)
	}
	_ = s.Write(&b) // to memory
	return b.Bytes()
}

func TestARefusedSubscriptionIsOneLine(t *testing.T) {
	t.Parallel()
	b, log := start(t, Options{}, slog.LevelInfo)
	p := b.unit(t, own)
	for range 10 {
		_, err := p.Write(subscription(filtersMax))
		require.NoError(t, err)
		ack, ok := p.receive().(*packets.SubackPacket)
		require.True(t, ok)
		require.Equal(t, bytes.Repeat([]byte{0x80}, filtersMax), ack.ReturnCodes)
	}
	require.Equal(t, 1, strings.Count(log.read(), "\n"), log.read())
	require.Contains(t, log.read(), "filters=16")
}

// A house whose line stalls must not hold up the orders to the others. It loses the
// connection, and its last will says so.
func TestAStalledUnitHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for name, stall := range map[string]struct {
		qos     byte
		payload int
	}{
		"without answering":            {1, 10},
		"without reading small things": {0, 1 << 10},
		"without reading large things": {0, 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := start(t, Options{}, slog.LevelInfo)
			stalled := b.unit(t, own, func(c *packets.ConnectPacket) {
				c.WillFlag, c.WillTopic, c.WillMessage, c.WillQos = true, "hc/1/"+own+"/link", []byte("will"), 1
			})
			stalled.subscribe(stall.qos, "hc/1/"+own+"/cmd")
			lively := b.unit(t, other)
			lively.subscribe(1, "hc/1/"+other+"/cmd")
			gone := make(chan struct{})
			bridge := b.asBridge(t)
			go func() {
				defer close(gone)
				for {
					packet, err := packets.ReadPacket(bridge)
					if err != nil {
						return
					}
					if m, ok := packet.(*packets.PublishPacket); ok && m.TopicName == "hc/1/"+own+"/link" {
						return
					}
				}
			}()
			sent := 0
			for lost := false; !lost; sent++ {
				bridge.send(publish("hc/1/"+own+"/cmd", uint16(2*sent%60000+1), strings.Repeat("x", stall.payload)))
				if sent%100 == 0 {
					bridge.send(publish("hc/1/"+other+"/cmd", uint16(2*sent%60000+2), fmt.Sprint(sent)))
					require.Equal(t, fmt.Sprint(sent), string(lively.message().Payload))
				}
				select {
				case <-gone:
					lost = true
				default:
				}
			}
		})
	}
}

func TestAUnitHearsItsOrdersAndNotItself(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	bridge := b.asBridge(t)
	p := b.unit(t, own)
	p.subscribe(1, "hc/1/"+own+"/#")
	p.send(publish("hc/1/"+own+"/state/1", 1, "state"))
	require.Equal(t, "state", string(bridge.message().Payload))
	bridge.send(publish("hc/1/"+own+"/cmd", 1, "order"))
	require.Equal(t, "order", string(p.message().Payload))
}

// The bridge answers nothing for a while: units are held back, and then every
// message comes, in order, none dropped.
func TestTheBridgeLosesNothingWhenItIsSlow(t *testing.T) {
	t.Parallel()
	const units, each = 8, 300
	b, log := start(t, Options{}, slog.LevelInfo)
	bridge := b.asBridge(t)
	var talking sync.WaitGroup
	for u := range units {
		id := unitNumber(u)
		p := b.unit(t, id)
		talking.Go(func() {
			for n := range each {
				if publish("hc/1/"+id+"/event", uint16(n+1), fmt.Sprint(n)).Write(p) != nil {
					t.Error("connection ended")
					return
				}
			}
			for range each { // PUBACKs
				if _, err := packets.ReadPacket(p); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var unanswered []uint16
	next := map[string]int{}
	hear := func() {
		m, ok := bridge.receive().(*packets.PublishPacket)
		require.True(t, ok)
		require.Equal(t, fmt.Sprint(next[m.TopicName]), string(m.Payload))
		next[m.TopicName]++
		unanswered = append(unanswered, m.MessageID)
	}
	for range window {
		hear()
	}
	gate := b.hook.gates.reports
	gate.mu.Lock()
	require.True(t, gate.full())
	gate.mu.Unlock()
	for heard := window; heard < units*each; heard++ {
		bridge.send(puback(unanswered[0]))
		unanswered = unanswered[1:]
		hear()
	}
	for _, id := range unanswered {
		bridge.send(puback(id))
	}
	talking.Wait()
	require.Empty(t, log.read())
}

func TestRetainedMessagesComeAllHoweverMany(t *testing.T) {
	t.Parallel()
	const units, each = 4, 200
	b, log := start(t, Options{}, slog.LevelInfo)
	for u := range units {
		p := b.unit(t, unitNumber(u))
		for n := range each {
			m := publish(fmt.Sprintf("hc/1/%s/state/%d", unitNumber(u), n), uint16(n+1), "state")
			m.Retain = true
			p.send(m)
			require.IsType(t, &packets.PubackPacket{}, p.receive())
		}
		for i, leaf := range []string{"event", "ack/one"} { // not to be retained
			m := publish("hc/1/"+unitNumber(u)+"/"+leaf, uint16(each+i+1), "event")
			m.Retain = true
			p.send(m)
			require.IsType(t, &packets.PubackPacket{}, p.receive())
		}
		// A PUBACK comes before the message is passed on, what follows comes after.
		p.send(packets.NewControlPacket(packets.Pingreq))
		require.IsType(t, &packets.PingrespPacket{}, p.receive())
	}
	bridge := b.asBridge(t)
	names := map[string]bool{}
	for range units * each {
		m := bridge.message()
		require.True(t, m.Retain)
		require.EqualValues(t, 1, m.Qos)
		names[m.TopicName] = true
	}
	require.Len(t, names, units*each)
	b.unit(t, own).send(publish("hc/1/"+own+"/event", 1, "the next thing"))
	require.Equal(t, "the next thing", string(bridge.message().Payload))
	require.Empty(t, log.read())
}

func TestTheShelfOfAUnitIsBounded(t *testing.T) {
	t.Parallel()
	r := newRetained()
	for n := range retainedTopics {
		require.True(t, r.put(own, fmt.Sprint(n), []byte("x")))
	}
	require.False(t, r.put(own, "one more", []byte("x")))
	require.True(t, r.put(own, "0", []byte("another")), "in the place of the one before")
	require.True(t, r.put(other, "one more", []byte("x")), "each unit has its own")
	require.True(t, r.put(own, "0", nil))
	require.True(t, r.put(own, "one more", []byte("x")))
	require.False(t, r.put(own, "1", make([]byte, retainedBytes)))
	require.True(t, r.put(own, "1", make([]byte, retainedBytes/2)))
	require.Equal(t, retainedBytes/2+retainedTopics-1, r.units[own].bytes)
}
