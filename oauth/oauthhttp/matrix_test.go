package oauthhttp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// The matrix of every grant, kind of application, way to authenticate and fault of a
// parameter, over HTTP. What must be answered is worked out by rules of its own,
// which are those of the contract. A request that is refused must spend nothing: the
// code or refresh token that it carried is tried again and again.
func TestTheTokenMatrix(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		m := newMatrix(t, s)
		for _, app := range m.apps() {
			for _, grant := range []string{oauth.GrantPassword, oauth.GrantRefresh, oauth.GrantCode, oauth.GrantClientCredentials, oauth.GrantDevice, deviceAuthorization, oauth.GrantImplicit} {
				for _, auth := range []string{"basic", "body", "wrong basic", "wrong body", "no secret", "nobody"} {
					m.run(t, try{app: app, grant: grant, auth: auth})
				}
			}
		}
		m.report(t)
	})
}

// deviceAuthorization stands among the grants for the endpoint at which that of a device
// begins.
const deviceAuthorization = "device authorization"

// kindOf is an application as the matrix sees it.
type kindOf struct {
	name   string
	id     string
	secret string // empty of a public one
	grants []string
	active bool
}

// try is one request of the matrix.
type try struct {
	app       kindOf
	grant     string
	auth      string
	encoding  string // form, multipart or JSON
	parameter string // which has the fault
	fault     string // empty: none
}

func (c try) String() string {
	return fmt.Sprintf("%s, %s, %s, %s, %s %s", c.app.name, c.grant, c.auth, c.encoding, c.parameter, c.fault)
}

// outcome is what must be answered.
type outcome struct {
	status int
	code   string
}

type matrix struct {
	s      *server
	web    *httptest.Server
	from   netip.Addr
	issued []application
	counts map[outcome]int
	per    map[string]int    // requests by grant
	spend  map[string]string // code or refresh token that is unspent, by application and grant
}

func newMatrix(t *testing.T, s *server) *matrix {
	t.Helper()
	rejected := s.requested(t)
	require.NoError(t, s.service.Reject(t.Context(), rejected.ID))
	m := &matrix{
		s: s, web: httptest.NewServer(s.checked), from: netip.MustParseAddr("10.0.0.0"),
		issued: []application{s.commercial(t), s.commercial(t, public), s.requested(t), rejected, s.legacy(t), s.deleted(t)},
		counts: map[outcome]int{}, per: map[string]int{}, spend: map[string]string{},
	}
	t.Cleanup(m.web.Close)
	return m
}

func (m *matrix) apps() []kindOf {
	kind := func(name string, a application, active bool, grants ...string) kindOf {
		return kindOf{name: name, id: a.ID, secret: a.secret, active: active, grants: grants}
	}
	return []kindOf{
		kind("personal", application{m.s.client, m.s.secret}, true, "password", "refresh_token", oauth.GrantDevice, deviceAuthorization),
		kind("commercial", m.issued[0], true, "authorization_code", "refresh_token", "client_credentials"),
		kind("public", m.issued[1], true, "authorization_code", "refresh_token"),
		kind("pending", m.issued[2], false),
		kind("rejected", m.issued[3], false),
		// Over this endpoint the mark of the implicit grant changes nothing.
		kind("legacy", m.issued[4], true, "authorization_code", "refresh_token", "client_credentials"),
		kind("deleted", m.issued[5], false),
	}
}

// deleted registers an application that its owner has deleted.
func (s *server) deleted(t testing.TB) application {
	t.Helper()
	a := s.commercial(t)
	require.NoError(t, s.administration.DeleteClient(t.Context(), a.ID))
	return a
}

// run makes every fault of every parameter, in form encoding; those of an application
// in use that has its credentials in order, in the other encodings too.
func (m *matrix) run(t *testing.T, c try) {
	t.Helper()
	encodings := []string{"form"}
	if c.app.active && (c.auth == "basic" || c.auth == "body") {
		encodings = []string{"form", "multipart", "JSON"}
	}
	for _, c.encoding = range encodings {
		for _, pair := range m.right(t, c) {
			c.parameter = pair.name
			for _, c.fault = range []string{"missing", "empty", "repeated", "oversized", "past the limit", "NUL", "invalid UTF-8", "wrong", "a number", "a list"} {
				if strings.HasPrefix(c.fault, "a ") && c.encoding != "JSON" {
					continue // elsewhere all is text
				}
				if c.fault == "past the limit" && pair.name != "scope" {
					continue // it is the body's
				}
				m.check(t, c)
			}
		}
		c.parameter, c.fault = "", ""
		m.check(t, c)
	}
}

// pair is a parameter.
type pair struct{ name, value string }

// right are the parameters of a request without a fault.
func (m *matrix) right(t *testing.T, c try) []pair {
	t.Helper()
	pairs := []pair{{"grant_type", c.grant}}
	if c.grant == deviceAuthorization {
		pairs = nil
	}
	switch c.auth {
	case "body":
		pairs = append(pairs, pair{"client_id", c.app.id})
		if c.app.secret != "" {
			pairs = append(pairs, pair{"client_secret", c.app.secret})
		}
	case "wrong body":
		pairs = append(pairs, pair{"client_id", c.app.id}, pair{"client_secret", oauth.NewSecret()})
	case "no secret":
		pairs = append(pairs, pair{"client_id", c.app.id})
	}
	switch c.grant {
	case oauth.GrantPassword:
		pairs = append(pairs, pair{"username", email}, pair{"password", password})
	case oauth.GrantRefresh:
		pairs = append(pairs, pair{"refresh_token", m.unspent(t, c)})
	case oauth.GrantCode:
		pairs = append(pairs, pair{"code", m.unspent(t, c)}, pair{"redirect_uri", redirectURI}, pair{"code_verifier", verifier})
	case oauth.GrantDevice:
		pairs = append(pairs, pair{"device_code", m.unspent(t, c)})
	}
	return append(pairs, pair{"scope", "socket:read"})
}

// unspent gives a code or refresh token of the application that is good.
func (m *matrix) unspent(t *testing.T, c try) string {
	t.Helper()
	key := c.app.id + c.grant
	if m.spend[key] != "" {
		return m.spend[key]
	}
	i := slices.IndexFunc(m.issued, func(a application) bool { return a.ID == c.app.id })
	switch {
	case c.app.name == "personal" && c.grant == oauth.GrantDevice:
		d := m.s.device(t)
		_, err := m.s.service.AnswerDevice(t.Context(), m.s.alice.ID, d.UserCode, true, m.from)
		require.NoError(t, err)
		m.spend[key] = d.DeviceCode
	case c.app.active && i >= 0 && c.grant == oauth.GrantCode:
		m.spend[key] = m.s.code(t, m.issued[i])
	case c.app.active && i >= 0:
		form := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {c.app.id}, "code": {m.s.code(t, m.issued[i])},
			"redirect_uri": {redirectURI}, "code_verifier": {verifier},
		}
		if c.app.secret != "" {
			form.Set("client_secret", c.app.secret)
		}
		m.spend[key] = tokens(t, m.s.post("", form.Encode())).RefreshToken
	case c.app.active && c.grant == oauth.GrantRefresh:
		m.spend[key] = tokens(t, m.s.post("", m.s.signIn().Encode())).RefreshToken
	default:
		m.spend[key] = oauth.NewSecret() // of what this application can have none
	}
	return m.spend[key]
}

// check sends a request and holds the answer against what is expected.
func (m *matrix) check(t *testing.T, c try) {
	t.Helper()
	want := expected(c)
	resp := m.send(t, c)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	var got answer
	require.NoError(t, json.Unmarshal(body, &got), c)
	require.Equal(t, want, outcome{resp.StatusCode, got.Error}, "%s: %s", c, body)
	m.counts[want]++
	m.per[c.grant]++
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	require.Equal(t, want.status == http.StatusUnauthorized, resp.Header.Get("WWW-Authenticate") != "", c)
	switch {
	case want.status != http.StatusOK:
	case c.grant == deviceAuthorization:
		m.checkDevice(t, string(body))
	default:
		m.checkSuccess(t, c, string(body), got)
	}
}

// checkDevice takes the codes that were given out of the way, since no more than some
// may wait.
func (m *matrix) checkDevice(t *testing.T, body string) {
	t.Helper()
	var d deviceCodes
	require.NoError(t, json.Unmarshal([]byte(body), &d))
	require.Regexp(t, `^[0-9a-f]{64}$`, d.DeviceCode)
	require.Equal(t, issuer+"/device?user_code="+d.UserCode, d.Complete)
	_, err := m.s.service.AnswerDevice(t.Context(), m.s.alice.ID, d.UserCode, false, m.from)
	require.NoError(t, err)
}

func (m *matrix) checkSuccess(t *testing.T, c try, body string, got answer) {
	t.Helper()
	scope, wanted := "null", c.parameter != "scope" || c.fault != "missing" && c.fault != "empty"
	switch {
	case c.app.name == "personal":
	case c.grant == oauth.GrantCode, !wanted:
		scope = `"` + oauth.NewScope(scopes()...).String() + `"`
	default:
		scope = `"socket:read"`
	}
	refresh := `,"refresh_token":"` + got.RefreshToken + `"`
	if c.grant == oauth.GrantClientCredentials {
		require.Empty(t, got.RefreshToken)
		refresh = ""
	}
	require.Equal(t, `{"access_token":"`+got.AccessToken+`","expires_in":3600,"token_type":"Bearer","scope":`+scope+refresh+"}\n", body, c)
	require.Regexp(t, `^[0-9a-f]{64}$`, got.AccessToken)
	for _, word := range hostile() {
		require.NotContains(t, strings.ToLower(body), word, c)
	}
	if c.grant == oauth.GrantCode || c.grant == oauth.GrantRefresh {
		m.spend[c.app.id+c.grant] = got.RefreshToken
	}
	if c.grant == oauth.GrantCode || c.grant == oauth.GrantDevice {
		delete(m.spend, c.app.id+c.grant)
	}
}

// send makes the request as it is told.
func (m *matrix) send(t *testing.T, c try) *http.Response {
	t.Helper()
	pairs := m.faulty(m.right(t, c), c)
	contentType, body := encode(t, c, pairs)
	path := "/oauth2/token"
	if c.grant == deviceAuthorization {
		path = deviceEndpoint
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.web.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", contentType)
	m.from = m.from.Next() // another each time: wrong passwords count by it
	r.Header.Set(fromHeader, m.from.String())
	switch c.auth {
	case "basic":
		r.Header.Set("Authorization", basic(c.app.id, c.app.secret))
	case "wrong basic":
		r.Header.Set("Authorization", basic(c.app.id, oauth.NewSecret()))
	}
	resp, err := m.web.Client().Do(r)
	require.NoError(t, err)
	return resp
}

// faulty gives pairs with the fault.
func (m *matrix) faulty(pairs []pair, c try) []pair {
	i := slices.IndexFunc(pairs, func(p pair) bool { return p.name == c.parameter })
	if i < 0 {
		return pairs
	}
	switch c.fault {
	case "missing":
		return slices.Delete(pairs, i, i+1)
	case "repeated":
		return append(pairs, pairs[i])
	case "empty":
		pairs[i].value = ""
	case "oversized":
		pairs[i].value = strings.Repeat("a", 50_000)
	case "past the limit":
		pairs[i].value = strings.Repeat("a", 64<<10)
	case "NUL":
		pairs[i].value += "\x00"
	case "invalid UTF-8":
		pairs[i].value += "\xff"
	case "wrong":
		pairs[i].value = strings.Repeat("0", 64)
	}
	return pairs
}

func encode(t *testing.T, c try, pairs []pair) (contentType, body string) {
	t.Helper()
	switch c.encoding {
	case "multipart":
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, p := range pairs {
			require.NoError(t, w.WriteField(p.name, p.value))
		}
		require.NoError(t, w.Close())
		return w.FormDataContentType(), b.String()
	case "JSON":
		var members []string
		for _, p := range pairs {
			value := `"` + strings.NewReplacer(`"`, `\"`, "\x00", `\u0000`).Replace(p.value) + `"`
			if p.name == c.parameter && c.fault == "a number" {
				value = "1"
			}
			if p.name == c.parameter && c.fault == "a list" {
				value = "[" + value + "]"
			}
			members = append(members, `"`+p.name+`":`+value)
		}
		return jsonType, "{" + strings.Join(members, ",") + "}"
	default:
		var encoded []string
		for _, p := range pairs {
			encoded = append(encoded, p.name+"="+url.QueryEscape(p.value))
		}
		return form, strings.Join(encoded, "&")
	}
}

// expected is the contract: what comes first in the way of a request decides.
func expected(c try) outcome {
	is := func(parameter string, faults ...string) bool {
		return c.parameter == parameter && slices.Contains(faults, c.fault)
	}
	absent := func(parameter string) bool { return is(parameter, "missing", "empty") }
	other := func(parameter string) bool { return is(parameter, "oversized", "wrong") }
	refused := func(code string) outcome { return outcome{http.StatusBadRequest, code} }

	// The body.
	switch c.fault {
	case "past the limit":
		return outcome{http.StatusRequestEntityTooLarge, "invalid_request"}
	case "repeated", "NUL", "invalid UTF-8", "a number", "a list":
		return refused("invalid_request")
	}

	// The client.
	invalidClient := refused("invalid_client")
	if strings.HasSuffix(c.auth, "basic") {
		invalidClient.status = http.StatusUnauthorized
	}
	secret := c.auth
	if absent("client_secret") {
		secret = "no secret"
	}
	isPublic := c.app.secret == ""
	switch {
	case c.auth == "nobody", absent("client_id"), other("client_id"), other("client_secret"):
		return invalidClient
	case c.app.name == "deleted":
		return invalidClient
	case strings.HasPrefix(secret, "wrong"):
		return invalidClient
	case secret == "no secret" && !isPublic:
		return invalidClient
	case !c.app.active:
		return refused("unauthorized_client")
	}

	// The grant.
	switch {
	case absent("grant_type"):
		return refused("invalid_request")
	case other("grant_type"), c.grant == "implicit":
		return refused("unsupported_grant_type")
	case !slices.Contains(c.app.grants, c.grant):
		return refused("unauthorized_client")
	}

	// Its parameters.
	scoped := c.app.name != "personal" && c.grant != oauth.GrantCode
	switch {
	case absent("username"), absent("password"), absent("refresh_token"), absent("code"), absent("device_code"):
		return refused("invalid_request")
	case other("username"), other("password"), other("refresh_token"), other("code"), other("device_code"):
		return refused("invalid_grant")
	case other("redirect_uri"), other("code_verifier"), absent("code_verifier"):
		return refused("invalid_grant")
	case other("scope") && scoped:
		return refused("invalid_scope")
	}
	return outcome{http.StatusOK, ""}
}

// report prints what was counted, and that nothing secret was logged on the way.
func (m *matrix) report(t *testing.T) {
	t.Helper()
	var total int
	var lines []string
	for o, n := range m.counts {
		total += n
		lines = append(lines, fmt.Sprintf("%d %-22s %6d", o.status, o.code, n))
	}
	slices.Sort(lines)
	for _, grant := range slices.Sorted(maps.Keys(m.per)) {
		lines = append(lines, fmt.Sprintf("%-45s %6d", grant, m.per[grant]))
	}
	t.Logf("token matrix: %d requests\n%s", total, strings.Join(lines, "\n"))
	for _, o := range []outcome{
		{200, ""},
		{400, "invalid_client"},
		{401, "invalid_client"},
		{400, "invalid_request"},
		{413, "invalid_request"},
		{400, "invalid_grant"},
		{400, "invalid_scope"},
		{400, "unauthorized_client"},
		{400, "unsupported_grant_type"},
	} {
		require.Positive(t, m.counts[o], o)
	}
	require.Len(t, m.counts, 9)
	text := strings.Join(m.s.log.Lines(), "\n")
	for _, secret := range []string{m.s.secret, m.issued[0].secret, password, email, verifier} {
		require.NotContains(t, text, secret)
	}
}

// hostile are the words for which clients search the text of a success, ignoring case.
func hostile() []string {
	return []string{"error", "blacklisted", "ko", "login", "password"}
}
