package app

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// publicHandler is the API: the authorization server and the house, in one router.
func publicHandler(cfg config.Config, r *Record, m *metrics.Metrics, now func() time.Time, log *slog.Logger) http.Handler {
	address := addressBehind(cfg.Proxies())
	authorization := oauthhttp.New(oauthhttp.Options{Service: r.OAuth, Logger: log, Observer: m, Address: address})
	house := devicehttp.New(devicehttp.Options{
		Service: r.Devices, Caller: callerBy(authorization), Now: now, Logger: log, CommandGet: cfg.CommandGet,
	})
	routes := mux.NewRouter()
	routes.UseEncodedPath() // an encoded slash is no slash
	routes.SkipClean(true)  // cleaning redirects, and a redirect repeats the query with its token
	routes.Use(routed)
	authorization.Register(routes)
	house.Register(routes)
	remote := func(r *http.Request) string { return address(r).String() }
	return observed(routes, remote, log, m.RequestServed)
}

// callerBy turns what a token stands for into the house's caller.
func callerBy(authorization *oauthhttp.Handler) func(*http.Request) (devices.Caller, error) {
	return func(r *http.Request) (devices.Caller, error) {
		access, err := authorization.Caller(r)
		if refusal, is := errors.AsType[*oauth.Error](err); is {
			return devices.Caller{}, &devicehttp.AuthError{
				Status: oauthhttp.BearerStatus(refusal), Code: refusal.Code,
				Description: refusal.Description, Challenge: oauthhttp.WWWAuthenticate(refusal),
			}
		}
		if err != nil {
			return devices.Caller{}, err
		}
		if e := exchangeOf(r.Context()); e != nil {
			e.clientID = access.ClientID
		}
		return devices.Caller{
			UserID: access.UserID, UserName: access.UserName,
			ClientID: access.ClientID, ClientName: access.ClientName,
			Unscoped: true, // personal applications have all of their owner's rights
		}, nil
	}
}

// addressBehind gives the function that tells who a client is: the other end of the
// connection, or, if that is a proxy of the operator's, the last address in
// X-Forwarded-For that is none. What stands before it the client may have made up.
func addressBehind(proxies []netip.Prefix) func(*http.Request) netip.Addr {
	isProxy := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return func(r *http.Request) netip.Addr {
		end, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return netip.Addr{} // not of an IP network: all such callers count as one
		}
		client := end.Addr().Unmap()
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			if !isProxy(client) {
				break
			}
			next, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			client = next.Unmap()
		}
		return client
	}
}
