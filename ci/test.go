package main

import (
	"context"
	"errors"

	"dagger/slipway/internal/check/coverage"
	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/pipeline"
)

// Test runs the tests of every Go service and of the pipeline itself.
//
// The race detector is on, and coverage is gated. It returns the reports: coverage.out,
// coverage.html, cobertura.xml, junit.xml, summary.md and outputs (result=succeeded or
// result=failed, for GITHUB_OUTPUT).
//
// +cache="session"
func (m *Slipway) Test(
	ctx context.Context,
	// Least coverage in percent, for all modules ("85") or for one
	// ("backend=95").
	//
	// +optional
	minCoverage []string,
	// Return the reports even if a test fails.
	//
	// +optional
	tolerate bool,
) (*dagger.Directory, error) {
	reports, summary, err := m.tests(ctx, minCoverage)
	if err == nil && !tolerate {
		err = failure(summary)
	}
	if err != nil {
		return nil, err
	}
	return reports.WithNewFile("outputs", "result="+summary.Result+"\n"), nil
}

// tests runs the tests and returns their reports, whatever came of them.
func (m *Slipway) tests(ctx context.Context, minCoverage []string) (*dagger.Directory, gotest.Summary, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, gotest.Summary{}, err
	}
	defer done()
	what := pipeline.TestOptions{Gate: coverage.Gate{Default: gotest.DefaultCoverage}, Out: "test"}
	for _, minimum := range minCoverage {
		if err := what.Gate.Set(minimum); err != nil {
			return nil, gotest.Summary{}, err
		}
	}
	summary, err := p.Test(ctx, what)
	return dag.CurrentModule().Workdir(what.Out), summary, err
}

// failure is the error of tests that failed; nil where all passed.
func failure(summary gotest.Summary) error {
	if summary.Result == gotest.Failed {
		return errors.New(summary.String())
	}
	return nil
}
