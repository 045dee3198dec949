package task

import (
	"runtime"
	"sync"
)

// thread is an operating system thread of its own. Two properties of Linux ask
// for it: the parent-death signal of a process is sent when the thread that
// forked it ends, not when the program does (golang/go#27505), and namespaces
// belong to threads.
type osThread struct {
	jobs  chan func()
	quit  chan struct{}
	done  chan struct{}
	close func() // ends the thread and waits for it; may be called again
}

// newThread starts a thread and runs setup on it. When that fails the thread is
// gone again.
func startOSThread(setup func() error) (*osThread, error) {
	t := &osThread{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	t.close = sync.OnceFunc(func() {
		close(t.quit)
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
		for {
			select {
			case job := <-t.jobs:
				job()
			case <-t.quit:
				return
			}
		}
	}()
	if err := <-ready; err != nil {
		<-t.done
		return nil, err
	}
	return t, nil
}

// do runs f on the thread and waits for it. It says whether the thread was still
// there to do so.
func (t *osThread) do(f func()) bool {
	finished := make(chan struct{})
	job := func() {
		defer close(finished)
		f()
	}
	select {
	case t.jobs <- job:
		<-finished
		return true
	case <-t.quit:
		return false
	}
}
