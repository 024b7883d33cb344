package devicesqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// ReplaceSecret is documented at devices.Store.
func (s *Store) ReplaceSecret(ctx context.Context, unitID string, secretHash [32]byte, now time.Time) error {
	const update = `UPDATE units SET secret_hash = ?, secret_at = ? WHERE id = ? RETURNING id`
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx *sql.Tx) error {
		var id string
		return tx.QueryRowContext(ctx, update, secretHash[:], micros(now), unitID).Scan(&id)
	})
	return wrap(ctx, err, "replace secret of unit %q", unitID)
}

// Replaced is documented at devices.Store.
func (s *Store) Replaced(ctx context.Context, since time.Time, limit int) ([]devices.Replacement, error) {
	const query = `SELECT id, secret_at FROM units WHERE secret_at > ? ORDER BY secret_at DESC, id LIMIT ?`
	rows, err := s.db.Read().QueryContext(ctx, query, micros(since), bound(limit))
	list, err := collect(rows, err, func(row row) (r devices.Replacement, err error) {
		var at int64
		err = row.Scan(&r.UnitID, &at)
		r.At = utc(at)
		return r, err
	})
	return list, wrap(ctx, err, "list replaced secrets")
}
