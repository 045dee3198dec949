package rollout

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Limits of a diagnosis.
const (
	maxCauses        = 10 // distinct causes per service
	diagnosisTimeout = 15 * time.Second
)

// diagnosis is a failed deployment to diagnose.
type diagnosis struct {
	service              *serviceRollout
	deployment, revision string
	problem              string            // reported if no task has a cause
	health               map[string]string // of targets, last reported
	definition           types.TaskDefinition
}

// containers returns the containers of the failed revision.
func (d diagnosis) containers() Containers {
	return Containers{Main: d.service.target.Service.ContainerName(), Definitions: d.definition.ContainerDefinitions}
}

// failed returns the services whose own deployment failed. The others are restored
// because of these.
func (r *run) failed() []diagnosis {
	var failed []diagnosis
	for n, s := range r.services {
		if p := r.machine.Progress(n); p.OwnDeployment != "" && p.Err != nil {
			failed = append(failed, diagnosis{service: s, deployment: p.OwnDeployment, revision: s.To.TaskDefinition, problem: p.UpdateProblem, health: maps.Clone(s.reported.targets)})
		}
	}
	return failed
}

// diagnose finds the causes of failed deployments. If that fails, it reports why; the
// result of the release does not change.
func (r *run) diagnose(ctx context.Context, failed []diagnosis) {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(readJobs)
	for _, d := range failed {
		group.Go(func() error {
			d.service.causes = r.reportCauses(ctx, d)
			return nil
		})
	}
	_ = group.Wait() // errors are reported as events
}

// diagnoseRestore finds the causes of failed restores in the tasks of their deployments.
func (r *run) diagnoseRestore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	for n, s := range r.services {
		p := r.machine.Progress(n)
		primary := p.Observed.Primary()
		if p.RestoreErr == nil || p.Superseded != "" || primary == nil || aws.ToString(primary.Id) == p.OwnDeployment {
			continue
		}
		causes := r.reportCauses(ctx, diagnosis{service: s, deployment: aws.ToString(primary.Id), revision: aws.ToString(primary.TaskDefinition), problem: p.Problem, health: s.reported.targets})
		if len(causes) > 0 && !strings.Contains(p.RestoreErr.Error(), causes[0].Reason) {
			s.restoreCause = causes[0].Reason
		}
		for n := range causes {
			causes[n].Reason = "restoring: " + causes[n].Reason
		}
		s.causes = append(s.causes, causes...)
	}
}

// reportCauses finds and reports the causes of a failed deployment.
func (r *run) reportCauses(ctx context.Context, d diagnosis) []report.Cause {
	s := d.service
	causes, err := r.causes(ctx, d)
	if err != nil {
		r.Event(s.Name, "cannot diagnose the failure: "+err.Error())
	}
	if len(causes) == 0 && d.problem != "" {
		cause := report.Cause{Count: 1, Reason: d.problem}
		cause.Hint = hintFor(cause, s.target.Service, len(s.service.LoadBalancers))
		causes = append(causes, cause)
	}
	for _, cause := range causes {
		r.Event(s.Name, "cause: "+cause.Headline())
		if cause.Hint != "" {
			r.Event(s.Name, "hint: "+cause.Hint)
		}
	}
	return causes
}

// causeSample is a cause and a task that has it.
type causeSample struct {
	report.Cause
	task types.Task
}

// causes groups the stopped tasks of a deployment by cause or, if there are none, the
// running tasks that are not healthy.
func (r *run) causes(ctx context.Context, d diagnosis) ([]report.Cause, error) {
	s := d.service
	tasks, err := r.tasks(ctx, s.target.Service, d.deployment, types.DesiredStatusStopped)
	if err != nil {
		return nil, err
	}
	definition, _, err := r.definition(ctx, d.revision)
	if err != nil {
		definition = &types.TaskDefinition{}
	}
	d.definition = *definition
	samples := group(tasks, d.stoppedCause)
	if len(samples) == 0 {
		if tasks, err = r.tasks(ctx, s.target.Service, d.deployment, types.DesiredStatusRunning); err != nil {
			return nil, err
		}
		health := r.targetHealth(ctx, s.updated())
		samples = group(tasks, func(task types.Task) (report.Cause, bool) { return d.runningCause(task, health) })
	}
	var causes []report.Cause
	for _, sample := range samples[:min(len(samples), maxCauses)] {
		cause := sample.Cause
		if cause.LogTail, err = r.logTail(ctx, d, sample.task); err != nil {
			r.Event(s.Name, err.Error())
		}
		cause.Hint = hintFor(cause, s.target.Service, len(s.service.LoadBalancers))
		causes = append(causes, cause)
	}
	return causes, nil
}

// group groups tasks by cause, the most frequent first.
func group(tasks []types.Task, causeOf func(types.Task) (report.Cause, bool)) []causeSample {
	var samples []causeSample
	for _, task := range tasks {
		cause, ok := causeOf(task)
		if !ok {
			continue
		}
		n := slices.IndexFunc(samples, func(known causeSample) bool { return known.Same(cause) })
		if n < 0 {
			samples = append(samples, causeSample{cause, task})
			continue
		}
		samples[n].Count++
	}
	slices.SortStableFunc(samples, func(a, b causeSample) int { return cmp.Compare(b.Count, a.Count) })
	return samples
}

// stoppedCause returns why a task stopped: the reason of the task, and of the container
// that ended it. Tasks stopped by a scaling activity have no cause.
func (d diagnosis) stoppedCause(task types.Task) (report.Cause, bool) {
	if strings.HasPrefix(aws.ToString(task.StoppedReason), "Scaling activity initiated by") {
		return report.Cause{}, false
	}
	cause := TaskCause(task, d.containers())
	cause.Health = d.lastHealth(task)
	return cause, true
}

// runningCause returns why a running task is not healthy.
func (d diagnosis) runningCause(task types.Task, health map[string]targetHealth) (report.Cause, bool) {
	cause := report.Cause{Task: aws.ToString(task.TaskArn), Count: 1}
	address := addressOf(task)
	for target, h := range health {
		if address != "" && strings.HasPrefix(target, address+":") {
			cause.Health = h.String()
		}
	}
	status := aws.ToString(task.LastStatus)
	switch {
	case status != "RUNNING":
		cause.Reason = "the task is still " + status
	case task.HealthStatus == types.HealthStatusUnhealthy:
		cause.Reason = "the task runs, but its container health check fails"
		if c := d.containers().failed(task); c != nil {
			cause.Reason += d.containers().named(c)
		}
	case cause.Health != "" && cause.Health != "healthy":
		cause.Reason = "the task runs, but its target is not healthy"
	default:
		return report.Cause{}, false
	}
	return cause, true
}

// lastHealth returns the last unhealthy state of a task's target, or "".
func (d diagnosis) lastHealth(task types.Task) string {
	address := addressOf(task)
	for target, health := range d.health {
		if address != "" && strings.HasPrefix(target, address+":") && strings.HasPrefix(health, "unhealthy") {
			return health
		}
	}
	return ""
}
