package policy

import (
	"math"
	"slices"
	"sort"

	"github.com/foxbridge/foxbridge/oauth"
)

// keptMinutes is what a Window holds behind its newest minute: a clock may go back by
// a day, and the day before that is still there.
const keptMinutes = 2 * oauth.DayMinutes

// Window counts the wasteful tokens of one application by the minute, by its oauth.Minute,
// in memory. The zero value has counted none. It holds two days in 200 KB at the most, and is not for
// concurrent use.
//
// The rolling hour and day of a request are those of oauth.Counts.
type Window struct {
	marks []mark // by minute, each once
}

// mark is a minute in which something was counted.
type mark struct {
	minute int64
	sum    int // counted up to its end, from any beginning
}

// Add counts n wasteful tokens, from 0 to 1<<30, in a minute. Minutes usually come in
// order. One that is two days older than the newest counts as just within them.
func (w *Window) Add(minute int64, n int) {
	if n <= 0 {
		return
	}
	if len(w.marks) > 0 {
		minute = max(minute, less(w.marks[len(w.marks)-1].minute, keptMinutes-1))
	}
	at := w.after(minute)
	if at == 0 || w.marks[at-1].minute != minute {
		w.marks = slices.Insert(w.marks, at, mark{minute: minute, sum: w.before(at)})
		at++
	}
	for i := at - 1; i < len(w.marks); i++ {
		w.marks[i].sum += n
	}
	w.forget()
}

// Counts gives what was counted in the windows of a request in a minute.
func (w *Window) Counts(minute int64) oauth.Counts {
	return oauth.Counts{Hour: w.since(minute, oauth.HourMinutes), Day: w.since(minute, oauth.DayMinutes)}
}

func (w *Window) since(minute, width int64) int {
	if len(w.marks) == 0 {
		return 0
	}
	return w.marks[len(w.marks)-1].sum - w.before(w.after(less(minute, width)))
}

// less is minute-n, or the first minute of all.
func less(minute, n int64) int64 {
	if minute < math.MinInt64+n {
		return math.MinInt64
	}
	return minute - n
}

// after finds the first mark behind a minute.
func (w *Window) after(minute int64) int {
	return sort.Search(len(w.marks), func(i int) bool { return w.marks[i].minute > minute })
}

// before gives the sum of all before a mark.
func (w *Window) before(at int) int {
	if at == 0 {
		return 0
	}
	return w.marks[at-1].sum
}

// forget drops what is too old, but the newest of it, whose sum is where the others
// begin. It works when that halves the marks, so that counting stays cheap.
func (w *Window) forget() {
	old := w.after(less(w.marks[len(w.marks)-1].minute, keptMinutes))
	if old > 1 && old > len(w.marks)/2 {
		w.marks = slices.Delete(w.marks, 0, old-1)
	}
}

// Trial is one application under a Policy, in memory: it counts and judges as the
// bridge does when it issues a token, to try out a policy on what an application did
// or might do. Whether the policy is a shadow makes no difference to it. It is not for
// concurrent use.
type Trial struct {
	Tokens   int             // issued
	Wasted   int             // of these, wasteful
	Worst    oauth.Judgement // the first with the worst verdict so far; the zero value before anything was asked
	SwitchAt int64           // minute in which it was last switched off; only then of use

	kind   oauth.Kind
	limits oauth.Limits
	window Window
	off    *oauth.Judgement // by which it is off; else nil
}

// Try begins the Trial of an application that was issued nothing yet.
func (p Policy) Try(kind oauth.Kind, clientID string) *Trial {
	return &Trial{kind: kind, limits: p.Limits(kind, clientID)}
}

// Off reports whether it is switched off.
func (t *Trial) Off() bool { return t.off != nil }

// Ask asks for a token in a minute, and issues it unless the verdict is to switch it off,
// which is every answer until it is reactivated.
func (t *Trial) Ask(minute int64, wasteful bool) oauth.Judgement {
	if t.Off() {
		return *t.off
	}
	j := judge(t.kind, t.window.Counts(minute), wasteful, t.limits)
	if rank(j.Verdict) > rank(t.Worst.Verdict) {
		t.Worst = j
	}
	if j.Verdict == oauth.VerdictSwitchOff {
		t.SwitchAt, t.off = minute, &j
		return j
	}
	t.Tokens++
	if wasteful {
		t.Wasted++
		t.window.Add(minute, 1)
	}
	return j
}

// Reactivate lets it be used again, and forgives what it wasted until then.
func (t *Trial) Reactivate() { t.off, t.window = nil, Window{} }

// Warm counts wasteful tokens that were issued before the Trial, or to an application to
// which this one succeeds: they are in its windows alone.
func (t *Trial) Warm(minute int64, wasteful int) { t.window.Add(minute, wasteful) }

func rank(v oauth.Verdict) int {
	return slices.Index([]oauth.Verdict{oauth.VerdictFine, oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff}, v)
}
