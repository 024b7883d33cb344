package wire_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/foxbridge/foxbridge/mqtt/broker"
	"github.com/foxbridge/foxbridge/mqtt/internal/wire"
)

const (
	unit     = "00000000000000aa"
	patience = 20 * time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type everyone struct{}

func (everyone) Authenticate(_ context.Context, username, password string) (string, bool, error) {
	return username, username == password, nil
}

func options(t *testing.T) wire.Options {
	t.Helper()
	b := broker.New(broker.Options{Logger: slog.New(slog.DiscardHandler), Gatekeeper: everyone{}, TCP: []string{"127.0.0.1:0"}})
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, b.Stop(ctx))
	})
	return wire.Options{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", b.Addr().String())
		},
		ClientID: unit, Username: unit, Password: unit, Receive: func(wire.Message) {},
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = wire.Connect(ctx, wire.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", mute.Addr().String())
	}})
	require.Error(t, err)
	require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded, "not before")
}

func TestConnectTellsOfARefusal(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Password = "wrong"
	_, err := wire.Connect(t.Context(), o)
	require.ErrorContains(t, err, "ot Authorized")
	require.NotContains(t, err.Error(), "wrong")
}

func TestSubscribeTellsOfARefusal(t *testing.T) {
	t.Parallel()
	c, err := wire.Connect(t.Context(), options(t))
	require.NoError(t, err)
	defer c.Close(patience)
	require.ErrorContains(t, c.Subscribe(t.Context(), "hc/1/"+unit+"/cmd", "hc/1/#"), "subscribe to hc/1/#: refused by the broker")
	require.NoError(t, c.Subscribe(t.Context(), "hc/1/"+unit+"/cmd"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, c.Subscribe(ended, "hc/1/"+unit+"/cmd"))
}

func TestAReceiptTellsWhenTheBrokerHasIt(t *testing.T) {
	t.Parallel()
	c, err := wire.Connect(t.Context(), options(t))
	require.NoError(t, err)
	require.True(t, c.Open())
	receipt, err := c.Publish(wire.Message{Topic: "hc/1/" + unit + "/event", Payload: []byte("x")})
	require.NoError(t, err)
	<-receipt.Done()
	require.NoError(t, receipt.Error())

	// The broker ends the connection for this one. That can be known before Publish
	// returns, and is no reason to say that it was not published.
	receipt, err = c.Publish(wire.Message{Topic: "hc/1/00000000000000bb/event", Payload: []byte("x")})
	<-c.Lost()
	if err == nil {
		<-receipt.Done()
		err = receipt.Error()
	}
	require.Error(t, err)
	require.NotErrorIs(t, err, wire.ErrNotPublished)
	require.False(t, c.Open())
	_, err = c.Publish(wire.Message{Topic: "hc/1/" + unit + "/event", Payload: []byte("x")})
	require.ErrorIs(t, err, wire.ErrNotPublished)
	c.Close(patience)
}

func TestKeepConnectsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	o := options(t)
	ctx, cancel := context.WithCancel(t.Context())
	var attempts, failures, held int
	wire.Keep(ctx,
		func(ctx context.Context) (*wire.Conn, error) {
			if attempts++; attempts == 1 {
				return nil, errors.New("not yet")
			}
			return wire.Connect(ctx, o)
		},
		func(_ context.Context, c *wire.Conn) {
			c.Close(patience)
			if held++; held == 2 {
				cancel()
			}
		},
		func(error) { failures++ })
	require.Equal(t, []int{3, 1, 2}, []int{attempts, failures, held})
}
