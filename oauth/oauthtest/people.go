package oauthtest

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func users() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are found by their name": func(t *testing.T, b *bench) {
			first, want := b.user(), b.user()
			require.Positive(t, first.ID)
			require.Greater(t, want.ID, first.ID)
			want.CreatedAt = asStored(want.CreatedAt)
			got, err := b.UserByEmail(t.Context(), want.Email)
			require.NoError(t, err)
			equal(t, want, got)
		},
		"are found by their ID": func(t *testing.T, b *bench) {
			b.user()
			want := b.user()
			want.CreatedAt = asStored(want.CreatedAt)
			got, err := b.User(t.Context(), want.ID)
			require.NoError(t, err)
			equal(t, want, got)
			for _, id := range []int64{0, -1, -want.ID, want.ID + 1, math.MaxInt64} {
				got, err := b.User(t.Context(), id)
				require.ErrorIs(t, err, oauth.ErrNotFound, id)
				require.Zero(t, got)
			}
		},
		"are found by their exact name only": func(t *testing.T, b *bench) {
			_, err := b.AddUser(t.Context(), oauth.User{Email: "zoë@example.org", Name: "n", CreatedAt: start()})
			require.NoError(t, err)
			for _, email := range []string{"", "ZOË@example.org", "zoë@example.or", "zoë@example.org ", "zoe\u0308@example.org", "zo%", "zo_@example.org"} {
				got, err := b.UserByEmail(t.Context(), email)
				require.ErrorIs(t, err, oauth.ErrNotFound, email)
				require.Zero(t, got)
			}
		},
		"keep any text": func(t *testing.T, b *bench) {
			want := oauth.User{Email: "ü@example.org", Name: longText(), PasswordHash: longText(), CreatedAt: asStored(start())}
			var err error
			want.ID, err = b.AddUser(t.Context(), want)
			require.NoError(t, err)
			got, err := b.UserByEmail(t.Context(), want.Email)
			require.NoError(t, err)
			equal(t, want, got)
		},
		"do not keep what is no text": func(t *testing.T, b *bench) {
			for name, text := range unstorable() {
				for _, u := range []oauth.User{
					{Email: text, Name: "n"}, {Email: "a@b", Name: text}, {Email: "a@b", Name: "n", PasswordHash: text},
				} {
					_, err := b.AddUser(t.Context(), u)
					require.Error(t, err, name)
					require.NotErrorIs(t, err, oauth.ErrExists, name)
				}
				_, err := b.UserByEmail(t.Context(), text)
				require.ErrorIs(t, err, oauth.ErrNotFound, name)
			}
			require.Equal(t, [2]int{0, 0}, b.counts())
		},
		"have different names": func(t *testing.T, b *bench) {
			want := b.user()
			id, err := b.AddUser(t.Context(), oauth.User{Email: want.Email, Name: "other", PasswordHash: "other", CreatedAt: start()})
			require.ErrorIs(t, err, oauth.ErrExists)
			require.Zero(t, id)
			want.CreatedAt = asStored(want.CreatedAt)
			got, err := b.Users(t.Context(), 0, 10)
			require.NoError(t, err)
			equal(t, []oauth.User{want}, got)
		},
		"of one name at once: one is added": func(t *testing.T, b *bench) {
			var added atomic.Int32
			together(20, func(int) {
				_, err := b.AddUser(t.Context(), oauth.User{Email: "a@b", Name: "n", CreatedAt: start()})
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, oauth.ErrExists) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, added.Load())
		},
		"are listed in pages": func(t *testing.T, b *bench) {
			var want []oauth.User
			for range 7 {
				u := b.user()
				u.CreatedAt = asStored(u.CreatedAt)
				want = append(want, u)
			}
			var got []oauth.User
			for after := int64(0); ; after = got[len(got)-1].ID {
				page, err := b.Users(t.Context(), after, 3)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page), 3)
				if len(page) == 0 {
					break
				}
				if got = append(got, page...); len(got) == 3 {
					u := b.user() // comes last, and disturbs no page
					u.CreatedAt = asStored(u.CreatedAt)
					want = append(want, u)
				}
			}
			equal(t, want, got)
			for _, limit := range []int{0, -1} {
				page, err := b.Users(t.Context(), 0, limit)
				require.NoError(t, err)
				require.Empty(t, page)
			}
		},
	}
}

func clients() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are found by their ID": func(t *testing.T, b *bench) {
			b.client()
			want := b.client()
			b.commercial()
			b.hasClient(want)
		},
		"keep all that a commercial one has": func(t *testing.T, b *bench) {
			want := b.newCommercial()
			want.Status = oauth.Pending
			want.RequirePKCE, want.RequireScope = true, true
			want.Secrets = []oauth.Secret{
				{Hash: b.hash(), CreatedAt: start().Add(time.Hour)},
				{Hash: b.hash(), CreatedAt: start(), LastUsedAt: start().Add(time.Minute)},
			}
			require.NoError(t, b.AddClient(t.Context(), want))
			b.hasClient(want)

			public := b.newCommercial()
			public.Public, public.Secrets = true, nil
			require.NoError(t, b.AddClient(t.Context(), public))
			b.hasClient(public)
		},
		"keep the order of secrets of one moment": func(t *testing.T, b *bench) {
			want := b.newCommercial()
			want.Secrets = append(want.Secrets, oauth.Secret{Hash: b.hash(), CreatedAt: start()})
			require.NoError(t, b.AddClient(t.Context(), want))
			b.hasClient(want)
		},
		"tell no scope from an empty one": func(t *testing.T, b *bench) {
			for _, scope := range []oauth.Scope{oauth.Unscoped(), {}, {"one"}} {
				want := b.newCommercial()
				want.Scope = scope
				require.NoError(t, b.AddClient(t.Context(), want))
				b.hasClient(want)
			}
		},
		"are found by their exact ID only": func(t *testing.T, b *bench) {
			c := b.client()
			for _, id := range []string{"", c.ID + " ", c.ID[:31], "%", "unknown", longText()} {
				got, err := b.Client(t.Context(), id)
				require.ErrorIs(t, err, oauth.ErrNotFound, id)
				require.Zero(t, got)
			}
		},
		"keep any text": func(t *testing.T, b *bench) {
			want := b.newCommercial()
			want.ID, want.Name, want.Description, want.HomePage = "id", longText(), longText(), longText()
			want.RedirectURIs = []string{longText(), "", "{}", "a,b", "\"", "NULL"}
			require.NoError(t, b.AddClient(t.Context(), want))
			b.hasClient(want)
		},
		"do not keep what is no text": func(t *testing.T, b *bench) {
			owner := b.user().ID
			for name, text := range unstorable() {
				for _, c := range []oauth.Client{
					{ID: text, Kind: oauth.Personal, Name: "n", OwnerID: owner},
					{ID: "id", Kind: oauth.Kind(text), Name: "n", OwnerID: owner},
					{ID: "id", Kind: oauth.Personal, Name: text, OwnerID: owner},
					{ID: "id", Status: oauth.Status(text), OwnerID: owner},
					{ID: "id", Description: text, OwnerID: owner},
					{ID: "id", HomePage: text, OwnerID: owner},
					{ID: "id", RedirectURIs: []string{"https://a.example", text}, OwnerID: owner},
					{ID: "id", Scope: oauth.Scope{text}, OwnerID: owner},
				} {
					err := b.AddClient(t.Context(), c)
					require.Error(t, err, name)
					require.NotErrorIs(t, err, oauth.ErrExists, name)
					require.NotErrorIs(t, err, oauth.ErrNotFound, name)
				}
				_, err := b.Client(t.Context(), text)
				require.ErrorIs(t, err, oauth.ErrNotFound, name)
			}
			require.Equal(t, [2]int{1, 0}, b.counts())
		},
		"have different IDs": func(t *testing.T, b *bench) {
			want := b.client()
			other := b.newCommercial()
			other.ID = want.ID
			require.ErrorIs(t, b.AddClient(t.Context(), other), oauth.ErrExists)
			b.hasClient(want)
		},
		"have different secrets, or nothing is left behind": func(t *testing.T, b *bench) {
			want, other := b.client(), b.newCommercial()
			other.Secrets = append(other.Secrets, want.Secrets...)
			require.ErrorIs(t, b.AddClient(t.Context(), other), oauth.ErrExists)
			_, err := b.Client(t.Context(), other.ID)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			b.hasClient(want)
		},
		"have an owner": func(t *testing.T, b *bench) {
			err := b.AddClient(t.Context(), oauth.Client{ID: "id", Kind: oauth.Personal, Name: "n", OwnerID: b.user().ID + 1})
			require.ErrorIs(t, err, oauth.ErrNotFound)
			require.Equal(t, [2]int{1, 0}, b.counts())
		},
		"of one ID at once: one is added": func(t *testing.T, b *bench) {
			owner := b.user().ID
			var added atomic.Int32
			together(20, func(int) {
				err := b.AddClient(t.Context(), oauth.Client{ID: "id", Kind: oauth.Personal, Name: "n", OwnerID: owner})
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, oauth.ErrExists) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, added.Load())
		},
		"are listed in pages, by the bytes of their ID": func(t *testing.T, b *bench) {
			owner := b.user().ID
			two := func() []oauth.Secret { // which make no page shorter
				return []oauth.Secret{{Hash: b.hash(), CreatedAt: start()}, {Hash: b.hash(), CreatedAt: start()}}
			}
			want := []string{"", "-", "0", "00", "A", "B", "_", "a", "aB", "ab", "b", "é", "東"}
			for _, i := range []int{3, 12, 0, 7, 1, 11, 9, 8, 10, 5, 4, 2, 6} {
				require.NoError(t, b.AddClient(t.Context(), oauth.Client{ID: want[i], Kind: oauth.Personal, Name: "n", OwnerID: owner, Secrets: two()}))
			}
			got := []string{""} // which is above nothing, and so in no page
			for {
				page, err := b.Clients(t.Context(), got[len(got)-1], 5)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page), 5)
				if len(page) == 0 {
					break
				}
				for _, c := range page {
					require.Len(t, c.Secrets, 2)
					got = append(got, c.ID)
				}
			}
			require.Equal(t, want, got)
			for _, limit := range []int{0, -1} {
				page, err := b.Clients(t.Context(), "", limit)
				require.NoError(t, err)
				require.Empty(t, page, fmt.Sprint(limit))
			}
		},
	}
}

func decisions() map[string]func(*testing.T, *bench) {
	pending := func(b *bench) oauth.Client {
		b.t.Helper()
		c := b.newCommercial()
		c.Status = oauth.Pending
		require.NoError(b.t, b.AddClient(b.t.Context(), c))
		return c
	}
	return map[string]func(*testing.T, *bench){
		"gives a pending client the status, and changes nothing else": func(t *testing.T, b *bench) {
			other := pending(b)
			for _, status := range []oauth.Status{oauth.Active, oauth.Rejected} {
				c := pending(b)
				require.NoError(t, b.Decide(t.Context(), c.ID, status, ""))
				c.Status = status
				b.hasClient(c)
			}
			b.hasClient(other)
		},
		"is final": func(t *testing.T, b *bench) {
			for _, status := range []oauth.Status{oauth.Active, oauth.Rejected} {
				c := pending(b)
				c.Status = status
				require.NoError(t, b.Decide(t.Context(), c.ID, status, ""))
				for _, again := range []oauth.Status{oauth.Active, oauth.Rejected} {
					require.ErrorIs(t, b.Decide(t.Context(), c.ID, again, ""), oauth.ErrNotFound)
				}
				b.hasClient(c)
			}
		},
		"is not for other clients": func(t *testing.T, b *bench) {
			active := b.client()
			require.ErrorIs(t, b.Decide(t.Context(), active.ID, oauth.Rejected, ""), oauth.ErrNotFound)
			b.hasClient(active)
			require.ErrorIs(t, b.Decide(t.Context(), "unknown", oauth.Active, ""), oauth.ErrNotFound)
			for _, id := range unstorable() {
				require.ErrorIs(t, b.Decide(t.Context(), id, oauth.Active, ""), oauth.ErrNotFound)
			}
		},
		"by many at once: one decides": func(t *testing.T, b *bench) {
			c := pending(b)
			var decided atomic.Int32
			together(20, func(i int) {
				err := b.Decide(t.Context(), c.ID, []oauth.Status{oauth.Active, oauth.Rejected}[i%2], "")
				if err == nil {
					decided.Add(1)
				} else if !errors.Is(err, oauth.ErrNotFound) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, decided.Load())
		},
	}
}

func secrets() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Hour)
	add := func(b *bench, c *oauth.Client, at time.Time) {
		b.t.Helper()
		s := oauth.Secret{Hash: b.hash(), CreatedAt: at}
		require.NoError(b.t, b.AddSecret(b.t.Context(), c.ID, s))
		c.Secrets = append([]oauth.Secret{s}, c.Secrets...)
	}
	return map[string]func(*testing.T, *bench){
		"are two at the most": func(t *testing.T, b *bench) {
			c, other := b.client(), b.commercial()
			add(b, &c, now)
			require.ErrorIs(t, b.AddSecret(t.Context(), c.ID, oauth.Secret{Hash: b.hash(), CreatedAt: now}), oauth.ErrExists)
			b.hasClient(c)
			b.hasClient(other)
		},
		"change over without an outage, again and again": func(t *testing.T, b *bench) {
			c := b.commercial()
			seen := map[int64]bool{}
			for i := range 5 {
				add(b, &c, now.Add(time.Duration(i)*time.Minute))
				stored := b.hasClient(c)
				require.False(t, seen[stored.Secrets[0].ID], "an ID was given again")
				seen[stored.Secrets[0].ID], seen[stored.Secrets[1].ID] = true, true
				require.NoError(t, b.RemoveSecret(t.Context(), c.ID, stored.Secrets[1].ID))
				c.Secrets = c.Secrets[:1]
				b.hasClient(c)
			}
		},
		"may all end": func(t *testing.T, b *bench) {
			c := b.client()
			id := b.hasClient(c).Secrets[0].ID
			require.NoError(t, b.RemoveSecret(t.Context(), c.ID, id))
			c.Secrets = nil
			b.hasClient(c)
			require.ErrorIs(t, b.RemoveSecret(t.Context(), c.ID, id), oauth.ErrNotFound)
			add(b, &c, now)
			b.hasClient(c)
		},
		"are not of public or unknown clients": func(t *testing.T, b *bench) {
			public := b.newCommercial()
			public.Public, public.Secrets = true, nil
			require.NoError(t, b.AddClient(t.Context(), public))
			ids := []string{public.ID, "unknown"}
			for _, id := range unstorable() {
				ids = append(ids, id)
			}
			for _, id := range ids {
				require.ErrorIs(t, b.AddSecret(t.Context(), id, oauth.Secret{Hash: b.hash(), CreatedAt: now}), oauth.ErrNotFound)
				require.ErrorIs(t, b.RemoveSecret(t.Context(), id, 1), oauth.ErrNotFound)
			}
			b.hasClient(public)
		},
		"are ended by their client only": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			id := b.hasClient(c).Secrets[0].ID
			require.ErrorIs(t, b.RemoveSecret(t.Context(), other.ID, id), oauth.ErrNotFound)
			require.ErrorIs(t, b.RemoveSecret(t.Context(), c.ID, 0), oauth.ErrNotFound)
			b.hasClient(c)
			b.hasClient(other)
		},
		"that exist are refused": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			for _, id := range []string{c.ID, other.ID} {
				require.ErrorIs(t, b.AddSecret(t.Context(), id, oauth.Secret{Hash: c.Secrets[0].Hash, CreatedAt: now}), oauth.ErrExists)
			}
			b.hasClient(c)
			b.hasClient(other)
		},
		"know their last use": func(t *testing.T, b *bench) {
			c := b.client()
			add(b, &c, now)
			old := b.hasClient(c).Secrets[1].ID
			for _, use := range []struct{ at, want time.Time }{
				{now, now},
				{now.Add(time.Minute), now.Add(time.Minute)},
				{now, now.Add(time.Minute)}, // it was noted late
			} {
				require.NoError(t, b.TouchSecret(t.Context(), old, use.at))
				c.Secrets[1].LastUsedAt = use.want
				b.hasClient(c)
			}
		},
		"that have ended are touched for nothing": func(t *testing.T, b *bench) {
			c := b.client()
			id := b.hasClient(c).Secrets[0].ID
			require.NoError(t, b.RemoveSecret(t.Context(), c.ID, id))
			require.NoError(t, b.TouchSecret(t.Context(), id, now))
			c.Secrets = nil
			b.hasClient(c)
		},
		"added at once are two in the end": func(t *testing.T, b *bench) {
			for _, have := range []int{0, 1, 2} {
				c := b.newCommercial()
				c.Secrets = nil
				for range have {
					c.Secrets = append(c.Secrets, oauth.Secret{Hash: b.hash(), CreatedAt: start()})
				}
				require.NoError(t, b.AddClient(t.Context(), c))
				var added atomic.Int32
				together(20, func(int) {
					err := b.AddSecret(t.Context(), c.ID, oauth.Secret{Hash: b.hash(), CreatedAt: now})
					if err == nil {
						added.Add(1)
					} else if !errors.Is(err, oauth.ErrExists) {
						t.Error(err)
					}
				})
				require.EqualValues(t, oauth.SecretsMax-have, added.Load())
				got, err := b.Client(t.Context(), c.ID)
				require.NoError(t, err)
				require.Len(t, got.Secrets, oauth.SecretsMax)
			}
		},
	}
}

func sessions() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"tell who is signed in": func(t *testing.T, b *bench) {
			b.session()
			want := b.user()
			want.CreatedAt = asStored(want.CreatedAt)
			for range 2 { // in two browsers
				s := b.sessionOf(want.ID)
				got, err := b.Session(t.Context(), s.Hash, start())
				require.NoError(t, err)
				equal(t, want, got)
			}
		},
		"are found by their secret only": func(_ *testing.T, b *bench) {
			b.session()
			b.noSession(b.hash(), start())
			b.noSession(oauth.Hash{}, start())
		},
		"end when they expire": func(t *testing.T, b *bench) {
			s := b.session()
			end := asStored(s.ExpiresAt)
			_, err := b.Session(t.Context(), s.Hash, end.Add(-time.Microsecond))
			require.NoError(t, err)
			b.noSession(s.Hash, end)
			b.noSession(s.Hash, end.Add(time.Hour))
		},
		"end one by one": func(t *testing.T, b *bench) {
			s := b.session()
			other := b.sessionOf(s.UserID)
			for range 2 { // the second time it is not there
				require.NoError(t, b.EndSession(t.Context(), s.Hash))
				b.noSession(s.Hash, start())
			}
			_, err := b.Session(t.Context(), other.Hash, start())
			require.NoError(t, err)
		},
		"need a user": func(t *testing.T, b *bench) {
			s := b.session()
			s.Hash, s.UserID = b.hash(), s.UserID+1
			require.ErrorIs(t, b.AddSession(t.Context(), s), oauth.ErrNotFound)
			b.noSession(s.Hash, start())
		},
		"have different secrets": func(t *testing.T, b *bench) {
			s := b.session()
			thief := s
			thief.UserID = b.user().ID
			require.ErrorIs(t, b.AddSession(t.Context(), thief), oauth.ErrExists)
			got, err := b.Session(t.Context(), s.Hash, start())
			require.NoError(t, err)
			require.Equal(t, s.UserID, got.ID)
		},
	}
}

func (b *bench) session() oauth.Session {
	b.t.Helper()
	return b.sessionOf(b.user().ID)
}

func (b *bench) sessionOf(userID int64) oauth.Session {
	b.t.Helper()
	s := b.newSession(userID)
	require.NoError(b.t, b.AddSession(b.t.Context(), s))
	return s
}

func (b *bench) newSession(userID int64) oauth.Session {
	return oauth.Session{Hash: b.hash(), UserID: userID, CreatedAt: start(), ExpiresAt: start().Add(oauth.SessionLifetime)}
}

func (b *bench) noSession(session oauth.Hash, now time.Time) {
	b.t.Helper()
	got, err := b.Session(b.t.Context(), session, now)
	require.ErrorIs(b.t, err, oauth.ErrNotFound)
	require.Zero(b.t, got)
}

// sessionAndBack begins, finds and ends a session.
func (b *bench) sessionAndBack(userID int64) error {
	s := b.newSession(userID)
	if err := b.AddSession(b.t.Context(), s); err != nil {
		return err
	}
	if _, err := b.Session(b.t.Context(), s.Hash, start()); err != nil {
		return err
	}
	return b.EndSession(b.t.Context(), s.Hash)
}
