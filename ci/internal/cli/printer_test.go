package cli_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// broken is a writer that always fails.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: b.err}
}

func TestWriteErrorExitCode(t *testing.T) {
	for name, args := range map[string][]string{
		"text": {"version"}, "a document": {"version", "--output", "json"}, "help": {"--help"}, "help of a command": {"deploy", "--help"},
		"the version": {"--version"}, "a script": {"completion", "bash"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			require.Equal(t, outcome.Failed, cli.Run(t.Context(), args, broken{syscall.ENOSPC}, &stderr, nil))
			require.Equal(t, "slipway: cannot print: write /dev/stdout: no space left on device\n", stderr.String(), "once")
			stderr.Reset()
			require.Equal(t, outcome.Done, cli.Run(t.Context(), args, broken{syscall.EPIPE}, &stderr, nil), "a reader that wants no more")
			require.Empty(t, stderr.String())
		})
	}
}

// fullDeploy deploys with a full disk for the document: the release decides the exit code.
func fullDeploy(t *testing.T, dir string) {
	t.Helper()
	var stderr bytes.Buffer
	code := cli.Run(t.Context(), []string{"deploy", "--source", dir, "--output", "json"}, broken{syscall.ENOSPC}, &stderr, nil)
	require.Equal(t, outcome.Done, code, stderr.String())
	require.Contains(t, stderr.String(), "slipway: cannot print: write /dev/stdout: no space left on device\n")
}
