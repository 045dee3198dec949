package task

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Sandbox is what the containers of one task share: their network and host name.
type Sandbox struct {
	rt       *Runtime
	hostname string
	thread   *thread // the task's own in ModeNamespace, the runtime's in ModePort
	own      bool

	mu     sync.Mutex
	routes map[int]string // container port → address on this machine
}

// NewSandbox makes the surroundings of a task.
func (rt *Runtime) NewSandbox(hostname string) (*Sandbox, error) {
	s := &Sandbox{rt: rt, hostname: hostname, thread: rt.thread, routes: map[int]string{}}
	if rt.mode == ModeNamespace {
		t, err := newThread(func() error { return enterNamespaces(hostname) })
		if err != nil {
			return nil, fmt.Errorf("making the namespaces of %s: %w", hostname, err)
		}
		s.thread, s.own = t, true
	}
	return s, nil
}

// Close removes the surroundings. All containers must have ended.
func (s *Sandbox) Close() {
	if s.own {
		s.thread.close()
	}
}

// Start starts a container.
func (s *Sandbox) Start(spec Spec, env ...string) (Container, error) {
	env = append([]string{"HOSTNAME=" + s.hostname}, env...)
	if dir, ok := site(spec); ok {
		return s.startSite(spec, dir)
	}
	if s.own || len(spec.Ports) == 0 {
		return s.startProcess(spec, spec.environment(env...))
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.route(spec.Ports[0], net.JoinHostPort("127.0.0.1", port))
	// Last, so that it wins over a PORT in the task definition: two tasks of one
	// definition cannot both have that port of the machine.
	return s.startProcess(spec, append(spec.environment(env...), "PORT="+port))
}

func (s *Sandbox) route(port int, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[port] = address
}

// Dial connects to a port of the task.
func (s *Sandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	s.mu.Lock()
	address, routed := s.routes[port]
	s.mu.Unlock()
	if !routed && s.own {
		return s.dialInside(ctx, port)
	}
	if !routed {
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp4", address)
}

// freePort finds a loopback port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// drainTime bounds how long output is awaited after a container's end, in case
// a process that left its group still holds the pipe.
const drainTime = time.Second

// process is a container that runs as an operating system process.
type process struct {
	sandbox *Sandbox
	spec    Spec
	env     []string
	proc    *os.Process
	done    chan struct{}
	code    int
}

func (s *Sandbox) startProcess(spec Spec, env []string) (Container, error) {
	p := &process{sandbox: s, spec: spec, env: env, done: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe for the output of %s: %w", spec.Name, err)
	}
	cmd, err := s.command(spec, spec.argv(), env)
	if err == nil {
		cmd.Stdout, cmd.Stderr = w, w
		s.thread.do(func() { err = cmd.Start() })
	}
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return p.unstartable(err)
	}
	p.proc = cmd.Process
	go func() {
		defer close(p.done)
		read := make(chan struct{})
		go func() {
			defer close(read)
			copyLines(r, spec.Output)
		}()
		_ = cmd.Wait() // its verdict is in ProcessState
		_ = killGroup(p.proc.Pid, syscall.SIGKILL)
		_ = r.SetReadDeadline(time.Now().Add(drainTime))
		<-read
		_ = r.Close()
		p.code = exitCode(cmd.ProcessState)
	}()
	return p, nil
}

// unstartable tells a file for another kind of processor, which a container
// runtime starts and loses, from what cannot be started at all.
func (p *process) unstartable(err error) (Container, error) {
	var start *StartError
	switch {
	case errors.As(err, &start):
		return nil, err
	case errors.Is(err, syscall.ENOEXEC):
		if p.spec.Output != nil {
			p.spec.Output(time.Now().UTC(), "exec "+p.spec.argv()[0]+": exec format error")
		}
		p.code = 255
		close(p.done)
		return p, nil
	default:
		return nil, startErrorf("exec: %q: %v", p.spec.argv()[0], err)
	}
}

func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) ExitCode() int { return p.code }

func (p *process) Stop(grace time.Duration) {
	select {
	case <-p.done:
		return
	default:
	}
	_ = killGroup(p.proc.Pid, syscall.SIGTERM)
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return
	case <-t.C:
	}
	_ = killGroup(p.proc.Pid, syscall.SIGKILL)
	<-p.done
}

func (p *process) Check(ctx context.Context, command []string) error {
	cmd, err := p.sandbox.command(p.spec, command, p.env)
	if err != nil {
		return err
	}
	p.sandbox.thread.do(func() { err = cmd.Start() })
	if err != nil {
		return fmt.Errorf("starting the health check %q: %w", command[0], err)
	}
	stop := context.AfterFunc(ctx, func() { _ = killGroup(cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("health check %q: %w", command[0], err)
	}
	return ctx.Err()
}

func exitCode(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.ExitCode()
}
