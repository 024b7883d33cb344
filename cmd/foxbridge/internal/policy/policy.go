// Package policy tries out an issuance policy: it reads one from a file, and applies it
// to applications in memory, on what they did or might do. Judging is oauth's own, so
// that what is tried is what the stores are held to.
package policy

import "github.com/foxbridge/foxbridge/oauth"

// Policy is what an operator allows applications. Its methods may be called
// concurrently as long as nobody changes it.
type Policy struct {
	Kinds     map[oauth.Kind]oauth.Limits // a kind that is missing has no limit
	Overrides map[string]oauth.Limits     // by client_id, instead of those of its kind
}

// Default is the policy of who states none. The limits of commercial applications only
// say when the operator is warned.
func Default() Policy {
	return Policy{
		Kinds:     map[oauth.Kind]oauth.Limits{oauth.Personal: oauth.DefaultLimits(), oauth.Commercial: {Hour: 1000, Day: 10_000}},
		Overrides: map[string]oauth.Limits{},
	}
}

// Limits gives those of an application.
func (p Policy) Limits(kind oauth.Kind, clientID string) oauth.Limits {
	if l, ok := p.Overrides[clientID]; ok {
		return l
	}
	return p.Kinds[kind]
}

// judge is oauth.Judge for a personal application. No other kind is switched off by
// what it wastes: with these the worst is a warning, which is for the operator.
func judge(kind oauth.Kind, c oauth.Counts, wasteful bool, l oauth.Limits) oauth.Judgement {
	j := oauth.Judge(c, wasteful, l)
	if kind != oauth.Personal && j.Verdict == oauth.VerdictSwitchOff {
		j.Verdict = oauth.VerdictWarning
	}
	return j
}
