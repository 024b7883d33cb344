package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify"
	"github.com/foxbridge/foxbridge/oauth"
)

const (
	// noticesEvery is how long a notice that another bridge has left, or that is due again,
	// may wait.
	noticesEvery = 30 * time.Second
	// noticesRecent is how far back is looked when something was ruled just now.
	noticesRecent = 10 * time.Minute
	// noticeLease is longer than it takes to tell a notice and to note it.
	noticeLease = 3 * time.Minute
	// noticeAttempts are made over some three days, then a notice is given up.
	noticeAttempts = 20
	noticeBackoff  = 30 * time.Second // after the first attempt; it doubles up to
	noticeRarest   = 6 * time.Hour

	noticeNotes    = 5 // attempts to note what became of a notice
	noticeNotePace = 200 * time.Millisecond

	linksForgotten = 1_000 // at once
)

// Results of an attempt to tell a notice.
const (
	noticeTold   = "told"
	noticeFailed = "failed"   // it will be tried again
	noticeGiven  = "given_up" // it will not
	noticeVain   = "vain"     // there is nobody to be told, or nothing that concerns them
	noticeHeld   = "withheld" // the owner was told enough in a day, or the operator of that owner
)

// noticeResults are all of them.
func noticeResults() []string {
	return []string{noticeTold, noticeFailed, noticeGiven, noticeVain, noticeHeld}
}

var (
	// errVain says that there is nobody to be told.
	errVain = errors.New("nobody is to be told")
	// errWithheld says that an owner was told enough, or the operator of that owner, which
	// is noted.
	errWithheld = errors.New("enough was told of this owner's applications")
)

// noticeBook is where it is kept who was told of what: an *oauth.Service.
type noticeBook interface {
	DueNotices(ctx context.Context, channel oauth.Channel, age, lease time.Duration, limit int) ([]oauth.Notice, error)
	NoticeTold(ctx context.Context, n oauth.Notice) error
	NoticeLater(ctx context.Context, n oauth.Notice, after time.Duration) error
	ForgetLinks(ctx context.Context, limit int) (int, error)
}

// senders are what a bridge can tell with; nil is a channel that is not configured.
type senders struct {
	mail    *notify.Mailer
	webhook *notify.Webhook
}

// newSenders makes them of the settings, or says which setting is wrong. Nothing is
// connected yet.
func newSenders(cfg config.Config, now func() time.Time) (s senders, err error) {
	switch {
	case cfg.SMTPURL == "" && cfg.MailFrom != "":
		return senders{}, errors.New("mail-from: there is no smtp-url")
	case cfg.SMTPURL != "" && cfg.MailFrom == "":
		return senders{}, errors.New("mail-from: it is missing, and smtp-url needs it")
	case cfg.SMTPURL != "":
		if s.mail, err = notify.NewMailer(cfg.SMTPURL, cfg.MailFrom); err != nil {
			return senders{}, fmt.Errorf("smtp-url, mail-from: %w", err)
		}
	}
	switch {
	case cfg.WebhookURL == "" && cfg.WebhookSecret != "":
		return senders{}, errors.New("webhook-secret: there is no webhook-url")
	case cfg.WebhookURL != "" && cfg.WebhookSecret == "":
		return senders{}, errors.New("webhook-secret: it is missing, and webhook-url needs it")
	case cfg.WebhookURL != "":
		if s.webhook, err = notify.NewWebhook(cfg.WebhookURL, cfg.WebhookSecret, now); err != nil {
			return senders{}, fmt.Errorf("webhook-url, webhook-secret: %w", err)
		}
	}
	return s, nil
}

// bell is an observer that wakes the tellers when something was ruled. It never blocks.
type bell struct {
	oauth.Observer
	ears        []chan struct{}
	connections chan struct{}
}

// Judged tells the observer behind it, and wakes the tellers.
func (b bell) Judged(clientID, verdict, rule string) {
	b.Observer.Judged(clientID, verdict, rule)
	b.ring()
}

// Switched is as Judged, of what others than the policy decide.
func (b bell) Switched(clientID string, off bool, by string) {
	b.Observer.Switched(clientID, off, by)
	b.ring()
}

// ConnectionsChanged wakes who writes the histories alone.
func (b bell) ConnectionsChanged(clientID string) {
	b.Observer.ConnectionsChanged(clientID)
	wake(b.connections)
}

func (b bell) ring() {
	for _, ear := range b.ears {
		wake(ear)
	}
}

func wake(ear chan<- struct{}) {
	select {
	case ear <- struct{}{}:
	default: // it is awake
	}
}

// newBell gives a bell that three tellers hear: those of mail, of the webhook and of the
// histories.
func newBell(o oauth.Observer) bell {
	ear := func() chan struct{} { return make(chan struct{}, 1) }
	return bell{Observer: o, ears: []chan struct{}{ear(), ear(), ear()}, connections: ear()}
}

// startNotices tells of rulings on the channels that are configured.
func (a *App) startNotices(context.Context) error {
	if a.senders.mail != nil {
		post := &post{service: a.record.OAuth, mailer: a.senders.mail, texts: a.mails}
		a.startTeller(a.bell.ears[0], teller{channel: oauth.ChannelMail, send: post.send})
	}
	if a.senders.webhook != nil {
		hook := &hook{service: a.record.OAuth, webhook: a.senders.webhook}
		a.startTeller(a.bell.ears[1], teller{channel: oauth.ChannelWebhook, send: hook.send})
	}
	a.startHistories()
	return nil
}

// startTeller has a teller run until the App stops: then it finishes what it is at, and
// the rest waits in the record.
func (a *App) startTeller(wake <-chan struct{}, t teller) {
	t.book, t.log = a.record.OAuth, a.log.With("channel", string(t.channel))
	t.observe = func(result string) { a.metrics.NoticeAttempted(string(t.channel), result) }
	a.untilStop("tell notices", func(ctx context.Context, quit <-chan struct{}) { t.run(ctx, quit, wake) })
}

// untilStop has run work until the App stops: quit is closed then, and ctx ends when
// there is no more time to finish.
func (a *App) untilStop(doing string, run func(ctx context.Context, quit <-chan struct{})) {
	ctx, cut := context.WithCancel(context.Background())
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		run(ctx, quit)
	}()
	a.onStop(func(ctx context.Context) error {
		defer cut()
		close(quit)
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			cut()
			<-done
			return fmt.Errorf("%s: %w", doing, ctx.Err())
		}
	})
}

// teller tells what was ruled on one channel, at least once, and once unless a bridge
// dies in between. Several bridges may tell from one record: each notice is leased to
// one of them.
type teller struct {
	channel oauth.Channel
	book    noticeBook
	send    func(context.Context, oauth.Notice) error
	observe func(result string)
	log     *slog.Logger
}

// run tells what is due, at once, when it is woken, and now and then, until quit.
func (t teller) run(ctx context.Context, quit, wake <-chan struct{}) {
	ticker := time.NewTicker(noticesEvery)
	defer ticker.Stop()
	age := oauth.NoticeAge
	for {
		t.tellAll(ctx, quit, age)
		select {
		case <-quit:
			return
		case <-ctx.Done():
			return
		case <-wake:
			age = noticesRecent
		case <-ticker.C:
			age = oauth.NoticeAge
			t.forgetLinks(ctx)
		}
	}
}

func (t teller) forgetLinks(ctx context.Context) {
	if t.channel != oauth.ChannelMail {
		return
	}
	if _, err := t.book.ForgetLinks(ctx, linksForgotten); err != nil {
		t.log.ErrorContext(ctx, "expired links not deleted", "err", err)
	}
}

// tellAll tells one notice after the other, until none is due.
func (t teller) tellAll(ctx context.Context, quit <-chan struct{}, age time.Duration) {
	for {
		select {
		case <-quit:
			return
		default:
		}
		due, err := t.book.DueNotices(ctx, t.channel, age, noticeLease, 1)
		if err != nil {
			if ctx.Err() == nil {
				t.log.ErrorContext(ctx, "notices not found", "err", err)
			}
			return
		}
		if len(due) == 0 {
			return
		}
		for _, n := range due {
			t.tell(ctx, n)
		}
	}
}

// tell makes one attempt, and notes what became of it.
func (t teller) tell(ctx context.Context, n oauth.Notice) {
	log := t.log.With("ruling", n.ID, "client_id", n.ClientID, "verdict", string(n.Verdict), "attempt", n.Attempts)
	err := t.send(ctx, n)
	var result string
	switch {
	case err == nil:
		result = noticeTold
		t.note(ctx, log, func(ctx context.Context) error { return t.book.NoticeTold(ctx, n) })
		log.InfoContext(ctx, "notice told")
	case errors.Is(err, errVain):
		result = noticeVain
		t.note(ctx, log, func(ctx context.Context) error { return t.book.NoticeLater(ctx, n, 0) })
		log.InfoContext(ctx, "notice not told", "err", err)
	case errors.Is(err, errWithheld):
		result = noticeHeld
		log.WarnContext(ctx, "notice withheld", "err", err)
	case n.Attempts >= noticeAttempts || errors.Is(err, notify.ErrRefused):
		result = noticeGiven
		t.note(ctx, log, func(ctx context.Context) error { return t.book.NoticeLater(ctx, n, 0) })
		log.ErrorContext(ctx, "notice given up", "err", err)
	default:
		result = noticeFailed
		after := backoff(n.Attempts)
		t.note(ctx, log, func(ctx context.Context) error { return t.book.NoticeLater(ctx, n, after) })
		log.WarnContext(ctx, "notice not told, later again", "err", err, "after", after)
	}
	t.observe(result)
}

// backoff is how long a notice waits after so many attempts.
func backoff(attempts int) time.Duration {
	after := noticeBackoff
	for range attempts - 1 {
		if after *= 2; after >= noticeRarest {
			return noticeRarest
		}
	}
	return after
}

// note writes down what became of a notice, several times if need be: what is told and
// not noted is told again when the lease is over.
func (t teller) note(ctx context.Context, log *slog.Logger, do func(context.Context) error) {
	pace := noticeNotePace
	for i := 1; ; i++ {
		err := do(ctx)
		if err == nil {
			return
		}
		if i == noticeNotes {
			log.ErrorContext(ctx, "what became of a notice is not noted, it may be told again", "err", err)
			return
		}
		select {
		case <-time.After(pace):
			pace *= 2
		case <-ctx.Done():
		}
	}
}
