package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/apidoc"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// publicHandler is what people and applications reach: the authorization server with
// its pages, and the house, in one router.
func publicHandler(cfg config.Config, r *Record, l *limits, m *metrics.Metrics, now func() time.Time, down *outages) (http.Handler, error) {
	routes, err := publicRoutes(cfg, r, l, m, now, down)
	if err != nil {
		return nil, err
	}
	address := addressBehind(cfg.Proxies())
	remote := func(r *http.Request) string { return address(r).String() }
	return observed(oauthhttp.CrossOrigin(routes), remote, down.log, l.write, m.RequestServed), nil
}

func publicRoutes(cfg config.Config, r *Record, l *limits, m *metrics.Metrics, now func() time.Time, down *outages) (*mux.Router, error) {
	address, log := addressBehind(cfg.Proxies()), down.log
	document := apidoc.New(apidoc.Options{Server: r.OAuth.Issuer(), CommandGet: cfg.CommandGet, Limits: r.OAuth.SwitchesOffAt()})
	authorization := oauthhttp.New(oauthhttp.Options{Service: r.OAuth, Logger: log, Observer: m, Address: address, Limits: l, Outage: down.is})
	pages, err := publicPages(cfg, r, l, document, down)
	if err != nil {
		return nil, err
	}
	house := devicehttp.New(devicehttp.Options{
		Service: r.Devices, Caller: callerBy(authorization), Now: now, Logger: log, CommandGet: cfg.CommandGet,
		Limits: l.of(r.OAuth), Outage: down.is,
	})
	routes := mux.NewRouter()
	routes.UseEncodedPath() // an encoded slash is no slash
	routes.SkipClean(true)  // cleaning redirects, and a redirect repeats the query with its token
	routes.Use(routed)
	authorization.Register(routes)
	pages.Register(routes)
	document.Register(routes)
	house.Register(routes)
	routes.NotFoundHandler = pages.NotFound(routes.NotFoundHandler)
	return routes, nil
}

// publicPages are all that people see.
func publicPages(cfg config.Config, r *Record, l *limits, document *apidoc.Document, down *outages) (*oauthhttp.Pages, error) {
	self, err := url.Parse(r.OAuth.Issuer())
	if err != nil {
		return nil, fmt.Errorf("read address of the public listener: %w", err)
	}
	documentation := apidoc.NewPage(document)
	return oauthhttp.NewPages(oauthhttp.PagesOptions{
		Additions: []oauthhttp.Addition{householdPages(r, down.log), {
			Path: apidoc.PagePath, Label: apidoc.PageLabel, Serve: documentation.Serve,
			Templates: documentation.Templates(), Messages: documentation.Messages(), Assets: documentation.Assets(),
		}},
		Service: r.OAuth, Logger: down.log, Address: addressBehind(cfg.Proxies()), Limits: l, Outage: down.is, Sites: sitesOf(r.Devices),
		Secure: self.Scheme == "https", Port: self.Port(), SignUp: cfg.SignUp,
	})
}

// householdPages are the pages on which people look after who belongs to their homes.
func householdPages(r *Record, log *slog.Logger) oauthhttp.Addition {
	household := devicehttp.NewHousehold(devicehttp.HouseholdOptions{
		Service: r.Devices, Logger: log,
		Person: func(ctx context.Context, userID int64) (devices.Person, error) {
			u, err := r.OAuth.User(ctx, userID)
			return personOf(u), err
		},
	})
	pages := oauthhttp.Addition{
		Path: devicehttp.HouseholdPath, Label: devicehttp.HouseholdLabel,
		Templates: household.Templates(), Messages: household.Messages(), Keys: household.Keys(),
	}
	for _, page := range household.Pages() {
		pages.Private = append(pages.Private, oauthhttp.PrivatePage{Path: page.Path, Get: served(page.Get), Post: served(page.Post)})
	}
	return pages
}

// served hands the person who is signed in on to a page of the house; nil stays nil.
func served(serve devicehttp.HouseholdServe) func(*web.Pages, http.ResponseWriter, *http.Request, oauth.User) error {
	if serve == nil {
		return nil
	}
	return func(site *web.Pages, w http.ResponseWriter, r *http.Request, u oauth.User) error {
		return serve(site, w, r, personOf(u))
	}
}

func personOf(u oauth.User) devices.Person {
	return devices.Person{UserID: u.ID, Name: u.Name, Email: u.Email}
}

// sitesOf lists the homes at which a person can let an application in.
func sitesOf(house *devices.Service) func(context.Context, int64) ([]oauthhttp.Site, error) {
	return func(ctx context.Context, userID int64) ([]oauthhttp.Site, error) {
		list, err := house.Sites(ctx, devices.Caller{UserID: userID, Unscoped: true})
		if err != nil {
			return nil, err
		}
		sites := make([]oauthhttp.Site, 0, len(list))
		for _, s := range list {
			sites = append(sites, oauthhttp.Site{ID: s.ID, Label: s.Label})
		}
		return sites, nil
	}
}

// callerBy turns what a token stands for into the house's caller.
func callerBy(authorization *oauthhttp.Handler) func(*http.Request) (devices.Caller, error) {
	return func(r *http.Request) (devices.Caller, error) {
		access, err := authorization.Caller(r)
		if refusal, is := errors.AsType[*oauth.Error](err); is {
			noteClient(r, refusal.ClientID)
			return devices.Caller{}, &devicehttp.AuthError{
				Status: oauthhttp.BearerStatus(refusal), Code: refusal.Code,
				Description: refusal.Description, Challenge: authorization.WWWAuthenticate(refusal),
				RetryAfter: refusal.RetryAfter,
				URI:        refusal.URI, Explanation: oauthhttp.Explain(refusal),
			}
		}
		if err != nil {
			return devices.Caller{}, err
		}
		noteClient(r, access.ClientID)
		return callerOf(access), nil
	}
}

// noteClient notes which application sent r.
func noteClient(r *http.Request, clientID string) {
	if e := exchangeOf(r.Context()); e != nil {
		e.clientID = clientID
	}
}

// callerOf gives the caller that an access token makes. One without a person, which an
// application got for itself, is nobody at every home.
func callerOf(a oauth.Access) devices.Caller {
	return devices.Caller{
		UserID: a.UserID, UserName: a.UserName, ClientID: a.ClientID, ClientName: a.ClientName,
		Unscoped: a.Scope == nil, Scopes: a.Scope, Sites: a.Sites,
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
