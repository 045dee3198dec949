package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Settings of the rehearsed platform, in real time. They are shorter than production's, so
// that a rollout takes seconds.
const (
	healthInterval    = 1               // seconds between health checks
	healthThreshold   = 2               // checks until a target is healthy or unhealthy
	drainSeconds      = 1               // deregistration delay
	stopSeconds       = 5               // from SIGTERM to SIGKILL
	uncheckedStart    = 3 * time.Second // until a task without health checks counts as healthy
	callTimeout       = 30 * time.Second
	startTimeout      = 5 * time.Minute
	startPollInterval = 100 * time.Millisecond
	productionPort    = 80
	// smokeTimeout is how long the smoke test retries: until the old targets are
	// drained.
	smokeTimeout = 2 * drainSeconds * time.Second
)

// defaultAccount is the embedded account of a rehearsal of one environment.
const defaultAccount = "000000000000"

// place is where the rehearsed platform is. Its roles are granted nothing by the embedded
// AWS.
type place struct {
	environment     platform.Environment
	account, region string
}

// newPlace returns the place of an environment, with defaults.
func newPlace(e platform.Environment, account string) place {
	return place{environment: e, account: cmp.Or(e.AccountID, account), region: cmp.Or(e.Region, platform.DefaultRegion)}
}

// role returns the ARN of the role prefix-name.
func (p place) role(name string) string {
	return "arn:aws:iam::" + p.account + ":role/" + p.environment.Prefix() + "-" + name
}

// clusterARN returns the ARN of a cluster.
func (p place) clusterARN(name string) string {
	return "arn:aws:ecs:" + p.region + ":" + p.account + ":cluster/" + name
}

// environment is the rehearsed platform, with clients for all calls but the delivery's.
type environment struct {
	ecs         *ecs.Client
	ecr         *ecr.Client
	elb         *elb.Client
	logs        *cloudwatchlogs.Client
	secrets     *secretsmanager.Client
	parameters  *ssm.Client
	schedules   *scheduler.Client
	place       place
	definitions definitions
	url         string                   // of the load balancer
	scale       int                      // see timeScale
	shifts      map[string]rollout.Shift // of the services whose traffic is shifted, by the entry's name
}

// nominal returns how many seconds of the embedded AWS take a number of real ones.
func (e *environment) nominal(seconds int) *int32 { return aws.Int32(int32(seconds * e.scale)) }

// Access keys that sign calls: of the rehearsed delivery, and of all other callers, such
// as Terraform and operators.
const (
	PipelineAccessKey = "pipeline"
	otherAccessKey    = "others"
)

// awsConfig returns a client configuration for the embedded AWS, which accepts any
// access key.
func (p place) awsConfig(endpoint, accessKey string, transport http.RoundTripper) aws.Config {
	return aws.Config{
		Region:       p.region,
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, "rehearsal", ""),
		HTTPClient:   &http.Client{Timeout: callTimeout, Transport: transport},
		Retryer:      awsauth.NewRetryer,
	}
}

func newEnvironment(at place, scale int, config aws.Config) *environment {
	return &environment{
		place: at, scale: scale, shifts: map[string]rollout.Shift{},
		ecs: ecs.NewFromConfig(config), ecr: ecr.NewFromConfig(config),
		elb: elb.NewFromConfig(config), logs: cloudwatchlogs.NewFromConfig(config),
		secrets: secretsmanager.NewFromConfig(config), parameters: ssm.NewFromConfig(config), schedules: scheduler.NewFromConfig(config),
	}
}

// createRepositories creates the services' repositories, of which some share one.
func (e *environment) createRepositories(ctx context.Context, services []platform.Service) error {
	created := map[string]bool{}
	for _, service := range services {
		if created[service.Repository()] {
			continue
		}
		created[service.Repository()] = true
		_, err := e.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{
			RepositoryName: aws.String(service.Repository()), ImageTagMutability: ecrtypes.ImageTagMutabilityImmutable,
		})
		if err != nil {
			return fmt.Errorf("creating repository %s: %w", service.Repository(), err)
		}
	}
	return nil
}

// bootstrap creates the resources that Terraform creates on AWS and starts the services
// with the given images. It returns when all of them are stable.
func (e *environment) bootstrap(ctx context.Context, services []platform.Service, d definitions) (err error) {
	if err := e.createClusters(ctx, services); err != nil {
		return err
	}
	if d.secrets, err = e.createSecrets(ctx, services); err != nil {
		return err
	}
	e.definitions = d
	listeners, err := e.createLoadBalancer(ctx, slices.ContainsFunc(services, platform.Service.ShiftsTraffic))
	if err != nil {
		return err
	}
	for _, service := range services {
		revision, err := e.register(ctx, service)
		if err != nil {
			return err
		}
		if service.IsJob() {
			if err := e.createSchedule(ctx, service, revision); err != nil {
				return err
			}
			continue
		}
		if err := e.createService(ctx, service, revision, listeners); err != nil {
			return err
		}
	}
	return e.waitComplete(ctx, services)
}

func (e *environment) createClusters(ctx context.Context, services []platform.Service) error {
	for _, service := range services {
		// It is no error in ECS that a cluster exists.
		_, err := e.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{
			ClusterName: aws.String(service.ClusterName()), CapacityProviders: []string{"FARGATE", "FARGATE_SPOT"},
		})
		if err != nil {
			return fmt.Errorf("creating cluster %s: %w", service.ClusterName(), err)
		}
	}
	return nil
}

// listeners are the ARNs of the load balancer's listeners. That for test traffic exists if a
// service's traffic is shifted.
type listeners struct{ production, test string }

func (e *environment) createLoadBalancer(ctx context.Context, shifts bool) (created listeners, err error) {
	balancers, err := e.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{
		Name: aws.String(e.place.environment.LoadBalancer()), Type: elbtypes.LoadBalancerTypeEnumApplication,
		Subnets: []string{"subnet-0a", "subnet-0b"},
	})
	if err != nil {
		return created, fmt.Errorf("creating load balancer %s: %w", e.place.environment.LoadBalancer(), err)
	}
	lb := balancers.LoadBalancers[0]
	e.url = "http://" + aws.ToString(lb.DNSName) // is the address of the first listener
	if created.production, err = e.createListener(ctx, lb.LoadBalancerArn, productionPort); err == nil && shifts {
		created.test, err = e.createListener(ctx, lb.LoadBalancerArn, e.place.environment.TestListenerPort())
	}
	return created, err
}

// createListener creates a listener without rules and returns its ARN.
func (e *environment) createListener(ctx context.Context, loadBalancer *string, port int) (string, error) {
	out, err := e.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: loadBalancer, Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(int32(port)),
		DefaultActions: []elbtypes.Action{{
			Type:                elbtypes.ActionTypeEnumFixedResponse,
			FixedResponseConfig: &elbtypes.FixedResponseActionConfig{StatusCode: aws.String("404"), ContentType: aws.String("text/plain"), MessageBody: aws.String("no service has this path")},
		}},
	})
	if err != nil {
		return "", fmt.Errorf("creating the listener on port %d: %w", port, err)
	}
	return aws.ToString(out.Listeners[0].ListenerArn), nil
}

// createTargetGroups creates the target group of a web service and its rules. If its traffic
// is shifted, it has two groups, and one rule on each listener.
func (e *environment) createTargetGroups(ctx context.Context, service platform.Service, at listeners) (group string, err error) {
	group, err = e.createTargetGroup(ctx, service, service.TargetGroup())
	if err != nil {
		return "", err
	}
	if !service.ShiftsTraffic() {
		forward := elbtypes.Action{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}
		for _, route := range service.Routes {
			if _, err := e.createRule(ctx, service, at.production, forward, route); err != nil {
				return "", err
			}
		}
		return group, nil
	}
	shift := rollout.Shift{TargetGroup: group, Role: e.place.role("ecs-infrastructure-role")}
	if shift.AlternateTargetGroup, err = e.createTargetGroup(ctx, service, service.AlternateTargetGroup()); err != nil {
		return "", err
	}
	forward := forwardTo(shift, 100, 0)
	if shift.ProductionRule, err = e.createRule(ctx, service, at.production, forward, service.Routes...); err == nil {
		shift.TestRule, err = e.createRule(ctx, service, at.test, forward, service.Routes...)
	}
	e.shifts[service.Name] = shift
	return group, err
}

// forwardTo returns the action that sends traffic to both target groups by weight.
func forwardTo(shift rollout.Shift, weight, alternate int32) elbtypes.Action {
	return elbtypes.Action{Type: elbtypes.ActionTypeEnumForward, ForwardConfig: &elbtypes.ForwardActionConfig{TargetGroups: []elbtypes.TargetGroupTuple{
		{TargetGroupArn: &shift.TargetGroup, Weight: &weight}, {TargetGroupArn: &shift.AlternateTargetGroup, Weight: &alternate},
	}}}
}

func (e *environment) createTargetGroup(ctx context.Context, service platform.Service, name string) (string, error) {
	interval := e.nominal(healthInterval)
	groups, err := e.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: &name, Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(int32(service.Port)),
		TargetType: elbtypes.TargetTypeEnumIp, VpcId: aws.String("vpc-0"),
		HealthCheckPath:            &service.HealthPath,
		HealthCheckIntervalSeconds: interval, HealthCheckTimeoutSeconds: aws.Int32(max(healthInterval, *interval-1)),
		HealthyThresholdCount: aws.Int32(healthThreshold), UnhealthyThresholdCount: aws.Int32(healthThreshold),
	})
	if err != nil {
		return "", fmt.Errorf("creating target group %s: %w", name, err)
	}
	group := groups.TargetGroups[0].TargetGroupArn
	_, err = e.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{
		TargetGroupArn: group,
		Attributes: []elbtypes.TargetGroupAttribute{{
			Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String(strconv.Itoa(drainSeconds * e.scale)),
		}},
	})
	if err != nil {
		return "", fmt.Errorf("setting the deregistration delay of %s: %w", name, err)
	}
	return aws.ToString(group), nil
}

// createRule creates a listener rule for routes of a service and returns its ARN.
func (e *environment) createRule(ctx context.Context, service platform.Service, listener string, action elbtypes.Action, routes ...string) (string, error) {
	out, err := e.elb.CreateRule(ctx, &elb.CreateRuleInput{
		ListenerArn: &listener, Priority: aws.Int32(int32(service.RulePriority(routes[0]))),
		Conditions: []elbtypes.RuleCondition{{Field: aws.String("path-pattern"), Values: routes}},
		Actions:    []elbtypes.Action{action},
	})
	if err != nil {
		return "", fmt.Errorf("creating the rule of %s for %s: %w", service.Name, strings.Join(routes, ", "), err)
	}
	return aws.ToString(out.Rules[0].RuleArn), nil
}

// register creates an entry's log group and registers its first revision.
func (e *environment) register(ctx context.Context, service platform.Service) (revision string, err error) {
	if _, err := e.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String(service.LogGroup())}); err != nil {
		return "", fmt.Errorf("creating log group %s: %w", service.LogGroup(), err)
	}
	definition, err := e.ecs.RegisterTaskDefinition(ctx, e.definitions.define(service))
	if err != nil {
		return "", fmt.Errorf("registering %s: %w", service.Family(), err)
	}
	return aws.ToString(definition.TaskDefinition.TaskDefinitionArn), nil
}

// networkConfiguration is that of all tasks.
func networkConfiguration() *ecstypes.NetworkConfiguration {
	return &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{
		Subnets: []string{"subnet-0c", "subnet-0d"}, SecurityGroups: []string{"sg-0"},
	}}
}

// createService creates the service of an entry, with its target group if it has one.
func (e *environment) createService(ctx context.Context, service platform.Service, revision string, at listeners) error {
	in := &ecs.CreateServiceInput{
		Cluster: aws.String(service.ClusterName()), ServiceName: aws.String(service.ServiceName()),
		TaskDefinition: &revision, DesiredCount: aws.Int32(int32(service.DesiredCount)), LaunchType: ecstypes.LaunchTypeFargate,
		DeploymentConfiguration: &ecstypes.DeploymentConfiguration{
			MinimumHealthyPercent: aws.Int32(100), MaximumPercent: aws.Int32(200),
			DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{Enable: true, Rollback: true},
			Alarms:                   &ecstypes.DeploymentAlarms{Enable: true, Rollback: true, AlarmNames: []string{alarmName(service)}},
		},
		NetworkConfiguration: networkConfiguration(),
	}
	if service.Spot != 0 {
		in.LaunchType, in.CapacityProviderStrategy = "", capacityProviders(service.Spot)
	}
	if service.IsWeb() {
		group, err := e.createTargetGroups(ctx, service, at)
		if err != nil {
			return err
		}
		in.LoadBalancers = []ecstypes.LoadBalancer{{
			TargetGroupArn: &group, ContainerName: aws.String(service.ContainerName()), ContainerPort: aws.Int32(int32(service.Port)),
		}}
		if service.GracePeriod != nil {
			in.HealthCheckGracePeriodSeconds = e.nominal(*service.GracePeriod)
		}
	}
	if _, err := e.ecs.CreateService(ctx, in); err != nil {
		return fmt.Errorf("creating service %s: %w", service.ServiceName(), err)
	}
	return nil
}

// createSchedule creates the schedule of a job.
func (e *environment) createSchedule(ctx context.Context, job platform.Service, revision string) error {
	network := networkConfiguration().AwsvpcConfiguration
	parameters := &schedulertypes.EcsParameters{
		TaskDefinitionArn: &revision, TaskCount: aws.Int32(1), LaunchType: schedulertypes.LaunchTypeFargate,
		NetworkConfiguration: &schedulertypes.NetworkConfiguration{AwsvpcConfiguration: &schedulertypes.AwsVpcConfiguration{
			Subnets: network.Subnets, SecurityGroups: network.SecurityGroups,
		}},
	}
	if job.Spot != 0 {
		parameters.LaunchType = ""
		for _, item := range capacityProviders(job.Spot) {
			parameters.CapacityProviderStrategy = append(parameters.CapacityProviderStrategy, schedulertypes.CapacityProviderStrategyItem{
				CapacityProvider: item.CapacityProvider, Weight: item.Weight,
			})
		}
	}
	_, err := e.schedules.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
		Name: aws.String(job.ScheduleName()), ScheduleExpression: &job.Schedule,
		ScheduleExpressionTimezone: aws.String(cmp.Or(job.ScheduleTimezone, "UTC")),
		FlexibleTimeWindow:         &schedulertypes.FlexibleTimeWindow{Mode: schedulertypes.FlexibleTimeWindowModeOff},
		Target: &schedulertypes.Target{
			Arn: aws.String(e.place.clusterARN(job.ClusterName())), RoleArn: aws.String(e.place.role(job.Name + "-schedule-role")), EcsParameters: parameters,
		},
	})
	if err != nil {
		return fmt.Errorf("creating schedule %s: %w", job.ScheduleName(), err)
	}
	return nil
}

// capacityProviders returns the strategy for a percentage of tasks on Fargate Spot.
func capacityProviders(spot int) []ecstypes.CapacityProviderStrategyItem {
	var strategy []ecstypes.CapacityProviderStrategyItem
	for _, provider := range []struct {
		name   string
		weight int
	}{{"FARGATE_SPOT", spot}, {"FARGATE", 100 - spot}} {
		if provider.weight > 0 {
			strategy = append(strategy, ecstypes.CapacityProviderStrategyItem{CapacityProvider: &provider.name, Weight: int32(provider.weight)})
		}
	}
	return strategy
}

// alarmName returns the name of a service's deployment alarm.
func alarmName(service platform.Service) string { return service.ServiceName() + "-errors" }

// waitComplete waits until the first deployment of every service is complete. The SDK's
// waiter is not enough: it counts running tasks, which may not be healthy yet.
func (e *environment) waitComplete(ctx context.Context, services []platform.Service) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	wait := clock.Real{}
	for _, service := range services {
		for !service.IsJob() {
			out, err := e.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{
				Cluster: aws.String(service.ClusterName()), Services: []string{service.ServiceName()},
			})
			if err != nil {
				return fmt.Errorf("waiting for the previous version of %s: %w", service.Name, err)
			}
			first := out.Services[0].Deployments[0]
			if first.RolloutState == ecstypes.DeploymentRolloutStateCompleted {
				break
			}
			if first.RolloutState == ecstypes.DeploymentRolloutStateFailed {
				return fmt.Errorf("starting the previous version of %s: %s", service.Name, e.stoppedReason(ctx, service))
			}
			if err := wait.Sleep(ctx, startPollInterval); err != nil {
				return fmt.Errorf("waiting for the previous version of %s: %w: %s", service.Name, err, e.stoppedReason(ctx, service))
			}
		}
	}
	return nil
}

// stoppedReason returns why a task of the service stopped, as far as it is known.
func (e *environment) stoppedReason(ctx context.Context, service platform.Service) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	list, err := e.ecs.ListTasks(ctx, &ecs.ListTasksInput{
		Cluster: aws.String(service.ClusterName()), ServiceName: aws.String(service.ServiceName()), DesiredStatus: ecstypes.DesiredStatusStopped,
	})
	if err != nil || len(list.TaskArns) == 0 {
		return "no task has stopped"
	}
	out, err := e.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: aws.String(service.ClusterName()), Tasks: list.TaskArns[:1]})
	if err != nil || len(out.Tasks) == 0 {
		return "its tasks stopped"
	}
	task := out.Tasks[0]
	reason := aws.ToString(task.StoppedReason)
	hint := rollout.Hint(report.Cause{Reason: reason}, service)
	for _, container := range task.Containers {
		if aws.ToString(container.Name) != service.ContainerName() {
			continue
		}
		if container.ExitCode != nil {
			reason += fmt.Sprintf(" (exit code %d)", *container.ExitCode)
		}
		lines, err := rollout.LogTail(ctx, e.logs, service.LogGroup(), path.Join("ecs", service.ContainerName(), path.Base(aws.ToString(task.TaskArn))))
		if err == nil && len(lines) > 0 {
			reason += "; its log ends with: " + lines[len(lines)-1]
		}
	}
	if hint != "" {
		reason += "; " + hint
	}
	return reason
}
