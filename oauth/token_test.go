package oauth

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestSecretsAreLowerCaseHexAndDiffer(t *testing.T) {
	t.Parallel()
	require.Regexp(t, `^[0-9a-f]{64}$`, NewSecret())
	require.Regexp(t, `^[0-9a-f]{32}$`, NewClientID())
	require.NotEqual(t, NewSecret(), NewSecret())
	require.NotEqual(t, newNonce(), newNonce())
}

func TestSuccessorDependsOnBothHalves(t *testing.T) {
	t.Parallel()
	old, nonce := NewSecret(), newNonce()
	access, refresh, err := successor(old, nonce)
	require.NoError(t, err)
	require.True(t, isHex(access, secretDigits) && isHex(refresh, secretDigits))
	require.NotEqual(t, access, refresh)

	again, _, err := successor(old, nonce)
	require.NoError(t, err)
	require.Equal(t, access, again)
	otherNonce, _, err := successor(old, newNonce())
	require.NoError(t, err)
	require.NotEqual(t, access, otherNonce)
	otherToken, _, err := successor(NewSecret(), nonce)
	require.NoError(t, err)
	require.NotEqual(t, access, otherToken)
}

// The pairs that were given out must survive a new version of the program.
func TestSuccessorStaysTheSame(t *testing.T) {
	t.Parallel()
	access, refresh, err := successor(strings.Repeat("0123456789abcdef", 4), Nonce{1, 2, 3})
	require.NoError(t, err)
	require.Equal(t, "722a06b50d2b4314ab6f1916ea77b478cc03897150572bbe92617f8c018313cf", access)
	require.Equal(t, "1cb398d333ab92ae296eafb73d99ee14b61c44cade7f57580a4bbebd7ce72539", refresh)
}

func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"alice@example.org":       "alice@example.org",
		" Alice@Example.ORG\n":    "alice@example.org",
		"élodie@exemple.fr":       "élodie@exemple.fr",
		"":                        "",
		"alice":                   "",
		"@example.org":            "",
		"alice@":                  "",
		"a@b@c":                   "",
		"al ice@example.org":      "",
		"al\x00ice@example.org":   "",
		"al\u00a0ice@example.org": "",
		"al\u0085ice@example.org": "",
		"al\u2028ice@example.org": "",
		"al\xffice@example.org":   "",
		strings.Repeat("a", 242) + "@example.org": strings.Repeat("a", 242) + "@example.org",
		strings.Repeat("a", 243) + "@example.org": "",
	} {
		got, ok := NormalizeEmail(in)
		require.Equal(t, want, got, "%q", in)
		require.Equal(t, want != "", ok, "%q", in)
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	f.Add(" Alice@Example.org ")
	f.Add("İ@x\xff")
	f.Fuzz(func(t *testing.T, in string) {
		email, ok := NormalizeEmail(in)
		if !ok {
			require.Empty(t, email)
			return
		}
		require.True(t, utf8.ValidString(email) && len(email) <= 254)
		again, ok := NormalizeEmail(email)
		require.True(t, ok, "its own form is refused: %q", email)
		require.Equal(t, email, again)
	})
}

func TestOneHostIsOneAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7":               "192.0.2.7",
		"::ffff:192.0.2.7":        "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1":    "2001:db8:1:2::/64",
		"fe80::1%eth0":            "fe80::/64",
		"2001:db8:1:3:ffff::1%e0": "2001:db8:1:3::/64",
	} {
		require.Equal(t, want, Host(netip.MustParseAddr(address)), address)
	}
	require.NotEqual(t, failureKey("a@b", netip.Addr{}, "1"), failureKey("a@b", netip.MustParseAddr("0.0.0.0"), "1"))
}

func TestAReplayHasWhatRemainsAndAtLeastASecond(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for remains, want := range map[time.Duration]time.Duration{
		time.Hour:               time.Hour,
		time.Hour - time.Second: time.Hour - time.Second,
		1500 * time.Millisecond: time.Second,
		time.Millisecond:        time.Second,
	} {
		tokens, err := replay(NewSecret(), Rotated{ExpiresAt: now.Add(remains)}, now)
		require.NoError(t, err)
		require.Equal(t, want, tokens.ExpiresIn)
	}
}
