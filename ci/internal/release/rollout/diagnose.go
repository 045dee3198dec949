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

	"dagger/slipway/internal/report"
)

// Limits of a diagnosis.
const (
	maxCauses        = 10 // distinct causes reported of one service
	diagnosisTimeout = 15 * time.Second
)

// diagnosis is what the causes of a deployment that failed are looked for by.
type diagnosis struct {
	service              *serviceRollout
	deployment, revision string
	problem              string            // of ECS with it, for want of tasks
	health               map[string]string // of targets, as reported last
}

// failed are the services whose deployment of ours failed, to be diagnosed. The
// others are restored because of these: there is no cause to find in them.
func (r *run) failed() []diagnosis {
	var failed []diagnosis
	for n, s := range r.services {
		if p := r.machine.Progress(n); p.OwnDeployment != "" && p.Err != nil {
			failed = append(failed, diagnosis{s, p.OwnDeployment, s.To.TaskDefinition, p.UpdateProblem, maps.Clone(s.reported.targets)})
		}
	}
	return failed
}

// diagnose finds out why the services' new tasks failed. A diagnosis that fails is
// reported and does not change the verdict.
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
	_ = group.Wait() // a diagnosis has no error of its own
}

// diagnoseRestore finds out why services could not be restored, from the tasks of the
// deployment that was to do so.
func (r *run) diagnoseRestore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	for n, s := range r.services {
		p := r.machine.Progress(n)
		primary := p.Observed.Primary()
		if p.RestoreErr == nil || p.Superseded != "" || primary == nil || aws.ToString(primary.Id) == p.OwnDeployment {
			continue
		}
		causes := r.reportCauses(ctx, diagnosis{s, aws.ToString(primary.Id), aws.ToString(primary.TaskDefinition), p.Problem, s.reported.targets})
		if len(causes) > 0 && !strings.Contains(p.RestoreErr.Error(), causes[0].Reason) {
			s.restoreCause = causes[0].Reason
		}
		for n := range causes {
			causes[n].Reason = "putting it back: " + causes[n].Reason
		}
		s.causes = append(s.causes, causes...)
	}
}

// reportCauses finds and reports the causes of a deployment that failed.
func (r *run) reportCauses(ctx context.Context, d diagnosis) []report.Cause {
	s := d.service
	causes, err := r.causes(ctx, d)
	if err != nil {
		r.Event(s.Name, "could not find out why: "+err.Error())
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

// causeSample is a cause with a task that shows it.
type causeSample struct {
	report.Cause
	task types.Task
}

// causes groups the tasks of a deployment of a revision that stopped, or else those that run
// and are not healthy, by what is wrong with them.
func (r *run) causes(ctx context.Context, d diagnosis) ([]report.Cause, error) {
	s := d.service
	tasks, err := r.tasks(ctx, s.servicePlan, d.deployment, types.DesiredStatusStopped)
	if err != nil {
		return nil, err
	}
	samples := group(tasks, d.stoppedCause)
	if len(samples) == 0 {
		if tasks, err = r.tasks(ctx, s.servicePlan, d.deployment, types.DesiredStatusRunning); err != nil {
			return nil, err
		}
		health := r.targetHealth(ctx, s.service)
		samples = group(tasks, func(task types.Task) (report.Cause, bool) { return runningCause(task, health) })
	}
	definition, _, err := r.definition(ctx, d.revision)
	if err != nil {
		definition = &types.TaskDefinition{}
	}
	var causes []report.Cause
	for _, sample := range samples[:min(len(samples), maxCauses)] {
		cause := sample.Cause
		if cause.LogTail, err = r.logTail(ctx, s.servicePlan, *definition, sample.task); err != nil {
			r.Event(s.Name, err.Error())
		}
		cause.Hint = hintFor(cause, s.target.Service, len(s.service.LoadBalancers))
		causes = append(causes, cause)
	}
	return causes, nil
}

// group makes one sample of all tasks with the same cause, the most frequent
// first.
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

// stoppedCause reads why a task stopped for a reason of its own: from the task
// when it never started, else from the container that ended it.
func (d diagnosis) stoppedCause(task types.Task) (report.Cause, bool) {
	if strings.HasPrefix(aws.ToString(task.StoppedReason), "Scaling activity initiated by") {
		return report.Cause{}, false
	}
	container := d.service.target.Service.Container()
	cause := report.Cause{
		Task: aws.ToString(task.TaskArn), Count: 1,
		StopCode: string(task.StopCode), Reason: shortMessage(aws.ToString(task.StoppedReason)),
	}
	if c := failedContainer(task, container); c != nil {
		cause.ExitCode = c.ExitCode
		cause.Signal = signalOf(c.ExitCode)
		if reason := aws.ToString(c.Reason); reason != "" && !strings.Contains(cause.Reason, reason) {
			cause.Reason += ": " + reason
		}
		if name := aws.ToString(c.Name); name != container {
			cause.Reason += " (container " + name + ")"
		}
	}
	cause.Health = d.lastHealth(task)
	return cause, true
}

// failedContainer is the container that ended a task: one that failed, the service's own
// first; else the service's own.
func failedContainer(task types.Task, own string) *types.Container {
	var first *types.Container
	for i := range task.Containers {
		c := &task.Containers[i]
		failed := c.ExitCode != nil && *c.ExitCode != 0 || c.Reason != nil
		switch name := aws.ToString(c.Name); {
		case name == own && (failed || first == nil):
			first = c
			if failed {
				return c
			}
		case failed && (first == nil || aws.ToString(first.Name) == own):
			first = c
		}
	}
	return first
}

// runningCause says what keeps a running task from being healthy.
func runningCause(task types.Task, health map[string]targetHealth) (report.Cause, bool) {
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
		cause.Reason = "the task runs, and its container health check fails"
	case cause.Health != "" && cause.Health != "healthy":
		cause.Reason = "the task runs, and is not healthy behind its load balancer"
	default:
		return report.Cause{}, false
	}
	return cause, true
}

// lastHealth is what the load balancer said last of a task.
func (d diagnosis) lastHealth(task types.Task) string {
	address := addressOf(task)
	for target, health := range d.health {
		if address != "" && strings.HasPrefix(target, address+":") && strings.HasPrefix(health, "unhealthy") {
			return health
		}
	}
	return ""
}
