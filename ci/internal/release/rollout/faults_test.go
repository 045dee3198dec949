package rollout_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// after returns a fault that begins after the first matching call.
func after(call string, fault func(operation, service string) error) func(operation, service string) error {
	begun := false
	return func(operation, service string) error {
		if begun {
			return fault(operation, service)
		}
		begun = strings.HasPrefix(operation+" "+service, call)
		return nil
	}
}

// randomFaults fails a share of all calls, the same ones in every run.
func randomFaults(share float64, code string) func(operation, service string) error {
	chance := rand.New(rand.NewPCG(1, 2))
	return func(string, string) error {
		if chance.Float64() < share {
			return apiError(code)
		}
		return nil
	}
}

// loseFirst loses the response to the first matching call.
func loseFirst(call string) func(operation, service string) bool {
	lost := false
	return func(operation, service string) bool {
		hit := !lost && strings.HasPrefix(operation+" "+service, call)
		lost = lost || hit
		return hit
	}
}

// deregister deregisters a revision at the first matching call.
func deregister(b *fixture, call, revision string) func(operation, service string) error {
	return func(operation, service string) error {
		if strings.HasPrefix(operation+" "+service, call) {
			if d := b.ecs.find("arn:aws:ecs:us-east-1:1:task-definition/" + revision); d != nil {
				d.Status = types.TaskDefinitionStatusInactive
			}
		}
		return nil
	}
}

// unreachable fails every call for a while after the first update.
func unreachable(b *fixture, code string, d time.Duration) func(operation, service string) error {
	var since time.Time
	updated := false
	return func(operation, _ string) error {
		now := b.ecs.clock.Now()
		if updated && since.IsZero() {
			since = now
		}
		updated = updated || operation == "UpdateService"
		if !since.IsZero() && now.Sub(since) < d {
			return apiError(code)
		}
		return nil
	}
}

// TestFaults checks the result of releases with faults. In each row all services end on
// the new version or all on the old one.
func TestFaults(t *testing.T) {
	tests := map[string]struct {
		a, b   behavior
		change func(*fixture)
		result report.Result
		code   outcome.Code
	}{
		"the second update is refused": {completes, completes, func(b *fixture) {
			b.ecs.failCall = failCalls("UpdateService ecs-b-service", "InvalidParameterException", 1)
		}, report.Restored, outcome.Restored},
		"both updates are refused": {completes, completes, func(b *fixture) {
			b.ecs.failCall = failCalls("UpdateService", "AccessDeniedException", 1<<30)
		}, report.Failed, outcome.Failed},
		"the response to registering is lost": {completes, completes, func(b *fixture) { b.ecs.loseResponse = loseFirst("RegisterTaskDefinition") }, report.Succeeded, outcome.Done},
		"the response to an update is lost":   {completes, completes, func(b *fixture) { b.ecs.loseResponse = loseFirst("UpdateService") }, report.Succeeded, outcome.Done},
		"the response to a failing update is lost": {completes, rollsBack, func(b *fixture) {
			b.ecs.loseResponse = loseFirst("UpdateService ecs-b")
		}, report.Restored, outcome.Restored},
		"the response to a stop is lost":    {rollsBack, stays, func(b *fixture) { b.ecs.loseResponse = loseFirst("StopServiceDeployment") }, report.Restored, outcome.Restored},
		"the response to a restore is lost": {fails, completes, func(b *fixture) { b.ecs.loseResponse = loseSecondUpdate("ecs-a") }, report.Restored, outcome.Restored},
		"a read fails": {completes, completes, func(b *fixture) {
			b.ecs.failCall = after("UpdateService", failCalls("DescribeServices", "ServerException", 3))
		}, report.Succeeded, outcome.Done},
		"ECS is unreachable for a minute": {completes, completes, func(b *fixture) {
			b.ecs.failCall = unreachable(b, "ServiceUnavailable", time.Minute)
		}, report.Succeeded, outcome.Done},
		"ECS is unreachable for three minutes": {completes, completes, func(b *fixture) {
			b.ecs.failCall = unreachable(b, "ServiceUnavailable", 3*time.Minute)
		}, report.Restored, outcome.Restored},
		"ECS is unreachable for good": {completes, completes, func(b *fixture) {
			b.ecs.failCall = unreachable(b, "ServiceUnavailable", time.Hour)
		}, report.Failed, outcome.Unrestored},
		"credentials expire and are renewed": {completes, completes, func(b *fixture) {
			expired := false
			b.ecs.failCall = after("UpdateService", func(string, string) error {
				if !expired {
					return apiError("ExpiredTokenException")
				}
				return nil
			})
			b.engine.Renew = func() { expired = true }
		}, report.Succeeded, outcome.Done},
		"credentials expire for three minutes": {completes, completes, func(b *fixture) {
			b.ecs.failCall = unreachable(b, "ExpiredTokenException", 3*time.Minute)
		}, report.Restored, outcome.Restored},
		"throttling on every action":          {completes, completes, func(b *fixture) { b.ecs.failCall = randomFaultsAfterPlan(0.3, "ThrottlingException") }, report.Succeeded, outcome.Done},
		"throttling on every action, failing": {completes, rollsBack, func(b *fixture) { b.ecs.failCall = randomFaultsAfterPlan(0.3, "ThrottlingException") }, report.Restored, outcome.Restored},
		"updates are throttled for a minute": {completes, completes, func(b *fixture) {
			b.ecs.failCall = throttledFor(b, time.Minute)
		}, report.Succeeded, outcome.Done},
		"updates are throttled for a minute, failing": {rollsBack, completes, func(b *fixture) {
			b.ecs.failCall = throttledFor(b, time.Minute)
		}, report.Restored, outcome.Restored},
		"updates are throttled for good": {completes, completes, func(b *fixture) {
			b.ecs.failCall = throttledFor(b, time.Hour)
		}, report.Failed, outcome.Failed},
		"5xx on every action":          {completes, completes, func(b *fixture) { b.ecs.failCall = randomFaultsAfterPlan(0.1, "InternalFailure") }, report.Succeeded, outcome.Done},
		"5xx on every action, failing": {rollsBack, completes, func(b *fixture) { b.ecs.failCall = randomFaultsAfterPlan(0.1, "InternalFailure") }, report.Restored, outcome.Restored},
		"service deployments are unreadable": {completes, completes, func(b *fixture) {
			b.ecs.failCall = failCalls("DescribeServiceDeployments", "ServerException", 2)
		}, report.Succeeded, outcome.Done},
		"the stop is refused": {rollsBack, stays, func(b *fixture) { b.ecs.failCall = failCalls("StopServiceDeployment", "ConflictException", 9) }, report.Restored, outcome.Restored},
		"a restore is refused once": {fails, completes, func(b *fixture) {
			b.ecs.failCall = after("UpdateService ecs-a", failCalls("UpdateService ecs-a", "ClientException", 1))
		}, report.Restored, outcome.Restored},
		"a restore is refused for good": {fails, completes, func(b *fixture) {
			b.ecs.failCall = after("UpdateService ecs-a", failCalls("UpdateService ecs-a", "ClientException", 1<<30))
		}, report.Failed, outcome.Unrestored},
		"a restore is denied": {fails, completes, func(b *fixture) {
			b.ecs.failCall = after("UpdateService ecs-a", failCalls("UpdateService ecs-a", "AccessDeniedException", 1<<30))
		}, report.Failed, outcome.Unrestored},
		"reads are stale":             {completes, completes, func(b *fixture) { b.ecs.readLag = lag(4 * time.Second) }, report.Succeeded, outcome.Done},
		"reads are stale, failing":    {completes, rollsBack, func(b *fixture) { b.ecs.readLag = lag(4 * time.Second) }, report.Restored, outcome.Restored},
		"reads are out of order":      {completes, completes, func(b *fixture) { b.ecs.readLag = randomLag() }, report.Succeeded, outcome.Done},
		"reads out of order, failing": {completes, fails, func(b *fixture) { b.ecs.readLag = randomLag() }, report.Restored, outcome.Restored},
		"stale, and a response is lost": {completes, rollsBack, func(b *fixture) {
			b.ecs.readLag = lag(4 * time.Second)
			b.ecs.loseResponse = loseFirst("UpdateService ecs-b")
		}, report.Restored, outcome.Restored},
		"the clock is behind":    {completes, completes, func(b *fixture) { b.engine.Clock = skewedClock{b.ecs.clock, -time.Hour} }, report.Succeeded, outcome.Done},
		"the clock is ahead":     {rollsBack, completes, func(b *fixture) { b.engine.Clock = skewedClock{b.ecs.clock, time.Hour} }, report.Restored, outcome.Restored},
		"the service is deleted": {completes, vanishes, func(*fixture) {}, report.Failed, outcome.Unrestored},
		"the old revision is deregistered": {completes, fails, func(b *fixture) {
			b.ecs.failCall = deregister(b, "UpdateService ecs-b", "ecs-b-task:1")
		}, report.Restored, outcome.Restored},
		"the old revision is deleted": {completes, fails, func(b *fixture) {
			b.ecs.failCall = after("UpdateService ecs-b", func(string, string) error {
				b.ecs.remove("arn:aws:ecs:us-east-1:1:task-definition/ecs-b-task:1", deleted)
				return nil
			})
		}, report.Restored, outcome.Restored},
		"the old image is deleted": {completes, fails, func(b *fixture) {
			b.ecs.failCall = after("UpdateService ecs-b", func(string, string) error { b.ecs.deletedImages[oldImage] = true; return nil })
		}, report.Failed, outcome.Unrestored},
		"the new revision is deregistered": {completes, completes, func(b *fixture) {
			b.ecs.failCall = deregister(b, "UpdateService ecs-b", "ecs-b-task:2")
		}, report.Restored, outcome.Restored},
		"a release task fails":                                          {completes, completes, withTasks(func(b *fixture) { b.ecs.runTask.code = 1 }), report.Failed, outcome.Failed},
		"a release task is not placed":                                  {completes, completes, withTasks(func(b *fixture) { b.ecs.runTask.notPlaced = true }), report.Failed, outcome.Failed},
		"a release task does not end":                                   {completes, completes, withTasks(func(b *fixture) { b.ecs.runTask.endless = true }), report.Failed, outcome.Failed},
		"a release task does not end; the response to its stop is lost": {completes, completes, withTasks(func(b *fixture) { b.ecs.runTask.endless = true; b.ecs.loseResponse = loseFirst("StopTask") }), report.Failed, outcome.Failed},
		"a release task is not visible at first":                        {completes, completes, withTasks(func(b *fixture) { b.ecs.runTask.hidden = 30 * time.Second }), report.Succeeded, outcome.Done},
		"a release task is never visible":                               {completes, completes, withTasks(func(b *fixture) { b.ecs.runTask.hidden = time.Hour }), report.Failed, outcome.Failed},
		"the response to starting a task is lost":                       {completes, completes, withTasks(func(b *fixture) { b.ecs.loseResponse = loseFirst("RunTask") }), report.Succeeded, outcome.Done},
		"each response to starting a task is lost": {completes, completes, withTasks(func(b *fixture) {
			b.ecs.loseResponse = func(operation, _ string) bool { return operation == "RunTask" }
		}), report.Failed, outcome.Failed},
		"a task is refused":                    {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = failCalls("RunTask", "InvalidParameterException", 1) }), report.Failed, outcome.Failed},
		"starting tasks is throttled":          {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = failCalls("RunTask", "ThrottlingException", 20) }), report.Succeeded, outcome.Done},
		"starting tasks is throttled for good": {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = failCalls("RunTask", "ThrottlingException", 1<<30) }), report.Failed, outcome.Failed},
		"5xx when starting tasks":              {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = failCalls("RunTask", "ServerException", 2) }), report.Succeeded, outcome.Done},
		"credentials expire before a task starts": {completes, completes, withTasks(func(b *fixture) {
			expired := false
			b.engine.Renew = func() { expired = true }
			b.addReleaseTasks()
			b.ecs.failCall = func(operation, _ string) error {
				if operation == "RunTask" && !expired {
					return apiError("ExpiredTokenException")
				}
				return nil
			}
		}), report.Succeeded, outcome.Done},
		"a task is unreadable for a minute": {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = unreadableTask(b, time.Minute) }), report.Succeeded, outcome.Done},
		"a task is unreadable for good":     {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = unreadableTask(b, time.Hour) }), report.Failed, outcome.Failed},
		"reading a task is denied":          {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = failCalls("DescribeTasks", "AccessDeniedException", 1<<30) }), report.Failed, outcome.Failed},
		"listing tasks fails at first":      {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = failCalls("ListTasks", "ServerException", 3) }), report.Succeeded, outcome.Done},
		"listing tasks is denied":           {completes, completes, withTasks(func(b *fixture) { b.ecs.failCall = failCalls("ListTasks", "AccessDeniedException", 1<<30) }), report.Failed, outcome.Failed},
		"the log of a task is denied": {completes, completes, withTasks(func(b *fixture) {
			b.engine.Logs = fakeLogs{err: apiError("AccessDeniedException")}
			b.addReleaseTasks()
		}), report.Succeeded, outcome.Done},
		"a release fails after its tasks": {completes, rollsBack, withTasks(func(*fixture) {}), report.Restored, outcome.Restored},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(tt.a, tt.b)
			tt.change(b)
			got := b.run(t.Context())
			require.Equal(t, tt.result, got.Result, "%s\n%s", got.Error, b.log())
			require.Equal(t, tt.code, got.ExitCode)
			b.ecs.settleAll()
			requireAllOrNothing(t, b, got)
			require.LessOrEqual(t, b.executions("a"), 1, "one execution")
			if !strings.Contains(name, "for good") && !strings.Contains(name, "never visible") && !strings.Contains(name, "denied") {
				require.Zero(t, b.runningTasks())
			}
		})
	}
}

// withTasks adds release tasks before a change.
func withTasks(change func(*fixture)) func(*fixture) {
	return func(b *fixture) {
		b.addReleaseTasks()
		change(b)
	}
}

// unreadableTask fails reads of tasks for a while after the first one has started.
func unreadableTask(b *fixture, d time.Duration) func(operation, service string) error {
	var since time.Time
	return func(operation, _ string) error {
		if operation == "RunTask" && since.IsZero() {
			since = b.ecs.clock.Now()
		}
		if operation == "DescribeTasks" && !since.IsZero() && b.ecs.clock.Now().Sub(since) < d {
			return apiError("ServerException")
		}
		return nil
	}
}

// loseSecondUpdate loses the response to the second update of a service.
func loseSecondUpdate(service string) func(operation, name string) bool {
	n := 0
	return func(operation, name string) bool {
		if operation == "UpdateService" && strings.HasPrefix(name, service) {
			n++
			return n == 2
		}
		return false
	}
}

// randomFaultsAfterPlan is randomFaults from the first update on. Before that a failure
// leaves production unchanged.
func randomFaultsAfterPlan(share float64, code string) func(operation, service string) error {
	fault := randomFaults(share, code)
	begun := false
	return func(operation, service string) error {
		begun = begun || operation == "UpdateService"
		if begun {
			return fault(operation, service)
		}
		return nil
	}
}

// throttledFor throttles every update for a while, from the first one on.
func throttledFor(b *fixture, d time.Duration) func(operation, service string) error {
	var since time.Time
	return func(operation, _ string) error {
		if operation != "UpdateService" {
			return nil
		}
		if since.IsZero() {
			since = b.ecs.clock.Now()
		}
		if b.ecs.clock.Now().Sub(since) < d {
			return apiError("ThrottlingException")
		}
		return nil
	}
}

func lag(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// randomLag makes each read stale by a random time.
func randomLag() func() time.Duration {
	chance := rand.New(rand.NewPCG(3, 4))
	return func() time.Duration { return time.Duration(chance.IntN(8)) * time.Second }
}

// skewedClock is a clock that is off by a constant.
type skewedClock struct {
	*fakeClock
	by time.Duration
}

func (s skewedClock) Now() time.Time { return s.fakeClock.Now().Add(s.by) }

func TestInterruptedAtEveryCall(t *testing.T) {
	b := newFixture(completes, completes)
	b.engine.Release(t.Context(), b.request)
	calls := len(b.ecs.calls)
	require.Greater(t, calls, 10)
	for n := range calls {
		b := newFixture(completes, completes)
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		b.ecs.failCall = func(string, string) error {
			if seen == n {
				cancel()
			}
			seen++
			return nil
		}
		got := b.engine.Release(ctx, b.request)
		cancel()
		if got.Result != report.Succeeded {
			require.Equal(t, report.Interrupted, got.Result, "call %d: %s", n, got.Error)
			require.Equal(t, outcome.Interrupted, got.ExitCode, "call %d", n)
		}
		b.ecs.settleAll()
		requireAllOrNothing(t, b, got)
	}
}

// TestRetry checks how often a call is tried, and that each try has a time limit.
func TestRetry(t *testing.T) {
	for name, tt := range map[string]struct {
		code   string
		faults int
		tries  int
		err    string
	}{
		"works":              {"", 0, 1, ""},
		"a server error":     {"ServerException", 2, 3, ""},
		"server errors only": {"ServerException", 99, 5, "ServerException"},
		"throttled":          {"ThrottlingException", 4, 5, ""},
		"denied":             {"AccessDeniedException", 99, 1, "AccessDeniedException"},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			err := rollout.Retry(t.Context(), &fakeClock{}, nil, func(ctx context.Context) error {
				_, limited := ctx.Deadline()
				require.True(t, limited)
				if tries++; tries <= tt.faults {
					return apiError(tt.code)
				}
				return nil
			})
			require.Equal(t, tt.tries, tries)
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.err)
		})
	}
}

// TestTaskListsAreRetried lists tasks for the logs of a commit and for the status of a job.
func TestTaskListsAreRetried(t *testing.T) {
	for _, operation := range []string{"ListTasks", "DescribeTasks"} {
		b := newTaskFixture(completes, completes)
		b.addJob(oldImage, "good@sha256:new")
		require.Equal(t, outcome.Done, b.run(t.Context()).ExitCode)
		b.ecs.failCall = failCalls(operation, "ServerException", 2)
		tasks, err := b.engine.TasksOf(t.Context(), b.services()[0], b.request.Version)
		require.NoError(t, err)
		require.Contains(t, tasks, "standalone-0")
		b.ecs.failCall = failCalls("ListTasks", "ServerException", 2)
		_, err = b.engine.Status(t.Context(), b.services()[2:])
		require.NoError(t, err)
	}
}
