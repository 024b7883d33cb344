package unit

import (
	"context"
	"sync"
)

const (
	laneDepth   = 16 // commands to one device that wait
	parallelMax = 16 // devices that act at one time
)

// lanes runs tasks: those of one device one after the other, those of different
// devices side by side.
type lanes struct {
	slots chan struct{} // a token for each device that acts
	life  context.Context
	end   context.CancelFunc

	mu       sync.Mutex
	waiting  map[int64][]func(context.Context) // by device; an entry for each that acts
	stopping bool
	acting   sync.WaitGroup
}

func newLanes() *lanes {
	l := &lanes{slots: make(chan struct{}, parallelMax), waiting: map[int64][]func(context.Context){}}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// put adds a task to a device's lane, and reports whether there was room.
func (l *lanes) put(device int64, task func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	tasks, acts := l.waiting[device]
	if l.stopping || len(tasks) >= laneDepth {
		return false
	}
	l.waiting[device] = append(tasks, task)
	if !acts {
		l.acting.Go(func() { l.act(device) })
	}
	return true
}

// act runs the tasks of a device until there are none.
func (l *lanes) act(device int64) {
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	for {
		task := l.next(device)
		if task == nil {
			return
		}
		task(l.life)
	}
}

func (l *lanes) next(device int64) func(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tasks := l.waiting[device]
	if len(tasks) == 0 || l.stopping {
		delete(l.waiting, device)
		return nil
	}
	l.waiting[device] = tasks[1:]
	return tasks[0]
}

// stop begins no more tasks, and waits for those that run. When ctx ends their
// context does.
func (l *lanes) stop(ctx context.Context) {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	defer l.end()
	defer context.AfterFunc(ctx, l.end)()
	l.acting.Wait()
}
