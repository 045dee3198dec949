package preview_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/preview"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	api = platform.Service{Name: "api", Port: 8000, HealthPath: "/health", Routes: []string{"/api", "/api/*"}, DesiredCount: 2, Strategy: &platform.Strategy{Type: platform.Canary}}
	web = platform.Service{Name: "a-name-of-twenty-five-cha", Port: 8080, HealthPath: "/", Routes: []string{"/*"}, DesiredCount: 2}
	bot = platform.Service{Name: "bot", DesiredCount: 2}

	expires = time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)
)

// environment is an embedded AWS with the services of an environment, without tasks.
type environment struct {
	*localawstest.Platform
	preview.Client
	listener string
	mu       sync.Mutex
	events   []string
}

// start creates the environment. The catch-all is a rule, and a rule of /api/* has its
// usual priority.
func start(t *testing.T) *environment {
	t.Helper()
	p := localawstest.Start(t, localaws.Options{TimeScale: 100})
	e := &environment{Platform: p}
	engine := rollout.Engine{ECS: p.ECS, Clock: clock.Real{}}
	e.Client = preview.Client{ECS: p.ECS, ELB: p.ELB, Clock: clock.Real{}, Prefix: platform.Project, Clusters: []string{platform.Cluster}, Register: engine.Register, Event: func(service, text string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.events = append(e.events, service+": "+text)
	}}
	_, err := p.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String(platform.Cluster)})
	require.NoError(t, err)
	balancer, err := p.ELB.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: aws.String(platform.LoadBalancer), Subnets: []string{"subnet-1", "subnet-2"}})
	require.NoError(t, err)
	for _, port := range []int32{platform.DefaultTestListenerPort, 80} { // the first is not for previews
		listener, err := p.ELB.CreateListener(t.Context(), &elb.CreateListenerInput{
			LoadBalancerArn: balancer.LoadBalancers[0].LoadBalancerArn, Port: &port, Protocol: elbtypes.ProtocolEnumHttp,
			DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumFixedResponse, FixedResponseConfig: &elbtypes.FixedResponseActionConfig{StatusCode: aws.String("404")}}},
		})
		require.NoError(t, err)
		e.listener = *listener.Listeners[0].ListenerArn
	}
	for _, s := range []platform.Service{api, web, bot} {
		e.create(s)
	}
	return e
}

func (e *environment) create(s platform.Service) {
	e.Helper()
	definition, err := e.Platform.ECS.RegisterTaskDefinition(e.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String(s.Family()), Cpu: aws.String("1024"), Memory: aws.String("4096"), NetworkMode: types.NetworkModeAwsvpc,
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/exec"), TaskRoleArn: aws.String("arn:aws:iam::000000000000:role/task"),
		ContainerDefinitions: []types.ContainerDefinition{{
			Name: aws.String(s.ContainerName()), Image: aws.String("image"), PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(int32(s.Port))}},
			LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{"awslogs-group": s.LogGroup(), "awslogs-stream-prefix": "ecs"}},
		}},
	})
	require.NoError(e, err)
	input := &ecs.CreateServiceInput{
		Cluster: aws.String(platform.Cluster), ServiceName: aws.String(s.ServiceName()), TaskDefinition: definition.TaskDefinition.TaskDefinitionArn,
		DesiredCount: aws.Int32(0), LaunchType: types.LaunchTypeFargate, NetworkConfiguration: localawstest.NetworkConfiguration,
		DeploymentConfiguration: &types.DeploymentConfiguration{Alarms: &types.DeploymentAlarms{Enable: true, Rollback: true, AlarmNames: []string{"errors"}}},
	}
	if s.IsWeb() {
		group := e.NewTargetGroup(strings.ReplaceAll(s.TargetGroup(), "-tg", ""), s.HealthPath)
		input.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: &group, ContainerName: aws.String(s.ContainerName()), ContainerPort: aws.Int32(int32(s.Port))}}
		for _, route := range s.Routes {
			priority := platform.RoutePriority(route)
			if route == platform.CatchAll {
				priority = 50000
			}
			e.rule(priority, group, nil, route)
		}
	}
	_, err = e.Platform.ECS.CreateService(e.Context(), input)
	require.NoError(e, err)
}

func (e *environment) rule(priority int, group string, tags []elbtypes.Tag, route string) {
	e.Helper()
	_, err := e.Platform.ELB.CreateRule(e.Context(), &elb.CreateRuleInput{
		ListenerArn: &e.listener, Priority: aws.Int32(int32(priority)), Tags: tags,
		Conditions: []elbtypes.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{route}}},
		Actions:    []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}},
	})
	require.NoError(e, err)
}

// up prepares a preview.
func (e *environment) up(spec preview.Spec, services ...platform.Service) ([]preview.Entry, preview.Address, error) {
	e.Helper()
	spec.Expires = expires
	existing, err := e.FindOne(e.Context(), spec.Number)
	require.NoError(e, err)
	originals, absent, err := e.Originals(e.Context(), services)
	require.NoError(e, err)
	require.Empty(e, absent)
	return e.Prepare(e.Context(), spec, originals, existing)
}

// resources returns the names of all resources, with the conditions of rules by priority.
func (e *environment) resources() []string {
	e.Helper()
	var all []string
	services, err := e.Platform.ECS.ListServices(e.Context(), &ecs.ListServicesInput{Cluster: aws.String(platform.Cluster), MaxResults: aws.Int32(100)})
	require.NoError(e, err)
	for _, arn := range services.ServiceArns {
		all = append(all, arn[strings.LastIndex(arn, "/")+1:])
	}
	groups, err := e.Platform.ELB.DescribeTargetGroups(e.Context(), &elb.DescribeTargetGroupsInput{})
	require.NoError(e, err)
	for _, group := range groups.TargetGroups {
		all = append(all, "group "+*group.TargetGroupName)
	}
	rules, err := e.Platform.ELB.DescribeRules(e.Context(), &elb.DescribeRulesInput{ListenerArn: &e.listener})
	require.NoError(e, err)
	for _, r := range rules.Rules {
		line := "rule " + *r.Priority
		for _, c := range r.Conditions {
			line += " " + strings.Join(c.Values, " ")
		}
		all = append(all, line)
	}
	families, err := e.Platform.ECS.ListTaskDefinitions(e.Context(), &ecs.ListTaskDefinitionsInput{})
	require.NoError(e, err)
	for _, arn := range families.TaskDefinitionArns {
		all = append(all, arn[strings.LastIndex(arn, "/")+1:])
	}
	return all
}

func TestPrepare(t *testing.T) {
	e := start(t)
	before := e.resources()
	entries, address, err := e.up(preview.Spec{Number: 7, HostSuffix: "preview.example.com"}, api, web, bot)
	require.NoError(t, err)
	require.Regexp(t, `^http://pr7\.preview\.example\.com:\d+$`, address.URL())
	exact, below := platform.RoutePriority("/api"), platform.RoutePriority("/api/*")
	added := slices.DeleteFunc(e.resources(), func(name string) bool { return slices.Contains(before, name) })
	require.Equal(t, []string{
		"ecs-pr7-a-name-of-twenty-five-cha", "ecs-pr7-api", "ecs-pr7-bot",
		"group ecs-pr7-api", "group ecs-pr7-35bfc6d13abe",
		fmt.Sprintf("rule %d pr7.preview.example.com /api", exact-1),
		fmt.Sprintf("rule %d pr7.preview.example.com /api/*", below-1),
		"rule 49999 pr7.preview.example.com",
		"ecs-pr7-a-name-of-twenty-five-cha:1", "ecs-pr7-api:1", "ecs-pr7-bot:1",
	}, added)

	one := entries[0]
	require.Equal(t, []string{"256", "512", "ecs-pr7-api"}, []string{*one.Template.Cpu, *one.Template.Memory, *one.Template.Family})
	require.Equal(t, map[string]string{"awslogs-group": "/ecs/ecs-api", "awslogs-stream-prefix": "pr7"}, one.Template.ContainerDefinitions[0].LogConfiguration.Options)
	require.Equal(t, "arn:aws:iam::000000000000:role/task", *one.Template.TaskRoleArn)
	require.Equal(t, []any{"ecs-pr7-api", "ecs-pr7-api", "api", "ecs-microservices-api", 1}, []any{
		one.Service.ServiceName(), one.Service.Family(), one.Service.ContainerName(), one.Service.Repository(), one.Service.DesiredCount,
	})
	described, err := e.Platform.ECS.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String(platform.Cluster), Services: []string{"ecs-pr7-api"}, Include: []types.ServiceField{types.ServiceFieldTags}})
	require.NoError(t, err)
	require.Nil(t, one.Service.Strategy, "there is nothing to shift")
	require.Zero(t, described.Services[0].DesiredCount)
	require.Nil(t, described.Services[0].DeploymentConfiguration.Alarms, "not the environment's")
	require.Equal(t, []types.Tag{
		{Key: aws.String("slipway:expires"), Value: aws.String("2026-12-01T08:00:00Z")}, {Key: aws.String("slipway:preview"), Value: aws.String("7")},
	}, described.Services[0].Tags)

	calls := len(e.Server.Calls())
	_, _, err = e.up(preview.Spec{Number: 7, HostSuffix: "preview.example.com"}, api, web, bot)
	require.NoError(t, err)
	for _, call := range e.Server.Calls()[calls:] {
		require.Regexp(t, "^(Describe|List)", call.Action, "nothing is changed")
	}

	_, address, err = e.up(preview.Spec{Number: 7}, api, web)
	require.NoError(t, err)
	require.Regexp(t, `^http://127\.0\.0\.1:\d+/pr7$`, address.URL())
	require.Contains(t, e.resources(), "rule 49999 /pr7 /pr7/*", "the rules are those of the new address")
	require.NotContains(t, strings.Join(e.resources(), "\n"), "example.com")

	found, err := e.FindOne(t.Context(), 7)
	require.NoError(t, err)
	require.NoError(t, e.Tag(t.Context(), *found, "4d91", expires.Add(time.Hour)))
	found, err = e.FindOne(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, []any{"4d91", expires.Add(time.Hour)}, []any{found.SHA(), found.Expires()})

	removed, err := e.Remove(t.Context(), *found)
	require.NoError(t, err)
	require.Len(t, removed, 11)
	require.Equal(t, before, e.resources())

	_, _, err = e.up(preview.Spec{Number: 7}, api)
	require.NoError(t, err, "names are free again")
}

// TestOnlyItsOwn: what has another's name or lacks the tag stays as it is.
func TestOnlyItsOwn(t *testing.T) {
	e := start(t)
	number := func(n string) []elbtypes.Tag { return []elbtypes.Tag{{Key: aws.String("slipway:preview"), Value: &n}} }
	for name, tags := range map[string][]elbtypes.Tag{"ecs-pr7-queue": nil, "ecs-pr7-mail": number("8"), "ecs-products": number("7"), "ecs-pr07-api": number("7"), "ecs-pr70-api": number("70")} {
		_, err := e.Platform.ELB.CreateTargetGroup(t.Context(), &elb.CreateTargetGroupInput{Name: &name, Port: aws.Int32(80), Protocol: elbtypes.ProtocolEnumHttp, VpcId: aws.String("vpc-1"), Tags: tags})
		require.NoError(t, err)
	}
	product := platform.Service{Name: "pr7-foo", DesiredCount: 1}
	e.create(product)
	_, _, err := e.up(preview.Spec{Number: 7}, api)
	require.NoError(t, err)
	groups, err := e.Platform.ELB.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{Names: []string{"ecs-pr7-api", "ecs-api"}})
	require.NoError(t, err)
	for _, group := range groups.TargetGroups {
		if *group.TargetGroupName == "ecs-pr7-api" {
			e.rule(1, *group.TargetGroupArn, nil, "/mine") // without the tag
			continue
		}
		e.rule(2, *group.TargetGroupArn, number("7"), "/theirs") // to another's group
	}
	all, err := e.Find(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{7, 70}, slices.Sorted(maps.Keys(all)))
	removed, err := e.Remove(t.Context(), *all[7])
	require.ErrorContains(t, err, "deleting target group ecs-pr7-api", "somebody's rule uses it")
	require.Len(t, removed, 3)
	resources := e.resources()
	for _, name := range []string{"group ecs-pr7-queue", "group ecs-pr7-mail", "group ecs-products", "group ecs-pr07-api", "group ecs-pr70-api", "rule 1 /mine", "rule 2 /theirs", "ecs-pr7-foo-service", "ecs-pr7-foo-task:1"} {
		require.Contains(t, resources, name)
	}

	queue := platform.Service{Name: "queue", Port: 1, Routes: []string{"/q"}}
	e.create(queue)
	_, _, err = e.up(preview.Spec{Number: 7}, queue)
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.ErrorContains(t, err, "target group ecs-pr7-queue exists and is not of this preview")
	foo := platform.Service{Name: "foo-service", DesiredCount: 1}
	e.create(foo)
	_, _, err = e.up(preview.Spec{Number: 7}, foo)
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.ErrorContains(t, err, "ECS service ecs-pr7-foo-service exists and is not of this preview")
}

// TestHalfMissing removes and completes previews of which parts are missing.
func TestHalfMissing(t *testing.T) {
	e := start(t)
	before := e.resources()
	parts := map[string]func(p preview.Preview){
		"rules": func(preview.Preview) {
			rules, err := e.Platform.ELB.DescribeRules(t.Context(), &elb.DescribeRulesInput{ListenerArn: &e.listener})
			require.NoError(t, err)
			for _, r := range rules.Rules {
				if len(r.Conditions) > 0 && strings.HasPrefix(r.Conditions[0].Values[0], "/pr7") {
					_, err := e.Platform.ELB.DeleteRule(t.Context(), &elb.DeleteRuleInput{RuleArn: r.RuleArn})
					require.NoError(t, err)
				}
			}
		},
		"service": func(preview.Preview) {
			_, err := e.Platform.ECS.DeleteService(t.Context(), &ecs.DeleteServiceInput{Cluster: aws.String(platform.Cluster), Service: aws.String("ecs-pr7-api")})
			require.NoError(t, err)
		},
		"revisions": func(preview.Preview) {
			_, err := e.Platform.ECS.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("ecs-pr7-bot:1")})
			require.NoError(t, err)
		},
	}
	for name, drop := range parts {
		t.Run(name, func(t *testing.T) {
			_, _, err := e.up(preview.Spec{Number: 7}, api, bot)
			require.NoError(t, err)
			complete := len(e.resources())
			found, err := e.FindOne(t.Context(), 7)
			require.NoError(t, err)
			drop(*found)
			if name != "revisions" { // a service keeps its own
				_, _, err = e.up(preview.Spec{Number: 7}, api, bot)
				require.NoError(t, err)
				require.GreaterOrEqual(t, len(e.resources()), complete)
			}
			found, err = e.FindOne(t.Context(), 7)
			require.NoError(t, err)
			drop(*found)
			_, err = e.Remove(t.Context(), *found)
			require.NoError(t, err, "what is gone is no error")
			require.Equal(t, before, e.resources())
			none, err := e.FindOne(t.Context(), 7)
			require.NoError(t, err)
			require.Nil(t, none)
		})
	}
}

// TestConcurrent prepares previews at once: each gets rules of its own.
func TestConcurrent(t *testing.T) {
	e := start(t)
	before := len(e.resources())
	originals, _, err := e.Originals(t.Context(), []platform.Service{api, web})
	require.NoError(t, err)
	group, ctx := errgroup.WithContext(t.Context())
	for number := 1; number <= 5; number++ {
		group.Go(func() error {
			_, _, err := e.Prepare(ctx, preview.Spec{Number: number, Expires: expires}, originals, nil)
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, e.resources(), before+5*(2+2+3+2))
}

// TestConcurrentlyCreated: other runs create the same preview after this one has looked for
// it.
func TestConcurrentlyCreated(t *testing.T) {
	e := start(t)
	before := e.resources()
	originals, _, err := e.Originals(t.Context(), []platform.Service{api, bot})
	require.NoError(t, err)
	group, ctx := errgroup.WithContext(t.Context())
	for range 5 {
		group.Go(func() error {
			_, _, err := e.Prepare(ctx, preview.Spec{Number: 7, Expires: expires}, originals, nil)
			return err
		})
	}
	require.NoError(t, group.Wait())
	found, err := e.FindOne(t.Context(), 7)
	require.NoError(t, err)
	require.Len(t, found.Services(), 2)
	_, err = e.Remove(t.Context(), *found)
	require.NoError(t, err)
	require.Equal(t, before, e.resources())
}

func TestOriginals(t *testing.T) {
	e := start(t)
	alone := platform.Service{Name: "alone", Port: 8000, Routes: []string{"/alone"}}
	definition, err := e.Platform.ECS.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(api.Family())})
	require.NoError(t, err)
	_, err = e.Platform.ECS.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: aws.String(platform.Cluster), ServiceName: aws.String(alone.ServiceName()), TaskDefinition: definition.TaskDefinition.TaskDefinitionArn, DesiredCount: aws.Int32(0), NetworkConfiguration: localawstest.NetworkConfiguration,
	})
	require.NoError(t, err)
	alone.Names.Family = api.Family()
	_, _, err = e.Originals(t.Context(), []platform.Service{alone})
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.ErrorContains(t, err, "service alone of the environment is behind no load balancer, so its preview could not be reached")

	found, absent, err := e.Originals(context.WithoutCancel(t.Context()), []platform.Service{bot, {Name: "new"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, []string{"new"}, absent)
}

func TestTemplateSize(t *testing.T) {
	container := func(cpu, memory int32, tmpfs int32) types.ContainerDefinition {
		c := types.ContainerDefinition{Cpu: cpu, MemoryReservation: &memory}
		if tmpfs > 0 {
			c.LinuxParameters = &types.LinuxParameters{Tmpfs: []types.Tmpfs{{Size: tmpfs}}}
		}
		return c
	}
	for name, tt := range map[string]struct {
		containers []types.ContainerDefinition
		os         types.OSFamily
		want       [2]string
	}{
		"alone":          {[]types.ContainerDefinition{container(0, 0, 0)}, "", [2]string{"256", "512"}},
		"with a sidecar": {[]types.ContainerDefinition{container(256, 512, 0), container(64, 256, 0)}, "", [2]string{"512", "1024"}},
		"much memory":    {[]types.ContainerDefinition{container(0, 512, 2048)}, "", [2]string{"512", "3072"}},
		"on Windows":     {[]types.ContainerDefinition{container(0, 0, 0)}, types.OSFamilyWindowsServer2022Core, [2]string{"4096", "8192"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := preview.Client{Prefix: "ecs"}.Template(7, api, types.TaskDefinition{
				Cpu: aws.String("4096"), Memory: aws.String("8192"), ContainerDefinitions: tt.containers, RuntimePlatform: &types.RuntimePlatform{OperatingSystemFamily: tt.os},
			})
			require.Equal(t, tt.want, [2]string{*got.Cpu, *got.Memory})
		})
	}
}

func TestHostSuffix(t *testing.T) {
	for suffix, want := range map[string]bool{
		"preview.example.com": true, "a.b": true, "example": false, "": false, "*.example.com": false, ".example.com": false, "Example.com": false,
		"example.com/x": false, "-a.com": false, strings.Repeat("a", 120) + ".com": false,
	} {
		require.Equal(t, want, preview.ValidHostSuffix(suffix), suffix)
	}
}

// TestDenied: a role that IAM limits to previews may not deregister, which removes nothing
// that costs.
func TestDenied(t *testing.T) {
	e := start(t)
	before := e.resources()
	_, _, err := e.up(preview.Spec{Number: 7}, api)
	require.NoError(t, err)
	for _, action := range []string{"DeregisterTaskDefinition", "ListTaskDefinitionFamilies"} {
		found, err := e.FindOne(t.Context(), 7)
		require.NoError(t, err)
		e.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Service: "ecs", Action: action})
		if found != nil {
			_, err = e.Remove(t.Context(), *found)
			require.NoError(t, err)
		}
	}
	found, err := e.FindOne(t.Context(), 7)
	require.NoError(t, err)
	require.Nil(t, found)
	require.Equal(t, append(before, "ecs-pr7-api:1"), e.resources())
	require.Contains(t, strings.Join(e.events, "\n"), "task definition ecs-pr7-api stays, because this role may not deregister it")
}
