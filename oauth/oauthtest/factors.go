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

func (b *bench) newTOTP(userID int64) oauth.TOTP {
	return oauth.TOTP{UserID: userID, Sealed: []byte{0, 1, 0xff, byte(b.serial())}, LastStep: 100, CreatedAt: start()}
}

func (b *bench) newPasskey(userID int64) oauth.Passkey {
	n := b.serial()
	return oauth.Passkey{
		UserID: userID, CredentialID: fmt.Appendf(nil, "\x00\xff credential %d", n), PublicKey: []byte{0xa5, 0, 1, byte(n)},
		Name: fmt.Sprint("Téléphone ", n), SignCount: math.MaxUint32 - 100, Flags: 0xdd, Transports: []string{"usb", "hybrid"}, CreatedAt: start(),
	}
}

// spent is something that was not spent yet.
func (b *bench) spent() oauth.Spent {
	return oauth.Spent{Hash: b.hash(), ExpiresAt: start().Add(10 * time.Minute)}
}

func (b *bench) hashes(n int) (all []oauth.Hash) {
	for range n {
		all = append(all, b.hash())
	}
	return all
}

func (b *bench) change(userID int64, action oauth.Action) oauth.Change {
	return oauth.Change{UserID: userID, Action: action, ActorID: userID, Address: "192.0.2.1", At: start()}
}

// hasChanges checks the actions in the record of a user, the first one first.
func (b *bench) hasChanges(userID int64, want ...oauth.Action) {
	b.t.Helper()
	changes, err := b.Changes(b.t.Context(), userID, 0, 100)
	require.NoError(b.t, err)
	var got []oauth.Action
	for i := range changes {
		got = append(got, changes[len(changes)-1-i].Action)
	}
	require.Equal(b.t, want, got)
}

func (b *bench) factors(userID int64) oauth.Factors {
	b.t.Helper()
	f, err := b.Factors(b.t.Context(), userID)
	require.NoError(b.t, err)
	return f
}

// addTOTP adds an authenticator app with these recovery codes, as it is stored.
func (b *bench) addTOTP(userID int64, codes ...oauth.Hash) oauth.TOTP {
	b.t.Helper()
	t := b.newTOTP(userID)
	_, err := b.AddTOTP(b.t.Context(), t, codes, b.change(userID, "totp"))
	require.NoError(b.t, err)
	t.CreatedAt = asStored(t.CreatedAt)
	return t
}

// addPasskey adds a passkey, as it is stored.
func (b *bench) addPasskey(userID int64, codes ...oauth.Hash) oauth.Passkey {
	b.t.Helper()
	p := b.newPasskey(userID)
	_, err := b.AddPasskey(b.t.Context(), p, 100, b.spent(), codes, b.change(userID, "passkey"))
	require.NoError(b.t, err)
	all := b.factors(userID).Passkeys
	p.ID, p.CreatedAt = all[len(all)-1].ID, asStored(p.CreatedAt)
	require.Positive(b.t, p.ID)
	return p
}

func factors() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are none at first": func(t *testing.T, b *bench) {
			b.addTOTP(b.user().ID, b.hash())
			b.addPasskey(b.user().ID)
			require.Zero(t, b.factors(b.user().ID))
			require.Zero(t, b.factors(4711))
			_, err := b.Passkey(t.Context(), []byte("unknown"))
			require.ErrorIs(t, err, oauth.ErrNotFound)
			_, err = b.Passkey(t.Context(), nil)
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
		"are found as they were added": func(t *testing.T, b *bench) {
			u := b.user().ID
			totp := b.addTOTP(u, b.hashes(10)...)
			first, second := b.addPasskey(u), b.addPasskey(u)
			equal(t, oauth.Factors{TOTP: &totp, Passkeys: []oauth.Passkey{first, second}, RecoveryCodes: 10}, b.factors(u))
			got, err := b.Passkey(t.Context(), second.CredentialID)
			require.NoError(t, err)
			equal(t, second, got)
			b.hasChanges(u, "totp", "passkey", "passkey")
		},
		"keep any text": func(t *testing.T, b *bench) {
			p := b.newPasskey(b.user().ID)
			p.Name, p.Transports = longText(), []string{longText(), "", "NULL", `{"a"}`}
			_, err := b.AddPasskey(t.Context(), p, 1, b.spent(), nil, oauth.Change{})
			require.NoError(t, err)
			got, err := b.Passkey(t.Context(), p.CredentialID)
			require.NoError(t, err)
			p.ID, p.CreatedAt = got.ID, asStored(p.CreatedAt)
			equal(t, p, got)
		},
		"do not keep what is no text": func(t *testing.T, b *bench) {
			u := b.user().ID
			for name, text := range unstorable() {
				for _, change := range []func(*oauth.Passkey){
					func(p *oauth.Passkey) { p.Name = text },
					func(p *oauth.Passkey) { p.Transports = []string{text} },
				} {
					p := b.newPasskey(u)
					change(&p)
					_, err := b.AddPasskey(t.Context(), p, 1, b.spent(), nil, oauth.Change{})
					require.Error(t, err, name)
					require.NotErrorIs(t, err, oauth.ErrNotFound, name)
				}
			}
			require.Zero(t, b.factors(u))
		},
		"of an unknown user are not found": func(t *testing.T, b *bench) {
			_, err := b.AddTOTP(t.Context(), b.newTOTP(4711), b.hashes(1), b.change(4711, "totp"))
			require.ErrorIs(t, err, oauth.ErrNotFound)
			_, err = b.AddPasskey(t.Context(), b.newPasskey(4711), 1, b.spent(), b.hashes(1), b.change(4711, "passkey"))
			require.ErrorIs(t, err, oauth.ErrNotFound)
			require.ErrorIs(t, b.RemoveTOTP(t.Context(), 4711, oauth.Change{}), oauth.ErrNotFound)
			require.ErrorIs(t, b.RemovePasskey(t.Context(), 4711, 1, oauth.Change{}), oauth.ErrNotFound)
			require.ErrorIs(t, b.SetRecoveryCodes(t.Context(), 4711, b.hashes(1), oauth.Change{}), oauth.ErrNotFound)
			n, err := b.RemoveFactors(t.Context(), 4711, b.change(4711, "removed"))
			require.NoError(t, err)
			require.Zero(t, n)
		},
		"hold one authenticator app": func(t *testing.T, b *bench) {
			u := b.user().ID
			want := b.addTOTP(u)
			fresh, err := b.AddTOTP(t.Context(), b.newTOTP(u), b.hashes(3), b.change(u, "again"))
			require.ErrorIs(t, err, oauth.ErrExists)
			require.False(t, fresh)
			equal(t, oauth.Factors{TOTP: &want}, b.factors(u))
			b.hasChanges(u, "totp")
		},
		"hold each credential once, whosever it is": func(t *testing.T, b *bench) {
			u, other := b.user().ID, b.user().ID
			p := b.addPasskey(u)
			again := b.newPasskey(other)
			again.CredentialID = p.CredentialID
			ceremony := b.spent()
			_, err := b.AddPasskey(t.Context(), again, 10, ceremony, b.hashes(3), b.change(other, "again"))
			require.ErrorIs(t, err, oauth.ErrExists)
			require.Zero(t, b.factors(other))
			b.hasChanges(other)
			_, err = b.AddPasskey(t.Context(), b.newPasskey(other), 10, ceremony, nil, oauth.Change{})
			require.NoError(t, err, "nothing was left behind, the ceremony neither")
		},
		"hold no more passkeys than are allowed": func(t *testing.T, b *bench) {
			u := b.user().ID
			var added atomic.Int32
			together(12, func(int) {
				_, err := b.AddPasskey(t.Context(), b.newPasskey(u), 5, b.spent(), b.hashes(2), b.change(u, "passkey"))
				switch {
				case err == nil:
					added.Add(1)
				case !errors.Is(err, oauth.ErrTooMany):
					t.Error(err)
				}
			})
			require.EqualValues(t, 5, added.Load())
			require.Len(t, b.factors(u).Passkeys, 5)
			require.Equal(t, 2, b.factors(u).RecoveryCodes, "the codes of one")
			b.hasChanges(u, "passkey", "passkey", "passkey", "passkey", "passkey")
		},
		"take a ceremony once": func(t *testing.T, b *bench) {
			u, ceremony := b.user().ID, b.spent()
			var added atomic.Int32
			together(8, func(int) {
				_, err := b.AddPasskey(t.Context(), b.newPasskey(u), 100, ceremony, nil, oauth.Change{})
				switch {
				case err == nil:
					added.Add(1)
				case !errors.Is(err, oauth.ErrSpent):
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, added.Load())
			require.Len(t, b.factors(u).Passkeys, 1)
		},
		"bring recovery codes to who has none left": func(t *testing.T, b *bench) {
			u := b.user().ID
			codes := b.hashes(2)
			fresh, err := b.AddTOTP(t.Context(), b.newTOTP(u), codes, oauth.Change{})
			require.NoError(t, err)
			require.True(t, fresh)
			others := b.hashes(3)
			fresh, err = b.AddPasskey(t.Context(), b.newPasskey(u), 9, b.spent(), others, oauth.Change{})
			require.NoError(t, err)
			require.False(t, fresh)
			require.Equal(t, 2, b.factors(u).RecoveryCodes)
			_, err = b.UseRecoveryCode(t.Context(), u, others[0], b.spent(), oauth.Change{})
			require.ErrorIs(t, err, oauth.ErrNotFound)
			for _, code := range codes {
				_, err = b.UseRecoveryCode(t.Context(), u, code, b.spent(), oauth.Change{})
				require.NoError(t, err)
			}
			fresh, err = b.AddPasskey(t.Context(), b.newPasskey(u), 9, b.spent(), others, oauth.Change{})
			require.NoError(t, err)
			require.True(t, fresh)
			require.Equal(t, 3, b.factors(u).RecoveryCodes)
		},
		"go one by one, and with the last one the recovery codes": func(t *testing.T, b *bench) {
			u, other := b.user().ID, b.user().ID
			b.addTOTP(other, b.hashes(4)...)
			totp := b.addTOTP(u, b.hashes(10)...)
			first, second := b.addPasskey(u), b.addPasskey(u)
			require.NoError(t, b.RemovePasskey(t.Context(), u, first.ID, b.change(u, "gone")))
			equal(t, oauth.Factors{TOTP: &totp, Passkeys: []oauth.Passkey{second}, RecoveryCodes: 10}, b.factors(u))
			require.NoError(t, b.RemoveTOTP(t.Context(), u, b.change(u, "gone")))
			equal(t, oauth.Factors{Passkeys: []oauth.Passkey{second}, RecoveryCodes: 10}, b.factors(u))
			require.NoError(t, b.RemovePasskey(t.Context(), u, second.ID, b.change(u, "gone")))
			require.Zero(t, b.factors(u))
			require.Equal(t, 4, b.factors(other).RecoveryCodes)

			require.ErrorIs(t, b.RemoveTOTP(t.Context(), u, b.change(u, "not there")), oauth.ErrNotFound)
			require.ErrorIs(t, b.RemovePasskey(t.Context(), u, second.ID, b.change(u, "not there")), oauth.ErrNotFound)
			b.hasChanges(u, "totp", "passkey", "passkey", "gone", "gone", "gone")
		},
		"are removed by their owner alone": func(t *testing.T, b *bench) {
			u, other := b.user().ID, b.user().ID
			p := b.addPasskey(u)
			require.ErrorIs(t, b.RemovePasskey(t.Context(), other, p.ID, b.change(other, "theft")), oauth.ErrNotFound)
			equal(t, oauth.Factors{Passkeys: []oauth.Passkey{p}}, b.factors(u))
			b.hasChanges(other)
		},
		"go all at once": func(t *testing.T, b *bench) {
			u, other := b.user().ID, b.user().ID
			b.addPasskey(other)
			b.addTOTP(u, b.hashes(10)...)
			b.addPasskey(u)
			n, err := b.RemoveFactors(t.Context(), u, b.change(u, "removed"))
			require.NoError(t, err)
			require.Equal(t, 2, n)
			require.Zero(t, b.factors(u))
			require.Len(t, b.factors(other).Passkeys, 1)
			n, err = b.RemoveFactors(t.Context(), u, b.change(u, "nothing"))
			require.NoError(t, err)
			require.Zero(t, n)
			b.hasChanges(u, "totp", "passkey", "removed")
		},
		"added and removed at once leave codes to those alone who have a factor": func(t *testing.T, b *bench) {
			u := b.user().ID
			b.addTOTP(u, b.hashes(10)...)
			together(8, func(i int) {
				var err error
				if i%2 == 0 {
					_, err = b.RemoveFactors(t.Context(), u, oauth.Change{})
				} else {
					_, err = b.AddPasskey(t.Context(), b.newPasskey(u), 100, b.spent(), b.hashes(10), oauth.Change{})
				}
				if err != nil {
					t.Error(err)
				}
			})
			f := b.factors(u)
			want := 0
			if f.Any() {
				want = 10
			}
			require.Equal(t, want, f.RecoveryCodes)
		},
		"have their recovery codes replaced": func(t *testing.T, b *bench) {
			u := b.user().ID
			old, fresh := b.hashes(10), b.hashes(7)
			require.ErrorIs(t, b.SetRecoveryCodes(t.Context(), u, fresh, b.change(u, "too early")), oauth.ErrNotFound)
			b.addPasskey(u, old...)
			require.NoError(t, b.SetRecoveryCodes(t.Context(), u, fresh, b.change(u, "codes")))
			require.Equal(t, 7, b.factors(u).RecoveryCodes)
			_, err := b.UseRecoveryCode(t.Context(), u, old[0], b.spent(), oauth.Change{})
			require.ErrorIs(t, err, oauth.ErrNotFound)
			b.hasChanges(u, "passkey", "codes")
		},
	}
}

func factorUses() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Hour)
	return map[string]func(*testing.T, *bench){
		"of a step happen once, and of no earlier one": func(t *testing.T, b *bench) {
			u, other := b.user().ID, b.user().ID
			totp := b.addTOTP(u)
			b.addTOTP(other)
			for _, step := range []int64{totp.LastStep, totp.LastStep - 1, 0} {
				require.ErrorIs(t, b.UseTOTP(t.Context(), u, step, 0, b.spent(), now), oauth.ErrSpent)
			}
			equal(t, oauth.Factors{TOTP: &totp}, b.factors(u))
			require.NoError(t, b.UseTOTP(t.Context(), u, totp.LastStep+2, 0, b.spent(), now))
			totp.LastStep, totp.LastUsedAt = totp.LastStep+2, asStored(now)
			equal(t, oauth.Factors{TOTP: &totp}, b.factors(u))
			require.ErrorIs(t, b.UseTOTP(t.Context(), u, totp.LastStep-1, 0, b.spent(), now), oauth.ErrSpent)
			require.EqualValues(t, 100, b.factors(other).TOTP.LastStep)
		},
		"of one step at once: one succeeds": func(t *testing.T, b *bench) {
			u := b.user().ID
			b.addTOTP(u)
			var used atomic.Int32
			together(20, func(int) {
				switch err := b.UseTOTP(t.Context(), u, 101, 0, b.spent(), now); {
				case err == nil:
					used.Add(1)
				case !errors.Is(err, oauth.ErrSpent):
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, used.Load())
		},
		"for one sign-in happen once, whatever the factor": func(t *testing.T, b *bench) {
			u := b.user().ID
			code := b.hash()
			b.addTOTP(u, code)
			p := b.addPasskey(u)
			p.SignCount++
			signIn := b.spent()
			var used atomic.Int32
			together(9, func(i int) {
				var err error
				switch i % 3 {
				case 0:
					err = b.UseTOTP(t.Context(), u, int64(200+i), 0, signIn, now)
				case 1:
					err = b.UsePasskey(t.Context(), p, signIn, now)
				default:
					_, err = b.UseRecoveryCode(t.Context(), u, code, signIn, oauth.Change{})
				}
				switch {
				case err == nil:
					used.Add(1)
				case !errors.Is(err, oauth.ErrSpent) && !errors.Is(err, oauth.ErrNotFound):
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, used.Load())
		},
		"that come too late change nothing": func(t *testing.T, b *bench) {
			u := b.user().ID
			code := b.hash()
			totp, p, signIn := b.addTOTP(u, code), b.addPasskey(u), b.spent()
			require.NoError(t, b.UseTOTP(t.Context(), u, 101, 0, signIn, now))
			totp.LastStep, totp.LastUsedAt = 101, asStored(now)
			later := p
			later.SignCount++
			require.ErrorIs(t, b.UseTOTP(t.Context(), u, 102, 0, signIn, now), oauth.ErrSpent)
			require.ErrorIs(t, b.UsePasskey(t.Context(), later, signIn, now), oauth.ErrSpent)
			left, err := b.UseRecoveryCode(t.Context(), u, code, signIn, b.change(u, "used"))
			require.ErrorIs(t, err, oauth.ErrSpent)
			require.Zero(t, left)
			equal(t, oauth.Factors{TOTP: &totp, Passkeys: []oauth.Passkey{p}, RecoveryCodes: 1}, b.factors(u))
			b.hasChanges(u, "totp", "passkey")
		},
		"of a factor that is gone are not found": func(t *testing.T, b *bench) {
			u, other := b.user().ID, b.user().ID
			p := b.addPasskey(other)
			p.SignCount++
			signIn := b.spent()
			require.ErrorIs(t, b.UseTOTP(t.Context(), u, 101, 0, signIn, now), oauth.ErrNotFound)
			_, err := b.UseRecoveryCode(t.Context(), u, b.hash(), signIn, b.change(u, "used"))
			require.ErrorIs(t, err, oauth.ErrNotFound)
			foreign := p
			foreign.UserID = u
			require.ErrorIs(t, b.UsePasskey(t.Context(), foreign, signIn, now), oauth.ErrNotFound)
			require.NoError(t, b.UsePasskey(t.Context(), p, signIn, now), "the sign-in was not spent")
			b.hasChanges(u)
		},
		"of a passkey keep its count and flags": func(t *testing.T, b *bench) {
			p := b.addPasskey(b.user().ID)
			other := b.addPasskey(p.UserID)
			p.SignCount, p.Flags = math.MaxUint32, 0x05
			require.NoError(t, b.UsePasskey(t.Context(), p, b.spent(), now))
			p.LastUsedAt = asStored(now)
			equal(t, oauth.Factors{Passkeys: []oauth.Passkey{p, other}}, b.factors(p.UserID))
		},
		"of a passkey go up in their count, unless it has none": func(t *testing.T, b *bench) {
			p := b.addPasskey(b.user().ID)
			for _, count := range []uint32{p.SignCount, p.SignCount - 1, 0} {
				used := p
				used.SignCount = count
				require.ErrorIs(t, b.UsePasskey(t.Context(), used, b.spent(), now), oauth.ErrSpent, count)
			}
			without := b.newPasskey(p.UserID)
			without.SignCount = 0
			_, err := b.AddPasskey(t.Context(), without, 9, b.spent(), nil, oauth.Change{})
			require.NoError(t, err)
			without, err = b.Passkey(t.Context(), without.CredentialID)
			require.NoError(t, err)
			for range 2 {
				require.NoError(t, b.UsePasskey(t.Context(), without, b.spent(), now))
			}
		},
		"of one count at once: one succeeds": func(t *testing.T, b *bench) {
			p := b.addPasskey(b.user().ID)
			p.SignCount++
			var used atomic.Int32
			together(20, func(int) {
				switch err := b.UsePasskey(t.Context(), p, b.spent(), now); {
				case err == nil:
					used.Add(1)
				case !errors.Is(err, oauth.ErrSpent):
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, used.Load())
		},
		"of a recovery code happen once, and tell what is left": func(t *testing.T, b *bench) {
			u, other := b.user().ID, b.user().ID
			codes := b.hashes(3)
			b.addTOTP(u, codes...)
			b.addTOTP(other, codes...)
			var used atomic.Int32
			together(20, func(int) {
				left, err := b.UseRecoveryCode(t.Context(), u, codes[1], b.spent(), b.change(u, "used"))
				switch {
				case err == nil:
					used.Add(1)
					if left != 2 {
						t.Error(left, "are left")
					}
				case !errors.Is(err, oauth.ErrNotFound):
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, used.Load())
			require.Equal(t, 2, b.factors(u).RecoveryCodes)
			require.Equal(t, 3, b.factors(other).RecoveryCodes, "those of somebody else stay")
			b.hasChanges(u, "totp", "used")
		},
		"are remembered until they expire": func(t *testing.T, b *bench) {
			u := b.user().ID
			b.addTOTP(u)
			signIn := b.spent()
			require.NoError(t, b.UseTOTP(t.Context(), u, 101, 0, signIn, now))
			end := asStored(signIn.ExpiresAt)
			n, err := b.Purge(t.Context(), end, 10)
			require.NoError(t, err)
			require.Zero(t, n)
			require.ErrorIs(t, b.UseTOTP(t.Context(), u, 102, 0, signIn, now), oauth.ErrSpent)
			n, err = b.Purge(t.Context(), end.Add(time.Microsecond), 10)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.NoError(t, b.UseTOTP(t.Context(), u, 102, 0, signIn, now))
			n, err = b.Purge(t.Context(), end.Add(time.Hour), 0)
			require.NoError(t, err)
			require.Zero(t, n, "no more than asked for")
		},
	}
}

func tries() map[string]func(*testing.T, *bench) {
	now, since := start(), start().Add(-time.Minute)
	return map[string]func(*testing.T, *bench){
		"are as many as are allowed, also at once": func(t *testing.T, b *bench) {
			key, other := b.hash(), b.hash()
			var allowed atomic.Int32
			together(30, func(int) {
				id, f, err := b.AddTry(t.Context(), key, now, since, 7)
				switch {
				case err == nil && id > 0:
					allowed.Add(1)
				case !errors.Is(err, oauth.ErrTooMany) || id != 0 || f.Count != 7 || !f.Oldest.Equal(asStored(now)):
					t.Error(id, f, err)
				}
			})
			require.EqualValues(t, 7, allowed.Load())
			f, err := b.Failures(t.Context(), key, since)
			require.NoError(t, err)
			equal(t, oauth.Failures{Count: 7, Oldest: asStored(now)}, f)
			_, f, err = b.AddTry(t.Context(), other, now, since, 1)
			require.NoError(t, err)
			require.Zero(t, f, "it tells of those before")
		},
		"count from the beginning of the window": func(t *testing.T, b *bench) {
			key, first := b.hash(), asStored(now)
			_, _, err := b.AddTry(t.Context(), key, first, since, 1)
			require.NoError(t, err)
			_, _, err = b.AddTry(t.Context(), key, first.Add(time.Minute), first.Add(-time.Microsecond), 1)
			require.ErrorIs(t, err, oauth.ErrTooMany)
			_, _, err = b.AddTry(t.Context(), key, first.Add(time.Minute), first, 1)
			require.NoError(t, err)
		},
		"are taken back by a right code, and by no wrong one": func(t *testing.T, b *bench) {
			u, key := b.user().ID, b.hash()
			b.addTOTP(u)
			wrong, _, err := b.AddTry(t.Context(), key, now, since, 9)
			require.NoError(t, err)
			require.ErrorIs(t, b.UseTOTP(t.Context(), u, 100, wrong, b.spent(), now), oauth.ErrSpent)
			right, _, err := b.AddTry(t.Context(), key, now, since, 9)
			require.NoError(t, err)
			require.NotEqual(t, wrong, right)
			require.NoError(t, b.UseTOTP(t.Context(), u, 101, right, b.spent(), now))
			f, err := b.Failures(t.Context(), key, since)
			require.NoError(t, err)
			require.Equal(t, 1, f.Count)
		},
	}
}
