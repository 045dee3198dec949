package main

import (
	"context"
	"errors"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
)

// Test runs the tests of every Go service and of the pipeline itself.
//
// It uses the race detector and enforces minimum coverage. It returns the reports: coverage.out,
// coverage.html, cobertura.xml, junit.xml, summary.md and outputs (result=succeeded or
// result=failed, for GITHUB_OUTPUT).
//
// +cache="session"
func (m *Slipway) Test(
	ctx context.Context,
	// Minimum coverage in percent, for all modules ("85") or for one ("backend=95").
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

// tests runs the tests and returns their reports, even if tests fail.
func (m *Slipway) tests(ctx context.Context, minCoverage []string) (*dagger.Directory, gotest.Summary, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, gotest.Summary{}, err
	}
	defer done()
	options := pipeline.TestOptions{Gate: coverage.Gate{Default: gotest.DefaultCoverage}, Out: "test"}
	for _, minimum := range minCoverage {
		if err := options.Gate.Set(minimum); err != nil {
			return nil, gotest.Summary{}, err
		}
	}
	summary, err := p.Test(ctx, options)
	return dag.CurrentModule().Workdir(options.Out), summary, err
}

// failure returns an error with the summary if tests failed.
func failure(summary gotest.Summary) error {
	if summary.Result == gotest.Failed {
		return errors.New(summary.String())
	}
	return nil
}
