package oauthtest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// meter judges a personal application by small limits.
func meter() oauth.Meter {
	return oauth.Meter{Mode: oauth.ModeEnforce, Kind: oauth.Personal, Limits: oauth.Limits{Hour: 4, Day: 6}, Lever: oauth.LeverOff}
}

func metered(kind oauth.Kind) oauth.Meter {
	m := meter()
	m.Kind = kind
	return m
}

// noon is a time of which the tests know the minute.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// asks has a client ask for tokens for its owner, and gives what came of it.
func (b *bench) asks(c oauth.Client, at time.Time, m oauth.Meter) (family, oauth.Tally) {
	b.t.Helper()
	i := oauth.Issuance{
		ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantPassword, Meter: m,
		Access: b.hash(), Refresh: b.hash(), Now: at, AccessExpiresAt: at.Add(accessLife), RefreshExpiresAt: at.Add(refreshLife),
	}
	new, err := b.Issue(b.t.Context(), i)
	require.NoError(b.t, err)
	require.Equal(b.t, new.Tally.Outcome == oauth.Issued, new.ID > 0)
	return family{i, new.ID}, new.Tally
}

// wastes has a client ask n times, of which all but a first one are wasteful.
func (b *bench) wastes(c oauth.Client, n int, at time.Time) oauth.Tally {
	b.t.Helper()
	var last oauth.Tally
	for range n {
		_, last = b.asks(c, at, meter())
		require.Equal(b.t, oauth.Issued, last.Outcome)
	}
	return last
}

// approved is a device code of a client that its owner has approved.
func (b *bench) approved(c oauth.Client) oauth.DeviceCode {
	b.t.Helper()
	code := b.deviceCode(c)
	b.answers(c, code, true, start())
	return code
}

// standings checks the counts that a client is judged by.
func (b *bench) standings(c oauth.Client, at time.Time, hour, day int) {
	b.t.Helper()
	got, err := b.Standing(b.t.Context(), c.ID, at)
	require.NoError(b.t, err)
	require.Equal(b.t, oauth.Counts{Hour: hour, Day: day}, got.Counts)
	require.Equal(b.t, []bool{hour == 0, day == 0}, []bool{got.HourFirst.IsZero(), got.DayFirst.IsZero()})
}

func (b *bench) status(c oauth.Client, want oauth.Status) {
	b.t.Helper()
	got, err := b.Client(b.t.Context(), c.ID)
	require.NoError(b.t, err)
	require.Equal(b.t, want, got.Status)
}

func (b *bench) verdicts(c oauth.Client) (all []oauth.Verdict) {
	b.t.Helper()
	for _, r := range b.history(c) {
		all = append(all, r.Verdict)
	}
	return all
}

// history gives the rulings on a client, the oldest first.
func (b *bench) history(c oauth.Client) []oauth.Ruling {
	b.t.Helper()
	rulings, err := b.Verdicts(b.t.Context(), c.ID, 0, 100)
	require.NoError(b.t, err)
	var all []oauth.Ruling
	for i := range rulings {
		all = append(all, rulings[len(rulings)-1-i])
	}
	return all
}

func (b *bench) minutes(c oauth.Client, since time.Time) []oauth.IssuanceMinute {
	b.t.Helper()
	all, err := b.IssuanceMinutes(b.t.Context(), since, "", 1_000)
	require.NoError(b.t, err)
	var own []oauth.IssuanceMinute
	for _, m := range all {
		if m.ClientID == c.ID {
			own = append(own, m)
		}
	}
	return own
}

// intervenes is an intervention of an operator.
func intervenes(c oauth.Client, key string, at time.Time) oauth.Intervention {
	return oauth.Intervention{ClientID: c.ID, Actor: oauth.ByOperator, Key: key, Reason: "because", Lever: oauth.LeverOff, Now: at}
}

func (b *bench) reactivates(c oauth.Client, at time.Time) {
	b.t.Helper()
	did, err := b.Reactivate(b.t.Context(), intervenes(c, "", at))
	require.NoError(b.t, err)
	require.True(b.t, did)
}

func wasteful() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"is a token while another one has more than five minutes left": func(t *testing.T, b *bench) {
			for _, kind := range []oauth.Kind{oauth.Personal, oauth.Commercial} {
				for after, want := range map[time.Duration]bool{
					0: true, accessLife - oauth.Spare - time.Microsecond: true, accessLife - oauth.Spare: false,
					accessLife: false, 2 * accessLife: false, -accessLife: true, // the clock went back
				} {
					c := b.client()
					if kind == oauth.Commercial {
						c = b.commercial()
					}
					_, tally := b.asks(c, noon(), metered(kind))
					require.False(t, tally.Wasteful, "the first one")
					_, tally = b.asks(c, noon().Add(after), metered(kind))
					require.Equal(t, want, tally.Wasteful, "%s after %s", kind, after)
				}
			}
		},
		"is not what another person or application holds": func(t *testing.T, b *bench) {
			c, other, person := b.commercial(), b.commercial(), b.user()
			for _, of := range []oauth.Client{c, other, {ID: c.ID, OwnerID: person.ID}, {ID: c.ID}} {
				for _, want := range []bool{false, true} {
					_, tally := b.asks(of, noon(), metered(oauth.Commercial))
					require.Equal(t, want, tally.Wasteful)
				}
			}
		},
		"is a token although the application gave back what it held": func(t *testing.T, b *bench) {
			for name, gives := range map[string]func(oauth.Client, family){
				"the access token": func(c oauth.Client, f family) { require.NoError(t, b.Revoke(t.Context(), c.ID, f.Access, noon())) },
				"the grant":        func(c oauth.Client, f family) { require.NoError(t, b.Revoke(t.Context(), c.ID, f.Refresh, noon())) },
				"both": func(c oauth.Client, f family) {
					require.NoError(t, b.Revoke(t.Context(), c.ID, f.Access, noon()))
					require.NoError(t, b.Revoke(t.Context(), c.ID, f.Refresh, noon()))
				},
				"by reuse": func(_ oauth.Client, f family) {
					b.rotate(f, f.Refresh, noon().Add(-2*grace))
					reused, err := b.Rotate(t.Context(), b.rotation(f, f.Refresh, noon()))
					require.NoError(t, err)
					require.Equal(t, oauth.Reuse, reused.Outcome)
				},
				"and the person ended it then": func(c oauth.Client, f family) {
					require.NoError(t, b.Revoke(t.Context(), c.ID, f.Refresh, noon()))
					b.disconnects(c.OwnerID, c.ID, noon(), 0)
				},
			} {
				c := b.client()
				first, _ := b.asks(c, noon(), meter())
				gives(c, first)
				_, tally := b.asks(c, noon().Add(accessLife-oauth.Spare-time.Second), meter())
				require.True(t, tally.Wasteful, name)
			}
			c := b.client()
			first, _ := b.asks(c, noon(), meter())
			require.NoError(t, b.Revoke(t.Context(), c.ID, first.Refresh, noon()))
			_, tally := b.asks(c, noon().Add(accessLife-oauth.Spare), meter())
			require.False(t, tally.Wasteful, "it would have expired by now")
		},
		"is a refresh after the access token was given back": func(t *testing.T, b *bench) {
			c := b.client()
			f, _ := b.asks(c, noon(), meter())
			require.NoError(t, b.Revoke(t.Context(), c.ID, f.Access, noon()))
			r := b.rotation(f, f.Refresh, noon())
			r.Meter = meter()
			rotated, err := b.Rotate(t.Context(), r)
			require.NoError(t, err)
			require.True(t, rotated.Tally.Wasteful)
		},
		"is not what the person or an operator has ended": func(t *testing.T, b *bench) {
			for name, ends := range map[string]func(oauth.Client){
				"disconnected": func(c oauth.Client) { b.disconnects(c.OwnerID, c.ID, noon(), 1) },
				"with a new password": func(c oauth.Client) {
					require.NoError(t, b.ChangePassword(t.Context(), oauth.PasswordChange{UserID: c.OwnerID, New: "new", EndTokens: true, Now: noon()}))
				},
			} {
				for _, kind := range []oauth.Kind{oauth.Personal, oauth.Commercial} {
					c := b.client()
					if kind == oauth.Commercial {
						c = b.commercial()
					}
					f, _ := b.asks(c, noon(), metered(kind))
					require.NoError(t, b.Revoke(t.Context(), c.ID, f.Access, noon()), "of which it gave a token back")
					ends(c)
					_, tally := b.asks(c, noon(), metered(kind))
					require.False(t, tally.Wasteful, name)
					_, tally = b.asks(c, noon(), metered(kind))
					require.True(t, tally.Wasteful, "which is a new beginning")
				}
			}
		},
		"is a refresh too early, and a code": func(t *testing.T, b *bench) {
			c := b.commercial()
			code := b.code(c)
			r := b.redemption(code, start())
			r.Meter = metered(oauth.Commercial)
			redeemed, err := b.Redeem(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, oauth.Tally{}, redeemed.Tally)
			f := family{oauth.Issuance{ClientID: c.ID, UserID: c.OwnerID, Refresh: r.Refresh}, redeemed.GrantID}
			early := b.rotation(f, f.Refresh, start())
			early.Meter = metered(oauth.Commercial)
			rotated, err := b.Rotate(t.Context(), early)
			require.NoError(t, err)
			require.Equal(t, oauth.Tally{Wasteful: true}, rotated.Tally)
			due := b.rotation(f, early.Refresh, start().Add(accessLife-oauth.Spare))
			due.Meter = metered(oauth.Commercial)
			rotated, err = b.Rotate(t.Context(), due)
			require.NoError(t, err)
			require.Equal(t, oauth.Tally{}, rotated.Tally)
		},
		"is a device's, and an implicit one": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 1, start())
			p := b.poll(b.approved(c), start())
			p.Issuance.Meter = meter()
			state, err := b.PollDevice(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, oauth.DeviceGranted, state.Outcome)
			require.True(t, state.Tally.Wasteful)
			b.standings(c, start(), 1, 1)

			legacy := b.commercial()
			for _, want := range []bool{false, true} {
				new, err := b.IssueImplicit(t.Context(), b.hash(), oauth.Issuance{
					ClientID: legacy.ID, UserID: legacy.OwnerID, GrantType: oauth.GrantImplicit, Access: b.hash(), Now: noon(),
					AccessExpiresAt: noon().Add(accessLife), Meter: metered(oauth.Commercial),
				})
				require.NoError(t, err)
				require.Equal(t, oauth.Tally{Wasteful: want}, new.Tally)
			}
		},
		"is not counted without a meter": func(t *testing.T, b *bench) {
			c := b.client()
			for _, m := range []oauth.Meter{{}, {Mode: oauth.ModeOff, Kind: oauth.Personal, Limits: oauth.Limits{Hour: 1, Day: 1}}} {
				for range 3 {
					_, tally := b.asks(c, noon(), m)
					require.Zero(t, tally)
				}
			}
			require.Empty(t, b.minutes(c, noon()))
			b.standings(c, noon(), 0, 0)
		},
		"is counted in its minute, by grant": func(t *testing.T, b *bench) {
			c := b.client()
			f, _ := b.asks(c, noon(), meter())
			b.asks(c, noon().Add(59*time.Second), meter())
			r := b.rotation(f, f.Refresh, noon().Add(time.Minute))
			r.Meter = meter()
			_, err := b.Rotate(t.Context(), r)
			require.NoError(t, err)
			minute := oauth.Minute(noon())
			require.Equal(t, []oauth.IssuanceMinute{
				{ClientID: c.ID, Kind: oauth.Personal, OwnerID: c.OwnerID, Minute: minute, Grant: oauth.GrantPassword, Outcome: "issued", Tokens: 2, Wasteful: 1},
				{ClientID: c.ID, Kind: oauth.Personal, OwnerID: c.OwnerID, Minute: minute + 1, Grant: oauth.GrantRefresh, Outcome: "issued", Tokens: 1, Wasteful: 1},
			}, b.minutes(c, noon()))
			b.standings(c, noon().Add(time.Minute), 2, 2)
		},
		"is no replay and no reuse": func(t *testing.T, b *bench) {
			c := b.client()
			f, _ := b.asks(c, noon(), meter())
			for i, want := range []oauth.RotationOutcome{oauth.Rotate, oauth.Replay, oauth.Replay, oauth.Reuse} {
				at := noon().Add(time.Second)
				if want == oauth.Reuse {
					at = noon().Add(grace + time.Second)
				}
				r := b.rotation(f, f.Refresh, at)
				r.Meter = meter()
				got, err := b.Rotate(t.Context(), r)
				require.NoError(t, err)
				require.Equal(t, want, got.Outcome)
				if i > 0 {
					require.Zero(t, got.Tally)
				}
			}
			b.standings(c, noon().Add(time.Hour-time.Minute), 1, 1)
		},
		"leaves the windows minute by minute": func(_ *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 3, noon().Add(59*time.Second)) // two are wasteful
			for after, want := range map[time.Duration]oauth.Counts{
				0:                               {Hour: 2, Day: 2},
				59*time.Minute + 59*time.Second: {Hour: 2, Day: 2},
				time.Hour:                       {Hour: 0, Day: 2},
				24*time.Hour - time.Second:      {Hour: 0, Day: 2},
				24 * time.Hour:                  {},
				-time.Hour:                      {Hour: 2, Day: 2}, // the clock went back
			} {
				b.standings(c, noon().Add(after), want.Hour, want.Day)
			}
		},
	}
}

func switches() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"off on the token that is more than an hour allows": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 1, noon())
			last := b.wastes(c, 4, noon().Add(10*time.Minute))
			require.Equal(t, oauth.Budget{Quota: 4, Used: 4, First: noon().Add(10 * time.Minute)}, last.Hour)
			require.Equal(t, oauth.Budget{Quota: 6, Used: 4, First: noon().Add(10 * time.Minute)}, last.Day)
			f, tally := b.asks(c, noon().Add(20*time.Minute), meter())
			require.Equal(t, oauth.Tally{
				Outcome: oauth.SwitchedOff, Wasteful: true, News: true,
				Judgement: oauth.Judgement{Verdict: oauth.VerdictSwitchOff, Rule: oauth.RuleHour, Used: 5, Allowed: 4},
				Hour:      oauth.Budget{Quota: 4, Used: 4, First: noon().Add(10 * time.Minute)},
				Day:       oauth.Budget{Quota: 6, Used: 4, First: noon().Add(10 * time.Minute)},
			}, tally)
			b.status(c, oauth.Off)
			b.noAccess(f.Access, f.Now)
			by, _, err := b.OffBy(t.Context(), c.ID, noon(), 10)
			require.NoError(t, err)
			equal(t, oauth.Ruling{
				ID: by.ID, ClientID: c.ID, At: noon().Add(20 * time.Minute), Verdict: oauth.VerdictSwitchOff, Actor: oauth.ByPolicy,
				Rule: oauth.RuleHour, Used: 5, Allowed: 4, First: noon().Add(10 * time.Minute),
				Grant: oauth.GrantPassword, Lever: oauth.LeverOff, Effective: true,
			}, by)
			_, tally = b.asks(c, noon().Add(48*time.Hour), meter())
			require.Equal(t, oauth.Tally{Outcome: oauth.AlreadyOff}, tally, "for good")
			_, tally = b.asks(c, noon(), oauth.Meter{})
			require.Equal(t, oauth.Tally{Outcome: oauth.AlreadyOff}, tally, "whatever the meter")
			refused := b.minutes(c, noon().Add(20*time.Minute))
			require.Len(t, refused, 1)
			require.Equal(t, "switched_off", refused[0].Outcome)
			require.Equal(t, 1, refused[0].Tokens)
		},
		"off on the token that is more than a day allows": func(t *testing.T, b *bench) {
			c := b.client()
			for i := range 3 {
				b.wastes(c, 3, noon().Add(time.Duration(i)*2*time.Hour)) // two each
			}
			_, first := b.asks(c, noon().Add(8*time.Hour), meter())
			require.Equal(t, oauth.Issued, first.Outcome)
			_, tally := b.asks(c, noon().Add(8*time.Hour), meter())
			require.Equal(t, oauth.Judgement{Verdict: oauth.VerdictSwitchOff, Rule: oauth.RuleDay, Used: 7, Allowed: 6}, tally.Judgement)
			b.status(c, oauth.Off)
		},
		"off nobody at the line when the window rolls": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 5, noon().Add(30*time.Second))
			_, tally := b.asks(c, noon().Add(59*time.Minute+29*time.Second), meter()) // within five minutes of the end
			require.False(t, tally.Wasteful)
			_, tally = b.asks(c, noon().Add(time.Hour), meter())
			require.True(t, tally.Wasteful)
			require.Equal(t, oauth.Issued, tally.Outcome)
			require.Equal(t, 1, tally.Hour.Used)
		},
		"off with a refresh, which leaves the token unspent": func(t *testing.T, b *bench) {
			c := b.client()
			f, _ := b.asks(c, noon(), meter())
			b.wastes(c, 4, noon())
			r := b.rotation(f, f.Refresh, noon())
			r.Meter = meter()
			got, err := b.Rotate(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, oauth.Withheld, got.Outcome)
			require.Equal(t, oauth.SwitchedOff, got.Tally.Outcome)
			got, err = b.Rotate(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, oauth.Withheld, got.Outcome)
			require.Equal(t, oauth.AlreadyOff, got.Tally.Outcome)
			b.status(c, oauth.Off)
			b.reactivates(c, noon())
			r.Now = noon().Add(accessLife)
			got, err = b.Rotate(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, oauth.Rotate, got.Outcome)
		},
		"off with a device, whose code stays unredeemed": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 5, start())
			p := b.poll(b.approved(c), start())
			p.Issuance.Meter = meter()
			for _, want := range []oauth.Outcome{oauth.SwitchedOff, oauth.AlreadyOff} {
				state, err := b.PollDevice(t.Context(), p)
				require.NoError(t, err)
				require.Equal(t, oauth.DeviceWithheld, state.Outcome)
				require.Equal(t, want, state.Tally.Outcome)
			}
			b.noAccess(p.Issuance.Access, start())
			b.reactivates(c, start())
			state, err := b.PollDevice(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, oauth.DeviceGranted, state.Outcome)
			b.access(p.Issuance.Access, start())
		},
		"off with a token by the browser, and the page can be answered still": func(t *testing.T, b *bench) {
			c, ticket := b.commercial(), b.hash()
			_, err := b.SwitchOff(t.Context(), intervenes(c, "", noon()))
			require.NoError(t, err)
			i := oauth.Issuance{
				ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantImplicit, Access: b.hash(), Now: noon(),
				AccessExpiresAt: noon().Add(accessLife), Meter: metered(oauth.Commercial),
			}
			new, err := b.IssueImplicit(t.Context(), ticket, i)
			require.NoError(t, err)
			require.Equal(t, oauth.NewGrant{Tally: oauth.Tally{Outcome: oauth.AlreadyOff}}, new)
			b.reactivates(c, noon())
			new, err = b.IssueImplicit(t.Context(), ticket, i)
			require.NoError(t, err)
			require.Positive(t, new.ID)
		},
		"off, and refuses live tokens": func(t *testing.T, b *bench) {
			c := b.client()
			f, _ := b.asks(c, noon(), meter())
			b.wastes(c, 4, noon())
			b.asks(c, noon(), meter())
			got, err := b.Access(t.Context(), f.Access, noon())
			require.ErrorIs(t, err, oauth.ErrOff)
			require.Equal(t, oauth.Access{ClientID: c.ID}, got)
			b.noAccess(f.Access, f.AccessExpiresAt)
			b.reactivates(c, noon())
			b.access(f.Access, noon())
		},
		"off, and lets live tokens run out": func(t *testing.T, b *bench) {
			c, m := b.client(), meter()
			m.Lever = oauth.LeverDrain
			f, _ := b.asks(c, noon(), m)
			b.wastes(c, 4, noon())
			_, tally := b.asks(c, noon(), m)
			require.Equal(t, oauth.SwitchedOff, tally.Outcome)
			b.access(f.Access, noon())
			b.noAccess(f.Access, f.AccessExpiresAt)
			by, _, err := b.OffBy(t.Context(), c.ID, noon(), 10)
			require.NoError(t, err)
			require.Equal(t, oauth.LeverDrain, by.Lever)
			_, tally = b.asks(c, noon(), m)
			require.Equal(t, oauth.AlreadyOff, tally.Outcome, "no new ones")
		},
		"no commercial application off": func(t *testing.T, b *bench) {
			c := b.commercial()
			for i := range 30 {
				_, tally := b.asks(c, noon(), metered(oauth.Commercial))
				require.Equal(t, oauth.Tally{Wasteful: i > 0}, tally)
			}
			b.status(c, oauth.Active)
			require.Empty(t, b.verdicts(c))
			minutes := b.minutes(c, noon())
			require.Len(t, minutes, 1)
			require.Equal(t, 30, minutes[0].Tokens)
			require.Equal(t, 29, minutes[0].Wasteful)
		},
		"nobody off in the shadow": func(t *testing.T, b *bench) {
			c, m := b.client(), meter()
			m.Mode = oauth.ModeShadow
			for i := range 12 {
				_, tally := b.asks(c, noon(), m)
				require.Equal(t, oauth.Issued, tally.Outcome)
				require.Equal(t, i > 4, tally.Shadow)
				require.Equal(t, i, tally.Hour.Used)
			}
			b.status(c, oauth.Active)
			require.Equal(t, []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictShadow}, b.verdicts(c), "once each")
			of := map[string]int{}
			for _, minute := range b.minutes(c, noon()) {
				of[minute.Outcome] += minute.Tokens
			}
			require.Equal(t, map[string]int{"issued": 5, "shadow": 7}, of)
			_, tally := b.asks(c, noon(), meter())
			require.Equal(t, oauth.SwitchedOff, tally.Outcome, "enforced, the same counts switch it off")
		},
		"only by the limits that there are": func(t *testing.T, b *bench) {
			for _, l := range []oauth.Limits{{}, {Hour: 4}, {Day: 4}} {
				c, m := b.client(), meter()
				m.Limits = l
				for range 5 {
					_, tally := b.asks(c, noon(), m)
					require.Equal(t, oauth.Issued, tally.Outcome)
				}
				_, tally := b.asks(c, noon(), m)
				switch l {
				case oauth.Limits{}:
					require.Equal(t, oauth.Tally{Wasteful: true}, tally)
				default:
					require.Equal(t, oauth.SwitchedOff, tally.Outcome)
					require.Zero(t, min(tally.Hour.Quota, tally.Day.Quota))
				}
			}
		},
		"by the limits of the application itself": func(t *testing.T, b *bench) {
			c, other := b.client(), b.client()
			require.NoError(t, b.SetLimits(t.Context(), c.ID, &oauth.Limits{Hour: 1, Day: 9}))
			got, err := b.LimitsOf(t.Context(), c.ID)
			require.NoError(t, err)
			require.Equal(t, &oauth.Limits{Hour: 1, Day: 9}, got)
			b.wastes(c, 2, noon())
			require.NoError(t, b.SetLimits(t.Context(), c.ID, nil))
			got, err = b.LimitsOf(t.Context(), c.ID)
			require.NoError(t, err)
			require.Nil(t, got)
			b.wastes(c, 1, noon())
			require.NoError(t, b.SetLimits(t.Context(), c.ID, &oauth.Limits{Hour: 1, Day: 9}))
			_, tally := b.asks(c, noon(), meter())
			require.Equal(t, oauth.SwitchedOff, tally.Outcome)
			require.Equal(t, 3, tally.Judgement.Used)
			b.wastes(other, 5, noon())
			for _, id := range []string{"unknown", b.commercial().ID} {
				require.ErrorIs(t, b.SetLimits(t.Context(), id, nil), oauth.ErrNotFound)
			}
			_, err = b.LimitsOf(t.Context(), "unknown")
			require.ErrorIs(t, err, oauth.ErrNotFound)
		},
		"and the token that did not cross a lowered limit is issued": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 5, noon())
			require.NoError(t, b.SetLimits(t.Context(), c.ID, &oauth.Limits{Hour: 1, Day: 1}))
			_, tally := b.asks(c, noon().Add(accessLife-oauth.Spare), meter())
			require.Equal(t, oauth.Issued, tally.Outcome)
			require.False(t, tally.Wasteful)
			require.Equal(t, oauth.VerdictFine, tally.Judgement.Verdict)
			require.False(t, tally.News)
		},
		"off by what applications of the owner wasted that were deleted before": func(t *testing.T, b *bench) {
			old := b.client()
			b.wastes(old, 4, noon()) // three are wasteful
			b.deletes(old)
			stranger, c := b.client(), b.another(old)
			b.standings(c, noon(), 3, 3)
			b.standings(stranger, noon(), 0, 0)
			b.wastes(c, 2, noon())
			_, tally := b.asks(c, noon(), meter())
			require.Equal(t, oauth.Judgement{Verdict: oauth.VerdictSwitchOff, Rule: oauth.RuleHour, Used: 5, Allowed: 4}, tally.Judgement)
			for i, want := range []oauth.Ruling{{Used: 4, Inherited: 3}, {Used: 5, Inherited: 3}} { // the first token is not wasteful, and no news
				got := b.history(c)[i]
				require.Equal(t, want, oauth.Ruling{Used: got.Used, Inherited: got.Inherited})
			}
			by, _, err := b.OffBy(t.Context(), c.ID, noon(), 10)
			require.NoError(t, err)
			require.Equal(t, 3, by.Inherited)
			b.reactivates(c, noon().Add(59*time.Second))
			b.standings(c, noon().Add(time.Minute), 0, 0)
			_, tally = b.asks(old, noon(), meter())
			require.Equal(t, oauth.NotUsable, tally.Outcome)
		},
		"nobody off by what applications wasted that were there beside it": func(t *testing.T, b *bench) {
			bad := b.client()
			good := b.another(bad)
			b.wastes(good, 3, noon())
			b.wastes(bad, 5, noon())
			b.deletes(bad)
			b.standings(good, noon(), 2, 2)
			worse := b.another(bad)
			b.standings(worse, noon(), 4, 4)
			b.deletes(good)
			b.standings(worse, noon(), 4, 4)
			heir := b.another(bad)
			b.standings(heir, noon(), 6, 6)
			b.standings(heir, noon().Add(time.Hour), 0, 6)
			_, tally := b.asks(heir, noon(), meter())
			require.Equal(t, oauth.Issued, tally.Outcome, "what is not wasteful is never refused")
			require.Equal(t, oauth.Budget{Quota: 4, Used: 6, First: noon()}, tally.Hour)
			r := b.minutes(heir, noon())
			require.Len(t, r, 1)
			require.Equal(t, 2, r[0].Succeeds)
			require.Zero(t, r[0].Deletion)
			for c, want := range map[string][2]int{bad.ID: {0, 1}, good.ID: {0, 2}} {
				m := b.minutes(oauth.Client{ID: c}, noon())[0]
				require.Equal(t, want, [2]int{m.Succeeds, m.Deletion})
			}
		},
		"off once, by many at once, on exactly that token": func(t *testing.T, b *bench) {
			c := b.client()
			var outcomes [4]atomic.Int32
			together(40, func(int) {
				i := oauth.Issuance{
					ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantPassword, Meter: meter(), Access: b.hash(), Refresh: b.hash(),
					Now: noon(), AccessExpiresAt: noon().Add(accessLife), RefreshExpiresAt: noon().Add(refreshLife),
				}
				new, err := b.Issue(t.Context(), i)
				if err != nil {
					t.Error(err)
				}
				outcomes[new.Tally.Outcome].Add(1)
			})
			require.EqualValues(t, 5, outcomes[oauth.Issued].Load())
			require.EqualValues(t, 1, outcomes[oauth.SwitchedOff].Load())
			require.EqualValues(t, 34, outcomes[oauth.AlreadyOff].Load())
			require.Equal(t, []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff}, b.verdicts(c))
		},
	}
}

// another is one more application of the owner.
func (b *bench) another(of oauth.Client) oauth.Client {
	b.t.Helper()
	c := b.of(of.OwnerID, oauth.Personal, oauth.Active)
	require.NoError(b.t, b.AddClient(b.t.Context(), c))
	return c
}

// deletes deletes a client.
func (b *bench) deletes(c oauth.Client) {
	b.t.Helper()
	require.NoError(b.t, b.DeleteClient(b.t.Context(), c.ID, noon(), oauth.Change{UserID: c.OwnerID, Action: oauth.ActionAppDeleted, ClientID: c.ID, At: noon()}))
}

func episodes() map[string]func(*testing.T, *bench) {
	told := func(b *bench, c oauth.Client, at time.Time) oauth.Verdict {
		_, tally := b.asks(c, at, meter())
		if !tally.News {
			return ""
		}
		return tally.Verdict()
	}
	return map[string]func(*testing.T, *bench){
		"tell each verdict once": func(t *testing.T, b *bench) {
			c := b.client()
			var news []oauth.Verdict
			for range 6 {
				news = append(news, told(b, c, noon()))
			}
			require.Equal(t, []oauth.Verdict{"", "", oauth.VerdictNotice, "", oauth.VerdictWarning, oauth.VerdictSwitchOff}, news)
			history := b.history(c)
			require.Len(t, history, 3)
			require.Equal(t, 2, history[0].Used)
			require.Equal(t, 4, history[1].Used)
			require.Equal(t, 5, history[2].Used)
		},
		"go on while there is waste every day": func(t *testing.T, b *bench) {
			c := b.client()
			for day := range 5 {
				b.wastes(c, 3, noon().Add(time.Duration(day)*23*time.Hour))
			}
			require.Equal(t, []oauth.Verdict{oauth.VerdictNotice}, b.verdicts(c))
		},
		"end with a day without waste": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 3, noon())
			b.wastes(c, 3, noon().Add(23*time.Hour))
			require.Equal(t, []oauth.Verdict{oauth.VerdictNotice}, b.verdicts(c))
			b.wastes(c, 3, noon().Add(48*time.Hour))
			require.Equal(t, []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictNotice}, b.verdicts(c))
		},
		"tell again what was told in the shadow, where nobody heard it": func(t *testing.T, b *bench) {
			c := b.client()
			enforced := oauth.Meter{Mode: oauth.ModeEnforce, Kind: oauth.Personal, Limits: oauth.Limits{Hour: 4}}
			shadow := enforced
			shadow.Mode = oauth.ModeShadow
			news := func(at time.Time, m oauth.Meter) (all []oauth.Verdict) {
				for range 6 {
					if _, tally := b.asks(c, at, m); tally.News {
						all = append(all, tally.Verdict())
					}
				}
				return all
			}
			later := noon().Add(2 * time.Hour)
			require.Equal(t, []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictShadow}, news(noon(), shadow))
			require.Empty(t, news(later, shadow), "of this episode")
			later = later.Add(2 * time.Hour)
			require.Equal(t, []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff}, news(later, enforced))
		},
		"end with a reactivation, and counting begins anew": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 5, noon())
			b.asks(c, noon(), meter())
			b.reactivates(c, noon())
			b.status(c, oauth.Active)
			b.standings(c, noon(), 0, 0)
			_, _, err := b.OffBy(t.Context(), c.ID, noon(), 10)
			require.ErrorIs(t, err, oauth.ErrNotFound)
			for i := range 4 {
				_, tally := b.asks(c, noon().Add(-time.Minute*time.Duration(i%2)), meter())
				require.Equal(t, i+1, tally.Hour.Used, "the clock may have gone back")
			}
			_, tally := b.asks(c, noon(), meter())
			require.Equal(t, oauth.SwitchedOff, tally.Outcome)
			require.Equal(t, []oauth.Verdict{
				oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff, oauth.VerdictReactivation,
				oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff,
			}, b.verdicts(c), "the record stays")
			all, forgiven := 0, 0
			for _, m := range b.minutes(c, noon().Add(-time.Hour)) {
				if m.Outcome == "issued" {
					all += m.Wasteful
					forgiven += m.Forgiven
				}
			}
			require.Equal(t, 8, all)
			require.Equal(t, 4, forgiven)
		},
	}
}

func interventions() map[string]func(*testing.T, *bench) {
	off := func(b *bench, i oauth.Intervention) bool {
		b.t.Helper()
		did, err := b.SwitchOff(b.t.Context(), i)
		require.NoError(b.t, err)
		return did
	}
	on := func(b *bench, i oauth.Intervention) bool {
		b.t.Helper()
		did, err := b.Reactivate(b.t.Context(), i)
		require.NoError(b.t, err)
		return did
	}
	by := func(i oauth.Intervention, a oauth.Actor) oauth.Intervention {
		i.Actor = a
		return i
	}
	return map[string]func(*testing.T, *bench){
		"switch any application off and on": func(t *testing.T, b *bench) {
			for _, c := range []oauth.Client{b.client(), b.commercial()} {
				f := b.issueTo(c, noon())
				require.True(t, off(b, intervenes(c, "", noon())))
				b.status(c, oauth.Off)
				got, _, err := b.OffBy(t.Context(), c.ID, noon(), 10)
				require.NoError(t, err)
				equal(t, oauth.Ruling{
					ID: got.ID, ClientID: c.ID, At: noon(), Verdict: oauth.VerdictSwitchOff, Actor: oauth.ByOperator,
					Reason: "because", Lever: oauth.LeverOff, Effective: true,
				}, got)
				_, err = b.Access(t.Context(), f.Access, noon())
				require.ErrorIs(t, err, oauth.ErrOff)
				r := b.rotation(f, f.Refresh, noon())
				rotated, err := b.Rotate(t.Context(), r)
				require.NoError(t, err)
				require.Equal(t, oauth.Withheld, rotated.Outcome)
				require.True(t, on(b, intervenes(c, "", noon())))
				require.False(t, on(b, intervenes(c, "", noon())), "it is on")
				b.rotates(f, r)
				require.Len(t, b.history(c), 2)
			}
		},
		"leave a code unspent": func(t *testing.T, b *bench) {
			c := b.commercial()
			code := b.code(c)
			off(b, intervenes(c, "", noon()))
			got, err := b.Redeem(t.Context(), b.redemption(code, start()))
			require.NoError(t, err)
			require.Equal(t, oauth.Redeemed{Tally: oauth.Tally{Outcome: oauth.AlreadyOff}}, got)
			on(b, intervenes(c, "", noon()))
			b.redeem(code, start())
		},
		"are done once for each key": func(t *testing.T, b *bench) {
			c := b.client()
			require.True(t, off(b, by(intervenes(c, "alert 1", noon()), oauth.ByAlert)))
			require.True(t, on(b, by(intervenes(c, "alert 1 resolved", noon()), oauth.ByAlert)))
			require.False(t, off(b, by(intervenes(c, "alert 1", noon()), oauth.ByAlert)), "a repeat")
			b.status(c, oauth.Active)
			require.True(t, off(b, by(intervenes(c, "alert 2", noon()), oauth.ByAlert)))
			require.False(t, on(b, by(intervenes(c, "alert 1 resolved", noon()), oauth.ByAlert)), "a repeat")
			b.status(c, oauth.Off)
			require.Len(t, b.history(c), 3)
			other := b.client()
			require.True(t, off(b, by(intervenes(other, "alert 1", noon()), oauth.ByAlert)), "of another application")
		},
		"are done once for each key, at once either": func(t *testing.T, b *bench) {
			c := b.client()
			var did atomic.Int32
			together(20, func(int) {
				done, err := b.SwitchOff(t.Context(), by(intervenes(c, "alert", noon()), oauth.ByAlert))
				if err != nil {
					t.Error(err)
				}
				if done {
					did.Add(1)
				}
			})
			require.EqualValues(t, 1, did.Load())
			require.Len(t, b.history(c), 1)
		},
		"of an application that is off are recorded, and an operator's prevail": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 5, noon())
			b.asks(c, noon(), meter())
			require.False(t, off(b, by(intervenes(c, "alert", noon()), oauth.ByAlert)))
			got, _, err := b.OffBy(t.Context(), c.ID, noon(), 10)
			require.NoError(t, err)
			require.Equal(t, oauth.ByPolicy, got.Actor)
			require.True(t, off(b, intervenes(c, "", noon())))
			got, _, err = b.OffBy(t.Context(), c.ID, noon(), 10)
			require.NoError(t, err)
			require.Equal(t, oauth.ByOperator, got.Actor)
			history := b.history(c)
			require.Len(t, history, 5)
			require.False(t, history[3].Effective)
			require.True(t, history[4].Effective)
		},
		"that ask for what is so already do nothing": func(t *testing.T, b *bench) {
			for _, actor := range []oauth.Actor{oauth.ByOperator, oauth.ByAlert} {
				c := b.client()
				asked := by(intervenes(c, "", noon()), actor)
				require.True(t, off(b, asked))
				asked.Now = noon().Add(time.Minute)
				require.False(t, off(b, asked))
				require.Len(t, b.history(c), 1, "no second entry")
				keyed := asked
				keyed.Key = "alert 2"
				require.False(t, off(b, keyed))
				require.Len(t, b.history(c), 2, "the key is kept: what is asked under it again is a repeat")
				require.True(t, on(b, intervenes(c, "", noon())))
				require.False(t, off(b, keyed))
				require.True(t, off(b, asked))
				for _, other := range []func(*oauth.Intervention){
					func(i *oauth.Intervention) { i.Reason = "because of something else" },
					func(i *oauth.Intervention) { i.Lever = oauth.LeverDrain },
				} {
					other(&asked)
					require.Equal(t, actor == oauth.ByOperator, off(b, asked), "an operator's other reason, or lever, prevails")
				}
			}
		},
		"are in the record of changes of the owner, who reads who it was": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 5, noon())
			b.asks(c, noon(), meter())
			b.asks(c, noon(), meter())
			own := by(intervenes(c, "", noon().Add(time.Minute)), oauth.ByOwner)
			own.OwnMax, own.OwnWindow, own.Address = 1, time.Hour, "192.0.2.7"
			require.True(t, on(b, own))
			require.False(t, on(b, own))
			require.True(t, off(b, by(intervenes(c, "", noon()), oauth.ByAlert)))
			_, err := b.Reactivate(t.Context(), own)
			require.ErrorIs(t, err, oauth.ErrOperatorOnly)
			require.False(t, off(b, by(intervenes(c, "alert", noon()), oauth.ByAlert)))
			require.True(t, off(b, intervenes(c, "", noon())))
			require.True(t, on(b, intervenes(c, "", noon())))
			changes, err := b.Changes(t.Context(), c.OwnerID, 0, 100)
			require.NoError(t, err)
			changed := func(a oauth.Action, at time.Time) oauth.Change {
				return oauth.Change{UserID: c.OwnerID, Action: a, ClientID: c.ID, ClientName: c.Name, At: at}
			}
			reactivated := changed("application.on.owner", noon().Add(time.Minute))
			reactivated.ActorID, reactivated.Address = c.OwnerID, "192.0.2.7"
			want := []oauth.Change{
				changed("application.on.operator", noon()), changed("application.off.operator", noon()),
				changed("application.off.alert", noon()), reactivated, changed("application.off.policy", noon()),
			}
			require.Len(t, changes, len(want))
			for i := range want {
				want[i].ID = changes[i].ID
			}
			equal(t, want, changes)
		},
		"need an application in use": func(t *testing.T, b *bench) {
			pending := b.newCommercial()
			pending.Status = oauth.Pending
			require.NoError(t, b.AddClient(t.Context(), pending))
			deleted := b.client()
			b.deletes(deleted)
			for _, c := range []oauth.Client{pending, deleted, {ID: "unknown"}} {
				_, err := b.SwitchOff(t.Context(), intervenes(c, "", noon()))
				require.ErrorIs(t, err, oauth.ErrNotFound)
			}
			for _, c := range []oauth.Client{deleted, {ID: "unknown"}} {
				_, err := b.Reactivate(t.Context(), intervenes(c, "", noon()))
				require.ErrorIs(t, err, oauth.ErrNotFound)
				_, _, err = b.OffBy(t.Context(), c.ID, noon(), 10)
				require.ErrorIs(t, err, oauth.ErrNotFound)
			}
			require.Empty(t, b.history(pending))
		},
		"of an owner are few": func(t *testing.T, b *bench) {
			gone := b.client()
			elder := b.another(gone)
			own := func(of oauth.Client, at time.Time) oauth.Intervention {
				i := by(intervenes(of, "", at), oauth.ByOwner)
				i.OwnMax, i.OwnWindow = 2, 30*24*time.Hour
				return i
			}
			trips := func(of oauth.Client, at time.Time) {
				b.wastes(of, 5, at)
				for {
					if _, tally := b.asks(of, at, meter()); tally.Outcome == oauth.SwitchedOff {
						return
					}
				}
			}
			trips(gone, noon())
			require.True(t, on(b, own(gone, noon())))
			b.deletes(gone)
			c := b.another(gone)
			day := 24 * time.Hour
			for of, want := range map[string]int{elder.ID: 0, c.ID: 1} {
				require.True(t, off(b, by(intervenes(oauth.Client{ID: of}, "", noon()), oauth.ByAlert)))
				_, n, err := b.OffBy(t.Context(), of, noon().Add(-time.Hour), 10)
				require.NoError(t, err)
				require.Len(t, n, want)
				require.True(t, on(b, intervenes(oauth.Client{ID: of}, "", noon())))
			}
			trips(c, noon().Add(5*day))
			require.True(t, on(b, own(c, noon().Add(5*day))), "one before, with an application that is gone")
			require.False(t, on(b, own(c, noon().Add(5*day))))
			trips(c, noon().Add(10*day))
			_, err := b.Reactivate(t.Context(), own(c, noon().Add(30*day-time.Microsecond)))
			require.ErrorIs(t, err, oauth.ErrOperatorOnly)
			b.status(c, oauth.Off)
			require.True(t, on(b, own(c, noon().Add(30*day))), "the first one is 30 days ago")
			for i := range 2 {
				trips(elder, noon().Add(time.Duration(i)*2*day))
				require.True(t, on(b, own(elder, noon().Add(time.Duration(i)*2*day))), "none of an application that was there beside it")
			}
		},
		"are listed that only an operator may undo": func(t *testing.T, b *bench) {
			own := func(of oauth.Client, at time.Time) {
				require.True(t, off(b, by(intervenes(of, "", at), oauth.ByAlert)))
				i := by(intervenes(of, "", at), oauth.ByOwner)
				i.OwnMax, i.OwnWindow = 2, 30*24*time.Hour
				require.True(t, on(b, i))
			}
			listed := func(before int64, limit int) (ids []string, last int64) {
				rulings, err := b.OperatorOnly(t.Context(), oauth.OperatorOnlyQuery{OwnMax: 2, After: noon(), Before: before, Limit: limit})
				require.NoError(t, err)
				for _, r := range rulings {
					require.Equal(t, oauth.VerdictSwitchOff, r.Verdict)
					ids, last = append(ids, r.ClientID), r.ID
				}
				return ids, last
			}
			minute := func(n int) time.Time { return noon().Add(time.Duration(n) * time.Minute) }
			// The owner of these reactivated twice, but neither of them so often.
			once := b.client()
			beside := b.another(once)
			own(once, minute(1))
			own(beside, minute(2))
			old, twice, heirs, operators, gone := b.client(), b.client(), b.client(), b.commercial(), b.client()
			own(old, noon())
			own(old, minute(1))
			own(twice, minute(1))
			own(twice, minute(2))
			own(heirs, minute(1))
			own(heirs, minute(2))
			b.deletes(heirs)
			heir := b.another(heirs)
			for i, of := range []oauth.Client{once, beside, old, twice, heir, gone} {
				require.True(t, off(b, by(intervenes(of, "", minute(i+3)), oauth.ByAlert)))
			}
			for _, of := range []oauth.Client{operators, gone} {
				require.True(t, off(b, intervenes(of, "", minute(20))))
			}
			b.deletes(gone)
			all, _ := listed(0, 10)
			require.Equal(t, []string{operators.ID, heir.ID, twice.ID}, all)
			first, last := listed(0, 2)
			require.Equal(t, all[:2], first)
			rest, _ := listed(last, 2)
			require.Equal(t, all[2:], rest)
			require.True(t, on(b, intervenes(twice, "", minute(30))))
			all, _ = listed(0, 10)
			require.Equal(t, []string{operators.ID, heir.ID}, all)
		},
		"of an operator who is signed in are in both records": func(t *testing.T, b *bench) {
			c, operator := b.client(), b.user()
			require.True(t, off(b, intervenes(c, "", noon())))
			i := intervenes(c, "", noon())
			i.OperatorID, i.Address = operator.ID, "192.0.2.1"
			require.True(t, on(b, i))
			for of, address := range map[int64]string{c.OwnerID: "", operator.ID: "192.0.2.1"} {
				changes, err := b.Changes(t.Context(), of, 0, 1)
				require.NoError(t, err)
				require.Len(t, changes, 1)
				require.Equal(t, oauth.ReactivatedBy(oauth.ByOperator), changes[0].Action)
				require.Equal(t, operator.ID, changes[0].ActorID)
				require.Equal(t, address, changes[0].Address)
			}
			require.True(t, off(b, intervenes(c, "", noon())))
			i.OperatorID = c.OwnerID
			require.True(t, on(b, i))
			changes, err := b.Changes(t.Context(), c.OwnerID, 0, 2)
			require.NoError(t, err)
			require.Equal(t, "192.0.2.1", changes[0].Address, "one's own")
			require.Equal(t, oauth.SwitchedOffBy(oauth.ByOperator), changes[1].Action, "once")
		},
		"of an operator are not for the owner to undo": func(t *testing.T, b *bench) {
			c := b.client()
			for actor, want := range map[oauth.Actor]error{oauth.ByOperator: oauth.ErrOperatorOnly, oauth.ByAlert: nil} {
				off(b, by(intervenes(c, "", noon()), actor))
				i := by(intervenes(c, "", noon()), oauth.ByOwner)
				i.OwnMax, i.OwnWindow = 2, time.Hour
				_, err := b.Reactivate(t.Context(), i)
				require.ErrorIs(t, err, want)
				on(b, intervenes(c, "", noon()))
			}
		},
		"are listed page by page": func(t *testing.T, b *bench) {
			c := b.client()
			for i := range 3 {
				off(b, intervenes(c, fmt.Sprint("off ", i), noon()))
				on(b, intervenes(c, fmt.Sprint("on ", i), noon()))
			}
			all, err := b.Verdicts(t.Context(), c.ID, 0, 100)
			require.NoError(t, err)
			require.Len(t, all, 6)
			require.Equal(t, "on 2", all[0].Key)
			for limit, want := range map[int]int{0: 0, -1: 0, 2: 2} {
				page, err := b.Verdicts(t.Context(), c.ID, 0, limit)
				require.NoError(t, err)
				require.Len(t, page, want)
			}
			page, err := b.Verdicts(t.Context(), c.ID, all[3].ID, 2)
			require.NoError(t, err)
			require.Equal(t, all[4:], page)
			for _, id := range append([]string{"unknown"}, "a\x00b") {
				page, err := b.Verdicts(t.Context(), id, 0, 10)
				require.NoError(t, err)
				require.Empty(t, page)
			}
		},
	}
}

func condensations() map[string]func(*testing.T, *bench) {
	condense := func(b *bench, minutes, hours time.Time, limit int) int {
		b.t.Helper()
		n, err := b.Condense(b.t.Context(), minutes, hours, limit)
		require.NoError(b.t, err)
		return n
	}
	sum := func(b *bench, c oauth.Client, step time.Duration) []oauth.Issuances {
		b.t.Helper()
		all, err := b.IssuanceOf(b.t.Context(), c.ID, noon().Add(-24*time.Hour), step)
		require.NoError(b.t, err)
		return all
	}
	long := noon().Add(-1000 * 24 * time.Hour)
	return map[string]func(*testing.T, *bench){
		"make hours of minutes, and lose nothing": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 2, noon().Add(59*time.Minute))
			b.wastes(c, 2, noon().Add(time.Hour))
			b.wastes(c, 1, noon().Add(61*time.Minute))
			b.asks(c, noon().Add(62*time.Minute), meter())
			byHour, byDay := sum(b, c, time.Hour), sum(b, c, 24*time.Hour)
			require.Equal(t, []oauth.Issuances{
				{At: noon(), Tokens: 2, Wasteful: 1}, {At: noon().Add(time.Hour), Tokens: 3, Wasteful: 3, Refused: 1},
			}, byHour)
			require.Equal(t, []oauth.Issuances{{At: noon().Add(-12 * time.Hour), Tokens: 5, Wasteful: 4, Refused: 1}}, byDay)
			require.Len(t, sum(b, c, time.Minute), 4)
			require.Zero(t, condense(b, noon().Add(59*time.Minute), long, 10))
			for n := 1; n > 0; {
				n = condense(b, noon().Add(61*time.Minute+time.Second), long, 1)
				require.LessOrEqual(t, n, 1)
				require.Equal(t, byHour, sum(b, c, time.Hour))
				require.Equal(t, byDay, sum(b, c, 24*time.Hour))
			}
			require.Len(t, b.minutes(c, noon()), 2, "the last two minutes")
			require.Equal(t, 2, condense(b, noon().Add(2*time.Hour), long, 10))
			require.Empty(t, b.minutes(c, noon()))
			require.Equal(t, byHour, sum(b, c, time.Hour))
			require.Equal(t, 5, condense(b, noon(), noon().Add(2*time.Hour), 10), "issued in two hours, refused in one, a notice and a warning; why it is off stays")
			require.Empty(t, sum(b, c, time.Hour))
		},
		"keep why an application is off": func(t *testing.T, b *bench) {
			c := b.client()
			b.wastes(c, 5, noon())
			b.asks(c, noon(), meter())
			require.Equal(t, 2, condense(b, long, noon().Add(time.Second), 10), "the notice and the warning")
			_, _, err := b.OffBy(t.Context(), c.ID, noon(), 10)
			require.NoError(t, err)
			b.reactivates(c, noon())
			require.Equal(t, 2, condense(b, long, noon().Add(time.Second), 10))
			require.Empty(t, b.history(c))
		},
		"delete applications of which nothing is left": func(t *testing.T, b *bench) {
			c := b.switchedOff(noon())
			kept, never := b.another(c), b.another(c)
			b.wastes(kept, 1, noon())
			_, err := b.SwitchOff(t.Context(), intervenes(kept, "", noon()))
			require.NoError(t, err)
			require.NoError(t, b.AddCode(t.Context(), b.newCode(never)))
			b.deletes(c)
			b.deletes(never)
			const day = 24 * time.Hour
			there := func(c oauth.Client) bool {
				_, err := b.Client(t.Context(), c.ID)
				if err != nil {
					require.ErrorIs(t, err, oauth.ErrNotFound)
				}
				return err == nil
			}
			require.Positive(t, condense(b, noon().Add(day), long, 100))
			require.Positive(t, condense(b, long, noon().Add(day), 100))
			require.Empty(t, b.history(c), "why a deleted application was off is of no use any more")
			require.Len(t, b.history(kept), 1)
			require.True(t, there(c), "its grant is there still")
			require.True(t, there(never), "its code is")
			for range 2 { // tokens, then the grant
				_, err = b.Purge(t.Context(), noon().Add(2*refreshLife), 100)
				require.NoError(t, err)
			}
			require.Zero(t, condense(b, long, noon().Add(day), 100), "nobody was told that they are disconnected")
			due, err := b.DueEvents(t.Context(), noon().Add(day), noon().Add(2*day), 100)
			require.NoError(t, err)
			for _, e := range due {
				require.NoError(t, b.EventTold(t.Context(), e.ID))
			}
			require.Zero(t, condense(b, long, noon(), 100), "they were deleted at noon, not before")
			require.Equal(t, 1, condense(b, long, noon().Add(day), 1))
			require.Equal(t, 1, condense(b, long, noon().Add(day), 1))
			require.False(t, there(c) || there(never))
			require.Zero(t, condense(b, long, noon().Add(1000*day), 100))
			require.True(t, there(kept), "that is off, and not deleted")
		},
		"are bounded": func(t *testing.T, b *bench) {
			c := b.client()
			for i := range 5 {
				b.asks(c, noon().Add(time.Duration(i)*accessLife), meter())
			}
			at := noon().Add(24 * time.Hour)
			require.Zero(t, condense(b, at, long, 0))
			require.Zero(t, condense(b, at, long, -1))
			require.Equal(t, 2, condense(b, at, long, 2))
			require.Equal(t, 3, condense(b, at, long, 10))
			require.Equal(t, 2, condense(b, long, at, 2))
			require.Equal(t, 3, condense(b, long, at, 10))
		},
		"by many at once count each token once": func(t *testing.T, b *bench) {
			clients := []oauth.Client{b.client(), b.client()}
			for i := range 20 {
				for _, c := range clients {
					b.asks(c, noon().Add(time.Duration(i)*time.Minute), oauth.Meter{Mode: oauth.ModeShadow, Kind: oauth.Personal})
				}
			}
			together(8, func(int) {
				for range 6 {
					if _, err := b.Condense(t.Context(), noon().Add(time.Hour), long, 3); err != nil {
						t.Error(err)
					}
				}
			})
			for _, c := range clients {
				require.Equal(t, []oauth.Issuances{{At: noon(), Tokens: 20, Wasteful: 19}}, sum(b, c, time.Hour))
			}
		},
		"leave lists of applications in order, page by page": func(t *testing.T, b *bench) {
			var want []string
			for range 4 {
				c := b.client()
				b.wastes(c, 2, noon())
				want = append(want, c.ID)
			}
			b.client() // issued nothing
			var got []string
			for after := ""; ; {
				page, err := b.IssuanceMinutes(t.Context(), noon(), after, 3)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				for _, m := range page {
					require.Greater(t, m.ClientID, after)
					after = m.ClientID
					got = append(got, m.ClientID)
				}
			}
			require.Equal(t, want, got)
			none, err := b.IssuanceMinutes(t.Context(), noon().Add(time.Minute), "", 10)
			require.NoError(t, err)
			require.Empty(t, none)
		},
	}
}

// Everything of a disabled person is refused, and comes back.
func disablings() map[string]func(*testing.T, *bench) {
	disable := func(b *bench, user int64, disabled bool) {
		b.t.Helper()
		require.NoError(b.t, b.SetDisabled(b.t.Context(), user, disabled, noon()))
	}
	return map[string]func(*testing.T, *bench){
		"are told of the user, and of the owner of applications": func(t *testing.T, b *bench) {
			c := b.client()
			disable(b, c.OwnerID, true)
			require.NoError(t, b.SetDisabled(t.Context(), c.OwnerID, true, noon().Add(time.Hour)))
			u, err := b.User(t.Context(), c.OwnerID)
			require.NoError(t, err)
			equal(t, noon(), u.DisabledAt)
			got, err := b.Client(t.Context(), c.ID)
			require.NoError(t, err)
			require.True(t, got.OwnerDisabled)
			disable(b, c.OwnerID, false)
			disable(b, c.OwnerID, false)
			u, err = b.User(t.Context(), c.OwnerID)
			require.NoError(t, err)
			require.Zero(t, u.DisabledAt)
			b.hasClient(c)
		},
		"need a user": func(t *testing.T, b *bench) {
			require.ErrorIs(t, b.SetDisabled(t.Context(), b.user().ID+1, true, noon()), oauth.ErrNotFound)
		},
		"stop a session": func(t *testing.T, b *bench) {
			s := b.session()
			disable(b, s.UserID, true)
			b.noSession(s.Hash, start())
			disable(b, s.UserID, false)
			_, err := b.Session(t.Context(), s.Hash, start())
			require.NoError(t, err)
		},
		"stop access tokens": func(_ *testing.T, b *bench) {
			f, other := b.issue(), b.issue()
			disable(b, f.UserID, true)
			b.noAccess(f.Access, start())
			b.noToken(f.Access, start())
			b.access(other.Access, start())
			disable(b, f.UserID, false)
			b.access(f.Access, start())
		},
		"stop refresh tokens, unspent": func(_ *testing.T, b *bench) {
			f := b.issue()
			disable(b, f.UserID, true)
			b.noToken(f.Refresh, start())
			b.notRotated(b.rotation(f, f.Refresh, start()))
			disable(b, f.UserID, false)
			first := b.rotate(f, f.Refresh, start())
			disable(b, f.UserID, true)
			b.notRotated(b.rotation(f, f.Refresh, start())) // would be a replay
			disable(b, f.UserID, false)
			b.replays(f, b.rotation(f, f.Refresh, start()), first)
		},
		"stop codes, unspent": func(_ *testing.T, b *bench) {
			code := b.code(b.commercial())
			disable(b, code.UserID, true)
			b.notRedeemed(b.redemption(code, start()), oauth.ErrNotFound)
			disable(b, code.UserID, false)
			b.redeem(code, start())
		},
		"stop new tokens": func(t *testing.T, b *bench) {
			c := b.client()
			disable(b, c.OwnerID, true)
			for _, m := range []oauth.Meter{{}, meter()} {
				_, tally := b.asks(c, noon(), m)
				require.Equal(t, oauth.Tally{Outcome: oauth.NotUsable}, tally)
			}
			require.Empty(t, b.minutes(c, noon()))
			disable(b, c.OwnerID, false)
			_, tally := b.asks(c, noon(), meter())
			require.Equal(t, oauth.Issued, tally.Outcome)
		},
		"stop no commercial application of the person": func(_ *testing.T, b *bench) {
			c, person := b.commercial(), b.user()
			disable(b, c.OwnerID, true)
			f := b.issueTo(oauth.Client{ID: c.ID, OwnerID: person.ID}, start())
			b.access(f.Access, start())
			b.rotate(f, f.Refresh, start())
		},
	}
}
