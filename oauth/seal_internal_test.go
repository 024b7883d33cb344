package oauth

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsSealedIsOpenedByTheSameKeyForTheSamePurpose(t *testing.T) {
	t.Parallel()
	s, other := sealer{bytes.Repeat([]byte{1}, SealKeySize)}, sealer{bytes.Repeat([]byte{2}, SealKeySize)}
	for _, plain := range [][]byte{{}, []byte("secret"), bytes.Repeat([]byte("x"), 5000)} {
		sealed, err := s.seal("purpose", plain)
		require.NoError(t, err)
		if len(plain) > 0 {
			require.NotContains(t, string(sealed), string(plain))
		}
		again, err := s.seal("purpose", plain)
		require.NoError(t, err)
		require.NotEqual(t, sealed, again)
		got, err := s.open("purpose", sealed)
		require.NoError(t, err)
		require.Equal(t, string(plain), string(got))

		_, err = s.open("another purpose", sealed)
		require.ErrorIs(t, err, errSealed)
		_, err = other.open("purpose", sealed)
		require.ErrorIs(t, err, errSealed)
		for _, at := range []int{0, saltSize - 1, saltSize, len(sealed) - 1} {
			changed := bytes.Clone(sealed)
			changed[at] ^= 1
			_, err = s.open("purpose", changed)
			require.ErrorIs(t, err, errSealed, at)
		}
		for _, n := range []int{0, 1, saltSize - 1, saltSize, saltSize + 27, len(sealed) - 1} {
			_, err = s.open("purpose", sealed[:n])
			require.ErrorIs(t, err, errSealed, n)
		}
	}
}
