package migrations_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/oauth"
)

// What was issued before tokens were counted is known by the ones that come after, and
// nobody is disabled, off or under a limit of their own.
func TestUpgradeKnowsTheTokensOfBefore(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, dsn string, open func() *sql.DB) {
		db := open()
		upTo(t, db, d, 4)
		r := record{t, db, d}
		r.add("oauth_users", map[string]any{"id": int64(1), "email": "alice@example.org", "name": "Alice", "password_hash": "$argon2id$", "created_at": began})
		none := map[migrations.Dialect]string{migrations.SQLite: "[]", migrations.Postgres: "{}"}[d]
		clients := []string{"held", "revoked", "expired", "early"}
		for i, name := range clients {
			r.add("oauth_clients", map[string]any{
				"id": name, "kind": "personal", "status": "active", "name": name, "owner_id": int64(1), "created_at": began, "description": "",
				"home_page": "", "redirect_uris": none, "public": false, "require_pkce": false, "require_scope": false,
			})
			grant := map[string]any{
				"id": int64(i + 1), "client_id": name, "user_id": int64(1), "grant_type": "password", "created_at": began, "expires_at": year,
			}
			ends := []time.Time{now.Add(-time.Minute), hour}
			switch name {
			case "revoked":
				grant["revoked_at"] = now
			case "expired":
				ends = ends[:1]
			case "early":
				ends[1] = now.Add(oauth.Spare)
			}
			r.add("oauth_grants", grant)
			for _, end := range ends {
				r.add("oauth_access_tokens", map[string]any{
					"hash": oauth.HashOf(name + end.String()), "grant_id": int64(i + 1), "issued_at": began, "expires_at": end,
				})
			}
		}
		if d == migrations.Postgres { // as if it had given these numbers itself
			list(t, db, `SELECT setval(pg_get_serial_sequence('oauth_grants', 'id'), 9)::text`)
		}
		require.NoError(t, migrations.Apply(t.Context(), db, d))

		s := store(t, d, dsn)
		for _, name := range clients {
			new, err := s.Issue(t.Context(), oauth.Issuance{
				ClientID: name, UserID: 1, GrantType: oauth.GrantPassword, Access: oauth.HashOf("new " + name), Now: now, AccessExpiresAt: hour,
				Meter: oauth.Meter{Mode: oauth.ModeEnforce, Kind: oauth.Personal, Limits: oauth.Limits{Hour: 3}},
			})
			require.NoError(t, err)
			require.Equal(t, oauth.Issued, new.Tally.Outcome)
			require.Equal(t, name == "held", new.Tally.Wasteful, name)
			require.Equal(t, 3, new.Tally.Hour.Quota)
			verdicts, err := s.Verdicts(t.Context(), name, 0, 10)
			require.NoError(t, err)
			require.Empty(t, verdicts)
		}
		u, err := s.User(t.Context(), 1)
		require.NoError(t, err)
		require.Zero(t, u.DisabledAt)
	})
}

// What was revoked before it was known by whom makes nothing wasteful, and applications
// that were deleted before their deletions were numbered count for new ones alone.
func TestUpgradeHoldsNothingAgainstWhatIsThere(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, dsn string, open func() *sql.DB) {
		db := open()
		upTo(t, db, d, 17)
		r := record{t, db, d}
		r.add("oauth_users", map[string]any{"id": int64(1), "email": "alice@example.org", "name": "Alice", "password_hash": "$argon2id$", "created_at": began})
		none := map[migrations.Dialect]string{migrations.SQLite: "[]", migrations.Postgres: "{}"}[d]
		ends := time.Now().Add(24 * time.Hour).Truncate(time.Minute)
		asked := ends.Add(-time.Hour)
		for i, name := range []string{"gone", "gone too", "held", "revoked"} {
			status := "active"
			if i < 2 {
				status = "deleted"
			}
			r.add("oauth_clients", map[string]any{
				"id": name, "kind": "personal", "status": status, "name": name, "owner_id": int64(1), "created_at": began, "description": "",
				"home_page": "", "redirect_uris": none, "public": false, "require_pkce": false, "require_scope": false,
				"wasted_minute": oauth.Minute(asked),
			})
			r.add("oauth_issuance_minutes", map[string]any{
				"client_id": name, "minute": oauth.Minute(asked), "grant_type": "password", "outcome": "issued", "lane": 0,
				"tokens": 3, "wasteful": 2, "forgiven": 0,
			})
			grant := map[string]any{
				"id": int64(i + 1), "client_id": name, "user_id": int64(1), "grant_type": "password", "created_at": began, "expires_at": year,
				"access_expires_at": ends,
			}
			if name != "held" {
				grant["revoked_at"] = now
			}
			r.add("oauth_grants", grant)
		}
		if d == migrations.Postgres { // as if it had given these numbers itself
			list(t, db, `SELECT setval(pg_get_serial_sequence('oauth_grants', 'id'), 9)::text`)
		}
		require.NoError(t, migrations.Apply(t.Context(), db, d))

		s := store(t, d, dsn)
		require.NoError(t, s.AddClient(t.Context(), oauth.Client{
			ID: "new", Kind: oauth.Personal, Status: oauth.Active, Name: "New", OwnerID: 1, CreatedAt: now,
		}))
		for name, want := range map[string]int{"held": 2, "revoked": 2, "new": 4} {
			counts, err := s.Standing(t.Context(), name, asked)
			require.NoError(t, err)
			require.Equal(t, oauth.Counts{Hour: want, Day: want}, counts.Counts, name)
			new, err := s.Issue(t.Context(), oauth.Issuance{
				ClientID: name, UserID: 1, GrantType: oauth.GrantPassword, Access: oauth.HashOf("new " + name), Now: asked, AccessExpiresAt: ends,
				Meter: oauth.Meter{Mode: oauth.ModeEnforce, Kind: oauth.Personal, Limits: oauth.Limits{Hour: 9}},
			})
			require.NoError(t, err)
			require.Equal(t, name == "held", new.Tally.Wasteful, name)
		}
	})
}
