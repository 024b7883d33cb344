package devices_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// The matrix of every operation and every scope: a token is good for what its scope
// says and for nothing else, at the sites that it is for and nowhere else.
func TestTokenIsGoodForItsScopesOnly(t *testing.T) {
	h := newHouse(t, func(o *devices.Options) { o.LaneDepth = 1000 })
	armed := h.begin(h.arm())
	h.done(h.order())
	recorded := (<-armed).ID

	try := func(c devices.Caller, row devices.Row, site int64) error {
		var err error
		switch row.Action {
		case devices.ReadSecurity:
			_, err = h.SecurityLevel(t.Context(), c, site)
		case devices.ListDevices:
			_, err = h.Devices(t.Context(), c, site, row.Kind)
		case devices.ReadHistory:
			_, err = h.History(t.Context(), c, site, devices.HistoryQuery{})
		case devices.Operate:
			device := map[devices.Kind]int64{devices.Shutter: h.shutter.ID, devices.Socket: h.socket.ID}[row.Kind]
			_, err = h.Execute(t.Context(), c, devices.Request{SiteID: site, DeviceID: device, Kind: row.Kind, Operation: row.Operation, Async: true})
		}
		return err
	}
	scopes := devices.Scopes()
	require.Equal(t, []string{"security:read", "security:arm", "security:disarm", "socket:read", "socket:operate", "shutter:read", "shutter:operate", "history:read"}, scopes)
	for _, row := range devices.Catalogue() {
		if row.Scope == "" {
			continue
		}
		for _, scope := range scopes {
			c := h.owner
			c.Unscoped, c.Scopes = false, []string{scope}
			err := try(c, row, h.site.ID)
			if scope == row.Scope {
				require.NoError(t, err, "%s with %s", row.Path, scope)
				c.Sites = []int64{h.site.ID + 1}
				require.Equal(t, devices.NoSuch, refusal(t, try(c, row, h.site.ID)), "%s at a site that the token is not for", row.Path)
				continue
			}
			require.Equal(t, devices.MissingScope, refusal(t, err), "%s with %s", row.Path, scope)
			require.ErrorContains(t, err, row.Scope)
		}
		c := h.owner
		c.Unscoped = false
		require.Equal(t, devices.MissingScope, refusal(t, try(c, row, h.site.ID)), "a token that says nothing is good for nothing")
	}

	c := h.owner
	c.Unscoped, c.Scopes = false, []string{"security:arm"}
	_, err := h.Command(t.Context(), c, h.site.ID, recorded)
	require.NoError(t, err)
	c.Scopes = []string{"socket:operate"}
	_, err = h.Command(t.Context(), c, h.site.ID, recorded)
	require.Equal(t, devices.MissingScope, refusal(t, err), "what it could not have ordered it cannot read")

	elsewhere, err := h.AddSite(t.Context(), h.owner.UserID, "Elsewhere", "UTC")
	require.NoError(t, err)
	c.Sites = []int64{elsewhere.ID}
	sites, err := h.Sites(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, sites, 1)
	require.Equal(t, elsewhere.ID, sites[0].ID)
	for len(h.sent) > 0 {
		h.done(<-h.sent)
	}
	require.NoError(t, h.Drain(t.Context()))
}
