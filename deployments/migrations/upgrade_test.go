package migrations_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// upTo applies the steps up to version, as a program of that time would have.
func upTo(t *testing.T, db *sql.DB, d migrations.Dialect, version int64) {
	t.Helper()
	dialect := map[migrations.Dialect]goose.Dialect{
		migrations.SQLite: goose.DialectSQLite3, migrations.Postgres: goose.DialectPostgres,
	}
	provider, err := goose.NewProvider(dialect[d], db, os.DirFS(string(d)), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	require.NoError(t, err)
	_, err = provider.UpTo(t.Context(), version)
	require.NoError(t, err)
}

// record writes rows as programs of an older schema wrote them.
type record struct {
	t  *testing.T
	db *sql.DB
	d  migrations.Dialect
}

// add inserts a row of one value for each column: of SQLite times are numbers.
func (r record) add(table string, row map[string]any) {
	r.t.Helper()
	var columns, places string
	var values []any
	for column, value := range row {
		if at, is := value.(time.Time); is && r.d == migrations.SQLite {
			value = at.UnixMicro()
		}
		if hash, is := value.(oauth.Hash); is {
			value = hash[:]
		}
		values = append(values, value)
		columns += ", " + column
		places += fmt.Sprintf(", $%d", len(values))
	}
	system := ""
	if r.d == migrations.Postgres && row["id"] != nil && table != "oauth_clients" {
		system = "OVERRIDING SYSTEM VALUE "
	}
	_, err := r.db.ExecContext(r.t.Context(), "INSERT INTO "+table+" ("+columns[2:]+") "+system+"VALUES ("+places[2:]+")", values...)
	require.NoError(r.t, err)
}

// What the record holds before applications had kinds, scopes and several secrets.
var (
	began   = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	rotated = began.Add(time.Hour)
	now     = rotated.Add(30 * time.Second)
	hour    = now.Add(time.Hour)
	year    = now.Add(365 * 24 * time.Hour)
	nonce   = oauth.Nonce(oauth.HashOf("nonce"))
)

func (r record) write() {
	r.t.Helper()
	for id, name := range map[int64]string{1: "alice", 2: "bob"} {
		r.add("oauth_users", map[string]any{"id": id, "email": name + "@example.org", "name": name, "password_hash": "$argon2id$", "created_at": began})
	}
	for i, name := range []string{"lights", "alarm", "unused"} {
		r.add("oauth_clients", map[string]any{
			"id": name, "kind": "personal", "name": "My " + name, "owner_id": int64(i%2 + 1),
			"secret_hash": oauth.HashOf("secret of " + name), "created_at": began.Add(time.Duration(i) * time.Minute),
		})
	}
	grant := func(id int64, client string, user int64, revoked any) {
		r.add("oauth_grants", map[string]any{
			"id": id, "client_id": client, "user_id": user, "grant_type": "password",
			"created_at": began, "expires_at": year, "revoked_at": revoked,
		})
	}
	access := func(token string, grant int64, expires time.Time) {
		r.add("oauth_access_tokens", map[string]any{"hash": oauth.HashOf(token), "grant_id": grant, "expires_at": expires})
	}
	refresh := func(token string, grant int64, more map[string]any) {
		row := map[string]any{"hash": oauth.HashOf(token), "grant_id": grant, "expires_at": year}
		for column, value := range more {
			row[column] = value
		}
		r.add("oauth_refresh_tokens", row)
	}
	grant(1, "lights", 1, nil) // was rotated
	access("first access", 1, hour.Add(-time.Minute))
	access("second access", 1, hour)
	hash := oauth.HashOf("first refresh")
	refresh("first refresh", 1, map[string]any{"used_at": rotated, "nonce": nonce[:], "successor_expires_at": hour})
	refresh("second refresh", 1, map[string]any{"predecessor": hash[:]})
	grant(2, "alarm", 2, nil)
	access("alarm access", 2, hour)
	refresh("alarm refresh", 2, nil)
	grant(3, "lights", 1, now)
	access("revoked access", 3, hour)
	refresh("revoked refresh", 3, nil)
	grant(9, "lights", 1, nil) // and is purged
	_, err := r.db.ExecContext(r.t.Context(), "DELETE FROM oauth_grants WHERE id = 9")
	require.NoError(r.t, err)

	for _, failed := range []time.Time{began, rotated} {
		r.add("oauth_sign_in_failures", map[string]any{"key": oauth.HashOf("key"), "failed_at": failed})
	}
	if r.d == migrations.Postgres { // as if it had given these numbers itself
		list(r.t, r.db, `SELECT setval(pg_get_serial_sequence('oauth_grants', 'id'), 9)::text`)
	}
}

// Clients, secrets and tokens of before version 3 go on working.
func TestUpgradeKeepsApplications(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, dsn string, open func() *sql.DB) {
		upgrade(t, d, open())
		upgraded{t, t.Context(), store(t, d, dsn)}.check()
	})
}

func TestUpgradeKeepsApplicationsWhereForeignKeysAreEnforced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_txlock=immediate&_pragma=foreign_keys(1)")
	require.NoError(t, err)
	defer db.Close()
	upgrade(t, migrations.SQLite, db)
	upgraded{t, t.Context(), store(t, migrations.SQLite, path)}.check()
}

// upgrade brings a record of version 2 up to date.
func upgrade(t *testing.T, d migrations.Dialect, db *sql.DB) {
	t.Helper()
	upTo(t, db, d, 2)
	record{t, db, d}.write()
	require.NoError(t, migrations.Apply(t.Context(), db, d))
	if d == migrations.SQLite {
		require.Empty(t, list(t, db, `SELECT "table" || ' to ' || parent FROM pragma_foreign_key_check`))
		require.Empty(t, list(t, db, `SELECT name FROM sqlite_schema WHERE name GLOB 'old*' OR sql GLOB '*[^a-z]old[_]*'`))
		require.Equal(t, []string{"ok"}, list(t, db, `PRAGMA integrity_check`))
	}
}

// An edit that waited when descriptions and home pages did not changes neither.
func TestUpgradeKeepsWhatAnEditDoesNotName(t *testing.T) {
	onBoth(t, func(t *testing.T, d migrations.Dialect, dsn string, open func() *sql.DB) {
		db := open()
		upTo(t, db, d, 15)
		r := record{t, db, d}
		r.add("oauth_users", map[string]any{"id": int64(1), "email": "alice@example.org", "name": "Alice", "password_hash": "$argon2id$", "created_at": began})
		uris := map[migrations.Dialect]string{migrations.SQLite: `["https://a.example/"]`, migrations.Postgres: `{https://a.example/}`}[d]
		row := map[string]any{"name": "New", "redirect_uris": uris, "scope": nil, "public": false, "require_pkce": false, "require_scope": false, "legacy": false, "created_at": began}
		for _, id := range []string{"one", "two"} {
			client := map[string]any{"id": id, "kind": "commercial", "status": "active", "owner_id": int64(1), "edition": int64(1), "description": "Of " + id, "home_page": "https://" + id + ".example/"}
			edit := map[string]any{"client_id": id, "edition": int64(1)}
			for column, value := range row {
				client[column], edit[column] = value, value
			}
			r.add("oauth_clients", client)
			r.add("oauth_client_edits", edit)
		}
		require.NoError(t, migrations.Apply(t.Context(), db, d))

		s := store(t, d, dsn)
		held, err := s.HeldEdit(t.Context(), "two")
		require.NoError(t, err)
		require.Equal(t, "Of two", held.Client.Description)
		require.NoError(t, s.Review(t.Context(), oauth.Review{ClientID: "one", Edition: 1, Approve: true}))
		c, err := s.Client(t.Context(), "one")
		require.NoError(t, err)
		require.Equal(t, []string{"New", "Of one", "https://one.example/"}, []string{c.Name, c.Description, c.HomePage})
	})
}

func store(t *testing.T, d migrations.Dialect, dsn string) oauth.Store {
	t.Helper()
	if d == migrations.Postgres {
		db, err := groupcommit.OpenPostgres(t.Context(), dsn, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return oauthpgx.New(db)
	}
	db, err := groupcommit.OpenSQLite(t.Context(), dsn, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return oauthsqlite.New(db)
}

// upgraded is the store over a record after its upgrade.
type upgraded struct {
	t   *testing.T
	ctx context.Context
	oauth.Store
}

func (u upgraded) check() {
	u.t.Helper()
	u.clients()
	u.tokens()
	u.rotations()

	failures, err := u.Failures(u.ctx, oauth.HashOf("key"), began.Add(-time.Second))
	require.NoError(u.t, err)
	require.Equal(u.t, oauth.Failures{Count: 2, Oldest: began}, failures)
}

func (u upgraded) clients() {
	u.t.Helper()
	clients, err := u.Clients(u.ctx, "", 10)
	require.NoError(u.t, err)
	require.Len(u.t, clients, 3)
	ids := map[int64]bool{}
	for i, name := range []string{"lights", "alarm", "unused"} {
		created := began.Add(time.Duration(i) * time.Minute)
		c, err := u.Client(u.ctx, name)
		require.NoError(u.t, err)
		require.Len(u.t, c.Secrets, 1)
		require.Positive(u.t, c.Secrets[0].ID)
		ids[c.Secrets[0].ID] = true
		require.Equal(u.t, oauth.Client{
			ID: name, Kind: oauth.Personal, Status: oauth.Active, Name: "My " + name, OwnerID: int64(i%2 + 1), CreatedAt: created,
			Secrets: []oauth.Secret{{ID: c.Secrets[0].ID, Hash: oauth.HashOf("secret of " + name), CreatedAt: created}},
		}, c)
	}
	require.Len(u.t, ids, 3)
	require.NoError(u.t, u.AddSecret(u.ctx, "unused", oauth.Secret{Hash: oauth.HashOf("new secret"), CreatedAt: now}))
	require.NoError(u.t, u.AddClient(u.ctx, oauth.Client{ID: "new", Kind: oauth.Personal, Status: oauth.Active, Name: "n", OwnerID: 2, CreatedAt: now}))
}

func (u upgraded) tokens() {
	u.t.Helper()
	const lights, alarm = 1, 2
	for token, want := range map[string]oauth.Token{
		"first access":   {Use: oauth.UseAccess, GrantID: lights, IssuedAt: began, ExpiresAt: hour.Add(-time.Minute)},
		"second access":  {Use: oauth.UseAccess, GrantID: lights, IssuedAt: rotated, ExpiresAt: hour},
		"second refresh": {Use: oauth.UseRefresh, GrantID: lights, IssuedAt: rotated, ExpiresAt: year},
		"alarm access":   {Use: oauth.UseAccess, GrantID: alarm, IssuedAt: began, ExpiresAt: hour},
		"alarm refresh":  {Use: oauth.UseRefresh, GrantID: alarm, IssuedAt: began, ExpiresAt: year},
	} {
		want.ClientID, want.UserID, want.UserEmail = "lights", 1, "alice@example.org"
		if want.GrantID == alarm {
			want.ClientID, want.UserID, want.UserEmail = "alarm", 2, "bob@example.org"
		}
		got, err := u.Token(u.ctx, oauth.HashOf(token), now)
		require.NoError(u.t, err, token)
		require.Equal(u.t, want, got, token)
	}
	for _, token := range []string{"first refresh", "revoked access", "revoked refresh"} {
		_, err := u.Token(u.ctx, oauth.HashOf(token), now)
		require.ErrorIs(u.t, err, oauth.ErrNotFound, token)
	}
	access, err := u.Access(u.ctx, oauth.HashOf("second access"), now)
	require.NoError(u.t, err)
	require.Equal(u.t, oauth.Access{
		GrantID: lights, ClientID: "lights", ClientName: "My lights",
		UserID: 1, UserName: "alice", UserEmail: "alice@example.org", Scope: oauth.Unscoped(), ExpiresAt: hour,
	}, access)

	new, err := u.Issue(u.ctx, oauth.Issuance{
		ClientID: "lights", GrantType: oauth.GrantClientCredentials, Scope: oauth.NewScope(),
		Access: oauth.HashOf("new access"), Now: now, AccessExpiresAt: hour,
	})
	require.NoError(u.t, err)
	require.Greater(u.t, new.ID, int64(9), "the number of a grant that was purged is not given again")
}

func (u upgraded) rotations() {
	u.t.Helper()
	rotate := func(client, old string) oauth.Rotated {
		u.t.Helper()
		got, err := u.Rotate(u.ctx, oauth.Rotation{
			ClientID: client, Old: oauth.HashOf(old), Nonce: oauth.Nonce(oauth.HashOf(old + " nonce")),
			Access: oauth.HashOf(old + " access"), Refresh: oauth.HashOf(old + " refresh"),
			Now: now, AccessExpiresAt: hour, RefreshExpiresAt: year, Grace: time.Minute,
		})
		require.NoError(u.t, err, old)
		return got
	}
	require.Equal(u.t, oauth.Rotated{Outcome: oauth.Replay, GrantID: 1, UserID: 1, Nonce: nonce, ExpiresAt: hour}, rotate("lights", "first refresh"))
	require.Equal(u.t, oauth.Rotate, rotate("alarm", "alarm refresh").Outcome)
	require.Equal(u.t, oauth.Rotate, rotate("lights", "second refresh").Outcome)
	require.Equal(u.t, oauth.Reuse, rotate("lights", "first refresh").Outcome, "its successor was spent")
	_, err := u.Access(u.ctx, oauth.HashOf("second access"), now)
	require.ErrorIs(u.t, err, oauth.ErrNotFound)
	_, err = u.Access(u.ctx, oauth.HashOf("alarm refresh access"), now)
	require.NoError(u.t, err)
}
