package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func someEnv() demoEnv {
	return demoEnv{
		URL: "http://127.0.0.1:1", ClientID: "id", ClientSecret: "se$cret", Username: "demo@example.com",
		Password: `it's "quoted" \ and $HOME`, SiteID: "1", MQTTURL: "tcp://127.0.0.1:2", OperatorURL: "http://127.0.0.1:3",
		CommercialClientID: "commercial", CommercialClientSecret: "an'other", CommercialRedirectURI: "http://127.0.0.1:4/callback",
		DemoAppURL: "http://127.0.0.1:4",
	}
}

func TestDemoEnvIsReadableForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demo.env")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.NoError(t, someEnv().write(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
}

// A shell that sources it has the very values, whatever characters are in them.
func TestShellSourcesDemoEnv(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demo.env")
	env := someEnv()
	require.NoError(t, env.write(path))
	for _, v := range env.variables() {
		out, err := exec.Command("sh", "-c", `. "$1" && printf %s "$(printenv "$2")"`, "sh", path, v.name).Output()
		require.NoError(t, err)
		require.Equal(t, v.value, string(out), v.name)
		require.Equal(t, v.value, env.lookup(v.name))
	}
	require.Empty(t, env.lookup("FOXBRIDGE_OTHER"))
}

func TestDemoEnvOfAnotherDemoIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demo.env")
	mine, other := someEnv(), someEnv()
	other.Password = "other"
	require.NoError(t, other.write(path))
	require.NoError(t, mine.remove(path))
	require.FileExists(t, path)
	require.NoError(t, other.remove(path))
	require.NoFileExists(t, path)
	require.NoError(t, other.remove(path), "gone already")
}

func TestDemoEnvThatCannotBeWrittenIsSaid(t *testing.T) {
	t.Parallel()
	err := someEnv().write(filepath.Join(t.TempDir(), "missing", "demo.env"))
	require.Error(t, err)
	require.False(t, strings.Contains(err.Error(), "quoted"), "no secret in the error")
}
