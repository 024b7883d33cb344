package devices

import (
	"sync"
	"time"
)

// flights holds the commands that somebody here waits for, by their ID.
type flights struct {
	mu    sync.Mutex
	aloft map[string]*flight
}

// flight is one such command.
type flight struct {
	id     string
	landed chan struct{} // closed by the first land

	mu          sync.Mutex
	waiting     int     // guarded by flights.mu
	command     Command // as sent, then as it landed; zero while only joined
	clockOffset time.Duration
	isLanded    bool
}

// join waits along for the command's outcome. Every join is followed by a leave.
func (fs *flights) join(id string) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.aloft[id]
	if f == nil {
		f = &flight{id: id, landed: make(chan struct{})}
		fs.aloft[id] = f
	}
	f.waiting++
	return f
}

func (fs *flights) leave(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.waiting--
	if f.waiting == 0 && fs.aloft[f.id] == f {
		delete(fs.aloft, f.id)
	}
}

// find gives the flight that carries the command, or nil.
func (fs *flights) find(id string) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.aloft[id]
}

// carries notes what was sent, so that its answer needs no reading.
func (f *flight) carries(c Command, clockOffset time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.command, f.clockOffset = c, clockOffset
}

// sent gives what carries noted; false if this bridge did not send it.
func (f *flight) sent() (Command, time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.command, f.clockOffset, f.command.ID != ""
}

// land tells all who wait that the house has spoken. Only the first call counts.
func (f *flight) land(c Command) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isLanded {
		return
	}
	f.command, f.isLanded = c, true
	close(f.landed)
}

// outcome gives the command as it landed.
func (f *flight) outcome() Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.command
}
