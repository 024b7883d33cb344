package devicesqlite_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicesqlite"
	"github.com/foxbridge/foxbridge/devices/devicetest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

func TestStore(t *testing.T) { devicetest.Run(t, open) }

func BenchmarkStore(b *testing.B) { devicetest.Benchmark(b, open) }

func open(t testing.TB) (devices.Store, func(string) int64) {
	db := migrationstest.SQLite(t)
	return devicesqlite.New(db), func(name string) int64 { return addUser(t, db, name) }
}

func addUser(t testing.TB, db *groupcommit.SQLite, name string) int64 {
	const insert = `
		INSERT INTO oauth_users (email, name, password_hash, created_at)
		VALUES (?1, ?1, '', 0) RETURNING id`
	var id int64
	require.NoError(t, db.Write(t.Context(), name, func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, insert, name).Scan(&id)
	}))
	return id
}

func TestScenariosThroughAYear(t *testing.T) {
	t.Parallel()
	store, addUser := open(t)
	devicetest.Year(t, []devices.Store{store}, addUser)
}
