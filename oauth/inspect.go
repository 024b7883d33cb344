package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// ClientRequest is a request that a client makes about a token (RFC 7009 section
// 2.1, RFC 7662 section 2.1). The token_type_hint changes nothing, so it is not here.
type ClientRequest struct {
	ClientID     string
	ClientSecret string
	Token        string
	Address      netip.Addr // the caller's
}

// Revoke ends a token of the client, with a refresh token all of its grant. What is
// not a live token of this client is no error (RFC 7009 section 2.2). A client that is switched
// off may as well: what of its tokens still works it can end.
func (s *Service) Revoke(ctx context.Context, req ClientRequest) error {
	client, err := s.asking(ctx, req)
	if err != nil || !isHex(req.Token, secretDigits) {
		return err
	}
	if err := s.opts.Store.Revoke(ctx, client.ID, HashOf(req.Token), s.now()); err != nil {
		return fmt.Errorf("revoke token of client %s: %w", client.ID, err)
	}
	s.opts.Observer.ConnectionsChanged(client.ID)
	return nil
}

// Introspect tells a client what one of its own tokens stands for. false says that
// it is no live token of this client, and no more than that (RFC 7662 section 2.2). A
// public client, which cannot prove who it is, is refused.
func (s *Service) Introspect(ctx context.Context, req ClientRequest) (Token, bool, error) {
	client, err := s.asking(ctx, req)
	if err != nil {
		return Token{}, false, err
	}
	if client.Public {
		return Token{}, false, s.refuse("", noCredentials())
	}
	if err := s.usable(ctx, client); err != nil {
		return Token{}, false, s.refuse(client.ID, err)
	}
	if !isHex(req.Token, secretDigits) {
		return Token{}, false, nil
	}
	token, err := s.opts.Store.Token(ctx, HashOf(req.Token), s.now())
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && token.ClientID != client.ID:
		return Token{}, false, nil
	case err != nil:
		return Token{}, false, fmt.Errorf("find token for client %s: %w", client.ID, err)
	}
	return token, true, nil
}

// asking authenticates the client of a request that must name a token. It may be
// switched off.
func (s *Service) asking(ctx context.Context, req ClientRequest) (Client, error) {
	client, err := s.admitted(ctx, req.ClientID, req.ClientSecret, req.Address)
	if err != nil {
		return Client{}, err
	}
	if client.Status != Off {
		if err := s.usable(ctx, client); err != nil {
			return Client{}, s.refuse(client.ID, err)
		}
	}
	if req.Token == "" {
		return Client{}, s.refuse(client.ID, missing("token"))
	}
	return client, nil
}
