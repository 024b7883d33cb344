package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

// However much fails while the database gives no answer, the log has a line for its
// beginning, one a minute, and one for its end.
func TestOutageIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now, counted := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), 0
	o := newOutages(slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now }, func() { counted++ })
	lines := func(message string) int { return strings.Count(log.String(), `msg="`+message+`"`) }
	answer := errors.New("refused")
	watch := func() { o.watch(t.Context(), func(context.Context) error { return answer }) }

	require.False(t, o.is(t.Context(), errors.New("a fault")))
	watch()
	require.Empty(t, log.String())
	for i := range 100 {
		err := oauth.ErrUnavailable
		if i%2 == 1 {
			err = devices.ErrUnavailable
		}
		require.True(t, o.is(t.Context(), fmt.Errorf("find token: %w", err)))
	}
	require.Equal(t, 1, lines("database gives no answer"))
	now = now.Add(outageLogged)
	o.failed(t.Context(), slog.LevelError, "sweep failed", devices.ErrUnavailable)
	require.Equal(t, 2, lines("database gives no answer"))
	require.Contains(t, log.String(), "more=99 since=2026-11-22T10:00:00.000Z")
	require.Zero(t, lines("sweep failed"))
	require.Equal(t, 101, counted)

	now = now.Add(outageQuiet)
	watch()
	require.Zero(t, lines("database answers again"), "it does not")
	answer = nil
	watch()
	watch()
	require.Equal(t, 1, lines("database answers again"))
	require.Contains(t, log.String(), "after=1m0s")

	o.note(t.Context(), devices.ErrUnavailable) // soon again
	now = now.Add(outageQuiet)
	watch()
	require.Equal(t, 2, lines("database gives no answer"))
	require.Equal(t, 1, lines("database answers again"))
	o.failed(t.Context(), slog.LevelError, "sweep failed", errors.New("a fault"))
	require.Equal(t, 1, lines("sweep failed"))
}
