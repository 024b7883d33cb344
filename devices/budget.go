package devices

import (
	"context"
	"time"
)

// Budget limits how often an application may command for a person. What the alarm
// costs and what everything else costs are two budgets: neither spends the other. Its
// methods may be called concurrently, and return soon.
type Budget interface {
	// Spend takes one command of this kind from the caller's budget and returns zero, or
	// takes nothing and returns how long until there is one.
	Spend(ctx context.Context, c Caller, kind Kind) time.Duration
	// Return gives back what Spend took: no new command came of it.
	Return(ctx context.Context, c Caller, kind Kind)
}

func (s *Service) spend(ctx context.Context, c Caller, kind Kind) error {
	if wait := s.budget.Spend(ctx, c, kind); wait > 0 {
		return &Refusal{Code: BudgetSpent, Text: "The application sends too many commands", RetryAfter: wait}
	}
	return nil
}

// unlimited is the Budget of a Service that has none.
type unlimited struct{}

func (unlimited) Spend(context.Context, Caller, Kind) time.Duration { return 0 }
func (unlimited) Return(context.Context, Caller, Kind)              {}
