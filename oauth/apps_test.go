package oauth_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func TestApplicationsOfAnOwner(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.clock.Advance(time.Minute)
	newer := s.commercial(t)
	got, err := s.Applications(t.Context(), s.bob.ID)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, []string{newer.ID, s.bobClient.ID}, []string{got[0].ID, got[1].ID}, "the newest first")

	mine, err := s.Application(t.Context(), s.bob.ID, newer.ID)
	require.NoError(t, err)
	require.Equal(t, got[0], mine)
	for _, id := range []string{s.aliceClient.ID, oauth.NewClientID(), "", "unknown", newer.ID + "0"} {
		got, err := s.Application(t.Context(), s.bob.ID, id)
		require.ErrorIs(t, err, oauth.ErrNotFound, id)
		require.Zero(t, got)
		_, err = s.AddOwnSecret(t.Context(), s.asBob(), id)
		require.ErrorIs(t, err, oauth.ErrNotFound, id)
		require.ErrorIs(t, s.RemoveOwnSecret(t.Context(), s.bob.ID, id, 1, home()), oauth.ErrNotFound, id)
		_, err = s.OwnToken(t.Context(), s.bob, id, bobPassword, netip.Addr{})
		require.ErrorIs(t, err, oauth.ErrNotFound, id)
	}
}

func TestApplicationsThatCannotBeCreated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, secret, err := s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "", home())
	require.Empty(t, secret)
	requireField(t, err, "name", nil)
	for _, id := range []string{"", "unknown", "0123456789ABCDEF0123456789ABCDEF"} {
		_, _, err = s.CreatePersonal(t.Context(), s.bob.ID, id, "n", home())
		requireField(t, err, "client_id", nil)
	}
	_, _, err = s.CreatePersonal(t.Context(), s.bob.ID, s.aliceClient.ID, "n", home())
	requireField(t, err, "client_id", oauth.ErrExists)
	for range 9 {
		_, _, err = s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "n", home())
		require.NoError(t, err)
	}
	_, _, err = s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "n", home())
	requireField(t, err, "owner", oauth.ErrTooMany)

	r := s.request()
	r.Scopes = nil
	_, _, err = s.CreateCommercial(t.Context(), s.bob.ID, oauth.NewClientID(), r)
	requireField(t, err, "scope", nil)
	c, secret, err := s.CreateCommercial(t.Context(), s.bob.ID, oauth.NewClientID(), s.request())
	require.NoError(t, err)
	require.NotEmpty(t, secret)
	require.Equal(t, oauth.Pending, c.Status)
}

// Whoever deletes applications to register others is let do so 20 times a day: each
// gets a first token, and stays on record.
func TestAPersonRegistersTwentyApplicationsADay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	began := s.clock.Now() // when the first of Bob's was registered
	for range 18 {
		s.clock.Advance(time.Second)
		c, _, err := s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "n", home())
		require.NoError(t, err)
		require.NoError(t, s.DeleteOwn(t.Context(), s.bob.ID, c.ID, netip.Addr{}))
	}
	request := s.request()
	_, _, err := s.CreateCommercial(t.Context(), s.bob.ID, oauth.NewClientID(), request)
	require.NoError(t, err)
	for name, register := range map[string]func() error{
		"on the page": func() error {
			_, _, err := s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "n", home())
			return err
		},
		"for a request": func() error {
			_, _, err := s.CreateCommercial(t.Context(), s.bob.ID, oauth.NewClientID(), request)
			return err
		},
		"by command": func() error { _, _, err := s.AddClient(t.Context(), bobEmail, "n"); return err },
	} {
		err := register()
		requireField(t, err, "owner", nil)
		require.EqualError(t, err, "owner has registered 20 applications within a day; the next may follow at 2026-03-02 12:00 UTC", name)
		soon, is := errors.AsType[*oauth.TooSoonError](err)
		require.True(t, is, name)
		require.Equal(t, &oauth.TooSoonError{Recent: 20, Next: began.Add(24 * time.Hour)}, soon, name)
	}
	_, _, err = s.CreatePersonal(t.Context(), s.alice.ID, oauth.NewClientID(), "n", home())
	require.NoError(t, err, "of another person")
	s.clock.Advance(began.Add(24 * time.Hour).Sub(s.clock.Now()))
	_, _, err = s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "n", home())
	require.NoError(t, err)
	_, _, err = s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "n", home())
	require.EqualError(t, err, "owner has registered 20 applications within a day; the next may follow at 2026-03-02 12:01 UTC", "a second later, so not before the minute is over")
	unbounded := s.with(t, func(o *oauth.Options) { o.Registrations = -1 })
	_, _, err = unbounded.AddClient(t.Context(), bobEmail, "n")
	require.NoError(t, err)
}

func requireField(t *testing.T, err error, field string, cause error) {
	t.Helper()
	wrong, is := errors.AsType[*oauth.FieldError](err)
	require.True(t, is, "%v", err)
	require.Equal(t, field, wrong.Field)
	if cause != nil {
		require.ErrorIs(t, err, cause)
	}
}

func TestATokenForOneself(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	from := netip.MustParseAddr("192.0.2.1")
	tokens, err := s.OwnToken(t.Context(), s.alice, s.aliceClient.ID, alicePassword, from)
	require.NoError(t, err)
	require.Equal(t, [][2]string{{s.aliceClient.ID, oauth.GrantPassword}}, s.seen.Issued())
	access, err := s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	require.Equal(t, s.alice.ID, access.UserID)

	app := s.commercial(t)
	waiting, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	for name, test := range map[string]struct {
		owner            oauth.User
		client, password string
		code             string
	}{
		"wrong password":      {s.alice, s.aliceClient.ID, bobPassword, oauth.CodeInvalidGrant},
		"no password":         {s.alice, s.aliceClient.ID, "", oauth.CodeInvalidRequest},
		"a commercial one":    {s.bob, app.ID, bobPassword, oauth.CodeUnauthorizedClient},
		"one that is pending": {s.bob, waiting.ID, bobPassword, oauth.CodeUnauthorizedClient},
	} {
		_, err := s.OwnToken(t.Context(), test.owner, test.client, test.password, from)
		refusal, is := errors.AsType[*oauth.Error](err)
		require.True(t, is, name)
		require.Equal(t, test.code, refusal.Code, name)
		require.Equal(t, test.client, refusal.ClientID, name)
	}
	require.Empty(t, s.seen.Issued())
}

// lost is a Store that has lost its clients and grants.
type lost struct{ oauth.Store }

var errLost = errors.New("lost")

func (lost) Client(context.Context, string) (oauth.Client, error)          { return oauth.Client{}, errLost }
func (lost) ClientsOf(context.Context, int64, int) ([]oauth.Client, error) { return nil, errLost }
func (lost) AddClientWithin(context.Context, oauth.Client, oauth.Room, ...oauth.Change) error {
	return errLost
}

func (lost) Grants(context.Context, int64, time.Time, int) ([]oauth.Grant, error) {
	return nil, errLost
}

func (lost) Disconnect(context.Context, int64, string, time.Time, ...oauth.Change) (int, error) {
	return 0, errLost
}

func TestTroubleOfTheStoreIsNoRefusal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	service := s.with(t, func(o *oauth.Options) { o.Store = lost{o.Store} })
	for name, call := range map[string]func() error{
		"Applications": func() error { _, err := service.Applications(t.Context(), 1); return err },
		"Application":  func() error { _, err := service.Application(t.Context(), 1, s.aliceClient.ID); return err },
		"CreatePersonal": func() error {
			_, _, err := service.CreatePersonal(t.Context(), 1, oauth.NewClientID(), "n", home())
			return err
		},
		"Connections": func() error { _, err := service.Connections(t.Context(), 1); return err },
		"Disconnect":  func() error { _, err := service.Disconnect(t.Context(), 1, s.aliceClient.ID, home()); return err },
	} {
		err := call()
		require.ErrorIs(t, err, errLost, name)
		_, is := errors.AsType[*oauth.FieldError](err)
		require.False(t, is, name)
	}
}
