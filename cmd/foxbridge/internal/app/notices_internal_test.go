package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify/notifytest"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

const ownerEmail, ownerPassword = "zoe@example.org", "correct horse battery staple"

// ruled is a record with an application that is judged, and a clock.
type ruledRecord struct {
	t       testing.TB
	service *oauth.Service
	client  oauth.Client
	secret  string

	store     oauth.Store // of the service
	passwords *oauth.Passwords

	mu      sync.Mutex
	now     time.Time
	log     bytes.Buffer
	logger  *slog.Logger // the one that writes log, so that its lines come one by one
	results []string
}

func newRuled(t testing.TB, store oauth.Store, mode oauth.Mode) *ruledRecord {
	t.Helper()
	r := &ruledRecord{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.logger = slog.New(slog.NewTextHandler(&r.log, nil))
	passwords, err := oauth.NewPasswords(oauth.PasswordOptions{
		Workers: 2, Params: argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
	})
	require.NoError(t, err)
	r.store, r.passwords = store, passwords
	r.service, err = oauth.New(oauth.Options{
		Store: store, Passwords: passwords, Now: r.Now, Issuer: "https://foxbridge.example",
		Mode: mode, Limits: &oauth.Limits{Hour: 4, Day: 10}, OperatorContact: "help@foxbridge.example",
	})
	require.NoError(t, err)
	_, err = r.service.AddUser(t.Context(), ownerEmail, "Zoé", ownerPassword)
	require.NoError(t, err)
	r.client, r.secret, err = r.service.AddClient(t.Context(), ownerEmail, "Morning\u00a0 script")
	require.NoError(t, err)
	return r
}

func onSQLite(t testing.TB) *ruledRecord {
	t.Helper()
	return newRuled(t, oauthsqlite.New(migrationstest.SQLite(t)), oauth.ModeEnforce)
}

func (r *ruledRecord) Now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *ruledRecord) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *ruledRecord) saw(result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

// asks has the application ask for n tokens.
func (r *ruledRecord) asks(n int) {
	r.t.Helper()
	for range n {
		_, _ = r.service.Token(r.t.Context(), oauth.TokenRequest{
			GrantType: "password", ClientID: r.client.ID, ClientSecret: r.secret, Username: ownerEmail, Password: ownerPassword,
		})
	}
}

func (r *ruledRecord) teller(book noticeBook, channel oauth.Channel, send func(context.Context, oauth.Notice) error) teller {
	return teller{channel: channel, book: book, send: send, observe: r.saw, log: r.logger}
}

func (r *ruledRecord) post(box *notifytest.Mailbox) *post {
	r.t.Helper()
	mailer, err := notify.NewMailer(box.URL, "Foxbridge <cloud@example.org>")
	require.NoError(r.t, err)
	texts, err := newMails()
	require.NoError(r.t, err)
	return &post{service: r.service, mailer: mailer, texts: texts}
}

// pass tells all that is due.
func (t teller) pass(ctx context.Context) { t.tellAll(ctx, make(chan struct{}), oauth.NoticeAge) }

func TestEachVerdictIsMailedOnceInWordsThatExplainIt(t *testing.T) {
	t.Parallel()
	r, box := onSQLite(t), notifytest.NewMailbox(t)
	mail := r.teller(r.service, oauth.ChannelMail, r.post(box).send)
	r.asks(2)
	mail.pass(t.Context())
	require.Empty(t, box.Letters())
	r.asks(5)
	mail.pass(t.Context())
	mail.pass(t.Context())
	letters := box.Letters()
	require.Len(t, letters, 3)
	page := "https://foxbridge.example/dev/apps/" + r.client.ID
	for i, want := range []struct {
		subject string
		text    []string
	}{
		{`Application "Morning script": at least half of its limit is used up / au moins la moitié de sa limite est atteinte`, []string{
			"was issued 2 access tokens within one hour that it did not need. 4 are allowed, and at least half of that is used up.", "a reçu 2 jetons d'accès inutiles en une heure. 4 sont autorisés",
		}},
		{`Application "Morning script": about to be switched off / bientôt désactivée`, []string{"was issued 4 access tokens within one hour", "until you have reactivated it", "tant que vous ne l'avez pas réactivée"}},
		{`Application "Morning script": switched off / désactivée`, []string{
			"it asked for 5 access tokens within one hour that it did not need, on 2026-03-01 12:00 UTC. 4 are allowed. It gets no new tokens, and those that it has are refused.",
			"The link is good for one reactivation, for 14 days, and only for you", "Ask for a new one when the API answers 401",
		}},
	} {
		require.Equal(t, want.subject, letters[i].Subject)
		require.Equal(t, ownerEmail, letters[i].To)
		for _, text := range append(want.text, "Hello Zoé,", "Bonjour Zoé,", page) {
			require.Contains(t, strings.ReplaceAll(letters[i].Text, "\r\n", "\n"), text)
		}
		require.NotContains(t, letters[i].Text, "<no value>")
	}
	require.NotContains(t, letters[0].Text+letters[1].Text, "?link=")
	links := regexp.MustCompile(regexp.QuoteMeta(page)+`\?link=([0-9a-f]{64})\b`).FindAllStringSubmatch(letters[2].Text, -1)
	require.Len(t, links, 2, "in both languages")
	require.Equal(t, links[0], links[1])
	state, err := r.service.Link(t.Context(), r.client.ID, links[0][1])
	require.NoError(t, err)
	require.Equal(t, oauth.LinkGood, state)
	require.NotContains(t, r.log.String(), links[0][1])
	require.Equal(t, []string{"told", "told", "told"}, r.results)
}

// forgetful is a book that fails to note what was told, so many times.
type forgetful struct {
	noticeBook
	mu   sync.Mutex
	fail int
}

func (f *forgetful) NoticeTold(ctx context.Context, n oauth.Notice) error {
	f.mu.Lock()
	f.fail--
	failing := f.fail >= 0
	f.mu.Unlock()
	if failing {
		return errors.New("the database is away")
	}
	return f.noticeBook.NoticeTold(ctx, n)
}

func TestAMailIsSentOnceOverFailures(t *testing.T) {
	t.Parallel()
	r, box := onSQLite(t), notifytest.NewMailbox(t)
	mail := r.teller(&forgetful{noticeBook: r.service, fail: 2}, oauth.ChannelMail, r.post(box).send)
	box.Refuse(451, 421)
	r.asks(6)
	mail.pass(t.Context())
	require.Len(t, box.Letters(), 1, "two were put off")
	r.advance(noticeBackoff)
	mail.pass(t.Context())
	r.advance(24 * time.Hour)
	mail.pass(t.Context())
	var ids []string
	for _, l := range box.Letters() {
		ids = append(ids, l.ID())
	}
	require.Len(t, ids, 3)
	require.ElementsMatch(t, []string{"failed", "failed", "told", "told", "told"}, r.results)
	require.NotEqual(t, ids[0], ids[1])
}

func TestSeveralBridgesTellEachNoticeOnce(t *testing.T) {
	t.Parallel()
	stores := map[string]func(testing.TB) oauth.Store{
		"SQLite":     func(t testing.TB) oauth.Store { return oauthsqlite.New(migrationstest.SQLite(t)) },
		"PostgreSQL": func(t testing.TB) oauth.Store { return oauthpgx.New(migrationstest.Postgres(t)) },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, box := newRuled(t, open(t), oauth.ModeEnforce), notifytest.NewMailbox(t)
			r.asks(6)
			p := r.post(box)
			var all sync.WaitGroup
			for range 4 {
				bridge := r.teller(r.service, oauth.ChannelMail, p.send)
				all.Go(func() { bridge.pass(t.Context()) })
			}
			all.Wait()
			require.Len(t, box.Letters(), 3)
		})
	}
}

func TestANoticeIsTriedEverMoreRarelyAndThenGivenUp(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	tries := 0
	failing := r.teller(r.service, oauth.ChannelMail, func(context.Context, oauth.Notice) error {
		tries++
		return errors.New("connection refused")
	})
	r.asks(3) // one notice
	began := r.Now()
	for range 100 {
		failing.pass(t.Context())
		r.advance(noticeRarest)
	}
	require.Equal(t, noticeAttempts, tries)
	require.Equal(t, "given_up", r.results[noticeAttempts-1])
	require.Contains(t, r.log.String(), "notice given up")
	require.True(t, r.Now().After(began))

	require.Equal(t, noticeBackoff, backoff(1))
	require.Equal(t, 2*noticeBackoff, backoff(2))
	require.Equal(t, noticeRarest, backoff(noticeAttempts))
	var last time.Duration
	for n := range noticeAttempts {
		require.GreaterOrEqual(t, backoff(n+1), last)
		last = backoff(n + 1)
	}
}

func TestAnAddressThatTakesNoMailIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	r, box := onSQLite(t), notifytest.NewMailbox(t)
	box.Refuse(550)
	r.asks(3)
	r.teller(r.service, oauth.ChannelMail, r.post(box).send).pass(t.Context())
	r.advance(24 * time.Hour)
	r.teller(r.service, oauth.ChannelMail, r.post(box).send).pass(t.Context())
	require.Empty(t, box.Letters())
	require.Equal(t, []string{"given_up"}, r.results)
}

func TestOwnersAreNotToldOfWhatDoesNotConcernThem(t *testing.T) {
	t.Parallel()
	box := notifytest.NewMailbox(t)
	shadow := newRuled(t, oauthsqlite.New(migrationstest.SQLite(t)), oauth.ModeShadow)
	shadow.asks(8)
	shadow.teller(shadow.service, oauth.ChannelMail, shadow.post(box).send).pass(t.Context())
	require.Equal(t, []string{"vain", "vain"}, shadow.results)

	disabled := onSQLite(t)
	disabled.asks(3)
	require.NoError(t, disabled.service.DisableUser(t.Context(), ownerEmail))
	disabled.teller(disabled.service, oauth.ChannelMail, disabled.post(box).send).pass(t.Context())
	require.Equal(t, []string{"vain"}, disabled.results)
	require.Empty(t, box.Letters())
}

// Whoever registers with the address of somebody else cannot have that person mailed without end.
func TestAnOwnerIsMailedOnlySoOftenADay(t *testing.T) {
	t.Parallel()
	r, box, receiver := onSQLite(t), notifytest.NewMailbox(t), notifytest.NewReceiver(t)
	webhook, err := notify.NewWebhook(receiver.URL, notifytest.Secret, time.Now)
	require.NoError(t, err)
	mail := r.teller(r.service, oauth.ChannelMail, r.post(box).send)
	rulings := 0
	round := func() {
		r.client, r.secret, err = r.service.AddClient(t.Context(), ownerEmail, "You have won! See evil.example")
		require.NoError(t, err)
		r.asks(7)
		mail.pass(t.Context())
		list, err := r.service.Verdicts(t.Context(), r.client.ID, 0)
		require.NoError(t, err)
		rulings += len(list)
		require.NoError(t, r.service.DeleteClient(t.Context(), r.client.ID))
	}
	for range 10 {
		round()
	}
	require.Len(t, box.Letters(), oauth.OwnerMails)
	require.Contains(t, r.results, "withheld")
	require.Contains(t, r.log.String(), "notice withheld")
	r.advance(oauth.OwnerNoticesWithin)
	mail.pass(t.Context())
	require.Len(t, box.Letters(), oauth.OwnerMails, "what was withheld stays so")
	round()
	require.Greater(t, len(box.Letters()), oauth.OwnerMails, "the next day is another one")
	require.LessOrEqual(t, len(box.Letters()), 2*oauth.OwnerMails)

	r.teller(r.service, oauth.ChannelWebhook, (&hook{service: r.service, webhook: webhook}).send).pass(t.Context())
	require.Len(t, receiver.Events(), rulings, "the operator is told all, and the record has it")
}

// The mail that says that something is off is the last one to be left out.
func TestAMailAboutASwitchingOffHasAPlaceOfItsOwn(t *testing.T) {
	t.Parallel()
	r, box := onSQLite(t), notifytest.NewMailbox(t)
	mail := r.teller(r.service, oauth.ChannelMail, r.post(box).send)
	var told []string
	for range 5 { // episodes
		r.asks(6)
		r.log.Reset()
		mail.pass(t.Context())
		var verdicts []string
		for _, m := range regexp.MustCompile(`msg="notice told".* verdict=(\w+)`).FindAllStringSubmatch(r.log.String(), -1) {
			verdicts = append(verdicts, m[1])
		}
		told = append(told, strings.Join(verdicts, " "))
		did, err := r.service.Reactivate(t.Context(), r.client.ID, oauth.ByOperator, "", "")
		require.NoError(t, err)
		require.True(t, did)
		r.advance(time.Minute)
	}
	require.Equal(t, []string{"notice warning switch_off", "notice warning switch_off", "notice switch_off", "switch_off", ""}, told)
	require.Len(t, box.Letters(), oauth.OwnerMails)
}

// What one person makes happen reaches the operator only so often, and delays nothing of
// others.
func TestTheOperatorIsToldOfAnOwnerOnlySoOftenADay(t *testing.T) {
	t.Parallel()
	r, receiver := onSQLite(t), notifytest.NewReceiver(t)
	webhook, err := notify.NewWebhook(receiver.URL, notifytest.Secret, time.Now)
	require.NoError(t, err)
	_, err = r.service.AddUser(t.Context(), "other@example.org", "Other", ownerPassword)
	require.NoError(t, err)
	other, _, err := r.service.AddClient(t.Context(), "other@example.org", "Evening script")
	require.NoError(t, err)
	off := func(c oauth.Client) {
		_, err := r.service.SwitchOff(t.Context(), c.ID, oauth.ByAlert, "", "too busy")
		require.NoError(t, err)
	}
	for range oauth.OwnerEvents/2 + 3 {
		off(r.client)
		_, err = r.service.Reactivate(t.Context(), r.client.ID, oauth.ByOperator, "", "")
		require.NoError(t, err)
	}
	off(other)
	r.teller(r.service, oauth.ChannelWebhook, (&hook{service: r.service, webhook: webhook}).send).pass(t.Context())
	events := receiver.Events()
	require.Len(t, events, oauth.OwnerEvents+1)
	require.Equal(t, other.ID, events[oauth.OwnerEvents].Data["client_id"])
	require.Equal(t, 6, strings.Count(r.log.String(), "notice withheld"))
}

func TestAMailTellsWhoDecides(t *testing.T) {
	t.Parallel()
	r, box := onSQLite(t), notifytest.NewMailbox(t)
	mail := r.teller(r.service, oauth.ChannelMail, r.post(box).send)
	_, err := r.service.SwitchOff(t.Context(), r.client.ID, oauth.ByAlert, "", "alert Storm:\ttoo busy")
	require.Error(t, err, "a reason is one line")
	_, err = r.service.SwitchOff(t.Context(), r.client.ID, oauth.ByAlert, "", "alert Storm: too busy")
	require.NoError(t, err)
	mail.pass(t.Context())
	text := box.Letters()[0].Text
	require.Contains(t, text, "switched off by the operator's monitoring on 2026-03-01 12:00 UTC. The reason given: \"alert Storm: too busy\". It gets no new tokens")
	require.Contains(t, text, "La raison donnée : « alert Storm: too busy ». Elle ne reçoit")
	require.NotContains(t, text, "What to change")
	require.Contains(t, text, "?link=")

	_, err = r.service.SwitchOff(t.Context(), r.client.ID, oauth.ByOperator, "", "abuse")
	require.NoError(t, err)
	mail.pass(t.Context())
	text = box.Letters()[1].Text
	require.Contains(t, text, "Only an operator can reactivate it. Write to help@foxbridge.example, say what you have changed, and give the client ID "+r.client.ID+". What happened is on its page:")
	require.Contains(t, text, "Seul un opérateur peut la réactiver. Écrivez à help@foxbridge.example, dites ce que vous avez changé et donnez l'identifiant client "+r.client.ID)
	require.NotContains(t, text, "?link=")

	_, err = r.service.SwitchOff(t.Context(), r.client.ID, oauth.ByOperator, "", "abuse again")
	require.NoError(t, err)
	_, err = r.service.Reactivate(t.Context(), r.client.ID, oauth.ByOperator, "", "")
	require.NoError(t, err)
	mail.pass(t.Context())
	require.Contains(t, box.Letters()[2].Text, "It has been reactivated since.")
}

// The third time an owner is told before and after that it is the operator who decides,
// whom to ask, and from when they may again.
func TestAMailTellsThatNoReactivationIsLeft(t *testing.T) {
	t.Parallel()
	r, box := onSQLite(t), notifytest.NewMailbox(t)
	var err error
	r.service, err = oauth.New(oauth.Options{
		Store: r.store, Passwords: r.passwords, Now: r.Now, Issuer: "https://foxbridge.example", Limits: &oauth.Limits{Hour: 1, Day: 10},
	})
	require.NoError(t, err)
	for range 2 {
		r.asks(3)
		did, err := r.service.ReactivateOwn(t.Context(), r.client.OwnerID, r.client.ID, "", netip.Addr{})
		require.NoError(t, err)
		require.True(t, did)
		r.advance(48 * time.Hour)
	}
	r.asks(3)
	r.teller(r.service, oauth.ChannelMail, r.post(box).send).pass(t.Context())
	letters := box.Letters()
	warning, off := letters[len(letters)-2], letters[len(letters)-1]
	require.Contains(t, warning.Subject, "about to be switched off")
	for letter, texts := range map[string][]string{
		warning.Text: {
			"was issued 1 access token within one hour that it did not need. 1 is allowed. If it asks for more than 1, it gets no tokens any more until the operator of this service has reactivated it: you have done so twice in 30 days.",
			"1 jeton d'accès inutile en une heure. 1 est autorisé. Si elle en demande plus de 1, elle ne reçoit plus aucun jeton tant que l'opérateur de ce service ne l'a pas réactivée",
		},
		off.Text: {
			"it asked for 2 access tokens within one hour that it did not need, on 2026-03-05 12:00 UTC. 1 is allowed.",
			"You have reactivated it twice in 30 days, so now only an operator can; from 2026-03-31 12:00 UTC on you can do it yourself again. Ask whoever runs this service for you, say what you have changed, and give the client ID " + r.client.ID,
			"À partir du 2026-03-31 12:00 UTC, vous pourrez de nouveau le faire vous-même. Demandez à la personne qui gère ce service",
		},
	} {
		for _, text := range texts {
			require.Contains(t, strings.ReplaceAll(letter, "\r\n", "\n"), text)
		}
	}
}

func TestTheOperatorIsToldByASignedWebhook(t *testing.T) {
	t.Parallel()
	r, receiver := onSQLite(t), notifytest.NewReceiver(t)
	webhook, err := notify.NewWebhook(receiver.URL, notifytest.Secret, time.Now)
	require.NoError(t, err)
	tell := r.teller(r.service, oauth.ChannelWebhook, (&hook{service: r.service, webhook: webhook}).send)
	receiver.Fail(1)
	r.asks(6)
	r.advance(time.Second)
	_, err = r.service.Reactivate(t.Context(), r.client.ID, oauth.ByOperator, "", "mended")
	require.NoError(t, err)
	tell.pass(t.Context())
	require.Len(t, receiver.Events(), 3)
	r.advance(noticeBackoff)
	tell.pass(t.Context())
	tell.pass(t.Context())
	byType := make(map[string]notifytest.Event)
	for _, e := range receiver.Events() {
		byType[e.Type] = e
	}
	require.Len(t, receiver.Events(), 4)
	for _, name := range []string{"client.notice", "client.warning", "client.switched_off", "client.reactivated"} {
		require.Contains(t, byType, name)
	}
	off := byType["client.switched_off"]
	require.Equal(t, "2026-03-01T12:00:00Z", off.At)
	delete(off.Data, "ruling_id")
	require.Equal(t, map[string]any{
		"client_id": r.client.ID, "client_name": r.client.Name, "owner_id": float64(r.client.OwnerID), "by": "policy",
		"rule": "wasteful_tokens_per_hour", "window_seconds": 3600.0, "count": 5.0, "allowed": 4.0,
		"first": "2026-03-01T12:00:00Z", "last": "2026-03-01T12:00:00Z", "grant_type": "password", "lever": "off",
		"url": "https://foxbridge.example/dev/apps/" + r.client.ID,
	}, off.Data)
	require.Equal(t, "operator", byType["client.reactivated"].Data["by"])
	require.Equal(t, "mended", byType["client.reactivated"].Data["reason"])

	shadow := newRuled(t, oauthsqlite.New(migrationstest.SQLite(t)), oauth.ModeShadow)
	shadow.asks(6)
	shadow.teller(shadow.service, oauth.ChannelWebhook, (&hook{service: shadow.service, webhook: webhook}).send).pass(t.Context())
	events := receiver.Events()
	require.Equal(t, "client.would_be_switched_off", events[len(events)-1].Type)
}

func TestSendersAreCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]config.Config{
		"smtp-url":                      {SMTPURL: "http://hunter2secret@mail.example.org", MailFrom: "cloud@example.org"},
		"mail-from: it is missing":      {SMTPURL: "smtps://mail.example.org"},
		"mail-from: there is no smtp":   {MailFrom: "cloud@example.org"},
		"webhook-secret: it is missing": {WebhookURL: "https://example.org/hunter2secret"},
		"webhook-url":                   {WebhookURL: "http://example.org/hunter2secret", WebhookSecret: notifytest.Secret},
		"there is no webh":              {WebhookSecret: notifytest.Secret},
		"webhook-secret":                {WebhookURL: "https://example.org/hunter2secret", WebhookSecret: "short"},
	} {
		_, err := newSenders(cfg, time.Now)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2secret")
	}
	s, err := newSenders(config.Config{}, time.Now)
	require.NoError(t, err)
	require.Nil(t, s.mail)
	require.Nil(t, s.webhook)
}

func TestATellerWakesAndFinishesWhatItIsAt(t *testing.T) {
	t.Parallel()
	r := onSQLite(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	busy := r.teller(r.service, oauth.ChannelMail, func(context.Context, oauth.Notice) error {
		began <- struct{}{}
		<-goOn
		return nil
	})
	rung := newBell(silent{})
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		busy.run(t.Context(), quit, rung.ears[0])
	}()
	r.asks(6)
	rung.Judged(r.client.ID, "notice", "policy")
	rung.Judged(r.client.ID, "warning", "policy") // nobody waits for it to be heard
	<-began
	close(quit)
	close(goOn)
	<-done
	require.Equal(t, []string{"told"}, r.results, "the rest waits in the record")
	left, err := r.service.DueNotices(t.Context(), oauth.ChannelMail, oauth.NoticeAge, noticeLease, 10)
	require.NoError(t, err)
	require.Len(t, left, 2)
}

type silent struct{ oauth.Observer }

func (silent) Judged(string, string, string) {}
