package metrics

// Known are the labels of what may be counted, as whoever counts it knows them.
// Prometheus cannot tell that a counter which appears has grown: increase and rate see
// nothing of what it shows when it is first scraped. So every counter with labels of a
// fixed set is there from the start, at 0.
type Known struct {
	Verdicts []VerdictLabels // of Judged
	Off, On  []string        // by whom, of Switched
	Alerts   []string        // of AlertReceived

	Channels, Notices []string // of NoticeAttempted: each on each

	Commands [][2]string // kind and operation of CommandFinished,
	Outcomes []string    // each of which may end so

	Scenarios, Ends   []string // of ScenarioEnded: each may end so
	Messages, Results []string // of Received: each may end so
}

// VerdictLabels are the arguments of Judged.
type VerdictLabels struct {
	Kind, Verdict, Rule string
	Shadow              bool
}

// Start shows the counters of what is known, at 0 unless they have counted already.
func (m *Metrics) Start(k Known) {
	for _, v := range k.Verdicts {
		m.verdicts.WithLabelValues(v.Kind, v.Verdict, v.Rule, modeOf(v.Shadow))
	}
	for _, by := range k.Off {
		m.switched.WithLabelValues("off", by)
	}
	for _, by := range k.On {
		m.switched.WithLabelValues("on", by)
	}
	for _, result := range k.Alerts {
		m.alerts.WithLabelValues(result)
	}
	for _, c := range k.Commands {
		for _, outcome := range k.Outcomes {
			m.commands.WithLabelValues(c[0], c[1], outcome)
		}
	}
	each(k.Channels, k.Notices, func(channel, result string) { m.notices.WithLabelValues(channel, result) })
	each(k.Scenarios, k.Ends, func(kind, outcome string) { m.scenarios.WithLabelValues(kind, outcome) })
	each(k.Messages, k.Results, func(what, result string) { m.received.WithLabelValues(what, result) })
}

func each(first, second []string, do func(string, string)) {
	for _, a := range first {
		for _, b := range second {
			do(a, b)
		}
	}
}
