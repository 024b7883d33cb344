package oauthtest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

const noticeLease = 3 * time.Minute

// due leases notices of a channel.
func (b *bench) due(channel oauth.Channel, now time.Time, limit int) []oauth.Notice {
	b.t.Helper()
	due, err := b.DueNotices(b.t.Context(), oauth.NoticeQuery{
		Channel: channel, Since: now.Add(-oauth.NoticeAge), Now: now, Until: now.Add(noticeLease), Limit: limit,
	})
	require.NoError(b.t, err)
	return due
}

func verdictsOf(notices []oauth.Notice) []oauth.Verdict {
	var all []oauth.Verdict
	for _, n := range notices {
		all = append(all, n.Verdict)
	}
	return all
}

// switchedOff is a client that has wasted all that it may, and one more.
func (b *bench) switchedOff(at time.Time) oauth.Client {
	b.t.Helper()
	c := b.client()
	b.wastes(c, 5, at)
	_, tally := b.asks(c, at, meter())
	require.Equal(b.t, oauth.SwitchedOff, tally.Outcome)
	return c
}

func notices() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are what was ruled, once for each channel": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			for _, channel := range []oauth.Channel{oauth.ChannelMail, oauth.ChannelWebhook} {
				due := b.due(channel, noon(), 10)
				require.Equal(t, []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff}, verdictsOf(due))
				history := b.history(c)
				for i, n := range due {
					require.Equal(t, oauth.Notice{Ruling: history[i], Channel: channel, Attempts: 1}, n)
				}
				require.Empty(t, b.due(channel, noon(), 10), "they are leased")
			}
		},
		"tell operators of what only they need to know": func(t *testing.T, b *bench) {
			c := b.client()
			m := meter()
			m.Mode = oauth.ModeShadow
			for range 6 {
				b.asks(c, noon(), m)
			}
			_, err := b.SwitchOff(t.Context(), intervenes(c, "", noon()))
			require.NoError(t, err)
			b.reactivates(c, noon())
			owners := []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff}
			require.Equal(t, owners, verdictsOf(b.due(oauth.ChannelMail, noon(), 10)))
			operators := []oauth.Verdict{
				oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictShadow, oauth.VerdictSwitchOff, oauth.VerdictReactivation,
			}
			require.Equal(t, operators, verdictsOf(b.due(oauth.ChannelWebhook, noon(), 10)))
			require.Empty(t, b.due("smoke", noon(), 10))
		},
		"leave out what changed nothing and what is old": func(t *testing.T, b *bench) {
			c := b.client()
			for range 2 {
				i := intervenes(c, "", noon())
				i.Actor = oauth.ByAlert
				_, err := b.SwitchOff(t.Context(), i)
				require.NoError(t, err)
			}
			require.Empty(t, b.due(oauth.ChannelMail, noon().Add(oauth.NoticeAge+time.Microsecond), 10))
			require.Len(t, b.due(oauth.ChannelMail, noon().Add(oauth.NoticeAge), 10), 1)
		},
		"are due again when the lease is over": func(t *testing.T, b *bench) {
			b.switchedOff(noon())
			require.Len(t, b.due(oauth.ChannelMail, noon(), 2), 2)
			third := b.due(oauth.ChannelMail, noon().Add(time.Second), 2)
			require.Equal(t, []oauth.Verdict{oauth.VerdictSwitchOff}, verdictsOf(third))
			require.Empty(t, b.due(oauth.ChannelMail, noon().Add(noticeLease-time.Microsecond), 2))
			again := b.due(oauth.ChannelMail, noon().Add(noticeLease), 10)
			require.Len(t, again, 2)
			require.Equal(t, 2, again[0].Attempts)
		},
		"that were told or given up are never due": func(t *testing.T, b *bench) {
			b.switchedOff(noon())
			due := b.due(oauth.ChannelMail, noon(), 10)
			require.NoError(t, b.NoticeTold(t.Context(), due[0].ID, oauth.ChannelMail, noon()))
			require.NoError(t, b.NoticeLater(t.Context(), due[0].ID, oauth.ChannelMail, noon()), "it stays told")
			require.NoError(t, b.NoticeLater(t.Context(), due[1].ID, oauth.ChannelMail, time.Time{}))
			require.NoError(t, b.NoticeLater(t.Context(), due[2].ID, oauth.ChannelMail, noon().Add(time.Hour)))
			require.Empty(t, b.due(oauth.ChannelMail, noon().Add(time.Hour-time.Microsecond), 10))
			later := b.due(oauth.ChannelMail, noon().Add(time.Hour), 10)
			require.Equal(t, []oauth.Verdict{oauth.VerdictSwitchOff}, verdictsOf(later))
			require.Equal(t, 2, later[0].Attempts)
			require.Empty(t, b.due(oauth.ChannelMail, noon().Add(24*time.Hour), 10)[1:])
			require.Len(t, b.due(oauth.ChannelWebhook, noon(), 10), 3, "the other channel has its own")

			require.NoError(t, b.NoticeTold(t.Context(), 1<<40, oauth.ChannelMail, noon()))
			require.NoError(t, b.NoticeLater(t.Context(), 1<<40, oauth.ChannelMail, noon()))
		},
		"are told to an owner only so often": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			other := b.of(c.OwnerID, oauth.Personal, oauth.Active)
			require.NoError(t, b.AddClient(t.Context(), other))
			b.wastes(other, 5, noon())
			due := b.due(oauth.ChannelMail, noon(), 10)
			require.Len(t, due, 5)
			attempt := func(n oauth.Notice, owner int64, at time.Time) bool {
				may, err := b.AttemptNotice(t.Context(), oauth.NoticeAttempt{
					RulingID: n.ID, Channel: oauth.ChannelMail, OwnerID: owner, Now: at, Since: at.Add(-time.Hour), Max: 2, MaxMild: 2,
				})
				require.NoError(t, err)
				return may
			}
			require.True(t, attempt(due[0], c.OwnerID, noon()))
			require.True(t, attempt(due[0], c.OwnerID, noon().Add(time.Minute)), "it is one, however often it is tried")
			b.deletes(c)
			require.True(t, attempt(due[3], c.OwnerID, noon().Add(2*time.Minute)))
			require.False(t, attempt(due[1], c.OwnerID, noon().Add(3*time.Minute)), "of another application, and one that is deleted")
			require.True(t, attempt(due[2], b.user().ID, noon().Add(3*time.Minute)), "another owner has been told nothing")
			require.True(t, attempt(due[4], c.OwnerID, noon().Add(time.Hour+time.Minute)), "the first is an hour ago")

			require.NoError(t, b.NoticeTold(t.Context(), due[0].ID, oauth.ChannelMail, noon()))
			var again []int64
			for _, n := range b.due(oauth.ChannelMail, noon().Add(24*time.Hour), 10) {
				again = append(again, n.ID)
			}
			require.ElementsMatch(t, []int64{due[2].ID, due[3].ID, due[4].ID}, again, "what was told and what was withheld is done")
			for _, id := range []int64{due[0].ID, 1 << 40} {
				_, err := b.AttemptNotice(t.Context(), oauth.NoticeAttempt{RulingID: id, Channel: oauth.ChannelMail, OwnerID: c.OwnerID, Now: noon(), Since: noon(), Max: 9, MaxMild: 9})
				require.ErrorIs(t, err, oauth.ErrNotFound)
			}
			require.Len(t, b.due(oauth.ChannelWebhook, noon(), 10), 5, "the operator is told all")
		},
		"leave room for what switches something": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			b.reactivates(c, noon())
			b.wastes(c, 4, noon())
			for _, channel := range []oauth.Channel{oauth.ChannelMail, oauth.ChannelWebhook} {
				var may []oauth.Verdict
				for _, n := range b.due(channel, noon(), 10) {
					did, err := b.AttemptNotice(t.Context(), oauth.NoticeAttempt{
						RulingID: n.ID, Channel: channel, OwnerID: c.OwnerID, Now: noon(), Since: noon().Add(-time.Hour), Max: 3, MaxMild: 1,
					})
					require.NoError(t, err)
					if did {
						may = append(may, n.Verdict)
					}
				}
				want := []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictSwitchOff, oauth.VerdictReactivation}
				if channel == oauth.ChannelMail { // which reactivations are not told on
					want = want[:2]
				}
				require.Equal(t, want, may)
			}
		},
		"are told no more often by many at once": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			var may atomic.Int32
			due := b.due(oauth.ChannelMail, noon(), 10)
			together(len(due), func(i int) {
				did, err := b.AttemptNotice(t.Context(), oauth.NoticeAttempt{
					RulingID: due[i].ID, Channel: oauth.ChannelMail, OwnerID: c.OwnerID, Now: noon(), Since: noon().Add(-time.Hour), Max: 1, MaxMild: 1,
				})
				if err != nil {
					t.Error(err)
				}
				if did {
					may.Add(1)
				}
			})
			require.EqualValues(t, 1, may.Load())
		},
		"go to one caller each": func(t *testing.T, b *bench) {
			for range 4 {
				b.switchedOff(noon())
			}
			var mu sync.Mutex
			times := make(map[int64]int)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 4 {
						for _, n := range b.due(oauth.ChannelMail, noon(), 1) {
							mu.Lock()
							times[n.ID]++
							mu.Unlock()
						}
					}
				})
			}
			all.Wait()
			for id, n := range times {
				require.Equal(t, 1, n, "ruling %d", id)
			}
			require.Len(t, append(b.due(oauth.ChannelMail, noon(), 100), make([]oauth.Notice, len(times))...), 12)
		},
		"go with their rulings": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			due := b.due(oauth.ChannelMail, noon(), 10)
			link := b.link(c, due[0].ID, noon().Add(oauth.LinkLifetime))
			_, err := b.Condense(t.Context(), noon(), noon().Add(time.Hour), 100)
			require.NoError(t, err)
			_, err = b.Link(t.Context(), link.Hash)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			again := b.due(oauth.ChannelMail, noon().Add(noticeLease), 10)
			require.Equal(t, []oauth.Verdict{oauth.VerdictSwitchOff}, verdictsOf(again), "by which it is off")
		},
	}
}

func (b *bench) link(c oauth.Client, ruling int64, expires time.Time) oauth.Link {
	b.t.Helper()
	l := oauth.Link{Hash: b.hash(), RulingID: ruling, ClientID: c.ID, ExpiresAt: expires}
	require.NoError(b.t, b.AddLink(b.t.Context(), l))
	return l
}

func links() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are found, and unknown ones are not": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			l := b.link(c, b.history(c)[2].ID, noon().Add(time.Hour))
			got, err := b.Link(t.Context(), l.Hash)
			require.NoError(t, err)
			require.Equal(t, l, got)
			_, err = b.Link(t.Context(), b.hash())
			require.ErrorIs(t, err, oauth.ErrNotFound)
			other := l
			other.Hash, other.RulingID = b.hash(), 1<<40
			require.ErrorIs(t, b.AddLink(t.Context(), other), oauth.ErrNotFound)
			other.RulingID, other.ClientID = l.RulingID, "unknown"
			require.ErrorIs(t, b.AddLink(t.Context(), other), oauth.ErrNotFound)
		},
		"are used up by one reactivation": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			l := b.link(c, b.history(c)[2].ID, noon().Add(time.Hour))
			other := b.link(c, b.history(c)[2].ID, noon().Add(time.Hour))
			i := intervenes(c, oauth.LinkKey(l.Hash), noon().Add(time.Minute))
			did, err := b.Reactivate(t.Context(), i)
			require.NoError(t, err)
			require.True(t, did)
			got, err := b.Link(t.Context(), l.Hash)
			require.NoError(t, err)
			require.Equal(t, noon().Add(time.Minute), got.UsedAt)
			got, err = b.Link(t.Context(), other.Hash)
			require.NoError(t, err)
			require.Zero(t, got.UsedAt)

			_, err = b.SwitchOff(t.Context(), intervenes(c, "", noon()))
			require.NoError(t, err)
			did, err = b.Reactivate(t.Context(), i)
			require.NoError(t, err)
			require.False(t, did)
			b.status(c, oauth.Off)
		},
		"are forgotten when they have expired": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			for i := range 3 {
				b.link(c, b.history(c)[2].ID, noon().Add(time.Duration(i)*time.Hour))
			}
			for _, want := range []int{1, 1, 0} {
				n, err := b.ForgetLinks(t.Context(), noon().Add(2*time.Hour), 1)
				require.NoError(t, err)
				require.Equal(t, want, n)
			}
		},
		"and other reactivations of an owner are counted": func(t *testing.T, b *bench) {
			c := b.client()
			count := func(after time.Time) int {
				i := intervenes(c, "", noon())
				i.Actor = oauth.ByAlert
				_, err := b.SwitchOff(t.Context(), i)
				require.NoError(t, err)
				_, own, err := b.OffBy(t.Context(), c.ID, after, 10)
				require.NoError(t, err)
				return len(own)
			}
			require.Zero(t, count(noon().Add(-time.Hour)))
			b.reactivates(c, noon())
			for i, actor := range []oauth.Actor{oauth.ByOwner, oauth.ByOperator, oauth.ByOwner} {
				at := noon().Add(time.Duration(i) * time.Minute)
				off := intervenes(c, "", at)
				off.Actor = oauth.ByAlert
				_, err := b.SwitchOff(t.Context(), off)
				require.NoError(t, err)
				on := intervenes(c, "", at)
				on.Actor, on.OwnMax, on.OwnWindow = actor, oauth.OwnReactivations, oauth.OwnReactivationsWithin
				did, err := b.Reactivate(t.Context(), on)
				require.NoError(t, err)
				require.True(t, did)
			}
			require.Equal(t, 2, count(noon().Add(-time.Hour)))
			require.Equal(t, 1, count(noon()))
			_, own, err := b.OffBy(t.Context(), c.ID, noon().Add(-time.Hour), 10)
			require.NoError(t, err)
			require.Equal(t, []time.Time{noon().Add(2 * time.Minute), noon()}, own, "the newest first")
			_, own, err = b.OffBy(t.Context(), c.ID, noon().Add(-time.Hour), 1)
			require.NoError(t, err)
			require.Equal(t, []time.Time{noon().Add(2 * time.Minute)}, own)
			b.reactivates(c, noon().Add(time.Hour))
			own, err = b.OwnReactivations(t.Context(), c.ID, noon().Add(-time.Hour), 10)
			require.NoError(t, err)
			require.Equal(t, []time.Time{noon().Add(2 * time.Minute), noon()}, own, "also of one that is on")
			own, err = b.OwnReactivations(t.Context(), c.ID, noon(), 1)
			require.NoError(t, err)
			require.Equal(t, []time.Time{noon().Add(2 * time.Minute)}, own)
			_, err = b.OwnReactivations(t.Context(), "unknown", noon(), 1)
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
	}
}
