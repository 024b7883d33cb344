package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a bridge has answered stands, whatever becomes of it: it is killed in the
// middle of 200 commands and started again.
func TestKilledBridgeLosesNothingThatItAnswered(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		const commands, sockets = 200, 20
		var things []string
		for i := range sockets {
			things = append(things, fmt.Sprintf("socket:Lamp %d", i))
		}
		e := newEstate(t, record, data, things...)
		settings := []string{"--command-wait", "2s", "--limit-api", "0", "--limit-commands", "0", "--lane-depth", "64"}
		bridge := e.serve(t, settings...)
		token := e.token(t, bridge)
		home := e.live(t, bridge, token)

		send := func(ctx context.Context, i int) (status int, id string) {
			device := e.box.Devices[i%sockets].DeviceID
			operation := []string{"on", "off"}[i/sockets%2]
			path := e.path(fmt.Sprintf("/device/%d/socket/%s", device, operation))
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+bridge.HTTP+path, nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Idempotency-Key", fmt.Sprint("command-", i))
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				return 0, ""
			}
			defer response.Body.Close()
			return response.StatusCode, response.Header.Get("Foxbridge-Command-Id")
		}

		var answered atomic.Int64
		var mu sync.Mutex
		done := map[int]string{} // command IDs of what was answered 200
		var all sync.WaitGroup
		for i := range commands {
			all.Go(func() {
				status, id := send(t.Context(), i)
				if status != http.StatusOK {
					return
				}
				mu.Lock()
				done[i] = id
				mu.Unlock()
				if answered.Add(1) == commands/4 {
					require.NoError(t, bridge.process.Kill())
				}
			})
		}
		all.Wait()
		bridge.kill() // if too few were answered, which then fails
		require.GreaterOrEqual(t, len(done), commands/4)
		t.Logf("killed after %d of %d commands were answered", len(done), commands)

		bridge = e.serve(t, append(settings, "--mqtt", bridge.MQTT)...)
		bridge.eventually(t, "connected to the home again", func() bool {
			var units []unit
			e.run(t, &units, "unit", "list")
			return len(units) == 1 && units[0].Online
		})
		for i, id := range done {
			status, body := authorized(t, bridge, http.MethodGet, e.path("/command/"+id), token)
			require.Equal(t, http.StatusOK, status, body)
			var answer struct {
				Payload struct {
					Outcome string `json:"outcome"`
				} `json:"payload"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &answer))
			require.Equal(t, "done", answer.Payload.Outcome, "command %d was answered 200", i)
		}

		// The clients repeat, as they do. What the unit had done it does not do again.
		ids := make([]string, commands)
		var settled atomic.Int64
		for i := range commands {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var status int
				status, ids[i] = send(ctx, i)
				if status == http.StatusOK {
					settled.Add(1)
				}
			})
		}
		all.Wait()
		mine := map[string]int{}
		for i, id := range ids {
			require.NotEmpty(t, id, "command %d is answered with its record", i)
			if first, repeated := done[i]; repeated {
				require.Equal(t, first, id, "a repeat is answered with the command that it repeats")
			}
			mine[id] = i
		}
		times := map[int]int{}
		for _, x := range home.Executions() {
			i, known := mine[x.CommandID]
			require.True(t, known, "the unit executed %s, which is on nobody's record", x.CommandID)
			times[i]++
			require.Equal(t, 1, times[i], "command %d was executed once", i)
		}
		for i := range done {
			require.Equal(t, 1, times[i], "command %d was answered 200, so the unit did it", i)
		}
		t.Logf("after the restart %d of %d repeats were answered 200; the unit executed %d, none twice", settled.Load(), commands, len(times))
	})
}

// A refresh token that many requests present at once yields one pair.
func TestThousandParallelRefreshesAreOnePair(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		_, refresh := e.tokens(t, bridge, map[string]string{"grant_type": "password", "username": e.username, "password": e.password})

		const parallel = 1000
		pairs := make([]string, parallel)
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range parallel {
			all.Go(func() {
				<-start
				access, next := e.tokens(t, bridge, map[string]string{"grant_type": "refresh_token", "refresh_token": refresh})
				pairs[i] = access + " " + next
			})
		}
		close(start)
		all.Wait()
		distinct := map[string]int{}
		for _, pair := range pairs {
			distinct[pair]++
		}
		require.Len(t, distinct, 1, "1,000 answers are one pair")
		require.Equal(t, parallel, distinct[pairs[0]])
	})
}
