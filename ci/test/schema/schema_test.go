package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
	"github.com/slipway-cd/slipway/ci/test/schema"
)

// TestCommitted says that docs/schema is what the types give.
func TestCommitted(t *testing.T) {
	files, err := schema.Generate(sourcetest.Root("ci"))
	require.NoError(t, err)
	dir := filepath.Join(sourcetest.Root(schematest.Dir), filepath.FromSlash(schematest.Dir))
	there, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.Len(t, there, len(files), "one file a document: run go -C ci/test generate ./schema")
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err, "run go -C ci/test generate ./schema")
		require.Equal(t, string(want), string(got), "%s is stale: run go -C ci/test generate ./schema", name)
	}
}

func TestContent(t *testing.T) {
	files, err := schema.Generate(sourcetest.Root("ci"))
	require.NoError(t, err)
	var release struct {
		ID          string `json:"$id"`
		Schema      string `json:"$schema"`
		Comment     string `json:"$comment"`
		Title       string
		Description string
		Additional  any `json:"additionalProperties"`
		Required    []string
		Properties  map[string]map[string]any
		Definitions map[string]struct {
			Description string
			Enum        []any
			Additional  any `json:"additionalProperties"`
			Properties  map[string]map[string]any
		} `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(files["release.json"], &release))
	require.Equal(t, "https://slipway.dev/schema/release.json", release.ID)
	require.Equal(t, "https://json-schema.org/draft/2020-12/schema", release.Schema)
	require.Contains(t, release.Comment, "ignore those that you do not know")
	require.Equal(t, "Report of a release", release.Title)
	require.Contains(t, release.Description, "Release is the report of a release")
	require.Contains(t, release.Required, "services")
	require.NotContains(t, release.Required, "next", "what may be left out is not required")
	require.Equal(t, "Next is the command to run if a restore has failed, or to continue a paused release.", release.Properties["next"]["description"], "as the docstring has it")
	require.Equal(t, "#/$defs/Result", release.Properties["result"]["$ref"])
	require.Equal(t, []any{"succeeded", "unchanged", "restored", "failed", "refused", "interrupted", "paused", "started"}, release.Definitions["Result"].Enum, "the constants of the type")
	require.Contains(t, release.Definitions["Result"].Description, "\nunchanged: nothing to do\n")
	require.Contains(t, release.Definitions["Code"].Enum, 130.0)
	require.Nil(t, release.Additional, "a later version may have more")
	require.Nil(t, release.Definitions["Service"].Additional)
	require.NotEmpty(t, release.Definitions["Cause"].Properties["exit_code"]["oneOf"], "a container that never started has none")
}

func TestWrite(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Symlink(sourcetest.Repository("ci"), filepath.Join(root, "ci")))
	dir := filepath.Join(root, "docs", "schema")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, name := range []string{"gone.json", "README.md"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	require.NoError(t, schema.Write(root))
	require.NoFileExists(t, filepath.Join(dir, "gone.json"))
	require.FileExists(t, filepath.Join(dir, "README.md"))
	for _, d := range schematest.Documents() {
		require.FileExists(t, filepath.Join(dir, d.File()))
	}
	require.ErrorContains(t, schema.Write(t.TempDir()), "reading the source of github.com/slipway-cd/slipway/ci/internal/")
}

// failing notes that a test failed, where it is meant to.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper()               {}
func (f *failing) Errorf(string, ...any) { f.failed = true }
func (f *failing) FailNow()              { panic(f) }

func TestRequireValid(t *testing.T) {
	valid := func(document string) bool {
		f := &failing{TB: t}
		func() {
			defer func() { _ = recover() }() // FailNow
			schematest.RequireValid(f, "release", []byte(document))
		}()
		return !f.failed
	}
	var good bytes.Buffer
	r := report.Release{Result: report.Succeeded, Services: []report.Service{{Name: "a", Result: report.Restored, Causes: []report.Cause{{Reason: "x"}}}}}
	require.NoError(t, r.JSON(&good))
	require.True(t, valid(good.String()), good.String())
	for from, to := range map[string]string{
		`"succeeded"`:            `"done"`,
		`"url": ""`:              `"link": ""`,
		`"0001-01-01T00:00:00Z"`: `"yesterday"`,
		`"name"`:                 `"extra": 1, "name"`,
		`"exit_code": null`:      `"exit_code": "none"`,
		`"events": []`:           `"events": null`,
		`{`:                      ``,
	} {
		require.Contains(t, good.String(), from)
		require.False(t, valid(strings.Replace(good.String(), from, to, 1)), to)
	}
}
