package broker

import (
	"errors"
	"net"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

const (
	writeLimit = 10 * time.Second // of what waits to be written, once it is being written
	flushLimit = time.Second      // the same, when the connection is to be closed

	unitPending   = 256 << 10 // bytes that may wait for a unit to read them
	bridgePending = 16 << 20  // for the bridge: more than its window can hold, so that it never blocks
)

var errSlow = errors.New("peer reads too slowly")

// conn is a client's connection. Its Write never blocks: mochi writes to a client
// under that client's lock, which whoever publishes to it takes as well, so that one
// house with a stalled line would hold up the orders to all the others. What waits to be
// written is bounded; a client that lets it fill up loses the connection.
type conn struct {
	net.Conn
	bridge bool
	limit  int           // bytes that may wait
	done   chan struct{} // closed when the client is gone and its last will published

	// Set while CONNECT is handled, before anybody else knows the client.
	client   *mochi.Client
	unit     string // whose connection it is; empty before it is accepted, and for the bridge
	clientID string // as the client gave it
	refused  bool   // the log says why already

	passing bool // the connection's own goroutine has a place in the gate

	mu      sync.Mutex
	pending []byte
	closing bool
	wake    chan struct{} // tells the writer of pending bytes and of closing
}

func newConn(raw net.Conn, bridge bool) *conn {
	c := &conn{Conn: raw, bridge: bridge, limit: unitPending, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	if bridge {
		c.limit = bridgePending
	}
	return c
}

// Write takes all of p, or closes the connection.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return 0, net.ErrClosed
	}
	if len(c.pending)+len(p) > c.limit {
		c.abortLocked()
		return 0, errSlow
	}
	c.pending = append(c.pending, p...)
	c.rouse()
	return len(p), nil
}

// SetDeadline sets the deadline of reading alone. The writer has its own.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	return c.SetReadDeadline(t)
}

// Close ends reading at once, and the connection when what waits is written or
// flushLimit is over.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil
	}
	c.closing = true
	now := time.Now()
	err := errors.Join(c.SetReadDeadline(now), c.SetWriteDeadline(now.Add(flushLimit)))
	c.rouse()
	return err
}

// abort closes the connection at once. The client's own goroutine then finds it
// broken, and publishes its last will.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abortLocked()
}

func (c *conn) abortLocked() {
	c.closing = true
	c.pending = nil
	_ = c.Conn.Close() // whoever uses it gets the error
	c.rouse()
}

func (c *conn) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write writes what waits until the connection is closed.
func (c *conn) write() {
	defer c.abort()
	var batch []byte
	for range c.wake {
		for {
			var closing bool
			batch, closing = c.take(batch)
			if len(batch) == 0 && closing {
				return
			}
			if len(batch) == 0 {
				break
			}
			if _, err := c.Conn.Write(batch); err != nil {
				return
			}
		}
	}
}

// take swaps the pending bytes for the spare ones, and starts the clock for them.
func (c *conn) take(spare []byte) (batch []byte, closing bool) {
	const worthKeeping = 8 << 10
	c.mu.Lock()
	defer c.mu.Unlock()
	if cap(spare) > worthKeeping {
		spare = nil
	}
	batch, c.pending = c.pending, spare[:0]
	if !c.closing {
		_ = c.SetWriteDeadline(time.Now().Add(writeLimit)) // on a broken connection Write tells
	}
	return batch, c.closing
}
