package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nodeModules finds the packages of .ci/npm where .ci/install-tools puts them. Without
// them the test fails if CI is set.
func nodeModules(t testing.TB) (dir string, ok bool) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join("..", "..", ".ci", "npm", "package-lock.json"))
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	hash := sha256.Sum256(lock)
	dir = filepath.Join(cache, "foxbridge", "npm-"+hex.EncodeToString(hash[:8]), "node_modules")
	_, err = os.Stat(dir)
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "run .ci/install-tools: %v", err)
	}
	return dir, err == nil
}

// nodeLimit bounds the run of a script.
const nodeLimit = 2 * time.Minute

// node runs a script of testdata/node with the packages of npm, and fails the test if
// it fails. The script is given given. For each address to which it sends a person,
// browse gives the one to which the person is sent back; the answer that the person is
// to give is the script's to say.
func node(t testing.TB, script string, given any, browse func(address, answer string) string) {
	t.Helper()
	modules, ok := nodeModules(t)
	if !ok {
		fmt.Fprint(os.Stderr, `
*******************************************************************
*  NOT TESTED WITH WHAT NPM HAS: it is not installed.             *
*  Run .ci/install-tools.                                         *
*******************************************************************
`)
		t.Skip("the packages of .ci/npm are not installed")
	}
	dir := t.TempDir() // a script finds packages beside itself
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "node"))))

	ctx, cancel := context.WithTimeout(t.Context(), nodeLimit)
	defer cancel()
	// The flag is for Node.js 18, where the Web's cryptography is not global yet.
	c := exec.CommandContext(ctx, "node", "--experimental-global-webcrypto", script)
	c.Dir = dir
	c.Env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, newProxy(t).forNode(t)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdin, err := c.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	defer func() {
		cancel()
		_ = c.Wait() // the result of a run that ended was looked at below
	}()

	out := json.NewEncoder(stdin)
	require.NoError(t, out.Encode(given))
	finished := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var said struct {
			Open, Answer string
			Finished     bool
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &said), "%s", lines.Text())
		if said.Finished {
			finished = true
			continue
		}
		require.NoError(t, out.Encode(browse(said.Open, said.Answer)))
	}
	require.NoError(t, stdin.Close())
	require.NoError(t, c.Wait(), "%s: %s", script, &stderr)
	require.True(t, finished, "%s ended early: %s", script, &stderr)
}
