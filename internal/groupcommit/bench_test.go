package groupcommit_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// The benchmarks compare 32 callers that each insert one row and wait until it is
// durable: grouped, and (the floor) each in a transaction of its own.

const callers = 32

const createRow = "CREATE TABLE bench (id bigint PRIMARY KEY, payload text NOT NULL)"

const payload = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func BenchmarkSQLite(b *testing.B) {
	open := func(b *testing.B, observe groupcommit.Observe) *groupcommit.SQLite {
		db, err := groupcommit.OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "bench.db"), observe)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, db.Close()) })
		require.NoError(b, db.Write(b.Context(), "", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, createRow)
			return err
		}))
		return db
	}
	const insert = "INSERT INTO bench (id, payload) VALUES (?, ?)"

	b.Run("grouped", func(b *testing.B) {
		sizes := &sizes{}
		db := open(b, sizes.observe)
		sizes.run(b, func(ctx context.Context, id int64) error {
			return db.Write(ctx, "bench", func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, insert, id, payload)
				return err
			})
		})
	})
	b.Run("alone", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "bench.db")
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, db.Close()) })
		db.SetMaxOpenConns(1)
		_, err = db.ExecContext(b.Context(), createRow)
		require.NoError(b, err)
		(&sizes{}).run(b, func(ctx context.Context, id int64) error {
			_, err := db.ExecContext(ctx, insert, id, payload)
			return err
		})
	})
}

func BenchmarkPostgres(b *testing.B) {
	const insert = "INSERT INTO bench (id, payload) VALUES ($1, $2)"

	b.Run("grouped", func(b *testing.B) {
		sizes := &sizes{}
		db, err := groupcommit.OpenPostgres(b.Context(), migrationstest.PostgresDSN(b), sizes.observe)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, db.Close()) })
		_, err = db.Read().Exec(b.Context(), createRow)
		require.NoError(b, err)
		sizes.run(b, func(ctx context.Context, id int64) error {
			return db.Write(ctx, "bench", func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, insert, id, payload)
				return err
			})
		})
	})
	b.Run("batched", func(b *testing.B) {
		sizes := &sizes{}
		db, err := groupcommit.OpenPostgres(b.Context(), migrationstest.PostgresDSN(b), sizes.observe)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, db.Close()) })
		_, err = db.Read().Exec(b.Context(), createRow)
		require.NoError(b, err)
		sizes.run(b, func(ctx context.Context, id int64) error {
			batch := &pgx.Batch{}
			batch.Queue(insert, id, payload)
			return db.WriteBatch(ctx, "bench", batch)
		})
	})
	b.Run("alone", func(b *testing.B) {
		config, err := pgxpool.ParseConfig(migrationstest.PostgresDSN(b))
		require.NoError(b, err)
		config.MaxConns = callers
		db, err := pgxpool.NewWithConfig(b.Context(), config)
		require.NoError(b, err)
		b.Cleanup(db.Close)
		_, err = db.Exec(b.Context(), createRow)
		require.NoError(b, err)
		(&sizes{}).run(b, func(ctx context.Context, id int64) error {
			_, err := db.Exec(ctx, insert, id, payload)
			return err
		})
	})
}

// sizes counts what a committer tells.
type sizes struct{ commits, writes atomic.Int64 }

func (s *sizes) observe(size int, _ time.Duration) {
	s.commits.Add(1)
	s.writes.Add(int64(size))
}

// run lets the callers insert b.N rows, and reports rows per second and per commit.
func (s *sizes) run(b *testing.B, insert func(ctx context.Context, id int64) error) {
	var next atomic.Int64
	ctx := b.Context()
	s.commits.Store(0)
	s.writes.Store(0)
	b.ReportAllocs()
	b.SetParallelism(callers / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := insert(ctx, next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	if commits := s.commits.Load(); commits > 0 {
		b.ReportMetric(float64(s.writes.Load())/float64(commits), "rows/commit")
	}
}
