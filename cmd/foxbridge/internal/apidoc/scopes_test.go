package apidoc_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// The page for authors of commercial applications has each scope with what people read
// where they consent, and with every operation that it is for.
func TestTableOfScopesIsFresh(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..", "..")
	page := filepath.Join(root, "docs", "commercial.md")
	words, err := os.ReadFile(filepath.Join(root, "oauth", "oauthhttp", "messages", "en.json"))
	require.NoError(t, err)
	var messages map[string]any // a text, or its forms by number
	require.NoError(t, json.Unmarshal(words, &messages))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	table := regexp.MustCompile(`(?m)^\| scope \| .*\n\|[-|]+\|\n(?:\|.*\n)+`)
	require.Len(t, table.FindAll(text, -1), 1)
	fresh := table.ReplaceAllLiteralString(string(text), scopeTable(t, messages))
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(fresh), 0o644))
	}
	text, err = os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, fresh, string(text), `run "make docs"`)
}

func scopeTable(t testing.TB, messages map[string]any) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("| scope | the person reads | it is for, below `/v2` |\n|---|---|---|\n")
	for _, scope := range devices.Scopes() {
		meaning, ok := messages["scope."+scope].(string)
		require.True(t, ok, scope)
		if hint, ok := messages["scope."+scope+".hint"].(string); ok {
			meaning += ". " + hint
		}
		out.WriteString("| `" + scope + "` | " + meaning + " | " + operationsOf(scope) + " |\n")
	}
	return out.String()
}

// operationsOf lists the paths of a scope; of those that differ in their last segment
// alone the next ones are that segment.
func operationsOf(scope string) string {
	var out, before string
	for _, row := range devices.Catalogue() {
		if row.Scope != scope || row.Legacy {
			continue
		}
		method := "GET"
		if row.Commands() {
			method = "POST"
		}
		at := strings.LastIndexByte(row.Path, '/')
		stem, last := method+" `"+row.Path[:at], row.Path[at+1:]
		switch {
		case stem == before:
			out += ", `" + last + "`"
		case out == "":
			out = stem + "/" + last + "`"
		default:
			out += "; " + stem + "/" + last + "`"
		}
		before = stem
	}
	return out
}
