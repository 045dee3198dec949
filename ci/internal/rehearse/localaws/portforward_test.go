package localaws_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
)

func TestForwardKeepsHostHeader(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	defer server.Close()
	f, err := localaws.ListenAndForward(t.Context(), "127.0.0.1:0", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://" + f.Address())
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, f.Address(), string(body))
}

// TestForwardHalfClose has a peer that replies after the client has closed its write side.
func TestForwardHalfClose(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer far.Close()
	go func() {
		connection, err := far.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		said, _ := io.ReadAll(connection)
		_, _ = connection.Write(append(said, '!'))
	}()
	f, err := localaws.ListenAndForward(t.Context(), "127.0.0.1:0", far.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	connection := dial(t, f)
	_, err = connection.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, connection.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(connection)
	require.NoError(t, err)
	require.Equal(t, "hello!", string(answer))
}

func TestForwardUnreachableTarget(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, far.Close())
	f, err := localaws.ListenAndForward(t.Context(), "127.0.0.1:0", far.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	answer, err := io.ReadAll(dial(t, f))
	require.NoError(t, err)
	require.Empty(t, answer)
}

func TestForwardCloseEndsOpenConnections(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	f, err := localaws.ListenAndForward(ctx, "127.0.0.1:0", far.Addr().String())
	require.NoError(t, err)
	cancel() // the forward lasts until it is closed
	connection := dial(t, f)
	accepted, err := far.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	require.NoError(t, f.Close())
	_, _ = io.ReadAll(connection) // ends
}

func TestForwardAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, err = localaws.ListenAndForward(t.Context(), taken.Addr().String(), "127.0.0.1:1")
	require.ErrorContains(t, err, "forwarding "+taken.Addr().String()+" to 127.0.0.1:1")
}

func dial(t *testing.T, f *localaws.PortForward) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", f.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}
