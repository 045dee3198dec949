package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// fakeBuilder is an executor in place of docker, podman or buildah. The image that it
// builds has the files of the context in one layer.
type fakeBuilder struct {
	t *testing.T
	// program is the one that is installed.
	program string
	// fail returns an output with which a build fails, or "".
	fail func(platform string) string
	// leaked is written to the layer, history to the image's history.
	leaked, history string
	noOCI           bool // docker's own driver

	commands []string // that build
	secrets  map[string]string
	image    v1.Image
}

func (f *fakeBuilder) Run(_ context.Context, s step.Step, dir string) (step.Result, error) {
	if s.Args[0] != f.program {
		return step.Result{}, fmt.Errorf("running it: %w", exec.ErrNotFound)
	}
	args := s.Expand(dir).Args
	command := strings.Join(s.Args, " ")
	flag := func(prefix string) string {
		n := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, prefix) })
		if n < 0 {
			return ""
		}
		return strings.TrimPrefix(args[n], prefix)
	}
	switch {
	case strings.Contains(command, "version"):
		return step.Result{}, nil
	case slices.Contains(args, "build"):
		f.commands, f.secrets = append(f.commands, command), s.Secrets
		target := flag("--platform=")
		if f.fail != nil && f.fail(target) != "" {
			return step.Result{ExitCode: 1, Stderr: strings.ReplaceAll(f.fail(target), step.Out, dir)}, nil
		}
		dockerfile, err := os.ReadFile(flag("--file="))
		require.NoError(f.t, err)
		f.image = f.build(args[len(args)-1], target, string(dockerfile))
		if file := flag("--iidfile="); file != "" {
			return step.Result{}, os.WriteFile(file, []byte("sha256:1234\n"), 0o600)
		}
		if f.noOCI {
			return step.Result{ExitCode: 1, Stderr: "ERROR: OCI exporter is not supported for the docker driver."}, nil
		}
		_, to, _ := strings.Cut(flag("--output="), "dest=")
		return step.Result{}, writeOCI(to, f.image)
	case slices.Contains(args, "push"):
		return step.Result{}, writeOCI(strings.TrimPrefix(args[len(args)-1], "oci:"), f.image)
	case slices.Contains(args, "save"):
		reference, err := name.NewTag("built:1")
		require.NoError(f.t, err)
		return step.Result{}, tarball.WriteToFile(flag("--output="), reference, f.image)
	}
	return step.Result{}, nil
}

func writeOCI(dir string, img v1.Image) error {
	target, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return target.AppendImage(img)
}

// build returns an image with the files of a folder.
func (f *fakeBuilder) build(folder, target, dockerfile string) v1.Image {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	add := func(file, text string) {
		require.NoError(f.t, archive.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(text))}))
		_, err := io.WriteString(archive, text)
		require.NoError(f.t, err)
	}
	require.NoError(f.t, filepath.WalkDir(folder, func(file string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			data, readErr := os.ReadFile(file)
			require.NoError(f.t, readErr)
			add(strings.TrimPrefix(file, folder+"/"), string(data))
		}
		return err
	}))
	add("leaked", f.leaked)
	require.NoError(f.t, archive.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil })
	require.NoError(f.t, err)
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: dockerfile + f.history}})
	require.NoError(f.t, err)
	config, err := img.ConfigFile()
	require.NoError(f.t, err)
	config.OS, config.Architecture, _ = strings.Cut(target, "/")
	img, err = mutate.ConfigFile(img, config)
	require.NoError(f.t, err)
	return img
}

// dockerfileTree returns a builder for a tree with the service app, whose entry is
// extended by fields.
func dockerfileTree(t *testing.T, fields string, change func(dir string)) (image.Builder, []platform.Service) {
	t.Helper()
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, platform.ServicesFile, `{"services": {"app": {"path": "app", "kind": "dockerfile", "port": 80, "health_path": "/", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1`+fields+`}}}`)
	sourcetest.Write(t, dir, "app/Dockerfile", "FROM scratch\nCOPY . /\n")
	sourcetest.Write(t, dir, "app/main.py", "print(1)\n")
	sourcetest.Write(t, dir, "app/tests/test.py", "assert True\n")
	sourcetest.Write(t, dir, "app/.dockerignore", "tests\n")
	sourcetest.Write(t, dir, "app/.gitignore", "*.pyc\n")
	sourcetest.Write(t, dir, "app/.env", "A=1")
	if change != nil {
		change(dir)
	}
	sourcetest.Commit(t, dir, "a Dockerfile")
	sourcetest.Write(t, dir, "app/main.pyc", "git does not know this file")
	b := builder(t, dir)
	b.Offline, b.Platforms = false, nil
	p, err := platform.Load(dir)
	require.NoError(t, err)
	return b, p.Services
}

func TestDockerfile(t *testing.T) {
	b, services := dockerfileTree(t, `, "target": "run", "build_args": {"A": "1"}, "build_secrets": ["SLIPWAY_TEST_TOKEN"]`, nil)
	t.Setenv("SLIPWAY_TEST_TOKEN", "a secret of the build")
	for name, fake := range map[string]*fakeBuilder{
		"docker": {program: "docker"}, "docker's own driver": {program: "docker", noOCI: true}, "podman": {program: "podman"}, "buildah": {program: "buildah"},
	} {
		t.Run(name, func(t *testing.T) {
			fake.t, b.Exec = t, fake
			images, err := b.Build(t.Context(), services)
			require.NoError(t, err)
			platforms, err := images[0].Platforms()
			require.NoError(t, err)
			require.Equal(t, []string{"linux/amd64", "linux/arm64"}, platforms)
			require.NoError(t, validate.Index(images[0].Index), "the layers outlive the build's directory")
			require.Empty(t, images[0].Note)
			require.ElementsMatch(t, []string{"Dockerfile", ".gitignore", "main.py", "leaked"}, slices.Collect(maps.Keys(entries(t, child(t, images[0])))))
			require.Regexp(t, `^inputs-[0-9a-f]{64}$`, images[0].InputsTag())
			for _, part := range []string{"--platform=linux/amd64", "--target=run", "--build-arg=A=1", "--secret=id=SLIPWAY_TEST_TOKEN,env=SLIPWAY_TEST_TOKEN"} {
				require.Contains(t, fake.commands[0], part)
			}
			require.NotContains(t, strings.Join(fake.commands, ""), "a secret of the build")
			require.Equal(t, "a secret of the build", fake.secrets["SLIPWAY_TEST_TOKEN"])
		})
	}
}

func TestDockerfileFails(t *testing.T) {
	const secret = `, "build_secrets": ["SLIPWAY_TEST_TOKEN"]`
	key := "AKIA" + "ABCDEFGHIJKLMNO7"
	failing := func(output string, platforms ...string) func(string) string {
		return func(target string) string {
			if len(platforms) == 0 || slices.Contains(platforms, target) {
				return output
			}
			return ""
		}
	}
	tests := map[string]struct {
		fields  string
		token   string
		change  func(dir string)
		skipped string // edited, and marked skip-worktree
		fake    fakeBuilder
		code    outcome.Code
		want    []string
	}{
		"no builder": {fake: fakeBuilder{}, code: outcome.Failed, want: []string{
			"building app: none of docker buildx, podman and buildah works here, and a Dockerfile needs one: install Docker (https://docs.docker.com/engine/install), podman or buildah (apt-get install buildah), or run it with Dagger",
		}},
		"a step fails": {fields: secret, token: "abcdefghijkl", fake: fakeBuilder{program: "podman", fail: failing(strings.Repeat("earlier\n", 30) + "+ login abcdefghijkl\nError: no such file: @out@/context/main.js")}, code: outcome.Failed, want: []string{
			"building app: app/Dockerfile for linux/amd64: podman failed: earlier", "+ login (hidden)\nError: no such file: context/main.js",
		}},
		"the secret is not set":    {fields: secret, fake: fakeBuilder{program: "podman"}, code: outcome.Usage, want: []string{"build secret SLIPWAY_TEST_TOKEN of app has no value: set the environment variable SLIPWAY_TEST_TOKEN, or with Dagger --build-secrets=env://SLIPWAY_TEST_TOKEN"}},
		"the secret is in a layer": {fields: secret, token: "abcdefghijkl", fake: fakeBuilder{program: "buildah", leaked: "x abcdefghijkl"}, code: outcome.Usage, want: []string{"build secret SLIPWAY_TEST_TOKEN of app is in layer 1 of the image", "RUN --mount=type=secret,id=SLIPWAY_TEST_TOKEN"}},
		"the secret is in history": {fields: secret, token: "abcdefghijkl", fake: fakeBuilder{program: "docker", history: "RUN login abcdefghijkl"}, code: outcome.Usage, want: []string{"is in the configuration or history of the image"}},
		"a file has a secret":      {change: func(dir string) { sourcetest.Write(t, dir, "app/config.py", "\nkey = '"+key+"'") }, fake: fakeBuilder{program: "podman"}, code: outcome.Refused, want: []string{"app/config.py:2 contains an AWS access key id", "app/.dockerignore"}},
		"the entry's architecture": {fields: fmt.Sprintf(`, "architecture": %q`, map[string]string{"linux/amd64": "X86_64", "linux/arm64": "ARM64"}[other()]), fake: fakeBuilder{program: "podman", fail: failing("exec format error", other())}, code: outcome.Failed, want: []string{"exec format error"}},
		"a link for a Dockerfile": {change: func(dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, "app/Dockerfile"), filepath.Join(dir, "Shared.dockerfile")))
			require.NoError(t, os.Symlink("../Shared.dockerfile", filepath.Join(dir, "app/Dockerfile")))
		}, fake: fakeBuilder{program: "podman"}, code: outcome.Usage, want: []string{`app/Dockerfile is a symbolic link: set dockerfile of app to the file itself, such as "../Shared.dockerfile"`}},
		"a file that git skips": {skipped: "app/main.py", fake: fakeBuilder{program: "podman"}, code: outcome.Usage, want: []string{"app/main.py differs from the commit (marked skip-worktree in git)"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, services := dockerfileTree(t, tt.fields, tt.change)
			if tt.skipped != "" {
				sourcetest.Git(t, b.Source.Dir, "update-index", "--skip-worktree", tt.skipped)
				sourcetest.Write(t, b.Source.Dir, tt.skipped, "edited")
			}
			if tt.token != "" {
				t.Setenv("SLIPWAY_TEST_TOKEN", tt.token)
			}
			fake := &fakeBuilder{t: t, program: tt.fake.program, fail: tt.fake.fail, leaked: tt.fake.leaked, history: tt.fake.history}
			b.Exec = fake
			_, err := b.Build(t.Context(), services)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.Equal(t, tt.code, outcome.Of(err), err)
			require.NotContains(t, err.Error(), "abcdefghijkl")
		})
	}
}

// other returns the platform that is not this machine's.
func other() string {
	for _, p := range image.DefaultPlatforms() {
		if p.Architecture != image.HostPlatform().Architecture {
			return p.String()
		}
	}
	return ""
}

// TestDockerfileWithoutEmulation checks that the platform that the builder cannot run is
// left out, unless an entry needs it.
func TestDockerfileWithoutEmulation(t *testing.T) {
	b, services := dockerfileTree(t, "", nil)
	b.Exec = &fakeBuilder{t: t, program: "podman", fail: func(target string) string {
		if target == other() {
			return "exec container process `/bin/sh`: Exec format error"
		}
		return ""
	}}
	images, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	platforms, err := images[0].Platforms()
	require.NoError(t, err)
	require.NotContains(t, platforms, other())
	require.Contains(t, images[0].Note, "the builder cannot run programs of other platforms than")
}

// TestDockerfileInputs checks what changes the digest of the inputs, and that an image of
// the same inputs is not built again.
func TestDockerfileInputs(t *testing.T) {
	tag := func(fields string, change func(dir string)) string {
		b, services := dockerfileTree(t, fields, change)
		b.Exec = &fakeBuilder{t: t, program: "podman"}
		images, err := b.Build(t.Context(), services)
		require.NoError(t, err)
		return images[0].InputsTag()
	}
	first := tag("", nil)
	for name, change := range map[string]func(dir string){
		"an ignored file": func(dir string) { sourcetest.Write(t, dir, "app/tests/test.py", "assert 2") },
		"another folder":  func(dir string) { sourcetest.Write(t, dir, "api/main.go", "package main") },
	} {
		require.Equal(t, first, tag("", change), name)
	}
	require.Equal(t, first, tag(`, "environment": {"A": "1"}, "dockerfile": "Dockerfile"`, nil), "what is not of the build")
	seen := []string{first}
	for name, again := range map[string]string{
		"a file":         tag("", func(dir string) { sourcetest.Write(t, dir, "app/main.py", "print(2)") }),
		"the Dockerfile": tag("", func(dir string) { sourcetest.Write(t, dir, "app/Dockerfile", "FROM scratch\n") }),
		"a mode":         tag("", func(dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, "app/main.py"), 0o755)) }),
		"an argument":    tag(`, "build_args": {"A": "1"}`, nil),
		"the target":     tag(`, "target": "run"`, nil),
		"a link":         tag("", func(dir string) { require.NoError(t, os.Symlink("main.py", filepath.Join(dir, "app/link"))) }),
		"a Dockerfile outside": tag(`, "dockerfile": "../docker/app.Dockerfile"`, func(dir string) {
			sourcetest.Write(t, dir, "docker/app.Dockerfile", "FROM scratch\n")
		}),
	} {
		require.NotContains(t, seen, again, name)
		seen = append(seen, again)
	}

	b, services := dockerfileTree(t, "", nil)
	fake := &fakeBuilder{t: t, program: "podman"}
	b.Exec = fake
	built, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	fake.commands = nil
	b.Published = func(_ context.Context, repository, found string) (v1.ImageIndex, error) {
		require.Equal(t, []string{"ecs-microservices-app", first}, []string{repository, found})
		return built[0].Index, nil
	}
	again, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	require.Equal(t, digest(t, built[0]), digest(t, again[0]))
	require.Equal(t, first, again[0].InputsTag())
	require.Empty(t, fake.commands, "it is not built")
	b.Published = func(context.Context, string, string) (v1.ImageIndex, error) { return nil, errors.New("no registry") }
	_, err = b.Build(t.Context(), services)
	require.ErrorContains(t, err, "no registry")
}

// TestStandIns checks that a rehearsal gets stand-ins, and only for what is missing.
func TestStandIns(t *testing.T) {
	b, services := dockerfileTree(t, "", nil)
	b.Offline = true
	for name, tt := range map[string]struct {
		fake fakeBuilder
		want string
	}{
		"no builder":               {fakeBuilder{}, "none of docker buildx, podman and buildah works here"},
		"the registry is far away": {fakeBuilder{program: "podman", fail: func(string) string { return "pinging container registry: dial tcp: lookup docker.io: no such host" }}, "a registry of its Dockerfile cannot be reached"},
		"it can be built":          {fakeBuilder{program: "podman"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b.Exec = &fakeBuilder{t: t, program: tt.fake.program, fail: tt.fake.fail}
			images, err := b.Build(t.Context(), services)
			require.NoError(t, err)
			require.Equal(t, tt.want, images[0].MissingBase)
			config, err := child(t, images[0]).ConfigFile()
			require.NoError(t, err)
			require.Equal(t, tt.want != "", config.Config.Labels[image.StandInLabel] != "")
			if tt.want != "" {
				require.Empty(t, images[0].InputsTag())
				dir := t.TempDir()
				require.NoError(t, image.WriteLayouts(dir, images))
				read, err := image.ReadLayout(dir, services[0])
				require.NoError(t, err)
				require.Equal(t, "it is a stand-in", read.MissingBase)
			}
		})
	}
	b.Exec = &fakeBuilder{t: t, program: "podman", fail: func(string) string { return "syntax error in Dockerfile" }}
	_, err := b.Build(t.Context(), services)
	require.ErrorContains(t, err, "syntax error in Dockerfile")
}
