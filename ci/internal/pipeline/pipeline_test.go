package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/infra"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/sourcetest"
)

// containers is an executor that records its environment and its first step.
type containers struct {
	environment map[string]string
	first       *step.Step
}

var errRan = errors.New("ran")

func (c containers) Run(_ context.Context, s step.Step, _ string) (step.Result, error) {
	*c.first = s
	return step.Result{}, errRan
}

// in returns a pipeline on a tree with a platform, and its executor.
func in(t *testing.T) (pipeline.Pipeline, *containers) {
	t.Helper()
	dir, made := sourcetest.New(t), &containers{first: new(step.Step)}
	sourcetest.Write(t, dir, "terraform/main.tf", "variable \"services\" {}\n")
	sourcetest.Write(t, dir, image.LockFile, `{"images": {"go": {"reference": "go:1"}, "nginx": {"reference": "nginx:1"}, "terraform": {"reference": "terraform:1"}}}`)
	sourcetest.Commit(t, dir, "platform")
	return pipeline.Pipeline{
		Dir: dir, Recorder: report.NewRecorder(time.Now, report.Plain{W: new(bytes.Buffer)}),
		Exec: func(environment map[string]string) step.Executor {
			made.environment = environment
			return *made
		},
		AWS: func(context.Context) (awsauth.Options, error) {
			return awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: "http://127.0.0.1:1"}, nil
		},
	}, made
}

// TestContainerImageAndEnv checks that containers get the locked image and only the
// credentials that the stage needs, but no other environment variables.
func TestContainerImageAndEnv(t *testing.T) {
	session := map[string]string{
		"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
	}
	of := pipeline.TerraformOptions{Dir: "./terraform/"}
	for name, tt := range map[string]struct {
		run         func(pipeline.Pipeline) error
		image       string
		environment map[string]string
	}{
		"plan": {func(p pipeline.Pipeline) error {
			_, err := p.Plan(t.Context(), of, infra.PlanOptions{Out: t.TempDir()})
			return err
		}, "terraform:1", session},
		"validate": {func(p pipeline.Pipeline) error {
			_, err := p.Validate(t.Context(), of.Dir)
			return err
		}, "terraform:1", nil},
		"test": {func(p pipeline.Pipeline) error {
			_, err := p.Test(t.Context(), pipeline.TestOptions{})
			return err
		}, "go:1", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, made := in(t)
			require.ErrorIs(t, tt.run(p), errRan)
			require.Equal(t, tt.image, made.first.Image)
			require.Equal(t, tt.environment, made.environment)
		})
	}
}

func TestChanges(t *testing.T) {
	p, _ := in(t)
	before := sourcetest.Git(t, p.Dir, "rev-parse", "HEAD")
	sourcetest.Write(t, p.Dir, "terraform/more.tf", "locals {}\n")
	sourcetest.Commit(t, p.Dir, "more")
	found, err := p.Changes(t.Context(), before[:40])
	require.NoError(t, err)
	require.False(t, found.Deploy)
	require.True(t, found.Plan)
}
