package bench_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/bench"
)

func TestWorkAndFloorTakeTurns(t *testing.T) {
	t.Parallel()
	var works, floors atomic.Int64
	count := func(n *atomic.Int64) bench.Do {
		return func(context.Context, int) error { n.Add(1); return nil }
	}
	r, err := bench.Run(t.Context(), bench.Pair{Name: "work", Least: "nothing", Work: count(&works), Floor: count(&floors)},
		bench.Options{Callers: 3, Rounds: 4, Round: time.Nanosecond})
	require.NoError(t, err)
	// Every caller does it once in each turn at least, and the first turn does not count.
	require.EqualValues(t, 5*3, works.Load())
	require.EqualValues(t, 5*3, floors.Load())
	require.Equal(t, 4*3, r.Done)
	require.Equal(t, 4*3, r.FloorDone)
	require.Positive(t, r.Ratio.Low)
	require.LessOrEqual(t, r.Ratio.Low, r.Ratio.Median)
	require.LessOrEqual(t, r.Ratio.Median, r.Ratio.High)
	require.LessOrEqual(t, r.Median, r.Slow)
}

func TestTheFirstErrorEndsIt(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	fine := func(context.Context, int) error { return nil }
	fails := func(_ context.Context, caller int) error {
		if caller == 1 {
			return broken
		}
		return nil
	}
	for name, p := range map[string]bench.Pair{
		"work":            {Name: "work", Work: fails, Floor: fine},
		"work, its floor": {Name: "work", Work: fine, Floor: fails},
	} {
		_, err := bench.Run(t.Context(), p, bench.Options{Callers: 2, Rounds: 1, Round: time.Millisecond})
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, name+": ")
	}
}
