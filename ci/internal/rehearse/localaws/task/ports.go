package task

import (
	"errors"
	"net"
	"strconv"
	"sync"
)

// The ports of tasks in ModePort. They are below the ephemeral ports of systems: an
// outgoing connection could take one of those before the task listens on it.
const (
	firstPort = 20000
	lastPort  = 31999
)

// portAllocator allocates ports in turn, so that tasks that start at once get
// different ones.
type portAllocator struct {
	mu   sync.Mutex
	next int
}

// allocate returns a free loopback port.
func (p *portAllocator) allocate() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range lastPort - firstPort + 1 {
		port := strconv.Itoa(firstPort + p.next)
		p.next = (p.next + 1) % (lastPort - firstPort + 1)
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return "", errors.New("allocating a port for a task: no free port")
}
