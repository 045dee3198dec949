package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestInit(t *testing.T) {
	p := inAccount(t, ecrtypes.ImageTagMutabilityMutable)
	_, err := p.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("team")})
	require.NoError(t, err)
	for _, name := range []string{"api", "queue"} {
		definition, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: &name, Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
			RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/exec"),
			ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("app"), Image: aws.String("nginx:1")}},
		})
		require.NoError(t, err)
		_, err = p.ECS.CreateService(t.Context(), &ecs.CreateServiceInput{
			Cluster: aws.String("team"), ServiceName: &name, TaskDefinition: definition.TaskDefinition.TaskDefinitionArn, DesiredCount: aws.Int32(0),
			LaunchType: ecstypes.LaunchTypeFargate, NetworkConfiguration: localawstest.NetworkConfiguration,
		})
		require.NoError(t, err)
	}
	dir := sourcetest.New(t)
	before, err := os.ReadFile(filepath.Join(dir, platform.ServicesFile))
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "services.json")

	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a flag of clusters":     {[]string{"--out", out}, "--out needs a cluster to read: name it with --from-ecs CLUSTER, or leave it out"},
		"a flag of repositories": {[]string{"--from-ecs", "team", "--port", "80"}, "--port does not go with --from-ecs, which writes only the services file: leave it out, and run slipway init --without services afterwards"},
		"an invalid version":     {[]string{"--version", "latest"}, `invalid --version "latest": want a version like v1.2.3`},
		"an existing file":       {[]string{"--from-ecs", "team"}, "services.auto.tfvars.json exists and is not overwritten: write another file with --out, or replace it with --force"},
		"unknown cluster":        {[]string{"--from-ecs", "nope", "--out", out}, "cluster nope does not exist: check its name, account and region"},
		"a path of nothing":      {[]string{"--from-ecs", "team", "--out", out, "--path", "apy=api"}, "invalid --path apy=api: no service of cluster team has that name: did you mean api?"},
		"no pair":                {[]string{"--from-ecs", "team", "--out", out, "--path", "api"}, `invalid --path "api": want NAME=FOLDER`},
		"an outer folder":        {[]string{"--from-ecs", "team", "--out", out, "--path", "api=../x"}, `invalid --path "api=../x": want NAME=FOLDER`},
		"an empty folder":        {[]string{"--from-ecs", "team", "--out", out, "--path", "api=terraform"}, "folder terraform has no Dockerfile, no go.mod and no site"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"init", "--source", dir}, tt.args...)...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Contains(t, stderr, tt.want)
			require.Equal(t, 1, strings.Count(stderr, "\n"), "one clear line")
			require.Empty(t, stdout)
			require.NoFileExists(t, out)
		})
	}
	after, err := os.ReadFile(filepath.Join(dir, platform.ServicesFile))
	require.NoError(t, err)
	require.Equal(t, before, after)

	code, stdout, stderr := run(t, "init", "--source", dir, "--from-ecs", "team", "--path", "api=api", "--out", out)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, out+": 2 services of cluster team\n  api                       go         api\n  queue                     image      queue\nnote: ")
	require.Contains(t, stdout, "slipway diff")
	document, err := os.ReadFile(out)
	require.NoError(t, err)
	written, err := platform.Parse(document)
	require.NoError(t, err)
	require.Equal(t, "api", written.Services[0].Path)
	require.Equal(t, "team", written.Services[1].ClusterName())

	for _, format := range []string{"json", "markdown"} {
		code, stdout, stderr = run(t, "init", "--source", dir, "--from-ecs", "team", "--force", "--output", format)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, "queue")
	}
	_, err = platform.Read(dir)
	require.NoError(t, err)
}

// TestInitServicesFile writes the services file alone, which any build of slipway can: it names
// no release.
func TestInitServicesFile(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Git(t, dir, "rm", "-q", platform.ServicesFile)
	sourcetest.Commit(t, dir, "no services file")
	code, _, stderr := run(t, "init", "--source", dir, "--yes")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, "name a version with --version")
	require.NoFileExists(t, filepath.Join(dir, platform.ServicesFile))
	code, _, stderr = run(t, "init", "--source", dir, "--yes", "--without", "terraform,workflow,dagger")
	require.Equal(t, outcome.Done, code, stderr)
	require.FileExists(t, filepath.Join(dir, platform.ServicesFile))
}
