// Package oauthhttp is the authorization server over HTTP: the token endpoint of RFC
// 6749, and the way from a request of the API to the access token it carries (RFC
// 6750).
package oauthhttp

import (
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
}

// Handler serves the authorization server's endpoints.
type Handler struct {
	service *oauth.Service
	log     *slog.Logger
	refused func(reason string)
	address func(*http.Request) netip.Addr
}

// New makes a Handler.
func New(o Options) *Handler {
	h := &Handler{service: o.Service, log: o.Logger, address: o.Address, refused: func(string) {}}
	if o.Observer != nil {
		h.refused = o.Observer.Refused
	}
	if h.address == nil {
		h.address = connection
	}
	return h
}

// Register adds the endpoints to r. They answer all methods themselves.
func (h *Handler) Register(r *mux.Router) {
	r.HandleFunc("/oauth2/token", h.token)
	r.HandleFunc("/oauth2/token/", h.token)
}

// connection is the address of the other end of r's connection.
func connection(r *http.Request) netip.Addr {
	end, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // not of an IP network: all such callers count as one
	}
	return end.Addr()
}
