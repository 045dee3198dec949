package elb

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// deregistrationDelay is the attribute with the seconds that a deregistered target has
// to complete its requests.
const deregistrationDelay = "deregistration_delay.timeout_seconds"

// targetGroup is a target group with its targets.
type targetGroup struct {
	types.TargetGroup
	attributes map[string]string
	targets    []*target
	next       atomic.Uint64 // round robin
	figures    []*MinuteFigures
}

// target is a registered target. The Balancer's lock guards its fields.
type target struct {
	group string // ARN
	ip    string
	port  int
	zone  *string
	state types.TargetHealthStateEnum
	// reason and description are set in every state but healthy.
	reason      types.TargetHealthReasonEnum
	description string

	ctx    context.Context // done when the target gets no more requests
	cancel context.CancelFunc
	// requests are those in progress. None is added once the target drains.
	requests sync.WaitGroup
	wakeup   chan struct{} // starts the next health check at once
}

// Health is a target's health as DescribeTargetHealth returns it.
type Health struct {
	State       types.TargetHealthStateEnum
	Reason      types.TargetHealthReasonEnum
	Description string // "Health checks failed with these codes: [500]"
}

var notRegistered = Health{
	types.TargetHealthStateEnumUnused, types.TargetHealthReasonEnumNotRegistered, "Target is not registered to the target group",
}

// Health returns the health of a target.
func (b *Balancer) Health(group, ip string, port int) Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g, err := b.group(group); err == nil {
		if t := g.find(ip, port); t != nil {
			return Health{t.state, t.reason, t.description}
		}
	}
	return notRegistered
}

func (g *targetGroup) find(ip string, port int) *target {
	for _, t := range g.targets {
		if t.ip == ip && t.port == port {
			return t
		}
	}
	return nil
}

// Attached reports whether a target group exists, and whether a load balancer forwards
// to it.
func (b *Balancer) Attached(group string) (exists, attached bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.group(group)
	return err == nil, len(b.forwardingLoadBalancers(group)) > 0
}

// Register adds a target and starts its health checks. It may be draining.
func (b *Balancer) Register(group, ip string, port int, zone *string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.group(group)
	if err != nil {
		return err
	}
	if t := g.find(ip, port); t != nil {
		if t.state != types.TargetHealthStateEnumDraining {
			return nil
		}
		g.remove(t)
	}
	t := &target{
		group: group, ip: ip, port: port, zone: zone, state: types.TargetHealthStateEnumInitial,
		reason: types.TargetHealthReasonEnumRegistrationInProgress, description: "Target registration is in progress",
		wakeup: make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancel(b.ctx)
	g.targets = append(g.targets, t)
	b.wg.Go(func() { b.runHealthChecks(g, t) })
	return nil
}

// Deregister drains a target: it gets no new requests, and is removed after the
// deregistration delay.
func (b *Balancer) Deregister(group, ip string, port int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.group(group)
	if err != nil {
		return err
	}
	t := g.find(ip, port)
	if t == nil || t.state == types.TargetHealthStateEnumDraining {
		return nil
	}
	t.state, t.reason = types.TargetHealthStateEnumDraining, types.TargetHealthReasonEnumDeregistrationInProgress
	t.description = "Target deregistration is in progress"
	t.wake()
	delay := g.delay()
	b.wg.Go(func() {
		_ = b.cfg.Clock.Sleep(t.ctx, delay) // returns early if the target is removed
		t.awaitRequests(b.cfg.Clock.AtLeast(delay, minDrain) - b.cfg.Clock.Scale(delay))
		b.mu.Lock()
		g.remove(t)
		b.mu.Unlock()
		// A server that shuts down waits for connections without a request, which
		// the pool may hold. Other targets only lose their idle connections.
		b.transport.CloseIdleConnections()
		b.cfg.OnTargetChange(group, ip)
	})
	return nil
}

// minDrain is the minimum deregistration delay in real time for requests in progress, whatever
// the clock's scale.
const minDrain = 10 * time.Second

// awaitRequests waits until the requests in progress are over, for as long as limit, or until
// the target is removed.
func (t *target) awaitRequests(limit time.Duration) {
	over := make(chan struct{})
	go func() {
		t.requests.Wait() // they end once the target is removed
		close(over)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

// Drain deregisters a target and returns a channel that is closed when the target gets
// no more requests.
func (b *Balancer) Drain(group, ip string, port int) <-chan struct{} {
	gone := make(chan struct{})
	close(gone)
	if b.Deregister(group, ip, port) != nil {
		return gone // the group was deleted with its targets
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if g, err := b.group(group); err == nil {
		if t := g.find(ip, port); t != nil {
			return t.ctx.Done()
		}
	}
	return gone
}

// Remove removes a target at once, without draining it.
func (b *Balancer) Remove(group, ip string, port int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g, err := b.group(group); err == nil {
		if t := g.find(ip, port); t != nil {
			g.remove(t)
		}
	}
}

func (g *targetGroup) remove(t *target) {
	t.cancel()
	for i, other := range g.targets {
		if other == t {
			g.targets = append(g.targets[:i:i], g.targets[i+1:]...)
			return
		}
	}
}

func (t *target) wake() {
	select {
	case t.wakeup <- struct{}{}:
	default:
	}
}

func (g *targetGroup) delay() time.Duration {
	seconds, err := strconv.Atoi(g.attributes[deregistrationDelay])
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// pick returns the target of a request, by round robin over the healthy ones. If none is
// healthy, an ALB fails open to all registered ones.
func (g *targetGroup) pick() *target {
	var healthy, others []*target
	for _, t := range g.targets {
		switch t.state {
		case types.TargetHealthStateEnumHealthy:
			healthy = append(healthy, t)
		case types.TargetHealthStateEnumDraining:
		default:
			others = append(others, t)
		}
	}
	if len(healthy) == 0 {
		healthy = others
	}
	if len(healthy) == 0 {
		return nil
	}
	return healthy[(g.next.Add(1)-1)%uint64(len(healthy))]
}

// dialAddress connects to "ip:port" with the configured Dialer.
func (b *Balancer) dialAddress(ctx context.Context, _, address string) (net.Conn, error) {
	ip, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling target %s: %w", address, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("dialling target %s: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // an ALB's connection timeout
	defer cancel()
	return b.cfg.Dial(ctx, ip, port)
}

// describe returns a target group as the API does.
func (b *Balancer) describe(g *targetGroup) types.TargetGroup {
	out := g.TargetGroup
	out.LoadBalancerArns = b.forwardingLoadBalancers(aws.ToString(g.TargetGroupArn))
	return out
}
