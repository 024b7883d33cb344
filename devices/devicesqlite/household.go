package devicesqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

const deleteInvitation = `DELETE FROM site_invitations WHERE site_id = ? AND email = ?`

// Members is documented at devices.Store.
func (s *Store) Members(ctx context.Context, siteID int64) ([]devices.Membership, error) {
	const query = `SELECT user_id, role FROM site_members WHERE site_id = ? ORDER BY user_id`
	rows, err := s.db.Read().QueryContext(ctx, query, siteID)
	list, err := collect(rows, err, func(row row) (m devices.Membership, err error) {
		err = row.Scan(&m.UserID, (*string)(&m.Role))
		return m, err
	})
	return list, wrap(ctx, err, "list members of site %d", siteID)
}

// RemoveMember is documented at devices.Store.
func (s *Store) RemoveMember(ctx context.Context, siteID, userID int64, email string, e devices.Entry) error {
	const query = `
		SELECT EXISTS (SELECT 1 FROM site_members o WHERE o.site_id = m.site_id AND o.user_id <> m.user_id AND o.role = 'owner'), role
		FROM site_members m WHERE m.site_id = ? AND m.user_id = ?`
	const remove = `DELETE FROM site_members WHERE site_id = ? AND user_id = ?`
	err := s.db.Write(ctx, siteKey(siteID), func(ctx context.Context, tx *sql.Tx) error {
		var owned bool
		var role devices.Role
		if err := tx.QueryRowContext(ctx, query, siteID, userID).Scan(&owned, (*string)(&role)); err != nil {
			return err
		}
		if role == devices.Owner && !owned {
			return devices.ErrLastOwner
		}
		if _, err := tx.ExecContext(ctx, deleteInvitation, siteID, email); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, remove, siteID, userID); err != nil {
			return err
		}
		return insertEntry(ctx, tx, siteID, e)
	})
	return wrap(ctx, err, "remove member %d of site %d", userID, siteID)
}

// Invite is documented at devices.Store.
func (s *Store) Invite(ctx context.Context, i devices.Invitation, most int, e devices.Entry) error {
	const count = `SELECT count(*) FROM site_invitations WHERE site_id = ? AND email <> ? AND expires_at > ?`
	const insert = `
		INSERT INTO site_invitations (site_id, email, role, secret_hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (site_id, email) DO UPDATE SET role = excluded.role, secret_hash = excluded.secret_hash,
			created_at = excluded.created_at, expires_at = excluded.expires_at`
	err := s.db.Write(ctx, siteKey(i.SiteID), func(ctx context.Context, tx *sql.Tx) error {
		var open int
		if err := tx.QueryRowContext(ctx, count, i.SiteID, i.Email, micros(i.CreatedAt)).Scan(&open); err != nil {
			return err
		}
		if open >= most {
			return devices.ErrFull
		}
		_, err := tx.ExecContext(ctx, insert, i.SiteID, i.Email, string(i.Role), i.SecretHash[:], micros(i.CreatedAt), micros(i.ExpiresAt))
		if err != nil {
			return err
		}
		return insertEntry(ctx, tx, i.SiteID, e)
	})
	return wrap(ctx, err, "invite to site %d", i.SiteID)
}

// Uninvite is documented at devices.Store.
func (s *Store) Uninvite(ctx context.Context, siteID int64, email string, e devices.Entry) error {
	err := s.db.Write(ctx, siteKey(siteID), func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, deleteInvitation, siteID, email)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, devices.ErrNotFound)
		}
		return insertEntry(ctx, tx, siteID, e)
	})
	return wrap(ctx, err, "end an invitation to site %d", siteID)
}

// Invitations is documented at devices.Store.
func (s *Store) Invitations(ctx context.Context, siteID int64, now time.Time) ([]devices.Invitation, error) {
	const query = `
		SELECT site_id, email, role, secret_hash, created_at, expires_at FROM site_invitations
		WHERE site_id = ? AND expires_at > ? ORDER BY email`
	rows, err := s.db.Read().QueryContext(ctx, query, siteID, micros(now))
	list, err := collect(rows, err, func(row row) (i devices.Invitation, err error) {
		var hash []byte
		var createdAt, expiresAt int64
		err = row.Scan(&i.SiteID, &i.Email, (*string)(&i.Role), &hash, &createdAt, &expiresAt)
		copy(i.SecretHash[:], hash)
		i.CreatedAt, i.ExpiresAt = utc(createdAt), utc(expiresAt)
		return i, err
	})
	return list, wrap(ctx, err, "list invitations to site %d", siteID)
}

// Invited is documented at devices.Store.
func (s *Store) Invited(ctx context.Context, secretHash [32]byte, email string, now time.Time) (devices.Site, devices.Invitation, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.language, '', s.created_at, i.role, i.created_at, i.expires_at
		FROM site_invitations i JOIN sites s ON s.id = i.site_id
		WHERE i.secret_hash = ? AND i.email = ? AND i.expires_at > ?`
	i := devices.Invitation{Email: email, SecretHash: secretHash}
	var createdAt, expiresAt int64
	site, err := scanSite(s.db.Read().QueryRowContext(ctx, query, secretHash[:], email, micros(now)), (*string)(&i.Role), &createdAt, &expiresAt)
	if err != nil {
		return devices.Site{}, devices.Invitation{}, wrap(ctx, err, "find an invitation")
	}
	i.SiteID, i.CreatedAt, i.ExpiresAt = site.ID, utc(createdAt), utc(expiresAt)
	return site, i, nil
}

// Join is documented at devices.Store.
func (s *Store) Join(ctx context.Context, j devices.Joining) (devices.Site, error) {
	const take = `DELETE FROM site_invitations WHERE secret_hash = ? AND email = ? AND expires_at > ? RETURNING site_id, role`
	const insert = `INSERT INTO site_members (user_id, site_id, role) VALUES (?, ?, ?)`
	const query = `SELECT ` + siteColumns + ` FROM site_members m JOIN sites s ON s.id = m.site_id WHERE m.user_id = ? AND m.site_id = ?`
	var joined devices.Site
	err := s.db.Write(ctx, "join", func(ctx context.Context, tx *sql.Tx) error {
		var siteID int64
		var role devices.Role
		err := tx.QueryRowContext(ctx, take, j.SecretHash[:], j.Email, micros(j.Now)).Scan(&siteID, (*string)(&role))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insert, j.UserID, siteID, string(role)); err != nil {
			return err
		}
		if joined, err = scanSite(tx.QueryRowContext(ctx, query, j.UserID, siteID)); err != nil {
			return err
		}
		return insertEntry(ctx, tx, siteID, j.Entry(joined, role))
	})
	if err != nil {
		return devices.Site{}, wrap(ctx, err, "join a site as user %d", j.UserID)
	}
	return joined, nil
}
