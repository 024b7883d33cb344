package devicetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// crowd is how many calls these tests make at once.
const crowd = 50

// testConcurrent checks what must hold when many call at once. The calls go to the
// bench's stores in turn.
func testConcurrent(t *testing.T, b *bench) {
	store := func(i int) devices.Store { return b.stores[i%len(b.stores)] }

	// oneNew accepts what repeat gives, each time with another command ID, and requires
	// that one command stands for all.
	oneNew := func(t *testing.T, h house, repeat func() devices.Intent) {
		t.Helper()
		var mu sync.Mutex
		fresh, answers := 0, map[string]int{}
		together(t, crowd, func(ctx context.Context, i int) error {
			accepted, err := store(i).Accept(ctx, repeat())
			mu.Lock()
			defer mu.Unlock()
			answers[accepted.Command.ID]++
			if accepted.New {
				fresh++
			}
			return err
		})
		require.Equal(t, 1, fresh)
		require.Len(t, answers, 1)
		for id, n := range answers {
			require.Equal(t, crowd, n)
			_, err := h.Command(t.Context(), h.site, id)
			require.NoError(t, err)
		}
	}

	t.Run("of one command many times one is new", func(t *testing.T) {
		h := b.house(t)
		oneNew(t, h, func() devices.Intent { return intent(h.switchOn(), nil) })
	})

	t.Run("of one key many times one is new", func(t *testing.T) {
		h, key := b.house(t), newKey()
		oneNew(t, h, func() devices.Intent { return intent(h.switchOn(), key) })
	})

	t.Run("a key that is free moves once", func(t *testing.T) {
		h, key := b.house(t), newKey()
		h.end(t, h.accept(t, h.switchOn(), key), devices.Offline)
		oneNew(t, h, func() devices.Intent { return intent(h.switchOn(), key) })
	})

	t.Run("of many commands with one key one is accepted", func(t *testing.T) {
		h, key := b.house(t), newKey()
		var fresh, reused atomic.Int64
		together(t, crowd, func(ctx context.Context, i int) error {
			accepted, err := store(i).Accept(ctx, intent(h.command(h.socket, devices.Socket, fmt.Sprint(i)), key))
			if accepted.New {
				fresh.Add(1)
			}
			if errors.Is(err, devices.ErrKeyReuse) {
				reused.Add(1)
				return nil
			}
			return err
		})
		require.EqualValues(t, 1, fresh.Load())
		require.EqualValues(t, crowd-1, reused.Load())
	})

	t.Run("keys and devices that cross do not block each other", func(t *testing.T) {
		h := b.house(t)
		keys := []*[32]byte{newKey(), newKey(), newKey(), nil, nil}
		places := []int64{h.socket, h.other, h.shutter, devices.SecurityDevice}
		together(t, crowd, func(ctx context.Context, i int) error {
			for j := range 20 {
				n := j
				if i%2 == 0 {
					n = 19 - j
				}
				c := h.command(places[n%len(places)], devices.Socket, "on")
				c.Outcome, c.FinishedAt = devices.Offline, noon // so that each is new, and the keys move
				accepted, err := store(i).Accept(ctx, intent(c, keys[n%len(keys)]))
				if err != nil {
					return err
				}
				if !accepted.New {
					return fmt.Errorf("command %s is not new", c.ID)
				}
			}
			return nil
		})
	})

	t.Run("a command ends once", func(t *testing.T) {
		h := b.house(t)
		c := h.accept(t, h.switchOn(), nil)
		var ended atomic.Int64
		outcomes := []devices.Outcome{devices.Done, devices.Refused}
		together(t, crowd, func(ctx context.Context, i int) error {
			f := finish(c, outcomes[i/2%2])
			reported, line := state(h.socket, int64(i+1), fmt.Sprintf(`{"report":%d}`, i)), entry(devices.HistoryHomeAuto, f.Reason, f.Now)
			f.State, f.Entry = &reported, &line
			stands, err := store(i).Finish(ctx, f)
			if errors.Is(err, devices.ErrSettled) {
				if !stands.Outcome.Settled() {
					return fmt.Errorf("settled command is %s", stands.Outcome)
				}
				return nil
			}
			ended.Add(1)
			return err
		})
		require.EqualValues(t, 1, ended.Load())
		require.Len(t, h.all(t), 1)
		_, err := h.State(t.Context(), h.site, h.socket)
		require.NoError(t, err)
	})

	t.Run("an answer is stronger than giving up", func(t *testing.T) {
		h := b.house(t)
		commands := make([]devices.Command, crowd)
		for i := range commands {
			commands[i] = h.accept(t, h.switchOn(), newKey())
		}
		together(t, 2*crowd, func(ctx context.Context, i int) error {
			if i%2 == 0 {
				_, err := store(i/2).Abandon(ctx, noon.Add(time.Second), noon.Add(time.Minute), 7, noEntry)
				return err
			}
			_, err := store(i/2).Finish(ctx, finish(commands[i/2], devices.Done))
			return err
		})
		for _, c := range commands {
			found, err := h.Command(t.Context(), h.site, c.ID)
			require.NoError(t, err)
			require.Equal(t, devices.Done, found.Outcome)
		}
	})

	t.Run("the highest sequence stays", func(t *testing.T) {
		h := b.house(t)
		together(t, crowd, func(ctx context.Context, i int) error {
			for _, device := range []int64{h.socket, h.shutter, devices.SecurityDevice} {
				if _, err := store(i).SaveState(ctx, h.unit, devices.Report{State: state(device, int64(i+1), fmt.Sprintf(`{"report":%d}`, i+1))}); err != nil {
					return err
				}
			}
			return nil
		})
		for _, device := range []int64{h.socket, h.shutter, devices.SecurityDevice} {
			got, err := h.State(t.Context(), h.site, device)
			require.NoError(t, err)
			same(t, state(device, crowd, fmt.Sprintf(`{"report":%d}`, crowd)), got)
		}
	})

	t.Run("an event is appended once, whatever the order", func(t *testing.T) {
		h := b.house(t)
		const events = 10
		var appended atomic.Int64
		together(t, crowd, func(ctx context.Context, i int) error {
			for j := range events {
				n := j
				if i%2 == 0 {
					n = events - 1 - j
				}
				fresh, err := store(i).SaveEvent(ctx, h.unit, fmt.Sprint("e", n), entry(devices.HistoryAlarm, "Sirène", noon))
				if err != nil {
					return err
				}
				if fresh {
					appended.Add(1)
				}
			}
			return nil
		})
		require.EqualValues(t, events, appended.Load())
		require.Len(t, h.all(t), events)
	})

	t.Run("an occurrence is begun once", func(t *testing.T) {
		h := b.house(t)
		s := h.timed(t)
		var begun, claimed atomic.Int64
		together(t, crowd, func(ctx context.Context, i int) error {
			took, mine, err := store(i).Claim(ctx, claim(s, "first"))
			if took {
				claimed.Add(1)
			}
			if mine {
				begun.Add(1)
			}
			return err
		})
		require.EqualValues(t, 1, claimed.Load())
		require.EqualValues(t, 1, begun.Load())
		o := devices.Occurrence{ScenarioID: s.ID, Occasion: "first", At: noon}
		var taken atomic.Int64
		together(t, crowd, func(ctx context.Context, i int) error {
			got, err := store(i).Take(ctx, take(h, o, claim(s, "").Until))
			if got == devices.TakenByCaller {
				taken.Add(1)
			}
			return err
		})
		require.EqualValues(t, 1, taken.Load(), "and taken up once when it is nobody's")
		var ended atomic.Int64
		together(t, crowd, func(ctx context.Context, i int) error {
			err := store(i).Conclude(ctx, o, devices.OccurrenceRan, noon, []devices.Entry{entry(devices.HistoryScenario, "ran", noon)})
			if errors.Is(err, devices.ErrNotFound) {
				return nil
			}
			ended.Add(1)
			return err
		})
		require.EqualValues(t, 1, ended.Load())
	})

	t.Run("no more events than may set a scenario off", func(t *testing.T) {
		h := b.house(t)
		s := h.triggered(t)
		for i := range crowd {
			_, err := h.SaveEvent(t.Context(), h.unit, fmt.Sprint("e", i), entry(devices.HistoryAlarm, "Sirène", noon), occasion(s, fmt.Sprint(i)))
			require.NoError(t, err)
		}
		var begun atomic.Int64
		together(t, crowd, func(ctx context.Context, i int) error {
			wanted := take(h, occasion(s, fmt.Sprint(i)), noon)
			wanted.Most, wanted.SiteMost = 5, 100
			got, err := store(i).Take(ctx, wanted)
			if got == devices.TakenByCaller {
				begun.Add(1)
			}
			return err
		})
		require.EqualValues(t, 5, begun.Load())
	})

	t.Run("a site gets one unit", func(t *testing.T) {
		h := b.emptySite(t)
		var added atomic.Int64
		together(t, crowd, func(ctx context.Context, i int) error {
			_, err := store(i).AddUnit(ctx, newUnit(newUnitID(), h.site), []devices.Device{newDevice(devices.Socket, "Lampe")})
			if errors.Is(err, devices.ErrExists) {
				return nil
			}
			added.Add(1)
			return err
		})
		require.EqualValues(t, 1, added.Load())
		require.Len(t, listed(t, h, "", crowd), 1)
	})

	t.Run("no two devices have one ID", func(t *testing.T) {
		sites := make([]house, crowd)
		for i := range sites {
			sites[i] = b.emptySite(t)
		}
		var mu sync.Mutex
		seen := map[int64]bool{}
		together(t, crowd, func(ctx context.Context, i int) error {
			added, err := store(i).AddUnit(ctx, newUnit(newUnitID(), sites[i].site), []devices.Device{
				newDevice(devices.Socket, "Lampe"), newDevice(devices.Shutter, "Volet"),
			})
			mu.Lock()
			defer mu.Unlock()
			for _, d := range added {
				seen[d.ID] = true
			}
			return err
		})
		require.Len(t, seen, 2*crowd)
	})
}
