package oauthpgx_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
)

// fixture is a store with an application.
type fixture struct {
	*oauthpgx.Store
	t      *testing.T
	client oauth.Client
	last   int
}

func newFixture(t *testing.T, store *oauthpgx.Store, kind oauth.Kind) *fixture {
	t.Helper()
	id, err := store.AddUser(t.Context(), oauth.User{Email: "a@example.org", Name: "A", PasswordHash: "x", CreatedAt: time.Now()})
	require.NoError(t, err)
	c := oauth.Client{ID: fmt.Sprintf("%032x", 7), Kind: kind, Status: oauth.Active, Name: "App", OwnerID: id, CreatedAt: time.Now()}
	require.NoError(t, store.AddClient(t.Context(), c))
	return &fixture{Store: store, t: t, client: c}
}

func (f *fixture) hash() oauth.Hash {
	f.last++
	return oauth.HashOf(fmt.Sprint(f.last))
}

func (f *fixture) meter() oauth.Meter {
	return oauth.Meter{Mode: oauth.ModeEnforce, Kind: f.client.Kind, Limits: oauth.DefaultLimits()}
}

func (f *fixture) issuance(now time.Time) oauth.Issuance {
	return oauth.Issuance{
		ClientID: f.client.ID, UserID: f.client.OwnerID, GrantType: oauth.GrantPassword, Access: f.hash(), Refresh: f.hash(), Now: now,
		AccessExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(24 * time.Hour), Meter: f.meter(),
	}
}

// uses issues tokens in each way that there is.
func (f *fixture) uses(ctx context.Context) error {
	now := time.Now()
	i := f.issuance(now)
	if _, err := f.Issue(ctx, i); err != nil {
		return err
	}
	r := oauth.Rotation{
		ClientID: f.client.ID, Old: i.Refresh, Access: f.hash(), Refresh: f.hash(), Now: now,
		AccessExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(24 * time.Hour), Grace: time.Minute, Meter: f.meter(),
	}
	if _, err := f.Rotate(ctx, r); err != nil {
		return err
	}
	c := oauth.Code{Hash: f.hash(), Ticket: f.hash(), ClientID: f.client.ID, UserID: f.client.OwnerID, RedirectURI: "x", Now: now, ExpiresAt: now.Add(time.Minute)}
	if err := f.AddCode(ctx, c); err != nil {
		return err
	}
	_, err := f.Redeem(ctx, oauth.Redemption{
		Code: c.Hash, ClientID: f.client.ID, RedirectURI: "x", Access: f.hash(), Refresh: f.hash(), Now: now,
		AccessExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(24 * time.Hour), Meter: f.meter(),
	})
	return err
}

// A commercial application may have a hundred thousand people: none of them waits for
// its row, nor for what another bridge counts in the same minute. A personal one waits.
func TestThePeopleOfACommercialApplicationDoNotQueue(t *testing.T) {
	t.Parallel()
	for _, kind := range []oauth.Kind{oauth.Commercial, oauth.Personal} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			db := migrationstest.Postgres(t)
			f := newFixture(t, oauthpgx.New(db), kind)
			require.NoError(t, f.uses(t.Context()))

			other, err := db.Read().Begin(t.Context()) // another bridge in the middle of its writes
			require.NoError(t, err)
			defer func() { require.NoError(t, other.Rollback(context.Background())) }()
			_, err = other.Exec(t.Context(), `SELECT FROM oauth_clients WHERE id = $1 FOR NO KEY UPDATE`, f.client.ID)
			require.NoError(t, err)
			_, err = other.Exec(t.Context(), `
				INSERT INTO oauth_issuance_minutes (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
				SELECT $1, floor(extract(epoch FROM now()) / 60)::int + later, 'refresh_token', 'issued', pg_backend_pid(), 1, 0, 0
				FROM generate_series(0, 1) later`,
				f.client.ID)
			require.NoError(t, err)

			err = f.uses(t.Context())
			if kind == oauth.Commercial {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "lock timeout")
		})
	}
}

// The docs state what the ledger takes.
func TestWhatAMinuteOfTheLedgerTakes(t *testing.T) {
	t.Parallel()
	db := migrationstest.Postgres(t)
	f := newFixture(t, oauthpgx.New(db), oauth.Personal)
	const minutes = 1_440
	began := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range minutes {
		batch := f.issuance(began.Add(time.Duration(i) * time.Minute))
		batch.Meter.Mode, batch.GrantType, batch.Refresh = oauth.ModeShadow, oauth.GrantRefresh, oauth.Hash{}
		_, err := f.Issue(t.Context(), batch)
		require.NoError(t, err)
	}
	rows, size := size(t, db.Read().QueryRow(t.Context(), `
		SELECT count(*), sum(pg_column_size(m.*)) FROM oauth_issuance_minutes m`))
	t.Logf("%d rows of %d bytes", rows, size/rows)
	require.Less(t, size/rows, 112)
	var all int
	require.NoError(t, db.Read().QueryRow(t.Context(), `SELECT pg_total_relation_size('oauth_issuance_minutes')`).Scan(&all))
	t.Logf("%d bytes for each, with the indexes", all/rows)
	require.Less(t, all/rows, 340)
}

func size(t *testing.T, row pgx.Row) (rows, bytes int) {
	t.Helper()
	require.NoError(t, row.Scan(&rows, &bytes))
	return rows, bytes
}
