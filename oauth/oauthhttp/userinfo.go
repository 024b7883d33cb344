package oauthhttp

import (
	"net/http"

	"github.com/foxbridge/foxbridge/oauth"
)

// codeInsufficientScope is the error of a token that is good, but not for this (RFC
// 6750 section 3.1).
const codeInsufficientScope = "insufficient_scope"

// userinfo tells who the person is for whom a token stands. Any token of a person
// will do, whatever its scope; an application's own stands for nobody.
func (h *Handler) userinfo(_ http.ResponseWriter, r *http.Request) (any, error) {
	access, err := h.Caller(r)
	if err != nil {
		return nil, err
	}
	if access.UserID == 0 {
		return nil, h.refuse(&oauth.Error{
			Code: codeInsufficientScope, Description: "The access token stands for no person",
			Reason: "access token without a person", ClientID: access.ClientID,
		})
	}
	return person{Subject: subject(access.UserID), Username: access.UserEmail, Email: access.UserEmail, FullName: access.UserName}, nil
}

// person is what an application learns of who consented. The subject stays the same
// when a person's name and address change: it is what an application keeps, and what
// OpenID clients and account linking insist on. People sign in by their e-mail
// address, so that is their username too.
type person struct {
	Subject  string `json:"sub"`
	Username string `json:"username"`
	Email    string `json:"email"`
	FullName string `json:"full_name"`
}
