package main

import (
	"context"
	"errors"

	"dagger/slipway/internal/coverage"
	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/gotest"
)

// Test runs the tests of every Go service and of the pipeline itself.
//
// The race detector is on, and coverage is gated. It returns the reports:
// coverage.out, coverage.html, cobertura.xml, junit.xml and summary.md.
func (m *Slipway) Test(
	ctx context.Context,
	// Least coverage in percent, for all modules ("85") or for one
	// ("backend=95").
	//
	// +optional
	minCoverage []string,
) (*dagger.Directory, error) {
	w, err := m.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	options := gotest.ForPlatform(w.dir, w.platform)
	options.Image, options.Race = w.lock.Reference("go"), true
	options.Gate = coverage.Gate{Default: gotest.DefaultCoverage}
	for _, minimum := range minCoverage {
		if err := options.Gate.Set(minimum); err != nil {
			return nil, err
		}
	}
	if options.Tree, err = w.tree.Digests(ctx); err != nil {
		return nil, err
	}
	options.Out = "test"
	summary, err := gotest.Run(ctx, w.dir, newContainers(m.Source), options)
	if err != nil {
		return nil, err
	}
	if summary.Result == gotest.Failed {
		return nil, errors.New(summary.Text())
	}
	return dag.CurrentModule().Workdir(options.Out), nil
}
