package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/check/lint"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
)

// Lint is a report of findings in the source tree.
type Lint struct {
	// Result is succeeded or failed.
	Result string
	// Findings is the number of findings.
	Findings int
	// Json is the report for programs.
	Json string
	// Markdown is the report for a job summary or a pull request.
	Markdown string
	// Report is the report for a terminal.
	Report string
	// Annotations are workflow commands: when a job prints them, GitHub shows the
	// findings beside the code.
	Annotations string
	// Sarif is the report for GitHub's code scanning, and for editors.
	Sarif string
}

// Lint checks code, workflows and configuration.
//
// It runs golangci-lint, gofumpt and govulncheck on every Go module, actionlint on the workflows,
// nginx -t on the Nginx configuration, terraform and tflint on the platform, and searches for secrets
// and misconfiguration. It fails with all findings.
//
// +cache="session"
func (m *Slipway) Lint(
	ctx context.Context,
	// Run only these checks: golangci-lint, govulncheck, terraform, gofumpt,
	// actionlint, nginx, tflint or security.
	//
	// +optional
	only []string,
	// Check only these services.
	//
	// +optional
	services []string,
	// Do not fail if a tool or its data is not available.
	//
	// +optional
	lenient bool,
	// Return the report even if there are findings.
	//
	// +optional
	tolerate bool,
) (*Lint, error) {
	found, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (pipeline.Findings, error) {
		return p.Lint(ctx, pipeline.LintOptions{Only: only, Services: services, Strict: !lenient, VulnerabilityDB: m.goSetting("GOVULNDB")})
	})
	if err != nil {
		return nil, err
	}
	var annotations, sarif strings.Builder
	if err := errors.Join(found.Annotate(&annotations), found.SARIF(&sarif)); err != nil {
		return nil, err
	}
	linted := &Lint{
		Result: string(found.Result), Findings: len(found.Findings), Json: r.json,
		Markdown: r.markdown, Report: r.text, Annotations: annotations.String(), Sarif: sarif.String(),
	}
	if !tolerate {
		err = linted.failure()
	}
	return linted, err
}

// failure returns an error with the report if there are findings.
func (l *Lint) failure() error {
	if l.Result == string(lint.Failed) {
		return errors.New(l.Report)
	}
	return nil
}

// Fmt formats Go and Terraform files.
//
// +generate
func (m *Slipway) Fmt(ctx context.Context) (*dagger.Changeset, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := format(ctx, p, false)
	if err != nil {
		return nil, err
	}
	if len(found.Files) == 0 { // no pattern to include would mean all files
		return m.Source.Changes(m.Source), nil
	}
	formatted, err := exportDirectory(ctx, p.Dir)
	if err != nil {
		return nil, err
	}
	return m.Source.WithDirectory(m.Folder, formatted.Filter(dagger.DirectoryFilterOpts{Include: found.Files})).Changes(m.Source), nil
}

// CheckFmt fails if a Go or Terraform file is not formatted, and shows the difference.
//
// +check
func (m *Slipway) CheckFmt(ctx context.Context) error {
	found, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (pipeline.Formatted, error) { return format(ctx, p, true) })
	if err != nil || len(found.Files) == 0 {
		return err
	}
	return errors.New(r.text)
}

// format runs the formatters. It returns an error for files that they cannot parse and
// for formatters that are not available.
func format(ctx context.Context, p pipeline.Pipeline, check bool) (pipeline.Formatted, error) {
	found, err := p.Format(ctx, nil, check)
	if problems := slices.Concat(found.SyntaxErrors, found.Skipped); err == nil && len(problems) > 0 {
		err = errors.New(strings.Join(problems, "\n"))
	}
	return found, err
}
