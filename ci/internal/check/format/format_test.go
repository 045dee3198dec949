package format_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/format"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
)

// recorded is an executor that returns the recorded result of a tool.
type recorded struct {
	diff   string // file of testdata; "" leaves nothing
	stderr string
	exit   int
	err    error
}

func (r recorded) Run(_ context.Context, s step.Step, dir string) (step.Result, error) {
	if r.err != nil {
		return step.Result{}, r.err
	}
	if r.diff != "" {
		data, err := os.ReadFile(filepath.Join("testdata", r.diff))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, s.Stdout), data, 0o600)
		}
		if err != nil {
			return step.Result{}, err
		}
	}
	return step.Result{ExitCode: r.exit, Stderr: r.stderr}, nil
}

// tree is a source tree with the files that the recordings were made of.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, recording := range map[string]string{"api/main.go": "main.go.txt", "terraform/main.tf": "main.tf.txt"} {
		data, err := os.ReadFile(filepath.Join("testdata", recording))
		require.NoError(t, err)
		name = filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, data, 0o640))
	}
	return dir
}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	require.NoError(t, err)
	return string(data)
}

func TestGoChanges(t *testing.T) {
	changes, faults, err := format.Go("api", "golang").Run(t.Context(), recorded{diff: "gofumpt.diff", exit: 1, stderr: "exit status 1\n"})
	require.NoError(t, err)
	require.Empty(t, faults)
	require.Len(t, changes, 1)
	require.Equal(t, "api/main.go", changes[0].File)
	require.Equal(t, 9, changes[0].Hunks[0].Line, "the line with func, and not the context before it")
	require.Contains(t, changes[0].Diff(), "--- a/api/main.go\n+++ b/api/main.go\n@@ -6,11 +6,12 @@")

	dir := tree(t)
	require.NoError(t, changes[0].Apply(dir))
	require.Contains(t, read(t, dir, "api", "main.go"), "\nfunc main() {\n\tf, _ := os.Open(\"x\")\n")
	info, err := os.Stat(filepath.Join(dir, "api", "main.go"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Join(dir, "api"))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file is left")

	require.ErrorContains(t, changes[0].Apply(dir), "formatting api/main.go, which has changed meanwhile")
	require.ErrorIs(t, changes[0].Apply(t.TempDir()), os.ErrNotExist)
}

func TestTerraformChanges(t *testing.T) {
	changes, faults, err := format.Terraform("terraform", "terraform").Run(t.Context(), recorded{diff: "terraform.diff", exit: 3})
	require.NoError(t, err)
	require.Empty(t, faults)
	require.Len(t, changes, 1)
	require.Equal(t, "terraform/main.tf", changes[0].File)
	require.Equal(t, 2, changes[0].Hunks[0].Line)

	dir := tree(t)
	require.NoError(t, changes[0].Apply(dir))
	require.Contains(t, read(t, dir, "terraform", "main.tf"), "  both = var.name\n  more = 1\n")
}

func TestRunErrors(t *testing.T) {
	broken := errors.New("the engine is down")
	tests := map[string]struct {
		formatter format.Formatter
		end       recorded
		faults    []format.SyntaxError
		err       string
	}{
		"Go syntax": {
			format.Go("api", ""),
			recorded{diff: "gofumpt.diff", exit: 1, stderr: "b.go:3:14: expected ')', found '{'\nexit status 2\n"},
			[]format.SyntaxError{{File: "api/b.go", Line: 3, Column: 14, Text: "expected ')', found '{'"}},
			"",
		},
		"Terraform syntax": {
			format.Terraform("terraform", ""),
			recorded{diff: "terraform.diff", exit: 2, stderr: "\nError: Unclosed configuration block\n\n  on sub/b.tf line 1, in resource \"x\":\n   1: resource \"x\" {\n\nThere is no closing brace.\n"},
			[]format.SyntaxError{{File: "terraform/sub/b.tf", Line: 1, Text: "Unclosed configuration block"}},
			"",
		},
		"no output":       {format.Go("api", ""), recorded{exit: 1}, nil, "gofumpt api wrote no diff"},
		"no reason":       {format.Go("api", ""), recorded{diff: "empty.diff", exit: 1, stderr: "a\nb\nout of memory\n"}, nil, "gofumpt api ended with exit code 1: a; b; out of memory"},
		"no engine":       {format.Go("api", ""), recorded{err: broken}, nil, "the engine is down"},
		"no terraform":    {format.Terraform("terraform", ""), recorded{err: fmt.Errorf("running it: %w", exec.ErrNotFound)}, nil, "terraform is not on PATH: install it"},
		"garbage":         {format.Go("api", ""), recorded{diff: "garbage.diff", exit: 1}, nil, "gofumpt api: reading the diff"},
		"outside of tree": {format.Go(".", ""), recorded{diff: "outside.diff", exit: 1}, nil, "the diff contains ../main.go, which is not in the source tree"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, faults, err := tt.formatter.Run(t.Context(), tt.end)
			require.Equal(t, tt.faults, faults)
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// byTool is an executor that delegates to one executor per tool.
type byTool map[string]step.Executor

func (b byTool) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	tool, _, _ := strings.Cut(s.Name, " ")
	return b[tool].Run(ctx, s, dir)
}

func TestSummary(t *testing.T) {
	formatters := []format.Formatter{format.Terraform("terraform", ""), format.Go("api", "")}
	s, err := format.Run(t.Context(), byTool{
		"gofumpt":   recorded{diff: "gofumpt.diff", exit: 1, stderr: "b.go:3:14: expected ')', found '{'\n"},
		"terraform": recorded{diff: "terraform.diff", exit: 3},
	}, formatters)
	require.NoError(t, err)
	require.Equal(t, []string{"api/main.go", "terraform/main.tf"}, s.Files)
	require.Equal(t, []string{"api/b.go:3:14: expected ')', found '{'"}, s.SyntaxErrors)
	require.Empty(t, s.Skipped)
	var diff, markdown strings.Builder
	require.NoError(t, s.Diff(&diff))
	require.Contains(t, diff.String(), "+++ b/terraform/main.tf\n@@ -1,13 +1,13 @@")
	require.NoError(t, s.Markdown(&markdown))
	require.Contains(t, markdown.String(), "`api/main.go`\n\n```diff\n--- a/api/main.go\n")
	require.Contains(t, markdown.String(), "- api/b.go:3:14: expected ')', found '{'\n")
	dir := tree(t)
	require.NoError(t, s.Apply(dir))
	require.Error(t, s.Apply(dir))

	s, err = format.Run(t.Context(), byTool{
		"gofumpt":   recorded{diff: "empty.diff"},
		"terraform": recorded{err: exec.ErrNotFound},
	}, formatters)
	require.NoError(t, err)
	require.Equal(t, format.Summary{Files: []string{}, SyntaxErrors: []string{}, Skipped: []string{
		"terraform is not on PATH: install it from https://developer.hashicorp.com/terraform/install, or run it with Dagger",
	}}, s)
	markdown.Reset()
	require.NoError(t, s.Markdown(&markdown))
	require.Contains(t, markdown.String(), "Every file is formatted.\n- skipped: terraform is not on PATH")

	broken := errors.New("the engine is down")
	_, err = format.Run(t.Context(), byTool{"gofumpt": recorded{err: broken}, "terraform": recorded{err: broken}}, formatters)
	require.ErrorIs(t, err, broken)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	_, err = format.Run(ctx, byTool{"gofumpt": recorded{err: broken}, "terraform": recorded{err: broken}}, formatters)
	require.EqualError(t, err, "formatting: interrupted")
}

// TestHost formats a file with the real gofumpt.
func TestHost(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/x\n\ngo 1.26\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.go"), []byte("package x\n\nfunc  F() {\n\n}\n"), 0o644))
	s, err := format.Run(t.Context(), step.Host{Source: dir}, []format.Formatter{format.Go(".", "")})
	require.NoError(t, err)
	if len(s.Skipped) > 0 {
		t.Skipf("%s %s is neither in the build cache nor to be fetched: %s", tool.Gofumpt.Name, tool.Gofumpt.Version, s.Skipped[0])
	}
	require.Equal(t, []string{"x.go"}, s.Files)
	require.NoError(t, s.Apply(dir))
	require.Equal(t, "package x\n\nfunc F() {\n}\n", read(t, dir, "x.go"))
	s, err = format.Run(t.Context(), step.Host{Source: dir}, []format.Formatter{format.Go(".", "")})
	require.NoError(t, err)
	require.Empty(t, s.Files)
}
