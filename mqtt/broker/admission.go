package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	unitEnding        = 16              // of one unit, with those that were told to end and have not yet
)

// OnConnect decides who the client is, after mochi found CONNECT well formed.
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	c := connOf(cl)
	h.door.know(c)
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
		return nil
	}
	unit, err := h.authenticate(cl, pk)
	if err != nil {
		return err
	}
	h.door.leave(c)
	if pk.Connect.WillFlag {
		topic, may := mayPublish(unit, pk.Connect.WillTopic)
		if !may {
			return h.refuse(cl, packets.Err3NotAuthorized, "last will is not the unit's to publish", "unit", unit)
		}
		cl.Properties.Will.Qos = 1
		cl.Properties.Will.Retain = cl.Properties.Will.Retain && topic.Retained()
	}
	cl.ID = fmt.Sprintf("%s/%d", unit, h.count.Add(1))
	c.unit, c.clientID = unit, pk.Connect.ClientIdentifier
	if reason := h.admit(c); reason != "" {
		return h.refuse(cl, packets.ErrServerUnavailable, reason, "unit", unit)
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
	key := fmt.Sprint("refused ", reason, about)
	h.often.Say(slog.LevelWarn, key, "MQTT connection refused", append([]any{"reason", reason, "remote", cl.Net.Remote}, about...)...)
	if err := h.server.SendConnack(cl, code, false, nil); err != nil {
		return errors.Join(code, err)
	}
	return code
}

// admit counts c among its unit's connections and waits for the end of those whose
// place it takes, so that their last wills come before what the new one says. It says why
// that is not possible, or nothing.
func (h *hook) admit(c *conn) string {
	leaving, refusal := h.join(c)
	if refusal != "" {
		return refusal
	}
	deadline := time.NewTimer(takeoverLimit)
	defer deadline.Stop()
	for _, old := range leaving {
		old.abort()
		select {
		case <-old.done:
		case <-deadline.C:
			return "earlier connection does not end"
		}
	}
	return ""
}

// member is a unit as the broker knows it since it first connected: there are not
// more than registered units. Its quotas outlast its connections, so that none gets a burst by
// connecting anew.
type member struct {
	reports, events *quota

	// Guarded by hook.mu.
	conns   []*conn // in their places, the oldest first
	leaving []*conn // told to end
	session string  // of its latest online; empty when it is said to be offline
	broken  bool    // a connection over which that was said has broken
}

// join counts c in, if there is room, and gives those that have to go. These hold no
// place any more, however long they take.
func (h *hook) join(c *conn) (leaving []*conn, refusal string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.units[c.unit]
	if m == nil {
		m = &member{reports: newQuota(reportRate, reportBurst), events: newQuota(eventRate, eventBurst)}
		h.units[c.unit] = m
	}
	var staying []*conn
	for _, old := range m.conns {
		if c.clientID != "" && old.clientID == c.clientID {
			leaving = append(leaving, old)
		} else {
			staying = append(staying, old)
		}
	}
	for len(staying) >= unitConnections {
		leaving, staying = append(leaving, staying[0]), staying[1:]
	}
	if h.connected-len(leaving) >= h.most {
		return nil, "too many connections"
	}
	if len(m.conns)+len(m.leaving) >= unitEnding {
		return nil, "earlier connections do not end"
	}
	c.member = m
	h.connected += 1 - len(leaving)
	m.conns = append(staying, c)
	m.leaving = append(m.leaving, leaving...)
	return slices.Clone(m.leaving), ""
}

// cut ends all connections of a unit. It may come again at once.
func (h *hook) cut(unit string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.units[unit]
	if m == nil {
		return 0
	}
	for _, c := range m.conns {
		c.abort()
	}
	return len(m.conns)
}

// left is called when a connection has ended, however it did. It gives what its unit
// leaves unsaid: that it is offline, on which topic; nil if there is nothing to say.
func (h *hook) left(c *conn) *packets.Packet {
	h.leave(c)
	h.door.leave(c)
	if c.bridge && c.client != nil {
		h.gates.part(c.client)
	}
	if c.member == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m := c.member
	if at := slices.Index(m.conns, c); at >= 0 {
		m.conns = slices.Delete(m.conns, at, at+1)
		h.connected--
	}
	if at := slices.Index(m.leaving, c); at >= 0 {
		m.leaving = slices.Delete(m.leaving, at, at+1)
	}
	m.broken = m.broken || !c.parted && c.session == m.session
	if len(m.conns)+len(m.leaving) > 0 || !m.broken || m.session == "" {
		return nil
	}
	return h.obituary(c.unit, m)
}
