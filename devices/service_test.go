package devices_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicesqlite"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// house is a Service on a real store, with a home whose unit is played by the test.
type house struct {
	*devices.Service
	t       *testing.T
	store   *counted
	db      *groupcommit.SQLite
	clock   *clock
	sent    chan devices.Order
	refuse  error // what Send answers
	owner   devices.Caller
	other   devices.Caller // a person without a site
	site    devices.Site
	unit    devices.Unit
	secret  string
	shutter devices.Device
	socket  devices.Device
	things  map[devices.Kind]devices.Device // one of each kind, shutter and socket among them
	seq     int64
}

// counted is a store that counts the intents it has answered.
type counted struct {
	devices.Store
	intents atomic.Int64
}

func (c *counted) Accept(ctx context.Context, i devices.Intent) (devices.Accepted, error) {
	defer c.intents.Add(1)
	return c.Store.Accept(ctx, i)
}

func (h *house) intents(n int64) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return h.store.intents.Load() == n }, 5*time.Second, time.Millisecond)
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Send lets the house be its own Sender.
func (h *house) Send(_ context.Context, o devices.Order) error {
	if h.refuse != nil {
		return h.refuse
	}
	h.sent <- o
	return nil
}

// impatient is for houses whose unit keeps silent.
func impatient(o *devices.Options) { o.Wait = 100 * time.Millisecond }

func newHouse(t *testing.T, change ...func(*devices.Options)) *house {
	t.Helper()
	db := migrationstest.SQLite(t)
	h := &house{
		t: t, db: db, store: &counted{Store: devicesqlite.New(db)}, sent: make(chan devices.Order, 256),
		clock: &clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)},
	}
	o := devices.Options{
		Store: h.store, Now: h.clock.Now, Logger: slog.New(slog.DiscardHandler),
		Wait: 10 * time.Second, LaneDepth: 4,
	}
	for _, f := range change {
		f(&o)
	}
	h.Service = devices.New(o)
	h.SetSender(h)

	ctx := t.Context()
	h.owner = devices.Caller{UserID: addUser(t, db, "alice"), UserName: "Alice", ClientID: "app", ClientName: "My script", Unscoped: true}
	h.other = devices.Caller{UserID: addUser(t, db, "bob"), UserName: "Bob", ClientID: "app", ClientName: "My script", Unscoped: true}
	var err error
	h.site, err = h.AddSite(ctx, h.owner.UserID, "Home", "Europe/Paris")
	require.NoError(t, err)
	var list []devices.Device
	wanted := []devices.NewDevice{{Kind: devices.Shutter, Label: "Kitchen"}, {Kind: devices.Socket, Label: "Lamp"}}
	for _, kind := range devices.DeviceKinds() {
		if kind != devices.Shutter && kind != devices.Socket {
			wanted = append(wanted, devices.NewDevice{Kind: kind, Label: "The " + string(kind)})
		}
	}
	h.unit, h.secret, list, err = h.AddUnit(ctx, h.site.ID, wanted)
	require.NoError(t, err)
	h.shutter, h.socket = list[0], list[1]
	h.things = map[devices.Kind]devices.Device{}
	for _, d := range list {
		h.things[d.Kind] = d
	}
	h.online("s1", 0)
	return h
}

func addUser(t *testing.T, db *groupcommit.SQLite, name string) (id int64) {
	t.Helper()
	require.NoError(t, db.Write(t.Context(), name, func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "INSERT INTO oauth_users (email, name, password_hash, created_at) VALUES (?1, ?1, '', 0) RETURNING id", name).Scan(&id)
	}))
	return id
}

func (h *house) online(session string, ahead time.Duration) {
	h.t.Helper()
	require.NoError(h.t, h.ReportLink(h.t.Context(), h.unit.ID, devices.LinkReport{
		Online: true, Session: session, Firmware: "1.0", Catalogue: devices.CatalogueVersion, Clock: h.clock.Now().Add(ahead),
	}))
}

func (h *house) offline(session string) {
	h.t.Helper()
	require.NoError(h.t, h.ReportLink(h.t.Context(), h.unit.ID, devices.LinkReport{Session: session}))
}

func (h *house) open() devices.Request {
	return devices.Request{SiteID: h.site.ID, DeviceID: h.shutter.ID, Kind: devices.Shutter, Operation: "open"}
}

func (h *house) arm() devices.Request {
	return devices.Request{SiteID: h.site.ID, Kind: devices.Security, Operation: "armed"}
}

type answer struct {
	devices.Command
	err error
}

// begin gives a command and returns before its answer.
func (h *house) begin(r devices.Request) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		command, err := h.Execute(h.t.Context(), h.owner, r)
		c <- answer{command, err}
	}()
	return c
}

func (h *house) do(r devices.Request) devices.Command {
	h.t.Helper()
	command, err := h.Execute(h.t.Context(), h.owner, r)
	require.NoError(h.t, err)
	return command
}

func (h *house) order() devices.Order {
	h.t.Helper()
	select {
	case o := <-h.sent:
		return o
	case <-time.After(5 * time.Second):
		h.t.Fatal("no order was sent to the unit")
		panic("unreachable")
	}
}

func (h *house) nothingSent() {
	h.t.Helper()
	select {
	case o := <-h.sent:
		h.t.Fatalf("an order was sent that should not be: %+v", o)
	default:
	}
}

func (h *house) done(o devices.Order) {
	h.t.Helper()
	require.NoError(h.t, h.Acknowledge(h.t.Context(), o.UnitID, h.ack(o)))
}

func (h *house) ack(o devices.Order) devices.Ack {
	h.seq++
	readings := json.RawMessage(`{"position":100}`)
	switch o.Kind {
	case devices.Security:
		readings = json.RawMessage(`{"level":"` + o.Operation + `"}`)
	case devices.Heater, devices.Thermostat:
		readings = json.RawMessage(`{"mode":"off"}`)
	}
	return devices.Ack{CommandID: o.CommandID, Outcome: devices.Done, State: &devices.StateReport{Sequence: h.seq, Time: h.clock.Now(), Readings: readings}}
}

func (h *house) read(id string) devices.Command {
	h.t.Helper()
	command, err := h.Command(h.t.Context(), h.owner, h.site.ID, id)
	require.NoError(h.t, err)
	return command
}

// listOf finds the row that lists devices of the kind.
func listOf(t *testing.T, kind devices.Kind) devices.Row {
	t.Helper()
	i := slices.IndexFunc(devices.Catalogue(), func(r devices.Row) bool { return r.Action == devices.ListDevices && r.Kind == kind })
	require.NotEqual(t, -1, i)
	return devices.Catalogue()[i]
}

func refusal(t *testing.T, err error) devices.RefusalCode {
	t.Helper()
	var r *devices.Refusal
	require.ErrorAs(t, err, &r)
	return r.Code
}

func TestCommandIsDoneWhenTheUnitSaysSo(t *testing.T) {
	h := newHouse(t)
	answer := h.begin(h.arm())
	o := h.order()
	require.Equal(t, devices.Pending, h.read(o.CommandID).Outcome, "the intent is on record before the order leaves")
	h.done(o)
	got := <-answer
	require.NoError(t, got.err)
	require.Equal(t, devices.Done, got.Outcome)
	require.Equal(t, devices.Done, h.read(o.CommandID).Outcome)

	level, err := h.SecurityLevel(t.Context(), h.owner, h.site.ID)
	require.NoError(t, err)
	require.Equal(t, devices.SecurityLevel{Label: "armed", Code: 4}, level, "the level read right after a set is the level set")
	history, err := h.History(t.Context(), h.owner, h.site.ID, devices.HistoryQuery{Types: []devices.HistoryType{devices.HistorySecurity}})
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.Equal(t, "Alarm armed by Alice (My script)", history[0].Label)
	require.Equal(t, devices.HistorySecurity, history[0].Type)
}

func TestCommandThatTheUnitRefusesSaysWhy(t *testing.T) {
	h := newHouse(t)
	answer := h.begin(h.arm())
	o := h.order()
	require.NoError(t, h.Acknowledge(t.Context(), o.UnitID, devices.Ack{CommandID: o.CommandID, Outcome: devices.Refused, Reason: "a door\x00 is open"}))
	got := <-answer
	require.Equal(t, devices.Refused, got.Outcome)
	require.Equal(t, "a door is open", got.Reason, "control characters are taken out of a unit's words")
	history, err := h.History(t.Context(), h.owner, h.site.ID, devices.HistoryQuery{Types: []devices.HistoryType{devices.HistorySecurity}})
	require.NoError(t, err)
	require.Empty(t, history, "what was not done is not in the history as done")
}

func TestNothingIsSentToAUnitThatIsAway(t *testing.T) {
	h := newHouse(t)
	h.offline("s1")
	command := h.do(h.open())
	require.Equal(t, devices.Offline, command.Outcome)
	require.Equal(t, devices.Offline, h.read(command.ID).Outcome, "the attempt is on record")
	h.nothingSent()
	h.online("s2", 0)
	h.nothingSent()

	t.Run("nor when the link to the broker is down", func(t *testing.T) {
		h.refuse = devices.ErrNotSent
		command := h.do(h.open())
		require.Equal(t, devices.Offline, command.Outcome)
		require.Equal(t, devices.Offline, h.read(command.ID).Outcome)
	})
	t.Run("nor when the site has no unit", func(t *testing.T) {
		empty, err := h.AddSite(t.Context(), h.owner.UserID, "Empty", "UTC")
		require.NoError(t, err)
		require.Equal(t, devices.Offline, h.do(devices.Request{SiteID: empty.ID, Kind: devices.Security, Operation: "armed"}).Outcome)
	})
}

func TestSilenceIsUnknownUntilALateAnswerCorrectsIt(t *testing.T) {
	h := newHouse(t, impatient)
	command := h.do(h.arm())
	require.Equal(t, devices.Unknown, command.Outcome)
	o := h.order()
	require.Equal(t, devices.Unknown, h.read(o.CommandID).Outcome)
	h.done(o)
	require.Equal(t, devices.Done, h.read(o.CommandID).Outcome, "a late answer corrects the record")
	history, err := h.History(t.Context(), h.owner, h.site.ID, devices.HistoryQuery{Types: []devices.HistoryType{devices.HistorySecurity}})
	require.NoError(t, err)
	require.Len(t, history, 1)

	h.done(o)
	again, err := h.History(t.Context(), h.owner, h.site.ID, devices.HistoryQuery{Types: []devices.HistoryType{devices.HistorySecurity}})
	require.NoError(t, err)
	require.Equal(t, history, again, "a repeated answer changes nothing")
	require.NoError(t, h.Acknowledge(t.Context(), o.UnitID, devices.Ack{CommandID: o.CommandID, Outcome: devices.Refused}))
	require.Equal(t, devices.Done, h.read(o.CommandID).Outcome, "the first answer stands")
}

func TestAnswersThatAreNotTheUnitsAreRejected(t *testing.T) {
	h := newHouse(t)
	site, err := h.AddSite(t.Context(), h.other.UserID, "Elsewhere", "UTC")
	require.NoError(t, err)
	stranger, _, foreign, err := h.AddUnit(t.Context(), site.ID, []devices.NewDevice{{Kind: devices.Socket, Label: "Lamp"}})
	require.NoError(t, err)
	answer := h.begin(h.arm())
	o := h.order()

	var rejected *devices.Rejected
	for name, try := range map[string]error{
		"another unit's command":         h.Acknowledge(t.Context(), stranger.ID, h.ack(o)),
		"an unknown unit":                h.Acknowledge(t.Context(), "0123456789abcdef", h.ack(o)),
		"an unknown command":             h.Acknowledge(t.Context(), h.unit.ID, devices.Ack{CommandID: "019a0000-0000-7000-8000-000000000000", Outcome: devices.Done}),
		"an id that is none":             h.Acknowledge(t.Context(), h.unit.ID, devices.Ack{CommandID: "\x00\xff", Outcome: devices.Done}),
		"an outcome that is none":        h.Acknowledge(t.Context(), h.unit.ID, devices.Ack{CommandID: o.CommandID, Outcome: devices.Offline}),
		"an alarm state without a level": h.Acknowledge(t.Context(), h.unit.ID, devices.Ack{CommandID: o.CommandID, Outcome: devices.Done, State: &devices.StateReport{Sequence: 1, Readings: []byte(`{}`)}}),
		"a foreign device's state":       h.ReportState(t.Context(), h.unit.ID, devices.StateReport{DeviceID: foreign[0].ID, Sequence: 1, Readings: []byte(`{}`)}),
		"readings that are no object":    h.ReportState(t.Context(), h.unit.ID, devices.StateReport{DeviceID: h.socket.ID, Sequence: 1, Readings: []byte(`null`)}),
		"readings that are no text":      h.ReportState(t.Context(), h.unit.ID, devices.StateReport{DeviceID: h.socket.ID, Sequence: 1, Readings: []byte("{\"a\":\"\xff\"}")}),
		"readings that are too long":     h.ReportState(t.Context(), h.unit.ID, devices.StateReport{DeviceID: h.socket.ID, Sequence: 1, Readings: []byte(`{"a":"` + strings.Repeat("x", 5000) + `"}`)}),
		"a state without a sequence":     h.ReportState(t.Context(), h.unit.ID, devices.StateReport{DeviceID: h.socket.ID, Readings: []byte(`{}`)}),
		"an event of no type":            h.ReportEvent(t.Context(), h.unit.ID, devices.EventReport{ID: "1", Type: "party"}),
		"an event without an id":         h.ReportEvent(t.Context(), h.unit.ID, devices.EventReport{Type: devices.EventAlarm}),
		"a link without a session":       h.ReportLink(t.Context(), h.unit.ID, devices.LinkReport{Online: true, Clock: h.clock.Now()}),
		"a link without a clock":         h.ReportLink(t.Context(), h.unit.ID, devices.LinkReport{Online: true, Session: "s"}),
		"a link of an unknown unit":      h.ReportLink(t.Context(), "0123456789abcdef", devices.LinkReport{Online: true, Session: "s", Clock: h.clock.Now()}),
	} {
		require.ErrorAs(t, try, &rejected, name)
	}
	require.Equal(t, devices.Pending, h.read(o.CommandID).Outcome, "what is rejected changes nothing")
	h.done(o)
	require.Equal(t, devices.Done, (<-answer).Outcome)
}

func TestRepeatWithoutKeyJoinsWhileTheOutcomeIsOpen(t *testing.T) {
	t.Run("two at once are one order", func(t *testing.T) {
		h := newHouse(t)
		first, second := h.begin(h.open()), h.begin(h.open())
		o := h.order()
		h.intents(2)
		h.done(o)
		a, b := <-first, <-second
		require.NoError(t, errors.Join(a.err, b.err))
		require.Equal(t, a.ID, b.ID)
		require.Equal(t, devices.Done, a.Outcome)
		require.Equal(t, devices.Done, b.Outcome)
		h.nothingSent()
	})
	t.Run("a retry after silence waits for the first order's answer", func(t *testing.T) {
		h := newHouse(t, func(o *devices.Options) { o.Wait = time.Second })
		require.Equal(t, devices.Unknown, h.do(h.open()).Outcome)
		o := h.order()
		h.clock.Advance(59 * time.Second)
		retry := h.begin(h.open())
		h.intents(2)
		h.nothingSent()
		h.done(o)
		got := <-retry
		require.Equal(t, devices.Done, got.Outcome)
		require.Equal(t, o.CommandID, got.ID)
	})
	t.Run("but not after a minute", func(t *testing.T) {
		h := newHouse(t, impatient)
		h.do(h.open())
		first := h.order()
		h.clock.Advance(61 * time.Second)
		h.do(h.open())
		require.NotEqual(t, first.CommandID, h.order().CommandID)
	})
	t.Run("nor once it is done", func(t *testing.T) {
		h := newHouse(t)
		for range 2 {
			answer := h.begin(h.open())
			h.done(h.order())
			require.Equal(t, devices.Done, (<-answer).Outcome)
		}
	})
	t.Run("nor another person's or another application's", func(t *testing.T) {
		h := newHouse(t, impatient)
		h.do(h.open())
		h.order()
		elsewhere := h.owner
		elsewhere.ClientID = "another"
		_, err := h.Execute(t.Context(), elsewhere, h.open())
		require.NoError(t, err)
		h.order()
	})
	t.Run("nor when the client has asked for something else since", func(t *testing.T) {
		h := newHouse(t, impatient)
		closing := h.open()
		closing.Operation = "close"
		var operations []string
		for _, r := range []devices.Request{h.open(), closing, h.open()} {
			h.do(r)
			operations = append(operations, h.order().Operation)
		}
		require.Equal(t, []string{"open", "close", "open"}, operations)
	})
}

func TestIdempotencyKeyMakesARepeatHarmless(t *testing.T) {
	h := newHouse(t)
	keyed := h.open()
	keyed.Key = "k1"
	answer := h.begin(keyed)
	h.done(h.order())
	first := <-answer
	require.Equal(t, devices.Done, first.Outcome)

	h.clock.Advance(23 * time.Hour)
	again := h.do(keyed)
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, devices.Done, again.Outcome)
	h.nothingSent()

	other := keyed
	other.Operation = "close"
	_, err := h.Execute(t.Context(), h.owner, other)
	require.Equal(t, devices.KeyReuse, refusal(t, err))
	for _, bad := range []string{"a b", "é", "\x00", strings.Repeat("k", 256)} {
		r := keyed
		r.Key = bad
		_, err := h.Execute(t.Context(), h.owner, r)
		require.Equal(t, devices.BadKey, refusal(t, err), bad)
	}
	h.nothingSent()

	h.clock.Advance(2 * time.Hour)
	answer = h.begin(keyed)
	o := h.order()
	require.NotEqual(t, first.ID, o.CommandID, "after 24 h the key is free")
	h.done(o)
	<-answer

	t.Run("is free again if nothing was sent", func(t *testing.T) {
		h.offline("s1")
		r := h.open()
		r.Key = "k2"
		require.Equal(t, devices.Offline, h.do(r).Outcome)
		h.online("s2", 0)
		answer := h.begin(r)
		h.done(h.order())
		require.Equal(t, devices.Done, (<-answer).Outcome)
	})
}

func TestCommandsToOneDeviceAreSentInTheOrderOfAcceptance(t *testing.T) {
	h := newHouse(t, func(o *devices.Options) { o.LaneDepth = 64 })
	var answers []<-chan answer
	for i := range 40 {
		r := h.open()
		r.Key = fmt.Sprint("k", i)
		answers = append(answers, h.begin(r))
	}
	var orders []devices.Order
	for range answers {
		orders = append(orders, h.order())
	}
	sent := make([]string, len(orders))
	for i, o := range orders {
		sent[i] = o.CommandID
	}
	byAcceptance := slices.Clone(sent)
	slices.Sort(byAcceptance) // the IDs are UUIDs of version 7: they sort by time
	require.Equal(t, byAcceptance, sent)
	for _, o := range orders {
		h.done(o)
	}
	for _, a := range answers {
		require.Equal(t, devices.Done, (<-a).Outcome)
	}
}

func TestALaneThatIsFullRefuses(t *testing.T) {
	h := newHouse(t, func(o *devices.Options) { o.LaneDepth = 2 })
	var answers []<-chan answer
	for _, operation := range []string{"open", "close"} {
		r := h.open()
		r.Operation = operation
		answers = append(answers, h.begin(r))
	}
	first, second := h.order(), h.order()
	r := h.open()
	r.Operation = "my"
	_, err := h.Execute(t.Context(), h.owner, r)
	require.Equal(t, devices.LaneFull, refusal(t, err))
	h.nothingSent()

	armed := h.begin(h.arm())
	h.done(h.order())
	require.Equal(t, devices.Done, (<-armed).Outcome, "another device's lane is not full")

	h.done(first)
	h.done(second)
	for _, a := range answers {
		require.Equal(t, devices.Done, (<-a).Outcome)
	}
	last := h.begin(r)
	h.done(h.order())
	require.Equal(t, devices.Done, (<-last).Outcome, "the lane is free again")
}

func TestAcceptedCommandOutlivesItsClient(t *testing.T) {
	h := newHouse(t)
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := h.Execute(ctx, h.owner, h.open())
		gone <- err
	}()
	o := h.order()
	hangUp()
	require.ErrorIs(t, <-gone, context.Canceled)
	h.done(o)
	require.Equal(t, devices.Done, h.read(o.CommandID).Outcome)
	require.NoError(t, h.Drain(t.Context()))
}

func TestAsyncAnswersAtOnceAndDrainWaits(t *testing.T) {
	h := newHouse(t)
	r := h.open()
	r.Async = true
	command := h.do(r)
	require.Equal(t, devices.Pending, command.Outcome)

	expired, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.Drain(expired), context.DeadlineExceeded, "an accepted command is not left behind")
	h.done(h.order())
	require.NoError(t, h.Drain(t.Context()))
	require.Equal(t, devices.Done, h.read(command.ID).Outcome)
}

func TestOrderCarriesItsExpiryInTheUnitsClock(t *testing.T) {
	h := newHouse(t)
	ahead := 3 * time.Minute
	h.online("s2", ahead)
	for operation, life := range map[string]time.Duration{"armed": 30 * time.Second, "disarmed": 10 * time.Second} {
		r := h.arm()
		r.Operation = operation
		answer := h.begin(r)
		o := h.order()
		require.Equal(t, h.clock.Now().Add(ahead), o.Issued)
		require.Equal(t, h.clock.Now().Add(ahead).Add(life), o.Expires)
		h.done(o)
		<-answer
	}
	t.Run("but a link that the broker kept tells no clock", func(t *testing.T) {
		require.NoError(t, h.ReportLink(t.Context(), h.unit.ID, devices.LinkReport{Online: true, Session: "s3", Clock: h.clock.Now().Add(-time.Hour), Retained: true}))
		answer := h.begin(h.open())
		o := h.order()
		require.Equal(t, h.clock.Now().Add(ahead), o.Issued)
		h.done(o)
		<-answer
	})
}

func TestALastWillThatComesLateChangesNothing(t *testing.T) {
	h := newHouse(t)
	h.online("s2", 0)
	h.offline("s1")
	n, err := h.Online(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	h.offline("s2")
	n, err = h.Online(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

// purse is a Budget that a test fills.
type purse struct {
	mu   sync.Mutex
	left map[devices.Kind]int
}

const purseWait = 7 * time.Second

func (p *purse) Spend(_ context.Context, _ devices.Caller, kind devices.Kind) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left[kind] == 0 {
		return purseWait
	}
	p.left[kind]--
	return 0
}

func (p *purse) Return(_ context.Context, _ devices.Caller, kind devices.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left[kind]++
}

func (p *purse) has(kind devices.Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left[kind]
}

func TestACommandIsSpentFromTheBudgetOfItsKind(t *testing.T) {
	p := &purse{left: map[devices.Kind]int{devices.Shutter: 1, devices.Security: 1}}
	h := newHouse(t, func(o *devices.Options) { o.Budget = p })
	for _, r := range []devices.Request{h.open(), h.arm()} {
		answer := h.begin(r)
		h.done(h.order())
		require.Equal(t, devices.Done, (<-answer).Outcome)
		_, err := h.Execute(t.Context(), h.owner, r)
		require.Equal(t, devices.BudgetSpent, refusal(t, err))
		var refused *devices.Refusal
		require.ErrorAs(t, err, &refused)
		require.Equal(t, purseWait, refused.RetryAfter)
	}
	h.nothingSent()
}

func TestWhatIsNoNewCommandCostsNothing(t *testing.T) {
	p := &purse{left: map[devices.Kind]int{devices.Shutter: 10}}
	h := newHouse(t, func(o *devices.Options) { o.Budget, o.LaneDepth = p, 2 })
	first := h.begin(h.open())
	order := h.order()
	require.Equal(t, 9, p.has(devices.Shutter))
	joined := h.begin(h.open())
	h.intents(2)
	require.Eventually(t, func() bool { return p.has(devices.Shutter) == 9 }, 5*time.Second, time.Millisecond, "a repeat joins for nothing")
	_, err := h.Execute(t.Context(), h.owner, h.open())
	require.Equal(t, devices.LaneFull, refusal(t, err))
	require.Equal(t, 9, p.has(devices.Shutter), "a full lane")
	h.done(order)
	require.Equal(t, devices.Done, (<-first).Outcome)
	require.Equal(t, devices.Done, (<-joined).Outcome)

	keyed := h.open()
	keyed.Key = "k"
	for range 3 {
		answer := h.begin(keyed)
		select {
		case o := <-h.sent:
			h.done(o)
			<-answer
		case <-answer:
		}
		require.Equal(t, 8, p.has(devices.Shutter), "a repeat by its key")
	}
	keyed.Operation = "close"
	_, err = h.Execute(t.Context(), h.owner, keyed)
	require.Equal(t, devices.KeyReuse, refusal(t, err))
	_, err = h.Execute(t.Context(), h.other, h.open())
	require.Equal(t, devices.NoSuch, refusal(t, err))
	require.Equal(t, 8, p.has(devices.Shutter), "a refusal")
}

func TestForeignAndUnknownAreTheSame(t *testing.T) {
	h := newHouse(t)
	unknown := h.site.ID + 1000
	for name, try := range map[string]func(site int64) error{
		"devices": func(s int64) error {
			_, err := h.Devices(t.Context(), h.other, listOf(t, devices.Socket), s)
			return err
		},
		"security": func(s int64) error { _, err := h.SecurityLevel(t.Context(), h.other, s); return err },
		"history": func(s int64) error {
			_, err := h.History(t.Context(), h.other, s, devices.HistoryQuery{})
			return err
		},
		"command": func(s int64) error {
			_, err := h.Execute(t.Context(), h.other, devices.Request{SiteID: s, DeviceID: h.shutter.ID, Kind: devices.Shutter, Operation: "open"})
			return err
		},
		"record": func(s int64) error {
			_, err := h.Command(t.Context(), h.other, s, "019a0000-0000-7000-8000-000000000000")
			return err
		},
	} {
		foreign, absent := try(h.site.ID), try(unknown)
		require.Equal(t, devices.NoSuch, refusal(t, foreign), name)
		require.Equal(t, absent, foreign, name)
	}
	sites, err := h.Sites(t.Context(), h.other)
	require.NoError(t, err)
	require.Empty(t, sites)
	h.nothingSent()

	wrong := h.open()
	wrong.DeviceID = h.socket.ID
	_, err = h.Execute(t.Context(), h.owner, wrong)
	require.Equal(t, devices.NoSuch, refusal(t, err), "a socket is no shutter")
}

func TestSweepEndsWhatADeadBridgeLeftPending(t *testing.T) {
	h := newHouse(t, func(o *devices.Options) { o.Wait = time.Hour })
	r := h.open()
	r.Async = true
	command := h.do(r)
	o := h.order()
	next := devices.New(devices.Options{Store: h.store, Now: h.clock.Now, Logger: slog.New(slog.DiscardHandler), Wait: 8 * time.Second, LaneDepth: 4})
	require.NoError(t, next.Sweep(t.Context()))
	require.Equal(t, devices.Pending, h.read(command.ID).Outcome, "another bridge may still be waiting for it")
	h.clock.Advance(time.Minute)
	require.NoError(t, next.Sweep(t.Context()))
	require.Equal(t, devices.Unknown, h.read(command.ID).Outcome)
	require.NoError(t, next.Acknowledge(t.Context(), h.unit.ID, h.ack(o)))
	require.Equal(t, devices.Done, h.read(command.ID).Outcome)
	require.NoError(t, h.Acknowledge(t.Context(), h.unit.ID, h.ack(o)))
	require.NoError(t, h.Drain(t.Context()))
}

func TestUnitIsKnownByItsSecret(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		username, password string
		ok                 bool
	}{
		"right":            {h.unit.ID, h.secret, true},
		"wrong secret":     {h.unit.ID, h.secret + "0", false},
		"empty secret":     {h.unit.ID, "", false},
		"unknown unit":     {"0123456789abcdef", h.secret, false},
		"not a unit's id":  {"' or 1=1 --\x00", h.secret, false},
		"upper case of it": {strings.ToUpper(h.unit.ID) + "", h.secret, strings.ToUpper(h.unit.ID) == h.unit.ID},
	} {
		_, ok, err := h.AuthenticateUnit(t.Context(), c.username, c.password)
		require.NoError(t, err, name)
		require.Equal(t, c.ok, ok, name)
	}
}

func TestUnitIsGivenAnotherSecret(t *testing.T) {
	h := newHouse(t)
	secret, err := h.ReplaceSecret(t.Context(), h.unit.ID)
	require.NoError(t, err)
	for given, want := range map[string]bool{secret: true, h.secret: false} {
		_, ok, err := h.AuthenticateUnit(t.Context(), h.unit.ID, given)
		require.NoError(t, err)
		require.Equal(t, want, ok)
	}
	replaced, err := h.Replaced(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Equal(t, []devices.Replacement{{UnitID: h.unit.ID, At: h.clock.Now()}}, replaced)
	for _, id := range []string{"0123456789abcdef", "", "nobody"} {
		_, err = h.ReplaceSecret(t.Context(), id)
		var wrong *devices.FieldError
		require.ErrorAs(t, err, &wrong, id)
	}
	h.clock.Advance(time.Minute)
	replaced, err = h.Replaced(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Empty(t, replaced)
}

func TestLabelsAreSeenWhole(t *testing.T) {
	h := newHouse(t)
	for name, label := range map[string]string{
		"nothing": " ", "too long": strings.Repeat("é", 101), "no text": "\xff", "two lines": "a\nb",
		"read backwards": "\u202eemoH", "a zero width space": "Ho\u200bme", "a Hangul filler": "\u3164",
	} {
		_, err := h.AddSite(t.Context(), h.owner.UserID, label, "UTC")
		var wrong *devices.FieldError
		require.ErrorAs(t, err, &wrong, name)
		require.Equal(t, "label", wrong.Field, name)
	}
}

func TestEventsAreInTheHistoryOnce(t *testing.T) {
	h := newHouse(t)
	e := devices.EventReport{ID: "e1", Type: devices.EventAlarm, Time: h.clock.Now().Add(time.Hour), Text: "Front\u2028 door\x07 \u202eop\u200bened\u2069\u2029"}
	for range 2 {
		require.NoError(t, h.ReportEvent(t.Context(), h.unit.ID, e))
	}
	history, err := h.History(t.Context(), h.owner, h.site.ID, devices.HistoryQuery{Types: []devices.HistoryType{devices.HistoryAlarm}})
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.Equal(t, "Front door opened", history[0].Label)
	require.Equal(t, h.clock.Now(), history[0].CreatedAt, "nothing that was reported lies in the future")
}

func TestCatalogueIsWhole(t *testing.T) {
	paths := map[string]bool{}
	for _, row := range devices.Catalogue() {
		require.False(t, paths[row.Path], "two rows have the path %s", row.Path)
		paths[row.Path] = true
		for _, kind := range row.Kinds() {
			thing, known := devices.ThingOf(kind)
			require.True(t, known || kind == devices.Camera, "%s is about a %s", row.Path, kind)
			for _, f := range row.Fields {
				_, says := thing.Reading(f.Reading)
				require.True(t, says || row.Action == devices.ListDevices, "a %s says %s", kind, f.Reading)
			}
			for reading, value := range row.Sets {
				text, err := json.Marshal(map[string]any{"level": "armed", "mode": "off", reading: value})
				require.NoError(t, err)
				values, err := thing.Values(text)
				require.NoError(t, err, "%s leads to what a %s can say", row.Path, kind)
				require.NotNil(t, values[reading])
			}
		}
		if row.Action != devices.Operate {
			continue
		}
		require.True(t, strings.HasSuffix(row.Path, "/"+row.Operation), "%s ends in its operation", row.Path)
		require.Positive(t, row.Expiry, "%s expires", row.Path)
		require.LessOrEqual(t, row.Since, devices.CatalogueVersion)
		require.Contains(t, devices.HistoryTypes(), row.Type, "%s leaves a history entry", row.Path)
		for _, language := range devices.Languages() {
			require.Contains(t, row.Label.In(language), "{who}", row.Path)
			require.NotEmpty(t, row.Tried.In(language), row.Path)
		}
		require.NotEmpty(t, row.Sets, "%s leads to something", row.Path)
		for _, kind := range row.Kinds() {
			found, known := devices.OperationOf(kind, row.Operation)
			require.True(t, known)
			require.Equal(t, row, found)
		}
	}
	count := func(is func(devices.Row) bool) (n int) {
		for _, row := range devices.Catalogue() {
			if is(row) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 15, count(func(r devices.Row) bool { return r.Legacy }), "the names of old")
	// Of the 57 operations of the contract, one has three rows (the levels) and one has two
	// (the protocols); the undocumented list and our own record come on top.
	require.Equal(t, 57+2+1+2, count(func(r devices.Row) bool { return !r.Legacy }))
}
