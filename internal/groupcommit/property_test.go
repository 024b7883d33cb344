package groupcommit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// Whatever callers do at the same time, the table holds exactly the rows of those
// who were told so, and maybe of those who gave up.
func TestTableHoldsWhatCallersWereTold(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		require.NoError(t, s.write(t.Context(), "", inserting(0)))
		var last atomic.Int64 // ids are used once, over all runs
		rapid.Check(t, func(t *rapid.T) {
			first := last.Load() + 1
			var writers []*writer
			for range rapid.IntRange(1, 40).Draw(t, "writers") {
				writers = append(writers, &writer{
					id:    last.Add(1),
					key:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"),
					does:  rapid.SampledFrom(behaviours()).Draw(t, "does"),
					leave: time.Duration(rapid.SampledFrom([]int{0, 0, 0, -1, 50, 500, 2000}).Draw(t, "leave after (us)")) * time.Microsecond,
				})
			}
			var group sync.WaitGroup
			for _, w := range writers {
				group.Go(func() { w.err = w.write(context.Background(), s) })
			}
			group.Wait()
			// A write that its caller gave up may still be under way; this one is behind it.
			if err := s.write(context.Background(), "z", inserting(last.Add(1))); err != nil {
				t.Fatal(err)
			}
			ids, err := s.read(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			ids = slices.DeleteFunc(ids, func(id int64) bool { return id < first })
			for _, w := range writers {
				w.check(t, slices.Contains(ids, w.id))
			}
		})
	})
}

type writer struct {
	id    int64
	key   string
	does  string
	leave time.Duration // when the caller leaves; before it came if negative, never if 0

	began atomic.Bool
	err   error
}

func behaviours() []string {
	return []string{
		"succeed", "succeed", "succeed", "succeed twice", "read only",
		"fail", "fail at once", "panic", "be refused", "not parse", "spoil the commit",
	}
}

func (w *writer) write(ctx context.Context, s subject) error {
	if w.leave != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.leave)
		defer cancel()
	}
	return s.write(ctx, w.key, func(_ context.Context, exec func(string) error) error {
		w.began.Store(true)
		if w.does == "fail at once" {
			return errFail
		}
		if w.does == "read only" {
			return exec("SELECT id FROM rows WHERE id = 0")
		}
		if err := exec(insert(w.id)); err != nil {
			return err
		}
		switch w.does {
		case "fail":
			return errFail
		case "panic":
			panic("fail")
		case "be refused":
			return exec(insert(0))
		case "not parse":
			return exec("INSART")
		case "spoil the commit":
			return exec(fmt.Sprintf("UPDATE rows SET parent = -1 WHERE id = %d", w.id))
		case "succeed twice":
			return exec(fmt.Sprintf("UPDATE rows SET parent = 0 WHERE id = %d", w.id))
		}
		return nil
	})
}

var errFail = errors.New("fail")

func (w *writer) check(t *rapid.T, there bool) {
	left := errors.Is(w.err, context.DeadlineExceeded)
	succeeds := w.does == "succeed" || w.does == "succeed twice"
	switch {
	case left && errors.Is(w.err, groupcommit.ErrUncertain):
		if there && !succeeds {
			t.Fatalf("%d is there, but it was to %s", w.id, w.does)
		}
	case left:
		if there || w.began.Load() {
			t.Fatalf("%d is there (%v) or began (%v), but was told %v", w.id, there, w.began.Load(), w.err)
		}
	case w.does == "read only":
		if w.err != nil || there {
			t.Fatalf("%d was to read only: there %v, error %v", w.id, there, w.err)
		}
	case there != succeeds || (w.err == nil) != succeeds:
		t.Fatalf("%d was to %s: there %v, error %v", w.id, w.does, there, w.err)
	}
}
