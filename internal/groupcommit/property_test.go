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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
					id:      last.Add(1),
					key:     rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"),
					does:    rapid.SampledFrom(behaviours()).Draw(t, "does"),
					batched: s.batch != nil && rapid.Bool().Draw(t, "batched"),
					leave:   time.Duration(rapid.SampledFrom([]int{0, 0, 0, -1, 50, 500, 2000}).Draw(t, "leave after (us)")) * time.Microsecond,
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

// behaviour is what a writer does: it runs its statements, with its id for %d, and
// then its end, if it has one.
type behaviour struct {
	name       string
	statements []string
	end        func() error
	succeeds   bool
	inserts    bool
}

func behaviours() []behaviour {
	const own, taken = "INSERT INTO rows (id) VALUES (%d)", "INSERT INTO rows (id) VALUES (%d - %[1]d)"
	fail := func() error { return errFail }
	insert := behaviour{"insert", []string{own}, nil, true, true}
	return []behaviour{
		insert, insert, insert,
		{"insert and update", []string{own, "UPDATE rows SET parent = 0 WHERE id = %d"}, nil, true, true},
		{"read", []string{"SELECT id FROM rows WHERE id = %d"}, nil, true, false},
		{"nothing", nil, nil, true, false},
		{"fail", []string{own}, fail, false, false},
		{"fail at once", nil, fail, false, false},
		{"panic", []string{own}, func() error { panic(errFail) }, false, false},
		{"be refused", []string{own, taken}, nil, false, false},
		{"not parse", []string{own, "INSART %d"}, nil, false, false},
		{"spoil the commit", []string{own, "UPDATE rows SET parent = -1 WHERE id = %d"}, nil, false, false},
	}
}

var errFail = errors.New("fail")

type writer struct {
	id      int64
	key     string
	does    behaviour
	batched bool
	leave   time.Duration // when the caller leaves; before it came if negative, never if 0

	err error
}

func (w *writer) write(ctx context.Context, s subject) error {
	if w.leave != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.leave)
		defer cancel()
	}
	if w.batched {
		return s.batch(ctx, w.key, w.batch())
	}
	return s.write(ctx, w.key, func(_ context.Context, exec func(string) error) error {
		for _, sql := range w.does.statements {
			if err := exec(fmt.Sprintf(sql, w.id)); err != nil {
				return err
			}
		}
		if w.does.end != nil {
			return w.does.end()
		}
		return nil
	})
}

func (w *writer) batch() *pgx.Batch {
	b := &pgx.Batch{}
	for _, sql := range w.does.statements {
		b.Queue(fmt.Sprintf(sql, w.id))
	}
	if w.does.end != nil {
		b.Queue("SELECT 1").Exec(func(pgconn.CommandTag) error { return w.does.end() })
	}
	return b
}

func (w *writer) check(t *rapid.T, there bool) {
	switch {
	case errors.Is(w.err, groupcommit.ErrUncertain) && errors.Is(w.err, context.DeadlineExceeded):
		if there && !w.does.inserts {
			t.Fatalf("%d is there, but it was to %s", w.id, w.does.name)
		}
	case errors.Is(w.err, context.DeadlineExceeded):
		if there {
			t.Fatalf("%d is there, but was told %v", w.id, w.err)
		}
	case there != w.does.inserts || (w.err == nil) != w.does.succeeds:
		t.Fatalf("%d was to %s: there %v, error %v", w.id, w.does.name, there, w.err)
	}
}
