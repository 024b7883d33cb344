package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of each HTTP listener.
const (
	readHeaderTimeout = 10 * time.Second
	// readTimeout is for the whole request, and also ends the context of a request that
	// is still worked on by then: it is well above the longest command wait.
	readTimeout    = 45 * time.Second
	writeTimeout   = time.Minute // from the end of the header to the end of the answer
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

// server is an HTTP server on a listener of its own.
type server struct {
	name        string
	address     string
	connections int // held at the same time
	http        *http.Server
	listener    net.Listener // nil before listen
}

func newServer(name, address string, connections int, handler http.Handler, log *slog.Logger) *server {
	return &server{
		name: name, address: address, connections: connections,
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),

			DisableGeneralOptionsHandler: true, // "OPTIONS *" is an unknown path like others
		},
	}
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

// stop accepts nothing more and waits for the requests under way; when ctx ends it
// cuts them off.
func (s *server) stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("finish requests of %s: %w", s.name, err), s.http.Close())
	}
	// Shutdown does not know a listener that Serve has not seen yet.
	if closing := s.listener.Close(); closing != nil && !errors.Is(closing, net.ErrClosed) {
		err = errors.Join(err, closing)
	}
	return err
}
