package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of each HTTP listener.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second // of the whole request with its body
	writeTimeout      = time.Minute      // from the end of the header to the end of the answer: above every wait for a house
	idleTimeout       = 30 * time.Second // short: idle connections take the places of busy ones
	maxHeaderBytes    = 32 << 10
)

// server is an HTTP server on a listener of its own.
type server struct {
	name        string
	address     string
	connections int // held at the same time
	http        *http.Server
	listener    net.Listener // nil before listen

	working sync.RWMutex       // held for reading by each request that is worked on
	cutOff  context.CancelFunc // ends the context of all requests
}

// cutOffLimit is how long requests that were cut off may take to notice.
const cutOffLimit = 2 * time.Second

func newServer(name, address string, connections int, log *slog.Logger) *server {
	requests, cutOff := context.WithCancel(context.Background())
	s := &server{name: name, address: address, connections: connections, cutOff: cutOff}
	s.http = &http.Server{
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true, // "OPTIONS *" is an unknown path like others
	}
	return s
}

// handle says what answers requests, before serve.
func (s *server) handle(handler http.Handler) {
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.working.RLock()
		defer s.working.RUnlock()
		handler.ServeHTTP(w, r)
	})
}

// listen takes the address. Who connects is answered from serve on.
func (s *server) listen(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", s.name, err)
	}
	s.listener = netutil.LimitListener(listener, s.connections)
	return nil
}

// addr is the address that was taken; nil before listen.
func (s *server) addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// serve answers until the server is stopped; it then returns nil.
func (s *server) serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.name, err)
	}
	return nil
}

// requestsLimit is how long requests under way may take when a server stops: the
// longest wait for a unit, and some more. What takes longer is a client that does not
// send its body, and must not use up the time that the rest of the process needs.
const requestsLimit = 12 * time.Second

// stop accepts nothing more and returns when the requests under way are answered.
// When ctx or requestsLimit ends first, it cuts them off.
func (s *server) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestsLimit)
	defer cancel()
	defer s.cutOff()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("finish requests of %s: %w", s.name, errors.Join(err, s.abort()))
	}
	// Shutdown does not know a listener that Serve has not seen yet.
	return errors.Join(err, s.release())
}

// release gives up the address, unless stop has.
func (s *server) release() error {
	defer s.cutOff()
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// abort closes the connections and returns when nothing is worked on any more, or
// after cutOffLimit with an error.
func (s *server) abort() error {
	s.cutOff()
	err := s.http.Close()
	ended := make(chan struct{})
	go func() {
		s.working.Lock()
		defer s.working.Unlock()
		close(ended)
	}()
	select {
	case <-ended:
		return err
	case <-time.After(cutOffLimit):
		return errors.Join(err, errors.New("a request goes on although it was cut off"))
	}
}
