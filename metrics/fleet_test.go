package metrics_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/metrics"
)

// scrape gives the issuance series: tokens by client_id and grant, wasteful ones by
// client_id.
func scrape(t require.TestingT, r *prometheus.Registry) (issued map[[2]string]float64, wasteful map[string]float64) {
	issued, wasteful = make(map[[2]string]float64), make(map[string]float64)
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := func(name string) string {
				for _, l := range m.GetLabel() {
					if l.GetName() == name {
						return l.GetValue()
					}
				}
				return ""
			}
			switch f.GetName() {
			case "foxbridge_oauth_tokens_issued_total":
				issued[[2]string{label("client_id"), label("grant")}] = m.GetCounter().GetValue()
			case "foxbridge_oauth_wasteful_tokens_total":
				wasteful[label("client_id")] = m.GetCounter().GetValue()
			}
		}
	}
	return issued, wasteful
}

func bounded(t require.TestingT, series int) (*metrics.Metrics, *prometheus.Registry) {
	r := prometheus.NewPedanticRegistry()
	m, err := metrics.New(r, metrics.Options{Series: series})
	require.NoError(t, err)
	return m, r
}

// Whoever comes and goes: no series decreases from one scrape to the next, all of them
// together are all tokens, all but "former" grow by what was issued, and an
// application's own series never shows more than it was issued.
func TestIssuanceSeriesAreMonotonicAndComplete(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		series := rapid.IntRange(1, 4).Draw(t, "series")
		m, r := bounded(t, series)
		grants := rapid.SampledFrom([]string{"password", "refresh_token"})
		total, truth := make(map[string]float64), make(map[string]float64)
		var allWasteful, sinceScrape float64
		var before map[[2]string]float64
		var wastefulBefore map[string]float64
		look := func() {
			issued, wasteful := scrape(t, r)
			sum, ids := make(map[string]float64), make(map[string]bool)
			var wastefulSum, grown float64
			for k, n := range issued {
				sum[k[1]] += n
				ids[k[0]] = true
				if n < before[k] {
					t.Fatalf("%v fell from %v to %v", k, before[k], n)
				}
				if k[0] != "former" {
					grown += n - before[k]
				}
			}
			for id, n := range wasteful {
				wastefulSum += n
				ids[id] = true
				if n < wastefulBefore[id] {
					t.Fatalf("wasteful of %s fell", id)
				}
			}
			require.Equal(t, total, sum)
			require.InDelta(t, allWasteful, wastefulSum, 0)
			require.InDelta(t, sinceScrape, grown, 0)
			require.LessOrEqual(t, len(ids), series+2)
			for id := range ids {
				if id != "other" && id != "former" {
					require.LessOrEqual(t, issued[[2]string{id, "password"}]+issued[[2]string{id, "refresh_token"}], truth[id])
				}
			}
			before, wastefulBefore, sinceScrape = issued, wasteful, 0
		}
		burst := rapid.OneOf(rapid.IntRange(1, 3), rapid.IntRange(1, 60), rapid.IntRange(1, 600))
		var deletions [13]int
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.IntRange(0, 12).Draw(t, "client")
			if rapid.IntRange(0, 9).Draw(t, "deleted") == 0 {
				m.Deleted(fmt.Sprintf("c%d-%d", n, deletions[n]))
				deletions[n]++ // no id is given again
			}
			id := fmt.Sprintf("c%d-%d", n, deletions[n])
			grant, wasteful := grants.Draw(t, "grant"), rapid.Bool().Draw(t, "wasteful")
			for range burst.Draw(t, "tokens") {
				m.TokenIssued(id, grant, wasteful)
				total[grant]++
				truth[id]++
				sinceScrape++
				if wasteful {
					allWasteful++
				}
			}
			if rapid.Bool().Draw(t, "scrape") {
				look()
			}
		}
		look()
		look()
	})
}

// The busiest are named whatever the noise around them, also when they come late.
func TestBusiestApplicationsAreNamed(t *testing.T) {
	t.Parallel()
	m, r := bounded(t, 5)
	for n := range 5 {
		m.TokenIssued(fmt.Sprintf("early%d", n), "password", false) // they have the series first
	}
	for round := range 4000 {
		for n := range 5 {
			m.TokenIssued(fmt.Sprintf("busy%d", n), "refresh_token", n == 0)
		}
		m.TokenIssued(fmt.Sprintf("passer-by%d", round), "password", false)
		m.TokenIssued(fmt.Sprintf("passer-by%d", round+1_000_000), "password", false)
		if round%100 == 0 {
			scrape(t, r)
		}
	}
	issued, wasteful := scrape(t, r)
	for n := range 5 {
		require.Greater(t, issued[[2]string{fmt.Sprintf("busy%d", n), "refresh_token"}], 3000.0, n)
	}
	require.Greater(t, wasteful["busy0"], 3000.0)
	require.Equal(t, 5.0, issued[[2]string{"former", "password"}], "what the early ones had")

	// One that falls silent makes room for one that does not.
	for range 3000 {
		m.TokenIssued("late", "password", true)
	}
	scrape(t, r)
	m.TokenIssued("late", "password", true)
	issued, _ = scrape(t, r)
	require.Equal(t, 1.0, issued[[2]string{"late", "password"}], "it counts from where it was named")
}

// Applications that are deleted hold no places.
func TestDeletedApplicationsMakeRoom(t *testing.T) {
	t.Parallel()
	m, r := bounded(t, 2)
	for round := range 9 {
		id := fmt.Sprintf("brief%d", round)
		m.TokenIssued(id, "password", true)
		if round%2 == 0 {
			scrape(t, r)
		}
		m.TokenIssued(id, "password", false)
		m.Deleted(id)
	}
	m.Deleted("unknown")
	m.TokenIssued("here", "password", false)
	issued, wasteful := scrape(t, r)
	require.Equal(t, map[[2]string]float64{{"here", "password"}: 1, {"former", "password"}: 5, {"other", "password"}: 13}, issued)
	require.Equal(t, map[string]float64{"here": 0, "former": 5, "other": 4}, wasteful)
}

// Names that the collective series have are no application's.
func TestNobodyIsNamedAsTheRest(t *testing.T) {
	t.Parallel()
	m, r := bounded(t, 2)
	m.TokenIssued("other", "password", false)
	m.TokenIssued("former", "password", true)
	issued, wasteful := scrape(t, r)
	require.Equal(t, map[[2]string]float64{{"other", "password"}: 2}, issued)
	require.Equal(t, map[string]float64{"other": 1, "former": 0}, wasteful)
}

// A million client ids leave the series as they were, and the memory.
func TestAMillionClientsStayFlat(t *testing.T) { // not parallel: it measures memory
	m, r := bounded(t, 200)
	flood := func(n int, of string) {
		for i := range n {
			m.TokenIssued(fmt.Sprintf("%s%032x", of, i), "password", false)
			if i%10_000 == 0 {
				scrape(t, r)
			}
		}
	}
	heapInUse := func() int64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	flood(10_000, "a")
	first, _ := scrape(t, r)
	before := heapInUse()
	flood(1_000_000, "b")
	after := heapInUse()
	issued, wasteful := scrape(t, r)
	require.Len(t, issued, 201, "200 and other")
	require.Len(t, wasteful, 202)
	require.Len(t, first, 201)
	require.Less(t, after-before, int64(1<<20), "bytes")
	runtime.KeepAlive(m)
}
