package forward_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/forward"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRequestsArriveUnderTheNameTheyWereSentTo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	defer server.Close()
	f, err := forward.Listen(t.Context(), "127.0.0.1:0", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()

	carrier := &http.Transport{}
	defer carrier.CloseIdleConnections()
	response, err := (&http.Client{Transport: carrier}).Get("http://" + f.Address())
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, f.Address(), string(body))
}

// TestEndOfOneSide is a peer that answers once the other side has ended.
func TestEndOfOneSide(t *testing.T) {
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
	f, err := forward.Listen(t.Context(), "127.0.0.1:0", far.Addr().String())
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

func TestNobodyThere(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, far.Close())
	f, err := forward.Listen(t.Context(), "127.0.0.1:0", far.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	answer, err := io.ReadAll(dial(t, f))
	require.NoError(t, err)
	require.Empty(t, answer)
}

func TestCloseEndsOpenConnections(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	f, err := forward.Listen(ctx, "127.0.0.1:0", far.Addr().String())
	require.NoError(t, err)
	cancel() // who asked for the forward may go: it lasts until it is closed
	connection := dial(t, f)
	accepted, err := far.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	require.NoError(t, f.Close())
	_, _ = io.ReadAll(connection) // ends
}

func TestAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, err = forward.Listen(t.Context(), taken.Addr().String(), "127.0.0.1:1")
	require.ErrorContains(t, err, "making "+taken.Addr().String()+" lead to 127.0.0.1:1")
}

func dial(t *testing.T, f *forward.Forward) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", f.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}
