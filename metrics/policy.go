package metrics

import "time"

// Kinds of applications, as Judge and a Policy name them.
const (
	Personal   = "personal"
	Commercial = "commercial"
)

// Spare is how much of its life an access token may have left when the same
// application asks for another one for the same person: with more, the new one is
// wasteful.
const Spare = 5 * time.Minute

// Wasteful reports whether a token is, that is asked for while the same application
// and person hold one with this much of its life left; zero or less: they hold none.
// So a first token, and a renewal of an expired token or within Spare of its end,
// never is.
func Wasteful(left time.Duration) bool { return left > Spare }

// Limits are how many wasteful tokens an application may be issued in a rolling hour
// and a rolling day. Zero is no limit.
type Limits struct {
	Hour int `json:"hour"`
	Day  int `json:"day"`
}

// Counts are the wasteful tokens that an application was issued in the rolling hour
// and day of a request, without the one that is asked for. See Window.
type Counts struct{ Hour, Day int }

// Verdict is what a Policy says of a request for a token.
type Verdict string

// Verdicts, from the mildest to the worst. Notice begins at half of a limit, Warning
// at four fifths. SwitchOff means that this token would be more than the limit allows:
// it is not issued, and the application is off.
const (
	Fine      Verdict = "fine"
	Notice    Verdict = "notice"
	Warning   Verdict = "warning"
	SwitchOff Verdict = "switch_off"
)

// Rules that a Judgement names.
const (
	RuleHour = "hour"
	RuleDay  = "day"
)

// Judgement is a verdict with its evidence.
type Judgement struct {
	Verdict Verdict
	Rule    string // RuleHour or RuleDay, the one nearer to its limit; empty if there is no limit
	Count   int    // wasteful tokens in the Rule's window, with the one that is asked for if it is wasteful
	Limit   int    // of the Rule
}

// Judge decides on a request for a token. It depends on its arguments alone.
//
// A token that is not wasteful is never refused, whatever went before. Only a
// personal application is ever switched off: with every other kind the worst is
// Warning, which is for the operator.
func Judge(kind string, c Counts, wasteful bool, l Limits) Judgement {
	if wasteful {
		c = Counts{Hour: tame(c.Hour) + 1, Day: tame(c.Day) + 1}
	}
	j := nearer(Judgement{Rule: RuleHour, Count: tame(c.Hour), Limit: tame(l.Hour)},
		Judgement{Rule: RuleDay, Count: tame(c.Day), Limit: tame(l.Day)})
	switch {
	case j.Limit == 0:
		return Judgement{Verdict: Fine}
	case j.Count > j.Limit && wasteful && kind == Personal:
		j.Verdict = SwitchOff
	case 5*int64(j.Count) >= 4*int64(j.Limit):
		j.Verdict = Warning
	case 2*int64(j.Count) >= int64(j.Limit):
		j.Verdict = Notice
	default:
		j.Verdict = Fine
	}
	return j
}

// tame keeps a number where products of two of them do not overflow. A negative
// count is none, a negative limit no limit.
func tame(n int) int { return min(max(n, 0), 1<<30) }

// nearer gives the rule that has used up the greater part of its limit, a if both
// have used the same.
func nearer(a, b Judgement) Judgement {
	if a.Limit == 0 || b.Limit != 0 && int64(b.Count)*int64(a.Limit) > int64(a.Count)*int64(b.Limit) {
		return b
	}
	return a
}

// Policy is what an operator allows applications. Its methods may be called
// concurrently as long as nobody changes it.
type Policy struct {
	Kinds     map[string]Limits // by kind; a kind that is missing has no limit
	Overrides map[string]Limits // by client_id, instead of those of its kind
	// Shadow counts and reports what the policy would have done, and changes no answer.
	Shadow bool
	// Drain lets the live tokens of an application that is switched off run out,
	// instead of refusing them at once.
	Drain bool
}

// DefaultPolicy is the policy of who states none. The limits of commercial
// applications only say when the operator is alerted.
func DefaultPolicy() Policy {
	return Policy{
		Kinds:     map[string]Limits{Personal: {Hour: 20, Day: 100}, Commercial: {Hour: 1000, Day: 10_000}},
		Overrides: map[string]Limits{},
	}
}

// Limits gives those of an application.
func (p Policy) Limits(kind, clientID string) Limits {
	if l, ok := p.Overrides[clientID]; ok {
		return l
	}
	return p.Kinds[kind]
}

// Judge is the function Judge with the limits of this application.
func (p Policy) Judge(kind, clientID string, c Counts, wasteful bool) Judgement {
	return Judge(kind, c, wasteful, p.Limits(kind, clientID))
}
