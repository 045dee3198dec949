package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/check/doctor"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine returns checks that succeed, except those in missing.
func machine(missing ...string) []doctor.Check {
	checks := doctor.Checks(".")
	for n := range checks {
		checks[n].Run = func(context.Context) (string, error) { return "there", nil }
		for _, name := range missing {
			if checks[n].Name == name {
				checks[n].Run = func(context.Context) (string, error) { return "", errors.New("not there:\nget it") }
			}
		}
	}
	return checks
}

func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		missing, stages []string
		ready           bool
		want            map[string]string
	}{
		"all there":                   {nil, nil, true, map[string]string{"test": "ready", "deploy": "ready", "dagger": "ready"}},
		"no account, asked about all": {[]string{"credentials"}, nil, true, map[string]string{"deploy": "cannot", "rehearse": "ready", "plan": "cannot"}},
		"no account, asked about it":  {[]string{"credentials"}, []string{"deploy"}, false, map[string]string{"deploy": "cannot"}},
		"no Go":                       {[]string{"go"}, nil, false, map[string]string{"test": "cannot", "deploy": "limited", "status": "ready"}},
		"no builder":                  {[]string{"builder"}, nil, false, map[string]string{"build": "cannot", "deploy": "limited", "rehearse": "limited"}},
		"no compiler":                 {[]string{"compiler"}, []string{"test"}, true, map[string]string{"test": "limited"}},
		"needed and wanted":           {[]string{"terraform"}, []string{"lint", "plan"}, false, map[string]string{"lint": "limited", "plan": "cannot"}},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := doctor.Run(t.Context(), machine(tt.missing...), tt.stages...)
			require.NoError(t, err)
			require.Equal(t, tt.ready, report.Ready)
			got := map[string]string{}
			for _, s := range report.Stages {
				got[s.Stage] = s.Fitness
			}
			for stage, fitness := range tt.want {
				require.Equal(t, fitness, got[stage], stage)
			}
			if len(tt.stages) > 0 {
				require.Len(t, report.Stages, len(tt.stages))
				require.Less(t, len(report.Results), len(machine()), "only what they need is checked")
			}
		})
	}
}

func TestUnknownStage(t *testing.T) {
	require.NoError(t, doctor.CheckStages([]string{"deploy", "plan"}))
	err := doctor.CheckStages([]string{"deploi"})
	require.EqualError(t, err, `unknown stage "deploi": did you mean deploy?`)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.ErrorContains(t, doctor.CheckStages([]string{"weather"}), `unknown stage "weather": want one of test, lint,`)
}

func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := doctor.Run(ctx, machine())
	require.ErrorIs(t, err, context.Canceled)
}

func TestReport(t *testing.T) {
	report, err := doctor.Run(t.Context(), machine("compiler", "credentials"), "test", "deploy", "build")
	require.NoError(t, err)
	var text, markdown, document bytes.Buffer
	require.NoError(t, report.Text(&text))
	require.NoError(t, report.Markdown(&markdown))
	require.NoError(t, report.JSON(&document))
	require.Contains(t, text.String(), "go               ok       there\n")
	require.Contains(t, text.String(), "compiler         missing  not there: get it\n")
	require.Contains(t, text.String(), "test             limited  limited without compiler\n")
	require.Contains(t, text.String(), "deploy           cannot   needs credentials\n")
	require.Contains(t, text.String(), "build            ready\n")
	require.Contains(t, markdown.String(), "| deploy | cannot | needs credentials |\n")
	var read doctor.Report
	require.NoError(t, json.Unmarshal(document.Bytes(), &read))
	require.Equal(t, report, read)
}

// TestChecks runs the checks of the machine that the test runs on, against a tree
// that is complete and an AWS that does not answer.
func TestChecks(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_ACCESS_KEY_ID", "any")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	report, err := doctor.Run(t.Context(), doctor.Checks(sourcetest.New(t)))
	require.NoError(t, err)
	for _, found := range report.Results {
		require.NotEmpty(t, found.Detail, found.Name)
		switch found.Name {
		case "go", "git", "tree", "services", "lock":
			require.Equal(t, "ok", found.State, found.Detail)
		case "credentials":
			require.Equal(t, "missing", found.State, found.Detail)
		}
	}
}

// TestBuilder checks that a builder is missing only if a service has a Dockerfile.
func TestBuilder(t *testing.T) {
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(git, filepath.Join(bin, "git")))
	t.Setenv("PATH", bin)
	dir := sourcetest.New(t)
	builder := func() (string, error) {
		checks := doctor.Checks(dir)
		return checks[slices.IndexFunc(checks, func(c doctor.Check) bool { return c.Name == "builder" })].Run(t.Context())
	}
	found, err := builder()
	require.NoError(t, err)
	require.Equal(t, "no service has a Dockerfile", found)
	sourcetest.Write(t, dir, "terraform/services.auto.tfvars.json", `{"services": {"app": {"kind": "dockerfile", "path": "app", "cpu": 256, "memory": 512, "desired_count": 1}}}`)
	_, err = builder()
	require.ErrorContains(t, err, "none of docker buildx, podman and buildah works here, and a Dockerfile needs one: install")
	require.NoError(t, os.WriteFile(filepath.Join(bin, "buildah"), []byte("#!/bin/sh\n"), 0o755))
	found, err = builder()
	require.NoError(t, err)
	require.Equal(t, "buildah", found)
}
