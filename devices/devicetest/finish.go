package devicetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

func testFinish(t *testing.T, b *bench) {
	t.Run("an outcome is written with its state and its entry", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		c := h.accept(t, h.switchOn(), nil)
		f := finish(c, devices.Done)
		reported, line := state(h.socket, 7, `{"on": true}`), entry(devices.HistoryHomeAuto, c.Label, f.Now)
		f.State, f.Entry = &reported, &line

		done, err := h.Finish(t.Context(), f)
		require.NoError(t, err)
		want := c
		want.Outcome, want.FinishedAt = devices.Done, f.Now
		same(t, want, done)
		inUTC(t, done.AcceptedAt, done.ExpiresAt, done.FinishedAt)
		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err)
		same(t, want, found)

		stored, err := h.State(t.Context(), h.site, h.socket)
		require.NoError(t, err)
		same(t, reported, stored)
		history := h.all(t)
		require.Len(t, history, 1)
		line.ID, line.SiteID = history[0].ID, h.site
		same(t, line, history[0])
	})

	t.Run("a refusal keeps its reason", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		c := h.accept(t, h.switchOn(), nil)
		f := finish(c, devices.Refused)
		f.Reason = "fenêtre ouverte"
		refused, err := h.Finish(t.Context(), f)
		require.NoError(t, err)
		require.Equal(t, "fenêtre ouverte", refused.Reason)
		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err)
		same(t, refused, found)
		require.Empty(t, h.all(t))
		_, err = h.State(t.Context(), h.site, h.socket)
		require.ErrorIs(t, err, devices.ErrNotFound)
	})

	t.Run("the alarm's state is the site's own", func(t *testing.T) {
		t.Parallel()
		h, neighbour := b.house(t), b.house(t)
		c := h.accept(t, h.command(devices.SecurityDevice, devices.Security, "armed"), nil)
		f := finish(c, devices.Done)
		armed := state(devices.SecurityDevice, 1, `{"level":"armed"}`)
		f.State = &armed
		_, err := h.Finish(t.Context(), f)
		require.NoError(t, err)
		stored, err := h.State(t.Context(), h.site, devices.SecurityDevice)
		require.NoError(t, err)
		same(t, armed, stored)
		_, err = h.State(t.Context(), neighbour.site, devices.SecurityDevice)
		require.ErrorIs(t, err, devices.ErrNotFound)
	})

	t.Run("a command of a site without a unit has the empty unit", func(t *testing.T) {
		t.Parallel()
		h := b.emptySite(t)
		c := h.accept(t, h.command(devices.SecurityDevice, devices.Security, "armed"), nil)
		stranger := finish(c, devices.Offline)
		stranger.UnitID = newUnitID()
		_, err := h.Finish(t.Context(), stranger)
		require.ErrorIs(t, err, devices.ErrNotFound)
		require.Equal(t, devices.Offline, h.end(t, c, devices.Offline).Outcome)
	})

	t.Run("only an outcome of From gives way", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		c := h.accept(t, h.switchOn(), nil)
		unknown := h.end(t, c, devices.Unknown)

		timeout := finish(c, devices.Offline)
		timeout.From = []devices.Outcome{devices.Pending}
		requireSettled(t, h, timeout, unknown)
		none := finish(c, devices.Done)
		none.From = nil
		requireSettled(t, h, none, unknown)
	})

	t.Run("a late answer corrects Unknown", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		c := h.accept(t, h.switchOn(), nil)
		h.end(t, c, devices.Unknown)
		late := finish(c, devices.Done)
		late.Now = noon.Add(time.Hour)
		done, err := h.Finish(t.Context(), late)
		require.NoError(t, err)
		require.Equal(t, devices.Done, done.Outcome)
		same(t, noon.Add(time.Hour), done.FinishedAt)
	})

	for _, settled := range []devices.Outcome{devices.Done, devices.Refused, devices.Offline} {
		t.Run("a command that is "+string(settled)+" stays so", func(t *testing.T) {
			t.Parallel()
			h := b.house(t)
			ended := h.end(t, h.accept(t, h.switchOn(), nil), settled)
			for _, outcome := range []devices.Outcome{devices.Done, devices.Refused, devices.Unknown} {
				requireSettled(t, h, finish(ended, outcome), ended)
			}
		})
	}

	t.Run("a unit has no say in another's command, nor in an unknown one", func(t *testing.T) {
		t.Parallel()
		h, neighbour := b.house(t), b.house(t)
		c := h.accept(t, h.switchOn(), nil)
		strangers, unknown, unitless := finish(c, devices.Done), finish(c, devices.Done), finish(c, devices.Done)
		strangers.UnitID, unknown.CommandID, unitless.UnitID = neighbour.unit, newCommandID(), ""
		for name, f := range map[string]devices.Finish{"another's": strangers, "unknown": unknown, "no unit": unitless} {
			reported, line := state(h.socket, 7, `{"on":true}`), entry(devices.HistoryHomeAuto, "lie", f.Now)
			f.State, f.Entry = &reported, &line
			_, err := h.Finish(t.Context(), f)
			require.ErrorIs(t, err, devices.ErrNotFound, name)
		}
		requireUntouched(t, h, c)
		requireUntouched(t, neighbour, c)
	})

	t.Run("another's settled command is not told", func(t *testing.T) {
		t.Parallel()
		h, neighbour := b.house(t), b.house(t)
		done := h.end(t, h.accept(t, h.switchOn(), nil), devices.Done)
		f := finish(done, devices.Done)
		f.UnitID = neighbour.unit
		told, err := h.Finish(t.Context(), f)
		require.ErrorIs(t, err, devices.ErrNotFound)
		require.Empty(t, told)
	})

	t.Run("an old state is not stored, its outcome is", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		newer := state(h.socket, 9, `{"on":false}`)
		_, err := h.SaveState(t.Context(), h.unit, devices.Report{State: newer})
		require.NoError(t, err)
		for _, old := range []int64{8, 9} {
			c := h.accept(t, h.switchOn(), newKey())
			f := finish(c, devices.Done)
			reported, line := state(h.socket, old, `{"on":true}`), entry(devices.HistoryHomeAuto, c.Label, f.Now)
			f.State, f.Entry = &reported, &line
			done, err := h.Finish(t.Context(), f)
			require.NoError(t, err)
			require.Equal(t, devices.Done, done.Outcome)
			stored, err := h.State(t.Context(), h.site, h.socket)
			require.NoError(t, err)
			same(t, newer, stored)
		}
		require.Len(t, h.all(t), 2)
	})

	t.Run("a newer state replaces the stored one", func(t *testing.T) {
		t.Parallel()
		h := b.house(t)
		_, err := h.SaveState(t.Context(), h.unit, devices.Report{State: state(h.socket, 9, `{"on":false}`)})
		require.NoError(t, err)
		f := finish(h.accept(t, h.switchOn(), nil), devices.Done)
		newer := state(h.socket, 10, `{"on":true}`)
		f.State = &newer
		_, err = h.Finish(t.Context(), f)
		require.NoError(t, err)
		stored, err := h.State(t.Context(), h.site, h.socket)
		require.NoError(t, err)
		same(t, newer, stored)
	})
}

// requireSettled requires that f is refused with the command as it stands, and that
// neither f's state nor its entry is written.
func requireSettled(t *testing.T, h house, f devices.Finish, stands devices.Command) {
	t.Helper()
	reported, line := state(h.socket, 1000, `{"on":true}`), entry(devices.HistoryHomeAuto, "never", f.Now)
	f.State, f.Entry = &reported, &line
	told, err := h.Finish(t.Context(), f)
	require.ErrorIs(t, err, devices.ErrSettled)
	same(t, stands, told)
	requireUntouched(t, h, stands)
}

// requireUntouched requires that the command stands as c says, and that the house has
// neither a state of its socket nor history.
func requireUntouched(t *testing.T, h house, c devices.Command) {
	t.Helper()
	found, err := h.Command(t.Context(), c.SiteID, c.ID)
	require.NoError(t, err)
	same(t, c, found)
	_, err = h.State(t.Context(), h.site, h.socket)
	require.ErrorIs(t, err, devices.ErrNotFound)
	require.Empty(t, h.all(t))
}

// testAbandon uses times of its own, because Abandon reaches over all sites.
func testAbandon(t *testing.T, b *bench) {
	h := b.house(t)
	at := func(seconds int) devices.Command {
		c := h.switchOn()
		c.AcceptedAt = noon.Add(time.Duration(seconds) * time.Second)
		return h.accept(t, c, newKey())
	}
	var old []devices.Command
	for i := range 5 {
		old = append(old, at(i))
	}
	boundary, done := at(10), h.end(t, at(1), devices.Done)
	before, now := noon.Add(10*time.Second), noon.Add(time.Hour)

	n, err := h.Abandon(t.Context(), before, now, 0, noEntry)
	require.NoError(t, err)
	require.Zero(t, n)

	// Three at the most, then what is left, then nothing.
	for _, want := range []int{3, 2, 0} {
		n, err = h.Abandon(t.Context(), before, now, 3, noEntry)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, c := range old {
		c.Outcome, c.FinishedAt = devices.Unknown, now
		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err)
		same(t, c, found)
	}
	for name, c := range map[string]devices.Command{"accepted at the boundary": boundary, "done": done} {
		found, err := h.Command(t.Context(), h.site, c.ID)
		require.NoError(t, err, name)
		same(t, c, found)
	}

	// A late answer corrects it as any other.
	require.Equal(t, devices.Done, h.end(t, old[0], devices.Done).Outcome)
}

// testPurge uses times of its own, because Purge reaches over all sites.
func testPurge(t *testing.T, b *bench) {
	h := b.house(t)
	var ids []string
	for i, outcome := range []devices.Outcome{devices.Done, devices.Refused, devices.Offline, devices.Unknown, devices.Pending, devices.Done} {
		c := h.switchOn()
		c.AcceptedAt = noon.Add(time.Duration(i) * time.Second)
		c = h.accept(t, c, newKey())
		if outcome != devices.Pending {
			f := finish(c, outcome)
			line := entry(devices.HistoryHomeAuto, c.Label, f.Now)
			f.Entry = &line
			_, err := h.Finish(t.Context(), f)
			require.NoError(t, err)
		}
		ids = append(ids, c.ID)
	}
	history := h.all(t)
	before := noon.Add(5 * time.Second) // all but the last, which was accepted just then

	n, err := h.Purge(t.Context(), before, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	for _, want := range []int{3, 2, 0} {
		n, err := h.Purge(t.Context(), before, 3)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, id := range ids[:5] {
		_, err := h.Command(t.Context(), h.site, id)
		require.ErrorIs(t, err, devices.ErrNotFound)
	}
	_, err = h.Command(t.Context(), h.site, ids[5])
	require.NoError(t, err)
	same(t, history, h.all(t))
}
