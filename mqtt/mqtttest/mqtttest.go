// Package mqtttest is the link suite: what the bridge's Link and the units may rely
// on, whatever broker is between them. Run it against every broker that is supported.
package mqtttest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
)

// Broker is a running broker to be tested, empty and for one test alone.
type Broker struct {
	URL                            string // where units connect, as mqtt.Dialer wants it
	Bridge                         func(ctx context.Context) (net.Conn, error)
	BridgeUsername, BridgePassword string
	Units                          []Credentials // three at least
	Differences                    Differences
}

// Credentials are what a unit connects with.
type Credentials struct{ Unit, Password string }

// Differences say where a broker is weaker than the suite would have it. Each is
// covered by a rule that does not depend on the broker, or costs nothing but clarity.
type Differences struct {
	// GrantsForeignFilters: a subscription to foreign topics is granted, and nothing is
	// delivered for it.
	GrantsForeignFilters bool
	// SwallowsDeniedPublish: a publish that is not allowed is acknowledged and dropped,
	// and the connection stays.
	SwallowsDeniedPublish bool
	// AdmitsForeignWill: a client whose last will is not its to publish may connect, and
	// the will is dropped when its time comes.
	AdmitsForeignWill bool
	// KeepsSessions: a client that asks for a persistent session gets one, so that
	// orders wait for it while it is away. A unit asks for none, and drops what has expired.
	KeepsSessions bool
}

// Run runs the suite. open starts a broker, and has it stopped by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Broker) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b Broker)
	}{
		{"an order reaches its unit, and the answer and the state the house", deliversOrders},
		{"orders to one device and reports of one unit keep their order", keepsOrder},
		{"the house hears of a unit that comes, goes and vanishes", tellsLinks},
		{"a bridge that comes later is told what is retained", replaysRetained},
		{"a bridge comes back by itself, and nothing is done twice", bridgeReturns},
		{"an order to a unit that was away is never done", forgetsOrders},
		{"nothing waits for a client that asked for a persistent session", keepsNoSession},
		{"answers and events outlive a broken connection", redelivers},
		{"a unit cannot subscribe beyond its own orders", confinesSubscriptions},
		{"a unit cannot publish beyond its own topics", confinesPublishing},
		{"a unit cannot leave a last will beyond its own topics", confinesWills},
		{"a client identifier cannot be stolen", keepsIdentities},
		{"wrong credentials are refused", refusesStrangers},
		{"garbage changes nothing and costs one line of log", survivesGarbage},
		{"an answer comes from the unit whose topic it came on", namesTheSpeaker},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

// Line is a way to a broker that can be cut, as a line to a house can.
type Line struct {
	dial func(ctx context.Context) (net.Conn, error)

	mu    sync.Mutex
	conns []net.Conn
	down  bool
}

// NewLine makes a Line over dial.
func NewLine(dial func(ctx context.Context) (net.Conn, error)) *Line { return &Line{dial: dial} }

// Dial opens a connection, unless the line is down.
func (l *Line) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.Join(errors.New("line is down"), conn.Close())
	}
	l.conns = append(l.conns, conn)
	return conn, nil
}

// Cut breaks every connection, without a word. New ones can be opened.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close() // it is to be broken
	}
	l.conns = nil
}

// Down breaks every connection and lets none be opened until Up.
func (l *Line) Down() {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	l.Cut()
}

// Up lets connections be opened again.
func (l *Line) Up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}
