package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"
)

func TestGarbageEndsItsOwnConnectionAlone(t *testing.T) {
	t.Parallel()
	var v5 bytes.Buffer
	require.NoError(t, connect(own, func(c *packets.ConnectPacket) { c.ProtocolVersion = 5 }).Write(&v5))
	for name, garbage := range map[string][]byte{
		"HTTP":                     []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":                      {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
		"zeros":                    make([]byte, 1000),
		"ones":                     bytes.Repeat([]byte{0xff}, 1000),
		"a length without end":     {0x10, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a packet of 256 MiB":      {0x10, 0xff, 0xff, 0xff, 0x7f},
		"a subscription first":     {0x82, 0x05, 0x00, 0x01, 0x00, 0x00, 0x00},
		"CONNECT without contents": {0x10, 0x00},
		"CONNECT cut short":        {0x10, 0x06, 0x00, 0x04, 'M', 'Q', 'T', 'T'},
		"a version with properties where there are none": v5.Bytes(),
		"a length of zeros":                   {0x10, 0x80, 0x80, 0x80, 0x80},
		"a CONNECT that claims to be long":    {0x10, 0xff, 0xff, 0x03},
		"a CONNECT of a little more than 2 K": {0x10, 0x81, 0x10},
		"another protocol":                    {0x10, 0x0c, 0x00, 0x04, 'A', 'M', 'Q', 'P', 0x04, 0x02, 0x00, 0x3c, 0x00, 0x00},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, log := start(t, Options{}, slog.LevelInfo)
			p := b.raw(t)
			_, err := p.Write(garbage)
			require.NoError(t, err)
			p.closed()
			require.Eventually(t, func() bool { return log.read() != "" }, patience, time.Millisecond)
			b.unit(t, own).subscribe(1, "hc/1/"+own+"/cmd")
			require.Equal(t, 1, strings.Count(log.read(), "\n"), log.read())
		})
	}
}

func TestConnectHasATime(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{ConnectTimeout: 20 * time.Millisecond}, slog.LevelInfo)
	silent, slow := b.raw(t), b.raw(t)
	_, err := slow.Write([]byte{0x10, 0x20, 0x00})
	require.NoError(t, err)
	silent.closed()
	slow.closed()
}

func TestWhoIsRefusedIsToldWhy(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{Gatekeeper: keeper(func(ctx context.Context, username, password string) (string, bool, error) {
		switch username {
		case unitNumber(1):
			return "", false, errors.New("database is away")
		case unitNumber(2):
			return own, true, nil
		case unitNumber(3):
			panic("gatekeeper is broken")
		default:
			return honest(ctx, username, password)
		}
	})}, slog.LevelInfo)
	for name, c := range map[string]struct {
		connect *packets.ConnectPacket
		code    byte
	}{
		"the store is away":      {connect(unitNumber(1)), packets.ErrRefusedServerUnavailable},
		"credentials of another": {connect(unitNumber(2)), packets.ErrRefusedNotAuthorised},
		"MQTT 3.1":               {connect(own, func(c *packets.ConnectPacket) { c.ProtocolName, c.ProtocolVersion = "MQIsdp", 3 }), packets.ErrRefusedBadProtocolVersion},
		"wrong password":         {connect(own, func(c *packets.ConnectPacket) { c.Password = []byte("x") }), packets.ErrRefusedNotAuthorised},
		"a foreign will": {connect(own, func(c *packets.ConnectPacket) {
			c.WillFlag, c.WillTopic, c.WillMessage = true, "hc/1/"+other+"/link", []byte("x")
		}), packets.ErrRefusedNotAuthorised},
	} {
		p := b.raw(t)
		p.send(c.connect)
		ack, ok := p.receive().(*packets.ConnackPacket)
		require.True(t, ok, name)
		require.Equal(t, c.code, ack.ReturnCode, name)
		p.closed()
	}
	p := b.raw(t)
	p.send(connect(unitNumber(3)))
	p.closed()
	b.unit(t, own)
}

// [MQTT-3.1.2-2] as MQTT 5 has it: CONNACK with reason code 0x84 and properties.
func TestMQTT5IsRefusedInItsOwnWords(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	p := b.raw(t)
	_, err := p.Write([]byte{0x10, 0x0d, 0x00, 0x04, 'M', 'Q', 'T', 'T', 0x05, 0x02, 0x00, 0x3c, 0x00, 0x00, 0x00})
	require.NoError(t, err)
	head := make([]byte, 4)
	_, err = p.Read(head)
	require.NoError(t, err)
	require.Equal(t, byte(0x20), head[0])
	require.Equal(t, byte(0x84), head[3])
}

func TestSecretsAreNeverLogged(t *testing.T) {
	t.Parallel()
	b, log := start(t, Options{}, slog.LevelDebug)
	bridge := b.asBridge(t)
	wrong := b.raw(t)
	wrong.send(connect(own, func(c *packets.ConnectPacket) { c.Password = []byte("SECRET-wrong") }))
	wrong.closed()
	swapped := b.raw(t)
	swapped.send(connect("SECRET-as-a-name"))
	swapped.closed()
	twice := b.unit(t, own)
	twice.send(publish("hc/1/"+own+"/event", 1, "SECRET payload"))
	bridge.message()
	twice.send(connect(own))
	twice.closed()
	require.Eventually(t, func() bool { return strings.Contains(log.read(), "hc/1 does not have") }, patience, time.Millisecond)
	require.NotContains(t, log.read(), "SECRET")
	require.Contains(t, log.read(), "mochi: ", "the test hears what mochi says")
}

func TestANewConnectionTakesThePlaceOfTheOldOne(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	bridge := b.asBridge(t)
	willed := func(session string) func(*packets.ConnectPacket) {
		return func(c *packets.ConnectPacket) {
			c.WillFlag, c.WillTopic, c.WillMessage, c.WillQos, c.WillRetain = true, "hc/1/"+own+"/link", []byte(session), 1, true
		}
	}
	for round := range 20 {
		p := b.unit(t, own, willed(fmt.Sprint("gone ", round)))
		p.send(publish("hc/1/"+own+"/event", 1, fmt.Sprint("here ", round)))
		if round > 0 {
			require.Equal(t, fmt.Sprint("gone ", round-1), string(bridge.message().Payload), "before the new one is accepted")
		}
		require.Equal(t, fmt.Sprint("here ", round), string(bridge.message().Payload))
	}
}

func TestConnectionsWithOneIdentifierAtOneMoment(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	var racing sync.WaitGroup
	var ended atomic.Int32
	for range 20 {
		p := b.raw(t)
		racing.Go(func() {
			defer ended.Add(1)
			if connect(own).Write(p) != nil {
				return
			}
			for {
				if _, err := packets.ReadPacket(p); err != nil {
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return ended.Load() == 19 }, patience, time.Millisecond)
	last := b.unit(t, own)
	last.subscribe(1, "hc/1/"+own+"/cmd")
	b.asBridge(t).send(publish("hc/1/"+own+"/cmd", 1, "order"))
	require.Equal(t, "order", string(last.message().Payload), "the winner is known to the broker")
	require.NoError(t, last.Close())
	racing.Wait()
}

func TestAUnitHasFourConnectionsAtTheMost(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	named := func(name string) func(*packets.ConnectPacket) {
		return func(c *packets.ConnectPacket) { c.ClientIdentifier = name }
	}
	oldest := b.unit(t, own, named("0"))
	for _, name := range []string{"1", "2", "3", ""} {
		b.unit(t, own, named(name)).subscribe(1, "hc/1/"+own+"/cmd")
	}
	oldest.closed()
}

func TestAUnitIsCutOff(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	first, second := b.unit(t, own), b.unit(t, own, func(c *packets.ConnectPacket) { c.ClientIdentifier = "second" })
	neighbour := b.unit(t, other)
	require.Equal(t, 2, b.Cut(own))
	first.closed()
	second.closed()
	require.Zero(t, b.Cut("00000000000000cc"))
	neighbour.subscribe(1, "hc/1/"+other+"/cmd")
	b.unit(t, own).subscribe(1, "hc/1/"+own+"/cmd")
}

func TestUnitsAreCountedAndTheBridgeHasItsPlace(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{MaximumClients: 2}, slog.LevelInfo)
	first := b.unit(t, unitNumber(1))
	b.unit(t, unitNumber(2))
	refused := b.raw(t)
	refused.send(connect(own))
	ack, ok := refused.receive().(*packets.ConnackPacket)
	require.True(t, ok)
	require.EqualValues(t, packets.ErrRefusedServerUnavailable, ack.ReturnCode)
	b.asBridge(t)

	b.unit(t, unitNumber(2)) // in its own place
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		b.hook.mu.Lock()
		defer b.hook.mu.Unlock()
		return b.hook.connected == 1
	}, patience, time.Millisecond)
	b.unit(t, own)
}

func TestKeepAliveIsCapped(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	for i, asked := range []uint16{0, 60, 300, 301, 65535} {
		b.unit(t, unitNumber(i), func(c *packets.ConnectPacket) { c.Keepalive = asked })
	}
	given := map[string]uint16{}
	for _, cl := range b.server.Clients.GetAll() {
		given[string(cl.Properties.Username)] = cl.State.Keepalive
	}
	require.Equal(t, map[string]uint16{unitNumber(0): 300, unitNumber(1): 60, unitNumber(2): 300, unitNumber(3): 300, unitNumber(4): 300}, given)
}

func TestASessionEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Options{}, slog.LevelInfo)
	p := b.unit(t, own, func(c *packets.ConnectPacket) { c.CleanSession = false })
	p.subscribe(1, "hc/1/"+own+"/cmd")
	require.NoError(t, p.Close())
	require.Eventually(t, func() bool { return b.server.Clients.Len() == 0 }, patience, time.Millisecond)
	require.Empty(t, b.server.Topics.Subscribers("hc/1/"+own+"/cmd").Subscriptions)
}
