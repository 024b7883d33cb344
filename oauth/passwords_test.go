package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"
)

// weak are parameters that cost next to nothing.
func weak() argon2id.Params {
	return argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}
}

func newPasswords(t *testing.T, o PasswordOptions) *Passwords {
	t.Helper()
	if o.Params == (argon2id.Params{}) {
		o.Params = weak()
	}
	p, err := NewPasswords(o)
	require.NoError(t, err)
	return p
}

// occupy fills every worker of p until the test calls the function that it gives.
func occupy(t *testing.T, p *Passwords) (free func()) {
	t.Helper()
	var inside, gone sync.WaitGroup
	leave := make(chan struct{})
	for range cap(p.slots) {
		inside.Add(1)
		gone.Go(func() {
			_ = p.run(context.Background(), rand.Text(), func() error {
				inside.Done()
				<-leave
				return nil
			})
		})
	}
	inside.Wait()
	free = sync.OnceFunc(func() { close(leave); gone.Wait() })
	t.Cleanup(free)
	return free
}

func eventuallyWaiting(t *testing.T, p *Passwords, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return p.Stats().Waiting == n }, 10*time.Second, time.Millisecond)
}

func TestPasswordMatchesItsOwnHashOnly(t *testing.T) {
	t.Parallel()
	p := newPasswords(t, PasswordOptions{})
	hash, err := p.hash("correct horse")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=8,t=1,p=1$"), hash)

	for password, want := range map[string]bool{"correct horse": true, "correct horse ": false, "": false} {
		right, err := p.matches(password, hash)
		require.NoError(t, err)
		require.Equal(t, want, right, "%q", password)
	}
	_, err = p.matches("correct horse", "$2y$10$notargon")
	require.Error(t, err)
}

func TestDummyHashCostsWhatARealOneCosts(t *testing.T) {
	t.Parallel()
	p := newPasswords(t, PasswordOptions{})
	params, _, _, err := argon2id.DecodeHash(p.dummy)
	require.NoError(t, err)
	require.Equal(t, weak(), *params)
	right, err := p.matches("some password", p.dummy)
	require.NoError(t, err)
	require.False(t, right)
	require.NotEqual(t, p.dummy, newPasswords(t, PasswordOptions{}).dummy)
}

func TestDefaultsOfPasswords(t *testing.T) {
	t.Parallel()
	p, err := NewPasswords(PasswordOptions{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, p.Stats().Workers, 1)
	require.EqualValues(t, 64, p.queue)
	require.Contains(t, p.dummy, "$m=19456,t=2,p=1$")
}

func TestWrongPasswordOptionsAreNamed(t *testing.T) {
	t.Parallel()
	change := func(f func(*argon2id.Params)) PasswordOptions {
		o := PasswordOptions{Params: weak()}
		f(&o.Params)
		return o
	}
	for name, o := range map[string]PasswordOptions{
		"Workers":            {Workers: -1},
		"Queue":              {Queue: -1},
		"Params.Iterations":  change(func(p *argon2id.Params) { p.Iterations = 0 }),
		"Params.Parallelism": change(func(p *argon2id.Params) { p.Parallelism = 0 }),
		"Params.Memory":      change(func(p *argon2id.Params) { p.Memory = 7 }),
		"Params.SaltLength":  change(func(p *argon2id.Params) { p.SaltLength = 4 }),
		"Params.KeyLength":   change(func(p *argon2id.Params) { p.KeyLength = 8 }),
	} {
		_, err := NewPasswords(o)
		require.ErrorContains(t, err, name+" is ")
	}
}

func TestNoMoreThanTheWorkersRunAtOnce(t *testing.T) {
	t.Parallel()
	p := newPasswords(t, PasswordOptions{Workers: 2, Queue: 100})
	var (
		mu         sync.Mutex
		busy, most int
		all        sync.WaitGroup
	)
	for range 50 {
		all.Go(func() {
			err := p.run(context.Background(), rand.Text(), func() error {
				mu.Lock()
				busy++
				most = max(most, busy)
				mu.Unlock()
				_, err := p.hash("some password")
				mu.Lock()
				busy--
				mu.Unlock()
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, most, 2)
	require.Equal(t, PasswordStats{Workers: 2, Hashes: 50}, p.Stats())
}

func TestOneCallerHasAQuarterOfThePlacesAtTheMost(t *testing.T) {
	t.Parallel()
	p := newPasswords(t, PasswordOptions{Workers: 1, Queue: 15})
	free := occupy(t, p)
	waited := make(chan error, 4)
	for range 4 {
		go func() { waited <- p.run(context.Background(), "busy", func() error { return nil }) }()
	}
	eventuallyWaiting(t, p, 4)
	err := p.run(t.Context(), "busy", func() error { t.Error("ran beyond its share"); return nil })
	refusal, is := errors.AsType[*Error](err)
	require.True(t, is)
	require.Equal(t, CodeUnavailable, refusal.Code)
	go func() { waited <- p.run(context.Background(), "another", func() error { return nil }) }()
	eventuallyWaiting(t, p, 5)
	free()
	for range 5 {
		require.NoError(t, <-waited)
	}
	require.NoError(t, p.run(t.Context(), "busy", func() error { return nil }), "its places are free again")
}

func TestPastTheQueueItIsUnavailable(t *testing.T) {
	t.Parallel()
	p := newPasswords(t, PasswordOptions{Workers: 1, Queue: 2})
	free := occupy(t, p)
	waited := make(chan error, 2)
	for range 2 {
		go func() { waited <- p.run(context.Background(), rand.Text(), func() error { return nil }) }()
	}
	eventuallyWaiting(t, p, 2)
	require.Equal(t, PasswordStats{Workers: 1, Busy: 1, Waiting: 2}, p.Stats())

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := p.run(ctx, "", func() error { t.Error("ran past the queue"); return nil })
	refusal, ok := errors.AsType[*Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, CodeUnavailable, refusal.Code)
	require.GreaterOrEqual(t, refusal.RetryAfter, time.Second)

	free()
	require.NoError(t, <-waited)
	require.NoError(t, <-waited)
	require.Equal(t, 0, p.Stats().Waiting)
	require.Equal(t, 0, p.Stats().Busy)
}

func TestRetryAfterGrowsWithTheCostOfAHash(t *testing.T) {
	t.Parallel()
	var (
		mu  sync.Mutex
		now = time.Unix(1_700_000_000, 0)
	)
	p := newPasswords(t, PasswordOptions{Workers: 2, Queue: 64, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(500 * time.Millisecond) // which is what one hash takes, by this clock
		return now
	}})
	require.Equal(t, time.Second, p.wait(), "nothing is known yet")
	_, err := p.hash("some password")
	require.NoError(t, err)
	require.Equal(t, 17*time.Second, p.wait().Round(time.Second)) // 33 rounds of half a second
}

func TestACallerWhoseContextEndsLeavesTheQueue(t *testing.T) {
	t.Parallel()
	p := newPasswords(t, PasswordOptions{Workers: 1, Queue: 1})
	free := occupy(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() {
		waited <- p.run(ctx, "", func() error { t.Error("ran after its context ended"); return nil })
	}()
	eventuallyWaiting(t, p, 1)
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
	require.Equal(t, 0, p.Stats().Waiting)

	free()
	require.ErrorIs(t, p.run(ctx, "", func() error { t.Error("ran after its context ended"); return nil }), context.Canceled)
	require.NoError(t, p.run(t.Context(), "", func() error { return nil }), "the place is free again")
}

func TestAPanicFreesTheWorker(t *testing.T) {
	t.Parallel()
	p := newPasswords(t, PasswordOptions{Workers: 1})
	require.Panics(t, func() { _ = p.run(t.Context(), "", func() error { panic("boom") }) })
	require.Equal(t, 0, p.Stats().Busy)
}

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		password string
		problem  string
	}{
		"shortest":       {strings.Repeat("a", 8), ""},
		"longest":        {strings.Repeat("a", 1024), ""},
		"bytes count":    {"éééé", ""},
		"too short":      {strings.Repeat("a", 7), "has fewer than 8 bytes"},
		"empty":          {"", "has fewer than 8 bytes"},
		"too long":       {strings.Repeat("a", 1025), "has more than 1024 bytes"},
		"not UTF-8":      {"abcdefgh\xff", "is not valid UTF-8"},
		"NUL":            {"abcd\x00efgh", "holds a NUL"},
		"space is taken": {"        ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkPassword(c.password)
			if c.problem == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "password "+c.problem)
		})
	}
}

func TestAnOwnerHasOneShareHoweverManyApplications(t *testing.T) {
	t.Parallel()
	one := attempt{client: Client{ID: NewClientID(), OwnerID: 7}}
	other := attempt{client: Client{ID: NewClientID(), OwnerID: 7}}
	stranger := attempt{client: Client{ID: NewClientID(), OwnerID: 8}}
	require.Equal(t, one.who(), other.who())
	require.NotEqual(t, one.who(), stranger.who())
}
