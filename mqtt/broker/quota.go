package broker

import (
	"log/slog"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"

	"github.com/foxbridge/foxbridge/mqtt"
)

// What a unit may send over all its connections: events, and everything else that
// costs work. The bursts are for a unit that comes back: with the state of every device, and with
// more answers and events than one keeps that was away (mqtt/unit keeps 512).
const (
	eventRate   = 1 // a second
	eventBurst  = 600
	reportRate  = 100 // a second
	reportBurst = 1000
	overLimit   = 5 * time.Minute // of sending more without a pause; then the connection is closed
)

// quota is a token bucket. What exceeds it waits in the read goroutine of the unit's
// own connection, and so in the unit.
type quota struct {
	tokens *rate.Limiter

	mu    sync.Mutex
	since time.Time // since when there was no token left; zero if there was one the last time
}

func newQuota(perSecond rate.Limit, burst int) *quota {
	return &quota{tokens: rate.NewLimiter(perSecond, burst)}
}

// take takes a token and gives how long it has to be waited for. over says that for
// overLimit there has always been a wait; the next such time begins anew then.
func (q *quota) take(now time.Time) (wait time.Duration, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.tokens.ReserveN(now, 1)
	wait = r.DelayFrom(now)
	switch {
	case wait == 0:
		q.since = time.Time{}
	case q.since.IsZero():
		q.since = now
	case now.Sub(q.since) > overLimit:
		r.CancelAt(now)
		q.since = time.Time{}
		over = true
	}
	return wait, over
}

// quotaOf gives what a packet of the unit is to be counted against; nil for what
// answers, or ends the connection.
func (m *member) quotaOf(pk packets.Packet) *quota {
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Disconnect:
		return nil
	case packets.Publish:
		return m.quotaOn(pk.TopicName)
	default:
		return m.reports
	}
}

func (m *member) quotaOn(name string) *quota {
	if topic, err := mqtt.ParseTopic(name); err == nil && topic.Leaf == mqtt.LeafEvent {
		return m.events
	}
	return m.reports
}

// hold waits until the unit of c may go on, and says why the connection has to end
// instead, or nothing. It does not wait for who is gone.
func (h *hook) hold(c *conn, q *quota, gone <-chan struct{}) string {
	if q == nil {
		return ""
	}
	wait, over := q.take(time.Now())
	if over {
		return "it has sent more than its share for minutes"
	}
	if wait == 0 {
		return ""
	}
	h.often.Say(slog.LevelWarn, "held back "+c.unit, "unit sends more than its share, held back", "unit", c.unit)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-gone:
	case <-h.life.Done():
	}
	return ""
}
