package rollout_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
)

// fakeClock jumps instead of waiting.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return context.Cause(ctx)
}

// fate is what becomes of a deployment whose image has it in its name.
type fate string

const (
	completes fate = "good"   // complete at the second look
	rollsBack fate = "bad"    // ECS rolls back by itself at the second look
	fails     fate = "failed" // ECS gives up and leaves it
	stays     fate = "stuck"  // nothing ever happens
	replaced  fate = "taken"  // somebody else deploys at the second look
	vanishes  fate = "gone"   // the service is deleted at the second look
)

// fakeECS is an ECS just deep enough to tell right verdicts from wrong ones:
// each look at a service (DescribeServices) moves its deployment on.
type fakeECS struct {
	mu          sync.Mutex
	definitions []types.TaskDefinition
	tags        map[string][]types.Tag
	services    map[string]*fakeService
	stopped     []types.Task
	calls       []string
	// refuse is asked before each call, with the operation and the service.
	refuse func(operation, service string) error
	number int
}

type fakeService struct {
	deployments []types.Deployment
	looks       int // since the last deployment began
	status      map[string]types.ServiceDeploymentStatus
	deleted     bool
	events      []types.ServiceEvent
}

func newFakeECS() *fakeECS {
	return &fakeECS{tags: map[string][]types.Tag{}, services: map[string]*fakeService{}}
}

func apiError(code string) error {
	return &smithy.GenericAPIError{Code: code, Message: "said by the fake"}
}

// addService starts a service with one complete deployment of an image.
func (f *fakeECS) addService(name, image string) {
	definition := f.register("ecs-"+name+"-task", types.ContainerDefinition{
		Name: &name, Image: &image,
		Environment: []types.KeyValuePair{{Name: aws.String("VERSION"), Value: aws.String("old")}},
		LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
			"awslogs-group": "/ecs/ecs-" + name, "awslogs-stream-prefix": "ecs",
		}},
	})
	f.tags[definition] = []types.Tag{{Key: aws.String("slipway:sha"), Value: aws.String("old")}}
	f.services["ecs-"+name+"-service"] = &fakeService{status: map[string]types.ServiceDeploymentStatus{}}
	f.deploy("ecs-"+name+"-service", definition)
	f.complete(f.services["ecs-"+name+"-service"])
}

func (f *fakeECS) register(family string, container types.ContainerDefinition) string {
	arn := fmt.Sprintf("arn:aws:ecs:us-east-1:1:task-definition/%s:%d", family, len(f.definitions)+1)
	f.definitions = append(f.definitions, types.TaskDefinition{
		TaskDefinitionArn: &arn, Family: &family, ContainerDefinitions: []types.ContainerDefinition{container},
	})
	return arn
}

// deploy makes a definition the primary deployment of a service.
func (f *fakeECS) deploy(service, definition string) {
	s := f.services[service]
	f.number++
	for i := range s.deployments {
		s.deployments[i].Status = aws.String("ACTIVE")
	}
	s.looks = 0
	s.deployments = append([]types.Deployment{{
		Id: aws.String(fmt.Sprintf("ecs-svc/%d", f.number)), Status: aws.String("PRIMARY"),
		TaskDefinition: &definition, RolloutState: types.DeploymentRolloutStateInProgress, DesiredCount: 1,
	}}, s.deployments...)
	s.status[f.deploymentARN(service, f.number)] = types.ServiceDeploymentStatusInProgress
	s.events = append([]types.ServiceEvent{{
		Id: aws.String(fmt.Sprint(f.number)), Message: aws.String("(service " + service + ") has started 1 tasks"),
	}}, s.events...)
}

func (f *fakeECS) deploymentARN(service string, number int) string {
	return fmt.Sprintf("arn:aws:ecs:us-east-1:1:service-deployment/ecs-cluster/%s/d%d", service, number)
}

func (f *fakeECS) complete(s *fakeService) {
	s.deployments = s.deployments[:1]
	s.deployments[0].RolloutState = types.DeploymentRolloutStateCompleted
	s.deployments[0].RunningCount = s.deployments[0].DesiredCount
}

func (f *fakeECS) image(definition string) string {
	for _, d := range f.definitions {
		if aws.ToString(d.TaskDefinitionArn) == definition {
			return aws.ToString(d.ContainerDefinitions[0].Image)
		}
	}
	return ""
}

// running is the image of a service's primary deployment.
func (f *fakeECS) running(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.image(aws.ToString(f.services["ecs-"+name+"-service"].deployments[0].TaskDefinition))
}

// look moves a service on.
func (f *fakeECS) look(name string, s *fakeService) {
	s.looks++
	primary := &s.deployments[0]
	if s.looks < 2 || primary.RolloutState != types.DeploymentRolloutStateInProgress {
		return
	}
	arn := ""
	for known, status := range s.status {
		if strings.HasSuffix(known, "/d"+strings.TrimPrefix(aws.ToString(primary.Id), "ecs-svc/")) {
			arn = known
			if status == types.ServiceDeploymentStatusRollbackRequested {
				s.status[arn] = types.ServiceDeploymentStatusRollbackSuccessful
				f.deploy(name, aws.ToString(s.deployments[len(s.deployments)-1].TaskDefinition))
				f.complete(s)
				return
			}
		}
	}
	image := f.image(aws.ToString(primary.TaskDefinition))
	switch {
	case strings.Contains(image, string(rollsBack)):
		s.status[arn] = types.ServiceDeploymentStatusRollbackSuccessful
		f.deploy(name, aws.ToString(s.deployments[1].TaskDefinition))
		f.complete(s)
	case strings.Contains(image, string(fails)):
		s.status[arn] = ""
		primary.RolloutState = types.DeploymentRolloutStateFailed
		primary.RolloutStateReason = aws.String("tasks failed to start")
	case strings.Contains(image, string(replaced)):
		s.status[arn] = types.ServiceDeploymentStatusStopped
		f.deploy(name, f.register("other", types.ContainerDefinition{Name: aws.String("x"), Image: aws.String("good@sha256:other")}))
		f.complete(s)
	case strings.Contains(image, string(vanishes)):
		s.deleted = true
	case strings.Contains(image, string(stays)):
	default:
		s.status[arn] = types.ServiceDeploymentStatusSuccessful
		f.complete(s)
	}
}

// begin locks the fake and asks whether the call shall fail.
func (f *fakeECS) begin(operation, service string) (func(), error) {
	f.mu.Lock()
	f.calls = append(f.calls, strings.TrimSuffix(operation+" "+service, " "))
	if f.refuse != nil {
		if err := f.refuse(operation, service); err != nil {
			f.mu.Unlock()
			return nil, err
		}
	}
	return f.mu.Unlock, nil
}

func (f *fakeECS) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if strings.HasPrefix(c, call) {
			n++
		}
	}
	return n
}

func (f *fakeECS) DescribeServices(_ context.Context, in *ecs.DescribeServicesInput, _ ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	done, err := f.begin("DescribeServices", "")
	if err != nil {
		return nil, err
	}
	defer done()
	out := &ecs.DescribeServicesOutput{}
	for _, name := range in.Services {
		s := f.services[name]
		if s == nil {
			continue
		}
		f.look(name, s)
		status := "ACTIVE"
		if s.deleted {
			status = "INACTIVE"
		}
		out.Services = append(out.Services, types.Service{
			ServiceName: &name, Status: &status, TaskDefinition: s.deployments[0].TaskDefinition,
			Deployments: slices.Clone(s.deployments), Events: slices.Clone(s.events),
		})
	}
	return out, nil
}

func (f *fakeECS) DescribeTaskDefinition(_ context.Context, in *ecs.DescribeTaskDefinitionInput, _ ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error) {
	done, err := f.begin("DescribeTaskDefinition", "")
	if err != nil {
		return nil, err
	}
	defer done()
	for _, d := range slices.Backward(f.definitions) {
		arn := aws.ToString(d.TaskDefinitionArn)
		if arn == aws.ToString(in.TaskDefinition) || aws.ToString(d.Family) == aws.ToString(in.TaskDefinition) {
			return &ecs.DescribeTaskDefinitionOutput{TaskDefinition: &d, Tags: f.tags[arn]}, nil
		}
	}
	return nil, apiError("ClientException")
}

func (f *fakeECS) RegisterTaskDefinition(_ context.Context, in *ecs.RegisterTaskDefinitionInput, _ ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error) {
	done, err := f.begin("RegisterTaskDefinition", aws.ToString(in.Family))
	if err != nil {
		return nil, err
	}
	defer done()
	arn := f.register(aws.ToString(in.Family), in.ContainerDefinitions[0])
	f.tags[arn] = in.Tags
	return &ecs.RegisterTaskDefinitionOutput{TaskDefinition: &types.TaskDefinition{TaskDefinitionArn: &arn}}, nil
}

func (f *fakeECS) UpdateService(_ context.Context, in *ecs.UpdateServiceInput, _ ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error) {
	name := aws.ToString(in.Service)
	done, err := f.begin("UpdateService", name)
	if err != nil {
		return nil, err
	}
	defer done()
	f.deploy(name, aws.ToString(in.TaskDefinition))
	return &ecs.UpdateServiceOutput{Service: &types.Service{Deployments: slices.Clone(f.services[name].deployments)}}, nil
}

func (f *fakeECS) StopServiceDeployment(_ context.Context, in *ecs.StopServiceDeploymentInput, _ ...func(*ecs.Options)) (*ecs.StopServiceDeploymentOutput, error) {
	arn := aws.ToString(in.ServiceDeploymentArn)
	name := strings.Split(arn, "/")[2]
	done, err := f.begin("StopServiceDeployment", name)
	if err != nil {
		return nil, err
	}
	defer done()
	f.services[name].status[arn] = types.ServiceDeploymentStatusRollbackRequested
	return &ecs.StopServiceDeploymentOutput{}, nil
}

func (f *fakeECS) ListServiceDeployments(_ context.Context, in *ecs.ListServiceDeploymentsInput, _ ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error) {
	name := aws.ToString(in.Service)
	done, err := f.begin("ListServiceDeployments", name)
	if err != nil {
		return nil, err
	}
	defer done()
	out := &ecs.ListServiceDeploymentsOutput{}
	for arn := range f.services[name].status {
		number := arn[strings.LastIndex(arn, "/d")+2:]
		out.ServiceDeployments = append(out.ServiceDeployments, types.ServiceDeploymentBrief{
			ServiceDeploymentArn:     &arn,
			TargetServiceRevisionArn: aws.String("arn:aws:ecs:us-east-1:1:service-revision/ecs-cluster/" + name + "/" + number),
		})
	}
	return out, nil
}

func (f *fakeECS) DescribeServiceDeployments(_ context.Context, in *ecs.DescribeServiceDeploymentsInput, _ ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error) {
	done, err := f.begin("DescribeServiceDeployments", "")
	if err != nil {
		return nil, err
	}
	defer done()
	out := &ecs.DescribeServiceDeploymentsOutput{}
	for _, arn := range in.ServiceDeploymentArns {
		out.ServiceDeployments = append(out.ServiceDeployments, types.ServiceDeployment{
			ServiceDeploymentArn: &arn, Status: f.services[strings.Split(arn, "/")[2]].status[arn],
		})
	}
	return out, nil
}

func (f *fakeECS) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	done, err := f.begin("ListTasks", aws.ToString(in.ServiceName))
	if err != nil {
		return nil, err
	}
	defer done()
	out := &ecs.ListTasksOutput{}
	for _, task := range f.stopped {
		out.TaskArns = append(out.TaskArns, aws.ToString(task.TaskArn))
	}
	return out, nil
}

func (f *fakeECS) DescribeTasks(_ context.Context, _ *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	done, err := f.begin("DescribeTasks", "")
	if err != nil {
		return nil, err
	}
	defer done()
	return &ecs.DescribeTasksOutput{Tasks: slices.Clone(f.stopped)}, nil
}

// fakeLogs has two lines in every stream.
type fakeLogs struct{ err error }

func (l fakeLogs) GetLogEvents(_ context.Context, in *cloudwatchlogs.GetLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error) {
	if l.err != nil {
		return nil, l.err
	}
	return &cloudwatchlogs.GetLogEventsOutput{Events: []logstypes.OutputLogEvent{
		{Message: aws.String("in " + aws.ToString(in.LogStreamName) + "\n")}, {Message: aws.String("last words")},
	}}, nil
}

// lossyECS loses the answer to the first UpdateService after it has worked.
type lossyECS struct {
	*fakeECS
	once sync.Once
}

func (l *lossyECS) UpdateService(ctx context.Context, in *ecs.UpdateServiceInput, options ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error) {
	out, err := l.fakeECS.UpdateService(ctx, in, options...)
	l.once.Do(func() { out, err = nil, fmt.Errorf("connection reset by peer") })
	return out, err
}
