package oauth_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/oauth"
)

func TestParseScope(t *testing.T) {
	t.Parallel()
	for parameter, want := range map[string]oauth.Scope{
		"a":                       {"a"},
		"b a":                     {"a", "b"},
		"a a":                     {"a"},
		"security:read !#[]~":     {"!#[]~", "security:read"},
		strings.Repeat("a", 4096): {strings.Repeat("a", 4096)},
		"":                        nil,
		" ":                       nil,
		" a":                      nil,
		"a ":                      nil,
		"a  b":                    nil,
		"a\tb":                    nil,
		"a\nb":                    nil,
		"a\x00":                   nil,
		`a"`:                      nil,
		`a\`:                      nil,
		"é":                       nil,
		"a\u00a0b":                nil,
		"\xff":                    nil,
		strings.Repeat("a", 4097): nil,
	} {
		got, ok := oauth.ParseScope(parameter)
		require.Equal(t, want != nil, ok, "%q", parameter)
		require.Equal(t, want, got, "%q", parameter)
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	some, more, none := oauth.NewScope("a"), oauth.NewScope("b", "a"), oauth.NewScope()
	for _, c := range []struct {
		scope, other oauth.Scope
		want         bool
	}{
		{some, more, true},
		{more, some, false},
		{some, some, true},
		{none, none, true},
		{none, some, true},
		{some, none, false},
		{some, oauth.Unscoped(), true},
		{none, oauth.Unscoped(), true},
		{oauth.Unscoped(), oauth.Unscoped(), true},
		{oauth.Unscoped(), more, false},
		{oauth.Unscoped(), none, false},
	} {
		require.Equal(t, c.want, c.scope.Within(c.other), "%#v within %#v", c.scope, c.other)
	}
	require.NotNil(t, none, "nothing is not everything")
	require.Empty(t, oauth.Unscoped().String())
	require.Equal(t, "a b", more.String())
}

func TestAScopeIsASet(t *testing.T) {
	t.Parallel()
	names := rapid.SliceOfN(rapid.StringMatching(`[!#-\[\]-~]{1,9}`), 1, 9)
	rapid.Check(t, func(t *rapid.T) {
		a, b := names.Draw(t, "a"), names.Draw(t, "b")
		parsed, ok := oauth.ParseScope(strings.Join(a, " "))
		require.True(t, ok)
		require.Equal(t, oauth.NewScope(a...), parsed)
		again, ok := oauth.ParseScope(parsed.String())
		require.True(t, ok)
		require.Equal(t, parsed, again)
		both := oauth.NewScope(append(a, b...)...)
		require.True(t, parsed.Within(both) && oauth.NewScope(b...).Within(both))
	})
}

func FuzzParseScope(f *testing.F) {
	f.Add("security:read socket:operate")
	f.Add(" \x00\"\\é")
	f.Fuzz(func(t *testing.T, parameter string) {
		scope, ok := oauth.ParseScope(parameter)
		if !ok {
			require.Nil(t, scope)
			return
		}
		require.NotEmpty(t, scope)
		again, ok := oauth.ParseScope(scope.String())
		require.True(t, ok)
		require.Equal(t, scope, again)
	})
}
