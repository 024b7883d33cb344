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

// noted is an entry of the record of changes that a call is given.
func noted(userID int64, action oauth.Action) oauth.Change {
	return oauth.Change{UserID: userID, Action: action, ClientID: "app", Subject: "thing", ActorID: 7, Address: "192.0.2.1", At: start()}
}

// recorded are the actions in a user's record, the newest first.
func (b *bench) recorded(userID int64) (actions []oauth.Action) {
	b.t.Helper()
	changes, err := b.Changes(b.t.Context(), userID, 0, 100)
	require.NoError(b.t, err)
	for _, c := range changes {
		actions = append(actions, c.Action)
	}
	return actions
}

func (b *bench) hasUser(want oauth.User) {
	b.t.Helper()
	want.CreatedAt = asStored(want.CreatedAt)
	got, err := b.User(b.t.Context(), want.ID)
	require.NoError(b.t, err)
	equal(b.t, want, got)
	got, err = b.UserByEmail(b.t.Context(), want.Email)
	require.NoError(b.t, err)
	equal(b.t, want, got)
}

// live tells which sessions of a user are.
func (b *bench) live(userID int64, now time.Time) (hashes []oauth.Hash) {
	b.t.Helper()
	sessions, err := b.Sessions(b.t.Context(), userID, now, 100)
	require.NoError(b.t, err)
	for _, s := range sessions {
		hashes = append(hashes, s.Hash)
	}
	return hashes
}

// appPasswordID is that of a new app password.
func (b *bench) appPasswordID(clientID, name string) int64 {
	b.t.Helper()
	added := b.appPassword(clientID, name)
	found, err := b.AppPassword(b.t.Context(), clientID, added.Hash)
	require.NoError(b.t, err)
	return found.ID
}

// issuance is one of the password grant, to a client's owner.
func (b *bench) issuance(c oauth.Client, p oauth.Proof) oauth.Issuance {
	return oauth.Issuance{
		ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantPassword, Access: b.hash(), Refresh: b.hash(), Now: start(),
		AccessExpiresAt: start().Add(accessLife), RefreshExpiresAt: start().Add(refreshLife), Proof: p,
	}
}

// proves checks whether a proof still gets tokens.
func (b *bench) proves(c oauth.Client, p oauth.Proof, holds bool) {
	b.t.Helper()
	i := b.issuance(c, p)
	_, err := b.Issue(b.t.Context(), i)
	if holds {
		require.NoError(b.t, err)
		b.access(i.Access, start())
		return
	}
	require.ErrorIs(b.t, err, oauth.ErrNotFound)
	b.noAccess(i.Access, start())
	b.noToken(i.Refresh, start())
}

func passwordChanges() map[string]func(*testing.T, *bench) {
	change := func(u oauth.User) oauth.PasswordChange {
		return oauth.PasswordChange{UserID: u.ID, Old: u.PasswordHash, New: "new hash", Now: start()}
	}
	return map[string]func(*testing.T, *bench){
		"end all sessions, and begin one": func(t *testing.T, b *bench) {
			u, other := b.user(), b.session()
			first, second := b.sessionOf(u.ID), b.sessionOf(u.ID)
			p := change(u)
			p.Session = b.newSession(u.ID)
			require.NoError(t, b.ChangePassword(t.Context(), p, noted(u.ID, "one"), noted(u.ID, "two"), oauth.Change{}))
			u.PasswordHash = "new hash"
			b.hasUser(u)
			b.noSession(first.Hash, start())
			b.noSession(second.Hash, start())
			require.Equal(t, []oauth.Hash{p.Session.Hash}, b.live(u.ID, start()))
			require.Equal(t, []oauth.Hash{other.Hash}, b.live(other.UserID, start()))
			require.Equal(t, []oauth.Action{"two", "one"}, b.recorded(u.ID))
		},
		"by command need no old one, and begin no session": func(t *testing.T, b *bench) {
			s := b.session()
			require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: s.UserID, New: "set", Now: start()}))
			require.Empty(t, b.live(s.UserID, start()))
			u, err := b.User(t.Context(), s.UserID)
			require.NoError(t, err)
			require.Equal(t, "set", u.PasswordHash)
		},
		"of an unknown user, or with another old one, change nothing": func(t *testing.T, b *bench) {
			u := b.user()
			s := b.sessionOf(u.ID)
			p := change(u)
			p.Old, p.EndTokens = "another", true
			require.ErrorIs(t, b.ChangePassword(t.Context(), p, noted(u.ID, "one")), oauth.ErrNotFound)
			p = change(u)
			p.UserID += 1000
			require.ErrorIs(t, b.ChangePassword(t.Context(), p, noted(u.ID, "one")), oauth.ErrNotFound)
			b.hasUser(u)
			require.Equal(t, []oauth.Hash{s.Hash}, b.live(u.ID, start()))
			require.Empty(t, b.recorded(u.ID))
		},
		"leave tokens alone": func(t *testing.T, b *bench) {
			f := b.issue()
			a := b.appPassword(f.ClientID, "kitchen")
			require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: f.UserID, New: "new", Now: start()}))
			b.access(f.Access, start())
			require.Equal(t, []string{"kitchen"}, b.appPasswords(a.ClientID))
		},
		"end tokens, codes and app passwords if asked to": func(t *testing.T, b *bench) {
			f, foreign := b.issue(), b.issue()
			a, theirs := b.appPassword(f.ClientID, "kitchen"), b.appPassword(foreign.ClientID, "kitchen")
			c := b.commercial()
			code := b.newCode(c)
			code.UserID = f.UserID
			require.NoError(t, b.AddCode(t.Context(), code))
			now := start().Add(time.Second)
			require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: f.UserID, New: "new", EndTokens: true, Now: now}))
			b.isDead(f, now, f.Access, f.Refresh)
			b.notRedeemed(b.redemption(code, now.Add(time.Second)), oauth.ErrNotFound)
			require.Empty(t, b.appPasswords(a.ClientID))
			b.access(foreign.Access, now)
			require.Equal(t, []string{"kitchen"}, b.appPasswords(theirs.ClientID))
		},
		"end device codes that were approved if asked to": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			approved, waiting, kept := b.deviceCode(c), b.deviceCode(c), b.deviceCode(other)
			b.answers(c, approved, true, start())
			b.answers(other, kept, true, start())
			require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: c.OwnerID, New: "new", Now: start()}))
			left := b.deviceCode(c)
			b.answers(c, left, true, start())
			now := start().Add(time.Second)
			require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: c.OwnerID, New: "newer", EndTokens: true, Now: now}))
			b.notPolled(b.poll(approved, now))
			b.notPolled(b.poll(left, now))
			b.polls(waiting, now, oauth.DeviceState{Outcome: oauth.DevicePending, Interval: devicePace})
			state, err := b.PollDevice(t.Context(), b.poll(kept, now))
			require.NoError(t, err)
			require.Equal(t, oauth.DeviceGranted, state.Outcome)
		},
		"leave no device code that is redeemed meanwhile": func(t *testing.T, b *bench) {
			c := b.client()
			for range 10 {
				code := b.deviceCode(c)
				b.answers(c, code, true, start())
				p := b.poll(code, start())
				together(2, func(i int) {
					if i == 0 {
						if err := b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: c.OwnerID, New: "new", EndTokens: true, Now: start()}); err != nil {
							t.Error(err)
						}
					} else if _, err := b.PollDevice(t.Context(), p); err != nil && !errors.Is(err, oauth.ErrNotFound) {
						t.Error(err)
					}
				})
				b.noAccess(p.Issuance.Access, start())
			}
		},
		"leave nothing to who was let in by the old one": func(t *testing.T, b *bench) {
			c := b.client()
			u, err := b.User(t.Context(), c.OwnerID)
			require.NoError(t, err)
			old := oauth.Proof{PasswordHash: u.PasswordHash}
			app := oauth.Proof{AppPassword: b.appPasswordID(c.ID, "kitchen")}
			s := b.newSession(u.ID)
			s.Proof = old
			require.NoError(t, b.AddSession(t.Context(), s, noted(u.ID, "began")))
			require.Equal(t, []oauth.Action{"began"}, b.recorded(u.ID))
			b.proves(c, old, true)
			b.proves(c, app, true)
			require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: u.ID, New: "new", Now: start()}))
			s.Hash = b.hash()
			require.ErrorIs(t, b.AddSession(t.Context(), s, noted(u.ID, "began")), oauth.ErrNotFound)
			require.Empty(t, b.live(u.ID, start()))
			require.Len(t, b.recorded(u.ID), 1)
			b.proves(c, old, false)
			b.proves(c, oauth.Proof{PasswordHash: "new"}, true)
			b.proves(c, app, true)
			require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: u.ID, New: "newer", EndTokens: true, Now: start()}))
			b.proves(c, app, false)
		},
		"leave nothing to who is let in meanwhile": func(t *testing.T, b *bench) {
			c := b.client()
			for range 10 {
				u, err := b.User(t.Context(), c.OwnerID)
				require.NoError(t, err)
				old := oauth.Proof{PasswordHash: u.PasswordHash}
				s, i, byApp := b.newSession(u.ID), b.issuance(c, old), b.issuance(c, oauth.Proof{AppPassword: b.appPasswordID(c.ID, fmt.Sprint("app ", b.serial()))})
				s.Proof = old
				p := oauth.PasswordChange{UserID: u.ID, New: fmt.Sprint("hash ", b.serial()), EndTokens: true, Now: start()}
				together(4, func(n int) {
					var err error
					switch n {
					case 0:
						if err := b.ChangePassword(t.Context(), p); err != nil {
							t.Error(err)
						}
					case 1:
						err = b.AddSession(t.Context(), s)
					case 2:
						_, err = b.Issue(t.Context(), i)
					case 3:
						_, err = b.Issue(t.Context(), byApp)
					}
					if err != nil && !errors.Is(err, oauth.ErrNotFound) {
						t.Error(err)
					}
				})
				b.noSession(s.Hash, start())
				b.noAccess(i.Access, start())
				b.noAccess(byApp.Access, start())
			}
		},
		"at once: one succeeds": func(t *testing.T, b *bench) {
			u := b.user()
			var changed atomic.Int32
			together(20, func(int) {
				p := change(u)
				p.New, p.Session = fmt.Sprint("hash ", b.serial()), b.newSession(u.ID)
				err := b.ChangePassword(t.Context(), p, noted(u.ID, "one"))
				if err == nil {
					changed.Add(1)
				} else if !errors.Is(err, oauth.ErrNotFound) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, changed.Load())
			require.Len(t, b.live(u.ID, start()), 1)
			require.Len(t, b.recorded(u.ID), 1)
		},
		"leave no code that is redeemed meanwhile": func(t *testing.T, b *bench) {
			c := b.commercial()
			for range 10 {
				code := b.code(c)
				r := b.redemption(code, start())
				together(2, func(i int) {
					if i == 0 {
						if err := b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: c.OwnerID, New: "new", EndTokens: true, Now: start()}); err != nil {
							t.Error(err)
						}
					} else if _, err := b.Redeem(t.Context(), r); err != nil && !errors.Is(err, oauth.ErrNotFound) {
						t.Error(err)
					}
				})
				b.noAccess(r.Access, start())
			}
		},
	}
}

func accounts() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"of operators are marked": func(t *testing.T, b *bench) {
			u, other := b.user(), b.user()
			for _, operator := range []bool{true, true, false} {
				require.NoError(t, b.SetOperator(t.Context(), u.ID, operator, noted(u.ID, "operator")))
				u.Operator = operator
				b.hasUser(u)
			}
			b.hasUser(other)
			require.Len(t, b.recorded(u.ID), 3)
			require.ErrorIs(t, b.SetOperator(t.Context(), other.ID+1, true, noted(u.ID, "operator")), oauth.ErrNotFound)
			require.Len(t, b.recorded(u.ID), 3)
		},
		"may take app passwords only": func(t *testing.T, b *bench) {
			u, other := b.user(), b.user()
			for _, only := range []bool{true, true, false} {
				require.NoError(t, b.SetAppPasswordsOnly(t.Context(), u.ID, only, noted(u.ID, "only")))
				u.AppPasswordsOnly = only
				b.hasUser(u)
			}
			b.hasUser(other)
			require.Len(t, b.recorded(u.ID), 3)
			require.ErrorIs(t, b.SetAppPasswordsOnly(t.Context(), other.ID+1, true), oauth.ErrNotFound)
			s := b.sessionOf(u.ID)
			require.NoError(t, b.SetAppPasswordsOnly(t.Context(), u.ID, true))
			got, err := b.Session(t.Context(), s.Hash, start())
			require.NoError(t, err)
			require.True(t, got.AppPasswordsOnly, "who is signed in is the same user")
		},
	}
}

func browsers() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are a user's live sessions, the latest first": func(t *testing.T, b *bench) {
			u := b.user()
			b.session()
			var want []oauth.Session
			for i := range 3 {
				s := b.newSession(u.ID)
				s.CreatedAt, s.ExpiresAt = start().Add(time.Duration(i)*time.Minute), start().Add(time.Duration(i+1)*time.Hour)
				require.NoError(t, b.AddSession(t.Context(), s, noted(u.ID, "began")))
				s.CreatedAt, s.ExpiresAt = asStored(s.CreatedAt), asStored(s.ExpiresAt)
				want = append([]oauth.Session{s}, want...)
			}
			got, err := b.Sessions(t.Context(), u.ID, start(), 100)
			require.NoError(t, err)
			equal(t, want, got)
			got, err = b.Sessions(t.Context(), u.ID, start(), 2)
			require.NoError(t, err)
			equal(t, want[:2], got)
			got, err = b.Sessions(t.Context(), u.ID, start().Add(time.Hour), 100)
			require.NoError(t, err)
			equal(t, want[:2], got)
			for _, limit := range []int{0, -1} {
				got, err = b.Sessions(t.Context(), u.ID, start(), limit)
				require.NoError(t, err)
				require.Empty(t, got)
			}
			require.Len(t, b.recorded(u.ID), 3)
		},
		"tell when they were used, with what and from where": func(t *testing.T, b *bench) {
			s, other := b.session(), b.session()
			use := oauth.SessionUse{SeenAt: asStored(start().Add(time.Minute)), Agent: "Firefox, Linux", Address: "2001:db8::1"}
			for _, noting := range []oauth.SessionUse{use, {SeenAt: asStored(start()), Agent: "earlier"}} {
				require.NoError(t, b.NoteUses(t.Context(), oauth.Uses{Sessions: map[oauth.Hash]oauth.SessionUse{s.Hash: noting, b.hash(): noting}}))
				got, err := b.Sessions(t.Context(), s.UserID, start(), 1)
				require.NoError(t, err)
				require.Equal(t, use, got[0].SessionUse, "the latest stays")
			}
			got, err := b.Sessions(t.Context(), other.UserID, start(), 1)
			require.NoError(t, err)
			require.Zero(t, got[0].SessionUse)
			for name, text := range unstorable() {
				require.Error(t, b.NoteUses(t.Context(), oauth.Uses{Sessions: map[oauth.Hash]oauth.SessionUse{s.Hash: {SeenAt: start().Add(time.Hour), Agent: text}}}), name)
			}
		},
		"are ended one by one, by whose they are": func(t *testing.T, b *bench) {
			s := b.session()
			second, foreign := b.sessionOf(s.UserID), b.session()
			for _, hash := range []oauth.Hash{foreign.Hash, b.hash(), {}} {
				require.ErrorIs(t, b.EndSessionOf(t.Context(), s.UserID, hash, noted(s.UserID, "ended")), oauth.ErrNotFound)
			}
			require.Empty(t, b.recorded(s.UserID))
			require.NoError(t, b.EndSessionOf(t.Context(), s.UserID, s.Hash, noted(s.UserID, "ended")))
			require.ErrorIs(t, b.EndSessionOf(t.Context(), s.UserID, s.Hash), oauth.ErrNotFound)
			require.Equal(t, []oauth.Hash{second.Hash}, b.live(s.UserID, start()))
			require.Equal(t, []oauth.Hash{foreign.Hash}, b.live(foreign.UserID, start()))
			require.Equal(t, []oauth.Action{"ended"}, b.recorded(s.UserID))
		},
		"are ended all but one": func(t *testing.T, b *bench) {
			s, foreign := b.session(), b.session()
			b.sessionOf(s.UserID)
			b.sessionOf(s.UserID)
			for _, want := range []int{2, 0} {
				n, err := b.EndOtherSessions(t.Context(), s.UserID, s.Hash, noted(s.UserID, "ended"))
				require.NoError(t, err)
				require.Equal(t, want, n)
			}
			require.Equal(t, []oauth.Hash{s.Hash}, b.live(s.UserID, start()))
			require.Equal(t, []oauth.Hash{foreign.Hash}, b.live(foreign.UserID, start()))
			require.Equal(t, []oauth.Action{"ended"}, b.recorded(s.UserID), "once: the second time nothing ended")
		},
	}
}

// appPassword gives a personal application an app password.
func (b *bench) appPassword(clientID, name string) oauth.AppPassword {
	b.t.Helper()
	p := oauth.AppPassword{ClientID: clientID, Name: name, Hash: b.hash(), CreatedAt: asStored(start().Add(time.Duration(b.serial()) * time.Second))}
	require.NoError(b.t, b.AddAppPassword(b.t.Context(), p, 20))
	return p
}

func (b *bench) appPasswords(clientID string) (names []string) {
	b.t.Helper()
	passwords, err := b.AppPasswords(b.t.Context(), clientID, 100)
	require.NoError(b.t, err)
	for _, p := range passwords {
		names = append(names, p.Name)
	}
	return names
}

func appPasswords() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are found in their application only": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			want := b.appPassword(c.ID, "Küche")
			got, err := b.AppPassword(t.Context(), c.ID, want.Hash)
			require.NoError(t, err)
			require.Positive(t, got.ID)
			want.ID = got.ID
			equal(t, want, got)
			for _, at := range []struct {
				client string
				hash   oauth.Hash
			}{{other.ID, want.Hash}, {c.ID, b.hash()}, {"", want.Hash}, {"a\x00b", want.Hash}} {
				got, err := b.AppPassword(t.Context(), at.client, at.hash)
				require.ErrorIs(t, err, oauth.ErrNotFound, at.client)
				require.Zero(t, got)
			}
		},
		"are listed the newest first": func(t *testing.T, b *bench) {
			c := b.client()
			for _, name := range []string{"one", "two", "three"} {
				b.appPassword(c.ID, name)
			}
			b.appPassword(b.client().ID, "foreign")
			require.Equal(t, []string{"three", "two", "one"}, b.appPasswords(c.ID))
			some, err := b.AppPasswords(t.Context(), c.ID, 2)
			require.NoError(t, err)
			require.Len(t, some, 2)
			for _, limit := range []int{0, -1} {
				some, err = b.AppPasswords(t.Context(), c.ID, limit)
				require.NoError(t, err)
				require.Empty(t, some)
			}
		},
		"have different names and hashes": func(t *testing.T, b *bench) {
			c := b.client()
			p := b.appPassword(c.ID, "one")
			again := p
			again.Hash = b.hash()
			require.ErrorIs(t, b.AddAppPassword(t.Context(), again, 20, noted(c.OwnerID, "added")), oauth.ErrExists)
			again = p
			again.Name = "two"
			require.ErrorIs(t, b.AddAppPassword(t.Context(), again, 20, noted(c.OwnerID, "added")), oauth.ErrExists)
			require.Empty(t, b.recorded(c.OwnerID))
			b.appPassword(b.client().ID, "one")
		},
		"belong to a personal application": func(t *testing.T, b *bench) {
			for _, id := range []string{b.commercial().ID, "unknown", ""} {
				err := b.AddAppPassword(t.Context(), oauth.AppPassword{ClientID: id, Name: "n", Hash: b.hash(), CreatedAt: start()}, 20)
				require.ErrorIs(t, err, oauth.ErrNotFound, id)
			}
		},
		"do not keep what is no text": func(t *testing.T, b *bench) {
			c := b.client()
			for name, text := range unstorable() {
				err := b.AddAppPassword(t.Context(), oauth.AppPassword{ClientID: c.ID, Name: text, Hash: b.hash(), CreatedAt: start()}, 20)
				require.Error(t, err, name)
				require.NotErrorIs(t, err, oauth.ErrExists, name)
			}
			require.Empty(t, b.appPasswords(c.ID))
		},
		"are never too many, at once either": func(t *testing.T, b *bench) {
			c := b.client()
			var added atomic.Int32
			together(20, func(i int) {
				p := oauth.AppPassword{ClientID: c.ID, Name: fmt.Sprint(i), Hash: b.hash(), CreatedAt: start()}
				err := b.AddAppPassword(t.Context(), p, 5, noted(c.OwnerID, "added"))
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, oauth.ErrTooMany) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 5, added.Load())
			require.Len(t, b.appPasswords(c.ID), 5)
			require.Len(t, b.recorded(c.OwnerID), 5)
		},
		"tell when they were last used": func(t *testing.T, b *bench) {
			c := b.client()
			p := b.appPassword(c.ID, "one")
			found, err := b.AppPassword(t.Context(), c.ID, p.Hash)
			require.NoError(t, err)
			latest := start().Add(time.Hour)
			for _, now := range []time.Time{start(), latest, start()} {
				require.NoError(t, b.TouchAppPassword(t.Context(), found.ID, now))
			}
			require.NoError(t, b.TouchAppPassword(t.Context(), found.ID+1000, latest))
			found, err = b.AppPassword(t.Context(), c.ID, p.Hash)
			require.NoError(t, err)
			require.Equal(t, asStored(latest), found.LastUsedAt)
		},
		"end when they are removed": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			p := b.appPassword(c.ID, "one")
			b.appPassword(c.ID, "two")
			found, err := b.AppPassword(t.Context(), c.ID, p.Hash)
			require.NoError(t, err)
			require.ErrorIs(t, b.RemoveAppPassword(t.Context(), other.ID, found.ID, noted(c.OwnerID, "removed")), oauth.ErrNotFound)
			require.NoError(t, b.RemoveAppPassword(t.Context(), c.ID, found.ID, noted(c.OwnerID, "removed")))
			require.ErrorIs(t, b.RemoveAppPassword(t.Context(), c.ID, found.ID, noted(c.OwnerID, "removed")), oauth.ErrNotFound)
			require.Equal(t, []string{"two"}, b.appPasswords(c.ID))
			require.Equal(t, []oauth.Action{"removed"}, b.recorded(c.OwnerID))
		},
	}
}

func requests() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are the pending clients, the oldest first": func(t *testing.T, b *bench) {
			b.commercial()
			var want []oauth.Client
			for i := range 3 {
				c := b.newCommercial()
				c.Status, c.CreatedAt = oauth.Pending, start().Add(-time.Duration(i)*time.Hour)
				c.Secrets = append(c.Secrets, oauth.Secret{Hash: b.hash(), CreatedAt: start()})
				require.NoError(t, b.AddClient(t.Context(), c))
				want = append([]oauth.Client{c}, want...)
			}
			got, err := b.PendingClients(t.Context(), 100)
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for i := range want {
				sameClient(t, want[i], got[i])
			}
			got, err = b.PendingClients(t.Context(), 1)
			require.NoError(t, err)
			require.Len(t, got, 1)
			require.Equal(t, want[0].ID, got[0].ID)
			for _, limit := range []int{0, -1} {
				got, err = b.PendingClients(t.Context(), limit)
				require.NoError(t, err)
				require.Empty(t, got)
			}
			require.NoError(t, b.Decide(t.Context(), want[0].ID, oauth.Rejected, "no"))
			got, err = b.PendingClients(t.Context(), 100)
			require.NoError(t, err)
			require.Len(t, got, 2)
		},
		"are decided on with a reason, and noted": func(t *testing.T, b *bench) {
			operator := b.user()
			c := b.newCommercial()
			c.Status = oauth.Pending
			require.NoError(t, b.AddClientWithin(t.Context(), c, oauth.Room{Alike: 5}, noted(c.OwnerID, "requested")))
			require.NoError(t, b.Decide(t.Context(), c.ID, oauth.Rejected, "No home page.", noted(c.OwnerID, "rejected"), noted(operator.ID, "rejected")))
			require.ErrorIs(t, b.Decide(t.Context(), c.ID, oauth.Active, "", noted(c.OwnerID, "approved")), oauth.ErrNotFound)
			c.Status, c.Rejection = oauth.Rejected, "No home page."
			b.hasClient(c)
			require.Equal(t, []oauth.Action{"rejected", "requested"}, b.recorded(c.OwnerID))
			require.Equal(t, []oauth.Action{"rejected"}, b.recorded(operator.ID))
		},
	}
}

func notes() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are written with what they are about, or not at all": func(t *testing.T, b *bench) {
			c := b.commercial()
			owner := c.OwnerID
			require.NoError(t, b.AddSecret(t.Context(), c.ID, oauth.Secret{Hash: b.hash(), CreatedAt: start()}, noted(owner, "added")))
			require.Error(t, b.AddSecret(t.Context(), c.ID, oauth.Secret{Hash: b.hash(), CreatedAt: start()}, noted(owner, "too many")))
			c, err := b.Client(t.Context(), c.ID)
			require.NoError(t, err)
			require.NoError(t, b.RemoveSecret(t.Context(), c.ID, c.Secrets[0].ID, noted(owner, "removed")))
			require.Error(t, b.RemoveSecret(t.Context(), c.ID, c.Secrets[0].ID, noted(owner, "removed again")))
			code := b.newCode(c)
			require.NoError(t, b.AddCode(t.Context(), code, noted(owner, "connected")))
			require.ErrorIs(t, b.AddCode(t.Context(), code, noted(owner, "connected again")), oauth.ErrExists)
			for range 2 {
				_, err := b.Disconnect(t.Context(), owner, c.ID, start(), noted(owner, "disconnected"))
				require.NoError(t, err)
			}
			require.ErrorIs(t, b.AddClientWithin(t.Context(), c, oauth.Room{Alike: 5}, noted(owner, "created again")), oauth.ErrExists)
			require.ErrorIs(t, b.AddClient(t.Context(), c, noted(owner, "created again")), oauth.ErrExists)
			require.NoError(t, b.AddClient(t.Context(), b.of(owner, oauth.Personal, oauth.Active), noted(owner, "created")))
			require.Equal(t, []oauth.Action{"created", "disconnected", "connected", "removed", "added"}, b.recorded(owner))
		},
		"name the application as it is called": func(t *testing.T, b *bench) {
			c := b.client()
			n := noted(c.OwnerID, "one")
			n.ClientID = c.ID
			require.NoError(t, b.Note(t.Context(), n))
			got, err := b.Changes(t.Context(), c.OwnerID, 0, 1)
			require.NoError(t, err)
			n.ID, n.ClientName, n.At = got[0].ID, c.Name, asStored(n.At)
			equal(t, []oauth.Change{n}, got)
		},
		"about an unknown user undo what they are about": func(t *testing.T, b *bench) {
			s := b.newSession(b.user().ID)
			require.ErrorIs(t, b.AddSession(t.Context(), s, noted(s.UserID+1000, "began")), oauth.ErrNotFound)
			b.noSession(s.Hash, start())
		},
		"are purged in their time": func(t *testing.T, b *bench) {
			u := b.user()
			for i := range 5 {
				n := noted(u.ID, oauth.Action(fmt.Sprint(i)))
				n.At = start().Add(time.Duration(i) * time.Hour)
				require.NoError(t, b.Note(t.Context(), n))
			}
			purge := func(before time.Time, limit, want int) {
				n, err := b.PurgeChanges(t.Context(), before, limit)
				require.NoError(t, err)
				require.Equal(t, want, n)
			}
			purge(start(), 10, 0)
			purge(start().Add(4*time.Hour), 0, 0)
			purge(start().Add(4*time.Hour), -1, 0)
			purge(start().Add(4*time.Hour), 3, 3)
			purge(start().Add(4*time.Hour), 3, 1)
			require.Equal(t, []oauth.Action{"4"}, b.recorded(u.ID))
		},
	}
}

func grantUses() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are noted, and the latest stays": func(t *testing.T, b *bench) {
			f := b.consented()
			want := b.grant(f)
			b.lists(f.UserID, start(), want)
			access, err := b.Access(t.Context(), f.Access, start())
			require.NoError(t, err)
			grantID := access.GrantID
			want.LastUsedAt = asStored(start().Add(time.Hour))
			for _, at := range []time.Time{want.LastUsedAt, start()} {
				require.NoError(t, b.NoteUses(t.Context(), oauth.Uses{Grants: map[int64]time.Time{grantID: at, grantID + 1000: at}}))
				b.lists(f.UserID, start(), want)
			}
			second := b.later(f, time.Minute, func(*oauth.Issuance) {})
			b.lists(f.UserID, second.Now, want)
		},
		"may be none": func(t *testing.T, b *bench) {
			require.NoError(t, b.NoteUses(t.Context(), oauth.Uses{}))
		},
		"disturb nobody": func(t *testing.T, b *bench) {
			c := b.client()
			var families []family
			uses := oauth.Uses{Grants: map[int64]time.Time{}}
			for range 8 {
				f := b.issueTo(c, start())
				access, err := b.Access(t.Context(), f.Access, start())
				require.NoError(t, err)
				families, uses.Grants[access.GrantID] = append(families, f), start()
			}
			together(16, func(i int) {
				if i%2 == 0 {
					if err := b.NoteUses(t.Context(), uses); err != nil {
						t.Error(err)
					}
				} else if _, err := b.Rotate(t.Context(), b.rotation(families[i/2], families[i/2].Refresh, start())); err != nil {
					t.Error(err)
				}
			})
		},
	}
}

func accountContexts() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"that has ended stops every call about accounts": func(t *testing.T, b *bench) {
			c, s := b.client(), b.session()
			p := b.appPassword(c.ID, "one")
			ctx := ended(t)
			for name, call := range map[string]func(context.Context) error{
				"ChangePassword": func(ctx context.Context) error {
					return b.ChangePassword(ctx, oauth.PasswordChange{UserID: s.UserID, New: "n"})
				},
				"SetOperator":         func(ctx context.Context) error { return b.SetOperator(ctx, s.UserID, true) },
				"SetAppPasswordsOnly": func(ctx context.Context) error { return b.SetAppPasswordsOnly(ctx, s.UserID, true) },
				"Sessions":            func(ctx context.Context) error { return second(b.Sessions(ctx, s.UserID, start(), 1)) },
				"EndSessionOf":        func(ctx context.Context) error { return b.EndSessionOf(ctx, s.UserID, s.Hash) },
				"EndOtherSessions":    func(ctx context.Context) error { return second(b.EndOtherSessions(ctx, s.UserID, b.hash())) },
				"AddAppPassword": func(ctx context.Context) error {
					return b.AddAppPassword(ctx, oauth.AppPassword{ClientID: c.ID, Name: "two", Hash: b.hash()}, 20)
				},
				"AppPasswords":      func(ctx context.Context) error { return second(b.AppPasswords(ctx, c.ID, 1)) },
				"AppPassword":       func(ctx context.Context) error { return second(b.AppPassword(ctx, c.ID, p.Hash)) },
				"TouchAppPassword":  func(ctx context.Context) error { return b.TouchAppPassword(ctx, 1, start()) },
				"RemoveAppPassword": func(ctx context.Context) error { return b.RemoveAppPassword(ctx, c.ID, 1) },
				"PendingClients":    func(ctx context.Context) error { return second(b.PendingClients(ctx, 1)) },
				"NoteUses": func(ctx context.Context) error {
					return b.NoteUses(ctx, oauth.Uses{Grants: map[int64]time.Time{1: start()}})
				},
				"PurgeChanges": func(ctx context.Context) error { return second(b.PurgeChanges(ctx, start(), 1)) },
			} {
				require.ErrorIs(t, call(ctx), context.Canceled, name)
				require.ErrorIs(t, call(late(t)), oauth.ErrUnavailable, name)
			}
			require.Equal(t, []oauth.Hash{s.Hash}, b.live(s.UserID, start()))
			require.Equal(t, []string{"one"}, b.appPasswords(c.ID))
		},
	}
}
