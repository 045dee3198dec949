// Package ecs is the embedded Elastic Container Service: the API, the service
// scheduler with its deployments, and the lifecycle of tasks.
package ecs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/elb"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Balancer is the load balancing that the scheduler needs.
type Balancer interface {
	Attached(targetGroup string) (exists, attached bool)
	Register(targetGroup, ip string, port int, zone *string) error
	Drain(targetGroup, ip string, port int) <-chan struct{}
	Remove(targetGroup, ip string, port int)
	Health(targetGroup, ip string, port int) elb.Health
	RuleExists(rule string) bool
	SetWeights(rule string, groups []elbtypes.TargetGroupTuple) error
	Attach(rule, targetGroup string) error
}

// Logs receives the tasks' output.
type Logs interface {
	OpenStream(group, stream string, create bool) error
	Write(group, stream string, at time.Time, text string)
}

// Config configures a [ControlPlane].
type Config struct {
	Scope    wire.Scope
	Clock    *clock.Scaled
	Runtime  *task.Runtime
	Balancer Balancer
	Logs     Logs
	Secrets  Secrets
	Endpoint string // base URL of the task metadata endpoint
	// UncheckedStart is how long a task without any health check runs, nominally, before it
	// counts as healthy.
	UncheckedStart time.Duration
	// OnRole, if set, is called with the ARN of each role in a task definition or service,
	// and the service that assumes it.
	OnRole func(arn, principal string)
}

// ControlPlane is the control plane: all state, under one lock. Tasks and services run
// in goroutines of their own and take the lock to change it.
type ControlPlane struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	clusters    map[string]*cluster
	families    map[string]*family
	tasks       map[string]*taskRun // by ARN
	byIP        map[string]*taskRun
	deployments map[string]*serviceDeployment // by ARN
	revisions   map[string]*revision          // by ARN
	tags        map[string]map[string]string  // by ARN
	alarming    map[string]bool               // by the alarm's name
	tokens      map[string]tokenUse           // by cluster and client token
	nextIP      int
}

// New returns a control plane without any resource.
func New(cfg Config) *ControlPlane {
	ctx, cancel := context.WithCancel(context.Background())
	return &ControlPlane{
		cfg: cfg, ctx: ctx, cancel: cancel,
		clusters: map[string]*cluster{}, families: map[string]*family{}, tasks: map[string]*taskRun{},
		byIP: map[string]*taskRun{}, deployments: map[string]*serviceDeployment{}, revisions: map[string]*revision{},
		tags: map[string]map[string]string{}, alarming: map[string]bool{}, tokens: map[string]tokenUse{},
	}
}

// Service returns the ECS API.
func (c *ControlPlane) Service() wire.Service {
	return wire.Service{
		Name:   "ecs",
		Target: "AmazonEC2ContainerServiceV20141113",
		Operations: []wire.Operation{
			wire.NewLockedOperation(&c.mu, "CreateCluster", c.createCluster),
			wire.NewLockedOperation(&c.mu, "DescribeClusters", c.describeClusters),
			wire.NewLockedOperation(&c.mu, "ListClusters", c.listClusters),
			wire.NewLockedOperation(&c.mu, "DeleteCluster", c.deleteCluster),
			wire.NewLockedOperation(&c.mu, "PutClusterCapacityProviders", c.putClusterCapacityProviders),
			wire.NewLockedOperation(&c.mu, "RegisterTaskDefinition", c.registerTaskDefinition),
			wire.NewLockedOperation(&c.mu, "DescribeTaskDefinition", c.describeTaskDefinition),
			wire.NewLockedOperation(&c.mu, "DeregisterTaskDefinition", c.deregisterTaskDefinition),
			wire.NewLockedOperation(&c.mu, "DeleteTaskDefinitions", c.deleteTaskDefinitions),
			wire.NewLockedOperation(&c.mu, "ListTaskDefinitions", c.listTaskDefinitions),
			wire.NewLockedOperation(&c.mu, "ListTaskDefinitionFamilies", c.listTaskDefinitionFamilies),
			wire.NewLockedOperation(&c.mu, "TagResource", c.tagResource),
			wire.NewLockedOperation(&c.mu, "UntagResource", c.untagResource),
			wire.NewLockedOperation(&c.mu, "ListTagsForResource", c.listTagsForResource),
			wire.NewLockedOperation(&c.mu, "CreateService", c.createService),
			wire.NewLockedOperation(&c.mu, "UpdateService", c.updateService),
			wire.NewLockedOperation(&c.mu, "DescribeServices", c.describeServices),
			wire.NewLockedOperation(&c.mu, "ListServices", c.listServices),
			wire.NewLockedOperation(&c.mu, "DeleteService", c.deleteService),
			wire.NewLockedOperation(&c.mu, "ListServiceDeployments", c.listServiceDeployments),
			wire.NewLockedOperation(&c.mu, "DescribeServiceDeployments", c.describeServiceDeployments),
			wire.NewLockedOperation(&c.mu, "DescribeServiceRevisions", c.describeServiceRevisions),
			wire.NewLockedOperation(&c.mu, "StopServiceDeployment", c.stopServiceDeployment),
			wire.NewLockedOperation(&c.mu, "ContinueServiceDeployment", c.continueServiceDeployment),
			wire.NewLockedOperation(&c.mu, "RunTask", c.runTask),
			wire.NewLockedOperation(&c.mu, "StopTask", c.stopTask),
			wire.NewLockedOperation(&c.mu, "ListTasks", c.listTasks),
			wire.NewLockedOperation(&c.mu, "DescribeTasks", c.describeTasks),
		},
	}
}

// Close stops all tasks without draining them, and waits for their end.
func (c *ControlPlane) Close() {
	c.mu.Lock()
	c.closed = true
	for _, t := range c.tasks {
		t.requestStop(types.TaskStopCodeUserInitiated, "The embedded AWS is closing")
	}
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// spawn starts a goroutine unless the control plane is closed. The lock is held.
func (c *ControlPlane) spawn(f func()) {
	if !c.closed {
		c.wg.Go(f)
	}
}

// TargetChanged wakes the service whose task has the address. It implements
// elb.Config.OnTargetChange.
func (c *ControlPlane) TargetChanged(_, ip string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.byIP[ip]; ok {
		t.wakeService()
	}
}

// Dial connects to a port of the task with the address, or to any other address. It
// implements elb.Config.Dial.
func (c *ControlPlane) Dial(ctx context.Context, ip string, port int) (net.Conn, error) {
	c.mu.Lock()
	t, ok := c.byIP[ip]
	var sandbox *task.Sandbox
	if ok {
		sandbox = t.sandbox
	}
	c.mu.Unlock()
	switch {
	case sandbox != nil:
		return sandbox.Dial(ctx, port)
	case ok || isTaskAddress(ip):
		return nil, fmt.Errorf("dialling task %s: %w", ip, errConnectionRefused)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
}

var errConnectionRefused = errors.New("connection refused")

// firstAddress is the first address of tasks, 10.0.10.4: AWS reserves the first four
// addresses of a subnet.
const firstAddress = 10<<8 | 4

// allocateIP allocates addresses in turn, so that the address of a stopped task is not
// reused soon.
func (c *ControlPlane) allocateIP() string {
	for {
		n := firstAddress + c.nextIP
		c.nextIP = (c.nextIP + 1) % (0xffff - firstAddress)
		if low := n & 0xff; low < 4 || low == 255 {
			continue
		}
		ip := fmt.Sprintf("10.0.%d.%d", n>>8, n&0xff)
		if _, taken := c.byIP[ip]; !taken {
			return ip
		}
	}
}

func isTaskAddress(ip string) bool {
	parsed := net.ParseIP(ip).To4()
	return parsed != nil && parsed[0] == 10 && parsed[1] == 0
}
