// Package devicepgx keeps sites, units, devices, commands, states and history in
// PostgreSQL: it implements devices.Store. Any number of bridges may work on one
// database.
package devicepgx

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// Store is a devices.Store on PostgreSQL. It may be used concurrently.
type Store struct {
	db *groupcommit.Postgres
}

var _ devices.Store = (*Store)(nil)

// New makes a Store on db, which has the schema of deployments/migrations and is
// the caller's to close.
func New(db *groupcommit.Postgres) *Store { return &Store{db: db} }

// Keys of writes. They order the writes of one transaction, and with them the locks
// that it takes, so that no two transactions each wait for the other.
const sweepKey = "~sweep" // the last: it locks rows of many devices, and waits for none

func siteKey(siteID int64) string  { return fmt.Sprintf("site/%d", siteID) }
func unitKey(unitID string) string { return "unit/" + unitID }
func deviceKey(unitID string, deviceID int64) string {
	return fmt.Sprintf("unit/%s/%d", unitID, deviceID)
}

// translate turns what PostgreSQL says into the errors of the domain, where it has
// one for it.
func translate(err error) error {
	var refused *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return devices.ErrNotFound
	case !errors.As(err, &refused):
		return unanswered(err)
	case refused.Code == "23505": // unique_violation
		return fmt.Errorf("%w: %s", devices.ErrExists, refused.ConstraintName)
	case refused.Code == "23503": // foreign_key_violation
		return fmt.Errorf("%w: %s", devices.ErrNotFound, refused.ConstraintName)
	default:
		return unanswered(err)
	}
}

// unanswered marks what says that the database gives no answer.
func unanswered(err error) error {
	return groupcommit.Mark(err, devices.ErrUnavailable)
}

// wrap says what was being done when err came; nil stays nil.
func wrap(err error, doing string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(doing+": %w", append(args, translate(err))...)
}

// storable reports whether s can be in a text column, which takes neither NUL nor
// invalid UTF-8. No row has an ID that is not.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// bound makes limit fit for LIMIT, which takes nothing below 0.
func bound(limit int) int { return max(limit, 0) }

// nullable gives NULL for the empty string.
func nullable(s string) pgtype.Text { return pgtype.Text{String: s, Valid: s != ""} }

// array gives names as a text[], never NULL.
func array[T ~string](names []T) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = string(name)
	}
	return list
}

// timestamp gives NULL for the zero time.
func timestamp(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}

// utc gives the zero time for NULL.
func utc(t pgtype.Timestamptz) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// stored gives t as it comes back from a timestamptz column.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// collect reads all rows with scan.
func collect[T any](rows pgx.Rows, err error, scan func(pgx.Row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) { return scan(row) })
}
