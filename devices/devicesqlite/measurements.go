package devicesqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// longestSlot is at least as long as any slot is.
const longestSlot = time.Hour

// Measurements is documented at devices.Store.
func (s *Store) Measurements(ctx context.Context, userID, siteID, deviceID int64, kinds []devices.Kind, f devices.MeasurementFilter) (devices.Site, []devices.Measurement, error) {
	const from = `
		SELECT ` + siteColumns + `, coalesce(d.id, 0), v.at, v.value
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN devices d ON d.site_id = s.id AND d.id = ?3 AND d.kind IN (SELECT value FROM json_each(?4))
		LEFT JOIN (
			SELECT at, value FROM measurements
			WHERE device_id = ?3 AND reading = ?5 AND slot BETWEEN ?6 - ?10 AND ?7 AND at BETWEEN ?6 AND ?7
			UNION ALL
			SELECT hour, CASE WHEN ?8 THEN total / count ELSE last END FROM measurement_hours
			WHERE device_id = ?3 AND reading = ?5 AND hour BETWEEN ?6 AND ?7
			ORDER BY 1`
	const to = ` LIMIT ?9
		) v ON d.id IS NOT NULL
		WHERE m.user_id = ?1 AND m.site_id = ?2
		ORDER BY v.at`
	query := from + ` DESC` + to + ` DESC`
	if f.Ascending {
		query = from + to
	}
	rows, err := s.db.Read().QueryContext(ctx, query, userID, siteID, deviceID, array(kinds),
		f.Reading, micros(f.From), micros(f.To), f.Mean, bound(f.Limit), longestSlot.Microseconds())
	var site devices.Site
	var found int64
	list, err := collect(rows, err, func(row row) (m devices.Measurement, err error) {
		var at sql.NullInt64
		var value sql.NullFloat64
		site, err = scanSite(row, &found, &at, &value)
		return devices.Measurement{Value: value.Float64, At: utcOrZero(at)}, err
	})
	switch {
	case err == nil && len(list) == 0:
		err = devices.ErrNotFound
	case err == nil && found == 0:
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Site{}, nil, wrap(ctx, err, "read measurements of device %d of site %d", deviceID, siteID)
	}
	if list[0].At.IsZero() { // the device alone
		return site, nil, nil
	}
	return site, list, nil
}

// RollUp is documented at devices.Store.
func (s *Store) RollUp(ctx context.Context, before time.Time, limit int) (int, error) {
	const old = `SELECT device_id, reading, slot FROM measurements WHERE slot < ?1 ORDER BY slot, device_id, reading LIMIT ?2`
	// SQLite takes the value of the row that has max(at).
	const insert = `
		INSERT INTO measurement_hours (device_id, reading, hour, count, total, last, last_at)
		SELECT device_id, reading, slot - slot % 3600000000 AS hour, count(*), sum(value), value, max(at)
		FROM measurements WHERE (device_id, reading, slot) IN (` + old + `)
		GROUP BY device_id, reading, hour
		ON CONFLICT (device_id, reading, hour) DO UPDATE SET
			count = measurement_hours.count + excluded.count, total = measurement_hours.total + excluded.total,
			last = CASE WHEN excluded.last_at >= measurement_hours.last_at THEN excluded.last ELSE measurement_hours.last END,
			last_at = max(excluded.last_at, measurement_hours.last_at)`
	const remove = `DELETE FROM measurements WHERE (device_id, reading, slot) IN (` + old + `)`
	var n int64
	err := s.db.Write(ctx, sweepKey, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, insert, micros(before), bound(limit)); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, remove, micros(before), bound(limit))
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, wrap(ctx, err, "roll up measurements before %s", before)
	}
	return int(n), nil
}

// PurgeMeasurements is documented at devices.Store.
func (s *Store) PurgeMeasurements(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM measurement_hours WHERE (device_id, reading, hour) IN (
			SELECT device_id, reading, hour FROM measurement_hours WHERE hour < ? ORDER BY hour LIMIT ?
		)`
	n, err := s.sweep(ctx, remove, micros(before), bound(limit))
	return n, wrap(ctx, err, "purge measurements before %s", before)
}

// PurgeHistory is documented at devices.Store.
func (s *Store) PurgeHistory(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM history WHERE id IN (
			SELECT id FROM history WHERE created_at < ? ORDER BY created_at LIMIT ?
		)`
	n, err := s.sweep(ctx, remove, micros(before), bound(limit))
	return n, wrap(ctx, err, "purge history before %s", before)
}

// PurgeInvitations is documented at devices.Store.
func (s *Store) PurgeInvitations(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM site_invitations WHERE (site_id, email) IN (
			SELECT site_id, email FROM site_invitations WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
		)`
	n, err := s.sweep(ctx, remove, micros(before), bound(limit))
	return n, wrap(ctx, err, "purge invitations that expired before %s", before)
}
