package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// run is a release in progress: it executes the commands of the state machine, and gives it
// the responses and observations.
type run struct {
	Engine
	request  Request
	machine  *machine.Release
	services []*serviceRollout // those that change, in the order of the machine's plans
	ids      []serviceID       // of services
	jobs     []*jobRollout     // those that change
	traffic  trafficChecks
}

func (e Engine) newRun(request Request, changed []*servicePlan) *run {
	r := &run{Engine: e, request: request}
	var plans []machine.Plan
	for _, s := range changed {
		if s.isJob() {
			r.jobs = append(r.jobs, newJobRollout(s, e.Clock.Now()))
			continue
		}
		plans = append(plans, e.scaled(s.Plan))
		r.ids = append(r.ids, s.id())
		r.services = append(r.services, &serviceRollout{servicePlan: s, reported: newEventDedupe(s.service.Events)})
	}
	r.machine = machine.New(plans, machine.Options{
		Timeout: request.Timeout, RestoreTimeout: request.RestoreTimeout, Test: request.TestNew != nil, Verify: request.Verify != nil || len(r.jobs) > 0,
		PauseAt: request.PauseAt, Continue: request.Continue,
	}, e.Clock.Now())
	return r
}

// drive runs the state machine until it is finished, and diagnoses failures meanwhile.
func (r *run) drive(ctx context.Context, versions map[string]string) {
	var diagnosis sync.WaitGroup
	defer diagnosis.Wait()
	diagnosed, putBack := false, false
	limiter := newUpdateLimiter(r.Clock)
	for r.machine.Stage() != machine.Finished && r.machine.Stage() != machine.Paused {
		if ctx.Err() != nil && r.machine.Stage() != machine.Restoring {
			r.machine.Fail(context.Cause(ctx), r.Clock.Now())
		}
		r.reportEvents()
		if r.machine.Stage() == machine.Restoring && !putBack { // before the services, which take longer
			putBack = true
			r.restoreJobs(context.WithoutCancel(ctx), onceLimits)
		}
		if r.machine.Stage() == machine.Restoring && !diagnosed {
			diagnosed = true
			failed := r.failed()
			diagnosis.Go(func() { r.diagnose(context.WithoutCancel(ctx), failed) })
		}
		r.step(ctx, versions, limiter)
	}
	r.reportEvents()
	if r.machine.Cause() != nil {
		r.restoreJobs(context.WithoutCancel(ctx), r.restoreLimits())
	}
}

// end diagnoses restores that failed, and removes the hooks of a release that is over.
func (r *run) end(ctx context.Context) {
	r.diagnoseRestore(ctx)
	if r.machine.Stage() == machine.Finished {
		var touched []*servicePlan
		restored := map[*servicePlan]bool{}
		for n, s := range r.services {
			if progress := r.machine.Progress(n); s.Shift != nil && progress.Touched() {
				touched, restored[s.servicePlan] = append(touched, s.servicePlan), progress.Result == report.Restored
			}
		}
		r.removeHooks(ctx, touched, restored)
	}
	if r.Next != nil {
		r.Next("")
	}
}

// removeHooks removes the hooks at which the release waited: any other deployment, such as
// one of Terraform, would wait there, too. This starts no deployment. What else the release
// configured is undone for services that are restored.
func (e Engine) removeHooks(ctx context.Context, services []*servicePlan, restored map[*servicePlan]bool) {
	var group errgroup.Group
	group.SetLimit(commandJobs)
	for _, s := range services {
		group.Go(func() error {
			c := s.withoutHooks(restored[s])
			update := func(ctx context.Context) error {
				_, err := e.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: s.cluster(), Service: &s.ECSName, DeploymentConfiguration: c})
				return err
			}
			err := Retry(ctx, e.Clock, e.Renew, update)
			if restored[s] && CallStatus(err) == machine.Rejected && strategyOf(c) != "" { // what ran before cannot be shifted
				c = configure(c, &platform.Strategy{Type: platform.Rolling}, 0)
				err = Retry(ctx, e.Clock, e.Renew, update)
			}
			switch {
			case err != nil:
				e.Event(s.Name, "cannot remove the release's pause hooks, so any other deployment waits at them: "+e.oneLine(err))
			case s.unchanged:
				e.Event(s.Name, "removed the pause hooks of an earlier release")
			}
			return nil
		})
	}
	_ = group.Wait() // errors are reported as events
}

// removeLeftHooks removes the hooks that a killed process left with services that do not
// change.
func (e Engine) removeLeftHooks(ctx context.Context, services []*servicePlan) {
	e.removeHooks(ctx, slices.DeleteFunc(slices.Clone(services), func(s *servicePlan) bool {
		return !s.unchanged || deploying(s.service) || !slices.ContainsFunc(hooksOf(s.service.DeploymentConfiguration), isPauseHook)
	}), nil)
}

// step executes the commands that are due, or else verifies, or else waits and observes.
func (r *run) step(ctx context.Context, versions map[string]string, limiter updateLimiter) {
	if commands := r.machine.Commands(limiter.available()); len(commands) > 0 {
		responses := r.execute(ctx, commands)
		limiter.spend(responses)
		r.machine.HandleResponses(commands, responses, r.Clock.Now())
		return
	}
	switch r.machine.Stage() {
	case machine.Testing:
		r.test(ctx, versions)
		return
	case machine.Verifying:
		r.verify(ctx, versions)
		return
	}
	if r.machine.Stage() == machine.Restoring {
		ctx = context.WithoutCancel(ctx)
	}
	if len(r.services) > 0 { // jobs alone have nothing to wait for
		if err := r.Clock.Sleep(ctx, r.machine.PollInterval(r.Clock.Now())); err != nil {
			return // interrupted
		}
	}
	observed, err := r.observe(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.machine.Unreadable(err, r.Clock.Now())
	default:
		r.machine.Observe(observed, r.Clock.Now())
		r.checkTraffic(ctx)
	}
}

// test tests the new versions that receive test traffic only. If ctx ends meanwhile, the
// release is interrupted.
func (r *run) test(ctx context.Context, versions map[string]string) {
	versions = maps.Clone(versions)
	for _, s := range r.services {
		if s.Shift == nil {
			delete(versions, s.Name)
		}
	}
	err := r.request.TestNew(ctx, versions)
	if ctx.Err() == nil {
		r.machine.Tested(err, r.Clock.Now())
	}
}

// verify verifies the services, and then updates the jobs. If ctx ends meanwhile, the
// release is interrupted.
func (r *run) verify(ctx context.Context, versions map[string]string) {
	if r.request.Verify != nil {
		err := r.request.Verify(ctx, versions)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.machine.Verified(err, r.Clock.Now())
			return
		}
	}
	err := r.updateJobs(ctx)
	switch {
	case err == nil:
		r.machine.Verified(nil, r.Clock.Now())
	case ctx.Err() == nil:
		r.machine.Fail(err, r.Clock.Now())
	}
}

// reportEvents reports the events of the state machine.
func (r *run) reportEvents() {
	for _, event := range r.machine.Events() {
		r.Event(event.Service, event.Text)
	}
	if r.Next != nil && r.machine.Stage() != machine.Finished {
		r.Next(r.nextCommands())
	}
}

// nextCommands returns the commands that restore the services which run neither the new nor
// the previous version.
func (r *run) nextCommands() string {
	var commands []string
	for n, s := range r.services {
		progress := r.machine.Progress(n)
		registeredAgain := progress.RestoreRevision != s.From.TaskDefinition
		switch {
		case !progress.Touched() || progress.Result == report.Restored || progress.Result == report.Succeeded:
		case s.Shift != nil: // ECS would wait at the release's hooks
			if abort := r.Environment.Command("abort"); !slices.Contains(commands, abort) {
				commands = append(commands, abort)
			}
		case s.previous == nil: // the revision is deleted
			commands = append(commands, fmt.Sprintf("%s --service %s --to COMMIT", r.Environment.Command("rollback"), s.Name))
		case !active(s.previous) && !registeredAgain: // ECS refuses it; slipway registers a copy
			commands = append(commands, fmt.Sprintf("%s --service %s --to %s", r.Environment.Command("rollback"), s.Name, machine.ShortARN(progress.RestoreRevision)))
		default:
			commands = append(commands, fmt.Sprintf("aws ecs update-service --cluster %s --service %s --task-definition %s",
				s.target.Service.ClusterName(), s.ECSName, progress.RestoreRevision))
		}
	}
	for _, j := range r.jobs {
		if j.touched && j.result != report.Restored && (j.result != report.Succeeded || r.machine.Stage() != machine.Finished) {
			commands = append(commands, fmt.Sprintf("%s --service %s --to %s", r.Environment.Command("rollback"), j.Name, machine.ShortARN(j.restored)))
		}
	}
	return strings.Join(commands, " && ")
}

// addProgress adds a service's progress to its report.
func (r *run) addProgress(plan *servicePlan, to *report.Service) {
	n := slices.IndexFunc(r.services, func(s *serviceRollout) bool { return s.servicePlan == plan })
	s, progress := r.services[n], r.machine.Progress(n)
	to.Result, to.From.TaskDefinition = progress.Result, progress.RestoreRevision
	if r.machine.Stage() == machine.Paused && progress.Touched() && progress.Verdict == machine.Pending {
		to.Result = report.Paused
	}
	to.DeploymentID, to.DurationMS, to.Causes = progress.OwnDeployment, progress.Duration.Milliseconds(), s.causes
	if s.Lifecycle {
		to.Strategy = s.strategyName()
		if progress.Result != report.Restored { // of the new version's deployment
			to.Stage, to.Percent = progress.Observed.Stage, progress.Observed.Percent
		}
	}
	restoreErr := progress.RestoreErr
	if s.restoreCause != "" {
		restoreErr = fmt.Errorf("%w: %s", restoreErr, s.restoreCause)
	}
	if problem := errors.Join(progress.Err, restoreErr); problem != nil {
		to.Error = r.oneLine(problem)
	}
}
