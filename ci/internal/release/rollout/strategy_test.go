package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (b *fixture) recordUpdates() *[]ecs.UpdateServiceInput {
	updates := &[]ecs.UpdateServiceInput{}
	b.engine.ECS = recordedUpdates{b.ecs, updates}
	return updates
}

// TestStrategyIsSet checks what a release changes in the configuration of a service.
func TestStrategyIsSet(t *testing.T) {
	lambda := types.DeploymentLifecycleHook{HookTargetArn: aws.String("arn:aws:lambda:us-east-1:1:function:f"), LifecycleStages: []types.DeploymentLifecycleHookStage{"POST_SCALE_UP"}}
	kept := types.DeploymentConfiguration{
		MaximumPercent: aws.Int32(200), MinimumHealthyPercent: aws.Int32(100), Alarms: &types.DeploymentAlarms{Enable: true, Rollback: true, AlarmNames: []string{"errors"}},
		DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true},
	}
	current := func(change func(*types.DeploymentConfiguration)) *types.DeploymentConfiguration {
		c := kept
		if change != nil {
			change(&c)
		}
		return &c
	}
	wasCanary := current(func(c *types.DeploymentConfiguration) {
		c.Strategy, c.BakeTimeInMinutes = types.DeploymentStrategyCanary, aws.Int32(1)
		c.CanaryConfiguration = &types.CanaryConfiguration{CanaryPercent: aws.Float64(1)}
		c.LifecycleHooks = []types.DeploymentLifecycleHook{lambda, {TargetType: types.DeploymentLifecycleHookTargetTypePause, LifecycleStages: []types.DeploymentLifecycleHookStage{"POST_TEST_TRAFFIC_SHIFT"}}}
	})
	rolling := platform.Strategy{Type: platform.Rolling}
	thresholds := platform.Strategy{Type: platform.Rolling, EarlySuccess: 100, FailureThreshold: &platform.FailureThreshold{Type: "count", Value: 3, KeepOnHealthyTask: true}}
	withThresholds := current(func(c *types.DeploymentConfiguration) {
		c.EarlySuccessCriteria = &types.DeploymentEarlySuccessCriteria{Enable: true, HealthyPercent: aws.Int32(100), SourceServiceRevisionCleanup: types.ServiceRevisionCleanupDeferred}
		c.DeploymentCircuitBreaker = &types.DeploymentCircuitBreaker{
			Enable: true, Rollback: true, ResetOnHealthyTask: aws.Bool(false), ThresholdConfiguration: &types.ThresholdConfiguration{Type: types.ThresholdTypeCount, Value: 3},
		}
	})
	pause := types.DeploymentLifecycleHook{
		TargetType: types.DeploymentLifecycleHookTargetTypePause, LifecycleStages: []types.DeploymentLifecycleHookStage{"POST_TEST_TRAFFIC_SHIFT", "PRE_PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"},
		TimeoutConfiguration: &types.DeploymentLifecycleHookTimeoutConfiguration{Action: types.DeploymentLifecycleHookActionRollback, TimeoutInMinutes: aws.Int32(25)},
	}
	for name, tt := range map[string]struct {
		current  *types.DeploymentConfiguration
		strategy *platform.Strategy
		web      bool
		want     *types.DeploymentConfiguration // nil if nothing is sent
	}{
		"no strategy":                     {current(nil), nil, true, nil},
		"no strategy, with a Lambda hook": {current(func(c *types.DeploymentConfiguration) { c.LifecycleHooks = []types.DeploymentLifecycleHook{lambda} }), nil, true, nil},
		"rolling as before":               {current(nil), &rolling, true, nil},
		"ROLLING as before":               {current(func(c *types.DeploymentConfiguration) { c.Strategy = types.DeploymentStrategyRolling }), &rolling, true, nil},
		"a worker cannot shift":           {current(nil), &canary, false, nil},
		"thresholds":                      {current(nil), &thresholds, false, withThresholds},
		"thresholds as before":            {withThresholds, &thresholds, false, nil},
		"early success no more": {withThresholds, &rolling, false, current(func(c *types.DeploymentConfiguration) {
			*c = *withThresholds
			c.EarlySuccessCriteria = &types.DeploymentEarlySuccessCriteria{}
		})},
		"back to rolling, a Lambda hook stays": {wasCanary, &rolling, true, current(func(c *types.DeploymentConfiguration) {
			c.Strategy, c.LifecycleHooks = types.DeploymentStrategyRolling, []types.DeploymentLifecycleHook{lambda}
		})},
		"blue/green": {current(nil), &blueGreen, true, current(func(c *types.DeploymentConfiguration) {
			c.Strategy, c.BakeTimeInMinutes, c.LifecycleHooks = types.DeploymentStrategyBlueGreen, aws.Int32(5), []types.DeploymentLifecycleHook{pause}
		})},
		"canary after canary": {wasCanary, &canary, true, current(func(c *types.DeploymentConfiguration) {
			c.Strategy, c.BakeTimeInMinutes, c.LifecycleHooks = types.DeploymentStrategyCanary, aws.Int32(2), []types.DeploymentLifecycleHook{lambda, pause}
			c.CanaryConfiguration = &types.CanaryConfiguration{CanaryPercent: aws.Float64(5), CanaryBakeTimeInMinutes: aws.Int32(3)}
		})},
		"linear with ECS's defaults": {wasCanary, &platform.Strategy{Type: platform.Linear, Bake: aws.Int(0)}, true, current(func(c *types.DeploymentConfiguration) {
			hook := pause
			timeout := *pause.TimeoutConfiguration
			timeout.TimeoutInMinutes = aws.Int32(20 + 9*6)
			hook.TimeoutConfiguration = &timeout
			c.Strategy, c.BakeTimeInMinutes, c.LifecycleHooks = types.DeploymentStrategyLinear, aws.Int32(0), []types.DeploymentLifecycleHook{lambda, hook}
			c.LinearConfiguration = &types.LinearConfiguration{StepPercent: aws.Float64(10), StepBakeTimeInMinutes: aws.Int32(6)}
		})},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(completes, "")
			s := b.ecs.services["ecs-a-service"]
			s.config, s.web = tt.current, tt.web
			target := &b.request.Targets[0]
			target.Service.Strategy, target.Shift = tt.strategy, fakeShift()
			inputs := b.recordUpdates()
			before := *tt.current
			got := b.run(t.Context())
			require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
			in := (*inputs)[0]
			require.Equal(t, before, *tt.current, "it is copied")
			if tt.want == nil {
				require.Nil(t, in.DeploymentConfiguration)
				require.Nil(t, in.LoadBalancers)
				require.Len(t, *inputs, 1)
				return
			}
			if name == "canary after canary" {
				tt.want.LifecycleHooks[1].TimeoutConfiguration.TimeoutInMinutes = aws.Int32(25) // 15 + 5 for tests + 3 + 2
			}
			require.Equal(t, tt.want, in.DeploymentConfiguration)
			if tt.strategy.Type == platform.Rolling {
				require.Nil(t, in.LoadBalancers)
				return
			}
			require.Equal(t, &types.AdvancedConfiguration{
				AlternateTargetGroupArn: aws.String(greenGroup), ProductionListenerRule: aws.String("rule/production"), TestListenerRule: aws.String("rule/test"), RoleArn: aws.String("role"),
			}, in.LoadBalancers[0].AdvancedConfiguration)
			b.request.Targets[0].Image, b.request.Version = "good@sha256:newer", strings.Repeat("f", 40)
			require.Equal(t, report.Succeeded, b.run(t.Context()).Result)
			require.Nil(t, (*inputs)[2].LoadBalancers, "they are the same")
		})
	}
}

// minutesOfSeconds is the clock of a rehearsal.
type minutesOfSeconds struct{ *fakeClock }

func (minutesOfSeconds) Scale(d time.Duration) time.Duration   { return d / 60 }
func (minutesOfSeconds) Nominal(d time.Duration) time.Duration { return d * 60 }

// TestPauseLimitOfRehearsal checks that ECS, whose minutes are seconds, waits as long as the
// release may take.
func TestPauseLimitOfRehearsal(t *testing.T) {
	b := newFixture(completes, "")
	b.ecs.services["ecs-a-service"].web = true
	b.engine.Clock = minutesOfSeconds{b.ecs.clock}
	target := &b.request.Targets[0]
	target.Service.Strategy, target.Shift = &platform.Strategy{Type: platform.BlueGreen, Bake: aws.Int(5)}, fakeShift()
	inputs := b.recordUpdates()
	got := b.run(t.Context())
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
	require.Equal(t, int32(20*60+5), *(*inputs)[0].DeploymentConfiguration.LifecycleHooks[0].TimeoutConfiguration.TimeoutInMinutes)
}

// TestBackToRolling goes back to rolling updates. While production is in the second target group,
// to which Terraform's rules do not forward, ECS shifts the traffic once more. Then the service no
// longer has what Terraform deletes.
func TestBackToRolling(t *testing.T) {
	rolling := platform.Strategy{Type: platform.Rolling}
	for name, tt := range map[string]struct {
		releases int // by blue/green, before
		change   func(*fixture)
		shifts   bool // once more
		note     string
	}{
		"production is in the second target group": {1, nil, true, "a: production is in the second target group, 2: this release shifts all traffic once more"},
		"production is in the first target group":  {2, nil, false, ""},
		"for one release": {1, func(b *fixture) {
			b.request.Targets[0].Service.Strategy = &blueGreen
			b.request.Targets[0].Strategy = &rolling
		}, true, "a: production is in the second target group"},
		"for one release, in the first": {2, func(b *fixture) {
			b.request.Targets[0].Service.Strategy = &blueGreen
			b.request.Targets[0].Strategy = &rolling
		}, false, ""},
		"a rollback": {1, func(b *fixture) { b.request.TakeOver = true }, true, "a: production is in the second target group"},
		"the target group is unknown": {2, func(b *fixture) {
			b.ecs.failCall = failCalls("DescribeServiceRevisions", "AccessDeniedException", 1<<30)
		}, true, "a: it is unknown which target group production is in (ecs:DescribeServiceRevisions)"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newShiftFixture(blueGreen)
			b.request.Targets = b.request.Targets[:1]
			release := func(n int) (in ecs.UpdateServiceInput) {
				b.request.Targets[0].Image, b.request.Version = fmt.Sprintf("good@sha256:%d", n), strings.Repeat(fmt.Sprint(n), 40)
				inputs := b.recordUpdates()
				got := b.run(t.Context())
				require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
				require.Equal(t, b.request.Targets[0].Image, b.ecs.running("a"))
				return (*inputs)[0]
			}
			for n := range tt.releases {
				release(n + 1)
			}
			b.request.Targets[0].Service.Strategy, b.request.Targets[0].Shift = &rolling, nil
			if tt.change != nil {
				tt.change(b)
			}
			in := release(3)
			keeps := b.request.Targets[0].Strategy != nil
			if tt.shifts {
				require.Equal(t, types.DeploymentStrategyBlueGreen, in.DeploymentConfiguration.Strategy)
				require.Zero(t, *in.DeploymentConfiguration.BakeTimeInMinutes)
				require.Empty(t, in.DeploymentConfiguration.LifecycleHooks)
				require.Nil(t, in.LoadBalancers)
				require.Contains(t, b.log(), tt.note)
				if b.ecs.failCall != nil {
					return
				}
				in = release(4)
			}
			require.Equal(t, types.DeploymentStrategyRolling, in.DeploymentConfiguration.Strategy)
			require.Equal(t, !keeps, in.LoadBalancers != nil)
			require.Equal(t, keeps, b.ecs.services["ecs-a-service"].balancers[0].AdvancedConfiguration != nil)
			in = release(5)
			require.Nil(t, in.DeploymentConfiguration)
			require.Nil(t, in.LoadBalancers)
		})
	}
}

// TestLeftHooks removes the pause hooks that a killed process left. Any other deployment would
// wait at them.
func TestLeftHooks(t *testing.T) {
	b := newShiftFixture(blueGreen, canary)
	b.ecs.failCall = after("UpdateService ecs-w-service", failCalls("UpdateService", "AccessDeniedException", 1<<30))
	require.Equal(t, report.Succeeded, b.run(t.Context()).Result, b.log())
	require.True(t, b.hasEvent("a: cannot remove the release's pause hooks"), b.log())
	restartProcess(b)
	require.Len(t, b.ecs.services["ecs-a-service"].config.LifecycleHooks, 1)
	got := b.run(t.Context())
	require.Equal(t, report.Unchanged, got.Result, got.Error)
	require.Equal(t, outcome.Done, got.ExitCode)
	require.ElementsMatch(t, []string{"UpdateService ecs-a-service", "UpdateService ecs-b-service"}, b.changes())
	require.Empty(t, b.ecs.services["ecs-a-service"].config.LifecycleHooks)
	require.Equal(t, types.DeploymentStrategyCanary, b.ecs.services["ecs-b-service"].config.Strategy)
	require.True(t, b.hasEvent("a: removed the pause hooks of an earlier release"), b.log())
}

// TestStrategyIsRefused before anything changes.
func TestStrategyIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fixture)
		err    string
	}{
		"nothing to shift with": {func(b *fixture) { b.request.Targets[0].Shift = nil }, "service ecs-a-service has no second target group and listener rules to shift traffic with (strategy blue_green): create them with Terraform"},
		"another target group": {
			func(b *fixture) {
				b.request.Targets[0].Shift = &rollout.Shift{TargetGroup: "x/1", AlternateTargetGroup: "x/2"}
			},
			"service ecs-a-service is in none of the target groups 1 and 2",
		},
		"somebody's pause": {func(b *fixture) {
			b.ecs.services["ecs-a-service"].config = &types.DeploymentConfiguration{LifecycleHooks: []types.DeploymentLifecycleHook{{TargetType: types.DeploymentLifecycleHookTargetTypePause, LifecycleStages: []types.DeploymentLifecycleHookStage{"PRE_SCALE_UP"}}}}
		}, "service ecs-a-service has a pause hook at [PRE_SCALE_UP] that slipway did not set"},
		"deployments cannot be read": {func(b *fixture) { b.ecs.noAPI = true }, "service ecs-a-service: a release that shifts traffic needs ecs:ListServiceDeployments"},
		"nothing to continue":        {func(b *fixture) { b.request.Continue = true }, "no release is paused: commit 012345678901 is not being deployed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newShiftFixture(blueGreen)
			tt.change(b)
			got := b.run(t.Context())
			require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
			require.Contains(t, got.Error, tt.err)
			require.Empty(t, b.changes())
		})
	}
}

// TestWithoutSteps checks releases of progressive services that go to the new version at
// once: rollbacks and first releases.
func TestWithoutSteps(t *testing.T) {
	atOnce := func(t *testing.T, in ecs.UpdateServiceInput) {
		t.Helper()
		require.Equal(t, types.DeploymentStrategyBlueGreen, in.DeploymentConfiguration.Strategy)
		require.Zero(t, *in.DeploymentConfiguration.BakeTimeInMinutes)
		require.Empty(t, in.DeploymentConfiguration.LifecycleHooks)
	}
	t.Run("rollback", func(t *testing.T) {
		b := newShiftFixture(canary, linear)
		require.Equal(t, report.Succeeded, b.run(t.Context()).Result)
		inputs := b.recordUpdates()
		targets, err := b.engine.LastKnownGood(t.Context(), b.entries(), "")
		require.NoError(t, err)
		b.ecs.calls = nil
		before := b.ecs.clock.Now()
		got := b.engine.Release(t.Context(), rollout.Request{Targets: targets, TakeOver: true})
		require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
		requireVersion(t, b, oldImage)
		require.Zero(t, b.ecs.count("ContinueServiceDeployment"))
		require.Less(t, b.ecs.clock.Now().Sub(before), 3*time.Minute)
		for _, in := range *inputs {
			if *in.Service != "ecs-w-service" {
				atOnce(t, in)
			}
		}
	})
	t.Run("restore of a complete release", func(t *testing.T) {
		b := newShiftFixture(canary, linear)
		b.ecs.failAt["ecs-b-service CLEAN_UP"] = true
		inputs := b.recordUpdates()
		b.request.Targets[0].Service.Strategy.Bake = nil
		got := b.run(t.Context())
		require.Equal(t, report.Restored, got.Result, "%s\n%s", got.Error, b.log())
		requireVersion(t, b, oldImage)
		for _, in := range *inputs {
			if in.TaskDefinition != nil && strings.HasSuffix(*in.TaskDefinition, "-task:1") && *in.Service != "ecs-w-service" {
				atOnce(t, in)
			}
		}
	})
	t.Run("first release", func(t *testing.T) {
		b := newFirstReleaseFixture(completes, completes)
		for n := range b.request.Targets {
			b.request.Targets[n].Service.Strategy, b.request.Targets[n].Shift = &canary, fakeShift()
			b.ecs.services[b.request.Targets[n].Service.ServiceName()].web = true
		}
		inputs := b.recordUpdates()
		got := b.run(t.Context())
		require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
		atOnce(t, (*inputs)[0])
		require.NotNil(t, (*inputs)[0].LoadBalancers)
	})
}

// TestBakesAreNotSlow checks that bakes do not count toward the time limit, and stages that
// hang do.
func TestBakesAreNotSlow(t *testing.T) {
	long := platform.Strategy{Type: platform.Canary, Percent: 5, StepBake: aws.Int(120), Bake: aws.Int(600)}
	b := newShiftFixture(long, blueGreen)
	b.request.Timeout = 2 * time.Minute
	got := b.run(t.Context())
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())

	b = newShiftFixture(long, blueGreen)
	b.request.Timeout = 2 * time.Minute
	b.request.Targets[1].Image = "stuck@sha256:new"
	before := b.ecs.clock.Now()
	got = b.run(t.Context())
	require.Equal(t, report.Restored, got.Result)
	require.True(t, strings.HasPrefix(got.Error, "b: not complete within the time limit of 2m0s"), got.Error)
	require.Less(t, b.ecs.clock.Now().Sub(before), 5*time.Minute)
}

// TestExpiryIsReported checks the event before a pause expires, while another service is slow.
func TestExpiryIsReported(t *testing.T) {
	b := newShiftFixture(platform.Strategy{Type: platform.BlueGreen, Bake: aws.Int(0)}, blueGreen)
	b.request.Timeout = 2 * time.Hour
	b.request.Targets[1].Image = "stuck@sha256:new"
	b.ecs.failCall = func(operation, _ string) error { // the hook of a is short
		if s := b.ecs.services["ecs-a-service"]; operation == "DescribeServices" && len(s.records[0].LifecycleHookDetails) == 1 && s.records[0].Status == types.ServiceDeploymentStatusInProgress {
			s.records[0].LifecycleHookDetails[0].ExpiresAt = aws.Time(time.Unix(1e9, 0).Add(3 * time.Hour))
		}
		return nil
	}
	require.Equal(t, report.Restored, b.run(t.Context()).Result)
	require.Equal(t, 1, strings.Count(b.log(), "a: waits at POST_TEST_TRAFFIC_SHIFT: ECS rolls back at 04:46:40 UTC unless the deployment is continued"), b.log())
}

// TestEarlySuccess checks that a successful deployment counts at once while previous tasks drain, and
// that the next release does not take them for a deployment in progress.
func TestEarlySuccess(t *testing.T) {
	b := newFixture(completes, "")
	early := platform.Strategy{Type: platform.Rolling, EarlySuccess: 100}
	b.request.Targets[0].Service.Strategy = &early
	b.ecs.drains = true
	got := b.run(t.Context())
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
	require.True(t, b.hasEvent("a: 1 tasks of the previous version still drain"), b.log())
	require.Len(t, b.ecs.services["ecs-a-service"].deployments, 2)
	require.Equal(t, report.Unchanged, b.run(t.Context()).Result)
	b.request.Targets[0].Image, b.request.Version = "good@sha256:newer", strings.Repeat("f", 40)
	got = b.run(t.Context())
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
}

// TestTrafficIsCheckedLast checks traffic once more when ECS stops the previous tasks, however
// short the bake is.
func TestTrafficIsCheckedLast(t *testing.T) {
	b := newShiftFixture(platform.Strategy{Type: platform.BlueGreen, Bake: aws.Int(0)})
	var checked []rollout.ShiftedTraffic
	b.request.CheckTraffic = func(_ context.Context, shifted []rollout.ShiftedTraffic) error {
		if checked = append(checked, shifted...); shifted[0].Baking {
			return errors.New("somebody changed the weights")
		}
		return nil
	}
	got := b.run(t.Context())
	require.Equal(t, report.Restored, got.Result, "%s\n%s", got.Error, b.log())
	require.Len(t, checked, 2, "by the interval, and at the end")
	require.Equal(t, "rule/production", checked[0].Rule)
	require.False(t, checked[0].Baking)
	requireVersion(t, b, oldImage)
}

// TestTrafficChecks checks how often traffic is checked, and with what.
func TestTrafficChecks(t *testing.T) {
	b := newShiftFixture(canary)
	var at []time.Time
	b.request.CheckTraffic = func(_ context.Context, shifted []rollout.ShiftedTraffic) error {
		at = append(at, b.ecs.clock.Now())
		if shifted[0].Percent == 100 {
			return errors.New("5xx share 7 % of 200 requests, before 0 %")
		}
		require.Equal(t, at[0], shifted[0].Since)
		return nil
	}
	got := b.run(t.Context())
	require.Equal(t, "checking the traffic of the new version: 5xx share 7 % of 200 requests, before 0 %", got.Error)
	requireVersion(t, b, oldImage)
	require.GreaterOrEqual(t, len(at), 4)
	for n := range at[1:] {
		require.GreaterOrEqual(t, at[n+1].Sub(at[n]), 30*time.Second)
	}
}

// TestTrafficChecksDuringRollback checks that the cause is ECS's if it rolls back while traffic is
// checked: it moves the traffic, so that the check fails, too.
func TestTrafficChecksDuringRollback(t *testing.T) {
	b := newShiftFixture(canary)
	b.request.CheckTraffic = func(context.Context, []rollout.ShiftedTraffic) error {
		if s := b.ecs.services["ecs-a-service"]; len(s.records) > 0 && s.records[0].Status == types.ServiceDeploymentStatusInProgress {
			b.ecs.setAlarm(s)
		}
		return errors.New("somebody changed the weights")
	}
	got := b.run(t.Context())
	require.Equal(t, report.Restored, got.Result, "%s\n%s", got.Error, b.log())
	require.Contains(t, got.Error, "a: deployment alarm")
	requireVersion(t, b, oldImage)
}
