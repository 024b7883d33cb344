package oauthtest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func failures() map[string]func(*testing.T, *bench) {
	now := start()
	add := func(b *bench, key oauth.Hash, at, since time.Time) oauth.Failures {
		b.t.Helper()
		f, err := b.AddFailure(b.t.Context(), key, at, since)
		require.NoError(b.t, err)
		return f
	}
	count := func(b *bench, key oauth.Hash, since time.Time) oauth.Failures {
		b.t.Helper()
		f, err := b.Failures(b.t.Context(), key, since)
		require.NoError(b.t, err)
		return f
	}
	return map[string]func(*testing.T, *bench){
		"are none at first": func(t *testing.T, b *bench) {
			require.Zero(t, count(b, b.hash(), now.Add(-time.Hour)))
		},
		"are counted with the new one": func(t *testing.T, b *bench) {
			key := b.hash()
			for i := range 12 {
				at := now.Add(time.Duration(i) * time.Second)
				equal(t, oauth.Failures{Count: i + 1, Oldest: asStored(now)}, add(b, key, at, now.Add(-time.Minute)))
			}
			equal(t, oauth.Failures{Count: 12, Oldest: asStored(now)}, count(b, key, now.Add(-time.Minute)))
		},
		"of the same moment are counted each": func(t *testing.T, b *bench) {
			key := b.hash()
			for i := range 3 {
				equal(t, oauth.Failures{Count: i + 1, Oldest: asStored(now)}, add(b, key, now, now.Add(-time.Minute)))
			}
		},
		"are counted for their key only": func(t *testing.T, b *bench) {
			key, other := b.hash(), b.hash()
			add(b, key, now, now.Add(-time.Minute))
			equal(t, oauth.Failures{Count: 1, Oldest: asStored(now)}, add(b, other, now, now.Add(-time.Minute)))
			require.Equal(t, 1, count(b, key, now.Add(-time.Minute)).Count)
		},
		"are counted after the beginning of the window": func(t *testing.T, b *bench) {
			key := b.hash()
			first := asStored(now)
			second := first.Add(time.Microsecond)
			add(b, key, first, first.Add(-time.Minute))
			add(b, key, second, first.Add(-time.Minute))
			equal(t, oauth.Failures{Count: 2, Oldest: first}, count(b, key, first.Add(-time.Microsecond)))
			equal(t, oauth.Failures{Count: 1, Oldest: second}, count(b, key, first))
			require.Zero(t, count(b, key, second))
			require.Zero(t, add(b, key, second, second), "the new one is not after its own moment")
			equal(t, oauth.Failures{Count: 2, Oldest: second}, count(b, key, first))
		},
		"at once are counted each": func(t *testing.T, b *bench) {
			const callers = 30
			key := b.hash()
			counts := make(chan int, callers)
			together(callers, func(int) {
				f, err := b.AddFailure(t.Context(), key, now, now.Add(-time.Minute))
				if err != nil {
					t.Error(err)
				}
				counts <- f.Count
			})
			close(counts)
			seen := map[int]bool{}
			for n := range counts {
				seen[n] = true
			}
			require.Len(t, seen, callers, "each had a count of its own")
			require.True(t, seen[1] && seen[callers])
		},
	}
}

func purges() map[string]func(*testing.T, *bench) {
	purge := func(b *bench, before time.Time, limit int) int {
		b.t.Helper()
		n, err := b.Purge(b.t.Context(), before, limit)
		require.NoError(b.t, err)
		return n
	}
	return map[string]func(*testing.T, *bench){
		"deletes what expired, and then the grant": func(t *testing.T, b *bench) {
			f := b.issue()
			access, refresh := asStored(f.AccessExpiresAt), asStored(f.RefreshExpiresAt)
			require.Zero(t, purge(b, access, 10), "it did not expire before then")
			require.Equal(t, 1, purge(b, access.Add(time.Microsecond), 10))
			require.Zero(t, purge(b, refresh, 10))
			require.Equal(t, 2, purge(b, refresh.Add(time.Microsecond), 10))
			require.Zero(t, purge(b, refresh.Add(1000*refreshLife), 10))
		},
		"keeps what lives": func(t *testing.T, b *bench) {
			c := b.client()
			f := b.issueTo(c, start())
			later := b.issueTo(c, start().Add(2*accessLife))
			require.Equal(t, 1, purge(b, start().Add(2*accessLife), 10))
			b.noAccess(f.Access, start())
			b.access(later.Access, later.Now)
			b.rotate(f, f.Refresh, start().Add(2*accessLife))
			b.rotate(later, later.Refresh, later.Now)
			require.Equal(t, [2]int{1, 1}, b.counts())
		},
		"keeps what decides a reuse": func(t *testing.T, b *bench) {
			f := b.issue()
			spent := b.rotate(f, f.Refresh, start())
			beforeItExpires := asStored(f.RefreshExpiresAt).Add(-time.Microsecond)
			require.Equal(t, 2, purge(b, beforeItExpires, 10), "the access tokens")
			b.isReuse(f, b.rotation(f, f.Refresh, beforeItExpires))
			b.notRotated(b.rotation(f, spent.Refresh, beforeItExpires))
		},
		"keeps what decides a replay": func(t *testing.T, b *bench) {
			f := b.issue()
			r := b.rotation(f, f.Refresh, start())
			// A successor that does not outlive the token it succeeds.
			r.AccessExpiresAt, r.RefreshExpiresAt = start().Add(time.Second), start().Add(time.Second)
			b.rotates(f, r)
			require.Equal(t, 2, purge(b, start().Add(2*time.Second), 10))
			b.replays(f, b.rotation(f, f.Refresh, start().Add(2*time.Second)), r)
		},
		"keeps a grant as long as it has a token": func(t *testing.T, b *bench) {
			f := b.issue()
			r := b.rotation(f, f.Refresh, start())
			r.RefreshExpiresAt = start().Add(time.Second) // the access token is the last of them
			r.AccessExpiresAt = start().Add(2 * refreshLife)
			b.rotates(f, r)
			at := start().Add(refreshLife + time.Second)
			require.Equal(t, 3, purge(b, at, 10))
			b.access(r.Access, at)
			require.Equal(t, 2, purge(b, at.Add(refreshLife), 10))
		},
		"deletes the tokens of revoked grants in their time": func(t *testing.T, b *bench) {
			f := b.issue()
			b.rotate(f, f.Refresh, start())
			b.isReuse(f, b.rotation(f, f.Refresh, start().Add(grace)))
			require.Zero(t, purge(b, start().Add(grace), 10))
			require.Equal(t, 5, purge(b, start().Add(100*refreshLife), 10))
		},
		"deletes failures": func(t *testing.T, b *bench) {
			key := b.hash()
			for _, at := range []time.Time{start(), start().Add(time.Second)} {
				_, err := b.AddFailure(t.Context(), key, at, at)
				require.NoError(t, err)
			}
			require.Zero(t, purge(b, asStored(start()), 10))
			require.Equal(t, 1, purge(b, asStored(start()).Add(time.Microsecond), 10))
			f, err := b.Failures(t.Context(), key, start().Add(-time.Hour))
			require.NoError(t, err)
			equal(t, oauth.Failures{Count: 1, Oldest: asStored(start().Add(time.Second))}, f)
		},
		"deletes codes, unspent and spent": func(t *testing.T, b *bench) {
			c := b.commercial()
			unspent, spent := b.code(c), b.code(c)
			f := b.redeem(spent, start())
			end := asStored(unspent.ExpiresAt)
			require.Zero(t, purge(b, end, 10))
			require.Equal(t, 2, purge(b, end.Add(time.Microsecond), 10))
			b.notRedeemed(b.redemption(unspent, start()), oauth.ErrNotFound)
			b.notRedeemed(b.redemption(spent, start()), oauth.ErrNotFound)
			b.access(f.Access, start())
			b.rotate(f, f.Refresh, start())
		},
		"keeps what decides the reuse of a code": func(t *testing.T, b *bench) {
			code := b.code(b.commercial())
			f := b.redeem(code, start())
			require.Zero(t, purge(b, asStored(code.ExpiresAt), 10), "it did not expire before then")
			b.notRedeemed(b.redemption(code, code.ExpiresAt.Add(time.Hour)), oauth.ErrSpent)
			b.isDead(f, start())
		},
		"keeps a grant as long as the code that gave it": func(t *testing.T, b *bench) {
			code := b.newCode(b.commercial())
			code.ExpiresAt = start().Add(3 * refreshLife)
			require.NoError(t, b.AddCode(t.Context(), code))
			b.redeem(code, start())
			require.Equal(t, 2, purge(b, start().Add(2*refreshLife), 10), "the tokens")
			b.notRedeemed(b.redemption(code, start()), oauth.ErrSpent)
			require.Equal(t, 2, purge(b, start().Add(4*refreshLife), 10), "the code and the grant")
		},
		"deletes sessions": func(t *testing.T, b *bench) {
			s := b.session()
			end := asStored(s.ExpiresAt)
			require.Zero(t, purge(b, end, 10))
			_, err := b.Session(t.Context(), s.Hash, start())
			require.NoError(t, err)
			require.Equal(t, 1, purge(b, end.Add(time.Microsecond), 10))
			b.noSession(s.Hash, start())
		},
		"deletes a grant whose only token was revoked": func(t *testing.T, b *bench) {
			f := b.issueOwn()
			require.NoError(t, b.Revoke(t.Context(), f.ClientID, f.Access, start()))
			end := asStored(f.AccessExpiresAt)
			require.Zero(t, purge(b, end, 10))
			require.Equal(t, 1, purge(b, end.Add(time.Microsecond), 10))
		},
		"is bounded": func(t *testing.T, b *bench) {
			c, key := b.client(), b.hash()
			const each, tables, limit = 5, 6, 2
			for range each {
				b.issueTo(c, start())
				b.code(c)
				b.sessionOf(c.OwnerID)
				_, err := b.AddFailure(t.Context(), key, start(), start())
				require.NoError(t, err)
			}
			end := start().Add(100 * refreshLife)
			require.Zero(t, purge(b, end, 0))
			require.Zero(t, purge(b, end, -1))
			total, rounds := 0, 0
			for n := 1; n > 0; rounds++ {
				n = purge(b, end, limit)
				require.LessOrEqual(t, n, tables*limit)
				total += n
			}
			require.Equal(t, tables*each, total)
			require.LessOrEqual(t, rounds, 3*each)
		},
		"may run beside everything else": func(t *testing.T, b *bench) {
			c := b.client()
			together(8, func(i int) {
				for range 5 {
					if i%2 == 0 {
						if _, err := b.Purge(t.Context(), start().Add(100*refreshLife), 3); err != nil {
							t.Error(err)
						}
						continue
					}
					if err := b.codeAndBack(c); err != nil && !errors.Is(err, oauth.ErrNotFound) { // the code may be gone
						t.Error(err)
					}
					if _, err := b.Issue(t.Context(), b.again(family{Issuance: oauth.Issuance{
						ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantPassword, Now: start(),
						AccessExpiresAt: start().Add(accessLife), RefreshExpiresAt: start().Add(refreshLife),
					}})); err != nil {
						t.Error(err)
					}
				}
			})
		},
	}
}
