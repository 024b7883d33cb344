package oauthsqlite_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
	"github.com/foxbridge/foxbridge/oauth/oauthtest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	open := migrationstest.SQLites(t)
	oauthtest.Run(t, func(t testing.TB) oauth.Store {
		db := open(t)
		return deleting{oauthsqlite.New(db), db}
	})
}

// deleting is a store under test that can also mark an application as deleted.
type deleting struct {
	oauth.Store
	db *groupcommit.SQLite
}

func (d deleting) MarkDeleted(ctx context.Context, clientID string) error {
	return d.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE oauth_clients SET status = ? WHERE id = ?`, oauth.Deleted, clientID)
		return err
	})
}
