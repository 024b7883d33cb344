package unit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
)

// HomeOptions say how a simulated home behaves.
type HomeOptions struct {
	Travel    time.Duration // of a shutter from closed to open; 0 means 8 s
	ExitDelay time.Duration // from arming until the alarm watches; 0 means 15 s
}

// Execution is something that was really done in the house.
type Execution struct {
	CommandID string
	Device    int64 // devices.SecurityDevice for the alarm
	Operation string
	At        time.Time // in the unit's clock
}

const (
	myPosition    = 30  // per cent: where "my" sends a shutter
	travelReports = 10  // reports of a position on the whole way
	executionsMax = 1e5 // that are remembered
)

// Home is a simulated house behind a Unit of its own. A socket switches at once. A
// shutter takes its time, is answered for when it has begun to move, and reports where it is
// on the way; another order turns it round. The alarm arms at once but watches only after
// the exit delay. A Home may be used concurrently.
type Home struct {
	*Unit
	o     HomeOptions
	clock func() time.Time
	kinds map[int64]devices.Kind

	life   context.Context // of what moves by itself
	end    context.CancelFunc
	moving sync.WaitGroup

	mu         sync.Mutex
	alarm      alarm
	sockets    map[int64]bool
	shutters   map[int64]*shutter
	refusals   map[int64]string
	holds      map[int64]chan struct{} // closed on release
	executions []Execution
}

type alarm struct {
	level    string
	ringing  bool
	watching time.Time // end of the exit delay, in the unit's clock; zero when it is over
	armings  int       // tells the exit delay of one arming from that of another
}

// shutter is on its way from one position to another, or there.
type shutter struct {
	from, to float64 // per cent open
	began    time.Time
	stop     context.CancelFunc // ends the movement; nil while still
}

// NewHome makes a Home with everything still, off and disarmed. It is the Handler of
// its Unit: that of c is not used.
func NewHome(c Config, o HomeOptions) (*Home, error) {
	if o.Travel == 0 {
		o.Travel = 8 * time.Second
	}
	if o.ExitDelay == 0 {
		o.ExitDelay = 15 * time.Second
	}
	h := &Home{
		o: o, clock: c.Clock, kinds: maps.Clone(c.Devices),
		alarm:   alarm{level: "disarmed"},
		sockets: map[int64]bool{}, shutters: map[int64]*shutter{},
		refusals: map[int64]string{}, holds: map[int64]chan struct{}{},
	}
	if h.clock == nil {
		h.clock = time.Now
	}
	for device, kind := range h.kinds {
		switch kind {
		case devices.Socket:
			h.sockets[device] = false
		case devices.Shutter:
			h.shutters[device] = &shutter{}
		default:
			return nil, fmt.Errorf("no simulation of a %s", kind)
		}
	}
	h.life, h.end = context.WithCancel(context.Background())
	c.Handler = h
	var err error
	h.Unit, err = New(c)
	return h, err
}

// Stop stops what moves, and the Unit.
func (h *Home) Stop(ctx context.Context) error {
	err := h.Unit.Stop(ctx)
	h.end()
	h.moving.Wait()
	return err
}

// Run runs the Unit until ctx ends, and stops what moves.
func (h *Home) Run(ctx context.Context) error {
	err := h.Unit.Run(ctx)
	h.end()
	h.moving.Wait()
	return err
}

// Execute implements Handler.
func (h *Home) Execute(ctx context.Context, c mqtt.Command) error {
	if err := h.held(ctx, c.DeviceID); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if reason := h.refusals[c.DeviceID]; reason != "" {
		return &Refusal{Reason: reason}
	}
	switch c.Kind {
	case devices.Security:
		h.arm(c.Operation)
	case devices.Socket:
		h.sockets[c.DeviceID] = c.Operation == "on"
	case devices.Shutter:
		target, known := map[string]float64{"open": 100, "close": 0, "my": myPosition}[c.Operation]
		if !known {
			return errors.New("no simulation of " + c.Operation)
		}
		h.move(c.DeviceID, target)
	default:
		return errors.New("no simulation of " + string(c.Kind))
	}
	if len(h.executions) >= executionsMax {
		h.executions = h.executions[1:]
	}
	h.executions = append(h.executions, Execution{c.CommandID, c.DeviceID, c.Operation, h.clock()})
	return nil
}

// held waits while the device is held.
func (h *Home) held(ctx context.Context, device int64) error {
	h.mu.Lock()
	hold := h.holds[device]
	h.mu.Unlock()
	if hold == nil {
		return nil
	}
	select {
	case <-hold:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("device %d is held: %w", device, ctx.Err())
	}
}

// arm sets the level. Setting it as it is changes nothing. h.mu is held.
func (h *Home) arm(level string) {
	if level == h.alarm.level {
		return
	}
	h.alarm = alarm{level: level, armings: h.alarm.armings + 1}
	if level == "disarmed" {
		return
	}
	h.alarm.watching = h.clock().Add(h.o.ExitDelay)
	arming := h.alarm.armings
	h.moving.Go(func() {
		select {
		case <-time.After(h.o.ExitDelay):
			h.watch(arming)
		case <-h.life.Done():
		}
	})
}

// watch ends the exit delay of an arming, unless the level was changed since.
func (h *Home) watch(arming int) {
	h.mu.Lock()
	current := h.alarm.armings == arming
	if current {
		h.alarm.watching = time.Time{}
	}
	h.mu.Unlock()
	if current {
		h.Changed(devices.SecurityDevice)
	}
}

// move turns a shutter to a position, from wherever it is. h.mu is held.
func (h *Home) move(device int64, target float64) {
	s := h.shutters[device]
	if s.stop != nil {
		s.stop()
	}
	now := time.Now()
	*s = shutter{from: s.position(now, h.o.Travel), to: target, began: now}
	if s.from == s.to {
		return
	}
	moving, stop := context.WithCancel(h.life)
	s.stop = stop
	h.moving.Go(func() { h.travel(moving, device) })
}

// travel reports where a shutter is until it is there.
func (h *Home) travel(moving context.Context, device int64) {
	tick := time.NewTicker(max(h.o.Travel/travelReports, time.Millisecond))
	defer tick.Stop()
	for arrived := false; !arrived; {
		select {
		case <-tick.C:
		case <-moving.Done():
			return
		}
		h.mu.Lock()
		s := h.shutters[device]
		arrived = moving.Err() == nil && s.position(time.Now(), h.o.Travel) == s.to
		if arrived {
			s.stop()
			*s = shutter{from: s.to, to: s.to}
		}
		h.mu.Unlock()
		h.Changed(device)
	}
}

// position tells how far a shutter is open.
func (s *shutter) position(now time.Time, travel time.Duration) float64 {
	way := 100 * float64(now.Sub(s.began)) / float64(travel)
	if left := s.to - s.from; way < math.Abs(left) {
		return s.from + math.Copysign(way, left)
	}
	return s.to
}

// Readings implements Handler.
func (h *Home) Readings(device int64) json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.kinds[device] {
	case devices.Socket:
		return readings(map[string]any{"on": h.sockets[device]})
	case devices.Shutter:
		s := h.shutters[device]
		return readings(map[string]any{
			"position": int(math.Round(s.position(time.Now(), h.o.Travel))),
			"moving":   s.stop != nil,
		})
	default:
		said := map[string]any{"level": h.alarm.level, "alarm": "quiet"}
		if h.alarm.ringing {
			said["alarm"] = "ringing"
		}
		if !h.alarm.watching.IsZero() {
			said["exit_delay_until"] = h.alarm.watching.UnixMilli()
		}
		return readings(said)
	}
}

func readings(said map[string]any) json.RawMessage {
	object, err := json.Marshal(said)
	if err != nil {
		return nil // not reached: booleans, numbers and plain strings
	}
	return object
}

// States tells the readings of the alarm and of every device as they are now.
func (h *Home) States() map[int64]json.RawMessage {
	states := map[int64]json.RawMessage{devices.SecurityDevice: h.Readings(devices.SecurityDevice)}
	for device := range h.kinds {
		states[device] = h.Readings(device)
	}
	return states
}

// Executions lists what was really done, in order: the last hundred thousand.
func (h *Home) Executions() []Execution {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Execution(nil), h.executions...)
}

// TriggerIntrusion lets somebody break in, and reports whether the alarm rings for
// it: it is armed or partially armed, the exit delay is over, and it does not ring already.
func (h *Home) TriggerIntrusion() bool {
	h.mu.Lock()
	rings := h.alarm.level != "disarmed" && h.alarm.watching.IsZero() && !h.alarm.ringing
	h.alarm.ringing = h.alarm.ringing || rings
	h.mu.Unlock()
	if !rings {
		return false
	}
	h.Changed(devices.SecurityDevice)
	if _, err := h.Event(devices.EventAlarm, devices.SecurityDevice, "Intrusion: the siren sounds"); err != nil {
		h.c.Logger.Error("intrusion cannot be reported", "err", err)
	}
	return true
}

// Refuse makes a device refuse every command with this reason, or none any more if
// it is empty.
func (h *Home) Refuse(device int64, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusals[device] = reason
}

// Hold makes commands to a device wait, before anything is done, until release is
// called.
func (h *Home) Hold(device int64) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hold := make(chan struct{})
	h.holds[device] = hold
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.holds[device] == hold {
			delete(h.holds, device)
		}
		close(hold)
	})
}
