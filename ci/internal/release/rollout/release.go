package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Release releases all targets of the request or none, and returns the report with its
// exit code. If ctx is cancelled, it restores the previous versions before it returns.
func (e Engine) Release(ctx context.Context, request Request) report.Release {
	request.Timeout = cmp.Or(request.Timeout, DefaultTimeout)
	request.RestoreTimeout = cmp.Or(request.RestoreTimeout, DefaultRestoreTimeout)
	e.ECS = limitReads(e.ECS, e.Clock)
	p, err := e.prepare(ctx, request)
	if err != nil {
		return e.failedReport(request, p, err)
	}
	changed := p.changed()
	e.removeLeftHooks(ctx, p.services)
	if len(changed) == 0 {
		return e.finalReport(request, p, nil)
	}
	if request.Verify != nil && slices.ContainsFunc(changed, func(s *servicePlan) bool { return s.scalesToZero() && !s.isJob() }) {
		e.Event("", "no smoke test: a service is scaled to 0")
		request.Verify = nil
	}
	e.allowForRunning(&request, changed)
	r := e.newRun(request, changed)
	r.drive(ctx, p.versions())
	r.end(context.WithoutCancel(ctx))
	return e.finalReport(request, p, r)
}

// runningLimit is the shortest time limit of a service whose tasks count as healthy only
// after they have run for 40 s: on ECS, tasks without a load balancer and a health check.
// The rest is for their start.
const runningLimit = 90 * time.Second

// allowForRunning raises time limits that no task of such a service can keep.
func (e Engine) allowForRunning(request *Request, changed []*servicePlan) {
	for _, s := range changed {
		if !s.healthyByRunning() || request.Timeout >= runningLimit && request.RestoreTimeout >= runningLimit {
			continue
		}
		request.Timeout, request.RestoreTimeout = max(request.Timeout, runningLimit), max(request.RestoreTimeout, runningLimit)
		e.Event(s.Name, fmt.Sprintf("it has no health check, so ECS counts a task as healthy after 40 s: the time limits are at least %s", runningLimit))
	}
}

// healthyByRunning reports whether ECS has only the time that a task has run to judge its
// health: no load balancer, and no health check of an essential container.
func (s *servicePlan) healthyByRunning() bool {
	var containers []types.ContainerDefinition
	switch {
	case s.wanted != nil:
		containers = s.wanted.ContainerDefinitions
	case s.previous != nil: // an abort has only this
		containers = s.previous.ContainerDefinitions
	}
	return len(s.service.LoadBalancers) == 0 && (s.service.DesiredCount > 0 || s.Count != nil) &&
		!slices.ContainsFunc(containers, func(c types.ContainerDefinition) bool {
			return c.HealthCheck != nil && (c.Essential == nil || *c.Essential)
		})
}

// errConcurrent is errInProgress of a deployment that started between planning and the
// first change.
var errConcurrent = fmt.Errorf("%w", errInProgress)

// prepare plans, checks and registers, and changes no service. If another deployment starts
// meanwhile, it plans once more: that deployment may be of the same release, started by
// another process, or one to wait for. Release tasks take long, so a version that was
// deployed while they ran is newer: it is not replaced.
func (e Engine) prepare(ctx context.Context, request Request) (releasePlan, error) {
	p, err := e.tryPrepare(ctx, request)
	if !errors.Is(err, errConcurrent) {
		return p, err
	}
	e.Event("", err.Error()+": planning again")
	for _, s := range p.changed() {
		request.registered = append(request.registered, s.To.TaskDefinition)
	}
	if p.tasksRan {
		before := request.BeforeUpdate
		request.BeforeUpdate = func(ctx context.Context, again Prepared) error {
			if again.ID != p.id {
				return outcome.Refusedf("another version was deployed while its release tasks ran: deploy again if this commit is to replace it")
			}
			return before(ctx, again)
		}
	}
	return e.tryPrepare(ctx, request)
}

func (e Engine) tryPrepare(ctx context.Context, request Request) (releasePlan, error) {
	p, err := e.planWhenIdle(ctx, request)
	if err != nil {
		return p, err
	}
	changed := e.reportPlan(p.services)
	if err := e.checkReadable(ctx, changed); err != nil {
		return p, err
	}
	if err := e.preflight(ctx, request, changed); err != nil {
		return p, err
	}
	if err := e.register(ctx, changed); err != nil {
		return p, err
	}
	if err := e.checkNotConcurrent(ctx, request, changed); err != nil {
		return p, err
	}
	if err := e.beforeUpdate(ctx, request, p); err != nil {
		p.tasksRan = true
		return p, err
	}
	return p, context.Cause(ctx)
}

// idlePoll is the interval of checks whether another deployment has ended.
const idlePoll = 5 * time.Second

// planWhenIdle plans, and waits for deployments in progress as long as the request allows.
func (e Engine) planWhenIdle(ctx context.Context, request Request) (releasePlan, error) {
	since, reported := e.Clock.Now(), ""
	for {
		p, err := e.plan(ctx, request)
		if err == nil {
			err = e.rejectOtherTasks(ctx, request, p)
		}
		if ctx.Err() != nil {
			return p, context.Cause(ctx)
		}
		if !errors.Is(err, errInProgress) || e.Clock.Now().Sub(since) >= request.WaitForTurn {
			return p, err
		}
		if reported != err.Error() {
			reported = err.Error()
			e.Event("", "waiting for another deployment: "+reported)
		}
		if err := e.Clock.Sleep(ctx, idlePoll); err != nil {
			return p, err
		}
	}
}

// checkNotConcurrent checks for new deployments just before the first change, so that of
// two releases that start together one goes first.
func (e Engine) checkNotConcurrent(ctx context.Context, request Request, changed []*servicePlan) error {
	changed = slices.DeleteFunc(slices.Clone(changed), (*servicePlan).isJob) // checked when its schedule is updated
	if len(changed) == 0 {
		return nil
	}
	var ids []serviceID
	for _, s := range changed {
		ids = append(ids, s.id())
	}
	services, err := e.describe(ctx, ids)
	if err != nil {
		return err
	}
	for _, s := range changed {
		service := services[s.id()]
		if service == nil {
			return fmt.Errorf("service %s was deleted while the release was being prepared", s.ECSName)
		}
		for _, d := range service.Deployments {
			if id := aws.ToString(d.Id); id != s.Joined && !slices.Contains(s.PreviousDeployments, id) && !request.TakeOver {
				return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (%s), started while this release was being prepared: wait for it (--wait-for-turn)",
					s.ECSName, errConcurrent, describeDeployments(service.Deployments)))
			}
		}
	}
	return nil
}

// reportPlan reports the planned changes and returns the services to change.
func (e Engine) reportPlan(services []*servicePlan) []*servicePlan {
	var changed []*servicePlan
	for _, s := range services {
		for _, note := range s.notes {
			e.Event(s.Name, note)
		}
		switch {
		case !s.unchanged:
			changed = append(changed, s)
			e.Event(s.Name, fmt.Sprintf("%s -> %s", s.From.Short(), s.To.Short()))
			switch {
			case s.isJob():
				if change := s.stateChange(); change != "" {
					e.Event(s.Name, change)
				}
			case s.Count == nil:
			case s.scalesToZero():
				e.Event(s.Name, fmt.Sprintf("no task ran before its first release: desired count %d -> 0", s.Count.From))
			case s.service.DesiredCount > 0:
				e.Event(s.Name, "first release: the previous deployment never succeeded, so a failed release leaves a desired count of 0")
			default:
				e.Event(s.Name, fmt.Sprintf("first release: desired count 0 -> %d, as in %s", s.Count.To, platform.ServicesFile))
			}
		case !s.WasComplete:
			e.Event(s.Name, fmt.Sprintf("unchanged, but only %d of %d tasks run", s.service.RunningCount, s.service.DesiredCount))
		default:
			e.Event(s.Name, "unchanged")
		}
	}
	return changed
}

// versions returns the new VERSION by service, of those that change and run tasks; "" if it
// is not declared.
func (p releasePlan) versions() map[string]string {
	versions := map[string]string{}
	for _, s := range p.changed() {
		if s.isJob() || s.service.DesiredCount == 0 && s.Count == nil {
			continue
		}
		versions[s.Name] = ""
		for _, c := range s.wanted.ContainerDefinitions {
			for _, variable := range c.Environment {
				if aws.ToString(c.Name) == s.target.Service.ContainerName() && aws.ToString(variable.Name) == VersionVariable {
					versions[s.Name] = aws.ToString(variable.Value)
				}
			}
		}
	}
	return versions
}

// version returns the version that all services are to run, "" if they differ.
func (p releasePlan) version() string {
	version := ""
	for _, s := range p.services {
		if version != "" && version != s.To.SHA {
			return ""
		}
		version = s.To.SHA
	}
	return version
}

// failedReport returns the report of a release that ended before it changed a service.
func (e Engine) failedReport(request Request, p releasePlan, err error) report.Release {
	err = e.explain(err)
	release := report.Release{SHA: cmp.Or(request.Version, p.version()), ID: p.id}
	release.Fail(outcome.With(outcome.Of(err), errors.New(leak.Redact(err.Error()))))
	for n, target := range request.Targets {
		service := report.Service{
			Name: target.Service.Name, Result: report.Unchanged, To: report.Version{Image: target.Image, SHA: request.Version},
		}
		if n < len(p.services) {
			service.From, service.To = p.services[n].From, p.services[n].To
		}
		release.Services = append(release.Services, service)
	}
	return release
}

// pauseNotes names the services that ECS does not restore when a pause expires.
func (r *run) pauseNotes() (notes []string) {
	add := func(name string) {
		notes = append(notes, fmt.Sprintf("%s: when the pause expires, ECS does not restore it, because it shifts no traffic: run %s then", name, r.Environment.Command("abort")))
	}
	for n, s := range r.services {
		if s.Shift == nil && r.machine.Progress(n).Touched() {
			add(s.Name)
		}
	}
	for _, j := range r.jobs {
		if j.touched {
			add(j.Name)
		}
	}
	return notes
}

// finalReport returns the report of a release; r is nil if no service had to change.
func (e Engine) finalReport(request Request, p releasePlan, r *run) report.Release {
	release := report.Release{SHA: cmp.Or(request.Version, p.version()), ID: p.id, Result: report.Unchanged}
	for _, s := range p.services {
		service := report.Service{Name: s.Name, Result: report.Unchanged, From: s.From, To: s.To}
		switch {
		case s.unchanged:
		case s.isJob():
			r.addJob(s, &service)
		default:
			r.addProgress(s, &service)
		}
		if service.Result == report.Succeeded {
			release.Result = report.Succeeded
		}
		release.Services = append(release.Services, service)
	}
	if r == nil {
		return release
	}
	if r.machine.Stage() == machine.Paused {
		stage, until := r.machine.PausedAt()
		release.Result, release.Pause = report.Paused, report.NewPause(string(stage), until, r.Environment.Command)
		release.Next, release.Notes = release.Pause.Continue, r.pauseNotes()
	}
	if r.machine.Cause() == nil {
		return release
	}
	cause := r.machine.Cause()
	release.Error = e.oneLine(cause)
	failed, touched := false, false
	for n := range r.services {
		progress := r.machine.Progress(n)
		failed, touched = failed || progress.Result == report.Failed, touched || progress.Touched()
	}
	for _, j := range r.jobs {
		failed, touched = failed || j.result == report.Failed, touched || j.touched
	}
	switch {
	case failed:
		release.Result, release.ExitCode = report.Failed, outcome.Unrestored
		release.Next = r.nextCommands()
	case errors.Is(cause, context.Canceled):
		release.Result, release.ExitCode = report.Interrupted, outcome.Interrupted
	case !touched:
		release.Result, release.ExitCode = report.Failed, outcome.Failed
	default:
		release.Result, release.ExitCode = report.Restored, outcome.Restored
	}
	return release
}
