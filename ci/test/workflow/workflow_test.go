package workflow_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/workflow"
)

func TestRules(t *testing.T) {
	set, err := workflow.Read(root())
	require.NoError(t, err)
	require.Empty(t, set.Check())
}

// TestActionlint runs actionlint without shellcheck: every script is a single command,
// which the rules ensure.
func TestActionlint(t *testing.T) {
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{Shellcheck: "", Pyflakes: ""})
	require.NoError(t, err)
	project, err := actionlint.NewProject(root()) // also checks calls of local workflows
	require.NoError(t, err)
	lint := func(name, content string) []*actionlint.Error {
		found, err := linter.Lint(filepath.Join(root(), workflow.Dir, name), []byte(content), project)
		require.NoError(t, err)
		return found
	}
	for name, content := range files(t) {
		require.Empty(t, lint(name, content))
	}
	found := lint("deliver.yml", strings.Replace(files(t)["deliver.yml"], "artifact: ${{ needs.plan", "artefact: ${{ needs.plann", 1))
	require.Len(t, found, 3, "a call without its input, with another, and a job that is not needed: %v", found)
}

// The workflows install the engine version that the module requires.
func TestEngineVersion(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root(), "dagger.json"))
	require.NoError(t, err)
	var module struct{ EngineVersion string }
	require.NoError(t, json.Unmarshal(content, &module))
	want := strings.TrimPrefix(module.EngineVersion, "v")
	action, err := os.ReadFile(filepath.Join(root(), workflow.Setup, "action.yml"))
	require.NoError(t, err)
	installers := files(t)
	installers[workflow.Setup] = string(action)
	versions := regexp.MustCompile(`(?m)^\s+version: (.*)$`)
	for name, content := range installers {
		found := versions.FindAllStringSubmatch(content, -1)
		require.Len(t, found, strings.Count(content, "uses: dagger/dagger-for-github@"), name)
		for _, version := range found {
			require.Equal(t, want, version[1], name)
		}
	}
	require.Contains(t, installers[workflow.Setup], "uses: dagger/dagger-for-github@")
}

// The action keeps the rules for a workflow's actions: its own are pinned, as elsewhere, and
// no value is pasted into a script.
func TestSetup(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root(), workflow.Setup, "action.yml"))
	require.NoError(t, err)
	uses := regexp.MustCompile(`(?m)uses: (.*)$`).FindAllStringSubmatch(string(content), -1)
	require.Len(t, uses, 1)
	require.Contains(t, files(t)["lock.yml"], uses[0][1], "pinned as in the workflows")
	require.NotRegexp(t, `run:.*\$\{\{`, string(content))
	require.NotContains(t, string(content), "secrets")
	for _, name := range []string{workflow.ModuleScript, workflow.Script, workflow.ReleaseScript} {
		info, err := os.Stat(filepath.Join(root(), workflow.Scripts, name))
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&0o111, name)
	}
}

// files returns the workflows of this repository.
func files(t testing.TB) map[string]string {
	names, err := filepath.Glob(filepath.Join(root(), workflow.Dir, "*.yml"))
	require.NoError(t, err)
	all := map[string]string{}
	for _, name := range names {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		all[filepath.Base(name)] = string(content)
	}
	return all
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	_, err := workflow.Read(dir)
	require.ErrorContains(t, err, "no workflows in "+dir)

	folder := filepath.Join(dir, workflow.Dir)
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "x.yml"), 0o755))
	_, err = workflow.Read(dir)
	require.ErrorContains(t, err, "reading workflows")

	_, err = workflow.Parse(map[string]string{"ci.yml": "on: push\njobs:\n  a:\n    step: []\n"})
	require.ErrorContains(t, err, `.github/workflows/ci.yml:4: unexpected key "step" for "job" section`)
}

func TestFinding(t *testing.T) {
	require.Equal(t, ".github/workflows/ci.yml:3: text", workflow.Finding{File: "ci.yml", Line: 3, Text: "text"}.String())
}
