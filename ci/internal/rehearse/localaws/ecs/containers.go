package ecs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
)

func itoa(n int32) string { return strconv.Itoa(int(n)) }

// initializationError reports a task that could not be set up, with Fargate's message.
func initializationError(format string, args ...any) error {
	return errors.New("ResourceInitializationError: " + fmt.Sprintf(format, args...))
}

// createLogStreams creates the log streams of the containers.
func (t *taskRun) createLogStreams() error {
	t.logStreams = map[string]logStream{}
	for _, p := range t.containers {
		log := p.definition.LogConfiguration
		if log == nil || log.LogDriver != types.LogDriverAwslogs {
			continue
		}
		name := aws.ToString(p.definition.Name)
		stream := logStream{log.Options["awslogs-group"], name + "/" + t.id}
		if prefix := log.Options["awslogs-stream-prefix"]; prefix != "" {
			stream.stream = prefix + "/" + stream.stream
		}
		if err := t.c.cfg.Logs.OpenStream(stream.group, stream.stream, log.Options["awslogs-create-group"] == "true"); err != nil {
			return initializationError("failed to validate logger args: create stream has been retried 1 times: "+
				"failed to create Cloudwatch log stream: %v : exit status 1", err)
		}
		t.logStreams[name] = stream
	}
	return nil
}

// startContainers starts the containers of the task definition, each as soon as its
// dependencies allow it, and returns once all have started. A container that is not
// essential may fail to start.
func (t *taskRun) startContainers(ctx context.Context, images []*task.Image) error {
	t.locked(func() { t.setStatus("ACTIVATING") })
	group, starting := errgroup.WithContext(ctx)
	for i := range t.containers {
		group.Go(func() error { return t.startContainer(ctx, starting, i, images[i]) })
	}
	return group.Wait()
}

// startContainer starts a container, unless starting ends before.
func (t *taskRun) startContainer(ctx, starting context.Context, i int, img *task.Image) error {
	p := t.containers[i]
	err := t.waitForDependencies(starting, p)
	if starting.Err() != nil {
		return context.Cause(starting)
	}
	var run task.Container
	if err == nil {
		run, err = t.sandbox.Start(t.containerSpec(i, img), t.environment(i)...)
	}
	if err != nil {
		t.recordNotStarted(i, err)
		if p.essential() {
			return err
		}
		return nil
	}
	t.locked(func() {
		p.run, p.startedAt = run, time.Now()
		t.record.Containers[i].LastStatus = new("RUNNING")
		t.record.Containers[i].RuntimeId = new(fmt.Sprintf("%s-%010d", t.id, i))
		t.notify()
	})
	t.c.wg.Go(func() { t.watch(i) })
	if check := newHealthCheck(p.definition.HealthCheck); check != nil {
		t.c.wg.Go(func() { t.runHealthCheck(ctx, p, check) })
	}
	return nil
}

// dependencyExitCode is the exit code of a container that is not started because of its
// dependencies, as if it had got SIGTERM (aws/amazon-ecs-agent#3218).
const dependencyExitCode = 143

// recordNotStarted records that a container was not started.
func (t *taskRun) recordNotStarted(i int, err error) {
	t.locked(func() {
		rec := &t.record.Containers[i]
		rec.Reason, rec.LastStatus = new(truncateReason(err.Error())), new("STOPPED")
		if _, ok := errors.AsType[*dependencyError](err); ok {
			rec.ExitCode = new(int32(dependencyExitCode))
		}
		t.containers[i].notStarted = true
		t.notify()
	})
}

// markRunning sets the task's status to RUNNING.
func (t *taskRun) markRunning(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.locked(func() {
		t.record.StartedAt = new(t.c.cfg.Clock.Now())
		t.setStatus("RUNNING")
	})
	return nil
}

func (t *taskRun) containerSpec(i int, img *task.Image) task.Spec {
	d := t.containers[i].definition
	spec := task.Spec{
		Name: *d.Name, Image: img, EntryPoint: d.EntryPoint, Command: d.Command,
		WorkDir: aws.ToString(d.WorkingDirectory), User: aws.ToString(d.User), ReadOnly: aws.ToBool(d.ReadonlyRootFilesystem),
		OneOff: t.service == nil,
	}
	for _, m := range d.MountPoints {
		spec.Mounts = append(spec.Mounts, t.mount(m))
	}
	if d.LinuxParameters != nil {
		for _, m := range d.LinuxParameters.Tmpfs {
			spec.Mounts = append(spec.Mounts, task.Mount{Path: aws.ToString(m.ContainerPath), Tmpfs: &task.Tmpfs{MiB: int(m.Size), Options: m.MountOptions}})
		}
	}
	override := t.record.Overrides.ContainerOverrides[i]
	if override.Command != nil {
		spec.Command = override.Command
	}
	for _, kv := range d.Environment {
		spec.Env = append(spec.Env, aws.ToString(kv.Name)+"="+aws.ToString(kv.Value))
	}
	spec.Env = append(spec.Env, t.secrets[*d.Name]...)
	for _, kv := range override.Environment {
		spec.Env = append(spec.Env, aws.ToString(kv.Name)+"="+aws.ToString(kv.Value))
	}
	for _, m := range d.PortMappings {
		spec.Ports = append(spec.Ports, int(aws.ToInt32(m.ContainerPort)))
	}
	if out, ok := t.logStreams[*d.Name]; ok {
		spec.Output = func(at time.Time, line string) { t.c.cfg.Logs.Write(out.group, out.stream, at, line) }
	}
	return spec
}

// environment returns the variables that Fargate sets in a container.
func (t *taskRun) environment(i int) []string {
	region := t.c.cfg.Scope.Region
	env := []string{"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "AWS_EXECUTION_ENV=AWS_ECS_FARGATE"}
	if t.c.cfg.Runtime.Mode() == task.ModePort {
		env = append(env, "ECS_CONTAINER_METADATA_URI_V4="+t.c.cfg.Endpoint+"/v4/"+t.id+"-"+strconv.Itoa(i))
	}
	return env
}

// defaultStopTimeout is how long Fargate waits between SIGTERM and SIGKILL.
const defaultStopTimeout = 30 * time.Second

// minStopGrace is the minimum time between SIGTERM and SIGKILL in real time, whatever
// the clock's scale.
const minStopGrace = time.Second

// stopContainers stops all running containers, each after those that depend on it.
func (t *taskRun) stopContainers() {
	stopped := make([]chan struct{}, len(t.containers))
	for i := range stopped {
		stopped[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for i, p := range t.containers {
		wg.Go(func() {
			defer close(stopped[i])
			for j, other := range t.containers {
				if other.dependsOn(p) {
					<-stopped[j]
				}
			}
			if p.run == nil {
				return
			}
			if t.c.ctx.Err() != nil {
				p.run.Stop(0) // the embedded AWS is closing
			} else {
				p.run.Stop(t.c.cfg.Clock.AtLeast(p.stopTimeout(), minStopGrace))
			}
		})
	}
	wg.Wait()
	t.locked(func() {
		t.record.ExecutionStoppedAt = new(t.c.cfg.Clock.Now())
		for i, p := range t.containers {
			if p.run != nil { // watch may record it later
				t.record.Containers[i].ExitCode = new(int32(p.run.ExitCode()))
			}
		}
	})
}

func (p *container) stopTimeout() time.Duration {
	if p.definition.StopTimeout == nil {
		return defaultStopTimeout
	}
	return time.Duration(*p.definition.StopTimeout) * time.Second
}

// registerTargets registers the task with its service's target groups.
func (t *taskRun) registerTargets() {
	t.locked(func() {
		if t.service == nil || t.stopping {
			return
		}
		t.registered = true
		for _, lb := range t.deployment.revision.targets {
			group := aws.ToString(lb.TargetGroupArn)
			if err := t.c.cfg.Balancer.Register(group, t.ip, int(aws.ToInt32(lb.ContainerPort)), t.record.AvailabilityZone); err != nil {
				t.service.event("(service %s) was unable to register a target in (target-group %s): %v", t.service.name, group, err)
				continue
			}
			t.service.registered[group]++
		}
		t.service.wake()
	})
}

// deregisterTargets removes the task from its target groups. A healthy task keeps
// running until it is drained, so that no request is lost.
func (t *taskRun) deregisterTargets() {
	var groups []types.LoadBalancer
	drainFirst := false
	t.locked(func() {
		if t.registered {
			groups = t.deployment.revision.targets
		}
		drainFirst = t.drainFirst
	})
	for _, lb := range groups {
		group, port := aws.ToString(lb.TargetGroupArn), int(aws.ToInt32(lb.ContainerPort))
		if !drainFirst {
			t.c.cfg.Balancer.Remove(group, t.ip, port)
			continue
		}
		t.waitDrained(group, port)
	}
	t.locked(func() { t.setStatus("STOPPING") })
}

// waitDrained waits until a target group has drained the task, or the task ends by itself.
func (t *taskRun) waitDrained(group string, port int) {
	select {
	case <-t.c.cfg.Balancer.Drain(group, t.ip, port):
	case <-t.c.ctx.Done():
	case <-t.exited:
		t.c.cfg.Balancer.Remove(group, t.ip, port)
	}
}
