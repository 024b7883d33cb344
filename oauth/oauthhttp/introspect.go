package oauthhttp

import (
	"net/http"
	"strconv"

	"github.com/foxbridge/foxbridge/oauth"
)

// introspect is the introspection endpoint (RFC 7662), for applications that have a
// secret and about their own tokens alone.
func (h *Handler) introspect(w http.ResponseWriter, r *http.Request) (any, error) {
	req, refusal := parseClientRequest(w, r)
	if refusal != nil {
		return nil, h.refuse(refusal)
	}
	req.Address = h.address(r)
	token, live, err := h.service.Introspect(r.Context(), req)
	if err != nil || !live {
		return introspection{}, err
	}
	return h.introspection(token), nil
}

// introspection is RFC 7662 section 2.2. What is not active has no other field.
type introspection struct {
	Active    bool    `json:"active"`
	Scope     *string `json:"scope,omitempty"` // absent: all that the person may do
	ClientID  string  `json:"client_id,omitempty"`
	Username  string  `json:"username,omitempty"`   // e-mail address; absent without a person, as sub is
	TokenType string  `json:"token_type,omitempty"` // absent: a refresh token, which opens nothing by itself
	ExpiresAt int64   `json:"exp,omitempty"`        // seconds since 1970
	IssuedAt  int64   `json:"iat,omitempty"`
	Subject   string  `json:"sub,omitempty"`
	Issuer    string  `json:"iss,omitempty"`
}

func (h *Handler) introspection(t oauth.Token) introspection {
	i := introspection{
		Active:    true,
		Scope:     scopeOrNull(t.Scope),
		ClientID:  t.ClientID,
		Username:  t.UserEmail,
		ExpiresAt: t.ExpiresAt.Unix(),
		IssuedAt:  t.IssuedAt.Unix(),
		Issuer:    h.service.Issuer(),
	}
	if t.Use == oauth.UseAccess {
		i.TokenType = tokenType
	}
	if t.UserID != 0 {
		i.Subject = subject(t.UserID)
	}
	return i
}

// subject names a person for good.
func subject(userID int64) string { return strconv.FormatInt(userID, 10) }
