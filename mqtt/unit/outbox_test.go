package unit

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/mqtt/internal/wire"
)

func said(topic, payload string, lasting bool) item {
	return item{Message: wire.Message{Topic: topic, Payload: []byte(payload)}, lasting: lasting}
}

func (o *outbox) payloads() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, i := range o.items {
		all = append(all, string(i.Payload))
	}
	return all
}

func TestOutboxKeepsTheLatestStateAndEveryAnswer(t *testing.T) {
	t.Parallel()
	o := newOutbox(slog.New(slog.DiscardHandler))
	o.put(said("state/1", "lost: the connection will begin with it", false))
	o.put(said("ack", "a", true), said("ack", "b", true))
	require.Error(t, o.await(t.Context()), "no connection")
	o.attach(said("link", "online", false))
	o.put(said("state/1", "1", false), said("state/2", "2", false), said("state/1", "3", false), said("ack", "c", true))
	require.Equal(t, []string{"online", "a", "b", "3", "2", "c"}, o.payloads())

	online, a := o.next(t.Context(), nil), o.next(t.Context(), nil)
	require.Equal(t, "online", string(online.Payload))
	o.remove(online)
	b := o.next(t.Context(), nil)
	state := o.next(t.Context(), nil)
	require.Equal(t, "3", string(state.Payload))
	o.put(said("state/1", "4", false))
	require.Equal(t, []string{"a", "b", "3", "2", "c", "4"}, o.payloads(), "what is on its way is not changed any more")
	o.remove(b)

	o.detach()
	o.attach(said("link", "online again", false))
	require.Equal(t, []string{"online again", "a", "c"}, o.payloads(), "what the broker may not have is said again")
	require.Equal(t, "online again", string(o.next(t.Context(), nil).Payload))
	require.Same(t, a, o.next(t.Context(), nil))
}

func TestOutboxIsBounded(t *testing.T) {
	t.Parallel()
	o := newOutbox(slog.New(slog.DiscardHandler))
	for i := range lastingMax + 3 {
		o.put(said("event", fmt.Sprint(i), true))
	}
	all := o.payloads()
	require.Len(t, all, lastingMax)
	require.Equal(t, "3", all[0], "the oldest are lost")
}
