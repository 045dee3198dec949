package rollout_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// callFault is a fault at the nth call of an operation.
type callFault struct {
	operation string
	nth       int
	kind      string // refuse, fault, throttle, lose
}

var operations = []string{
	"UpdateService", "ContinueServiceDeployment", "StopServiceDeployment", "DescribeServices", "DescribeServiceDeployments", "ListServiceDeployments",
	"RegisterTaskDefinition", "ListTasks", "GetSchedule", "UpdateSchedule",
}

// removal deletes or deregisters something at a call of a release, as a clean-up or a
// lifecycle policy may do.
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
	}), 0, 2).Draw(t, "removals")
}

// apply removes something from the fixture.
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
	}), 0, 6).Draw(t, "faults")
}

// injectFaults injects faults and removals, each once.
func injectFaults(b *fixture, faults []callFault, removals []removal, interruptAt int, interrupt func()) {
	counts := map[string]int{}
	hit := func(operation string, kinds ...string) string {
		for _, m := range faults {
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
		for _, v := range removals {
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

// TestAllOrNothing releases with random behaviors, faults, stale reads and
// interruptions, and checks the end state: all services run the new version, or all the
// previous one, or the exit code is 4.
func TestAllOrNothing(t *testing.T) {
	usual := []behavior{completes, completes, completes, "", rollsBack, alarms, fails, stays, stopped, undone}
	foreign := []behavior{replaced, vanishes}
	rapid.Check(t, func(t *rapid.T) {
		withForeign := rapid.IntRange(0, 9).Draw(t, "with foreign deployments") == 0
		draw := func(name string) behavior {
			if withForeign {
				return rapid.SampledFrom(append(foreign, usual...)).Draw(t, name)
			}
			return rapid.SampledFrom(usual).Draw(t, name)
		}
		b := newFixture(draw("a"), draw("b"))
		if rapid.IntRange(0, 3).Draw(t, "first release") == 0 {
			b.neverReleased()
		}
		if rapid.Bool().Draw(t, "shifts traffic") {
			drawShifts(t, b)
		}
		if rapid.Bool().Draw(t, "sidecars") {
			b.addSidecars()
		}
		if rapid.Bool().Draw(t, "another service") {
			b.addOtherService()
		}
		if rapid.Bool().Draw(t, "a job") {
			b.addJob(oldImage, "good@sha256:new")
		}
		b.ecs.givesUp = rapid.Bool().Draw(t, "rollbacks end")
		b.ecs.noAPI = rapid.Bool().Draw(t, "no service deployments")
		before := map[string]string{}
		for _, target := range b.request.Targets {
			before[target.Service.Name] = b.ecs.running(target.Service.Name)
		}
		lags := rapid.SliceOfN(rapid.IntRange(0, 8), 1, 20).Draw(t, "lags")
		read := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		injectFaults(b, drawFaults(t), drawRemovals(t), rapid.IntRange(0, rapid.SampledFrom([]int{0, 60, 400}).Draw(t, "interrupted within")).Draw(t, "interrupted at call"), cancel)
		if rapid.Bool().Draw(t, "stale reads") {
			b.ecs.readLag = func() time.Duration { read++; return time.Duration(lags[read%len(lags)]) * time.Second }
		}
		got := b.engine.Release(ctx, b.request)
		b.ecs.settleAll()
		requirePromise(t, b, before, got)
		if got.ExitCode != outcome.Unrestored {
			requireShifted(t, b)
		}
	})
}

// drawShifts gives the services strategies, and makes tests and stages fail.
func drawShifts(t *rapid.T, b *fixture) {
	for n := range b.request.Targets {
		target := &b.request.Targets[n]
		strategy := rapid.SampledFrom([]platform.Strategy{blueGreen, canary, linear, {Type: platform.Rolling}}).Draw(t, "strategy")
		target.Service.Strategy, target.Shift = &strategy, fakeShift()
		service := target.Service.ServiceName()
		b.ecs.services[service].web = rapid.IntRange(0, 4).Draw(t, "web") > 0
		if rapid.IntRange(0, 2).Draw(t, "alarm") == 0 {
			b.ecs.failAt[service+" "+rapid.SampledFrom(fakeStageNames).Draw(t, "alarm at")] = true
		}
	}
	failing := func(name string) error {
		if rapid.IntRange(0, 9).Draw(t, name) == 0 {
			return errors.New(name)
		}
		return nil
	}
	test, verify, traffic := failing("test"), failing("verify"), failing("traffic")
	b.request.TestNew = func(context.Context, map[string]string) error { return test }
	b.request.Verify = func(context.Context, map[string]string) error { return verify }
	b.request.CheckTraffic = func(context.Context, []rollout.ShiftedTraffic) error { return traffic }
}

// requirePromise checks the end state against the report.
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
	message := []any{"%s: %s\n%s\ncalls: %s", got.Result, got.Error, b.log(), strings.Join(b.ecs.calls, ", ")}
	switch got.ExitCode {
	case outcome.Done:
		require.Equal(t, wanted, running, message...)
		require.Equal(t, changed == 0, got.Result == report.Unchanged, message...)
	case outcome.Failed, outcome.Refused, outcome.Restored, outcome.Interrupted:
		require.Equal(t, old, running, message...)
		require.NotEmpty(t, got.Error, message...)
	case outcome.Unrestored:
		require.NotEmpty(t, got.Next, message...)
		for _, service := range got.Services {
			switch service.Result {
			case report.Restored, report.Unchanged:
				require.Equal(t, old[service.Name], running[service.Name], message...)
			case report.Failed:
				require.NotEmpty(t, service.Error, message...)
			case report.Succeeded:
				require.Fail(t, "a service of a failed release succeeded", message...)
			}
		}
	default:
		require.Fail(t, "unexpected exit code", message...)
	}
}
