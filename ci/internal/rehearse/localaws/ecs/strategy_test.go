package ecs_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestDeploymentConfigurationIsValidated(t *testing.T) {
	t.Parallel()
	p := newShifted(t, blueGreen(0, nil), 60)
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	canary := func(percent float64, bake int32) *ecstypes.DeploymentConfiguration {
		return &ecstypes.DeploymentConfiguration{Strategy: "CANARY", CanaryConfiguration: &ecstypes.CanaryConfiguration{CanaryPercent: &percent, CanaryBakeTimeInMinutes: &bake}}
	}
	linear := func(percent float64, bake int32) *ecstypes.DeploymentConfiguration {
		return &ecstypes.DeploymentConfiguration{Strategy: "LINEAR", LinearConfiguration: &ecstypes.LinearConfiguration{StepPercent: &percent, StepBakeTimeInMinutes: &bake}}
	}
	early := func(strategy ecstypes.DeploymentStrategy, percent *int32, cleanup ecstypes.ServiceRevisionCleanup) *ecstypes.DeploymentConfiguration {
		return &ecstypes.DeploymentConfiguration{Strategy: strategy, EarlySuccessCriteria: &ecstypes.DeploymentEarlySuccessCriteria{Enable: true, HealthyPercent: percent, SourceServiceRevisionCleanup: cleanup}}
	}
	breaker := func(kind ecstypes.ThresholdType, value int32) *ecstypes.DeploymentConfiguration {
		return &ecstypes.DeploymentConfiguration{DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{
			Enable: true, ThresholdConfiguration: &ecstypes.ThresholdConfiguration{Type: kind, Value: value},
		}}
	}
	hook := func(h ecstypes.DeploymentLifecycleHook) *ecstypes.DeploymentConfiguration {
		return blueGreen(0, []ecstypes.DeploymentLifecycleHook{h})
	}
	withTest := []ecstypes.DeploymentLifecycleHookStage{"POST_TEST_TRAFFIC_SHIFT"}
	lambda, role := aws.String("arn:aws:lambda:us-east-1:000000000000:function:f"), aws.String("arn:aws:iam::000000000000:role/hooks")
	lb := func(change func(*ecstypes.AdvancedConfiguration)) []ecstypes.LoadBalancer {
		a := p.advanced()
		change(a)
		return []ecstypes.LoadBalancer{{TargetGroupArn: &p.Group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000), AdvancedConfiguration: a}}
	}
	nowhere := aws.String("arn:aws:elasticloadbalancing:us-east-1:000000000000:nowhere")
	tests := map[string]struct {
		config *ecstypes.DeploymentConfiguration
		lbs    []ecstypes.LoadBalancer
		want   string // "" is valid
	}{
		"another strategy":         {&ecstypes.DeploymentConfiguration{Strategy: "SHADOW"}, nil, "Invalid deployment strategy 'SHADOW'"},
		"bake of a day":            {blueGreen(1440, nil), nil, ""},
		"bake too long":            {blueGreen(1441, nil), nil, "bakeTimeInMinutes must be between 0 and 1440"},
		"negative bake":            {blueGreen(-1, nil), nil, "bakeTimeInMinutes must be between"},
		"least canary":             {canary(0.1, 0), nil, ""},
		"canary of hundredths":     {canary(0.25, 0), nil, "canaryPercent must be a multiple of 0.1 between 0.1 and 100"},
		"no canary":                {canary(0, 0), nil, "canaryPercent"},
		"canary above all":         {canary(100.1, 0), nil, "canaryPercent"},
		"canary bake":              {canary(5, 1441), nil, "canaryBakeTimeInMinutes"},
		"least step":               {linear(3, 1440), nil, ""},
		"step too small":           {linear(2.9, 0), nil, "stepPercent must be a multiple of 0.1 between 3 and 100"},
		"step bake":                {linear(10, -1), nil, "stepBakeTimeInMinutes"},
		"canary's without canary":  {&ecstypes.DeploymentConfiguration{Strategy: "LINEAR", CanaryConfiguration: &ecstypes.CanaryConfiguration{}}, nil, "canaryConfiguration is only valid"},
		"linear's without linear":  {&ecstypes.DeploymentConfiguration{Strategy: "CANARY", LinearConfiguration: &ecstypes.LinearConfiguration{}}, nil, "linearConfiguration is only valid"},
		"early success":            {early("ROLLING", aws.Int32(100), "DEFERRED"), nil, ""},
		"early success of shifts":  {early("BLUE_GREEN", aws.Int32(100), "DEFERRED"), nil, "earlySuccessCriteria is only valid"},
		"early without percent":    {early("ROLLING", nil, "DEFERRED"), nil, "healthyPercent and sourceServiceRevisionCleanup are required"},
		"early below the minimum":  {early("ROLLING", aws.Int32(99), "BLOCKING"), nil, "not less than minimumHealthyPercent"},
		"early with another":       {early("ROLLING", aws.Int32(100), "LATER"), nil, "BLOCKING or DEFERRED"},
		"threshold":                {breaker("COUNT", 1), nil, ""},
		"threshold of none":        {breaker("COUNT", 0), nil, "thresholdConfiguration"},
		"threshold of another":     {breaker("SHARE", 5), nil, "thresholdConfiguration"},
		"hook without stage":       {hook(ecstypes.DeploymentLifecycleHook{TargetType: "PAUSE"}), nil, "lifecycleStages is required"},
		"hook of another stage":    {blueGreen(0, pauseAt(1, back, "SCALE_UP")), nil, "Invalid lifecycle stage 'SCALE_UP'"},
		"pause at test shift":      {blueGreen(0, pauseAt(1, back, "TEST_TRAFFIC_SHIFT")), nil, "PAUSE hooks cannot be configured at the TEST_TRAFFIC_SHIFT stage"},
		"pause at shift":           {blueGreen(0, pauseAt(1, back, "PRODUCTION_TRAFFIC_SHIFT")), nil, "PAUSE hooks cannot be configured at the PRODUCTION_TRAFFIC_SHIFT stage"},
		"pause of two weeks":       {blueGreen(0, pauseAt(20160, back, "PRE_SCALE_UP")), nil, ""},
		"pause too long":           {blueGreen(0, pauseAt(20161, back, "PRE_SCALE_UP")), nil, "timeoutInMinutes must be between 1 and 20160"},
		"no pause":                 {blueGreen(0, pauseAt(0, back, "PRE_SCALE_UP")), nil, "timeoutInMinutes must be between 1 and 20160"},
		"timeout action":           {blueGreen(0, pauseAt(1, "WAIT", "PRE_SCALE_UP")), nil, "Invalid lifecycle hook timeout action 'WAIT'"},
		"pause with a function":    {hook(ecstypes.DeploymentLifecycleHook{TargetType: "PAUSE", LifecycleStages: withTest, HookTargetArn: lambda}), nil, "not supported for PAUSE hooks"},
		"function":                 {hook(ecstypes.DeploymentLifecycleHook{LifecycleStages: withTest, HookTargetArn: lambda, RoleArn: role}), nil, ""},
		"function without role":    {hook(ecstypes.DeploymentLifecycleHook{LifecycleStages: withTest, HookTargetArn: lambda}), nil, "required for AWS_LAMBDA hooks"},
		"another target type":      {hook(ecstypes.DeploymentLifecycleHook{LifecycleStages: withTest, TargetType: "SQS"}), nil, "Invalid lifecycle hook target type 'SQS'"},
		"no advanced":              {nil, []ecstypes.LoadBalancer{{TargetGroupArn: &p.Group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000)}}, "ClientException: advancedConfiguration field is required for all loadBalancers when using the blue/green deployment strategy"},
		"no alternate group":       {nil, lb(func(a *ecstypes.AdvancedConfiguration) { a.AlternateTargetGroupArn = nowhere }), "alternate target group does not exist"},
		"one group twice":          {nil, lb(func(a *ecstypes.AdvancedConfiguration) { a.AlternateTargetGroupArn = &p.Group }), "must be different target groups"},
		"no production rule":       {nil, lb(func(a *ecstypes.AdvancedConfiguration) { a.ProductionListenerRule = nowhere }), "production listener rule does not exist"},
		"no test rule":             {nil, lb(func(a *ecstypes.AdvancedConfiguration) { a.TestListenerRule = nowhere }), "test listener rule does not exist"},
		"one rule twice":           {nil, lb(func(a *ecstypes.AdvancedConfiguration) { a.TestListenerRule = &p.production }), "must be different listener rules"},
		"no infrastructure role":   {nil, lb(func(a *ecstypes.AdvancedConfiguration) { a.RoleArn = nil }), "roleArn is required"},
		"blue/green, bake already": {&ecstypes.DeploymentConfiguration{Strategy: "BLUE_GREEN"}, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), DeploymentConfiguration: tt.config, LoadBalancers: tt.lbs})
			if tt.want == "" {
				require.NoError(t, err)
				_, err = p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), DeploymentConfiguration: blueGreen(0, nil)})
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
	require.Len(t, serviceDeployments(p.Platform), 1)
	rolling := &ecstypes.DeploymentConfiguration{Strategy: ecstypes.DeploymentStrategyRolling}
	p.configure(rolling)
	_, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), DeploymentConfiguration: &ecstypes.DeploymentConfiguration{Strategy: "BLUE_GREEN"}})
	require.ErrorContains(t, err, "bakeTimeInMinutes is required when using the blue/green deployment strategy.")
	p.configure(&ecstypes.DeploymentConfiguration{Strategy: ecstypes.DeploymentStrategyLinear})
	require.InDelta(t, 10, *p.DescribeService().DeploymentConfiguration.LinearConfiguration.StepPercent, 0, "the default")
}

// setDrain sets the deregistration delay of a target group, in nominal seconds.
func setDrain(p *localawstest.Platform, group, seconds string) {
	p.Helper()
	_, err := p.ELB.ModifyTargetGroupAttributes(p.Context(), &elbv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: &group, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: &seconds}},
	})
	p.RequireNoError(err)
}

// TestEarlySuccess checks that a deployment is successful while its old tasks drain with
// DEFERRED, and only after they are gone with BLOCKING.
func TestEarlySuccess(t *testing.T) {
	t.Parallel()
	for _, cleanup := range []ecstypes.ServiceRevisionCleanup{ecstypes.ServiceRevisionCleanupDeferred, ecstypes.ServiceRevisionCleanupBlocking} {
		t.Run(string(cleanup), func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, localaws.Options{TimeScale: 60})
			setDrain(p, p.Group, "60") // a second here
			p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) {
				in.DeploymentConfiguration.EarlySuccessCriteria = &ecstypes.DeploymentEarlySuccessCriteria{
					Enable: true, HealthyPercent: aws.Int32(100), SourceServiceRevisionCleanup: cleanup,
				}
			})
			p.WaitStable()
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
			p.WaitStable()
			require.Equal(t, "two", p.Version())
			d := serviceDeployments(p)[0]
			require.Equal(t, ecstypes.ServiceDeploymentStatusSuccessful, d.Status)
			old := p.DescribeTasks(ecstypes.DesiredStatusStopped)
			require.Len(t, old, 2)
			for _, task := range old {
				require.Equal(t, cleanup == ecstypes.ServiceRevisionCleanupDeferred, d.FinishedAt.Before(*task.StoppedAt), "%s, %s", d.FinishedAt, task.StoppedAt)
			}
		})
	}
}

// TestCircuitBreakerThreshold checks after how many failed tasks a deployment fails.
func TestCircuitBreakerThreshold(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		threshold *ecstypes.ThresholdConfiguration
		desired   int32
		want      int32
	}{
		"default":        {nil, 2, 3},
		"count":          {&ecstypes.ThresholdConfiguration{Type: ecstypes.ThresholdTypeCount, Value: 1}, 2, 1},
		"bounded":        {&ecstypes.ThresholdConfiguration{Type: ecstypes.ThresholdTypeBoundedPercent, Value: 10}, 2, 3},
		"bounded above":  {&ecstypes.ThresholdConfiguration{Type: ecstypes.ThresholdTypeBoundedPercent, Value: 100}, 4, 4},
		"unbounded":      {&ecstypes.ThresholdConfiguration{Type: ecstypes.ThresholdTypeUnboundedPercent, Value: 50}, 2, 1},
		"unbounded more": {&ecstypes.ThresholdConfiguration{Type: ecstypes.ThresholdTypeUnboundedPercent, Value: 250}, 2, 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, localaws.Options{TimeScale: 60})
			p.CreateService(p.RegisterTaskDefinition(p.Repo+":nowhere"), func(in *ecs.CreateServiceInput) {
				in.DesiredCount = &tt.desired
				in.DeploymentConfiguration.DeploymentCircuitBreaker.ThresholdConfiguration = tt.threshold
			})
			p.Eventually(func(s ecstypes.Service) bool {
				return s.Deployments[0].RolloutState == ecstypes.DeploymentRolloutStateFailed
			})
			got := serviceDeployments(p)[0].DeploymentCircuitBreaker
			require.Equal(t, tt.want, got.Threshold)
			require.GreaterOrEqual(t, got.FailureCount, tt.want)
			require.Less(t, got.FailureCount, tt.want+tt.desired)
		})
	}
}

// TestRollingKeepsItsOldRevision checks that a task of the old revision that fails during
// a rolling deployment is replaced with its own revision, before and after hooks.
func TestRollingKeepsItsOldRevision(t *testing.T) {
	t.Parallel()
	p := &shifted{Platform: localawstest.New(t, binary, localaws.Options{TimeScale: 60})}
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) {
		in.DeploymentConfiguration.DeploymentCircuitBreaker.Enable = false
	})
	p.WaitStable()
	p.configure(&ecstypes.DeploymentConfiguration{LifecycleHooks: pauseAt(60, back, "PRE_SCALE_UP", "POST_SCALE_UP")})
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("hang", "hang")))
	p.waitPaused("PRE_SCALE_UP")
	require.Zero(t, p.DescribeService().Deployments[0].PendingCount+p.DescribeService().Deployments[0].RunningCount)
	p.resume("PRE_SCALE_UP", cont)
	p.Eventually(func(s ecstypes.Service) bool { return s.Deployments[0].RunningCount > 0 })
	p.Get("/die")
	stopped := func(task ecstypes.Task) bool { return task.StopCode == ecstypes.TaskStopCodeEssentialContainerExited }
	p.Eventually(func(s ecstypes.Service) bool {
		for _, task := range p.DescribeTasks(ecstypes.DesiredStatusStopped) {
			if stopped(task) {
				return len(s.Deployments) == 2 && s.Deployments[1].RunningCount == 2
			}
		}
		return false
	})
	require.Equal(t, "one", p.Version())
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	p.resume("PRE_SCALE_UP", cont)
	p.resume("POST_SCALE_UP", back)
	d := p.waitStatus(ecstypes.ServiceDeploymentStatusRollbackSuccessful)
	require.NotNil(t, d.Rollback)
	require.Equal(t, "one", p.Version())
	p.WaitStable()
}

// TestShiftDuringCleanUp checks a rollback, and a newer deployment, while the old tasks
// are stopping: no request is lost, and the traffic moves only to tasks that run.
func TestShiftDuringCleanUp(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(ctx context.Context, p *shifted, d ecstypes.ServiceDeployment) string{
		"rollback": func(ctx context.Context, p *shifted, d ecstypes.ServiceDeployment) string {
			_, err := p.ECS.StopServiceDeployment(ctx, &ecs.StopServiceDeploymentInput{ServiceDeploymentArn: d.ServiceDeploymentArn})
			p.RequireNoError(err)
			p.waitStatus(ecstypes.ServiceDeploymentStatusRollbackSuccessful)
			return "one"
		},
		"newer deployment": func(_ context.Context, p *shifted, _ ecstypes.ServiceDeployment) string {
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("three")))
			p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
			return "three"
		},
		"newer rolling deployment": func(_ context.Context, p *shifted, _ ecstypes.ServiceDeployment) string {
			p.configure(&ecstypes.DeploymentConfiguration{Strategy: ecstypes.DeploymentStrategyRolling})
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("three")))
			p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
			return "three"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newShifted(t, blueGreen(0, nil), 60)
			p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
			setDrain(p.Platform, p.Group, "90")
			setDrain(p.Platform, p.alternate, "60")
			stop := load(p.Platform)
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
			d := p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return d.LifecycleStage == "CLEAN_UP" })
			time.Sleep(100 * time.Millisecond) // of load on the new version
			want := act(t.Context(), p, d)
			p.WaitStable()
			good, bad := stop()
			require.Zero(t, bad)
			require.Positive(t, good)
			require.Equal(t, want, p.Version())
		})
	}
}
