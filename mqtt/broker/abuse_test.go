package broker

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	mochipackets "github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
)

// answering answers every message to the bridge until the connection ends, and gives
// those on one topic.
func (p *peer) answering(topic string) <-chan string {
	heard := make(chan string, 1000)
	go func() {
		defer close(heard)
		for {
			packet, err := packets.ReadPacket(p)
			if err != nil {
				return
			}
			m, ok := packet.(*packets.PublishPacket)
			if !ok {
				continue
			}
			if m.TopicName == topic {
				heard <- string(m.Payload)
			}
			if puback(m.MessageID).Write(p) != nil {
				return
			}
		}
	}()
	return heard
}

func willed(topic, payload string) func(*packets.ConnectPacket) {
	return func(c *packets.ConnectPacket) {
		c.WillFlag, c.WillTopic, c.WillMessage, c.WillQos, c.WillRetain = true, topic, []byte(payload), 1, true
	}
}

// Lines break in the middle of what units say, and units come back before the broker
// has noticed. Whatever was on its way, its place in the gate is free again.
func TestPlacesComeBackHoweverConnectionsEnd(t *testing.T) {
	t.Parallel()
	const crowd, rounds = 50, 60
	b, _ := start(t, Options{}, slog.LevelError)
	heard := b.asBridge(t).answering("hc/1/" + own + "/event")
	var breaking sync.WaitGroup
	for u := range crowd {
		id := unitNumber(u)
		var said []byte
		for n := range 15 {
			said = append(said, bytesOf(t, publish("hc/1/"+id+"/state/1", uint16(n+1), "{}"))...)
		}
		breaking.Go(func() {
			var before net.Conn
			for round := range rounds {
				conn, err := net.Dial("tcp", b.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				_ = connect(id, willed("hc/1/"+id+"/link", "will")).Write(conn)
				_, _ = packets.ReadPacket(conn)
				_, _ = conn.Write(said[:len(said)-round%5])
				if before != nil {
					_ = before.Close()
				}
				before = conn
				if round%2 == 0 {
					_ = conn.(*net.TCPConn).SetLinger(0) // RST
					_ = conn.Close()
				}
			}
			_ = before.Close()
		})
	}
	breaking.Wait()
	require.Eventually(t, func() bool {
		return b.hook.gates.reports.taken() == 0 && b.hook.gates.answers.taken() == 0
	}, patience, time.Millisecond, "each place was given back once")
	require.NoError(t, b.Healthy())
	b.unit(t, own).send(publish("hc/1/"+own+"/event", 1, "still heard"))
	require.Equal(t, "still heard", <-heard)
}

// taken gives how many places are taken.
func (g *gate) taken() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// mochi returns before OnPublished when it cannot write a PUBACK, and the last will
// comes next.
func TestAConnectionHasOnePlaceAtTheMost(t *testing.T) {
	t.Parallel()
	h := newHook(mochi.New(nil), keeper(honest), slog.New(slog.DiscardHandler), 1)
	c := newConn(nil, false)
	for range 3 * window {
		h.enter(c, "hc/1/"+own+"/event")
		h.enter(c, "hc/1/"+own+"/link")
	}
	require.Equal(t, 1, h.gates.reports.taken())
	h.leave(c)
	require.Zero(t, h.gates.reports.taken())
	h.enter(c, "hc/1/"+own+"/ack/one")
	h.left(c)
	require.Zero(t, h.gates.answers.taken())
}

func TestAStuckGateIsNotHealthy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		g.join(&mochi.Client{State: mochi.ClientState{Inflight: mochi.NewInflights()}}, "hc/1/+/event")
		for range window {
			g.reports.enter()
		}
		time.Sleep(time.Hour)
		require.NoError(t, g.stuck(), "nobody waits")
		go g.reports.enter()
		go g.reports.enter()
		time.Sleep(stuckLimit)
		require.NoError(t, g.stuck())
		time.Sleep(time.Second)
		require.ErrorContains(t, g.stuck(), "2 connections of units have waited for the bridge for 21s")
		g.reports.leave()
		synctest.Wait()
		require.NoError(t, g.stuck(), "one got a place")
		time.Sleep(stuckLimit + time.Second)
		require.Error(t, g.stuck())
		g.answers.enter()
		g.reports.leave()
		synctest.Wait()
		require.NoError(t, g.stuck())
	})
}

// The bridge takes answers over a connection of its own: they pass while its reports
// are not taken.
func TestAnswersDoNotWaitForReports(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	bridge := func(filter string) *peer {
		conn, err := b.Dial(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		p := &peer{conn, t}
		p.send(connect("", func(c *packets.ConnectPacket) { c.UsernameFlag, c.PasswordFlag = false, false }))
		require.IsType(t, &packets.ConnackPacket{}, p.receive())
		p.subscribe(1, filter)
		return p
	}
	bridge("hc/1/+/event") // and answers nothing
	answers := bridge("hc/1/+/ack/one").answering("hc/1/" + other + "/ack/one")
	busy := b.unit(t, own)
	for n := range window + 10 {
		busy.send(publish("hc/1/"+own+"/event", uint16(n+1), "{}"))
	}
	for range window {
		require.IsType(t, &packets.PubackPacket{}, busy.receive())
	}
	b.unit(t, other).send(publish("hc/1/"+other+"/ack/one", 1, "done"))
	require.Equal(t, "done", <-answers)
}

// Who opens connections and says nothing shuts nobody out, and has few lines in the log.
func TestStallingConnectionsShutNobodyOut(t *testing.T) {
	t.Parallel()
	b, log := start(t, Options{MaximumClients: 4}, slog.LevelInfo)
	first := b.unit(t, unitNumber(1))
	for n := range 3 * handshakesMax {
		_, _ = b.raw(t).Write([][]byte{{0x10, 0xff, 0x0f}, {0x10}, {}}[n%3]) // the broker may have closed it
	}
	for n := range 3 {
		b.unit(t, unitNumber(n+2)).subscribe(1, "hc/1/"+unitNumber(n+2)+"/cmd")
	}
	first.subscribe(1, "hc/1/"+unitNumber(1)+"/cmd")
	b.hook.door.mu.Lock()
	require.LessOrEqual(t, len(b.hook.door.waiting), handshakesMax)
	b.hook.door.mu.Unlock()
	require.LessOrEqual(t, strings.Count(log.read(), "\n"), 3, log.read())
	require.Contains(t, log.read(), "too many MQTT connections without credentials")
}

type at string

func (at) Network() string  { return "tcp" }
func (a at) String() string { return string(a) }

type located struct {
	net.Conn
	at
}

func (l located) RemoteAddr() net.Addr { return l.at }

func TestWhoHasToGoAtTheDoor(t *testing.T) {
	t.Parallel()
	d := &door{}
	come := func(format string, args ...any) (*conn, *conn) {
		c := newConn(located{at: at(fmt.Sprintf(format, args...))}, false)
		return c, d.enter(c)
	}
	victim, gone := come("192.0.2.1:1")
	require.Nil(t, gone)
	var crowd []*conn
	for n := range handshakesMax - 1 {
		c, gone := come("[2001:db8::%x]:1883", n)
		require.Nil(t, gone)
		crowd = append(crowd, c)
	}
	d.know(crowd[0])
	_, gone = come("192.0.2.2:1")
	require.Same(t, crowd[1], gone, "the oldest of the largest crowd that has said nothing")
	for _, c := range crowd {
		d.know(c)
	}
	newest, gone := come("[2001:db8::ffff]:1")
	require.Same(t, newest, gone, "who has said nothing goes before those who have")
	_, gone = come("192.0.2.3:1")
	require.Same(t, crowd[0], gone)
	d.leave(victim)
	d.leave(victim)
	_, gone = come("192.0.2.1:2")
	require.Nil(t, gone)
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1:1883":             "192.0.2.1/32",
		"[::ffff:192.0.2.1]:1883":    "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:1":   "2001:db8:1:2::/64",
		"[fe80::1:2:3:4%eth0]:1":     "fe80::/64",
		"memory":                     "",
		"a name that is no address:": "",
	} {
		var prefix netip.Prefix
		if want != "" {
			prefix = netip.MustParsePrefix(want)
		}
		require.Equal(t, prefix, origin(at(address)), address)
	}
}

func TestAQuotaIsKeptAndAnEndMadeOfWhoNeverPauses(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	q := newQuota(1, 10)
	for range 10 {
		wait, over := q.take(now)
		require.Zero(t, wait)
		require.False(t, over)
	}
	began := now
	for {
		wait, over := q.take(now)
		if over {
			break
		}
		require.InDelta(t, 1, wait.Seconds(), 0.01)
		now = now.Add(wait)
	}
	require.InDelta(t, overLimit.Seconds(), now.Sub(began).Seconds(), 2)
	wait, over := q.take(now)
	require.False(t, over, "a new time begins")
	require.LessOrEqual(t, wait, time.Second+time.Millisecond, "what was not let through takes no token")
	now = now.Add(5 * time.Second)
	wait, _ = q.take(now)
	require.Zero(t, wait)
}

func TestWhatIsCountedAgainstWhichQuota(t *testing.T) {
	t.Parallel()
	m := &member{reports: newQuota(1, 1), events: newQuota(1, 1)}
	packet := func(kind byte, topic string) mochipackets.Packet {
		return mochipackets.Packet{FixedHeader: mochipackets.FixedHeader{Type: kind}, TopicName: topic}
	}
	require.Same(t, m.events, m.quotaOf(packet(mochipackets.Publish, "hc/1/"+own+"/event")))
	for _, leaf := range []string{"ack/one", "state/1", "link"} {
		require.Same(t, m.reports, m.quotaOf(packet(mochipackets.Publish, "hc/1/"+own+"/"+leaf)))
	}
	for _, kind := range []byte{mochipackets.Subscribe, mochipackets.Unsubscribe, mochipackets.Pingreq} {
		require.Same(t, m.reports, m.quotaOf(packet(kind, "")))
	}
	for _, kind := range []byte{mochipackets.Puback, mochipackets.Disconnect} {
		require.Nil(t, m.quotaOf(packet(kind, "")))
	}
}

// A unit that floods is held back over all its connections, also when it connects
// anew. Others are not.
func TestAFloodHoldsBackItsOwnUnit(t *testing.T) {
	t.Parallel()
	b, log := start(t, Options{}, slog.LevelInfo)
	flooded := b.asBridge(t).answering("hc/1/" + own + "/event")
	const each = eventBurst / 3
	for line := range 3 {
		p := b.unit(t, own)
		for n := range each {
			p.send(publish("hc/1/"+own+"/event", uint16(n+1), fmt.Sprint(line)))
		}
		for range each {
			require.IsType(t, &packets.PubackPacket{}, p.receive())
		}
	}
	for range eventBurst {
		<-flooded
	}
	began := time.Now()
	p := b.unit(t, own)
	for n := range 3 {
		p.send(publish("hc/1/"+own+"/event", uint16(n+1), "more"))
	}
	lively := b.unit(t, other)
	for n := range each {
		lively.send(publish("hc/1/"+other+"/event", uint16(n+1), "{}"))
	}
	for range each {
		require.IsType(t, &packets.PubackPacket{}, lively.receive())
	}
	for range 3 {
		require.Equal(t, "more", <-flooded)
	}
	require.Greater(t, time.Since(began), time.Second)
	require.Equal(t, 1, strings.Count(log.read(), "\n"), log.read())
	require.Contains(t, log.read(), `msg="unit sends more than its share, held back" unit=`+own)

	for n := range 5 {
		p.send(publish("hc/1/"+own+"/event", uint16(n+1), "waits"))
	}
	began = time.Now()
	b.unit(t, own)
	p.closed()
	require.Less(t, time.Since(began), 3*time.Second, "who is held back does not hold up his next connection")
}

// [MQTT-3.2.2-6] knows the codes 0 to 5. A CONNECT that is not valid gets none at all
// [MQTT-3.1.4-1].
func TestReturnCodesAreThoseOfMQTT311(t *testing.T) {
	t.Parallel()
	b, log := start(t, Options{}, slog.LevelInfo)
	raw := func(change func(*packets.ConnectPacket)) []byte { return bytesOf(t, connect(own, change)) }
	flagged := func(flags byte) []byte {
		packet := raw(func(*packets.ConnectPacket) {})
		packet[9] |= flags
		return packet
	}
	for name, c := range map[string]struct {
		sent []byte
		code int // -1 for none
	}{
		"version 9":               {raw(func(c *packets.ConnectPacket) { c.ProtocolVersion = 9 }), 1},
		"version 3":               {raw(func(c *packets.ConnectPacket) { c.ProtocolName, c.ProtocolVersion = "MQIsdp", 3 }), 1},
		"version 3 misnamed":      {raw(func(c *packets.ConnectPacket) { c.ProtocolVersion = 3 }), 1},
		"no name, but a session":  {raw(func(c *packets.ConnectPacket) { c.ClientIdentifier, c.CleanSession = "", false }), 2},
		"wrong password":          {raw(func(c *packets.ConnectPacket) { c.Password = []byte("x") }), 5},
		"a last will of QoS 2":    {raw(func(c *packets.ConnectPacket) { willed("hc/1/"+own+"/link", "x")(c); c.WillQos = 2 }), 5},
		"a last will of QoS 3":    {raw(func(c *packets.ConnectPacket) { willed("hc/1/"+own+"/link", "x")(c); c.WillQos = 3 }), -1},
		"the reserved flag":       {flagged(1), -1},
		"no will, but retained":   {flagged(0x20), -1},
		"an empty password":       {raw(func(c *packets.ConnectPacket) { c.Password = []byte{} }), 5},
		"a name that is no UTF-8": {raw(func(c *packets.ConnectPacket) { c.ClientIdentifier = "\xff" }), -1},
	} {
		p := b.raw(t)
		_, err := p.Write(c.sent)
		require.NoError(t, err)
		ack, ok := p.receive().(*packets.ConnackPacket)
		require.Equal(t, c.code >= 0, ok, name)
		if ok {
			require.EqualValues(t, c.code, ack.ReturnCode, name)
		}
		p.closed()
	}
	require.NotContains(t, log.read(), "no valid packet")
}

func online(t *testing.T, session string) string {
	t.Helper()
	payload, err := mqtt.EncodeLink(devices.LinkReport{Online: true, Session: session, Clock: time.Now()})
	require.NoError(t, err)
	return string(payload)
}

func offline(t *testing.T, session string) string {
	t.Helper()
	payload, err := mqtt.EncodeLink(devices.LinkReport{Session: session})
	require.NoError(t, err)
	return string(payload)
}

func (p *peer) says(topic, payload string, retain bool) {
	p.t.Helper()
	m := publish(topic, 1, payload)
	m.Retain = retain
	p.send(m)
	require.IsType(p.t, &packets.PubackPacket{}, p.receive())
}

func TestAUnitThatIsGoneIsSaidToBeOffline(t *testing.T) {
	t.Parallel()
	link := "hc/1/" + own + "/link"
	named := func(name string) func(*packets.ConnectPacket) {
		return func(c *packets.ConnectPacket) { c.ClientIdentifier = name }
	}
	for name, c := range map[string]struct {
		live func(*Broker)
		want []string
	}{
		"its line breaks": {func(b *Broker) {
			p := b.unit(t, own)
			p.says(link, online(t, "one"), true)
			require.NoError(t, p.Close())
		}, []string{"on", offline(t, "one")}},
		"its last will says it": {func(b *Broker) {
			p := b.unit(t, own, willed(link, offline(t, "one")))
			p.says(link, online(t, "one"), true)
			require.NoError(t, p.Close())
		}, []string{"on", offline(t, "one")}},
		"its last will is about something else": {func(b *Broker) {
			p := b.unit(t, own, willed(link, offline(t, "two")))
			p.says(link, online(t, "one"), true)
			require.NoError(t, p.Close())
		}, []string{"on", offline(t, "two"), offline(t, "one")}},
		"it says it itself": {func(b *Broker) {
			p := b.unit(t, own)
			p.says(link, online(t, "one"), true)
			p.says(link, offline(t, "one"), true)
			require.NoError(t, p.Close())
		}, []string{"on", offline(t, "one")}},
		"it breaks the protocol": {func(b *Broker) {
			p := b.unit(t, own)
			p.says(link, online(t, "one"), true)
			p.send(publish("hc/1/"+other+"/event", 2, "{}"))
			p.closed()
		}, []string{"on", offline(t, "one")}},
		"it disconnects on purpose": {func(b *Broker) {
			p := b.unit(t, own)
			p.says(link, online(t, "one"), true)
			p.send(packets.NewControlPacket(packets.Disconnect))
			p.closed()
		}, []string{"on"}},
		"it has another connection": {func(b *Broker) {
			p, q := b.unit(t, own, named("p")), b.unit(t, own, named("q"))
			p.says(link, online(t, "one"), true)
			require.NoError(t, p.Close())
			require.Eventually(t, func() bool { return b.server.Clients.Len() == 2 }, patience, time.Millisecond) // the bridge as well
			q.says(link, online(t, "two"), true)
			require.NoError(t, q.Close())
		}, []string{"on", "on", offline(t, "two")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := start(t, Options{}, slog.LevelError)
			heard := b.asBridge(t).answering(link)
			c.live(b)
			for _, want := range c.want {
				got := <-heard
				if want == "on" {
					require.Contains(t, got, "online")
				} else {
					require.JSONEq(t, want, got)
				}
			}
			require.Eventually(t, func() bool {
				b.hook.mu.Lock()
				defer b.hook.mu.Unlock()
				m := b.hook.units[own]
				return len(m.conns)+len(m.leaving) == 0
			}, patience, time.Millisecond)
			b.unit(t, own).says(link, "the end", false)
			require.Equal(t, "the end", <-heard)
		})
	}
}

// What a bridge finds retained when it comes back is that the unit is gone.
func TestABridgeThatReturnsFindsTheUnitOffline(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelError)
	p := b.unit(t, own)
	p.says("hc/1/"+own+"/link", online(t, "one"), true)
	require.NoError(t, p.Close())
	require.Eventually(t, func() bool { return b.server.Clients.Len() == 0 }, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		b.hook.mu.Lock()
		defer b.hook.mu.Unlock()
		return b.hook.units[own].session == ""
	}, patience, time.Millisecond)
	m := b.asBridge(t).message()
	require.True(t, m.Retain)
	require.JSONEq(t, offline(t, "one"), string(m.Payload))
}
