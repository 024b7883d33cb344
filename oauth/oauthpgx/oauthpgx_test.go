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
	oauthtest.Run(t, func(t testing.TB) oauth.Store {
		return oauthpgx.New(migrationstest.Postgres(t))
	})
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

func (p *processes) User(ctx context.Context, id int64) (oauth.User, error) {
	return p.next().User(ctx, id)
}

func (p *processes) Users(ctx context.Context, after int64, limit int) ([]oauth.User, error) {
	return p.next().Users(ctx, after, limit)
}

func (p *processes) AddClient(ctx context.Context, c oauth.Client, changes ...oauth.Change) error {
	return p.next().AddClient(ctx, c, changes...)
}

func (p *processes) AddSecret(ctx context.Context, clientID string, s oauth.Secret, changes ...oauth.Change) error {
	return p.next().AddSecret(ctx, clientID, s, changes...)
}

func (p *processes) RemoveSecret(ctx context.Context, clientID string, secretID int64, changes ...oauth.Change) error {
	return p.next().RemoveSecret(ctx, clientID, secretID, changes...)
}

func (p *processes) TouchSecret(ctx context.Context, secretID int64, now time.Time) error {
	return p.next().TouchSecret(ctx, secretID, now)
}

func (p *processes) Client(ctx context.Context, id string) (oauth.Client, error) {
	return p.next().Client(ctx, id)
}

func (p *processes) Clients(ctx context.Context, after string, limit int) ([]oauth.Client, error) {
	return p.next().Clients(ctx, after, limit)
}

func (p *processes) Issue(ctx context.Context, i oauth.Issuance) (oauth.NewGrant, error) {
	return p.next().Issue(ctx, i)
}

func (p *processes) AddCode(ctx context.Context, c oauth.Code, changes ...oauth.Change) error {
	return p.next().AddCode(ctx, c, changes...)
}

func (p *processes) Redeem(ctx context.Context, r oauth.Redemption) (oauth.Redeemed, error) {
	return p.next().Redeem(ctx, r)
}

func (p *processes) Rotate(ctx context.Context, r oauth.Rotation) (oauth.Rotated, error) {
	return p.next().Rotate(ctx, r)
}

func (p *processes) Token(ctx context.Context, token oauth.Hash, now time.Time) (oauth.Token, error) {
	return p.next().Token(ctx, token, now)
}

func (p *processes) Revoke(ctx context.Context, clientID string, token oauth.Hash, now time.Time) error {
	return p.next().Revoke(ctx, clientID, token, now)
}

func (p *processes) Access(ctx context.Context, token oauth.Hash, now time.Time) (oauth.Access, error) {
	return p.next().Access(ctx, token, now)
}

func (p *processes) AddSession(ctx context.Context, s oauth.Session, changes ...oauth.Change) error {
	return p.next().AddSession(ctx, s, changes...)
}

func (p *processes) Session(ctx context.Context, session oauth.Hash, now time.Time) (oauth.User, error) {
	return p.next().Session(ctx, session, now)
}

func (p *processes) EndSession(ctx context.Context, session oauth.Hash) error {
	return p.next().EndSession(ctx, session)
}

func (p *processes) Note(ctx context.Context, c oauth.Change) error {
	return p.next().Note(ctx, c)
}

func (p *processes) Changes(ctx context.Context, userID, before int64, limit int) ([]oauth.Change, error) {
	return p.next().Changes(ctx, userID, before, limit)
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
