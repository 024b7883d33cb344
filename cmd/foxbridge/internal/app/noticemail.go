package app

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/notify"
	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

//go:embed mails/*.txt
var mailFiles embed.FS

// newMails reads the texts of mail.
func newMails() (*template.Template, error) {
	agree := func(l web.Language) func(n int, singular, plural string) string {
		return func(n int, singular, plural string) string {
			if l.Singular(int64(n)) {
				return singular
			}
			return plural
		}
	}
	texts, err := template.New("").Funcs(template.FuncMap{"en": agree(web.English), "fr": agree(web.French)}).ParseFS(mailFiles, "mails/*.txt")
	if err != nil {
		return nil, fmt.Errorf("read texts of mail: %w", err)
	}
	return texts, nil
}

// post writes to owners of applications.
type post struct {
	service *oauth.Service
	mailer  *notify.Mailer
	texts   *template.Template
}

// letter is what the texts of mail are made of.
type letter struct {
	Name, App, ClientID, Issuer string
	Used, Allowed               int
	Inherited                   int  // of Used, by deleted applications of the owner
	Day                         bool // the rule is that of the day
	Counted                     bool // it is the policy's
	First, At                   string
	Brief                       bool // both are the same minute
	Reason                      string
	Drain                       bool
	Operator                    bool   // has switched it off
	Decides                     bool   // an operator does, or will, on whether it is reactivated
	Again                       string // from when its owner may reactivate it alone, if an operator decides until then
	Active                      bool   // it is not off any more
	Contact                     string // of the operator; may be empty
	Link                        string
}

// send writes a mail about a ruling. Its language is not known, so it is in all of
// them. An owner is sent only so many a day: an address may be that of somebody who never
// asked for an account, and the name of an application is what its owner likes. Only one about a switching off has a link of its own: nothing else has to be
// undone.
func (p *post) send(ctx context.Context, n oauth.Notice) error {
	if n.Verdict != oauth.VerdictSwitchOff && p.service.Mode() != oauth.ModeEnforce {
		return fmt.Errorf("%w: nothing comes of a policy that is not in force", errVain)
	}
	client, owner, err := p.service.Owner(ctx, n.ClientID)
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		return fmt.Errorf("%w: %w", errVain, err)
	case err != nil:
		return err
	case !owner.DisabledAt.IsZero():
		return fmt.Errorf("%w: the owner's account is disabled", errVain)
	}
	may, err := p.service.AttemptNotice(ctx, n, owner.ID)
	switch {
	case err != nil:
		return err
	case !may:
		return fmt.Errorf("%w: mails of %s", errWithheld, oauth.OwnerNoticesWithin)
	}
	l := letterOf(n.Ruling, client, owner, p.service.Issuer())
	if n.Verdict == oauth.VerdictSwitchOff && !l.Active {
		if err := p.wayBack(ctx, n.Ruling, &l); err != nil {
			return err
		}
	}
	if n.Verdict == oauth.VerdictWarning {
		left, err := p.service.Left(ctx, client.ID)
		if err != nil {
			return err
		}
		l.Decides = left == 0
	}
	mail, err := p.write(n, owner.Email, l)
	if err != nil {
		return err
	}
	return p.mailer.Send(ctx, mail)
}

// wayBack puts into a letter how the application comes back.
func (p *post) wayBack(ctx context.Context, r oauth.Ruling, l *letter) error {
	way, err := p.service.WayBack(ctx, r.ClientID)
	if err != nil {
		return err
	}
	if l.Decides = way.Left == 0; l.Decides {
		l.Contact = p.service.OperatorContact()
		if !way.Again.IsZero() {
			l.Again = stamp(way.Again)
		}
		return nil
	}
	secret, err := p.service.NewLink(ctx, r)
	if err != nil {
		return err
	}
	l.Link += "?link=" + secret
	return nil
}

func letterOf(r oauth.Ruling, c oauth.Client, owner oauth.User, issuer string) letter {
	return letter{
		Name: oneLine(owner.Name), App: oneLine(c.Name), ClientID: c.ID, Issuer: issuer,
		Used: r.Used, Inherited: r.Inherited, Allowed: r.Allowed, Day: r.Rule == oauth.RuleDay, Counted: r.Rule != "",
		First: stamp(r.First), At: stamp(r.At), Brief: oauth.Minute(r.First) == oauth.Minute(r.At), Reason: oneLine(r.Reason),
		Drain: r.Lever == oauth.LeverDrain, Operator: r.Actor == oauth.ByOperator, Active: c.Status == oauth.Active,
		Link: issuer + "/dev/apps/" + c.ID,
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// oneLine keeps what people chose within its line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (p *post) write(n oauth.Notice, to string, l letter) (notify.Mail, error) {
	var subject, text strings.Builder
	if err := p.texts.ExecuteTemplate(&subject, "subject."+string(n.Verdict), l); err != nil {
		return notify.Mail{}, fmt.Errorf("write mail: %w", err)
	}
	if err := p.texts.ExecuteTemplate(&text, "text."+string(n.Verdict), l); err != nil {
		return notify.Mail{}, fmt.Errorf("write mail: %w", err)
	}
	return notify.Mail{ID: noticeID(n), To: to, Subject: subject.String(), Text: strings.TrimSpace(text.String()) + "\n"}, nil
}

// noticeID is the same each time a notice is told.
func noticeID(n oauth.Notice) string { return fmt.Sprintf("ruling-%d-%s", n.ID, n.ClientID[:8]) }
