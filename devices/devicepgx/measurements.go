package devicepgx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
)

// longestSlot is at least as long as any slot is.
const longestSlot = time.Hour

// Measurements is documented at devices.Store.
func (s *Store) Measurements(ctx context.Context, userID, siteID, deviceID int64, kinds []devices.Kind, f devices.MeasurementFilter) (devices.Site, []devices.Measurement, error) {
	const from = `
		SELECT ` + siteColumns + `, coalesce(d.id, 0), v.at, v.value
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN devices d ON d.site_id = s.id AND d.id = $3 AND d.kind = ANY ($4)
		LEFT JOIN (
			SELECT at, value FROM measurements
			WHERE device_id = $3 AND reading = $5 AND slot BETWEEN $6::timestamptz - $10::interval AND $7 AND at BETWEEN $6 AND $7
			UNION ALL
			SELECT hour, CASE WHEN $8::boolean THEN total / count ELSE last END FROM measurement_hours
			WHERE device_id = $3 AND reading = $5 AND hour BETWEEN $6 AND $7
			ORDER BY 1`
	const to = ` LIMIT $9
		) v ON d.id IS NOT NULL
		WHERE m.user_id = $1 AND m.site_id = $2
		ORDER BY v.at`
	query := from + ` DESC` + to + ` DESC`
	if f.Ascending {
		query = from + to
	}
	rows, err := s.db.Read().Query(ctx, query, userID, siteID, deviceID, array(kinds),
		f.Reading, f.From, f.To, f.Mean, bound(f.Limit), longestSlot)
	var site devices.Site
	var found int64
	list, err := collect(rows, err, func(row pgx.Row) (m devices.Measurement, err error) {
		var at pgtype.Timestamptz
		var value pgtype.Float8
		site, err = scanSite(row, &found, &at, &value)
		return devices.Measurement{Value: value.Float64, At: utc(at)}, err
	})
	switch {
	case err == nil && len(list) == 0:
		err = devices.ErrNotFound
	case err == nil && found == 0:
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Site{}, nil, wrap(err, "read measurements of device %d of site %d", deviceID, siteID)
	}
	if list[0].At.IsZero() { // the device alone
		return site, nil, nil
	}
	return site, list, nil
}

// RollUp is documented at devices.Store.
func (s *Store) RollUp(ctx context.Context, before time.Time, limit int) (int, error) {
	const roll = `
		WITH old AS (
			SELECT device_id, reading, slot FROM measurements WHERE slot < $1
			ORDER BY slot, device_id, reading LIMIT $2 FOR UPDATE SKIP LOCKED
		), gone AS (
			DELETE FROM measurements m USING old
			WHERE m.device_id = old.device_id AND m.reading = old.reading AND m.slot = old.slot
			RETURNING m.device_id, m.reading, m.slot, m.at, m.value
		), added AS (
			INSERT INTO measurement_hours AS h (device_id, reading, hour, count, total, last, last_at)
			SELECT device_id, reading, date_trunc('hour', slot, 'UTC'), count(*), sum(value),
				(array_agg(value ORDER BY at DESC))[1], max(at)
			FROM gone GROUP BY 1, 2, 3
			ORDER BY 1, 2, 3
			ON CONFLICT (device_id, reading, hour) DO UPDATE SET
				count = h.count + excluded.count, total = h.total + excluded.total,
				last = CASE WHEN excluded.last_at >= h.last_at THEN excluded.last ELSE h.last END,
				last_at = greatest(excluded.last_at, h.last_at)
		)
		SELECT count(*) FROM gone`
	var n int
	err := s.db.Write(ctx, sweepKey, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, roll, before, bound(limit)).Scan(&n)
	})
	if err != nil {
		return 0, wrap(err, "roll up measurements before %s", before)
	}
	return n, nil
}

// PurgeMeasurements is documented at devices.Store.
func (s *Store) PurgeMeasurements(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM measurement_hours WHERE (device_id, reading, hour) IN (
			SELECT device_id, reading, hour FROM measurement_hours WHERE hour < $1
			ORDER BY hour LIMIT $2 FOR UPDATE SKIP LOCKED
		)`
	n, err := s.sweep(ctx, remove, before, bound(limit))
	return n, wrap(err, "purge measurements before %s", before)
}

// PurgeHistory is documented at devices.Store.
func (s *Store) PurgeHistory(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM history WHERE id IN (
			SELECT id FROM history WHERE created_at < $1
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
		)`
	n, err := s.sweep(ctx, remove, before, bound(limit))
	return n, wrap(err, "purge history before %s", before)
}

// PurgeInvitations is documented at devices.Store.
func (s *Store) PurgeInvitations(ctx context.Context, before time.Time, limit int) (int, error) {
	const remove = `
		DELETE FROM site_invitations WHERE (site_id, email) IN (
			SELECT site_id, email FROM site_invitations WHERE expires_at <= $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
		)`
	n, err := s.sweep(ctx, remove, before, bound(limit))
	return n, wrap(err, "purge invitations that expired before %s", before)
}
