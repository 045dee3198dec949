package task

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Sandbox is the network and host name that the containers of a task share.
type Sandbox struct {
	rt           *Runtime
	hostname     string
	ip           string
	thread       *osThread // the sandbox's in ModeNamespace, the runtime's in ModePort
	isolated     bool
	dir          string // mount point in ModeNamespace; empty outside the namespace
	tmpfsMounted bool   // used on the thread only

	mu     sync.Mutex
	routes map[int]string // container port → address on this machine
}

// NewSandbox creates the sandbox of a task.
func (rt *Runtime) NewSandbox(hostname, ip string) (*Sandbox, error) {
	s := &Sandbox{rt: rt, hostname: hostname, ip: ip, thread: rt.thread, routes: map[int]string{}}
	if rt.mode != ModeNamespace {
		return s, nil
	}
	var err error
	if s.dir, err = os.MkdirTemp(filepath.Join(rt.cfg.Dir, "sandboxes"), "task-"); err != nil {
		return nil, fmt.Errorf("creating the directory of %s: %w", hostname, err)
	}
	if s.thread, err = startOSThread(func() error { return enterNamespaces(hostname, ip) }); err != nil {
		_ = os.Remove(s.dir)
		return nil, fmt.Errorf("creating the namespaces of %s: %w", hostname, err)
	}
	s.isolated = true
	return s, nil
}

// Close removes the sandbox. All containers must have exited.
func (s *Sandbox) Close() {
	if s.isolated {
		s.thread.close()
		_ = os.Remove(s.dir) // it is empty outside the task's namespaces
	}
}

// Start starts a container. env is added to its environment.
func (s *Sandbox) Start(spec Spec, env ...string) (Container, error) {
	env = append([]string{"HOSTNAME=" + s.hostname}, env...)
	if spec.Image.Config.Labels[StandInLabel] != "" && spec.EntryPoint == nil { // which may name a program that was added
		return s.startStandIn(spec)
	}
	if dir, ok := staticSite(spec); ok {
		return s.startSite(spec, dir)
	}
	if s.isolated || len(spec.Ports) == 0 {
		return s.startProcess(spec, spec.environment(env...))
	}
	port, err := s.rt.ports.allocate()
	if err != nil {
		return nil, err
	}
	s.addRoute(spec.Ports[0], net.JoinHostPort("127.0.0.1", port))
	// PORT is last, so that it overrides one in the task definition: two tasks of a
	// definition cannot use the same port of the machine.
	return s.startProcess(spec, append(spec.environment(env...), "PORT="+port))
}

func (s *Sandbox) addRoute(port int, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[port] = address
}

// Dial connects to a port of the task.
func (s *Sandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	s.mu.Lock()
	address, routed := s.routes[port]
	s.mu.Unlock()
	if !routed && s.isolated {
		return s.dialInNamespace(ctx, port)
	}
	if !routed {
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp4", address)
}

// outputDrainTimeout bounds the wait for output after a container's exit: a process
// that left its process group may still hold the pipe.
const outputDrainTimeout = time.Second

// process is a container that runs as an operating system process.
type process struct {
	sandbox *Sandbox
	spec    Spec
	env     []string
	root    string // its root file system
	proc    *os.Process
	done    chan struct{}
	code    int
}

func (s *Sandbox) startProcess(spec Spec, env []string) (Container, error) {
	p := &process{sandbox: s, spec: spec, env: env, done: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("creating a pipe for the output of %s: %w", spec.Name, err)
	}
	var cmd *exec.Cmd
	if p.root, err = s.makeRoot(spec); err == nil {
		cmd, err = s.startCommand(func() (*exec.Cmd, error) {
			cmd, err := s.command(spec, p.root, spec.argv(), env)
			if err == nil {
				cmd.Stdout, cmd.Stderr = w, w
			}
			return cmd, err
		})
	}
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return p.startFailure(err)
	}
	p.proc = cmd.Process
	go func() {
		defer close(p.done)
		read := make(chan struct{})
		go func() {
			defer close(read)
			copyLines(r, spec.Output)
		}()
		_ = cmd.Wait() // the result is in ProcessState
		_ = killGroup(p.proc.Pid, syscall.SIGKILL)
		_ = r.SetReadDeadline(time.Now().Add(outputDrainTimeout))
		<-read
		_ = r.Close()
		p.code = exitCode(cmd.ProcessState)
	}()
	return p, nil
}

// makeRoot returns a container's root file system: its own mount of the image if the
// sandbox is isolated, otherwise the unpacked image.
func (s *Sandbox) makeRoot(spec Spec) (root string, err error) {
	if !s.isolated {
		if _, err := ensureDir(spec.Image.Root, spec.workDir()); err != nil {
			return "", startErrorf("mkdir %s: %v", spec.workDir(), err)
		}
		for _, m := range spec.Mounts {
			at, err := ensureDir(spec.Image.Root, m.Path)
			if err == nil {
				err = os.Chmod(at, 0o777|os.ModeSticky)
			}
			if err != nil {
				return "", startErrorf("creating the volume %s at %s: %v", m.Volume, m.Path, err)
			}
		}
		return spec.Image.Root, nil
	}
	s.thread.do(func() { root, err = s.mountRoot(spec) })
	if err != nil {
		return "", startErrorf("%v", err)
	}
	return root, nil
}

// maxBusyWait is the longest pause before another attempt to start a busy program.
const maxBusyWait = 500 * time.Millisecond

// startCommand starts the command that prepare returns, again while Linux reports
// ETXTBSY: a child that was forked while the program was unpacked holds it open for
// writing until it executes another program (golang/go#22315).
func (s *Sandbox) startCommand(prepare func() (*exec.Cmd, error)) (*exec.Cmd, error) {
	for wait := time.Millisecond; ; wait *= 2 {
		cmd, err := prepare()
		if err != nil {
			return nil, err
		}
		if !s.thread.do(func() { err = cmd.Start() }) {
			return nil, context.Canceled
		}
		if !errors.Is(err, syscall.ETXTBSY) || wait > maxBusyWait {
			return cmd, err
		}
		<-time.After(wait)
	}
}

// startFailure returns the result of a failed start: a container that has exited for a
// program of another architecture, as with a container runtime, otherwise an error.
func (p *process) startFailure(err error) (Container, error) {
	switch _, ok := errors.AsType[*StartError](err); {
	case ok:
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
	if p.spec.Image.Config.Labels[SiteLabel] != "" && len(command) > 0 && !p.spec.has(command[0]) {
		return nil // as of a site without its web server: the check's program is in the image that was left out
	}
	cmd, err := p.sandbox.command(p.spec, p.root, command, p.env)
	if err != nil {
		return err
	}
	if !p.sandbox.thread.do(func() { err = cmd.Start() }) {
		return context.Canceled
	}
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
