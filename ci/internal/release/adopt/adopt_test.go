package adopt_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/adopt"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const digest = "@sha256:0123456789012345678901234567890123456789012345678901234567890123"

// cluster is an embedded AWS with services that somebody else has created, without tasks.
type cluster struct{ *localawstest.Platform }

func newCluster(t *testing.T) cluster {
	t.Helper()
	return cluster{localawstest.New(t, "", localaws.Options{})}
}

// create creates a service.
func (c cluster) create(name, family string, groups []string, containers ...ecstypes.ContainerDefinition) {
	c.Helper()
	c.createFrom(name, groups, &ecs.RegisterTaskDefinitionInput{Family: &family, ContainerDefinitions: containers})
}

func (c cluster) createFrom(name string, groups []string, in *ecs.RegisterTaskDefinitionInput) {
	c.Helper()
	in.Cpu, in.Memory, in.NetworkMode = aws.String("512"), aws.String("1024"), ecstypes.NetworkModeAwsvpc
	in.RequiresCompatibilities = []ecstypes.Compatibility{ecstypes.CompatibilityFargate}
	in.ExecutionRoleArn = aws.String("arn:aws:iam::000000000000:role/exec")
	definition, err := c.ECS.RegisterTaskDefinition(c.Context(), in)
	c.RequireNoError(err)
	c.CreateService(*definition.TaskDefinition.TaskDefinitionArn, func(in *ecs.CreateServiceInput) {
		in.ServiceName, in.DesiredCount, in.LoadBalancers = &name, aws.Int32(0), nil
		for _, group := range groups {
			in.LoadBalancers = append(in.LoadBalancers, ecstypes.LoadBalancer{TargetGroupArn: &group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000)})
			in.HealthCheckGracePeriodSeconds = aws.Int32(90)
		}
	})
}

// rule forwards the requests of patterns and hosts to a target group.
func (c cluster) rule(priority int32, group string, patterns, hosts []string) {
	c.Helper()
	in := &elbv2.CreateRuleInput{
		ListenerArn: c.listener(), Priority: &priority,
		Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}},
	}
	if len(patterns) > 0 {
		in.Conditions = append(in.Conditions, elbtypes.RuleCondition{Field: aws.String("path-pattern"), PathPatternConfig: &elbtypes.PathPatternConditionConfig{Values: patterns}})
	}
	if len(hosts) > 0 {
		in.Conditions = append(in.Conditions, elbtypes.RuleCondition{Field: aws.String("host-header"), HostHeaderConfig: &elbtypes.HostHeaderConditionConfig{Values: hosts}})
	}
	_, err := c.ELB.CreateRule(c.Context(), in)
	c.RequireNoError(err)
}

// listener returns the ARN of the listener.
func (c cluster) listener() *string {
	c.Helper()
	found, err := c.ELB.DescribeTargetGroups(c.Context(), &elbv2.DescribeTargetGroupsInput{TargetGroupArns: []string{c.Group}})
	c.RequireNoError(err)
	listeners, err := c.ELB.DescribeListeners(c.Context(), &elbv2.DescribeListenersInput{LoadBalancerArn: &found.TargetGroups[0].LoadBalancerArns[0]})
	c.RequireNoError(err)
	return listeners.Listeners[0].ListenerArn
}

func (c cluster) image(repository string) *string {
	host, _, _ := strings.Cut(c.Repo, "/")
	return aws.String(host + "/" + repository + digest)
}

func container(name string, image *string, change ...func(*ecstypes.ContainerDefinition)) ecstypes.ContainerDefinition {
	c := ecstypes.ContainerDefinition{Name: &name, Image: image, Essential: aws.Bool(true)}
	for _, change := range change {
		change(&c)
	}
	return c
}

func variables(pairs ...string) []ecstypes.KeyValuePair {
	var list []ecstypes.KeyValuePair
	for n := 0; n < len(pairs); n += 2 {
		list = append(list, ecstypes.KeyValuePair{Name: &pairs[n], Value: &pairs[n+1]})
	}
	return list
}

func listens(c *ecstypes.ContainerDefinition) {
	c.PortMappings = []ecstypes.PortMapping{{ContainerPort: aws.Int32(8000)}}
}

// smallPages lists services in small pages.
type smallPages struct{ *ecs.Client }

func (s smallPages) ListServices(ctx context.Context, in *ecs.ListServicesInput, options ...func(*ecs.Options)) (*ecs.ListServicesOutput, error) {
	in.MaxResults = aws.Int32(3)
	return s.Client.ListServices(ctx, in, options...)
}

// withoutDefinition adds a service with an external deployment controller, which has task
// sets instead of a task definition.
type withoutDefinition struct{ *ecs.Client }

func (w withoutDefinition) DescribeServices(ctx context.Context, in *ecs.DescribeServicesInput, options ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	out, err := w.Client.DescribeServices(ctx, in, options...)
	if err == nil {
		out.Services = append(out.Services, ecstypes.Service{
			ServiceName: aws.String("external"), Status: aws.String("ACTIVE"),
			DeploymentController: &ecstypes.DeploymentController{Type: ecstypes.DeploymentControllerTypeExternal},
		})
	}
	return out, err
}

func TestReadServiceWithoutDefinition(t *testing.T) {
	c := newCluster(t)
	c.create("worker", "worker", nil, container("app", c.image("team/worker")))
	services, notes, err := adopt.Reader{ECS: withoutDefinition{c.ECS}, ELB: c.ELB}.Read(c.Context(), "test")
	require.NoError(t, err)
	require.Len(t, services, 1)
	require.Contains(t, notes, "external: left out, because its deployment controller is EXTERNAL: slipway supports ECS only")
}

func (c cluster) read() ([]platform.Service, []string, error) {
	return adopt.Reader{ECS: smallPages{c.ECS}, ELB: c.ELB}.Read(c.Context(), "test")
}

// entries are the entries by name of the file that was written, as it is parsed.
func entries(t *testing.T, services []platform.Service) map[string]platform.Service {
	t.Helper()
	parsed, err := platform.Parse(platform.Encode(services))
	require.NoError(t, err, "%s", platform.Encode(services))
	byName := map[string]platform.Service{}
	for _, s := range parsed.Services {
		byName[s.Name] = s
	}
	return byName
}

func TestRead(t *testing.T) {
	c := newCluster(t)
	web := c.NewTargetGroup("web", "/up")
	c.rule(1, web, []string{"/shop", "/shop/*"}, nil)
	c.create("Team_Web", "web", []string{web}, container("app", c.image("team/web"), listens, func(c *ecstypes.ContainerDefinition) {
		c.Environment = variables("MODE", "production", "PORT", "8000", "VERSION", "old", "DB_PASSWORD", "hunter2hunter2", "DB_URL", "postgres://me:swordfish@db/shop", "Bad.Name", "x")
		c.Secrets = []ecstypes.Secret{{Name: aws.String("KEY"), ValueFrom: aws.String("arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf:key::")}}
		c.User, c.StopTimeout, c.ReadonlyRootFilesystem = aws.String("1000:1000"), aws.Int32(60), aws.Bool(true)
		c.EntryPoint, c.Ulimits = []string{"/init"}, []ecstypes.Ulimit{{Name: ecstypes.UlimitNameNofile, SoftLimit: 1, HardLimit: 1}}
	}))
	c.create("ecs-worker-service", "ecs-worker-task", nil,
		container("proxy", aws.String("public.ecr.aws/envoy"+digest), func(c *ecstypes.ContainerDefinition) {
			c.Essential, c.Memory = aws.Bool(false), aws.Int32(128)
			c.HealthCheck = &ecstypes.HealthCheck{Command: []string{"CMD", "true"}, Interval: aws.Int32(10), Timeout: aws.Int32(5), Retries: aws.Int32(3)}
		}),
		container("worker", c.image("ecs-microservices-worker"), func(c *ecstypes.ContainerDefinition) {
			c.Command = []string{"work", "--queue", "a"}
			c.DependsOn = []ecstypes.ContainerDependency{{ContainerName: aws.String("proxy"), Condition: ecstypes.ContainerConditionHealthy}}
		}),
		container("migrate", c.image("ecs-microservices-worker"), func(c *ecstypes.ContainerDefinition) { c.Essential = aws.Bool(false) }),
		container("site", c.image("team/web"), func(c *ecstypes.ContainerDefinition) { c.Essential = aws.Bool(false) }),
		container("tagged", aws.String("busybox:1"), func(c *ecstypes.ContainerDefinition) { c.Essential = aws.Bool(false) }))
	c.createFrom("disks", nil, &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("disks"), TaskRoleArn: aws.String("arn:aws:iam::000000000000:role/disks"),
		RuntimePlatform:  &ecstypes.RuntimePlatform{CpuArchitecture: ecstypes.CPUArchitectureArm64, OperatingSystemFamily: ecstypes.OSFamilyLinux},
		EphemeralStorage: &ecstypes.EphemeralStorage{SizeInGiB: 50},
		ContainerDefinitions: []ecstypes.ContainerDefinition{container("disks", aws.String("nginx:1.29"), func(c *ecstypes.ContainerDefinition) {
			c.MountPoints = []ecstypes.MountPoint{{SourceVolume: aws.String("data"), ContainerPath: aws.String("/data"), ReadOnly: aws.Bool(true)}, {SourceVolume: aws.String("root"), ContainerPath: aws.String("/root")}}
		})},
		Volumes: []ecstypes.Volume{
			{Name: aws.String("data"), EfsVolumeConfiguration: &ecstypes.EFSVolumeConfiguration{
				FileSystemId: aws.String("fs-0123456789abcdef0"), TransitEncryption: ecstypes.EFSTransitEncryptionEnabled,
				AuthorizationConfig: &ecstypes.EFSAuthorizationConfig{AccessPointId: aws.String("fsap-0123456789abcdef0")},
			}},
			{Name: aws.String("root"), EfsVolumeConfiguration: &ecstypes.EFSVolumeConfiguration{FileSystemId: aws.String("fs-0123456789abcdef0")}},
		},
	})
	host := c.NewTargetGroup("host", "/")
	c.rule(2, host, nil, []string{"a.example.com"})
	c.create("by-host", "by-host", []string{host}, container("app", c.image("by-host"), listens))
	c.create("rest", "rest", []string{c.Group}, container("app", c.image("rest"), listens)) // the default action

	services, notes, err := c.read()
	require.NoError(t, err)
	got := entries(t, services)
	all := strings.Join(notes, "\n")
	require.Contains(t, all, "autoscaling, alarms and scheduled tasks are not read")
	require.Len(t, got, 5, all)

	require.Equal(t, platform.Service{
		Name:  "team-web",
		Build: platform.Build{Kind: platform.Prebuilt, Image: *c.image("team/web")},
		Names: platform.Names{Service: "Team_Web", Family: "web", Container: "app", Repository: "team/web", Cluster: "test"},
		Container: platform.Container{
			Environment: map[string]string{"MODE": "production"}, Secrets: map[string]string{"KEY": "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf:key::"},
			User: "1000:1000", StopTimeout: 60, ReadOnlyRootFilesystem: aws.Bool(true),
		},
		Port: 8000, HealthPath: "/up", Routes: []string{"/shop", "/shop/*"}, GracePeriod: aws.Int(90), CPU: 512, Memory: 1024,
	}, got["team-web"])
	for _, want := range []string{
		"Team_Web: environment variable DB_PASSWORD of container app looks like a secret, so its value is not written",
		"Team_Web: environment variable DB_URL of container app looks like a secret",
		`Team_Web: environment variable "Bad.Name" of container app is not in the entry`,
		"Team_Web: not in the entry: entryPoint, ulimits of container app; a release keeps it",
	} {
		require.Contains(t, all, want)
	}
	require.NotContains(t, string(platform.Encode(services))+all, "hunter2")
	require.NotContains(t, string(platform.Encode(services))+all, "swordfish")

	worker := got["worker"]
	require.Equal(t, platform.Names{Cluster: "test"}, worker.Names, "derived names are left out")
	require.False(t, worker.IsWeb())
	require.Equal(t, []string{"work", "--queue", "a"}, worker.Command)
	require.Equal(t, map[string]string{"proxy": "HEALTHY"}, worker.DependsOn)
	require.Equal(t, map[string]platform.Sidecar{
		"proxy": {
			Container: platform.Container{HealthCheck: &platform.HealthCheck{Command: []string{"CMD", "true"}, Interval: 10, Timeout: 5, Retries: 3}},
			Image:     "public.ecr.aws/envoy" + digest, Memory: 128,
		},
		"migrate": {ImageOf: "worker"}, "site": {ImageOf: "team-web"},
	}, worker.Sidecars)
	require.Contains(t, all, "ecs-worker-service: container tagged is left out, because its image busybox:1 has no digest, and no running task says which")

	disks := got["disks"]
	require.Equal(t, map[string]platform.Volume{"data": {MountPath: "/data", ReadOnly: true, EFSFileSystem: "fs-0123456789abcdef0", EFSAccessPoint: "fsap-0123456789abcdef0"}}, disks.Volumes)
	require.Equal(t, "ARM64", disks.Architecture)
	require.Equal(t, 50, disks.EphemeralStorage)
	require.Equal(t, "nginx:1.29", disks.Image)
	for _, want := range []string{
		"disks: volume root is not in the entry", "disks: its image is named by a tag, nginx:1.29", "disks: its image is not in Amazon ECR: create the repository ecs-microservices-disks",
		"disks: permissions of task role arn:aws:iam::000000000000:role/disks are not read",
	} {
		require.Contains(t, all, want)
	}

	require.Equal(t, []string{"/*"}, got["by-host"].Routes)
	require.Contains(t, all, "by-host: the rule of route /* also requires the host a.example.com, which routes cannot say: test it with --url")
	require.Empty(t, got["rest"].Routes)
	require.Contains(t, all, "rest: route /* is that of entry by-host, too: it is left out")
	require.Contains(t, all, "rest: written without port and routes")

	t.Run("a diff shows no change", func(t *testing.T) {
		engine := rollout.Engine{ECS: c.ECS, Logs: c.Logs, Clock: clock.Real{}, Event: func(string, string) {}}
		images := map[string]string{}
		for name, entry := range got {
			images[name] = entry.Image
		}
		request := rollout.Request{Version: "new"}
		for _, entry := range services {
			request.Targets = append(request.Targets, rollout.ImageTarget(entry, images))
		}
		diff, err := engine.Diff(t.Context(), request)
		require.NoError(t, err)
		require.False(t, diff.Changed, "%+v", diff.Services)

		for n := range request.Targets {
			request.Targets[n].Image = strings.Replace(request.Targets[n].Image, "0123", "9999", 1)
			request.Targets[n].Sidecars = nil
		}
		diff, err = engine.Diff(t.Context(), request)
		require.NoError(t, err)
		var paths []string
		for _, change := range diff.Services[len(diff.Services)-2].Changes {
			paths = append(paths, change.Path)
		}
		require.Equal(t, []string{"containers.app.image"}, paths, diff.Services[len(diff.Services)-2].Name)
	})
}

// TestReadStrategy adopts services that ECS shifts the traffic of. Of the rules that forward
// to their target groups, the production rule has the routes.
func TestReadStrategy(t *testing.T) {
	bake := func(n int) *int { return &n }
	for name, tt := range map[string]struct {
		config ecstypes.DeploymentConfiguration
		want   *platform.Strategy
	}{
		"rolling":    {ecstypes.DeploymentConfiguration{Strategy: ecstypes.DeploymentStrategyRolling}, nil},
		"blue/green": {ecstypes.DeploymentConfiguration{Strategy: ecstypes.DeploymentStrategyBlueGreen, BakeTimeInMinutes: aws.Int32(0)}, &platform.Strategy{Type: platform.BlueGreen, Bake: bake(0)}},
		"canary": {ecstypes.DeploymentConfiguration{
			Strategy: ecstypes.DeploymentStrategyCanary, BakeTimeInMinutes: aws.Int32(7),
			CanaryConfiguration: &ecstypes.CanaryConfiguration{CanaryPercent: aws.Float64(2.5), CanaryBakeTimeInMinutes: aws.Int32(3)},
		}, &platform.Strategy{Type: platform.Canary, Percent: 2.5, StepBake: bake(3), Bake: bake(7)}},
		"linear": {ecstypes.DeploymentConfiguration{
			Strategy: ecstypes.DeploymentStrategyLinear, BakeTimeInMinutes: aws.Int32(1),
			LinearConfiguration: &ecstypes.LinearConfiguration{StepPercent: aws.Float64(25), StepBakeTimeInMinutes: aws.Int32(0)},
		}, &platform.Strategy{Type: platform.Linear, Percent: 25, StepBake: bake(0), Bake: bake(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			alternate := c.NewTargetGroup("alternate", "/")
			c.rule(1, c.Group, []string{"/shop/*"}, nil)
			rules, err := c.ELB.DescribeRules(t.Context(), &elbv2.DescribeRulesInput{ListenerArn: c.listener()})
			require.NoError(t, err)
			definition := c.RegisterTaskDefinition(*c.image("team/shop"))
			c.CreateService(definition, func(in *ecs.CreateServiceInput) {
				in.DesiredCount, in.DeploymentConfiguration = aws.Int32(0), &tt.config
				if tt.want != nil {
					in.LoadBalancers[0].AdvancedConfiguration = &ecstypes.AdvancedConfiguration{
						AlternateTargetGroupArn: &alternate, ProductionListenerRule: rules.Rules[0].RuleArn, RoleArn: aws.String("arn:aws:iam::000000000000:role/infrastructure"),
					}
				}
			})
			services, notes, err := c.read()
			require.NoError(t, err)
			app := entries(t, services)["app"]
			require.Equal(t, tt.want, app.Strategy, notes)
			if tt.want != nil {
				require.Equal(t, []string{"/shop/*"}, app.Routes, "without the default action's")
			} else {
				require.Equal(t, []string{"/shop/*", "/*"}, app.Routes)
			}
		})
	}
}

func TestNamesOfEntries(t *testing.T) {
	c := newCluster(t)
	for n, service := range []string{"api", "API", "a_very_long_name_of_a_service_1", "a_very_long_name_of_a_service_2", "9", "ecs-api-service"} {
		c.create(service, fmt.Sprintf("f%d", n), nil, container("app", c.image(fmt.Sprintf("r%d", n))))
	}
	services, notes, err := c.read()
	require.NoError(t, err, notes)
	var names []string
	for _, s := range services {
		names = append(names, s.Name+" "+s.ServiceName())
	}
	require.Equal(t, []string{
		"a-very-long-name-of-a-s-2 a_very_long_name_of_a_service_2", "a-very-long-name-of-a-ser a_very_long_name_of_a_service_1",
		"api API", "api-2 api", "api-3 ecs-api-service", "s-9 9",
	}, names)
	require.Len(t, entries(t, services), 6)
}

func TestOneRepositoryForDifferentImages(t *testing.T) {
	c := newCluster(t)
	other := strings.Replace(*c.image("mono"), "0123", "9999", 1)
	c.create("a1", "a1", nil, container("a1", c.image("mono")))
	c.create("b1", "b1", nil, container("b1", &other))
	c.create("c1", "c1", nil, container("c1", c.image("mono")))
	services, notes, err := c.read()
	require.NoError(t, err)
	got := entries(t, services)
	require.Equal(t, "mono", got["a1"].Repository())
	require.Equal(t, "ecs-microservices-b1", got["b1"].Repository())
	require.Equal(t, "mono", got["c1"].Repository())
	require.Contains(t, strings.Join(notes, "\n"), "b1: its repository mono has different images")
}

// TestOneRepositoryToCreate adopts entries of one image whose repository does not exist.
func TestOneRepositoryToCreate(t *testing.T) {
	c := newCluster(t)
	for _, name := range []string{"Zeta", "eta"} {
		c.create(name, name, nil, container(name, aws.String("nginx:1.29")))
	}
	services, notes, err := c.read()
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(platform.Encode(services)), `"desired_count": 0`), "a count of 0 is no mistake")
	got := entries(t, services)
	require.Equal(t, "ecs-microservices-eta", got["eta"].Repository())
	require.Equal(t, "ecs-microservices-eta", got["zeta"].Repository())
	all := strings.Join(notes, "\n")
	require.Contains(t, all, "eta: its image is not in Amazon ECR: create the repository ecs-microservices-eta, to which a release copies it")
	require.Contains(t, all, "Zeta: its image is that of entry eta, so it shares the repository ecs-microservices-eta")
	require.Equal(t, 1, strings.Count(all, "create the repository"))
}

func TestNothingToAdopt(t *testing.T) {
	c := newCluster(t)
	_, _, err := adopt.Reader{ECS: c.ECS, ELB: c.ELB}.Read(t.Context(), "nope")
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.ErrorContains(t, err, "cluster nope does not exist: check its name, account and region")
	_, _, err = c.read()
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.ErrorContains(t, err, "cluster test has no services")
	c.create("api", "api", nil, container("app", aws.String("UPPER:1")))
	_, _, err = c.read()
	require.Equal(t, outcome.Failed, outcome.Of(err))
	require.ErrorContains(t, err, "no service of cluster test can be an entry: api: ")
}

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "terraform", "services.json")
	require.NoError(t, adopt.Write(file, []byte("one"), false))
	err := adopt.Write(file, []byte("two"), false)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.EqualError(t, err, file+" exists and is not overwritten: write another file with --out, or replace it with --force")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "one", string(content))
	require.NoError(t, adopt.Write(file, []byte("two"), true))
	content, err = os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "two", string(content))
	left, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file is left")
	require.Error(t, adopt.Write(filepath.Join(file, "x"), nil, false))
	require.Error(t, adopt.Write(filepath.Dir(file), nil, true), "a folder is not replaced")
}

func TestEncode(t *testing.T) {
	zero := 0
	text := string(platform.Encode([]platform.Service{{Name: "api", Build: platform.Build{Kind: platform.Go, Path: "api"}, CPU: 256, MinCount: &zero, Routes: []string{"/a", `/"b","c"`}}}))
	want := `{
  "services": {
    "api": {
      "kind": "go",
      "path": "api",
      "routes": ["/a", "/\"b\",\"c\""],
      "cpu": 256,
      "desired_count": 0,
      "min_count": 0
    }
  }
}
`
	require.Equal(t, want, text)
	require.True(t, json.Valid([]byte(text)))
}
