package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Event is what a webhook tells.
type Event struct {
	ID   string    `json:"-"`    // webhook-id: the same each time this event is sent
	Type string    `json:"type"` // such as "client.switched_off"
	At   time.Time `json:"timestamp"`
	Data any       `json:"data"`
}

// Webhook posts events to one address, signed as the Standard Webhooks specification
// has it. It may be used concurrently.
type Webhook struct {
	url    string
	sign   *standardwebhooks.Webhook
	now    func() time.Time
	client *http.Client
}

const webhookTimeout = 15 * time.Second

// NewWebhook posts to an https address, or to plain http on this machine's loopback.
// The secret is whsec_ and base64, or base64 alone. No error repeats either.
func NewWebhook(address, secret string, now func() time.Time) (*Webhook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("configure webhook: the address is not https, nor http on this machine")
	}
	sign, err := standardwebhooks.NewWebhook(secret)
	if err != nil || len(secret) < 32 {
		return nil, errors.New("configure webhook: the secret is not at least 24 bytes in base64")
	}
	return &Webhook{
		url: address, sign: sign, now: now,
		client: &http.Client{
			Timeout: webhookTimeout,
			// What is signed for one address goes to no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Send posts an event. It returns nil once the receiver has answered 2xx.
func (w *Webhook) Send(ctx context.Context, e Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write webhook %s: %w", e.ID, err)
	}
	at := w.now()
	signature, err := w.sign.Sign(e.ID, at, body)
	if err != nil {
		return fmt.Errorf("sign webhook %s: %w", e.ID, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send webhook %s: %w", e.ID, withoutURL(err))
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(standardwebhooks.HeaderWebhookID, e.ID)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	answer, err := w.client.Do(r)
	if err != nil {
		return fmt.Errorf("send webhook %s: %w", e.ID, withoutURL(err))
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10) // so that the connection can be used again
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("send webhook %s: the receiver answered %d", e.ID, answer.StatusCode)
	}
	return nil
}

// withoutURL is an error of net/http less the address, which may hold a token.
func withoutURL(err error) error {
	if wrapped, is := errors.AsType[*url.Error](err); is {
		return wrapped.Err
	}
	return err
}
