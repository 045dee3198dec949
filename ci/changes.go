package main

import "context"

// Changes is what a push or a pull request means for the pipeline.
type Changes struct {
	// Deploy tells that something changed which a release may be made of.
	Deploy bool
	// Plan tells that something changed which the platform is made of.
	Plan bool
	// Outputs are the lines for GITHUB_OUTPUT: deploy=true|false, plan=true|false.
	Outputs string
	// Report is the reason, for a terminal.
	Report string
}

// Changes tells what has changed since a commit: what is released, the platform, or neither.
func (m *Slipway) Changes(
	ctx context.Context,
	// Full id of the commit to compare with. Empty, all zeros or unknown: everything
	// counts as changed.
	//
	// +optional
	since string,
) (*Changes, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := p.Changes(ctx, since)
	if err != nil {
		return nil, err
	}
	return &Changes{Deploy: found.Deploy, Plan: found.Plan, Outputs: found.Outputs(), Report: found.Reason}, nil
}
