package oauthtest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// consented is the one grant of a new client and a new person.
func (b *bench) consented() family {
	b.t.Helper()
	return b.redeem(b.code(b.commercial()), start())
}

// grant is how a family is listed.
func (b *bench) grant(f family) oauth.Grant {
	b.t.Helper()
	c, err := b.Client(b.t.Context(), f.ClientID)
	require.NoError(b.t, err)
	return oauth.Grant{
		ClientID: c.ID, ClientName: c.Name, ClientKind: c.Kind, Off: c.Status == oauth.Off, HomePage: c.HomePage,
		Scope: f.Scope, Sites: f.Sites, Since: asStored(f.Now),
	}
}

func (b *bench) lists(userID int64, now time.Time, want ...oauth.Grant) {
	b.t.Helper()
	got, err := b.Grants(b.t.Context(), userID, now, 100)
	require.NoError(b.t, err)
	if len(want)+len(got) > 0 {
		equal(b.t, want, got)
	}
}

func (b *bench) disconnects(userID int64, clientID string, now time.Time, want int) {
	b.t.Helper()
	got, err := b.Disconnect(b.t.Context(), userID, clientID, now)
	require.NoError(b.t, err)
	require.Equal(b.t, want, got)
}

// later is an issuance like f's, begun some time after it.
func (b *bench) later(f family, by time.Duration, change func(*oauth.Issuance)) family {
	b.t.Helper()
	i := b.again(f)
	i.Now, i.AccessExpiresAt, i.RefreshExpiresAt = f.Now.Add(by), f.AccessExpiresAt.Add(by), f.RefreshExpiresAt.Add(by)
	change(&i)
	return b.issues(i)
}

func connections() map[string]func(*testing.T, *bench) {
	same := func(*oauth.Issuance) {}
	return map[string]func(*testing.T, *bench){
		"are a person's live grants": func(t *testing.T, b *bench) {
			f := b.consented()
			b.consented() // somebody else's
			b.issueOwn()  // nobody's
			b.lists(f.UserID, start(), b.grant(f))
			b.lists(f.UserID+1000, start())
			b.lists(0, start())
		},
		"tell which application is switched off": func(t *testing.T, b *bench) {
			f := b.consented()
			_, err := b.SwitchOff(t.Context(), intervenes(oauth.Client{ID: f.ClientID}, "", noon()))
			require.NoError(t, err)
			want := b.grant(f)
			require.True(t, want.Off)
			b.lists(f.UserID, start(), want)
		},
		"are grouped by what they allow, the latest first": func(t *testing.T, b *bench) {
			f := b.consented()
			elsewhere := b.later(f, time.Hour, func(i *oauth.Issuance) { i.Sites = []int64{9} })
			everywhere := b.later(f, 2*time.Hour, func(i *oauth.Issuance) { i.Sites = nil })
			unscoped := b.later(f, 3*time.Hour, func(i *oauth.Issuance) { i.Scope = oauth.Unscoped() })
			b.later(unscoped, time.Hour, same)
			nothing := b.later(f, 5*time.Hour, func(i *oauth.Issuance) { i.Scope = oauth.NewScope() })
			b.later(f, 6*time.Hour, same)
			b.lists(f.UserID, start().Add(6*time.Hour), b.grant(f), b.grant(nothing), b.grant(unscoped), b.grant(everywhere), b.grant(elsewhere))

			got, err := b.Grants(t.Context(), f.UserID, start(), 2)
			require.NoError(t, err)
			equal(t, []oauth.Grant{b.grant(f), b.grant(nothing)}, got)
			for _, limit := range []int{0, -1} {
				got, err = b.Grants(t.Context(), f.UserID, start(), limit)
				require.NoError(t, err)
				require.Empty(t, got)
			}
		},
		"last as long as a token": func(t *testing.T, b *bench) {
			f := b.consented()
			end := f.RefreshExpiresAt
			b.lists(f.UserID, asStored(end).Add(-time.Microsecond), b.grant(f))
			b.lists(f.UserID, end)
			b.rotate(f, f.Refresh, start().Add(time.Hour))
			b.lists(f.UserID, end, b.grant(f))
		},
		"that are revoked are not listed": func(t *testing.T, b *bench) {
			f := b.consented()
			require.NoError(t, b.Revoke(t.Context(), f.ClientID, f.Refresh, start()))
			b.lists(f.UserID, start())
		},
		"that a person ends are dead": func(t *testing.T, b *bench) {
			f := b.consented()
			second := b.later(f, time.Minute, func(i *oauth.Issuance) { i.Sites = nil })
			now := start().Add(2 * time.Minute)
			b.disconnects(f.UserID, f.ClientID, now, 2)
			b.isDead(f, now, f.Access, f.Refresh)
			b.isDead(second, now, second.Access, second.Refresh)
			b.lists(f.UserID, now)
			b.disconnects(f.UserID, f.ClientID, now, 0)
			third := b.later(f, time.Hour, same) // which is a new beginning
			b.access(third.Access, third.Now)
			b.lists(f.UserID, third.Now, b.grant(third))
		},
		"of others go on": func(t *testing.T, b *bench) {
			f := b.consented()
			toAnother := b.issueTo(b.commercial(), start())
			other := b.later(f, 0, func(i *oauth.Issuance) { i.UserID = toAnother.UserID })
			mine := b.later(toAnother, 0, func(i *oauth.Issuance) { i.UserID = f.UserID })
			own := b.issueOwn()
			b.disconnects(f.UserID, f.ClientID, start(), 1)
			for _, f := range []family{toAnother, other, mine, own} {
				b.access(f.Access, start())
			}
			b.disconnects(0, own.ClientID, start(), 0)
			b.disconnects(f.UserID, "", start(), 0)
			for name, text := range unstorable() {
				n, err := b.Disconnect(t.Context(), f.UserID, text, start())
				require.NoError(t, err, name)
				require.Zero(t, n)
			}
		},
		"that were not taken up are ended too": func(t *testing.T, b *bench) {
			c := b.commercial()
			code := b.code(c)
			other := b.newCode(c)
			other.UserID = b.user().ID
			require.NoError(t, b.AddCode(t.Context(), other))
			b.disconnects(c.OwnerID, c.ID, start().Add(time.Second), 1)
			b.notRedeemed(b.redemption(code, start().Add(2*time.Second)), oauth.ErrNotFound)
			b.redeem(other, start().Add(2*time.Second))
			require.ErrorIs(t, b.AddCode(t.Context(), oauth.Code{
				Hash: b.hash(), Ticket: code.Ticket, ClientID: c.ID, UserID: c.OwnerID, Now: start(), ExpiresAt: start().Add(codeLife),
			}), oauth.ErrExists, "the page on which they were given stays used")
		},
		"that a device did not take up are ended too": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			approved, waiting, denied, kept := b.deviceCode(c), b.deviceCode(c), b.deviceCode(c), b.deviceCode(other)
			b.answers(c, approved, true, start())
			b.answers(c, denied, false, start())
			b.answers(other, kept, true, start())
			now := start().Add(time.Second)
			b.disconnects(other.OwnerID, c.ID, now, 0)
			b.disconnects(c.OwnerID, c.ID, now, 1)
			b.notPolled(b.poll(approved, now))
			b.polls(waiting, now, oauth.DeviceState{Outcome: oauth.DevicePending, Interval: devicePace})
			b.polls(denied, now, oauth.DeviceState{Outcome: oauth.DeviceDenied})
			state, err := b.PollDevice(t.Context(), b.poll(kept, now))
			require.NoError(t, err)
			require.Equal(t, oauth.DeviceGranted, state.Outcome)
		},
		"that are taken up meanwhile do not survive": func(t *testing.T, b *bench) {
			c := b.commercial()
			for range 10 {
				code := b.code(c)
				r := b.redemption(code, start())
				together(2, func(i int) {
					if i == 0 {
						if _, err := b.Disconnect(t.Context(), c.OwnerID, c.ID, start()); err != nil {
							t.Error(err)
						}
					} else if _, err := b.Redeem(t.Context(), r); err != nil && !errors.Is(err, oauth.ErrNotFound) {
						t.Error(err)
					}
				})
				b.noAccess(r.Access, start())
			}
		},
		"of a context that has ended": func(t *testing.T, b *bench) {
			f := b.consented()
			ctx := ended(t)
			_, err := b.Grants(ctx, f.UserID, start(), 1)
			require.ErrorIs(t, err, ctx.Err())
			_, err = b.Disconnect(ctx, f.UserID, f.ClientID, start())
			require.ErrorIs(t, err, ctx.Err())
			_, err = b.Disconnect(late(t), f.UserID, f.ClientID, start())
			require.ErrorIs(t, err, oauth.ErrUnavailable)
			b.access(f.Access, start())
		},
	}
}
