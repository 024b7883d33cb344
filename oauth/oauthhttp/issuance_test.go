package oauthhttp_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// wasting is a site on which Alice's application may waste a few tokens.
func wasting(t testing.TB) *site {
	t.Helper()
	s := newSite(t)
	require.NoError(t, s.administration.SetLimits(t.Context(), s.client.ID, &oauth.Limits{Hour: 4, Day: 10}))
	return s
}

// asks has Alice's application ask for n tokens; all but a first one are wasteful.
func (s *site) asks(n int) {
	for range n {
		s.post(form, url.Values{
			"grant_type": {"password"}, "client_id": {s.client.ID}, "client_secret": {s.secret}, "username": {email}, "password": {password},
		}.Encode())
	}
}

func (s *site) page() string { return "/dev/apps/" + s.client.ID }

func (s *site) status(t testing.TB) oauth.Status {
	t.Helper()
	c, err := s.service.Application(t.Context(), s.alice.ID, s.client.ID)
	require.NoError(t, err)
	return c.Status
}

// link is what a mail about the last ruling holds.
func (s *site) link(t testing.TB) string {
	t.Helper()
	rulings, err := s.service.Verdicts(t.Context(), s.client.ID, 0)
	require.NoError(t, err)
	secret, err := s.service.NewLink(t.Context(), rulings[0])
	require.NoError(t, err)
	return secret
}

// reactivates presses the button on a page, and gives the page that follows.
func (b *browser) reactivates(page string) *view {
	b.t.Helper()
	action := b.site.page() + "/reactivate"
	return b.get(b.post(action, b.get(page).form(action)).location())
}

func TestTheOwnerSeesWhatWasIssued(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	b := s.aliceAtHome(t)
	v := b.get(s.page())
	require.Contains(t, v.text(), "Last 24 hours: 0 tokens, 0 not needed")
	require.Contains(t, v.text(), "Not needed in the last hour 0 of 4 that are allowed")
	require.Contains(t, v.text(), "No token was issued in this time.")
	require.Empty(t, v.all("section", "id", "episodes"))

	s.asks(2)
	s.Advance(25 * time.Hour)
	s.asks(3)
	v = b.get(s.page())
	require.Contains(t, v.text(), "Last 24 hours: 3 tokens, 2 not needed")
	require.Contains(t, v.text(), "Last 30 days: 5 tokens, 3 not needed")
	require.Contains(t, v.text(), "Not needed in the last hour 2 of 4 that are allowed Not needed in the last day 2 of 10 that are allowed")
	require.Len(t, v.all("line", "class", "limit"), 2, "the limit is drawn in both")
	require.Contains(t, v.text(), "At least half of the limit was used up: 2 tokens within one hour that it did not need. 4 are allowed.")
	require.Empty(t, v.all("form", "action", s.page()+"/reactivate"))

	b.lang = "fr"
	v = b.get(s.page())
	require.Contains(t, v.text(), "Au moins la moitié de la limite était atteinte : 2 jetons inutiles en une heure. 4 sont autorisés.")
	require.Contains(t, v.text(), " 27 févr. ", "a day under the chart, by the reader's language")
	b.lang = "en"
	require.Contains(t, b.get(s.page()).text(), " 27 Feb ")
	require.Equal(t, http.StatusNotFound, s.bobAtHome(t).get(s.page()).status)
}

// Before it comes to a switching off, the owner is told where they would look for it.
func TestTheOwnerIsWarnedOnThePages(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	b := s.aliceAtHome(t)
	warned := func(page, list string) {
		t.Helper()
		v := b.get(s.page())
		require.Equal(t, page != "", len(v.all("section", "id", "warned")) == 1)
		require.Equal(t, page != "", strings.Contains(v.text(), "Have your program keep its token"))
		require.Contains(t, v.text(), page)
		v = b.get("/dev/apps")
		require.Equal(t, list != "", len(v.all("span", "class", "tag warning")) == 1)
		require.Contains(t, v.text(), list)
	}
	s.asks(2)
	warned("", "")
	s.asks(1)
	warned("This application asked for 2 tokens within one hour that it did not need. 4 are allowed. If it asks for more, it is switched off.", "Gets tokens it does not need")
	s.asks(2)
	warned("This application is about to be switched off: it asked for 4 tokens within one hour that it did not need. 4 are allowed.", "About to be switched off")
	s.Advance(2 * time.Hour)
	b = s.aliceAtHome(t)
	warned("This application is about to be switched off", "About to be switched off") // the episode lasts
	s.Advance(24 * time.Hour)
	b = s.aliceAtHome(t)
	warned("", "")
	s.asks(7)
	v := b.get(s.page())
	require.Empty(t, v.all("section", "id", "warned"), "it is off")
	b.reactivates(s.page())
	warned("", "")
}

// Whoever is shown how to get tokens is told how many are too many.
func TestThePagesWithCommandsTellToKeepTheToken(t *testing.T) {
	t.Parallel()
	for limits, want := range map[oauth.Limits]string{
		{Hour: 20, Day: 100}: "More than 20 tokens in an hour that it does not need switch the application off. So do more than 100 in a day.",
		{Hour: 1, Day: 1}:    "More than 1 token in an hour that it does not need switches the application off. So does more than 1 in a day.",
		{Day: 7}:             "More than 7 tokens in a day that it does not need switch the application off.",
		{}:                   "Then renew it with the refresh token.",
	} {
		s := newServer(t, nil)
		service, err := oauth.New(oauth.Options{Store: s.store, Passwords: s.passwords, Now: s.Now, Issuer: issuer, Scopes: scopes(), Limits: &limits})
		require.NoError(t, err)
		s.service = service
		b := newSiteOn(t, s, func(o *oauthhttp.PagesOptions) { o.Service = service }).aliceAtHome(t)
		v := b.create("Another")
		require.Contains(t, v.text(), "Keep the token Have your program use a token until the API answers 401: it works for an hour. Then renew it with the refresh token.")
		require.Contains(t, v.text(), want)
		require.Equal(t, limits != oauth.Limits{}, strings.Contains(v.text(), "does not need"))
	}
}

// An operator finds what only an operator can bring back, and does so in the browser.
func TestAnOperatorReactivatesOnThePage(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	_, err := s.administration.SetOperator(t.Context(), bobEmail, true)
	require.NoError(t, err)
	alice, bob := s.aliceAtHome(t), s.bobAtHome(t)
	const action = "/operator/apps/reactivate"
	for range 2 {
		s.asks(6)
		require.Contains(t, bob.get("/operator/apps").text(), "No application waits for a decision.", "the owner can")
		alice.reactivates(s.page())
	}
	s.asks(6)
	v := bob.get("/operator/apps")
	require.NotContains(t, v.text(), "No application waits")
	require.Len(t, v.cards(), 1)
	require.Contains(t, v.cards()[0], "Alice's script This application asked for 5 tokens within one hour that it did not need. 4 are allowed. So it was switched off. The owner has reactivated it twice in 30 days.")
	require.Contains(t, v.cards()[0], "Alice ("+email+")")
	f := v.form(action)
	require.Equal(t, s.client.ID, f.Get("client_id"))
	require.Equal(t, http.StatusNotFound, alice.post(action, f).status, "she is none")
	require.Equal(t, http.StatusForbidden, bob.post(action, url.Values{"client_id": {s.client.ID}, "ruling": {f.Get("ruling")}}).status, "without the form token")
	f.Set("reason", strings.Repeat("x", 501))
	require.Contains(t, bob.post(action, f).text(), "Shorten the reason to 500 characters")
	f.Set("reason", "the script was mended")
	require.Equal(t, "/operator/apps", bob.post(action, f).location())
	require.Equal(t, oauth.Active, s.status(t))
	require.Contains(t, bob.get("/operator/apps").text(), "The application can be used again.")
	require.Contains(t, alice.get(s.page()).text(), "Reactivated by an operator. the script was mended")
	require.Equal(t, http.StatusConflict, bob.post(action, f).status, "sent twice")
	rulings, err := s.service.Verdicts(t.Context(), s.client.ID, 0)
	require.NoError(t, err)
	require.Equal(t, oauth.ByOperator, rulings[0].Actor)
	require.Contains(t, bob.get("/security/record").cards()[0], "An application was reactivated.")
	require.Contains(t, alice.get("/security/record").cards()[0], "by an operator")

	_, err = s.service.SwitchOff(t.Context(), s.client.ID, oauth.ByOperator, "", "abuse")
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, bob.post(action, f).status, "that is not what was seen")
	require.Equal(t, oauth.Off, s.status(t))
	require.Contains(t, bob.get("/operator/apps").cards()[0], "An operator has switched this application off. The reason given: abuse")
	f = bob.get("/operator/apps").form(action)
	f.Set("ruling", "x")
	require.Equal(t, http.StatusBadRequest, bob.post(action, f).status)

	for i := range oauth.HeldMax {
		c, _, err := s.administration.AddClient(t.Context(), bobEmail, "App "+strconv.Itoa(i))
		require.NoError(t, err)
		_, err = s.service.SwitchOff(t.Context(), c.ID, oauth.ByOperator, "", "abuse")
		require.NoError(t, err)
	}
	v = bob.get("/operator/apps")
	require.Len(t, v.cards(), oauth.HeldMax)
	older := v.all("a", "rel", "next")
	require.Len(t, older, 1)
	v = bob.get(strings.TrimSuffix(attribute(older[0], "href"), "#held"))
	require.Len(t, v.cards(), 1)
	require.Contains(t, v.cards()[0], "Alice's script")
	require.Contains(t, v.text(), "Switched off last")
	require.Equal(t, http.StatusBadRequest, bob.get("/operator/apps?before=x").status)
	bob.lang = "fr"
	require.Contains(t, bob.get("/operator/apps").text(), "Les propriétaires de ces applications ne peuvent pas les réactiver.")
}

// One is one, in each language.
func TestOneTokenIsSpokenOfAsOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	require.NoError(t, s.administration.SetLimits(t.Context(), s.client.ID, &oauth.Limits{Hour: 1, Day: 5}))
	s.asks(1)
	b := s.aliceAtHome(t)
	require.Contains(t, b.get(s.page()).text(), "Last 24 hours: 1 token, 0 not needed")
	require.Contains(t, b.get(s.page()).text(), "0 of 1 that is allowed")
	b.lang = "fr"
	require.Contains(t, b.get(s.page()).text(), "Dernières 24 heures : 1 jeton, dont 0 inutile ")
	require.Contains(t, b.get(s.page()).text(), "Limite : 1 jeton inutile en une heure")
	s.asks(2)
	require.Contains(t, b.get(s.page()).text(), "Cette application a demandé 2 jetons inutiles en une heure. 1 est autorisé.")
	require.Contains(t, b.get(s.page()).text(), "les quatre cinquièmes de la limite étaient atteints : 1 jeton inutile en une heure. 1 est autorisé.")
	b.lang = "en"
	require.Contains(t, b.get(s.page()).text(), "This application asked for 2 tokens within one hour that it did not need. 1 is allowed.")
	refused := s.post(form, url.Values{
		"grant_type": {"password"}, "client_id": {s.client.ID}, "client_secret": {s.secret}, "username": {email}, "password": {password},
	}.Encode())
	require.Contains(t, refused.Body.String(), "where 1 is allowed")
}

func TestTheOwnerSeesWhatDeletedApplicationsWasted(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	s.asks(5)
	require.NoError(t, s.administration.DeleteClient(t.Context(), s.client.ID))
	var err error
	s.client, s.secret, err = s.administration.AddClient(t.Context(), email, "Another")
	require.NoError(t, err)
	require.NoError(t, s.administration.SetLimits(t.Context(), s.client.ID, &oauth.Limits{Hour: 4, Day: 10}))
	s.asks(2)
	b := s.aliceAtHome(t)
	const inherited = " 4 of these were issued to applications of yours that you deleted before you registered this one."
	v := b.get(s.page())
	require.Contains(t, v.text(), "4 are allowed. So it was switched off."+inherited)
	require.Contains(t, v.text(), "Switched off: 5 tokens within one hour that it did not need. 4 are allowed."+inherited)
	require.NotContains(t, v.text(), "used up: 4 tokens within one hour that it did not need. 4 are allowed."+inherited, "the first token was needed: it is no news")
	b.lang = "fr"
	require.Contains(t, b.get(s.page()).text(), "Parmi eux, 4 ont été délivrés à des applications à vous, supprimées avant l’enregistrement de celle-ci.")
	refused := s.post(form, url.Values{
		"grant_type": {"password"}, "client_id": {s.client.ID}, "client_secret": {s.secret}, "username": {email}, "password": {password},
	}.Encode())
	require.Contains(t, refused.Body.String(), `"count":5,"inherited":4,"allowed":4`)
}

func TestTheOwnerReactivatesTwiceAndThenTheOperatorDecides(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	b := s.aliceAtHome(t)
	for i, left := range []string{"You can reactivate it yourself, 2 more times within 30 days.", "You can reactivate it yourself, for the last time within 30 days."} {
		s.asks(6)
		v := b.get(s.page())
		require.Contains(t, v.text(), "This application asked for 5 tokens within one hour that it did not need. 4 are allowed. So it was switched off.")
		require.Contains(t, v.text(), "It gets no new tokens, and those that it has are refused.")
		require.Contains(t, v.text(), "Have your program keep its token")
		require.Contains(t, v.text(), left)
		v = b.reactivates(s.page())
		require.Contains(t, v.text(), "The application can be used again, and its tokens are counted anew.", i)
		require.Contains(t, v.text(), "Reactivated by you.")
		require.Equal(t, oauth.Active, s.status(t))
	}
	s.asks(6)
	v := b.get(s.page())
	require.Contains(t, v.text(), "You have reactivated your application twice in 30 days, so now the operator of this service decides.")
	require.Contains(t, v.text(), "give this client ID: "+s.client.ID)
	require.Contains(t, v.text(), "You can reactivate it yourself again from: "+s.Now().AddDate(0, 0, 30).Format("2 January 2006, 15:04"))
	require.Empty(t, v.all("form", "action", s.page()+"/reactivate"))
	require.Equal(t, oauth.Off, s.status(t))

	did, err := s.service.Reactivate(t.Context(), s.client.ID, oauth.ByOperator, "", "mended")
	require.NoError(t, err)
	require.True(t, did)
	require.Contains(t, b.get(s.page()).text(), "Reactivated by an operator. mended")
}

// Where to write to is on the page, if there is anything, and leads there.
func TestThePageNamesTheOperatorWhoDecides(t *testing.T) {
	t.Parallel()
	for contact, href := range map[string]string{
		"": "", "help@example.org": "mailto:help@example.org", "https://example.org/help": "https://example.org/help",
	} {
		s := newServer(t, nil)
		service, err := oauth.New(oauth.Options{Store: s.store, Passwords: s.passwords, Now: s.Now, Issuer: issuer, Scopes: scopes(), OperatorContact: contact})
		require.NoError(t, err)
		s.service = service
		at := newSiteOn(t, s, func(o *oauthhttp.PagesOptions) { o.Service = service })
		_, err = service.SwitchOff(t.Context(), s.client.ID, oauth.ByOperator, "", "because")
		require.NoError(t, err)
		v := at.aliceAtHome(t).get(at.page())
		require.NotContains(t, v.text(), "reactivate it yourself again", "that never comes")
		if contact == "" {
			require.Contains(t, v.text(), "Only an operator of this service can reactivate it. Ask whoever runs this service for you, say what you have changed, and give this client ID: "+s.client.ID)
			require.NotContains(t, v.text(), "Their address")
			continue
		}
		require.Contains(t, v.text(), "Only an operator of this service can reactivate it. Write to them, say what you have changed, and give this client ID: "+s.client.ID)
		require.Contains(t, v.text(), "Their address: "+contact)
		require.Len(t, v.all("a", "href", href), 1)
	}
}

// What happened is listed twenty at a time, and the page says that there is more.
func TestOlderEpisodesAreOnTheNextPage(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	b := s.aliceAtHome(t)
	for i := range 11 {
		_, err := s.service.SwitchOff(t.Context(), s.client.ID, oauth.ByOperator, "", "reason "+strconv.Itoa(i))
		require.NoError(t, err)
		if i == 9 {
			require.NotContains(t, b.get(s.page()).text(), "This is not all")
		}
		_, err = s.service.Reactivate(t.Context(), s.client.ID, oauth.ByOperator, "", "")
		require.NoError(t, err)
	}
	v := b.get(s.page())
	require.Contains(t, v.text(), "This is not all: older entries are on the next page.")
	require.Equal(t, 10, strings.Count(v.text(), "Switched off by an operator."))
	require.NotContains(t, v.text(), "reason 0")
	older := v.all("a", "rel", "next")
	require.Len(t, older, 1)
	v = b.get(strings.TrimSuffix(attribute(older[0], "href"), "#episodes"))
	require.Equal(t, 1, strings.Count(v.text(), "Switched off by an operator."))
	require.Contains(t, v.text(), "reason 0")
	require.Contains(t, v.text(), "Newest entries")
	require.NotContains(t, v.text(), "This is not all")
	require.Equal(t, http.StatusBadRequest, b.get(s.page()+"?before=x").status)
	b.lang = "fr"
	require.Contains(t, b.get(s.page()).text(), "Ce n’est pas tout")
}

// The owner reads in the record of changes who switched an application off and on.
func TestSwitchesAreInTheRecordOfChanges(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	b := s.aliceAtHome(t)
	s.asks(6)
	b.reactivates(s.page())
	_, err := s.service.SwitchOff(t.Context(), s.client.ID, oauth.ByOperator, "", "because")
	require.NoError(t, err)
	cards := b.get("/security/record").cards()
	require.Contains(t, cards[0], "An application was switched off.")
	require.Contains(t, cards[0], "by an operator")
	require.Contains(t, cards[1], "You reactivated an application.")
	require.NotContains(t, cards[1], "by an operator")
	require.Contains(t, cards[1], "127.0.0.1")
	require.Contains(t, cards[2], "An application was switched off: it asked for too many tokens that it did not need.")
	require.NotContains(t, cards[2], "by an operator")
	require.Contains(t, cards[2], "Alice's script")
	b.lang = "fr"
	require.Contains(t, b.get("/security/record").cards()[1], "Vous avez réactivé une application.")
}

func TestAButtonOfBeforeDoesNotGoPastTheOperator(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	b := s.aliceAtHome(t)
	action := s.page() + "/reactivate"
	s.asks(6)
	old := b.get(s.page()).form(action)
	require.Equal(t, s.page(), b.post(action, old).location())
	require.Equal(t, s.page(), b.post(action, old).location(), "what is not off is left alone")
	rulings, err := s.service.Verdicts(t.Context(), s.client.ID, 0)
	require.NoError(t, err)
	require.Len(t, rulings, 4, "notice, warning, switched off, reactivated once")
	s.asks(6)
	require.Equal(t, s.page(), b.post(action, old).location())
	require.Equal(t, oauth.Active, s.status(t))
	s.asks(6)
	require.Equal(t, s.page(), b.post(action, old).location())
	require.Equal(t, oauth.Off, s.status(t))
}

func TestOnlyTheOwnerReactivatesAndOnlyThroughTheForm(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	s.asks(6)
	b := s.aliceAtHome(t)
	action := s.page() + "/reactivate"
	right := b.get(s.page()).form(action)
	require.Equal(t, http.StatusForbidden, b.post(action, url.Values{}).status, "without the form token")
	require.Equal(t, http.StatusForbidden, b.post(action, right, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").status)
	require.Equal(t, http.StatusMethodNotAllowed, b.get(action).status)
	require.Equal(t, "/signin?return=%2Fdev%2Fapps", s.browser(t).post(action, right).location())

	bob := s.bobAtHome(t)
	require.Equal(t, http.StatusForbidden, bob.post(action, right).status, "with the form token of another session")
	own := bob.create("Bob's").copied("client-id")
	_, err := s.service.SwitchOff(t.Context(), own, oauth.ByAlert, "", "too busy")
	require.NoError(t, err)
	bobs := bob.get("/dev/apps/" + own).form("/dev/apps/" + own + "/reactivate")
	require.Equal(t, http.StatusNotFound, bob.post(action, bobs).status)
	require.Equal(t, oauth.Off, s.status(t))
}

func TestALinkLeadsTheOwnerBackOnce(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	s.asks(6)
	secret := s.link(t)
	require.Len(t, secret, 64)
	page := s.page() + "?link=" + secret

	// A stranger is led to the sign-in, and whoever signs in there to their own pages.
	stranger := s.browser(t)
	signIn := stranger.get(page).location()
	require.Equal(t, "/signin?return="+url.QueryEscape(page), signIn)
	at := stranger.get(signIn).form("/signin")
	at.Set("username", bobEmail)
	at.Set("password", bobPassword)
	require.Equal(t, page, stranger.post("/signin", at).location())
	v := stranger.get(page)
	require.Equal(t, http.StatusNotFound, v.status)
	require.Contains(t, v.text(), "sign out, open it again and sign in with the account to which the mail was sent")
	require.NotContains(t, v.text(), "Alice")
	bobs := stranger.create("Bob's").copied("client-id")
	_, err := s.service.SwitchOff(t.Context(), bobs, oauth.ByAlert, "", "too busy")
	require.NoError(t, err)
	v = stranger.get("/dev/apps/" + bobs + "?link=" + secret)
	require.Contains(t, v.text(), "The link in the mail is not of this application")
	require.NotContains(t, v.form("/dev/apps/"+bobs+"/reactivate"), "link")
	forged := v.form("/dev/apps/" + bobs + "/reactivate")
	forged.Set("link", secret)
	require.Equal(t, "/dev/apps/"+bobs+"?link="+secret, stranger.post("/dev/apps/"+bobs+"/reactivate", forged).location())
	c, err := s.service.Application(t.Context(), s.bob.ID, bobs)
	require.NoError(t, err)
	require.Equal(t, oauth.Off, c.Status)

	// The owner is led to the page, where the button uses the link up.
	b := s.browser(t)
	at = b.get(b.get(page).location()).form("/signin")
	at.Set("username", email)
	at.Set("password", password)
	require.Equal(t, page, b.post("/signin", at).location())
	action := s.page() + "/reactivate"
	form := b.get(page).form(action)
	require.Equal(t, secret, form.Get("link"))
	require.Equal(t, s.page(), b.post(action, form).location())
	require.Equal(t, oauth.Active, s.status(t))
	require.Contains(t, b.get(page).text(), "The link in the mail has been used up")

	s.asks(6)
	require.Equal(t, page, b.post(action, form).location(), "it is good for one reactivation")
	require.Equal(t, oauth.Off, s.status(t))
	v = b.get(page)
	require.Contains(t, v.text(), "The link in the mail has been used up")
	require.NotContains(t, v.form(action), "link", "the button works without it")
	for _, line := range s.log.Lines() {
		require.NotContains(t, line, secret)
	}
}

func TestALinkExpires(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	s.asks(6)
	b := s.aliceAtHome(t)
	page, action := s.page()+"?link="+s.link(t), s.page()+"/reactivate"
	form := b.get(page).form(action)
	s.Advance(oauth.LinkLifetime)
	b = s.aliceAtHome(t)
	form.Set("form_token", b.get(s.page()).form(action).Get("form_token"))
	require.Equal(t, page, b.post(action, form).location())
	require.Equal(t, oauth.Off, s.status(t))
	require.Contains(t, b.get(page).text(), "The link in the mail is older than 14 days and has expired.")
	for _, nonsense := range []string{"x", strings.Repeat("0", 64), "%00", "%ff", strings.Repeat("a", 3000)} {
		require.Contains(t, b.get(s.page()+"?link="+nonsense).text(), "The link in the mail is not of this application, or is incomplete.")
	}
	require.Contains(t, b.reactivates(s.page()).text(), "The application can be used again")
}

func TestWhatOthersHaveSwitchedOff(t *testing.T) {
	t.Parallel()
	s := wasting(t)
	b := s.aliceAtHome(t)
	_, err := s.service.SwitchOff(t.Context(), s.client.ID, oauth.ByAlert, "", "alert Storm: <too busy>")
	require.NoError(t, err)
	v := b.get(s.page())
	require.Contains(t, v.text(), "The operator’s monitoring has switched this application off. The reason given: alert Storm: <too busy>")
	require.NotContains(t, v.text(), "Have your program keep its token")
	require.Contains(t, b.reactivates(s.page()).text(), "The application can be used again")

	_, err = s.service.SwitchOff(t.Context(), s.client.ID, oauth.ByOperator, "", "abuse")
	require.NoError(t, err)
	v = b.get(s.page())
	require.Contains(t, v.text(), "Only an operator of this service can reactivate it.")
	require.Empty(t, v.all("form", "action", s.page()+"/reactivate"))
}

func TestACommercialApplicationIsDrawnWithoutALimit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := s.commercial(t)
	v := s.aliceAtHome(t).get("/dev/apps/" + app.ID)
	require.Len(t, v.all("svg", "role", "img"), 2)
	require.Empty(t, v.all("line", "class", "limit"))
	require.NotContains(t, v.text(), "allowed")
	waiting := s.requested(t)
	require.Empty(t, s.aliceAtHome(t).get("/dev/apps/"+waiting.ID).all("svg", "role", "img"))
}

func TestAPolicyThatIsNotInForceAlarmsNobody(t *testing.T) {
	t.Parallel()
	for mode, charts := range map[oauth.Mode]int{oauth.ModeShadow: 2, oauth.ModeOff: 0} {
		store := oauthsqlite.New(migrationstest.SQLite(t))
		s := newServerOn(t, store, nil)
		service, err := oauth.New(oauth.Options{
			Store: store, Passwords: s.passwords, Now: s.Now, Issuer: issuer, Scopes: scopes(), Mode: mode, Limits: &oauth.Limits{Hour: 4, Day: 10},
		})
		require.NoError(t, err)
		s.service = service
		at := newSiteOn(t, s, func(o *oauthhttp.PagesOptions) { o.Service = service })
		for range 8 {
			_, err := service.Token(t.Context(), oauth.TokenRequest{
				GrantType: "password", ClientID: s.client.ID, ClientSecret: s.secret, Username: email, Password: password,
			})
			require.NoError(t, err)
		}
		v := at.aliceAtHome(t).get(at.page())
		require.Len(t, v.all("svg", "role", "img"), charts, mode)
		require.NotContains(t, v.text(), "What happened", mode)
		require.NotContains(t, v.text(), "witched off", mode)
		if charts > 0 {
			require.Contains(t, v.text(), strconv.Itoa(7)+" of 4 that are allowed")
		}
	}
}
