package cli_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// adoptedServices is what a team has written about its platform, to publish a first image.
const adoptedServices = `{"services": {
  "shop-api": {"path": "api", "kind": "go", "port": 8000, "health_path": "/health", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1, "repository": "team/api"},
  "shop-queue": {"path": "queue", "kind": "go", "cpu": 256, "memory": 512, "desired_count": 1, "repository": "team/queue"}
}}
`

// TestAdopted releases to what a team has already: a cluster, a load balancer, a web
// service and a worker, with names of their own and without tags of a release.
func TestAdopted(t *testing.T) {
	inEmptyAccount(t, localaws.Options{TimeScale: 20})
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, platform.ServicesFile, adoptedServices)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "queue"), os.DirFS(filepath.Join(dir, "api"))))
	sourcetest.Commit(t, dir, "team")
	images, url := createTeam(t, dir)

	written := ran(t, dir, "init", "--from-ecs", "team", "--path", "shop-api=api", "--path", "shop-queue=queue", "--force")
	require.Contains(t, written, `"shop-queue"`)
	sourcetest.Commit(t, dir, "adopted")
	sha := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	diff := decode[report.Diff](t, ran(t, dir, "diff"))
	require.False(t, diff.Changed, "%+v", diff.Services)

	secret := `"cluster": "team",`
	content, err := os.ReadFile(filepath.Join(dir, platform.ServicesFile))
	require.NoError(t, err)
	file := strings.Replace(string(content), secret, secret+`"secrets": {"KEY": "arn:aws:secretsmanager:eu-west-1:000000000000:secret:key-AbCdEf"},`, 1)
	foreign := t.TempDir()
	sourcetest.Write(t, foreign, platform.ServicesFile, file)
	code, _, stderr := run(t, "deploy", "--sha", sha, "--source", foreign)
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, "secret KEY is in region eu-west-1, and the service in us-east-1: use a secret of the same region")

	change := func(body string) {
		for _, folder := range []string{"api", "queue"} {
			sourcetest.Write(t, dir, folder+"/change.go", "package main\n\nimport \"os\"\n\nfunc init() { "+body+" }\n")
		}
		sourcetest.Commit(t, dir, "change")
	}
	change(`println("two", len(os.Args))`)
	code, stdout, stderr := run(t, "deploy", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	release := decode[report.Release](t, stdout)
	require.Equal(t, []report.Result{report.Succeeded, report.Succeeded}, []report.Result{release.Services[0].Result, release.Services[1].Result})
	require.Contains(t, release.Services[0].To.Image, "/team/api@sha256:")
	require.Contains(t, release.Services[1].To.Image, "/team/queue@sha256:")
	require.Contains(t, stageNames(release), "smoke")
	require.Equal(t, url, release.URL)
	require.Contains(t, stderr, "no smoke test, because it has no route: its tasks have run for 40 s")
	second := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))

	change(`if os.Getenv("PORT") == "" { println("no queue"); os.Exit(3) }`)
	code, stdout, stderr = run(t, "deploy", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Restored, code, stderr)
	worker := decode[report.Release](t, stdout).Services[1]
	require.Equal(t, report.Restored, worker.Result)
	require.Equal(t, int32(3), *worker.Causes[0].ExitCode)
	require.Contains(t, worker.Causes[0].LogTail, "no queue")
	require.NotContains(t, worker.Causes[0].Hint, "load balancer")

	status := decode[report.Status](t, ran(t, dir, "status"))
	require.Equal(t, "team", status.Cluster)
	for _, service := range status.Services {
		require.Equal(t, second, service.Version.SHA)
		require.Equal(t, report.Steady, service.State)
		require.Empty(t, service.Drift)
	}
	alone := decode[report.Release](t, ran(t, dir, "deploy", "--sha", second, "--service", "shop-queue", "--force"))
	require.NotContains(t, stageNames(alone), "smoke", "it needs no load balancer")
	require.Empty(t, alone.URL)

	back := decode[report.Release](t, ran(t, dir, "rollback", "--to", "shop_queue:1", "--service", "shop-queue"))
	require.Equal(t, report.Succeeded, back.Result)
	require.Equal(t, images["queue"], back.Services[0].To.Image)
	back = decode[report.Release](t, ran(t, dir, "rollback", "--to", second))
	require.Equal(t, second, back.Services[1].To.SHA)
	require.Equal(t, outcome.Done, back.ExitCode)
}

// createTeam publishes the images of a tree and creates the team's platform, without
// Terraform. It returns the images, and the URL of the load balancer.
func createTeam(t *testing.T, dir string) (images map[string]string, url string) {
	t.Helper()
	config, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	containers, balancers := ecs.NewFromConfig(config), elb.NewFromConfig(config)
	for _, name := range []string{"team/api", "team/queue"} {
		_, err = ecr.NewFromConfig(config).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name})
		require.NoError(t, err)
	}
	images = map[string]string{}
	for _, published := range decode[struct {
		Images []struct{ Service, Image string }
	}](t, ran(t, dir, "publish")).Images {
		images[strings.TrimPrefix(published.Service, "shop-")] = published.Image
	}
	_, err = containers.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("team")})
	require.NoError(t, err)
	_, err = cloudwatchlogs.NewFromConfig(config).CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/team")})
	require.NoError(t, err)
	balancer, err := balancers.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: aws.String("team-alb"), Subnets: []string{"subnet-1", "subnet-2"}})
	require.NoError(t, err)
	group, err := balancers.CreateTargetGroup(t.Context(), &elb.CreateTargetGroupInput{
		Name: aws.String("team"), Port: aws.Int32(8000), Protocol: elbtypes.ProtocolEnumHttp, TargetType: elbtypes.TargetTypeEnumIp, VpcId: aws.String("vpc-1"),
		HealthCheckPath: aws.String("/health"), HealthCheckIntervalSeconds: aws.Int32(1), HealthCheckTimeoutSeconds: aws.Int32(1), HealthyThresholdCount: aws.Int32(2),
	})
	require.NoError(t, err)
	arn := group.TargetGroups[0].TargetGroupArn
	_, err = balancers.ModifyTargetGroupAttributes(t.Context(), &elb.ModifyTargetGroupAttributesInput{
		TargetGroupArn: arn, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("1")}},
	})
	require.NoError(t, err)
	_, err = balancers.CreateListener(t.Context(), &elb.CreateListenerInput{
		LoadBalancerArn: balancer.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(80), Protocol: elbtypes.ProtocolEnumHttp,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: arn}},
	})
	require.NoError(t, err)
	for name, port := range map[string]int32{"api": 8000, "queue": 0} {
		container := ecstypes.ContainerDefinition{
			Name: aws.String("main"), Image: aws.String(images[name]), Essential: aws.Bool(true), Environment: []ecstypes.KeyValuePair{{Name: aws.String("VERSION"), Value: aws.String("the team's")}},
			LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": "/team", "awslogs-region": platform.DefaultRegion, "awslogs-stream-prefix": name,
			}},
		}
		service := &ecs.CreateServiceInput{
			Cluster: aws.String("team"), ServiceName: aws.String("shop-" + name), DesiredCount: aws.Int32(1), LaunchType: ecstypes.LaunchTypeFargate,
			NetworkConfiguration:    localawstest.NetworkConfiguration,
			DeploymentConfiguration: &ecstypes.DeploymentConfiguration{DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{Enable: true, Rollback: true}},
		}
		if port != 0 {
			container.PortMappings = []ecstypes.PortMapping{{ContainerPort: &port}}
			container.Environment = append(container.Environment, ecstypes.KeyValuePair{Name: aws.String("PORT"), Value: aws.String(strconv.Itoa(int(port)))})
			service.LoadBalancers = []ecstypes.LoadBalancer{{TargetGroupArn: arn, ContainerName: aws.String("main"), ContainerPort: &port}}
		}
		definition, err := containers.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: aws.String("shop_" + name), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
			RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ContainerDefinitions: []ecstypes.ContainerDefinition{container},
			ExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/ecs-task-execution-role"),
		})
		require.NoError(t, err)
		service.TaskDefinition = definition.TaskDefinition.TaskDefinitionArn
		_, err = containers.CreateService(t.Context(), service)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		out, err := containers.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("team"), Services: []string{"shop-api", "shop-queue"}})
		require.NoError(t, err)
		for _, service := range out.Services {
			if service.Deployments[0].RolloutState != ecstypes.DeploymentRolloutStateCompleted {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond)
	return images, "http://" + *balancer.LoadBalancers[0].DNSName
}
