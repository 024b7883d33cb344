package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/bench"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
)

func TestBenchMeasuresBesideAFloor(t *testing.T) {
	t.Parallel()
	quick := []string{"bench", "--callers", "2", "--rounds", "2", "--round", "1ms"}
	code, stdout, stderr := execute(t, "", append(quick, "--json")...)
	require.Equal(t, exitOK, code, stderr)
	var results []bench.Result
	require.NoError(t, json.Unmarshal([]byte(stdout), &results))
	require.Len(t, results, 4)
	for _, r := range results {
		require.GreaterOrEqual(t, r.Done, 4, r.Name)
		require.GreaterOrEqual(t, r.FloorDone, 4, r.Name)
		require.Positive(t, r.Ratio.Median, r.Name)
	}

	code, stdout, stderr = execute(t, "", quick...)
	require.Equal(t, exitOK, code, stderr)
	require.Regexp(t, `(?m)^\| a socket is switched \| \d+ \| \S+ \| \S+ \| a message by MQTT and its answer \| \d+ \| [\d.]+ \| [\d.]+ to [\d.]+ \|$`, stdout)
}

func TestBenchOnPostgreSQLWantsAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	quick := []string{"bench", "--callers", "2", "--rounds", "1", "--round", "1ms", "--database-url", migrationstest.PostgresDSN(t)}
	code, _, stderr := execute(t, "", quick...)
	require.Equal(t, exitOK, code, stderr)
	code, stdout, stderr := execute(t, "", quick...)
	require.Equal(t, exitFail, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "somebody has an account in this database")
}
