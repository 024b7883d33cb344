package oauthpgx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// forUser is the key of writes about a person.
func forUser(id int64) string { return fmt.Sprint("user ", id) }

// lockUser has the writes about a person's factors come one after the other, whatever
// process they come from: what follows sees what the one before has done. An unknown
// user is pgx.ErrNoRows.
func lockUser(ctx context.Context, tx pgx.Tx, userID int64) error {
	var id int64
	return tx.QueryRow(ctx, `SELECT id FROM oauth_users WHERE id = $1 FOR NO KEY UPDATE`, userID).Scan(&id)
}

// Factors implements oauth.Store.
func (s *Store) Factors(ctx context.Context, userID int64) (oauth.Factors, error) {
	var f oauth.Factors
	err := pgx.BeginTxFunc(ctx, s.db.Read(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		t := oauth.TOTP{UserID: userID}
		var used *time.Time
		b := &pgx.Batch{}
		b.Queue(`SELECT sealed, last_step, created_at, last_used_at FROM oauth_totp WHERE user_id = $1`, userID).
			QueryRow(func(row pgx.Row) error {
				err := row.Scan(&t.Sealed, &t.LastStep, &t.CreatedAt, &used)
				if errors.Is(err, pgx.ErrNoRows) {
					return nil
				}
				t.CreatedAt, t.LastUsedAt = t.CreatedAt.UTC(), stored(used)
				f.TOTP = &t
				return err
			})
		b.Queue(selectKeys+` WHERE user_id = $1 ORDER BY id`, userID).Query(func(rows pgx.Rows) (err error) {
			f.Passkeys, err = pgx.AppendRows(f.Passkeys, rows, func(row pgx.CollectableRow) (oauth.Passkey, error) { return scanPasskey(row) })
			return err
		})
		b.Queue(`SELECT count(*) FROM oauth_recovery_codes WHERE user_id = $1`, userID).
			QueryRow(func(row pgx.Row) error { return row.Scan(&f.RecoveryCodes) })
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return oauth.Factors{}, refused("find second factors", err)
	}
	return f, nil
}

const selectKeys = `
	SELECT id, user_id, credential_id, public_key, name, sign_count, flags, transports, created_at, last_used_at
	FROM oauth_passkeys`

func scanPasskey(row pgx.Row) (p oauth.Passkey, err error) {
	var flags int64
	var used *time.Time
	if err := row.Scan(&p.ID, &p.UserID, &p.CredentialID, &p.PublicKey, &p.Name, &p.SignCount, &flags,
		&p.Transports, &p.CreatedAt, &used); err != nil {
		return oauth.Passkey{}, err
	}
	p.Flags, p.CreatedAt, p.LastUsedAt = byte(flags), p.CreatedAt.UTC(), stored(used)
	return p, nil
}

// Passkey implements oauth.Store.
func (s *Store) Passkey(ctx context.Context, credentialID []byte) (oauth.Passkey, error) {
	p, err := scanPasskey(s.db.Read().QueryRow(ctx, selectKeys+` WHERE credential_id = $1`, credentialID))
	return p, missing("find passkey", err)
}

// AddTOTP implements oauth.Store.
func (s *Store) AddTOTP(ctx context.Context, t oauth.TOTP, codes []oauth.Hash, c oauth.Change) (bool, error) {
	var fresh bool
	err := s.db.Write(ctx, forUser(t.UserID), func(ctx context.Context, tx pgx.Tx) error {
		if err := lockUser(ctx, tx, t.UserID); err != nil {
			return err
		}
		added, err := tx.Exec(ctx, `
			INSERT INTO oauth_totp (user_id, sealed, last_step, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (user_id) DO NOTHING`,
			t.UserID, t.Sealed, t.LastStep, t.CreatedAt)
		if err != nil {
			return err
		}
		if added.RowsAffected() == 0 {
			return oauth.ErrExists
		}
		if fresh, err = firstCodes(ctx, tx, t.UserID, codes); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	if err != nil {
		return false, userOr(err, "add authenticator app")
	}
	return fresh, nil
}

// AddPasskey implements oauth.Store.
func (s *Store) AddPasskey(ctx context.Context, p oauth.Passkey, limit int, ceremony oauth.Spent, codes []oauth.Hash, c oauth.Change) (bool, error) {
	if p.Transports == nil {
		p.Transports = []string{} // the column has no NULL
	}
	var fresh bool
	err := s.db.Write(ctx, forUser(p.UserID), func(ctx context.Context, tx pgx.Tx) error {
		if err := lockUser(ctx, tx, p.UserID); err != nil {
			return err
		}
		if err := spend(ctx, tx, ceremony); err != nil {
			return err
		}
		var has int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM oauth_passkeys WHERE user_id = $1`, p.UserID).Scan(&has); err != nil {
			return err
		}
		if has >= limit {
			return oauth.ErrTooMany
		}
		added, err := tx.Exec(ctx, `
			INSERT INTO oauth_passkeys (user_id, credential_id, public_key, name, sign_count, flags, transports, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (credential_id) DO NOTHING`,
			p.UserID, p.CredentialID, p.PublicKey, p.Name, p.SignCount, int64(p.Flags), p.Transports, p.CreatedAt)
		if err != nil {
			return err
		}
		if added.RowsAffected() == 0 {
			return oauth.ErrExists
		}
		if fresh, err = firstCodes(ctx, tx, p.UserID, codes); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	if err != nil {
		return false, userOr(err, "add passkey")
	}
	return fresh, nil
}

// userOr is the error of a write that may find no such user. Text that no row can hold
// is the caller's fault, and not that.
func userOr(err error, doing string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", doing, oauth.ErrNotFound)
	}
	return refused(doing, err)
}

// firstCodes gives a user, who is locked, recovery codes, unless some are left.
func firstCodes(ctx context.Context, tx pgx.Tx, userID int64, codes []oauth.Hash) (fresh bool, err error) {
	var left int
	err = tx.QueryRow(ctx, `SELECT count(*) FROM oauth_recovery_codes WHERE user_id = $1`, userID).Scan(&left)
	if err != nil || left > 0 {
		return false, err
	}
	return true, addCodes(ctx, tx, userID, codes)
}

func addCodes(ctx context.Context, tx pgx.Tx, userID int64, codes []oauth.Hash) error {
	hashes := make([][]byte, 0, len(codes))
	for _, code := range codes {
		hashes = append(hashes, code[:])
	}
	_, err := tx.Exec(ctx, `INSERT INTO oauth_recovery_codes (user_id, hash) SELECT $1::bigint, unnest($2::bytea[])`, userID, hashes)
	return err
}

// RemoveTOTP implements oauth.Store.
func (s *Store) RemoveTOTP(ctx context.Context, userID int64, c oauth.Change) error {
	return s.removeFactor(ctx, "remove authenticator app", userID, c, `DELETE FROM oauth_totp WHERE user_id = $1`, userID)
}

// RemovePasskey implements oauth.Store.
func (s *Store) RemovePasskey(ctx context.Context, userID, passkeyID int64, c oauth.Change) error {
	return s.removeFactor(ctx, "remove passkey", userID, c, `DELETE FROM oauth_passkeys WHERE id = $1 AND user_id = $2`, passkeyID, userID)
}

// removeFactor deletes one factor, and the recovery codes if it was the last one.
func (s *Store) removeFactor(ctx context.Context, doing string, userID int64, c oauth.Change, sql string, args ...any) error {
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx pgx.Tx) error {
		if err := lockUser(ctx, tx, userID); err != nil {
			return err
		}
		removed, err := tx.Exec(ctx, sql, args...)
		if err != nil {
			return err
		}
		if removed.RowsAffected() == 0 {
			return oauth.ErrNotFound
		}
		_, err = tx.Exec(ctx, `
			DELETE FROM oauth_recovery_codes
			WHERE user_id = $1
				AND NOT EXISTS (SELECT FROM oauth_totp WHERE user_id = $1)
				AND NOT EXISTS (SELECT FROM oauth_passkeys WHERE user_id = $1)`, userID)
		if err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	return userOr(err, doing)
}

// RemoveFactors implements oauth.Store.
func (s *Store) RemoveFactors(ctx context.Context, userID int64, c oauth.Change) (int, error) {
	var removed int64
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx pgx.Tx) error {
		removed = 0
		if err := lockUser(ctx, tx, userID); err != nil {
			if errors.Is(err, pgx.ErrNoRows) {
				return nil // who is not there has none
			}
			return err
		}
		for _, sql := range []string{`DELETE FROM oauth_totp WHERE user_id = $1`, `DELETE FROM oauth_passkeys WHERE user_id = $1`} {
			deleted, err := tx.Exec(ctx, sql, userID)
			if err != nil {
				return err
			}
			removed += deleted.RowsAffected()
		}
		if removed == 0 {
			return nil
		}
		if _, err := tx.Exec(ctx, `DELETE FROM oauth_recovery_codes WHERE user_id = $1`, userID); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	if err != nil {
		return 0, refused("remove second factors", err)
	}
	return int(removed), nil
}

// SetRecoveryCodes implements oauth.Store.
func (s *Store) SetRecoveryCodes(ctx context.Context, userID int64, codes []oauth.Hash, c oauth.Change) error {
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx pgx.Tx) error {
		if err := lockUser(ctx, tx, userID); err != nil {
			return err
		}
		var some bool
		err := tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM oauth_totp WHERE user_id = $1) OR EXISTS (SELECT FROM oauth_passkeys WHERE user_id = $1)`,
			userID).Scan(&some)
		if err != nil {
			return err
		}
		if !some {
			return oauth.ErrNotFound
		}
		if _, err := tx.Exec(ctx, `DELETE FROM oauth_recovery_codes WHERE user_id = $1`, userID); err != nil {
			return err
		}
		if err := addCodes(ctx, tx, userID, codes); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	return userOr(err, "replace recovery codes")
}

// AddTry implements oauth.Store. Tries of one key come one after the other, whatever
// process they come from, as in AddFailure.
func (s *Store) AddTry(ctx context.Context, key oauth.Hash, now, since time.Time, limit int) (int64, oauth.Failures, error) {
	var (
		count  int
		oldest *time.Time
		id     int64
	)
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_advisory_xact_lock($1)`, int64(binary.BigEndian.Uint64(key[:])))
	b.Queue(countFailures, key[:], since).QueryRow(func(row pgx.Row) error { return row.Scan(&count, &oldest) })
	b.Queue(`
		INSERT INTO oauth_sign_in_failures (key, failed_at)
		SELECT $1::bytea, $2::timestamptz WHERE (SELECT count(*) FROM oauth_sign_in_failures WHERE key = $1 AND failed_at > $3) < $4
		RETURNING id`, key[:], now, since, limit).QueryRow(func(row pgx.Row) error {
		id = 0
		if err := row.Scan(&id); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return nil
	})
	if err := s.db.WriteBatch(ctx, "failure "+string(key[:]), b); err != nil {
		return 0, oauth.Failures{}, refused("add try", err)
	}
	if id == 0 {
		return 0, failures(count, oldest), fmt.Errorf("add try: %w", oauth.ErrTooMany)
	}
	return id, failures(count, oldest), nil
}

// UseTOTP implements oauth.Store.
func (s *Store) UseTOTP(ctx context.Context, userID, step, tryID int64, signIn oauth.Spent, now time.Time) error {
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx pgx.Tx) error {
		var last int64
		if err := tx.QueryRow(ctx, `SELECT last_step FROM oauth_totp WHERE user_id = $1 FOR UPDATE`, userID).Scan(&last); err != nil {
			return err
		}
		if last >= step {
			return oauth.ErrSpent
		}
		if err := spend(ctx, tx, signIn); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE oauth_totp SET last_step = $1, last_used_at = $2 WHERE user_id = $3`, step, now, userID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM oauth_sign_in_failures WHERE id = $1`, tryID)
		return err
	})
	return userOr(err, "use authenticator app")
}

// UsePasskey implements oauth.Store.
func (s *Store) UsePasskey(ctx context.Context, p oauth.Passkey, signIn oauth.Spent, now time.Time) error {
	err := s.db.Write(ctx, forUser(p.UserID), func(ctx context.Context, tx pgx.Tx) error {
		var count uint32
		err := tx.QueryRow(ctx, `SELECT sign_count FROM oauth_passkeys WHERE id = $1 AND user_id = $2 FOR UPDATE`, p.ID, p.UserID).Scan(&count)
		if err != nil {
			return err
		}
		if count >= p.SignCount && (count != 0 || p.SignCount != 0) {
			return oauth.ErrSpent
		}
		if err := spend(ctx, tx, signIn); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE oauth_passkeys SET sign_count = $1, flags = $2, last_used_at = $3 WHERE id = $4`,
			p.SignCount, int64(p.Flags), now, p.ID)
		return err
	})
	return userOr(err, "use passkey")
}

// UseRecoveryCode implements oauth.Store.
func (s *Store) UseRecoveryCode(ctx context.Context, userID int64, code oauth.Hash, signIn oauth.Spent, c oauth.Change) (int, error) {
	var left int
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx pgx.Tx) error {
		if err := lockUser(ctx, tx, userID); err != nil {
			return err
		}
		used, err := tx.Exec(ctx, `DELETE FROM oauth_recovery_codes WHERE user_id = $1 AND hash = $2`, userID, code[:])
		if err != nil {
			return err
		}
		if used.RowsAffected() == 0 {
			return oauth.ErrNotFound
		}
		if err := spend(ctx, tx, signIn); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM oauth_recovery_codes WHERE user_id = $1`, userID).Scan(&left); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	if err != nil {
		return 0, userOr(err, "use recovery code")
	}
	return left, nil
}

// spend marks something as used, or is ErrSpent.
func spend(ctx context.Context, tx pgx.Tx, what oauth.Spent) error {
	marked, err := tx.Exec(ctx, `
		INSERT INTO oauth_spent (hash, expires_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`,
		what.Hash[:], what.ExpiresAt)
	if err != nil {
		return err
	}
	if marked.RowsAffected() == 0 {
		return oauth.ErrSpent
	}
	return nil
}
