package wire

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"
)

// The pause between two attempts grows from the first to the second of these.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 10 * time.Second
)

// Keep connects again and again until ctx ends. open makes one connection (a *Conn, or
// several that belong together) and sets it up; what it returns is given to hold, which returns when the connection is of no
// more use. An error of open is given to failed. Between attempts it pauses, longer each time until
// one succeeds, and by a random part so that many who lost one broker do not return at
// one moment.
func Keep[C any](ctx context.Context, open func(context.Context) (C, error), hold func(context.Context, C), failed func(error)) {
	pause := pauseMin
	for ctx.Err() == nil {
		conn, err := open(ctx)
		if err == nil {
			began := time.Now()
			hold(ctx, conn)
			if time.Since(began) > pauseMax {
				pause = pauseMin
			}
		} else if ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(jittered(pause)):
			pause = min(2*pause, pauseMax)
		}
	}
}

// jittered gives something between half of d and d.
func jittered(d time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails; crypto/rand
	return d/2 + time.Duration(binary.LittleEndian.Uint64(b[:])%uint64(d/2))
}
