package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
)

const acceptPause = 100 * time.Millisecond

// listener is mochi's view of a net.Listener. Unlike mochi's own it knows all of its
// connections, those that never sent a CONNECT as well: it bounds their number and
// their time, and leaves none behind.
type listener struct {
	id        string
	accepting net.Listener
	broker    *Broker
	bridge    bool // the bridge connects here, and nobody else can
	most      int  // connections

	mu      sync.Mutex
	conns   map[*conn]struct{}
	stopped bool
	quit    chan struct{} // closed when stopped
	serving sync.WaitGroup
}

func (b *Broker) newListener(id string, accepting net.Listener, most int) *listener {
	return &listener{id: id, accepting: accepting, broker: b, most: most, conns: map[*conn]struct{}{}, quit: make(chan struct{})}
}

// ID, Address, Protocol and Init are what listeners.Listener wants.
func (l *listener) ID() string              { return l.id }
func (l *listener) Address() string         { return l.accepting.Addr().String() }
func (l *listener) Protocol() string        { return l.accepting.Addr().Network() }
func (l *listener) Init(*slog.Logger) error { return nil }

// Serve accepts connections until the listener is stopped.
func (l *listener) Serve(establish listeners.EstablishFn) {
	for {
		raw, err := l.accepting.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no file descriptors left, most likely
			l.broker.o.Logger.Error("accept MQTT connection", "err", err)
			select {
			case <-time.After(acceptPause):
				continue
			case <-l.quit:
				return
			}
		}
		c := newConn(raw, l.bridge)
		if !l.add(c) {
			_ = raw.Close()
			continue
		}
		_ = raw.SetReadDeadline(time.Now().Add(l.broker.o.ConnectTimeout)) // if it is broken already, reading tells
		if !l.bridge {
			l.makeRoom(c)
		}
		l.serving.Go(c.write)
		go l.serve(c, establish)
	}
}

// makeRoom counts c in at the door, and closes who has to go for it.
func (l *listener) makeRoom(c *conn) {
	hook := l.broker.hook
	if gone := hook.door.enter(c); gone != nil {
		gone.abort()
		hook.often.Say(slog.LevelWarn, "door", "too many MQTT connections without credentials, one closed", "remote", gone.RemoteAddr().String())
	}
}

// add counts c in, unless there are too many or the listener is stopped.
func (l *listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	if len(l.conns) >= l.most {
		l.broker.hook.often.Say(slog.LevelWarn, "full "+l.id, "too many MQTT connections, one turned away",
			"listener", l.id, "remote", c.RemoteAddr().String())
		return false
	}
	l.conns[c] = struct{}{}
	l.serving.Add(1)
	return true
}

func (l *listener) serve(c *conn, establish listeners.EstablishFn) {
	defer l.serving.Done()
	defer close(c.done)
	err := l.broker.establish(c, func() error { return establish(l.id, c) })
	_ = c.Close()
	l.explain(c, err)
	if unsaid := l.broker.hook.left(c); unsaid != nil {
		if err := l.broker.establish(c, func() error { return l.broker.hook.speak(c, *unsaid) }); err != nil {
			l.broker.o.Logger.Error("unit not said to be offline", "unit", c.unit, "err", err)
		}
	}
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// explain says in the log why a connection ended, where it is not for the network or
// the client alone to know.
func (l *listener) explain(c *conn, err error) {
	hook := l.broker.hook
	reason := c.reason
	if reason == "" && err != nil {
		reason = err.Error()
	}
	switch {
	case c.refused || errors.Is(err, errPanic): // said already
	case c.client == nil:
		hook.often.Say(slog.LevelInfo, "not accepted", "MQTT connection not accepted", "remote", c.RemoteAddr().String(), "reason", reason)
	case c.reason != "" || err != nil && !brokenLine(err):
		hook.often.Say(slog.LevelWarn, "protocol "+c.unit, "unit broke the protocol, connection closed", "unit", c.unit, "reason", reason)
	}
}

// brokenLine reports whether an error of mochi's is that of the network connection.
func brokenLine(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, errSlow) || errors.Is(err, mochi.ErrConnectionClosed) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// Close is called by mochi, after stop.
func (l *listener) Close(listeners.CloseFn) { l.stop() }

// stop ends all connections and waits until they are gone.
func (l *listener) stop() {
	l.mu.Lock()
	if !l.stopped {
		close(l.quit)
	}
	l.stopped = true
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	_ = l.accepting.Close() // a second time at the worst
	l.serving.Wait()
}

// memory is a net.Listener inside the process.
type memory struct {
	dialed chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory {
	return &memory{dialed: make(chan net.Conn), closed: make(chan struct{})}
}

// dial waits until the broker takes the connection.
func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.dialed <- theirs:
		return ours, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.dialed:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return memoryAddr{} }

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "memory" }
