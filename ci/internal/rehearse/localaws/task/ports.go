package task

import (
	"errors"
	"net"
	"strconv"
	"sync"
)

// The ports that tasks are given in ModePort. They lie below the range from which
// systems take the local ports of outgoing connections: one of those could take
// a task's port between its choice and the moment the task listens.
const (
	firstPort = 20000
	lastPort  = 31999
)

// ports gives out ports in turn, so that two tasks starting at once get two.
type portAllocator struct {
	mu   sync.Mutex
	next int
}

// free finds a loopback port that nobody listens on.
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
	return "", errors.New("finding a free port for a task: all are in use")
}
