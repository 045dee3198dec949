// Package localawstest sets up an embedded AWS for tests: clients, and the resources
// that every service needs.
package localawstest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

// Platform is an embedded AWS with its clients and, from New, the resources that every
// service needs: a cluster "test", a repository "app", a log group and a load balancer
// "alb" with one target group.
type Platform struct {
	*testing.T
	Server    *localaws.Server
	ECS       *ecs.Client
	ECR       *ecr.Client
	ELB       *elbv2.Client
	Logs      *cloudwatchlogs.Client
	STS       *sts.Client
	IAM       *iam.Client
	Secrets   *secretsmanager.Client
	SSM       *ssm.Client
	Scheduler *scheduler.Client
	URL       string // of the load balancer
	Group     string // target group's ARN
	Repo      string // repository's URI

	binary string // the compiled test service
}

// LogGroup is the log group of all tasks.
const LogGroup = "/ecs/test"

// Start starts an embedded AWS and creates clients for it.
func Start(t *testing.T, o localaws.Options) *Platform {
	t.Helper()
	server, err := localaws.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	config := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.Endpoint()), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}
	return &Platform{
		T: t, Server: server, ECS: ecs.NewFromConfig(config), ECR: ecr.NewFromConfig(config),
		ELB: elbv2.NewFromConfig(config), Logs: cloudwatchlogs.NewFromConfig(config), STS: sts.NewFromConfig(config),
		IAM: iam.NewFromConfig(config), Secrets: secretsmanager.NewFromConfig(config), SSM: ssm.NewFromConfig(config),
		Scheduler: scheduler.NewFromConfig(config),
	}
}

// New starts an embedded AWS with the resources that every service needs.
func New(t *testing.T, binary string, o localaws.Options) *Platform {
	t.Helper()
	p := Start(t, o)
	p.binary = binary
	ctx := t.Context()
	_, err := p.ECS.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String("test")})
	p.RequireNoError(err)
	repo, err := p.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	p.RequireNoError(err)
	p.Repo = *repo.Repository.RepositoryUri
	_, err = p.Logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String(LogGroup)})
	p.RequireNoError(err)
	lb, err := p.ELB.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{Name: aws.String("alb"), Subnets: []string{"subnet-1", "subnet-2"}})
	p.RequireNoError(err)
	p.URL = "http://" + *lb.LoadBalancers[0].DNSName
	p.Group = p.NewTargetGroup("app", "/health")
	_, err = p.ELB.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(80), Protocol: elbtypes.ProtocolEnumHttp,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &p.Group}},
	})
	p.RequireNoError(err)
	return p
}

// NewTargetGroup creates a target group with fast health checks and returns its ARN.
func (p *Platform) NewTargetGroup(name, path string) string {
	p.Helper()
	group, err := p.ELB.CreateTargetGroup(p.Context(), &elbv2.CreateTargetGroupInput{
		Name: &name, Port: aws.Int32(8000), Protocol: elbtypes.ProtocolEnumHttp, TargetType: elbtypes.TargetTypeEnumIp,
		VpcId: aws.String("vpc-1"), HealthCheckPath: &path, HealthCheckIntervalSeconds: aws.Int32(1), HealthCheckTimeoutSeconds: aws.Int32(1),
		HealthyThresholdCount: aws.Int32(2), UnhealthyThresholdCount: aws.Int32(2),
	})
	p.RequireNoError(err)
	arn := *group.TargetGroups[0].TargetGroupArn
	_, err = p.ELB.ModifyTargetGroupAttributes(p.Context(), &elbv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: &arn, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("1")}},
	})
	p.RequireNoError(err)
	return arn
}

// UnattachedGroup creates a target group that no load balancer forwards to.
func (p *Platform) UnattachedGroup() string {
	p.Helper()
	return p.NewTargetGroup("lone", "/")
}

// RequireNoError fails the test on an error.
func (p *Platform) RequireNoError(err error) {
	p.Helper()
	require.NoError(p, err)
}

// Auth logs in to the registry as clients do.
func (p *Platform) Auth() authn.Authenticator {
	p.Helper()
	out, err := p.ECR.GetAuthorizationToken(p.Context(), &ecr.GetAuthorizationTokenInput{})
	p.RequireNoError(err)
	raw, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	p.RequireNoError(err)
	user, password, _ := strings.Cut(string(raw), ":")
	return &authn.Basic{Username: user, Password: password}
}

// RemoteOptions returns the options with which go-containerregistry reaches the
// registry.
func (p *Platform) RemoteOptions() []remote.Option {
	transport := &http.Transport{}
	p.Cleanup(transport.CloseIdleConnections)
	return []remote.Option{remote.WithAuth(p.Auth()), remote.WithContext(p.Context()), remote.WithTransport(transport)}
}

// Push pushes an image and returns its reference by digest.
func (p *Platform) Push(img v1.Image, tag string) string {
	p.Helper()
	ref, err := name.ParseReference(p.Repo + ":" + tag)
	p.RequireNoError(err)
	p.RequireNoError(remote.Write(ref, img, p.RemoteOptions()...))
	digest, err := img.Digest()
	p.RequireNoError(err)
	return p.Repo + "@" + digest.String()
}

// Binary returns the file of the compiled test service.
func (p *Platform) Binary() string { return p.binary }

// PushImage pushes an image of the test service and returns its reference by digest.
func (p *Platform) PushImage(version string, args ...string) string {
	p.Helper()
	img, err := testapp.ServiceImage(p.binary, version, args...)
	p.RequireNoError(err)
	return p.Push(img, version)
}

// RegisterTaskDefinition registers a revision of the family "app" and returns its ARN.
// Each change may alter its only container.
func (p *Platform) RegisterTaskDefinition(image string, changes ...func(*ecstypes.ContainerDefinition)) string {
	p.Helper()
	container := ecstypes.ContainerDefinition{
		Name: aws.String("app"), Image: &image, Essential: aws.Bool(true),
		PortMappings: []ecstypes.PortMapping{{ContainerPort: aws.Int32(8000)}},
		LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
			"awslogs-group": LogGroup, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs",
		}},
	}
	for _, change := range changes {
		change(&container)
	}
	out, err := p.ECS.RegisterTaskDefinition(p.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("app"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		ExecutionRoleArn:        aws.String("arn:aws:iam::000000000000:role/exec"),
		ContainerDefinitions:    []ecstypes.ContainerDefinition{container},
	})
	p.RequireNoError(err)
	return *out.TaskDefinition.TaskDefinitionArn
}

// NetworkConfiguration is the network configuration of all services and tasks.
var NetworkConfiguration = &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}}

// CreateService creates the service "app" with two tasks behind the load balancer.
func (p *Platform) CreateService(definition string, changes ...func(*ecs.CreateServiceInput)) {
	p.Helper()
	in := &ecs.CreateServiceInput{
		Cluster: aws.String("test"), ServiceName: aws.String("app"), TaskDefinition: &definition, DesiredCount: aws.Int32(2),
		LaunchType: ecstypes.LaunchTypeFargate, NetworkConfiguration: NetworkConfiguration,
		LoadBalancers: []ecstypes.LoadBalancer{{TargetGroupArn: &p.Group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000)}},
		DeploymentConfiguration: &ecstypes.DeploymentConfiguration{
			DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{Enable: true, Rollback: true},
		},
	}
	for _, change := range changes {
		change(in)
	}
	_, err := p.ECS.CreateService(p.Context(), in)
	p.RequireNoError(err)
}

// UpdateService deploys another task definition and returns the new deployment's id.
func (p *Platform) UpdateService(definition string) string {
	p.Helper()
	out, err := p.ECS.UpdateService(p.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String("test"), Service: aws.String("app"), TaskDefinition: &definition,
	})
	p.RequireNoError(err)
	return *out.Service.Deployments[0].Id
}

// DescribeService returns the service "app".
func (p *Platform) DescribeService() ecstypes.Service {
	p.Helper()
	out, err := p.ECS.DescribeServices(p.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("test"), Services: []string{"app"}})
	p.RequireNoError(err)
	require.Empty(p, out.Failures)
	return out.Services[0]
}

// Eventually polls the service until wanted returns true.
func (p *Platform) Eventually(wanted func(ecstypes.Service) bool) ecstypes.Service {
	p.Helper()
	last := p.DescribeService()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !wanted(last); last = p.DescribeService() {
		if time.Now().After(deadline) {
			text, _ := json.MarshalIndent(last, "", "  ")
			require.Fail(p, "timed out waiting for the service", "%s", text)
		}
		<-tick.C
	}
	return last
}

// WaitStable waits until the service has one completed deployment.
func (p *Platform) WaitStable() ecstypes.Service {
	p.Helper()
	return p.Eventually(func(s ecstypes.Service) bool {
		return len(s.Deployments) == 1 && s.Deployments[0].RolloutState == ecstypes.DeploymentRolloutStateCompleted && s.RunningCount == s.DesiredCount
	})
}

// EventMessages returns the messages of a service's events, oldest first.
func EventMessages(s ecstypes.Service) []string {
	var list []string
	for _, e := range slices.Backward(s.Events) {
		list = append(list, *e.Message)
	}
	return list
}

// DescribeTasks returns all tasks of the service with a desired status, the newest first.
func (p *Platform) DescribeTasks(status ecstypes.DesiredStatus) (all []ecstypes.Task) {
	p.Helper()
	pages := ecs.NewListTasksPaginator(p.ECS, &ecs.ListTasksInput{Cluster: aws.String("test"), ServiceName: aws.String("app"), DesiredStatus: status})
	for pages.HasMorePages() {
		page, err := pages.NextPage(p.Context())
		p.RequireNoError(err)
		if len(page.TaskArns) == 0 {
			break
		}
		out, err := p.ECS.DescribeTasks(p.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("test"), Tasks: page.TaskArns})
		p.RequireNoError(err)
		all = append(all, out.Tasks...)
	}
	return all
}

// Get requests a path from the load balancer.
func (p *Platform) Get(path string) (status int, body string) {
	p.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get(p.URL + path)
	p.RequireNoError(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	p.RequireNoError(err)
	return resp.StatusCode, string(raw)
}

// Version returns the version that the test service reports through the load balancer.
func (p *Platform) Version() string {
	p.Helper()
	status, body := p.Get("/")
	require.Equal(p, http.StatusOK, status, body)
	var answer struct{ Version string }
	p.RequireNoError(json.Unmarshal([]byte(body), &answer))
	return answer.Version
}

// TaskID returns the last part of a task's ARN.
func TaskID(t ecstypes.Task) string {
	return (*t.TaskArn)[strings.LastIndexByte(*t.TaskArn, '/')+1:]
}
