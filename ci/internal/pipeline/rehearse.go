package pipeline

import (
	"context"

	"dagger/slipway/internal/rehearse/rehearsal"
	"dagger/slipway/internal/report"
)

// RehearseOptions says what is rehearsed.
type RehearseOptions struct {
	// Scenario is the name of one of [rehearsal.Scenarios].
	Scenario string
	// Listen is the address of the embedded AWS; "127.0.0.1:0" takes a free port.
	Listen string
	// Live tells that somebody watches.
	Live bool
	// SkipTests does without the tests of the services.
	SkipTests bool
	// Up, if set, is called while the system runs, when the release is over.
	Up func(endpoint string, release report.Release)
}

// Rehearse delivers the services against an embedded AWS. An error tells that it did
// not begin.
func (p Pipeline) Rehearse(ctx context.Context, what RehearseOptions) (report.Release, error) {
	t, err := p.open(ctx)
	if err != nil {
		return report.Release{}, err
	}
	scenario, err := rehearsal.ParseScenario(what.Scenario)
	if err != nil {
		return report.Release{}, err
	}
	o := rehearsal.Options{
		Source: t.Tree, Platform: t.platform, Lock: t.lock, Exec: p.exec(t.Tree, nil), Cache: p.Cache,
		Scenario: scenario, Listen: what.Listen, Live: what.Live, Up: what.Up,
	}
	if !what.SkipTests {
		o.Test = func(ctx context.Context) error { return p.testServices(ctx, t) }
	}
	return rehearsal.Run(ctx, o, p.Recorder), nil
}
