package oauthpgx_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
	"github.com/foxbridge/foxbridge/oauth/oauthtest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	oauthtest.Run(t, func(t testing.TB) oauth.Store { return oauthpgx.New(migrationstest.Postgres(t)) })
}

// Several processes on one database keep the same promises as one.
func TestStoresOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	oauthtest.Run(t, func(t testing.TB) oauth.Store {
		first := migrationstest.Postgres(t)
		all := &processes{stores: []oauth.Store{oauthpgx.New(first)}}
		for range 2 {
			db, err := groupcommit.OpenPostgres(t.Context(), first.Read().Config().ConnString(), nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			all.stores = append(all.stores, oauthpgx.New(db))
		}
		return all
	})
}

// processes is an oauth.Store that gives each call to the next of its stores.
type processes struct {
	stores []oauth.Store
	calls  atomic.Int64
}

func (p *processes) next() oauth.Store {
	return p.stores[int(p.calls.Add(1))%len(p.stores)]
}

func (p *processes) AddUser(ctx context.Context, u oauth.User) (int64, error) {
	return p.next().AddUser(ctx, u)
}

func (p *processes) UserByEmail(ctx context.Context, email string) (oauth.User, error) {
	return p.next().UserByEmail(ctx, email)
}

func (p *processes) Users(ctx context.Context, after int64, limit int) ([]oauth.User, error) {
	return p.next().Users(ctx, after, limit)
}

func (p *processes) AddClient(ctx context.Context, c oauth.Client) error {
	return p.next().AddClient(ctx, c)
}

func (p *processes) Client(ctx context.Context, id string) (oauth.Client, error) {
	return p.next().Client(ctx, id)
}

func (p *processes) Clients(ctx context.Context, after string, limit int) ([]oauth.Client, error) {
	return p.next().Clients(ctx, after, limit)
}

func (p *processes) Issue(ctx context.Context, i oauth.Issuance) (int64, error) {
	return p.next().Issue(ctx, i)
}

func (p *processes) Rotate(ctx context.Context, r oauth.Rotation) (oauth.Rotated, error) {
	return p.next().Rotate(ctx, r)
}

func (p *processes) Access(ctx context.Context, token oauth.Hash, now time.Time) (oauth.Access, error) {
	return p.next().Access(ctx, token, now)
}

func (p *processes) Failures(ctx context.Context, key oauth.Hash, since time.Time) (oauth.Failures, error) {
	return p.next().Failures(ctx, key, since)
}

func (p *processes) AddFailure(ctx context.Context, key oauth.Hash, now, since time.Time) (oauth.Failures, error) {
	return p.next().AddFailure(ctx, key, now, since)
}

func (p *processes) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	return p.next().Purge(ctx, before, limit)
}
