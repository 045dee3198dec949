package runtask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ReleaseTasks runs the release tasks of a release before its first update, and adds what
// they did to the report.
type ReleaseTasks struct {
	// Runner returns the runner of a service's task.
	Runner func(service string) Runner
	Event  func(service, text string)
	// Stage runs the tasks as a stage of the report.
	Stage func(name string, run func() error) error

	ran []releaseTask
}

// releaseTask is a release task that ran.
type releaseTask struct {
	Result
	report report.Task
}

// Run runs the tasks of all services that are updated, one after another in the order of
// their names, once a release: it waits for a task that an earlier process has started,
// and does not repeat one that has succeeded.
func (t *ReleaseTasks) Run(ctx context.Context, p rollout.Prepared) error {
	t.ran = nil
	updates := slices.DeleteFunc(slices.Clone(p.Updates), func(u rollout.Update) bool { return u.Service.ReleaseTask == nil })
	if len(updates) == 0 {
		return nil
	}
	slices.SortFunc(updates, func(a, b rollout.Update) int { return strings.Compare(a.Service.Name, b.Service.Name) })
	return t.Stage("release-task", func() error {
		for _, u := range updates {
			if err := t.runOne(ctx, p, u); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *ReleaseTasks) runOne(ctx context.Context, p rollout.Prepared, u rollout.Update) error {
	name := u.Service.Name
	if p.Resumed {
		t.Event(name, "the release task ran before the first service of this release was updated: not run again")
		t.ran = append(t.ran, releaseTask{Result{Started: true}, report.Task{Service: name, Result: report.Unchanged}})
		return nil
	}
	result := t.result(ctx, p, u)
	t.ran = append(t.ran, releaseTask{result, result.Report(name)})
	if result.Err == nil {
		t.Event(name, "the release task has succeeded")
		return nil
	}
	if result.Cause != nil {
		t.Event(name, "cause: "+result.Cause.Headline())
		if result.Cause.Hint != "" {
			t.Event(name, "hint: "+result.Cause.Hint)
		}
	}
	if errors.Is(result.Err, context.Canceled) {
		return result.Err
	}
	return fmt.Errorf("the release task of %s failed: %w", name, result.Err)
}

// result runs the task, or waits for the one that an earlier process has started.
func (t *ReleaseTasks) result(ctx context.Context, p rollout.Prepared, u rollout.Update) Result {
	s := u.Service
	runner := t.Runner(s.Name)
	spec := releaseTaskSpec(p, u)
	earlier, err := runner.Find(ctx, s.ClusterName(), spec.StartedBy, s.Family())
	if err != nil {
		return Result{Err: fmt.Errorf("looking for an earlier task of this release: %w", err)}
	}
	last := ""
	if len(earlier) > 0 {
		task := earlier[0]
		last = aws.ToString(task.TaskArn)
		id := machine.ShortARN(last)
		switch {
		case aws.ToString(task.LastStatus) != "STOPPED":
			t.Event(s.Name, fmt.Sprintf("release task: waiting for task %s, which an earlier process of this release has started", id))
			return runner.Wait(ctx, spec, last)
		case Succeeded(task, s.ContainerName()) && !deployedSince(p, aws.ToTime(task.CreatedAt)):
			t.Event(s.Name, fmt.Sprintf("release task: task %s of this release has succeeded: not run again", id))
			return Result{Task: last, ExitCode: aws.Int32(0), Started: true, Duration: aws.ToTime(task.StoppedAt).Sub(aws.ToTime(task.CreatedAt))}
		}
	}
	// ECS starts one task for a token. An earlier task that failed, or of a release that
	// has ended, gives another one.
	spec.ClientToken = Token(spec.StartedBy, s.Name, deployments(p), last)
	t.Event(s.Name, fmt.Sprintf("release task: running %s", machine.ShortARN(aws.ToString(u.Definition.TaskDefinitionArn))))
	return runner.Run(ctx, spec)
}

func releaseTaskSpec(p rollout.Prepared, u rollout.Update) Spec {
	task := u.Service.ReleaseTask
	timeout := platform.DefaultReleaseTaskTimeout
	if task.Timeout != nil {
		timeout = *task.Timeout
	}
	return Spec{
		Service: u.Service, Definition: u.Definition, Placement: PlacementOf(u.ECSService),
		Command: task.Command, CPU: task.CPU, Memory: task.Memory, Timeout: time.Duration(timeout) * time.Second, StartedBy: rollout.StartedBy(p.ID),
	}
}

// deployedSince reports whether a service of the release was deployed after a time: the
// release that the task belonged to has then ended.
func deployedSince(p rollout.Prepared, at time.Time) bool {
	return slices.ContainsFunc(p.Updates, func(u rollout.Update) bool {
		return slices.ContainsFunc(u.ECSService.Deployments, func(d types.Deployment) bool { return aws.ToTime(d.CreatedAt).After(at) })
	})
}

// deployments returns the ids of the primary deployments of the release's services.
func deployments(p rollout.Prepared) string {
	var ids []string
	for _, u := range p.Updates {
		if primary := machine.Primary(u.ECSService.Deployments); primary != nil {
			ids = append(ids, aws.ToString(primary.Id))
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// AddTo adds the tasks to the report of their release. After a failure it adds
// notes about what the tasks may have changed.
func (t *ReleaseTasks) AddTo(release *report.Release) {
	for _, task := range t.ran {
		release.Tasks = append(release.Tasks, task.report)
		n := slices.IndexFunc(release.Services, func(s report.Service) bool { return s.Name == task.report.Service })
		if task.Err == nil || n < 0 {
			continue
		}
		s := &release.Services[n]
		s.Error = outcome.JoinLines(leak.Redact(t.Runner(s.Name).explain(task.Err).Error()))
		if task.Cause != nil {
			s.Causes = append(s.Causes, *task.Cause)
		}
	}
	if release.ExitCode == outcome.Done {
		return
	}
	for _, task := range t.ran {
		switch service := task.report.Service; {
		case !task.Started:
		case task.Err != nil:
			release.Notes = append(release.Notes, fmt.Sprintf("the release task of %s has not ended successfully, and is not undone: transactions that it committed stay, so check the database before the next release", service))
		default:
			release.Notes = append(release.Notes, fmt.Sprintf("the release task of %s has run and is not undone: the new version's schema stays, and the previous version must work with it", service))
		}
	}
}
