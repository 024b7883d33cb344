package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// hook tells the operator's webhook.
type hook struct {
	service *oauth.Service
	webhook *notify.Webhook
}

// ruled is the data of an event; docs/issuance.md describes it.
type ruled struct {
	RulingID   int64       `json:"ruling_id"`
	ClientID   string      `json:"client_id"`
	ClientName string      `json:"client_name,omitempty"`
	OwnerID    int64       `json:"owner_id,omitempty"`
	By         oauth.Actor `json:"by"`
	Reason     string      `json:"reason,omitempty"`
	Rule       string      `json:"rule,omitempty"`
	Window     int64       `json:"window_seconds,omitempty"`
	Count      int         `json:"count,omitempty"`
	Inherited  int         `json:"inherited,omitempty"` // of Count, by deleted applications of the owner
	Allowed    int         `json:"allowed,omitempty"`
	First      *time.Time  `json:"first,omitempty"`
	Last       *time.Time  `json:"last,omitempty"`
	Grant      string      `json:"grant_type,omitempty"`
	Lever      oauth.Lever `json:"lever,omitempty"`
	URL        string      `json:"url"`
}

// eventType is what a verdict is called there.
func eventType(v oauth.Verdict) string {
	switch v {
	case oauth.VerdictSwitchOff:
		return "client.switched_off"
	case oauth.VerdictShadow:
		return "client.would_be_switched_off"
	case oauth.VerdictReactivation:
		return "client.reactivated"
	default:
		return "client." + string(v)
	}
}

// send posts a ruling. Of the applications of one owner only so many are posted in a day,
// whether or not they are deleted by now.
func (h *hook) send(ctx context.Context, n oauth.Notice) error {
	registered, err := h.service.ClientByID(ctx, n.ClientID)
	if err != nil {
		return err
	}
	switch may, err := h.service.AttemptNotice(ctx, n, registered.OwnerID); {
	case err != nil:
		return err
	case !may:
		return fmt.Errorf("%w: events of %s", errWithheld, oauth.OwnerNoticesWithin)
	}
	data := ruled{
		RulingID: n.ID, ClientID: n.ClientID, By: n.Actor, Reason: n.Reason, Grant: n.Grant, Lever: n.Lever,
		URL: h.service.Issuer() + "/dev/apps/" + n.ClientID,
	}
	if n.Rule != "" {
		first, last := n.First.UTC(), n.At.UTC()
		data.Rule, data.Window = oauthhttp.RuleName(n.Rule), int64(n.Rule.Window()/time.Second)
		data.Count, data.Inherited, data.Allowed, data.First, data.Last = n.Used, n.Inherited, n.Allowed, &first, &last
	}
	client, owner, err := h.service.Owner(ctx, n.ClientID)
	switch {
	case err == nil:
		data.ClientName, data.OwnerID = client.Name, owner.ID
	case !errors.Is(err, oauth.ErrNotFound): // what is deleted is told of as well
		return err
	}
	return h.webhook.Send(ctx, notify.Event{ID: noticeID(n), Type: eventType(n.Verdict), At: n.At.UTC(), Data: data})
}
