package mqtttest_test

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/mqtt/broker"
	"github.com/foxbridge/foxbridge/mqtt/mqtttest"
)

func TestEmbeddedBroker(t *testing.T) {
	t.Parallel()
	mqtttest.Run(t, func(t *testing.T) mqtttest.Broker { return embedded(t, 3) })
}

// gatekeeper knows units by their passwords.
type gatekeeper map[string]string

func (g gatekeeper) Authenticate(_ context.Context, username, password string) (string, bool, error) {
	want, known := g[username]
	return username, known && subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1, nil
}

func embedded(t testing.TB, units int) mqtttest.Broker {
	t.Helper()
	known := gatekeeper{}
	credentials := credentials(units)
	for _, c := range credentials {
		known[c.Unit] = c.Password
	}
	b := broker.New(broker.Options{
		Logger:     slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
		Gatekeeper: known, TCP: []string{"127.0.0.1:0"},
	})
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, b.Stop(ctx))
	})
	return mqtttest.Broker{URL: "tcp://" + b.Addr().String(), Bridge: b.Dial, Units: credentials}
}

func credentials(units int) []mqtttest.Credentials {
	var all []mqtttest.Credentials
	for i := range units {
		all = append(all, mqtttest.Credentials{Unit: fmt.Sprintf("%016x", 0xa0+i), Password: fmt.Sprintf("password of %d", i)})
	}
	return all
}
