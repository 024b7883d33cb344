package oauthsqlite

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/foxbridge/foxbridge/oauth"
)

// scope is a Scope as a column holds it: its names with a space between them, NULL
// if it is Unscoped.
type scope oauth.Scope

// Value implements driver.Valuer.
func (s scope) Value() (driver.Value, error) {
	if s == nil {
		return nil, nil
	}
	return oauth.Scope(s).String(), nil
}

// Scan implements sql.Scanner.
func (s *scope) Scan(column any) error {
	switch column := column.(type) {
	case nil:
		*s = nil
	case string:
		*s = scope(oauth.NewScope(strings.Fields(column)...))
	default:
		return fmt.Errorf("a scope in a %T", column)
	}
	return nil
}

// list is a slice as a column holds it: a JSON array, NULL if it is nil.
type list[T any] []T

// Value implements driver.Valuer.
func (l list[T]) Value() (driver.Value, error) {
	if l == nil {
		return nil, nil
	}
	text, err := json.Marshal([]T(l))
	return string(text), err
}

// Scan implements sql.Scanner.
func (l *list[T]) Scan(column any) error {
	switch column := column.(type) {
	case nil:
		*l = nil
		return nil
	case string:
		return json.Unmarshal([]byte(column), (*[]T)(l))
	default:
		return fmt.Errorf("a list in a %T", column)
	}
}

// known is an ID, or NULL for 0.
func known(id int64) sql.NullInt64 { return sql.NullInt64{Int64: id, Valid: id != 0} }

// timeOf gives the time that a column holds.
func timeOf(microseconds int64) time.Time { return time.UnixMicro(microseconds).UTC() }

// timeOrZero gives the zero time for NULL.
func timeOrZero(microseconds sql.NullInt64) time.Time {
	if !microseconds.Valid {
		return time.Time{}
	}
	return timeOf(microseconds.Int64)
}

// orNull gives NULL for the zero time.
func orNull(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

// storable reports whether texts can be stored in any database, and read back by any
// program: SQLite itself would take everything, and lose what follows a NUL.
func storable(texts ...string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return false
		}
	}
	return true
}
