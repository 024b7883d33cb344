package oauth

import "time"

// Spare is how much of its life an access token may have left when the same
// application asks for another one for the same person: with more, the new one is
// wasteful. It is that also if the application has given the older one back, by a
// revocation of its own or by the reuse of what was spent; not if the person or an
// operator has ended it. So a first token, a renewal of one that has expired and a renewal within
// Spare of the end never is.
const Spare = 5 * time.Minute

// Mode is what is done about the issuance of tokens.
type Mode string

// Modes.
const (
	ModeEnforce Mode = "enforce" // it is counted, and a personal application that wastes too many tokens is switched off
	ModeShadow  Mode = "shadow"  // it is counted and judged, and nobody is switched off
	ModeOff     Mode = "off"     // it is neither counted nor judged
)

// Lever is how an application is switched off. Either way it gets no new tokens.
type Lever string

// Levers.
const (
	LeverOff   Lever = "off"   // its live tokens are refused
	LeverDrain Lever = "drain" // its live access tokens work until they expire
)

// Limits are how many wasteful tokens a personal application may be issued in a
// rolling hour and a rolling day. Zero is no limit.
type Limits struct{ Hour, Day int }

// DefaultLimits are those of a personal application that has none of its own.
func DefaultLimits() Limits { return Limits{Hour: 20, Day: 100} }

// limitMax is the largest number of Limits.
const limitMax = 1_000_000

// Counts are the wasteful tokens that an application was issued in the rolling hour
// and the rolling day of a request. A rolling hour is the minute of the request and
// the 59 before it, a rolling day that minute and the 1,439 before it. Later minutes
// count as well, which there are only if the clock went back: so going back never
// makes anything uncounted.
type Counts struct{ Hour, Day int }

// Standing is how an application stands with both limits.
type Standing struct {
	Counts
	HourFirst, DayFirst time.Time // minutes of the first of those that count; zero if there are none
}

// Widths of the two windows in minutes.
const (
	HourMinutes = 60
	DayMinutes  = 24 * 60
)

// Minute is the minute of a time: its Unix time in seconds divided by 60.
func Minute(at time.Time) int64 { return at.Unix() / 60 }

// StartOf is the time at which a Minute begins.
func StartOf(minute int64) time.Time { return time.Unix(minute*60, 0).UTC() }

// Verdict is what the policy says of an application, or what somebody decided
// on its use.
type Verdict string

// Verdicts of the policy, from the mildest to the worst, and that of who reactivates.
const (
	VerdictFine         Verdict = "fine"
	VerdictNotice       Verdict = "notice"       // half of a limit is used up
	VerdictWarning      Verdict = "warning"      // four fifths are
	VerdictShadow       Verdict = "shadow"       // it would be switched off, were the policy enforced
	VerdictSwitchOff    Verdict = "switch_off"   // this token would be more than the limit allows
	VerdictReactivation Verdict = "reactivation" // it may be used again, and counting begins anew
)

// Rule is the limit that a verdict rests on.
type Rule string

// Rules.
const (
	RuleHour Rule = "hour"
	RuleDay  Rule = "day"
)

// Window is how long the Rule's window is; zero if there is no Rule.
func (r Rule) Window() time.Duration {
	switch r {
	case RuleHour:
		return HourMinutes * time.Minute
	case RuleDay:
		return DayMinutes * time.Minute
	default:
		return 0
	}
}

// Judgement is a verdict with its evidence.
type Judgement struct {
	Verdict Verdict // VerdictFine to VerdictWarning, or VerdictSwitchOff
	Rule    Rule    // the one nearer to its limit; empty if there is no limit
	Used    int     // wasteful tokens in the Rule's window, with the one that is asked for if it is wasteful
	Allowed int     // the Rule's limit
}

// Judge decides on a request of a personal application for a token, by the counts
// before it. It depends on its arguments alone. A token that is not wasteful is fine,
// whatever went before.
func Judge(c Counts, wasteful bool, l Limits) Judgement {
	if wasteful {
		c.Hour, c.Day = c.Hour+1, c.Day+1
	}
	j := Judgement{Rule: RuleHour, Used: c.Hour, Allowed: l.Hour}
	if l.Day > 0 && (l.Hour == 0 || int64(c.Day)*int64(l.Hour) > int64(c.Hour)*int64(l.Day)) {
		j = Judgement{Rule: RuleDay, Used: c.Day, Allowed: l.Day}
	}
	switch {
	case j.Allowed == 0:
		return Judgement{Verdict: VerdictFine}
	case !wasteful:
		j.Verdict = VerdictFine
	case j.Used > j.Allowed:
		j.Verdict = VerdictSwitchOff
	case 5*int64(j.Used) >= 4*int64(j.Allowed):
		j.Verdict = VerdictWarning
	case 2*int64(j.Used) >= int64(j.Allowed):
		j.Verdict = VerdictNotice
	default:
		j.Verdict = VerdictFine
	}
	return j
}

// Meter tells a Store how to count and judge what it issues. The zero value counts
// and judges nothing, as ModeOff does.
type Meter struct {
	Mode   Mode
	Kind   Kind   // of the application. Only a Personal one is judged
	Limits Limits // those of a personal application that has none of its own
	Lever  Lever  // of the switching off
}

// On reports whether anything is counted.
func (m Meter) On() bool { return m.Mode == ModeEnforce || m.Mode == ModeShadow }

// Outcome is what became of a request for tokens that was in order otherwise.
type Outcome int

// Outcomes. But for Issued nothing was issued, and what was to be spent is unspent.
const (
	Issued      Outcome = iota
	SwitchedOff         // by this very request
	AlreadyOff          // by an earlier one, or by somebody
	NotUsable           // the application is not Active, or its owner's or the person's account is disabled
)

// Tally is what the record says of a request for tokens. Of a Meter that counts
// nothing only the Outcome is set, of one that judges nothing Wasteful as well.
type Tally struct {
	Outcome  Outcome
	Wasteful bool
	// Judgement is the policy's. With Shadow its verdict would have switched the
	// application off.
	Judgement Judgement
	Shadow    bool
	// News says that the verdict is the first of its kind in this episode, and a Ruling
	// now. An episode ends with a reactivation, or with a rolling day without a wasteful
	// token.
	News bool
	// Hour and Day are how the application stands after the request.
	Hour, Day Budget
}

// Verdict is what became of the request, in a word.
func (t Tally) Verdict() Verdict {
	switch {
	case t.Shadow:
		return VerdictShadow
	case t.Judgement.Verdict == "":
		return VerdictFine
	default:
		return t.Judgement.Verdict
	}
}

// Budget is how much of a limit is used up.
type Budget struct {
	Quota int       // wasteful tokens allowed in the window; 0: there is no limit
	Used  int       // of these, issued within it; more than Quota in ModeShadow or once the limit was lowered
	First time.Time // minute of the first of them; zero if there is none
}

// Waste is the budget of wasteful tokens, as an application is told of it.
type Waste struct {
	Window    time.Duration
	Quota     int
	Used      int
	Remaining int           // never negative
	Reset     time.Duration // until the first of those that are used leaves the window; zero if none is
	Stays     bool          // the application is off: no time gives anything back, but a reactivation does
}

// wasteOf gives the budgets that there are.
func wasteOf(t Tally, now time.Time) []Waste {
	var all []Waste
	for _, of := range []struct {
		rule Rule
		Budget
	}{{RuleHour, t.Hour}, {RuleDay, t.Day}} {
		if of.Quota == 0 {
			continue
		}
		w := Waste{Window: of.rule.Window(), Quota: of.Quota, Used: of.Used, Remaining: max(0, of.Quota-of.Used)}
		if !of.First.IsZero() {
			w.Reset = max(0, of.First.Add(w.Window).Sub(now))
		}
		all = append(all, w)
	}
	return all
}

// Actor is who decided on an application.
type Actor string

// Actors.
const (
	ByPolicy   Actor = "policy"
	ByOwner    Actor = "owner"
	ByOperator Actor = "operator"
	ByAlert    Actor = "alert" // the operator's monitoring
)

// Ruling is an entry of the record of verdicts on an application: every one but
// VerdictFine, with its evidence.
type Ruling struct {
	ID       int64 // positive; given by the store, ascending
	ClientID string
	At       time.Time
	Verdict  Verdict
	Actor    Actor
	Key      string // of whoever asked, by which a repeat is known; empty if none
	Reason   string // in the words of whoever asked; empty of the policy
	Rule     Rule   // of the policy; else empty
	Used     int    // of the Rule, with the token on which the verdict fell
	// Inherited are those of Used that were issued to applications of the owner that were
	// deleted before this one was registered.
	Inherited int
	Allowed   int       // of the Rule
	First     time.Time // minute of the first of those that are used; zero without a Rule
	Grant     string    // grant type of the token on which the policy's verdict fell
	Lever     Lever     // of a switching off
	// Effective is false of what changed nothing: somebody switched off what was off.
	Effective bool
}

// Intervention asks to switch an application off, or to reactivate it.
type Intervention struct {
	ClientID string
	Actor    Actor
	Key      string // what was asked under it before is not done again; empty: none
	Reason   string
	Lever    Lever // of a switching off
	Now      time.Time
	// OwnMax is how many reactivations an owner may make within OwnWindow. It counts those
	// of the owner's applications as well that were deleted before this one was
	// registered, and only for the Actor ByOwner.
	OwnMax    int
	OwnWindow time.Duration
	// OperatorID is who asks with the Actor ByOperator; 0: it is done by command.
	OperatorID int64
	Address    string // of who asks, for the record of changes; else empty
}

// Change is the entry of the owner's record of changes about an intervention that did
// something to an application of theirs. The address of an operator is not theirs to know.
func (i Intervention) Change(ownerID int64, v Verdict) Change {
	c := Change{UserID: ownerID, Action: SwitchedOffBy(i.Actor), ClientID: i.ClientID, ActorID: i.OperatorID, Address: i.Address, At: i.Now}
	if v == VerdictReactivation {
		c.Action = ReactivatedBy(i.Actor)
	}
	if i.Actor == ByOwner {
		c.ActorID = ownerID
	}
	if i.byAnother(ownerID) {
		c.Address = ""
	}
	return c
}

// OperatorChange is the entry in the record of an operator who is not the owner; without
// an Action there is none.
func (i Intervention) OperatorChange(ownerID int64, v Verdict) Change {
	if !i.byAnother(ownerID) {
		return Change{}
	}
	c := i.Change(ownerID, v)
	c.UserID, c.Address = i.OperatorID, i.Address
	return c
}

func (i Intervention) byAnother(ownerID int64) bool {
	return i.OperatorID != 0 && i.OperatorID != ownerID
}

// Outcomes of an IssuanceMinute.
const (
	BookedIssued = "issued"
	BookedShadow = "shadow"       // issued, although over the line
	BookedOff    = "switched_off" // not issued
)

// IssuanceMinute is what one application was issued in a minute, by one grant and
// with one outcome.
type IssuanceMinute struct {
	ClientID string
	Kind     Kind
	OwnerID  int64
	// Deletions of the owner's applications are numbered from 1 on. Succeeds is how many
	// there were when this one was registered, Deletion its own; 0 if it is not deleted.
	// What one has wasted counts for those that succeed its Deletion.
	Succeeds, Deletion int
	Minute             int64  // see Minute
	Grant              string // grant_type
	Outcome            string // BookedIssued, BookedShadow or BookedOff
	Tokens             int
	Wasteful           int // of these
	Forgiven           int // of the wasteful ones: they do not count any more
}

// Issuances are what an application was issued from At on, for as long as was asked.
type Issuances struct {
	At       time.Time
	Tokens   int // issued
	Wasteful int // of these
	Refused  int // those on which it was switched off
}
