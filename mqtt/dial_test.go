package mqtt

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDialerRefusesWhatIsNoBroker(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "localhost", "localhost:1883", "http://localhost", "mqtt://", "mqtt://:1883", "mqtt://host/path", "mqtt://host?x=1",
		"mqtt://host#x", "ws://host", "mqtt://user:secret@host", "mqtt://host:port", "://",
	} {
		_, err := Dialer(nil, url)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := Dialer(nil)
	require.Error(t, err)
}

func TestDialerGoesOnToTheNextBroker(t *testing.T) {
	t.Parallel()
	const dead = "tcp://127.77.0.1:1" // nobody listens there
	alive, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer alive.Close()

	dial, err := Dialer(nil, dead, "mqtt://"+alive.Addr().String())
	require.NoError(t, err)
	for range 3 {
		conn, err := dial(t.Context())
		require.NoError(t, err)
		require.Equal(t, alive.Addr().String(), conn.RemoteAddr().String())
		require.NoError(t, conn.Close())
	}

	none, err := Dialer(nil, dead)
	require.NoError(t, err)
	_, err = none(t.Context())
	require.Error(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = dial(ended)
	require.ErrorIs(t, err, context.Canceled)
}

func TestDialerSpeaksTLSToWhomItTrusts(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil) // for its certificate
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	transport, ok := server.Client().Transport.(*http.Transport)
	require.True(t, ok)
	for _, scheme := range []string{"mqtts://", "tls://"} {
		dial, err := Dialer(transport.TLSClientConfig, scheme+server.Listener.Addr().String())
		require.NoError(t, err)
		conn, err := dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, conn.Close())

		wary, err := Dialer(nil, scheme+server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = wary(t.Context())
		require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
	}
}
