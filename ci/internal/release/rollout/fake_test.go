package rollout_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/smithy-go"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// fakeClock advances instead of waiting.
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

// behavior is how a deployment of an image behaves; the name of the image starts with it.
type behavior string

const (
	completes behavior = "good"   // completes
	rollsBack behavior = "bad"    // ECS's circuit breaker rolls back
	alarms    behavior = "alarm"  // an alarm makes ECS roll back
	fails     behavior = "failed" // ECS gives it up without a rollback
	stays     behavior = "stuck"  // never completes
	replaced  behavior = "taken"  // somebody else deploys
	vanishes  behavior = "gone"   // the service is deleted
	stopped   behavior = "halt"   // somebody stops the deployment
	undone    behavior = "undo"   // somebody deploys the previous revision
	missing   behavior = "none"   // the image does not exist: no task starts
)

// deleted is the status of a revision that ECS no longer has.
const deleted types.TaskDefinitionStatus = "DELETED"

// deploymentTime is how long deployments take.
const deploymentTime = 3 * time.Second

// fakeECS is an ECS on a fake clock: deployments proceed as it advances, and reads may
// be stale.
type fakeECS struct {
	clock *fakeClock

	mu          sync.Mutex
	definitions []*types.TaskDefinition
	tags        map[string][]types.Tag
	services    map[string]*fakeService
	schedules   map[string]*scheduler.GetScheduleOutput
	stopped     []types.Task
	calls       []string
	times       []time.Time // of calls
	number      int
	noAPI       bool // no service deployments API
	drains      bool // tasks of the previous version outlive a successful deployment
	givesUp     bool // a rollback to a missing image fails instead of continuing

	deletedImages map[string]bool // deleted from the registry
	failAt        map[string]bool // services and stages at which an alarm is triggered

	tasks     []*fakeTask // standalone
	runTask   taskBehavior
	executing func() // called when a standalone task starts
	network   *types.NetworkConfiguration

	// failCall is called before each call, and returns the error of the call.
	failCall func(operation, service string) error
	// loseResponse reports whether the response of a call that took effect is lost.
	loseResponse func(operation, service string) bool
	// readLag returns how stale a read is.
	readLag func() time.Duration
}

// state is the readable state of a service.
type state struct {
	at          time.Time
	deleted     bool
	deployments []types.Deployment
	records     []types.ServiceDeployment // newest first
	events      []types.ServiceEvent
}

func (s state) running() (n int32) {
	for _, d := range s.deployments {
		n += d.RunningCount
	}
	return n
}

type fakeService struct {
	state
	name    string
	web     bool // behind a load balancer; the others are workers
	past    []state
	due     []scheduledChange
	good    string // the last revision that completed
	desired int32

	config          *types.DeploymentConfiguration
	balancers       []types.LoadBalancer
	balancersBefore []types.LoadBalancer // of the revision before, if they differ
	share, maxShare float64              // of production traffic, to the newest version
	afterHook       func()               // when the deployment is continued
	group           string               // of the newest deployment
	groups          map[int]string
}

type scheduledChange struct {
	at   time.Time
	what func()
}

func newFakeECS(clock *fakeClock) *fakeECS {
	return &fakeECS{clock: clock, tags: map[string][]types.Tag{}, services: map[string]*fakeService{}, schedules: map[string]*scheduler.GetScheduleOutput{}, deletedImages: map[string]bool{}, failAt: map[string]bool{}}
}

func apiError(code string) error {
	return &smithy.GenericAPIError{Code: code, Message: "of the fake"}
}

// addService adds a service with one complete deployment of an image.
func (f *fakeECS) addService(name, image string) { f.add(platform.Service{Name: name}, image) }

// add is addService for an entry of the services file.
func (f *fakeECS) add(entry platform.Service, image string) {
	definition := f.register(entry.Family(), types.ContainerDefinition{
		Name: aws.String(entry.ContainerName()), Image: &image,
		Environment: []types.KeyValuePair{{Name: aws.String("VERSION"), Value: aws.String("old")}},
		LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
			"awslogs-group": entry.LogGroup(), "awslogs-stream-prefix": "ecs",
		}},
	})
	f.tags[definition] = []types.Tag{{Key: aws.String("slipway:sha"), Value: aws.String("old")}}
	s := &fakeService{name: serviceKey(aws.String(entry.ClusterName()), aws.String(entry.ServiceName())), desired: 1, web: entry.Name == "a"}
	f.services[s.name] = s
	f.deploy(s.name, definition)
	s.due = nil
	f.complete(s)
}

func (f *fakeECS) register(family string, containers ...types.ContainerDefinition) string {
	revision := int32(1)
	for _, d := range f.definitions {
		if *d.Family == family {
			revision = d.Revision + 1
		}
	}
	arn := fmt.Sprintf("arn:aws:ecs:us-east-1:1:task-definition/%s:%d", family, revision)
	f.definitions = append(f.definitions, &types.TaskDefinition{
		TaskDefinitionArn: &arn, Family: &family, Revision: revision, RegisteredAt: aws.Time(f.clock.Now()), Status: types.TaskDefinitionStatusActive,
		ContainerDefinitions: containers,
	})
	return arn
}

func (f *fakeECS) find(arn string) *types.TaskDefinition {
	for _, d := range f.definitions {
		if *d.TaskDefinitionArn == arn {
			return d
		}
	}
	return nil
}

// deploy starts a deployment of a definition, as UpdateService does.
func (f *fakeECS) deploy(service, definition string) {
	s := f.services[service]
	if len(s.records) > 0 && !ended(s.records[0].Status) {
		f.record(s, types.ServiceDeploymentStatusStopped, "Service deployment stopped because a newer service deployment was started.")
	}
	s.due = nil
	var sources []types.ServiceRevisionSummary
	if len(s.deployments) > 0 {
		before, _ := strconv.Atoi(strings.TrimPrefix(*s.deployments[0].Id, "ecs-svc/"))
		sources = []types.ServiceRevisionSummary{{Arn: aws.String(f.revisionARN(service, before))}}
	}
	id := f.primary(s, definition)
	s.records = slices.Insert(slices.Clone(s.records), 0, types.ServiceDeployment{
		ServiceDeploymentArn:   aws.String(fmt.Sprintf("arn:aws:ecs:us-east-1:1:service-deployment/ecs-cluster/%s/d%d", service, id)),
		TargetServiceRevision:  &types.ServiceRevisionSummary{Arn: aws.String(f.revisionARN(service, id))},
		SourceServiceRevisions: sources,
		Status:                 types.ServiceDeploymentStatusInProgress, CreatedAt: aws.Time(f.clock.Now()),
	})
	if s.shifts() {
		s.records[0].LifecycleStage = types.ServiceDeploymentLifecycleStageScaleUp
	}
	f.later(s, func() { f.finishDeployment(s) })
	f.remember(s)
}

func (f *fakeECS) revisionARN(service string, id int) string {
	return fmt.Sprintf("arn:aws:ecs:us-east-1:1:service-revision/ecs-cluster/%s/%d", service, id)
}

// advanced reports whether the service has what ECS shifts traffic with.
func (s *fakeService) advanced() bool {
	return slices.ContainsFunc(s.balancers, func(b types.LoadBalancer) bool { return b.AdvancedConfiguration != nil })
}

// primary adds a primary deployment.
func (f *fakeECS) primary(s *fakeService, definition string) int {
	f.number++
	s.deployments = slices.Clone(s.deployments)
	for i := range s.deployments {
		s.deployments[i].Status = aws.String("ACTIVE")
	}
	now := f.clock.Now()
	s.deployments = slices.Insert(s.deployments, 0, types.Deployment{
		Id: aws.String(fmt.Sprintf("ecs-svc/%d", f.number)), Status: aws.String("PRIMARY"), CreatedAt: &now,
		TaskDefinition: &definition, RolloutState: types.DeploymentRolloutStateInProgress, DesiredCount: s.desired,
	})
	if s.group != blueGroup {
		s.group = blueGroup
	} else if s.shifts() {
		s.group = greenGroup
	}
	if s.groups == nil {
		s.groups = map[int]string{}
	}
	if s.advanced() { // the revisions before name none
		s.groups[f.number] = s.group
	}
	f.event(s, "has started 1 tasks")
	return f.number
}

func (f *fakeECS) event(s *fakeService, text string) {
	s.events = slices.Insert(slices.Clone(s.events), 0, types.ServiceEvent{
		Id: aws.String(fmt.Sprint(s.name, len(s.events))), Message: aws.String("(service " + s.name + ") " + text),
	})
}

func ended(status types.ServiceDeploymentStatus) bool {
	switch status {
	case types.ServiceDeploymentStatusSuccessful, types.ServiceDeploymentStatusStopped,
		types.ServiceDeploymentStatusRollbackSuccessful, types.ServiceDeploymentStatusRollbackFailed:
		return true
	}
	return false
}

// record sets the status of the newest service deployment.
func (f *fakeECS) record(s *fakeService, status types.ServiceDeploymentStatus, reason string) {
	s.records = slices.Clone(s.records)
	s.records[0].Status = status
	if reason != "" {
		s.records[0].StatusReason = &reason
	}
}

func (f *fakeECS) later(s *fakeService, what func()) {
	s.due = append(s.due, scheduledChange{f.clock.Now().Add(deploymentTime), what})
}

// remember saves the service's state for stale reads.
func (f *fakeECS) remember(s *fakeService) {
	s.at = f.clock.Now()
	s.past = append(s.past, s.state)
}

// complete completes the primary deployment, unless its image is missing.
func (f *fakeECS) complete(s *fakeService) {
	primary := s.deployments[0]
	if f.lacksImage(*primary.TaskDefinition) && primary.DesiredCount > 0 {
		f.event(s, "is unable to consistently start tasks successfully.")
		f.remember(s)
		return
	}
	if s.deployments = slices.Clone(s.deployments); !f.drains || len(s.deployments) == 1 {
		s.deployments = s.deployments[:1]
	}
	s.deployments[0].RolloutState = types.DeploymentRolloutStateCompleted
	s.deployments[0].RunningCount = s.deployments[0].DesiredCount
	s.good = *s.deployments[0].TaskDefinition
	if !ended(s.records[0].Status) {
		f.record(s, types.ServiceDeploymentStatusSuccessful, "")
	}
	f.remember(s)
}

// lacksImage reports whether an image of a revision is missing, so that no task starts.
func (f *fakeECS) lacksImage(definition string) bool {
	for _, c := range f.find(definition).ContainerDefinitions {
		if behaviorOf(*c.Image) == missing || f.deletedImages[*c.Image] {
			return true
		}
	}
	return false
}

// remove deregisters or deletes a revision.
func (f *fakeECS) remove(arn string, status types.TaskDefinitionStatus) {
	if d := f.find(arn); d != nil {
		d.Status = status
	}
}

// rollBack rolls back to the last revision that completed.
func (f *fakeECS) rollBack(s *fakeService, reason string) {
	s.due, s.share = nil, 0
	if s.balancersBefore != nil {
		s.balancers, s.balancersBefore = s.balancersBefore, nil
	}
	f.record(s, types.ServiceDeploymentStatusRollbackInProgress, reason)
	s.deployments = slices.Clone(s.deployments)
	s.deployments[0].RolloutState = types.DeploymentRolloutStateFailed
	f.primary(s, s.good)
	f.remember(s)
	f.later(s, func() {
		if f.complete(s); s.deployments[0].RolloutState == types.DeploymentRolloutStateCompleted {
			f.record(s, types.ServiceDeploymentStatusRollbackSuccessful, reason)
			f.remember(s)
		} else if f.givesUp {
			s.deployments = slices.Clone(s.deployments[:1])
			s.deployments[0].RolloutState = types.DeploymentRolloutStateFailed
			f.record(s, types.ServiceDeploymentStatusRollbackFailed, reason)
			f.remember(s)
		}
	})
}

// behaviorOf returns the behavior of an image.
func behaviorOf(image string) behavior {
	name, _, _ := strings.Cut(image, "@")
	return behavior(name)
}

// finishDeployment ends the primary deployment by the behavior of its image.
func (f *fakeECS) finishDeployment(s *fakeService) {
	switch behaviorOf(f.image(*s.deployments[0].TaskDefinition)) {
	case rollsBack:
		s.records = slices.Clone(s.records)
		s.records[0].DeploymentCircuitBreaker = &types.ServiceDeploymentCircuitBreaker{Status: types.ServiceDeploymentRollbackMonitorsStatusTriggered}
		f.rollBack(s, "Service deployment rolled back because the circuit breaker threshold was exceeded.")
	case alarms:
		f.setAlarm(s)
	case fails:
		s.deployments = slices.Clone(s.deployments)
		s.deployments[0].RolloutState = types.DeploymentRolloutStateFailed
		s.deployments[0].RolloutStateReason = aws.String("tasks failed to start")
		f.record(s, types.ServiceDeploymentStatusStopped, "tasks failed to start")
		f.remember(s)
	case replaced:
		f.deploy(s.name, f.register("other", types.ContainerDefinition{Name: aws.String("x"), Image: aws.String("good@sha256:other")}))
	case undone:
		f.deploy(s.name, s.good)
	case stopped:
		f.rollBack(s, "Service deployment rolled back because of a user request.")
	case vanishes:
		s.deleted = true
		f.remember(s)
	case stays:
		f.event(s, "was unable to place a task because no subnet has a free address.")
		f.remember(s)
	default:
		if s.shifts() {
			f.scaledUp(s)
			return
		}
		f.complete(s)
	}
}

// settle executes the scheduled changes that are due.
func (f *fakeECS) settle() {
	for _, s := range f.services {
		for again := true; again; {
			again = false
			for i, h := range s.due {
				if !h.at.After(f.clock.Now()) {
					s.due = slices.Delete(slices.Clone(s.due), i, i+1)
					h.what()
					again = true
					break
				}
			}
		}
	}
}

// settleAll advances the clock until no change is scheduled.
func (f *fakeECS) settleAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range 10 {
		_ = f.clock.Sleep(context.Background(), deploymentTime)
		f.settle()
	}
}

// image returns the image of a revision's last container, which is the service's own.
func (f *fakeECS) image(definition string) string {
	containers := f.find(definition).ContainerDefinitions
	return *containers[len(containers)-1].Image
}

// running returns the image of a service's primary deployment, or of a job's schedule.
func (f *fakeECS) running(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if image := f.scheduledImage(name); image != "" {
		return image
	}
	return f.image(*f.services["ecs-"+name+"-service"].deployments[0].TaskDefinition)
}

// read returns the state of a service with the read lag.
func (f *fakeECS) read(s *fakeService) state {
	if f.readLag == nil {
		return s.state
	}
	moment := f.clock.Now().Add(-f.readLag())
	for _, past := range slices.Backward(s.past) {
		if !past.at.After(moment) {
			return past
		}
	}
	return s.past[0]
}

// begin locks the fake, settles it and records the call, or fails it.
func (f *fakeECS) begin(operation, service string) (func(), error) {
	f.mu.Lock()
	f.settle()
	f.calls = append(f.calls, strings.TrimSuffix(operation+" "+service, " "))
	f.times = append(f.times, f.clock.Now())
	if f.failCall != nil {
		if err := f.failCall(operation, service); err != nil {
			f.mu.Unlock()
			return nil, err
		}
	}
	return f.mu.Unlock, nil
}

// response fails a call whose response is lost.
func (f *fakeECS) response(operation, service string) error {
	if f.loseResponse != nil && f.loseResponse(operation, service) {
		return fmt.Errorf("%s: connection reset by peer", operation)
	}
	return nil
}

// serviceKey returns the key of a service: its name, after that of its cluster if it is not
// the default one.
func serviceKey(cluster, name *string) string {
	if *cluster == platform.Cluster {
		return *name
	}
	return *cluster + ":" + *name
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
		s := f.services[serviceKey(in.Cluster, &name)]
		if s == nil {
			continue
		}
		now := f.read(s)
		status := "ACTIVE"
		if now.deleted {
			status = "INACTIVE"
		}
		service := types.Service{
			ServiceName: &name, Status: &status, TaskDefinition: now.deployments[0].TaskDefinition, DesiredCount: s.desired,
			RunningCount: now.running(), NetworkConfiguration: f.network, Deployments: now.deployments, Events: now.events, CreatedAt: aws.Time(time.Unix(0, 0)),
			DeploymentConfiguration: s.config,
		}
		for _, d := range now.deployments {
			id, _ := strconv.Atoi(strings.TrimPrefix(*d.Id, "ecs-svc/"))
			service.CurrentServiceRevisions = append(service.CurrentServiceRevisions, types.ServiceCurrentRevisionSummary{Arn: aws.String(f.revisionARN(name, id)), RunningTaskCount: d.RunningCount})
		}
		if s.web {
			service.LoadBalancers = s.balancers
			if s.balancers == nil {
				service.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: aws.String(blueGroup), ContainerName: &name, ContainerPort: aws.Int32(8000)}}
			}
		}
		if !f.noAPI && len(now.records) > 0 {
			service.CurrentServiceDeployment = now.records[0].ServiceDeploymentArn
		}
		out.Services = append(out.Services, service)
	}
	return out, nil
}

func (f *fakeECS) DescribeTaskDefinition(_ context.Context, in *ecs.DescribeTaskDefinitionInput, _ ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error) {
	done, err := f.begin("DescribeTaskDefinition", "")
	if err != nil {
		return nil, err
	}
	defer done()
	if d := f.find(*in.TaskDefinition); d != nil && d.Status != deleted {
		return &ecs.DescribeTaskDefinitionOutput{TaskDefinition: new(*d), Tags: f.tags[*d.TaskDefinitionArn]}, nil
	}
	for _, d := range slices.Backward(f.definitions) {
		if *d.Family == *in.TaskDefinition && d.Status == types.TaskDefinitionStatusActive {
			return &ecs.DescribeTaskDefinitionOutput{TaskDefinition: new(*d), Tags: f.tags[*d.TaskDefinitionArn]}, nil
		}
	}
	return nil, apiError("ClientException")
}

func (f *fakeECS) ListTaskDefinitions(_ context.Context, in *ecs.ListTaskDefinitionsInput, _ ...func(*ecs.Options)) (*ecs.ListTaskDefinitionsOutput, error) {
	done, err := f.begin("ListTaskDefinitions", "")
	if err != nil {
		return nil, err
	}
	defer done()
	out := &ecs.ListTaskDefinitionsOutput{}
	for _, d := range slices.Backward(f.definitions) {
		if *d.Family == *in.FamilyPrefix && d.Status == in.Status {
			out.TaskDefinitionArns = append(out.TaskDefinitionArns, *d.TaskDefinitionArn)
		}
	}
	out.TaskDefinitionArns, out.NextToken = page(out.TaskDefinitionArns, in.NextToken, in.MaxResults, 100)
	return out, nil
}

// page returns a page of a list and the next token.
func page[T any](list []T, token *string, size *int32, most int) ([]T, *string) {
	from, _ := strconv.Atoi(aws.ToString(token))
	if size != nil {
		most = int(*size)
	}
	if from+most >= len(list) {
		return list[from:], nil
	}
	return list[from : from+most], aws.String(strconv.Itoa(from + most))
}

func (f *fakeECS) RegisterTaskDefinition(_ context.Context, in *ecs.RegisterTaskDefinitionInput, _ ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error) {
	done, err := f.begin("RegisterTaskDefinition", aws.ToString(in.Family))
	if err != nil {
		return nil, err
	}
	defer done()
	arn := f.register(aws.ToString(in.Family), in.ContainerDefinitions...)
	f.tags[arn] = in.Tags
	return &ecs.RegisterTaskDefinitionOutput{TaskDefinition: new(*f.find(arn))}, f.response("RegisterTaskDefinition", *in.Family)
}

func (f *fakeECS) UpdateService(_ context.Context, in *ecs.UpdateServiceInput, _ ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error) {
	name := serviceKey(in.Cluster, in.Service)
	done, err := f.begin("UpdateService", name)
	if err != nil {
		return nil, err
	}
	defer done()
	s := f.services[name]
	if c := in.DeploymentConfiguration; c != nil && c.LifecycleHooks == nil && s.config != nil { // ECS keeps them
		kept := *c
		kept.LifecycleHooks = s.config.LifecycleHooks
		in.DeploymentConfiguration = &kept
	}
	if in.TaskDefinition == nil { // starts no deployment
		if in.DeploymentConfiguration.Strategy != "" && in.DeploymentConfiguration.Strategy != types.DeploymentStrategyRolling && !s.advanced() {
			return nil, &smithy.GenericAPIError{Code: "ClientException", Message: "advancedConfiguration field is required for all loadBalancers"}
		}
		s.config = in.DeploymentConfiguration
		return &ecs.UpdateServiceOutput{Service: &types.Service{Deployments: s.deployments}}, f.response("UpdateService", name)
	}
	definition := f.find(*in.TaskDefinition)
	switch {
	case s.deleted:
		return nil, apiError("ServiceNotActiveException")
	case definition == nil || definition.Status != types.TaskDefinitionStatusActive:
		return nil, &smithy.GenericAPIError{Code: "ClientException", Message: "TaskDefinition is inactive"}
	}
	if in.DesiredCount != nil {
		s.desired = *in.DesiredCount
	}
	if in.DeploymentConfiguration != nil {
		s.config = in.DeploymentConfiguration
	}
	if in.LoadBalancers != nil {
		s.balancersBefore, s.balancers = s.balancers, in.LoadBalancers
	}
	switch {
	case in.ForceNewDeployment || *s.deployments[0].TaskDefinition != *in.TaskDefinition:
		f.deploy(name, *in.TaskDefinition)
	case in.DesiredCount != nil:
		s.deployments = slices.Clone(s.deployments)
		s.deployments[0].DesiredCount = s.desired
		if s.deployments[0].RolloutState != types.DeploymentRolloutStateFailed { // ECS does not retry a failed deployment
			f.later(s, func() { f.complete(s) })
		}
		f.remember(s)
	}
	return &ecs.UpdateServiceOutput{Service: &types.Service{Deployments: s.deployments}}, f.response("UpdateService", name)
}

func (f *fakeECS) StopServiceDeployment(_ context.Context, in *ecs.StopServiceDeploymentInput, _ ...func(*ecs.Options)) (*ecs.StopServiceDeploymentOutput, error) {
	arn := aws.ToString(in.ServiceDeploymentArn)
	name := strings.Split(arn, "/")[2]
	done, err := f.begin("StopServiceDeployment", name)
	if err != nil {
		return nil, err
	}
	defer done()
	s := f.services[name]
	if *s.records[0].ServiceDeploymentArn != arn || ended(s.records[0].Status) {
		return nil, apiError("ConflictException")
	}
	s.due = nil
	f.rollBack(s, "Service deployment rolled back because of a user request.")
	return &ecs.StopServiceDeploymentOutput{}, f.response("StopServiceDeployment", name)
}

func (f *fakeECS) ListServiceDeployments(_ context.Context, in *ecs.ListServiceDeploymentsInput, _ ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error) {
	name := serviceKey(in.Cluster, in.Service)
	done, err := f.begin("ListServiceDeployments", name)
	if err != nil {
		return nil, err
	}
	defer done()
	if f.noAPI {
		return nil, apiError("UnknownOperationException")
	}
	out := &ecs.ListServiceDeploymentsOutput{}
	for _, d := range f.read(f.services[name]).records {
		if len(in.Status) > 0 && !slices.Contains(in.Status, d.Status) {
			continue
		}
		out.ServiceDeployments = append(out.ServiceDeployments, types.ServiceDeploymentBrief{
			ServiceDeploymentArn: d.ServiceDeploymentArn, TargetServiceRevisionArn: d.TargetServiceRevision.Arn, Status: d.Status, StatusReason: d.StatusReason,
			CreatedAt: d.CreatedAt,
		})
	}
	out.ServiceDeployments, out.NextToken = page(out.ServiceDeployments, in.NextToken, in.MaxResults, 100)
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
		for _, d := range f.read(f.services[strings.Split(arn, "/")[2]]).records {
			if *d.ServiceDeploymentArn == arn {
				out.ServiceDeployments = append(out.ServiceDeployments, d)
			}
		}
	}
	return out, nil
}

func (f *fakeECS) DescribeServiceRevisions(_ context.Context, in *ecs.DescribeServiceRevisionsInput, _ ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error) {
	done, err := f.begin("DescribeServiceRevisions", "")
	if err != nil {
		return nil, err
	}
	defer done()
	out := &ecs.DescribeServiceRevisionsOutput{}
	for _, arn := range in.ServiceRevisionArns {
		id, _ := strconv.Atoi(arn[strings.LastIndex(arn, "/")+1:])
		for _, past := range f.services[strings.Split(arn, "/")[2]].past {
			if primary := past.deployments[0]; *primary.Id == fmt.Sprintf("ecs-svc/%d", id) {
				revision := types.ServiceRevision{ServiceRevisionArn: &arn, TaskDefinition: primary.TaskDefinition}
				if group := f.services[strings.Split(arn, "/")[2]].groups[id]; group != "" {
					revision.ResolvedConfiguration = &types.ResolvedConfiguration{LoadBalancers: []types.ServiceRevisionLoadBalancer{{TargetGroupArn: &group}}}
				}
				out.ServiceRevisions = append(out.ServiceRevisions, revision)
				break
			}
		}
	}
	return out, nil
}

func (f *fakeECS) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	done, err := f.begin("ListTasks", serviceKey(in.Cluster, aws.String(aws.ToString(in.ServiceName))))
	if err != nil {
		return nil, err
	}
	defer done()
	out := &ecs.ListTasksOutput{}
	if in.StartedBy != nil || in.Family != nil && in.DesiredStatus == types.DesiredStatusRunning {
		out.TaskArns = f.listStandalone(in.StartedBy, in.Family, in.DesiredStatus)
		return out, nil
	}
	if in.DesiredStatus != types.DesiredStatusStopped {
		return out, nil
	}
	out.TaskArns = f.listStandalone(nil, in.Family, in.DesiredStatus)
	for _, task := range f.stopped {
		out.TaskArns = append(out.TaskArns, aws.ToString(task.TaskArn))
	}
	return out, nil
}

func (f *fakeECS) DescribeTasks(_ context.Context, in *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	done, err := f.begin("DescribeTasks", "")
	if err != nil {
		return nil, err
	}
	defer done()
	if strings.Contains(in.Tasks[0], "/standalone-") {
		return &ecs.DescribeTasksOutput{Tasks: f.describeStandalone(in.Tasks)}, nil
	}
	return &ecs.DescribeTasksOutput{Tasks: slices.Clone(f.stopped)}, nil
}

// fakeLogs has the same lines in every stream, two by default.
type fakeLogs struct {
	err   error
	lines []string
}

func (l fakeLogs) GetLogEvents(_ context.Context, in *cloudwatchlogs.GetLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error) {
	if l.err != nil {
		return nil, l.err
	}
	lines := l.lines
	if lines == nil {
		lines = []string{"in " + aws.ToString(in.LogStreamName) + "\n", "last line"}
	}
	out := &cloudwatchlogs.GetLogEventsOutput{NextForwardToken: aws.String("end")}
	if in.NextToken != nil {
		return out, nil
	}
	for _, line := range lines {
		out.Events = append(out.Events, logstypes.OutputLogEvent{Message: &line})
	}
	return out, nil
}
