package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ask asks a bridge for tokens with the password grant, and gives status and body.
func (e *estate) ask(t testing.TB, bridge *running) (int, string) {
	t.Helper()
	form := url.Values{
		"grant_type": {"password"}, "client_id": {e.app.ClientID}, "client_secret": {e.app.ClientSecret},
		"username": {e.username}, "password": {e.password},
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+bridge.HTTP+"/oauth2/token", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// An application that wastes tokens is switched off by a running bridge, its history
// tells why, and the operator's commands work beside the bridge.
func TestAnApplicationIsSwitchedOffAndReactivated(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data)
		bridge := e.serve(t, "--issuance-hour", "4")
		var l limits
		e.run(t, &l, "app", "limits", e.app.ClientID)
		require.Equal(t, limits{e.app.ClientID, 20, 100, false}, l, "the settings are of the bridge")

		token := e.token(t, bridge)
		for range 4 {
			token = e.token(t, bridge)
		}
		status, body := e.ask(t, bridge)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, body, `"unauthorized_client"`)
		require.Contains(t, body, `"count":5,"allowed":4`)
		status, body = authorized(t, bridge, "GET", "/v2/client/site/items", token)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Contains(t, body, `"error":"invalid_token"`)
		require.Contains(t, body, `"error_uri":"http://`+bridge.HTTP+`/dev/apps/`+e.app.ClientID+`"`)
		require.Contains(t, body, `"rule":"wasteful_tokens_per_hour"`)

		history := func() (verdicts []string) {
			t.Helper()
			var rulings []ruling
			e.run(t, &rulings, "app", "history", e.app.ClientID)
			for _, r := range rulings {
				verdicts = append(verdicts, string(r.Verdict)+" by "+string(r.By))
			}
			return verdicts
		}
		require.Equal(t, []string{"switch_off by policy", "warning by policy", "notice by policy"}, history())
		bridge.eventually(t, "saying so in its log", func() bool {
			return strings.Contains(bridge.log.String(), `msg="application switched off" client_id=`+e.app.ClientID+" by=policy")
		})
		_, exported := get(t, "http://"+bridge.Operator+"/metrics")
		require.Contains(t, exported, `foxbridge_applications_switched_total{by="policy",to="off"} 1`)
		require.Contains(t, exported, `foxbridge_oauth_wasteful_tokens_total{client_id="`+e.app.ClientID+`"} 4`)
		for _, verdict := range []string{"notice", "warning", "switch_off"} {
			require.Contains(t, exported, `foxbridge_issuance_verdicts_total{kind="personal",mode="enforced",rule="hour",verdict="`+verdict+`"} 1`)
		}

		type changed struct {
			Status  string `json:"status"`
			Changed bool   `json:"changed"`
			Lever   string `json:"lever"`
		}
		var did changed
		did = changed{}
		e.run(t, &did, "app", "reactivate", e.app.ClientID)
		require.Equal(t, changed{"active", true, ""}, did)
		e.run(t, &did, "app", "reactivate", e.app.ClientID)
		require.Equal(t, changed{"active", false, ""}, did)
		status, _ = authorized(t, bridge, "GET", "/v2/client/site/items", token)
		require.Equal(t, http.StatusOK, status)
		e.token(t, bridge)

		e.run(t, &did, "app", "deactivate", e.app.ClientID, "--reason", "it was asked for", "--issuance-lever", "drain")
		require.Equal(t, changed{"off", true, "drain"}, did)
		e.run(t, &did, "app", "deactivate", e.app.ClientID, "--reason", "it was asked for", "--issuance-lever", "drain")
		require.Equal(t, changed{"off", false, "drain"}, did)
		status, body = e.ask(t, bridge)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, body, `"reason":"it was asked for"`)
		require.Contains(t, body, "The access tokens that it has work until they expire.")
		status, _ = authorized(t, bridge, "GET", "/v2/client/site/items", token)
		require.Equal(t, http.StatusOK, status, "live tokens run out")
		e.run(t, &did, "app", "reactivate", e.app.ClientID, "--reason", "it was a mistake")
		require.Equal(t, []string{"reactivation by operator", "switch_off by operator", "reactivation by operator"}, history()[:3])

		e.run(t, &l, "app", "limits", e.app.ClientID, "--hour", "0", "--day", "3")
		require.Equal(t, limits{e.app.ClientID, 0, 3, true}, l)
		code, _, stderr := execute(t, "", append([]string{"app", "limits", e.app.ClientID, "--hour", "40", "--day", "20"}, record...)...)
		require.Equal(t, exitFail, code)
		require.Contains(t, stderr, "day 20 is less than the 40 of an hour")
		e.run(t, &l, "app", "limits", e.app.ClientID, "--default")
		require.False(t, l.Own)

		commercial := e.commercialApp(t)
		for _, refused := range []struct {
			args []string
			says string
		}{
			{[]string{"limits", e.app.ClientID, "--hour", "1"}, "--hour and --day are given together; 0 stands for no limit"},
			{[]string{"limits", e.app.ClientID, "--hour", "1", "--day", "1", "--default"}, "--default is given alone"},
			{[]string{"limits", commercial.ClientID}, "names a commercial application, which has no such limits"},
			{[]string{"limits", strings.Repeat("0", 32)}, "client_id names no application; foxbridge app list tells them"},
			{[]string{"history", strings.Repeat("0", 32)}, "client_id names no application; foxbridge app list tells them"},
			{[]string{"history", "nonesuch"}, "client_id is malformed; foxbridge app list tells them"},
		} {
			code, _, stderr := execute(t, "", append(append([]string{"app"}, refused.args...), record...)...)
			require.NotEqual(t, exitOK, code, refused.args)
			require.Contains(t, stderr, refused.says, refused.args)
		}
		code, stdout, stderr := execute(t, "", append([]string{"app", "limits", e.app.ClientID}, record...)...)
		require.Equal(t, exitOK, code, stderr)
		require.Regexp(t, `of its own +none: issuance-hour and issuance-day of the bridge hold \(20 and 100`, stdout)
		code, stdout, stderr = execute(t, "", append([]string{"app", "history", commercial.ClientID}, record...)...)
		require.Equal(t, exitOK, code, stderr)
		require.Regexp(t, `^AT +VERDICT +BY +EVIDENCE\n$`, stdout, "there is nothing yet")
		_, stdout, _ = execute(t, "", append([]string{"app", "list"}, record...)...)
		require.Regexp(t, e.app.ClientID+`.* `+regexp.QuoteMeta(e.username)+` `, stdout)

		code, stdout, stderr = execute(t, "", append([]string{"app", "history", e.app.ClientID, "--last", "1"}, record...)...)
		require.Equal(t, exitOK, code, stderr)
		require.Regexp(t, `^AT +VERDICT +BY +EVIDENCE\n\S+ +reactivation +operator +it was a mistake\n$`, stdout)
	})
}

// A disabled person is refused by a running bridge at once, and let in again.
func TestAPersonIsDisabledAndEnabled(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data)
		bridge := e.serve(t)
		token := e.token(t, bridge)
		var done struct{ Disabled bool }
		e.run(t, &done, "user", "disable", e.username)
		require.True(t, done.Disabled)
		var users []user
		e.run(t, &users, "user", "list")
		require.True(t, users[0].Disabled)
		status, _ := authorized(t, bridge, "GET", "/v2/client/site/items", token)
		require.Equal(t, http.StatusUnauthorized, status)
		status, body := e.ask(t, bridge)
		require.Equal(t, http.StatusBadRequest, status)
		var refusal struct{ Error string }
		require.NoError(t, json.Unmarshal([]byte(body), &refusal))
		require.Equal(t, "unauthorized_client", refusal.Error)
		e.run(t, &done, "user", "enable", e.username)
		require.False(t, done.Disabled)
		status, _ = authorized(t, bridge, "GET", "/v2/client/site/items", token)
		require.Equal(t, http.StatusOK, status)
		e.token(t, bridge)
	})
}
