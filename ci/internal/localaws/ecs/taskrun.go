package ecs

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/localaws/ident"
	"dagger/slipway/internal/localaws/task"
)

// provisioning is how long a task waits for its network interface, nominally.
const provisioning = 30 * time.Millisecond

// taskRun is one task from its creation to an hour after its end. Everything
// but the constants on top is guarded by the control plane's lock.
type taskRun struct {
	c          *Control
	arn, id    string
	ip         string
	cluster    *cluster
	service    *service // nil for RunTask's
	definition *types.TaskDefinition
	logOptions map[string]logStream
	stopped    chan struct{} // closed when the task must stop

	deployment *deployment
	record     types.Task
	sandbox    *task.Sandbox
	parts      []*part
	stopping   bool // it was told to stop, or is ending by itself
	gentle     bool // its targets drain before it is stopped
	registered bool // its targets are registered
	proven     bool // it has been healthy once
	tried      bool // its fate was counted for the circuit breaker
	unfit      bool // a health check has stopped it
}

// part is one container of a task.
type part struct {
	definition *types.ContainerDefinition
	run        task.Container
	health     types.HealthStatus
}

type logStream struct{ group, stream string }

// status is the lifecycle state, PROVISIONING to STOPPED.
func (t *taskRun) status() string { return *t.record.LastStatus }

func (t *taskRun) pending() bool {
	return slices.Contains([]string{"PROVISIONING", "PENDING", "ACTIVATING"}, t.status())
}

// poke wakes up the task's service.
func (t *taskRun) poke() {
	if t.service != nil {
		t.service.poke()
	}
}

// newTask makes a task and starts its life. The lock is held.
func (c *Control) newTask(cl *cluster, d *types.TaskDefinition, group string) *taskRun {
	id := ident.Hex(32)
	t := &taskRun{
		c: c, id: id, arn: c.cfg.Scope.ARN("ecs", "task/"+cl.name+"/"+id), ip: c.allotIP(),
		cluster: cl, definition: d, stopped: make(chan struct{}),
	}
	now := c.cfg.Clock.Now()
	eni := ident.UUID()
	t.record = types.Task{
		TaskArn: &t.arn, ClusterArn: &cl.arn, TaskDefinitionArn: d.TaskDefinitionArn, Group: &group,
		LastStatus: new("PROVISIONING"), DesiredStatus: new("RUNNING"), HealthStatus: types.HealthStatusUnknown,
		CreatedAt: &now, Cpu: d.Cpu, Memory: d.Memory, LaunchType: types.LaunchTypeFargate,
		PlatformVersion: new("1.4.0"), PlatformFamily: new("Linux"), AvailabilityZone: new(c.cfg.Scope.Region + "a"),
		Connectivity: types.ConnectivityConnected, ConnectivityAt: &now, Version: 1,
		Attributes:  []types.Attribute{{Name: new("ecs.cpu-architecture"), Value: new("x86_64")}},
		Overrides:   &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{}},
		Attachments: []types.Attachment{t.networkInterface(eni)},
	}
	for i := range d.ContainerDefinitions {
		cd := &d.ContainerDefinitions[i]
		t.parts = append(t.parts, &part{definition: cd, health: types.HealthStatusUnknown})
		t.record.Containers = append(t.record.Containers, types.Container{
			ContainerArn: new(c.cfg.Scope.ARN("ecs", "container/"+cl.name+"/"+id+"/"+ident.UUID())),
			TaskArn:      &t.arn, Name: cd.Name, Image: cd.Image, LastStatus: new("PENDING"), HealthStatus: types.HealthStatusUnknown,
			Cpu: new(itoa(cd.Cpu)), NetworkBindings: []types.NetworkBinding{},
			NetworkInterfaces: []types.NetworkInterface{{AttachmentId: &eni, PrivateIpv4Address: &t.ip}},
		})
	}
	c.tasks[t.arn] = t
	c.byIP[t.ip] = t
	return t
}

func (t *taskRun) networkInterface(id string) types.Attachment {
	name := "ip-" + strings.ReplaceAll(t.ip, ".", "-") + ".ec2.internal"
	return types.Attachment{Id: &id, Type: new("ElasticNetworkInterface"), Status: new("PRECREATED"), Details: []types.KeyValuePair{
		{Name: new("subnetId"), Value: new("subnet-00000000")},
		{Name: new("networkInterfaceId"), Value: new("eni-" + ident.Hex(17))},
		{Name: new("macAddress"), Value: new("0a:00:00:00:00:01")},
		{Name: new("privateDnsName"), Value: &name},
		{Name: new("privateIPv4Address"), Value: &t.ip},
	}}
}

func (t *taskRun) hostname() string {
	return "ip-" + strings.ReplaceAll(t.ip, ".", "-") + ".ec2.internal"
}

// requestStop tells a task to stop, for a reason that its record will show. Only
// the first request counts. The lock is held.
func (t *taskRun) requestStop(code types.TaskStopCode, reason string) {
	if t.stopping || t.status() == "STOPPED" {
		return
	}
	t.stopping = true
	t.record.DesiredStatus = new("STOPPED")
	t.record.StopCode, t.record.StoppedReason = code, &reason
	t.record.StoppingAt = new(t.c.cfg.Clock.Now())
	if t.status() == "RUNNING" {
		t.set("DEACTIVATING")
	}
	close(t.stopped)
}

// set changes the lifecycle state and tells the service. The lock is held.
func (t *taskRun) set(status string) {
	t.record.LastStatus = &status
	t.record.Version++
	t.poke()
}

// update runs f under the lock.
func (t *taskRun) update(f func()) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	f()
}

// live is a task's whole life, in a goroutine of its own.
func (t *taskRun) live() {
	ctx, cancel := context.WithCancel(t.c.ctx)
	defer cancel()
	go func() {
		select {
		case <-t.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := t.prepare(ctx); err != nil {
		t.failStart(err)
		t.end()
		return
	}
	if err := t.start(ctx); err != nil {
		t.failStart(err)
		t.stopContainers()
		t.end()
		return
	}
	t.join()
	t.watch(ctx)
	t.leave()
	t.stopContainers()
	t.end()
}

// failStart records why a task did not come up, unless it was told to stop.
func (t *taskRun) failStart(err error) {
	t.update(func() { t.requestStop(types.TaskStopCodeTaskFailedToStart, trim(err.Error())) })
}

// maxReason is where stoppedReason ends (API reference of Task: 1024 characters).
const maxReason = 1024

func trim(reason string) string {
	if len(reason) > maxReason {
		return reason[:maxReason]
	}
	return reason
}

// prepare gets the task its address and its images.
func (t *taskRun) prepare(ctx context.Context) error {
	if err := t.c.cfg.Clock.Sleep(ctx, provisioning); err != nil {
		return err
	}
	t.update(func() {
		t.record.Attachments[0].Status = new("ATTACHED")
		t.record.PullStartedAt = new(t.c.cfg.Clock.Now())
		t.set("PENDING")
	})
	images := make([]*task.Image, len(t.parts))
	for i, p := range t.parts {
		img, err := t.c.cfg.Runtime.Pull(ctx, *p.definition.Image)
		if err != nil {
			t.update(func() { t.record.Containers[i].Reason = new(err.Error()) })
			return err
		}
		images[i] = img
	}
	t.update(func() {
		t.record.PullStoppedAt = new(t.c.cfg.Clock.Now())
		for i, img := range images {
			t.record.Containers[i].ImageDigest = new(img.Digest.String())
			if t.deployment != nil {
				t.deployment.revision.digests[*t.parts[i].definition.Name] = img.Digest.String()
			}
		}
	})
	if err := t.openLogs(); err != nil {
		return err
	}
	sandbox, err := t.c.cfg.Runtime.NewSandbox(t.hostname(), t.ip)
	if err != nil {
		return resourceError("%v", err)
	}
	t.update(func() { t.sandbox = sandbox })
	return t.startContainers(ctx, images)
}

// watch waits until an essential container ends or the task is told to stop.
func (t *taskRun) watch(ctx context.Context) {
	ended := make(chan *part, len(t.parts))
	for _, p := range t.parts {
		t.c.wg.Go(func() {
			<-p.run.Done()
			ended <- p
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-ended:
			t.update(func() { t.exited(p) })
			if !aws.ToBool(p.definition.Essential) {
				continue
			}
			t.update(func() {
				t.requestStop(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited")
			})
			return
		}
	}
}

// exited notes a container's end. The lock is held.
func (t *taskRun) exited(p *part) {
	i := slices.Index(t.parts, p)
	rec := &t.record.Containers[i]
	if rec.ExitCode == nil && p.run != nil {
		rec.ExitCode = new(int32(p.run.ExitCode()))
	}
	rec.LastStatus = new("STOPPED")
}

// end takes the task's surroundings down and closes its record.
func (t *taskRun) end() {
	var sandbox *task.Sandbox
	t.update(func() {
		sandbox = t.sandbox
		t.sandbox = nil
		t.set("DEPROVISIONING")
	})
	if sandbox != nil {
		sandbox.Close()
	}
	t.update(func() {
		t.record.StoppedAt = new(t.c.cfg.Clock.Now())
		t.record.Attachments[0].Status = new("DELETED")
		for i := range t.record.Containers {
			t.record.Containers[i].LastStatus = new("STOPPED")
		}
		t.record.Connectivity = types.ConnectivityDisconnected
		delete(t.c.byIP, t.ip)
		t.set("STOPPED")
	})
}
