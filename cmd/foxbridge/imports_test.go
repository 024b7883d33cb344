package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/foxbridge/foxbridge"

// arrows says which of our packages each of our packages may import: adapters
// import inward, a domain imports none of ours, and only cmd/foxbridge everything.
func arrows() map[string][]string {
	return map[string][]string{
		"cmd/foxbridge":                            {"*"},
		"cmd/foxbridge/internal/app":               {"*"},
		"cmd/foxbridge/internal/config":            nil,
		"cmd/foxbridge/internal/notify":            nil,
		"cmd/foxbridge/internal/notify/notifytest": nil,
		"cmd/foxbridge/internal/bench":             {"internal/groupcommit"},
		"cmd/foxbridge/internal/apidoc":            {"devices", "devices/devicehttp", "oauth", "oauth/oauthhttp", "internal/web"},
		"cmd/demo-app":                             {"cmd/demo-app/demoapp"},
		"cmd/demo-app/demoapp":                     nil,
		"cmd/foxbridge/internal/policy":            {"oauth"},

		"oauth":             nil,
		"oauth/oauthhttp":   {"oauth", "internal/web"},
		"oauth/oauthpgx":    {"oauth", "internal/groupcommit"},
		"oauth/oauthsqlite": {"oauth", "internal/groupcommit"},
		"oauth/oauthtest":   {"oauth"},

		"devices":              nil,
		"devices/devicehttp":   {"devices", "internal/web"},
		"devices/devicepgx":    {"devices", "internal/groupcommit"},
		"devices/devicesqlite": {"devices", "internal/groupcommit"},
		"devices/devicetest":   {"devices"},

		"mqtt":                {"devices", "mqtt/internal/wire", "mqtt/internal/tally"},
		"mqtt/broker":         {"mqtt", "mqtt/internal/tally"},
		"mqtt/unit":           {"mqtt", "mqtt/internal/wire", "devices"}, // devices for its catalogue alone
		"mqtt/mqtttest":       {"mqtt", "mqtt/unit", "devices"},
		"mqtt/internal/tally": nil,
		"mqtt/internal/wire":  nil,

		"metrics":                               nil,
		"deployments/migrations":                nil,
		"deployments/migrations/migrationstest": {"deployments/migrations", "internal/groupcommit"},
		"internal/groupcommit":                  nil,
		"internal/limit":                        nil,
		"internal/apitest":                      nil,
		"internal/web":                          nil,
	}
}

// goPackage is what "go list" says of a package, imports by their path below the
// module; those of others are left out.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func ourPackages(t *testing.T) []goPackage {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
	out, err := command.Output()
	require.NoError(t, err)
	var packages []goPackage
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, goPackage{
			ImportPath:   strings.TrimPrefix(p.ImportPath, module+"/"),
			Imports:      ours(p.Imports),
			TestImports:  ours(p.TestImports),
			XTestImports: ours(p.XTestImports),
		})
	}
}

func ours(imports []string) []string {
	var out []string
	for _, i := range imports {
		if below, is := strings.CutPrefix(i, module+"/"); is {
			out = append(out, below)
		}
	}
	return out
}

func isTestPackage(importPath string) bool { return strings.HasSuffix(path.Base(importPath), "test") }

func TestPackagesImportOnlyInward(t *testing.T) {
	t.Parallel()
	may := arrows()
	packages := ourPackages(t)
	require.NotEmpty(t, packages)
	for _, p := range packages {
		allowed, known := may[p.ImportPath]
		require.True(t, known, "package %s is not in the table of arrows", p.ImportPath)
		for _, imported := range p.Imports {
			if slices.Contains(allowed, "*") {
				require.False(t, isTestPackage(imported), "%s imports %s, which is for tests", p.ImportPath, imported)
				continue
			}
			require.Contains(t, allowed, imported, "%s must not import %s", p.ImportPath, imported)
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if !strings.HasPrefix(p.ImportPath, "cmd/") {
				require.False(t, strings.HasPrefix(imported, "cmd/"), "the tests of %s must not import %s", p.ImportPath, imported)
			}
		}
	}
}

// Two packages of the same domain that keep the record know nothing of each other,
// and only they and the process know SQL.
func TestOnlyStoresKnowTheDatabase(t *testing.T) {
	t.Parallel()
	for _, p := range ourPackages(t) {
		if slices.Contains(p.Imports, "internal/groupcommit") {
			require.Contains(t, []string{
				"oauth/oauthpgx", "oauth/oauthsqlite", "devices/devicepgx", "devices/devicesqlite",
				"deployments/migrations/migrationstest", "cmd/foxbridge/internal/app", "cmd/foxbridge/internal/bench",
			}, p.ImportPath)
		}
	}
}
