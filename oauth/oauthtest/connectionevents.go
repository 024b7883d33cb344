package oauthtest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

const eventLease = time.Minute

// tells takes the events that are due at now: that is all there are, in that order, but
// for their IDs.
func (b *bench) tells(now time.Time, want ...oauth.ConnectionEvent) {
	b.t.Helper()
	due, err := b.DueEvents(b.t.Context(), now, now.Add(eventLease), 100)
	require.NoError(b.t, err)
	for i := range due {
		require.Positive(b.t, due[i].ID)
		require.NoError(b.t, b.EventTold(b.t.Context(), due[i].ID))
		due[i].ID = 0
	}
	if len(want)+len(due) > 0 {
		equal(b.t, want, due)
	}
}

// event is what becomes of a person's connection.
func (b *bench) event(kind oauth.ConnectionKind, cause oauth.Cause, clientID string, userID int64, sites []int64, at time.Time) oauth.ConnectionEvent {
	b.t.Helper()
	c, err := b.Client(b.t.Context(), clientID)
	require.NoError(b.t, err)
	u, err := b.User(b.t.Context(), userID)
	require.NoError(b.t, err)
	return oauth.ConnectionEvent{
		Kind: kind, Cause: cause, ClientID: c.ID, ClientName: c.Name, UserID: u.ID, UserName: u.Name, Sites: sites, At: asStored(at),
	}
}

func (b *bench) connected(clientID string, userID int64, scope oauth.Scope, sites []int64, at time.Time) oauth.ConnectionEvent {
	b.t.Helper()
	e := b.event(oauth.Connected, oauth.CausePerson, clientID, userID, sites, at)
	e.Scope = scope
	return e
}

func connectionEvents() map[string]func(*testing.T, *bench) {
	later := start().Add(time.Hour)
	return map[string]func(*testing.T, *bench){
		"tell each consent": func(t *testing.T, b *bench) {
			c := b.commercial()
			code := b.code(c)
			b.redeem(code, start())
			b.tells(later, b.connected(c.ID, code.UserID, code.Scope, code.Sites, code.Now))
			i := b.again(b.consented())
			b.tells(later, b.connected(i.ClientID, i.UserID, i.Scope, i.Sites, start()))
			i.GrantType, i.Refresh, i.Sites = oauth.GrantImplicit, oauth.Hash{}, nil
			_, err := b.IssueImplicit(t.Context(), b.hash(), i)
			require.NoError(t, err)
			b.tells(later, b.connected(i.ClientID, i.UserID, i.Scope, nil, i.Now))
		},
		"tell of a personal application when it holds nothing yet": func(t *testing.T, b *bench) {
			f := b.issueTo(b.client(), start())
			first := b.connected(f.ClientID, f.UserID, f.Scope, f.Sites, start())
			b.tells(later, first)
			b.later(f, time.Hour, func(*oauth.Issuance) {})
			b.tells(later)
			b.disconnects(f.UserID, f.ClientID, later.Add(time.Minute), 2)
			b.tells(later.Add(time.Minute), b.event(oauth.Disconnected, oauth.CausePerson, f.ClientID, f.UserID, f.Sites, later.Add(time.Minute)))
			again := b.later(f, 2*time.Hour, func(*oauth.Issuance) {})
			first.At = asStored(again.Now)
			b.tells(again.Now, first)
			b.issueOwn() // nobody's
			b.tells(again.Now)
		},
		"tell once of what a person ends": func(t *testing.T, b *bench) {
			f := b.consented()
			b.later(f, time.Minute, func(*oauth.Issuance) {})
			b.later(f, time.Minute, func(i *oauth.Issuance) { i.Sites = nil })
			c := b.commercial()
			code := b.code(c)
			b.clear(later)
			b.disconnects(f.UserID, f.ClientID, later, 3)
			due, err := b.DueEvents(t.Context(), later, later, 10)
			require.NoError(t, err)
			require.Len(t, due, 2, "one for each choice of sites")
			b.clear(later)
			b.disconnects(f.UserID, f.ClientID, later, 0)
			b.tells(later)
			b.disconnects(code.UserID, c.ID, start().Add(time.Second), 1)
			b.tells(later, b.event(oauth.Disconnected, oauth.CausePerson, c.ID, code.UserID, code.Sites, start().Add(time.Second)))
		},
		"tell who or what else ended it": func(t *testing.T, b *bench) {
			for cause, end := range map[oauth.Cause]func(f family){
				oauth.CauseApplication: func(f family) {
					require.NoError(t, b.Revoke(t.Context(), f.ClientID, f.Access, later)) // the token alone
					require.NoError(t, b.Revoke(t.Context(), f.ClientID, f.Refresh, later))
					require.NoError(t, b.Revoke(t.Context(), f.ClientID, f.Refresh, later))
				},
				oauth.CauseDeletion: func(f family) { require.NoError(t, b.DeleteClient(t.Context(), f.ClientID, later, oauth.Change{})) },
				oauth.CausePassword: func(f family) {
					require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: f.UserID, New: "x", EndTokens: true, Now: later}))
				},
				oauth.CauseReuse: func(f family) {
					b.rotate(f, f.Refresh, start().Add(time.Minute))
					r := b.rotation(f, f.Refresh, later)
					rotated, err := b.Rotate(t.Context(), r)
					require.NoError(t, err)
					require.Equal(t, oauth.Reuse, rotated.Outcome)
				},
			} {
				f := b.consented()
				b.clear(later)
				end(f)
				b.tells(later, b.event(oauth.Disconnected, cause, f.ClientID, f.UserID, f.Sites, later))
			}
			code := b.code(b.commercial())
			b.redeem(code, start())
			b.clear(later)
			b.notRedeemed(b.redemption(code, later), oauth.ErrSpent)
			b.notRedeemed(b.redemption(code, later), oauth.ErrSpent)
			b.tells(later, b.event(oauth.Disconnected, oauth.CauseReuse, code.ClientID, code.UserID, code.Sites, later))
		},
		"are leased until they are told": func(t *testing.T, b *bench) {
			for range 12 {
				b.code(b.commercial())
			}
			var mu sync.Mutex
			seen := map[int64]int{}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 6 {
						due, err := b.DueEvents(t.Context(), later, later.Add(eventLease), 1)
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						for _, e := range due {
							seen[e.ID]++
						}
						mu.Unlock()
					}
				})
			}
			all.Wait()
			rest, err := b.DueEvents(t.Context(), later, later.Add(eventLease), 100)
			require.NoError(t, err)
			for _, e := range rest {
				seen[e.ID]++
			}
			require.Len(t, seen, 12)
			for id, n := range seen {
				require.Equal(t, 1, n, id)
			}
			b.tells(later.Add(eventLease - time.Microsecond))
			again, err := b.DueEvents(t.Context(), later.Add(eventLease), later.Add(2*eventLease), 5)
			require.NoError(t, err)
			require.Len(t, again, 5)
			require.NoError(t, b.EventTold(t.Context(), again[0].ID))
			require.NoError(t, b.EventTold(t.Context(), again[0].ID))
			none, err := b.DueEvents(t.Context(), later.Add(3*eventLease), later, -1)
			require.NoError(t, err)
			require.Empty(t, none)
			last, err := b.DueEvents(t.Context(), later.Add(3*eventLease), later.Add(4*eventLease), 100)
			require.NoError(t, err)
			require.Len(t, last, 11)
			require.IsIncreasing(t, ids(last))
		},
		"are told beside what was allowed then": func(t *testing.T, b *bench) {
			f := b.consented()
			everywhere := b.later(f, time.Hour, func(i *oauth.Issuance) { i.Sites = nil })
			b.later(f, time.Hour, func(*oauth.Issuance) {})
			toAnother := b.later(f, 0, func(i *oauth.Issuance) { i.UserID = b.user().ID })
			b.issueOwn()
			allowed := func(at time.Time, want ...oauth.Allowed) {
				t.Helper()
				got, err := b.AllowedAt(t.Context(), f.UserID, f.ClientID, at)
				require.NoError(t, err)
				require.ElementsMatch(t, want, got)
			}
			narrow, wide := oauth.Allowed{Scope: f.Scope, Sites: f.Sites}, oauth.Allowed{Scope: f.Scope}
			allowed(start())
			allowed(start().Add(time.Minute), narrow)
			allowed(everywhere.Now.Add(time.Minute), narrow, wide)
			end := start().Add(2 * time.Hour)
			b.disconnects(f.UserID, f.ClientID, end, 3)
			allowed(end.Add(-time.Microsecond), narrow, wide)
			allowed(end)

			users := func(at time.Time, after int64, limit int, want ...int64) {
				t.Helper()
				got, err := b.UsersAt(t.Context(), f.ClientID, at, after, limit)
				require.NoError(t, err)
				found := []int64{}
				for _, u := range got {
					require.NotEmpty(t, u.Name)
					found = append(found, u.ID)
				}
				require.Equal(t, append([]int64{}, want...), found)
			}
			users(start(), 0, 10)
			users(end.Add(-time.Microsecond), 0, 10, f.UserID, toAnother.UserID)
			users(end.Add(-time.Microsecond), 0, 1, f.UserID)
			users(end.Add(-time.Microsecond), f.UserID, 10, toAnother.UserID)
			users(end, 0, 10, toAnother.UserID)
			users(end, 0, 0)
		},
	}
}

// clear takes all events that are there.
func (b *bench) clear(now time.Time) {
	b.t.Helper()
	due, err := b.DueEvents(b.t.Context(), now.Add(time.Hour), now, 100)
	require.NoError(b.t, err)
	for _, e := range due {
		require.NoError(b.t, b.EventTold(b.t.Context(), e.ID))
	}
}

func ids(events []oauth.ConnectionEvent) []int64 {
	var all []int64
	for _, e := range events {
		all = append(all, e.ID)
	}
	return all
}
