package broker

import (
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
)

// window is how many messages of units the bridge may have unanswered.
const window = 256

// gate holds units back while the bridge has a window of messages unanswered. mochi
// by itself drops what a client cannot take, and one of those could be the answer to
// an order; held back, the unit's own connection slows down instead.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	bridges map[*mochi.Client]struct{}
	inside  int // messages let through whose place in the bridge's window is not taken yet
	waiting int
	open    bool // nobody is held back any more
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
	for !g.open && g.full() {
		g.waiting++
		g.changed.Wait()
		g.waiting--
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
