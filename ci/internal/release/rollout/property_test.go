package rollout_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// callFault is one thing that goes wrong, at the n-th call of a kind.
type callFault struct {
	operation string
	nth       int
	kind      string // refuse, fault, throttle, lose
}

var operations = []string{
	"UpdateService", "StopServiceDeployment", "DescribeServices", "DescribeServiceDeployments", "ListServiceDeployments",
	"RegisterTaskDefinition", "ListTasks",
}

// removal takes something away when a release is at its n-th call: what a clean-up or
// a lifecycle policy may do at any moment.
type removal struct {
	at   int
	what string
}

func drawRemovals(t *rapid.T) []removal {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) removal {
		return removal{
			at:   rapid.IntRange(1, 50).Draw(t, "at call"),
			what: rapid.SampledFrom([]string{"deregister", "delete", "old image", "new image"}).Draw(t, "what"),
		}
	}), 0, 2).Draw(t, "vanishing")
}

// apply lets something vanish from the bench.
func (v removal) apply(b *fixture) {
	switch v.what {
	case "deregister":
		b.setRevisionStatus(types.TaskDefinitionStatusInactive)
	case "delete":
		b.setRevisionStatus(deleted)
	case "old image":
		b.ecs.deletedImages[oldImage] = true
	case "new image":
		for _, target := range b.request.Targets {
			if target.Image != oldImage {
				b.ecs.deletedImages[target.Image] = true
			}
		}
	}
}

func drawFaults(t *rapid.T) []callFault {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) callFault {
		return callFault{
			operation: rapid.SampledFrom(operations).Draw(t, "operation"),
			nth:       rapid.IntRange(1, 6).Draw(t, "nth"),
			kind:      rapid.SampledFrom([]string{"refuse", "fault", "throttle", "lose"}).Draw(t, "kind"),
		}
	}), 0, 6).Draw(t, "mishaps")
}

// injectFaults lets the mishaps happen, each once.
func injectFaults(b *fixture, mishaps []callFault, vanishing []removal, interruptAt int, interrupt func()) {
	counts := map[string]int{}
	hit := func(operation string, kinds ...string) string {
		for _, m := range mishaps {
			for _, kind := range kinds {
				if m.operation == operation && m.nth == counts[operation] && m.kind == kind {
					return kind
				}
			}
		}
		return ""
	}
	calls := 0
	b.ecs.failCall = func(operation, _ string) error {
		counts[operation]++
		if calls++; calls == interruptAt {
			interrupt()
		}
		for _, v := range vanishing {
			if v.at == calls {
				v.apply(b)
			}
		}
		switch hit(operation, "refuse", "fault", "throttle") {
		case "refuse":
			return apiError("ClientException")
		case "fault":
			return apiError("ServerException")
		case "throttle":
			return apiError("ThrottlingException")
		}
		return nil
	}
	b.ecs.loseResponse = func(operation, _ string) bool { return hit(operation, "lose") != "" }
}

// TestAllOrNothing plays releases with whatever fates, faults, late readings and
// interruptions chance has it, and holds the promise against the end state:
// all services run what the release wanted, or all run what ran before, or it
// says that a human is needed.
func TestAllOrNothing(t *testing.T) {
	fates := []behavior{completes, completes, completes, "", rollsBack, alarms, fails, stays, stopped, undone}
	hostile := []behavior{replaced, vanishes}
	rapid.Check(t, func(t *rapid.T) {
		nasty := rapid.IntRange(0, 9).Draw(t, "nasty") == 0
		draw := func(name string) behavior {
			if nasty {
				return rapid.SampledFrom(append(hostile, fates...)).Draw(t, name)
			}
			return rapid.SampledFrom(fates).Draw(t, name)
		}
		b := newFixture(draw("a"), draw("b"))
		if rapid.IntRange(0, 3).Draw(t, "first release") == 0 {
			b.neverReleased()
		}
		if rapid.Bool().Draw(t, "sidecars") {
			b.addSidecars()
		}
		if rapid.Bool().Draw(t, "a neighbour that is broken") {
			b.addOtherService()
		}
		b.ecs.givesUp = rapid.Bool().Draw(t, "gives up going back")
		b.ecs.noAPI = rapid.Bool().Draw(t, "no service deployments")
		before := map[string]string{"a": b.ecs.running("a"), "b": b.ecs.running("b")}
		lags := rapid.SliceOfN(rapid.IntRange(0, 8), 1, 20).Draw(t, "lags")
		read := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		injectFaults(b, drawFaults(t), drawRemovals(t), rapid.IntRange(0, 60).Draw(t, "interrupted at call"), cancel)
		if rapid.Bool().Draw(t, "late") {
			b.ecs.readLag = func() time.Duration { read++; return time.Duration(lags[read%len(lags)]) * time.Second }
		}
		got := b.engine.Release(ctx, b.request)
		b.ecs.settleAll()
		requirePromise(t, b, before, got)
	})
}

// requirePromise holds the promise against the end state.
func requirePromise(t require.TestingT, b *fixture, old map[string]string, got report.Release) {
	running, wanted := map[string]string{}, map[string]string{}
	changed := 0
	for _, target := range b.request.Targets {
		name := target.Service.Name
		running[name], wanted[name] = b.ecs.running(name), target.Image
		if target.Image != old[name] {
			changed++
		}
	}
	b.requireOtherServiceUntouched(t)
	say := []any{"%s: %s\n%s\ncalls: %s", got.Result, got.Error, b.log(), strings.Join(b.ecs.calls, ", ")}
	switch got.ExitCode {
	case outcome.Done:
		require.Equal(t, wanted, running, say...)
		require.Equal(t, changed == 0, got.Result == report.Unchanged, say...)
	case outcome.Failed, outcome.Refused, outcome.Restored, outcome.Interrupted:
		require.Equal(t, old, running, say...)
		require.NotEmpty(t, got.Error, say...)
	case outcome.Unrestored:
		require.NotEmpty(t, got.Next, say...)
		for _, service := range got.Services {
			switch service.Result {
			case report.Restored, report.Unchanged:
				require.Equal(t, old[service.Name], running[service.Name], say...)
			case report.Failed:
				require.NotEmpty(t, service.Error, say...)
			case report.Succeeded:
				require.Fail(t, "a service of a failed release succeeded", say...)
			}
		}
	default:
		require.Fail(t, "no such verdict", say...)
	}
}
