package mqtttest

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/unit"
)

// RoundTrip measures an order's way to a unit and its answer's way back, with so many
// callers at a time going round all units of the broker.
func RoundTrip(b *testing.B, broker Broker, callers int) {
	waiting := &answered{}
	link := broker.link(b, broker.Bridge, waiting, slog.DiscardHandler)
	for _, c := range broker.Units {
		bulb(b, broker, c)
	}
	var turn atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for {
				n := turn.Add(1)
				if n > int64(b.N) {
					return
				}
				o := order(broker.Units[n%int64(len(broker.Units))].Unit, socket, "on")
				done := waiting.expect(o.CommandID)
				if err := link.Send(context.Background(), o); err != nil {
					b.Error(err)
					return
				}
				<-done
			}
		})
	}
	calling.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}

// bulb starts a unit that does what it is told at once.
func bulb(b *testing.B, broker Broker, c Credentials) {
	b.Helper()
	u, err := unit.New(unit.Config{
		Dial: broker.line(b).Dial, Unit: c.Unit, Password: c.Password, Logger: slog.New(slog.DiscardHandler),
		Devices: map[int64]devices.Kind{socket: devices.Socket}, Handler: obedient{}, Remember: 1 << 20,
	})
	require.NoError(b, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(b, u.Start(ctx))
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(b, u.Stop(ctx))
	})
}

// obedient is the Handler of a bulb.
type obedient struct{}

func (obedient) Execute(context.Context, mqtt.Command) error { return nil }
func (obedient) Readings(int64) json.RawMessage              { return json.RawMessage(`{"on":true}`) }

// answered is a House that tells who waits for an answer.
type answered struct{ house sync.Map }

func (a *answered) expect(id string) <-chan struct{} {
	done := make(chan struct{})
	a.house.Store(id, done)
	return done
}

func (a *answered) Acknowledge(_ context.Context, _ string, ack devices.Ack) error {
	if done, there := a.house.LoadAndDelete(ack.CommandID); there {
		close(done.(chan struct{}))
	}
	return nil
}

func (*answered) ReportState(context.Context, string, devices.StateReport) error { return nil }
func (*answered) ReportEvent(context.Context, string, devices.EventReport) error { return nil }
func (*answered) ReportLink(context.Context, string, devices.LinkReport) error   { return nil }
