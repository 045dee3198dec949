package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// errKilled is the error of every call of a killed process.
var errKilled = errors.New("killed")

// killAt kills the process after n calls. With late, a further one takes effect, the next
// that changes anything, but its response is lost.
func killAt(b *fixture, n int, late bool) {
	seen, dead := 0, false
	b.ecs.failCall = func(operation, _ string) error {
		if dead || seen == n && !late {
			dead = true
			return errKilled
		}
		dead = seen >= n && isWrite(operation)
		seen++
		return nil
	}
	b.ecs.loseResponse = func(string, string) bool { return dead }
}

// isWrite reports whether an operation changes anything.
func isWrite(operation string) bool {
	return !slices.ContainsFunc([]string{"Describe", "Get", "List"}, func(verb string) bool { return strings.HasPrefix(operation, verb) })
}

// killPoints returns the arguments of killAt for a process that makes these calls: to be
// killed before each call, after the last one, and between the effect of each write and its
// response. After the response of a call is before the next one.
func killPoints(calls []string) iter.Seq2[int, bool] {
	return func(yield func(n int, late bool) bool) {
		for n, call := range calls {
			if !yield(n, false) || isWrite(call) && !yield(n, true) {
				return
			}
		}
		yield(len(calls), false)
	}
}

// restartProcess lets calls succeed again, as for the next process.
func restartProcess(b *fixture) {
	b.ecs.failCall, b.ecs.loseResponse = nil, nil
	b.ecs.calls = nil
}

// TestKilledAtEveryCall kills a release at each of its calls, and lets the next process
// resume it, at once or after ECS has settled.
func TestKilledAtEveryCall(t *testing.T) {
	behaviors := map[string][2]behavior{
		"good":            {completes, completes},
		"one fails":       {completes, rollsBack},
		"one is stuck":    {stays, completes},
		"one is given up": {fails, completes},
	}
	shapes := map[string]func(*fixture){
		"as usual":                      func(*fixture) {},
		"all deregistered":              func(b *fixture) { b.setRevisionStatus(types.TaskDefinitionStatusInactive) },
		"with a job":                    func(b *fixture) { b.addJob(oldImage, "good@sha256:new") },
		"sidecars, and another service": func(b *fixture) { b.addSidecars(); b.addOtherService() },
	}
	for name, f := range behaviors {
		for shape, change := range shapes {
			shaped := func() *fixture {
				b := newFixture(f[0], f[1])
				b.addHealthChecks() // else the time limits are at least 90 s
				change(b)
				return b
			}
			whole := shaped()
			whole.request.Timeout = killTimeout
			whole.engine.Release(t.Context(), whole.request)
			require.Greater(t, len(whole.ecs.calls), 10)
			for n, late := range killPoints(whole.ecs.calls) {
				for _, later := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %s, call %d, takes effect %v, rested %v", name, shape, n, late, later), func(t *testing.T) {
						b := killed(shaped(), n, late, later)
						b.request.WaitForTurn = maxWait
						requireAll(t, b, b.engine.Release(t.Context(), b.request), name == "good")
						b.requireOtherServiceUntouched(t)
					})
				}
			}
		}
	}
}

// TestCleanedUpAtEveryCall deletes or deregisters something at each call of a release,
// as a clean-up or a lifecycle policy may do.
func TestCleanedUpAtEveryCall(t *testing.T) {
	for what, allowed := range map[string][]outcome.Code{
		"deregister": {outcome.Done, outcome.Failed, outcome.Restored},
		"delete":     {outcome.Done, outcome.Failed, outcome.Restored},
		"old image":  {outcome.Done, outcome.Restored, outcome.Unrestored},
		"new image":  {outcome.Done, outcome.Restored},
	} {
		for name, f := range map[string][2]behavior{"good": {completes, completes}, "one fails": {completes, rollsBack}, "one is given up": {fails, completes}} {
			whole := newFixture(f[0], f[1])
			whole.engine.Release(t.Context(), whole.request)
			for n := range len(whole.ecs.calls) {
				t.Run(fmt.Sprintf("%s, %s, call %d", what, name, n), func(t *testing.T) {
					b := newFixture(f[0], f[1])
					b.request.Timeout = killTimeout
					injectFaults(b, nil, []removal{{n + 1, what}}, 0, nil)
					got := b.engine.Release(t.Context(), b.request)
					require.Contains(t, allowed, got.ExitCode, "%s\n%s", got.Error, b.log())
					b.ecs.settleAll()
					requirePromise(t, b, map[string]string{"a": oldImage, "b": oldImage}, got)
				})
			}
		}
	}
}

// TestFirstReleaseKilledAtEveryCall is TestKilledAtEveryCall for services without
// tasks: a failed release leaves none.
func TestFirstReleaseKilledAtEveryCall(t *testing.T) {
	for name, f := range map[string][2]behavior{
		"good":                               {completes, completes},
		"one fails":                          {completes, rollsBack},
		"one fails, and ECS gives up on all": {completes, rollsBack},
		"one is given up":                    {fails, completes},
		"one fails, after what never ran":    {completes, rollsBack},
	} {
		newFirstBench := func(a, second behavior) *fixture {
			b := newFirstReleaseFixture(a, second)
			b.addHealthChecks()
			b.ecs.givesUp = strings.Contains(name, "gives up")
			if strings.Contains(name, "never ran") {
				b.givenUp(types.ServiceDeploymentStatusRollbackFailed)
			}
			return b
		}
		whole := newFirstBench(f[0], f[1])
		whole.request.Timeout = killTimeout
		whole.engine.Release(t.Context(), whole.request)
		for n, late := range killPoints(whole.ecs.calls) {
			for _, later := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, call %d, takes effect %v, rested %v", name, n, late, later), func(t *testing.T) {
					b := killed(newFirstBench(f[0], f[1]), n, late, later)
					b.request.WaitForTurn = maxWait
					got := b.engine.Release(t.Context(), b.request)
					if got.ExitCode == outcome.Refused {
						// ECS retries its rollback to a missing image indefinitely.
						require.Contains(t, got.Error, "restores release 012345678901.")
						require.Contains(t, got.Error, "slipway rollback")
						require.Equal(t, outcome.Done, b.rollBack(t).ExitCode, b.log())
						got = b.engine.Release(t.Context(), b.request)
					}
					requireAll(t, b, got, name == "good")
					want := int32(0)
					if name == "good" {
						want = 2
					}
					for _, s := range b.ecs.services {
						require.Equal(t, want, s.desired, "%s\n%s", s.name, b.log())
					}
				})
			}
		}
	}
}

// TestRollbackOfAKilledFirstRelease rolls back to services without tasks.
func TestRollbackOfAKilledFirstRelease(t *testing.T) {
	whole := newFirstReleaseFixture(stays, stays)
	whole.request.Timeout = killTimeout
	whole.engine.Release(t.Context(), whole.request)
	first := callsUntil(t, "RegisterTaskDefinition", stays, stays) + 1
	for n, late := range killPoints(whole.ecs.calls) {
		if n < first || n == len(whole.ecs.calls) {
			continue
		}
		t.Run(fmt.Sprintf("call %d, takes effect %v", n, late), func(t *testing.T) {
			b := killed(newFirstReleaseFixture(stays, stays), n, late, false)
			verified := false
			b.request.Verify = func(context.Context, map[string]string) error { verified = true; return nil }
			b.request.Preflight = func(_ context.Context, changes []rollout.ServiceChange) error {
				require.Empty(t, changes, "no image is needed")
				return nil
			}
			got := b.rollBack(t)
			require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
			require.False(t, verified, "no task runs")
			b.ecs.settleAll()
			for _, target := range b.request.Targets {
				require.Equal(t, noImage, b.ecs.running(target.Service.Name))
				require.Zero(t, b.ecs.services[target.Service.ServiceName()].desired, b.log())
			}
		})
	}
}

// TestRollbackKilledAtEveryCall kills a rollback at each of its calls. Two more
// rollbacks end at the same version, whether its revision exists or has to be
// registered again.
func TestRollbackKilledAtEveryCall(t *testing.T) {
	for name, status := range map[string]types.TaskDefinitionStatus{"there": types.TaskDefinitionStatusActive, "deregistered": types.TaskDefinitionStatusInactive} {
		released := func() *fixture {
			b := newFixture(completes, completes)
			b.release(t, "1111", "good@sha256:a1", "good@sha256:b1")
			b.release(t, "2222", "good@sha256:a2", "good@sha256:b2")
			for n := 1; n < 3; n++ {
				b.ecs.remove(revision(n), status)
				b.ecs.remove(strings.Replace(revision(n), "ecs-a", "ecs-b", 1), status)
			}
			b.registerForeign(7)
			b.ecs.calls = nil
			return b
		}
		whole := released()
		whole.rollBack(t)
		for n, late := range killPoints(whole.ecs.calls) {
			t.Run(fmt.Sprintf("%s, call %d, takes effect %v", name, n, late), func(t *testing.T) {
				b := released()
				killAt(b, n, late)
				if targets, err := b.engine.LastKnownGood(t.Context(), b.services(), ""); err == nil {
					b.engine.Release(t.Context(), rollout.Request{Targets: targets, TakeOver: true, RestoreTimeout: time.Second})
				}
				restartProcess(b)
				for range 2 {
					got := b.rollBack(t)
					require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
					require.Equal(t, "good@sha256:a1", b.ecs.running("a"), b.log())
					require.Equal(t, "good@sha256:b1", b.ecs.running("b"), b.log())
				}
			})
		}
	}
}

// killed returns the fixture after a killed release.
func killed(b *fixture, n int, late, rested bool) *fixture {
	b.request.Timeout = killTimeout
	killAt(b, n, late)
	b.request.RestoreTimeout = time.Second // its calls fail anyway
	b.run(context.Background())
	b.request.RestoreTimeout = 0
	restartProcess(b)
	if rested {
		b.ecs.settleAll()
	}
	return b
}

const (
	maxWait     = 2 * time.Minute
	killTimeout = 10 * time.Second
)

// requireAll checks that all services run the new version or all the previous one.
func requireAll(t *testing.T, b *fixture, got report.Release, good bool) {
	t.Helper()
	b.ecs.settleAll()
	want := outcome.Restored
	if good {
		want = outcome.Done
	}
	require.Equal(t, want, got.ExitCode, "%s\n%s", got.Error, b.log())
	for n, target := range b.request.Targets {
		image := b.ecs.image("arn:aws:ecs:us-east-1:1:task-definition/" + target.Service.Family() + ":1")
		if good {
			image = target.Image
		}
		require.Equal(t, image, b.ecs.running(target.Service.Name), "%s runs what it should\n%s", got.Services[n].Name, b.log())
	}
}

func TestOtherVersionIsRefusedDuringRelease(t *testing.T) {
	b := newFixture(stays, completes)
	killAt(b, callsUntil(t, "UpdateService", stays, completes)+1, true)
	b.engine.Release(t.Context(), b.request)
	restartProcess(b)
	b.request.Version = strings.Repeat("f", 40)
	b.request.Targets[0].Image = "good@sha256:other"
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
	require.Equal(t, report.Refused, got.Result)
	require.Contains(t, got.Error, "release 012345678901.")
	require.Contains(t, got.Error, "slipway rollback")
	require.Zero(t, b.ecs.count("UpdateService")+b.ecs.count("RegisterTaskDefinition"))
}

// callsUntil returns how many calls a release makes before the first matching one.
func callsUntil(t *testing.T, operation string, a, b behavior) int {
	t.Helper()
	whole := newFixture(a, b)
	whole.engine.Release(t.Context(), whole.request)
	for n, call := range whole.ecs.calls {
		if strings.HasPrefix(call, operation) {
			return n
		}
	}
	require.Fail(t, "no such call", operation)
	return 0
}

// TestOtherVersionAfterFailedFirstRelease releases another version after ECS has given
// up a killed first release, and checks the desired count.
func TestOtherVersionAfterFailedFirstRelease(t *testing.T) {
	for next, want := range map[behavior]struct {
		code  outcome.Code
		count int32
	}{completes: {outcome.Done, 2}, fails: {outcome.Restored, 0}} {
		t.Run(string(next), func(t *testing.T) {
			b := killed(newFirstReleaseFixture(fails, fails), callsUntil(t, "UpdateService", fails, fails)+1, true, true)
			require.Equal(t, "failed@sha256:new", b.ecs.running("a"))
			b.request.Version = strings.Repeat("f", 40)
			for n := range b.request.Targets {
				b.request.Targets[n].Image = string(next) + "@sha256:other"
			}
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, want.code, got.ExitCode, "%s\n%s", got.Error, b.log())
			b.ecs.settleAll()
			for _, s := range b.ecs.services {
				require.Equal(t, want.count, s.desired, "%s\n%s", s.name, b.log())
			}
			requireAllOrNothing(t, b, got)
		})
	}
}
