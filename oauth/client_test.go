package oauth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// client finds a registered application.
func (s *server) find(t *testing.T, id string) oauth.Client {
	t.Helper()
	clients, err := s.Clients(t.Context(), "", 100)
	require.NoError(t, err)
	i := slices.IndexFunc(clients, func(c oauth.Client) bool { return c.ID == id })
	require.GreaterOrEqual(t, i, 0)
	return clients[i]
}

// The one table of which kind of application may use which grant.
func TestWhichKindMayUseWhichGrant(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.Equal(t, []string{"authorization_code", "client_credentials", "password", "refresh_token", oauth.GrantDevice}, oauth.GrantTypes())
	personal := application{s.aliceClient, s.aliceSecret}
	for name, c := range map[string]struct {
		app application
		may []string
	}{
		"personal":   {personal, []string{"password", "refresh_token", oauth.GrantDevice}},
		"commercial": {s.commercial(t), []string{"authorization_code", "refresh_token", "client_credentials"}},
		"public":     {s.commercial(t, public), []string{"authorization_code", "refresh_token"}},
	} {
		for _, grant := range oauth.GrantTypes() {
			_, err := s.Token(t.Context(), oauth.TokenRequest{ClientID: c.app.ID, ClientSecret: c.app.secret, GrantType: grant})
			if !slices.Contains(c.may, grant) {
				require.Equal(t, "The grant type is unauthorized for this client_id", refused(t, err, oauth.CodeUnauthorizedClient).Description, "%s, %s", name, grant)
				continue
			}
			if grant != oauth.GrantClientCredentials {
				refused(t, err, oauth.CodeInvalidRequest)
				continue
			}
			require.NoError(t, err, "%s, %s", name, grant)
		}
	}
}

func TestACommercialApplicationWaitsForItsApproval(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, secret, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{64}$`, secret)
	want := oauth.Client{
		ID: client.ID, Kind: oauth.Commercial, Status: oauth.Pending, Name: "Bob's app", OwnerID: s.bob.ID, CreatedAt: s.clock.Now(),
		Secrets:     []oauth.Secret{{Hash: oauth.HashOf(secret), CreatedAt: s.clock.Now()}},
		Description: "Does things.\nMany.", HomePage: "https://app.example", RedirectURIs: []string{redirectURI}, Scope: oauth.Scope{"read", "write"},
	}
	stored := s.find(t, client.ID)
	require.Len(t, stored.Secrets, 1)
	want.Secrets[0].ID = stored.Secrets[0].ID
	require.Empty(t, cmp.Diff(want, stored))

	refuses := func(id, secret string) {
		t.Helper()
		_, err := s.Token(t.Context(), oauth.TokenRequest{ClientID: id, ClientSecret: secret, GrantType: oauth.GrantClientCredentials})
		require.Equal(t, "The application is not approved", refused(t, err, oauth.CodeUnauthorizedClient).Description)
		require.Error(t, s.Revoke(t.Context(), oauth.ClientRequest{ClientID: id, ClientSecret: secret, Token: "x"}))
		_, _, err = s.Introspect(t.Context(), oauth.ClientRequest{ClientID: id, ClientSecret: secret, Token: "x"})
		refused(t, err, oauth.CodeUnauthorizedClient)
	}
	refuses(client.ID, secret)
	_, err = s.Token(t.Context(), oauth.TokenRequest{ClientID: client.ID, ClientSecret: "no", GrantType: oauth.GrantClientCredentials})
	refused(t, err, oauth.CodeInvalidClient)
	require.NoError(t, s.Approve(t.Context(), client.ID))
	_, err = s.Token(t.Context(), oauth.TokenRequest{ClientID: client.ID, ClientSecret: secret, GrantType: oauth.GrantClientCredentials})
	require.NoError(t, err)

	rejected, secret, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	require.NoError(t, s.Reject(t.Context(), rejected.ID))
	refuses(rejected.ID, secret)

	for name, decide := range map[string]func() error{
		"approved again":  func() error { return s.Approve(t.Context(), client.ID) },
		"rejected late":   func() error { return s.Reject(t.Context(), client.ID) },
		"approved late":   func() error { return s.Approve(t.Context(), rejected.ID) },
		"personal":        func() error { return s.Approve(t.Context(), s.aliceClient.ID) },
		"unknown":         func() error { return s.Approve(t.Context(), oauth.NewClientID()) },
		"no id, with NUL": func() error { return s.Approve(t.Context(), "x") },
	} {
		err := decide()
		var field *oauth.FieldError
		require.ErrorAs(t, err, &field, name)
		require.ErrorIs(t, err, oauth.ErrNotFound, name)
	}
}

func TestAPublicApplicationHasNoSecret(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, secret, err := s.RequestCommercial(t.Context(), s.request(public))
	require.NoError(t, err)
	require.Empty(t, secret)
	require.True(t, s.find(t, client.ID).Public)
	require.Empty(t, s.find(t, client.ID).Secrets)
	require.NoError(t, s.Approve(t.Context(), client.ID))
	_, err = s.AddSecret(t.Context(), client.ID)
	require.EqualError(t, err, "client_id names no application that has secrets")
	app := application{client, ""}
	s.issue(t, app)
	app.secret = oauth.NewSecret()
	_, err = s.Token(t.Context(), app.exchange(oauth.NewSecret()))
	refused(t, err, oauth.CodeInvalidClient)
}

func TestCommercialRequestsAreRefusedByField(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	many := make([]string, 11)
	for i := range many {
		many[i] = redirectURI
	}
	for name, c := range map[string]struct {
		change func(*oauth.CommercialRequest)
		field  string
	}{
		"no name":              {func(r *oauth.CommercialRequest) { r.Name = " " }, "name"},
		"long description":     {func(r *oauth.CommercialRequest) { r.Description = strings.Repeat("é", 501) }, "description"},
		"description not text": {func(r *oauth.CommercialRequest) { r.Description = "\xff" }, "description"},
		"control characters":   {func(r *oauth.CommercialRequest) { r.Description = "\x1b[2J" }, "description"},
		"NUL":                  {func(r *oauth.CommercialRequest) { r.Description = "\x00" }, "description"},
		"name read backwards":  {func(r *oauth.CommercialRequest) { r.Name = "\u202eegdirbxoF" }, "name"},
		"invisible":            {func(r *oauth.CommercialRequest) { r.Description = "Made by\u200b us." }, "description"},
		"line separator":       {func(r *oauth.CommercialRequest) { r.Description = "One.\u2028Two." }, "description"},
		"home page that looks": {func(r *oauth.CommercialRequest) { r.HomePage = "https://fоxbridge.example/" }, "home page"}, // о is Cyrillic
		"home page over http":  {func(r *oauth.CommercialRequest) { r.HomePage = "http://localhost/" }, "home page"},
		"home page a script":   {func(r *oauth.CommercialRequest) { r.HomePage = "javascript:alert(1)" }, "home page"},
		"no redirect_uri":      {func(r *oauth.CommercialRequest) { r.RedirectURIs = nil }, "redirect_uri"},
		"many redirect_uri":    {func(r *oauth.CommercialRequest) { r.RedirectURIs = many }, "redirect_uri"},
		"one bad redirect_uri": {func(r *oauth.CommercialRequest) { r.RedirectURIs = []string{redirectURI, "http://app.example/"} }, "redirect_uri"},
		"no scope":             {func(r *oauth.CommercialRequest) { r.Scopes = nil }, "scope"},
		"unknown scope":        {func(r *oauth.CommercialRequest) { r.Scopes = []string{"read", "fly"} }, "scope"},
		"unknown owner":        {func(r *oauth.CommercialRequest) { r.OwnerEmail = "nobody@example.org" }, "owner"},
	} {
		_, secret, err := s.RequestCommercial(t.Context(), s.request(c.change))
		var field *oauth.FieldError
		require.ErrorAs(t, err, &field, name)
		require.Equal(t, c.field, field.Field, name)
		require.Empty(t, secret, name)
	}
	_, _, err := s.RequestCommercial(t.Context(), s.request(func(r *oauth.CommercialRequest) {
		r.Description, r.HomePage, r.RedirectURIs = strings.Repeat("é", 500), "", many[:10]
	}))
	require.NoError(t, err, "the most, and the least")
}

// What nobody sees makes one name look like another one, or run backwards.
func TestNamesAndDescriptionsAreSeenWhole(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, character := range map[string]string{
		"soft hyphen": "\u00ad", "combining grapheme joiner": "\u034f", "Arabic letter mark": "\u061c", "Hangul filler": "\u3164",
		"zero width space": "\u200b", "zero width joiner": "\u200d", "left-to-right mark": "\u200e", "line separator": "\u2028",
		"paragraph separator": "\u2029", "right-to-left override": "\u202e", "word joiner": "\u2060", "isolate": "\u2066",
		"byte order mark": "\ufeff", "interlinear annotation": "\ufff9", "tag": "\U000e0041",
	} {
		text := "Fox" + character + "bridge"
		_, _, err := s.AddClient(t.Context(), aliceEmail, text)
		require.EqualError(t, err, "name holds an invisible character", name)
		_, _, err = s.RequestCommercial(t.Context(), s.request(func(r *oauth.CommercialRequest) { r.Description = text }))
		require.EqualError(t, err, "description is not text of at most 500 characters, none of them invisible", name)
	}
	for _, text := range []string{"Zoë", "Ωmega", "مرحبا", "東京", "हिन्दी", "👩", "e\u0301", "L’été : 20 °C"} {
		_, _, err := s.AddClient(t.Context(), aliceEmail, text)
		require.NoError(t, err)
		_, _, err = s.RequestCommercial(t.Context(), s.request(func(r *oauth.CommercialRequest) { r.Name, r.Description = text, text+"\n"+text }))
		require.NoError(t, err)
	}
}

func TestASecretIsRotatedWithoutAnOutage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	works := func(secret string) bool {
		t.Helper()
		_, err := s.Token(t.Context(), oauth.TokenRequest{ClientID: app.ID, ClientSecret: secret, GrantType: oauth.GrantClientCredentials})
		if err != nil {
			refused(t, err, oauth.CodeInvalidClient)
		}
		return err == nil
	}
	old := app.secret
	s.clock.Advance(time.Hour)
	fresh, err := s.AddSecret(t.Context(), app.ID)
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{64}$`, fresh)
	require.True(t, works(old) && works(fresh))
	_, err = s.AddSecret(t.Context(), app.ID)
	require.EqualError(t, err, "client_id has two secrets already")

	secrets := s.find(t, app.ID).Secrets
	require.Len(t, secrets, 2)
	require.Equal(t, oauth.HashOf(fresh), secrets[0].Hash, "the newest first")
	require.Equal(t, oauth.HashOf(old), secrets[1].Hash)

	require.NoError(t, s.RemoveSecret(t.Context(), app.ID, secrets[1].ID))
	require.False(t, works(old))
	require.True(t, works(fresh))
	err = s.RemoveSecret(t.Context(), app.ID, secrets[1].ID)
	require.EqualError(t, err, "secret is not one of the application")
	err = s.RemoveSecret(t.Context(), s.aliceClient.ID, secrets[0].ID)
	require.EqualError(t, err, "secret is not one of the application")
	require.True(t, works(fresh))
	_, err = s.AddSecret(t.Context(), oauth.NewClientID())
	require.ErrorIs(t, err, oauth.ErrNotFound)
}

func TestTheLastUseOfASecretIsKnownToTheMinute(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	used := func() time.Time { return s.find(t, app.ID).Secrets[0].LastUsedAt }
	use := func(secret string) {
		_, _ = s.Token(t.Context(), oauth.TokenRequest{ClientID: app.ID, ClientSecret: secret, GrantType: oauth.GrantClientCredentials})
	}
	require.Zero(t, used())
	use(oauth.NewSecret())
	require.Zero(t, used(), "a wrong one is no use of it")
	began := s.clock.Now()
	use(app.secret)
	require.Equal(t, began, used())
	s.clock.Advance(time.Minute - time.Microsecond)
	use(app.secret)
	require.Equal(t, began, used(), "not every use is written")
	s.clock.Advance(time.Microsecond)
	use(app.secret)
	require.Equal(t, began.Add(time.Minute), used())
}
