package ecs

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// taskRun is one task, from its creation to an hour after its end. The control plane's
// lock guards the fields below stop.
type taskRun struct {
	c          *ControlPlane
	arn, id    string
	ip         string
	cluster    *cluster
	service    *service // nil for RunTask's
	definition *types.TaskDefinition
	logStreams map[string]logStream
	secrets    map[string][]string // NAME=value, by container
	stop       chan struct{}       // closed when the task must stop
	exited     chan struct{}       // closed when an essential container has exited

	essentialExit sync.Once // closes exited

	deployment        *deployment
	record            types.Task
	sandbox           *task.Sandbox
	containers        []*container
	changed           chan struct{} // closed and replaced when a container changes
	stopping          bool          // it is to stop, or is ending by itself
	drainFirst        bool          // its targets drain before it is stopped
	registered        bool          // its targets are registered
	wasHealthy        bool          // it was healthy once
	counted           bool          // the circuit breaker has counted it
	failedHealthCheck bool          // a failed health check stopped it
}

// container is one container of a task.
type container struct {
	definition *types.ContainerDefinition
	run        task.Container // nil until it is started
	startedAt  time.Time
	exited     bool
	notStarted bool // it was not started and never will be
	health     types.HealthStatus
}

func (p *container) name() string { return *p.definition.Name }

func (p *container) essential() bool { return aws.ToBool(p.definition.Essential) }

type logStream struct{ group, stream string }

// status returns the lifecycle status, PROVISIONING to STOPPED.
func (t *taskRun) status() string { return *t.record.LastStatus }

func (t *taskRun) pending() bool {
	return slices.Contains([]string{"PROVISIONING", "PENDING", "ACTIVATING"}, t.status())
}

// newTask creates a task, whose run the caller starts. The lock is held.
func (c *ControlPlane) newTask(cl *cluster, d *types.TaskDefinition, group string) *taskRun {
	id := wire.RandomHex(32)
	t := &taskRun{
		c: c, id: id, arn: c.cfg.Scope.ARN("ecs", "task/"+cl.name+"/"+id), ip: c.allocateIP(),
		cluster: cl, definition: d, stop: make(chan struct{}), exited: make(chan struct{}), changed: make(chan struct{}),
	}
	now := c.cfg.Clock.Now()
	eni := wire.NewUUID()
	t.record = types.Task{
		TaskArn: &t.arn, ClusterArn: &cl.arn, TaskDefinitionArn: d.TaskDefinitionArn, Group: &group,
		LastStatus: new("PROVISIONING"), DesiredStatus: new("RUNNING"), HealthStatus: types.HealthStatusUnknown,
		CreatedAt: &now, Cpu: d.Cpu, Memory: d.Memory, LaunchType: types.LaunchTypeFargate,
		PlatformVersion: new("1.4.0"), PlatformFamily: new("Linux"), AvailabilityZone: new(c.cfg.Scope.Region + "a"),
		Connectivity: types.ConnectivityConnected, ConnectivityAt: &now, Version: 1,
		Attributes:       []types.Attribute{{Name: new("ecs.cpu-architecture"), Value: new(architectureOf(d))}},
		EphemeralStorage: cmp.Or(d.EphemeralStorage, &types.EphemeralStorage{SizeInGiB: defaultEphemeralStorage}),
		Overrides:        &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{}, InferenceAcceleratorOverrides: []types.InferenceAcceleratorOverride{}}, //nolint:staticcheck // AWS returns it still
		Attachments:      []types.Attachment{t.networkInterface(eni)},
	}
	for i := range d.ContainerDefinitions {
		cd := &d.ContainerDefinitions[i]
		t.record.Overrides.ContainerOverrides = append(t.record.Overrides.ContainerOverrides, types.ContainerOverride{Name: cd.Name})
		t.containers = append(t.containers, &container{definition: cd, health: types.HealthStatusUnknown})
		t.record.Containers = append(t.record.Containers, types.Container{
			ContainerArn: new(c.cfg.Scope.ARN("ecs", "container/"+cl.name+"/"+id+"/"+wire.NewUUID())),
			TaskArn:      &t.arn, Name: cd.Name, Image: cd.Image, LastStatus: new("PENDING"), HealthStatus: types.HealthStatusUnknown,
			Cpu: new(itoa(cd.Cpu)), Memory: optionalItoa(cd.Memory), MemoryReservation: optionalItoa(cd.MemoryReservation), NetworkBindings: []types.NetworkBinding{},
			NetworkInterfaces: []types.NetworkInterface{{AttachmentId: &eni, PrivateIpv4Address: &t.ip}},
		})
	}
	c.tasks[t.arn] = t
	c.byIP[t.ip] = t
	return t
}

// defaultEphemeralStorage is the size of Fargate's scratch space in GiB.
const defaultEphemeralStorage = 20

// architectureOf returns the CPU architecture of a task definition as an attribute's value.
func architectureOf(d *types.TaskDefinition) string {
	if d.RuntimePlatform != nil && d.RuntimePlatform.CpuArchitecture == types.CPUArchitectureArm64 {
		return "arm64"
	}
	return "x86_64"
}

func optionalItoa(n *int32) *string {
	if n == nil {
		return nil
	}
	return new(itoa(*n))
}

func (t *taskRun) networkInterface(id string) types.Attachment {
	name := "ip-" + strings.ReplaceAll(t.ip, ".", "-") + ".ec2.internal"
	return types.Attachment{Id: &id, Type: new("ElasticNetworkInterface"), Status: new("PRECREATED"), Details: []types.KeyValuePair{
		{Name: new("subnetId"), Value: new("subnet-00000000")},
		{Name: new("networkInterfaceId"), Value: new("eni-" + wire.RandomHex(17))},
		{Name: new("macAddress"), Value: new("0a:00:00:00:00:01")},
		{Name: new("privateDnsName"), Value: &name},
		{Name: new("privateIPv4Address"), Value: &t.ip},
	}}
}

func (t *taskRun) hostname() string {
	return "ip-" + strings.ReplaceAll(t.ip, ".", "-") + ".ec2.internal"
}
