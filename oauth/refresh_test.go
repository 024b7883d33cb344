package oauth_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/oauth"
)

func TestARefreshGivesANewPair(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first := s.first(t)
	s.seen.Issued()
	second, err := s.Token(t.Context(), s.refresh(first.RefreshToken))
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{64}$`, second.AccessToken)
	require.Regexp(t, `^[0-9a-f]{64}$`, second.RefreshToken)
	require.Equal(t, time.Hour, second.ExpiresIn)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	require.Equal(t, [][2]string{{s.aliceClient.ID, "refresh_token"}}, s.seen.Issued())

	access, err := s.Authenticate(t.Context(), second.AccessToken)
	require.NoError(t, err)
	require.Equal(t, s.alice.ID, access.UserID)
}

func TestARepeatWithinTheGraceGetsTheSamePair(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first := s.first(t)
	second, err := s.Token(t.Context(), s.refresh(first.RefreshToken))
	require.NoError(t, err)
	s.seen.Issued()
	s.clock.Advance(time.Minute - time.Microsecond)
	again, err := s.Token(t.Context(), s.refresh(first.RefreshToken))
	require.NoError(t, err)
	require.Equal(t, oauth.Tokens{
		AccessToken: second.AccessToken, RefreshToken: second.RefreshToken,
		ExpiresIn: 59 * time.Minute, // and a microsecond
	}, again)
	require.Empty(t, s.seen.Issued(), "nothing new was issued")
}

func TestReuseEndsTheWholeGrant(t *testing.T) {
	t.Parallel()
	for name, spend := range map[string]func(s *server, second oauth.Tokens){
		"after the grace": func(s *server, _ oauth.Tokens) { s.clock.Advance(time.Minute) },
		"after its successor was used": func(s *server, second oauth.Tokens) {
			_, err := s.Token(context.Background(), s.refresh(second.RefreshToken))
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			other := s.first(t)
			first := s.first(t)
			second, err := s.Token(t.Context(), s.refresh(first.RefreshToken))
			require.NoError(t, err)
			spend(s, second)

			_, err = s.Token(t.Context(), s.refresh(first.RefreshToken))
			refusal := refused(t, err, oauth.CodeInvalidGrant)
			require.Equal(t, "refresh token reused", refusal.Reason)
			for _, token := range []string{first.AccessToken, second.AccessToken} {
				_, err = s.Authenticate(t.Context(), token)
				refused(t, err, oauth.CodeInvalidToken)
			}
			_, err = s.Token(t.Context(), s.refresh(second.RefreshToken))
			after := refused(t, err, oauth.CodeInvalidGrant)
			require.Equal(t, refusal.Description, after.Description)

			_, err = s.Authenticate(t.Context(), other.AccessToken)
			require.NoError(t, err, "another grant of the same application goes on")
			_, err = s.Token(t.Context(), s.refresh(other.RefreshToken))
			require.NoError(t, err)
		})
	}
}

// untouched is a Store that must not be asked for a token.
type untouched struct {
	oauth.Store
	t *testing.T
}

func (u untouched) Rotate(context.Context, oauth.Rotation) (oauth.Rotated, error) {
	u.t.Error("a malformed token reached the store")
	return oauth.Rotated{}, oauth.ErrNotFound
}

func (u untouched) Access(context.Context, oauth.Hash, time.Time) (oauth.Access, error) {
	u.t.Error("a malformed token reached the store")
	return oauth.Access{}, oauth.ErrNotFound
}

func TestRefreshTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	tokens := s.first(t)
	picky := s.with(t, func(o *oauth.Options) { o.Store = untouched{s.store, t} })
	for name, token := range map[string]string{
		"upper case": strings.ToUpper(tokens.RefreshToken[:63]) + "A",
		"short":      tokens.RefreshToken[:63],
		"NUL":        tokens.RefreshToken[:63] + "\x00",
		"not hex":    strings.Repeat("z", 64),
	} {
		_, err := picky.Token(t.Context(), s.refresh(token))
		require.Equal(t, "The refresh token is invalid", refused(t, err, oauth.CodeInvalidGrant).Description, name)
	}
	for name, token := range map[string]string{"unknown": oauth.NewSecret(), "access token": tokens.AccessToken} {
		_, err := s.Token(t.Context(), s.refresh(token))
		require.Equal(t, "The refresh token is invalid", refused(t, err, oauth.CodeInvalidGrant).Description, name)
	}
	theirs := s.refresh(tokens.RefreshToken)
	theirs.ClientID, theirs.ClientSecret = s.bobClient.ID, s.bobSecret
	_, err := s.Token(t.Context(), theirs)
	refused(t, err, oauth.CodeInvalidGrant)

	s.clock.Advance(365*24*time.Hour - time.Microsecond)
	_, err = s.Token(t.Context(), s.refresh(tokens.RefreshToken))
	require.NoError(t, err, "none of that spent it, and it is good until its end")

	expiring := s.first(t)
	s.clock.Advance(365 * 24 * time.Hour)
	_, err = s.Token(t.Context(), s.refresh(expiring.RefreshToken))
	refused(t, err, oauth.CodeInvalidGrant)
}

func TestAThousandParallelRefreshesGetOnePair(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first := s.first(t)
	s.seen.Issued()
	var (
		mu    sync.Mutex
		pairs = map[[2]string]int{} // access and refresh token
		all   sync.WaitGroup
	)
	for range 1_000 {
		all.Go(func() {
			tokens, err := s.Token(context.Background(), s.refresh(first.RefreshToken))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			pairs[[2]string{tokens.AccessToken, tokens.RefreshToken}]++
		})
	}
	all.Wait()
	require.Len(t, pairs, 1)
	for pair, n := range pairs {
		require.Equal(t, 1_000, n)
		_, err := s.Authenticate(t.Context(), pair[0])
		require.NoError(t, err)
		_, err = s.Token(t.Context(), s.refresh(pair[1]))
		require.NoError(t, err)
	}
	require.Len(t, s.seen.Issued(), 2, "one pair was issued, and its successor")
}

// model is what rotation promises, in memory: grants, each a chain of pairs of which
// all but the last are spent.
type model struct {
	now    time.Time
	grants []*modelGrant
}

type modelGrant struct {
	revoked bool
	pairs   []modelPair
}

type modelPair struct {
	oauth.Tokens
	issued time.Time
	spent  time.Time
}

// expected is what a refresh with one pair's token must answer.
type expected int

const (
	newPair expected = iota
	samePair
	refusal
)

func (m *model) refresh(g *modelGrant, i int) expected {
	pair := &g.pairs[i]
	switch last := len(g.pairs) - 1; {
	case g.revoked || !m.now.Before(pair.issued.Add(refreshLifetime)):
		return refusal
	case i == last:
		pair.spent = m.now
		return newPair
	case i == last-1 && m.now.Sub(pair.spent) < grace:
		return samePair
	default:
		g.revoked = true
		return refusal
	}
}

func (m *model) live(g *modelGrant, i int) bool {
	return !g.revoked && m.now.Before(g.pairs[i].issued.Add(accessLifetime))
}

// check holds every access token against what the server says.
func (m *model) check(t require.TestingT, s *server) {
	seen := map[string]bool{}
	for _, g := range m.grants {
		for i, pair := range g.pairs {
			require.False(t, seen[pair.AccessToken] || seen[pair.RefreshToken], "a token was issued twice")
			seen[pair.AccessToken], seen[pair.RefreshToken] = true, true
			_, err := s.Authenticate(context.Background(), pair.AccessToken)
			if m.live(g, i) {
				require.NoError(t, err)
			} else {
				refused(t, err, oauth.CodeInvalidToken)
			}
		}
	}
}

const (
	accessLifetime  = time.Hour
	refreshLifetime = 3 * time.Hour
	grace           = time.Minute
)

func TestRotationKeepsItsPromisesInAnyOrder(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *oauth.Options) { o.RefreshLifetime = refreshLifetime })
	rapid.Check(t, func(t *rapid.T) {
		m := &model{now: s.clock.Now()}
		pick := func(t *rapid.T) (*modelGrant, int) {
			if len(m.grants) == 0 {
				t.Skip("no token yet")
			}
			g := rapid.SampledFrom(m.grants).Draw(t, "grant")
			// The ends of a chain are where the rules differ.
			back := rapid.IntRange(0, min(3, len(g.pairs)-1)).Draw(t, "pairs back")
			return g, len(g.pairs) - 1 - back
		}
		t.Repeat(map[string]func(*rapid.T){
			"sign in": func(t *rapid.T) {
				m.grants = append(m.grants, &modelGrant{pairs: []modelPair{{Tokens: s.first(t), issued: m.now}}})
			},
			"refresh": func(t *rapid.T) {
				g, i := pick(t)
				want := m.refresh(g, i)
				got, err := s.Token(context.Background(), s.refresh(g.pairs[i].RefreshToken))
				switch want {
				case newPair:
					require.NoError(t, err)
					require.Equal(t, accessLifetime, got.ExpiresIn)
					g.pairs = append(g.pairs, modelPair{Tokens: got, issued: m.now})
				case samePair:
					require.NoError(t, err)
					next := g.pairs[i+1]
					require.Equal(t, next.AccessToken, got.AccessToken)
					require.Equal(t, next.RefreshToken, got.RefreshToken)
					require.Equal(t, next.issued.Add(accessLifetime).Sub(m.now).Truncate(time.Second), got.ExpiresIn)
				case refusal:
					refused(t, err, oauth.CodeInvalidGrant)
				}
			},
			"refresh by another application": func(t *rapid.T) {
				g, i := pick(t)
				req := s.refresh(g.pairs[i].RefreshToken)
				req.ClientID, req.ClientSecret = s.bobClient.ID, s.bobSecret
				_, err := s.Token(context.Background(), req)
				refused(t, err, oauth.CodeInvalidGrant)
			},
			"time passes": func(t *rapid.T) {
				d := rapid.SampledFrom([]time.Duration{
					time.Microsecond, time.Second, grace - time.Microsecond, grace, accessLifetime / 2, refreshLifetime,
				}).Draw(t, "duration")
				s.clock.Advance(d)
				m.now = m.now.Add(d)
			},
			"sweep": func(t *rapid.T) {
				_, err := s.Sweep(context.Background())
				require.NoError(t, err)
			},
			"authenticate": func(t *rapid.T) { m.check(t, s) },
		})
		m.check(t, s)
	})
}

// A refresh token has a year, and each refresh gives the next one a whole year again:
// who comes by once in that time stays connected for good.
func TestWhatIsUsedOnceAYearNeverExpires(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	tokens := s.first(t)
	for range 5 {
		s.clock.Advance(364 * 24 * time.Hour)
		var err error
		tokens, err = s.Token(t.Context(), s.refresh(tokens.RefreshToken))
		require.NoError(t, err)
	}
}
