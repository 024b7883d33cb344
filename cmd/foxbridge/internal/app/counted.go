package app

import (
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/oauth"
)

// counted is what a bridge counts, so that its counters are there before it happens.
func counted() metrics.Known {
	return metrics.Known{
		Verdicts: verdictsCounted(),
		Off:      words(oauth.ByPolicy, oauth.ByAlert, oauth.ByOperator),
		On:       words(oauth.ByOwner, oauth.ByAlert, oauth.ByOperator),
		Alerts:   alertResults(),
		Channels: words(oauth.ChannelMail, oauth.ChannelWebhook, oauth.ChannelHistory), Notices: noticeResults(),
		Commands: commandsCounted(), Outcomes: words(devices.Done, devices.Refused, devices.Offline, devices.Unknown),
		Scenarios: words(devices.Scheduled, devices.OnEvent, devices.Simulation),
		Ends: words(devices.OccurrenceRan, devices.OccurrenceMissed, devices.OccurrenceBarred, devices.OccurrenceHeld,
			devices.OccurrenceDropped, devices.OccurrenceInterrupted),
		Messages: words(mqtt.LeafAck, mqtt.LeafState, mqtt.LeafEvent, mqtt.LeafLink), Results: []string{"ok", "rejected", "failed"},
	}
}

// verdictsCounted are those of authorizationObserver.
func verdictsCounted() (all []metrics.VerdictLabels) {
	for _, rule := range words(oauth.RuleHour, oauth.RuleDay) {
		for _, verdict := range words(oauth.VerdictNotice, oauth.VerdictWarning, oauth.VerdictSwitchOff) {
			for _, shadow := range []bool{false, true} {
				all = append(all, metrics.VerdictLabels{Kind: string(oauth.Personal), Verdict: verdict, Rule: rule, Shadow: shadow})
			}
		}
	}
	return all
}

// commandsCounted are the kinds and operations of commands to devices.
func commandsCounted() (all [][2]string) {
	for _, row := range devices.Catalogue() {
		if row.Action != devices.Operate {
			continue
		}
		for _, kind := range row.Kinds() {
			all = append(all, [2]string{string(kind), row.Operation})
		}
	}
	return all
}

func words[S ~string](all ...S) []string {
	texts := make([]string, 0, len(all))
	for _, s := range all {
		texts = append(texts, string(s))
	}
	return texts
}
