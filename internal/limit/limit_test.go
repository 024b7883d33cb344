package limit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
)

// clock stands still until it is moved.
type clock struct{ micro int64 }

func newClock() *clock {
	return &clock{time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).UnixMicro()}
}

func (c *clock) Now() time.Time          { return time.UnixMicro(c.micro).UTC() }
func (c *clock) Advance(d time.Duration) { c.micro += d.Microseconds() }

// onEach runs a test on each kind of store. Each call of open gives one more process
// on the same database; in memory there is one.
func onEach(t *testing.T, test func(t *testing.T, c *clock, open func() Store)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		m := NewMemory(1000, c.Now)
		t.Cleanup(m.Close)
		test(t, c, func() Store { return m })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		dsn := database(t)
		c := newClock()
		test(t, c, func() Store { return openOn(t, dsn, c) })
	})
}

func database(t *testing.T) string {
	t.Helper()
	dsn := migrationstest.PostgresDSN(t)
	db, err := migrations.Open(migrations.Postgres, dsn)
	require.NoError(t, err)
	require.NoError(t, migrations.Apply(t.Context(), db, migrations.Postgres))
	require.NoError(t, db.Close())
	return dsn
}

func openOn(t *testing.T, dsn string, c *clock) *Postgres {
	t.Helper()
	s, err := OpenPostgres(t.Context(), dsn, 10*time.Second)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	if c != nil {
		s.now = &c.micro
	}
	return s
}

// history is the rule in its plain form: a request is permitted if, counting from any
// permitted one before it, there were no more than the quota and what has come back
// since.
type history struct {
	p         Policy
	permitted []int64 // times
}

func (h *history) charge(now int64) bool {
	for i, since := range h.permitted {
		count := int64(len(h.permitted) - i + 1)
		if (count-int64(h.p.Quota))*h.p.interval() > now-since {
			return false
		}
	}
	h.permitted = append(h.permitted, now)
	return true
}

// Requests in any order and at any time are permitted exactly when the plain rule
// permits them, and what a state says comes true.
func TestChargesFollowTheRule(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, c *clock, open func() Store) {
		s, ctx, run := open(), t.Context(), 0
		rapid.Check(t, func(t *rapid.T) {
			run++
			p := Policy{Name: "p", Quota: rapid.IntRange(1, 7).Draw(t, "quota"), Window: time.Duration(rapid.IntRange(1, 90).Draw(t, "window")) * time.Second}
			models := []*history{{p: p}, {p: p}}
			for range rapid.IntRange(1, 30).Draw(t, "steps") {
				if rapid.Bool().Draw(t, "pause") {
					c.Advance(time.Duration(rapid.Int64Range(0, 2*p.interval()).Draw(t, "us")) * time.Microsecond)
				}
				who := rapid.IntRange(0, 1).Draw(t, "who")
				key := fmt.Sprint(run, "/", who)
				before, err := s.Peek(ctx, p, key)
				require.NoError(t, err)
				got, err := s.Charge(ctx, p, key)
				require.NoError(t, err)
				permitted := models[who].charge(c.micro)
				require.Equal(t, permitted, got.Wait == 0)
				require.Equal(t, permitted, before.Remaining > 0)
				after, err := s.Peek(ctx, p, key)
				require.NoError(t, err)
				require.Equal(t, State{Policy: p, Remaining: got.Remaining, Reset: got.Reset}, after)
				if permitted {
					require.Equal(t, before.Remaining-1, got.Remaining)
					continue
				}
				require.Zero(t, got.Remaining)
				require.Equal(t, before, after, "a refusal costs nothing")
			}
		})
	})
}

func TestWhatAStateSaysComesTrue(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, c *clock, open func() Store) {
		s, ctx, p := open(), t.Context(), Policy{Name: "p", Quota: 3, Window: 30 * time.Second}
		charge := func() State {
			t.Helper()
			got, err := s.Charge(ctx, p, "k")
			require.NoError(t, err)
			return got
		}
		require.Equal(t, State{Policy: p, Remaining: 2, Reset: 10 * time.Second}, charge())
		c.Advance(time.Second)
		require.Equal(t, State{Policy: p, Remaining: 1, Reset: 19 * time.Second}, charge())
		require.Equal(t, State{Policy: p, Reset: 29 * time.Second}, charge())
		refused := State{Policy: p, Reset: 29 * time.Second, Wait: 9 * time.Second}
		require.Equal(t, refused, charge())
		require.Equal(t, refused, charge(), "a refusal costs nothing")
		c.Advance(refused.Wait - time.Microsecond)
		require.Equal(t, time.Microsecond, charge().Wait)
		c.Advance(time.Microsecond)
		got := charge()
		require.Zero(t, got.Wait)
		c.Advance(got.Reset)
		full, err := s.Peek(ctx, p, "k")
		require.NoError(t, err)
		require.Equal(t, State{Policy: p, Remaining: 3}, full)
	})
}

func TestRefundGivesBackOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, _ *clock, open func() Store) {
		s, ctx, p := open(), t.Context(), Policy{Name: "p", Quota: 2, Window: 20 * time.Second}
		got, err := s.Refund(ctx, p, "k")
		require.NoError(t, err)
		require.Equal(t, State{Policy: p, Remaining: 2}, got, "nobody has more than the quota")
		for range 2 {
			_, err = s.Charge(ctx, p, "k")
			require.NoError(t, err)
		}
		got, err = s.Refund(ctx, p, "k")
		require.NoError(t, err)
		require.Equal(t, State{Policy: p, Remaining: 1, Reset: 10 * time.Second}, got)
		for _, wait := range []bool{false, true} {
			got, err = s.Charge(ctx, p, "k")
			require.NoError(t, err)
			require.Equal(t, wait, got.Wait > 0)
		}
	})
}

func TestKeysAndPoliciesAreApart(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, _ *clock, open func() Store) {
		s := open()
		for _, name := range []string{"p", "q"} {
			for _, key := range []string{"", "a", "b", "é 2001:db8::/64"} {
				got, err := s.Charge(t.Context(), Policy{Name: name, Quota: 1, Window: time.Minute}, key)
				require.NoError(t, err)
				require.Zero(t, got.Wait, "%s %q", name, key)
			}
		}
	})
}

// Of many who ask for the last request at once, one gets it, whichever process they
// ask.
func TestTheLastRequestHasOneTaker(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, _ *clock, open func() Store) {
		processes := []Store{open(), open()}
		p := Policy{Name: "p", Quota: 3, Window: time.Hour}
		for _, left := range []int{3, 1} { // a row that is not there yet, and one that is
			key := fmt.Sprint("left ", left)
			for range p.Quota - left {
				_, err := processes[0].Charge(t.Context(), p, key)
				require.NoError(t, err)
			}
			var permitted atomic.Int64
			var all sync.WaitGroup
			begin := make(chan struct{})
			for i := range 100 {
				all.Go(func() {
					<-begin
					got, err := processes[i%2].Charge(t.Context(), p, key)
					if err != nil {
						t.Error(err)
						return
					}
					if got.Wait == 0 {
						permitted.Add(1)
					}
				})
			}
			close(begin)
			all.Wait()
			require.EqualValues(t, left, permitted.Load())
		}
	})
}

// Processes that share a database share the state, and the server's clock.
func TestProcessesShareTheState(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	one, two := openOn(t, dsn, nil), openOn(t, dsn, nil)
	p := Policy{Name: "p", Quota: 2, Window: time.Hour}
	for i, s := range []Store{one, two, one} {
		got, err := s.Charge(t.Context(), p, "k")
		require.NoError(t, err)
		require.Equal(t, i == 2, got.Wait > 0)
		require.Positive(t, got.Reset)
		require.LessOrEqual(t, got.Reset, time.Hour)
	}
	got, err := two.Peek(t.Context(), p, "k")
	require.NoError(t, err)
	require.Zero(t, got.Remaining)
}

// What was written by a clock that has been set back is lost, and permits; a step that
// is shorter than the window is waited for.
func TestAClockThatIsSetBackLocksNobodyOut(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, c *clock, open func() Store) {
		s, ctx, p := open(), t.Context(), Policy{Name: "p", Quota: 2, Window: time.Minute}
		spend := func() State {
			for {
				got, err := s.Charge(ctx, p, "k")
				require.NoError(t, err)
				if got.Wait > 0 {
					return got
				}
			}
		}
		spend()
		c.Advance(-30 * time.Second)
		require.Equal(t, time.Minute, spend().Wait)
		c.Advance(-24 * time.Hour)
		got, err := s.Charge(ctx, p, "k")
		require.NoError(t, err)
		require.Equal(t, State{Policy: p, Remaining: 1, Reset: 30 * time.Second}, got)
	})
}

// size is how many keys are held.
func (m *Memory) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, callers := range m.callers {
		callers.CleanUp() // what is to go may be under way
		n += callers.EstimatedSize()
	}
	return n
}

// A flood of keys fills no memory, and pushes out nobody of another policy.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := NewMemory(100, c.Now)
	t.Cleanup(m.Close)
	api := Policy{Name: "api", Quota: 1, Window: time.Minute}
	address := Policy{Name: "address", Quota: 1, Window: time.Minute}
	_, err := m.Charge(t.Context(), api, "k")
	require.NoError(t, err)
	for i := range 20_000 {
		_, err := m.Charge(t.Context(), address, fmt.Sprint(i))
		require.NoError(t, err)
	}
	require.LessOrEqual(t, m.size(), 101)
	got, err := m.Charge(t.Context(), api, "k")
	require.NoError(t, err)
	require.Positive(t, got.Wait)
}

func TestSweepForgetsWhoHasNotAskedForLong(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := openOn(t, database(t), c)
	p := Policy{Name: "p", Quota: 1, Window: time.Minute}
	rows := func() (n int) {
		require.NoError(t, s.pool.QueryRow(t.Context(), "SELECT count(*) FROM limits").Scan(&n))
		return n
	}
	_, err := s.pool.Exec(t.Context(), "INSERT INTO limits (policy, key, until) SELECT 'p', 'old ' || i, $1 FROM generate_series(1, $2) i", c.micro, 2*sweepRows)
	require.NoError(t, err)
	c.Advance(20 * time.Minute)
	_, err = s.Charge(t.Context(), p, "new")
	require.NoError(t, err)
	require.NoError(t, s.Sweep(t.Context()))
	require.Equal(t, 1, rows())
	got, err := s.Charge(t.Context(), p, "new")
	require.NoError(t, err)
	require.Positive(t, got.Wait, "who still waits is not forgotten")
}

// troubled is a Store that can fail, or give no answer.
type troubled struct {
	Store
	asked    int
	fails    error
	isSilent bool
}

func (s *troubled) Charge(ctx context.Context, p Policy, key string) (State, error) {
	s.asked++
	if s.isSilent {
		<-ctx.Done()
		return State{}, ctx.Err()
	}
	if s.fails != nil {
		return State{}, s.fails
	}
	return s.Store.Charge(ctx, p, key)
}

func TestAStoreInTroublePermits(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]*troubled{
		"failing": {fails: errors.New("the database is gone")},
		"silent":  {isSilent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			trouble.Store = NewMemory(10, c.Now)
			var log bytes.Buffer
			unanswered := 0
			l := New(Options{
				Store: trouble, Now: c.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)), Timeout: time.Millisecond,
				Unanswered: func() { unanswered++ },
			})
			t.Cleanup(l.Close)
			p := Policy{Name: "p", Quota: 1, Window: time.Minute}
			charge := func() State { return l.Charge(t.Context(), p, "k") }
			for range 50 {
				require.Equal(t, State{Policy: p, Remaining: 1}, charge())
			}
			require.Equal(t, 50, unanswered)
			require.Equal(t, 1, trouble.asked, "it is left alone for a while, and nobody waits for it")
			c.Advance(rest)
			charge()
			require.Equal(t, 2, trouble.asked)
			require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
			c.Advance(logEvery)
			charge()
			require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())

			trouble.fails, trouble.isSilent = nil, false
			c.Advance(rest)
			require.Zero(t, charge().Wait)
			require.Positive(t, charge().Wait, "and then it counts again")
		})
	}
}

func TestADatabaseThatIsGonePermits(t *testing.T) {
	t.Parallel()
	s, err := OpenPostgres(t.Context(), "postgres://nobody@127.0.0.1:1/none", 10*time.Second)
	require.NoError(t, err)
	l := New(Options{Store: s, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Timeout: 10 * time.Second})
	t.Cleanup(l.Close)
	for range 10 {
		require.Zero(t, l.Charge(t.Context(), Policy{Name: "p", Quota: 1, Window: time.Minute}, "k").Wait)
	}
	_, err = OpenPostgres(t.Context(), "postgres://nobody:swordfish@127.0.0.1:port/none", time.Second)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "swordfish")
}

func TestACallerThatGoesAwayIsCounted(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := New(Options{Store: NewMemory(10, c.Now), Now: c.Now, Logger: slog.New(slog.DiscardHandler), Timeout: time.Second})
	t.Cleanup(l.Close)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := Policy{Name: "p", Quota: 1, Window: time.Minute}
	require.Zero(t, l.Charge(ctx, p, "k").Wait)
	require.Positive(t, l.Charge(ctx, p, "k").Wait)
}

func TestAPolicyThatIsOffPermitsAndIsNotShown(t *testing.T) {
	t.Parallel()
	l := New(Options{Store: &troubled{fails: errors.New("it is asked")}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	off := Policy{Name: "off", Window: time.Minute}
	require.True(t, off.Off())
	for _, ask := range []func(context.Context, Policy, string) State{l.Charge, l.Refund, l.Peek} {
		require.Equal(t, State{Policy: off}, ask(t.Context(), off, "k"))
	}
	policy, limit := Fields([]State{{Policy: off}})
	require.Empty(t, policy)
	require.Empty(t, limit)
}

func TestFieldsAreThoseOfTheDraft(t *testing.T) {
	t.Parallel()
	api, commands := Policy{"api", 600, time.Minute}, Policy{"commands", 120, time.Minute}
	policy, limit := Fields([]State{
		{Policy: api, Remaining: 599, Reset: 100 * time.Millisecond},
		{Policy: Policy{Name: "off"}},
		{Policy: commands, Remaining: 0, Reset: time.Minute, Wait: time.Second},
		{Policy: Policy{"wasted", 20, time.Hour}, Stays: true},
	})
	require.Equal(t, `"api";q=600;w=60, "commands";q=120;w=60, "wasted";q=20;w=3600`, policy)
	require.Equal(t, `"api";r=599;t=1, "commands";r=0;t=60, "wasted";r=0`, limit)
	policy, limit = Fields(nil)
	require.Empty(t, policy)
	require.Empty(t, limit)
}
