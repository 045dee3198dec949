package lint_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/lint"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

// recording is a recorded result of a tool.
type recording struct {
	// file of testdata is what it left as; "" stands for its standard output.
	file, as string
	content  string // instead of file
	stderr   string
	exit     int
	err      error
	// calls is called as it runs; nil does nothing.
	calls func(s step.Step)
}

// recorded is an executor that returns the recording with the longest prefix of the step's
// name. Without a recording the tool has no findings.
type recorded map[string]recording

func (r recorded) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	longest := ""
	for name := range r {
		if strings.HasPrefix(s.Name, name) && len(name) > len(longest) {
			longest = name
		}
	}
	played, ok := r[longest]
	if !ok {
		played = nothingFound(s)
	}
	if played.calls != nil {
		played.calls(s)
	}
	if ctx.Err() != nil {
		return step.Result{}, context.Cause(ctx)
	}
	if played.err != nil {
		return step.Result{}, played.err
	}
	content := []byte(played.content)
	if played.file != "" {
		var err error
		if content, err = os.ReadFile(filepath.Join("testdata", played.file)); err != nil {
			return step.Result{}, err
		}
	}
	as := played.as
	if as == "" {
		as = s.Stdout
	}
	if as != "" && content != nil {
		if err := os.WriteFile(filepath.Join(dir, as), content, 0o600); err != nil {
			return step.Result{}, err
		}
	}
	return step.Result{ExitCode: played.exit, Stderr: played.stderr}, nil
}

// nothingFound returns the result of a tool without findings.
func nothingFound(s step.Step) recording {
	tool, _, _ := strings.Cut(s.Name, " ")
	switch {
	case tool == "golangci-lint" || tool == "gitleaks" || tool == "trivy":
		return recording{as: tool + ".sarif", content: sarif()}
	case tool == "actionlint" || tool == "tflint" || tool == "govulncheck":
		return recording{content: sarif()}
	case strings.HasPrefix(s.Name, "terraform validate"):
		return recording{content: "{}"}
	}
	return recording{}
}

// sarif returns a SARIF log with results.
func sarif(results ...string) string {
	return `{"version":"2.1.0","runs":[{"results":[` + strings.Join(results, ",") + `]}]}`
}

// targets is a tree with something for each tool.
func targets() lint.Targets {
	return lint.Targets{
		Modules: []string{"api"}, Sites: []platform.Service{{Name: "web", Build: platform.Build{Path: "web", Kind: platform.Nginx}}},
		Terraform: "terraform", Roots: []string{"terraform"},
		Workflows: []string{".github/workflows/ci.yml"}, Tracked: []string{"secret.txt"}, All: true,
	}
}

func image(tool string) string { return "image of " + tool }

// play lints with recordings, strictly or not.
func play(t *testing.T, r recorded, o lint.Options) lint.Report {
	t.Helper()
	o.Image, o.Day = image, "2026-01-02"
	report, err := lint.Run(t.Context(), t.TempDir(), r, targets(), o)
	require.NoError(t, err)
	return report
}

// found returns the findings of a report, one per line.
func found(report lint.Report) []string {
	var lines []string
	for _, f := range report.Findings {
		lines = append(lines, f.String())
	}
	return lines
}

// of returns the result of a check.
func of(t *testing.T, report lint.Report, check string) lint.CheckResult {
	t.Helper()
	for _, c := range report.Checks {
		if c.Name == check {
			return c
		}
	}
	require.Fail(t, "no check "+check)
	return lint.CheckResult{}
}
