package app

import (
	"errors"
	"log/slog"
	"net/http"
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
	authorization := oauthhttp.New(oauthhttp.Options{Service: r.OAuth, Logger: log, Observer: m})
	house := devicehttp.New(devicehttp.Options{
		Service: r.Devices, Caller: callerBy(authorization), Now: now, Logger: log, CommandGet: cfg.CommandGet,
	})
	routes := mux.NewRouter()
	routes.SkipClean(true) // cleaning redirects, and a redirect repeats the query with its token
	routes.Use(routed)
	authorization.Register(routes)
	house.Register(routes)
	return observed(routes, log, m.RequestServed)
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
