package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify/notifytest"
)

// askToken asks for a token by the owner's password, as a script does that keeps none.
func (e *estate) askToken(t testing.TB, bridge *running) int {
	t.Helper()
	answer, err := http.PostForm("http://"+bridge.HTTP+"/oauth2/token", url.Values{
		"grant_type": {"password"}, "client_id": {e.app.ClientID}, "client_secret": {e.app.ClientSecret},
		"username": {e.username}, "password": {e.password},
	})
	require.NoError(t, err)
	defer answer.Body.Close()
	return answer.StatusCode
}

// askUntilRefused asks for tokens until there are no more, and gives how many there were.
func (e *estate) askUntilRefused(t testing.TB, bridge *running) (tokens int) {
	t.Helper()
	for tokens < 100 {
		status := e.askToken(t, bridge)
		if status != http.StatusOK {
			require.Equal(t, http.StatusBadRequest, status)
			return tokens
		}
		tokens++
	}
	require.Fail(t, "nobody ends it")
	return 0
}

// A script asks for a token on every call. Its owner is told before it is switched off
// and when it is, follows the link, sees why, and reactivates it.
func TestBrowserWayBack(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	box, receiver := notifytest.NewMailbox(t), notifytest.NewReceiver(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data)
	secret := func(text string) string {
		file := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	bridge := e.serve(t,
		"--smtp-url-file", secret(box.URL), "--mail-from", "Foxbridge <cloud@example.org>",
		"--webhook-url-file", secret(receiver.URL), "--webhook-secret-file", secret(notifytest.Secret))
	foxbridge := "http://" + bridge.HTTP
	page := foxbridge + "/dev/apps/" + e.app.ClientID
	button := "form[action$='/reactivate'] button"

	c.open(t, page)
	c.signIn(t, e)
	require.Contains(t, c.text(t), "0 of 20 that are allowed")
	c.look(t, "issuance-none")

	for range 17 {
		require.Equal(t, http.StatusOK, e.askToken(t, bridge))
	}
	c.open(t, page)
	require.Contains(t, c.text(t), "This application is about to be switched off: it asked for 16 tokens within one hour that it did not need. 20 are allowed.")
	c.look(t, "issuance-warned")
	c.open(t, foxbridge+"/dev/apps")
	require.Contains(t, c.text(t), "About to be switched off")
	c.look(t, "apps-warned")
	require.Equal(t, 4, e.askUntilRefused(t, bridge), "one first token and twenty that were not needed")
	mails := func(n int) []notifytest.Letter {
		t.Helper()
		bridge.eventually(t, "mailed", func() bool { return len(box.Letters()) >= n })
		require.Len(t, box.Letters(), n)
		return box.Letters()
	}
	letters := mails(3)
	for i, subject := range []string{"at least half of its limit is used up", "about to be switched off", "switched off"} {
		require.Contains(t, letters[i].Subject, `Application "Script": `+subject)
		require.Equal(t, e.username, letters[i].To)
	}
	link := regexp.MustCompile(`http://\S+\?link=[0-9a-f]{64}`).FindString(letters[2].Text)
	require.True(t, strings.HasPrefix(link, page), letters[2].Text)

	// In a browser in which nobody is signed in, the link leads through the sign-in.
	c.press(t, "form[action='/signout'] button")
	c.open(t, link)
	require.Contains(t, c.at(t), foxbridge+"/signin?")
	c.signIn(t, e)
	require.Equal(t, link, c.at(t))
	require.Contains(t, c.text(t), "This application asked for 21 tokens within one hour that it did not need. 20 are allowed. So it was switched off.")
	require.Contains(t, c.text(t), "Last 24 hours: 21 tokens, 20 not needed")
	require.Positive(t, ask(t, c, chromedp.Evaluate[int]("document.querySelectorAll('#hours rect.wasteful').length")))
	c.look(t, "issuance-off")
	c.do(t, chromedp.Evaluate[chromedp.Void]("document.querySelectorAll('details').forEach(d => d.open = true)"))
	c.look(t, "issuance-off-tables")
	c.press(t, "footer form button:not([aria-current])")
	require.Contains(t, c.text(t), "Elle a donc été désactivée.")
	c.look(t, "issuance-off-fr")
	c.press(t, "footer form button:not([aria-current])")

	c.open(t, link)
	c.press(t, button)
	require.Equal(t, page, c.at(t))
	require.Contains(t, c.text(t), "The application can be used again, and its tokens are counted anew.")
	c.look(t, "issuance-reactivated")
	require.Equal(t, http.StatusOK, e.askToken(t, bridge))
	c.open(t, link)
	require.Contains(t, c.text(t), "The link in the mail has been used up")
	c.look(t, "issuance-link-used")

	// The second time by the button alone, and then it is the operator's decision.
	e.askUntilRefused(t, bridge)
	mails(6)
	c.open(t, page)
	require.Contains(t, c.text(t), "You can reactivate it yourself, for the last time within 30 days.")
	c.press(t, button)
	e.askUntilRefused(t, bridge)
	require.Contains(t, mails(8)[7].Text, "so now only an operator can", "the sixth that only warns is withheld")
	c.open(t, page)
	require.Contains(t, c.text(t), "so now the operator of this service decides")
	c.look(t, "issuance-operator-decides")

	// The operator was told of all of it, and no secret is in the log.
	bridge.eventually(t, "told the operator", func() bool { return len(receiver.Events()) == 11 })
	var types []string
	for _, event := range receiver.Events() {
		types = append(types, strings.TrimPrefix(event.Type, "client."))
	}
	episode := []string{"notice", "warning", "switched_off", "reactivated"}
	require.ElementsMatch(t, slices.Concat(episode, episode, episode[:3]), types)
	require.NotContains(t, bridge.log.String(), link[strings.Index(link, "link=")+5:])
	require.NotContains(t, bridge.log.String(), "whsec_")
	_, metrics := get(t, "http://"+bridge.Operator+"/metrics")
	require.Contains(t, metrics, `foxbridge_notices_total{channel="mail",result="told"} 8`)

	c.open(t, foxbridge+"/connected")
	require.Contains(t, c.text(t), "It is switched off. When it is on again:")
	c.look(t, "connected-off")

	// The operator lets it in again, who is the same person here.
	e.run(t, nil, "user", "operator", e.username)
	c.open(t, foxbridge+"/operator/apps")
	require.Contains(t, c.text(t), "The owner has reactivated it twice in 30 days.")
	c.look(t, "operator-held")
	c.do(t, chromedp.SendKeys(chromedp.CSS("form[action='/operator/apps/reactivate'] input[name=reason]"), "The script keeps its token now."))
	c.press(t, "form[action='/operator/apps/reactivate'] button")
	require.Contains(t, c.text(t), "The application can be used again.")
	require.Equal(t, http.StatusOK, e.askToken(t, bridge))
	c.open(t, page)
	require.Contains(t, c.text(t), "Reactivated by an operator.")
}
