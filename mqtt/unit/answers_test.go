package unit

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAnswersAreRememberedAsLongAsTheCommandCouldComeAgain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 0)
	a := newAnswers(func() time.Time { return now }, 2)
	take := func(id string, left time.Duration) standing {
		s, _ := a.take(id, "reply", left)
		return s
	}
	require.Equal(t, fresh, take("short", time.Second))
	require.Equal(t, fresh, take("long", time.Hour))
	require.Equal(t, full, take("third", time.Second), "none is forgotten that could come again")
	a.answer("short", []byte("answer"))
	require.Equal(t, full, take("third", time.Second))
	now = now.Add(a.shortest + time.Second)
	require.Equal(t, answered, take("short", 0), "as long as there is room")
	require.Equal(t, fresh, take("third", time.Second), "in the place of the short one")
	require.Equal(t, pending, take("long", 0))
	a.drop("third")
	require.Equal(t, fresh, take("short", time.Second))
	now = now.Add(2 * time.Hour)
	require.Equal(t, full, take("fourth", time.Second), "what is being done is never forgotten")
}

// Whatever comes in whatever order, a command is fresh once as long as it could come
// again, and not more are remembered than there may be.
func TestACommandIsFreshOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1, 0)
		a := newAnswers(func() time.Time { return now }, 8)
		expires := map[string]time.Time{} // of what was begun
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			id := fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "id"))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				left := time.Duration(rapid.IntRange(0, 100).Draw(t, "left")) * time.Second
				if s, _ := a.take(id, "reply", left); s == fresh {
					if until, begun := expires[id]; begun && !now.After(until) {
						t.Fatalf("command %s is fresh again %s before it could not come any more", id, until.Sub(now))
					}
					expires[id] = now.Add(left)
				}
			case 2:
				if known := a.known[id]; known != nil && known.payload == nil {
					a.answer(id, []byte("answer"))
				}
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "passes")) * time.Second)
			}
			if len(a.known) > 8 {
				t.Fatalf("%d commands are remembered", len(a.known))
			}
		}
	})
}
