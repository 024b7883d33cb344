package metrics_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every metric that a rule, a rule's test or the dashboard names is one that a bridge
// exports, or one that the rules record.
func TestDeploymentsNameMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	m, r := fresh(t)
	exercise(t, m)
	there := make(map[string]bool)
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		there[f.GetName()] = true
		if f.GetMetric()[0].GetHistogram() != nil {
			delete(there, f.GetName()) // Prometheus knows its parts alone
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				there[f.GetName()+part] = true
			}
		}
	}
	read := func(pattern string) string {
		files, err := filepath.Glob(filepath.Join("..", "deployments", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		var all strings.Builder
		for _, name := range files {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			all.Write(text)
		}
		return all.String()
	}
	rules, dashboard := read("prometheus/*.yml"), read("grafana/*.json")
	require.True(t, json.Valid([]byte(dashboard)))

	recorded := make(map[string]bool)
	for _, found := range regexp.MustCompile(`record: (\S+)`).FindAllStringSubmatch(rules, -1) {
		recorded[found[1]] = true
	}
	// Colons make a recorded name; a word of the documentation is none.
	for _, name := range regexp.MustCompile(`\b[a-z_:]*foxbridge_[a-z0-9_:]+`).FindAllString(rules+dashboard, -1) {
		if strings.Contains(name, ":") {
			require.True(t, recorded[name], "%s is not recorded", name)
			continue
		}
		require.True(t, there[name], "%s is not exported", name)
	}
}
