package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestPreflight(t *testing.T) {
	b := newFixture(completes, "")
	var changes []rollout.ServiceChange
	b.request.Preflight = func(_ context.Context, planned []rollout.ServiceChange) error {
		changes = planned
		return outcome.With(outcome.Usage, errors.New("the execution role is missing"))
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Usage, got.ExitCode)
	require.Equal(t, report.Failed, got.Result)
	require.Len(t, changes, 1, "only changed services")
	require.Equal(t, "good@sha256:new", changes[0].Image)
	require.Equal(t, "good@sha256:new", aws.ToString(changes[0].Definition.ContainerDefinitions[0].Image))
	require.Equal(t, "ecs-a-service", aws.ToString(changes[0].ECSService.ServiceName))
	require.Zero(t, b.ecs.count("RegisterTaskDefinition")+b.ecs.count("UpdateService"))
}

func TestWaitForTurn(t *testing.T) {
	b := newFixture(completes, completes)
	other := b.ecs.definitions[0].ContainerDefinitions[0]
	b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", other))
	b.request.WaitForTurn = time.Minute
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.True(t, b.hasEvent("waiting for another deployment: service ecs-a-service: a deployment is in progress"))

	b = newFixture(completes, completes)
	other.Image = aws.String("stuck@sha256:x")
	b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", other))
	b.request.WaitForTurn = time.Minute
	got = b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Refused, got.ExitCode, "it waited in vain")
}

// TestConcurrentDeploymentWhilePreparing starts another deployment between planning and
// the first change.
func TestConcurrentDeploymentWhilePreparing(t *testing.T) {
	b := newFixture(completes, completes)
	b.ecs.failCall = func(operation, service string) error {
		if operation == "RegisterTaskDefinition" && service == "ecs-b-task" {
			b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", b.ecs.definitions[0].ContainerDefinitions[0]))
		}
		return nil
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
	require.Contains(t, got.Error, "a deployment is in progress")
	require.True(t, b.hasEvent("started while this release was being prepared"))
	require.Zero(t, b.ecs.count("UpdateService"))

	b = newFixture(completes, completes)
	overtaken := 0
	b.ecs.failCall = func(operation, service string) error {
		if operation == "RegisterTaskDefinition" && service == "ecs-b-task" {
			if overtaken++; overtaken == 1 {
				b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", b.ecs.definitions[0].ContainerDefinitions[0]))
			}
		}
		return nil
	}
	b.request.WaitForTurn = time.Minute
	got = b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, "it waits: %s", got.Error)
}

// TestSameReleaseTwiceAtOnce lets another process start the same release between
// planning and the first change: it is resumed.
func TestSameReleaseTwiceAtOnce(t *testing.T) {
	b := newFixture(completes, completes)
	registered, begun := 0, false
	b.ecs.failCall = func(operation, _ string) error { // called with the fake's lock
		if operation == "RegisterTaskDefinition" {
			registered++
		}
		if operation != "DescribeServices" || begun || registered < 2 {
			return nil
		}
		begun = true
		for _, s := range []string{"a", "b"} {
			for _, d := range slices.Backward(b.ecs.definitions) {
				if aws.ToString(d.Family) == "ecs-"+s+"-task" {
					b.ecs.deploy("ecs-"+s+"-service", aws.ToString(d.TaskDefinitionArn))
					break
				}
			}
		}
		return nil
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.True(t, begun)
	require.True(t, b.hasEvent("resuming with deployment"))
	require.Zero(t, b.ecs.count("UpdateService"), "the other process called it")
}

func TestDesiredCountOfZero(t *testing.T) {
	b := newFixture(completes, "")
	s := b.ecs.services["ecs-a-service"]
	s.desired = 0
	b.ecs.complete(s)
	s.deployments[0].DesiredCount, s.deployments[0].RunningCount = 0, 0
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.True(t, b.hasEvent("a: has a desired count of 0: no task was started, so the new version is untested"))
}

// TestFirstDeployment releases to a service that has waited for an image since its
// creation.
func TestFirstDeployment(t *testing.T) {
	for name, tt := range map[string]struct {
		fate behavior
		code outcome.Code
	}{"good": {completes, outcome.Done}, "bad": {fails, outcome.Restored}} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(tt.fate, "")
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
	b := newFixture("", "")
	b.request.Force = true
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Equal(t, 2, b.ecs.count("UpdateService"))
	require.Zero(t, b.ecs.count("RegisterTaskDefinition"))
	require.Equal(t, got.Services[0].From.TaskDefinition, got.Services[0].To.TaskDefinition)
}

// TestForcedRollback checks that a rolled back forced deployment is not taken for a
// success: the running revision is the same.
func TestForcedRollback(t *testing.T) {
	for _, f := range []behavior{rollsBack, fails, stays} {
		b := newFixture("", "")
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
	b := newFixture("", "")
	b.ecs.services["ecs-a-service"].deployments[0].RolloutState = types.DeploymentRolloutStateFailed
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Equal(t, report.Succeeded, got.Services[0].Result, "rolled out again")
	require.Equal(t, report.Unchanged, got.Services[1].Result)
}

// TestUnsupportedDeploymentsAreRefused before anything changes, for releases and
// rollbacks, and only if the service changes.
func TestUnsupportedDeploymentsAreRefused(t *testing.T) {
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
		change func(*types.Service)
		want   string // "" if it is supported
	}{
		"CodeDeploy": {func(s *types.Service) {
			s.DeploymentController = &types.DeploymentController{Type: types.DeploymentControllerTypeCodeDeploy}
		}, "service ecs-a-service uses the deployment controller CODE_DEPLOY"},
		"an external controller": {func(s *types.Service) {
			s.DeploymentController = &types.DeploymentController{Type: types.DeploymentControllerTypeExternal}
		}, "service ecs-a-service uses the deployment controller EXTERNAL"},
		"blue/green":          {strategy(types.DeploymentStrategyBlueGreen), "service ecs-a-service has the deployment strategy BLUE_GREEN, but its entry in terraform/services.auto.tfvars.json has none: set strategy there"},
		"canary":              {strategy(types.DeploymentStrategyCanary), "has the deployment strategy CANARY"},
		"linear":              {strategy(types.DeploymentStrategyLinear), "has the deployment strategy LINEAR"},
		"an unknown strategy": {strategy("TELEPORT"), "has the deployment strategy TELEPORT"},
		"rolling":             {strategy(types.DeploymentStrategyRolling), ""},
		"an older API":        {strategy(""), ""},
		"a pause hook":        {hook(types.DeploymentLifecycleHook{TargetType: types.DeploymentLifecycleHookTargetTypePause, LifecycleStages: []types.DeploymentLifecycleHookStage{"PRE_SCALE_UP"}}), "service ecs-a-service has a pause hook at [PRE_SCALE_UP] that slipway did not set"},
		"a Lambda hook":       {hook(types.DeploymentLifecycleHook{HookTargetArn: aws.String("arn:aws:lambda:us-east-1:1:function:f")}), ""},
		"blue/green, in progress": {func(s *types.Service) {
			strategy(types.DeploymentStrategyBlueGreen)(s)
			s.Deployments[0].RolloutState = types.DeploymentRolloutStateInProgress
			s.Deployments = append(s.Deployments, types.Deployment{Id: aws.String("ecs-svc/99"), Status: aws.String("ACTIVE")})
		}, "has the deployment strategy BLUE_GREEN"},
	}
	for name, tt := range tests {
		for _, rollback := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, rollback %t", name, rollback), func(t *testing.T) {
				b := newFixture(completes, completes)
				b.engine.ECS = changedServices{b.ecs, func(s *types.Service) {
					if *s.ServiceName == "ecs-a-service" {
						tt.change(s)
					}
				}}
				b.request.TakeOver, b.request.WaitForTurn = rollback, time.Hour
				before := b.ecs.clock.Now()
				got := b.engine.Release(t.Context(), b.request)
				if tt.want == "" {
					require.Equal(t, report.Succeeded, got.Result, got.Error)
					return
				}
				require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
				require.Contains(t, got.Error, tt.want)
				require.Zero(t, b.ecs.count("UpdateService")+b.ecs.count("RegisterTaskDefinition"))
				require.Equal(t, before, b.ecs.clock.Now(), "it does not wait")
			})
		}
	}
	t.Run("a service that does not change", func(t *testing.T) {
		b := newFixture(completes, "")
		b.engine.ECS = changedServices{b.ecs, func(s *types.Service) {
			if *s.ServiceName == "ecs-b-service" {
				strategy(types.DeploymentStrategyBlueGreen)(s)
			}
		}}
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, report.Succeeded, got.Result, got.Error)
		diff, err := b.engine.Diff(t.Context(), b.request)
		require.NoError(t, err)
		require.Equal(t, []string{"", "BLUE_GREEN"}, []string{diff.Services[0].Strategy, diff.Services[1].Strategy})
		status, err := b.engine.Status(t.Context(), b.services())
		require.NoError(t, err)
		require.Equal(t, []string{"", "BLUE_GREEN"}, []string{status.Services[0].Strategy, status.Services[1].Strategy})
	})
	t.Run("diff", func(t *testing.T) {
		b := newFixture(completes, completes)
		b.engine.ECS = changedServices{b.ecs, strategy(types.DeploymentStrategyCanary)}
		diff, err := b.engine.Diff(t.Context(), b.request)
		require.NoError(t, err)
		require.True(t, diff.Changed)
		require.Equal(t, "CANARY", diff.Services[0].Strategy)
	})
}

func TestNextCommand(t *testing.T) {
	b := newFixture(completes, completes)
	var commands []string
	b.engine.Next = func(command string) { commands = append(commands, command) }
	b.engine.Release(t.Context(), b.request)
	require.Contains(t, commands, "aws ecs update-service --cluster ecs-cluster --service ecs-a-service --task-definition arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:1"+
		" && aws ecs update-service --cluster ecs-cluster --service ecs-b-service --task-definition arn:aws:ecs:us-east-1:1:task-definition/ecs-b-task:1")
	require.Empty(t, commands[len(commands)-1], "no command is left")
}

// TestMissingRevisions releases and restores after a clean-up has deregistered or
// deleted revisions.
func TestMissingRevisions(t *testing.T) {
	const inactive, deleting = types.TaskDefinitionStatusInactive, types.TaskDefinitionStatusDeleteInProgress
	tests := map[string]struct {
		take  map[int]types.TaskDefinitionStatus // of service a's revisions; 2 is not of a release
		fate  behavior
		force bool
		code  outcome.Code
		want  string // image of service a
		event string
	}{
		"all deregistered":              {map[int]types.TaskDefinitionStatus{1: inactive, 2: inactive}, completes, false, outcome.Done, "good@sha256:new", "a: no revision of task definition ecs-a-task is active: creating one from ecs-a-task:1, which runs"},
		"all deregistered, failing":     {map[int]types.TaskDefinitionStatus{1: inactive, 2: inactive}, fails, false, outcome.Restored, oldImage, ""},
		"all deregistered, rolled back": {map[int]types.TaskDefinitionStatus{1: inactive, 2: inactive}, rollsBack, false, outcome.Restored, oldImage, ""},
		"all deregistered, stuck":       {map[int]types.TaskDefinitionStatus{1: inactive, 2: inactive}, stays, false, outcome.Restored, oldImage, ""},
		"what runs, failing":            {map[int]types.TaskDefinitionStatus{1: inactive}, fails, false, outcome.Restored, oldImage, ""},
		"being deleted, failing":        {map[int]types.TaskDefinitionStatus{1: deleting, 2: deleting}, fails, false, outcome.Restored, oldImage, ""},
		"all deregistered, unchanged":   {map[int]types.TaskDefinitionStatus{1: inactive, 2: inactive}, "", false, outcome.Done, oldImage, "a: unchanged"},
		"all deregistered, forced":      {map[int]types.TaskDefinitionStatus{1: inactive, 2: inactive}, "", true, outcome.Done, oldImage, "a: registered ecs-a-task:3"},
		"what runs is deleted":          {map[int]types.TaskDefinitionStatus{1: deleted}, completes, false, outcome.Done, "good@sha256:new", "a: task definition ecs-a-task:1 is deleted: only ECS can restore the running version"},
		"what runs is deleted, failing": {map[int]types.TaskDefinitionStatus{1: deleted}, rollsBack, false, outcome.Restored, oldImage, ""},
		"deleted, failing":              {map[int]types.TaskDefinitionStatus{1: deleted}, fails, false, outcome.Unrestored, "failed@sha256:new", "a: cannot be restored: task definition ecs-a-task:1 is deleted"},
		"what runs deleted, none left":  {map[int]types.TaskDefinitionStatus{1: deleted, 2: inactive}, completes, false, outcome.Done, "good@sha256:new", "a: no revision of task definition ecs-a-task is active: creating one from ecs-a-task:2"},
		"all deleted":                   {map[int]types.TaskDefinitionStatus{1: deleted, 2: deleted}, completes, false, outcome.Failed, oldImage, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(tt.fate, "")
			b.registerForeign(1)
			for n, status := range tt.take {
				b.ecs.remove(revision(n), status)
			}
			b.request.Force, b.request.Timeout = tt.force, killTimeout
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, "%s\n%s", got.Error, b.log())
			require.True(t, b.hasEvent(tt.event), b.log())
			b.ecs.settleAll()
			require.Equal(t, tt.want, b.ecs.running("a"), b.log())
			if tt.code == outcome.Unrestored {
				require.Equal(t, "slipway rollback --service a --to COMMIT", got.Next)
			}
			if tt.code == outcome.Failed {
				require.Contains(t, got.Error, "task definition ecs-a-task does not exist: create it with Terraform (slipway plan, slipway apply)")
			}
		})
	}
}

// TestStatusWithMissingRevisions checks the drift of missing revisions.
func TestStatusWithMissingRevisions(t *testing.T) {
	for want, status := range map[string]types.TaskDefinitionStatus{
		"no revision of task definition ecs-a-task is active, but ecs-a-task:1 still runs: the next deploy registers a revision based on it": types.TaskDefinitionStatusInactive,
		"task definition ecs-a-task:1 is deleted, but the service runs it":                                                                   deleted,
	} {
		b := newFixture(completes, completes)
		b.ecs.remove(revision(1), status)
		got, err := b.engine.Status(t.Context(), b.services()[:1])
		require.NoError(t, err)
		require.Equal(t, []string{want}, got.Services[0].Drift)
		require.Equal(t, report.Steady, got.Services[0].State)
		require.Equal(t, revision(1), got.Services[0].Version.TaskDefinition)
	}
}

// TestTagsAreKept checks every path that registers a revision: tags of others are kept,
// those of earlier releases are not.
func TestTagsAreKept(t *testing.T) {
	theirs := []types.Tag{{Key: aws.String("CostCenter"), Value: aws.String("4711")}, {Key: aws.String("slipway:old"), Value: aws.String("x")}, {Key: aws.String("AWS:cloudformation:stack"), Value: aws.String("y")}}
	tags := func(b *fixture, n int) map[string]string {
		got := map[string]string{}
		for _, tag := range b.ecs.tags[revision(n)] {
			got[*tag.Key] = *tag.Value
		}
		return got
	}
	t.Run("deploy", func(t *testing.T) {
		b := newFixture(completes, "")
		b.ecs.tags[revision(1)] = append(theirs, types.Tag{Key: aws.String(rollout.TagRaised), Value: aws.String("7")})
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Done, got.ExitCode, got.Error)
		require.Equal(t, map[string]string{
			"CostCenter": "4711", rollout.TagSHA: newSHA, rollout.TagDigest: "sha256:new", rollout.TagRelease: got.ID, rollout.TagFrom: revision(1), rollout.TagSize: "1",
		}, tags(b, 2))
	})
	t.Run("environment", func(t *testing.T) {
		b := newFixture(completes, "")
		b.engine.Environment = platform.Environment{Name: "staging", File: "f"}
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Done, got.ExitCode, got.Error)
		require.Equal(t, "staging", tags(b, 2)[rollout.TagEnvironment])
		plain := newFixture(completes, "")
		require.Equal(t, got.ID, plain.engine.Release(t.Context(), plain.request).ID, "the environment is no part of the id")

		// A revision that was registered for the release before is the same without the tag.
		again := newFixture(completes, "")
		again.ecs.failCall = func(operation, _ string) error {
			if operation == "UpdateService" {
				return &smithy.GenericAPIError{Code: "InvalidParameterException"}
			}
			return nil
		}
		require.NotEqual(t, outcome.Done, again.engine.Release(t.Context(), again.request).ExitCode)
		require.NotContains(t, tags(again, 2), rollout.TagEnvironment)
		again.ecs.failCall, again.engine.Environment = nil, b.engine.Environment
		got = again.engine.Release(t.Context(), again.request)
		require.Equal(t, outcome.Done, got.ExitCode, got.Error)
		require.Equal(t, revision(2), got.Services[0].To.TaskDefinition, "nothing is registered again")
	})
	t.Run("restore", func(t *testing.T) {
		b := newFixture(fails, "")
		b.ecs.tags[revision(1)] = append(theirs, types.Tag{Key: aws.String(rollout.TagSHA), Value: aws.String("old")})
		b.ecs.failCall = deregister(b, "UpdateService ecs-a", "ecs-a-task:1")
		require.Equal(t, outcome.Restored, b.engine.Release(t.Context(), b.request).ExitCode)
		require.Equal(t, map[string]string{"CostCenter": "4711", rollout.TagSHA: "old", rollout.TagCopy: revision(1)}, tags(b, 3))
	})
	t.Run("rollback", func(t *testing.T) {
		b := newFixture(completes, "")
		b.ecs.tags[revision(1)] = theirs
		b.release(t, "1111", "good@sha256:a1", oldImage)
		b.release(t, "2222", "good@sha256:a2", oldImage)
		first := tags(b, 2)
		b.ecs.remove(revision(2), types.TaskDefinitionStatusInactive)
		require.Equal(t, outcome.Done, b.rollBack(t).ExitCode)
		first[rollout.TagCopy] = revision(2)
		require.Equal(t, first, tags(b, 4))
		require.Equal(t, "4711", first["CostCenter"])
	})
	t.Run("first release", func(t *testing.T) {
		b := newFirstReleaseFixture(completes, completes)
		b.ecs.tags[revision(1)] = theirs
		require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
		require.Equal(t, "4711", tags(b, 2)["CostCenter"])
	})
	t.Run("more than ECS allows", func(t *testing.T) {
		b := newFixture(completes, "")
		b.ecs.tags[revision(1)] = nil
		for n := range 50 {
			b.ecs.tags[revision(1)] = append(b.ecs.tags[revision(1)], types.Tag{Key: aws.String(fmt.Sprintf("k%02d", n)), Value: aws.String("v")})
		}
		require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
		require.Len(t, tags(b, 2), 50)
		require.Equal(t, newSHA, tags(b, 2)[rollout.TagSHA])
		require.True(t, b.hasEvent("a: ECS allows 50 tags, so the new revision does not have k45, k46, k47, k48, k49"), b.log())
	})
}

// noImage is the image of services before their first release.
const noImage = string(missing) + "@sha256:none"

// newFirstReleaseFixture has two services as Terraform creates them: without tasks.
func newFirstReleaseFixture(a, second behavior) *fixture {
	b := newFixture(a, second)
	b.neverReleased()
	return b
}

// neverReleased resets the services to what Terraform creates.
func (b *fixture) neverReleased() {
	for n, service := range []string{"ecs-a-service", "ecs-b-service"} {
		s := b.ecs.services[service]
		b.ecs.tags[*s.deployments[0].TaskDefinition] = nil
		b.ecs.find(*s.deployments[0].TaskDefinition).ContainerDefinitions[0].Image = aws.String(noImage)
		s.desired, s.deployments[0].DesiredCount, s.deployments[0].RunningCount = 0, 0, 0
		b.ecs.remember(s)
		b.request.Targets[n].Service.DesiredCount = 2
	}
}

// givenUp resets the services to a desired count and an image that does not run, as
// Terraform may create them. The status is that of their deployments.
func (b *fixture) givenUp(before types.ServiceDeploymentStatus) {
	for _, s := range b.ecs.services {
		s.desired, s.deployments[0].DesiredCount, s.deployments[0].RolloutState = 2, 2, types.DeploymentRolloutStateFailed
		for n := range s.records {
			s.records[n].Status = before
		}
		b.ecs.remember(s)
	}
}

// TestFirstRelease releases to services that Terraform has created without tasks: they
// get the desired count of the services file, and lose it if the release fails.
func TestFirstRelease(t *testing.T) {
	for name, tt := range map[string]struct {
		b       behavior
		givesUp bool
		code    outcome.Code
		count   int32
	}{
		"good":           {completes, false, outcome.Done, 2},
		"fails":          {fails, false, outcome.Restored, 0},
		"ECS rolls back": {rollsBack, false, outcome.Restored, 0},
		"ECS rolls back to nothing, and gives up": {rollsBack, true, outcome.Restored, 0},
		"nothing happens":                         {stays, true, outcome.Restored, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFirstReleaseFixture(completes, tt.b)
			b.ecs.givesUp, b.request.Timeout = tt.givesUp, killTimeout
			began := b.ecs.clock.Now()
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, "%s\n%s", got.Error, b.log())
			require.Less(t, b.ecs.clock.Now().Sub(began), 2*time.Minute, "it does not wait")
			require.True(t, b.hasEvent("b: first release: desired count 0 -> 2, as in terraform/services.auto.tfvars.json"), b.log())
			b.ecs.settleAll()
			for _, s := range b.ecs.services {
				require.Equal(t, tt.count, s.desired, s.name)
			}
			requireAllOrNothing(t, b, got)
		})
	}
}

// TestFirstReleaseAfterFailedDeployment releases to services whose only deployment
// failed: ECS would roll it back to the new version.
func TestFirstReleaseAfterFailedDeployment(t *testing.T) {
	for name, tt := range map[string]struct {
		ran  bool
		b    behavior
		code outcome.Code
		want int32
	}{
		"good":          {false, completes, outcome.Done, 2},
		"one fails":     {false, rollsBack, outcome.Restored, 0},
		"it ran before": {true, rollsBack, outcome.Unrestored, 2}, // ECS retries, as it did before
	} {
		t.Run(name, func(t *testing.T) {
			b := newFirstReleaseFixture(completes, tt.b)
			b.request.Timeout = killTimeout
			if b.givenUp(types.ServiceDeploymentStatusRollbackFailed); tt.ran {
				b.givenUp(types.ServiceDeploymentStatusSuccessful)
			}
			began := b.ecs.clock.Now()
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, "%s\n%s", got.Error, b.log())
			if !tt.ran {
				require.Less(t, b.ecs.clock.Now().Sub(began), 2*time.Minute, "it does not wait")
			}
			require.Equal(t, !tt.ran, b.hasEvent("b: first release: the previous deployment never succeeded"), b.log())
			for _, s := range b.ecs.services {
				require.Equal(t, tt.want, s.desired, s.name)
			}
		})
	}
}

// TestServiceScaledToZeroStaysAtZero releases to a service that was released before and
// then scaled to 0.
func TestServiceScaledToZeroStaysAtZero(t *testing.T) {
	b := newFixture(completes, "")
	s := b.ecs.services["ecs-a-service"]
	b.ecs.tags[*s.deployments[0].TaskDefinition] = []types.Tag{{Key: aws.String(rollout.TagRelease), Value: aws.String("r")}}
	s.desired, s.deployments[0].DesiredCount, s.deployments[0].RunningCount = 0, 0, 0
	b.request.Targets[0].Service.DesiredCount = 2
	require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
	require.Zero(t, s.desired)
}

// TestTemplate releases from a definition that is not the family's, with tags of its own.
func TestTemplate(t *testing.T) {
	b := newFixture(completes, "")
	template := *b.ecs.definitions[0]
	template.TaskDefinitionArn, template.ContainerDefinitions = nil, slices.Clone(template.ContainerDefinitions)
	template.ContainerDefinitions[0].Command = []string{"one"}
	b.request.Targets = b.request.Targets[:1]
	b.request.Targets[0].Template = &template
	b.request.Targets[0].Tags = []types.Tag{{Key: aws.String(rollout.TagPreview), Value: aws.String("7")}}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Equal(t, []string{"one"}, b.ecs.find(revision(2)).ContainerDefinitions[0].Command)
	require.Contains(t, b.ecs.tags[revision(2)], types.Tag{Key: aws.String(rollout.TagPreview), Value: aws.String("7")})
	require.Equal(t, report.Unchanged, b.engine.Release(t.Context(), b.request).Result)

	template.ContainerDefinitions[0].Command = []string{"two"}
	got = b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Equal(t, []string{"two"}, b.ecs.find(revision(3)).ContainerDefinitions[0].Command)
}

// TestFirstReleaseOfTheSameDefinition starts the first tasks of a service that has the
// wanted definition already.
func TestFirstReleaseOfTheSameDefinition(t *testing.T) {
	b := newFirstReleaseFixture(completes, completes)
	b.request.Targets = b.request.Targets[:1]
	b.request.Targets[0].Image = string(completes) + "@sha256:new"
	b.ecs.find(revision(1)).ContainerDefinitions[0].Image = &b.request.Targets[0].Image
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
	require.Equal(t, int32(2), b.ecs.services["ecs-a-service"].desired)
	require.Equal(t, report.Unchanged, b.engine.Release(t.Context(), b.request).Result)
}
