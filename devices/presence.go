package devices

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Bounds of what a Simulation does.
const (
	presenceDevices = 10               // that it switches
	presenceSpan    = 45 * time.Minute // that a device stays on or off, at the most
)

// plan is what a Simulation does in one window. It is drawn when the window begins, and
// recorded, so that whoever goes on with it does the same.
type plan struct {
	Until   int64     `json:"until"` // the end of the window, in Unix milliseconds
	Moments []planned `json:"moments"`
}

// planned is a moment of a plan. There may be several at one time.
type planned struct {
	At        int64  `json:"at"` // Unix milliseconds
	Device    int64  `json:"device"`
	Operation string `json:"operation"`
}

func (p planned) at() time.Time { return time.UnixMilli(p.At).UTC() }

// readPlan reads a recorded plan; an empty one for none.
func readPlan(text json.RawMessage) (plan, error) {
	var p plan
	if len(text) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return plan{}, fmt.Errorf("read plan: %w", err)
	}
	return p, nil
}

// next gives the first time of the plan after then; false if there is none.
func (p plan) next(then time.Time) (time.Time, bool) {
	for _, m := range p.Moments {
		if m.at().After(then) {
			return m.at(), true
		}
	}
	return time.Time{}, false
}

// is reports whether the plan has something to do at that time.
func (p plan) is(at time.Time) bool {
	return slices.ContainsFunc(p.Moments, func(m planned) bool { return m.at().Equal(at) })
}

// steps are those of the scenario's devices that the plan has for a time.
func (p plan) steps(at time.Time, of []Step) []Step {
	var steps []Step
	for _, m := range p.Moments {
		i := slices.IndexFunc(of, func(s Step) bool { return s.Device.ID == m.Device })
		if m.at().Equal(at) && i >= 0 {
			steps = append(steps, Step{Device: of[i].Device, Operation: m.Operation})
		}
	}
	return steps
}

// drawPlan has each device of the steps switched on and off again and again from start to
// end, as people would who are at home. What is on at the end is switched off then. How
// long a device stays as it is is random: of a window of three hours or more from 7.5 to 45
// minutes, else from a 24th to a quarter of it.
func drawPlan(steps []Step, start, end time.Time, random func(below int64) int64) plan {
	p := plan{Until: end.UnixMilli()}
	longest := min(presenceSpan, end.Sub(start)/4)
	shortest := longest / 6
	if shortest < 100*time.Millisecond {
		return p // what is left of the window is over at once
	}
	for _, device := range devicesOf(steps) {
		on := false
		put := func(at time.Time) {
			on = !on
			operation := map[bool]string{true: "on", false: "off"}[on]
			p.Moments = append(p.Moments, planned{At: at.UnixMilli(), Device: device, Operation: operation})
		}
		for at := start; ; {
			at = at.Add(shortest + time.Duration(random(int64(longest-shortest)+1)))
			if !at.Before(end) {
				break
			}
			put(at)
		}
		if on {
			put(end)
		}
	}
	slices.SortStableFunc(p.Moments, func(a, b planned) int { return cmp.Compare(a.At, b.At) })
	return p
}

// devicesOf lists the devices of steps, each once.
func devicesOf(steps []Step) []int64 {
	var list []int64
	for _, s := range steps {
		if !slices.Contains(list, s.Device.ID) {
			list = append(list, s.Device.ID)
		}
	}
	return list
}

// randomBelow draws a number from 0 to below-1.
func randomBelow(below int64) int64 {
	n, err := rand.Int(rand.Reader, big.NewInt(below))
	if err != nil {
		return 0 // not reached: the reader never fails
	}
	return n.Int64()
}
