// Package localaws is an AWS inside this process, for rehearsals and tests: ECS,
// ECR with its registry, Elastic Load Balancing, CloudWatch Logs, IAM roles,
// Secrets Manager, SSM parameters and STS, spoken to over HTTP by unmodified
// clients. Nothing is pretended: tasks are processes
// started from their images' files, load balancers route requests to them, and
// deployments proceed or fail by what really happens.
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

	"dagger/slipway/internal/clock"
	"dagger/slipway/internal/rehearse/localaws/ecs"
	"dagger/slipway/internal/rehearse/localaws/elb"
	"dagger/slipway/internal/rehearse/localaws/iam"
	"dagger/slipway/internal/rehearse/localaws/logs"
	"dagger/slipway/internal/rehearse/localaws/parameters"
	"dagger/slipway/internal/rehearse/localaws/registry"
	"dagger/slipway/internal/rehearse/localaws/secrets"
	"dagger/slipway/internal/rehearse/localaws/sts"
	"dagger/slipway/internal/rehearse/localaws/task"
	"dagger/slipway/internal/rehearse/localaws/wire"
)

// Options say how an embedded AWS is to be. The zero value is good.
type Options struct {
	Listen    string        // address of the API and registry; 127.0.0.1:0 by default
	Region    string        // us-east-1 by default
	Account   string        // 000000000000 by default
	Dir       string        // working directory; a temporary one by default. Close removes what it made there
	TimeScale float64       // 1 is real time; 10 makes the waits of ECS and ELB ten times shorter
	Throttle  bool          // refuse calls beyond AWS's documented request rates
	Latency   time.Duration // added to every call, in real time
	Tasks     task.Mode     // how tasks are kept apart; the best the machine allows by default
}

// Call is one API call as it was received and answered.
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
	tokens        *sts.Tokens
	roles         *iam.Roles
	close         func() error
	stopAfterFunc func() bool // from the context that Start was given

	mu     sync.Mutex
	calls  []Call
	faults []*activeFault
}

// Start starts an embedded AWS. It runs until Close is called or ctx ends.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded AWS: listening on %s: %w: name another address with --listen, or let port 0 take a free one", o.Listen, systemError(err))
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
	return o
}

// reason is the system's part of a network error, without what the caller says anyway.
func systemError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// assemble makes the services and connects them with one another.
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
		Secrets: secretResolver{secretStore, parameterStore}, Endpoint: s.Endpoint(), OnRole: s.roles.EnsureRole,
	})
	router := &wire.Router{
		Services: []wire.Service{
			s.controlPlane.Service(), s.store.Service(), s.balancer.Service(), streams.Service(),
			s.tokens.Service(), s.roles.Service(), secretStore.Service(), parameterStore.Service(),
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

// route tells the registry and the task metadata from the AWS APIs.
func (s *Server) route(apis http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/"):
			s.serveRegistry(w, r)
		case strings.HasPrefix(r.URL.Path, "/v4/"):
			s.controlPlane.ServeMetadata(w, r)
		default:
			apis.ServeHTTP(w, r)
		}
	})
}

// Endpoint is the base URL of all AWS APIs, as AWS_ENDPOINT_URL wants it.
func (s *Server) Endpoint() string { return "http://" + s.Registry() }

// Registry is the host and port of the registry, with which image references begin.
func (s *Server) Registry() string { return s.listener.Addr().String() }

// TaskMode says how tasks are kept apart: by namespaces or by ports.
func (s *Server) TaskMode() task.Mode { return s.runtime.Mode() }

// DenySimulated makes IAM's policy simulator deny an action, such as
// iam:PassRole, on the resource with an ARN, or on all of them for "*". The
// embedded AWS itself enforces no permission.
func (s *Server) DenyInSimulator(action, resource string) { s.roles.Deny(action, resource) }

// SetAlarm sets or clears a CloudWatch alarm, which is known by its name only.
// Setting it fails the deployment in progress of every service whose deployment
// configuration names it, and rolls it back where that says so.
func (s *Server) SetAlarm(name string, alarming bool) { s.controlPlane.SetAlarm(name, alarming) }

// Traffic counts a load balancer's requests: those answered below 500 and those
// that failed.
func (s *Server) Traffic(loadBalancer string) (served, failed int64) {
	return s.balancer.Traffic(loadBalancer)
}

// ListenerAddress is where a listener of a load balancer is reached, as host and
// port; "" if there is none on that port. The first listener's is the load
// balancer's DNSName.
func (s *Server) ListenerAddress(loadBalancer string, port int32) string {
	return s.balancer.Address(loadBalancer, port)
}

// SetThrottle turns Options.Throttle on, with full buckets, or off: setting up
// many services takes longer than AWS's rates allow.
func (s *Server) SetThrottle(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quotas = nil
	if on {
		s.quotas = newQuotas()
	}
}

// Close stops every task, closes every listener and removes the working
// directory. It may be called more than once.
func (s *Server) Close() error {
	s.stopAfterFunc()
	return s.close()
}

// closing is how long API calls under way may take to end. Clients keep
// connections that were never used, for which it would be waited in vain.
const shutdownTimeout = 200 * time.Millisecond

func (s *Server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
	}
	<-s.served
	s.controlPlane.Close()
	s.balancer.Close()
	s.runtime.Close()
	s.store.Close()
	return s.dir.remove()
}

// maxCalls bounds the record of calls; the oldest go first.
const maxCalls = 100_000

func (s *Server) recordCall(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) >= maxCalls {
		s.calls = append(s.calls[:0:0], s.calls[maxCalls/10:]...)
	}
	s.calls = append(s.calls, c)
}

// Calls lists the API calls so far, oldest first. Requests of the registry's
// protocol are among them as the ECR actions that they need permission for.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}
