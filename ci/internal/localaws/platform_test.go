package localaws_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
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
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/localaws"
	"dagger/slipway/internal/localaws/testapp"
)

// platform is an embedded AWS with what every test of services needs: a cluster,
// a repository, a log group and a load balancer with one target group.
type platform struct {
	*testing.T
	server *localaws.Server
	ecs    *ecs.Client
	ecr    *ecr.Client
	elb    *elbv2.Client
	logs   *cloudwatchlogs.Client
	sts    *sts.Client
	url    string // of the load balancer
	group  string // target group's ARN
	repo   string // repository's URI
}

const logGroup = "/ecs/test"

// start starts an embedded AWS and makes clients for it.
func start(t *testing.T, o localaws.Options) *platform {
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
	return &platform{
		T: t, server: server, ecs: ecs.NewFromConfig(config), ecr: ecr.NewFromConfig(config),
		elb: elbv2.NewFromConfig(config), logs: cloudwatchlogs.NewFromConfig(config), sts: sts.NewFromConfig(config),
	}
}

// newPlatform adds the surroundings of a service.
func newPlatform(t *testing.T, o localaws.Options) *platform {
	t.Helper()
	p := start(t, o)
	ctx := t.Context()
	_, err := p.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String("test")})
	p.ok(err)
	repo, err := p.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	p.ok(err)
	p.repo = *repo.Repository.RepositoryUri
	_, err = p.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String(logGroup)})
	p.ok(err)
	lb, err := p.elb.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{Name: aws.String("alb"), Subnets: []string{"subnet-1", "subnet-2"}})
	p.ok(err)
	p.url = "http://" + *lb.LoadBalancers[0].DNSName
	p.group = p.newGroup("app", "/health")
	_, err = p.elb.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(80), Protocol: elbtypes.ProtocolEnumHttp,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &p.group}},
	})
	p.ok(err)
	return p
}

func (p *platform) newGroup(name, path string) string {
	p.Helper()
	group, err := p.elb.CreateTargetGroup(p.Context(), &elbv2.CreateTargetGroupInput{
		Name: &name, Port: aws.Int32(8000), Protocol: elbtypes.ProtocolEnumHttp, TargetType: elbtypes.TargetTypeEnumIp,
		VpcId: aws.String("vpc-1"), HealthCheckPath: &path, HealthCheckIntervalSeconds: aws.Int32(1), HealthCheckTimeoutSeconds: aws.Int32(1),
		HealthyThresholdCount: aws.Int32(2), UnhealthyThresholdCount: aws.Int32(2),
	})
	p.ok(err)
	arn := *group.TargetGroups[0].TargetGroupArn
	_, err = p.elb.ModifyTargetGroupAttributes(p.Context(), &elbv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: &arn, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("1")}},
	})
	p.ok(err)
	return arn
}

func (p *platform) ok(err error) {
	p.Helper()
	require.NoError(p, err)
}

// auth logs in to the registry the way clients do.
func (p *platform) auth() authn.Authenticator {
	p.Helper()
	out, err := p.ecr.GetAuthorizationToken(p.Context(), &ecr.GetAuthorizationTokenInput{})
	p.ok(err)
	raw, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	p.ok(err)
	user, password, _ := strings.Cut(string(raw), ":")
	return &authn.Basic{Username: user, Password: password}
}

func (p *platform) remoteOptions() []remote.Option {
	transport := &http.Transport{}
	p.Cleanup(transport.CloseIdleConnections)
	return []remote.Option{remote.WithAuth(p.auth()), remote.WithContext(p.Context()), remote.WithTransport(transport)}
}

// push pushes an image and returns its reference by digest.
func (p *platform) push(img v1.Image, tag string) string {
	p.Helper()
	ref, err := name.ParseReference(p.repo + ":" + tag)
	p.ok(err)
	p.ok(remote.Write(ref, img, p.remoteOptions()...))
	digest, err := img.Digest()
	p.ok(err)
	return p.repo + "@" + digest.String()
}

// image pushes the test service.
func (p *platform) image(version string, args ...string) string {
	p.Helper()
	img, err := testapp.Service(binary, version, args...)
	p.ok(err)
	return p.push(img, version)
}

// register registers a revision of the family "app" and returns its ARN. Each
// change may alter the only container.
func (p *platform) register(image string, changes ...func(*ecstypes.ContainerDefinition)) string {
	p.Helper()
	container := ecstypes.ContainerDefinition{
		Name: aws.String("app"), Image: &image, Essential: aws.Bool(true),
		PortMappings: []ecstypes.PortMapping{{ContainerPort: aws.Int32(8000)}},
		LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
			"awslogs-group": logGroup, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs",
		}},
	}
	for _, change := range changes {
		change(&container)
	}
	out, err := p.ecs.RegisterTaskDefinition(p.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("app"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		ExecutionRoleArn:        aws.String("arn:aws:iam::000000000000:role/exec"),
		ContainerDefinitions:    []ecstypes.ContainerDefinition{container},
	})
	p.ok(err)
	return *out.TaskDefinition.TaskDefinitionArn
}

var network = &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}}

// create creates the service "app" with two tasks behind the load balancer.
func (p *platform) create(definition string, changes ...func(*ecs.CreateServiceInput)) {
	p.Helper()
	in := &ecs.CreateServiceInput{
		Cluster: aws.String("test"), ServiceName: aws.String("app"), TaskDefinition: &definition, DesiredCount: aws.Int32(2),
		LaunchType: ecstypes.LaunchTypeFargate, NetworkConfiguration: network,
		LoadBalancers: []ecstypes.LoadBalancer{{TargetGroupArn: &p.group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000)}},
		DeploymentConfiguration: &ecstypes.DeploymentConfiguration{
			DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{Enable: true, Rollback: true},
		},
	}
	for _, change := range changes {
		change(in)
	}
	_, err := p.ecs.CreateService(p.Context(), in)
	p.ok(err)
}

// update deploys another task definition and returns the new deployment's id.
func (p *platform) update(definition string) string {
	p.Helper()
	out, err := p.ecs.UpdateService(p.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String("test"), Service: aws.String("app"), TaskDefinition: &definition,
	})
	p.ok(err)
	return *out.Service.Deployments[0].Id
}

func (p *platform) service() ecstypes.Service {
	p.Helper()
	out, err := p.ecs.DescribeServices(p.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("test"), Services: []string{"app"}})
	p.ok(err)
	require.Empty(p, out.Failures)
	return out.Services[0]
}

// eventually polls the service until it is as wanted.
func (p *platform) eventually(wanted func(ecstypes.Service) bool) ecstypes.Service {
	p.Helper()
	var last ecstypes.Service
	ok := false
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && !ok; time.Sleep(10 * time.Millisecond) {
		last = p.service()
		ok = wanted(last)
	}
	if !ok {
		text, _ := json.MarshalIndent(last, "", "  ")
		require.True(p, ok, "the service did not get there: %s", text)
	}
	return last
}

// stable waits until the service has one completed deployment.
func (p *platform) stable() ecstypes.Service {
	p.Helper()
	return p.eventually(func(s ecstypes.Service) bool {
		return len(s.Deployments) == 1 && s.Deployments[0].RolloutState == ecstypes.DeploymentRolloutStateCompleted && s.RunningCount == s.DesiredCount
	})
}

func messages(s ecstypes.Service) []string {
	var list []string
	for _, e := range slices.Backward(s.Events) {
		list = append(list, *e.Message)
	}
	return list
}

// tasks describes the service's tasks with a desired status.
func (p *platform) tasks(status ecstypes.DesiredStatus) []ecstypes.Task {
	p.Helper()
	list, err := p.ecs.ListTasks(p.Context(), &ecs.ListTasksInput{Cluster: aws.String("test"), ServiceName: aws.String("app"), DesiredStatus: status})
	p.ok(err)
	if len(list.TaskArns) == 0 {
		return nil
	}
	out, err := p.ecs.DescribeTasks(p.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("test"), Tasks: list.TaskArns})
	p.ok(err)
	return out.Tasks
}

// get asks the load balancer.
func (p *platform) get(path string) (status int, body string) {
	p.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get(p.url + path)
	p.ok(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	p.ok(err)
	return resp.StatusCode, string(raw)
}

func (p *platform) version() string {
	p.Helper()
	status, body := p.get("/")
	require.Equal(p, http.StatusOK, status, body)
	var answer struct{ Version string }
	p.ok(json.Unmarshal([]byte(body), &answer))
	return answer.Version
}

func taskID(t ecstypes.Task) string {
	return (*t.TaskArn)[strings.LastIndexByte(*t.TaskArn, '/')+1:]
}

var _ = fmt.Sprint
