package rollout_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
)

// errKilled is what a process that is no more gets of its calls: nothing.
var errKilled = errors.New("killed")

// killAt lets n calls through and none after that. With late, the last one
// takes effect.
func killAt(b *bench, n int, late bool) {
	seen, dead := 0, false
	b.ecs.refuse = func(string, string) error {
		if dead || seen == n && !late {
			dead = true
			return errKilled
		}
		dead = seen == n
		seen++
		return nil
	}
	b.ecs.lose = func(string, string) bool { return dead }
}

// revive is the world as the next process finds it.
func revive(b *bench) {
	b.ecs.refuse, b.ecs.lose = nil, nil
	b.ecs.calls = nil
}

// TestKilledAtEveryCall kills a release between any two of its calls, and lets
// the next process carry on: at once or after ECS has come to rest.
func TestKilledAtEveryCall(t *testing.T) {
	fates := map[string][2]fate{
		"good":            {completes, completes},
		"one fails":       {completes, rollsBack},
		"one is stuck":    {stays, completes},
		"one is given up": {fails, completes},
	}
	for name, f := range fates {
		whole := newBench(f[0], f[1])
		whole.request.Timeout = killTimeout
		whole.engine.Release(t.Context(), whole.request)
		calls := len(whole.ecs.calls)
		require.Greater(t, calls, 10)
		for n := range calls {
			for _, late := range []bool{false, true} {
				for _, later := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, call %d, takes effect %v, rested %v", name, n, late, later), func(t *testing.T) {
						b := newBench(f[0], f[1])
						b.request.Timeout = killTimeout
						killAt(b, n, late)
						b.request.RestoreTimeout = time.Second // the dead try in vain
						b.engine.Release(t.Context(), b.request)
						b.request.RestoreTimeout = 0
						revive(b)
						if later {
							b.ecs.rest()
						}
						b.request.WaitForTurn = maxWait
						requireCarriedOn(t, b, name == "good")
					})
				}
			}
		}
	}
}

const (
	maxWait     = 10 * time.Minute
	killTimeout = 20 * time.Second
)

// requireCarriedOn releases the same again and wants all or nothing.
func requireCarriedOn(t *testing.T, b *bench, good bool) {
	t.Helper()
	got := b.engine.Release(t.Context(), b.request)
	b.ecs.rest()
	want, image := outcome.Restored, oldImage
	if good {
		want = outcome.Done
	}
	require.Equal(t, want, got.ExitCode, "%s\n%s", got.Error, b.log())
	for n, target := range b.request.Targets {
		if good {
			image = target.Image
		}
		require.Equal(t, image, b.ecs.running(target.Service.Name), "%s runs what it should\n%s", got.Services[n].Name, b.log())
	}
}

func TestAnotherVersionIsRefusedWhileOneIsUnderWay(t *testing.T) {
	b := newBench(stays, completes)
	killAt(b, callsUntil(t, "UpdateService", stays, completes)+1, true)
	b.engine.Release(t.Context(), b.request)
	revive(b)
	b.request.Version = strings.Repeat("f", 40)
	b.request.Targets[0].Image = "good@sha256:other"
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
	require.Equal(t, report.Refused, got.Result)
	require.Contains(t, got.Error, "release 012345678901.")
	require.Contains(t, got.Error, "slipway rollback")
	require.Zero(t, b.ecs.count("UpdateService")+b.ecs.count("RegisterTaskDefinition"))
}

// callsUntil is how many calls a release makes before the first of a kind.
func callsUntil(t *testing.T, operation string, a, b fate) int {
	t.Helper()
	whole := newBench(a, b)
	whole.engine.Release(t.Context(), whole.request)
	for n, call := range whole.ecs.calls {
		if strings.HasPrefix(call, operation) {
			return n
		}
	}
	require.Fail(t, "no such call", operation)
	return 0
}
