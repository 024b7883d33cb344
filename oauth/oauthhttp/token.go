package oauthhttp

import (
	"errors"
	"net/http"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// token is the token endpoint (RFC 6749 section 3.2).
func (h *Handler) token(w http.ResponseWriter, r *http.Request) (any, error) {
	req, refusal := parseTokenRequest(w, r)
	if refusal != nil {
		return nil, h.refuse(refusal)
	}
	req.Address = h.address(r)
	tokens, err := h.service.Token(r.Context(), req)
	if refusal, is := errors.AsType[*oauth.Error](err); is {
		h.limits.Waste(r, refusal.Waste)
	}
	if err != nil {
		return nil, err
	}
	h.limits.Waste(r, tokens.Waste)
	return success{
		AccessToken:  tokens.AccessToken,
		ExpiresIn:    int64(tokens.ExpiresIn / time.Second),
		TokenType:    tokenType,
		Scope:        scopeOrNull(tokens.Scope),
		RefreshToken: tokens.RefreshToken,
	}, nil
}

// tokenType is the token_type of every access token (RFC 6750).
const tokenType = "Bearer"

// success is RFC 6749 section 5.1 with the fields in the order in which they have
// always been sent. Clients search the text for words such as "ko" and "login", so
// nothing may be added to it.
type success struct {
	AccessToken  string  `json:"access_token"`
	ExpiresIn    int64   `json:"expires_in"` // seconds
	TokenType    string  `json:"token_type"`
	Scope        *string `json:"scope"` // null: all that the person may do
	RefreshToken string  `json:"refresh_token,omitempty"`
}

func scopeOrNull(s oauth.Scope) *string {
	if s == nil {
		return nil
	}
	return new(s.String())
}
