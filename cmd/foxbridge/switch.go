package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

func appDeactivateCommand(p process) *cobra.Command {
	var reason string
	c := switchCommand(p, "deactivate CLIENT_ID --reason REASON", "Switch an application off; only an operator can reactivate it then", oauth.Off,
		func(c *cobra.Command, clientID string, r *app.Record) (bool, error) {
			return r.OAuth.SwitchOff(c.Context(), clientID, oauth.ByOperator, "", reason)
		})
	c.Flags().StringVar(&reason, "reason", "", "Why, in a sentence. The owner and the application are told.")
	config.AddFlags(c.Flags(), "issuance-lever")
	required(c, "reason")
	return c
}

func appReactivateCommand(p process) *cobra.Command {
	var reason string
	c := switchCommand(p, "reactivate CLIENT_ID", "Let an application that is off be used again", oauth.Active,
		func(c *cobra.Command, clientID string, r *app.Record) (bool, error) {
			return r.OAuth.Reactivate(c.Context(), clientID, oauth.ByOperator, "", reason)
		})
	c.Flags().StringVar(&reason, "reason", "", "Why, for the record.")
	return c
}

// switchCommand is deactivate or reactivate.
func switchCommand(p process, use, short string, to oauth.Status, do func(c *cobra.Command, clientID string, r *app.Record) (bool, error)) *cobra.Command {
	var out printer
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		changed, err := do(c, args[0], r)
		if err != nil {
			return err
		}
		done := struct {
			ClientID string       `json:"client_id"`
			Status   oauth.Status `json:"status"`
			Changed  bool         `json:"changed"`
			Lever    oauth.Lever  `json:"lever,omitempty"` // by which it is off
		}{ClientID: args[0], Status: to, Changed: changed}
		if to == oauth.Off {
			way, err := r.OAuth.WayBack(c.Context(), args[0])
			if err != nil {
				return err
			}
			done.Lever = way.By.Lever
		}
		return out.print(p.stdout, done, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\nstatus\t%s\nchanged\t%t\n", done.ClientID, done.Status, done.Changed)
			switch done.Lever {
			case oauth.LeverOff:
				fmt.Fprintln(w, "lever\toff: its live tokens are refused")
			case oauth.LeverDrain:
				fmt.Fprintln(w, "lever\tdrain: its live access tokens work until they expire")
			}
		})
	})
	return c
}

// limits is what the commands tell of the limits of an application.
type limits struct {
	ClientID string `json:"client_id"`
	Hour     int    `json:"hour"` // wasteful tokens in a rolling hour; 0: no limit
	Day      int    `json:"day"`
	Own      bool   `json:"own"` // given to this application; else what this command finds in the settings, which are the bridge's own
}

func appLimitsCommand(p process) *cobra.Command {
	var out printer
	var given oauth.Limits
	var standard bool
	c := &cobra.Command{
		Use:   "limits CLIENT_ID [--hour N --day N | --default]",
		Short: "Tell, or set, how many wasteful tokens a personal application may be issued",
		Args:  cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.IntVar(&given.Hour, "hour", 0, "How many in a rolling hour, 0 for no limit.")
	f.IntVar(&given.Day, "day", 0, "How many in a rolling day, 0 for no limit.")
	f.BoolVar(&standard, "default", false, "Those of every personal application, from now on.")
	config.AddFlags(f, "issuance-hour", "issuance-day")
	recordFlags(f)
	out.flag(f)
	work := func(c *cobra.Command, args []string, r *app.Record) error {
		client, err := r.OAuth.ClientByID(c.Context(), args[0])
		switch {
		case err == nil && client.Kind != oauth.Personal:
			return &oauth.FieldError{Field: "client_id", Problem: "names a commercial application, which has no such limits: it is never switched off for its tokens"}
		case err != nil && !errors.Is(err, oauth.ErrNotFound):
			return err
		}
		err = nil
		switch {
		case standard:
			err = r.OAuth.SetLimits(c.Context(), args[0], nil)
		case c.Flags().Changed("hour"):
			err = r.OAuth.SetLimits(c.Context(), args[0], &given)
		}
		if err != nil {
			return err
		}
		now, own, err := r.OAuth.LimitsOf(c.Context(), args[0])
		if err != nil {
			return err
		}
		l := limits{args[0], now.Hour, now.Day, own}
		return out.print(p.stdout, l, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\n", l.ClientID)
			if !l.Own {
				fmt.Fprintf(w, "of its own\tnone: issuance-hour and issuance-day of the bridge hold (%d and %d, unless it is run with others)\n", l.Hour, l.Day)
				return
			}
			fmt.Fprintf(w, "of its own\t%d in an hour, %d in a day (0: no limit)\n", l.Hour, l.Day)
		})
	}
	set, tell := administer(p, work), inspect(p, work)
	c.RunE = func(c *cobra.Command, args []string) error {
		hour, day := c.Flags().Changed("hour"), c.Flags().Changed("day")
		switch {
		case hour != day:
			return errors.New("--hour and --day are given together; 0 stands for no limit")
		case standard && hour:
			return errors.New("--default is given alone, without --hour and --day")
		case standard || hour:
			return set(c, args)
		}
		return tell(c, args)
	}
	return c
}

// ruling is an entry of an application's history as the commands print one.
type ruling struct {
	ID        int64         `json:"id"`
	At        time.Time     `json:"at"`
	Verdict   oauth.Verdict `json:"verdict"`
	By        oauth.Actor   `json:"by"`
	Rule      oauth.Rule    `json:"rule,omitempty"` // hour or day; of the policy
	Count     int           `json:"count,omitempty"`
	Inherited int           `json:"inherited,omitempty"` // of Count, by deleted applications of the owner
	Allowed   int           `json:"allowed,omitempty"`
	First     *time.Time    `json:"first,omitempty"` // minute of the first that counts
	Grant     string        `json:"grant,omitempty"`
	Lever     oauth.Lever   `json:"lever,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Key       string        `json:"key,omitempty"`
	Changed   bool          `json:"changed"`
}

func rulingOf(r oauth.Ruling) ruling {
	told := ruling{
		ID: r.ID, At: r.At, Verdict: r.Verdict, By: r.Actor, Rule: r.Rule, Count: r.Used, Inherited: r.Inherited, Allowed: r.Allowed,
		Grant: r.Grant, Lever: r.Lever, Reason: r.Reason, Key: r.Key, Changed: r.Effective,
	}
	if !r.First.IsZero() {
		told.First = &r.First
	}
	return told
}

// evidence is what a ruling rests on, in a cell of a table.
func (r ruling) evidence() string {
	if r.Rule == "" {
		if !r.Changed {
			return r.Reason + " (it was off already)"
		}
		return r.Reason
	}
	inherited := ""
	if r.Inherited > 0 {
		inherited = fmt.Sprintf(", %d of them by deleted applications of the owner", r.Inherited)
	}
	return fmt.Sprintf("%s of %d in the %s from %s%s (%s)", counted(r.Count, "wasteful token"), r.Allowed, r.Rule, r.First.Format(time.RFC3339), inherited, r.Grant)
}

// counted is a number of things in words.
func counted(n int, noun string) string {
	if web.English.Singular(int64(n)) {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// historyMax bounds what one command prints.
const historyMax = 10_000

func appHistoryCommand(p process) *cobra.Command {
	var out printer
	last := historyMax
	c := &cobra.Command{
		Use:   "history CLIENT_ID",
		Short: "Print what was decided about an application, and why, the newest first",
		Args:  cobra.ExactArgs(1),
	}
	c.Flags().IntVar(&last, "last", historyMax, "How many entries at the most.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	history := inspect(p, func(c *cobra.Command, args []string, r *app.Record) error {
		var rulings []ruling
		for before := int64(0); len(rulings) < last; {
			page, err := r.OAuth.Verdicts(c.Context(), args[0], before)
			if err != nil {
				return err
			}
			for _, found := range page[:min(len(page), last-len(rulings))] {
				rulings = append(rulings, rulingOf(found))
			}
			if len(page) == 0 {
				break
			}
			before = page[len(page)-1].ID
		}
		if len(rulings) == 0 {
			_, err := r.OAuth.ClientByID(c.Context(), args[0])
			if errors.Is(err, oauth.ErrNotFound) {
				return &oauth.FieldError{Field: "client_id", Problem: "names no application", Err: err}
			}
			if err != nil {
				return err
			}
		}
		return list(&out, p.stdout, rulings, "AT\tVERDICT\tBY\tEVIDENCE", func(r ruling) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s", r.At.Format(time.RFC3339), r.Verdict, r.By, r.evidence())
		})
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if last < 1 || last > historyMax {
			return errors.New("last is not within 1 and 10000")
		}
		return history(c, args)
	}
	return c
}
