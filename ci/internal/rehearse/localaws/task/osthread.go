package task

import (
	"runtime"
	"sync"
)

// osThread is an operating system thread that runs functions. Linux requires it for two
// reasons: the parent-death signal of a process is sent when the thread that forked it
// ends, not the program (golang/go#27505), and namespaces belong to threads.
type osThread struct {
	jobs  chan func()
	quit  chan struct{}
	done  chan struct{}
	close func() // ends the thread and waits for its end; may be called again
}

// startOSThread starts a thread and runs setup on it. If setup fails, the thread ends.
func startOSThread(setup func() error) (*osThread, error) {
	t := &osThread{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	t.close = sync.OnceFunc(func() {
		close(t.quit)
		<-t.done
	})
	ready := make(chan error)
	go func() {
		defer close(t.done)
		// Never unlocked: the runtime ends the thread with the goroutine, so that no
		// other goroutine gets its namespaces.
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

// do runs f on the thread and waits for it. It returns false, without running f, if the
// thread has ended.
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
