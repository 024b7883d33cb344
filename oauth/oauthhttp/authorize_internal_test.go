package oauthhttp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/web"
)

func FuzzAuthorizeRequest(f *testing.F) {
	for _, seed := range []string{
		"client_id=a&redirect_uri=https%3A%2F%2Fb&state=%0D%0A&response_type=code", "state=a&state=b", "state=%zz", "scope=%ff&state=%ff",
		"&&=;state=a;b", "%73tate=+%2B", "state=&state=a", "client_id=\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := parseAuthorize(query)
		if r.Repeated != "" {
			return
		}
		again := authorizeQuery(r)
		require.Equal(t, r, parseAuthorize(again), "what is carried on is the same request")
		path := pathAuthorize + "?" + again
		require.True(t, len(path) > 32<<10 || web.LocalPath(path), "it can be returned to")
		for _, p := range authorizeParameters(&r) {
			require.True(t, p.name == paramState || isText(*p.value), p.name)
		}
	})
}
