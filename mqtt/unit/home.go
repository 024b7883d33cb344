package unit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
)

// HomeOptions say how a simulated home behaves.
type HomeOptions struct {
	Travel    time.Duration // of a shutter from closed to open; 0 means 8 s
	ExitDelay time.Duration // from arming until the alarm watches; 0 means 15 s
	// EntryDelay is how long whoever comes in has to disarm the alarm before it rings;
	// with 0 it rings at once.
	EntryDelay time.Duration
}

// Execution is something that was really done in the house.
type Execution struct {
	CommandID string
	Device    int64 // devices.SecurityDevice for the alarm
	Operation string
	At        time.Time // in the unit's clock
}

const (
	travelReports = 10  // reports of a position on the whole way
	executionsMax = 1e5 // that are remembered
)

// Home is a simulated house behind a Unit of its own. What its devices can do and say is
// what the catalogue says of their kinds. A socket switches at once. What is slow, such as a
// shutter, takes its time, is answered for when it has begun to move, and reports where it is
// on the way; another order turns it round. Sensors say what they are Set to. The alarm
// arms at once but watches only after the exit delay, and rings after the entry delay. A Home
// may be used concurrently.
type Home struct {
	*Unit
	o      HomeOptions
	clock  func() time.Time
	things map[int64]devices.Thing // the alarm is among them

	life   context.Context // of what moves by itself
	end    context.CancelFunc
	moving sync.WaitGroup

	mu         sync.Mutex
	alarm      alarm
	values     map[int64]map[string]any // what is not slow, by reading
	shutters   map[int64]*shutter       // what is
	refusals   map[int64]string
	holds      map[int64]chan struct{} // closed on release
	executions []Execution
}

type alarm struct {
	level    string
	ringing  bool
	watching time.Time // end of the exit delay, in the unit's clock; zero when it is over
	rings    time.Time // end of the entry delay; zero when none runs
	armings  int       // tells the delays of one arming from those of another
}

// shutter is a slow reading: it is on its way from one position to another, or there.
type shutter struct {
	reading  string
	from, to float64
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
		o: o, clock: c.Clock, things: map[int64]devices.Thing{},
		alarm:  alarm{level: "disarmed"},
		values: map[int64]map[string]any{}, shutters: map[int64]*shutter{},
		refusals: map[int64]string{}, holds: map[int64]chan struct{}{},
	}
	if h.clock == nil {
		h.clock = time.Now
	}
	for device, kind := range c.Devices {
		thing, known := devices.ThingOf(kind)
		if !known || kind == devices.Security {
			return nil, fmt.Errorf("no simulation of a %s", kind)
		}
		h.begin(device, thing)
	}
	h.things[devices.SecurityDevice], _ = devices.ThingOf(devices.Security)
	h.life, h.end = context.WithCancel(context.Background())
	c.Handler = h
	var err error
	h.Unit, err = New(c)
	return h, err
}

// begin makes a device as its kind starts.
func (h *Home) begin(device int64, thing devices.Thing) {
	h.things[device] = thing
	h.values[device] = map[string]any{}
	for _, r := range thing.Readings {
		if r.Slow {
			h.shutters[device] = &shutter{reading: r.Name}
		} else {
			h.values[device][r.Name] = r.Start
		}
	}
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
	if err := h.act(c); err != nil {
		return err
	}
	if len(h.executions) >= executionsMax {
		h.executions = h.executions[1:]
	}
	h.executions = append(h.executions, Execution{c.CommandID, c.DeviceID, c.Operation, h.clock()})
	return nil
}

// act does what the catalogue says that an operation leads to. h.mu is held.
func (h *Home) act(c mqtt.Command) error {
	row, known := h.known[operation{c.Kind, c.Operation}]
	if !known {
		return errors.New("no simulation of " + c.Operation)
	}
	if c.Kind == devices.Security {
		h.arm(c.Operation)
		return nil
	}
	for reading, value := range row.Sets {
		if s := h.shutters[c.DeviceID]; s == nil || s.reading != reading {
			h.values[c.DeviceID][reading] = value
			continue
		}
		target, err := strconv.ParseFloat(fmt.Sprint(value), 64)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", reading, c.Operation, err)
		}
		h.move(c.DeviceID, target)
	}
	return nil
}

// Set has a device say something else from now on, as a sensor does that something came
// over. nil is null. It fails if the kind of the device cannot say that.
func (h *Home) Set(device int64, reading string, value any) error {
	h.mu.Lock()
	thing, known := h.things[device]
	if _, says := thing.Reading(reading); !known || !says || device == devices.SecurityDevice {
		h.mu.Unlock()
		return fmt.Errorf("device %d has no reading %s to be set", device, reading)
	}
	said := maps.Clone(h.values[device])
	said[reading] = value
	if _, err := thing.Values(readings(said)); err != nil {
		h.mu.Unlock()
		return fmt.Errorf("set %s of device %d: %w", reading, device, err)
	}
	h.values[device] = said
	h.mu.Unlock()
	h.Changed(device)
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
	h.after(h.o.ExitDelay, func() { h.alarm.watching = time.Time{} })
}

// after runs change when a delay of the present arming is over, unless the level was
// changed since. h.mu is held, now and when change runs.
func (h *Home) after(delay time.Duration, change func()) {
	arming := h.alarm.armings
	h.moving.Go(func() {
		select {
		case <-time.After(delay):
		case <-h.life.Done():
			return
		}
		h.mu.Lock()
		current := h.alarm.armings == arming
		if current {
			change()
		}
		h.mu.Unlock()
		if current {
			h.Changed(devices.SecurityDevice)
		}
	})
}

// move turns a shutter to a position, from wherever it is. h.mu is held.
func (h *Home) move(device int64, target float64) {
	s := h.shutters[device]
	if s.stop != nil {
		s.stop()
	}
	now := time.Now()
	*s = shutter{reading: s.reading, from: s.position(now, h.o.Travel), to: target, began: now}
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
			*s = shutter{reading: s.reading, from: s.to, to: s.to}
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
	if device == devices.SecurityDevice {
		return readings(h.alarm.said())
	}
	said := maps.Clone(h.values[device])
	if said == nil {
		return nil // no device of this home
	}
	if s := h.shutters[device]; s != nil {
		said[s.reading] = int(math.Round(s.position(time.Now(), h.o.Travel)))
		said["moving"] = s.stop != nil
	}
	return readings(said)
}

func (a alarm) said() map[string]any {
	said := map[string]any{"level": a.level, "alarm": "quiet"}
	if a.ringing {
		said["alarm"] = "ringing"
	}
	if !a.watching.IsZero() {
		said["exit_delay_until"] = a.watching.UnixMilli()
	}
	if !a.rings.IsZero() {
		said["entry_delay_until"] = a.rings.UnixMilli()
	}
	return said
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
	states := map[int64]json.RawMessage{}
	for device := range h.things {
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

// TriggerIntrusion lets somebody break in, and reports whether the alarm minds: it is
// armed or partially armed, the exit delay is over, and it neither rings already nor is about to.
// It rings at once, or when the entry delay is over and nobody has disarmed it.
func (h *Home) TriggerIntrusion() bool {
	h.mu.Lock()
	minds := h.alarm.level != "disarmed" && h.alarm.watching.IsZero() && h.alarm.rings.IsZero() && !h.alarm.ringing
	switch {
	case minds && h.o.EntryDelay > 0:
		h.alarm.rings = h.clock().Add(h.o.EntryDelay)
		h.after(h.o.EntryDelay, h.ring)
	case minds:
		h.ring()
	}
	h.mu.Unlock()
	if minds {
		h.Changed(devices.SecurityDevice)
	}
	return minds
}

// ring sounds the siren, and says so. h.mu is held.
func (h *Home) ring() {
	h.alarm.ringing, h.alarm.rings = true, time.Time{}
	if _, err := h.Event(devices.EventAlarm, devices.SecurityDevice, "Intrusion: the siren sounds"); err != nil {
		h.c.Logger.Error("intrusion cannot be reported", "err", err)
	}
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
