package devicetest

import (
	"context"
	"testing"

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
			_, err := h.Devices(ctx, h.site, "", 10)
			return err
		},
		"Target": func(ctx context.Context) error {
			_, err := h.Target(ctx, h.owner, h.site, h.socket, devices.Socket)
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
			_, err := h.Abandon(ctx, noon.AddDate(1, 0, 0), noon, 10)
			return err
		},
		"SaveState": func(ctx context.Context) error {
			_, err := h.SaveState(ctx, h.unit, state(h.socket, 1, `{}`))
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
			_, err := h.SaveLink(ctx, h.unit, devices.Link{Online: true, Session: "s1", At: noon}, false)
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
			require.ErrorIs(t, call(ctx), context.Canceled)
		})
	}
}
