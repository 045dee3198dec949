package ecs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
)

const dependencyGraph = "CannotStartContainerError: dependency graph: failed to resolve container ordering dependency "

// exitCodes returns the exit codes of a task's containers, -1 for none.
func exitCodes(t ecstypes.Task) (codes []int32) {
	for _, c := range t.Containers {
		code := int32(-1)
		if c.ExitCode != nil {
			code = *c.ExitCode
		}
		codes = append(codes, code)
	}
	return codes
}

// containerDefinition defines a container of the test service with its log.
func containerDefinition(name, image string, changes ...func(*ecstypes.ContainerDefinition)) ecstypes.ContainerDefinition {
	d := ecstypes.ContainerDefinition{
		Name: &name, Image: &image,
		LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
			"awslogs-group": localawstest.LogGroup, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs",
		}},
	}
	for _, change := range changes {
		change(&d)
	}
	return d
}

type change = func(*ecstypes.ContainerDefinition)

func command(args ...string) change {
	return func(d *ecstypes.ContainerDefinition) { d.Command = args }
}

func after(name string, condition ecstypes.ContainerCondition) change {
	return func(d *ecstypes.ContainerDefinition) {
		d.DependsOn = append(d.DependsOn, ecstypes.ContainerDependency{ContainerName: &name, Condition: condition})
	}
}

func inessential(d *ecstypes.ContainerDefinition) { d.Essential = aws.Bool(false) }

func health(d *ecstypes.ContainerDefinition) { d.HealthCheck = check(5) }

func startTimeout(seconds int32) change {
	return func(d *ecstypes.ContainerDefinition) { d.StartTimeout = &seconds }
}

func port(number int32) change {
	return func(d *ecstypes.ContainerDefinition) {
		d.PortMappings = []ecstypes.PortMapping{{ContainerPort: &number}}
	}
}

// registerContainers registers a revision of the family "pod" with containers.
func registerContainers(p *localawstest.Platform, volumes []ecstypes.Volume, containers ...ecstypes.ContainerDefinition) string {
	p.Helper()
	out, err := p.ECS.RegisterTaskDefinition(p.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("pod"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		ExecutionRoleArn:        aws.String("arn:aws:iam::000000000000:role/exec"), Volumes: volumes, ContainerDefinitions: containers,
	})
	p.RequireNoError(err)
	return *out.TaskDefinition.TaskDefinitionArn
}

func TestSeveralContainers(t *testing.T) {
	const success, complete, healthy, start = ecstypes.ContainerConditionSuccess, ecstypes.ContainerConditionComplete, ecstypes.ContainerConditionHealthy, ecstypes.ContainerConditionStart
	tests := map[string]struct {
		containers func(image string) []ecstypes.ContainerDefinition
		stopCode   ecstypes.TaskStopCode
		reason     string
		codes      []int32
		reasons    map[int]string // of containers
	}{
		"an essential container ends the others": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("proxy", image, port(9000)),
					containerDefinition("main", image, command("exit", "3"), after("proxy", start)),
				}
			},
			stopCode: ecstypes.TaskStopCodeEssentialContainerExited, reason: "Essential container in task exited", codes: []int32{0, 3},
		},
		"one that is not essential does not": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("init", image, command("exit", "7"), inessential),
					containerDefinition("main", image, command("exit", "0"), after("init", complete)),
				}
			},
			stopCode: ecstypes.TaskStopCodeEssentialContainerExited, reason: "Essential container in task exited", codes: []int32{7, 0},
		},
		"START is met by one that has exited": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("init", image, command("exit", "1"), inessential),
					containerDefinition("second", image, command("exit", "0"), inessential, after("init", complete)),
					containerDefinition("main", image, command("exit", "0"), after("init", start), after("second", success)),
				}
			},
			stopCode: ecstypes.TaskStopCodeEssentialContainerExited, reason: "Essential container in task exited", codes: []int32{1, 0, 0},
		},
		"an essential container exits while others wait": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("never healthy", image, command("hang"), inessential, health),
					containerDefinition("main", image, after("never healthy", healthy)),
					containerDefinition("agent", image, command("exit", "5")),
				}
			},
			stopCode: ecstypes.TaskStopCodeEssentialContainerExited, reason: "Essential container in task exited", codes: []int32{143, -1, 5},
		},
		"a dependency has a start timeout": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("slow", image, command("hang"), inessential, health, startTimeout(10)),
					containerDefinition("main", image, after("slow", healthy)),
				}
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart, codes: []int32{143, 143},
			reason: "CannotStartContainerError: dependency graph: container ordering dependency [slow] for target [main] has timed out.",
		},
		"a dependency exits before it is healthy": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("short", image, command("exit", "0"), inessential, health),
					containerDefinition("main", image, after("short", healthy)),
				}
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart, codes: []int32{0, 143},
			reason: dependencyGraph + "[short] for target [main] as dependency exited before it was healthy.",
		},
		"a sidecar without its dependency is left out": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("init", image, command("exit", "1"), inessential),
					containerDefinition("sidecar", image, inessential, after("init", success)),
					containerDefinition("main", image, command("exit", "0"), after("init", complete)),
				}
			},
			stopCode: ecstypes.TaskStopCodeEssentialContainerExited, reason: "Essential container in task exited", codes: []int32{1, 143, 0},
			reasons: map[int]string{1: dependencyGraph + "[init] for target [sidecar] as dependency did not exit successfully."},
		},
		"an image that cannot be pulled": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("main", image),
					containerDefinition("collector", "public.ecr.aws/collector@sha256:"+strings.Repeat("0", 64), inessential),
				}
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart, codes: []int32{-1, -1},
			reason: "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref public.ecr.aws/collector@sha256:" +
				strings.Repeat("0", 64) + ": public.ecr.aws/collector@sha256:" + strings.Repeat("0", 64) + ": not found",
		},
		"a log through FireLens": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{
					containerDefinition("log_router", image, command("hang"), func(d *ecstypes.ContainerDefinition) {
						d.FirelensConfiguration = &ecstypes.FirelensConfiguration{Type: ecstypes.FirelensConfigurationTypeFluentbit}
					}),
					containerDefinition("main", image, command("exit", "0"), after("log_router", start), func(d *ecstypes.ContainerDefinition) {
						d.LogConfiguration = &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwsfirelens, Options: map[string]string{"Name": "firehose"}}
					}),
				}
			},
			stopCode: ecstypes.TaskStopCodeEssentialContainerExited, reason: "Essential container in task exited", codes: []int32{143, 0},
		},
		"environment files": {
			containers: func(image string) []ecstypes.ContainerDefinition {
				return []ecstypes.ContainerDefinition{containerDefinition("main", image, func(d *ecstypes.ContainerDefinition) {
					d.EnvironmentFiles = []ecstypes.EnvironmentFile{{Type: ecstypes.EnvironmentFileTypeS3, Value: aws.String("arn:aws:s3:::b/f.env")}}
				})}
			},
			stopCode: ecstypes.TaskStopCodeTaskFailedToStart, codes: []int32{-1},
			reason: "ResourceInitializationError: failed to download env files: file download command: non empty error stream: " +
				"service call has been retried 1 time(s): failed to download arn:aws:s3:::b/f.env: the embedded AWS has no S3",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, fastOptions)
			definition := registerContainers(p, nil, test.containers(p.PushImage("one"))...)
			done := run(p, &ecs.RunTaskInput{TaskDefinition: &definition}, "STOPPED")
			require.Equal(t, test.stopCode, done.StopCode)
			require.Equal(t, test.reason, *done.StoppedReason)
			codes := exitCodes(done)
			// A Go program that SIGTERM ends as the first process of its namespace exits with 2. One
			// that has just been started does not get the signal, and is killed at its stop timeout.
			if codes[0] == 2 || codes[0] == 137 {
				codes[0] = 143
			}
			require.Equal(t, test.codes, codes)
			for i, reason := range test.reasons {
				require.Equal(t, reason, *done.Containers[i].Reason)
			}
		})
	}
}

// TestContainersStopInReverse stops a task whose main container ignores SIGTERM: the
// sidecar that it depends on is stopped only after it.
func TestContainersStopInReverse(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	image := p.PushImage("one")
	definition := registerContainers(
		p, nil, containerDefinition("proxy", image, port(9000), env("PORT", "9000")),
		containerDefinition("main", image, port(8000), command("stubborn"), after("proxy", ecstypes.ContainerConditionStart), func(d *ecstypes.ContainerDefinition) {
			d.StopTimeout = aws.Int32(5)
		}),
	)
	running := run(p, &ecs.RunTaskInput{TaskDefinition: &definition}, "RUNNING")
	for _, name := range []string{"proxy", "main"} {
		require.Eventually(t, func() bool { return len(output(p, running, name)) > 0 }, time.Minute, 10*time.Millisecond)
	}
	out, err := p.ECS.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("test"), Task: running.TaskArn, Reason: aws.String("enough")})
	require.NoError(t, err)
	require.Equal(t, "STOPPED", *out.Task.DesiredStatus)
	done := waitForStatus(p, *running.TaskArn, "STOPPED")
	require.Equal(t, ecstypes.TaskStopCodeUserInitiated, done.StopCode)
	require.Equal(t, "enough", *done.StoppedReason)
	require.Equal(t, []int32{0, 137}, exitCodes(done))
	events, err := p.Logs.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String(localawstest.LogGroup), LogStreamName: aws.String("ecs/proxy/" + localawstest.TaskID(done)), StartFromHead: aws.Bool(true),
	})
	require.NoError(t, err)
	last := events.Events[len(events.Events)-1]
	require.Contains(t, *last.Message, "bye")
	require.GreaterOrEqual(t, *last.Timestamp-done.StoppingAt.UnixMilli(), int64(900), "the proxy outlives main's stop timeout")
}

// TestTaskHealth derives a task's health from its essential containers only.
func TestTaskHealth(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	image := p.PushImage("one")
	definition := registerContainers(
		p, nil, containerDefinition("main", image, port(8000), health, after("side", ecstypes.ContainerConditionStart)),
		containerDefinition("side", image, command("hang"), env("PORT", "9000"), inessential, health),
	)
	running := run(p, &ecs.RunTaskInput{TaskDefinition: &definition}, "RUNNING")
	describe := func() ecstypes.Task { return waitForStatus(p, *running.TaskArn, "RUNNING") }
	require.Eventually(t, func() bool { return describe().Containers[1].HealthStatus == ecstypes.HealthStatusUnhealthy }, time.Minute, 10*time.Millisecond)
	require.Eventually(t, func() bool { return describe().HealthStatus == ecstypes.HealthStatusHealthy }, time.Minute, 10*time.Millisecond)

	only := registerContainers(p, nil, containerDefinition("main", image, port(8000)), containerDefinition("side", image, port(9000), env("PORT", "9000"), inessential, health))
	running = run(p, &ecs.RunTaskInput{TaskDefinition: &only}, "RUNNING")
	require.Eventually(t, func() bool { return describe().Containers[1].HealthStatus == ecstypes.HealthStatusHealthy }, time.Minute, 10*time.Millisecond)
	require.Equal(t, ecstypes.HealthStatusUnknown, describe().HealthStatus)
}

// skipWithoutNamespaces skips a test of what needs the namespaces of a task.
func skipWithoutNamespaces(p *localawstest.Platform) {
	p.Helper()
	if p.Server.TaskMode() != task.ModeNamespace {
		p.Skip("needs root with CAP_SYS_ADMIN on Linux, for namespaces")
	}
}

// TestContainersShareTheNetwork connects one container to another's port on localhost.
func TestContainersShareTheNetwork(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	skipWithoutNamespaces(p)
	image := p.PushImage("one")
	definition := registerContainers(
		p, nil, containerDefinition("server", image, inessential, health),
		containerDefinition("main", image, command("check"), after("server", ecstypes.ContainerConditionHealthy)),
	)
	done := run(p, &ecs.RunTaskInput{TaskDefinition: &definition}, "STOPPED")
	require.Equal(t, []int32{0, 0}, exitCodes(done))
}

// TestContainersHaveTheirOwnPorts runs two tasks of two containers that listen, where all
// tasks share the machine's ports.
func TestContainersHaveTheirOwnPorts(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{TimeScale: 5, Tasks: task.ModePort})
	image := p.PushImage("one")
	p.CreateService(registerContainers(
		p, nil, containerDefinition("app", image, port(8000), health, after("proxy", ecstypes.ContainerConditionHealthy)),
		containerDefinition("proxy", image, port(9000), health),
	))
	p.WaitStable()
	require.Equal(t, "one", p.Version())
	for _, running := range p.DescribeTasks(ecstypes.DesiredStatusRunning) {
		require.NotEqual(t, output(p, running, "app"), output(p, running, "proxy"), "listening on …")
		for i, name := range []string{"app", "proxy"} {
			resp, err := http.Get(fmt.Sprintf("%s/v4/%s-%d", p.Server.Endpoint(), localawstest.TaskID(running), i))
			require.NoError(t, err)
			var seen struct{ Name string }
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&seen))
			require.NoError(t, resp.Body.Close())
			require.Equal(t, name, seen.Name)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	skipWithoutNamespaces(p)
	image := p.PushImage("one")
	mount := func(volume, path string, readOnly bool) change {
		return func(d *ecstypes.ContainerDefinition) {
			d.MountPoints = append(d.MountPoints, ecstypes.MountPoint{SourceVolume: &volume, ContainerPath: &path, ReadOnly: &readOnly})
		}
	}
	tmpfs := func(d *ecstypes.ContainerDefinition) {
		d.LinuxParameters = &ecstypes.LinuxParameters{Tmpfs: []ecstypes.Tmpfs{
			{ContainerPath: aws.String("/data"), Size: 1, MountOptions: []string{"exec"}}, {ContainerPath: aws.String("/config"), Size: 1, MountOptions: []string{"ro"}},
		}}
	}
	efs := func(system, point string) ecstypes.Volume {
		v := ecstypes.Volume{Name: aws.String("v"), EfsVolumeConfiguration: &ecstypes.EFSVolumeConfiguration{
			FileSystemId: &system, TransitEncryption: ecstypes.EFSTransitEncryptionEnabled,
		}}
		if point != "" {
			v.EfsVolumeConfiguration.AuthorizationConfig = &ecstypes.EFSAuthorizationConfig{AccessPointId: &point}
		}
		return v
	}
	const exists, readOnly, noFolder = "open /data/written: file exists", "open /config/written: read-only file system", "open /config/written: no such file or directory"
	steps := []struct {
		name          string
		volumes       []ecstypes.Volume
		changes       []change
		first, second string // what becomes of /data/written in two containers
		config        string
	}{
		{"scratch", []ecstypes.Volume{{Name: aws.String("v")}, {Name: aws.String("c")}}, []change{mount("v", "/data", false), mount("c", "/config", true)}, "ok", exists, readOnly},
		{"scratch of another task", []ecstypes.Volume{{Name: aws.String("v")}, {Name: aws.String("c")}}, []change{mount("v", "/data", false), mount("c", "/config", true)}, "ok", exists, readOnly},
		{"tmpfs", nil, []change{tmpfs}, "ok", "ok", readOnly},
		{"EFS", []ecstypes.Volume{efs("fs-1", "")}, []change{mount("v", "/data", false)}, "ok", exists, noFolder},
		{"EFS in another task", []ecstypes.Volume{efs("fs-1", "")}, []change{mount("v", "/data", false)}, exists, exists, noFolder},
		{"access point", []ecstypes.Volume{efs("fs-1", "fsap-1")}, []change{mount("v", "/data", false)}, "ok", exists, noFolder},
		{"other access point", []ecstypes.Volume{efs("fs-1", "fsap-2")}, []change{mount("v", "/data", false)}, "ok", exists, noFolder},
	}
	for _, step := range steps {
		files := append([]change{command("files")}, step.changes...)
		definition := registerContainers(
			p, step.volumes, containerDefinition("init", image, append(files, inessential)...),
			containerDefinition("main", image, append(files, after("init", ecstypes.ContainerConditionSuccess))...),
		)
		done := run(p, &ecs.RunTaskInput{TaskDefinition: &definition}, "STOPPED")
		require.Equal(t, []int32{0, 0}, exitCodes(done), step.name)
		for name, want := range map[string]string{"init": step.first, "main": step.second} {
			var seen struct{ Volume, ReadOnlyVolume string }
			require.NoError(t, json.Unmarshal([]byte(output(p, done, name)[0]), &seen))
			require.Equal(t, want, seen.Volume, step.name+" "+name)
			require.Equal(t, step.config, seen.ReadOnlyVolume, step.name+" "+name)
		}
	}
}

// TestWorker deploys services without load balancer.
func TestWorker(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{TimeScale: 40})
	worker := func(in *ecs.CreateServiceInput) { in.LoadBalancers, in.DesiredCount = nil, aws.Int32(1) }
	portless := func(d *ecstypes.ContainerDefinition) { d.PortMappings = nil }
	good := p.RegisterTaskDefinition(p.PushImage("one", "hang"), portless)
	p.CreateService(good, worker)
	s := p.WaitStable()
	running := p.DescribeTasks(ecstypes.DesiredStatusRunning)[0]
	require.Equal(t, ecstypes.HealthStatusUnknown, running.HealthStatus)
	require.GreaterOrEqual(t, s.Deployments[0].UpdatedAt.Sub(*running.StartedAt), time.Second-time.Millisecond, "40 s of running, 40 times faster")

	for name, broken := range map[string]string{
		"crashes at once":    p.RegisterTaskDefinition(p.PushImage("crash", "exit", "1"), portless),
		"is never healthy":   p.RegisterTaskDefinition(p.PushImage("sick", "hang"), portless, health),
		"sidecar is not":     registerContainers(p, nil, containerDefinition("app", p.PushImage("two", "hang")), containerDefinition("side", p.PushImage("sick", "hang"), health)),
		"sidecar holds main": registerContainers(p, nil, containerDefinition("app", p.PushImage("two", "hang"), after("side", ecstypes.ContainerConditionHealthy)), containerDefinition("side", p.PushImage("sick", "hang"), health)),
	} {
		id := p.UpdateService(broken)
		p.Eventually(func(s ecstypes.Service) bool { return *s.Deployments[0].Id != id })
		s = p.WaitStable()
		require.Equal(t, good, *s.TaskDefinition, name)
		require.Equal(t, ecstypes.ServiceDeploymentStatusRollbackSuccessful, serviceDeployments(p)[0].Status, name)
	}
	healthy := p.RegisterTaskDefinition(p.PushImage("three"), health)
	p.UpdateService(healthy)
	s = p.WaitStable()
	require.Equal(t, healthy, *s.TaskDefinition)
	require.Equal(t, ecstypes.HealthStatusHealthy, p.DescribeTasks(ecstypes.DesiredStatusRunning)[0].HealthStatus)
}
