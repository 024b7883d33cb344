package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// A policy that was not in force is tried on what a bridge really issued: it names the
// token on which the application would have been switched off.
func TestRehearsalOnARealRecord(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data)
		var quiet application
		e.run(t, &quiet, "app", "add", "--owner", e.username, "--name", "Quiet script")
		bridge := e.serve(t, "--issuance-hour", "6")
		passwordGrant(t, bridge, quiet, e.username, e.password)
		for range 7 {
			e.token(t, bridge)
		}
		status, _ := e.ask(t, bridge) // switched off, on a token that is not issued
		require.Equal(t, 400, status)

		rehearsed := func(text string) (r rehearsal) {
			t.Helper()
			e.run(t, &r, "policy", "rehearse", "--policy", writePolicy(t, text), "--since", "30d")
			require.Equal(t, []int{2, 8, 6}, []int{r.Clients, r.Tokens, r.Wasteful})
			return r
		}
		strict := rehearsed("kinds:\n  personal: {hour: 4, day: 100}\n")
		require.Len(t, strict.SwitchedOff, 1)
		off := strict.SwitchedOff[0]
		require.Equal(t, wouldBe{
			ClientID: e.app.ClientID, Name: "Script", Kind: "personal", At: off.At,
			Rule: "hour", Count: 5, Limit: 4, Token: 6, Wasteful: 5,
		}, off)
		require.Equal(t, verdicts{Fine: 1, SwitchOff: 1}, strict.Worst)
		inForce := rehearsed("overrides:\n  " + e.app.ClientID + ": {hour: 6, day: 0}\n").SwitchedOff
		require.Len(t, inForce, 1, "the policy that did it does it again")
		require.Equal(t, []int{7, 8, 7}, []int{inForce[0].Count, inForce[0].Token, inForce[0].Wasteful})
		require.Empty(t, rehearsed("overrides:\n  "+e.app.ClientID+": {hour: 7, day: 0}\n").SwitchedOff)
	})
}

// On a record on which a policy was in force, the rehearsal of that policy lists what
// really was switched off: when, by which rule, and on how many wasteful tokens. Owners
// delete applications and register others, and what is off is reactivated.
func TestRehearsalOfThePolicyInForceListsWhatItDid(t *testing.T) {
	t.Parallel()
	stores := map[string]func(testing.TB) oauth.Store{
		"SQLite":     func(t testing.TB) oauth.Store { return oauthsqlite.New(migrationstest.SQLite(t)) },
		"PostgreSQL": func(t testing.TB) oauth.Store { return oauthpgx.New(migrationstest.Postgres(t)) },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := oauth.Limits{Hour: 4, Day: 10}
			passwords, err := oauth.NewPasswords(oauth.PasswordOptions{
				Workers: 2, Params: argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
			})
			require.NoError(t, err)
			past := &pastDays{now: time.Now().Truncate(time.Hour).Add(-28 * 24 * time.Hour)}
			options := oauth.Options{
				Store: open(t), Passwords: passwords, Now: past.Now, Issuer: "https://foxbridge.example", Mode: oauth.ModeEnforce, Limits: &limits,
			}
			past.service, err = oauth.New(options)
			require.NoError(t, err)
			for seed := range uint64(3) {
				past.live(t, rand.New(rand.NewPCG(seed, 1)), fmt.Sprintf("person%d@example.org", seed)) //nolint:gosec // to be repeated
			}
			require.True(t, past.now.Before(time.Now()))

			options.Now = time.Now
			service, err := oauth.New(options)
			require.NoError(t, err)
			same := policy.Default()
			same.Kinds[oauth.Personal] = limits
			r, err := rehearse(t.Context(), same, time.Now().Add(-30*24*time.Hour+time.Hour), recordedIssuance(service))
			require.NoError(t, err)
			var rehearsed, really []string
			for _, off := range r.SwitchedOff {
				rehearsed = append(rehearsed, fmt.Sprint(off.ClientID, off.At, off.Rule, off.Count, off.Limit))
			}
			for _, id := range past.clients {
				rulings, err := service.Verdicts(t.Context(), id, 0)
				require.NoError(t, err)
				for _, r := range rulings {
					if r.Verdict == oauth.VerdictSwitchOff && r.Actor == oauth.ByPolicy {
						really = append(really, fmt.Sprint(id, r.At.UTC().Truncate(time.Minute), r.Rule, r.Used, r.Allowed))
					}
				}
			}
			require.Greater(t, len(really), 20)
			slices.Sort(really)
			slices.Sort(rehearsed)
			require.Empty(t, cmp.Diff(really, rehearsed))
		})
	}
}

// pastDays is what some people did with a service whose time they make.
type pastDays struct {
	service *oauth.Service
	now     time.Time
	clients []string
}

func (p *pastDays) Now() time.Time { return p.now }

// live has a person do some hundred things, over some days. What is decided on an
// application is in a minute of its own, as the record does not tell the order within one.
func (p *pastDays) live(t *testing.T, chance *rand.Rand, email string) {
	t.Helper()
	const password = "correct horse battery staple"
	owner, err := p.service.AddUser(t.Context(), email, "Someone", password)
	require.NoError(t, err)
	type app struct{ id, secret string }
	var apps []app
	steps := []time.Duration{time.Second, 7 * time.Second, 20 * time.Second, time.Minute, 5 * time.Minute, 40 * time.Minute, 3 * time.Hour}
	for range 300 {
		p.now = p.now.Add(steps[chance.IntN(len(steps))])
		if chance.IntN(20) == 0 || len(apps) == 0 {
			client, secret, err := p.service.AddClient(t.Context(), email, "Script")
			require.NoError(t, err)
			apps, p.clients = append(apps, app{client.ID, secret}), append(p.clients, client.ID)
		}
		n := chance.IntN(len(apps))
		way, err := p.service.WayBack(t.Context(), apps[n].id)
		require.NoError(t, err)
		switch what := chance.IntN(20); {
		case what == 0 || len(apps) > 4:
			p.now = p.now.Truncate(time.Minute).Add(time.Minute)
			require.NoError(t, p.service.DeleteOwn(t.Context(), owner.ID, apps[n].id, netip.Addr{}))
			apps = slices.Delete(apps, n, n+1)
		case what == 1 && !way.Off:
			p.now = p.now.Truncate(time.Minute).Add(time.Minute)
			_, err := p.service.SwitchOff(t.Context(), apps[n].id, oauth.ByOperator, "", "because")
			require.NoError(t, err)
		case what < 12 && way.Off:
			p.now = p.now.Truncate(time.Minute).Add(time.Minute)
			_, err := p.service.Reactivate(t.Context(), apps[n].id, oauth.ByOperator, "", "")
			require.NoError(t, err)
		default:
			for range 1 + chance.IntN(3) {
				_, err := p.service.Token(t.Context(), oauth.TokenRequest{
					GrantType: "password", ClientID: apps[n].id, ClientSecret: apps[n].secret, Username: email, Password: password,
				})
				if refusal := (*oauth.Error)(nil); err != nil {
					require.ErrorAs(t, err, &refusal)
					require.Equal(t, oauth.CodeUnauthorizedClient, refusal.Code)
				}
			}
		}
	}
}

// What is no record is not made one.
func TestRehearsalMakesNoDatabase(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	code, _, stderr := execute(t, "", "policy", "rehearse", "--policy", writePolicy(t, ""), "--data-dir", data)
	require.Equal(t, exitFail, code)
	require.Contains(t, stderr, "there is no database at "+data)
	require.NoFileExists(t, data+"/foxbridge.db")
}
