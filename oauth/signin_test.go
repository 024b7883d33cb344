package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// strangers are requests with every pair that is not the owner's.
func strangers(s *server) map[string]oauth.TokenRequest {
	with := func(username, password string) oauth.TokenRequest {
		req := s.signIn()
		req.Username, req.Password = username, password
		return req
	}
	return map[string]oauth.TokenRequest{
		"wrong password":              with(aliceEmail, "not hers"),
		"right password and more":     with(aliceEmail, alicePassword+" "),
		"unknown user":                with("nobody@example.org", alicePassword),
		"no name at all":              with("nobody", alicePassword),
		"not UTF-8":                   with("alice\xff@example.org", "not\xff hers"),
		"NUL":                         with("alice\x00@example.org", alicePassword),
		"another user, and all right": with(bobEmail, bobPassword),
		"another user, wrong":         with(bobEmail, alicePassword),
	}
}

func TestEveryOtherPairIsRefusedAlikeAtTheSameCost(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, req := range strangers(s) {
		before := s.passwords.Stats().Hashes
		_, err := s.Token(t.Context(), req)
		refusal := refused(t, err, oauth.CodeInvalidGrant)
		require.Equal(t, oauth.Error{
			Code: oauth.CodeInvalidGrant, Description: "The username and password combination is invalid",
			Reason: "sign-in failed", ClientID: s.aliceClient.ID,
		}, refusal, name)
		require.Equal(t, uint64(1), s.passwords.Stats().Hashes-before, name)
	}
	before := s.passwords.Stats().Hashes
	s.first(t)
	require.Equal(t, uint64(1), s.passwords.Stats().Hashes-before, "a right one costs the same")
}

func TestEveryOtherPairCountsAsAFailure(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	address := home()
	for _, req := range strangers(s) {
		address = address.Next()
		req.Address = address
		fail(t, s, req, 10)
		_, err := s.Token(t.Context(), req)
		refused(t, err, oauth.CodeSlowDown)
	}
}

// fail signs in wrongly n times, which is refused as invalid each time.
func fail(t *testing.T, s *server, req oauth.TokenRequest, n int) {
	t.Helper()
	for range n {
		_, err := s.Token(t.Context(), req)
		refused(t, err, oauth.CodeInvalidGrant)
	}
}

func TestAfterTenFailuresThePairWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	fail(t, s, s.wrong(), 1)
	s.clock.Advance(5 * time.Minute)
	fail(t, s, s.wrong(), 9)
	hashes := s.passwords.Stats().Hashes
	for _, req := range []oauth.TokenRequest{s.wrong(), s.signIn()} {
		_, err := s.Token(t.Context(), req)
		refusal := refused(t, err, oauth.CodeSlowDown)
		require.Equal(t, 10*time.Minute, refusal.RetryAfter, "until the oldest failure leaves the window")
		require.Equal(t, s.aliceClient.ID, refusal.ClientID)
	}
	require.Equal(t, hashes, s.passwords.Stats().Hashes, "a pair that waits costs no hash")

	elsewhere := s.signIn()
	elsewhere.Address = netip.MustParseAddr("192.0.2.2")
	_, err := s.Token(t.Context(), elsewhere)
	require.NoError(t, err, "the right password from elsewhere works")

	bob := s.signIn()
	bob.ClientID, bob.ClientSecret, bob.Username, bob.Password = s.bobClient.ID, s.bobSecret, bobEmail, bobPassword
	_, err = s.Token(t.Context(), bob)
	require.NoError(t, err, "another account from here works")

	s.clock.Advance(10*time.Minute - time.Microsecond)
	_, err = s.Token(t.Context(), s.signIn())
	require.Equal(t, time.Second, refused(t, err, oauth.CodeSlowDown).RetryAfter, "never less than a second")
	s.clock.Advance(time.Microsecond)
	_, err = s.Token(t.Context(), s.signIn())
	require.NoError(t, err, "after RetryAfter the right password works")
}

// further registers another application of alice's, and gives its request with the right
// password.
func further(t *testing.T, s *server) oauth.TokenRequest {
	t.Helper()
	client, secret, err := s.AddClient(t.Context(), aliceEmail, "Another")
	require.NoError(t, err)
	req := s.signIn()
	req.ClientID, req.ClientSecret = client.ID, secret
	return req
}

func TestAnApplicationThatWaitsStopsNoOther(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	fail(t, s, s.wrong(), 10)
	_, err := s.Token(t.Context(), s.signIn())
	refused(t, err, oauth.CodeSlowDown)
	_, err = s.Token(t.Context(), further(t, s))
	require.NoError(t, err)
}

func TestMoreApplicationsAreNoMoreThanFiftyGuesses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for range 5 {
		guess := further(t, s)
		guess.Password = "not hers"
		fail(t, s, guess, 10)
		for range 3 {
			_, err := s.Token(t.Context(), guess)
			refused(t, err, oauth.CodeSlowDown)
		}
	}
	last := further(t, s)
	_, err := s.Token(t.Context(), last)
	require.Equal(t, 15*time.Minute, refused(t, err, oauth.CodeSlowDown).RetryAfter)
	_, err = s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err, "the owner in the browser is not kept out")
	s.clock.Advance(15 * time.Minute)
	_, err = s.Token(t.Context(), last)
	require.NoError(t, err)
}

func TestAFloodOverManyApplicationsLearnsNothingPastFiftyFailures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var (
		mu    sync.Mutex
		count = map[string]int{}
		all   sync.WaitGroup
	)
	for range 10 {
		guess := further(t, s)
		guess.Password = "not hers"
		for range 12 {
			all.Go(func() {
				_, err := s.Token(context.Background(), guess)
				refusal, _ := errors.AsType[*oauth.Error](err)
				mu.Lock()
				defer mu.Unlock()
				count[refusal.Code]++
			})
		}
	}
	all.Wait()
	require.Equal(t, map[string]int{oauth.CodeInvalidGrant: 50, oauth.CodeSlowDown: 70}, count)
}

func TestASuccessDoesNotClearFailures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	fail(t, s, s.wrong(), 9)
	s.first(t)
	fail(t, s, s.wrong(), 1)
	_, err := s.Token(t.Context(), s.signIn())
	refused(t, err, oauth.CodeSlowDown)
}

func TestASpellingOfTheNameDoesNotStartTheCountAnew(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, spelling := range []string{"alice@example.org", " alice@example.org", "ALICE@EXAMPLE.ORG", "Alice@example.org\n", "aLICE@example.org"} {
		req := s.wrong()
		req.Username = spelling
		fail(t, s, req, 2)
	}
	_, err := s.Token(t.Context(), s.signIn())
	refused(t, err, oauth.CodeSlowDown)
}

func TestOneIPv6HostCannotRotateItsAddress(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	req := s.wrong()
	for i := range 10 {
		req.Address = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))
		fail(t, s, req, 1)
	}
	req = s.signIn()
	req.Address = netip.MustParseAddr("2001:db8::ffff:1")
	_, err := s.Token(t.Context(), req)
	refused(t, err, oauth.CodeSlowDown)
	req.Address = netip.MustParseAddr("2001:db8:0:1::1")
	_, err = s.Token(t.Context(), req)
	require.NoError(t, err, "the neighbour is another network")
}

func TestAFloodInParallelLearnsNothingPastTenFailures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var (
		mu    sync.Mutex
		count = map[string]int{}
		all   sync.WaitGroup
	)
	for range 300 {
		all.Go(func() {
			_, err := s.Token(context.Background(), s.wrong())
			refusal, _ := errors.AsType[*oauth.Error](err)
			mu.Lock()
			defer mu.Unlock()
			count[refusal.Code]++
		})
	}
	all.Wait()
	require.Equal(t, map[string]int{oauth.CodeInvalidGrant: 10, oauth.CodeSlowDown: 290}, count)
	require.LessOrEqual(t, s.passwords.Stats().Hashes, uint64(3+10+4), "past ten, only what was already being hashed is")
}

// interleaved is a Store in which something happens while a password is verified:
// after the count before it and before the count after it.
type interleaved struct {
	oauth.Store
	during func()
}

func (i interleaved) UserByEmail(ctx context.Context, email string) (oauth.User, error) {
	user, err := i.Store.UserByEmail(ctx, email)
	i.during()
	return user, err
}

func TestTenFailuresDuringTheVerificationHideItsResult(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]func(*server) oauth.TokenRequest{
		"right": (*server).signIn,
		"wrong": (*server).wrong,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			raced := s.with(t, func(o *oauth.Options) {
				o.Store = interleaved{s.store, sync.OnceFunc(func() { fail(t, s, s.wrong(), 10) })}
			})
			_, err := raced.Token(t.Context(), req(s))
			refusal := refused(t, err, oauth.CodeSlowDown)
			require.Equal(t, 15*time.Minute, refusal.RetryAfter)
		})
	}
}

func TestACallerWhoHangsUpDoesNotEscapeTheCount(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for range 10 {
		ctx, hangUp := context.WithCancel(t.Context())
		raced := s.with(t, func(o *oauth.Options) { o.Store = interleaved{s.store, hangUp} })
		_, err := raced.Token(ctx, s.wrong())
		refused(t, err, oauth.CodeInvalidGrant)
	}
	_, err := s.Token(t.Context(), s.signIn())
	refused(t, err, oauth.CodeSlowDown)
}

func TestSignInsPastTheQueueAreUnavailable(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	few, err := oauth.NewPasswords(oauth.PasswordOptions{
		Workers: 1, Queue: 1,
		Params: argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
	})
	require.NoError(t, err)
	busy, leave := make(chan struct{}, 2), make(chan struct{})
	service := s.with(t, func(o *oauth.Options) {
		o.Passwords = few
		o.Store = interleaved{s.store, func() { busy <- struct{}{}; <-leave }}
	})
	answers := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := service.Token(context.Background(), s.signIn())
			answers <- err
		}()
	}
	<-busy
	require.Eventually(t, func() bool { return few.Stats().Waiting == 1 }, 10*time.Second, time.Millisecond)
	tokens := s.first(t)

	_, err = service.Token(t.Context(), s.signIn())
	refusal := refused(t, err, oauth.CodeUnavailable)
	require.GreaterOrEqual(t, refusal.RetryAfter, time.Second)
	_, err = service.Token(t.Context(), s.refresh(tokens.RefreshToken))
	require.NoError(t, err, "a refresh needs no password worker")

	close(leave)
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
}
