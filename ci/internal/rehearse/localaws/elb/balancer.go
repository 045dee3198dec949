// Package elb is the embedded Elastic Load Balancing: the ELBv2 API, target health
// checks, and application load balancers that route requests.
package elb

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Dialer connects to a target: a port at the address of a task, or of another host.
type Dialer func(ctx context.Context, ip string, port int) (net.Conn, error)

// Config configures a [Balancer].
type Config struct {
	Scope wire.Scope
	Clock *clock.Scaled
	Dial  Dialer
	// OnTargetChange is called, without a lock held, when a target's state has changed.
	OnTargetChange func(targetGroup, ip string)
}

// Balancer holds all load balancers, listeners, rules and target groups.
type Balancer struct {
	cfg          Config
	ctx          context.Context
	cancel       context.CancelFunc
	wg           sync.WaitGroup
	transport    *http.Transport // of requests
	healthClient *http.Client    // of health checks

	mu             sync.Mutex
	balancers      []*loadBalancer
	groups         []*targetGroup
	tags           map[string]map[string]string // by ARN
	currentWeights map[string]map[string]int    // of target groups, by rule; see chooseTargetGroup
}

// loadBalancer is one ALB.
type loadBalancer struct {
	types.LoadBalancer
	attributes map[string]string
	ports      []*port // the first one is DNSName's and is never closed before the load balancer
	listeners  []*listener
	traffic    traffic
}

// port is a local port of a load balancer. Without a listener it responds with status
// 503.
type port struct {
	lb       *loadBalancer
	socket   net.Listener
	server   *http.Server
	listener *listener
}

// listener is a listener of an ALB. Its rules are sorted by priority and do not
// include the default rule.
type listener struct {
	types.Listener
	lb          *loadBalancer
	port        *port
	rules       []*types.Rule
	defaultRule types.Rule       // the default rule
	requests    map[string]int64 // that got a target, by target group
}

// New returns a Balancer without resources.
func New(cfg Config) *Balancer {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Balancer{cfg: cfg, ctx: ctx, cancel: cancel, tags: map[string]map[string]string{}, currentWeights: map[string]map[string]int{}}
	b.transport = &http.Transport{
		Proxy:                 nil, // targets are local
		DialContext:           b.dialAddress,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: time.Minute, // an ALB's idle timeout
		DisableCompression:    true,
	}
	b.healthClient = &http.Client{
		Transport:     &http.Transport{Proxy: nil, DialContext: b.dialAddress, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return b
}

// Close stops all load balancers and health checks. No target is dialled after it
// returns.
func (b *Balancer) Close() {
	b.cancel()
	b.mu.Lock()
	balancers := b.balancers
	b.balancers = nil
	b.mu.Unlock()
	for _, lb := range balancers {
		lb.close()
	}
	b.wg.Wait()
	b.transport.CloseIdleConnections()
}

func (lb *loadBalancer) close() {
	for _, p := range lb.ports {
		_ = p.server.Close()
	}
}

// open serves a load balancer on a free local port.
func (b *Balancer) open(lb *loadBalancer) (*port, error) {
	socket, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for load balancer %s: %w", aws.ToString(lb.LoadBalancerName), err)
	}
	p := &port{lb: lb, socket: socket}
	p.server = &http.Server{
		Handler: portHandler{b, p}, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	lb.ports = append(lb.ports, p)
	b.wg.Go(func() { _ = p.server.Serve(socket) }) // ends with ErrServerClosed
	return p, nil
}

// Traffic returns how many requests of a load balancer got a status below 500, and how
// many failed. Requests whose client disconnected count as neither.
func (b *Balancer) Traffic(name string) (served, failed int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, lb := range b.balancers {
		if aws.ToString(lb.LoadBalancerName) == name {
			return lb.traffic.served.Load(), lb.traffic.failed.Load()
		}
	}
	return 0, 0
}

// Address returns the local address of a listener of a load balancer, or "" if it has
// no listener on that port. The first listener's address is the load balancer's
// DNSName.
func (b *Balancer) Address(name string, port int32) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.listenerOf(name, port); l != nil {
		return l.port.socket.Addr().String()
	}
	return ""
}

// listenerOf returns the listener of a load balancer, by its name, with a port, or nil.
// The lock is held.
func (b *Balancer) listenerOf(name string, port int32) *listener {
	for _, lb := range b.balancers {
		if aws.ToString(lb.LoadBalancerName) == name {
			return lb.listenerAt(strconv.Itoa(int(port)))
		}
	}
	return nil
}

// HandlerOf returns the handler of the load balancer with an address, or with a listener on
// its port, for requests that reached this machine by another port; nil if there is none.
func (b *Balancer) HandlerOf(address string) http.Handler {
	b.mu.Lock()
	defer b.mu.Unlock()
	host, port, _ := net.SplitHostPort(address)
	for _, lb := range b.balancers {
		for _, p := range lb.ports {
			own, _, _ := net.SplitHostPort(p.socket.Addr().String())
			if p.socket.Addr().String() == address || host == own && lb.listenerAt(port) != nil {
				return p.server.Handler
			}
		}
	}
	return nil
}

// listenerAt returns the listener with a port, or nil.
func (lb *loadBalancer) listenerAt(port string) *listener {
	for _, l := range lb.listeners {
		if strconv.Itoa(int(aws.ToInt32(l.Port))) == port {
			return l
		}
	}
	return nil
}

func (b *Balancer) balancer(arn string) (*loadBalancer, error) {
	for _, lb := range b.balancers {
		if aws.ToString(lb.LoadBalancerArn) == arn {
			return lb, nil
		}
	}
	return nil, wire.Errorf("LoadBalancerNotFound", "Load balancer '%s' not found", arn)
}

func (b *Balancer) listener(arn string) (*listener, error) {
	for _, lb := range b.balancers {
		for _, l := range lb.listeners {
			if aws.ToString(l.ListenerArn) == arn {
				return l, nil
			}
		}
	}
	return nil, wire.Errorf("ListenerNotFound", "One or more listeners not found")
}

func (b *Balancer) group(arn string) (*targetGroup, error) {
	for _, g := range b.groups {
		if aws.ToString(g.TargetGroupArn) == arn {
			return g, nil
		}
	}
	return nil, wire.Errorf("TargetGroupNotFound", "One or more target groups not found")
}

// forwardingLoadBalancers returns the ARNs of the load balancers that forward to a
// target group.
func (b *Balancer) forwardingLoadBalancers(group string) []string {
	arns := []string{}
	for _, lb := range b.balancers {
		for _, l := range lb.listeners {
			if l.forwardsTo(group) {
				arns = append(arns, aws.ToString(lb.LoadBalancerArn))
				break
			}
		}
	}
	return arns
}

func (l *listener) forwardsTo(group string) bool {
	for _, r := range slices.Concat(l.rules, []*types.Rule{&l.defaultRule}) {
		for _, a := range r.Actions {
			for _, t := range forwardTargetGroups(a) {
				if aws.ToString(t.TargetGroupArn) == group {
					return true
				}
			}
		}
	}
	return false
}

// forwardTargetGroups returns the target groups of a forward action in either of its
// forms.
func forwardTargetGroups(a types.Action) []types.TargetGroupTuple {
	if a.ForwardConfig != nil && len(a.ForwardConfig.TargetGroups) > 0 {
		return a.ForwardConfig.TargetGroups
	}
	if a.TargetGroupArn != nil {
		return []types.TargetGroupTuple{{TargetGroupArn: a.TargetGroupArn}}
	}
	return nil
}

// arnPath returns the part of an ARN after its resource type: app/NAME/ID.
func arnPath(arn string) string {
	_, rest, _ := strings.Cut(arn[strings.LastIndexByte(arn, ':')+1:], "/")
	return rest
}
