package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
)

var _ image.DockerfileBuilder = containers{}

// BuildSecret returns the value of the secret whose address ends with an id, such as that
// of env://NPM_TOKEN.
func (c containers) BuildSecret(ctx context.Context, id string) (string, bool, error) {
	for _, s := range c.buildSecrets {
		address, err := s.URI(ctx)
		if err != nil {
			return "", false, err
		}
		if _, name, _ := strings.Cut(address, "://"); name == id || strings.HasSuffix(name, "/"+id) {
			value, err := s.Plaintext(ctx)
			return value, err == nil, err
		}
	}
	return "", false, nil
}

// BuildDockerfile builds a Dockerfile with the engine's BuildKit and writes the image as
// an archive.
func (c containers) BuildDockerfile(ctx context.Context, build image.DockerfileBuild) error {
	defer logElapsed(build.Name)()
	return span(ctx, build.Name, func(ctx context.Context) error {
		directory, err := workdir(build.Dir)
		if err != nil {
			return fmt.Errorf("reading the build context: %w", err)
		}
		// The engine reads the Dockerfile from the context, of which it is not a part.
		const dockerfile = ".slipway.Dockerfile"
		options := dagger.DirectoryDockerBuildOpts{
			Dockerfile: dockerfile, Platform: dagger.Platform(build.Platform.String()), Target: build.Build.Target,
			BuildArgs: []dagger.BuildArg{{Name: "SOURCE_DATE_EPOCH", Value: "0"}},
		}
		for _, name := range slices.Sorted(maps.Keys(build.Build.BuildArgs)) {
			options.BuildArgs = append(options.BuildArgs, dagger.BuildArg{Name: name, Value: build.Build.BuildArgs[name]})
		}
		for _, id := range slices.Sorted(maps.Keys(build.Secrets)) {
			options.Secrets = append(options.Secrets, dag.SetSecret(id, build.Secrets[id]))
		}
		built := directory.Directory(image.ContextFolder).
			WithFile(dockerfile, directory.File(image.DockerfileName)).
			WithNewFile(image.IgnoreFile, dockerfile+"\n"+image.IgnoreFile+"\n").
			DockerBuild(options)
		if _, err := built.Sync(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			output := err.Error()
			if failed := (*dagger.ExecError)(nil); errors.As(err, &failed) {
				output = strings.Join([]string{failed.Stdout, failed.Stderr, output}, "\n")
			}
			return &image.BuildError{Builder: "Dagger's BuildKit", Output: output}
		}
		if _, err := built.AsTarball().Export(ctx, filepath.Join(build.Dir, image.ArchiveName)); err != nil {
			return fmt.Errorf("exporting the image: %w", err)
		}
		return nil
	})
}
