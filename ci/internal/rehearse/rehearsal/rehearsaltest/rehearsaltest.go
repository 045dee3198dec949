// Package rehearsaltest runs a platform on an embedded AWS for tests.
package rehearsaltest

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Options returns the options of a rehearsal of the tree at dir.
func Options(t *testing.T, dir string, scenario rehearsal.Scenario) rehearsal.Options {
	t.Helper()
	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	lock, err := image.ReadLock(dir)
	require.NoError(t, err)
	return rehearsal.Options{Source: tree, Platform: p, Lock: lock, Exec: step.Host{Source: dir}, Scenario: scenario}
}

// Actions are the AWS actions that a release calls in any scenario. The tests of the
// pipeline's roles evaluate calls of all of them.
var Actions = []string{
	"cloudwatch:GetMetricData", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload",
	"ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:GetAuthorizationToken",
	"ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart", "ecs:ContinueServiceDeployment", "ecs:DescribeClusters",
	"ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:DescribeServices", "ecs:DescribeTaskDefinition",
	"ecs:DescribeTasks", "ecs:ListServiceDeployments", "ecs:ListTaskDefinitions", "ecs:ListTasks", "ecs:RegisterTaskDefinition",
	"ecs:StopServiceDeployment", "ecs:TagResource", "ecs:UpdateService", "elasticloadbalancing:DescribeListeners",
	"elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTargetGroups",
	"elasticloadbalancing:DescribeTargetHealth", "iam:GetRole", "iam:PassRole", "iam:SimulatePrincipalPolicy",
	"logs:DescribeLogGroups", "logs:GetLogEvents", "sts:GetCallerIdentity",
}

// CheckActions requires that the delivery calls no other actions than [Actions].
func CheckActions(t *testing.T, o *rehearsal.Options) {
	t.Helper()
	o.Started = func(s *localaws.Server) {
		t.Cleanup(func() {
			for _, c := range s.Calls() {
				if c.AccessKey == rehearsal.PipelineAccessKey || c.AccessKey == "" {
					require.Contains(t, Actions, c.Service+":"+c.Action, "add it to rehearsaltest.Actions, and a scenario that calls it to ci/test/policy")
				}
			}
		})
	}
}

// Run runs a rehearsal. Its output goes to the test's log.
func Run(t *testing.T, o rehearsal.Options) report.Release {
	t.Helper()
	return rehearsal.Run(t.Context(), o, report.NewRecorder(time.Now, report.Plain{W: t.Output()}))
}

// Deliver delivers the tree at dir, at its commit, and calls up while the platform runs,
// with the endpoint of the embedded AWS and the release.
func Deliver(t *testing.T, dir string, up func(endpoint string, release report.Release)) report.Release {
	t.Helper()
	ran := false
	o := Options(t, dir, rehearsal.Happy)
	o.Cache = image.CacheDir()
	o.Up = func(endpoint string, release report.Release) {
		ran = true
		up(endpoint, release)
	}
	release := Run(t, o)
	require.True(t, ran, "%+v", release)
	return release
}

// DeliverToBoth delivers the tree at dir to its environments staging and production, and
// calls up while both run, with the endpoints of their embedded AWS.
func DeliverToBoth(t *testing.T, dir string, up func(staging, production string, release report.Release)) {
	t.Helper()
	environments, err := platform.Environments(dir)
	require.NoError(t, err)
	ran := false
	o := Options(t, dir, rehearsal.Happy)
	o.Cache = image.CacheDir()
	p := rehearsal.PipelineOptions{Environments: environments, Soak: time.Millisecond, Up: func(staging, production string, release report.Release) {
		ran = true
		up(staging, production, release)
	}}
	release := rehearsal.RunPipeline(t.Context(), o, p, report.NewRecorder(time.Now, report.Plain{W: t.Output()}))
	require.True(t, ran, "%+v", release)
}

// SetEnv sets the environment of commands to an embedded AWS, as the pipeline.
func SetEnv(t *testing.T, endpoint string) {
	t.Helper()
	for name, value := range map[string]string{ //nolint:gosec // the embedded AWS takes any credentials
		"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": rehearsal.PipelineAccessKey, "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": platform.DefaultRegion,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_CA_BUNDLE": "", // of this machine; each command would parse it for calls without TLS
	} {
		t.Setenv(name, value)
	}
}

// Config returns a client configuration for an embedded AWS, as of somebody else than the
// pipeline.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region: platform.DefaultRegion, BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("others", "any", ""),
	}
}

// RunWithAWS delivers the tree at dir, at its commit, to an embedded AWS and runs steps
// with the environment set to it.
func RunWithAWS(t *testing.T, dir string, steps func()) {
	t.Helper()
	Deliver(t, dir, func(endpoint string, _ report.Release) {
		SetEnv(t, endpoint)
		steps()
	})
}
