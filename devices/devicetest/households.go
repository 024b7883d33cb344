package devicetest

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// group gives a group of sockets with these devices.
func (h house) group(ids ...int64) devices.Group {
	g := devices.Group{SiteID: h.site, Kind: devices.Socket, Label: "Séjour", CreatedAt: noon}
	for _, id := range ids {
		g.Devices = append(g.Devices, devices.Device{ID: id})
	}
	return g
}

func testGroups(t *testing.T, b *bench) {
	h, foreign := b.house(t), b.house(t)
	line := entry(devices.HistoryConfig, "Groupe ajouté", noon)
	_, none, err := h.Groups(t.Context(), h.owner, h.site, "")
	require.NoError(t, err)
	require.Empty(t, none)

	added, err := h.AddGroup(t.Context(), h.group(h.socket, h.other), 2, line)
	require.NoError(t, err)
	require.Greater(t, added.ID, h.shutter, "it draws from the sequence of the devices")
	require.Equal(t, []string{"Lampe", "Cafetière"}, []string{added.Devices[0].Label, added.Devices[1].Label})
	history := h.all(t)
	require.Len(t, history, 1)
	require.Equal(t, "Groupe ajouté", history[0].Label)
	blinds := h.group(h.shutter)
	blinds.Kind = devices.Shutter
	second, err := h.AddGroup(t.Context(), blinds, 2, line)
	require.NoError(t, err)

	site, list, err := h.Groups(t.Context(), h.owner, h.site, "")
	require.NoError(t, err)
	require.Equal(t, h.site, site.ID)
	same(t, []devices.Group{added, second}, list)
	inUTC(t, list[0].CreatedAt)
	_, list, err = h.Groups(t.Context(), h.owner, h.site, devices.Shutter)
	require.NoError(t, err)
	same(t, []devices.Group{second}, list)

	site, unit, found, err := h.Group(t.Context(), h.owner, h.site, added.ID, devices.Socket)
	require.NoError(t, err)
	require.Equal(t, devices.Owner, site.Role)
	require.Equal(t, h.unit, unit.ID)
	same(t, added, found)
	_, _, _, err = h.Group(t.Context(), h.owner, h.site, added.ID, devices.Shutter)
	require.ErrorIs(t, err, devices.ErrNoDevice, "of another kind")
	_, _, _, err = h.Group(t.Context(), h.owner, h.site, h.socket, devices.Socket)
	require.ErrorIs(t, err, devices.ErrNoDevice, "a device is no group")
	_, _, _, err = h.Group(t.Context(), foreign.owner, foreign.site, added.ID, devices.Socket)
	require.ErrorIs(t, err, devices.ErrNoDevice, "at another site")
	_, _, _, err = h.Group(t.Context(), foreign.owner, h.site, added.ID, devices.Socket)
	require.ErrorIs(t, err, devices.ErrNotFound)

	_, err = h.AddGroup(t.Context(), h.group(h.socket), 2, line)
	require.ErrorIs(t, err, devices.ErrFull)
	for name, g := range map[string]devices.Group{"foreign": h.group(h.socket, foreign.socket), "of another kind": h.group(h.shutter), "unknown": h.group(math.MaxInt64)} {
		_, err = h.AddGroup(t.Context(), g, 10, line)
		require.ErrorIs(t, err, devices.ErrNoDevice, name)
	}
	nowhere := h.group(h.socket)
	nowhere.SiteID = math.MaxInt64
	_, err = h.AddGroup(t.Context(), nowhere, 10, line)
	require.ErrorIs(t, err, devices.ErrNotFound)

	require.ErrorIs(t, h.RemoveGroup(t.Context(), foreign.site, added.ID, line), devices.ErrNotFound)
	require.NoError(t, h.RemoveGroup(t.Context(), h.site, added.ID, line))
	require.ErrorIs(t, h.RemoveGroup(t.Context(), h.site, added.ID, line), devices.ErrNotFound)
	_, list, err = h.Groups(t.Context(), h.owner, h.site, "")
	require.NoError(t, err)
	same(t, []devices.Group{second}, list)
	require.Len(t, h.all(t), 3, "what was not done is not told")
}

// scenario gives one that arms the alarm and switches the socket off.
func (h house) scenario() devices.Scenario {
	return devices.Scenario{
		SiteID: h.site, Label: "Départ", Type: devices.Scheduled, Enabled: true, Rule: json.RawMessage(`{"at":"07:00"}`), CreatedBy: h.owner, CreatedAt: noon,
		Steps: []devices.Step{
			{Device: devices.Device{Kind: devices.Security}, Operation: "armed"},
			{Device: devices.Device{ID: h.socket, Kind: devices.Socket}, Operation: "off"},
		},
	}
}

func testScenarios(t *testing.T, b *bench) {
	h, foreign := b.house(t), b.house(t)
	line := entry(devices.HistoryConfig, "Scénario ajouté", noon)
	_, none, err := h.Scenarios(t.Context(), h.owner, h.site)
	require.NoError(t, err)
	require.Empty(t, none)
	added, err := h.AddScenario(t.Context(), h.scenario(), 1, line)
	require.NoError(t, err)
	require.Greater(t, added.ID, h.shutter)
	_, err = h.AddScenario(t.Context(), h.scenario(), 1, line)
	require.ErrorIs(t, err, devices.ErrFull)
	bad := h.scenario()
	bad.Steps[1].Device.ID = foreign.socket
	_, err = h.AddScenario(t.Context(), bad, 10, line)
	require.ErrorIs(t, err, devices.ErrNoDevice)
	bad = h.scenario()
	bad.SiteID = math.MaxInt64
	_, err = h.AddScenario(t.Context(), bad, 10, line)
	require.ErrorIs(t, err, devices.ErrNotFound)

	_, list, err := h.Scenarios(t.Context(), h.owner, h.site)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, []any{added.ID, "Départ", devices.Scheduled, true}, []any{list[0].ID, list[0].Label, list[0].Type, list[0].Enabled})
	sites, err := h.Sites(t.Context(), h.owner, 10)
	require.NoError(t, err)
	require.Equal(t, map[devices.Kind]int{devices.Socket: 2, devices.Shutter: 1, devices.Scene: 1}, sites[0].Counts)

	site, unit, found, err := h.Scenario(t.Context(), h.owner, h.site, added.ID)
	require.NoError(t, err)
	require.Equal(t, h.site, site.ID)
	require.Equal(t, h.unit, unit.ID)
	require.Equal(t, `{"at":"07:00"}`, string(found.Rule))
	require.Equal(t, h.owner, found.CreatedBy)
	require.Len(t, found.Steps, 2)
	require.Equal(t, []any{devices.SecurityDevice, devices.Security, "armed"}, []any{found.Steps[0].Device.ID, found.Steps[0].Device.Kind, found.Steps[0].Operation})
	require.Equal(t, []any{h.socket, "Lampe", "off"}, []any{found.Steps[1].Device.ID, found.Steps[1].Device.Label, found.Steps[1].Operation})
	_, _, _, err = h.Scenario(t.Context(), h.owner, h.site, h.socket)
	require.ErrorIs(t, err, devices.ErrNoDevice)
	_, _, _, err = h.Scenario(t.Context(), foreign.owner, h.site, added.ID)
	require.ErrorIs(t, err, devices.ErrNotFound)

	told := len(h.all(t))
	for i, enabled := range []bool{true, false, false, true} {
		changed, err := h.SwitchScenario(t.Context(), h.site, added.ID, enabled, time.Time{}, entry(devices.HistoryScenario, "Scénario", noon))
		require.NoError(t, err)
		require.Equal(t, i == 1 || i == 3, changed)
		_, _, found, err := h.Scenario(t.Context(), h.owner, h.site, added.ID)
		require.NoError(t, err)
		require.Equal(t, enabled, found.Enabled)
	}
	require.Len(t, h.all(t), told+2, "only a change is told")
	_, err = h.SwitchScenario(t.Context(), foreign.site, added.ID, false, time.Time{}, line)
	require.ErrorIs(t, err, devices.ErrNotFound)
	require.ErrorIs(t, h.RemoveScenario(t.Context(), foreign.site, added.ID, line), devices.ErrNotFound)
	require.NoError(t, h.RemoveScenario(t.Context(), h.site, added.ID, line))
	_, list, err = h.Scenarios(t.Context(), h.owner, h.site)
	require.NoError(t, err)
	require.Empty(t, list)
}

// invitation gives one of an address, with a secret of that number.
func invitation(h house, email string, secret byte) devices.Invitation {
	return devices.Invitation{
		SiteID: h.site, Email: email, Role: devices.Guest, SecretHash: [32]byte{secret, 31: secret},
		CreatedAt: noon, ExpiresAt: noon.Add(time.Hour),
	}
}

func joining(user int64, email string, secret byte) devices.Joining {
	return devices.Joining{
		SecretHash: [32]byte{secret, 31: secret}, UserID: user, Email: email, Now: noon.Add(time.Minute),
		Entry: func(s devices.Site, r devices.Role) devices.Entry {
			return devices.Entry{Type: devices.HistoryAccount, Label: string(r) + " of " + s.Label, CreatedAt: noon}
		},
	}
}

func testHouseholds(t *testing.T, b *bench) {
	h, bob := b.house(t), b.user()
	line := entry(devices.HistoryAccount, "Invitation", noon)
	ann, ben := invitation(h, "ann@example.org", 1), invitation(h, "ben@example.org", 2)
	require.NoError(t, h.Invite(t.Context(), ben, 2, line))
	require.NoError(t, h.Invite(t.Context(), ann, 2, line))
	require.ErrorIs(t, h.Invite(t.Context(), invitation(h, "cid@example.org", 3), 2, line), devices.ErrFull)
	ben.Role, ben.SecretHash = devices.Member, [32]byte{4, 31: 4}
	require.NoError(t, h.Invite(t.Context(), ben, 2, line), "in the place of the earlier one")
	list, err := h.Invitations(t.Context(), h.site, noon)
	require.NoError(t, err)
	same(t, []devices.Invitation{ann, ben}, list)
	inUTC(t, list[0].CreatedAt, list[0].ExpiresAt)
	list, err = h.Invitations(t.Context(), h.site, ann.ExpiresAt)
	require.NoError(t, err)
	require.Empty(t, list)
	nowhere := ann
	nowhere.SiteID, nowhere.SecretHash = math.MaxInt64, [32]byte{9}
	require.ErrorIs(t, h.Invite(t.Context(), nowhere, 2, line), devices.ErrNotFound)

	late := joining(bob, "ben@example.org", 4)
	late.Now = ben.ExpiresAt
	for name, j := range map[string]devices.Joining{
		"another's address": joining(bob, "ann@example.org", 4), "replaced": joining(bob, "ben@example.org", 2),
		"unknown": joining(bob, "ben@example.org", 7), "expired": late,
	} {
		_, err := h.Join(t.Context(), j)
		require.ErrorIs(t, err, devices.ErrNotFound, name)
	}
	_, err = h.Join(t.Context(), joining(h.owner, "ben@example.org", 4))
	require.ErrorIs(t, err, devices.ErrExists, "who belongs to the site already")
	site, err := h.Join(t.Context(), joining(bob, "ben@example.org", 4))
	require.NoError(t, err, "the invitation still stands")
	require.Equal(t, devices.Member, site.Role)
	require.Equal(t, h.site, site.ID)
	_, err = h.Join(t.Context(), joining(b.user(), "ben@example.org", 4))
	require.ErrorIs(t, err, devices.ErrNotFound, "once")
	history := h.all(t)
	require.Equal(t, "member of Maison", history[len(history)-1].Label)

	members, err := h.Members(t.Context(), h.site)
	require.NoError(t, err)
	require.Equal(t, []devices.Membership{{UserID: h.owner, Role: devices.Owner}, {UserID: bob, Role: devices.Member}}, members)
	seen, err := h.Site(t.Context(), bob, h.site)
	require.NoError(t, err)
	require.Equal(t, devices.Member, seen.Role)

	require.ErrorIs(t, h.RemoveMember(t.Context(), h.site, h.owner, ann.Email, line), devices.ErrLastOwner)
	elsewhere := b.house(t)
	require.NoError(t, h.Invite(t.Context(), invitation(elsewhere, "ben@example.org", 6), 2, line))
	require.NoError(t, h.Invite(t.Context(), invitation(h, "ben@example.org", 5), 2, line), "who is there already")
	require.NoError(t, h.RemoveMember(t.Context(), h.site, bob, "ben@example.org", line))
	require.ErrorIs(t, h.RemoveMember(t.Context(), h.site, bob, ann.Email, line), devices.ErrNotFound)
	_, err = h.Join(t.Context(), joining(bob, "ben@example.org", 5))
	require.ErrorIs(t, err, devices.ErrNotFound, "the invitation went with the person")
	list, err = h.Invitations(t.Context(), h.site, noon)
	require.NoError(t, err)
	same(t, []devices.Invitation{ann}, list)
	list, err = h.Invitations(t.Context(), elsewhere.site, noon)
	require.NoError(t, err)
	require.Len(t, list, 1, "of another site")
	_, err = h.Site(t.Context(), bob, h.site)
	require.ErrorIs(t, err, devices.ErrNotFound)

	n, err := h.PurgeInvitations(t.Context(), ann.ExpiresAt, 10)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	_, err = h.Join(t.Context(), joining(bob, "ann@example.org", 1))
	require.ErrorIs(t, err, devices.ErrNotFound)
}

func testUninvite(t *testing.T, b *bench) {
	h, elsewhere, bob := b.house(t), b.house(t), b.user()
	line := entry(devices.HistoryAccount, "Withdrawn", noon)
	require.NoError(t, h.Invite(t.Context(), invitation(h, "ann@example.org", 1), 2, line))
	require.NoError(t, h.Invite(t.Context(), invitation(h, "ben@example.org", 2), 2, line))
	ben := invitation(h, "ben@example.org", 2)
	site, found, err := h.Invited(t.Context(), ben.SecretHash, "ben@example.org", noon)
	require.NoError(t, err)
	same(t, ben, found)
	require.Equal(t, h.site, site.ID)
	require.NotEmpty(t, site.Label)
	require.Empty(t, site.Role, "it is not yet his")
	inUTC(t, site.CreatedAt, found.CreatedAt, found.ExpiresAt)
	for _, none := range []struct {
		secret [32]byte
		email  string
		now    time.Time
	}{
		{ben.SecretHash, "ann@example.org", noon},
		{[32]byte{9}, "ben@example.org", noon},
		{ben.SecretHash, "ben\x00@example.org", noon},
		{ben.SecretHash, "ben@example.org", ben.ExpiresAt},
	} {
		_, _, err := h.Invited(t.Context(), none.secret, none.email, none.now)
		require.ErrorIs(t, err, devices.ErrNotFound)
	}

	before := len(h.all(t))
	require.ErrorIs(t, h.Uninvite(t.Context(), elsewhere.site, "ben@example.org", line), devices.ErrNotFound)
	require.ErrorIs(t, h.Uninvite(t.Context(), h.site, "ben\x00@example.org", line), devices.ErrNotFound)
	require.Len(t, h.all(t), before)
	require.NoError(t, h.Uninvite(t.Context(), h.site, "ben@example.org", line))
	require.ErrorIs(t, h.Uninvite(t.Context(), h.site, "ben@example.org", line), devices.ErrNotFound)
	require.Len(t, h.all(t), before+1)
	_, err = h.Join(t.Context(), joining(bob, "ben@example.org", 2))
	require.ErrorIs(t, err, devices.ErrNotFound)
	_, err = h.Join(t.Context(), joining(bob, "ann@example.org", 1))
	require.NoError(t, err, "another's stands")
}
