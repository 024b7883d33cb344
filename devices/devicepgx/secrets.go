package devicepgx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/devices"
)

// ReplaceSecret is documented at devices.Store.
func (s *Store) ReplaceSecret(ctx context.Context, unitID string, secretHash [32]byte, now time.Time) error {
	const update = `UPDATE units SET secret_hash = $1, secret_at = $2 WHERE id = $3 RETURNING id`
	if !storable(unitID) {
		return wrap(devices.ErrNotFound, "replace secret of unit %q", unitID)
	}
	err := s.db.Write(ctx, unitKey(unitID), func(ctx context.Context, tx pgx.Tx) error {
		var id string
		return tx.QueryRow(ctx, update, secretHash[:], now, unitID).Scan(&id)
	})
	return wrap(err, "replace secret of unit %q", unitID)
}

// Replaced is documented at devices.Store.
func (s *Store) Replaced(ctx context.Context, since time.Time, limit int) ([]devices.Replacement, error) {
	const query = `SELECT id, secret_at FROM units WHERE secret_at > $1 ORDER BY secret_at DESC, id LIMIT $2`
	rows, err := s.db.Read().Query(ctx, query, since, bound(limit))
	list, err := collect(rows, err, func(row pgx.Row) (r devices.Replacement, err error) {
		err = row.Scan(&r.UnitID, &r.At)
		r.At = r.At.UTC()
		return r, err
	})
	return list, wrap(err, "list replaced secrets")
}
