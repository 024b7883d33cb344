package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
	"github.com/foxbridge/foxbridge/oauth"
)

// Bounds of a simulation.
const (
	maxSimulatedClients = 100_000
	maxSimulatedDays    = 366
)

// simulation is what is played, and against what.
type simulation struct {
	policy  policy.Policy
	clients int // of each behaviour
	days    int
	seed    uint64
}

// simulated is what became of the applications of one behaviour.
type simulated struct {
	Behaviour   string       `json:"behaviour"`
	Clients     int          `json:"clients"`
	SwitchedOff int          `json:"switched_off"`
	Rules       []oauth.Rule `json:"rules"`        // that switched them off, sorted
	AfterTokens extremes     `json:"after_tokens"` // tokens issued before; only of those that were switched off
	AfterWasted extremes     `json:"after_wasted"` // of these, wasteful
	Tokens      int          `json:"tokens"`       // issued to all of them
	Wasted      int          `json:"wasted"`       // of these, wasteful
	Worst       verdicts     `json:"worst"`        // applications by the worst verdict
}

// extremes are the least and the most of something.
type extremes struct {
	Least int `json:"least"`
	Most  int `json:"most"`
}

func (e *extremes) add(n int, first bool) {
	if first {
		*e = extremes{n, n}
		return
	}
	e.Least, e.Most = min(e.Least, n), max(e.Most, n)
}

// verdicts counts applications by the worst verdict that they came to.
type verdicts struct {
	Fine      int `json:"fine"`
	Notice    int `json:"notice"`
	Warning   int `json:"warning"`
	SwitchOff int `json:"switch_off"`
}

func (v *verdicts) add(worst oauth.Verdict) {
	switch worst {
	case oauth.VerdictNotice:
		v.Notice++
	case oauth.VerdictWarning:
		v.Warning++
	case oauth.VerdictSwitchOff:
		v.SwitchOff++
	default:
		v.Fine++
	}
}

func policySimulateCommand(p process) *cobra.Command {
	var out printer
	var file string
	s := simulation{}
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Play how applications get their tokens against a policy, for a month in some seconds",
		Long: `Play how applications get their tokens against a policy, for a month in some seconds: good ones, clumsy
ones, and those that it is made for. Nothing is read but the policy, and the same seed always gives
the same result.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&file, "policy", "", policyUsage+" Without one it is the default policy.")
	f.IntVar(&s.clients, "clients", 1000, fmt.Sprintf("Applications of each behaviour, 1 to %d.", maxSimulatedClients))
	f.IntVar(&s.days, "days", 30, fmt.Sprintf("Days that are played, 1 to %d.", maxSimulatedDays))
	f.Uint64Var(&s.seed, "seed", 1, "Where chance begins.")
	out.flag(f)
	c.RunE = func(c *cobra.Command, args []string) error {
		if s.clients < 1 || s.clients > maxSimulatedClients {
			return fmt.Errorf("--clients: %d is not within 1 to %d", s.clients, maxSimulatedClients)
		}
		if s.days < 1 || s.days > maxSimulatedDays {
			return fmt.Errorf("--days: %d is not within 1 to %d", s.days, maxSimulatedDays)
		}
		var err error
		if s.policy, err = readPolicy(file); err != nil {
			return fmt.Errorf("--policy: %w", err)
		}
		return action(func(c *cobra.Command, _ []string) error {
			rows, err := s.run(c.Context())
			if err != nil {
				return err
			}
			return printSimulation(&out, p.stdout, rows)
		})(c, args)
	}
	return c
}

func printSimulation(out *printer, w io.Writer, rows []simulated) error {
	return list(out, w, rows, "BEHAVIOUR\tCLIENTS\tSWITCHED OFF\tAFTER TOKENS\tOF WHICH WASTED\tRULE\tTOKENS\tWASTED\tNOTICE\tWARNING", func(r simulated) string {
		after, wasted, rule := "-", "-", "-"
		if r.SwitchedOff > 0 {
			after, wasted, rule = r.AfterTokens.String(), r.AfterWasted.String(), joined(r.Rules)
		}
		return fmt.Sprintf("%s\t%d\t%d\t%s\t%s\t%s\t%d\t%d\t%d\t%d",
			r.Behaviour, r.Clients, r.SwitchedOff, after, wasted, rule, r.Tokens, r.Wasted, r.Worst.Notice, r.Worst.Warning)
	})
}

func joined(rules []oauth.Rule) string {
	var names []string
	for _, r := range rules {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

func (e extremes) String() string {
	if e.Least == e.Most {
		return fmt.Sprint(e.Least)
	}
	return fmt.Sprintf("%d-%d", e.Least, e.Most)
}

func (s simulation) run(ctx context.Context) ([]simulated, error) {
	var rows []simulated
	for n, b := range behaviours() {
		row := simulated{Behaviour: b.name, Clients: s.clients, Rules: []oauth.Rule{}}
		for client := range s.clients {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			script := &script{
				trial:  s.policy.Try(oauth.Personal, ""),
				end:    time.Duration(s.days) * day,
				chance: chance(s.seed ^ mix(uint64(n)<<32|uint64(client))),
			}
			b.play(script)
			row.add(script.trial)
		}
		slices.Sort(row.Rules)
		rows = append(rows, row)
	}
	return rows, nil
}

// add tells what became of an application.
func (r *simulated) add(t *policy.Trial) {
	r.Tokens += t.Tokens
	r.Wasted += t.Wasted
	r.Worst.add(t.Worst.Verdict)
	if !t.Off() {
		return
	}
	r.AfterTokens.add(t.Tokens, r.SwitchedOff == 0)
	r.AfterWasted.add(t.Wasted, r.SwitchedOff == 0)
	r.SwitchedOff++
	if !slices.Contains(r.Rules, t.Worst.Rule) {
		r.Rules = append(r.Rules, t.Worst.Rule)
	}
}

const (
	day = 24 * time.Hour
	// tokenLife is that of an access token.
	tokenLife = time.Hour
)

// script is an application that somebody wrote, while it is played.
type script struct {
	trial  *policy.Trial
	end    time.Duration // of the play, which begins at 0
	held   time.Duration // when the newest of its tokens expires
	chance chance
}

// ask asks for a token at a time that is not before the last one. It is false when
// that is the end of the play or the script is switched off.
func (s *script) ask(at time.Duration) bool {
	if at >= s.end {
		return false
	}
	if s.trial.Ask(int64(at/time.Minute), s.held-at > oauth.Spare).Verdict == oauth.VerdictSwitchOff {
		return false
	}
	s.held = at + tokenLife
	return true
}

// begin is some time in the first half day.
func (s *script) begin() time.Duration { return s.chance.below(day / 2) }

// behaviour is a way to get tokens.
type behaviour struct {
	name string
	play func(*script)
}

// behaviours are those that people's scripts were seen to have, the good ones first.
func behaviours() []behaviour {
	return []behaviour{
		{"keeps its token, renews when it has expired", renewsOnExpiry},
		{"renews on a 401", renewsOn401},
		{"restarts ten times a day", restarts},
		{"two programs share one application", twoPrograms},
		{"hub that renews five minutes early", renewsEarly},
		{"cron every 5 minutes, keeps no token", cronEvery(5 * time.Minute)},
		{"cron every minute, keeps no token", cronEvery(time.Minute)},
		{"retry storm", retryStorm},
	}
}

// renewsOnExpiry looks at expires_in, up to half a minute late.
func renewsOnExpiry(s *script) {
	for at := s.begin(); s.ask(at); at = s.held + s.chance.below(30*time.Second) {
	}
}

// renewsOn401 polls every minute or so until its token does not work any more.
func renewsOn401(s *script) {
	for at := s.begin(); s.ask(at); at = s.held + s.chance.below(time.Minute) {
	}
}

// restarts renews on expiry, and loses its token ten times a day at any time.
func restarts(s *script) {
	at := s.begin()
	var crashes []time.Duration
	for s.ask(at) {
		if len(crashes) == 0 {
			for range 10 {
				crashes = append(crashes, at.Truncate(day)+day+s.chance.below(day))
			}
			slices.Sort(crashes)
		}
		at = s.held + s.chance.below(30*time.Second)
		if crashes[0] < at {
			at, crashes = crashes[0], crashes[1:]
		}
	}
}

// twoPrograms each renew on expiry, and know nothing of each other.
func twoPrograms(s *script) {
	one, other := s.begin(), s.begin()
	for s.ask(min(one, other)) {
		next := s.held + s.chance.below(30*time.Second)
		if one <= other {
			one = next
		} else {
			other = next
		}
	}
}

// renewsEarly renews when by its own clock five minutes are left. It began to count
// when the answer came, which is up to two seconds after the server did.
func renewsEarly(s *script) {
	for at := s.begin(); s.ask(at); at = s.held - oauth.Spare + s.chance.below(2*time.Second) {
	}
}

// cronEvery asks for a token each time it runs, some seconds after the minute.
func cronEvery(every time.Duration) func(*script) {
	return func(s *script) {
		for run := s.begin().Truncate(time.Minute); s.ask(run + s.chance.below(5*time.Second)); run += every {
		}
	}
}

// retryStorm renews on expiry, until at some time the API answers errors for ten
// minutes: it then starts over with a new token every one to three seconds.
func retryStorm(s *script) {
	trouble := s.chance.below(s.end - time.Hour)
	at := s.chance.below(trouble + 1)
	for at < trouble && s.ask(at) {
		at = s.held + s.chance.below(30*time.Second)
	}
	for at = trouble; at < trouble+10*time.Minute && s.ask(at); {
		at += time.Second + s.chance.below(2*time.Second)
	}
}

// chance is a sequence of numbers that its first value decides (splitmix64: Steele and
// others, "Fast splittable pseudorandom number generators", 2014): a simulation can be
// repeated. It is no secret.
type chance uint64

// below gives a time from 0 up to but not including limit, in whole milliseconds.
func (c *chance) below(limit time.Duration) time.Duration {
	*c += 0x9e3779b97f4a7c15
	return time.Duration(mix(uint64(*c))%uint64(max(limit/time.Millisecond, 1))) * time.Millisecond
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
