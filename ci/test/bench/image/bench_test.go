// Package bench measures the time from the backend's source to an image in a registry,
// for slipway and for other tools. Each round runs every tool once, one after the
// other, so that other load on the machine affects all of them. It reports the medians
// and their ratio to slipway's.
//
//	go -C ci/test test ./bench/image -run '^$' -bench . -benchtime 5x -timeout 60m
//
// The other tools are looked up on PATH. A missing tool is skipped with the reason:
//
//   - ko: go install github.com/google/ko@latest
//   - docker: a running daemon, and an image with Go and the backend's modules,
//     named by SLIPWAY_BENCH_GOLANG, for example built from
//     "FROM golang:1.26.8" and "RUN go mod download".
package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

var (
	slipway string // the compiled command
	warm    string // caches kept between builds, except in benchmarks about caches
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "slipway-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	slipway, warm = filepath.Join(dir, "slipway"), filepath.Join(dir, "caches")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// compile builds the command when the first benchmark needs it, so that a run of tests
// alone does not build it.
var compile = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", slipway, "./cmd/slipway")
	cmd.Dir = sourcetest.Repository("ci")
	said, err := cmd.CombinedOutput()
	if err != nil {
		return errors.New(string(said))
	}
	return os.Mkdir(warm, 0o755)
})

// bench is a clone of this repository, a registry and the tools.
type bench struct {
	testing.TB
	dir      string // the clone
	registry string // host and port
	golang   string // image in which docker compiles
	caches   string // all caches kept between builds
	lines    int    // number of line changes so far
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	require.NoError(tb, compile())
	here, err := os.Getwd()
	require.NoError(tb, err)
	top := strings.TrimSpace(sourcetest.Git(tb, here, "rev-parse", "--show-toplevel"))
	b := &bench{TB: tb, dir: filepath.Join(tb.TempDir(), "clone"), caches: warm, golang: os.Getenv("SLIPWAY_BENCH_GOLANG")}
	sourcetest.Git(tb, here, "clone", "-q", top, b.dir)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	tb.Cleanup(server.Close)
	b.registry = strings.TrimPrefix(server.URL, "http://")
	b.pushBase()
	return b
}

// pushBase pushes the empty base image that ko builds on.
func (b *bench) pushBase() {
	var index v1.ImageIndex = empty.Index
	for _, p := range image.DefaultPlatforms() {
		base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture})
		require.NoError(b, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: base, Descriptor: v1.Descriptor{Platform: &p}})
	}
	ref, err := name.ParseReference(b.registry + "/base:latest")
	require.NoError(b, err)
	require.NoError(b, remote.WriteIndex(ref, index))
}

// run runs a command with the caches of this benchmark.
func (b *bench) run(dir string, env []string, command ...string) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOCACHE="+filepath.Join(b.caches, "go"), "XDG_CACHE_HOME="+filepath.Join(b.caches, "user"), "GOWORK=off")
	cmd.Env = append(cmd.Env, env...)
	said, err := cmd.CombinedOutput()
	require.NoError(b, err, "%v: %s", command, said)
}

// tool builds and pushes an image from source.
type tool struct {
	name  string
	build func(platforms ...string)
}

// tools returns slipway and the installed other tools.
func (b *bench) tools() []tool {
	all := []tool{{"slipway", b.buildSlipway}}
	if _, err := exec.LookPath("ko"); err == nil {
		all = append(all, tool{"ko", b.buildKo})
	} else {
		b.Log("without ko: it is not on PATH: go install github.com/google/ko@latest")
	}
	switch {
	case exec.Command("docker", "info").Run() != nil:
		b.Log("without docker: no daemon answers docker info: install docker.io and start dockerd")
	case b.golang == "" || exec.Command("docker", "image", "inspect", b.golang).Run() != nil:
		b.Log("without docker: SLIPWAY_BENCH_GOLANG names no image that the daemon has: make one of golang and the backend's modules")
	default:
		all = append(all, tool{"docker", b.buildDocker})
	}
	return all
}

// buildSlipway publishes the image without attestations, as the other tools do.
func (b *bench) buildSlipway(platforms ...string) { b.publish(platforms, "--no-attest") }

// attestSlipway publishes the image with its bill of materials and provenance.
func (b *bench) attestSlipway(platforms ...string) { b.publish(platforms) }

// publish publishes the clone's commit. Other platforms result in a different image,
// which needs a different tag.
func (b *bench) publish(platforms []string, args ...string) {
	list := strings.Join(platforms, ",")
	address := b.registry + "/" + strings.NewReplacer("/", "-", ",", "-").Replace(list)
	b.run(b.dir, nil, append([]string{slipway, "publish", "--service", "backend", "--platform", list, "--registry", address}, args...)...)
}

func (b *bench) buildKo(platforms ...string) {
	b.run(filepath.Join(b.dir, "backend"),
		[]string{"KO_DOCKER_REPO=" + b.registry + "/ko", "KO_DEFAULTBASEIMAGE=" + b.registry + "/base:latest", "CGO_ENABLED=0"},
		"ko", "build", "--bare", "--sbom=none", "--platform", strings.Join(platforms, ","), "./cmd/server")
}

// dockerfile builds the backend's image in the usual way, with BuildKit's cache mounts.
const dockerfile = `FROM %s AS build
WORKDIR /src
COPY backend/ .
RUN --mount=type=cache,id=go-%s,target=/root/.cache/go-build CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /server ./cmd/server
FROM scratch
COPY --from=build /server /server
USER 65532:65532
ENTRYPOINT ["/server"]
`

func (b *bench) buildDocker(platforms ...string) {
	require.Len(b, platforms, 1, "docker needs an emulator for more")
	file := filepath.Join(b.caches, "Dockerfile")
	require.NoError(b, os.WriteFile(file, fmt.Appendf(nil, dockerfile, b.golang, filepath.Base(filepath.Dir(b.caches))+filepath.Base(b.caches)), 0o600))
	tag := b.registry + "/docker:latest"
	b.run(b.dir, []string{"DOCKER_BUILDKIT=1"}, "docker", "build", "-q", "-f", file, "-t", tag, ".")
	b.run(b.dir, nil, "docker", "push", "-q", tag)
}

// changeLine changes one line of the backend's main package and commits it.
func (b *bench) changeLine() {
	b.lines++
	sourcetest.Write(b, b.dir, "backend/cmd/server/line.go",
		fmt.Sprintf("package main\n\nimport \"os\"\n\nfunc init() { if len(os.Args) == %d { os.Exit(0) } }\n", 1000+b.lines))
	sourcetest.Commit(b, b.dir, "one line")
}

// compare runs each tool once per round, after prepare, and reports the medians.
func compare(b *testing.B, tools []tool, prepare func(), platforms ...string) {
	b.Helper()
	took := make([][]time.Duration, len(tools))
	for range b.N {
		for n, t := range tools {
			prepare()
			start := time.Now()
			t.build(platforms...)
			took[n] = append(took[n], time.Since(start))
		}
	}
	report(b, tools, took)
}

// report reports the medians and their ratio to the first tool's.
func report(b *testing.B, tools []tool, took [][]time.Duration) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // the default metric is the time of all tools together, which is not useful
	for n, t := range tools {
		b.ReportMetric(float64(median(took[n]).Milliseconds()), t.name+"-ms")
		if n > 0 {
			b.ReportMetric(float64(median(took[0]))/float64(median(took[n])), tools[0].name+"/"+t.name)
		}
	}
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

const amd64, arm64 = "linux/amd64", "linux/arm64"

// BenchmarkNothingChanged repeats a build without a change.
func BenchmarkNothingChanged(b *testing.B) {
	env := newBench(b)
	tools := env.tools()
	for _, t := range tools {
		t.build(amd64)
	}
	b.ResetTimer()
	compare(b, tools, func() {}, amd64)
}

// BenchmarkOneLine builds after a change of one line of the main package.
func BenchmarkOneLine(b *testing.B) {
	env := newBench(b)
	tools := append(env.tools(), tool{"attested", env.attestSlipway})
	env.changeLine()
	for _, t := range tools {
		t.build(amd64)
	}
	b.ResetTimer()
	compare(b, tools, env.changeLine, amd64)
}

// BenchmarkCold builds with downloaded modules and empty caches.
func BenchmarkCold(b *testing.B) {
	env := newBench(b)
	tools := env.tools()
	b.ResetTimer()
	compare(b, tools, func() {
		env.changeLine()
		env.caches = b.TempDir()
	}, amd64)
}

// BenchmarkPlatforms compares a build for both platforms with a build for one.
func BenchmarkPlatforms(b *testing.B) {
	for name, changed := range map[string]bool{"nothing changed": false, "one line": true} {
		b.Run(name, func(b *testing.B) {
			env := newBench(b)
			tools := []tool{
				{"both", func(...string) { env.buildSlipway(amd64, arm64) }},
				{"one", func(...string) { env.buildSlipway(amd64) }},
			}
			for _, t := range tools {
				t.build()
			}
			b.ResetTimer()
			compare(b, tools, func() {
				if changed {
					env.changeLine()
				}
			})
		})
	}
}

// BenchmarkTwentyServices publishes twenty services with one changed line each, with
// one command for all and with one command per service.
func BenchmarkTwentyServices(b *testing.B) {
	const count = 20
	env := newBench(b)
	env.dir = sourcetest.New(b)
	files := sourcetest.Files()
	entry := `%q: {"path": %q, "kind": "go", "port": %d, "health_path": "/health", "routes": [%q], "cpu": 256, "memory": 512, "desired_count": 1}`
	var names, entries []string
	for n := range count {
		name := fmt.Sprintf("s%02d", n)
		route := "/" + name
		if n == 0 {
			route = "/*"
		}
		names, entries = append(names, name), append(entries, fmt.Sprintf(entry, name, name, 8000+n, route))
		sourcetest.Write(b, env.dir, name+"/go.mod", "module example.com/"+name+"\n\ngo 1.26\n")
		sourcetest.Write(b, env.dir, name+"/main.go", files["api/main.go"])
	}
	sourcetest.Write(b, env.dir, "terraform/services.auto.tfvars.json", `{"services": {`+strings.Join(entries, ",\n")+"}}")
	sourcetest.Commit(b, env.dir, "twenty")
	change := func() {
		env.lines++
		for _, name := range names {
			sourcetest.Write(b, env.dir, name+"/line.go", fmt.Sprintf("package main\n\nfunc init() { if lines == %d { panic(lines) } }\n\nvar lines = len(%q)\n", 1000+env.lines, name))
		}
		sourcetest.Commit(b, env.dir, "a line of each")
	}
	build := func(args ...string) {
		env.run(env.dir, nil, append([]string{slipway, "publish", "--no-attest", "--platform", amd64, "--registry", env.registry}, args...)...)
	}
	tools := []tool{
		{"at-once", func(...string) { build() }},
		{"one-by-one", func(...string) {
			for _, name := range names {
				build("--service", name)
			}
		}},
	}
	change()
	build()
	b.ResetTimer()
	compare(b, tools, change)
}

// BenchmarkSize reports the compressed size of the backend's image for one platform.
func BenchmarkSize(b *testing.B) {
	env := newBench(b)
	for range b.N {
		env.run(env.dir, nil, slipway, "build", "--service", "backend", "--platform", amd64, "--out", filepath.Join(env.caches, "out"))
	}
	built, err := image.ReadLayout(filepath.Join(env.caches, "out"), platform.Service{Name: "backend"})
	require.NoError(b, err)
	size, err := built.Size()
	require.NoError(b, err)
	b.ReportMetric(float64(size), "bytes")
	var said bytes.Buffer
	cmd := exec.CommandContext(context.Background(), slipway, "inspect", "backend", "--built", filepath.Join(env.caches, "out"))
	cmd.Stdout = &said
	require.NoError(b, cmd.Run())
	b.Log(said.String())
}
