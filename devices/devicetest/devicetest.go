// Package devicetest holds the conformance suite of devices.Store: every promise
// that the interface makes, as a test that each implementation runs.
package devicetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/foxbridge/foxbridge/devices"
)

// Open gives an empty store, which ends with the test, and a function that adds a
// user whom sites and commands can refer to and returns the user's ID. No two calls
// of that function give the same name.
type Open func(t testing.TB) (store devices.Store, addUser func(name string) int64)

// Run checks that the stores of open keep every promise of devices.Store.
func Run(t *testing.T, open Open) {
	for name, suite := range map[string]func(*testing.T, *bench){
		"sites":      testSites,
		"units":      testUnits,
		"secrets":    testSecrets,
		"target":     testTarget,
		"accept":     testAccept,
		"keys":       testKeys,
		"joins":      testJoins,
		"command":    testCommand,
		"finish":     testFinish,
		"abandon":    testAbandon,
		"states":     testStates,
		"events":     testEvents,
		"links":      testLinks,
		"history":    testHistory,
		"purge":      testPurge,
		"text":       testText,
		"contexts":   testContexts,
		"concurrent": testConcurrent,

		"listing":               testListing,
		"sources":               testSources,
		"reports":               testReports,
		"measurements":          testMeasurements,
		"rollup":                testRollUp,
		"groups":                testGroups,
		"scenarios":             testScenarios,
		"occurrences":           testOccurrences,
		"triggers":              testTriggers,
		"households":            testHouseholds,
		"invitations withdrawn": testUninvite,
		"entries":               testEntries,
		"sweeps":                testSweeps,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, addUser := open(t)
			suite(t, newBench(addUser, store))
		})
	}
}

// RunShared checks the promises that hold between several stores, each with
// connections of its own, on one database: open gives at least two such stores.
func RunShared(t *testing.T, open func(t testing.TB) (stores []devices.Store, addUser func(name string) int64)) {
	stores, addUser := open(t)
	require.GreaterOrEqual(t, len(stores), 2)
	testConcurrent(t, newBench(addUser, stores...))
}

// noon is when everything in these tests happens. Each of its digits down to the
// microsecond counts.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 123456000, time.UTC)

// bench is a database with as many stores on it as the test is about, and makes
// houses in it.
type bench struct {
	stores  []devices.Store
	addUser func(name string) int64
	users   *atomic.Int64
}

func newBench(addUser func(name string) int64, stores ...devices.Store) *bench {
	return &bench{stores: stores, addUser: addUser, users: new(atomic.Int64)}
}

// user adds a user.
func (b *bench) user() int64 {
	return b.addUser(fmt.Sprintf("user-%d@example.org", b.users.Add(1)))
}

// house is a site with its owner, a unit, two sockets and a shutter.
type house struct {
	devices.Store
	owner   int64
	site    int64
	unit    string
	socket  int64
	other   int64 // another socket
	shutter int64
}

// emptySite makes a site that has no unit.
func (b *bench) emptySite(t testing.TB) house {
	t.Helper()
	store, owner := b.stores[0], b.user()
	id, err := store.AddSite(t.Context(), devices.Site{Label: "Maison", Timezone: "Europe/Paris", Language: devices.French, CreatedAt: noon}, owner)
	require.NoError(t, err)
	return house{Store: store, owner: owner, site: id}
}

// house makes a house.
func (b *bench) house(t testing.TB) house {
	t.Helper()
	h := b.emptySite(t)
	h.unit = newUnitID()
	added, err := h.AddUnit(t.Context(), newUnit(h.unit, h.site), []devices.Device{
		newDevice(devices.Socket, "Lampe"), newDevice(devices.Socket, "Cafetière"), newDevice(devices.Shutter, "Volet"),
	})
	require.NoError(t, err)
	require.Len(t, added, 3)
	h.socket, h.other, h.shutter = added[0].ID, added[1].ID, added[2].ID
	return h
}

// command gives a pending command of the owner at noon that nobody has given yet.
func (h house) command(device int64, kind devices.Kind, operation string) devices.Command {
	return devices.Command{
		ID: newCommandID(), SiteID: h.site, UnitID: h.unit, DeviceID: device, Kind: kind, Operation: operation,
		UserID: h.owner, ClientID: "app", AcceptedAt: noon, ExpiresAt: noon.Add(time.Minute),
		Outcome: devices.Pending, Label: "Lampe allumée par Zoé (script)", Failure: "Zoé (script) n’a pas pu allumer Lampe", Language: devices.French,
	}
}

func (h house) switchOn() devices.Command  { return h.command(h.socket, devices.Socket, "on") }
func (h house) switchOff() devices.Command { return h.command(h.socket, devices.Socket, "off") }

// intent wraps a command as a bridge does: a key lives a day, and a repeat joins
// within a minute.
func intent(c devices.Command, key *[32]byte) devices.Intent {
	return devices.Intent{
		Command: c, Key: key,
		KeySince: c.AcceptedAt.Add(-24 * time.Hour), JoinSince: c.AcceptedAt.Add(-time.Minute),
	}
}

// accept accepts a command that must be new, and returns it.
func (h house) accept(t testing.TB, c devices.Command, key *[32]byte) devices.Command {
	t.Helper()
	accepted, err := h.Accept(t.Context(), intent(c, key))
	require.NoError(t, err)
	require.True(t, accepted.New, "command must be new")
	return accepted.Command
}

// finish gives a command's outcome as the unit's answer does.
func finish(c devices.Command, outcome devices.Outcome) devices.Finish {
	return devices.Finish{
		CommandID: c.ID, UnitID: c.UnitID, From: []devices.Outcome{devices.Pending, devices.Unknown},
		Outcome: outcome, Now: c.AcceptedAt.Add(2 * time.Second),
	}
}

// end writes a command's outcome, which must succeed.
func (h house) end(t testing.TB, c devices.Command, outcome devices.Outcome) devices.Command {
	t.Helper()
	ended, err := h.Finish(t.Context(), finish(c, outcome))
	require.NoError(t, err)
	return ended
}

// all reads the whole history of the house, in ascending order.
func (h house) all(t testing.TB) []devices.Entry {
	t.Helper()
	entries, err := h.History(t.Context(), h.site, devices.HistoryFilter{
		From: noon.AddDate(-1, 0, 0), To: noon.AddDate(1, 0, 0), Ascending: true, Limit: 1000,
	})
	require.NoError(t, err)
	return entries
}

func newUnit(id string, site int64) devices.Unit {
	return devices.Unit{ID: id, SiteID: site, SecretHash: [32]byte{1, 31: 255}, CreatedAt: noon}
}

func newDevice(kind devices.Kind, label string) devices.Device {
	return devices.Device{Kind: kind, Label: label, ModelID: 7, ModelLabel: "Modèle " + label, CreatedAt: noon}
}

func newUnitID() string {
	id := uuid.New()
	return fmt.Sprintf("%x", id[:8])
}

func newCommandID() string { return uuid.Must(uuid.NewV7()).String() }

func newKey() *[32]byte {
	var key [32]byte
	id := uuid.New()
	copy(key[:], id[:])
	return &key
}

func state(device, sequence int64, readings string) devices.State {
	return devices.State{DeviceID: device, Sequence: sequence, Time: noon.Add(time.Second), Readings: json.RawMessage(readings)}
}

func entry(kind devices.HistoryType, label string, at time.Time) devices.Entry {
	return devices.Entry{Type: kind, Label: label, CreatedAt: at}
}

// same requires that got is want, and that its times are in UTC.
func same[T any](t testing.TB, want, got T) {
	t.Helper()
	require.Empty(t, cmp.Diff(want, got), "(-want +got)")
}

func inUTC(t testing.TB, times ...time.Time) {
	t.Helper()
	for _, at := range times {
		require.Equal(t, time.UTC, at.Location())
	}
}

// together calls fn n times at once, and requires that none of the calls fails.
func together(t testing.TB, n int, fn func(ctx context.Context, i int) error) {
	t.Helper()
	start := make(chan struct{})
	calls, ctx := errgroup.WithContext(t.Context())
	for i := range n {
		calls.Go(func() error {
			<-start
			return fn(ctx, i)
		})
	}
	close(start)
	require.NoError(t, calls.Wait())
}

// noEntry leaves the history alone.
func noEntry(devices.Command) *devices.Entry { return nil }
