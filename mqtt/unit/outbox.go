package unit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/foxbridge/foxbridge/mqtt/internal/wire"
)

const (
	lastingMax = 512 // answers and events that wait for the broker
	windowMax  = 32  // messages that the broker has not confirmed yet
)

// item is a message that waits until the broker has it. Of those that are not
// lasting only the latest of a topic waits, and only for the present connection: the next one
// begins with every state anyhow.
type item struct {
	wire.Message
	lasting bool
	sent    bool // over the present connection
}

// outbox keeps what the unit has to say, in order.
type outbox struct {
	log *slog.Logger

	mu       sync.Mutex
	items    []*item
	attached bool          // there is a connection
	changed  chan struct{} // closed at the next change of items or attached
}

func newOutbox(log *slog.Logger) *outbox { return &outbox{log: log, changed: make(chan struct{})} }

// put adds what is to be said. A message takes the place of one that is not sent yet
// on the same topic, unless they last.
func (o *outbox) put(items ...item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.tell()
	for _, i := range items {
		o.add(i)
	}
}

func (o *outbox) add(i item) {
	if !i.lasting {
		if !o.attached {
			return
		}
		same := func(other *item) bool { return !other.sent && !other.lasting && other.Topic == i.Topic }
		if at := slices.IndexFunc(o.items, same); at >= 0 {
			o.items[at] = &i
			return
		}
	}
	if i.lasting && o.lasting() >= lastingMax {
		oldest := slices.IndexFunc(o.items, func(other *item) bool { return other.lasting })
		o.items = slices.Delete(o.items, oldest, oldest+1)
		o.log.Warn("too much waits for the broker, the oldest message is lost")
	}
	o.items = append(o.items, &i)
}

func (o *outbox) lasting() int {
	n := 0
	for _, i := range o.items {
		if i.lasting {
			n++
		}
	}
	return n
}

// tell wakes all who wait for a change.
func (o *outbox) tell() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// await waits until the broker has everything. An error says that it has not, since
// there is no connection or ctx ended.
func (o *outbox) await(ctx context.Context) error {
	for {
		o.mu.Lock()
		empty, attached, changed := len(o.items) == 0, o.attached, o.changed
		o.mu.Unlock()
		switch {
		case empty && attached:
			return nil
		case !attached:
			return errors.New("no connection")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *outbox) connected() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.attached
}

// attach says that there is a connection, on which first comes before everything
// that an earlier one left.
func (o *outbox) attach(first item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.tell()
	o.attached = true
	items := []*item{&first}
	for _, i := range o.items {
		if i.lasting {
			i.sent = false
			items = append(items, i)
		}
	}
	o.items = items
}

func (o *outbox) detach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.tell()
	o.attached = false
}

// deliver publishes what is there and what comes, until ctx or the connection ends;
// then there is no connection.
func (o *outbox) deliver(ctx context.Context, conn *wire.Conn) {
	defer o.detach()
	type sending struct {
		*item
		receipt wire.Receipt
	}
	sent := make(chan sending, windowMax)
	var confirming sync.WaitGroup
	confirming.Go(func() {
		for s := range sent {
			select {
			case <-s.receipt.Done():
			case <-conn.Lost():
			case <-ctx.Done():
			}
			if confirmed(s.receipt) {
				o.remove(s.item)
			}
		}
	})
	defer confirming.Wait()
	defer close(sent)
	for {
		i := o.next(ctx, conn)
		if i == nil {
			return
		}
		receipt, err := conn.Publish(i.Message)
		if err != nil {
			return
		}
		sent <- sending{i, receipt}
	}
}

func confirmed(r wire.Receipt) bool {
	select {
	case <-r.Done():
		return r.Error() == nil
	default:
		return false
	}
}

// next waits for an item that is not sent yet; nil says that there is no sense in
// waiting any more.
func (o *outbox) next(ctx context.Context, conn *wire.Conn) *item {
	for {
		o.mu.Lock()
		at := slices.IndexFunc(o.items, func(i *item) bool { return !i.sent })
		if at >= 0 {
			i := o.items[at]
			i.sent = true
			o.mu.Unlock()
			return i
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-conn.Lost():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *outbox) remove(i *item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.tell()
	o.items = slices.DeleteFunc(o.items, func(other *item) bool { return other == i })
}
