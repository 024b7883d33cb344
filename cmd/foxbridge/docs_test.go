package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
)

// blocks gives the code blocks of a page that are marked with this word. "sh" marks
// what ends by itself, "console" what is started and stays.
func blocks(t testing.TB, page, mark string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	require.NoError(t, err)
	var out []string
	for _, found := range regexp.MustCompile("(?ms)^```"+mark+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		out = append(out, found[1])
	}
	return out
}

// shell runs a block of a page in a folder, with the program in its PATH.
func shell(t testing.TB, dir, script string) string {
	t.Helper()
	programs := t.TempDir()
	require.NoError(t, os.Symlink(binary(t), filepath.Join(programs, "foxbridge")))
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Dir = dir
	c.Env = []string{"HOME=" + dir, "PATH=" + programs + ":" + os.Getenv("PATH")}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	return string(out)
}

// What the README tells a newcomer works as it is printed there.
func TestReadmeTellsTheTruth(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	require.NoError(t, err)
	for _, block := range blocks(t, "README.md", "console") {
		for command := range strings.Lines(block) {
			target, is := strings.CutPrefix(strings.TrimSpace(command), "make ")
			require.True(t, is, command)
			require.Contains(t, string(makefile), "\n"+target+":", command)
		}
	}

	dir := t.TempDir()
	demo := launchIn(t, dir, "demo")
	demo.eventually(t, "showing what to try", func() bool {
		_, err := os.Stat(filepath.Join(dir, "demo.env"))
		return err == nil
	})
	answers := shell(t, dir, strings.Join(blocks(t, "README.md", "sh"), "\n"))
	require.Regexp(t, `"payload":\{"request":"OK"\}`, answers)
	require.Contains(t, answers, `"payload":{"status":4,"statusLabel":"armed"}`)
	require.Contains(t, answers, `Alarm armed by Demo`)
	require.Equal(t, exitOK, demo.stop(t))
}

// The commands of the operator's page work as they are printed there, but for the
// addresses, which are the test's.
func TestRunningPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bridge := launchIn(t, dir, "serve", "--data-dir", "./data", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--operator", "127.0.0.1:0")
	address := bridge.address(t, "mqtt")
	for _, block := range blocks(t, "docs/running.md", "sh") {
		shell(t, dir, block)
	}
	dsn := migrationstest.PostgresDSN(t)
	ours := strings.NewReplacer("127.0.0.1:1883", address, "postgres://foxbridge@127.0.0.1/foxbridge", "'"+dsn+"'")
	const stays = "FOXBRIDGE_HTTP=127.0.0.1:0 FOXBRIDGE_MQTT=127.0.0.1:0 FOXBRIDGE_OPERATOR=127.0.0.1:0 timeout --preserve-status -s TERM 5 foxbridge"
	for _, block := range blocks(t, "docs/running.md", "console") {
		script := ours.Replace(block)
		for _, command := range []string{"serve", "simulate"} {
			script = regexp.MustCompile(`(?m)^foxbridge `+command).ReplaceAllString(script, stays+" "+command)
		}
		out := shell(t, dir, script)
		require.Regexp(t, `listening|is connected`, out, block)
	}
	units := shell(t, dir, "foxbridge unit list --data-dir ./data")
	require.Contains(t, units, "foxbridge-simulator", "the page's unit has been there")
	require.Equal(t, exitOK, bridge.stop(t))
}

// Every page says which of its commands run, and somebody runs them.
func TestEveryPageIsRead(t *testing.T) {
	t.Parallel()
	run := map[string]bool{"README.md": true, "docs/running.md": true}
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	for _, page := range pages {
		name := "docs/" + filepath.Base(page)
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		if !run[name] {
			require.Empty(t, blocks(t, name, "(?:sh|console)"), "%s has commands that no test runs", name)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join("../../docs", link[1]))
			require.NoError(t, err, fmt.Sprintf("%s links to %s", name, link[1]))
		}
	}
}
