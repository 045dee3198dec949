package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
)

// Checked is the result of all checks.
type Checked struct {
	// Result is succeeded or failed.
	Result string
	// Markdown is the result for a job summary.
	Markdown string
	// Report is the result for a terminal.
	Report string
	// Reports has summary.md, the reports of the tests in test, lint.sarif for
	// GitHub's code scanning, log (the report, and workflow commands by which GitHub
	// shows findings beside the code) and outputs (result=succeeded or
	// result=failed, for GITHUB_OUTPUT).
	Reports *dagger.Directory
}

// Check runs everything that a change must pass: lint, test, validate, build.
//
// The checks run concurrently, with a span each. A failed check does not stop the others. No check
// needs credentials.
//
// +cache="session"
func (m *Slipway) Check(
	ctx context.Context,
	// Return the reports even if a check fails.
	//
	// +optional
	tolerate bool,
	// Build sites without their base image: see build.
	//
	// +optional
	withoutBase bool,
) (*Checked, error) {
	linted := &Lint{}
	var tests *dagger.Directory
	checks := []struct {
		name string
		run  func(context.Context) error
	}{
		{"lint", func(ctx context.Context) error {
			found, err := m.Lint(ctx, nil, nil, false, true)
			if err != nil {
				return err
			}
			linted = found
			return found.failure()
		}},
		{"test", func(ctx context.Context) error {
			left, summary, err := m.tests(ctx, nil)
			if err != nil {
				return err
			}
			tests = left
			return failure(summary)
		}},
		{"validate", m.CheckValidate},
		{"build", func(ctx context.Context) error {
			_, err := m.Build(ctx, nil, nil, withoutBase)
			return err
		}},
	}
	failures := make([]error, len(checks))
	var group errgroup.Group
	for n, check := range checks {
		group.Go(func() error {
			failures[n] = span(ctx, check.name, check.run)
			return nil
		})
	}
	_ = group.Wait() // failures has the errors, all of them
	var text, markdown strings.Builder
	markdown.WriteString("| check | result |\n|---|---|\n")
	for n, check := range checks {
		result := "passed"
		if failures[n] != nil {
			result = "failed"
		}
		fmt.Fprintf(&text, "%-9s %s\n", check.name, result)
		fmt.Fprintf(&markdown, "| %s | %s |\n", check.name, result)
		if failures[n] != nil {
			failures[n] = fmt.Errorf("%s failed:\n%w", check.name, failures[n])
		}
	}
	reports, checked := dag.Directory(), &Checked{Result: gotest.Succeeded, Markdown: markdown.String(), Report: text.String()}
	if err := errors.Join(failures...); err != nil {
		checked.Result, checked.Report = gotest.Failed, text.String()+err.Error()+"\n"
		if !tolerate {
			return nil, errors.New(checked.Report)
		}
	}
	if tests != nil {
		reports = reports.WithDirectory("test", tests)
	}
	if linted.Sarif != "" {
		checked.Markdown += "\n" + linted.Markdown
		reports = reports.WithNewFile("lint.sarif", linted.Sarif)
	}
	checked.Reports = reports.
		WithNewFile("summary.md", checked.Markdown).
		WithNewFile("log", checked.Report+linted.Annotations).
		WithNewFile("outputs", "result="+checked.Result+"\n")
	return checked, nil
}

// CheckLint fails if there are findings in code, workflows or configuration.
//
// +check
// +cache="10m"
func (m *Slipway) CheckLint(ctx context.Context) error {
	_, err := m.Lint(ctx, nil, nil, false, false)
	return err
}

// CheckTest fails if a test fails, or if coverage is below the minimum.
//
// +check
func (m *Slipway) CheckTest(ctx context.Context) error {
	_, err := m.Test(ctx, nil, false)
	return err
}

// CheckValidate fails if there are findings in the Terraform configuration.
//
// +check
func (m *Slipway) CheckValidate(ctx context.Context) error {
	_, err := m.Validate(ctx, "terraform")
	return err
}

// CheckBuild fails if an image cannot be built.
//
// +check
func (m *Slipway) CheckBuild(ctx context.Context) error {
	_, err := m.Build(ctx, nil, nil, false)
	return err
}

// span runs a function as one span of the trace.
func span(ctx context.Context, name string, run func(context.Context) error) error {
	ctx, s := Tracer().Start(ctx, name)
	defer s.End()
	err := run(ctx)
	if err != nil {
		s.SetStatus(codes.Error, name+" failed")
	}
	return err
}
