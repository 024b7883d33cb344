package devicesqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// commandColumns are those of a Command, in the order in which scanCommand and
// insertCommand have them.
const commandColumns = `id, site_id, unit_id, device_id, kind, operation, user_id, client_id,
	accepted_at, expires_at, outcome, label, failure, language, reason, finished_at`

func scanCommand(row row) (devices.Command, error) {
	var (
		c                     devices.Command
		unit                  sql.NullString
		acceptedAt, expiresAt int64
		finishedAt            sql.NullInt64
	)
	err := row.Scan(&c.ID, &c.SiteID, &unit, &c.DeviceID, (*string)(&c.Kind), &c.Operation, &c.UserID, &c.ClientID,
		&acceptedAt, &expiresAt, (*string)(&c.Outcome), &c.Label, &c.Failure, (*string)(&c.Language), &c.Reason, &finishedAt)
	c.UnitID = unit.String
	c.AcceptedAt, c.ExpiresAt, c.FinishedAt = utc(acceptedAt), utc(expiresAt), utcOrZero(finishedAt)
	return c, err
}

// insertCommand inserts c as it is, and gives it as it comes back from its row.
func insertCommand(ctx context.Context, tx *sql.Tx, c devices.Command, key *[32]byte) (devices.Command, error) {
	const insert = `
		INSERT INTO commands (` + commandColumns + `, key_hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	var hash []byte
	if key != nil {
		hash = key[:]
	}
	_, err := tx.ExecContext(ctx, insert,
		c.ID, c.SiteID, nullable(c.UnitID), c.DeviceID, string(c.Kind), c.Operation, c.UserID, c.ClientID,
		micros(c.AcceptedAt), micros(c.ExpiresAt), string(c.Outcome), c.Label, c.Failure, string(c.Language), c.Reason, microsOrNull(c.FinishedAt), hash)
	c.AcceptedAt, c.ExpiresAt, c.FinishedAt = stored(c.AcceptedAt), stored(c.ExpiresAt), stored(c.FinishedAt)
	return c, err
}

// Accept is documented at devices.Store. There is one writer, so what it finds
// stays so until it has inserted.
func (s *Store) Accept(ctx context.Context, i devices.Intent) (devices.Accepted, error) {
	var accepted devices.Accepted
	err := s.db.Write(ctx, deviceKey(i.Command.SiteID, i.Command.DeviceID), func(ctx context.Context, tx *sql.Tx) error {
		earlier, err := repeats(ctx, tx, i)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			accepted.New = true
			if accepted.Command, err = insertCommand(ctx, tx, i.Command, i.Key); err != nil || i.Entry == nil {
				return err
			}
			return insertEntry(ctx, tx, i.Command.SiteID, *i.Entry)
		default:
			accepted = devices.Accepted{Command: earlier}
			return err
		}
	})
	if err != nil {
		return devices.Accepted{}, wrap(ctx, err, "accept command %s", i.Command.ID)
	}
	return accepted, nil
}

// repeats gives the command that i repeats, or sql.ErrNoRows.
func repeats(ctx context.Context, tx *sql.Tx, i devices.Intent) (devices.Command, error) {
	if i.Key != nil {
		return keyed(ctx, tx, i)
	}
	const query = `
		SELECT ` + commandColumns + ` FROM commands
		WHERE site_id = ? AND device_id = ? AND client_id = ? AND user_id = ? AND accepted_at >= ?
		ORDER BY accepted_at DESC, id DESC LIMIT 1`
	c := i.Command
	latest, err := scanCommand(tx.QueryRowContext(ctx, query, c.SiteID, c.DeviceID, c.ClientID, c.UserID, micros(i.JoinSince)))
	if err == nil && (latest.Outcome.Settled() || !sameCommand(latest, c)) {
		err = sql.ErrNoRows
	}
	return latest, err
}

// keyed gives the command that has i's key and may keep it, or sql.ErrNoRows: then
// the key is free.
func keyed(ctx context.Context, tx *sql.Tx, i devices.Intent) (devices.Command, error) {
	const query = `SELECT ` + commandColumns + ` FROM commands WHERE key_hash = ? AND client_id = ? AND user_id = ?`
	const free = `UPDATE commands SET key_hash = NULL WHERE id = ?`
	earlier, err := scanCommand(tx.QueryRowContext(ctx, query, i.Key[:], i.Command.ClientID, i.Command.UserID))
	switch {
	case err != nil:
		return devices.Command{}, err
	case earlier.Outcome == devices.Offline || earlier.AcceptedAt.Before(stored(i.KeySince)):
		if _, err := tx.ExecContext(ctx, free, earlier.ID); err != nil {
			return devices.Command{}, err
		}
		return devices.Command{}, sql.ErrNoRows
	case !sameCommand(earlier, i.Command):
		return devices.Command{}, devices.ErrKeyReuse
	default:
		return earlier, nil
	}
}

func sameCommand(a, b devices.Command) bool {
	return a.SiteID == b.SiteID && a.DeviceID == b.DeviceID && a.Kind == b.Kind && a.Operation == b.Operation
}

// Command is documented at devices.Store.
func (s *Store) Command(ctx context.Context, siteID int64, id string) (devices.Command, error) {
	const query = `SELECT ` + commandColumns + ` FROM commands WHERE id = ? AND site_id = ?`
	c, err := scanCommand(s.db.Read().QueryRowContext(ctx, query, id, siteID))
	if err != nil {
		return devices.Command{}, wrap(ctx, err, "read command %q of site %d", id, siteID)
	}
	return c, nil
}

// Finish is documented at devices.Store.
func (s *Store) Finish(ctx context.Context, f devices.Finish) (devices.Command, error) {
	var stands devices.Command
	err := s.db.Write(ctx, unitKey(f.UnitID), func(ctx context.Context, tx *sql.Tx) error {
		var err error
		stands, err = finish(ctx, tx, f)
		return err
	})
	if err != nil && !errors.Is(err, devices.ErrSettled) {
		return devices.Command{}, wrap(ctx, err, "finish command %q of unit %q", f.CommandID, f.UnitID)
	}
	return stands, wrap(ctx, err, "finish command %q of unit %q", f.CommandID, f.UnitID)
}

func finish(ctx context.Context, tx *sql.Tx, f devices.Finish) (devices.Command, error) {
	const query = `SELECT ` + commandColumns + ` FROM commands WHERE id = ? AND unit_id IS ?`
	const update = `UPDATE commands SET outcome = ?, reason = ?, finished_at = ? WHERE id = ?`
	c, err := scanCommand(tx.QueryRowContext(ctx, query, f.CommandID, nullable(f.UnitID)))
	switch {
	case err != nil:
		return devices.Command{}, err
	case !slices.Contains(f.From, c.Outcome):
		return c, devices.ErrSettled
	}
	c.Outcome, c.Reason, c.FinishedAt = f.Outcome, f.Reason, stored(f.Now)
	if _, err := tx.ExecContext(ctx, update, string(c.Outcome), c.Reason, microsOrNull(c.FinishedAt), c.ID); err != nil {
		return devices.Command{}, err
	}
	if f.State != nil {
		if _, err := upsertState(ctx, tx, c.SiteID, *f.State); err != nil {
			return devices.Command{}, err
		}
	}
	if f.Entry != nil {
		if err := insertEntry(ctx, tx, c.SiteID, *f.Entry); err != nil {
			return devices.Command{}, err
		}
	}
	return c, nil
}

// Abandon is documented at devices.Store.
func (s *Store) Abandon(ctx context.Context, before, now time.Time, limit int, entry func(devices.Command) *devices.Entry) (int, error) {
	const update = `
		UPDATE commands SET outcome = 'unknown', finished_at = ?
		WHERE id IN (
			SELECT id FROM commands WHERE outcome = 'pending' AND accepted_at < ?
			ORDER BY accepted_at LIMIT ?
		)
		RETURNING ` + commandColumns
	var n int
	err := s.db.Write(ctx, sweepKey, func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, update, micros(now), micros(before), bound(limit))
		abandoned, err := collect(rows, err, scanCommand)
		if err != nil {
			return err
		}
		for _, c := range abandoned {
			if e := entry(c); e != nil {
				if err := insertEntry(ctx, tx, c.SiteID, *e); err != nil {
					return err
				}
			}
		}
		n = len(abandoned)
		return nil
	})
	if err != nil {
		return 0, wrap(ctx, err, "abandon commands accepted before %s", before)
	}
	return n, nil
}

// Purge is documented at devices.Store.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM commands WHERE id IN (
			SELECT id FROM commands WHERE accepted_at < ? ORDER BY accepted_at LIMIT ?
		)`
	n, err := s.sweep(ctx, remove, micros(before), bound(limit))
	return n, wrap(ctx, err, "purge commands accepted before %s", before)
}

func (s *Store) sweep(ctx context.Context, query string, args ...any) (int, error) {
	var n int64
	err := s.db.Write(ctx, sweepKey, func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}
