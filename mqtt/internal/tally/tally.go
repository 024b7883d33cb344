// Package tally writes to the log what can happen very often: the first of many like
// events at once, and then one line a minute that says how many more there were.
package tally

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	every   = time.Minute
	keysMax = 256 // kinds of events told apart at a time; beyond them those with the same message are one
)

// Log is a log for what can happen very often. Its methods may be called concurrently.
type Log struct {
	log *slog.Logger

	mu     sync.Mutex
	open   map[string]*kind
	closed bool
}

// kind is what is known of the events with one key in the present minute.
type kind struct {
	level slog.Level
	msg   string
	args  []any // of the latest
	more  int   // that no line has told of
	timer *time.Timer
}

// New makes a Log that writes to log.
func New(log *slog.Logger) *Log { return &Log{log: log, open: map[string]*kind{}} }

// Say writes a line, unless one with this key was written in the last minute: then
// the event is counted, and the line that is due when the minute is over has the latest args and
// the count as more.
func (l *Log) Say(level slog.Level, key, msg string, args ...any) {
	if l.count(level, key, msg, args) {
		l.log.Log(context.Background(), level, msg, args...)
	}
}

// count reports whether the event is to be written at once.
func (l *Log) count(level slog.Level, key, msg string, args []any) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return true
	}
	if l.open[key] == nil && len(l.open) >= keysMax {
		key = msg
	}
	if k := l.open[key]; k != nil {
		k.more++
		k.args = args
		return false
	}
	l.open[key] = &kind{level: level, msg: msg, args: args, timer: time.AfterFunc(every, func() { l.due(key) })}
	return true
}

// due ends a minute of a key, or begins the next one.
func (l *Log) due(key string) {
	l.mu.Lock()
	k := l.open[key]
	if k == nil {
		l.mu.Unlock()
		return
	}
	told := *k
	if k.more == 0 {
		delete(l.open, key)
	} else {
		k.more = 0
		k.timer.Reset(every)
	}
	l.mu.Unlock()
	l.tell(told)
}

func (l *Log) tell(k kind) {
	if k.more > 0 {
		l.log.Log(context.Background(), k.level, k.msg, append(slices.Clone(k.args), "more", k.more)...)
	}
}

// Close writes what was counted. What is said later is written at once.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	open := l.open
	l.open = map[string]*kind{}
	l.mu.Unlock()
	for _, k := range open {
		k.timer.Stop()
		l.tell(*k)
	}
}
