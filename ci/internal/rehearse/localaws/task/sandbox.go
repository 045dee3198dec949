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

// Sandbox is what the containers of one task share: their network and host name.
type Sandbox struct {
	rt           *Runtime
	hostname     string
	ip           string
	thread       *osThread // the task's own in ModeNamespace, the runtime's in ModePort
	isolated     bool
	dir          string // ModeNamespace: where the task's mounts are; empty for all others
	tmpfsMounted bool   // dir is mounted; touched on the thread only

	mu     sync.Mutex
	routes map[int]string // container port → address on this machine
}

// NewSandbox makes the surroundings of a task that has this host name and address.
func (rt *Runtime) NewSandbox(hostname, ip string) (*Sandbox, error) {
	s := &Sandbox{rt: rt, hostname: hostname, ip: ip, thread: rt.thread, routes: map[int]string{}}
	if rt.mode != ModeNamespace {
		return s, nil
	}
	var err error
	if s.dir, err = os.MkdirTemp(filepath.Join(rt.cfg.Dir, "sandboxes"), "task-"); err != nil {
		return nil, fmt.Errorf("making the directory of %s: %w", hostname, err)
	}
	if s.thread, err = startOSThread(func() error { return enterNamespaces(hostname, ip) }); err != nil {
		_ = os.Remove(s.dir)
		return nil, fmt.Errorf("making the namespaces of %s: %w", hostname, err)
	}
	s.isolated = true
	return s, nil
}

// Close removes the surroundings. All containers must have ended.
func (s *Sandbox) Close() {
	if s.isolated {
		s.thread.close()
		_ = os.Remove(s.dir) // outside of the task's namespaces it is empty
	}
}

// Start starts a container.
func (s *Sandbox) Start(spec Spec, env ...string) (Container, error) {
	env = append([]string{"HOSTNAME=" + s.hostname}, env...)
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
	// Last, so that it wins over a PORT in the task definition: two tasks of one
	// definition cannot both have that port of the machine.
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

// drainTime bounds how long output is awaited after a container's end, in case
// a process that left its group still holds the pipe.
const outputDrainTimeout = time.Second

// process is a container that runs as an operating system process.
type process struct {
	sandbox *Sandbox
	spec    Spec
	env     []string
	root    string // the root file system it sees
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
		_ = cmd.Wait() // its verdict is in ProcessState
		_ = killGroup(p.proc.Pid, syscall.SIGKILL)
		_ = r.SetReadDeadline(time.Now().Add(outputDrainTimeout))
		<-read
		_ = r.Close()
		p.code = exitCode(cmd.ProcessState)
	}()
	return p, nil
}

// rootOf makes the root file system a container sees: its own view of the image
// where it can have one, otherwise the unpacked image itself.
func (s *Sandbox) makeRoot(spec Spec) (root string, err error) {
	if !s.isolated {
		if _, err := ensureDir(spec.Image.Root, spec.workDir()); err != nil {
			return "", startErrorf("mkdir %s: %v", spec.workDir(), err)
		}
		return spec.Image.Root, nil
	}
	s.thread.do(func() { root, err = s.mountRoot(spec) })
	if err != nil {
		return "", startErrorf("%v", err)
	}
	return root, nil
}

// busyLimit is the longest wait for a program that is still being written.
const maxBusyWait = 500 * time.Millisecond

// launch starts the command that prepare makes. A program that was unpacked a
// moment ago may be open for writing in a child that somebody else has just
// forked and that has not become another program yet; Linux refuses to run it
// until then (golang/go#22315).
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

// unstartable tells a file for another kind of processor, which a container
// runtime starts and loses, from what cannot be started at all.
func (p *process) startFailure(err error) (Container, error) {
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
