package runtask

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Limits on observing a task.
const (
	quickPoll     = 250 * time.Millisecond // in the first seconds
	poll          = time.Second
	slowPoll      = 3 * time.Second // after the first minute
	quickPeriod   = 5 * time.Second
	visibleWithin = time.Minute     // a new task need not be visible at once
	maxUnreadable = 2 * time.Minute // how long reads may fail
	stopMargin    = 15 * time.Second
	stopTimeout   = 30 * time.Second // ECS's default from SIGTERM to SIGKILL
)

// wait is the state of waiting for a task.
type wait struct {
	Runner
	spec  Spec
	arn   string
	began time.Time
	log   tail
	state string // last reported
	last  types.Task
}

// Wait waits until a task has stopped, and shows its log meanwhile. If it does not end
// within the time limit, or if ctx is cancelled, the task is stopped.
func (r Runner) Wait(ctx context.Context, s Spec, arn string) Result {
	w := &wait{Runner: r, spec: s, arn: arn, began: r.Clock.Now()}
	w.log = r.newTail(s, s.container(), arn)
	readAt, seenAt := w.began, w.began
	for {
		task, err := w.describe(ctx)
		now := r.Clock.Now()
		switch {
		case ctx.Err() != nil:
			return w.stopped(ctx, context.Cause(ctx), "slipway was interrupted")
		case rollout.IsDenied(err), err != nil && now.Sub(readAt) > maxUnreadable:
			return w.stopped(ctx, fmt.Errorf("cannot follow task %s: %w", machine.ShortARN(arn), r.explain(err)), "slipway cannot follow the task")
		case err != nil:
		case task == nil:
			if readAt = now; now.Sub(seenAt) > visibleWithin {
				return w.stopped(ctx, fmt.Errorf("ECS has no task %s", machine.ShortARN(arn)), "slipway cannot see the task")
			}
		default:
			readAt, seenAt = now, now
			if w.observe(ctx, *task); aws.ToString(task.LastStatus) == "STOPPED" {
				return w.finished(ctx, *task)
			}
		}
		if s.Timeout > 0 && now.Sub(w.began) >= s.Timeout {
			return w.stopped(ctx, fmt.Errorf("the task did not end within %s", s.Timeout), "slipway: not ended within "+s.Timeout.String())
		}
		_ = r.Clock.Sleep(ctx, w.pause(now)) // the next round sees an interruption
	}
}

func (w *wait) pause(now time.Time) time.Duration {
	pause := poll
	switch took := now.Sub(w.began); {
	case took < quickPeriod:
		pause = quickPoll
	case took > time.Minute:
		pause = slowPoll
	}
	if left := w.spec.Timeout - now.Sub(w.began); w.spec.Timeout > 0 && left > 0 {
		pause = min(pause, left)
	}
	return pause
}

// describe returns the task, nil if ECS does not show it.
func (w *wait) describe(ctx context.Context) (*types.Task, error) {
	var out *ecs.DescribeTasksOutput
	err := withTimeout(ctx, callTimeout, func(ctx context.Context) (err error) {
		out, err = w.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: aws.String(w.spec.Service.ClusterName()), Tasks: []string{w.arn}})
		return err
	})
	w.renew(err)
	if err != nil || len(out.Tasks) == 0 {
		return nil, err
	}
	return &out.Tasks[0], nil
}

// observe reports the state of a task and its log.
func (w *wait) observe(ctx context.Context, task types.Task) {
	w.last = task
	if state := aws.ToString(task.LastStatus); state != w.state {
		w.state = state
		w.Event(fmt.Sprintf("task %s is %s", ShortID(w.arn), state))
	}
	if containerStarted(task) {
		w.log.read(ctx)
	}
}

// containerStarted reports whether a container of the task may have run.
func containerStarted(task types.Task) bool {
	switch aws.ToString(task.LastStatus) {
	case "PROVISIONING", "PENDING", "ACTIVATING":
		return false
	}
	return task.StopCode != types.TaskStopCodeTaskFailedToStart
}

// stopped stops the task because of err, and waits briefly until it has ended.
func (w *wait) stopped(ctx context.Context, err error, reason string) Result {
	ctx = context.WithoutCancel(ctx)
	w.Event(fmt.Sprintf("stopping task %s", ShortID(w.arn)))
	problem := w.stopTask(ctx, w.spec, w.arn, reason)
	if problem == nil && !w.awaitStop(ctx) {
		problem = fmt.Errorf("task %s is still running after StopTask", machine.ShortARN(w.arn))
	}
	if problem != nil {
		w.Event(problem.Error())
		if !errors.Is(err, context.Canceled) {
			err = errors.Join(err, problem)
		}
	}
	if containerStarted(w.last) {
		w.log.drain(ctx)
	}
	cause := w.cause(ctx, w.last)
	if cause.Reason == "" || !errors.Is(err, context.Canceled) {
		cause.Reason = err.Error()
	}
	return Result{Task: w.arn, ExitCode: exitCode(w.last, w.spec.container()), Started: containerStarted(w.last), Duration: w.duration(), Cause: &cause, Err: err}
}

// awaitStop waits until a task has stopped after StopTask, and reports whether it has.
func (w *wait) awaitStop(ctx context.Context) bool {
	limit := stopTimeout
	for _, c := range w.spec.Definition.ContainerDefinitions {
		limit = max(limit, time.Duration(aws.ToInt32(c.StopTimeout))*time.Second)
	}
	for since := w.Clock.Now(); w.Clock.Now().Sub(since) < limit+stopMargin; {
		if task, err := w.describe(ctx); err == nil && task != nil {
			if w.observe(ctx, *task); aws.ToString(task.LastStatus) == "STOPPED" {
				return true
			}
		}
		if err := w.Clock.Sleep(ctx, poll); err != nil {
			return false
		}
	}
	return false
}

// finished returns the result of a task that has stopped.
func (w *wait) finished(ctx context.Context, task types.Task) Result {
	if containerStarted(task) {
		w.log.drain(ctx)
	}
	result := Result{Task: w.arn, ExitCode: exitCode(task, w.spec.container()), Started: containerStarted(task), Duration: w.duration(), Err: failure(task, w.spec.container())}
	if result.Err != nil {
		cause := w.cause(ctx, task)
		result.Cause = &cause
	}
	return result
}

func (w *wait) duration() time.Duration { return w.Clock.Now().Sub(w.began) }

// Succeeded reports whether a task has stopped and its container has succeeded.
func Succeeded(task types.Task, container string) bool {
	return aws.ToString(task.LastStatus) == "STOPPED" && failure(task, container) == nil
}

// failure returns why a stopped task has failed, or nil. A container may exit with 0 when
// its task is stopped from outside, so the stop code decides first.
func failure(task types.Task, container string) error {
	code := exitCode(task, container)
	reason := cmp.Or(aws.ToString(task.StoppedReason), "no reason given")
	switch {
	case task.StopCode == types.TaskStopCodeTaskFailedToStart:
		return fmt.Errorf("the task failed to start: %s", reason)
	case task.StopCode != "" && task.StopCode != types.TaskStopCodeEssentialContainerExited:
		return fmt.Errorf("the task was stopped before it had ended: %s (%s)", reason, task.StopCode)
	case code == nil:
		return fmt.Errorf("container %s ended without an exit code: %s", container, reason)
	case *code != 0:
		return fmt.Errorf("container %s exited with code %d", container, *code)
	}
	return nil
}

func exitCode(task types.Task, container string) *int32 {
	for _, c := range task.Containers {
		if aws.ToString(c.Name) == container {
			return c.ExitCode
		}
	}
	return nil
}

// cause returns why a task failed, with the last lines of its log.
func (w *wait) cause(ctx context.Context, task types.Task) report.Cause {
	of := w.spec.containers()
	cause := rollout.TaskCause(task, of)
	cause.Task = w.arn
	cause.LogTail = w.log.last
	if failed := of.Failed(task); failed != of.Main {
		sidecar := w.newTail(w.spec, failed, w.arn)
		cause.LogTail = sidecar.readLast(ctx)
	}
	cause.Hint = rollout.Hint(cause, w.spec.Service)
	return cause
}
