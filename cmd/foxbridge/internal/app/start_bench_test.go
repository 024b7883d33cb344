package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a start costs that has nothing to do but to make its parts: the database is
// there already.
func BenchmarkNew(b *testing.B) {
	cfg := settings(b)
	cfg.LogLevel = "error"
	for b.Loop() {
		a, _, err := newBridge(b, cfg)
		require.NoError(b, err)
		require.NoError(b, a.Stop(b.Context()))
	}
}
