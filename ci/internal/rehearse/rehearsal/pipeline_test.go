package rehearsal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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

// TestPipeline rehearses both environments, with the fault in either.
func TestPipeline(t *testing.T) {
	tests := []struct {
		scenario            rehearsal.Scenario
		faultIn             string
		staging, production report.Result // of the first service
		code                outcome.Code
		stagingCode         outcome.Code
		reason              string // of the error
	}{
		{rehearsal.Happy, "", report.Succeeded, report.Succeeded, outcome.Done, outcome.Done, ""},
		{rehearsal.Crash, "", report.Restored, report.Unchanged, outcome.Failed, outcome.Restored, "not promoted to production: the release in staging is restored: "},
		{rehearsal.Crash, "production", report.Succeeded, report.Restored, outcome.Restored, outcome.Done, "api: "},
		{rehearsal.WrongVersion, "production", report.Succeeded, report.Restored, outcome.Restored, outcome.Done, `version "of yesterday"`},
		{rehearsal.MissingImage, "production", report.Succeeded, report.Restored, outcome.Restored, outcome.Done, "api: "},
		{rehearsal.Cancel, "staging", report.Restored, report.Unchanged, outcome.Interrupted, outcome.Interrupted, "not promoted to production: the release in staging is interrupted"},
		{rehearsal.Cancel, "production", report.Succeeded, report.Restored, outcome.Interrupted, outcome.Done, "interrupted by the rehearsal's scenario"},
		{rehearsal.Replaced, "staging", report.Failed, report.Unchanged, outcome.Unrestored, outcome.Unrestored, "not promoted to production: the release in staging is failed"},
		{rehearsal.Killed, "production", report.Succeeded, report.Succeeded, outcome.Done, outcome.Done, ""},
	}
	dir := sourcetest.New(t)
	for _, tt := range tests {
		t.Run(strings.TrimSuffix(string(tt.scenario)+" in "+tt.faultIn, " in "), func(t *testing.T) {
			t.Parallel()
			o := rehearsaltest.Options(t, dir, tt.scenario)
			o.Live, o.Cache = true, image.CacheDir()
			got := rehearsal.RunPipeline(t.Context(), o, rehearsal.PipelineOptions{FaultIn: tt.faultIn, Soak: 10 * time.Millisecond}, report.NewRecorder(time.Now, silent{}))
			details := fmt.Sprintf("%+v\n%+v", got, got.Staging)
			require.Equal(t, tt.code, got.ExitCode, details)
			require.Contains(t, got.Error, tt.reason)
			require.Equal(t, tt.reason == "", got.Error == "", details)
			require.NotNil(t, got.Staging)
			require.Equal(t, tt.stagingCode, got.Staging.ExitCode, details)
			require.Equal(t, []string{"staging", "production"}, []string{got.Staging.Environment, got.Environment})
			require.Regexp(t, "^[0-9a-f]{40}$", got.SHA)
			require.Equal(t, got.SHA, got.Staging.SHA)
			require.Len(t, got.Services, 2)
			require.Equal(t, tt.staging, got.Staging.Services[0].Result, details)
			require.Equal(t, tt.production, got.Services[0].Result, details)
			require.Zero(t, got.Staging.Traffic.Failed, details)
			require.Contains(t, got.Staging.Services[0].From.TaskDefinition, "111111111111:task-definition/stg-api-task:")
			stages := map[string]bool{}
			for _, stage := range got.Stages {
				stages[stage.Name] = true
			}
			require.True(t, stages["build"] && stages["bootstrap"] && stages["staging"], details)
			promoted := got.Staging.ExitCode == outcome.Done
			require.Equal(t, promoted, stages["soak"] && stages["copy"], details)
			require.Equal(t, tt.code != outcome.Done, stages["verify"], details)
			if promoted {
				require.Zero(t, got.Traffic.Failed, details)
				require.Equal(t, "staging", got.PromotedFrom.Environment)
				require.Contains(t, got.Services[0].From.TaskDefinition, "222222222222:task-definition/ecs-api-task:")
				for n := range got.Services {
					_, staging, _ := strings.Cut(got.Staging.Services[n].To.Image, "@")
					_, production, _ := strings.Cut(got.Services[n].To.Image, "@")
					require.Equal(t, staging, production, "the same digest")
				}
			}
			if tt.code == outcome.Unrestored {
				require.Equal(t, got.Staging.Next, got.Next)
			}
			var document bytes.Buffer
			require.NoError(t, got.JSON(&document))
			schematest.RequireValid(t, "release", document.Bytes())
			document.Reset()
			require.NoError(t, got.Text(&document))
			require.Contains(t, document.String(), "staging: "+got.SHA[:12]+": "+string(got.Staging.Result))
			require.Contains(t, document.String(), "\nproduction: "+got.SHA[:12]+": "+string(got.Result))
			document.Reset()
			require.NoError(t, got.Markdown(&document))
			require.Contains(t, document.String(), "## Release `"+got.SHA[:12]+"` to production: "+string(got.Result))
			require.Contains(t, document.String(), "### Release `"+got.SHA[:12]+"` to staging: "+string(got.Staging.Result))
		})
	}
}

// TestPipelineOfTree uses the environments of the source tree.
func TestPipelineOfTree(t *testing.T) {
	o := options(t, rehearsal.Happy)
	count := 1
	var endpoints []string
	p := rehearsal.PipelineOptions{
		Environments: []platform.Environment{
			{Name: "production", AccountID: "333333333333", Region: "eu-central-1", NamePrefix: "live", File: "p"},
			{Name: "qa", AccountID: "444444444444", File: "q"},
			{Name: "staging", AccountID: "333333333333", Region: "eu-central-1", NamePrefix: "try", File: "s", Overrides: map[string]platform.Override{"api": {DesiredCount: &count}}},
		},
		Soak: 10 * time.Millisecond,
		Up: func(staging, production string, release report.Release) {
			endpoints = append(endpoints, staging, production)
			require.Equal(t, "production", release.Environment)
		},
	}
	got := rehearsal.RunPipeline(t.Context(), o, p, report.NewRecorder(time.Now, silent{}))
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Contains(t, got.Staging.Services[0].To.TaskDefinition, "arn:aws:ecs:eu-central-1:333333333333:task-definition/try-api-task:")
	require.Contains(t, got.Services[0].To.TaskDefinition, "arn:aws:ecs:eu-central-1:333333333333:task-definition/live-api-task:")
	require.Len(t, endpoints, 2)
}

func TestPipelineErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*rehearsal.Options, *rehearsal.PipelineOptions)
		code   outcome.Code
		want   string
	}{
		"unknown environment": {func(_ *rehearsal.Options, p *rehearsal.PipelineOptions) { p.FaultIn = "qa" }, outcome.Usage, `invalid --fault-in "qa": want staging or production`},
		"tests fail": {func(o *rehearsal.Options, _ *rehearsal.PipelineOptions) {
			o.Test = func(context.Context) error { return errors.New("one test failed") }
		}, outcome.Failed, "one test failed"},
		"override of another tree": {func(_ *rehearsal.Options, p *rehearsal.PipelineOptions) {
			p.Environments = []platform.Environment{{Name: "production"}, {Name: "staging", File: "s", Overrides: map[string]platform.Override{"ap": {}}}}
		}, outcome.Usage, `did you mean "api"?`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, p := options(t, rehearsal.Happy), rehearsal.PipelineOptions{}
			tt.change(&o, &p)
			got := rehearsal.RunPipeline(t.Context(), o, p, report.NewRecorder(time.Now, silent{}))
			require.Equal(t, tt.code, got.ExitCode)
			require.Contains(t, got.Error, tt.want)
			require.Nil(t, got.Staging)
			for _, s := range got.Services {
				require.Equal(t, report.Unchanged, s.Result)
			}
		})
	}
}
