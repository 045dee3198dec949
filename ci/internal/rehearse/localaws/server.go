// Package localaws is an AWS in this process, for rehearsals and tests: ECS, ECR and
// its registry, Elastic Load Balancing, CloudWatch, CloudWatch Logs, EventBridge
// Scheduler, IAM roles, Secrets Manager, SSM parameters and STS, served over HTTP to
// unmodified clients. Tasks are processes started from the files of their images, load
// balancers route requests to them, and deployments succeed or fail by what these
// processes do.
package localaws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/cloudwatch"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/ecs"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/elb"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/iam"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/logs"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/parameters"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/registry"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/scheduler"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/secrets"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/sts"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Options configure an embedded AWS. The zero value is usable.
type Options struct {
	Listen    string        // address of the API and registry; 127.0.0.1:0 by default
	Region    string        // us-east-1 by default
	Account   string        // 000000000000 by default
	Dir       string        // parent of the working directory, which Close removes; the system's temporary directory by default
	TimeScale float64       // 1 is real time; with 10, the waits of ECS and ELB are ten times shorter
	Throttle  bool          // throttle calls above AWS's documented request rates
	Latency   time.Duration // added to every call, in real time
	Tasks     task.Mode     // how tasks are isolated; by default as well as the machine allows
	// UncheckedStart is how long a task without health checks runs before it counts as
	// healthy; ECS's 40 seconds by default.
	UncheckedStart time.Duration
}

// Call is one recorded API call.
type Call = wire.Call

// Server is a running embedded AWS.
type Server struct {
	options       Options
	listener      net.Listener
	http          *http.Server
	served        chan struct{}
	dir           *workDir
	quotas        *quotas // nil without Options.Throttle
	store         *registry.Store
	runtime       *task.Runtime
	balancer      *elb.Balancer
	controlPlane  *ecs.ControlPlane
	scheduler     *scheduler.Scheduler
	tokens        *sts.Tokens
	roles         *iam.Roles
	close         func() error
	stopAfterFunc func() bool // of the context passed to Start

	mu     sync.Mutex
	calls  []Call
	faults []*activeFault
}

// Start starts an embedded AWS. It runs until Close is called or ctx ends.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded AWS: listening on %s: %w: choose another address with --listen, or port 0 for a free port", o.Listen, systemError(err))
	}
	s := &Server{options: o, listener: l, served: make(chan struct{})}
	if o.Throttle {
		s.quotas = newQuotas()
	}
	if err := s.setUp(); err != nil {
		_ = l.Close()
		return nil, err
	}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(l) // ends with ErrServerClosed
	}()
	s.close = sync.OnceValue(s.shutdown)
	s.stopAfterFunc = context.AfterFunc(ctx, func() { _ = s.close() })
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Account == "" {
		o.Account = "000000000000"
	}
	if o.UncheckedStart == 0 {
		o.UncheckedStart = 40 * time.Second
	}
	return o
}

// systemError returns the operating system's part of a network error, without the
// operation and address, which the caller adds.
func systemError(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// setUp creates the services and connects them.
func (s *Server) setUp() error {
	dir, err := newWorkDir(s.options.Dir)
	if err != nil {
		return err
	}
	s.dir = dir
	o, c := s.options, clock.NewScaled(s.options.TimeScale)
	scope := wire.Scope{Region: o.Region, Account: o.Account}
	if s.store, err = registry.NewStore(filepath.Join(dir.path, "registry"), s.Registry(), scope, c.Now); err == nil {
		s.runtime, err = task.NewRuntime(task.Config{
			Dir: filepath.Join(dir.path, "tasks"), Mode: o.Tasks, Images: s.store, Clock: c,
		})
	}
	if err != nil {
		_ = dir.remove()
		return fmt.Errorf("embedded AWS: %w", err)
	}
	streams := logs.NewStore(scope)
	secretStore, parameterStore := secrets.New(scope, c.Now), parameters.New(scope, c.Now)
	s.tokens, s.roles = sts.New(scope), iam.New(scope, c.Now)
	s.balancer = elb.New(elb.Config{
		Scope: scope, Clock: c,
		Dial: func(ctx context.Context, ip string, port int) (net.Conn, error) {
			return s.controlPlane.Dial(ctx, ip, port)
		},
		OnTargetChange: func(group, ip string) { s.controlPlane.TargetChanged(group, ip) },
	})
	s.controlPlane = ecs.New(ecs.Config{
		Scope: scope, Clock: c, Runtime: s.runtime, Balancer: s.balancer, Logs: streams,
		Secrets: secretResolver{secretStore, parameterStore}, Endpoint: s.Endpoint(), UncheckedStart: o.UncheckedStart, OnRole: s.roles.EnsureRole,
	})
	s.scheduler = scheduler.New(scheduler.Config{
		Scope: scope, Clock: c, Tasks: s.controlPlane,
		OnRole: func(arn string) { s.roles.EnsureRole(arn, "scheduler.amazonaws.com") },
	})
	metrics := cloudwatch.New(cloudwatch.Config{Scope: scope, Clock: c, Figures: s.balancer.TargetGroupFigures})
	router := &wire.Router{
		Services: []wire.Service{
			s.controlPlane.Service(), s.store.Service(), s.balancer.Service(), streams.Service(),
			s.tokens.Service(), s.roles.Service(), secretStore.Service(), parameterStore.Service(), s.scheduler.Service(), metrics.Service(),
		},
		Observe: s.recordCall, Inject: s.injectionFor,
	}
	s.http = &http.Server{
		Handler: s.route(router), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Minute,
		WriteTimeout: 10 * time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return nil
}

// route sends a request to the registry, the task metadata endpoint, a load balancer (by
// its Host header, so that one forwarded port leads to all of them) or the AWS APIs.
func (s *Server) route(apis http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := s.balancer.HandlerOf(r.Host)
		switch {
		case handler != nil:
			handler.ServeHTTP(w, r)
		case r.URL.Path == sts.IdentityPath:
			sts.ServeIdentity(w, r)
		case r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/"):
			s.serveRegistry(w, r)
		case strings.HasPrefix(r.URL.Path, "/v4/"):
			s.controlPlane.ServeMetadata(w, r)
		default:
			apis.ServeHTTP(w, r)
		}
	})
}

// Endpoint returns the base URL of all AWS APIs, the value for AWS_ENDPOINT_URL.
func (s *Server) Endpoint() string { return "http://" + s.Registry() }

// Registry returns the host and port of the registry, with which image references begin.
func (s *Server) Registry() string { return s.listener.Addr().String() }

// TaskMode returns how tasks are isolated: by namespaces or by ports.
func (s *Server) TaskMode() task.Mode { return s.runtime.Mode() }

// RunsImages reports whether tasks run in the root file systems of their images.
// Programs that are not static need that.
func (s *Server) RunsImages() bool { return s.runtime.RunsImages() }

// DenyInSimulator makes IAM's policy simulator deny an action, such as iam:PassRole,
// on the resource with an ARN, or on all resources for "*". The embedded AWS itself
// enforces no permissions.
func (s *Server) DenyInSimulator(action, resource string) { s.roles.Deny(action, resource) }

// SetAlarm sets or clears the CloudWatch alarm with a name. Setting it fails the
// deployments in progress of all services whose deployment configuration names it,
// and rolls them back if configured.
func (s *Server) SetAlarm(name string, alarming bool) { s.controlPlane.SetAlarm(name, alarming) }

// ExpireHooks lets all lifecycle hooks that wait for an action expire now.
func (s *Server) ExpireHooks() { s.controlPlane.ExpireHooks() }

// DeadLetters returns the invocations of schedules that have failed for good.
func (s *Server) DeadLetters() []scheduler.DeadLetter { return s.scheduler.DeadLetters() }

// Traffic returns how many requests of a load balancer got a status below 500, and
// how many failed.
func (s *Server) Traffic(loadBalancer string) (served, failed int64) {
	return s.balancer.Traffic(loadBalancer)
}

// TargetGroupFigures returns the figures of a target group, the oldest minute first.
func (s *Server) TargetGroupFigures(arn string) []elb.MinuteFigures {
	return s.balancer.TargetGroupFigures(arn)
}

// ListenerRequests returns how many requests to a listener of a load balancer went to a
// target of each target group, by the group's ARN.
func (s *Server) ListenerRequests(loadBalancer string, port int32) map[string]int64 {
	return s.balancer.ListenerRequests(loadBalancer, port)
}

// ListenerAddress returns the host and port at which a listener of a load balancer is
// served, or "" if it has no listener on that port. The first listener's address is
// the load balancer's DNSName.
func (s *Server) ListenerAddress(loadBalancer string, port int32) string {
	return s.balancer.Address(loadBalancer, port)
}

// SetThrottle turns Options.Throttle on, with full buckets, or off, such as while
// many services are created.
func (s *Server) SetThrottle(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quotas = nil
	if on {
		s.quotas = newQuotas()
	}
}

// Close stops all tasks, closes all listeners and removes the working directory. It
// may be called more than once.
func (s *Server) Close() error {
	s.stopAfterFunc()
	return s.close()
}

// shutdownTimeout is how long API calls in progress may take to end. Shutdown would
// otherwise wait for connections that clients opened and never used.
const shutdownTimeout = 200 * time.Millisecond

func (s *Server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
	}
	<-s.served
	s.scheduler.Close()
	s.controlPlane.Close()
	s.balancer.Close()
	s.runtime.Close()
	s.store.Close()
	return s.dir.remove()
}

// maxCalls bounds the recorded calls; the oldest are dropped first.
const maxCalls = 100_000

func (s *Server) recordCall(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) >= maxCalls {
		s.calls = append(s.calls[:0:0], s.calls[maxCalls/10:]...)
	}
	s.calls = append(s.calls, c)
}

// Calls returns the API calls so far, oldest first. They include requests of the
// registry's protocol, as the ECR actions that these need permission for.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}
