package registrytest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// configuration is that of Docker's registry: all data in one folder, on a free
// port of this machine.
const configuration = `version: 0.1
log: {level: info, formatter: text}
storage: {filesystem: {rootdirectory: %ROOT%}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0"}
`

// listening matches the address in the registry's log.
var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// StartDocker starts Docker's own registry, version 2, and returns its host and
// port. It skips the test if the registry is not installed.
func StartDocker(t testing.TB) (host string) {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("Docker's registry is not installed: apt-get install docker-registry")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yml")
	require.NoError(t, os.WriteFile(file, []byte(regexp.MustCompile("%ROOT%").ReplaceAllLiteralString(configuration, filepath.Join(dir, "root"))), 0o600))
	cmd := exec.Command(program, "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(stderr)
	for host == "" {
		line, err := lines.ReadString('\n')
		if found := listening.FindStringSubmatch(line); found != nil {
			host = found[1]
		}
		if err != nil {
			close(drained)
			require.NoError(t, err, "Docker's registry does not start: %s", line)
		}
	}
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines)
	}()
	return host
}
