package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// GrantImplicit is the grant of RFC 6749 section 4.2, in which the browser carries the
// access token itself. RFC 9700 section 2.1.2 advises against it. It is for a Legacy
// application alone, and no new one should need it.
const GrantImplicit = "implicit"

// responseToken is the response_type that asks for it.
const responseToken = "token"

// Implicit reports whether the answer carries an access token instead of a code.
func (a Authorization) Implicit() bool { return a.implicit }

// checkImplicit finds what is wrong with a request of a legacy application for a token.
// A code_challenge cannot stand in for the state here: no code_verifier ever follows.
func (a Authorization) checkImplicit(r AuthorizeRequest) error {
	refuse := func(code, description, reason string) error {
		return &Error{Code: code, Description: description, Reason: reason}
	}
	switch {
	case a.Client.RequirePKCE:
		return refuse(CodeUnauthorizedClient, "This application must use PKCE, and so a code", "grant not allowed for the application")
	case r.CodeChallenge != "" || r.CodeChallengeMethod != "":
		return refuse(CodeInvalidRequest, "A code_challenge is for the response type code", "code_challenge with implicit")
	case r.State == "":
		return refuse(CodeInvalidRequest, "The state parameter is required", "state missing")
	}
	return nil
}

// consentImplicit issues the access token at once, and no refresh token (RFC 6749
// section 4.2.2).
func (s *Service) consentImplicit(ctx context.Context, a Authorization, c Consent) (to string, err error) {
	token, now := NewSecret(), s.now()
	grant, err := s.opts.Store.IssueImplicit(ctx, c.Ticket, Issuance{
		ClientID: a.Client.ID, UserID: c.UserID, GrantType: GrantImplicit, Scope: c.Scope, Sites: c.Sites,
		Access: HashOf(token), Now: now, AccessExpiresAt: now.Add(s.opts.AccessLifetime),
		Meter: s.meter(a.Client),
	}, s.change(c.UserID, ActionConnected, a.Client.ID, consentSubject(c.Scope, c.Sites), c.Address))
	switch {
	case errors.Is(err, ErrExists):
		return "", s.refuse(a.Client.ID, consentRepeated(err))
	case err != nil:
		return "", fmt.Errorf("issue token to client %s: %w", a.Client.ID, err)
	}
	if err := s.withheld(ctx, a.Client, grant.Tally); err != nil {
		return "", s.refuse(a.Client.ID, err)
	}
	s.opts.Observer.ConnectionsChanged(a.Client.ID)
	s.opts.Observer.TokenIssued(a.Client.ID, GrantImplicit, grant.Tally.Wasteful)
	return s.answer(a, url.Values{
		"access_token": {token}, "token_type": {"Bearer"}, "scope": {c.Scope.String()},
		"expires_in": {strconv.FormatInt(int64(s.opts.AccessLifetime/time.Second), 10)},
	}), nil
}

func consentRepeated(err error) *Error {
	return &Error{Code: CodeInvalidRequest, Description: "This page has been answered already", Reason: "consent repeated", Err: err}
}
