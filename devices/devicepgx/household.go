package devicepgx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/devices"
)

// lockSite lets one after the other decide who belongs to a site.
const lockSite = `SELECT FROM sites WHERE id = $1 FOR NO KEY UPDATE`

const deleteInvitation = `DELETE FROM site_invitations WHERE site_id = $1 AND email = $2`

// Members is documented at devices.Store.
func (s *Store) Members(ctx context.Context, siteID int64) ([]devices.Membership, error) {
	const query = `SELECT user_id, role FROM site_members WHERE site_id = $1 ORDER BY user_id`
	rows, err := s.db.Read().Query(ctx, query, siteID)
	list, err := collect(rows, err, func(row pgx.Row) (m devices.Membership, err error) {
		err = row.Scan(&m.UserID, (*string)(&m.Role))
		return m, err
	})
	return list, wrap(err, "list members of site %d", siteID)
}

// RemoveMember is documented at devices.Store.
func (s *Store) RemoveMember(ctx context.Context, siteID, userID int64, email string, e devices.Entry) error {
	const query = `
		SELECT EXISTS (SELECT FROM site_members o WHERE o.site_id = m.site_id AND o.user_id <> m.user_id AND o.role = 'owner'), role
		FROM site_members m WHERE m.site_id = $1 AND m.user_id = $2`
	const remove = `DELETE FROM site_members WHERE site_id = $1 AND user_id = $2`
	if !storable(email) {
		email = "" // is invited nowhere
	}
	err := s.db.Write(ctx, siteKey(siteID), func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSite, siteID); err != nil {
			return err
		}
		var owned bool
		var role devices.Role
		if err := tx.QueryRow(ctx, query, siteID, userID).Scan(&owned, (*string)(&role)); err != nil {
			return err
		}
		if role == devices.Owner && !owned {
			return devices.ErrLastOwner
		}
		// It comes first: who joins with the invitation at this moment is there either
		// still, and cannot, or already, and is removed.
		if _, err := tx.Exec(ctx, deleteInvitation, siteID, email); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, remove, siteID, userID); err != nil {
			return err
		}
		return insertEntries(ctx, tx, siteID, &e)
	})
	return wrap(err, "remove member %d of site %d", userID, siteID)
}

// Invite is documented at devices.Store.
func (s *Store) Invite(ctx context.Context, i devices.Invitation, most int, e devices.Entry) error {
	const count = `SELECT count(*) FROM site_invitations WHERE site_id = $1 AND email <> $2 AND expires_at > $3`
	const insert = `
		INSERT INTO site_invitations (site_id, email, role, secret_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (site_id, email) DO UPDATE SET role = excluded.role, secret_hash = excluded.secret_hash,
			created_at = excluded.created_at, expires_at = excluded.expires_at`
	err := s.db.Write(ctx, siteKey(i.SiteID), func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSite, i.SiteID); err != nil {
			return err
		}
		var open int
		if err := tx.QueryRow(ctx, count, i.SiteID, i.Email, i.CreatedAt).Scan(&open); err != nil {
			return err
		}
		if open >= most {
			return devices.ErrFull
		}
		_, err := tx.Exec(ctx, insert, i.SiteID, i.Email, string(i.Role), i.SecretHash[:], i.CreatedAt, i.ExpiresAt)
		if err != nil {
			return err
		}
		return insertEntries(ctx, tx, i.SiteID, &e)
	})
	return wrap(err, "invite to site %d", i.SiteID)
}

// Uninvite is documented at devices.Store.
func (s *Store) Uninvite(ctx context.Context, siteID int64, email string, e devices.Entry) error {
	if !storable(email) {
		return wrap(devices.ErrNotFound, "end an invitation to site %d", siteID)
	}
	err := s.db.Write(ctx, siteKey(siteID), func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSite, siteID); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, deleteInvitation, siteID, email)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return devices.ErrNotFound
		}
		return insertEntries(ctx, tx, siteID, &e)
	})
	return wrap(err, "end an invitation to site %d", siteID)
}

// Invitations is documented at devices.Store.
func (s *Store) Invitations(ctx context.Context, siteID int64, now time.Time) ([]devices.Invitation, error) {
	const query = `
		SELECT site_id, email, role, secret_hash, created_at, expires_at FROM site_invitations
		WHERE site_id = $1 AND expires_at > $2 ORDER BY email`
	rows, err := s.db.Read().Query(ctx, query, siteID, now)
	list, err := collect(rows, err, func(row pgx.Row) (i devices.Invitation, err error) {
		var hash []byte
		var createdAt, expiresAt time.Time
		err = row.Scan(&i.SiteID, &i.Email, (*string)(&i.Role), &hash, &createdAt, &expiresAt)
		copy(i.SecretHash[:], hash)
		i.CreatedAt, i.ExpiresAt = createdAt.UTC(), expiresAt.UTC()
		return i, err
	})
	return list, wrap(err, "list invitations to site %d", siteID)
}

// Invited is documented at devices.Store.
func (s *Store) Invited(ctx context.Context, secretHash [32]byte, email string, now time.Time) (devices.Site, devices.Invitation, error) {
	const query = `
		SELECT s.id, s.label, s.timezone, s.language, '', s.created_at, i.role, i.created_at, i.expires_at
		FROM site_invitations i JOIN sites s ON s.id = i.site_id
		WHERE i.secret_hash = $1 AND i.email = $2 AND i.expires_at > $3`
	if !storable(email) {
		return devices.Site{}, devices.Invitation{}, wrap(devices.ErrNotFound, "find an invitation")
	}
	i := devices.Invitation{Email: email, SecretHash: secretHash}
	var createdAt, expiresAt time.Time
	site, err := scanSite(s.db.Read().QueryRow(ctx, query, secretHash[:], email, now), (*string)(&i.Role), &createdAt, &expiresAt)
	if err != nil {
		return devices.Site{}, devices.Invitation{}, wrap(err, "find an invitation")
	}
	i.SiteID, i.CreatedAt, i.ExpiresAt = site.ID, createdAt.UTC(), expiresAt.UTC()
	return site, i, nil
}

// Join is documented at devices.Store.
func (s *Store) Join(ctx context.Context, j devices.Joining) (devices.Site, error) {
	const take = `DELETE FROM site_invitations WHERE secret_hash = $1 AND email = $2 AND expires_at > $3 RETURNING site_id, role`
	const insert = `INSERT INTO site_members (user_id, site_id, role) VALUES ($1, $2, $3)`
	const query = `SELECT ` + siteColumns + ` FROM site_members m JOIN sites s ON s.id = m.site_id WHERE m.user_id = $1 AND m.site_id = $2`
	var joined devices.Site
	if !storable(j.Email) {
		return devices.Site{}, wrap(devices.ErrNotFound, "join a site as user %d", j.UserID)
	}
	err := s.db.Write(ctx, "join", func(ctx context.Context, tx pgx.Tx) error {
		var siteID int64
		var role devices.Role
		err := tx.QueryRow(ctx, take, j.SecretHash[:], j.Email, j.Now).Scan(&siteID, (*string)(&role))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insert, j.UserID, siteID, string(role)); err != nil {
			return err
		}
		if joined, err = scanSite(tx.QueryRow(ctx, query, j.UserID, siteID)); err != nil {
			return err
		}
		e := j.Entry(joined, role)
		return insertEntries(ctx, tx, siteID, &e)
	})
	if err != nil {
		return devices.Site{}, wrap(err, "join a site as user %d", j.UserID)
	}
	return joined, nil
}
