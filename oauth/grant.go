package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// TokenRequest is a request to the token endpoint (RFC 6749 sections 4.1.3, 4.3.2,
// 4.4.2 and 6, RFC 8628 section 3.4).
// An empty field is a parameter that was not given. Whatever a grant does not use,
// it ignores.
type TokenRequest struct {
	ClientID     string
	ClientSecret string
	GrantType    string
	Username     string     // password grant
	Password     string     // password grant
	RefreshToken string     // refresh_token grant
	Code         string     // authorization_code grant
	RedirectURI  string     // authorization_code grant
	CodeVerifier string     // authorization_code grant with PKCE
	DeviceCode   string     // device_code grant
	Scope        string     // refresh_token and client_credentials grant
	Address      netip.Addr // the caller's; failed sign-ins are counted by it

	own bool // from a page on which the application's owner is signed in
}

// Token authenticates a client and issues a pair of tokens on a grant.
func (s *Service) Token(ctx context.Context, req TokenRequest) (Tokens, error) {
	// 1. Authenticate the client.
	client, err := s.authenticateClient(ctx, req.ClientID, req.ClientSecret, req.Address)
	if err != nil {
		return Tokens{}, err
	}
	return s.issue(ctx, client, req)
}

// issue is what comes after the client has authenticated.
func (s *Service) issue(ctx context.Context, client Client, req TokenRequest) (Tokens, error) {
	// 2. Find the grant.
	resolve, err := s.grant(req.GrantType)
	if err != nil {
		return Tokens{}, s.refuse(client.ID, err)
	}
	// 3. Check that this kind of application may use it.
	if !slices.Contains(grantsOf(client), req.GrantType) {
		return Tokens{}, s.refuse(client.ID, &Error{
			Code: CodeUnauthorizedClient, Description: "The grant type is unauthorized for this client_id",
			Reason: "grant not allowed for the application",
		})
	}
	// 4. Resolve the grant.
	issue, err := resolve(ctx, client, req)
	if err != nil {
		return Tokens{}, s.refuse(client.ID, err)
	}
	// 5. Issue, in one transaction.
	given, err := issue(ctx)
	if err != nil {
		return Tokens{}, s.refuse(client.ID, err)
	}
	// 6. Tell the observer what the record says.
	if given.tally.News {
		s.opts.Observer.Judged(client.ID, string(given.tally.Verdict()), string(given.tally.Judgement.Rule))
	}
	if given.tally.Outcome == SwitchedOff {
		s.opts.Observer.Switched(client.ID, true, string(ByPolicy))
	}
	if err := s.withheld(ctx, client, given.tally); err != nil {
		return Tokens{}, s.refuse(client.ID, err)
	}
	if given.again {
		given.Waste, err = s.budgets(ctx, client)
		return given.Tokens, err
	}
	if !given.tally.Wasteful && (req.GrantType == GrantPassword || req.GrantType == GrantDevice) {
		s.opts.Observer.ConnectionsChanged(client.ID)
	}
	s.opts.Observer.TokenIssued(client.ID, req.GrantType, given.tally.Wasteful)
	given.Waste = wasteOf(given.tally, s.now())
	return given.Tokens, nil
}

// meter is how what is issued to a client is counted and judged.
func (s *Service) meter(c Client) Meter {
	return Meter{Mode: s.opts.Mode, Kind: c.Kind, Limits: *s.opts.Limits, Lever: s.opts.Lever}
}

// authenticateClient is admitted of a client that must be one that may be used. What it
// refuses for another reason than the credentials is a refusal of that client.
func (s *Service) authenticateClient(ctx context.Context, id, secret string, from netip.Addr) (Client, error) {
	client, err := s.admitted(ctx, id, secret, from)
	if err != nil {
		return Client{}, err
	}
	if err := s.usable(ctx, client); err != nil {
		return Client{}, s.refuse(client.ID, err)
	}
	return client, nil
}

// admitted identifies a client, whatever its status, and counts its request. That comes
// after it is known and before it is refused for what it is: with a wrong secret nobody
// spends what is another's, and with the right one nobody spends what strangers at the
// same address have.
func (s *Service) admitted(ctx context.Context, id, secret string, from netip.Addr) (Client, error) {
	client, err := s.identify(ctx, id, secret)
	if err != nil {
		return Client{}, s.refuse("", err)
	}
	if err := s.admit(ctx, client, from); err != nil {
		return Client{}, err
	}
	return client, nil
}

// identify finds the client that knows this secret, whatever its status; of a public
// client its name is enough, since what it redeems is bound to its code_verifier. An
// unknown client_id and a wrong secret get the same answer.
func (s *Service) identify(ctx context.Context, id, secret string) (Client, error) {
	if id == "" {
		return Client{}, noCredentials()
	}
	if !isHex(id, clientIDDigits) {
		return Client{}, invalidClient("client unknown")
	}
	client, err := s.client(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return Client{}, invalidClient("client unknown")
	case err != nil:
		return Client{}, fmt.Errorf("find client: %w", err)
	case client.Public && secret == "":
	case secret == "":
		return Client{}, noCredentials()
	default:
		if err := s.checkSecret(ctx, client, secret); err != nil {
			return Client{}, err
		}
	}
	return client, nil
}

// usable refuses a client that may not be used.
func (s *Service) usable(ctx context.Context, c Client) error {
	switch {
	case c.Status == Off:
		return s.off(ctx, c.ID, CodeUnauthorizedClient)
	case c.Status != Active, c.Kind == Personal && c.OwnerDisabled:
		return notActive()
	}
	return nil
}

func notActive() *Error {
	return &Error{Code: CodeUnauthorizedClient, Description: "The application is not approved", Reason: "application not active"}
}

// checkSecret tries the live secrets, and notes the use of the one that it is.
func (s *Service) checkSecret(ctx context.Context, c Client, secret string) error {
	given := HashOf(secret)
	var found *Secret
	for i, live := range c.Secrets {
		if subtle.ConstantTimeCompare(given[:], live.Hash[:]) == 1 {
			found = &c.Secrets[i]
		}
	}
	if found == nil {
		return invalidClient("client secret wrong")
	}
	now := s.now()
	if now.Sub(found.LastUsedAt) < time.Minute {
		return nil
	}
	if err := s.opts.Store.TouchSecret(ctx, found.ID, now); err != nil {
		return fmt.Errorf("note use of a secret of client %s: %w", c.ID, err)
	}
	return nil
}

func noCredentials() *Error {
	return &Error{
		Code: CodeInvalidClient, Description: "Client credentials were not found in the headers or body",
		Reason: "client credentials missing",
	}
}

func invalidClient(reason string) *Error {
	return &Error{Code: CodeInvalidClient, Description: "The client credentials are invalid", Reason: reason}
}

// A resolver checks what one grant is made of, and gives what remains to be done.
type resolver func(ctx context.Context, c Client, req TokenRequest) (issuer, error)

// An issuer writes the tokens.
type issuer func(ctx context.Context) (given, error)

// given is what an issuer wrote: the Tokens only if the tally's Outcome is Issued.
type given struct {
	Tokens
	tally Tally
	again bool // this very pair was issued before
}

// grant finds what resolves a grant_type.
func (s *Service) grant(name string) (resolver, error) {
	switch name {
	case GrantPassword:
		return s.passwordGrant, nil
	case GrantRefresh:
		return s.refreshGrant, nil
	case GrantCode:
		return s.codeGrant, nil
	case GrantClientCredentials:
		return s.clientCredentialsGrant, nil
	case GrantDevice:
		return s.deviceGrant, nil
	case "":
		return nil, missing("grant_type")
	default:
		return nil, &Error{
			Code: CodeUnsupportedGrantType, Description: "The grant type is not supported",
			Reason: "grant type unknown",
		}
	}
}

func missing(parameter string) *Error {
	return &Error{
		Code: CodeInvalidRequest, Description: "The " + parameter + " parameter is missing",
		Reason: "parameter missing",
	}
}

func invalidGrant(description, reason string) *Error {
	return &Error{Code: CodeInvalidGrant, Description: description, Reason: reason}
}

// passwordGrant is RFC 6749 section 4.3, for the application's owner alone.
func (s *Service) passwordGrant(ctx context.Context, c Client, req TokenRequest) (issuer, error) {
	if req.Username == "" {
		return nil, missing("username")
	}
	if req.Password == "" {
		return nil, missing("password")
	}
	try := attempt{username: req.Username, password: req.Password, address: req.Address, client: c, own: req.own}
	_, proof, err := s.signIn(ctx, try, func(u User) bool { return u.ID == c.OwnerID })
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (given, error) {
		tokens := Tokens{AccessToken: NewSecret(), RefreshToken: NewSecret(), ExpiresIn: s.opts.AccessLifetime}
		now := s.now()
		grant, err := s.opts.Store.Issue(ctx, Issuance{
			ClientID:         c.ID,
			Scope:            Unscoped(),
			UserID:           c.OwnerID,
			GrantType:        GrantPassword,
			Access:           HashOf(tokens.AccessToken),
			Refresh:          HashOf(tokens.RefreshToken),
			Now:              now,
			AccessExpiresAt:  now.Add(s.opts.AccessLifetime),
			RefreshExpiresAt: now.Add(s.opts.RefreshLifetime),
			Meter:            s.meter(c),
			Proof:            proof,
		})
		switch {
		case errors.Is(err, ErrNotFound):
			return given{}, wrongSignIn("password changed meanwhile")
		case err != nil:
			return given{}, fmt.Errorf("issue tokens to client %s: %w", c.ID, err)
		}
		return given{Tokens: tokens, tally: grant.Tally}, nil
	}, nil
}

// refreshGrant is RFC 6749 section 6 with rotation (RFC 9700 section 4.14.2).
func (s *Service) refreshGrant(_ context.Context, c Client, req TokenRequest) (issuer, error) {
	if req.RefreshToken == "" {
		return nil, missing("refresh_token")
	}
	if !isHex(req.RefreshToken, secretDigits) {
		return nil, invalidRefresh("refresh token malformed")
	}
	return func(ctx context.Context) (given, error) {
		scope, err := s.lesser(ctx, c, req)
		if err != nil {
			return given{}, err
		}
		return s.rotate(ctx, c, req.RefreshToken, scope)
	}, nil
}

// lesser is the scope of the new access token: equal to the grant's, or less if less
// was asked for. Personal applications have always sent a scope for nothing.
func (s *Service) lesser(ctx context.Context, c Client, req TokenRequest) (Scope, error) {
	found, err := s.opts.Store.Token(ctx, HashOf(req.RefreshToken), s.now())
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && (found.Use != UseRefresh || found.ClientID != c.ID):
		return nil, nil // Rotate says why: it may have been spent
	case err != nil:
		return nil, fmt.Errorf("find refresh token of client %s: %w", c.ID, err)
	case found.Scope != nil && len(found.Scope) == 0:
		return nil, invalidRefresh("nothing left of the scope")
	case req.Scope == "" || c.Kind == Personal:
		return found.Scope, nil
	}
	scope, is := ParseScope(req.Scope)
	if !is || !scope.Within(found.Scope) {
		return nil, invalidScope()
	}
	return scope, nil
}

// rotate spends the refresh token old for its successor pair. Clients refresh twice
// at once, or lose an answer on the way: the one that repeats old within the grace,
// before it used the successor, gets the same pair.
func (s *Service) rotate(ctx context.Context, c Client, old string, scope Scope) (g given, err error) {
	now, nonce := s.now(), newNonce()
	t := Tokens{ExpiresIn: s.opts.AccessLifetime, Scope: scope}
	if t.AccessToken, t.RefreshToken, err = successor(old, nonce); err != nil {
		return given{}, err
	}
	rotated, err := s.opts.Store.Rotate(ctx, Rotation{
		ClientID:         c.ID,
		Old:              HashOf(old),
		Nonce:            nonce,
		Access:           HashOf(t.AccessToken),
		Refresh:          HashOf(t.RefreshToken),
		Scope:            scope,
		Now:              now,
		AccessExpiresAt:  now.Add(s.opts.AccessLifetime),
		RefreshExpiresAt: now.Add(s.opts.RefreshLifetime),
		Grace:            s.opts.Grace,
		Meter:            s.meter(c),
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return given{}, invalidRefresh("refresh token not live")
	case err != nil:
		return given{}, fmt.Errorf("rotate refresh token of client %s: %w", c.ID, err)
	}
	switch rotated.Outcome {
	case Rotate:
		return given{Tokens: t, tally: rotated.Tally}, nil
	case Withheld:
		return given{tally: rotated.Tally}, nil
	case Replay:
		t, err = replay(old, rotated, now)
		return given{Tokens: t, again: true}, err
	case Reuse:
		s.opts.Observer.ConnectionsChanged(c.ID)
		return given{}, invalidRefresh("refresh token reused")
	default:
		return given{}, fmt.Errorf("rotate refresh token of client %s: unknown outcome %d", c.ID, rotated.Outcome)
	}
}

// replay derives the pair that old has been spent for, with what remains of its life.
func replay(old string, r Rotated, now time.Time) (t Tokens, err error) {
	// The access token outlives the grace, so that something always remains.
	t.Scope = r.Scope
	t.ExpiresIn = max(r.ExpiresAt.Sub(now).Truncate(time.Second), time.Second)
	t.AccessToken, t.RefreshToken, err = successor(old, r.Nonce)
	return t, err
}

func invalidRefresh(reason string) *Error {
	return invalidGrant("The refresh token is invalid", reason)
}
