package oauth_test

import (
	"context"
	"fmt"
	"sync"
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
// policy on and off, in turns, and prints the ratio of what they get done in a
// second.
func BenchmarkPolicy(b *testing.B) {
	for name, of := range map[string]struct {
		kind oauth.Kind
		life time.Duration // of access tokens: a refresh is wasteful if it is longer than oauth.Spare
	}{
		"personal": {oauth.Personal, oauth.Spare}, "commercial": {oauth.Commercial, oauth.Spare}, "wasteful": {oauth.Personal, time.Hour},
	} {
		b.Run(name, func(b *testing.B) {
			modes := map[oauth.Mode]*refreshers{}
			for _, mode := range []oauth.Mode{oauth.ModeOff, oauth.ModeEnforce} {
				modes[mode] = newRefreshers(b, of.kind, of.life, mode)
				modes[mode].round(b, 20) // fills caches
			}
			const each = 20
			took := map[oauth.Mode]time.Duration{}
			n := 0
			b.ResetTimer()
			for b.Loop() {
				order := []oauth.Mode{oauth.ModeOff, oauth.ModeEnforce}
				if n%2 == 1 {
					order[0], order[1] = order[1], order[0]
				}
				for _, mode := range order {
					took[mode] += modes[mode].round(b, each)
				}
				n++
			}
			perSecond := func(mode oauth.Mode) float64 { return float64(n*each*32) / took[mode].Seconds() }
			b.ReportMetric(perSecond(oauth.ModeEnforce), "on/s")
			b.ReportMetric(perSecond(oauth.ModeOff), "off/s")
			b.ReportMetric(perSecond(oauth.ModeEnforce)/perSecond(oauth.ModeOff), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// refreshers are 32 scripts that refresh at the same time: 32 personal applications,
// or one commercial one of 32 people.
type refreshers struct {
	service *oauth.Service
	next    []oauth.TokenRequest
}

func newRefreshers(b *testing.B, kind oauth.Kind, life time.Duration, mode oauth.Mode) *refreshers {
	b.Helper()
	bridges := onPostgres(b, func(o *oauth.Options) {
		o.Mode, o.Limits, o.Now, o.AccessLifetime = mode, &oauth.Limits{Hour: 1_000_000, Day: 1_000_000}, time.Now, life
	})
	s, ctx := bridges.services[0], b.Context()
	r := &refreshers{service: s}
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
			r.next = append(r.next, oauth.TokenRequest{ClientID: c.ID, ClientSecret: secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken})
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
		code := bridges.code(b, app.ID, u.ID)
		tokens, err := s.Token(ctx, app.exchange(code))
		require.NoError(b, err)
		r.next = append(r.next, oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken})
	}
	return r
}

// round has everybody refresh so many times, and gives how long that took.
func (r *refreshers) round(b *testing.B, times int) time.Duration {
	b.Helper()
	var done sync.WaitGroup
	began := time.Now()
	for i := range r.next {
		done.Go(func() {
			for range times {
				tokens, err := r.service.Token(context.Background(), r.next[i])
				if err != nil {
					b.Error(err)
					return
				}
				r.next[i].RefreshToken = tokens.RefreshToken
			}
		})
	}
	done.Wait()
	return time.Since(began)
}
