package apidoc_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/apidoc"
)

var update = flag.Bool("update", false, "write docs/openapi.json")

// kept is where the repository keeps the document: as it is at a bridge with the default
// settings.
var kept = filepath.Join("..", "..", "..", "..", "docs", "openapi.json")

func document(t testing.TB, o apidoc.Options) *apidoc.Document {
	t.Helper()
	d, err := apidoc.New(o)
	require.NoError(t, err)
	return d
}

func TestDocumentIsFresh(t *testing.T) {
	t.Parallel()
	d := document(t, apidoc.Options{Server: "http://127.0.0.1:8080", CommandGet: true})
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
	loaded, err := openapi3.NewLoader().LoadFromData(document(t, apidoc.Options{Server: "https://foxbridge.example", CommandGet: true}).JSON())
	require.NoError(t, err)
	require.True(t, loaded.IsOpenAPI31OrLater())
	require.NoError(t, loaded.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation()))
}
