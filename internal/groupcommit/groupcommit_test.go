package groupcommit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// subject is a database with a table, spoken to in SQL that both dialects have.
type subject struct {
	write   func(ctx context.Context, key string, fn function) error
	batch   func(ctx context.Context, key string, b *pgx.Batch) error // nil if there is none
	read    func(ctx context.Context) ([]int64, error)                // the ids in the table, in order
	waiting func() int
	hurry   func(timeout, grace time.Duration)
	close   func() error
	largest int
	sizes   *recorder
}

// function is a caller's: ctx is the one it receives, and exec runs a statement.
type function func(ctx context.Context, exec func(sql string) error) error

// The table. Its last column lets a commit fail that no statement before it did.
const schema = `CREATE TABLE rows (
	id     bigint NOT NULL PRIMARY KEY,
	parent bigint REFERENCES rows (id) DEFERRABLE INITIALLY DEFERRED
)`

func insert(id int64) string { return fmt.Sprintf("INSERT INTO rows (id) VALUES (%d)", id) }

// inserting is a function that inserts one row.
func inserting(id int64) function {
	return func(_ context.Context, exec func(string) error) error { return exec(insert(id)) }
}

func openSQLite(t *testing.T) subject {
	t.Helper()
	sizes := &recorder{}
	db, err := groupcommit.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "test.db"), sizes.observe)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return prepared(t, subject{
		write: func(ctx context.Context, key string, fn function) error {
			return db.Write(ctx, key, func(ctx context.Context, tx *sql.Tx) error {
				return fn(ctx, func(sql string) error {
					_, err := tx.ExecContext(ctx, sql)
					return err
				})
			})
		},
		read: func(ctx context.Context) (ids []int64, err error) {
			rows, err := db.Read().QueryContext(ctx, "SELECT id FROM rows ORDER BY id LIMIT 100000")
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			for rows.Next() {
				var id int64
				if err := rows.Scan(&id); err != nil {
					return nil, err
				}
				ids = append(ids, id)
			}
			return ids, rows.Err()
		},
		waiting: db.Waiting, hurry: db.Hurry, close: db.Close,
		largest: groupcommit.LargestSQLite, sizes: sizes,
	})
}

func openPostgres(t *testing.T) subject {
	t.Helper()
	sizes := &recorder{}
	db, err := groupcommit.OpenPostgres(t.Context(), migrationstest.PostgresDSN(t), sizes.observe)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return prepared(t, subject{
		write: func(ctx context.Context, key string, fn function) error {
			return db.Write(ctx, key, func(ctx context.Context, tx pgx.Tx) error {
				return fn(ctx, func(sql string) error {
					_, err := tx.Exec(ctx, sql)
					return err
				})
			})
		},
		batch: func(ctx context.Context, key string, b *pgx.Batch) error { return db.WriteBatch(ctx, key, b) },
		read: func(ctx context.Context) ([]int64, error) {
			rows, _ := db.Read().Query(ctx, "SELECT id FROM rows ORDER BY id LIMIT 100000")
			return pgx.CollectRows(rows, pgx.RowTo[int64])
		},
		waiting: db.Waiting, hurry: db.Hurry, close: db.Close,
		largest: groupcommit.LargestPostgres, sizes: sizes,
	})
}

func prepared(t *testing.T, s subject) subject {
	t.Helper()
	require.NoError(t, s.write(t.Context(), "", func(_ context.Context, exec func(string) error) error {
		return exec(schema)
	}))
	s.sizes.reset()
	return s
}

// onBoth runs test on both databases.
func onBoth(t *testing.T, test func(t *testing.T, s subject)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, openSQLite(t)) })
	t.Run("Postgres", func(t *testing.T) { t.Parallel(); test(t, openPostgres(t)) })
}

// recorder keeps what an Observe is told.
type recorder struct {
	mu      sync.Mutex
	sizes   []int
	longest time.Duration
}

func (r *recorder) observe(size int, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sizes = append(r.sizes, size)
	r.longest = max(r.longest, wait)
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sizes, r.longest = nil, 0
}

func (r *recorder) seen() ([]int, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sizes), r.longest
}

// hold keeps the committer busy with a write until release is called; what is
// written meanwhile goes into one transaction after it.
func (s subject) hold(t *testing.T) (release func()) {
	t.Helper()
	held, let, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.write(context.WithoutCancel(t.Context()), "", func(context.Context, func(string) error) error {
			close(held)
			<-let
			return errors.New("held")
		})
	}()
	<-held
	return sync.OnceFunc(func() {
		close(let)
		require.EqualError(t, <-done, "held")
	})
}

// start begins a write and returns when it is in the queue, where n writes wait.
func (s subject) start(t *testing.T, ctx context.Context, n int, key string, fn function) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.write(ctx, key, fn) }()
	s.await(t, n)
	return done
}

func (s subject) await(t *testing.T, n int) {
	t.Helper()
	await(t, s.waiting, n)
}

func (s subject) rows(t *testing.T) []int64 {
	t.Helper()
	ids, err := s.read(t.Context())
	require.NoError(t, err)
	return ids
}

func TestWriteIsReadableWhenItReturns(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		require.NoError(t, s.write(t.Context(), "a", inserting(1)))
		require.Equal(t, []int64{1}, s.rows(t))
		sizes, wait := s.sizes.seen()
		require.Equal(t, []int{1}, sizes)
		require.Positive(t, wait)
	})
}

func TestWritesThatWaitShareOneCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		var done []<-chan error
		for id := range int64(20) {
			done = append(done, s.start(t, t.Context(), int(id)+1, "a", inserting(id)))
		}
		release()
		for _, d := range done {
			require.NoError(t, <-d)
		}
		require.Len(t, s.rows(t), 20)
		sizes, _ := s.sizes.seen()
		require.Equal(t, []int{20}, sizes)
	})
}

func TestTransactionHasBoundedSize(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		var done []<-chan error
		for id := range s.largest + 3 {
			done = append(done, s.start(t, t.Context(), id+1, "a", inserting(int64(id))))
		}
		release()
		for _, d := range done {
			require.NoError(t, <-d)
		}
		sizes, _ := s.sizes.seen()
		require.Equal(t, []int{s.largest, 3}, sizes)
	})
}

func TestErrorOfOneFailsThatOneAlone(t *testing.T) {
	failure := errors.New("changed my mind")
	onBoth(t, func(t *testing.T, s subject) {
		require.NoError(t, s.write(t.Context(), "", inserting(1)))
		wrong := map[string]struct {
			fn    function
			check func(t *testing.T, err error)
		}{
			"returned error": {
				func(_ context.Context, exec func(string) error) error {
					return errors.Join(exec(insert(100)), failure)
				},
				func(t *testing.T, err error) { require.ErrorIs(t, err, failure) },
			},
			"returned error, nothing written": {
				func(context.Context, func(string) error) error { return failure },
				func(t *testing.T, err error) { require.ErrorIs(t, err, failure) },
			},
			"refused statement": {
				inserting(1),
				func(t *testing.T, err error) { require.ErrorContains(t, err, "constraint") },
			},
			"refused second statement": {
				func(_ context.Context, exec func(string) error) error {
					return errors.Join(exec(insert(101)), exec(insert(1)))
				},
				func(t *testing.T, err error) { require.ErrorContains(t, err, "constraint") },
			},
			"statement that does not parse": {
				func(_ context.Context, exec func(string) error) error { return exec("INSART") },
				func(t *testing.T, err error) { require.ErrorContains(t, err, "INSART") },
			},
			"second statement that does not parse": {
				func(_ context.Context, exec func(string) error) error {
					return errors.Join(exec(insert(102)), exec("INSART"))
				},
				func(t *testing.T, err error) { require.ErrorContains(t, err, "INSART") },
			},
			"panic": {
				func(_ context.Context, exec func(string) error) error {
					if err := exec(insert(103)); err != nil {
						return err
					}
					panic("no such thing")
				},
				func(t *testing.T, err error) { require.ErrorContains(t, err, "no such thing") },
			},
		}
		var mu sync.Mutex // because the cases run one after the other, but the ids must differ
		next := int64(1)
		fresh := func() int64 { mu.Lock(); defer mu.Unlock(); next++; return next }
		for name, test := range wrong {
			t.Run(name, func(t *testing.T) {
				release := s.hold(t)
				defer release()
				before := s.start(t, t.Context(), 1, "a", inserting(fresh()))
				wrong := s.start(t, t.Context(), 2, "b", test.fn)
				after := s.start(t, t.Context(), 3, "c", inserting(fresh()))
				release()
				require.NoError(t, <-before)
				test.check(t, <-wrong)
				require.NoError(t, <-after)
			})
			t.Run(name+", alone", func(t *testing.T) {
				test.check(t, s.write(t.Context(), "a", test.fn))
				require.NoError(t, s.write(t.Context(), "a", inserting(fresh())))
			})
		}
		var want []int64
		for id := range next {
			want = append(want, id+1)
		}
		require.Equal(t, want, s.rows(t))
	})
}

// A caller may judge by what another of its transaction has written. Nobody may
// learn of it before it is durable.
func TestErrorIsToldOnlyAfterTheCommitItRestsOn(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		defer release()
		spoiled := s.start(t, t.Context(), 1, "a", func(_ context.Context, exec func(string) error) error {
			// The commit will fail with this row, whose parent does not exist.
			return exec("INSERT INTO rows (id, parent) VALUES (1, 2)")
		})
		other := s.start(t, t.Context(), 2, "b", inserting(1)) // taken, as long as the first one stands
		release()
		require.Error(t, <-spoiled)
		require.NoError(t, <-other)
		require.Equal(t, []int64{1}, s.rows(t))
	})
}

func TestFailedCommitIsRepeatedOneByOne(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		defer release()
		first := s.start(t, t.Context(), 1, "a", inserting(1))
		spoiled := s.start(t, t.Context(), 2, "b", func(_ context.Context, exec func(string) error) error {
			return exec("INSERT INTO rows (id, parent) VALUES (2, 99)")
		})
		last := s.start(t, t.Context(), 3, "c", inserting(3))
		release()
		require.NoError(t, <-first)
		err := <-spoiled
		require.ErrorContains(t, err, "commit")
		require.NotErrorIs(t, err, groupcommit.ErrUncertain)
		require.NoError(t, <-last)
		require.Equal(t, []int64{1, 3}, s.rows(t))
		sizes, _ := s.sizes.seen()
		require.Equal(t, []int{1, 1}, sizes)
	})
}

func TestWritesRunInTheOrderOfTheirKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		var order []string
		noting := func(key string, n int) function {
			return func(context.Context, func(string) error) error {
				order = append(order, fmt.Sprint(key, n)) // by the committer alone, one after the other
				return nil
			}
		}
		release := s.hold(t)
		defer release()
		var done []<-chan error
		for i, key := range []string{"c", "a", "b", "a", "c", "a", "b"} {
			done = append(done, s.start(t, t.Context(), i+1, key, noting(key, i)))
		}
		release()
		for _, d := range done {
			require.NoError(t, <-d)
		}
		require.Equal(t, []string{"a1", "a3", "a5", "b2", "b6", "c0", "c4"}, order)
	})
}

func TestCancelledBeforeItBeganNeverRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		defer release()
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := s.start(t, ctx, 1, "a", func(context.Context, func(string) error) error {
			t.Error("the function ran")
			return nil
		})
		other := s.start(t, t.Context(), 2, "b", inserting(1))
		cancel()
		require.Equal(t, context.Canceled, <-cancelled) // while the committer is still held
		release()
		require.NoError(t, <-other)

		require.Equal(t, context.Canceled, s.write(ctx, "a", inserting(2)))
		require.Equal(t, []int64{1}, s.rows(t))
	})
}

func TestCancelledWhileItRunsReturnsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		defer release()
		ctx, cancel := context.WithCancel(t.Context())
		running, let := make(chan struct{}), make(chan struct{})
		before := s.start(t, t.Context(), 1, "a", inserting(1))
		cancelled := s.start(t, ctx, 2, "b", func(_ context.Context, exec func(string) error) error {
			close(running)
			<-let
			return exec(insert(2))
		})
		after := s.start(t, t.Context(), 3, "c", inserting(3))
		release()
		<-running
		cancel()
		err := <-cancelled // while its function still runs
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, groupcommit.ErrUncertain)
		close(let)
		require.NoError(t, <-before)
		require.NoError(t, <-after)
		require.Equal(t, []int64{1, 2, 3}, s.rows(t), "the function's own context did not end, so it was not disturbed")
		sizes, _ := s.sizes.seen()
		require.Equal(t, []int{3}, sizes)
	})
}

func TestFullQueueBlocksUntilTheContextEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		defer release()
		var waiting sync.WaitGroup
		for id := range int64(groupcommit.QueueSize) {
			waiting.Go(func() {
				if err := s.write(t.Context(), "a", inserting(id)); err != nil {
					t.Error(err)
				}
			})
		}
		s.await(t, groupcommit.QueueSize)

		ctx, cancel := context.WithCancel(t.Context())
		blocked := make(chan error, 2)
		go func() { blocked <- s.write(ctx, "a", inserting(10_000)) }()
		select {
		case err := <-blocked:
			t.Fatalf("did not block: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		cancel()
		require.Equal(t, context.Canceled, <-blocked)

		go func() { blocked <- s.write(t.Context(), "a", inserting(10_001)) }()
		release() // makes room
		require.NoError(t, <-blocked)
		waiting.Wait()
		ids := s.rows(t)
		require.Len(t, ids, groupcommit.QueueSize+1)
		require.NotContains(t, ids, int64(10_000))
	})
}

func TestSlowFunctionFailsAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		s.hurry(1500*time.Millisecond, time.Minute)
		release := s.hold(t)
		defer release()
		before := s.start(t, t.Context(), 1, "a", inserting(1))
		slow := s.start(t, t.Context(), 2, "b", func(ctx context.Context, exec func(string) error) error {
			if err := exec(insert(2)); err != nil {
				return err
			}
			<-ctx.Done()
			return exec(insert(3))
		})
		after := s.start(t, t.Context(), 3, "c", inserting(4))
		release()
		require.NoError(t, <-before)
		require.Error(t, <-slow)
		require.NoError(t, <-after)
		require.Equal(t, []int64{1, 4}, s.rows(t))
	})
}

func TestCloseFinishesWhatWasAccepted(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		ids := make(chan []int64, 1)
		var done []<-chan error
		for id := range int64(10) {
			fn := inserting(id)
			if id == 9 {
				fn = func(_ context.Context, exec func(string) error) error {
					err := exec(insert(id))
					read, readErr := s.read(t.Context()) // not yet: the commit comes after it
					ids <- read
					return errors.Join(err, readErr)
				}
			}
			done = append(done, s.start(t, t.Context(), int(id)+1, fmt.Sprint(id), fn))
		}
		closed := make(chan error, 1)
		go func() { closed <- s.close() }()
		require.Eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			return errors.Is(s.write(ctx, "z", inserting(100)), groupcommit.ErrClosed)
		}, 10*time.Second, time.Millisecond)
		release()
		for _, d := range done {
			require.NoError(t, <-d)
		}
		require.Empty(t, <-ids)
		require.NoError(t, <-closed)
		require.NoError(t, s.close(), "again")
		require.Equal(t, groupcommit.ErrClosed, s.write(t.Context(), "z", inserting(101)))
		sizes, _ := s.sizes.seen()
		require.Equal(t, []int{10}, sizes)
	})
}

func TestCloseCutsOffWhatTakesTooLong(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		s.hurry(time.Minute, 50*time.Millisecond)
		running := make(chan struct{})
		done := make(chan error, 2)
		go func() {
			done <- s.write(t.Context(), "a", func(ctx context.Context, exec func(string) error) error {
				close(running)
				<-ctx.Done()
				return exec(insert(1))
			})
		}()
		<-running
		queued := s.start(t, t.Context(), 1, "a", inserting(2))
		require.ErrorContains(t, s.close(), "cut off")
		require.Error(t, <-done)
		require.ErrorIs(t, <-queued, groupcommit.ErrClosed)
	})
}

func TestCloseWakesThoseWhoWaitForRoom(t *testing.T) {
	onBoth(t, func(t *testing.T, s subject) {
		release := s.hold(t)
		results := make(chan error, 2*groupcommit.QueueSize)
		for id := range int64(groupcommit.QueueSize + 5) {
			go func() { results <- s.write(t.Context(), "a", inserting(id)) }()
		}
		s.await(t, groupcommit.QueueSize)
		closed := make(chan error, 1)
		go func() { closed <- s.close() }()
		for range 5 {
			require.Equal(t, groupcommit.ErrClosed, <-results)
		}
		release()
		for range groupcommit.QueueSize {
			require.NoError(t, <-results)
		}
		require.NoError(t, <-closed)
	})
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	// Not parallel: it counts.
	for name, open := range map[string]func(*testing.T) subject{"SQLite": openSQLite, "Postgres": openPostgres} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			s := open(t)
			for id := range int64(10) {
				require.NoError(t, s.write(t.Context(), "a", inserting(id)))
			}
			require.Len(t, s.rows(t), 10)
			require.NoError(t, s.close())
			goleak.VerifyNone(t, before)
		})
	}
}

const (
	waitTime = 10 * time.Second
	pollTime = 100 * time.Microsecond
)

// await waits until n writes are in the queue.
func await(t *testing.T, waiting func() int, n int) {
	t.Helper()
	for deadline := time.Now().Add(waitTime); waiting() != n; time.Sleep(pollTime) {
		if time.Now().After(deadline) {
			t.Errorf("%d writes wait, not %d", waiting(), n) // Errorf, because not every goroutine may stop t
			return
		}
	}
}
