package oauthhttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const deviceEndpoint = "/oauth2/device_authorization"

// deviceCodes is the answer of the device authorization endpoint.
type deviceCodes struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	Complete        string `json:"verification_uri_complete"`
	ExpiresIn       int    `json:"expires_in"`
	Interval        int    `json:"interval"`
}

// device asks for a code for Alice's application.
func (s *server) device(t testing.TB) (d deviceCodes) {
	t.Helper()
	w := s.postTo(deviceEndpoint, form, "", "Authorization", basic(s.client.ID, s.secret))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &d))
	return d
}

// poll asks for the tokens of a device code.
func (s *server) poll(d deviceCodes) *httptest.ResponseRecorder {
	return s.post(form, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.DeviceCode},
	}.Encode(), "Authorization", basic(s.client.ID, s.secret))
}

// polls checks how a poll is refused.
func (s *server) polls(t testing.TB, d deviceCodes, code string) {
	t.Helper()
	w := s.poll(d)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, code, decoded(t, w).Error)
}

// enters types a code into the page.
func (b *browser) enters(code string) *view {
	b.t.Helper()
	form := b.get("/device").form("/device")
	form.Set("user_code", code)
	return b.post("/device", form)
}

// answers enters a code and presses a button.
func (b *browser) answers(code, answer string) *view {
	b.t.Helper()
	form := b.enters(code).form("/device/answer")
	form.Set("answer", answer)
	return b.post("/device/answer", form)
}

func TestADeviceFromItsCodeToItsTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.device(t)
	require.Equal(t, issuer+"/device", d.VerificationURI)
	require.Equal(t, issuer+"/device?user_code="+d.UserCode, d.Complete)
	require.Equal(t, 600, d.ExpiresIn)
	require.Equal(t, 5, d.Interval)
	s.polls(t, d, "authorization_pending")
	s.polls(t, d, "slow_down")

	b := s.browser(t)
	to := strings.TrimPrefix(d.Complete, issuer)
	require.Equal(t, "/signin?return="+url.QueryEscape(to), b.get(to).location(), "who is not signed in comes back here")
	b.signIn(email, password)
	page := b.get(to)
	require.Equal(t, d.UserCode, page.form("/device").Get("user_code"), "it is filled in, and looked up only when it is sent")
	v := b.enters(strings.ToLower(strings.ReplaceAll(d.UserCode, "-", "")))
	require.Equal(t, "Let Alice's script in?", v.heading())
	require.Contains(t, v.text(), "Allow this only if you have just started it yourself")
	require.Contains(t, v.text(), d.UserCode)
	require.Contains(t, v.text(), email)
	v = b.answers(d.UserCode, "allow")
	require.Equal(t, http.StatusOK, v.status)
	require.Equal(t, "The device is connected", v.heading())

	got := tokens(t, s.poll(d))
	require.NotEmpty(t, got.RefreshToken)
	require.Nil(t, got.Scope)
	s.polls(t, d, "invalid_grant")
	require.Equal(t, http.StatusUnprocessableEntity, b.enters(d.UserCode).status, "it is used up")
	text := strings.Join(s.log.Lines(), "\n")
	for _, secret := range []string{d.DeviceCode, d.UserCode, got.AccessToken, got.RefreshToken} {
		require.NotContains(t, text, secret)
	}
}

func TestADeviceThatIsDeniedOrForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	denied, forgotten := s.device(t), s.device(t)
	require.Equal(t, "The device is not connected", b.answers(denied.UserCode, "deny").heading())
	s.polls(t, denied, "access_denied")
	s.Advance(10 * time.Minute)
	s.polls(t, forgotten, "expired_token")
	v := b.enters(forgotten.UserCode)
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.Contains(t, v.faults(), "This code is wrong or has expired.")
}

func TestUserCodesThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.device(t)
	bob := s.bobAtHome(t)
	v := bob.enters(d.UserCode)
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.Contains(t, v.faults(), "This code belongs to an application of another account.")
	require.NotContains(t, v.body, "Alice")
	require.NotContains(t, v.body, s.client.ID)
	require.Contains(t, bob.enters("").faults(), "Enter the code.")
	for range 9 {
		require.Contains(t, bob.enters("BBBB-BBBB").faults(), "This code is wrong or has expired.")
	}
	v = bob.enters("BBBB-BBBB")
	require.Equal(t, http.StatusTooManyRequests, v.status)
	require.Equal(t, "900", v.header.Get("Retry-After"))
	require.Contains(t, v.faults(), "Wait 15 minutes")
	require.Equal(t, http.StatusOK, s.aliceAtHome(t).enters(d.UserCode).status)
}

func TestAnswersToADeviceThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.device(t)
	b := s.aliceAtHome(t)
	good := b.enters(d.UserCode).form("/device/answer")
	good.Set("answer", "allow")
	with := func(name string, values ...string) url.Values {
		form := make(url.Values)
		for k, v := range good {
			form[k] = v
		}
		form[name] = values
		return form
	}
	for name, c := range map[string]struct {
		form   url.Values
		status int
	}{
		"without the form token":  {with("form_token"), http.StatusForbidden},
		"with another form's":     {with("form_token", b.get("/device").form("/device").Get("form_token")), http.StatusForbidden},
		"with another session's":  {with("form_token", s.bobAtHome(t).get("/device").form("/device").Get("form_token")), http.StatusForbidden},
		"without an answer":       {with("answer"), http.StatusBadRequest},
		"with another answer":     {with("answer", "perhaps"), http.StatusBadRequest},
		"with two answers":        {with("answer", "allow", "deny"), http.StatusBadRequest},
		"without a code":          {with("user_code"), http.StatusUnprocessableEntity},
		"with another code":       {with("user_code", "BBBB-BBBB"), http.StatusUnprocessableEntity},
		"with a code that is NUL": {with("user_code", "\x00"), http.StatusBadRequest},
	} {
		require.Equal(t, c.status, b.post("/device/answer", c.form).status, name)
	}
	require.Equal(t, http.StatusForbidden, b.post("/device/answer", good, "Sec-Fetch-Site", "cross-site").status)
	stranger := s.browser(t)
	require.Equal(t, "/signin?return=%2Fdevice", stranger.post("/device/answer", good).location())
	s.polls(t, d, "authorization_pending")
	require.Equal(t, http.StatusOK, b.post("/device/answer", good).status)
	require.Equal(t, http.StatusUnprocessableEntity, b.post("/device/answer", good).status, "twice")
}

func TestDeviceAuthorizationRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	app, phone := s.commercial(t), s.commercial(t, public)
	for name, c := range map[string]struct {
		body, auth string
		status     int
		code       string
	}{
		"nobody":               {"", "", 400, "invalid_client"},
		"without secret":       {"client_id=" + s.client.ID, "", 400, "invalid_client"},
		"wrong secret":         {"", basic(s.client.ID, app.secret), 401, "invalid_client"},
		"commercial":           {"", basic(app.ID, app.secret), 400, "unauthorized_client"},
		"public":               {"client_id=" + phone.ID, "", 400, "unauthorized_client"},
		"client_id repeated":   {"client_id=" + s.client.ID + "&client_id=" + s.client.ID, "", 400, "invalid_request"},
		"scope repeated":       {"scope=a&scope=a", basic(s.client.ID, s.secret), 400, "invalid_request"},
		"authenticates twice":  {"client_secret=" + s.secret, basic(s.client.ID, s.secret), 400, "invalid_request"},
		"malformed":            {"scope=%zz", basic(s.client.ID, s.secret), 400, "invalid_request"},
		"past the limit":       {"scope=" + strings.Repeat("a", 64<<10), basic(s.client.ID, s.secret), 413, "invalid_request"},
		"credentials of query": {"", "", 400, "invalid_client"},
	} {
		headers := []string{}
		if c.auth != "" {
			headers = []string{"Authorization", c.auth}
		}
		path := deviceEndpoint
		if name == "credentials of query" {
			path += "?client_id=" + s.client.ID + "&client_secret=" + s.secret
		}
		w := s.postTo(path, form, c.body, headers...)
		require.Equal(t, c.status, w.Code, name)
		require.Equal(t, c.code, decoded(t, w).Error, name)
	}
	w := s.do(httptest.NewRequest(http.MethodGet, deviceEndpoint, nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	for range 20 {
		s.device(t)
	}
	w = s.postTo(deviceEndpoint+"/", jsonType, `{"client_id":"`+s.client.ID+`","client_secret":"`+s.secret+`","scope":null}`)
	require.Equal(t, http.StatusTooManyRequests, w.Code, w.Body)
	require.Equal(t, "60", w.Header().Get("Retry-After"))
}

func TestOneWinnerAmongAHundredPolls(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		d := s.device(t)
		_, err := s.service.AnswerDevice(t.Context(), s.alice.ID, d.UserCode, true, addressOf(httptest.NewRequest(http.MethodGet, "/", nil)))
		require.NoError(t, err)
		var won, lost atomic.Int32
		var winner atomic.Value
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				switch w := s.poll(d); w.Code {
				case http.StatusOK:
					won.Add(1)
					winner.Store(w.Body.Bytes())
				case http.StatusBadRequest:
					lost.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, won.Load())
		require.EqualValues(t, 99, lost.Load())
		var got answer
		require.NoError(t, json.Unmarshal(winner.Load().([]byte), &got))
		_, err = s.service.Authenticate(t.Context(), got.AccessToken)
		require.NoError(t, err, "the polls that lost end nothing")
	})
}

// golang.org/x/oauth2 as it comes. It sends a device's request without the secret
// unless it is told to.
func TestStockClientWithADevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := oauth2.Config{
		ClientID: s.client.ID, ClientSecret: s.secret,
		Endpoint: oauth2.Endpoint{
			DeviceAuthURL: s.url + deviceEndpoint, TokenURL: s.url + "/oauth2/token", AuthStyle: oauth2.AuthStyleInHeader,
		},
	}
	device, err := config.DeviceAuth(t.Context(), oauth2.SetAuthURLParam("client_secret", s.secret))
	require.NoError(t, err)
	require.Equal(t, issuer+"/device", device.VerificationURI)
	require.Equal(t, "The device is connected", s.aliceAtHome(t).answers(device.UserCode, "allow").heading())
	device.Interval = 1 // it waits that long before it polls
	token, err := config.DeviceAccessToken(t.Context(), device)
	require.NoError(t, err)
	access, err := s.service.Authenticate(t.Context(), token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, s.alice.ID, access.UserID)
	token.Expiry = time.Unix(1, 0)
	renewed, err := config.TokenSource(t.Context(), token).Token()
	require.NoError(t, err)
	require.NotEqual(t, token.AccessToken, renewed.AccessToken)

	denied, err := config.DeviceAuth(t.Context(), oauth2.SetAuthURLParam("client_secret", s.secret))
	require.NoError(t, err)
	s.aliceAtHome(t).answers(denied.UserCode, "deny")
	denied.Interval = 1
	_, err = config.DeviceAccessToken(t.Context(), denied)
	var told *oauth2.RetrieveError
	require.ErrorAs(t, err, &told)
	require.Equal(t, "access_denied", told.ErrorCode)
}
