package task

import (
	"runtime"
	"sync"
)

// thread is an operating system thread of its own. Two properties of Linux ask
// for it: the parent-death signal of a process is sent when the thread that
// forked it ends, not when the program does (golang/go#27505), and namespaces
// belong to threads.
type thread struct {
	jobs  chan func()
	done  chan struct{}
	close func()
}

// newThread starts a thread and runs setup on it. When that fails the thread is
// gone again.
func newThread(setup func() error) (*thread, error) {
	t := &thread{jobs: make(chan func()), done: make(chan struct{})}
	t.close = sync.OnceFunc(func() {
		close(t.jobs)
		<-t.done
	})
	ready := make(chan error)
	go func() {
		defer close(t.done)
		// Never unlocked: the runtime ends the thread with the goroutine, and
		// nobody inherits the namespaces it may have entered.
		runtime.LockOSThread()
		err := setup()
		ready <- err
		if err != nil {
			return
		}
		for job := range t.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		<-t.done
		return nil, err
	}
	return t, nil
}

// do runs f on the thread and waits for it. The thread must not be closed.
func (t *thread) do(f func()) {
	finished := make(chan struct{})
	t.jobs <- func() {
		defer close(finished)
		f()
	}
	<-finished
}
