package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, func(w io.Writer) { _, _ = io.WriteString(w, "up 1\n") }) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/metrics":                       {200, "up 1"},
		"/debug/pprof/":                  {200, "goroutine"},
		"/debug/pprof/goroutine?debug=1": {200, "admin.Serve"},
		"/debug/pprof/symbol":            {200, "num_symbols"},
		"/api/":                          {404, "not found"},
		"/debug/pprof/nothing":           {404, "Unknown profile"},
	} {
		resp, err := client.Get("http://" + ln.Addr().String() + target)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want.status, resp.StatusCode, target)
		require.Contains(t, string(body), want.body, target)
	}
	stop()
	require.NoError(t, <-served)
	_, err = net.Dial("tcp", ln.Addr().String())
	require.Error(t, err)
}

func TestServeBrokenListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	require.ErrorContains(t, Serve(t.Context(), ln, nil), "serving metrics on 127.0.0.1:")
}
