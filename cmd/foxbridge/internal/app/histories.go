package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

const (
	// eventsEvery is how long an event that another process has left, or that could not be
	// told, may wait to be seen.
	eventsEvery = 5 * time.Second
	eventLease  = 15 * time.Second // longer than it takes to tell those of one lease; a repeat is harmless
	eventsLease = 50               // at once
	usersPage   = 200
)

// connectionBook is where it is kept what became of connections: an *oauth.Service.
type connectionBook interface {
	DueEvents(ctx context.Context, lease time.Duration, limit int) ([]oauth.ConnectionEvent, error)
	EventTold(ctx context.Context, e oauth.ConnectionEvent) error
	AllowedAt(ctx context.Context, userID int64, clientID string, at time.Time) ([]oauth.Allowed, error)
	UsersAt(ctx context.Context, clientID string, at time.Time, after int64, limit int) ([]oauth.User, error)
	ClientByID(ctx context.Context, id string) (oauth.Client, error)
}

// histories writes what became of applications into the histories of the homes that
// they were for. An event is told again until it is noted that it was told, and each
// history takes it once. It stands there at the time at which it happened.
type histories struct {
	book    connectionBook
	report  func(context.Context, devices.ApplicationReport) error
	outages *outages
	log     *slog.Logger
}

// startHistories tells the histories until the App stops; what waits then is told first.
func (a *App) startHistories() {
	h := histories{book: a.record.OAuth, report: a.record.Devices.ReportApplication, outages: a.outages, log: a.log}
	a.startTeller(a.bell.ears[2], teller{channel: oauth.ChannelHistory, send: h.ruled})
	a.untilStop("tell the histories", func(ctx context.Context, quit <-chan struct{}) { h.run(ctx, quit, a.bell.connections) })
}

// run tells what is due, at once, when it is woken, now and then, and at the end.
func (h histories) run(ctx context.Context, quit, wake <-chan struct{}) {
	ticker := time.NewTicker(eventsEvery)
	defer ticker.Stop()
	for {
		h.tellAll(ctx)
		select {
		case <-quit:
			h.tellAll(ctx)
			return
		case <-wake:
		case <-ticker.C:
		}
	}
}

// tellAll tells until nothing is due. What fails is due again when its lease is over.
func (h histories) tellAll(ctx context.Context) {
	for ctx.Err() == nil {
		due, err := h.book.DueEvents(ctx, eventLease, eventsLease)
		if err != nil {
			h.outages.failed(ctx, slog.LevelError, "events of connections not found", err)
			return
		}
		for _, e := range due {
			if err := h.tell(ctx, e); err != nil {
				h.log.ErrorContext(ctx, "event of a connection not told, later again", "event", e.ID, "client_id", e.ClientID, "err", err)
			}
		}
		if len(due) < eventsLease {
			return
		}
	}
}

// tell tells one event, and notes that it was told.
func (h histories) tell(ctx context.Context, e oauth.ConnectionEvent) error {
	beside, err := h.book.AllowedAt(ctx, e.UserID, e.ClientID, e.At)
	if err != nil {
		return err
	}
	err = h.report(ctx, devices.ApplicationReport{
		// Several events of one moment are one to a site.
		ID:          fmt.Sprintf("%s %s %d %d", e.Kind, e.ClientID, e.UserID, e.At.UnixMicro()),
		At:          e.At,
		Person:      devices.Person{UserID: e.UserID, Name: e.UserName},
		Application: e.ClientName,
		In:          func(siteID int64) devices.ApplicationEvent { return became(e, beside, siteID) },
	})
	if err != nil {
		return err
	}
	return h.book.EventTold(ctx, e)
}

// became is what an event was to a site, beside what the application was allowed then by
// other grants; empty if it changed nothing there.
func became(e oauth.ConnectionEvent, beside []oauth.Allowed, siteID int64) devices.ApplicationEvent {
	if !(oauth.Allowed{Sites: e.Sites}).In(siteID) {
		return ""
	}
	here := slices.DeleteFunc(slices.Clone(beside), func(a oauth.Allowed) bool { return !a.In(siteID) })
	switch {
	case len(here) == 0:
		return eventOf(e)
	case e.Kind == oauth.Connected && !slices.ContainsFunc(here, func(a oauth.Allowed) bool { return e.Scope.Within(a.Scope) }):
		return devices.ApplicationChanged
	default:
		return ""
	}
}

func eventOf(e oauth.ConnectionEvent) devices.ApplicationEvent {
	if e.Kind == oauth.Connected {
		return devices.ApplicationConnected
	}
	switch e.Cause {
	case oauth.CauseApplication:
		return devices.ApplicationGaveUp
	case oauth.CauseReuse:
		return devices.ApplicationMisused
	case oauth.CauseDeletion:
		return devices.ApplicationDeleted
	case oauth.CausePassword:
		return devices.ApplicationPasswordChanged
	default:
		return devices.ApplicationDisconnected
	}
}

// ruled tells of an application that was switched off, or on again, in the homes of all
// people for whom it may do something.
func (h histories) ruled(ctx context.Context, n oauth.Notice) error {
	event := rulingOf(n.Ruling)
	if event == "" {
		return errVain
	}
	client, err := h.book.ClientByID(ctx, n.ClientID)
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		users, err := h.book.UsersAt(ctx, n.ClientID, n.At, after, usersPage)
		if err != nil {
			return err
		}
		for _, u := range users {
			after = u.ID
			if err := h.ruledFor(ctx, n, client, u, event); err != nil {
				return err
			}
		}
		if len(users) < usersPage {
			return nil
		}
	}
}

func (h histories) ruledFor(ctx context.Context, n oauth.Notice, c oauth.Client, u oauth.User, event devices.ApplicationEvent) error {
	allowed, err := h.book.AllowedAt(ctx, u.ID, c.ID, n.At)
	if err != nil {
		return err
	}
	return h.report(ctx, devices.ApplicationReport{
		ID: "ruling " + strconv.FormatInt(n.ID, 10) + " " + strconv.FormatInt(u.ID, 10), At: n.At,
		Person: devices.Person{UserID: u.ID, Name: u.Name}, Application: c.Name,
		In: func(siteID int64) devices.ApplicationEvent {
			if slices.ContainsFunc(allowed, func(a oauth.Allowed) bool { return a.In(siteID) }) {
				return event
			}
			return ""
		},
	})
}

// rulingOf is what a ruling is called in a history; empty of one that nobody there needs
// to know.
func rulingOf(r oauth.Ruling) devices.ApplicationEvent {
	off, on := r.Verdict == oauth.VerdictSwitchOff, r.Verdict == oauth.VerdictReactivation
	switch {
	case off && r.Actor == oauth.ByPolicy:
		return devices.ApplicationWasteful
	case off && r.Actor == oauth.ByAlert:
		return devices.ApplicationOffByAlert
	case off:
		return devices.ApplicationOffByOperator
	case on && r.Actor == oauth.ByOwner:
		return devices.ApplicationOnByOwner
	case on:
		return devices.ApplicationOnByOperator
	default:
		return ""
	}
}
