// Package devicesqlite keeps sites, units, devices, commands, states and history in
// SQLite: it implements devices.Store for one bridge on one machine.
package devicesqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// Store is a devices.Store on SQLite. It may be used concurrently.
type Store struct {
	db *groupcommit.SQLite
}

var _ devices.Store = (*Store)(nil)

// New makes a Store on db, which has the schema of deployments/migrations and is
// the caller's to close.
func New(db *groupcommit.SQLite) *Store { return &Store{db: db} }

// Keys of writes. The writes with one key happen in the order in which they are
// called.
const sweepKey = "sweep"

func siteKey(siteID int64) string  { return fmt.Sprintf("site/%d", siteID) }
func unitKey(unitID string) string { return "unit/" + unitID }
func deviceKey(siteID, deviceID int64) string {
	return fmt.Sprintf("site/%d/%d", siteID, deviceID)
}

// translate turns what SQLite says into the errors of the domain, where it has one
// for it. A statement that ctx interrupted is ctx's error.
func translate(ctx context.Context, err error) error {
	var refused *sqlite.Error
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return devices.ErrNotFound
	case !errors.As(err, &refused):
		return unanswered(err)
	}
	switch refused.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%w: %w", devices.ErrExists, err)
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fmt.Errorf("%w: %w", devices.ErrNotFound, err)
	case sqlite3.SQLITE_INTERRUPT:
		return unanswered(errors.Join(ctx.Err(), err))
	default:
		return unanswered(err)
	}
}

// unanswered marks what says that the database gives no answer.
func unanswered(err error) error {
	return groupcommit.Mark(err, devices.ErrUnavailable)
}

// wrap says what was being done when err came; nil stays nil.
func wrap(ctx context.Context, err error, doing string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(doing+": %w", append(args, translate(ctx, err))...)
}

// bound makes limit fit for LIMIT, which takes what is below 0 for no limit.
func bound(limit int) int { return max(limit, 0) }

// nullable gives NULL for the empty string.
func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// array gives names as a JSON array, for json_each.
func array[T ~string](names []T) string {
	text, err := json.Marshal(names)
	if err != nil || names == nil {
		return "[]" // not an error: strings can always be encoded
	}
	return string(text)
}

// micros gives t as a column holds it.
func micros(t time.Time) int64 { return t.UnixMicro() }

// utc gives the time that a column holds.
func utc(us int64) time.Time { return time.UnixMicro(us).UTC() }

// microsOrNull gives NULL for the zero time.
func microsOrNull(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: micros(t), Valid: !t.IsZero()}
}

// utcOrZero gives the zero time for NULL.
func utcOrZero(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return utc(us.Int64)
}

// stored gives t as it comes back from its column.
func stored(t time.Time) time.Time { return utc(micros(t)) }

// row is what a Row and Rows have in common.
type row interface{ Scan(dest ...any) error }

// collect reads all rows with scan.
func collect[T any](rows *sql.Rows, err error, scan func(row) (T, error)) (list []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close() // rows.Err has its error
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return list, nil
}
