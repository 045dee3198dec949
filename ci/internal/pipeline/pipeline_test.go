package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/adopt"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
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

// TestTree reads and extends a source tree.
func TestTree(t *testing.T) {
	p, _ := in(t)
	before, err := p.Services()
	require.NoError(t, err)
	_, err = p.NewService(t.Context(), "orders", "rust", func(*platform.Service) {})
	require.Equal(t, outcome.Usage, outcome.Of(err))
	added, err := p.NewService(t.Context(), "orders", "go", func(s *platform.Service) { s.CPU, s.Memory = 512, 1024 })
	require.NoError(t, err)
	require.Contains(t, added.Files, "orders/go.mod")
	after, err := p.Services()
	require.NoError(t, err)
	require.Len(t, after, len(before)+1)
	modules, err := p.Modules()
	require.NoError(t, err)
	require.Contains(t, modules, "orders")
	lock, err := p.ImageLock()
	require.NoError(t, err)
	require.Equal(t, "terraform:1", lock.Reference("terraform"))
	commits, err := p.Commits(t.Context(), 5)
	require.NoError(t, err)
	require.Len(t, commits, 2)
	require.Equal(t, strings.TrimSpace(sourcetest.Git(t, p.Dir, "rev-parse", "HEAD")), commits[0].SHA)

	two, _ := inEnvironments(t, "staging")
	environments, err := two.Environments()
	require.NoError(t, err)
	require.Len(t, environments.Matrix, 1, "the one that is named")
	require.Equal(t, "staging", environments.Matrix[0].Environment)
	two.Environment = "stagng"
	_, err = two.Environments()
	require.ErrorContains(t, err, `did you mean "staging"?`)
	_, err = p.Rehearse(t.Context(), pipeline.RehearseOptions{Scenario: "fial"})
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

// TestBuild writes images, which a scan takes as they are.
func TestBuild(t *testing.T) {
	tools := supplychaintest.Install(t)
	tools.SetTrivyReport(`{"SchemaVersion": 2}`)
	p, _ := in(t)
	p.Exec, p.Cache = nil, t.TempDir()
	of := pipeline.ImageOptions{Services: []string{"api"}, Platforms: []string{"linux/amd64"}}
	out := t.TempDir()
	built, err := p.Build(t.Context(), of, out)
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(built), "api")
	of.From = out
	found, err := p.Scan(t.Context(), pipeline.ScanOptions{ImageOptions: of, FailOn: "high"})
	require.NoError(t, err)
	require.Equal(t, []string{"linux/amd64"}, found.Images[0].Platforms)

	_, err = p.Build(t.Context(), pipeline.ImageOptions{Services: []string{"apy"}}, out)
	require.ErrorContains(t, err, "apy")
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = p.Build(t.Context(), pipeline.ImageOptions{Platforms: []string{"amd64"}}, out)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = p.Scan(t.Context(), pipeline.ScanOptions{FailOn: "worst"})
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

// TestLock writes the digests of base images that have changed.
func TestLock(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	host := strings.TrimPrefix(server.URL, "http://")
	reference, err := name.ParseReference(host + "/go:1")
	require.NoError(t, err)
	var index v1.ImageIndex = empty.Index
	for _, one := range image.DefaultPlatforms() {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{Platform: &one}})
	}
	require.NoError(t, remote.WriteIndex(reference, index, remote.WithTransport(transport)))
	digest, err := index.Digest()
	require.NoError(t, err)
	p, _ := in(t)
	sourcetest.Write(t, p.Dir, image.LockFile, `{"images": {"go": {"reference": "`+host+`/go:1"}, "nginx": {"reference": "`+host+`/nginx:1"}}}`)
	for _, check := range []bool{true, false, true} {
		before, err := p.ImageLock()
		require.NoError(t, err)
		result, err := p.Lock(t.Context(), check, "go")
		require.NoError(t, err)
		require.Equal(t, before.Images["go"].Digest != digest.String(), result.Stale())
		after, err := p.ImageLock()
		require.NoError(t, err)
		if check {
			require.Equal(t, before, after)
		} else {
			require.Equal(t, digest.String(), after.Images["go"].Digest)
		}
	}
	_, err = p.Lock(t.Context(), true, "rust")
	require.ErrorContains(t, err, "rust")
}

// TestInit writes a services file of what a cluster runs.
func TestInit(t *testing.T) {
	aw := localawstest.Start(t, localaws.Options{})
	p, _ := in(t)
	p.AWS = func(context.Context) (awsauth.Options, error) {
		return awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: aw.Server.Endpoint()}, nil
	}
	_, err := aw.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("team")})
	require.NoError(t, err)
	definition, err := aw.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("queue"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: types.NetworkModeAwsvpc,
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		ContainerDefinitions:    []types.ContainerDefinition{{Name: aws.String("app"), Image: aws.String("nginx:1")}},
	})
	require.NoError(t, err)
	_, err = aw.ECS.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: aws.String("team"), ServiceName: aws.String("queue"), TaskDefinition: definition.TaskDefinition.TaskDefinitionArn, DesiredCount: aws.Int32(0),
		NetworkConfiguration: localawstest.NetworkConfiguration,
	})
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "services.json")
	for want, o := range map[string]pipeline.FromECSOptions{
		"exists and is not overwritten":                                 {Cluster: "team"},
		"cluster nope does not exist":                                   {Cluster: "nope", Out: out},
		"no service of cluster team has that name: did you mean queue?": {Cluster: "team", Out: out, Paths: []string{"queu=api"}},
		"no service of cluster team has that name: it has queue":        {Cluster: "team", Out: out, Paths: []string{"shop=api"}},
		`invalid --path "queue=../api"`:                                 {Cluster: "team", Out: out, Paths: []string{"queue=../api"}},
		"has no Dockerfile, no go.mod and no site":                      {Cluster: "team", Out: out, Paths: []string{"queue=terraform"}},
	} {
		_, err := p.InitFromECS(t.Context(), o)
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
		require.NoFileExists(t, out)
	}
	written, err := p.InitFromECS(t.Context(), pipeline.FromECSOptions{Cluster: "team", Out: out, Paths: []string{"queue=web"}})
	require.NoError(t, err)
	require.Equal(t, []adopt.Entry{{Name: "queue", Service: "queue", Kind: "nginx"}}, written.Services)
	require.FileExists(t, out)
}
