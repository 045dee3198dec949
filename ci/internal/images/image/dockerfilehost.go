package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
)

// errNoBuilder is the error of a machine that cannot build a Dockerfile.
var errNoBuilder = errors.New("none of docker buildx, podman and buildah works here")

// imageIDFile is the file for the id of the image that a builder keeps in its own storage.
const imageIDFile = "image-id"

// hostBuilder builds Dockerfiles with a program of this machine.
type hostBuilder struct {
	exec    step.Executor
	program tool.Tool
}

// FindDockerfileBuilder returns the name of the program that builds Dockerfiles on this
// machine: the first that works of docker buildx, podman and buildah.
func FindDockerfileBuilder(ctx context.Context, executor step.Executor) (string, error) {
	h, err := findHostBuilder(ctx, executor)
	return h.name(), err
}

// dockerfileBuilder returns the executor's own builder, or else one of this machine.
func (b Builder) dockerfileBuilder(ctx context.Context) (DockerfileBuilder, error) {
	if builder, ok := b.Exec.(DockerfileBuilder); ok {
		return builder, nil
	}
	return findHostBuilder(ctx, b.Exec)
}

func findHostBuilder(ctx context.Context, executor step.Executor) (hostBuilder, error) {
	dir, err := os.MkdirTemp("", "slipway-ask-")
	if err != nil {
		return hostBuilder{}, fmt.Errorf("creating a temporary directory for the build: %w", err)
	}
	defer os.RemoveAll(dir)
	works := func(program tool.Tool, probes [][]string) (bool, error) {
		for _, args := range probes {
			result, err := executor.Run(ctx, step.Step{Name: "find a builder", Args: program.Command(args...), Stdout: "version"}, dir)
			switch {
			case errors.Is(err, exec.ErrNotFound):
				return false, nil
			case err != nil:
				return false, err
			case result.ExitCode != 0:
				return false, nil
			}
		}
		return true, nil
	}
	for _, candidate := range []struct {
		program tool.Tool
		probes  [][]string
	}{
		{tool.Docker, [][]string{{"buildx", "version"}, {"version"}}}, // docker version needs the daemon
		{tool.Podman, [][]string{{"--version"}}},
		{tool.Buildah, [][]string{{"--version"}}},
	} {
		found, err := works(candidate.program, candidate.probes)
		if err != nil {
			return hostBuilder{}, err
		}
		if found {
			return hostBuilder{executor, candidate.program}, nil
		}
	}
	return hostBuilder{}, fmt.Errorf("%w, and a Dockerfile needs one: %s, or run it with Dagger", errNoBuilder, tool.Buildah.Install)
}

func (h hostBuilder) name() string {
	if h.program.Name == tool.Docker.Name {
		return "docker buildx"
	}
	return h.program.Name
}

// BuildSecret returns the value of an environment variable.
func (h hostBuilder) BuildSecret(_ context.Context, id string) (string, bool, error) {
	value, ok := os.LookupEnv(id)
	return value, ok, nil
}

// BuildDockerfile implements [DockerfileBuilder].
func (h hostBuilder) BuildDockerfile(ctx context.Context, build DockerfileBuild) error {
	if h.program.Name != tool.Docker.Name {
		return h.buildAndExport(ctx, build)
	}
	output, err := h.run(ctx, build, h.buildStep(build, "--output=type=oci,tar=false,rewrite-timestamp=true,dest="+step.Out+"/"+LayoutName))
	if err == nil || !strings.Contains(strings.ToLower(output), "oci exporter") {
		return err
	}
	// Docker's own driver has no OCI exporter, unless it uses containerd's image store.
	return h.buildAndExport(ctx, build, "--load")
}

// buildAndExport builds with a builder that keeps the image in its own storage, and copies
// the image from there.
func (h hostBuilder) buildAndExport(ctx context.Context, build DockerfileBuild, output ...string) error {
	if _, err := h.run(ctx, build, h.buildStep(build, append(output, "--iidfile="+step.Out+"/"+imageIDFile)...)); err != nil {
		return err
	}
	id, err := readImageID(build.Dir)
	if err != nil {
		return err
	}
	export, remove := []string{"push", id, "oci:" + step.Out + "/" + LayoutName}, []string{"rmi", id}
	switch h.program.Name {
	case tool.Docker.Name:
		export, remove = []string{"save", "--output=" + step.Out + "/" + ArchiveName, id}, []string{"image", "rm", "--no-prune", id}
	case tool.Podman.Name:
		remove = []string{"rmi", "--no-prune", id} // keep the cached layers
	}
	_, err = h.run(ctx, build, step.Step{Name: build.Name + ": export", Args: h.program.Command(export...)})
	_, _ = h.run(ctx, build, step.Step{Name: build.Name + ": remove", Args: h.program.Command(remove...)}) // it may have a tag of the user's
	return err
}

// buildStep returns the step that builds a Dockerfile. Times are fixed where the builder
// can do so.
func (h hostBuilder) buildStep(build DockerfileBuild, output ...string) step.Step {
	args := []string{"build"}
	fixed := []string{"--format=oci", "--timestamp=0"}
	if h.program.Name == tool.Docker.Name {
		args = []string{"buildx", "build"}
		fixed = []string{"--provenance=false", "--sbom=false", "--progress=plain", "--build-arg=SOURCE_DATE_EPOCH=0"}
	}
	args = append(args, "--platform="+build.Platform.String(), "--file="+step.Out+"/"+DockerfileName)
	args = append(args, fixed...)
	if build.Build.Target != "" {
		args = append(args, "--target="+build.Build.Target)
	}
	for _, name := range slices.Sorted(maps.Keys(build.Build.BuildArgs)) {
		args = append(args, "--build-arg="+name+"="+build.Build.BuildArgs[name])
	}
	for _, id := range slices.Sorted(maps.Keys(build.Secrets)) {
		args = append(args, fmt.Sprintf("--secret=id=%[1]s,env=%[1]s", id))
	}
	args = append(append(args, output...), step.Out+"/"+ContextFolder)
	return step.Step{Name: build.Name, Args: h.program.Command(args...), Env: map[string]string{"SOURCE_DATE_EPOCH": "0"}, Secrets: build.Secrets}
}

// run runs a step in the directory of the build.
func (h hostBuilder) run(ctx context.Context, build DockerfileBuild, s step.Step) (output string, err error) {
	result, err := h.exec.Run(ctx, s, build.Dir)
	if err != nil {
		return "", err
	}
	if result.ExitCode != 0 {
		return result.Stderr, &BuildError{Builder: h.name(), Output: result.Stderr}
	}
	return result.Stderr, nil
}

func readImageID(dir string) (string, error) {
	id, err := os.ReadFile(filepath.Join(dir, imageIDFile))
	if err != nil {
		return "", fmt.Errorf("reading the id of the image: %w", source.WithoutPath(err))
	}
	return strings.TrimSpace(string(id)), nil
}
