package devicetest

import (
	"encoding/json"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// Benchmark measures what the store has to do for a command that is done: Accept,
// then Finish with state and history entry, by 32 callers, each with a device of
// its own.
func Benchmark(b *testing.B, open Open) {
	const callers = 32
	store, addUser := open(b)
	houses := make([]house, callers)
	made := newBench(addUser, store)
	for i := range houses {
		houses[i] = made.house(b)
	}
	var given atomic.Int64 // commands, each a millisecond after the one before
	for name, newKey := range map[string]func() *[32]byte{
		"without key": func() *[32]byte { return nil },
		"with key":    newKey,
	} {
		b.Run(name, func(b *testing.B) {
			var caller atomic.Int64
			b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				h := houses[int(caller.Add(1))%callers]
				for pb.Next() {
					c := h.switchOn()
					c.AcceptedAt = noon.Add(time.Duration(given.Add(1)) * time.Millisecond)
					accepted, err := h.Accept(b.Context(), intent(c, newKey()))
					if err != nil || !accepted.New {
						b.Errorf("accept: new %t, %v", accepted.New, err)
						return
					}
					f := finish(c, devices.Done)
					f.State = &devices.State{DeviceID: h.socket, Sequence: f.Now.UnixMicro(), Time: f.Now, Readings: json.RawMessage(`{"on":true}`)}
					f.Entry = &devices.Entry{Type: devices.HistoryHomeAuto, Label: c.Label, CreatedAt: f.Now}
					if _, err := h.Finish(b.Context(), f); err != nil {
						b.Errorf("finish: %v", err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}
