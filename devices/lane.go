package devices

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// place is what a lane leads to: a device, or the alarm of a site.
type place struct{ siteID, deviceID int64 }

// lanes holds one lane for each device that has unanswered commands.
type lanes struct {
	depth int
	mu    sync.Mutex
	busy  map[place]*lane
}

// lane keeps the commands to one device in order.
type lane struct {
	place   place
	turn    chan struct{} // holds one token: who has it may accept and send
	members int           // guarded by lanes.mu
}

// enter takes a place in the lane, or refuses if all are taken.
func (ls *lanes) enter(p place) (*lane, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.busy[p]
	if l == nil {
		l = &lane{place: p, turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		ls.busy[p] = l
	}
	if l.members >= ls.depth {
		return nil, &Refusal{Code: LaneFull, Text: "The device has too many unanswered commands", RetryAfter: time.Second}
	}
	l.members++
	return l, nil
}

// leave gives the place back. The last one out takes the lane away.
func (ls *lanes) leave(l *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.members--
	if l.members == 0 {
		delete(ls.busy, l.place)
	}
}

func (l *lane) takeTurn(ctx context.Context) error {
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await turn for device %d of site %d: %w", l.place.deviceID, l.place.siteID, ctx.Err())
	}
}

func (l *lane) passTurn() { l.turn <- struct{}{} }
