package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The histories of a person's homes tell which application was connected, switched off
// and disconnected: of each home that it was for, once, also if the bridge was killed as
// soon as it had answered.
func TestTheHistoryTellsWhatBecameOfApplications(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		var cottage site
		e.run(t, &cottage, "site", "add", "--owner", e.username, "--label", "Chalet", "--language", "fr")
		settings := []string{"--limit-api", "0", "--issuance-hour", "1", "--operator-contact", "help@example.org"}
		bridge := e.serve(t, settings...)
		require.NotContains(t, bridge.log.String(), "operator-contact")
		token := e.token(t, bridge)
		history := func(siteID int64) (labels []string) {
			t.Helper()
			status, body := authorized(t, bridge, http.MethodGet, fmt.Sprintf("/v2/site/%d/history?type=account&dateOrder=1", siteID), token)
			require.Equal(t, http.StatusOK, status, body)
			var answer struct {
				Payload struct {
					Items []struct {
						Label string `json:"label"`
						Type  string `json:"type"`
					} `json:"items"`
				} `json:"payload"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &answer))
			for _, item := range answer.Payload.Items {
				require.Equal(t, "account", item.Type)
				labels = append(labels, item.Label)
			}
			return labels
		}
		home, chalet := []string{}, []string{}
		told := func(what, atHome, atChalet string) {
			t.Helper()
			if atHome != "" {
				home = append(home, atHome)
			}
			if atChalet != "" {
				chalet = append(chalet, atChalet)
			}
			bridge.eventually(t, what, func() bool {
				return len(history(e.home.SiteID)) >= len(home) && len(history(cottage.SiteID)) >= len(chalet)
			})
			require.Equal(t, home, history(e.home.SiteID), what)
			require.Equal(t, chalet, append([]string{}, history(cottage.SiteID)...), what)
		}
		told("a personal application with its first token", "Alice connected the application “Script”", "Alice a connecté l’application « Script »")

		config := stock(bridge, e.commercialApp(t))
		code := consented(t, e, config, url.Values{"site": {fmt.Sprint(e.home.SiteID)}}).Get("code")
		bridge.kill()
		bridge = e.serve(t, append(settings, "--http", bridge.HTTP)...)
		told("a consent for one home, over a kill", "Alice connected the application “Weather”", "")
		_, err := config.Exchange(t.Context(), code)
		require.NoError(t, err)
		back := consented(t, e, config, url.Values{"site": {fmt.Sprint(e.home.SiteID), fmt.Sprint(cottage.SiteID)}})
		second, err := config.Exchange(t.Context(), back.Get("code"))
		require.NoError(t, err)
		told("a consent for both, of which one is new", "", "Alice a connecté l’application « Weather »")
		status, _ := asClient(t, "http://"+bridge.HTTP+"/oauth2/revoke", application{ClientID: config.ClientID, ClientSecret: config.ClientSecret}, url.Values{"token": {second.RefreshToken}})
		require.Equal(t, http.StatusOK, status)
		told("what the application gave up, where nothing is left of it", "", "L’application « Weather » a renoncé à l’accès que Alice lui avait donné")

		v := newVisitor(t)
		v.open(t, "http://"+bridge.HTTP+"/connected")
		v.signIn(t, e)
		v.submit(t, "/connected", url.Values{"client_id": {config.ClientID}})
		require.Equal(t, http.StatusOK, v.status, v.text())
		told("a disconnection by the person", "Alice disconnected the application “Weather”", "")

		e.token(t, bridge)
		status, body := e.ask(t, bridge)
		require.Equal(t, http.StatusBadRequest, status, body)
		bridge.eventually(t, "off", func() bool { return strings.Contains(bridge.log.String(), "application switched off") })
		e.run(t, nil, "app", "reactivate", e.app.ClientID)
		home = append(home, "The application “Script”, connected by Alice, was switched off: it asked for too many tokens")
		chalet = append(chalet, "L’application « Script », connectée par Alice, a été désactivée : elle a demandé trop de jetons")
		bridge.kill()
		bridge = e.serve(t, append(settings, "--http", bridge.HTTP)...)
		told("a switch-off by the policy, and a reactivation beside the bridge, over a kill",
			"The application “Script”, connected by Alice, was switched on again by an operator",
			"L’application « Script », connectée par Alice, a été réactivée par un opérateur")
	})
}
