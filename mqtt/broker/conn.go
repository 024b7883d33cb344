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

// connectMax bounds a CONNECT, in bytes after its fixed header: memory is made for all
// of a packet when its length is known, and who sends this one is not known yet.
const connectMax = 2 << 10

var (
	errSlow = errors.New("peer reads too slowly")
	errLong = errors.New("first packet is longer than 2 KiB")
)

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
	unit     string  // whose connection it is; empty before it is accepted, and for the bridge
	member   *member // that unit's; nil before it is counted in, and for the bridge
	clientID string  // as the client gave it
	refused  bool    // the log says why already

	// Of the connection's own goroutine.
	first   head              // of the first packet
	reason  string            // why the connection has to end, for the log; empty if there is no reason but its end
	parted  bool              // DISCONNECT came
	session string            // of the latest online that was said over it
	passing *gate             // where it has a place; nil if it has none
	replay  map[string]string // retained topics that are to be sent after SUBACK; see retained.names

	mu      sync.Mutex
	pending []byte
	closing bool
	gone    chan struct{} // closed when closing is set
	wake    chan struct{} // tells the writer of pending bytes and of closing
}

func newConn(raw net.Conn, bridge bool) *conn {
	c := &conn{Conn: raw, bridge: bridge, limit: unitPending, done: make(chan struct{}), gone: make(chan struct{}), wake: make(chan struct{}, 1)}
	if bridge {
		c.limit = bridgePending
	}
	return c
}

// Read looks at the head of the first packet on its way.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.bridge && !c.first.fits(p[:n]) {
		return 0, errLong
	}
	return n, err
}

// head is a packet's fixed header (MQTT 3.1.1 section 2.2), as far as it has come.
type head struct {
	bytes, length int
	complete      bool
}

// fits takes in what comes next, and reports whether the packet can be a CONNECT by
// its length.
func (h *head) fits(p []byte) bool {
	const most = 3 // bytes, for a length of 2 KiB
	for _, b := range p {
		if h.complete {
			break
		}
		if h.bytes > 0 {
			h.length |= int(b&0x7f) << (7 * (h.bytes - 1))
			h.complete = b&0x80 == 0
		}
		h.bytes++
		if h.length > connectMax || h.bytes >= most && !h.complete {
			return false
		}
	}
	return true
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
	close(c.gone)
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
	if !c.closing {
		c.closing = true
		close(c.gone)
	}
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
