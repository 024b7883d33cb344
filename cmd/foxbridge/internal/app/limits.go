package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
	"github.com/foxbridge/foxbridge/internal/limit"
	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/oauth"
)

const (
	limitWindow  = time.Minute            // of every policy
	limitKeys    = 100_000                // held of each policy, in memory
	limitTimeout = 250 * time.Millisecond // of an answer of the database
)

// limits are what may be asked of a bridge, and by whom. Each request is counted once
// by who it is: an application that acts for a person, an application by itself, a
// person in a browser, or an address if nobody has authenticated. What was found is
// noted in the exchange, and goes into the header of the answer.
type limits struct {
	api, commands, alarm, personal, commercial, address limit.Policy

	limiter *limit.Limiter
	remote  func(*http.Request) netip.Addr
	refused func(policy string)
	aside   map[string]bool // routes that arm and disarm
	free    map[string]bool // routes that cost nothing
}

// newLimits opens where the limits are kept.
func newLimits(ctx context.Context, cfg config.Config, m *metrics.Metrics, now func() time.Time, log *slog.Logger) (*limits, error) {
	var store limit.Store = limit.NewMemory(limitKeys, now)
	if cfg.LimitsShared {
		which, err := cfg.Database()
		if err != nil {
			return nil, err
		}
		if store, err = limit.OpenPostgres(ctx, which.Postgres, limitTimeout); err != nil {
			return nil, err
		}
	}
	return limitsIn(store, cfg, m, now, log), nil
}

func limitsIn(store limit.Store, cfg config.Config, m *metrics.Metrics, now func() time.Time, log *slog.Logger) *limits {
	policy := func(name string, quota int) limit.Policy {
		m.LimitPolicy(name)
		return limit.Policy{Name: name, Quota: quota, Window: limitWindow}
	}
	return &limits{
		api:        policy("api", cfg.LimitAPI),
		commands:   policy("commands", cfg.LimitCommands),
		alarm:      policy("alarm", cfg.LimitAlarm),
		personal:   policy("token-personal", cfg.LimitTokenPersonal),
		commercial: policy("token-commercial", cfg.LimitTokenCommercial),
		address:    policy("address", cfg.LimitAddress),

		limiter: limit.New(limit.Options{Store: store, Now: now, Logger: log, Timeout: limitTimeout, Unanswered: m.LimitUnanswered}),
		remote:  addressBehind(cfg.Proxies()),
		refused: m.LimitRefused,
		aside:   alarmRoutes(),
		free:    map[string]bool{"/v2" + devicehttp.LimitsPath: true},
	}
}

// alarmRoutes are the templates of the routes that set the alarm.
func alarmRoutes() map[string]bool {
	routes := map[string]bool{}
	for _, row := range devices.Catalogue() {
		if row.Action == devices.Operate && row.Kind == devices.Security {
			routes["/v2"+row.Path] = true
		}
	}
	return routes
}

// noteLimit adds a state to those that the answer to the request of ctx will show, in
// the place of an earlier one of that policy. Outside of a request it does nothing.
func noteLimit(ctx context.Context, s limit.State) {
	e := exchangeOf(ctx)
	if e == nil {
		return
	}
	at := slices.IndexFunc(e.limits, func(noted limit.State) bool { return noted.Policy.Name == s.Policy.Name })
	if at < 0 {
		e.limits = append(e.limits, s)
		return
	}
	e.limits[at] = s
}

// charge counts, notes how it stands, and gives how long to wait.
func (l *limits) charge(ctx context.Context, p limit.Policy, key string) time.Duration {
	state := l.limiter.Charge(ctx, p, key)
	noteLimit(ctx, state)
	if state.Wait > 0 {
		l.refused(p.Name)
	}
	return state.Wait
}

// peek notes how it stands.
func (l *limits) peek(ctx context.Context, p limit.Policy, key string) limit.State {
	state := l.limiter.Peek(ctx, p, key)
	noteLimit(ctx, state)
	return state
}

// Keys of callers.

func (l *limits) addressKey(r *http.Request) string { return oauth.Host(l.remote(r)) }

func actingKey(clientID string, userID int64) string {
	return clientID + "/" + strconv.FormatInt(userID, 10)
}

// Anonymous is of oauthhttp.Limits.
func (l *limits) Anonymous(r *http.Request) time.Duration {
	return l.charge(r.Context(), l.address, l.addressKey(r))
}

// Visitor is of oauthhttp.Limits: the pages count as an application without a name.
func (l *limits) Visitor(r *http.Request, userID int64) time.Duration {
	return l.charge(r.Context(), l.api, actingKey("", userID))
}

// Waste is of oauthhttp.Limits: each budget is shown as a policy of its own.
func (l *limits) Waste(r *http.Request, budgets []oauth.Waste) {
	for _, b := range budgets {
		name := "wasted-day"
		if b.Window == oauth.RuleHour.Window() {
			name = "wasted-hour"
		}
		noteLimit(r.Context(), limit.State{
			Policy: limit.Policy{Name: name, Quota: b.Quota, Window: b.Window}, Remaining: b.Remaining, Reset: b.Reset, Stays: b.Stays,
		})
	}
}

// Bearer is of oauthhttp.Limits. Requests to set the alarm are counted apart from all
// others, so that nothing that a home asks for in vain keeps it from being armed.
func (l *limits) Bearer(r *http.Request, a oauth.Access) time.Duration {
	key, route := actingKey(a.ClientID, a.UserID), ""
	if e := exchangeOf(r.Context()); e != nil {
		route = e.route
	}
	switch {
	case l.free[route]:
		return 0
	case l.aside[route]:
		key += "/alarm"
	}
	return l.charge(r.Context(), l.api, key)
}

// Admit is an oauth.Admit. Of an application that proves nothing, each address is
// counted by itself: a stranger who knows its name keeps out nobody but themselves.
func (l *limits) Admit(ctx context.Context, c oauth.Client, from netip.Addr) time.Duration {
	key := c.ID
	if c.Public {
		key += "/" + oauth.Host(from)
	}
	return l.charge(ctx, l.tokens(c), key)
}

func (l *limits) tokens(c oauth.Client) limit.Policy {
	if c.Kind == oauth.Personal {
		return l.personal
	}
	return l.commercial
}

// Spend is of devices.Budget.
func (l *limits) Spend(ctx context.Context, c devices.Caller, kind devices.Kind) time.Duration {
	return l.charge(ctx, l.budget(kind), actingKey(c.ClientID, c.UserID))
}

// Return is of devices.Budget.
func (l *limits) Return(ctx context.Context, c devices.Caller, kind devices.Kind) {
	noteLimit(ctx, l.limiter.Refund(ctx, l.budget(kind), actingKey(c.ClientID, c.UserID)))
}

func (l *limits) budget(kind devices.Kind) limit.Policy {
	if kind == devices.Security {
		return l.alarm
	}
	return l.commands
}

// of tells how a caller stands with all the limits that are on, as
// devicehttp.Options.Limits is asked to.
func (l *limits) of(service *oauth.Service) func(context.Context, devices.Caller) ([]devicehttp.Limit, error) {
	return func(ctx context.Context, c devices.Caller) ([]devicehttp.Limit, error) {
		client, err := service.ClientByID(ctx, c.ClientID)
		if err != nil {
			return nil, fmt.Errorf("tell limits: %w", err)
		}
		acting := actingKey(c.ClientID, c.UserID)
		states := []limit.State{
			l.peek(ctx, l.api, acting), l.peek(ctx, l.commands, acting), l.peek(ctx, l.alarm, acting),
		}
		if !client.Public { // which has no budget of its own
			states = append(states, l.peek(ctx, l.tokens(client), client.ID))
		}
		var list []devicehttp.Limit
		for _, s := range states {
			if !s.Policy.Off() {
				list = append(list, devicehttp.Limit{
					Policy: s.Policy.Name, Quota: s.Policy.Quota, Window: s.Policy.Window, Remaining: s.Remaining, Reset: s.Reset,
				})
			}
		}
		return list, nil
	}
}

// write puts what was noted into the header of the answer to r. Where nothing was
// counted, such as for a file or an unknown path, that is how the address stands.
func (l *limits) write(r *http.Request, e *exchange, header http.Header) {
	states := e.limits
	if len(states) == 0 {
		states = []limit.State{l.limiter.Peek(r.Context(), l.address, l.addressKey(r))}
	}
	policy, limit := limit.Fields(states)
	if policy != "" {
		header.Set("RateLimit-Policy", policy)
		header.Set("RateLimit", limit)
	}
}

// sweep forgets callers who have not asked for long.
func (l *limits) sweep(ctx context.Context) error { return l.limiter.Sweep(ctx) }

// close gives up where the limits are kept. The rest of the process has stopped.
func (l *limits) close(context.Context) error {
	l.limiter.Close()
	return nil
}
