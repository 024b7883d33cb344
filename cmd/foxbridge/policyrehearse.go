package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
	"github.com/foxbridge/foxbridge/oauth"
)

// issuanceMinute is what an application was issued in a minute, as the record has it.
type issuanceMinute struct {
	ClientID, Name string
	Kind           oauth.Kind
	Minute         int64 // Unix time in seconds, divided by 60
	Tokens         int   // issued; none if there is only something else to tell of the minute
	Wasteful       int   // of these
	Refused        int   // wasteful ones on which it was switched off: not issued, and in neither number
	Off            bool  // it was switched off in this minute, by whatever
	Reactivated    int   // so often in this minute
	// What personal applications had wasted that its owner had deleted before it was
	// registered, which was in this minute.
	Inherited []wasted
}

// wasted is how many wasteful tokens an application was issued in a minute.
type wasted struct {
	minute int64
	tokens int
}

// issuanceMinutes reads the record from a minute on: by client_id, and of a client by
// the minute, each once. The first error is the last that it gives.
type issuanceMinutes func(ctx context.Context, from int64) iter.Seq2[issuanceMinute, error]

// rehearsal is what a policy would have done.
type rehearsal struct {
	Since       time.Time `json:"since"`
	Clients     int       `json:"clients"` // that were issued tokens since then
	Tokens      int       `json:"tokens"`
	Wasteful    int       `json:"wasteful"`
	Worst       verdicts  `json:"worst"` // these clients, by the worst verdict
	SwitchedOff []wouldBe `json:"switched_off"`
	policy      policy.Policy
	client      issuanceMinute // the one that is being replayed; Minute and counts are not its
	trial       *policy.Trial  // nil before the first client
	seen        bool           // it was issued something since
}

// wouldBe is that an application would have been switched off.
type wouldBe struct {
	ClientID string     `json:"client_id"`
	Name     string     `json:"name"`
	Kind     oauth.Kind `json:"kind"`
	At       time.Time  `json:"at"` // to the minute
	Rule     oauth.Rule `json:"rule"`
	Count    int        `json:"count"`    // wasteful tokens in that window, with the one that would have been refused
	Limit    int        `json:"limit"`    // of that window
	Token    int        `json:"token"`    // which of its tokens since then would have been refused, from 1
	Wasteful int        `json:"wasteful"` // which of its wasteful tokens that was
}

// rehearse replays the record against a policy, as if that had been in force from
// since on, which is to the minute. What was issued in the day before counts in the
// windows, as it does when a bridge is given a policy. An application that is switched
// off stays off until it was really reactivated: what it was issued in between is only in
// the sums. What was refused is asked for as well. So the policy that was in force
// switches off what was switched off.
//
// The record does not tell the order within a minute: tokens that were not wasteful are
// taken to have come first, as a first token does, and those that were refused last.
func rehearse(ctx context.Context, p policy.Policy, since time.Time, record issuanceMinutes) (rehearsal, error) {
	r := rehearsal{Since: since.UTC().Truncate(time.Minute), policy: p, SwitchedOff: []wouldBe{}}
	from := r.Since.Unix() / 60
	for m, err := range record(ctx, from-oauth.DayMinutes+1) {
		if err != nil {
			return rehearsal{}, fmt.Errorf("read what was issued: %w", err)
		}
		if err := r.replay(m, from); err != nil {
			return rehearsal{}, err
		}
	}
	r.finish()
	return r, nil
}

func (r *rehearsal) replay(m issuanceMinute, from int64) error {
	if m.Wasteful < 0 || m.Tokens < m.Wasteful {
		return fmt.Errorf("the record of %s says of minute %d that %d of %d tokens were wasteful", m.ClientID, m.Minute, m.Wasteful, m.Tokens)
	}
	if r.trial == nil || m.ClientID != r.client.ClientID {
		r.finish()
		if r.trial != nil && m.ClientID < r.client.ClientID {
			return errors.New("the record is not in the order of client_id")
		}
		r.trial, r.seen = r.policy.Try(m.Kind, m.ClientID), false
	} else if m.Minute <= r.client.Minute {
		return fmt.Errorf("the record of %s is not in the order of time", m.ClientID)
	}
	r.client = m
	if m.Minute < from {
		r.warm(m)
		return nil
	}
	r.seen = r.seen || m.Tokens+m.Refused > 0
	r.Tokens += m.Tokens
	r.Wasteful += m.Wasteful
	r.play(m)
	return nil
}

// warm takes in a minute of before.
func (r *rehearsal) warm(m issuanceMinute) {
	if m.Reactivated > 0 && !m.Off {
		r.trial.Reactivate()
	}
	r.inherit(m.Inherited)
	r.trial.Warm(m.Minute, m.Wasteful)
	if m.Reactivated > 0 && m.Off {
		r.trial.Reactivate()
	}
}

// play asks for what was asked for in a minute. A reactivation comes first if the
// application was off when the minute began, else as soon as it is off, or last.
func (r *rehearsal) play(m issuanceMinute) {
	again := m.Reactivated
	reactivate := func() {
		if again > 0 {
			again--
			r.trial.Reactivate()
		}
	}
	ask := func(wasteful bool) {
		if r.trial.Off() {
			reactivate()
		}
		if r.trial.Off() {
			return
		}
		if j := r.trial.Ask(m.Minute, wasteful); j.Verdict == oauth.VerdictSwitchOff {
			r.switchedOff(j)
		}
	}
	if !m.Off {
		reactivate()
	}
	r.inherit(m.Inherited)
	for range m.Tokens - m.Wasteful {
		ask(false)
	}
	for range m.Wasteful + m.Refused {
		ask(true)
	}
	for again > 0 {
		reactivate()
	}
}

func (r *rehearsal) inherit(list []wasted) {
	for _, w := range list {
		r.trial.Warm(w.minute, w.tokens)
	}
}

// switchedOff takes down that the client would have been switched off.
func (r *rehearsal) switchedOff(by oauth.Judgement) {
	r.SwitchedOff = append(r.SwitchedOff, wouldBe{
		ClientID: r.client.ClientID, Name: r.client.Name, Kind: r.client.Kind,
		At:   oauth.StartOf(r.trial.SwitchAt),
		Rule: by.Rule, Count: by.Used, Limit: by.Allowed,
		Token: r.trial.Tokens + 1, Wasteful: r.trial.Wasted + 1,
	})
}

// finish takes down what became of the last client.
func (r *rehearsal) finish() {
	if r.trial == nil || !r.seen {
		return
	}
	r.Clients++
	r.Worst.add(r.trial.Worst.Verdict)
}

func policyRehearseCommand(p process, on onIssuance) *cobra.Command {
	var out printer
	var file, since string
	c := &cobra.Command{
		Use:   "rehearse --policy FILE",
		Short: "Tell whom a policy would have switched off, from the record of what was issued",
		Long: `Tell whom a policy would have switched off, when, and on which token, from the record of what was
issued. It is decided by the same code as when tokens are issued. Nothing is changed.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&file, "policy", "", policyUsage)
	f.StringVar(&since, "since", "30d", "How far to go back, such as 30d or 12h; 1h to 30d.")
	recordFlags(f)
	out.flag(f)
	required(c, "policy")
	c.RunE = func(c *cobra.Command, args []string) error {
		back, err := parsePeriod(since)
		if err != nil {
			return fmt.Errorf("--since: %w", err)
		}
		policy, err := readPolicy(file)
		if err != nil {
			return fmt.Errorf("--policy: %w", err)
		}
		return on(func(c *cobra.Command, record issuanceMinutes) error {
			r, err := rehearse(c.Context(), policy, time.Now().Add(-back), record)
			if err != nil {
				return err
			}
			return printRehearsal(&out, p.stdout, r)
		})(c, args)
	}
	return c
}

// parsePeriod reads a duration that may be in days. The record tells the minutes of 31
// days, and the first of them only fills the windows.
func parsePeriod(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, is := strings.CutSuffix(s, "d"); is {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(max(n, 0), 1000)) * day
	}
	if err != nil || d < time.Hour || d > oauth.KeepMinutes-day {
		return 0, fmt.Errorf("%q is not a time such as 30d or 12h, from 1h to 30d", s)
	}
	return d, nil
}

func printRehearsal(out *printer, w io.Writer, r rehearsal) error {
	return out.print(w, r, func(w io.Writer) {
		if len(r.SwitchedOff) > 0 {
			fmt.Fprintln(w, "CLIENT_ID\tNAME\tSWITCHED OFF\tRULE\tCOUNT\tLIMIT\tON TOKEN\tON WASTEFUL")
			for _, a := range r.SwitchedOff {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", a.ClientID, a.Name, a.At.Format("2006-01-02 15:04Z"), a.Rule, a.Count, a.Limit, a.Token, a.Wasteful)
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "Since %s: %s, %s, %d of them wasteful.\n", r.Since.Format(time.RFC3339), counted(r.Clients, "application"), counted(r.Tokens, "token"), r.Wasteful)
		fmt.Fprintf(w, "Applications by the worst that befell them: %d switched off, %d warned, %d noticed.\n", r.Worst.SwitchOff, r.Worst.Warning, r.Worst.Notice)
	})
}
