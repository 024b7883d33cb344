package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
)

// Dialer opens connections to brokers, one after the other: each call tries the
// URLs from the one after the last that worked, until one does. A URL is
// mqtt://host:port or tcp://host:port, or with TLS mqtts://host:port or tls://host:port; the port
// may be left out (1883, 8883). Credentials in a URL are refused: they have a place of
// their own. config may be nil.
func Dialer(config *tls.Config, urls ...string) (func(ctx context.Context) (net.Conn, error), error) {
	if len(urls) == 0 {
		return nil, errors.New("no broker URL")
	}
	dialers := make([]func(context.Context) (net.Conn, error), len(urls))
	for i, raw := range urls {
		dial, err := dialer(config, raw)
		if err != nil {
			return nil, err
		}
		dialers[i] = dial
	}
	var next atomic.Uint32
	return func(ctx context.Context) (net.Conn, error) {
		var errs []error
		for range dialers {
			conn, err := dialers[next.Load()%uint32(len(dialers))](ctx)
			if err == nil {
				return conn, nil
			}
			next.Add(1)
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}, nil
}

func dialer(config *tls.Config, raw string) (func(context.Context) (net.Conn, error), error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("broker URL is not a URL") // the cause would show what may hold a password
	}
	if u.User != nil {
		return nil, fmt.Errorf("broker URL %s holds credentials", u.Redacted())
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("broker URL %s is not scheme://host:port", raw)
	}
	port := u.Port()
	switch u.Scheme {
	case "mqtt", "tcp":
		if port == "" {
			port = "1883"
		}
		address := net.JoinHostPort(u.Hostname(), port)
		return func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}, nil
	case "mqtts", "tls":
		if port == "" {
			port = "8883"
		}
		address := net.JoinHostPort(u.Hostname(), port)
		return func(ctx context.Context) (net.Conn, error) {
			d := tls.Dialer{Config: config}
			return d.DialContext(ctx, "tcp", address)
		}, nil
	default:
		return nil, fmt.Errorf("broker URL %s: scheme is none of mqtt, tcp, mqtts, tls", raw)
	}
}
