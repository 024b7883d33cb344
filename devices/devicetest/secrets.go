package devicetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

func testSecrets(t *testing.T, b *bench) {
	t.Run("a unit's secret is replaced, and nothing else of it", func(t *testing.T) {
		t.Parallel()
		h, other := b.house(t), b.house(t)
		want, err := h.Unit(t.Context(), h.unit)
		require.NoError(t, err)
		untouched, err := h.Unit(t.Context(), other.unit)
		require.NoError(t, err)
		want.SecretHash = [32]byte{1, 2, 3}
		require.NoError(t, h.ReplaceSecret(t.Context(), h.unit, want.SecretHash, noon))
		got, err := h.Unit(t.Context(), h.unit)
		require.NoError(t, err)
		same(t, want, got)
		got, err = h.Unit(t.Context(), other.unit)
		require.NoError(t, err)
		same(t, untouched, got)
	})

	t.Run("an unknown unit has none", func(t *testing.T) {
		t.Parallel()
		for _, id := range []string{"", newUnitID(), "a\x00b", "a\xffb"} {
			require.ErrorIs(t, b.stores[0].ReplaceSecret(t.Context(), id, [32]byte{1}, noon), devices.ErrNotFound, "%q", id)
		}
	})

	t.Run("the replaced ones are listed, the latest first", func(t *testing.T) {
		t.Parallel()
		first, second := b.house(t), b.house(t)
		b.house(t)                      // that never lost it
		later := noon.AddDate(10, 0, 0) // than what other tests do
		require.NoError(t, first.ReplaceSecret(t.Context(), first.unit, [32]byte{1}, later.Add(time.Minute)))
		require.NoError(t, first.ReplaceSecret(t.Context(), second.unit, [32]byte{2}, later.Add(2*time.Minute)))
		want := []devices.Replacement{{UnitID: second.unit, At: later.Add(2 * time.Minute)}, {UnitID: first.unit, At: later.Add(time.Minute)}}
		got, err := first.Replaced(t.Context(), later, 10)
		require.NoError(t, err)
		same(t, want, got)
		got, err = first.Replaced(t.Context(), later.Add(time.Minute), 10)
		require.NoError(t, err)
		same(t, want[:1], got)
		got, err = first.Replaced(t.Context(), later, 1)
		require.NoError(t, err)
		same(t, want[:1], got)
		got, err = first.Replaced(t.Context(), later, -1)
		require.NoError(t, err)
		require.Empty(t, got)
	})
}
