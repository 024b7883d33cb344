// Package notify carries what happened to people and to the operator: mail by SMTP,
// and signed webhooks. It decides nothing and keeps nothing: an error means that the
// message has to be sent again, later.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

// ErrRefused says that the receiver is no address that takes mail: sending it again
// is in vain.
var ErrRefused = errors.New("refused for good")

// Mail is one message to one person, as plain text.
type Mail struct {
	ID      string // the same each time this message is sent, so that a repeat can be told; 1 to 64 of a-z, 0-9 and -
	To      string // address
	Subject string
	Text    string // UTF-8, lines of any length
}

// Mailer sends mail through one server. It may be used concurrently.
type Mailer struct {
	from    string
	host    string
	options []mail.Option
}

const mailTimeout = 30 * time.Second

// NewMailer sends from an address through the server at smtpURL:
//
//	smtps://USER:PASSWORD@HOST:465   TLS from the first byte
//	smtp://USER:PASSWORD@HOST:587    STARTTLS, without which nothing is sent
//	smtp://127.0.0.1:25              to this machine's own server, in the clear
//
// User and password may be left out. No error repeats the URL.
func NewMailer(smtpURL, from string) (*Mailer, error) {
	if err := mail.NewMsg().From(from); err != nil {
		return nil, errors.New("configure mail: the sender is not an e-mail address")
	}
	u, err := url.Parse(smtpURL)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("configure mail: the server is not smtp://HOST:PORT or smtps://HOST:PORT")
	}
	m := &Mailer{from: from, host: u.Hostname(), options: []mail.Option{mail.WithTimeout(mailTimeout)}}
	if err := m.secure(u); err != nil {
		return nil, err
	}
	if password, given := u.User.Password(); given {
		m.options = append(m.options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	}
	_, err = mail.NewClient(m.host, m.options...)
	if err != nil {
		return nil, fmt.Errorf("configure mail: %w", err)
	}
	return m, nil
}

// secure chooses how the connection is kept from others' eyes.
func (m *Mailer) secure(u *url.URL) error {
	port := map[string]int{"smtps": 465, "smtp": 587}[u.Scheme]
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return errors.New("configure mail: the server has no port from 1 to 65535")
		}
		port = int(n)
	}
	switch {
	case u.Scheme == "smtps":
		m.options = append(m.options, mail.WithSSL())
	case u.Scheme == "smtp" && isLoopback(u.Hostname()):
		m.options = append(m.options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	case u.Scheme == "smtp":
		m.options = append(m.options, mail.WithTLSPolicy(mail.TLSMandatory))
	default:
		return errors.New("configure mail: the server is named by neither smtp nor smtps")
	}
	m.options = append(m.options, mail.WithPort(port))
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Send hands a message to the server. It returns nil once the server has taken it
// over.
func (m *Mailer) Send(ctx context.Context, message Mail) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	msg, err := m.compose(message)
	if err != nil {
		return fmt.Errorf("compose mail %s: %w", message.ID, err)
	}
	client, err := mail.NewClient(m.host, m.options...)
	if err != nil {
		return fmt.Errorf("send mail %s: %w", message.ID, err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		if refusal, is := errors.AsType[*mail.SendError](err); is && refusal.ErrorCode() >= 500 {
			return fmt.Errorf("send mail %s: %w: %w", message.ID, ErrRefused, err)
		}
		return fmt.Errorf("send mail %s: %w", message.ID, err)
	}
	return nil
}

func (m *Mailer) compose(message Mail) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(m.from), msg.To(message.To)); err != nil {
		return nil, err
	}
	msg.SetMessageIDWithValue(message.ID + "@" + m.host)
	msg.SetDate()
	msg.Subject(message.Subject)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's robot answers it
	msg.SetBodyString(mail.TypeTextPlain, message.Text)
	return msg, nil
}
