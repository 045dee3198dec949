package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// inAccount starts an embedded AWS, which has the repositories of the small tree's
// services, and makes it the one that commands find.
func inAccount(t *testing.T, mutability ecrtypes.ImageTagMutability, services ...string) *localawstest.Platform {
	t.Helper()
	p := inEmptyAccount(t, localaws.Options{})
	for _, name := range services {
		_, err := p.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{
			RepositoryName: aws.String(platform.Service{Name: name}.Repository()), ImageTagMutability: mutability,
		})
		require.NoError(t, err)
	}
	return p
}

// inEmptyAccount starts an embedded AWS and makes it the one that commands find.
func inEmptyAccount(t *testing.T, o localaws.Options) *localawstest.Platform {
	t.Helper()
	p := localawstest.Start(t, o)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": p.Server.Endpoint(), "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": platform.DefaultRegion,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	return p
}

// dockerLogin logs in to the account's registry, at host, the way Docker does.
func dockerLogin(t *testing.T, p *localawstest.Platform, host string) {
	t.Helper()
	out, err := p.ECR.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	require.NoError(t, err)
	docker := t.TempDir()
	t.Setenv("DOCKER_CONFIG", docker)
	login := `{"auths": {"` + host + `": {"auth": "` + aws.ToString(out.AuthorizationData[0].AuthorizationToken) + `"}}}`
	require.NoError(t, os.WriteFile(filepath.Join(docker, "config.json"), []byte(login), 0o600))
}

func TestPublish(t *testing.T) {
	p := inAccount(t, ecrtypes.ImageTagMutabilityMutable, "api", "web")
	dir := sourcetest.New(t)
	at := []string{"--source", dir, "--platform", "linux/amd64", "--output", "json"}
	code, stdout, stderr := run(t, append([]string{"publish"}, at...)...)
	require.Equal(t, outcome.Done, code, stderr)
	first := decode[delivery.Published](t, stdout)
	sha := head(t, dir)
	require.Equal(t, sha, first.SHA)
	require.Equal(t, p.Server.Registry(), first.Registry)
	require.Len(t, first.Images, 2)
	for n, service := range []string{"api", "web"} {
		got := first.Images[n]
		require.Equal(t, service, got.Service)
		require.True(t, got.Pushed)
		require.Equal(t, sha, got.Tag)
		require.Equal(t, p.Server.Registry()+"/"+platform.Service{Name: service}.Repository()+"@"+got.Digest, got.Image)
		require.Equal(t, int64(2), got.Blobs)
		require.Greater(t, got.Bytes, int64(500))
		require.Equal(t, registry.LatestMoved, got.Latest.Result)
		require.Equal(t, []string{"linux/amd64"}, got.Platforms)
	}
	require.Contains(t, first.Images[1].Baseless, "cannot be reached")
	require.Contains(t, stderr, "web: is built without its base, for an embedded registry only")

	t.Run("again", func(t *testing.T) {
		code, stdout, _ := run(t, append([]string{"publish", "--service", "api"}, at...)...)
		require.Equal(t, outcome.Done, code)
		again := decode[delivery.Published](t, stdout)
		require.Len(t, again.Images, 1)
		require.False(t, again.Images[0].Pushed)
		require.Zero(t, again.Images[0].UploadStats)
		require.Equal(t, "tag "+sha+" already existed", again.Images[0].Latest.Reason)
	})
	t.Run("what build wrote", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "build")
		code, _, stderr := run(t, "build", "--source", dir, "--platform", "linux/amd64", "--out", out)
		require.Equal(t, outcome.Done, code, stderr)
		code, stdout, stderr := run(t, "publish", "--source", dir, "--from", out, "--latest")
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, "api          unchanged "+first.Images[0].Image+"  0 blobs, 0.0 MB\n             tag "+sha+"; latest unchanged\n")

		require.NoError(t, os.RemoveAll(filepath.Join(out, "web")))
		code, _, stderr = run(t, "publish", "--source", dir, "--from", out)
		require.Equal(t, outcome.Usage, code)
		require.Contains(t, stderr, "opening the layout of web")
		require.Contains(t, stderr, "write it with slipway build --out "+out)
	})
	t.Run("another registry", func(t *testing.T) {
		dockerLogin(t, p, p.Server.Registry())
		_, err := p.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/" + platform.Service{Name: "api"}.Repository())})
		require.NoError(t, err)
		elsewhere := []string{"publish", "--source", dir, "--platform", "linux/amd64", "--service", "api", "--registry", p.Server.Registry() + "/team"}
		code, stdout, stderr := run(t, append(elsewhere, "--output", "markdown")...)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, "| api | `"+p.Server.Registry()+"/team/ecs-microservices-api@sha256:")
		require.Contains(t, stdout, "| pushed | 2 blobs, ")
		require.Contains(t, stdout, "left: the registry does not report whether it may move: use --latest to try |")
		code, stdout, stderr = run(t, append(elsewhere, "--latest")...)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, "latest moved")
	})
	t.Run("another image under the same commit", func(t *testing.T) {
		code, _, stderr := run(t, "publish", "--source", dir, "--platform", "linux/arm64", "--service", "api")
		require.Equal(t, outcome.Refused, code)
		require.Contains(t, stderr, "slipway: publishing api: tag "+sha+" already names "+first.Images[0].Digest)
	})
	t.Run("latest is not wanted", func(t *testing.T) {
		sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>two</title>")
		code, _, stderr := run(t, append([]string{"publish"}, at...)...)
		require.Equal(t, outcome.Usage, code)
		require.Contains(t, stderr, "the tree has changes that are not in commit")
		sourcetest.Commit(t, dir, "second")
		code, stdout, stderr := run(t, append([]string{"publish", "--latest=false"}, at...)...)
		require.Equal(t, outcome.Done, code, stderr)
		second := decode[delivery.Published](t, stdout)
		require.Equal(t, int64(1), second.Images[0].Manifests, "an unchanged service costs its tag")
		require.Zero(t, second.Images[0].Blobs)
		require.Equal(t, int64(2), second.Images[1].Blobs)
		require.Equal(t, registry.LatestResult{Result: registry.LatestNotMoved, Reason: "--latest=false"}, second.Images[1].Latest)
	})
	t.Run("a commit that the tree is not at", func(t *testing.T) {
		code, _, stderr := run(t, "publish", "--source", dir, "--sha", sha)
		require.Equal(t, outcome.Usage, code)
		require.Contains(t, stderr, "publishing commit "+sha+" needs its files, and the tree is at commit "+head(t, dir)+": run git checkout "+sha)
	})
}

func TestPublishToImmutableRepositories(t *testing.T) {
	p := inAccount(t, ecrtypes.ImageTagMutabilityImmutable, "api")
	dir := sourcetest.New(t)
	publish := []string{"publish", "--source", dir, "--platform", "linux/amd64", "--service", "api"}
	code, stdout, stderr := run(t, publish...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "latest left: repository ecs-microservices-api has immutable tags")

	sourcetest.Write(t, dir, "readme", "more")
	sourcetest.Commit(t, dir, "second")
	defer p.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribeRepositories"})()
	code, stdout, stderr = run(t, publish...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "latest left: reading whether tag latest is mutable: ")
	require.Contains(t, stdout, "ecr:DescribeRepositories")
}

func TestPublishErrors(t *testing.T) {
	supplychaintest.Install(t, "syft")
	inAccount(t, ecrtypes.ImageTagMutabilityImmutable, "web")
	dir := sourcetest.New(t)
	tests := map[string]struct {
		args []string
		code outcome.Code
		want string
	}{
		"invalid latest":         {[]string{"--latest=maybe"}, outcome.Usage, `invalid --latest "maybe": want auto, true or false`},
		"an unknown platform":    {[]string{"--platform", "amd64"}, outcome.Usage, `platform "amd64"`},
		"platforms of layouts":   {[]string{"--platform", "linux/amd64", "--from", "x"}, outcome.Usage, "leave out one of them"},
		"a region elsewhere":     {[]string{"--region", "us-east-1", "--registry", "x.example"}, outcome.Usage, "leave out one of them"},
		"an address with scheme": {[]string{"--registry", "https://x.example"}, outcome.Usage, "without https://"},
		"an unknown service":     {[]string{"--service", "ap"}, outcome.Usage, `did you mean "api"?`},
		"an unknown region":      {[]string{"--region", "nowhere_"}, outcome.Usage, "invalid AWS region"},
		"a short commit":         {[]string{"--sha", "abcd1234"}, outcome.Usage, "abcd1234"},
		"no layouts":             {[]string{"--service", "web", "--from", "nowhere"}, outcome.Usage, "write it with slipway build --out nowhere"},
		"no repository":          {nil, outcome.Usage, "has no repository ecs-microservices-api: Terraform creates it: run slipway plan, then slipway apply"},
		"nobody there":           {[]string{"--registry", "127.0.0.1:1", "--service", "api", "--platform", "linux/amd64"}, outcome.Failed, "publishing api: connecting (ecs-microservices-api in 127.0.0.1:1): the registry cannot be reached"},
		"a site without a base":  {[]string{"--registry", "registry.invalid", "--platform", "linux/amd64"}, outcome.Refused, "so the image has no web server"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"publish", "--source", dir}, tt.args...)...)
			require.Equal(t, tt.code, code, stderr)
			require.Empty(t, stdout)
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			require.Contains(t, lines[len(lines)-1], tt.want)
		})
	}
}

func head(t *testing.T, dir string) string {
	t.Helper()
	revision, err := source.Tree{Dir: dir}.Revision(t.Context())
	require.NoError(t, err)
	return revision.SHA
}
