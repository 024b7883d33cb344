package oauthtest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

const (
	deviceLife  = 10 * time.Minute
	devicePace  = 5 * time.Second
	deviceSlack = time.Second
)

// newDeviceCode is a code that is yet to be added.
func (b *bench) newDeviceCode(c oauth.Client) oauth.DeviceCode {
	return oauth.DeviceCode{
		Hash: b.hash(), UserCode: b.hash(), ClientID: c.ID,
		Now: start(), ExpiresAt: start().Add(deviceLife), Interval: devicePace,
	}
}

func (b *bench) deviceCode(c oauth.Client) oauth.DeviceCode {
	b.t.Helper()
	code := b.newDeviceCode(c)
	require.NoError(b.t, b.AddDeviceCode(b.t.Context(), code, 100))
	return code
}

// poll asks to redeem a code as its client should.
func (b *bench) poll(c oauth.DeviceCode, now time.Time) oauth.DevicePoll {
	return oauth.DevicePoll{
		Code: c.Hash, Slack: deviceSlack, Grow: devicePace,
		Issuance: oauth.Issuance{
			ClientID: c.ClientID, GrantType: oauth.GrantDevice, Access: b.hash(), Refresh: b.hash(), Now: now,
			AccessExpiresAt: now.Add(accessLife), RefreshExpiresAt: now.Add(refreshLife),
		},
	}
}

// polls checks what a poll finds, and that it gives no tokens.
func (b *bench) polls(c oauth.DeviceCode, now time.Time, want oauth.DeviceState) {
	b.t.Helper()
	p := b.poll(c, now)
	got, err := b.PollDevice(b.t.Context(), p)
	require.NoError(b.t, err)
	require.Equal(b.t, want, got)
	b.noAccess(p.Issuance.Access, now)
	b.noToken(p.Issuance.Refresh, now)
}

func (b *bench) notPolled(p oauth.DevicePoll) {
	b.t.Helper()
	got, err := b.PollDevice(b.t.Context(), p)
	require.ErrorIs(b.t, err, oauth.ErrNotFound)
	require.Zero(b.t, got)
	b.noAccess(p.Issuance.Access, p.Issuance.Now)
}

// answers has the owner of the client answer.
func (b *bench) answers(c oauth.Client, code oauth.DeviceCode, approve bool, now time.Time) {
	b.t.Helper()
	require.NoError(b.t, b.AnswerDevice(b.t.Context(), oauth.DeviceAnswer{UserCode: code.UserCode, UserID: c.OwnerID, Approve: approve, Now: now}))
}

func devices() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Second)
	pending := func(interval time.Duration) oauth.DeviceState {
		return oauth.DeviceState{Outcome: oauth.DevicePending, Interval: interval}
	}
	tooFast := func(interval time.Duration) oauth.DeviceState {
		return oauth.DeviceState{Outcome: oauth.DeviceTooFast, Interval: interval}
	}
	return map[string]func(*testing.T, *bench){
		"get a pair that works, once": func(t *testing.T, b *bench) {
			c := b.client()
			code := b.deviceCode(c)
			found, err := b.DeviceClient(t.Context(), code.UserCode, now)
			require.NoError(t, err)
			require.Equal(t, c.ID, found)
			b.polls(code, now, pending(devicePace))
			require.NoError(t, b.AnswerDevice(t.Context(), oauth.DeviceAnswer{
				UserCode: code.UserCode, UserID: c.OwnerID, Approve: true, Now: now, Change: about(c, "approved"),
			}))
			require.Equal(t, []oauth.Action{"approved"}, b.actions(c.OwnerID))
			p := b.poll(code, now)
			got, err := b.PollDevice(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, oauth.DeviceState{Outcome: oauth.DeviceGranted, UserID: c.OwnerID, GrantID: got.GrantID}, got)
			access, err := b.Access(t.Context(), p.Issuance.Access, now)
			require.NoError(t, err)
			require.Equal(t, got.GrantID, access.GrantID)
			require.Equal(t, c.OwnerID, access.UserID)
			require.Nil(t, access.Scope)
			p.Issuance.UserID = c.OwnerID
			f := family{p.Issuance, got.GrantID}
			b.rotate(f, f.Refresh, now)
			b.notPolled(b.poll(code, now))
			b.access(f.Access, now) // a repeat ends nothing
		},
		"at once: one of many polls gets the tokens": func(t *testing.T, b *bench) {
			const callers = 100
			c := b.client()
			code := b.deviceCode(c)
			b.answers(c, code, true, now)
			var asked [callers]oauth.DevicePoll
			for i := range asked {
				asked[i] = b.poll(code, now)
			}
			var won atomic.Int32
			var winner atomic.Int64
			together(callers, func(i int) {
				state, err := b.PollDevice(t.Context(), asked[i])
				switch {
				case err == nil && state.Outcome == oauth.DeviceGranted:
					won.Add(1)
					winner.Store(int64(i))
				case !errors.Is(err, oauth.ErrNotFound):
					t.Error(state, err)
				}
			})
			require.EqualValues(t, 1, won.Load())
			for i, p := range asked {
				if int64(i) == winner.Load() {
					b.access(p.Issuance.Access, now)
				} else {
					b.noAccess(p.Issuance.Access, now)
					b.noToken(p.Issuance.Refresh, now)
				}
			}
		},
		"at once with the answer get tokens at most once": func(t *testing.T, b *bench) {
			c := b.client()
			for range 10 {
				code := b.deviceCode(c)
				var won atomic.Int32
				together(8, func(i int) {
					if i == 0 {
						if err := b.AnswerDevice(t.Context(), oauth.DeviceAnswer{UserCode: code.UserCode, UserID: c.OwnerID, Approve: true, Now: now}); err != nil {
							t.Error(err)
						}
						return
					}
					state, err := b.PollDevice(t.Context(), b.poll(code, now))
					if err == nil && state.Outcome == oauth.DeviceGranted {
						won.Add(1)
					} else if err != nil && !errors.Is(err, oauth.ErrNotFound) {
						t.Error(err)
					}
				})
				require.LessOrEqual(t, won.Load(), int32(1))
				if won.Load() == 0 {
					state, err := b.PollDevice(t.Context(), b.poll(code, now))
					require.NoError(t, err)
					require.Equal(t, oauth.DeviceGranted, state.Outcome)
				}
			}
		},
		"that poll too fast wait longer each time": func(_ *testing.T, b *bench) {
			code := b.deviceCode(b.client())
			at := now
			for _, poll := range []struct {
				after time.Duration
				want  oauth.DeviceState
			}{
				{0, pending(5 * time.Second)},
				{5 * time.Second, pending(5 * time.Second)},
				{4 * time.Second, pending(5 * time.Second)}, // the slack
				{4*time.Second - time.Microsecond, tooFast(10 * time.Second)},
				{8 * time.Second, tooFast(15 * time.Second)},
				{14 * time.Second, pending(15 * time.Second)},
				{0, tooFast(20 * time.Second)},
			} {
				at = at.Add(poll.after)
				b.polls(code, at, poll.want)
			}
		},
		"that were approved need not wait": func(t *testing.T, b *bench) {
			c := b.client()
			code := b.deviceCode(c)
			b.polls(code, now, pending(devicePace))
			b.answers(c, code, true, now)
			state, err := b.PollDevice(t.Context(), b.poll(code, now))
			require.NoError(t, err)
			require.Equal(t, oauth.DeviceGranted, state.Outcome)
		},
		"are denied": func(t *testing.T, b *bench) {
			c := b.client()
			code := b.deviceCode(c)
			b.answers(c, code, false, now)
			for _, at := range []time.Time{now, code.ExpiresAt.Add(time.Hour)} {
				b.polls(code, at, oauth.DeviceState{Outcome: oauth.DeviceDenied})
			}
			_, err := b.DeviceClient(t.Context(), code.UserCode, now)
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
		"expire, approved or not": func(t *testing.T, b *bench) {
			c := b.client()
			code, approved := b.deviceCode(c), b.deviceCode(c)
			b.answers(c, approved, true, now)
			end := asStored(code.ExpiresAt)
			b.polls(code, end, oauth.DeviceState{Outcome: oauth.DeviceExpired})
			b.polls(approved, end, oauth.DeviceState{Outcome: oauth.DeviceExpired})
			_, err := b.DeviceClient(t.Context(), code.UserCode, end)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			require.ErrorIs(t, b.AnswerDevice(t.Context(), oauth.DeviceAnswer{UserCode: code.UserCode, UserID: c.OwnerID, Now: end}), oauth.ErrNotFound)
			state, err := b.PollDevice(t.Context(), b.poll(approved, end.Add(-time.Microsecond)))
			require.NoError(t, err)
			require.Equal(t, oauth.DeviceGranted, state.Outcome)
		},
		"are answered once, by the client's owner": func(t *testing.T, b *bench) {
			c := b.client()
			code := b.deviceCode(c)
			stranger := oauth.DeviceAnswer{UserCode: code.UserCode, UserID: b.user().ID, Approve: true, Now: now}
			stranger.Change = oauth.Change{UserID: stranger.UserID, Action: "approved", At: now}
			require.ErrorIs(t, b.AnswerDevice(t.Context(), stranger), oauth.ErrNotFound)
			require.Empty(t, b.actions(stranger.UserID))
			require.ErrorIs(t, b.AnswerDevice(t.Context(), oauth.DeviceAnswer{UserCode: code.Hash, UserID: c.OwnerID, Approve: true, Now: now}), oauth.ErrNotFound)
			b.polls(code, now, pending(devicePace))
			var answered atomic.Int32
			together(20, func(i int) {
				err := b.AnswerDevice(t.Context(), oauth.DeviceAnswer{UserCode: code.UserCode, UserID: c.OwnerID, Approve: i%2 == 0, Now: now, Change: about(c, "answered")})
				if err == nil {
					answered.Add(1)
				} else if !errors.Is(err, oauth.ErrNotFound) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, answered.Load())
			require.Len(t, b.actions(c.OwnerID), 1)
		},
		"are known to their client only": func(_ *testing.T, b *bench) {
			c, other := b.client(), b.client()
			code := b.deviceCode(c)
			b.answers(c, code, true, now)
			for _, id := range []string{other.ID, "", "unknown"} {
				p := b.poll(code, now)
				p.Issuance.ClientID = id
				b.notPolled(p)
			}
			for _, hash := range []oauth.Hash{{}, b.hash(), code.UserCode} {
				p := b.poll(code, now)
				p.Code = hash
				b.notPolled(p)
			}
		},
		"have codes of their own": func(t *testing.T, b *bench) {
			c := b.client()
			code := b.deviceCode(c)
			same, alike := b.newDeviceCode(c), b.newDeviceCode(b.client())
			same.Hash, alike.UserCode = code.Hash, code.UserCode
			for _, taken := range []oauth.DeviceCode{same, alike} {
				require.ErrorIs(t, b.AddDeviceCode(t.Context(), taken, 100), oauth.ErrExists)
			}
			unknown := b.newDeviceCode(c)
			unknown.ClientID = "unknown"
			require.ErrorIs(t, b.AddDeviceCode(t.Context(), unknown, 100), oauth.ErrNotFound)
		},
		"are so many and no more of a client, at once either": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			var added atomic.Int32
			together(20, func(int) {
				err := b.AddDeviceCode(t.Context(), b.newDeviceCode(c), 5)
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, oauth.ErrTooMany) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 5, added.Load())
			require.NoError(t, b.AddDeviceCode(t.Context(), b.newDeviceCode(other), 1), "of another client")
			require.ErrorIs(t, b.AddDeviceCode(t.Context(), b.newDeviceCode(other), 1), oauth.ErrTooMany)
			later := b.newDeviceCode(other)
			later.Now = start().Add(deviceLife)
			require.NoError(t, b.AddDeviceCode(t.Context(), later, 1), "the other one has expired")
			answered := b.client()
			b.answers(answered, b.deviceCode(answered), false, now)
			require.NoError(t, b.AddDeviceCode(t.Context(), b.newDeviceCode(answered), 1), "the other one is answered")
		},
		"are purged once they have expired": func(t *testing.T, b *bench) {
			c := b.client()
			code := b.deviceCode(c)
			n, err := b.Purge(t.Context(), asStored(code.ExpiresAt), 10)
			require.NoError(t, err)
			require.Zero(t, n)
			n, err = b.Purge(t.Context(), asStored(code.ExpiresAt).Add(time.Microsecond), 10)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			b.notPolled(b.poll(code, now))
		},
	}
}

func implicits() map[string]func(*testing.T, *bench) {
	issuance := func(b *bench, c oauth.Client) oauth.Issuance {
		return oauth.Issuance{
			ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantImplicit, Scope: oauth.NewScope("gate.read"), Sites: []int64{3},
			Access: b.hash(), Now: start(), AccessExpiresAt: start().Add(accessLife),
		}
	}
	return map[string]func(*testing.T, *bench){
		"gives one token for a consent": func(t *testing.T, b *bench) {
			c := b.commercial()
			i, ticket := issuance(b, c), b.hash()
			require.NoError(t, second(b.IssueImplicit(t.Context(), ticket, i)))
			access, err := b.Access(t.Context(), i.Access, start())
			require.NoError(t, err)
			require.Equal(t, c.OwnerID, access.UserID)
			require.Equal(t, i.Scope, access.Scope)
			require.Equal(t, i.Sites, access.Sites)
			again := issuance(b, c)
			require.ErrorIs(t, second(b.IssueImplicit(t.Context(), ticket, again)), oauth.ErrExists)
			b.noAccess(again.Access, start())
			b.access(i.Access, start())

			code := b.newCode(c)
			code.Ticket = ticket
			require.ErrorIs(t, b.AddCode(t.Context(), code), oauth.ErrExists, "nor a code")
			code = b.code(c)
			require.ErrorIs(t, second(b.IssueImplicit(t.Context(), code.Ticket, issuance(b, c))), oauth.ErrExists, "nor after a code")
			r := b.redemption(code, start())
			r.Code = ticket
			b.notRedeemed(r, oauth.ErrNotFound)
		},
		"with one ticket, by many at once: one token": func(t *testing.T, b *bench) {
			c, ticket := b.commercial(), b.hash()
			var given atomic.Int32
			together(20, func(int) {
				_, err := b.IssueImplicit(t.Context(), ticket, issuance(b, c))
				if err == nil {
					given.Add(1)
				} else if !errors.Is(err, oauth.ErrExists) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, given.Load())
		},
		"needs a client and a user": func(t *testing.T, b *bench) {
			c := b.commercial()
			noClient, noUser := issuance(b, c), issuance(b, c)
			noClient.ClientID = "unknown"
			noUser.UserID += 1000
			for _, i := range []oauth.Issuance{noClient, noUser} {
				require.ErrorIs(t, second(b.IssueImplicit(t.Context(), b.hash(), i)), oauth.ErrNotFound)
				b.noAccess(i.Access, start())
			}
		},
	}
}
