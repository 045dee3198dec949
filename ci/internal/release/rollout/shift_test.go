package rollout_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/release/rollout"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

var (
	blueGreen = platform.Strategy{Type: platform.BlueGreen}
	canary    = platform.Strategy{Type: platform.Canary, Percent: 5, StepBake: aws.Int(3), Bake: aws.Int(2)}
	linear    = platform.Strategy{Type: platform.Linear, Percent: 40, StepBake: aws.Int(1)}
)

// TestLockstep checks the order of calls of a release that shifts traffic.
func TestLockstep(t *testing.T) {
	b := newShiftFixture(blueGreen, canary, linear)
	var order []string
	b.request.TestNew = func(_ context.Context, versions map[string]string) error {
		require.Len(t, versions, 3, "those with test traffic")
		order = append(order, "test")
		return nil
	}
	b.request.Verify = func(context.Context, map[string]string) error { order = append(order, "verify"); return nil }
	checked := 0
	b.request.CheckTraffic = func(_ context.Context, shifted []rollout.ShiftedTraffic) error {
		checked++
		for _, s := range shifted {
			require.Equal(t, []string{blueGroup, greenGroup}, []string{s.Previous, s.New}, s.Service)
			require.Positive(t, s.Percent)
		}
		return nil
	}
	b.ecs.failCall = func(operation, service string) error {
		if strings.HasPrefix(operation, "UpdateService") || strings.HasPrefix(operation, "Continue") {
			if s := b.ecs.services[service]; operation == "ContinueServiceDeployment" {
				service += " " + string(s.records[0].LifecycleStage)
			}
			order = append(order, operation+" "+service)
		}
		return nil
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
	require.Greater(t, checked, 5)
	slices.Sort(order[:3])
	require.Equal(t, []string{"UpdateService ecs-a-service", "UpdateService ecs-b-service", "UpdateService ecs-c-service", "test", "UpdateService ecs-w-service"}, order[:5])
	stages := map[string]int{}
	last := ""
	for _, call := range order[5:] {
		stage := call[strings.LastIndex(call, " ")+1:]
		stages[stage]++
		if stage != last && stages[stage] == 1 {
			last = stage
		}
	}
	require.Equal(t, map[string]int{"POST_TEST_TRAFFIC_SHIFT": 3, "PRE_PRODUCTION_TRAFFIC_SHIFT": 6, "verify": 1, "POST_PRODUCTION_TRAFFIC_SHIFT": 3}, stages)
	requireShifted(t, b)
	require.Equal(t, "CANARY", got.Services[1].Strategy)
	for _, s := range got.Services[:3] {
		require.InDelta(t, 100, s.Percent, 0, s.Name)
		require.Equal(t, outcome.Done, got.ExitCode)
	}
	require.EqualValues(t, 5, *b.ecs.services["ecs-b-service"].config.BakeTimeInMinutes, "as long as the longest")
}

// requireShifted checks that all traffic goes to one version of each service.
func requireShifted(t require.TestingT, b *fixture) {
	b.ecs.settleAll()
	for name, s := range b.ecs.services {
		require.Zero(t, s.share, name)
	}
}
