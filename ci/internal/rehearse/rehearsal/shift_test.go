package rehearsal_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestShifts rehearses releases that shift traffic.
func TestShifts(t *testing.T) {
	tests := []struct {
		scenario rehearsal.Scenario
		strategy string
		result   report.Result // of the release and of all services, if it changed any
		code     outcome.Code
		reason   string // of the error, "" for none
		strategies,
		served string // "" if the new version served production requests, or why not
	}{
		{rehearsal.Happy, "linear", report.Succeeded, outcome.Done, "", "LINEAR", ""},
		{rehearsal.Crash, "canary", report.Restored, outcome.Restored, "api: ", "CANARY", "none"},
		{rehearsal.Hang, "blue_green", report.Restored, outcome.Restored, "api: ", "BLUE_GREEN", "none"},
		{rehearsal.BadCanary, "", report.Restored, outcome.Restored, "by the load balancer's figures, the new version answered", "CANARY", ""},
		{rehearsal.AlarmInBake, "", report.Restored, outcome.Restored, "deployment alarm ecs-api-service-errors triggered", "BLUE_GREEN", ""},
		{rehearsal.HookTimeout, "", report.Refused, outcome.Refused, "no release is paused: the last one is over", "", "none"},
		{rehearsal.KilledPaused, "", report.Succeeded, outcome.Done, "", "CANARY", ""},
		{rehearsal.ForeignWeights, "", report.Refused, outcome.Refused, "sends 10 % of its traffic to target group ecs-api-t2", "", "none"},
		{rehearsal.OneOfThreeBad, "", report.Restored, outcome.Restored, `testing the new version: /api/ returned version "of yesterday"`, "BLUE_GREEN", "none"},
		{rehearsal.Cancel, "canary", report.Interrupted, outcome.Interrupted, "interrupted", "CANARY", "none"},
	}
	dir := sourcetest.New(t)
	for _, tt := range tests {
		t.Run(string(tt.scenario), func(t *testing.T) {
			t.Parallel()
			o := rehearsaltest.Options(t, dir, tt.scenario)
			o.Live, o.Cache, o.Strategy = true, image.CacheDir(), tt.strategy
			rehearsaltest.CheckActions(t, &o)
			got := rehearse(t.Context(), o)
			details := fmt.Sprintf("%+v", got)
			require.Equal(t, tt.result, got.Result, details)
			require.Equal(t, tt.code, got.ExitCode, details)
			require.Contains(t, got.Error, tt.reason)
			require.Equal(t, tt.reason == "", got.Error == "", details)
			var document bytes.Buffer
			require.NoError(t, got.JSON(&document))
			schematest.RequireValid(t, "release", document.Bytes())
			if tt.scenario != rehearsal.BadCanary && tt.scenario != rehearsal.ForeignWeights {
				require.Zero(t, got.Traffic.Failed, got.Notes)
			}
			require.Positive(t, got.Traffic.Served)
			require.Len(t, got.Services, map[bool]int{true: 3, false: 2}[tt.scenario == rehearsal.OneOfThreeBad])
			notes := strings.Join(got.Notes, "\n")
			for _, s := range got.Services {
				if tt.strategies == "" {
					require.Equal(t, report.Unchanged, s.Result, details)
				} else {
					require.Equal(t, tt.strategies, s.Strategy, details)
				}
				none := "production requests of " + s.Name + ": the new version served 0, the previous one "
				if tt.served == "none" {
					require.Contains(t, notes, none)
				} else {
					require.NotContains(t, notes, none)
				}
			}
		})
	}
}

// TestStrategyOfEntry rehearses a tree whose entry has a strategy, beside one that only
// rolls: a blue/green deployment without a bake.
func TestStrategyOfEntry(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, platform.ServicesFile, strings.Replace(sourcetest.Services, `"port": 8000,`, `"port": 8000, "strategy": {"type": "blue_green", "bake_minutes": 0},`, 1))
	got := rehearse(t.Context(), rehearsaltest.Options(t, dir, rehearsal.Happy))
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Zero(t, got.Traffic.Failed, got.Notes)
	require.Equal(t, "BLUE_GREEN", got.Services[0].Strategy)
	require.Empty(t, got.Services[1].Strategy)
}

func TestStrategyErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		strategy string
		scenario rehearsal.Scenario
		change   func(*platform.Service)
		want     string
	}{
		"unknown":            {"green", rehearsal.Happy, nil, `invalid --strategy "green": want rolling, blue_green, canary or linear`},
		"rolling":            {"rolling", rehearsal.BadCanary, nil, "--scenario bad-canary needs traffic that is shifted: leave out --strategy rolling"},
		"no traffic":         {"canary", rehearsal.Happy, func(s *platform.Service) { s.Port, s.HealthPath, s.Routes = 0, "", nil }, "strategy canary: no service of " + platform.ServicesFile + " has traffic to shift: it needs a port, and at most five routes"},
		"scenario, no ports": {"", rehearsal.OneOfThreeBad, func(s *platform.Service) { s.Port, s.HealthPath, s.Routes = 0, "", nil }, "strategy blue_green: no service of "},
		"order of rules": {"canary", rehearsal.Happy, func(s *platform.Service) {
			if s.Name == "api" {
				s.Routes = []string{"/api/x", "/*"}
			} else {
				s.Routes = []string{"/api/*"}
			}
		}, `strategy canary: service "api": strategy "canary" puts all its routes in one listener rule`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, tt.scenario)
			o.Strategy = tt.strategy
			for n := range o.Platform.Services {
				if tt.change != nil {
					tt.change(&o.Platform.Services[n])
				}
			}
			got := rehearse(t.Context(), o)
			require.Equal(t, outcome.Usage, got.ExitCode)
			require.Contains(t, got.Error, tt.want)
			require.Empty(t, got.Stages)
		})
	}
}
