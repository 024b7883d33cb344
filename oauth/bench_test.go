package oauth_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
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
