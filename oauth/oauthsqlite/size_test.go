package oauthsqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// The docs state what the ledger takes. Two files with the same tokens differ by it.
func TestWhatAMinuteOfTheLedgerTakes(t *testing.T) {
	t.Parallel()
	const minutes = 1_440
	open := migrationstest.SQLites(t)
	sizes := map[oauth.Mode]int{}
	for _, mode := range []oauth.Mode{oauth.ModeOff, oauth.ModeShadow} {
		db := open(t)
		s := oauthsqlite.New(db)
		id, err := s.AddUser(t.Context(), oauth.User{Email: "a@example.org", Name: "A", PasswordHash: "x", CreatedAt: time.Now()})
		require.NoError(t, err)
		client := fmt.Sprintf("%032x", 7)
		require.NoError(t, s.AddClient(t.Context(), oauth.Client{ID: client, Kind: oauth.Personal, Status: oauth.Active, Name: "App", OwnerID: id, CreatedAt: time.Now()}))
		for i := range minutes {
			now := time.Date(2026, 3, 1, 0, i, 0, 0, time.UTC)
			_, err := s.Issue(t.Context(), oauth.Issuance{
				ClientID: client, UserID: id, GrantType: oauth.GrantRefresh, Access: oauth.HashOf(fmt.Sprint(i)), Now: now, AccessExpiresAt: now.Add(time.Hour),
				Meter: oauth.Meter{Mode: mode, Kind: oauth.Personal, Limits: oauth.DefaultLimits()},
			})
			require.NoError(t, err)
		}
		sizes[mode] = pages(t, db)
	}
	each := (sizes[oauth.ModeShadow] - sizes[oauth.ModeOff]) / minutes
	t.Logf("%d bytes for each minute, with the index", each)
	require.Positive(t, each)
	require.Less(t, each, 220)
}

// pages gives the bytes of the file's pages in use.
func pages(t *testing.T, db *groupcommit.SQLite) (bytes int) {
	t.Helper()
	require.NoError(t, db.Read().QueryRowContext(t.Context(), `
		SELECT (c.page_count - f.freelist_count) * s.page_size
		FROM pragma_page_count c, pragma_freelist_count f, pragma_page_size s`).Scan(&bytes))
	return bytes
}
