package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func environ(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("from a file\n"), 0o600))
	env := map[string]string{"FOXBRIDGE_URL": "http://127.0.0.1:1", "FOXBRIDGE_COMMERCIAL_CLIENT_ID": "id", "FOXBRIDGE_COMMERCIAL_CLIENT_SECRET": "from the environment"}
	for want, args := range map[string][]string{
		"from the environment": {},
		"from the flag":        {"--client-secret", "from the flag"},
		"from a file":          {"--client-secret-file", file},
	} {
		s, err := parse(args, environ(env), &strings.Builder{})
		require.NoError(t, err)
		require.Equal(t, want, s.secret)
		require.Equal(t, "http://127.0.0.1:1 id", s.server+" "+s.clientID)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":             {[]string{"--help"}, 0, "--client-secret-file"},
		"unknown flag":     {[]string{"--nonsense"}, 2, "nonsense"},
		"argument":         {[]string{"more"}, 2, "more"},
		"two secrets":      {[]string{"--client-secret", "a", "--client-secret-file", "b"}, 2, "both given"},
		"no such file":     {[]string{"--client-secret-file", "/nowhere"}, 2, "/nowhere"},
		"no server":        {[]string{"--listen", "127.0.0.1:0", "--client-id", "c"}, 1, "option Server"},
		"no client":        {[]string{"--listen", "127.0.0.1:0", "--server", "http://127.0.0.1:1"}, 1, "option ClientID"},
		"no such address":  {[]string{"--listen", "nonsense"}, 1, "nonsense"},
		"url with a slash": {[]string{"--listen", "127.0.0.1:0", "--url", "http://a/", "--server", "http://127.0.0.1:1", "--client-id", "c"}, 1, "option URL"},
	} {
		var stderr strings.Builder
		require.Equal(t, c.code, run(t.Context(), c.args, environ(nil), &stderr), name)
		require.Contains(t, strings.ReplaceAll(stderr.String(), "  -", "  --"), c.says, name)
	}
}

func TestServesUntilItIsTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	log := &transcript{}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--listen", "127.0.0.1:0", "--server", "http://127.0.0.1:1", "--client-id", "c"}, environ(nil), log)
	}()
	var found []string
	require.Eventually(t, func() bool {
		found = regexp.MustCompile(`listening url=(\S+) redirect_uri=(\S+)`).FindStringSubmatch(log.String())
		return found != nil
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, found[1]+"/callback", found[2])
	response, err := http.Get(found[1])
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	cancel()
	require.Equal(t, 0, <-ended)
}

// transcript collects a log.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
