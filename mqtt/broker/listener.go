package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

const (
	connectLimit = 10 * time.Second // from accepting a connection to the end of its CONNECT
	acceptPause  = 100 * time.Millisecond
)

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
		_ = raw.SetReadDeadline(time.Now().Add(connectLimit)) // if it is broken already, reading tells
		l.serving.Go(c.write)
		go l.serve(c, establish)
	}
}

// add counts c in, unless there are too many or the listener is stopped.
func (l *listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || len(l.conns) >= l.most {
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
	l.broker.hook.left(c)
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	if c.client == nil && !c.refused && !errors.Is(err, errPanic) {
		l.broker.o.Logger.Info("MQTT connection not accepted", "remote", c.RemoteAddr().String(), "err", err)
	}
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
