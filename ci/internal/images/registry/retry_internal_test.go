package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTransient(t *testing.T) {
	tests := map[error]bool{
		io.EOF:                 true,
		syscall.ECONNRESET:     true,
		os.ErrDeadlineExceeded: true,
		context.Canceled:       false,
		errInsecure:            false,
		&digestError{}:         false,
		errors.New("other"):    true,
		&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}: false,
		tls.RecordHeaderError{Msg: "not TLS"}:                                false,
	}
	for err, want := range tests {
		require.Equal(t, want, isTransient(fmt.Errorf("asking: %w", err)), err.Error())
	}
}

func TestBackoff(t *testing.T) {
	for range 100 {
		for failed, most := range map[int]time.Duration{1: minBackoff, 2: 2 * minBackoff, 4: 8 * minBackoff, 20: maxBackoff} {
			got := backoff(failed)
			require.LessOrEqual(t, got, most)
			require.Greater(t, got, most/2-1)
		}
	}
}

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

func TestTLSTransport(t *testing.T) {
	passed := tlsTransport{roundTrip(func(*http.Request) (*http.Response, error) { return &http.Response{}, nil })}
	for address, ok := range map[string]bool{
		"http://127.0.0.1:5000/v2/": true, "http://localhost/v2/": true, "https://registry.example.com/v2/": true,
		"http://registry.example.com/v2/": false, "http://10.0.0.1:5000/v2/": false, "http://registry.local/v2/": false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader("login"))
		require.NoError(t, err)
		_, err = passed.RoundTrip(req)
		if ok {
			require.NoError(t, err, address)
		} else {
			require.ErrorIs(t, err, errInsecure, address)
		}
	}
}

// TestDeadlineConn: a stalled connection fails, a slow one does not.
func TestDeadlineConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		near, far := net.Pipe()
		defer far.Close()
		conn := deadlineConn{near, limit}
		defer conn.Close()
		for range 3 {
			go func() {
				time.Sleep(limit - time.Second)
				_, _ = far.Write([]byte("x"))
			}()
			_, err := conn.Read(make([]byte, 1))
			require.NoError(t, err)
		}
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = conn.Write([]byte("x"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// TestTransportConnectionPerRequest: each concurrent request has its own
// connection, also with a registry that supports HTTP/2: on a shared one, other
// requests would hide a stall.
func TestTransportConnectionPerRequest(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	carrier := NewTransport()
	defer carrier.CloseIdleConnections()
	require.NotNil(t, carrier.Proxy, "the proxy that the environment names")
	carrier.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	answer, err := (&http.Client{Transport: carrier}).Get(server.URL)
	require.NoError(t, err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1", string(said))
}

// TestRewind: only a body that can be read again is sent again.
func TestRewind(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://localhost/", strings.NewReader("manifest"))
	require.NoError(t, err)
	next, ok := rewind(req)
	require.True(t, ok)
	raw, err := io.ReadAll(next.Body)
	require.NoError(t, err)
	require.Equal(t, "manifest", string(raw))
	req.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
	_, ok = rewind(req)
	require.False(t, ok)
	req.GetBody = nil
	_, ok = rewind(req)
	require.False(t, ok)
}
