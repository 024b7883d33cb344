package oauthpgx

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

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

// known is an ID, or NULL for 0.
func known(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}

// given is a hash, or NULL for a zero one.
func given(h oauth.Hash) []byte {
	if h == (oauth.Hash{}) {
		return nil
	}
	return h[:]
}

// at is a time, or NULL for a zero one.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// stored gives the time that a column holds; zero for NULL.
func stored(column *time.Time) time.Time {
	if column == nil {
		return time.Time{}
	}
	return column.UTC()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// text is a text, or NULL for an empty one.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
