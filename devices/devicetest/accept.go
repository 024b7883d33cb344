package devicetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

func testAccept(t *testing.T, b *bench) {
	t.Run("a new command is inserted as it is", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		c := h.switchOn()
		accepted, err := h.Accept(t.Context(), intent(c, nil))
		require.NoError(t, err)
		same(t, devices.Accepted{Command: c, New: true}, accepted)

		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err)
		same(t, c, found)
		require.True(t, found.FinishedAt.IsZero())
		inUTC(t, found.AcceptedAt, found.ExpiresAt)
	})

	t.Run("a command to a unit that is away is accepted as Offline", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		c := h.switchOn()
		c.Outcome, c.FinishedAt = devices.Offline, noon
		h.accept(t, c, nil)
		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err)
		same(t, c, found)
		inUTC(t, found.FinishedAt)
	})

	t.Run("the alarm of a site without a unit has commands too", func(t *testing.T) {
		t.Parallel()
		h := b.emptySite(t)
		c := h.command(devices.SecurityDevice, devices.Security, "armed")
		c.Outcome, c.FinishedAt = devices.Offline, noon
		h.accept(t, c, newKey())
		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err)
		require.Empty(t, found.UnitID)
		same(t, c, found)
	})

	t.Run("times come back in UTC, to the microsecond", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		c := h.switchOn()
		paris := time.FixedZone("Paris", 3600)
		c.AcceptedAt = noon.Add(789 * time.Nanosecond).In(paris)
		c.ExpiresAt = noon.Add(time.Minute + 999*time.Nanosecond).In(paris)
		accepted := h.accept(t, c, nil)
		same(t, noon, accepted.AcceptedAt)
		same(t, noon.Add(time.Minute), accepted.ExpiresAt)
		inUTC(t, accepted.AcceptedAt, accepted.ExpiresAt)
		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err)
		same(t, accepted, found)
	})

	t.Run("a command ID that is taken is an error, and changes nothing", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		first := h.accept(t, h.switchOn(), nil)
		again := h.switchOff()
		again.ID = first.ID
		_, err := h.Accept(t.Context(), intent(again, nil))
		require.ErrorIs(t, err, devices.ErrExists)
		found, err := h.Command(t.Context(), h.site, first.ID)
		require.NoError(t, err)
		same(t, first, found)
	})
}

// repeated requires that i is answered with the earlier command, and is not written.
func repeated(t *testing.T, h house, i devices.Intent, earlier devices.Command) {
	t.Helper()
	accepted, err := h.Accept(t.Context(), i)
	require.NoError(t, err)
	same(t, devices.Accepted{Command: earlier}, accepted)
	if i.Command.ID != earlier.ID {
		_, err = h.Command(t.Context(), h.site, i.Command.ID)
		require.ErrorIs(t, err, devices.ErrNotFound)
	}
}

func testKeys(t *testing.T, b *bench) {
	t.Run("a key with the same command repeats it, whatever became of it", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		first := h.accept(t, h.switchOn(), key)
		repeated(t, h, intent(h.switchOn(), key), first)
		unknown := h.end(t, first, devices.Unknown)
		repeated(t, h, intent(h.switchOn(), key), unknown)
		done := h.end(t, first, devices.Done)
		repeated(t, h, intent(h.switchOn(), key), done)
	})

	t.Run("a key repeats a command that the unit refused", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		refused := h.end(t, h.accept(t, h.switchOn(), key), devices.Refused)
		repeated(t, h, intent(h.switchOn(), key), refused)
	})

	t.Run("a key repeats its command although others were given since", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		first := h.accept(t, h.switchOn(), key)
		h.accept(t, h.switchOff(), newKey())
		h.accept(t, h.switchOn(), nil)
		repeated(t, h, intent(h.switchOn(), key), first)
	})

	t.Run("a key with another command is ErrKeyReuse, and writes nothing", func(t *testing.T) {
		t.Parallel()
		h, second, key := b.house(t), b.emptySite(t), newKey()
		first := h.accept(t, h.switchOn(), key)
		elsewhere := h.switchOn()
		elsewhere.SiteID, elsewhere.UnitID = second.site, ""
		for name, another := range map[string]devices.Command{
			"operation": h.switchOff(),
			"device":    h.command(h.other, devices.Socket, "on"),
			"kind":      h.command(h.socket, devices.Shutter, "on"),
			"site":      elsewhere,
		} {
			_, err := h.Accept(t.Context(), intent(another, key))
			require.ErrorIs(t, err, devices.ErrKeyReuse, name)
			_, err = h.Command(t.Context(), another.SiteID, another.ID)
			require.ErrorIs(t, err, devices.ErrNotFound, name)
		}
		repeated(t, h, intent(h.switchOn(), key), first)
	})

	t.Run("a key is one client's and one user's", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		h.accept(t, h.switchOn(), key)
		otherClient := h.switchOff()
		otherClient.ClientID = "another app"
		h.accept(t, otherClient, key)
		otherUser := h.switchOff()
		otherUser.UserID = b.user()
		h.accept(t, otherUser, key)
	})

	t.Run("a command that ended Offline frees its key, which moves on", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		first := h.accept(t, h.switchOn(), key)
		first = h.end(t, first, devices.Offline)

		second := h.accept(t, h.switchOn(), key)
		require.NotEqual(t, first.ID, second.ID)
		repeated(t, h, intent(h.switchOn(), key), second)

		found, err := h.Command(t.Context(), h.site, first.ID)
		require.NoError(t, err)
		same(t, first, found)
	})

	t.Run("a key that is free takes another command", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		h.end(t, h.accept(t, h.switchOn(), key), devices.Offline)
		second := h.accept(t, h.switchOff(), key)
		repeated(t, h, intent(h.switchOff(), key), second)
		_, err := h.Accept(t.Context(), intent(h.switchOn(), key))
		require.ErrorIs(t, err, devices.ErrKeyReuse)
	})

	t.Run("a command accepted as Offline holds no key", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		for range 3 {
			c := h.switchOn()
			c.Outcome, c.FinishedAt = devices.Offline, noon
			h.accept(t, c, key)
		}
		sent := h.accept(t, h.switchOn(), key)
		repeated(t, h, intent(h.switchOn(), key), sent)
	})

	t.Run("a key lives since KeySince, inclusive", func(t *testing.T) {
		t.Parallel()
		h, key := b.house(t), newKey()
		first := h.accept(t, h.switchOn(), key)

		last := intent(h.switchOn(), key)
		last.KeySince = noon.Add(999 * time.Nanosecond) // the microsecond of the first
		repeated(t, h, last, first)

		later := intent(h.switchOff(), key)
		later.Command.AcceptedAt = noon.Add(24 * time.Hour)
		later.KeySince = noon.Add(time.Microsecond)
		accepted, err := h.Accept(t.Context(), later)
		require.NoError(t, err)
		require.True(t, accepted.New)
		repeated(t, h, later, accepted.Command)

		found, err := h.Command(t.Context(), h.site, first.ID)
		require.NoError(t, err)
		same(t, first, found)
	})
}

func testJoins(t *testing.T, b *bench) {
	for _, open := range []devices.Outcome{devices.Pending, devices.Unknown} {
		t.Run("a repeat joins a command that is "+string(open), func(t *testing.T) {
			t.Parallel()
			h := b.house(t)
			first := h.accept(t, h.switchOn(), nil)
			if open != devices.Pending {
				first = h.end(t, first, open)
			}
			repeated(t, h, intent(h.switchOn(), nil), first)
			repeated(t, h, intent(h.switchOn(), nil), first)
		})
	}

	for _, settled := range []devices.Outcome{devices.Done, devices.Refused, devices.Offline} {
		t.Run("a repeat of a command that is "+string(settled)+" is new", func(t *testing.T) {
			t.Parallel()
			h := b.house(t)
			h.end(t, h.accept(t, h.switchOn(), nil), settled)
			h.accept(t, h.switchOn(), nil)
		})
	}

	t.Run("a repeat joins a command that was given with a key", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		first := h.accept(t, h.switchOn(), newKey())
		repeated(t, h, intent(h.switchOn(), nil), first)
	})

	t.Run("a command with a key joins nothing", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		h.accept(t, h.switchOn(), nil)
		h.accept(t, h.switchOn(), newKey())
		h.accept(t, h.switchOn(), newKey())
	})

	t.Run("a repeat joins the alarm's command", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		arm := func() devices.Command { return h.command(devices.SecurityDevice, devices.Security, "armed") }
		first := h.accept(t, arm(), nil)
		repeated(t, h, intent(arm(), nil), first)
	})

	t.Run("nothing is joined over another command to the device since", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		h.accept(t, h.switchOn(), nil)
		off := h.switchOff()
		off.AcceptedAt = noon.Add(time.Second)
		h.end(t, h.accept(t, off, nil), devices.Done)

		again := h.switchOn()
		again.AcceptedAt = noon.Add(2 * time.Second)
		h.accept(t, again, nil)
		repeated(t, h, intent(again, nil), again)
	})

	t.Run("of two commands of one microsecond the one with the higher ID is the latest", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		h.accept(t, h.switchOn(), nil)
		off := h.accept(t, h.switchOff(), nil)
		repeated(t, h, intent(h.switchOff(), nil), off)
		h.accept(t, h.switchOn(), nil)
	})

	t.Run("a command to another device lies not in between", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		first := h.accept(t, h.switchOn(), nil)
		h.accept(t, h.command(h.other, devices.Socket, "on"), nil)
		h.accept(t, h.command(devices.SecurityDevice, devices.Security, "armed"), nil)
		repeated(t, h, intent(h.switchOn(), nil), first)
	})

	t.Run("another client and another user join nothing, and lie not in between", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		first := h.accept(t, h.switchOn(), nil)
		otherClient, otherUser := h.switchOn(), h.switchOn()
		otherClient.ClientID, otherUser.UserID = "another app", b.user()
		h.accept(t, otherClient, nil)
		h.accept(t, otherUser, nil)
		repeated(t, h, intent(h.switchOn(), nil), first)
	})

	t.Run("a command is joined since JoinSince, inclusive", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		first := h.accept(t, h.switchOn(), nil)
		last := intent(h.switchOn(), nil)
		last.JoinSince = noon.Add(999 * time.Nanosecond) // the microsecond of the first
		repeated(t, h, last, first)

		later := intent(h.switchOn(), nil)
		later.JoinSince = noon.Add(time.Microsecond)
		accepted, err := h.Accept(t.Context(), later)
		require.NoError(t, err)
		require.True(t, accepted.New)
	})
}

func testCommand(t *testing.T, b *bench) {
	h, foreign := b.house(t), b.house(t)
	c := h.accept(t, h.switchOn(), nil)

	found, err := h.Command(t.Context(), h.site, c.ID)
	require.NoError(t, err)
	same(t, c, found)
	for name, ask := range map[string]struct {
		site int64
		id   string
	}{
		"a foreign site": {foreign.site, c.ID},
		"an unknown one": {h.site, newCommandID()},
		"an empty one":   {h.site, ""},
	} {
		_, err := h.Command(t.Context(), ask.site, ask.id)
		require.ErrorIs(t, err, devices.ErrNotFound, name)
	}
}
