//go:build unix

// Package example_test rehearses the tree in examples/shop as a whole, and each of its
// failures.
package example_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }

// copyTree copies the example into a repository of its own.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(sourcetest.Repository("examples", "shop"))))
	sourcetest.Git(t, dir, "init", "-q", "-b", "main")
	sourcetest.Commit(t, dir, "the shop")
	return dir
}

// result returns the result of each service.
func results(release report.Release) map[string]report.Result {
	byName := map[string]report.Result{}
	for _, s := range release.Services {
		byName[s.Name] = s.Result
	}
	return byName
}

// all returns a result for every entry of the example. Its job is released after the
// services.
func all(services, job report.Result) map[string]report.Result {
	return map[string]report.Result{"api": services, "cleanup": job, "quotes": services, "worker": services}
}

// TestExample rehearses the example as the command does, with its tests, and orders
// something from the running system.
func TestExample(t *testing.T) {
	t.Parallel()
	view := report.Plain{W: t.Output()}
	p := pipeline.Pipeline{Dir: copyTree(t), Cache: image.CacheDir(), Recorder: report.NewRecorder(time.Now, view)}
	release, err := p.Rehearse(t.Context(), pipeline.RehearseOptions{
		Scenario: string(rehearsal.Happy), Listen: "127.0.0.1:0",
		Up: func(_ string, release report.Release) {
			require.Equal(t, report.Succeeded, release.Result, release.Error)
			if !hasNamespaces(t) {
				return // the tasks have no volume in common
			}
			require.Contains(t, get(t, release.URL+"/api/"), `"schema":2`)
			order(t, release.URL)
			require.Eventually(t, func() bool { return strings.Contains(get(t, release.URL+"/api/"), `"open":0,"packed":1`) }, 10*time.Second, 50*time.Millisecond)
		},
	})
	require.NoError(t, err)
	require.Equal(t, outcome.Done, release.ExitCode, "%+v", release)
	require.Equal(t, all(report.Succeeded, report.Succeeded), results(release))
	require.Zero(t, release.Traffic.Failed, release.Notes)
	require.Positive(t, release.Traffic.Served)
	require.Contains(t, strings.Join(release.Notes, "\n"), "a stand-in runs in place of the image of sidecar telemetry of api: a rehearsal does not pull public.ecr.aws/")
}

// hasNamespaces reports whether each task gets namespaces of its own. Elsewhere its volumes are
// not mounted: see docs/rehearsal.md.
func hasNamespaces(t *testing.T) bool {
	t.Helper()
	s, err := localaws.Start(t.Context(), localaws.Options{Tasks: task.ModeNamespace})
	if errors.Is(err, task.ErrNamespacesUnavailable) {
		return false
	}
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return true
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url) //nolint:noctx // of this test
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

func order(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/orders", strings.NewReader("tea"))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer rehearsal")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusCreated, response.StatusCode)
}

// withFault returns the platform with SHOP_FAULT in the environment of an entry.
func withFault(p platform.Platform, entry, fault string) platform.Platform {
	p.Services = slices.Clone(p.Services)
	for n, s := range p.Services {
		if s.Name == entry {
			p.Services[n].Environment = maps.Clone(s.Environment)
			p.Services[n].Environment["SHOP_FAULT"] = fault
		}
	}
	return p
}

// TestFailures rehearses what can fail. Each fault is only in the new version, or comes
// between the start of the previous one and the release.
func TestFailures(t *testing.T) {
	dir := copyTree(t)
	for name, tt := range map[string]struct {
		entry, fault string
		// before, if set, is called before the release.
		before func(*testing.T, aws.Config)
		volume bool // the fault is seen only with a volume
		code   outcome.Code
		result map[string]report.Result
		want   []string // in the report
	}{
		"the migration fails": {
			entry: "api", fault: "migrate", code: outcome.Failed,
			result: all(report.Unchanged, report.Unchanged),
			want:   []string{"the release task of api failed: container api exited with code 3", "| shop: migrating: orders is locked by another session"},
		},
		"the API is unhealthy": {
			entry: "api", fault: "api", code: outcome.Restored, result: all(report.Restored, report.Unchanged),
			want: []string{"Task failed ELB health checks"},
		},
		"the worker crashes": {
			entry: "worker", fault: "work", code: outcome.Restored, result: all(report.Restored, report.Unchanged),
			want: []string{"Essential container in task exited (exit code 1)", "| shop: reading the queue: no such table"},
		},
		"a sidecar is unhealthy": {
			before: failSidecar, volume: true, code: outcome.Restored, result: all(report.Restored, report.Unchanged),
			want: []string{"audit"},
		},
		"a secret is missing": {
			before: deleteSecret, code: outcome.Failed, result: all(report.Unchanged, report.Unchanged),
			want: []string{"service api: secret arn:aws:secretsmanager:us-east-1:000000000000:secret:shop/database-", "does not exist"},
		},
		"the job fails": {
			entry: "cleanup", fault: "cleanup", code: outcome.Done, result: all(report.Succeeded, report.Succeeded),
			want: []string{"the job cleanup was run once, and failed: container cleanup exited with code 1: shop: listing packed orders: stale file handle"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.volume && !hasNamespaces(t) {
				t.Skip("what fails reads a volume: run as root with CAP_SYS_ADMIN on Linux")
			}
			o := rehearsaltest.Options(t, dir, rehearsal.Happy)
			o.Cache, o.Platform = image.CacheDir(), withFault(o.Platform, tt.entry, tt.fault)
			var config aws.Config
			o.Started = func(s *localaws.Server) { config = rehearsaltest.Config(s.Endpoint()) }
			view := beforeRelease{report.Plain{W: t.Output()}, func() {
				if tt.before != nil {
					tt.before(t, config)
				}
			}}
			release := rehearsal.Run(t.Context(), o, report.NewRecorder(time.Now, view))
			var text strings.Builder
			require.NoError(t, release.Text(&text))
			require.Equal(t, tt.code, release.ExitCode, text.String())
			require.Equal(t, tt.result, results(release), text.String())
			for _, want := range tt.want {
				require.Contains(t, text.String(), want)
			}
			require.Zero(t, release.Traffic.Failed, release.Notes)
		})
	}
}

// brokenBuilder is an executor whose Dockerfiles do not build.
type brokenBuilder struct{ step.Executor }

func (brokenBuilder) BuildSecret(context.Context, string) (string, bool, error) {
	return "", false, nil
}

func (brokenBuilder) BuildDockerfile(context.Context, image.DockerfileBuild) error {
	return &image.BuildError{Builder: "buildah", Output: "STEP 4/6: COPY server.py .\nError: building at STEP \"COPY server.py .\": no such file or directory"}
}

// TestBrokenDockerfile ends before anything is published.
func TestBrokenDockerfile(t *testing.T) {
	t.Parallel()
	o := rehearsaltest.Options(t, copyTree(t), rehearsal.Happy)
	o.Exec, o.Cache = brokenBuilder{o.Exec}, image.CacheDir()
	release := rehearsaltest.Run(t, o)
	require.Equal(t, outcome.Failed, release.ExitCode)
	require.Contains(t, release.Error, "building quotes: quotes/Dockerfile for ")
	require.Contains(t, release.Error, `Error: building at STEP "COPY server.py .": no such file or directory`)
	require.Empty(t, release.Services)
}

// beforeRelease is a view that calls a function when the release begins.
type beforeRelease struct {
	report.Plain
	do func()
}

func (v beforeRelease) Line(text string) {
	if text == "deploy …" {
		v.do()
	}
	v.Plain.Line(text)
}

// failSidecar registers a revision of which the audit sidecar has a fault, as Terraform does
// after a change of the services file: the release copies it.
func failSidecar(t *testing.T, config aws.Config) {
	client := ecs.NewFromConfig(config)
	out, err := client.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("ecs-api-task")})
	require.NoError(t, err)
	d := out.TaskDefinition
	for n, c := range d.ContainerDefinitions {
		if *c.Name == "audit" {
			d.ContainerDefinitions[n].Environment = append(d.ContainerDefinitions[n].Environment, types.KeyValuePair{Name: aws.String("SHOP_FAULT"), Value: aws.String("audit")})
		}
	}
	_, err = client.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: d.Family, NetworkMode: d.NetworkMode, Cpu: d.Cpu, Memory: d.Memory, RequiresCompatibilities: d.RequiresCompatibilities,
		ExecutionRoleArn: d.ExecutionRoleArn, TaskRoleArn: d.TaskRoleArn, RuntimePlatform: d.RuntimePlatform,
		ContainerDefinitions: d.ContainerDefinitions, Volumes: d.Volumes,
	})
	require.NoError(t, err)
}

func deleteSecret(t *testing.T, config aws.Config) {
	_, err := secretsmanager.NewFromConfig(config).DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{
		SecretId: aws.String("shop/database"), ForceDeleteWithoutRecovery: aws.Bool(true),
	})
	require.NoError(t, err)
}
