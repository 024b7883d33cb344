package notify_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify/notifytest"
)

func TestMailArrivesAsItWasWritten(t *testing.T) {
	t.Parallel()
	box := notifytest.NewMailbox(t)
	m, err := notify.NewMailer(box.URL, "Foxbridge <cloud@example.org>")
	require.NoError(t, err)
	require.NoError(t, m.Send(t.Context(), notify.Mail{ID: "verdict-17", To: "zoé@example.org", Subject: "Épuisé", Text: "Ligne une\r\nÀ bientôt"}))
	require.Len(t, box.Letters(), 1)
	got := box.Letters()[0]
	require.Equal(t, "cloud@example.org", got.From)
	require.Equal(t, "zoé@example.org", got.To)
	require.Equal(t, "Épuisé", got.Subject)
	require.Equal(t, "<verdict-17@127.0.0.1>", got.ID(), "a repeat of a message can be told by its id")
	require.Equal(t, "auto-generated", got.Header.Get("Auto-Submitted"))
}

func TestMailThatIsNotTakenOverIsAnError(t *testing.T) {
	t.Parallel()
	box := notifytest.NewMailbox(t)
	box.Refuse(451)
	m, err := notify.NewMailer(box.URL, "cloud@example.org")
	require.NoError(t, err)
	require.ErrorContains(t, m.Send(t.Context(), notify.Mail{ID: "a", To: "zoe@example.org", Subject: "s", Text: "t"}), "mailbox full")

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, m.Send(canceled, notify.Mail{ID: "b", To: "zoe@example.org", Subject: "s", Text: "t"}))
	require.Error(t, m.Send(t.Context(), notify.Mail{ID: "c", To: "nobody", Subject: "s", Text: "t"}), "the receiver is no address")
	err = m.Send(t.Context(), notify.Mail{ID: "d", To: "zoe@example.org\r\nBcc: all@example.org", Subject: "s", Text: "t"})
	require.Error(t, err, "nobody adds a header through an address")
}

func TestMailGoesInTheClearToThisMachineOnly(t *testing.T) {
	t.Parallel()
	// A server without STARTTLS, under a name that is not loopback's to the letter.
	_, port, err := net.SplitHostPort(strings.TrimPrefix(notifytest.NewMailbox(t).URL, "smtp://"))
	require.NoError(t, err)
	m, err := notify.NewMailer("smtp://0.0.0.0:"+port, "cloud@example.org")
	require.NoError(t, err)
	require.ErrorContains(t, m.Send(t.Context(), notify.Mail{ID: "a", To: "zoe@example.org", Subject: "s", Text: "t"}), "STARTTLS")
}

func TestMailServerAndSenderAreChecked(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"", "mail.example.org", "http://mail.example.org", "smtp://", "smtp://h:0", "smtp://h:99999", "smtp://h/path", "smtp://u:hunter2secret@h:x"} {
		_, err := notify.NewMailer(server, "cloud@example.org")
		require.Error(t, err, server)
		require.NotContains(t, err.Error(), "hunter2secret")
	}
	_, err := notify.NewMailer("smtps://u:p@mail.example.org", "nobody")
	require.ErrorContains(t, err, "sender")
	_, err = notify.NewMailer("smtps://u:p@mail.example.org", "cloud@example.org")
	require.NoError(t, err)
}

const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz" //nolint:gosec // of a test

func TestWebhookIsSignedForItsReceiver(t *testing.T) {
	t.Parallel()
	verify, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	bodies := make(chan []byte, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || verify.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		bodies <- body
	}))
	t.Cleanup(receiver.Close)
	hook, err := notify.NewWebhook(receiver.URL, secret, time.Now)
	require.NoError(t, err)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	require.NoError(t, hook.Send(t.Context(), notify.Event{ID: "verdict-17", Type: "client.switched_off", At: at, Data: map[string]int{"count": 21}}))
	var got map[string]any
	require.NoError(t, json.Unmarshal(<-bodies, &got))
	require.Equal(t, map[string]any{"type": "client.switched_off", "timestamp": "2026-03-01T12:00:00Z", "data": map[string]any{"count": 21.0}}, got)

	stranger, err := notify.NewWebhook(receiver.URL, "whsec_MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEw", time.Now)
	require.NoError(t, err)
	require.ErrorContains(t, stranger.Send(t.Context(), notify.Event{ID: "x"}), "answered 401")
}

func TestWebhookIsNotRedirectedAndKeepsItsAddressToItself(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	t.Cleanup(other.Close)
	receiver := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	hook, err := notify.NewWebhook(receiver.URL+"/?token=hunter2secret", secret, time.Now)
	require.NoError(t, err)
	require.ErrorContains(t, hook.Send(t.Context(), notify.Event{ID: "x"}), "answered 307")
	require.Empty(t, asked)
	receiver.Close()
	err = hook.Send(t.Context(), notify.Event{ID: "x"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2secret")
}

func TestWebhookAddressAndSecretAreChecked(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "ftp://example.org", "http://example.org/hook", "https://", "https://u:p@example.org"} {
		_, err := notify.NewWebhook(address, secret, time.Now)
		require.Error(t, err, address)
	}
	for _, bad := range []string{"", "whsec_", "whsec_!!!", "c2hvcnQ="} {
		_, err := notify.NewWebhook("https://example.org", bad, time.Now)
		require.Error(t, err, bad)
	}
}
