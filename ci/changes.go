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

// Environments are the environments of the tree.
type Environments struct {
	// Names of the environments.
	Names []string
	// Outputs has the lines for GITHUB_OUTPUT: environments (the matrix of a job, as JSON),
	// release (the environment that a push releases to) and promote (a matrix of those that
	// are promoted to after it, or empty).
	Outputs string
}

// Environments lists the environments of the tree; with --environment, only that one.
//
// +cache="session"
func (m *Slipway) Environments(ctx context.Context) (*Environments, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := p.Environments()
	if err != nil {
		return nil, err
	}
	e := &Environments{}
	for _, entry := range found.Matrix {
		e.Names = append(e.Names, entry.Environment)
	}
	e.Outputs, err = found.Outputs()
	return e, err
}
