package runtask

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// Limits on retries of RunTask. ECS allows a burst of 100 calls and then 40 a second.
const (
	startPause = time.Second
	startTries = 60 // throttled calls
	startLost  = 3  // calls without a response
)

// Start starts a task and returns its ARN. A call whose response is lost is repeated with
// the same client token, so that ECS starts one task. An interruption does not cancel a
// call: a lost response is worse than a late one.
func (r Runner) Start(ctx context.Context, s Spec) (string, error) {
	input := s.input()
	for try, lost := 1, 0; ; try++ {
		if ctx.Err() != nil {
			if lost > 0 {
				r.stopLost(ctx, s)
			}
			return "", context.Cause(ctx)
		}
		var out *ecs.RunTaskOutput
		err := withTimeout(context.WithoutCancel(ctx), callTimeout, func(ctx context.Context) (err error) {
			out, err = r.ECS.RunTask(ctx, input)
			return err
		})
		r.renew(err)
		if err == nil {
			return started(s, out)
		}
		status := rollout.CallStatus(err)
		if status != machine.Throttled && status != machine.Rejected {
			lost++
		}
		if status == machine.Rejected || lost >= startLost || try >= startTries {
			if lost > 0 {
				r.stopLost(ctx, s)
			}
			return "", r.explainStart(s, err)
		}
		_ = r.Clock.Sleep(ctx, startPause) // the next round sees an interruption
	}
}

// started returns the task of a response. ECS reports some failures in it.
func started(s Spec, out *ecs.RunTaskOutput) (string, error) {
	if len(out.Tasks) > 0 {
		return aws.ToString(out.Tasks[0].TaskArn), nil
	}
	var reasons []string
	for _, f := range out.Failures {
		reason := aws.ToString(f.Reason)
		if detail := aws.ToString(f.Detail); detail != "" {
			reason += ": " + detail
		}
		reasons = append(reasons, reason)
	}
	if len(reasons) == 0 {
		reasons = []string{"ECS returned no task and no reason"}
	}
	return "", fmt.Errorf("ECS did not start a task of %s: %s", revision(s), strings.Join(reasons, ", "))
}

func revision(s Spec) string { return machine.ShortARN(aws.ToString(s.Definition.TaskDefinitionArn)) }

// explainStart explains why ECS rejected a task.
func (r Runner) explainStart(s Spec, err error) error {
	if conflict, ok := errors.AsType[*types.ConflictException](err); ok {
		var tasks []string
		for _, arn := range conflict.ResourceIds {
			tasks = append(tasks, machine.ShortARN(arn))
		}
		return fmt.Errorf("cannot start a task of %s: an earlier call with the same client token and other parameters has started task %s: wait until it has stopped, then run the command again",
			revision(s), strings.Join(tasks, ", "))
	}
	return fmt.Errorf("cannot start a task of %s: %w", revision(s), r.explain(err))
}

// stopLost stops the task that a call without a response may have started.
func (r Runner) stopLost(ctx context.Context, s Spec) {
	ctx = context.WithoutCancel(ctx)
	tasks, err := r.Find(ctx, s.Service.ClusterName(), s.StartedBy, aws.ToString(s.Definition.Family))
	if err != nil {
		r.Event(fmt.Sprintf("cannot look for a task that may have started (startedBy %s): %s", s.StartedBy, err))
	}
	for _, task := range tasks {
		if aws.ToString(task.DesiredStatus) == string(types.DesiredStatusStopped) {
			continue
		}
		arn := aws.ToString(task.TaskArn)
		if err := r.stopTask(ctx, s, arn, "slipway got no response to RunTask"); err != nil {
			r.Event(fmt.Sprintf("task %s may still run: %s", machine.ShortARN(arn), err))
		}
	}
}

func (r Runner) stopTask(ctx context.Context, s Spec, arn, reason string) error {
	return r.retry(ctx, "stopping task "+machine.ShortARN(arn), func(ctx context.Context) error {
		_, err := r.ECS.StopTask(ctx, &ecs.StopTaskInput{Cluster: aws.String(s.Service.ClusterName()), Task: &arn, Reason: &reason})
		return err
	})
}

// input returns the input of RunTask.
func (s Spec) input() *ecs.RunTaskInput {
	return &ecs.RunTaskInput{
		Cluster: aws.String(s.Service.ClusterName()), TaskDefinition: s.Definition.TaskDefinitionArn, Count: aws.Int32(1),
		ClientToken: &s.ClientToken, StartedBy: &s.StartedBy, Overrides: s.overrides(),
		NetworkConfiguration: s.Placement.Network, LaunchType: s.Placement.LaunchType,
		PlatformVersion: s.Placement.PlatformVersion, CapacityProviderStrategy: s.Placement.CapacityProviders,
		PropagateTags: s.Placement.PropagateTags, EnableECSManagedTags: s.Placement.ManagedTags,
	}
}

func (s Spec) overrides() *types.TaskOverride {
	container := types.ContainerOverride{Name: aws.String(s.container()), Command: s.Command}
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		container.Environment = append(container.Environment, types.KeyValuePair{Name: &name, Value: aws.String(s.Environment[name])})
	}
	override := &types.TaskOverride{}
	if s.CPU > 0 {
		override.Cpu = aws.String(strconv.Itoa(s.CPU))
		container.Cpu = resized(s.definedLimit(func(c types.ContainerDefinition) int32 { return c.Cpu }), aws.ToString(s.Definition.Cpu), s.CPU)
	}
	if s.Memory > 0 {
		override.Memory = aws.String(strconv.Itoa(s.Memory))
		container.Memory = resized(s.definedLimit(func(c types.ContainerDefinition) int32 { return aws.ToInt32(c.Memory) }), aws.ToString(s.Definition.Memory), s.Memory)
	}
	if len(container.Command) > 0 || len(container.Environment) > 0 || container.Cpu != nil || container.Memory != nil {
		override.ContainerOverrides = []types.ContainerOverride{container}
	}
	return override
}

// definedLimit returns the container's limit in the definition, 0 if it has none.
func (s Spec) definedLimit(of func(types.ContainerDefinition) int32) int32 {
	for _, c := range s.Definition.ContainerDefinitions {
		if aws.ToString(c.Name) == s.container() {
			return of(c)
		}
	}
	return 0
}

// resized returns a container's limit in proportion to the size of its task: otherwise the
// container could not use a larger task.
func resized(limit int32, task string, size int) *int32 {
	before, err := strconv.Atoi(task)
	if limit == 0 || err != nil {
		return nil
	}
	return aws.Int32(max(1, limit+int32(size-before)))
}
