package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt/internal/tally"
	"github.com/foxbridge/foxbridge/mqtt/internal/wire"
)

// House takes in what units report: *devices.Service. Its methods are called
// concurrently, each with a deadline; of state, event and link reports of one unit each call ends
// before the next begins, in the order in which they came. A *devices.Rejected is the unit's
// fault, any other error the bridge's own. After a devices.ErrUnavailable the same is
// called again, so a repeat of what was taken in has to be harmless.
type House interface {
	Acknowledge(ctx context.Context, unitID string, a devices.Ack) error
	ReportState(ctx context.Context, unitID string, r devices.StateReport) error
	ReportEvent(ctx context.Context, unitID string, r devices.EventReport) error
	ReportLink(ctx context.Context, unitID string, r devices.LinkReport) error
}

// Observer is told of the link's life. Its methods return at once and may be called
// concurrently.
type Observer interface {
	// LinkUp is told when the connection to the broker is there, and when it is lost.
	LinkUp(up bool)
	// Received is told each message that was taken in. what is ack, state, event, link
	// or unparsable; result is ok, rejected (the unit's fault) or failed (ours).
	Received(what, result string)
}

// Options are what a Link is made of.
type Options struct {
	Bridge   string // this bridge's name among all bridges of the broker; see ValidBridge
	House    House
	Logger   *slog.Logger
	Observer Observer // nil for none

	// Dial opens a network connection to the broker: a Dialer, or the embedded broker's Dial.
	Dial               func(ctx context.Context) (net.Conn, error)
	Username, Password string // for the broker; empty for the embedded one
}

// Bounds of what a Link holds in memory. What does not fit waits at the broker.
const (
	lanes     = 32  // units share these; a unit has one
	laneDepth = 64  // messages
	acksMax   = 256 // answers being written at once: they commit together
)

const (
	houseLimit     = 10 * time.Second // one call of House
	houseAgain     = time.Second      // after a call that the House could not take in
	lostAfter      = time.Minute      // of trying to hand a report over while others are taken in
	subscribeLimit = 10 * time.Second
)

// Link is the bridge's way to the units: it carries orders to them and hands what
// they say to the House. It keeps two connections to the broker until it is stopped: one for
// orders and answers, and one for reports, so that no unit's reports, however many,
// hold up an answer. When one breaks it makes both anew; nothing that was on its way is sent
// again then. It is a devices.Sender.
type Link struct {
	o     Options
	often *tally.Log           // for what a unit can make happen often
	line  atomic.Pointer[line] // nil while there is none

	lanes [lanes]chan report
	acks  chan struct{} // a token for each answer being written
	taken atomic.Int64  // when the House last took a message in, in Unix nanoseconds

	connected chan struct{}         // closed when the first connection is set up
	failure   atomic.Pointer[error] // of the latest failed attempt
	end       context.CancelFunc    // ends the connection
	ended     chan struct{}         // closed when there is none and will be none
	calls     context.Context       // of calls to House
	endCalls  context.CancelFunc

	mu      sync.Mutex     // guards closing of quit against what is added to working
	quit    chan struct{}  // closed when nothing more is taken in
	working sync.WaitGroup // the lanes' workers, and the answers being written
}

var _ devices.Sender = (*Link)(nil)

// line is what there is while the Link is connected.
type line struct{ answers, reports *wire.Conn }

func (l *line) open() bool { return l != nil && l.answers.Open() && l.reports.Open() }

func (l *line) close() {
	l.answers.Close(houseLimit)
	l.reports.Close(houseLimit)
}

// report is a message of a unit.
type report struct {
	topic    Topic
	payload  []byte
	retained bool
}

// NewLink makes a Link. It does nothing before Start.
func NewLink(o Options) (*Link, error) {
	if !ValidBridge(o.Bridge) {
		return nil, fmt.Errorf("bridge name %q is not 1 to 32 of a-z, 0-9 and hyphen", o.Bridge)
	}
	if o.House == nil || o.Logger == nil || o.Dial == nil {
		return nil, errors.New("a link needs a house, a logger and a way to dial")
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	l := &Link{
		o:         o,
		often:     tally.New(o.Logger),
		acks:      make(chan struct{}, acksMax),
		connected: make(chan struct{}),
		ended:     make(chan struct{}),
		quit:      make(chan struct{}),
	}
	for i := range l.lanes {
		l.lanes[i] = make(chan report, laneDepth)
	}
	l.calls, l.endCalls = context.WithCancel(context.Background())
	return l, nil
}

// Start connects to the broker and returns when the subscriptions stand; until ctx
// ends it tries. It is called once. After an error the Link is stopped.
func (l *Link) Start(ctx context.Context) error {
	for _, lane := range l.lanes {
		l.working.Go(func() { l.work(lane) })
	}
	hold, end := context.WithCancel(context.Background())
	l.end = end
	go func() {
		defer close(l.ended)
		wire.Keep(hold, l.open, l.hold, func(err error) {
			l.failure.Store(&err)
			l.o.Logger.Warn("no connection to the broker", "bridge", l.o.Bridge, "err", err)
		})
	}()
	select {
	case <-l.connected:
		return nil
	case <-ctx.Done():
	}
	err := fmt.Errorf("connect bridge %s to the broker: %w", l.o.Bridge, ctx.Err())
	if failure := l.failure.Load(); failure != nil {
		err = fmt.Errorf("connect bridge %s to the broker: %w", l.o.Bridge, *failure)
	}
	return errors.Join(err, l.Stop(context.WithoutCancel(ctx)))
}

// Stop takes nothing more in, hands to the House what was received, and returns when
// that is done. When ctx ends first, the calls to the House are cut short and its
// error is returned. Stopping again, or what was never started, does nothing.
func (l *Link) Stop(ctx context.Context) error {
	if l.end == nil {
		return nil
	}
	defer l.endCalls()
	defer context.AfterFunc(ctx, l.endCalls)()
	l.end()
	<-l.ended
	l.mu.Lock()
	if !l.quitting() {
		close(l.quit)
	}
	l.mu.Unlock()
	l.working.Wait()
	l.often.Close()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stop link of bridge %s: %w", l.o.Bridge, err)
	}
	return nil
}

// Connected reports whether orders can be sent and reports come in, as far as is known.
func (l *Link) Connected() bool {
	return l.line.Load().open()
}

// Send publishes o to its unit. It does not wait for the broker's PUBACK, which
// would prove nothing about the house.
func (l *Link) Send(ctx context.Context, o devices.Order) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send command %s: %w: %w", o.CommandID, devices.ErrNotSent, err)
	}
	topic := Topic{Unit: o.UnitID, Leaf: LeafCommand}
	reply := Topic{Unit: o.UnitID, Leaf: LeafAck, Bridge: l.o.Bridge}
	payload, err := EncodeCommand(Command{Order: o, Reply: reply.String()})
	if err != nil {
		return fmt.Errorf("send command %s: %w: %w", o.CommandID, devices.ErrNotSent, err)
	}
	line := l.line.Load()
	if !line.open() {
		return fmt.Errorf("send command %s: %w: no connection to the broker", o.CommandID, devices.ErrNotSent)
	}
	_, err = line.answers.Publish(wire.Message{Topic: topic.String(), Payload: payload})
	if errors.Is(err, wire.ErrNotPublished) {
		return fmt.Errorf("send command %s: %w: %w", o.CommandID, devices.ErrNotSent, err)
	}
	if err != nil {
		return fmt.Errorf("send command %s: %w", o.CommandID, err)
	}
	return nil
}

// open connects and subscribes.
func (l *Link) open(ctx context.Context) (*line, error) {
	answers, err := l.connect(ctx, ".answers", answerFilter(l.o.Bridge))
	if err != nil {
		return nil, err
	}
	reports, err := l.connect(ctx, ".reports", reportFilters()...)
	if err != nil {
		answers.Close(houseLimit)
		return nil, err
	}
	return &line{answers, reports}, nil
}

// connect makes one connection. Its name ends with what no bridge's name can hold, so
// that it is no other bridge's.
func (l *Link) connect(ctx context.Context, name string, filters ...string) (*wire.Conn, error) {
	conn, err := wire.Connect(ctx, wire.Options{
		Dial: l.o.Dial, ClientID: "foxbridge-" + l.o.Bridge + name,
		Username: l.o.Username, Password: l.o.Password,
		Receive: l.receive,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeLimit)
	defer cancel()
	if err := conn.Subscribe(ctx, filters...); err != nil {
		conn.Close(houseLimit)
		return nil, err
	}
	return conn, nil
}

// hold lets orders out over a line until it breaks or the Link stops.
func (l *Link) hold(ctx context.Context, held *line) {
	l.line.Store(held)
	l.o.Observer.LinkUp(true)
	l.o.Logger.Info("connected to the broker", "bridge", l.o.Bridge)
	select {
	case <-l.connected:
	default:
		close(l.connected)
	}
	broken := true
	select {
	case <-held.answers.Lost():
	case <-held.reports.Lost():
	case <-ctx.Done():
		broken = false
	}
	if broken {
		l.o.Logger.Warn("connection to the broker lost", "bridge", l.o.Bridge)
	}
	l.line.Store(nil)
	l.o.Observer.LinkUp(false)
	held.close()
}

// receive puts a message where it is worked on. It blocks while there is no room,
// and so holds the broker back: answers for answers, and reports for reports.
func (l *Link) receive(m wire.Message) {
	topic, err := ParseTopic(m.Topic)
	if err != nil || topic.Leaf == LeafCommand {
		l.unparsable("", "topic is not one that units report on")
		return
	}
	r := report{topic, m.Payload, m.Retained}
	if topic.Leaf != LeafAck {
		select {
		case l.lanes[laneOf(topic.Unit)] <- r:
		case <-l.quit:
		}
		return
	}
	select {
	case l.acks <- struct{}{}:
	case <-l.quit:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.quitting() {
		return
	}
	l.working.Go(func() {
		defer func() { <-l.acks }()
		l.handle(r)
	})
}

func (l *Link) quitting() bool {
	select {
	case <-l.quit:
		return true
	default:
		return false
	}
}

// laneOf spreads units evenly, and gives a unit always the same lane (FNV-1a).
func laneOf(unit string) int {
	h := uint32(2166136261)
	for i := range len(unit) {
		h = (h ^ uint32(unit[i])) * 16777619
	}
	return int(h % lanes)
}

// work handles a lane's reports until the Link stops and the lane is empty.
func (l *Link) work(lane <-chan report) {
	for {
		select {
		case r := <-lane:
			l.handle(r)
		case <-l.quit:
			for len(lane) > 0 {
				l.handle(<-lane)
			}
			return
		}
	}
}

func (l *Link) handle(r report) {
	call, err := l.decode(r)
	if err != nil {
		l.unparsable(r.topic.Unit, reasonOf(err))
		return
	}
	err = l.handOver(call)
	what := string(r.topic.Leaf)
	switch {
	case err == nil:
		l.o.Observer.Received(what, "ok")
	case reasonOf(err) != "":
		l.o.Observer.Received(what, "rejected")
		l.often.Say(slog.LevelWarn, "rejected "+r.topic.Unit, "report rejected", "unit", r.topic.Unit, "what", what, "reason", reasonOf(err))
	default:
		l.o.Observer.Received(what, "failed")
		l.o.Logger.Error("report lost", "unit", r.topic.Unit, "what", what, "err", err)
	}
}

// handOver calls the House. While that gives no answer it calls again: what a unit said, and
// the broker has confirmed, is not lost with a database that is away for a while. Meanwhile
// the units are held back. When the Link stops, or others' reports are taken in and this one
// is not, the last error is the result.
func (l *Link) handOver(call func(context.Context) error) error {
	for began := time.Now(); ; {
		err := l.callHouse(call)
		if !errors.Is(err, devices.ErrUnavailable) {
			l.taken.Store(time.Now().UnixNano())
			return err
		}
		if l.taken.Load() > began.UnixNano() && time.Since(began) > lostAfter {
			return err
		}
		l.often.Say(slog.LevelWarn, "unavailable", "reports wait: the house cannot take them in", "err", err)
		select {
		case <-time.After(houseAgain):
		case <-l.quit:
			return err
		}
	}
}

func (l *Link) callHouse(call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(l.calls, houseLimit)
	defer cancel()
	return call(ctx)
}

// decode reads the payload, and gives the call that hands it to the House.
func (l *Link) decode(r report) (func(context.Context) error, error) {
	unit, house := r.topic.Unit, l.o.House
	switch r.topic.Leaf {
	case LeafAck:
		a, err := DecodeAck(r.payload)
		return func(ctx context.Context) error { return house.Acknowledge(ctx, unit, a.Ack) }, err
	case LeafState:
		state, err := DecodeState(r.payload)
		state.DeviceID = r.topic.Device
		return func(ctx context.Context) error { return house.ReportState(ctx, unit, state) }, err
	case LeafEvent:
		event, err := DecodeEvent(r.payload)
		return func(ctx context.Context) error { return house.ReportEvent(ctx, unit, event) }, err
	default:
		link, err := DecodeLink(r.payload)
		link.Retained = r.retained
		return func(ctx context.Context) error { return house.ReportLink(ctx, unit, link) }, err
	}
}

func (l *Link) unparsable(unit, reason string) {
	l.o.Observer.Received("unparsable", "rejected")
	l.often.Say(slog.LevelWarn, "unparsable "+unit, "message not understood", "unit", unit, "reason", reason)
}

// reasonOf gives the fixed phrase of a *devices.Rejected, or the empty string.
func reasonOf(err error) string {
	if r, ok := errors.AsType[*devices.Rejected](err); ok {
		return r.Reason
	}
	return ""
}

type unobserved struct{}

func (unobserved) LinkUp(bool)             {}
func (unobserved) Received(string, string) {}
