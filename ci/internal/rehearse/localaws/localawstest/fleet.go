package localawstest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
)

// Fleet is a platform of many small services without a load balancer, with the names
// that the pipeline derives.
type Fleet struct {
	testing.TB
	Server   *localaws.Server
	Config   aws.Config
	ECS      *ecs.Client
	Logs     *cloudwatchlogs.Client
	ECR      *ecr.Client
	Services []platform.Service
}

// fleetConcurrency is how many services are created at a time.
const fleetConcurrency = 8

// NewFleet starts an embedded AWS with count services that run img, one task
// each, and waits until all are complete.
func NewFleet(t testing.TB, o localaws.Options, count int, img v1.Image) *Fleet {
	t.Helper()
	ctx := context.Background() // a benchmark's context ends before its clean-up
	server, err := localaws.Start(ctx, o)
	require.NoError(t, err)
	transport := &http.Transport{MaxIdleConnsPerHost: fleetConcurrency}
	t.Cleanup(func() { transport.CloseIdleConnections(); require.NoError(t, server.Close()) })
	config := aws.Config{
		Region: platform.DefaultRegion, BaseEndpoint: aws.String(server.Endpoint()), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""), RetryMaxAttempts: 8,
	}
	f := &Fleet{
		TB: t, Server: server, Config: config, ECS: ecs.NewFromConfig(config), Logs: cloudwatchlogs.NewFromConfig(config), ECR: ecr.NewFromConfig(config),
	}
	_, err = f.ECS.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String(platform.Cluster)})
	require.NoError(t, err)
	for n := range count {
		f.Services = append(f.Services, platform.Service{
			Name: fmt.Sprintf("s%03d", n), Build: platform.Build{Path: "backend", Kind: platform.Go}, Port: 8000 + n, HealthPath: "/health",
			Routes: []string{fmt.Sprintf("/s%03d/*", n)}, CPU: 256, Memory: 512, DesiredCount: 1,
		})
	}
	images := f.Push(img, "old")
	var group errgroup.Group
	group.SetLimit(fleetConcurrency)
	for _, s := range f.Services {
		group.Go(func() error { return f.create(ctx, s, images[s.Name]) })
	}
	require.NoError(t, group.Wait())
	f.WaitComplete()
	return f
}

// Push pushes an image to every service's repository under a tag, and returns
// the references by digest.
func (f *Fleet) Push(img v1.Image, tag string) map[string]string {
	f.Helper()
	ctx := context.Background()
	digest, err := img.Digest()
	require.NoError(f, err)
	out, err := f.ECR.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	require.NoError(f, err)
	raw, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	require.NoError(f, err)
	user, password, _ := strings.Cut(string(raw), ":")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	pusher, err := remote.NewPusher(remote.WithAuth(&authn.Basic{Username: user, Password: password}), remote.WithTransport(transport))
	require.NoError(f, err)
	images := map[string]string{}
	var group errgroup.Group
	group.SetLimit(fleetConcurrency)
	for _, s := range f.Services {
		repository := f.Server.Registry() + "/" + s.Repository()
		images[s.Name] = repository + "@" + digest.String()
		group.Go(func() error {
			_, _ = f.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(s.Repository())}) // it may exist
			reference, err := name.ParseReference(repository + ":" + tag)
			if err != nil {
				return err
			}
			return pusher.Push(ctx, reference, img)
		})
	}
	require.NoError(f, group.Wait())
	return images
}

func (f *Fleet) create(ctx context.Context, s platform.Service, image string) error {
	if _, err := f.Logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String(s.LogGroup())}); err != nil {
		return err
	}
	definition, err := f.ECS.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: aws.String(s.Family()), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/exec"),
		ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: aws.String(s.ContainerName()), Image: &image, Essential: aws.Bool(true), StopTimeout: aws.Int32(2),
			LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": s.LogGroup(), "awslogs-region": platform.DefaultRegion, "awslogs-stream-prefix": "ecs",
			}},
		}},
	})
	if err != nil {
		return err
	}
	_, err = f.ECS.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: aws.String(platform.Cluster), ServiceName: aws.String(s.ServiceName()), TaskDefinition: definition.TaskDefinition.TaskDefinitionArn,
		DesiredCount: aws.Int32(int32(s.DesiredCount)), LaunchType: ecstypes.LaunchTypeFargate, NetworkConfiguration: NetworkConfiguration,
		DeploymentConfiguration: &ecstypes.DeploymentConfiguration{
			DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{Enable: true, Rollback: true},
		},
	})
	return err
}

// WaitComplete waits until every service has one completed deployment.
func (f *Fleet) WaitComplete() {
	f.Helper()
	for _, s := range f.Services {
		waitUntil(f, func() (bool, string) {
			out, err := f.ECS.DescribeServices(context.Background(), &ecs.DescribeServicesInput{
				Cluster: aws.String(platform.Cluster), Services: []string{s.ServiceName()},
			})
			require.NoError(f, err)
			d := out.Services[0].Deployments
			return len(d) == 1 && d[0].RolloutState == ecstypes.DeploymentRolloutStateCompleted, s.Name + ": " + string(d[0].RolloutState)
		})
	}
}

// LastDeployment returns the last deployment of a service.
func (f *Fleet) LastDeployment(s platform.Service) ecstypes.ServiceDeploymentBrief {
	f.Helper()
	out, err := f.ECS.ListServiceDeployments(context.Background(), &ecs.ListServiceDeploymentsInput{
		Cluster: aws.String(platform.Cluster), Service: aws.String(s.ServiceName()),
	})
	require.NoError(f, err)
	return out.ServiceDeployments[0]
}

// RollbackStartedAt returns when ECS began to roll back the last deployment of a
// service.
func (f *Fleet) RollbackStartedAt(s platform.Service) *time.Time {
	f.Helper()
	out, err := f.ECS.DescribeServiceDeployments(context.Background(), &ecs.DescribeServiceDeploymentsInput{
		ServiceDeploymentArns: []string{*f.LastDeployment(s).ServiceDeploymentArn},
	})
	require.NoError(f, err)
	require.NotNil(f, out.ServiceDeployments[0].Rollback)
	return out.ServiceDeployments[0].Rollback.StartedAt
}

// waitUntil polls until done returns true. last describes the current state.
func waitUntil(t testing.TB, done func() (ok bool, last string)) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		ok, last := done()
		if ok {
			return
		}
		require.True(t, time.Now().Before(deadline), "timed out waiting: %s", last)
	}
}
