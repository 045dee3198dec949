package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// TestShiftFaults is TestFaults for a release that shifts the traffic of two services in
// steps and rolls a third.
func TestShiftFaults(t *testing.T) {
	fail := func(call, code string, times int) func(*fixture) {
		return func(b *fixture) { b.ecs.failCall = failCalls(call, code, times) }
	}
	lose := func(call string) func(*fixture) {
		return func(b *fixture) { b.ecs.loseResponse = loseFirst(call) }
	}
	alarm := func(stage string, others ...func(*fixture)) func(*fixture) {
		return func(b *fixture) {
			b.ecs.failAt["ecs-b-service "+stage] = true
			for _, other := range others {
				other(b)
			}
		}
	}
	tests := map[string]struct {
		change func(*fixture)
		result report.Result
		code   outcome.Code
	}{
		"the first continue is throttled":    {fail("ContinueServiceDeployment", "ThrottlingException", 5), report.Succeeded, outcome.Done},
		"continuing is throttled for good":   {fail("ContinueServiceDeployment", "ThrottlingException", 1<<30), report.Restored, outcome.Restored},
		"a continue fails":                   {fail("ContinueServiceDeployment", "ServerException", 2), report.Succeeded, outcome.Done},
		"continuing fails for good":          {fail("ContinueServiceDeployment", "ServerException", 1<<30), report.Restored, outcome.Restored},
		"continuing is denied":               {fail("ContinueServiceDeployment", "AccessDeniedException", 1<<30), report.Restored, outcome.Restored},
		"one continue is denied":             {fail("ContinueServiceDeployment ecs-b-service", "AccessDeniedException", 1<<30), report.Restored, outcome.Restored},
		"a continue is refused once":         {fail("ContinueServiceDeployment", "InvalidParameterException", 1), report.Succeeded, outcome.Done},
		"continuing is refused for good":     {fail("ContinueServiceDeployment", "InvalidParameterException", 1<<30), report.Restored, outcome.Restored},
		"the response to a continue is lost": {lose("ContinueServiceDeployment"), report.Succeeded, outcome.Done},
		"each response to a continue is lost": {func(b *fixture) {
			b.ecs.loseResponse = func(operation, _ string) bool { return operation == "ContinueServiceDeployment" }
		}, report.Succeeded, outcome.Done},
		"the response to an update is lost":   {lose("UpdateService ecs-b"), report.Succeeded, outcome.Done},
		"an update is refused":                {fail("UpdateService ecs-b", "InvalidParameterException", 1), report.Restored, outcome.Restored},
		"the worker's update is refused":      {fail("UpdateService ecs-w", "InvalidParameterException", 1), report.Restored, outcome.Restored},
		"deployments are unreadable":          {fail("DescribeServiceDeployments", "ServerException", 2), report.Succeeded, outcome.Done},
		"deployments are unreadable for good": {fail("DescribeServiceDeployments", "ServerException", 1<<30), report.Failed, outcome.Unrestored},
		"describing deployments is denied":    {fail("DescribeServiceDeployments", "AccessDeniedException", 1<<30), report.Restored, outcome.Restored},
		"listing deployments is denied":       {fail("ListServiceDeployments", "AccessDeniedException", 1<<30), report.Refused, outcome.Refused},
		"the hooks cannot be removed": {func(b *fixture) {
			b.ecs.failCall = after("ContinueServiceDeployment", failCalls("UpdateService", "AccessDeniedException", 1<<30))
		}, report.Succeeded, outcome.Done},
		"throttling":                           {func(b *fixture) { b.ecs.failCall = randomFaultsAfterPlan(0.3, "ThrottlingException") }, report.Succeeded, outcome.Done},
		"5xx":                                  {func(b *fixture) { b.ecs.failCall = randomFaultsAfterPlan(0.1, "InternalFailure") }, report.Succeeded, outcome.Done},
		"5xx, and an alarm":                    {alarm("BAKE_TIME", func(b *fixture) { b.ecs.failCall = randomFaultsAfterPlan(0.1, "InternalFailure") }), report.Restored, outcome.Restored},
		"reads are stale":                      {func(b *fixture) { b.ecs.readLag = lag(4 * time.Second) }, report.Succeeded, outcome.Done},
		"reads are out of order":               {func(b *fixture) { b.ecs.readLag = randomLag() }, report.Succeeded, outcome.Done},
		"reads are out of order, and an alarm": {alarm("PRODUCTION_TRAFFIC_SHIFT 5", func(b *fixture) { b.ecs.readLag = randomLag() }), report.Restored, outcome.Restored},
		"an alarm, and a stop is refused":      {alarm("BAKE_TIME", fail("StopServiceDeployment", "ConflictException", 9)), report.Restored, outcome.Restored},
		"an alarm, and a stop is lost":         {alarm("PRODUCTION_TRAFFIC_SHIFT 5", lose("StopServiceDeployment")), report.Restored, outcome.Restored},
		"an alarm, and stops fail":             {alarm("PRODUCTION_TRAFFIC_SHIFT 5", fail("StopServiceDeployment", "ServerException", 1<<30)), report.Restored, outcome.Restored},
		"an alarm, and a restore is denied": {alarm("CLEAN_UP", func(b *fixture) {
			b.ecs.failCall = after("ContinueServiceDeployment", failCalls("UpdateService ecs-w", "AccessDeniedException", 1<<30))
		}), report.Failed, outcome.Unrestored},
		"the traffic is bad": {func(b *fixture) {
			b.request.CheckTraffic = func(context.Context, []rollout.ShiftedTraffic) error { return errors.New("5xx share 7 %") }
		}, report.Restored, outcome.Restored},
		"the verification fails": {func(b *fixture) {
			b.request.Verify = func(context.Context, map[string]string) error { return errors.New("GET / returned 500") }
		}, report.Restored, outcome.Restored},
		"a hook expires": {func(b *fixture) {
			b.request.TestNew = func(ctx context.Context, _ map[string]string) error { return b.ecs.clock.Sleep(ctx, 2*time.Hour) }
		}, report.Restored, outcome.Restored},
		"somebody continues one": {func(b *fixture) {
			b.request.TestNew = func(context.Context, map[string]string) error {
				s := b.ecs.services["ecs-a-service"]
				b.ecs.mu.Lock()
				defer b.ecs.mu.Unlock()
				s.due = []scheduledChange{{b.ecs.clock.Now(), s.afterHook}}
				return nil
			}
		}, report.Succeeded, outcome.Done},
		"the old revision is deregistered": {alarm("CLEAN_UP", func(b *fixture) {
			b.ecs.failCall = deregister(b, "ContinueServiceDeployment ecs-b", "ecs-a-task:1")
		}), report.Restored, outcome.Restored},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newShiftFixture(canary, canary)
			tt.change(b)
			got := b.run(t.Context())
			require.Equal(t, tt.result, got.Result, "%s\n%s", got.Error, b.log())
			require.Equal(t, tt.code, got.ExitCode)
			b.ecs.failCall, b.ecs.loseResponse = nil, nil
			requireShifted(t, b)
			requireAllOrNothing(t, b, got)
		})
	}
	t.Logf("%d rows", len(tests))
}

// TestShiftInterruptedAtEveryCall interrupts a release at each of its calls.
func TestShiftInterruptedAtEveryCall(t *testing.T) {
	whole := newShiftFixture(canary, blueGreen)
	require.Equal(t, report.Succeeded, whole.run(t.Context()).Result)
	for n := range len(whole.ecs.calls) {
		b := newShiftFixture(canary, blueGreen)
		ctx, cancel := context.WithCancel(t.Context())
		injectFaults(b, nil, nil, n+1, cancel)
		got := b.run(ctx)
		cancel()
		if got.Result != report.Succeeded {
			require.Equal(t, report.Interrupted, got.Result, "call %d: %s", n, got.Error)
			requireVersion(t, b, oldImage)
			continue
		}
		requireVersion(t, b, newImage)
	}
}

// TestShiftKilledAtEveryCall kills a release that shifts traffic at each of its calls, paused or
// not, and lets the next process finish it, at once, later, or when all hooks have expired.
func TestShiftKilledAtEveryCall(t *testing.T) {
	paused := func(stage machine.PauseStage) func(*fixture) {
		return func(b *fixture) { b.request.PauseAt = stage }
	}
	alarm := func(stage string) func(*fixture) {
		return func(b *fixture) { b.ecs.failAt["ecs-b-service "+stage] = true }
	}
	rows := 0
	quick := canary
	quick.StepBake, quick.Bake = aws.Int(0), aws.Int(0)
	for name, change := range map[string]func(*fixture){
		"good":                    func(*fixture) {},
		"paused at the test":      paused(machine.PostTestTrafficShift),
		"paused before a step":    paused(machine.PreProductionTrafficShift),
		"paused before the bake":  paused(machine.PostProductionTrafficShift),
		"alarm at the test":       alarm("POST_TEST_TRAFFIC_SHIFT"),
		"alarm at the first step": alarm("PRODUCTION_TRAFFIC_SHIFT"),
		"alarm in the bake":       alarm("BAKE_TIME"),
		"one does not start":      func(b *fixture) { b.request.Targets[1].Image = "bad@sha256:new" },
		"the worker is bad":       func(b *fixture) { b.request.Targets[2].Image = "bad@sha256:new" },
	} {
		shaped := func() *fixture {
			b := newShiftFixture(quick, platform.Strategy{Type: platform.BlueGreen, Bake: aws.Int(0)})
			change(b)
			return b
		}
		whole := shaped()
		whole.request.Timeout = killTimeout
		whole.run(t.Context())
		for n, late := range killPoints(whole.ecs.calls) {
			for _, rest := range []time.Duration{0, 48 * time.Hour} {
				rows++
				t.Run(fmt.Sprintf("%s, call %d, takes effect %v, rested %s", name, n, late, rest), func(t *testing.T) {
					b := killed(shaped(), n, late, false)
					_ = b.ecs.clock.Sleep(t.Context(), rest)
					b.ecs.settleAll()
					b.request.WaitForTurn = maxWait
					got := b.run(t.Context())
					for again := 0; got.Result == report.Paused && again < 3; again++ {
						require.Equal(t, outcome.Done, got.ExitCode)
						if n%2 == 0 { // a person aborts it
							got = b.engine.Abort(t.Context(), b.entries(), 0)
							require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
							requireVersion(t, b, oldImage)
							return
						}
						b.request.Continue = true
						got = b.run(t.Context())
					}
					requireShifted(t, b)
					requireAll(t, b, got, name == "good" || strings.HasPrefix(name, "paused"))
				})
			}
		}
	}
	t.Logf("%d rows", rows)
}

// TestAbortKilledAtEveryCall kills an abort at each of its calls. Another one restores all.
func TestAbortKilledAtEveryCall(t *testing.T) {
	for _, stage := range machine.PauseStages() {
		paused := func() *fixture {
			b := newShiftFixture(canary, blueGreen)
			b.request.PauseAt = stage
			require.Equal(t, report.Paused, b.run(t.Context()).Result)
			b.ecs.calls = nil
			return b
		}
		whole := paused()
		require.Equal(t, outcome.Done, whole.engine.Abort(t.Context(), whole.entries(), 0).ExitCode)
		for n, late := range killPoints(whole.ecs.calls) {
			b := paused()
			killAt(b, n, late)
			b.engine.Abort(t.Context(), b.entries(), 0)
			restartProcess(b)
			got := b.engine.Abort(t.Context(), b.entries(), 0)
			if got.ExitCode != outcome.Refused {
				require.Equal(t, outcome.Done, got.ExitCode, "%s, call %d: %s\n%s", stage, n, got.Error, b.log())
			}
			requireVersion(t, b, oldImage)
		}
	}
}
