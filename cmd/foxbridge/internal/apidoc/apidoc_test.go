package apidoc_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/apidoc"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

var update = flag.Bool("update", false, "write docs/openapi.json")

// kept is where the repository keeps the document: as it is at a bridge with the default
// settings.
var kept = filepath.Join("..", "..", "..", "..", "docs", "openapi.json")

func TestDocumentIsFresh(t *testing.T) {
	t.Parallel()
	d := apidoc.New(apidoc.Options{Server: "http://127.0.0.1:8080", CommandGet: true, Limits: new(oauth.DefaultLimits())})
	if *update {
		require.NoError(t, os.WriteFile(kept, d.JSON(), 0o644))
	}
	text, err := os.ReadFile(kept)
	require.NoError(t, err)
	require.Equal(t, string(text), string(d.JSON()), `run "make docs"`)
}

// The document is one of OpenAPI 3.1, and each example in it is what its schema says.
func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	loaded, err := openapi3.NewLoader().LoadFromData(apidoc.New(apidoc.Options{Server: "https://foxbridge.example", CommandGet: true}).JSON())
	require.NoError(t, err)
	require.True(t, loaded.IsOpenAPI31OrLater())
	require.NoError(t, loaded.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation()))
}

// What is shown is Swagger UI as npm has it, with its licences.
func TestAssetsAreThoseOfThePackage(t *testing.T) {
	t.Parallel()
	note, err := os.ReadFile(filepath.Join("assets", "swagger-ui.txt"))
	require.NoError(t, err)
	require.Contains(t, string(note), "swagger-ui-dist 5.35.0")
	sums := regexp.MustCompile(`(?m)^([0-9a-f]{64}) (\S+)$`).FindAllStringSubmatch(string(note), -1)
	require.Len(t, sums, 5)
	for _, sum := range sums {
		content := asset(t, sum[2])
		require.Equal(t, sum[1], fmt.Sprintf("%x", sha256.Sum256(content)), sum[2])
	}
	entries, err := os.ReadDir("assets")
	require.NoError(t, err)
	require.Len(t, entries, len(sums)+3, "beside them: the note, docs.js and docs.css")
}

// asset reads a file of the page, or what is kept of it compressed.
func asset(t testing.TB, name string) []byte {
	t.Helper()
	path := filepath.Join("assets", name)
	content, err := os.ReadFile(path)
	if err == nil {
		return content
	}
	packed, err := os.Open(path + ".gz")
	require.NoError(t, err)
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	require.NoError(t, err)
	content, err = io.ReadAll(z)
	require.NoError(t, err)
	return content
}

// Commands by GET are described where they are taken, and only there.
func TestCommandsByGET(t *testing.T) {
	t.Parallel()
	paths := func(commandGet bool) map[string]map[string]any {
		var d struct{ Paths map[string]map[string]any }
		require.NoError(t, json.Unmarshal(apidoc.New(apidoc.Options{CommandGet: commandGet}).JSON(), &d))
		return d.Paths
	}
	const arm = "/v2/site/{siteId}/security/set/armed"
	require.Contains(t, paths(true)[arm], "get")
	require.NotContains(t, paths(false)[arm], "get")
	require.Contains(t, paths(false)[arm], "post")
	require.Len(t, paths(false), len(paths(true)))
}

// Whoever reads the description learns what an application is switched off by, and how
// that looks, with the numbers of the bridge.
func TestTheDocumentTellsToKeepTheToken(t *testing.T) {
	t.Parallel()
	for limits, want := range map[*oauth.Limits]string{
		new(oauth.DefaultLimits()): "asks for more than 20 within one hour or 100 within one day is switched off",
		{Day: 7}:                   "asks for more than 7 within one day is switched off",
		{}:                         "",
		nil:                        "",
	} {
		d := apidoc.New(apidoc.Options{Limits: limits})
		require.Contains(t, string(d.JSON()), "**Keep your token.** An access token works for an hour.")
		require.Contains(t, string(d.JSON()), want)
		require.Equal(t, want != "", strings.Contains(string(d.JSON()), "A personal application that asks for more"))
	}
	var read struct {
		Components struct {
			Responses map[string]struct{ Description string }
			Schemas   struct {
				Explanation struct {
					Properties struct{ By, Rule struct{ Enum []string } }
				}
			}
			Headers map[string]struct{ Description string }
		}
	}
	require.NoError(t, json.Unmarshal(apidoc.New(apidoc.Options{}).JSON(), &read))
	off := 0
	for name, response := range read.Components.Responses {
		if strings.Contains(response.Description, "The application is switched off: `explanation` says why") {
			off++
			require.Regexp(t, `UnauthorizedClient|InvalidToken`, name)
		}
	}
	require.Greater(t, off, 2)
	require.Equal(t, []string{"wasteful_tokens_per_hour", "wasteful_tokens_per_day"}, read.Components.Schemas.Explanation.Properties.Rule.Enum)
	require.Equal(t, []string{"policy", "operator", "alert"}, read.Components.Schemas.Explanation.Properties.By.Enum)
	require.Contains(t, read.Components.Headers["RateLimit"].Description, "`wasted-hour`")
}

// Each row of the catalogue is described with its scope, and every scope is told.
func TestEveryRowAndScopeIsDescribed(t *testing.T) {
	t.Parallel()
	var d struct {
		Paths map[string]map[string]struct {
			Summary  string
			Security []map[string][]string
		}
		Components struct {
			SecuritySchemes struct {
				OAuth2 struct {
					Flows map[string]struct{ Scopes map[string]string }
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(apidoc.New(apidoc.Options{CommandGet: true}).JSON(), &d))
	told := d.Components.SecuritySchemes.OAuth2.Flows["authorizationCode"].Scopes
	require.Len(t, told, len(devices.Scopes()))
	for _, row := range devices.Catalogue() {
		path := "/v2" + regexp.MustCompile(`\{(\w+)\}`).ReplaceAllString(row.Path, "{${1}Id}")
		require.NotEmpty(t, d.Paths[path], path)
		for method, o := range d.Paths[path] {
			require.NotContains(t, o.Summary, "{", "%s %s", method, path)
			if row.Scope == "" {
				require.Equal(t, []string{}, o.Security[0]["oauth2"])
				continue
			}
			require.Equal(t, []string{row.Scope}, o.Security[0]["oauth2"], path)
			require.NotEmpty(t, told[row.Scope], row.Scope)
		}
	}
}
