package oauth_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func BenchmarkRefresh(b *testing.B) {
	s := newServer(b)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		tokens := s.first(b)
		for pb.Next() {
			var err error
			tokens, err = s.Token(context.Background(), s.refresh(tokens.RefreshToken))
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	s := newServer(b)
	tokens := s.first(b)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			access, err := s.Authenticate(context.Background(), tokens.AccessToken)
			if err != nil || access.UserID != s.alice.ID {
				b.Errorf("%v, %v", access, err)
				return
			}
		}
	})
}

// BenchmarkSignIn is bounded by argon2id, here with parameters that cost nothing: it
// shows what the rest costs.
func BenchmarkSignIn(b *testing.B) {
	s := newServer(b)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.Token(context.Background(), s.signIn())
			require.NoError(b, err)
		}
	})
}

// BenchmarkPolicy compares 32 concurrent refreshes on PostgreSQL with the issuance
// policy on and off. Both work on the same rows, in short rounds that take turns, so
// that tables, caches and whatever else the machine does are the same for both. Of each
// pair of rounds it takes the ratio of what was done in a second: "ratio" is the median
// of these, "ratio-q1" and "ratio-q3" the quartiles. "cpu-ratio" is the same of the
// processor time that a refresh takes, in this process and in the sessions of the
// server, which nobody else on the machine adds to.
//
//	.ci/with-postgres go test -run x -bench Policy -benchtime 40x ./oauth
func BenchmarkPolicy(b *testing.B) {
	for name, of := range map[string]struct {
		kind oauth.Kind
		life time.Duration // of access tokens: a refresh is wasteful if it is longer than oauth.Spare
	}{
		"personal": {oauth.Personal, oauth.Spare}, "commercial": {oauth.Commercial, oauth.Spare}, "wasteful": {oauth.Personal, time.Hour},
	} {
		b.Run(name, func(b *testing.B) {
			compare(b, onPostgres(b, offAndOn(of.life)), of.kind)
		})
	}
}

// BenchmarkPolicyOnSQLite is BenchmarkPolicy on the other store.
func BenchmarkPolicyOnSQLite(b *testing.B) {
	for name, kind := range map[string]oauth.Kind{"personal": oauth.Personal, "commercial": oauth.Commercial} {
		b.Run(name, func(b *testing.B) {
			compare(b, onSQLite(b, 2, offAndOn(oauth.Spare)), kind)
		})
	}
}

// offAndOn has the first of two services issue without the policy.
func offAndOn(life time.Duration) func(*oauth.Options) {
	mode := oauth.ModeOff
	return func(o *oauth.Options) {
		o.Mode, o.Limits, o.Now, o.AccessLifetime = mode, &oauth.Limits{Hour: 1_000_000, Day: 1_000_000}, time.Now, life
		mode = oauth.ModeEnforce
	}
}

// compare runs rounds with the first and the second service in turns.
func compare(b *testing.B, on *bridges, kind oauth.Kind) {
	b.Helper()
	const each = 20
	next := scripts(b, on, kind)
	var ratios []float64
	var took [2]time.Duration
	var own, server [2]time.Duration // of the processor
	round := func(which int) time.Duration {
		runtime.GC() // none pays for what the other left
		ownBefore, serverBefore := processorTime(b, on)
		wall := refreshAll(b, on.services[which], next, each)
		ownAfter, serverAfter := processorTime(b, on)
		took[which] += wall
		own[which] += ownAfter - ownBefore
		server[which] += serverAfter - serverBefore
		return wall
	}
	for which := range 2 { // fills caches
		round(which)
		round(1 - which)
	}
	took, own, server = [2]time.Duration{}, [2]time.Duration{}, [2]time.Duration{}
	b.ResetTimer()
	for b.Loop() {
		first := len(ratios) % 2
		var wall [2]time.Duration
		wall[first] = round(first)
		wall[1-first] = round(1 - first)
		ratios = append(ratios, wall[0].Seconds()/wall[1].Seconds())
	}
	slices.Sort(ratios)
	quartile := func(q int) float64 { return ratios[(len(ratios)-1)*q/4] }
	b.ReportMetric(quartile(1), "ratio-q1")
	b.ReportMetric(quartile(2), "ratio")
	b.ReportMetric(quartile(3), "ratio-q3")
	b.ReportMetric((own[0]+server[0]).Seconds()/(own[1]+server[1]).Seconds(), "cpu-ratio")
	done := float64(len(ratios) * each * len(next))
	for which, name := range []string{"off", "on"} {
		b.ReportMetric(done/took[which].Seconds(), name+"/s")
		b.ReportMetric(1e6*own[which].Seconds()/done, name+"-own-us")
		b.ReportMetric(1e6*server[which].Seconds()/done, name+"-server-us")
	}
	b.ReportMetric(0, "ns/op")
}

// scripts are the next requests of 32 that refresh: with personal applications of their
// own, or with one commercial one, of 32 people.
func scripts(b *testing.B, on *bridges, kind oauth.Kind) (next []oauth.TokenRequest) {
	b.Helper()
	s, ctx := on.services[0], b.Context()
	var app application
	for i := range 32 {
		email := fmt.Sprintf("user%d@example.org", i)
		u, err := s.AddUser(ctx, email, "User", alicePassword)
		require.NoError(b, err)
		if kind == oauth.Personal {
			c, secret, err := s.AddClient(ctx, email, "Script")
			require.NoError(b, err)
			tokens, err := s.Token(ctx, oauth.TokenRequest{
				ClientID: c.ID, ClientSecret: secret, GrantType: oauth.GrantPassword, Username: email, Password: alicePassword, Address: home(),
			})
			require.NoError(b, err)
			next = append(next, oauth.TokenRequest{ClientID: c.ID, ClientSecret: secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken})
			continue
		}
		if i == 0 {
			c, secret, err := s.RequestCommercial(ctx, oauth.CommercialRequest{
				OwnerEmail: email, Name: "App", HomePage: "https://app.example", RedirectURIs: []string{redirectURI}, Scopes: []string{"read"},
			})
			require.NoError(b, err)
			require.NoError(b, s.Approve(ctx, c.ID))
			app = application{c, secret}
		}
		tokens, err := s.Token(ctx, app.exchange(on.code(b, app.ID, u.ID)))
		require.NoError(b, err)
		next = append(next, oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken})
	}
	return next
}

// refreshAll has everybody refresh so many times, and gives how long that took.
func refreshAll(b *testing.B, s *oauth.Service, next []oauth.TokenRequest, times int) time.Duration {
	b.Helper()
	var done sync.WaitGroup
	began := time.Now()
	for i := range next {
		done.Go(func() {
			for range times {
				tokens, err := s.Token(context.Background(), next[i])
				if err != nil {
					b.Error(err)
					return
				}
				next[i].RefreshToken = tokens.RefreshToken
			}
		})
	}
	done.Wait()
	return time.Since(began)
}

// processorTime is what this process has used, and the server's sessions if they are
// on this machine.
func processorTime(b *testing.B, on *bridges) (own, server time.Duration) {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	for _, pid := range on.sessions(b) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			continue // it runs elsewhere, or this is not Linux
		}
		var running int64
		_, err = fmt.Sscan(string(text), &running)
		require.NoError(b, err)
		server += time.Duration(running)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), server
}
