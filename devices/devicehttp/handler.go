// Package devicehttp is the API of the house over HTTP: what is below /v2. Its
// routes are the rows of devices.Catalogue; every answer is in the Myfox envelope.
package devicehttp

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/devices"
)

// Options are what a Handler is made of.
type Options struct {
	Service *devices.Service
	// Caller tells on whose behalf a request comes. Its error is an *AuthError if the
	// request has no right token; any other is a failure of the server.
	Caller func(*http.Request) (devices.Caller, error)
	Now    func() time.Time
	Logger *slog.Logger
	// Limits tells how a caller stands with the limits of the API, in the order in which
	// they are shown. Nil: there are none.
	Limits func(context.Context, devices.Caller) ([]Limit, error)
	// Outage reports whether an error that is no refusal says that the record gives no
	// answer, and sees to it that somebody learns of it: the Handler does not log it. Nil: so
	// says a devices.ErrUnavailable, and each is logged.
	Outage func(context.Context, error) bool
	// CommandGet allows GET for commands, beside POST: many scripts send it.
	CommandGet bool
}

// Handler serves the API of the house.
type Handler struct {
	service    *devices.Service
	caller     func(*http.Request) (devices.Caller, error)
	now        func() time.Time
	log        *slog.Logger
	limits     func(context.Context, devices.Caller) ([]Limit, error)
	outage     func(context.Context, error) bool
	commandGet bool
	things     map[devices.Kind]devices.Thing
	counts     []devices.Row // rows that count something of a site
}

// New makes a Handler.
func New(o Options) *Handler {
	if o.Limits == nil {
		o.Limits = func(context.Context, devices.Caller) ([]Limit, error) { return nil, nil }
	}
	h := &Handler{service: o.Service, caller: o.Caller, now: o.Now, log: o.Logger, limits: o.Limits, outage: o.Outage, commandGet: o.CommandGet, things: map[devices.Kind]devices.Thing{}}
	if h.outage == nil {
		h.outage = h.unavailable
	}
	for _, thing := range devices.Things() {
		h.things[thing.Kind] = thing
	}
	for _, row := range devices.Catalogue() {
		if row.Count != "" {
			h.counts = append(h.counts, row)
		}
	}
	return h
}

// Register adds a route for each row of the catalogue and one for the limits, with and
// without a slash at its end, and answers in the envelope for what r does not know.
func (h *Handler) Register(r *mux.Router) {
	operations := map[string][]string{} // by the path that they share
	for _, row := range devices.Catalogue() {
		handle(r, row.Path, h.serve(row, h.endpoint(row)), h.methods(row)...)
		if row.Commands() && row.Action != devices.NotYet {
			parent := path.Dir(row.Path)
			operations[parent] = append(operations[parent], row.Operation)
		}
	}
	handle(r, LimitsPath, h.serve(devices.Row{}, h.listLimits), http.MethodGet, http.MethodHead)
	for parent, known := range operations {
		handle(r, parent+"/{operation}", h.unknownOperation(known))
	}
	r.NotFoundHandler = http.HandlerFunc(h.notFound)
	r.MethodNotAllowedHandler = h.methodNotAllowed(r)
}

// handle adds a route below /v2; without methods it takes all.
func handle(r *mux.Router, path string, f http.HandlerFunc, methods ...string) {
	for _, end := range []string{"", "/"} {
		route := r.Handle("/v2"+path+end, f)
		if len(methods) > 0 {
			route.Methods(methods...)
		}
	}
}

func (h *Handler) methods(row devices.Row) []string {
	switch {
	case !row.Commands():
		return []string{http.MethodGet, http.MethodHead}
	case h.commandGet:
		return []string{http.MethodGet, http.MethodPost}
	default:
		return []string{http.MethodPost}
	}
}

// endpoint answers one path to a caller: with a payload, or with what went wrong.
type endpoint func(http.ResponseWriter, *http.Request, devices.Caller) (payload any, err error)

func (h *Handler) serve(row devices.Row, answer endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := h.caller(r)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		payload, err := answer(w, r, caller)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		if list, is := payload.(bare); is && row.Legacy {
			payload = list.bare()
		}
		h.ok(w, r, payload)
	}
}

func (h *Handler) endpoint(row devices.Row) endpoint {
	switch row.Action {
	case devices.ListSites:
		return h.listSites
	case devices.ReadSecurity:
		return h.readSecurity
	case devices.ListDevices:
		return h.listDevices(row)
	case devices.ListEverything:
		return h.listEverything(row)
	case devices.ReadDevice:
		return h.readDevice(row)
	case devices.ReadMeasurements:
		return h.readMeasurements(row)
	case devices.Operate:
		return h.operate(row)
	case devices.ListGroups:
		return h.listGroups(row)
	case devices.OperateGroup:
		return h.operateGroup(row)
	case devices.ListScenarios:
		return h.listScenarios
	case devices.PlayScenario:
		return h.playScenario
	case devices.SwitchScenario:
		return h.switchScenario(row)
	case devices.ReadHistory:
		return h.readHistory(row)
	case devices.ListLibrary, devices.NotYet:
		return h.empty(row)
	case devices.ReadCommand:
		return h.readCommand
	default:
		panic("catalogue row without an endpoint: " + row.Path)
	}
}

func (h *Handler) notFound(w http.ResponseWriter, r *http.Request) {
	h.ko(w, r, http.StatusNotFound, "not_found", "Unknown path")
}

// unknownOperation answers for what stands beside the operations of a kind. One of
// them with a method that its own route does not take ends here too.
func (h *Handler) unknownOperation(known []string) http.HandlerFunc {
	text := "Unknown operation: expected one of " + strings.Join(known, ", ")
	allow := h.methods(devices.Row{Action: devices.Operate})
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(known, mux.Vars(r)["operation"]) {
			h.refuseMethod(w, r, allow)
			return
		}
		h.ko(w, r, http.StatusNotFound, "not_found", text)
	}
}

func (h *Handler) methodNotAllowed(routes *mux.Router) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { h.refuseMethod(w, r, allowed(routes, r)) }
}

// refuseMethod names in Allow the methods that the path takes (RFC 9110 section 15.5.6).
func (h *Handler) refuseMethod(w http.ResponseWriter, r *http.Request, allow []string) {
	w.Header().Set("Allow", strings.Join(allow, ", "))
	h.ko(w, r, http.StatusMethodNotAllowed, "method_not_allowed", "The path does not take this method")
}

// allowed gives the methods that routes has for the path of r.
func allowed(routes *mux.Router, r *http.Request) []string {
	return slices.DeleteFunc([]string{http.MethodGet, http.MethodHead, http.MethodPost}, func(method string) bool {
		probe := r.Clone(r.Context())
		probe.Method = method
		var match mux.RouteMatch
		return !routes.Match(probe, &match) || match.MatchErr != nil
	})
}
