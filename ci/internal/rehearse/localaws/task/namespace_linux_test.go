package task

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

// TestContainerFileSystem checks a container's file system with the test service's command
// "files".
func TestContainerFileSystem(t *testing.T) {
	if probeNamespaces() != nil {
		t.Skip("namespaces need root with CAP_SYS_ADMIN")
	}
	body, err := os.ReadFile(binary)
	require.NoError(t, err)
	layer, err := testapp.Layer(testapp.File{Name: "app", Body: body, Mode: 0o755}, file("etc/motd", "hi"), link("etc/hosts", "/etc/motd"))
	require.NoError(t, err)
	img, err := testapp.Image(v1.Config{Entrypoint: []string{"/app", "files"}, WorkingDir: "/made/for/it"}, layer)
	require.NoError(t, err)
	type report struct {
		Dir, Hosts, Null, Root, Volume, Proc, ReadOnlyVolume string
		PID                                                  int
	}
	look := func(change func(*Spec)) report {
		c := run(t, testMode{"namespace", ModeNamespace, false}, img, change)
		<-c.Done()
		require.Len(t, c.output.all(), 1)
		var r report
		require.NoError(t, json.Unmarshal([]byte(c.output.all()[0]), &r))
		return r
	}
	volumes := []Mount{{Volume: "data", Path: "/data"}, {Volume: "config", Path: "/config", ReadOnly: true}}
	for range 2 { // the second task sees nothing of what the first has written
		r := look(func(s *Spec) { s.Mounts = volumes })
		require.Equal(t, "/made/for/it", r.Dir)
		require.Equal(t, "127.0.0.1 localhost\n10.0.10.9 ip-10-0-10-9.ec2.internal\n", r.Hosts)
		require.Equal(t, "ok", r.Null)
		require.Equal(t, "ok", r.Root)
		require.Equal(t, "ok", r.Volume)
		require.Equal(t, "ok", r.Proc)
		require.Contains(t, r.ReadOnlyVolume, "read-only file system")
		require.Equal(t, 1, r.PID)
	}
	r := look(func(s *Spec) { s.ReadOnly, s.Mounts = true, volumes })
	require.Contains(t, r.Root, "read-only file system")
	require.Equal(t, "ok", r.Volume)
	require.Equal(t, "ok", r.Null)
}

func TestLoopbackListenerIsUnreachable(t *testing.T) {
	if probeNamespaces() != nil {
		t.Skip("namespaces need root with CAP_SYS_ADMIN")
	}
	c := run(t, testMode{"namespace", ModeNamespace, false}, service(t), func(s *Spec) { s.Env = []string{"LISTEN_HOST=127.0.0.1"} })
	require.Eventually(t, func() bool { return len(c.output.all()) > 0 }, time.Minute, time.Millisecond)
	_, _, err := c.get(t, "/health")
	require.ErrorContains(t, err, "connection refused")
}
