package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// ended is a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// late is a context whose deadline has passed.
func late(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	t.Cleanup(cancel)
	return ctx
}

// of is a client that is yet to be added, of this owner.
func (b *bench) of(ownerID int64, kind oauth.Kind, status oauth.Status) oauth.Client {
	n := b.serial()
	return oauth.Client{
		ID: fmt.Sprintf("%032x", n), Kind: kind, Status: status, Name: fmt.Sprint("App ", n), OwnerID: ownerID, CreatedAt: start(),
		Secrets: []oauth.Secret{{Hash: b.hash(), CreatedAt: start()}},
	}
}

func (b *bench) clientsOf(ownerID int64) (ids []string) {
	b.t.Helper()
	clients, err := b.ClientsOf(b.t.Context(), ownerID, 100)
	require.NoError(b.t, err)
	for _, c := range clients {
		ids = append(ids, c.ID)
	}
	return ids
}

func owned() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are listed by ID": func(t *testing.T, b *bench) {
			first := b.commercial()
			b.commercial()
			second := b.of(first.OwnerID, oauth.Personal, oauth.Active)
			require.NoError(t, b.AddClient(t.Context(), second))
			got, err := b.ClientsOf(t.Context(), first.OwnerID, 100)
			require.NoError(t, err)
			require.Len(t, got, 2)
			sameClient(t, first, got[0])
			sameClient(t, second, got[1])
			require.Empty(t, b.clientsOf(first.OwnerID+1000))
			got, err = b.ClientsOf(t.Context(), first.OwnerID, 1)
			require.NoError(t, err)
			require.Len(t, got, 1)
			sameClient(t, first, got[0])
			for _, limit := range []int{0, -1} {
				got, err = b.ClientsOf(t.Context(), first.OwnerID, limit)
				require.NoError(t, err)
				require.Empty(t, got)
			}
		},
		"are added while there are few": func(t *testing.T, b *bench) {
			owner, other := b.user().ID, b.user().ID
			want := []oauth.Client{b.of(owner, oauth.Personal, oauth.Active), b.of(owner, oauth.Personal, oauth.Active)}
			for _, c := range want {
				require.NoError(t, b.AddClientWithin(t.Context(), c, oauth.Room{Alike: 2}))
				b.hasClient(c)
			}
			third := b.of(owner, oauth.Personal, oauth.Active)
			require.ErrorIs(t, b.AddClientWithin(t.Context(), third, oauth.Room{Alike: 2}), oauth.ErrTooMany)
			require.ErrorIs(t, b.AddClientWithin(t.Context(), third, oauth.Room{Alike: 2, Recent: 1, Within: time.Hour}), oauth.ErrTooMany)
			require.ErrorIs(t, b.AddClientWithin(t.Context(), want[0], oauth.Room{Alike: 2}), oauth.ErrExists)
			require.ErrorIs(t, b.AddClientWithin(t.Context(), want[0], oauth.Room{Alike: 3}), oauth.ErrExists)
			require.Len(t, b.clientsOf(owner), 2)
			for _, c := range []oauth.Client{
				b.of(owner, oauth.Commercial, oauth.Active), b.of(owner, oauth.Personal, oauth.Pending), b.of(other, oauth.Personal, oauth.Active),
			} {
				require.NoError(t, b.AddClientWithin(t.Context(), c, oauth.Room{Alike: 2}), "of another kind, status or owner")
			}
			require.NoError(t, b.AddClient(t.Context(), third), "that one has no bound")
		},
		"are added while few are recent": func(t *testing.T, b *bench) {
			owner, room := b.user().ID, oauth.Room{Alike: 9, Recent: 3, Within: time.Hour}
			at := func(minutes int, kind oauth.Kind, status oauth.Status) oauth.Client {
				c := b.of(owner, kind, status)
				c.CreatedAt = noon().Add(time.Duration(minutes) * time.Minute)
				return c
			}
			first, old := at(0, oauth.Personal, oauth.Active), at(-60, oauth.Personal, oauth.Active)
			for _, c := range []oauth.Client{old, first, at(10, oauth.Commercial, oauth.Pending), at(20, oauth.Commercial, oauth.Pending)} {
				require.NoError(t, b.AddClientWithin(t.Context(), c, room))
			}
			for range 2 {
				err := b.AddClientWithin(t.Context(), at(59, oauth.Personal, oauth.Active), room)
				soon, is := errors.AsType[*oauth.TooSoonError](err)
				require.True(t, is, "%v", err)
				require.Equal(t, &oauth.TooSoonError{Recent: 3, Next: noon().Add(time.Hour)}, soon)
				b.deletes(first)
				first = old
			}
			require.ErrorIs(t, b.AddClientWithin(t.Context(), at(59, oauth.Commercial, oauth.Pending), oauth.Room{Alike: 2, Recent: 3, Within: time.Hour}), oauth.ErrTooMany)
			require.NoError(t, b.AddClientWithin(t.Context(), b.of(b.user().ID, oauth.Personal, oauth.Active), room), "of another owner")
			require.NoError(t, b.AddClientWithin(t.Context(), at(59, oauth.Personal, oauth.Active), oauth.Room{Alike: 2, Within: time.Hour}), "that has no such bound")
			require.NoError(t, b.AddClientWithin(t.Context(), at(70, oauth.Personal, oauth.Active), room), "two are recent")
			require.Error(t, b.AddClientWithin(t.Context(), at(5, oauth.Personal, oauth.Active), room), "the clock went back")
		},
		"have an owner there": func(t *testing.T, b *bench) {
			c := b.of(b.user().ID+1, oauth.Personal, oauth.Active)
			require.ErrorIs(t, b.AddClientWithin(t.Context(), c, oauth.Room{Alike: 2}), oauth.ErrNotFound)
		},
		"do not keep what is no text there": func(t *testing.T, b *bench) {
			owner := b.user().ID
			for name, text := range unstorable() {
				c := b.of(owner, oauth.Personal, oauth.Active)
				c.Name = text
				err := b.AddClientWithin(t.Context(), c, oauth.Room{Alike: 2})
				require.Error(t, err, name)
				require.NotErrorIs(t, err, oauth.ErrExists)
				require.NotErrorIs(t, err, oauth.ErrTooMany)
			}
			require.Empty(t, b.clientsOf(owner))
		},
		"are never too many, at once either": func(t *testing.T, b *bench) {
			owner := b.user().ID
			var added atomic.Int32
			together(20, func(int) {
				err := b.AddClientWithin(t.Context(), b.of(owner, oauth.Personal, oauth.Active), oauth.Room{Alike: 5})
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, oauth.ErrTooMany) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 5, added.Load())
			require.Len(t, b.clientsOf(owner), 5)
			together(20, func(i int) {
				c := b.of(owner, oauth.Commercial, []oauth.Status{oauth.Pending, oauth.Active}[i%2])
				err := b.AddClientWithin(t.Context(), c, oauth.Room{Alike: 9, Recent: 8, Within: time.Hour})
				if _, is := errors.AsType[*oauth.TooSoonError](err); err != nil && !is {
					t.Error(err)
				}
			})
			require.Len(t, b.clientsOf(owner), 8)
		},
		"of a context that has ended": func(t *testing.T, b *bench) {
			owner, ctx := b.user().ID, ended(t)
			require.ErrorIs(t, b.AddClientWithin(ctx, b.of(owner, oauth.Personal, oauth.Active), oauth.Room{Alike: 5}), ctx.Err())
			_, err := b.ClientsOf(ctx, owner, 1)
			require.ErrorIs(t, err, ctx.Err())
			require.ErrorIs(t, b.AddClientWithin(late(t), b.of(owner, oauth.Personal, oauth.Active), oauth.Room{Alike: 5}), oauth.ErrUnavailable)
			require.Empty(t, b.clientsOf(owner))
		},
	}
}
