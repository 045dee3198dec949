package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/format"
	"dagger/slipway/internal/lint"
)

// Lint is what was found in the source tree.
type Lint struct {
	// Result is succeeded or failed.
	Result string
	// Findings is how many there are.
	Findings int
	// Json is the report for programs.
	Json string
	// Markdown is the report for a job summary or a pull request.
	Markdown string
	// Report is the report for a terminal.
	Report string
	// Annotations are workflow commands, by which GitHub shows the findings
	// beside the code when a job prints them.
	Annotations string
	// Sarif is the report for GitHub's code scanning, and for editors.
	Sarif string
}

// Lint looks for faults in code, workflows and configuration.
//
// It runs golangci-lint, gofumpt and govulncheck on every Go module, actionlint on the workflows,
// Nginx on its configuration, terraform and tflint on the platform, and searches for secrets and
// misconfiguration. It fails when it finds something, with all findings.
//
// +cache="10m"
func (m *Slipway) Lint(
	ctx context.Context,
	// Run only these checks: golangci-lint, govulncheck, terraform, gofumpt,
	// actionlint, nginx, tflint or security.
	//
	// +optional
	only []string,
	// Look only at these services.
	//
	// +optional
	services []string,
	// Do not fail where a tool or its data cannot be had.
	//
	// +optional
	lenient bool,
	// Return the report even if there are findings.
	//
	// +optional
	tolerate bool,
) (*Lint, error) {
	w, err := m.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	options := lint.Options{Strict: !lenient, Day: time.Now().UTC().Format(time.DateOnly), Image: w.lock.Reference}
	if options.Kinds, err = lint.ParseKinds(only); err != nil {
		return nil, err
	}
	targets, err := lint.Find(ctx, w.tree, w.platform, services...)
	if err != nil {
		return nil, err
	}
	found, err := lint.Run(ctx, w.dir, newContainers(m.Source), targets, options)
	if err != nil {
		return nil, err
	}
	var text, markdown, annotations, sarif strings.Builder
	if err := errors.Join(found.Text(&text), found.Markdown(&markdown), found.Annotate(&annotations), found.SARIF(&sarif)); err != nil {
		return nil, err
	}
	document, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return nil, err
	}
	linted := &Lint{
		Result: string(found.Result), Findings: len(found.Findings), Json: string(document),
		Markdown: markdown.String(), Report: text.String(), Annotations: annotations.String(), Sarif: sarif.String(),
	}
	if !tolerate {
		err = linted.failure()
	}
	return linted, err
}

// failure is the error of a report with findings; nil where there are none.
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
	w, found, err := m.format(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := found.Apply(w.dir); err != nil {
		return nil, err
	}
	formatted, err := handOver(ctx, w.dir)
	if err != nil {
		return nil, err
	}
	return m.Source.WithDirectory(".", formatted.Filter(dagger.DirectoryFilterOpts{Include: found.Files})).Changes(m.Source), nil
}

// CheckFmt fails when a Go or Terraform file is not formatted, with the
// difference.
//
// +check
func (m *Slipway) CheckFmt(ctx context.Context) error {
	w, found, err := m.format(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	if len(found.Files) == 0 {
		return nil
	}
	var diff strings.Builder
	if err := found.Diff(&diff); err != nil {
		return err
	}
	return errors.New(diff.String())
}

// format asks the formatters. What they cannot read is an error.
func (m *Slipway) format(ctx context.Context) (*workspace, format.Summary, error) {
	w, err := m.open(ctx)
	if err != nil {
		return nil, format.Summary{}, err
	}
	targets, err := lint.Find(ctx, w.tree, w.platform)
	if err == nil {
		var found format.Summary
		found, err = format.Run(ctx, newContainers(m.Source), targets.Formatters(w.lock.Reference))
		if problems := slices.Concat(found.Faults, found.Skipped); err == nil && len(problems) > 0 {
			err = errors.New(strings.Join(problems, "\n"))
		}
		if err == nil {
			return w, found, nil
		}
	}
	w.close()
	return nil, format.Summary{}, err
}
