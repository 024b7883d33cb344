package devicepgx

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
)

// commandColumns are those of a Command, in the order in which scanCommand and
// commandValues have them.
const commandColumns = `id, site_id, unit_id, device_id, kind, operation, user_id, client_id,
	accepted_at, expires_at, outcome, label, failure, language, reason, finished_at`

func scanCommand(row pgx.Row) (devices.Command, error) {
	var (
		c                     devices.Command
		unit                  pgtype.Text
		acceptedAt, expiresAt time.Time
		finishedAt            pgtype.Timestamptz
	)
	err := row.Scan(&c.ID, &c.SiteID, &unit, &c.DeviceID, (*string)(&c.Kind), &c.Operation, &c.UserID, &c.ClientID,
		&acceptedAt, &expiresAt, (*string)(&c.Outcome), &c.Label, &c.Failure, (*string)(&c.Language), &c.Reason, &finishedAt)
	c.UnitID = unit.String
	c.AcceptedAt, c.ExpiresAt, c.FinishedAt = acceptedAt.UTC(), expiresAt.UTC(), utc(finishedAt)
	return c, err
}

func commandValues(c devices.Command) []any {
	return []any{
		c.ID, c.SiteID, nullable(c.UnitID), c.DeviceID, string(c.Kind), c.Operation, c.UserID, c.ClientID,
		c.AcceptedAt, c.ExpiresAt, string(c.Outcome), c.Label, c.Failure, string(c.Language), c.Reason, timestamp(c.FinishedAt),
	}
}

// asStored gives c as it comes back from its row.
func asStored(c devices.Command) devices.Command {
	c.AcceptedAt, c.ExpiresAt, c.FinishedAt = stored(c.AcceptedAt), stored(c.ExpiresAt), stored(c.FinishedAt)
	return c
}

// The values of these statements begin with commandValues.
const (
	insertCommand = `
		INSERT INTO commands (` + commandColumns + `, key_hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`

	// insertUnlessUsed inserts, or gives the command that has the key.
	insertUnlessUsed = `
		WITH used AS (
			SELECT ` + commandColumns + ` FROM commands
			WHERE key_hash = $17::bytea AND client_id = $8::text AND user_id = $7::bigint
		), added AS (
			INSERT INTO commands (` + commandColumns + `, key_hash)
			SELECT $1::text, $2::bigint, $3::text, $4::bigint, $5::text, $6::text, $7, $8,
				$9::timestamptz, $10::timestamptz, $11::text, $12::text, $13::text, $14::text, $15::text, $16::timestamptz, $17
			WHERE NOT EXISTS (SELECT FROM used)
		)
		SELECT ` + commandColumns + ` FROM used`

	// insertUnlessOpen inserts, or gives the command that the new one repeats.
	insertUnlessOpen = `
		WITH latest AS (
			SELECT ` + commandColumns + ` FROM commands
			WHERE site_id = $2::bigint AND device_id = $4::bigint AND client_id = $8::text AND user_id = $7::bigint
				AND accepted_at >= $17::timestamptz
			ORDER BY accepted_at DESC, id DESC LIMIT 1
		), open AS (
			SELECT ` + commandColumns + ` FROM latest
			WHERE kind = $5::text AND operation = $6::text AND outcome IN ('pending', 'unknown')
		), added AS (
			INSERT INTO commands (` + commandColumns + `)
			SELECT $1::text, $2, $3::text, $4, $5, $6, $7, $8,
				$9::timestamptz, $10::timestamptz, $11::text, $12::text, $13::text, $14::text, $15::text, $16::timestamptz
			WHERE NOT EXISTS (SELECT FROM open)
		)
		SELECT ` + commandColumns + ` FROM open`
)

// Accept is documented at devices.Store.
//
// What may be accepted depends on what was accepted before, so of intents that may
// repeat one another one goes at a time, on all bridges together: each locks first,
// in a statement of its own, so that the next one sees what the lock's last holder
// committed. Both go out in one round trip.
func (s *Store) Accept(ctx context.Context, i devices.Intent) (devices.Accepted, error) {
	lock := lockOf(i)
	var accepted devices.Accepted
	err := s.db.Write(ctx, fmt.Sprintf("accept/%016x", lock), func(ctx context.Context, tx pgx.Tx) error {
		earlier, err := insertUnlessRepeat(ctx, tx, lock, i)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			accepted = devices.Accepted{Command: asStored(i.Command), New: true}
			return insertEntries(ctx, tx, i.Command.SiteID, i.Entry)
		case err != nil:
			return err
		case i.Key != nil && isFree(earlier, i):
			accepted = devices.Accepted{Command: asStored(i.Command), New: true}
			if err := moveKey(ctx, tx, earlier.ID, i); err != nil {
				return err
			}
			return insertEntries(ctx, tx, i.Command.SiteID, i.Entry)
		case i.Key != nil && !sameCommand(earlier, i.Command):
			return devices.ErrKeyReuse
		default:
			accepted = devices.Accepted{Command: earlier}
			return nil
		}
	})
	if err != nil {
		return devices.Accepted{}, wrap(err, "accept command %s", i.Command.ID)
	}
	return accepted, nil
}

// lockOf numbers what i must be the only one to look at: its key, or what the
// client and the user ask of the device.
func lockOf(i devices.Intent) uint64 {
	c, h := i.Command, fnv.New64a()
	if i.Key != nil {
		fmt.Fprintf(h, "key %x %d %s", *i.Key, c.UserID, c.ClientID)
	} else {
		fmt.Fprintf(h, "device %d %d %d %s", c.SiteID, c.DeviceID, c.UserID, c.ClientID)
	}
	return h.Sum64()
}

// insertUnlessRepeat inserts i's command, which is pgx.ErrNoRows, or gives the one
// that stands in its way.
func insertUnlessRepeat(ctx context.Context, tx pgx.Tx, lock uint64, i devices.Intent) (earlier devices.Command, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT pg_advisory_xact_lock($1)`, int64(lock))
	if i.Key != nil {
		batch.Queue(insertUnlessUsed, append(commandValues(i.Command), i.Key[:])...)
	} else {
		batch.Queue(insertUnlessOpen, append(commandValues(i.Command), i.JoinSince)...)
	}
	results := tx.SendBatch(ctx, batch)
	defer func() {
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := results.Exec(); err != nil {
		return devices.Command{}, err
	}
	return scanCommand(results.QueryRow())
}

// isFree reports whether i may take its key from the earlier command.
func isFree(earlier devices.Command, i devices.Intent) bool {
	return earlier.Outcome == devices.Offline || earlier.AcceptedAt.Before(stored(i.KeySince))
}

func sameCommand(a, b devices.Command) bool {
	return a.SiteID == b.SiteID && a.DeviceID == b.DeviceID && a.Kind == b.Kind && a.Operation == b.Operation
}

// moveKey takes the key from a command and inserts i's with it.
func moveKey(ctx context.Context, tx pgx.Tx, from string, i devices.Intent) error {
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE commands SET key_hash = NULL WHERE id = $1`, from)
	batch.Queue(insertCommand, append(commandValues(i.Command), i.Key[:])...)
	return tx.SendBatch(ctx, batch).Close()
}

// Command is documented at devices.Store.
func (s *Store) Command(ctx context.Context, siteID int64, id string) (devices.Command, error) {
	const query = `SELECT ` + commandColumns + ` FROM commands WHERE id = $1 AND site_id = $2`
	if !storable(id) {
		return devices.Command{}, wrap(devices.ErrNotFound, "read command %q of site %d", id, siteID)
	}
	c, err := scanCommand(s.db.Read().QueryRow(ctx, query, id, siteID))
	if err != nil {
		return devices.Command{}, wrap(err, "read command %q of site %d", id, siteID)
	}
	return c, nil
}

// finishCommand gives no row, and writes nothing, if the command is not the unit's
// or has another outcome.
const finishCommand = `
	WITH finished AS (
		UPDATE commands SET outcome = $4, reason = $5, finished_at = $6
		WHERE id = $1 AND unit_id IS NOT DISTINCT FROM $2::text AND outcome = ANY ($3)
		RETURNING ` + commandColumns + `
	), reported AS (
		INSERT INTO states (site_id, device_id, sequence, reported_at, readings, since)
		SELECT site_id, $7::bigint, $8::bigint, $9::timestamptz, $10::text, $14::text FROM finished
		WHERE $7::bigint IS NOT NULL
		ON CONFLICT (site_id, device_id) DO UPDATE
		SET sequence = excluded.sequence, reported_at = excluded.reported_at, readings = excluded.readings, since = excluded.since
		WHERE states.sequence < excluded.sequence
	), entered AS (
		INSERT INTO history (site_id, type, label, created_at)
		SELECT site_id, $11::text, $12::text, $13::timestamptz FROM finished
		WHERE $11::text IS NOT NULL
	)
	SELECT ` + commandColumns + ` FROM finished`

// Finish is documented at devices.Store.
func (s *Store) Finish(ctx context.Context, f devices.Finish) (devices.Command, error) {
	const query = `
		SELECT ` + commandColumns + ` FROM commands
		WHERE id = $1 AND unit_id IS NOT DISTINCT FROM $2::text`
	if !storable(f.CommandID) || !storable(f.UnitID) {
		return devices.Command{}, wrap(devices.ErrNotFound, "finish command %q of unit %q", f.CommandID, f.UnitID)
	}
	key := unitKey(f.UnitID)
	if f.State != nil {
		key = deviceKey(f.UnitID, f.State.DeviceID)
	}
	var stands devices.Command
	err := s.db.Write(ctx, key, func(ctx context.Context, tx pgx.Tx) error {
		var err error
		stands, err = scanCommand(tx.QueryRow(ctx, finishCommand, finishValues(f)...))
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		stands, err = scanCommand(tx.QueryRow(ctx, query, f.CommandID, nullable(f.UnitID)))
		if err != nil {
			return err
		}
		return devices.ErrSettled
	})
	if err != nil && !errors.Is(err, devices.ErrSettled) {
		return devices.Command{}, wrap(err, "finish command %q of unit %q", f.CommandID, f.UnitID)
	}
	return stands, wrap(err, "finish command %q of unit %q", f.CommandID, f.UnitID)
}

func finishValues(f devices.Finish) []any {
	from := make([]string, len(f.From))
	for i, outcome := range f.From {
		from[i] = string(outcome)
	}
	values := []any{
		f.CommandID, nullable(f.UnitID), from, string(f.Outcome), f.Reason, f.Now,
		nil, nil, nil, nil,
		nil, nil, nil, "",
	}
	if s := f.State; s != nil {
		copy(values[6:], []any{s.DeviceID, s.Sequence, s.Time, string(s.Readings)})
		values[13] = encodeSince(s.Since)
	}
	if e := f.Entry; e != nil {
		copy(values[10:], []any{string(e.Type), e.Label, e.CreatedAt})
	}
	return values
}

// Abandon is documented at devices.Store.
func (s *Store) Abandon(ctx context.Context, before, now time.Time, limit int, entry func(devices.Command) *devices.Entry) (int, error) {
	// A command that is locked is getting its outcome just now.
	const update = `
		UPDATE commands SET outcome = 'unknown', finished_at = $2
		WHERE id IN (
			SELECT id FROM commands WHERE outcome = 'pending' AND accepted_at < $1
			ORDER BY accepted_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
		)
		RETURNING ` + commandColumns
	var n int
	err := s.db.Write(ctx, sweepKey, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, update, before, now, bound(limit))
		abandoned, err := collect(rows, err, scanCommand)
		if err != nil {
			return err
		}
		n = len(abandoned)
		batch := &pgx.Batch{}
		for _, c := range abandoned {
			if e := entry(c); e != nil {
				queueEntry(batch, c.SiteID, *e)
			}
		}
		return send(ctx, tx, batch)
	})
	if err != nil {
		return 0, wrap(err, "abandon commands accepted before %s", before)
	}
	return n, nil
}

// Purge is documented at devices.Store.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM commands WHERE id IN (
			SELECT id FROM commands WHERE accepted_at < $1
			ORDER BY accepted_at LIMIT $2 FOR UPDATE SKIP LOCKED
		)`
	n, err := s.sweep(ctx, remove, before, bound(limit))
	return n, wrap(err, "purge commands accepted before %s", before)
}

func (s *Store) sweep(ctx context.Context, sql string, args ...any) (int, error) {
	var n int64
	err := s.db.Write(ctx, sweepKey, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, args...)
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}
