package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

// What a token is good for is what its caller may do: no more, and no less.
func TestCallerOfAToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		access oauth.Access
		caller devices.Caller
	}{
		"personal": {
			oauth.Access{GrantID: 1, ClientID: "c", ClientName: "Script", UserID: 7, UserName: "Alice", Scope: oauth.Unscoped()},
			devices.Caller{ClientID: "c", ClientName: "Script", UserID: 7, UserName: "Alice", Unscoped: true},
		},
		"commercial": {
			oauth.Access{ClientID: "c", UserID: 7, Scope: oauth.NewScope("security:read"), Sites: []int64{3}},
			devices.Caller{ClientID: "c", UserID: 7, Scopes: []string{"security:read"}, Sites: []int64{3}},
		},
		"commercial at all homes": {
			oauth.Access{ClientID: "c", UserID: 7, Scope: oauth.NewScope("security:read")},
			devices.Caller{ClientID: "c", UserID: 7, Scopes: []string{"security:read"}},
		},
		"good for nothing": {
			oauth.Access{ClientID: "c", UserID: 7, Scope: oauth.Scope{}, Sites: []int64{}},
			devices.Caller{ClientID: "c", UserID: 7, Scopes: []string{}, Sites: []int64{}},
		},
		"the application's own": {
			oauth.Access{ClientID: "c", Scope: oauth.NewScope("security:read")},
			devices.Caller{ClientID: "c", Scopes: []string{"security:read"}},
		},
	} {
		require.Empty(t, cmp.Diff(c.caller, callerOf(c.access)), name)
	}
}
