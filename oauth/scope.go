package oauth

import (
	"slices"
	"strings"
)

// Scope is what a token is good for (RFC 6749 section 3.3): a set of names, sorted.
// nil is Unscoped, which is all that the person may do. An empty Scope is good for
// nothing.
type Scope []string

// Unscoped gives the scope of personal applications.
func Unscoped() Scope { return nil }

const scopeMax = 4096 // bytes of a scope parameter

// ParseScope reads a scope parameter. false says that it is none: empty, too long,
// or with a character that a name of a scope cannot have.
func ParseScope(parameter string) (Scope, bool) {
	if parameter == "" || len(parameter) > scopeMax {
		return nil, false
	}
	names := strings.Split(parameter, " ")
	for _, name := range names {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }) {
			return nil, false
		}
	}
	return NewScope(names...), true
}

// NewScope makes a scope of these names. It is never Unscoped.
func NewScope(names ...string) Scope {
	s := append(Scope{}, names...)
	slices.Sort(s)
	return slices.Compact(s)
}

// String is the form of the scope parameter; empty of Unscoped too.
func (s Scope) String() string { return strings.Join(s, " ") }

// Within reports whether s allows nothing that other does not.
func (s Scope) Within(other Scope) bool {
	if other == nil {
		return true
	}
	if s == nil {
		return false
	}
	return !slices.ContainsFunc(s, func(name string) bool { return !slices.Contains(other, name) })
}

// And gives what both allow.
func (s Scope) And(other Scope) Scope {
	switch {
	case s == nil:
		return other
	case other == nil:
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), func(name string) bool { return !slices.Contains(other, name) })
}

// asked gives the scope that a commercial application gets if it asks so: all that it
// is registered for if it names none.
func (c Client) asked(parameter string) (Scope, error) {
	if parameter == "" && c.RequireScope {
		return nil, &Error{
			Code: CodeInvalidClient, Description: "This application requires you specify a scope parameter",
			Reason: "scope missing",
		}
	}
	if parameter == "" {
		return c.Scope, nil
	}
	scope, is := ParseScope(parameter)
	if !is || !scope.Within(c.Scope) {
		return nil, invalidScope()
	}
	return scope, nil
}

func invalidScope() *Error {
	return &Error{
		Code: CodeInvalidScope, Description: "An unsupported scope was requested",
		Reason: "scope not allowed",
	}
}
