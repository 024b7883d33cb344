package oauthhttp

import (
	"strconv"
	"time"
)

// chart is a bar chart of tokens over time, drawn on the server, with the limit in
// it. Beside the picture it is a table, for whoever cannot see it.
type chart struct {
	ID      string // of the element
	Heading string // message
	Daily   bool   // each bar is a day, otherwise an hour
	Limit   int    // wasteful tokens that one bar's time allows; 0: none is drawn
	Bars    []bar

	Width, Height int    // of the drawing, in its own units
	MarkY         string // on which the labels under the bars stand
	LimitY        string // where the line of the limit is
	LimitText     string // where its label stands
	Ticks         []tick
	Marks         []mark
}

// slot is what was issued in one bar's time.
type slot struct {
	From     time.Time
	Tokens   int // all of them
	Wasteful int // those of them that were not needed
}

// bar is a slot as it is drawn: the wasteful tokens from the ground up, the others
// upon them.
type bar struct {
	slot
	X, Width                string
	WastefulY, WastefulHigh string
	UsefulY, UsefulHigh     string
	Useful                  int
}

// tick is a line of the scale.
type tick struct {
	Y, TextY string
	Value    int
}

// mark is a label under a bar: a day, or the time of an hour.
type mark struct {
	X    string
	At   time.Time
	Text string // of an hour
}

// Geometry of a chart, in its own units: about one to a pixel on a phone.
const (
	chartWidth  = 340
	chartHeight = 180
	chartLeft   = 30 // for the scale
	chartTop    = 14
	chartBase   = chartHeight - 18 // for the marks
	chartGap    = 0.2              // of a bar's place that stays free
)

// newChart draws slots, which are one bar each, the oldest first. Times are shown in
// their own location.
func newChart(id, heading string, slots []slot, daily bool, limit int) chart {
	c := chart{ID: id, Heading: heading, Daily: daily, Limit: limit, Width: chartWidth, Height: chartHeight, MarkY: units(chartHeight - 3)}
	top := scale(slots, limit)
	y := func(tokens int) float64 { return chartBase - float64(tokens)/float64(top)*(chartBase-chartTop) }
	for _, value := range []int{0, top / 2, top} {
		c.Ticks = append(c.Ticks, tick{Y: units(y(value)), TextY: units(y(value) + 3.5), Value: value})
	}
	if limit > 0 {
		c.LimitY, c.LimitText = units(y(limit)), units(y(limit)-3)
	}
	place := float64(chartWidth-chartLeft) / float64(max(1, len(slots)))
	for i, s := range slots {
		left := chartLeft + float64(i)*place
		useful := s.Tokens - s.Wasteful
		c.Bars = append(c.Bars, bar{
			slot: s, Useful: useful,
			X: units(left + place*chartGap/2), Width: units(place * (1 - chartGap)),
			WastefulY: units(y(s.Wasteful)), WastefulHigh: units(chartBase - y(s.Wasteful)),
			UsefulY: units(y(s.Tokens)), UsefulHigh: units(y(s.Wasteful) - y(s.Tokens)),
		})
		if marked(s.From, daily, i) {
			c.Marks = append(c.Marks, mark{X: units(left + place/2), At: s.From, Text: s.From.Format("15:04")})
		}
	}
	return c
}

// marked reports whether the bar has a label: every sixth hour, every seventh day, and
// none so near the edge that it would be cut off.
func marked(at time.Time, daily bool, i int) bool {
	if daily {
		return i%7 == 5
	}
	return i != 0 && i != 23 && at.Hour()%6 == 0
}

// scale is the top of the chart: a number that holds all bars and the limit, and
// reads well, as does its half.
func scale(slots []slot, limit int) int {
	most := limit + limit/5
	for _, s := range slots {
		most = max(most, s.Tokens)
	}
	for unit := 1; ; unit *= 10 {
		for _, top := range []int{4, 6, 8, 10, 12, 16, 20, 24, 30} {
			if top*unit >= most {
				return top * unit
			}
		}
	}
}

// units writes a length in the drawing's units.
func units(length float64) string { return strconv.FormatFloat(length, 'f', 1, 64) }

// Sum is all that the chart shows.
func (c chart) Sum() slot {
	var all slot
	for _, b := range c.Bars {
		all.Tokens += b.Tokens
		all.Wasteful += b.Wasteful
	}
	return all
}

// Told are the bars in which anything was issued, the newest first, as the table has
// them.
func (c chart) Told() []bar {
	var told []bar
	for i := range c.Bars {
		if b := c.Bars[len(c.Bars)-1-i]; b.Tokens > 0 {
			told = append(told, b)
		}
	}
	return told
}
