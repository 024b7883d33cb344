// Package oauthhttp is the authorization server over HTTP: the endpoints that
// applications call (RFC 6749, 7009, 7662, 8414, 8628, 9728), and the way from a request of
// the API to the access token it carries (RFC 6750).
package oauthhttp

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/oauth"
)

// Options are what a Handler is made of. Service and Logger are required.
type Options struct {
	Service *oauth.Service
	Logger  *slog.Logger
	// Observer is told of refusals that the Service never sees, such as of a body
	// that cannot be parsed. Give it the Service's own. Nil: nobody is told.
	Observer interface{ Refused(reason string) }
	// Address tells the caller's address, by which failed sign-ins are counted. Nil:
	// that of the connection. Behind a proxy it is for the operator to say which
	// header can be believed.
	Address func(*http.Request) netip.Addr
	// Limits count the requests. Nil: there are none. What applications ask for with
	// credentials of their own is counted by the Service's Admit.
	Limits Limits
	// Outage reports whether an error that is no refusal says that the record gives no
	// answer, and sees to it that somebody learns of it: the Handler does not log it. Nil: so
	// says an oauth.ErrUnavailable, and each is logged.
	Outage func(context.Context, error) bool
}

// Handler serves the authorization server's endpoints.
type Handler struct {
	service *oauth.Service
	log     *slog.Logger
	refused func(reason string)
	address func(*http.Request) netip.Addr
	limits  Limits
	outage  func(context.Context, error) bool
}

// New makes a Handler.
func New(o Options) *Handler {
	h := &Handler{service: o.Service, log: o.Logger, address: o.Address, limits: o.Limits, outage: outageBy(o.Outage, o.Logger), refused: func(string) {}}
	if o.Observer != nil {
		h.refused = o.Observer.Refused
	}
	if h.address == nil {
		h.address = connection
	}
	if h.limits == nil {
		h.limits = unlimited{}
	}
	return h
}

// Paths of the endpoints that applications know. That of the authorization endpoint
// stands here for the metadata: people go there.
const (
	pathAuthorize           = "/oauth2/authorize"
	pathToken               = "/oauth2/token" //nolint:gosec // a path, no credential
	pathRevoke              = "/oauth2/revoke"
	pathIntrospect          = "/oauth2/introspect"
	pathUserinfo            = "/oauth2/userinfo"
	pathAuthorizeDevice     = "/oauth2/device_authorization"
	pathAuthorizationServer = "/.well-known/oauth-authorization-server" // RFC 8414 section 3
	pathProtectedResource   = "/.well-known/oauth-protected-resource"   // RFC 9728 section 3
)

// Register adds the endpoints to r, with and without a slash at their end. They
// answer all methods themselves. Without an oauth.Options.Issuer there is no metadata
// to give, and none is served.
func (h *Handler) Register(r *mux.Router) {
	post := []string{http.MethodPost}
	endpoints := map[string]*endpoint{
		pathToken:           {name: "token", methods: post, serve: h.token},
		pathRevoke:          {name: "revocation", methods: post, serve: h.revoke},
		pathIntrospect:      {name: "introspection", methods: post, serve: h.introspect, always401: true},
		pathAuthorizeDevice: {name: "device authorization", methods: post, serve: h.authorizeDevice},
		pathUserinfo:        {name: "userinfo", methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, serve: h.userinfo, bearer: true},
	}
	if h.service.Issuer() != "" {
		get := []string{http.MethodGet, http.MethodHead}
		endpoints[pathAuthorizationServer] = &endpoint{name: "metadata", methods: get, serve: h.authorizationServer(r), cache: metadataCache}
		endpoints[pathProtectedResource] = &endpoint{name: "metadata", methods: get, serve: h.protectedResource, cache: metadataCache}
	}
	for path, e := range endpoints {
		e.Handler = h
		r.Handle(path, e)
		r.Handle(path+"/", e)
	}
}

// connection is the address of the other end of r's connection.
func connection(r *http.Request) netip.Addr {
	end, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // not of an IP network: all such callers count as one
	}
	return end.Addr()
}
