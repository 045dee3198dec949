package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/infra"
	"dagger/slipway/internal/infra/terraform"
	"dagger/slipway/internal/pipeline"
)

// Plan is what Terraform would change.
type Plan struct {
	// HasChanges tells whether the plan changes anything.
	HasChanges bool
	// Summary is what the plan changes, as Markdown.
	Summary string
	// Report is the same for a terminal.
	Report string
	// Json is the same for programs.
	Json string
	// Directory has tfplan, plan.json, summary.md, binding.json and
	// outputs (changes=true or changes=false, for GITHUB_OUTPUT). tfplan has
	// secrets in clear: keep it private.
	Directory *dagger.Directory
}

// Applied is what came of a plan.
type Applied struct {
	// Json is the result for programs.
	Json string
	// Markdown is the result for a job summary.
	Markdown string
	// Report is the result for a terminal.
	Report string
}

// Validate checks the Terraform configuration, its format and its tests.
//
// It needs no credentials and reads no state. It fails with all findings, each with its file and line.
func (m *Slipway) Validate(
	ctx context.Context,
	// Folder of the configuration.
	//
	// +default="terraform"
	dir string,
) (string, error) {
	found, r, err := on(ctx, m, func(p pipeline.Pipeline) (infra.Validation, error) { return p.Validate(ctx, dir) })
	if err == nil && found.Result == infra.Failed {
		return "", errors.New(r.text)
	}
	return r.text, err
}

// Plan plans changes of the platform, to be reviewed and applied as they are.
//
// The plan is bound to the commit, the configuration, the providers, the variables, the state and the
// account that it was made from.
//
// +cache="never"
func (m *Slipway) Plan(
	ctx context.Context,
	// Folder of the configuration.
	//
	// +default="terraform"
	dir string,
	// Settings of the backend, KEY=VALUE. Commas separate: quote a value that has some,
	// as in --backend-config='"KEY=a,b"'.
	//
	// +optional
	backendConfig []string,
	// Values of variables, NAME=VALUE. Commas separate: quote a value that has some, as
	// in --vars='"NAME=a,b"'.
	//
	// +optional
	vars []string,
	// Lock the state meanwhile; a role that may only read it needs --state-lock=false.
	//
	// +default=true
	stateLock bool,
	// Tell drift, and plan nothing but to take it over into the state.
	//
	// +optional
	refreshOnly bool,
	// Plan the end of the platform.
	//
	// +optional
	destroy bool,
) (*Plan, error) {
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := os.MkdirTemp("", "slipway-plan-")
	if err != nil {
		return nil, fmt.Errorf("making room for the plan: %w", err)
	}
	planned, err := p.Plan(ctx, pipeline.TerraformOptions{Dir: dir, Backend: m.Account.backend(backendConfig), Vars: vars}, infra.PlanOptions{
		PlanOptions: terraform.PlanOptions{NoLock: !stateLock, RefreshOnly: refreshOnly, Destroy: destroy}, Out: out,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(out, "outputs"), fmt.Appendf(nil, "changes=%t\n", planned.Summary.Changes()), 0o600); err != nil {
		return nil, fmt.Errorf("telling whether the plan has changes: %w", err)
	}
	r, err := render(planned)
	if err != nil {
		return nil, err
	}
	directory, err := handOver(ctx, out)
	if err != nil {
		return nil, err
	}
	return &Plan{
		HasChanges: planned.Summary.Changes(), Summary: r.markdown, Report: r.text, Json: r.json, Directory: directory,
	}, nil
}

// Apply applies a plan of the platform exactly as it was reviewed.
//
// It refuses a plan whose commit, configuration, providers, variables, state, account or own hash are
// not what they were, one that destroys or replaces what cannot be made again, or is of a kind that
// slipway does not know, and one that leaves a part of the configuration out.
//
// +cache="never"
func (m *Slipway) Apply(
	ctx context.Context,
	// The plan's directory.
	plan *dagger.Directory,
	// Folder of the configuration.
	//
	// +default="terraform"
	dir string,
	// Settings of the backend, KEY=VALUE. Commas separate: quote a value that has some,
	// as in --backend-config='"KEY=a,b"'.
	//
	// +optional
	backendConfig []string,
	// Values of variables, NAME=VALUE. Commas separate: quote a value that has some, as
	// in --vars='"NAME=a,b"'.
	//
	// +optional
	vars []string,
	// Digest that the plan must have: the one that was reviewed.
	//
	// +optional
	digest string,
	// Addresses of guarded resources that may be destroyed or replaced.
	//
	// +optional
	allowDestroy []string,
	// Apply a plan that leaves a part of the configuration out, as one with -target does.
	//
	// +optional
	allowPartial bool,
) (*Applied, error) {
	if len(backendConfig) > 0 { // the plan's own otherwise
		backendConfig = m.Account.backend(backendConfig)
	}
	p, done, err := m.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	from, err := os.MkdirTemp("", "slipway-plan-")
	if err != nil {
		return nil, fmt.Errorf("making room for the plan: %w", err)
	}
	if _, err := plan.Export(ctx, from); err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	applied, err := p.Apply(ctx, pipeline.TerraformOptions{Dir: dir, Backend: backendConfig, Vars: vars}, infra.ApplyOptions{
		Plan: from, Digest: digest, AllowDestroy: allowDestroy, AllowPartial: allowPartial,
	})
	if applied.Result == "" {
		return nil, err
	}
	r, failed := render(applied)
	if err != nil {
		return nil, errors.New(r.text + err.Error())
	}
	return &Applied{Json: r.json, Markdown: r.markdown, Report: r.text}, failed
}
