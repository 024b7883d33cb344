package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A second bridge on a record is refused and harms nobody; when the first one is
// killed, the next may serve.
func TestOneBridgeServesARecord(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		e.live(t, bridge, e.token(t, bridge))

		second := command(t, nil, append([]string{"serve", "--data-dir", data, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--operator", "127.0.0.1:0"}, record...)...)
		var said bytes.Buffer
		second.Stderr = &said
		require.Error(t, second.Run())
		require.Contains(t, said.String(), "another bridge is serving this record")
		var units []unit
		e.run(t, &units, "unit", "list")
		require.True(t, units[0].Online, "the first bridge's units stay")

		bridge.kill()
		third := e.serve(t)
		require.Equal(t, exitOK, third.stop(t))
	})
}

// A slip in the path of the data directory is said, and leaves nothing behind.
func TestListsMakeNoDatabase(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for _, list := range []string{"user", "app", "site", "unit"} {
		c := command(t, nil, list, "list", "--data-dir", missing)
		out, err := c.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "there is no database at "+missing)
	}
	require.NoDirExists(t, missing)
}
