package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// AuthorizeRequest is a request to the authorization endpoint (RFC 6749 section
// 4.1.1, RFC 7636 section 4.3). An empty field is a parameter that was not given.
type AuthorizeRequest struct {
	ResponseType        string
	ClientID            string
	RedirectURI         string
	Scope               string
	State               string
	CodeChallenge       string
	CodeChallengeMethod string
	// Repeated is a parameter that was given more than once, or is no text; empty if
	// none. It is refused (RFC 6749 section 3.1).
	Repeated string
}

// Authorization is a request that may be put to the person.
type Authorization struct {
	Client      Client
	RedirectURI string
	State       string
	Scope       Scope
	challenge   string // S256; empty without PKCE
	implicit    bool
}

// RedirectError is a refusal that the application is told by a redirect, since its
// redirect URI is known to be its own (RFC 6749 section 4.1.2.1).
type RedirectError struct {
	Refusal *Error
	To      string // where the browser goes
}

// Error gives the refusal's text.
func (e *RedirectError) Error() string { return e.Refusal.Error() }

// Unwrap gives the refusal.
func (e *RedirectError) Unwrap() error { return e.Refusal }

const (
	stateMax    = 4 << 10 // bytes
	codeLife    = 30 * time.Second
	verifierMin = 43 // RFC 7636 section 4.1
	verifierMax = 128
)

// Authorize checks a request before anybody is asked. What is wrong with the client
// or its redirect URI is an *Error, for a page: nobody may be sent to an address that
// is not the client's own. All else that is wrong is a *RedirectError.
func (s *Service) Authorize(ctx context.Context, r AuthorizeRequest) (Authorization, error) {
	client, err := s.authorizeClient(ctx, r)
	if err != nil {
		return Authorization{}, s.refuse("", err)
	}
	a := Authorization{Client: client, RedirectURI: r.RedirectURI, State: r.State, challenge: r.CodeChallenge}
	a.implicit = r.ResponseType == responseToken && slices.Contains(grantsOf(client), GrantImplicit)
	if err := a.check(r); err != nil {
		return Authorization{}, s.refuse(client.ID, s.redirected(a, err))
	}
	if a.Scope, err = client.asked(r.Scope); err != nil {
		return Authorization{}, s.refuse(client.ID, s.redirected(a, err))
	}
	return a, nil
}

// authorizeClient finds the client whose redirect URI this is.
func (s *Service) authorizeClient(ctx context.Context, r AuthorizeRequest) (Client, error) {
	switch {
	case r.Repeated == "client_id" || r.Repeated == "redirect_uri":
		return Client{}, &Error{Code: CodeInvalidRequest, Description: "The " + r.Repeated + " parameter is given more than once", Reason: "parameter repeated"}
	case r.ClientID == "":
		return Client{}, &Error{Code: CodeInvalidClient, Description: "No client id supplied", Reason: "client_id missing"}
	case !isHex(r.ClientID, clientIDDigits):
		return Client{}, unknownClient()
	}
	client, err := s.client(ctx, r.ClientID)
	switch {
	case errors.Is(err, ErrNotFound):
		return Client{}, unknownClient()
	case err != nil:
		return Client{}, fmt.Errorf("find client: %w", err)
	case client.Kind != Commercial || client.Status != Active:
		return Client{}, &Error{Code: CodeUnauthorizedClient, Description: "The application may not ask people for their consent", Reason: "grant not allowed for the application"}
	case r.RedirectURI == "":
		return Client{}, &Error{Code: CodeInvalidRequest, Description: "The redirect_uri parameter is missing", Reason: "redirect_uri missing"}
	case !client.allowsRedirect(r.RedirectURI):
		return Client{}, &Error{Code: CodeInvalidRequest, Description: "The redirect_uri is not registered for this application", Reason: "redirect_uri not registered"}
	}
	return client, nil
}

func unknownClient() *Error {
	return &Error{Code: CodeInvalidClient, Description: "The client id supplied is invalid", Reason: "client unknown"}
}

// check finds what is wrong with a request of a known client.
func (a *Authorization) check(r AuthorizeRequest) error {
	refuse := func(description, reason string) error {
		return &Error{Code: CodeInvalidRequest, Description: description, Reason: reason}
	}
	switch {
	case r.Repeated != "":
		if r.Repeated == "state" {
			a.State = "" // which one to return nobody can say
		}
		return refuse("The "+r.Repeated+" parameter is given more than once or is not text", "parameter repeated")
	case len(r.State) > stateMax:
		a.State = ""
		return refuse("The state parameter is longer than 4096 bytes", "state too long")
	case a.implicit:
		return a.checkImplicit(r)
	case r.ResponseType != "code":
		return refuse("Invalid or missing response type", "response_type unknown")
	case r.CodeChallenge == "" && r.CodeChallengeMethod != "":
		return refuse("The code_challenge parameter is missing", "code_challenge missing")
	case r.CodeChallenge == "" && (a.Client.Public || a.Client.RequirePKCE):
		return refuse("This application must send a code_challenge", "code_challenge missing")
	case r.CodeChallenge == "" && r.State == "":
		return refuse("The state parameter is required", "state missing")
	case r.CodeChallenge != "" && r.CodeChallengeMethod != "S256":
		return refuse("The code_challenge_method must be S256", "code_challenge_method unknown")
	case r.CodeChallenge != "" && !isChallenge(r.CodeChallenge):
		return refuse("The code_challenge is not a SHA-256 in base64url", "code_challenge malformed")
	}
	return nil
}

func isChallenge(s string) bool {
	hash, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(hash) == sha256.Size && len(s) == base64.RawURLEncoding.EncodedLen(sha256.Size) // no line breaks
}

// redirected turns a refusal into one that goes to the application.
func (s *Service) redirected(a Authorization, err error) error {
	refusal, is := errors.AsType[*Error](err)
	if !is {
		return err
	}
	return &RedirectError{Refusal: refusal, To: s.answer(a, url.Values{"error": {refusal.Code}, "error_description": {refusal.Description}})}
}

// answer is the redirect URI with an answer's parameters (RFC 6749 section 4.1.2, RFC
// 9207 section 2).
func (s *Service) answer(a Authorization, parameters url.Values) string {
	if a.State != "" {
		parameters.Set("state", a.State)
	}
	parameters.Set("iss", s.opts.Issuer)
	if a.implicit { // RFC 6749 sections 4.2.2 and 4.2.2.1
		return a.RedirectURI + "#" + parameters.Encode()
	}
	separator := "?"
	if strings.Contains(a.RedirectURI, "?") {
		separator = "&"
	}
	return a.RedirectURI + separator + parameters.Encode()
}

// Consent is a person's yes.
type Consent struct {
	UserID int64
	// Ticket names the asking: a random value of the page on which the person said yes.
	// It works once.
	Ticket  Hash
	Scope   Scope      // what the person allows, within what was asked for
	Sites   []int64    // where; nil for all of the person's sites
	Address netip.Addr // where the person is
}

// Consent gives the address to which the browser goes with the code, or the token. A scope beyond
// what was asked for is an *Error, and so is a ticket that was used.
func (s *Service) Consent(ctx context.Context, a Authorization, c Consent) (to string, err error) {
	if len(c.Scope) == 0 || !c.Scope.Within(a.Scope) {
		return "", s.refuse(a.Client.ID, invalidScope())
	}
	if a.implicit {
		return s.consentImplicit(ctx, a, c)
	}
	code, now := NewSecret(), s.now()
	err = s.opts.Store.AddCode(ctx, Code{
		Hash: HashOf(code), Ticket: c.Ticket, ClientID: a.Client.ID, UserID: c.UserID,
		RedirectURI: a.RedirectURI, Challenge: a.challenge, Scope: c.Scope, Sites: c.Sites,
		Now: now, ExpiresAt: now.Add(codeLife),
	}, s.change(c.UserID, ActionConnected, a.Client.ID, consentSubject(c.Scope, c.Sites), c.Address))
	switch {
	case errors.Is(err, ErrExists):
		return "", s.refuse(a.Client.ID, consentRepeated(err))
	case err != nil:
		return "", fmt.Errorf("write authorization code for client %s: %w", a.Client.ID, err)
	}
	s.opts.Observer.ConnectionsChanged(a.Client.ID)
	return s.answer(a, url.Values{"code": {code}}), nil
}

// Deny gives the address to which the browser goes when the person says no.
func (s *Service) Deny(a Authorization) (to string) {
	return s.answer(a, url.Values{"error": {CodeAccessDenied}, "error_description": {"The user denied access to your application"}})
}

// Unavailable gives the address to which the browser goes when the record gives no answer
// to a request that is in order.
func (s *Service) Unavailable(a Authorization) (to string) {
	return s.answer(a, url.Values{"error": {CodeUnavailable}, "error_description": {"The server cannot answer at the moment; try again later"}})
}

// codeGrant is RFC 6749 section 4.1.3 with RFC 7636 section 4.5.
func (s *Service) codeGrant(_ context.Context, c Client, req TokenRequest) (issuer, error) {
	switch {
	case req.Code == "":
		return nil, missing("code")
	case !isHex(req.Code, secretDigits):
		return nil, invalidCode("code malformed")
	case req.CodeVerifier != "" && (len(req.CodeVerifier) < verifierMin || len(req.CodeVerifier) > verifierMax):
		return nil, invalidCode("code_verifier malformed")
	}
	return func(ctx context.Context) (given, error) {
		t := Tokens{AccessToken: NewSecret(), RefreshToken: NewSecret(), ExpiresIn: s.opts.AccessLifetime}
		now := s.now()
		redeemed, err := s.opts.Store.Redeem(ctx, Redemption{
			Code: HashOf(req.Code), ClientID: c.ID, RedirectURI: req.RedirectURI, Challenge: challengeOf(req.CodeVerifier),
			Access: HashOf(t.AccessToken), Refresh: HashOf(t.RefreshToken), Now: now,
			AccessExpiresAt: now.Add(s.opts.AccessLifetime), RefreshExpiresAt: now.Add(s.opts.RefreshLifetime),
			Meter: s.meter(c),
		})
		switch {
		case errors.Is(err, ErrNotFound):
			return given{}, invalidCode("code not redeemable")
		case errors.Is(err, ErrSpent):
			s.opts.Observer.ConnectionsChanged(c.ID)
			return given{}, invalidCode("code reused")
		case err != nil:
			return given{}, fmt.Errorf("redeem code of client %s: %w", c.ID, err)
		}
		t.Scope = redeemed.Scope.And(c.Scope)
		return given{Tokens: t, tally: redeemed.Tally}, nil
	}, nil
}

// challengeOf is the S256 of a verifier; empty without one.
func challengeOf(verifier string) string {
	if verifier == "" {
		return ""
	}
	hash := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

func invalidCode(reason string) *Error {
	return invalidGrant("The authorization code is invalid or expired", reason)
}

// clientCredentialsGrant is RFC 6749 section 4.4. The token stands for the
// application and for no person: it reaches nobody's home.
func (s *Service) clientCredentialsGrant(_ context.Context, c Client, req TokenRequest) (issuer, error) {
	if req.Scope == "" && c.RequireScope {
		// Not what the authorization endpoint says: here it would tell the application
		// that its secret is wrong.
		return nil, &Error{Code: CodeInvalidScope, Description: "This application requires you specify a scope parameter", Reason: "scope missing"}
	}
	scope, err := c.asked(req.Scope)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (given, error) {
		t := Tokens{AccessToken: NewSecret(), ExpiresIn: s.opts.AccessLifetime, Scope: scope}
		now := s.now()
		grant, err := s.opts.Store.Issue(ctx, Issuance{
			ClientID: c.ID, GrantType: GrantClientCredentials, Scope: scope,
			Access: HashOf(t.AccessToken), Now: now, AccessExpiresAt: now.Add(s.opts.AccessLifetime),
			Meter: s.meter(c),
		})
		if err != nil {
			return given{}, fmt.Errorf("issue token to client %s: %w", c.ID, err)
		}
		return given{Tokens: t, tally: grant.Tally}, nil
	}, nil
}
