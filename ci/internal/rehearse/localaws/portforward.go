package localaws

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds one connection to a forwarded address.
const dialTimeout = 5 * time.Second

// PortForward forwards the TCP connections of a local port to another address,
// such as an embedded AWS that runs in a container. [PortForward.Close] ends it.
type PortForward struct {
	listener net.Listener
	target   string
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// ListenAndForward listens on a local address and forwards its connections to
// target. Both are host and port.
func ListenAndForward(ctx context.Context, address, target string) (*PortForward, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("forwarding %s to %s: %w", address, target, err)
	}
	return Forward(ctx, listener, target), nil
}

// Forward forwards the connections of a listener to target. It continues after ctx
// ends, until Close, which also closes the listener.
func Forward(ctx context.Context, listener net.Listener, target string) *PortForward {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &PortForward{listener: listener, target: target, cancel: cancel}
	f.done.Go(func() { f.serve(ctx) })
	return f
}

// Address returns the local host and port.
func (f *PortForward) Address() string { return f.listener.Addr().String() }

// Close closes the listener and all open connections.
func (f *PortForward) Close() error {
	f.cancel()
	err := f.listener.Close()
	f.done.Wait()
	return err
}

func (f *PortForward) serve(ctx context.Context) {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.done.Go(func() { f.forward(ctx, client) })
	}
}

// forward copies in both directions until both sides have closed theirs.
func (f *PortForward) forward(ctx context.Context, client net.Conn) {
	defer client.Close()
	target, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", f.target)
	if err != nil {
		return // the client sees its connection closed
	}
	defer target.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close(); _ = target.Close() })()
	var both sync.WaitGroup
	both.Go(func() { copyAndCloseWrite(target, client) })
	both.Go(func() { copyAndCloseWrite(client, target) })
	both.Wait()
}

// copyAndCloseWrite copies until src ends and then closes the write side of dst.
func copyAndCloseWrite(dst, src net.Conn) {
	_, _ = io.Copy(dst, src) // a broken connection ends like a closed one
	if half, ok := dst.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}
