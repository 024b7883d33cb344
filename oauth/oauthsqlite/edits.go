package oauthsqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// UpdateClient implements oauth.Store.
func (s *Store) UpdateClient(ctx context.Context, u oauth.ClientUpdate) error {
	c := u.Client
	if !storableClient(c) || u.Held != nil && !storableClient(*u.Held) {
		return fmt.Errorf("update client: %w", errText)
	}
	err := s.db.Write(ctx, "client "+c.ID, func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `
			UPDATE oauth_clients
			SET name = ?, description = ?, home_page = ?, redirect_uris = ?, scope = ?,
				public = ?, require_pkce = ?, require_scope = ?, legacy = ?, logo = ?, edition = edition + 1
			WHERE id = ? AND status = ? AND edition = ?`,
			c.Name, c.Description, c.HomePage, list[string](append([]string{}, c.RedirectURIs...)), scope(c.Scope),
			c.Public, c.RequirePKCE, c.RequireScope, c.Legacy, given(c.Logo),
			c.ID, c.Status, c.Edition)); err != nil {
			return err
		}
		if err := hold(ctx, tx, u); err != nil {
			return err
		}
		if u.Logo != nil {
			hash := oauth.HashOf(string(u.Logo))
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO oauth_client_logos (client_id, hash, png, created_at)
				VALUES (?, ?, ?, ?)
				ON CONFLICT DO NOTHING`,
				c.ID, hash[:], u.Logo, u.Now.UnixMicro()); err != nil {
				return err
			}
		}
		if err := tidy(ctx, tx, c.ID); err != nil {
			return err
		}
		return note(ctx, tx, u.Change)
	})
	return refused("update client", err)
}

func storableClient(c oauth.Client) bool {
	return storable(c.Name, c.Description, c.HomePage) && storable(c.RedirectURIs...) && storable(c.Scope...)
}

// hold replaces what waits for an operator.
func hold(ctx context.Context, tx *sql.Tx, u oauth.ClientUpdate) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_client_edits WHERE client_id = ?`, u.Client.ID); err != nil || u.Held == nil {
		return err
	}
	h := u.Held
	_, err := tx.ExecContext(ctx, `
		INSERT INTO oauth_client_edits (client_id, edition, name, description, home_page, redirect_uris, scope,
			public, require_pkce, require_scope, legacy, logo, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		u.Client.ID, u.Client.Edition+1, h.Name, h.Description, h.HomePage, list[string](append([]string{}, h.RedirectURIs...)), scope(h.Scope),
		h.Public, h.RequirePKCE, h.RequireScope, h.Legacy, given(h.Logo), u.Now.UnixMicro())
	return err
}

// tidy deletes what a client has no use for as it is now.
func tidy(ctx context.Context, tx *sql.Tx, clientID string) error {
	for _, query := range []string{
		`DELETE FROM oauth_client_logos WHERE client_id = ?1
			AND hash IS NOT (SELECT logo FROM oauth_clients WHERE id = ?1)
			AND hash IS NOT (SELECT logo FROM oauth_client_edits WHERE client_id = ?1)`,
		`DELETE FROM oauth_client_secrets WHERE client_id IN (SELECT id FROM oauth_clients WHERE id = ? AND public)`,
	} {
		if _, err := tx.ExecContext(ctx, query, clientID); err != nil {
			return err
		}
	}
	return nil
}

const selectEdits = `
	SELECT client_id, edition, name, description, home_page, redirect_uris, scope, public, require_pkce, require_scope, legacy, logo, created_at
	FROM oauth_client_edits`

// HeldEdit implements oauth.Store.
func (s *Store) HeldEdit(ctx context.Context, clientID string) (oauth.HeldEdit, error) {
	h, err := scanEdit(s.db.Read().QueryRowContext(ctx, selectEdits+` WHERE client_id = ?`, clientID))
	return h, refused("find held edit", err)
}

// HeldEdits implements oauth.Store.
func (s *Store) HeldEdits(ctx context.Context, after string, limit int) ([]oauth.HeldEdit, error) {
	rows, err := s.db.Read().QueryContext(ctx, selectEdits+` WHERE client_id > ? ORDER BY client_id LIMIT ?`, after, max(0, limit))
	held, err := collect(rows, err, scanEdit)
	return held, refused("list held edits", err)
}

func scanEdit(row scanner) (h oauth.HeldEdit, err error) {
	var logo []byte
	var created int64
	c := &h.Client
	if err := row.Scan(&c.ID, &c.Edition, &c.Name, &c.Description, &c.HomePage, (*list[string])(&c.RedirectURIs), (*scope)(&c.Scope),
		&c.Public, &c.RequirePKCE, &c.RequireScope, &c.Legacy, &logo, &created); err != nil {
		return oauth.HeldEdit{}, err
	}
	if len(c.RedirectURIs) == 0 {
		c.RedirectURIs = nil
	}
	copy(c.Logo[:], logo)
	h.Since = timeOf(created)
	return h, nil
}

// Review implements oauth.Store.
func (s *Store) Review(ctx context.Context, v oauth.Review) error {
	if !storable(v.Reason) {
		return fmt.Errorf("review client: %w", errText)
	}
	err := s.db.Write(ctx, "client "+v.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		to := oauth.Rejected
		if v.Approve {
			to = oauth.Active
		}
		err := one(tx.ExecContext(ctx, `
			UPDATE oauth_clients SET status = ?, rejection = ? WHERE id = ? AND status = ? AND edition = ?`,
			to, v.Reason, v.ClientID, oauth.Pending, v.Edition))
		if err == nil {
			return note(ctx, tx, v.Pending...)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE oauth_clients SET edition = edition + 1
			WHERE id = ?1 AND EXISTS (SELECT 1 FROM oauth_client_edits WHERE client_id = ?1 AND edition = ?2)`,
			v.ClientID, v.Edition); err != nil {
			return err
		}
		if v.Approve {
			if _, err := tx.ExecContext(ctx, `
				UPDATE oauth_clients AS c
				SET name = e.name, description = e.description, home_page = e.home_page,
					redirect_uris = e.redirect_uris, scope = e.scope, public = e.public,
					require_pkce = e.require_pkce, require_scope = e.require_scope, legacy = e.legacy, logo = e.logo
				FROM oauth_client_edits e
				WHERE c.id = ? AND e.client_id = c.id AND e.edition = ?`,
				v.ClientID, v.Edition); err != nil {
				return err
			}
		}
		if err := one(tx.ExecContext(ctx, `
			DELETE FROM oauth_client_edits WHERE client_id = ? AND edition = ?`,
			v.ClientID, v.Edition)); err != nil {
			return err
		}
		if err := tidy(ctx, tx, v.ClientID); err != nil {
			return err
		}
		return note(ctx, tx, v.Held...)
	})
	return refused("review client", err)
}

// DeleteClient implements oauth.Store.
func (s *Store) DeleteClient(ctx context.Context, clientID string, now time.Time, change oauth.Change) error {
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `
			UPDATE oauth_clients
			SET status = ?1, logo = NULL, deleted_at = ?3,
				deletion = 1 + (SELECT u.deletions FROM oauth_users u WHERE u.id = oauth_clients.owner_id)
			WHERE id = ?2 AND status <> ?1`,
			oauth.Deleted, clientID, now.UnixMicro())); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE oauth_users SET deletions = deletions + 1
			WHERE id = (SELECT owner_id FROM oauth_clients WHERE id = ?)`, clientID); err != nil {
			return err
		}
		if err := tellEnded(ctx, tx, oauth.CauseDeletion, now, endsOfClient, clientID); err != nil {
			return err
		}
		for _, query := range []string{
			`UPDATE oauth_codes SET expires_at = ?1 WHERE client_id = ?2 AND grant_id IS NULL AND expires_at > ?1`,
			`UPDATE oauth_grants SET revoked_at = ?1 WHERE client_id = ?2 AND revoked_at IS NULL`,
		} {
			if _, err := tx.ExecContext(ctx, query, now.UnixMicro(), clientID); err != nil {
				return err
			}
		}
		for _, query := range []string{
			`DELETE FROM oauth_client_secrets WHERE client_id = ?`,
			`DELETE FROM oauth_app_passwords WHERE client_id = ?`,
			`DELETE FROM oauth_client_edits WHERE client_id = ?`,
			`DELETE FROM oauth_client_logos WHERE client_id = ?`,
			`DELETE FROM oauth_device_codes WHERE client_id = ?`,
		} {
			if _, err := tx.ExecContext(ctx, query, clientID); err != nil {
				return err
			}
		}
		return note(ctx, tx, change)
	})
	return refused("delete client", err)
}

// Logo implements oauth.Store.
func (s *Store) Logo(ctx context.Context, clientID string, hash oauth.Hash) (png []byte, err error) {
	err = s.db.Read().QueryRowContext(ctx, `
		SELECT png FROM oauth_client_logos WHERE client_id = ? AND hash = ?`,
		clientID, hash[:]).Scan(&png)
	return png, refused("find logo", err)
}

// given is a hash, or NULL for a zero one.
func given(h oauth.Hash) []byte {
	if h == (oauth.Hash{}) {
		return nil
	}
	return h[:]
}
