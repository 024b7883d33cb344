package devices

import (
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// Budget limits how often something may be done: Burst at once, and PerMinute in
// the long run. A zero Budget limits nothing.
type Budget struct {
	Burst     int
	PerMinute int
}

// spender is who a budget belongs to: one application, acting for one person.
type spender struct {
	userID   int64
	clientID string
}

// budgets holds the budget of each spender that was seen lately. One that is
// forgotten has its whole burst again, which it would have regained by then.
type budgets struct {
	limit   Budget
	buckets *otter.Cache[spender, *rate.Limiter]
}

const budgetsKept = 100_000

func newBudgets(b Budget) *budgets {
	if b == (Budget{}) {
		return &budgets{}
	}
	refill := time.Duration(b.Burst) * time.Minute / time.Duration(b.PerMinute)
	return &budgets{limit: b, buckets: otter.Must(&otter.Options[spender, *rate.Limiter]{
		MaximumSize:      budgetsKept,
		ExpiryCalculator: otter.ExpiryAccessing[spender, *rate.Limiter](refill),
	})}
}

// spend takes one from the spender's budget and returns zero, or takes nothing and
// returns how long until there is one.
func (b *budgets) spend(who spender, now time.Time) time.Duration {
	if b.buckets == nil {
		return 0
	}
	bucket, _ := b.buckets.ComputeIfAbsent(who, func() (*rate.Limiter, bool) {
		return rate.NewLimiter(rate.Limit(float64(b.limit.PerMinute)/60), b.limit.Burst), false
	})
	r := bucket.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait
	}
	return 0
}
