package devicetest

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

func testSites(t *testing.T, b *bench) {
	t.Run("a site is its owner's and nobody else's", func(t *testing.T) {
		t.Parallel()
		h, stranger := b.emptySite(t), b.user()

		site, err := h.Site(t.Context(), h.owner, h.site)
		require.NoError(t, err)
		require.Positive(t, site.ID)
		same(t, devices.Site{ID: h.site, Label: "Maison", Timezone: "Europe/Paris", Language: devices.French, Role: devices.Owner, CreatedAt: noon}, site)
		inUTC(t, site.CreatedAt)

		for name, ask := range map[string][2]int64{
			"foreign":      {stranger, h.site},
			"unknown":      {h.owner, math.MaxInt64},
			"negative":     {h.owner, -1},
			"unknown user": {math.MaxInt64, h.site},
		} {
			_, err := h.Site(t.Context(), ask[0], ask[1])
			require.ErrorIs(t, err, devices.ErrNotFound, name)
		}
		sites, err := h.Sites(t.Context(), stranger, 10)
		require.NoError(t, err)
		require.Empty(t, sites)
	})

	t.Run("an unknown owner gets no site", func(t *testing.T) {
		t.Parallel()
		_, err := b.stores[0].AddSite(t.Context(), devices.Site{Label: "Maison", Timezone: "UTC", CreatedAt: noon}, math.MaxInt64)
		require.Error(t, err)
	})

	t.Run("sites are listed by ID with their counts, limit at the most", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		b.house(t) // somebody else's, which does not count
		second, err := h.AddSite(t.Context(), devices.Site{Label: "Chalet", Timezone: "Europe/Zurich", CreatedAt: noon}, h.owner)
		require.NoError(t, err)
		third, err := h.AddSite(t.Context(), devices.Site{Label: "Bateau", Timezone: "UTC", CreatedAt: noon}, h.owner)
		require.NoError(t, err)
		_, err = h.AddUnit(t.Context(), newUnit(newUnitID(), third), []devices.Device{newDevice(devices.Shutter, "Hublot")})
		require.NoError(t, err)

		sites, err := h.Sites(t.Context(), h.owner, 10)
		require.NoError(t, err)
		require.Len(t, sites, 3)
		require.Equal(t, []int64{h.site, second, third}, []int64{sites[0].ID, sites[1].ID, sites[2].ID})
		require.IsIncreasing(t, []int64{h.site, second, third})
		require.Equal(t, "Maison", sites[0].Label)
		require.Equal(t, 2, sites[0].Counts[devices.Socket])
		require.Equal(t, 1, sites[0].Counts[devices.Shutter])
		require.Zero(t, sites[1].Counts[devices.Socket])
		require.Equal(t, 1, sites[2].Counts[devices.Shutter])
		inUTC(t, sites[0].CreatedAt)

		some, err := h.Sites(t.Context(), h.owner, 2)
		require.NoError(t, err)
		same(t, sites[:2], some)
		for _, none := range []int{0, -1} {
			sites, err := h.Sites(t.Context(), h.owner, none)
			require.NoError(t, err)
			require.Empty(t, sites)
		}
	})
}

func testUnits(t *testing.T, b *bench) {
	t.Run("a unit and its devices stand as they were added", func(t *testing.T) {
		t.Parallel()
		h := b.emptySite(t)
		unit := newUnit(newUnitID(), h.site)
		added, err := h.AddUnit(t.Context(), unit, []devices.Device{
			newDevice(devices.Shutter, "Volet"), newDevice(devices.Socket, "Lampe"), newDevice(devices.Shutter, "Store"),
		})
		require.NoError(t, err)

		want := []devices.Device{newDevice(devices.Shutter, "Volet"), newDevice(devices.Socket, "Lampe"), newDevice(devices.Shutter, "Store")}
		require.Len(t, added, len(want))
		for i := range want {
			require.Positive(t, added[i].ID)
			want[i].ID, want[i].SiteID, want[i].UnitID = added[i].ID, h.site, unit.ID
		}
		same(t, want, added)

		found, err := h.Unit(t.Context(), unit.ID)
		require.NoError(t, err)
		same(t, unit, found)
		inUTC(t, found.CreatedAt)
		require.True(t, found.Link.At.IsZero())

		slices.SortFunc(want, func(a, b devices.Device) int { return int(a.ID - b.ID) })
		list := listed(t, h, "", 10)
		same(t, want, list)
		inUTC(t, list[0].CreatedAt)
		require.Len(t, listed(t, h, devices.Shutter, 10), 2)
		require.Len(t, listed(t, h, devices.Socket, 10), 1)
		require.Empty(t, listed(t, h, devices.Security, 10))
		same(t, want[:2], listed(t, h, "", 2))
		require.Empty(t, listed(t, h, "", 0))
		require.Empty(t, listed(t, h, "", -1))
	})

	t.Run("a unit may have no devices", func(t *testing.T) {
		t.Parallel()
		h := b.emptySite(t)
		added, err := h.AddUnit(t.Context(), newUnit(newUnitID(), h.site), nil)
		require.NoError(t, err)
		require.Empty(t, added)
	})

	t.Run("no two devices have one ID", func(t *testing.T) {
		t.Parallel()
		seen := map[int64]bool{}
		for range 3 {
			h := b.house(t)
			for _, id := range []int64{h.socket, h.other, h.shutter} {
				require.False(t, seen[id])
				seen[id] = true
			}
		}
	})

	t.Run("an unknown site is ErrNotFound", func(t *testing.T) {
		t.Parallel()
		unit := newUnit(newUnitID(), math.MaxInt64)
		_, err := b.stores[0].AddUnit(t.Context(), unit, []devices.Device{newDevice(devices.Socket, "Lampe")})
		require.ErrorIs(t, err, devices.ErrNotFound)
		_, err = b.stores[0].Unit(t.Context(), unit.ID)
		require.ErrorIs(t, err, devices.ErrNotFound)
	})

	t.Run("a site with a unit is ErrExists, and nothing is added", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		second := newUnit(newUnitID(), h.site)
		_, err := h.AddUnit(t.Context(), second, []devices.Device{newDevice(devices.Socket, "Lampe")})
		require.ErrorIs(t, err, devices.ErrExists)
		_, err = h.Unit(t.Context(), second.ID)
		require.ErrorIs(t, err, devices.ErrNotFound)
		require.Len(t, listed(t, h, "", 10), 3)
	})

	t.Run("a unit's ID that is taken is ErrExists", func(t *testing.T) {
		t.Parallel()
		h, elsewhere := b.house(t), b.emptySite(t)
		_, err := h.AddUnit(t.Context(), newUnit(h.unit, elsewhere.site), []devices.Device{newDevice(devices.Socket, "Lampe")})
		require.ErrorIs(t, err, devices.ErrExists)
		require.Empty(t, listed(t, elsewhere, "", 10))
		unit, err := h.Unit(t.Context(), h.unit)
		require.NoError(t, err)
		require.Equal(t, h.site, unit.SiteID)
	})

	t.Run("units are listed by ID, those above after, limit at the most", func(t *testing.T) {
		t.Parallel()
		var mine []string
		for range 5 {
			mine = append(mine, b.house(t).unit)
		}
		slices.Sort(mine)

		var all []string // page by page, among the units of other tests
		for after := ""; ; {
			page, err := b.stores[0].Units(t.Context(), after, 2)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), 2)
			if len(page) == 0 {
				break
			}
			for _, u := range page {
				all = append(all, u.ID)
			}
			after = page[len(page)-1].ID
		}
		require.IsIncreasing(t, all)
		require.Subset(t, all, mine)
		none, err := b.stores[0].Units(t.Context(), "", 0)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func listed(t *testing.T, h house, kind devices.Kind, limit int) []devices.Device {
	t.Helper()
	var kinds []devices.Kind
	if kind != "" {
		kinds = append(kinds, kind)
	}
	site, reported, err := h.Devices(t.Context(), h.owner, h.site, kinds, true, limit)
	require.NoError(t, err)
	require.Equal(t, h.site, site.ID)
	var list []devices.Device
	for _, r := range reported {
		list = append(list, r.Device)
	}
	return list
}

func testTarget(t *testing.T, b *bench) {
	h, foreign, empty := b.house(t), b.house(t), b.emptySite(t)
	link := devices.Link{Online: true, Session: "s1", Firmware: "1.2", Catalogue: 1, ClockOffset: -1500 * time.Millisecond, At: noon}
	_, _, err := h.SaveLink(t.Context(), h.unit, link, false)
	require.NoError(t, err)

	t.Run("a device comes with its site and its unit", func(t *testing.T) {
		t.Parallel()
		target, err := h.Target(t.Context(), h.owner, h.site, h.shutter, []devices.Kind{devices.Shutter})
		require.NoError(t, err)
		unit := newUnit(h.unit, h.site)
		unit.Link = link
		device := newDevice(devices.Shutter, "Volet")
		device.ID, device.SiteID, device.UnitID = h.shutter, h.site, h.unit
		same(t, devices.Target{
			Site: devices.Site{ID: h.site, Label: "Maison", Timezone: "Europe/Paris", Language: devices.French, Role: devices.Owner, CreatedAt: noon},
			Unit: unit, Device: device,
		}, target)
		inUTC(t, target.Site.CreatedAt, target.Unit.CreatedAt, target.Unit.Link.At, target.Device.CreatedAt)
	})

	t.Run("the alarm is the site's unit itself", func(t *testing.T) {
		t.Parallel()
		target, err := h.Target(t.Context(), h.owner, h.site, devices.SecurityDevice, []devices.Kind{devices.Security})
		require.NoError(t, err)
		require.Equal(t, h.unit, target.Unit.ID)
		same(t, link, target.Unit.Link)
		same(t, devices.Device{SiteID: h.site, UnitID: h.unit}, target.Device)
	})

	t.Run("a site without a unit has an alarm with an empty unit", func(t *testing.T) {
		t.Parallel()
		target, err := empty.Target(t.Context(), empty.owner, empty.site, devices.SecurityDevice, []devices.Kind{devices.Security})
		require.NoError(t, err)
		require.Equal(t, empty.site, target.Site.ID)
		same(t, devices.Unit{}, target.Unit)
		same(t, devices.Device{SiteID: empty.site}, target.Device)
	})

	for name, c := range map[string]struct {
		user, site, device int64
		kind               devices.Kind
		err                error
	}{
		"foreign site":                  {h.owner, foreign.site, foreign.socket, devices.Socket, devices.ErrNotFound},
		"alarm of a foreign site":       {h.owner, foreign.site, devices.SecurityDevice, devices.Security, devices.ErrNotFound},
		"unknown site":                  {h.owner, math.MaxInt64, h.socket, devices.Socket, devices.ErrNotFound},
		"own device, as of a foreign":   {h.owner, foreign.site, h.socket, devices.Socket, devices.ErrNotFound},
		"foreign device":                {h.owner, h.site, foreign.socket, devices.Socket, devices.ErrNoDevice},
		"unknown device":                {h.owner, h.site, math.MaxInt64, devices.Socket, devices.ErrNoDevice},
		"negative device":               {h.owner, h.site, -1, devices.Socket, devices.ErrNoDevice},
		"device of another kind":        {h.owner, h.site, h.socket, devices.Shutter, devices.ErrNoDevice},
		"device as the alarm":           {h.owner, h.site, h.socket, devices.Security, devices.ErrNoDevice},
		"alarm as a device":             {h.owner, h.site, devices.SecurityDevice, devices.Socket, devices.ErrNoDevice},
		"device of a site with no unit": {empty.owner, empty.site, h.socket, devices.Socket, devices.ErrNoDevice},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := h.Target(t.Context(), c.user, c.site, c.device, []devices.Kind{c.kind})
			require.ErrorIs(t, err, c.err)
		})
	}
}
