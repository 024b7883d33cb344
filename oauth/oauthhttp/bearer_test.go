package oauthhttp_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// request is one of the API. headers are names and values in turn.
func request(method, target, body string, headers ...string) *http.Request {
	var content io.Reader
	if body != "" {
		content = struct{ io.Reader }{strings.NewReader(body)} // of unknown length
	}
	r := httptest.NewRequest(method, target, content)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

const (
	path          = "/v2/site/1/security"
	authorization = "Authorization"
	contentType   = "Content-Type"
)

func TestTheThreePlacesOfAToken(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	token := tokens(t, s.post(form, s.signIn().Encode())).AccessToken
	for name, r := range map[string]*http.Request{
		"header":                      request("GET", path, "", authorization, "Bearer "+token),
		"header in other letters":     request("GET", path, "", authorization, "bEARER  "+token+" "),
		"query":                       request("GET", path+"?access_token="+token, ""),
		"query among others":          request("GET", path+"?a=%zz&access_token="+token+"&b", ""),
		"query after a stray &":       request("GET", path+"?&access_token="+token, ""),
		"query of a POST":             request("POST", path+"?access_token="+token, ""),
		"query, disguised":            request("GET", path+"?access%5ftoken="+token, ""),
		"body":                        request("POST", path, "access_token="+token, contentType, form),
		"body with a charset":         request("POST", path, "x=1&access_token="+token, contentType, form+"; charset=UTF-8"),
		"beside Basic":                request("GET", path+"?access_token="+token, "", authorization, "Basic eDp5"),
		"beside an empty one":         request("GET", path+"?access_token=", "", authorization, "Bearer "+token),
		"empty form body":             request("POST", path+"?access_token="+token, "", contentType, form),
		"empty chunked form body":     withBody(request("POST", path+"?access_token="+token, "", contentType, form), ""),
		"JSON body is not read":       request("POST", path+"?access_token="+token, `{"access_token":"x"}`, contentType, jsonType),
		"body without a type is not":  request("POST", path+"?access_token="+token, "access_token=x"),
		"body of a GET is not":        request("GET", path+"?access_token="+token, "access_token=x", contentType, form),
		"a huge JSON body is not":     request("POST", path+"?access_token="+token, strings.Repeat("x", 1<<20), contentType, jsonType),
		"a form body of the size":     request("POST", path+"?access_token="+token, strings.Repeat("x", 64<<10), contentType, form),
		"body with broken others":     request("POST", path, "%zz=%zz&access_token="+token, contentType, form),
		"header and query":            request("GET", path+"?access_token="+token, "", authorization, "Bearer "+token),
		"header and body":             request("POST", path, "access_token="+token, authorization, "Bearer "+token, contentType, form),
		"query and body":              request("POST", path+"?access_token="+token, "access_token="+token, contentType, form),
		"twice in the query":          request("GET", path+"?access_token="+token+"&access_token="+token, ""),
		"twice in the header":         request("GET", path, "", authorization, "Bearer "+token, authorization, "Bearer "+token),
		"header and unrelated query":  request("GET", path+"?token="+token, "", authorization, "Bearer "+token),
		"header and unrelated header": request("GET", path, "", authorization, "Bearer "+token, "Proxy-Authorization", "Bearer x"),
	} {
		access, err := s.handler.Caller(r)
		require.NoError(t, err, name)
		require.Equal(t, s.client.ID, access.ClientID, name)
		require.Equal(t, "Alice", access.UserName, name)
	}
	require.Empty(t, s.seen.Seen())
}

func withBody(r *http.Request, body string) *http.Request {
	r.Body = io.NopCloser(strings.NewReader(body))
	r.ContentLength = -1
	return r
}

func TestRequestsWithoutACaller(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	token := tokens(t, s.post(form, s.signIn().Encode())).AccessToken
	const (
		about   = `, resource_metadata="https://foxbridge.example/.well-known/oauth-protected-resource"`
		none    = `Bearer realm="foxbridge"` + about
		invalid = `Bearer realm="foxbridge", error="invalid_token", error_description="The access token provided is invalid"` + about
		twice   = `Bearer realm="foxbridge", error="invalid_token", error_description="More than one access token was given"` + about
		large   = `Bearer realm="foxbridge", error="invalid_request", error_description="The request body is too large"` + about
	)
	for name, c := range map[string]struct {
		request   *http.Request
		status    int
		code      string
		challenge string
	}{
		"none":                      {request("GET", path, ""), 401, oauth.CodeInvalidToken, none},
		"Basic":                     {request("GET", path, "", authorization, "Basic eDp5"), 401, oauth.CodeInvalidToken, none},
		"empty in the header":       {request("GET", path, "", authorization, "Bearer "), 401, oauth.CodeInvalidToken, none},
		"scheme alone":              {request("GET", path, "", authorization, "Bearer"), 401, oauth.CodeInvalidToken, none},
		"empty in the query":        {request("GET", path+"?access_token=", ""), 401, oauth.CodeInvalidToken, none},
		"empty in the body":         {request("POST", path, "access_token=", contentType, form), 401, oauth.CodeInvalidToken, none},
		"in a JSON body":            {request("POST", path, `{"access_token":"`+token+`"}`, contentType, jsonType), 401, oauth.CodeInvalidToken, none},
		"in the body of a PUT":      {request("PUT", path, "access_token="+token, contentType, form), 401, oauth.CodeInvalidToken, none},
		"unknown":                   {request("GET", path+"?access_token="+oauth.NewSecret(), ""), 401, oauth.CodeInvalidToken, invalid},
		"malformed":                 {request("GET", path, "", authorization, "Bearer \"x\\"), 401, oauth.CodeInvalidToken, invalid},
		"badly encoded":             {request("GET", path+"?access_token=%zz", ""), 401, oauth.CodeInvalidToken, invalid},
		"header and query":          {request("GET", path+"?access_token=x", "", authorization, "Bearer "+token), 401, oauth.CodeInvalidToken, twice},
		"header and body":           {request("POST", path, "access_token=x", authorization, "Bearer "+token, contentType, form), 401, oauth.CodeInvalidToken, twice},
		"query and body":            {request("POST", path+"?access_token="+token, "access_token=x", contentType, form), 401, oauth.CodeInvalidToken, twice},
		"twice in the query":        {request("GET", path+"?access_token="+token+"&access_token=x", ""), 401, oauth.CodeInvalidToken, twice},
		"twice in the header":       {request("GET", path, "", authorization, "Bearer x", authorization, "Bearer "+token), 401, oauth.CodeInvalidToken, twice},
		"body too large to search":  {request("POST", path, strings.Repeat("x", 64<<10+1), contentType, form), 413, oauth.CodeInvalidRequest, large},
		"two tokens, one in hiding": {request("GET", path+"?access_token="+token+"&access%5Ftoken=x", ""), 401, oauth.CodeInvalidToken, twice},
	} {
		_, err := s.handler.Caller(c.request)
		var refusal *oauth.Error
		require.ErrorAs(t, err, &refusal, name)
		require.Equal(t, c.code, refusal.Code, name)
		require.Equal(t, c.status, oauthhttp.BearerStatus(refusal), name)
		require.Equal(t, c.challenge, s.handler.WWWAuthenticate(err), name)
		require.Equal(t, c.challenge == none, errors.Is(err, oauthhttp.ErrNoToken), name)
		require.Equal(t, []string{refusal.Reason}, s.seen.Seen(), name)
		require.NotContains(t, err.Error(), token, name)
	}
	s.Advance(time.Hour)
	_, err := s.handler.Caller(request("GET", path, "", authorization, "Bearer "+token))
	require.Equal(t, invalid, s.handler.WWWAuthenticate(err), "expired")
	require.Empty(t, s.log.Lines(), "it is for the caller to log")
}

func TestABodyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	r := request("POST", path, "x", contentType, form)
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("access_"), brokenReader{}))
	_, err := s.handler.Caller(r)
	var refusal *oauth.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, oauth.CodeInvalidToken, refusal.Code)
	require.Equal(t, http.StatusUnauthorized, oauthhttp.BearerStatus(refusal))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	r = request("POST", "/oauth2/token", "x")
	r.Body = io.NopCloser(brokenReader{})
	w := s.do(r)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, "invalid_request", decoded(t, w).Error)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestNoChallengeForOtherErrors(t *testing.T) {
	t.Parallel()
	h := newServer(t, nil).handler
	require.Empty(t, h.WWWAuthenticate(nil))
	require.Empty(t, h.WWWAuthenticate(io.EOF))
	require.Empty(t, h.WWWAuthenticate(&oauth.Error{Code: oauth.CodeInvalidGrant}))
}
