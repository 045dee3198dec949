package rehearsal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }

// options returns the options of a rehearsal of a small tree.
func options(t *testing.T, scenario rehearsal.Scenario) rehearsal.Options {
	t.Helper()
	o := rehearsaltest.Options(t, sourcetest.New(t), scenario)
	o.Live, o.Cache = true, image.CacheDir()
	return o
}

// silent is a view without output.
type silent struct{ report.Plain }

func (silent) Line(string) {}

func rehearse(ctx context.Context, o rehearsal.Options) report.Release {
	return rehearsal.Run(ctx, o, report.NewRecorder(time.Now, silent{}))
}

func TestScenarios(t *testing.T) {
	exit := func(code int32) *int32 { return &code }
	tests := []struct {
		scenario rehearsal.Scenario
		result   report.Result
		code     outcome.Code
		reason   string // of the cause, "" for none
		exit     *int32
		log      string
	}{
		{rehearsal.Happy, report.Succeeded, outcome.Done, "", nil, ""},
		{rehearsal.Crash, report.Restored, outcome.Restored, "Essential container in task exited", exit(1), "fatal: cannot read configuration"},
		{rehearsal.Unhealthy, report.Restored, outcome.Restored, "Task failed ELB health checks in", nil, "answering 500"},
		{rehearsal.MissingImage, report.Restored, outcome.Restored, "CannotPullContainerError", nil, ""},
		{rehearsal.Hang, report.Restored, outcome.Restored, "Task failed ELB health checks in", nil, "waiting for a lock"},
		{rehearsal.Cancel, report.Interrupted, outcome.Interrupted, "", nil, ""},
		{rehearsal.WrongVersion, report.Restored, outcome.Restored, "", nil, ""},
		{rehearsal.Alarm, report.Restored, outcome.Restored, "", nil, ""},
		{rehearsal.Stopped, report.Restored, outcome.Restored, "", nil, ""},
		{rehearsal.Replaced, report.Failed, outcome.Unrestored, "", nil, ""},
		{rehearsal.Killed, report.Succeeded, outcome.Done, "", nil, ""},
		{rehearsal.LostAnswers, report.Succeeded, outcome.Done, "", nil, ""},
		{rehearsal.Throttled, report.Succeeded, outcome.Done, "", nil, ""},
		{rehearsal.Outage, report.Succeeded, outcome.Done, "", nil, ""},
	}
	dir := sourcetest.New(t) // all deliver the same
	for _, tt := range tests {
		t.Run(string(tt.scenario), func(t *testing.T) {
			t.Parallel()
			o := rehearsaltest.Options(t, dir, tt.scenario)
			o.Live, o.Cache = true, image.CacheDir()
			rehearsaltest.CheckActions(t, &o)
			got := rehearse(t.Context(), o)
			details := fmt.Sprintf("%+v", got)
			require.Equal(t, tt.result, got.Result, details)
			require.Equal(t, tt.code, got.ExitCode, details)
			require.Regexp(t, "^[0-9a-f]{40}$", got.SHA)
			require.Len(t, got.Services, 2)
			require.Equal(t, "previous", got.Services[0].From.SHA)
			require.NotEqual(t, got.Services[0].From.Image, got.Services[0].To.Image)
			require.Contains(t, got.Services[0].To.Image, "@sha256:")
			require.NotEmpty(t, got.Events)
			var document bytes.Buffer
			require.NoError(t, got.JSON(&document))
			schematest.RequireValid(t, "release", document.Bytes())
			require.Zero(t, got.Traffic.Failed, got.Notes)
			require.Positive(t, got.Traffic.Served)
			var names []string
			for _, stage := range got.Stages {
				names = append(names, stage.Name)
			}
			require.Equal(t, []string{"build", "publish", "bootstrap"}, names[:3])
			require.Contains(t, names, "deploy")
			require.Contains(t, names, "preflight", "every scenario is a whole delivery")
			if tt.scenario != rehearsal.Replaced {
				require.Contains(t, names, "smoke", "the smoke test runs after every release")
			}

			if tt.reason == "" {
				return
			}
			require.NotEmpty(t, got.Services[0].Causes, details)
			cause := got.Services[0].Causes[0]
			require.Contains(t, cause.Reason, tt.reason)
			if tt.exit != nil {
				require.Equal(t, tt.exit, cause.ExitCode)
			}
			require.Contains(t, strings.Join(cause.LogTail, "\n"), tt.log)
			require.Equal(t, report.Restored, got.Services[1].Result, "all or none")
		})
	}
}

func TestTests(t *testing.T) {
	o := options(t, rehearsal.Happy)
	o.Test = func(context.Context) error { return errors.New("one test failed") }
	got := rehearse(t.Context(), o)
	require.Equal(t, report.Failed, got.Result)
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Equal(t, "one test failed", got.Error)
	var names []string
	for _, stage := range got.Stages {
		names = append(names, stage.Name)
	}
	require.ElementsMatch(t, []string{"test", "build"}, names, "nothing is published")
}

func TestCompileError(t *testing.T) {
	o := options(t, rehearsal.Happy)
	sourcetest.Write(t, o.Source.Dir, "api/main.go", "package main\n")
	got := rehearse(t.Context(), o)
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Contains(t, got.Error, "building api")
}

// TestWrongVersion has a service that reports a fixed version.
func TestWrongVersion(t *testing.T) {
	o := options(t, rehearsal.Happy)
	main, err := os.ReadFile(o.Source.Dir + "/api/main.go")
	require.NoError(t, err)
	sourcetest.Write(t, o.Source.Dir, "api/main.go", strings.Replace(string(main), `os.Getenv("VERSION")`, `"fixed"`, 1))
	got := rehearse(t.Context(), o)
	require.Equal(t, outcome.Failed, got.ExitCode, "nothing was released")
	require.Contains(t, got.Error, `the services fail the smoke test before any release: /api/ returned version "fixed", want "previous": correct them, or health_path and routes in terraform/services.auto.tfvars.json`)
}

// TestInterrupted cancels a rehearsal at the beginning of each stage.
func TestInterrupted(t *testing.T) {
	dir := sourcetest.New(t)
	for _, at := range []string{"build …", "publish …", "bootstrap …", "deploy …"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			o := rehearsaltest.Options(t, dir, rehearsal.Happy)
			o.Live, o.Cache = true, image.CacheDir()
			rehearsaltest.CheckActions(t, &o)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			view := trigger{at: at, do: func() { cancel(outcome.Interruption("interrupted by the test")) }}
			got := rehearsal.Run(ctx, o, report.NewRecorder(time.Now, view))
			require.Equal(t, report.Interrupted, got.Result, got.Error)
			require.Equal(t, outcome.Interrupted, got.ExitCode)
		})
	}
}

// TestChangedTree rehearses a tree that differs from its commit.
func TestChangedTree(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>not committed</title>")
	got := rehearse(t.Context(), rehearsaltest.Options(t, dir, rehearsal.Happy))
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	require.Regexp(t, "^[0-9a-f]{40}-dirty$", got.SHA)
	require.Equal(t, got.SHA, got.Services[0].To.SHA)
}

// TestCache checks the build cache.
func TestCache(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	o := options(t, rehearsal.Happy)
	o.Cache = t.TempDir()
	view := trigger{at: "publish …", do: func() { cancel(outcome.Interruption("built")) }}
	require.Equal(t, report.Interrupted, rehearsal.Run(ctx, o, report.NewRecorder(time.Now, view)).Result)
	kept, err := os.ReadDir(o.Cache)
	require.NoError(t, err)
	require.Len(t, kept, 3, "the binary, and a layer of each service")
}

// trigger is a view that calls a function on a line.
type trigger struct {
	silent
	at string
	do func()
}

func (v trigger) Line(text string) {
	if text == v.at {
		v.do()
	}
}

func TestParseScenario(t *testing.T) {
	for _, want := range rehearsal.Scenarios() {
		got, err := rehearsal.ParseScenario(string(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := rehearsal.ParseScenario("sunny")
	require.EqualError(t, err, `invalid --scenario "sunny": want one of happy, crash, unhealthy, missing-image, hang, cancel, wrong-version, alarm, stopped, replaced, killed, lost-answers, throttled, outage, bad-canary, alarm-in-bake, hook-timeout, killed-paused, foreign-weights, one-of-three-bad`)
	require.Equal(t, outcome.Usage, outcome.Of(err))
}
