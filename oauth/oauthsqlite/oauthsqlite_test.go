package oauthsqlite_test

import (
	"testing"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
	"github.com/foxbridge/foxbridge/oauth/oauthtest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	open := migrationstest.SQLites(t)
	oauthtest.Run(t, func(t testing.TB) oauth.Store { return oauthsqlite.New(open(t)) })
}
