package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
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
	require.Equal(t, []string{"UpdateService", "UpdateService", "UpdateService"}, []string{order[len(order)-1][:13], order[len(order)-2][:13], order[len(order)-3][:13]}, "the hooks are removed")
	require.Empty(t, b.ecs.services["ecs-a-service"].config.LifecycleHooks)
	for _, call := range order[5 : len(order)-3] {
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

// runningImages returns the images that the services run.
func (b *fixture) runningImages() map[string]string {
	images := map[string]string{}
	for _, target := range b.request.Targets {
		images[target.Service.Name] = b.ecs.running(target.Service.Name)
	}
	return images
}

// requireVersion checks that all services run an image, and serve with nothing else.
func requireVersion(t *testing.T, b *fixture, image string) {
	t.Helper()
	requireShifted(t, b)
	for name, runs := range b.runningImages() {
		require.Equal(t, image, runs, "%s\n%s\n%s", name, b.log(), strings.Join(b.ecs.calls, "\n"))
	}
}

const newImage = "good@sha256:new"

// entries returns the services file.
func (b *fixture) entries() (entries []platform.Service) {
	for _, target := range b.request.Targets {
		entries = append(entries, target.Service)
	}
	return entries
}

// TestPause pauses at every stage, and continues or aborts from another process, or lets
// the pause expire.
func TestPause(t *testing.T) {
	for _, stage := range machine.PauseStages() {
		paused := func(t *testing.T) *fixture {
			b := newShiftFixture(blueGreen, canary, linear)
			b.request.PauseAt, b.request.PauseLimit = stage, time.Hour
			got := b.run(t.Context())
			require.Equal(t, report.Paused, got.Result, "%s\n%s", got.Error, b.log())
			require.Equal(t, outcome.Done, got.ExitCode)
			require.Equal(t, flagOf(stage), got.Pause.Stage)
			require.Equal(t, report.Paused, got.Services[0].Result)
			if stage == machine.PostTestTrafficShift {
				require.Empty(t, got.Notes)
			} else {
				require.Equal(t, []string{"w: when the pause expires, ECS does not restore it, because it shifts no traffic: run slipway abort then"}, got.Notes)
			}
			require.WithinDuration(t, b.ecs.clock.Now().Add(time.Hour+9*time.Minute), got.Pause.Until, 5*time.Minute, "and as long as the services bake")
			require.Equal(t, "slipway continue", got.Next)
			b.ecs.calls = nil
			return b
		}
		t.Run(string(stage), func(t *testing.T) {
			t.Run("found", func(t *testing.T) {
				b := paused(t)
				u, err := b.engine.Unfinished(t.Context(), b.entries())
				require.NoError(t, err)
				require.NotNil(t, u)
				require.Equal(t, newSHA, u.SHA)
				require.True(t, u.Paused && u.Progressive, "%+v", u)
				require.Equal(t, string(stage), u.Stage)
				require.WithinDuration(t, b.ecs.clock.Now().Add(time.Hour+9*time.Minute), u.Expires, 5*time.Minute)
				require.Empty(t, b.changes())
			})
			t.Run("stays paused", func(t *testing.T) {
				b := paused(t)
				got := b.run(t.Context())
				require.Equal(t, report.Paused, got.Result, "%s\n%s", got.Error, b.log())
				require.Empty(t, b.changes(), "it changes nothing more")
			})
			t.Run("continued", func(t *testing.T) {
				b := paused(t)
				b.request.PauseAt, b.request.Continue = "", true
				got := b.run(t.Context())
				require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
				requireVersion(t, b, newImage)
				again := b.run(t.Context())
				require.Equal(t, outcome.Refused, again.ExitCode)
				require.Contains(t, again.Error, "no release is paused: release "+got.ID+" is over")
			})
			t.Run("continued to the next pause", func(t *testing.T) {
				b := paused(t)
				next := machine.PostProductionTrafficShift
				if stage == machine.PreProductionTrafficShift {
					next = stage // before the next step
				}
				b.request.PauseAt, b.request.Continue = next, true
				got := b.run(t.Context())
				if stage == machine.PostProductionTrafficShift {
					require.Equal(t, report.Succeeded, got.Result, got.Error)
					return
				}
				require.Equal(t, report.Paused, got.Result, "%s\n%s", got.Error, b.log())
				require.Equal(t, flagOf(next), got.Pause.Stage)
			})
			t.Run("aborted", func(t *testing.T) {
				b := paused(t)
				got := b.engine.Abort(t.Context(), b.entries(), 0)
				require.Equal(t, report.Restored, got.Result, "%s\n%s", got.Error, b.log())
				require.Equal(t, outcome.Done, got.ExitCode)
				requireVersion(t, b, oldImage)
				again := b.engine.Abort(t.Context(), b.entries(), 0)
				require.Equal(t, outcome.Refused, again.ExitCode)
				require.Contains(t, again.Error, "no release is in progress")
			})
			t.Run("abort is denied", func(t *testing.T) {
				b := paused(t)
				b.ecs.failCall = func(operation, _ string) error {
					if strings.HasPrefix(operation, "Stop") || strings.HasPrefix(operation, "Update") {
						return apiError("AccessDeniedException")
					}
					return nil
				}
				got := b.engine.Abort(t.Context(), b.entries(), 0)
				require.Equal(t, outcome.Unrestored, got.ExitCode, "%s\n%s", got.Error, b.log())
				require.Equal(t, report.Failed, got.Result)
				require.Contains(t, got.Next, "slipway abort")
			})
			t.Run("abort takes too long", func(t *testing.T) {
				b := paused(t)
				b.ecs.failCall = func(operation, _ string) error {
					if strings.HasPrefix(operation, "Stop") || strings.HasPrefix(operation, "Update") {
						return apiError("ServerException")
					}
					return nil
				}
				began := b.ecs.clock.Now()
				got := b.engine.Abort(t.Context(), b.entries(), 3*time.Minute)
				require.Equal(t, outcome.Unrestored, got.ExitCode, "%s\n%s", got.Error, b.log())
				require.Contains(t, got.Services[0].Error, "not restored within the time limit of 3m0s")
				require.Less(t, b.ecs.clock.Now().Sub(began), 4*time.Minute)
			})
			t.Run("expires", func(t *testing.T) {
				b := paused(t)
				_ = b.ecs.clock.Sleep(t.Context(), 2*time.Hour)
				b.ecs.settleAll()
				u, err := b.engine.Unfinished(t.Context(), b.entries())
				require.NoError(t, err)
				if stage == machine.PostTestTrafficShift { // the worker was not updated
					require.Nil(t, u)
					requireVersion(t, b, oldImage)
				} else {
					require.Equal(t, []string{"w"}, u.Services)
					require.Equal(t, outcome.Done, b.engine.Abort(t.Context(), b.entries(), 0).ExitCode, b.log())
					requireVersion(t, b, oldImage)
				}
				b.request.PauseAt, b.request.Continue = "", true
				got := b.run(t.Context())
				require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
				require.Contains(t, got.Error, "no release is paused")
			})
			t.Run("another commit", func(t *testing.T) {
				b := paused(t)
				b.request.Version = strings.Repeat("f", 40)
				for n := range b.request.Targets {
					b.request.Targets[n].Image = "good@sha256:other"
				}
				got := b.run(t.Context())
				require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
				require.Contains(t, got.Error, "slipway continue")
				require.Contains(t, got.Error, "slipway abort")
				require.Empty(t, b.changes())
			})
		})
	}
}

// TestRolledBackWhilePaused checks a paused release of which ECS has rolled one service back. It
// cannot be continued, and abort restores the others.
func TestRolledBackWhilePaused(t *testing.T) {
	for _, stage := range machine.PauseStages() {
		b := newShiftFixture(blueGreen, canary)
		b.request.PauseAt, b.request.PauseLimit = stage, time.Hour
		require.Equal(t, report.Paused, b.run(t.Context()).Result)
		b.ecs.setAlarm(b.ecs.services["ecs-b-service"])
		for range 2 { // while ECS rolls it back, and then
			u, err := b.engine.Unfinished(t.Context(), b.entries())
			require.NoError(t, err)
			require.False(t, u.Paused, "%+v", u)
			require.Equal(t, []string{"b"}, u.RolledBack)
			b.ecs.settleAll()
		}
		status, err := b.engine.Status(t.Context(), b.entries())
		require.NoError(t, err)
		require.Equal(t, "ECS has rolled back b: slipway abort restores the previous version of the others", status.Next)
		got := b.engine.Abort(t.Context(), b.entries(), 0)
		require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
		requireVersion(t, b, oldImage)
	}
}

// TestPauseWithJob pauses a release with a job, whose schedule is changed last.
func TestPauseWithJob(t *testing.T) {
	for _, stage := range machine.PauseStages() {
		for _, aborts := range []bool{false, true} {
			b := newShiftFixture(blueGreen)
			b.addJob(oldImage, "good@sha256:new")
			b.request.PauseAt, b.request.PauseLimit = stage, time.Hour
			require.Equal(t, report.Paused, b.run(t.Context()).Result, b.log())
			u, err := b.engine.Unfinished(t.Context(), b.entries())
			require.NoError(t, err)
			require.Empty(t, u.RolledBack)
			require.True(t, u.Paused)
			require.Contains(t, u.Services, "j")
			want := oldImage
			if aborts {
				got := b.engine.Abort(t.Context(), b.entries(), 0)
				require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
			} else {
				want = "good@sha256:new"
				b.request.PauseAt, b.request.Continue = "", true
				got := b.run(t.Context())
				require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
			}
			require.Equal(t, []string{want, want}, []string{b.ecs.running("a"), b.ecs.running("j")}, "%s\n%s", stage, b.log())
		}
	}
}

// TestTwoProcesses drives one release from two processes, which both started it. The second one
// takes part in what the first one updates.
func TestTwoProcesses(t *testing.T) {
	b := newShiftFixture(blueGreen, canary)
	first := b.request
	tries := 0
	b.request.Preflight = func(context.Context, []rollout.ServiceChange) error {
		if tries++; tries == 1 { // the first process registers and updates meanwhile, and then it is slow
			b.ecs.failCall = after("UpdateService ecs-b-service", func(string, string) error { return errKilled })
			first.Timeout, first.RestoreTimeout = killTimeout, time.Second
			b.engine.Release(context.Background(), first)
			restartProcess(b)
		}
		return nil
	}
	b.request.TestNew = func(context.Context, map[string]string) error { // the first process goes on
		_, err := b.ecs.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String(platform.Cluster), Service: aws.String("ecs-w-service"), TaskDefinition: aws.String("arn:aws:ecs:us-east-1:1:task-definition/ecs-w-task:2")})
		return err
	}
	got := b.run(t.Context())
	require.Equal(t, 2, tries, "it planned again")
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
	requireVersion(t, b, newImage)
	require.Equal(t, "ecs-w-task:2", machine.ShortARN(got.Services[2].To.TaskDefinition), "what the first process registered")
	require.Equal(t, 1, b.ecs.count("UpdateService ecs-w-service"))
}

// TestAbortWhileTheReleaseGoesOn checks that an abort restores what another process updates
// meanwhile.
func TestAbortWhileTheReleaseGoesOn(t *testing.T) {
	b := newShiftFixture(blueGreen, canary)
	b.request.PauseAt = machine.PostTestTrafficShift
	require.Equal(t, report.Paused, b.run(t.Context()).Result)
	updated := false
	b.ecs.failCall = func(operation, _ string) error {
		if operation == "StopServiceDeployment" && !updated {
			updated = true
			b.ecs.deploy("ecs-w-service", "arn:aws:ecs:us-east-1:1:task-definition/ecs-w-task:2")
		}
		return nil
	}
	got := b.engine.Abort(t.Context(), b.entries(), 0)
	require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
	require.Equal(t, report.Restored, got.Result)
	require.Len(t, got.Services, 3)
	requireVersion(t, b, oldImage)
}

// changes returns the calls that change something.
func (b *fixture) changes() (changes []string) {
	for _, call := range b.ecs.calls {
		if !strings.HasPrefix(call, "Describe") && !strings.HasPrefix(call, "List") && !strings.HasPrefix(call, "Get") {
			changes = append(changes, call)
		}
	}
	return changes
}

// flagOf returns a stage as the value of --pause-at.
func flagOf(stage machine.PauseStage) string {
	return report.NewPause(string(stage), time.Time{}, func(string) string { return "" }).Stage
}

// TestShiftReport checks strategy, stage, share and hooks in status and diff.
func TestShiftReport(t *testing.T) {
	b := newShiftFixture(canary)
	diff, err := b.engine.Diff(t.Context(), b.request)
	require.NoError(t, err)
	require.Subset(t, diff.Services[0].Changes, []report.Change{
		{Path: "strategy.bake_minutes", To: "2"}, {Path: "strategy.percent", To: "5"}, {Path: "strategy.step_bake_minutes", To: "3"}, {Path: "strategy.type", From: "ROLLING", To: "CANARY"},
	})
	require.Nil(t, diff.Services[0].Shift)
	b.request.PauseAt = machine.PostProductionTrafficShift
	require.Equal(t, report.Paused, b.run(t.Context()).Result, b.log())
	want := &report.Shift{
		Percent: 5, StepBakeMinutes: 3, BakeMinutes: 2, Stage: "POST_PRODUCTION_TRAFFIC_SHIFT", Share: 100,
		Hooks: []report.Hook{{Stages: []string{"POST_TEST_TRAFFIC_SHIFT", "PRE_PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"}, Target: "PAUSE", Status: "AWAITING_ACTION"}},
	}
	status, err := b.engine.Status(t.Context(), b.entries())
	require.NoError(t, err)
	require.Equal(t, report.Deploying, status.Services[0].State)
	require.Equal(t, "CANARY", status.Services[0].Strategy)
	want.Hooks[0].Until = status.Services[0].Shift.Hooks[0].Until
	require.Greater(t, want.Hooks[0].Until, b.ecs.clock.Now().Add(24*time.Hour))
	require.Equal(t, want, status.Services[0].Shift)
	require.Nil(t, status.Services[1].Shift)
	require.Equal(t, "slipway continue continues it; slipway abort restores the previous version", status.Next)
	diff, err = b.engine.Diff(t.Context(), b.request)
	require.NoError(t, err)
	require.Equal(t, want, diff.Services[0].Shift)
	require.Empty(t, diff.Services[0].Changes)
}

// fakeStageNames are the stages of a canary deployment, with the share where a stage is entered
// several times.
var fakeStageNames = []string{
	"TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT", "PRE_PRODUCTION_TRAFFIC_SHIFT 0", "PRODUCTION_TRAFFIC_SHIFT 5", "PRE_PRODUCTION_TRAFFIC_SHIFT 5",
	"PRODUCTION_TRAFFIC_SHIFT 100", "POST_PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME", "CLEAN_UP",
}

// TestAlarmAtEveryStage rolls one of three services back at each stage: all run the
// previous version again, with all traffic, and before its first step no other service was
// continued into production.
func TestAlarmAtEveryStage(t *testing.T) {
	for n, stage := range fakeStageNames {
		for _, service := range []string{"a", "b", "c"} {
			t.Run(stage+" "+service, func(t *testing.T) {
				b := newShiftFixture(canary, canary, canary)
				b.ecs.failAt["ecs-"+service+"-service "+stage] = true
				got := b.run(t.Context())
				require.Equal(t, outcome.Restored, got.ExitCode, "%s\n%s", got.Error, b.log())
				require.Contains(t, got.Error, service+": deployment alarm errors triggered")
				requireVersion(t, b, oldImage)
				if n < 3 {
					requireNoProduction(t, b)
				}
			})
		}
	}
}

// requireNoProduction checks that no service was continued into production, and that none
// served a request there.
func requireNoProduction(t *testing.T, b *fixture) {
	t.Helper()
	for _, call := range b.ecs.calls {
		require.False(t, strings.HasPrefix(call, "ContinueServiceDeployment") && strings.HasSuffix(call, "PRE_PRODUCTION_TRAFFIC_SHIFT"), "%s\n%s", call, b.log())
	}
	for name, s := range b.ecs.services {
		require.Zero(t, s.maxShare, name)
	}
}

// TestOneOfThreeIsBad checks that no new version serves if one of three services does not
// start, fails its test, or is stuck.
func TestOneOfThreeIsBad(t *testing.T) {
	for _, bad := range []behavior{rollsBack, fails, stays, stopped, undone, missing} {
		for n := range 3 {
			t.Run(fmt.Sprintf("%s %d", bad, n), func(t *testing.T) {
				b := newShiftFixture(blueGreen, canary, linear)
				b.request.Targets[n].Image = string(bad) + "@sha256:new"
				b.request.Timeout = 2 * time.Minute
				got := b.run(t.Context())
				require.Equal(t, outcome.Restored, got.ExitCode, "%s\n%s", got.Error, b.log())
				require.True(t, strings.HasPrefix(got.Error, string(rune('a'+n))+": "), got.Error)
				requireVersion(t, b, oldImage)
				requireNoProduction(t, b)
				require.Zero(t, b.ecs.count("UpdateService ecs-w-service"), "the worker was not updated")
			})
		}
	}
	t.Run("test fails", func(t *testing.T) {
		b := newShiftFixture(blueGreen, canary, linear)
		b.request.TestNew = func(context.Context, map[string]string) error { return errors.New("GET / returned 500") }
		got := b.run(t.Context())
		require.Equal(t, outcome.Restored, got.ExitCode)
		require.Equal(t, "testing the new version: GET / returned 500", got.Error)
		requireVersion(t, b, oldImage)
		requireNoProduction(t, b)
	})
	t.Run("the worker is bad", func(t *testing.T) {
		b := newShiftFixture(blueGreen, canary, linear)
		b.request.Targets[3].Image = string(rollsBack) + "@sha256:new"
		require.Equal(t, outcome.Restored, b.run(t.Context()).ExitCode)
		requireVersion(t, b, oldImage)
		requireNoProduction(t, b)
	})
}

// TestTakeOverStrategy rolls back at once, or by the strategy of that rollback.
func TestTakeOverStrategy(t *testing.T) {
	for _, tt := range []struct {
		own  *platform.Strategy
		want string
	}{{nil, "BLUE_GREEN"}, {&canary, "CANARY"}, {&platform.Strategy{Type: platform.Rolling}, ""}} {
		b := newShiftFixture(canary)
		b.request.TakeOver, b.request.Targets[0].Strategy = true, tt.own
		got := b.run(t.Context())
		require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
		status, err := b.engine.Status(t.Context(), b.entries())
		require.NoError(t, err)
		require.Equal(t, tt.want, status.Services[0].Strategy)
	}
}

// TestNoPause: a release in which no changed service shifts traffic has no stage to wait at.
func TestNoPause(t *testing.T) {
	b := newShiftFixture()
	b.request.PauseAt = machine.PostTestTrafficShift
	got := b.run(t.Context())
	require.Equal(t, report.Succeeded, got.Result, "%s\n%s", got.Error, b.log())
	require.Contains(t, b.log(), "no pause at post-test-traffic-shift: none of the services that change shifts traffic in steps")
}
