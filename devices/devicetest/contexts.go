package devicetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

func testContexts(t *testing.T, b *bench) {
	h := b.house(t)
	c := h.accept(t, h.switchOn(), nil)
	for name, call := range map[string]func(context.Context) error{
		"AddSite": func(ctx context.Context) error {
			_, err := h.AddSite(ctx, devices.Site{Label: "Maison", Timezone: "UTC", CreatedAt: noon}, h.owner)
			return err
		},
		"Sites": func(ctx context.Context) error {
			_, err := h.Sites(ctx, h.owner, 10)
			return err
		},
		"Site": func(ctx context.Context) error {
			_, err := h.Site(ctx, h.owner, h.site)
			return err
		},
		"AddUnit": func(ctx context.Context) error {
			_, err := h.AddUnit(ctx, newUnit(newUnitID(), h.site), nil)
			return err
		},
		"Unit": func(ctx context.Context) error {
			_, err := h.Unit(ctx, h.unit)
			return err
		},
		"ReplaceSecret": func(ctx context.Context) error {
			return h.ReplaceSecret(ctx, h.unit, [32]byte{1}, noon)
		},
		"Replaced": func(ctx context.Context) error {
			_, err := h.Replaced(ctx, noon, 10)
			return err
		},
		"Units": func(ctx context.Context) error {
			_, err := h.Units(ctx, "", 10)
			return err
		},
		"Devices": func(ctx context.Context) error {
			_, _, err := h.Devices(ctx, h.owner, h.site, nil, true, 10)
			return err
		},
		"Target": func(ctx context.Context) error {
			_, err := h.Target(ctx, h.owner, h.site, h.socket, []devices.Kind{devices.Socket})
			return err
		},
		"Accept": func(ctx context.Context) error {
			_, err := h.Accept(ctx, intent(h.switchOff(), nil))
			return err
		},
		"Accept with a key": func(ctx context.Context) error {
			_, err := h.Accept(ctx, intent(h.switchOff(), newKey()))
			return err
		},
		"Command": func(ctx context.Context) error {
			_, err := h.Command(ctx, h.site, c.ID)
			return err
		},
		"Finish": func(ctx context.Context) error {
			_, err := h.Finish(ctx, finish(c, devices.Done))
			return err
		},
		"Abandon": func(ctx context.Context) error {
			_, err := h.Abandon(ctx, noon.AddDate(1, 0, 0), noon, 10, noEntry)
			return err
		},
		"SaveState": func(ctx context.Context) error {
			_, err := h.SaveState(ctx, h.unit, devices.Report{State: state(h.socket, 1, `{}`)})
			return err
		},
		"State": func(ctx context.Context) error {
			_, err := h.State(ctx, h.site, h.socket)
			return err
		},
		"SaveEvent": func(ctx context.Context) error {
			_, err := h.SaveEvent(ctx, h.unit, "e1", entry(devices.HistoryAlarm, "Sirène", noon))
			return err
		},
		"SaveLink": func(ctx context.Context) error {
			_, _, err := h.SaveLink(ctx, h.unit, devices.Link{Online: true, Session: "s1", At: noon}, false)
			return err
		},
		"Device": func(ctx context.Context) error {
			_, _, err := h.Device(ctx, h.owner, h.site, h.socket, []devices.Kind{devices.Socket})
			return err
		},
		"Measurements": func(ctx context.Context) error {
			_, _, err := h.Measurements(ctx, h.owner, h.site, h.socket, []devices.Kind{devices.Socket}, devices.MeasurementFilter{Reading: "x", From: noon, To: noon, Limit: 1})
			return err
		},
		"Source": func(ctx context.Context) error {
			_, err := h.Source(ctx, h.unit, h.socket)
			return err
		},
		"Append": func(ctx context.Context) error {
			return h.Append(ctx, []devices.Entry{{SiteID: h.site, Type: devices.HistoryConfig, CreatedAt: noon}})
		},
		"AddGroup": func(ctx context.Context) error {
			_, err := h.AddGroup(ctx, h.group(h.socket), 10, entry(devices.HistoryConfig, "g", noon))
			return err
		},
		"Groups": func(ctx context.Context) error {
			_, _, err := h.Groups(ctx, h.owner, h.site, "")
			return err
		},
		"Group": func(ctx context.Context) error {
			_, _, _, err := h.Group(ctx, h.owner, h.site, 1, devices.Socket)
			return err
		},
		"RemoveGroup": func(ctx context.Context) error {
			return h.RemoveGroup(ctx, h.site, 1, entry(devices.HistoryConfig, "g", noon))
		},
		"AddScenario": func(ctx context.Context) error {
			_, err := h.AddScenario(ctx, h.scenario(), 10, entry(devices.HistoryConfig, "s", noon))
			return err
		},
		"Scenarios": func(ctx context.Context) error {
			_, _, err := h.Scenarios(ctx, h.owner, h.site)
			return err
		},
		"Scenario": func(ctx context.Context) error {
			_, _, _, err := h.Scenario(ctx, h.owner, h.site, 1)
			return err
		},
		"SwitchScenario": func(ctx context.Context) error {
			_, err := h.SwitchScenario(ctx, h.site, 1, true, noon, entry(devices.HistoryScenario, "s", noon))
			return err
		},
		"RemoveScenario": func(ctx context.Context) error {
			return h.RemoveScenario(ctx, h.site, 1, entry(devices.HistoryConfig, "s", noon))
		},
		"Due": func(ctx context.Context) error {
			_, err := h.Due(ctx, noon, 10)
			return err
		},
		"Timed": func(ctx context.Context) error {
			_, err := h.Timed(ctx, 0, 10)
			return err
		},
		"Reschedule": func(ctx context.Context) error {
			_, err := h.Reschedule(ctx, 1, noon, noon)
			return err
		},
		"Claim": func(ctx context.Context) error {
			_, _, err := h.Claim(ctx, devices.Claim{ScenarioID: 1, Was: noon, Now: noon})
			return err
		},
		"Open": func(ctx context.Context) error {
			_, err := h.Open(ctx, noon, 10)
			return err
		},
		"Take": func(ctx context.Context) error {
			_, err := h.Take(ctx, devices.Take{SiteID: h.site, Since: noon, Now: noon, Until: noon, Most: 1})
			return err
		},
		"Release": func(ctx context.Context) error {
			return h.Release(ctx, devices.Occurrence{ScenarioID: 1}, noon)
		},
		"Conclude": func(ctx context.Context) error {
			return h.Conclude(ctx, devices.Occurrence{ScenarioID: 1}, devices.OccurrenceRan, noon, nil)
		},
		"NextDue": func(ctx context.Context) error {
			_, err := h.NextDue(ctx)
			return err
		},
		"Triggers": func(ctx context.Context) error {
			_, err := h.Triggers(ctx, h.site)
			return err
		},
		"LastRuns": func(ctx context.Context) error {
			_, err := h.LastRuns(ctx, h.site)
			return err
		},
		"PurgeOccurrences": func(ctx context.Context) error {
			_, err := h.PurgeOccurrences(ctx, noon, 10)
			return err
		},
		"Members": func(ctx context.Context) error {
			_, err := h.Members(ctx, h.site)
			return err
		},
		"RemoveMember": func(ctx context.Context) error {
			return h.RemoveMember(ctx, h.site, h.owner, "a@example.org", entry(devices.HistoryAccount, "m", noon))
		},
		"Invite": func(ctx context.Context) error {
			return h.Invite(ctx, invitation(h, "a@example.org", 1), 10, entry(devices.HistoryAccount, "i", noon))
		},
		"Uninvite": func(ctx context.Context) error {
			return h.Uninvite(ctx, h.site, "a@example.org", entry(devices.HistoryAccount, "u", noon))
		},
		"Invitations": func(ctx context.Context) error {
			_, err := h.Invitations(ctx, h.site, noon)
			return err
		},
		"Invited": func(ctx context.Context) error {
			_, _, err := h.Invited(ctx, [32]byte{1}, "a@example.org", noon)
			return err
		},
		"Join": func(ctx context.Context) error {
			_, err := h.Join(ctx, joining(h.owner, "a@example.org", 1))
			return err
		},
		"PurgeHistory": func(ctx context.Context) error {
			_, err := h.PurgeHistory(ctx, noon, 10)
			return err
		},
		"PurgeMeasurements": func(ctx context.Context) error {
			_, err := h.PurgeMeasurements(ctx, noon, 10)
			return err
		},
		"PurgeInvitations": func(ctx context.Context) error {
			_, err := h.PurgeInvitations(ctx, noon, 10)
			return err
		},
		"RollUp": func(ctx context.Context) error {
			_, err := h.RollUp(ctx, noon.Truncate(time.Hour), 10)
			return err
		},
		"Disconnect": func(ctx context.Context) error { return h.Disconnect(ctx, noon) },
		"Online": func(ctx context.Context) error {
			_, err := h.Online(ctx)
			return err
		},
		"History": func(ctx context.Context) error {
			_, err := h.History(ctx, h.site, devices.HistoryFilter{From: noon, To: noon, Limit: 10})
			return err
		},
		"Purge": func(ctx context.Context) error {
			_, err := h.Purge(ctx, noon.AddDate(1, 0, 0), 10)
			return err
		},
	} {
		t.Run(name+" ends with its context", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := call(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, devices.ErrUnavailable)
			late, cancel := context.WithTimeout(t.Context(), 0)
			defer cancel()
			require.ErrorIs(t, call(late), devices.ErrUnavailable)
		})
	}
}
