package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTransient(t *testing.T) {
	tests := map[error]bool{
		io.EOF:              true,
		syscall.ECONNRESET:  true,
		stalled(1):          true,
		context.Canceled:    false,
		errPlain:            false,
		errCorrupt:          false,
		errors.New("other"): true,
		&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}: false,
		tls.RecordHeaderError{Msg: "not TLS"}:                                false,
	}
	for err, want := range tests {
		require.Equal(t, want, transient(fmt.Errorf("asking: %w", err)), err.Error())
	}
}

func TestPause(t *testing.T) {
	for range 100 {
		for failed, most := range map[int]time.Duration{1: firstWait, 2: 2 * firstWait, 4: 8 * firstWait, 20: longWait} {
			got := pause(failed)
			require.LessOrEqual(t, got, most)
			require.Greater(t, got, most/2-1)
		}
	}
}

// roundTrip is a transport of one function.
type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

func TestGuarded(t *testing.T) {
	passed := guarded{roundTrip(func(*http.Request) (*http.Response, error) { return &http.Response{}, nil })}
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
			require.ErrorIs(t, err, errPlain, address)
		}
	}
}

// An answer whose body stops coming is given up, too.
func TestWatchedBody(t *testing.T) {
	reader, writer := io.Pipe()
	defer writer.Close()
	watch := watched{limit: 50 * time.Millisecond, inner: roundTrip(func(req *http.Request) (*http.Response, error) {
		context.AfterFunc(req.Context(), func() { _ = reader.CloseWithError(context.Canceled) })
		return &http.Response{Body: reader}, nil
	})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
	require.NoError(t, err)
	answer, err := watch.RoundTrip(req)
	require.NoError(t, err)
	_, err = io.ReadAll(answer.Body)
	require.ErrorIs(t, err, stalled(50*time.Millisecond))
	require.NoError(t, answer.Body.Close())
}

// A body that can be had again is sent again, one that cannot is not.
func TestRewound(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://localhost/", strings.NewReader("manifest"))
	require.NoError(t, err)
	next, ok := rewound(req)
	require.True(t, ok)
	raw, err := io.ReadAll(next.Body)
	require.NoError(t, err)
	require.Equal(t, "manifest", string(raw))
	req.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
	_, ok = rewound(req)
	require.False(t, ok)
	req.GetBody = nil
	_, ok = rewound(req)
	require.False(t, ok)
}
