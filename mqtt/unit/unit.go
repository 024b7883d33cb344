// Package unit is the device side of hc/1: what a HomeControl unit does between its
// devices and the broker. Unit is the protocol; Home is a simulated house on top of it.
package unit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/internal/wire"
)

// Handler is the house that a Unit stands in. Its methods may be called concurrently.
type Handler interface {
	// Execute carries out a command to a device that the unit has, with an operation
	// that the catalogue has for it, and returns when it is done or has visibly begun. Commands to
	// one device do not overlap. A *Refusal says why it was not carried out; any other error says
	// so too, without telling the cloud why. ctx ends when the unit is stopped.
	Execute(ctx context.Context, c mqtt.Command) error
	// Readings gives the readings of a device as they are now: a JSON object of at most
	// 4 KiB, or nil if there are none. It returns at once and calls nothing of the Unit.
	Readings(device int64) json.RawMessage
}

// Refusal is an error of a Handler that the person who gave the command may read.
type Refusal struct {
	Reason string // at most 200 bytes
}

func (r *Refusal) Error() string { return "refused: " + r.Reason }

// Config is what a Unit is made of.
type Config struct {
	Dial     func(ctx context.Context) (net.Conn, error) // to the broker; see mqtt.Dialer
	Unit     string                                      // its ID: 16 lower-case hex digits
	Password string
	Devices  map[int64]devices.Kind // all but the alarm, which every unit has
	Handler  Handler
	Firmware string           // its name and version, at most 64 bytes
	Clock    func() time.Time // the unit's own clock; nil for the machine's
	Logger   *slog.Logger
	// Remember is how many commands are kept in mind, so that none is done twice: those
	// of two minutes at least, else the unit is busy. 0 means 8,192.
	Remember int
}

// Unit keeps a connection to the broker until it is stopped: it reports what it is
// told with Changed and Event, executes each command once, and answers it. It may be
// used concurrently.
type Unit struct {
	c       Config
	known   map[operation]devices.Row // of the catalogue
	answers *answers
	lanes   *lanes
	outbox  *outbox

	mu     sync.Mutex
	states map[int64]devices.StateReport // as last reported, by device

	started chan struct{} // closed when the first connection is set up and all is reported
	failure error         // of the latest failed attempt; guarded by mu
	end     context.CancelFunc
	ended   chan struct{}
}

// operation is something that can be done with a kind of device.
type operation struct {
	kind devices.Kind
	name string
}

// Times of a Unit.
const (
	subscribeLimit = 10 * time.Second
	farewellLimit  = 2 * time.Second // to say that it goes
	stopLimit      = 5 * time.Second // of Run, and of a Start that failed
)

// New makes a Unit. It does nothing before Start.
func New(c Config) (*Unit, error) {
	switch {
	case !mqtt.ValidUnit(c.Unit):
		return nil, fmt.Errorf("unit %q is not 16 lower-case hex digits", c.Unit)
	case c.Dial == nil || c.Handler == nil || c.Logger == nil:
		return nil, errors.New("a unit needs a way to dial, a handler and a logger")
	case c.Devices[devices.SecurityDevice] != "":
		return nil, errors.New("device 0 is the alarm, which every unit has")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Remember == 0 {
		c.Remember = 8192
	}
	known := map[operation]devices.Row{}
	for _, row := range devices.Catalogue() {
		if row.Action == devices.Operate {
			for _, kind := range row.Kinds() {
				known[operation{kind, row.Operation}] = row
			}
		}
	}
	return &Unit{
		c:       c,
		known:   known,
		answers: newAnswers(time.Now, c.Remember),
		lanes:   newLanes(),
		outbox:  newOutbox(c.Logger),
		states:  map[int64]devices.StateReport{},
		started: make(chan struct{}),
		ended:   make(chan struct{}),
	}, nil
}

// Start connects and returns when the broker has the unit's link and states; until
// ctx ends it tries. It is called once, and not with Run. After an error the Unit is stopped.
func (u *Unit) Start(ctx context.Context) error {
	u.begin()
	select {
	case <-u.started:
		return nil
	case <-ctx.Done():
	}
	u.mu.Lock()
	err := fmt.Errorf("connect unit %s to the broker: %w", u.c.Unit, errors.Join(u.failure, ctx.Err()))
	u.mu.Unlock()
	return errors.Join(err, u.stopSoon(ctx))
}

// Run keeps the unit going until ctx ends, and stops it then. It does not mind a
// broker that is away.
func (u *Unit) Run(ctx context.Context) error {
	u.begin()
	<-ctx.Done()
	return u.stopSoon(ctx)
}

func (u *Unit) begin() {
	hold, end := context.WithCancel(context.Background())
	u.end = end
	go func() {
		defer close(u.ended)
		u.keep(hold)
	}()
}

// stopSoon is Stop for a context that has ended.
func (u *Unit) stopSoon(ctx context.Context) error {
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return u.Stop(soon)
}

// Stop takes no more commands, lets those that have begun end, says that it goes, and
// disconnects. When ctx ends first, what runs is cut short.
func (u *Unit) Stop(ctx context.Context) error {
	if u.end == nil {
		return nil
	}
	u.lanes.stop(ctx)
	_ = u.outbox.await(ctx) // what could not be delivered by then is lost with the unit
	u.end()
	<-u.ended
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stop unit %s: %w", u.c.Unit, err)
	}
	return nil
}

// Changed reports the readings of a device as they are now. Those of a device that
// the unit does not have are not reported.
func (u *Unit) Changed(device int64) {
	if report := u.report(device); report != nil {
		u.outbox.put(u.state(*report)...)
	}
}

// Event reports that something happened, and gives the event's ID. Events wait for a
// connection; when too many wait, the oldest are lost.
func (u *Unit) Event(kind devices.EventType, device int64, text string) (string, error) {
	e := devices.EventReport{ID: randomHex(), Type: kind, DeviceID: device, Time: u.c.Clock(), Text: text}
	payload, err := mqtt.EncodeEvent(e)
	if err != nil {
		return "", fmt.Errorf("report event of unit %s: %w", u.c.Unit, err)
	}
	topic := mqtt.Topic{Unit: u.c.Unit, Leaf: mqtt.LeafEvent}
	u.outbox.put(item{Message: wire.Message{Topic: topic.String(), Payload: payload}, lasting: true})
	return e.ID, nil
}

// Connected reports whether the broker can be reached, as far as is known.
func (u *Unit) Connected() bool { return u.outbox.connected() }

// report makes a new report of a device. Reading and numbering are one step, so that
// a higher sequence never has older readings.
func (u *Unit) report(device int64) *devices.StateReport {
	if _, there := u.kindOf(device); !there {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	readings := u.c.Handler.Readings(device)
	if readings == nil {
		return nil
	}
	now := u.c.Clock()
	// A unit that forgets its sequence in a restart goes on above it, as long as its
	// clock does not go back.
	report := devices.StateReport{
		DeviceID: device, Time: now, Readings: readings,
		Sequence: max(u.states[device].Sequence+1, now.UnixMilli()),
	}
	u.states[device] = report
	return &report
}

// kindOf tells what a device is, and whether the unit has it.
func (u *Unit) kindOf(device int64) (devices.Kind, bool) {
	if device == devices.SecurityDevice {
		return devices.Security, true
	}
	kind, there := u.c.Devices[device]
	return kind, there
}

// state makes the message that says a report: none if the Handler gave what cannot be said.
func (u *Unit) state(r devices.StateReport) []item {
	payload, err := mqtt.EncodeState(r)
	if err != nil {
		u.c.Logger.Error("readings are not fit to be reported", "unit", u.c.Unit, "device", r.DeviceID, "err", err)
		return nil
	}
	topic := mqtt.Topic{Unit: u.c.Unit, Leaf: mqtt.LeafState, Device: r.DeviceID}
	return []item{{Message: wire.Message{Topic: topic.String(), Payload: payload, Retained: true}}}
}

// keep holds a connection, each with a session of its own.
func (u *Unit) keep(ctx context.Context) {
	var session string
	wire.Keep(ctx,
		func(ctx context.Context) (*wire.Conn, error) {
			session = randomHex()
			return u.open(ctx, session)
		},
		func(ctx context.Context, conn *wire.Conn) { u.hold(ctx, conn, session) },
		func(err error) {
			u.mu.Lock()
			u.failure = err
			u.mu.Unlock()
			u.c.Logger.Warn("unit has no connection to the broker", "unit", u.c.Unit, "err", err)
		})
}

// open connects with the last will of the session and subscribes to the commands.
func (u *Unit) open(ctx context.Context, session string) (*wire.Conn, error) {
	will, err := u.link(devices.LinkReport{Session: session})
	if err != nil {
		return nil, err
	}
	conn, err := wire.Connect(ctx, wire.Options{
		Dial: u.c.Dial, ClientID: u.c.Unit, Username: u.c.Unit, Password: u.c.Password,
		Will: &will.Message, Receive: u.receive,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeLimit)
	defer cancel()
	if err := conn.Subscribe(ctx, mqtt.Topic{Unit: u.c.Unit, Leaf: mqtt.LeafCommand}.String()); err != nil {
		conn.Close(farewellLimit)
		return nil, err
	}
	return conn, nil
}

// hold reports over conn until it breaks or the unit stops. First comes the link,
// then what an earlier connection left undelivered, then every state.
func (u *Unit) hold(ctx context.Context, conn *wire.Conn, session string) {
	online, err := u.link(devices.LinkReport{
		Online: true, Session: session, Firmware: u.c.Firmware, Catalogue: devices.CatalogueVersion, Clock: u.c.Clock(),
	})
	if err != nil {
		u.c.Logger.Error("unit cannot say that it is there", "unit", u.c.Unit, "err", err)
		conn.Close(farewellLimit)
		return
	}
	u.c.Logger.Info("unit connected to the broker", "unit", u.c.Unit, "session", session)
	delivering, end := context.WithCancel(ctx)
	var delivery sync.WaitGroup
	u.outbox.attach(online)
	u.outbox.put(u.statesNow()...)
	delivery.Go(func() { u.outbox.deliver(delivering, conn) })
	delivery.Go(func() { u.reported(delivering) })
	select {
	case <-conn.Lost():
		u.c.Logger.Warn("unit lost its connection to the broker", "unit", u.c.Unit)
	case <-ctx.Done():
	}
	end()
	delivery.Wait()
	if ctx.Err() != nil {
		u.leave(conn, session)
	}
}

// reported tells Start when all has been reported over the first connection.
func (u *Unit) reported(ctx context.Context) {
	if u.outbox.await(ctx) != nil {
		return
	}
	select {
	case <-u.started:
	default:
		close(u.started)
	}
}

// leave says that the unit goes, and disconnects.
func (u *Unit) leave(conn *wire.Conn, session string) {
	defer conn.Close(farewellLimit)
	offline, err := u.link(devices.LinkReport{Session: session})
	if err != nil {
		return // not reached: the last will is the same
	}
	receipt, err := conn.Publish(offline.Message)
	if err != nil {
		return // the broker says it instead: the last will is the same
	}
	select {
	case <-receipt.Done():
	case <-time.After(farewellLimit):
	}
}

// link makes the message that says a link report.
func (u *Unit) link(r devices.LinkReport) (item, error) {
	payload, err := mqtt.EncodeLink(r)
	if err != nil {
		return item{}, fmt.Errorf("report link of unit %s: %w", u.c.Unit, err)
	}
	topic := mqtt.Topic{Unit: u.c.Unit, Leaf: mqtt.LeafLink}
	return item{Message: wire.Message{Topic: topic.String(), Payload: payload, Retained: true}}, nil
}

// statesNow makes the messages that say every device's state: as it was last reported, or
// as it is if it never was.
func (u *Unit) statesNow() []item {
	all := append(slices.Sorted(maps.Keys(u.c.Devices)), devices.SecurityDevice)
	var items []item
	for _, device := range all {
		u.mu.Lock()
		last, said := u.states[device]
		u.mu.Unlock()
		report := &last
		if !said {
			report = u.report(device)
		}
		if report != nil {
			items = append(items, u.state(*report)...)
		}
	}
	return items
}

func randomHex() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; crypto/rand
	return hex.EncodeToString(b[:])
}
