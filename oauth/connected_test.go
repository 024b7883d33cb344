package oauth_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// grants writes a grant of Alice's to an application.
func (s *server) grants(t testing.TB, clientID string, scope oauth.Scope, sites []int64) {
	t.Helper()
	now := s.clock.Now()
	_, err := s.store.Issue(t.Context(), oauth.Issuance{
		ClientID: clientID, UserID: s.alice.ID, GrantType: oauth.GrantCode, Scope: scope, Sites: sites,
		Access: oauth.HashOf(oauth.NewSecret()), Refresh: oauth.HashOf(oauth.NewSecret()), Now: now,
		AccessExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(24 * time.Hour),
	})
	require.NoError(t, err)
}

func TestConnectionsAreOfOneApplicationEach(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	first := s.clock.Now()
	s.grants(t, app.ID, oauth.NewScope("read"), []int64{7})
	s.clock.Advance(time.Minute)
	s.grants(t, s.aliceClient.ID, oauth.Unscoped(), nil)
	s.clock.Advance(time.Minute)
	s.grants(t, app.ID, oauth.NewScope("read", "write"), nil)
	s.clock.Advance(time.Minute)
	s.grants(t, app.ID, oauth.NewScope("read"), []int64{7})

	got, err := s.Connections(t.Context(), s.alice.ID)
	require.NoError(t, err)
	of := func(c oauth.Client, scope oauth.Scope, sites []int64, since time.Time) oauth.Grant {
		return oauth.Grant{ClientID: c.ID, ClientName: c.Name, ClientKind: c.Kind, HomePage: c.HomePage, Scope: scope, Sites: sites, Since: since}
	}
	require.Equal(t, []oauth.Connection{
		{ClientID: app.ID, Name: app.Name, Kind: oauth.Commercial, HomePage: app.HomePage, Grants: []oauth.Grant{
			of(app.Client, oauth.NewScope("read"), []int64{7}, first),
			of(app.Client, oauth.NewScope("read", "write"), nil, first.Add(2*time.Minute)),
		}},
		{ClientID: s.aliceClient.ID, Name: s.aliceClient.Name, Kind: oauth.Personal, Grants: []oauth.Grant{
			of(s.aliceClient, oauth.Unscoped(), nil, first.Add(time.Minute)),
		}},
	}, got)

	for id, want := range map[string]bool{app.ID: true, s.bobClient.ID: false, "": false, "unknown": false, app.ID + "\x00": false} {
		ended, err := s.Disconnect(t.Context(), s.alice.ID, id, home())
		require.NoError(t, err)
		require.Equal(t, want, ended, id)
	}
	got, err = s.Connections(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Len(t, got, 1)
}
