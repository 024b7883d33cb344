package oauth_test

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// as is an edit that changes nothing of c.
func as(c oauth.Client) oauth.Edit {
	return oauth.Edit{
		Name: c.Name, Description: c.Description, HomePage: c.HomePage, RedirectURIs: c.RedirectURIs, Scopes: c.Scope,
		Public: c.Public, RequirePKCE: c.RequirePKCE, RequireScope: c.RequireScope, Legacy: c.Legacy,
	}
}

// edit has Bob edit an application as it is now.
func (s *server) edit(t testing.TB, id string, change func(*oauth.Edit)) (held bool, err error) {
	t.Helper()
	c, _, err := s.Edited(t.Context(), s.bob.ID, id)
	require.NoError(t, err)
	e := as(c)
	change(&e)
	return s.Edit(t.Context(), s.bob.ID, id, c.Edition, e, home())
}

func (s *server) live(t testing.TB, id string) oauth.Client {
	t.Helper()
	c, err := s.Application(t.Context(), s.bob.ID, id)
	require.NoError(t, err)
	return c
}

func TestWhatAnOperatorApprovedDoesNotChangeSilently(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *oauth.Options) { o.Registrations = -1 })
	const other = "https://app.example/other"
	bare := func(*oauth.CommercialRequest) {}
	two := func(r *oauth.CommercialRequest) { r.RedirectURIs = append(r.RedirectURIs, other) }
	for name, c := range map[string]struct {
		of     func(*oauth.CommercialRequest)
		change func(*oauth.Edit)
		held   bool
	}{
		"nothing":                    {bare, func(*oauth.Edit) {}, false},
		"description":                {bare, func(e *oauth.Edit) { e.Description = "By Foxbridge itself." }, true},
		"no description":             {bare, func(e *oauth.Edit) { e.Description = "" }, true},
		"home page":                  {bare, func(e *oauth.Edit) { e.HomePage = "https://other.example" }, true},
		"no home page":               {bare, func(e *oauth.Edit) { e.HomePage = "" }, true},
		"name":                       {bare, func(e *oauth.Edit) { e.Name = "Foxbridge itself" }, true},
		"another redirect URI":       {bare, func(e *oauth.Edit) { e.RedirectURIs = append(e.RedirectURIs, other) }, true},
		"a redirect URI in place":    {bare, func(e *oauth.Edit) { e.RedirectURIs = []string{other} }, true},
		"a redirect URI less":        {two, func(e *oauth.Edit) { e.RedirectURIs = []string{other} }, false},
		"another scope":              {bare, func(e *oauth.Edit) { e.Scopes = append([]string{"admin"}, e.Scopes...) }, true},
		"a scope less":               {bare, func(e *oauth.Edit) { e.Scopes = []string{"read"} }, false},
		"another scope in place":     {bare, func(e *oauth.Edit) { e.Scopes = []string{"admin"} }, true},
		"now public":                 {bare, func(e *oauth.Edit) { e.Public = true }, true},
		"no longer public":           {public, func(e *oauth.Edit) { e.Public = false }, true},
		"PKCE required":              {bare, func(e *oauth.Edit) { e.RequirePKCE = true }, false},
		"PKCE no longer required":    {requirePKCE, func(e *oauth.Edit) { e.RequirePKCE = false }, true},
		"scope required":             {bare, func(e *oauth.Edit) { e.RequireScope = true }, false},
		"scope no longer required":   {requireScope, func(e *oauth.Edit) { e.RequireScope = false }, true},
		"the implicit grant":         {bare, func(e *oauth.Edit) { e.Legacy = true }, true},
		"a little and not so little": {bare, func(e *oauth.Edit) { e.Name, e.Scopes, e.RequirePKCE = "Other", []string{"read"}, true }, true},
	} {
		app := s.commercial(t, c.of)
		held, err := s.edit(t, app.ID, c.change)
		require.NoError(t, err, name)
		require.Equal(t, c.held, held, name)
		want := as(app.Client)
		c.change(&want)
		wanted, edit, err := s.Edited(t.Context(), s.bob.ID, app.ID)
		require.NoError(t, err)
		require.Equal(t, want.Name, wanted.Name, name)
		require.Equal(t, want.Description, wanted.Description, name)
		require.Equal(t, want.HomePage, wanted.HomePage, name)
		require.Equal(t, want.RedirectURIs, wanted.RedirectURIs, name)
		require.Equal(t, oauth.NewScope(want.Scopes...), wanted.Scope, name)
		require.Equal(t, held, edit != nil, name)
		live := s.live(t, app.ID)
		require.True(t, live.Scope.Within(app.Scope), name)
		require.Equal(t, []string{app.Name, app.Description, app.HomePage}, []string{live.Name, live.Description, live.HomePage}, name)
		if !held {
			require.Equal(t, wanted, live, name)
			continue
		}
		err = s.Decide(t.Context(), oauth.Decision{ClientID: app.ID, Edition: edit.Client.Edition, Approve: true})
		require.NoError(t, err, name)
		live = s.live(t, app.ID)
		if wanted.Public {
			wanted.Secrets = nil
		}
		wanted.Edition++
		require.Equal(t, wanted, live, name)
	}
}

func TestAnApplicationGoesOnAsItWasApproved(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	tokens := s.issue(t, app)
	held, err := s.edit(t, app.ID, func(e *oauth.Edit) {
		e.Name, e.RedirectURIs, e.Scopes, e.RequirePKCE = "Other", []string{"https://other.example/"}, []string{"admin", "read"}, true
		e.Description, e.HomePage = "Approved by Foxbridge.", "https://other.example"
	})
	require.NoError(t, err)
	require.True(t, held)
	asked, err := s.Authorize(t.Context(), app.ask())
	require.NoError(t, err)
	require.Equal(t, "Bob's app", asked.Client.Name)
	require.Equal(t, app.Description, asked.Client.Description)
	require.Equal(t, app.HomePage, asked.Client.HomePage)
	require.Equal(t, oauth.NewScope("read", "write"), asked.Scope)
	_, err = s.Authorize(t.Context(), app.ask(func(r *oauth.AuthorizeRequest) { r.RedirectURI = "https://other.example/" }))
	refused(t, err, oauth.CodeInvalidRequest)
	require.True(t, s.live(t, app.ID).RequirePKCE, "that only takes something away")
	_, err = s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err)

	err = s.Decide(t.Context(), oauth.Decision{ClientID: app.ID, Edition: 1, Approve: false})
	require.NoError(t, err)
	require.Equal(t, "Bob's app", s.live(t, app.ID).Name)
	require.Equal(t, app.Description, s.live(t, app.ID).Description)
	_, edit, err := s.Edited(t.Context(), s.bob.ID, app.ID)
	require.NoError(t, err)
	require.Nil(t, edit)
	changes, err := s.Changes(t.Context(), s.bob.ID, 0)
	require.NoError(t, err)
	require.Equal(t, oauth.ActionAppEditRejected, changes[0].Action)
	require.Zero(t, changes[0].ActorID)
	require.Equal(t, oauth.ActionAppEditHeld, changes[1].Action)
	require.Equal(t, s.bob.ID, changes[1].ActorID)
}

func TestNobodyApprovesWhatTheyHaveNotSeen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	pending, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	held, err := s.edit(t, pending.ID, func(e *oauth.Edit) { e.Name, e.Description, e.HomePage = "Foxbridge itself", "All of it.", "" })
	require.NoError(t, err)
	require.False(t, held, "nobody has approved anything yet")
	live := s.live(t, pending.ID)
	require.Equal(t, []string{"Foxbridge itself", "All of it.", ""}, []string{live.Name, live.Description, live.HomePage})
	require.ErrorIs(t, s.Approve(t.Context(), pending.ID), oauth.ErrNotFound)
	err = s.Decide(t.Context(), oauth.Decision{ClientID: pending.ID, Edition: 0, Approve: true})
	require.ErrorIs(t, err, oauth.ErrNotFound)
	require.NoError(t, s.Decide(t.Context(), oauth.Decision{ClientID: pending.ID, Edition: 1, Approve: true, OperatorID: s.alice.ID, Address: home()}))
	require.Equal(t, oauth.Active, s.live(t, pending.ID).Status)
	changes, err := s.Changes(t.Context(), s.bob.ID, 0)
	require.NoError(t, err)
	require.Equal(t, oauth.ActionAppApproved, changes[0].Action)
	require.Equal(t, s.alice.ID, changes[0].ActorID)
	require.Empty(t, changes[0].Address, "of somebody else")
	for _, id := range []string{"", "unknown", oauth.NewClientID(), s.bobClient.ID} {
		err = s.Decide(t.Context(), oauth.Decision{ClientID: id, Edition: 0, Approve: true})
		require.ErrorIs(t, err, oauth.ErrNotFound, id)
	}
}

func TestEditsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	for field, change := range map[string]func(*oauth.Edit){
		"name":         func(e *oauth.Edit) { e.Name = " " },
		"description":  func(e *oauth.Edit) { e.Description = "\x00" },
		"home page":    func(e *oauth.Edit) { e.HomePage = "http://app.example" },
		"redirect_uri": func(e *oauth.Edit) { e.RedirectURIs = []string{"https://app.example/#x"} },
		"scope":        func(e *oauth.Edit) { e.Scopes = nil },
		"legacy":       func(e *oauth.Edit) { e.Legacy, e.RequirePKCE = true, true },
	} {
		_, err := s.edit(t, app.ID, change)
		var wrong *oauth.FieldError
		require.ErrorAs(t, err, &wrong, field)
		require.Equal(t, field, wrong.Field)
	}
	require.Equal(t, app.Edition, s.live(t, app.ID).Edition)

	_, err := s.Edit(t.Context(), s.alice.ID, app.ID, 0, as(app.Client), home())
	require.ErrorIs(t, err, oauth.ErrNotFound, "it is Bob's")
	_, err = s.edit(t, app.ID, func(e *oauth.Edit) { e.Description = "Other." })
	require.NoError(t, err)
	_, err = s.Edit(t.Context(), s.bob.ID, app.ID, 0, as(app.Client), home())
	require.ErrorIs(t, err, oauth.ErrChanged, "it was edited in another window")

	refused, _, err := s.RequestCommercial(t.Context(), s.request())
	require.NoError(t, err)
	require.NoError(t, s.Reject(t.Context(), refused.ID))
	_, err = s.edit(t, refused.ID, func(*oauth.Edit) {})
	var wrong *oauth.FieldError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "application", wrong.Field)
}

func TestAPersonalApplicationHasANameToEdit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	held, err := s.edit(t, s.bobClient.ID, func(e *oauth.Edit) {
		e.Name, e.RedirectURIs, e.Scopes, e.Legacy, e.Public = " Heating ", []string{redirectURI}, []string{"read"}, true, true
	})
	require.NoError(t, err)
	require.False(t, held)
	want := s.bobClient
	want.Name, want.Edition = "Heating", 1
	got := s.live(t, s.bobClient.ID)
	got.Secrets, want.Secrets = nil, nil
	require.Equal(t, want, got)
	_, err = s.SetLogo(t.Context(), s.bob.ID, s.bobClient.ID, 1, nil, home())
	require.ErrorIs(t, err, oauth.ErrNotFound)
}

func TestAScopeThatIsTakenAwayIsGoneFromEveryToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	tokens := s.issue(t, app)
	code := s.consent(t, app.ask()).Query().Get("code")
	_, err := s.edit(t, app.ID, func(e *oauth.Edit) { e.Scopes = []string{"read"} })
	require.NoError(t, err)
	access, err := s.Authenticate(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	require.Equal(t, oauth.NewScope("read"), access.Scope)
	redeemed, err := s.Token(t.Context(), app.exchange(code))
	require.NoError(t, err)
	require.Equal(t, oauth.NewScope("read"), redeemed.Scope)

	refresh := oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken, Scope: "write"}
	_, err = s.Token(t.Context(), refresh)
	refused(t, err, oauth.CodeInvalidScope)
	refresh.Scope = ""
	renewed, err := s.Token(t.Context(), refresh)
	require.NoError(t, err)
	require.Equal(t, oauth.NewScope("read"), renewed.Scope)

	// When nothing is left, the person is to be asked again.
	_, err = s.edit(t, app.ID, func(e *oauth.Edit) { e.Scopes = []string{"admin"} })
	require.NoError(t, err)
	_, edit, err := s.Edited(t.Context(), s.bob.ID, app.ID)
	require.NoError(t, err)
	err = s.Decide(t.Context(), oauth.Decision{ClientID: app.ID, Edition: edit.Client.Edition, Approve: true})
	require.NoError(t, err)
	refresh.RefreshToken = renewed.RefreshToken
	_, err = s.Token(t.Context(), refresh)
	refused(t, err, oauth.CodeInvalidGrant)
	access, err = s.Authenticate(t.Context(), renewed.AccessToken)
	require.NoError(t, err)
	require.Empty(t, access.Scope)
	require.NotNil(t, access.Scope)
}

func TestADeletedApplicationIsDeadAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	other := s.with(t) // another bridge
	app := s.commercial(t)
	tokens := s.issue(t, app)
	code := s.consent(t, app.ask()).Query().Get("code")
	require.ErrorIs(t, s.DeleteOwn(t.Context(), s.alice.ID, app.ID, home()), oauth.ErrNotFound, "it is Bob's")
	require.NoError(t, s.DeleteOwn(t.Context(), s.bob.ID, app.ID, home()))
	for _, bridge := range []*oauth.Service{s.Service, other} {
		_, err := bridge.Authenticate(t.Context(), tokens.AccessToken)
		refused(t, err, oauth.CodeInvalidToken)
		_, err = bridge.Token(t.Context(), oauth.TokenRequest{ClientID: app.ID, ClientSecret: app.secret, GrantType: oauth.GrantRefresh, RefreshToken: tokens.RefreshToken})
		refused(t, err, oauth.CodeInvalidClient)
		_, err = bridge.Token(t.Context(), app.exchange(code))
		refused(t, err, oauth.CodeInvalidClient)
		_, err = bridge.Authorize(t.Context(), app.ask())
		refused(t, err, oauth.CodeInvalidClient)
		_, err = bridge.Application(t.Context(), s.bob.ID, app.ID)
		require.ErrorIs(t, err, oauth.ErrNotFound)
	}
	owned, err := s.Applications(t.Context(), s.bob.ID)
	require.NoError(t, err)
	require.Len(t, owned, 1, "the script")
	connected, err := s.Connections(t.Context(), s.alice.ID)
	require.NoError(t, err)
	require.Empty(t, connected)
	require.ErrorIs(t, s.DeleteOwn(t.Context(), s.bob.ID, app.ID, home()), oauth.ErrNotFound)
	require.ErrorIs(t, s.DeleteClient(t.Context(), app.ID), oauth.ErrNotFound)
	_, _, err = s.CreateCommercial(t.Context(), s.bob.ID, app.ID, s.request())
	require.ErrorIs(t, err, oauth.ErrExists, "its client_id is never given again")
	_, err = s.AddSecret(t.Context(), app.ID)
	require.ErrorIs(t, err, oauth.ErrNotFound)

	phone := s.commercial(t, public)
	require.NoError(t, s.DeleteClient(t.Context(), phone.ID))
	_, err = s.Token(t.Context(), phone.exchange(oauth.NewSecret()))
	refused(t, err, oauth.CodeInvalidClient)
	changes := s.changes(t, s.bob)
	require.Equal(t, oauth.ActionAppDeleted, changes[0].Action)
	require.Zero(t, changes[0].ActorID, "by command")
	require.Equal(t, oauth.ActionAppDeleted, changes[2].Action)
	require.Equal(t, s.bob.ID, changes[2].ActorID)
	require.Equal(t, "Bob's app", changes[2].Subject)
}

func TestADeletedPersonalApplicationLeavesRoom(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for range 9 {
		_, _, err := s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "App", home())
		require.NoError(t, err)
	}
	_, _, err := s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "App", home())
	require.ErrorIs(t, err, oauth.ErrTooMany)
	require.NoError(t, s.DeleteOwn(t.Context(), s.bob.ID, s.bobClient.ID, home()))
	require.Equal(t, []string{s.bobClient.ID}, s.seen.deleted)
	_, _, err = s.CreatePersonal(t.Context(), s.bob.ID, oauth.NewClientID(), "App", home())
	require.NoError(t, err)
}

func TestALogoWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	app := s.commercial(t)
	var upload bytes.Buffer
	require.NoError(t, png.Encode(&upload, image.NewGray(image.Rect(0, 0, 10, 20))))
	held, err := s.SetLogo(t.Context(), s.bob.ID, app.ID, 0, upload.Bytes(), home())
	require.NoError(t, err)
	require.True(t, held)
	require.Zero(t, s.live(t, app.ID).Logo)
	err = s.Decide(t.Context(), oauth.Decision{ClientID: app.ID, Edition: 1, Approve: true})
	require.NoError(t, err)
	logo := s.live(t, app.ID).Logo
	picture, err := s.LogoOf(t.Context(), app.ID, logo)
	require.NoError(t, err)
	require.Equal(t, logo, oauth.HashOf(string(picture)))
	held, err = s.SetLogo(t.Context(), s.bob.ID, app.ID, 2, nil, home())
	require.NoError(t, err)
	require.False(t, held, "to take it away needs nobody")
	_, err = s.LogoOf(t.Context(), app.ID, logo)
	require.ErrorIs(t, err, oauth.ErrNotFound)
	_, err = s.LogoOf(t.Context(), "unknown", logo)
	require.ErrorIs(t, err, oauth.ErrNotFound)
	_, err = s.SetLogo(t.Context(), s.bob.ID, app.ID, 3, []byte("<svg/>"), home())
	var wrong *oauth.FieldError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "logo", wrong.Field)
}
