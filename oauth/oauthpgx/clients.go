package oauthpgx

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddClient implements oauth.Store.
func (s *Store) AddClient(ctx context.Context, c oauth.Client, changes ...oauth.Change) error {
	var id string
	found, err := s.write(ctx, "client "+c.ID, []any{&id}, insertClient(), clientValues(c, oauth.Room{}, changes)...)
	if err != nil {
		return refused("add client", err)
	}
	if !found {
		return fmt.Errorf("add client: %w", oauth.ErrExists)
	}
	return nil
}

// insertClient inserts a client, unless there is one of that ID, or its owner has $17
// of its kind and status, or $19 that were registered after $20; 0 is no bound.
func insertClient() string {
	return `
	WITH changed AS (
		INSERT INTO oauth_clients (id, kind, status, name, owner_id, created_at,
			description, home_page, redirect_uris, scope, public, require_pkce, require_scope, legacy, succeeds)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $18,
			coalesce((SELECT u.deletions FROM oauth_users u WHERE u.id = $5), 0)
		WHERE ($17::bigint = 0 OR $17 >
				(SELECT count(*) FROM oauth_clients c WHERE c.owner_id = $5 AND c.kind = $2 AND c.status = $3))
			AND ($19::bigint = 0 OR $19 > (
				SELECT count(*) FROM (
					SELECT FROM oauth_clients c WHERE c.owner_id = $5 AND c.created_at > $20 LIMIT $19) recent))
		ON CONFLICT (id) DO NOTHING
		RETURNING oauth_clients.id
	), secrets AS (
		INSERT INTO oauth_client_secrets (client_id, hash, created_at, last_used_at)
		SELECT changed.id, s.hash, s.created_at, s.last_used_at
		FROM changed, unnest($14::bytea[], $15::timestamptz[], $16::timestamptz[])
			WITH ORDINALITY AS s (hash, created_at, last_used_at, place)
		ORDER BY s.place
	), noted AS (` + noting(21) + `)
	SELECT changed.id FROM changed`
}

// clientValues are the arguments of insertClient.
func clientValues(c oauth.Client, room oauth.Room, changes []oauth.Change) []any {
	hashes, created, used := [][]byte{}, []time.Time{}, []*time.Time{}
	for _, secret := range slices.Backward(c.Secrets) { // the newest comes last
		hashes, created, used = append(hashes, secret.Hash[:]), append(created, secret.CreatedAt), append(used, at(secret.LastUsedAt))
	}
	return append([]any{
		c.ID, string(c.Kind), string(c.Status), c.Name, c.OwnerID, c.CreatedAt,
		c.Description, c.HomePage, append([]string{}, c.RedirectURIs...), scope(c.Scope), c.Public, c.RequirePKCE, c.RequireScope,
		hashes, created, used, max(0, room.Alike), c.Legacy, max(0, room.Recent), c.CreatedAt.Add(-room.Within),
	}, notes(changes)...)
}

// selectClients reads the clients of the CTE chosen, a row for each of their secrets.
const selectClients = `
	SELECT c.id, c.kind, c.status, c.name, c.owner_id, c.created_at,
		c.description, c.home_page, c.redirect_uris, c.scope, c.public, c.require_pkce, c.require_scope, c.rejection,
		c.legacy, c.logo, c.edition,
		u.disabled_at IS NOT NULL, s.id, s.hash, s.created_at, s.last_used_at
	FROM chosen c
	JOIN oauth_users u ON u.id = c.owner_id
	LEFT JOIN oauth_client_secrets s ON s.client_id = c.id
	ORDER BY c.id, s.created_at DESC, s.id DESC`

// Client implements oauth.Store.
func (s *Store) Client(ctx context.Context, id string) (oauth.Client, error) {
	rows, _ := s.db.Read().Query(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE id = $1)`+selectClients, id)
	clients, err := collectClients(rows)
	if err == nil && len(clients) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return oauth.Client{}, missing("find client", err)
	}
	return clients[0], nil
}

// Clients implements oauth.Store.
func (s *Store) Clients(ctx context.Context, after string, limit int) ([]oauth.Client, error) {
	rows, _ := s.db.Read().Query(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE id > $1 AND status <> $3 ORDER BY id LIMIT $2)`+selectClients,
		after, max(0, limit), string(oauth.Deleted))
	clients, err := collectClients(rows)
	return clients, refused("list clients", err)
}

func collectClients(rows pgx.Rows) (clients []oauth.Client, err error) {
	each, err := pgx.CollectRows(rows, scanClient)
	if err != nil {
		return nil, err
	}
	for _, c := range each {
		if last := len(clients) - 1; last >= 0 && clients[last].ID == c.ID {
			clients[last].Secrets = append(clients[last].Secrets, c.Secrets...)
		} else {
			clients = append(clients, c)
		}
	}
	return clients, nil
}

// scanClient gives a client with one of its secrets, if it has any.
func scanClient(row pgx.CollectableRow) (c oauth.Client, err error) {
	var (
		secretID               *int64
		hash, logo             []byte
		secretCreated, lastUse *time.Time
	)
	if err := row.Scan(&c.ID, &c.Kind, &c.Status, &c.Name, &c.OwnerID, &c.CreatedAt,
		&c.Description, &c.HomePage, &c.RedirectURIs, (*scope)(&c.Scope), &c.Public, &c.RequirePKCE, &c.RequireScope, &c.Rejection,
		&c.Legacy, &logo, &c.Edition,
		&c.OwnerDisabled, &secretID, &hash, &secretCreated, &lastUse); err != nil {
		return oauth.Client{}, err
	}
	c.CreatedAt = c.CreatedAt.UTC()
	copy(c.Logo[:], logo)
	if len(c.RedirectURIs) == 0 {
		c.RedirectURIs = nil
	}
	if secretID != nil {
		secret := oauth.Secret{ID: *secretID, CreatedAt: stored(secretCreated), LastUsedAt: stored(lastUse)}
		copy(secret.Hash[:], hash)
		c.Secrets = []oauth.Secret{secret}
	}
	return c, nil
}

// AddSecret implements oauth.Store. The client's row is locked first, so that what is
// counted then is all that there is, whatever process it came from.
func (s *Store) AddSecret(ctx context.Context, clientID string, secret oauth.Secret, changes ...oauth.Change) error {
	var client, added bool
	b := &pgx.Batch{}
	b.Queue(`SELECT id FROM oauth_clients WHERE id = $1 AND NOT public AND status <> $2 FOR NO KEY UPDATE`, clientID, string(oauth.Deleted)).
		Exec(changed(&client))
	b.Queue(`
		WITH changed AS (
			INSERT INTO oauth_client_secrets (client_id, hash, created_at, last_used_at)
			SELECT c.id, $2, $3, $4
			FROM oauth_clients c
			WHERE c.id = $1 AND NOT c.public AND c.status <> $6
				AND (SELECT count(*) FROM oauth_client_secrets s WHERE s.client_id = c.id) < $5
			RETURNING id
		), noted AS (`+noting(7)+`)
		SELECT id FROM changed`,
		append([]any{clientID, secret.Hash[:], secret.CreatedAt, at(secret.LastUsedAt), oauth.SecretsMax, string(oauth.Deleted)}, notes(changes)...)...).
		Exec(changed(&added))
	if err := s.db.WriteBatch(ctx, "client "+clientID, b); err != nil {
		return missing("add secret", err)
	}
	switch {
	case !client:
		return fmt.Errorf("add secret: %w", oauth.ErrNotFound)
	case !added:
		return fmt.Errorf("add secret: %w", oauth.ErrExists)
	}
	return nil
}

// RemoveSecret implements oauth.Store.
func (s *Store) RemoveSecret(ctx context.Context, clientID string, secretID int64, changes ...oauth.Change) error {
	var id int64
	found, err := s.write(ctx, "client "+clientID, []any{&id}, `
		WITH changed AS (
			DELETE FROM oauth_client_secrets WHERE id = $1 AND client_id = $2
			RETURNING id
		), noted AS (`+noting(3)+`)
		SELECT id FROM changed`,
		append([]any{secretID, clientID}, notes(changes)...)...)
	return foundOr(oauth.ErrNotFound, "remove secret", found, err)
}

// TouchSecret implements oauth.Store. The latest use stays, in whatever order they
// are noted.
func (s *Store) TouchSecret(ctx context.Context, secretID int64, now time.Time) error {
	b := &pgx.Batch{}
	b.Queue(`UPDATE oauth_client_secrets SET last_used_at = greatest(last_used_at, $1) WHERE id = $2`, now, secretID)
	return refused("note use of secret", s.db.WriteBatch(ctx, fmt.Sprint("secret ", secretID), b))
}

// changed tells whether a statement found any row.
func changed(any *bool) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*any = tag.RowsAffected() > 0
		return nil
	}
}
