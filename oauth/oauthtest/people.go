package oauthtest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

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
			want.CreatedAt = asStored(want.CreatedAt)
			got, err := b.Client(t.Context(), want.ID)
			require.NoError(t, err)
			equal(t, want, got)
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
			want := b.client()
			want.ID, want.Name, want.CreatedAt = "id", longText(), asStored(start())
			require.NoError(t, b.AddClient(t.Context(), want))
			got, err := b.Client(t.Context(), "id")
			require.NoError(t, err)
			equal(t, want, got)
		},
		"do not keep what is no text": func(t *testing.T, b *bench) {
			owner := b.user().ID
			for name, text := range unstorable() {
				for _, c := range []oauth.Client{
					{ID: text, Kind: oauth.Personal, Name: "n", OwnerID: owner},
					{ID: "id", Kind: oauth.Kind(text), Name: "n", OwnerID: owner},
					{ID: "id", Kind: oauth.Personal, Name: text, OwnerID: owner},
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
			other := b.client()
			other.ID = want.ID
			require.ErrorIs(t, b.AddClient(t.Context(), other), oauth.ErrExists)
			want.CreatedAt = asStored(want.CreatedAt)
			got, err := b.Client(t.Context(), want.ID)
			require.NoError(t, err)
			equal(t, want, got)
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
			want := []string{"", "-", "0", "00", "A", "B", "_", "a", "aB", "ab", "b", "é", "東"}
			for _, i := range []int{3, 12, 0, 7, 1, 11, 9, 8, 10, 5, 4, 2, 6} {
				require.NoError(t, b.AddClient(t.Context(), oauth.Client{ID: want[i], Kind: oauth.Personal, Name: "n", OwnerID: owner}))
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
