package main

import (
	"context"
	"errors"

	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Preview is the result of a preview's release.
type Preview struct {
	// Result is succeeded or unchanged.
	Result string
	// Url is the address of the preview; empty without a web service.
	Url string //nolint:revive // as Json
	// Json is the report for programs.
	Json string
	// Markdown is the report for a comment of the pull request.
	Markdown string
	// Report is the report for a terminal.
	Report string
}

// Previews are the previews of an environment, or those that were removed.
type Previews struct {
	// Json is the list for programs.
	Json string
	// Markdown is the list for a job summary.
	Markdown string
	// Report is the list for a terminal.
	Report string
}

// PreviewUp creates or updates the preview of a pull request: one small task of each web service
// and worker, beside those of the environment and behind its load balancer.
//
// A failed update restores the previous version. A failed first release is removed. The call then
// fails with the causes.
//
// +cache="never"
func (m *Slipway) PreviewUp(
	ctx context.Context,
	// Number of the pull request.
	pr int,
	// Full id of the commit. Default: the commit of the tree.
	//
	// +optional
	sha string,
	// Only these services.
	//
	// +optional
	services []string,
	// How long the preview is kept; then preview-sweep removes it.
	//
	// +default="72h"
	ttl string,
	// How many previews the environment may have.
	//
	// +default=5
	max int, //nolint:revive // the argument's name
	// Domain of the hosts of previews, such as preview.example.com. Default: they have paths.
	//
	// +optional
	hostSuffix string,
	// Maximum duration of the rollout; then the previous version is restored.
	//
	// +default="15m"
	timeout string,
	// Wait this long, such as 30m, for another deployment to end. Default: refuse at once.
	//
	// +optional
	waitForTurn string,
) (*Preview, error) {
	o := delivery.PreviewOptions{Options: delivery.Options{SHA: sha}, Number: pr, Max: max, HostSuffix: hostSuffix}
	if err := errors.Join(parseLimit("ttl", ttl, &o.TTL), parseLimit("timeout", timeout, &o.Timeout), parseLimit("wait-for-turn", waitForTurn, &o.WaitForTurn)); err != nil {
		return nil, err
	}
	up, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (report.Preview, error) { return p.PreviewUp(ctx, services, o) })
	if err == nil && up.ExitCode != 0 {
		err = errors.New(r.text)
	}
	if err != nil {
		return nil, err
	}
	return &Preview{Result: string(up.Result), Url: up.URL, Json: r.json, Markdown: r.markdown, Report: r.text}, nil
}

// PreviewDown removes the preview of a pull request. It may be repeated.
//
// +cache="never"
func (m *Slipway) PreviewDown(
	ctx context.Context,
	// Number of the pull request.
	pr int,
) (*Previews, error) {
	return m.removePreviews(ctx, func(p pipeline.Pipeline) (report.PreviewRemoval, error) { return p.PreviewDown(ctx, pr) })
}

// PreviewSweep removes the previews that have expired.
//
// +cache="never"
func (m *Slipway) PreviewSweep(
	ctx context.Context,
	// Numbers of the open pull requests, or none: previews of all others are removed, too.
	//
	// +optional
	open string,
) (*Previews, error) {
	o := delivery.SweepOptions{OpenKnown: open != ""}
	if o.OpenKnown {
		var err error
		if o.Open, err = delivery.ParseOpen(open); err != nil {
			return nil, err
		}
	}
	return m.removePreviews(ctx, func(p pipeline.Pipeline) (report.PreviewRemoval, error) { return p.PreviewSweep(ctx, o) })
}

// PreviewList lists the previews of an environment: commit, address, state, age and expiry.
//
// +cache="never"
func (m *Slipway) PreviewList(ctx context.Context) (*Previews, error) {
	_, r, err := runStage(ctx, m, func(p pipeline.Pipeline) (report.Previews, error) { return p.Previews(ctx) })
	if err != nil {
		return nil, err
	}
	return &Previews{Json: r.json, Markdown: r.markdown, Report: r.text}, nil
}

// removePreviews removes previews. It returns an error with the report if not all of them
// could be removed.
func (m *Slipway) removePreviews(ctx context.Context, remove func(pipeline.Pipeline) (report.PreviewRemoval, error)) (*Previews, error) {
	removal, r, err := runStage(ctx, m, remove)
	if err == nil && removal.ExitCode != 0 {
		err = errors.New(r.text)
	}
	if err != nil {
		return nil, err
	}
	return &Previews{Json: r.json, Markdown: r.markdown, Report: r.text}, nil
}
