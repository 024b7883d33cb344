package broker

import (
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Bounds of what is retained for one unit: its link and its devices' states.
const (
	retainedTopics = 257
	retainedBytes  = 512 << 10
)

// retained keeps the retained messages of the units. mochi's own would be
// unbounded, be read by a subscriber while they are written (TopicsIndex.scanMessages holds no
// lock), and be dropped on their way to a bridge that has many of them to take.
type retained struct {
	mu    sync.Mutex
	units map[string]*shelf
}

type shelf struct {
	payloads map[string][]byte // by topic name
	bytes    int
}

func newRetained() *retained { return &retained{units: map[string]*shelf{}} }

// put keeps a payload in place of the one before; an empty one removes it
// [MQTT-3.3.1-10]. It reports whether there was room.
func (r *retained) put(unit, name string, payload []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.units[unit]
	if s == nil {
		s = &shelf{payloads: map[string][]byte{}}
		r.units[unit] = s
	}
	before, there := s.payloads[name]
	delete(s.payloads, name)
	s.bytes -= len(before)
	if len(payload) == 0 {
		return true
	}
	if s.bytes+len(payload) > retainedBytes || !there && len(s.payloads) >= retainedTopics {
		return false
	}
	s.payloads[name] = payload
	s.bytes += len(payload)
	return true
}

// names lists the topics with a retained message that one of the filters matches,
// each with its unit.
func (r *retained) names(filters packets.Subscriptions) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]string{}
	for unit, s := range r.units {
		for name := range s.payloads {
			for _, f := range filters {
				if matches(f.Filter, name) {
					found[name] = unit
				}
			}
		}
	}
	return found
}

// send writes what is retained on a topic to a bridge. The lock is held meanwhile:
// what the unit publishes next must reach the bridge after it, not before.
func (r *retained) send(server *mochi.Server, bridge *mochi.Client, unit, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	payload, there := r.units[unit].payloads[name]
	if !there {
		return nil
	}
	id, err := bridge.NextPacketID()
	if err != nil {
		return err
	}
	message := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, // [MQTT-3.3.1-8]
		TopicName:   name,
		Payload:     payload,
		PacketID:    uint16(id),
		Created:     time.Now().Unix(),
	}
	if bridge.State.Inflight.Set(message) {
		atomic.AddInt64(&server.Info.Inflight, 1)
	}
	return bridge.WritePacket(message)
}
