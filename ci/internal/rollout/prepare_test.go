package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/rollout"
)

func TestPreflight(t *testing.T) {
	b := newBench(completes, "")
	var asked []rollout.Subject
	b.request.Preflight = func(_ context.Context, subjects []rollout.Subject) error {
		asked = subjects
		return outcome.With(outcome.Usage, errors.New("the execution role is missing"))
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Usage, got.ExitCode)
	require.Equal(t, report.Failed, got.Result)
	require.Len(t, asked, 1, "of what changes")
	require.Equal(t, "good@sha256:new", asked[0].Image)
	require.Equal(t, "good@sha256:new", aws.ToString(asked[0].Definition.ContainerDefinitions[0].Image))
	require.Equal(t, "ecs-a-service", aws.ToString(asked[0].Running.ServiceName))
	require.Zero(t, b.ecs.count("RegisterTaskDefinition")+b.ecs.count("UpdateService"))
}

func TestWaitForTurn(t *testing.T) {
	b := newBench(completes, completes)
	other := b.ecs.definitions[0].ContainerDefinitions[0]
	b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", other))
	b.request.WaitForTurn = time.Minute
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.True(t, b.told("waiting for its turn: service ecs-a-service: a deployment is in progress"))

	b = newBench(completes, completes)
	other.Image = aws.String("stuck@sha256:x")
	b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", other))
	b.request.WaitForTurn = time.Minute
	got = b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Refused, got.ExitCode, "a turn that does not come")
}

// TestTwoAtOnce lets another release slip in between planning and the first
// change.
func TestTwoAtOnce(t *testing.T) {
	b := newBench(completes, completes)
	b.ecs.refuse = func(operation, service string) error {
		if operation == "RegisterTaskDefinition" && service == "ecs-b-task" {
			b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", b.ecs.definitions[0].ContainerDefinitions[0]))
		}
		return nil
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
	require.Contains(t, got.Error, "begun while this release was prepared")
	require.Zero(t, b.ecs.count("UpdateService"))
}

func TestDesiredCountOfZero(t *testing.T) {
	b := newBench(completes, "")
	s := b.ecs.services["ecs-a-service"]
	s.desired = 0
	b.ecs.complete(s)
	s.deployments[0].DesiredCount, s.deployments[0].RunningCount = 0, 0
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.True(t, b.told("a: has a desired count of 0: no task was started, so nothing is proven"))
}

// TestFirstDeployment releases to a service that has waited for an image since
// it was created.
func TestFirstDeployment(t *testing.T) {
	for name, tt := range map[string]struct {
		fate fate
		code outcome.Code
	}{"good": {completes, outcome.Done}, "bad": {fails, outcome.Restored}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(tt.fate, "")
			s := b.ecs.services["ecs-a-service"]
			s.deployments[0].RolloutState = types.DeploymentRolloutStateInProgress
			s.deployments[0].RunningCount = 0
			s.deployments[0].CreatedAt = aws.Time(time.Unix(1, 0))
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, "%s\n%s", got.Error, b.log())
		})
	}
}

func TestForce(t *testing.T) {
	b := newBench("", "")
	b.request.Force = true
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Equal(t, 2, b.ecs.count("UpdateService"))
	require.Zero(t, b.ecs.count("RegisterTaskDefinition"))
	require.Equal(t, got.Services[0].From.TaskDefinition, got.Services[0].To.TaskDefinition)
}

// TestForcedRollback is the trap that a look at the running revision cannot see:
// the forced deployment of what runs already was rolled back to the same.
func TestForcedRollback(t *testing.T) {
	for _, f := range []fate{rollsBack, fails, stays} {
		b := newBench("", "")
		s := b.ecs.services["ecs-a-service"]
		b.ecs.definitions[0].ContainerDefinitions[0].Image = aws.String(string(f) + "@sha256:old")
		b.request.Targets[0].Image = string(f) + "@sha256:old"
		b.ecs.complete(s)
		b.request.Force = true
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Restored, got.ExitCode, "%s: %s\n%s", f, got.Error, b.log())
	}
}

func TestFailedServiceIsNotUnchanged(t *testing.T) {
	b := newBench("", "")
	b.ecs.services["ecs-a-service"].deployments[0].RolloutState = types.DeploymentRolloutStateFailed
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Equal(t, report.Succeeded, got.Services[0].Result, "rolled out again: to say unchanged of it were a lie")
	require.Equal(t, report.Unchanged, got.Services[1].Result)
}

// TestWhatCannotBeDrivenIsRefused: before anything changes, on the way back, too,
// and only where something is to change.
func TestWhatCannotBeDrivenIsRefused(t *testing.T) {
	strategy := func(s types.DeploymentStrategy) func(*types.Service) {
		return func(service *types.Service) {
			service.DeploymentConfiguration = &types.DeploymentConfiguration{Strategy: s, BakeTimeInMinutes: aws.Int32(1440)}
		}
	}
	hook := func(h types.DeploymentLifecycleHook) func(*types.Service) {
		return func(service *types.Service) {
			service.DeploymentConfiguration = &types.DeploymentConfiguration{Strategy: types.DeploymentStrategyRolling, LifecycleHooks: []types.DeploymentLifecycleHook{h}}
		}
	}
	tests := map[string]struct {
		spoil func(*types.Service)
		want  string // "" is driven
	}{
		"CodeDeploy": {func(s *types.Service) {
			s.DeploymentController = &types.DeploymentController{Type: types.DeploymentControllerTypeCodeDeploy}
		}, "service ecs-a-service is deployed by CODE_DEPLOY, not by ECS"},
		"an external controller": {func(s *types.Service) {
			s.DeploymentController = &types.DeploymentController{Type: types.DeploymentControllerTypeExternal}
		}, "service ecs-a-service is deployed by EXTERNAL, not by ECS"},
		"blue/green":         {strategy(types.DeploymentStrategyBlueGreen), "service ecs-a-service has the deployment strategy BLUE_GREEN: slipway drives rolling updates only: set strategy to ROLLING"},
		"canary":             {strategy(types.DeploymentStrategyCanary), "has the deployment strategy CANARY"},
		"linear":             {strategy(types.DeploymentStrategyLinear), "has the deployment strategy LINEAR"},
		"one yet to be made": {strategy("TELEPORT"), "has the deployment strategy TELEPORT"},
		"rolling":            {strategy(types.DeploymentStrategyRolling), ""},
		"an older API":       {strategy(""), ""},
		"a hook that pauses": {hook(types.DeploymentLifecycleHook{TargetType: types.DeploymentLifecycleHookTargetTypePause}), "service ecs-a-service has a deployment lifecycle hook (PAUSE)"},
		"a hook that asks":   {hook(types.DeploymentLifecycleHook{HookTargetArn: aws.String("arn:aws:lambda:us-east-1:1:function:f")}), "lifecycle hook (arn:aws:lambda:us-east-1:1:function:f)"},
		"blue/green, under way": {func(s *types.Service) {
			strategy(types.DeploymentStrategyBlueGreen)(s)
			s.Deployments[0].RolloutState = types.DeploymentRolloutStateInProgress
			s.Deployments = append(s.Deployments, types.Deployment{Id: aws.String("ecs-svc/99"), Status: aws.String("ACTIVE")})
		}, "has the deployment strategy BLUE_GREEN"},
	}
	for name, tt := range tests {
		for _, back := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, going back %t", name, back), func(t *testing.T) {
				b := newBench(completes, completes)
				b.engine.ECS = described{b.ecs, func(s *types.Service) {
					if *s.ServiceName == "ecs-a-service" {
						tt.spoil(s)
					}
				}}
				b.request.TakeOver, b.request.WaitForTurn = back, time.Hour
				before := b.ecs.clock.Now()
				got := b.engine.Release(t.Context(), b.request)
				if tt.want == "" {
					require.Equal(t, report.Succeeded, got.Result, got.Error)
					return
				}
				require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
				require.Contains(t, got.Error, tt.want)
				require.Zero(t, b.ecs.count("UpdateService")+b.ecs.count("RegisterTaskDefinition"))
				require.Equal(t, before, b.ecs.clock.Now(), "there is nothing to wait for")
			})
		}
	}
	t.Run("a service that does not change", func(t *testing.T) {
		b := newBench(completes, "")
		b.engine.ECS = described{b.ecs, func(s *types.Service) {
			if *s.ServiceName == "ecs-b-service" {
				strategy(types.DeploymentStrategyBlueGreen)(s)
			}
		}}
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, report.Succeeded, got.Result, got.Error)
		diff, err := b.engine.Diff(t.Context(), b.request)
		require.NoError(t, err)
		require.Equal(t, []string{"", "BLUE_GREEN"}, []string{diff.Services[0].Strategy, diff.Services[1].Strategy})
		status, err := b.engine.Status(t.Context(), b.request.Cluster, b.services())
		require.NoError(t, err)
		require.Equal(t, []string{"", "BLUE_GREEN"}, []string{status.Services[0].Strategy, status.Services[1].Strategy})
	})
	t.Run("looking is not changing", func(t *testing.T) {
		b := newBench(completes, completes)
		b.engine.ECS = described{b.ecs, strategy(types.DeploymentStrategyCanary)}
		diff, err := b.engine.Diff(t.Context(), b.request)
		require.NoError(t, err)
		require.True(t, diff.Changed)
		require.Equal(t, "CANARY", diff.Services[0].Strategy)
	})
}

func TestNextTellsWhatAHumanHasToRun(t *testing.T) {
	b := newBench(completes, completes)
	var told []string
	b.engine.Next = func(command string) { told = append(told, command) }
	b.engine.Release(t.Context(), b.request)
	require.Contains(t, told, "aws ecs update-service --cluster ecs-cluster --service ecs-a-service --task-definition arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:1"+
		" && aws ecs update-service --cluster ecs-cluster --service ecs-b-service --task-definition arn:aws:ecs:us-east-1:1:task-definition/ecs-b-task:1")
	require.Empty(t, told[len(told)-1], "nothing is left to do")
}

// noImage is what services run before their first release.
const noImage = string(missing) + "@sha256:none"

// newFirstBench has two services as Terraform makes them: without tasks, and never
// released to.
func newFirstBench(a, second fate) *bench {
	b := newBench(a, second)
	for n, service := range []string{"ecs-a-service", "ecs-b-service"} {
		s := b.ecs.services[service]
		b.ecs.tags[*s.deployments[0].TaskDefinition] = nil
		b.ecs.find(*s.deployments[0].TaskDefinition).ContainerDefinitions[0].Image = aws.String(noImage)
		s.desired, s.deployments[0].DesiredCount, s.deployments[0].RunningCount = 0, 0, 0
		b.ecs.remember(s)
		b.request.Targets[n].Service.DesiredCount = 2
	}
	return b
}

// TestFirstRelease releases to services that Terraform has made without tasks:
// they get the count of the services file, and lose it again when it fails.
func TestFirstRelease(t *testing.T) {
	for name, tt := range map[string]struct {
		b     fate
		code  outcome.Code
		count int32
	}{
		"good":           {completes, outcome.Done, 2},
		"fails":          {fails, outcome.Restored, 0},
		"ECS rolls back": {rollsBack, outcome.Restored, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFirstBench(completes, tt.b)
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, "%s\n%s", got.Error, b.log())
			require.True(t, b.told("b: its first release: desired count 0 -> 2, as in terraform/services.auto.tfvars.json"), b.log())
			b.ecs.rest()
			for _, s := range b.ecs.services {
				require.Equal(t, tt.count, s.desired, s.name)
			}
			requireAllOrNothing(t, b, got)
		})
	}
}

// TestStoppedServiceStaysStopped is one that was released before and that somebody
// has scaled to nothing.
func TestStoppedServiceStaysStopped(t *testing.T) {
	b := newBench(completes, "")
	s := b.ecs.services["ecs-a-service"]
	b.ecs.tags[*s.deployments[0].TaskDefinition] = []types.Tag{{Key: aws.String(rollout.TagRelease), Value: aws.String("r")}}
	s.desired, s.deployments[0].DesiredCount, s.deployments[0].RunningCount = 0, 0, 0
	b.request.Targets[0].Service.DesiredCount = 2
	require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
	require.Zero(t, s.desired)
}
