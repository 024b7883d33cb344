// Package limit counts what callers ask for against named policies, by the generic
// cell rate algorithm: a quota can be spent at once and comes back evenly over its
// window. What is kept of a caller is one time, in the memory of the process or in a
// PostgreSQL database that several processes share.
//
// A limit is there to keep a service well, so it never takes it down: when its state
// is lost, or cannot be had in time, the caller is permitted.
package limit

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Policy is a quota by its name.
type Policy struct {
	Name   string        // visible ASCII without quotes and backslashes: it goes into header fields
	Quota  int           // requests in a window, all of which may come at once; 0: no limit
	Window time.Duration // whole seconds, and a microsecond at least for each request of the quota
}

// Off reports whether the policy limits nothing.
func (p Policy) Off() bool { return p.Quota <= 0 }

// State is how a caller stands with a policy.
type State struct {
	Policy    Policy
	Remaining int           // requests that may come at once
	Reset     time.Duration // until the whole quota is there again; zero if it is
	Stays     bool          // it does not come back by itself, so there is no Reset
	// Wait is how long until one request is permitted, for a request that was refused;
	// zero for one that was permitted.
	Wait time.Duration
}

// Store keeps, for each policy and key, the time at which the whole quota is there
// again. No policy that it is given is Off. Its methods may be called concurrently,
// and each ends soon after its context does.
type Store interface {
	// Charge takes one request from the quota. Of concurrent calls as many are permitted
	// as the quota has left. One that is refused takes nothing.
	Charge(ctx context.Context, p Policy, key string) (State, error)
	// Refund gives one request back.
	Refund(ctx context.Context, p Policy, key string) (State, error)
	// Peek changes nothing.
	Peek(ctx context.Context, p Policy, key string) (State, error)
	// Sweep forgets callers whose whole quota is there again. It does a bounded amount
	// of work.
	Sweep(ctx context.Context) error
	// Close gives up what the store holds. It is not used any more.
	Close()
}

// Options are what a Limiter is made of. Store, Now and Logger are required.
type Options struct {
	Store  Store
	Now    func() time.Time
	Logger *slog.Logger
	// Timeout is how long one answer of the store is waited for.
	Timeout time.Duration
	// Unanswered is told of each request that was permitted because the store gave no
	// answer. It is called concurrently, and returns at once. Nil: nobody is told.
	Unanswered func()
}

// A store that gave no answer is left alone for a while, so that nobody waits for it;
// the log says so now and then.
const (
	rest     = time.Second
	logEvery = time.Minute
)

// Limiter asks a Store, and permits when that gives no answer. Its methods may be
// called concurrently.
type Limiter struct {
	opts   Options
	asleep atomic.Int64 // until then the store is not asked; microseconds since 1970
	silent atomic.Int64 // until then nothing more is logged
}

// New makes a Limiter. It closes the store when it is closed.
func New(o Options) *Limiter {
	if o.Unanswered == nil {
		o.Unanswered = func() {}
	}
	return &Limiter{opts: o}
}

// Charge takes one request from the quota that p gives to key. It is refused if the
// State has a Wait. A policy that is Off, and a store that gives no answer, permit.
func (l *Limiter) Charge(ctx context.Context, p Policy, key string) State {
	return l.ask(ctx, p, key, l.opts.Store.Charge)
}

// Refund gives one request back: what it was charged for did not take place.
func (l *Limiter) Refund(ctx context.Context, p Policy, key string) State {
	return l.ask(ctx, p, key, l.opts.Store.Refund)
}

// Peek tells how key stands with p, and changes nothing.
func (l *Limiter) Peek(ctx context.Context, p Policy, key string) State {
	return l.ask(ctx, p, key, l.opts.Store.Peek)
}

func (l *Limiter) ask(ctx context.Context, p Policy, key string, question func(context.Context, Policy, string) (State, error)) State {
	if p.Off() {
		return State{Policy: p}
	}
	if l.opts.Now().UnixMicro() < l.asleep.Load() {
		l.opts.Unanswered()
		return p.untouched()
	}
	// A caller that goes away is no failure of the store, and costs it no connection.
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.opts.Timeout)
	defer cancel()
	state, err := question(ask, p, key)
	if err != nil {
		l.opts.Unanswered()
		l.leaveAlone(ctx, p, err)
		return p.untouched()
	}
	return state
}

func (l *Limiter) leaveAlone(ctx context.Context, p Policy, err error) {
	now := l.opts.Now()
	l.asleep.Store(now.Add(rest).UnixMicro())
	silent := l.silent.Load()
	if now.UnixMicro() < silent || !l.silent.CompareAndSwap(silent, now.Add(logEvery).UnixMicro()) {
		return
	}
	l.opts.Logger.ErrorContext(ctx, "limits are not kept: their store gives no answer, and requests are permitted",
		"policy", p.Name, "err", err)
}

// Sweep lets the store forget callers whose whole quota is there again.
func (l *Limiter) Sweep(ctx context.Context) error { return l.opts.Store.Sweep(ctx) }

// Close closes the store. Nothing may be asked any more.
func (l *Limiter) Close() { l.opts.Store.Close() }

// Fields gives the values of the header fields RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10), with an item for each state: q is the
// quota and w its window in seconds, r what remains of it and t the seconds until all
// of it is there again, which is left out of what Stays. Policies that are Off are left out; of nothing else both are
// empty.
func Fields(states []State) (policy, limit string) {
	var policies, limits []string
	for _, s := range states {
		if s.Policy.Off() {
			continue
		}
		name := `"` + s.Policy.Name + `"`
		policies = append(policies, name+";q="+strconv.Itoa(s.Policy.Quota)+";w="+strconv.FormatInt(Seconds(s.Policy.Window), 10))
		state := name + ";r=" + strconv.Itoa(s.Remaining)
		if !s.Stays {
			state += ";t=" + strconv.FormatInt(Seconds(s.Reset), 10)
		}
		limits = append(limits, state)
	}
	return strings.Join(policies, ", "), strings.Join(limits, ", ")
}

// Seconds is a wait in whole seconds, never too few.
func Seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
