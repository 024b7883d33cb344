package limit

import (
	"context"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// Memory is a Store in the process. It holds a bounded number of keys for each
// policy, so that strangers cannot fill the memory, nor push out what is known of the
// callers of another policy. What is pushed out is forgotten, and so permitted.
type Memory struct {
	keys int
	now  func() time.Time

	mu      sync.Mutex
	callers map[string]*otter.Cache[string, int64] // by the name of the policy; see gcra.go
}

var _ Store = (*Memory)(nil)

// NewMemory makes a Memory that holds so many keys of each policy.
func NewMemory(keys int, now func() time.Time) *Memory {
	return &Memory{keys: keys, now: now, callers: map[string]*otter.Cache[string, int64]{}}
}

// Charge is as of Store. It never fails.
func (m *Memory) Charge(_ context.Context, p Policy, key string) (State, error) {
	var state State
	m.of(p).Compute(key, func(until int64, _ bool) (int64, otter.ComputeOp) {
		now := m.now().UnixMicro() // here, so that no charge of the key has an earlier one after it
		debt, permitted := p.charge(p.debt(until, now))
		if !permitted {
			state = p.refused(debt)
			return until, otter.CancelOp
		}
		state = p.state(debt)
		return now + debt, otter.WriteOp
	})
	return state, nil
}

// Refund is as of Store. It never fails.
func (m *Memory) Refund(_ context.Context, p Policy, key string) (State, error) {
	state := p.untouched()
	m.of(p).Compute(key, func(until int64, found bool) (int64, otter.ComputeOp) {
		if !found {
			return 0, otter.CancelOp
		}
		until -= p.interval()
		state = p.state(p.debt(until, m.now().UnixMicro()))
		return until, otter.WriteOp
	})
	return state, nil
}

// Peek is as of Store. It never fails.
func (m *Memory) Peek(_ context.Context, p Policy, key string) (State, error) {
	until, _ := m.of(p).GetIfPresent(key)
	return p.state(p.debt(until, m.now().UnixMicro())), nil
}

// Sweep does nothing: what has not changed for two windows goes by itself.
func (*Memory) Sweep(context.Context) error { return nil }

// Close ends the background work.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, callers := range m.callers {
		callers.StopAllGoroutines()
	}
}

// of gives the callers of a policy.
func (m *Memory) of(p Policy) *otter.Cache[string, int64] {
	m.mu.Lock()
	defer m.mu.Unlock()
	callers := m.callers[p.Name]
	if callers == nil {
		callers = otter.Must(&otter.Options[string, int64]{
			MaximumSize: m.keys, ExpiryCalculator: otter.ExpiryWriting[string, int64](2 * p.Window),
		})
		m.callers[p.Name] = callers
	}
	return callers
}
