package preflight_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/preflight"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	arnBase      = "arn:aws:ecs:us-east-1:000000000000:"
	execRole     = "arn:aws:iam::000000000000:role/exec"
	taskRole     = "arn:aws:iam::000000000000:role/ecs/task"
	scheduleRole = "arn:aws:iam::000000000000:role/schedule"
	trust        = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

// fixture is an embedded AWS with everything that two services need.
type fixture struct {
	*localawstest.Platform
	checker preflight.Checker
	changes []rollout.ServiceChange
	secret  string // ARN
	other   string // ARN of a target group that no load balancer forwards to
}

func newFixture(t *testing.T) *fixture {
	p := localawstest.New(t, "", localaws.Options{})
	ctx := t.Context()
	role := func(name, path string) {
		_, err := p.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, Path: &path, AssumeRolePolicyDocument: aws.String(trust)})
		p.RequireNoError(err)
	}
	role("exec", "/")
	role("task", "/ecs/")
	made, err := p.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("db"), SecretString: aws.String(`{"password":"x"}`)})
	p.RequireNoError(err)
	for _, name := range []string{"/app/key", "plain"} {
		_, err = p.SSM.PutParameter(ctx, &ssm.PutParameterInput{Name: &name, Value: aws.String("v")})
		p.RequireNoError(err)
	}
	w := &fixture{Platform: p, secret: *made.ARN, other: p.UnattachedGroup()}
	w.checker = preflight.Checker{
		STS: p.STS, ECS: p.ECS, ECR: p.ECR, IAM: p.IAM, Logs: p.Logs, ELB: p.ELB, Secrets: p.Secrets, Parameters: p.SSM, Region: "us-east-1",
	}
	image := w.push(v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"})
	w.changes = []rollout.ServiceChange{w.change("api", image), w.change("web", image)}
	return w
}

// push pushes an index with an empty image for each platform and an attestation.
func (w *fixture) push(platforms ...v1.Platform) string {
	index := v1.ImageIndex(empty.Index)
	for _, p := range append(platforms, v1.Platform{OS: "unknown", Architecture: "unknown"}) {
		img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture})
		w.RequireNoError(err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
	}
	ref, err := name.ParseReference(w.Repo + ":index")
	w.RequireNoError(err)
	w.RequireNoError(remote.WriteIndex(ref, index, w.RemoteOptions()...))
	digest, err := index.Digest()
	w.RequireNoError(err)
	return w.Repo + "@" + digest.String()
}

func (w *fixture) change(name, image string) rollout.ServiceChange {
	return rollout.ServiceChange{
		Service: platform.Service{Name: name, HealthPath: "/health", Names: platform.Names{Cluster: "test"}}, Image: image,
		ECSService: ecstypes.Service{
			ServiceName: aws.String("ecs-" + name + "-service"), ServiceArn: aws.String(arnBase + "service/test/ecs-" + name + "-service"),
			ClusterArn: aws.String(arnBase + "cluster/test"), Status: aws.String("ACTIVE"),
			DeploymentController: &ecstypes.DeploymentController{Type: ecstypes.DeploymentControllerTypeEcs},
			LoadBalancers:        []ecstypes.LoadBalancer{{TargetGroupArn: &w.Group, ContainerName: &name, ContainerPort: aws.Int32(8000)}},
		},
		Definition: &ecs.RegisterTaskDefinitionInput{
			Family: aws.String(name), NetworkMode: ecstypes.NetworkModeAwsvpc, ExecutionRoleArn: aws.String(execRole), TaskRoleArn: aws.String(taskRole),
			RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
			ContainerDefinitions: []ecstypes.ContainerDefinition{{
				Name: &name, Image: &image, PortMappings: []ecstypes.PortMapping{{ContainerPort: aws.Int32(8000)}},
				LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
					"awslogs-group": localawstest.LogGroup, "awslogs-region": "us-east-1",
				}},
				Secrets: []ecstypes.Secret{
					{Name: aws.String("WHOLE"), ValueFrom: &w.secret},
					{Name: aws.String("PASSWORD"), ValueFrom: aws.String(w.secret + ":password:AWSCURRENT:")},
					{Name: aws.String("KEY"), ValueFrom: aws.String("arn:aws:ssm:us-east-1:000000000000:parameter/app/key")},
					{Name: aws.String("PLAIN"), ValueFrom: aws.String("plain")},
				},
				RepositoryCredentials: &ecstypes.RepositoryCredentials{CredentialsParameter: &w.secret},
			}},
		},
	}
}

// container returns the only container of the first service.
func (w *fixture) container() *ecstypes.ContainerDefinition {
	return &w.changes[0].Definition.ContainerDefinitions[0]
}

// check runs the checks. It drops the note that every service has about its secret.
func (w *fixture) check(t *testing.T) ([]string, error) {
	t.Helper()
	notes, err := w.checker.Check(t.Context(), w.changes)
	return slices.DeleteFunc(notes, func(note string) bool { return strings.HasPrefix(note, "not checked: JSON key") }), err
}

func TestNoFindings(t *testing.T) {
	w := newFixture(t)
	before := len(w.Server.Calls())
	notes, err := w.checker.Check(t.Context(), w.changes)
	require.NoError(t, err)
	require.Equal(t, []string{"not checked: JSON key password of " + w.secret + ": values of secrets are not read; a task whose secret lacks the key does not start"}, notes)

	calls := map[string]int{}
	for _, call := range w.Server.Calls()[before:] {
		calls[call.Action]++
	}
	require.Equal(t, map[string]int{
		"GetCallerIdentity": 1, "DescribeClusters": 1, "GetAuthorizationToken": 1, "BatchGetImage": 1, "GetRole": 2, "SimulatePrincipalPolicy": 2,
		"DescribeLogGroups": 1, "DescribeTargetGroups": 1, "DescribeSecret": 2, "DescribeParameters": 1,
	}, calls, "shared resources are checked once, and no secret value is read")

	id, err := w.checker.Identity(t.Context())
	require.NoError(t, err)
	require.Equal(t, preflight.Identity{Account: "000000000000", ARN: "arn:aws:iam::000000000000:user/local"}, id)
}

func TestFindings(t *testing.T) {
	tests := map[string]struct {
		change func(w *fixture)
		code   outcome.Code
		want   []string // one for each finding
	}{
		"another account": {func(w *fixture) {
			w.changes[0].ECSService.ServiceArn = aws.String("arn:aws:ecs:us-east-1:111111111111:service/test/ecs-api-service")
		}, outcome.Usage, []string{"service api: ECS service ecs-api-service is in account 111111111111, but the credentials are for account 000000000000 (arn:aws:iam::000000000000:user/local): use credentials for 111111111111"}},
		"another region": {func(w *fixture) { w.checker.Region = "eu-west-1" }, outcome.Usage, []string{
			"cluster test is in region us-east-1, but the configured region is eu-west-1: set AWS_REGION=us-east-1",
			"service api: ECS service ecs-api-service is in region us-east-1", "service web: ECS service",
		}},
		"a registry of another account": {func(w *fixture) {
			w.changes[0].Image = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/app@" + digestOf(w.changes[0].Image)
		}, outcome.Usage, []string{
			"service api: image registry 111111111111.dkr.ecr.eu-west-1.amazonaws.com is in account 111111111111",
			"service api: image registry 111111111111.dkr.ecr.eu-west-1.amazonaws.com is in region eu-west-1, but the configured region is us-east-1",
		}},
		"an inactive cluster": {func(w *fixture) {
			_, err := w.ECS.DeleteCluster(w.Context(), &ecs.DeleteClusterInput{Cluster: aws.String("test")})
			w.RequireNoError(err)
		}, outcome.Failed, []string{"cluster test is INACTIVE, not ACTIVE: create it with Terraform"}},
		"no service":          {func(w *fixture) { w.changes[0].ECSService = ecstypes.Service{} }, outcome.Failed, []string{"service api: cluster test has no ECS service ecs-api-service: create it"}},
		"a draining service":  {func(w *fixture) { w.changes[0].ECSService.Status = aws.String("DRAINING") }, outcome.Failed, []string{"service api: ECS service ecs-api-service is DRAINING, not ACTIVE"}},
		"CodeDeploy":          {func(w *fixture) { w.changes[0].ECSService.DeploymentController.Type = "CODE_DEPLOY" }, outcome.Refused, []string{"service api: ECS service ecs-api-service uses the deployment controller CODE_DEPLOY"}},
		"an image by tag":     {func(w *fixture) { w.changes[0].Image = w.Repo + ":index" }, outcome.Usage, []string{":index is not pinned to a digest: use repository@sha256:…"}},
		"no such image":       {func(w *fixture) { w.changes[0].Image = w.Repo + "@sha256:" + strings.Repeat("0", 64) }, outcome.Failed, []string{"service api: ECR repository app has no image sha256:0000"}},
		"no such repository":  {func(w *fixture) { w.changes[0].Image = strings.Replace(w.changes[0].Image, "/app@", "/nope@", 1) }, outcome.Failed, []string{"service api: ECR repository nope does not exist in account 000000000000 in region us-east-1"}},
		"no manifest for arm": {func(w *fixture) { w.onARM(w.push(v1.Platform{OS: "linux", Architecture: "amd64"})) }, outcome.Failed, []string{"does not support linux/arm64, the platform of its task definition; it supports linux/amd64: build it for linux/arm64"}},
		"no manifest at all":  {func(w *fixture) { w.onARM(w.push()) }, outcome.Failed, []string{"it supports no platform"}},
		"Windows": {func(w *fixture) {
			w.changes[0].Definition.RuntimePlatform = &ecstypes.RuntimePlatform{OperatingSystemFamily: ecstypes.OSFamilyWindowsServer2022Core}
		}, outcome.Failed, []string{"does not support windows/amd64, the platform of its task definition; it supports linux/amd64, linux/arm64"}},
		"no execution role": {func(w *fixture) { w.changes[0].Definition.ExecutionRoleArn = nil }, outcome.Usage, []string{"service api: its task definition has no execution role, which Fargate needs to read secrets: set executionRoleArn"}},
		"one missing role for both uses": {func(w *fixture) {
			for _, s := range w.changes {
				s.Definition.ExecutionRoleArn, s.Definition.TaskRoleArn = aws.String("arn:aws:iam::000000000000:role/nope"), aws.String("arn:aws:iam::000000000000:role/nope")
			}
		}, outcome.Failed, []string{"services api, web: execution and task role arn:aws:iam::000000000000:role/nope does not exist: create it"}},
		"a role of another path": {func(w *fixture) {
			w.changes[0].Definition.TaskRoleArn = aws.String("arn:aws:iam::000000000000:role/task")
		}, outcome.Usage, []string{"service api: task role arn:aws:iam::000000000000:role/task does not exist, but arn:aws:iam::000000000000:role/ecs/task does: correct the ARN"}},
		"a role for EC2":          {func(w *fixture) { w.trust("exec", strings.Replace(trust, "ecs-tasks", "ec2", 1)) }, outcome.Usage, []string{"execution role " + execRole + " cannot be assumed by tasks: allow sts:AssumeRole for the service ecs-tasks.amazonaws.com"}},
		"an invalid trust policy": {func(w *fixture) { w.trust("exec", "{") }, outcome.Usage, []string{"services api, web: cannot parse the trust policy of execution role " + execRole + ""}},
		"a role not passed":       {func(w *fixture) { w.Server.DenyInSimulator("iam:PassRole", taskRole) }, outcome.Failed, []string{"services api, web: task role " + taskRole + " may not be passed to tasks by arn:aws:iam::000000000000:user/local (implicitDeny of iam:PassRole): allow iam:PassRole on " + taskRole}},
		"no log group":            {func(w *fixture) { w.container().LogConfiguration.Options["awslogs-group"] = "/ecs" }, outcome.Failed, []string{"service api: log group /ecs does not exist in account"}},
		"no name of a log group": {func(w *fixture) { delete(w.container().LogConfiguration.Options, "awslogs-group") }, outcome.Usage, []string{
			"service api: container api uses the awslogs driver without awslogs-group",
		}},
		"no target group": {func(w *fixture) {
			w.changes[0].ECSService.LoadBalancers[0].TargetGroupArn = aws.String(w.Group + "0")
		}, outcome.Failed, []string{"service api: target group "}},
		"an unattached target group": {func(w *fixture) { w.changes[0].ECSService.LoadBalancers[0].TargetGroupArn = &w.other }, outcome.Failed, []string{"service api: target group lone is not attached to a load balancer"}},
		"no such container":          {func(w *fixture) { w.container().Name = aws.String("other") }, outcome.Usage, []string{"service api: its load balancer targets container api, which is not in the task definition (it has other)"}},
		"no such port":               {func(w *fixture) { w.container().PortMappings = nil }, outcome.Usage, []string{"service api: its load balancer targets port 8000 of container api, which is not in its portMappings"}},
		"an invalid health check path": {func(w *fixture) {
			w.healthAt("9000", "health")
			w.changes = w.changes[:1]
		}, outcome.Usage, []string{`service api: target group app has the health check path "health": want a path that begins with /`}},
		"a sidecar's image is gone": {func(w *fixture) {
			w.sidecar(w.Repo + "@sha256:" + strings.Repeat("a", 64))
		}, outcome.Usage, []string{"service api: image " + "127.0.0.1"}},
		"a sidecar's tag is gone": {func(w *fixture) { w.sidecar(w.Repo + ":v7") }, outcome.Usage, []string{":v7 of container agent does not exist in Amazon ECR, so new tasks cannot start: push it again, or change the image in the task definition"}},
		"a sidecar without a repository": {func(w *fixture) {
			w.sidecar(strings.TrimSuffix(w.Repo, "app") + "public-ecr/datadog/agent:latest")
		}, outcome.Usage, []string{"public-ecr/datadog/agent:latest of container agent does not exist in Amazon ECR"}},
		"an init container": {func(w *fixture) {
			w.sidecar(w.Repo + ":init")
			w.container().DependsOn = []ecstypes.ContainerDependency{{ContainerName: aws.String("agent"), Condition: ecstypes.ContainerConditionSuccess}}
		}, outcome.Usage, []string{":init of container agent does not exist in Amazon ECR"}},
		"a sidecar for another platform": {func(w *fixture) {
			w.sidecar(w.push(v1.Platform{OS: "linux", Architecture: "arm64"}))
		}, outcome.Usage, []string{"of container agent does not support linux/amd64, the platform of its task definition; it supports linux/arm64: use an image that does"}},
		"the image that runs is gone": {func(w *fixture) { w.runNow(w.Repo + "@sha256:" + strings.Repeat("b", 64)) }, outcome.Refused, []string{
			"of container api, which runs now, is gone from Amazon ECR, so a failed release could not be restored: push it again, or accept that (--allow-no-rollback)",
		}},
		"the image that runs is gone, by a role that knows no rules": {func(w *fixture) {
			w.runNow(w.Repo + ":gone")
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribePullThroughCacheRules"})
		}, outcome.Refused, []string{":gone of container api, which runs now, is gone"}},
		"the repository of what runs is gone": {func(w *fixture) { w.runNow(strings.TrimSuffix(w.Repo, "app") + "old:1") }, outcome.Refused, []string{
			"old:1 of container api, which runs now, is gone from Amazon ECR",
		}},
		"a sidecar's image that runs is gone": {func(w *fixture) {
			w.runNow(w.changes[0].Image)
			w.changes[0].Previous.ContainerDefinitions = append(w.changes[0].Previous.ContainerDefinitions, ecstypes.ContainerDefinition{Name: aws.String("agent"), Image: aws.String(w.Repo + ":v6")})
		}, outcome.Refused, []string{":v6 of container agent, which runs now, is gone from Amazon ECR"}},
		"a secret of what runs is gone": {func(w *fixture) {
			w.runNow(w.changes[0].Image)
			w.changes[0].Previous.ContainerDefinitions[0].Secrets = append(slices.Clone(w.container().Secrets), ecstypes.Secret{Name: aws.String("OLD"), ValueFrom: aws.String("/app/old")})
		}, outcome.Refused, []string{
			"what runs now needs a resource that is gone, so a failed release could not be restored: service api: parameter /app/old does not exist in region us-east-1: create it in the Parameter Store, or correct valueFrom; or accept that (--allow-no-rollback)",
		}},
		"a role and a log group of what runs are gone": {func(w *fixture) {
			w.runNow(w.changes[0].Image)
			w.changes[0].Previous.TaskRoleArn = aws.String("arn:aws:iam::000000000000:role/old")
			w.changes[0].Previous.ContainerDefinitions[0].LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "/old"}}
		}, outcome.Refused, []string{"service api: log group /old does not exist", "service api: task role arn:aws:iam::000000000000:role/old does not exist"}},
		"a secret that both need is gone": {func(w *fixture) {
			w.runNow(w.changes[0].Image)
			w.container().Secrets[2].ValueFrom = aws.String("/app/nope")
			w.changes[0].Previous.ContainerDefinitions[0].Secrets = w.container().Secrets
		}, outcome.Failed, []string{"service api: parameter /app/nope does not exist"}},
		"a dependency without health check": {func(w *fixture) {
			w.sidecar(w.changes[0].Image)
			w.container().DependsOn = []ecstypes.ContainerDependency{{ContainerName: aws.String("agent"), Condition: ecstypes.ContainerConditionHealthy}}
		}, outcome.Usage, []string{"service api: container api waits until container agent is HEALTHY, which has no healthCheck in the task definition: give it one, or wait for START"}},
		"a dependency that is not there": {func(w *fixture) {
			w.container().DependsOn = []ecstypes.ContainerDependency{{ContainerName: aws.String("agent"), Condition: ecstypes.ContainerConditionStart}}
		}, outcome.Usage, []string{"service api: container api depends on container agent, which is not in the task definition: correct dependsOn"}},
		"a sidecar's log group": {func(w *fixture) {
			w.sidecar(w.changes[0].Image)
			w.changes[0].Definition.ContainerDefinitions[1].LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "/none"}}
		}, outcome.Failed, []string{"service api: log group /none does not exist"}},
		"a sidecar's secret": {func(w *fixture) {
			w.sidecar(w.changes[0].Image)
			w.changes[0].Definition.ContainerDefinitions[1].Secrets = []ecstypes.Secret{{Name: aws.String("K"), ValueFrom: aws.String("nope")}}
		}, outcome.Failed, []string{"service api: parameter nope does not exist"}},
		"a log driver's secret without a role": {func(w *fixture) {
			w.changes[0].Definition.ExecutionRoleArn = nil
			w.container().Secrets, w.container().RepositoryCredentials = nil, nil
			w.container().LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverSplunk, SecretOptions: []ecstypes.Secret{{Name: aws.String("token"), ValueFrom: aws.String("plain")}}}
		}, outcome.Usage, []string{"service api: its task definition has no execution role, which Fargate needs to read secrets"}},
		"targets are instances": {func(w *fixture) {
			group, err := w.ELB.CreateTargetGroup(w.Context(), &elbv2.CreateTargetGroupInput{Name: aws.String("old"), Port: aws.Int32(80), TargetType: elbtypes.TargetTypeEnumInstance, HealthCheckPath: aws.String("/health")})
			w.RequireNoError(err)
			w.changes[0].ECSService.LoadBalancers[0].TargetGroupArn = group.TargetGroups[0].TargetGroupArn
		}, outcome.Usage, []string{"target group old has target type instance", "target group old is not attached to a load balancer"}},
		"no secret": {func(w *fixture) {
			w.container().Secrets[0].ValueFrom = aws.String("arn:aws:secretsmanager:us-east-1:000000000000:secret:nope-123456:key::")
		}, outcome.Failed, []string{"service api: secret arn:aws:secretsmanager:us-east-1:000000000000:secret:nope-123456 does not exist"}},
		"a deleted secret": {func(w *fixture) {
			_, err := w.Secrets.DeleteSecret(w.Context(), &secretsmanager.DeleteSecretInput{SecretId: &w.secret})
			w.RequireNoError(err)
			w.container().Secrets = nil
			w.changes[1].Definition.ContainerDefinitions[0].Secrets = nil
		}, outcome.Failed, []string{"services api, web: secret arn:"}},
		"no such stage":               {func(w *fixture) { w.container().Secrets[0].ValueFrom = aws.String(w.secret + "::OLD:") }, outcome.Failed, []string{"has no version with the staging label OLD"}},
		"no such version":             {func(w *fixture) { w.container().Secrets[0].ValueFrom = aws.String(w.secret + ":::7") }, outcome.Failed, []string{"has no version 7: correct valueFrom"}},
		"no parameter":                {func(w *fixture) { w.container().Secrets[2].ValueFrom = aws.String("/app/nope") }, outcome.Failed, []string{"service api: parameter /app/nope does not exist"}},
		"no valueFrom":                {func(w *fixture) { w.container().Secrets[0].ValueFrom = nil }, outcome.Usage, []string{"service api: a secret has no valueFrom"}},
		"a secret of another service": {func(w *fixture) { w.container().Secrets[0].ValueFrom = aws.String("arn:aws:s3:us-east-1:0:x") }, outcome.Usage, []string{"service api: secret arn:aws:s3:us-east-1:0:x is neither a Secrets Manager secret"}},
		"a secret of the log driver": {func(w *fixture) {
			w.container().LogConfiguration.SecretOptions = []ecstypes.Secret{{Name: aws.String("token"), ValueFrom: aws.String("nope")}}
		}, outcome.Failed, []string{"service api: parameter nope does not exist"}},
		"expired credentials": {func(w *fixture) { w.Server.Inject(localaws.Fault{Kind: localaws.ExpiredToken, Service: "sts"}) }, outcome.Failed, []string{"credentials: expired: renew them"}},
		"images denied": {func(w *fixture) {
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "BatchGetImage"})
		}, outcome.Failed, []string{"cannot be checked: the caller lacks ecr:BatchGetImage on arn:aws:ecr:us-east-1:000000000000:repository/app: allow it in the caller's policy"}},
		"the registry denied": {func(w *fixture) {
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "GetAuthorizationToken"})
		}, outcome.Failed, []string{"images: the registry cannot be checked: the caller lacks ecr:GetAuthorizationToken on *"}},
		"a missing role of a schedule": {func(w *fixture) {
			w.job(schedulertypes.ScheduleStateEnabled).Target.RoleArn = aws.String("arn:aws:iam::000000000000:role/nope")
		}, outcome.Failed, []string{"service api: schedule role arn:aws:iam::000000000000:role/nope does not exist: create it"}},
		"a role of tasks for a schedule": {func(w *fixture) {
			w.job(schedulertypes.ScheduleStateEnabled).Target.RoleArn = aws.String(execRole)
		}, outcome.Usage, []string{"service api: schedule role " + execRole + " cannot be assumed by schedules: allow sts:AssumeRole for the service scheduler.amazonaws.com"}},
		"a role of a schedule not passed": {func(w *fixture) {
			w.job(schedulertypes.ScheduleStateEnabled)
			w.Server.DenyInSimulator("iam:PassRole", scheduleRole)
		}, outcome.Failed, []string{"service api: schedule role " + scheduleRole + " may not be passed to schedules by arn:aws:iam::000000000000:user/local (implicitDeny of iam:PassRole): allow iam:PassRole on " + scheduleRole + " where iam:PassedToService is scheduler.amazonaws.com"}},
		"a schedule for a cluster of another region": {func(w *fixture) {
			w.job(schedulertypes.ScheduleStateEnabled).Target.Arn = aws.String("arn:aws:ecs:eu-west-1:000000000000:cluster/test")
		}, outcome.Usage, []string{"service api: cluster test of its schedule is in region eu-west-1, but the configured region is us-east-1"}},
		"a job's secret": {func(w *fixture) {
			w.job(schedulertypes.ScheduleStateEnabled)
			w.container().Secrets[2].ValueFrom = aws.String("/app/nope")
		}, outcome.Failed, []string{"service api: parameter /app/nope does not exist"}},
		"the image that a job runs is gone": {func(w *fixture) {
			w.job(schedulertypes.ScheduleStateEnabled)
			w.changes[0].Previous = &ecstypes.TaskDefinition{ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("api"), Image: aws.String(w.Repo + ":gone")}}}
		}, outcome.Refused, []string{":gone of container api, which runs now, is gone from Amazon ECR"}},
		"several at once": {func(w *fixture) {
			w.container().PortMappings = nil
			w.changes[1].ECSService.DeploymentController.Type = "EXTERNAL"
			w.changes[1].ECSService.Status = aws.String("INACTIVE")
		}, outcome.Usage, []string{"service api: its load balancer", "service web: ECS service ecs-web-service uses the deployment controller", "service web: ECS service ecs-web-service is INACTIVE"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			test.change(w)
			_, err := w.check(t)
			require.Error(t, err)
			require.Equal(t, test.code, outcome.Of(err))
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(test.want), "%s", err)
			for i, want := range test.want {
				require.Contains(t, lines[i], want)
			}
		})
	}
}

// job makes the first service a job and returns its schedule.
func (w *fixture) job(state schedulertypes.ScheduleState) *scheduler.GetScheduleOutput {
	w.changes[0].ECSService, w.changes[0].Service.Schedule = ecstypes.Service{}, "rate(1 hour)"
	w.changes[0].Schedule = &scheduler.GetScheduleOutput{State: state, Target: &schedulertypes.Target{RoleArn: aws.String(scheduleRole)}}
	_, err := w.IAM.CreateRole(w.Context(), &iam.CreateRoleInput{
		RoleName: aws.String("schedule"), AssumeRolePolicyDocument: aws.String(strings.Replace(trust, "ecs-tasks", "scheduler", 1)),
	})
	w.RequireNoError(err)
	return w.changes[0].Schedule
}

// TestJobIsNoFinding checks a job before its first release: nothing runs its placeholder.
func TestJobIsNoFinding(t *testing.T) {
	w := newFixture(t)
	w.job(schedulertypes.ScheduleStateDisabled)
	w.changes[0].Previous = &ecstypes.TaskDefinition{ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("api"), Image: aws.String(w.Repo + ":none-released")}}}
	notes, err := w.check(t)
	require.NoError(t, err)
	require.Empty(t, notes)
}

// sidecar adds a container to the first service.
func (w *fixture) sidecar(image string) {
	d := w.changes[0].Definition
	d.ContainerDefinitions = append(d.ContainerDefinitions, ecstypes.ContainerDefinition{Name: aws.String("agent"), Image: &image})
}

// runNow makes the first service run an image.
func (w *fixture) runNow(image string) {
	w.changes[0].ECSService.RunningCount = 1
	w.changes[0].Previous = &ecstypes.TaskDefinition{ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("api"), Image: &image}}}
}

func (w *fixture) healthAt(port, path string) {
	_, err := w.ELB.ModifyTargetGroup(w.Context(), &elbv2.ModifyTargetGroupInput{TargetGroupArn: &w.Group, HealthCheckPort: &port, HealthCheckPath: &path})
	w.RequireNoError(err)
}

func digestOf(ref string) string { return ref[strings.IndexByte(ref, '@')+1:] }

// onARM makes the first service run an image on ARM.
func (w *fixture) onARM(image string) {
	w.changes[0].Image = image
	w.changes[0].Definition.RuntimePlatform = &ecstypes.RuntimePlatform{CpuArchitecture: ecstypes.CPUArchitectureArm64}
}

func (w *fixture) trust(role, document string) {
	_, err := w.IAM.UpdateAssumeRolePolicy(w.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &document})
	w.RequireNoError(err)
}

func TestNotes(t *testing.T) {
	deny := func(actions ...string) func(w *fixture) {
		return func(w *fixture) {
			for _, action := range actions {
				w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: action})
			}
		}
	}
	tests := map[string]struct {
		change func(w *fixture)
		want   []string
	}{
		"a deploying role's permissions": {
			deny("DescribeClusters", "GetRole", "SimulatePrincipalPolicy", "DescribeLogGroups", "DescribeTargetGroups", "DescribeSecret", "DescribeParameters"),
			[]string{
				"not checked: cluster test: the caller lacks ecs:DescribeClusters",
				"not checked: iam:PassRole of role " + taskRole + ", " + execRole + ": the caller lacks iam:SimulatePrincipalPolicy",
				"not checked: log group /ecs/test: the caller lacks logs:DescribeLogGroups",
				"not checked: parameter arn:aws:ssm:us-east-1:000000000000:parameter/app/key, plain: the caller lacks ssm:DescribeParameters",
				"not checked: role " + taskRole + ", " + execRole + ": the caller lacks iam:GetRole",
				"not checked: secret arn:aws:secretsmanager:",
				"not checked: target group app: the caller lacks elasticloadbalancing:DescribeTargetGroups",
			},
		},
		"no clients": {
			func(w *fixture) { w.checker = preflight.Checker{} },
			[]string{
				"not checked: caller identity: no STS client",
				"not checked: cluster test: no ECS client",
				"not checked: images: no ECR client",
				"not checked: log groups: no CloudWatch Logs client",
				"not checked: parameters: no Systems Manager client",
				"not checked: region: no region is configured",
				"not checked: roles: no IAM client",
				"not checked: secrets: no Secrets Manager client",
				"not checked: target groups: no Elastic Load Balancing client",
			},
		},
		"another registry": {func(w *fixture) {
			w.changes[0].Image = "docker.io/library/nginx:1@sha256:" + strings.Repeat("0", 64)
		}, []string{"not checked: image docker.io/library/nginx@sha256:" + strings.Repeat("0", 64) + ": its registry is not Amazon ECR"}},
		"a short name": {func(w *fixture) {
			w.changes[0].Image = "nginx@sha256:" + strings.Repeat("0", 64)
		}, []string{"not checked: image nginx@sha256:" + strings.Repeat("0", 64) + ": its registry is not Amazon ECR"}},
		"a single image": {func(w *fixture) {
			w.changes[0].Image = w.Push(empty.Image, "single")
		}, []string{"not checked: platform of image "}},
		"health on an unmapped port": {func(w *fixture) {
			w.healthAt("9000", "/health")
			w.changes = w.changes[:1]
		}, []string{"service api: target group app checks health on port 9000, which is in no container's portMappings: a process in the task must listen there"}},
		"health on a sidecar's port": {func(w *fixture) {
			w.healthAt("9901", "/health")
			w.changes = w.changes[:1]
			w.sidecar(w.changes[0].Image)
			w.changes[0].Definition.ContainerDefinitions[1].PortMappings = []ecstypes.PortMapping{{ContainerPort: aws.Int32(9901)}}
		}, nil},
		"sidecars in other registries": {func(w *fixture) {
			w.sidecar("public.ecr.aws/datadog/agent:7")
			w.sidecar("busybox")
		}, []string{"not checked: image busybox:latest, public.ecr.aws/datadog/agent:7: its registry is not Amazon ECR"}},
		"a sidecar without permission": {func(w *fixture) {
			w.sidecar("111111111111.dkr.ecr.eu-west-1.amazonaws.com/agent:1")
			w.checker.ECR = fakeECR{w.ECR, "111111111111", &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}, nil}
		}, []string{"not checked: image 111111111111.dkr.ecr.eu-west-1.amazonaws.com/agent:1: the caller lacks ecr:BatchGetImage"}},
		"a sidecar with a pull-through cache rule": {func(w *fixture) {
			w.sidecar(strings.TrimSuffix(w.Repo, "app") + "public-ecr/datadog/agent:latest")
			w.checker.ECR = fakeECR{w.ECR, "", nil, []string{"quay", "public-ecr"}}
		}, []string{"public-ecr/datadog/agent:latest: it is not cached yet; pull-through cache rule public-ecr fetches it"}},
		"a sidecar with unknown rules": {func(w *fixture) {
			w.sidecar(strings.TrimSuffix(w.Repo, "app") + "public-ecr/agent")
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribePullThroughCacheRules"})
		}, []string{"not checked: pull-through cache rule of image "}},
		"the image that runs is there":     {func(w *fixture) { w.runNow(w.Push(empty.Image, "now")) }, nil},
		"what runs is in another registry": {func(w *fixture) { w.runNow("busybox:1") }, []string{"not checked: image busybox:1: its registry is not Amazon ECR"}},
		"nothing runs": {func(w *fixture) {
			w.runNow(w.Repo + ":gone")
			w.changes[0].ECSService.RunningCount = 0
		}, nil},
		"a restore that is not required": {func(w *fixture) {
			w.runNow(w.Repo + ":gone")
			w.checker.AllowNoRollback = true
			w.changes[0].Previous.ContainerDefinitions[0].Secrets = []ecstypes.Secret{{Name: aws.String("OLD"), ValueFrom: aws.String("/app/old")}}
		}, []string{"a failed release cannot be restored: what runs now needs a resource that is gone: service api: parameter /app/old does not exist", "service api: a failed release cannot be restored: image "}},
		"what runs needs what will run": {func(w *fixture) {
			w.runNow(w.changes[0].Image)
			d := w.changes[0].Definition
			w.changes[0].Previous.ContainerDefinitions, w.changes[0].Previous.TaskRoleArn, w.changes[0].Previous.ExecutionRoleArn = d.ContainerDefinitions, d.TaskRoleArn, d.ExecutionRoleArn
		}, nil},
		"another health path": {func(w *fixture) { w.changes[0].Service.HealthPath = "/other" }, []string{"service api: target group app checks health at /health, but health_path in the services file is /other"}},
		"other regions": {func(w *fixture) {
			w.container().LogConfiguration.Options["awslogs-region"] = "eu-west-1"
			w.container().Secrets[2].ValueFrom = aws.String("arn:aws:ssm:eu-west-1:000000000000:parameter/app/key")
		}, []string{
			"not checked: log group /ecs/test: it is in region eu-west-1",
			"not checked: secret arn:aws:ssm:eu-west-1:000000000000:parameter/app/key: it is in region eu-west-1",
		}},
		"a group that will be created": {func(w *fixture) {
			w.container().LogConfiguration.Options = map[string]string{"awslogs-group": "/new", "awslogs-create-group": "true"}
		}, nil},
		"an endpoint without the API": {func(w *fixture) {
			w.Server.Inject(localaws.Fault{Kind: localaws.ServerError, Action: "DescribeLogGroups"})
		}, []string{"not checked: log group /ecs/test: logs:DescribeLogGroups: InternalFailure"}},
		"a session of a role": {func(w *fixture) {
			out, err := w.STS.AssumeRole(w.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(taskRole), RoleSessionName: aws.String("s")})
			w.RequireNoError(err)
			w.checker.STS = stsAs{w.STS, func(o *sts.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, "x", "y")
			}}
		}, nil},
		"no definition, no service's load balancer": {func(w *fixture) { w.changes[0].Definition = nil }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			test.change(w)
			notes, err := w.check(t)
			require.NoError(t, err)
			require.Len(t, notes, len(test.want), "%q", notes)
			for i, want := range test.want {
				require.Contains(t, notes[i], want)
			}
		})
	}
}

// fakeECR is an ECR that fails for the registry of an account, and has pull-through
// cache rules.
type fakeECR struct {
	*ecr.Client
	account string
	err     error
	rules   []string
}

func (e fakeECR) BatchGetImage(ctx context.Context, in *ecr.BatchGetImageInput, options ...func(*ecr.Options)) (*ecr.BatchGetImageOutput, error) {
	if e.account != "" && aws.ToString(in.RegistryId) == e.account {
		return nil, e.err
	}
	return e.Client.BatchGetImage(ctx, in, options...)
}

func (e fakeECR) DescribePullThroughCacheRules(context.Context, *ecr.DescribePullThroughCacheRulesInput, ...func(*ecr.Options)) (*ecr.DescribePullThroughCacheRulesOutput, error) {
	out := &ecr.DescribePullThroughCacheRulesOutput{}
	for _, prefix := range e.rules {
		out.PullThroughCacheRules = append(out.PullThroughCacheRules, ecrtypes.PullThroughCacheRule{EcrRepositoryPrefix: &prefix})
	}
	return out, nil
}

// TestHealthyPercent checks the arithmetic of ECS: can a deployment replace tasks?
func TestHealthyPercent(t *testing.T) {
	tests := map[string]struct {
		desired, running, minimum, maximum int32
		change                             func(*rollout.ServiceChange)
		want                               string // "" if it can
	}{
		"ECS's defaults":                 {1, 1, 100, 200, nil, ""},
		"one task, one at a time":        {1, 1, 0, 100, nil, ""},
		"one task, half of it":           {1, 1, 50, 100, nil, "service api: minimumHealthyPercent 50 and maximumPercent 100 keep 1 of 1 tasks healthy and allow at most 1, so a deployment can neither stop nor start one: set maximumPercent to 200, or minimumHealthyPercent to 0 (aws ecs update-service --cluster test --service ecs-api-service --deployment-configuration maximumPercent=200,minimumHealthyPercent=50)"},
		"one task, all of it":            {1, 1, 100, 100, nil, "can neither stop nor start one"},
		"one task, half of one more":     {1, 1, 100, 150, nil, "can neither stop nor start one"},
		"two tasks, half of them":        {2, 2, 50, 100, nil, ""},
		"two tasks, all of them":         {2, 2, 100, 100, nil, "keep 2 of 2 tasks healthy and allow at most 2"},
		"two tasks, one more":            {2, 2, 100, 150, nil, ""},
		"three tasks, 90 to 110":         {3, 3, 90, 110, nil, "keep 3 of 3 tasks healthy and allow at most 3"},
		"ten tasks, 90 to 110":           {10, 10, 90, 110, nil, ""},
		"one of two down":                {2, 1, 100, 100, nil, "can neither stop nor start one"},
		"all down":                       {2, 0, 100, 100, nil, ""},
		"fewer than are to run":          {2, 2, 0, 50, nil, "maximumPercent 50 allows at most 1 of 2 desired tasks, so no deployment can complete"},
		"a first release":                {0, 0, 100, 100, func(s *rollout.ServiceChange) { s.Service.DesiredCount = 2 }, ""},
		"a first release of half a task": {0, 0, 0, 50, func(s *rollout.ServiceChange) { s.Service.DesiredCount = 1 }, "at most 0 of 1 desired tasks"},
		"nothing is to run":              {0, 0, 100, 100, nil, ""},
		"a daemon":                       {1, 1, 100, 100, func(s *rollout.ServiceChange) { s.ECSService.SchedulingStrategy = ecstypes.SchedulingStrategyDaemon }, ""},
		"stopped half-way":               {1, 1, 100, 100, func(s *rollout.ServiceChange) { s.ECSService.Deployments = make([]ecstypes.Deployment, 2) }, ""},
		"an older API":                   {1, 1, 100, 100, func(s *rollout.ServiceChange) { s.ECSService.DeploymentConfiguration = nil }, ""},
		"no percentages": {1, 1, 0, 0, func(s *rollout.ServiceChange) {
			s.ECSService.DeploymentConfiguration = &ecstypes.DeploymentConfiguration{}
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := rollout.ServiceChange{Service: platform.Service{Name: "api", Names: platform.Names{Cluster: "test"}}, Image: "busybox@sha256:1", ECSService: ecstypes.Service{
				ServiceName: aws.String("ecs-api-service"), Status: aws.String("ACTIVE"), DesiredCount: tt.desired, RunningCount: tt.running,
				DeploymentConfiguration: &ecstypes.DeploymentConfiguration{MinimumHealthyPercent: &tt.minimum, MaximumPercent: &tt.maximum},
			}}
			if tt.change != nil {
				tt.change(&s)
			}
			_, err := preflight.Checker{}.Check(t.Context(), []rollout.ServiceChange{s})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}

// stsAs is an STS with another caller.
type stsAs struct {
	*sts.Client
	option func(*sts.Options)
}

func (a stsAs) GetCallerIdentity(ctx context.Context, in *sts.GetCallerIdentityInput, _ ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return a.Client.GetCallerIdentity(ctx, in, a.option)
}

func TestNotesAreSummarized(t *testing.T) {
	w := newFixture(t)
	for _, group := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		s := w.change(group, w.changes[0].Image)
		s.Definition.ContainerDefinitions[0].LogConfiguration.Options["awslogs-group"] = group
		w.changes = append(w.changes, s)
	}
	w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribeLogGroups"})
	notes, err := w.check(t)
	require.NoError(t, err)
	require.Equal(t, []string{"not checked: log group /ecs/test, a, b, c, d and 3 more: the caller lacks logs:DescribeLogGroups"}, notes)
}

func TestTimeouts(t *testing.T) {
	w := newFixture(t)
	w.checker.Timeout = 50 * time.Millisecond
	for _, action := range []string{"GetCallerIdentity", "DescribeLogGroups", "BatchGetImage"} {
		w.Server.Inject(localaws.Fault{Kind: localaws.Slow, Action: action, Delay: time.Minute})
	}
	w.changes = w.changes[:1]
	w.checker.IAM, w.checker.Secrets, w.checker.Parameters, w.checker.ELB, w.checker.ECS = nil, nil, nil, nil, nil
	notes, err := w.check(t)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "credentials: sts:GetCallerIdentity timed out after 50ms: check the network")
	require.ErrorContains(t, err, "cannot be checked: ecr:BatchGetImage timed out after 50ms: try again")
	require.Contains(t, notes, "not checked: log group /ecs/test: logs:DescribeLogGroups timed out after 50ms")
}

func TestCancelled(t *testing.T) {
	w := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(outcome.Interruption("Ctrl-C"))
	_, err := w.checker.Check(ctx, w.changes)
	require.EqualError(t, err, "Ctrl-C")
	require.Equal(t, outcome.Interrupted, outcome.Of(err))
}

func TestIdentityFails(t *testing.T) {
	_, err := preflight.Checker{}.Identity(t.Context())
	require.ErrorContains(t, err, "no STS client")
	w := newFixture(t)
	w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Service: "sts"})
	_, err = w.checker.Identity(t.Context())
	require.ErrorContains(t, err, "calling sts:GetCallerIdentity")
	_, err = w.check(t)
	require.ErrorContains(t, err, "credentials: sts:GetCallerIdentity: AccessDenied: User: arn:aws:iam::000000000000:user/local is not authorized")
}

func TestLogGroupOnALaterPage(t *testing.T) {
	w := newFixture(t)
	w.checker.Logs = pagedLogs{w.Logs}
	_, err := w.Logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/ecs/tes")})
	require.NoError(t, err)
	notes, err := w.check(t)
	require.NoError(t, err)
	require.Empty(t, notes)
}

// pagedLogs is a Logs that returns one log group per page, and another one first.
type pagedLogs struct{ preflight.Logs }

func (o pagedLogs) DescribeLogGroups(ctx context.Context, in *cloudwatchlogs.DescribeLogGroupsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.DescribeLogGroupsOutput, error) {
	return o.Logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/ecs/"), Limit: aws.Int32(1), NextToken: in.NextToken})
}

func TestUnknownCredentials(t *testing.T) {
	for code, want := range map[string]string{
		"InvalidClientTokenId": "credentials: not recognized by AWS", "Whatever": "credentials: sts:GetCallerIdentity: Whatever",
	} {
		_, err := preflight.Checker{STS: failingSTS{code}}.Check(t.Context(), nil)
		require.ErrorContains(t, err, want)
	}
}

// failingSTS is an STS that fails with an error code.
type failingSTS struct{ code string }

func (b failingSTS) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return nil, &smithy.GenericAPIError{Code: b.code, Message: "message"}
}
