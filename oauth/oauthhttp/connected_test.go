package oauthhttp_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// consents has the person in b allow an application something, and gives the tokens.
func (b *browser) consents(t *testing.T, a application, scope, sites []string) answer {
	t.Helper()
	consent := b.asked(a)
	consent["scope"], consent["site"] = scope, sites
	consent.Set("answer", "allow")
	code := b.post("/oauth2/consent", consent).answer(redirectURI).Get("code")
	return tokens(t, b.site.post(form, a.exchange(code).Encode()))
}

// cards are the texts of the entries of a list of cards.
func (v *view) cards() (texts []string) {
	for _, list := range v.all("ul", "class", "cards") {
		for n := range list.ChildNodes() {
			if n.Type == html.ElementNode {
				texts = append(texts, textOf(n))
			}
		}
	}
	return texts
}

// live tells whether an access token works.
func (s *site) live(t *testing.T, token string) bool {
	t.Helper()
	_, err := s.service.Authenticate(t.Context(), token)
	return err == nil
}

func TestConnectedApplicationsAndWhatEachMayDo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"}, oauthhttp.Site{ID: 3, Label: "Cottage"}, oauthhttp.Site{ID: 12, Label: "Office"})
	shutters := s.commercial(t, func(r *oauth.CommercialRequest) { r.Name = "Shutters <3" })
	voice := s.commercial(t, func(r *oauth.CommercialRequest) { r.Name = "Voice" })
	s.commercial(t, func(r *oauth.CommercialRequest) { r.Name = "Never asked" })
	b := s.aliceAtHome(t)
	require.Contains(t, b.get("/connected").text(), "No application may act for you.")

	b.consents(t, voice, []string{"security:read", "socket:operate"}, []string{"7", "3", "12"})
	s.Advance(time.Hour)
	b.consents(t, shutters, []string{"shutter:operate"}, []string{"3", "12"})
	s.Advance(time.Hour)
	tokens(t, s.post(form, s.signIn().Encode())) // Alice's own script

	v := b.get("/connected")
	require.Equal(t, []string{
		"Alice's script Personal It may Everything that you may do yourself Where In all your homes Since 1 March 2026, 14:00 UTC Disconnect Alice's script",
		"Shutters <3 app.example It may Open and close shutters Where Cottage, Office Since 1 March 2026, 13:00 UTC Disconnect Shutters <3",
		"Voice app.example It may See whether the alarm is on Switch sockets on and off Where In all your homes Since 1 March 2026, 12:00 UTC Disconnect Voice",
	}, v.cards())

	_, err := s.service.SwitchOff(t.Context(), voice.ID, oauth.ByAlert, "", "too busy")
	require.NoError(t, err)
	require.Contains(t, b.get("/connected").cards()[2], "Voice Switched off app.example It may It is switched off. When it is on again: See whether the alarm is on")

	s.moveIn(s.alice, oauthhttp.Site{ID: 7, Label: "Lyon"})
	b.lang = "fr"
	require.Contains(t, b.get("/connected").cards()[1], "Elle peut Ouvrir et fermer les volets Où Dans aucun de vos logements actuels Depuis 1er mars 2026")
	require.Empty(t, s.bobAtHome(t).get("/connected").cards())
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, other := s.commercial(t), s.commercial(t)
	alice, bob := s.aliceAtHome(t), s.bobAtHome(t)
	first := alice.consents(t, a, []string{"socket:read"}, nil)
	second := alice.consents(t, a, []string{"shutter:read"}, nil)
	elsewhere := alice.consents(t, other, []string{"shutter:read"}, nil)
	bobs := bob.consents(t, a, []string{"socket:read"}, nil)
	consent := alice.asked(a)
	consent.Set("answer", "allow")
	notTakenUp := alice.post("/oauth2/consent", consent).answer(redirectURI).Get("code")

	require.Len(t, alice.get("/connected").all("form", "action", "/connected"), 2)
	disconnect := url.Values{"form_token": {alice.get("/connected").form("/connected").Get("form_token")}, "client_id": {a.ID}}
	for name, v := range map[string]*view{
		"without the form token":   alice.post("/connected", url.Values{"client_id": {a.ID}}),
		"from another session":     bob.post("/connected", disconnect),
		"from another site's page": alice.post("/connected", disconnect, "Sec-Fetch-Site", "cross-site"),
	} {
		require.Equal(t, http.StatusForbidden, v.status, name)
	}
	require.True(t, s.live(t, first.AccessToken) && s.live(t, second.AccessToken))

	require.Equal(t, "/connected", alice.post("/connected", disconnect).location())
	v := alice.get("/connected")
	require.Contains(t, v.text(), "The application is disconnected.")
	require.Len(t, v.cards(), 1)
	require.False(t, s.live(t, first.AccessToken) || s.live(t, second.AccessToken))
	require.True(t, s.live(t, elsewhere.AccessToken) && s.live(t, bobs.AccessToken))
	require.Equal(t, "invalid_grant", decoded(t, s.post(form, a.exchange(notTakenUp).Encode())).Error, "nor does the code")
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {a.ID}, "client_secret": {a.secret}, "refresh_token": {first.RefreshToken}}
	require.Equal(t, "invalid_grant", decoded(t, s.post(form, refresh.Encode())).Error)

	for _, id := range []string{a.ID, "", "unknown", "0123456789abcdef0123456789abcdef"} {
		disconnect.Set("client_id", id)
		require.Equal(t, "/connected", alice.post("/connected", disconnect).location(), "what is not connected is disconnected")
	}
}

// A script of one's own can come back with a password, and people are told so.
func TestDisconnectOfAPersonalApplication(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := tokens(t, s.post(form, s.signIn().Encode()))
	b := s.aliceAtHome(t)
	require.Equal(t, "/connected", b.post("/connected", b.get("/connected").form("/connected")).location())
	require.False(t, s.live(t, first.AccessToken))
	v := b.get("/connected")
	require.Contains(t, v.text(), "its tokens work no more. A script that holds a password can sign in again.")
	require.NotContains(t, v.text(), "It can do nothing for you any more.")
	require.True(t, s.live(t, tokens(t, s.post(form, s.signIn().Encode())).AccessToken), "as it says")
}

func TestPagesOfAPersonNeedASignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	app := "/dev/apps/" + s.client.ID
	for _, path := range []string{"/connected", "/connected/?a=b", "/dev/apps", "/dev/apps/personal", "/dev/apps/commercial", app} {
		require.Equal(t, "/signin?"+url.Values{"return": {path}}.Encode(), b.get(path).location())
	}
	for path, back := range map[string]string{
		"/connected": "/connected", "/dev/apps/personal": "/dev/apps", "/dev/apps/commercial": "/dev/apps",
		app + "/secret": "/dev/apps", app + "/secret/remove": "/dev/apps", app + "/token": "/dev/apps",
	} {
		require.Equal(t, "/signin?"+url.Values{"return": {back}}.Encode(), b.post(path, url.Values{"password": {password}}).location())
	}
}
