package oauthsqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// forUser is the key of writes about a person.
func forUser(id int64) string { return fmt.Sprint("user ", id) }

// Factors implements oauth.Store.
func (s *Store) Factors(ctx context.Context, userID int64) (oauth.Factors, error) {
	f, err := s.factors(ctx, userID)
	if err != nil {
		return oauth.Factors{}, refused("find second factors", err)
	}
	return f, nil
}

// factors reads all in one transaction, so that they belong together.
func (s *Store) factors(ctx context.Context, userID int64) (f oauth.Factors, err error) {
	tx, err := s.db.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return f, err
	}
	defer func() { _ = tx.Rollback() }() // it wrote nothing
	t := oauth.TOTP{UserID: userID}
	var created int64
	var used sql.NullInt64
	err = tx.QueryRowContext(ctx, `
		SELECT sealed, last_step, created_at, last_used_at FROM oauth_totp WHERE user_id = ?`,
		userID).Scan(&t.Sealed, &t.LastStep, &created, &used)
	switch {
	case err == nil:
		t.CreatedAt, t.LastUsedAt = timeOf(created), maybeTimeOf(used)
		f.TOTP = &t
	case !errors.Is(err, sql.ErrNoRows):
		return f, err
	}
	rows, err := tx.QueryContext(ctx, selectKeys+` WHERE user_id = ? ORDER BY id`, userID)
	if f.Passkeys, err = collect(rows, err, scanPasskey); err != nil {
		return f, err
	}
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM oauth_recovery_codes WHERE user_id = ?`, userID).Scan(&f.RecoveryCodes)
	return f, err
}

const selectKeys = `
	SELECT id, user_id, credential_id, public_key, name, sign_count, flags, transports, created_at, last_used_at
	FROM oauth_passkeys`

func scanPasskey(row scanner) (p oauth.Passkey, err error) {
	var created int64
	var used sql.NullInt64
	if err := row.Scan(&p.ID, &p.UserID, &p.CredentialID, &p.PublicKey, &p.Name, &p.SignCount, &p.Flags,
		(*list[string])(&p.Transports), &created, &used); err != nil {
		return oauth.Passkey{}, err
	}
	p.CreatedAt, p.LastUsedAt = timeOf(created), maybeTimeOf(used)
	return p, nil
}

// maybeTimeOf is timeOf of a column that may be NULL, which is the zero time.
func maybeTimeOf(microseconds sql.NullInt64) time.Time {
	if !microseconds.Valid {
		return time.Time{}
	}
	return timeOf(microseconds.Int64)
}

// Passkey implements oauth.Store.
func (s *Store) Passkey(ctx context.Context, credentialID []byte) (oauth.Passkey, error) {
	p, err := scanPasskey(s.db.Read().QueryRowContext(ctx, selectKeys+` WHERE credential_id = ?`, credentialID))
	return p, refused("find passkey", err)
}

// AddTOTP implements oauth.Store.
func (s *Store) AddTOTP(ctx context.Context, t oauth.TOTP, codes []oauth.Hash, c oauth.Change) (bool, error) {
	var fresh bool
	err := s.db.Write(ctx, forUser(t.UserID), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_totp (user_id, sealed, last_step, created_at) VALUES (?, ?, ?, ?)`,
			t.UserID, t.Sealed, t.LastStep, t.CreatedAt.UnixMicro())
		if err != nil {
			return err
		}
		if fresh, err = firstCodes(ctx, tx, t.UserID, codes); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	if err != nil {
		return false, refused("add authenticator app", err)
	}
	return fresh, nil
}

// AddPasskey implements oauth.Store.
func (s *Store) AddPasskey(ctx context.Context, p oauth.Passkey, limit int, ceremony oauth.Spent, codes []oauth.Hash, c oauth.Change) (bool, error) {
	if !storable(p.Name) || !storable(p.Transports...) {
		return false, fmt.Errorf("add passkey: %w", errText)
	}
	if p.Transports == nil {
		p.Transports = []string{} // the column has no NULL
	}
	var fresh bool
	err := s.db.Write(ctx, forUser(p.UserID), func(ctx context.Context, tx *sql.Tx) error {
		if err := spend(ctx, tx, ceremony); err != nil {
			return err
		}
		var has int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM oauth_passkeys WHERE user_id = ?`, p.UserID).Scan(&has); err != nil {
			return err
		}
		if has >= limit {
			return oauth.ErrTooMany
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_passkeys (user_id, credential_id, public_key, name, sign_count, flags, transports, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			p.UserID, p.CredentialID, p.PublicKey, p.Name, p.SignCount, p.Flags, list[string](p.Transports), p.CreatedAt.UnixMicro())
		if err != nil {
			return err
		}
		if fresh, err = firstCodes(ctx, tx, p.UserID, codes); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	if err != nil {
		return false, refused("add passkey", err)
	}
	return fresh, nil
}

// firstCodes gives a user recovery codes, unless some are left.
func firstCodes(ctx context.Context, tx *sql.Tx, userID int64, codes []oauth.Hash) (fresh bool, err error) {
	var left int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM oauth_recovery_codes WHERE user_id = ?`, userID).Scan(&left)
	if err != nil || left > 0 {
		return false, err
	}
	return true, addCodes(ctx, tx, userID, codes)
}

func addCodes(ctx context.Context, tx *sql.Tx, userID int64, codes []oauth.Hash) error {
	for _, code := range codes {
		_, err := tx.ExecContext(ctx, `INSERT INTO oauth_recovery_codes (user_id, hash) VALUES (?, ?)`, userID, code[:])
		if err != nil {
			return err
		}
	}
	return nil
}

// RemoveTOTP implements oauth.Store.
func (s *Store) RemoveTOTP(ctx context.Context, userID int64, c oauth.Change) error {
	return s.removeFactor(ctx, "remove authenticator app", userID, c, `DELETE FROM oauth_totp WHERE user_id = ?`, userID)
}

// RemovePasskey implements oauth.Store.
func (s *Store) RemovePasskey(ctx context.Context, userID, passkeyID int64, c oauth.Change) error {
	return s.removeFactor(ctx, "remove passkey", userID, c, `DELETE FROM oauth_passkeys WHERE id = ? AND user_id = ?`, passkeyID, userID)
}

// removeFactor deletes one factor, and the recovery codes if it was the last one.
func (s *Store) removeFactor(ctx context.Context, doing string, userID int64, c oauth.Change, query string, args ...any) error {
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx *sql.Tx) error {
		removed, err := changed(tx.ExecContext(ctx, query, args...))
		if err != nil {
			return err
		}
		if removed == 0 {
			return oauth.ErrNotFound
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM oauth_recovery_codes
			WHERE user_id = ?1
				AND NOT EXISTS (SELECT 1 FROM oauth_totp WHERE user_id = ?1)
				AND NOT EXISTS (SELECT 1 FROM oauth_passkeys WHERE user_id = ?1)`, userID)
		if err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	return refused(doing, err)
}

// changed gives how many rows a statement changed.
func changed(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// RemoveFactors implements oauth.Store.
func (s *Store) RemoveFactors(ctx context.Context, userID int64, c oauth.Change) (int, error) {
	var removed int64
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx *sql.Tx) error {
		removed = 0
		for _, query := range []string{`DELETE FROM oauth_totp WHERE user_id = ?`, `DELETE FROM oauth_passkeys WHERE user_id = ?`} {
			n, err := changed(tx.ExecContext(ctx, query, userID))
			if err != nil {
				return err
			}
			removed += n
		}
		if removed == 0 {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_recovery_codes WHERE user_id = ?`, userID); err != nil {
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
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx *sql.Tx) error {
		var some bool
		err := tx.QueryRowContext(ctx, `
			SELECT EXISTS (SELECT 1 FROM oauth_totp WHERE user_id = ?1) OR EXISTS (SELECT 1 FROM oauth_passkeys WHERE user_id = ?1)`,
			userID).Scan(&some)
		if err != nil {
			return err
		}
		if !some {
			return oauth.ErrNotFound
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_recovery_codes WHERE user_id = ?`, userID); err != nil {
			return err
		}
		if err := addCodes(ctx, tx, userID, codes); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	return refused("replace recovery codes", err)
}

// AddTry implements oauth.Store.
func (s *Store) AddTry(ctx context.Context, key oauth.Hash, now, since time.Time, limit int) (int64, oauth.Failures, error) {
	var id int64
	var f oauth.Failures
	err := s.db.Write(ctx, "failure "+string(key[:]), func(ctx context.Context, tx *sql.Tx) error {
		var err error
		id = 0
		if f, err = failures(ctx, tx, key, since); err != nil || f.Count >= limit {
			return err
		}
		return tx.QueryRowContext(ctx, `
			INSERT INTO oauth_sign_in_failures (key, failed_at) VALUES (?, ?) RETURNING id`,
			key[:], now.UnixMicro()).Scan(&id)
	})
	switch {
	case err != nil:
		return 0, oauth.Failures{}, refused("add try", err)
	case id == 0:
		return 0, f, fmt.Errorf("add try: %w", oauth.ErrTooMany)
	}
	return id, f, nil
}

// UseTOTP implements oauth.Store.
func (s *Store) UseTOTP(ctx context.Context, userID, step, tryID int64, signIn oauth.Spent, now time.Time) error {
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx *sql.Tx) error {
		var last int64
		if err := tx.QueryRowContext(ctx, `SELECT last_step FROM oauth_totp WHERE user_id = ?`, userID).Scan(&last); err != nil {
			return err
		}
		if last >= step {
			return oauth.ErrSpent
		}
		if err := spend(ctx, tx, signIn); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE oauth_totp SET last_step = ?, last_used_at = ? WHERE user_id = ?`, step, now.UnixMicro(), userID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM oauth_sign_in_failures WHERE id = ?`, tryID)
		return err
	})
	return refused("use authenticator app", err)
}

// UsePasskey implements oauth.Store.
func (s *Store) UsePasskey(ctx context.Context, p oauth.Passkey, signIn oauth.Spent, now time.Time) error {
	err := s.db.Write(ctx, forUser(p.UserID), func(ctx context.Context, tx *sql.Tx) error {
		var count uint32
		err := tx.QueryRowContext(ctx, `SELECT sign_count FROM oauth_passkeys WHERE id = ? AND user_id = ?`, p.ID, p.UserID).Scan(&count)
		if err != nil {
			return err
		}
		if count >= p.SignCount && (count != 0 || p.SignCount != 0) {
			return oauth.ErrSpent
		}
		if err := spend(ctx, tx, signIn); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE oauth_passkeys SET sign_count = ?, flags = ?, last_used_at = ? WHERE id = ?`,
			p.SignCount, p.Flags, now.UnixMicro(), p.ID)
		return err
	})
	return refused("use passkey", err)
}

// UseRecoveryCode implements oauth.Store.
func (s *Store) UseRecoveryCode(ctx context.Context, userID int64, code oauth.Hash, signIn oauth.Spent, c oauth.Change) (int, error) {
	var left int
	err := s.db.Write(ctx, forUser(userID), func(ctx context.Context, tx *sql.Tx) error {
		used, err := changed(tx.ExecContext(ctx, `DELETE FROM oauth_recovery_codes WHERE user_id = ? AND hash = ?`, userID, code[:]))
		if err != nil {
			return err
		}
		if used == 0 {
			return oauth.ErrNotFound
		}
		if err := spend(ctx, tx, signIn); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM oauth_recovery_codes WHERE user_id = ?`, userID).Scan(&left); err != nil {
			return err
		}
		return note(ctx, tx, c)
	})
	if err != nil {
		return 0, refused("use recovery code", err)
	}
	return left, nil
}

// spend marks something as used, or is ErrSpent.
func spend(ctx context.Context, tx *sql.Tx, what oauth.Spent) error {
	marked, err := changed(tx.ExecContext(ctx, `
		INSERT INTO oauth_spent (hash, expires_at) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING`,
		what.Hash[:], what.ExpiresAt.UnixMicro()))
	if err != nil {
		return err
	}
	if marked == 0 {
		return oauth.ErrSpent
	}
	return nil
}
