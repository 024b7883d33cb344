package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
)

func TestASealKeyIsDrawnOnceAndKept(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg config.Config) {
		cfg.DataDir = filepath.Join(cfg.DataDir, "new")
		first := startBridge(t, cfg)
		path := filepath.Join(cfg.DataDir, "seal.key")
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		key, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-f]{64}\n$`, string(key))
		require.NotContains(t, first.log.String(), strings.TrimSpace(string(key)))
		require.Contains(t, first.log.String(), "a seal key was drawn")
		require.Equal(t, cfg.DatabaseURL != "", strings.Contains(first.log.String(), "seal-key is not set"))
		require.NoError(t, first.Stop(t.Context()))

		cfg.OperatorContact = "help@example.org"
		second := startBridge(t, cfg)
		require.NotContains(t, second.log.String(), "operator-contact is not set")
		require.NotContains(t, second.log.String(), "a seal key was drawn")
		again, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(key), string(again))
		left, err := filepath.Glob(path + "*")
		require.NoError(t, err)
		require.Equal(t, []string{path}, left, "nothing else is left")
	})
}

func TestASealKeyThatIsSetIsNotKept(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.SealKey = strings.Repeat("0f", 32)
	b := startBridge(t, cfg)
	require.NoFileExists(t, filepath.Join(cfg.DataDir, "seal.key"))
	require.NotContains(t, b.log.String(), cfg.SealKey)
}

func TestASealKeyThatCannotBeReadIsToldAndNotReplaced(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"empty": "", "short": "0123\n", "no hex": strings.Repeat("x", 64)} {
		cfg := settings(t)
		path := filepath.Join(cfg.DataDir, "seal.key")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, _, err := newBridge(t, cfg)
		require.ErrorContains(t, err, path+" does not hold 64 hex digits", name)
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(kept), name)
	}
	cfg := settings(t)
	require.NoError(t, os.Mkdir(filepath.Join(cfg.DataDir, "seal.key"), 0o700))
	_, _, err := newBridge(t, cfg)
	require.ErrorContains(t, err, "read seal key")
	cfg = settings(t)
	cfg.DataDir = "/dev/null/x"
	cfg.DatabaseURL = "sqlite:" + filepath.Join(t.TempDir(), "foxbridge.db")
	_, _, err = newBridge(t, cfg)
	require.ErrorContains(t, err, "seal key")
}

func TestManyThatStartAtOnceHaveOneSealKey(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	_, err := app.Migrate(t.Context(), cfg) // which is for one alone
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			a, _, err := newBridge(t, cfg)
			if err != nil {
				t.Error(err)
				return
			}
			if err := a.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	left, err := filepath.Glob(filepath.Join(cfg.DataDir, "seal.key*"))
	require.NoError(t, err)
	require.Len(t, left, 1)
}
