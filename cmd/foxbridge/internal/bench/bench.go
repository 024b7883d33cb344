// Package bench measures work beside the least code that does it, in turns in one run:
// the times of a shared machine prove nothing, their ratio does.
package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// Do does a piece of work once, for one of the callers, which are numbered from 0. A
// caller does one thing at a time.
type Do func(ctx context.Context, caller int) error

// Pair is work and its floor.
type Pair struct {
	Name  string // what is done, in a few words
	Least string // what the floor does
	Work  Do
	Floor Do
}

// Options say how much is measured. All are required.
type Options struct {
	Callers int           // at the same time
	Rounds  int           // of each, work and floor taking turns
	Round   time.Duration // of one turn
}

// Spread is a median with the quartiles around it.
type Spread struct {
	Low    float64 `json:"low"`
	Median float64 `json:"median"`
	High   float64 `json:"high"`
}

// Result is what was measured of a Pair.
type Result struct {
	Name      string        `json:"name"`
	Least     string        `json:"floor"`
	Rate      float64       `json:"per_second"`       // of the work, the median of the rounds
	FloorRate float64       `json:"floor_per_second"` // the same of the floor
	Ratio     Spread        `json:"ratio"`            // of the two, round by round
	Median    time.Duration `json:"median_ns"`        // how long the work took
	Slow      time.Duration `json:"slow_ns"`          // 99 of 100 took no longer
	Done      int           `json:"done"`             // how often the work was done
	FloorDone int           `json:"floor_done"`
}

// Run measures p. Both are done for one turn before anything counts, which fills caches
// and opens connections. The first error of either ends it.
func Run(ctx context.Context, p Pair, o Options) (Result, error) {
	work, floor := turn{p.Name, p.Work, o}, turn{p.Name + ", its floor", p.Floor, o}
	for _, t := range []turn{work, floor} {
		if _, err := t.take(ctx); err != nil {
			return Result{}, err
		}
	}
	var workRates, floorRates, ratios []float64
	var took []time.Duration
	r := Result{Name: p.Name, Least: p.Least}
	for range o.Rounds {
		worked, err := work.take(ctx)
		if err != nil {
			return Result{}, err
		}
		least, err := floor.take(ctx)
		if err != nil {
			return Result{}, err
		}
		workRates, floorRates = append(workRates, worked.rate()), append(floorRates, least.rate())
		ratios = append(ratios, worked.rate()/least.rate())
		took = append(took, worked.each...)
		r.Done += len(worked.each)
		r.FloorDone += len(least.each)
	}
	slices.Sort(took)
	r.Rate, r.FloorRate = spread(workRates).Median, spread(floorRates).Median
	r.Ratio = spread(ratios)
	r.Median, r.Slow = took[len(took)/2], took[len(took)*99/100]
	return r, nil
}

// turn is what the callers do at the same time until the time of a round is over.
type turn struct {
	name string
	do   Do
	o    Options
}

// taken is what came of a turn.
type taken struct {
	lasted time.Duration
	each   []time.Duration
}

func (t taken) rate() float64 { return float64(len(t.each)) / t.lasted.Seconds() }

// take lets every caller begin until the round is over, and waits for what was begun.
func (t turn) take(ctx context.Context) (taken, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	times := make([][]time.Duration, t.o.Callers)
	began := time.Now()
	var callers sync.WaitGroup
	for caller := range t.o.Callers {
		callers.Go(func() {
			for ctx.Err() == nil && (len(times[caller]) == 0 || time.Since(began) < t.o.Round) {
				start := time.Now()
				if err := t.do(ctx, caller); err != nil {
					fail(fmt.Errorf("%s: %w", t.name, err))
					return
				}
				times[caller] = append(times[caller], time.Since(start))
			}
		})
	}
	callers.Wait()
	if err := context.Cause(ctx); err != nil {
		return taken{}, err
	}
	return taken{time.Since(began), slices.Concat(times...)}, nil
}

// spread gives the quartiles of values, of which there is one at least.
func spread(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	at := func(part float64) float64 {
		i, rest := math.Modf(part * float64(len(sorted)-1))
		low, high := sorted[int(i)], sorted[min(int(i)+1, len(sorted)-1)]
		return low + (high-low)*rest
	}
	return Spread{Low: at(0.25), Median: at(0.5), High: at(0.75)}
}
