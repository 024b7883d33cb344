package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddClient implements oauth.Store.
func (s *Store) AddClient(ctx context.Context, c oauth.Client, changes ...oauth.Change) error {
	return s.addClient(ctx, c, func(context.Context, *sql.Tx) error { return nil }, changes)
}

// addClient inserts a client unless check fails.
func (s *Store) addClient(ctx context.Context, c oauth.Client, check func(context.Context, *sql.Tx) error, changes []oauth.Change) error {
	if !storable(c.ID, string(c.Kind), string(c.Status), c.Name, c.Description, c.HomePage) ||
		!storable(c.RedirectURIs...) || !storable(c.Scope...) {
		return fmt.Errorf("add client: %w", errText)
	}
	err := s.db.Write(ctx, "client "+c.ID, func(ctx context.Context, tx *sql.Tx) error {
		if err := check(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_clients (id, kind, status, name, owner_id, created_at,
				description, home_page, redirect_uris, scope, public, require_pkce, require_scope, legacy, succeeds)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
				coalesce((SELECT u.deletions FROM oauth_users u WHERE u.id = ?5), 0))`,
			c.ID, c.Kind, c.Status, c.Name, c.OwnerID, c.CreatedAt.UnixMicro(),
			c.Description, c.HomePage, list[string](append([]string{}, c.RedirectURIs...)), scope(c.Scope),
			c.Public, c.RequirePKCE, c.RequireScope, c.Legacy); err != nil {
			return err
		}
		for _, secret := range slices.Backward(c.Secrets) { // the newest comes last
			if err := insertSecret(ctx, tx, c.ID, secret); err != nil {
				return err
			}
		}
		return note(ctx, tx, changes...)
	})
	return refused("add client", err)
}

func insertSecret(ctx context.Context, tx *sql.Tx, clientID string, s oauth.Secret) error {
	var used sql.NullInt64
	if !s.LastUsedAt.IsZero() {
		used = sql.NullInt64{Int64: s.LastUsedAt.UnixMicro(), Valid: true}
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_client_secrets (client_id, hash, created_at, last_used_at)
		VALUES (?, ?, ?, ?)`,
		clientID, s.Hash[:], s.CreatedAt.UnixMicro(), used)
	return err
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
	rows, err := s.db.Read().QueryContext(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE id = ?)`+selectClients, id)
	clients, err := collectClients(rows, err)
	if err == nil && len(clients) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		return oauth.Client{}, refused("find client", err)
	}
	return clients[0], nil
}

// Clients implements oauth.Store.
func (s *Store) Clients(ctx context.Context, after string, limit int) ([]oauth.Client, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		WITH chosen AS (SELECT * FROM oauth_clients WHERE id > ? AND status <> ? ORDER BY id LIMIT ?)`+selectClients,
		after, oauth.Deleted, max(0, limit))
	clients, err := collectClients(rows, err)
	return clients, refused("list clients", err)
}

func collectClients(rows *sql.Rows, err error) (clients []oauth.Client, _ error) {
	each, err := collect(rows, err, scanClient)
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
func scanClient(row scanner) (c oauth.Client, err error) {
	var (
		created                          int64
		secretID, secretCreated, lastUse sql.NullInt64
		hash, logo                       []byte
	)
	if err := row.Scan(&c.ID, &c.Kind, &c.Status, &c.Name, &c.OwnerID, &created,
		&c.Description, &c.HomePage, (*list[string])(&c.RedirectURIs), (*scope)(&c.Scope), &c.Public, &c.RequirePKCE, &c.RequireScope, &c.Rejection,
		&c.Legacy, &logo, &c.Edition,
		&c.OwnerDisabled, &secretID, &hash, &secretCreated, &lastUse); err != nil {
		return oauth.Client{}, err
	}
	c.CreatedAt = timeOf(created)
	copy(c.Logo[:], logo)
	if len(c.RedirectURIs) == 0 {
		c.RedirectURIs = nil
	}
	if secretID.Valid {
		secret := oauth.Secret{ID: secretID.Int64, CreatedAt: timeOf(secretCreated.Int64)}
		copy(secret.Hash[:], hash)
		if lastUse.Valid {
			secret.LastUsedAt = timeOf(lastUse.Int64)
		}
		c.Secrets = []oauth.Secret{secret}
	}
	return c, nil
}

// AddSecret implements oauth.Store.
func (s *Store) AddSecret(ctx context.Context, clientID string, secret oauth.Secret, changes ...oauth.Change) error {
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		var live int
		if err := tx.QueryRowContext(ctx, `
			SELECT (SELECT count(*) FROM oauth_client_secrets s WHERE s.client_id = c.id)
			FROM oauth_clients c
			WHERE c.id = ? AND NOT c.public AND c.status <> ?`,
			clientID, oauth.Deleted).Scan(&live); err != nil {
			return err
		}
		if live >= oauth.SecretsMax {
			return oauth.ErrExists
		}
		if err := insertSecret(ctx, tx, clientID, secret); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("add secret", err)
}

// RemoveSecret implements oauth.Store.
func (s *Store) RemoveSecret(ctx context.Context, clientID string, secretID int64, changes ...oauth.Change) error {
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `
			DELETE FROM oauth_client_secrets WHERE id = ? AND client_id = ?`,
			secretID, clientID)); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	return refused("remove secret", err)
}

// TouchSecret implements oauth.Store. The latest use stays, in whatever order they
// are noted.
func (s *Store) TouchSecret(ctx context.Context, secretID int64, now time.Time) error {
	err := s.db.Write(ctx, fmt.Sprint("secret ", secretID), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE oauth_client_secrets
			SET last_used_at = max(coalesce(last_used_at, ?1), ?1)
			WHERE id = ?2`,
			now.UnixMicro(), secretID)
		return err
	})
	return refused("note use of secret", err)
}

// one makes sql.ErrNoRows of a statement that changed nothing.
func one(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n > 0 || err != nil {
		return err
	}
	return sql.ErrNoRows
}
