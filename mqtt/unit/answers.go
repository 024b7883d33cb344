package unit

import (
	"slices"
	"sync"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

const (
	answersMargin = time.Minute // how much longer than it could be repeated a command is remembered
	sweepEvery    = time.Second // looks for what can be forgotten, at the most
	repliesMax    = 8           // bridges that may ask about one command
)

// answers remembers the commands that were taken and what was answered, so that none
// is executed twice. A command is remembered at least until it could not be begun any more,
// with a margin for a clock that is put back; past that only while there is room.
type answers struct {
	now      func() time.Time // never put back
	most     int
	shortest time.Duration // that a command is remembered

	mu    sync.Mutex
	known map[string]*answer
	swept time.Time
}

type answer struct {
	replies []string // topics on which the answer is awaited
	payload []byte   // nil while it is being found
	until   time.Time
}

func newAnswers(now func() time.Time, most int) *answers {
	longest := time.Duration(0)
	for _, row := range devices.Catalogue() {
		longest = max(longest, row.Expiry)
	}
	return &answers{now: now, most: most, shortest: longest + answersMargin, known: map[string]*answer{}}
}

// standing is what is known of a command that came.
type standing int

const (
	fresh    standing = iota // it is remembered from now on, and is to be executed
	pending                  // it is being executed, and will be answered there as well
	answered                 // it has its answer
	full                     // there is no room to remember it
)

// take looks a command up, or remembers it. left is how long it may still be begun.
// The payload is that of the answer that was given.
func (a *answers) take(id, reply string, left time.Duration) (standing, []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.known[id]; known != nil {
		if known.payload != nil {
			return answered, known.payload
		}
		if !slices.Contains(known.replies, reply) && len(known.replies) < repliesMax {
			known.replies = append(known.replies, reply)
		}
		return pending, nil
	}
	now := a.now()
	if len(a.known) >= a.most && !a.forget(now) {
		return full, nil
	}
	a.known[id] = &answer{replies: []string{reply}, until: now.Add(max(left+answersMargin, a.shortest))}
	return fresh, nil
}

// forget drops what need not be remembered, and reports whether there is room then.
func (a *answers) forget(now time.Time) bool {
	if now.Sub(a.swept) < sweepEvery {
		return false
	}
	a.swept = now
	for id, known := range a.known {
		if known.payload != nil && now.After(known.until) {
			delete(a.known, id)
		}
	}
	return len(a.known) < a.most
}

// answer remembers the answer to a command, and gives the topics that it goes to.
func (a *answers) answer(id string, payload []byte) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.known[id]
	known.payload = payload
	return known.replies
}

// drop forgets a command that was not begun and is not answered.
func (a *answers) drop(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, id)
}
