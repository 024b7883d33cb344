package oauthhttp

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func length(t require.TestingT, s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return n
}

func TestChartHoldsAllItsBarsAndItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		daily := rapid.Bool().Draw(t, "daily")
		limit := rapid.IntRange(0, 2_000).Draw(t, "limit")
		var slots []slot
		from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		for i := range rapid.IntRange(0, 40).Draw(t, "bars") {
			tokens := rapid.IntRange(0, 100_000).Draw(t, "tokens")
			slots = append(slots, slot{from.Add(time.Duration(i) * time.Hour), tokens, rapid.IntRange(0, tokens).Draw(t, "wasteful")})
		}
		c := newChart("c", "chart.from", slots, daily, limit)
		require.Len(t, c.Bars, len(slots), "every slot has its bar")
		right := 0.0
		for _, b := range c.Bars {
			require.GreaterOrEqual(t, length(t, b.X), right, "bars do not overlap")
			right = length(t, b.X) + length(t, b.Width) - 0.11
			require.LessOrEqual(t, right, float64(chartWidth), "bars stay in the drawing")
			require.GreaterOrEqual(t, length(t, b.UsefulY), float64(chartTop)-0.1, "no bar leaves the scale")
			require.InDelta(t, chartBase, length(t, b.WastefulY)+length(t, b.WastefulHigh), 0.11, "wasteful tokens stand on the ground")
			require.InDelta(t, length(t, b.WastefulY), length(t, b.UsefulY)+length(t, b.UsefulHigh), 0.21, "the others stand upon them")
			require.Equal(t, b.Tokens, b.Useful+b.Wasteful)
		}
		if limit > 0 {
			require.Greater(t, length(t, c.LimitY), float64(chartTop)-0.1, "the limit is in the drawing")
			require.LessOrEqual(t, length(t, c.LimitY), float64(chartBase))
		} else {
			require.Empty(t, c.LimitY)
		}
		top := c.Ticks[len(c.Ticks)-1].Value
		require.Zero(t, top%2, "the scale can be halved")
	})
}

func TestChartTableTellsTheBarsInWhichSomethingWasIssued(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := newChart("c", "chart.from", []slot{{from, 3, 1}, {from.Add(time.Hour), 0, 0}, {from.Add(2 * time.Hour), 5, 5}}, false, 20)
	told := c.Told()
	require.Len(t, told, 2)
	require.Equal(t, 5, told[0].Tokens, "the newest first")
	require.Equal(t, 3, told[1].Tokens)
	require.Equal(t, slot{Tokens: 8, Wasteful: 6}, c.Sum())
}
