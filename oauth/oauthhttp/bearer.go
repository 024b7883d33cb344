package oauthhttp

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/foxbridge/foxbridge/oauth"
)

// realm names what is protected, in challenges (RFC 9110 section 11.5).
const realm = "foxbridge"

// ErrNoToken is the cause of the refusal of a request that carries no token.
var ErrNoToken = errors.New("no access token given")

// Caller finds on whose behalf a request of the API comes. The access token is in
// one of three places (RFC 6750 section 2): the header Authorization: Bearer, the
// query parameter access_token, or the same parameter in the body of a
// form-urlencoded POST. A place with an empty token is none, and copies of one token are
// one. No other body is read.
//
// Its refusals are *oauth.Error: CodeInvalidRequest for a body too large to search,
// CodeInvalidToken otherwise, with the cause ErrNoToken if there is none. Also for two
// tokens, where RFC 6750 section 3.1 would have invalid_request and 400: clients of this
// API take that for the end of their authorization. It logs nothing. Any other error means that the server failed.
//
// The request is counted by Options.Limits, for the token if that is live and else for
// the address that it comes from; CodeSlowDown says that its sender has to wait.
func (h *Handler) Caller(r *http.Request) (oauth.Access, error) {
	access, err := h.access(r)
	if err != nil {
		return oauth.Access{}, h.counted(r, err)
	}
	if wait := h.limits.Bearer(r, access); wait > 0 {
		return oauth.Access{}, h.tooMany(access.ClientID, wait)
	}
	return access, nil
}

func (h *Handler) access(r *http.Request) (oauth.Access, error) {
	token, refusal := bearerToken(r)
	if refusal != nil {
		h.refused(refusal.Reason)
		return oauth.Access{}, refusal
	}
	return h.service.Authenticate(r.Context(), token)
}

// BearerStatus is the HTTP status of a refusal of Caller (RFC 6750 section 3.1), and never
// 400.
func BearerStatus(refusal *oauth.Error) int {
	switch refusal.Code {
	case oauth.CodeSlowDown:
		return http.StatusTooManyRequests
	case oauth.CodeInvalidRequest:
		return http.StatusRequestEntityTooLarge
	default:
		return http.StatusUnauthorized
	}
}

// WWWAuthenticate is the challenge that goes with a refusal of Caller (RFC 6750
// section 3), with the address of the metadata (RFC 9728 section 5.1) if there is
// some. It names no error if no token was given, and it is empty if err is no such
// refusal.
func (h *Handler) WWWAuthenticate(err error) string {
	refusal, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		return ""
	}
	challenge := `Bearer realm="` + realm + `"`
	switch {
	case errors.Is(refusal, ErrNoToken):
	case refusal.Code == oauth.CodeInvalidToken, refusal.Code == oauth.CodeInvalidRequest, refusal.Code == codeInsufficientScope:
		// Descriptions are our own sentences, without a quote to escape.
		challenge += `, error="` + refusal.Code + `", error_description="` + refusal.Description + `"`
	default:
		return ""
	}
	if issuer := h.service.Issuer(); issuer != "" {
		challenge += `, resource_metadata="` + issuer + pathProtectedResource + `"`
	}
	return challenge
}

// bearerToken finds the one token of a request.
func bearerToken(r *http.Request) (string, *oauth.Error) {
	tokens := headerTokens(nil, r)
	tokens = formTokens(tokens, r.URL.RawQuery)
	tokens, refusal := bodyTokens(tokens, r)
	if refusal != nil {
		return "", refusal
	}
	slices.Sort(tokens)
	switch tokens = slices.Compact(tokens); len(tokens) {
	case 0:
		return "", &oauth.Error{
			Code: oauth.CodeInvalidToken, Description: "No access token was given",
			Reason: "access token missing", Err: ErrNoToken,
		}
	case 1:
		return tokens[0], nil
	default:
		return "", &oauth.Error{
			Code: oauth.CodeInvalidToken, Description: "More than one access token was given",
			Reason: "several access tokens given",
		}
	}
}

// headerTokens adds those of RFC 6750 section 2.1. Other schemes carry none.
func headerTokens(tokens []string, r *http.Request) []string {
	for _, header := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(header, " ")
		if token = strings.TrimSpace(token); token != "" && strings.EqualFold(scheme, "Bearer") {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// bodyTokens adds those of RFC 6750 section 2.2.
func bodyTokens(tokens []string, r *http.Request) ([]string, *oauth.Error) {
	if r.Method != http.MethodPost || r.Body == nil || r.Body == http.NoBody || !sendsForm(r) {
		return tokens, nil
	}
	body, refusal := readBody(nil, r)
	if refusal != nil {
		if _, large := errors.AsType[*http.MaxBytesError](refusal.Err); !large {
			refusal.Code = oauth.CodeInvalidToken // there may be one, or not
		}
		return nil, refusal
	}
	return formTokens(tokens, string(body)), nil
}

func sendsForm(r *http.Request) bool {
	media, _, err := mediaType(r.Header.Get("Content-Type"))
	return err == nil && media == mediaForm
}

// formTokens adds those that form-urlencoded text holds (RFC 6750 section 2.3, for a
// query). One that cannot be decoded is taken as it is: no token looks like that.
func formTokens(tokens []string, form string) []string {
	for name, value := range formPairs(form) {
		if value == "" || formDecoded(name) != "access_token" {
			continue
		}
		tokens = append(tokens, formDecoded(value))
	}
	return tokens
}
