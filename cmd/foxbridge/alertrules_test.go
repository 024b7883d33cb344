package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// deployment is the path of a file that ships with the program.
func deployment(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "deployments", name))
	require.NoError(t, err)
	return path
}

// tool runs a tool to its end, in a folder.
func tool(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s %v\n%s", name, args, out)
}

// The rules fire when they should, and Prometheus and Alertmanager take the examples of
// their settings.
func TestAlertRulesFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	prometheus, alertmanager := deployment(t, "prometheus"), deployment(t, "alertmanager")
	tool(t, prometheus, "promtool", "check", "rules", "--lint-fatal", "foxbridge.rules.yml", "policy.rules.yml")
	tool(t, prometheus, "promtool", "test", "rules", "foxbridge.test.yml")
	tool(t, prometheus, "promtool", "check", "config", "prometheus.yml")
	tool(t, alertmanager, "amtool", "check-config", "alertmanager.yml")
	for labels, receiver := range map[string]string{
		"receiver=foxbridge": "foxbridge,operator",
		"severity=info":      "operator",
		"severity=critical":  "operator",
	} {
		tool(t, alertmanager, "amtool", "config", "routes", "test", "--config.file=alertmanager.yml", "--verify.receivers="+receiver, labels)
	}
}

// Every query of the dashboard is PromQL, and asks the variables that it has.
func TestDashboardAsksPrometheus(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(deployment(t, "grafana/foxbridge.json"))
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	ids, taken := make(map[int]bool), make(map[[2]int]string)
	for _, p := range dashboard.Panels {
		require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies on another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for n, q := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", "foxbridge").Replace(q.Expr)
			require.NotContains(t, expr, "$", "%s asks a variable that there is not", p.Title)
			fmt.Fprintf(&rules, "  - record: panel_%d_%d\n    expr: %q\n", p.ID, n, expr)
		}
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dashboard.yml"), []byte(rules.String()), 0o600))
	tool(t, dir, "promtool", "check", "rules", "dashboard.yml")
}
