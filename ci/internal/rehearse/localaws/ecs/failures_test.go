package ecs_test

import (
	"runtime"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

// fastOptions shorten the waits of ECS and ELB to a fifth.
var fastOptions = localaws.Options{TimeScale: 5}

func env(key, value string) func(*ecstypes.ContainerDefinition) {
	return func(d *ecstypes.ContainerDefinition) {
		d.Environment = append(d.Environment, ecstypes.KeyValuePair{Name: &key, Value: &value})
	}
}

// serviceDeployments returns the service's deployments, newest first.
func serviceDeployments(p *localawstest.Platform) []ecstypes.ServiceDeployment {
	p.Helper()
	list, err := p.ECS.ListServiceDeployments(p.Context(), &ecs.ListServiceDeploymentsInput{Cluster: aws.String("test"), Service: aws.String("app")})
	p.RequireNoError(err)
	var arns []string
	for _, d := range list.ServiceDeployments {
		arns = append(arns, *d.ServiceDeploymentArn)
	}
	out, err := p.ECS.DescribeServiceDeployments(p.Context(), &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: arns})
	p.RequireNoError(err)
	require.Empty(p, out.Failures)
	return out.ServiceDeployments
}

func TestFailedDeploymentsAreRolledBack(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		definition func(p *localawstest.Platform) string
		stopCode   ecstypes.TaskStopCode
		reason     func(p *localawstest.Platform) string
		event      func(p *localawstest.Platform, task string) string
	}{
		"answers its health check with 500": {
			definition: func(p *localawstest.Platform) string {
				return p.RegisterTaskDefinition(p.PushImage("sick"), env("HEALTH_STATUS", "500"))
			},
			stopCode: ecstypes.TaskStopCodeServiceSchedulerInitiated,
			reason: func(p *localawstest.Platform) string {
				return "Task failed ELB health checks in (target-group " + p.Group + ")"
			},
			event: func(p *localawstest.Platform, task string) string {
				return "(service app) (task " + task + ") (port 8000) is unhealthy in (target-group " + p.Group +
					") due to (reason Health checks failed with these codes: [500])."
			},
		},
		"never listens": {
			definition: func(p *localawstest.Platform) string { return p.RegisterTaskDefinition(p.PushImage("hang", "hang")) },
			stopCode:   ecstypes.TaskStopCodeServiceSchedulerInitiated,
			reason: func(p *localawstest.Platform) string {
				return "Task failed ELB health checks in (target-group " + p.Group + ")"
			},
			event: func(p *localawstest.Platform, task string) string {
				return "(service app) (task " + task + ") (port 8000) is unhealthy in (target-group " + p.Group + ") due to (reason Health checks failed)."
			},
		},
		"has no image": {
			definition: func(p *localawstest.Platform) string { return p.RegisterTaskDefinition(p.Repo + ":nowhere") },
			stopCode:   ecstypes.TaskStopCodeTaskFailedToStart,
			reason: func(p *localawstest.Platform) string {
				return "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref " +
					p.Repo + ":nowhere: " + p.Repo + ":nowhere: not found"
			},
		},
		"has no program": {
			definition: func(p *localawstest.Platform) string {
				return p.RegisterTaskDefinition(p.PushImage("two"), func(d *ecstypes.ContainerDefinition) { d.EntryPoint = []string{"/nowhere"} })
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart,
			reason: func(*localawstest.Platform) string {
				return "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: " +
					"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " +
					`exec: "/nowhere": stat /nowhere: no such file or directory`
			},
		},
		"has no log group": {
			definition: func(p *localawstest.Platform) string {
				return p.RegisterTaskDefinition(p.PushImage("two"), func(d *ecstypes.ContainerDefinition) { d.LogConfiguration.Options["awslogs-group"] = "/nowhere" })
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart,
			reason: func(*localawstest.Platform) string {
				return "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: " +
					"failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1"
			},
		},
		"has another architecture": {
			definition: func(p *localawstest.Platform) string {
				img, err := testapp.ServiceImage(p.Binary(), "riscv")
				p.RequireNoError(err)
				file, err := img.ConfigFile()
				p.RequireNoError(err)
				file = file.DeepCopy()
				file.Architecture = "riscv64"
				img, err = mutate.ConfigFile(img, file)
				p.RequireNoError(err)
				return p.RegisterTaskDefinition(p.Push(img, "riscv"))
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart,
			reason: func(*localawstest.Platform) string {
				return "CannotPullContainerError: pull image manifest has been retried 1 time(s): " +
					"image Manifest does not contain descriptor matching platform '" + runtime.GOOS + "/" + runtime.GOARCH + "'"
			},
		},
		"has a missing secret": {
			definition: func(p *localawstest.Platform) string {
				return p.RegisterTaskDefinition(p.PushImage("two"), func(d *ecstypes.ContainerDefinition) {
					d.Secrets = []ecstypes.Secret{{Name: aws.String("KEY"), ValueFrom: aws.String("arn:aws:ssm:us-east-1:000000000000:parameter/key")}}
				})
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart,
			reason: func(*localawstest.Platform) string {
				return "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: " +
					"unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: arn:aws:ssm:us-east-1:000000000000:parameter/key"
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, fastOptions)
			good := p.RegisterTaskDefinition(p.PushImage("one"))
			p.CreateService(good)
			p.WaitStable()
			id := p.UpdateService(test.definition(p))
			p.Eventually(func(s ecstypes.Service) bool { return *s.Deployments[0].Id != id })
			s := p.WaitStable()

			require.Equal(t, good, *s.TaskDefinition)
			require.Equal(t, "one", p.Version())
			events := localawstest.EventMessages(s)
			require.Contains(t, events, "(service app) (deployment "+id+") deployment failed: tasks failed to start.")
			matching := 0
			for _, task := range p.DescribeTasks(ecstypes.DesiredStatusStopped) {
				require.Equal(t, id, *task.StartedBy, "no task of the good version was stopped")
				if task.StopCode == test.stopCode && *task.StoppedReason == test.reason(p) {
					matching++
					if test.event != nil {
						require.Contains(t, events, test.event(p, localawstest.TaskID(task)))
					}
				}
			}
			require.GreaterOrEqual(t, matching, 3)
			latest := serviceDeployments(p)[0]
			require.Equal(t, ecstypes.ServiceDeploymentStatusRollbackSuccessful, latest.Status)
			require.Equal(t, ecstypes.ServiceDeploymentRollbackMonitorsStatusTriggered, latest.DeploymentCircuitBreaker.Status)
			require.GreaterOrEqual(t, latest.DeploymentCircuitBreaker.FailureCount, int32(3))
			require.Equal(t, int32(3), latest.DeploymentCircuitBreaker.Threshold)
			require.Equal(t, *latest.SourceServiceRevisions[0].Arn, *latest.Rollback.ServiceRevisionArn)
			require.NotNil(t, latest.FinishedAt)
		})
	}
}

func TestFirstDeploymentHasNoRollbackCandidate(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.Repo + ":nowhere"))
	s := p.Eventually(func(s ecstypes.Service) bool {
		return s.Deployments[0].RolloutState == ecstypes.DeploymentRolloutStateFailed
	})
	require.Len(t, s.Deployments, 1)
	require.Equal(t, "ECS deployment circuit breaker: tasks failed to start.", *s.Deployments[0].RolloutStateReason)
	require.Equal(t, ecstypes.ServiceDeploymentStatusRollbackFailed, serviceDeployments(p)[0].Status)

	// A valid task definition still starts the service.
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("one")))
	p.WaitStable()
	require.Equal(t, "one", p.Version())
}

func TestCircuitBreakerWithoutRollback(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) {
		in.DeploymentConfiguration.DeploymentCircuitBreaker.Rollback = false
	})
	p.WaitStable()
	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("bad", "exit", "1")))
	s := p.Eventually(func(s ecstypes.Service) bool {
		return s.Deployments[0].RolloutState == ecstypes.DeploymentRolloutStateFailed
	})
	require.Equal(t, id, *s.Deployments[0].Id)
	require.Len(t, s.Deployments, 2, "the old tasks go on")
	require.Equal(t, int32(2), s.Deployments[1].RunningCount)
	require.Equal(t, "one", p.Version())
	latest := serviceDeployments(p)[0]
	require.Equal(t, ecstypes.ServiceDeploymentStatusStopped, latest.Status)
	require.Equal(t, "Service deployment stopped because the circuit breaker threshold was exceeded.", *latest.StatusReason)

	_, err := p.ECS.DeleteService(t.Context(), &ecs.DeleteServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), Force: aws.Bool(true)})
	require.NoError(t, err)
	p.Eventually(func(s ecstypes.Service) bool { return *s.Status == "INACTIVE" })
}

func TestNewerUpdateReplacesDeployment(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")))
	p.WaitStable()
	hanging, good := p.RegisterTaskDefinition(p.PushImage("hang", "hang")), p.RegisterTaskDefinition(p.PushImage("three"))
	hung := p.UpdateService(hanging)
	p.Eventually(func(s ecstypes.Service) bool { return s.Deployments[0].RunningCount > 0 })
	last := p.UpdateService(good)
	s := p.WaitStable()
	require.Equal(t, last, *s.Deployments[0].Id)
	require.NotEqual(t, hung, last)
	require.Equal(t, "three", p.Version())
	h := serviceDeployments(p)
	require.Len(t, h, 3)
	require.Equal(t, ecstypes.ServiceDeploymentStatusSuccessful, h[0].Status)
	require.Len(t, h[0].SourceServiceRevisions, 2)
	require.Equal(t, ecstypes.ServiceDeploymentStatusStopped, h[1].Status)
	require.Contains(t, *h[1].StatusReason, "newer service deployment")
	require.NotNil(t, h[1].StoppedAt)
}

func TestStopServiceDeployment(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		kind    ecstypes.StopServiceDeploymentStopType
		status  ecstypes.ServiceDeploymentStatus
		version string
	}{
		"rollback is the default": {"", ecstypes.ServiceDeploymentStatusRollbackSuccessful, "one"},
		"rollback":                {ecstypes.StopServiceDeploymentStopTypeRollback, ecstypes.ServiceDeploymentStatusRollbackSuccessful, "one"},
		"abort":                   {ecstypes.StopServiceDeploymentStopTypeAbort, ecstypes.ServiceDeploymentStatusStopped, "one"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, fastOptions)
			p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) { in.DeploymentConfiguration = nil })
			p.WaitStable()
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("hang", "hang")))
			current := serviceDeployments(p)[0]
			out, err := p.ECS.StopServiceDeployment(t.Context(), &ecs.StopServiceDeploymentInput{
				ServiceDeploymentArn: current.ServiceDeploymentArn, StopType: test.kind,
			})
			require.NoError(t, err)
			require.Equal(t, *current.ServiceDeploymentArn, *out.ServiceDeploymentArn)
			p.Eventually(func(ecstypes.Service) bool { return serviceDeployments(p)[0].Status == test.status })
			require.Equal(t, test.version, p.Version())

			_, err = p.ECS.StopServiceDeployment(t.Context(), &ecs.StopServiceDeploymentInput{ServiceDeploymentArn: current.ServiceDeploymentArn})
			var conflict *ecstypes.ConflictException
			require.ErrorAs(t, err, &conflict)
		})
	}
	p := localawstest.Start(t, localaws.Options{})
	_, err := p.ECS.StopServiceDeployment(t.Context(), &ecs.StopServiceDeploymentInput{ServiceDeploymentArn: aws.String("arn:nowhere")})
	var unknown *ecstypes.ServiceDeploymentNotFoundException
	require.ErrorAs(t, err, &unknown)
}

func TestUnhealthyTaskIsReplaced(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")))
	before := p.WaitStable()
	p.Get("/sick")
	p.Eventually(func(s ecstypes.Service) bool {
		return len(s.Events) > len(before.Events) && s.RunningCount == 2 && s.PendingCount == 0 && len(p.DescribeTasks(ecstypes.DesiredStatusStopped)) == 1
	})
	gone := p.DescribeTasks(ecstypes.DesiredStatusStopped)[0]
	require.Equal(t, "Task failed ELB health checks in (target-group "+p.Group+")", *gone.StoppedReason)
	after := p.WaitStable()
	require.Equal(t, *before.Deployments[0].Id, *after.Deployments[0].Id, "no new deployment")
	p.Get("/die")
	p.Eventually(func(s ecstypes.Service) bool {
		return len(p.DescribeTasks(ecstypes.DesiredStatusStopped)) == 2 && s.RunningCount == 2
	})
	for _, task := range p.DescribeTasks(ecstypes.DesiredStatusStopped) {
		if *task.TaskArn != *gone.TaskArn {
			require.Equal(t, ecstypes.TaskStopCodeEssentialContainerExited, task.StopCode)
			require.Equal(t, int32(3), *task.Containers[0].ExitCode)
		}
	}
}
