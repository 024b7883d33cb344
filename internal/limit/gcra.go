package limit

import "time"

// The algorithm, in whole microseconds. A request costs an interval, and the debt of
// a caller, the time until its whole quota is there again, may not exceed the span of
// the quota. The time at which the debt ends is all that is stored.

// interval is the time in which one request comes back.
func (p Policy) interval() int64 { return max(1, p.Window.Microseconds()/int64(p.Quota)) }

// span is the debt of who has spent the whole quota.
func (p Policy) span() int64 { return p.interval() * int64(p.Quota) }

// debt is what a stored time means now. One that no request can have led to was
// written by a clock that has since been set back, and counts as lost: it would lock
// the caller out until the clock has caught up.
func (p Policy) debt(until, now int64) int64 {
	debt := until - now
	if debt < 0 || debt > 2*p.span() {
		return 0
	}
	return debt
}

// charge adds a request to a debt, and reports whether that is permitted.
func (p Policy) charge(debt int64) (int64, bool) {
	if debt+p.interval() > p.span() {
		return debt, false
	}
	return debt + p.interval(), true
}

// untouched is the state of a caller that was never seen.
func (p Policy) untouched() State { return p.state(0) }

// state is that of a caller with this debt.
func (p Policy) state(debt int64) State {
	return State{
		Policy:    p,
		Remaining: int(max(0, p.span()-debt) / p.interval()),
		Reset:     time.Duration(debt) * time.Microsecond,
	}
}

// refused is the state of a caller whose debt allows no request.
func (p Policy) refused(debt int64) State {
	s := p.state(debt)
	s.Wait = time.Duration(debt+p.interval()-p.span()) * time.Microsecond
	return s
}
