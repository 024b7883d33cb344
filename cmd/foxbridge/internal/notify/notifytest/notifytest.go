// Package notifytest receives what package notify sends: a mail server and a receiver
// of webhooks, on loopback.
package notifytest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

// Letter is a mail that a Mailbox took over.
type Letter struct {
	From, To string // of the envelope
	Header   mail.Header
	Subject  string
	Text     string
}

// ID is the Message-ID.
func (l Letter) ID() string { return l.Header.Get("Message-Id") }

// Mailbox is a mail server.
type Mailbox struct {
	URL string

	mu      sync.Mutex
	refuse  []int
	letters []Letter
}

// NewMailbox is a Mailbox that lives as long as t.
func NewMailbox(t testing.TB) *Mailbox {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &Mailbox{URL: "smtp://" + listener.Addr().String()}
	server := smtp.NewServer(m)
	server.Domain = "localhost"
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		<-done
	})
	return m
}

// Refuse has the next mails refused, each with one of these codes.
func (m *Mailbox) Refuse(codes ...int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = append(m.refuse, codes...)
}

// Letters are those that were taken over so far.
func (m *Mailbox) Letters() []Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Letter(nil), m.letters...)
}

// NewSession implements smtp.Backend.
func (m *Mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &delivery{mailbox: m}, nil }

type delivery struct {
	mailbox  *Mailbox
	from, to string
}

func (d *delivery) Reset()        {}
func (d *delivery) Logout() error { return nil }

func (d *delivery) Mail(from string, _ *smtp.MailOptions) error {
	d.from = from
	return nil
}

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	m := d.mailbox
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.refuse) > 0 {
		code := m.refuse[0]
		m.refuse = m.refuse[1:]
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 2, 0}, Message: "mailbox full"}
	}
	d.to = to
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	letter, err := read(r)
	if err != nil {
		return err
	}
	letter.From, letter.To = d.from, d.to
	d.mailbox.mu.Lock()
	defer d.mailbox.mu.Unlock()
	d.mailbox.letters = append(d.mailbox.letters, letter)
	return nil
}

func read(r io.Reader) (Letter, error) {
	parsed, err := mail.ReadMessage(r)
	if err != nil {
		return Letter{}, err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil {
		return Letter{}, err
	}
	if encoding := parsed.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
		return Letter{}, fmt.Errorf("the encoding %q", encoding)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
	return Letter{Header: parsed.Header, Subject: subject, Text: string(text)}, err
}

// Event is what a Receiver was told.
type Event struct {
	ID   string         `json:"-"`
	Type string         `json:"type"`
	At   string         `json:"timestamp"`
	Data map[string]any `json:"data"`
}

// Secret is that of a Receiver.
const Secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz" //nolint:gosec // of tests

// Receiver takes webhooks that are signed with Secret, and refuses others.
type Receiver struct {
	URL string

	verify *standardwebhooks.Webhook
	mu     sync.Mutex
	fail   int
	events []Event
}

// NewReceiver is a Receiver that lives as long as t.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	verify, err := standardwebhooks.NewWebhook(Secret)
	require.NoError(t, err)
	r := &Receiver{verify: verify}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Fail has the next n events refused.
func (r *Receiver) Fail(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail += n
}

// Events are those that were taken so far.
func (r *Receiver) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(io.LimitReader(request.Body, 1<<20))
	if err != nil || r.verify.Verify(body, request.Header) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	e := Event{ID: request.Header.Get(standardwebhooks.HeaderWebhookID)}
	if err := json.Unmarshal(body, &e); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.events = append(r.events, e)
}
