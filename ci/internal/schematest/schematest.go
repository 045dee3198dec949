// Package schematest validates documents of tests by the schemas in docs/schema.
package schematest

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// RequireValid fails the test unless a document is valid by the schema of that name and
// has no keys that the schema lacks.
func RequireValid(t testing.TB, name string, document []byte) {
	t.Helper()
	file := sourcetest.Repository(filepath.FromSlash(Dir), name+".json")
	strict, err := jsonschema.FileLoader{}.Load("file://" + filepath.ToSlash(file))
	require.NoError(t, err)
	rejectUnknownKeys(strict)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.DefaultDraft(jsonschema.Draft2020)
	require.NoError(t, compiler.AddResource(name, strict))
	compiled, err := compiler.Compile(name)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	require.NoError(t, err, string(document))
	require.NoError(t, compiled.Validate(value), "docs/schema/%s.json, which go -C ci/test generate ./schema writes, and the document\n%s", name, document)
}

// rejectUnknownKeys makes a schema reject keys that it does not define.
func rejectUnknownKeys(node any) {
	switch node := node.(type) {
	case map[string]any:
		if properties, ok := node["properties"].(map[string]any); ok {
			if _, said := node["additionalProperties"]; !said && len(properties) > 0 {
				node["additionalProperties"] = false
			}
		}
		for _, child := range node {
			rejectUnknownKeys(child)
		}
	case []any:
		for _, child := range node {
			rejectUnknownKeys(child)
		}
	}
}
