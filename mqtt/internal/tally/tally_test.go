package tally_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/mqtt/internal/tally"
)

// page is a text that can be taken away while it is written.
type page struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.text.Reset()
	return strings.Split(strings.TrimSuffix(p.text.String(), "\n"), "\n")
}

func newLog() (*tally.Log, func() []string) {
	text := &page{}
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	log := tally.New(slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{ReplaceAttr: plain})))
	return log, text.take
}

func TestOneLineAtOnceAndOneAMinuteWithTheCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, lines := newLog()
		for n := range 1000 {
			log.Say(slog.LevelWarn, "a", "it rains", "n", n)
		}
		log.Say(slog.LevelInfo, "b", "it snows")
		require.Equal(t, []string{`level=WARN msg="it rains" n=0`, `level=INFO msg="it snows"`}, lines())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{`level=WARN msg="it rains" n=999 more=999`}, lines())
		log.Say(slog.LevelWarn, "a", "it rains", "n", "late")
		require.Equal(t, []string{""}, lines(), "the next minute has begun")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{`level=WARN msg="it rains" n=late more=1`}, lines())
		time.Sleep(time.Minute)
		synctest.Wait()
		log.Say(slog.LevelWarn, "a", "it rains", "n", "again")
		require.Equal(t, []string{`level=WARN msg="it rains" n=again`}, lines(), "at once after a quiet minute")
		log.Close()
	})
}

func TestCloseTellsTheCount(t *testing.T) {
	t.Parallel()
	log, lines := newLog()
	for range 3 {
		log.Say(slog.LevelWarn, "a", "it rains")
	}
	lines()
	log.Close()
	require.Equal(t, []string{`level=WARN msg="it rains" more=2`}, lines())
	log.Say(slog.LevelWarn, "a", "it rains")
	require.Equal(t, []string{`level=WARN msg="it rains"`}, lines())
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	log, lines := newLog()
	for n := range 10_000 {
		log.Say(slog.LevelWarn, fmt.Sprint(n), "it rains")
	}
	require.Len(t, lines(), 257)
	log.Close()
	require.Equal(t, []string{`level=WARN msg="it rains" more=9743`}, lines())
}
