package task

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/registry"
)

// fakeRegistry is a registry of images by reference.
type fakeRegistry map[string]v1.Image

func (s fakeRegistry) ParseReference(ref string) (repo, reference string, ok bool) {
	return ref, "latest", !strings.Contains(ref, "elsewhere")
}

func (s fakeRegistry) Image(repo, _ string, _ []v1.Platform) (v1.Image, error) {
	switch img, ok := s[repo]; {
	case ok:
		return img, nil
	case repo == "other-platform":
		return nil, registry.PlatformError{Wanted: v1.Platform{OS: "linux", Architecture: "amd64"}}
	default:
		return nil, registry.ErrManifestUnknown
	}
}

// testMode is a mode in which a runtime can run tasks.
type testMode struct {
	name     string
	mode     Mode
	noChroot bool // without changing the root directory, as everybody but root has to
}

// testModes returns the modes that this machine supports.
func testModes(t *testing.T) []testMode {
	t.Helper()
	list := []testMode{{"in place", ModePort, true}}
	if probeChroot(t.TempDir()) == nil {
		list = append(list, testMode{"chroot", ModePort, false})
	}
	if probeNamespaces() == nil {
		list = append(list, testMode{"namespace", ModeNamespace, false})
	}
	if len(list) < 3 {
		t.Logf("this machine supports only %d of 3 task modes", len(list))
	}
	return list
}

func newRuntime(t *testing.T, w testMode, images fakeRegistry) *Runtime {
	t.Helper()
	rt, err := NewRuntime(Config{Dir: t.TempDir(), Mode: w.mode, Images: images, Clock: clock.NewScaled(1)})
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	if w.noChroot {
		rt.chroot = false
	}
	require.Equal(t, w.mode, rt.Mode())
	return rt
}

// lines collects a container's output.
type lines struct {
	mu   sync.Mutex
	list []string
}

func (l *lines) add(_ time.Time, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, line)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// startedContainer is a container in its own sandbox.
type startedContainer struct {
	Container
	sandbox *Sandbox
	output  *lines
}

// run starts a container of an image in a mode. It is stopped when the test ends.
func run(t *testing.T, w testMode, img v1.Image, change func(*Spec)) startedContainer {
	t.Helper()
	rt := newRuntime(t, w, fakeRegistry{"app": img})
	pulled, err := rt.Pull(t.Context(), "app", "")
	require.NoError(t, err)
	s, err := rt.NewSandbox("ip-10-0-10-9.ec2.internal", "10.0.10.9")
	require.NoError(t, err)
	out := &lines{}
	spec := Spec{Name: "app", Image: pulled, Ports: []int{8000}, Output: out.add}
	if change != nil {
		change(&spec)
	}
	c, err := s.Start(spec, "AWS_REGION=us-east-1")
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Stop(time.Second)
		s.Close()
	})
	return startedContainer{c, s, out}
}

// get sends a request to the container's server.
func (s startedContainer) get(t *testing.T, path string) (status int, body string, err error) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.sandbox.Dial(ctx, 8000) }}
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("http://task" + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// ready waits until the container responds.
func (s startedContainer) ready(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, _, err := s.get(t, "/health")
		return err == nil && status == http.StatusOK
	}, time.Minute, 5*time.Millisecond, "%v", s.output.all())
}

func service(t *testing.T, args ...string) v1.Image {
	t.Helper()
	img, err := testapp.ServiceImage(binary, "one", args...)
	require.NoError(t, err)
	return img
}

// forEachMode runs a test in all supported modes.
func forEachMode(t *testing.T, test func(t *testing.T, w testMode)) {
	t.Helper()
	for _, w := range testModes(t) {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

func TestServiceRuns(t *testing.T) {
	forEachMode(t, func(t *testing.T, w testMode) {
		c := run(t, w, service(t), func(s *Spec) { s.Env = []string{"VERSION=two", "EXTRA=1"} })
		c.ready(t)
		_, body, err := c.get(t, "/")
		require.NoError(t, err)
		var answer struct {
			Version, Host, Hostname, Env string
			UID                          int
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Equal(t, "two", answer.Version, "the task definition's environment wins over the image's")
		require.Equal(t, "ip-10-0-10-9.ec2.internal", answer.Hostname)
		require.Contains(t, answer.Env, "AWS_REGION=us-east-1")
		require.Contains(t, answer.Env, "PATH="+defaultPath)
		if w.mode == ModeNamespace {
			require.Equal(t, "ip-10-0-10-9.ec2.internal", answer.Host)
			require.NotContains(t, answer.Env, "\nPORT=")
		} else {
			require.Regexp(t, `\nPORT=(2\d{4}|3[01]\d{3})$`, answer.Env)
		}
		if !w.noChroot {
			require.Equal(t, 65532, answer.UID, "the image's user")
		}
		require.NoError(t, c.Check(t.Context(), []string{"/app", "check"}))
		_, _, err = c.get(t, "/sick")
		require.NoError(t, err)
		require.ErrorContains(t, c.Check(t.Context(), []string{"/app", "check"}), "exit status 1")
		require.Error(t, c.Check(t.Context(), []string{"/nowhere"}))
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.ErrorContains(t, c.Check(short, []string{"/app", "hang"}), "killed")

		c.Stop(10 * time.Second)
		require.Zero(t, c.ExitCode())
		require.Equal(t, "bye", c.output.all()[1])
		_, _, err = c.get(t, "/")
		require.Error(t, err)
		c.Stop(0) // again changes nothing
	})
}

func TestTwoTasksWithSamePort(t *testing.T) {
	forEachMode(t, func(t *testing.T, w testMode) {
		rt := newRuntime(t, w, fakeRegistry{"app": service(t)})
		img, err := rt.Pull(t.Context(), "app", "")
		require.NoError(t, err)
		for _, ip := range []string{"10.0.10.4", "10.0.10.5"} {
			s, err := rt.NewSandbox("task-"+ip, ip)
			require.NoError(t, err)
			c, err := s.Start(Spec{Name: "app", Image: img, Ports: []int{8000}})
			require.NoError(t, err)
			defer s.Close()
			defer c.Stop(time.Second)
			both := startedContainer{c, s, &lines{}}
			both.ready(t)
			_, body, err := both.get(t, "/")
			require.NoError(t, err)
			require.Contains(t, body, "task-"+ip)
		}
	})
}

func TestExitCodes(t *testing.T) {
	tests := map[string]struct {
		args []string
		stop bool
		want []int // more than one where the ways differ
	}{
		"its own":      {[]string{"exit", "7"}, false, []int{7}},
		"none":         {[]string{"exit", "0"}, false, []int{0}},
		"SIGTERM":      {[]string{"hang"}, true, []int{143, 2, 137}}, // the first process of a container survives an unhandled SIGTERM; Go's runtime may then exit with 2
		"killed":       {[]string{"stubborn"}, true, []int{137}},
		"with a child": {[]string{"spawn"}, true, []int{143, 2, 137}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			forEachMode(t, func(t *testing.T, w testMode) {
				c := run(t, w, service(t, test.args...), nil)
				if test.stop {
					if test.args[0] != "hang" {
						require.Eventually(t, func() bool { return len(c.output.all()) > 0 }, time.Minute, time.Millisecond)
					}
					c.Stop(100 * time.Millisecond)
				}
				<-c.Done()
				require.Contains(t, test.want, c.ExitCode())
			})
		})
	}
}

func TestOutputIsComplete(t *testing.T) {
	forEachMode(t, func(t *testing.T, w testMode) {
		c := run(t, w, service(t, "exit", "1"), nil)
		<-c.Done()
		require.Equal(t, []string{"starting one", "panic: the database is on fire"}, c.output.all())
	})
}

func TestLongLinesAreSplit(t *testing.T) {
	out := &lines{}
	copyLines(strings.NewReader("short\r\n"+strings.Repeat("x", maxLine+10)+"\n\nend"), out.add)
	got := out.all()
	require.Equal(t, []int{5, maxLine, 10, 0, 3}, []int{len(got[0]), len(got[1]), len(got[2]), len(got[3]), len(got[4])})
	copyLines(strings.NewReader("no sink\n"), nil)
}

func TestTaskDefinitionCommand(t *testing.T) {
	img := Image{Config: v1.Config{Entrypoint: []string{"/entry"}, Cmd: []string{"image"}, WorkingDir: "/srv", User: "1"}}
	tests := map[string]struct {
		spec Spec
		want []string
	}{
		"the image's":          {Spec{}, []string{"/entry", "image"}},
		"command":              {Spec{Command: []string{"mine"}}, []string{"/entry", "mine"}},
		"entry point":          {Spec{EntryPoint: []string{"/mine"}}, []string{"/mine"}},
		"both":                 {Spec{EntryPoint: []string{"/mine"}, Command: []string{"too"}}, []string{"/mine", "too"}},
		"empty but not absent": {Spec{Command: []string{}}, []string{"/entry"}},
	}
	for name, test := range tests {
		test.spec.Image = &img
		require.Equal(t, test.want, test.spec.argv(), name)
	}
	require.Equal(t, "/srv", Spec{Image: &img}.workDir())
	require.Equal(t, "/mine", Spec{Image: &img, WorkDir: "/mine"}.workDir())
	require.Equal(t, "/", Spec{Image: &Image{}}.workDir())
	require.Equal(t, "2", Spec{Image: &img, User: "2"}.user())
}

func TestStartErrors(t *testing.T) {
	const wording = "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: "
	forEachMode(t, func(t *testing.T, w testMode) {
		rt := newRuntime(t, w, fakeRegistry{"app": service(t)})
		img, err := rt.Pull(t.Context(), "app", "")
		require.NoError(t, err)
		s, err := rt.NewSandbox("task", "10.0.10.4")
		require.NoError(t, err)
		defer s.Close()
		for name, test := range map[string]struct {
			spec Spec
			want string
		}{
			"no such file":    {Spec{EntryPoint: []string{"/none"}}, `exec: "/none": stat /none: no such file or directory`},
			"not in the path": {Spec{EntryPoint: []string{"none"}}, `exec: "none": executable file not found in $PATH`},
			"no command":      {Spec{EntryPoint: []string{}, Command: []string{}}, "no command specified"},
			"no user":         {Spec{User: "nobody"}, "unable to find user nobody: no matching entries in passwd file"},
			"no group":        {Spec{User: "1:staff"}, "unable to find group staff: no matching entries in group file"},
		} {
			if strings.HasPrefix(name, "no user") && w.noChroot || strings.HasPrefix(name, "no group") && w.noChroot {
				continue // users are not looked at: only root can change them
			}
			test.spec.Image, test.spec.Name = img, strings.ReplaceAll(name, " ", "-")
			_, err := s.Start(test.spec)
			require.ErrorContains(t, err, wording, name)
			require.ErrorContains(t, err, test.want, name)
			require.ErrorAs(t, err, new(*StartError), name)
		}
	})
}

func TestProgramOfOtherArchitecture(t *testing.T) {
	forEachMode(t, func(t *testing.T, w testMode) {
		layer, err := testapp.Layer(testapp.File{Name: "app", Body: []byte("\x7fELF of another kind"), Mode: 0o755})
		require.NoError(t, err)
		img, err := testapp.Image(v1.Config{Entrypoint: []string{"/app"}}, layer)
		require.NoError(t, err)
		c := run(t, w, img, nil)
		<-c.Done()
		require.Equal(t, 255, c.ExitCode())
		require.Equal(t, []string{"exec /app: exec format error"}, c.output.all())
		c.Stop(0)
	})
}

func TestPullErrors(t *testing.T) {
	rt := newRuntime(t, testMode{"", ModePort, true}, fakeRegistry{})
	const retried = "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
	for ref, want := range map[string]string{
		"app:v1":                     retried + "failed to resolve ref app:v1: app:v1: not found",
		"other-platform":             retried + "image Manifest does not contain descriptor matching platform 'linux/amd64'",
		"elsewhere":                  retried + "failed to resolve ref docker.io/library/elsewhere:latest: docker.io/library/elsewhere:latest: not found",
		"team/elsewhere:1":           retried + "failed to resolve ref docker.io/team/elsewhere:1: docker.io/team/elsewhere:1: not found",
		"quay.io/elsewhere@sha256:0": retried + "failed to resolve ref quay.io/elsewhere@sha256:0: quay.io/elsewhere@sha256:0: not found",
	} {
		_, err := rt.Pull(t.Context(), ref, "")
		require.EqualError(t, err, want)
		require.ErrorAs(t, err, new(*PullError))
	}
}

func TestNamespacesUnavailable(t *testing.T) {
	if os.Geteuid() == 0 && probeNamespaces() == nil {
		rt := newRuntime(t, testMode{"", ModeNamespace, false}, fakeRegistry{})
		require.Equal(t, ModeNamespace, rt.Mode())
		return
	}
	_, err := NewRuntime(Config{Dir: t.TempDir(), Mode: ModeNamespace})
	require.ErrorIs(t, err, ErrNamespacesUnavailable)
	require.NotEqual(t, "linux/root", runtime.GOOS)
}
