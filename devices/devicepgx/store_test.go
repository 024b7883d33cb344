package devicepgx_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicepgx"
	"github.com/foxbridge/foxbridge/devices/devicetest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

func TestStore(t *testing.T) { devicetest.Run(t, open) }

func TestBridges(t *testing.T) { devicetest.RunShared(t, openThree) }

func BenchmarkStore(b *testing.B) { devicetest.Benchmark(b, open) }

func open(t testing.TB) (devices.Store, func(string) int64) {
	db := migrationstest.Postgres(t)
	return devicepgx.New(db), func(name string) int64 { return addUser(t, db, name) }
}

// openThree opens one database three times, as three bridges do.
func openThree(t testing.TB) ([]devices.Store, func(string) int64) {
	dsn := migrationstest.PostgresDSN(t)
	migrate(t, dsn)
	var (
		db     *groupcommit.Postgres
		stores []devices.Store
	)
	for range 3 {
		var err error
		db, err = groupcommit.OpenPostgres(t.Context(), dsn, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		stores = append(stores, devicepgx.New(db))
	}
	return stores, func(name string) int64 { return addUser(t, db, name) }
}

func migrate(t testing.TB, dsn string) {
	db, err := migrations.Open(migrations.Postgres, dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, migrations.Apply(t.Context(), db, migrations.Postgres))
}

func addUser(t testing.TB, db *groupcommit.Postgres, name string) int64 {
	const insert = `
		INSERT INTO oauth_users (email, name, password_hash, created_at)
		VALUES ($1, $1, '', now()) RETURNING id`
	var id int64
	require.NoError(t, db.Write(t.Context(), name, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, insert, name).Scan(&id)
	}))
	return id
}

func TestScenariosThroughAYear(t *testing.T) {
	t.Parallel()
	store, addUser := open(t)
	devicetest.Year(t, []devices.Store{store}, addUser)
}

func TestScenariosThroughAYearWithTwoBridges(t *testing.T) {
	t.Parallel()
	stores, addUser := openThree(t)
	devicetest.Year(t, stores[:2], addUser)
}
