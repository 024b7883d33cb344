package oauthhttp

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// token is the token endpoint (RFC 6749 section 3.2).
func (h *Handler) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		h.refuse(w, r, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "The token endpoint takes POST only",
			Reason: "method not allowed", Err: errMethod,
		})
		return
	}
	req, refusal := parseTokenRequest(w, r)
	if refusal != nil {
		h.refuse(w, r, refusal)
		return
	}
	req.Address = h.address(r)
	tokens, err := h.service.Token(r.Context(), req)
	if err != nil {
		h.answer(w, r, err)
		return
	}
	write(w, http.StatusOK, success{
		AccessToken:  tokens.AccessToken,
		ExpiresIn:    int64(tokens.ExpiresIn / time.Second),
		TokenType:    "Bearer",
		RefreshToken: tokens.RefreshToken,
	})
}

// success is RFC 6749 section 5.1 with the fields in the order in which they have
// always been sent. Clients search the text for words such as "ko" and "login", so
// nothing may be added to it.
type success struct {
	AccessToken  string  `json:"access_token"`
	ExpiresIn    int64   `json:"expires_in"` // seconds
	TokenType    string  `json:"token_type"`
	Scope        *string `json:"scope"` // null
	RefreshToken string  `json:"refresh_token"`
}

// write sends body as JSON that nothing may keep (RFC 6749 section 5.1).
func write(w http.ResponseWriter, status int, body any) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	w.WriteHeader(status)
	// What fails here is the connection: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(body)
}
