package cli_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/outputtest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestUp(t *testing.T) {
	dir := sourcetest.New(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	found, ended := make(chan string, 1), make(chan outcome.Code, 1)
	w := outputtest.NewMatchWriter(`up at (http://\S+):`, func(match []string) { found <- match[1] })
	go func() {
		ended <- cli.Run(ctx, []string{"up", "--source", dir, "--listen", "127.0.0.1:0"}, io.Discard, w, nil)
	}()
	select {
	case address := <-found:
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for path, want := range map[string]string{"/health": "ok", "/": "<title>site</title>"} {
			answer, err := client.Get(address + path)
			require.NoError(t, err)
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			require.NoError(t, err)
			require.Contains(t, string(body), want)
		}
		cancel(outcome.Interruption("interrupted"))
		require.Equal(t, outcome.Done, <-ended, "that is how it ends well")
	case code := <-ended:
		cancel(nil)
		t.Fatalf("ended with %d: %s", code, w)
	}
}

func TestUpFails(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "api/main.go", "package main\n\nfunc main() { nonsense }\n")
	code, _, stderr := run(t, "up", "--source", dir)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "nonsense")
	code, _, stderr = run(t, "up", "--source", dir, "--listen", "nowhere")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, `--listen "nowhere": want HOST:PORT, such as 127.0.0.1:8080`)
	code, _, stderr = run(t, "up", "--source", dir, "--listen", "127.0.0.1:99999")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, `--listen "127.0.0.1:99999": want a port from 0 to 65535`)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	code, _, stderr = run(t, "up", "--source", dir, "--listen", busy.Addr().String())
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "address already in use: choose another address with --listen")
	require.NotContains(t, stderr, "nonsense", "found before anything is built")
}
