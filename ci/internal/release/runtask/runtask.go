// Package runtask runs standalone tasks on Amazon ECS: it starts a task once, shows its
// log while it runs, waits until it has stopped, and returns why it failed.
package runtask

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// ECS is the part of the ECS API that runs tasks.
type ECS interface {
	rollout.TaskReader
	RunTask(context.Context, *ecs.RunTaskInput, ...func(*ecs.Options)) (*ecs.RunTaskOutput, error)
	StopTask(context.Context, *ecs.StopTaskInput, ...func(*ecs.Options)) (*ecs.StopTaskOutput, error)
}

// Runner runs tasks.
type Runner struct {
	ECS   ECS
	Logs  rollout.Logs
	Clock rollout.Clock
	// Event is called with each line about the task.
	Event func(text string)
	// Output is called with the lines of the container's log, redacted.
	Output func(lines []string)
	// Renew, if set, is called when the credentials have expired.
	Renew func()
	// Explain, if set, makes AWS errors readable before they are returned.
	Explain func(error) error
}

// Spec is a task to run.
type Spec struct {
	// Service is the entry of the services file. Its main container runs the command.
	Service platform.Service
	// Definition is the revision to run, with its containers.
	Definition types.TaskDefinition
	Placement  Placement
	// Container is the container whose exit code is the task's result; "" means the service's
	// main one.
	Container string
	// Command replaces the container's own, unless it is empty. Environment is added to it.
	Command     []string
	Environment map[string]string
	// CPU and Memory are the size of the task, in CPU units and MiB; 0 means that of the
	// definition.
	CPU, Memory int
	// StartedBy and ClientToken identify the task. ECS starts one task for a token, for
	// at most a day: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html
	StartedBy, ClientToken string
	// Timeout limits the task. It is then stopped.
	Timeout time.Duration
}

func (s Spec) container() string { return cmp.Or(s.Container, s.Service.ContainerName()) }

// containers returns the task's containers, of which the named one is the main one.
func (s Spec) containers() rollout.Containers {
	return rollout.Containers{Main: s.container(), OneOff: true, Definitions: s.Definition.ContainerDefinitions}
}

// Placement is where tasks run: what they have in common with those of a service.
type Placement struct {
	Network           *types.NetworkConfiguration
	LaunchType        types.LaunchType
	PlatformVersion   *string
	CapacityProviders []types.CapacityProviderStrategyItem
	// PropagateTags gives the task the tags of its revision.
	PropagateTags types.PropagateTags
	ManagedTags   bool
}

// PlacementOf returns the placement of a service's tasks. ECS takes either a launch type
// or capacity providers.
func PlacementOf(service types.Service) Placement {
	p := Placement{
		Network: service.NetworkConfiguration, LaunchType: service.LaunchType,
		PlatformVersion: service.PlatformVersion, CapacityProviders: service.CapacityProviderStrategy,
		ManagedTags: service.EnableECSManagedTags,
	}
	if service.PropagateTags == types.PropagateTagsService || service.PropagateTags == types.PropagateTagsTaskDefinition {
		p.PropagateTags = types.PropagateTagsTaskDefinition // a task has no service
	}
	if len(p.CapacityProviders) > 0 {
		p.LaunchType = ""
	}
	return p
}

// Result is the result of a task.
type Result struct {
	// Task is the task's ARN; "" if none was started.
	Task string
	// ExitCode is that of the container; nil if it did not start or was not observed.
	ExitCode *int32
	// Started is set if the container may have run.
	Started  bool
	Duration time.Duration
	// Cause is why the task failed, if it ended.
	Cause *report.Cause
	// Err is nil if the task has succeeded. It is the cause of ctx if that was cancelled.
	Err error
}

// Report returns the result for a report.
func (r Result) Report(service string) report.Task {
	task := report.Task{Service: service, Task: r.Task, Result: report.Succeeded, ExitCode: r.ExitCode, DurationMS: r.Duration.Milliseconds()}
	switch {
	case r.Err == nil:
	case errors.Is(r.Err, context.Canceled):
		task.Result = report.Interrupted
	default:
		task.Result = report.Failed
	}
	return task
}

// Run starts a task and waits for it.
func (r Runner) Run(ctx context.Context, s Spec) Result {
	began := r.Clock.Now()
	arn, err := r.Start(ctx, s)
	if err != nil {
		return r.notStarted(s, err, began)
	}
	return r.Wait(ctx, s, arn)
}

func (r Runner) notStarted(s Spec, err error, began time.Time) Result {
	cause := report.Cause{Count: 1, Reason: err.Error()}
	cause.Hint = rollout.Hint(cause, s.Service)
	return Result{Err: err, Duration: r.Clock.Now().Sub(began), Cause: &cause}
}

// Token returns the client token for parts that identify a task: ECS allows 64 characters.
func Token(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return "slipway-" + hex.EncodeToString(sum[:20])
}

// Unique returns a value of startedBy that no other task has.
func Unique() string { return "slipway-run/" + strings.ToLower(rand.Text()) }

// Find returns the tasks of a family with a value of startedBy, running ones first, and
// newest first of each. ECS shows stopped tasks for about an hour.
func (r Runner) Find(ctx context.Context, cluster, startedBy, family string) ([]types.Task, error) {
	var found []types.Task
	for _, status := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		input := &ecs.ListTasksInput{Cluster: &cluster, StartedBy: &startedBy, DesiredStatus: status}
		group, err := rollout.ListTasks(ctx, r.ECS, input, "cluster "+cluster, r.retry)
		if err != nil {
			return nil, err
		}
		group = slices.DeleteFunc(group, func(task types.Task) bool {
			name, _, _ := strings.Cut(machine.ShortARN(aws.ToString(task.TaskDefinitionArn)), ":")
			return name != family
		})
		slices.SortStableFunc(group, func(a, b types.Task) int { return aws.ToTime(b.CreatedAt).Compare(aws.ToTime(a.CreatedAt)) })
		found = append(found, group...)
	}
	return found, nil
}

// callTimeout limits one call including the SDK's retries.
const callTimeout = 45 * time.Second

// retry makes a call that may be repeated, until ECS accepts or rejects it.
func (r Runner) retry(ctx context.Context, what string, call func(context.Context) error) error {
	err := rollout.Retry(ctx, r.Clock, r.Renew, call)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%s: %w", what, r.explain(err))
}

func withTimeout(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}

func (r Runner) renew(err error) {
	if r.Renew != nil && rollout.IsExpired(err) {
		r.Renew()
	}
}

func (r Runner) explain(err error) error {
	if r.Explain == nil {
		return err
	}
	return r.Explain(err)
}

// ShortID returns the first 8 characters of a task's id.
func ShortID(task string) string {
	id := machine.ShortARN(task)
	return id[:min(8, len(id))]
}
