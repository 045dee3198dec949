package pipeline

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// RehearseOptions are the options of [Pipeline.Rehearse].
type RehearseOptions struct {
	// Scenario is the name of one of [rehearsal.Scenarios].
	Scenario string
	// Strategy is the type of the deployment strategy of all web services; "" means as in
	// the services file.
	Strategy string
	// Listen is the address of the embedded AWS; "127.0.0.1:0" uses a free port.
	Listen string
	// Live is set if progress is drawn on a terminal.
	Live bool
	// SkipTests skips the tests of the services.
	SkipTests bool
	// Up, if set, is called when the release has finished, while the system runs.
	Up func(endpoint string, release report.Release)
	// Environments, if set, rehearses a release to staging and its promotion to
	// production. Its field Environments is read from the source tree.
	Environments *rehearsal.PipelineOptions
}

// Rehearse delivers the services against an embedded AWS. It returns an error only if the
// rehearsal did not start.
func (p Pipeline) Rehearse(ctx context.Context, options RehearseOptions) (report.Release, error) {
	t, err := p.open(ctx)
	if err != nil {
		return report.Release{}, err
	}
	scenario, err := rehearsal.ParseScenario(options.Scenario)
	if err != nil {
		return report.Release{}, err
	}
	o := rehearsal.Options{
		Source: t.Tree, Platform: t.platform, Lock: t.lock, Exec: p.exec(t.Tree, nil), Cache: p.Cache,
		Scenario: scenario, Strategy: options.Strategy, Listen: options.Listen, Live: options.Live, Up: options.Up,
	}
	if !options.SkipTests {
		o.Test = func(ctx context.Context) error { return p.testServices(ctx, t) }
	}
	if options.Environments == nil {
		return rehearsal.Run(ctx, o, p.Recorder), nil
	}
	both := *options.Environments
	if both.Environments, err = platform.Environments(p.Dir); err != nil {
		return report.Release{}, err
	}
	return rehearsal.RunPipeline(ctx, o, both, p.Recorder), nil
}
