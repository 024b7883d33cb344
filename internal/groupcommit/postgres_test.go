package groupcommit_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// server is a database with the test's table, and what is needed to disturb it.
type server struct {
	*groupcommit.Postgres
	sizes *recorder
	proxy *proxy
}

// openServer opens a database through a proxy, with more settings for its sessions.
func openServer(t *testing.T, settings ...string) *server {
	t.Helper()
	dsn, err := url.Parse(migrationstest.PostgresDSN(t))
	require.NoError(t, err)
	query := dsn.Query()
	for i := 0; i < len(settings); i += 2 {
		query.Set(settings[i], settings[i+1])
	}
	dsn.RawQuery = query.Encode()
	proxy := newProxy(t, dsn.Host)
	dsn.Host = proxy.address()
	return open(t, dsn.String(), proxy)
}

func open(t *testing.T, dsn string, proxy *proxy) *server {
	t.Helper()
	sizes := &recorder{}
	db, err := groupcommit.OpenPostgres(t.Context(), dsn, sizes.observe)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.Read().Exec(t.Context(), "CREATE TABLE IF NOT EXISTS rows (id bigint PRIMARY KEY, n bigint NOT NULL DEFAULT 0)")
	require.NoError(t, err)
	return &server{db, sizes, proxy}
}

// again opens the database a second time, as another process would.
func (s *server) again(t *testing.T) *server {
	t.Helper()
	return open(t, s.Read().Config().ConnString(), nil)
}

func (s *server) rows(t *testing.T) []int64 {
	t.Helper()
	rows, _ := s.Read().Query(t.Context(), "SELECT id FROM rows ORDER BY id LIMIT 10000")
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	return ids
}

func (s *server) insert(ctx context.Context, id int64) error {
	return s.Write(ctx, "", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insert(id))
		return err
	})
}

// shared is a write with what it shares.
type shared struct {
	write any
	with  []groupcommit.Shared
}

// locked is a write that holds the rows of these names.
func locked(write any, rows ...string) shared {
	s := shared{write: write}
	for _, row := range rows {
		s.with = append(s.with, groupcommit.Lock{SQL: "SELECT FROM rows WHERE id::text = ANY($1) ORDER BY id::text FOR UPDATE", Row: row})
	}
	return s
}

// leaving is a write that leaves rows with these numbers and names.
func leaving(write any, ids ...int64) shared {
	s := shared{write: write}
	for _, id := range ids {
		s.with = append(s.with, groupcommit.Tail{
			SQL: "INSERT INTO rows (id, n) SELECT id, length(name) FROM unnest($1::bigint[], $2::text[]) AS t (id, name)",
			Row: func() []any { return []any{id, fmt.Sprint(id)} },
		})
	}
	return s
}

// together runs writes in one transaction and returns their errors. A write is what
// Write or WriteBatch takes, or shared; its key is its place.
func (s *server) together(t *testing.T, writes ...any) []error {
	t.Helper()
	held, let := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_ = s.Write(t.Context(), "", func(context.Context, pgx.Tx) error {
			close(held)
			<-let
			return errors.New("held")
		})
	})
	<-held
	errs := make([]error, len(writes))
	for i, write := range writes {
		key := fmt.Sprintf("%03d", i)
		both, is := write.(shared)
		if is {
			write = both.write
		}
		group.Go(func() {
			switch write := write.(type) {
			case func(context.Context, pgx.Tx) error:
				errs[i] = s.Write(t.Context(), key, write, both.with...)
			case *pgx.Batch:
				errs[i] = s.WriteBatch(t.Context(), key, write, both.with...)
			default:
				t.Errorf("no write: %T", write)
			}
		})
	}
	await(t, s.Waiting, len(writes))
	close(let)
	group.Wait()
	return errs
}

// blocked waits until a session of this database waits for a lock.
func (s *server) blocked(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waits bool
		err := s.Read().QueryRow(t.Context(), `
			SELECT EXISTS (
				SELECT FROM pg_stat_activity
				WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%FROM rows%')`).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, 5*time.Millisecond)
}

func exec(sql string) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql)
		return err
	}
}

func batch(statements ...string) *pgx.Batch {
	b := &pgx.Batch{}
	for _, sql := range statements {
		b.Queue(sql)
	}
	return b
}

func code(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

func TestPostgresConnectionLostBeforeCommit(t *testing.T) {
	t.Parallel()
	for name, among := range map[string]int{"alone": 0, "among others": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openServer(t)
			runs := 0
			writes := []any{func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, insert(1)); err != nil {
					return err
				}
				runs++
				if runs > 1 {
					return nil
				}
				_, err := tx.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
				return err
			}}
			want := []int64{1}
			for id := range int64(among) {
				writes = append(writes, exec(insert(10+id)))
				want = append(want, 10+id)
			}
			for _, err := range s.together(t, writes...) {
				require.NoError(t, err, "it is certain that nothing was committed, so it is done again")
			}
			require.Equal(t, 2, runs)
			require.Equal(t, want, s.rows(t))
		})
	}
}

func TestPostgresConnectionLostWhileIdle(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	require.NoError(t, s.insert(t.Context(), 1))
	s.proxy.cut()
	require.NoError(t, s.insert(t.Context(), 2))
	require.NoError(t, s.WriteBatch(t.Context(), "", batch(insert(3))))
	s.proxy.cut()
	require.NoError(t, s.WriteBatch(t.Context(), "", batch(insert(4))))
	require.Equal(t, []int64{1, 2, 3, 4}, s.again(t).rows(t))
}

func TestPostgresConnectionLostDuringCommit(t *testing.T) {
	t.Parallel()
	for name, arrives := range map[string]bool{"before it arrives": false, "after it arrived": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openServer(t)
			s.proxy.loseCommit(arrives)
			for _, err := range s.together(t, exec(insert(1)), batch(insert(2)), exec(insert(3))) {
				require.ErrorIs(t, err, groupcommit.ErrUncertain)
				require.True(t, groupcommit.Unavailable(err), err)
			}
			s.proxy.healthy()
			if arrives {
				require.Eventually(t, func() bool { return len(s.rows(t)) == 3 }, waitTime, pollTime)
			}
			require.NoError(t, s.insert(t.Context(), 4))
			if arrives {
				require.Equal(t, []int64{1, 2, 3, 4}, s.rows(t))
			} else {
				require.Equal(t, []int64{4}, s.rows(t))
			}
		})
	}
}

func TestPostgresServerGone(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	s.proxy.close()
	for _, err := range s.together(t, exec(insert(1)), batch(insert(2))) {
		require.True(t, groupcommit.Unavailable(err), err)
		require.NotErrorIs(t, err, groupcommit.ErrUncertain)
	}
	_, err := s.Read().Exec(t.Context(), "SELECT 1")
	require.True(t, groupcommit.Unavailable(err), err)
}

// A server that is there and says nothing is waited for as long as is promised.
func TestPostgresSilentServerIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	s.HurryCallers(100 * time.Millisecond)
	require.NoError(t, s.insert(t.Context(), 1))
	s.proxy.silence()
	began := time.Now()
	err := s.insert(t.Context(), 2)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, groupcommit.Unavailable(err), err)
	require.Less(t, time.Since(began), time.Second)
	_, err = s.Read().Exec(t.Context(), "SELECT 1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, groupcommit.Unavailable(err), err)
	require.Less(t, time.Since(began), 7*time.Second, "2 s for a connection and 4 s for an answer, at the most")
}

func TestPostgresDeadlockIsRepeated(t *testing.T) {
	t.Parallel()
	one := openServer(t, "deadlock_timeout", "50ms")
	two := one.again(t)
	require.NoError(t, one.WriteBatch(t.Context(), "", batch(insert(1), insert(2))))

	// Two processes, each with a transaction of two writes that take two rows in
	// opposite order. Neither goes on before both have the first.
	var both sync.WaitGroup
	both.Add(2)
	add := func(id int) string { return fmt.Sprintf("UPDATE rows SET n = n + 1 WHERE id = %d", id) }
	first := func(id int) func(context.Context, pgx.Tx) error {
		met := sync.OnceFunc(func() { both.Done(); both.Wait() })
		return func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, add(id))
			met()
			return err
		}
	}
	var group sync.WaitGroup
	for db, order := range map[*server][2]int{one: {1, 2}, two: {2, 1}} {
		group.Go(func() {
			for _, err := range db.together(t, first(order[0]), exec(add(order[1])), exec(insert(int64(10+order[0])))) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	var n int
	require.NoError(t, one.Read().QueryRow(t.Context(), "SELECT sum(n) FROM rows").Scan(&n))
	require.Equal(t, 4, n)
	require.Equal(t, []int64{1, 2, 11, 12}, one.rows(t))
}

// A write that is repeated for a deadlock is not overtaken by the next one of its key.
func TestPostgresRepeatKeepsTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	held, let := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		_ = s.Write(t.Context(), "", func(context.Context, pgx.Tx) error {
			close(held)
			<-let
			return nil
		})
	})
	<-held
	var order []int
	for i := range 4 {
		runs := 0
		group.Go(func() {
			err := s.Write(t.Context(), "key", func(context.Context, pgx.Tx) error {
				runs++
				if i == 1 && runs == 1 {
					return &pgconn.PgError{Code: "40001"}
				}
				order = append(order, i) // by the committer alone
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		await(t, s.Waiting, i+1)
	}
	close(let)
	group.Wait()
	require.Equal(t, []int{0, 1, 2, 3}, order)
}

func TestPostgresLockedRowFailsAlone(t *testing.T) {
	t.Parallel()
	s := openServer(t, "lock_timeout", "100ms")
	require.NoError(t, s.insert(t.Context(), 1))
	locker, err := s.Read().Begin(t.Context())
	require.NoError(t, err)
	_, err = locker.Exec(t.Context(), "UPDATE rows SET n = 1 WHERE id = 1")
	require.NoError(t, err)
	const update = "UPDATE rows SET n = 2 WHERE id = 1"
	errs := s.together(t, exec(insert(2)), exec(update), batch(insert(3)), batch(update), batch(insert(4)))
	require.NoError(t, locker.Rollback(t.Context()))
	require.NoError(t, errs[0])
	require.Equal(t, "55P03", code(errs[1]))
	require.True(t, groupcommit.Unavailable(errs[1]), errs[1])
	require.NoError(t, errs[2])
	require.Equal(t, "55P03", code(errs[3]))
	require.NoError(t, errs[4])
	require.Equal(t, []int64{1, 2, 3, 4}, s.rows(t))
}

// A row that a write is to hold is waited for before the first one begins, so each sees
// what its holder left, in the same statement in which it looks.
func TestPostgresLocksAreTakenFirst(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	require.NoError(t, s.WriteBatch(t.Context(), "", batch(insert(1), insert(2))))
	holder, err := s.Read().Begin(t.Context())
	require.NoError(t, err)
	_, err = holder.Exec(t.Context(), "UPDATE rows SET n = n + 1")
	require.NoError(t, err)

	var seen [2]int
	look := func(id int) *pgx.Batch {
		b := &pgx.Batch{}
		b.Queue("SELECT sum(n) FROM rows").QueryRow(func(row pgx.Row) error { return row.Scan(&seen[id-1]) })
		return b
	}
	var group sync.WaitGroup
	group.Go(func() {
		for _, err := range s.together(t, look(1), exec(insert(3)), locked(look(2), "2", "none")) {
			if err != nil {
				t.Error(err)
			}
		}
	})
	s.blocked(t)
	require.NoError(t, holder.Commit(t.Context()))
	group.Wait()
	require.Equal(t, [2]int{2, 2}, seen, "what the holder of the row left, for the write before as well")
}

// Transactions lock in one order, whatever that of their writes: none is a deadlock's
// victim, and so each write runs once.
func TestPostgresLocksNeverCross(t *testing.T) {
	t.Parallel()
	one := openServer(t, "deadlock_timeout", "1ms")
	two := one.again(t)
	require.NoError(t, one.WriteBatch(t.Context(), "", batch(insert(1), insert(2), insert(3))))
	const rounds = 50
	var runs atomic.Int64
	counted := func(ctx context.Context, tx pgx.Tx) error {
		runs.Add(1)
		_, err := tx.Exec(ctx, "UPDATE rows SET n = n + 1 WHERE id = 3")
		return err
	}
	var group sync.WaitGroup
	for db, order := range map[*server][2]string{one: {"1", "2"}, two: {"2", "1"}} {
		group.Go(func() {
			for range rounds {
				for _, err := range db.together(t, locked(counted, order[0]), locked(counted, order[1]), locked(counted, "3")) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	require.Equal(t, int64(2*3*rounds), runs.Load())
}

// A row that cannot be had is the failure of the write that asked for it, and no other's.
func TestPostgresLockFailsAlone(t *testing.T) {
	t.Parallel()
	s := openServer(t, "lock_timeout", "100ms")
	require.NoError(t, s.insert(t.Context(), 1))
	holder, err := s.Read().Begin(t.Context())
	require.NoError(t, err)
	_, err = holder.Exec(t.Context(), "UPDATE rows SET n = 1 WHERE id = 1")
	require.NoError(t, err)
	errs := s.together(t,
		exec(insert(2)), locked(exec(insert(3)), "1"), batch(insert(4)), locked(batch(insert(5)), "1"), batch(insert(6)))
	require.NoError(t, holder.Rollback(t.Context()))
	require.NoError(t, errors.Join(errs[0], errs[2], errs[4]))
	require.Equal(t, "55P03", code(errs[1]))
	require.Equal(t, "55P03", code(errs[3]))
	require.Equal(t, []int64{1, 2, 4, 6}, s.rows(t))
}

// What writes leave is there if they are, and only then.
func TestPostgresTail(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	refusal := errors.New("refused")
	errs := s.together(t,
		leaving(exec(insert(1)), 10, 11),
		leaving(func(context.Context, pgx.Tx) error { return refusal }, 20),
		leaving(batch(insert(1)), 30),
		shared{write: batch(insert(4)), with: []groupcommit.Shared{groupcommit.Tail{SQL: "SELECT $1", Row: func() []any { return nil }}}},
		leaving(batch(insert(5)), 50))
	require.NoError(t, errors.Join(errs[0], errs[3], errs[4]))
	require.Equal(t, refusal, errs[1])
	require.Equal(t, "23505", code(errs[2]))
	require.Equal(t, []int64{1, 4, 5, 10, 11, 50}, s.rows(t))
}

// A row that cannot be taken in is the failure of the write that left it, and no other's.
func TestPostgresTailFailsAlone(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	require.NoError(t, s.insert(t.Context(), 10))
	panicking := groupcommit.Tail{SQL: "SELECT $1", Row: func() []any { panic("no row") }}
	errs := s.together(t,
		leaving(exec(insert(1)), 11), leaving(batch(insert(2)), 10), leaving(batch(insert(3)), 13),
		shared{write: batch(insert(4)), with: []groupcommit.Shared{panicking}}, exec(insert(5)))
	require.NoError(t, errors.Join(errs[0], errs[2], errs[4]))
	require.Equal(t, "23505", code(errs[1]))
	require.NotErrorIs(t, errs[1], groupcommit.ErrUncertain)
	require.ErrorContains(t, errs[3], "no row")
	require.Equal(t, []int64{1, 3, 5, 10, 11, 13}, s.rows(t))
}

// With what was left the commit may be lost on its way, or its answer.
func TestPostgresConnectionLostDuringCommitOfTail(t *testing.T) {
	t.Parallel()
	for arrives, want := range map[bool][]int64{true: {1, 10}, false: nil} {
		s := openServer(t)
		s.proxy.loseCommit(arrives)
		errs := s.together(t, leaving(batch(insert(1)), 10))
		require.ErrorIs(t, errs[0], groupcommit.ErrUncertain)
		s.proxy.healthy()
		require.Eventually(t, func() bool { return slices.Equal(s.rows(t), want) }, 10*time.Second, 5*time.Millisecond)
	}
}

func TestPostgresFailedStatementCannotBeHidden(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	require.NoError(t, s.insert(t.Context(), 1))
	hide := func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, insert(2))
		_, _ = tx.Exec(ctx, insert(1))
		return nil
	}
	errs := s.together(t, exec(insert(3)), hide, exec(insert(4)))
	require.NoError(t, errs[0])
	require.ErrorContains(t, errs[1], "did not say so")
	require.NoError(t, errs[2])
	require.ErrorContains(t, s.together(t, hide)[0], "did not say so")
	require.Equal(t, []int64{1, 3, 4}, s.rows(t))
}

// Each way to use tx works as the first of a transaction, the first of a write, and
// later.
func TestPostgresTx(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	collect := func(rows pgx.Rows, err error) error {
		if err != nil {
			return err
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[int32])
		if err == nil && (len(got) != 3 || got[2] != 3) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}
	const three = "SELECT generate_series(1, 3)"
	ways := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"Exec": func(ctx context.Context, tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, "SELECT $1::int", 1)
			if err == nil && tag.String() != "SELECT 1" {
				err = errors.New(tag.String())
			}
			return err
		},
		"Exec with an option": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SELECT $1::int", pgx.QueryExecModeExec, 1)
			return err
		},
		"Query": func(ctx context.Context, tx pgx.Tx) error { return collect(tx.Query(ctx, three)) },
		"Query with an option": func(ctx context.Context, tx pgx.Tx) error {
			return collect(tx.Query(ctx, three, pgx.QueryResultFormats{pgx.TextFormatCode}))
		},
		"Query, closed early": func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, three)
			if err != nil {
				return err
			}
			rows.Next()
			rows.Close()
			return rows.Err()
		},
		"Query, failing late": func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, "SELECT 1 / (2 - generate_series(1, 3))")
			for err == nil && rows.Next() {
			}
			if err == nil {
				err = rows.Err()
			}
			if code(err) != "22012" {
				return fmt.Errorf("no division by zero: %w", err)
			}
			return err
		},
		"QueryRow": func(ctx context.Context, tx pgx.Tx) error {
			var n int
			err := tx.QueryRow(ctx, three).Scan(&n)
			if err == nil && n != 1 {
				err = fmt.Errorf("got %d", n)
			}
			return err
		},
		"QueryRow without a row": func(ctx context.Context, tx pgx.Tx) error {
			var n int
			if err := tx.QueryRow(ctx, "SELECT 1 WHERE false").Scan(&n); !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		},
		"SendBatch": func(ctx context.Context, tx pgx.Tx) error {
			b, sum := &pgx.Batch{}, 0
			for i := range 3 {
				b.Queue("SELECT $1::int", i).QueryRow(func(row pgx.Row) error {
					var n int
					err := row.Scan(&n)
					sum += n
					return err
				})
			}
			if err := tx.SendBatch(ctx, b).Close(); err != nil || sum != 3 {
				return fmt.Errorf("sum %d: %w", sum, err)
			}
			return nil
		},
		"CopyFrom": func(ctx context.Context, tx pgx.Tx) error {
			n, err := tx.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"id"}, pgx.CopyFromRows([][]any{{1}, {2}}))
			if err == nil && n != 2 {
				err = fmt.Errorf("copied %d", n)
			}
			return err
		},
		"Prepare": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Prepare(ctx, "three", three)
			return err
		},
		"Begin":    func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Begin(ctx); return err },
		"Commit":   func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
		"Rollback": func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
	}
	_, err := s.Read().Exec(t.Context(), "CREATE TABLE copied (id bigint)")
	require.NoError(t, err)
	id := int64(0)
	for name, way := range ways {
		check := func(err error) {
			t.Helper()
			switch name {
			case "Begin", "Commit", "Rollback":
				require.ErrorContains(t, err, "not the write's own", name)
			case "Query, failing late":
				require.Equal(t, "22012", code(err), name)
			default:
				require.NoError(t, err, name)
			}
		}
		check(s.together(t, way)[0])
		id += 3
		errs := s.together(t, way, exec(insert(id)), way,
			func(ctx context.Context, tx pgx.Tx) error {
				return errors.Join(exec(insert(id+1))(ctx, tx), way(ctx, tx))
			},
			exec(insert(id+2)))
		check(errs[0])
		require.NoError(t, errs[1], name)
		check(errs[2])
		check(errs[3])
		require.NoError(t, errs[4], name)
	}
	require.Contains(t, s.rows(t), id)
}

func TestPostgresWriteBatch(t *testing.T) {
	t.Parallel()
	returning := func(id int64, into *int64) *pgx.Batch {
		b := &pgx.Batch{}
		b.Queue("INSERT INTO rows (id) VALUES ($1) RETURNING id", id).QueryRow(func(row pgx.Row) error { return row.Scan(into) })
		return b
	}
	t.Run("gives its results", func(t *testing.T) {
		t.Parallel()
		s := openServer(t)
		var a, b, c int64
		for _, err := range s.together(t, returning(1, &a), exec(insert(2)), returning(3, &b), returning(4, &c)) {
			require.NoError(t, err)
		}
		require.Equal(t, []int64{1, 3, 4}, []int64{a, b, c})
		require.Equal(t, []int64{1, 2, 3, 4}, s.rows(t))
		sizes, _ := s.sizes.seen()
		require.Equal(t, 4, sizes[len(sizes)-1], "one commit")
	})
	t.Run("is all or nothing", func(t *testing.T) {
		t.Parallel()
		s := openServer(t)
		require.NoError(t, s.insert(t.Context(), 1))
		errs := s.together(t, batch(insert(2), insert(3)), batch(insert(4), insert(1), insert(5)), batch(insert(6)))
		require.NoError(t, errs[0])
		require.Equal(t, "23505", code(errs[1]))
		require.NoError(t, errs[2])
		require.Equal(t, "23505", code(s.WriteBatch(t.Context(), "", batch(insert(7), insert(1)))))
		require.Equal(t, []int64{1, 2, 3, 6}, s.rows(t))
		sizes, _ := s.sizes.seen()
		require.Equal(t, 2, sizes[len(sizes)-1], "one commit")
	})
	t.Run("is undone if a function of it fails", func(t *testing.T) {
		t.Parallel()
		s := openServer(t)
		failing, panicking := &pgx.Batch{}, &pgx.Batch{}
		failing.Queue(insert(2)).Exec(func(pgconn.CommandTag) error { return io.ErrUnexpectedEOF })
		panicking.Queue(insert(3)).Exec(func(pgconn.CommandTag) error { panic("no such thing") })
		errs := s.together(t, batch(insert(1)), failing, exec(insert(4)), panicking, batch(insert(5)))
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], io.ErrUnexpectedEOF)
		require.NoError(t, errs[2])
		require.ErrorContains(t, errs[3], "no such thing")
		require.NoError(t, errs[4])
		require.Equal(t, []int64{1, 4, 5}, s.rows(t))
	})
	t.Run("is undone if a function of it fails, whatever the next ones do", func(t *testing.T) {
		t.Parallel()
		s := openServer(t)
		require.NoError(t, s.insert(t.Context(), 1))
		failing := &pgx.Batch{}
		failing.Queue(insert(2)).Exec(func(pgconn.CommandTag) error { return io.ErrUnexpectedEOF })
		failing.Queue(insert(3))
		refused := &pgx.Batch{}
		refused.Queue(insert(4)).Exec(func(pgconn.CommandTag) error { return io.ErrUnexpectedEOF })
		refused.Queue(insert(1))
		leaving := &pgx.Batch{} // without reading its result
		leaving.Queue("SELECT generate_series(1, 1000)").QueryRow(func(pgx.Row) error { panic("no such thing") })
		errs := s.together(t, batch(insert(5)), failing, refused, leaving, batch(insert(1)), batch(insert(6)))
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], io.ErrUnexpectedEOF)
		require.ErrorIs(t, errs[2], io.ErrUnexpectedEOF)
		require.ErrorContains(t, errs[3], "no such thing")
		require.Equal(t, "23505", code(errs[4]))
		require.NoError(t, errs[5])
		require.Equal(t, []int64{1, 5, 6}, s.rows(t))
	})
	t.Run("may not parse", func(t *testing.T) {
		t.Parallel()
		s := openServer(t)
		errs := s.together(t, exec(insert(1)), batch(insert(2)), batch(insert(3), "INSART"), batch("INSERT INTO rows (id) VALUES ($1)"), batch(insert(4)))
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		require.Equal(t, "42601", code(errs[2]))
		require.Error(t, errs[3], "an argument is missing")
		require.NoError(t, errs[4])
		require.Equal(t, []int64{1, 2, 4}, s.rows(t))

		// It fails before the savepoint that would undo it: that of another stands.
		errs = s.together(t, exec(insert(5)), batch("INSART"))
		require.NoError(t, errs[0])
		require.Equal(t, "42601", code(errs[1]))
		require.Equal(t, []int64{1, 2, 4, 5}, s.rows(t))
	})
	t.Run("may be empty", func(t *testing.T) {
		t.Parallel()
		s := openServer(t)
		require.NoError(t, s.WriteBatch(t.Context(), "", &pgx.Batch{}))
		for _, err := range s.together(t, &pgx.Batch{}, &pgx.Batch{}, exec(insert(1))) {
			require.NoError(t, err)
		}
		require.Equal(t, []int64{1}, s.rows(t))
	})
	t.Run("is not used up", func(t *testing.T) {
		t.Parallel()
		s := openServer(t)
		b := &pgx.Batch{}
		b.Queue("INSERT INTO rows (id) SELECT coalesce(max(id), 0) + @step FROM rows", pgx.NamedArgs{"step": 1})
		for range 3 {
			require.NoError(t, s.WriteBatch(t.Context(), "", b))
			s.proxy.cut() // the next goes over a new connection
		}
		require.Equal(t, []int64{1, 2, 3}, s.again(t).rows(t))
	})
}

// What the committer adds to the callers' statements goes along with them.
func TestPostgresRoundTrips(t *testing.T) {
	t.Parallel()
	s := openServer(t)
	statement := func(id int) func(ctx context.Context, tx pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO rows (id) VALUES ($1)", id)
			return err
		}
	}
	known := func(id int) *pgx.Batch {
		b := &pgx.Batch{}
		b.Queue("INSERT INTO rows (id) VALUES ($1)", id)
		return b
	}
	const commit = 1
	require.NoError(t, errors.Join(s.together(t, locked(statement(1), "1"), leaving(known(2), 3))...)) // prepares the statements

	for name, test := range map[string]struct {
		writes []any
		want   int64
	}{
		"function":         {[]any{statement(10)}, 1 + commit},
		"functions":        {[]any{statement(20), statement(21), statement(22)}, 3 + commit},
		"batch":            {[]any{known(30)}, 1 + commit},
		"batches":          {[]any{known(40), known(41), known(42)}, 1 + commit},
		"locks":            {[]any{locked(known(43), "1", "2"), locked(known(44), "1"), statement(45)}, 2 + commit},
		"lock of function": {[]any{locked(statement(46), "1"), locked(known(47), "2")}, 2 + commit},
		"tails":            {[]any{leaving(known(70), 71, 72), known(73), leaving(statement(74), 75)}, 2 + commit},
		"nothing":          {[]any{&pgx.Batch{}}, 0},
		"refused function": {[]any{statement(50), statement(1), statement(51)}, 3 + 1 + commit},
		"refused batch":    {[]any{known(60), known(1), known(61)}, 2 + 1 + commit},
	} {
		// One after the other, over the one connection. A refused statement is prepared
		// anew, which is pgx's doing, so those have some more.
		before := s.proxy.roundTrips.Load()
		_ = s.together(t, test.writes...)
		got := s.proxy.roundTrips.Load() - before
		if name == "refused function" || name == "refused batch" {
			require.LessOrEqual(t, got, test.want+2, name)
		} else {
			require.Equal(t, test.want, got, name)
		}
		require.NoError(t, errors.Join(s.together(t, statement(int(1000+before)))...)) // prepared again
	}
}

// proxy stands between a database handle and its server.
type proxy struct {
	listener   net.Listener
	server     string
	roundTrips atomic.Int64 // how often the server said that it is ready for a query
	commit     atomic.Int32 // what becomes of a COMMIT
	silent     atomic.Bool  // what is sent is swallowed

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// What becomes of a COMMIT.
const (
	passes int32 = iota
	isLost
	losesItsAnswer
)

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, server: server, conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() { p.close(); running.Wait() })
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) loseCommit(arrives bool) {
	if arrives {
		p.commit.Store(losesItsAnswer)
	} else {
		p.commit.Store(isLost)
	}
}

// silence swallows what is sent from now on.
func (p *proxy) silence() { p.silent.Store(true) }

func (p *proxy) healthy() { p.commit.Store(passes) }

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// close ends all connections and takes no more.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.cut()
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.forward(client, server) })
	both.Go(func() { p.answer(server, client) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

func (p *proxy) forward(client, server net.Conn) {
	defer func() { _ = client.Close(); _ = server.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if lose := p.commit.Load(); lose != passes && bytes.Contains(buffer[:n], []byte("commit\x00")) {
			_ = client.Close()
			if lose == losesItsAnswer {
				_, _ = server.Write(buffer[:n])
				_, _ = io.Copy(io.Discard, io.LimitReader(server, 1)) // until it has answered
			}
			return
		}
		if p.silent.Load() {
			continue
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// answer forwards the server's messages, each a type, a length and a body.
func (p *proxy) answer(server, client net.Conn) {
	defer func() { _ = client.Close(); _ = server.Close() }()
	header := make([]byte, 5)
	for {
		if _, err := io.ReadFull(server, header); err != nil {
			return
		}
		if header[0] == 'Z' {
			p.roundTrips.Add(1)
		}
		if _, err := client.Write(header); err != nil {
			return
		}
		if _, err := io.CopyN(client, server, int64(binary.BigEndian.Uint32(header[1:]))-4); err != nil {
			return
		}
	}
}
