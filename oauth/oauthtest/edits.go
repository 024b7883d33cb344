package oauthtest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// actions lists what was noted about a user, the oldest first.
func (b *bench) actions(userID int64) (actions []oauth.Action) {
	b.t.Helper()
	changes, err := b.Changes(b.t.Context(), userID, 0, 100)
	require.NoError(b.t, err)
	for _, c := range changes {
		actions = append([]oauth.Action{c.Action}, actions...)
	}
	return actions
}

// Decide has an operator decide on a client as it was requested.
func (b *bench) Decide(ctx context.Context, id string, to oauth.Status, reason string, changes ...oauth.Change) error {
	return b.Review(ctx, oauth.Review{ClientID: id, Approve: to == oauth.Active, Reason: reason, Pending: changes})
}

// about is a change about an owner's client.
func about(c oauth.Client, action oauth.Action) oauth.Change {
	return oauth.Change{UserID: c.OwnerID, Action: action, ClientID: c.ID, At: start()}
}

// rewritten is c with every field changed that can be edited.
func rewritten(c oauth.Client) oauth.Client {
	c.Name, c.Description, c.HomePage = "Neuer Name", "Does more.", "https://new.example"
	c.RedirectURIs, c.Scope = []string{"https://new.example/back"}, oauth.NewScope("gate.read")
	c.RequirePKCE, c.RequireScope, c.Legacy = !c.RequirePKCE, !c.RequireScope, !c.Legacy
	return c
}

// reviewed is what is in force of c once held is approved.
func reviewed(c, held oauth.Client) oauth.Client {
	held.Secrets, held.Edition = c.Secrets, c.Edition+1
	held.Status, held.CreatedAt, held.Kind, held.OwnerID = c.Status, c.CreatedAt, c.Kind, c.OwnerID
	return held
}

func edits() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"hold at once": func(t *testing.T, b *bench) {
			c, other := b.commercial(), b.commercial()
			new := rewritten(c)
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: new, Now: start(), Change: about(c, "edited")}))
			new.Edition = 1
			b.hasClient(new)
			b.hasClient(other)
			require.Equal(t, []oauth.Action{"edited"}, b.actions(c.OwnerID))
			_, err := b.HeldEdit(t.Context(), c.ID)
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
		"of a client that is as it was read only": func(t *testing.T, b *bench) {
			c := b.commercial()
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: rewritten(c), Now: start()}))
			want := rewritten(c)
			want.Edition = 1
			stale, status, unknown := c, want, want
			status.Status, unknown.ID = oauth.Pending, "unknown"
			for _, u := range []oauth.Client{stale, status, unknown} {
				err := b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: u, Held: &u, Now: start(), Change: about(c, "edited")})
				require.ErrorIs(t, err, oauth.ErrNotFound)
			}
			b.hasClient(want)
			require.Empty(t, b.actions(c.OwnerID), "nothing is noted that was not done")
			_, err := b.HeldEdit(t.Context(), c.ID)
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
		"by many at once: one edits": func(t *testing.T, b *bench) {
			c := b.commercial()
			var done atomic.Int32
			together(20, func(int) {
				err := b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: rewritten(c), Now: start(), Change: about(c, "edited")})
				if err == nil {
					done.Add(1)
				} else if !errors.Is(err, oauth.ErrNotFound) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, done.Load())
			require.Len(t, b.actions(c.OwnerID), 1)
		},
		"wait for an operator": func(t *testing.T, b *bench) {
			c, other := b.commercial(), b.commercial()
			held := rewritten(c)
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Now: start()}))
			again := rewritten(other)
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: other, Held: &again, Now: start()}))
			c.Edition = 1
			b.hasClient(c)
			got, err := b.HeldEdit(t.Context(), c.ID)
			require.NoError(t, err)
			want := oauth.HeldEdit{Since: asStored(start()), Client: oauth.Client{
				ID: c.ID, Edition: 1, Name: held.Name, Description: held.Description, HomePage: held.HomePage,
				RedirectURIs: held.RedirectURIs, Scope: held.Scope, Public: held.Public, RequirePKCE: held.RequirePKCE, RequireScope: held.RequireScope, Legacy: held.Legacy,
			}}
			equal(t, want, got)
			all, err := b.HeldEdits(t.Context(), "", 10)
			require.NoError(t, err)
			require.Len(t, all, 2)
			equal(t, want, all[0])
			all, err = b.HeldEdits(t.Context(), c.ID, 10)
			require.NoError(t, err)
			require.Len(t, all, 1)
			all, err = b.HeldEdits(t.Context(), "", 1)
			require.NoError(t, err)
			require.Len(t, all, 1)

			// Another one takes its place, and none too.
			held.Name = "Another"
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Now: start()}))
			got, err = b.HeldEdit(t.Context(), c.ID)
			require.NoError(t, err)
			require.Equal(t, "Another", got.Client.Name)
			require.EqualValues(t, 2, got.Client.Edition)
			c.Edition = 2
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Now: start()}))
			_, err = b.HeldEdit(t.Context(), c.ID)
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
		"that wait are approved in the edition that was seen": func(t *testing.T, b *bench) {
			c := b.commercial()
			held := rewritten(c)
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Now: start()}))
			c.Edition = 1
			v := oauth.Review{ClientID: c.ID, Edition: 1, Approve: true, Pending: []oauth.Change{about(c, "wrong")}, Held: []oauth.Change{about(c, "right")}}
			for _, edition := range []int64{0, 2} {
				other := v
				other.Edition = edition
				require.ErrorIs(t, b.Review(t.Context(), other), oauth.ErrNotFound)
				b.hasClient(c)
			}
			require.NoError(t, b.Review(t.Context(), v))
			b.hasClient(reviewed(c, held))
			require.ErrorIs(t, b.Review(t.Context(), v), oauth.ErrNotFound)
			require.Equal(t, []oauth.Action{"right"}, b.actions(c.OwnerID))
		},
		"that wait are rejected": func(t *testing.T, b *bench) {
			c := b.commercial()
			held := rewritten(c)
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Now: start()}))
			c.Edition = 1
			require.NoError(t, b.Review(t.Context(), oauth.Review{ClientID: c.ID, Edition: 1, Held: []oauth.Change{about(c, "rejected")}}))
			c.Edition = 2
			b.hasClient(c)
			_, err := b.HeldEdit(t.Context(), c.ID)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			require.Equal(t, []oauth.Action{"rejected"}, b.actions(c.OwnerID))
		},
		"of what was read before an operator decided are refused": func(t *testing.T, b *bench) {
			for _, approve := range []bool{true, false} {
				c := b.commercial()
				held := rewritten(c)
				require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Now: start()}))
				read, err := b.Client(t.Context(), c.ID)
				require.NoError(t, err)
				require.NoError(t, b.Review(t.Context(), oauth.Review{ClientID: c.ID, Edition: read.Edition, Approve: approve}))
				decided, err := b.Client(t.Context(), c.ID)
				require.NoError(t, err)
				require.ErrorIs(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: read, Now: start()}), oauth.ErrNotFound)
				b.hasClient(decided)
			}
		},
		"of a pending client change what is approved": func(t *testing.T, b *bench) {
			for approve, status := range map[bool]oauth.Status{true: oauth.Active, false: oauth.Rejected} {
				c := b.newCommercial()
				c.Status = oauth.Pending
				require.NoError(t, b.AddClient(t.Context(), c))
				require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Now: start()}))
				require.ErrorIs(t, b.Decide(t.Context(), c.ID, oauth.Active, ""), oauth.ErrNotFound, "it is not what was requested")
				v := oauth.Review{ClientID: c.ID, Approve: approve, Pending: []oauth.Change{about(c, "right")}, Held: []oauth.Change{about(c, "wrong")}}
				require.ErrorIs(t, b.Review(t.Context(), v), oauth.ErrNotFound)
				v.Edition = 1
				require.NoError(t, b.Review(t.Context(), v))
				c.Edition, c.Status = 1, status
				b.hasClient(c)
				require.ErrorIs(t, b.Review(t.Context(), v), oauth.ErrNotFound)
				require.Equal(t, []oauth.Action{"right"}, b.actions(c.OwnerID))
			}
		},
		"by which a client can keep no secret end those it has": func(t *testing.T, b *bench) {
			c := b.commercial()
			held := c
			held.Public = true
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Now: start()}))
			c.Edition = 1
			b.hasClient(c)
			require.NoError(t, b.Review(t.Context(), oauth.Review{ClientID: c.ID, Edition: 1, Approve: true}))
			c.Public, c.Secrets, c.Edition = true, nil, 2
			b.hasClient(c)
		},
		"bring pictures, which go when nothing has them": func(t *testing.T, b *bench) {
			c := b.commercial()
			first, second := []byte("one picture"), []byte("another picture\x00\xff")
			c.Logo = oauth.HashOf(string(first))
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Logo: first, Now: start()}))
			c.Edition++
			b.hasClient(c)
			has := func(picture []byte) {
				got, err := b.Logo(t.Context(), c.ID, oauth.HashOf(string(picture)))
				require.NoError(t, err)
				require.Equal(t, picture, got)
			}
			hasNot := func(picture []byte) {
				_, err := b.Logo(t.Context(), c.ID, oauth.HashOf(string(picture)))
				require.ErrorIs(t, err, oauth.ErrNotFound)
			}
			has(first)
			held := c
			held.Logo = oauth.HashOf(string(second))
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Logo: second, Now: start()}))
			c.Edition++
			has(first)
			has(second)
			require.NoError(t, b.Review(t.Context(), oauth.Review{ClientID: c.ID, Edition: c.Edition, Approve: true}))
			c.Logo, c.Edition = held.Logo, c.Edition+1
			b.hasClient(c)
			hasNot(first)
			has(second)
			c.Logo = oauth.Hash{}
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Now: start()}))
			c.Edition++
			b.hasClient(c)
			hasNot(second)
			_, err := b.Logo(t.Context(), b.commercial().ID, oauth.HashOf(string(second)))
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
		"take away a scope, which no token has any more": func(t *testing.T, b *bench) {
			f := b.issueScoped() // gate.operate gate.read
			c, err := b.Client(t.Context(), f.ClientID)
			require.NoError(t, err)
			c.Scope = oauth.NewScope("gate.read", "shutter.read")
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Now: start()}))
			access, err := b.Access(t.Context(), f.Access, start())
			require.NoError(t, err)
			equal(t, oauth.NewScope("gate.read"), access.Scope)
			for _, hash := range []oauth.Hash{f.Access, f.Refresh} {
				token, err := b.Token(t.Context(), hash, start())
				require.NoError(t, err)
				equal(t, oauth.NewScope("gate.read"), token.Scope)
			}
		},
		"do not keep what is no text": func(t *testing.T, b *bench) {
			c := b.commercial()
			for name, text := range unstorable() {
				for _, change := range []func(*oauth.Client){
					func(c *oauth.Client) { c.Name = text },
					func(c *oauth.Client) { c.Description = text },
					func(c *oauth.Client) { c.HomePage = text },
					func(c *oauth.Client) { c.RedirectURIs = []string{text} },
					func(c *oauth.Client) { c.Scope = oauth.Scope{text} },
				} {
					wrong := c
					change(&wrong)
					require.Error(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: wrong, Now: start()}), name)
					require.Error(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &wrong, Now: start()}), name)
				}
			}
			b.hasClient(c)
		},
	}
}

func deletions() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"clients are dead with all that they had": func(t *testing.T, b *bench) {
			f := b.issueScoped()
			c, err := b.Client(t.Context(), f.ClientID)
			require.NoError(t, err)
			other := b.issueScoped()
			code, device := b.code(c), b.newDeviceCode(c)
			require.NoError(t, b.AddDeviceCode(t.Context(), device, 1))
			held := c
			picture := []byte("a picture")
			held.Logo = oauth.HashOf(string(picture))
			require.NoError(t, b.UpdateClient(t.Context(), oauth.ClientUpdate{Client: c, Held: &held, Logo: picture, Now: start()}))

			now := start().Add(time.Second)
			require.NoError(t, b.DeleteClient(t.Context(), c.ID, now, about(c, "deleted")))
			b.noAccess(f.Access, now)
			b.noToken(f.Refresh, now)
			b.notRotated(b.rotation(f, f.Refresh, now))
			b.notRedeemed(b.redemption(code, now), oauth.ErrNotFound)
			_, err = b.DeviceClient(t.Context(), device.UserCode, now)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			_, err = b.PollDevice(t.Context(), b.poll(device, now))
			require.ErrorIs(t, err, oauth.ErrNotFound)
			_, err = b.Logo(t.Context(), c.ID, held.Logo)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			_, err = b.HeldEdit(t.Context(), c.ID)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			require.Empty(t, b.clientsOf(c.OwnerID))
			b.lists(c.OwnerID, now)
			require.Equal(t, []oauth.Action{"deleted"}, b.actions(c.OwnerID))

			// The record of it remains.
			c, err = b.Client(t.Context(), c.ID)
			require.NoError(t, err)
			require.Equal(t, oauth.Deleted, c.Status)
			require.Empty(t, c.Secrets)
			all, err := b.Clients(t.Context(), "", 100)
			require.NoError(t, err)
			for _, listed := range all {
				require.NotEqual(t, c.ID, listed.ID)
			}
			require.ErrorIs(t, b.AddClient(t.Context(), c), oauth.ErrExists, "its ID is never given again")
			b.access(other.Access, now)
			require.ErrorIs(t, b.DeleteClient(t.Context(), c.ID, now, about(c, "deleted")), oauth.ErrNotFound)
			require.ErrorIs(t, b.DeleteClient(t.Context(), "unknown", now, about(c, "deleted")), oauth.ErrNotFound)
			require.Len(t, b.actions(c.OwnerID), 1)
			require.ErrorIs(t, b.AddSecret(t.Context(), c.ID, oauth.Secret{Hash: b.hash(), CreatedAt: now}), oauth.ErrNotFound)
		},
		"clients' tokens are dead whenever they were issued": func(t *testing.T, b *bench) {
			f := b.issue()
			c, err := b.Client(t.Context(), f.ClientID)
			require.NoError(t, err)
			require.NoError(t, b.DeleteClient(t.Context(), c.ID, start(), about(c, "deleted")))
			late := b.again(f) // by somebody who found the client just before
			if _, err := b.Issue(t.Context(), late); err == nil {
				b.noAccess(late.Access, start())
				b.noToken(late.Access, start())
				b.noToken(late.Refresh, start())
			}
		},
		"clients leave room for another": func(t *testing.T, b *bench) {
			owner := b.user().ID
			first := b.of(owner, oauth.Personal, oauth.Active)
			require.NoError(t, b.AddClientWithin(t.Context(), first, oauth.Room{Alike: 1}))
			second := b.of(owner, oauth.Personal, oauth.Active)
			require.ErrorIs(t, b.AddClientWithin(t.Context(), second, oauth.Room{Alike: 1}), oauth.ErrTooMany)
			require.NoError(t, b.DeleteClient(t.Context(), first.ID, start(), oauth.Change{}))
			require.NoError(t, b.AddClientWithin(t.Context(), second, oauth.Room{Alike: 1}))
			require.Equal(t, []string{second.ID}, b.clientsOf(owner))
		},
		"beside issuances nothing stays alive": func(t *testing.T, b *bench) {
			for range 10 {
				c := b.commercial()
				code := b.code(c)
				issuance := b.again(b.issueTo(c, start()))
				redemption := b.redemption(code, start())
				together(3, func(i int) {
					var err error
					switch i {
					case 0:
						err = b.DeleteClient(t.Context(), c.ID, start(), oauth.Change{})
					case 1:
						_, err = b.Issue(t.Context(), issuance)
					case 2:
						_, err = b.Redeem(t.Context(), redemption)
					}
					if err != nil && !errors.Is(err, oauth.ErrNotFound) {
						t.Error(err)
					}
				})
				b.noAccess(issuance.Access, start())
				b.noToken(issuance.Refresh, start())
				b.noAccess(redemption.Access, start())
				b.noToken(redemption.Refresh, start())
			}
		},
	}
}
