package oauthhttp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/foxbridge/foxbridge/internal/apitest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

const (
	form     = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// signIn are the parameters of a right request with the password grant.
func (s *server) signIn() url.Values {
	return url.Values{
		"grant_type": {"password"}, "client_id": {s.client.ID}, "client_secret": {s.secret},
		"username": {email}, "password": {password},
	}
}

// without gives v without some of its parameters.
func without(v url.Values, names ...string) url.Values {
	for _, name := range names {
		v.Del(name)
	}
	return v
}

func asJSON(t testing.TB, v url.Values) string {
	t.Helper()
	object := map[string]string{}
	for name := range v {
		object[name] = v.Get(name)
	}
	text, err := json.Marshal(object)
	require.NoError(t, err)
	return string(text)
}

func asMultipart(t testing.TB, v url.Values) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name := range v {
		require.NoError(t, w.WriteField(name, v.Get(name)))
	}
	require.NoError(t, w.Close())
	return w.FormDataContentType(), b.String()
}

func TestTheSuccessBodyToTheLetter(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	w := s.post(form, s.signIn().Encode())
	a := tokens(t, w)
	want := fmt.Sprintf(`{"access_token":"%s","expires_in":3600,"token_type":"Bearer","scope":null,"refresh_token":"%s"}`, a.AccessToken, a.RefreshToken)
	require.Equal(t, want, strings.TrimSuffix(w.Body.String(), "\n"))
	require.Regexp(t, `^[0-9a-f]{64}$`, a.AccessToken)
	require.Regexp(t, `^[0-9a-f]{64}$`, a.RefreshToken)
	for _, word := range []string{"error", "blacklisted", "ko", "login", "password"} {
		require.NotContains(t, strings.ToLower(w.Body.String()), word, "a client stops for good when it finds this")
	}
	require.Empty(t, s.log.Lines())
}

func TestEveryFormOfARightRequest(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	body, object := s.signIn().Encode(), asJSON(t, s.signIn())
	multi, parts := asMultipart(t, s.signIn())
	bare := without(s.signIn(), "client_id", "client_secret")
	barely := bare.Encode()
	credentials := basic(s.client.ID, s.secret)
	for name, c := range map[string]struct {
		contentType, body string
		headers           []string
	}{
		"form":                          {form, body, nil},
		"form with a charset":           {form + "; charset=utf-8", body, nil},
		"form in capitals":              {"Application/X-WWW-Form-URLEncoded", body, nil},
		"form with a broken parameter":  {form + "; charset", body, nil},
		"no content type":               {"", body, nil},
		"stray leading ampersand":       {form, "&" + body, nil},
		"ampersands everywhere":         {form, "&&" + strings.ReplaceAll(body, "&", "&&") + "&", nil},
		"unencoded semicolon":           {form, strings.ReplaceAll(body, "%3B", ";"), nil},
		"unknown and repeated unknown":  {form, body + "&scope=all&x=1&x=2&y=%zz&z=%00%ff", nil},
		"empty is missing":              {form, body + "&refresh_token=&username=", nil},
		"multipart":                     {multi, parts, nil},
		"JSON":                          {jsonType, object, nil},
		"JSON with a charset":           {"application/JSON;charset=UTF-8", " " + object + "\n", nil},
		"JSON with unknown members":     {jsonType, strings.Replace(object, "{", `{"scope":null,"n":1e999,"a":[{}],"o":{"a":1,"a":2},`, 1), nil},
		"Basic":                         {form, barely, []string{"Authorization", credentials}},
		"Basic in other letters":        {form, barely, []string{"Authorization", "bAsIc  " + credentials[6:]}},
		"Basic, encoded":                {form, barely, []string{"Authorization", basic(percent(s.client.ID), percent(s.secret))}},
		"Basic and JSON":                {jsonType, asJSON(t, bare), []string{"Authorization", credentials}},
		"Basic and the same client_id":  {form, without(s.signIn(), "client_secret").Encode(), []string{"Authorization", credentials}},
		"Basic and an empty secret":     {form, barely + "&client_secret=", []string{"Authorization", credentials}},
		"Basic with the id only":        {form, body, []string{"Authorization", basic(s.client.ID, "")}},
		"another scheme beside":         {form, body, []string{"Authorization", "Bearer " + oauth.NewSecret()}},
		"accepts nothing in particular": {form, body, []string{"Accept", "text/html"}},
	} {
		w := s.post(c.contentType, c.body, c.headers...)
		require.Equal(t, http.StatusOK, w.Code, "%s: %s", name, w.Body)
	}
}

// percent encodes every byte, which form-encoding allows.
func percent(s string) (encoded string) {
	for _, b := range []byte(s) {
		encoded += fmt.Sprintf("%%%02x", b)
	}
	return encoded
}

func TestEveryRefusal(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	right := s.signIn().Encode()
	object := asJSON(t, s.signIn())
	with := func(name, value string) string {
		v := s.signIn()
		v.Set(name, value)
		return v.Encode()
	}
	minus := func(names ...string) string { return without(s.signIn(), names...).Encode() }
	refresh := func(token string) string {
		v := without(s.signIn(), "username", "password")
		v.Set("grant_type", "refresh_token")
		v.Set("refresh_token", token)
		return v.Encode()
	}
	header := func(value string) []string { return []string{"Authorization", value} }
	const (
		invalidRequest = "invalid_request"
		invalidClient  = "invalid_client"
	)
	for name, c := range map[string]struct {
		contentType, body string
		headers           []string
		status            int
		code, description string
	}{
		"wrong password":           {form, with("password", "no"), nil, 400, "invalid_grant", "The username and password combination is invalid"},
		"unknown refresh token":    {form, refresh(oauth.NewSecret()), nil, 400, "invalid_grant", "The refresh token is invalid"},
		"malformed refresh token":  {form, refresh("x"), nil, 400, "invalid_grant", "The refresh token is invalid"},
		"wrong secret in the body": {form, with("client_secret", "no"), nil, 400, invalidClient, "The client credentials are invalid"},
		"unknown id in the body":   {form, with("client_id", "no"), nil, 400, invalidClient, "The client credentials are invalid"},
		"no credentials":           {form, minus("client_id", "client_secret"), nil, 400, invalidClient, "Client credentials were not found in the headers or body"},
		"nothing at all":           {form, "", nil, 400, invalidClient, "Client credentials were not found in the headers or body"},
		"wrong secret in Basic":    {form, minus("client_id", "client_secret"), header(basic(s.client.ID, "no")), 401, invalidClient, "The client credentials are invalid"},
		"unknown id in Basic":      {form, minus("client_id", "client_secret"), header(basic("no", s.secret)), 401, invalidClient, "The client credentials are invalid"},
		"Basic without a secret":   {form, minus("client_id", "client_secret"), header(basic(s.client.ID, "")), 401, invalidClient, "Client credentials were not found in the headers or body"},
		"Basic without base64":     {form, right, header("Basic !"), 401, invalidClient, "The Authorization header is malformed"},
		"Basic without anything":   {form, right, header("Basic"), 401, invalidClient, "The Authorization header is malformed"},
		"Basic without a colon":    {form, right, header("Basic " + base64.StdEncoding.EncodeToString([]byte("x"))), 401, invalidClient, "The Authorization header is malformed"},
		"Basic without an id":      {form, right, header(basic("", s.secret)), 401, invalidClient, "The Authorization header is malformed"},
		"Basic with NUL":           {form, right, header(basic("%00", s.secret)), 401, invalidClient, "The Authorization header is malformed"},
		"Basic not in UTF-8":       {form, right, header(basic("\xff", s.secret)), 401, invalidClient, "The Authorization header is malformed"},
		"secrets in both places":   {form, right, header(basic(s.client.ID, s.secret)), 400, invalidRequest, "The client authenticates both in the header and in the body"},
		"two client ids":           {form, minus("client_secret"), header(basic(oauth.NewClientID(), s.secret)), 400, invalidRequest, "The client_id parameter differs from the Authorization header"},
		"two Basic headers":        {form, right, append(header(basic("a", "b")), header(basic("a", "b"))...), 400, invalidRequest, "The Authorization header is given more than once"},

		"no grant_type":        {form, minus("grant_type"), nil, 400, invalidRequest, "The grant_type parameter is missing"},
		"empty grant_type":     {form, with("grant_type", ""), nil, 400, invalidRequest, "The grant_type parameter is missing"},
		"no username":          {form, minus("username"), nil, 400, invalidRequest, "The username parameter is missing"},
		"no password":          {form, minus("password"), nil, 400, invalidRequest, "The password parameter is missing"},
		"no refresh_token":     {form, with("grant_type", "refresh_token"), nil, 400, invalidRequest, "The refresh_token parameter is missing"},
		"unknown grant":        {form, with("grant_type", "implicit"), nil, 400, "unsupported_grant_type", "The grant type is not supported"},
		"repeated username":    {form, right + "&username=b", nil, 400, invalidRequest, "The username parameter is given more than once"},
		"repeated, the same":   {form, right + "&grant_type=password", nil, 400, invalidRequest, "The grant_type parameter is given more than once"},
		"repeated, disguised":  {form, right + "&%75sername=b", nil, 400, invalidRequest, "The username parameter is given more than once"},
		"NUL":                  {form, with("username", "a\x00"), nil, 400, invalidRequest, "The username parameter is not text in UTF-8 without NUL"},
		"invalid UTF-8":        {form, with("client_secret", "\xff"), nil, 400, invalidRequest, "The client_secret parameter is not text in UTF-8 without NUL"},
		"bad percent in value": {form, right + "&refresh_token=%zz", nil, 400, invalidRequest, "The refresh_token parameter is not form-urlencoded"},
		"bad percent in name":  {form, right + "&%zz=1", nil, 400, invalidRequest, "The request body is not form-urlencoded"},

		"JSON, repeated":            {jsonType, strings.Replace(object, "{", `{"username":"b",`, 1), nil, 400, invalidRequest, "The username parameter is given more than once"},
		"JSON, unknown repeated":    {jsonType, strings.Replace(object, "{", `{"x":"b","x":1,`, 1), nil, 400, invalidRequest, "The same parameter is given more than once"},
		"JSON, a number":            {jsonType, strings.Replace(object, "{", `{"refresh_token":1,`, 1), nil, 400, invalidRequest, "The refresh_token parameter is not a string"},
		"JSON, null":                {jsonType, strings.Replace(object, "{", `{"refresh_token":null,`, 1), nil, 400, invalidRequest, "The refresh_token parameter is not a string"},
		"JSON, an object":           {jsonType, strings.Replace(object, "{", `{"refresh_token":{},`, 1), nil, 400, invalidRequest, "The refresh_token parameter is not a string"},
		"JSON, NUL":                 {jsonType, strings.Replace(object, "{", `{"refresh_token":"\u0000",`, 1), nil, 400, invalidRequest, "The refresh_token parameter is not text in UTF-8 without NUL"},
		"JSON, invalid UTF-8":       {jsonType, strings.Replace(object, "{", "{\"refresh_token\":\"\xff\",", 1), nil, 400, invalidRequest, "The request body is not one JSON object"},
		"JSON, trailing data":       {jsonType, object + "{}", nil, 400, invalidRequest, "The request body is not one JSON object"},
		"JSON, an array":            {jsonType, "[" + object + "]", nil, 400, invalidRequest, "The request body is not one JSON object"},
		"JSON, null at the top":     {jsonType, "null", nil, 400, invalidRequest, "The request body is not one JSON object"},
		"JSON, cut short":           {jsonType, object[:len(object)-1], nil, 400, invalidRequest, "The request body is not one JSON object"},
		"JSON, nothing":             {jsonType, "", nil, 400, invalidRequest, "The request body is not one JSON object"},
		"JSON, deep":                {jsonType, `{"x":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}", nil, 400, invalidRequest, "The request body is not one JSON object"},
		"multipart, no boundary":    {"multipart/form-data", "", nil, 400, invalidRequest, "The request body is not valid multipart/form-data"},
		"multipart, nothing":        {"multipart/form-data; boundary=b", "", nil, 400, invalidRequest, "The request body is not valid multipart/form-data"},
		"multipart, cut in a part":  {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\na", nil, 400, invalidRequest, "The request body is not valid multipart/form-data"},
		"multipart, cut after part": {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\na\r\n--b\r\n", nil, 400, invalidRequest, "The request body is not valid multipart/form-data"},
		"multipart, repeated":       {"multipart/form-data; boundary=b", strings.Repeat("--b\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\na\r\n", 2) + "--b--\r\n", nil, 400, invalidRequest, "The username parameter is given more than once"},
		"multipart, a file":         {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"username\"; filename=\"f\"\r\n\r\na\r\n--b--\r\n", nil, 400, invalidRequest, "The request body holds a file"},
		"another media type":        {"text/plain", right, nil, 400, invalidRequest, "The Content-Type is none of application/x-www-form-urlencoded, multipart/form-data and application/json"},
		"no media type at all":      {";", right, nil, 400, invalidRequest, "The Content-Type header is malformed"},

		"too large": {form, right + "&x=" + strings.Repeat("a", 64<<10), nil, 413, invalidRequest, "The request body is too large"},
	} {
		w := s.post(c.contentType, c.body, c.headers...)
		a := decoded(t, w)
		require.Equal(t, c.status, w.Code, "%s: %s", name, w.Body)
		require.Equal(t, answer{Error: c.code, Description: c.description}, a, name)
		require.Regexp(t, `^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`, a.Description, "RFC 6749 section 5.2")
		challenge := ""
		if c.status == http.StatusUnauthorized {
			challenge = `Basic realm="foxbridge"`
		}
		require.Equal(t, challenge, w.Header().Get("WWW-Authenticate"), name)
		require.Empty(t, w.Header().Get("Retry-After"), name)
		require.Len(t, s.seen.Seen(), 1, name)
		require.Len(t, s.log.Lines(), 1, name)
	}
}

func TestABodyOfTheLargestSizeIsTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	body := s.signIn().Encode() + "&x="
	body += strings.Repeat("a", 64<<10-len(body))
	require.Equal(t, http.StatusOK, s.post(form, body).Code)
	require.Equal(t, http.StatusRequestEntityTooLarge, s.post(form, body+"a").Code)
}

func TestTheQueryIsNotRead(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	w := s.do(httptest.NewRequest(http.MethodPost, "/oauth2/token?"+s.signIn().Encode(), nil))
	require.Equal(t, "invalid_client", decoded(t, w).Error)

	r := httptest.NewRequest(http.MethodPost, "/oauth2/token?username=b&grant_type=x", strings.NewReader(s.signIn().Encode()))
	r.Header.Set("Content-Type", form)
	tokens(t, s.do(r))
}

func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, path := range []string{"/oauth2/token", "/oauth2/token/"} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(s.signIn().Encode()))
		tokens(t, s.do(r))
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"} {
			w := s.do(httptest.NewRequest(method, path, nil))
			require.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
			require.Equal(t, "POST", w.Header().Get("Allow"), method)
			require.Equal(t, answer{Error: "invalid_request", Description: "The token endpoint takes POST only"}, decoded(t, w))
		}
	}
}

func TestRefreshOverHTTP(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	first := tokens(t, s.post(form, s.signIn().Encode()))
	refresh := func(token string) *httptest.ResponseRecorder {
		return s.post(form, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}.Encode(), "Authorization", basic(s.client.ID, s.secret))
	}
	second := tokens(t, refresh(first.RefreshToken))
	s.Advance(30 * time.Second)
	again := tokens(t, refresh(first.RefreshToken))
	require.Equal(t, 3570, again.ExpiresIn)
	again.ExpiresIn = second.ExpiresIn
	require.Equal(t, second, again)
	s.Advance(30 * time.Second)
	require.Equal(t, "invalid_grant", decoded(t, refresh(first.RefreshToken)).Error)
	require.Equal(t, "invalid_grant", decoded(t, refresh(second.RefreshToken)).Error)
}

func TestTooManyFailuresSayWhenToComeBack(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	wrong := s.signIn()
	wrong.Set("password", "no")
	for range 10 {
		require.Equal(t, "invalid_grant", decoded(t, s.post(form, wrong.Encode())).Error)
	}
	s.Advance(90*time.Second + time.Millisecond)
	w := s.post(form, s.signIn().Encode())
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "810", w.Header().Get("Retry-After"), "whole seconds, rounded up")
	require.Equal(t, "slow_down", decoded(t, w).Error)

	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(s.signIn().Encode()))
	r.RemoteAddr = "[2001:db8::1]:1234"
	tokens(t, s.do(r))
}

func TestTheAddressCanBeTakenFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	router := mux.NewRouter()
	oauthhttp.New(oauthhttp.Options{
		Service: s.service, Logger: slog.New(slog.DiscardHandler),
		Address: func(r *http.Request) netip.Addr { return netip.MustParseAddr(r.Header.Get("X-Real-Ip")) },
	}).Register(router)
	send := func(password, address string) string {
		v := s.signIn()
		v.Set("password", password)
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(v.Encode()))
		r.Header.Set("X-Real-Ip", address)
		w := httptest.NewRecorder()
		apitest.Shared(t).Handler(t, router).ServeHTTP(w, r)
		return decoded(t, w).Error
	}
	for range 10 {
		require.Equal(t, "invalid_grant", send("no", "198.51.100.1"))
	}
	require.Equal(t, "slow_down", send(password, "198.51.100.1"))
	require.Empty(t, send(password, "198.51.100.2"))
}

// stuck is a Store whose reads of a user last until their context ends.
type stuck struct {
	oauth.Store
	entered chan struct{}
}

func (b stuck) UserByEmail(ctx context.Context, _ string) (oauth.User, error) {
	b.entered <- struct{}{}
	<-ctx.Done()
	return oauth.User{}, ctx.Err()
}

func TestAFullQueueIsUnavailableAndAnAbandonedRequestToo(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 2)
	s := newServer(t, func(store oauth.Store) oauth.Store { return stuck{store, entered} })
	ctx, giveUp := context.WithCancel(t.Context())
	answers := make(chan *httptest.ResponseRecorder)
	var bodies []string // of applications of five people, of whom each has a share
	for i := range 5 {
		owner := fmt.Sprintf("owner%d@example.org", i)
		_, err := s.administration.AddUser(t.Context(), owner, "Owner", password)
		require.NoError(t, err)
		client, secret, err := s.administration.AddClient(t.Context(), owner, "Another")
		require.NoError(t, err)
		bodies = append(bodies, set(set(s.signIn(), "client_id", client.ID), "client_secret", secret).Encode())
	}
	for i := range 2 + 64 { // the workers and the queue
		go func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/oauth2/token", strings.NewReader(bodies[i%len(bodies)]))
			answers <- s.do(r)
		}()
	}
	<-entered
	<-entered
	require.Eventually(t, func() bool { return s.passwords.Stats().Waiting == 64 }, 10*time.Second, time.Millisecond)
	w := s.post(form, s.signIn().Encode())
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, answer{Error: "temporarily_unavailable", Description: "Too many requests are waiting; try again later"}, decoded(t, w))
	retry, err := strconv.Atoi(w.Header().Get("Retry-After"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, retry, 1)

	giveUp()
	for range 2 + 64 {
		w := <-answers
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "temporarily_unavailable", decoded(t, w).Error)
	}
}

// failing is a Store whose error names its inside.
type failing struct{ oauth.Store }

func (failing) Client(context.Context, string) (oauth.Client, error) {
	return oauth.Client{}, errors.New("disk /dev/sda1 on fire")
}

func TestAFailureOfTheServerShowsNothingOfItsInside(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(store oauth.Store) oauth.Store { return failing{store} })
	w := s.post(form, s.signIn().Encode())
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, answer{Error: "server_error", Description: "The server failed"}, decoded(t, w))
	lines := s.log.Lines()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], `"level":"ERROR"`)
	require.Contains(t, lines[0], "disk /dev/sda1 on fire")
}

// away is a Store that gives no answer where it says so.
type away struct {
	oauth.Store
	all, codes *atomic.Bool
}

func (a away) Client(ctx context.Context, id string) (oauth.Client, error) {
	if a.all.Load() {
		return oauth.Client{}, fmt.Errorf("find client: %w: connection refused at 10.0.0.1", oauth.ErrUnavailable)
	}
	return a.Store.Client(ctx, id)
}

func (a away) AddCode(ctx context.Context, c oauth.Code, changes ...oauth.Change) error {
	if a.codes.Load() {
		return fmt.Errorf("add code: %w", oauth.ErrUnavailable)
	}
	return a.Store.AddCode(ctx, c, changes...)
}

// While the record gives no answer, applications are asked to come again, people are told so
// in their language, and an application that is known learns it by a redirect.
func TestWithoutTheRecordEverybodyIsAskedToComeAgain(t *testing.T) {
	t.Parallel()
	var all, codes atomic.Bool
	s := newSiteOn(t, newServer(t, func(store oauth.Store) oauth.Store { return away{store, &all, &codes} }), func(*oauthhttp.PagesOptions) {})
	b, a := s.aliceAtHome(t), s.commercial(t)
	consent := b.asked(a)
	consent.Set("answer", "allow")

	codes.Store(true)
	answer := b.post("/oauth2/consent", consent).answer(redirectURI)
	require.Equal(t, "temporarily_unavailable", answer.Get("error"))
	require.Equal(t, state, answer.Get("state"))
	codes.Store(false)
	require.NotEmpty(t, b.post("/oauth2/consent", consent).answer(redirectURI).Get("code"), "the same form does it later")

	all.Store(true)
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/device_authorization"} {
		w := s.postTo(path, form, s.signIn().Encode()+"&token=t")
		require.Equal(t, http.StatusServiceUnavailable, w.Code, path)
		require.Equal(t, "5", w.Header().Get("Retry-After"), path)
		require.Equal(t, answerUnavailable, decoded(t, w), path)
	}
	page := b.get(authorizePath(a.authorizing()))
	require.Equal(t, http.StatusServiceUnavailable, page.status)
	require.Equal(t, "5", page.header.Get("Retry-After"))
	require.Contains(t, page.text(), "The service cannot answer at the moment. Please try again in a moment.")
	require.Contains(t, b.post("/oauth2/consent", consent).text(), "open the page again and look before you repeat it")
	b.lang = "fr"
	require.Contains(t, b.post("/oauth2/consent", consent).text(), "rouvrez la page pour vérifier avant de recommencer")
}

var answerUnavailable = answer{Error: "temporarily_unavailable", Description: "The server cannot answer at the moment; try again later"}

func TestARefusalLogsOneLineWithoutASecret(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	stranger := s.signIn()
	stranger.Set("client_secret", "some other secret")
	s.post(form, stranger.Encode())
	lines := s.log.Lines()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], `"level":"INFO","msg":"token request refused","error":"invalid_client","reason":"client secret wrong","remote":"192.0.2.1"`)
	require.NotContains(t, lines[0], "client_id", "nobody has proved to be this client")

	mistaken := s.signIn()
	mistaken.Set("password", "some other password")
	s.post(form, mistaken.Encode())
	lines = append(lines, s.log.Lines()...)
	require.Len(t, lines, 2)
	require.Contains(t, lines[1], `"error":"invalid_grant","reason":"sign-in failed","remote":"192.0.2.1","client_id":"`+s.client.ID+`"`)

	a := tokens(t, s.post(form, s.signIn().Encode()))
	s.post(form, s.signIn().Encode()+"&refresh_token="+a.RefreshToken+"&refresh_token="+a.RefreshToken)
	s.post(jsonType, asJSON(t, s.signIn())+"x")
	lines = append(lines, s.log.Lines()...)
	require.Len(t, lines, 4)
	text := strings.Join(lines, "\n")
	for _, secret := range []string{s.secret, password, email, "some other", a.AccessToken, a.RefreshToken} {
		require.NotContains(t, text, secret)
	}
}

// A client library that knows nothing of us.
func TestStockClient(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]oauth2.AuthStyle{
		"header": oauth2.AuthStyleInHeader,
		"params": oauth2.AuthStyleInParams,
		"auto":   oauth2.AuthStyleAutoDetect,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, nil)
			web := httptest.NewServer(s.checked)
			defer web.Close()
			config := oauth2.Config{
				ClientID: s.client.ID, ClientSecret: s.secret,
				Endpoint: oauth2.Endpoint{TokenURL: web.URL + "/oauth2/token", AuthStyle: style},
			}
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, web.Client())
			first, err := config.PasswordCredentialsToken(ctx, email, password)
			require.NoError(t, err)
			require.Equal(t, "Bearer", first.Type())
			require.EqualValues(t, 3600, first.ExpiresIn)
			require.True(t, first.Valid())

			expired := *first
			expired.Expiry = time.Now().Add(-time.Minute)
			second, err := config.TokenSource(ctx, &expired).Token()
			require.NoError(t, err)
			require.NotEqual(t, first.AccessToken, second.AccessToken)
			require.NotEqual(t, first.RefreshToken, second.RefreshToken)
			for _, token := range []*oauth2.Token{first, second} {
				r := httptest.NewRequest(http.MethodGet, "/v2/client/site/items", nil)
				token.SetAuthHeader(r)
				access, err := s.handler.Caller(r)
				require.NoError(t, err)
				require.Equal(t, s.client.ID, access.ClientID)
			}

			_, err = config.PasswordCredentialsToken(ctx, email, "no")
			var refusal *oauth2.RetrieveError
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, "invalid_grant", refusal.ErrorCode)
		})
	}
}

func TestAChunkedBody(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	web := httptest.NewServer(s.checked)
	defer web.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+"/oauth2/token", struct{ io.Reader }{strings.NewReader(s.signIn().Encode())})
	require.NoError(t, err)
	r.Header.Set("Content-Type", form)
	resp, err := web.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

func FuzzTokenRequest(f *testing.F) {
	s := newServer(f, nil)
	s.checked = s.router // nonsense is not described
	right := s.signIn()
	multi, parts := asMultipart(f, right)
	f.Add(form, right.Encode(), "")
	f.Add("", "&"+right.Encode(), "Bearer x")
	f.Add(multi, parts, "")
	f.Add(jsonType, asJSON(f, right), "")
	f.Add(form, "grant_type=refresh_token&refresh_token="+oauth.NewSecret(), basic(s.client.ID, s.secret))
	f.Add("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"username\"; filename=\"f\"\r\n\r\na\r\n--b--\r\n", "Basic !")
	f.Add(jsonType, `{"username":{"a":[1,null]},"username":"\ud800"}`, "basic Og==")
	f.Add("application/json; charset", "[]", "")
	f.Fuzz(func(t *testing.T, contentType, body, authorization string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := s.do(r)
		s.log.Lines()
		s.seen.Seen()
		a := decoded(t, w)
		switch w.Code {
		case http.StatusOK:
			require.NotEmpty(t, a.AccessToken)
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
			require.NotEmpty(t, a.Error)
			require.Regexp(t, `^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`, a.Description)
		default:
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}
