package ecs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{})
	definition := p.RegisterTaskDefinition(p.Repo + ":none")
	p.CreateService(definition, func(in *ecs.CreateServiceInput) { in.DesiredCount = aws.Int32(0) })
	lone := p.UnattachedGroup()
	cluster := aws.String("test")
	register := func(change func(*ecs.RegisterTaskDefinitionInput)) func(context.Context) error {
		return func(ctx context.Context) error {
			in := &ecs.RegisterTaskDefinitionInput{
				Family: aws.String("f"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
				RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
				ContainerDefinitions:    []ecstypes.ContainerDefinition{{Name: aws.String("c"), Image: aws.String("i")}},
			}
			change(in)
			_, err := p.ECS.RegisterTaskDefinition(ctx, in)
			return err
		}
	}
	create := func(change func(*ecs.CreateServiceInput)) func(context.Context) error {
		return func(ctx context.Context) error {
			in := &ecs.CreateServiceInput{
				Cluster: cluster, ServiceName: aws.String("new"), TaskDefinition: &definition, NetworkConfiguration: localawstest.NetworkConfiguration,
				LoadBalancers: []ecstypes.LoadBalancer{{TargetGroupArn: &p.Group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000)}},
			}
			change(in)
			_, err := p.ECS.CreateService(ctx, in)
			return err
		}
	}
	tests := map[string]struct {
		call          func(context.Context) error
		code, message string
	}{
		"unknown cluster": {func(ctx context.Context) error {
			_, err := p.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: aws.String("none"), Services: []string{"app"}})
			return err
		}, "ClusterNotFoundException", "Cluster not found."},
		"too many services": {func(ctx context.Context) error {
			_, err := p.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: cluster, Services: strings.Split("abcdefghijk", "")})
			return err
		}, "InvalidParameterException", "Cannot describe more than 10 services."},
		"update of an unknown service": {func(ctx context.Context) error {
			_, err := p.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: cluster, Service: aws.String("none")})
			return err
		}, "ServiceNotFoundException", "Service not found."},
		"update to an unknown definition": {func(ctx context.Context) error {
			_, err := p.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: cluster, Service: aws.String("app"), TaskDefinition: aws.String("none:1")})
			return err
		}, "ClientException", "TaskDefinition not found."},
		"unknown definition": {func(ctx context.Context) error {
			_, err := p.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("app:99")})
			return err
		}, "ClientException", "Unable to describe task definition."},
		"deregistering without a revision": {func(ctx context.Context) error {
			_, err := p.ECS.DeregisterTaskDefinition(ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("app")})
			return err
		}, "ClientException", "Revision is missing."},
		"unknown task": {func(ctx context.Context) error {
			_, err := p.ECS.StopTask(ctx, &ecs.StopTaskInput{Cluster: cluster, Task: aws.String("none")})
			return err
		}, "InvalidParameterException", "The referenced task was not found."},
		"tasks of an unknown service": {func(ctx context.Context) error {
			_, err := p.ECS.ListTasks(ctx, &ecs.ListTasksInput{Cluster: cluster, ServiceName: aws.String("none")})
			return err
		}, "ServiceNotFoundException", "Service not found."},
		"tags of nothing": {func(ctx context.Context) error {
			_, err := p.ECS.ListTagsForResource(ctx, &ecs.ListTagsForResourceInput{ResourceArn: aws.String("arn:none")})
			return err
		}, "InvalidParameterException", "The specified resource is not found: arn:none"},
		"deleting a cluster with services": {func(ctx context.Context) error {
			_, err := p.ECS.DeleteCluster(ctx, &ecs.DeleteClusterInput{Cluster: cluster})
			return err
		}, "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."},
		"service that exists":  {create(func(in *ecs.CreateServiceInput) { in.ServiceName = aws.String("app") }), "InvalidParameterException", "Creation of service was not idempotent."},
		"service without name": {create(func(in *ecs.CreateServiceInput) { in.ServiceName = aws.String("a b") }), "InvalidParameterException", "Service name must contain"},
		"no network":           {create(func(in *ecs.CreateServiceInput) { in.NetworkConfiguration = nil }), "InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
		"negative count":       {create(func(in *ecs.CreateServiceInput) { in.DesiredCount = aws.Int32(-1) }), "InvalidParameterException", "desiredCount cannot be negative"},
		"unknown container": {
			create(func(in *ecs.CreateServiceInput) { in.LoadBalancers[0].ContainerName = aws.String("none") }),
			"InvalidParameterException", "The container none does not exist in the task definition.",
		},
		"unknown port": {
			create(func(in *ecs.CreateServiceInput) { in.LoadBalancers[0].ContainerPort = aws.Int32(1) }),
			"InvalidParameterException", "The container app did not have a container port 1 defined.",
		},
		"unknown target group": {
			create(func(in *ecs.CreateServiceInput) { in.LoadBalancers[0].TargetGroupArn = aws.String("arn:none") }),
			"InvalidParameterException", "The specified target group does not exist.",
		},
		"target group without load balancer": {
			create(func(in *ecs.CreateServiceInput) { in.LoadBalancers[0].TargetGroupArn = &lone }),
			"InvalidParameterException", "The target group with targetGroupArn " + lone + " does not have an associated load balancer.",
		},
		"no family":         {register(func(in *ecs.RegisterTaskDefinitionInput) { in.Family = aws.String("") }), "ClientException", "Family can not be blank."},
		"invalid family":    {register(func(in *ecs.RegisterTaskDefinitionInput) { in.Family = aws.String("a b") }), "ClientException", "Family contains invalid characters."},
		"no container":      {register(func(in *ecs.RegisterTaskDefinitionInput) { in.ContainerDefinitions = []ecstypes.ContainerDefinition{} }), "ClientException", "Container list cannot be empty."},
		"no image":          {register(func(in *ecs.RegisterTaskDefinitionInput) { in.ContainerDefinitions[0].Image = nil }), "ClientException", "Container.image should not be null or empty."},
		"no container name": {register(func(in *ecs.RegisterTaskDefinitionInput) { in.ContainerDefinitions[0].Name = nil }), "ClientException", "Container.name should not be null or empty."},
		"bridge":            {register(func(in *ecs.RegisterTaskDefinitionInput) { in.NetworkMode = ecstypes.NetworkModeBridge }), "ClientException", "Fargate only supports network mode ‘awsvpc’."},
		"no size":           {register(func(in *ecs.RegisterTaskDefinitionInput) { in.Cpu = nil }), "ClientException", "Fargate requires that 'cpu' and 'memory' be defined at the task level."},
		"invalid size":      {register(func(in *ecs.RegisterTaskDefinitionInput) { in.Memory = aws.String("8192") }), "ClientException", "No Fargate configuration exists for given values: 256 CPU, 8192 memory."},
		"dependency cycle": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].DependsOn = []ecstypes.ContainerDependency{{ContainerName: aws.String("c"), Condition: ecstypes.ContainerConditionStart}}
		}), "ClientException", "Container dependencies are not valid: c is unknown or depends on itself."},
		"essential dependency that must end": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions = []ecstypes.ContainerDefinition{containerDefinition("a", "i"), containerDefinition("b", "i", after("a", ecstypes.ContainerConditionComplete))}
		}), "ClientException", "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"},
		"dependency without health check": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions = []ecstypes.ContainerDefinition{containerDefinition("a", "i"), containerDefinition("b", "i", after("a", ecstypes.ContainerConditionHealthy))}
		}), "ClientException", "must have a health check: a"},
		"unknown condition": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions = []ecstypes.ContainerDefinition{containerDefinition("a", "i"), containerDefinition("b", "i", after("a", "READY"))}
		}), "ClientException", "Invalid container dependency condition 'READY'."},
		"no essential container": {
			register(func(in *ecs.RegisterTaskDefinitionInput) { in.ContainerDefinitions[0].Essential = aws.Bool(false) }),
			"ClientException", "Task definition doesn't have any essential container.",
		},
		"unknown volume": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].MountPoints = []ecstypes.MountPoint{{SourceVolume: aws.String("v"), ContainerPath: aws.String("/v")}}
		}), "ClientException", "Unknown volume 'v'."},
		"root directory of an access point": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.Volumes = []ecstypes.Volume{{Name: aws.String("v"), EfsVolumeConfiguration: &ecstypes.EFSVolumeConfiguration{
				FileSystemId: aws.String("fs-1"), RootDirectory: aws.String("/x"), AuthorizationConfig: &ecstypes.EFSAuthorizationConfig{AccessPointId: aws.String("fsap-1")},
			}}}
		}), "ClientException", `When using an EFS access point, the root directory must either be set to "/" or be omitted.`},
		"access point without encryption": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.Volumes = []ecstypes.Volume{{Name: aws.String("v"), EfsVolumeConfiguration: &ecstypes.EFSVolumeConfiguration{
				FileSystemId: aws.String("fs-1"), AuthorizationConfig: &ecstypes.EFSAuthorizationConfig{AccessPointId: aws.String("fsap-1")},
			}}}
		}), "ClientException", "transit encryption must be enabled"},
		"secrets without role": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].Secrets = []ecstypes.Secret{{Name: aws.String("KEY"), ValueFrom: aws.String("key")}}
		}), "ClientException", "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."},
		"duplicate name": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions = append(in.ContainerDefinitions, in.ContainerDefinitions[0])
		}), "ClientException", "Container name 'c' is used more than once."},
		"other host port": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].PortMappings = []ecstypes.PortMapping{{ContainerPort: aws.Int32(80), HostPort: aws.Int32(81)}}
		}), "ClientException", "When networkMode=awsvpc, the host ports and container ports in port mappings must match."},
		"no role for logs": {register(func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs}
		}), "ClientException", "Fargate requires task definition to have execution role ARN to support log driver awslogs."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.call(t.Context())
			var answered smithy.APIError
			require.ErrorAs(t, err, &answered)
			require.Equal(t, test.code, answered.ErrorCode())
			require.Contains(t, answered.ErrorMessage(), test.message)
		})
	}
}

func TestTaskDefinitions(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{})
	ctx := t.Context()
	for range 3 {
		p.RegisterTaskDefinition("nginx")
	}
	latest, err := p.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("app")})
	require.NoError(t, err)
	require.Equal(t, int32(3), latest.TaskDefinition.Revision)
	require.Equal(t, int32(8000), *latest.TaskDefinition.ContainerDefinitions[0].PortMappings[0].HostPort)
	require.Equal(t, []ecstypes.Compatibility{"EC2", "FARGATE"}, latest.TaskDefinition.Compatibilities)

	gone, err := p.ECS.DeregisterTaskDefinition(ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("app:3")})
	require.NoError(t, err)
	require.Equal(t, ecstypes.TaskDefinitionStatusInactive, gone.TaskDefinition.Status)
	require.NotNil(t, gone.TaskDefinition.DeregisteredAt)
	latest, err = p.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("app")})
	require.NoError(t, err)
	require.Equal(t, int32(2), latest.TaskDefinition.Revision)

	page, err := p.ECS.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{FamilyPrefix: aws.String("app"), Sort: ecstypes.SortOrderDesc, MaxResults: aws.Int32(1)})
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(page.TaskDefinitionArns[0], "app:2"))
	page, err = p.ECS.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{FamilyPrefix: aws.String("app"), Sort: ecstypes.SortOrderDesc, NextToken: page.NextToken})
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(page.TaskDefinitionArns[0], "app:1"))
	require.Nil(t, page.NextToken)
	families, err := p.ECS.ListTaskDefinitionFamilies(ctx, &ecs.ListTaskDefinitionFamiliesInput{Status: ecstypes.TaskDefinitionFamilyStatusActive})
	require.NoError(t, err)
	require.Equal(t, []string{"app"}, families.Families)

	deleted, err := p.ECS.DeleteTaskDefinitions(ctx, &ecs.DeleteTaskDefinitionsInput{TaskDefinitions: []string{"app:3", "app:2", "app:9"}})
	require.NoError(t, err)
	require.Equal(t, ecstypes.TaskDefinitionStatusDeleteInProgress, deleted.TaskDefinitions[0].Status)
	require.Len(t, deleted.Failures, 2)
	_, err = p.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("app:3")})
	require.Error(t, err)
	require.True(t, strings.HasSuffix(p.RegisterTaskDefinition("nginx"), "app:4"), "numbers are not used again")
}

func TestSizesWithUnits(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{})
	out, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("f"), Cpu: aws.String(".5 vCPU"), Memory: aws.String("1GB"), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, TaskRoleArn: aws.String("arn:aws:iam::000000000000:role/task"),
		ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("c"), Image: aws.String("i")}},
	})
	require.NoError(t, err)
	require.Equal(t, "512", *out.TaskDefinition.Cpu)
	require.Equal(t, "1024", *out.TaskDefinition.Memory)
	calls := p.Server.Calls()
	require.Equal(t, "PassRole", calls[len(calls)-2].Action)
	require.Equal(t, []string{"arn:aws:iam::000000000000:role/task"}, calls[len(calls)-2].Resources)
	require.Equal(t, map[string]string{"iam:PassedToService": "ecs-tasks.amazonaws.com"}, calls[len(calls)-2].Conditions)
}

// TestRecordedPermissions checks the condition keys and the additional actions of calls:
// clusters, task definitions of services, and tags at creation.
func TestRecordedPermissions(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{})
	ctx := t.Context()
	definition := p.RegisterTaskDefinition("nginx")
	p.CreateService(definition, func(in *ecs.CreateServiceInput) {
		in.DesiredCount, in.Tags = aws.Int32(0), []ecstypes.Tag{{Key: aws.String("of"), Value: aws.String("app")}}
	})
	_, err := p.ECS.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family:               aws.String("f"),
		ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("c"), Image: aws.String("i"), Memory: aws.Int32(128)}},
		Tags:                 []ecstypes.Tag{{Key: aws.String("sha"), Value: aws.String("1")}},
	})
	require.NoError(t, err)
	for _, revision := range []*string{&definition, nil} {
		_, err := p.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), TaskDefinition: revision})
		require.NoError(t, err)
	}
	calls := p.Server.Calls()
	calls = calls[len(calls)-4:]
	const cluster, service = "arn:aws:ecs:us-east-1:000000000000:cluster/test", "arn:aws:ecs:us-east-1:000000000000:service/test/app"
	for n, want := range []localaws.Call{
		{Action: "TagResource", Resources: []string{"arn:aws:ecs:us-east-1:000000000000:task-definition/f:*"}, Conditions: map[string]string{"ecs:CreateAction": "RegisterTaskDefinition", "aws:RequestTag/sha": "1"}},
		{Action: "RegisterTaskDefinition", Resources: []string{"arn:aws:ecs:us-east-1:000000000000:task-definition/f:*"}, Conditions: map[string]string{"aws:RequestTag/sha": "1"}},
		{Action: "UpdateService", Resources: []string{service}, Conditions: map[string]string{"ecs:cluster": cluster, "ecs:task-definition": definition, "aws:ResourceTag/of": "app"}},
		{Action: "UpdateService", Resources: []string{service}, Conditions: map[string]string{"ecs:cluster": cluster, "aws:ResourceTag/of": "app"}},
	} {
		got := calls[n]
		require.Equal(t, want, localaws.Call{Action: got.Action, Resources: got.Resources, Conditions: got.Conditions})
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{})
	ctx := t.Context()
	definition := p.RegisterTaskDefinition("nginx")
	p.CreateService(definition, func(in *ecs.CreateServiceInput) {
		in.DesiredCount = aws.Int32(0)
		in.Tags = []ecstypes.Tag{{Key: aws.String("sha"), Value: aws.String("1")}}
	})
	s, err := p.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: aws.String("test"), Services: []string{"app"}, Include: []ecstypes.ServiceField{ecstypes.ServiceFieldTags}})
	require.NoError(t, err)
	require.Equal(t, "1", *s.Services[0].Tags[0].Value)
	require.Empty(t, p.DescribeService().Tags, "tags are answered on request only")
	for _, arn := range []string{definition, *s.Services[0].ServiceArn, *s.Services[0].ClusterArn} {
		_, err := p.ECS.TagResource(ctx, &ecs.TagResourceInput{ResourceArn: &arn, Tags: []ecstypes.Tag{{Key: aws.String("b"), Value: aws.String("2")}, {Key: aws.String("a"), Value: aws.String("1")}}})
		require.NoError(t, err)
		_, err = p.ECS.UntagResource(ctx, &ecs.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"b", "sha"}})
		require.NoError(t, err)
		tags, err := p.ECS.ListTagsForResource(ctx, &ecs.ListTagsForResourceInput{ResourceArn: &arn})
		require.NoError(t, err)
		require.Len(t, tags.Tags, 1)
		require.Equal(t, "a", *tags.Tags[0].Key)
	}
	d, err := p.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &definition, Include: []ecstypes.TaskDefinitionField{ecstypes.TaskDefinitionFieldTags}})
	require.NoError(t, err)
	require.Len(t, d.Tags, 1)
}

// TestTaskTags checks that tasks get the tags of their task definition or service, as
// configured, and those of ECS.
func TestTaskTags(t *testing.T) {
	t.Parallel()
	for propagate, want := range map[ecstypes.PropagateTags]map[string]string{
		ecstypes.PropagateTagsTaskDefinition: {"of": "revision", "aws:ecs:clusterName": "test", "aws:ecs:serviceName": "app"},
		ecstypes.PropagateTagsService:        {"of": "service", "aws:ecs:clusterName": "test", "aws:ecs:serviceName": "app"},
		ecstypes.PropagateTagsNone:           {"aws:ecs:clusterName": "test", "aws:ecs:serviceName": "app"},
	} {
		t.Run(string(propagate), func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, fastOptions)
			definition := p.RegisterTaskDefinition(p.PushImage("one"))
			tag := func(value string) []ecstypes.Tag {
				return []ecstypes.Tag{{Key: aws.String("of"), Value: &value}}
			}
			_, err := p.ECS.TagResource(t.Context(), &ecs.TagResourceInput{ResourceArn: &definition, Tags: tag("revision")})
			require.NoError(t, err)
			p.CreateService(definition, func(in *ecs.CreateServiceInput) {
				in.PropagateTags, in.EnableECSManagedTags, in.Tags = propagate, true, tag("service")
			})
			p.WaitStable()
			out, err := p.ECS.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{
				Cluster: aws.String("test"), Tasks: []string{*p.DescribeTasks(ecstypes.DesiredStatusRunning)[0].TaskArn}, Include: []ecstypes.TaskField{ecstypes.TaskFieldTags},
			})
			require.NoError(t, err)
			got := map[string]string{}
			for _, tag := range out.Tasks[0].Tags {
				got[*tag.Key] = *tag.Value
			}
			require.Equal(t, want, got)
		})
	}
}

func TestInvalidTags(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{})
	var many []ecstypes.Tag
	for n := range 51 {
		many = append(many, ecstypes.Tag{Key: aws.String(fmt.Sprint(n)), Value: aws.String("")})
	}
	for want, tags := range map[string][]ecstypes.Tag{
		"at most 50 tags": many, "are reserved: aws:x": {{Key: aws.String("aws:x"), Value: aws.String("")}},
	} {
		_, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: aws.String("f"), ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("c"), Image: aws.String("i")}}, Tags: tags,
		})
		require.ErrorContains(t, err, want)
	}
}

func TestListAndDelete(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	ctx := t.Context()
	definition := p.RegisterTaskDefinition(p.PushImage("one"))
	for i := range 12 {
		p.CreateService(definition, func(in *ecs.CreateServiceInput) {
			in.ServiceName, in.DesiredCount, in.LoadBalancers = aws.String(fmt.Sprintf("s%02d", i)), aws.Int32(0), nil
		})
	}
	p.CreateService(definition)
	p.WaitStable()
	clusters, err := p.ECS.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{"test", "none"}, Include: []ecstypes.ClusterField{ecstypes.ClusterFieldTags}})
	require.NoError(t, err)
	require.Equal(t, int32(13), clusters.Clusters[0].ActiveServicesCount)
	require.Equal(t, int32(2), clusters.Clusters[0].RunningTasksCount)
	require.Equal(t, "MISSING", *clusters.Failures[0].Reason)
	var arns []string
	pages := ecs.NewListServicesPaginator(p.ECS, &ecs.ListServicesInput{Cluster: aws.String("test")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.ServiceArns), 10)
		arns = append(arns, page.ServiceArns...)
	}
	require.Len(t, arns, 13)

	_, err = p.ECS.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: aws.String("test"), Service: aws.String("app")})
	require.ErrorContains(t, err, "The service cannot be stopped while it is scaled above 0.")
	setDrain(p, p.Group, "3600") // until the target group is deleted
	for _, arn := range arns {
		_, err := p.ECS.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: aws.String("test"), Service: &arn, Force: aws.Bool(true)})
		require.NoError(t, err)
	}
	_, err = p.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app")})
	require.ErrorContains(t, err, "ServiceNotActiveException")
	again := &ecs.CreateServiceInput{
		Cluster: aws.String("test"), ServiceName: aws.String("app"), TaskDefinition: &definition, DesiredCount: aws.Int32(0), NetworkConfiguration: localawstest.NetworkConfiguration,
	}
	_, err = p.ECS.CreateService(ctx, again)
	require.ErrorContains(t, err, "Unable to Start a service that is still Draining.")
	balancers, err := p.ELB.DescribeLoadBalancers(ctx, &elbv2.DescribeLoadBalancersInput{})
	require.NoError(t, err)
	_, err = p.ELB.DeleteLoadBalancer(ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: balancers.LoadBalancers[0].LoadBalancerArn})
	require.NoError(t, err)
	_, err = p.ELB.DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: &p.Group})
	require.NoError(t, err)
	require.NoError(t, ecs.NewServicesInactiveWaiter(p.ECS, func(o *ecs.ServicesInactiveWaiterOptions) { o.MinDelay, o.MaxDelay = 1e7, 1e8 }).
		Wait(ctx, &ecs.DescribeServicesInput{Cluster: aws.String("test"), Services: []string{"app"}}, 120e9))
	_, err = p.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app")})
	require.ErrorContains(t, err, "ServiceNotActiveException", "however far its deletion is")
	_, err = p.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("none")})
	require.ErrorContains(t, err, "ServiceNotFoundException")
	p.Eventually(func(ecstypes.Service) bool {
		_, err := p.ECS.DeleteCluster(ctx, &ecs.DeleteClusterInput{Cluster: aws.String("test")})
		return err == nil
	})
	list, err := p.ECS.ListClusters(ctx, &ecs.ListClustersInput{})
	require.NoError(t, err)
	require.Empty(t, list.ClusterArns)
}
