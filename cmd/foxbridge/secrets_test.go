package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Everything that is secret is put in every place where a client may put it, right
// and wrong, while the log is at its most talkative: it holds none of it.
func TestLogHoldsNoSecret(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t, "--log-level", "debug")

	access, refresh := e.tokens(t, bridge, map[string]string{"grant_type": "password", "username": e.username, "password": e.password})
	newAccess, newRefresh := e.tokens(t, bridge, map[string]string{"grant_type": "refresh_token", "refresh_token": refresh})
	e.live(t, bridge, access)
	secrets := []string{
		e.password, url.QueryEscape(e.password), e.app.ClientSecret, e.box.Password, access, refresh, newAccess, newRefresh,
		"access_token=", "client_secret=", "password=", "a-wrong-password", "a-wrong-secret", "a-wrong-token", "a-secret-in-json",
	}

	try := func(method, path, contentType, body string, header ...string) int {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+bridge.HTTP+path, strings.NewReader(body))
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		status, _ := exchange(t, r, contentType)
		return status
	}
	const form, asJSON = "application/x-www-form-urlencoded", "application/json"
	id := "client_id=" + e.app.ClientID
	arm := e.path("/security/set/armed")
	require.Equal(t, 200, try("GET", arm+"?access_token="+access, "", ""))
	require.Equal(t, 200, try("POST", arm, form, "access_token="+access))
	require.Equal(t, 200, try("POST", arm+"?access_token="+access, form, "access_token="+access), "copies of one token are one")
	require.Equal(t, 401, try("POST", arm+"?access_token="+access, form, "access_token="+newAccess))
	require.Equal(t, 401, try("GET", arm+"?access_token=a-wrong-token", "", ""))
	require.Equal(t, 401, try("GET", arm, "", "", "Authorization", "Bearer a-wrong-token"))
	require.Equal(t, 404, try("GET", "/nowhere?access_token="+access, "", ""))
	require.Equal(t, 405, try("DELETE", arm+"?access_token="+access, "", ""))
	require.Equal(t, 404, try("GET", "/v2//site?access_token="+access, "", ""), "nobody is sent elsewhere with a token in the address")
	require.Equal(t, 400, try("POST", "/oauth2/token", form, id+"&client_secret=a-wrong-secret&grant_type=password&username="+e.username+"&password=a-wrong-password"))
	require.Equal(t, 400, try("POST", "/oauth2/token", form, id+"&client_secret="+e.app.ClientSecret+"&grant_type=password&username="+e.username+"&password=a-wrong-password"))
	require.Equal(t, 400, try("POST", "/oauth2/token", form, id+"&client_secret="+e.app.ClientSecret+"&grant_type=refresh_token&refresh_token=a-wrong-token"))
	require.Equal(t, 400, try("POST", "/oauth2/token", asJSON, `{"client_id":"`+e.app.ClientID+`","client_secret":"a-secret-in-json`))
	require.Equal(t, 400, try("POST", "/oauth2/token", asJSON, `{"password":{"nested":"a-secret-in-json"}}`))
	require.Equal(t, 401, try("POST", "/oauth2/token?client_secret="+e.app.ClientSecret, form, "grant_type=password", "Authorization", "Basic a-wrong-secret"))
	require.Equal(t, 400, try("POST", "/oauth2/token", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\na-wrong-password\r\n"))
	for password, says := range map[string]string{"a-wrong-password": "Connection Refused", e.box.Password: "denied"} {
		out, err := mosquitto(t, "sub", bridge, e.box.UnitID, password, "-t", "hc/1/+/cmd", "-C", "1", "-W", "3").CombinedOutput()
		require.Contains(t, string(out), says, "%v", err)
	}
	require.Equal(t, exitOK, bridge.stop(t))

	log := bridge.log.String()
	require.Contains(t, log, "/security/set/armed", "the log tells of the requests")
	for _, secret := range secrets {
		require.NotContains(t, log, secret)
	}
}

// tokens asks the token endpoint with the application's credentials, and fails the
// test if it does not answer 200.
func (e *estate) tokens(t testing.TB, bridge *running, parameters map[string]string) (access, refresh string) {
	t.Helper()
	form := url.Values{}
	for name, value := range parameters {
		form.Set(name, value)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+bridge.HTTP+"/oauth2/token", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.SetBasicAuth(e.app.ClientID, e.app.ClientSecret)
	status, body := exchange(t, r, "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusOK, status, body)
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	return answer.Access, answer.Refresh
}

// exchange makes a request with a body of this type, and gives the answer.
func exchange(t testing.TB, r *http.Request, contentType string) (status int, body string) {
	t.Helper()
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// mosquitto prepares a run of mosquitto_sub or mosquitto_pub, the stock MQTT
// clients, against a bridge.
func mosquitto(t testing.TB, which string, bridge *running, username, password string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("mosquitto_" + which)
	require.NoError(t, err, "install mosquitto-clients")
	host, port, found := strings.Cut(bridge.MQTT, ":")
	require.True(t, found)
	// Its output comes line by line, also when it is no terminal that reads it.
	return exec.CommandContext(t.Context(), "stdbuf", append([]string{"-oL", program, "-h", host, "-p", port, "-V", "311", "-u", username, "-P", password, "-q", "1"}, args...)...)
}
