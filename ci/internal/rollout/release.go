package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
)

// Release releases all targets of the request or none. The report tells what
// came of each; its exit code is the verdict. Cancelling ctx puts back what
// ran before, and returns after that.
func (e Engine) Release(ctx context.Context, request Request) report.Release {
	request.Timeout = cmp.Or(request.Timeout, DefaultTimeout)
	request.RestoreTimeout = cmp.Or(request.RestoreTimeout, DefaultRestoreTimeout)
	moves, err := e.plan(ctx, request)
	if err != nil {
		return untouched(request, err)
	}
	changed := e.tellPlan(moves)
	if len(changed) == 0 {
		return conclude(request, moves, nil)
	}
	if err := e.register(ctx, changed); err != nil {
		return untouched(request, err)
	}
	err = e.roll(ctx, request, changed)
	if err == nil {
		return conclude(request, moves, nil)
	}
	e.fail(ctx, request, changed, err)
	return conclude(request, moves, err)
}

// roll updates the services, watches them and verifies the whole.
func (e Engine) roll(ctx context.Context, request Request, moves []*move) error {
	if err := e.update(ctx, request, moves); err != nil {
		return err
	}
	if err := e.watchOut(ctx, request, moves); err != nil {
		return err
	}
	if request.Verify == nil {
		return nil
	}
	if err := request.Verify(ctx); err != nil {
		return fmt.Errorf("verifying the release: %w", err)
	}
	return ctx.Err()
}

// fail puts everything back and meanwhile finds the causes.
func (e Engine) fail(ctx context.Context, request Request, moves []*move, cause error) {
	e.Event("", "restoring: "+cause.Error())
	var deployed []*move
	for _, m := range moves {
		if m.own != "" {
			deployed = append(deployed, m)
		}
	}
	var group errgroup.Group
	group.Go(func() error {
		e.diagnose(context.WithoutCancel(ctx), request.Cluster, deployed)
		return nil
	})
	group.Go(func() error { return e.restore(ctx, request, moves) })
	if err := group.Wait(); err != nil {
		e.Event("", "could not restore everything: "+err.Error())
	}
}

// tellPlan tells what will change and returns what does.
func (e Engine) tellPlan(moves []*move) []*move {
	var changed []*move
	for _, m := range moves {
		if m.unchanged {
			e.Event(m.name(), "unchanged")
			continue
		}
		changed = append(changed, m)
		e.Event(m.name(), fmt.Sprintf("%s -> %s", m.from.Short(), m.to.Short()))
	}
	return changed
}

// untouched is the report of a release that ended before it changed anything.
func untouched(request Request, err error) report.Release {
	release := report.Release{SHA: request.Version, Error: err.Error(), ExitCode: outcome.Of(err)}
	switch release.ExitCode {
	case outcome.Refused:
		release.Result = report.Refused
	case outcome.Interrupted:
		release.Result = report.Interrupted
	default:
		release.Result = report.Failed
	}
	for _, target := range request.Targets {
		release.Services = append(release.Services, report.Service{
			Name: target.Service.Name, Result: report.Unchanged, To: report.Version{Image: target.Image, SHA: request.Version},
		})
	}
	return release
}

// conclude makes the report of a release that ended with err.
func conclude(request Request, moves []*move, err error) report.Release {
	release := report.Release{SHA: request.Version, Result: report.Unchanged}
	unrestored := false
	for _, m := range moves {
		service := report.Service{
			Name: m.name(), Result: m.result, From: m.from, To: m.to,
			DeploymentID: m.own, DurationMS: m.took.Milliseconds(), Causes: m.causes,
		}
		if problem := errors.Join(m.err, m.stuck); problem != nil {
			service.Error = strings.ReplaceAll(problem.Error(), "\n", "; ")
		}
		unrestored = unrestored || m.result == report.Failed
		if m.result == report.Succeeded {
			release.Result = report.Succeeded
		}
		release.Services = append(release.Services, service)
	}
	if err == nil {
		return release
	}
	release.Error = err.Error()
	switch {
	case unrestored:
		release.Result, release.ExitCode = report.Failed, outcome.Unrestored
		release.Next = nextSteps(request.Cluster, moves)
	case errors.Is(err, context.Canceled):
		release.Result, release.ExitCode = report.Interrupted, outcome.Interrupted
	default:
		release.Result, release.ExitCode = report.Restored, outcome.Restored
	}
	return release
}
