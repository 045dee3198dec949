package manual_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// linesFile has the lines that package blackbox executes where an engine is reachable.
const linesFile = "ci/test/blackbox/testdata/lines.json"

// documented is a line of the manual or a workflow step that calls the module.
type documented struct{ Where, Line string }

var (
	fences    = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	spans     = regexp.MustCompile("`(dagger call [^`]+)`")
	continued = regexp.MustCompile(`\\\n\s*`)
	called    = regexp.MustCompile(`(?m)^ *(dagger call .*)$`)
	caller    = regexp.MustCompile(`^(dagger call|dagger-module|dagger-call) `)
)

// documentedLines returns all lines that call the module, in order.
func documentedLines(t *testing.T) (all []documented) {
	t.Helper()
	dir := root()
	pages, err := filepath.Glob(filepath.Join(dir, "docs", "*.md"))
	require.NoError(t, err)
	for _, page := range append(pages, filepath.Join(dir, "README.md"), filepath.Join(dir, "CONTRIBUTING.md"), filepath.Join(dir, "terraform", "README.md")) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		add := func(found [][]string) {
			for _, match := range found {
				all = append(all, documented{filepath.Base(page), strings.TrimSpace(match[1])})
			}
		}
		for _, block := range fences.FindAllString(string(text), -1) {
			add(called.FindAllStringSubmatch(continued.ReplaceAllString(block, " "), -1))
		}
		add(spans.FindAllStringSubmatch(strings.ReplaceAll(fences.ReplaceAllString(string(text), ""), "\n", " "), -1))
	}
	files, err := filepath.Glob(filepath.Join(dir, ".github", "workflows", "*.yml"))
	require.NoError(t, err)
	for _, file := range files {
		var workflow struct {
			Jobs yaml.Node
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(text, &workflow))
		for n := 1; n < len(workflow.Jobs.Content); n += 2 { // keys and values, in order
			var job struct{ Steps []struct{ Run string } }
			require.NoError(t, workflow.Jobs.Content[n].Decode(&job))
			for _, step := range job.Steps {
				if caller.MatchString(step.Run) {
					all = append(all, documented{filepath.Base(file), step.Run})
				}
			}
		}
	}
	return all
}

// TestDocumentedLines wants the lines that are executed to be those of the manual and of the
// workflows.
func TestDocumentedLines(t *testing.T) {
	t.Parallel()
	var all bytes.Buffer
	encoder := json.NewEncoder(&all)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(documentedLines(t)))
	requireGenerated(t, linesFile, "", all.String())
}
