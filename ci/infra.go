package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Plan is a saved Terraform plan.
type Plan struct {
	// HasChanges reports whether the plan changes anything.
	HasChanges bool
	// Summary is the summary of the changes, as Markdown.
	Summary string
	// Report is the summary for a terminal.
	Report string
	// Json is the summary for programs.
	Json string
	// Directory has tfplan, plan.json, summary.md, binding.json, comment.md (the summary,
	// cut to fit into one comment with those of the other environments) and outputs
	// (changes=true or changes=false, for GITHUB_OUTPUT). tfplan contains secrets
	// unencrypted: keep it private.
	Directory *dagger.Directory
}

// Applied is the result of an apply.
type Applied struct {
	// Json is the result for programs.
	Json string
	// Markdown is the result for a job summary.
	Markdown string
	// Report is the result for a terminal.
	Report string
}

// Validate validates the Terraform configuration, checks its format and runs its tests.
//
// It needs no credentials and reads no state. It fails with all findings, with file and line.
func (m *Slipway) Validate(
	ctx context.Context,
	// Folder of the configuration.
	//
	// +default="terraform"
	dir string,
) (string, error) {
	found, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (infra.Validation, error) { return p.Validate(ctx, dir) })
	if err == nil && found.Result == infra.Failed {
		return "", errors.New(r.text)
	}
	return r.text, err
}

// Plan plans changes of the platform for review and apply.
//
// The plan is bound to its commit, configuration, providers, variables, state and account.
//
// +cache="never"
func (m *Slipway) Plan(
	ctx context.Context,
	// Folder of the configuration.
	//
	// +default="terraform"
	dir string,
	// Backend settings, KEY=VALUE, separated by commas. Quote a setting that contains a
	// comma: --backend-config='"KEY=a,b"'.
	//
	// +optional
	backendConfig []string,
	// Variables, NAME=VALUE, separated by commas. Quote one that contains a comma:
	// --vars='"NAME=a,b"'.
	//
	// +optional
	vars []string,
	// Lock the state during the plan. A read-only role needs --state-lock=false.
	//
	// +default=true
	stateLock bool,
	// Show drift, and plan only to update the state with it.
	//
	// +optional
	refreshOnly bool,
	// Plan to destroy the platform.
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
		return nil, fmt.Errorf("creating the directory of the plan: %w", err)
	}
	planned, err := p.Plan(ctx, pipeline.TerraformOptions{Dir: dir, Backend: m.Account.backend(backendConfig), Vars: vars}, infra.PlanOptions{
		PlanOptions: terraform.PlanOptions{NoLock: !stateLock, RefreshOnly: refreshOnly, Destroy: destroy}, Out: out,
	})
	if err != nil {
		return nil, err
	}
	r, err := render(planned)
	if err != nil {
		return nil, err
	}
	comment := r.markdown
	if all, err := platform.Environments(p.Dir); err == nil && len(all) > 1 {
		comment = planned.Summary.MarkdownWithin(report.MarkdownLimit/(len(all)+1)) + "\n"
	}
	for name, content := range map[string]string{"outputs": fmt.Sprintf("changes=%t\n", planned.Summary.Changes()), "comment.md": comment} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("writing the plan directory: %w", err)
		}
	}
	directory, err := exportDirectory(ctx, out)
	if err != nil {
		return nil, err
	}
	return &Plan{
		HasChanges: planned.Summary.Changes(), Summary: r.markdown, Report: r.text, Json: r.json, Directory: directory,
	}, nil
}

// Apply applies exactly the plan that was reviewed.
//
// It refuses a plan if its commit, configuration, providers, variables, state, account or hash has
// changed; if it destroys or replaces a resource that holds data or a name, or of an unknown type; or
// if it leaves out a part of the configuration.
//
// +cache="never"
func (m *Slipway) Apply(
	ctx context.Context,
	// Directory that plan returned.
	plan *dagger.Directory,
	// Folder of the configuration.
	//
	// +default="terraform"
	dir string,
	// Backend settings, KEY=VALUE, separated by commas. Quote a setting that contains a
	// comma: --backend-config='"KEY=a,b"'.
	//
	// +optional
	backendConfig []string,
	// Variables, NAME=VALUE, separated by commas. Quote one that contains a comma:
	// --vars='"NAME=a,b"'.
	//
	// +optional
	vars []string,
	// Digest of the reviewed plan, which the plan must have.
	//
	// +optional
	digest string,
	// Addresses of resources that the plan may destroy or replace.
	//
	// +optional
	allowDestroy []string,
	// Apply a plan that leaves out a part of the configuration, as with -target.
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
		return nil, fmt.Errorf("creating the directory of the plan: %w", err)
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
