package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// window is how many messages of units the bridge may have unanswered.
const window = 256

// stuckLimit is how long messages may wait without one getting a place. The bridge
// gives up a message after 10 s at the latest.
const stuckLimit = 20 * time.Second

// gate holds units back while the bridge has a window of messages unanswered. mochi
// by itself drops what a client cannot take, and one of those could be the answer to
// an order; held back, the unit's own connection slows down instead.
//
// There is one for answers and one for all else, so that answers do not wait for reports
// when the bridge takes them over a connection of their own.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	bridges map[*mochi.Client]struct{}
	inside  int // messages let through whose place in the bridge's window is not taken yet
	waiting int
	since   time.Time // when one that waited got a place, or the first began to wait
	open    bool      // nobody is held back any more
}

func newGate() *gate {
	g := &gate{bridges: map[*mochi.Client]struct{}{}}
	g.changed.L = &g.mu
	return g
}

// enter waits for a place and takes it.
func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	waited := false
	for !g.open && g.full() {
		if g.waiting == 0 && !waited {
			g.since = time.Now()
		}
		waited = true
		g.waiting++
		g.changed.Wait()
		g.waiting--
	}
	if waited {
		g.since = time.Now()
	}
	g.inside++
}

// leave gives a place back: by now the message is among the bridge's unanswered ones.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.tell()
}

// answered says that a bridge has answered a message, or never will.
func (g *gate) answered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tell()
}

func (g *gate) join(bridge *mochi.Client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bridges[bridge] = struct{}{}
}

func (g *gate) part(bridge *mochi.Client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.bridges, bridge)
	g.tell()
}

// stop lets everybody through from now on.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	g.tell()
}

// stuck says that messages wait, and none has got a place for stuckLimit.
func (g *gate) stuck() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if still := time.Since(g.since); g.waiting > 0 && still > stuckLimit {
		return fmt.Errorf("%d connections of units have waited for the bridge for %s", g.waiting, still.Round(time.Second))
	}
	return nil
}

func (g *gate) full() bool {
	for bridge := range g.bridges {
		if bridge.State.Inflight.Len()+g.inside >= window {
			return true
		}
	}
	return false
}

func (g *gate) tell() {
	if g.waiting > 0 {
		g.changed.Broadcast()
	}
}

// gates are the two of a broker.
type gates struct{ answers, reports *gate }

func newGates() gates { return gates{newGate(), newGate()} }

// of gives the gate for a message on a topic.
func (g gates) of(name string) *gate {
	if kindOf(name) == answerKind {
		return g.answers
	}
	return g.reports
}

const answerKind = "ack"

// kindOf gives the level of a topic name or filter after the unit's.
func kindOf(name string) string {
	levels := strings.SplitN(name, "/", 5)
	if len(levels) < 4 {
		return "#"
	}
	return levels[3]
}

// join makes a bridge's unanswered messages count for what its filter lets to it.
func (g gates) join(bridge *mochi.Client, filter string) {
	kind := kindOf(filter)
	if kind != answerKind {
		g.reports.join(bridge)
	}
	if kind == answerKind || kind == "+" || kind == "#" {
		g.answers.join(bridge)
	}
}

func (g gates) part(bridge *mochi.Client) {
	g.answers.part(bridge)
	g.reports.part(bridge)
}

func (g gates) answered() {
	g.answers.answered()
	g.reports.answered()
}

func (g gates) stop() {
	g.answers.stop()
	g.reports.stop()
}

func (g gates) stuck() error { return errors.Join(g.answers.stuck(), g.reports.stuck()) }
