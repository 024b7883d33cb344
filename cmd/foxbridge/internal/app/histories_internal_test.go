package app

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

// chronicle keeps what it is told, each ID once, as the histories of homes do.
type chronicle struct {
	mu    sync.Mutex
	calls int
	told  map[string]devices.ApplicationEvent // of site 1, by ID
	fail  error
}

func (c *chronicle) report(_ context.Context, r devices.ApplicationReport) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.fail != nil {
		return c.fail
	}
	c.told[r.ID] = r.In(1)
	return nil
}

// dying is a record that a bridge cannot write to any more.
type dying struct {
	connectionBook
	dead bool
}

func (d *dying) EventTold(ctx context.Context, e oauth.ConnectionEvent) error {
	if d.dead {
		return errors.New("the bridge is dead")
	}
	return d.connectionBook.EventTold(ctx, e)
}

func TestAnEventThatWasToldButNotNotedIsToldAgainUnderItsID(t *testing.T) {
	r := onSQLite(t)
	r.asks(1)
	book, c := &dying{connectionBook: r.service, dead: true}, &chronicle{told: map[string]devices.ApplicationEvent{}}
	h := histories{book: book, report: c.report, outages: newOutages(r.logger, time.Now, func() {}), log: r.logger}
	h.tellAll(t.Context())
	h.tellAll(t.Context()) // it is leased
	require.Equal(t, 1, c.calls)
	book.dead = false
	r.advance(eventLease)
	c.fail = errors.New("no history")
	h.tellAll(t.Context())
	require.Equal(t, 2, c.calls)
	c.fail = nil
	r.advance(eventLease)
	h.tellAll(t.Context())
	require.Equal(t, 3, c.calls)
	require.Len(t, c.told, 1)
	for _, event := range c.told {
		require.Equal(t, devices.ApplicationConnected, event)
	}
	r.advance(eventLease)
	h.tellAll(t.Context())
	require.Equal(t, 3, c.calls, "it is noted")
}

// What waits when the process stops is told before it does.
func TestTheHistoriesAreDrainedAtTheEnd(t *testing.T) {
	r := onSQLite(t)
	c := &chronicle{told: map[string]devices.ApplicationEvent{}}
	h := histories{book: r.service, report: c.report, outages: newOutages(r.logger, time.Now, func() {}), log: r.logger}
	quit, wake, done := make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
	r.asks(1)
	close(quit)
	go func() {
		defer close(done)
		h.run(t.Context(), quit, wake)
	}()
	<-done
	require.Len(t, c.told, 1)
}

func TestARulingIsToldInTheHomesOfThoseWhomItConcerns(t *testing.T) {
	r := onSQLite(t)
	c := &chronicle{told: map[string]devices.ApplicationEvent{}}
	h := histories{book: r.service, report: c.report, outages: newOutages(r.logger, time.Now, func() {}), log: r.logger}
	r.asks(1)
	r.advance(time.Minute)
	for range 2 {
		for _, actor := range []oauth.Actor{oauth.ByAlert, oauth.ByOperator} {
			_, err := r.service.SwitchOff(t.Context(), r.client.ID, actor, "", "reason")
			require.NoError(t, err)
			_, err = r.service.Reactivate(t.Context(), r.client.ID, actor, "", "")
			require.NoError(t, err)
			r.advance(time.Minute)
		}
		_, err := r.service.Disconnect(t.Context(), r.client.OwnerID, r.client.ID, netip.Addr{})
		require.NoError(t, err) // the second round concerns nobody
		r.advance(time.Minute)
	}
	r.teller(r.service, oauth.ChannelHistory, h.ruled).pass(t.Context())
	var got []devices.ApplicationEvent
	for _, event := range c.told {
		got = append(got, event)
	}
	require.ElementsMatch(t, []devices.ApplicationEvent{
		devices.ApplicationOffByAlert, devices.ApplicationOnByOperator, devices.ApplicationOffByOperator, devices.ApplicationOnByOperator,
	}, got)
}

func TestWhatAnEventIsToASite(t *testing.T) {
	read, both := oauth.NewScope("gate.read"), oauth.NewScope("gate.read", "gate.operate")
	consent := oauth.ConnectionEvent{Kind: oauth.Connected, Cause: oauth.CausePerson, Scope: both}
	ended := func(cause oauth.Cause) oauth.ConnectionEvent {
		return oauth.ConnectionEvent{Kind: oauth.Disconnected, Cause: cause}
	}
	elsewhere := consent
	elsewhere.Sites = []int64{2}
	for name, test := range map[string]struct {
		event  oauth.ConnectionEvent
		beside []oauth.Allowed
		want   devices.ApplicationEvent
	}{
		"the first consent":               {consent, nil, devices.ApplicationConnected},
		"a consent for another site":      {elsewhere, nil, ""},
		"a consent after one elsewhere":   {consent, []oauth.Allowed{{Scope: both, Sites: []int64{2}}}, devices.ApplicationConnected},
		"a consent for more":              {consent, []oauth.Allowed{{Scope: read}}, devices.ApplicationChanged},
		"the same consent again":          {consent, []oauth.Allowed{{Scope: both, Sites: []int64{1}}}, ""},
		"an end":                          {ended(oauth.CausePerson), nil, devices.ApplicationDisconnected},
		"an end beside what goes on":      {ended(oauth.CauseApplication), []oauth.Allowed{{Scope: read, Sites: []int64{1, 2}}}, ""},
		"an end beside what is elsewhere": {ended(oauth.CauseApplication), []oauth.Allowed{{Scope: read, Sites: []int64{2}}}, devices.ApplicationGaveUp},
		"an end by reuse":                 {ended(oauth.CauseReuse), nil, devices.ApplicationMisused},
		"an end by deletion":              {ended(oauth.CauseDeletion), nil, devices.ApplicationDeleted},
		"an end with the password":        {ended(oauth.CausePassword), nil, devices.ApplicationPasswordChanged},
	} {
		require.Equal(t, test.want, became(test.event, test.beside, 1), name)
	}
}
