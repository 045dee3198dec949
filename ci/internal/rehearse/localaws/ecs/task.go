package ecs

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/rehearse/localaws/task"
	"dagger/slipway/internal/rehearse/localaws/wire"
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

	deployment        *deployment
	record            types.Task
	sandbox           *task.Sandbox
	containers        []*container
	stopping          bool // it is to stop, or is ending by itself
	drainFirst        bool // its targets drain before it is stopped
	registered        bool // its targets are registered
	wasHealthy        bool // it was healthy once
	counted           bool // the circuit breaker has counted it
	failedHealthCheck bool // a failed health check stopped it
}

// container is one container of a task.
type container struct {
	definition *types.ContainerDefinition
	run        task.Container
	health     types.HealthStatus
}

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
		cluster: cl, definition: d, stop: make(chan struct{}),
	}
	now := c.cfg.Clock.Now()
	eni := wire.NewUUID()
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
		t.containers = append(t.containers, &container{definition: cd, health: types.HealthStatusUnknown})
		t.record.Containers = append(t.record.Containers, types.Container{
			ContainerArn: new(c.cfg.Scope.ARN("ecs", "container/"+cl.name+"/"+id+"/"+wire.NewUUID())),
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
		{Name: new("networkInterfaceId"), Value: new("eni-" + wire.RandomHex(17))},
		{Name: new("macAddress"), Value: new("0a:00:00:00:00:01")},
		{Name: new("privateDnsName"), Value: &name},
		{Name: new("privateIPv4Address"), Value: &t.ip},
	}}
}

func (t *taskRun) hostname() string {
	return "ip-" + strings.ReplaceAll(t.ip, ".", "-") + ".ec2.internal"
}
