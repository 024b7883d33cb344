package oauthtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func issues() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"gives each grant an ID": func(t *testing.T, b *bench) {
			first, second := b.issue(), b.issue()
			require.Positive(t, first.GrantID)
			require.NotEqual(t, first.GrantID, second.GrantID)
		},
		"gives a pair that works": func(_ *testing.T, b *bench) {
			f := b.issue()
			b.access(f.Access, start())
			b.rotate(f, f.Refresh, start())
		},
		"needs a client and a user": func(t *testing.T, b *bench) {
			f := b.issue()
			noClient, noUser := b.again(f), b.again(f)
			noClient.ClientID = "unknown"
			noUser.UserID++
			for _, i := range []oauth.Issuance{noClient, noUser} {
				id, err := b.Issue(t.Context(), i)
				require.ErrorIs(t, err, oauth.ErrNotFound)
				require.Zero(t, id)
				b.noAccess(i.Access, start())
			}
		},
		"needs no user of a client's own token": func(t *testing.T, b *bench) {
			f := b.issueOwn()
			c, err := b.Client(t.Context(), f.ClientID)
			require.NoError(t, err)
			got, err := b.Access(t.Context(), f.Access, start())
			require.NoError(t, err)
			equal(t, oauth.Access{
				GrantID: f.GrantID, ClientID: c.ID, ClientName: c.Name,
				Scope: f.Scope, ExpiresAt: asStored(f.AccessExpiresAt),
			}, got)
		},
		"without a refresh token gives none": func(t *testing.T, b *bench) {
			first := b.issueOwn()
			second := b.issues(b.againOwn(first)) // zero is nothing that could exist already
			for _, f := range []family{first, second} {
				b.notRotated(b.rotation(f, oauth.Hash{}, start()))
				b.noToken(oauth.Hash{}, start())
			}
			at := asStored(first.AccessExpiresAt).Add(time.Microsecond)
			n, err := b.Purge(t.Context(), at, 10)
			require.NoError(t, err)
			require.Equal(t, 4, n, "two access tokens and two grants, which end with them")
		},
		"keeps scope and sites as they were": func(t *testing.T, b *bench) {
			c := b.unbounded()
			for _, scope := range []oauth.Scope{oauth.Unscoped(), {}, {"gate.read"}, {"a", "b", "c"}} {
				for _, sites := range [][]int64{nil, {}, {1}, {1 << 62, -1, 1}} {
					i := b.again(b.issueTo(c, start()))
					i.Scope, i.Sites = scope, sites
					b.issues(i)
					got, err := b.Access(t.Context(), i.Access, start())
					require.NoError(t, err)
					equal(t, scope, got.Scope)
					equal(t, sites, got.Sites)
				}
			}
		},
		"refuses tokens that exist, and leaves nothing behind": func(t *testing.T, b *bench) {
			f := b.issue()
			sameAccess, sameRefresh := b.again(f), b.again(f)
			sameAccess.Access, sameRefresh.Refresh = f.Access, f.Refresh
			for _, i := range []oauth.Issuance{sameAccess, sameRefresh} {
				_, err := b.Issue(t.Context(), i)
				require.ErrorIs(t, err, oauth.ErrExists)
			}
			b.noAccess(sameRefresh.Access, start())
			b.notRotated(b.rotation(f, sameAccess.Refresh, start()))
			b.rotate(f, f.Refresh, start())
			// The grants that were not issued would be left without tokens.
			n, err := b.Purge(t.Context(), start().Add(100*refreshLife), 100)
			require.NoError(t, err)
			require.Equal(t, 5, n, "two access tokens, two refresh tokens and a grant")
		},
	}
}

func accesses() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"tells what the token stands for": func(t *testing.T, b *bench) {
			c := b.client()
			other := b.user()
			i := b.again(b.issueTo(c, start()))
			i.UserID = other.ID // the client's owner and the token's user are two things
			new, err := b.Issue(t.Context(), i)
			require.NoError(t, err)
			got, err := b.Access(t.Context(), i.Access, start())
			require.NoError(t, err)
			equal(t, oauth.Access{
				GrantID: new.ID, ClientID: c.ID, ClientName: c.Name,
				UserID: other.ID, UserName: other.Name, UserEmail: other.Email, ExpiresAt: asStored(i.AccessExpiresAt),
			}, got)
		},
		"knows access tokens only": func(_ *testing.T, b *bench) {
			f := b.issue()
			b.noAccess(b.hash(), start())
			b.noAccess(oauth.Hash{}, start())
			b.noAccess(f.Refresh, start())
		},
		"ends when the token expires": func(_ *testing.T, b *bench) {
			f := b.issue()
			end := asStored(f.AccessExpiresAt)
			b.access(f.Access, end.Add(-time.Microsecond))
			b.noAccess(f.Access, end)
			b.noAccess(f.Access, end.Add(time.Microsecond))
		},
	}
}

func rotations() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Minute)
	return map[string]func(*testing.T, *bench){
		"puts a successor pair in the place of the token": func(t *testing.T, b *bench) {
			f := b.issue()
			r := b.rotate(f, f.Refresh, now)
			b.access(f.Access, now) // goes on until it expires
			got, err := b.Access(t.Context(), r.Access, now)
			require.NoError(t, err)
			require.Equal(t, f.GrantID, got.GrantID)
			equal(t, asStored(r.AccessExpiresAt), got.ExpiresAt)
			b.rotate(f, r.Refresh, now)
		},
		"gives a repeat what the first one left, within the grace": func(_ *testing.T, b *bench) {
			f := b.issue()
			first := b.rotate(f, f.Refresh, now)
			spent := asStored(now)
			for _, at := range []time.Time{
				spent, spent.Add(grace - time.Microsecond), spent.Add(time.Second),
				spent.Add(-time.Hour), // another bridge's clock is late
			} {
				b.replays(f, b.rotation(f, f.Refresh, at), first)
			}
			b.access(first.Access, now)
			b.rotate(f, first.Refresh, now)
		},
		"takes a repeat at the end of the grace for reuse": func(_ *testing.T, b *bench) {
			f := b.issue()
			first := b.rotate(f, f.Refresh, now)
			at := asStored(now).Add(grace)
			b.isReuse(f, b.rotation(f, f.Refresh, at))
			b.isDead(f, at, f.Access, first.Access)
			b.notRotated(b.rotation(f, first.Refresh, at))
			b.notRotated(b.rotation(f, f.Refresh, at))
		},
		"without grace takes every repeat for reuse": func(_ *testing.T, b *bench) {
			f := b.issue()
			b.rotate(f, f.Refresh, now)
			r := b.rotation(f, f.Refresh, now)
			r.Grace = 0
			b.isReuse(f, r)
		},
		"takes a repeat for reuse once the successor is spent": func(_ *testing.T, b *bench) {
			f := b.issue()
			first := b.rotate(f, f.Refresh, now)
			second := b.rotate(f, first.Refresh, now)
			b.isReuse(f, b.rotation(f, f.Refresh, now))
			b.isDead(f, now, f.Access, first.Access, second.Access)
			b.notRotated(b.rotation(f, second.Refresh, now))
		},
		"takes a repeat of an ancestor for reuse": func(_ *testing.T, b *bench) {
			f := b.issue()
			r := b.rotate(f, f.Refresh, now)
			for range 3 {
				r = b.rotate(f, r.Refresh, now)
			}
			b.isReuse(f, b.rotation(f, f.Refresh, now))
			b.isDead(f, now, r.Access)
		},
		"replays each token of a chain by itself": func(_ *testing.T, b *bench) {
			f := b.issue()
			first := b.rotate(f, f.Refresh, now)
			second := b.rotate(f, first.Refresh, now)
			b.replays(f, b.rotation(f, first.Refresh, now), second)
			third := b.rotate(f, second.Refresh, now)
			b.replays(f, b.rotation(f, second.Refresh, now), third)
			b.isReuse(f, b.rotation(f, first.Refresh, now))
		},
		"revokes one grant and no other": func(_ *testing.T, b *bench) {
			c := b.client()
			f, other := b.issueTo(c, start()), b.issueTo(c, start())
			b.rotate(f, f.Refresh, now)
			b.isReuse(f, b.rotation(f, f.Refresh, now.Add(grace)))
			b.access(other.Access, now)
			b.rotate(other, other.Refresh, now)
		},
		"does not know other tokens": func(_ *testing.T, b *bench) {
			f := b.issue()
			b.notRotated(b.rotation(f, b.hash(), now))
			b.notRotated(b.rotation(f, f.Access, now))
			b.notRotated(b.rotation(f, oauth.Hash{}, now))
		},
		"does not know other clients' tokens, and leaves them alone": func(_ *testing.T, b *bench) {
			f, other := b.issue(), b.issue()
			theft := func(at time.Time) oauth.Rotation {
				r := b.rotation(f, f.Refresh, at)
				r.ClientID = other.ClientID
				return r
			}
			b.notRotated(theft(now))
			first := b.rotate(f, f.Refresh, now)
			b.notRotated(theft(now))
			b.notRotated(theft(now.Add(grace)))
			b.access(first.Access, now)
			b.replays(f, b.rotation(f, f.Refresh, now), first)
			for _, id := range unstorable() {
				r := theft(now)
				r.ClientID = id
				b.notRotated(r)
			}
		},
		"does not know expired tokens": func(_ *testing.T, b *bench) {
			unspent, spent := b.issue(), b.issue()
			end := asStored(unspent.RefreshExpiresAt)
			late := b.rotation(spent, spent.Refresh, end.Add(-time.Microsecond))
			b.rotates(spent, late)
			b.notRotated(b.rotation(unspent, unspent.Refresh, end))
			b.notRotated(b.rotation(spent, spent.Refresh, end)) // would be a replay
			b.notRotated(b.rotation(spent, spent.Refresh, end.Add(refreshLife)))
			b.access(late.Access, end)
			b.rotate(spent, late.Refresh, end)
		},
		"refuses tokens that exist, and leaves nothing behind": func(t *testing.T, b *bench) {
			f := b.issue()
			sameAccess, sameRefresh := b.rotation(f, f.Refresh, now), b.rotation(f, f.Refresh, now)
			sameAccess.Access, sameRefresh.Refresh = f.Access, f.Refresh
			for _, r := range []oauth.Rotation{sameAccess, sameRefresh} {
				_, err := b.Rotate(t.Context(), r)
				require.ErrorIs(t, err, oauth.ErrExists)
			}
			b.noAccess(sameRefresh.Access, now)
			b.notRotated(b.rotation(f, sameAccess.Refresh, now))
			b.rotate(f, f.Refresh, now)
		},
		"by many at once: one rotates, the others replay it": func(t *testing.T, b *bench) {
			const callers = 50
			f := b.issue()
			var asked [callers]oauth.Rotation
			var found [callers]oauth.Rotated
			for i := range asked {
				asked[i] = b.rotation(f, f.Refresh, now)
			}
			together(callers, func(i int) {
				var err error
				if found[i], err = b.Rotate(t.Context(), asked[i]); err != nil {
					t.Error(err)
				}
			})
			winner := -1
			for i, r := range found {
				if r.Outcome == oauth.Rotate {
					require.Negative(t, winner, "a second one rotated")
					winner = i
				}
			}
			require.GreaterOrEqual(t, winner, 0, "nobody rotated")
			for i, r := range found {
				if i == winner {
					continue
				}
				equal(t, oauth.Rotated{
					Outcome: oauth.Replay, GrantID: f.GrantID, UserID: f.UserID,
					Nonce: asked[winner].Nonce, ExpiresAt: asStored(asked[winner].AccessExpiresAt),
				}, r)
				b.noAccess(asked[i].Access, now)
			}
			b.access(asked[winner].Access, now)
			b.rotate(f, asked[winner].Refresh, now)
		},
		"by many at once, when it is reuse: the grant is revoked once": func(t *testing.T, b *bench) {
			const callers = 20
			f := b.issue()
			b.rotate(f, f.Refresh, now)
			results := make(chan error, callers)
			together(callers, func(int) {
				r, err := b.Rotate(t.Context(), b.rotation(f, f.Refresh, now.Add(grace)))
				if err == nil && r.Outcome != oauth.Reuse {
					t.Errorf("outcome %d", r.Outcome)
				}
				results <- err
			})
			close(results)
			reuses := 0
			for err := range results {
				if err == nil {
					reuses++
				} else {
					require.ErrorIs(t, err, oauth.ErrNotFound)
				}
			}
			require.Equal(t, 1, reuses)
		},
		"of parent and child at once has an order": func(t *testing.T, b *bench) {
			c := b.client()
			for range 20 {
				f := b.issueTo(c, start())
				first := b.rotate(f, f.Refresh, now)
				var parent, child oauth.Rotated
				var parentErr, childErr error
				ofChild := b.rotation(f, first.Refresh, now)
				together(2, func(i int) {
					if i == 0 {
						parent, parentErr = b.Rotate(t.Context(), b.rotation(f, f.Refresh, now))
					} else {
						child, childErr = b.Rotate(t.Context(), ofChild)
					}
				})
				require.NoError(t, parentErr)
				require.NoError(t, childErr)
				require.Equal(t, oauth.Rotate, child.Outcome)
				switch parent.Outcome {
				case oauth.Replay: // the parent came first
					b.access(ofChild.Access, now)
				case oauth.Reuse: // the child came first
					b.isDead(f, now, ofChild.Access)
				default:
					t.Fatalf("outcome %d", parent.Outcome)
				}
			}
		},
	}
}

// isDead checks that none of the access tokens of f works any more.
func (b *bench) isDead(f family, now time.Time, tokens ...oauth.Hash) {
	b.t.Helper()
	for _, token := range append(tokens, f.Access) {
		b.noAccess(token, now)
	}
}

func scopes() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Minute)
	has := func(b *bench, token oauth.Hash, want oauth.Scope, sites []int64) {
		b.t.Helper()
		got, err := b.Access(b.t.Context(), token, now)
		require.NoError(b.t, err)
		equal(b.t, want, got.Scope)
		equal(b.t, sites, got.Sites)
	}
	read := oauth.NewScope("gate.read")
	return map[string]func(*testing.T, *bench){
		"and sites stay through rotations and replays": func(_ *testing.T, b *bench) {
			f := b.issueScoped()
			has(b, f.Access, f.Scope, f.Sites)
			old := f.Refresh
			for range 3 {
				r := b.rotate(f, old, now)
				has(b, r.Access, f.Scope, f.Sites)
				b.replays(f, b.rotation(f, old, now), r)
				old = r.Refresh
			}
		},
		"that is unscoped stays so": func(_ *testing.T, b *bench) {
			f := b.issue()
			r := b.rotate(f, f.Refresh, now)
			has(b, r.Access, oauth.Unscoped(), nil)
			b.replays(f, b.rotation(f, f.Refresh, now), r)
		},
		"may be less for one access token, and is the grant's for the next": func(_ *testing.T, b *bench) {
			f := b.issueScoped()
			less := b.rotation(f, f.Refresh, now)
			less.Scope = read
			b.rotates(f, less)
			has(b, less.Access, read, f.Sites)
			has(b, f.Access, f.Scope, f.Sites)
			b.replays(f, b.rotation(f, f.Refresh, now), less)
			has(b, b.rotate(f, less.Refresh, now).Access, f.Scope, f.Sites)
		},
		"that a repeat asks for changes nothing": func(_ *testing.T, b *bench) {
			f := b.issueScoped()
			less := b.rotation(f, f.Refresh, now)
			less.Scope = read
			b.rotates(f, less)
			repeat := b.rotation(f, f.Refresh, now)
			repeat.Scope = oauth.NewScope("gate.operate")
			b.replays(f, repeat, less)
			has(b, less.Access, read, f.Sites)
		},
		"that is empty is good for nothing, and not the grant's": func(_ *testing.T, b *bench) {
			f := b.issueScoped()
			none := b.rotation(f, f.Refresh, now)
			none.Scope = oauth.NewScope()
			b.rotates(f, none)
			has(b, none.Access, oauth.Scope{}, f.Sites)
			b.replays(f, b.rotation(f, f.Refresh, now), none)
		},
		"of a replay outlives the access token": func(t *testing.T, b *bench) {
			f := b.issueScoped()
			less := b.rotation(f, f.Refresh, now)
			less.Scope, less.AccessExpiresAt = read, now.Add(time.Second)
			b.rotates(f, less)
			_, err := b.Purge(t.Context(), now.Add(2*time.Second), 10)
			require.NoError(t, err)
			b.replays(f, b.rotation(f, f.Refresh, now.Add(2*time.Second)), less)
		},
	}
}

func tokens() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Minute)
	return map[string]func(*testing.T, *bench){
		"tells what is known of both": func(t *testing.T, b *bench) {
			f := b.issueScoped()
			want := oauth.Token{
				Use: oauth.UseAccess, GrantID: f.GrantID, ClientID: f.ClientID, UserID: f.UserID, UserEmail: b.email(f.UserID),
				Scope: f.Scope, IssuedAt: asStored(f.Now), ExpiresAt: asStored(f.AccessExpiresAt),
			}
			b.token(f.Access, now, want)
			want.Use, want.ExpiresAt = oauth.UseRefresh, asStored(f.RefreshExpiresAt)
			b.token(f.Refresh, now, want)
		},
		"tells it of a client's own": func(t *testing.T, b *bench) {
			f := b.issueOwn()
			b.token(f.Access, now, oauth.Token{
				Use: oauth.UseAccess, GrantID: f.GrantID, ClientID: f.ClientID,
				Scope: f.Scope, IssuedAt: asStored(f.Now), ExpiresAt: asStored(f.AccessExpiresAt),
			})
		},
		"tells it of what a code gave": func(t *testing.T, b *bench) {
			now := start().Add(codeLife / 2)
			f := b.redeem(b.code(b.commercial()), now)
			want := oauth.Token{
				Use: oauth.UseRefresh, GrantID: f.GrantID, ClientID: f.ClientID, UserID: f.UserID, UserEmail: b.email(f.UserID),
				Scope: f.Scope, IssuedAt: asStored(now), ExpiresAt: asStored(f.RefreshExpiresAt),
			}
			b.token(f.Refresh, now, want)
			want.Use, want.ExpiresAt = oauth.UseAccess, asStored(f.AccessExpiresAt)
			b.token(f.Access, now, want)
		},
		"tells the access token's own scope, and the grant's of the refresh token": func(t *testing.T, b *bench) {
			f := b.issueScoped()
			r := b.rotation(f, f.Refresh, now)
			r.Scope = oauth.NewScope("gate.read")
			b.rotates(f, r)
			want := oauth.Token{
				Use: oauth.UseAccess, GrantID: f.GrantID, ClientID: f.ClientID, UserID: f.UserID, UserEmail: b.email(f.UserID),
				Scope: r.Scope, IssuedAt: asStored(now), ExpiresAt: asStored(r.AccessExpiresAt),
			}
			b.token(r.Access, now, want)
			want.Use, want.Scope, want.ExpiresAt = oauth.UseRefresh, f.Scope, asStored(r.RefreshExpiresAt)
			b.token(r.Refresh, now, want)
		},
		"does not know unknown, expired and spent ones": func(t *testing.T, b *bench) {
			f := b.issue()
			b.noToken(b.hash(), now)
			b.noToken(oauth.Hash{}, now)
			for token, end := range map[oauth.Hash]time.Time{f.Access: asStored(f.AccessExpiresAt), f.Refresh: asStored(f.RefreshExpiresAt)} {
				_, err := b.Token(t.Context(), token, end.Add(-time.Microsecond))
				require.NoError(t, err)
				b.noToken(token, end)
			}
			r := b.rotate(f, f.Refresh, now)
			b.noToken(f.Refresh, now)
			for _, token := range []oauth.Hash{f.Access, r.Access, r.Refresh} {
				_, err := b.Token(t.Context(), token, now)
				require.NoError(t, err)
			}
		},
		"does not know those of a revoked grant": func(_ *testing.T, b *bench) {
			f := b.issue()
			r := b.rotate(f, f.Refresh, now)
			b.isReuse(f, b.rotation(f, f.Refresh, now.Add(grace)))
			for _, token := range []oauth.Hash{f.Access, f.Refresh, r.Access, r.Refresh} {
				b.noToken(token, now)
			}
		},
	}
}

func (b *bench) email(userID int64) string {
	b.t.Helper()
	u, err := b.User(b.t.Context(), userID)
	require.NoError(b.t, err)
	return u.Email
}

func (b *bench) token(token oauth.Hash, now time.Time, want oauth.Token) {
	b.t.Helper()
	got, err := b.Token(b.t.Context(), token, now)
	require.NoError(b.t, err)
	equal(b.t, want, got)
}

func (b *bench) noToken(token oauth.Hash, now time.Time) {
	b.t.Helper()
	got, err := b.Token(b.t.Context(), token, now)
	require.ErrorIs(b.t, err, oauth.ErrNotFound)
	require.Zero(b.t, got)
}

func revocations() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Minute)
	revoke := func(b *bench, clientID string, token oauth.Hash, at time.Time) {
		b.t.Helper()
		require.NoError(b.t, b.Revoke(b.t.Context(), clientID, token, at))
	}
	// works checks that a family lives, by spending its refresh token.
	works := func(b *bench, f family) {
		b.t.Helper()
		b.access(f.Access, now)
		b.rotate(f, f.Refresh, now)
	}
	return map[string]func(*testing.T, *bench){
		"of an access token ends it alone": func(_ *testing.T, b *bench) {
			f := b.issue()
			r := b.rotate(f, f.Refresh, now)
			revoke(b, f.ClientID, r.Access, now)
			b.noAccess(r.Access, now)
			b.noToken(r.Access, now)
			b.access(f.Access, now)
			b.rotate(f, r.Refresh, now)
		},
		"of a refresh token ends the whole grant": func(_ *testing.T, b *bench) {
			c := b.client()
			f, other := b.issueTo(c, start()), b.issueTo(c, start())
			r := b.rotate(f, f.Refresh, now)
			revoke(b, f.ClientID, r.Refresh, now)
			b.isDead(f, now, r.Access)
			for _, token := range []oauth.Hash{f.Access, f.Refresh, r.Access, r.Refresh} {
				b.noToken(token, now)
			}
			b.notRotated(b.rotation(f, r.Refresh, now))
			b.notRotated(b.rotation(f, f.Refresh, now)) // would be a replay
			works(b, other)
		},
		"of a client's own token ends it": func(_ *testing.T, b *bench) {
			f := b.issueOwn()
			revoke(b, f.ClientID, f.Access, now)
			b.isDead(f, now)
		},
		"may be repeated": func(_ *testing.T, b *bench) {
			f := b.issue()
			for _, token := range []oauth.Hash{f.Access, f.Access, f.Refresh, f.Refresh, f.Access} {
				revoke(b, f.ClientID, token, now)
				b.noToken(token, now)
			}
		},
		"of other clients' tokens changes nothing": func(_ *testing.T, b *bench) {
			f, other := b.issue(), b.issue()
			ids := []string{other.ClientID, "", "unknown"}
			for _, id := range unstorable() {
				ids = append(ids, id)
			}
			for _, id := range ids {
				revoke(b, id, f.Access, now)
				revoke(b, id, f.Refresh, now)
			}
			works(b, f)
			works(b, other)
		},
		"of what is no token changes nothing": func(_ *testing.T, b *bench) {
			f := b.issue()
			revoke(b, f.ClientID, b.hash(), now)
			revoke(b, f.ClientID, oauth.Hash{}, now)
			works(b, f)
		},
		"of a token that has expired changes nothing": func(_ *testing.T, b *bench) {
			f := b.issue()
			late := b.rotation(f, f.Refresh, asStored(f.RefreshExpiresAt).Add(-time.Microsecond))
			expired := b.issueTo(oauth.Client{ID: f.ClientID, OwnerID: f.UserID}, start())
			b.rotates(f, late)
			end := asStored(expired.RefreshExpiresAt)
			revoke(b, f.ClientID, expired.Refresh, end)
			revoke(b, f.ClientID, f.Refresh, end)
			b.access(late.Access, end)
			b.rotate(expired, expired.Refresh, end.Add(-time.Microsecond)) // by another bridge's clock
		},
		"of a spent refresh token changes nothing": func(_ *testing.T, b *bench) {
			f := b.issue()
			r := b.rotate(f, f.Refresh, now)
			revoke(b, f.ClientID, f.Refresh, now)
			b.access(r.Access, now)
			b.rotate(f, r.Refresh, now)
		},
		"and a refresh at once have an order": func(t *testing.T, b *bench) {
			c := b.client()
			for range 20 {
				f := b.issueTo(c, start())
				r := b.rotation(f, f.Refresh, now)
				var got oauth.Rotated
				var rotateErr, revokeErr error
				together(2, func(i int) {
					if i == 0 {
						got, rotateErr = b.Rotate(t.Context(), r)
					} else {
						revokeErr = b.Revoke(t.Context(), f.ClientID, f.Refresh, now)
					}
				})
				require.NoError(t, revokeErr)
				if rotateErr == nil { // it came first, and the token was spent then
					require.Equal(t, oauth.Rotate, got.Outcome)
					b.access(r.Access, now)
					b.rotate(f, r.Refresh, now)
				} else {
					require.ErrorIs(t, rotateErr, oauth.ErrNotFound)
					b.isDead(f, now, r.Access)
				}
			}
		},
	}
}
