package oauth_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
)

func TestTheOwnerGetsTokensForTheirPassword(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	tokens := s.first(t)
	require.Regexp(t, `^[0-9a-f]{64}$`, tokens.AccessToken)
	require.Regexp(t, `^[0-9a-f]{64}$`, tokens.RefreshToken)
	require.NotEqual(t, tokens.AccessToken, tokens.RefreshToken)
	require.Equal(t, time.Hour, tokens.ExpiresIn)
	require.Equal(t, [][2]string{{s.aliceClient.ID, "password"}}, s.seen.Issued())

	access, err := s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	require.Positive(t, access.GrantID)
	want := oauth.Access{
		GrantID: access.GrantID, ClientID: s.aliceClient.ID, ClientName: "Alice's script",
		UserID: s.alice.ID, UserName: "Alice", UserEmail: aliceEmail, ExpiresAt: s.clock.Now().Add(time.Hour),
	}
	require.Empty(t, cmp.Diff(want, access))

	again := s.signIn()
	again.Username = "  ALICE@Example.org "
	_, err = s.Token(t.Context(), again)
	require.NoError(t, err, "a name is compared without case and surrounding space")
}

func TestOlderTokensStayGoodUntilTheirOwnEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	older := s.first(t)
	s.clock.Advance(30 * time.Minute)
	refreshed, err := s.Token(t.Context(), s.refresh(older.RefreshToken))
	require.NoError(t, err)
	other := s.first(t)
	for _, tokens := range []oauth.Tokens{older, refreshed, other} {
		_, err := s.Authenticate(t.Context(), tokens.AccessToken)
		require.NoError(t, err)
	}
}

func TestClientsThatDoNotAuthenticate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	hashes := s.passwords.Stats().Hashes
	for name, c := range map[string]struct {
		id, secret, description string
	}{
		"unknown":          {oauth.NewClientID(), s.aliceSecret, "The client credentials are invalid"},
		"malformed":        {"client\x00", s.aliceSecret, "The client credentials are invalid"},
		"wrong secret":     {s.aliceClient.ID, oauth.NewSecret(), "The client credentials are invalid"},
		"another's secret": {s.aliceClient.ID, s.bobSecret, "The client credentials are invalid"},
		"no secret":        {s.aliceClient.ID, "", "Client credentials were not found in the headers or body"},
		"no id":            {"", s.aliceSecret, "Client credentials were not found in the headers or body"},
	} {
		req := s.signIn()
		req.ClientID, req.ClientSecret = c.id, c.secret
		_, err := s.Token(t.Context(), req)
		refusal := refused(t, err, oauth.CodeInvalidClient)
		require.Equal(t, c.description, refusal.Description, name)
		require.Empty(t, refusal.ClientID, name)
		require.Len(t, s.seen.Refusals(), 1, name)
	}
	require.Empty(t, s.seen.Issued())
	require.Equal(t, hashes, s.passwords.Stats().Hashes, "no password is hashed for a client that is not known")
}

func TestGrantsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, c := range map[string]struct {
		change      func(*oauth.TokenRequest)
		code        string
		description string
	}{
		"no grant type":    {func(r *oauth.TokenRequest) { r.GrantType = "" }, oauth.CodeInvalidRequest, "The grant_type parameter is missing"},
		"no username":      {func(r *oauth.TokenRequest) { r.Username = "" }, oauth.CodeInvalidRequest, "The username parameter is missing"},
		"no password":      {func(r *oauth.TokenRequest) { r.Password = "" }, oauth.CodeInvalidRequest, "The password parameter is missing"},
		"no refresh token": {func(r *oauth.TokenRequest) { r.GrantType = oauth.GrantRefresh }, oauth.CodeInvalidRequest, "The refresh_token parameter is missing"},
		"implicit grant":   {func(r *oauth.TokenRequest) { r.GrantType = "implicit" }, oauth.CodeUnsupportedGrantType, "The grant type is not supported"},
		"upper case":       {func(r *oauth.TokenRequest) { r.GrantType = "Password" }, oauth.CodeUnsupportedGrantType, "The grant type is not supported"},
	} {
		req := s.signIn()
		c.change(&req)
		_, err := s.Token(t.Context(), req)
		refusal := refused(t, err, c.code)
		require.Equal(t, c.description, refusal.Description, name)
		require.Equal(t, s.aliceClient.ID, refusal.ClientID, name)
		require.Equal(t, []string{refusal.Reason}, s.seen.Refusals(), name)
	}
}

// otherKind is a Store whose clients are of a kind that may use no grant.
type otherKind struct{ oauth.Store }

func (o otherKind) Client(ctx context.Context, id string) (oauth.Client, error) {
	c, err := o.Store.Client(ctx, id)
	c.Kind = "other"
	return c, err
}

func TestAKindOfApplicationThatMayNotUseTheGrant(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	service := s.with(t, func(o *oauth.Options) { o.Store = otherKind{s.store} })
	_, err := service.Token(t.Context(), s.signIn())
	refused(t, err, oauth.CodeUnauthorizedClient)
}

func TestAccessTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	tokens := s.first(t)
	refuses := func(why, token string) {
		t.Helper()
		_, err := s.Authenticate(t.Context(), token)
		refusal := refused(t, err, oauth.CodeInvalidToken)
		require.Equal(t, "The access token provided is invalid", refusal.Description, why)
		require.Equal(t, []string{refusal.Reason}, s.seen.Refusals(), why)
	}
	refuses("unknown", oauth.NewSecret())
	refuses("empty", "")
	refuses("upper case", strings.ToUpper(tokens.AccessToken))
	refuses("too long", tokens.AccessToken+"0")
	refuses("not hex", strings.Repeat("g", 64))
	refuses("NUL", "\x00")
	refuses("a refresh token", tokens.RefreshToken)

	picky := s.with(t, func(o *oauth.Options) { o.Store = untouched{s.store, t} })
	_, err := picky.Authenticate(t.Context(), "malformed")
	refused(t, err, oauth.CodeInvalidToken)
	require.Equal(t, []string{"access token malformed"}, s.seen.Refusals())

	s.clock.Advance(time.Hour - time.Microsecond)
	_, err = s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err, "until its end it is good")
	s.clock.Advance(time.Microsecond)
	refuses("expired", tokens.AccessToken)
}

// broken is a Store that has failed.
type broken struct{ oauth.Store }

var errBroken = errors.New("disk on fire")

func (broken) Client(context.Context, string) (oauth.Client, error) {
	return oauth.Client{}, errBroken
}

func (broken) Access(context.Context, oauth.Hash, time.Time) (oauth.Access, error) {
	return oauth.Access{}, errBroken
}

// late is a Store that fails after the client has authenticated.
type late struct{ oauth.Store }

func (late) Issue(context.Context, oauth.Issuance) (oauth.NewGrant, error) {
	return oauth.NewGrant{}, errBroken
}

func (late) Rotate(context.Context, oauth.Rotation) (oauth.Rotated, error) {
	return oauth.Rotated{}, errBroken
}

func TestAFailureOfTheStoreIsNoRefusal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	failing := s.with(t, func(o *oauth.Options) { o.Store = broken{s.store} })
	lately := s.with(t, func(o *oauth.Options) { o.Store = late{s.store} })
	_, client := failing.Token(t.Context(), s.signIn())
	_, access := failing.Authenticate(t.Context(), oauth.NewSecret())
	_, issue := lately.Token(t.Context(), s.signIn())
	_, rotate := lately.Token(t.Context(), s.refresh(oauth.NewSecret()))
	for _, err := range []error{client, access, issue, rotate} {
		require.ErrorIs(t, err, errBroken)
		_, refusal := errors.AsType[*oauth.Error](err)
		require.False(t, refusal, "%v", err)
		require.NotContains(t, err.Error(), alicePassword)
	}
	require.Empty(t, s.seen.Refusals())
	require.Empty(t, s.seen.Issued())
}

func TestSweepTakesWhatExpiredLongAgoAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *oauth.Options) { o.RefreshLifetime = 48 * time.Hour })
	old := s.first(t)
	_, err := s.Token(t.Context(), s.wrong())
	refused(t, err, oauth.CodeInvalidGrant)
	s.clock.Advance(25 * time.Hour)
	n, err := s.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n, "the failed sign-in in its two counts; the access token expired 24 hours ago, and no longer")
	s.clock.Advance(time.Hour)
	n, err = s.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "the access token")

	refreshed, err := s.Token(t.Context(), s.refresh(old.RefreshToken))
	require.NoError(t, err, "the refresh token lives on")
	s.clock.Advance(72 * time.Hour)
	n, err = s.Sweep(t.Context())
	require.NoError(t, err)
	require.Positive(t, n)
	_, err = s.Token(t.Context(), s.refresh(refreshed.RefreshToken))
	refused(t, err, oauth.CodeInvalidGrant)
	n, err = s.Sweep(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, n, 1)
}

// purging is a Store that always has more to delete, until it fails or is empty.
type purging struct {
	oauth.Store
	before  []time.Time
	failAt  int
	emptyAt int
}

func (p *purging) Purge(_ context.Context, before time.Time, limit int) (int, error) {
	p.before = append(p.before, before)
	if len(p.before) == p.failAt {
		return 0, errBroken
	}
	if len(p.before) == p.emptyAt {
		return limit - 1, nil
	}
	return limit, nil
}

func TestSweepIsBoundedAndStopsWhenItIsDone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	endless := &purging{Store: s.store}
	n, err := s.with(t, func(o *oauth.Options) { o.Store = endless }).Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 100_000, n)
	require.Len(t, endless.before, 100)
	require.Equal(t, s.clock.Now().Add(-24*time.Hour), endless.before[0])

	emptied := &purging{Store: s.store, emptyAt: 2}
	n, err = s.with(t, func(o *oauth.Options) { o.Store = emptied }).Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1_999, n)
	require.Len(t, emptied.before, 2)

	failing := &purging{Store: s.store, failAt: 3}
	n, err = s.with(t, func(o *oauth.Options) { o.Store = failing }).Sweep(t.Context())
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, 2_000, n)
}

func TestAddUserRefusesByField(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, c := range map[string]struct{ email, user, password, want string }{
		"no address":           {"nobody", "N", "long enough", "email is not an e-mail address"},
		"a look-alike letter":  {"аlice@example.org", "N", "long enough", "email holds a character other than ASCII, which may look like another one"}, // а is Cyrillic
		"a look-alike domain":  {"n@éxample.org", "N", "long enough", "email holds a character other than ASCII, which may look like another one"},
		"invisible in address": {"n\u200b@example.org", "N", "long enough", "email holds a character other than ASCII, which may look like another one"},
		"taken":                {" ALICE@example.org", "N", "long enough", "email is taken"},
		"no name":              {"n@example.org", " \t", "long enough", "name is empty"},
		"long name":            {"n@example.org", strings.Repeat("é", 101), "long enough", "name has more than 100 characters"},
		"control in name":      {"n@example.org", "N\x1b[2J", "long enough", "name holds a control character"},
		"name read backwards":  {"n@example.org", "\u202eecilA", "long enough", "name holds an invisible character"},
		"name not UTF-8":       {"n@example.org", "N\xff", "long enough", "name is not valid UTF-8"},
		"short password":       {"n@example.org", "N", "short", "password has fewer than 8 bytes"},
		"long password":        {"n@example.org", "N", strings.Repeat("p", 1025), "password has more than 1024 bytes"},
		"NUL in password":      {"n@example.org", "N", "long\x00enough", "password holds a NUL"},
		"password no UTF-8":    {"n@example.org", "N", "long enough\xff", "password is not valid UTF-8"},
		"line break in a name": {"n@example.org", "N\nN", "long enough", "name holds a control character"},
	} {
		_, err := s.AddUser(t.Context(), c.email, c.user, c.password)
		var field *oauth.FieldError
		require.ErrorAs(t, err, &field, name)
		require.EqualError(t, err, c.want, name)
	}
	_, err := s.AddUser(t.Context(), aliceEmail, "Alice", "long enough")
	require.ErrorIs(t, err, oauth.ErrExists)

	users, err := s.Users(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]oauth.User{s.alice, s.bob}, users))
	users, err = s.Users(t.Context(), s.alice.ID, 1)
	require.NoError(t, err)
	require.Equal(t, s.bob.ID, users[0].ID)
}

func TestAddUserKeepsTheNormalForm(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	user, err := s.AddUser(t.Context(), " Carole@Example.ORG ", " "+strings.Repeat("é", 100)+" ", "long enough")
	require.NoError(t, err)
	require.Equal(t, "carole@example.org", user.Email)
	require.Equal(t, strings.Repeat("é", 100), user.Name)
	require.True(t, strings.HasPrefix(user.PasswordHash, "$argon2id$"))
	require.Equal(t, s.clock.Now(), user.CreatedAt)
}

func TestAddClientGivesASecretThatTheStoreNeverSees(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.Regexp(t, `^[0-9a-f]{32}$`, s.aliceClient.ID)
	require.Regexp(t, `^[0-9a-f]{64}$`, s.aliceSecret)
	want := oauth.Client{
		ID: s.aliceClient.ID, Kind: oauth.Personal, Status: oauth.Active, Name: "Alice's script", OwnerID: s.alice.ID,
		CreatedAt: s.clock.Now(), Secrets: []oauth.Secret{{Hash: oauth.HashOf(s.aliceSecret), CreatedAt: s.clock.Now()}},
	}
	clients, err := s.Clients(t.Context(), "", 10)
	require.NoError(t, err)
	require.Len(t, clients, 2)
	i := slices.IndexFunc(clients, func(c oauth.Client) bool { return c.ID == want.ID })
	require.Positive(t, clients[i].Secrets[0].ID)
	want.Secrets[0].ID = clients[i].Secrets[0].ID
	require.Empty(t, cmp.Diff(want, clients[i]))

	for name, c := range map[string]struct{ owner, client, want string }{
		"unknown owner": {"nobody@example.org", "N", "owner has no account"},
		"not an owner":  {"nobody", "N", "owner is not an e-mail address"},
		"no name":       {aliceEmail, "", "name is empty"},
	} {
		_, secret, err := s.AddClient(t.Context(), c.owner, c.client)
		var field *oauth.FieldError
		require.ErrorAs(t, err, &field, name)
		require.EqualError(t, err, c.want, name)
		require.Empty(t, secret, name)
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, change := range map[string]func(*oauth.Options){
		"Store":           func(o *oauth.Options) { o.Store = nil },
		"Passwords":       func(o *oauth.Options) { o.Passwords = nil },
		"Grace":           func(o *oauth.Options) { o.Grace = -1 },
		"AccessLifetime":  func(o *oauth.Options) { o.AccessLifetime = time.Minute },
		"RefreshLifetime": func(o *oauth.Options) { o.RefreshLifetime = time.Minute },
		"FailureLimit":    func(o *oauth.Options) { o.FailureLimit = -1 },
		"FailureWindow":   func(o *oauth.Options) { o.FailureWindow = time.Millisecond },
		"Retention":       func(o *oauth.Options) { o.Retention = time.Minute },
		"Issuer":          func(o *oauth.Options) { o.Issuer = issuer + "/" },
	} {
		o := oauth.Options{Store: s.store, Passwords: s.passwords}
		_, err := oauth.New(o)
		require.NoError(t, err)
		change(&o)
		_, err = oauth.New(o)
		require.ErrorContains(t, err, "option "+name+" ")
	}
}

// What is stolen with the disk opens nothing.
func TestTheFileNeverHoldsASecret(t *testing.T) {
	t.Parallel()
	db := migrationstest.SQLite(t)
	s := newServerOn(t, db)

	app := s.commercial(t)
	second, err := s.AddSecret(t.Context(), app.ID)
	require.NoError(t, err)
	code := s.consent(t, app.ask()).Query().Get("code")
	exchanged, err := s.Token(t.Context(), app.exchange(code))
	require.NoError(t, err)
	in, err := s.SignIn(t.Context(), aliceEmail, alicePassword, home())
	require.NoError(t, err)
	tokens := s.first(t)
	secrets := []string{
		alicePassword, bobPassword, s.aliceSecret, s.bobSecret, app.secret, second, code, verifier, in.Secret,
		exchanged.AccessToken, exchanged.RefreshToken, tokens.AccessToken, tokens.RefreshToken,
	}
	for range 5 {
		old := tokens.RefreshToken
		var err error
		tokens, err = s.Token(t.Context(), s.refresh(old))
		require.NoError(t, err)
		_, err = s.Token(t.Context(), s.refresh(old)) // repeated
		require.NoError(t, err)
		secrets = append(secrets, tokens.AccessToken, tokens.RefreshToken)
	}
	mistaken := s.wrong()
	mistaken.Username = "typed in the wrong field"
	_, err = s.Token(t.Context(), mistaken)
	refused(t, err, oauth.CodeInvalidGrant)
	secrets = append(secrets, mistaken.Username, mistaken.Password)

	var path string
	require.NoError(t, db.Read().QueryRowContext(t.Context(), `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path))
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var disk []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		disk = append(disk, content...)
	}
	require.Contains(t, string(disk), aliceEmail, "the files are the right ones")
	for _, secret := range secrets {
		require.False(t, holds(disk, secret), "the store holds %q", secret)
	}
}

// holds tells whether content holds a secret as text of either case, or, if it is
// hex, as bytes.
func holds(content []byte, secret string) bool {
	raw, err := hex.DecodeString(secret)
	return bytes.Contains(content, []byte(secret)) ||
		bytes.Contains(content, []byte(strings.ToUpper(secret))) ||
		err == nil && bytes.Contains(content, raw)
}
