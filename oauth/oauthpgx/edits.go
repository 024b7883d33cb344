package oauthpgx

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/foxbridge/foxbridge/oauth"
)

// UpdateClient implements oauth.Store.
func (s *Store) UpdateClient(ctx context.Context, u oauth.ClientUpdate) error {
	c := u.Client
	err := s.db.Write(ctx, "client "+c.ID, func(ctx context.Context, tx pgx.Tx) error {
		if err := changedOne(tx.Exec(ctx, `
			UPDATE oauth_clients
			SET name = $1, description = $2, home_page = $3, redirect_uris = $4, scope = $5,
				public = $6, require_pkce = $7, require_scope = $8, legacy = $9, logo = $10, edition = edition + 1
			WHERE id = $11 AND status = $12 AND edition = $13`,
			c.Name, c.Description, c.HomePage, append([]string{}, c.RedirectURIs...), scope(c.Scope),
			c.Public, c.RequirePKCE, c.RequireScope, c.Legacy, given(c.Logo),
			c.ID, string(c.Status), c.Edition)); err != nil {
			return err
		}
		if err := hold(ctx, tx, u); err != nil {
			return err
		}
		if u.Logo != nil {
			hash := oauth.HashOf(string(u.Logo))
			if _, err := tx.Exec(ctx, `
				INSERT INTO oauth_client_logos (client_id, hash, png, created_at)
				VALUES ($1, $2, $3, $4)
				ON CONFLICT DO NOTHING`,
				c.ID, hash[:], u.Logo, u.Now); err != nil {
				return err
			}
		}
		if err := tidy(ctx, tx, c.ID); err != nil {
			return err
		}
		return note(ctx, tx, u.Change)
	})
	return refusedOrMissing("update client", err)
}

// hold replaces what waits for an operator.
func hold(ctx context.Context, tx pgx.Tx, u oauth.ClientUpdate) error {
	if _, err := tx.Exec(ctx, `DELETE FROM oauth_client_edits WHERE client_id = $1`, u.Client.ID); err != nil || u.Held == nil {
		return err
	}
	h := u.Held
	_, err := tx.Exec(ctx, `
		INSERT INTO oauth_client_edits (client_id, edition, name, description, home_page, redirect_uris, scope,
			public, require_pkce, require_scope, legacy, logo, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		u.Client.ID, u.Client.Edition+1, h.Name, h.Description, h.HomePage, append([]string{}, h.RedirectURIs...), scope(h.Scope),
		h.Public, h.RequirePKCE, h.RequireScope, h.Legacy, given(h.Logo), u.Now)
	return err
}

// tidy deletes what a client has no use for as it is now.
func tidy(ctx context.Context, tx pgx.Tx, clientID string) error {
	for _, query := range []string{
		`DELETE FROM oauth_client_logos WHERE client_id = $1
			AND hash IS DISTINCT FROM (SELECT logo FROM oauth_clients WHERE id = $1)
			AND hash IS DISTINCT FROM (SELECT logo FROM oauth_client_edits WHERE client_id = $1)`,
		`DELETE FROM oauth_client_secrets WHERE client_id IN (SELECT id FROM oauth_clients WHERE id = $1 AND public)`,
	} {
		if _, err := tx.Exec(ctx, query, clientID); err != nil {
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
	rows, _ := s.db.Read().Query(ctx, selectEdits+` WHERE client_id = $1`, clientID)
	h, err := pgx.CollectExactlyOneRow(rows, scanEdit)
	if err != nil {
		return oauth.HeldEdit{}, missing("find held edit", err)
	}
	return h, nil
}

// HeldEdits implements oauth.Store.
func (s *Store) HeldEdits(ctx context.Context, after string, limit int) ([]oauth.HeldEdit, error) {
	rows, _ := s.db.Read().Query(ctx, selectEdits+` WHERE client_id > $1 ORDER BY client_id LIMIT $2`, after, max(0, limit))
	held, err := pgx.CollectRows(rows, scanEdit)
	return held, refused("list held edits", err)
}

func scanEdit(row pgx.CollectableRow) (h oauth.HeldEdit, err error) {
	var logo []byte
	c := &h.Client
	if err := row.Scan(&c.ID, &c.Edition, &c.Name, &c.Description, &c.HomePage, &c.RedirectURIs, (*scope)(&c.Scope),
		&c.Public, &c.RequirePKCE, &c.RequireScope, &c.Legacy, &logo, &h.Since); err != nil {
		return oauth.HeldEdit{}, err
	}
	if len(c.RedirectURIs) == 0 {
		c.RedirectURIs = nil
	}
	copy(c.Logo[:], logo)
	h.Since = h.Since.UTC()
	return h, nil
}

// Review implements oauth.Store.
func (s *Store) Review(ctx context.Context, v oauth.Review) error {
	err := s.db.Write(ctx, "client "+v.ClientID, func(ctx context.Context, tx pgx.Tx) error {
		to := oauth.Rejected
		if v.Approve {
			to = oauth.Active
		}
		err := changedOne(tx.Exec(ctx, `
			UPDATE oauth_clients SET status = $1, rejection = $5 WHERE id = $2 AND status = $3 AND edition = $4`,
			string(to), v.ClientID, string(oauth.Pending), v.Edition, v.Reason))
		if err == nil {
			return note(ctx, tx, v.Pending...)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE oauth_clients SET edition = edition + 1
			WHERE id = $1 AND EXISTS (SELECT FROM oauth_client_edits WHERE client_id = $1 AND edition = $2)`,
			v.ClientID, v.Edition); err != nil {
			return err
		}
		if v.Approve {
			if _, err := tx.Exec(ctx, `
				UPDATE oauth_clients c
				SET name = e.name, description = e.description, home_page = e.home_page,
					redirect_uris = e.redirect_uris, scope = e.scope, public = e.public,
					require_pkce = e.require_pkce, require_scope = e.require_scope, legacy = e.legacy, logo = e.logo
				FROM oauth_client_edits e
				WHERE c.id = $1 AND e.client_id = c.id AND e.edition = $2`,
				v.ClientID, v.Edition); err != nil {
				return err
			}
		}
		if err := changedOne(tx.Exec(ctx, `
			DELETE FROM oauth_client_edits WHERE client_id = $1 AND edition = $2`,
			v.ClientID, v.Edition)); err != nil {
			return err
		}
		if err := tidy(ctx, tx, v.ClientID); err != nil {
			return err
		}
		return note(ctx, tx, v.Held...)
	})
	return missing("review client", err)
}

// DeleteClient implements oauth.Store. The codes come first: a redemption that has
// locked one is waited for, and the grants' statement sees the one that it made. Before
// them the owner's row is locked, as by everything that locks it and more.
func (s *Store) DeleteClient(ctx context.Context, clientID string, now time.Time, change oauth.Change) error {
	err := s.db.Write(ctx, "client "+clientID, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `
			UPDATE oauth_users SET deletions = deletions + 1
			WHERE id = (SELECT owner_id FROM oauth_clients WHERE id = $1 AND status <> $2)`,
			clientID, string(oauth.Deleted)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE oauth_codes SET expires_at = $1 WHERE client_id = $2 AND grant_id IS NULL AND expires_at > $1`,
			now, clientID); err != nil {
			return err
		}
		if err := changedOne(tx.Exec(ctx, `
			UPDATE oauth_clients c
			SET status = $1, logo = NULL, deleted_at = $3, deletion = (SELECT u.deletions FROM oauth_users u WHERE u.id = c.owner_id)
			WHERE c.id = $2 AND c.status <> $1`,
			string(oauth.Deleted), clientID, now)); err != nil {
			return err
		}
		if err := tellEnded(ctx, tx, oauth.CauseDeletion, now, endsOfClient, clientID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE oauth_grants SET revoked_at = $1 WHERE client_id = $2 AND revoked_at IS NULL`,
			now, clientID); err != nil {
			return err
		}
		for _, query := range []string{
			`DELETE FROM oauth_client_secrets WHERE client_id = $1`,
			`DELETE FROM oauth_app_passwords WHERE client_id = $1`,
			`DELETE FROM oauth_client_edits WHERE client_id = $1`,
			`DELETE FROM oauth_client_logos WHERE client_id = $1`,
			`DELETE FROM oauth_device_codes WHERE client_id = $1`,
		} {
			if _, err := tx.Exec(ctx, query, clientID); err != nil {
				return err
			}
		}
		return note(ctx, tx, change)
	})
	return refusedOrMissing("delete client", err)
}

// Logo implements oauth.Store.
func (s *Store) Logo(ctx context.Context, clientID string, hash oauth.Hash) (png []byte, err error) {
	err = s.db.Read().QueryRow(ctx, `
		SELECT png FROM oauth_client_logos WHERE client_id = $1 AND hash = $2`,
		clientID, hash[:]).Scan(&png)
	if err != nil {
		return nil, missing("find logo", err)
	}
	return png, nil
}

// changedOne makes pgx.ErrNoRows of a statement that changed nothing.
func changedOne(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() == 0 {
		return pgx.ErrNoRows
	}
	return err
}

// refusedOrMissing is refused for a write that is to find a row.
func refusedOrMissing(doing string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return missing(doing, err)
	}
	return refused(doing, err)
}
