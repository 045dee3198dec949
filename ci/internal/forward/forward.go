// Package forward makes a port of this machine lead to an address elsewhere.
package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds one connection to the address.
const dialTimeout = 5 * time.Second

// Forward is a port of this machine that leads elsewhere. [Forward.Close] ends it.
type Forward struct {
	listener net.Listener
	to       string
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// Listen makes the address on this machine lead to another address: both are host
// and port.
func Listen(ctx context.Context, at, to string) (*Forward, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
	if err != nil {
		return nil, fmt.Errorf("making %s lead to %s: %w", at, to, err)
	}
	return New(ctx, listener, to), nil
}

// New makes a listener lead to an address, and closes it at the end.
func New(ctx context.Context, listener net.Listener, to string) *Forward {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &Forward{listener: listener, to: to, cancel: cancel}
	f.done.Go(func() { f.serve(ctx) })
	return f
}

// Address is the one on this machine.
func (f *Forward) Address() string { return f.listener.Addr().String() }

// Close takes no more connections and ends those that are open.
func (f *Forward) Close() error {
	f.cancel()
	err := f.listener.Close()
	f.done.Wait()
	return err
}

func (f *Forward) serve(ctx context.Context) {
	for {
		near, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.done.Go(func() { f.carry(ctx, near) })
	}
}

// carry joins a connection with one to the address, until both sides have said
// all they have to say.
func (f *Forward) carry(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", f.to)
	if err != nil {
		return // whoever asked sees its connection closed
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() { _ = near.Close(); _ = far.Close() })()
	var both sync.WaitGroup
	both.Go(func() { pass(far, near) })
	both.Go(func() { pass(near, far) })
	both.Wait()
}

// pass copies what comes, and passes on its end.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a broken connection ends like any other
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}
