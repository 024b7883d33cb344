package devices

import (
	"time"
)

// NextOf gives what the Engine schedules by.
func NextOf(r Rule, then time.Time, zone *time.Location) time.Time { return r.next(then, zone) }

// WindowOf gives the window of a Simulation.
func WindowOf(r Rule, then time.Time, zone *time.Location) (start, end time.Time) {
	return r.window(then, zone)
}

// Switch is a moment of a plan.
type Switch struct {
	At        time.Time
	Device    int64
	Operation string
}

// Draw draws a plan.
func Draw(steps []Step, start, end time.Time, random func(below int64) int64) []Switch {
	var list []Switch
	for _, m := range drawPlan(steps, start, end, random).Moments {
		list = append(list, Switch{m.at(), m.Device, m.Operation})
	}
	return list
}
