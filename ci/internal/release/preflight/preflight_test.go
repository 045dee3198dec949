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

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/rehearse/localaws"
	"dagger/slipway/internal/rehearse/localaws/localawstest"
	"dagger/slipway/internal/release/preflight"
	"dagger/slipway/internal/release/rollout"
	"dagger/slipway/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	arnBase  = "arn:aws:ecs:us-east-1:000000000000:"
	execRole = "arn:aws:iam::000000000000:role/exec"
	taskRole = "arn:aws:iam::000000000000:role/ecs/task"
	trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

// world is an embedded AWS in which everything is there that two services need.
type world struct {
	*localawstest.Platform
	checker  preflight.Checker
	subjects []rollout.Subject
	secret   string // ARN
	other    string // ARN of a target group that no load balancer forwards to
}

func newWorld(t *testing.T) *world {
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
	w := &world{Platform: p, secret: *made.ARN, other: p.UnattachedGroup()}
	w.checker = preflight.Checker{
		STS: p.STS, ECS: p.ECS, ECR: p.ECR, IAM: p.IAM, Logs: p.Logs, ELB: p.ELB, Secrets: p.Secrets, Parameters: p.SSM, Region: "us-east-1",
	}
	image := w.push(v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"})
	w.subjects = []rollout.Subject{w.subject("api", image), w.subject("web", image)}
	return w
}

// push pushes an index of an empty image for each platform, and an attestation.
func (w *world) push(platforms ...v1.Platform) string {
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

func (w *world) subject(name, image string) rollout.Subject {
	return rollout.Subject{
		Service: platform.Service{Name: name, HealthPath: "/health"}, Image: image,
		Running: ecstypes.Service{
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

// container is the only one of the first service.
func (w *world) container() *ecstypes.ContainerDefinition {
	return &w.subjects[0].Definition.ContainerDefinitions[0]
}

func (w *world) check(t *testing.T) ([]string, error) {
	t.Helper()
	return w.checker.Check(t.Context(), "test", w.subjects)
}

func TestEverythingHolds(t *testing.T) {
	w := newWorld(t)
	before := len(w.Server.Calls())
	notes, err := w.check(t)
	require.NoError(t, err)
	require.Empty(t, notes)

	asked := map[string]int{}
	for _, call := range w.Server.Calls()[before:] {
		asked[call.Action]++
	}
	require.Equal(t, map[string]int{
		"GetCallerIdentity": 1, "DescribeClusters": 1, "GetAuthorizationToken": 1, "BatchGetImage": 1, "GetRole": 2, "SimulatePrincipalPolicy": 2,
		"DescribeLogGroups": 1, "DescribeTargetGroups": 1, "DescribeSecret": 2, "DescribeParameters": 1,
	}, asked, "what two services share is asked for once, and no value is read")

	id, err := w.checker.Identity(t.Context())
	require.NoError(t, err)
	require.Equal(t, preflight.Identity{Account: "000000000000", ARN: "arn:aws:iam::000000000000:user/local"}, id)
}

func TestFindings(t *testing.T) {
	tests := map[string]struct {
		spoil func(w *world)
		code  outcome.Code
		want  []string // each in a finding of its own, and no other finding
	}{
		"another account": {func(w *world) {
			w.subjects[0].Running.ServiceArn = aws.String("arn:aws:ecs:us-east-1:111111111111:service/test/ecs-api-service")
		}, outcome.Usage, []string{"service api: ECS service ecs-api-service is in account 111111111111, and the credentials are of account 000000000000 (arn:aws:iam::000000000000:user/local): use credentials of 111111111111"}},
		"another region": {func(w *world) { w.checker.Region = "eu-west-1" }, outcome.Usage, []string{
			"cluster test is in region us-east-1, and the region in use is eu-west-1: set AWS_REGION=us-east-1",
			"service api: ECS service ecs-api-service is in region us-east-1", "service web: ECS service",
		}},
		"a registry of another account": {func(w *world) {
			w.subjects[0].Image = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/app@" + digestOf(w.subjects[0].Image)
		}, outcome.Usage, []string{
			"service api: image registry 111111111111.dkr.ecr.eu-west-1.amazonaws.com is in account 111111111111",
			"service api: image registry 111111111111.dkr.ecr.eu-west-1.amazonaws.com is in region eu-west-1, and the region in use is us-east-1",
		}},
		"an inactive cluster": {func(w *world) {
			_, err := w.ECS.DeleteCluster(w.Context(), &ecs.DeleteClusterInput{Cluster: aws.String("test")})
			w.RequireNoError(err)
		}, outcome.Failed, []string{"cluster test is INACTIVE, not ACTIVE: create it with Terraform"}},
		"no service":          {func(w *world) { w.subjects[0].Running = ecstypes.Service{} }, outcome.Failed, []string{"service api: cluster test has no ECS service ecs-api-service: create it"}},
		"a draining service":  {func(w *world) { w.subjects[0].Running.Status = aws.String("DRAINING") }, outcome.Failed, []string{"service api: ECS service ecs-api-service is DRAINING, not ACTIVE"}},
		"CodeDeploy deploys":  {func(w *world) { w.subjects[0].Running.DeploymentController.Type = "CODE_DEPLOY" }, outcome.Refused, []string{"service api: ECS service ecs-api-service is deployed by the controller CODE_DEPLOY"}},
		"an image by tag":     {func(w *world) { w.subjects[0].Image = w.Repo + ":index" }, outcome.Usage, []string{":index is not pinned by a digest: name it as repository@sha256:…"}},
		"no such image":       {func(w *world) { w.subjects[0].Image = w.Repo + "@sha256:" + strings.Repeat("0", 64) }, outcome.Failed, []string{"service api: ECR repository app has no image sha256:0000"}},
		"no such repository":  {func(w *world) { w.subjects[0].Image = strings.Replace(w.subjects[0].Image, "/app@", "/nope@", 1) }, outcome.Failed, []string{"service api: there is no ECR repository nope in account 000000000000 in region us-east-1"}},
		"no manifest for arm": {func(w *world) { w.onARM(w.push(v1.Platform{OS: "linux", Architecture: "amd64"})) }, outcome.Failed, []string{"is not for linux/arm64, which its task definition runs on; it is for linux/amd64: build it for linux/arm64"}},
		"no manifest at all":  {func(w *world) { w.onARM(w.push()) }, outcome.Failed, []string{"it is for none at all"}},
		"Windows": {func(w *world) {
			w.subjects[0].Definition.RuntimePlatform = &ecstypes.RuntimePlatform{OperatingSystemFamily: ecstypes.OSFamilyWindowsServer2022Core}
		}, outcome.Failed, []string{"is not for windows/amd64, which its task definition runs on; it is for linux/amd64, linux/arm64"}},
		"no execution role": {func(w *world) { w.subjects[0].Definition.ExecutionRoleArn = nil }, outcome.Usage, []string{"service api: its task definition has no execution role, which Fargate needs to read secrets: set executionRoleArn"}},
		"a role for both, and neither": {func(w *world) {
			for _, s := range w.subjects {
				s.Definition.ExecutionRoleArn, s.Definition.TaskRoleArn = aws.String("arn:aws:iam::000000000000:role/nope"), aws.String("arn:aws:iam::000000000000:role/nope")
			}
		}, outcome.Failed, []string{"services api, web: execution and task role arn:aws:iam::000000000000:role/nope does not exist: create it"}},
		"a role of another path": {func(w *world) {
			w.subjects[0].Definition.TaskRoleArn = aws.String("arn:aws:iam::000000000000:role/task")
		}, outcome.Usage, []string{"service api: task role arn:aws:iam::000000000000:role/task does not exist, and arn:aws:iam::000000000000:role/ecs/task does: correct the ARN"}},
		"a role for EC2":    {func(w *world) { w.trust("exec", strings.Replace(trust, "ecs-tasks", "ec2", 1)) }, outcome.Usage, []string{"execution role " + execRole + " cannot be assumed by tasks: allow sts:AssumeRole to the service ecs-tasks.amazonaws.com"}},
		"a trust not JSON":  {func(w *world) { w.trust("exec", "{") }, outcome.Usage, []string{"services api, web: the trust policy of execution role " + execRole + " cannot be read"}},
		"a role not passed": {func(w *world) { w.Server.DenyInSimulator("iam:PassRole", taskRole) }, outcome.Failed, []string{"services api, web: task role " + taskRole + " may not be passed to tasks by arn:aws:iam::000000000000:user/local (implicitDeny of iam:PassRole): allow iam:PassRole on " + taskRole}},
		"no log group":      {func(w *world) { w.container().LogConfiguration.Options["awslogs-group"] = "/ecs" }, outcome.Failed, []string{"service api: log group /ecs does not exist in account"}},
		"no name of a log group": {func(w *world) { delete(w.container().LogConfiguration.Options, "awslogs-group") }, outcome.Usage, []string{
			"service api: container api logs to awslogs without awslogs-group",
		}},
		"no target group": {func(w *world) {
			w.subjects[0].Running.LoadBalancers[0].TargetGroupArn = aws.String(w.Group + "0")
		}, outcome.Failed, []string{"service api: target group "}},
		"an idle target group": {func(w *world) { w.subjects[0].Running.LoadBalancers[0].TargetGroupArn = &w.other }, outcome.Failed, []string{"service api: no load balancer forwards to target group lone"}},
		"no such container":    {func(w *world) { w.container().Name = aws.String("other") }, outcome.Usage, []string{"service api: its load balancer leads to container api, which the task definition has not (it has other)"}},
		"no such port":         {func(w *world) { w.container().PortMappings = nil }, outcome.Usage, []string{"service api: its load balancer leads to port 8000 of container api, which does not expose it"}},
		"health at no path": {func(w *world) {
			w.healthAt("9000", "health")
			w.subjects = w.subjects[:1]
		}, outcome.Usage, []string{`service api: target group app checks health at "health", which is no path`}},
		"a sidecar's image is gone": {func(w *world) {
			w.sidecar(w.Repo + "@sha256:" + strings.Repeat("a", 64))
		}, outcome.Usage, []string{"service api: image " + "127.0.0.1"}},
		"a sidecar's tag is gone": {func(w *world) { w.sidecar(w.Repo + ":v7") }, outcome.Usage, []string{":v7 of container agent is not in Amazon ECR, so no new task could start: push it again, or name another in the task definition"}},
		"a sidecar without a repository": {func(w *world) {
			w.sidecar(strings.TrimSuffix(w.Repo, "app") + "public-ecr/datadog/agent:latest")
		}, outcome.Usage, []string{"public-ecr/datadog/agent:latest of container agent is not in Amazon ECR"}},
		"a container that runs first": {func(w *world) {
			w.sidecar(w.Repo + ":init")
			w.container().DependsOn = []ecstypes.ContainerDependency{{ContainerName: aws.String("agent"), Condition: ecstypes.ContainerConditionSuccess}}
		}, outcome.Usage, []string{":init of container agent is not in Amazon ECR"}},
		"a sidecar for another platform": {func(w *world) {
			w.sidecar(w.push(v1.Platform{OS: "linux", Architecture: "arm64"}))
		}, outcome.Usage, []string{"of container agent is not for linux/amd64, which its task definition runs on; it is for linux/arm64: name one that is"}},
		"the image that runs is gone": {func(w *world) { w.before(w.Repo + "@sha256:" + strings.Repeat("b", 64)) }, outcome.Refused, []string{
			"of container api, which runs now, is gone from Amazon ECR, so a release that fails could not be put back: push it again, or go without a way back (--allow-no-rollback)",
		}},
		"the image that runs is gone, by a role that knows no rules": {func(w *world) {
			w.before(w.Repo + ":gone")
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribePullThroughCacheRules"})
		}, outcome.Refused, []string{":gone of container api, which runs now, is gone"}},
		"the repository of what runs is gone": {func(w *world) { w.before(strings.TrimSuffix(w.Repo, "app") + "old:1") }, outcome.Refused, []string{
			"old:1 of container api, which runs now, is gone from Amazon ECR",
		}},
		"a sidecar's image that runs is gone": {func(w *world) {
			w.before(w.subjects[0].Image)
			w.subjects[0].Before.ContainerDefinitions = append(w.subjects[0].Before.ContainerDefinitions, ecstypes.ContainerDefinition{Name: aws.String("agent"), Image: aws.String(w.Repo + ":v6")})
		}, outcome.Refused, []string{":v6 of container agent, which runs now, is gone from Amazon ECR"}},
		"a secret of what runs is gone": {func(w *world) {
			w.before(w.subjects[0].Image)
			w.subjects[0].Before.ContainerDefinitions[0].Secrets = append(slices.Clone(w.container().Secrets), ecstypes.Secret{Name: aws.String("OLD"), ValueFrom: aws.String("/app/old")})
		}, outcome.Refused, []string{
			"what runs now needs something that is gone, so a release that fails could not be put back: service api: parameter /app/old does not exist in region us-east-1: create it in the Parameter Store, or correct valueFrom; or go without a way back (--allow-no-rollback)",
		}},
		"a role and a log group of what runs are gone": {func(w *world) {
			w.before(w.subjects[0].Image)
			w.subjects[0].Before.TaskRoleArn = aws.String("arn:aws:iam::000000000000:role/old")
			w.subjects[0].Before.ContainerDefinitions[0].LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "/old"}}
		}, outcome.Refused, []string{"service api: log group /old does not exist", "service api: task role arn:aws:iam::000000000000:role/old does not exist"}},
		"a secret that both need is gone": {func(w *world) {
			w.before(w.subjects[0].Image)
			w.container().Secrets[2].ValueFrom = aws.String("/app/nope")
			w.subjects[0].Before.ContainerDefinitions[0].Secrets = w.container().Secrets
		}, outcome.Failed, []string{"service api: parameter /app/nope does not exist"}},
		"a sidecar's log group": {func(w *world) {
			w.sidecar(w.subjects[0].Image)
			w.subjects[0].Definition.ContainerDefinitions[1].LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "/none"}}
		}, outcome.Failed, []string{"service api: log group /none does not exist"}},
		"a sidecar's secret": {func(w *world) {
			w.sidecar(w.subjects[0].Image)
			w.subjects[0].Definition.ContainerDefinitions[1].Secrets = []ecstypes.Secret{{Name: aws.String("K"), ValueFrom: aws.String("nope")}}
		}, outcome.Failed, []string{"service api: parameter nope does not exist"}},
		"a log driver's secret without a role": {func(w *world) {
			w.subjects[0].Definition.ExecutionRoleArn = nil
			w.container().Secrets, w.container().RepositoryCredentials = nil, nil
			w.container().LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverSplunk, SecretOptions: []ecstypes.Secret{{Name: aws.String("token"), ValueFrom: aws.String("plain")}}}
		}, outcome.Usage, []string{"service api: its task definition has no execution role, which Fargate needs to read secrets"}},
		"targets are instances": {func(w *world) {
			group, err := w.ELB.CreateTargetGroup(w.Context(), &elbv2.CreateTargetGroupInput{Name: aws.String("old"), Port: aws.Int32(80), TargetType: elbtypes.TargetTypeEnumInstance, HealthCheckPath: aws.String("/health")})
			w.RequireNoError(err)
			w.subjects[0].Running.LoadBalancers[0].TargetGroupArn = group.TargetGroups[0].TargetGroupArn
		}, outcome.Usage, []string{"target group old takes targets of type instance", "no load balancer forwards to target group old"}},
		"no secret": {func(w *world) {
			w.container().Secrets[0].ValueFrom = aws.String("arn:aws:secretsmanager:us-east-1:000000000000:secret:nope-123456:key::")
		}, outcome.Failed, []string{"service api: secret arn:aws:secretsmanager:us-east-1:000000000000:secret:nope-123456 does not exist"}},
		"a deleted secret": {func(w *world) {
			_, err := w.Secrets.DeleteSecret(w.Context(), &secretsmanager.DeleteSecretInput{SecretId: &w.secret})
			w.RequireNoError(err)
			w.container().Secrets = nil
			w.subjects[1].Definition.ContainerDefinitions[0].Secrets = nil
		}, outcome.Failed, []string{"services api, web: secret arn:"}},
		"no such stage":           {func(w *world) { w.container().Secrets[0].ValueFrom = aws.String(w.secret + "::OLD:") }, outcome.Failed, []string{"has no version with the stage OLD"}},
		"no such version":         {func(w *world) { w.container().Secrets[0].ValueFrom = aws.String(w.secret + ":::7") }, outcome.Failed, []string{"has no version 7: correct valueFrom"}},
		"no parameter":            {func(w *world) { w.container().Secrets[2].ValueFrom = aws.String("/app/nope") }, outcome.Failed, []string{"service api: parameter /app/nope does not exist"}},
		"no valueFrom":            {func(w *world) { w.container().Secrets[0].ValueFrom = nil }, outcome.Usage, []string{"service api: a secret has no valueFrom"}},
		"a secret somewhere else": {func(w *world) { w.container().Secrets[0].ValueFrom = aws.String("arn:aws:s3:us-east-1:0:x") }, outcome.Usage, []string{"service api: secret arn:aws:s3:us-east-1:0:x is neither of Secrets Manager"}},
		"a secret of the log driver": {func(w *world) {
			w.container().LogConfiguration.SecretOptions = []ecstypes.Secret{{Name: aws.String("token"), ValueFrom: aws.String("nope")}}
		}, outcome.Failed, []string{"service api: parameter nope does not exist"}},
		"expired credentials": {func(w *world) { w.Server.Inject(localaws.Fault{Kind: localaws.ExpiredToken, Service: "sts"}) }, outcome.Failed, []string{"credentials: they have expired: get new ones"}},
		"images denied": {func(w *world) {
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "BatchGetImage"})
		}, outcome.Failed, []string{"cannot be checked: the caller lacks ecr:BatchGetImage on arn:aws:ecr:us-east-1:000000000000:repository/app: allow it in the caller's policy"}},
		"the registry denied": {func(w *world) {
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "GetAuthorizationToken"})
		}, outcome.Failed, []string{"images: the registry cannot be checked: the caller lacks ecr:GetAuthorizationToken on *"}},
		"several at once": {func(w *world) {
			w.container().PortMappings = nil
			w.subjects[1].Running.DeploymentController.Type = "EXTERNAL"
			w.subjects[1].Running.Status = aws.String("INACTIVE")
		}, outcome.Usage, []string{"service api: its load balancer", "service web: ECS service ecs-web-service is deployed", "service web: ECS service ecs-web-service is INACTIVE"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.spoil(w)
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

// sidecar adds a container to the first service.
func (w *world) sidecar(image string) {
	d := w.subjects[0].Definition
	d.ContainerDefinitions = append(d.ContainerDefinitions, ecstypes.ContainerDefinition{Name: aws.String("agent"), Image: &image})
}

// before makes the first service run an image now.
func (w *world) before(image string) {
	w.subjects[0].Running.RunningCount = 1
	w.subjects[0].Before = &ecstypes.TaskDefinition{ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("api"), Image: &image}}}
}

func (w *world) healthAt(port, path string) {
	_, err := w.ELB.ModifyTargetGroup(w.Context(), &elbv2.ModifyTargetGroupInput{TargetGroupArn: &w.Group, HealthCheckPort: &port, HealthCheckPath: &path})
	w.RequireNoError(err)
}

func digestOf(ref string) string { return ref[strings.IndexByte(ref, '@')+1:] }

// onARM makes the first service run an image on ARM.
func (w *world) onARM(image string) {
	w.subjects[0].Image = image
	w.subjects[0].Definition.RuntimePlatform = &ecstypes.RuntimePlatform{CpuArchitecture: ecstypes.CPUArchitectureArm64}
}

func (w *world) trust(role, document string) {
	_, err := w.IAM.UpdateAssumeRolePolicy(w.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &document})
	w.RequireNoError(err)
}

func TestNotes(t *testing.T) {
	deny := func(actions ...string) func(w *world) {
		return func(w *world) {
			for _, action := range actions {
				w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: action})
			}
		}
	}
	tests := map[string]struct {
		spoil func(w *world)
		want  []string
	}{
		"a deploying role's permissions": {
			deny("DescribeClusters", "GetRole", "SimulatePrincipalPolicy", "DescribeLogGroups", "DescribeTargetGroups", "DescribeSecret", "DescribeParameters"),
			[]string{
				"not checked: cluster test: the caller lacks ecs:DescribeClusters",
				"not checked: log group /ecs/test: the caller lacks logs:DescribeLogGroups",
				"not checked: parameter arn:aws:ssm:us-east-1:000000000000:parameter/app/key, plain: the caller lacks ssm:DescribeParameters",
				"not checked: role " + taskRole + ", " + execRole + ": the caller lacks iam:GetRole",
				"not checked: secret arn:aws:secretsmanager:",
				"not checked: target group app: the caller lacks elasticloadbalancing:DescribeTargetGroups",
				"not checked: whether the caller may pass role " + taskRole + ", " + execRole + ": the caller lacks iam:SimulatePrincipalPolicy",
			},
		},
		"no clients": {
			func(w *world) { w.checker = preflight.Checker{} },
			[]string{
				"not checked: cluster test: there is no ECS client",
				"not checked: images: there is no ECR client",
				"not checked: log groups: there is no CloudWatch Logs client",
				"not checked: parameters: there is no Systems Manager client",
				"not checked: roles: there is no IAM client",
				"not checked: secrets: there is no Secrets Manager client",
				"not checked: target groups: there is no Elastic Load Balancing client",
				"not checked: the region: none was given to compare with",
				"not checked: whose credentials these are: there is no STS client",
			},
		},
		"another registry": {func(w *world) {
			w.subjects[0].Image = "docker.io/library/nginx:1@sha256:" + strings.Repeat("0", 64)
		}, []string{"not checked: image docker.io/library/nginx@sha256:" + strings.Repeat("0", 64) + ": its registry is not Amazon ECR"}},
		"a short name": {func(w *world) {
			w.subjects[0].Image = "nginx@sha256:" + strings.Repeat("0", 64)
		}, []string{"not checked: image nginx@sha256:" + strings.Repeat("0", 64) + ": its registry is not Amazon ECR"}},
		"a single image": {func(w *world) {
			w.subjects[0].Image = w.Push(empty.Image, "single")
		}, []string{"not checked: the platform of image "}},
		"health on a port that nobody lists": {func(w *world) {
			w.healthAt("9000", "/health")
			w.subjects = w.subjects[:1]
		}, []string{"service api: target group app checks health on port 9000, which no portMappings of its containers list: something in the task must listen there"}},
		"health on a sidecar's port": {func(w *world) {
			w.healthAt("9901", "/health")
			w.subjects = w.subjects[:1]
			w.sidecar(w.subjects[0].Image)
			w.subjects[0].Definition.ContainerDefinitions[1].PortMappings = []ecstypes.PortMapping{{ContainerPort: aws.Int32(9901)}}
		}, nil},
		"sidecars from elsewhere": {func(w *world) {
			w.sidecar("public.ecr.aws/datadog/agent:7")
			w.sidecar("busybox")
		}, []string{"not checked: image busybox:latest, public.ecr.aws/datadog/agent:7: its registry is not Amazon ECR"}},
		"a sidecar that may not be asked for": {func(w *world) {
			w.sidecar("111111111111.dkr.ecr.eu-west-1.amazonaws.com/agent:1")
			w.checker.ECR = ecrOf{w.ECR, "111111111111", &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}, nil}
		}, []string{"not checked: image 111111111111.dkr.ecr.eu-west-1.amazonaws.com/agent:1: the caller lacks ecr:BatchGetImage"}},
		"a sidecar that is pulled through": {func(w *world) {
			w.sidecar(strings.TrimSuffix(w.Repo, "app") + "public-ecr/datadog/agent:latest")
			w.checker.ECR = ecrOf{w.ECR, "", nil, []string{"quay", "public-ecr"}}
		}, []string{"public-ecr/datadog/agent:latest: it is not cached, and comes by pull-through cache rule public-ecr when it is pulled"}},
		"a sidecar that may be pulled through": {func(w *world) {
			w.sidecar(strings.TrimSuffix(w.Repo, "app") + "public-ecr/agent")
			w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribePullThroughCacheRules"})
		}, []string{"not checked: whether a pull-through cache rule brings image "}},
		"the image that runs is there":     {func(w *world) { w.before(w.Push(empty.Image, "now")) }, nil},
		"what runs is in another registry": {func(w *world) { w.before("busybox:1") }, []string{"not checked: image busybox:1: its registry is not Amazon ECR"}},
		"nothing runs": {func(w *world) {
			w.before(w.Repo + ":gone")
			w.subjects[0].Running.RunningCount = 0
		}, nil},
		"the way back is given up": {func(w *world) {
			w.before(w.Repo + ":gone")
			w.checker.NoWayBack = true
			w.subjects[0].Before.ContainerDefinitions[0].Secrets = []ecstypes.Secret{{Name: aws.String("OLD"), ValueFrom: aws.String("/app/old")}}
		}, []string{"service api: there is no way back: image ", "there is no way back: what runs now needs something that is gone: service api: parameter /app/old does not exist"}},
		"what runs needs what will run": {func(w *world) {
			w.before(w.subjects[0].Image)
			d := w.subjects[0].Definition
			w.subjects[0].Before.ContainerDefinitions, w.subjects[0].Before.TaskRoleArn, w.subjects[0].Before.ExecutionRoleArn = d.ContainerDefinitions, d.TaskRoleArn, d.ExecutionRoleArn
		}, nil},
		"another health path": {func(w *world) { w.subjects[0].Service.HealthPath = "/other" }, []string{"service api: target group app checks health at /health, and the services file says /other"}},
		"other regions": {func(w *world) {
			w.container().LogConfiguration.Options["awslogs-region"] = "eu-west-1"
			w.container().Secrets[2].ValueFrom = aws.String("arn:aws:ssm:eu-west-1:000000000000:parameter/app/key")
		}, []string{
			"not checked: log group /ecs/test: it is in region eu-west-1",
			"not checked: secret arn:aws:ssm:eu-west-1:000000000000:parameter/app/key: it is in region eu-west-1",
		}},
		"a group that will be created": {func(w *world) {
			w.container().LogConfiguration.Options = map[string]string{"awslogs-group": "/new", "awslogs-create-group": "true"}
		}, nil},
		"an endpoint without the API": {func(w *world) {
			w.Server.Inject(localaws.Fault{Kind: localaws.ServerError, Action: "DescribeLogGroups"})
		}, []string{"not checked: log group /ecs/test: logs:DescribeLogGroups: InternalFailure"}},
		"a session of a role": {func(w *world) {
			out, err := w.STS.AssumeRole(w.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(taskRole), RoleSessionName: aws.String("s")})
			w.RequireNoError(err)
			w.checker.STS = as{w.STS, func(o *sts.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, "x", "y")
			}}
		}, nil},
		"no definition, no service's load balancer": {func(w *world) { w.subjects[0].Definition = nil }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.spoil(w)
			notes, err := w.check(t)
			require.NoError(t, err)
			require.Len(t, notes, len(test.want), "%q", notes)
			for i, want := range test.want {
				require.Contains(t, notes[i], want)
			}
		})
	}
}

// ecrOf is an ECR that answers with an error for the registry of an account, and
// knows rules of its own.
type ecrOf struct {
	*ecr.Client
	account string
	err     error
	rules   []string
}

func (e ecrOf) BatchGetImage(ctx context.Context, in *ecr.BatchGetImageInput, options ...func(*ecr.Options)) (*ecr.BatchGetImageOutput, error) {
	if e.account != "" && aws.ToString(in.RegistryId) == e.account {
		return nil, e.err
	}
	return e.Client.BatchGetImage(ctx, in, options...)
}

func (e ecrOf) DescribePullThroughCacheRules(context.Context, *ecr.DescribePullThroughCacheRulesInput, ...func(*ecr.Options)) (*ecr.DescribePullThroughCacheRulesOutput, error) {
	out := &ecr.DescribePullThroughCacheRulesOutput{}
	for _, prefix := range e.rules {
		out.PullThroughCacheRules = append(out.PullThroughCacheRules, ecrtypes.PullThroughCacheRule{EcrRepositoryPrefix: &prefix})
	}
	return out, nil
}

// TestPercent: whether a deployment can move at all, by ECS's arithmetic.
func TestPercent(t *testing.T) {
	tests := map[string]struct {
		desired, running, least, most int32
		change                        func(*rollout.Subject)
		want                          string // "" moves
	}{
		"ECS's own":                      {1, 1, 100, 200, nil, ""},
		"one task, one at a time":        {1, 1, 0, 100, nil, ""},
		"one task, half of it":           {1, 1, 50, 100, nil, "service api: with minimumHealthyPercent 50 and maximumPercent 100 ECS keeps 1 of 1 tasks and runs no more than 1, so a deployment can neither stop nor start any: set maximumPercent to 200, or minimumHealthyPercent to 0 (aws ecs update-service --cluster test --service ecs-api-service --deployment-configuration maximumPercent=200,minimumHealthyPercent=50)"},
		"one task, all of it":            {1, 1, 100, 100, nil, "can neither stop nor start any"},
		"one task, half of one more":     {1, 1, 100, 150, nil, "can neither stop nor start any"},
		"two tasks, half of them":        {2, 2, 50, 100, nil, ""},
		"two tasks, all of them":         {2, 2, 100, 100, nil, "keeps 2 of 2 tasks and runs no more than 2"},
		"two tasks, one more":            {2, 2, 100, 150, nil, ""},
		"three tasks, 90 to 110":         {3, 3, 90, 110, nil, "keeps 3 of 3 tasks and runs no more than 3"},
		"ten tasks, 90 to 110":           {10, 10, 90, 110, nil, ""},
		"one of two down":                {2, 1, 100, 100, nil, "can neither stop nor start any"},
		"all down":                       {2, 0, 100, 100, nil, ""},
		"fewer than are to run":          {2, 2, 0, 50, nil, "with maximumPercent 50 ECS runs at most 1 of the 2 tasks that it is to run, so no deployment can be complete"},
		"a first release":                {0, 0, 100, 100, func(s *rollout.Subject) { s.Service.DesiredCount = 2 }, ""},
		"a first release of half a task": {0, 0, 0, 50, func(s *rollout.Subject) { s.Service.DesiredCount = 1 }, "at most 0 of the 1 tasks"},
		"nothing is to run":              {0, 0, 100, 100, nil, ""},
		"a daemon":                       {1, 1, 100, 100, func(s *rollout.Subject) { s.Running.SchedulingStrategy = ecstypes.SchedulingStrategyDaemon }, ""},
		"stopped half-way":               {1, 1, 100, 100, func(s *rollout.Subject) { s.Running.Deployments = make([]ecstypes.Deployment, 2) }, ""},
		"an older API":                   {1, 1, 100, 100, func(s *rollout.Subject) { s.Running.DeploymentConfiguration = nil }, ""},
		"no percentages": {1, 1, 0, 0, func(s *rollout.Subject) {
			s.Running.DeploymentConfiguration = &ecstypes.DeploymentConfiguration{}
		}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := rollout.Subject{Service: platform.Service{Name: "api"}, Image: "busybox@sha256:1", Running: ecstypes.Service{
				ServiceName: aws.String("ecs-api-service"), Status: aws.String("ACTIVE"), DesiredCount: tt.desired, RunningCount: tt.running,
				DeploymentConfiguration: &ecstypes.DeploymentConfiguration{MinimumHealthyPercent: &tt.least, MaximumPercent: &tt.most},
			}}
			if tt.change != nil {
				tt.change(&s)
			}
			_, err := preflight.Checker{}.Check(t.Context(), "test", []rollout.Subject{s})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}

// as is an STS whose caller is somebody else.
type as struct {
	*sts.Client
	option func(*sts.Options)
}

func (a as) GetCallerIdentity(ctx context.Context, in *sts.GetCallerIdentityInput, _ ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return a.Client.GetCallerIdentity(ctx, in, a.option)
}

func TestNotesNameSomeAndCountTheRest(t *testing.T) {
	w := newWorld(t)
	for _, group := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		s := w.subject(group, w.subjects[0].Image)
		s.Definition.ContainerDefinitions[0].LogConfiguration.Options["awslogs-group"] = group
		w.subjects = append(w.subjects, s)
	}
	w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribeLogGroups"})
	notes, err := w.check(t)
	require.NoError(t, err)
	require.Equal(t, []string{"not checked: log group /ecs/test, a, b, c, d and 3 more: the caller lacks logs:DescribeLogGroups"}, notes)
}

func TestDeadlines(t *testing.T) {
	w := newWorld(t)
	w.checker.Timeout = 50 * time.Millisecond
	for _, action := range []string{"GetCallerIdentity", "DescribeLogGroups", "BatchGetImage"} {
		w.Server.Inject(localaws.Fault{Kind: localaws.Slow, Action: action, Delay: time.Minute})
	}
	w.subjects = w.subjects[:1]
	w.checker.IAM, w.checker.Secrets, w.checker.Parameters, w.checker.ELB, w.checker.ECS = nil, nil, nil, nil, nil
	notes, err := w.check(t)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "credentials: sts:GetCallerIdentity gave no answer within 50ms: check the network")
	require.ErrorContains(t, err, "cannot be checked: ecr:BatchGetImage gave no answer within 50ms: try again")
	require.Contains(t, notes, "not checked: log group /ecs/test: logs:DescribeLogGroups gave no answer within 50ms")
}

func TestCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(outcome.Interruption("Ctrl-C"))
	_, err := w.checker.Check(ctx, "test", w.subjects)
	require.EqualError(t, err, "Ctrl-C")
	require.Equal(t, outcome.Interrupted, outcome.Of(err))
}

func TestIdentityFails(t *testing.T) {
	_, err := preflight.Checker{}.Identity(t.Context())
	require.ErrorContains(t, err, "there is no STS client")
	w := newWorld(t)
	w.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Service: "sts"})
	_, err = w.checker.Identity(t.Context())
	require.ErrorContains(t, err, "asking who the credentials belong to")
	_, err = w.check(t)
	require.ErrorContains(t, err, "credentials: sts:GetCallerIdentity: AccessDenied: User: arn:aws:iam::000000000000:user/local is not authorized")
}

func TestLogGroupOnALaterPage(t *testing.T) {
	w := newWorld(t)
	w.checker.Logs = onePage{w.Logs}
	_, err := w.Logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/ecs/tes")})
	require.NoError(t, err)
	notes, err := w.check(t)
	require.NoError(t, err)
	require.Empty(t, notes)
}

// onePage is a Logs that begins its answers one group too early, one at a time.
type onePage struct{ preflight.Logs }

func (o onePage) DescribeLogGroups(ctx context.Context, in *cloudwatchlogs.DescribeLogGroupsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.DescribeLogGroupsOutput, error) {
	return o.Logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/ecs/"), Limit: aws.Int32(1), NextToken: in.NextToken})
}

func TestUnknownCredentials(t *testing.T) {
	for code, want := range map[string]string{
		"InvalidClientTokenId": "credentials: AWS does not know them", "Whatever": "credentials: sts:GetCallerIdentity: Whatever",
	} {
		_, err := preflight.Checker{STS: broken{code}}.Check(t.Context(), "c", nil)
		require.ErrorContains(t, err, want)
	}
}

// broken is an STS that answers with an error code.
type broken struct{ code string }

func (b broken) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return nil, &smithy.GenericAPIError{Code: b.code, Message: "message"}
}
