package main

import "context"

// Changes says which stages a push or a pull request needs.
type Changes struct {
	// Deploy reports whether a service may have changed.
	Deploy bool
	// Plan reports whether the platform may have changed.
	Plan bool
	// Outputs has the lines for GITHUB_OUTPUT: deploy=true|false, plan=true|false.
	Outputs string
	// Report is the reason, for a terminal.
	Report string
}

// Changes shows what changed since a commit: services, the platform, or neither.
//
// +cache="session"
func (m *Slipway) Changes(
	ctx context.Context,
	// Full id of the commit to compare with. If it is empty, all zeros or unknown,
	// everything counts as changed.
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
