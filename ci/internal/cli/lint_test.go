package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// onPath makes a PATH that has git and programs of the test, each a script.
func onPath(t *testing.T, programs map[string]string) {
	t.Helper()
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Symlink(git, filepath.Join(dir, "git")))
	for name, script := range programs {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	t.Setenv("PATH", dir)
}

func TestLint(t *testing.T) {
	dir := sourcetest.New(t)
	t.Setenv("CI", "")
	t.Setenv("GITHUB_ACTIONS", "")
	onPath(t, map[string]string{"nginx": `echo 'nginx: [emerg] 1#1: unknown directive "x" in ./nginx/nginx.conf:3' >&2; exit 1`})

	code, stdout, stderr := run(t, "lint", "--source", dir, "--only", "nginx")
	require.Equal(t, outcome.Failed, code)
	require.Equal(t, "web/nginx/nginx.conf:3: unknown directive \"x\" (nginx/emerg)\n\n", stdout[:len("web/nginx/nginx.conf:3: unknown directive \"x\" (nginx/emerg)\n\n")])
	require.Contains(t, stderr, "nginx web: 1 finding, in ")

	t.Setenv("GITHUB_ACTIONS", "true")
	code, stdout, stderr = run(t, "lint", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Failed, code)
	var got struct {
		Result   string
		Strict   bool
		Findings []map[string]any
		Checks   []struct{ Name, Result, Reason string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got), "one JSON document, and no annotation in it")
	require.Equal(t, "failed", got.Result)
	require.Equal(t, []map[string]any{{
		"tool": "nginx", "file": "web/nginx/nginx.conf", "line": 3.0, "column": 0.0, "rule": "emerg", "text": `unknown directive "x"`, "fix": "",
	}}, got.Findings)
	require.Equal(t, "golangci-lint api", got.Checks[0].Name)
	require.Equal(t, "skipped", got.Checks[0].Result)
	require.Contains(t, got.Checks[0].Reason, "go is not on PATH: install Go")
	require.Contains(t, stderr, "::error file=web/nginx/nginx.conf,line=3,title=nginx/emerg::unknown directive \"x\"\n")

	code, stdout, _ = run(t, "lint", "--source", dir, "--output", "sarif", "--only", "nginx,tflint")
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stdout, `"uri": "web/nginx/nginx.conf"`)
	code, _, stderr = run(t, "lint", "--output", "xml")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, "want one of text, json, markdown, sarif")
	code, _, stderr = run(t, "fmt", "--output", "sarif")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, "want one of text, json, markdown: see slipway fmt --help")

	onPath(t, map[string]string{"nginx": "exit 0"})
	code, stdout, _ = run(t, "lint", "--source", dir, "--service", "web", "--output", "markdown")
	require.Equal(t, outcome.Done, code)
	require.Contains(t, stdout, "### Lint succeeded: nothing found in 1 check\n")
	require.Contains(t, stdout, "| nginx web | clean |  |\n")

	t.Setenv("CI", "true")
	code, stdout, _ = run(t, "lint", "--source", dir)
	require.Equal(t, outcome.Failed, code, "without Go next to nothing is checked, which CI must know")
	require.Contains(t, stdout, "skipped, which counts as failed")
	code, _, _ = run(t, "lint", "--source", dir, "--strict=false")
	require.Equal(t, outcome.Done, code)
}

func TestFmt(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "terraform/main.tf", "a {\nx=1\n}\n")
	sourcetest.Commit(t, dir, "configuration")
	t.Setenv("CI", "")
	const difference = "--- old/main.tf\n+++ new/main.tf\n@@ -1,3 +1,3 @@\n a {\n-x=1\n+  x = 1\n }\n"
	onPath(t, map[string]string{"terraform": "printf '%s' 'main.tf\n" + difference + "'; exit 3"})

	code, stdout, stderr := run(t, "fmt", "--check", "--source", dir)
	require.Equal(t, outcome.Failed, code)
	require.Equal(t, "--- a/terraform/main.tf\n+++ b/terraform/main.tf\n@@ -1,3 +1,3 @@\n a {\n-x=1\n+  x = 1\n }\n", stdout)
	require.Contains(t, stderr, "skipped: go is not on PATH: install Go")

	code, stdout, _ = run(t, "fmt", "--source", dir, "--check", "--output", "markdown")
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stdout, "`terraform/main.tf`\n")

	code, stdout, _ = run(t, "fmt", "--source", dir)
	require.Equal(t, outcome.Done, code, "formatted")
	require.Equal(t, "terraform/main.tf\n", stdout)
	written, err := os.ReadFile(filepath.Join(dir, "terraform", "main.tf"))
	require.NoError(t, err)
	require.Equal(t, "a {\n  x = 1\n}\n", string(written))

	onPath(t, map[string]string{"terraform": "exit 0"})
	code, stdout, _ = run(t, "fmt", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Done, code)
	require.JSONEq(t, `{"files": [], "faults": [], "skipped": ["go is not on PATH: install Go from https://go.dev/dl, or run it with Dagger"]}`, stdout)
	code, _, _ = run(t, "fmt", "--source", dir, "--strict")
	require.Equal(t, outcome.Failed, code)

	onPath(t, map[string]string{"terraform": "printf '\nError: Unclosed block\n\n  on main.tf line 1:\n' >&2; exit 2"})
	code, _, stderr = run(t, "fmt", "--source", dir)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "terraform/main.tf:1:1: Unclosed block\n")
	onPath(t, map[string]string{"terraform": "echo broken >&2; exit 1"})
	code, _, stderr = run(t, "fmt", "--source", dir)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "slipway: terraform fmt terraform ended with exit code 1: broken")
}
